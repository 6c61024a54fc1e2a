/* The PCI transport's driver's end: what it makes of any config space, and how it reaches its device. */
#define RIG_PCI
#include "blk_rig.h"

static struct rig_wire *wire(struct blk_rig *b) { return b->g->wire.other; }

/* ---- Config spaces by hand ---- */

struct space { unsigned char bytes[256]; unsigned writes; };

static uint32_t space_read(void *arg, uint32_t at, unsigned width)
{
	const struct space *s = arg;
	uint32_t v = 0;

	assert_true(at % width == 0);
	for (unsigned i = 0; i < width; i++)
		v |= (uint32_t)(at + i < 256 ? s->bytes[at + i] : 0xff) << 8 * i;
	return v;
}

static void space_write(void *arg, uint32_t at, unsigned width, uint32_t value)
{
	(void)at, (void)width, (void)value;
	((struct space *)arg)->writes++;
}

static uint32_t no_read(void *arg, unsigned bar, uint64_t at, unsigned width) { (void)arg, (void)bar, (void)at, (void)width; fail(); return 0; }
static void no_write(void *arg, unsigned bar, uint64_t at, unsigned width, uint32_t v) { (void)arg, (void)bar, (void)at, (void)width, (void)v; fail(); }

struct cap { unsigned char at, id, next, len, type, bar; uint32_t offset, bytes, extra; };

static void put_cap(struct space *s, const struct cap *c)
{
	unsigned char *p = s->bytes + c->at;
	const uint32_t words[3] = { c->offset, c->bytes, c->extra };

	memcpy(p, (unsigned char[]){ c->id, c->next, c->len, c->type, c->bar }, 5);
	for (unsigned i = 0; i < (c->type == 2 ? 12 : 8) && c->at + 8u + i < 256; i++)
		p[8 + i] = (unsigned char)(words[i / 4] >> i % 4 * 8);
}

/* A modern disk's, one capability behind the other. */
static struct space good(void)
{
	static const struct cap caps[] = {
		{ 0x40, 9, 0x50, 16, 1, 4, 0, 0x38, 0 }, { 0x50, 9, 0x64, 20, 2, 4, 0x3000, 0x1000, 4 }, { 0x64, 9, 0x74, 16, 3, 4, 0x1000, 1, 0 },
		{ 0x74, 9, 0x84, 16, 4, 4, 0x2000, 60, 0 }, { 0x84, 9, 0, 20, 5, 0, 0, 0, 0 },
	};
	struct space s = { .bytes = { 0xf4, 0x1a, 0x42, 0x10, [6] = 0x10, [8] = 1, [0x34] = 0x40 } };

	for (unsigned i = 0; i < 5; i++)
		put_cap(&s, &caps[i]);
	return s;
}

static void ids_are_matched(void **state)
{
	static const struct { uint16_t vendor, device; uint8_t revision; uint32_t id; } rows[] = {
		{ 0x1af4, 0x1042, 1, 2 }, { 0x1af4, 0x1041, 0, 1 }, { 0x1af4, 0x105a, 255, 26 }, { 0x1af4, 0x107f, 7, 63 },
		{ 0x1af4, 0x1000, 0, 1 }, { 0x1af4, 0x1001, 3, 2 }, { 0x1af4, 0x1002, 0, 5 }, { 0x1af4, 0x1003, 0, 3 }, { 0x1af4, 0x1004, 0, 8 },
		{ 0x1af4, 0x1005, 0, 4 }, { 0x1af4, 0x1006, 0, 0 }, { 0x1af4, 0x1040, 1, 0 }, { 0x1af4, 0x1080, 1, 0 }, { 0x1af4, 0x0fff, 1, 0 },
		{ 0x8086, 0x1042, 1, 0 }, { 0xffff, 0xffff, 255, 0 },
	};
	static const struct vio_pci_access access = { space_read, space_write, no_read, no_write };

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct space s = good();
		struct vio_pci_drv d;
		const char *why;
		memcpy(s.bytes, (unsigned char[]){ (unsigned char)rows[i].vendor, (unsigned char)(rows[i].vendor >> 8),
			(unsigned char)rows[i].device, (unsigned char)(rows[i].device >> 8) }, 4);
		s.bytes[8] = rows[i].revision;
		bool ok = vio_pci_probe(&d, &access, &s, (struct vio_platform){ &rig_platform, NULL }, &why);
		if (ok != (rows[i].id != 0) || why || (ok && d.id != rows[i].id) || s.writes)
			fail_msg("%04x:%04x: %s", rows[i].vendor, rows[i].device, ok ? "taken" : "left");
	}
}

/* One thing is changed in a good config space. */
static void any_list_of_capabilities(void **state)
{
	static const struct { const char *what; struct cap c; bool ok; uint64_t common_at; } rows[] = {
		{ "a longer capability", { 0x40, 9, 0x50, 0x60, 1, 4, 0, 0x38, 0 }, true, 0 },
		{ "an enormous structure", { 0x40, 9, 0x50, 16, 1, 4, 64, UINT32_MAX, 0 }, true, 64 },
		{ "a structure that is too short", { 0x40, 9, 0x50, 16, 1, 4, 0, 0x37, 0 }, false, 0 },
		{ "a capability that is too short", { 0x40, 9, 0x50, 15, 1, 4, 0, 0x38, 0 }, false, 0 },
		{ "a BAR that there is not", { 0x40, 9, 0x50, 16, 1, 6, 0, 0x38, 0 }, false, 0 },
		{ "a structure of a reserved type", { 0x40, 9, 0x50, 16, 0x7f, 4, 0, 0x38, 0 }, false, 0 },
		{ "another one before it, reserved", { 0xa0, 9, 0x40, 16, 6, 4, 8, 0x38, 0 }, true, 0 },
		{ "another one before it, in no BAR", { 0xa0, 9, 0x40, 16, 1, 7, 8, 0x38, 0 }, true, 0 },
		{ "another one before it, better", { 0xa0, 9, 0x40, 16, 1, 1, 8, 0x38, 0 }, true, 8 },
		{ "another one before it, no vendor's", { 0xa0, 5, 0x40, 16, 1, 1, 8, 0x38, 0 }, true, 0 },
		{ "a list that ends at once", { 0x40, 9, 0, 16, 1, 4, 0, 0x38, 0 }, false, 0 },
		{ "a list in a circle", { 0x50, 9, 0x40, 20, 2, 4, 0x3000, 0x1000, 4 }, false, 0 },
		{ "a list into the header", { 0x50, 9, 0x3c, 20, 2, 4, 0x3000, 0x1000, 4 }, false, 0 },
		{ "a notification structure without a multiplier", { 0x50, 9, 0x64, 16, 2, 4, 0x3000, 0x1000, 4 }, false, 0 },
		{ "a capability at the very end", { 0x84, 9, 0xfc, 20, 5, 0, 0, 0, 0 }, true, 0 },
	};
	static const struct vio_pci_access access = { space_read, space_write, no_read, no_write };

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct space s = good();
		struct vio_pci_drv d;
		const char *why;
		put_cap(&s, &rows[i].c);
		if (rows[i].c.at == 0xa0)
			s.bytes[0x34] = 0xa0;
		bool ok = vio_pci_probe(&d, &access, &s, (struct vio_platform){ &rig_platform, NULL }, &why);
		if (ok != rows[i].ok || (ok && d.common.at != rows[i].common_at) || !ok != !!why || s.writes)
			fail_msg("%s: %s at %llu", rows[i].what, ok ? "taken" : "left", (unsigned long long)d.common.at);
	}
	struct space s = good();
	struct vio_pci_drv d;
	const char *why;
	s.bytes[6] = 0;			/* no list at all */
	assert_false(vio_pci_probe(&d, &access, &s, (struct vio_platform){ &rig_platform, NULL }, &why));
	assert_non_null(why);
	s = good();
	s.bytes[0x77] = 0x20;		/* no window, and no other way */
	s.bytes[0x74 + 1] = 0;
	assert_false(vio_pci_probe(&d, &(struct vio_pci_access){ space_read, space_write, NULL, NULL }, &s,
	    (struct vio_platform){ &rig_platform, NULL }, &why));
}

/* ---- Against the device ---- */

static void request(struct blk_rig *b)
{
	struct ask a = blk_ask(b, VIO_BLK_T_IN, 1, NULL, 0, 512);
	assert_int_equal(blk_run(b, &a, 0, 0, NULL), VIO_BLK_S_OK);
}

/* All of it under the eyes of wire_watch(), which stops the test at the first access that is not allowed. */
static void a_life_by_the_rules(void **state)
{
	const struct vio_features extra[] = { BITS(VIO_F_RING_RESET), BITS(VIO_F_NOTIFICATION_DATA), BITS(VIO_F_RING_PACKED),
		BITS(VIO_F_RING_PACKED, VIO_F_NOTIFICATION_DATA) };

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		struct blk_rig b = blk_new();
		assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
		b.g->wire.port.has_config_data = i & 1;
		rig_start(b.g, 1, vio_features_or(BITS(ALL_BLK, VIO_F_VERSION_1), extra[i / 2]));
		assert_int_equal(vio_drv_has(&b.g->drv, VIO_F_NOTIF_CONFIG_DATA), i & 1);
		request(&b);
		assert_int_equal(wire(&b)->dev.refused, 0);
		if (vio_drv_has(&b.g->drv, VIO_F_RING_RESET)) {
			assert_true(vio_drv_queue_reset(&b.g->drv, 0));
			rig_start_queue(b.g, 0);
			b.g->used = b.g->kept;
			request(&b);
		}
		blk_close(&b);
	}
}

static bool in_structure(const struct rig_wire *w, uint32_t at, uint32_t width)
{
	const struct vio_pci_place *all[] = { &w->drv.common, &w->drv.notify, &w->drv.isr, &w->drv.device };

	for (unsigned i = 0; i < 4; i++)
		if (at >= all[i]->at && at + width <= all[i]->at + all[i]->bytes)
			return true;
	return false;
}

/* The data of the window are touched only when it looks into a structure, aligned. */
static uint32_t window_get(void *arg, uint32_t at, unsigned width)
{
	struct rig_wire *w = WIRE_OF((struct vio_loop_wire *)arg);
	const unsigned char *cap = w->dev.config + w->dev.window_at;

	if (at >= w->dev.window_at + 16u && at < w->dev.window_at + 20u) {
		uint32_t offset = cap[8] | cap[9] << 8 | cap[10] << 16;
		assert(cap[4] == 0 && cap[12] == width && offset % width == 0 && in_structure(w, offset, width));
	}
	return wire_config_get(arg, at, width);
}

static void window_put(void *arg, uint32_t at, unsigned width, uint32_t value)
{
	struct rig_wire *w = WIRE_OF((struct vio_loop_wire *)arg);

	if (at >= w->dev.window_at + 16u && at < w->dev.window_at + 20u)
		window_get(arg, at, width);
	wire_config_put(arg, at, width, value);
}

static void by_the_window_alone(void **state)
{
	static const struct vio_pci_access access = { window_get, window_put, NULL, NULL };
	struct blk_rig b = blk_new();

	(void)state;
	assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
	wire(&b)->drv.access = &access;
	rig_start(b.g, 1, BITS(ALL_BLK, VIO_F_RING_RESET));
	request(&b);
	assert_int_equal(vio_pci_interrupt(&wire(&b)->drv), VIO_PCI_ISR_QUEUE);
	blk_close(&b);
}

static void vectors(void **state)
{
	(void)state;
	for (unsigned n = 0; n <= WIRE_VECTORS + 1; n++) {
		struct blk_rig b = blk_new();
		b.o.queues = 2;
		assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
		struct rig_wire *w = wire(&b);
		assert_int_equal(vio_pci_vectors(&w->drv), WIRE_VECTORS);
		bool ok = vio_pci_use_vectors(&w->drv, n);
		assert_int_equal(ok, n <= WIRE_VECTORS);	/* none outside the table */
		for (unsigned v = 0; ok && v < n; v++)
			assert_true(vio_pci_vector_set(&w->drv, v, 0xfee00000, 0x30 + v, false));
		assert_false(vio_pci_vector_set(&w->drv, WIRE_VECTORS, 0, 0, false));
		if (ok) {
			rig_start(b.g, 2, BITS(ALL_BLK));
			request(&b);
			unsigned expect = n < 2 ? 0 : 1;	/* queue 0's */
			for (unsigned v = 0; v < WIRE_VECTORS; v++)
				assert_int_equal(w->sent[v], n && v == expect);
			assert_int_equal(w->pin, !n);
		}
		blk_close(&b);
	}
}

/* A device that takes no mapping: the driver sees it and does not start. */
static void a_mapping_that_fails(void **state)
{
	struct blk_rig b = blk_new();

	(void)state;
	assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
	assert_true(vio_pci_use_vectors(&wire(&b)->drv, 2));
	wire(&b)->dev.o.vectors = 0;
	assert_false(vio_drv_begin(&b.g->drv, &b.g->wire.port, VIO_ID_BLK, BITS(ALL_BLK), NULL));
	assert_non_null(b.g->drv.failed);
	wire(&b)->dev.o.vectors = WIRE_VECTORS;
	assert_true(vio_drv_begin(&b.g->drv, &b.g->wire.port, VIO_ID_BLK, BITS(ALL_BLK), NULL));
	blk_close(&b);
}

/* Where a lying device would have its queues notified. */
static void notification_addresses(void **state)
{
	static const struct { uint32_t multiplier; uint64_t bytes; bool ok; } rows[] = {
		{ 4, 256, true }, { 0, 2, true }, { 0, 1, false }, { UINT32_MAX, 256, false }, { 3, 256, false }, { 4, 5, false }, { 4, 6, true },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct blk_rig b = blk_new();
		b.o.queues = 2;
		assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
		wire(&b)->drv.multiplier = rows[i].multiplier;
		wire(&b)->drv.notify.bytes = rows[i].bytes;
		assert_true(vio_drv_begin(&b.g->drv, &b.g->wire.port, VIO_ID_BLK, BITS(ALL_BLK), NULL));
		struct vio_drvq q = { .size = 4, .desc_addr = RIG_GPA, .driver_addr = RIG_GPA + 256, .device_addr = RIG_GPA + 512 };
		assert_int_equal(vio_drv_queue(&b.g->drv, 1, &q), rows[i].ok);
		blk_close(&b);
	}
}

static const struct CMUnitTest tests[] = {
	T(ids_are_matched, "devices are matched by vendor and id, whatever their revision {pci-drv-1 pci-drv-2 pci-drv-3; only us}"),
	T(any_list_of_capabilities, "any list of capabilities: the first that can be used is taken, what is reserved is ignored {pci-drv-7 pci-drv-8 pci-drv-9 pci-drv-10 pci-drv-12 pci-drv-27 pci-drv-28; only us}"),
	T(a_life_by_the_rules, "a driver's life without an access that is not allowed {pci-drv-5 pci-drv-11 pci-drv-14 pci-drv-15 pci-drv-16 pci-drv-17 pci-drv-18 pci-drv-19 pci-drv-20 pci-drv-21 pci-drv-38 pci-drv-39 pci-drv-40 pci-drv-41 pci-drv-42 pci-drv-43; only us}"),
	T(by_the_window_alone, "a disk is driven by the window in the config space alone {pci-drv-29 pci-drv-30 pci-drv-31; only us}"),
	T(vectors, "any number of vectors, or the pin {pci-drv-26 pci-drv-32 pci-drv-35; only us}"),
	T(a_mapping_that_fails, "a mapping that fails is noticed {pci-drv-36; only us}"),
	T(notification_addresses, "a queue whose notifications would go elsewhere is not started"),
};

int main(void) { return vio_tests("pci-driver", tests, sizeof tests / sizeof *tests); }
