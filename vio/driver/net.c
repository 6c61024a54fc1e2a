/* Network driver (virtio 1.4, section 5.1): start, stop, memory and config space.  Frames and commands have files of their own. */
#include <vio/driver/net.h>
#include <vio/ring/freestanding.h>

#define GUEST_GSO VIO_NET_F_GUEST_TSO4, VIO_NET_F_GUEST_TSO6, VIO_NET_F_GUEST_ECN, VIO_NET_F_GUEST_UFO, VIO_NET_F_GUEST_USO4, \
    VIO_NET_F_GUEST_USO6
static const unsigned char guest_gso[] = { GUEST_GSO };

enum { WHOLE_MIN = 1514, GSO_MIN = 65589 };	/* 5.1.6.3.1: bytes of a buffer without MRG_RXBUF, beside the header */

struct vio_features vio_net_drives(void)
{
	static const unsigned char bits[] = {
		VIO_NET_F_CSUM, VIO_NET_F_GUEST_CSUM, VIO_NET_F_CTRL_GUEST_OFFLOADS, VIO_NET_F_MTU, VIO_NET_F_MAC, GUEST_GSO,
		VIO_NET_F_HOST_TSO4, VIO_NET_F_HOST_TSO6, VIO_NET_F_HOST_ECN, VIO_NET_F_HOST_UFO, VIO_NET_F_MRG_RXBUF,
		VIO_NET_F_STATUS, VIO_NET_F_CTRL_VQ, VIO_NET_F_CTRL_RX, VIO_NET_F_CTRL_VLAN, VIO_NET_F_CTRL_RX_EXTRA,
		VIO_NET_F_GUEST_ANNOUNCE, VIO_NET_F_MQ, VIO_NET_F_CTRL_MAC_ADDR, VIO_NET_F_DEVICE_STATS, VIO_NET_F_HASH_TUNNEL,
		VIO_NET_F_VQ_NOTF_COAL, VIO_NET_F_NOTF_COAL, VIO_NET_F_HOST_USO, VIO_NET_F_HASH_REPORT, VIO_NET_F_GUEST_HDRLEN,
		VIO_NET_F_RSS, VIO_NET_F_RSC_EXT, VIO_NET_F_SPEED_DUPLEX, VIO_NET_F_RSS_CONTEXT,
		VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_VERSION_1, VIO_F_ACCESS_PLATFORM, VIO_F_RING_PACKED, VIO_F_IN_ORDER,
		VIO_F_ORDER_PLATFORM, VIO_F_NOTIFICATION_DATA, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

/* 5.1.3.1, where a pair can say it; an ECN without TSO is of no use and does no harm. */
static const struct vio_feature_need needs[] = {
	{ VIO_NET_F_GUEST_TSO4, VIO_NET_F_GUEST_CSUM }, { VIO_NET_F_GUEST_TSO6, VIO_NET_F_GUEST_CSUM },
	{ VIO_NET_F_GUEST_UFO, VIO_NET_F_GUEST_CSUM }, { VIO_NET_F_GUEST_USO4, VIO_NET_F_GUEST_CSUM },
	{ VIO_NET_F_GUEST_USO6, VIO_NET_F_GUEST_CSUM }, { VIO_NET_F_GUEST_ECN, VIO_NET_F_GUEST_TSO4 },
	{ VIO_NET_F_HOST_TSO4, VIO_NET_F_CSUM }, { VIO_NET_F_HOST_TSO6, VIO_NET_F_CSUM }, { VIO_NET_F_HOST_UFO, VIO_NET_F_CSUM },
	{ VIO_NET_F_HOST_USO, VIO_NET_F_CSUM }, { VIO_NET_F_HOST_ECN, VIO_NET_F_HOST_TSO4 },
	{ VIO_NET_F_CTRL_RX, VIO_NET_F_CTRL_VQ }, { VIO_NET_F_CTRL_RX_EXTRA, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_CTRL_VLAN, VIO_NET_F_CTRL_VQ }, { VIO_NET_F_GUEST_ANNOUNCE, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_GUEST_ANNOUNCE, VIO_NET_F_STATUS }, { VIO_NET_F_CTRL_GUEST_OFFLOADS, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_MQ, VIO_NET_F_CTRL_VQ }, { VIO_NET_F_CTRL_MAC_ADDR, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_NOTF_COAL, VIO_NET_F_CTRL_VQ }, { VIO_NET_F_VQ_NOTF_COAL, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_DEVICE_STATS, VIO_NET_F_CTRL_VQ }, { VIO_NET_F_RSS, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_HASH_REPORT, VIO_NET_F_CTRL_VQ }, { VIO_NET_F_HASH_TUNNEL, VIO_NET_F_HASH_REPORT },
	{ VIO_NET_F_RSC_EXT, VIO_NET_F_HOST_TSO4 }, { VIO_NET_F_RSS_CONTEXT, VIO_NET_F_RSS }, { 0, 0 }
};

static const struct vio_platform *platform(const struct vio_net *n) { return &n->drv.port->platform; }

/* ---- Memory ---- */

static bool map_whole(struct vio_net *n, void *p, uint32_t bytes, struct vio_buf *out)
{
	const struct vio_platform *pf = platform(n);
	unsigned bufs = pf->ops->map(pf->arg, p, bytes, VIO_BOTH_WAYS, out, 1);

	if (bufs == 1 && out->len == bytes)
		return true;
	if (bufs)
		pf->ops->unmap(pf->arg, p, bytes, VIO_BOTH_WAYS, out, bufs);
	out->len = 0;
	return vio_drv_fail(&n->drv, "a queue's memory can't be mapped in one piece");
}

static void unmap_whole(struct vio_net *n, void *p, struct vio_buf *buf)
{
	const struct vio_platform *pf = platform(n);

	if (buf->len)
		pf->ops->unmap(pf->arg, p, buf->len, VIO_BOTH_WAYS, buf, 1);
	buf->len = 0;
}

static struct vio_net_queue_memory *memory_of(struct vio_net *n, uint16_t i)
{
	if (i == 2 * VIO_NET_DRV_PAIRS)
		return &n->o.control;
	return i & 1 ? &n->o.pair[i / 2].tx : &n->o.pair[i / 2].rx;
}

/* Queue number queue of the device, whose memory is the i-th. */
static bool start_queue(struct vio_net *n, struct vio_drvq *q, uint16_t queue, uint16_t i, uint16_t most)
{
	struct vio_net_queue_memory *m = memory_of(n, i);
	uint16_t size = n->drv.port->ops->queue_max(n->drv.port, queue);

	if (size > most)
		size = most;
	while (size & (size - 1))
		size &= (uint16_t)(size - 1);		/* 2.7: a power of two */
	if (size == 0 || !m->ring || !m->slots)
		return vio_drv_fail(&n->drv, "the device lacks a queue, or there is no memory for it");
	if (!map_whole(n, m->ring, (uint32_t)VIO_DRVQ_RING_BYTES(most), &n->mapped[i].ring))
		return false;
	struct vio_drvq_setup s = { .size = size, .features = n->drv.features, .ring = m->ring, .ring_addr = n->mapped[i].ring.addr,
		.slots = m->slots };
	if (m->indirect && vio_drv_has(&n->drv, VIO_F_INDIRECT_DESC)) {
		uint32_t bytes = (uint32_t)(size * VIO_NET_DRV_INDIRECT * sizeof *m->indirect);
		if (!map_whole(n, m->indirect, bytes, &n->mapped[i].indirect))
			return false;
		s.indirect = m->indirect;
		s.indirect_addr = n->mapped[i].indirect.addr;
		s.indirect_max = VIO_NET_DRV_INDIRECT;
	}
	vio_drvq_init(q, &s);
	return vio_drv_queue(&n->drv, queue, q);
}

/* ---- Config space ---- */

static bool field(struct vio_net *n, uint32_t at, void *to, uint32_t len) { return vio_drv_config(&n->drv, at, to, len); }
#define FIELD(n, name, to) field(n, offsetof(struct vio_net_config, name), to, sizeof *(to))

static void make_up_mac(struct vio_net *n)
{
	static const uint8_t zero[VIO_NET_MAC];
	uint64_t seed = platform(n)->ops->now_ns(platform(n)->arg) * UINT64_C(0x9e3779b97f4a7c15);

	if (memcmp(n->o.mac, zero, sizeof zero)) {
		memcpy(n->mac, n->o.mac, sizeof n->mac);
		return;
	}
	memcpy(n->mac, &seed, sizeof n->mac);
	n->mac[0] = (uint8_t)((n->mac[0] & 0xfc) | 2);		/* 5.1.4.2: locally administered, of one station */
}

static bool read_state(struct vio_net *n)
{
	vio_le16 status;
	vio_le32 speed;

	n->up = true;			/* 5.1.4.2 */
	n->announce = false;
	n->speed = VIO_NET_SPEED_UNKNOWN;
	n->duplex = VIO_NET_DUPLEX_UNKNOWN;
	if (vio_drv_has(&n->drv, VIO_NET_F_STATUS)) {
		if (!FIELD(n, status, &status))
			return false;
		n->up = vio_le16_get(status) & VIO_NET_S_LINK_UP;
		n->announce = vio_drv_has(&n->drv, VIO_NET_F_GUEST_ANNOUNCE) && vio_le16_get(status) & VIO_NET_S_ANNOUNCE;
	}
	if (!vio_drv_has(&n->drv, VIO_NET_F_SPEED_DUPLEX))
		return true;
	if (!FIELD(n, speed, &speed) || !FIELD(n, duplex, &n->duplex))
		return false;
	n->speed = vio_le32_get(speed) <= VIO_NET_SPEED_MAX ? vio_le32_get(speed) : VIO_NET_SPEED_UNKNOWN;
	if (n->duplex > VIO_NET_DUPLEX_FULL)
		n->duplex = VIO_NET_DUPLEX_UNKNOWN;
	return true;
}

bool vio_net_config_changed(struct vio_net *n) { return read_state(n); }

static bool read_rss(struct vio_net *n)
{
	bool rss = vio_drv_has(&n->drv, VIO_NET_F_RSS), hash = rss || vio_drv_has(&n->drv, VIO_NET_F_HASH_REPORT);
	vio_le32 types = { 0 }, tunnels = { 0 };
	vio_le16 table = { 0 };

	if (hash && (!FIELD(n, rss_max_key_size, &n->key_max) || !FIELD(n, supported_hash_types, &types)))
		return false;
	if (rss && !FIELD(n, rss_max_indirection_table_length, &table))
		return false;
	if (vio_drv_has(&n->drv, VIO_NET_F_HASH_TUNNEL) && !FIELD(n, supported_tunnel_types, &tunnels))
		return false;
	n->hash_types = vio_le32_get(types) & VIO_NET_HASH_ALL;
	n->tunnel_types = vio_le32_get(tunnels) & VIO_NET_TUNNEL_ALL;	/* 5.1.6.4.3.1: others are not documented */
	n->table_max = vio_le16_get(table);
	return true;
}

static bool read_config(struct vio_net *n)
{
	bool many = vio_drv_has(&n->drv, VIO_NET_F_MQ) || vio_drv_has(&n->drv, VIO_NET_F_RSS);
	vio_le16 pairs = vio_le16_of(1), mtu = { 0 };

	make_up_mac(n);
	if (vio_drv_has(&n->drv, VIO_NET_F_MAC) && !FIELD(n, mac, &n->mac))
		return false;
	if (many && !FIELD(n, max_virtqueue_pairs, &pairs))
		return false;
	if (vio_drv_has(&n->drv, VIO_NET_F_MTU) && !FIELD(n, mtu, &mtu))
		return false;
	n->max_pairs = vio_le16_get(pairs);
	n->mtu = vio_le16_get(mtu);
	if (n->max_pairs == 0 || n->max_pairs > VIO_NET_PAIRS_MAX)
		return vio_drv_fail(&n->drv, "the device has no queue pairs, or more than there can be");
	if (vio_drv_has(&n->drv, VIO_NET_F_MTU) && n->mtu < VIO_NET_MTU_MIN)
		return vio_drv_fail(&n->drv, "the device's MTU is less than any network's");
	n->pairs = n->o.pairs < n->max_pairs ? n->o.pairs : n->max_pairs;
	if (vio_drv_has(&n->drv, VIO_NET_F_CTRL_VQ))
		n->control_index = (uint16_t)(many ? 2 * n->max_pairs : 2);	/* 5.1.2 */
	return read_state(n) && read_rss(n);
}

/* ---- Start ---- */

/* 5.1.6.3.1: what the buffers are too small for is not asked for. */
static struct vio_features affordable(const struct vio_net_setup *s, struct vio_features offered)
{
	struct vio_features f = vio_features_none(s->wanted) ? vio_net_drives() : vio_features_and(s->wanted, vio_net_drives());
	bool mergeable = vio_has(f, VIO_NET_F_MRG_RXBUF) && vio_has(offered, VIO_NET_F_MRG_RXBUF);

	if (!mergeable && s->pair[0].count && s->pair[0].buffers[0].size < GSO_MIN + VIO_NET_DRV_HEADER)
		f = vio_features_minus(f, vio_features_of(guest_gso, sizeof guest_gso));
	if (mergeable && (uint64_t)s->pair[0].count * s->pair[0].buffers[0].size < 2 * GSO_MIN)
		f = vio_features_minus(f, vio_features_of(guest_gso, sizeof guest_gso));
	if (!s->control_size)
		vio_features_drop(&f, VIO_NET_F_CTRL_VQ);
	if (s->pairs == 1) {
		vio_features_drop(&f, VIO_NET_F_MQ);
		vio_features_drop(&f, VIO_NET_F_RSS);
	}
	return f;
}

static bool check_buffers(struct vio_net *n)
{
	bool mergeable = vio_drv_has(&n->drv, VIO_NET_F_MRG_RXBUF);
	uint32_t frame = n->mtu ? n->mtu + (uint32_t)VIO_NET_ETH : WHOLE_MIN, least = n->header + (mergeable ? 0 : frame);

	if (!mergeable && least < n->header + (uint32_t)WHOLE_MIN)
		least = n->header + (uint32_t)WHOLE_MIN;
	for (uint16_t p = 0; p < n->pairs; p++) {
		const struct vio_net_pair_memory *m = &n->o.pair[p];
		uint64_t bytes = 0;
		for (uint16_t i = 0; i < m->count; i++) {
			if (m->buffers[i].size < least)
				return vio_drv_fail(&n->drv, "a receive buffer is too small for a frame");
			bytes += m->buffers[i].size;
		}
		if (bytes < n->header + frame)
			return vio_drv_fail(&n->drv, "the receive buffers of a queue have no room for a frame of the MTU");
	}
	return true;
}

static bool start_queues(struct vio_net *n)
{
	for (uint16_t i = 0; i < 2 * n->pairs; i++)
		if (!start_queue(n, &n->q[i], i, i, n->o.queue_size))
			return false;
	if (!n->control_index)
		return true;
	return start_queue(n, &n->control, n->control_index, 2 * VIO_NET_DRV_PAIRS, n->o.control_size) &&
	    map_whole(n, n->command, sizeof n->command, &n->command_buf) &&
	    map_whole(n, n->result, sizeof n->result, &n->result_buf);
}

static void give_buffers(struct vio_net *n)
{
	for (uint16_t p = 0; p < n->pairs; p++) {
		for (uint16_t i = 0; i < n->o.pair[p].count; i++) {
			struct vio_net_rx *b = &n->o.pair[p].buffers[i];
			b->next = NULL;
			b->given = false;
			b->bufs = 0;
			vio_net_give_back(n, p, b);
		}
	}
}

bool vio_net_start(struct vio_net *n, struct vio_drv_port *port, const struct vio_net_setup *s)
{
	*n = (struct vio_net){ .o = *s };
	if (s->pairs == 0 || s->pairs > VIO_NET_DRV_PAIRS || !s->queue_size || s->queue_size & (s->queue_size - 1)) {
		n->drv.failed = "no queue pairs were asked for, or too many, or queues of a size that is no power of two";
		return false;
	}
	if (!vio_drv_begin(&n->drv, port, VIO_ID_NET, affordable(s, port->ops->features(port)), needs))
		return false;
	n->header = vio_drv_has(&n->drv, VIO_NET_F_HASH_REPORT) ? VIO_NET_HDR_HASH : VIO_NET_HDR_PLAIN;
	bool ok = read_config(n) && check_buffers(n) && start_queues(n);
	if (ok) {
		give_buffers(n);
		ok = vio_drv_ready(&n->drv);
	}
	if (!ok) {
		vio_net_stop(n);
		return false;
	}
	for (uint16_t p = 0; p < n->pairs; p++)
		vio_net_kick(n, p);
	n->used_pairs = 1;
	if (n->pairs > 1 && vio_drv_has(&n->drv, VIO_NET_F_MQ) && !vio_net_set_pairs(n, n->pairs) && n->drv.failed) {
		vio_net_stop(n);
		return false;
	}
	return true;
}

/* ---- Stop ---- */

static void take_buffers(struct vio_net *n)
{
	const struct vio_platform *pf = platform(n);

	for (uint16_t p = 0; p < n->pairs; p++) {
		for (uint16_t i = 0; i < n->o.pair[p].count; i++) {
			struct vio_net_rx *b = &n->o.pair[p].buffers[i];
			if (b->bufs)
				pf->ops->unmap(pf->arg, b->bytes, b->size, VIO_FROM_DEVICE, b->buf, b->bufs);
			b->bufs = 0;
			b->given = false;
		}
	}
}

bool vio_net_stop(struct vio_net *n)
{
	const char *why = n->drv.failed;

	if (!n->drv.port)
		return true;
	if (!vio_drv_reset(&n->drv))
		return false;
	n->drv.failed = why;
	take_buffers(n);
	for (uint16_t i = 0; i <= 2 * VIO_NET_DRV_PAIRS; i++) {
		unmap_whole(n, memory_of(n, i)->ring, &n->mapped[i].ring);
		unmap_whole(n, memory_of(n, i)->indirect, &n->mapped[i].indirect);
	}
	unmap_whole(n, n->command, &n->command_buf);
	unmap_whole(n, n->result, &n->result_buf);
	return true;
}
