/*
 * Which pair a frame belongs to (virtio 1.4, 5.1.6.5.6 and 5.1.6.5.7), and its way there.
 *
 *   RSS      the driver's table says it; a pair whose queue is being reset loses its frames
 *   flows    the pair that sent a frame of the same flow last, as the driver has placed it; otherwise the lane's own
 *
 * A pair of the same thread is given the frame at once.  To one of another thread it is sent: a copy in a parcel, of which each
 * pair has a few; when all are under way, the lane waits.  A frame that finds no buffer at another pair than its lane's is lost, as
 * it would be in a card: waiting would hold up the frames behind it, which are other pairs'.
 */
#include <vio/device/net_impl.h>

static bool usable(const struct net_pair *p) { return __atomic_load_n(&p->alive, __ATOMIC_RELAXED) & 1; }

/* 5.1.6.5.6.1: where there is a choice, another queue takes the frames of one that is being reset. */
static struct net_pair *any_usable(struct net *n, const struct net_rules *r, unsigned first)
{
	for (unsigned i = 0; i < r->pairs; i++) {
		struct net_pair *p = &n->pair[(first + i) % r->pairs];
		if (usable(p))
			return p;
	}
	return NULL;
}

static uint8_t *flow_of(struct net *n, const struct net_headers *h) { return &n->flow[vio_net_dev_flow(h) & (NET_FLOWS - 1)]; }

static struct net_pair *by_flow(struct net_pair *p, const struct net_headers *h, bool readable)
{
	struct net *n = p->n;
	if (readable) {
		uint8_t known = __atomic_load_n(flow_of(n, h), __ATOMIC_RELAXED);
		if (known && known <= p->rules->pairs && usable(&n->pair[known - 1]))
			return &n->pair[known - 1];
	}
	return any_usable(n, p->rules, p->index);
}

struct net_pair *vio_net_dev_steer(struct net_pair *p, struct vio_cur bytes, struct net_hashed *hashed)
{
	const struct net_rules *r = p->rules;
	struct net_headers h;

	*hashed = (struct net_hashed){ 0 };
	if (r->steering == NET_STEER_NOT && !r->hash_types)
		return any_usable(p->n, r, p->index);
	bool readable = vio_net_dev_read(&h, bytes);
	if (readable && r->hash_types)
		hashed->report = vio_net_dev_hash(&r->key, r->hash_types, r->tunnels, &h, &hashed->value);
	if (r->steering != NET_STEER_RSS)
		return by_flow(p, &h, readable && r->steering == NET_STEER_FLOWS);
	struct net_pair *to = &p->n->pair[hashed->report ? r->rss.table[hashed->value & r->rss.mask] : r->rss.unclassified];
	return usable(to) ? to : NULL;		/* 5.1.6.5.7.2 */
}

void vio_net_dev_learn(struct net_pair *p, struct vio_cur bytes)
{
	struct net_headers h;

	if (!vio_net_dev_read(&h, bytes))
		return;
	uint8_t *known = flow_of(p->n, &h), now = (uint8_t)(p->index + 1);
	if (__atomic_load_n(known, __ATOMIC_RELAXED) != now)
		__atomic_store_n(known, now, __ATOMIC_RELAXED);
}

/* ---- Parcels ---- */

enum { PARCELS_BYTES = NET_PARCELS * sizeof(struct net_parcel) };

static bool make_parcels(struct net_pair *p)
{
	struct vio_dev *d = &p->n->dev;

	if (!p->parcels)
		p->parcels = d->port->alloc(d->port_arg, PARCELS_BYTES);
	else
		return true;
	for (unsigned i = 0; p->parcels && i < NET_PARCELS; i++) {
		p->parcels[i].next = p->parcel;
		p->parcel = &p->parcels[i];
	}
	return p->parcels;
}

void vio_net_dev_free_parcels(struct net_pair *p)
{
	struct vio_dev *d = &p->n->dev;

	if (p->parcels)
		d->port->free(d->port_arg, p->parcels, PARCELS_BYTES);
	p->parcels = p->parcel = NULL;
}

static void hand_over(struct net_pair *to, const struct vio_frame *f, struct vio_cur bytes, const struct net_hashed *h)
{
	unsigned placed = 0;

	if (vio_net_dev_runs(to->rx) && vio_net_dev_place(to, f, bytes, h, &placed))
		return;
	to->counts.rx_dropped++;
	to->counts.rx_overruns++;
}

/* The sender's thread. */
static void on_back(void *arg)
{
	struct net_parcel *parcel = arg;
	struct net_pair *p = parcel->from;
	struct vio_devq *q = parcel->q;

	parcel->next = p->parcel;
	p->parcel = parcel;
	if (p->parcel_waits && vio_net_dev_runs(q))
		vio_dev_wake(q);
	p->parcel_waits = false;
	vio_dev_busy(q, false);		/* the last: the queue may be stopped by it */
}

/* The receiver's thread. */
static void on_parcel(void *arg)
{
	struct net_parcel *parcel = arg;
	struct vio_seg seg = { parcel->bytes, parcel->length };

	hand_over(parcel->to, &parcel->frame, (struct vio_cur){ .seg = &seg, .left = parcel->length }, &parcel->hash);
	parcel->call = (struct vio_dev_call){ .fn = on_back, .arg = parcel };
	vio_dev_post(&parcel->from->n->dev, 2 * parcel->from->index, &parcel->call);
}

bool vio_net_dev_pass(struct net_pair *p, struct net_pair *to, const struct vio_frame *f, struct vio_cur bytes,
    const struct net_hashed *h)
{
	struct vio_dev *d = &p->n->dev;

	if (vio_dev_together(d, 2 * p->index, 2 * to->index)) {
		hand_over(to, f, bytes, h);
		return true;
	}
	if (!make_parcels(p)) {
		p->counts.rx_dropped++;
		return true;
	}
	struct net_parcel *parcel = p->parcel;
	p->parcel_waits = !parcel;
	if (!parcel)
		return false;
	p->parcel = parcel->next;
	parcel->from = p;
	parcel->to = to;
	parcel->q = p->turn;
	parcel->frame = *f;
	parcel->hash = *h;
	parcel->length = (uint32_t)bytes.left;
	vio_cur_get(&bytes, parcel->bytes, parcel->length);
	parcel->call = (struct vio_dev_call){ .fn = on_parcel, .arg = parcel };
	vio_dev_busy(p->turn, true);
	vio_dev_post(d, 2 * to->index, &parcel->call);
	return true;
}
