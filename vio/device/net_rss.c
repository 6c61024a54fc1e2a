/* Commands about hashes and the queues they lead to (virtio 1.4, 5.1.6.4.3, 5.1.6.5.6, 5.1.6.5.7, 5.1.6.5.8). */
#include <vio/device/net_impl.h>

/* A key's length, and the key: the end of a command. */
static bool read_key(struct net_asking *a, uint8_t *bytes, uint8_t *key)
{
	if (!vio_cur_get(&a->in, bytes, sizeof *bytes) || *bytes > NET_HASH_KEY)
		return false;
	return a->in.left == *bytes && vio_cur_get(&a->in, key, *bytes);
}

static bool is_table(const struct net *n, uint16_t mask) { return mask < n->rss_table && !(mask & (mask + 1)); }

/* All that is left of the command.  Whatever queue is named exists. */
static bool read_rss(struct net_asking *a, struct net_rss *r)
{
	const struct net *n = a->n;
	struct vio_net_rss_head head;
	vio_le16 table[VIO_NET_DEV_RSS_TABLE], max_tx;

	*r = (struct net_rss){ 0 };
	if (!vio_cur_get(&a->in, &head, sizeof head))
		return false;
	r->types = vio_le32_get(head.hash_types);
	r->mask = vio_le16_get(head.indirection_table_mask);
	r->unclassified = vio_le16_get(head.unclassified_queue);
	if (r->types & ~(uint32_t)VIO_NET_HASH_ALL || !is_table(n, r->mask) || r->unclassified >= n->pairs)
		return false;
	if (!vio_cur_get(&a->in, table, sizeof *table * (r->mask + 1u)) || !vio_cur_get(&a->in, &max_tx, sizeof max_tx))
		return false;
	r->max_tx = vio_le16_get(max_tx);
	for (unsigned i = 0; i <= r->mask; i++)
		if ((r->table[i] = vio_le16_get(table[i])) >= n->pairs)
			return false;
	return r->max_tx && r->max_tx <= n->pairs && read_key(a, &r->key_bytes, r->key);
}

static uint16_t pairs_of(const struct net_rss *r)
{
	uint16_t pairs = r->max_tx > r->unclassified ? r->max_tx : (uint16_t)(r->unclassified + 1);

	for (unsigned i = 0; i <= r->mask; i++)
		if (r->table[i] >= pairs)
			pairs = (uint16_t)(r->table[i] + 1);
	return pairs;
}

bool vio_net_dev_rss_config(struct net_asking *a)
{
	struct net_rules *r = a->rules;

	if (!read_rss(a, &r->rss))
		return false;
	r->steering = NET_STEER_RSS;
	r->pairs = pairs_of(&r->rss);
	r->hash_types = r->rss.types;
	vio_net_dev_hash_key(&r->key, r->rss.key, r->rss.key_bytes);
	a->changed = true;
	return true;
}

/* 5.1.6.4.3: where RSS was negotiated its command alone says what is hashed. */
bool vio_net_dev_hash_config(struct net_asking *a)
{
	struct vio_net_hash_head head;
	struct net_rules *r = a->rules;

	if (vio_net_dev_has(a->n, VIO_NET_F_RSS) ||
	    !vio_cur_get(&a->in, &head, offsetof(struct vio_net_hash_head, hash_key_length)))
		return false;
	r->hash_types = vio_le32_get(head.hash_types);
	if (r->hash_types & ~(uint32_t)VIO_NET_HASH_ALL || !read_key(a, &r->rss.key_bytes, r->rss.key))
		return false;
	vio_net_dev_hash_key(&r->key, r->rss.key, r->rss.key_bytes);
	a->changed = true;
	return true;
}

bool vio_net_dev_tunnel_set(struct net_asking *a)
{
	vio_le32 wire;

	if (!vio_net_dev_take(a, &wire, sizeof wire) || vio_le32_get(wire) & ~(uint32_t)VIO_NET_TUNNEL_ALL)
		return false;
	a->rules->tunnels = vio_le32_get(wire);
	a->changed = true;
	return true;
}

/* ---- RSS contexts ---- */

bool vio_net_dev_context_cap(struct net_asking *a)
{
	vio_le16 most = vio_le16_of(a->n->rss_contexts);

	return !a->in.left && vio_cur_put(&a->out, &most, sizeof most);
}

/* Contexts are numbered from 1. */
static bool find_context(const struct net_asking *a, vio_le16 wire, bool exists, unsigned *i)
{
	unsigned id = vio_le16_get(wire);

	*i = id - 1;
	return id && id <= a->n->rss_contexts && a->rules->has_context[*i] == exists;
}

static bool put_context(struct net_asking *a, bool exists)
{
	struct vio_net_rss_ctx_head head;
	unsigned i;

	if (!vio_cur_get(&a->in, &head, sizeof head) || !find_context(a, head.rss_ctx_id, exists, &i) ||
	    !read_rss(a, &a->rules->context[i]))
		return false;
	a->rules->has_context[i] = a->changed = true;
	return true;
}

bool vio_net_dev_context_add(struct net_asking *a) { return put_context(a, false); }
bool vio_net_dev_context_mod(struct net_asking *a) { return put_context(a, true); }

bool vio_net_dev_context_del(struct net_asking *a)
{
	vio_le16 wire;
	unsigned i;

	if (!vio_net_dev_take(a, &wire, sizeof wire) || !find_context(a, wire, true, &i))
		return false;
	a->rules->has_context[i] = false;
	a->changed = true;
	return true;
}
