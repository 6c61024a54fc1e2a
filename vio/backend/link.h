/*
 * A link as the network device sees it: where Ethernet frames go to and come from.
 *
 *     device ── send(frame) ──▶ lane ──▶ the world
 *     device ◀── deliver(frame) ── lane        only inside receive(), which the device calls in its receive queue's turn
 *     device ◀── deliver_now(frame) ── lane    at any time in the lane's thread, if the device has it
 *     device ◀── ready() ── lane               "there may be frames again" / "there is room again"
 *
 * A link is used through lanes, one a pair of queues.  Lanes are made and closed in the home thread; all else of a lane
 * happens in the thread of its pair, between enable(true) and enable(false).  Frames are cursors over memory that is
 * somebody else's: guest memory when sent (the guest may write to it meanwhile: what is judged is copied first), the link's
 * when delivered; neither is kept after the call.  Nobody waits: a link without room says so, and so does a device without
 * buffers.  Which lane a frame comes by is the link's business: the device steers it to the queue where it belongs, so that a
 * link with one stream of frames has lanes of which only the first receives.
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
	/*
	 * The same from outside receive(), in the lane's thread: from inside another lane's send(), so that a frame between guests
	 * is copied once.  NULL: the user can't.  False: not now; then it is offered in receive().
	 */
	bool (*deliver_now)(void *arg, const struct vio_frame *f, struct vio_cur bytes);
	void (*ready)(void *arg);	/* frames to receive, or room to send, after there were none */
	void *arg;
};
struct vio_link_lane_ops {
	/*
	 * The pair is used from now on: frames may be received and ready() called.  Off: frames that would come by this lane go by
	 * others or are lost, nothing is called back and no loop knows of the lane any more.  Lanes begin off.  May be NULL.
	 */
	void (*enable)(struct vio_link_lane *l, bool on);
	/* bytes.left is the whole frame.  NO_ROOM: nothing was taken, ready() will come.  DROPPED: taken and lost, as networks do. */
	enum vio_sent (*send)(struct vio_link_lane *l, const struct vio_frame *f, struct vio_cur bytes);
	void (*flush)(struct vio_link_lane *l);		/* what was sent so far may go in one go; end of each turn; may be NULL */
	/* Deliver at most so many frames; how many.  Fewer than asked: none are left (ready() will come) or deliver said no. */
	unsigned (*receive)(struct vio_link_lane *l, unsigned most);
	/* Which offloads deliver() had better use from now on (VIO_LINK_*, the driver's choice); the device does the others itself. */
	void (*offloads)(struct vio_link_lane *l, unsigned deliver);	/* may be NULL */
	void (*close)(struct vio_link_lane *l);		/* it is off; home thread */
};

struct vio_link {
	const struct vio_link_ops *ops;
	unsigned lanes;			/* that it can have at most; a device has no more pairs of queues */
	unsigned takes;			/* VIO_LINK_*: offloads that send() may be given */
	bool gives_mac;
	unsigned char mac[6];		/* of the guest's side, when the link knows better than the device */
	uint16_t mtu;			/* of the network, without the Ethernet header; 0: not known; never changes */
	bool up;			/* a link that is down loses what is sent and delivers nothing */
	bool carrier, cut;		/* the link's, the operator's: up is carrier and not cut; see vio_link_set() */
	uint32_t speed;			/* Mb/s; UINT32_MAX: not known */
	uint8_t duplex;			/* 0 half, 1 full, 0xff not known */
	void (*changed)(void *arg);	/* up, speed or duplex has changed (home thread); set by the user, or NULL */
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
