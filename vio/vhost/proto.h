/*
 * The vhost-user protocol: what is on the socket.  Numbers are in host byte order.  The messages themselves, with their
 * sizes, descriptors and replies, are the table in messages.def.
 */
#ifndef VIO_VHOST_PROTO_H
#define VIO_VHOST_PROTO_H
#include <vio/spec/types.h>

enum {	/* protocol feature bits */
	VIO_VHOST_F_MQ = 0,
	VIO_VHOST_F_LOG_SHMFD = 1,
	VIO_VHOST_F_REPLY_ACK = 3,
	VIO_VHOST_F_BACKEND_REQ = 5,
	VIO_VHOST_F_CONFIG = 9,
	VIO_VHOST_F_BACKEND_SEND_FD = 10,
	VIO_VHOST_F_INFLIGHT_SHMFD = 12,
	VIO_VHOST_F_RESET_DEVICE = 13,
	VIO_VHOST_F_INBAND_NOTIFICATIONS = 14,
	VIO_VHOST_F_CONFIGURE_MEM_SLOTS = 15,
	VIO_VHOST_F_STATUS = 16,
	VIO_VHOST_F_DEVICE_STATE = 19,
	VIO_VHOST_F_GET_VRING_BASE_INFLIGHT = 20
};

/* Bits among the device features that are not the device's. */
enum { VIO_VHOST_LOG_ALL = 26, VIO_VHOST_PROTOCOL_FEATURES = 30 };

/* flags */
enum { VIO_VHOST_VERSION = 1, VIO_VHOST_VERSION_MASK = 3, VIO_VHOST_REPLY = 4, VIO_VHOST_NEED_REPLY = 8 };

enum {
	VIO_VHOST_FDS = 8,		/* descriptors a message may carry */
	VIO_VHOST_REGIONS = 8,		/* of SET_MEM_TABLE */
	VIO_VHOST_MEM_SLOTS = 509,	/* of ADD_MEM_REG */
	VIO_VHOST_CONFIG_BYTES = 256,
	VIO_VHOST_NO_FD = 0x100		/* in the u64 of SET_VRING_KICK, CALL, ERR */
};

struct vio_vhost_header { uint32_t request, flags, size; };
struct vio_vhost_state { uint32_t index, num; };
struct vio_vhost_addr { uint32_t index, flags; uint64_t desc, used, avail, log; };
enum { VIO_VHOST_ADDR_LOG = 1 };
struct vio_vhost_region { uint64_t gpa, size, uva, offset; };
struct vio_vhost_mem_table { uint32_t count, pad; struct vio_vhost_region region[VIO_VHOST_REGIONS]; };
struct vio_vhost_mem_reg { uint64_t pad; struct vio_vhost_region region; };
struct vio_vhost_log { uint64_t size, offset; };
struct vio_vhost_iotlb { uint64_t iova, size, uva; uint8_t perm, type; uint8_t pad[6]; };
enum { VIO_IOTLB_MISS = 1, VIO_IOTLB_UPDATE = 2, VIO_IOTLB_INVALIDATE = 3, VIO_IOTLB_ACCESS_FAIL = 4 };
struct vio_vhost_config { uint32_t offset, size, flags; uint8_t bytes[VIO_VHOST_CONFIG_BYTES]; };
struct vio_vhost_inflight { uint64_t size, offset; uint16_t queues, queue_size; uint8_t pad[4]; };
struct vio_vhost_transfer { uint32_t direction, phase; };
enum { VIO_TRANSFER_SAVE = 0, VIO_TRANSFER_LOAD = 1, VIO_TRANSFER_STOPPED = 0 };
enum { VIO_TRANSFER_ERROR = 0xff, VIO_TRANSFER_NO_FD = 0x100 };	/* in the answer */
enum { VIO_VHOST_STATE_BYTES = 1 << 20 };			/* of a device's state, at most */

union vio_vhost_payload {
	uint64_t u64;
	struct vio_vhost_state state;
	struct vio_vhost_addr addr;
	struct vio_vhost_mem_table table;
	struct vio_vhost_mem_reg reg;
	struct vio_vhost_log log;
	struct vio_vhost_iotlb iotlb;
	struct vio_vhost_config config;
	struct vio_vhost_inflight inflight;
	struct vio_vhost_transfer transfer;
	uint8_t bytes[512];
};
VIO_STATIC_ASSERT(sizeof(struct vio_vhost_header) == 12, "header");
VIO_STATIC_ASSERT(sizeof(struct vio_vhost_addr) == 40 && sizeof(struct vio_vhost_region) == 32, "payloads");
VIO_STATIC_ASSERT(sizeof(struct vio_vhost_iotlb) == 32 && sizeof(struct vio_vhost_inflight) == 24, "payloads");
#endif
