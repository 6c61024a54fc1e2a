/* Device groups and their administration commands (virtio 1.4, sections 2.12 and 2.13): what the self group knows. */
#ifndef VIO_SPEC_ADMIN_H
#define VIO_SPEC_ADMIN_H
#include <vio/spec/types.h>

enum { VIO_ADMIN_GROUP_SELF = 0, VIO_ADMIN_GROUP_SR_IOV = 1 };

enum {	/* 2.12.1; where the table and the text of 0xb and 0xc differ, the text */
	VIO_ADMIN_CMD_LIST_QUERY = 0x0,
	VIO_ADMIN_CMD_LIST_USE = 0x1,
	VIO_ADMIN_CMD_CAP_ID_LIST_QUERY = 0x7,
	VIO_ADMIN_CMD_DEVICE_CAP_GET = 0x8,
	VIO_ADMIN_CMD_DRIVER_CAP_SET = 0x9,
	VIO_ADMIN_CMD_RESOURCE_OBJ_CREATE = 0xa,
	VIO_ADMIN_CMD_RESOURCE_OBJ_MODIFY = 0xb,
	VIO_ADMIN_CMD_RESOURCE_OBJ_QUERY = 0xc,
	VIO_ADMIN_CMD_RESOURCE_OBJ_DESTROY = 0xd,
	VIO_ADMIN_CMDS = 64	/* more than any that there is: a list of them is one word */
};

enum {	/* status: numbers of errno */
	VIO_ADMIN_STATUS_OK = 0,
	VIO_ADMIN_STATUS_ENXIO = 6,
	VIO_ADMIN_STATUS_EAGAIN = 11,
	VIO_ADMIN_STATUS_ENOMEM = 12,
	VIO_ADMIN_STATUS_EBUSY = 16,
	VIO_ADMIN_STATUS_EEXIST = 17,	/* used in the text and missing in the table */
	VIO_ADMIN_STATUS_EINVAL = 22,
	VIO_ADMIN_STATUS_ENOSPC = 28
};

enum {	/* status_qualifier */
	VIO_ADMIN_STATUS_Q_OK = 0,
	VIO_ADMIN_STATUS_Q_INVALID_COMMAND = 1,
	VIO_ADMIN_STATUS_Q_INVALID_OPCODE = 2,
	VIO_ADMIN_STATUS_Q_INVALID_FIELD = 3,
	VIO_ADMIN_STATUS_Q_INVALID_GROUP = 4,
	VIO_ADMIN_STATUS_Q_INVALID_MEMBER = 5,
	VIO_ADMIN_STATUS_Q_NORESOURCE = 6,
	VIO_ADMIN_STATUS_Q_TRYAGAIN = 7
};

/* A command is a readable and a writable part, each a multiple of 8 bytes; what a command adds follows. */
struct vio_admin_cmd { vio_le16 opcode, group_type; uint8_t reserved[12]; vio_le64 member; };
struct vio_admin_answer { vio_le16 status, qualifier; uint8_t reserved[4]; };
VIO_STATIC_ASSERT(sizeof(struct vio_admin_cmd) == 24 && sizeof(struct vio_admin_answer) == 8, "2.12.1");

enum {	/* capability ids */
	VIO_ADMIN_CAP_OF_TYPE = 0x800,	/* the first of a device type's own */
	VIO_ADMIN_CAP_IDS = 0x1000
};
/* A number or a bitmap in a capability's value, of 1, 2, 4 or 8 bytes: a driver may set less of it than the device has. */
enum { VIO_ADMIN_LIMIT, VIO_ADMIN_FLAGS };
struct vio_admin_field { uint16_t at; uint8_t bytes, kind; };

static inline uint64_t vio_admin_number(const void *p, unsigned bytes)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)((const unsigned char *)p)[i] << 8 * i;
	return v;
}

struct vio_admin_cap_id { vio_le16 id; uint8_t reserved[6]; };		/* and, to set it, the value */

enum { VIO_ADMIN_OBJECT_OF_TYPE = 0x200 };	/* the first type of resource object of a device type's own */
struct vio_admin_object_id { vio_le16 type; uint8_t reserved[2]; vio_le32 id; };
struct vio_admin_object { struct vio_admin_object_id at; vio_le64 flags; };	/* and, to create or modify it, the data */
VIO_STATIC_ASSERT(sizeof(struct vio_admin_cap_id) == 8 && sizeof(struct vio_admin_object) == 16, "2.12.1.2, 2.12.1.3");
#endif
