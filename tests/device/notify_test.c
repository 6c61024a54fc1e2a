/*
 * What goes over the wire from driver to device and back while it runs: notifications of every form, address and value, and the
 * silence of a suspended device.
 */
#include "bus.h"

/* ---- What the driver writes where notifications go ---- */

static struct { uint64_t at; unsigned width; uint32_t value, count; } heard;

/* What is beside a queue's name in a notification (2.9): where the next chain will stand, after so many chains of 2 descriptors. */
static uint32_t place_after(unsigned chains, bool packed)
{
	unsigned at = chains * 2;
	return packed ? at % RIG_SIZE | (at / RIG_SIZE % 2 ? 0u : 0x8000u) : chains & 0xffff;
}

/* One request after the other in both queues, past the ring's end; each notification is right, and each is served. */
static void drive(struct blk_rig *b, bool data, bool packed, uint16_t word[2], uint64_t at[2])
{
	for (unsigned i = 1; i <= 50; i++)
		for (uint16_t queue = 0; queue < 2; queue++) {
			heard.count = 0;
			read_one(b, queue);
			uint32_t expect = word[queue] | (data ? place_after(i, packed) << 16 : 0);
			if (heard.count != 1 || heard.at != at[queue] || heard.value != expect)
				fail_msg("%u notifications, the last at %llx, value %x; it should be at %llx, %x", heard.count,
				    (unsigned long long)heard.at, heard.value, (unsigned long long)at[queue], expect);
		}
}

#if defined(RIG_MMIO)
static void listen_in(void *arg, uint32_t at, unsigned width, uint32_t value)
{
	if (at == notify_reg(0).at) {
		heard.at = at;
		heard.width = width;
		heard.value = value;
		heard.count++;
	}
	wire_write(arg, at, width, value);
}

static const struct vio_mmio_access spy = { wire_read, listen_in };

static void every_notification(void **state)
{
	(void)state;
	for (unsigned form = 0; form < 4; form++) {
		bool data = form & 1, packed = form & 2;
		struct blk_rig b = bus_new();
		struct vio_features f = BITS(ALL_BLK);
		if (data)
			vio_features_add(&f, VIO_F_NOTIFICATION_DATA);
		if (packed)
			vio_features_add(&f, VIO_F_RING_PACKED);
		((struct rig_wire *)b.g->wire.other)->drv.access = &spy;
		rig_start(b.g, 2, f);
		drive(&b, data, packed, (uint16_t[]){ 0, 1 }, (uint64_t[]){ 0x50, 0x50 });
		assert_int_equal(heard.width, 4);
		blk_close(&b);
	}
}

static bool silent(struct blk_rig *b)
{
	struct rig_wire *w = b->g->wire.other;
	return !w->line && !get(b, VIO_MMIO_INTERRUPT_STATUS, 4);
}

static uint32_t events(struct blk_rig *b)
{
	uint32_t v = (uint32_t)get(b, VIO_MMIO_INTERRUPT_STATUS, 4);
	put(b, VIO_MMIO_INTERRUPT_ACK, 4, v);
	return v;
}
#else
static void listen_in(void *arg, unsigned bar, uint64_t at, unsigned width, uint32_t value)
{
	if (at >= 0x3000) {
		heard.at = at;
		heard.width = width;
		heard.value = value;
		heard.count++;
	}
	wire_write(arg, bar, at, width, value);
}

static const struct vio_pci_access spy = { wire_config_get, wire_config_put, wire_read, listen_in };

/* The same device behind another function. */
static void with_multiplier(struct blk_rig *b, uint32_t multiplier)
{
	struct rig_wire *w = b->g->wire.other;
	const char *why;

	assert_null(vio_pci_dev_init(&w->dev, b->g->dev, &vio_dev_blk, &wire_ops, &b->g->wire, &(struct vio_pci_options){
		.vector = w->vector, .vectors = WIRE_VECTORS, .notify_multiplier = multiplier }));
	assert_true(vio_pci_probe(&w->drv, &spy, &b->g->wire, b->g->wire.port.platform, &why));
	vio_pci_enable(&w->drv);
	assert_int_equal(w->drv.multiplier, multiplier);
}

static void every_notification(void **state)
{
	static const uint32_t multipliers[] = { 0, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096 };

	(void)state;
	for (unsigned m = 0; m < sizeof multipliers / sizeof *multipliers; m++)
		for (unsigned form = 0; form < 8; form++) {
			bool data = form & 1, packed = form & 2, other_word = form & 4;
			uint32_t step = multipliers[m];
			struct blk_rig b = bus_new();
			struct vio_features f = BITS(ALL_BLK);
			if (data)
				vio_features_add(&f, VIO_F_NOTIFICATION_DATA);
			if (packed)
				vio_features_add(&f, VIO_F_RING_PACKED);
			with_multiplier(&b, step);
			b.g->wire.port.has_config_data = other_word;	/* and with it the driver takes NOTIF_CONFIG_DATA */
			rig_start(b.g, 2, f);
			assert_int_equal(vio_has(b.g->dev->accepted, VIO_F_NOTIF_CONFIG_DATA), other_word);
			uint16_t flip = other_word ? 0xffff : 0;
			drive(&b, data, packed, (uint16_t[]){ flip, (uint16_t)(1 ^ flip) }, (uint64_t[]){ 0x3000, 0x3000 + step });
			assert_int_equal(heard.width, data ? 4 : 2);
			assert_int_equal(dev(&b)->refused, 0);
			blk_close(&b);
		}
}

/* One address for all queues is one, and not the next as well. */
static void beside_the_address(void **state)
{
	struct blk_rig b = bus_new();

	(void)state;
	with_multiplier(&b, 0);
	b.g->wire.port.has_config_data = false;
	rig_start(b.g, 2, BITS(ALL_BLK));
	for (uint32_t at = 1; at < 8; at++) {
		uint64_t refused = dev(&b)->refused;
		put(&b, 0x3000 + at, 2, 0);
		assert_int_equal(dev(&b)->refused, refused + 1);
	}
	read_one(&b, 0);
	blk_close(&b);
}

/* What was accepted can be read, whatever is written later. */
static void features_stay_readable(void **state)
{
	struct blk_rig b = bus_new();

	(void)state;
	bring_to(&b, AT_FEATURES_OK);
	put_reg(&b, FEATURES, UINT32_MAX);
	assert_int_equal(get_reg(&b, FEATURES), 1);
	heals(&b);
	blk_close(&b);
}

static bool silent(struct blk_rig *b)
{
	struct rig_wire *w = b->g->wire.other;
	return !w->pin && !w->dev.isr;
}

static uint32_t events(struct blk_rig *b) { return (uint32_t)get(b, 0x1000, 1); }
#endif

/* ---- Suspended ---- */

/* No queue is looked at, nothing is told, no config byte changes by the driver; on resume all of it catches up (3.4). */
static void suspended_it_is_silent(void **state)
{
	struct blk_rig b = bus_new();

	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		bus_reset(&b);
		bus_start(&b, packed);
		read_one(&b, 0);
		events(&b);
		b.t->hold = true;		/* a request is with the disk: it ends before the device is suspended */
		rig_rewind(b.g);
		struct ask under_way = blk_ask(&b, VIO_BLK_T_IN, 1, NULL, 0, 512), late = blk_ask(&b, VIO_BLK_T_IN, 2, NULL, 0, 512);
		blk_add(&b, 0, &under_way, 0, 0);
		rig_kick(b.g, 0);
		put_reg(&b, STATUS, get_reg(&b, STATUS) | VIO_S_SUSPEND);
		assert_true(get_reg(&b, STATUS) & VIO_S_DRIVER_OK && !(get_reg(&b, STATUS) & VIO_S_SUSPEND));
		b.t->hold = false;
		test_disk_release(b.t);
		vio_loop_pump(&b.g->wire, 64);
		assert_true(get_reg(&b, STATUS) & VIO_S_SUSPEND && !(get_reg(&b, STATUS) & VIO_S_DRIVER_OK));
		assert_ptr_equal(rig_get(b.g, 0, NULL), under_way.w);
		assert_true(events(&b) & 1);		/* told of it before */
		assert_true(silent(&b));
		b.g->drv.status = (uint8_t)get_reg(&b, STATUS);
		b.g->drv.suspended = true;
		unsigned asked = b.t->count;
		blk_add(&b, 1, &late, 0, 0);
		(void)vio_drvq_kick_due(&b.g->q[1]);
		kick_reg(&b, 1);
		vio_dev_config_changed(b.g->dev);
		uint8_t writeback = b.g->dev->config[offsetof(struct vio_blk_config, writeback)];
		put(&b, CONFIG_AT + offsetof(struct vio_blk_config, writeback), 1, !writeback);
		vio_loop_pump(&b.g->wire, 64);
		assert_int_equal(b.g->dev->config[offsetof(struct vio_blk_config, writeback)], writeback);
		assert_int_equal(b.t->count, asked);
		assert_null(rig_get(b.g, 1, NULL));
		assert_true(silent(&b));
		put_reg(&b, STATUS, get_reg(&b, STATUS) | VIO_S_SUSPEND);	/* once more is nothing */
		assert_true(get_reg(&b, STATUS) & VIO_S_SUSPEND);
		assert_true(vio_drv_resume(&b.g->drv));
		assert_true(get_reg(&b, STATUS) & VIO_S_DRIVER_OK && !(get_reg(&b, STATUS) & VIO_S_SUSPEND));
		vio_loop_pump(&b.g->wire, 64);
		assert_ptr_equal(rig_get(b.g, 1, NULL), late.w);
		assert_int_equal(events(&b), 3);			/* a buffer, and the config space */
		read_one(&b, 0);
		read_one(&b, 1);
	}
	blk_close(&b);
}

/* Not before the device runs, and not without the feature. */
static void suspend_out_of_order(void **state)
{
	struct blk_rig b = bus_new();

	(void)state;
	for (unsigned s = AT_RESET; s < AT_DRIVER_OK; s++) {
		bring_to(&b, s);
		uint8_t before = (uint8_t)get_reg(&b, STATUS);
		put_reg(&b, STATUS, before | VIO_S_SUSPEND);
		assert_int_equal(get_reg(&b, STATUS), before);
	}
	bus_reset(&b);
	rig_start(b.g, 2, BITS(ALL_BLK));
	put_reg(&b, STATUS, get_reg(&b, STATUS) | VIO_S_SUSPEND);
	assert_false(get_reg(&b, STATUS) & VIO_S_SUSPEND);
	assert_false(vio_drv_suspend(&b.g->drv));
	read_one(&b, 0);
	bring_to(&b, AT_SUSPEND);		/* a reset out of it */
	heals(&b);
	blk_close(&b);
}

static const struct CMUnitTest tests[] = {
#if defined(RIG_PCI)
	T(every_notification, "every multiplier, width, address and value of notifications {core-drv-48 pci-drv-38 pci-drv-39 pci-drv-40 pci-drv-41 pci-drv-42 pci-drv-43; only us}"),
	T(beside_the_address, "the one address of a device without multiplier is one"),
	T(features_stay_readable, "accepted features stay readable {pci-dev-15; only us}"),
#else
	T(every_notification, "the index, and with NOTIFICATION_DATA the next place"),
#endif
	T(suspended_it_is_silent, "a suspended device is silent, and catches up {core-dev-16 core-dev-17 core-dev-18 core-dev-20 core-dev-21 core-dev-22 core-drv-31 core-drv-35; only us}"),
	T(suspend_out_of_order, "no suspension before the device runs or without the feature {core-dev-15 core-drv-30; only us}"),
};

int main(void) { return vio_tests("notifications over " BUS, tests, sizeof tests / sizeof *tests); }
