/*
 * Network driver (virtio 1.4, section 5.1), freestanding.
 *
 *   vio_net_start(&n, port, &setup)        negotiate, set up the queues, give the device the receive buffers
 *   vio_net_send(&n, pair, &frame)         a frame to the device; then vio_net_kick() once for several
 *   f = vio_net_sent(&n, pair)             one that the device is done with
 *   vio_net_receive(&n, pair, &r)          a frame from it: r.first is a chain of buffers; vio_net_give_back(&n, pair, r.first)
 *   vio_net_set_...(&n, ...)               commands; each waits for its answer
 *   vio_net_config_changed(&n)             when the device says so: n.up, n.announce, n.speed
 *   vio_net_stop(&n)                       reset the device; then vio_net_abandon() gives back frames that were not sent
 *
 * All memory is the caller's (struct vio_net_setup).  Nothing the device says is trusted: a frame that does not add up is counted
 * in n.refused, and its buffers go back to the device.  Different pairs may be used by different threads; everything else is one
 * thread's at a time.
 */
#ifndef VIO_DRIVER_NET_H
#define VIO_DRIVER_NET_H
#include <vio/driver/port.h>
#include <vio/spec/net.h>
VIO_BEGIN_DECLS

enum {
	VIO_NET_DRV_PAIRS = 8,
	VIO_NET_DRV_SEGS = 20,		/* pieces that a buffer may be mapped in: 64 KiB of pages */
	VIO_NET_DRV_INDIRECT = VIO_NET_DRV_SEGS + 1,
	VIO_NET_DRV_COMMAND = 4096,	/* bytes of a command, at most */
	VIO_NET_DRV_RESULT = 2048,	/* of its result */
	VIO_NET_DRV_HEADER = 20,	/* before a received frame, at most */
	VIO_NET_DRV_MERGED = 64		/* buffers that one frame may be spread over */
};

/* A frame for the device. */
struct vio_net_tx {
	struct vio_net_hdr header;	/* the device reads it: memory the platform can map */
	/* The caller's. */
	const void *data;		/* from the Ethernet header on */
	uint32_t len;
	bool needs_csum;		/* complete that at csum_start + csum_offset, where the pseudo header's sum stands */
	uint16_t csum_start, csum_offset;
	uint8_t gso;			/* VIO_NET_HDR_GSO_*, without ECN; needs a checksum too */
	bool ecn;
	uint16_t gso_size;
	void *cookie;
	/* The driver's. */
	struct vio_buf head_buf, buf[VIO_NET_DRV_SEGS];
	uint8_t bufs;
};

/* A buffer for the device to put a frame, or a part of one, into. */
struct vio_net_rx {
	void *bytes;			/* the caller's */
	uint32_t size;			/* of it */
	uint32_t at, len;		/* a received part of a frame is len bytes at bytes + at */
	struct vio_net_rx *next;	/* the frame goes on there */
	/* The driver's. */
	struct vio_buf buf[VIO_NET_DRV_SEGS];
	uint8_t bufs;
	bool given;			/* the device has it */
};

struct vio_net_received {
	struct vio_net_rx *first;
	uint32_t len;			/* of the frame, over all buffers */
	bool csum_valid;		/* the device has checked it */
	bool needs_csum;		/* it is the pseudo header's, as with frames that are sent; the frame never left the host */
	uint16_t csum_start, csum_offset;
	uint8_t gso;			/* VIO_NET_HDR_GSO_*: a large frame, of segments of gso_size */
	bool ecn;
	uint16_t gso_size, header_hint;	/* the latter is only a hint, and may be wrong */
	uint16_t segments, duplicate_acks;	/* RSC_EXT: that it was made of; 0: not told */
	uint16_t hash_report;		/* 0: there is no hash */
	uint32_t hash;
};

struct vio_net_queue_memory {
	void *ring;			/* VIO_DRVQ_RING_BYTES(queue_size), 16-aligned, mappable in one piece */
	struct vio_drvq_slot *slots;	/* queue_size */
	struct vio_split_desc *indirect;	/* queue_size * VIO_NET_DRV_INDIRECT, mappable in one piece; NULL: none */
};
struct vio_net_pair_memory {
	struct vio_net_queue_memory rx, tx;
	struct vio_net_rx *buffers;	/* of equal size */
	uint16_t count;
};
struct vio_net_setup {
	struct vio_features wanted;	/* of vio_net_drives(); zero: all of them */
	uint16_t pairs;			/* wanted; n->pairs is what there is */
	uint16_t queue_size;		/* at most; a power of two */
	struct vio_net_pair_memory pair[VIO_NET_DRV_PAIRS];
	struct vio_net_queue_memory control;	/* no indirect tables; 16 entries are enough: control_size */
	uint16_t control_size;		/* 0: no control queue */
	uint8_t mac[VIO_NET_MAC];	/* where the device has none; zero: one is made up */
};

struct vio_net {
	struct vio_drv drv;
	/* From the config space, checked. */
	uint8_t mac[VIO_NET_MAC];
	bool up;			/* a device that does not say is up */
	bool announce;			/* the device asks for gratuitous packets: send some, then vio_net_announced() */
	uint16_t mtu;			/* 0: not told */
	uint32_t speed;			/* Mb/s; VIO_NET_SPEED_UNKNOWN */
	uint8_t duplex;			/* VIO_NET_DUPLEX_* */
	uint16_t max_pairs, pairs;	/* the device's; those that run */
	uint16_t used_pairs;		/* those that the device has been told of */
	uint8_t key_max;		/* RSS: bytes of a key, entries of a table, hash and tunnel types that the device knows */
	uint16_t table_max;
	uint32_t hash_types, tunnel_types;
	uint8_t header;			/* bytes of the header before a frame */
	uint64_t refused;		/* frames from the device that did not add up */
	/* The driver's. */
	struct vio_net_setup o;
	uint16_t control_index;		/* 0: there is none */
	struct vio_drvq q[2 * VIO_NET_DRV_PAIRS], control;
	struct { struct vio_buf ring, indirect; } mapped[2 * VIO_NET_DRV_PAIRS + 1];
	uint16_t contexts;		/* RSS contexts that the device has */
	struct vio_buf command_buf, result_buf;
	uint8_t command[VIO_NET_DRV_COMMAND], result[VIO_NET_DRV_RESULT];
};

struct vio_features vio_net_drives(void);
/* Waits.  The struct itself must lie in memory the platform can map.  False: n->drv.failed says why. */
bool vio_net_start(struct vio_net *n, struct vio_drv_port *port, const struct vio_net_setup *s);
/* Reset the device and take all memory back (3.3).  False: it does not answer, so that memory can't be used again. */
bool vio_net_stop(struct vio_net *n);
/* After vio_net_stop(): one frame at a time that was not sent, or of which nobody knows; NULL: none. */
struct vio_net_tx *vio_net_abandon(struct vio_net *n, uint16_t pair);
bool vio_net_config_changed(struct vio_net *n);

/* ---- Frames ---- */

enum vio_net_queued { VIO_NET_QUEUED, VIO_NET_NO_ROOM, VIO_NET_REFUSED };	/* the last: against a rule, or not negotiated */
enum vio_net_queued vio_net_send(struct vio_net *n, uint16_t pair, struct vio_net_tx *f);
/* Tell the device of frames to send, and of buffers given back. */
void vio_net_kick(struct vio_net *n, uint16_t pair);
struct vio_net_tx *vio_net_sent(struct vio_net *n, uint16_t pair);
bool vio_net_receive(struct vio_net *n, uint16_t pair, struct vio_net_received *r);
void vio_net_give_back(struct vio_net *n, uint16_t pair, struct vio_net_rx *first);

/* ---- Commands.  They wait; false: not negotiated, not allowed, or the device says no (drv.failed: it did not answer) ---- */

bool vio_net_set_mode(struct vio_net *n, uint8_t mode, bool on);	/* VIO_NET_CTRL_RX_* */
bool vio_net_set_mac(struct vio_net *n, const uint8_t *mac);
bool vio_net_set_mac_table(struct vio_net *n, const uint8_t (*unicast)[VIO_NET_MAC], uint32_t unicasts,
    const uint8_t (*multicast)[VIO_NET_MAC], uint32_t multicasts);
bool vio_net_set_vlan(struct vio_net *n, uint16_t id, bool on);
bool vio_net_announced(struct vio_net *n);
bool vio_net_set_pairs(struct vio_net *n, uint16_t pairs);
struct vio_net_rss {
	uint32_t types;			/* VIO_NET_HASH_* */
	uint16_t entries;		/* of the table: a power of two */
	const uint16_t *table;		/* of pairs */
	uint16_t unclassified;		/* the pair for frames without a hash */
	uint16_t tx_pairs;		/* that will be sent by */
	uint8_t key_bytes;
	const uint8_t *key;
};
bool vio_net_set_rss(struct vio_net *n, const struct vio_net_rss *r);
bool vio_net_set_hash(struct vio_net *n, uint32_t types, const uint8_t *key, uint8_t key_bytes);	/* without RSS */
bool vio_net_set_tunnels(struct vio_net *n, uint32_t types);		/* VIO_NET_TUNNEL_* */
bool vio_net_max_contexts(struct vio_net *n, uint16_t *most);
bool vio_net_set_context(struct vio_net *n, uint16_t id, const struct vio_net_rss *r, bool exists);
bool vio_net_delete_context(struct vio_net *n, uint16_t id);
bool vio_net_set_offloads(struct vio_net *n, struct vio_features offloads);	/* VIO_NET_F_GUEST_* */
bool vio_net_coalesce(struct vio_net *n, bool tx, uint32_t packets, uint32_t usecs);
bool vio_net_coalesce_queue(struct vio_net *n, uint16_t queue, uint32_t packets, uint32_t usecs);
bool vio_net_coalescing(struct vio_net *n, uint16_t queue, uint32_t *packets, uint32_t *usecs);
bool vio_net_stats_types(struct vio_net *n, uint64_t *types);		/* 1 << VIO_NET_STATS_* */
/* The counters of one type of one queue, in the specification's order; in *count how many, at most room. */
bool vio_net_stats(struct vio_net *n, uint16_t queue, uint8_t type, uint64_t *counters, unsigned room, unsigned *count);
static inline uint16_t vio_net_control_queue(const struct vio_net *n) { return n->control_index; }
VIO_END_DECLS
#endif
