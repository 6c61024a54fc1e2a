/* The balloon device (virtio 1.4, section 5.5), driven by hand-written chains. */
#include <errno.h>
#include "balloon_rig.h"

#define N(...) (const unsigned[]){ __VA_ARGS__ }, sizeof((const unsigned[]){ __VA_ARGS__ }) / sizeof(unsigned)

static const struct call *only_call(const struct bal *b)
{
	assert_int_equal(b->logged, 1);
	return &b->log[0];
}

/* ---- Inflate and deflate ---- */

static void pages_are_given_and_nothing_else(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_BALLOON), BITS(ALL_BALLOON, VIO_F_RING_PACKED),
		BITS(ALL_BALLOON, VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX) };
	const size_t cuts[] = { 0, 1, 3, 4, 7 };

	(void)state;
	for (unsigned k = 0; k < 3; k++)
		for (unsigned c = 0; c < 5; c++) {
			struct bal *b = bal_start(rings[k]);
			bal_numbers(b, VIO_BALLOON_Q_INFLATE, N(FREE + 1, FREE + 2, FREE + 9, FREE + 8, FREE + 4), cuts[c]);
			for (unsigned i = FREE; i < PAGES; i++)
				if (!bal_is(b, i, i == FREE + 1 || i == FREE + 2 || i == FREE + 4 || i == FREE + 8 || i == FREE + 9 ? 0 : 0xa5))
					fail_msg("page %u", i - FREE);
			assert_int_equal(b->logged, 3);		/* neighbours are one run, upwards or downwards */
			assert_int_equal(b->pages.told.inflated, 5 * VIO_BALLOON_PAGE);
			assert_int_equal(b->pages.told.came_back, 5 * VIO_BALLOON_PAGE);
			assert_int_equal(rig_refused(b->g, VIO_BALLOON_Q_INFLATE), 0);
			bal_close(b);
		}
}

static void the_promise_is_the_drivers(void **state)
{
	(void)state;
	struct bal *b = bal_start(BITS(ALL_BALLOON));
	bal_numbers(b, VIO_BALLOON_Q_INFLATE, N(FREE), 0);
	assert_int_equal(only_call(b)->promise, VIO_PAGES_KEPT);
	bal_close(b);
	b = bal_start(BITS(VIO_F_VERSION_1));	/* without MUST_TELL_HOST it may use them before we know */
	bal_numbers(b, VIO_BALLOON_Q_INFLATE, N(FREE), 0);
	assert_int_equal(only_call(b)->promise, VIO_PAGES_ONCE);
	bal_close(b);
}

/* Whoever copies guest memory meanwhile must hear that they are zeroes now. */
static void given_pages_are_logged(void **state)
{
	static uint8_t bits[(RIG_GPA + RIG_BYTES) / VIO_DIRTY_PAGE / 8 + 1];
	struct bal *b = bal_start(BITS(ALL_BALLOON));

	(void)state;
	memset(bits, 0, sizeof bits);
	b->g->mem.dirty = (struct vio_dirty){ bits, sizeof bits };
	bal_numbers(b, VIO_BALLOON_Q_INFLATE, N(FREE + 1, FREE + 2, FREE + 9), 0);
	for (unsigned i = FREE; i < PAGES; i++) {
		bool given = i == FREE + 1 || i == FREE + 2 || i == FREE + 9;
		unsigned page = (unsigned)(RIG_GPA / VIO_DIRTY_PAGE) + i;
		assert_int_equal(bits[page / 8] >> page % 8 & 1, given);
	}
	bal_close(b);
}

static void deflating_touches_nothing(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON));

	(void)state;
	bal_numbers(b, VIO_BALLOON_Q_DEFLATE, N(FREE + 3, FREE + 4), 0);
	assert_int_equal(only_call(b)->what, 't');
	assert_int_equal(only_call(b)->at, (FREE + 3) * (uint64_t)VIO_BALLOON_PAGE);
	assert_int_equal(only_call(b)->len, 2 * VIO_BALLOON_PAGE);
	assert_true(bal_is(b, FREE + 3, 0xa5));
	assert_int_equal(b->pages.told.deflated, 2 * VIO_BALLOON_PAGE);
	assert_int_equal(b->pages.told.came_back, 0);
	bal_close(b);
}

/* Thousands of pages, none next to another: others have their turns meanwhile, and all come in the end. */
static void a_long_request_takes_turns(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON));
	enum { NUMBERS = 20000 };
	vio_le32 *n = rig_take(b->g, NUMBERS * sizeof *n);
	uint32_t used;

	(void)state;
	for (unsigned i = 0; i < NUMBERS; i++)
		n[i] = vio_le32_of(FIRST + FREE + (i % 2 ? 700 : 4) + 2 * (i % 97));
	b->g->wire.lazy = true;
	assert_true(rig_add(b->g, VIO_BALLOON_Q_INFLATE, n, NUMBERS * sizeof *n, 0, NULL, 0, 0));
	rig_kick(b->g, VIO_BALLOON_Q_INFLATE);
	vio_loop_pump(&b->g->wire, 1);
	assert_in_range(b->logged, 4096, 4096 + 64);
	assert_null(rig_get(b->g, VIO_BALLOON_Q_INFLATE, &used));
	vio_loop_pump(&b->g->wire, 100);
	assert_non_null(rig_get(b->g, VIO_BALLOON_Q_INFLATE, &used));
	assert_int_equal(b->logged, NUMBERS);
	/* and a reset in the middle waits for nobody */
	assert_true(rig_add(b->g, VIO_BALLOON_Q_INFLATE, n, NUMBERS * sizeof *n, 0, NULL, 0, 0));
	rig_kick(b->g, VIO_BALLOON_Q_INFLATE);
	vio_loop_pump(&b->g->wire, 1);
	b->g->wire.port.ops->set_status(&b->g->wire.port, 0);
	assert_int_equal(vio_dev_status(b->g->dev), 0);
	bal_close(b);
}

static void a_suspend_ends_a_long_request(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON, VIO_F_SUSPEND));
	enum { NUMBERS = 20000 };
	vio_le32 *n = rig_take(b->g, NUMBERS * sizeof *n);
	uint32_t used;

	(void)state;
	for (unsigned i = 0; i < NUMBERS; i++)
		n[i] = vio_le32_of(FIRST + FREE + 2 * (i % 97));
	b->g->wire.lazy = true;
	assert_true(rig_add(b->g, VIO_BALLOON_Q_INFLATE, n, NUMBERS * sizeof *n, 0, NULL, 0, 0));
	rig_kick(b->g, VIO_BALLOON_Q_INFLATE);
	vio_loop_pump(&b->g->wire, 1);
	unsigned logged = b->logged;
	assert_true(vio_drv_suspend(&b->g->drv));
	assert_non_null(rig_get(b->g, VIO_BALLOON_Q_INFLATE, &used));	/* acknowledged: the rest of its pages stays */
	assert_int_equal(b->logged, logged);
	assert_true(vio_drv_resume(&b->g->drv));
	bal_numbers(b, VIO_BALLOON_Q_INFLATE, N(FREE), 0);
	bal_close(b);
}

static void what_cannot_be_given_is_told(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON));

	(void)state;
	b->error = EPERM;
	bal_numbers(b, VIO_BALLOON_Q_INFLATE, N(FREE, FREE + 2), 0);
	assert_int_equal(b->pages.told.failed, 2);
	assert_int_equal(b->pages.told.error, EPERM);
	assert_int_equal(b->news[VIO_NEWS_FAILED], 2);
	assert_int_equal(b->pages.told.came_back, 0);
	b->error = 0;
	bal_numbers(b, VIO_BALLOON_Q_INFLATE, N(FREE), 0);
	assert_int_equal(b->pages.told.came_back, VIO_BALLOON_PAGE);
	bal_close(b);
}

/* ---- The config space ---- */

static void the_target_changes_at_run_time(void **state)
{
	struct bal *b = bal_new();

	(void)state;
	b->pages.target = 3 * VIO_BALLOON_PAGE + 17;
	assert_null(rig_open(b->g, &vio_dev_balloon, &b->o));
	assert_int_equal(vio_le32_get(bal_config(b).num_pages), 3);
	memset(b->g->bytes, 0, RIG_BYTES / 2);
	rig_start(b->g, VIO_BALLOON_QUEUES, BITS(ALL_BALLOON));
	uint64_t told = b->g->wire.configs;
	uint32_t generation = b->g->dev->generation;
	b->pages.target = 1 << 20;
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_TARGET));
	assert_int_equal(vio_le32_get(bal_config(b).num_pages), 256);
	assert_int_equal(b->g->wire.configs, told + 1);
	assert_int_not_equal(b->g->dev->generation, generation);
	b->pages.target = UINT64_MAX;
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_TARGET));
	assert_int_equal(vio_le32_get(bal_config(b).num_pages), UINT32_MAX);
	rig_reset(b->g);
	assert_int_equal(vio_le32_get(bal_config(b).num_pages), UINT32_MAX);	/* what the host wants does not change with the driver */
	bal_close(b);
}

static void actual_is_the_drivers_word(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON));
	vio_le32 v = vio_le32_of(77);

	(void)state;
	assert_true(vio_dev_config_write(b->g->dev, 4, &v, 4));
	assert_int_equal(b->pages.told.actual, 77 * VIO_BALLOON_PAGE);
	assert_int_equal(b->news[VIO_NEWS_ACTUAL], 1);
	assert_true(vio_dev_config_write(b->g->dev, 12, &v, 4));	/* poison_val is no news */
	assert_int_equal(b->news[VIO_NEWS_ACTUAL], 1);
	assert_false(vio_dev_config_write(b->g->dev, 0, &v, 4));	/* num_pages and the command id are the device's */
	assert_false(vio_dev_config_write(b->g->dev, 8, &v, 4));
	assert_false(vio_dev_config_write(b->g->dev, 2, &v, 4));
	rig_reset(b->g);
	assert_int_equal(b->pages.told.actual, 0);
	assert_int_equal(vio_le32_get(bal_config(b).actual), 0);
	assert_int_equal(b->log[b->logged - 1].what, 'f');
	bal_close(b);
}

static void what_is_offered(void **state)
{
	struct bal *b = bal_new();

	(void)state;
	b->o.deflate_on_oom = false;
	b->o.no_reporting = true;
	assert_null(rig_open(b->g, &vio_dev_balloon, &b->o));
	struct vio_features f = vio_dev_offered(b->g->dev);
	assert_false(vio_has(f, VIO_BALLOON_F_DEFLATE_ON_OOM) || vio_has(f, VIO_BALLOON_F_PAGE_REPORTING));
	assert_true(vio_has(f, VIO_BALLOON_F_MUST_TELL_HOST) && vio_has(f, VIO_BALLOON_F_STATS_VQ) &&
	    vio_has(f, VIO_BALLOON_F_FREE_PAGE_HINT) && vio_has(f, VIO_BALLOON_F_PAGE_POISON));
	bal_close(b);
	b = bal_new();
	b->pages.target = UINT64_C(1) << 44;
	assert_non_null(strstr(rig_open(b->g, &vio_dev_balloon, &b->o), "16 TiB"));
	bal_close(b);
}

/* ---- Statistics ---- */

struct entry { uint16_t tag; uint64_t val; };

static void *stats_buffer(struct bal *b, const struct entry *e, unsigned n, size_t bytes)
{
	struct vio_balloon_stat *s = rig_take(b->g, n * sizeof *s + bytes);

	for (unsigned i = 0; i < n; i++)
		s[i] = (struct vio_balloon_stat){ vio_le16_of(e[i].tag), vio_le64_of(e[i].val) };
	assert_true(rig_add(b->g, VIO_BALLOON_Q_STATS, s, bytes, 0, NULL, 0, 0));
	rig_kick(b->g, VIO_BALLOON_Q_STATS);
	return s;
}

static void statistics_come_in_any_order(void **state)
{
	const struct entry e[] = { { 9, 90 }, { 0x1234, 1 }, { 5, UINT64_MAX }, { 0, 7 }, { 10, 3 }, { 0xffff, 9 }, { 4, 44 } };
	struct bal *b = bal_start(BITS(ALL_BALLOON));
	const struct vio_pages_told *t = &b->pages.told;

	(void)state;
	stats_buffer(b, e, 7, 70);
	assert_int_equal(t->stats_has, 1 << 9 | 1 << 5 | 1 << 0 | 1 << 4);
	assert_true(t->stats[9] == 90 && t->stats[5] == UINT64_MAX && t->stats[0] == 7 && t->stats[4] == 44);
	assert_int_equal(t->stats_count, 1);
	assert_int_equal(b->news[VIO_NEWS_STATS], 1);
	assert_int_equal(rig_refused(b->g, VIO_BALLOON_Q_STATS), 0);
	assert_null(rig_get(b->g, VIO_BALLOON_Q_STATS, NULL));	/* kept for the next request */
	assert_int_equal(b->g->dev->queue[VIO_BALLOON_Q_STATS].ring.inflight, 0);	/* but not in flight */
	bal_close(b);
}

static void statistics_when_asked_or_in_time(void **state)
{
	const struct entry e[] = { { 4, 1 } }, later[] = { { 4, 2 } };
	struct bal *b = bal_new();
	const uint64_t second = 1000000000;

	(void)state;
	b->pages.stats_every_ns = 10 * second;
	assert_null(rig_open(b->g, &vio_dev_balloon, &b->o));
	assert_non_null(b->pages.ask(b->pages.arg, VIO_ASK_STATS));	/* nobody there */
	memset(b->g->bytes, 0, RIG_BYTES / 2);
	rig_start(b->g, VIO_BALLOON_QUEUES, BITS(ALL_BALLOON));
	void *first = stats_buffer(b, e, 1, 10);
	rig_kick(b->g, VIO_BALLOON_Q_STATS);		/* a kick for nothing */
	vio_loop_tick(&b->g->wire, 9 * second);
	vio_loop_pump(&b->g->wire, 10);
	assert_null(rig_get(b->g, VIO_BALLOON_Q_STATS, NULL));
	vio_loop_tick(&b->g->wire, second);
	vio_loop_pump(&b->g->wire, 10);
	assert_ptr_equal(rig_get(b->g, VIO_BALLOON_Q_STATS, NULL), first);
	void *second_buffer = stats_buffer(b, later, 1, 10);
	assert_int_equal(b->pages.told.stats[4], 2);
	assert_int_equal(b->pages.told.stats_at_ns, 10 * second);
	assert_null(rig_get(b->g, VIO_BALLOON_Q_STATS, NULL));
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_STATS));
	vio_loop_pump(&b->g->wire, 10);
	assert_ptr_equal(rig_get(b->g, VIO_BALLOON_Q_STATS, NULL), second_buffer);
	assert_int_equal(b->pages.told.stats_count, 2);
	bal_close(b);
}

static void odd_statistics_count_as_far_as_they_go(void **state)
{
	const struct { size_t bytes; unsigned whole; bool odd; } rows[] = { { 1, 0, true }, { 9, 0, true }, { 11, 1, true },
		{ 19, 1, true }, { 20, 2, false }, { 24, 2, true } };
	const struct entry e[] = { { 0, 5 }, { 1, 6 }, { 2, 7 } };

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct bal *b = bal_start(BITS(ALL_BALLOON));
		stats_buffer(b, e, 3, rows[i].bytes);
		assert_int_equal(b->pages.told.stats_has, (1 << rows[i].whole) - 1);
		assert_int_equal(rig_refused(b->g, VIO_BALLOON_Q_STATS), rows[i].odd);
		assert_null(b->g->wire.broken);
		bal_close(b);
	}
}

/* A driver that makes many buffers available, or an endless one, costs no more than one. */
static void too_many_statistics(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON));
	unsigned char *big = rig_take(b->g, 3 << 20);
	const struct entry e[] = { { 4, 1 } };

	(void)state;
	memset(big, 0xff, 3 << 20);
	assert_true(rig_add(b->g, VIO_BALLOON_Q_STATS, big, 3 << 20, 0, NULL, 0, 0));
	for (unsigned i = 0; i < 20; i++)
		stats_buffer(b, e, 1, 10);
	assert_int_equal(b->pages.told.stats_count, 1);
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_STATS));
	vio_loop_pump(&b->g->wire, 100);
	assert_ptr_equal(rig_get(b->g, VIO_BALLOON_Q_STATS, NULL), big);
	assert_null(rig_get(b->g, VIO_BALLOON_Q_STATS, NULL));	/* the one behind it is the next one's */
	assert_int_equal(b->pages.told.stats_count, 2);
	rig_reset(b->g);
	bal_close(b);
}

/* ---- Hints ---- */

static void a_round_of_hints(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON));

	(void)state;
	assert_int_equal(bal_cmd_id(b), VIO_BALLOON_CMD_ID_STOP);
	uint64_t told = b->g->wire.configs;
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_HINTS));
	uint32_t id = bal_cmd_id(b);
	assert_true(id >= VIO_BALLOON_CMD_ID_FIRST);
	assert_int_equal(b->g->wire.configs, told + 1);
	bal_say(b, VIO_BALLOON_Q_HINTS, NULL, 0, 0, bal_page(b, FREE), 8192);	/* before the id: ignored */
	assert_int_equal(b->logged, 0);
	bal_say_id(b, id);
	bal_say(b, VIO_BALLOON_Q_HINTS, NULL, 0, 0, bal_page(b, FREE), 8192);
	assert_int_equal(only_call(b)->what, 'h');
	assert_int_equal(only_call(b)->at, FREE * (uint64_t)VIO_BALLOON_PAGE);
	assert_int_equal(b->pages.told.hinted, 8192);
	assert_true(bal_is(b, FREE, 0xa5) && bal_is(b, FREE + 1, 0xa5));	/* a hint takes nothing away */
	assert_true(b->pages.told.hinting);
	bal_say_id(b, VIO_BALLOON_CMD_ID_STOP);
	assert_int_equal(bal_cmd_id(b), VIO_BALLOON_CMD_ID_DONE);	/* nobody needs them any more */
	assert_int_equal(b->news[VIO_NEWS_HINTS_END], 1);
	assert_false(b->pages.told.hinting);
	bal_say(b, VIO_BALLOON_Q_HINTS, NULL, 0, 0, bal_page(b, FREE), 8192);
	assert_int_equal(b->logged, 1);
	bal_close(b);
}

static void who_keeps_hints_says_when_he_is_done(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON));

	(void)state;
	b->keeps_hints = true;
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_HINTS));
	uint32_t id = bal_cmd_id(b);
	bal_say_id(b, id);
	bal_say_id(b, VIO_BALLOON_CMD_ID_STOP);
	assert_int_equal(bal_cmd_id(b), id);
	bal_say(b, VIO_BALLOON_Q_HINTS, NULL, 0, 0, bal_page(b, FREE), 4096);	/* the round is over */
	assert_int_equal(b->logged, 0);
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_HINTS_DONE));
	assert_int_equal(bal_cmd_id(b), VIO_BALLOON_CMD_ID_DONE);
	bal_close(b);
}

static void other_command_ids_are_ignored(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON));
	const uint32_t lies[] = { 1, 3, UINT32_MAX, 0x80000000 };

	(void)state;
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_HINTS));
	uint32_t id = bal_cmd_id(b);
	assert_int_equal(id, 2);
	for (unsigned i = 0; i < 4; i++) {
		bal_say_id(b, id);
		bal_say_id(b, lies[i]);		/* takes back what it said */
		bal_say(b, VIO_BALLOON_Q_HINTS, NULL, 0, 0, bal_page(b, FREE), 4096);
		assert_int_equal(b->logged, 0);
		assert_int_equal(rig_refused(b->g, VIO_BALLOON_Q_HINTS), i + 1);
	}
	bal_say_id(b, id);
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_HINTS_STOP));	/* the device has other ideas now */
	assert_int_equal(bal_cmd_id(b), VIO_BALLOON_CMD_ID_STOP);
	bal_say(b, VIO_BALLOON_Q_HINTS, NULL, 0, 0, bal_page(b, FREE), 4096);
	bal_say_id(b, id);
	bal_say(b, VIO_BALLOON_Q_HINTS, NULL, 0, 0, bal_page(b, FREE), 4096);
	assert_int_equal(b->logged, 0);
	bal_close(b);
}

/* The saved state knows the last id, so that the end of the numbers can be seen. */
static void command_ids_are_not_used_twice(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON));
	uint32_t ids[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		assert_null(b->pages.ask(b->pages.arg, VIO_ASK_HINTS));
		ids[i] = bal_cmd_id(b);
		assert_true(i == 0 || ids[i] == ids[i - 1] + 1);
		if (i == 2)
			rig_reset(b->g), rig_start(b->g, VIO_BALLOON_QUEUES, BITS(ALL_BALLOON));
	}
	rig_reset(b->g);
	const unsigned char last[24] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };
	assert_null(b->g->dev->type->load(b->g->dev, last, sizeof last));
	rig_start(b->g, VIO_BALLOON_QUEUES, BITS(ALL_BALLOON));
	assert_non_null(strstr(b->pages.ask(b->pages.arg, VIO_ASK_HINTS), "no command ids left"));
	bal_say_id(b, VIO_BALLOON_CMD_ID_STOP);
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_HINTS));
	assert_int_equal(bal_cmd_id(b), VIO_BALLOON_CMD_ID_FIRST);
	bal_close(b);
}

/* ---- Reports and poison ---- */

static void reported_pages_are_given(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON));
	struct vio_buf two[] = { { RIG_GPA + FREE * 4096, 3 * 4096 }, { RIG_GPA + (FREE + 8) * 4096, 4096 } };

	(void)state;
	assert_true(vio_drvq_add(&b->g->q[VIO_BALLOON_Q_REPORTS], two, 0, 2, b));
	rig_kick(b->g, VIO_BALLOON_Q_REPORTS);
	uint32_t used;
	assert_ptr_equal(rig_get(b->g, VIO_BALLOON_Q_REPORTS, &used), b);
	assert_int_equal(used, 0);
	assert_int_equal(b->logged, 2);
	assert_int_equal(b->log[0].promise, VIO_PAGES_ONCE);
	assert_int_equal(b->pages.told.reported, 4 * 4096);
	for (unsigned i = FREE; i < PAGES; i++)
		assert_true(bal_is(b, i, i < FREE + 3 || i == FREE + 8 ? 0 : 0xa5));
	bal_close(b);
}

static void poisoned_pages_keep_their_poison(void **state)
{
	const struct { bool accepted; uint32_t value; bool given; } rows[] = {
		{ false, 0, true }, { true, 0, true }, { true, 0xaaaaaaaa, false }, { true, 1, false },
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct bal *b = bal_start(rows[i].accepted ? BITS(ALL_BALLOON, VIO_BALLOON_F_PAGE_POISON) : BITS(ALL_BALLOON));
		vio_le32 v = vio_le32_of(rows[i].value);
		assert_true(vio_dev_config_write(b->g->dev, 12, &v, 4));
		bal_say(b, VIO_BALLOON_Q_REPORTS, NULL, 0, 0, bal_page(b, FREE), 4096);
		assert_int_equal(b->logged, rows[i].given);
		assert_true(bal_is(b, FREE, rows[i].given ? 0 : 0xa5));
		bal_numbers(b, VIO_BALLOON_Q_INFLATE, N(FREE + 1), 0);	/* the driver fills these anew */
		assert_true(bal_is(b, FREE + 1, 0));
		bal_close(b);
	}
}

/* ---- State ---- */

static void state_is_saved_and_checked(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON)), *c = bal_new();
	unsigned char saved[64];
	vio_le32 v = vio_le32_of(5);

	(void)state;
	assert_true(vio_dev_config_write(b->g->dev, 4, &v, 4));
	b->pages.target = 9 * VIO_BALLOON_PAGE;
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_TARGET));
	assert_null(b->pages.ask(b->pages.arg, VIO_ASK_HINTS));
	bal_say_id(b, 2);
	size_t n = b->g->dev->type->save(b->g->dev, saved, sizeof saved);
	assert_int_equal(n, 24);
	assert_null(rig_open(c->g, &vio_dev_balloon, &c->o));
	assert_null(c->g->dev->type->load(c->g->dev, saved, n));
	assert_int_equal(bal_cmd_id(c), 2);
	assert_int_equal(c->pages.told.actual, 5 * VIO_BALLOON_PAGE);
	assert_int_equal(c->pages.target, 9 * VIO_BALLOON_PAGE);	/* what it was asked for goes along, */
	const struct { unsigned at; unsigned char byte; } lies[] = { { 8, 3 }, { 12, 0 }, { 16, 2 }, { 17, 9 }, { 8, 1 } };
	for (unsigned i = 0; i < 5; i++) {
		unsigned char bad[24];
		memcpy(bad, saved, 24);
		bad[lies[i].at] = lies[i].byte;
		assert_non_null(c->g->dev->type->load(c->g->dev, bad, 24));
	}
	assert_non_null(c->g->dev->type->load(c->g->dev, saved, 23));
	c->pages.target = 3 * VIO_BALLOON_PAGE;			/* unless it was said otherwise here */
	assert_null(c->pages.ask(c->pages.arg, VIO_ASK_TARGET));
	assert_null(c->g->dev->type->load(c->g->dev, saved, n));
	assert_int_equal(c->pages.target, 3 * VIO_BALLOON_PAGE);
	bal_close(b);
	bal_close(c);
}

static const struct CMUnitTest tests[] = {
	T(pages_are_given_and_nothing_else, "an inflated page goes to the host whole, its neighbours stay, however the numbers are cut"),
	T(the_promise_is_the_drivers, "parts of large pages are gathered only for a driver that tells before it uses pages again"),
	T(given_pages_are_logged, "pages that were given back are logged as written"),
	T(deflating_touches_nothing, "deflating tells the host and touches nothing"),
	T(a_long_request_takes_turns, "a long request takes turns, and a reset does not wait for its end"),
	T(a_suspend_ends_a_long_request, "a suspend ends a long request early"),
	T(what_cannot_be_given_is_told, "what can't be given back is counted and told, and the request is answered"),
	T(the_target_changes_at_run_time, "a new target goes into the config space, and the driver is told"),
	T(actual_is_the_drivers_word, "the driver writes actual and poison_val, and nothing else"),
	T(what_is_offered, "options drop features, and a target that can't be told is refused"),
	T(statistics_come_in_any_order, "statistics are read in any order, and unknown tags ignored {balloon-dev-4 balloon-dev-5}"),
	T(statistics_when_asked_or_in_time, "statistics come when they are asked for, or every so often"),
	T(odd_statistics_count_as_far_as_they_go, "of an odd buffer of statistics the whole entries count"),
	T(too_many_statistics, "more statistics than asked for wait, and an endless buffer is read only so far"),
	T(a_round_of_hints, "a round of hints: id, pages, stop, done; contents stay {balloon-dev-6 balloon-dev-8 balloon-dev-10 balloon-dev-11}"),
	T(who_keeps_hints_says_when_he_is_done, "who still needs the hints says when not {balloon-dev-11}"),
	T(other_command_ids_are_ignored, "pages with another command id than the current one are ignored {balloon-dev-8}"),
	T(command_ids_are_not_used_twice, "a command id is not used again before the driver has said stop {balloon-dev-7}"),
	T(reported_pages_are_given, "reported pages go to the host, their neighbours stay"),
	T(poisoned_pages_keep_their_poison, "reported pages with a poison value that is not zero stay as they are {balloon-dev-14}"),
	T(state_is_saved_and_checked, "state is saved and loaded, and refused when it contradicts itself"),
};

int main(void) { return vio_tests("balloon", tests, sizeof tests / sizeof *tests); }
