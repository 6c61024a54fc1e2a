/* The network device: frames both ways, the config space, commands and queues, over the loop wire. */
#include "net_rig.h"
#include "moves.h"

#define BASIC VIO_F_VERSION_1, VIO_NET_F_MAC, VIO_NET_F_STATUS, VIO_NET_F_MRG_RXBUF
#define CONTROL BASIC, VIO_NET_F_CTRL_VQ, VIO_NET_F_CTRL_RX, VIO_NET_F_CTRL_RX_EXTRA, VIO_NET_F_CTRL_MAC_ADDR

static struct vio_net_config config(struct net_rig *r)
{
	struct vio_net_config c;

	vio_dev_config_read(r->g->dev, 0, &c, sizeof c);
	return c;
}

static struct vio_net_dev_counts counts(struct net_rig *r, unsigned pair) { return vio_net_dev_counts(r->g->dev, pair); }

/* ---- Frames ---- */

struct ring { bool packed, indirect, event_idx, in_order; uint32_t clip; size_t cut; };

static struct vio_features ring_of(const struct ring *s, struct vio_features f)
{
	if (s->packed)
		vio_features_add(&f, VIO_F_RING_PACKED);
	if (s->indirect)
		vio_features_add(&f, VIO_F_INDIRECT_DESC);
	if (s->event_idx)
		vio_features_add(&f, VIO_F_EVENT_IDX);
	if (s->in_order)
		vio_features_add(&f, VIO_F_IN_ORDER);
	return f;
}

/* Everything but how a ring looks is the same in all of them. */
static void each_ring(void (*f)(struct net_rig *r, const struct ring *s))
{
	for (unsigned i = 0; i < 16 * 4; i++) {
		static const uint32_t clips[] = { 0, 1, 7, 0 };
		static const size_t cuts[] = { 0, 0, 0, 100 };
		struct ring s = { i & 1, i & 2, i & 4, i & 8, clips[i >> 4], cuts[i >> 4] };
		struct net_rig *r = net_new(VIO_LINK_ALL);
		r->g->mem.clip = s.clip;
		r->tx_cut = r->rx_cut = s.cut;
		net_open(r);
		f(r, &s);
		net_close(r);
	}
}

static void transmit_each(struct net_rig *r, const struct ring *s)
{
	static const size_t lengths[] = { 14, 60, 1514, 60, 700 };
	unsigned char frame[1514];

	net_start(r, ring_of(s, BITS(BASIC)));
	for (unsigned i = 0; i < 5; i++) {
		make_frame(frame, lengths[i], world_mac, guest_mac, i);
		assert_true(tx(r, 0, frame, lengths[i]));
		assert_int_equal(r->arrived, i + 1);
		struct arrival *a = arrival(r, i);
		assert_int_equal(a->length, lengths[i]);
		assert_memory_equal(a->bytes, frame, lengths[i]);
		assert_int_equal(a->frame.flags | a->frame.gso, 0);
	}
	assert_int_equal(counts(r, 0).tx_frames, 5);
	assert_int_equal(counts(r, 0).tx_bytes, 14 + 60 + 1514 + 60 + 700);
}

static void transmits(void **state)
{
	(void)state;
	each_ring(transmit_each);
}

static void receive_each(struct net_rig *r, const struct ring *s)
{
	static const size_t lengths[] = { 14, 60, 1514, 60, 700 };
	unsigned char frame[1514];

	net_start(r, ring_of(s, BITS(BASIC)));
	for (unsigned i = 0; i < 5; i++) {
		uint32_t used;
		make_frame(frame, lengths[i], guest_mac, world_mac, i);
		if (i & 1)
			rx_give(r, 0, 1, RX_BYTES);
		world_send(r, 0, NULL, frame, lengths[i]);
		if (!(i & 1)) {
			assert_null(rx_get(r, 0, &used));
			rx_give(r, 0, 1, RX_BYTES);
		}
		unsigned char *p = rx_get(r, 0, &used);
		assert_non_null(p);
		assert_int_equal(used, HDR + lengths[i]);
		static const unsigned char header[HDR] = { [10] = 1 };
		assert_memory_equal(p, header, HDR);
		assert_memory_equal(p + HDR, frame, lengths[i]);
		assert_int_equal(p[used], 0xa5);
	}
	assert_int_equal(counts(r, 0).rx_frames, 5);
}

static void receives(void **state)
{
	(void)state;
	each_ring(receive_each);
}

/* A frame in as many buffers as it takes, all but the last one full; and when there are too few, none. */
static void spread_each(struct net_rig *r, const struct ring *s)
{
	unsigned char frame[1514], back[HDR + sizeof frame];

	net_start(r, ring_of(s, BITS(BASIC)));
	r->rx_cut = s->cut ? 20 : 0;
	make_frame(frame, sizeof frame, guest_mac, world_mac, 3);
	for (size_t size = 12; size < 1526; size = size < 40 ? size + 40 : size * 2) {
		unsigned need = (unsigned)((HDR + sizeof frame + size - 1) / size);
		uint32_t used, at = 0;
		if (need > RIG_SIZE || (r->rx_cut && !s->indirect && need * ((size + 19) / 20) > RIG_SIZE))
			continue;
		rig_rewind(r->g);
		rx_give(r, 0, need - 1, size);
		world_send(r, 0, NULL, frame, sizeof frame);
		assert_null(rx_get(r, 0, &used));
		rx_give(r, 0, 1, size);
		for (unsigned i = 0; i < need; i++) {
			unsigned char *p = rx_get(r, 0, &used);
			assert_non_null(p);
			assert_int_equal(used, i + 1 < need ? size : HDR + sizeof frame - at);
			memcpy(back + at, p, used);
			at += used;
		}
		assert_int_equal(at, sizeof back);
		assert_int_equal(back[10] | back[11] << 8, need);
		assert_memory_equal(back + HDR, frame, sizeof frame);
	}
	assert_int_equal(counts(r, 0).rx_dropped, 0);
}

static void spreads(void **state)
{
	(void)state;
	each_ring(spread_each);
}

/* The driver, having seen the first of several buffers, sees all of them. */
static void together(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC));
	unsigned char frame[1514];
	uint32_t used;

	make_frame(frame, sizeof frame, guest_mac, world_mac, 1);
	rx_give(r, 0, 50, 32);
	const struct vio_split_used *u = r->g->q[RX].place.device;
	world_send(r, 0, NULL, frame, sizeof frame);
	assert_int_equal(vio_le16_get(u->idx), 48);
	for (unsigned i = 0; i < 48; i++)
		assert_non_null(rx_get(r, 0, &used));
	net_close(r);
}

static void one_buffer(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(VIO_F_VERSION_1, VIO_NET_F_MAC));
	unsigned char frame[1514];
	uint32_t used;

	make_frame(frame, sizeof frame, guest_mac, world_mac, 1);
	rx_give(r, 0, 3, 400);
	world_send(r, 0, NULL, frame, sizeof frame);	/* fits in none of them, and must not be cut */
	assert_null(rx_get(r, 0, &used));
	world_send(r, 0, NULL, frame, 388);
	unsigned char *p = rx_get(r, 0, &used);
	assert_non_null(p);
	assert_int_equal(used, 400);
	assert_int_equal(p[10], 1);
	assert_int_equal(counts(r, 0).rx_dropped, 1);
	net_close(r);
}

/* More than a queue can ever hold is lost, and does not stop what comes behind it. */
static void never_fits(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC));
	unsigned char frame[1514];
	uint32_t used;

	make_frame(frame, sizeof frame, guest_mac, world_mac, 1);
	rx_give(r, 0, RIG_SIZE, 20);
	world_send(r, 0, NULL, frame, sizeof frame);
	world_send(r, 0, NULL, frame, 20);
	assert_non_null(rx_get(r, 0, &used));
	assert_int_equal(counts(r, 0).rx_dropped, 1);
	assert_int_equal(counts(r, 0).rx_overruns, 1);
	net_close(r);
}

/* ---- Offloads handed through ---- */

static void partial_csum_out(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, VIO_NET_F_CSUM));
	struct vio_net_hdr h = { .flags = VIO_NET_HDR_F_NEEDS_CSUM, .csum_start = vio_le16_of(34), .csum_offset = vio_le16_of(6) };
	unsigned char frame[100];

	make_frame(frame, sizeof frame, world_mac, guest_mac, 1);
	assert_true(tx_raw(r, 0, &h, frame, sizeof frame));
	assert_int_equal(arrival(r, 0)->frame.flags, VIO_FRAME_NEEDS_CSUM);
	assert_int_equal(arrival(r, 0)->frame.csum_start, 34);
	assert_int_equal(arrival(r, 0)->frame.csum_offset, 6);
	h.flags = 0xf6;		/* 5.1.6.2.2: bits nobody knows, DATA_VALID and RSC_INFO among them; nothing else counts then */
	assert_true(tx_raw(r, 0, &h, frame, sizeof frame));
	assert_int_equal(r->arrived, 2);
	assert_int_equal(arrival(r, 1)->frame.flags, 0);
	assert_int_equal(arrival(r, 1)->frame.csum_start, 0);
	net_close(r);
}

/* ---- Config space ---- */

static void tells(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);
	r->o.pairs = NET_PAIRS;
	r->o.speed = 25000;
	r->o.duplex = VIO_NET_DUPLEX_FULL;
	net_open(r);
	struct vio_net_config c = config(r);
	assert_memory_equal(c.mac, guest_mac, 6);
	assert_int_equal(vio_le16_get(c.status), VIO_NET_S_LINK_UP);
	assert_int_equal(vio_le16_get(c.max_virtqueue_pairs), NET_PAIRS);
	assert_int_equal(vio_le16_get(c.mtu), 1500);
	assert_int_equal(vio_le32_get(c.speed), 25000);
	assert_int_equal(c.duplex, 1);
	assert_int_equal(r->g->dev->queues, 2 * NET_PAIRS + 1);
	net_close(r);
}

static void link_goes(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC));
	uint64_t told = r->g->wire.configs;

	vio_link_pair_set(r->end[0], false);
	assert_int_equal(vio_le16_get(config(r).status), 0);
	assert_int_equal(r->g->wire.configs, told + 1);
	vio_link_pair_set(r->end[0], true);
	assert_int_equal(vio_le16_get(config(r).status), VIO_NET_S_LINK_UP);
	assert_int_equal(r->g->wire.configs, told + 2);
	net_close(r);
}

/* 5.1.4.1: while the driver sees the link up, speed and duplex stay what they are; the MTU always does. */
static void speed_holds(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);
	r->o.pairs = 2;
	r->end[0]->speed = 1000;
	r->end[0]->duplex = VIO_NET_DUPLEX_HALF;
	net_open(r);
	net_start(r, BITS(BASIC, VIO_NET_F_SPEED_DUPLEX, VIO_NET_F_MTU));
	uint64_t told = r->g->wire.configs;
	assert_int_equal(vio_le32_get(config(r).speed), 1000);
	assert_int_equal(config(r).duplex, VIO_NET_DUPLEX_HALF);
	r->end[0]->speed = 40000;
	r->end[0]->duplex = VIO_NET_DUPLEX_FULL;
	r->end[0]->mtu = 9000;
	r->end[0]->changed(r->end[0]->changed_arg);
	assert_int_equal(vio_le32_get(config(r).speed), 1000);
	assert_int_equal(r->g->wire.configs, told);
	vio_link_pair_set(r->end[0], false);
	vio_link_pair_set(r->end[0], true);
	assert_int_equal(vio_le32_get(config(r).speed), 40000);
	assert_int_equal(config(r).duplex, VIO_NET_DUPLEX_FULL);
	assert_int_equal(vio_le16_get(config(r).mtu), 1500);
	assert_int_equal(config(r).rss_max_key_size, 40);
	assert_int_equal(vio_le16_get(config(r).rss_max_indirection_table_length), 128);
	assert_int_equal(vio_le32_get(config(r).supported_hash_types), VIO_NET_HASH_ALL);
	assert_int_equal(vio_le32_get(config(r).supported_tunnel_types), VIO_NET_TUNNEL_ALL);
	net_restart(r, BITS(BASIC, VIO_NET_F_MTU));
	assert_int_equal(vio_le16_get(config(r).mtu), 1500);
	net_close(r);
}

/* ---- Commands ---- */

static bool passes(struct net_rig *r, const uint8_t *to)
{
	unsigned char frame[60];
	uint32_t used;

	rig_rewind(r->g);
	make_frame(frame, sizeof frame, to, world_mac, 1);
	rx_give(r, 0, 1, 128);
	world_send(r, 0, NULL, frame, sizeof frame);
	if (rx_get(r, 0, &used))
		return true;
	make_frame(frame, sizeof frame, guest_mac, world_mac, 1);	/* the buffer comes back with one that is wanted */
	tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_PROMISC, 1);
	world_send(r, 0, NULL, frame, sizeof frame);
	assert_non_null(rx_get(r, 0, &used));
	tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_PROMISC, 0);
	return false;
}

static void filters(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(CONTROL));
	static const uint8_t other[6] = { 2, 0, 0, 0, 0, 99 }, group[6] = { 1, 0, 94, 0, 0, 1 }, all[6] = { 255, 255, 255, 255, 255, 255 };

	assert_true(passes(r, other));			/* nothing has been said yet */
	assert_int_equal(tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_PROMISC, 0), VIO_NET_OK);
	assert_false(passes(r, other));
	assert_true(passes(r, guest_mac));
	assert_true(passes(r, all));
	assert_false(passes(r, group));
	assert_int_equal(tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_ALLMULTI, 1), VIO_NET_OK);
	assert_true(passes(r, group));
	assert_int_equal(tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_NOMULTI, 1), VIO_NET_OK);
	assert_false(passes(r, group));
	assert_true(passes(r, all));
	assert_int_equal(tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_NOBCAST, 1), VIO_NET_OK);
	assert_false(passes(r, all));
	assert_int_equal(tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_ALLUNI, 1), VIO_NET_OK);
	assert_true(passes(r, other));
	assert_int_equal(tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_NOUNI, 1), VIO_NET_OK);
	assert_false(passes(r, other));
	assert_false(passes(r, guest_mac));
	assert_int_equal(tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_PROMISC, 1), VIO_NET_OK);
	assert_true(passes(r, group));
	assert_true(passes(r, other));
	assert_int_equal(counts(r, 0).rx_filtered, 6);
	net_close(r);
}

/* ---- Queue pairs ---- */

static void pairs_set(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);
	unsigned char frame[60];
	uint32_t used;
	r->o.pairs = NET_PAIRS;
	net_open(r);
	net_start(r, BITS(CONTROL, VIO_NET_F_MQ));
	make_frame(frame, sizeof frame, guest_mac, world_mac, 1);
	for (unsigned i = 0; i < NET_PAIRS; i++)
		rx_give(r, i, 2, 128);
	world_send(r, 3, NULL, frame, sizeof frame);
	assert_null(rx_get(r, 3, &used));		/* only the first pair is used */
	assert_int_equal(tell16(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, NET_PAIRS), VIO_NET_OK);
	for (unsigned i = 0; i < NET_PAIRS; i++) {
		world_send(r, i, NULL, frame, sizeof frame);
		assert_non_null(rx_get(r, i, &used));
		assert_true(tx(r, i, frame, sizeof frame));
		assert_int_equal(arrival(r, r->arrived - 1)->pair, i);
	}
	assert_int_equal(tell16(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2), VIO_NET_OK);
	world_send(r, 2, NULL, frame, sizeof frame);
	assert_null(rx_get(r, 2, &used));
	net_close(r);
}

/* A front end that keeps the control queue enables rings, and nothing else is said. */
static void enabled_rings(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);
	unsigned char frame[60];
	uint32_t used;
	r->o.pairs = 2;
	net_open(r);
	rig_start(r->g, 4, BITS(BASIC));
	r->header = HDR;
	make_frame(frame, sizeof frame, guest_mac, world_mac, 1);
	rx_give(r, 1, 3, 128);
	world_send(r, 1, NULL, frame, sizeof frame);
	assert_non_null(rx_get(r, 1, &used));
	for (unsigned i = 2; i < 4; i++)
		vio_dev_queue_enable(r->g->dev, i, false);
	vio_dev_notified(r->g->dev, 2);
	unsigned arrived = r->arrived;
	assert_true(tx(r, 1, frame, sizeof frame));	/* discarded */
	assert_int_equal(r->arrived, arrived);
	world_send(r, 1, NULL, frame, sizeof frame);
	assert_null(rx_get(r, 1, &used));
	for (unsigned i = 2; i < 4; i++)
		vio_dev_queue_enable(r->g->dev, i, true);
	vio_dev_notified(r->g->dev, 2);
	vio_dev_notified(r->g->dev, 3);
	world_send(r, 1, NULL, frame, sizeof frame);
	assert_non_null(rx_get(r, 1, &used));
	assert_true(tx(r, 1, frame, sizeof frame));
	assert_int_equal(r->arrived, arrived + 1);
	net_close(r);
}

/* Moved with buffers that wait for frames, and between frames: each comes and goes once. */
static void move_each(struct net_rig *r, const struct ring *s)
{
	unsigned char frame[700];
	uint32_t used;

	net_start(r, ring_of(s, BITS(BASIC)));
	rx_give(r, 0, 1, RX_BYTES);
	for (unsigned i = 0; i < 6; i++) {
		make_frame(frame, sizeof frame, guest_mac, world_mac, i);
		world_send(r, 0, NULL, frame, sizeof frame);
		unsigned char *p = rx_get(r, 0, &used);
		assert_non_null(p);
		assert_int_equal(used, HDR + sizeof frame);
		assert_memory_equal(p + HDR, frame, sizeof frame);
		unsigned arrived = r->arrived;
		assert_true(tx(r, 0, frame, sizeof frame));
		assert_int_equal(r->arrived, arrived + 1);
		rx_give(r, 0, 1, RX_BYTES);
		if (i % 3 == 2) {
			assert_true(moves_freeze(r->g));
			assert_in_range(moves_refuses(r->g), 1, UINT32_MAX);
			vio_dev_thaw(r->g->dev);
			vio_loop_pump(&r->g->wire, 1000);
		} else {
			moves_on(r->g);
		}
	}
}

static void moves_mid_traffic(void **state)
{
	(void)state;
	each_ring(move_each);
}

static const struct CMUnitTest tests[] = {
	T(transmits, "frames leave as they were given, however the ring and the buffers look"),
	T(moves_mid_traffic, "moved between frames: each comes and goes once"),
	T(receives, "frames come with a header of zeroes and one buffer, whether buffers wait or frames {net-dev-30; only us}"),
	T(spreads, "mergeable: all buffers but the last are full, and their number is told {net-dev-28 net-dev-31 net-dev-32; only us}"),
	T(together, "the buffers of one frame are seen together {net-dev-33; only us}"),
	T(one_buffer, "not mergeable: one buffer, or the frame is lost {net-dev-29 net-dev-30; only us}"),
	T(never_fits, "a frame that all buffers of a queue can't hold is lost, and the next one is not"),
	T(partial_csum_out, "a partial checksum is handed on; without NEEDS_CSUM nothing is, and unknown flags mean nothing "
	    "{net-dev-15 net-dev-16; only us}"),
	T(tells, "the config space tells address, state, pairs, MTU, speed {net-dev-1 net-dev-2 net-dev-3 net-dev-10; only us}"),
	T(link_goes, "the link goes and comes back, and the driver is told"),
	T(speed_holds, "speed and duplex change only while the link is down, the MTU never; what the device can hash "
	    "{net-dev-4 net-dev-7 net-dev-12; only us}"),
	T(filters, "the driver chooses frames by address {net-dev-74 net-dev-74a net-dev-74b net-dev-75 net-dev-76 net-dev-77 net-dev-78 "
	    "net-dev-78a net-dev-78b net-dev-78c net-dev-78d net-dev-79 net-dev-80 net-dev-81 net-dev-82 net-dev-83 net-dev-84 net-dev-85 "
	    "net-dev-86 net-dev-90; only us}"),
	T(pairs_set, "as many pairs are used as the driver says, the first at first {net-dev-95 net-dev-96; only us}"),
	T(enabled_rings, "without a control queue pairs are used as their rings are enabled; a disabled one loses what is sent"),
};
int main(void) { return vio_tests("net", tests, sizeof tests / sizeof *tests); }
