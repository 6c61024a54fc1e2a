/* IP frames for the network tests, made and judged byte by byte: nothing here shares code with the device. */
#ifndef VIO_TESTS_DEVICE_NET_FRAMES_H
#define VIO_TESTS_DEVICE_NET_FRAMES_H
#include "net_rig.h"

enum { P_TCP = 6, P_UDP = 17 };

struct flow { bool v6; uint8_t protocol; uint8_t source[16], destination[16]; uint16_t sport, dport; };

static inline void put32(unsigned char *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}

static inline uint32_t get32(const unsigned char *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }

static inline uint32_t sum16(const unsigned char *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The pseudo header's sum, of bytes behind the IP header. */
static inline uint32_t pseudo_sum(const struct flow *f, uint32_t bytes)
{
	size_t n = f->v6 ? 16 : 4;
	unsigned char tail[4] = { 0, f->protocol, (unsigned char)(bytes >> 8), (unsigned char)bytes };

	return sum16(tail, 4, sum16(f->source, n, sum16(f->destination, n, 0)));
}

static inline unsigned ip_bytes(const struct flow *f) { return f->v6 ? 40 : 20; }
static inline unsigned l4_bytes(const struct flow *f) { return f->protocol == P_TCP ? 20 : 8; }
static inline unsigned l4_at(const struct flow *f) { return 14 + ip_bytes(f); }
static inline unsigned sum_at(const struct flow *f) { return f->protocol == P_TCP ? 16 : 6; }

/* A frame with n bytes of payload, its transport checksum whole or only the pseudo header's; how long it is. */
static inline size_t make_ip(unsigned char *p, const struct flow *f, size_t n, bool partial)
{
	unsigned ip = ip_bytes(f), l4 = l4_bytes(f);
	unsigned char *h = p + 14, *t = h + ip;
	uint32_t inner = (uint32_t)(l4 + n);

	memset(p, 0, 14 + ip + l4);
	memcpy(p, guest_mac, 6);
	memcpy(p + 6, world_mac, 6);
	put16(p + 12, f->v6 ? 0x86dd : 0x0800);
	h[0] = f->v6 ? 0x60 : 0x45;
	if (f->v6) {
		put16(h + 4, inner);
		h[6] = f->protocol;
		h[7] = 64;
		memcpy(h + 8, f->source, 16);
		memcpy(h + 24, f->destination, 16);
	} else {
		put16(h + 2, ip + inner);
		put16(h + 4, 0x1234);
		h[8] = 64;
		h[9] = f->protocol;
		memcpy(h + 12, f->source, 4);
		memcpy(h + 16, f->destination, 4);
		put16(h + 10, ~sum16(h, 20, 0) & 0xffff);
	}
	put16(t, f->sport);
	put16(t + 2, f->dport);
	if (f->protocol == P_TCP) {
		put32(t + 4, 0xfffffff0);	/* wraps */
		put32(t + 8, 77);
		t[12] = 0x50;
		t[13] = 0x19;			/* ACK PSH FIN */
		put16(t + 14, 4096);
	} else {
		put16(t + 4, inner);
	}
	for (size_t i = 0; i < n; i++)
		t[l4 + i] = (unsigned char)(i * 13 + 5);
	uint32_t sum = pseudo_sum(f, inner);
	if (!partial)
		sum = ~sum16(t, inner, sum) & 0xffff;
	put16(t + sum_at(f), partial ? sum : sum ? sum : 0xffff);
	return 14 + ip + l4 + n;
}

/* Are the checksums and lengths of a whole frame of this flow right? */
static inline void judge_ip(const unsigned char *p, size_t n, const struct flow *f)
{
	unsigned ip = ip_bytes(f);
	const unsigned char *h = p + 14;

	assert_true(n >= 14 + ip + l4_bytes(f));
	uint32_t inner = (uint32_t)(n - 14 - ip);
	if (f->v6) {
		assert_int_equal(get16(h + 4), inner);
	} else {
		assert_int_equal(get16(h + 2), n - 14);
		assert_int_equal(sum16(h, 20, 0), 0xffff);
	}
	assert_int_equal(sum16(h + ip, inner, pseudo_sum(f, inner)), 0xffff);
	if (f->protocol == P_UDP) {
		assert_int_equal(get16(h + ip + 4), inner);
		assert_int_not_equal(get16(h + ip + 6), 0);
	}
}

static const struct flow tcp4 = { false, P_TCP, { 10, 0, 0, 1 }, { 10, 0, 0, 2 }, 1000, 80 };
static const struct flow udp4 = { false, P_UDP, { 10, 0, 0, 1 }, { 10, 0, 0, 2 }, 1000, 53 };
static const struct flow tcp6 = { true, P_TCP, { 0xfe, 0x80, [15] = 1 }, { 0xfe, 0x80, [15] = 2 }, 1000, 80 };
static const struct flow udp6 = { true, P_UDP, { 0xfe, 0x80, [15] = 1 }, { 0xfe, 0x80, [15] = 2 }, 1000, 53 };

/* What a frame of a flow needs, if it is to be cut into pieces of size bytes; 0: only a checksum. */
static inline struct vio_frame wish(const struct flow *f, uint8_t gso, uint16_t size)
{
	return (struct vio_frame){ .flags = VIO_FRAME_NEEDS_CSUM, .gso = gso, .gso_size = size,
		.csum_start = (uint16_t)l4_at(f), .csum_offset = (uint16_t)sum_at(f), .header = (uint16_t)(l4_at(f) + l4_bytes(f)) };
}

static inline struct vio_net_hdr wish_header(const struct flow *f, uint8_t gso_type, uint16_t size)
{
	return (struct vio_net_hdr){ .flags = VIO_NET_HDR_F_NEEDS_CSUM, .gso_type = gso_type, .gso_size = vio_le16_of(size),
		.csum_start = vio_le16_of((uint16_t)l4_at(f)), .csum_offset = vio_le16_of((uint16_t)sum_at(f)) };
}
#endif
