/* What a hostile driver can ask of the block device: each row is refused, counted, and touches nothing. */
#include <pthread.h>
#include "blk_rig.h"

enum { SILENT = 0x100 };	/* no place to answer: comes back with length 0 */

struct bad {
	const char *what;
	uint32_t type;
	uint64_t sector;
	uint32_t out, in;		/* bytes of data */
	int status;
	unsigned ranges;		/* put in front of out */
	struct { uint64_t sector; uint32_t sectors, flags; } range[3];
};

#define MANY 0x400001			/* sectors of a range: one more than the device says it takes */

static const struct bad bad[] = {
	{ "read of the sector behind the last", VIO_BLK_T_IN, CAPACITY, 0, 512, VIO_BLK_S_IOERR },
	{ "read across the end", VIO_BLK_T_IN, CAPACITY - 1, 0, 1024, VIO_BLK_S_IOERR },
	{ "read of all and one", VIO_BLK_T_IN, 1, 0, DISK_BYTES, VIO_BLK_S_IOERR },
	{ "read where sector * 512 wraps to 0", VIO_BLK_T_IN, UINT64_C(1) << 55, 0, 512, VIO_BLK_S_IOERR },
	{ "read where sector * 512 wraps to 512", VIO_BLK_T_IN, (UINT64_C(1) << 55) + 1, 0, 512, VIO_BLK_S_IOERR },
	{ "read of the last sector there could be", VIO_BLK_T_IN, UINT64_MAX, 0, 512, VIO_BLK_S_IOERR },
	{ "read whose end wraps to 0", VIO_BLK_T_IN, UINT64_MAX - 1, 0, 1024, VIO_BLK_S_IOERR },
	{ "read of less than a sector", VIO_BLK_T_IN, 0, 0, 511, VIO_BLK_S_IOERR },
	{ "read of more than a sector", VIO_BLK_T_IN, 0, 0, 513, VIO_BLK_S_IOERR },
	{ "read of one byte", VIO_BLK_T_IN, 0, 0, 1, VIO_BLK_S_IOERR },
	{ "write to the sector behind the last", VIO_BLK_T_OUT, CAPACITY, 512, 0, VIO_BLK_S_IOERR },
	{ "write across the end", VIO_BLK_T_OUT, CAPACITY - 1, 1024, 0, VIO_BLK_S_IOERR },
	{ "write where sector * 512 wraps to 0", VIO_BLK_T_OUT, UINT64_C(1) << 55, 512, 0, VIO_BLK_S_IOERR },
	{ "write of the last sector there could be", VIO_BLK_T_OUT, UINT64_MAX, 512, 0, VIO_BLK_S_IOERR },
	{ "write whose end wraps to 0", VIO_BLK_T_OUT, UINT64_MAX - 1, 1024, 0, VIO_BLK_S_IOERR },
	{ "write of less than a sector", VIO_BLK_T_OUT, 0, 511, 0, VIO_BLK_S_IOERR },
	{ "write of more than a sector", VIO_BLK_T_OUT, 0, 513, 0, VIO_BLK_S_IOERR },
	{ "write of one byte", VIO_BLK_T_OUT, 0, 1, 0, VIO_BLK_S_IOERR },
	{ "empty write behind the end", VIO_BLK_T_OUT, CAPACITY + 1, 0, 0, VIO_BLK_S_IOERR },
	{ "SCSI command", 2, 0, 512, 512, VIO_BLK_S_UNSUPP },
	{ "SCSI command, out", 3, 0, 512, 512, VIO_BLK_S_UNSUPP },
	{ "legacy flush", 5, 0, 0, 0, VIO_BLK_S_UNSUPP },
	{ "type 9", 9, 0, 512, 512, VIO_BLK_S_UNSUPP },
	{ "type 12", 12, 0, 512, 512, VIO_BLK_S_UNSUPP },
	{ "zone append", VIO_BLK_T_ZONE_APPEND, 0, 512, 8, VIO_BLK_S_UNSUPP },
	{ "zone report", VIO_BLK_T_ZONE_REPORT, 0, 0, 512, VIO_BLK_S_UNSUPP },
	{ "zone open", VIO_BLK_T_ZONE_OPEN, 0, 0, 0, VIO_BLK_S_UNSUPP },
	{ "zone close", VIO_BLK_T_ZONE_CLOSE, 0, 0, 0, VIO_BLK_S_UNSUPP },
	{ "zone finish", VIO_BLK_T_ZONE_FINISH, 0, 0, 0, VIO_BLK_S_UNSUPP },
	{ "zone reset", VIO_BLK_T_ZONE_RESET, 0, 0, 0, VIO_BLK_S_UNSUPP },
	{ "zone reset all", VIO_BLK_T_ZONE_RESET_ALL, 0, 0, 0, VIO_BLK_S_UNSUPP },
	{ "write with the legacy barrier bit", UINT32_C(0x80000001), 0, 512, 0, VIO_BLK_S_UNSUPP },
	{ "type 0x100", 0x100, 0, 0, 512, VIO_BLK_S_UNSUPP },
	{ "the last type there could be", UINT32_MAX, 0, 512, 512, VIO_BLK_S_UNSUPP },
	{ "lifetime in too small a place", VIO_BLK_T_GET_LIFETIME, 0, 0, 5, VIO_BLK_S_IOERR },
	{ "discard of nothing", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_IOERR },
	{ "discard of a cut range", VIO_BLK_T_DISCARD, 0, 15, 0, VIO_BLK_S_IOERR },
	{ "discard of a range and a byte", VIO_BLK_T_DISCARD, 0, 1, 0, VIO_BLK_S_IOERR, 1, { { 0, 1, 0 } } },
	{ "discard of too many ranges", VIO_BLK_T_DISCARD, 0, 17 * 16, 0, VIO_BLK_S_IOERR },
	{ "discard of very many ranges", VIO_BLK_T_DISCARD, 0, 65536 * 16, 0, VIO_BLK_S_IOERR },
	{ "discard with unmap", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_UNSUPP, 1, { { 0, 1, 1 } } },
	{ "discard with an unknown flag", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_UNSUPP, 1, { { 0, 1, 2 } } },
	{ "discard with all flags", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_UNSUPP, 1, { { 0, 1, UINT32_MAX } } },
	{ "discard behind the end", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_IOERR, 1, { { CAPACITY, 1, 0 } } },
	{ "discard across the end", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_IOERR, 1, { { CAPACITY - 1, 2, 0 } } },
	{ "discard where sector * 512 wraps", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_IOERR, 1, { { UINT64_C(1) << 55, 1, 0 } } },
	{ "discard whose end wraps", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_IOERR, 1, { { UINT64_MAX, 1, 0 } } },
	{ "discard of 2^32 - 1 sectors", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_IOERR, 1, { { 0, UINT32_MAX, 0 } } },
	{ "discard of more sectors than it takes", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_IOERR, 1, { { 0, MANY, 0 } } },
	{ "discard, the second range behind the end", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_IOERR, 2,
		{ { 0, 1, 0 }, { CAPACITY, 1, 0 } } },
	{ "discard, the third range with a flag", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_UNSUPP, 3,
		{ { 0, 1, 0 }, { 1, 1, 0 }, { 2, 1, 4 } } },
	{ "discard, behind the end and with a flag: the flag counts", VIO_BLK_T_DISCARD, 0, 0, 0, VIO_BLK_S_UNSUPP, 2,
		{ { CAPACITY, 1, 0 }, { 0, 1, 2 } } },
	{ "write zeroes with an unknown flag", VIO_BLK_T_WRITE_ZEROES, 0, 0, 0, VIO_BLK_S_UNSUPP, 1, { { 0, 1, 2 } } },
	{ "write zeroes with unmap and an unknown flag", VIO_BLK_T_WRITE_ZEROES, 0, 0, 0, VIO_BLK_S_UNSUPP, 1,
		{ { 0, 1, UINT32_C(0x80000001) } } },
	{ "write zeroes across the end", VIO_BLK_T_WRITE_ZEROES, 0, 0, 0, VIO_BLK_S_IOERR, 1, { { CAPACITY - 1, 2, 1 } } },
	{ "write zeroes, the second range wraps", VIO_BLK_T_WRITE_ZEROES, 0, 0, 0, VIO_BLK_S_IOERR, 2,
		{ { 0, 1, 0 }, { UINT64_MAX, 2, 0 } } },
	{ "write zeroes of a cut range", VIO_BLK_T_WRITE_ZEROES, 0, 8, 0, VIO_BLK_S_IOERR },
	{ "secure erase with unmap", VIO_BLK_T_SECURE_ERASE, 0, 0, 0, VIO_BLK_S_UNSUPP, 1, { { 0, 1, 1 } } },
	{ "secure erase with an unknown flag", VIO_BLK_T_SECURE_ERASE, 0, 0, 0, VIO_BLK_S_UNSUPP, 1, { { 0, 1, 8 } } },
	{ "secure erase across the end", VIO_BLK_T_SECURE_ERASE, 0, 0, 0, VIO_BLK_S_IOERR, 1, { { CAPACITY - 1, 2, 0 } } },
	{ "secure erase of too many ranges", VIO_BLK_T_SECURE_ERASE, 0, 17 * 16, 0, VIO_BLK_S_IOERR },
};

static void refused_as_told(struct blk_rig *b, const struct bad *row)
{
	static unsigned char out[2 << 20];
	uint64_t refused = rig_refused(b->g, 0);
	uint32_t used, ranges = 16 * row->ranges;

	memset(out, 0, sizeof out);
	for (unsigned i = 0; i < row->ranges; i++) {
		struct vio_blk_range r = range_of(row->range[i].sector, row->range[i].sectors, row->range[i].flags);
		memcpy(out + 16 * i, &r, sizeof r);
	}
	rig_rewind(b->g);
	test_disk_forget(b->t);
	struct ask a = blk_ask(b, row->type, row->sector, out, ranges + row->out, row->in);
	int status = blk_run(b, &a, 0, 0, &used);
	if (status != row->status)
		fail_msg("%s: status %d, not %d", row->what, status, row->status);
	if (!all_are(a.w, row->in, FILL) || used != (row->in == 0))
		fail_msg("%s: something was written", row->what);
	if (b->t->count)
		fail_msg("%s: the disk was asked", row->what);
	if (rig_refused(b->g, 0) != refused + 1)
		fail_msg("%s: not counted", row->what);
}

static void each_row_is_refused(void **state)
{
	(void)state;
	for (unsigned shape = 0; shape < SHAPES; shape++) {
		struct blk_rig b = blk_new();
		unsigned char block[512];
		blk_start_shape(&b, shape);
		for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
			if (!b.g->mem.clip || bad[i].out < 65536)	/* a byte a segment: only so many */
				refused_as_told(&b, &bad[i]);
		assert_true(image_is_untouched(b.t));
		assert_int_equal(blk_do(&b, VIO_BLK_T_IN, CAPACITY - 1, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
		assert_null(b.g->wire.broken);
		blk_close(&b);
	}
}

/* On a disk of 8 GiB, too many sectors for one range are too many and not behind the end. */
static void a_range_has_a_limit(void **state)
{
	const uint32_t types[] = { VIO_BLK_T_DISCARD, VIO_BLK_T_WRITE_ZEROES, VIO_BLK_T_SECURE_ERASE };

	(void)state;
	struct blk_rig b = blk_new();
	b.t->disk.size = UINT64_C(8) << 30;
	blk_open_start(&b, BITS(ALL_BLK));
	assert_int_equal(vio_le32_get(blk_config(&b).max_discard_sectors), MANY - 1);
	for (unsigned i = 0; i < 3; i++) {
		struct vio_blk_range r = range_of(0, MANY, 0);
		assert_int_equal(blk_do(&b, types[i], 0, &r, sizeof r, NULL, 0, NULL), VIO_BLK_S_IOERR);
	}
	assert_int_equal(b.t->count, 0);
	blk_close(&b);
}

/* No whole header, or no byte for the status: nothing is asked or there is nowhere to answer. */
static void without_header_or_status(void **state)
{
	(void)state;
	for (unsigned shape = 0; shape < SHAPES; shape++) {
		struct blk_rig b = blk_new();
		uint32_t used;
		uint64_t n = 0;
		blk_start_shape(&b, shape);
		for (size_t r = 0; r <= 16; r++)
			for (size_t w = 0; w <= 514; w += 257) {
				if ((r == 0 && w == 0) || (r == 16 && w))
					continue;
				rig_rewind(b.g);
				struct ask a = blk_ask(&b, VIO_BLK_T_IN, 0, NULL, 0, w);
				assert_true(rig_add(b.g, 0, r ? a.r : NULL, r, 0, w ? a.w : NULL, w, 0));
				rig_kick(b.g, 0);
				assert_non_null(rig_get(b.g, 0, &used));
				assert_int_equal(used, 0);
				assert_true(all_are(a.w, w + 1, FILL));
				assert_int_equal(rig_refused(b.g, 0), ++n);
			}
		assert_int_equal(b.t->count, 0);
		blk_close(&b);
	}
}

/* A status that the device can't write is no place to answer: header and data readable, nothing writable. */
static void status_must_be_writable(void **state)
{
	struct blk_rig b = blk_new();
	unsigned char block[513] = { 0 };
	uint32_t used;

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	struct ask a = blk_ask(&b, VIO_BLK_T_OUT, 0, block, sizeof block, 0);
	assert_true(rig_add(b.g, 0, a.r, a.r_len, 0, NULL, 0, 0));
	rig_kick(b.g, 0);
	assert_non_null(rig_get(b.g, 0, &used));
	assert_int_equal(used, 0);
	assert_true(image_is_untouched(b.t));
	blk_close(&b);
}

/* A disk whose blocks are larger than a sector takes whole blocks only. */
static void blocks_are_whole(void **state)
{
	const struct { uint64_t sector; uint32_t sectors; int status; } rows[] = {
		{ 0, 8, VIO_BLK_S_OK }, { 8, 16, VIO_BLK_S_OK }, { CAPACITY - 8, 8, VIO_BLK_S_OK },
		{ 1, 8, VIO_BLK_S_IOERR }, { 0, 1, VIO_BLK_S_IOERR }, { 0, 9, VIO_BLK_S_IOERR }, { 4, 4, VIO_BLK_S_IOERR },
	};
	unsigned char data[16 * 512];

	(void)state;
	struct blk_rig b = blk_new();
	b.t->disk.logical_block = 4096;
	blk_open_start(&b, BITS(ALL_BLK));
	assert_int_equal(vio_le32_get(blk_config(&b).blk_size), 4096);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct vio_blk_range r = range_of(rows[i].sector, rows[i].sectors, 0);
		size_t n = 512 * rows[i].sectors;
		assert_int_equal(blk_do(&b, VIO_BLK_T_IN, rows[i].sector, NULL, 0, data, n, NULL), rows[i].status);
		assert_int_equal(blk_do(&b, VIO_BLK_T_OUT, rows[i].sector, data, n, NULL, 0, NULL), rows[i].status);
		assert_int_equal(blk_do(&b, VIO_BLK_T_DISCARD, 0, &r, sizeof r, NULL, 0, NULL), rows[i].status);
	}
	blk_close(&b);
}

/* ---- A driver that rewrites its request while it is served ---- */

struct flipper {
	pthread_t thread;
	uint64_t *word;
	uint64_t values[4];
	bool stop;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;

	for (unsigned i = 0; !__atomic_load_n(&f->stop, __ATOMIC_RELAXED); i++)
		__atomic_store_n(f->word, f->values[i % 4], __ATOMIC_RELAXED);
	return NULL;
}

/* The disk asserts what it is asked; whatever mixture is seen, it is judged as it is used. */
static void a_request_is_read_once(void **state)
{
	struct blk_rig b = blk_new();
	struct vio_blk_range r[2] = { range_of(0, 8, 0), range_of(8, 8, 0) };
	unsigned char block[512] = { 0 };
	const struct { uint32_t type; const void *out; size_t len, word; uint64_t values[4]; } rows[] = {
		{ VIO_BLK_T_OUT, block, 512, 8, { 0, UINT64_MAX, CAPACITY, UINT64_C(1) << 55 } },
		{ VIO_BLK_T_OUT, block, 512, 0, { VIO_BLK_T_OUT, VIO_BLK_T_IN, VIO_BLK_T_DISCARD, VIO_BLK_T_WRITE_ZEROES } },
		{ VIO_BLK_T_DISCARD, r, sizeof r, 16, { 0, UINT64_MAX, CAPACITY - 4, 8 } },
		{ VIO_BLK_T_WRITE_ZEROES, r, sizeof r, 40, { 8, UINT32_MAX, UINT64_C(2) << 32 | 8, CAPACITY } },
	};

	(void)state;
	blk_open_start(&b, BITS(ALL_BLK));
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		rig_rewind(b.g);
		struct ask a = blk_ask(&b, rows[i].type, 0, rows[i].out, rows[i].len, 0);
		struct flipper f = { .word = (uint64_t *)(void *)(a.r + rows[i].word) };
		memcpy(f.values, rows[i].values, sizeof f.values);
		assert_int_equal(pthread_create(&f.thread, NULL, flip, &f), 0);
		unsigned answers[3] = { 0 };
		for (unsigned n = 0; n < 20000 || (n < 2000000 && (!answers[0] || answers[0] == n)); n++) {
			uint32_t used;
			uint8_t status = blk_run(&b, &a, 0, 0, &used);
			assert_in_range(status, 0, 2);
			answers[status]++;
			test_disk_forget(b.t);
		}
		__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
		pthread_join(f.thread, NULL);
		assert_true(answers[0] && answers[1] + answers[2]);	/* both were seen, or nothing was tried */
	}
	blk_close(&b);
}

/* ---- The disk goes wrong ---- */

static void a_disk_that_fails_fails_the_request(void **state)
{
	const int errors[] = { EIO, ENOSPC, EOPNOTSUPP, ECANCELED };
	const uint32_t types[] = { VIO_BLK_T_IN, VIO_BLK_T_OUT, VIO_BLK_T_FLUSH, VIO_BLK_T_DISCARD, VIO_BLK_T_WRITE_ZEROES };
	struct vio_blk_range r = range_of(0, 1, 0);
	unsigned char block[512] = { 0 };

	(void)state;
	struct blk_rig b = blk_new();
	blk_open_start(&b, BITS(ALL_BLK));
	for (unsigned e = 0; e < 4; e++)
		for (unsigned i = 0; i < 5; i++) {
			bool ranges = types[i] >= VIO_BLK_T_DISCARD;
			size_t out = ranges ? sizeof r : types[i] == VIO_BLK_T_OUT ? 512 : 0, in = types[i] == VIO_BLK_T_IN ? 512 : 0;
			b.t->error = errors[e];
			assert_int_equal(blk_do(&b, types[i], 0, ranges ? (void *)&r : block, out, block, in, NULL), VIO_BLK_S_IOERR);
			b.t->error = 0;
			assert_int_equal(blk_do(&b, VIO_BLK_T_IN, 1, NULL, 0, block, 512, NULL), VIO_BLK_S_OK);
		}
	assert_int_equal(rig_refused(b.g, 0), 0);
	blk_close(&b);
}

static const struct CMUnitTest tests[] = {
	T(each_row_is_refused, "malformed requests are answered, counted, and touch nothing {blk-dev-23 blk-dev-24 blk-dev-36}"),
	T(a_range_has_a_limit, "one range covers at most what the config space says"),
	T(without_header_or_status, "a request without a whole header or a status byte comes back with length 0"),
	T(status_must_be_writable, "a request with nothing writable changes nothing"),
	T(blocks_are_whole, "a disk of larger blocks takes whole ones only"),
	T(a_request_is_read_once, "a request that changes while it is served is judged as it is used"),
	T(a_disk_that_fails_fails_the_request, "an error of the disk is the request's, and the next one is served"),
};

int main(void) { return vio_tests("blk-bad", tests, sizeof tests / sizeof *tests); }
