/* Device parts: the state of a device in a defined form (virtio 1.4, section 2.12). */
#ifndef VIO_SPEC_PARTS_H
#define VIO_SPEC_PARTS_H
#include <vio/spec/types.h>

enum {
	VIO_PART_DEV_FEATURES = 0x100,
	VIO_PART_DRV_FEATURES = 0x101,
	VIO_PART_DEVICE_STATUS = 0x103,
	VIO_PART_VQ_CFG = 0x104,
	VIO_PART_DEVICE_TYPE = 0x200,	/* first of the range that is the device type's own */
	VIO_PART_VQ_PLACE = 0x5ff	/* ours: where a stopped queue goes on; the specification has no part for it */
};
enum { VIO_PART_F_OPTIONAL = 1 };

struct vio_part_header {
	vio_le16 type;
	uint8_t flags, reserved;
	uint8_t selector[8];		/* of a queue's parts: le16 index, then zeroes */
	vio_le32 length;
};
struct vio_part_features { vio_le64 word[2]; };
struct vio_part_vq_cfg { vio_le16 size, vector, enabled, reserved; vio_le64 desc, driver, device; };
struct vio_part_vq_place { vio_le32 base; };
VIO_STATIC_ASSERT(sizeof(struct vio_part_header) == 16 && sizeof(struct vio_part_vq_cfg) == 32, "2.12");
#endif
