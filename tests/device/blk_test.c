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
	T(features_follow_the_disk, "features are offered as the disk has them, FLUSH always {blk-dev-1 blk-dev-2 blk-dev-5 blk-dev-28}"),
	T(options_are_checked, "options that make no sense are refused with a sentence"),
	T(ranges_go_one_after_another, "discard, write zeroes and secure erase take several ranges"),
	T(zeroes_read_back_as_zeroes, "written zeroes read as zeroes, unmapped or not {blk-dev-27}"),
	T(what_was_not_negotiated_is_not_there, "what was not negotiated is unsupported"),
};

int main(void) { return vio_tests("blk", tests, sizeof tests / sizeof *tests); }
