/* The MMIO transport (virtio 1.4, section 4.2) register by register, from both ends. */
#define RIG_MMIO
#include "blk_rig.h"

enum { PAGE_END = VIO_MMIO_CONFIG + 0x100 };

static struct rig_wire *wire(struct blk_rig *b) { return b->g->wire.other; }
static struct vio_mmio_dev *dev(struct blk_rig *b) { return &wire(b)->dev; }

static uint32_t get(struct blk_rig *b, uint32_t at)
{
	uint64_t v;

	assert_true(vio_mmio_read(dev(b), at, 4, &v));
	assert_true(v <= UINT32_MAX);
	return (uint32_t)v;
}

static bool put(struct blk_rig *b, uint32_t at, uint32_t v) { return vio_mmio_write(dev(b), at, 4, v); }

static struct blk_rig closed(uint16_t queues)
{
	struct blk_rig b = blk_new();

	b.o.queues = queues;
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

/* A read of sector 7 that the disk holds back. */
static struct ask late(struct blk_rig *b, uint16_t queue)
{
	struct ask a = blk_ask(b, VIO_BLK_T_IN, 7, NULL, 0, 512);

	b->t->hold = b->t->stubborn = true;
	blk_add(b, queue, &a, 0, 0);
	rig_kick(b->g, queue);
	assert_int_equal(b->t->held_count, 1);
	return a;
}

/* The disk is done; the device hears of it, and its queues have their turns as a machine gives them. */
static void release(struct blk_rig *b)
{
	struct vio_disk_io *io = b->t->held[0];

	b->t->hold = b->t->stubborn = false;
	b->t->held_count = 0;
	io->done(io, 0);
	for (unsigned i = 0; i < b->g->dev->queues; i++)
		vio_mmio_turn(dev(b), i);
}

/* ---- The device ---- */

static void it_says_what_it_is(void **state)
{
	struct blk_rig b = closed(1);

	(void)state;
	dev(&b)->vendor = 0x4f4956;
	assert_int_equal(get(&b, 0x000), 0x74726976);
	assert_int_equal(get(&b, 0x004), 2);
	assert_int_equal(get(&b, 0x008), 2);
	assert_int_equal(get(&b, 0x00c), 0x4f4956);
	assert_int_equal(get(&b, 0x034), RIG_SIZE);
	put(&b, 0x030, 1);
	assert_int_equal(get(&b, 0x034), 0);		/* there is no queue 1 */
	blk_close(&b);
}

static void features_are_words(void **state)
{
	struct blk_rig b = closed(1);
	struct vio_features f = vio_dev_offered(b.g->dev);

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		put(&b, 0x014, i);
		assert_int_equal(get(&b, 0x010), (uint32_t)(f.word[i / 2] >> i % 2 * 32));
	}
	put(&b, 0x014, 4);
	assert_int_equal(get(&b, 0x010), 0);
	put(&b, 0x014, UINT32_MAX);
	assert_int_equal(get(&b, 0x010), 0);
	put(&b, 0x070, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
	const uint32_t words[] = { 1u << VIO_BLK_F_FLUSH, 1, 0, 0, 5, 5 };	/* what has no place goes nowhere */
	for (uint32_t i = 6; i--; ) {
		put(&b, 0x024, i);
		put(&b, 0x020, words[i]);
	}
	put(&b, 0x070, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
	assert_true(vio_features_equal(b.g->dev->accepted, BITS(VIO_F_VERSION_1, VIO_BLK_F_FLUSH)));
	blk_close(&b);
}

/* Every offset, width and value: what is no register, and every wrong width, reads 0, changes nothing and is counted. */
static void nothing_else_is_a_register(void **state)
{
	static const uint32_t both[] = { 0x044, 0x070, 0x0c0 };
	static const uint32_t read_only[] = { 0x000, 0x004, 0x008, 0x00c, 0x010, 0x034, 0x060, 0x0b0, 0x0b4, 0x0b8, 0x0bc, 0x0fc };
	static const uint32_t write_only[] = { 0x014, 0x020, 0x024, 0x030, 0x038, 0x050, 0x064, 0x080, 0x084, 0x090, 0x094, 0x0a0,
		0x0a4, 0x0ac };
	static const unsigned widths[] = { 0, 1, 2, 3, 4, 5, 7, 8, 16 };
	bool reads[VIO_MMIO_CONFIG] = { false }, writes[VIO_MMIO_CONFIG] = { false };
	struct blk_rig b = running();

	(void)state;
	for (unsigned i = 0; i < sizeof both / sizeof *both; i++)
		reads[both[i]] = writes[both[i]] = true;
	for (unsigned i = 0; i < sizeof read_only / sizeof *read_only; i++)
		reads[read_only[i]] = true;
	for (unsigned i = 0; i < sizeof write_only / sizeof *write_only; i++)
		writes[write_only[i]] = true;
	struct vio_dev *copy = malloc(sizeof *copy);
	memcpy(copy, b.g->dev, sizeof *copy);
	for (uint32_t at = 0; at < VIO_MMIO_CONFIG; at++)
		for (unsigned w = 0; w < sizeof widths / sizeof *widths; w++) {
			uint64_t v = 1, refused = dev(&b)->refused;
			assert_true(vio_mmio_read(dev(&b), at, widths[w], &v));
			bool good = reads[at] && widths[w] == 4;
			if ((dev(&b)->refused == refused) != good || (!good && v != 0))
				fail_msg("read at 0x%x, %u wide: %s", at, widths[w], good ? "refused" : "taken");
			if (writes[at] && widths[w] == 4)
				continue;
			refused = dev(&b)->refused;
			assert_true(vio_mmio_write(dev(&b), at, widths[w], w & 1 ? UINT64_MAX : 0));
			if (dev(&b)->refused != refused + 1)
				fail_msg("write at 0x%x, %u wide: taken", at, widths[w]);
		}
	const uint64_t beyond[] = { UINT32_MAX, UINT64_C(1) << 32, UINT64_MAX - 3, UINT64_MAX };
	for (unsigned i = 0; i < 4; i++) {
		uint64_t v = 1;
		assert_true(vio_mmio_read(dev(&b), beyond[i], 4, &v));
		assert_int_equal(v, 0);
		assert_true(vio_mmio_write(dev(&b), beyond[i], 4, 0));
	}
	assert_memory_equal(copy, b.g->dev, sizeof *copy);
	free(copy);
	blk_close(&b);
}

static void config_takes_any_width(void **state)
{
	struct blk_rig b = running();
	uint64_t v, by_bytes = 0;

	(void)state;
	assert_true(vio_mmio_read(dev(&b), VIO_MMIO_CONFIG, 8, &v));
	assert_int_equal(v, CAPACITY);
	for (uint32_t i = 0; i < 8; i++) {
		assert_true(vio_mmio_read(dev(&b), VIO_MMIO_CONFIG + i, 1, &v));
		by_bytes |= v << 8 * i;
	}
	assert_int_equal(by_bytes, CAPACITY);
	uint64_t refused = dev(&b)->refused;
	assert_true(vio_mmio_read(dev(&b), VIO_MMIO_CONFIG + 1, 2, &v));
	assert_int_equal(dev(&b)->refused, refused + 1);
	assert_true(vio_mmio_read(dev(&b), PAGE_END, 4, &v));		/* behind the end */
	assert_int_equal(v, 0);
	assert_true(vio_mmio_write(dev(&b), VIO_MMIO_CONFIG + 32, 1, 0));	/* writeback: a driver's to write */
	assert_int_equal(b.g->dev->config[32], 0);
	assert_true(vio_mmio_write(dev(&b), VIO_MMIO_CONFIG, 4, 7));	/* capacity: not */
	assert_int_equal(dev(&b)->refused, refused + 2);
	assert_true(vio_mmio_write(dev(&b), VIO_MMIO_CONFIG + 32, 4, 0));	/* nor what stands behind it */
	assert_int_equal(dev(&b)->refused, refused + 3);
	blk_close(&b);
}

static void events_stay_until_acknowledged(void **state)
{
	struct blk_rig b = running();

	(void)state;
	assert_int_equal(get(&b, 0x060), 0);
	struct ask a = blk_ask(&b, VIO_BLK_T_IN, 1, NULL, 0, 512);
	blk_add(&b, 0, &a, 0, 0);
	rig_kick(b.g, 0);
	assert_int_equal(get(&b, 0x060), 1);
	assert_true(wire(&b)->line);
	vio_dev_config_changed(b.g->dev);
	assert_int_equal(get(&b, 0x060), 3);
	put(&b, 0x064, 0xfffffffc);			/* bits that mean nothing */
	assert_int_equal(get(&b, 0x060), 3);
	put(&b, 0x064, 1);
	assert_int_equal(get(&b, 0x060), 2);
	assert_true(wire(&b)->line);
	put(&b, 0x064, 3);
	assert_int_equal(get(&b, 0x060), 0);
	assert_false(wire(&b)->line);
	vio_dev_config_changed(b.g->dev);
	put(&b, 0x070, 0);
	assert_int_equal(get(&b, 0x060), 0);		/* 4.2.2.1: a reset clears them */
	assert_false(wire(&b)->line);
	blk_close(&b);
}

static void generation_changes_with_the_config(void **state)
{
	struct blk_rig b = running();
	uint32_t before = get(&b, 0x0fc);

	(void)state;
	assert_int_equal(get(&b, 0x0fc), before);
	vio_dev_config_changed(b.g->dev);
	assert_int_not_equal(get(&b, 0x0fc), before);
	blk_close(&b);
}

static void a_queue_not_ready_is_not_looked_at(void **state)
{
	struct blk_rig b = running();

	(void)state;
	assert_true(vio_mmio_queue_stop(&wire(&b)->drv, 1));
	assert_int_equal(get(&b, 0x044), 0);
	struct ask a = blk_ask(&b, VIO_BLK_T_IN, 1, NULL, 0, 512);
	blk_add(&b, 1, &a, 0, 0);
	vio_drvq_kick_due(&b.g->q[1]);
	put(&b, 0x050, 1);
	vio_loop_pump(&b.g->wire, 10);
	assert_null(rig_get(b.g, 1, NULL));
	assert_int_equal(b.t->count, 0);
	rig_start_queue(b.g, 1);			/* and it can be used again, without RING_RESET */
	struct ask again = blk_ask(&b, VIO_BLK_T_IN, 1, NULL, 0, 512);
	blk_add(&b, 1, &again, 0, 0);
	rig_kick(b.g, 1);
	assert_ptr_equal(rig_get(b.g, 1, NULL), again.w);
	blk_close(&b);
}

static void queue_registers_are_latched(void **state)
{
	static const struct { const char *what; uint32_t sel, at, v; } rows[] = {
		{ "the size of a ready queue", 0, 0x038, 2 }, { "its descriptor area", 0, 0x080, 0 }, { "its driver area", 0, 0x094, 1 },
		{ "its device area", 0, 0x0a4, 1 }, { "ready again", 0, 0x044, 1 }, { "ready, but neither 0 nor 1", 0, 0x044, 2 },
		{ "the size of a queue that is not there", 2, 0x038, 2 }, { "ready, of one", 64, 0x044, 1 },
		{ "not ready, of one", UINT32_MAX, 0x044, 0 }, { "a reset, of one", UINT32_MAX, 0x0c0, 1 },
		{ "a reset with a value that is not 1", 0, 0x0c0, 2 }, { "a notification for one", 0, 0x050, 2 },
		{ "a notification far out", 0, 0x050, UINT32_MAX }, { "a status of more than 8 bits", 0, 0x070, 0x100 },
		{ "a status of more than 8 bits", 0, 0x070, 0x10080 },
	};
	struct blk_rig b = running();

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct vio_dev before = *b.g->dev;
		put(&b, 0x030, rows[i].sel);
		assert_true(put(&b, rows[i].at, rows[i].v));
		if (memcmp(&before, b.g->dev, sizeof before))
			fail_msg("%s: something has changed", rows[i].what);
		struct ask a = blk_ask(&b, VIO_BLK_T_IN, 1, NULL, 0, 512);
		assert_int_equal(blk_run(&b, &a, 0, 0, NULL), VIO_BLK_S_OK);
	}
	blk_close(&b);
}

static void queue_reset_is_shown(void **state)
{
	struct blk_rig b = running();

	(void)state;
	put(&b, 0x030, 1);
	assert_int_equal(get(&b, 0x0c0), 0);
	late(&b, 1);
	put(&b, 0x0c0, 1);
	assert_int_equal(get(&b, 0x0c0), 1);		/* as long as it is ongoing */
	assert_int_equal(get(&b, 0x044), 1);
	release(&b);
	assert_int_equal(get(&b, 0x0c0), 0);
	assert_int_equal(get(&b, 0x044), 0);
	rig_start_queue(b.g, 1);
	put(&b, 0x030, 1);
	assert_int_equal(get(&b, 0x044), 1);
	assert_int_equal(get(&b, 0x0c0), 0);
	struct ask a = blk_ask(&b, VIO_BLK_T_IN, 1, NULL, 0, 512);
	blk_add(&b, 1, &a, 0, 0);
	rig_kick(b.g, 1);
	assert_ptr_equal(rig_get(b.g, 1, NULL), a.w);
	late(&b, 1);
	put(&b, 0x0c0, 1);
	release(&b);
	put(&b, 0x070, 0);
	assert_int_equal(get(&b, 0x0c0), 0);		/* after a reset of all */
	blk_close(&b);
}

/* Drivers take the end of these writes for the end of what they ask: Linux does not look afterwards. */
static void a_write_ends_when_it_is_done(void **state)
{
	static const struct { const char *what; uint32_t at; } rows[] = {
		{ "reset", 0x070 }, { "the end of a queue's use", 0x044 },
	};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct blk_rig b = running();
		struct ask a = late(&b, 1);
		put(&b, 0x030, 1);
		if (put(&b, rows[i].at, 0))
			fail_msg("%s: complete with a request in flight", rows[i].what);
		assert_int_equal(wire(&b)->settled, 0);
		assert_int_not_equal(get(&b, rows[i].at), 0);
		memset(a.w, FILL, a.w_len);
		release(&b);
		assert_int_equal(wire(&b)->settled, 1);
		assert_int_equal(get(&b, rows[i].at), 0);
		put(&b, 0x030, 1);
		assert_true(put(&b, rows[i].at, 0));	/* nothing to wait for */
		assert_int_equal(wire(&b)->settled, 1);
		blk_close(&b);
	}
}

/* B1 of many: a reset under many requests, again and again; nothing of them is written after it. */
static void reset_with_requests_in_flight(void **state)
{
	struct blk_rig b = blk_new();

	(void)state;
	assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
	for (unsigned round = 0; round < 500; round++) {
		rig_start(b.g, 1, BITS(ALL_BLK));
		b.t->hold = true;
		for (unsigned i = 0; i < RIG_SIZE / 3; i++) {
			struct ask a = blk_ask(&b, VIO_BLK_T_IN, i, NULL, 0, 512);
			blk_add(&b, 0, &a, 0, 0);
		}
		rig_kick(b.g, 0);
		assert_int_equal(b.t->held_count, RIG_SIZE / 3);
		assert_true(put(&b, 0x070, 0));		/* this disk can be interrupted at once */
		assert_int_equal(b.t->held_count, 0);
		assert_int_equal(get(&b, 0x060), 0);
		b.t->hold = false;
		test_disk_forget(b.t);
	}
	blk_close(&b);
}

static void shared_memory_is_found(void **state)
{
	static const struct vio_mmio_shm shm[] = { { 0, UINT64_C(0x1234567800000000), UINT64_C(0x200001000) },
		{ 2, UINT64_MAX - 4095, 8192 } };
	struct blk_rig b = closed(1);
	uint64_t base, len;

	(void)state;
	assert_false(vio_mmio_shm_find(&wire(&b)->drv, 0, &base, &len));
	assert_true(base == UINT64_MAX && len == UINT64_MAX);
	dev(&b)->shm = shm;
	dev(&b)->shms = 2;
	assert_true(vio_mmio_shm_find(&wire(&b)->drv, 0, &base, &len));
	assert_true(base == shm[0].base && len == shm[0].len);
	assert_false(vio_mmio_shm_find(&wire(&b)->drv, 1, &base, &len));
	assert_false(vio_mmio_shm_find(&wire(&b)->drv, 2, &base, &len));	/* it would wrap around */
	put(&b, 0x0ac, 256);				/* an id has 8 bits */
	assert_int_equal(get(&b, 0x0b0), UINT32_MAX);
	blk_close(&b);
}

/* ---- The driver ---- */

struct page { uint32_t magic, version, id; unsigned reads, writes; };

static uint32_t page_read(void *arg, uint32_t at, unsigned width)
{
	struct page *p = arg;

	assert_int_equal(width, 4);
	assert_true(at == 4 * p->reads && at <= 8);	/* in this order, and nothing else */
	return (const uint32_t[]){ p->magic, p->version, p->id }[p->reads++];
}

static void page_write(void *arg, uint32_t at, unsigned width, uint32_t value)
{
	(void)at, (void)width, (void)value;
	((struct page *)arg)->writes++;
}

static void only_what_fits_is_probed(void **state)
{
	static const struct { const char *what; struct page p; unsigned reads; bool ok, silent; } rows[] = {
		{ "a disk", { 0x74726976, 2, 2, 0, 0 }, 3, true, true },
		{ "a placeholder", { 0x74726976, 2, 0, 0, 0 }, 3, false, true },
		{ "nothing", { 0xffffffff, 2, 2, 0, 0 }, 1, false, false },
		{ "the wrong byte order", { 0x76697274, 2, 2, 0, 0 }, 1, false, false },
		{ "a legacy device", { 0x74726976, 1, 2, 0, 0 }, 2, false, false },
		{ "a later version", { 0x74726976, 3, 2, 0, 0 }, 2, false, false },
	};
	static const struct vio_mmio_access access = { page_read, page_write };

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct page p = rows[i].p;
		struct vio_mmio_drv d;
		const char *why;
		bool ok = vio_mmio_probe(&d, &access, &p, (struct vio_platform){ &rig_platform, NULL }, &why);
		if (ok != rows[i].ok || p.reads != rows[i].reads || p.writes || !why != rows[i].silent)
			fail_msg("%s: %s after %u reads: %s", rows[i].what, ok ? "taken" : "ignored", p.reads, why ? why : "no word");
	}
}

/* Feature registers with a selector of one bit, as QEMU's are. */
struct one_bit { uint32_t sel[2], offered[2], taken[2]; };

static uint32_t one_bit_read(void *arg, uint32_t at, unsigned width)
{
	const struct one_bit *p = arg;

	(void)width;
	return at == VIO_MMIO_DEVICE_FEATURES ? p->offered[p->sel[0]] : 0;
}

static void one_bit_write(void *arg, uint32_t at, unsigned width, uint32_t value)
{
	struct one_bit *p = arg;

	(void)width;
	if (at == VIO_MMIO_DEVICE_FEATURES_SEL)
		p->sel[0] = value != 0;
	else if (at == VIO_MMIO_DRIVER_FEATURES_SEL)
		p->sel[1] = value != 0;
	else if (at == VIO_MMIO_DRIVER_FEATURES)
		p->taken[p->sel[1]] = value;
}

static void a_selector_of_one_bit(void **state)
{
	static const struct vio_mmio_access access = { one_bit_read, one_bit_write };
	struct one_bit p = { .offered = { 1u << VIO_F_EVENT_IDX, 1u << (VIO_F_VERSION_1 - 32) | 1u << (VIO_F_RING_PACKED - 32) } };
	struct vio_mmio_drv d;
	const char *why;

	(void)state;
	assert_false(vio_mmio_probe(&d, &access, &p, (struct vio_platform){ &rig_platform, NULL }, &why));	/* for its port */
	struct vio_features f = d.port.ops->features(&d.port);
	assert_true(vio_has(f, VIO_F_EVENT_IDX) && vio_has(f, VIO_F_VERSION_1) && vio_has(f, VIO_F_RING_PACKED));
	assert_true(f.word[1] == 0);
	assert_true(d.port.ops->accept(&d.port, f));
	assert_int_equal(p.taken[0], p.offered[0]);
	assert_int_equal(p.taken[1], p.offered[1]);
}

static void interrupts_are_acknowledged(void **state)
{
	struct blk_rig b = running();

	(void)state;
	assert_int_equal(vio_mmio_interrupt(&wire(&b)->drv), 0);	/* shared with another device */
	vio_dev_config_changed(b.g->dev);
	__atomic_or_fetch(&dev(&b)->interrupt, 0x80, __ATOMIC_RELAXED);	/* a device that says more than there is */
	assert_int_equal(vio_mmio_interrupt(&wire(&b)->drv), VIO_MMIO_INT_CONFIG);
	assert_int_equal(get(&b, 0x060), 0x80);
	dev(&b)->interrupt = 0;
	blk_close(&b);
}

/* All of a driver's life under the eyes of wire_watch(), which stops the test at the first access that is not allowed. */
static void a_life_by_the_rules(void **state)
{
	(void)state;
	for (unsigned shape = 0; shape < SHAPES; shape++) {
		struct blk_rig b = blk_new();
		blk_start_shape(&b, shape);
		struct ask a = blk_ask(&b, VIO_BLK_T_IN, 1, NULL, 0, 512);
		assert_int_equal(blk_run(&b, &a, 0, 0, NULL), VIO_BLK_S_OK);
		assert_true(vio_mmio_interrupt(&wire(&b)->drv) & VIO_MMIO_INT_USED);
		assert_true(vio_mmio_queue_stop(&wire(&b)->drv, 0));
		rig_start_queue(b.g, 0);
		b.g->used = b.g->kept;
		blk_close(&b);
	}
}

static void only_ready_after_its_reset(void **state)
{
	struct blk_rig b = running();

	(void)state;
	late(&b, 1);
	assert_true(b.g->wire.port.ops->queue_reset(&b.g->wire.port, 1));
	assert_true(b.g->wire.port.ops->queue_is_live(&b.g->wire.port, 1));	/* the driver core waits for this */
	assert_false(b.g->wire.port.ops->queue_start(&b.g->wire.port, 1, &b.g->q[1]));
	release(&b);
	assert_false(b.g->wire.port.ops->queue_is_live(&b.g->wire.port, 1));
	rig_start_queue(b.g, 1);
	blk_close(&b);
}

static const struct CMUnitTest tests[] = {
	T(it_says_what_it_is, "magic value, version, ids, queue sizes {mmio-dev-1 mmio-dev-2}"),
	T(features_are_words, "features are read and written in 32-bit words, and words that there are not are nothing"),
	T(nothing_else_is_a_register, "every offset and width that is no register reads 0, changes nothing and is counted"),
	T(config_takes_any_width, "the config space takes accesses of 1 to 8 bytes, aligned, and writes only where a driver may"),
	T(events_stay_until_acknowledged, "events stand in InterruptStatus until acknowledged, and a reset clears them {mmio-dev-3 mmio-dev-4 mmio-dev-5; only us}"),
	T(generation_changes_with_the_config, "ConfigGeneration changes with the config space {mmio-dev-6; only us}"),
	T(a_queue_not_ready_is_not_looked_at, "a queue that is not ready is not looked at {mmio-dev-5 mmio-dev-7 mmio-drv-14; only us}"),
	T(queue_registers_are_latched, "registers of a ready queue, and of queues that there are not, are out of reach"),
	T(queue_reset_is_shown, "QueueReset is 1 while a reset goes on, then 0 as QueueReady is {mmio-dev-8 mmio-dev-9 mmio-dev-10 mmio-dev-11 mmio-dev-12; only us}"),
	T(a_write_ends_when_it_is_done, "a write that resets or stops is not complete before what is in flight has ended"),
	T(reset_with_requests_in_flight, "resets with requests in flight, 500 times"),
	T(shared_memory_is_found, "shared memory regions are found by id, and no others"),
	T(only_what_fits_is_probed, "what is no device of version 2 is ignored, a placeholder in silence {mmio-drv-4 mmio-drv-6 mmio-drv-8 mmio-drv-9 mmio-drv-21 mmio-drv-22 mmio-drv-23; only us}"),
	T(a_selector_of_one_bit, "a device that takes every selector of features but 0 for 1 has no features from 64 on, and keeps those below"),
	T(interrupts_are_acknowledged, "interrupts are read, acknowledged, and nothing else {mmio-drv-15 mmio-drv-16 mmio-drv-17 mmio-drv-26 mmio-drv-27 mmio-drv-28; only us}"),
	T(a_life_by_the_rules, "a driver's life without an access that is not allowed {mmio-drv-1 mmio-drv-2 mmio-drv-3 mmio-drv-10 mmio-drv-11 mmio-drv-12 mmio-drv-13 mmio-drv-24 mmio-drv-25; only us}"),
	T(only_ready_after_its_reset, "a queue's reset is complete when QueueReset reads 0 {mmio-drv-18; only us}"),
};

int main(void) { return vio_tests("mmio", tests, sizeof tests / sizeof *tests); }
