/*
 * A SCSI device in the rig, over disks that remember, and commands by hand: nothing here knows more of a command than its bytes.
 *
 *   target 0, LUN 0    a disk, 1 MiB, serial number "0001"
 *   target 0, LUN 5    another one
 *   target 3, LUN 300  a third, and no LUN 0 beside it
 *   target 4, LUN 0    a CD-ROM drive
 */
#ifndef VIO_TESTS_DEVICE_SCSI_RIG_H
#define VIO_TESTS_DEVICE_SCSI_RIG_H
#include <vio/device/scsi.h>
#include <vio/spec/scsi.h>
#include <vio/spec/scsi_cmd.h>
#include "disk.h"

enum { DISK_BYTES = 1 << 20, BLOCKS = DISK_BYTES / 512, FILL = 0x5a, UNITS = 4, CONTROL = 0, EVENTS = 1, REQUESTS = 2 };
#define ALL_SCSI VIO_SCSI_F_INOUT, VIO_SCSI_F_HOTPLUG, VIO_SCSI_F_CHANGE, VIO_SCSI_F_T10_PI
#define USUAL VIO_SCSI_F_HOTPLUG, VIO_SCSI_F_CHANGE, VIO_F_VERSION_1
#define SPLIT_FULL VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX
#define PACKED_FULL VIO_F_RING_PACKED, VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_IN_ORDER

struct scsi_rig {
	struct rig *g;
	struct test_disk *t[UNITS];
	struct vio_scsi_lun luns[UNITS];
	struct vio_scsi_options o;
	uint8_t lun[8];			/* where commands go */
	uint32_t sense_size, cdb_size;
	uint8_t attr;
	uint64_t id;
	size_t r_cut, w_cut;
	uint16_t queue;
	/* The last answer. */
	uint32_t used, sense_len, residual;
	uint8_t status, response;
	uint8_t sense[256];
	uint8_t in[1 << 17];
};

static inline void scsi_at(struct scsi_rig *b, uint8_t target, uint16_t lun)
{
	uint8_t to[8] = { 1, target, (uint8_t)(0x40 | lun >> 8), (uint8_t)lun };
	memcpy(b->lun, to, 8);
}

static inline struct scsi_rig *scsi_new(void)
{
	struct scsi_rig *b = calloc(1, sizeof *b);

	assert_non_null(b);
	b->g = rig_new();
	for (unsigned i = 0; i < UNITS; i++)
		b->t[i] = test_disk_new(DISK_BYTES);
	b->luns[0] = (struct vio_scsi_lun){ .target = 0, .lun = 0, .disk = &b->t[0]->disk, .serial = "0001" };
	b->luns[1] = (struct vio_scsi_lun){ .target = 0, .lun = 5, .disk = &b->t[1]->disk, .serial = "0002" };
	b->luns[2] = (struct vio_scsi_lun){ .target = 3, .lun = 300, .disk = &b->t[2]->disk };
	b->luns[3] = (struct vio_scsi_lun){ .target = 4, .lun = 0, .disk = &b->t[3]->disk, .cdrom = true };
	b->o = (struct vio_scsi_options){ .luns = b->luns, .lun_count = UNITS, .queues = 1, .queue_size = RIG_SIZE };
	b->sense_size = 96;
	b->cdb_size = 32;
	b->queue = REQUESTS;
	scsi_at(b, 0, 0);
	return b;
}

static inline void scsi_close(struct scsi_rig *b)
{
	rig_close(b->g);
	for (unsigned i = 0; i < UNITS; i++)
		b->t[i]->disk.ops->close(&b->t[i]->disk);
	free(b);
}

static inline void scsi_begin(struct scsi_rig *b, struct vio_features f)
{
	assert_null(rig_open(b->g, &vio_dev_scsi, &b->o));
	rig_start(b->g, (uint16_t)(REQUESTS + b->o.queues), f);
}

/* A request on its way. */
struct ask { unsigned char *r, *w; size_t r_len, w_len; };

static inline struct ask scsi_ask(struct scsi_rig *b, const uint8_t *cdb, size_t cdb_len, const void *out, size_t out_len,
    size_t in_len)
{
	struct ask a = { .r_len = 19 + b->cdb_size + out_len, .w_len = 12 + b->sense_size + in_len };

	a.r = rig_take(b->g, a.r_len);
	a.w = rig_take(b->g, a.w_len);
	memset(a.r, 0, a.r_len);
	memcpy(a.r, b->lun, 8);
	memcpy(a.r + 8, &b->id, 8);
	a.r[16] = b->attr;
	memcpy(a.r + 19, cdb, cdb_len < b->cdb_size ? cdb_len : b->cdb_size);
	if (out_len)
		memcpy(a.r + 19 + b->cdb_size, out, out_len);
	memset(a.w, FILL, a.w_len);
	return a;
}

static inline void scsi_take(struct scsi_rig *b, const struct ask *a)
{
	memcpy(&b->sense_len, a->w, 4);
	memcpy(&b->residual, a->w + 4, 4);
	b->status = a->w[10];
	b->response = a->w[11];
	memset(b->sense, 0, sizeof b->sense);
	memcpy(b->sense, a->w + 12, b->sense_size < sizeof b->sense ? b->sense_size : sizeof b->sense);
	memcpy(b->in, a->w + 12 + b->sense_size, a->w_len - 12 - b->sense_size);
}

static inline void scsi_add(struct scsi_rig *b, const struct ask *a)
{
	assert_true(rig_add(b->g, b->queue, a->r, a->r_len, b->r_cut, a->w, a->w_len, b->w_cut));
	rig_kick(b->g, b->queue);
}

static inline uint8_t scsi_run(struct scsi_rig *b, const uint8_t *cdb, size_t cdb_len, const void *out, size_t out_len,
    size_t in_len)
{
	rig_rewind(b->g);
	struct ask a = scsi_ask(b, cdb, cdb_len, out, out_len, in_len);
	scsi_add(b, &a);
	assert_ptr_equal(rig_get(b->g, b->queue, &b->used), a.w);
	assert_null(b->g->q[b->queue].broken);
	scsi_take(b, &a);
	return b->status;
}

#define CDB(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })
#define TUR CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0

static inline unsigned sense_key(const struct scsi_rig *b)
{
	return ((b->sense[0] & 0x7f) >= 0x72 ? b->sense[1] : b->sense[2]) & 15;
}
static inline unsigned sense_code(const struct scsi_rig *b)
{
	return (b->sense[0] & 0x7f) >= 0x72 ? b->sense[2] << 8 | b->sense[3] : b->sense[12] << 8 | b->sense[13];
}

#define good(b, ...) do { \
		uint8_t status_ = scsi_run(b, __VA_ARGS__); \
		if ((b)->response || status_) \
			fail_msg("response %u, status %#x, sense %x %04x", (b)->response, status_, sense_key(b), sense_code(b)); \
	} while (0)
#define check(b, key, code, ...) do { \
		assert_int_equal(scsi_run(b, __VA_ARGS__), VIO_SAM_CHECK_CONDITION); \
		assert_int_equal((b)->response, VIO_SCSI_S_OK); \
		if (sense_key(b) != (key) || sense_code(b) != (code)) \
			fail_msg("sense %x %04x", sense_key(b), sense_code(b)); \
	} while (0)
#define responds(b, what, ...) do { scsi_run(b, __VA_ARGS__); assert_int_equal((b)->response, what); } while (0)

/* The unit attention of power on is out of the way. */
static inline void scsi_settle(struct scsi_rig *b)
{
	uint8_t lun[8];

	memcpy(lun, b->lun, 8);
	for (unsigned i = 0; i < b->o.lun_count; i++) {
		scsi_at(b, b->luns[i].target, b->luns[i].lun);
		while (scsi_run(b, CDB(0, 0, 0, 0, 0, 0), NULL, 0, 0) == VIO_SAM_CHECK_CONDITION && sense_key(b) == VIO_SENSE_UNIT_ATTENTION)
			;
	}
	memcpy(b->lun, lun, 8);
}

static inline struct scsi_rig *scsi_start_with(struct vio_features f)
{
	struct scsi_rig *b = scsi_new();

	scsi_begin(b, f);
	scsi_settle(b);
	return b;
}
static inline struct scsi_rig *scsi_start(void) { return scsi_start_with(BITS(USUAL)); }
#endif
