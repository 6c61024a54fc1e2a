/* The block device's requests and features (virtio 1.4, section 5.2), as a driver sees them. */
#include "blk_rig.h"

/* ---- Reading and writing ---- */

static void framing_is_free(void **state)
{
	static const size_t cuts[] = { 0, 9, 16, 17, 511, 512, 513 };	/* 528 bytes, 513 bytes */

	(void)state;
	for (unsigned shape = 0; shape < SHAPES; shape++) {
		struct blk_rig b = blk_new();
		blk_start_shape(&b, shape);
		for (unsigned i = 0; i < sizeof cuts / sizeof *cuts; i++) {
			unsigned char block[512];
			uint32_t used;
			memset(block, (int)(0x30 + i), sizeof block);
			rig_rewind(b.g);
			struct ask w = blk_ask(&b, VIO_BLK_T_OUT, 5, block, sizeof block, 0);
			assert_int_equal(blk_run(&b, &w, cuts[i], 0, &used), VIO_BLK_S_OK);
			assert_int_equal(used, 1);
			struct ask r = blk_ask(&b, VIO_BLK_T_IN, 5, NULL, 0, 512);
			assert_int_equal(blk_run(&b, &r, cuts[i], cuts[i], &used), VIO_BLK_S_OK);
			assert_int_equal(used, 513);
			assert_memory_equal(r.w, block, 512);
			assert_memory_equal(b.t->bytes + 5 * 512, block, 512);
		}
		for (uint64_t i = 0; i < DISK_BYTES; i++)	/* and nothing else */
			assert_true(i / 512 == 5 || b.t->bytes[i] == pattern(i));
		blk_close(&b);
	}
}

/* Buffers that lie apart, the later ones in front: pieces of a header have nothing to do with each other. */
static void buffers_lie_anywhere(void **state)
{
	(void)state;
	for (unsigned shape = 0; shape < SHAPES; shape++)
		for (unsigned pieces = 1; pieces <= 8; pieces++) {
			struct blk_rig b = blk_new();
			struct vio_buf bufs[10];
			uint32_t used;
			blk_start_shape(&b, shape);
			unsigned char *room = rig_take(b.g, 8192), *data = room + 4096, *answer = room + 100;
			struct ask a = blk_ask(&b, VIO_BLK_T_IN, 9, NULL, 0, 0);
			memset(room, FILL, 8192);
			for (unsigned i = 0; i < pieces; i++) {		/* the header in so many pieces */
				unsigned from = 16 * i / pieces, to = 16 * (i + 1) / pieces;
				unsigned char *p = room + 2000 - 64 * i;
				memcpy(p, a.r + from, to - from);
				bufs[i] = (struct vio_buf){ rig_address(b.g, p), to - from };
			}
			bufs[pieces] = (struct vio_buf){ rig_address(b.g, data), 512 };
			bufs[pieces + 1] = (struct vio_buf){ rig_address(b.g, answer), 1 };
			assert_true(vio_drvq_add(&b.g->q[0], bufs, pieces, 2, room));
			rig_kick(b.g, 0);
			assert_ptr_equal(rig_get(b.g, 0, &used), room);
			assert_int_equal(used, 513);
			assert_int_equal(*answer, VIO_BLK_S_OK);
			assert_memory_equal(data, b.t->bytes + 9 * 512, 512);
			assert_int_equal(data[512], FILL);
			blk_close(&b);
		}
}

static void used_length_counts_what_was_written(void **state)
{
	struct blk_rig b = blk_new();
	unsigned char block[1024] = { 0 }, id[21];
	uint32_t used;

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	blk_do(&b, VIO_BLK_T_IN, 0, NULL, 0, block, 1024, &used);
	assert_int_equal(used, 1025);
	blk_do(&b, VIO_BLK_T_OUT, 0, block, 1024, NULL, 0, &used);
	assert_int_equal(used, 1);
	blk_do(&b, VIO_BLK_T_FLUSH, 0, NULL, 0, NULL, 0, &used);
	assert_int_equal(used, 1);
	blk_do(&b, VIO_BLK_T_IN, CAPACITY, NULL, 0, block, 512, &used);		/* refused: the data's gap comes first */
	assert_int_equal(used, 0);
	blk_do(&b, VIO_BLK_T_OUT, CAPACITY, block, 512, NULL, 0, &used);	/* refused: nothing in front of the status */
	assert_int_equal(used, 1);
	blk_do(&b, VIO_BLK_T_GET_ID, 0, NULL, 0, id, 20, &used);
	assert_int_equal(used, 21);
	blk_do(&b, VIO_BLK_T_GET_ID, 0, NULL, 0, id, 21, &used);		/* one byte between is not written */
	assert_int_equal(used, 20);
	blk_do(&b, VIO_BLK_T_OUT, 0, block, 1024, block, 600, &used);		/* room that a write has no use for */
	assert_int_equal(used, 0);
	assert_true(all_are(block, 600, FILL));
	b.t->error = EIO;
	assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 0, NULL, 0, block, 512, &used), VIO_BLK_S_IOERR);
	assert_int_equal(used, 0);
	assert_int_equal(blk_do(&b, VIO_BLK_T_OUT, 0, block, 512, NULL, 0, &used), VIO_BLK_S_IOERR);
	assert_int_equal(used, 1);
	assert_int_equal(rig_refused(b.g, 0), 2);	/* the disk's errors are not the driver's */
	blk_close(&b);
}

static void nothing_is_fine(void **state)
{
	struct blk_rig b = blk_new();
	uint32_t used;

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	for (uint32_t type = VIO_BLK_T_IN; type <= VIO_BLK_T_OUT; type++) {
		assert_int_equal(blk_do(&b, type, CAPACITY, NULL, 0, NULL, 0, &used), VIO_BLK_S_OK);
		assert_int_equal(used, 1);
		assert_int_equal(blk_do(&b, type, CAPACITY + 1, NULL, 0, NULL, 0, &used), VIO_BLK_S_IOERR);
	}
	assert_int_equal(b.t->count, 0);
	blk_close(&b);
}

static void flush_ignores_data(void **state)
{
	struct blk_rig b = blk_new();
	unsigned char block[512] = { 0 };

	(void)state;
	blk_open_start(&b, BITS(VIO_BLK_F_BLK_SIZE));	/* FLUSH not even negotiated: never refused */
	assert_int_equal(blk_do(&b, VIO_BLK_T_FLUSH, 99, block, 512, NULL, 0, NULL), VIO_BLK_S_OK);
	assert_int_equal(b.t->count, 1);
	assert_int_equal(b.t->asked[0].op, VIO_DISK_FLUSH);
	assert_true(image_is_untouched(b.t));
	blk_close(&b);
}

static void read_only_means_it(void **state)
{
	unsigned char block[512] = { 0 };

	(void)state;
	for (unsigned by_disk = 0; by_disk < 2; by_disk++)
		for (unsigned accepted = 0; accepted < 2; accepted++) {
			struct blk_rig b = blk_new();
			struct vio_blk_range one = range_of(0, 8, 0);
			b.t->disk.read_only = by_disk;
			b.o.read_only = !by_disk;
			blk_open_start(&b, accepted ? BITS(ALL_BLK) : BITS(VIO_BLK_F_DISCARD, VIO_BLK_F_WRITE_ZEROES));
			struct vio_features f = vio_dev_offered(b.g->dev);
			assert_true(vio_has(f, VIO_BLK_F_RO));
			assert_false(vio_has(f, VIO_BLK_F_DISCARD) || vio_has(f, VIO_BLK_F_WRITE_ZEROES) ||
			    vio_has(f, VIO_BLK_F_SECURE_ERASE));
			assert_int_equal(blk_do(&b, VIO_BLK_T_OUT, 0, block, 512, NULL, 0, NULL), VIO_BLK_S_IOERR);
			assert_int_equal(blk_do(&b, VIO_BLK_T_OUT, 0, NULL, 0, NULL, 0, NULL), VIO_BLK_S_IOERR);
			assert_int_equal(blk_do(&b, VIO_BLK_T_DISCARD, 0, &one, sizeof one, NULL, 0, NULL), VIO_BLK_S_UNSUPP);
			assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 0, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
			assert_true(image_is_untouched(b.t));
			blk_close(&b);
		}
}

/* ---- Saying something about the disk ---- */

static void get_id_of_any_length(void **state)
{
	struct blk_rig b = blk_new();
	unsigned char id[32];

	(void)state;
	memset(b.o.serial, 'x', sizeof b.o.serial);	/* 20 bytes: no NUL */
	blk_open_start(&b, BITS(ALL_BLK));
	for (size_t n = 0; n <= sizeof id; n++) {
		size_t told = n < 20 ? n : 20;
		assert_int_equal(blk_do(&b, VIO_BLK_T_GET_ID, 77, NULL, 0, id, n, NULL), VIO_BLK_S_OK);
		assert_true(all_are(id, told, 'x'));
		assert_true(all_are(id + told, n - told, FILL));
	}
	blk_close(&b);
}

static void lifetime_only_from_a_disk_that_has_it(void **state)
{
	struct vio_blk_lifetime life;

	(void)state;
	for (unsigned has = 0; has < 2; has++) {
		struct blk_rig b = blk_new();
		b.t->disk.has_lifetime = has;
		blk_open_start(&b, BITS(ALL_BLK));
		assert_int_equal(vio_has(b.g->drv.features, VIO_BLK_F_LIFETIME), has);
		assert_int_equal(blk_do(&b, VIO_BLK_T_GET_LIFETIME, 0, NULL, 0, &life, sizeof life, NULL),
		    has ? VIO_BLK_S_OK : VIO_BLK_S_UNSUPP);
		if (has) {
			assert_int_equal(vio_le16_get(life.pre_eol_info), 2);
			assert_int_equal(vio_le16_get(life.device_lifetime_est_typ_a), 3);
			assert_int_equal(vio_le16_get(life.device_lifetime_est_typ_b), 11);
			b.t->disk.pre_eol = 4;		/* reserved values become "not known" */
			b.t->disk.life_a = 12;
			b.t->disk.life_b = 0xffff;
			blk_do(&b, VIO_BLK_T_GET_LIFETIME, 0, NULL, 0, &life, sizeof life, NULL);
			assert_true(all_are((unsigned char *)&life, sizeof life, 0));
		}
		blk_close(&b);
	}
}

static void config_space_tells_the_disk(void **state)
{
	struct blk_rig b = blk_new();

	(void)state;
	b.o.queues = 3;
	b.o.size_max = 65536;
	b.o.geometry.cylinders = 17;
	b.o.geometry.heads = 4;
	b.o.geometry.sectors = 31;
	blk_open_start(&b, BITS(ALL_BLK));
	struct vio_blk_config c = blk_config(&b);
	assert_int_equal(vio_le64_get(c.capacity), CAPACITY);
	assert_int_equal(vio_le32_get(c.size_max), 65536);
	assert_int_equal(vio_le32_get(c.seg_max), RIG_SIZE - 2);	/* without indirect descriptors a request still fits */
	assert_int_equal(vio_le16_get(c.geometry.cylinders), 17);
	assert_int_equal(c.geometry.heads, 4);
	assert_int_equal(c.geometry.sectors, 31);
	assert_int_equal(vio_le32_get(c.blk_size), 512);
	assert_int_equal(c.topology.physical_block_exp, 3);
	assert_int_equal(c.topology.alignment_offset, 0);
	assert_int_equal(vio_le16_get(c.topology.min_io_size), 8);
	assert_int_equal(vio_le32_get(c.topology.opt_io_size), 128);
	assert_int_equal(c.writeback, 1);
	assert_int_equal(vio_le16_get(c.num_queues), 3);
	assert_int_equal(vio_le32_get(c.discard_sector_alignment), 8);
	assert_int_equal(vio_le32_get(c.secure_erase_sector_alignment), 8);
	assert_int_equal(c.write_zeroes_may_unmap, 1);
	assert_true(vio_le32_get(c.max_discard_seg) && vio_le32_get(c.max_write_zeroes_seg) && vio_le32_get(c.max_secure_erase_seg));
	assert_int_equal(c.unused0, 0);
	assert_true(all_are(c.unused1, sizeof c.unused1, 0));
	assert_true(all_are((unsigned char *)&c.zoned, sizeof c.zoned, 0));
	blk_close(&b);
}

/* What must be offered, as the disk is. */
static void features_follow_the_disk(void **state)
{
	const struct { const char *what; size_t at; unsigned char bit; } has[] = {
		{ "discard", offsetof(struct vio_disk, can_discard), VIO_BLK_F_DISCARD },
		{ "zero", offsetof(struct vio_disk, can_zero), VIO_BLK_F_WRITE_ZEROES },
		{ "erase", offsetof(struct vio_disk, can_erase), VIO_BLK_F_SECURE_ERASE },
		{ "lifetime", offsetof(struct vio_disk, has_lifetime), VIO_BLK_F_LIFETIME },
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		for (unsigned on = 0; on < 2; on++) {
			struct blk_rig b = blk_new();
			*((bool *)&b.t->disk + has[i].at) = on;
			assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
			struct vio_features f = vio_dev_offered(b.g->dev);
			assert_int_equal(vio_has(f, has[i].bit), on);
			assert_true(vio_has(f, VIO_BLK_F_FLUSH) && vio_has(f, VIO_BLK_F_CONFIG_WCE));
			assert_false(vio_has(f, VIO_BLK_F_ZONED) || vio_has(f, VIO_BLK_F_GEOMETRY) ||
			    vio_has(f, VIO_BLK_F_SIZE_MAX) || vio_has(f, VIO_BLK_F_MQ) || vio_has(f, VIO_BLK_F_RO));
			blk_close(&b);
		}
	struct blk_rig b = blk_new();
	b.t->disk.physical_block = b.t->disk.optimal_io = 0;
	b.t->disk.zero_may_unmap = false;
	blk_open_start(&b, BITS(ALL_BLK));
	assert_false(vio_has(b.g->drv.features, VIO_BLK_F_TOPOLOGY));
	assert_int_equal(blk_config(&b).write_zeroes_may_unmap, 0);
	blk_close(&b);
}

static void options_are_checked(void **state)
{
	struct blk_rig b = blk_new();
	const struct vio_blk_options good = b.o;
	struct vio_disk *d = &b.t->disk;

	(void)state;
	b.o.queues = 0;
	assert_non_null(strstr(rig_open(b.g, &vio_dev_blk, &b.o), "1 to 64 queues"));
	b.o.queues = 65;
	assert_non_null(strstr(rig_open(b.g, &vio_dev_blk, &b.o), "1 to 64 queues"));
	b.o = good;
	b.o.queue_size = 32769;
	assert_non_null(strstr(rig_open(b.g, &vio_dev_blk, &b.o), "32768"));
	b.o = good;
	b.o.seg_max = 32767;
	assert_non_null(strstr(rig_open(b.g, &vio_dev_blk, &b.o), "segments"));
	b.o = good;
	b.o.size_max = 511;
	assert_non_null(strstr(rig_open(b.g, &vio_dev_blk, &b.o), "sector"));
	b.o = good;
	for (uint32_t block = 0; block < 1000; block += 333) {
		d->logical_block = block;
		assert_non_null(strstr(rig_open(b.g, &vio_dev_blk, &b.o), "power of two"));
	}
	d->logical_block = 4096;
	d->size = DISK_BYTES - 512;
	assert_non_null(strstr(rig_open(b.g, &vio_dev_blk, &b.o), "multiple"));
	d->size = DISK_BYTES;
	assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
	b.t->no_channel = true;		/* and a queue that gets no channel needs a reset, with the reason in words */
	assert_true(vio_drv_begin(&b.g->drv, &b.g->wire.port, VIO_ID_BLK, BITS(ALL_BLK), NULL));
	rig_start_queue(b.g, 0);
	assert_false(vio_drv_ready(&b.g->drv));
	assert_non_null(strstr(b.g->dev->needs_reset, "file descriptors"));
	blk_close(&b);
}

/* ---- Discard, write zeroes, secure erase ---- */

static void ranges_go_one_after_another(void **state)
{
	const struct { uint32_t type; enum vio_disk_op op; unsigned char becomes; } ops[] = {
		{ VIO_BLK_T_DISCARD, VIO_DISK_DISCARD, 0xdd },
		{ VIO_BLK_T_WRITE_ZEROES, VIO_DISK_ZERO, 0 },
		{ VIO_BLK_T_SECURE_ERASE, VIO_DISK_ERASE, 0xee },
	};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct blk_rig b = blk_new();
		struct vio_blk_range r[3] = { range_of(0, 1, 0), range_of(7, 0, 0), range_of(CAPACITY - 2, 2, 0) };
		blk_open_start(&b, BITS(ALL_BLK));
		assert_int_equal(blk_do(&b, ops[i].type, 0, r, sizeof r, NULL, 0, NULL), VIO_BLK_S_OK);
		assert_int_equal(b.t->count, 2);	/* an empty range is nothing to do */
		assert_int_equal(b.t->asked[0].op, ops[i].op);
		assert_int_equal(b.t->asked[1].offset, DISK_BYTES - 1024);
		assert_int_equal(b.t->asked[1].length, 1024);
		for (uint64_t at = 0; at < DISK_BYTES; at++) {
			bool inside = at < 512 || at >= DISK_BYTES - 1024;
			assert_int_equal(b.t->bytes[at], inside ? ops[i].becomes : pattern(at));
		}
		b.t->error = ENOSPC;
		test_disk_forget(b.t);
		assert_int_equal(blk_do(&b, ops[i].type, 0, r, sizeof r, NULL, 0, NULL), VIO_BLK_S_IOERR);
		assert_int_equal(b.t->count, 1);	/* the first error ends it */
		blk_close(&b);
	}
}

static void zeroes_read_back_as_zeroes(void **state)
{
	struct blk_rig b = blk_new();
	unsigned char block[4096];

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	for (uint32_t unmap = 0; unmap < 2; unmap++) {
		struct vio_blk_range r = range_of(16 + 8 * unmap, 8, unmap);
		test_disk_forget(b.t);
		assert_int_equal(blk_do(&b, VIO_BLK_T_WRITE_ZEROES, 0, &r, sizeof r, NULL, 0, NULL), VIO_BLK_S_OK);
		assert_int_equal(b.t->asked[0].may_unmap, unmap);
		assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 16 + 8 * unmap, NULL, 0, block, 4096, NULL), VIO_BLK_S_OK);
		assert_true(all_are(block, 4096, 0));
	}
	blk_close(&b);
}

static void what_was_not_negotiated_is_not_there(void **state)
{
	const uint32_t types[] = { VIO_BLK_T_DISCARD, VIO_BLK_T_WRITE_ZEROES, VIO_BLK_T_SECURE_ERASE };
	struct blk_rig b = blk_new();
	struct vio_blk_range r = range_of(0, 8, 0);
	unsigned char life[6];

	(void)state;
	blk_open_start(&b, BITS(VIO_BLK_F_FLUSH));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(blk_do(&b, types[i], 0, &r, sizeof r, NULL, 0, NULL), VIO_BLK_S_UNSUPP);
	assert_int_equal(blk_do(&b, VIO_BLK_T_GET_LIFETIME, 0, NULL, 0, life, 6, NULL), VIO_BLK_S_UNSUPP);
	assert_int_equal(b.t->count, 0);
	blk_close(&b);
}

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
	T(framing_is_free, "header, data and status may be cut into buffers anyhow {split-dev-1}"),
	T(buffers_lie_anywhere, "the buffers of a request may lie anywhere {split-dev-1}"),
	T(used_length_counts_what_was_written, "used.len counts what was written without a gap from the front"),
	T(nothing_is_fine, "an empty read or write is answered without the disk"),
	T(flush_ignores_data, "a flush needs no data, no sector and no negotiation"),
	T(read_only_means_it, "a read-only disk refuses writes, whether or not the driver accepted RO {blk-dev-21 blk-dev-22}"),
	T(get_id_of_any_length, "the serial number comes as far as there is room, NUL-padded to 20 bytes"),
	T(lifetime_only_from_a_disk_that_has_it,
	    "lifetime is offered where the disk knows it, without reserved values {blk-dev-33 blk-dev-34 blk-dev-35; only us}"),
	T(config_space_tells_the_disk, "the config space describes the disk, its padding is zero {blk-dev-4}"),
	T(features_follow_the_disk, "features are offered as the disk has them, FLUSH always {blk-dev-1 blk-dev-2 blk-dev-28}"),
	T(options_are_checked, "options that make no sense are refused with a sentence"),
	T(ranges_go_one_after_another, "discard, write zeroes and secure erase take several ranges {blk-dev-25; only us}"),
	T(zeroes_read_back_as_zeroes, "written zeroes read as zeroes, unmapped or not {blk-dev-26 blk-dev-27}"),
	T(what_was_not_negotiated_is_not_there, "what was not negotiated is unsupported"),
	T(three_ways_to_be_stable, "writes are stable by negotiation, by writeback 0, or by a flush {blk-dev-3 blk-dev-31 blk-dev-32}"),
	T(an_answer_waits_for_the_disk, "a write or flush is answered when the disk has done it, not before {blk-dev-31}"),
	T(only_writeback_can_be_written, "a driver can write writeback and nothing else of the config space"),
	T(growing_tells_the_driver, "a change of size reaches the config space and the driver {blk-dev-19 blk-dev-20}"),
	T(suspended_it_stands_still, "suspended, a change of size waits for resume {core-dev-17 core-dev-18 core-dev-19; only us}"),
	T(each_queue_has_its_channel, "each queue has a channel to the disk while it runs"),
	T(a_turn_has_a_budget, "a queue that has moved 1 MiB lets others have their turn"),
	T(polling_looks_at_the_disk, "polling looks for the disk's completions"),
	T(a_slow_disk_answers_in_any_order, "a slow disk may answer in any order {core-dev-27}"),
	T(reset_cancels_and_then_nothing_is_written, "reset cancels; after it no guest byte changes {core-dev-9 core-dev-10}"),
	T(a_cancelled_row_of_ranges_ends, "of several ranges those behind a cancel are left alone"),
	T(state_is_saved_and_loaded, "the cache mode is saved and loaded, and checked"),
};

int main(void) { return vio_tests("blk", tests, sizeof tests / sizeof *tests); }
