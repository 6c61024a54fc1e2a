/*
 * Zones: the block device over a zoned disk in memory or on a file, by rows written by hand from 5.2.6; then the driver.
 *
 * Eight zones of 256 sectors, of which 192 can be written; two conventional; two may be open, three active; 4 KiB blocks.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <vio/driver/blk.h>
#include <vio/host/disk_zone.h>
#include <vio/host/why.h>
#include "blk_rig.h"

enum { ZONE = 256, CAP = 192, ZONES = 8, CONV = 2, BLOCK = 4096, SECTORS = 8 /* of a block */ };

struct zrig {
	struct blk_rig b;
	struct vio_loop *loop;
	struct vio_disk *disk;
	char image[64], zones[80];	/* empty: in memory */
	bool aware;
	uint32_t append, size_max;
};

static void quit(void *arg) { vio_loop_quit(arg); }

/* Whatever the thread has finished. */
static void turn(struct zrig *z)
{
	struct vio_timer t = { .fn = quit, .arg = z->loop };

	vio_loop_timer(z->loop, &t, vio_now_ns() + 1000000);
	vio_loop_run(z->loop);
	vio_loop_pump(&z->b.g->wire, 8);
}

static const char *open_disk(struct zrig *z)
{
	static char why[VIO_WHY];
	struct vio_disk_place place = { &z->loop, 1 };
	struct vio_disk *inner = z->image[0] ?
	    vio_disk_file_open(&(struct vio_disk_file_options){ .path = z->image, .logical_block = BLOCK, .place = place, .queues = 1 }, why) :
	    vio_disk_ram_open(DISK_BYTES, NULL, place);

	assert_non_null(inner);
	inner->logical_block = BLOCK;
	z->disk = vio_disk_zoned_open(inner, &(struct vio_disk_zone_options){ .image = z->image[0] ? z->image : NULL, .size = ZONE * 512,
		.capacity = CAP * 512, .conventional = CONV, .max_open = 2, .max_active = 3, .append = z->append, .host_aware = z->aware,
		.place = place }, why);
	return z->disk ? NULL : why;
}

static void open_device(struct zrig *z, struct vio_features features)
{
	z->b = (struct blk_rig){ .g = rig_new() };
	z->b.o = (struct vio_blk_options){ .disk = z->disk, .queues = 1, .queue_size = RIG_SIZE, .size_max = z->size_max };
	assert_null(rig_open(z->b.g, &vio_dev_blk, &z->b.o));
	rig_start(z->b.g, 1, features);
}

static struct zrig *begin_with(struct zrig preset, struct vio_features features)
{
	struct zrig *z = calloc(1, sizeof *z);

	*z = preset;
	z->loop = vio_loop_new();
	if (z->image[0]) {
		int fd = mkstemp(z->image);
		assert_int_equal(ftruncate(fd, DISK_BYTES), 0);
		close(fd);
		snprintf(z->zones, sizeof z->zones, "%s.zones", z->image);
	}
	const char *why = open_disk(z);
	if (why)
		fail_msg("%s", why);
	open_device(z, features);
	return z;
}

#define WITH_ZONES BITS(ALL_BLK, VIO_BLK_F_ZONED)

static struct zrig *begin(void) { return begin_with((struct zrig){ .append = 16384 }, WITH_ZONES); }

static void shut(struct zrig *z)
{
	rig_close(z->b.g);
	vio_disk_close(z->disk);
}

static void end(struct zrig *z)
{
	shut(z);
	vio_loop_free(z->loop);
	if (z->image[0]) {
		unlink(z->image);
		unlink(z->zones);
	}
	free(z);
}

static uint8_t run(struct zrig *z, struct ask *a, uint32_t *used)
{
	blk_add(&z->b, 0, a, 0, 0);
	rig_kick(z->b.g, 0);
	for (unsigned n = 0; n < 5000; n++) {
		void *got = rig_get(z->b.g, 0, used);
		if (got) {
			assert_ptr_equal(got, a->w);
			return a->w[a->w_len - 1];
		}
		turn(z);
	}
	fail_msg("no answer");
	return 0;
}

static uint8_t ask(struct zrig *z, uint32_t type, uint64_t sector, const void *out, size_t out_len, void *in, size_t in_len)
{
	uint32_t used;

	rig_rewind(z->b.g);
	struct ask a = blk_ask(&z->b, type, sector, out, out_len, in_len);
	uint8_t status = run(z, &a, &used);
	if (in_len)
		memcpy(in, a.w, in_len);
	return status;
}

struct state { uint8_t type, state; uint64_t wp, cap; };

static struct state state_of(struct zrig *z, unsigned zone)
{
	struct { struct vio_blk_zone_report head; struct vio_blk_zone one; } r;

	assert_int_equal(ask(z, VIO_BLK_T_ZONE_REPORT, zone * ZONE + 5, NULL, 0, &r, sizeof r), VIO_BLK_S_OK);
	assert_int_equal(vio_le64_get(r.head.nr_zones), 1);
	assert_int_equal(vio_le64_get(r.one.z_start), zone * ZONE);
	assert_true(all_are(r.head.reserved, sizeof r.head.reserved, 0) && all_are(r.one.reserved, sizeof r.one.reserved, 0));
	return (struct state){ r.one.z_type, r.one.z_state, vio_le64_get(r.one.z_wp) - zone * ZONE, vio_le64_get(r.one.z_cap) };
}

/* ---- Rows ---- */

enum { W = VIO_BLK_T_OUT, R = VIO_BLK_T_IN, APPEND = VIO_BLK_T_ZONE_APPEND, OPEN = VIO_BLK_T_ZONE_OPEN, CLOSE = VIO_BLK_T_ZONE_CLOSE,
	FINISH = VIO_BLK_T_ZONE_FINISH, RESET = VIO_BLK_T_ZONE_RESET, RESET_ALL = VIO_BLK_T_ZONE_RESET_ALL };
enum { OK = VIO_BLK_S_OK, BAD = VIO_BLK_S_IOERR, UNSUPP = VIO_BLK_S_UNSUPP, INVALID = VIO_BLK_S_ZONE_INVALID_CMD,
	UNALIGNED = VIO_BLK_S_ZONE_UNALIGNED_WP, NO_OPEN = VIO_BLK_S_ZONE_OPEN_RESOURCE, NO_ACTIVE = VIO_BLK_S_ZONE_ACTIVE_RESOURCE };
enum { NOT_WP = VIO_BLK_ZS_NOT_WP, EMPTY = VIO_BLK_ZS_EMPTY, IOPEN = VIO_BLK_ZS_IOPEN, EOPEN = VIO_BLK_ZS_EOPEN,
	CLOSED = VIO_BLK_ZS_CLOSED, FULL = VIO_BLK_ZS_FULL };

/* A request to zone: at a sector of it, of so many sectors; the answer; then what the zone is, and (unless full) its pointer. */
struct row { const char *what; uint32_t type; unsigned zone; int at; uint32_t sectors; uint8_t status, state; uint64_t wp; };

static void run_rows(struct zrig *z, const struct row *row, size_t rows)
{
	static unsigned char data[ZONE * 512 * 2];

	for (size_t i = 0; i < rows; i++) {
		const struct row *r = &row[i];
		uint64_t sector = (uint64_t)((int)(r->zone * ZONE) + r->at);
		vio_le64 at = vio_le64_of(0);
		memset(data, (int)i + 1, sizeof data);
		uint8_t status = r->type == R ? ask(z, R, sector, NULL, 0, data, r->sectors * 512) :
		    r->type == APPEND ? ask(z, APPEND, sector, data, r->sectors * 512, &at, 8) :
		    ask(z, r->type, sector, data, r->sectors * 512, NULL, 0);
		if (status != r->status)
			fail_msg("%s: status %u, not %u", r->what, status, r->status);
		if (r->type == APPEND && status == OK && vio_le64_get(at) != r->zone * ZONE + r->wp - r->sectors)
			fail_msg("%s: appended at %u", r->what, (unsigned)vio_le64_get(at));
		struct state s = state_of(z, r->zone);
		if (s.state != r->state || (s.state != FULL && s.state != NOT_WP && s.wp != r->wp))
			fail_msg("%s: state %u at %u, not %u at %u", r->what, s.state, (unsigned)s.wp, r->state, (unsigned)r->wp);
	}
}
#define ROWS(z, ...) do { \
	static const struct row rows[] = { __VA_ARGS__ }; \
	run_rows(z, rows, sizeof rows / sizeof *rows); \
} while (0)

static void what_is_told(void **state)
{
	struct zrig *z = begin();
	struct vio_blk_config c = blk_config(&z->b);

	(void)state;
	assert_int_equal(c.zoned.model, VIO_BLK_Z_HM);
	assert_int_equal(vio_le32_get(c.zoned.zone_sectors), ZONE);
	assert_int_equal(vio_le32_get(c.zoned.max_open_zones), 2);
	assert_int_equal(vio_le32_get(c.zoned.max_active_zones), 3);
	assert_int_equal(vio_le32_get(c.zoned.max_append_sectors), 32);
	assert_int_equal(vio_le32_get(c.zoned.write_granularity), BLOCK);
	assert_true(all_are(c.zoned.unused2, 3, 0));
	assert_false(vio_drv_has(&z->b.g->drv, VIO_BLK_F_DISCARD) || vio_drv_has(&z->b.g->drv, VIO_BLK_F_SECURE_ERASE));
	for (unsigned i = 0; i < ZONES; i++) {
		struct state s = state_of(z, i);
		assert_int_equal(s.type, i < CONV ? VIO_BLK_ZT_CONV : VIO_BLK_ZT_SWR);
		assert_int_equal(s.state, i < CONV ? NOT_WP : EMPTY);
		assert_int_equal(s.cap, i < CONV ? ZONE : CAP);
	}
	end(z);
	z = begin_with((struct zrig){ .append = 1 << 20, .size_max = 512 }, WITH_ZONES);
	c = blk_config(&z->b);
	assert_true(vio_le32_get(c.zoned.max_append_sectors) <= vio_le32_get(c.seg_max) * vio_le32_get(c.size_max) / 512);
	assert_int_equal(vio_le32_get(c.zoned.max_append_sectors) % SECTORS, 0);
	end(z);
}

/* The other ways to take it. */
static void who_knows_no_zones(void **state)
{
	struct zrig z = { .loop = vio_loop_new() };
	struct vio_drv drv;

	(void)state;
	assert_null(open_disk(&z));
	z.b = (struct blk_rig){ .g = rig_new(), .o = { .disk = z.disk, .queues = 1, .queue_size = RIG_SIZE } };
	assert_null(rig_open(z.b.g, &vio_dev_blk, &z.b.o));
	assert_false(vio_drv_begin(&drv, &z.b.g->wire.port, VIO_ID_BLK, BITS(ALL_BLK), NULL));
	assert_true(strstr(drv.failed, "refused") != NULL);
	shut(&z);
	vio_loop_free(z.loop);
	struct zrig *a = begin_with((struct zrig){ .aware = true, .append = 16384 }, BITS(ALL_BLK));
	struct vio_blk_config c = blk_config(&a->b);
	assert_true(all_are((unsigned char *)&c.zoned, sizeof c.zoned, 0));
	for (uint32_t type = APPEND; type <= RESET_ALL; type++)
		assert_int_equal(ask(a, type, 512, NULL, 0, NULL, 0), UNSUPP);
	assert_int_equal(ask(a, W, 3 * ZONE + 64, (unsigned char[BLOCK]){ 1 }, BLOCK, NULL, 0), OK);
	end(a);
	struct blk_rig plain = blk_new();
	blk_open_start(&plain, WITH_ZONES);
	assert_false(vio_drv_has(&plain.g->drv, VIO_BLK_F_ZONED));
	blk_close(&plain);
}

static void written_in_sequence(void **state)
{
	struct zrig *z = begin();

	(void)state;
	ROWS(z,
		{ "not at the pointer", W, 2, 8, 8, UNALIGNED, EMPTY, 0 },
		{ "the first", W, 2, 0, 8, OK, IOPEN, 8 },
		{ "again the same place", W, 2, 0, 8, UNALIGNED, IOPEN, 8 },
		{ "behind the pointer", W, 2, 16, 8, UNALIGNED, IOPEN, 8 },
		{ "half a block", W, 2, 8, 4, UNALIGNED, IOPEN, 8 },
		{ "the next", W, 2, 8, 16, OK, IOPEN, 24 },
		{ "more than is left", W, 2, 24, CAP - 16, INVALID, IOPEN, 24 },
		{ "into the next zone", W, 2, 24, ZONE, INVALID, IOPEN, 24 },
		{ "all that is left", W, 2, 24, CAP - 24, OK, FULL, 0 },
		{ "a full zone", W, 2, CAP, 8, INVALID, FULL, 0 },
		{ "behind its capacity", W, 2, CAP + 8, 8, INVALID, FULL, 0 },
		{ "from a conventional zone into one in sequence", W, 1, ZONE - 8, 16, INVALID, NOT_WP, 0 },
		{ "over two conventional zones", W, 0, ZONE - 8, 16, OK, NOT_WP, 0 },
		{ "anywhere in a conventional zone", W, 1, 40, 8, OK, NOT_WP, 0 },
		{ "read over two zones in sequence", R, 2, ZONE - 8, 16, INVALID, FULL, 0 },
		{ "read within one", R, 2, 0, ZONE, OK, FULL, 0 },
		{ "behind the end of the disk", W, 7, ZONE - 8, 16, BAD, EMPTY, 0 });
	end(z);
}

static void appended(void **state)
{
	struct zrig *z = begin();

	(void)state;
	ROWS(z,
		{ "to an empty zone", APPEND, 3, 0, 8, OK, IOPEN, 8 },
		{ "to the end of what is there", APPEND, 3, 0, 16, OK, IOPEN, 24 },
		{ "not the zone's first sector", APPEND, 3, 8, 8, INVALID, IOPEN, 24 },
		{ "half a block", APPEND, 3, 0, 4, UNALIGNED, IOPEN, 24 },
		{ "as much as it may", APPEND, 3, 0, 32, OK, IOPEN, 56 },
		{ "more", APPEND, 3, 0, 40, INVALID, IOPEN, 56 },
		{ "to a conventional zone", APPEND, 0, 0, 8, INVALID, NOT_WP, 0 },
		{ "nothing", APPEND, 3, 0, 0, BAD, IOPEN, 56 },
		{ "by a write after it", W, 3, 56, 8, OK, IOPEN, 64 },
		{ "behind the end of the disk", APPEND, 7, ZONE, 8, BAD, EMPTY, 0 });
	for (unsigned i = 0; i < 4; i++)
		ROWS(z, { "another zone, until it is full", APPEND, 4, 0, 8, OK, IOPEN, 8 }, { "open", FINISH, 4, 0, 0, OK, FULL, 0 },
			{ "full", APPEND, 4, 0, 8, INVALID, FULL, 0 }, { "empty", RESET, 4, 0, 0, OK, EMPTY, 0 });
	end(z);
	z = begin_with((struct zrig){ .append = 0 }, WITH_ZONES);
	assert_int_equal(vio_le32_get(blk_config(&z->b).zoned.max_append_sectors), 0);
	ROWS(z, { "where there is no append", APPEND, 3, 0, 8, UNSUPP, EMPTY, 0 });
	end(z);
}

static void states(void **state)
{
	struct zrig *z = begin();

	(void)state;
	ROWS(z,
		{ "open an empty one", OPEN, 2, 0, 0, OK, EOPEN, 0 },
		{ "open it again", OPEN, 2, 0, 0, OK, EOPEN, 0 },
		{ "close it with nothing in it", CLOSE, 2, 0, 0, OK, EMPTY, 0 },
		{ "close an empty one", CLOSE, 2, 0, 0, INVALID, EMPTY, 0 },
		{ "reset an empty one", RESET, 2, 0, 0, OK, EMPTY, 0 },
		{ "write", W, 2, 0, 8, OK, IOPEN, 8 },
		{ "open what a write has opened", OPEN, 2, 0, 0, OK, EOPEN, 8 },
		{ "close", CLOSE, 2, 0, 0, OK, CLOSED, 8 },
		{ "close again", CLOSE, 2, 0, 0, OK, CLOSED, 8 },
		{ "a write opens it", W, 2, 8, 8, OK, IOPEN, 16 },
		{ "close what a write has opened", CLOSE, 2, 0, 0, OK, CLOSED, 16 },
		{ "open", OPEN, 2, 0, 0, OK, EOPEN, 16 },
		{ "finish", FINISH, 2, 0, 0, OK, FULL, 0 },
		{ "finish a full one", FINISH, 2, 0, 0, OK, FULL, 0 },
		{ "open a full one", OPEN, 2, 0, 0, INVALID, FULL, 0 },
		{ "close a full one", CLOSE, 2, 0, 0, INVALID, FULL, 0 },
		{ "reset a full one", RESET, 2, 0, 0, OK, EMPTY, 0 },
		{ "finish an empty one", FINISH, 2, 0, 0, OK, FULL, 0 },
		{ "open a conventional one", OPEN, 1, 0, 0, INVALID, NOT_WP, 0 },
		{ "close a conventional one", CLOSE, 1, 0, 0, INVALID, NOT_WP, 0 },
		{ "finish a conventional one", FINISH, 1, 0, 0, INVALID, NOT_WP, 0 },
		{ "reset a conventional one", RESET, 1, 0, 0, INVALID, NOT_WP, 0 },
		{ "open by another sector", OPEN, 3, 1, 0, INVALID, EMPTY, 0 },
		{ "reset by another sector", RESET, 3, 8, 0, INVALID, EMPTY, 0 },
		{ "finish behind the end", FINISH, 7, ZONE, 0, INVALID, EMPTY, 0 },
		{ "write to one", W, 3, 0, 8, OK, IOPEN, 8 },
		{ "open another", OPEN, 4, 0, 0, OK, EOPEN, 0 },
		{ "reset all", RESET_ALL, 0, 0, 0, OK, NOT_WP, 0 },
		{ "one is empty", CLOSE, 3, 0, 0, INVALID, EMPTY, 0 },
		{ "and another", CLOSE, 4, 0, 0, INVALID, EMPTY, 0 },
		{ "and the full one", CLOSE, 2, 0, 0, INVALID, EMPTY, 0 });
	end(z);
}

static void resources(void **state)
{
	struct zrig *z = begin();

	(void)state;
	ROWS(z,
		{ "one", OPEN, 2, 0, 0, OK, EOPEN, 0 },
		{ "two", OPEN, 3, 0, 0, OK, EOPEN, 0 },
		{ "three: open ones", OPEN, 4, 0, 0, NO_OPEN, EMPTY, 0 },
		{ "nor by a write", W, 4, 0, 8, NO_OPEN, EMPTY, 0 },
		{ "nor by an append", APPEND, 4, 0, 8, NO_OPEN, EMPTY, 0 },
		{ "write", W, 2, 0, 8, OK, EOPEN, 8 },
		{ "close: active, not open", CLOSE, 2, 0, 0, OK, CLOSED, 8 },
		{ "then three", W, 4, 0, 8, OK, IOPEN, 8 },
		{ "four: active ones, and that counts first", W, 5, 0, 8, NO_ACTIVE, EMPTY, 0 },
		{ "nor opened", OPEN, 5, 0, 0, NO_ACTIVE, EMPTY, 0 },
		{ "the closed one: what a write opened is closed for it", W, 2, 8, 8, OK, IOPEN, 16 },
		{ "that one", CLOSE, 4, 0, 0, OK, CLOSED, 8 },
		{ "and back", OPEN, 4, 0, 0, OK, EOPEN, 8 },
		{ "which closed the other", CLOSE, 2, 0, 0, OK, CLOSED, 16 },
		{ "finishing gives both back", FINISH, 3, 0, 0, OK, FULL, 0 },
		{ "so there is room", W, 5, 0, 8, OK, IOPEN, 8 });
	end(z);
}

static void unwritten_reads_as_zeroes(void **state)
{
	static unsigned char data[ZONE * 512], back[ZONE * 512];
	struct zrig *z = begin();

	(void)state;
	memset(data, 0x77, sizeof data);
	assert_int_equal(ask(z, W, 2 * ZONE, data, 16 * 512, NULL, 0), OK);
	assert_int_equal(ask(z, R, 2 * ZONE, NULL, 0, back, sizeof back), OK);
	assert_true(all_are(back, 16 * 512, 0x77) && all_are(back + 16 * 512, sizeof back - 16 * 512, 0));
	assert_int_equal(ask(z, RESET, 2 * ZONE, NULL, 0, NULL, 0), OK);
	assert_int_equal(ask(z, W, 2 * ZONE, data, 8 * 512, NULL, 0), OK);
	assert_int_equal(ask(z, FINISH, 2 * ZONE, NULL, 0, NULL, 0), OK);
	assert_int_equal(ask(z, R, 2 * ZONE, NULL, 0, back, 24 * 512), OK);
	assert_true(all_are(back, 8 * 512, 0x77) && all_are(back + 8 * 512, 16 * 512, 0));
	end(z);
}

static void reports(void **state)
{
	unsigned char r[64 * 10];
	struct zrig *z = begin();
	vio_le64 n;

	(void)state;
	static const struct { uint64_t sector; size_t room; uint64_t zones; } row[] = {
		{ 0, 64 * 9, 8 }, { 0, 64 * 10, 8 }, { 0, 64 * 3, 2 }, { 0, 64 * 3 + 63, 2 }, { 0, 64, 0 }, { 0, 65, 0 }, { ZONE - 1, 64 * 2, 1 },
		{ 7 * ZONE, 640, 1 }, { 8 * ZONE - 1, 640, 1 }, { 3 * ZONE + 7, 640, 5 },
	};
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		assert_int_equal(ask(z, VIO_BLK_T_ZONE_REPORT, row[i].sector, NULL, 0, r, row[i].room), OK);
		memcpy(&n, r, sizeof n);
		assert_int_equal(vio_le64_get(n), row[i].zones);
		assert_true(all_are(r + 64 + 64 * row[i].zones, row[i].room - 64 - 64 * row[i].zones, FILL));
	}
	assert_int_equal(ask(z, VIO_BLK_T_ZONE_REPORT, 8 * ZONE, NULL, 0, r, 640), INVALID);
	assert_int_equal(ask(z, VIO_BLK_T_ZONE_REPORT, UINT64_MAX, NULL, 0, r, 640), INVALID);
	assert_int_equal(ask(z, VIO_BLK_T_ZONE_REPORT, 0, NULL, 0, r, 63), BAD);
	assert_int_equal(ask(z, VIO_BLK_T_ZONE_REPORT, 0, NULL, 0, NULL, 0), BAD);
	assert_int_equal(ask(z, APPEND, 3 * ZONE, r, 0, r, 8), BAD);
	static unsigned char data[BLOCK];
	assert_int_equal(ask(z, APPEND, 3 * ZONE, data, BLOCK, r, 7), BAD);	/* nowhere to tell where */
	assert_int_equal(ask(z, APPEND, 3 * ZONE, data, BLOCK, r, 9), BAD);
	for (uint64_t sector = UINT64_MAX; sector > 100; sector /= 3)
		for (uint32_t type = OPEN; type < RESET_ALL; type += 2)
			assert_int_not_equal(ask(z, type, sector | 1, NULL, 0, NULL, 0), OK);
	ROWS(z, { "nothing of it did anything", W, 3, 0, 8, OK, IOPEN, 8 });
	end(z);
}

static void dead_zones(void **state)
{
	struct zrig *z = begin();
	struct vio_zone_table *t = (struct vio_zone_table *)((char *)(uintptr_t)z->disk->zones - offsetof(struct vio_zone_table, is));

	(void)state;
	t->zone[2].state = VIO_BLK_ZS_RDONLY;
	t->zone[3].state = VIO_BLK_ZS_OFFLINE;
	ROWS(z,
		{ "write to a read-only zone", W, 2, 0, 8, INVALID, VIO_BLK_ZS_RDONLY, 0 },
		{ "append to it", APPEND, 2, 0, 8, INVALID, VIO_BLK_ZS_RDONLY, 0 },
		{ "read it", R, 2, 0, 8, OK, VIO_BLK_ZS_RDONLY, 0 },
		{ "open it", OPEN, 2, 0, 0, INVALID, VIO_BLK_ZS_RDONLY, 0 },
		{ "reset it", RESET, 2, 0, 0, INVALID, VIO_BLK_ZS_RDONLY, 0 },
		{ "read an offline zone", R, 3, 0, 8, INVALID, VIO_BLK_ZS_OFFLINE, 0 },
		{ "write to it", W, 3, 0, 8, INVALID, VIO_BLK_ZS_OFFLINE, 0 },
		{ "append to it", APPEND, 3, 0, 8, INVALID, VIO_BLK_ZS_OFFLINE, 0 },
		{ "open it", OPEN, 3, 0, 0, INVALID, VIO_BLK_ZS_OFFLINE, 0 },
		{ "close it", CLOSE, 3, 0, 0, INVALID, VIO_BLK_ZS_OFFLINE, 0 },
		{ "finish it", FINISH, 3, 0, 0, INVALID, VIO_BLK_ZS_OFFLINE, 0 },
		{ "reset all", RESET_ALL, 3, 0, 0, OK, VIO_BLK_ZS_OFFLINE, 0 });
	end(z);
}

static void host_aware(void **state)
{
	struct zrig *z = begin_with((struct zrig){ .aware = true, .append = 16384 }, WITH_ZONES);

	(void)state;
	assert_int_equal(blk_config(&z->b).zoned.model, VIO_BLK_Z_HA);
	assert_int_equal(state_of(z, 2).type, VIO_BLK_ZT_SWP);
	ROWS(z,
		{ "anywhere", W, 2, 64, 8, OK, IOPEN, 72 },
		{ "before it", W, 2, 0, 8, OK, IOPEN, 72 },
		{ "behind it", W, 2, 72, 8, OK, IOPEN, 80 },
		{ "append is for zones that must be written in sequence", APPEND, 2, 0, 8, INVALID, IOPEN, 80 },
		{ "to the end", W, 2, CAP - 8, 8, OK, FULL, 0 },
		{ "still anywhere", W, 2, 16, 8, OK, FULL, 0 },
		{ "behind what it can hold", W, 2, CAP, 8, INVALID, FULL, 0 },
		{ "reset", RESET, 2, 0, 0, OK, EMPTY, 0 });
	end(z);
}

/* ---- On a file ---- */

#define ON_FILE (struct zrig){ .append = 16384, .image = "/var/tmp/vio-zone-XXXXXX" }

static void reopen(struct zrig *z)
{
	shut(z);
	const char *why = open_disk(z);
	if (why)
		fail_msg("%s", why);
	open_device(z, WITH_ZONES);
}

/* As a crash leaves it: only what the files hold when a flush has been answered. */
static void flushed_pointers_survive(void **state)
{
	unsigned char before[4096 + 16 * ZONES], data[BLOCK];
	struct zrig *z = begin_with(ON_FILE, WITH_ZONES);

	(void)state;
	memset(data, 9, sizeof data);
	ROWS(z, { "two blocks", W, 2, 0, 16, OK, IOPEN, 16 }, { "one", APPEND, 3, 0, 8, OK, IOPEN, 8 }, { "finished", FINISH, 4, 0, 0, OK, FULL, 0 });
	assert_int_equal(ask(z, VIO_BLK_T_FLUSH, 0, NULL, 0, NULL, 0), OK);
	int fd = open(z->zones, O_RDWR);
	assert_int_equal(read(fd, before, sizeof before), sizeof before);
	ROWS(z, { "not flushed", W, 2, 16, 8, OK, IOPEN, 24 }, { "nor this", W, 5, 0, 8, OK, IOPEN, 8 });
	shut(z);
	assert_int_equal(pwrite(fd, before, sizeof before, 0), sizeof before);	/* the power went right after the flush */
	close(fd);
	assert_null(open_disk(z));
	open_device(z, WITH_ZONES);
	ROWS(z,
		{ "what was flushed is there, and closed", CLOSE, 2, 0, 0, OK, CLOSED, 16 },
		{ "what was not is not, and reads as zeroes", R, 5, 0, 8, OK, EMPTY, 0 },
		{ "the other", CLOSE, 3, 0, 0, OK, CLOSED, 8 },
		{ "the finished one", FINISH, 4, 0, 0, OK, FULL, 0 },
		{ "it goes on there", W, 2, 16, 8, OK, IOPEN, 24 },
		{ "reset", RESET, 3, 0, 0, OK, EMPTY, 0 });
	reopen(z);
	ROWS(z, { "a reset needs no flush", CLOSE, 3, 0, 0, INVALID, EMPTY, 0 });
	end(z);
}

/* Neither FLUSH nor CONFIG_WCE: each write is stable when it is answered. */
static void durable_writes_are_in_the_file(void **state)
{
	struct zrig *z = begin_with(ON_FILE, BITS(VIO_BLK_F_ZONED, VIO_BLK_F_BLK_SIZE));
	unsigned char entry[8];

	(void)state;
	ROWS(z, { "a write", W, 2, 0, 8, OK, IOPEN, 8 }, { "an append", APPEND, 2, 0, 8, OK, IOPEN, 16 });
	int fd = open(z->zones, O_RDONLY);
	assert_int_equal(pread(fd, entry, 8, 4096 + 16 * 2), 8);
	close(fd);
	assert_int_equal(entry[0] | entry[1] << 8, 16 * 512);
	end(z);
}

static void damaged_files_are_refused(void **state)
{
	static const struct { off_t at; const char *bytes, *says; } row[] = {
		{ 0, "nozo", "another size" }, { 24, "\1\1\1", "another size" }, { 4096 + 16 * 3 + 5, "\1\1\1", "damaged at zone 3" },
		{ 4096 + 16 * 2 + 8, "\x7f", "damaged at zone 2" },
	};
	struct zrig *z = begin_with(ON_FILE, WITH_ZONES);
	char whole[4096 + 16 * ZONES];

	(void)state;
	shut(z);
	int fd = open(z->zones, O_RDWR);
	assert_int_equal(pread(fd, whole, sizeof whole, 0), sizeof whole);
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		assert_int_equal(pwrite(fd, row[i].bytes, strlen(row[i].bytes), row[i].at), (ssize_t)strlen(row[i].bytes));
		const char *why = open_disk(z);
		assert_non_null(why);
		if (!strstr(why, row[i].says))
			fail_msg("\"%s\" does not say \"%s\"", why, row[i].says);
		assert_int_equal(pwrite(fd, whole, sizeof whole, 0), sizeof whole);
	}
	assert_int_equal(ftruncate(fd, 5000 - 900), 0);
	assert_non_null(open_disk(z));
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	assert_null(open_disk(z));
	open_device(z, WITH_ZONES);
	end(z);
}

/* ---- The driver ---- */

static void give_memory(struct zrig *z, struct vio_blk_setup *s)
{
	*s = (struct vio_blk_setup){ .queues = 1, .queue_size = RIG_SIZE };
	s->memory[0].ring = rig_take(z->b.g, VIO_DRVQ_RING_BYTES(RIG_SIZE));
	s->memory[0].slots = z->b.g->slots[0];
}

static uint8_t drive(struct zrig *z, struct vio_blk *b, struct vio_blk_request *r, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	r->type = type;
	r->sector = sector;
	r->data = data;
	r->len = len;
	if (!vio_blk_submit(b, 0, r))
		return r->status;
	vio_blk_kick(b, 0);
	for (unsigned n = 0; n < 5000; n++) {
		if (vio_blk_poll(b, 0) == r)
			return r->status;
		turn(z);
	}
	fail_msg("no answer");
	return 0;
}

static void driven(void **state)
{
	struct zrig z = { .loop = vio_loop_new(), .append = 16384 };
	struct vio_blk_setup setup;
	struct vio_blk b;

	(void)state;
	assert_null(open_disk(&z));
	z.b = (struct blk_rig){ .g = rig_new(), .o = { .disk = z.disk, .queues = 1, .queue_size = RIG_SIZE } };
	assert_null(rig_open(z.b.g, &vio_dev_blk, &z.b.o));
	z.b.g->used = 0;
	give_memory(&z, &setup);
	struct vio_blk_request *r = rig_take(z.b.g, sizeof *r);
	unsigned char *data = rig_take(z.b.g, 64 * 1024);
	if (!vio_blk_start(&b, &z.b.g->wire.port, &setup))
		fail_msg("%s", b.drv.failed);
	assert_int_equal(b.model, VIO_BLK_Z_HM);
	assert_int_equal(b.zone_sectors, ZONE);
	assert_int_equal(b.max_append_sectors, 32);
	assert_int_equal(b.write_granularity, BLOCK);
	memset(data, 3, BLOCK);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(drive(&z, &b, r, APPEND, 3 * ZONE, data, BLOCK), OK);
		assert_int_equal(r->sector, 3 * ZONE + 8 * i);
	}
	assert_int_equal(drive(&z, &b, r, R, 3 * ZONE + 16, data, BLOCK), OK);
	assert_true(all_are(data, BLOCK, 3));
	assert_int_equal(drive(&z, &b, r, VIO_BLK_T_ZONE_REPORT, 3 * ZONE + 1, data, 128), OK);
	assert_int_equal(((struct vio_blk_zone *)(void *)(data + 64))->z_state, IOPEN);
	assert_int_equal(drive(&z, &b, r, CLOSE, 3 * ZONE, NULL, 0), OK);
	assert_int_equal(drive(&z, &b, r, W, 3 * ZONE, data, BLOCK), UNALIGNED);
	assert_int_equal(drive(&z, &b, r, FINISH, 3 * ZONE, NULL, 0), OK);
	assert_int_equal(drive(&z, &b, r, OPEN, 3 * ZONE, NULL, 0), INVALID);
	assert_int_equal(drive(&z, &b, r, RESET_ALL, 0, NULL, 0), OK);
	/* What a driver must not ask never reaches the device. */
	uint64_t refused = rig_refused(z.b.g, 0);
	assert_int_equal(drive(&z, &b, r, APPEND, 3 * ZONE + 1, data, BLOCK), UNSUPP);
	assert_int_equal(drive(&z, &b, r, APPEND, 3 * ZONE, data, 512), UNSUPP);
	assert_int_equal(drive(&z, &b, r, APPEND, 3 * ZONE, data, 5 * BLOCK), UNSUPP);
	assert_int_equal(drive(&z, &b, r, OPEN, 3 * ZONE + 8, NULL, 0), UNSUPP);
	assert_int_equal(drive(&z, &b, r, RESET, 8 * ZONE, NULL, 0), UNSUPP);
	assert_int_equal(drive(&z, &b, r, VIO_BLK_T_ZONE_REPORT, 8 * ZONE, data, 128), UNSUPP);
	assert_int_equal(drive(&z, &b, r, VIO_BLK_T_ZONE_REPORT, 0, data, 63), UNSUPP);
	assert_int_equal(rig_refused(z.b.g, 0), refused);
	assert_true(vio_blk_stop(&b));
	shut(&z);
	vio_loop_free(z.loop);
}

static const struct CMUnitTest tests[] = {
	T(what_is_told, "the zones of a host-managed disk as the config space tells them {blk-dev-9 blk-dev-9b blk-dev-10 blk-dev-12 blk-dev-13 "
	    "blk-dev-14 blk-dev-15 blk-dev-16 blk-dev-17 blk-dev-18; only us}"),
	T(who_knows_no_zones, "a driver that knows no zones: not of a host-managed disk, and a plain disk of a host-aware one "
	    "{blk-dev-5 blk-dev-7 blk-dev-8 blk-dev-36; only us}"),
	T(written_in_sequence, "writes go to the write pointer, in one zone, as far as it can hold {blk-dev-46 blk-dev-50 blk-dev-51; only us}"),
	T(appended, "appends go where the zone ends, and say where {blk-dev-38 blk-dev-45 blk-dev-46 blk-dev-47 blk-dev-48 blk-dev-49; only us}"),
	T(states, "zones are opened, closed, finished, reset {blk-dev-37 blk-dev-39 blk-dev-41 blk-dev-42 blk-dev-43; only us}"),
	T(resources, "so many are open, so many active, and what was opened implicitly gives way {blk-dev-40 blk-dev-44 blk-dev-52; only us}"),
	T(unwritten_reads_as_zeroes, "what was not written reads as zeroes {blk-dev-55 blk-dev-56 blk-dev-56a; only us}"),
	T(reports, "reports have as many zones as there is room for; odd requests do nothing"),
	T(dead_zones, "zones that can't be written, or not at all {blk-dev-53 blk-dev-54; only us}"),
	T(host_aware, "host-aware: written anywhere {blk-dev-9c; only us}"),
	T(flushed_pointers_survive, "after a crash pointers are where the last flush left them, and data behind them is nobody's"),
	T(durable_writes_are_in_the_file, "a durable write's pointer is in the file when it is answered"),
	T(damaged_files_are_refused, "a zones' file of other zones, or a damaged one, is refused"),
	T(driven, "the driver drives zones, and asks what it may {blk-drv-27 blk-drv-28 blk-drv-30 blk-drv-31 blk-drv-32 blk-drv-33 blk-drv-34 "
	    "blk-drv-35 blk-drv-36a; only us}"),
};

int main(void) { return vio_tests("zones", tests, sizeof tests / sizeof *tests); }
