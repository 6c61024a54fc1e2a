/* The network driver: against the device in all kinds of rings, and against one that lies. */
#include <vio/driver/net.h>
#include "fake.h"
#include "net_frames.h"

enum { BUFFERS = 24, CONTROL = 16, FRAMES = 8 };

/* A driver with its memory, all of it the guest's. */
struct guest {
	struct rig *g;
	struct vio_net *n;
	struct vio_net_setup s;
	struct vio_net_rx *rx;
	struct vio_net_tx *tx;
	unsigned char *data;
	uint32_t buffer;
};

static void take_queue(struct rig *g, struct vio_net_queue_memory *m, unsigned size, bool tables)
{
	m->ring = rig_take(g, VIO_DRVQ_RING_BYTES(RIG_SIZE));
	m->slots = calloc(size, sizeof *m->slots);
	m->indirect = tables ? rig_take(g, size * VIO_NET_DRV_INDIRECT * sizeof *m->indirect) : NULL;
}

static struct guest *guest_new(struct rig *g, uint16_t pairs, uint32_t buffer)
{
	struct guest *d = calloc(1, sizeof *d);

	d->g = g;
	g->used = 0;
	d->buffer = buffer;
	d->n = rig_take(g, sizeof *d->n);
	d->rx = calloc(pairs * (size_t)BUFFERS, sizeof *d->rx);
	d->tx = rig_take(g, FRAMES * sizeof *d->tx);
	d->data = rig_take(g, GSO_MAX);
	d->s = (struct vio_net_setup){ .pairs = pairs, .queue_size = RIG_SIZE, .control_size = CONTROL };
	for (unsigned p = 0; p < pairs; p++) {
		take_queue(g, &d->s.pair[p].rx, RIG_SIZE, false);
		take_queue(g, &d->s.pair[p].tx, RIG_SIZE, true);
		d->s.pair[p].buffers = d->rx + p * BUFFERS;
		d->s.pair[p].count = BUFFERS;
		for (unsigned i = 0; i < BUFFERS; i++)
			d->rx[p * BUFFERS + i] = (struct vio_net_rx){ .bytes = rig_take(g, buffer), .size = buffer };
	}
	take_queue(g, &d->s.control, CONTROL, false);
	return d;
}

static void guest_free(struct guest *d)
{
	for (unsigned p = 0; p < d->s.pairs; p++) {
		free(d->s.pair[p].rx.slots);
		free(d->s.pair[p].tx.slots);
	}
	free(d->s.control.slots);
	free(d->rx);
	free(d);
}

static void guest_end(struct guest *d)
{
	assert_true(vio_net_stop(d->n));
	for (unsigned p = 0; p < d->s.pairs; p++)
		while (vio_net_abandon(d->n, (uint16_t)p))
			;
	assert_int_equal(d->g->maps, 0);
	guest_free(d);
}

static struct guest *start(struct net_rig *r, uint16_t pairs, uint32_t buffer, struct vio_features wanted)
{
	struct guest *d = guest_new(r->g, pairs, buffer);

	d->s.wanted = wanted;
	if (!vio_net_start(d->n, &r->g->wire.port, &d->s))
		fail_msg("%s", d->n->drv.failed);
	return d;
}

static struct vio_net_tx *fill(struct guest *d, unsigned i, const void *bytes, size_t n)
{
	struct vio_net_tx *f = &d->tx[i];

	memcpy(d->data, bytes, n);
	*f = (struct vio_net_tx){ .data = d->data, .len = (uint32_t)n };
	return f;
}

/* Send, and take back what was sent. */
static enum vio_net_queued send(struct net_rig *r, struct guest *d, uint16_t pair, struct vio_net_tx *f)
{
	enum vio_net_queued how = vio_net_send(d->n, pair, f);

	vio_net_kick(d->n, pair);
	world_look(r);
	if (how == VIO_NET_QUEUED)
		assert_ptr_equal(vio_net_sent(d->n, pair), f);
	return how;
}

static size_t gather(const struct vio_net_received *in, unsigned char *to)
{
	size_t n = 0;

	for (const struct vio_net_rx *b = in->first; b; b = b->next) {
		memcpy(to + n, (unsigned char *)b->bytes + b->at, b->len);
		n += b->len;
	}
	assert_int_equal(n, in->len);
	return n;
}

static unsigned char frame[GSO_MAX], back[GSO_MAX];

/* ---- Against the device ---- */

static void one_round(struct net_rig *r, struct guest *d, unsigned round)
{
	struct vio_net_received in;

	for (unsigned i = 0; i < 70; i++) {	/* round the rings, more than once */
		size_t n = 14 + (i * 97 + round) % 1501;
		make_frame(frame, n, world_mac, guest_mac, i);
		assert_int_equal(send(r, d, 0, fill(d, i % FRAMES, frame, n)), VIO_NET_QUEUED);
		struct arrival *a = arrival(r, r->arrived - 1);
		assert_int_equal(a->length, n);
		assert_memory_equal(a->bytes, frame, n);
		make_frame(frame, n, guest_mac, world_mac, i);
		world_send(r, 0, NULL, frame, n);
		assert_true(vio_net_receive(d->n, 0, &in));
		assert_int_equal(gather(&in, back), n);
		assert_memory_equal(back, frame, n);
		vio_net_give_back(d->n, 0, in.first);
		vio_net_kick(d->n, 0);
		assert_false(vio_net_receive(d->n, 0, &in));
	}
	assert_int_equal(d->n->refused, 0);
}

static void rings(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 32; i++) {
		struct net_rig *r = net_new(VIO_LINK_ALL);
		struct vio_features f = vio_net_drives();
		static const unsigned char switches[] = { VIO_F_RING_PACKED, VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_IN_ORDER,
			VIO_NET_F_MRG_RXBUF };
		for (unsigned b = 0; b < sizeof switches; b++)
			if (!(i >> b & 1))
				vio_features_drop(&f, switches[b]);
		r->g->map_cut = i & 1 ? 700 : 0;
		net_open(r);
		struct guest *d = start(r, 1, i >> 4 & 1 ? 512 : 2048, f);
		if (!(i >> 4 & 1))
			assert_false(vio_drv_has(&d->n->drv, VIO_NET_F_GUEST_TSO4));
		one_round(r, d, i);
		guest_end(d);
		net_close(r);
	}
}

static void offloads(void **state)
{
	(void)state;
	struct net_rig *r = net_new(0);
	struct vio_net_received in;

	r->end[0]->takes = 0;
	net_open(r);
	struct guest *d = start(r, 1, 8192, vio_features_minus(vio_net_drives(), BITS(VIO_NET_F_HASH_REPORT)));
	size_t n = make_ip(frame, &tcp4, 4000, true);
	struct vio_net_tx *f = fill(d, 0, frame, n);
	f->needs_csum = true;
	f->csum_start = 34;
	f->csum_offset = 16;
	f->gso = VIO_NET_HDR_GSO_TCPV4;
	f->gso_size = 1000;
	assert_int_equal(send(r, d, 0, f), VIO_NET_QUEUED);
	assert_int_equal(vio_le16_get(f->header.hdr_len), 54);		/* exactly: GUEST_HDRLEN was negotiated */
	assert_int_equal(f->header.num_buffers.wire, 0);
	assert_int_equal(f->header.flags, VIO_NET_HDR_F_NEEDS_CSUM);	/* and none of the others */
	assert_int_equal(r->arrived, 4);
	for (unsigned i = 0; i < 4; i++)
		judge_ip(arrival(r, i)->bytes, arrival(r, i)->length, &tcp4);
	struct vio_frame wanted = wish(&tcp4, VIO_FRAME_TCP4, 1000);
	wanted.ecn = true;
	n = make_ip(frame, &tcp4, 20000, true);
	world_send(r, 0, &wanted, frame, n);
	assert_true(vio_net_receive(d->n, 0, &in));
	assert_int_equal(gather(&in, back), n);
	assert_memory_equal(back, frame, n);
	assert_true(in.needs_csum && in.gso == VIO_NET_HDR_GSO_TCPV4 && in.ecn && in.gso_size == 1000);
	assert_int_equal(in.csum_start, 34);
	vio_net_give_back(d->n, 0, in.first);
	assert_true(vio_net_set_offloads(d->n, BITS(VIO_NET_F_GUEST_CSUM)));
	assert_false(vio_net_set_offloads(d->n, BITS(VIO_NET_F_GUEST_CSUM, VIO_NET_F_STATUS, 44)));
	vio_net_kick(d->n, 0);
	world_send(r, 0, &wanted, frame, make_ip(frame, &tcp4, 2000, true));
	assert_true(vio_net_receive(d->n, 0, &in));
	assert_true(in.csum_valid && !in.needs_csum && !in.gso);
	vio_net_give_back(d->n, 0, in.first);
	guest_end(d);
	net_close(r);
}

/* Every kind of segmentation, with and without ECN, as the device hears of it. */
static void kinds(void **state)
{
	(void)state;
	static const struct { const struct flow *flow; uint8_t gso, told; bool ecn; } rows[] = {
		{ &tcp4, VIO_NET_HDR_GSO_TCPV4, VIO_FRAME_TCP4, false }, { &tcp4, VIO_NET_HDR_GSO_TCPV4, VIO_FRAME_TCP4, true },
		{ &tcp6, VIO_NET_HDR_GSO_TCPV6, VIO_FRAME_TCP6, true }, { &udp4, VIO_NET_HDR_GSO_UDP, VIO_FRAME_UFO, false },
		{ &udp6, VIO_NET_HDR_GSO_UDP_L4, VIO_FRAME_USO, false },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows * 2; i++) {
		const struct flow *flow = rows[i / 2].flow;
		struct vio_features f = vio_net_drives();
		struct net_rig *r = net_new(VIO_LINK_ALL);
		if (i & 1)
			vio_features_drop(&f, VIO_NET_F_GUEST_HDRLEN);
		net_open(r);
		struct guest *d = start(r, 1, 8192, f);
		size_t n = make_ip(frame, flow, 4000, true);
		struct vio_net_tx *t = fill(d, 0, frame, n);
		t->needs_csum = true;
		t->csum_start = (uint16_t)l4_at(flow);
		t->csum_offset = (uint16_t)sum_at(flow);
		t->gso = rows[i / 2].gso;
		t->ecn = rows[i / 2].ecn;
		t->gso_size = 1000;
		assert_int_equal(send(r, d, 0, t), VIO_NET_QUEUED);
		assert_int_equal(arrival(r, 0)->frame.gso, rows[i / 2].told);
		assert_int_equal(arrival(r, 0)->frame.ecn, rows[i / 2].ecn);
		assert_int_equal(arrival(r, 0)->frame.csum_start, l4_at(flow));
		assert_int_equal(vio_le16_get(t->header.hdr_len), l4_at(flow) + l4_bytes(flow));
		assert_memory_equal(arrival(r, 0)->bytes, frame, n);
		guest_end(d);
		net_close(r);
	}
}

/* Without a control queue nothing is negotiated, or asked for, that needs one. */
static void no_control(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);
	struct vio_features f = vio_net_drives();

	net_open(r);
	vio_features_drop(&f, VIO_NET_F_CTRL_VQ);
	struct guest *d = start(r, 1, 2048, f);
	assert_false(vio_drv_has(&d->n->drv, VIO_NET_F_HASH_REPORT) || vio_drv_has(&d->n->drv, VIO_NET_F_CTRL_RX_EXTRA));
	for (uint8_t mode = 0; mode < VIO_NET_CTRL_RX_MODES; mode++)
		assert_false(vio_net_set_mode(d->n, mode, true));
	guest_end(d);
	f = vio_net_drives();
	vio_features_drop(&f, VIO_NET_F_CTRL_RX_EXTRA);
	d = start(r, 1, 2048, f);
	assert_true(vio_net_set_mode(d->n, VIO_NET_CTRL_RX_ALLMULTI, true));
	assert_false(vio_net_set_mode(d->n, VIO_NET_CTRL_RX_ALLUNI, true) || vio_net_set_mode(d->n, VIO_NET_CTRL_RX_NOBCAST, true));
	guest_end(d);
	net_close(r);
}

/* What was not negotiated, or breaks a rule, is not sent. */
static void send_refused(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);

	net_open(r);
	for (unsigned with = 0; with < 2; with++) {
		struct vio_features all = vio_net_drives(), none = BITS(VIO_F_VERSION_1, VIO_NET_F_MRG_RXBUF, VIO_NET_F_MTU, VIO_NET_F_CTRL_VQ);
		vio_features_drop(&all, VIO_NET_F_HOST_ECN);
		struct guest *d = start(r, 1, 2048, with ? all : none);
		size_t n = make_ip(frame, &tcp4, 4000, true);
		struct vio_net_tx good = { .data = d->data, .len = (uint32_t)n, .needs_csum = true, .csum_start = 34, .csum_offset = 16,
			.gso = VIO_NET_HDR_GSO_TCPV4, .gso_size = 1000 };
		for (unsigned row = 0; row < 12; row++) {
			struct vio_net_tx *f = fill(d, 0, frame, n);
			bool fine = false;
			*f = good;
			switch (row) {
			case 0: f->gso_size = 0; break;
			case 1: f->needs_csum = false; break;
			case 2: f->csum_start = (uint16_t)(n - 16); break;
			case 3: f->csum_start = f->csum_offset = 0xffff; break;
			case 4: f->gso = 2; break;
			case 5: f->gso = VIO_NET_HDR_GSO_TCPV4 | VIO_NET_HDR_GSO_UDP_TUNNEL_IPV4; break;
			case 6: f->ecn = true; break;
			case 7: f->gso = 0; break;			/* beyond the MTU */
			case 8: f->len = 13; f->gso = 0; f->needs_csum = false; break;
			case 9: f->gso = 0; f->len = 1514; fine = with; break;
			case 10: f->gso = 0; f->needs_csum = false; f->len = 1514; fine = true; break;
			case 11: fine = with; break;
			}
			assert_int_equal(send(r, d, 0, f), fine ? VIO_NET_QUEUED : VIO_NET_REFUSED);
		}
		struct vio_net_tx *f = fill(d, 0, frame, 100);
		assert_int_equal(send(r, d, 1, f), VIO_NET_REFUSED);	/* no such pair */
		guest_end(d);
	}
	net_close(r);
}

static void no_room(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);
	unsigned queued = 0;

	net_open(r);
	r->g->wire.lazy = true;
	struct guest *d = start(r, 1, 2048, BITS(VIO_F_VERSION_1, VIO_NET_F_MRG_RXBUF));
	struct vio_net_tx *many = rig_take(r->g, 100 * sizeof *many);
	make_frame(frame, 60, world_mac, guest_mac, 1);
	memcpy(d->data, frame, 60);
	for (; queued < 100; queued++) {
		many[queued] = (struct vio_net_tx){ .data = d->data, .len = 60 };
		if (vio_net_send(d->n, 0, &many[queued]) == VIO_NET_NO_ROOM)
			break;
	}
	assert_int_equal(queued, RIG_SIZE / 2);
	vio_net_kick(d->n, 0);
	r->g->wire.lazy = false;
	guest_end(d);		/* what was not sent comes back, unmapped */
	net_close(r);
}

/* ---- Config space and commands ---- */

static void reads(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);

	r->o.speed = 10000;
	r->o.duplex = VIO_NET_DUPLEX_FULL;
	net_open(r);
	struct guest *d = start(r, 1, 2048, (struct vio_features){ { 0, 0 } });
	assert_memory_equal(d->n->mac, guest_mac, 6);
	assert_true(d->n->up && d->n->mtu == 1500 && d->n->speed == 10000 && d->n->duplex == VIO_NET_DUPLEX_FULL);
	assert_true(vio_drv_has(&d->n->drv, VIO_NET_F_MAC) && vio_drv_has(&d->n->drv, VIO_NET_F_MTU));
	vio_link_pair_set(r->end[0], false);
	assert_true(vio_net_config_changed(d->n) && !d->n->up && !d->n->announce);
	vio_link_pair_set(r->end[0], true);
	assert_true(vio_net_dev_announce(r->g->dev));
	assert_true(vio_net_config_changed(d->n) && d->n->up && d->n->announce);
	assert_true(vio_net_announced(d->n));
	assert_true(vio_net_config_changed(d->n) && !d->n->announce);
	guest_end(d);
	d = start(r, 1, 2048, BITS(VIO_F_VERSION_1, VIO_NET_F_MRG_RXBUF));
	assert_true(d->n->up && d->n->mtu == 0 && d->n->speed == VIO_NET_SPEED_UNKNOWN);
	assert_int_equal(d->n->mac[0] & 3, 2);		/* locally administered */
	assert_false(vio_net_announced(d->n) || vio_net_set_mode(d->n, VIO_NET_CTRL_RX_PROMISC, true));
	guest_end(d);
	net_close(r);
}

static void commands(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);
	static const uint8_t table[3][6] = { { 2, 0, 0, 0, 1, 1 }, { 2, 0, 0, 0, 1, 2 }, { 1, 0, 94, 0, 0, 1 } };
	struct vio_net_received in;
	uint64_t types, v[8];
	uint32_t packets, usecs;
	unsigned count;

	net_open(r);
	struct guest *d = start(r, 1, 2048, (struct vio_features){ { 0, 0 } });
	assert_true(vio_net_set_mode(d->n, VIO_NET_CTRL_RX_PROMISC, false));
	assert_false(vio_net_set_mode(d->n, 6, false));
	assert_true(vio_net_set_mac_table(d->n, table, 2, table + 2, 1));
	assert_true(vio_net_set_mac_table(d->n, NULL, 0, NULL, 0));
	assert_false(vio_net_set_mac_table(d->n, table, 1000, NULL, 0));
	assert_true(vio_net_set_mac_table(d->n, table, 2, table + 2, 1));
	make_frame(frame, 60, table[1], world_mac, 1);
	world_send(r, 0, NULL, frame, 60);
	assert_true(vio_net_receive(d->n, 0, &in));
	vio_net_give_back(d->n, 0, in.first);
	make_frame(frame, 60, (const uint8_t[]){ 2, 9, 9, 9, 9, 9 }, world_mac, 1);
	world_send(r, 0, NULL, frame, 60);
	assert_false(vio_net_receive(d->n, 0, &in));
	assert_true(vio_net_set_vlan(d->n, 4095, true) && vio_net_set_vlan(d->n, 4095, false) && !vio_net_set_vlan(d->n, 4096, true));
	assert_true(vio_net_set_mac(d->n, table[0]));
	assert_memory_equal(d->n->mac, table[0], 6);
	assert_true(vio_net_coalesce(d->n, false, 10, 100) && vio_net_coalesce_queue(d->n, 1, 20, 200));
	assert_true(vio_net_coalescing(d->n, 0, &packets, &usecs) && packets == 10 && usecs == 100);
	assert_true(vio_net_coalescing(d->n, 1, &packets, &usecs) && packets == 20 && usecs == 200);
	assert_false(vio_net_coalesce_queue(d->n, 2, 1, 1) || vio_net_coalescing(d->n, 2, &packets, &usecs));
	assert_true(vio_net_stats_types(d->n, &types) && types == 0x1000f000f);
	assert_true(vio_net_stats(d->n, 0, VIO_NET_STATS_RX_BASIC, v, 8, &count) && count == 6 && v[1] == 1 && v[2] == 60);
	assert_true(vio_net_stats(d->n, vio_net_control_queue(d->n), VIO_NET_STATS_CVQ, v, 8, &count) && count == 2);
	assert_false(vio_net_stats(d->n, 0, VIO_NET_STATS_TX_BASIC, v, 8, &count));
	assert_false(vio_net_stats(d->n, 0, 40, v, 8, &count) || vio_net_stats(d->n, 77, 0, v, 8, &count));
	guest_end(d);
	net_close(r);
}

static void many_pairs(void **state)
{
	(void)state;
	static const uint8_t key[40] = { 1, 2, 3 };
	uint16_t table[128] = { 0 };
	struct net_rig *r = net_new(VIO_LINK_ALL);
	struct vio_net_received in;
	struct vio_net_rss rss = { .types = VIO_NET_HASH_TCPV4, .entries = 128, .table = table, .tx_pairs = 2, .key = key, .key_bytes = 40 };
	uint16_t most;

	r->o.pairs = 2;
	net_open(r);
	struct guest *d = start(r, NET_PAIRS, 2048, (struct vio_features){ { 0, 0 } });
	assert_int_equal(d->n->pairs, 2);
	assert_int_equal(d->n->used_pairs, 2);
	make_frame(frame, 60, world_mac, guest_mac, 1);
	assert_int_equal(send(r, d, 1, fill(d, 0, frame, 60)), VIO_NET_QUEUED);
	assert_int_equal(arrival(r, 0)->pair, 1);
	assert_false(vio_net_set_pairs(d->n, 0) || vio_net_set_pairs(d->n, 3));
	for (unsigned i = 0; i < 128; i++)
		table[i] = 1;
	assert_true(vio_net_set_rss(d->n, &rss));
	size_t n = make_ip(frame, &tcp4, 10, false);
	world_send(r, 0, NULL, frame, n);
	assert_true(vio_net_receive(d->n, 1, &in));
	assert_int_equal(in.hash_report, 2);
	vio_net_give_back(d->n, 1, in.first);
	static const struct { unsigned row; } rows[] = { { 0 }, { 1 }, { 2 }, { 3 }, { 4 }, { 5 }, { 6 } };
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct vio_net_rss bad = rss;
		uint16_t wrong[256] = { 7 };
		switch (rows[i].row) {
		case 0: bad.entries = 3; break;
		case 1: bad.entries = 256; break;
		case 2: bad.types = 1 << 9; break;
		case 3: bad.key_bytes = 41; break;
		case 4: bad.table = wrong; break;
		case 5: bad.tx_pairs = 3; break;
		case 6: bad.unclassified = 2; break;
		}
		assert_false(vio_net_set_rss(d->n, &bad));
	}
	assert_true(vio_net_max_contexts(d->n, &most) && most == VIO_NET_DEV_CONTEXTS);
	assert_true(vio_net_set_context(d->n, 1, &rss, false) && vio_net_set_context(d->n, 1, &rss, true));
	assert_false(vio_net_set_context(d->n, 0, &rss, false) || vio_net_set_pairs(d->n, 1));
	assert_true(vio_net_delete_context(d->n, 1) && vio_net_set_pairs(d->n, 1));
	assert_int_equal(send(r, d, 1, fill(d, 0, frame, 60)), VIO_NET_REFUSED);
	assert_true(vio_net_set_tunnels(d->n, VIO_NET_TUNNEL_VXLAN) && !vio_net_set_tunnels(d->n, 1 << 12));
	assert_false(vio_net_set_hash(d->n, VIO_NET_HASH_IPV4, key, 40));	/* with RSS it has no meaning */
	guest_end(d);
	struct vio_features only_rss = vio_net_drives();
	vio_features_drop(&only_rss, VIO_NET_F_MQ);
	d = start(r, 2, 2048, only_rss);
	assert_int_equal(send(r, d, 1, fill(d, 0, frame, 60)), VIO_NET_REFUSED);	/* the device has not been told of it yet */
	assert_int_equal(send(r, d, 0, fill(d, 0, frame, 60)), VIO_NET_QUEUED);
	assert_true(vio_net_set_rss(d->n, &rss));
	assert_int_equal(send(r, d, 1, fill(d, 0, frame, 60)), VIO_NET_QUEUED);
	guest_end(d);
	net_close(r);
}

static void buffers_too_small(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);

	net_open(r);
	struct guest *d = guest_new(r->g, 1, 1500);
	d->s.wanted = BITS(VIO_F_VERSION_1, VIO_NET_F_MTU);
	assert_false(vio_net_start(d->n, &r->g->wire.port, &d->s));
	assert_non_null(d->n->drv.failed);
	assert_int_equal(r->g->maps, 0);
	guest_free(d);
	d = guest_new(r->g, 1, 12);		/* mergeable, but all of them have no room for one frame */
	d->s.wanted = BITS(VIO_F_VERSION_1, VIO_NET_F_MTU, VIO_NET_F_MRG_RXBUF);
	assert_false(vio_net_start(d->n, &r->g->wire.port, &d->s));
	guest_free(d);
	net_close(r);
}

/* ---- Against a device that lies ---- */

static struct vio_net_config *fake_config(struct fake *f) { return (void *)f->config; }

static struct fake *fake_net(struct vio_features offers)
{
	struct fake *f = fake_new(VIO_ID_NET, offers);

	memset(f->config, 0, sizeof f->config);
	fake_config(f)->mtu = vio_le16_of(1500);
	fake_config(f)->max_virtqueue_pairs = vio_le16_of(1);
	f->watched = 0;
	return f;
}

static void lying_config(void **state)
{
	(void)state;
	static const struct { uint16_t pairs, mtu; uint32_t speed; uint8_t duplex; bool starts; } rows[] = {
		{ 1, 1500, 1000, 1, true }, { 0, 1500, 0, 0, false }, { 0xffff, 1500, 0, 0, false }, { 1, 0, 0, 0, false },
		{ 1, 67, 0, 0, false }, { 1, 1500, 0x80000000, 7, true }, { 1, 65535, 0xffffffff, 0xff, false },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fake *f = fake_net(BITS(VIO_NET_F_MQ, VIO_NET_F_CTRL_VQ, VIO_NET_F_MTU, VIO_NET_F_SPEED_DUPLEX, VIO_NET_F_MRG_RXBUF));
		fake_config(f)->max_virtqueue_pairs = vio_le16_of(rows[i].pairs);
		fake_config(f)->mtu = vio_le16_of(rows[i].mtu);
		fake_config(f)->speed = vio_le32_of(rows[i].speed);
		fake_config(f)->duplex = rows[i].duplex;
		struct guest *d = guest_new(f->g, 2, 2048);
		assert_int_equal(vio_net_start(d->n, &f->port, &d->s), rows[i].starts);
		assert_int_equal(d->n->drv.failed == NULL, rows[i].starts);
		if (rows[i].starts) {
			assert_int_equal(d->n->speed, rows[i].speed <= 0x7fffffff ? rows[i].speed : VIO_NET_SPEED_UNKNOWN);
			assert_int_equal(d->n->duplex, rows[i].duplex <= 1 ? rows[i].duplex : 0xff);
			assert_false(vio_net_set_mode(d->n, 0, true));	/* not offered: not even asked */
			guest_end(d);
		} else {
			assert_int_equal(f->g->maps, 0);
			guest_free(d);
		}
		assert_int_equal(f->config_writes, 0);		/* 5.1.4.2 */
		fake_close(f);
	}
}

/* Headers and lengths that do not add up: counted, and the buffers go back to the device. */
static void lying_frames(void **state)
{
	(void)state;
	static const struct row { struct vio_net_hdr h; uint32_t used; bool good; } rows[] = {
		{ { .num_buffers = { 1 } }, HDR + 60, true },
		{ { .num_buffers = { 1 } }, 0, false },
		{ { .num_buffers = { 1 } }, HDR - 1, false },
		{ { .num_buffers = { 1 } }, HDR, false },
		{ { .num_buffers = { 1 } }, HDR + 13, false },
		{ { .num_buffers = { 0 } }, HDR + 60, false },
		{ { .num_buffers = { 2 } }, HDR + 60, false },
		{ { .num_buffers = { 0xffff } }, HDR + 60, false },
		{ { .num_buffers = { 1 }, .flags = 0xf0 }, HDR + 60, true },
		{ { .num_buffers = { 1 }, .flags = 1, .csum_start = { 58 }, .csum_offset = { 0 } }, HDR + 60, true },
		{ { .num_buffers = { 1 }, .flags = 1, .csum_start = { 59 }, .csum_offset = { 0 } }, HDR + 60, false },
		{ { .num_buffers = { 1 }, .flags = 1, .csum_start = { 0xffff }, .csum_offset = { 0xffff } }, HDR + 60, false },
		{ { .num_buffers = { 1 }, .flags = 0, .csum_start = { 0xffff }, .csum_offset = { 0xffff } }, HDR + 60, true },
		{ { .num_buffers = { 1 }, .flags = 1, .gso_type = 1, .gso_size = { 0 }, .csum_start = { 34 } }, HDR + 60, false },
		{ { .num_buffers = { 1 }, .flags = 0, .gso_type = 1, .gso_size = { 9 } }, HDR + 60, false },
		{ { .num_buffers = { 1 }, .flags = 1, .gso_type = 1, .gso_size = { 9 }, .hdr_len = { 0xffff } }, HDR + 60, true },
		{ { .num_buffers = { 1 }, .flags = 1, .gso_type = 4, .gso_size = { 9 } }, HDR + 60, false },	/* not negotiated */
		{ { .num_buffers = { 1 }, .flags = 1, .gso_type = 0x21, .gso_size = { 9 } }, HDR + 60, false },
		{ { .num_buffers = { 1 }, .flags = 9, .gso_type = 0x61, .gso_size = { 9 } }, HDR + 60, false },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows * 2; i++) {
		const struct row *row = &rows[i / 2];
		struct fake *f = fake_net(BITS(VIO_NET_F_MRG_RXBUF, VIO_NET_F_GUEST_CSUM, VIO_NET_F_GUEST_TSO4));
		if (i & 1)
			vio_features_add(&f->offers, VIO_F_RING_PACKED);
		struct guest *d = guest_new(f->g, 1, 8192);
		struct vio_net_received in;
		assert_true(vio_net_start(d->n, &f->port, &d->s));
		memcpy(d->rx[0].bytes, &row->h, HDR);
		fake_use(f, 0, fake_id_of(f, 0, 1), row->used);
		assert_int_equal(vio_net_receive(d->n, 0, &in), row->good);
		assert_int_equal(d->n->refused, row->good ? 0 : 1);
		if (row->good) {
			assert_int_equal(in.len, row->used - HDR);
			if (!(row->h.flags & 1))
				assert_int_equal(in.csum_start | in.csum_offset, 0);
			vio_net_give_back(d->n, 0, in.first);
		}
		assert_true(d->rx[0].given);
		assert_false(vio_net_receive(d->n, 0, &in));
		guest_end(d);
		fake_close(f);
	}
}

/* No answer, or one that says more than it wrote. */
static void lying_answers(void **state)
{
	(void)state;
	struct fake *f = fake_net(BITS(VIO_NET_F_MRG_RXBUF, VIO_NET_F_CTRL_VQ, VIO_NET_F_CTRL_RX));
	struct guest *d = guest_new(f->g, 1, 2048);

	f->watched = 2;
	assert_true(vio_net_start(d->n, &f->port, &d->s));
	assert_false(vio_net_set_mode(d->n, VIO_NET_CTRL_RX_PROMISC, true));
	assert_non_null(d->n->drv.failed);
	assert_false(vio_net_set_mode(d->n, VIO_NET_CTRL_RX_PROMISC, true));
	guest_end(d);
	d = guest_new(f->g, 1, 2048);
	assert_true(vio_net_start(d->n, &f->port, &d->s));
	fake_use(f, 0, 0, 0);		/* before anything was asked: a chain that is not the device's */
	assert_false(vio_net_set_mode(d->n, VIO_NET_CTRL_RX_PROMISC, true));
	guest_end(d);
	fake_close(f);
}

/* The control queue's answer is an error, with something written behind it. */
static struct guest *asking;

static void answer_error(struct fake *f)
{
	struct guest *d = asking;

	if (!f->q || !d->n->control_index)
		return;
	memset(d->n->result, 0x55, 64);
	d->n->result[0] = VIO_NET_ERR;
	fake_use(f, 0, fake_id_of(f, 0, 2), 9);
}

static void errors(void **state)
{
	(void)state;
	struct fake *f = fake_net(BITS(VIO_NET_F_MRG_RXBUF, VIO_NET_F_CTRL_VQ, VIO_NET_F_VQ_NOTF_COAL, VIO_NET_F_HASH_REPORT,
	    VIO_NET_F_HASH_TUNNEL));
	uint32_t packets = 1, usecs = 2;

	fake_config(f)->supported_tunnel_types = vio_le32_of(UINT32_MAX);
	fake_config(f)->supported_hash_types = vio_le32_of(UINT32_MAX);
	struct guest *d = asking = guest_new(f->g, 1, 2048);
	f->watched = 2;
	assert_true(vio_net_start(d->n, &f->port, &d->s));
	assert_int_equal(d->n->tunnel_types, VIO_NET_TUNNEL_ALL);	/* bits that nobody has documented are not there */
	assert_int_equal(d->n->hash_types, VIO_NET_HASH_ALL);
	assert_false(vio_net_set_tunnels(d->n, 1u << 9));
	f->on_kick = answer_error;
	assert_false(vio_net_coalescing(d->n, 0, &packets, &usecs));
	assert_true(packets == 1 && usecs == 2);
	assert_null(d->n->drv.failed);
	guest_end(d);
	fake_close(f);
}

static const struct CMUnitTest tests[] = {
	T(rings, "frames both ways, in every kind of ring, mergeable or not {net-drv-14 net-drv-15 net-drv-60 net-drv-61 net-drv-62; only us}"),
	T(offloads, "segmentation and checksums both ways; offloads change while it runs "
	    "{net-drv-19 net-drv-34 net-drv-37 net-drv-38 net-drv-41 net-drv-43 net-drv-44 net-drv-53 net-drv-54 net-drv-55 net-drv-56 net-drv-59 "
	    "net-drv-98; only us}"),
	T(kinds, "every kind of segmentation, with ECN {net-drv-21 net-drv-23 net-drv-25 net-drv-28 net-drv-44 net-drv-45; only us}"),
	T(no_control, "without a control queue nothing that needs one {net-drv-12 net-drv-13 net-drv-79; only us}"),
	T(errors, "an error's bytes mean nothing, undocumented tunnels are not there {net-drv-77 net-drv-102; only us}"),
	T(send_refused, "what was not negotiated or breaks a rule is not sent {net-drv-8 net-drv-16 net-drv-20 net-drv-22 net-drv-24 "
	    "net-drv-26 net-drv-27 net-drv-30 net-drv-42 net-drv-43 net-drv-52; only us}"),
	T(no_room, "a queue that is full takes no more; what was not sent comes back"),
	T(reads, "address, link, MTU, speed, announcements {net-drv-2 net-drv-3 net-drv-4 net-drv-5 net-drv-6 net-drv-11 net-drv-85; only us}"),
	T(commands, "filters, addresses, coalescing, statistics {net-drv-78 net-drv-80 net-drv-82 net-drv-83 net-drv-99 net-drv-100 "
	    "net-drv-101 net-drv-103 net-drv-104 net-drv-105; only us}"),
	T(many_pairs, "several pairs: automatic steering, RSS, contexts, tunnels {net-drv-63 net-drv-75 net-drv-76 net-drv-86 net-drv-87 net-drv-88 "
	    "net-drv-89 net-drv-90 net-drv-91 net-drv-92 net-drv-93 net-drv-94 net-drv-95 net-drv-96 net-drv-97; only us}"),
	T(buffers_too_small, "buffers that are too small for a frame are refused at the start {net-drv-7 net-drv-61; only us}"),
	T(lying_config, "a config space that lies {net-drv-1 net-drv-10 net-drv-78; only us}"),
	T(lying_frames, "headers and lengths that do not add up {net-drv-64 net-drv-67 net-drv-69 net-drv-70 net-drv-71 net-drv-73 net-drv-74; "
	    "only us}"),
	T(lying_answers, "commands that are not answered, or answered before they were asked"),
};
int main(void) { return vio_tests("net_driver", tests, sizeof tests / sizeof *tests); }
