/*
 * What links share: which frames may be delivered, frames in the kernel's words (struct virtio_net_hdr of taps and packet
 * sockets), and bytes in pieces or in one.
 */
#ifndef VIO_HOST_LINK_IMPL_H
#define VIO_HOST_LINK_IMPL_H
#include <vio/host/link.h>
VIO_BEGIN_DECLS

struct virtio_net_hdr;		/* <linux/virtio_net.h>, which C++ can't read */

/* The VIO_LINK_* offloads that a frame makes use of. */
unsigned vio_link_uses(const struct vio_frame *f);

/* To and from the header that stands before a frame; its numbers are in host order.  False: no such frame. */
void vio_link_to_vnet(struct virtio_net_hdr *h, const struct vio_frame *f);
bool vio_link_from_vnet(struct vio_frame *f, const struct virtio_net_hdr *h, size_t frame_bytes);

/* In a lane's thread.  What is sent to a link that is cut is lost, and what comes is thrown away; a carrier speaks for itself. */
static inline bool vio_link_is_cut(const struct vio_link *l) { return __atomic_load_n(&l->cut, __ATOMIC_RELAXED); }

/* Offer a frame to the lane's user, or lose it.  False: the user has no room. */
static inline bool vio_link_deliver(const struct vio_link *l, struct vio_link_lane *lane, const struct vio_frame *f, struct vio_cur bytes)
{
	return vio_link_is_cut(l) || lane->deliver(lane->arg, f, bytes);
}

/* TUN_F_* for what may be delivered. */
unsigned vio_link_tun_offloads(unsigned deliver);
VIO_END_DECLS
#endif
