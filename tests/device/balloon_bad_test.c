/* Balloon requests that are wrong (class D5): answered, counted, and nothing but what they rightly name is touched. */
#include "balloon_rig.h"

struct bad {
	const char *what;
	uint16_t queue;
	unsigned numbers;
	uint32_t number[4];
	size_t extra, writable;		/* readable bytes behind the numbers; writable bytes */
	unsigned gives;
	bool fine;			/* not the driver's mistake */
};

#define INFLATE VIO_BALLOON_Q_INFLATE
#define DEFLATE VIO_BALLOON_Q_DEFLATE
#define HINTS VIO_BALLOON_Q_HINTS
#define REPORTS VIO_BALLOON_Q_REPORTS

static const struct bad bad[] = {
	{ "inflate page 0, which is in no memory", INFLATE, 1, { 0 } },
	{ "inflate the page before memory", INFLATE, 1, { FIRST - 1 } },
	{ "inflate the page behind memory", INFLATE, 1, { FIRST + PAGES } },
	{ "inflate the last page there could be", INFLATE, 1, { UINT32_MAX } },
	{ "inflate where number * 4096 wraps in 32 bits to memory", INFLATE, 1, { (1u << 20) * 4 - 1 + FIRST } },
	{ "inflate a page twice", INFLATE, 2, { FIRST + FREE, FIRST + FREE }, .gives = 2, .fine = true },
	{ "inflate memory's last page", INFLATE, 1, { FIRST + PAGES - 1 }, .gives = 1, .fine = true },
	{ "inflate good pages around a bad one", INFLATE, 3, { FIRST + FREE, 7, FIRST + FREE + 1 }, .gives = 1 },
	{ "inflate a number and a byte", INFLATE, 1, { FIRST + FREE }, .extra = 1, .gives = 1 },
	{ "inflate three bytes", INFLATE, 0, { 0 }, .extra = 3 },
	{ "inflate nothing", INFLATE, 0, { 0 }, .writable = 64 },
	{ "inflate with writable bytes behind", INFLATE, 1, { FIRST + FREE }, .writable = 64, .gives = 1, .fine = true },
	{ "deflate what is in no memory", DEFLATE, 2, { 0, UINT32_MAX } },
	{ "deflate what was not inflated", DEFLATE, 1, { FIRST + FREE }, .gives = 1, .fine = true },
	{ "deflate five bytes", DEFLATE, 1, { FIRST + FREE }, .extra = 1, .gives = 1 },
	{ "hint with an id of 3 bytes", HINTS, 0, { 0 }, .extra = 3 },
	{ "hint with an id of 8 bytes", HINTS, 2, { 2, 2 } },
	{ "hint with an id that nobody gave", HINTS, 1, { 99 } },
	{ "hint with the id DONE", HINTS, 1, { VIO_BALLOON_CMD_ID_DONE } },
	{ "hint pages without an id", HINTS, 0, { 0 }, .writable = 8192, .fine = true },
	{ "report nothing", REPORTS, 1, { FIRST + FREE } },
	{ "report with readable bytes before", REPORTS, 1, { FIRST }, .writable = 4096, .gives = 1, .fine = true },
	{ "report a few bytes", REPORTS, 0, { 0 }, .writable = 3, .gives = 1, .fine = true },
};

static void refused_as_told(struct bal *b, const struct bad *row)
{
	unsigned char bytes[64] = { 0 };
	uint64_t refused = rig_refused(b->g, row->queue);
	vio_le32 wire;

	for (unsigned i = 0; i < row->numbers; i++) {
		wire = vio_le32_of(row->number[i]);
		memcpy(bytes + 4 * i, &wire, 4);
	}
	b->logged = 0;
	rig_rewind(b->g);
	bal_say(b, row->queue, bytes, 4 * row->numbers + row->extra, 0, row->writable ? bal_page(b, FREE) : NULL, row->writable);
	if (b->logged != row->gives)
		fail_msg("%s: the back end was asked %u times", row->what, b->logged);
	if (rig_refused(b->g, row->queue) != refused + !row->fine)
		fail_msg("%s: counted wrongly", row->what);
	if (b->g->wire.broken)
		fail_msg("%s: broke the queue: %s", row->what, b->g->wire.broken);
}

static void each_row_is_answered(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_BALLOON), BITS(ALL_BALLOON, VIO_F_RING_PACKED, VIO_F_IN_ORDER) };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct bal *b = bal_start(rings[k]);
		for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
			refused_as_told(b, &bad[i]);
			rig_reset(b->g);
			rig_start(b->g, VIO_BALLOON_QUEUES, rings[k]);
			bal_say_id(b, VIO_BALLOON_CMD_ID_STOP);		/* a neighbour is served */
		}
		for (unsigned i = FREE + 3; i < PAGES - 1; i++)
			assert_true(bal_is(b, i, 0xa5));
		bal_close(b);
	}
}

/* Regions that do not begin or end with a page, with a hole between them. */
static void pages_are_whole_or_nothing(void **state)
{
	struct bal *b = bal_new();
	struct vio_region cut[] = {
		{ .gpa = RIG_GPA, .size = RIG_BYTES - 3 * 4096 + 16, .host = b->g->bytes, .perm = VIO_MEM_RW },
		{ .gpa = RIG_GPA + RIG_BYTES - 4096 - 16, .size = 4096 + 16, .host = b->g->bytes + RIG_BYTES - 4096 - 16, .perm = VIO_MEM_RW },
	};

	(void)state;
	b->g->mem.region = cut;
	b->g->mem.count = 2;
	assert_null(rig_open(b->g, &vio_dev_balloon, &b->o));
	memset(b->g->bytes, 0, RIG_BYTES / 2);
	rig_start(b->g, VIO_BALLOON_QUEUES, BITS(ALL_BALLOON));
	b->logged = 0;
	bal_numbers(b, INFLATE, (const unsigned[]){ PAGES - 3, PAGES - 2 }, 2, 0);	/* cut off, and in the hole */
	assert_int_equal(b->logged, 0);
	assert_int_equal(rig_refused(b->g, INFLATE), 1);	/* the request, once */
	bal_numbers(b, INFLATE, (const unsigned[]){ PAGES - 4, PAGES - 1 }, 2, 0);
	assert_int_equal(b->logged, 2);
	assert_true(bal_is(b, PAGES - 4, 0) && bal_is(b, PAGES - 1, 0) && bal_is(b, PAGES - 3, 0xa5) && bal_is(b, PAGES - 2, 0xa5));
	bal_close(b);
}

/* A guest that gives its rings away finds zeroes in them, as the device does: the queue may break, and a reset heals. */
static void a_ring_can_be_given_away(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_BALLOON), BITS(ALL_BALLOON, VIO_F_EVENT_IDX),
		BITS(ALL_BALLOON, VIO_F_RING_PACKED), BITS(ALL_BALLOON, VIO_F_RING_PACKED, VIO_F_EVENT_IDX) };

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		struct bal *b = bal_start(rings[k]);
		vio_le32 *n = rig_take(b->g, FREE * sizeof *n);
		for (unsigned i = 0; i < FREE; i++)
			n[i] = vio_le32_of(FIRST + i);
		assert_true(rig_add(b->g, INFLATE, n, FREE * sizeof *n, 0, NULL, 0, 0));
		rig_kick(b->g, INFLATE);
		for (unsigned i = 0; i < VIO_BALLOON_QUEUES; i++) {	/* whatever the rings say now */
			vio_dev_notified(b->g->dev, i);
			vio_loop_pump(&b->g->wire, 100);
		}
		for (unsigned i = FREE; i < PAGES; i++)
			assert_true(bal_is(b, i, 0xa5));
		rig_reset(b->g);
		rig_start(b->g, VIO_BALLOON_QUEUES, rings[k]);
		bal_say_id(b, VIO_BALLOON_CMD_ID_STOP);
		bal_close(b);
	}
}

/* Queues whose features the driver did not accept are there for the asking, and do nothing. */
static void queues_without_their_features(void **state)
{
	struct bal *b = bal_start(BITS(VIO_F_VERSION_1));

	(void)state;
	for (uint16_t q = VIO_BALLOON_Q_STATS; q <= VIO_BALLOON_Q_REPORTS; q++) {
		bal_say(b, q, "12345678901", 10, 0, bal_page(b, FREE), 4096);
		assert_int_equal(rig_refused(b->g, q), 1);
	}
	assert_int_equal(b->logged, 0);
	assert_int_equal(b->pages.told.stats_count, 0);
	assert_non_null(b->pages.ask(b->pages.arg, VIO_ASK_HINTS));
	assert_non_null(b->pages.ask(b->pages.arg, VIO_ASK_STATS));
	bal_close(b);
}

/* The whole of memory, over and over in one chain: served in turns. */
static void a_report_of_everything_takes_turns(void **state)
{
	struct bal *b = bal_start(BITS(ALL_BALLOON, VIO_F_INDIRECT_DESC));
	struct vio_buf all[RIG_INDIRECT];
	uint32_t used;

	(void)state;
	for (unsigned i = 0; i < RIG_INDIRECT; i++)
		all[i] = (struct vio_buf){ RIG_GPA + RIG_BYTES / 2, RIG_BYTES / 2 };
	b->g->wire.lazy = true;
	for (unsigned i = 0; i < 4; i++)
		assert_true(vio_drvq_add(&b->g->q[REPORTS], all, 0, RIG_INDIRECT, b));
	rig_kick(b->g, REPORTS);
	vio_loop_pump(&b->g->wire, 1);
	assert_in_range(b->logged, 1, 64);	/* 256 MiB */
	assert_null(rig_get(b->g, REPORTS, &used) ? NULL : rig_get(b->g, REPORTS, &used));
	vio_loop_pump(&b->g->wire, 100);
	assert_int_equal(b->logged, 4 * RIG_INDIRECT);
	bal_close(b);
}

static const struct CMUnitTest tests[] = {
	T(each_row_is_answered, "malformed requests are answered and counted, and break nothing"),
	T(pages_are_whole_or_nothing, "a page that is not whole in one region stays"),
	T(a_ring_can_be_given_away, "a guest that gives its own rings away harms itself, and a reset heals"),
	T(queues_without_their_features, "queues of features that were not accepted do nothing"),
	T(a_report_of_everything_takes_turns, "a report of much memory takes turns"),
};

int main(void) { return vio_tests("balloon-bad", tests, sizeof tests / sizeof *tests); }
