/* The block and entropy drivers over the real devices, in every shape; and what a driver must not ask. */
#include <vio/device/rng.h>
#include <vio/driver/blk.h>
#include <vio/driver/rng.h>
#include "blk_rig.h"

/* A driver whose requests and rings lie in guest memory. */
struct drv {
	struct blk_rig r;
	struct vio_blk b;
	struct vio_blk_setup setup;
	struct vio_blk_request *req;
	unsigned char *data;
};

enum { DATA = 64 * 1024 };

static struct drv *drv_new(void)
{
	struct drv *d = calloc(1, sizeof *d);

	assert_non_null(d);
	d->r = blk_new();
	return d;
}

static void give_memory(struct drv *d, struct vio_features wanted, bool indirect)
{
	struct rig *g = d->r.g;

	d->setup = (struct vio_blk_setup){ .queues = d->r.o.queues, .queue_size = RIG_SIZE, .wanted = wanted };
	for (uint16_t i = 0; i < d->setup.queues; i++) {
		struct vio_blk_queue_memory *m = &d->setup.memory[i];
		m->ring = rig_take(g, VIO_DRVQ_RING_BYTES(RIG_SIZE));
		m->slots = g->slots[i];
		m->indirect = indirect ? rig_take(g, RIG_SIZE * VIO_BLK_DRV_INDIRECT * sizeof *m->indirect) : NULL;
	}
	/* a header that crosses a page, as the worst caller would have it */
	g->used = ((g->used + sizeof *d->req + 4095) & ~(size_t)4095) - 16;
	d->req = rig_take(g, sizeof *d->req);
	d->data = rig_take(g, DATA);
}

static void drv_start(struct drv *d, struct vio_features wanted)
{
	assert_null(rig_open(d->r.g, &vio_dev_blk, &d->r.o));
	give_memory(d, wanted, true);
	if (!vio_blk_start(&d->b, &d->r.g->wire.port, &d->setup))
		fail_msg("%s", d->b.drv.failed);
}

static void drv_close(struct drv *d)
{
	assert_true(vio_blk_stop(&d->b));
	for (uint16_t i = 0; i < d->b.queues; i++)
		while (vio_blk_abandon(&d->b, i))
			;
	assert_int_equal(d->r.g->maps, 0);	/* everything mapped was unmapped */
	blk_close(&d->r);
	free(d);
}

static uint8_t drv_do(struct drv *d, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	memset(d->req, 0, sizeof *d->req);
	*d->req = (struct vio_blk_request){ .type = type, .sector = sector, .data = data, .len = len };
	return vio_blk_do(&d->b, d->req);
}

/* ---- Everything there is to ask, in every shape ---- */

static void walk_through(struct drv *d)
{
	struct test_disk *t = d->r.t;
	struct vio_blk_lifetime *life = (void *)d->data;
	struct vio_blk_range *range = (void *)d->data;

	assert_int_equal(d->b.capacity, CAPACITY);
	assert_int_equal(drv_do(d, VIO_BLK_T_IN, 16, d->data, 8192), VIO_BLK_S_OK);
	assert_int_equal(d->req->got, 8192);
	assert_memory_equal(d->data, t->bytes + 16 * 512, 8192);
	memset(d->data, 0x77, 8192);
	assert_int_equal(drv_do(d, VIO_BLK_T_OUT, 32, d->data, 8192), VIO_BLK_S_OK);
	assert_true(all_are(t->bytes + 32 * 512, 8192, 0x77));
	assert_int_equal(t->bytes[48 * 512], pattern(48 * 512));
	test_disk_forget(t);
	assert_int_equal(drv_do(d, VIO_BLK_T_FLUSH, 55, NULL, 0), VIO_BLK_S_OK);
	assert_int_equal(vio_le64_get(d->req->header.sector), 0);
	assert_int_equal(t->asked[0].op, VIO_DISK_FLUSH);
	assert_int_equal(drv_do(d, VIO_BLK_T_GET_ID, 3, d->data, 20), VIO_BLK_S_OK);
	assert_int_equal(d->req->got, 20);
	assert_string_equal((char *)d->data, "disk of the tests");
	assert_int_equal(drv_do(d, VIO_BLK_T_GET_LIFETIME, 0, life, sizeof *life), VIO_BLK_S_OK);
	assert_int_equal(vio_le16_get(life->pre_eol_info), 2);
	const uint32_t types[] = { VIO_BLK_T_DISCARD, VIO_BLK_T_WRITE_ZEROES, VIO_BLK_T_SECURE_ERASE };
	const unsigned char becomes[] = { 0xdd, 0, 0xee };
	for (unsigned i = 0; i < 3; i++) {
		range[0] = range_of(64, 4, i == 1);
		range[1] = range_of(70, 1, 0);
		assert_int_equal(drv_do(d, types[i], 0, range, 2 * sizeof *range), VIO_BLK_S_OK);
		assert_true(all_are(t->bytes + 64 * 512, 2048, becomes[i]));
		assert_true(all_are(t->bytes + 70 * 512, 512, becomes[i]));
		assert_int_equal(t->bytes[68 * 512], pattern(68 * 512));
	}
}

static void all_of_it_in_every_shape(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1), BITS(VIO_F_INDIRECT_DESC), BITS(VIO_F_EVENT_IDX),
		BITS(VIO_F_IN_ORDER), BITS(SPLIT_FULL), BITS(VIO_F_RING_PACKED), BITS(VIO_F_RING_PACKED, VIO_F_INDIRECT_DESC),
		BITS(VIO_F_RING_PACKED, VIO_F_EVENT_IDX), BITS(PACKED_FULL), BITS(PACKED_FULL, VIO_F_NOTIFICATION_DATA) };
	const uint32_t cuts[] = { 0, 4096, 3000, 11 };	/* how the platform cuts what it maps */

	(void)state;
	for (unsigned i = 0; i < sizeof rings / sizeof *rings; i++)
		for (unsigned c = 0; c < 3; c++)
			for (uint32_t clip = 0; clip < 2; clip++) {
				struct drv *d = drv_new();
				d->r.g->map_cut = cuts[c];
				d->r.g->mem.clip = clip;
				drv_start(d, vio_features_or(BITS(ALL_BLK), rings[i]));
				walk_through(d);
				drv_close(d);
			}
	/* header in two pieces, short data */
	struct drv *d = drv_new();
	drv_start(d, BITS(ALL_BLK));
	d->r.g->map_cut = cuts[3];
	assert_int_equal(drv_do(d, VIO_BLK_T_GET_ID, 0, d->data, 20), VIO_BLK_S_OK);
	assert_string_equal((char *)d->data, "disk of the tests");
	drv_close(d);
}

static void segments_are_no_longer_than_told(void **state)
{
	struct drv *d = drv_new();

	(void)state;
	d->r.o.size_max = 1024;
	d->r.o.seg_max = 8;
	drv_start(d, BITS(ALL_BLK));
	assert_int_equal(d->b.size_max, 1024);
	assert_int_equal(d->b.seg_max, 8);
	assert_int_equal(drv_do(d, VIO_BLK_T_IN, 0, d->data, 8192), VIO_BLK_S_OK);	/* 8 of 1024 */
	assert_memory_equal(d->data, d->r.t->bytes, 8192);
	uint64_t before = d->r.t->count;
	assert_int_equal(drv_do(d, VIO_BLK_T_IN, 0, d->data, 8192 + 512), VIO_BLK_S_UNSUPP);	/* 9 */
	d->r.g->map_cut = 512;
	assert_int_equal(drv_do(d, VIO_BLK_T_IN, 0, d->data, 8192), VIO_BLK_S_UNSUPP);	/* 16 pieces */
	assert_int_equal(d->r.t->count, before);
	drv_close(d);
}

static void many_at_once_over_several_queues(void **state)
{
	struct drv *d = drv_new();
	struct vio_blk_request *req;

	(void)state;
	d->r.o.queues = 3;
	drv_start(d, BITS(ALL_BLK, SPLIT_FULL));
	assert_int_equal(d->b.queues, 3);
	req = rig_take(d->r.g, 90 * sizeof *req);
	for (unsigned i = 0; i < 90; i++) {
		req[i] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .sector = i, .data = d->data + 512 * i, .len = 512,
			.cookie = &req[i] };
		assert_true(vio_blk_submit(&d->b, (uint16_t)(i % 3), &req[i]));
	}
	for (uint16_t q = 0; q < 3; q++) {
		vio_blk_kick(&d->b, q);
		for (unsigned n = 0; n < 30; n++) {
			struct vio_blk_request *r = vio_blk_poll(&d->b, q);
			assert_non_null(r);
			assert_ptr_equal(r->cookie, r);
			assert_int_equal(r->status, VIO_BLK_S_OK);
			assert_memory_equal(r->data, d->r.t->bytes + 512 * r->sector, 512);
		}
		assert_null(vio_blk_poll(&d->b, q));
	}
	drv_close(d);
}

static void a_full_queue_says_so(void **state)
{
	struct drv *d = drv_new();
	struct vio_blk_request *req;
	unsigned n = 0;

	(void)state;
	drv_start(d, BITS(ALL_BLK));	/* no indirect descriptors: three a request */
	d->r.t->hold = true;
	req = rig_take(d->r.g, RIG_SIZE * sizeof *req);
	for (; n < RIG_SIZE; n++) {
		req[n] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = d->data, .len = 512 };
		if (!vio_blk_submit(&d->b, 0, &req[n]))
			break;
	}
	assert_int_equal(n, RIG_SIZE / 3);
	assert_int_equal(req[n].status, 255);
	vio_blk_kick(&d->b, 0);
	test_disk_release(d->r.t);
	vio_loop_pump(&d->r.g->wire, 4);
	assert_non_null(vio_blk_poll(&d->b, 0));
	assert_true(vio_blk_submit(&d->b, 0, &req[n]));
	drv_close(d);			/* with the rest in flight */
}

/* ---- What a driver must not ask (5.2.6.1) ---- */

struct rule { const char *what; uint32_t type; uint64_t sector; uint32_t len; struct { uint64_t sector; uint32_t n, flags; } range; };

static const struct rule rules[] = {
	{ "read behind the end", VIO_BLK_T_IN, CAPACITY, 512, { 0 } },
	{ "read across the end", VIO_BLK_T_IN, CAPACITY - 1, 1024, { 0 } },
	{ "read where sector + length wraps", VIO_BLK_T_IN, UINT64_MAX, 1024, { 0 } },
	{ "write across the end", VIO_BLK_T_OUT, CAPACITY - 1, 1024, { 0 } },
	{ "read of no whole sectors", VIO_BLK_T_IN, 0, 513, { 0 } },
	{ "write of no whole sectors", VIO_BLK_T_OUT, 0, 100, { 0 } },
	{ "read of nothing", VIO_BLK_T_IN, 0, 0, { 0 } },
	{ "flush with data", VIO_BLK_T_FLUSH, 0, 512, { 0 } },
	{ "serial number into 19 bytes", VIO_BLK_T_GET_ID, 0, 19, { 0 } },
	{ "serial number into 21 bytes", VIO_BLK_T_GET_ID, 0, 21, { 0 } },
	{ "lifetime into 5 bytes", VIO_BLK_T_GET_LIFETIME, 0, 5, { 0 } },
	{ "discard of nothing", VIO_BLK_T_DISCARD, 0, 0, { 0 } },
	{ "discard of half a range", VIO_BLK_T_DISCARD, 0, 8, { 0, 1, 0 } },
	{ "discard of a range and a half", VIO_BLK_T_DISCARD, 0, 24, { 0, 1, 0 } },
	{ "discard of too many ranges", VIO_BLK_T_DISCARD, 0, 17 * 16, { 0, 1, 0 } },
	{ "discard with unmap", VIO_BLK_T_DISCARD, 0, 16, { 0, 1, 1 } },
	{ "discard of too many sectors", VIO_BLK_T_DISCARD, 0, 16, { 0, 0x400001, 0 } },
	{ "discard across the end", VIO_BLK_T_DISCARD, 0, 16, { CAPACITY - 1, 2, 0 } },
	{ "zeroes across the end", VIO_BLK_T_WRITE_ZEROES, 0, 16, { CAPACITY, 1, 0 } },
	{ "zeroes of too many ranges", VIO_BLK_T_WRITE_ZEROES, 0, 17 * 16, { 0, 1, 0 } },
	{ "zeroes with an unknown flag", VIO_BLK_T_WRITE_ZEROES, 0, 16, { 0, 1, 2 } },
	{ "erase with unmap", VIO_BLK_T_SECURE_ERASE, 0, 16, { 0, 1, 1 } },
	{ "erase of too many ranges", VIO_BLK_T_SECURE_ERASE, 0, 17 * 16, { 0, 1, 0 } },
	{ "zone report", VIO_BLK_T_ZONE_REPORT, 0, 512, { 0 } },
	{ "SCSI", 2, 0, 512, { 0 } },
};

static void a_driver_keeps_the_rules(void **state)
{
	struct drv *d = drv_new();

	(void)state;
	drv_start(d, BITS(ALL_BLK));
	for (unsigned i = 0; i < sizeof rules / sizeof *rules; i++) {
		struct vio_blk_range r = range_of(rules[i].range.sector, rules[i].range.n, rules[i].range.flags);
		memset(d->data, 0, DATA);
		memcpy(d->data, &r, sizeof r);
		if (drv_do(d, rules[i].type, rules[i].sector, rules[i].len ? d->data : NULL, rules[i].len) != VIO_BLK_S_UNSUPP)
			fail_msg("%s: was asked", rules[i].what);
	}
	assert_int_equal(d->r.t->count, 0);
	assert_int_equal(d->r.g->dev->queue[0].ring.stats.chains, 0);	/* the device never heard of it */
	drv_close(d);
}

static void what_is_not_negotiated_is_not_asked(void **state)
{
	const uint32_t types[] = { VIO_BLK_T_FLUSH, VIO_BLK_T_DISCARD, VIO_BLK_T_WRITE_ZEROES, VIO_BLK_T_SECURE_ERASE,
		VIO_BLK_T_GET_LIFETIME };

	(void)state;
	struct drv *d = drv_new();
	d->r.t->disk.read_only = true;
	drv_start(d, BITS(VIO_BLK_F_RO));
	struct vio_blk_range r = range_of(0, 1, 0);
	memcpy(d->data, &r, sizeof r);
	for (unsigned i = 0; i < 5; i++) {
		uint32_t n = types[i] == VIO_BLK_T_FLUSH ? 0 : types[i] == VIO_BLK_T_GET_LIFETIME ? 6 : 16;
		assert_int_equal(drv_do(d, types[i], 0, n ? d->data : NULL, n), VIO_BLK_S_UNSUPP);
	}
	assert_true(d->b.read_only);
	assert_int_equal(drv_do(d, VIO_BLK_T_OUT, 0, d->data, 512), VIO_BLK_S_UNSUPP);
	assert_false(vio_blk_set_writeback(&d->b, false));
	assert_int_equal(drv_do(d, VIO_BLK_T_IN, 0, d->data, 512), VIO_BLK_S_OK);
	drv_close(d);
}

static void the_cache_mode_is_known(void **state)
{
	const struct { bool flush, wce, writeback; } rows[] = { { false, false, false }, { true, false, true }, { true, true, true },
		{ false, true, false } };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct drv *d = drv_new();
		struct vio_features f = BITS(VIO_BLK_F_BLK_SIZE);
		if (rows[i].flush)
			vio_features_add(&f, VIO_BLK_F_FLUSH);
		if (rows[i].wce)
			vio_features_add(&f, VIO_BLK_F_CONFIG_WCE);
		drv_start(d, f);
		assert_int_equal(d->b.writeback, rows[i].writeback);
		for (int on = 0; on < 2 && rows[i].wce; on++) {
			assert_true(vio_blk_set_writeback(&d->b, on));
			assert_int_equal(drv_do(d, VIO_BLK_T_OUT, 0, d->data, 512), VIO_BLK_S_OK);
			assert_int_equal(d->r.t->asked[d->r.t->count - 1].durable, !on);
		}
		drv_close(d);
	}
}

static void a_larger_disk_is_noticed(void **state)
{
	struct drv *d = drv_new();

	(void)state;
	d->r.t->disk.size = 4096;
	drv_start(d, BITS(ALL_BLK));
	assert_int_equal(drv_do(d, VIO_BLK_T_IN, 8, d->data, 512), VIO_BLK_S_UNSUPP);
	d->r.t->disk.size = 8192;
	d->r.t->disk.resized(d->r.t->disk.resized_arg);
	assert_true(d->r.g->wire.configs > 0);
	assert_true(vio_blk_config_changed(&d->b));
	assert_int_equal(d->b.capacity, 16);
	assert_int_equal(drv_do(d, VIO_BLK_T_IN, 8, d->data, 512), VIO_BLK_S_OK);
	drv_close(d);
}

/* ---- Reset, queue reset, suspend, with a real device ---- */

static void a_queue_is_reset_alone(void **state)
{
	struct drv *d = drv_new();

	(void)state;
	d->r.o.queues = 2;
	drv_start(d, BITS(ALL_BLK, VIO_F_RING_RESET));
	d->r.t->hold = true;
	*d->req = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = d->data, .len = 512 };
	assert_true(vio_blk_submit(&d->b, 1, d->req));
	vio_blk_kick(&d->b, 1);
	assert_int_equal(d->r.t->held_count, 1);
	assert_null(vio_blk_abandon(&d->b, 1));
	assert_true(vio_blk_queue_stop(&d->b, 1));
	assert_int_equal(d->r.t->held_count, 0);	/* cancelled */
	assert_int_equal(d->r.t->channels, 1);
	assert_null(vio_blk_poll(&d->b, 1));		/* and not told of */
	assert_ptr_equal(vio_blk_abandon(&d->b, 1), d->req);
	assert_int_equal(d->req->status, VIO_BLK_S_LOST);
	assert_null(vio_blk_abandon(&d->b, 1));
	assert_false(vio_blk_submit(&d->b, 1, d->req));
	d->r.t->hold = false;
	assert_true(vio_blk_queue_start(&d->b, 1, 16));		/* of another size this time */
	assert_int_equal(d->r.g->dev->queue[1].ring.place.size, 16);
	assert_true(vio_blk_submit(&d->b, 1, d->req));
	vio_blk_kick(&d->b, 1);
	assert_ptr_equal(vio_blk_poll(&d->b, 1), d->req);
	assert_int_equal(d->req->status, VIO_BLK_S_OK);
	assert_int_equal(drv_do(d, VIO_BLK_T_IN, 0, d->data, 512), VIO_BLK_S_OK);	/* queue 0 never stopped */
	drv_close(d);
}

static void in_flight_requests_come_back_lost(void **state)
{
	struct drv *d = drv_new();
	struct vio_blk_request *req, *r;
	unsigned n = 0;

	(void)state;
	drv_start(d, BITS(ALL_BLK, PACKED_FULL));
	d->r.t->hold = true;
	req = rig_take(d->r.g, 10 * sizeof *req);
	for (unsigned i = 0; i < 10; i++) {
		req[i] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = d->data, .len = 512 };
		assert_true(vio_blk_submit(&d->b, 0, &req[i]));
	}
	vio_blk_kick(&d->b, 0);
	assert_null(vio_blk_abandon(&d->b, 0));		/* not while the device has them */
	assert_true(vio_blk_stop(&d->b));
	while ((r = vio_blk_abandon(&d->b, 0))) {
		assert_int_equal(r->status, VIO_BLK_S_LOST);
		n++;
	}
	assert_int_equal(n, 10);
	d->r.t->hold = false;
	assert_true(vio_blk_start(&d->b, &d->r.g->wire.port, &d->setup));	/* the same memory serves again */
	walk_through(d);
	drv_close(d);
}

static void release_disk(void *arg)
{
	struct drv *d = arg;
	test_disk_release(d->r.t);
	vio_loop_pump(&d->r.g->wire, 4);
}

static void suspend_is_quiet(void **state)
{
	struct drv *d = drv_new();

	(void)state;
	drv_start(d, BITS(ALL_BLK, VIO_F_SUSPEND));
	d->r.g->relax = release_disk;
	d->r.g->relax_arg = d;
	d->r.t->hold = true;
	*d->req = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = d->data, .len = 512 };
	assert_true(vio_blk_submit(&d->b, 0, d->req));
	vio_blk_kick(&d->b, 0);
	assert_true(vio_drv_suspend(&d->b.drv));
	assert_int_equal(vio_dev_status(d->r.g->dev) & (VIO_S_SUSPEND | VIO_S_DRIVER_OK), VIO_S_SUSPEND);
	assert_ptr_equal(vio_blk_poll(&d->b, 0), d->req);
	uint64_t kicks = d->r.g->wire.kicks;
	assert_false(vio_blk_set_writeback(&d->b, false));
	vio_blk_kick(&d->b, 0);
	assert_int_equal(d->r.g->wire.kicks, kicks);
	assert_int_equal(drv_do(d, VIO_BLK_T_IN, 0, d->data, 512), VIO_BLK_S_LOST);	/* not while it sleeps */
	d->r.t->hold = false;
	assert_true(vio_drv_resume(&d->b.drv));
	assert_int_equal(drv_do(d, VIO_BLK_T_IN, 0, d->data, 512), VIO_BLK_S_OK);
	drv_close(d);
}

/* ---- Entropy ---- */

struct plain_source { struct vio_source source; bool dry; };

static long plain_fill(struct vio_source *s, void *to, size_t n)
{
	if (((struct plain_source *)s)->dry)
		return 0;
	memset(to, 0x42, n);
	return (long)n;
}

static void plain_nothing(struct vio_source *s) { (void)s; }
static const struct vio_source_ops plain_ops = { plain_fill, plain_nothing, plain_nothing };

static void random_bytes_come(void **state)
{
	(void)state;
	for (uint32_t cut = 0; cut < 400; cut += 130) {
		struct rig *g = rig_new();
		struct plain_source s = { .source.ops = &plain_ops };
		struct vio_rng_options o = { .source = &s.source };
		struct vio_rng *r = rig_take(g, sizeof *r);
		unsigned char *buf = rig_take(g, 512), *other = rig_take(g, 512);
		uint32_t got;
		g->map_cut = cut;
		assert_null(rig_open(g, &vio_dev_rng, &o));
		assert_true(vio_rng_start(r, &g->wire.port));
		assert_int_equal(vio_rng_read(r, buf, 300), 300);
		assert_true(all_are(buf, 300, 0x42) && buf[300] == 0);
		assert_true(vio_rng_request(r, buf, 1));
		assert_true(vio_rng_request(r, other, 500));
		assert_ptr_equal(vio_rng_poll(r, &got), buf);
		assert_int_equal(got, 1);
		assert_ptr_equal(vio_rng_poll(r, &got), other);
		assert_int_equal(got, 500);
		assert_null(vio_rng_poll(r, &got));
		assert_false(vio_rng_request(r, buf, 0));
		s.dry = true;
		unsigned n = 0;
		while (vio_rng_request(r, buf, 16))
			n++;
		assert_in_range(n, 2, VIO_RNG_DRV_QUEUE);	/* full, and told so */
		assert_true(vio_rng_stop(r));
		assert_int_equal(g->maps, 0);
		assert_false(vio_rng_request(r, buf, 16));
		rig_close(g);
	}
}

static void a_dry_device_is_given_up(void **state)
{
	struct rig *g = rig_new();
	struct plain_source s = { .source.ops = &plain_ops };
	struct vio_rng_options o = { .source = &s.source };
	struct vio_rng *r = rig_take(g, sizeof *r);
	unsigned char *buf = rig_take(g, 512);

	(void)state;
	assert_null(rig_open(g, &vio_dev_rng, &o));
	assert_true(vio_rng_start(r, &g->wire.port));
	s.dry = true;
	assert_int_equal(vio_rng_read(r, buf, 16), 1);	/* what the device had in hand */
	g->clock_skew = 1000000;
	uint64_t before = g->clock;
	assert_int_equal(vio_rng_read(r, buf, 16), 0);
	assert_in_range(g->clock - before, VIO_DRV_PATIENCE_NS, 2 * VIO_DRV_PATIENCE_NS);
	assert_non_null(strstr(r->drv.failed, "in time"));
	assert_int_equal(vio_dev_status(g->dev), 0);	/* it was reset, so buf is ours */
	assert_int_equal(g->maps, 0);
	rig_close(g);
}

static const struct CMUnitTest tests[] = {
	T(all_of_it_in_every_shape, "the block driver and device do all there is, over every ring, cut and mapping {blk-drv-14 blk-drv-15}"),
	T(segments_are_no_longer_than_told, "the driver keeps to size_max and seg_max {split-drv-3}"),
	T(many_at_once_over_several_queues, "many requests are in flight over several queues"),
	T(a_full_queue_says_so, "a full queue takes no more until something came back"),
	T(a_driver_keeps_the_rules, "the driver asks nothing that it must not ask {blk-drv-12 blk-drv-16 blk-drv-17 blk-drv-18 "
	    "blk-drv-19 blk-drv-20 blk-drv-21 blk-drv-24}"),
	T(what_is_not_negotiated_is_not_asked, "the driver accepts RO, and asks for nothing that was not negotiated {blk-drv-13}"),
	T(the_cache_mode_is_known, "the driver knows the cache mode and can set it {blk-drv-1 blk-drv-3}"),
	T(a_larger_disk_is_noticed, "the driver reads the capacity again when it is told {blk-drv-11}"),
	T(a_queue_is_reset_alone, "one queue is reset and comes back smaller {core-dev-12 core-dev-13 core-dev-14 core-drv-18 core-drv-20}"),
	T(in_flight_requests_come_back_lost, "after a reset what was in flight comes back lost, and all starts again {core-drv-29}"),
	T(suspend_is_quiet, "suspended, the driver neither kicks nor writes {core-drv-31 core-drv-32 core-drv-33 core-drv-34 core-drv-35 "
	    "core-dev-20 core-dev-21 core-dev-22a core-dev-22b; only us}"),
	T(random_bytes_come, "the entropy driver gets what it asks for, in any pieces {entropy-drv-1 entropy-drv-2}"),
	T(a_dry_device_is_given_up, "a device without random bytes is given up at the deadline, and reset"),
};

int main(void) { return vio_tests("driver", tests, sizeof tests / sizeof *tests); }
