/* Network driver: frames out and in (virtio 1.4, 5.1.6.2 to 5.1.6.4). */
#include <vio/driver/net.h>
#include <vio/ring/freestanding.h>

enum { TAG = 4, TCP_OFFSET = 12, UDP_HEADER = 8 };

static const struct vio_platform *platform(const struct vio_net *n) { return &n->drv.port->platform; }
static struct vio_drvq *rx_of(struct vio_net *n, uint16_t pair) { return &n->q[2 * pair]; }
static struct vio_drvq *tx_of(struct vio_net *n, uint16_t pair) { return &n->q[2 * pair + 1]; }

static bool is_tcp(uint8_t gso) { return gso == VIO_NET_HDR_GSO_TCPV4 || gso == VIO_NET_HDR_GSO_TCPV6; }

/* ---- Out ---- */

/* Bytes of headers, the transport's too; 0: the frame ends in them. */
static uint32_t header_bytes(const struct vio_net_tx *f)
{
	uint32_t n = f->csum_start + (uint32_t)UDP_HEADER;

	if (is_tcp(f->gso)) {
		if (f->csum_start + (uint32_t)TCP_OFFSET >= f->len)
			return 0;
		n = f->csum_start + (((const uint8_t *)f->data)[f->csum_start + TCP_OFFSET] >> 4) * 4u;
	}
	return n < f->len && n <= UINT16_MAX ? n : 0;
}

/* 5.1.6.2.1: what was not negotiated is not asked for. */
static bool may_segment(const struct vio_net *n, const struct vio_net_tx *f)
{
	static const struct { uint8_t gso, feature; } all[] = {
		{ VIO_NET_HDR_GSO_TCPV4, VIO_NET_F_HOST_TSO4 }, { VIO_NET_HDR_GSO_TCPV6, VIO_NET_F_HOST_TSO6 },
		{ VIO_NET_HDR_GSO_UDP, VIO_NET_F_HOST_UFO }, { VIO_NET_HDR_GSO_UDP_L4, VIO_NET_F_HOST_USO },
	};

	if (f->ecn && (!is_tcp(f->gso) || !vio_drv_has(&n->drv, VIO_NET_F_HOST_ECN)))
		return false;
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].gso == f->gso)
			return vio_drv_has(&n->drv, all[i].feature) && f->needs_csum && f->gso_size && header_bytes(f);
	return false;
}

/* 5.1.4.2 */
static bool fits_mtu(const struct vio_net *n, const struct vio_net_tx *f)
{
	const uint8_t *p = f->data;
	uint32_t room = n->mtu + (uint32_t)VIO_NET_ETH;

	if (!n->mtu)
		return true;
	if (p[2 * VIO_NET_MAC] == 0x81 && p[2 * VIO_NET_MAC + 1] == 0)
		room += TAG;
	return f->len <= room;
}

static bool is_right(const struct vio_net *n, const struct vio_net_tx *f)
{
	if (f->len < VIO_NET_ETH)
		return false;
	if (f->needs_csum && (!vio_drv_has(&n->drv, VIO_NET_F_CSUM) || f->csum_start + f->csum_offset + 2u > f->len))
		return false;
	return f->gso ? may_segment(n, f) : !f->ecn && fits_mtu(n, f);
}

/* num_buffers and all that is not asked for is zero (5.1.6.2.1). */
static void fill_header(const struct vio_net *n, struct vio_net_tx *f)
{
	f->header = (struct vio_net_hdr){ 0 };
	(void)n;
	if (f->needs_csum) {
		f->header.flags = VIO_NET_HDR_F_NEEDS_CSUM;
		f->header.csum_start = vio_le16_of(f->csum_start);
		f->header.csum_offset = vio_le16_of(f->csum_offset);
	}
	if (f->gso) {
		f->header.gso_type = (uint8_t)(f->gso | (f->ecn ? VIO_NET_HDR_GSO_ECN : 0));
		f->header.gso_size = vio_le16_of(f->gso_size);
		f->header.hdr_len = vio_le16_of((uint16_t)header_bytes(f));
	}
}

static void unmap_frame(struct vio_net *n, struct vio_net_tx *f)
{
	const struct vio_platform *pf = platform(n);

	if (f->head_buf.len)
		pf->ops->unmap(pf->arg, &f->header, n->header, VIO_TO_DEVICE, &f->head_buf, 1);
	if (f->bufs)
		pf->ops->unmap(pf->arg, f->data, f->len, VIO_TO_DEVICE, f->buf, f->bufs);
	f->head_buf.len = 0;
	f->bufs = 0;
}

static bool map_frame(struct vio_net *n, struct vio_net_tx *f)
{
	const struct vio_platform *pf = platform(n);

	f->head_buf.len = 0;
	f->bufs = (uint8_t)pf->ops->map(pf->arg, f->data, f->len, VIO_TO_DEVICE, f->buf, VIO_NET_DRV_SEGS);
	if (!f->bufs)
		return false;
	unsigned heads = pf->ops->map(pf->arg, &f->header, n->header, VIO_TO_DEVICE, &f->head_buf, 1);
	if (heads == 1 && f->head_buf.len == n->header)
		return true;
	if (!heads)
		f->head_buf.len = 0;
	unmap_frame(n, f);
	return false;
}

enum vio_net_queued vio_net_send(struct vio_net *n, uint16_t pair, struct vio_net_tx *f)
{
	struct vio_buf bufs[1 + VIO_NET_DRV_SEGS];

	if (pair >= n->used_pairs || !is_right(n, f))
		return VIO_NET_REFUSED;		/* 5.1.6.5.6.1: not on queues that the device has not been told of */
	fill_header(n, f);
	if (!map_frame(n, f))
		return VIO_NET_REFUSED;
	bufs[0] = f->head_buf;
	memcpy(bufs + 1, f->buf, f->bufs * sizeof *bufs);
	if (vio_drvq_add(tx_of(n, pair), bufs, 1u + f->bufs, 0, f))
		return VIO_NET_QUEUED;
	unmap_frame(n, f);
	return VIO_NET_NO_ROOM;
}

void vio_net_kick(struct vio_net *n, uint16_t pair)
{
	if (pair >= n->pairs)
		return;
	vio_drv_kick(&n->drv, (uint16_t)(2 * pair), rx_of(n, pair));
	vio_drv_kick(&n->drv, (uint16_t)(2 * pair + 1), tx_of(n, pair));
}

struct vio_net_tx *vio_net_sent(struct vio_net *n, uint16_t pair)
{
	struct vio_net_tx *f = vio_drvq_get(tx_of(n, pair), NULL);

	if (f)
		unmap_frame(n, f);
	return f;
}

struct vio_net_tx *vio_net_abandon(struct vio_net *n, uint16_t pair)
{
	struct vio_net_tx *f = pair < n->pairs && tx_of(n, pair)->slot ? vio_drvq_take_back(tx_of(n, pair)) : NULL;

	if (f)
		unmap_frame(n, f);
	return f;
}

/* ---- In ---- */

void vio_net_give_back(struct vio_net *n, uint16_t pair, struct vio_net_rx *first)
{
	const struct vio_platform *pf = platform(n);

	while (first) {
		struct vio_net_rx *b = first;
		first = b->next;
		b->next = NULL;
		b->bufs = (uint8_t)pf->ops->map(pf->arg, b->bytes, b->size, VIO_FROM_DEVICE, b->buf, VIO_NET_DRV_SEGS);
		b->given = b->bufs && vio_drvq_add(rx_of(n, pair), b->buf, 0, b->bufs, b);
		if (!b->given && b->bufs) {
			pf->ops->unmap(pf->arg, b->bytes, b->size, VIO_FROM_DEVICE, b->buf, b->bufs);
			b->bufs = 0;
		}
	}
}

static struct vio_net_rx *get(struct vio_net *n, uint16_t pair)
{
	const struct vio_platform *pf = platform(n);
	uint32_t used;
	struct vio_net_rx *b = vio_drvq_get(rx_of(n, pair), &used);

	if (!b)
		return NULL;
	pf->ops->unmap(pf->arg, b->bytes, b->size, VIO_FROM_DEVICE, b->buf, b->bufs);
	b->bufs = 0;
	b->given = false;
	b->next = NULL;
	b->at = 0;
	b->len = used;
	return b;
}

/* The other buffers of a frame: the device uses them together (5.1.6.4.1), so they are there.  False: they are not, or too many. */
static bool get_others(struct vio_net *n, uint16_t pair, struct vio_net_received *r, unsigned buffers)
{
	struct vio_net_rx *last = r->first;

	if (buffers == 0 || buffers > VIO_NET_DRV_MERGED)
		return false;
	while (--buffers) {
		struct vio_net_rx *b = get(n, pair);
		if (!b)
			return false;
		last->next = b;
		last = b;
		r->len += b->len;
	}
	return true;
}

static bool read_gso(const struct vio_net *n, const struct vio_net_hdr *h, struct vio_net_received *r)
{
	static const struct { uint8_t gso, feature, or_feature; } all[] = {
		{ VIO_NET_HDR_GSO_TCPV4, VIO_NET_F_GUEST_TSO4, VIO_NET_F_GUEST_TSO4 },
		{ VIO_NET_HDR_GSO_TCPV6, VIO_NET_F_GUEST_TSO6, VIO_NET_F_GUEST_TSO6 },
		{ VIO_NET_HDR_GSO_UDP, VIO_NET_F_GUEST_UFO, VIO_NET_F_GUEST_UFO },
		{ VIO_NET_HDR_GSO_UDP_L4, VIO_NET_F_GUEST_USO4, VIO_NET_F_GUEST_USO6 },
	};

	r->ecn = h->gso_type & VIO_NET_HDR_GSO_ECN;
	r->gso = (uint8_t)(h->gso_type & ~VIO_NET_HDR_GSO_ECN);
	r->gso_size = vio_le16_get(h->gso_size);
	r->header_hint = vio_le16_get(h->hdr_len);
	if (!r->gso)
		return true;
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i].gso == r->gso)
			return (vio_drv_has(&n->drv, all[i].feature) || vio_drv_has(&n->drv, all[i].or_feature)) && r->gso_size &&
			    r->needs_csum;
	return false;			/* 5.1.6.4.2: tunnels among them, which were not negotiated */
}

/* Flags that this driver does not know mean nothing to it (5.1.6.4.2). */
static bool read_header(const struct vio_net *n, const struct vio_net_hdr *h, struct vio_net_received *r)
{
	bool checks = vio_drv_has(&n->drv, VIO_NET_F_GUEST_CSUM);
	bool counts = h->flags & VIO_NET_HDR_F_RSC_INFO && vio_drv_has(&n->drv, VIO_NET_F_RSC_EXT);

	r->needs_csum = checks && h->flags & VIO_NET_HDR_F_NEEDS_CSUM;
	r->csum_valid = checks && h->flags & VIO_NET_HDR_F_DATA_VALID;
	if (counts) {			/* then the places are not told (5.1.6.4.2) */
		r->segments = vio_le16_get(h->csum_start);
		r->duplicate_acks = vio_le16_get(h->csum_offset);
	} else if (r->needs_csum) {
		r->csum_start = vio_le16_get(h->csum_start);
		r->csum_offset = vio_le16_get(h->csum_offset);
		if (r->csum_start + r->csum_offset + 2u > r->len)
			return false;
	}
	if (n->header == VIO_NET_HDR_HASH && vio_le16_get(h->hash_report) <= 9) {
		r->hash_report = vio_le16_get(h->hash_report);
		r->hash = r->hash_report ? vio_le32_get(h->hash_value) : 0;
	}
	return read_gso(n, h, r);
}

/* A frame out of buffers that have come.  False: it does not add up. */
static bool assemble(struct vio_net *n, uint16_t pair, struct vio_net_received *r)
{
	struct vio_net_hdr h = { 0 };
	struct vio_net_rx *first = r->first;

	if (first->len < n->header)
		return false;
	memcpy(&h, first->bytes, n->header);
	first->at = n->header;
	first->len -= n->header;
	r->len = first->len;
	unsigned buffers = vio_drv_has(&n->drv, VIO_NET_F_MRG_RXBUF) ? vio_le16_get(h.num_buffers) : 1;
	return get_others(n, pair, r, buffers) && r->len >= VIO_NET_ETH && read_header(n, &h, r);
}

bool vio_net_receive(struct vio_net *n, uint16_t pair, struct vio_net_received *r)
{
	for (;;) {
		*r = (struct vio_net_received){ .first = get(n, pair) };
		if (!r->first)
			return false;
		if (assemble(n, pair, r))
			return true;
		n->refused++;
		vio_net_give_back(n, pair, r->first);
	}
}
