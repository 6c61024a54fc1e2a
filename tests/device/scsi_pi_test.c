/* T10 protection information on its way (SBC-3, 4.22), in both orders of a request; guards by hand from a slow CRC. */
#include "scsi_rig.h"

static uint16_t slow_crc(const uint8_t *p, size_t n)
{
	uint16_t sum = 0;

	while (n--) {
		sum ^= (uint16_t)(*p++ << 8);
		for (unsigned i = 0; i < 8; i++)
			sum = (uint16_t)(sum & 0x8000 ? sum << 1 ^ 0x8bb7 : sum << 1);
	}
	return sum;
}

static struct scsi_rig *start_pi(enum vio_scsi_pi pi, bool negotiate)
{
	struct scsi_rig *b = scsi_new();

	b->o.pi = pi;
	b->luns[0].protect = true;
	assert_null(rig_open(b->g, &vio_dev_scsi, &b->o));
	rig_start(b->g, REQUESTS + 1, negotiate ? BITS(USUAL, VIO_SCSI_F_T10_PI) : BITS(USUAL));
	return b;
}

struct pi_ask { uint8_t cdb[16]; const void *out; size_t out_len, in_len, pi_out, pi_in; const void *tuples; };

/* Runs it; what came as protection information lies in front of b->in. */
static void run(struct scsi_rig *b, bool linux_order, const struct pi_ask *x)
{
	size_t n = 19 + 32 + 8 + x->pi_out + x->out_len, m = 12 + 96 + x->pi_in + x->in_len;
	uint32_t sizes[2] = { (uint32_t)x->pi_out, (uint32_t)x->pi_in };

	rig_rewind(b->g);
	unsigned char *r = rig_take(b->g, n), *w = rig_take(b->g, m);
	memset(r, 0, n);
	memset(w, FILL, m);
	memcpy(r, b->lun, 8);
	memcpy(r + 19 + (linux_order ? 8 : 0), x->cdb, 16);
	memcpy(r + 19 + (linux_order ? 0 : 32), sizes, 8);
	if (x->pi_out)
		memcpy(r + 59, x->tuples, x->pi_out);
	if (x->out_len)
		memcpy(r + 59 + x->pi_out, x->out, x->out_len);
	assert_true(rig_add(b->g, REQUESTS, r, n, 0, w, m, 0));
	rig_kick(b->g, REQUESTS);
	assert_ptr_equal(rig_get(b->g, REQUESTS, &b->used), w);
	memcpy(&b->sense_len, w, 4);
	memcpy(&b->residual, w + 4, 4);
	b->status = w[10];
	b->response = w[11];
	memcpy(b->sense, w + 12, 96);
	memcpy(b->in, w + 108, x->pi_in + x->in_len);
}

static void settle(struct scsi_rig *b, bool linux_order)
{
	struct pi_ask tur = { .cdb = { 0 } };

	run(b, linux_order, &tur);
	run(b, linux_order, &tur);
	assert_int_equal(b->status, 0);
}

static void put_tuple(uint8_t *t, const uint8_t *block, uint32_t lba, uint16_t app)
{
	vio_be16_put(t, slow_crc(block, 512));
	vio_be16_put(t + 2, app);
	vio_be32_put(t + 4, lba);
}

static void there_and_back(void **state)
{
	(void)state;
	for (unsigned l = 0; l < 2; l++) {
		struct scsi_rig *b = start_pi(l ? VIO_SCSI_PI_LINUX : VIO_SCSI_PI_SPEC, true);
		uint8_t data[1024], tuples[16];
		settle(b, l);
		for (unsigned i = 0; i < sizeof data; i++)
			data[i] = (uint8_t)(i * 3 + 1);
		put_tuple(tuples, data, 6, 0x1234);
		put_tuple(tuples + 8, data + 512, 7, 0);
		run(b, l, &(struct pi_ask){ { 0x2a, 0x20, 0, 0, 0, 6, 0, 0, 2 }, data, 1024, 0, 16, 0, tuples });
		assert_int_equal(b->response | b->status, 0);
		assert_int_equal(b->residual, 0);
		assert_memory_equal(b->t[0]->bytes + 6 * 512, data, 1024);
		run(b, l, &(struct pi_ask){ { 0x28, 0x20, 0, 0, 0, 6, 0, 0, 2 }, NULL, 0, 1024, 0, 16, NULL });
		assert_int_equal(b->response | b->status, 0);
		assert_int_equal(b->used, 108 + 16 + 1024);
		vio_be16_put(tuples + 2, 0);			/* the application tag is not kept */
		assert_memory_equal(b->in, tuples, 16);
		assert_memory_equal(b->in + 16, data, 1024);
		run(b, l, &(struct pi_ask){ { 0x28, 0, 0, 0, 0, 6, 0, 0, 2 }, NULL, 0, 1024, 0, 0, NULL });	/* without it */
		assert_int_equal(b->response | b->status, 0);
		scsi_close(b);
	}
}

static void what_is_checked(void **state)
{
	static const struct { const char *what; uint8_t protect; unsigned flip; uint16_t app; unsigned code; } rows[] = {
		{ "a guard", 1, 8 + 0, 0, 0x1001 }, { "a reference tag", 1, 8 + 7, 0, 0x1003 }, { "an application tag", 1, 8 + 3, 0, 0 },
		{ "a guard, not asked for", 2, 8 + 0, 0, 0 }, { "a reference tag", 2, 8 + 7, 0, 0x1003 },
		{ "a guard, not asked for", 3, 8 + 0, 0, 0 }, { "a reference tag, not asked for", 3, 8 + 7, 0, 0 },
		{ "a guard", 4, 8 + 1, 0, 0x1001 }, { "a reference tag, not asked for", 4, 8 + 7, 0, 0 },
		{ "a guard", 5, 8 + 1, 0, 0x1001 }, { "a reference tag", 5, 8 + 4, 0, 0x1003 },
		{ "a guard, escaped", 1, 8 + 0, 0xffff, 0 }, { "a guard, without WRPROTECT", 0, 8 + 1, 0, 0x1001 },
	};
	struct scsi_rig *b = start_pi(VIO_SCSI_PI_SPEC, true);
	uint8_t data[1024] = { 1, 2, 3 }, tuples[16];

	(void)state;
	settle(b, false);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		put_tuple(tuples, data, 6, rows[i].app);
		put_tuple(tuples + 8, data + 512, 7, rows[i].app);
		tuples[rows[i].flip] ^= 1;
		test_disk_forget(b->t[0]);
		run(b, false, &(struct pi_ask){ { 0x2a, (uint8_t)(rows[i].protect << 5), 0, 0, 0, 6, 0, 0, 2 }, data, 1024, 0, 16, 0, tuples });
		bool as_told = rows[i].code ? b->status == 2 && sense_key(b) == VIO_SENSE_ABORTED_COMMAND && sense_code(b) == rows[i].code &&
		    vio_be32_at(b->sense + 3) == 7 && b->t[0]->count == 0 : !b->status && b->t[0]->count == 1;
		if (!as_told)
			fail_msg("%s, %u: status %u, %04x", rows[i].what, rows[i].protect, b->status, sense_code(b));
	}
	scsi_close(b);
}

static void what_does_not_fit(void **state)
{
	static const struct {
		const char *what;
		uint8_t protect;
		size_t out, pi_out;
		uint32_t lie;
		int response;
		unsigned code;
	} rows[] = {
		{ "less protection information than blocks", 1, 1024, 8, 8, VIO_SCSI_S_OVERRUN, 0 },
		{ "none of it", 1, 1024, 0, 0, VIO_SCSI_S_OVERRUN, 0 },
		{ "part of one", 1, 1024, 15, 15, VIO_SCSI_S_OVERRUN, 0 },
		{ "more than there are bytes", 1, 1024, 16, 4096, VIO_SCSI_S_FAILURE, 0 },
		{ "4 GiB", 1, 1024, 16, UINT32_MAX, VIO_SCSI_S_FAILURE, 0 },
		{ "as much as there is data", 1, 1024, 16, 1040, VIO_SCSI_S_OVERRUN, 0 },
		{ "WRPROTECT 6", 6, 1024, 16, 16, VIO_SCSI_S_OK, 0x2400 },
		{ "WRPROTECT 7", 7, 1024, 16, 16, VIO_SCSI_S_OK, 0x2400 },
	};
	struct scsi_rig *b = start_pi(VIO_SCSI_PI_LINUX, true);
	uint8_t data[1024] = { 0 }, tuples[16] = { 0 };

	(void)state;
	settle(b, true);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = 59 + rows[i].pi_out + rows[i].out;
		rig_rewind(b->g);
		unsigned char *r = rig_take(b->g, n), *w = rig_take(b->g, 108);
		memset(r, 0, n);
		memset(w, FILL, 108);
		memcpy(r, b->lun, 8);
		memcpy(r + 19, &rows[i].lie, 4);
		r[27] = 0x2a;
		r[28] = (uint8_t)(rows[i].protect << 5);
		r[35] = 2;
		memcpy(r + 59, tuples, rows[i].pi_out);
		assert_true(rig_add(b->g, REQUESTS, r, n, 0, w, 108, 0));
		rig_kick(b->g, REQUESTS);
		assert_ptr_equal(rig_get(b->g, REQUESTS, &b->used), w);
		memcpy(b->sense, w + 12, 96);
		if (w[11] != rows[i].response || (rows[i].code && sense_code(b) != rows[i].code))
			fail_msg("%s: %u", rows[i].what, w[11]);
		assert_int_equal(b->t[0]->count, 0);
	}
	(void)data;
	scsi_close(b);
}

static void what_is_told(void **state)
{
	(void)state;
	for (unsigned negotiate = 0; negotiate < 2; negotiate++) {
		struct scsi_rig *b = start_pi(VIO_SCSI_PI_SPEC, negotiate);
		if (negotiate) {
			settle(b, false);
			scsi_close(b);
			continue;
		}
		scsi_settle(b);
		good(b, CDB(0x12, 0, 0, 0, 36, 0), NULL, 0, 36);
		assert_int_equal(b->in[5], 1);
		good(b, CDB(0x12, 1, 0x86, 0, 255, 0), NULL, 0, 255);
		assert_memory_equal(b->in, "\0\x86\0\x3c\5\5\1", 7);
		good(b, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), NULL, 0, 32);
		assert_int_equal(b->in[12], 1);
		check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 520);
		scsi_at(b, 0, 5);		/* a unit that is not formatted so */
		good(b, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0), NULL, 0, 32);
		assert_int_equal(b->in[12], 0);
		scsi_close(b);
	}
	struct scsi_rig *b = scsi_new();		/* not offered unless asked for */
	assert_null(rig_open(b->g, &vio_dev_scsi, &b->o));
	assert_false(vio_has(vio_dev_offered(b->g->dev), VIO_SCSI_F_T10_PI));
	scsi_close(b);
}

static const struct CMUnitTest tests[] = {
	T(there_and_back, "protection information is checked on its way in and made up on its way out, in both orders"),
	T(what_is_checked, "each WRPROTECT checks what it should, and a wrong block is not written"),
	T(what_does_not_fit, "less or more of it than there are blocks"),
	T(what_is_told, "what the unit and the device say of it"),
};
int main(void) { return vio_tests("scsi_pi", tests, sizeof tests / sizeof *tests); }
