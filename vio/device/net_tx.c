/*
 * Frames from the driver (virtio 1.4, 5.1.6.2).
 *
 * A header is copied before it is judged.  Of an ordinary frame two bytes of it are looked at: flags and gso_type, which say that
 * nothing else in it means anything (5.1.6.2.2).  hdr_len is never believed.
 */
#include <vio/device/net_impl.h>

static bool malformed(struct net_pair *p, struct vio_devq *q)
{
	vio_dev_refused(q);
	p->counts.tx_malformed++;
	return true;
}

/* ---- What the driver asks for ---- */

static bool read_gso(const struct net *n, const struct vio_net_hdr *h, struct vio_frame *f)
{
	static const struct { uint8_t type, feature, gso; } types[] = {
		{ VIO_NET_HDR_GSO_TCPV4, VIO_NET_F_HOST_TSO4, VIO_FRAME_TCP4 },
		{ VIO_NET_HDR_GSO_TCPV6, VIO_NET_F_HOST_TSO6, VIO_FRAME_TCP6 },
		{ VIO_NET_HDR_GSO_UDP, VIO_NET_F_HOST_UFO, VIO_FRAME_UFO },
		{ VIO_NET_HDR_GSO_UDP_L4, VIO_NET_F_HOST_USO, VIO_FRAME_USO },
	};
	bool ecn = h->gso_type & VIO_NET_HDR_GSO_ECN;
	unsigned type = h->gso_type & ~(unsigned)VIO_NET_HDR_GSO_ECN, i;

	if (type == VIO_NET_HDR_GSO_NONE)
		return true;		/* ECN means nothing without segmentation */
	for (i = 0; i < sizeof types / sizeof *types && types[i].type != type; i++)
		;
	if (i == sizeof types / sizeof *types || !vio_net_dev_has(n, types[i].feature))
		return false;
	if (ecn && (!vio_net_dev_has(n, VIO_NET_F_HOST_ECN) || (type != VIO_NET_HDR_GSO_TCPV4 && type != VIO_NET_HDR_GSO_TCPV6)))
		return false;
	f->gso = types[i].gso;
	f->ecn = ecn;
	f->gso_size = vio_le16_get(h->gso_size);
	return f->gso_size && f->flags & VIO_FRAME_NEEDS_CSUM;
}

/* What the header asks for, as a link understands it.  False: it is malformed, or asks for what was not negotiated. */
static bool read_header(const struct net *n, const struct vio_net_hdr *h, struct vio_cur bytes, struct vio_frame *f)
{
	if (h->flags & VIO_NET_HDR_F_UDP_TUNNEL_CSUM)
		return false;		/* 5.1.6.2.2: not without a tunnel, which gso_type would have to name */
	if (h->flags & VIO_NET_HDR_F_NEEDS_CSUM) {
		uint32_t start = vio_le16_get(h->csum_start), offset = vio_le16_get(h->csum_offset);
		if (!vio_net_dev_has(n, VIO_NET_F_CSUM) || start + offset + 2 > bytes.left)
			return false;
		f->flags = VIO_FRAME_NEEDS_CSUM;
		f->csum_start = (uint16_t)start;
		f->csum_offset = (uint16_t)offset;
	}
	if (!read_gso(n, h, f))
		return false;
	if (f->gso)
		f->header = vio_net_dev_header_bytes(f, bytes);
	return !f->gso || f->header;
}

/* ---- To the link ---- */

static void count(struct net_pair *p, const struct vio_frame *f, const struct vio_cur *bytes)
{
	p->counts.tx_frames++;
	p->counts.tx_bytes += bytes->left;
	if (__builtin_expect(!f->flags, 1))
		return;
	p->more.tx_needs_csum++;
	if (!f->gso)
		return;
	p->counts.tx_gso++;
	p->more.tx_gso_bytes += bytes->left;
}

/* False: the link has no room now. */
static bool send(struct net_pair *p, const struct vio_frame *f, struct vio_cur bytes)
{
	enum vio_sent sent = p->lane->ops->send(p->lane, f, bytes);

	if (__builtin_expect(sent == VIO_SENT, 1)) {
		count(p, f, &bytes);
		return true;
	}
	p->counts.tx_dropped += sent == VIO_SENT_DROPPED;
	return sent == VIO_SENT_DROPPED;
}

/* A large frame for a link that takes none: piece by piece; what is through already is remembered while the link is full. */
static bool send_pieces(struct net_pair *p, struct vio_devq *q, const struct vio_frame *f, struct vio_cur bytes)
{
	static const struct vio_frame whole = { .flags = VIO_FRAME_CSUM_VALID };
	struct net_cutter c;
	struct net_piece piece;
	unsigned i;

	if (!vio_net_dev_cut(&c, f, p->bounce, (uint32_t)bytes.left))
		return malformed(p, q);
	c.id = p->id + 1;
	for (i = 0; vio_net_dev_piece(&c, &piece); i++) {
		if (i < p->sent)
			continue;
		enum vio_sent sent = p->lane->ops->send(p->lane, &whole, piece.cur);
		if (sent == VIO_SENT_NO_ROOM) {
			p->sent = i;
			return false;
		}
		p->counts.tx_segments++;
		p->more.tx_segment_bytes += piece.cur.left;
		p->counts.tx_dropped += sent == VIO_SENT_DROPPED;
	}
	p->sent = 0;
	p->id++;
	p->more.tx_cut++;
	p->more.tx_cut_bytes += bytes.left;
	count(p, f, &bytes);
	return true;
}

/* What the link does not do is done here, on a copy that the driver can't reach. */
static bool send_worked(struct net_pair *p, struct vio_devq *q, const struct vio_frame *f, struct vio_cur bytes)
{
	struct vio_seg seg = { p->bounce, (size_t)bytes.left };
	struct vio_cur copy = { .seg = &seg, .left = bytes.left };
	struct vio_frame done = { .flags = VIO_FRAME_CSUM_VALID };

	vio_cur_get(&bytes, p->bounce, bytes.left);
	if (f->gso)
		return send_pieces(p, q, f, copy);
	uint16_t sum = vio_net_dev_complete(f, p->bounce, seg.len);
	memcpy(p->bounce + f->csum_start + f->csum_offset, &sum, sizeof sum);
	return send(p, &done, copy);
}

/* A frame whose header says something, or lies in pieces. */
static bool send_asked(struct net_pair *p, struct vio_devq *q, struct vio_cur bytes)
{
	struct vio_frame f = { 0 };
	struct vio_net_hdr h = { 0 };

	vio_cur_get(&bytes, &h, p->n->header);
	bytes.done = 0;
	if (!read_header(p->n, &h, bytes, &f))
		return malformed(p, q);
	if (p->learns)
		vio_net_dev_learn(p, bytes);
	if (vio_net_dev_needs(&f) & ~p->n->link->takes)
		return send_worked(p, q, &f, bytes);
	return send(p, &f, bytes);
}

/* False: there is no room on the link. */
static bool take(struct net_pair *p, struct vio_devq *q, const struct vio_chain *c)
{
	if (c->r_total < p->n->header + (uint64_t)VIO_NET_ETH || c->r_total > p->n->header + (uint64_t)VIO_FRAME_MAX)
		return malformed(p, q);
	return send_asked(p, q, c->r);
}

static uint8_t byte_of(const void *base, size_t at) { return __atomic_load_n((const uint8_t *)base + at, __ATOMIC_RELAXED); }

/* Is it what most frames are: whole, asking for nothing, its header in front of it?  Each byte is read once. */
static inline bool is_ordinary(const struct vio_chain *c, uint64_t header)
{
	const struct vio_seg *s = c->seg;

	return s->len > header && c->r_total - header - VIO_NET_ETH <= VIO_FRAME_MAX - VIO_NET_ETH && c->r_total > header &&
	    !byte_of(s->base, offsetof(struct vio_net_hdr, flags)) && !byte_of(s->base, offsetof(struct vio_net_hdr, gso_type));
}

void vio_net_dev_discard(struct net_pair *p, struct vio_devq *q)
{
	struct vio_chain *c;

	while ((c = vio_devq_pop(q))) {
		p->counts.tx_dropped++;
		vio_dev_push(q, c);
	}
}

/* Frames until there are no more, the link is full, or others have to have their turn. */
static void send_all(struct net_pair *p, struct vio_devq *q)
{
	static const struct vio_frame whole;
	enum vio_sent (*const send_one)(struct vio_link_lane *, const struct vio_frame *, struct vio_cur) = p->lane->ops->send;
	const uint64_t header = p->n->header;
	uint64_t frames = 0, bytes = 0, moved = 0;
	struct vio_chain *c;

	while ((c = vio_devq_pop(q))) {
		moved += c->r_total;
		if (__builtin_expect(is_ordinary(c, header) && !p->learns, 1)) {
			struct vio_cur cur = { .seg = c->seg, .at = header, .left = c->r_total - header };
			enum vio_sent sent = send_one(p->lane, &whole, cur);
			if (__builtin_expect(sent == VIO_SENT_NO_ROOM, 0))
				break;
			frames += sent == VIO_SENT;
			bytes += sent == VIO_SENT ? cur.left : 0;
			p->counts.tx_dropped += sent == VIO_SENT_DROPPED;
		} else if (!take(p, q, c)) {
			break;
		}
		vio_dev_push(q, c);
		if (moved >= NET_TURN_BYTES)
			vio_devq_yield(q);
	}
	p->counts.tx_frames += frames;
	p->counts.tx_bytes += bytes;
	if (!c)
		return;
	vio_devq_unpop(q, c);
	q->why_empty = VIO_WAIT_DEVICE;
	p->tx_waits = true;
}

void vio_net_dev_transmit(struct net_pair *p, struct vio_devq *q)
{
	vio_net_dev_refresh(p);
	if (!p->on) {
		vio_net_dev_discard(p, q);	/* 5.1.6.5.6: a pair that is not used */
		return;
	}
	send_all(p, q);
	if (p->lane->ops->flush)
		p->lane->ops->flush(p->lane);
	if (!vio_net_dev_runs(p->rx))
		vio_net_dev_receive(p, q);
}
