/* Checksums and segmentation of the network device: handed through, or done in software, both ways. */
#include "net_frames.h"

#define HOST VIO_NET_F_CSUM, VIO_NET_F_HOST_TSO4, VIO_NET_F_HOST_TSO6, VIO_NET_F_HOST_ECN, VIO_NET_F_HOST_UFO, VIO_NET_F_HOST_USO
#define GUEST VIO_NET_F_GUEST_CSUM, VIO_NET_F_GUEST_TSO4, VIO_NET_F_GUEST_TSO6, VIO_NET_F_GUEST_ECN, VIO_NET_F_GUEST_UFO, \
    VIO_NET_F_GUEST_USO4, VIO_NET_F_GUEST_USO6
#define BASIC VIO_F_VERSION_1, VIO_NET_F_MRG_RXBUF, VIO_F_INDIRECT_DESC

static struct vio_net_dev_counts counts(struct net_rig *r) { return vio_net_dev_counts(r->g->dev, 0); }

struct kind { const struct flow *flow; uint8_t type, gso; unsigned takes, feature, guest; };
static const struct kind kinds[] = {
	{ &tcp4, VIO_NET_HDR_GSO_TCPV4, VIO_FRAME_TCP4, VIO_LINK_TSO4, VIO_NET_F_HOST_TSO4, VIO_NET_F_GUEST_TSO4 },
	{ &tcp6, VIO_NET_HDR_GSO_TCPV6, VIO_FRAME_TCP6, VIO_LINK_TSO6, VIO_NET_F_HOST_TSO6, VIO_NET_F_GUEST_TSO6 },
	{ &udp4, VIO_NET_HDR_GSO_UDP_L4, VIO_FRAME_USO, VIO_LINK_USO4 | VIO_LINK_USO6, VIO_NET_F_HOST_USO, VIO_NET_F_GUEST_USO4 },
	{ &udp6, VIO_NET_HDR_GSO_UDP_L4, VIO_FRAME_USO, VIO_LINK_USO4 | VIO_LINK_USO6, VIO_NET_F_HOST_USO, VIO_NET_F_GUEST_USO6 },
	{ &udp4, VIO_NET_HDR_GSO_UDP, VIO_FRAME_UFO, VIO_LINK_UFO, VIO_NET_F_HOST_UFO, VIO_NET_F_GUEST_UFO },
	{ &udp6, VIO_NET_HDR_GSO_UDP, VIO_FRAME_UFO, VIO_LINK_UFO, VIO_NET_F_HOST_UFO, VIO_NET_F_GUEST_UFO },
};
enum { KINDS = sizeof kinds / sizeof *kinds, PAYLOAD = 5200, SIZE = 1000, UFO_SIZE = 1003 };

/* ---- What came out: pieces judged against the frame they were cut from ---- */

static unsigned char frame[GSO_MAX];

static void judge_tcp(const struct kind *k, const unsigned char *p, size_t n, size_t at, bool last)
{
	unsigned l4 = l4_at(k->flow);

	judge_ip(p, n, k->flow);
	assert_int_equal(get32(p + l4 + 4), (uint32_t)(0xfffffff0 + at));
	assert_int_equal(p[l4 + 13], last ? 0x19 : 0x10);	/* FIN and PSH in the last one only */
}

/* Fragments of one datagram are put together again; how many bytes of it there are. */
static size_t put_together(const struct kind *k, const unsigned char *p, size_t n, unsigned char *whole, bool *more)
{
	unsigned ip = ip_bytes(k->flow) + (k->flow->v6 ? 8u : 0);
	const unsigned char *h = p + 14;
	unsigned offset, flags;

	if (k->flow->v6) {
		assert_int_equal(h[6], 44);
		assert_int_equal(h[40], P_UDP);
		assert_int_equal(get16(h + 4), n - 14 - 40);
		offset = get16(h + 42) & 0xfff8;
		flags = get16(h + 42) & 1;
	} else {
		assert_int_equal(sum16(h, 20, 0), 0xffff);
		assert_int_equal(get16(h + 2), n - 14);
		assert_int_equal(get16(h + 4), 0x1234);
		offset = (get16(h + 6) & 0x1fff) * 8;
		flags = get16(h + 6) & 0x2000;
	}
	*more = flags;
	memcpy(whole + offset, h + ip, n - 14 - ip);
	return offset + n - 14 - ip;
}

static void judge_piece(const struct kind *k, const unsigned char *p, size_t n, unsigned i, size_t *at, unsigned char *whole)
{
	unsigned head = l4_at(k->flow) + l4_bytes(k->flow);
	bool more;

	if (k->gso == VIO_FRAME_UFO) {
		*at = put_together(k, p, n, whole, &more);
		assert_int_equal(more, *at < PAYLOAD + 8);
		if (!more)	/* the checksum is the whole datagram's */
			assert_int_equal(sum16(whole, *at, pseudo_sum(k->flow, (uint32_t)*at)), 0xffff);
		*at -= more ? 0 : 8;
		return;
	}
	size_t payload = n - head;
	if (k->flow->protocol == P_TCP)
		judge_tcp(k, p, n, *at, *at + payload == PAYLOAD);
	else
		judge_ip(p, n, k->flow);
	if (!k->flow->v6)
		assert_int_equal(get16(p + 14 + 4), 0x1234 + i);
	assert_memory_equal(p + head, frame + head + *at, payload);
	*at += payload;
}

static uint16_t size_of(const struct kind *k) { return k->gso == VIO_FRAME_UFO ? UFO_SIZE : SIZE; }

/* ---- From the driver ---- */

static void out_passed(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, HOST));
	for (unsigned i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];
		size_t n = make_ip(frame, k->flow, PAYLOAD, true);
		struct vio_net_hdr h = wish_header(k->flow, k->type, size_of(k));
		rig_rewind(r->g);
		h.hdr_len = vio_le16_of((uint16_t)(i * 9999));		/* not to be believed */
		assert_true(tx_raw(r, 0, &h, frame, n));
		struct arrival *a = arrival(r, r->arrived - 1);
		assert_int_equal(r->arrived, i + 1);
		assert_int_equal(a->frame.gso, k->gso);
		assert_int_equal(a->frame.gso_size, size_of(k));
		assert_int_equal(a->frame.header, l4_at(k->flow) + l4_bytes(k->flow));
		assert_int_equal(a->length, n);
		assert_memory_equal(a->bytes, frame, n);
	}
	assert_int_equal(counts(r).tx_gso, KINDS);
	net_close(r);
}

static void out_cut(void **state)
{
	(void)state;
	static unsigned char whole[2 * PAYLOAD];
	struct net_rig *r = net_up(0, BITS(BASIC, HOST));
	for (unsigned i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];
		for (r->tx_cut = 0; r->tx_cut < 400; r->tx_cut += 131) {
			size_t n = make_ip(frame, k->flow, PAYLOAD, true), at = 0;
			struct vio_net_hdr h = wish_header(k->flow, k->type, size_of(k));
			unsigned first = r->arrived;
			rig_rewind(r->g);
			assert_true(tx_raw(r, 0, &h, frame, n));
			for (unsigned p = first; p < r->arrived; p++)
				judge_piece(k, arrival(r, p)->bytes, arrival(r, p)->length, p - first, &at, whole);
			assert_int_equal(at, PAYLOAD);
			assert_int_equal(r->arrived - first, 6);
			assert_int_equal(arrival(r, first)->frame.gso, 0);
		}
	}
	net_close(r);
}

/* CWR is the first segment's alone (RFC 3168); ECN has to have been negotiated. */
static void out_ecn(void **state)
{
	(void)state;
	struct net_rig *r = net_up(VIO_LINK_ALL & ~VIO_LINK_ECN, BITS(BASIC, HOST));
	size_t n = make_ip(frame, &tcp4, 3000, true);
	struct vio_net_hdr h = wish_header(&tcp4, VIO_NET_HDR_GSO_TCPV4 | VIO_NET_HDR_GSO_ECN, 1000);

	frame[34 + 13] |= 0x80;
	assert_true(tx_raw(r, 0, &h, frame, n));
	assert_int_equal(r->arrived, 3);
	for (unsigned i = 0; i < 3; i++) {
		judge_ip(arrival(r, i)->bytes, arrival(r, i)->length, &tcp4);
		assert_int_equal(arrival(r, i)->bytes[34 + 13] & 0x80, i ? 0 : 0x80);
	}
	net_restart(r, BITS(BASIC, VIO_NET_F_CSUM, VIO_NET_F_HOST_TSO4));
	assert_true(tx_raw(r, 0, &h, frame, n));
	assert_int_equal(r->arrived, 0);
	assert_int_equal(counts(r).tx_malformed, 1);
	net_close(r);
}

/* A checksum is completed over what stands behind csum_start, whatever it is. */
static void out_summed(void **state)
{
	(void)state;
	struct net_rig *r = net_up(0, BITS(BASIC, HOST));
	static const struct flow *const flows[] = { &tcp4, &udp4, &tcp6, &udp6 };
	for (unsigned i = 0; i < 4; i++) {
		for (size_t payload = 0; payload < 40; payload += 13) {
			size_t n = make_ip(frame, flows[i], payload, true);
			struct vio_net_hdr h = wish_header(flows[i], 0, 0);
			rig_rewind(r->g);
			assert_true(tx_raw(r, 0, &h, frame, n));
			judge_ip(arrival(r, r->arrived - 1)->bytes, n, flows[i]);
		}
	}
	net_close(r);
}

/* RFC 1071's example: the bytes 00 01 f2 03 f4 f5 f6 f7 sum up to ddf2, and their checksum is 220d. */
static void out_vector(void **state)
{
	(void)state;
	struct net_rig *r = net_up(0, BITS(BASIC, HOST));
	static const unsigned char words[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7, 0, 0 };
	struct vio_net_hdr h = { .flags = VIO_NET_HDR_F_NEEDS_CSUM, .csum_start = vio_le16_of(14), .csum_offset = vio_le16_of(8) };

	make_frame(frame, 14, world_mac, guest_mac, 0);
	memcpy(frame + 14, words, sizeof words);
	assert_true(tx_raw(r, 0, &h, frame, 14 + sizeof words));
	assert_int_equal(get16(arrival(r, 0)->bytes + 22), 0x220d);
	net_close(r);
}

/* The link is full in the middle of a frame's pieces: each goes out once, in order. */
static void out_full(void **state)
{
	(void)state;
	struct net_rig *r = net_new(0);
	struct vio_link_faults faults = { .full_every = 3 };
	static unsigned char whole[2 * PAYLOAD];
	r->link = vio_link_faulty_open(r->end[0], &faults);
	net_open(r);
	net_start(r, BITS(BASIC, HOST));
	for (unsigned i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];
		size_t n = make_ip(frame, k->flow, PAYLOAD, true), at = 0;
		struct vio_net_hdr h = wish_header(k->flow, k->type, size_of(k));
		unsigned first = r->arrived;
		rig_rewind(r->g);
		bool back = tx_raw(r, 0, &h, frame, n);
		for (unsigned turn = 0; !back && turn < 10; turn++) {
			vio_link_faulty_release(r->link);
			world_look(r);
			back = rig_get(r->g, TX, NULL);
		}
		assert_true(back);
		for (unsigned p = first; p < r->arrived; p++)
			judge_piece(k, arrival(r, p)->bytes, arrival(r, p)->length, p - first, &at, whole);
		assert_int_equal(at, PAYLOAD);
	}
	net_close(r);
}

/* ---- To the driver ---- */

/* As many bytes as the driver gets for one frame, from as many buffers as it takes; the header in front. */
static size_t receive(struct net_rig *r, unsigned char *to)
{
	size_t n = 0, buffers = 1;

	for (size_t i = 0; i < buffers; i++) {
		uint32_t used;
		unsigned char *p = rx_get(r, 0, &used);
		if (!p)
			return 0;
		memcpy(to + n, p, used);
		n += used;
		if (i == 0)
			buffers = p[10] | (size_t)p[11] << 8;
	}
	return n;
}

static void in_passed(void **state)
{
	(void)state;
	static unsigned char back[GSO_MAX];
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, GUEST));
	for (unsigned i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];
		size_t n = make_ip(frame, k->flow, PAYLOAD, true);
		struct vio_frame f = wish(k->flow, k->gso, size_of(k));
		f.header = 0;		/* the link may not know */
		f.ecn = k->flow->protocol == P_TCP;
		rig_rewind(r->g);
		rx_give(r, 0, 4, RX_BYTES);
		world_send(r, 0, &f, frame, n);
		assert_int_equal(receive(r, back), HDR + n);
		const struct vio_net_hdr *h = (const void *)back;
		assert_int_equal(h->flags, VIO_NET_HDR_F_NEEDS_CSUM);
		assert_int_equal(h->gso_type, k->type | (f.ecn ? VIO_NET_HDR_GSO_ECN : 0));
		assert_int_equal(vio_le16_get(h->gso_size), size_of(k));
		assert_int_equal(vio_le16_get(h->hdr_len), l4_at(k->flow) + l4_bytes(k->flow));
		assert_int_equal(vio_le16_get(h->csum_start), l4_at(k->flow));
		assert_int_equal(vio_le16_get(h->csum_offset), sum_at(k->flow));
		assert_memory_equal(back + HDR, frame, n);
		rx_get(r, 0, &(uint32_t){ 0 });
		net_restart(r, BITS(BASIC, GUEST));
	}
	net_close(r);
}

/* What the driver did not negotiate is done before it gets the frame. */
static void in_cut(void **state)
{
	(void)state;
	static unsigned char back[GSO_MAX], whole[2 * PAYLOAD];
	struct net_rig *r = net_new(VIO_LINK_ALL);
	net_open(r);
	for (unsigned i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds[i];
		struct vio_features f = BITS(BASIC, VIO_NET_F_GUEST_CSUM);
		if (i & 1)
			f = BITS(BASIC);
		net_restart(r, f);
		size_t n = make_ip(frame, k->flow, PAYLOAD, true), at = 0;
		struct vio_frame want = wish(k->flow, k->gso, size_of(k));
		world_send(r, 0, &want, frame, n);
		for (unsigned p = 0; at < PAYLOAD; p++) {
			assert_int_equal(receive(r, back), 0);	/* buffer by buffer: the rest waits for the next */
			rx_give(r, 0, 1, RX_BYTES);
			size_t got = receive(r, back);
			assert_true(got > HDR);
			judge_piece(k, back + HDR, got - HDR, p, &at, whole);
			assert_int_equal(back[0], i & 1 ? 0 : VIO_NET_HDR_F_DATA_VALID);
			assert_int_equal(back[1], VIO_NET_HDR_GSO_NONE);
		}
		rx_give(r, 0, 1, RX_BYTES);
		assert_int_equal(receive(r, back), 0);
	}
	assert_int_equal(counts(r).rx_dropped, 0);
	net_close(r);
}

static void in_ecn(void **state)
{
	(void)state;
	static unsigned char back[GSO_MAX];
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, VIO_NET_F_GUEST_CSUM, VIO_NET_F_GUEST_TSO4));
	size_t n = make_ip(frame, &tcp4, 2000, true);
	struct vio_frame f = wish(&tcp4, VIO_FRAME_TCP4, 1000);

	f.ecn = true;
	rx_give(r, 0, 4, RX_BYTES);
	world_send(r, 0, &f, frame, n);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(receive(r, back), HDR + 54 + 1000);
		assert_int_equal(back[1], VIO_NET_HDR_GSO_NONE);
	}
	net_close(r);
}

static void in_summed(void **state)
{
	(void)state;
	static unsigned char back[GSO_MAX];
	static const struct flow *const flows[] = { &tcp4, &udp4, &tcp6, &udp6 };
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC));
	for (unsigned i = 0; i < 8; i++) {
		size_t n = make_ip(frame, flows[i / 2], 101, true);
		struct vio_frame f = wish(flows[i / 2], VIO_FRAME_WHOLE, 0);
		rig_rewind(r->g);
		r->rx_cut = i & 1 ? 50 : 0;
		rx_give(r, 0, 1, RX_BYTES);
		world_send(r, 0, &f, frame, n);
		assert_int_equal(receive(r, back), HDR + n);
		judge_ip(back + HDR, n, flows[i / 2]);
		assert_int_equal(back[0], 0);
	}
	net_close(r);
}

/* Set while the device runs: an offload goes, and comes back. */
static void offloads_set(void **state)
{
	(void)state;
	static unsigned char back[GSO_MAX];
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, GUEST, VIO_NET_F_CTRL_VQ, VIO_NET_F_CTRL_GUEST_OFFLOADS));
	size_t n = make_ip(frame, &tcp4, 3000, true);
	struct vio_frame f = wish(&tcp4, VIO_FRAME_TCP4, 1000);
	vio_le64 none = vio_le64_of(0), all = vio_le64_of(BITS(GUEST).word[0]), more = vio_le64_of(BITS(GUEST).word[0] | 1u << 3);

	rx_give(r, 0, 12, RX_BYTES);
	assert_int_equal(tell(r, VIO_NET_CTRL_GUEST_OFFLOADS, VIO_NET_CTRL_GUEST_OFFLOADS_SET, &none, 8), VIO_NET_OK);
	world_send(r, 0, &f, frame, n);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(receive(r, back), HDR + 54 + 1000);
	assert_int_equal(back[0], 0);
	assert_int_equal(tell(r, VIO_NET_CTRL_GUEST_OFFLOADS, VIO_NET_CTRL_GUEST_OFFLOADS_SET, &more, 8), VIO_NET_ERR);
	assert_int_equal(tell(r, VIO_NET_CTRL_GUEST_OFFLOADS, VIO_NET_CTRL_GUEST_OFFLOADS_SET, &all, 8), VIO_NET_OK);
	world_send(r, 0, &f, frame, n);
	assert_int_equal(receive(r, back), HDR + n);
	assert_int_equal(back[1], VIO_NET_HDR_GSO_TCPV4);
	net_close(r);
}

/* 5.1.6.4.1: with RSC_EXT there are counts where the checksum's place would be told. */
static void coalesced(void **state)
{
	(void)state;
	static unsigned char back[GSO_MAX];
	struct net_rig *r = net_new(VIO_LINK_ALL);
	size_t n = make_ip(frame, &tcp4, 4500, true);
	struct vio_frame f = wish(&tcp4, VIO_FRAME_TCP4, 1000);
	r->o.coalesced = true;
	net_open(r);
	for (unsigned with = 0; with < 2; with++) {
		net_restart(r, with ? BITS(BASIC, GUEST, HOST, VIO_NET_F_RSC_EXT) : BITS(BASIC, GUEST, HOST));
		rx_give(r, 0, 3, RX_BYTES);
		world_send(r, 0, &f, frame, n);
		assert_int_equal(receive(r, back), HDR + n);
		const struct vio_net_hdr *h = (const void *)back;
		assert_int_equal(h->flags, VIO_NET_HDR_F_NEEDS_CSUM | (with ? VIO_NET_HDR_F_RSC_INFO : 0));
		assert_int_equal(vio_le16_get(h->csum_start), with ? 5 : 34);
		assert_int_equal(vio_le16_get(h->csum_offset), with ? 0 : 16);
	}
	net_close(r);
}

/* A whole frame longer than the MTU is not for the driver; a tag more is no longer MTU. */
static void mtu(void **state)
{
	(void)state;
	static unsigned char back[GSO_MAX];
	struct net_rig *r = net_up(VIO_LINK_ALL, BITS(BASIC, VIO_NET_F_MTU));

	rx_give(r, 0, 8, RX_BYTES);
	make_frame(frame, 1515, guest_mac, world_mac, 1);
	world_send(r, 0, NULL, frame, 1515);
	assert_int_equal(receive(r, back), 0);
	put16(frame + 12, 0x8100);
	world_send(r, 0, NULL, frame, 1518);
	assert_int_equal(receive(r, back), HDR + 1518);
	world_send(r, 0, NULL, frame, 1519);
	assert_int_equal(receive(r, back), 0);
	assert_true(tx(r, 0, frame, 1514));
	assert_int_equal(arrival(r, 0)->length, 1514);
	assert_int_equal(counts(r).rx_dropped, 2);
	net_close(r);
}

static const struct CMUnitTest tests[] = {
	T(out_passed, "large frames go to a link that takes them; hdr_len is not believed {net-dev-21; only us}"),
	T(out_cut, "for a link that takes none they are cut: TCP, UDP datagrams, UDP fragments, over IPv4 and IPv6"),
	T(out_ecn, "CWR is the first segment's; ECN unasked for is malformed"),
	T(out_summed, "a checksum is completed for a link that does not {net-dev-26; only us}"),
	T(out_vector, "RFC 1071's example"),
	T(out_full, "a link that is full in the middle of a frame gets each piece once"),
	T(in_passed, "large frames come as the link delivers them, with header length and segment size "
	    "{net-dev-40 net-dev-41 net-dev-43 net-dev-47 net-dev-48 net-dev-49 net-dev-54 net-dev-56 net-dev-57; only us}"),
	T(in_cut, "a driver that takes none gets them cut, buffer by buffer {net-dev-34 net-dev-35 net-dev-36 net-dev-37 net-dev-38 "
	    "net-dev-39 net-dev-53 net-dev-59; only us}"),
	T(in_ecn, "ECN that was not negotiated is cut too {net-dev-42; only us}"),
	T(in_summed, "a driver without GUEST_CSUM gets whole checksums, and no flags {net-dev-34 net-dev-35; only us}"),
	T(offloads_set, "offloads go and come back while the device runs"),
	T(coalesced, "with RSC_EXT the header counts segments, without it does not {net-dev-55 net-dev-56; only us}"),
	T(mtu, "frames beyond the MTU are kept from the driver, up to it they go out whole {net-dev-5 net-dev-6; only us}"),
};
int main(void) { return vio_tests("net_offload", tests, sizeof tests / sizeof *tests); }
