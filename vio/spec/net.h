/* Network device (virtio 1.4, section 5.1). */
#ifndef VIO_SPEC_NET_H
#define VIO_SPEC_NET_H
#include <vio/spec/types.h>

enum {	/* 5.1.3 feature bits */
	VIO_NET_F_CSUM = 0,
	VIO_NET_F_GUEST_CSUM = 1,
	VIO_NET_F_CTRL_GUEST_OFFLOADS = 2,
	VIO_NET_F_MTU = 3,
	VIO_NET_F_MAC = 5,
	VIO_NET_F_GUEST_TSO4 = 7,
	VIO_NET_F_GUEST_TSO6 = 8,
	VIO_NET_F_GUEST_ECN = 9,
	VIO_NET_F_GUEST_UFO = 10,
	VIO_NET_F_HOST_TSO4 = 11,
	VIO_NET_F_HOST_TSO6 = 12,
	VIO_NET_F_HOST_ECN = 13,
	VIO_NET_F_HOST_UFO = 14,
	VIO_NET_F_MRG_RXBUF = 15,
	VIO_NET_F_STATUS = 16,
	VIO_NET_F_CTRL_VQ = 17,
	VIO_NET_F_CTRL_RX = 18,
	VIO_NET_F_CTRL_VLAN = 19,
	VIO_NET_F_CTRL_RX_EXTRA = 20,
	VIO_NET_F_GUEST_ANNOUNCE = 21,
	VIO_NET_F_MQ = 22,
	VIO_NET_F_CTRL_MAC_ADDR = 23,
	VIO_NET_F_DEVICE_STATS = 50,
	VIO_NET_F_HASH_TUNNEL = 51,
	VIO_NET_F_VQ_NOTF_COAL = 52,
	VIO_NET_F_NOTF_COAL = 53,
	VIO_NET_F_GUEST_USO4 = 54,
	VIO_NET_F_GUEST_USO6 = 55,
	VIO_NET_F_HOST_USO = 56,
	VIO_NET_F_HASH_REPORT = 57,
	VIO_NET_F_GUEST_HDRLEN = 59,
	VIO_NET_F_RSS = 60,
	VIO_NET_F_RSC_EXT = 61,
	VIO_NET_F_STANDBY = 62,
	VIO_NET_F_SPEED_DUPLEX = 63,
	VIO_NET_F_RSS_CONTEXT = 64,
	VIO_NET_F_GUEST_UDP_TUNNEL_GSO = 65,
	VIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM = 66,
	VIO_NET_F_HOST_UDP_TUNNEL_GSO = 67,
	VIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM = 68,
	VIO_NET_F_OUT_NET_HEADER = 69,
	VIO_NET_F_IPSEC = 70
};

enum { VIO_NET_MAC = 6, VIO_NET_ETH = 14 };		/* bytes of an address, of an Ethernet header */
enum { VIO_NET_PAIRS_MAX = 0x8000 };
enum { VIO_NET_MTU_MIN = 68, VIO_NET_MTU_SHOULD = 1280 };	/* 5.1.4.1 */
enum { VIO_NET_SPEED_MAX = 0x7fffffff, VIO_NET_DUPLEX_HALF = 0, VIO_NET_DUPLEX_FULL = 1, VIO_NET_DUPLEX_UNKNOWN = 0xff };
#define VIO_NET_SPEED_UNKNOWN UINT32_MAX

enum { VIO_NET_S_LINK_UP = 1, VIO_NET_S_ANNOUNCE = 2 };

/* 5.1.4.  Little-endian, and packed by the order of its fields alone: supported_tunnel_types stands at 20. */
struct vio_net_config {
	uint8_t mac[VIO_NET_MAC];
	vio_le16 status;
	vio_le16 max_virtqueue_pairs;
	vio_le16 mtu;
	vio_le32 speed;			/* Mb/s */
	uint8_t duplex;
	uint8_t rss_max_key_size;
	vio_le16 rss_max_indirection_table_length;
	vio_le32 supported_hash_types;
	vio_le32 supported_tunnel_types;
};
VIO_STATIC_ASSERT(sizeof(struct vio_net_config) == 28, "5.1.4");

enum {	/* vio_net_hdr.flags */
	VIO_NET_HDR_F_NEEDS_CSUM = 1,
	VIO_NET_HDR_F_DATA_VALID = 2,
	VIO_NET_HDR_F_RSC_INFO = 4,
	VIO_NET_HDR_F_UDP_TUNNEL_CSUM = 8
};
enum {	/* vio_net_hdr.gso_type */
	VIO_NET_HDR_GSO_NONE = 0,
	VIO_NET_HDR_GSO_TCPV4 = 1,
	VIO_NET_HDR_GSO_UDP = 3,
	VIO_NET_HDR_GSO_TCPV6 = 4,
	VIO_NET_HDR_GSO_UDP_L4 = 5,
	VIO_NET_HDR_GSO_UDP_TUNNEL_IPV4 = 0x20,
	VIO_NET_HDR_GSO_UDP_TUNNEL_IPV6 = 0x40,
	VIO_NET_HDR_GSO_ECN = 0x80
};

/* 5.1.6.  How much of it there is depends on the features: see the enum below. */
struct vio_net_hdr {
	uint8_t flags;
	uint8_t gso_type;
	vio_le16 hdr_len;
	vio_le16 gso_size;
	vio_le16 csum_start;
	vio_le16 csum_offset;
	vio_le16 num_buffers;
	vio_le32 hash_value;
	vio_le16 hash_report;
	vio_le16 padding_reserved;
	vio_le16 outer_th_offset;
	vio_le16 inner_nh_offset;
	vio_le16 outer_nh_offset;
	uint8_t padding_reserved_2[6];
};
enum {	/* 5.1.6.3.1: bytes of the header */
	VIO_NET_HDR_PLAIN = 12,
	VIO_NET_HDR_HASH = 20,		/* with HASH_REPORT */
	VIO_NET_HDR_TUNNEL = 24,	/* with HOST_UDP_TUNNEL_GSO or GUEST_UDP_TUNNEL_GSO */
	VIO_NET_HDR_OUT = 32		/* with OUT_NET_HEADER or IPSEC */
};
VIO_STATIC_ASSERT(offsetof(struct vio_net_hdr, hash_value) == VIO_NET_HDR_PLAIN, "5.1.6");
VIO_STATIC_ASSERT(offsetof(struct vio_net_hdr, outer_th_offset) == VIO_NET_HDR_HASH, "5.1.6");
VIO_STATIC_ASSERT(offsetof(struct vio_net_hdr, outer_nh_offset) == VIO_NET_HDR_TUNNEL, "5.1.6");
VIO_STATIC_ASSERT(sizeof(struct vio_net_hdr) == VIO_NET_HDR_OUT, "5.1.6");

enum {	/* 5.1.6.4.3 hash types; the report of a type is its bit number + 1 */
	VIO_NET_HASH_IPV4 = 1 << 0, VIO_NET_HASH_TCPV4 = 1 << 1, VIO_NET_HASH_UDPV4 = 1 << 2,
	VIO_NET_HASH_IPV6 = 1 << 3, VIO_NET_HASH_TCPV6 = 1 << 4, VIO_NET_HASH_UDPV6 = 1 << 5,
	VIO_NET_HASH_IP_EX = 1 << 6, VIO_NET_HASH_TCP_EX = 1 << 7, VIO_NET_HASH_UDP_EX = 1 << 8,
	VIO_NET_HASH_ALL = (1 << 9) - 1
};
enum {	/* 5.1.6.4.4 */
	VIO_NET_TUNNEL_GRE_2784 = 1 << 0, VIO_NET_TUNNEL_GRE_2890 = 1 << 1, VIO_NET_TUNNEL_GRE_7676 = 1 << 2,
	VIO_NET_TUNNEL_GRE_UDP = 1 << 3, VIO_NET_TUNNEL_VXLAN = 1 << 4, VIO_NET_TUNNEL_VXLAN_GPE = 1 << 5,
	VIO_NET_TUNNEL_GENEVE = 1 << 6, VIO_NET_TUNNEL_IPIP = 1 << 7, VIO_NET_TUNNEL_NVGRE = 1 << 8,
	VIO_NET_TUNNEL_ALL = (1 << 9) - 1
};
enum { VIO_NET_RSS_KEY_MIN = 40, VIO_NET_RSS_TABLE_MIN = 128 };	/* 5.1.4.1 */

/* ---- Control queue (5.1.6.5) ---- */

struct vio_net_ctrl { uint8_t class_, command; };
enum { VIO_NET_OK = 0, VIO_NET_ERR = 1 };

enum {
	VIO_NET_CTRL_RX = 0, VIO_NET_CTRL_MAC = 1, VIO_NET_CTRL_VLAN = 2, VIO_NET_CTRL_ANNOUNCE = 3, VIO_NET_CTRL_MQ = 4,
	VIO_NET_CTRL_GUEST_OFFLOADS = 5, VIO_NET_CTRL_NOTF_COAL = 6, VIO_NET_CTRL_HASH_TUNNEL = 7, VIO_NET_CTRL_STATS = 8,
	VIO_NET_CTRL_RSS_CTX = 9
};
enum {	/* of VIO_NET_CTRL_RX; one byte, 0 or 1 */
	VIO_NET_CTRL_RX_PROMISC, VIO_NET_CTRL_RX_ALLMULTI, VIO_NET_CTRL_RX_ALLUNI, VIO_NET_CTRL_RX_NOMULTI,
	VIO_NET_CTRL_RX_NOUNI, VIO_NET_CTRL_RX_NOBCAST, VIO_NET_CTRL_RX_MODES
};
enum { VIO_NET_CTRL_MAC_TABLE_SET = 0, VIO_NET_CTRL_MAC_ADDR_SET = 1 };
enum { VIO_NET_CTRL_VLAN_ADD = 0, VIO_NET_CTRL_VLAN_DEL = 1 };
enum { VIO_NET_VLANS = 4096 };
enum { VIO_NET_CTRL_ANNOUNCE_ACK = 0 };
enum { VIO_NET_CTRL_MQ_VQ_PAIRS_SET = 0, VIO_NET_CTRL_MQ_RSS_CONFIG = 1, VIO_NET_CTRL_MQ_HASH_CONFIG = 2 };
enum { VIO_NET_CTRL_GUEST_OFFLOADS_SET = 0 };
enum {
	VIO_NET_CTRL_NOTF_COAL_TX_SET = 0, VIO_NET_CTRL_NOTF_COAL_RX_SET = 1, VIO_NET_CTRL_NOTF_COAL_VQ_SET = 2,
	VIO_NET_CTRL_NOTF_COAL_VQ_GET = 3
};
enum { VIO_NET_CTRL_HASH_TUNNEL_SET = 0 };
enum { VIO_NET_CTRL_STATS_QUERY = 0, VIO_NET_CTRL_STATS_GET = 1 };
enum {
	VIO_NET_CTRL_RSS_CTX_CAP_GET = 0, VIO_NET_CTRL_RSS_CTX_ADD = 1, VIO_NET_CTRL_RSS_CTX_MOD = 2,
	VIO_NET_CTRL_RSS_CTX_DEL = 3
};

/* In virtio_net_ctrl_guest_offloads, tunnel offloads have numbers of their own (5.1.6.5.9); the others are feature bits. */
enum { VIO_NET_OFFLOAD_UDP_TUNNEL_GSO = 46, VIO_NET_OFFLOAD_UDP_TUNNEL_GSO_CSUM = 47 };

struct vio_net_ctrl_coal { vio_le32 max_packets, max_usecs; };
struct vio_net_ctrl_coal_vq { vio_le16 vq_index, reserved; struct vio_net_ctrl_coal coal; };

/* virtio_net_rss_config up to its table; virtio_net_hash_config up to its key, where reserved stands for all but the first */
struct vio_net_rss_head { vio_le32 hash_types; vio_le16 indirection_table_mask, unclassified_queue; };
struct vio_net_hash_head { vio_le32 hash_types; vio_le16 reserved[4]; uint8_t hash_key_length; uint8_t key[]; };
struct vio_net_rss_ctx_head { vio_le16 rss_ctx_id; uint8_t reserved[6]; };

/* ---- Statistics (5.1.6.5.11): a type's bit in the map is its number in the reply ---- */

enum {
	VIO_NET_STATS_RX_BASIC = 0, VIO_NET_STATS_RX_CSUM = 1, VIO_NET_STATS_RX_GSO = 2, VIO_NET_STATS_RX_SPEED = 3,
	VIO_NET_STATS_TX_BASIC = 16, VIO_NET_STATS_TX_CSUM = 17, VIO_NET_STATS_TX_GSO = 18, VIO_NET_STATS_TX_SPEED = 19,
	VIO_NET_STATS_CVQ = 32
};
struct vio_net_stats_ask { vio_le16 vq_index, reserved[3]; vio_le64 types_bitmap; };
struct vio_net_stats_head { uint8_t type, reserved; vio_le16 vq_index, reserved1, size; };

/* ---- Device parts (5.1.8) ---- */

enum { VIO_NET_PART_CVQ_CFG = 0x200 };
#endif
