/*
 * What the network device's files share.
 *
 *   net.c         the type: options, config space, queues and their lanes        home thread, and each pair's
 *   net_rx.c      frames from the link into the driver's buffers                  the pair's thread
 *   net_tx.c      frames from the driver to the link                              the pair's thread
 *   net_filter.c  which frames the driver wants                                   the pair's thread
 *   net_steer.c   which pair a frame belongs to, and its way there                the pair's thread
 *   net_hash.c    reading headers, hashes over them                               no state
 *   net_seg.c     checksums and segmentation in software                          no state
 *   net_ctrl.c    the control queue: commands, and how their effect is spread     home thread
 *   net_rss.c, net_coal.c, net_stats.c                                            more commands
 *   net_parts.c   what was configured, saved and loaded                           home thread
 *
 * A PAIR is a receive and a transmit queue and a lane of the link, in one thread.  What a driver configures is a VALUE, struct
 * net_rules, which never changes once pairs can see it: a command makes the next one, every pair is told to take it, and when
 * the last has, the command is answered.  Then nobody looks at the one before any more, so two of them are enough.
 */
#ifndef VIO_DEVICE_NET_IMPL_H
#define VIO_DEVICE_NET_IMPL_H
#include <vio/device/net.h>
#include <vio/ring/freestanding.h>

enum {
	NET_TURN_FRAMES = 64,		/* asked of a lane at once */
	NET_TURN_BYTES = 1 << 20,	/* before others get their turn */
	NET_HEADERS = 512,		/* bytes of headers of a frame that is cut in software, at most */
	NET_PIECES = 1024,		/* that it is cut into, at most */
	NET_READ = 256,			/* bytes of a frame that are looked at for its headers */
	NET_FLOWS = 4096,		/* remembered for automatic steering; a power of two */
	NET_PARCELS = 32,		/* frames on their way to pairs of other threads, from each pair */
	NET_HASH_KEY = VIO_NET_RSS_KEY_MIN,
	NET_HASH_INPUT = 36,		/* bytes, at most: two IPv6 addresses and two ports */
	NET_NO_QUEUE = 0xffff
};

/* A chain of the receive queue, while it is one of several that a frame is put into. */
struct net_buffer { struct vio_chain chain; struct net_buffer *before, *after; };

/* ---- What the driver configures ---- */

struct net_macs { uint16_t count; bool overflow; uint8_t mac[VIO_NET_DEV_MACS][VIO_NET_MAC]; };

/* Sums of the key for each four bits of input: see net_hash.c. */
struct net_toeplitz { uint32_t sum[2 * NET_HASH_INPUT][16]; };

struct net_rss {			/* 5.1.6.5.7.1 */
	uint32_t types;
	uint16_t mask, unclassified, max_tx;
	uint16_t table[VIO_NET_DEV_RSS_TABLE];	/* of pairs */
	uint8_t key_bytes, key[NET_HASH_KEY];
};

enum net_steering { NET_STEER_NOT, NET_STEER_FLOWS, NET_STEER_RSS };

/* 5.1.6.5.10.  serial: which command set it, so that a queue knows whether it has seen that since it was started. */
struct net_coal { uint32_t packets, usecs, serial; };

struct net_rules {
	uint16_t pairs;			/* those that are used */
	uint8_t steering;		/* enum net_steering */
	uint32_t hash_types, tunnels;	/* VIO_NET_HASH_*, VIO_NET_TUNNEL_* */
	struct net_rss rss;
	struct net_toeplitz key;
	bool told;			/* the driver has said which frames it wants: until then, all */
	uint8_t modes;			/* 1 << VIO_NET_CTRL_RX_* */
	uint8_t mac[VIO_NET_MAC];
	bool has_mac;			/* otherwise nobody knows which frames are the guest's */
	struct net_macs unicast, multicast;
	uint64_t vlan[VIO_NET_VLANS / 64];
	bool filters;			/* some frame may be unwanted */
	uint64_t offloads;		/* 1 << VIO_NET_F_GUEST_*: what the driver takes now */
	uint32_t serial;
	struct net_coal every[2];	/* for all receive, all transmit queues: what one begins with */
	struct net_coal coal[2 * VIO_NET_DEV_PAIRS];
	bool has_context[VIO_NET_DEV_CONTEXTS];
	struct net_rss context[VIO_NET_DEV_CONTEXTS];	/* kept: what would use them (flow filters) is not here */
};

/* ---- A pair ---- */

struct net_hashed { uint32_t value; uint8_t report; };

/* What device statistics tell beyond vio_net_dev_counts. */
struct net_more_counts {
	uint64_t rx_csum_valid, rx_needs_csum, rx_gso_bytes, rx_overruns;
	uint64_t tx_needs_csum, tx_gso_bytes, tx_segment_bytes, tx_cut, tx_cut_bytes;
};

struct net_pair {
	struct net *n;
	unsigned index;
	struct vio_link_lane *lane;
	const struct net_rules *rules;
	struct vio_devq *rx, *tx;	/* those that run */
	bool on;			/* the lane is enabled */
	bool full;			/* the last frame offered found no buffer */
	bool tx_waits;			/* for room on the link */
	bool plain;			/* a whole frame for this pair needs no more than a header of zeroes */
	bool learns;			/* which flows are sent by this pair */
	uint8_t alive;			/* atomic: 1 the receive queue is used, 2 the transmit queue */
	uint32_t lets;			/* VIO_LINK_*: offloads that a frame for the driver may have */
	unsigned placed, sent;		/* pieces of the frame on hand that are through already */
	uint32_t id;			/* of the last datagram that was cut into fragments */
	struct vio_devq *turn;		/* the queue whose turn receives */
	struct net_parcel *parcels, *parcel;	/* all of them, the first free one */
	bool parcel_waits;
	uint32_t coal_seen[2];		/* serial of what was applied to each queue */
	bool coal_kept[2];		/* the queue only pauses */
	uint64_t coal_now[2];		/* atomic: packets, usecs << 32 that hold */
	struct vio_net_dev_counts counts;
	struct net_more_counts more;
	struct vio_dev_call call;	/* take the new rules; then, that it has */
	uint8_t bounce[VIO_FRAME_MAX];	/* a frame that has to be worked on */
};

/* A frame on its way to a pair of another thread. */
struct net_parcel {
	struct vio_dev_call call;
	struct net_pair *from, *to;
	struct vio_devq *q;		/* it is under way for this queue of from's */
	struct net_parcel *next;
	struct vio_frame frame;
	struct net_hashed hash;
	uint32_t length;
	uint8_t bytes[VIO_FRAME_MAX];
};

/* ---- The device ---- */

struct net {
	struct vio_dev dev;
	struct vio_net_config config;
	struct vio_link *link;
	uint16_t pairs;
	uint8_t mac[VIO_NET_MAC];	/* as it was opened with */
	bool has_mac;
	uint32_t speed;			/* the operator's; 0: the link's is told */
	uint8_t duplex;
	uint16_t rss_table, rss_contexts;	/* at most */
	/* Of the features accepted; they change only while no queue runs. */
	uint16_t control;		/* the control queue; NET_NO_QUEUE */
	uint8_t header;			/* bytes before each frame */
	bool mergeable;
	uint32_t rx_max;		/* bytes of a whole frame for the driver */
	/* The control queue's command, one at a time. */
	struct {
		struct vio_devq *q;
		struct vio_chain *chain;	/* NULL: none; the queue's thread's */
		struct vio_dev_call call;	/* to the home thread, and back */
		bool ok;
		uint64_t commands, done;	/* counted */
		uint16_t waits_for;		/* pairs that have not taken the new rules; home thread */
	} ask;
	unsigned now;			/* which of rules counts; home thread */
	uint8_t flow[NET_FLOWS];	/* atomic: pair + 1 that sent a frame of this flow last; 0: none did */
	struct net_rules rules[2];
	struct net_pair pair[VIO_NET_DEV_PAIRS];
};

static inline struct net *vio_net_of(struct vio_dev *d) { return (struct net *)d; }
static inline bool vio_net_dev_has(const struct net *n, unsigned bit) { return vio_has(n->dev.accepted, bit); }
static inline struct vio_dev_queue *vio_net_dev_queue(const struct vio_devq *q)
{
	return &((struct vio_dev *)q->dev)->queue[q->index];
}
static inline bool vio_net_dev_runs(const struct vio_devq *q)
{
	return q && vio_net_dev_queue(q)->enabled && vio_net_dev_queue(q)->state == VIO_QUEUE_STARTED;
}

/* The numbers of virtio_net_hdr are little-endian; those of frames are big-endian. */
static inline uint16_t vio_net_dev_be16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

/* VIO_LINK_*: what whoever gets the frame has to do. */
static inline unsigned vio_net_dev_needs(const struct vio_frame *f)
{
	static const uint8_t gso[] = {
		[VIO_FRAME_WHOLE] = 0, [VIO_FRAME_TCP4] = VIO_LINK_TSO4, [VIO_FRAME_TCP6] = VIO_LINK_TSO6,
		[VIO_FRAME_UFO] = VIO_LINK_UFO, [VIO_FRAME_USO] = VIO_LINK_USO4 | VIO_LINK_USO6,
	};
	return gso[f->gso] | (f->gso && f->ecn ? VIO_LINK_ECN : 0u) | (f->flags & VIO_FRAME_NEEDS_CSUM ? VIO_LINK_CSUM : 0u);
}

/* ---- net.c ---- */

/* The pair's thread: what the pair's queues, or the rules, are now is what its lane is told. */
void vio_net_dev_refresh(struct net_pair *p);

/* ---- net_rx.c ---- */

bool vio_net_dev_deliver(void *arg, const struct vio_frame *f, struct vio_cur bytes);
/* Take from the lane what it has.  q: the queue whose turn it is. */
void vio_net_dev_receive(struct net_pair *p, struct vio_devq *q);
/*
 * Give the driver of p, which is usable, a frame.  placed counts the pieces that are through, if it has to be cut.  False: there
 * is no room now.
 */
bool vio_net_dev_place(struct net_pair *p, const struct vio_frame *f, struct vio_cur bytes, const struct net_hashed *h,
    unsigned *placed);

/* ---- net_steer.c ---- */

/* The pair that a frame which came by p's lane is for; NULL: nobody's. */
struct net_pair *vio_net_dev_steer(struct net_pair *p, struct vio_cur bytes, struct net_hashed *h);
/* To a pair other than p.  False: not now. */
bool vio_net_dev_pass(struct net_pair *p, struct net_pair *to, const struct vio_frame *f, struct vio_cur bytes,
    const struct net_hashed *h);
void vio_net_dev_learn(struct net_pair *p, struct vio_cur bytes);
/* No parcel is under way. */
void vio_net_dev_free_parcels(struct net_pair *p);

/* ---- net_tx.c ---- */

void vio_net_dev_transmit(struct net_pair *p, struct vio_devq *q);
/* The queue is disabled: its frames are lost. */
void vio_net_dev_discard(struct net_pair *p, struct vio_devq *q);

/* ---- net_filter.c ---- */

bool vio_net_dev_wanted(const struct net *n, const struct net_rules *r, struct vio_cur bytes);
/* Bytes of the Ethernet header, with its VLAN tags, at most two. */
unsigned vio_net_dev_ethernet(struct vio_cur bytes);

/* ---- net_seg.c ---- */

struct net_cutter {
	const uint8_t *frame;
	uint32_t length, size;
	uint8_t gso;
	bool v6;
	uint32_t network, transport, names;	/* offsets: IP, TCP or UDP, the byte that names the latter */
	uint32_t header;		/* bytes of headers */
	uint32_t at;			/* payload cut so far ends here */
	uint32_t pieces, id;
	uint8_t first[8];		/* UFO: the UDP header with its checksum */
};
struct net_piece { uint8_t head[NET_HEADERS]; struct vio_seg seg[2]; struct vio_cur cur; };

uint64_t vio_net_dev_sum(const void *bytes, size_t n, uint64_t sum);
uint16_t vio_net_dev_fold(uint64_t sum);
/* The checksum that f asks for, of a frame of n bytes, as it stands in memory. */
uint16_t vio_net_dev_complete(const struct vio_frame *f, const uint8_t *bytes, size_t n);
/* Bytes of headers of a frame with segmentation, from its own bytes.  0: it has none, or no payload behind them. */
uint16_t vio_net_dev_header_bytes(const struct vio_frame *f, struct vio_cur bytes);
/* False: the frame can't be cut as f asks. */
bool vio_net_dev_cut(struct net_cutter *c, const struct vio_frame *f, const uint8_t *frame, uint32_t length);
bool vio_net_dev_piece(struct net_cutter *c, struct net_piece *p);	/* false: there are no more */
/* The frame in one piece: where it lies, or copied to p->bounce.  At most VIO_FRAME_MAX bytes. */
const uint8_t *vio_net_dev_whole(struct net_pair *p, struct vio_cur bytes);

/* ---- net_hash.c ---- */

struct net_headers {
	size_t length;			/* of bytes that are there */
	const uint8_t *source, *destination, *home, *final;	/* addresses; the last two NULL: none */
	size_t transport;		/* offset; 0: not found */
	uint8_t protocol;
	bool v6, extended, fragment;
	bool ports;			/* TCP or UDP, whole, with a header */
	uint8_t bytes[NET_READ];
};

void vio_net_dev_hash_key(struct net_toeplitz *t, const uint8_t *key, size_t n);
uint32_t vio_net_dev_toeplitz(const struct net_toeplitz *t, const uint8_t *input, size_t n);
/* False: no IP. */
bool vio_net_dev_read(struct net_headers *h, struct vio_cur bytes);
/* The report's type, 0: none of those asked for can be calculated. */
uint8_t vio_net_dev_hash(const struct net_toeplitz *t, uint32_t types, uint32_t tunnels, struct net_headers *h, uint32_t *hash);
uint32_t vio_net_dev_flow(const struct net_headers *h);

/* ---- net_ctrl.c ---- */

/* A command being served. */
struct net_asking {
	struct net *n;
	struct net_rules *rules;	/* the next ones, a copy of those that count */
	bool changed;			/* they differ */
	struct vio_cur in, out;		/* the command's data; the place of its result */
};
/* All of the command's data is these bytes. */
static inline bool vio_net_dev_take(struct net_asking *a, void *to, size_t n)
{
	return a->in.left == n && vio_cur_get(&a->in, to, n);
}

void vio_net_dev_control(struct net *n, struct vio_devq *q);
/* The rules as they are when features have been settled.  No queue runs. */
void vio_net_dev_default_rules(struct net *n);
/* The rules of a saved state are built by commands, and counted from the end on.  No queue runs. */
void vio_net_dev_restore_begin(struct net *n);
bool vio_net_dev_restore(struct net *n, const struct vio_net_ctrl *c, const void *data, size_t bytes);
void vio_net_dev_restore_end(struct net *n);

/* Commands.  False: the driver is answered VIO_NET_ERR, and nothing has changed. */
/* net_rss.c */
bool vio_net_dev_rss_config(struct net_asking *a);
bool vio_net_dev_hash_config(struct net_asking *a);
bool vio_net_dev_tunnel_set(struct net_asking *a);
bool vio_net_dev_context_cap(struct net_asking *a);
bool vio_net_dev_context_add(struct net_asking *a);
bool vio_net_dev_context_mod(struct net_asking *a);
bool vio_net_dev_context_del(struct net_asking *a);
/* net_coal.c */
bool vio_net_dev_coal_rx(struct net_asking *a);
bool vio_net_dev_coal_tx(struct net_asking *a);
bool vio_net_dev_coal_set(struct net_asking *a);
bool vio_net_dev_coal_get(struct net_asking *a);
/* net_stats.c */
bool vio_net_dev_stats_query(struct net_asking *a);
bool vio_net_dev_stats_get(struct net_asking *a);

/* ---- net_coal.c: in the pair's thread ---- */

void vio_net_dev_coal_adopt(struct net_pair *p);
void vio_net_dev_coal_begin(struct net_pair *p, struct vio_devq *q);
void vio_net_dev_coal_end(struct net_pair *p, struct vio_devq *q);

/* ---- net_parts.c ---- */

size_t vio_net_dev_save(struct vio_dev *d, void *to, size_t room);
const char *vio_net_dev_load(struct vio_dev *d, const void *from, size_t n);
#endif
