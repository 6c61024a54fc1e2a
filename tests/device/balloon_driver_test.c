/* The balloon driver over the real device in every shape, what it refuses to do, and over a device that lies. */
#include <vio/driver/balloon.h>
#include "balloon_rig.h"
#include "fake.h"

struct drv { struct bal *b; struct vio_balloon *d; struct vio_balloon_setup setup; struct vio_balloon_stat stat[3]; };

static struct drv drv_new(void)
{
	struct drv t = { .b = bal_new() };

	t.stat[0] = (struct vio_balloon_stat){ vio_le16_of(VIO_BALLOON_S_MEMFREE), vio_le64_of(1000) };
	t.stat[1] = (struct vio_balloon_stat){ vio_le16_of(VIO_BALLOON_S_MEMTOT), vio_le64_of(2000) };
	t.stat[2] = (struct vio_balloon_stat){ vio_le16_of(VIO_BALLOON_S_HTLB_PGFAIL), vio_le64_of(3) };
	memset(t.b->g->bytes, 0, RIG_BYTES / 2);
	t.d = rig_take(t.b->g, sizeof *t.d);
	return t;
}

static void drv_begin(struct drv *t)
{
	assert_null(rig_open(t->b->g, &vio_dev_balloon, &t->b->o));
	if (!vio_balloon_start(t->d, &t->b->g->wire.port, &t->setup, t->stat, 3))
		fail_msg("%s", t->d->drv.failed);
}

static void drv_close(struct drv *t)
{
	assert_true(vio_balloon_stop(t->d));
	assert_int_equal(t->b->g->maps, 0);
	bal_close(t->b);
}

static void target(struct drv *t, unsigned pages)
{
	t->b->pages.target = (uint64_t)pages * VIO_BALLOON_PAGE;
	assert_null(t->b->pages.ask(t->b->pages.arg, VIO_ASK_TARGET));
}

static void walk_through(struct drv *t)
{
	void *page[600];
	uint32_t wants;
	struct vio_balloon_range range[2] = { { bal_page(t->b, FREE + 700), 8192 }, { bal_page(t->b, FREE + 800), 4096 } };

	for (unsigned i = 0; i < 600; i++)
		page[i] = bal_page(t->b, FREE + i);
	target(t, 600);
	assert_true(vio_balloon_wants(t->d, &wants));
	assert_int_equal(wants, 600);
	assert_true(vio_balloon_inflate(t->d, page, 600));
	assert_int_equal(t->b->pages.told.actual, 600 * VIO_BALLOON_PAGE);
	assert_true(bal_is(t->b, FREE, 0) && bal_is(t->b, FREE + 599, 0) && bal_is(t->b, FREE + 600, 0xa5));
	assert_false(vio_balloon_deflate(t->d, page, 1, false));	/* the device wants them */
	target(t, 100);
	assert_false(vio_balloon_deflate(t->d, page, 501, false));
	assert_true(vio_balloon_deflate(t->d, page, 500, false));
	assert_int_equal(t->b->pages.told.actual, 100 * VIO_BALLOON_PAGE);
	assert_int_equal(t->b->pages.told.deflated, 500 * VIO_BALLOON_PAGE);
	assert_true(vio_balloon_deflate(t->d, page + 500, 1, true));	/* out of memory */
	assert_false(vio_balloon_deflate(t->d, page, 100, true));	/* more than there are */
	assert_true(vio_balloon_report(t->d, range, 2));
	assert_true(bal_is(t->b, FREE + 701, 0) && bal_is(t->b, FREE + 800, 0) && bal_is(t->b, FREE + 702, 0xa5));
	assert_int_equal(t->b->pages.told.stats[VIO_BALLOON_S_MEMTOT], 2000);
	assert_false(vio_balloon_stats_wanted(t->d) || vio_balloon_stats(t->d, t->stat, 3));	/* one buffer at a time */
	assert_null(t->b->pages.ask(t->b->pages.arg, VIO_ASK_STATS));
	vio_loop_pump(&t->b->g->wire, 10);
	assert_true(vio_balloon_stats_wanted(t->d));
	t->stat[0].val = vio_le64_of(900);
	assert_true(vio_balloon_stats(t->d, t->stat, 3));
	assert_int_equal(t->b->pages.told.stats[VIO_BALLOON_S_MEMFREE], 900);
	assert_int_equal(t->b->pages.told.stats_has, 1 << VIO_BALLOON_S_MEMFREE | 1 << VIO_BALLOON_S_MEMTOT | 1 << VIO_BALLOON_S_HTLB_PGFAIL);
	assert_int_equal(rig_refused(t->b->g, VIO_BALLOON_Q_STATS), 0);
}

static void all_of_it_in_every_shape(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1), BITS(VIO_F_EVENT_IDX), BITS(VIO_F_IN_ORDER), BITS(VIO_F_RING_PACKED),
		BITS(VIO_F_RING_PACKED, VIO_F_EVENT_IDX, VIO_F_IN_ORDER, VIO_F_NOTIFICATION_DATA) };

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		for (uint32_t clip = 0; clip < 2; clip++) {
			struct drv t = drv_new();
			t.b->g->mem.clip = clip ? 1000 : 0;
			assert_null(rig_open(t.b->g, &vio_dev_balloon, &t.b->o));
			t.b->g->dev->wire = vio_features_and(t.b->g->dev->wire, vio_features_or(rings[i], BITS(VIO_F_VERSION_1)));
			if (!vio_balloon_start(t.d, &t.b->g->wire.port, &t.setup, t.stat, 3))
				fail_msg("%s", t.d->drv.failed);
			walk_through(&t);
			drv_close(&t);
		}
}

static void hints_from_begin_to_done(void **state)
{
	struct drv t = drv_new();
	struct vio_balloon_range r = { bal_page(t.b, FREE), 16384 };

	(void)state;
	drv_begin(&t);
	assert_false(vio_balloon_hint_round(t.d));	/* nobody wants any */
	assert_false(vio_balloon_hint(t.d, &r));
	assert_null(t.b->pages.ask(t.b->pages.arg, VIO_ASK_HINTS));
	t.b->keeps_hints = true;
	assert_true(vio_balloon_hint_round(t.d));
	assert_int_equal(vio_le32_get(t.d->shared.cmd_id), 2);
	assert_false(vio_balloon_hint_round(t.d));	/* the id is said once */
	assert_true(vio_balloon_hint(t.d, &r));
	assert_int_equal(t.b->pages.told.hinted, 16384);
	assert_true(vio_balloon_hint_end(t.d));
	assert_int_equal(vio_le32_get(t.d->shared.cmd_id), VIO_BALLOON_CMD_ID_STOP);
	assert_false(vio_balloon_hint_done(t.d));
	assert_false(vio_balloon_hint_round(t.d));	/* nor is it begun again */
	assert_null(t.b->pages.ask(t.b->pages.arg, VIO_ASK_HINTS_DONE));
	assert_true(vio_balloon_hint_done(t.d));
	assert_null(t.b->pages.ask(t.b->pages.arg, VIO_ASK_HINTS));
	assert_true(vio_balloon_hint_round(t.d));
	assert_null(t.b->pages.ask(t.b->pages.arg, VIO_ASK_HINTS_STOP));
	assert_false(vio_balloon_hint(t.d, &r));	/* the device wants no more */
	assert_true(vio_balloon_hint_end(t.d));
	assert_int_equal(rig_refused(t.b->g, VIO_BALLOON_Q_HINTS), 0);
	drv_close(&t);
}

static void poison_is_written_before_and_after(void **state)
{
	struct drv t = drv_new();
	void *page[] = { bal_page(t.b, FREE), bal_page(t.b, FREE + 1) };
	struct vio_balloon_range r = { bal_page(t.b, FREE + 4), 4096 };

	(void)state;
	t.setup = (struct vio_balloon_setup){ .poison = true, .poison_val = 0x5b5b5b5b };
	drv_begin(&t);
	assert_true(vio_drv_has(&t.d->drv, VIO_BALLOON_F_PAGE_POISON));
	assert_int_equal(vio_le32_get(bal_config(t.b).poison_val), 0x5b5b5b5b);
	target(&t, 2);
	assert_true(vio_balloon_inflate(t.d, page, 2));
	assert_true(bal_is(t.b, FREE, 0));
	target(&t, 1);
	assert_true(vio_balloon_deflate(t.d, page, 1, false));
	assert_true(bal_is(t.b, FREE, 0x5b) && bal_is(t.b, FREE + 1, 0));
	assert_true(vio_balloon_report(t.d, &r, 1));
	assert_true(bal_is(t.b, FREE + 4, 0x5b) && bal_is(t.b, FREE + 5, 0xa5));
	drv_close(&t);
}

static void features_that_belong_together(void **state)
{
	const struct { bool keeps, poison, offered, reporting; } rows[] = {
		{ false, false, true, true }, { true, false, true, false }, { true, true, true, true }, { true, true, false, false },
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct drv t = drv_new();
		t.setup = (struct vio_balloon_setup){ .keeps_contents = rows[i].keeps, .poison = rows[i].poison };
		assert_null(rig_open(t.b->g, &vio_dev_balloon, &t.b->o));
		if (!rows[i].offered)
			vio_features_drop(&t.b->g->dev->type_features, VIO_BALLOON_F_PAGE_POISON);
		assert_true(vio_balloon_start(t.d, &t.b->g->wire.port, &t.setup, t.stat, 3));
		assert_int_equal(vio_drv_has(&t.d->drv, VIO_BALLOON_F_PAGE_REPORTING), rows[i].reporting);
		assert_int_equal(vio_drv_has(&t.d->drv, VIO_BALLOON_F_PAGE_POISON), rows[i].poison && rows[i].offered);
		assert_true(vio_drv_has(&t.d->drv, VIO_BALLOON_F_MUST_TELL_HOST));
		struct vio_balloon_range r = { bal_page(t.b, FREE), 4096 };
		assert_int_equal(vio_balloon_report(t.d, &r, 1), rows[i].reporting);
		drv_close(&t);
	}
}

/* Without DEFLATE_ON_OOM nothing is taken back that the device wants, however little memory there is. */
static void without_deflate_on_oom(void **state)
{
	struct drv t = drv_new();
	void *page[] = { bal_page(t.b, FREE) };

	(void)state;
	t.b->o.deflate_on_oom = false;
	drv_begin(&t);
	target(&t, 1);
	assert_true(vio_balloon_inflate(t.d, page, 1));
	assert_false(vio_balloon_deflate(t.d, page, 1, true));
	target(&t, 0);
	assert_true(vio_balloon_deflate(t.d, page, 1, false));
	drv_close(&t);
}

static void statistics_are_what_they_must_be(void **state)
{
	struct drv t = drv_new();
	struct vio_balloon_stat ten[10], odd[2] = { t.stat[0], t.stat[0] };

	(void)state;
	for (uint16_t i = 0; i < 10; i++)
		ten[i] = (struct vio_balloon_stat){ vio_le16_of((uint16_t)(9 - i)), vio_le64_of(i) };
	assert_null(rig_open(t.b->g, &vio_dev_balloon, &t.b->o));
	assert_false(vio_balloon_start(t.d, &t.b->g->wire.port, &t.setup, odd, 2));	/* a tag twice */
	assert_false(vio_balloon_start(t.d, &t.b->g->wire.port, &t.setup, t.stat, 0));
	assert_true(vio_balloon_start(t.d, &t.b->g->wire.port, &t.setup, ten, 10));
	assert_int_equal(t.b->g->dev->queue[VIO_BALLOON_Q_STATS].ring.stats.chains, 0);	/* looked at and put back */
	assert_int_equal(t.b->pages.told.stats_has, 0x3ff);
	/* both 10-byte entries and a multiple of 6 bytes */
	const struct vio_split_desc *desc = t.d->q[VIO_BALLOON_Q_STATS].is_packed ? NULL : t.d->q[VIO_BALLOON_Q_STATS].place.desc;
	uint32_t len = desc ? vio_le32_get(desc[0].len) :
	    vio_le32_get(((const struct vio_packed_desc *)t.d->q[VIO_BALLOON_Q_STATS].place.desc)[0].len);
	assert_int_equal(len, 120);
	assert_null(t.b->pages.ask(t.b->pages.arg, VIO_ASK_STATS));
	vio_loop_pump(&t.b->g->wire, 10);
	assert_true(vio_balloon_stats_wanted(t.d));
	assert_false(vio_balloon_stats(t.d, ten, 9));	/* another subset */
	assert_true(vio_balloon_stats(t.d, ten, 10));
	drv_close(&t);
}

/* ---- Over a device that lies ---- */

static struct vio_balloon *over_a_fake(struct fake *f)
{
	struct vio_balloon *d = rig_take(f->g, sizeof *d);
	const struct vio_balloon_setup s = { 0 };
	const struct vio_balloon_stat stat = { vio_le16_of(0), vio_le64_of(1) };

	return vio_balloon_start(d, &f->port, &s, &stat, 1) ? d : NULL;
}

static void a_device_that_does_not_answer(void **state)
{
	struct fake *f = fake_new(VIO_ID_BALLOON, BITS(ALL_BALLOON));
	void *page[] = { f->g->bytes + RIG_BYTES - 4096 };

	(void)state;
	struct vio_balloon *d = over_a_fake(f);
	assert_non_null(d);
	uint64_t before = f->g->clock;
	assert_false(vio_balloon_inflate(d, page, 1));
	assert_non_null(strstr(d->drv.failed, "in time"));
	assert_in_range(f->g->clock - before, VIO_DRV_PATIENCE_NS / 2, 3 * VIO_DRV_PATIENCE_NS);
	assert_int_equal(d->actual, 0);			/* nothing was acknowledged */
	assert_false(vio_balloon_inflate(d, page, 1));	/* nor is anything tried again */
	assert_true(vio_balloon_stop(d));
	assert_int_equal(f->g->maps, 0);
	fake_close(f);
}

static void lie(struct fake *f)
{
	if (f->kicks > 1)
		fake_use(f, 0, 77, 0);		/* a chain that there is not */
}

static void a_device_that_answers_what_was_not_asked(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_BALLOON), BITS(ALL_BALLOON, VIO_F_RING_PACKED) };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct fake *f = fake_new(VIO_ID_BALLOON, rings[k]);
		void *page[] = { f->g->bytes + RIG_BYTES - 4096 };
		f->on_kick = lie;
		struct vio_balloon *d = over_a_fake(f);
		assert_non_null(d);
		assert_false(vio_balloon_inflate(d, page, 1));
		assert_non_null(d->q[0].broken);
		assert_true(vio_balloon_stop(d));
		fake_close(f);
	}
}

static void answer(struct fake *f)
{
	static unsigned n;

	n = f->kicks == 1 ? 0 : n;
	if (f->kicks > 1) {			/* the first is the statistics' */
		fake_use(f, (uint16_t)n, fake_id_of(f, (uint16_t)n, 1), 0);
		n++;
	}
}

/* Targets and command ids beyond reason are only numbers. */
static void absurd_config_is_only_numbers(void **state)
{
	struct fake *f = fake_new(VIO_ID_BALLOON, BITS(ALL_BALLOON));
	void *page[] = { f->g->bytes + RIG_BYTES - 4096 };
	uint32_t wants;

	(void)state;
	memset(f->config, 0xff, sizeof f->config);
	f->on_kick = answer;
	struct vio_balloon *d = over_a_fake(f);
	assert_non_null(d);
	assert_true(vio_balloon_wants(d, &wants));
	assert_int_equal(wants, UINT32_MAX);
	assert_true(vio_balloon_inflate(d, page, 1));
	assert_int_equal(d->actual, 1);
	assert_int_equal(f->config_writes, 1);
	assert_false(vio_balloon_deflate(d, page, 1, false));
	assert_true(vio_balloon_stop(d));
	fake_close(f);
}

static void a_page_that_is_none_is_refused(void **state)
{
	struct drv t = drv_new();
	void *page[] = { bal_page(t.b, FREE), bal_page(t.b, FREE + 1) + 16 };
	struct vio_balloon_range r[2] = { { bal_page(t.b, FREE), 4096 }, { bal_page(t.b, FREE + 1), 100 } };

	(void)state;
	drv_begin(&t);
	t.b->logged = 0;
	assert_false(vio_balloon_inflate(t.d, page, 2));
	assert_false(vio_balloon_report(t.d, r, 2));
	assert_false(vio_balloon_report(t.d, r, VIO_BALLOON_DRV_RANGES + 1));
	assert_int_equal(t.b->logged, 0);
	assert_int_equal(t.d->actual, 0);
	drv_close(&t);
}

static const struct CMUnitTest tests[] = {
	T(all_of_it_in_every_shape, "everything a balloon can be asked, over every ring "
	    "{balloon-drv-1 balloon-drv-4 balloon-drv-9 balloon-drv-10 balloon-drv-14 balloon-drv-16 balloon-drv-17 balloon-drv-18; only us}"),
	T(hints_from_begin_to_done, "a round of hints: the id once, pages while it holds, stop "
	    "{balloon-drv-24 balloon-drv-25 balloon-drv-26 balloon-drv-27 balloon-drv-28 balloon-drv-29 balloon-dev-11; only us}"),
	T(poison_is_written_before_and_after, "poison is told before DRIVER_OK, and is in every page that comes back or is reported "
	    "{balloon-drv-34 balloon-drv-35 balloon-drv-36 balloon-drv-38 balloon-dev-14; only us}"),
	T(features_that_belong_together, "who counts on what is in free pages has none reported without poison {balloon-drv-2 balloon-drv-3; only us}"),
	T(without_deflate_on_oom, "without DEFLATE_ON_OOM the device's pages stay in the balloon {balloon-drv-7; only us}"),
	T(statistics_are_what_they_must_be, "statistics: the same tags always, a multiple of 6 bytes and of 10 "
	    "{balloon-drv-19 balloon-drv-20 balloon-drv-23 balloon-dev-4; only us}"),
	T(a_device_that_does_not_answer, "pages are not in the balloon before the device says so {balloon-drv-12 balloon-drv-13}"),
	T(a_device_that_answers_what_was_not_asked, "an answer that was not asked for breaks the queue, not the driver"),
	T(absurd_config_is_only_numbers, "absurd targets and command ids are only numbers"),
	T(a_page_that_is_none_is_refused, "what is no page is refused before the device hears of it"),
};

int main(void) { return vio_tests("balloon-driver", tests, sizeof tests / sizeof *tests); }
