/* A CD-ROM drive (MMC-6), its tray and its media; bytes by hand. */
#include "scsi_rig.h"

enum { CD_BLOCKS = DISK_BYTES / 2048 };

static struct scsi_rig *drive(void)
{
	struct scsi_rig *b = scsi_start();

	scsi_at(b, 4, 0);
	return b;
}

static void says_what_it_is(void **state)
{
	struct scsi_rig *b = drive();

	(void)state;
	good(b, CDB(0x12, 0, 0, 0, 36, 0), NULL, 0, 36);
	assert_memory_equal(b->in, "\x05\x80\x06\x12\x45\0\0\x02" "vio     " "cdrom           " "1   ", 36);
	good(b, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0, 8);
	assert_memory_equal(b->in, "\0\0\x01\xff\0\0\x08\0", 8);
	good(b, CDB(0x28, 0, 0, 0, 0, 3, 0, 0, 2, 0), NULL, 0, 4096);
	assert_memory_equal(b->in, b->t[3]->bytes + 3 * 2048, 4096);
	good(b, CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 2, 0x10, 0, 0), NULL, 0, 4096);
	assert_memory_equal(b->in, b->t[3]->bytes + 3 * 2048, 4096);
	good(b, CDB(0xbe, 8, 0, 0, 0, 3, 0, 0, 2, 0x10, 0, 0), NULL, 0, 4096);
	good(b, CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 2, 0, 0, 0), NULL, 0, 4096);
	assert_int_equal(b->residual, 4096);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x6400, CDB(0xbe, 4, 0, 0, 0, 3, 0, 0, 2, 0x10, 0, 0), NULL, 0, 4096);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 2, 0xf8, 0, 0), NULL, 0, 4704);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 2, 0x10, 1, 0), NULL, 0, 4704);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2100, CDB(0xbe, 0, 0, 0, 2, 0, 0, 0, 1, 0x10, 0, 0), NULL, 0, 4096);
	responds(b, VIO_SCSI_S_OVERRUN, CDB(0xbe, 0, 0, 0, 0, 3, 0, 0, 2, 0x10, 0, 0), NULL, 0, 4095);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2000, CDB(0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0), b->in, 2048, 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2000, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0), b->in, 24, 0);
	assert_true(b->t[3]->count == 3);
	scsi_close(b);
}

static void toc(void **state)
{
	struct scsi_rig *b = drive();

	(void)state;
	good(b, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 100, 0), NULL, 0, 100);
	assert_memory_equal(b->in, "\0\x12\1\1" "\0\x14\1\0\0\0\0\0" "\0\x14\xaa\0\0\0\2\0", 20);
	good(b, CDB(0x43, 2, 0, 0, 0, 0, 0xaa, 0, 100, 0), NULL, 0, 100);
	assert_memory_equal(b->in, "\0\x0a\1\1" "\0\x14\xaa\0\0\0\x08\x3e", 12);	/* 512 + 150 frames: 8 s 62 */
	good(b, CDB(0x43, 0, 1, 0, 0, 0, 0, 0, 12, 0), NULL, 0, 12);
	assert_memory_equal(b->in, "\0\x0a\1\1" "\0\x14\1\0\0\0\0\0", 12);
	good(b, CDB(0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40), NULL, 0, 12);		/* as it was asked for of old */
	assert_memory_equal(b->in, "\0\x0a\1\1", 4);
	good(b, CDB(0x43, 2, 2, 0, 0, 0, 0, 0, 100, 0), NULL, 0, 100);
	assert_memory_equal(b->in, "\0\x2e\1\1" "\1\x14\0\xa0\0\0\0\0\1\0\0" "\1\x14\0\xa1\0\0\0\0\1\0\0" "\1\x14\0\xa2\0\0\0\0\0\x08\x3e"
	    "\1\x14\0\1\0\0\0\0\0\2\0", 48);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x43, 0, 5, 0, 0, 0, 0, 0, 100, 0), NULL, 0, 100);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x43, 0, 0, 0, 0, 0, 2, 0, 100, 0), NULL, 0, 100);
	scsi_close(b);
}

static void drive_and_disc(void **state)
{
	struct scsi_rig *b = drive();

	(void)state;
	good(b, CDB(0x46, 0, 0, 0, 0, 0, 0, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in + 4, "\0\0\0\x08" "\0\0\3\x08" "\0\x10\0\0\0\x08\1\0" "\0\1\x0b\x08\0\0\0\1\1\0\0\0", 28);
	assert_int_equal(vio_be32_at(b->in), 255 - b->residual - 4);
	good(b, CDB(0x46, 2, 0, 0x1e, 0, 0, 0, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in, "\0\0\0\x0c\0\0\0\x08" "\0\x1e\x09\4\0\0\0\0", 16);
	good(b, CDB(0x46, 2, 0, 0x77, 0, 0, 0, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in, "\0\0\0\4", 4);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x46, 3, 0, 0, 0, 0, 0, 0, 255, 0), NULL, 0, 255);
	good(b, CDB(0x51, 0, 0, 0, 0, 0, 0, 0, 34, 0), NULL, 0, 34);
	assert_memory_equal(b->in, "\0\x20\x0e\1\1\1\1\x20\0", 9);
	good(b, CDB(0x52, 1, 0, 0, 0, 1, 0, 0, 36, 0), NULL, 0, 36);
	assert_memory_equal(b->in, "\0\x22\1\1\0\4\1\0", 8);
	assert_memory_equal(b->in + 24, "\0\0\2\0", 4);
	good(b, CDB(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0), NULL, 0, 8);
	assert_memory_equal(b->in, "\0\0\0\0\0\1\0\0", 8);
	good(b, CDB(0xbb, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0, 0);
	good(b, CDB(0x2b, 0, 0, 0, 0, 5, 0, 0, 0, 0), NULL, 0, 0);
	good(b, CDB(0x5a, 8, 0x2a, 0, 0, 0, 0, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in, "\0\x1c\0\0\0\0\0\0" "\x2a\x14\x3b\0\x70\0\x29\0", 16);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4, 0, 0), NULL, 0, 2052);	/* no DVD */
	scsi_close(b);
}

/* ---- The tray ---- */

static void media_event(struct scsi_rig *b, uint8_t event, uint8_t is)
{
	good(b, CDB(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0), NULL, 0, 8);
	assert_memory_equal(b->in, "\0\4\4\x10", 4);
	assert_int_equal(b->in[4], event);
	assert_int_equal(b->in[5], is);
}

static void tray(void **state)
{
	struct scsi_rig *b = drive();

	(void)state;
	media_event(b, 0, 2);
	good(b, CDB(0x1e, 0, 0, 0, 1, 0), NULL, 0, 0);			/* locked */
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x5302, CDB(0x1b, 0, 0, 0, 2, 0), NULL, 0, 0);
	good(b, CDB(0x1e, 0, 0, 0, 0, 0), NULL, 0, 0);
	good(b, CDB(0x1b, 0, 0, 0, 2, 0), NULL, 0, 0);
	media_event(b, 3, 1);
	check(b, VIO_SENSE_NOT_READY, 0x3a02, TUR);
	check(b, VIO_SENSE_NOT_READY, 0x3a02, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 2048);
	good(b, CDB(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0), NULL, 0, 8);
	assert_int_equal(b->in[1], 0x10);
	good(b, CDB(0x46, 0, 0, 0, 0, 0, 0, 0, 8, 0), NULL, 0, 8);
	assert_memory_equal(b->in + 6, "\0\0", 2);
	good(b, CDB(0x1b, 0, 0, 0, 3, 0), NULL, 0, 0);
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2800, TUR);
	media_event(b, 2, 2);
	good(b, TUR);
	good(b, CDB(0x4a, 1, 0, 0, 4, 0, 0, 0, 8, 0), NULL, 0, 8);		/* a class there is not */
	assert_memory_equal(b->in, "\0\0\x80\x10", 4);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8, 0), NULL, 0, 8);
	/* stopped, and started again */
	good(b, CDB(0x1b, 0, 0, 0, 0, 0), NULL, 0, 0);
	check(b, VIO_SENSE_NOT_READY, 0x0402, TUR);
	good(b, CDB(0x03, 0, 0, 0, 18, 0), NULL, 0, 18);
	assert_memory_equal(b->in, "\x70\0\2\0\0\0\0\x0a\0\0\0\0\4\2", 14);
	good(b, CDB(0x1b, 0, 0, 0, 1, 0), NULL, 0, 0);
	good(b, TUR);
	scsi_at(b, 0, 0);		/* a disk has neither tray nor lock, and writes what it has before it stops */
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2000, CDB(0x1e, 0, 0, 0, 1, 0), NULL, 0, 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x1b, 0, 0, 0, 2, 0), NULL, 0, 0);
	good(b, CDB(0x1b, 0, 0, 0, 0, 0), NULL, 0, 0);
	assert_int_equal(b->t[0]->asked[b->t[0]->count - 1].op, VIO_DISK_FLUSH);
	check(b, VIO_SENSE_NOT_READY, 0x0402, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
	scsi_close(b);
}

static void count(void *arg) { ++*(unsigned *)arg; }

static void media_change(void **state)
{
	struct scsi_rig *b = drive();
	struct test_disk *other = test_disk_new(DISK_BYTES / 2);
	unsigned changed = 0;

	(void)state;
	good(b, CDB(0x1e, 0, 0, 0, 1, 0), NULL, 0, 0);
	assert_non_null(strstr(vio_scsi_dev_change_medium(b->g->dev, 4, 0, &other->disk, false, count, &changed), "locked"));
	media_event(b, 1, 2);		/* the guest is asked for it */
	b->t[3]->hold = true;
	rig_rewind(b->g);
	struct ask a = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 2048);
	scsi_add(b, &a);
	assert_null(vio_scsi_dev_change_medium(b->g->dev, 4, 0, &other->disk, true, count, &changed));
	vio_loop_pump(&b->g->wire, 100);
	assert_int_equal(changed, 0);			/* what reads it may go on */
	test_disk_release(b->t[3]);
	vio_loop_pump(&b->g->wire, 100);
	assert_int_equal(changed, 1);
	assert_int_equal(b->t[3]->channels, 0);
	assert_ptr_equal(rig_get(b->g, REQUESTS, NULL), a.w);
	scsi_take(b, &a);
	assert_int_equal(b->status, VIO_SAM_GOOD);
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2800, TUR);
	media_event(b, 2, 2);
	good(b, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0, 8);
	assert_memory_equal(b->in, "\0\0\0\xff\0\0\x08\0", 8);
	good(b, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0), NULL, 0, 2048);
	assert_memory_equal(b->in, other->bytes + 2048, 2048);
	assert_null(vio_scsi_dev_change_medium(b->g->dev, 4, 0, NULL, false, count, &changed));
	vio_loop_pump(&b->g->wire, 100);
	assert_int_equal(changed, 2);
	check(b, VIO_SENSE_NOT_READY, 0x3a01, TUR);
	other->disk.ops->close(&other->disk);
	assert_non_null(vio_scsi_dev_change_medium(b->g->dev, 0, 0, NULL, true, NULL, NULL));	/* a disk that is fixed */
	scsi_close(b);
}

/* An image that is larger than any CD, behind a disk that has no bytes. */
static void dvd(void **state)
{
	struct scsi_rig *b = scsi_new();

	(void)state;
	b->t[3]->disk.size = UINT64_C(4) << 30;
	scsi_begin(b, BITS(USUAL));
	scsi_settle(b);
	scsi_at(b, 4, 0);
	good(b, CDB(0x46, 1, 0, 0, 0, 0, 0, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in + 6, "\0\x10" "\0\0\3\x08" "\0\x10\1\0\0\x08\0\0", 14);
	good(b, CDB(0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4, 0, 0), NULL, 0, 2052);
	assert_memory_equal(b->in, "\x08\x02\0\0" "\1\x0f\1\0\0\3\0\0\0\x22\xff\xff", 16);
	good(b, CDB(0xad, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0), NULL, 0, 8);
	assert_memory_equal(b->in, "\0\6\0\0\0\0\0\0", 8);
	b->t[3]->disk.size = DISK_BYTES;
	scsi_close(b);
}

static const struct CMUnitTest tests[] = {
	T(says_what_it_is, "a CD-ROM drive is read in blocks of 2048 bytes, and not written"),
	T(toc, "READ TOC in three formats, by block and by minute"),
	T(drive_and_disc, "GET CONFIGURATION, READ DISC and TRACK INFORMATION, MECHANISM STATUS, mode page 2A"),
	T(tray, "eject, load, lock, stop, and the events of the medium"),
	T(media_change, "the operator changes the medium when the guest lets him, or by force"),
	T(dvd, "an image larger than a CD is a DVD"),
};
int main(void) { return vio_tests("scsi_mmc", tests, sizeof tests / sizeof *tests); }
