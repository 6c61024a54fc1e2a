/* Network driver: commands (virtio 1.4, 5.1.6.5).  One at a time, each waits for its answer. */
#include <vio/driver/net.h>
#include <vio/ring/freestanding.h>

enum { HEAD = sizeof(struct vio_net_ctrl), ACK = 1 };

static uint64_t now(const struct vio_net *n)
{
	const struct vio_platform *pf = &n->drv.port->platform;
	return pf->ops->now_ns(pf->arg);
}

/* The command's data is in n->command behind HEAD.  Its result, of *got bytes, comes to n->result behind ACK. */
static bool run(struct vio_net *n, uint8_t class_, uint8_t command, uint32_t bytes, uint32_t room, uint32_t *got)
{
	struct vio_buf bufs[2] = { { n->command_buf.addr, HEAD + bytes }, { n->result_buf.addr, ACK + room } };
	uint32_t used;

	if (!n->control_index || n->drv.failed)
		return false;
	n->command[0] = class_;
	n->command[1] = command;
	n->result[0] = VIO_NET_ERR;
	if (!vio_drvq_add(&n->control, bufs, 1, 1, n))
		return vio_drv_fail(&n->drv, "the control queue is broken");
	if (vio_drv_get_wait(&n->drv, n->control_index, &n->control, &used, now(n) + VIO_DRV_PATIENCE_NS) != n)
		return vio_drv_fail(&n->drv, "the device does not answer a command");
	if (got)
		*got = used > ACK ? used - ACK : 0;
	return used >= ACK && n->result[0] == VIO_NET_OK;
}

static bool tell(struct vio_net *n, unsigned feature, uint8_t class_, uint8_t command, const void *data, uint32_t bytes)
{
	if (!vio_drv_has(&n->drv, feature))
		return false;
	if (bytes)
		memcpy(n->command + HEAD, data, bytes);
	return run(n, class_, command, bytes, 0, NULL);
}

/* ---- Filters ---- */

bool vio_net_set_mode(struct vio_net *n, uint8_t mode, bool on)
{
	uint8_t value = on;
	unsigned feature = mode <= VIO_NET_CTRL_RX_ALLMULTI ? VIO_NET_F_CTRL_RX : VIO_NET_F_CTRL_RX_EXTRA;

	return mode < VIO_NET_CTRL_RX_MODES && tell(n, feature, VIO_NET_CTRL_RX, mode, &value, sizeof value);
}

bool vio_net_set_mac(struct vio_net *n, const uint8_t *mac)
{
	if (!tell(n, VIO_NET_F_CTRL_MAC_ADDR, VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_ADDR_SET, mac, VIO_NET_MAC))
		return false;
	memcpy(n->mac, mac, VIO_NET_MAC);
	return true;
}

static uint32_t put_macs(uint8_t *to, const uint8_t (*mac)[VIO_NET_MAC], uint32_t count)
{
	vio_le32 entries = vio_le32_of(count);

	memcpy(to, &entries, sizeof entries);
	if (count)
		memcpy(to + sizeof entries, mac, (size_t)count * VIO_NET_MAC);
	return (uint32_t)sizeof entries + count * VIO_NET_MAC;
}

bool vio_net_set_mac_table(struct vio_net *n, const uint8_t (*unicast)[VIO_NET_MAC], uint32_t unicasts,
    const uint8_t (*multicast)[VIO_NET_MAC], uint32_t multicasts)
{
	enum { MOST = (VIO_NET_DRV_COMMAND - HEAD - 8) / VIO_NET_MAC };

	if (!vio_drv_has(&n->drv, VIO_NET_F_CTRL_RX) || unicasts > MOST || multicasts > MOST - unicasts)
		return false;
	uint32_t bytes = put_macs(n->command + HEAD, unicast, unicasts);
	bytes += put_macs(n->command + HEAD + bytes, multicast, multicasts);
	return run(n, VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_TABLE_SET, bytes, 0, NULL);
}

bool vio_net_set_vlan(struct vio_net *n, uint16_t id, bool on)
{
	vio_le16 wire = vio_le16_of(id);

	return id < VIO_NET_VLANS &&
	    tell(n, VIO_NET_F_CTRL_VLAN, VIO_NET_CTRL_VLAN, on ? VIO_NET_CTRL_VLAN_ADD : VIO_NET_CTRL_VLAN_DEL, &wire, sizeof wire);
}

bool vio_net_announced(struct vio_net *n)
{
	if (!tell(n, VIO_NET_F_GUEST_ANNOUNCE, VIO_NET_CTRL_ANNOUNCE, VIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0))
		return false;
	n->announce = false;
	return true;
}

/* ---- Queues ---- */

bool vio_net_set_pairs(struct vio_net *n, uint16_t pairs)
{
	vio_le16 wire = vio_le16_of(pairs);
	uint16_t before = n->used_pairs;

	if (pairs == 0 || pairs > n->pairs || n->contexts)
		return false;		/* 5.1.6.5.6.1, 5.1.6.5.8.4 */
	if (pairs < before)
		n->used_pairs = pairs;	/* from now on, whatever the answer */
	if (!tell(n, VIO_NET_F_MQ, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, &wire, sizeof wire)) {
		n->used_pairs = before;
		return false;
	}
	n->used_pairs = pairs;
	return true;
}

/* Bytes; 0: it breaks a rule (5.1.6.5.7.1). */
static uint32_t put_rss(struct vio_net *n, uint8_t *to, const struct vio_net_rss *r)
{
	struct vio_net_rss_head head = { vio_le32_of(r->types), vio_le16_of((uint16_t)(r->entries - 1)),
		vio_le16_of(r->unclassified) };
	uint32_t at = sizeof head;

	if (!r->entries || r->entries & (r->entries - 1) || r->entries > n->table_max || r->types & ~n->hash_types ||
	    r->key_bytes > n->key_max || r->unclassified >= n->pairs || !r->tx_pairs || r->tx_pairs > n->pairs ||
	    at + 2u * r->entries + 3 + r->key_bytes > VIO_NET_DRV_COMMAND - HEAD - sizeof(struct vio_net_rss_ctx_head))
		return 0;
	memcpy(to, &head, sizeof head);
	for (unsigned i = 0; i < r->entries; i++, at += 2) {
		vio_le16 wire = vio_le16_of(r->table[i]);
		if (r->table[i] >= n->pairs)
			return 0;
		memcpy(to + at, &wire, sizeof wire);
	}
	vio_le16 tx = vio_le16_of(r->tx_pairs);
	memcpy(to + at, &tx, sizeof tx);
	to[at + 2] = r->key_bytes;
	memcpy(to + at + 3, r->key, r->key_bytes);
	return at + 3 + r->key_bytes;
}

bool vio_net_set_rss(struct vio_net *n, const struct vio_net_rss *r)
{
	uint32_t bytes = vio_drv_has(&n->drv, VIO_NET_F_RSS) ? put_rss(n, n->command + HEAD, r) : 0;

	if (!bytes || !run(n, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, bytes, 0, NULL))
		return false;
	n->used_pairs = r->tx_pairs;
	return true;
}

bool vio_net_set_hash(struct vio_net *n, uint32_t types, const uint8_t *key, uint8_t key_bytes)
{
	enum { FIXED = offsetof(struct vio_net_hash_head, key) };
	struct vio_net_hash_head head = { .hash_types = vio_le32_of(types), .hash_key_length = key_bytes };

	if (!vio_drv_has(&n->drv, VIO_NET_F_HASH_REPORT) || vio_drv_has(&n->drv, VIO_NET_F_RSS) || types & ~n->hash_types ||
	    key_bytes > n->key_max)
		return false;
	memcpy(n->command + HEAD, &head, FIXED);
	memcpy(n->command + HEAD + FIXED, key, key_bytes);
	return run(n, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_HASH_CONFIG, FIXED + (uint32_t)key_bytes, 0, NULL);
}

bool vio_net_set_tunnels(struct vio_net *n, uint32_t types)
{
	vio_le32 wire = vio_le32_of(types);

	return !(types & ~n->tunnel_types) &&
	    tell(n, VIO_NET_F_HASH_TUNNEL, VIO_NET_CTRL_HASH_TUNNEL, VIO_NET_CTRL_HASH_TUNNEL_SET, &wire, sizeof wire);
}

/* ---- RSS contexts ---- */

bool vio_net_max_contexts(struct vio_net *n, uint16_t *most)
{
	vio_le16 wire;
	uint32_t got;

	if (!vio_drv_has(&n->drv, VIO_NET_F_RSS_CONTEXT) ||
	    !run(n, VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_CAP_GET, 0, sizeof wire, &got) || got < sizeof wire)
		return false;
	memcpy(&wire, n->result + ACK, sizeof wire);
	*most = vio_le16_get(wire);
	return true;
}

bool vio_net_set_context(struct vio_net *n, uint16_t id, const struct vio_net_rss *r, bool exists)
{
	struct vio_net_rss_ctx_head head = { .rss_ctx_id = vio_le16_of(id) };
	uint32_t bytes = id && vio_drv_has(&n->drv, VIO_NET_F_RSS_CONTEXT) ? put_rss(n, n->command + HEAD + sizeof head, r) : 0;

	memcpy(n->command + HEAD, &head, sizeof head);
	if (!bytes || !run(n, VIO_NET_CTRL_RSS_CTX, exists ? VIO_NET_CTRL_RSS_CTX_MOD : VIO_NET_CTRL_RSS_CTX_ADD,
	    (uint32_t)sizeof head + bytes, 0, NULL))
		return false;
	n->contexts = (uint16_t)(n->contexts + !exists);
	return true;
}

bool vio_net_delete_context(struct vio_net *n, uint16_t id)
{
	vio_le16 wire = vio_le16_of(id);

	if (!id || !tell(n, VIO_NET_F_RSS_CONTEXT, VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_DEL, &wire, sizeof wire))
		return false;
	n->contexts = (uint16_t)(n->contexts - (n->contexts != 0));
	return true;
}

/* ---- Offloads, coalescing ---- */

bool vio_net_set_offloads(struct vio_net *n, struct vio_features offloads)
{
	vio_le64 wire = vio_le64_of(offloads.word[0]);

	if (!vio_features_none(vio_features_minus(offloads, n->drv.features)))
		return false;		/* 5.1.6.5.9.1 */
	return tell(n, VIO_NET_F_CTRL_GUEST_OFFLOADS, VIO_NET_CTRL_GUEST_OFFLOADS, VIO_NET_CTRL_GUEST_OFFLOADS_SET, &wire,
	    sizeof wire);
}

bool vio_net_coalesce(struct vio_net *n, bool tx, uint32_t packets, uint32_t usecs)
{
	struct vio_net_ctrl_coal c = { vio_le32_of(packets), vio_le32_of(usecs) };

	uint8_t command = tx ? VIO_NET_CTRL_NOTF_COAL_TX_SET : VIO_NET_CTRL_NOTF_COAL_RX_SET;

	return tell(n, VIO_NET_F_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL, command, &c, sizeof c);
}

static bool is_enabled(const struct vio_net *n, uint16_t queue) { return queue < 2 * n->used_pairs; }

bool vio_net_coalesce_queue(struct vio_net *n, uint16_t queue, uint32_t packets, uint32_t usecs)
{
	struct vio_net_ctrl_coal_vq c = { .vq_index = vio_le16_of(queue), .coal = { vio_le32_of(packets), vio_le32_of(usecs) } };

	return is_enabled(n, queue) &&
	    tell(n, VIO_NET_F_VQ_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_VQ_SET, &c, sizeof c);
}

bool vio_net_coalescing(struct vio_net *n, uint16_t queue, uint32_t *packets, uint32_t *usecs)
{
	vio_le16 ask[2] = { vio_le16_of(queue), vio_le16_of(0) };
	struct vio_net_ctrl_coal c;
	uint32_t got;

	if (!is_enabled(n, queue) || !vio_drv_has(&n->drv, VIO_NET_F_VQ_NOTF_COAL))
		return false;
	memcpy(n->command + HEAD, ask, sizeof ask);
	if (!run(n, VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_VQ_GET, sizeof ask, sizeof c, &got) || got < sizeof c)
		return false;		/* 5.1.6.5.10.1: what it wrote with an error means nothing */
	memcpy(&c, n->result + ACK, sizeof c);
	*packets = vio_le32_get(c.max_packets);
	*usecs = vio_le32_get(c.max_usecs);
	return true;
}

/* ---- Statistics ---- */

bool vio_net_stats_types(struct vio_net *n, uint64_t *types)
{
	vio_le64 wire;
	uint32_t got;

	if (!vio_drv_has(&n->drv, VIO_NET_F_DEVICE_STATS) ||
	    !run(n, VIO_NET_CTRL_STATS, VIO_NET_CTRL_STATS_QUERY, 0, sizeof wire, &got) || got < sizeof wire)
		return false;
	memcpy(&wire, n->result + ACK, sizeof wire);
	*types = vio_le64_get(wire);
	return true;
}

/* Is a type of statistics of this queue (5.1.6.5.11)? */
static bool fits_queue(const struct vio_net *n, uint16_t queue, uint8_t type)
{
	if (queue == n->control_index)
		return type == VIO_NET_STATS_CVQ;
	return queue < 2 * n->pairs && type < VIO_NET_STATS_CVQ && (queue & 1) == (type >= VIO_NET_STATS_TX_BASIC);
}

bool vio_net_stats(struct vio_net *n, uint16_t queue, uint8_t type, uint64_t *counters, unsigned room, unsigned *count)
{
	enum { ROOM = sizeof(struct vio_net_stats_head) + 32 * sizeof(vio_le64) };
	struct vio_net_stats_ask ask = { .vq_index = vio_le16_of(queue),
		.types_bitmap = vio_le64_of(type < 64 ? UINT64_C(1) << type : 0) };
	struct vio_net_stats_head head;
	uint64_t types;
	uint32_t got;

	*count = 0;
	if (!fits_queue(n, queue, type) || !vio_net_stats_types(n, &types) || !(types >> type & 1))
		return false;		/* 5.1.6.5.11.7: only types that the device has */
	memcpy(n->command + HEAD, &ask, sizeof ask);
	if (!run(n, VIO_NET_CTRL_STATS, VIO_NET_CTRL_STATS_GET, sizeof ask, ROOM, &got) || got < sizeof head)
		return false;
	memcpy(&head, n->result + ACK, sizeof head);
	uint32_t bytes = vio_le16_get(head.size) < got ? vio_le16_get(head.size) : got;
	if (head.type != type || vio_le16_get(head.vq_index) != queue)
		return false;
	for (uint32_t at = sizeof head; at + sizeof(vio_le64) <= bytes && *count < room; at += sizeof(vio_le64)) {
		vio_le64 wire;
		memcpy(&wire, n->result + ACK + at, sizeof wire);
		counters[(*count)++] = vio_le64_get(wire);
	}
	return true;
}
