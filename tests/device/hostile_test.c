/* Drivers against a device that lies (classes E1 to E6): they end with a sentence, and touch nothing that is not theirs. */
#include "fake.h"

struct hd {
	struct fake *f;
	struct vio_blk b;
	struct vio_blk_setup setup;
	struct vio_blk_request *req;	/* 4 of them */
	unsigned char *data;
};

#define ALL_BITS ((struct vio_features){ { UINT64_MAX, UINT64_MAX } })
#define SPLIT BITS(VIO_BLK_F_FLUSH)
#define PACKED BITS(VIO_BLK_F_FLUSH, VIO_F_RING_PACKED)

static struct hd *hd_new(struct vio_features offers)
{
	struct hd *h = calloc(1, sizeof *h);

	assert_non_null(h);
	h->f = fake_new(VIO_ID_BLK, offers);
	struct rig *g = h->f->g;
	h->setup = (struct vio_blk_setup){ .queues = 4, .queue_size = RIG_SIZE };
	for (unsigned i = 0; i < 4; i++)
		h->setup.memory[i] = (struct vio_blk_queue_memory){ rig_take(g, VIO_DRVQ_RING_BYTES(RIG_SIZE)), g->slots[i], NULL };
	h->req = rig_take(g, 4 * sizeof *h->req);
	h->data = rig_take(g, 4096);
	return h;
}

static bool hd_start(struct hd *h) { return vio_blk_start(&h->b, &h->f->port, &h->setup); }

static void hd_close(struct hd *h)
{
	h->f->reset_stuck = false;
	if (vio_blk_stop(&h->b))
		for (uint16_t i = 0; i < h->b.queues; i++)
			while (vio_blk_abandon(&h->b, i))
				;
	assert_int_equal(h->f->g->maps, 0);
	fake_close(h->f);
	free(h);
}

static void read_one(struct hd *h, unsigned i)
{
	h->req[i] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .sector = i, .data = h->data, .len = 512 };
	assert_true(vio_blk_submit(&h->b, 0, &h->req[i]));
}

/* ---- Initialisation (3.1.1) ---- */

static void the_order_is_the_specifications(void **state)
{
	const uint8_t order[] = { 0, VIO_S_ACKNOWLEDGE, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER,
		VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK,
		VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK };
	struct hd *h = hd_new(ALL_BITS);

	(void)state;
	((struct vio_blk_config *)(void *)h->f->config)->num_queues = vio_le16_of(4);
	h->f->status = VIO_S_ACKNOWLEDGE | VIO_S_FAILED;	/* left by somebody else */
	assert_true(hd_start(h));
	assert_int_equal(h->f->logged, sizeof order);
	assert_memory_equal(h->f->log, order, sizeof order);
	assert_int_equal(h->f->kicks, 0);
	assert_int_equal(h->f->early_writes, 0);
	assert_int_equal(h->f->early_writeback_reads, 0);
	assert_int_equal(h->b.queues, 4);
	hd_close(h);
}

static void only_known_features_are_accepted(void **state)
{
	struct hd *h = hd_new(ALL_BITS);
	struct vio_features known = vio_blk_drives();

	(void)state;
	((struct vio_blk_config *)(void *)h->f->config)->num_queues = vio_le16_of(1);
	assert_true(hd_start(h));
	assert_true(vio_features_none(vio_features_minus(h->f->accepted, known)));
	for (unsigned bit = 0; bit < VIO_F_LIMIT; bit++)
		if (bit == VIO_F_SR_IOV || bit == VIO_F_ADMIN_VQ || bit == VIO_F_NOTIF_CONFIG_DATA ||
		    bit == 0 || bit == 7 || bit == 24 || bit == 27 || bit == 42 || bit > 43)
			assert_false(vio_has(h->f->accepted, bit));
	assert_false(vio_has(h->f->accepted, VIO_BLK_F_DISCARD));	/* it might be a host-managed disk */
	assert_true(vio_has(h->f->accepted, VIO_F_VERSION_1) && vio_has(h->f->accepted, VIO_F_ACCESS_PLATFORM) &&
	    vio_has(h->f->accepted, VIO_F_RING_PACKED));
	hd_close(h);
	h = hd_new(BITS(VIO_BLK_F_FLUSH));	/* and none that was not offered */
	assert_true(hd_start(h));
	assert_true(vio_features_equal(h->f->accepted, BITS(VIO_BLK_F_FLUSH, VIO_F_VERSION_1)));
	hd_close(h);
}

static void a_feature_needs_what_it_needs(void **state)
{
	static const struct vio_feature_need needs[] = { { 5, 6 }, { 6, 9 }, { 0, 0 } };
	struct fake *f = fake_new(VIO_ID_BLK, BITS(5, 6, 2));
	struct vio_drv d;

	(void)state;
	assert_true(vio_drv_begin(&d, &f->port, VIO_ID_BLK, BITS(2, 5, 6, 9), needs));
	assert_true(vio_features_equal(f->accepted, BITS(2, VIO_F_VERSION_1)));	/* 9 is missing, so 6, so 5 */
	/* and what only a transport can mean, never, whoever wants it */
	f->offers = ALL_BITS;
	assert_true(vio_drv_begin(&d, &f->port, VIO_ID_BLK, ALL_BITS, NULL));
	assert_false(vio_has(f->accepted, VIO_F_SR_IOV) || vio_has(f->accepted, VIO_F_ADMIN_VQ) ||
	    vio_has(f->accepted, VIO_F_NOTIF_CONFIG_DATA));
	fake_close(f);
}

struct failure { const char *what, *says; void (*set)(struct fake *f); bool untouched; };

static void other_type(struct fake *f) { f->id = VIO_ID_NET; }
static void no_type(struct fake *f) { f->id = 0; }
static void stuck(struct fake *f) { f->reset_stuck = true; }
static void legacy(struct fake *f) { vio_features_drop(&f->offers, VIO_F_VERSION_1); }
static void refuses(struct fake *f) { f->refuses_features = true; }
static void wire(struct fake *f) { f->wire_broken = true; }
static void restless(struct fake *f) { f->restless = true; }
static void short_config(struct fake *f) { f->config_bytes = 4; }
static void no_queue(struct fake *f) { f->queue_max = 0; }
static void queue_of_one(struct fake *f) { f->queue_max = 1; }
static void takes_none(struct fake *f) { f->takes_no_queue = true; }
static void reset_at_once(struct fake *f) { f->needs_reset_at = VIO_S_DRIVER_OK; }
static void no_queues(struct fake *f) { vio_features_add(&f->offers, VIO_BLK_F_MQ); }

static void mend(struct fake *f)
{
	f->id = VIO_ID_BLK;
	f->offers = vio_features_or(SPLIT, BITS(VIO_F_VERSION_1));
	f->queue_max = RIG_SIZE;
	f->config_bytes = sizeof f->config;
	f->reset_stuck = f->refuses_features = f->wire_broken = f->restless = f->takes_no_queue = false;
	f->needs_reset_at = 0;
	f->logged = 0;
}

static const struct failure failures[] = {
	{ "another type", "another type", other_type, true },
	{ "a placeholder", "another type", no_type, true },
	{ "a reset that never ends", "finish its reset", stuck, false },
	{ "a legacy device", "VERSION_1", legacy, false },
	{ "features refused that were offered", "refused the features", refuses, false },
	{ "the wire breaks while features are written", "broke", wire, false },
	{ "a config space that never holds still", "holds still", restless, false },
	{ "the wire breaks while the config space is read", "broke", short_config, false },
	{ "a queue of size 0", "no such queue", no_queue, false },
	{ "a queue of size 1", "too short", queue_of_one, false },
	{ "a queue that is not taken", "did not take", takes_none, false },
	{ "needs a reset as soon as it runs", "as soon as", reset_at_once, false },
	{ "num_queues 0", "no queues", no_queues, false },
};

static void what_fails_ends_with_a_sentence(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof failures / sizeof *failures; i++) {
		struct hd *h = hd_new(SPLIT);
		failures[i].set(h->f);
		uint64_t before = h->f->g->clock;
		if (hd_start(h))
			fail_msg("%s: was started", failures[i].what);
		if (!strstr(h->b.drv.failed, failures[i].says))
			fail_msg("%s: %s", failures[i].what, h->b.drv.failed);
		assert_in_range(h->f->g->clock - before, 0, 2 * VIO_DRV_PATIENCE_NS);
		bool told = false;
		for (unsigned k = 0; k < h->f->logged; k++)
			told |= (h->f->log[k] & VIO_S_FAILED) != 0;
		if (told == failures[i].untouched)
			fail_msg("%s: FAILED %s", failures[i].what, told ? "set on somebody else's device" : "not set");
		assert_int_equal(h->f->kicks, 0);
		assert_int_equal(h->f->g->maps, 0);
		mend(h->f);		/* mended, it is begun from the beginning */
		assert_true(hd_start(h));
		assert_int_equal(h->f->log[0], 0);
		hd_close(h);
	}
}

/* The config space changes while a wide field is read: it is read again until it held still. */
static void a_torn_read_is_read_again(void **state)
{
	struct hd *h = hd_new(SPLIT);

	(void)state;
	h->f->tears = 3;
	assert_true(hd_start(h));
	assert_int_equal(h->f->tears, 0);
	assert_int_equal(h->b.capacity, 2048);
	hd_close(h);
}

/* ---- The config space lies (E6) ---- */

static void absurd_limits_are_made_safe(void **state)
{
	const uint32_t lies[] = { 0, 1, 3, 511, 513, 65536, INT32_MAX, UINT32_C(1) << 31, UINT32_MAX };
	const struct vio_features f = BITS(VIO_BLK_F_SEG_MAX, VIO_BLK_F_SIZE_MAX, VIO_BLK_F_BLK_SIZE, VIO_BLK_F_DISCARD,
	    VIO_BLK_F_WRITE_ZEROES, VIO_BLK_F_SECURE_ERASE, VIO_BLK_F_MQ, VIO_BLK_F_CONFIG_WCE, VIO_BLK_F_FLUSH);

	(void)state;
	for (unsigned i = 0; i < sizeof lies / sizeof *lies; i++) {
		struct hd *h = hd_new(f);
		for (unsigned at = 8; at < 96; at += 4) {
			vio_le32 v = vio_le32_of(lies[i]);
			memcpy(h->f->config + at, &v, 4);
		}
		((struct vio_blk_config *)(void *)h->f->config)->num_queues = vio_le16_of(i % 2 ? 65535 : 1);
		assert_true(hd_start(h));
		assert_in_range(h->b.queues, 1, 4);
		assert_in_range(h->b.seg_max, 1, VIO_BLK_DRV_SEGS);
		assert_true(h->b.size_max >= 512);
		assert_true(lies[i] || h->b.size_max == UINT32_MAX);	/* 0: some offer it and mean no limit */
		assert_true(h->b.blk_size >= 512 && !(h->b.blk_size & (h->b.blk_size - 1)));
		assert_true(h->b.max_discard_seg && h->b.max_discard_sectors && h->b.max_write_zeroes_seg &&
		    h->b.max_write_zeroes_sectors && h->b.max_secure_erase_seg && h->b.max_secure_erase_sectors);
		read_one(h, 0);
		hd_close(h);
	}
}

static void absurd_capacity_is_made_safe(void **state)
{
	const uint64_t lies[] = { 0, 1, UINT64_MAX / 512, UINT64_MAX / 512 + 1, UINT64_MAX };

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct hd *h = hd_new(SPLIT);
		((struct vio_blk_config *)(void *)h->f->config)->capacity = vio_le64_of(lies[i]);
		assert_true(hd_start(h));
		assert_true(h->b.capacity <= lies[i] && h->b.capacity <= UINT64_MAX / 512);
		h->req[0] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .sector = UINT64_MAX - 1, .data = h->data, .len = 4096 };
		assert_false(vio_blk_submit(&h->b, 0, &h->req[0]));
		h->req[0].sector = lies[i];
		assert_false(vio_blk_submit(&h->b, 0, &h->req[0]));
		hd_close(h);
	}
}

static void a_large_queue_is_cut_to_ours(void **state)
{
	const struct { uint16_t max; bool packed; uint16_t size; } rows[] = {
		{ 65535, false, 64 }, { 65535, true, 64 }, { 63, false, 32 }, { 63, true, 63 }, { 3, false, 2 }, { 3, true, 3 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct hd *h = hd_new(rows[i].packed ? PACKED : SPLIT);
		h->f->queue_max = rows[i].max;
		assert_true(hd_start(h));
		assert_int_equal(h->b.q[0].size, rows[i].size);
		hd_close(h);
	}
}

/* ---- The rings lie (E1 to E4) ---- */

static void used_ids_are_checked(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		const uint32_t lies[] = { RIG_SIZE, RIG_SIZE + 1, 0x7fff, 0xffff, 0x10000, UINT32_MAX, 5 /* free */, 1 /* not a head */ };
		for (unsigned i = 0; i < sizeof lies / sizeof *lies; i++) {
			struct hd *h = hd_new(packed ? PACKED : SPLIT);
			assert_true(hd_start(h));
			read_one(h, 0);
			vio_blk_kick(&h->b, 0);
			uint16_t good = fake_id_of(h->f, 0, 3);
			if ((packed ? (uint16_t)lies[i] : lies[i]) == good) {	/* 16 bits of it are not a lie */
				hd_close(h);
				continue;
			}
			fake_use(h->f, 0, lies[i], 513);
			assert_null(vio_blk_poll(&h->b, 0));
			assert_non_null(h->b.q[0].broken);
			h->req[1] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = h->data, .len = 512 };
			assert_false(vio_blk_submit(&h->b, 0, &h->req[1]));
			assert_int_equal(h->req[1].status, VIO_BLK_S_LOST);
			assert_true(vio_blk_stop(&h->b));
			assert_ptr_equal(vio_blk_abandon(&h->b, 0), &h->req[0]);
			assert_int_equal(h->req[0].status, VIO_BLK_S_LOST);
			hd_close(h);
		}
	}
}

static void a_chain_is_used_once(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct hd *h = hd_new(packed ? PACKED : SPLIT);
		assert_true(hd_start(h));
		read_one(h, 0);
		read_one(h, 1);
		vio_blk_kick(&h->b, 0);
		uint16_t id = fake_id_of(h->f, 0, 3);
		h->req[0].answer = VIO_BLK_S_OK;
		fake_use(h->f, 0, id, 513);
		assert_ptr_equal(vio_blk_poll(&h->b, 0), &h->req[0]);
		fake_use(h->f, packed ? 3 : 1, id, 513);
		assert_null(vio_blk_poll(&h->b, 0));
		assert_non_null(h->b.q[0].broken);
		hd_close(h);
	}
}

static void the_used_index_is_checked(void **state)
{
	const uint16_t jumps[] = { 3, RIG_SIZE, RIG_SIZE + 1, 0x8000, 0xffff };

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct hd *h = hd_new(SPLIT);
		assert_true(hd_start(h));
		read_one(h, 0);
		vio_blk_kick(&h->b, 0);
		fake_used(h->f)->idx = vio_le16_of(jumps[i]);
		assert_null(vio_blk_poll(&h->b, 0));
		assert_non_null(h->b.q[0].broken);
		hd_close(h);
	}
}

static void lengths_are_not_believed(void **state)
{
	const struct { uint32_t len; uint8_t answer, status; uint32_t got; } rows[] = {
		{ 513, VIO_BLK_S_OK, VIO_BLK_S_OK, 512 },
		{ 512, VIO_BLK_S_OK, VIO_BLK_S_OK, 512 },		/* data alone counted: some devices do */
		{ 514, VIO_BLK_S_OK, VIO_BLK_S_OK, 512 },
		{ UINT32_MAX, VIO_BLK_S_OK, VIO_BLK_S_OK, 512 },
		{ 511, VIO_BLK_S_OK, VIO_BLK_S_IOERR, 511 },		/* says well done, and was not */
		{ 0, VIO_BLK_S_OK, VIO_BLK_S_IOERR, 0 },
		{ 1, VIO_BLK_S_IOERR, VIO_BLK_S_IOERR, 1 },
		{ 513, VIO_BLK_S_UNSUPP, VIO_BLK_S_UNSUPP, 512 },
		{ 513, 3, VIO_BLK_S_IOERR, 512 },			/* no status there is */
		{ 513, VIO_BLK_S_LOST, VIO_BLK_S_IOERR, 512 },
		{ 513, 0xff, VIO_BLK_S_IOERR, 512 },			/* never written */
	};

	(void)state;
	for (unsigned packed = 0; packed < 2; packed++)
		for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
			struct hd *h = hd_new(packed ? PACKED : SPLIT);
			assert_true(hd_start(h));
			read_one(h, 0);
			vio_blk_kick(&h->b, 0);
			h->req[0].answer = rows[i].answer;
			fake_use(h->f, 0, fake_id_of(h->f, 0, 3), rows[i].len);
			assert_ptr_equal(vio_blk_poll(&h->b, 0), &h->req[0]);
			assert_int_equal(h->req[0].status, rows[i].status);
			assert_int_equal(h->req[0].got, rows[i].got);
			hd_close(h);
		}
}

/* What the device writes where only the driver writes changes nothing: it is never read back. */
static void descriptors_are_not_read_back(void **state)
{
	struct hd *h = hd_new(SPLIT);

	(void)state;
	assert_true(hd_start(h));
	for (uint16_t round = 0; round < 40; round++) {
		read_one(h, 0);
		read_one(h, 1);
		vio_blk_kick(&h->b, 0);
		struct vio_split_avail *avail = h->f->q->place.driver;
		uint16_t first = vio_le16_get(avail->ring[2 * round % RIG_SIZE]);
		uint16_t second = vio_le16_get(avail->ring[(2 * round + 1) % RIG_SIZE]);
		memset(h->f->q->place.desc, 0xff, 16 * RIG_SIZE);
		memset(avail, 0xff, 4 + 2 * RIG_SIZE);
		h->req[0].answer = h->req[1].answer = VIO_BLK_S_OK;
		fake_use(h->f, (uint16_t)(2 * round), second, 513);
		fake_use(h->f, (uint16_t)(2 * round + 1), first, 513);
		assert_ptr_equal(vio_blk_poll(&h->b, 0), &h->req[1]);
		assert_ptr_equal(vio_blk_poll(&h->b, 0), &h->req[0]);
		assert_null(h->b.q[0].broken);
	}
	hd_close(h);
}

/* What the device has, the driver leaves alone until it comes back. */
static void exposed_buffers_are_left_alone(void **state)
{
	(void)state;
	for (unsigned packed = 0; packed < 2; packed++) {
		struct hd *h = hd_new(packed ? PACKED : SPLIT);
		struct vio_split_desc before[3], *desc;
		assert_true(hd_start(h));
		read_one(h, 0);
		vio_blk_kick(&h->b, 0);
		desc = (struct vio_split_desc *)h->f->q->place.desc + (packed ? 0 : fake_id_of(h->f, 0, 3));
		memcpy(before, desc, sizeof before);
		for (unsigned i = 1; i < 4; i++) {
			read_one(h, i);
			vio_blk_kick(&h->b, 0);
			assert_memory_equal(before, desc, sizeof before);
		}
		assert_null(vio_blk_poll(&h->b, 0));
		assert_memory_equal(before, desc, sizeof before);
		hd_close(h);
	}
}

/* ---- Nothing comes ---- */

static void every_wait_ends(void **state)
{
	(void)state;
	for (unsigned stays_stuck = 0; stays_stuck < 2; stays_stuck++) {
		struct hd *h = hd_new(SPLIT);
		assert_true(hd_start(h));
		read_one(h, 1);
		h->req[0] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = h->data, .len = 512 };
		h->f->reset_stuck = stays_stuck;
		uint64_t before = h->f->g->clock;
		assert_int_equal(vio_blk_do(&h->b, &h->req[0]), VIO_BLK_S_LOST);
		assert_in_range(h->f->g->clock - before, VIO_DRV_PATIENCE_NS, 3 * VIO_DRV_PATIENCE_NS);
		assert_non_null(strstr(h->b.drv.failed, "in time"));
		/* the other one is lost too, but only when the device can't touch it any more */
		struct vio_blk_request *other = vio_blk_poll(&h->b, 0);
		assert_ptr_equal(other, stays_stuck ? NULL : &h->req[1]);
		assert_int_equal(vio_blk_do(&h->b, &h->req[0]), VIO_BLK_S_LOST);	/* no further wait */
		hd_close(h);
	}
}

static void use_both(struct fake *f)
{
	struct vio_blk_request *first = f->g->relax_arg;

	first[0].answer = first[1].answer = VIO_BLK_S_OK;
	fake_use(f, 0, fake_id_of(f, 0, 3), 513);
	fake_use(f, 1, fake_id_of(f, 1, 3), 513);
}

static void waiting_for_one_keeps_the_others(void **state)
{
	struct hd *h = hd_new(SPLIT);

	(void)state;
	assert_true(hd_start(h));
	read_one(h, 0);
	h->f->on_kick = use_both;
	h->f->g->relax_arg = h->req;
	h->req[1] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = h->data, .len = 512 };
	assert_int_equal(vio_blk_do(&h->b, &h->req[1]), VIO_BLK_S_OK);
	assert_ptr_equal(vio_blk_poll(&h->b, 0), &h->req[0]);
	assert_int_equal(h->req[0].status, VIO_BLK_S_OK);
	hd_close(h);
}

static void lie_about_the_id(struct fake *f) { fake_use(f, 0, 99, 513); }

static void a_broken_queue_is_not_waited_for(void **state)
{
	struct hd *h = hd_new(SPLIT);

	(void)state;
	assert_true(hd_start(h));
	h->f->on_kick = lie_about_the_id;
	h->req[0] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = h->data, .len = 512 };
	uint64_t before = h->f->g->clock;
	assert_int_equal(vio_blk_do(&h->b, &h->req[0]), VIO_BLK_S_LOST);
	assert_in_range(h->f->g->clock - before, 0, VIO_DRV_PATIENCE_NS / 10);
	assert_non_null(strstr(h->b.drv.failed, "no chain of ours"));
	hd_close(h);
}

static void a_short_queue_takes_short_requests(void **state)
{
	struct hd *h = hd_new(SPLIT);

	(void)state;
	h->f->queue_max = 4;
	assert_true(hd_start(h));
	h->f->g->map_cut = 1024;
	h->req[0] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = h->data, .len = 4096 };
	assert_false(vio_blk_submit(&h->b, 0, &h->req[0]));
	assert_int_equal(h->req[0].status, VIO_BLK_S_UNSUPP);	/* not "no room now", which would be for ever */
	h->req[0].len = 2048;
	assert_true(vio_blk_submit(&h->b, 0, &h->req[0]));
	hd_close(h);
}

static void break_down(void *arg)
{
	((struct fake *)arg)->status |= VIO_S_NEEDS_RESET;
}

static void a_device_that_needs_a_reset_is_not_waited_for(void **state)
{
	struct hd *h = hd_new(SPLIT);

	(void)state;
	assert_true(hd_start(h));
	h->f->g->clock_skew = 0;
	h->f->g->relax = break_down;
	h->f->g->relax_arg = h->f;
	h->req[0] = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = h->data, .len = 512 };
	uint64_t before = h->f->g->clock;
	assert_int_equal(vio_blk_do(&h->b, &h->req[0]), VIO_BLK_S_LOST);
	assert_in_range(h->f->g->clock - before, 0, VIO_DRV_PATIENCE_NS / 10);
	hd_close(h);
}

static void reset_and_suspend_have_deadlines(void **state)
{
	struct hd *h = hd_new(BITS(VIO_F_SUSPEND, VIO_F_RING_RESET));

	(void)state;
	assert_true(hd_start(h));
	h->f->queue_stuck = true;
	assert_false(vio_blk_queue_stop(&h->b, 0));
	assert_non_null(strstr(h->b.drv.failed, "reset of a queue"));
	hd_close(h);
	h = hd_new(BITS(VIO_F_SUSPEND));
	assert_true(hd_start(h));
	assert_false(vio_blk_queue_stop(&h->b, 0));	/* RING_RESET was not offered */
	h->f->never_suspends = true;
	assert_false(vio_drv_suspend(&h->b.drv));
	unsigned kicks = h->f->kicks;
	read_one(h, 0);
	vio_blk_kick(&h->b, 0);
	assert_int_equal(h->f->kicks, kicks);
	hd_close(h);
	h = hd_new(BITS(VIO_F_SUSPEND));
	assert_true(hd_start(h));
	assert_true(vio_drv_suspend(&h->b.drv));
	h->f->never_resumes = true;
	assert_false(vio_drv_resume(&h->b.drv));
	assert_non_null(strstr(h->b.drv.failed, "resume"));
	hd_close(h);
	h = hd_new(SPLIT);				/* SUSPEND was not offered */
	assert_true(hd_start(h));
	unsigned logged = h->f->logged;
	assert_false(vio_drv_suspend(&h->b.drv));
	assert_int_equal(h->f->logged, logged);
	hd_close(h);
}

static void no_kick_before_driver_ok(void **state)
{
	struct fake *f = fake_new(VIO_ID_BLK, BITS(VIO_F_VERSION_1));
	struct vio_drv d;
	struct vio_drvq q;
	struct vio_drvq_slot slots[4];
	void *ring = rig_take(f->g, VIO_DRVQ_RING_BYTES(4));

	(void)state;
	assert_true(vio_drv_begin(&d, &f->port, VIO_ID_BLK, BITS(VIO_F_EVENT_IDX), NULL));
	struct vio_drvq_setup s = { .size = 4, .features = d.features, .ring = ring, .ring_addr = rig_address(f->g, ring), .slots = slots };
	vio_drvq_init(&q, &s);
	assert_true(vio_drv_queue(&d, 0, &q));
	assert_true(vio_drvq_add(&q, &(struct vio_buf){ RIG_GPA, 16 }, 0, 1, f));
	vio_drv_kick(&d, 0, &q);
	assert_int_equal(f->kicks, 0);
	assert_true(vio_drv_ready(&d));
	vio_drv_kick(&d, 0, &q);		/* the kick that was owed is not lost */
	assert_int_equal(f->kicks, 1);
	assert_int_equal(f->early_kicks, 0);
	fake_close(f);
}

/* ---- Entropy ---- */

static void use_rng(struct fake *f)
{
	fake_use(f, 0, fake_id_of(f, 0, 1), *(uint32_t *)f->g->relax_arg);
}

static void random_lengths_are_not_believed(void **state)
{
	const struct { uint32_t says, got; } rows[] = { { 16, 16 }, { 1, 1 }, { 17, 16 }, { UINT32_MAX, 16 }, { 0, 0 } };

	(void)state;
	for (unsigned packed = 0; packed < 2; packed++)
		for (unsigned i = 0; i < 5; i++) {
			struct fake *f = fake_new(VIO_ID_RNG, packed ? BITS(VIO_F_RING_PACKED) : BITS(VIO_F_VERSION_1));
			struct vio_rng *r = rig_take(f->g, sizeof *r);
			unsigned char *buf = rig_take(f->g, 64);
			uint32_t says = rows[i].says;
			f->on_kick = use_rng;
			f->g->relax_arg = &says;
			assert_true(vio_rng_start(r, &f->port));
			assert_int_equal(vio_rng_read(r, buf, 16), rows[i].got);
			assert_true(vio_rng_stop(r));
			assert_int_equal(f->g->maps, 0);
			fake_close(f);
		}
}

static const struct CMUnitTest tests[] = {
	T(the_order_is_the_specifications, "initialisation goes step by step {core-drv-1 core-drv-2 core-drv-21 core-drv-21a core-drv-21b "
	    "core-drv-21c core-drv-21d core-drv-21e core-drv-21g core-drv-21h core-drv-23 core-drv-24 core-drv-27 blk-drv-4}"),
	T(only_known_features_are_accepted, "of all bits only those that the driver knows and the wire carries are accepted {core-drv-5 "
	    "core-drv-6 core-drv-7 core-drv-8 core-drv-7a core-drv-7b core-drv-7c core-drv-7d core-drv-11 core-drv-36 core-drv-38 "
	    "core-drv-41 core-drv-45 blk-drv-5 blk-drv-6}"),
	T(a_feature_needs_what_it_needs, "a feature is accepted only with what it needs {core-drv-5}"),
	T(what_fails_ends_with_a_sentence, "a device that can't be driven is marked as failed, in time and in words {core-drv-10 core-drv-3 "
	    "core-drv-12 core-drv-21f core-drv-25 core-drv-26}"),
	T(a_torn_read_is_read_again, "a config field read while it changes is read again {core-drv-13 core-drv-14}"),
	T(absurd_limits_are_made_safe, "absurd limits in the config space are made safe {core-drv-15 core-drv-16}"),
	T(absurd_capacity_is_made_safe, "an absurd capacity is made safe {blk-drv-12}"),
	T(a_large_queue_is_cut_to_ours, "the queue is as large as both sides can do"),
	T(used_ids_are_checked, "a used id that is none of ours breaks the queue, not the driver"),
	T(a_chain_is_used_once, "a chain used twice breaks the queue"),
	T(the_used_index_is_checked, "a used index that jumps breaks the queue"),
	T(lengths_are_not_believed, "neither used lengths nor status bytes are believed"),
	T(descriptors_are_not_read_back, "what the device scribbles over descriptors changes nothing"),
	T(exposed_buffers_are_left_alone, "the driver leaves alone what the device has {core-drv-28}"),
	T(every_wait_ends, "a device that does not answer is reset, or given up with its memory {core-drv-29}"),
	T(waiting_for_one_keeps_the_others, "waiting for one request loses none that finish meanwhile"),
	T(a_broken_queue_is_not_waited_for, "a queue that the device broke is not waited for"),
	T(a_short_queue_takes_short_requests, "a request of more pieces than the queue is long is refused"),
	T(a_device_that_needs_a_reset_is_not_waited_for, "a device that needs a reset is not waited for {core-drv-4}"),
	T(reset_and_suspend_have_deadlines, "queue reset, suspend and resume are verified, and end {core-drv-18 core-drv-30 core-drv-31 "
	    "core-drv-33 core-drv-35}"),
	T(no_kick_before_driver_ok, "no notification is sent before DRIVER_OK, and none is lost {core-drv-27}"),
	T(random_lengths_are_not_believed, "the entropy driver believes no length {entropy-drv-2}"),
};

int main(void) { return vio_tests("hostile", tests, sizeof tests / sizeof *tests); }
