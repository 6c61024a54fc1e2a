/* Commands of the network device: filters, addresses, announcements, coalescing, statistics; and its state saved and loaded. */
#include "net_frames.h"

#define BASIC VIO_F_VERSION_1, VIO_NET_F_MRG_RXBUF, VIO_NET_F_MAC, VIO_NET_F_STATUS, VIO_NET_F_CTRL_VQ, VIO_F_RING_RESET, VIO_F_SUSPEND
#define RX_MODES VIO_NET_F_CTRL_RX, VIO_NET_F_CTRL_RX_EXTRA, VIO_NET_F_CTRL_MAC_ADDR, VIO_NET_F_CTRL_VLAN
#define COAL VIO_NET_F_NOTF_COAL, VIO_NET_F_VQ_NOTF_COAL

static unsigned char frame[2048];

static struct vio_net_config config(struct net_rig *r)
{
	struct vio_net_config c;

	vio_dev_config_read(r->g->dev, 0, &c, sizeof c);
	return c;
}

static bool passes(struct net_rig *r, const uint8_t *to, int vlan)
{
	uint32_t used;
	bool got;

	rig_rewind(r->g);
	make_frame(frame, 64, to, world_mac, 1);
	if (vlan >= 0) {
		put16(frame + 12, 0x8100);
		put16(frame + 14, 0x2000u | (unsigned)vlan);	/* priority 1 */
	}
	rx_give(r, 0, 1, 128);
	world_send(r, 0, NULL, frame, 64);
	got = rx_get(r, 0, &used);
	if (!got)
		vio_drv_queue_reset(&r->g->drv, RX), rig_start_queue(r->g, RX);
	return got;
}

/* ---- Filters ---- */

static size_t macs(unsigned char *p, unsigned count, const uint8_t *one)
{
	vio_le32 n = vio_le32_of(count);

	memcpy(p, &n, 4);
	for (unsigned i = 0; i < count; i++) {
		memcpy(p + 4 + 6 * i, one, 6);
		p[4 + 6 * i + 4] = (unsigned char)(i >> 8);
		p[4 + 6 * i + 5] = (unsigned char)i;
	}
	return 4 + 6 * (size_t)count;
}

static int table_set(struct net_rig *r, unsigned unicast, unsigned multicast)
{
	static const uint8_t u[6] = { 2, 1, 1, 1 }, m[6] = { 1, 0, 94 };
	static unsigned char bytes[8 + 12 * 512];
	size_t n = macs(bytes, unicast, u);

	return tell(r, VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_TABLE_SET, bytes, n + macs(bytes + n, multicast, m));
}

static void mac_table(void **state)
{
	(void)state;
	static const uint8_t u0[6] = { 2, 1, 1, 1, 0, 0 }, u9[6] = { 2, 1, 1, 1, 0, 9 }, m2[6] = { 1, 0, 94, 0, 0, 2 }, m9[6] = { 1, 0, 94, 0, 0, 9 };
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, RX_MODES));

	assert_int_equal(table_set(r, 2, 3), VIO_NET_OK);
	assert_true(passes(r, u0, -1) && passes(r, m2, -1) && passes(r, guest_mac, -1));
	assert_false(passes(r, u9, -1) || passes(r, m9, -1));
	assert_int_equal(table_set(r, 0, 0), VIO_NET_OK);
	assert_false(passes(r, u0, -1) || passes(r, m2, -1));
	assert_int_equal(table_set(r, VIO_NET_DEV_MACS, 0), VIO_NET_OK);
	assert_true(passes(r, u9, -1) && !passes(r, m9, -1));
	assert_int_equal(table_set(r, 0, VIO_NET_DEV_MACS + 1), VIO_NET_OK);	/* more than it keeps: it lets all such through */
	assert_true(passes(r, m9, -1) && !passes(r, u9, -1));
	net_restart(r, BITS(BASIC, RX_MODES));
	tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_PROMISC, 0);
	assert_false(passes(r, m9, -1) || passes(r, u9, -1));
	net_close(r);
}

static void mac_addr(void **state)
{
	(void)state;
	static const uint8_t own[6] = { 2, 5, 5, 5, 5, 5 };
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, RX_MODES));

	tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_PROMISC, 0);
	assert_false(passes(r, own, -1));
	assert_int_equal(tell(r, VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_ADDR_SET, own, 6), VIO_NET_OK);
	assert_memory_equal(config(r).mac, own, 6);
	assert_true(passes(r, own, -1) && !passes(r, guest_mac, -1));
	net_restart(r, BITS(BASIC, RX_MODES));
	assert_memory_equal(config(r).mac, guest_mac, 6);
	net_close(r);
}

static void vlans(void **state)
{
	(void)state;
	static const uint16_t ids[] = { 0, 1, 63, 64, 100, 4095 };
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, RX_MODES));

	for (unsigned i = 0; i < 6; i++) {
		assert_false(passes(r, guest_mac, ids[i]));
		assert_int_equal(tell16(r, VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_ADD, ids[i]), VIO_NET_OK);
		assert_true(passes(r, guest_mac, ids[i]));
		assert_false(passes(r, guest_mac, 2));
	}
	assert_true(passes(r, guest_mac, -1));
	assert_int_equal(tell16(r, VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_DEL, 64), VIO_NET_OK);
	assert_true(!passes(r, guest_mac, 64) && passes(r, guest_mac, 63));
	net_restart(r, BITS(BASIC, RX_MODES));
	assert_false(passes(r, guest_mac, 63));
	net_restart(r, BITS(BASIC));		/* without the feature: all */
	assert_true(passes(r, guest_mac, 63));
	net_close(r);
}

static void announces(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, VIO_NET_F_GUEST_ANNOUNCE));
	uint64_t told = r->g->wire.configs;

	assert_true(vio_net_dev_announce(r->g->dev));
	assert_int_equal(r->g->wire.configs, told + 1);
	assert_int_equal(vio_le16_get(config(r).status), VIO_NET_S_LINK_UP | VIO_NET_S_ANNOUNCE);
	assert_int_equal(tell8(r, VIO_NET_CTRL_ANNOUNCE, VIO_NET_CTRL_ANNOUNCE_ACK, 0), VIO_NET_ERR);	/* it has no data */
	assert_int_equal(vio_le16_get(config(r).status), VIO_NET_S_LINK_UP | VIO_NET_S_ANNOUNCE);
	assert_int_equal(tell(r, VIO_NET_CTRL_ANNOUNCE, VIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0), VIO_NET_OK);
	assert_int_equal(vio_le16_get(config(r).status), VIO_NET_S_LINK_UP);
	net_restart(r, BITS(BASIC));
	assert_false(vio_net_dev_announce(r->g->dev));
	net_close(r);
}

/* ---- Coalescing ---- */

static int coal(struct net_rig *r, unsigned command, uint32_t packets, uint32_t usecs)
{
	struct vio_net_ctrl_coal c = { vio_le32_of(packets), vio_le32_of(usecs) };
	return tell(r, VIO_NET_CTRL_NOTF_COAL, command, &c, sizeof c);
}

static int coal_vq(struct net_rig *r, unsigned queue, uint32_t packets, uint32_t usecs)
{
	struct vio_net_ctrl_coal_vq c = { vio_le16_of((uint16_t)queue), vio_le16_of(0xffff), { vio_le32_of(packets), vio_le32_of(usecs) } };
	return tell(r, VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_VQ_SET, &c, sizeof c);
}

/* What holds for a queue: packets in the low half; UINT64_MAX: the device refused. */
static uint64_t coal_get(struct net_rig *r, unsigned queue)
{
	vio_le16 ask_for[2] = { vio_le16_of((uint16_t)queue), vio_le16_of(0x1234) };
	struct vio_net_ctrl_coal c;
	uint32_t got;

	if (ask(r, VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_VQ_GET, ask_for, sizeof ask_for, &c, sizeof c, &got) != VIO_NET_OK)
		return UINT64_MAX;
	assert_int_equal(got, sizeof c);
	return vio_le32_get(c.max_packets) | (uint64_t)vio_le32_get(c.max_usecs) << 32;
}

#define IS(packets, usecs) ((packets) | (uint64_t)(usecs) << 32)

/* The example of 5.1.6.5.10, command by command. */
static void last_counts(void **state)
{
	(void)state;
	struct net_rig *r = net_new(VIO_LINK_ALL);
	r->o.pairs = 2;
	net_open(r);
	net_start(r, BITS(BASIC, COAL, VIO_NET_F_MQ));
	assert_int_equal(tell16(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2), VIO_NET_OK);
	for (unsigned q = 0; q < 4; q++)
		assert_int_equal(coal_get(r, q), 0);
	assert_int_equal(coal(r, VIO_NET_CTRL_NOTF_COAL_RX_SET, 10, 100), VIO_NET_OK);
	assert_int_equal(coal_get(r, 0), IS(10, 100));
	assert_int_equal(coal_get(r, 2), IS(10, 100));
	assert_int_equal(coal_get(r, 1), 0);
	assert_int_equal(coal_vq(r, 0, 20, 200), VIO_NET_OK);
	assert_int_equal(coal_get(r, 0), IS(20, 200));
	assert_int_equal(coal_get(r, 2), IS(10, 100));
	assert_int_equal(coal_vq(r, 1, 30, 300), VIO_NET_OK);
	assert_int_equal(coal_get(r, 1), IS(30, 300));
	assert_int_equal(coal_get(r, 3), 0);
	assert_int_equal(coal(r, VIO_NET_CTRL_NOTF_COAL_TX_SET, 40, 400), VIO_NET_OK);
	assert_int_equal(coal_get(r, 1), IS(40, 400));
	assert_int_equal(coal_get(r, 3), IS(40, 400));
	assert_int_equal(coal_get(r, 4), UINT64_MAX);		/* the control queue */
	assert_int_equal(coal_vq(r, 5, 1, 1), VIO_NET_ERR);
	assert_int_equal(coal_vq(r, 0xffff, 1, 1), VIO_NET_ERR);
	vio_drv_suspend(&r->g->drv);
	vio_drv_resume(&r->g->drv);
	vio_loop_pump(&r->g->wire, 16);
	assert_int_equal(coal_get(r, 0), IS(20, 200));		/* a pause is no new beginning */
	vio_drv_queue_reset(&r->g->drv, 0);
	assert_int_equal(coal_get(r, 0), UINT64_MAX);
	rig_start_queue(r->g, 0);
	vio_loop_pump(&r->g->wire, 16);
	assert_int_equal(coal_get(r, 0), IS(10, 100));
	assert_int_equal(tell16(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, 1), VIO_NET_OK);
	assert_int_equal(coal_get(r, 2), UINT64_MAX);
	net_restart(r, BITS(BASIC, COAL, VIO_NET_F_MQ));
	assert_int_equal(coal_get(r, 0), 0);
	net_close(r);
}

/* Signals wait for so many frames or so long, whichever is first; fewer asked for may be enough already. */
static void holds_back(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, COAL));

	make_frame(frame, 60, guest_mac, world_mac, 1);
	rx_give(r, 0, 40, 128);
	assert_int_equal(coal(r, VIO_NET_CTRL_NOTF_COAL_RX_SET, 15, 10), VIO_NET_OK);
	uint64_t used = r->g->wire.used;
	for (unsigned i = 0; i < 14; i++)
		world_send(r, 0, NULL, frame, 60);
	assert_int_equal(r->g->wire.used, used);
	world_send(r, 0, NULL, frame, 60);
	assert_int_equal(r->g->wire.used, used + 1);
	world_send(r, 0, NULL, frame, 60);
	vio_loop_tick(&r->g->wire, 9999);
	vio_loop_pump(&r->g->wire, 16);
	assert_int_equal(r->g->wire.used, used + 1);
	vio_loop_tick(&r->g->wire, 2);
	vio_loop_pump(&r->g->wire, 16);
	assert_int_equal(r->g->wire.used, used + 2);
	for (unsigned i = 0; i < 10; i++)
		world_send(r, 0, NULL, frame, 60);
	used = r->g->dev->queue[0].ring.stats.signals;
	assert_int_equal(coal(r, VIO_NET_CTRL_NOTF_COAL_RX_SET, 8, 10), VIO_NET_OK);
	assert_int_equal(r->g->dev->queue[0].ring.stats.signals, used + 1);
	vio_drvq_quiet(&r->g->q[RX]);		/* suppressed: conditions or not */
	for (unsigned i = 0; i < 9; i++)
		world_send(r, 0, NULL, frame, 60);
	assert_int_equal(r->g->dev->queue[0].ring.stats.signals, used + 1);
	net_close(r);
}

/* ---- Statistics ---- */

struct asked { uint16_t queue; uint64_t types; };

static int stats(struct net_rig *r, const struct asked *a, unsigned count, void *result, size_t room, uint32_t *got)
{
	struct vio_net_stats_ask wire[8] = { 0 };

	for (unsigned i = 0; i < count; i++)
		wire[i] = (struct vio_net_stats_ask){ .vq_index = vio_le16_of(a[i].queue), .types_bitmap = vio_le64_of(a[i].types) };
	return ask(r, VIO_NET_CTRL_STATS, VIO_NET_CTRL_STATS_GET, wire, count * sizeof *wire, result, room, got);
}

#define BIT(n) (UINT64_C(1) << (n))
#define OFFLOADS VIO_NET_F_CSUM, VIO_NET_F_GUEST_CSUM, VIO_NET_F_HOST_TSO4, VIO_NET_F_GUEST_TSO4

static void counted(void **state)
{
	(void)state;
	struct net_rig *r = net_up(0, BITS(BASIC, OFFLOADS, VIO_NET_F_DEVICE_STATS));
	struct vio_net_hdr h = wish_header(&tcp4, VIO_NET_HDR_GSO_TCPV4, 1000);
	static unsigned char large[4096];
	struct { struct vio_net_stats_head head; vio_le64 v[6]; } reply[4];
	vio_le64 all;
	uint32_t got;

	assert_int_equal(ask(r, VIO_NET_CTRL_STATS, VIO_NET_CTRL_STATS_QUERY, NULL, 0, &all, 8, &got), VIO_NET_OK);
	assert_int_equal(got, 8);
	assert_int_equal(vio_le64_get(all), 0x1000f000f);
	make_frame(frame, 60, guest_mac, world_mac, 1);
	rx_give(r, 0, 4, 128);
	for (unsigned i = 0; i < 3; i++) {
		world_send(r, 0, &(struct vio_frame){ .flags = i ? VIO_FRAME_CSUM_VALID : 0 }, frame, 60);
		assert_true(tx(r, 0, frame, 60));
	}
	assert_true(tx_raw(r, 0, &h, large, make_ip(large, &tcp4, 3000, true)));
	assert_true(tx(r, 0, frame, 5));
	const struct asked a[] = { { 0, BIT(VIO_NET_STATS_RX_BASIC) | BIT(VIO_NET_STATS_RX_CSUM) }, { 1, BIT(VIO_NET_STATS_TX_GSO) } };
	memset(reply, 0, sizeof reply);
	assert_int_equal(stats(r, a, 2, reply, sizeof reply, &got), VIO_NET_OK);
	assert_int_equal(got, 56 + 40 + 56);
	const unsigned char *p = (const void *)reply;
	const struct vio_net_stats_head *head = (const void *)p;
	assert_int_equal(head->type, VIO_NET_STATS_RX_BASIC);
	assert_int_equal(vio_le16_get(head->size), 56);
	assert_int_equal(vio_le64_get(reply[0].v[1]), 3);		/* packets */
	assert_int_equal(vio_le64_get(reply[0].v[2]), 180);		/* bytes */
	head = (const void *)(p + 56);
	assert_int_equal(head->type, VIO_NET_STATS_RX_CSUM);
	assert_int_equal(p[56 + 8], 2);					/* valid */
	assert_int_equal(p[56 + 24], 1);				/* none */
	head = (const void *)(p + 96);
	assert_int_equal(head->type, VIO_NET_STATS_TX_GSO);
	assert_int_equal(vio_le16_get(head->vq_index), 1);
	assert_int_equal(p[96 + 8], 1);					/* one large frame */
	assert_int_equal(p[96 + 24], 3);				/* three pieces */
	const struct asked tx_basic = { 1, BIT(VIO_NET_STATS_TX_BASIC) }, cvq = { 2, BIT(VIO_NET_STATS_CVQ) };
	assert_int_equal(stats(r, &tx_basic, 1, reply, sizeof reply, &got), VIO_NET_OK);
	assert_int_equal(vio_le64_get(reply[0].v[1]), 4);
	assert_int_equal(vio_le64_get(reply[0].v[4]), 1);
	assert_int_equal(vio_le64_get(reply[0].v[5]), 1);		/* malformed */
	tell8(r, VIO_NET_CTRL_RX, 99, 0);
	assert_int_equal(stats(r, &cvq, 1, reply, sizeof reply, &got), VIO_NET_OK);
	assert_int_equal(got, 24);
	assert_int_equal(vio_le64_get(reply[0].v[0]), 5);
	assert_int_equal(vio_le64_get(reply[0].v[1]), 4);
	net_close(r);
}

/* One mistake, and all of the command fails. */
static void stats_refused(void **state)
{
	(void)state;
	struct net_rig *r = net_up(0, BITS(BASIC, VIO_NET_F_DEVICE_STATS));
	static const struct asked bad[] = {
		{ 3, BIT(VIO_NET_STATS_RX_BASIC) }, { 0xffff, BIT(VIO_NET_STATS_RX_BASIC) }, { 0, BIT(VIO_NET_STATS_TX_BASIC) },
		{ 1, BIT(VIO_NET_STATS_RX_BASIC) }, { 2, BIT(VIO_NET_STATS_RX_BASIC) }, { 0, BIT(VIO_NET_STATS_CVQ) }, { 0, BIT(5) },
		{ 0, BIT(63) }, { 0, BIT(VIO_NET_STATS_RX_CSUM) }, { 1, BIT(VIO_NET_STATS_TX_CSUM) }, { 0, BIT(VIO_NET_STATS_RX_GSO) },
		{ 1, BIT(VIO_NET_STATS_TX_GSO) },
	};
	unsigned char reply[256];
	uint32_t got;

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		const struct asked a[] = { { 0, BIT(VIO_NET_STATS_RX_BASIC) }, bad[i] };
		rig_rewind(r->g);
		assert_int_equal(stats(r, a, 2, reply, sizeof reply, &got), VIO_NET_ERR);
		assert_int_equal(got, 0);
		assert_int_equal(stats(r, a, 1, reply, sizeof reply, &got), VIO_NET_OK);
		assert_int_equal(got, 56);
		assert_int_equal(stats(r, a, 1, reply, 55, &got), VIO_NET_ERR);		/* no room for it */
	}
	net_close(r);
}

/* ---- State ---- */

#define STATE BASIC, RX_MODES, COAL, VIO_NET_F_MQ, VIO_NET_F_GUEST_ANNOUNCE, VIO_NET_F_GUEST_CSUM, VIO_NET_F_GUEST_TSO4, \
    VIO_NET_F_CTRL_GUEST_OFFLOADS, VIO_NET_F_RSS, VIO_NET_F_RSS_CONTEXT, VIO_NET_F_HASH_REPORT, VIO_NET_F_HASH_TUNNEL

static void configure(struct net_rig *r)
{
	static const uint8_t own[6] = { 2, 5, 5, 5, 5, 5 };
	vio_le64 offloads = vio_le64_of(BIT(VIO_NET_F_GUEST_CSUM));
	vio_le32 tunnels = vio_le32_of(VIO_NET_TUNNEL_VXLAN);
	unsigned char rss[8 + 2 * 4 + 3 + 40] = { VIO_NET_HASH_IPV4, 0, 0, 0, 3, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 40, 9, 9, 9 };
	unsigned char context[8 + sizeof rss] = { 1 };

	memcpy(context + 8, rss, sizeof rss);
	assert_int_equal(tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_ALLUNI, 1), VIO_NET_OK);
	assert_int_equal(table_set(r, 3, VIO_NET_DEV_MACS + 1), VIO_NET_OK);
	assert_int_equal(tell(r, VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_ADDR_SET, own, 6), VIO_NET_OK);
	for (unsigned id = 1; id < 4096; id += 5)
		assert_int_equal(tell16(r, VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_ADD, (uint16_t)id), VIO_NET_OK), rig_rewind(r->g);
	assert_int_equal(tell(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, rss, sizeof rss), VIO_NET_OK);
	assert_int_equal(tell(r, VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_ADD, context, sizeof context), VIO_NET_OK);
	assert_int_equal(tell(r, VIO_NET_CTRL_GUEST_OFFLOADS, VIO_NET_CTRL_GUEST_OFFLOADS_SET, &offloads, 8), VIO_NET_OK);
	assert_int_equal(tell(r, VIO_NET_CTRL_HASH_TUNNEL, VIO_NET_CTRL_HASH_TUNNEL_SET, &tunnels, 4), VIO_NET_OK);
	assert_int_equal(coal(r, VIO_NET_CTRL_NOTF_COAL_RX_SET, 10, 100), VIO_NET_OK);
	assert_int_equal(coal_vq(r, 1, 20, 200), VIO_NET_OK);
	assert_true(vio_net_dev_announce(r->g->dev));
}

static size_t save(struct net_rig *r, void *to, size_t room)
{
	assert_true(vio_drv_suspend(&r->g->drv));
	return vio_dev_save(r->g->dev, to, room);
}

enum { STATE_BYTES = 64 << 10 };

/* All that was configured is in it, and comes back from it. */
static void moves(void **state)
{
	(void)state;
	static unsigned char first[STATE_BYTES], second[STATE_BYTES];
	struct net_rig *r[2];
	size_t n = 0;

	for (unsigned i = 0; i < 2; i++) {
		r[i] = net_new(VIO_LINK_ALL);
		r[i]->o.pairs = 2;
		net_open(r[i]);
	}
	net_start(r[0], BITS(STATE));
	configure(r[0]);
	n = save(r[0], first, sizeof first);
	assert_true(n < sizeof first);
	assert_null(vio_dev_load(r[1]->g->dev, first, n));
	assert_int_equal(vio_dev_save(r[1]->g->dev, second, sizeof second), n);
	assert_memory_equal(first, second, n);
	assert_int_equal(vio_le16_get(config(r[1]).status), VIO_NET_S_LINK_UP | VIO_NET_S_ANNOUNCE);
	assert_int_equal(config(r[1]).mac[1], 5);
	/* Cut short anywhere it is refused, and the device is as it was. */
	for (size_t cut = 0; cut < n; cut += cut < 600 ? 1 : 97) {
		const char *why = vio_dev_load(r[1]->g->dev, first, cut);
		assert_non_null(why);
	}
	assert_int_equal(vio_dev_save(r[1]->g->dev, second, sizeof second), n);
	assert_memory_equal(first, second, n);
	net_close(r[0]);
	net_close(r[1]);
}

/* A setting that this device does not know, or that is none. */
static void state_refused(void **state)
{
	(void)state;
	static unsigned char bytes[STATE_BYTES];
	struct net_rig *r = net_new(VIO_LINK_ALL);
	r->o.pairs = 2;
	net_open(r);
	net_start(r, BITS(STATE));
	configure(r);
	size_t n = save(r, bytes, sizeof bytes), at;
	static const struct { uint8_t class_, command; size_t where; uint8_t value; } rows[] = {
		{ VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, 4, 200 }, { VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, 6, 2 },
		{ VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_ADD, 1, 0xff }, { VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_ALLUNI, 0, 2 },
		{ VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_TABLE_SET, 3, 0xff },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (at = 0; at + 16 < n; at += 16 + (bytes[at + 12] | (size_t)bytes[at + 13] << 8))
			if (bytes[at] == 0 && bytes[at + 1] == 2 && bytes[at + 4] == rows[i].class_ && bytes[at + 5] == rows[i].command)
				break;
		assert_true(at + 16 < n);
		uint8_t was = bytes[at + 16 + rows[i].where];
		bytes[at + 16 + rows[i].where] = rows[i].value;
		assert_non_null(vio_dev_load(r->g->dev, bytes, n));
		bytes[at + 16 + rows[i].where] = was;
		bytes[at + 5] = 77;		/* a command of nobody's */
		assert_non_null(vio_dev_load(r->g->dev, bytes, n));
		bytes[at + 2] = 1;		/* but an optional one is passed over */
		assert_null(vio_dev_load(r->g->dev, bytes, n));
		bytes[at + 2] = 0;
		bytes[at + 5] = rows[i].command;
	}
	assert_null(vio_dev_load(r->g->dev, bytes, n));
	net_close(r);
}

static const struct CMUnitTest tests[] = {
	T(mac_table, "the table of addresses: set, replaced, too long, gone after a reset {net-dev-87 net-dev-88 net-dev-90; only us}"),
	T(mac_addr, "the driver's own address, in the config space too {net-dev-89; only us}"),
	T(vlans, "VLANs by id, all of them without the feature {net-dev-91 net-dev-92 net-dev-93; only us}"),
	T(announces, "the driver is asked to announce itself, and says that it has {net-dev-94; only us}"),
	T(last_counts, "coalescing: the last command counts, a queue started anew begins with its kind's "
	    "{net-dev-103 net-dev-105 net-dev-106 net-dev-107 net-dev-108 net-dev-111; only us}"),
	T(holds_back, "signals wait for frames or time, and not where they are suppressed {net-dev-110; only us}"),
	T(counted, "statistics of every type {net-dev-112 net-dev-115 net-dev-116 net-dev-117; only us}"),
	T(stats_refused, "one mistake in a statistics command fails all of it {net-dev-113 net-dev-114; only us}"),
	T(moves, "what was configured is saved and loaded; a state cut short changes nothing"),
	T(state_refused, "a setting that is none is refused, an optional one that nobody knows is passed over"),
};
int main(void) { return vio_tests("net_ctrl", tests, sizeof tests / sizeof *tests); }
