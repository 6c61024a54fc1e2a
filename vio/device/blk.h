/* Block device (virtio 1.4, section 5.2): options.  The type is vio_dev_blk. */
#ifndef VIO_DEVICE_BLK_H
#define VIO_DEVICE_BLK_H
#include <vio/backend/disk.h>
#include <vio/device/dev.h>
VIO_BEGIN_DECLS

struct vio_blk_options {
	struct vio_disk *disk;		/* the caller's; must outlive the device */
	uint16_t queues;		/* 1 to VIO_DEV_QUEUES */
	uint16_t queue_size;		/* 0: 256 */
	uint32_t seg_max;		/* data segments of a request; 0: 254 */
	uint32_t size_max;		/* bytes of a segment; 0: no limit */
	char serial[20];		/* NUL-padded */
	bool read_only;
	bool writethrough;		/* start with writeback 0 */
	struct { uint16_t cylinders; uint8_t heads, sectors; } geometry;	/* 0: not told */
};
extern const struct vio_dev_type vio_dev_blk;
VIO_END_DECLS
#endif
