/*
 * Frames for the driver (virtio 1.4, 5.1.6.4).
 *
 * The lane offers a frame; it is put into one buffer or, mergeable, into as many as it takes, or refused until the driver has
 * given more.  Nothing is kept here: what waits, waits in the link.
 */
#include <vio/device/net_impl.h>

/* ---- Into the driver's buffers ---- */

static void copy(struct vio_cur *to, struct vio_cur from)
{
	while (from.left) {
		size_t n;
		const void *at = vio_cur_front(&from, &n);
		vio_cur_put(to, at, n);
		vio_cur_skip(&from, n);
	}
}

static void count(struct net_pair *p, const struct vio_cur *bytes)
{
	p->counts.rx_frames++;
	p->counts.rx_bytes += bytes->left;
}

/* A frame that will never find room, or that nobody may have. */
static bool lose(struct net_pair *p)
{
	p->counts.rx_dropped++;
	return true;
}

static struct net_buffer *buffer_of(struct vio_chain *c) { return (struct net_buffer *)c; }

/* The buffers behind and before last go back to where they were popped from, in the opposite order. */
static void give_back(struct vio_devq *q, struct net_buffer *last)
{
	while (last) {
		struct net_buffer *before = last->before;
		vio_devq_unpop(q, &last->chain);
		last = before;
	}
}

/* Fill all buffers but the last one to the brim (5.1.6.4.1); the driver sees them together. */
static void fill(struct net_pair *p, struct net_buffer *b, struct vio_net_hdr *h, uint16_t buffers, struct vio_cur bytes)
{
	struct vio_devq *q = p->rx;

	h->num_buffers = vio_le16_of(buffers);
	vio_cur_put(&b->chain.w, h, p->n->header);
	vio_devq_together(q, true);
	while (b) {
		struct net_buffer *after = b->after;
		struct vio_cur part = bytes;
		if (part.left > b->chain.w.left)
			part.left = b->chain.w.left;
		copy(&b->chain.w, part);
		vio_cur_skip(&bytes, part.left);
		vio_dev_push(q, &b->chain);
		b = after;
	}
	vio_devq_together(q, false);
}

/* Into several buffers, of which first is popped.  A frame once begun is finished, whatever the turn's budget. */
static bool spread(struct net_pair *p, struct vio_chain *c, struct vio_net_hdr *h, struct vio_cur bytes)
{
	struct vio_devq *q = p->rx;
	struct net_buffer *first = buffer_of(c), *last = first;
	uint64_t room = c->w.left, all = p->n->header + bytes.left;
	uint32_t buffers = 1;

	first->before = first->after = NULL;
	if (!p->n->mergeable) {
		vio_devq_unpop(q, c);
		p->counts.rx_overruns++;
		return lose(p);		/* 5.1.6.4.1: it must be one buffer, and this one is too small */
	}
	for (; room < all && buffers < UINT16_MAX; buffers++) {
		if (q->turn == 0)
			q->turn = 1;
		struct vio_chain *next = vio_devq_pop(q);
		if (!next)
			break;
		last->after = buffer_of(next);
		last->after->before = last;
		last = last->after;
		last->after = NULL;
		room += next->w.left;
	}
	if (room >= all) {
		fill(p, first, h, (uint16_t)buffers, bytes);
		return true;
	}
	/* The driver may give more, unless this is all that it can. */
	bool never = q->inflight == q->place.size || q->why_empty == VIO_WAIT_SEGMENTS || buffers == UINT16_MAX;
	give_back(q, last);
	if (!never)
		return false;
	p->counts.rx_overruns++;
	return lose(p);
}

/* The next buffer that a header fits into.  Others are malformed (5.1.6.3.2): they go back as they came. */
static struct vio_chain *next_buffer(struct net_pair *p)
{
	struct vio_devq *q = p->rx;
	struct vio_chain *c;

	while ((c = vio_devq_pop(q)) && __builtin_expect(c->w.left < p->n->header, 0)) {
		vio_dev_refused(q);
		vio_dev_push(q, c);
	}
	return c;
}

/* False: there is no room now. */
static bool put(struct net_pair *p, struct vio_net_hdr *h, struct vio_cur bytes)
{
	struct vio_devq *q = p->rx;
	uint32_t header = p->n->header;
	uint64_t all = header + bytes.left;
	struct vio_chain *c = next_buffer(p);

	if (!c)
		return false;
	if (__builtin_expect(c->w.left < all, 0)) {
		if (!spread(p, c, h, bytes))
			return false;
	} else {
		vio_cur_put(&c->w, h, header);
		copy(&c->w, bytes);
		vio_dev_push(q, c);
	}
	count(p, &bytes);
	return true;
}

/*
 * What most frames are: in one piece, whole, into one buffer of one piece.  The header goes out as two numbers: bytes and halves that
 * are put together in memory would be waited for.
 */
static bool put_plain(struct net_pair *p, uint8_t flags, const void *from, size_t n)
{
	const uint64_t low = VIO_LE_SWAP(64, (uint64_t)flags);		/* flags, gso_type, hdr_len, gso_size, csum_start */
	const uint32_t high = VIO_LE_SWAP(32, UINT32_C(1) << 16);	/* csum_offset, num_buffers */
	struct vio_chain *c = next_buffer(p);

	if (!c)
		return false;
	const struct vio_seg *s = c->w.seg;
	uint8_t *to = s->base;
	if (__builtin_expect(s->len < VIO_NET_HDR_PLAIN + n, 0)) {
		struct vio_net_hdr h = { .flags = flags, .num_buffers = vio_le16_of(1) };
		struct vio_seg whole = { (void *)(uintptr_t)from, n };
		vio_devq_unpop(p->rx, c);
		return put(p, &h, vio_cur_new(&whole, 0, n));
	}
	memcpy(to, &low, sizeof low);
	memcpy(to + sizeof low, &high, sizeof high);
	memcpy(to + VIO_NET_HDR_PLAIN, from, n);
	c->w.done = VIO_NET_HDR_PLAIN + n;
	vio_dev_push(p->rx, c);
	p->counts.rx_frames++;
	p->counts.rx_bytes += n;
	return true;
}

/* ---- As the driver can take it ---- */

/* 5.1.6.4: how many segments a frame is made of that was coalesced. */
static uint32_t segments(const struct vio_frame *f, const struct vio_cur *bytes)
{
	uint32_t header = f->header ? f->header : f->csum_start + 20u;

	return bytes->left > header ? (uint32_t)((bytes->left - header + f->gso_size - 1) / f->gso_size) : 1;
}

static void put_gso(const struct net_pair *p, struct vio_net_hdr *h, const struct vio_frame *f, struct vio_cur bytes)
{
	static const uint8_t types[] = {
		[VIO_FRAME_WHOLE] = VIO_NET_HDR_GSO_NONE, [VIO_FRAME_TCP4] = VIO_NET_HDR_GSO_TCPV4,
		[VIO_FRAME_TCP6] = VIO_NET_HDR_GSO_TCPV6, [VIO_FRAME_UFO] = VIO_NET_HDR_GSO_UDP,
		[VIO_FRAME_USO] = VIO_NET_HDR_GSO_UDP_L4,
	};
	bool tcp = f->gso == VIO_FRAME_TCP4 || f->gso == VIO_FRAME_TCP6;

	h->gso_type = (uint8_t)(types[f->gso] | (f->ecn ? VIO_NET_HDR_GSO_ECN : 0));
	h->gso_size = vio_le16_of(f->gso_size);
	h->hdr_len = vio_le16_of(vio_net_dev_header_bytes(f, bytes));
	if (tcp && vio_net_dev_has(p->n, VIO_NET_F_RSC_EXT)) {
		uint32_t count = segments(f, &bytes);
		h->flags |= VIO_NET_HDR_F_RSC_INFO;
		h->csum_start = vio_le16_of((uint16_t)(count < UINT16_MAX ? count : UINT16_MAX));
		h->csum_offset = vio_le16_of(0);	/* no duplicated acknowledgements are left out here */
	}
}

/* What the frame still needs, as the driver is told it (5.1.6.4.1). */
static struct vio_net_hdr header_of(struct net_pair *p, const struct vio_frame *f, const struct net_hashed *hashed,
    struct vio_cur bytes)
{
	struct vio_net_hdr h = { .num_buffers = vio_le16_of(1), .hash_value = vio_le32_of(hashed->value),
		.hash_report = vio_le16_of(hashed->report) };

	if (f->flags & VIO_FRAME_NEEDS_CSUM) {
		h.flags = VIO_NET_HDR_F_NEEDS_CSUM;
		h.csum_start = vio_le16_of(f->csum_start);
		h.csum_offset = vio_le16_of(f->csum_offset);
	} else if (f->flags & VIO_FRAME_CSUM_VALID && p->lets & VIO_LINK_CSUM) {
		h.flags = VIO_NET_HDR_F_DATA_VALID;
	}
	if (f->gso)
		put_gso(p, &h, f, bytes);
	return h;
}

/* 5.1.4.1: a whole frame is no longer than the MTU that the driver was told. */
static bool too_long(const struct net_pair *p, const struct vio_frame *f, struct vio_cur bytes)
{
	return !f->gso && bytes.left > p->n->rx_max &&
	    bytes.left > p->n->rx_max - VIO_NET_ETH + vio_net_dev_ethernet(bytes);
}

static bool place_as_is(struct net_pair *p, const struct vio_frame *f, struct vio_cur bytes, const struct net_hashed *hashed)
{
	if (too_long(p, f, bytes))
		return lose(p);
	struct vio_net_hdr h = header_of(p, f, hashed, bytes);
	if (!put(p, &h, bytes))
		return false;
	p->more.rx_needs_csum += h.flags & VIO_NET_HDR_F_NEEDS_CSUM ? 1 : 0;
	p->more.rx_csum_valid += h.flags & VIO_NET_HDR_F_DATA_VALID ? 1 : 0;
	p->counts.rx_gso += f->gso != VIO_FRAME_WHOLE;
	p->more.rx_gso_bytes += f->gso ? bytes.left : 0;
	return true;
}

static const struct vio_frame finished = { .flags = VIO_FRAME_CSUM_VALID };

static bool place_pieces(struct net_pair *p, const struct vio_frame *f, struct vio_cur bytes, const struct net_hashed *hashed,
    unsigned *placed)
{
	struct net_cutter c;
	struct net_piece piece;

	if (!vio_net_dev_cut(&c, f, vio_net_dev_whole(p, bytes), (uint32_t)bytes.left))
		return lose(p);
	c.id = p->id + 1;
	for (unsigned i = 0; vio_net_dev_piece(&c, &piece); i++) {
		if (i < *placed)
			continue;
		if (!place_as_is(p, &finished, piece.cur, hashed)) {
			*placed = i;
			return false;
		}
	}
	*placed = 0;
	p->id++;
	return true;
}

/* The frame as it lies there, but for the two bytes of the checksum. */
static bool place_summed(struct net_pair *p, const struct vio_frame *f, struct vio_cur bytes, const struct net_hashed *hashed)
{
	uint8_t *at = (uint8_t *)(uintptr_t)vio_net_dev_whole(p, bytes);
	uint16_t sum = vio_net_dev_complete(f, at, (size_t)bytes.left);
	uint32_t before = (uint32_t)f->csum_start + f->csum_offset, after = before + (uint32_t)sizeof sum;
	struct vio_seg seg[3] = { { at, before }, { &sum, sizeof sum }, { at + after, (size_t)bytes.left - after } };

	return place_as_is(p, &finished, (struct vio_cur){ .seg = seg + (before == 0), .left = bytes.left }, hashed);
}

/* Segmentation over UDP is negotiated by family. */
static unsigned needs_of_driver(const struct vio_frame *f, struct vio_cur bytes)
{
	enum { ETHERTYPE_IPV6 = 0x86dd };
	unsigned all = vio_net_dev_needs(f);
	uint8_t type[2] = { 0 };

	if (f->gso != VIO_FRAME_USO)
		return all;
	vio_cur_skip(&bytes, vio_net_dev_ethernet(bytes) - 2);
	vio_cur_get(&bytes, type, sizeof type);
	return all & ~(unsigned)(vio_net_dev_be16(type) == ETHERTYPE_IPV6 ? VIO_LINK_USO4 : VIO_LINK_USO6);
}

bool vio_net_dev_place(struct net_pair *p, const struct vio_frame *f, struct vio_cur bytes, const struct net_hashed *hashed,
    unsigned *placed)
{
	unsigned left_over = vio_net_dev_needs(f) ? needs_of_driver(f, bytes) & ~p->lets : 0;

	if (p->rx->turn == 0)
		p->rx->turn = 1;	/* another pair's turn: what it may spend is limited there */
	if (!left_over)
		return place_as_is(p, f, bytes, hashed);
	return f->gso ? place_pieces(p, f, bytes, hashed, placed) : place_summed(p, f, bytes, hashed);
}

/* ---- From the lane ---- */

/* Is it a frame, and does the link say what can be true of it? */
static bool makes_sense(const struct vio_frame *f, const struct vio_cur *bytes)
{
	if (bytes->left < VIO_NET_ETH || bytes->left > VIO_FRAME_MAX || f->gso > VIO_FRAME_USO)
		return false;
	if (!(f->flags & VIO_FRAME_NEEDS_CSUM))
		return !f->gso;
	return f->csum_start + f->csum_offset + 2u <= bytes->left && (!f->gso || f->gso_size);
}

static bool deliver(struct net_pair *p, const struct vio_frame *f, struct vio_cur bytes)
{
	struct net_hashed hashed;

	if (!makes_sense(f, &bytes))
		return lose(p);
	if (p->rules->filters && !vio_net_dev_wanted(p->n, p->rules, bytes)) {
		p->counts.rx_filtered++;
		return true;
	}
	struct net_pair *to = vio_net_dev_steer(p, bytes, &hashed);
	if (!to)
		return lose(p);
	return to == p ? vio_net_dev_place(p, f, bytes, &hashed, &p->placed) : vio_net_dev_pass(p, to, f, bytes, &hashed);
}

bool vio_net_dev_deliver(void *arg, const struct vio_frame *f, struct vio_cur bytes)
{
	struct net_pair *p = arg;
	bool plain = p->plain && !f->gso && !(f->flags & VIO_FRAME_NEEDS_CSUM) && bytes.left <= p->n->rx_max &&
	    bytes.left >= VIO_NET_ETH && bytes.left <= bytes.seg->len - bytes.at && vio_net_dev_runs(p->rx);
	bool taken;

	if (__builtin_expect(plain, 1)) {
		bool valid = f->flags & VIO_FRAME_CSUM_VALID && p->lets & VIO_LINK_CSUM;
		taken = put_plain(p, valid ? VIO_NET_HDR_F_DATA_VALID : 0, (const uint8_t *)bytes.seg->base + bytes.at, (size_t)bytes.left);
		p->more.rx_csum_valid += valid && taken;
	} else {
		taken = deliver(p, f, bytes);
	}
	p->full |= !taken;
	return taken;
}

void vio_net_dev_receive(struct net_pair *p, struct vio_devq *q)
{
	uint64_t before = p->counts.rx_bytes;
	bool more = false;

	vio_net_dev_refresh(p);
	p->turn = q;
	p->full = p->parcel_waits = false;
	for (unsigned asked = 0; p->on && !p->full && asked < VIO_DEV_TURN; asked += NET_TURN_FRAMES) {
		more = p->lane->ops->receive(p->lane, NET_TURN_FRAMES) == NET_TURN_FRAMES;
		if (!more || p->counts.rx_bytes - before >= NET_TURN_BYTES)
			break;
	}
	if (p->full && !p->parcel_waits)
		return;			/* pop has said what is waited for */
	if (more)
		vio_dev_wake(q);	/* others first */
	if (q == p->rx)
		q->why_empty = VIO_WAIT_DEVICE;	/* for frames: buffers need not be announced meanwhile */
}
