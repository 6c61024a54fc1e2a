/* The PCI transport (virtio 1.4, section 4.1), its device's end: config space, registers, interrupts. */
#define RIG_PCI
#include "blk_rig.h"

enum { ISR = 0x1000, DEVICE = 0x2000, NOTIFY = 0x3000, TABLE = 0x4000, PENDING = 0x5000 };	/* where this rig's device has them */

static struct rig_wire *wire(struct blk_rig *b) { return b->g->wire.other; }
static struct vio_pci_dev *dev(struct blk_rig *b) { return &wire(b)->dev; }
#define AT(field) (unsigned)offsetof(struct vio_pci_common, field)
#define GET(b, field) ((uint32_t)vio_pci_read(dev(b), AT(field), sizeof(((struct vio_pci_common *)0)->field)))
#define PUT(b, field, v) vio_pci_write(dev(b), AT(field), sizeof(((struct vio_pci_common *)0)->field), v)

static uint32_t config(struct vio_pci_dev *p, uint32_t at, unsigned width) { return vio_pci_config_read(p, at, width); }

static struct blk_rig closed(void)
{
	struct blk_rig b = blk_new();

	b.o.queues = 2;
	assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
	return b;
}

static struct blk_rig running(void)
{
	struct blk_rig b = blk_new();

	b.o.queues = 2;
	blk_open_start(&b, BITS(ALL_BLK, VIO_F_RING_RESET));
	return b;
}

static void one_request(struct blk_rig *b, uint16_t queue)
{
	struct ask a = blk_ask(b, VIO_BLK_T_IN, 1, NULL, 0, 512);

	blk_add(b, queue, &a, 0, 0);
	rig_kick(b->g, queue);
	assert_ptr_equal(rig_get(b->g, queue, NULL), a.w);
}

/* A function that no device stands behind yet. */
static const char *make(struct vio_pci_dev *p, const struct vio_dev_type *type, const struct vio_pci_options *o)
{
	static struct vio_dev nothing;

	nothing.type = type;
	return vio_pci_dev_init(p, &nothing, type, &wire_ops, NULL, o);
}

/* ---- Config space ---- */

static void it_says_what_it_is(void **state)
{
	struct vio_pci_dev p;

	(void)state;
	for (const struct vio_dev_type *const *t = vio_dev_types; *t; t++) {
		assert_null(make(&p, *t, &(struct vio_pci_options){ .notify_multiplier = 4 }));
		assert_int_equal(config(&p, 0, 2), 0x1af4);
		assert_int_equal(config(&p, 2, 2), 0x1040 + (*t)->id);
		assert_true(config(&p, 8, 1) >= 1);
		assert_int_equal(config(&p, 0x2c, 2), 0x1af4);
		assert_true(config(&p, 0x2e, 2) >= 0x40);
		assert_int_equal(config(&p, 0x0e, 1), 0);
		assert_int_equal(config(&p, 0x3d, 1), 1);
		assert_true(config(&p, 6, 2) & 0x10);
	}
}

/* Every structure there is, where it may be, with a length that holds. */
static void look_at_capabilities(struct vio_pci_dev *p, const struct vio_pci_options *o)
{
	unsigned seen[16] = { 0 }, at = config(p, 0x34, 1), steps = 0;

	for (; at; at = config(p, at + 1, 1)) {
		assert_true(at >= 0x40 && at % 4 == 0 && ++steps < 20);
		if (config(p, at, 1) != 9)
			continue;
		unsigned len = config(p, at + 2, 1), type = config(p, at + 3, 1);
		assert_true(at + len <= 256 && type < 16);
		seen[type]++;
		if (type == 9)
			continue;
		uint32_t bar = config(p, at + 4, 1), offset = config(p, at + 8, 4), bytes = config(p, at + 12, 4);
		if (type == 8) {
			assert_int_equal(bar, 4);
			assert_int_equal(len, 24);
			continue;
		}
		assert_int_equal(bar, 0);
		assert_true(offset % 4 == 0 && bytes <= p->bytes && offset <= p->bytes - bytes);
		if (type == 1)
			assert_true(bytes >= 64);
		if (type == 2) {
			assert_int_equal(len, 20);
			assert_int_equal(config(p, at + 16, 4), o->notify_multiplier);
			assert_true(bytes >= (VIO_DEV_QUEUES - 1) * o->notify_multiplier + 4);
		}
		if (type == 5)
			assert_int_equal(len, 20);
	}
	assert_true(seen[1] == 1 && seen[2] == 1 && seen[3] == 1 && seen[5] == 1);
	assert_int_equal(seen[4], 1);
	assert_int_equal(seen[8], o->shms);
	assert_int_equal(seen[9], o->vendor != 0);
}

static struct vio_pci_vector vectors[VIO_PCI_MSIX_ENTRIES];

static void structures_are_where_they_may_be(void **state)
{
	static const struct vio_pci_shm shm[] = { { 0, 0, UINT64_C(1) << 33 }, { 3, UINT64_C(1) << 33, 4096 } };
	static const struct vio_pci_options rows[] = {
		{ .notify_multiplier = 0 },
		{ .notify_multiplier = 4, .vector = vectors, .vectors = 1 },
		{ .notify_multiplier = 4096, .vector = vectors, .vectors = 2048 },
		{ .notify_multiplier = 16, .vector = vectors, .vectors = 65, .express = true },
		{ .notify_multiplier = 4, .vector = vectors, .vectors = 3, .shm = shm, .shms = 2, .shm_bytes = UINT64_C(1) << 34 },
		{ .notify_multiplier = 4, .shm = shm, .shms = 1, .shm_bytes = UINT64_C(1) << 33, .express = true },
		{ .notify_multiplier = 4, .vendor = 0x1234, .vendor_data = "abcdef", .vendor_bytes = 6, .express = true },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct vio_pci_dev p;
		assert_null(make(&p, &vio_dev_blk, &rows[i]));
		look_at_capabilities(&p, &rows[i]);
		if (rows[i].vectors)		/* Table Size, and where it is */
			assert_int_equal(config(&p, p.msix_at + 2u, 2), rows[i].vectors - 1);
		assert_int_equal(p.bytes & (p.bytes - 1), 0);
	}
}

static void options_that_can_not_be(void **state)
{
	static const struct vio_pci_shm twice[] = { { 1, 0, 4096 }, { 1, 4096, 4096 } }, outside[] = { { 0, 4096, 8192 } };
	static const struct { const char *what; struct vio_pci_options o; } rows[] = {
		{ "a multiplier that is no power of 2", { .notify_multiplier = 12 } }, { "2", { .notify_multiplier = 2 } },
		{ "more than a page", { .notify_multiplier = 8192 } }, { "2049 vectors", { .vector = vectors, .vectors = 2049 } },
		{ "vectors in no memory", { .vectors = 2 } }, { "vendor data of virtio's", { .vendor = 0x1af4, .vendor_bytes = 2 } },
		{ "vendor data of an odd length", { .vendor = 1, .vendor_bytes = 4, .vendor_data = "abcd" } },
		{ "half a page of shared memory", { .shm_bytes = 2048 } }, { "a region outside", { .shm = outside, .shms = 1, .shm_bytes = 8192 } },
		{ "an id twice", { .shm = twice, .shms = 2, .shm_bytes = 8192 } },
		{ "more than there is room for", { .express = true, .vector = vectors, .vectors = 2, .vendor = 1, .vendor_data = "0123456789ab",
			.vendor_bytes = 10, .shm = outside, .shms = 1, .shm_bytes = 16384 } },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct vio_pci_dev p;
		if (!make(&p, &vio_dev_blk, &rows[i].o))
			fail_msg("%s: taken", rows[i].what);
	}
}

static void bars_are_sized_and_moved(void **state)
{
	struct blk_rig b = closed();
	struct vio_pci_dev *p = dev(&b);
	uint64_t base, bytes;

	(void)state;
	vio_pci_config_write(p, 0x10, 4, UINT32_MAX);
	vio_pci_config_write(p, 0x14, 4, UINT32_MAX);
	assert_int_equal(config(p, 0x10, 4), (uint32_t)~(p->bytes - 1) | 4);
	assert_int_equal(config(p, 0x14, 4), UINT32_MAX);
	unsigned moved = wire(&b)->moved;
	vio_pci_config_write(p, 0x10, 4, 0xfebf1234);		/* the low bits are not an address's */
	vio_pci_config_write(p, 0x14, 4, 0x8);
	assert_true(wire(&b)->moved > moved);
	assert_true(vio_pci_bar(p, 0, &base, &bytes));
	assert_true(base == ((UINT64_C(0x8febf1234)) & ~(uint64_t)(p->bytes - 1)) && bytes == p->bytes);
	assert_false(vio_pci_bar(p, 1, &base, &bytes));
	assert_false(vio_pci_bar(p, 4, &base, &bytes));
	assert_int_equal(config(p, 0x18, 4), 0);
	vio_pci_config_write(p, 0x18, 4, UINT32_MAX);		/* no BAR 2 */
	assert_int_equal(config(p, 0x18, 4), 0);
	vio_pci_config_write(p, 4, 2, 4);			/* decoding off */
	assert_false(vio_pci_bar(p, 0, &base, &bytes));
	vio_pci_config_write(p, 0, 4, 0);			/* ids are not to be written */
	vio_pci_config_write(p, 0x34, 1, 0);
	assert_int_equal(config(p, 0, 2), 0x1af4);
	assert_int_not_equal(config(p, 0x34, 1), 0);
	uint64_t refused = p->refused;
	assert_int_equal(config(p, 2, 4), UINT32_MAX);		/* not aligned */
	assert_int_equal(config(p, 0, 3), 0xffffff);
	assert_int_equal(config(p, 256, 4), UINT32_MAX);	/* no extended space */
	vio_pci_config_write(p, 256, 4, 1);
	assert_int_equal(p->refused, refused + 4);
	blk_close(&b);
}

/* ---- Common configuration ---- */

static void features_are_words(void **state)
{
	struct blk_rig b = closed();
	struct vio_features f = vio_dev_offered(b.g->dev);

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		PUT(&b, device_feature_select, i);
		assert_int_equal(GET(&b, device_feature), (uint32_t)(f.word[i / 2] >> i % 2 * 32));
	}
	PUT(&b, device_feature_select, 4);
	assert_int_equal(GET(&b, device_feature), 0);
	PUT(&b, driver_feature_select, 1);
	PUT(&b, driver_feature, 1);
	assert_int_equal(GET(&b, driver_feature), 1);
	PUT(&b, driver_feature_select, 0);
	PUT(&b, driver_feature, 1u << VIO_BLK_F_FLUSH);
	assert_int_equal(GET(&b, driver_feature), 1u << VIO_BLK_F_FLUSH);
	PUT(&b, driver_feature_select, UINT32_MAX);
	PUT(&b, driver_feature, UINT32_MAX);
	assert_int_equal(GET(&b, driver_feature), 0);
	PUT(&b, device_status, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
	PUT(&b, device_status, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
	assert_true(vio_features_equal(b.g->dev->accepted, BITS(VIO_F_VERSION_1, VIO_BLK_F_FLUSH)));
	blk_close(&b);
}

static void generation_does_not_wrap_unseen(void **state)
{
	struct blk_rig b = running();

	(void)state;
	for (unsigned times = 1; times <= 1024; times *= 2) {
		uint32_t before = GET(&b, config_generation);
		assert_int_equal(GET(&b, config_generation), before);
		for (unsigned i = 0; i < times; i++)
			vio_dev_config_changed(b.g->dev);
		assert_int_not_equal(GET(&b, config_generation), before);
	}
	blk_close(&b);
}

/* Each field, its width; whether it can be written. Whatever else is accessed reads 0, changes nothing and is counted. */
static void nothing_else_is_a_register(void **state)
{
	static const struct { uint8_t at, width, writable; } fields[] = {
		{ 0, 4, 1 }, { 4, 4, 0 }, { 8, 4, 1 }, { 12, 4, 1 }, { 16, 2, 1 }, { 18, 2, 0 }, { 20, 1, 1 }, { 21, 1, 0 }, { 22, 2, 1 },
		{ 24, 2, 1 }, { 26, 2, 1 }, { 28, 2, 1 }, { 30, 2, 0 }, { 32, 4, 1 }, { 36, 4, 1 }, { 40, 4, 1 }, { 44, 4, 1 },
		{ 48, 4, 1 }, { 52, 4, 1 }, { 56, 2, 0 }, { 58, 2, 1 }, { 60, 2, 0 }, { 62, 2, 0 },
	};
	static const unsigned widths[] = { 0, 1, 2, 3, 4, 5, 8, 16 };
	struct blk_rig b = running();

	(void)state;
	struct vio_dev *copy = malloc(sizeof *copy);
	memcpy(copy, b.g->dev, sizeof *copy);
	for (uint32_t at = 0; at < ISR; at += at < 80 ? 1 : 509)
		for (unsigned w = 0; w < sizeof widths / sizeof *widths; w++) {
			bool reads = false, writes = false;
			for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++)
				if (fields[i].at == at && fields[i].width == widths[w]) {
					reads = true;
					writes = fields[i].writable;
				}
			uint64_t refused = dev(&b)->refused, v = vio_pci_read(dev(&b), at, widths[w]);
			if ((dev(&b)->refused == refused) != reads || (!reads && v))
				fail_msg("read at %u, %u wide: %s", at, widths[w], reads ? "refused" : "taken");
			if (writes)
				continue;
			refused = dev(&b)->refused;
			vio_pci_write(dev(&b), at, widths[w], w & 1 ? UINT64_MAX : 0);
			if (dev(&b)->refused != refused + 1)
				fail_msg("write at %u, %u wide: taken", at, widths[w]);
		}
	const uint64_t beyond[] = { dev(&b)->bytes, UINT32_MAX - 3, UINT64_C(1) << 32, UINT64_MAX - 3 };
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(vio_pci_read(dev(&b), beyond[i], 4), 0);
		vio_pci_write(dev(&b), beyond[i], 4, 1);
	}
	assert_memory_equal(copy, b.g->dev, sizeof *copy);
	free(copy);
	blk_close(&b);
}

static void queue_fields(void **state)
{
	struct blk_rig b = closed();

	(void)state;
	assert_int_equal(GET(&b, num_queues), 2);
	PUT(&b, queue_select, 2);
	assert_int_equal(GET(&b, queue_size), 0);	/* there is none */
	PUT(&b, queue_size, 8);
	PUT(&b, queue_enable, 1);
	assert_int_equal(GET(&b, queue_size), 0);
	assert_int_equal(GET(&b, queue_enable), 0);
	PUT(&b, queue_select, 1);
	assert_int_equal(GET(&b, queue_size), RIG_SIZE);
	assert_int_equal(GET(&b, queue_notify_off), 1);
	vio_pci_write(dev(&b), AT(queue_desc) + 4, 4, 0x12);	/* halves by themselves */
	vio_pci_write(dev(&b), AT(queue_desc), 4, 0x34567890);
	assert_int_equal(vio_pci_read(dev(&b), AT(queue_desc), 4), 0x34567890);
	assert_int_equal(vio_pci_read(dev(&b), AT(queue_desc) + 4, 4), 0x12);
	assert_true(b.g->dev->queue[1].desc == UINT64_C(0x1234567890));
	static const uint16_t sizes[] = { 3, 0, 0x8001, RIG_SIZE * 2, UINT16_MAX };
	for (unsigned i = 0; i < 5; i++) {
		PUT(&b, queue_size, sizes[i]);
		assert_int_equal(GET(&b, queue_size), 0);	/* 0 or a power of 2 */
		PUT(&b, queue_enable, 1);
		assert_int_equal(GET(&b, queue_enable), 0);
	}
	PUT(&b, queue_size, 8);
	PUT(&b, queue_enable, 2);
	assert_int_equal(GET(&b, queue_enable), 0);
	PUT(&b, queue_enable, 1);
	assert_int_equal(GET(&b, queue_enable), 1);
	PUT(&b, queue_enable, 0);				/* a driver must not, and can't */
	assert_int_equal(GET(&b, queue_enable), 1);
	PUT(&b, device_status, 0);
	assert_int_equal(GET(&b, device_status), 0);
	PUT(&b, queue_select, 1);
	assert_int_equal(GET(&b, queue_enable), 0);
	assert_int_equal(GET(&b, queue_reset), 0);
	assert_int_equal(GET(&b, queue_size), RIG_SIZE);
	blk_close(&b);
}

static void resets_are_shown(void **state)
{
	struct blk_rig b = running();

	(void)state;
	for (unsigned all = 0; all < 2; all++) {
		struct ask a = blk_ask(&b, VIO_BLK_T_IN, 7, NULL, 0, 512);
		b.t->hold = b.t->stubborn = true;
		blk_add(&b, 1, &a, 0, 0);
		rig_kick(b.g, 1);
		PUT(&b, queue_select, 1);
		assert_int_equal(GET(&b, queue_reset), 0);
		if (all)
			PUT(&b, device_status, 0);
		else
			PUT(&b, queue_reset, 1);
		assert_int_equal(GET(&b, queue_reset), 1);	/* ongoing */
		assert_int_equal(GET(&b, queue_enable), 1);
		assert_int_not_equal(GET(&b, device_status), 0);
		struct vio_disk_io *io = b.t->held[0];
		b.t->held_count = 0;
		b.t->hold = b.t->stubborn = false;
		io->done(io, 0);
		for (unsigned i = 0; i < 2; i++)
			vio_pci_turn(dev(&b), i);
		PUT(&b, queue_select, 1);
		assert_int_equal(GET(&b, queue_reset), 0);
		assert_int_equal(GET(&b, queue_enable), 0);
		assert_int_equal(!GET(&b, device_status), all);
		if (all)
			break;
		rig_start_queue(b.g, 1);
		PUT(&b, queue_select, 1);
		assert_int_equal(GET(&b, queue_reset), 0);
		one_request(&b, 1);
	}
	blk_close(&b);
}

static void halves_of_config_fields(void **state)
{
	struct blk_rig b = running();

	(void)state;
	b.t->disk.size = UINT64_C(0x123456789a) * 512;
	uint64_t whole = vio_pci_read(dev(&b), DEVICE, 8);
	assert_true(vio_pci_read(dev(&b), DEVICE, 4) == (uint32_t)whole && vio_pci_read(dev(&b), DEVICE + 4, 4) == whole >> 32);
	vio_pci_write(dev(&b), DEVICE + 32, 1, 0);		/* writeback */
	assert_int_equal(b.g->dev->config[32], 0);
	uint64_t refused = dev(&b)->refused;
	vio_pci_write(dev(&b), DEVICE, 4, 1);
	assert_int_equal(vio_pci_read(dev(&b), DEVICE + 4000, 4), 0);
	vio_pci_write(dev(&b), DEVICE + 4000, 4, 1);
	assert_int_equal(dev(&b)->refused, refused + 2);
	b.t->disk.size = DISK_BYTES;
	blk_close(&b);
}

/* ---- Interrupts ---- */

static void isr_and_the_pin(void **state)
{
	struct blk_rig b = running();
	struct vio_pci_dev *p = dev(&b);

	(void)state;
	assert_false(wire(&b)->pin);
	one_request(&b, 0);
	assert_true(wire(&b)->pin);
	assert_true(config(p, 6, 2) & 8);			/* Interrupt Status */
	vio_dev_config_changed(b.g->dev);
	vio_pci_config_write(p, 4, 2, 6 | 1 << 10);		/* the pin is masked, the status is not */
	assert_false(wire(&b)->pin);
	assert_true(config(p, 6, 2) & 8);
	vio_pci_config_write(p, 4, 2, 6);
	assert_true(wire(&b)->pin);
	assert_int_equal(vio_pci_read(p, ISR, 1), 3);
	assert_false(wire(&b)->pin);
	assert_false(config(p, 6, 2) & 8);
	assert_int_equal(vio_pci_read(p, ISR, 1), 0);
	one_request(&b, 1);
	assert_int_equal(vio_pci_interrupt(&wire(&b)->drv), VIO_PCI_ISR_QUEUE);
	vio_dev_config_changed(b.g->dev);
	one_request(&b, 1);
	assert_int_equal(vio_pci_interrupt(&wire(&b)->drv), VIO_PCI_ISR_QUEUE | VIO_PCI_ISR_CONFIG);	/* one interrupt for both */
	assert_int_equal(vio_pci_interrupt(&wire(&b)->drv), 0);
	blk_close(&b);
}

static void msix_control(struct blk_rig *b, uint16_t bits) { vio_pci_config_write(dev(b), dev(b)->msix_at + 2u, 2, bits); }
static unsigned sent(struct blk_rig *b, unsigned v) { unsigned n = wire(b)->sent[v]; wire(b)->sent[v] = 0; return n; }

static void vectors_are_mapped(void **state)
{
	struct blk_rig b = running();

	(void)state;
	for (uint32_t v = 0; v <= UINT16_MAX; v += v < 8 ? 1 : 4099) {
		uint32_t expect = v < WIRE_VECTORS ? v : 0xffff;
		PUT(&b, config_msix_vector, v);
		assert_int_equal(GET(&b, config_msix_vector), expect);
		for (uint16_t q = 0; q < 3; q++) {
			PUT(&b, queue_select, q);
			PUT(&b, queue_msix_vector, v);
			assert_int_equal(GET(&b, queue_msix_vector), q < 2 ? expect : 0xffff);
		}
	}
	PUT(&b, config_msix_vector, 1);
	PUT(&b, queue_select, 1);
	PUT(&b, queue_msix_vector, 3);
	PUT(&b, queue_msix_vector, 0xffff);			/* unmapped */
	assert_int_equal(GET(&b, queue_msix_vector), 0xffff);
	PUT(&b, queue_msix_vector, 3);
	PUT(&b, device_status, 0);
	assert_int_equal(GET(&b, config_msix_vector), 0xffff);
	PUT(&b, queue_select, 1);
	assert_int_equal(GET(&b, queue_msix_vector), 0xffff);
	blk_close(&b);
}

static void unmask(struct blk_rig *b, unsigned v, bool masked) { vio_pci_write(dev(b), TABLE + v * 16 + 12, 4, masked); }

static void messages_are_sent_or_pending(void **state)
{
	struct blk_rig b = running();

	(void)state;
	PUT(&b, config_msix_vector, 0);
	PUT(&b, queue_select, 0);
	PUT(&b, queue_msix_vector, 1);
	PUT(&b, queue_select, 1);
	PUT(&b, queue_msix_vector, 0xffff);
	msix_control(&b, 1 << 15);
	for (unsigned v = 0; v < WIRE_VECTORS; v++) {
		assert_int_equal(vio_pci_read(dev(&b), TABLE + v * 16 + 12, 4), 1);	/* masked at first */
		vio_pci_write(dev(&b), TABLE + v * 16, 8, UINT64_C(0x1fee00003));	/* the two low bits are not there */
		vio_pci_write(dev(&b), TABLE + v * 16 + 8, 4, 0x40 + v);
	}
	assert_true(wire(&b)->vector[1].address == UINT64_C(0x1fee00000) && wire(&b)->vector[1].data == 0x41);
	assert_true(vio_pci_read(dev(&b), TABLE + 16, 8) == UINT64_C(0x1fee00000));
	one_request(&b, 0);
	assert_int_equal(sent(&b, 1), 0);
	assert_int_equal(vio_pci_read(dev(&b), PENDING, 4), 2);
	assert_int_equal(vio_pci_read(dev(&b), PENDING, 8), 2);
	one_request(&b, 0);
	unmask(&b, 1, false);
	assert_int_equal(sent(&b, 1), 1);			/* once, however often */
	assert_int_equal(vio_pci_read(dev(&b), PENDING, 4), 0);
	one_request(&b, 0);
	assert_int_equal(sent(&b, 1), 1);
	msix_control(&b, 3 << 14);				/* all masked */
	one_request(&b, 0);
	assert_int_equal(sent(&b, 1), 0);
	msix_control(&b, 1 << 15);
	assert_int_equal(sent(&b, 1), 1);
	one_request(&b, 1);					/* no vector: no interrupt */
	for (unsigned v = 0; v < WIRE_VECTORS; v++)
		assert_int_equal(sent(&b, v), 0);
	assert_int_equal(vio_pci_read(dev(&b), PENDING, 4), 0);
	assert_false(wire(&b)->pin);				/* nor by the pin, with MSI-X on */
	unmask(&b, 0, false);
	vio_dev_config_changed(b.g->dev);
	assert_int_equal(sent(&b, 0), 1);
	assert_int_equal(vio_pci_read(dev(&b), ISR, 1), VIO_PCI_ISR_CONFIG);
	PUT(&b, config_msix_vector, 0xffff);
	vio_dev_config_changed(b.g->dev);
	assert_int_equal(sent(&b, 0), 0);
	vio_pci_read(dev(&b), ISR, 1);
	vio_pci_write(dev(&b), PENDING, 4, UINT32_MAX);		/* not to be written */
	assert_int_equal(vio_pci_read(dev(&b), PENDING, 4), 0);
	for (unsigned i = 0; i < 10000; i++)			/* a storm of masks: nothing is sent twice, nothing lost */
		unmask(&b, 1, i & 1);
	assert_int_equal(sent(&b, 1), 0);
	msix_control(&b, 0);
	one_request(&b, 0);
	assert_true(wire(&b)->pin);
	blk_close(&b);
}

/* ---- Notifications ---- */

static bool serves(struct blk_rig *b, uint16_t queue, uint32_t at, unsigned width, uint32_t value)
{
	struct ask a = blk_ask(b, VIO_BLK_T_IN, 1, NULL, 0, 512);
	blk_add(b, queue, &a, 0, 0);
	vio_drvq_kick_due(&b->g->q[queue]);
	uint64_t refused = dev(b)->refused;
	vio_pci_write(dev(b), NOTIFY + at, width, value);
	vio_loop_pump(&b->g->wire, 10);
	bool served = rig_get(b->g, queue, NULL) == a.w;
	assert_int_equal(dev(b)->refused, refused + !served);
	if (!served) {		/* it waits for the next one */
		vio_dev_notified(b->g->dev, queue);
		assert_ptr_equal(rig_get(b->g, queue, NULL), a.w);
	}
	return served;
}

static void notifications(void **state)
{
	static const struct { bool data, config_data; uint32_t at; unsigned width; uint32_t value; bool ok; const char *what; } rows[] = {
		{ false, false, 4, 2, 1, true, "queue 1" }, { false, false, 0, 2, 1, false, "queue 1 at queue 0's address" },
		{ false, false, 4, 2, 2, false, "a queue that is not there" }, { false, false, 4, 4, 1, false, "32 bits" },
		{ false, false, 4, 1, 1, false, "8 bits" }, { false, false, 6, 2, 1, false, "beside the address" },
		{ false, false, 63 * 4, 2, 63, false, "the last address" },
		{ true, false, 4, 4, 0x50001, true, "with data" }, { true, false, 4, 2, 1, false, "16 bits, but with data" },
		{ false, true, 4, 2, 0xfffe, true, "the device's word for queue 1" }, { false, true, 4, 2, 1, false, "the index instead of it" },
		{ true, true, 4, 4, 0x5fffe, true, "both" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct blk_rig b = blk_new();
		struct vio_features f = BITS(ALL_BLK);
		b.o.queues = 2;
		if (rows[i].data)
			vio_features_add(&f, VIO_F_NOTIFICATION_DATA);
		b.g->wire.port.has_config_data = rows[i].config_data;
		assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
		b.g->wire.port.has_config_data = rows[i].config_data;
		rig_start(b.g, 2, f);
		PUT(&b, queue_select, 1);
		assert_int_equal(GET(&b, queue_notif_config_data), 0xfffe);
		if (serves(&b, 1, rows[i].at, rows[i].width, rows[i].value) != rows[i].ok)
			fail_msg("%s: %s", rows[i].what, rows[i].ok ? "not served" : "served");
		blk_close(&b);
	}
}

static void only_a_bus_master_moves(void **state)
{
	struct blk_rig b = running();

	(void)state;
	vio_pci_config_write(dev(&b), 4, 2, 2);
	struct ask a = blk_ask(&b, VIO_BLK_T_IN, 1, NULL, 0, 512);
	blk_add(&b, 0, &a, 0, 0);
	rig_kick(b.g, 0);
	assert_null(rig_get(b.g, 0, NULL));
	assert_int_equal(b.t->count, 0);
	vio_pci_config_write(dev(&b), 4, 2, 6);			/* and what was notified meanwhile is done */
	vio_loop_pump(&b.g->wire, 10);
	assert_ptr_equal(rig_get(b.g, 0, NULL), a.w);
	blk_close(&b);
}

/* ---- The window, resets of the function ---- */

static void aim(struct blk_rig *b, uint32_t bar, uint32_t at, uint32_t width)
{
	unsigned cap = dev(b)->window_at;

	vio_pci_config_write(dev(b), cap + 4, 1, bar);
	vio_pci_config_write(dev(b), cap + 8, 4, at);
	vio_pci_config_write(dev(b), cap + 12, 4, width);
}

static void the_window(void **state)
{
	static const struct { uint32_t bar, at, width; } bad[] = {
		{ 0, 0, 0 }, { 0, 0, 3 }, { 0, 0, 8 }, { 0, 0, UINT32_MAX }, { 1, 0, 4 }, { 4, 0, 4 }, { 6, 0, 4 }, { 255, 0, 4 }, { 0, 2, 4 }, { 0, 1, 2 },
		{ 0, 0x8000, 4 }, { 0, UINT32_MAX - 3, 4 }, { 0, UINT32_MAX, 1 },
	};
	struct blk_rig b = closed();
	unsigned data = dev(&b)->window_at + 16u;

	(void)state;
	assert_int_equal(dev(&b)->bytes, 0x8000);
	aim(&b, 0, AT(num_queues), 2);
	assert_int_equal(config(dev(&b), data, 2), 2);
	aim(&b, 0, AT(device_status), 1);
	vio_pci_config_write(dev(&b), data, 1, VIO_S_ACKNOWLEDGE);
	assert_int_equal(GET(&b, device_status), VIO_S_ACKNOWLEDGE);
	assert_int_equal(config(dev(&b), data, 1), VIO_S_ACKNOWLEDGE);
	aim(&b, 0, DEVICE, 4);
	assert_int_equal(config(dev(&b), data, 4), CAPACITY);
	vio_pci_config_write(dev(&b), data, 4, 0x11223344);	/* the capacity stays */
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		aim(&b, bad[i].bar, bad[i].at, bad[i].width);
		uint64_t refused = dev(&b)->refused;
		config(dev(&b), data, 4);
		vio_pci_config_write(dev(&b), data, 4, 0);
		assert_int_equal(dev(&b)->refused, refused + 2);
		assert_int_equal(GET(&b, device_status), VIO_S_ACKNOWLEDGE);
	}
	blk_close(&b);
}

static void function_level_reset(void **state)
{
	struct blk_rig b = running();
	struct vio_pci_dev *p = dev(&b), *express = malloc(sizeof *express);
	uint64_t base, bytes;

	(void)state;
	assert_null(vio_pci_dev_init(express, b.g->dev, &vio_dev_blk, &wire_ops, &b.g->wire, &(struct vio_pci_options){ .express = true,
		.vector = wire(&b)->vector, .vectors = WIRE_VECTORS, .notify_multiplier = 4 }));
	*p = *express;
	free(express);
	assert_int_equal(config(p, 0x100, 4), 0);		/* an extended space without capabilities */
	vio_pci_config_write(p, 0x10, 4, 0xfe000000);
	vio_pci_config_write(p, 4, 2, 6);
	vio_pci_config_write(p, p->msix_at + 2u, 2, 1 << 15);
	vio_pci_write(p, TABLE + 12, 4, 0);
	assert_true(config(p, p->express_at + 4u, 4) & 1 << 28);
	assert_true(vio_pci_bar(p, 0, &base, &bytes));
	vio_pci_config_write(p, p->pm_at + 4u, 2, 3);		/* asleep: not decoded */
	assert_false(vio_pci_bar(p, 0, &base, &bytes));
	vio_pci_config_write(p, p->pm_at + 4u, 2, 0);
	assert_true(vio_pci_bar(p, 0, &base, &bytes));
	assert_true(GET(&b, device_status) & VIO_S_DRIVER_OK);	/* No_Soft_Reset */
	vio_pci_config_write(p, p->express_at + 8u, 2, 0x7fff);
	assert_true(GET(&b, device_status) & VIO_S_DRIVER_OK);
	vio_pci_config_write(p, p->express_at + 8u, 2, 0x8000);
	assert_int_equal(GET(&b, device_status), 0);
	assert_int_equal(config(p, 4, 2), 0);
	assert_int_equal(config(p, 0x10, 4), 4);
	assert_int_equal(config(p, p->express_at + 8u, 2), 0);
	assert_int_equal(config(p, p->msix_at + 2u, 2), WIRE_VECTORS - 1);
	assert_true(wire(&b)->vector[0].masked);
	blk_close(&b);
}

static void vendor_data_and_shared_memory(void **state)
{
	static const struct vio_pci_shm shm[] = { { 0, 0, UINT64_C(0x200001000) }, { 7, UINT64_C(0x300000000), 8192 } };
	struct blk_rig b = closed();
	struct vio_pci_dev *p = dev(&b);
	struct vio_pci_place place;

	(void)state;
	assert_false(vio_pci_shm_find(&wire(&b)->drv, 0, &place));
	assert_null(vio_pci_dev_init(p, b.g->dev, &vio_dev_blk, &wire_ops, &b.g->wire, &(struct vio_pci_options){ .notify_multiplier = 4,
		.shm = shm, .shms = 2, .shm_bytes = UINT64_C(1) << 34, .vendor = 0x1234, .vendor_data = "abcdef", .vendor_bytes = 6 }));
	for (unsigned i = 0; i < 2; i++) {
		assert_true(vio_pci_shm_find(&wire(&b)->drv, shm[i].id, &place));
		assert_true(place.bar == 4 && place.at == shm[i].at && place.bytes == shm[i].len);
	}
	assert_false(vio_pci_shm_find(&wire(&b)->drv, 1, &place));
	unsigned at = config(p, 0x34, 1);
	while (config(p, at, 1) != 9 || config(p, at + 3, 1) != 9)
		at = config(p, at + 1, 1);
	assert_int_equal(config(p, at + 2, 1), 12);
	for (unsigned twice = 0; twice < 2; twice++) {		/* reading it does nothing */
		assert_int_equal(config(p, at + 4, 4), 0x62611234);
		assert_int_equal(config(p, at + 8, 4), 0x66656463);
	}
	vio_pci_config_write(p, at + 4, 4, 0);
	assert_int_equal(config(p, at + 4, 4), 0x62611234);
	vio_pci_config_write(p, 0x20, 4, UINT32_MAX);
	vio_pci_config_write(p, 0x24, 4, UINT32_MAX);
	assert_int_equal(config(p, 0x20, 4), 0xc);		/* 64 bits, prefetchable, 16 GiB */
	assert_int_equal(config(p, 0x24, 4), 0xfffffffc);
	blk_close(&b);
}

static const struct CMUnitTest tests[] = {
	T(it_says_what_it_is, "ids, revision, class of each type {pci-dev-2 pci-dev-3 pci-dev-5 pci-dev-6 pci-dev-7}"),
	T(structures_are_where_they_may_be, "every structure is there, aligned, long enough, in its BAR {pci-dev-9 pci-dev-12 pci-dev-13 pci-dev-28 pci-dev-29 pci-dev-30 pci-dev-31 pci-dev-32 pci-dev-33 pci-dev-34 pci-dev-35 pci-dev-36 pci-dev-37 pci-dev-42 pci-dev-48 pci-dev-52 pci-dev-53 pci-dev-54; only us}"),
	T(options_that_can_not_be, "options that can't be are refused {pci-dev-43 pci-dev-44 pci-dev-45 pci-dev-46; only us}"),
	T(bars_are_sized_and_moved, "BARs are sized, placed and decoded, and nothing else is written {pci-dev-1; only us}"),
	T(features_are_words, "features are read and written in 32-bit words {pci-dev-14 pci-dev-15; only us}"),
	T(generation_does_not_wrap_unseen, "config_generation has changed after any number of changes {pci-dev-17; only us}"),
	T(nothing_else_is_a_register, "every offset and width that is no field reads 0, changes nothing and is counted"),
	T(queue_fields, "queues that there are not, sizes that can't be, halves of addresses {pci-dev-18 pci-dev-19 pci-dev-25 pci-dev-26; only us}"),
	T(resets_are_shown, "resets show until they are done {pci-dev-18 pci-dev-20 pci-dev-21 pci-dev-22 pci-dev-23 pci-dev-24; only us}"),
	T(halves_of_config_fields, "fields of the config space by halves, and writes only where a driver may {pci-dev-8; only us}"),
	T(isr_and_the_pin, "ISR, the pin and the status bit {pci-dev-38 pci-dev-39 pci-dev-40 pci-dev-41 pci-drv-44; only us}"),
	T(vectors_are_mapped, "any event to any vector there is, and to no other {pci-dev-55 pci-dev-56 pci-dev-57 pci-dev-58 pci-dev-59 pci-dev-60; only us}"),
	T(messages_are_sent_or_pending, "messages are sent, or pending while they are masked, and none without a vector {pci-dev-38 pci-dev-61 pci-dev-62; only us}"),
	T(notifications, "notifications by address, width and value"),
	T(only_a_bus_master_moves, "a function that is no bus master moves nothing, and catches up"),
	T(the_window, "the window reads and writes where it may look, and nowhere else {pci-dev-48 pci-dev-49 pci-dev-50; only us}"),
	T(function_level_reset, "a function level reset, and sleep"),
	T(vendor_data_and_shared_memory, "shared memory and vendor data {pci-dev-43 pci-dev-44 pci-dev-46 pci-dev-47; only us}"),
};

int main(void) { return vio_tests("pci", tests, sizeof tests / sizeof *tests); }
