/*
 * Frozen by the owner (device/status.c): nothing of it shows, whatever the driver is in the middle of, and done() comes once.
 */
#include "blk_rig.h"
#include "moves.h"

#define ACK VIO_S_ACKNOWLEDGE
#define DRV VIO_S_DRIVER
#define FOK VIO_S_FEATURES_OK
#define DOK VIO_S_DRIVER_OK

static struct blk_rig running(struct vio_features f)
{
	struct blk_rig b = blk_new();

	b.o.queues = 2;
	blk_open_start(&b, vio_features_or(f, BITS(VIO_F_VERSION_1, VIO_F_RING_RESET, VIO_F_SUSPEND, ALL_BLK)));
	return b;
}

static const struct vio_drv_port_ops *ops(struct blk_rig *b) { return b->g->wire.port.ops; }
static struct vio_drv_port *port(struct blk_rig *b) { return &b->g->wire.port; }

/* A read on its way that the disk does not end. */
static struct ask held(struct blk_rig *b, uint16_t queue)
{
	struct ask a = blk_ask(b, VIO_BLK_T_IN, 7, NULL, 0, 512);

	b->t->hold = b->t->stubborn = true;
	blk_add(b, queue, &a, 0, 0);
	rig_kick(b->g, queue);
	assert_int_equal(b->t->held_count, 1);
	return a;
}

static void let_end(struct blk_rig *b)
{
	struct vio_disk_io *io = b->t->held[0];

	assert_int_equal(b->t->held_count, 1);
	b->t->held_count = 0;
	b->t->hold = b->t->stubborn = false;
	io->done(io, 0);
	vio_loop_pump(&b->g->wire, 100);
}

static void served(struct blk_rig *b, uint16_t queue)
{
	struct ask a = blk_ask(b, VIO_BLK_T_IN, 3, NULL, 0, 512);

	blk_add(b, queue, &a, 0, 0);
	rig_kick(b->g, queue);
	vio_loop_pump(&b->g->wire, 100);
	assert_ptr_equal(rig_get(b->g, queue, NULL), a.w);
	assert_int_equal(a.w[512], VIO_BLK_S_OK);
}

static struct vio_features shape(unsigned i)
{
	const struct vio_features f[] = { BITS(SPLIT_FULL), BITS(PACKED_FULL), BITS(VIO_F_RING_PACKED), BITS(VIO_F_VERSION_1) };
	return f[i];
}

/* What is in flight ends and is told; what comes afterwards waits. */
static void waits_for_what_is_in_flight(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct blk_rig b = running(shape(i));
		unsigned done = 0;
		struct ask a = held(&b, 1);

		vio_dev_freeze(b.g->dev, moves_done, &done);
		vio_loop_pump(&b.g->wire, 100);
		assert_int_equal(done, 0);
		assert_int_equal(vio_dev_status(b.g->dev), ACK | DRV | FOK | DOK);
		uint64_t used = b.g->wire.used;
		let_end(&b);
		assert_int_equal(done, 1);
		assert_int_equal(b.g->wire.used, used + 1);
		assert_ptr_equal(rig_get(b.g, 1, NULL), a.w);
		struct ask later = blk_ask(&b, VIO_BLK_T_IN, 9, NULL, 0, 512);
		blk_add(&b, 0, &later, 0, 0);
		rig_kick(b.g, 0);
		vio_loop_pump(&b.g->wire, 100);
		assert_null(rig_get(b.g, 0, NULL));
		assert_int_equal(vio_dev_status(b.g->dev), ACK | DRV | FOK | DOK);
		vio_dev_thaw(b.g->dev);
		vio_loop_pump(&b.g->wire, 100);
		assert_ptr_equal(rig_get(b.g, 0, NULL), later.w);
		served(&b, 0);
		served(&b, 1);
		assert_int_equal(done, 1);
		blk_close(&b);
	}
}

/* An owner who has waited enough: queues that had stopped go on at once, the other when it has stopped. */
static void thaws_before_it_is_frozen(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct blk_rig b = running(shape(i));
		unsigned done = 0;
		struct ask a = held(&b, 1);

		vio_dev_freeze(b.g->dev, moves_done, &done);
		vio_dev_thaw(b.g->dev);
		b.t->hold = false;
		served(&b, 0);
		let_end(&b);
		assert_ptr_equal(rig_get(b.g, 1, NULL), a.w);
		served(&b, 1);
		assert_int_equal(done, 0);
		blk_close(&b);
	}
}

/* A reset that waits, before or after the freeze: it is done first. */
static void while_a_reset_waits(void **state)
{
	(void)state;
	for (unsigned after = 0; after < 2; after++) {
		struct blk_rig b = running(shape(0));
		unsigned done = 0;
		held(&b, 1);

		if (after)
			vio_dev_freeze(b.g->dev, moves_done, &done);
		ops(&b)->set_status(port(&b), 0);
		if (!after)
			vio_dev_freeze(b.g->dev, moves_done, &done);
		assert_int_equal(done, 0);
		assert_int_not_equal(vio_dev_status(b.g->dev), 0);
		let_end(&b);
		assert_int_equal(done, 1);
		assert_int_equal(vio_dev_status(b.g->dev), 0);
		assert_false(vio_dev_queue_is_live(b.g->dev, 1));
		vio_dev_thaw(b.g->dev);
		rig_start(b.g, 2, shape(0));
		served(&b, 0);
		blk_close(&b);
	}
}

static void while_a_queue_reset_waits(void **state)
{
	(void)state;
	for (unsigned after = 0; after < 2; after++) {
		struct blk_rig b = running(shape(1));
		unsigned done = 0;
		held(&b, 1);

		if (after)
			vio_dev_freeze(b.g->dev, moves_done, &done);
		ops(&b)->queue_reset(port(&b), 1);
		if (!after)
			vio_dev_freeze(b.g->dev, moves_done, &done);
		assert_int_equal(done, 0);
		assert_true(vio_dev_queue_is_live(b.g->dev, 1));
		let_end(&b);
		assert_int_equal(done, 1);
		assert_false(vio_dev_queue_is_live(b.g->dev, 1));
		vio_dev_thaw(b.g->dev);
		assert_false(vio_dev_queue_is_live(b.g->dev, 1));
		served(&b, 0);
		rig_start_queue(b.g, 1);
		served(&b, 1);
		blk_close(&b);
	}
}

/* A queue's reset that waits is done even when the device is suspended meanwhile. */
static void a_queue_reset_outlives_suspend(void **state)
{
	struct blk_rig b = running(shape(0));

	(void)state;
	held(&b, 1);
	ops(&b)->queue_reset(port(&b), 1);
	ops(&b)->set_status(port(&b), ACK | DRV | FOK | DOK | VIO_S_SUSPEND);
	let_end(&b);
	assert_true(vio_dev_status(b.g->dev) & VIO_S_SUSPEND);
	assert_false(vio_dev_queue_is_live(b.g->dev, 1));
	ops(&b)->set_status(port(&b), ACK | DRV | FOK | DOK | VIO_S_SUSPEND);
	vio_loop_pump(&b.g->wire, 100);
	assert_false(vio_dev_queue_is_live(b.g->dev, 1));
	served(&b, 0);
	blk_close(&b);
}

static void while_suspend_waits(void **state)
{
	(void)state;
	for (unsigned after = 0; after < 2; after++) {
		struct blk_rig b = running(shape(2));
		unsigned done = 0;
		struct ask a = held(&b, 1);

		if (after)
			vio_dev_freeze(b.g->dev, moves_done, &done);
		ops(&b)->set_status(port(&b), ACK | DRV | FOK | DOK | VIO_S_SUSPEND);
		if (!after)
			vio_dev_freeze(b.g->dev, moves_done, &done);
		assert_false(vio_dev_status(b.g->dev) & VIO_S_SUSPEND);
		let_end(&b);
		assert_int_equal(done, 1);
		assert_int_equal(vio_dev_status(b.g->dev), ACK | DRV | FOK | VIO_S_SUSPEND);
		assert_ptr_equal(rig_get(b.g, 1, NULL), a.w);
		vio_dev_thaw(b.g->dev);
		assert_int_equal(vio_dev_status(b.g->dev), ACK | DRV | FOK | VIO_S_SUSPEND);
		ops(&b)->set_status(port(&b), ACK | DRV | FOK | DOK | VIO_S_SUSPEND);
		served(&b, 0);
		served(&b, 1);
		blk_close(&b);
	}
}

/* At each step of the driver's start, with features that are a draft only; and what it does meanwhile counts. */
static void before_driver_ok(void **state)
{
	static const uint8_t steps[] = { 0, ACK, ACK | DRV, ACK | DRV | FOK };

	(void)state;
	for (unsigned i = 0; i < sizeof steps; i++) {
		struct blk_rig b = blk_new();
		b.o.queues = 2;
		assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
		for (unsigned k = 0; k <= i; k++) {
			ops(&b)->set_status(port(&b), steps[k]);
			if (steps[k] == (ACK | DRV))
				ops(&b)->accept(port(&b), i == k ? BITS(VIO_BLK_F_FLUSH) : BITS(VIO_F_VERSION_1));
		}
		moves_on(b.g);
		assert_int_equal(vio_dev_status(b.g->dev), steps[i]);
		assert_true(moves_freeze(b.g));
		rig_start(b.g, 2, BITS(VIO_F_VERSION_1));	/* all of it while frozen */
		assert_int_equal(vio_dev_status(b.g->dev), ACK | DRV | FOK | DOK);
		struct ask a = blk_ask(&b, VIO_BLK_T_IN, 3, NULL, 0, 512);
		blk_add(&b, 0, &a, 0, 0);
		rig_kick(b.g, 0);
		assert_null(rig_get(b.g, 0, NULL));
		vio_dev_thaw(b.g->dev);
		vio_loop_pump(&b.g->wire, 100);
		assert_ptr_equal(rig_get(b.g, 0, NULL), a.w);
		blk_close(&b);
	}
}

/* A queue that the driver has broken stays so, here and where its state goes; the other serves on; a reset heals. */
static void a_broken_queue_stays_broken(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct blk_rig b = running(shape(i));
		struct vio_buf outside = { 0x1000, 16 };
		bool reset_one = i & 1;

		assert_true(vio_drvq_add(&b.g->q[1], &outside, 1, 0, &b));
		rig_kick(b.g, 1);
		assert_true(vio_dev_status(b.g->dev) & VIO_S_NEEDS_RESET);
		served(&b, 0);
		uint64_t configs = b.g->wire.configs;
		assert_true(moves_freeze(b.g));
		vio_dev_thaw(b.g->dev);
		moves_on(b.g);
		assert_true(vio_dev_status(b.g->dev) & VIO_S_NEEDS_RESET);
		assert_non_null(b.g->dev->needs_reset);
		assert_int_equal(b.g->wire.configs, configs);
		struct ask a = blk_ask(&b, VIO_BLK_T_IN, 3, NULL, 0, 512);
		blk_add(&b, 1, &a, 0, 0);
		rig_kick(b.g, 1);
		vio_loop_pump(&b.g->wire, 100);
		assert_null(rig_get(b.g, 1, NULL));
		served(&b, 0);
		if (reset_one) {
			ops(&b)->queue_reset(port(&b), 1);
			assert_false(vio_dev_queue_is_live(b.g->dev, 1));
			rig_start_queue(b.g, 1);
		} else {
			rig_reset(b.g);
			rig_start(b.g, 2, vio_features_or(shape(i), BITS(VIO_F_VERSION_1)));
			assert_false(vio_dev_status(b.g->dev) & VIO_S_NEEDS_RESET);
		}
		served(&b, 1);
		blk_close(&b);
	}
}

/* A change of the config space is told when the device goes on, once; and told where the state goes to, if it differs there. */
static void config_changes_wait(void **state)
{
	struct blk_rig b = running(shape(0));

	(void)state;
	uint64_t configs = b.g->wire.configs;
	uint32_t generation = b.g->dev->generation;
	assert_true(moves_freeze(b.g));
	b.t->disk.size /= 2;
	b.t->disk.resized(b.t->disk.resized_arg);
	assert_int_equal(b.g->wire.configs, configs);
	vio_dev_thaw(b.g->dev);
	assert_int_equal(b.g->wire.configs, configs + 1);
	moves_on(b.g);
	assert_int_equal(b.g->wire.configs, configs + 1);
	assert_int_equal(b.g->dev->generation, generation + 1);

	static unsigned char saved[MOVES_BYTES];
	assert_true(moves_freeze(b.g));
	size_t n = moves_save(b.g, saved, sizeof saved);
	b.t->disk.size *= 2;
	moves_replace(b.g);
	assert_null(moves_load(b.g, saved, n));
	assert_int_equal(b.g->dev->generation, generation + 2);
	assert_int_equal(b.g->wire.configs, configs + 1);
	vio_dev_thaw(b.g->dev);
	assert_int_equal(b.g->wire.configs, configs + 2);
	assert_int_equal(vio_le64_get(blk_config(&b).capacity), CAPACITY);
	served(&b, 0);
	blk_close(&b);
}

/* ---- States that can't be ---- */

static void malformed_states_are_refused(void **state)
{
	struct blk_rig b = running(shape(1));
	uint8_t before;

	(void)state;
	served(&b, 0);
	assert_true(moves_freeze(b.g));
	before = vio_dev_status(b.g->dev);
	assert_in_range(moves_refuses(b.g), 200, 5000);
	assert_int_equal(vio_dev_status(b.g->dev), before);
	vio_dev_thaw(b.g->dev);
	vio_loop_pump(&b.g->wire, 100);
	served(&b, 0);
	served(&b, 1);
	blk_close(&b);
}

/* A byte of the first part of a type, or with this selector. */
struct row { const char *what; uint16_t type; uint8_t selector; int at; uint8_t value; const char *why; };
enum { LENGTH = -4, TYPE = -16, FLAGS = -14 };

static size_t find_part(const unsigned char *s, size_t n, const struct row *r)
{
	for (size_t at = 0; at + 16 < n; at += 16u + (s[at + 12] | (size_t)s[at + 13] << 8))
		if ((s[at] | s[at + 1] << 8) == r->type && s[at + 4] == r->selector)
			return at + 16;
	fail_msg("no part of type 0x%x", r->type);
	return 0;
}

static void states_that_cannot_be(void **state)
{
	static const struct row rows[] = {
		{ "a part longer than the rest", VIO_PART_VQ_PLACE, 1, LENGTH + 1, 0xff, "middle of a part" },
		{ "a part of another length", VIO_PART_VQ_CFG, 0, LENGTH, 31, "wrong length" },
		{ "a type of nobody's", VIO_PART_VQ_CFG, 0, TYPE + 1, 0x77, "does not know" },
		{ "the same, optional", VIO_PART_CONFIG, 0, TYPE + 1, 0x77, NULL },
		{ "a queue of nobody's", VIO_PART_VQ_CFG, 1, -12, 2, "queue that the device does not have" },
		{ "a queue twice", VIO_PART_VQ_CFG, 1, -12, 0, "twice" },
		{ "a place twice", VIO_PART_VQ_PLACE, 1, -12, 0, "twice" },
		{ "a queue half enabled", VIO_PART_VQ_CFG, 0, 4, 2, "neither enabled nor not" },
		{ "a queue too large", VIO_PART_VQ_CFG, 0, 1, 0x40, "larger than the device" },
		{ "a queue half broken", VIO_PART_VQ_PLACE, 0, 4, 2, "neither whole nor broken" },
		{ "DRIVER_OK without FEATURES_OK", VIO_PART_DEVICE_STATUS, 0, 0, ACK | DRV | DOK, "without having features" },
		{ "DRIVER_OK and SUSPEND", VIO_PART_DEVICE_STATUS, 0, 0, ACK | DRV | FOK | DOK | VIO_S_SUSPEND, "runs and is suspended" },
		{ "features without VERSION_1", VIO_PART_DRV_FEATURES, 0, 4, 0, "VERSION_1" },
		{ "a feature of nobody's", VIO_PART_DRV_FEATURES, 0, 15, 1, "not offered" },
		{ "neither write-back nor not", VIO_PART_DEVICE_TYPE, 0, 0, 2, "block device" },
#ifdef RIG_MMIO
		{ "an interrupt of nobody's", VIO_PART_MMIO, 0, 16, 4, "interrupt" },
		{ "no registers", VIO_PART_MMIO, 0, FLAGS, 1, NULL },
#endif
#ifdef RIG_PCI
		{ "a vector of nobody's", VIO_PART_VQ_CFG, 0, 3, 1, "interrupt vector" },
		{ "a vector of nobody's for the configuration", VIO_PART_PCI_COMMON_CFG, 16, 1, 1, "interrupt vector" },
		{ "a field that is not kept so", VIO_PART_PCI_COMMON_CFG, 16, -12, 20, "other parts" },
		{ "a field twice", VIO_PART_PCI_COMMON_CFG, 16, -12, 18, "twice" },
		{ "another number of queues", VIO_PART_PCI_COMMON_CFG, 18, 0, 3, "another PCI function" },
		{ "another device id", VIO_PART_PCI_CONFIG, 0, 2, 0x41, "another PCI function" },
		{ "another BAR", VIO_PART_PCI_CONFIG, 0, 265, 1, "another PCI function" },
		{ "a vector half masked", VIO_PART_PCI_VECTORS, 0, 12, 2, "can't be" },
		{ "an odd address", VIO_PART_PCI_VECTORS, 0, 0, 1, "can't be" },
		{ "other notifications", VIO_PART_VQ_NOTIFY_CFG, 1, 0, 7, "other addresses" },
#endif
	};
	static unsigned char saved[MOVES_BYTES], bad[MOVES_BYTES], out[MOVES_BYTES];
	struct blk_rig b = running(shape(0));

	(void)state;
	assert_true(moves_freeze(b.g));
	size_t n = moves_save(b.g, saved, sizeof saved);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		memcpy(bad, saved, n);
		bad[find_part(saved, n, &rows[i]) + (size_t)(long)rows[i].at] = rows[i].value;
		const char *why = moves_load(b.g, bad, n);
		if (!why != !rows[i].why || (why && !strstr(why, rows[i].why)))
			fail_msg("%s: %s", rows[i].what, why ? why : "loaded");
		if (!why)
			assert_null(moves_load(b.g, saved, n));
		assert_int_equal(moves_save(b.g, out, sizeof out), n);
		assert_memory_equal(out, saved, n);
	}
	vio_dev_thaw(b.g->dev);
	vio_loop_pump(&b.g->wire, 100);
	served(&b, 0);
	blk_close(&b);
}

/* A device on one wire is not one on another. */
static void a_state_is_of_one_wire(void **state)
{
	static unsigned char plain[MOVES_BYTES], whole[MOVES_BYTES];
	struct blk_rig b = running(shape(0));

	(void)state;
	assert_true(moves_freeze(b.g));
	size_t n = vio_dev_save(b.g->dev, plain, sizeof plain), m = moves_save(b.g, whole, sizeof whole);
	if (m != n) {
		assert_non_null(strstr(moves_load(b.g, plain, n), "another wire"));
		assert_non_null(strstr(vio_dev_load(b.g->dev, whole, m), "and this one is not"));
	}
	assert_null(vio_dev_load(b.g->dev, plain, n));
	blk_close(&b);
}

/* Twice frozen, twice thawed, frozen while nothing runs. */
static void any_number_of_times(void **state)
{
	struct blk_rig b = blk_new();

	(void)state;
	assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
	vio_dev_thaw(b.g->dev);
	assert_true(moves_freeze(b.g));
	assert_true(moves_freeze(b.g));
	vio_dev_thaw(b.g->dev);
	vio_dev_thaw(b.g->dev);
	rig_start(b.g, 1, shape(0));
	for (unsigned i = 0; i < 300; i++) {
		rig_rewind(b.g);
		served(&b, 0);
		if (i % 3 == 0)
			moves_on(b.g);
		else
			assert_true(moves_freeze(b.g));
		vio_dev_thaw(b.g->dev);
	}
	blk_close(&b);
}

static const struct CMUnitTest tests[] = {
	T(waits_for_what_is_in_flight, "frozen: what is in flight ends and is told, what comes later waits"),
	T(thaws_before_it_is_frozen, "thawed before it was frozen: all goes on, and done is not called"),
	T(while_a_reset_waits, "frozen while a reset waits: it is reset, then frozen"),
	T(while_a_queue_reset_waits, "frozen while a queue's reset waits"),
	T(a_queue_reset_outlives_suspend, "suspended while a queue's reset waits: it is reset"),
	T(while_suspend_waits, "frozen while suspend waits: it is suspended"),
	T(before_driver_ok, "frozen and moved before DRIVER_OK"),
	T(a_broken_queue_stays_broken, "frozen and moved with a broken queue, NEEDS_RESET"),
	T(config_changes_wait, "frozen: changes of the config space are told later"),
	T(malformed_states_are_refused, "a state cut at each byte, or with any byte another, is refused and changes nothing, or is one"),
	T(states_that_cannot_be, "states that can't be are refused in words"),
	T(a_state_is_of_one_wire, "a state is of one wire"),
	T(any_number_of_times, "frozen and moved again and again"),
};

int main(void) { return vio_tests("freeze", tests, sizeof tests / sizeof *tests); }
