/* The entropy device (virtio 1.4, section 5.4), over a source that starves, fails and dribbles as told. */
#include <vio/device/rng.h>
#include "rig.h"
#include "moves.h"

struct test_source {
	struct vio_source source;
	uint64_t has;			/* bytes until it starves */
	size_t dribble;			/* at most so many at once; 0: all */
	uint64_t next;			/* byte i is i modulo 251 */
	size_t largest;			/* asked for at once */
	unsigned calls, cancels;
	bool failed;
};

static long test_fill(struct vio_source *s, void *to, size_t n)
{
	struct test_source *t = (struct test_source *)s;
	unsigned char *p = to;

	t->calls++;
	if (n > t->largest)
		t->largest = n;
	if (t->failed)
		return -1;
	if (n > t->has)
		n = t->has;
	if (t->dribble && n > t->dribble)
		n = t->dribble;
	t->has -= n;
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(t->next++ % 251);
	return (long)n;
}

static void test_cancel(struct vio_source *s) { ((struct test_source *)s)->cancels++; }
static void test_close(struct vio_source *s) { (void)s; }
static const struct vio_source_ops test_source_ops = { test_fill, test_cancel, test_close };

struct rng_rig { struct rig *g; struct test_source t; struct vio_rng_options o; };

static struct rng_rig *rng_start(struct vio_features f, uint32_t clip)
{
	struct rng_rig *b = calloc(1, sizeof *b);

	assert_non_null(b);
	b->g = rig_new();
	b->g->mem.clip = clip;
	b->t = (struct test_source){ .source.ops = &test_source_ops, .has = UINT64_MAX };
	b->o = (struct vio_rng_options){ .source = &b->t.source };
	assert_null(rig_open(b->g, &vio_dev_rng, &b->o));
	rig_start(b->g, 1, f);
	return b;
}

static void rng_close(struct rng_rig *b)
{
	rig_close(b->g);
	free(b);
}

/* n writable bytes, all 0xff, which no source gives. */
static unsigned char *give(struct rng_rig *b, size_t n, size_t cut)
{
	unsigned char *p = rig_take(b->g, n + 16);

	memset(p, 0xff, n + 16);
	assert_true(rig_add(b->g, 0, NULL, 0, 0, p, n, cut));
	return p;
}

static void a_buffer_is_filled(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1), BITS(VIO_F_RING_PACKED), BITS(VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX) };
	const size_t cuts[] = { 0, 1, 7 };

	(void)state;
	for (unsigned k = 0; k < 3; k++)
		for (uint32_t clip = 0; clip < 2; clip++) {
			struct rng_rig *b = rng_start(rings[k], clip);
			for (unsigned c = 0; c < 3; c++) {
				size_t n = cuts[c] == 1 ? 40 : 400;
				uint64_t from = b->t.next - 1;	/* a byte is in hand already */
				uint32_t used;
				rig_rewind(b->g);
				unsigned char *p = give(b, n, cuts[c]);
				rig_kick(b->g, 0);
				assert_ptr_equal(rig_get(b->g, 0, &used), p);
				assert_int_equal(used, n);
				for (size_t i = 0; i < n; i++)
					assert_int_equal(p[i], (from + i) % 251);
				assert_int_equal(p[n], 0xff);
			}
			rng_close(b);
		}
}

static void a_share_is_enough(void **state)
{
	struct rng_rig *b = rng_start(BITS(VIO_F_VERSION_1), 0);
	uint32_t used;

	(void)state;
	unsigned char *p = give(b, 4 << 20, 0);		/* a driver that asks for much gets some */
	rig_kick(b->g, 0);
	assert_ptr_equal(rig_get(b->g, 0, &used), p);
	assert_int_equal(used, 65536);
	assert_int_equal(p[65535], 65535 % 251);
	assert_int_equal(p[65536], 0xff);
	assert_true(b->t.largest <= 65536);
	rng_close(b);
}

static void a_turn_has_a_budget(void **state)
{
	struct rng_rig *b = rng_start(BITS(VIO_F_VERSION_1), 0);
	unsigned back = 0;

	(void)state;
	b->g->wire.lazy = true;
	for (unsigned i = 0; i < 16; i++)
		give(b, 65536, 0);
	rig_kick(b->g, 0);
	vio_loop_pump(&b->g->wire, 1);
	assert_in_range(b->t.next, 4 * 65536, 4 * 65536 + 1);
	vio_loop_pump(&b->g->wire, 16);
	while (rig_get(b->g, 0, NULL))
		back++;
	assert_int_equal(back, 16);
	rng_close(b);
}

static void nothing_writable_nothing_random(void **state)
{
	struct rng_rig *b = rng_start(BITS(VIO_F_VERSION_1), 0);
	unsigned char *p = rig_take(b->g, 64);
	uint32_t used;

	(void)state;
	memset(p, 0xff, 64);
	assert_true(rig_add(b->g, 0, p, 32, 0, NULL, 0, 0));
	rig_kick(b->g, 0);
	assert_ptr_equal(rig_get(b->g, 0, &used), p);
	assert_int_equal(used, 0);
	assert_int_equal(rig_refused(b->g, 0), 1);
	/* readable bytes in front of writable ones mean nothing */
	assert_true(rig_add(b->g, 0, p, 32, 0, p + 32, 32, 0));
	rig_kick(b->g, 0);
	assert_ptr_equal(rig_get(b->g, 0, &used), p + 32);
	assert_int_equal(used, 32);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(p[i], 0xff);
	rng_close(b);
}

/* A dry source: the queue waits without a turn of the loop, and each buffer gets at least a byte in the end. */
static void a_dry_source_is_waited_for(void **state)
{
	struct rng_rig *b = rng_start(BITS(VIO_F_VERSION_1), 0);
	uint32_t used;

	(void)state;
	b->t.has = 9;		/* and one in hand */
	unsigned char *first = give(b, 64, 0), *second = give(b, 64, 0), *third = give(b, 64, 0);
	rig_kick(b->g, 0);
	assert_ptr_equal(rig_get(b->g, 0, &used), first);
	assert_int_equal(used, 10);
	assert_null(rig_get(b->g, 0, &used));
	unsigned calls = b->t.calls;
	assert_int_equal(b->g->wire.due[0], 0);		/* nobody asks for a turn: no busy loop */
	vio_loop_pump(&b->g->wire, 100);
	assert_int_equal(b->t.calls, calls);
	assert_int_equal(b->g->dev->queue[0].ring.inflight, 0);	/* and nothing was taken */
	b->t.has = 1;
	b->t.source.ready(b->t.source.ready_arg);
	assert_int_not_equal(b->g->wire.due[0], 0);
	vio_loop_pump(&b->g->wire, 100);
	assert_ptr_equal(rig_get(b->g, 0, &used), second);
	assert_int_equal(used, 1);
	assert_null(rig_get(b->g, 0, &used));
	rig_kick(b->g, 0);		/* a kick does not help a dry source */
	assert_null(rig_get(b->g, 0, &used));
	b->t.has = 1000;
	b->t.source.ready(b->t.source.ready_arg);
	b->t.source.ready(b->t.source.ready_arg);	/* twice is once */
	vio_loop_pump(&b->g->wire, 100);
	assert_ptr_equal(rig_get(b->g, 0, &used), third);
	assert_int_equal(used, 64);
	rng_close(b);
}

static void a_slow_source_dribbles(void **state)
{
	struct rng_rig *b = rng_start(BITS(VIO_F_VERSION_1), 0);
	uint32_t used;

	(void)state;
	b->t.dribble = 3;
	unsigned char *p = give(b, 100, 0);
	rig_kick(b->g, 0);
	assert_ptr_equal(rig_get(b->g, 0, &used), p);
	assert_int_equal(used, 100);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(p[i], i);
	rng_close(b);
}

static void waiting_does_not_hold_up_a_reset(void **state)
{
	struct rng_rig *b = rng_start(BITS(VIO_F_VERSION_1), 0);
	uint32_t used;

	(void)state;
	b->t.has = 0;
	give(b, 64, 0);		/* gets the byte in hand */
	unsigned char *p = give(b, 64, 0);
	rig_kick(b->g, 0);
	assert_non_null(rig_get(b->g, 0, &used));
	assert_null(rig_get(b->g, 0, &used));
	b->g->wire.port.ops->set_status(&b->g->wire.port, 0);
	assert_int_equal(vio_dev_status(b->g->dev), 0);
	assert_int_equal(b->t.cancels, 1);
	b->t.has = 100;
	b->t.source.ready(b->t.source.ready_arg);	/* too late: heard by nobody */
	vio_loop_pump(&b->g->wire, 10);
	assert_int_equal(p[0], 0xff);
	rig_start(b->g, 1, BITS(VIO_F_VERSION_1));
	p = give(b, 64, 0);
	rig_kick(b->g, 0);
	assert_ptr_equal(rig_get(b->g, 0, &used), p);
	assert_int_equal(used, 64);
	rng_close(b);
}

static void a_failed_source_breaks_the_queue(void **state)
{
	struct rng_rig *b = rng_start(BITS(VIO_F_VERSION_1), 0);
	uint32_t used;

	(void)state;
	b->t.failed = true;
	uint64_t told = b->g->wire.configs;
	give(b, 64, 0);
	give(b, 64, 0);
	rig_kick(b->g, 0);
	assert_null(rig_get(b->g, 0, &used));
	assert_non_null(strstr(b->g->wire.broken, "random bytes"));
	assert_true(vio_dev_status(b->g->dev) & VIO_S_NEEDS_RESET);
	assert_int_equal(b->g->wire.configs, told + 1);
	unsigned calls = b->t.calls;
	rig_kick(b->g, 0);
	vio_loop_pump(&b->g->wire, 10);
	assert_int_equal(b->t.calls, calls);
	assert_int_equal(b->g->wire.configs, told + 1);	/* once */
	rng_close(b);
}

static void no_config_space(void **state)
{
	struct rng_rig *b = rng_start(BITS(VIO_F_VERSION_1), 0);
	unsigned char c[16];

	(void)state;
	b->g->wire.port.ops->config_read(&b->g->wire.port, 0, c, sizeof c);
	for (unsigned i = 0; i < sizeof c; i++)
		assert_int_equal(c[i], 0);
#ifndef RIG_MMIO		/* where a driver does not hear that nothing was written */
	assert_false(b->g->wire.port.ops->config_write(&b->g->wire.port, 0, c, 1));
#endif
	rng_close(b);
}

/* It waits for the source when it moves. */
static void moves_dry(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1), BITS(VIO_F_RING_PACKED), BITS(VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX) };

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		struct rng_rig *b = rng_start(rings[k], 0);
		uint32_t used;
		b->t.has = 1;
		unsigned char *p = give(b, 8, 0), *q = give(b, 8, 0);
		rig_kick(b->g, 0);
		assert_ptr_equal(rig_get(b->g, 0, &used), p);
		moves_on(b->g);
		assert_null(rig_get(b->g, 0, &used));
		b->t.has = 8;
		b->t.source.ready(b->t.source.ready_arg);
		vio_loop_pump(&b->g->wire, 100);
		assert_ptr_equal(rig_get(b->g, 0, &used), q);
		assert_int_equal(used, 8);
		assert_true(moves_freeze(b->g));
		assert_in_range(moves_refuses(b->g), 1, UINT32_MAX);
		rng_close(b);
	}
}

static const struct CMUnitTest tests[] = {
	T(a_buffer_is_filled, "a buffer is filled in place, over both rings and any cut {entropy-dev-1}"),
	T(a_share_is_enough, "a request of 4 MiB gets 64 KiB"),
	T(a_turn_has_a_budget, "a driver that asks without end lets others have their turn"),
	T(nothing_writable_nothing_random, "a chain without writable bytes comes back empty; readable ones mean nothing"),
	T(a_dry_source_is_waited_for, "a dry source is waited for, not polled; every buffer gets a byte {entropy-dev-1}"),
	T(a_slow_source_dribbles, "a source may give a few bytes at once"),
	T(waiting_does_not_hold_up_a_reset, "a queue that waits for the source is reset at once {core-dev-9 core-dev-10}"),
	T(a_failed_source_breaks_the_queue, "a source that has failed needs a reset, told once {core-dev-2 core-dev-3}"),
	T(moves_dry, "moved while it waits for the source"),
	T(no_config_space, "there is no config space to read or write"),
};

int main(void) { return vio_tests("rng", tests, sizeof tests / sizeof *tests); }
