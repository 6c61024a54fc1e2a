/* What a hostile driver can give the network device: each row gets its verdict, and everybody else is served on. */
#include <pthread.h>
#include "net_frames.h"

#define HOST VIO_NET_F_CSUM, VIO_NET_F_HOST_TSO4, VIO_NET_F_HOST_TSO6, VIO_NET_F_HOST_ECN, VIO_NET_F_HOST_UFO, VIO_NET_F_HOST_USO
#define CONTROL VIO_NET_F_CTRL_VQ, VIO_NET_F_CTRL_RX, VIO_NET_F_CTRL_RX_EXTRA, VIO_NET_F_CTRL_VLAN, VIO_NET_F_CTRL_MAC_ADDR, \
    VIO_NET_F_GUEST_ANNOUNCE, VIO_NET_F_STATUS, VIO_NET_F_CTRL_GUEST_OFFLOADS, VIO_NET_F_NOTF_COAL, VIO_NET_F_VQ_NOTF_COAL, \
    VIO_NET_F_DEVICE_STATS, VIO_NET_F_MQ, VIO_NET_F_RSS, VIO_NET_F_HASH_REPORT, VIO_NET_F_HASH_TUNNEL, VIO_NET_F_RSS_CONTEXT
#define BASIC VIO_F_VERSION_1, VIO_NET_F_MRG_RXBUF, VIO_F_INDIRECT_DESC

static unsigned char frame[GSO_MAX + 64];

/* Frames still go both ways. */
static void works(struct net_rig *r, const char *what)
{
	unsigned arrived = r->arrived;
	uint32_t used;

	rig_rewind(r->g);
	r->tx_cut = r->rx_cut = 0;
	make_frame(frame, 60, guest_mac, world_mac, 1);
	if (!tx(r, 0, frame, 60) || r->arrived != arrived + 1)
		fail_msg("%s: afterwards nothing goes out", what);
	rx_give(r, 0, 1, 256);
	world_send(r, 0, NULL, frame, 60);
	if (!rx_get(r, 0, &used))
		fail_msg("%s: afterwards nothing comes in", what);
}

/* ---- Frames out ---- */

enum { SENT, LOST };			/* the latter is counted as malformed, and its buffer comes back */

static const struct bad {
	const char *what;
	const struct flow *flow;	/* of a frame of 3000 bytes of payload; NULL: of 60 bytes of no protocol */
	struct vio_net_hdr h;
	int verdict[2];			/* by a link that takes everything, and one that takes nothing */
	size_t bytes;			/* of the frame that are sent; 0: all */
} bad[] = {
#define H(...) { __VA_ARGS__ }
#define TSO .flags = 1, .csum_start = { 34 }, .csum_offset = { 16 }
	{ "no frame at all", NULL, H(0), { LOST, LOST }, 1 },	/* 1 stands for 0 */
	{ "a byte less than an Ethernet header", NULL, H(0), { LOST, LOST }, 13 },
	{ "an Ethernet header", NULL, H(0), { SENT, SENT }, 14 },
	{ "buffers counted by the driver", NULL, H(.num_buffers = { 0xffff }), { SENT, SENT }, 0 },
	{ "a checksum's place without NEEDS_CSUM", NULL, H(.csum_start = { 0xffff }, .csum_offset = { 0xffff }), { SENT, SENT }, 0 },
	{ "DATA_VALID, RSC_INFO and flags of nobody's", NULL, H(.flags = 0xf6), { SENT, SENT }, 0 },
	{ "a tunnel's checksum without a tunnel", NULL, H(.flags = 8), { LOST, LOST }, 0 },
	{ "a checksum in the last two bytes", NULL, H(.flags = 1, .csum_start = { 58 }), { SENT, SENT }, 0 },
	{ "a checksum that begins with the frame", NULL, H(.flags = 1), { SENT, SENT }, 0 },
	{ "a checksum one byte beyond the frame", NULL, H(.flags = 1, .csum_start = { 59 }), { LOST, LOST }, 0 },
	{ "a checksum at the frame's end", NULL, H(.flags = 1, .csum_start = { 60 }), { LOST, LOST }, 0 },
	{ "a checksum far away", NULL, H(.flags = 1, .csum_start = { 0xffff }), { LOST, LOST }, 0 },
	{ "a checksum's offset beyond the frame", NULL, H(.flags = 1, .csum_start = { 34 }, .csum_offset = { 25 }), { LOST, LOST }, 0 },
	{ "an offset that wraps", NULL, H(.flags = 1, .csum_start = { 2 }, .csum_offset = { 0xffff }), { LOST, LOST }, 0 },
	{ "both at their ends", NULL, H(.flags = 1, .csum_start = { 0xffff }, .csum_offset = { 0xffff }), { LOST, LOST }, 0 },
	{ "segments of nothing", &tcp4, H(TSO, .gso_type = 1, .gso_size = { 0 }), { LOST, LOST }, 0 },
	{ "segments of one byte", &tcp4, H(TSO, .gso_type = 1, .gso_size = { 1 }), { SENT, LOST }, 0 },
	{ "segments of 65535 bytes", &tcp4, H(TSO, .gso_type = 1, .gso_size = { 65535 }), { SENT, SENT }, 0 },
	{ "segments without a checksum", &tcp4, H(.gso_type = 1, .gso_size = { 1000 }), { LOST, LOST }, 0 },
	{ "headers of nothing", &tcp4, H(TSO, .gso_type = 1, .gso_size = { 1000 }, .hdr_len = { 0 }), { SENT, SENT }, 0 },
	{ "headers of 65535 bytes", &tcp4, H(TSO, .gso_type = 1, .gso_size = { 1000 }, .hdr_len = { 65535 }), { SENT, SENT }, 0 },
	{ "segmentation 2", &tcp4, H(TSO, .gso_type = 2, .gso_size = { 1000 }), { LOST, LOST }, 0 },
	{ "segmentation 6", &tcp4, H(TSO, .gso_type = 6, .gso_size = { 1000 }), { LOST, LOST }, 0 },
	{ "segmentation 0x7f", &tcp4, H(TSO, .gso_type = 0x7f, .gso_size = { 1000 }), { LOST, LOST }, 0 },
	{ "an IPv4 tunnel", &tcp4, H(TSO, .gso_type = 0x21, .gso_size = { 1000 }), { LOST, LOST }, 0 },
	{ "an IPv6 tunnel", &tcp4, H(TSO, .gso_type = 0x41, .gso_size = { 1000 }), { LOST, LOST }, 0 },
	{ "both tunnels", &tcp4, H(TSO, .gso_type = 0x61, .gso_size = { 1000 }), { LOST, LOST }, 0 },
	{ "a tunnel with its checksum", &tcp4, H(.flags = 9, .csum_start = { 34 }, .csum_offset = { 16 }, .gso_type = 0x21, .gso_size = { 1000 }),
		{ LOST, LOST }, 0 },
	{ "ECN with no segmentation", NULL, H(.gso_type = 0x80), { SENT, SENT }, 0 },
	{ "ECN of a datagram", &udp4, H(TSO, .gso_type = 0x85, .gso_size = { 1000 }), { LOST, LOST }, 0 },
	{ "TCP over IPv6 that is IPv4", &tcp4, H(TSO, .gso_type = 4, .gso_size = { 1000 }), { SENT, LOST }, 0 },
	{ "TCP that is UDP", &udp4, H(TSO, .gso_type = 1, .gso_size = { 1000 }), { LOST, LOST }, 0 },	/* its data offset is 0 */
	{ "UDP that is TCP", &tcp4, H(.flags = 1, .csum_start = { 34 }, .csum_offset = { 6 }, .gso_type = 5, .gso_size = { 1000 }),
		{ SENT, LOST }, 0 },
	{ "fragments of 7 bytes", &udp4, H(.flags = 1, .csum_start = { 34 }, .csum_offset = { 6 }, .gso_type = 3, .gso_size = { 7 }),
		{ SENT, LOST }, 0 },
	{ "a transport header in the Ethernet header", &tcp4, H(.flags = 1, .csum_start = { 6 }, .gso_type = 1, .gso_size = { 1000 }),
		{ LOST, LOST }, 0 },
	{ "a transport header in the IP header", &tcp4, H(.flags = 1, .csum_start = { 20 }, .gso_type = 5, .gso_size = { 1000 }), { SENT, LOST }, 0 },
	{ "headers and no payload", &tcp4, H(TSO, .gso_type = 1, .gso_size = { 1000 }), { LOST, LOST }, 54 },
	{ "half a TCP header", &tcp4, H(TSO, .gso_type = 1, .gso_size = { 1000 }), { LOST, LOST }, 52 },
	{ "one byte of payload", &tcp4, H(TSO, .gso_type = 1, .gso_size = { 1000 }), { SENT, SENT }, 55 },
	{ "a transport header at the end", &tcp4, H(.flags = 1, .csum_start = { 3050 }, .gso_type = 5, .gso_size = { 1000 }), { LOST, LOST }, 0 },
};

static void frames_out(void **state)
{
	(void)state;
	static const size_t cuts[] = { 0, 1, 5, 12, 13, 40 };
	for (unsigned takes = 0; takes < 2; takes++) {
		struct net_rig *r = net_new(takes ? 0 : VIO_LINK_ALL);
		net_open(r);
		net_start(r, BITS(BASIC, HOST));
		for (unsigned i = 0; i < sizeof bad / sizeof *bad * (sizeof cuts / sizeof *cuts); i++) {
			const struct bad *b = &bad[i / (sizeof cuts / sizeof *cuts)];
			size_t n = 60;
			unsigned arrived = r->arrived;
			uint64_t malformed = vio_net_dev_counts(r->g->dev, 0).tx_malformed, refused = rig_refused(r->g, TX);
			rig_rewind(r->g);
			r->tx_cut = cuts[i % (sizeof cuts / sizeof *cuts)];
			if (b->flow)
				n = make_ip(frame, b->flow, 3000, true);
			else
				make_frame(frame, n, world_mac, guest_mac, 1);
			n = b->bytes == 1 ? 0 : b->bytes ? b->bytes : n;
			if (r->tx_cut && (n + HDR) / r->tx_cut > RIG_INDIRECT - 4)
				r->tx_cut = (n + HDR) / 50 + 1;
			if (!tx_raw(r, 0, &b->h, frame, n))
				fail_msg("%s: the buffer does not come back", b->what);
			if ((r->arrived > arrived) != (b->verdict[takes] == SENT))
				fail_msg("%s: it is%s sent", b->what, r->arrived > arrived ? "" : " not");
			bool counted = vio_net_dev_counts(r->g->dev, 0).tx_malformed == malformed + 1 && rig_refused(r->g, TX) == refused + 1;
			if (counted != (b->verdict[takes] == LOST))
				fail_msg("%s: it is%s counted", b->what, counted ? "" : " not");
			works(r, b->what);
		}
		assert_null(r->g->wire.broken);
		net_restart(r, BITS(BASIC, HOST));
		works(r, "a reset");
		net_close(r);
	}
}

/* All 256 kinds of segmentation and flags, with nothing negotiated: only what asks for nothing goes. */
static void nothing_negotiated(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC));
	for (unsigned i = 0; i < 512; i++) {
		struct vio_net_hdr h = { .flags = (uint8_t)(i < 256 ? 1 : i), .gso_type = (uint8_t)(i < 256 ? i : 0), .gso_size = { 100 },
			.csum_start = { 34 }, .csum_offset = { 16 } };
		size_t n = make_ip(frame, &tcp4, 500, true);
		unsigned arrived = r->arrived;
		rig_rewind(r->g);
		assert_true(tx_raw(r, 0, &h, frame, n));
		assert_int_equal(r->arrived - arrived, h.flags & 9 || h.gso_type & 0x7f ? 0 : 1);
	}
	works(r, "all kinds");
	net_close(r);
}

/* As long as a frame may be, and a byte more. */
static void longest(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC));
	make_frame(frame, GSO_MAX, world_mac, guest_mac, 1);
	r->tx_cut = 4000;
	assert_true(tx(r, 0, frame, VIO_FRAME_MAX));
	assert_int_equal(r->arrived, 1);
	assert_true(tx(r, 0, frame, VIO_FRAME_MAX + 1));
	assert_int_equal(r->arrived, 1);
	assert_int_equal(rig_refused(r->g, TX), 1);
	works(r, "the longest frame");
	net_close(r);
}

/* ---- Buffers in ---- */

static void buffers_in(void **state)
{
	(void)state;
	for (unsigned merge = 0; merge < 2; merge++) {
		struct net_rig *r = net_up(VIO_LINK_ALL, merge ? BITS(BASIC) : BITS(VIO_F_VERSION_1));
		unsigned char *readable = rig_take(r->g, 64);
		uint32_t used;
		for (size_t size = 1; size < HDR; size++)	/* no room for a header: they come back empty, and the next is taken */
			rx_give(r, 0, 1, size);
		assert_true(rig_add(r->g, RX, readable, 64, 0, NULL, 0, 0));	/* nothing to write to at all */
		rx_give(r, 0, 1, 256);
		make_frame(frame, 60, guest_mac, world_mac, 1);
		world_send(r, 0, NULL, frame, 60);
		for (size_t size = 1; size <= HDR; size++) {
			assert_non_null(rx_get(r, 0, &used));
			assert_int_equal(used, 0);
		}
		assert_non_null(rx_get(r, 0, &used));
		assert_int_equal(used, HDR + 60);
		assert_int_equal(rig_refused(r->g, RX), HDR);
		works(r, "small buffers");
		net_close(r);
	}
}

/* ---- The link's word is not taken for more than it can be ---- */

static void link_lies(void **state)
{
	(void)state;
	static const struct { struct vio_frame f; size_t n; } rows[] = {
		{ { 0 }, 13 },
		{ { .flags = 1, .csum_start = 59 }, 60 },
		{ { .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff }, 60 },
		{ { .gso = VIO_FRAME_TCP4, .gso_size = 100 }, 60 },
		{ { .flags = 1, .gso = VIO_FRAME_TCP4, .gso_size = 0, .csum_start = 34, .csum_offset = 16 }, 100 },
		{ { .flags = 1, .gso = 77, .gso_size = 10, .csum_start = 34, .csum_offset = 16 }, 100 },
		{ { .flags = 1, .gso = VIO_FRAME_TCP4, .gso_size = 10, .csum_start = 34, .csum_offset = 16 }, 100 },	/* it is no TCP */
		{ { 0 }, 1600 },
	};
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, VIO_NET_F_GUEST_CSUM, VIO_NET_F_MTU));
	rx_give(r, 0, 4, RX_BYTES);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint32_t used;
		make_frame(frame, rows[i].n, guest_mac, world_mac, 1);
		world_send(r, 0, &rows[i].f, frame, rows[i].n);
		if (rx_get(r, 0, &used))
			fail_msg("row %u reaches the driver", i);
		assert_int_equal(vio_net_dev_counts(r->g->dev, 0).rx_dropped, i + 1);
	}
	net_close(r);
}

/* ---- Commands ---- */

/* All commands there are, as they are well-formed; what is cut off or added makes them wrong. */
static unsigned char rss[8 + 2 * 128 + 3 + 40], context[8 + sizeof rss];
static const struct wellformed { uint8_t class_, command; const void *data; size_t n, result; } commands[] = {
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_PROMISC, "\1", 1, 0 },
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_ALLMULTI, "\1", 1, 0 },
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_ALLUNI, "\0", 1, 0 },
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_NOMULTI, "\0", 1, 0 },
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_NOUNI, "\0", 1, 0 },
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_NOBCAST, "\0", 1, 0 },
	{ VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_TABLE_SET, "\1\0\0\0\2\0\0\0\0\1\1\0\0\0\1\0\0\0\0\1", 20, 0 },
	{ VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_ADDR_SET, "\2\0\0\0\0\7", 6, 0 },
	{ VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_ADD, "\377\17", 2, 0 },
	{ VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_DEL, "\377\17", 2, 0 },
	{ VIO_NET_CTRL_ANNOUNCE, VIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0, 0 },
	{ VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, "\1\0", 2, 0 },
	{ VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, rss, sizeof rss, 0 },
	{ VIO_NET_CTRL_GUEST_OFFLOADS, VIO_NET_CTRL_GUEST_OFFLOADS_SET, "\0\0\0\0\0\0\0\0", 8, 0 },
	{ VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_TX_SET, "\0\0\0\0\0\0\0\0", 8, 0 },
	{ VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_RX_SET, "\0\0\0\0\0\0\0\0", 8, 0 },
	{ VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_VQ_SET, "\0\0\0\0\0\0\0\0\0\0\0\0", 12, 0 },
	{ VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_VQ_GET, "\0\0\0\0", 4, 8 },
	{ VIO_NET_CTRL_HASH_TUNNEL, VIO_NET_CTRL_HASH_TUNNEL_SET, "\0\0\0\0", 4, 0 },
	{ VIO_NET_CTRL_STATS, VIO_NET_CTRL_STATS_QUERY, NULL, 0, 8 },
	{ VIO_NET_CTRL_STATS, VIO_NET_CTRL_STATS_GET, "\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0", 16, 56 },
	{ VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_CAP_GET, NULL, 0, 2 },
	{ VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_ADD, context, sizeof context, 0 },
	{ VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_MOD, context, sizeof context, 0 },
	{ VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_DEL, "\1\0", 2, 0 },
};

static void make_rss(void)
{
	memcpy(rss, (unsigned char[]){ 2, 0, 0, 0, 127, 0, 0, 0 }, 8);
	memcpy(rss + 8 + 256, (unsigned char[]){ 1, 0, 40 }, 3);
	context[0] = 1;
	memcpy(context + 8, rss, sizeof rss);
}

static struct net_rig *controlled(void)
{
	struct net_rig *r = net_new(VIO_LINK_ALL);

	make_rss();
	r->o.pairs = 2;
	net_open(r);
	net_start(r, BITS(BASIC, CONTROL, VIO_NET_F_GUEST_CSUM));
	return r;
}

static void command_lengths(void **state)
{
	(void)state;
	struct net_rig *r = controlled();
	unsigned char data[1024] = { 0 }, result[64];
	for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++) {
		const struct wellformed *c = &commands[i];
		uint32_t got;
		if (c->n)
			memcpy(data, c->data, c->n);
		for (size_t n = 0; n < c->n + 20; n++) {
			bool longer_is_right = c->class_ == VIO_NET_CTRL_NOTF_COAL && c->command == VIO_NET_CTRL_NOTF_COAL_VQ_GET && n == 12;
			rig_rewind(r->g);
			if (n == c->n || longer_is_right)
				continue;
			if (c->command == VIO_NET_CTRL_STATS_GET && c->class_ == VIO_NET_CTRL_STATS && n == 32)
				continue;
			if (ask(r, c->class_, c->command, data, n, result, sizeof result, &got) != VIO_NET_ERR || got)
				fail_msg("class %u, command %u with %zu bytes", c->class_, c->command, n);
		}
		for (size_t room = 0; room < c->result; room++)		/* no room for the result */
			assert_int_equal(ask(r, c->class_, c->command, data, c->n, result, room, &got), VIO_NET_ERR);
		if (ask(r, c->class_, c->command, data, c->n, result, sizeof result, &got) != VIO_NET_OK || got != c->result)
			fail_msg("class %u, command %u as it should be", c->class_, c->command);
		memset(data, 0, sizeof data);
	}
	works(r, "all commands");
	net_close(r);
}

/* None of those there are. */
static void commands_unknown(void **state)
{
	(void)state;
	struct net_rig *r = controlled();
	for (unsigned class_ = 0; class_ < 256; class_++) {
		for (unsigned command = 0; command < 8; command++) {
			unsigned i;
			for (i = 0; i < sizeof commands / sizeof *commands; i++)
				if (commands[i].class_ == class_ && commands[i].command == command)
					break;
			if (i < sizeof commands / sizeof *commands)
				continue;
			rig_rewind(r->g);
			assert_int_equal(tell8(r, class_, command, 1), VIO_NET_ERR);
		}
	}
	works(r, "unknown commands");
	net_restart(r, BITS(BASIC, VIO_NET_F_CTRL_VQ));		/* without their features: none of them either */
	for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++)
		assert_int_equal(tell(r, commands[i].class_, commands[i].command, commands[i].data, commands[i].n), VIO_NET_ERR);
	works(r, "commands without features");
	net_close(r);
}

static void chains_short(void **state)
{
	(void)state;
	struct net_rig *r = controlled();
	unsigned char *p = rig_take(r->g, 16);
	uint32_t used;

	for (unsigned readable = 0; readable < 2; readable++) {		/* no command in it */
		rx_give(r, 0, 0, 16);
		assert_true(rig_add(r->g, r->control, p, readable, 0, p + 8, 1, 0));
		rig_kick(r->g, r->control);
		assert_ptr_equal(rig_get(r->g, r->control, &used), p + 8);
		assert_int_equal(used, 1);
		assert_int_equal(p[8], VIO_NET_ERR);
	}
	assert_true(rig_add(r->g, r->control, p, 3, 0, NULL, 0, 0));	/* no place for the answer */
	rig_kick(r->g, r->control);
	assert_ptr_equal(rig_get(r->g, r->control, &used), p);
	assert_int_equal(used, 0);
	assert_int_equal(rig_refused(r->g, r->control), 3);
	works(r, "short chains");
	net_close(r);
}

static void values(void **state)
{
	(void)state;
	struct net_rig *r = controlled();
	unsigned char big[8 + 2 * 1024 + 3 + 255];
	static const uint16_t vlans[] = { 4096, 4097, 0x1fff, 0x8000, 0xffff }, pairs[] = { 0, 3, 0x8000, 0xffff };
	static const uint32_t lies[] = { 2, 3, 1u << 28, UINT32_MAX, UINT32_MAX / 6 + 1 };

	for (unsigned i = 0; i < sizeof vlans / sizeof *vlans; i++) {
		assert_int_equal(tell16(r, VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_ADD, vlans[i]), VIO_NET_ERR);
		assert_int_equal(tell16(r, VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_DEL, vlans[i]), VIO_NET_ERR);
	}
	for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i++)
		assert_int_equal(tell16(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, pairs[i]), VIO_NET_ERR);
	for (unsigned i = 2; i < 256; i += 51)
		assert_int_equal(tell8(r, VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_PROMISC, (uint8_t)i), VIO_NET_ERR);
	for (unsigned i = 0; i < sizeof lies / sizeof *lies; i++) {	/* more addresses than there are */
		unsigned char table[14] = { 0 };
		memcpy(table, &(vio_le32){ vio_le32_of(lies[i]).wire }, 4);
		assert_int_equal(tell(r, VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_TABLE_SET, table, sizeof table), VIO_NET_ERR);
		memset(table, 0, sizeof table);
		table[0] = 1;
		memcpy(table + 10, &(vio_le32){ vio_le32_of(lies[i]).wire }, 4);
		assert_int_equal(tell(r, VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_TABLE_SET, table, sizeof table), VIO_NET_ERR);
	}
	static const struct { size_t at; uint8_t value; } wrong[] = {
		{ 1, 2 }, { 3, 0x80 },			/* hash types */
		{ 4, 126 }, { 4, 255 }, { 5, 1 }, { 5, 0xff },	/* masks: no power of two, too large */
		{ 6, 2 }, { 7, 0x80 },			/* unclassified */
		{ 8, 2 }, { 9, 1 }, { 8 + 254, 2 },	/* the table */
		{ 264, 0 }, { 264, 3 }, { 265, 1 },	/* transmit queues */
		{ 266, 41 }, { 266, 39 }, { 266, 255 },	/* bytes of the key */
	};
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		memcpy(big, rss, sizeof rss);
		big[wrong[i].at] = wrong[i].value;
		rig_rewind(r->g);
		if (tell(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, big, sizeof rss) != VIO_NET_ERR)
			fail_msg("RSS with %u at %zu", wrong[i].value, wrong[i].at);
	}
	memset(big, 0, sizeof big);		/* a mask of 0xffff, and as much table as one can send */
	memset(big + 4, 0xff, 2);
	assert_int_equal(tell(r, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, big, sizeof big), VIO_NET_ERR);
	works(r, "wrong values");
	net_close(r);
}

/* ---- A driver that writes while the device reads ---- */

struct writer { unsigned char *p; size_t n; bool stop; };

static void *scribble(void *arg)
{
	struct writer *w = arg;

	for (uint32_t x = 1; !__atomic_load_n(&w->stop, __ATOMIC_RELAXED);) {
		x = x * 1664525 + 1013904223;
		__atomic_store_n(&w->p[(x >> 8) % w->n], (unsigned char)(x >> 24), __ATOMIC_RELAXED);
	}
	return NULL;
}

/* Headers and tables change at any moment: frames and commands are judged by one look, whatever it saw. */
static void changes_meanwhile(void **state)
{
	(void)state;
	struct net_rig *r = controlled();
	struct writer w = { .n = 96 };
	pthread_t thread;

	net_restart(r, BITS(BASIC, CONTROL, HOST));
	w.p = rig_take(r->g, 4096);
	unsigned char *command = rig_take(r->g, 512), *answer = rig_take(r->g, 256);
	memset(w.p, 0, 4096);
	make_ip(w.p + r->header, &tcp4, 3000, true);
	assert_int_equal(pthread_create(&thread, NULL, scribble, &w), 0);
	for (unsigned i = 0; i < 4000; i++) {
		memcpy(command, (unsigned char[]){ VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG }, 2);
		assert_true(rig_add(r->g, TX, w.p, r->header + 3054, 0, NULL, 0, 0));
		rig_kick(r->g, TX);
		world_look(r);
		assert_ptr_equal(rig_get(r->g, TX, NULL), w.p);
		assert_true(rig_add(r->g, r->control, w.p, 320, 0, answer, 256, 0));
		rig_kick(r->g, r->control);
		assert_ptr_equal(rig_get(r->g, r->control, NULL), answer);
	}
	__atomic_store_n(&w.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_null(r->g->wire.broken);
	net_restart(r, BITS(BASIC));
	works(r, "a driver that writes meanwhile");
	net_close(r);
}

/* ---- Options ---- */

static void options(void **state)
{
	(void)state;
	static const struct { uint16_t pairs, size, mtu, table, contexts; uint32_t speed; uint8_t duplex, mac0; bool fine; } rows[] = {
		{ 1, 0, 0, 0, 0, 0, 0, 2, true }, { 0, 0, 0, 0, 0, 0, 0, 2, false }, { NET_PAIRS + 1, 0, 0, 0, 0, 0, 0, 2, false },
		{ 1, 3, 0, 0, 0, 0, 0, 2, false }, { 1, 0, 67, 0, 0, 0, 0, 2, false }, { 1, 0, 68, 0, 0, 0, 0, 2, true },
		{ 1, 0, 65535, 0, 0, 0, 0, 2, true }, { 1, 0, 0, 64, 0, 0, 0, 2, false }, { 1, 0, 0, 200, 0, 0, 0, 2, false },
		{ 1, 0, 0, 1024, 0, 0, 0, 2, false }, { 1, 0, 0, 512, 8, 0, 0, 2, true }, { 1, 0, 0, 0, 9, 0, 0, 2, false },
		{ 1, 0, 0, 0, 0, 0x80000000, 0, 2, false }, { 1, 0, 0, 0, 0, 100, 2, 2, false }, { 1, 0, 0, 0, 0, 100, 1, 2, true },
		{ 1, 0, 0, 0, 0, 0, 0, 3, false },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct net_rig *r = net_new(VIO_LINK_ALL);
		r->o = (struct vio_net_options){ .link = r->link, .pairs = rows[i].pairs, .queue_size = rows[i].size, .mtu = rows[i].mtu,
			.rss_table = rows[i].table, .rss_contexts = rows[i].contexts, .speed = rows[i].speed, .duplex = rows[i].duplex,
			.has_mac = true, .mac = { rows[i].mac0 } };
		const char *why = rig_open(r->g, &vio_dev_net, &r->o);
		if (!why != rows[i].fine)
			fail_msg("row %u: %s", i, why ? why : "taken");
		net_close(r);
	}
	struct net_rig *r = net_new(VIO_LINK_ALL);
	struct vio_link_faults faults = { .no_lane = true };
	r->link = vio_link_faulty_open(r->end[0], &faults);
	r->o.link = r->link;
	assert_non_null(rig_open(r->g, &vio_dev_net, &r->o));
	net_close(r);
}

/* What is left out takes with it what needs it; a driver that accepts a feature without its need is refused. */
static void features(void **state)
{
	(void)state;
	static const struct { unsigned char without, gone; } rows[] = {
		{ VIO_NET_F_CSUM, VIO_NET_F_HOST_TSO4 }, { VIO_NET_F_CSUM, VIO_NET_F_HOST_ECN }, { VIO_NET_F_GUEST_CSUM, VIO_NET_F_GUEST_USO6 },
		{ VIO_NET_F_GUEST_CSUM, VIO_NET_F_GUEST_ECN }, { VIO_NET_F_CTRL_VQ, VIO_NET_F_MQ }, { VIO_NET_F_CTRL_VQ, VIO_NET_F_CTRL_RX_EXTRA },
		{ VIO_NET_F_CTRL_VQ, VIO_NET_F_HASH_REPORT }, { VIO_NET_F_CTRL_VQ, VIO_NET_F_HASH_TUNNEL }, { VIO_NET_F_RSS, VIO_NET_F_RSS_CONTEXT },
		{ VIO_NET_F_CTRL_VQ, VIO_NET_F_NOTF_COAL }, { VIO_NET_F_CTRL_VQ, VIO_NET_F_GUEST_ANNOUNCE },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct net_rig *r = net_new(VIO_LINK_ALL);
		r->o.pairs = 2;
		vio_features_add(&r->o.without, rows[i].without);
		net_open(r);
		struct vio_features f = vio_dev_offered(r->g->dev);
		assert_false(vio_has(f, rows[i].without) || vio_has(f, rows[i].gone));
		net_close(r);
	}
	static const unsigned char accepted[][3] = {
		{ VIO_NET_F_HOST_TSO4 }, { VIO_NET_F_GUEST_TSO6 }, { VIO_NET_F_CSUM, VIO_NET_F_HOST_ECN }, { VIO_NET_F_GUEST_CSUM, VIO_NET_F_GUEST_ECN },
		{ VIO_NET_F_CTRL_RX }, { VIO_NET_F_CTRL_RX_EXTRA }, { VIO_NET_F_MQ }, { VIO_NET_F_CTRL_VQ, VIO_NET_F_HASH_TUNNEL },
		{ VIO_NET_F_CTRL_VQ, VIO_NET_F_RSS_CONTEXT },
	};
	for (unsigned i = 0; i < sizeof accepted / sizeof *accepted; i++) {
		struct net_rig *r = net_new(VIO_LINK_ALL);
		r->o.pairs = 2;
		net_open(r);
		struct vio_features f = BITS(VIO_F_VERSION_1);
		for (unsigned b = 0; b < 3 && (b == 0 || accepted[i][b]); b++)
			vio_features_add(&f, accepted[i][b]);
		assert_non_null(vio_dev_features_refused(r->g->dev, f));
		net_close(r);
	}
}

static const struct CMUnitTest tests[] = {
	T(frames_out, "headers and frames that make no sense are lost and counted; what makes some is sent "
	    "{net-dev-15 net-dev-16 net-dev-21 net-dev-22 net-dev-24 net-dev-25; only us}"),
	T(nothing_negotiated, "with nothing negotiated, only what asks for nothing is sent"),
	T(longest, "the longest frame there is, and one byte more"),
	T(buffers_in, "buffers without room for a header come back empty"),
	T(link_lies, "what a link says of a frame is checked"),
	T(command_lengths, "every command, cut short and too long, with too little room for its result"),
	T(commands_unknown, "commands that there are not, or that were not negotiated {net-dev-74; only us}"),
	T(chains_short, "chains without a command, or without a place for the answer"),
	T(values, "VLANs from 4096 on, no pairs or too many, tables and keys that lie"),
	T(changes_meanwhile, "a driver that writes to headers and commands while they are read"),
	T(options, "options are refused before anything is touched"),
	T(features, "features come and go with those they need {net-dev-13 net-dev-14; only us}"),
};
int main(void) { return vio_tests("net_bad", tests, sizeof tests / sizeof *tests); }
