/* Between the files of the block device: blk.c serves requests, blk_config.c is what the device says of itself. */
#ifndef VIO_DEVICE_BLK_IMPL_H
#define VIO_DEVICE_BLK_IMPL_H
#include <vio/device/blk.h>
#include <vio/ring/freestanding.h>
#include <vio/spec/blk.h>

enum {
	VIO_BLK_RANGES = 16,		/* of one discard, write zeroes or secure erase request */
	VIO_BLK_RANGE_SECTORS = 1 << 22	/* of one range: 2 GiB, so that one request is not endless */
};

/* What settles how requests are served; read by the queues' threads, written in the home thread only. */
enum { VIO_BLK_DURABLE = 1, VIO_BLK_DISCARD = 2, VIO_BLK_ZEROES = 4, VIO_BLK_ERASE = 8, VIO_BLK_LIFETIME = 16, VIO_BLK_ZONED = 32 };

struct blk_queue {
	struct vio_disk_chan *chan;
	uint32_t moved;			/* bytes, in this turn */
	unsigned char apart[128 - sizeof(void *) - sizeof(uint32_t)];	/* neighbours have other threads */
};

struct blk {
	struct vio_dev dev;
	struct vio_disk *disk;
	uint64_t sectors;		/* atomic */
	uint32_t rules;			/* atomic; VIO_BLK_DURABLE and friends */
	uint32_t block_mask;		/* sectors of a logical block - 1 */
	bool read_only, writethrough;
	bool size_due;			/* changed while suspended */
	char serial[VIO_BLK_ID_BYTES];
	struct vio_blk_config config;
	struct blk_queue queue[VIO_DEV_QUEUES];
};

static inline struct blk *blk_of(struct vio_dev *d) { return (struct blk *)d; }

/* blk_config.c, for the type's table */
const char *vio_blk_dev_open(struct vio_dev *d, const void *options);
void vio_blk_dev_close(struct vio_dev *d);
void vio_blk_dev_config(struct vio_dev *d, uint32_t at, uint32_t len);
void vio_blk_dev_negotiated(struct vio_dev *d);
void vio_blk_dev_reset(struct vio_dev *d);
size_t vio_blk_dev_save(struct vio_dev *d, void *to, size_t room);
const char *vio_blk_dev_load(struct vio_dev *d, const void *from, size_t n);
void vio_blk_dev_tell_size(struct blk *b);	/* the disk's size goes into the config space, and the driver is told */
bool vio_blk_dev_features_ok(struct vio_dev *d, struct vio_features accepted);
enum { VIO_BLK_DEV_FEATURES = 14 };
extern const unsigned char vio_blk_dev_features[VIO_BLK_DEV_FEATURES];
#endif
