/*
 * Hashes of frames (virtio 1.4, 5.1.6.4.3) and what of a frame they are taken over.
 *
 * The hash is Toeplitz's: for each bit of the input that is set, the 32 bits of the key that begin at that bit's place are added
 * without carry.  All sixteen sums of four neighbouring bits are kept, so that a byte of input costs two looks into a table.
 */
#include <vio/device/net_impl.h>

enum { IPV4 = 0x0800, IPV6 = 0x86dd, TEB = 0x6558 };
enum { HOPS = 0, IPIP = 4, TCP = 6, UDP = 17, IP6IP = 41, ROUTING = 43, FRAGMENT = 44, GRE = 47, NONE = 59, OPTIONS = 60 };
enum { PORT_VXLAN = 4789, PORT_VXLAN_GPE = 4790, PORT_GENEVE = 6081, PORT_GRE_UDP = 4754 };
enum { EXTENSIONS = 8 };		/* of one header that are looked at */

/* ---- Toeplitz ---- */

void vio_net_dev_hash_key(struct net_toeplitz *t, const uint8_t *key, size_t n)
{
	uint8_t all[NET_HASH_KEY + 8] = { 0 };

	memcpy(all, key, n < NET_HASH_KEY ? n : NET_HASH_KEY);
	for (unsigned i = 0; i < NET_HASH_INPUT * 2; i++) {
		uint64_t window = 0;
		for (unsigned k = 0; k < 8; k++)
			window = window << 8 | all[i / 2 + k];
		window <<= i % 2 * 4;
		for (unsigned v = 0; v < 16; v++) {
			uint32_t sum = 0;
			for (unsigned bit = 0; bit < 4; bit++)
				sum ^= v >> (3 - bit) & 1 ? (uint32_t)(window >> (32 - bit)) : 0;
			t->sum[i][v] = sum;
		}
	}
}

uint32_t vio_net_dev_toeplitz(const struct net_toeplitz *t, const uint8_t *input, size_t n)
{
	uint32_t hash = 0;

	for (size_t i = 0; i < n; i++)
		hash ^= t->sum[2 * i][input[i] >> 4] ^ t->sum[2 * i + 1][input[i] & 15];
	return hash;
}

/* ---- Reading a frame ---- */

static uint16_t be16(const uint8_t *p) { return vio_net_dev_be16(p); }

static bool has(const struct net_headers *h, size_t at, size_t n) { return at <= h->length && n <= h->length - at; }

/* A destination option 201 has the home address; a routing header of type 2 the final one (5.1.6.4.3.4). */
static void read_extension(struct net_headers *h, uint8_t type, size_t at, size_t n)
{
	const uint8_t *p = h->bytes + at;

	if (type == ROUTING && n >= 24 && p[2] == 2)
		h->final = p + 8;
	for (size_t i = 2; type == OPTIONS && i + 1 < n; i += p[i] == 0 ? 1 : 2u + p[i + 1])
		if (p[i] == 201 && p[i + 1] == 16 && i + 18 <= n)
			h->home = p + i + 2;
}

static bool read_v6(struct net_headers *h, size_t at)
{
	if (!has(h, at, 40) || h->bytes[at] >> 4 != 6)
		return false;
	h->v6 = true;
	h->source = h->bytes + at + 8;
	h->destination = h->bytes + at + 24;
	h->protocol = h->bytes[at + 6];
	at += 40;
	for (unsigned i = 0; i < EXTENSIONS; i++) {
		uint8_t type = h->protocol;
		if (type != HOPS && type != ROUTING && type != FRAGMENT && type != OPTIONS)
			break;
		if (!has(h, at, 8))
			return true;
		size_t n = type == FRAGMENT ? 8 : 8 + 8 * (size_t)h->bytes[at + 1];
		h->extended = true;
		if (!has(h, at, n))
			return true;
		h->fragment |= type == FRAGMENT && (be16(h->bytes + at + 2) & 0xfff9) != 0;
		read_extension(h, type, at, n);
		h->protocol = h->bytes[at];
		at += n;
	}
	h->transport = at;
	return true;
}

static bool read_v4(struct net_headers *h, size_t at)
{
	if (!has(h, at, 20) || h->bytes[at] >> 4 != 4 || (h->bytes[at] & 15) < 5)
		return false;
	h->v6 = false;
	h->source = h->bytes + at + 12;
	h->destination = h->bytes + at + 16;
	h->protocol = h->bytes[at + 9];
	h->fragment = be16(h->bytes + at + 6) & 0x3fff;
	h->transport = at + (h->bytes[at] & 15) * 4u;
	return true;
}

static bool read_network(struct net_headers *h, unsigned type, size_t at)
{
	h->source = h->destination = h->home = h->final = NULL;
	h->transport = 0;
	h->extended = h->fragment = h->ports = false;
	if (!(type == IPV4 ? read_v4(h, at) : type == IPV6 && read_v6(h, at)))
		return false;
	h->ports = h->transport && !h->fragment && (h->protocol == TCP || h->protocol == UDP) &&
	    has(h, h->transport, h->protocol == TCP ? 20 : 8);
	return true;
}

static bool read_ethernet(struct net_headers *h, size_t at)
{
	if (!has(h, at, VIO_NET_ETH))
		return false;
	struct vio_seg seg = { h->bytes + at, h->length - at };
	size_t n = vio_net_dev_ethernet((struct vio_cur){ .seg = &seg, .left = seg.len });
	return has(h, at, n) && read_network(h, be16(h->bytes + at + n - 2), at + n);
}

bool vio_net_dev_read(struct net_headers *h, struct vio_cur bytes)
{
	h->length = bytes.left < sizeof h->bytes ? (size_t)bytes.left : sizeof h->bytes;
	vio_cur_get(&bytes, h->bytes, h->length);
	return read_ethernet(h, 0);
}

/* ---- Which hash ---- */

/* Addresses, and ports if asked: the input of 5.1.6.4.3.2 to 4. */
static uint32_t hash_of(const struct net_toeplitz *t, const struct net_headers *h, bool ports, bool ex)
{
	uint8_t input[NET_HASH_INPUT];
	size_t n = h->v6 ? 16 : 4, at = 2 * n;

	memcpy(input, ex && h->home ? h->home : h->source, n);
	memcpy(input + n, ex && h->final ? h->final : h->destination, n);
	if (ports) {
		memcpy(input + at, h->bytes + h->transport, 4);
		at += 4;
	}
	return vio_net_dev_toeplitz(t, input, at);
}

/* The report of a type is its bit number + 1 (5.1.6.4.4). */
static uint8_t report_of(uint32_t type) { return (uint8_t)(__builtin_ctz(type) + 1); }

static uint8_t one_of(const struct net_toeplitz *t, const struct net_headers *h, uint32_t types, uint32_t tcp, uint32_t udp,
    uint32_t ip, bool ex, uint32_t *hash)
{
	uint32_t type = h->ports ? types & (h->protocol == TCP ? tcp : udp) : 0;
	bool ports = type != 0;

	if (!type)
		type = types & ip;
	if (!type)
		return 0;
	*hash = hash_of(t, h, ports, ex);
	return report_of(type);
}

static uint8_t hash_headers(const struct net_toeplitz *t, uint32_t types, const struct net_headers *h, uint32_t *hash)
{
	uint8_t report = 0;

	if (!h->v6)
		return one_of(t, h, types, VIO_NET_HASH_TCPV4, VIO_NET_HASH_UDPV4, VIO_NET_HASH_IPV4, false, hash);
	if (h->extended)
		report = one_of(t, h, types, VIO_NET_HASH_TCP_EX, VIO_NET_HASH_UDP_EX, VIO_NET_HASH_IP_EX, true, hash);
	return report ? report : one_of(t, h, types, VIO_NET_HASH_TCPV6, VIO_NET_HASH_UDPV6, VIO_NET_HASH_IPV6, false, hash);
}

/* ---- Tunnels (5.1.6.4.3.1): which one it is, and the inner headers in place of the outer ones ---- */

/* GRE's optional words (RFC 2784, 2890): checksum, key, sequence. */
static uint32_t enter_gre(struct net_headers *h, size_t at, bool over_udp)
{
	if (!has(h, at, 4) || (h->bytes[at + 1] & 7) != 0)
		return 0;
	uint8_t flags = h->bytes[at];
	unsigned type = be16(h->bytes + at + 2);
	bool keyed = flags & 0x30, v6 = h->v6;
	at += 4 + (flags & 0x80 ? 4u : 0) + (flags & 0x20 ? 4u : 0) + (flags & 0x10 ? 4u : 0);
	if (type == TEB ? !read_ethernet(h, at) : !read_network(h, type, at))
		return 0;
	if (over_udp)
		return VIO_NET_TUNNEL_GRE_UDP;
	if (type == TEB)
		return VIO_NET_TUNNEL_NVGRE;
	if (v6)
		return VIO_NET_TUNNEL_GRE_7676;
	return keyed ? VIO_NET_TUNNEL_GRE_2890 : VIO_NET_TUNNEL_GRE_2784;
}

static uint32_t enter_gpe(struct net_headers *h, size_t at)
{
	static const uint16_t types[] = { 0, IPV4, IPV6, TEB };
	uint8_t next;

	if (!has(h, at, 8) || (next = h->bytes[at + 3]) == 0 || next > 3)
		return 0;
	at += 8;
	return (next == 3 ? read_ethernet(h, at) : read_network(h, types[next], at)) ? VIO_NET_TUNNEL_VXLAN_GPE : 0;
}

static uint32_t enter_geneve(struct net_headers *h, size_t at)
{
	if (!has(h, at, 8) || h->bytes[at] >> 6)
		return 0;
	unsigned type = be16(h->bytes + at + 2);
	at += 8 + (h->bytes[at] & 63) * 4u;
	return (type == TEB ? read_ethernet(h, at) : read_network(h, type, at)) ? VIO_NET_TUNNEL_GENEVE : 0;
}

static uint32_t enter_udp(struct net_headers *h, size_t at)
{
	switch (be16(h->bytes + h->transport + 2)) {
	case PORT_VXLAN:     return has(h, at, 8) && read_ethernet(h, at + 8) ? VIO_NET_TUNNEL_VXLAN : 0;
	case PORT_VXLAN_GPE: return enter_gpe(h, at);
	case PORT_GENEVE:    return enter_geneve(h, at);
	case PORT_GRE_UDP:   return enter_gre(h, at, true);
	default:             return 0;
	}
}

/* The tunnel that h is the outer header of; h becomes the inner one.  0: none, and h may be spoilt. */
static uint32_t enter(struct net_headers *h)
{
	if (!h->transport || h->fragment)
		return 0;
	switch (h->protocol) {
	case GRE:   return enter_gre(h, h->transport, false);
	case IPIP:  return read_network(h, IPV4, h->transport) ? VIO_NET_TUNNEL_IPIP : 0;
	case IP6IP: return read_network(h, IPV6, h->transport) ? VIO_NET_TUNNEL_IPIP : 0;
	case UDP:   return h->ports ? enter_udp(h, h->transport + 8) : 0;
	default:    return 0;
	}
}

uint8_t vio_net_dev_hash(const struct net_toeplitz *t, uint32_t types, uint32_t tunnels, struct net_headers *h, uint32_t *hash)
{
	*hash = 0;
	if (tunnels) {
		struct net_headers inner = *h;	/* pointers lead into h's own bytes, which are the same */
		if (enter(&inner) & tunnels)
			return hash_headers(t, types, &inner, hash);
	}
	return hash_headers(t, types, h, hash);
}

/* ---- Flows, for automatic steering: the same number in both directions ---- */

uint32_t vio_net_dev_flow(const struct net_headers *h)
{
	uint64_t sum = h->protocol;

	for (size_t i = 0; i < (h->v6 ? 16u : 4u); i += 4) {
		uint32_t a, b;
		memcpy(&a, h->source + i, sizeof a);
		memcpy(&b, h->destination + i, sizeof b);
		sum = sum * 31 + (a ^ b) + (uint64_t)a + b;
	}
	if (h->ports)
		sum = sum * 31 + (uint64_t)be16(h->bytes + h->transport) + be16(h->bytes + h->transport + 2);
	sum *= UINT64_C(0x9e3779b97f4a7c15);
	return (uint32_t)(sum >> 32);
}
