/* The SCSI device (virtio 1.4, section 5.6), as an initiator sees it; bytes by hand from SPC-4 and SBC-3. */
#include "scsi_rig.h"

/* ---- Reading and writing ---- */

static void framing_is_free(void **state)
{
	static const size_t cuts[] = { 0, 1, 19, 51, 52, 108, 511 };
	const struct vio_features shapes[] = { BITS(USUAL), BITS(USUAL, VIO_F_RING_PACKED), BITS(USUAL, SPLIT_FULL),
		BITS(USUAL, PACKED_FULL) };

	(void)state;
	for (unsigned shape = 0; shape < 4; shape++) {
		struct scsi_rig *b = scsi_new();
		b->g->mem.clip = shape & 1;
		scsi_begin(b, shapes[shape]);
		scsi_settle(b);
		for (unsigned i = 0; i < sizeof cuts / sizeof *cuts; i++) {
			unsigned char block[512];
			memset(block, (int)(0x30 + i), sizeof block);
			b->r_cut = cuts[i] == 1 && shape < 2 ? 19 : cuts[i];	/* as many buffers as a queue has places, and no more */
			b->w_cut = cuts[i] == 1 ? 12 : cuts[i];
			if (b->r_cut == 1)
				b->r_cut = 16;
			good(b, CDB(0x2a, 0, 0, 0, 0, 5, 0, 0, 1, 0), block, 512, 0);
			assert_int_equal(b->residual, 0);
			assert_int_equal(b->used, 12 + 96);
			good(b, CDB(0x28, 0, 0, 0, 0, 5, 0, 0, 1, 0), NULL, 0, 512);
			assert_int_equal(b->used, 12 + 96 + 512);
			assert_memory_equal(b->in, block, 512);
			assert_memory_equal(b->t[0]->bytes + 5 * 512, block, 512);
		}
		for (uint64_t i = 0; i < DISK_BYTES; i++)
			assert_true(i / 512 == 5 || b->t[0]->bytes[i] == pattern(i));
		scsi_close(b);
	}
}

static void every_length_of_cdb(void **state)
{
	struct scsi_rig *b = scsi_start();
	unsigned char block[1024];

	(void)state;
	memset(block, 0x11, sizeof block);
	good(b, CDB(0x0a, 0, 0, 7, 2, 0), block, 1024, 0);
	good(b, CDB(0x08, 0, 0, 7, 1, 0), NULL, 0, 512);
	assert_memory_equal(b->in, block, 512);
	good(b, CDB(0xaa, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0), block, 1024, 0);
	good(b, CDB(0xa8, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0), NULL, 0, 1024);
	assert_memory_equal(b->in, block, 1024);
	good(b, CDB(0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 2, 0, 0), block, 1024, 0);
	good(b, CDB(0x88, 0, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 2, 0, 0), NULL, 0, 1024);
	assert_memory_equal(b->in, block, 1024);
	good(b, CDB(0x08, 0, 0, 0, 0, 0), NULL, 0, 256 * 512);		/* 0 blocks are 256 in the short one */
	assert_int_equal(b->residual, 0);
	good(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0, 0);	/* and none in the others */
	scsi_close(b);
}

/* ---- What is there ---- */

static void units_are_found(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	good(b, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 0, 256);
	assert_memory_equal(b->in, "\0\0\0\x10\0\0\0\0" "\0\0\0\0\0\0\0\0" "\0\5\0\0\0\0\0\0", 24);
	assert_int_equal(b->residual, 256 - 24);
	scsi_at(b, 3, 0);		/* a target without LUN 0 answers all the same */
	good(b, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 0, 256);
	assert_memory_equal(b->in, "\0\0\0\x08\0\0\0\0" "\x41\x2c\0\0\0\0\0\0", 16);
	good(b, CDB(0x12, 0, 0, 0, 36, 0), NULL, 0, 36);
	assert_int_equal(b->in[0], 0x7f);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2500, TUR);
	scsi_at(b, 1, 0);
	responds(b, VIO_SCSI_S_BAD_TARGET, TUR);
	scsi_close(b);
}

static void inquiry(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	good(b, CDB(0x12, 0, 0, 0, 36, 0), NULL, 0, 36);
	assert_memory_equal(b->in, "\0\0\x06\x12\x45\0\0\x02" "vio     " "disk            " "1   ", 36);
	good(b, CDB(0x12, 1, 0x80, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in, "\0\x80\0\x04" "0001", 8);
	assert_int_equal(b->residual, 255 - 8);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x12, 1, 0x7f, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->sense + 15, "\xc0\0\2", 3);
	scsi_close(b);
}

static void capacity(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	good(b, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0, 8);
	assert_memory_equal(b->in, "\0\0\x07\xff\0\0\x02\0", 8);
	good(b, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), NULL, 0, 32);
	assert_memory_equal(b->in, "\0\0\0\0\0\0\x07\xff\0\0\x02\0\0\x03\x80\0", 16);
	scsi_close(b);
}

static const struct CMUnitTest tests[] = {
	T(framing_is_free, "a driver may cut a request as it likes, in both ring formats"),
	T(every_length_of_cdb, "READ and WRITE of 6, 10, 12 and 16 bytes move the same blocks {scsi-dev-5 scsi-dev-6a; only us}"),
	T(units_are_found, "REPORT LUNS and INQUIRY find what is there; nobody's target is a BAD_TARGET {scsi-dev-6d; only us}"),
	T(inquiry, "INQUIRY and its pages, byte by byte"),
	T(capacity, "READ CAPACITY 10 and 16"),
};
int main(void) { return vio_tests("scsi", tests, sizeof tests / sizeof *tests); }
