/* Network device (virtio 1.4, section 5.1): options, and what its host may do while it runs.  The type is vio_dev_net. */
#ifndef VIO_DEVICE_NET_H
#define VIO_DEVICE_NET_H
#include <vio/backend/link.h>
#include <vio/device/dev.h>
#include <vio/spec/net.h>
VIO_BEGIN_DECLS

enum {
	VIO_NET_DEV_PAIRS = (VIO_DEV_QUEUES - 1) / 2,	/* of queues, at most; the control queue is one more */
	VIO_NET_DEV_MACS = 256,		/* entries of the filter table, at most */
	VIO_NET_DEV_RSS_TABLE = 512,	/* entries of an indirection table, at most */
	VIO_NET_DEV_CONTEXTS = 8	/* RSS contexts, at most */
};

struct vio_net_options {
	struct vio_link *link;		/* the caller's; must outlive the device */
	uint16_t pairs;			/* of a receive and a transmit queue: 1 to VIO_NET_DEV_PAIRS and link->lanes */
	uint16_t queue_size;		/* 0: 1024 */
	bool has_mac;
	uint8_t mac[VIO_NET_MAC];	/* a link that gives one goes first */
	uint16_t mtu;			/* 68 to 65535; 0: the link's, or none is told */
	uint32_t speed;			/* Mb/s; 0: the link's */
	uint8_t duplex;			/* VIO_NET_DUPLEX_*, with speed */
	uint16_t rss_table;		/* a power of two, 128 to VIO_NET_DEV_RSS_TABLE; 0: 128 */
	uint16_t rss_contexts;		/* 1 to VIO_NET_DEV_CONTEXTS; 0: all of them */
	bool coalesced;			/* offer RSC_EXT: a driver that takes it gets counts in place of checksum places */
	struct vio_features without;	/* VIO_NET_F_*: not offered, nor what needs them */
};
extern const struct vio_dev_type vio_dev_net;

/* Ask the driver to announce itself on its network (5.1.6.5.4).  Home thread.  False: it did not take GUEST_ANNOUNCE. */
bool vio_net_dev_announce(struct vio_dev *d);

/* One pair's counters, for the operator; from any thread. */
struct vio_net_dev_counts {
	uint64_t rx_frames, rx_bytes, rx_dropped, rx_filtered, rx_overruns, rx_gso;
	uint64_t tx_frames, tx_bytes, tx_dropped, tx_malformed, tx_gso, tx_segments;
};
struct vio_net_dev_counts vio_net_dev_counts(const struct vio_dev *d, unsigned pair);
VIO_END_DECLS
#endif
