/* What links share: see link_impl.h. */
#include <vio/host/link_impl.h>
#include <linux/virtio_net.h>
#include <string.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4	/* newer than some headers */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

static const unsigned char gso_types[] = {
	[VIO_FRAME_WHOLE] = VIRTIO_NET_HDR_GSO_NONE, [VIO_FRAME_TCP4] = VIRTIO_NET_HDR_GSO_TCPV4,
	[VIO_FRAME_TCP6] = VIRTIO_NET_HDR_GSO_TCPV6, [VIO_FRAME_UFO] = VIRTIO_NET_HDR_GSO_UDP,
	[VIO_FRAME_USO] = VIRTIO_NET_HDR_GSO_UDP_L4,
};
enum { GSO_TYPES = sizeof gso_types };

unsigned vio_link_uses(const struct vio_frame *f)
{
	static const unsigned char needs[GSO_TYPES] = {
		[VIO_FRAME_TCP4] = VIO_LINK_TSO4, [VIO_FRAME_TCP6] = VIO_LINK_TSO6, [VIO_FRAME_UFO] = VIO_LINK_UFO,
		[VIO_FRAME_USO] = VIO_LINK_USO4 | VIO_LINK_USO6,
	};
	return (f->gso < GSO_TYPES ? needs[f->gso] : VIO_LINK_ALL) | (f->gso && f->ecn ? VIO_LINK_ECN : 0u)
	    | (f->flags & VIO_FRAME_NEEDS_CSUM ? VIO_LINK_CSUM : 0u);
}

void vio_link_to_vnet(struct virtio_net_hdr *h, const struct vio_frame *f)
{
	*h = (struct virtio_net_hdr){ 0 };
	if (f->flags & VIO_FRAME_NEEDS_CSUM) {
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = f->csum_start;
		h->csum_offset = f->csum_offset;
	} else if (f->flags & VIO_FRAME_CSUM_VALID) {
		h->flags = VIRTIO_NET_HDR_F_DATA_VALID;
	}
	if (f->gso && f->gso < GSO_TYPES) {
		h->gso_type = (unsigned char)(gso_types[f->gso] | (f->ecn ? VIRTIO_NET_HDR_GSO_ECN : 0));
		h->gso_size = f->gso_size;
	}
	h->hdr_len = f->header;
}

bool vio_link_from_vnet(struct vio_frame *f, const struct virtio_net_hdr *h, size_t frame_bytes)
{
	*f = (struct vio_frame){ .header = h->hdr_len < frame_bytes ? h->hdr_len : 0 };
	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		if (h->csum_start + h->csum_offset + 2u > frame_bytes)
			return false;
		f->flags = VIO_FRAME_NEEDS_CSUM;
		f->csum_start = h->csum_start;
		f->csum_offset = h->csum_offset;
	} else if (h->flags & VIRTIO_NET_HDR_F_DATA_VALID) {
		f->flags = VIO_FRAME_CSUM_VALID;
	}
	unsigned type = h->gso_type & ~(unsigned)VIRTIO_NET_HDR_GSO_ECN;
	while (gso_types[f->gso] != type)
		if (++f->gso == GSO_TYPES)
			return false;
	if (!f->gso)
		return true;
	f->ecn = h->gso_type & VIRTIO_NET_HDR_GSO_ECN;
	f->gso_size = h->gso_size;
	return h->gso_size != 0;
}

unsigned vio_link_tun_offloads(unsigned deliver)
{
	unsigned uso = VIO_LINK_USO4 | VIO_LINK_USO6;
	/* The kernel's numbers are ours; all need CSUM, and USO is for both families or none. */
	_Static_assert(VIO_LINK_CSUM == 1 && VIO_LINK_TSO4 == 2 && VIO_LINK_TSO6 == 4 && VIO_LINK_ECN == 8
	    && VIO_LINK_UFO == 0x10 && VIO_LINK_USO4 == 0x20 && VIO_LINK_USO6 == 0x40, "TUN_F_*");
	if (!(deliver & VIO_LINK_CSUM))
		return 0;
	if (!(deliver & (VIO_LINK_TSO4 | VIO_LINK_TSO6)))
		deliver &= ~(unsigned)VIO_LINK_ECN;
	return (deliver & uso) == uso ? deliver : deliver & ~uso;
}

void vio_link_set(struct vio_link *l, bool carrier, bool cut)
{
	bool up = carrier && !cut;
	l->carrier = carrier;
	__atomic_store_n(&l->cut, cut, __ATOMIC_RELAXED);
	if (l->up == up)
		return;
	l->up = up;
	if (l->changed)
		l->changed(l->changed_arg);
}
