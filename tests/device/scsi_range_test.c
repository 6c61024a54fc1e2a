/* Commands on ranges of blocks (SBC-3): UNMAP, WRITE SAME, VERIFY, COMPARE AND WRITE, and what the device tells of them. */
#include "scsi_rig.h"

static bool blocks_are(const struct scsi_rig *b, uint64_t lba, uint64_t n, unsigned char byte)
{
	for (uint64_t i = lba * 512; i < (lba + n) * 512; i++)
		if (b->t[0]->bytes[i] != byte)
			return false;
	return true;
}

static bool blocks_are_untouched(const struct scsi_rig *b, uint64_t lba, uint64_t n)
{
	for (uint64_t i = lba * 512; i < (lba + n) * 512; i++)
		if (b->t[0]->bytes[i] != pattern(i))
			return false;
	return true;
}

static struct scsi_rig *start_thin(void)
{
	struct scsi_rig *b = scsi_new();

	b->luns[0].thin = true;
	scsi_begin(b, BITS(USUAL));
	scsi_settle(b);
	return b;
}

/* ---- UNMAP ---- */

static const uint8_t two_ranges[40] = {
	0, 38, 0, 32, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 16, 0, 0, 0, 0,
};

static void unmap(void **state)
{
	struct scsi_rig *b = scsi_start();
	uint8_t list[40];

	(void)state;
	good(b, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), two_ranges, 40, 0);
	assert_int_equal(b->t[0]->count, 2);
	assert_int_equal(b->t[0]->asked[0].op, VIO_DISK_DISCARD);
	assert_int_equal(b->t[0]->asked[0].offset, 8 * 512);
	assert_int_equal(b->t[0]->asked[1].length, 16 * 512);
	good(b, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0, 0);
	good(b, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 8, 0), "\0\6\0\0\0\0\0\0", 8, 0);
	memcpy(list, two_ranges, 40);		/* the second lies behind the end: the first has not been touched either */
	list[24 + 5] = 1;
	test_disk_forget(b->t[0]);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2100, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), list, 40, 0);
	assert_int_equal(b->t[0]->count, 0);
	scsi_close(b);
	b = start_thin();
	good(b, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 40, 0), two_ranges, 40, 0);
	assert_int_equal(b->t[0]->asked[0].op, VIO_DISK_ZERO);
	assert_true(b->t[0]->asked[0].may_unmap);
	assert_true(blocks_are(b, 8, 8, 0) && blocks_are_untouched(b, 16, 240) && blocks_are(b, 256, 16, 0));
	good(b, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), NULL, 0, 32);
	assert_int_equal(b->in[14], 0xc0);
	scsi_close(b);
}

static void unmap_lies(void **state)
{
	static const struct { const char *what; uint8_t anchor, list, head[4]; uint32_t blocks; uint16_t code; } rows[] = {
		{ "ANCHOR", 1, 24, { 0, 22, 0, 16 }, 8, 0x2400 },
		{ "7 bytes of list", 0, 7, { 0, 22, 0, 16 }, 8, 0x1a00 },
		{ "half a descriptor", 0, 16, { 0, 22, 0, 16 }, 8, 0x1a00 },
		{ "descriptors of 15 bytes", 0, 24, { 0, 22, 0, 15 }, 8, 0x1a00 },
		{ "more blocks than a command may name", 0, 24, { 0, 22, 0, 16 }, (1 << 22) + 1, 0x2600 },
		{ "behind the end", 0, 24, { 0, 22, 0, 16 }, 4096, 0x2100 },
		{ "4 G blocks", 0, 24, { 0, 22, 0, 16 }, UINT32_MAX, 0x2600 },
	};
	struct scsi_rig *b = scsi_start();

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint8_t list[24] = { 0 };
		memcpy(list, rows[i].head, 4);
		vio_be32_put(list + 16, rows[i].blocks);
		scsi_run(b, CDB(0x42, rows[i].anchor, 0, 0, 0, 0, 0, 0, rows[i].list, 0), list, 24, 0);
		if (b->status != VIO_SAM_CHECK_CONDITION || sense_code(b) != rows[i].code)
			fail_msg("%s: %02x %04x", rows[i].what, b->status, sense_code(b));
	}
	/* a length beyond the list is cut off: the list is what counts */
	uint8_t list[24] = { 0xff, 0xff, 0xff, 0xf0, [19] = 8 };
	good(b, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), list, 24, 0);
	assert_int_equal(b->t[0]->count, 1);
	responds(b, VIO_SCSI_S_OVERRUN, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 25, 0), list, 24, 0);
	static uint8_t many[8 + 33 * 16] = { 2, 0x16, 2, 0x10 };
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2600, CDB(0x42, 0, 0, 0, 0, 0, 0, 2, 0x18, 0), many, sizeof many, 0);
	scsi_close(b);
	b = scsi_new();				/* a disk that can't: the command does not exist */
	b->t[0]->disk.can_discard = false;
	scsi_begin(b, BITS(USUAL));
	scsi_settle(b);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2000, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), list, 24, 0);
	good(b, CDB(0x12, 1, 0xb2, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in, "\0\xb2\0\4\0\0\0\0", 8);
	scsi_close(b);
}

/* ---- WRITE SAME ---- */

static void write_same(void **state)
{
	struct scsi_rig *b = scsi_start();
	unsigned char block[512];

	(void)state;
	memset(block, 0x77, sizeof block);
	good(b, CDB(0x41, 0, 0, 0, 0, 16, 0, 1, 0, 0), block, 512, 0);		/* 256 blocks: two scratch buffers full */
	assert_true(blocks_are(b, 16, 256, 0x77) && blocks_are_untouched(b, 0, 16) && blocks_are_untouched(b, 272, 100));
	assert_int_equal(b->t[0]->asked[0].op, VIO_DISK_WRITE);
	assert_int_equal(b->residual, 0);
	memset(block, 0, sizeof block);
	test_disk_forget(b->t[0]);
	good(b, CDB(0x93, 8, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 4, 0, 0), block, 512, 0);
	assert_int_equal(b->t[0]->count, 1);
	assert_int_equal(b->t[0]->asked[0].op, VIO_DISK_ZERO);
	assert_true(b->t[0]->asked[0].may_unmap);
	good(b, CDB(0x93, 1, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 4, 0, 0), NULL, 0, 0);	/* NDOB */
	assert_false(b->t[0]->asked[1].may_unmap);
	assert_true(blocks_are(b, 20, 8, 0) && blocks_are(b, 28, 4, 0x77));
	/* where the cache is off, zeroes are made durable as well */
	good(b, CDB(0x15, 0x10, 0, 0, 24, 0), "\0\0\0\0\x08\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, 0);
	test_disk_forget(b->t[0]);
	good(b, CDB(0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, 512, 0);
	assert_int_equal(b->t[0]->asked[1].op, VIO_DISK_FLUSH);
	scsi_close(b);
	b = scsi_new();				/* a disk that makes no zeroes gets them written */
	b->t[0]->disk.can_zero = b->t[0]->disk.can_discard = false;
	scsi_begin(b, BITS(USUAL));
	scsi_settle(b);
	good(b, CDB(0x93, 1, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 4, 0, 0), NULL, 0, 0);
	assert_true(blocks_are(b, 24, 4, 0) && blocks_are_untouched(b, 28, 4));
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x93, 8, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 4, 0, 0), block, 512, 0);
	scsi_close(b);
}

static void write_same_is_judged(void **state)
{
	static const struct { const char *what; uint8_t cdb[16]; uint16_t code; } rows[] = {
		{ "no blocks", { 0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0 }, 0x2400 },
		{ "ANCHOR", { 0x41, 0x18, 0, 0, 0, 0, 0, 0, 1, 0 }, 0x2400 },
		{ "LBDATA", { 0x41, 2, 0, 0, 0, 0, 0, 0, 1, 0 }, 0x2400 },
		{ "PBDATA", { 0x41, 4, 0, 0, 0, 0, 0, 0, 1, 0 }, 0x2400 },
		{ "NDOB in the short one", { 0x41, 1, 0, 0, 0, 0, 0, 0, 1, 0 }, 0x2400 },
		{ "WRPROTECT", { 0x41, 0x20, 0, 0, 0, 0, 0, 0, 1, 0 }, 0x2400 },
		{ "behind the end", { 0x41, 0, 0, 0, 7, 255, 0, 0, 2, 0 }, 0x2100 },
		{ "an LBA that wraps", { 0x93, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2, 0, 0 }, 0x2100 },
		{ "more than the limit", { 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0 }, 0x2100 },
	};
	struct scsi_rig *b = scsi_start();
	unsigned char block[512] = { 1 };

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		scsi_run(b, rows[i].cdb, 16, block, 512, 0);
		if (b->status != VIO_SAM_CHECK_CONDITION || sense_code(b) != rows[i].code)
			fail_msg("%s: %02x %04x", rows[i].what, b->status, sense_code(b));
	}
	assert_int_equal(b->t[0]->count, 0);
	responds(b, VIO_SCSI_S_OVERRUN, CDB(0x41, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, 511, 0);
	assert_int_equal(b->residual, 511);
	scsi_close(b);
}

/* ---- VERIFY ---- */

static void verify(void **state)
{
	struct scsi_rig *b = scsi_start();
	static unsigned char data[300 * 512];

	(void)state;
	for (unsigned i = 0; i < sizeof data; i++)
		data[i] = pattern(4 * 512 + i);
	good(b, CDB(0x2f, 0, 0, 0, 0, 4, 0, 1, 44, 0), NULL, 0, 0);		/* the medium only */
	good(b, CDB(0x2f, 2, 0, 0, 0, 4, 0, 1, 44, 0), data, sizeof data, 0);
	assert_int_equal(b->residual, 0);
	good(b, CDB(0x8f, 2, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 1, 44, 0, 0), data, sizeof data, 0);
	data[200 * 512 + 77] ^= 1;
	check(b, VIO_SENSE_MISCOMPARE, 0x1d00, CDB(0xaf, 2, 0, 0, 0, 4, 0, 0, 1, 44, 0, 0), data, sizeof data, 0);
	assert_int_equal(b->sense[0], 0xf0);
	assert_int_equal(vio_be32_at(b->sense + 3), 200 * 512 + 77);
	memset(b->t[0]->bytes, 0x33, 64 * 512);
	memset(data, 0x33, 512);
	good(b, CDB(0x2f, 6, 0, 0, 0, 0, 0, 0, 64, 0), data, 512, 0);		/* one block with each */
	check(b, VIO_SENSE_MISCOMPARE, 0x1d00, CDB(0x2f, 6, 0, 0, 0, 0, 0, 0, 65, 0), data, 512, 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x2f, 4, 0, 0, 0, 0, 0, 0, 1, 0), data, 512, 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2100, CDB(0x2f, 0, 0, 0, 8, 0, 0, 0, 1, 0), NULL, 0, 0);
	responds(b, VIO_SCSI_S_OVERRUN, CDB(0x2f, 2, 0, 0, 0, 0, 0, 0, 2, 0), data, 1023, 0);
	b->t[0]->error = EIO;
	check(b, VIO_SENSE_MEDIUM_ERROR, 0x1100, CDB(0x2f, 2, 0, 0, 0, 0, 0, 0, 1, 0), data, 512, 0);
	scsi_close(b);
}

static void write_and_verify(void **state)
{
	struct scsi_rig *b = scsi_start();
	unsigned char data[1024];

	(void)state;
	memset(data, 0x5c, sizeof data);
	good(b, CDB(0x2e, 2, 0, 0, 0, 4, 0, 0, 2, 0), data, 1024, 0);
	assert_int_equal(b->t[0]->count, 2);
	assert_true(b->t[0]->asked[0].op == VIO_DISK_WRITE && b->t[0]->asked[0].durable && b->t[0]->asked[1].op == VIO_DISK_READ);
	good(b, CDB(0xae, 0, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0), data, 512, 0);
	assert_int_equal(b->t[0]->count, 3);
	good(b, CDB(0x8e, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0), data, 512, 0);
	assert_true(blocks_are(b, 4, 4, 0x5c) && blocks_are_untouched(b, 8, 8));
	responds(b, VIO_SCSI_S_OVERRUN, CDB(0x2e, 2, 0, 0, 0, 4, 0, 0, 2, 0), data, 1023, 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2100, CDB(0x2e, 2, 0, 0, 8, 0, 0, 0, 1, 0), data, 512, 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x2e, 6, 0, 0, 0, 0, 0, 0, 1, 0), data, 512, 0);
	good(b, CDB(0x1d, 4, 0, 0, 0, 0), NULL, 0, 0);			/* its own test, which it passes */
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x1d, 0x10, 0, 0, 8, 0), data, 8, 0);
	scsi_close(b);
}

/* ---- COMPARE AND WRITE ---- */

static void compare_and_write(void **state)
{
	struct scsi_rig *b = scsi_start();
	unsigned char data[1024];

	(void)state;
	memcpy(data, b->t[0]->bytes + 9 * 512, 512);
	memset(data + 512, 0x42, 512);
	good(b, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0), data, 1024, 0);
	assert_true(blocks_are(b, 9, 1, 0x42) && blocks_are_untouched(b, 10, 1));
	data[0] = 0x42;
	check(b, VIO_SENSE_MISCOMPARE, 0x1d00, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0), data, 1024, 0);
	assert_int_equal(vio_be32_at(b->sense + 3), 1);
	good(b, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0), NULL, 0, 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 129, 0, 0), data, 1024, 0);
	responds(b, VIO_SCSI_S_OVERRUN, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0), data, 1023, 0);
	scsi_close(b);
}

/* Two at once: the second sees what the first has written. */
static void one_at_a_time(void **state)
{
	struct scsi_rig *b = scsi_start();
	unsigned char data[1024];
	struct ask a[2];

	(void)state;
	memcpy(data, b->t[0]->bytes, 512);
	memset(data + 512, 0x42, 512);
	rig_rewind(b->g);
	b->t[0]->hold = true;
	for (unsigned i = 0; i < 2; i++) {
		a[i] = scsi_ask(b, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), data, 1024, 0);
		scsi_add(b, &a[i]);
	}
	assert_int_equal(b->t[0]->held_count, 1);	/* the first one's read; nobody else's */
	while (b->t[0]->held_count) {
		test_disk_do(b->t[0], b->t[0]->held[--b->t[0]->held_count]);
		vio_loop_pump(&b->g->wire, 100);
	}
	assert_ptr_equal(rig_get(b->g, REQUESTS, NULL), a[0].w);
	assert_ptr_equal(rig_get(b->g, REQUESTS, NULL), a[1].w);
	scsi_take(b, &a[0]);
	assert_int_equal(b->status, VIO_SAM_GOOD);
	scsi_take(b, &a[1]);
	assert_int_equal(b->status, VIO_SAM_CHECK_CONDITION);
	assert_int_equal(sense_key(b), VIO_SENSE_MISCOMPARE);
	scsi_close(b);
}

/* Many that want the scratch buffer and the unit, half of them aborted while they wait. */
static void those_that_wait_are_aborted(void **state)
{
	struct scsi_rig *b = scsi_start();
	unsigned char data[1024] = { 0 };
	struct ask a[12];
	unsigned n = 0;

	(void)state;
	rig_rewind(b->g);
	b->t[0]->hold = true;
	for (unsigned i = 0; i < 12; i++) {
		b->id = i;
		a[i] = i % 3 ? scsi_ask(b, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), data, 1024, 0) :
		    scsi_ask(b, CDB(0x2f, 2, 0, 0, 0, 0, 0, 0, 1, 0), data, 512, 0);
		scsi_add(b, &a[i]);
	}
	rig_reset(b->g);		/* everything ends */
	assert_int_equal(b->t[0]->channels, 0);
	rig_start(b->g, REQUESTS + 1, BITS(USUAL));
	b->t[0]->hold = false;
	scsi_settle(b);
	for (unsigned i = 0; i < 12; i++)
		n += scsi_run(b, CDB(0x2f, 2, 0, 0, 0, 0, 0, 0, 1, 0), b->t[0]->bytes, 512, 0) == VIO_SAM_GOOD;
	assert_int_equal(n, 12);
	scsi_close(b);
}

/* ---- What is told ---- */

static void lba_status(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	good(b, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 24, 0, 0), NULL, 0, 24);
	assert_memory_equal(b->in, "\0\0\0\x14\0\0\0\0" "\0\0\0\0\0\0\0\5\0\0\7\xfb\0\0\0\0", 24);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2100, CDB(0x9e, 0x12, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 24, 0, 0), NULL, 0, 24);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x9e, 0x13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 0), NULL, 0, 24);
	scsi_close(b);
}

static void limits(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	good(b, CDB(0x12, 1, 0, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in, "\0\0\0\7\0\x80\x83\x86\xb0\xb1\xb2", 11);
	good(b, CDB(0x12, 1, 0xb0, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in, "\0\xb0\0\x3c" "\1\x80\0\x08" "\0\0\xff\xff" "\0\0\0\x80" "\0\0\0\0" "\0\x10\0\0" "\0\0\0\x20"
	    "\0\0\0\x08" "\x80\0\0\0" "\0\0\0\0\0\2\0\0", 44);
	good(b, CDB(0x12, 1, 0xb1, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in, "\0\xb1\0\x3c\0\1\0\0", 8);
	good(b, CDB(0x12, 1, 0xb2, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in, "\0\xb2\0\4\0\xe0\2\0", 8);
	good(b, CDB(0x12, 1, 0x83, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in + 4, "\2\1\0\x0c" "vio     0001" "\1\3\0\x08", 20);
	assert_int_equal(b->in[24] >> 4, 3);
	assert_memory_equal(b->in + 32, "\1\x14\0\4\0\0\0\1", 8);
	scsi_close(b);
}

static void opcodes(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	good(b, CDB(0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0), NULL, 0, 4096);
	uint32_t n = vio_be32_at(b->in);
	assert_int_equal(n % 8, 0);
	assert_memory_equal(b->in + 4, "\0\0\0\0\0\0\0\6" "\x03\0\0\0\0\0\0\6" "\x08\0\0\0\0\0\0\6", 24);
	/* each of them is what the device says of it alone */
	for (uint32_t at = 4; at < 4 + n; at += 8) {
		uint8_t list[4096], d[8];
		memcpy(list, b->in, sizeof list);
		memcpy(d, list + at, 8);
		good(b, CDB(0xa3, 0x0c, (uint8_t)(d[5] & 1 ? 2 : 1), d[0], d[2], d[3], 0, 0, 1, 0, 0, 0), NULL, 0, 256);
		assert_int_equal(b->in[1], 3);
		assert_int_equal(b->in[3], d[7]);
		assert_int_equal(b->in[4], d[0]);
		assert_int_equal(b->in[3 + d[7]], d[0] == 0x43 ? 0xc4 : 4);	/* NACA is looked at */
		memcpy(b->in, list, sizeof list);
	}
	good(b, CDB(0xa3, 0x0c, 0x81, 0x28, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 0, 256);
	assert_memory_equal(b->in, "\0\x83\0\x0a" "\x28\xf8\xff\xff\xff\xff\x3f\xff\xff\4" "\0\x0a\0", 17);
	good(b, CDB(0xa3, 0x0c, 1, 0xff, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 0, 256);
	assert_int_equal(b->in[1], 1);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0xa3, 0x0c, 1, 0x9e, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 0, 256);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0xa3, 0x0c, 2, 0x28, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 0, 256);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0xa3, 0x0c, 4, 0x28, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 0, 256);
	good(b, CDB(0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0), NULL, 0, 4);
	assert_memory_equal(b->in, "\xdc\3\0\0", 4);
	good(b, CDB(0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 16, 0, 0), NULL, 0, 16);
	assert_memory_equal(b->in, "\xdc\3\0\x0c", 4);
	scsi_close(b);
}

static const struct CMUnitTest tests[] = {
	T(unmap, "UNMAP gives ranges back, all or none"),
	T(unmap_lies, "UNMAP's lists and their lies"),
	T(write_same, "WRITE SAME 10 and 16, with zeroes left to the disk"),
	T(write_same_is_judged, "WRITE SAME that can't be"),
	T(verify, "VERIFY 10, 12 and 16 with BYTCHK 0, 1 and 3"),
	T(write_and_verify, "WRITE AND VERIFY 10, 12 and 16; SEND DIAGNOSTIC"),
	T(compare_and_write, "COMPARE AND WRITE"),
	T(one_at_a_time, "COMPARE AND WRITE: the second waits for the first"),
	T(those_that_wait_are_aborted, "a reset ends those that wait for a buffer or for their turn"),
	T(lba_status, "GET LBA STATUS"),
	T(limits, "vital product data: supported pages, limits, characteristics, provisioning, identification"),
	T(opcodes, "REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS"),
};
int main(void) { return vio_tests("scsi_range", tests, sizeof tests / sizeof *tests); }
