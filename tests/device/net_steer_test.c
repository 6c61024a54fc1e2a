/*
 * Which queue a frame goes to, and the hash that says so: Microsoft's verification suite for receive-side scaling, reports, tables,
 * tunnels, flows; and pairs that live in different threads.
 */
#include "net_frames.h"

#define BASIC VIO_F_VERSION_1, VIO_NET_F_MRG_RXBUF, VIO_NET_F_CTRL_VQ, VIO_F_RING_RESET
#define MANY BASIC, VIO_NET_F_MQ, VIO_NET_F_RSS, VIO_NET_F_HASH_REPORT, VIO_NET_F_HASH_TUNNEL, VIO_NET_F_RSS_CONTEXT

static const uint8_t key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
};

static unsigned char frame[2048];

static struct net_rig *open_many(void)
{
	struct net_rig *r = net_new(VIO_LINK_ALL);

	r->o.pairs = NET_PAIRS;
	net_open(r);
	return r;
}

/* ---- Commands ---- */

struct rss { uint32_t types; unsigned mask, unclassified, max_tx; const uint16_t *table; unsigned key_bytes; };

static size_t rss_bytes(unsigned char *p, const struct rss *s)
{
	struct vio_net_rss_head h = { vio_le32_of(s->types), vio_le16_of((uint16_t)s->mask), vio_le16_of((uint16_t)s->unclassified) };
	size_t at = sizeof h;

	memcpy(p, &h, sizeof h);
	for (unsigned i = 0; i <= s->mask; i++, at += 2)
		memcpy(p + at, &(vio_le16){ vio_le16_of(s->table ? s->table[i] : 0).wire }, 2);
	memcpy(p + at, &(vio_le16){ vio_le16_of((uint16_t)s->max_tx).wire }, 2);
	p[at + 2] = (unsigned char)s->key_bytes;
	memcpy(p + at + 3, key, s->key_bytes < 40 ? s->key_bytes : 40);
	return at + 3 + s->key_bytes;
}

static int rss_config(struct net_rig *r, const struct rss *s)
{
	static unsigned char bytes[4096];
	return tell(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, bytes, rss_bytes(bytes, s));
}

static int hash_config(struct net_rig *r, uint32_t types)
{
	unsigned char p[13 + 40] = { 0 };

	memcpy(p, &(vio_le32){ vio_le32_of(types).wire }, 4);
	p[12] = 40;
	memcpy(p + 13, key, 40);
	return tell(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_HASH_CONFIG, p, sizeof p);
}

static int tunnels_set(struct net_rig *r, uint32_t types)
{
	vio_le32 wire = vio_le32_of(types);
	return tell(r, VIO_NET_CTRL_HASH_TUNNEL, VIO_NET_CTRL_HASH_TUNNEL_SET, &wire, sizeof wire);
}

/* The frame's hash as the driver of pair 0 is told it; its type in *report. */
static uint32_t reported(struct net_rig *r, size_t n, unsigned *report)
{
	uint32_t used;

	rig_rewind(r->g);
	rx_give(r, 0, 1, RX_BYTES);
	world_send(r, 0, NULL, frame, n);
	const struct vio_net_hdr *h = (const void *)rx_get(r, 0, &used);
	assert_non_null(h);
	assert_int_equal(used, VIO_NET_HDR_HASH + n);
	*report = vio_le16_get(h->hash_report);
	return vio_le32_get(h->hash_value);
}

/* ---- Hashes ---- */

static const struct vector { struct flow flow; uint32_t addresses, ports; } vectors[] = {
	{ { false, 0, { 66, 9, 149, 187 }, { 161, 142, 100, 80 }, 2794, 1766 }, 0x323e8fc2, 0x51ccc178 },
	{ { false, 0, { 199, 92, 111, 2 }, { 65, 69, 140, 83 }, 14230, 4739 }, 0xd718262a, 0xc626b0ea },
	{ { false, 0, { 24, 19, 198, 95 }, { 12, 22, 207, 184 }, 12898, 38024 }, 0xd2d0a5de, 0x5c2b394a },
	{ { false, 0, { 38, 27, 205, 30 }, { 209, 142, 163, 6 }, 48228, 2217 }, 0x82989176, 0xafc7327f },
	{ { false, 0, { 153, 39, 163, 191 }, { 202, 188, 127, 2 }, 44251, 1303 }, 0x5d1809c5, 0x10e828a2 },
	{ { true, 0, { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, [15] = 7 }, { 0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, [15] = 1 },
	    2794, 1766 }, 0x2cc18cd5, 0x40207d3d },
	{ { true, 0, { 0x3f, 0xfe, 0x05, 0x01, 0x00, 0x08, 0, 0, 0x02, 0x60, 0x97, 0xff, 0xfe, 0x40, 0xef, 0xab }, { 0xff, 0x02, [15] = 1 },
	    14230, 4739 }, 0x0f0c461c, 0xdde51bbf },
	{ { true, 0, { 0x3f, 0xfe, 0x19, 0x00, 0x45, 0x45, 0x00, 0x03, 0x02, 0x00, 0xf8, 0xff, 0xfe, 0x21, 0x67, 0xcf },
	    { 0xfe, 0x80, [8] = 0x02, 0x00, 0xf8, 0xff, 0xfe, 0x21, 0x67, 0xcf }, 44251, 38024 }, 0x4b61e985, 0x02d1feef },
};

static struct net_rig *hashing(uint32_t types)
{
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, VIO_NET_F_HASH_REPORT, VIO_NET_F_HASH_TUNNEL));

	assert_int_equal(hash_config(r, types), VIO_NET_OK);
	return r;
}

static void toeplitz(void **state)
{
	(void)state;
	struct net_rig *r = hashing(VIO_NET_HASH_ALL);
	for (unsigned i = 0; i < sizeof vectors / sizeof *vectors; i++) {
		for (unsigned udp = 0; udp < 3; udp++) {
			struct flow f = vectors[i].flow;
			static const uint8_t protocols[] = { P_TCP, P_UDP, 1 }, reports[] = { 2, 3, 1 };
			unsigned report;
			f.protocol = protocols[udp];
			size_t n = make_ip(frame, &f, 30, false);
			uint32_t hash = reported(r, n, &report);
			assert_int_equal(hash, udp == 2 ? vectors[i].addresses : vectors[i].ports);
			assert_int_equal(report, reports[udp] + (f.v6 ? 3 : 0));
		}
	}
	net_close(r);
}

/* Only the types asked for; fragments have no ports; what is no IP has no hash. */
static void types(void **state)
{
	(void)state;
	struct net_rig *r = hashing(VIO_NET_HASH_IPV4 | VIO_NET_HASH_UDPV4 | VIO_NET_HASH_TCPV6);
	struct flow f = vectors[0].flow;
	unsigned report;

	f.protocol = P_TCP;
	size_t n = make_ip(frame, &f, 30, false);
	assert_int_equal(reported(r, n, &report), vectors[0].addresses);
	assert_int_equal(report, 1);
	f.protocol = P_UDP;
	n = make_ip(frame, &f, 30, false);
	assert_int_equal(reported(r, n, &report), vectors[0].ports);
	assert_int_equal(report, 3);
	put16(frame + 14 + 6, 0x2000);		/* more fragments */
	assert_int_equal(reported(r, n, &report), vectors[0].addresses);
	f = vectors[5].flow;
	f.protocol = P_UDP;
	n = make_ip(frame, &f, 30, false);
	assert_int_equal(reported(r, n, &report), 0);
	assert_int_equal(report, 0);
	make_frame(frame, 60, guest_mac, world_mac, 1);
	reported(r, 60, &report);
	assert_int_equal(report, 0);
	for (size_t cut = 14; cut < 34; cut++) {	/* too short for what it says it is */
		f = vectors[0].flow;
		make_ip(frame, &f, 0, false);
		reported(r, cut, &report);
		assert_int_equal(report, 0);
	}
	net_close(r);
}

/* An IPv6 frame with a home address option and a routing header of type 2 before TCP. */
static size_t make_extended(const struct flow *f)
{
	static const uint8_t home[16] = { 0x20, 1, [15] = 0x11 }, final[16] = { 0x20, 1, [15] = 0x22 };
	unsigned char tail[64], *p = frame + 54;
	size_t n = make_ip(frame, f, 10, false);

	memcpy(tail, p, n - 54);
	frame[14 + 6] = 60;
	memset(p, 0, 48);
	p[0] = 43;
	p[1] = 2;
	p[2] = 1;		/* PadN of four bytes: the option is 8n + 6 aligned */
	p[3] = 2;
	p[6] = 201;
	p[7] = 16;
	memcpy(p + 8, home, 16);
	p[24] = P_TCP;
	p[25] = 2;
	p[26] = 2;
	p[27] = 1;
	memcpy(p + 32, final, 16);
	memcpy(p + 48, tail, n - 54);
	put16(frame + 14 + 4, (unsigned)(n - 54 + 48));
	return n + 48;
}

static void extensions(void **state)
{
	(void)state;
	struct net_rig *r = hashing(VIO_NET_HASH_ALL);
	struct flow f = vectors[5].flow, same = { true, P_TCP, { 0x20, 1, [15] = 0x11 }, { 0x20, 1, [15] = 0x22 }, f.sport, f.dport };
	unsigned report;

	f.protocol = P_TCP;
	uint32_t with = reported(r, make_extended(&f), &report);
	assert_int_equal(report, 8);
	assert_int_equal(reported(r, make_ip(frame, &same, 10, false), &report), with);
	assert_int_equal(report, 5);
	assert_int_equal(hash_config(r, VIO_NET_HASH_TCPV6), VIO_NET_OK);
	assert_int_equal(reported(r, make_extended(&f), &report), vectors[5].ports);	/* they are skipped */
	assert_int_equal(report, 5);
	assert_int_equal(hash_config(r, VIO_NET_HASH_IP_EX), VIO_NET_OK);
	reported(r, make_extended(&f), &report);
	assert_int_equal(report, 7);
	net_close(r);
}

/* ---- Tunnels ---- */

/* Put an outer header and head bytes of tunnel header around the n bytes of an inner frame, from its IP header (or all) on. */
static size_t wrap(const struct flow *outer, const unsigned char *inner, size_t n, const unsigned char *head, size_t head_bytes)
{
	bool udp = outer->protocol == P_UDP;
	size_t at = 14 + ip_bytes(outer) + (udp ? 8u : 0);

	make_ip(frame, outer, 0, false);
	memcpy(frame + at, head, head_bytes);
	memcpy(frame + at + head_bytes, inner, n);
	return at + head_bytes + n;
}

static void inner_hash(void **state)
{
	(void)state;
	static const struct tunnel { uint32_t type; struct flow outer; bool ethernet; uint8_t head_bytes, head[16]; } all[] = {
		{ VIO_NET_TUNNEL_GRE_2784, { false, 47, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, 0, 0 }, false, 4, { 0, 0, 8, 0 } },
		{ VIO_NET_TUNNEL_GRE_2890, { false, 47, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, 0, 0 }, false, 8, { 0x20, 0, 8, 0, 1, 2, 3, 4 } },
		{ VIO_NET_TUNNEL_GRE_7676, { true, 47, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, 0, 0 }, false, 4, { 0, 0, 8, 0 } },
		{ VIO_NET_TUNNEL_GRE_UDP, { false, P_UDP, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, 99, 4754 }, false, 4, { 0, 0, 8, 0 } },
		{ VIO_NET_TUNNEL_VXLAN, { false, P_UDP, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, 99, 4789 }, true, 8, { 8 } },
		{ VIO_NET_TUNNEL_VXLAN_GPE, { false, P_UDP, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, 99, 4790 }, false, 8, { 0xc, 0, 0, 1 } },
		{ VIO_NET_TUNNEL_GENEVE, { false, P_UDP, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, 99, 6081 }, true, 12, { 1, 0, 0x65, 0x58 } },
		{ VIO_NET_TUNNEL_IPIP, { false, 4, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, 0, 0 }, false, 0, { 0 } },
		{ VIO_NET_TUNNEL_NVGRE, { false, 47, { 1, 1, 1, 1 }, { 2, 2, 2, 2 }, 0, 0 }, true, 8, { 0x20, 0, 0x65, 0x58 } },
	};
	struct net_rig *r = hashing(VIO_NET_HASH_ALL);
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		const struct tunnel *t = &all[i];
		unsigned char inner[256];
		struct flow f = vectors[1].flow;
		unsigned report;
		f.protocol = P_TCP;
		size_t n = make_ip(inner, &f, 20, false), skip = t->ethernet ? 0 : 14;
		n = wrap(&t->outer, inner + skip, n - skip, t->head, t->head_bytes);
		assert_int_equal(tunnels_set(r, t->type), VIO_NET_OK);
		assert_int_equal(reported(r, n, &report), vectors[1].ports);
		assert_int_equal(report, 2);
		assert_int_equal(tunnels_set(r, VIO_NET_TUNNEL_ALL & ~t->type), VIO_NET_OK);
		assert_int_not_equal(reported(r, n, &report), vectors[1].ports);	/* the outer one's */
		assert_int_not_equal(report, 0);
		assert_int_equal(tunnels_set(r, 0), VIO_NET_OK);
		assert_int_not_equal(reported(r, n, &report), vectors[1].ports);
	}
	assert_int_equal(tunnels_set(r, 1u << 9), VIO_NET_ERR);
	net_close(r);
}

/* ---- RSS ---- */

/* The only pair whose driver got something; NET_PAIRS: none. */
static unsigned where(struct net_rig *r, unsigned lane, size_t n)
{
	unsigned found = NET_PAIRS;
	uint32_t used;

	world_send(r, lane, NULL, frame, n);
	for (unsigned i = 0; i < NET_PAIRS; i++) {
		if (!rx_get(r, i, &used))
			continue;
		assert_int_equal(found, NET_PAIRS);
		found = i;
	}
	return found;
}

static void table(void **state)
{
	(void)state;
	struct net_rig *r = open_many();
	uint16_t entries[128];
	struct rss s = { VIO_NET_HASH_TCPV4, 127, 3, NET_PAIRS, entries, 40 };

	net_start(r, BITS(MANY));
	for (unsigned i = 0; i < 128; i++)
		entries[i] = (uint16_t)(i % 3);
	for (unsigned i = 0; i < NET_PAIRS; i++)
		rx_give(r, i, 20, 256);
	assert_int_equal(rss_config(r, &s), VIO_NET_OK);
	for (unsigned i = 0; i < 5; i++) {
		struct flow f = vectors[i].flow;
		f.protocol = P_TCP;
		size_t n = make_ip(frame, &f, 10, false);
		for (unsigned lane = 0; lane < 2; lane++)
			assert_int_equal(where(r, lane, n), (vectors[i].ports & 127) % 3);
		f.protocol = P_UDP;
		assert_int_equal(where(r, 0, make_ip(frame, &f, 10, false)), 3);	/* unclassified */
	}
	s.mask = 0;		/* a table of one entry */
	entries[0] = 2;
	assert_int_equal(rss_config(r, &s), VIO_NET_OK);
	struct flow f = vectors[0].flow;
	f.protocol = P_TCP;
	size_t n = make_ip(frame, &f, 10, false);
	assert_int_equal(where(r, 0, n), 2);
	vio_drv_queue_reset(&r->g->drv, 4);		/* a queue that is reset loses its frames */
	assert_int_equal(where(r, 0, n), NET_PAIRS);
	assert_int_equal(tell16(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2), VIO_NET_OK);	/* the last command counts */
	assert_int_equal(where(r, 1, n), 1);
	net_close(r);
}

/* ---- Flows ---- */

static void flows(void **state)
{
	(void)state;
	struct net_rig *r = open_many();
	struct flow out = { false, P_TCP, { 10, 0, 0, 2 }, { 10, 0, 0, 1 }, 80, 1000 };
	unsigned char sent[200];

	net_start(r, BITS(BASIC, VIO_NET_F_MQ));
	assert_int_equal(tell16(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, NET_PAIRS), VIO_NET_OK);
	for (unsigned i = 0; i < NET_PAIRS; i++)
		rx_give(r, i, 8, 256);
	size_t n = make_ip(frame, &tcp4, 40, false), m = make_ip(sent, &out, 40, false);
	assert_int_equal(where(r, 1, n), 1);		/* nothing was sent yet: as it comes */
	for (unsigned i = 0; i < NET_PAIRS; i++) {
		assert_true(tx(r, i, sent, m));
		assert_int_equal(where(r, 1, n), i);
	}
	vio_drv_queue_reset(&r->g->drv, 2 * 3);
	unsigned at = where(r, 1, n);
	assert_true(at != 3 && at < NET_PAIRS);		/* another one takes them */
	for (unsigned i = 0; i < NET_PAIRS; i++)
		vio_drv_queue_reset(&r->g->drv, (uint16_t)(2 * i));
	uint64_t dropped = vio_net_dev_counts(r->g->dev, 1).rx_dropped;
	assert_int_equal(where(r, 1, n), NET_PAIRS);
	assert_int_equal(vio_net_dev_counts(r->g->dev, 1).rx_dropped, dropped + 1);
	net_close(r);
}

/* ---- Pairs in threads of their own ---- */

static bool apart(void *arg, unsigned a, unsigned b)
{
	(void)arg;
	return a / 2 == b / 2 || (a / 2 % 4 == 0 && b / 2 % 4 == 0);	/* the control queue is with pair 0 */
}

static struct vio_port_ops apart_port;

/* The loop wire, on which nothing of one pair may touch another: messages are run when it is pumped. */
static void separate(struct net_rig *r)
{
	apart_port = vio_loop_port;
	apart_port.together = apart;
	vio_dev_attach(r->g->dev, &apart_port, &r->g->wire, vio_loop_features());
}

static void threads_apart(void **state)
{
	(void)state;
	struct net_rig *r = open_many();
	uint16_t entries[128];
	struct rss s = { VIO_NET_HASH_TCPV4, 127, 3, NET_PAIRS, entries, 40 };

	separate(r);
	net_start(r, BITS(MANY));
	for (unsigned i = 0; i < 128; i++)
		entries[i] = (uint16_t)(i % 3);
	for (unsigned i = 0; i < NET_PAIRS; i++)
		rx_give(r, i, 20, 256);
	assert_int_equal(rss_config(r, &s), VIO_NET_OK);
	for (unsigned i = 0; i < 5; i++) {
		struct flow f = vectors[i].flow;
		f.protocol = P_TCP;
		size_t n = make_ip(frame, &f, 10, false);
		for (unsigned lane = 0; lane < NET_PAIRS; lane++)
			assert_int_equal(where(r, lane, n), (vectors[i].ports & 127) % 3);
	}
	net_close(r);
}

/* A command is answered when the last pair has taken what it changes, and a stop waits for frames that are under way. */
static void answers_wait(void **state)
{
	(void)state;
	struct net_rig *r = open_many();
	unsigned char *out, *in;
	struct rss s = { VIO_NET_HASH_TCPV4, 0, 0, NET_PAIRS, (const uint16_t[]){ 2 }, 40 };
	uint32_t used;

	r->g->stays = true;
	separate(r);
	net_start(r, BITS(MANY));
	r->g->wire.lazy = true;
	out = rig_take(r->g, 4);
	in = rig_take(r->g, 1);
	memcpy(out, (unsigned char[]){ VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, NET_PAIRS, 0 }, 4);
	assert_true(rig_add(r->g, r->control, out, 4, 0, in, 1, 0));
	rig_kick(r->g, r->control);
	vio_loop_pump(&r->g->wire, 2);
	assert_null(rig_get(r->g, r->control, &used));
	vio_loop_pump(&r->g->wire, 100);
	assert_non_null(rig_get(r->g, r->control, &used));
	assert_int_equal(rss_config(r, &s), VIO_NET_OK);
	rx_give(r, 2, 1, 256);
	struct vio_seg seg = { frame, make_ip(frame, &tcp4, 10, false) };
	r->lane[0]->ops->send(r->lane[0], &(struct vio_frame){ 0 }, (struct vio_cur){ .seg = &seg, .left = seg.len });
	vio_dev_queue_turn(r->g->dev, 0);
	vio_dev_set_status(r->g->dev, 0);
	assert_int_not_equal(vio_dev_status(r->g->dev), 0);	/* the frame is on its way to pair 2 */
	vio_loop_pump(&r->g->wire, 100);
	assert_int_equal(vio_dev_status(r->g->dev), 0);
	net_close(r);
}

/* ---- RSS contexts ---- */

static int context(struct net_rig *r, unsigned command, unsigned id, const struct rss *s)
{
	static unsigned char bytes[4096];
	struct vio_net_rss_ctx_head h = { .rss_ctx_id = vio_le16_of((uint16_t)id), .reserved = { 1, 2, 3 } };

	memcpy(bytes, &h, sizeof h);
	return tell(r, VIO_NET_CTRL_RSS_CTX, command, bytes, s ? sizeof h + rss_bytes(bytes + sizeof h, s) : 2);
}

static void contexts(void **state)
{
	(void)state;
	struct net_rig *r = open_many();
	struct rss s = { VIO_NET_HASH_TCPV4, 127, 0, NET_PAIRS, NULL, 40 };
	vio_le16 most;
	uint32_t got;

	net_start(r, BITS(MANY));
	assert_int_equal(ask(r, VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_CAP_GET, NULL, 0, &most, 2, &got), VIO_NET_OK);
	assert_int_equal(got, 2);
	assert_int_equal(vio_le16_get(most), VIO_NET_DEV_CONTEXTS);
	assert_int_equal(context(r, VIO_NET_CTRL_RSS_CTX_MOD, 1, &s), VIO_NET_ERR);
	assert_int_equal(context(r, VIO_NET_CTRL_RSS_CTX_ADD, 1, &s), VIO_NET_OK);
	assert_int_equal(context(r, VIO_NET_CTRL_RSS_CTX_ADD, 1, &s), VIO_NET_ERR);
	assert_int_equal(context(r, VIO_NET_CTRL_RSS_CTX_MOD, 1, &s), VIO_NET_OK);
	assert_int_equal(context(r, VIO_NET_CTRL_RSS_CTX_ADD, 0, &s), VIO_NET_ERR);
	assert_int_equal(context(r, VIO_NET_CTRL_RSS_CTX_ADD, VIO_NET_DEV_CONTEXTS + 1, &s), VIO_NET_ERR);
	assert_int_equal(tell16(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2), VIO_NET_ERR);
	assert_int_equal(context(r, VIO_NET_CTRL_RSS_CTX_DEL, 1, NULL), VIO_NET_OK);
	assert_int_equal(context(r, VIO_NET_CTRL_RSS_CTX_DEL, 1, NULL), VIO_NET_ERR);
	assert_int_equal(tell16(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2), VIO_NET_OK);
	assert_int_equal(context(r, VIO_NET_CTRL_RSS_CTX_ADD, 2, &s), VIO_NET_OK);
	net_restart(r, BITS(MANY));
	assert_int_equal(context(r, VIO_NET_CTRL_RSS_CTX_DEL, 2, NULL), VIO_NET_ERR);	/* a reset takes them away */
	net_close(r);
}

static const struct CMUnitTest tests[] = {
	T(toeplitz, "Microsoft's verification suite for RSS: addresses and ports, IPv4 and IPv6"),
	T(types, "only what was asked for is hashed; fragments, other protocols, short frames"),
	T(extensions, "IPv6 extension headers: home address, routing header of type 2, or skipped"),
	T(inner_hash, "the inner header's hash where that tunnel is enabled, else the outer one's "
	    "{net-dev-71 net-dev-72 net-dev-73; only us}"),
	T(table, "RSS: hash, mask, table; unclassified; a queue that is being reset loses its frames "
	    "{net-dev-8 net-dev-99 net-dev-99a net-dev-99b net-dev-99c net-dev-100; only us}"),
	T(flows, "a flow comes back by the pair it was sent by; queues that are reset hand over, or all lose {net-dev-97 net-dev-98; only us}"),
	T(threads_apart, "frames reach pairs of other threads"),
	T(answers_wait, "a command is answered when all pairs follow it; a stop waits for frames under way"),
	T(contexts, "RSS contexts: added, changed, deleted, gone after a reset {net-dev-101 net-dev-102; only us}"),
};
int main(void) { return vio_tests("net_steer", tests, sizeof tests / sizeof *tests); }
