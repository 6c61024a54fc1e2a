/*
 * What the network device's files share.
 *
 *   net.c         the type: options, config space, queues and their lanes        home thread, and each pair's
 *   net_rx.c      frames from the link into the driver's buffers                  the pair's thread
 *   net_tx.c      frames from the driver to the link                              the pair's thread
 *   net_filter.c  which frames the driver wants                                   the pair's thread
 *   net_ctrl.c    the control queue: commands, and how their effect is spread     home thread
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
	NET_NO_QUEUE = 0xffff
};

/* A chain of the receive queue, while it is one of several that a frame is put into. */
struct net_buffer { struct vio_chain chain; struct net_buffer *before, *after; };

/* ---- What the driver configures ---- */

struct net_macs { uint16_t count; bool overflow; uint8_t mac[VIO_NET_DEV_MACS][VIO_NET_MAC]; };

struct net_rules {
	uint16_t pairs;			/* those that are used */
	bool told;			/* the driver has said which frames it wants: until then, all */
	uint8_t modes;			/* 1 << VIO_NET_CTRL_RX_* */
	uint8_t mac[VIO_NET_MAC];
	bool has_mac;			/* otherwise nobody knows which frames are the guest's */
	struct net_macs unicast, multicast;
	uint64_t vlan[VIO_NET_VLANS / 64];
	bool filters;			/* some frame may be unwanted */
	uint64_t offloads;		/* 1 << VIO_NET_F_GUEST_*: what the driver takes now */
};

/* ---- A pair ---- */

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
	uint32_t lets;			/* VIO_LINK_*: offloads that a frame for the driver may have */
	struct vio_net_dev_counts counts;
	struct vio_dev_call call;	/* take the new rules; then, that it has */
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
		uint16_t waits_for;		/* pairs that have not taken the new rules; home thread */
	} ask;
	unsigned now;			/* which of rules counts; home thread */
	struct net_rules rules[2];
	struct net_pair pair[VIO_NET_DEV_PAIRS];
};

static inline struct net *vio_net_of(struct vio_dev *d) { return (struct net *)d; }
static inline bool vio_net_dev_has(const struct net *n, unsigned bit) { return vio_has(n->dev.accepted, bit); }
static inline struct vio_dev_queue *vio_net_dev_queue(const struct vio_devq *q)
{
	return &((struct vio_dev *)q->dev)->queue[q->index];
}
static inline bool vio_net_dev_runs(const struct vio_devq *q) { return q && vio_net_dev_queue(q)->enabled; }

/* The numbers of virtio_net_hdr are little-endian; those of frames are big-endian. */
static inline uint16_t vio_net_dev_be16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }

/* ---- net.c ---- */

/* The pair's thread: what the pair's queues, or the rules, are now is what its lane is told. */
void vio_net_dev_refresh(struct net_pair *p);

/* ---- net_rx.c ---- */

bool vio_net_dev_deliver(void *arg, const struct vio_frame *f, struct vio_cur bytes);
/* Take from the lane what it has.  q: the queue whose turn it is. */
void vio_net_dev_receive(struct net_pair *p, struct vio_devq *q);

/* ---- net_tx.c ---- */

void vio_net_dev_transmit(struct net_pair *p, struct vio_devq *q);
/* The queue is disabled: its frames are lost. */
void vio_net_dev_discard(struct net_pair *p, struct vio_devq *q);

/* ---- net_filter.c ---- */

bool vio_net_dev_wanted(const struct net *n, const struct net_rules *r, struct vio_cur bytes);
/* Bytes of the Ethernet header, with its VLAN tags, at most two. */
unsigned vio_net_dev_ethernet(struct vio_cur bytes);

/* ---- net_ctrl.c ---- */

void vio_net_dev_control(struct net *n, struct vio_devq *q);
/* The rules as they are when features have been settled.  No queue runs. */
void vio_net_dev_default_rules(struct net *n);
#endif
