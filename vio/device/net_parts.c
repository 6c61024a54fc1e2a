/*
 * What the driver has configured, as device parts (virtio 1.4, 5.1.8): a part holds what the command would, and its selector names
 * the command.  Loading runs the commands again.  Beyond the specification's list there are parts for the other commands, which
 * whoever does not know them may skip.
 */
#include <vio/device/net_impl.h>
#include <vio/spec/parts.h>

enum { VALUE = 8 * 1024 + 64 };		/* bytes of a part: the VLAN table is the largest */
enum { PART_COUNTS = 0x2ff };		/* ours, optional: what statistics have counted */

struct out { unsigned char *to; size_t room, used; };

static void part(struct out *o, uint8_t class_, uint8_t command, uint8_t flags, uint8_t which, const void *value, size_t bytes)
{
	struct vio_part_header h = { vio_le16_of(VIO_NET_PART_CVQ_CFG), flags, 0, { class_, command, which },
		vio_le32_of((uint32_t)bytes) };

	if (o->to && o->used <= o->room && o->room - o->used >= sizeof h + bytes) {
		memcpy(o->to + o->used, &h, sizeof h);
		if (bytes)
			memcpy(o->to + o->used + sizeof h, value, bytes);
	}
	o->used += sizeof h + bytes;
}

/* ---- Saving ---- */

struct value { size_t n; unsigned char bytes[VALUE]; };

static void add(struct value *v, const void *bytes, size_t n)
{
	memcpy(v->bytes + v->n, bytes, n);
	v->n += n;
}

/* A table that overflowed is told as one entry too many, so that it does so again. */
static void add_macs(struct value *v, const struct net_macs *t)
{
	uint32_t count = t->overflow ? VIO_NET_DEV_MACS + 1u : t->count;
	vio_le32 entries = vio_le32_of(count);

	add(v, &entries, sizeof entries);
	memset(v->bytes + v->n, 0, (size_t)count * VIO_NET_MAC);
	memcpy(v->bytes + v->n, t->mac, (size_t)t->count * VIO_NET_MAC);
	v->n += (size_t)count * VIO_NET_MAC;
}

static void save_filters(struct out *o, const struct net *n, const struct net_rules *r, struct value *v)
{
	bool extra = vio_net_dev_has(n, VIO_NET_F_CTRL_RX_EXTRA);
	bool rx = vio_net_dev_has(n, VIO_NET_F_CTRL_RX);

	for (unsigned i = 0; r->told && i < VIO_NET_CTRL_RX_MODES; i++) {
		uint8_t on = r->modes >> i & 1;
		if (i <= VIO_NET_CTRL_RX_ALLMULTI ? rx : extra)
			part(o, VIO_NET_CTRL_RX, (uint8_t)i, 0, 0, &on, sizeof on);
	}
	v->n = 0;
	if (r->told && rx) {
		add_macs(v, &r->unicast);
		add_macs(v, &r->multicast);
		part(o, VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_TABLE_SET, 0, 0, v->bytes, v->n);
	}
	if (vio_net_dev_has(n, VIO_NET_F_CTRL_MAC_ADDR) && r->has_mac)
		part(o, VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_ADDR_SET, 0, 0, r->mac, sizeof r->mac);
	v->n = 0;
	for (unsigned id = 0; id < VIO_NET_VLANS; id++) {
		vio_le16 wire = vio_le16_of((uint16_t)id);
		if (r->vlan[id / 64] >> id % 64 & 1)
			add(v, &wire, sizeof wire);
	}
	if (vio_net_dev_has(n, VIO_NET_F_CTRL_VLAN))
		part(o, VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_ADD, 0, 0, v->bytes, v->n);
	if (vio_net_dev_has(n, VIO_NET_F_GUEST_ANNOUNCE) && !(vio_le16_get(n->config.status) & VIO_NET_S_ANNOUNCE))
		part(o, VIO_NET_CTRL_ANNOUNCE, VIO_NET_CTRL_ANNOUNCE_ACK, 0, 0, NULL, 0);
}

static void add_rss(struct value *v, const struct net_rss *r)
{
	struct vio_net_rss_head head = { vio_le32_of(r->types), vio_le16_of(r->mask), vio_le16_of(r->unclassified) };
	vio_le16 max_tx = vio_le16_of(r->max_tx);

	add(v, &head, sizeof head);
	for (unsigned i = 0; i <= r->mask; i++) {
		vio_le16 wire = vio_le16_of(r->table[i]);
		add(v, &wire, sizeof wire);
	}
	add(v, &max_tx, sizeof max_tx);
	add(v, &r->key_bytes, sizeof r->key_bytes);
	add(v, r->key, r->key_bytes);
}

static void save_steering(struct out *o, const struct net *n, const struct net_rules *r, struct value *v)
{
	vio_le16 pairs = vio_le16_of(r->pairs);
	struct vio_net_hash_head hash = { .hash_types = vio_le32_of(r->hash_types), .hash_key_length = r->rss.key_bytes };

	v->n = 0;
	if (r->steering == NET_STEER_RSS) {
		add_rss(v, &r->rss);
		part(o, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, 0, 0, v->bytes, v->n);
	} else if (vio_net_dev_has(n, VIO_NET_F_MQ)) {
		part(o, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, 0, 0, &pairs, sizeof pairs);
	}
	v->n = 0;
	if (vio_net_dev_has(n, VIO_NET_F_HASH_REPORT) && !vio_net_dev_has(n, VIO_NET_F_RSS)) {
		add(v, &hash, offsetof(struct vio_net_hash_head, key));
		add(v, r->rss.key, r->rss.key_bytes);
		part(o, VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_HASH_CONFIG, 0, 0, v->bytes, v->n);
	}
	for (unsigned i = 0; i < VIO_NET_DEV_CONTEXTS; i++) {
		struct vio_net_rss_ctx_head head = { .rss_ctx_id = vio_le16_of((uint16_t)(i + 1)) };
		if (!r->has_context[i])
			continue;
		v->n = 0;
		add(v, &head, sizeof head);
		add_rss(v, &r->context[i]);
		part(o, VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_ADD, VIO_PART_F_OPTIONAL, (uint8_t)i, v->bytes, v->n);
	}
}

static struct vio_net_ctrl_coal coal_of(const struct net_coal *c)
{
	return (struct vio_net_ctrl_coal){ vio_le32_of(c->packets), vio_le32_of(c->usecs) };
}

static void save_others(struct out *o, const struct net *n, const struct net_rules *r, struct value *v)
{
	vio_le64 offloads = vio_le64_of(r->offloads);
	vio_le32 tunnels = vio_le32_of(r->tunnels);

	if (vio_net_dev_has(n, VIO_NET_F_CTRL_GUEST_OFFLOADS))
		part(o, VIO_NET_CTRL_GUEST_OFFLOADS, VIO_NET_CTRL_GUEST_OFFLOADS_SET, VIO_PART_F_OPTIONAL, 0, &offloads,
		    sizeof offloads);
	if (vio_net_dev_has(n, VIO_NET_F_HASH_TUNNEL))
		part(o, VIO_NET_CTRL_HASH_TUNNEL, VIO_NET_CTRL_HASH_TUNNEL_SET, VIO_PART_F_OPTIONAL, 0, &tunnels, sizeof tunnels);
	for (unsigned kind = 0; vio_net_dev_has(n, VIO_NET_F_NOTF_COAL) && kind < 2; kind++) {
		struct vio_net_ctrl_coal c = coal_of(&r->every[kind]);
		uint8_t which = kind ? VIO_NET_CTRL_NOTF_COAL_TX_SET : VIO_NET_CTRL_NOTF_COAL_RX_SET;
		part(o, VIO_NET_CTRL_NOTF_COAL, which, VIO_PART_F_OPTIONAL, 0, &c, sizeof c);
	}
	v->n = 0;
	for (unsigned q = 0; vio_net_dev_has(n, VIO_NET_F_VQ_NOTF_COAL) && q < 2u * n->pairs; q++) {
		const struct net_coal *own = n->pair[q / 2].coal_kept[q & 1] ? &r->coal[q] : &r->every[q & 1];
		struct vio_net_ctrl_coal_vq c = { .vq_index = vio_le16_of((uint16_t)q), .coal = coal_of(own) };
		add(v, &c, sizeof c);
	}
	if (v->n)
		part(o, VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_VQ_SET, VIO_PART_F_OPTIONAL, 0, v->bytes, v->n);
}

/* Counters are the device's word to its driver: they go on. */
enum { COUNTS = (sizeof(struct vio_net_dev_counts) + sizeof(struct net_more_counts)) / 8, PER_PAIR = COUNTS + 4 };
VIO_STATIC_ASSERT((VIO_NET_DEV_PAIRS * PER_PAIR + 4) * 8 <= VALUE, "they fit into a part");

/* Counter i of pair p: as net_impl.h has them, then kicks and signals of both queues. */
static uint64_t *counter(struct net_pair *p, unsigned i)
{
	const unsigned plain = sizeof p->counts / 8;

	if (i < plain)
		return (uint64_t *)(void *)&p->counts + i;
	if (i < COUNTS)
		return (uint64_t *)(void *)&p->more + (i - plain);
	struct vio_devq_stats *q = &p->n->dev.queue[2 * p->index + ((i - COUNTS) & 1)].ring.stats;
	return i - COUNTS < 2 ? &q->kicks : &q->signals;
}

static void save_counts(struct out *o, struct net *n, struct value *v)
{
	vio_le64 asked[2] = { vio_le64_of(n->ask.commands), vio_le64_of(n->ask.done) };

	v->n = 0;
	add(v, asked, sizeof asked);
	for (unsigned i = 0; i < n->pairs * PER_PAIR; i++) {
		vio_le64 wire = vio_le64_of(*counter(&n->pair[i / PER_PAIR], i % PER_PAIR));
		add(v, &wire, sizeof wire);
	}
	vio_le16 type = vio_le16_of(PART_COUNTS);
	size_t at = o->used;
	part(o, 0, 0, VIO_PART_F_OPTIONAL, 0, v->bytes, v->n);
	if (o->to && o->used <= o->room)
		memcpy(o->to + at, &type, sizeof type);
}

static bool load_counts(struct net *n, const unsigned char *value, size_t bytes)
{
	vio_le64 wire;

	if (bytes != (2 + (size_t)n->pairs * PER_PAIR) * sizeof wire)
		return false;
	memcpy(&wire, value, sizeof wire);
	n->ask.commands = vio_le64_get(wire);
	memcpy(&wire, value + 8, sizeof wire);
	n->ask.done = vio_le64_get(wire);
	for (unsigned i = 0; i < n->pairs * PER_PAIR; i++) {
		memcpy(&wire, value + 8 * (2 + i), sizeof wire);
		*counter(&n->pair[i / PER_PAIR], i % PER_PAIR) = vio_le64_get(wire);
	}
	return true;
}

size_t vio_net_dev_save(struct vio_dev *d, void *to, size_t room)
{
	struct net *n = vio_net_of(d);
	const struct net_rules *r = &n->rules[n->now];
	struct out o = { to, room, 0 };
	struct value v;

	save_filters(&o, n, r, &v);
	save_steering(&o, n, r, &v);
	save_others(&o, n, r, &v);
	if (vio_net_dev_has(n, VIO_NET_F_DEVICE_STATS))
		save_counts(&o, n, &v);
	return o.used;
}

/* ---- Loading ---- */

static bool load_vlans(struct net *n, const unsigned char *value, size_t bytes)
{
	const struct vio_net_ctrl c = { VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_ADD };

	for (; bytes >= 2; value += 2, bytes -= 2)
		if (!vio_net_dev_restore(n, &c, value, 2))
			return false;
	return bytes == 0;
}

/* Queues go on with what they had, as if they had only paused. */
static bool load_coal(struct net *n, const unsigned char *value, size_t bytes)
{
	struct net_rules *r = &n->rules[!n->now];
	struct vio_net_ctrl_coal_vq c;

	for (; bytes >= sizeof c; value += sizeof c, bytes -= sizeof c) {
		memcpy(&c, value, sizeof c);
		unsigned q = vio_le16_get(c.vq_index);
		if (q >= 2u * n->pairs)
			return false;
		r->coal[q] = (struct net_coal){ vio_le32_get(c.coal.max_packets), vio_le32_get(c.coal.max_usecs), ++r->serial };
		n->pair[q / 2].coal_kept[q & 1] = true;
	}
	return bytes == 0;
}

static bool load_part(struct net *n, const struct vio_part_header *h, const unsigned char *value, bool *announced)
{
	struct vio_net_ctrl c = { h->selector[0], h->selector[1] };
	size_t bytes = vio_le32_get(h->length);

	if (c.class_ == VIO_NET_CTRL_STATS || (c.class_ == VIO_NET_CTRL_RSS_CTX && c.command != VIO_NET_CTRL_RSS_CTX_ADD))
		return false;		/* nothing that configures */
	*announced |= c.class_ == VIO_NET_CTRL_ANNOUNCE;
	if (c.class_ == VIO_NET_CTRL_VLAN)
		return c.command == VIO_NET_CTRL_VLAN_ADD && load_vlans(n, value, bytes);
	if (c.class_ == VIO_NET_CTRL_NOTF_COAL && c.command == VIO_NET_CTRL_NOTF_COAL_VQ_SET)
		return vio_net_dev_has(n, VIO_NET_F_VQ_NOTF_COAL) && load_coal(n, value, bytes);
	return vio_net_dev_restore(n, &c, value, bytes);
}

static const char *load_parts(struct net *n, const unsigned char *from, size_t left, bool *announced)
{
	while (left) {
		struct vio_part_header h;
		if (left < sizeof h)
			return "the saved state of the network device ends in the middle of a part";
		memcpy(&h, from, sizeof h);
		size_t bytes = vio_le32_get(h.length);
		from += sizeof h;
		left -= sizeof h;
		if (bytes > left)
			return "the saved state of the network device ends in the middle of a part";
		bool counts = vio_le16_get(h.type) == PART_COUNTS && load_counts(n, from, bytes);
		bool ok = counts || (vio_le16_get(h.type) == VIO_NET_PART_CVQ_CFG && load_part(n, &h, from, announced));
		if (!ok && !(h.flags & VIO_PART_F_OPTIONAL))
			return "the saved state has a setting that this network device does not take: start it with the other's options";
		from += bytes;
		left -= bytes;
	}
	return NULL;
}

const char *vio_net_dev_load(struct vio_dev *d, const void *from, size_t n_bytes)
{
	struct net *n = vio_net_of(d);
	struct vio_net_config before = n->config;
	bool announced = false;

	vio_net_dev_restore_begin(n);
	const char *why = load_parts(n, from, n_bytes, &announced);
	if (why) {
		n->config = before;
		return why;
	}
	if (vio_net_dev_has(n, VIO_NET_F_GUEST_ANNOUNCE) && !announced)
		n->config.status = vio_le16_of(vio_le16_get(n->config.status) | VIO_NET_S_ANNOUNCE);
	vio_net_dev_restore_end(n);
	return NULL;
}
