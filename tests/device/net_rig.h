/*
 * The network device in the rig: frames by hand in both directions, commands by hand, and the world at the other end of a pair
 * of links.  Nothing here knows more of a header than chapter 5.1.6 says.
 */
#ifndef VIO_TESTS_DEVICE_NET_RIG_H
#define VIO_TESTS_DEVICE_NET_RIG_H
#include <vio/device/net.h>
#include <vio/host/link.h>
#include "rig.h"

enum { NET_PAIRS = 4, NET_FRAMES = 64, RX_BYTES = 2048, HDR = VIO_NET_HDR_PLAIN, RX = 0, TX = 1, NO_ANSWER = -1 };
enum { GSO_MAX = VIO_FRAME_MAX };

static const uint8_t guest_mac[6] = { 2, 0, 0, 0, 0, 7 }, world_mac[6] = { 2, 0, 0, 0, 0, 9 };

struct arrival { struct vio_frame frame; uint32_t length; unsigned pair; unsigned char bytes[GSO_MAX]; };

struct net_rig {
	struct rig *g;
	struct vio_link *end[2];		/* the device's, the world's */
	struct vio_link *link;			/* what the device is given: end[0], or what wraps it */
	struct vio_link_lane *lane[NET_PAIRS];	/* the world's */
	struct world_lane { struct net_rig *r; unsigned pair; } world[NET_PAIRS];
	struct vio_net_options o;
	unsigned header;			/* bytes of virtio_net_hdr */
	unsigned arrived;			/* frames that came out; the last few in in[] */
	struct arrival *in;
	size_t tx_cut, rx_cut;
	uint16_t control;
};

enum { ARRIVALS = 64 };

static inline struct arrival *arrival(struct net_rig *r, unsigned i) { return &r->in[i % ARRIVALS]; }

static inline bool world_deliver(void *arg, const struct vio_frame *f, struct vio_cur bytes)
{
	struct world_lane *w = arg;
	struct arrival *a = arrival(w->r, w->r->arrived++);

	a->frame = *f;
	a->pair = w->pair;
	a->length = (uint32_t)bytes.left;
	assert(a->length <= sizeof a->bytes);
	vio_cur_get(&bytes, a->bytes, a->length);
	return true;
}

static inline void world_ready(void *arg) { (void)arg; }

static inline struct net_rig *net_new(unsigned takes)
{
	struct net_rig *r = calloc(1, sizeof *r);

	assert(r);
	r->g = rig_new();
	r->in = calloc(ARRIVALS, sizeof *r->in);
	assert(r->in && vio_link_pair_open(NET_PAIRS, NET_FRAMES, takes, r->end));
	r->end[1]->takes = VIO_LINK_ALL;
	r->link = r->end[0];
	r->o = (struct vio_net_options){ .pairs = 1, .has_mac = true, .queue_size = RIG_SIZE, .mtu = 1500 };
	memcpy(r->o.mac, guest_mac, 6);
	for (unsigned i = 0; i < NET_PAIRS; i++) {
		struct vio_link_lane *l = r->lane[i] = r->end[1]->ops->lane(r->end[1], i);
		r->world[i] = (struct world_lane){ r, i };
		l->deliver = world_deliver;
		l->ready = world_ready;
		l->arg = &r->world[i];
		l->ops->enable(l, true);
	}
	return r;
}

static inline void net_open(struct net_rig *r)
{
	r->o.link = r->link;
	const char *why = rig_open(r->g, &vio_dev_net, &r->o);
	if (why)
		fail_msg("%s", why);
}

static inline void net_close(struct net_rig *r)
{
	rig_close(r->g);
	for (unsigned i = 0; i < NET_PAIRS; i++) {
		r->lane[i]->ops->enable(r->lane[i], false);
		r->lane[i]->ops->close(r->lane[i]);
	}
	vio_link_close(r->link);
	vio_link_close(r->end[1]);
	free(r->in);
	free(r);
}

static inline void net_start(struct net_rig *r, struct vio_features f)
{
	f = vio_features_and(f, vio_dev_offered(r->g->dev));
	bool many = vio_has(f, VIO_NET_F_MQ) || vio_has(f, VIO_NET_F_RSS);
	uint16_t queues = many ? (uint16_t)(2 * r->o.pairs) : 2;
	bool control = vio_has(f, VIO_NET_F_CTRL_VQ);

	r->control = control ? queues : UINT16_MAX;
	r->header = vio_has(f, VIO_NET_F_HASH_REPORT) ? VIO_NET_HDR_HASH : HDR;
	rig_start(r->g, (uint16_t)(queues + control), f);
}

/* A new driver on the same device. */
static inline void net_restart(struct net_rig *r, struct vio_features f)
{
	rig_reset(r->g);
	r->arrived = 0;
	net_start(r, f);
}

static inline struct net_rig *net_up(unsigned takes, struct vio_features f)
{
	struct net_rig *r = net_new(takes);

	net_open(r);
	net_start(r, f);
	return r;
}

/* ---- Bytes of frames ---- */

static inline void put16(unsigned char *p, unsigned v)
{
	p[0] = (unsigned char)(v >> 8);
	p[1] = (unsigned char)v;
}

static inline unsigned get16(const unsigned char *p) { return (unsigned)p[0] << 8 | p[1]; }

/* An Ethernet frame of n bytes of a protocol of nobody's, with a pattern behind the header. */
static inline void make_frame(unsigned char *p, size_t n, const uint8_t *to, const uint8_t *from, unsigned seed)
{
	for (size_t i = 14; i < n; i++)
		p[i] = (unsigned char)(i * 7 + seed);
	memcpy(p, to, 6);
	memcpy(p + 6, from, 6);
	put16(p + 12, 0x88b5);
}

/* ---- The driver's frames ---- */

/* Pump what is due, and let the world take what has come out of it. */
static inline void world_look(struct net_rig *r)
{
	vio_loop_pump(&r->g->wire, 64);
	for (unsigned i = 0; i < NET_PAIRS; i++)
		r->lane[i]->ops->receive(r->lane[i], NET_FRAMES);
	vio_loop_pump(&r->g->wire, 64);
}

/* One frame from the driver; true: its buffer came back. */
static inline bool tx_raw(struct net_rig *r, unsigned pair, const void *header, const void *bytes, size_t n)
{
	unsigned char *p = rig_take(r->g, r->header + n);
	uint16_t q = (uint16_t)(2 * pair + TX);

	memset(p, 0, r->header);
	memcpy(p, header, r->header);
	memcpy(p + r->header, bytes, n);
	assert_true(rig_add(r->g, q, p, r->header + n, r->tx_cut, NULL, 0, 0));
	rig_kick(r->g, q);
	world_look(r);
	return rig_get(r->g, q, NULL) == p;
}

static inline bool tx(struct net_rig *r, unsigned pair, const void *bytes, size_t n)
{
	static const struct vio_net_hdr none;
	return tx_raw(r, pair, &none, bytes, n);
}

/* Give the device count receive buffers of bytes each. */
static inline void rx_give(struct net_rig *r, unsigned pair, unsigned count, size_t bytes)
{
	uint16_t q = (uint16_t)(2 * pair + RX);

	for (unsigned i = 0; i < count; i++) {
		unsigned char *p = rig_take(r->g, bytes);
		memset(p, 0xa5, bytes);
		assert_true(rig_add(r->g, q, NULL, 0, 0, p, bytes, r->rx_cut));
	}
	rig_kick(r->g, q);
	vio_loop_pump(&r->g->wire, 64);
}

static inline unsigned char *rx_get(struct net_rig *r, unsigned pair, uint32_t *used)
{
	return rig_get(r->g, (uint16_t)(2 * pair + RX), used);
}

/* A frame from the world by a lane. */
static inline void world_send(struct net_rig *r, unsigned pair, const struct vio_frame *f, const void *bytes, size_t n)
{
	static const struct vio_frame whole;
	struct vio_seg seg = { (void *)(uintptr_t)bytes, n };

	r->lane[pair]->ops->send(r->lane[pair], f ? f : &whole, (struct vio_cur){ .seg = &seg, .left = n });
	vio_loop_pump(&r->g->wire, 64);
}

/* ---- Commands ---- */

/* The answer to one: VIO_NET_OK, VIO_NET_ERR or NO_ANSWER; its result's bytes, if there is room for some, in *got. */
static inline int ask(struct net_rig *r, unsigned class_, unsigned command, const void *data, size_t n, void *result, size_t room,
    uint32_t *got)
{
	unsigned char *out = rig_take(r->g, 2 + n), *in = rig_take(r->g, 1 + room);
	uint32_t used = 0;

	out[0] = (unsigned char)class_;
	out[1] = (unsigned char)command;
	if (n)
		memcpy(out + 2, data, n);
	memset(in, 0xee, 1 + room);
	assert_true(rig_add(r->g, r->control, out, 2 + n, 0, in, 1 + room, 0));
	rig_kick(r->g, r->control);
	vio_loop_pump(&r->g->wire, 64);
	if (rig_get(r->g, r->control, &used) != in || !used)
		return NO_ANSWER;
	if (room)
		memcpy(result, in + 1, room);
	if (got)
		*got = used - 1;
	for (size_t i = used; i < 1 + room; i++)
		assert_int_equal(in[i], 0xee);		/* nothing behind what it says it wrote */
	return in[0];
}

static inline int tell(struct net_rig *r, unsigned class_, unsigned command, const void *data, size_t n)
{
	return ask(r, class_, command, data, n, NULL, 0, NULL);
}

static inline int tell8(struct net_rig *r, unsigned class_, unsigned command, uint8_t v) { return tell(r, class_, command, &v, 1); }

static inline int tell16(struct net_rig *r, unsigned class_, unsigned command, uint16_t v)
{
	vio_le16 wire = vio_le16_of(v);
	return tell(r, class_, command, &wire, sizeof wire);
}
#endif
