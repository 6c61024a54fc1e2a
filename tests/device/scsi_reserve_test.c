/*
 * Persistent reservations (SPC-4, 5.13): several devices over one keep are several initiators; bytes by hand.
 */
#include "scsi_rig.h"
#include <vio/host/keep.h>

enum { GUESTS = 3 };
struct house {
	struct vio_keep *keep;
	struct scsi_rig *b[GUESTS];	/* a, b, c: each with disks of its own, but one keep for unit 0 */
};
static const char *const names[GUESTS] = { "a", "b", "c" };

static struct scsi_rig *guest_opens(struct vio_keep *keep, const char *name)
{
	struct scsi_rig *b = scsi_new();

	b->luns[0].keep = keep;
	b->o.initiator = name;
	scsi_begin(b, BITS(USUAL));
	scsi_settle(b);
	return b;
}

static struct house house_new(void)
{
	struct house h = { .keep = vio_keep_memory_open() };

	assert_non_null(h.keep);
	for (unsigned i = 0; i < GUESTS; i++)
		h.b[i] = guest_opens(h.keep, names[i]);
	return h;
}

static void house_close(struct house *h)
{
	for (unsigned i = 0; i < GUESTS; i++)
		scsi_close(h->b[i]);
	vio_keep_close(h->keep);
}

/* PERSISTENT RESERVE OUT; -1: CHECK CONDITION, otherwise the status. */
static int pr_out(struct scsi_rig *b, uint8_t action, uint8_t type, uint64_t key, uint64_t other, uint8_t flags)
{
	uint8_t list[24] = { 0 };

	for (unsigned i = 0; i < 8; i++) {
		list[7 - i] = (uint8_t)(key >> 8 * i);
		list[15 - i] = (uint8_t)(other >> 8 * i);
	}
	list[20] = flags;
	return scsi_run(b, CDB(0x5f, action, type, 0, 0, 0, 0, 0, 24, 0), list, 24, 0);
}

enum { REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_ABORT, REGISTER_IGNORE };
enum { GOOD_ = 0, CHECK_ = 2, CONFLICT_ = 0x18 };

static void pr_in(struct scsi_rig *b, uint8_t action) { good(b, CDB(0x5e, action, 0, 0, 0, 0, 0, 16, 0, 0), NULL, 0, 4096); }

static int do_read(struct scsi_rig *b) { return scsi_run(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512); }
static int do_write(struct scsi_rig *b)
{
	static const uint8_t block[512];
	return scsi_run(b, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, 512, 0);
}

static void attention(struct scsi_rig *b, unsigned code)
{
	assert_int_equal(scsi_run(b, TUR), CHECK_);
	assert_int_equal(sense_key(b), VIO_SENSE_UNIT_ATTENTION);
	assert_int_equal(sense_code(b), code);
}

static void registrations(void **state)
{
	struct house h = house_new();
	struct scsi_rig *a = h.b[0], *b = h.b[1];

	(void)state;
	pr_in(a, 0);
	assert_memory_equal(a->in, "\0\0\0\0\0\0\0\0", 8);
	assert_int_equal(pr_out(a, REGISTER, 0, 7, 1, 0), CONFLICT_);	/* not registered: the key is 0 */
	assert_int_equal(pr_out(a, REGISTER, 0, 0, 0, 0), GOOD_);	/* nothing from nothing */
	assert_int_equal(pr_out(a, REGISTER, 0, 0, 0x1122334455667788, 0), GOOD_);
	assert_int_equal(pr_out(b, REGISTER_IGNORE, 0, 99, 2, 0), GOOD_);
	pr_in(b, 0);
	assert_memory_equal(b->in, "\0\0\0\2\0\0\0\x10\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\0\0\0\0\2", 24);
	assert_int_equal(pr_out(a, REGISTER, 0, 1, 5, 0), CONFLICT_);
	assert_int_equal(pr_out(a, REGISTER, 0, 0x1122334455667788, 5, 0), GOOD_);
	assert_int_equal(pr_out(a, REGISTER_IGNORE, 0, 0, 6, 0), GOOD_);
	assert_int_equal(pr_out(b, REGISTER, 0, 2, 0, 0), GOOD_);	/* and out */
	pr_in(b, 0);
	assert_memory_equal(b->in, "\0\0\0\5\0\0\0\x08\0\0\0\0\0\0\0\6", 16);
	pr_in(a, 2);
	assert_memory_equal(a->in, "\0\x08\x01\x80\xea\x01\0\0", 8);
	pr_in(a, 3);
	assert_memory_equal(a->in, "\0\0\0\5\0\0\0\x30"
	    "\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\x18\x05\0\0\x14" "a\0", 8 + 24 + 6);
	house_close(&h);
}

/* What each type lets whom do: SPC-4, table 47. */
static void types(void **state)
{
	static const struct { uint8_t type; int registered_read, registered_write, other_read, other_write; } rows[] = {
		{ 1, GOOD_, CONFLICT_, GOOD_, CONFLICT_ },
		{ 3, CONFLICT_, CONFLICT_, CONFLICT_, CONFLICT_ },
		{ 5, GOOD_, GOOD_, GOOD_, CONFLICT_ },
		{ 6, GOOD_, GOOD_, CONFLICT_, CONFLICT_ },
		{ 7, GOOD_, GOOD_, GOOD_, CONFLICT_ },
		{ 8, GOOD_, GOOD_, CONFLICT_, CONFLICT_ },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct house h = house_new();
		struct scsi_rig *a = h.b[0], *b = h.b[1], *c = h.b[2];
		assert_int_equal(pr_out(a, RESERVE, rows[i].type, 1, 0, 0), CONFLICT_);	/* who is not registered reserves nothing */
		assert_int_equal(pr_out(a, REGISTER, 0, 0, 1, 0), GOOD_);
		assert_int_equal(pr_out(b, REGISTER, 0, 0, 2, 0), GOOD_);
		assert_int_equal(pr_out(a, RESERVE, rows[i].type, 9, 0, 0), CONFLICT_);
		assert_int_equal(pr_out(a, RESERVE, rows[i].type, 1, 0, 0), GOOD_);
		assert_int_equal(pr_out(a, RESERVE, rows[i].type, 1, 0, 0), GOOD_);
		assert_int_equal(pr_out(b, RESERVE, rows[i].type, 2, 0, 0), rows[i].type > 6 ? GOOD_ : CONFLICT_);
		assert_int_equal(do_read(a), GOOD_);
		assert_int_equal(do_write(a), GOOD_);
		if (do_read(b) != rows[i].registered_read || do_write(b) != rows[i].registered_write ||
		    do_read(c) != rows[i].other_read || do_write(c) != rows[i].other_write)
			fail_msg("type %u", rows[i].type);
		assert_int_equal(scsi_run(c, TUR), GOOD_);		/* what anybody may */
		good(c, CDB(0x12, 0, 0, 0, 36, 0), NULL, 0, 36);
		good(c, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0, 8);
		assert_int_equal(scsi_run(c, CDB(0x1a, 8, 8, 0, 255, 0), NULL, 0, 255), CONFLICT_);
		assert_int_equal(pr_out(c, RELEASE, rows[i].type, 0, 0, 0), CONFLICT_);
		pr_in(c, 1);
		assert_int_equal(c->in[7], 16);
		assert_int_equal(c->in[15], rows[i].type > 6 ? 0 : 1);
		assert_int_equal(c->in[21], rows[i].type);
		/* the holder lets go: others hear of it where they had something of it */
		assert_int_equal(pr_out(b, RELEASE, rows[i].type, 2, 0, 0), GOOD_);
		if (rows[i].type <= 6) {
			assert_int_equal(do_write(c), CONFLICT_);
			assert_int_equal(pr_out(a, RELEASE, rows[i].type == 1 ? 3 : 1, 1, 0, 0), CHECK_);
			assert_int_equal(sense_code(a), 0x2604);
			assert_int_equal(pr_out(a, RELEASE, rows[i].type, 1, 0, 0), GOOD_);
			if (rows[i].type >= 5)
				attention(b, 0x2a04);
		} else {
			attention(a, 0x2a04);
		}
		assert_int_equal(do_write(c), GOOD_);
		assert_int_equal(scsi_run(b, TUR), GOOD_);
		house_close(&h);
	}
}

static void preempted(void **state)
{
	struct house h = house_new();
	struct scsi_rig *a = h.b[0], *b = h.b[1], *c = h.b[2];

	(void)state;
	assert_int_equal(pr_out(a, REGISTER, 0, 0, 1, 0), GOOD_);
	assert_int_equal(pr_out(b, REGISTER, 0, 0, 2, 0), GOOD_);
	assert_int_equal(pr_out(c, REGISTER, 0, 0, 3, 0), GOOD_);
	assert_int_equal(pr_out(a, RESERVE, 5, 1, 0, 0), GOOD_);
	assert_int_equal(pr_out(b, PREEMPT, 5, 2, 77, 0), CONFLICT_);	/* nobody has that key */
	assert_int_equal(pr_out(b, PREEMPT, 5, 2, 0, 0), CHECK_);
	assert_int_equal(sense_code(b), 0x2600);
	assert_int_equal(pr_out(b, PREEMPT, 5, 2, 3, 0), GOOD_);		/* a registration only */
	attention(c, 0x2a05);
	assert_int_equal(do_write(c), CONFLICT_);
	assert_int_equal(pr_out(c, REGISTER, 0, 0, 3, 0), GOOD_);
	assert_int_equal(pr_out(b, PREEMPT_ABORT, 3, 2, 1, 0), GOOD_);	/* the holder's: type and reservation change hands */
	attention(a, 0x2a05);
	attention(c, 0x2a04);
	assert_int_equal(do_read(a), CONFLICT_);
	assert_int_equal(do_read(c), CONFLICT_);
	assert_int_equal(do_write(b), GOOD_);
	pr_in(b, 1);
	assert_memory_equal(b->in + 8, "\0\0\0\0\0\0\0\2\0\0\0\0\0\x03\0\0", 16);
	assert_int_equal(pr_out(c, CLEAR, 0, 3, 0, 0), GOOD_);
	attention(b, 0x2a03);
	pr_in(b, 0);
	assert_int_equal(b->in[7], 0);
	assert_int_equal(do_write(a), GOOD_);
	/* all registrants hold it: key 0 takes it from all of them */
	assert_int_equal(pr_out(a, REGISTER, 0, 0, 1, 0), GOOD_);
	assert_int_equal(pr_out(b, REGISTER, 0, 0, 2, 0), GOOD_);
	assert_int_equal(pr_out(a, RESERVE, 8, 1, 0, 0), GOOD_);
	assert_int_equal(pr_out(b, PREEMPT, 1, 2, 0, 0), GOOD_);
	attention(a, 0x2a05);
	assert_int_equal(do_write(a), CONFLICT_);
	assert_int_equal(do_write(b), GOOD_);
	assert_int_equal(pr_out(b, REGISTER, 0, 2, 0, 0), GOOD_);	/* and with the registration the reservation is gone */
	assert_int_equal(do_write(a), GOOD_);
	house_close(&h);
}

static void kept_over_a_restart(void **state)
{
	struct vio_keep *keep = vio_keep_memory_open();
	struct scsi_rig *a = guest_opens(keep, "a"), *b;

	(void)state;
	assert_int_equal(pr_out(a, REGISTER, 0, 0, 1, 1), GOOD_);
	assert_int_equal(pr_out(a, RESERVE, 1, 1, 0, 0), GOOD_);
	pr_in(a, 2);
	assert_int_equal(a->in[3], 0x81);
	scsi_close(a);
	keep->fresh = true;			/* a power failure: APTPL was set, so it stays */
	b = guest_opens(keep, "b");
	assert_int_equal(do_write(b), CONFLICT_);
	scsi_close(b);
	a = guest_opens(keep, "a");
	assert_int_equal(do_write(a), GOOD_);
	assert_int_equal(pr_out(a, REGISTER, 0, 1, 1, 0), GOOD_);	/* not any more */
	rig_reset(a->g);			/* no power failure */
	rig_start(a->g, REQUESTS + 1, BITS(USUAL));
	scsi_settle(a);
	pr_in(a, 0);
	assert_int_equal(a->in[7], 8);
	scsi_close(a);
	keep->fresh = true;
	b = guest_opens(keep, "b");
	assert_int_equal(do_write(b), GOOD_);
	scsi_close(b);
	vio_keep_close(keep);
}

/* The status is told when it is kept, and what can't be kept has not been done. */
static void not_kept_is_not_done(void **state)
{
	struct vio_keep *keep = vio_keep_memory_open();
	struct scsi_rig *a = guest_opens(keep, "a");

	(void)state;
	vio_keep_memory_fail(keep, 1, ENOSPC);
	assert_int_equal(pr_out(a, REGISTER, 0, 0, 1, 0), CHECK_);
	assert_int_equal(sense_key(a), VIO_SENSE_HARDWARE_ERROR);
	pr_in(a, 0);
	assert_int_equal(a->in[7], 0);
	assert_int_equal(pr_out(a, REGISTER, 0, 0, 1, 0), GOOD_);
	scsi_close(a);
	vio_keep_close(keep);
}

static size_t scribble(void *arg, unsigned char *bytes, size_t n)
{
	(void)n;
	memset(bytes, 'x', 400);
	return *(size_t *)arg;
}

static void damage_is_refused(void **state)
{
	struct vio_keep *keep = vio_keep_memory_open();
	struct scsi_rig *b = scsi_new();

	(void)state;
	for (size_t n = 1; n < 400; n += 57) {
		assert_int_equal(keep->ops->update(keep, true, scribble, &n), 0);
		b->luns[0].keep = keep;
		const char *why = rig_open(b->g, &vio_dev_scsi, &b->o);
		assert_non_null(why);
		assert_non_null(strstr(why, "damaged"));
	}
	scsi_close(b);
	vio_keep_close(keep);
}

static void malformed(void **state)
{
	static const struct { const char *what; uint8_t cdb[10]; uint8_t list[24]; uint16_t code; uint8_t field[3]; } rows[] = {
		{ "a list of 23 bytes", { 0x5f, 0, 0, 0, 0, 0, 0, 0, 23, 0 }, { 0 }, 0x1a00, { 0 } },
		{ "a list of 4 GiB", { 0x5f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0 }, { 0 }, 0x1a00, { 0 } },
		{ "type 0", { 0x5f, RESERVE, 0, 0, 0, 0, 0, 0, 24, 0 }, { 0 }, 0x2400, { 0xcb, 0, 2 } },
		{ "type 2", { 0x5f, RESERVE, 2, 0, 0, 0, 0, 0, 24, 0 }, { 0 }, 0x2400, { 0xcb, 0, 2 } },
		{ "an element's scope", { 0x5f, RESERVE, 0x21, 0, 0, 0, 0, 0, 24, 0 }, { 0 }, 0x2400, { 0xcf, 0, 2 } },
		{ "a move", { 0x5f, 7, 1, 0, 0, 0, 0, 0, 24, 0 }, { 0 }, 0x2400, { 0xcc, 0, 1 } },
		{ "service action 31", { 0x5f, 31, 1, 0, 0, 0, 0, 0, 24, 0 }, { 0 }, 0x2400, { 0xcc, 0, 1 } },
		{ "SPEC_I_PT", { 0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0 }, { [20] = 8 }, 0x2600, { 0x8b, 0, 20 } },
		{ "ALL_TG_PT", { 0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0 }, { [20] = 4 }, 0x2600, { 0x8a, 0, 20 } },
		{ "APTPL where nothing is kept", { 0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0 }, { [15] = 1, [20] = 1 }, 0x2600, { 0x88, 0, 20 } },
	};
	struct scsi_rig *b = scsi_start();

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		scsi_run(b, rows[i].cdb, 10, rows[i].list, 24, 0);
		if (b->status != CHECK_ || sense_key(b) != VIO_SENSE_ILLEGAL_REQUEST || sense_code(b) != rows[i].code ||
		    memcmp(b->sense + 15, rows[i].field, 3))
			fail_msg("%s: %u %04x %02x%02x%02x", rows[i].what, b->status, sense_code(b), b->sense[15], b->sense[16], b->sense[17]);
		pr_in(b, 0);
		assert_memory_equal(b->in, "\0\0\0\0\0\0\0\0", 8);
	}
	responds(b, VIO_SCSI_S_OVERRUN, CDB(0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0), "\0", 1, 0);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2400, CDB(0x5e, 4, 0, 0, 0, 0, 0, 0, 8, 0), NULL, 0, 8);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2000, CDB(0x16, 0, 0, 0, 0, 0), NULL, 0, 0);	/* RESERVE and RELEASE of old */
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2000, CDB(0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0, 0);
	good(b, CDB(0x5e, 0, 0, 0, 0, 0, 0, 0, 3, 0), NULL, 0, 3);	/* cut where the initiator wants it */
	scsi_close(b);
}

static void a_full_house(void **state)
{
	struct vio_keep *keep = vio_keep_memory_open();
	char name[65];

	(void)state;
	for (unsigned i = 0; i < 65; i++) {
		memset(name, 'n', 64);
		name[63] = (char)(' ' + i);
		name[64] = 0;
		struct scsi_rig *b = guest_opens(keep, name);
		assert_int_equal(pr_out(b, REGISTER, 0, 0, i + 1, 0), i < 64 ? GOOD_ : CHECK_);
		if (i == 64) {
			assert_int_equal(sense_code(b), 0x5504);
			good(b, CDB(0x5e, 3, 0, 0, 0, 0, 0, 0x20, 0, 0), NULL, 0, 8192);
			assert_int_equal(b->in[6] << 8 | b->in[7], 64 * (24 + 4 + 68));
		}
		scsi_close(b);
	}
	vio_keep_close(keep);
}

static const struct CMUnitTest tests[] = {
	T(registrations, "registrations, their keys, generations and names"),
	T(types, "each type of reservation bars whom it should from what it should"),
	T(preempted, "PREEMPT, PREEMPT AND ABORT, CLEAR, and who hears of it"),
	T(kept_over_a_restart, "APTPL: what is kept over a power failure, and what only over a reset"),
	T(not_kept_is_not_done, "what could not be kept has not been done"),
	T(damage_is_refused, "a keep of something else is refused"),
	T(malformed, "malformed and unknown requests change nothing"),
	T(a_full_house, "64 registrants, and not one more"),
};
int main(void) { return vio_tests("scsi_reserve", tests, sizeof tests / sizeof *tests); }
