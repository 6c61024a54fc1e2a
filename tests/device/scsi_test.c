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

/* ---- Mode pages ---- */

static void modes(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	good(b, CDB(0x1a, 0, 0x08, 0, 255, 0), NULL, 0, 255);	/* caching: with a block descriptor, WCE on */
	assert_memory_equal(b->in, "\x1f\0\x10\x08" "\0\0\x08\0\0\0\x02\0" "\x08\x12\x04", 15);
	assert_int_equal(b->residual, 255 - 32);
	good(b, CDB(0x1a, 8, 0x48, 0, 255, 0), NULL, 0, 255);	/* what can be changed */
	assert_memory_equal(b->in, "\x17\0\x10\0" "\x08\x12\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
	good(b, CDB(0x5a, 8, 0x0a, 0, 0, 0, 0, 0, 255, 0), NULL, 0, 255);
	assert_memory_equal(b->in, "\0\x12\0\x10\0\0\0\0" "\x0a\x0a\0\x10\0\0\0\0\xff\xff\0\0", 20);
	good(b, CDB(0x1a, 8, 0x3f, 0, 255, 0), NULL, 0, 255);
	assert_int_equal(b->in[0], 3 + 12 + 20 + 12 + 12);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x3900, CDB(0x1a, 8, 0xc8, 0, 255, 0), NULL, 0, 255);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x1a, 8, 0x02, 0, 255, 0), NULL, 0, 255);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x1a, 8, 0x08, 1, 255, 0), NULL, 0, 255);
	scsi_close(b);
}

static const uint8_t no_cache[24] = { 0, 0, 0, 0, 0x08, 0x12, 0 };

static void modes_are_selected(void **state)
{
	struct scsi_rig *b = scsi_start();
	uint8_t page[24] = { 0 };
	unsigned char block[512] = { 0 };

	(void)state;
	good(b, CDB(0x15, 0x10, 0, 0, 24, 0), no_cache, 24, 0);
	assert_int_equal(b->t[0]->asked[0].op, VIO_DISK_FLUSH);		/* nothing is left in a cache that is off */
	good(b, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, 512, 0);
	assert_true(b->t[0]->asked[1].durable);
	good(b, CDB(0x1a, 8, 0x88, 0, 255, 0), NULL, 0, 255);		/* the default stays */
	assert_int_equal(b->in[6], 4);
	memcpy(page, no_cache, sizeof page);
	page[6] = 5;			/* RCD can't be */
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2600, CDB(0x15, 0x10, 0, 0, 24, 0), page, 24, 0);
	assert_memory_equal(b->sense + 15, "\x88\0\x06", 3);
	good(b, CDB(0x1a, 8, 0x08, 0, 255, 0), NULL, 0, 255);
	assert_int_equal(b->in[6], 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x15, 0x11, 0, 0, 24, 0), no_cache, 24, 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x1a00, CDB(0x15, 0x10, 0, 0, 23, 0), no_cache, 24, 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x1a00, CDB(0x15, 0x10, 0, 0, 3, 0), no_cache, 24, 0);
	responds(b, VIO_SCSI_S_OVERRUN, CDB(0x15, 0x10, 0, 0, 24, 0), no_cache, 23, 0);
	/* descriptor sense, then software write protection */
	good(b, CDB(0x55, 0x10, 0, 0, 0, 0, 0, 0, 20, 0), "\0\0\0\0\0\0\0\0" "\x0a\x0a\x04\x10\x08\0\0\0\xff\xff\0\0", 20, 0);
	check(b, VIO_SENSE_DATA_PROTECT, 0x2700, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, 512, 0);
	assert_memory_equal(b->sense, "\x72\x07\x27\0\0\0\0\0", 8);
	assert_int_equal(b->sense_len, 8);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2100, CDB(0x28, 0, 0, 0, 8, 0, 0, 0, 1, 0), NULL, 0, 512);
	assert_memory_equal(b->sense, "\x72\x05\x21\0\0\0\0\x0c" "\0\x0a\x80\0\0\0\0\0\0\0\x08\0", 20);
	good(b, CDB(0x1a, 8, 0x08, 0, 255, 0), NULL, 0, 255);
	assert_int_equal(b->in[2], 0x90);
	scsi_close(b);
}

/* ---- Task management ---- */

static uint8_t tmf(struct scsi_rig *b, uint32_t subtype, uint64_t id)
{
	uint8_t *r = rig_take(b->g, 24), *w = rig_take(b->g, 1);
	uint32_t used, type = 0;

	memcpy(r, &type, 4);
	memcpy(r + 4, &subtype, 4);
	memcpy(r + 8, b->lun, 8);
	memcpy(r + 16, &id, 8);
	*w = FILL;
	assert_true(rig_add(b->g, CONTROL, r, 24, 0, w, 1, 0));
	rig_kick(b->g, CONTROL);
	if (!rig_get(b->g, CONTROL, &used))
		return 0xff;
	assert_int_equal(used, 1);
	return *w;
}

static void tasks_are_aborted(void **state)
{
	struct scsi_rig *b = scsi_start();
	struct ask a[2];

	(void)state;
	rig_rewind(b->g);
	b->t[0]->hold = true;
	for (unsigned i = 0; i < 2; i++) {
		b->id = 100 + i;
		a[i] = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
		scsi_add(b, &a[i]);
	}
	assert_int_equal(tmf(b, VIO_SCSI_T_TMF_QUERY_TASK, 100), VIO_SCSI_S_FUNCTION_SUCCEEDED);
	assert_int_equal(tmf(b, VIO_SCSI_T_TMF_QUERY_TASK, 99), VIO_SCSI_S_FUNCTION_COMPLETE);
	assert_int_equal(tmf(b, VIO_SCSI_T_TMF_QUERY_TASK_SET, 0), VIO_SCSI_S_FUNCTION_SUCCEEDED);
	assert_int_equal(tmf(b, VIO_SCSI_T_TMF_ABORT_TASK, 100), VIO_SCSI_S_FUNCTION_COMPLETE);
	assert_ptr_equal(rig_get(b->g, REQUESTS, NULL), a[0].w);
	scsi_take(b, &a[0]);
	assert_int_equal(b->response, VIO_SCSI_S_ABORTED);
	assert_null(rig_get(b->g, REQUESTS, NULL));
	assert_int_equal(tmf(b, VIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0), VIO_SCSI_S_FUNCTION_COMPLETE);
	assert_ptr_equal(rig_get(b->g, REQUESTS, NULL), a[1].w);
	scsi_take(b, &a[1]);
	assert_int_equal(b->response, VIO_SCSI_S_RESET);
	b->t[0]->hold = false;
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2903, TUR);
	good(b, TUR);
	scsi_close(b);
}

static void a_function_waits_for_the_last(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	rig_rewind(b->g);
	b->t[0]->hold = b->t[0]->stubborn = true;
	struct ask a = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
	scsi_add(b, &a);
	assert_int_equal(tmf(b, VIO_SCSI_T_TMF_ABORT_TASK_SET, 0), 0xff);
	assert_null(rig_get(b->g, REQUESTS, NULL));
	test_disk_release(b->t[0]);
	vio_loop_pump(&b->g->wire, 100);
	assert_ptr_equal(rig_get(b->g, REQUESTS, NULL), a.w);
	assert_non_null(rig_get(b->g, CONTROL, NULL));
	scsi_take(b, &a);
	assert_int_equal(b->response, VIO_SCSI_S_ABORTED);
	scsi_close(b);
}

static const struct CMUnitTest tests[] = {
	T(modes, "mode pages: current, changeable, default; saved ones are refused"),
	T(modes_are_selected, "MODE SELECT changes what can be changed, all of it or nothing"),
	T(tasks_are_aborted, "task management finds, aborts, resets {scsi-dev-6c scsi-dev-6e; only us}"),
	T(a_function_waits_for_the_last, "a function is answered when what it aborted has ended"),
	T(framing_is_free, "a driver may cut a request as it likes, in both ring formats"),
	T(every_length_of_cdb, "READ and WRITE of 6, 10, 12 and 16 bytes move the same blocks {scsi-dev-5 scsi-dev-6a; only us}"),
	T(units_are_found, "REPORT LUNS and INQUIRY find what is there; nobody's target is a BAD_TARGET {scsi-dev-6d; only us}"),
	T(inquiry, "INQUIRY and its pages, byte by byte"),
	T(capacity, "READ CAPACITY 10 and 16"),
};
int main(void) { return vio_tests("scsi", tests, sizeof tests / sizeof *tests); }
