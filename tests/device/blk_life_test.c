/* The block device over time: durability, changes of size, slow disks, budgets, reset, suspend, saved state. */
#include "blk_rig.h"

/* ---- Durability (5.2.6.2) ---- */

struct durability {
	const char *what;
	bool flush, wce, writethrough;
	int set;			/* writeback is written: 0, 1; -1: not */
	int reads;			/* writeback then reads so; -1: not looked at */
	bool durable;
};

static const struct durability durability[] = {
	{ "neither FLUSH nor CONFIG_WCE", false, false, false, -1, -1, true },
	{ "FLUSH alone", true, false, false, -1, -1, false },
	{ "FLUSH alone, writethrough asked for", true, false, true, -1, -1, true },
	{ "CONFIG_WCE alone", false, true, false, -1, 0, true },
	{ "CONFIG_WCE alone, then set to 1", false, true, false, 1, 1, false },
	{ "both", true, true, false, -1, 1, false },
	{ "both, then set to 0", true, true, false, 0, 0, true },
	{ "both, writethrough asked for", true, true, true, -1, 0, true },
	{ "both, writethrough asked for, then set to 1", true, true, true, 1, 1, false },
	{ "FLUSH alone, 0 written where there is no field to write", true, false, false, 0, 1, false },
};

static struct vio_features durability_features(const struct durability *d)
{
	struct vio_features f = BITS(VIO_BLK_F_WRITE_ZEROES, VIO_BLK_F_DISCARD);

	if (d->flush)
		vio_features_add(&f, VIO_BLK_F_FLUSH);
	if (d->wce)
		vio_features_add(&f, VIO_BLK_F_CONFIG_WCE);
	return f;
}

static bool writes_are_durable(struct blk_rig *b)
{
	unsigned char block[512] = { 1 };
	struct vio_blk_range r = range_of(8, 8, 0);

	test_disk_forget(b->t);
	assert_int_equal(blk_do(b, VIO_BLK_T_OUT, 0, block, 512, NULL, 0, NULL), VIO_BLK_S_OK);
	assert_int_equal(b->t->count, 1);
	bool durable = b->t->asked[0].durable;
	/* zeroes are a write too: stable by a flush behind the last range, before the answer */
	test_disk_forget(b->t);
	assert_int_equal(blk_do(b, VIO_BLK_T_WRITE_ZEROES, 0, &r, sizeof r, NULL, 0, NULL), VIO_BLK_S_OK);
	assert_int_equal(b->t->count, durable ? 2 : 1);
	assert_true(!durable || b->t->asked[1].op == VIO_DISK_FLUSH);
	test_disk_forget(b->t);
	assert_int_equal(blk_do(b, VIO_BLK_T_DISCARD, 0, &r, sizeof r, NULL, 0, NULL), VIO_BLK_S_OK);
	assert_int_equal(b->t->count, 1);
	return durable;
}

static void three_ways_to_be_stable(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof durability / sizeof *durability; i++) {
		const struct durability *d = &durability[i];
		struct blk_rig b = blk_new();
		b.o.writethrough = d->writethrough;
		blk_open_start(&b, durability_features(d));
		if (d->set >= 0) {
			uint8_t v = (uint8_t)d->set;
			b.g->wire.port.ops->config_write(&b.g->wire.port, 32, &v, 1);
		}
		if (d->reads >= 0)
			assert_int_equal(blk_config(&b).writeback, d->reads);
		if (writes_are_durable(&b) != d->durable)
			fail_msg("%s: writes are %sdurable", d->what, d->durable ? "not " : "");
		/* a reset forgets what the driver set */
		rig_reset(b.g);
		rig_start(b.g, 1, BITS(VIO_BLK_F_FLUSH, VIO_BLK_F_CONFIG_WCE));
		assert_int_equal(blk_config(&b).writeback, !d->writethrough);
		blk_close(&b);
	}
}

static void an_answer_waits_for_the_disk(void **state)
{
	struct blk_rig b = blk_new();
	unsigned char block[512] = { 0 };

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	b.t->hold = true;
	struct ask w = blk_ask(&b, VIO_BLK_T_OUT, 0, block, 512, 0), f = blk_ask(&b, VIO_BLK_T_FLUSH, 0, NULL, 0, 0);
	blk_add(&b, 0, &w, 0, 0);
	blk_add(&b, 0, &f, 0, 0);
	rig_kick(b.g, 0);
	assert_int_equal(b.t->held_count, 2);
	assert_null(rig_get(b.g, 0, NULL));
	test_disk_release(b.t);
	vio_loop_pump(&b.g->wire, 1);
	assert_ptr_equal(rig_get(b.g, 0, NULL), f.w);	/* held back in the other order */
	assert_ptr_equal(rig_get(b.g, 0, NULL), w.w);
	blk_close(&b);
}

static void only_writeback_can_be_written(void **state)
{
	struct blk_rig b = blk_new();

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	struct vio_blk_config before = blk_config(&b);
	const unsigned char ones[96] = { [0 ... 95] = 0xff };
	for (uint32_t at = 0; at < 100; at++)
		for (uint32_t len = 1; len <= 8 && at + len <= 96; len++)
			if (at != 32 || len != 1)
				assert_false(b.g->wire.port.ops->config_write(&b.g->wire.port, at, ones, len));
	struct vio_blk_config after = blk_config(&b);
	assert_memory_equal(&before, &after, sizeof before);
	assert_true(b.g->wire.port.ops->config_write(&b.g->wire.port, 32, ones, 1));
	assert_int_equal(blk_config(&b).writeback, 1);	/* 0 or 1, whatever was written */
	blk_close(&b);
}

/* ---- Its size changes ---- */

static void resize(struct blk_rig *b, uint64_t size)
{
	b->t->disk.size = size;
	b->t->disk.resized(b->t->disk.resized_arg);
}

static void growing_tells_the_driver(void **state)
{
	struct blk_rig b = blk_new();
	unsigned char block[512];

	(void)state;
	b.t->disk.size = DISK_BYTES / 2;
	blk_open_start(&b, BITS(ALL_BLK));
	assert_int_equal(vio_le64_get(blk_config(&b).capacity), CAPACITY / 2);
	assert_int_equal(blk_do(&b, VIO_BLK_T_IN, CAPACITY - 1, NULL, 0, block, 512, NULL), VIO_BLK_S_IOERR);
	uint64_t told = b.g->wire.configs;
	uint32_t generation = b.g->dev->generation;
	resize(&b, DISK_BYTES);
	assert_int_equal(b.g->wire.configs, told + 1);
	assert_int_not_equal(b.g->dev->generation, generation);
	assert_int_equal(vio_le64_get(blk_config(&b).capacity), CAPACITY);
	assert_int_equal(blk_do(&b, VIO_BLK_T_IN, CAPACITY - 1, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
	resize(&b, 1024);
	assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 1, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
	assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 2, NULL, 0, block, 512, NULL), VIO_BLK_S_IOERR);
	blk_close(&b);
}

static void release_all(void *arg)
{
	struct blk_rig *b = arg;
	test_disk_release(b->t);
	vio_loop_pump(&b->g->wire, 8);
}

static void suspended_it_stands_still(void **state)
{
	struct blk_rig b = blk_new();
	unsigned char block[512];
	uint32_t used;

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK, VIO_F_SUSPEND));
	b.t->hold = true;
	struct ask a = blk_ask(&b, VIO_BLK_T_IN, 3, NULL, 0, 512);
	blk_add(&b, 0, &a, 0, 0);
	rig_kick(b.g, 0);
	b.g->relax = release_all;	/* the disk answers while the driver waits */
	b.g->relax_arg = &b;
	assert_true(vio_drv_suspend(&b.g->drv));
	assert_int_equal(b.t->cancels, 0);
	assert_ptr_equal(rig_get(b.g, 0, &used), a.w);		/* what was in flight has ended, well */
	assert_int_equal(a.w[512], VIO_BLK_S_OK);
	uint64_t told = b.g->wire.configs;
	resize(&b, DISK_BYTES / 2);
	assert_int_equal(b.g->wire.configs, told);
	assert_int_equal(vio_le64_get(blk_config(&b).capacity), CAPACITY);
	b.t->hold = false;
	assert_true(vio_drv_resume(&b.g->drv));
	assert_true(b.g->wire.configs > told);
	assert_int_equal(vio_le64_get(blk_config(&b).capacity), CAPACITY / 2);
	b.g->relax = NULL;
	assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 3, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
	blk_close(&b);
}

/* ---- Queues ---- */

static void each_queue_has_its_channel(void **state)
{
	struct blk_rig b = blk_new();

	(void)state;
	b.o.queues = 3;
	blk_open_start(&b, BITS(ALL_BLK));
	assert_int_equal(b.t->channels, 3);
	for (uint16_t i = 0; i < 3; i++) {
		rig_rewind(b.g);
		struct ask a = blk_ask(&b, VIO_BLK_T_IN, i, NULL, 0, 512);
		blk_add(&b, i, &a, 0, 0);
		rig_kick(b.g, i);
		assert_ptr_equal(rig_get(b.g, i, NULL), a.w);
		assert_int_equal(b.t->asked[b.t->count - 1].queue, i);
	}
	assert_true(b.t->flushes >= 3);		/* each turn tells the channel that it is over */
	rig_reset(b.g);
	assert_int_equal(b.t->channels, 0);
	blk_close(&b);
}

/* Queue depth many of 64 KiB each: a turn ends after 1 MiB, and the rest comes in the next ones. */
static void a_turn_has_a_budget(void **state)
{
	struct blk_rig b = blk_new();

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK, SPLIT_FULL));
	b.g->wire.lazy = true;
	for (unsigned i = 0; i < 40; i++) {
		struct ask a = blk_ask(&b, VIO_BLK_T_IN, 0, NULL, 0, 65536);
		blk_add(&b, 0, &a, 0, 0);
	}
	rig_kick(b.g, 0);
	vio_loop_pump(&b.g->wire, 1);
	assert_in_range(b.t->count, 15, 16);
	vio_loop_pump(&b.g->wire, 1);
	assert_in_range(b.t->count, 30, 32);
	vio_loop_pump(&b.g->wire, 8);
	assert_int_equal(b.t->count, 40);
	unsigned back = 0;
	while (rig_get(b.g, 0, NULL))
		back++;
	assert_int_equal(back, 40);
	blk_close(&b);
}

static void polling_looks_at_the_disk(void **state)
{
	struct blk_rig b = blk_new();

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	struct ask a = blk_ask(&b, VIO_BLK_T_IN, 0, NULL, 0, 512);
	blk_add(&b, 0, &a, 0, 0);
	assert_false(vio_drvq_kick_due(&b.g->q[0]) && b.g->wire.kicks);
	assert_true(vio_dev_queue_poll(b.g->dev, 0));
	assert_int_equal(b.t->polls, 1);
	assert_ptr_equal(rig_get(b.g, 0, NULL), a.w);
	assert_false(vio_dev_queue_poll(b.g->dev, 0));
	blk_close(&b);
}

/* Answers come in any order, and outside of a turn; with IN_ORDER the ring puts them right. */
static void a_slow_disk_answers_in_any_order(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_BLK, SPLIT_FULL), BITS(ALL_BLK, PACKED_FULL) };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct blk_rig b = blk_new();
		struct ask a[50];
		blk_open_start(&b, rings[k]);
		b.t->hold = true;
		for (unsigned i = 0; i < 50; i++) {
			a[i] = blk_ask(&b, VIO_BLK_T_IN, i, NULL, 0, 512);
			blk_add(&b, 0, &a[i], 0, 0);
			rig_kick(b.g, 0);
		}
		assert_int_equal(b.t->held_count, 50);
		test_disk_release(b.t);
		vio_loop_pump(&b.g->wire, 8);
		for (unsigned i = 0; i < 50; i++) {
			unsigned which = vio_has(rings[k], VIO_F_IN_ORDER) ? i : 49 - i;
			uint32_t used;
			assert_ptr_equal(rig_get(b.g, 0, &used), a[which].w);
			assert_int_equal(used, 513);
			assert_memory_equal(a[which].w, b.t->bytes + 512 * which, 512);
		}
		blk_close(&b);
	}
}

/* ---- Reset, stop ---- */

static unsigned char *snapshot(struct rig *g)
{
	unsigned char *p = malloc(RIG_BYTES);
	assert_non_null(p);
	return memcpy(p, g->bytes, RIG_BYTES);
}

static void reset_cancels_and_then_nothing_is_written(void **state)
{
	(void)state;
	for (unsigned stubborn = 0; stubborn < 2; stubborn++) {
		struct blk_rig b = blk_new();
		blk_open_start(&b, BITS(ALL_BLK));
		b.t->hold = true;
		b.t->stubborn = stubborn;
		for (unsigned i = 0; i < 16; i++) {
			struct ask a = blk_ask(&b, VIO_BLK_T_IN, i, NULL, 0, 512);
			blk_add(&b, 0, &a, 0, 0);
		}
		rig_kick(b.g, 0);
		b.g->wire.port.ops->set_status(&b.g->wire.port, 0);
		assert_int_equal(b.t->cancels, 16);
		if (stubborn) {		/* what can't be cancelled is waited for: the status tells */
			assert_int_not_equal(vio_dev_status(b.g->dev), 0);
			test_disk_release(b.t);
			vio_loop_pump(&b.g->wire, 1);
		}
		assert_int_equal(vio_dev_status(b.g->dev), 0);
		assert_int_equal(b.t->channels, 0);
		unsigned char *before = snapshot(b.g);
		vio_loop_pump(&b.g->wire, 8);
		assert_memory_equal(before, b.g->bytes, RIG_BYTES);
		free(before);
		b.t->hold = false;
		rig_start(b.g, 1, BITS(ALL_BLK));		/* and a new driver finds a new device */
		unsigned char block[512];
		assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 1, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
		blk_close(&b);
	}
}

static void a_cancelled_row_of_ranges_ends(void **state)
{
	struct blk_rig b = blk_new();
	struct vio_blk_range r[3] = { range_of(0, 1, 0), range_of(2, 1, 0), range_of(4, 1, 0) };

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	b.t->hold = b.t->stubborn = true;
	struct ask a = blk_ask(&b, VIO_BLK_T_DISCARD, 0, r, sizeof r, 0);
	blk_add(&b, 0, &a, 0, 0);
	rig_kick(b.g, 0);
	b.g->wire.port.ops->set_status(&b.g->wire.port, 0);
	test_disk_release(b.t);			/* the first range succeeds all the same */
	vio_loop_pump(&b.g->wire, 1);
	assert_int_equal(vio_dev_status(b.g->dev), 0);
	assert_int_equal(b.t->count, 1);	/* the others are left alone */
	blk_close(&b);
}

static void state_is_saved_and_loaded(void **state)
{
	struct blk_rig b = blk_new(), other = blk_new();
	unsigned char saved[4096];
	const uint8_t zero = 0;

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	assert_true(b.g->wire.port.ops->config_write(&b.g->wire.port, 32, &zero, 1));
	assert_int_equal(b.g->dev->type->save(b.g->dev, NULL, 0), 1);
	size_t n = b.g->dev->type->save(b.g->dev, saved, sizeof saved);
	assert_int_equal(n, 1);
	blk_open_start(&other, BITS(ALL_BLK));
	assert_false(writes_are_durable(&other));
	assert_null(other.g->dev->type->load(other.g->dev, saved, n));
	assert_int_equal(blk_config(&other).writeback, 0);
	assert_true(writes_are_durable(&other));
	assert_non_null(other.g->dev->type->load(other.g->dev, saved, 0));
	saved[0] = 2;
	assert_non_null(other.g->dev->type->load(other.g->dev, saved, 1));
	assert_int_equal(blk_config(&other).writeback, 0);
	blk_close(&b);
	blk_close(&other);
}

static const struct CMUnitTest tests[] = {
	T(three_ways_to_be_stable, "writes are stable by negotiation, by writeback 0, or by a flush {blk-dev-3 blk-dev-31}"),
	T(an_answer_waits_for_the_disk, "a write or flush is answered when the disk has done it, not before {blk-dev-31}"),
	T(only_writeback_can_be_written, "a driver can write writeback and nothing else of the config space"),
	T(growing_tells_the_driver, "a change of size reaches the config space and the driver {blk-dev-20}"),
	T(suspended_it_stands_still, "suspended, a change of size waits for resume {core-dev-17 core-dev-18 core-dev-19; only us}"),
	T(each_queue_has_its_channel, "each queue has a channel to the disk while it runs"),
	T(a_turn_has_a_budget, "a queue that has moved 1 MiB lets others have their turn"),
	T(polling_looks_at_the_disk, "polling looks for the disk's completions"),
	T(a_slow_disk_answers_in_any_order, "a slow disk may answer in any order {core-dev-27}"),
	T(reset_cancels_and_then_nothing_is_written, "reset cancels; after it no guest byte changes {core-dev-9 core-dev-10}"),
	T(a_cancelled_row_of_ranges_ends, "of several ranges those behind a cancel are left alone"),
	T(state_is_saved_and_loaded, "the cache mode is saved and loaded, and checked"),
};

int main(void) { return vio_tests("blk-life", tests, sizeof tests / sizeof *tests); }
