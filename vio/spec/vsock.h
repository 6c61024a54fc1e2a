/* Socket device (virtio 1.4, section 5.10). */
#ifndef VIO_SPEC_VSOCK_H
#define VIO_SPEC_VSOCK_H
#include <vio/spec/types.h>

enum { VIO_VSOCK_RX = 0, VIO_VSOCK_TX = 1, VIO_VSOCK_EVENT = 2, VIO_VSOCK_QUEUES = 3 };	/* 5.10.2 */

enum {	/* 5.10.3 feature bits */
	VIO_VSOCK_F_STREAM = 0,
	VIO_VSOCK_F_SEQPACKET = 1,
	VIO_VSOCK_F_NO_IMPLIED_STREAM = 2
};

struct vio_vsock_config { vio_le64 guest_cid; };	/* 5.10.4 */
VIO_STATIC_ASSERT(sizeof(struct vio_vsock_config) == 8, "5.10.4");

#define VIO_VSOCK_CID_HOST UINT64_C(2)
#define VIO_VSOCK_CID_ANY UINT64_C(0xffffffff)

/* 5.10.4: these can't be a guest's; the upper 32 bits are reserved and zero. */
static inline bool vio_vsock_cid_reserved(uint64_t cid) { return cid <= VIO_VSOCK_CID_HOST || cid >= VIO_VSOCK_CID_ANY; }

struct __attribute__((packed)) vio_vsock_hdr {	/* 5.10.6 */
	vio_le64 src_cid, dst_cid;
	vio_le32 src_port, dst_port;
	vio_le32 len;
	vio_le16 type, op;
	vio_le32 flags;
	vio_le32 buf_alloc, fwd_cnt;
};
VIO_STATIC_ASSERT(sizeof(struct vio_vsock_hdr) == 44, "5.10.6");

enum {	/* 5.10.6 operations */
	VIO_VSOCK_OP_INVALID = 0,
	VIO_VSOCK_OP_REQUEST = 1,
	VIO_VSOCK_OP_RESPONSE = 2,
	VIO_VSOCK_OP_RST = 3,
	VIO_VSOCK_OP_SHUTDOWN = 4,
	VIO_VSOCK_OP_RW = 5,
	VIO_VSOCK_OP_CREDIT_UPDATE = 6,
	VIO_VSOCK_OP_CREDIT_REQUEST = 7
};
enum { VIO_VSOCK_TYPE_STREAM = 1, VIO_VSOCK_TYPE_SEQPACKET = 2 };	/* 5.10.6.2 */

/* 5.10.6.5: bits of flags in SHUTDOWN; which is the bit, not the mask, in the specification. */
enum { VIO_VSOCK_SHUTDOWN_RECEIVE = 1 << 0, VIO_VSOCK_SHUTDOWN_SEND = 1 << 1, VIO_VSOCK_SHUTDOWN_BOTH = 3 };
enum { VIO_VSOCK_SEQ_EOM = 1 << 0, VIO_VSOCK_SEQ_EOR = 1 << 1 };	/* 5.10.6.6: flags in RW */

struct vio_vsock_event { vio_le32 id; };	/* 5.10.6.7 */
enum { VIO_VSOCK_EVENT_TRANSPORT_RESET = 0 };
#endif
