/* What the operator allows a device: rates and holding, over an entropy device and a clock that the test moves. */
#include <vio/device/blk.h>
#include <vio/device/rng.h>
#include <vio/host/disk.h>
#include <vio/host/source.h>
#include <vio/spec/blk.h>
#include "rig.h"

enum { BYTES = 100, CHAINS = 40 };
#define MS UINT64_C(1000000)

struct bench {
	struct rig *g;
	struct vio_source *source;
	unsigned char *buf[CHAINS];
};

static struct bench *start(uint16_t queues)
{
	struct bench *b = calloc(1, sizeof *b);

	b->source = vio_source_counting(0);
	b->g = rig_new();
	b->g->wire.clock = 1000000 * MS;
	assert_null(rig_open(b->g, &vio_dev_rng, &(struct vio_rng_options){ .source = b->source }));
	rig_start(b->g, queues, BITS(VIO_F_VERSION_1));
	for (unsigned i = 0; i < CHAINS; i++)
		b->buf[i] = rig_take(b->g, BYTES);
	return b;
}

static void stop(struct bench *b)
{
	rig_close(b->g);
	vio_source_close(b->source);
	free(b);
}

static void ask(struct bench *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_true(rig_add(b->g, 0, NULL, 0, 0, b->buf[i], BYTES, 0));
	rig_kick(b->g, 0);
}

/* How many came back by now. */
static unsigned came(struct bench *b)
{
	unsigned n = 0;
	vio_loop_pump(&b->g->wire, 100);
	while (rig_get(b->g, 0, NULL))
		n++;
	return n;
}

static void operations(void **state)
{
	struct bench *b = start(1);

	(void)state;
	vio_dev_set_rate(b->g->dev, VIO_RATE_OPS, 100, 10);
	ask(b, CHAINS);
	assert_int_equal(came(b), 11);		/* what was saved up, and the one that is due */
	assert_int_equal(came(b), 0);
	vio_loop_tick(&b->g->wire, 9 * MS);
	assert_int_equal(came(b), 0);
	vio_loop_tick(&b->g->wire, 1 * MS);
	assert_int_equal(came(b), 1);
	unsigned more = 0;
	for (unsigned i = 0; i < 20; i++) {
		vio_loop_tick(&b->g->wire, 10 * MS);
		more += came(b);
	}
	assert_int_equal(more, 20);		/* 100 a second */
	vio_loop_tick(&b->g->wire, 10000 * MS);
	assert_int_equal(came(b), CHAINS - 32);	/* idle time is worth a burst, no more was asked */
	stop(b);
}

static void idle_time_is_capped(void **state)
{
	struct bench *b = start(1);

	(void)state;
	vio_dev_set_rate(b->g->dev, VIO_RATE_OPS, 100, 10);
	vio_loop_tick(&b->g->wire, 3600000 * MS);
	ask(b, CHAINS);
	assert_int_equal(came(b), 11);
	stop(b);
}

static void bytes(void **state)
{
	struct bench *b = start(1);
	unsigned total;

	(void)state;
	vio_dev_set_rate(b->g->dev, VIO_RATE_BYTES, 10000, 1000);	/* 100 chains' worth, 10 saved */
	ask(b, CHAINS);
	total = came(b);
	assert_in_range(total, 10, 11 + 8);	/* at most a careful turn more than allowed */
	for (unsigned i = 0; i < 20; i++) {
		vio_loop_tick(&b->g->wire, 10 * MS);
		total += came(b);
	}
	assert_in_range(total, 30, 39);		/* and that is paid off */
	stop(b);
}

static void lifted(void **state)
{
	struct bench *b = start(1);

	(void)state;
	vio_dev_set_rate(b->g->dev, VIO_RATE_OPS, 1, 1);
	ask(b, CHAINS);
	assert_int_equal(came(b), 2);
	vio_dev_set_rate(b->g->dev, VIO_RATE_OPS, 0, 0);
	vio_dev_wake(&b->g->dev->queue[0].ring);
	assert_int_equal(came(b), CHAINS - 2);
	vio_dev_set_rate(b->g->dev, VIO_RATE_OPS, 100, 1);	/* what was done in between is nobody's debt */
	ask(b, 4);
	assert_int_equal(came(b), 2);
	stop(b);
}

static void a_limit_holds_nothing_up(void **state)
{
	struct bench *b = start(1);

	(void)state;
	vio_dev_set_rate(b->g->dev, VIO_RATE_OPS, 1, 1);
	ask(b, CHAINS);
	came(b);
	rig_reset(b->g);	/* would not return */
	assert_int_equal(vio_dev_status(b->g->dev), 0);
	stop(b);
}

static void held(void **state)
{
	struct bench *b = start(1);

	(void)state;
	vio_dev_hold(b->g->dev, true);
	ask(b, 5);
	assert_int_equal(came(b), 0);
	assert_int_equal(vio_dev_queue_depth(b->g->dev, 0), 0);
	vio_dev_hold(b->g->dev, false);
	vio_dev_wake(&b->g->dev->queue[0].ring);
	assert_int_equal(came(b), 5);
	stop(b);
}

static void extreme_rates(void **state)
{
	static const uint64_t rates[] = { 1, 3, 999999999, UINT64_MAX / 2, UINT64_MAX };
	(void)state;
	for (unsigned i = 0; i < sizeof rates / sizeof *rates; i++)
		for (unsigned what = 0; what < VIO_RATES; what++) {
			struct bench *b = start(1);
			vio_dev_set_rate(b->g->dev, what, rates[i], rates[i]);
			ask(b, CHAINS);
			unsigned n = came(b);
			assert_in_range(n, 1, CHAINS);
			if (rates[i] > 3)
				assert_int_equal(n, CHAINS);
			stop(b);
		}
}

/* A flush that the disk keeps for 5 ms, asked for twice. */
static void time_in_the_device(void **state)
{
	struct rig *g = rig_new();
	struct vio_disk *disk = vio_disk_faulty_open(vio_disk_ram_open(1 << 20, NULL, (struct vio_disk_place){ NULL, 0 }),
	    &(struct vio_disk_faults){ .late_every = 1 });

	(void)state;
	assert_null(rig_open(g, &vio_dev_blk, &(struct vio_blk_options){ .disk = disk, .queues = 1 }));
	rig_start(g, 1, BITS(VIO_F_VERSION_1));
	g->dev->timed = true;
	g->wire.clock = 1000 * MS;
	for (unsigned i = 0; i < 2; i++) {
		struct vio_blk_req *r = rig_take(g, sizeof *r);
		unsigned char *status = rig_take(g, 1);
		*r = (struct vio_blk_req){ .type = vio_le32_of(VIO_BLK_T_FLUSH) };
		assert_true(rig_add(g, 0, r, sizeof *r, 0, status, 1, 0));
	}
	rig_kick(g, 0);
	assert_int_equal(vio_dev_queue_depth(g->dev, 0), 2);
	vio_loop_tick(&g->wire, 5 * MS);
	vio_disk_faulty_release(disk);
	vio_loop_pump(&g->wire, 10);
	assert_int_equal(vio_dev_queue_depth(g->dev, 0), 0);
	assert_int_equal(g->dev->queue[0].area_ns, 2 * 5 * MS);
	assert_int_equal(g->dev->queue[0].ring.stats.chains, 2);
	rig_close(g);
	vio_disk_close(disk);
}

static const struct CMUnitTest tests[] = {
	T(operations, "a limit of operations is kept exactly, with its burst"),
	T(idle_time_is_capped, "an hour of idleness is worth one burst"),
	T(bytes, "a limit of bytes is overrun by at most a short turn, and that is paid off"),
	T(lifted, "a limit can be lifted and set anew; what was done between is not counted"),
	T(a_limit_holds_nothing_up, "a queue that has had its share is reset at once"),
	T(held, "a held device pops nothing, and goes on when it is released"),
	T(extreme_rates, "rates from one to the largest number"),
	T(time_in_the_device, "time that requests take is counted from turn to turn"),
};

int main(void) { return vio_tests("rate", tests, sizeof tests / sizeof *tests); }
