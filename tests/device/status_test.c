/*
 * The status machine (virtio 1.4, 2.1, 2.4, 2.6, 3.1, 3.4) as a driver meets it on the loop wire: register by register,
 * in any order a hostile one may choose.
 */
#include "blk_rig.h"

#define ACK VIO_S_ACKNOWLEDGE
#define DRV VIO_S_DRIVER
#define FOK VIO_S_FEATURES_OK
#define DOK VIO_S_DRIVER_OK

static const struct vio_drv_port_ops *ops(struct blk_rig *b) { return b->g->wire.port.ops; }
static struct vio_drv_port *port(struct blk_rig *b) { return &b->g->wire.port; }
static uint8_t status(struct blk_rig *b) { return ops(b)->status(port(b)); }
static void set(struct blk_rig *b, uint8_t s) { ops(b)->set_status(port(b), s); }

static struct blk_rig machine(uint16_t queues)
{
	struct blk_rig b = blk_new();

	b.o.queues = queues;
	assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
	return b;
}

/* A queue with one read in it, set up but not told of. */
static struct ask prepare_queue(struct blk_rig *b, uint16_t i)
{
	b->g->drv = (struct vio_drv){ .port = port(b), .features = BITS(VIO_F_VERSION_1) };
	b->g->used = (b->g->used + 15) & ~(size_t)15;
	rig_start_queue(b->g, i);
	struct ask a = blk_ask(b, VIO_BLK_T_IN, i, NULL, 0, 512);
	blk_add(b, i, &a, 0, 0);
	vio_drvq_kick_due(&b->g->q[i]);		/* publishes */
	return a;
}

static void raw_kick(struct blk_rig *b, uint16_t i) { ops(b)->kick(port(b), i, i); }

/* ---- Features ---- */

static void features_are_checked(void **state)
{
	const struct { const char *what; struct vio_features f; bool ok; } rows[] = {
		{ "VERSION_1 alone", BITS(VIO_F_VERSION_1), true },
		{ "nothing", { { 0, 0 } }, false },
		{ "no VERSION_1", BITS(VIO_BLK_F_FLUSH), false },
		{ "a device bit that was not offered", BITS(VIO_F_VERSION_1, VIO_BLK_F_ZONED), false },
		{ "a device bit that is another device's", BITS(VIO_F_VERSION_1, 3), false },
		{ "a transport's bit", BITS(VIO_F_VERSION_1, VIO_F_SR_IOV), false },
		{ "a bit nobody knows", BITS(VIO_F_VERSION_1, 60), false },
		{ "a bit in the second word", BITS(VIO_F_VERSION_1, 127), false },
		{ "many that were offered", BITS(VIO_F_VERSION_1, VIO_BLK_F_FLUSH, VIO_F_RING_PACKED, VIO_F_IN_ORDER), true },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct blk_rig b = machine(1);
		for (unsigned round = 0; round < 2; round++) {	/* what was granted once is granted again */
			set(&b, 0);
			set(&b, ACK);
			set(&b, ACK | DRV);
			assert_true(ops(&b)->accept(port(&b), rows[i].f));
			set(&b, ACK | DRV | FOK);
			if (!!(status(&b) & FOK) != rows[i].ok)
				fail_msg("%s: FEATURES_OK %s", rows[i].what, rows[i].ok ? "refused" : "granted");
			set(&b, ACK | DRV | FOK | DOK);
			assert_int_equal(!!(status(&b) & DOK), rows[i].ok);	/* not without FEATURES_OK */
		}
		blk_close(&b);
	}
}

static void what_is_offered_is_known(void **state)
{
	struct blk_rig b = machine(1);
	struct vio_features f = ops(&b)->features(port(&b));

	(void)state;
	assert_true(vio_has(f, VIO_F_VERSION_1));
	for (unsigned bit = 0; bit < VIO_F_LIMIT; bit++)
		if (bit > VIO_F_SUSPEND || bit == VIO_F_SR_IOV || (bit == VIO_F_ADMIN_VQ && !ops(&b)->admin_queues) ||
		    (bit == VIO_F_NOTIF_CONFIG_DATA && !b.g->wire.port.has_config_data) ||
		    (bit > VIO_BLK_F_ZONED && bit < VIO_F_INDIRECT_DESC) || bit == 42 || bit == 30 || bit == 31)
			assert_false(vio_has(f, bit));
	blk_close(&b);
}

static void features_are_settled_once(void **state)
{
	struct blk_rig b = machine(1);

	(void)state;
	set(&b, ACK | DRV);
	ops(&b)->accept(port(&b), BITS(VIO_F_VERSION_1, VIO_BLK_F_FLUSH));
	set(&b, ACK | DRV | FOK);
	ops(&b)->accept(port(&b), BITS(VIO_F_VERSION_1, VIO_BLK_F_DISCARD));
	assert_true(vio_features_equal(b.g->dev->accepted, BITS(VIO_F_VERSION_1, VIO_BLK_F_FLUSH)));
	set(&b, ACK | DRV | FOK | DOK);
	ops(&b)->accept(port(&b), BITS(VIO_F_VERSION_1, VIO_BLK_F_DISCARD));
	assert_true(vio_features_equal(b.g->dev->accepted, BITS(VIO_F_VERSION_1, VIO_BLK_F_FLUSH)));
	blk_close(&b);
}

static void config_is_read_before_features(void **state)
{
	struct blk_rig b = machine(1);
	vio_le64 capacity;

	(void)state;
	assert_true(ops(&b)->config_read(port(&b), 0, &capacity, 8));	/* status 0 */
	assert_int_equal(vio_le64_get(capacity), CAPACITY);
	set(&b, ACK | DRV);
	assert_true(ops(&b)->config_read(port(&b), 0, &capacity, 8));
	assert_int_equal(vio_le64_get(capacity), CAPACITY);
	unsigned char past[16];
	memset(past, FILL, sizeof past);
	ops(&b)->config_read(port(&b), 90, past, sizeof past);
	assert_true(all_are(past, sizeof past, 0));
	ops(&b)->config_read(port(&b), UINT32_MAX - 4, past, sizeof past);
	assert_true(all_are(past, sizeof past, 0));
	blk_close(&b);
}

/* ---- Nothing happens before DRIVER_OK ---- */

static void nothing_is_consumed_before_driver_ok(void **state)
{
	struct blk_rig b = machine(1);
	const uint8_t steps[] = { 0, ACK, ACK | DRV, ACK | DRV | FOK };

	(void)state;
	struct ask a = { 0 };
	for (unsigned i = 0; i < sizeof steps; i++) {
		if (steps[i] & FOK)
			ops(&b)->accept(port(&b), BITS(VIO_F_VERSION_1));
		set(&b, steps[i]);
		if (!a.w)
			a = prepare_queue(&b, 0);
		raw_kick(&b, 0);
		vio_loop_pump(&b.g->wire, 10);
		assert_int_equal(b.t->count, 0);
		assert_int_equal(b.g->wire.used, 0);
		assert_true(all_are(a.w, 513, FILL));
	}
	set(&b, ACK | DRV | FOK | DOK);		/* and then without a kick: the driver may have filled it before */
	vio_loop_pump(&b.g->wire, 10);
	assert_int_equal(b.t->count, 1);
	assert_ptr_equal(rig_get(b.g, 0, NULL), a.w);
	blk_close(&b);
}

/* Every value of the status field, written in every state: no bit is cleared but by 0, none is skipped. */
static void any_status_in_any_state(void **state)
{
	const uint8_t states[] = { 0, ACK, ACK | DRV, ACK | DRV | FOK, ACK | DRV | FOK | DOK };

	(void)state;
	struct blk_rig b = machine(1);
	for (unsigned from = 0; from < sizeof states; from++)
		for (unsigned value = 0; value < 256; value++) {
			set(&b, 0);
			assert_int_equal(status(&b), 0);
			if (states[from] & DRV)
				set(&b, ACK | DRV);
			ops(&b)->accept(port(&b), BITS(VIO_F_VERSION_1));
			set(&b, states[from]);
			assert_int_equal(status(&b), states[from]);
			set(&b, (uint8_t)value);
			uint8_t now = status(&b);
			if (value == 0) {
				assert_int_equal(now, 0);
				continue;
			}
			assert_int_equal(now & states[from], states[from]);		/* nothing cleared */
			assert_int_equal(now & ~(states[from] | value), 0);		/* nothing of its own */
			assert_false(now & (VIO_S_NEEDS_RESET | VIO_S_SUSPEND));	/* not a driver's to set; not negotiated */
			assert_true(!(now & DOK) || now & FOK);
			assert_true(!(now & FOK) || now & DRV);
		}
	blk_close(&b);
}

static void failed_is_not_served(void **state)
{
	struct blk_rig b = machine(1);

	(void)state;
	set(&b, ACK | DRV);
	ops(&b)->accept(port(&b), BITS(VIO_F_VERSION_1));
	set(&b, ACK | DRV | FOK);
	struct ask a = prepare_queue(&b, 0);
	(void)a;
	set(&b, ACK | DRV | FOK | VIO_S_FAILED);
	raw_kick(&b, 0);
	assert_int_equal(b.t->count, 0);
	blk_close(&b);
}

/* ---- Queues ---- */

static void a_live_queue_is_latched(void **state)
{
	struct blk_rig b = blk_new();
	unsigned char block[512];

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	vio_dev_queue_setup(b.g->dev, 0, 8, 0, 0, 0);	/* ignored while it is live */
	vio_dev_queue_go_live(b.g->dev, 0);
	assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 0, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
	assert_int_equal(vio_dev_queue_size_max(b.g->dev, 1), 0);
	assert_int_equal(vio_dev_queue_size_max(b.g->dev, UINT32_MAX), 0);
	vio_dev_queue_setup(b.g->dev, 64, 8, 0, 0, 0);
	vio_dev_queue_go_live(b.g->dev, UINT32_C(0x80000000));
	assert_false(vio_dev_queue_is_live(b.g->dev, UINT32_MAX));
	assert_false(vio_dev_notified(b.g->dev, UINT32_MAX));
	assert_false(vio_dev_notified(b.g->dev, 1));
	vio_dev_queue_reset(b.g->dev, UINT32_MAX);
	blk_close(&b);
}

static void rings_are_placed_in_memory(void **state)
{
	const uint64_t end = RIG_GPA + RIG_BYTES;
	const struct { const char *what; uint16_t size; uint64_t desc, driver, device; } rows[] = {
		{ "no descriptor table", 16, 0, RIG_GPA, RIG_GPA },
		{ "table outside memory", 16, end, RIG_GPA, RIG_GPA },
		{ "table half outside memory", 16, end - 128, RIG_GPA, RIG_GPA },
		{ "table at the end of the address space", 16, UINT64_MAX - 15, RIG_GPA, RIG_GPA },
		{ "available ring outside memory", 16, RIG_GPA, end - 8, RIG_GPA },
		{ "used ring outside memory", 16, RIG_GPA, RIG_GPA, end - 64 },
		{ "table misaligned", 16, RIG_GPA + 8, RIG_GPA, RIG_GPA },
		{ "available ring misaligned", 16, RIG_GPA, RIG_GPA + 1, RIG_GPA },
		{ "used ring misaligned", 16, RIG_GPA, RIG_GPA, RIG_GPA + 2 },
		{ "size not a power of two", 3, RIG_GPA, RIG_GPA + 4096, RIG_GPA + 8192 },
		{ "larger than the device has", 128, RIG_GPA, RIG_GPA + 4096, RIG_GPA + 8192 },
		{ "size 65535", 65535, RIG_GPA, RIG_GPA, RIG_GPA },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct blk_rig b = machine(1);
		set(&b, ACK | DRV);
		ops(&b)->accept(port(&b), BITS(VIO_F_VERSION_1));
		set(&b, ACK | DRV | FOK);
		vio_dev_queue_setup(b.g->dev, 0, rows[i].size, rows[i].desc, rows[i].driver, rows[i].device);
		vio_dev_queue_go_live(b.g->dev, 0);
		uint64_t told = b.g->wire.configs;
		set(&b, ACK | DRV | FOK | DOK);
		if (!(status(&b) & VIO_S_NEEDS_RESET) || !b.g->dev->needs_reset)
			fail_msg("%s: was started", rows[i].what);
		assert_int_equal(b.g->wire.configs, told + 1);
		raw_kick(&b, 0);
		rig_start(b.g, 1, BITS(ALL_BLK));	/* a reset heals */
		unsigned char block[512];
		assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 0, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
		blk_close(&b);
	}
}

/* One queue with a broken ring: told once, in words; the other serves on; a reset heals. */
static void a_broken_queue_needs_a_reset(void **state)
{
	struct blk_rig b = blk_new();
	unsigned char block[512];

	(void)state;
	b.o.queues = 2;
	blk_open_start(&b, BITS(ALL_BLK));
	uint64_t told = b.g->wire.configs;
	struct vio_buf wild = { 16, 64 };	/* nowhere */
	assert_true(vio_drvq_add(&b.g->q[1], &wild, 0, 1, &b));
	rig_kick(b.g, 1);
	assert_true(status(&b) & VIO_S_NEEDS_RESET);
	assert_non_null(strstr(b.g->dev->needs_reset, "outside guest memory"));
	assert_int_equal(b.g->wire.configs, told + 1);
	assert_null(rig_get(b.g, 1, NULL));
	raw_kick(&b, 1);
	vio_loop_pump(&b.g->wire, 10);
	assert_int_equal(b.g->wire.configs, told + 1);
	assert_int_equal(b.g->dev->queue[1].ring.stats.broken, 1);
	assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 0, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
	rig_start(b.g, 2, BITS(ALL_BLK));
	assert_false(status(&b) & VIO_S_NEEDS_RESET);
	struct ask a = blk_ask(&b, VIO_BLK_T_IN, 1, NULL, 0, 512);
	blk_add(&b, 1, &a, 0, 0);
	rig_kick(b.g, 1);
	assert_ptr_equal(rig_get(b.g, 1, NULL), a.w);
	blk_close(&b);
}

static void queue_reset_forgets_the_queue(void **state)
{
	struct blk_rig b = blk_new();
	uint32_t used;

	(void)state;
	b.o.queues = 2;
	blk_open_start(&b, BITS(ALL_BLK, VIO_F_RING_RESET));
	b.t->hold = true;
	struct ask a = blk_ask(&b, VIO_BLK_T_IN, 7, NULL, 0, 512);
	blk_add(&b, 1, &a, 0, 0);
	rig_kick(b.g, 1);
	uint64_t signals = b.g->wire.used;
	assert_true(ops(&b)->queue_reset(port(&b), 1));
	assert_false(ops(&b)->queue_is_live(port(&b), 1));
	raw_kick(&b, 1);				/* nothing of it runs, nobody hears of it */
	vio_loop_pump(&b.g->wire, 10);
	assert_int_equal(b.g->wire.used, signals);
	assert_int_equal(b.t->count, 1);
	b.t->hold = false;
	b.g->size = 8;
	rig_start_queue(b.g, 1);			/* from the beginning, and shorter */
	struct ask again = blk_ask(&b, VIO_BLK_T_IN, 7, NULL, 0, 512);
	blk_add(&b, 1, &again, 0, 0);
	rig_kick(b.g, 1);
	assert_ptr_equal(rig_get(b.g, 1, &used), again.w);
	assert_int_equal(used, 513);
	assert_int_equal(b.g->dev->queue[1].ring.place.size, 8);
	blk_close(&b);
	b = blk_new();
	blk_open_start(&b, BITS(ALL_BLK));		/* not negotiated: ignored */
	ops(&b)->queue_reset(port(&b), 0);
	assert_true(ops(&b)->queue_is_live(port(&b), 0));
	blk_close(&b);
}

static void reset_forgets_everything(void **state)
{
	struct blk_rig b = blk_new();
	const uint8_t zero = 0;

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK, PACKED_FULL));
	ops(&b)->config_write(port(&b), 32, &zero, 1);
	set(&b, 0);
	assert_int_equal(status(&b), 0);
	assert_false(vio_dev_queue_is_live(b.g->dev, 0));
	assert_true(vio_features_none(b.g->dev->accepted));
	uint64_t signals = b.g->wire.used, configs = b.g->wire.configs;
	unsigned char *before = malloc(RIG_BYTES);
	memcpy(before, b.g->bytes, RIG_BYTES);
	raw_kick(&b, 0);
	vio_loop_pump(&b.g->wire, 10);
	assert_memory_equal(before, b.g->bytes, RIG_BYTES);
	assert_int_equal(b.g->wire.used, signals);
	assert_int_equal(b.g->wire.configs, configs);
	free(before);
	rig_start(b.g, 1, BITS(ALL_BLK));	/* another format this time */
	assert_int_equal(blk_config(&b).writeback, 1);
	unsigned char block[512];
	assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 0, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
	blk_close(&b);
}

/* ---- Suspend (3.4) ---- */

static void suspend_only_where_it_makes_sense(void **state)
{
	(void)state;
	for (unsigned negotiated = 0; negotiated < 2; negotiated++) {
		struct blk_rig b = machine(1);
		struct vio_features f = BITS(VIO_F_VERSION_1);
		if (negotiated)
			vio_features_add(&f, VIO_F_SUSPEND);
		set(&b, VIO_S_SUSPEND);
		set(&b, ACK | DRV | VIO_S_SUSPEND);
		assert_false(status(&b) & VIO_S_SUSPEND);
		ops(&b)->accept(port(&b), f);
		set(&b, ACK | DRV | FOK);
		set(&b, ACK | DRV | FOK | VIO_S_SUSPEND);
		assert_false(status(&b) & VIO_S_SUSPEND);	/* DRIVER_OK is missing */
		set(&b, ACK | DRV | FOK | DOK);
		set(&b, ACK | DRV | FOK | DOK | VIO_S_SUSPEND);
		assert_int_equal(!!(status(&b) & VIO_S_SUSPEND), negotiated);
		assert_int_equal(!!(status(&b) & DOK), !negotiated);
		blk_close(&b);
	}
}

static void suspended_nothing_moves(void **state)
{
	struct blk_rig b = blk_new();
	const uint8_t zero = 0;
	uint32_t used;

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK, VIO_F_SUSPEND));
	uint8_t running = status(&b);
	set(&b, running | VIO_S_SUSPEND);
	assert_true(status(&b) & VIO_S_SUSPEND);
	ops(&b)->config_write(port(&b), 32, &zero, 1);
	assert_int_equal(blk_config(&b).writeback, 1);		/* ignored */
	unsigned char *before = malloc(RIG_BYTES);
	struct ask a = blk_ask(&b, VIO_BLK_T_IN, 9, NULL, 0, 512);
	blk_add(&b, 0, &a, 0, 0);
	vio_drvq_kick_due(&b.g->q[0]);
	memcpy(before, b.g->bytes, RIG_BYTES);
	uint64_t signals = b.g->wire.used;
	raw_kick(&b, 0);					/* by a driver that must not */
	vio_loop_pump(&b.g->wire, 10);
	assert_memory_equal(before, b.g->bytes, RIG_BYTES);
	assert_int_equal(b.g->wire.used, signals);
	free(before);
	set(&b, (uint8_t)(status(&b) | DOK));
	assert_int_equal(status(&b) & (VIO_S_SUSPEND | DOK), DOK);
	vio_loop_pump(&b.g->wire, 10);
	assert_ptr_equal(rig_get(b.g, 0, &used), a.w);		/* goes on where it stood */
	assert_memory_equal(a.w, b.t->bytes + 9 * 512, 512);
	set(&b, (uint8_t)(status(&b) | VIO_S_SUSPEND));
	set(&b, 0);						/* and a suspended device can be reset */
	assert_int_equal(status(&b), 0);
	blk_close(&b);
}

static void resume_that_fails_needs_a_reset(void **state)
{
	struct blk_rig b = blk_new();

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK, VIO_F_SUSPEND));
	set(&b, (uint8_t)(status(&b) | VIO_S_SUSPEND));
	b.t->no_channel = true;
	set(&b, (uint8_t)(status(&b) | DOK));
	assert_true(status(&b) & VIO_S_NEEDS_RESET);
	blk_close(&b);
}

static const struct CMUnitTest tests[] = {
	T(features_are_checked, "FEATURES_OK is granted for any valid set, again and again, and for no other {core-dev-5 core-dev-6 core-dev-8}"),
	T(what_is_offered_is_known, "only features that there are are offered {core-dev-4 core-dev-7 core-dev-23 core-dev-32}"),
	T(features_are_settled_once, "features are settled by FEATURES_OK"),
	T(config_is_read_before_features, "the config space can be read before FEATURES_OK, and behind its end {core-dev-11}"),
	T(nothing_is_consumed_before_driver_ok, "nothing is consumed before DRIVER_OK, and all of it after {core-dev-1}"),
	T(any_status_in_any_state, "any status in any state: bits are only added, 0 resets {core-dev-9 core-dev-15; only us}"),
	T(failed_is_not_served, "a driver that has given up is not served"),
	T(a_live_queue_is_latched, "a live queue's registers, and queues that there are not, are out of reach"),
	T(rings_are_placed_in_memory, "a ring that can't be is refused, told, and healed by a reset {core-dev-2 core-dev-3}"),
	T(a_broken_queue_needs_a_reset, "a broken queue needs a reset, told once in words; others serve on {core-dev-2 core-dev-3}"),
	T(queue_reset_forgets_the_queue, "queue reset ends a queue for good, until it is set up anew {core-dev-12 core-dev-13 core-dev-14}"),
	T(reset_forgets_everything, "after a reset nothing moves, and everything can be negotiated anew {core-dev-9 core-dev-10}"),
	T(suspend_only_where_it_makes_sense, "SUSPEND is ignored before DRIVER_OK and where not negotiated {core-dev-15; only us}"),
	T(suspended_nothing_moves, "suspended, nothing moves; resumed, all goes on {core-dev-16 core-dev-17 core-dev-21 core-dev-22a; only us}"),
	T(resume_that_fails_needs_a_reset, "a resume that fails needs a reset {core-dev-21; only us}"),
};

int main(void) { return vio_tests("status", tests, sizeof tests / sizeof *tests); }
