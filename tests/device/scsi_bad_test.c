/*
 * What a hostile driver can ask of the SCSI device (class D3).  The disks assert that they are asked for what they have; after each
 * row a neighbour is served, and a reset heals.
 */
#include <pthread.h>
#include "scsi_rig.h"

static void neighbour_is_served(struct scsi_rig *b)
{
	uint8_t lun[8];

	memcpy(lun, b->lun, 8);
	scsi_at(b, 0, 5);
	good(b, CDB(0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0), NULL, 0, 512);
	assert_memory_equal(b->in, b->t[1]->bytes + 3 * 512, 512);
	memcpy(b->lun, lun, 8);
}

/* ---- Chains that are no requests ---- */

enum { SILENT = -1 };
struct frame {
	const char *what;
	size_t r, w;			/* bytes that can be read and written */
	int response;			/* SILENT: comes back with length 0 */
	uint32_t cdb_size, sense_size;
};
static const struct frame frames[] = {
	{ "nothing writable", 51, 0, SILENT, 32, 96 },
	{ "a byte for the answer", 51, 1, SILENT, 32, 96 },
	{ "an answer without sense data", 51, 12, SILENT, 32, 96 },
	{ "a byte of sense data missing", 51, 107, SILENT, 32, 96 },
	{ "nothing readable", 0, 108, VIO_SCSI_S_FAILURE, 32, 96 },
	{ "18 bytes of header", 18, 108, VIO_SCSI_S_FAILURE, 32, 96 },
	{ "a header without CDB", 19, 108, VIO_SCSI_S_FAILURE, 32, 96 },
	{ "a byte of the CDB missing", 50, 108, VIO_SCSI_S_FAILURE, 32, 96 },
	{ "a CDB of 4 GiB", 51, 108, VIO_SCSI_S_FAILURE, UINT32_MAX, 96 },
	{ "sense data of 4 GiB", 51, 108, SILENT, 32, UINT32_MAX },
	{ "sense data that wraps with the answer", 51, 108, SILENT, 32, UINT32_MAX - 11 },
	{ "no CDB at all", 19, 108, VIO_SCSI_S_FAILURE, 0, 96 },
};

static void set_sizes(struct scsi_rig *b, uint32_t sense, uint32_t cdb)
{
	vio_le32 wire[2] = { vio_le32_of(sense), vio_le32_of(cdb) };

	assert_true(b->g->wire.port.ops->config_write(&b->g->wire.port, offsetof(struct vio_scsi_config, sense_size), wire, sizeof wire));
}

static void frames_are_judged(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	for (unsigned i = 0; i < sizeof frames / sizeof *frames; i++) {
		const struct frame *f = &frames[i];
		uint64_t before = rig_refused(b->g, REQUESTS);
		set_sizes(b, f->sense_size, f->cdb_size);
		rig_rewind(b->g);
		unsigned char *r = rig_take(b->g, 64), *w = rig_take(b->g, 256);
		memset(r, 0, 64);
		r[0] = 1;
		memset(w, FILL, 256);
		assert_true(rig_add(b->g, REQUESTS, f->r ? r : NULL, f->r, 0, f->w ? w : NULL, f->w, 0));
		rig_kick(b->g, REQUESTS);
		assert_ptr_equal(rig_get(b->g, REQUESTS, &b->used), f->w ? w : r);
		if (f->response == SILENT ? b->used != 0 || (f->w && w[0] != FILL) : w[11] != f->response || b->used < 12)
			fail_msg("%s: %u bytes, response %u", f->what, b->used, w[11]);
		assert_int_equal(rig_refused(b->g, REQUESTS), before + 1);
		set_sizes(b, 96, 32);
		neighbour_is_served(b);
	}
	rig_reset(b->g);
	rig_start(b->g, REQUESTS + 1, BITS(USUAL));
	scsi_settle(b);
	neighbour_is_served(b);
	scsi_close(b);
}

/* ---- Addresses ---- */

static void addresses(void **state)
{
	static const struct { const char *what; uint8_t lun[8]; int response; unsigned code; } rows[] = {
		{ "zeroes", { 0 }, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "format 2", { 2, 0, 0x40, 0 }, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "no such target", { 1, 99, 0x40, 0 }, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "no such unit", { 1, 0, 0x40, 1 }, VIO_SCSI_S_OK, 0x2500 },
		{ "the last unit there could be", { 1, 0, 0x7f, 0xff }, VIO_SCSI_S_OK, 0x2500 },
		{ "bus 1", { 1, 0, 0x01, 0 }, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "logical unit addressing", { 1, 0, 0x80, 0 }, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "extended addressing", { 1, 0, 0xd2, 0 }, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "a second level", { 1, 0, 0x40, 0, 0x40, 0 }, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "something in the last byte", { 1, 0, 0x40, 0, 0, 0, 0, 1 }, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "a well-known unit that is not there", { 1, 0, 0xc1, 2 }, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "the well-known unit, asked what it has not", { 1, 0, 0xc1, 1 }, VIO_SCSI_S_OK, 0x2000 },
		{ "ones", { 255, 255, 255, 255, 255, 255, 255, 255 }, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "peripheral addressing", { 1, 0, 0, 5 }, VIO_SCSI_S_OK, 0 },
	};
	struct scsi_rig *b = scsi_start();

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		memcpy(b->lun, rows[i].lun, 8);
		scsi_run(b, TUR);
		if (b->response != rows[i].response || (rows[i].code && sense_code(b) != rows[i].code) || (!rows[i].code && b->status))
			fail_msg("%s: %u %u %04x", rows[i].what, b->response, b->status, sense_code(b));
		neighbour_is_served(b);
	}
	memcpy(b->lun, "\1\0\xc1\1\0\0\0\0", 8);
	good(b, CDB(0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 32, 0, 0), NULL, 0, 32);
	assert_memory_equal(b->in, "\0\0\0\x08\0\0\0\0\xc1\1\0\0\0\0\0\0", 16);
	good(b, CDB(0x12, 0, 0, 0, 36, 0), NULL, 0, 36);
	assert_int_equal(b->in[0], VIO_SCSI_WELL_KNOWN);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 32, 0, 0), NULL, 0, 32);
	scsi_close(b);
}

/* ---- Requests ---- */

struct bad { const char *what; uint8_t cdb[16]; size_t out, in; int response; unsigned key, code; uint32_t residual; };
#define R_OK VIO_SCSI_S_OK, VIO_SENSE_ILLEGAL_REQUEST
#define R_OVER VIO_SCSI_S_OVERRUN, 0, 0
static const struct bad bad[] = {
	{ "read of the block behind the last", { 0x28, 0, 0, 0, 8, 0, 0, 0, 1 }, 0, 512, R_OK, 0x2100, 512 },
	{ "read across the end", { 0x28, 0, 0, 0, 7, 255, 0, 0, 2 }, 0, 1024, R_OK, 0x2100, 1024 },
	{ "read of the last block there could be", { 0x28, 0, 255, 255, 255, 255, 0, 0, 1 }, 0, 512, R_OK, 0x2100, 512 },
	{ "read where LBA * 512 wraps to 0", { 0x88, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 0, 512, R_OK, 0x2100, 512 },
	{ "read whose end wraps", { 0x88, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 2 }, 0, 1024, R_OK, 0x2100, 1024 },
	{ "read of 4 G blocks", { 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255 }, 0, 512, R_OK, 0x2100, 512 },
	{ "read of nothing behind the end", { 0x28, 0, 0, 0, 8, 1 }, 0, 0, R_OK, 0x2100, 0 },
	{ "write of the block behind the last", { 0x2a, 0, 0, 0, 8, 0, 0, 0, 1 }, 512, 0, R_OK, 0x2100, 512 },
	{ "write of 12 bytes' CDB across the end", { 0xaa, 0, 0, 0, 7, 255, 0, 0, 0, 2 }, 1024, 0, R_OK, 0x2100, 1024 },
	{ "read with less room", { 0x28, 0, 0, 0, 0, 0, 0, 0, 2 }, 0, 1023, R_OVER, 1023 },
	{ "read with no room", { 0x28, 0, 0, 0, 0, 0, 0, 0, 2 }, 0, 0, R_OVER, 0 },
	{ "read with the room on the other side", { 0x28, 0, 0, 0, 0, 0, 0, 0, 2 }, 1024, 0, R_OVER, 1024 },
	{ "write with less data", { 0x2a, 0, 0, 0, 0, 0, 0, 0, 2 }, 1023, 0, R_OVER, 1023 },
	{ "write with no data", { 0x2a, 0, 0, 0, 0, 0, 0, 0, 2 }, 0, 0, R_OVER, 0 },
	{ "write with the data on the other side", { 0x2a, 0, 0, 0, 0, 0, 0, 0, 2 }, 0, 1024, R_OVER, 1024 },
	{ "short write of 256 blocks with one", { 0x0a, 0, 0, 0, 0 }, 512, 0, R_OVER, 512 },
	{ "RDPROTECT", { 0x28, 0x20, 0, 0, 0, 0, 0, 0, 1 }, 0, 512, R_OK, 0x2400, 512 },
	{ "WRPROTECT 7", { 0x8a, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 512, 0, R_OK, 0x2400, 512 },
	{ "NACA", { 0x28, 0, 0, 0, 0, 0, 0, 0, 1, 4 }, 0, 512, R_OK, 0x2400, 512 },
	{ "INQUIRY into no room", { 0x12, 0, 0, 0, 36 }, 0, 0, R_OVER, 0 },
	{ "INQUIRY into 35 bytes", { 0x12, 0, 0, 0, 36 }, 0, 35, R_OVER, 35 },
	{ "INQUIRY of 64 KiB into 74 bytes", { 0x12, 0, 0, 255, 255 }, 0, 74, VIO_SCSI_S_OK, 0, 0, 0 },
	{ "INQUIRY of nothing", { 0x12, 0, 0, 0, 0 }, 0, 36, VIO_SCSI_S_OK, 0, 0, 36 },
	{ "INQUIRY with CMDDT", { 0x12, 2, 0, 0, 36 }, 0, 36, R_OK, 0x2400, 36 },
	{ "a page without EVPD", { 0x12, 0, 0x80, 0, 36 }, 0, 36, R_OK, 0x2400, 36 },
	{ "REPORT LUNS of 4 GiB", { 0xa0, 0, 0, 0, 0, 0, 255, 255, 255, 255 }, 0, 24, VIO_SCSI_S_OK, 0, 0, 0 },
	{ "REPORT LUNS of 4 GiB into 23 bytes", { 0xa0, 0, 0, 0, 0, 0, 255, 255, 255, 255 }, 0, 23, R_OVER, 23 },
	{ "MODE SENSE into one byte", { 0x1a, 8, 0x3f, 0, 255 }, 0, 1, R_OVER, 1 },
	{ "MODE SELECT of 64 KiB", { 0x55, 0x10, 0, 0, 0, 0, 0, 255, 255 }, 65535, 0, R_OK, 0x1a00, 65535 },
	{ "MODE SELECT without PF", { 0x15, 0, 0, 0, 4 }, 4, 0, R_OK, 0x2400, 4 },
	{ "READ CAPACITY into 7 bytes", { 0x25 }, 0, 7, R_OVER, 7 },
	{ "LOG SENSE of another page", { 0x4d, 0, 0x0d, 0, 0, 0, 0, 0, 255 }, 0, 255, R_OK, 0x2400, 255 },
	{ "LOG SENSE with SP", { 0x4d, 1, 0, 0, 0, 0, 0, 0, 255 }, 0, 255, R_OK, 0x2400, 255 },
	{ "VERIFY with less data", { 0x2f, 2, 0, 0, 0, 0, 0, 0, 2 }, 1023, 0, R_OVER, 1023 },
	{ "WRITE SAME with half a block", { 0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9 }, 256, 0, R_OVER, 256 },
	{ "COMPARE AND WRITE with half its data", { 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 512, 0, R_OVER, 512 },
	{ "a CDB of variable length", { 0x7f, 0, 0, 0, 0, 0, 0, 24 }, 0, 0, R_OK, 0x2000, 0 },
	{ "a vendor's CDB", { 0xc0 }, 0, 0, R_OK, 0x2000, 0 },
	{ "a CD-ROM's command", { 0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0x10 }, 0, 2048, R_OK, 0x2000, 2048 },
};

static void each_row_is_refused(void **state)
{
	static unsigned char data[1 << 16];
	struct scsi_rig *b = scsi_start();

	(void)state;
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		const struct bad *x = &bad[i];
		uint64_t before = rig_refused(b->g, REQUESTS);
		scsi_run(b, x->cdb, 16, data, x->out, x->in);
		bool as_told = b->response == x->response && b->residual == x->residual &&
		    (x->code ? b->status == VIO_SAM_CHECK_CONDITION && sense_key(b) == x->key && sense_code(b) == x->code : !b->status);
		if (!as_told)
			fail_msg("%s: response %u, status %u, %x %04x, residual %u", x->what, b->response, b->status, sense_key(b), sense_code(b),
			    b->residual);
		assert_int_equal(rig_refused(b->g, REQUESTS), before + (x->response == VIO_SCSI_S_OVERRUN));
		assert_int_equal(b->t[0]->count, 0);
		neighbour_is_served(b);
	}
	for (uint64_t i = 0; i < DISK_BYTES; i++)
		assert_true(b->t[0]->bytes[i] == pattern(i));
	rig_reset(b->g);
	rig_start(b->g, REQUESTS + 1, BITS(USUAL));
	scsi_settle(b);
	neighbour_is_served(b);
	scsi_close(b);
}

/* Data both ways is for those who have negotiated it. */
static void both_ways(void **state)
{
	unsigned char block[512] = { 0 };

	(void)state;
	struct scsi_rig *b = scsi_start();
	responds(b, VIO_SCSI_S_FAILURE, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, 512, 512);
	assert_int_equal(b->residual, 1024);
	assert_int_equal(b->t[0]->count, 0);
	scsi_close(b);
	b = scsi_start_with(BITS(USUAL, VIO_SCSI_F_INOUT));
	good(b, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, 512, 512);
	assert_int_equal(b->residual, 512);
	scsi_close(b);
}

static void attributes(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	for (unsigned attr = 0; attr < 256; attr++) {
		b->attr = (uint8_t)attr;
		scsi_run(b, TUR);
		assert_int_equal(b->status, (attr & 7) == 3 ? VIO_SAM_CHECK_CONDITION : 0);
		assert_true((attr & 7) != 3 || (sense_key(b) == VIO_SENSE_ABORTED_COMMAND && sense_code(b) == 0x4900));
	}
	scsi_close(b);
}

/* ---- Every operation code, with every kind of nonsense around it ---- */

static uint32_t next(uint32_t *seed) { return *seed = *seed * 1664525 + 1013904223; }

static void nonsense(void **state)
{
	static unsigned char out[4096];
	uint32_t seed = 1;

	(void)state;
	for (unsigned unit = 0; unit < 4; unit++) {
		struct scsi_rig *b = scsi_start();
		b->t[3]->disk.size = DISK_BYTES;
		for (unsigned n = 0; n < 256 * 40; n++) {
			uint8_t cdb[16];
			static const size_t sizes[] = { 0, 1, 7, 8, 24, 255, 512, 1024, 2048, 4096 };
			scsi_at(b, b->luns[unit].target, b->luns[unit].lun);
			for (unsigned i = 0; i < 16; i++) {
				uint32_t v = next(&seed) >> 8;
				cdb[i] = v & 0x300 ? (uint8_t)(v & 0x400 ? 0 : v & 3) : (uint8_t)v;
			}
			cdb[0] = (uint8_t)(n >> 2);
			for (unsigned i = 0; i < sizeof out; i++)
				out[i] = (uint8_t)(n & 1 ? 0 : next(&seed) >> 24);
			size_t in = sizes[next(&seed) >> 8 & 7], o = in && n % 3 ? 0 : sizes[(next(&seed) >> 8) % 10];
			scsi_run(b, cdb, 16, out, o, o ? 0 : in);
			assert_true(b->response <= VIO_SCSI_S_FAILURE);
			assert_true(b->status == 0 || b->status == 2 || b->status == 0x18);
			assert_true(b->residual <= o + in);
			assert_true(b->status != 2 || b->sense_len >= 8);
			for (unsigned t = 0; t < UNITS; t++)
				test_disk_forget(b->t[t]);
		}
		rig_reset(b->g);
		rig_start(b->g, REQUESTS + 1, BITS(USUAL));
		scsi_settle(b);
		neighbour_is_served(b);
		scsi_close(b);
	}
}

/* ---- The control queue ---- */

static void control_requests(void **state)
{
	static const struct {
		const char *what;
		uint32_t type, subtype;
		uint8_t lun[8];
		size_t r, w;
		int answer;
		unsigned refused;
	} rows[] = {
		{ "nothing readable", 0, 0, { 1, 0, 0x40 }, 0, 1, SILENT, 1 },
		{ "3 bytes", 0, 0, { 1, 0, 0x40 }, 3, 1, SILENT, 1 },
		{ "23 bytes of a function", 0, 0, { 1, 0, 0x40 }, 23, 1, VIO_SCSI_S_FAILURE, 1 },
		{ "a function with nowhere to answer", 0, 0, { 1, 0, 0x40 }, 24, 0, SILENT, 1 },
		{ "type 3", 3, 0, { 1, 0, 0x40 }, 24, 1, VIO_SCSI_S_FUNCTION_REJECTED, 1 },
		{ "type 4 G", UINT32_MAX, 0, { 1, 0, 0x40 }, 24, 1, VIO_SCSI_S_FUNCTION_REJECTED, 1 },
		{ "CLEAR ACA", 0, 2, { 1, 0, 0x40 }, 24, 1, VIO_SCSI_S_FUNCTION_REJECTED, 0 },
		{ "function 8", 0, 8, { 1, 0, 0x40 }, 24, 1, VIO_SCSI_S_FUNCTION_REJECTED, 0 },
		{ "an unknown tag", 0, 0, { 1, 0, 0x40 }, 24, 1, VIO_SCSI_S_FUNCTION_COMPLETE, 0 },
		{ "a query of an unknown tag", 0, 6, { 1, 0, 0x40 }, 24, 1, VIO_SCSI_S_FUNCTION_COMPLETE, 0 },
		{ "no such unit", 0, 5, { 1, 0, 0x40, 9 }, 24, 1, VIO_SCSI_S_INCORRECT_LUN, 0 },
		{ "no such target", 0, 5, { 1, 9, 0x40, 0 }, 24, 1, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "no address", 0, 5, { 9, 9, 9, 9, 9, 9, 9, 9 }, 24, 1, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "a well-known unit", 0, 5, { 1, 0, 0xc1, 1 }, 24, 1, VIO_SCSI_S_INCORRECT_LUN, 0 },
		{ "every target", 0, 5, { 0xc1, 1 }, 24, 1, VIO_SCSI_S_BAD_TARGET, 0 },
		{ "a nexus of a target without LUN 0", 0, 4, { 1, 3, 0, 0 }, 24, 1, VIO_SCSI_S_FUNCTION_COMPLETE, 0 },
	};
	struct scsi_rig *b = scsi_start();

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint64_t before = rig_refused(b->g, CONTROL);
		rig_rewind(b->g);
		unsigned char *r = rig_take(b->g, 32), *w = rig_take(b->g, 16);
		memset(r, 0, 32);
		memcpy(r, &rows[i].type, 4);
		memcpy(r + 4, &rows[i].subtype, 4);
		memcpy(r + 8, rows[i].lun, 8);
		memset(w, FILL, 16);
		assert_true(rig_add(b->g, CONTROL, rows[i].r ? r : NULL, rows[i].r, 0, rows[i].w ? w : NULL, rows[i].w, 0));
		rig_kick(b->g, CONTROL);
		assert_ptr_equal(rig_get(b->g, CONTROL, &b->used), rows[i].w ? w : r);
		if (rows[i].answer == SILENT ? b->used || w[0] != FILL : b->used != 1 || w[0] != rows[i].answer)
			fail_msg("%s: %u bytes, %u", rows[i].what, b->used, w[0]);
		assert_int_equal(rig_refused(b->g, CONTROL), before + rows[i].refused);
		neighbour_is_served(b);
	}
	scsi_close(b);
}

static void notifications(void **state)
{
	static const struct { uint32_t type; uint8_t lun[8]; size_t r, w; int answer; } rows[] = {
		{ 1, { 1, 4, 0x40, 0 }, 16, 5, VIO_SCSI_S_OK }, { 2, { 1, 4, 0x40, 0 }, 16, 5, VIO_SCSI_S_OK },
		{ 2, { 1, 4, 0x40, 1 }, 16, 5, VIO_SCSI_S_INCORRECT_LUN }, { 2, { 1, 5, 0x40, 0 }, 16, 5, VIO_SCSI_S_BAD_TARGET },
		{ 2, { 1, 4, 0x40, 0 }, 15, 5, SILENT }, { 2, { 1, 4, 0x40, 0 }, 16, 4, SILENT },
	};
	struct scsi_rig *b = scsi_start();

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		rig_rewind(b->g);
		unsigned char *r = rig_take(b->g, 16), *w = rig_take(b->g, 16);
		memset(r, 0xff, 16);
		memcpy(r, &rows[i].type, 4);
		memcpy(r + 4, rows[i].lun, 8);
		memset(w, FILL, 16);
		assert_true(rig_add(b->g, CONTROL, r, rows[i].r, 0, w, rows[i].w, 0));
		rig_kick(b->g, CONTROL);
		assert_ptr_equal(rig_get(b->g, CONTROL, &b->used), w);
		assert_int_equal(b->used, rows[i].answer == SILENT ? 0 : 5);
		if (rows[i].answer != SILENT)
			assert_int_equal(w[4], rows[i].answer);
		if (rows[i].answer == VIO_SCSI_S_OK)
			assert_memory_equal(w, "\0\0\0\0", 4);		/* none of them, honestly */
	}
	scsi_close(b);
}

/* ---- A driver that rewrites its request while it is served ---- */

struct flipper { pthread_t thread; unsigned char *byte; uint8_t values[4]; bool stop; };

static void *flip(void *arg)
{
	struct flipper *f = arg;

	for (unsigned i = 0; !__atomic_load_n(&f->stop, __ATOMIC_RELAXED); i++)
		__atomic_store_n(f->byte, f->values[i % 4], __ATOMIC_RELAXED);
	return NULL;
}

static void a_request_is_read_once(void **state)
{
	struct scsi_rig *b = scsi_start();
	static const uint8_t list[24] = { 0, 22, 0, 16, [19] = 8 };
	static const uint8_t zero[1024];
	const struct { uint8_t cdb[16]; const void *out; size_t len, at; uint8_t values[4]; } rows[] = {
		{ { 0x2a, 0, 0, 0, 0, 0, 0, 0, 1 }, zero, 512, 19 + 4, { 0, 255, 8, 7 } },		/* LBA */
		{ { 0x2a, 0, 0, 0, 0, 0, 0, 0, 1 }, zero, 512, 19 + 8, { 1, 255, 2, 0 } },		/* length */
		{ { 0x2a, 0, 0, 0, 0, 0, 0, 0, 1 }, zero, 512, 19, { 0x2a, 0x41, 0x89, 0x0a } },	/* what it is */
		{ { 0x42, 0, 0, 0, 0, 0, 0, 0, 24 }, list, 24, 51 + 8 + 5, { 0, 1, 255, 0 } },		/* a range's LBA */
		{ { 0x42, 0, 0, 0, 0, 0, 0, 0, 24 }, list, 24, 51 + 8 + 9, { 0, 255, 64, 1 } },
		{ { 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, zero, 1024, 51 + 700, { 0, 1, 2, 3 } },
		{ { 0x41, 0, 0, 0, 0, 0, 0, 0, 1 }, zero, 512, 51 + 100, { 0, 1, 0, 3 } },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		rig_rewind(b->g);
		struct ask a = scsi_ask(b, rows[i].cdb, 16, rows[i].out, rows[i].len, 0);
		struct flipper f = { .byte = a.r + rows[i].at };
		memcpy(f.values, rows[i].values, 4);
		assert_int_equal(pthread_create(&f.thread, NULL, flip, &f), 0);
		for (unsigned n = 0; n < 5000; n++) {
			scsi_add(b, &a);
			assert_ptr_equal(rig_get(b->g, REQUESTS, &b->used), a.w);
			assert_true(a.w[11] <= VIO_SCSI_S_OVERRUN);
			test_disk_forget(b->t[0]);
		}
		__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
		pthread_join(f.thread, NULL);
	}
	scsi_close(b);
}

/* ---- The disk goes wrong ---- */

static void a_disk_that_fails(void **state)
{
	static const struct { int error, response; unsigned key, code; } rows[] = {
		{ EIO, VIO_SCSI_S_OK, VIO_SENSE_MEDIUM_ERROR, 0 }, { ENOSPC, VIO_SCSI_S_OK, VIO_SENSE_DATA_PROTECT, 0x2707 },
		{ EROFS, VIO_SCSI_S_OK, VIO_SENSE_DATA_PROTECT, 0x2700 }, { ENOMEM, VIO_SCSI_S_BUSY, 0, 0 },
		{ EAGAIN, VIO_SCSI_S_BUSY, 0, 0 }, { ENXIO, VIO_SCSI_S_TRANSPORT_FAILURE, 0, 0 },
		{ ENODEV, VIO_SCSI_S_TRANSPORT_FAILURE, 0, 0 }, { ECANCELED, VIO_SCSI_S_OK, VIO_SENSE_ABORTED_COMMAND, 0 },
		{ 9999, VIO_SCSI_S_OK, VIO_SENSE_MEDIUM_ERROR, 0 },
	};
	static const struct { uint8_t cdb[16]; size_t out, in; } asks[] = {
		{ { 0x28, 0, 0, 0, 0, 0, 0, 0, 1 }, 0, 512 }, { { 0x2a, 0, 0, 0, 0, 0, 0, 0, 1 }, 512, 0 }, { { 0x35 }, 0, 0 },
		{ { 0x41, 0, 0, 0, 0, 0, 0, 0, 1 }, 512, 0 }, { { 0x2f, 2, 0, 0, 0, 0, 0, 0, 1 }, 512, 0 },
		{ { 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 }, 1024, 0 }, { { 0x42, 0, 0, 0, 0, 0, 0, 0, 24 }, 24, 0 },
	};
	struct scsi_rig *b = scsi_start();
	unsigned char data[1024] = { 0, 22, 0, 16, [19] = 8 };

	(void)state;
	for (unsigned e = 0; e < sizeof rows / sizeof *rows; e++)
		for (unsigned i = 0; i < sizeof asks / sizeof *asks; i++) {
			b->t[0]->error = rows[e].error;
			scsi_run(b, asks[i].cdb, 16, data, asks[i].out, asks[i].in);
			assert_int_equal(b->response, rows[e].response);
			assert_int_equal(b->status, rows[e].key ? VIO_SAM_CHECK_CONDITION : 0);
			assert_int_equal(b->residual, asks[i].out + asks[i].in);
			if (rows[e].key)
				assert_int_equal(sense_key(b), rows[e].key);
			if (rows[e].code)
				assert_int_equal(sense_code(b), rows[e].code);
			b->t[0]->error = 0;
			good(b, TUR);
		}
	b->t[1]->no_channel = true;
	rig_reset(b->g);
	rig_start(b->g, REQUESTS + 1, BITS(USUAL));
	scsi_at(b, 0, 5);
	scsi_settle(b);
	responds(b, VIO_SCSI_S_BUSY, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
	b->t[1]->no_channel = false;
	good(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
	scsi_close(b);
}

static const struct CMUnitTest tests[] = {
	T(frames_are_judged, "chains that are no requests are answered where there is room for it, and counted {scsi-dev-6j; only us}"),
	T(addresses, "formats of LUNs and what does not exist {scsi-dev-6d; only us}"),
	T(each_row_is_refused, "malformed requests are answered, with residuals, and touch nothing {scsi-dev-6b scsi-dev-5; only us}"),
	T(both_ways, "data both ways without INOUT is a failure {scsi-dev-7 scsi-dev-8; only us}"),
	T(attributes, "all task attributes but ACA are taken"),
	T(nonsense, "every operation code, with nonsense around it {scsi-dev-6; only us}"),
	T(control_requests, "requests in the control queue that can't be"),
	T(notifications, "asynchronous notification: asked for, answered that there is none"),
	T(a_request_is_read_once, "a request that changes while it is served is judged as it is used"),
	T(a_disk_that_fails, "an error of the disk is the request's, in its own words {scsi-dev-6i scsi-dev-6f; only us}"),
};
int main(void) { return vio_tests("scsi_bad", tests, sizeof tests / sizeof *tests); }
