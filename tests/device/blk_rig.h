/* A block device on the rig, over the disk that remembers, and the ways to ask it something. */
#ifndef VIO_TESTS_DEVICE_BLK_RIG_H
#define VIO_TESTS_DEVICE_BLK_RIG_H
#include <vio/device/blk.h>
#include <vio/spec/blk.h>
#include "disk.h"

enum { DISK_BYTES = 1 << 20, CAPACITY = DISK_BYTES / 512, FILL = 0x5a };

struct blk_rig {
	struct rig *g;
	struct test_disk *t;
	struct vio_blk_options o;
};

#define ALL_BLK VIO_BLK_F_SIZE_MAX, VIO_BLK_F_SEG_MAX, VIO_BLK_F_GEOMETRY, VIO_BLK_F_RO, VIO_BLK_F_BLK_SIZE, VIO_BLK_F_FLUSH, \
	VIO_BLK_F_TOPOLOGY, VIO_BLK_F_CONFIG_WCE, VIO_BLK_F_MQ, VIO_BLK_F_DISCARD, VIO_BLK_F_WRITE_ZEROES, VIO_BLK_F_LIFETIME, \
	VIO_BLK_F_SECURE_ERASE
#define SPLIT_FULL VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX
#define PACKED_FULL VIO_F_RING_PACKED, VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_IN_ORDER

static inline struct blk_rig blk_new(void)
{
	struct blk_rig b = { .g = rig_new(), .t = test_disk_new(DISK_BYTES) };

	b.o = (struct vio_blk_options){ .disk = &b.t->disk, .queues = 1, .queue_size = RIG_SIZE, .serial = "disk of the tests" };
	return b;
}

static inline void blk_close(struct blk_rig *b)
{
	rig_close(b->g);
	b->t->disk.ops->close(&b->t->disk);
}

static inline void blk_open_start(struct blk_rig *b, struct vio_features features)
{
	const char *why = rig_open(b->g, &vio_dev_blk, &b->o);
	assert_null(why);
	rig_start(b->g, b->o.queues, features);
}

/* Both ring formats, plain and with everything, over memory in one piece and in single bytes. */
enum { SHAPES = 8 };

static inline void blk_start_shape(struct blk_rig *b, unsigned shape)
{
	const struct vio_features rings[] = { BITS(ALL_BLK), BITS(ALL_BLK, SPLIT_FULL), BITS(ALL_BLK, VIO_F_RING_PACKED),
		BITS(ALL_BLK, PACKED_FULL) };

	b->g->mem.clip = shape & 1;
	blk_open_start(b, rings[shape / 2]);
}

/* A request on its way: what the device may read and write. */
struct ask { unsigned char *r, *w; size_t r_len, w_len; };

/* out behind the header; in bytes and a status byte to write, all FILL. */
static inline struct ask blk_ask(struct blk_rig *b, uint32_t type, uint64_t sector, const void *out, size_t out_len, size_t in)
{
	struct vio_blk_req h = { vio_le32_of(type), vio_le32_of(0), vio_le64_of(sector) };
	struct ask a = { .r_len = sizeof h + out_len, .w_len = in + 1 };

	a.r = rig_take(b->g, a.r_len);
	a.w = rig_take(b->g, a.w_len);
	memcpy(a.r, &h, sizeof h);
	if (out_len)
		memcpy(a.r + sizeof h, out, out_len);
	memset(a.w, FILL, a.w_len);
	return a;
}

static inline void blk_add(struct blk_rig *b, uint16_t queue, const struct ask *a, size_t r_cut, size_t w_cut)
{
	assert_true(rig_add(b->g, queue, a->r, a->r_len, r_cut, a->w, a->w_len, w_cut));
}

/* Send it alone and take it back: the status byte, and used.len. */
static inline uint8_t blk_run(struct blk_rig *b, const struct ask *a, size_t r_cut, size_t w_cut, uint32_t *used)
{
	blk_add(b, 0, a, r_cut, w_cut);
	rig_kick(b->g, 0);
	assert_ptr_equal(rig_get(b->g, 0, used), a->w);
	assert_null(b->g->q[0].broken);
	return a->w[a->w_len - 1];
}

/* The short form, with everything in as few buffers as usual; in comes back in in. */
static inline uint8_t blk_do(struct blk_rig *b, uint32_t type, uint64_t sector, const void *out, size_t out_len, void *in,
    size_t in_len, uint32_t *used)
{
	uint32_t unused;

	rig_rewind(b->g);
	struct ask a = blk_ask(b, type, sector, out, out_len, in_len);
	uint8_t status = blk_run(b, &a, 0, 0, used ? used : &unused);
	if (in_len)
		memcpy(in, a.w, in_len);
	return status;
}

static inline struct vio_blk_range range_of(uint64_t sector, uint32_t sectors, uint32_t flags)
{
	return (struct vio_blk_range){ vio_le64_of(sector), vio_le32_of(sectors), vio_le32_of(flags) };
}

static inline struct vio_blk_config blk_config(struct blk_rig *b)
{
	struct vio_blk_config c;
	assert_true(vio_drv_config(&b->g->drv, 0, &c, sizeof c));
	return c;
}

static inline bool image_is_untouched(const struct test_disk *t)
{
	for (uint64_t i = 0; i < t->room; i++)
		if (t->bytes[i] != pattern(i))
			return false;
	return true;
}

static inline bool all_are(const unsigned char *p, size_t n, unsigned char byte)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != byte)
			return false;
	return true;
}
#endif
