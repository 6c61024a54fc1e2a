/*
 * Notification coalescing (virtio 1.4, 5.1.6.5.10): the last command that named a queue counts; a queue that is started anew begins
 * with what was set for all of its kind.  Counting and waiting are the device core's (vio_dev_coalesce()).
 */
#include <vio/device/net_impl.h>

/* ---- Commands ---- */

static struct net_coal read_coal(struct net_asking *a, struct vio_net_ctrl_coal wire)
{
	return (struct net_coal){ .packets = vio_le32_get(wire.max_packets), .usecs = vio_le32_get(wire.max_usecs),
		.serial = ++a->rules->serial };
}

static bool set_all(struct net_asking *a, unsigned kind)
{
	struct vio_net_ctrl_coal wire;

	if (!vio_net_dev_take(a, &wire, sizeof wire))
		return false;
	struct net_coal c = a->rules->every[kind] = read_coal(a, wire);
	for (unsigned q = kind; q < 2u * a->n->pairs; q += 2)
		a->rules->coal[q] = c;
	a->changed = true;
	return true;
}

bool vio_net_dev_coal_rx(struct net_asking *a) { return set_all(a, 0); }
bool vio_net_dev_coal_tx(struct net_asking *a) { return set_all(a, 1); }

/* 5.1.6.5.10.2: an enabled receive or transmit queue. */
static bool is_enabled(const struct net_asking *a, unsigned q)
{
	if (q / 2 >= a->rules->pairs)
		return false;
	const struct net_pair *p = &a->n->pair[q / 2];
	if (vio_dev_together(&a->n->dev, q, a->n->control))	/* the word may be behind the queue until its next turn */
		return vio_net_dev_runs(q & 1 ? p->tx : p->rx);
	return __atomic_load_n(&p->alive, __ATOMIC_RELAXED) >> (q & 1) & 1;
}

bool vio_net_dev_coal_set(struct net_asking *a)
{
	struct vio_net_ctrl_coal_vq wire;

	if (!vio_net_dev_take(a, &wire, sizeof wire) || !is_enabled(a, vio_le16_get(wire.vq_index)))
		return false;
	a->rules->coal[vio_le16_get(wire.vq_index)] = read_coal(a, wire.coal);
	a->changed = true;
	return true;
}

/* The driver says which queue; it may send the whole structure, of which the rest is the device's to write. */
bool vio_net_dev_coal_get(struct net_asking *a)
{
	struct vio_net_ctrl_coal_vq wire;
	enum { HEAD = offsetof(struct vio_net_ctrl_coal_vq, coal) };

	if ((a->in.left != HEAD && a->in.left != sizeof wire) || !vio_cur_get(&a->in, &wire, HEAD))
		return false;
	unsigned q = vio_le16_get(wire.vq_index);
	if (!is_enabled(a, q))
		return false;
	uint64_t now = __atomic_load_n(&a->n->pair[q / 2].coal_now[q & 1], __ATOMIC_RELAXED);
	wire.coal = (struct vio_net_ctrl_coal){ vio_le32_of((uint32_t)now), vio_le32_of((uint32_t)(now >> 32)) };
	return vio_cur_put(&a->out, &wire.coal, sizeof wire.coal);
}

/* ---- Queues: in the pair's thread ---- */

static void apply(struct net_pair *p, struct vio_devq *q, const struct net_coal *c)
{
	unsigned kind = q->index & 1;

	__atomic_store_n(&p->coal_now[kind], c->packets | (uint64_t)c->usecs << 32, __ATOMIC_RELAXED);
	vio_dev_coalesce(q, c->packets, c->usecs);
}

static const struct net_coal *rule_of(const struct net_pair *p, unsigned kind) { return &p->rules->coal[2 * p->index + kind]; }

void vio_net_dev_coal_adopt(struct net_pair *p)
{
	for (unsigned kind = 0; kind < 2; kind++) {
		struct vio_devq *q = kind ? p->tx : p->rx;
		const struct net_coal *c = rule_of(p, kind);
		if (!q || p->coal_seen[kind] == c->serial)
			continue;
		p->coal_seen[kind] = c->serial;
		apply(p, q, c);
	}
}

void vio_net_dev_coal_begin(struct net_pair *p, struct vio_devq *q)
{
	unsigned kind = q->index & 1;
	const struct net_coal *own = rule_of(p, kind);

	apply(p, q, p->coal_kept[kind] ? own : &p->rules->every[kind]);
	p->coal_seen[kind] = own->serial;
	p->coal_kept[kind] = false;
}

/* A device that is suspended or frozen goes on as it was, and what it was told and has not yet adopted counts too. */
void vio_net_dev_coal_end(struct net_pair *p, struct vio_devq *q)
{
	unsigned kind = q->index & 1;
	uint64_t own = rule_of(p, kind)->packets | (uint64_t)rule_of(p, kind)->usecs << 32;

	bool told = p->coal_seen[kind] != rule_of(p, kind)->serial;

	p->coal_kept[kind] = vio_dev_pausing(&p->n->dev) && (told || own == p->coal_now[kind]);
}
