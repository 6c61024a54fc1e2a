/*
 * What a link or a driver can't do itself: checksums, and large frames cut into pieces.
 *
 *   | Ethernet, IP | TCP | payload ................................ |     one frame, gso_size of payload a piece
 *   | Ethernet, IP | TCP | payload |  | Ethernet, IP | TCP | payload |  ...
 *
 * The frame lies in memory that nobody else writes to: what was judged is what is cut.  Each piece has headers of its own, made in
 * a buffer of ours, and its payload where it lies.
 *
 *   TCP   sequence numbers, FIN and PSH in the last piece only, CWR in the first (RFC 3168); IPv4 ids count
 *   USO   each piece is a datagram; IPv4 ids count
 *   UFO   each piece is a fragment of one datagram, whose checksum is the whole's: IPv4 as it is, IPv6 with a fragment header
 */
#include <vio/device/net_impl.h>

enum { IPV4 = 0x0800, IPV6 = 0x86dd, TCP = 6, UDP = 17, UDP_HEADER = 8, FRAGMENT = 44, FRAGMENT_HEADER = 8 };
enum { TCP_FIN = 1, TCP_PSH = 8, TCP_CWR = 0x80 };

/* ---- One's complement sums (RFC 1071): in the byte order of the bytes, whatever the machine's is ---- */

uint64_t vio_net_dev_sum(const void *bytes, size_t n, uint64_t sum)
{
	const uint8_t *p = bytes;

	for (; n >= 16; p += 16, n -= 16) {
		uint32_t w[4];
		memcpy(w, p, sizeof w);
		sum += (uint64_t)w[0] + w[1];
		sum += (uint64_t)w[2] + w[3];
	}
	for (; n >= 2; p += 2, n -= 2) {
		uint16_t w;
		memcpy(&w, p, sizeof w);
		sum += w;
	}
	if (n) {
		uint8_t last[2] = { *p, 0 };
		uint16_t w;
		memcpy(&w, last, sizeof w);
		sum += w;
	}
	return sum;
}

uint16_t vio_net_dev_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put_be16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put_be32(uint8_t *p, uint32_t v)
{
	put_be16(p, v >> 16);
	put_be16(p + 2, v & 0xffff);
}

static uint32_t be32(const uint8_t *p) { return (uint32_t)vio_net_dev_be16(p) << 16 | vio_net_dev_be16(p + 2); }

/* A sum of nothing but zeroes is written as the other zero: to UDP the one means "none". */
static void put_sum(uint8_t *at, uint64_t sum)
{
	uint16_t v = vio_net_dev_fold(sum);

	if (!v)
		v = 0xffff;
	memcpy(at, &v, sizeof v);
}

uint16_t vio_net_dev_complete(const struct vio_frame *f, const uint8_t *bytes, size_t n)
{
	uint8_t two[2];
	uint16_t v;

	put_sum(two, vio_net_dev_sum(bytes + f->csum_start, n - f->csum_start, 0));
	memcpy(&v, two, sizeof v);
	return v;
}

/* ---- A frame to be cut ---- */

const uint8_t *vio_net_dev_whole(struct net_pair *p, struct vio_cur bytes)
{
	size_t n;
	const uint8_t *at = vio_cur_front(&bytes, &n);

	if (n == bytes.left)
		return at;
	vio_cur_get(&bytes, p->bounce, bytes.left);
	return p->bounce;
}

uint16_t vio_net_dev_header_bytes(const struct vio_frame *f, struct vio_cur bytes)
{
	uint64_t whole = bytes.left, n = f->csum_start;
	uint8_t tcp[14];

	if (n < VIO_NET_ETH || n > whole)
		return 0;
	if (f->gso == VIO_FRAME_TCP4 || f->gso == VIO_FRAME_TCP6) {
		vio_cur_skip(&bytes, n);
		if (!vio_cur_get(&bytes, tcp, sizeof tcp) || tcp[12] >> 4 < 5)
			return 0;
		n += (unsigned)(tcp[12] >> 4) * 4;
	} else {
		n += UDP_HEADER;
	}
	return n < whole && n <= UINT16_MAX ? (uint16_t)n : 0;
}

/* Where the IPv6 transport header is, and the byte that names what is there.  False: behind what nobody may cut through. */
static bool find_v6(struct net_cutter *c)
{
	unsigned at = c->network + 40, name = c->network + 6;

	for (unsigned i = 0; i < 8 && at < c->transport; i++) {
		uint8_t next = c->frame[name];
		if (next != 0 && next != 43 && next != 60)	/* hop-by-hop, routing, destination options */
			return false;
		if (at + 8 > c->transport)
			return false;
		name = at;
		at += 8 + 8u * c->frame[at + 1];
	}
	c->names = name;
	return at == c->transport;
}

static bool find_network(struct net_cutter *c, struct vio_cur bytes)
{
	unsigned at = vio_net_dev_ethernet(bytes), type;

	if (at + 20 > c->transport)
		return false;
	type = vio_net_dev_be16(c->frame + at - 2);
	c->network = at;
	c->v6 = type == IPV6;
	if (c->v6)
		return at + 40 <= c->transport && c->frame[at] >> 4 == 6 && find_v6(c);
	c->names = at + 9;
	return type == IPV4 && c->frame[at] >> 4 == 4 && at + (c->frame[at] & 15) * 4u == c->transport && (c->frame[at] & 15) >= 5;
}

/* The first piece of a fragmented datagram carries its checksum. */
static void begin_ufo(struct net_cutter *c)
{
	uint8_t udp[UDP_HEADER];

	c->header = c->transport;
	c->size &= ~7u;
	memcpy(udp, c->frame + c->transport, sizeof udp);
	put_sum(udp + 6, vio_net_dev_sum(c->frame + c->transport, c->length - c->transport, 0));
	memcpy(c->first, udp, sizeof udp);	/* the pseudo header's sum stands where the checksum goes: it is part of the sum */
}

bool vio_net_dev_cut(struct net_cutter *c, const struct vio_frame *f, const uint8_t *frame, uint32_t length)
{
	struct vio_seg seg = { (void *)(uintptr_t)frame, length };
	bool tcp = f->gso == VIO_FRAME_TCP4 || f->gso == VIO_FRAME_TCP6;
	uint32_t transport = f->csum_start, header = transport + (tcp ? 20u : (unsigned)UDP_HEADER);

	*c = (struct net_cutter){ .frame = frame, .length = length, .gso = f->gso, .size = f->gso_size, .transport = transport };
	if (header > length || !find_network(c, (struct vio_cur){ .seg = &seg, .left = length }))
		return false;
	if (frame[c->names] != (tcp ? TCP : UDP) || (f->gso == VIO_FRAME_TCP4 && c->v6) || (f->gso == VIO_FRAME_TCP6 && !c->v6))
		return false;
	if (tcp)
		header = transport + (frame[transport + 12] >> 4) * 4u;
	if (header < transport + (tcp ? 20u : (unsigned)UDP_HEADER) || header >= length || header > NET_HEADERS - FRAGMENT_HEADER)
		return false;
	c->header = header;
	if (f->gso == VIO_FRAME_UFO)
		begin_ufo(c);
	c->at = c->header;
	uint32_t payload = length - c->header, piece = payload < c->size ? payload : c->size;
	return c->size && (payload + c->size - 1) / c->size <= NET_PIECES &&
	    piece + c->header - c->network <= UINT16_MAX - FRAGMENT_HEADER;
}

/* ---- Its pieces ---- */

static uint64_t pseudo(const struct net_cutter *c, const uint8_t *head, uint8_t protocol, uint32_t bytes)
{
	uint8_t tail[4] = { 0, protocol, (uint8_t)(bytes >> 8), (uint8_t)bytes };
	uint64_t sum = vio_net_dev_sum(tail, sizeof tail, 0);

	return c->v6 ? vio_net_dev_sum(head + c->network + 8, 32, sum) : vio_net_dev_sum(head + c->network + 12, 8, sum);
}

static void finish_ip(const struct net_cutter *c, uint8_t *head, uint32_t bytes, unsigned id, unsigned fragment)
{
	uint8_t *ip = head + c->network;
	unsigned n = c->transport - c->network;

	if (c->v6) {
		put_be16(ip + 4, bytes + n - 40);
		return;
	}
	put_be16(ip + 2, bytes + n);
	put_be16(ip + 4, vio_net_dev_be16(ip + 4) + id);
	if (c->gso == VIO_FRAME_UFO)
		put_be16(ip + 6, fragment);
	put_be16(ip + 10, 0);
	uint16_t sum = vio_net_dev_fold(vio_net_dev_sum(ip, n, 0));
	memcpy(ip + 10, &sum, sizeof sum);
}

static void finish_tcp(const struct net_cutter *c, uint8_t *head, uint32_t n, bool last)
{
	uint8_t *tcp = head + c->transport;
	uint32_t bytes = c->header - c->transport + n;

	put_be32(tcp + 4, be32(tcp + 4) + (c->at - c->header));
	if (!last)
		tcp[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
	if (c->at > c->header)
		tcp[13] &= (uint8_t)~TCP_CWR;
	put_be16(tcp + 16, 0);
	uint64_t sum = vio_net_dev_sum(tcp, c->header - c->transport, pseudo(c, head, TCP, bytes));
	put_sum(tcp + 16, vio_net_dev_sum(c->frame + c->at, n, sum));
	finish_ip(c, head, bytes, c->pieces, 0);
}

static void finish_uso(const struct net_cutter *c, uint8_t *head, uint32_t n)
{
	uint8_t *udp = head + c->transport;
	uint32_t bytes = UDP_HEADER + n;

	put_be16(udp + 4, bytes);
	put_be16(udp + 6, 0);
	uint64_t sum = vio_net_dev_sum(udp, UDP_HEADER, pseudo(c, head, UDP, bytes));
	put_sum(udp + 6, vio_net_dev_sum(c->frame + c->at, n, sum));
	finish_ip(c, head, bytes, c->pieces, 0);
}

/* Bytes added to the headers. */
static unsigned finish_fragment(struct net_cutter *c, uint8_t *head, uint32_t n, bool last)
{
	uint32_t offset = c->at - c->header;
	unsigned added = c->v6 ? FRAGMENT_HEADER : 0;

	finish_ip(c, head, n + added, 0, offset / 8 | (last ? 0 : 0x2000));
	if (c->v6) {
		uint8_t *at = head + c->header;
		at[0] = UDP;
		at[1] = 0;
		put_be16(at + 2, offset | !last);
		put_be32(at + 4, c->id);
		head[c->names] = FRAGMENT;
	}
	if (offset == 0) {	/* the UDP header, with the checksum, is in the first one */
		memcpy(head + c->header + added, c->first, UDP_HEADER);
		added += UDP_HEADER;
	}
	return added;
}

bool vio_net_dev_piece(struct net_cutter *c, struct net_piece *p)
{
	uint32_t left = c->length - c->at, n = left < c->size ? left : c->size;
	bool last = n == left;

	if (!left)
		return false;
	memcpy(p->head, c->frame, c->header);
	p->seg[0] = (struct vio_seg){ p->head, c->header };
	p->seg[1] = (struct vio_seg){ (void *)(uintptr_t)(c->frame + c->at), n };
	if (c->gso == VIO_FRAME_UFO) {
		bool first = c->at == c->header;
		p->seg[0].len += finish_fragment(c, p->head, n, last);
		if (first) {
			p->seg[1].base = (uint8_t *)p->seg[1].base + UDP_HEADER;
			p->seg[1].len -= UDP_HEADER;
		}
	} else if (c->gso == VIO_FRAME_USO) {
		finish_uso(c, p->head, n);
	} else {
		finish_tcp(c, p->head, n, last);
	}
	c->at += n;
	c->pieces++;
	p->cur = (struct vio_cur){ .seg = p->seg, .left = p->seg[0].len + p->seg[1].len };
	return true;
}
