/*
 * A link as the network device sees it: where Ethernet frames go to and come from.
 *
 *     device ── send(frame) ──▶ lane ──▶ the world
 *     device ◀── deliver(frame) ── lane        only inside receive(), which the device calls in its receive queue's turn
 *     device ◀── ready() ── lane               "there may be frames again" / "there is room again"
 *
 * A link is used through lanes, one a pair of queues; a lane belongs to the thread of its pair and calls back there.  Frames
 * are cursors over memory that is somebody else's: guest memory when sent, the link's when delivered; neither is kept after
 * the call.  Nobody waits: a link without room says so, and so does a device without buffers.
 * Memory twins: vio/host/link_null.c (source and sink), link_pair.c (two links, back to back), link_faulty.c.
 */
#ifndef VIO_BACKEND_LINK_H
#define VIO_BACKEND_LINK_H
#include <vio/ring/cursor.h>
VIO_BEGIN_DECLS

enum {	/* what is still to be done to a frame, or has been done */
	VIO_FRAME_NEEDS_CSUM = 1,	/* the checksum at csum_start + csum_offset is the pseudo header's: complete it */
	VIO_FRAME_CSUM_VALID = 2	/* checksums were checked, or the frame never left this machine */
};
enum vio_frame_gso { VIO_FRAME_WHOLE, VIO_FRAME_TCP4, VIO_FRAME_TCP6, VIO_FRAME_UFO, VIO_FRAME_USO };

/* What goes with a frame, in host order.  All zeroes: an ordinary frame.  Offsets are from the frame's first byte. */
struct vio_frame {
	uint8_t flags;			/* VIO_FRAME_* */
	uint8_t gso;			/* enum vio_frame_gso: cut it into pieces of gso_size payload bytes */
	bool ecn;			/* TCP with ECN: CWR only in the first piece */
	uint16_t gso_size;
	uint16_t header;		/* bytes of headers; 0: not known */
	uint16_t csum_start, csum_offset;
};

enum {	/* offloads: what a link takes in send(), what a device lets it deliver */
	VIO_LINK_CSUM = 1, VIO_LINK_TSO4 = 2, VIO_LINK_TSO6 = 4, VIO_LINK_ECN = 8, VIO_LINK_UFO = 16, VIO_LINK_USO4 = 32,
	VIO_LINK_USO6 = 64
};
enum { VIO_FRAME_MAX = 65536 + 22 };	/* bytes of a frame with segmentation, VLAN tags included */

enum vio_sent { VIO_SENT, VIO_SENT_DROPPED, VIO_SENT_NO_ROOM };

struct vio_link_lane {
	const struct vio_link_lane_ops *ops;
	/* The lane's user, set by it before anything else is called. */
	bool (*deliver)(void *arg, const struct vio_frame *f, struct vio_cur bytes);	/* false: no room; offered again later */
	void (*ready)(void *arg);	/* frames to receive, or room to send, after there were none */
	void *arg;
};
struct vio_link_lane_ops {
	/* bytes.left is the whole frame.  NO_ROOM: nothing was taken, ready() will come.  DROPPED: taken and lost, as networks do. */
	enum vio_sent (*send)(struct vio_link_lane *l, const struct vio_frame *f, struct vio_cur bytes);
	void (*flush)(struct vio_link_lane *l);		/* what was sent so far may go in one go; end of each turn; may be NULL */
	/* Deliver at most so many frames; how many.  Fewer than asked: none are left (ready() will come) or deliver said no. */
	unsigned (*receive)(struct vio_link_lane *l, unsigned most);
	/* Which offloads deliver() may use from now on (VIO_LINK_*, the driver's choice). */
	void (*offloads)(struct vio_link_lane *l, unsigned deliver);
	void (*close)(struct vio_link_lane *l);
};

struct vio_link {
	const struct vio_link_ops *ops;
	unsigned lanes;			/* that it can have at most */
	unsigned takes;			/* VIO_LINK_*: offloads that send() may be given */
	bool gives_mac;
	unsigned char mac[6];		/* of the guest's side, when the link knows better than the device */
	uint16_t mtu;			/* 0: not known */
	bool up;
	uint32_t speed;			/* Mb/s; UINT32_MAX: not known */
	uint8_t duplex;			/* 0 half, 1 full, 0xff not known */
	void (*changed)(void *arg);	/* up, speed, duplex or mtu has changed (home thread); set by the user, or NULL */
	void *changed_arg;
};
struct vio_link_ops {
	struct vio_link_lane *(*lane)(struct vio_link *l, unsigned pair);	/* NULL: no memory or descriptors */
	/* The driver's receive filter may be known to the link, which may then drop what nobody wants (a permission); may be NULL. */
	void (*promiscuous)(struct vio_link *l, bool all);
	void (*close)(struct vio_link *l);	/* all lanes are closed */
};
VIO_END_DECLS
#endif
