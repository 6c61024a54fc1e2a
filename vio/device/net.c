/*
 * Network device (virtio 1.4, section 5.1): options, config space, queues and the lanes behind them.
 *
 *     receiveq p ◀── net_rx.c ◀── lane p ◀── the world
 *     transmitq p ──▶ net_tx.c ──▶ lane p ──▶
 *     controlq ──▶ net_ctrl.c ──▶ rules ──▶ every pair
 *
 * Queues are 2p and 2p + 1; the control queue's number depends on what the driver accepts (5.1.2): behind all pairs with MQ or
 * RSS, otherwise 2.  A front end that keeps the control queue for itself (QEMU) does not pass CTRL_VQ on: then each pair is
 * used as soon as its queues are enabled.
 */
#include <vio/device/net_impl.h>

/* ---- Features ---- */

static const unsigned char features[] = {
	VIO_NET_F_CSUM, VIO_NET_F_GUEST_CSUM, VIO_NET_F_CTRL_GUEST_OFFLOADS, VIO_NET_F_MTU, VIO_NET_F_MAC,
	VIO_NET_F_GUEST_TSO4, VIO_NET_F_GUEST_TSO6, VIO_NET_F_GUEST_ECN, VIO_NET_F_GUEST_UFO,
	VIO_NET_F_HOST_TSO4, VIO_NET_F_HOST_TSO6, VIO_NET_F_HOST_ECN, VIO_NET_F_HOST_UFO,
	VIO_NET_F_MRG_RXBUF, VIO_NET_F_STATUS, VIO_NET_F_CTRL_VQ, VIO_NET_F_CTRL_RX, VIO_NET_F_CTRL_VLAN,
	VIO_NET_F_CTRL_RX_EXTRA, VIO_NET_F_GUEST_ANNOUNCE, VIO_NET_F_MQ, VIO_NET_F_CTRL_MAC_ADDR,
	VIO_NET_F_DEVICE_STATS, VIO_NET_F_HASH_TUNNEL, VIO_NET_F_VQ_NOTF_COAL, VIO_NET_F_NOTF_COAL,
	VIO_NET_F_GUEST_USO4, VIO_NET_F_GUEST_USO6, VIO_NET_F_HOST_USO, VIO_NET_F_HASH_REPORT, VIO_NET_F_GUEST_HDRLEN,
	VIO_NET_F_RSS, VIO_NET_F_RSC_EXT, VIO_NET_F_SPEED_DUPLEX, VIO_NET_F_RSS_CONTEXT,
};

/* 5.1.3.1 */
static const struct vio_feature_need needs[] = {
	{ VIO_NET_F_GUEST_TSO4, VIO_NET_F_GUEST_CSUM },
	{ VIO_NET_F_GUEST_TSO6, VIO_NET_F_GUEST_CSUM },
	{ VIO_NET_F_GUEST_UFO, VIO_NET_F_GUEST_CSUM },
	{ VIO_NET_F_GUEST_USO4, VIO_NET_F_GUEST_CSUM },
	{ VIO_NET_F_GUEST_USO6, VIO_NET_F_GUEST_CSUM },
	{ VIO_NET_F_HOST_TSO4, VIO_NET_F_CSUM },
	{ VIO_NET_F_HOST_TSO6, VIO_NET_F_CSUM },
	{ VIO_NET_F_HOST_UFO, VIO_NET_F_CSUM },
	{ VIO_NET_F_HOST_USO, VIO_NET_F_CSUM },
	{ VIO_NET_F_CTRL_RX, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_CTRL_RX_EXTRA, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_CTRL_VLAN, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_GUEST_ANNOUNCE, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_MQ, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_CTRL_MAC_ADDR, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_NOTF_COAL, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_VQ_NOTF_COAL, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_RSS, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_HASH_REPORT, VIO_NET_F_CTRL_VQ },	/* without it no hash could be asked for */
	{ VIO_NET_F_HASH_TUNNEL, VIO_NET_F_CTRL_VQ },
	{ VIO_NET_F_RSS_CONTEXT, VIO_NET_F_RSS },
	{ 0, 0 }
};

/* "ECN needs TSO4 or TSO6": the needs that a table of pairs can't say. */
static const struct { unsigned char bit, on, or_on; } either[] = {
	{ VIO_NET_F_GUEST_ECN, VIO_NET_F_GUEST_TSO4, VIO_NET_F_GUEST_TSO6 },
	{ VIO_NET_F_HOST_ECN, VIO_NET_F_HOST_TSO4, VIO_NET_F_HOST_TSO6 },
	{ VIO_NET_F_RSC_EXT, VIO_NET_F_HOST_TSO4, VIO_NET_F_HOST_TSO6 },
	{ VIO_NET_F_HASH_TUNNEL, VIO_NET_F_RSS, VIO_NET_F_HASH_REPORT },
};

/* The first that lacks both; VIO_F_LIMIT: none. */
static unsigned lacks_both(struct vio_features f)
{
	for (size_t i = 0; i < sizeof either / sizeof *either; i++)
		if (vio_has(f, either[i].bit) && !vio_has(f, either[i].on) && !vio_has(f, either[i].or_on))
			return either[i].bit;
	return VIO_F_LIMIT;
}

static bool net_features_ok(struct vio_dev *d, struct vio_features f)
{
	(void)d;
	return lacks_both(f) == VIO_F_LIMIT;
}

static void drop(struct net *n, unsigned bit) { vio_features_drop(&n->dev.type_features, bit); }

/* What is not there is not offered, nor what needs it. */
static void offer(struct net *n, const struct vio_net_options *o)
{
	struct vio_features *f = &n->dev.type_features;
	unsigned bit;

	if (!n->has_mac)
		drop(n, VIO_NET_F_MAC);
	if (!vio_le16_get(n->config.mtu))
		drop(n, VIO_NET_F_MTU);
	if (!o->coalesced)
		drop(n, VIO_NET_F_RSC_EXT);
	if (n->pairs == 1) {
		drop(n, VIO_NET_F_MQ);
		drop(n, VIO_NET_F_RSS);
	}
	*f = vio_features_minus(*f, o->without);
	if (!vio_has(*f, VIO_NET_F_STATUS))
		drop(n, VIO_NET_F_GUEST_ANNOUNCE);	/* there would be no bit to ask with */
	while ((bit = vio_features_unmet(*f, needs)) != VIO_F_LIMIT || (bit = lacks_both(*f)) != VIO_F_LIMIT)
		drop(n, bit);
}

/* ---- Config space ---- */

static bool offered(const struct net *n, unsigned bit) { return vio_has(n->dev.type_features, bit); }

static void tell_speed(struct net *n)
{
	bool own = n->speed != 0;

	n->config.speed = vio_le32_of(own ? n->speed : n->link->speed);
	n->config.duplex = own ? n->duplex : n->link->duplex;
}

static void fill_config(struct net *n)
{
	struct vio_net_config *c = &n->config;
	vio_le16 mtu = c->mtu;

	*c = (struct vio_net_config){ .mtu = offered(n, VIO_NET_F_MTU) ? mtu : vio_le16_of(0) };
	if (offered(n, VIO_NET_F_MAC))
		memcpy(c->mac, n->mac, sizeof c->mac);
	if (offered(n, VIO_NET_F_STATUS))
		c->status = vio_le16_of(n->link->up ? VIO_NET_S_LINK_UP : 0);
	if (offered(n, VIO_NET_F_MQ) || offered(n, VIO_NET_F_RSS))
		c->max_virtqueue_pairs = vio_le16_of(n->pairs);
	if (offered(n, VIO_NET_F_SPEED_DUPLEX))
		tell_speed(n);
	if (offered(n, VIO_NET_F_RSS))
		c->rss_max_indirection_table_length = vio_le16_of(n->rss_table);
	if (offered(n, VIO_NET_F_RSS) || offered(n, VIO_NET_F_HASH_REPORT)) {
		c->rss_max_key_size = NET_HASH_KEY;
		c->supported_hash_types = vio_le32_of(VIO_NET_HASH_ALL);
	}
	if (offered(n, VIO_NET_F_HASH_TUNNEL))
		c->supported_tunnel_types = vio_le32_of(VIO_NET_TUNNEL_ALL);
}

/* 5.1.4.1: speed and duplex stay what they are while the driver sees the link up. */
static void on_link_changed(void *arg)
{
	struct net *n = arg;
	struct vio_net_config before = n->config;
	uint16_t status = vio_le16_get(n->config.status);
	bool was_up = status & VIO_NET_S_LINK_UP;

	if (!offered(n, VIO_NET_F_STATUS))
		return;
	if (offered(n, VIO_NET_F_SPEED_DUPLEX) && !(was_up && n->link->up))
		tell_speed(n);
	status = (uint16_t)((status & ~VIO_NET_S_LINK_UP) | (n->link->up ? VIO_NET_S_LINK_UP : 0));
	n->config.status = vio_le16_of(status);
	if (memcmp(&before, &n->config, sizeof before))
		vio_dev_config_changed(&n->dev);
}

bool vio_net_dev_announce(struct vio_dev *d)
{
	struct net *n = vio_net_of(d);

	if (!vio_net_dev_has(n, VIO_NET_F_GUEST_ANNOUNCE) || !vio_net_dev_has(n, VIO_NET_F_STATUS))
		return false;
	n->config.status = vio_le16_of(vio_le16_get(n->config.status) | VIO_NET_S_ANNOUNCE);
	vio_dev_config_changed(d);
	return true;
}

struct vio_net_dev_counts vio_net_dev_counts(const struct vio_dev *d, unsigned pair)
{
	const struct net *n = (const struct net *)d;

	return pair < n->pairs ? n->pair[pair].counts : (struct vio_net_dev_counts){ 0 };
}

/* ---- Lanes ---- */

void vio_net_dev_refresh(struct net_pair *p)
{
	bool used = p->index < p->rules->pairs;
	uint8_t alive = (uint8_t)(used && vio_net_dev_runs(p->rx) ? 1 : 0) | (uint8_t)(used && vio_net_dev_runs(p->tx) ? 2 : 0);
	bool on = alive != 0;

	if (alive != p->alive)
		__atomic_store_n(&p->alive, alive, __ATOMIC_RELAXED);
	if (on == p->on)
		return;
	p->on = on;
	p->tx_waits = false;
	p->placed = p->sent = 0;	/* what waited in the lane is gone */
	if (p->lane->ops->enable)
		p->lane->ops->enable(p->lane, on);
	if (on && p->lane->ops->offloads)
		p->lane->ops->offloads(p->lane, p->lets);
}

static void on_ready(void *arg)
{
	struct net_pair *p = arg;

	if (vio_net_dev_runs(p->rx))
		vio_dev_wake(p->rx);
	if (p->tx && (p->tx_waits || !vio_net_dev_runs(p->rx)))
		vio_dev_wake(p->tx);
	p->tx_waits = false;
}

/*
 * From outside a turn, which the push asks for.  What the operator may want to hold back waits in the link for a turn, as does
 * what there is no buffer for.
 */
static bool deliver_now(void *arg, const struct vio_frame *f, struct vio_cur bytes)
{
	struct net_pair *p = arg;
	const struct vio_dev *d = &p->n->dev;
	struct vio_dev_queue *dq = p->rx ? vio_net_dev_queue(p->rx) : NULL;

	if (!p->on || !vio_net_dev_runs(p->rx) || dq->state != VIO_QUEUE_STARTED || p->rx->broken || dq->charged.on ||
	    __atomic_load_n(&d->held, __ATOMIC_RELAXED) || __atomic_load_n(&d->limited, __ATOMIC_RELAXED))
		return false;
	return vio_net_dev_deliver(arg, f, bytes);
}

static bool open_lanes(struct net *n)
{
	for (unsigned i = 0; i < n->pairs; i++) {
		struct net_pair *p = &n->pair[i];
		struct vio_link_lane *lane = n->link->ops->lane(n->link, i);
		if (!lane) {
			while (i--)
				n->pair[i].lane->ops->close(n->pair[i].lane);
			return false;
		}
		lane->deliver = vio_net_dev_deliver;
		lane->deliver_now = deliver_now;
		lane->ready = on_ready;
		lane->arg = p;
		*p = (struct net_pair){ .n = n, .index = i, .lane = lane, .rules = &n->rules[0] };
	}
	return true;
}

/* ---- Queues ---- */

static unsigned net_lane(const struct vio_dev *d, unsigned queue)
{
	return queue / 2 < ((const struct net *)d)->pairs ? queue / 2 : 0;
}

/* The pair that a queue is of; NULL: the control queue, or one that means nothing with the features accepted. */
static struct net_pair *pair_of(struct net *n, unsigned queue)
{
	if (queue == n->control || queue / 2 >= n->pairs || (n->control != NET_NO_QUEUE && queue > n->control))
		return NULL;
	return &n->pair[queue / 2];
}

static struct vio_devq **place_of(struct net_pair *p, unsigned queue) { return queue & 1 ? &p->tx : &p->rx; }

static const char *net_queue_start(struct vio_dev *d, struct vio_devq *q)
{
	struct net_pair *p = pair_of(vio_net_of(d), q->index);

	if (p) {
		*place_of(p, q->index) = q;
		p->sent = 0;
		vio_net_dev_coal_begin(p, q);
	}
	return NULL;
}

static void net_queue_stop(struct vio_dev *d, struct vio_devq *q)
{
	struct net_pair *p = pair_of(vio_net_of(d), q->index);

	if (!p)
		return;
	*place_of(p, q->index) = NULL;
	vio_net_dev_coal_end(p, q);
	vio_net_dev_refresh(p);
	if (!p->rx && !p->tx)
		vio_net_dev_free_parcels(p);
	if (p->tx && !p->rx)
		vio_dev_wake(p->tx);		/* what still comes by this lane is its turn's business now */
}

static void net_queue(struct vio_dev *d, struct vio_devq *q)
{
	struct net *n = vio_net_of(d);
	struct net_pair *p = pair_of(n, q->index);

	if (p && q->index & 1)
		vio_net_dev_transmit(p, q);
	else if (p)
		vio_net_dev_receive(p, q);
	else if (q->index == n->control)
		vio_net_dev_control(n, q);
	else
		q->why_empty = VIO_WAIT_DEVICE;
}

/* Started, but disabled: what is sent is lost, nothing is received. */
static void net_disabled(struct vio_dev *d, struct vio_devq *q)
{
	struct net_pair *p = pair_of(vio_net_of(d), q->index);

	if (p)
		vio_net_dev_refresh(p);
	if (p && q->index & 1)
		vio_net_dev_discard(p, q);
	else
		q->why_empty = VIO_WAIT_DEVICE;
}

static bool net_unlimited(const struct vio_dev *d, unsigned queue) { return queue == ((const struct net *)d)->control; }

/* ---- Life ---- */

static const char *check(const struct vio_net_options *o)
{
	uint16_t size = o->queue_size;

	if (!o->link)
		return "a network device needs a link: say where its frames go";
	if (o->pairs == 0 || o->pairs > VIO_NET_DEV_PAIRS || o->pairs > o->link->lanes)
		return "the number of queue pairs is zero, or more than the link or the device can have: choose fewer";
	if (size && (size & (size - 1) || size > VIO_RING_SIZE_MAX))
		return "the queue size is not a power of two up to 32768";
	if (o->has_mac && o->mac[0] & 1)
		return "the MAC address is a group's: choose one whose first byte is even";
	if (o->mtu && o->mtu < VIO_NET_MTU_MIN)
		return "the MTU is below 68 bytes: choose a larger one";
	if (o->speed > VIO_NET_SPEED_MAX || (o->speed && o->duplex > VIO_NET_DUPLEX_FULL && o->duplex != VIO_NET_DUPLEX_UNKNOWN))
		return "the speed is beyond 2147483647 Mb/s, or duplex is neither half, full nor unknown";
	if (o->rss_table && (o->rss_table & (o->rss_table - 1) || o->rss_table < VIO_NET_RSS_TABLE_MIN ||
	    o->rss_table > VIO_NET_DEV_RSS_TABLE))
		return "the indirection table is not a power of two between 128 and 512 entries";
	if (o->rss_contexts > VIO_NET_DEV_CONTEXTS)
		return "there are at most 8 RSS contexts: choose fewer";
	return NULL;
}

static void take_options(struct net *n, const struct vio_net_options *o)
{
	const struct vio_link *l = o->link;
	uint16_t mtu = o->mtu ? o->mtu : l->mtu >= VIO_NET_MTU_MIN ? l->mtu : 0;

	n->link = o->link;
	n->pairs = o->pairs;
	n->has_mac = l->gives_mac || o->has_mac;
	memcpy(n->mac, l->gives_mac ? l->mac : o->mac, sizeof n->mac);
	n->speed = o->speed;
	n->duplex = o->duplex;
	n->rss_table = o->rss_table ? o->rss_table : VIO_NET_RSS_TABLE_MIN;
	n->rss_contexts = o->rss_contexts ? o->rss_contexts : VIO_NET_DEV_CONTEXTS;
	n->config.mtu = vio_le16_of(mtu);
}

static void net_negotiated(struct vio_dev *d)
{
	struct net *n = vio_net_of(d);
	bool many = vio_net_dev_has(n, VIO_NET_F_MQ) || vio_net_dev_has(n, VIO_NET_F_RSS);

	n->control = !vio_net_dev_has(n, VIO_NET_F_CTRL_VQ) ? NET_NO_QUEUE : many ? (uint16_t)(2 * n->pairs) : 2;
	n->header = vio_net_dev_has(n, VIO_NET_F_HASH_REPORT) ? VIO_NET_HDR_HASH : VIO_NET_HDR_PLAIN;
	n->mergeable = vio_net_dev_has(n, VIO_NET_F_MRG_RXBUF);
	n->rx_max = vio_net_dev_has(n, VIO_NET_F_MTU) ? vio_le16_get(n->config.mtu) + (uint32_t)VIO_NET_ETH : VIO_FRAME_MAX;
	vio_net_dev_default_rules(n);
}

/* Back to how it was opened; every queue is stopped, so that what belongs to the pairs' threads may be written. */
static void net_reset(struct vio_dev *d)
{
	struct net *n = vio_net_of(d);

	fill_config(n);
	memset(n->flow, 0, sizeof n->flow);
	for (unsigned i = 0; i < n->pairs; i++)
		memset(n->pair[i].coal_kept, 0, sizeof n->pair[i].coal_kept);
	net_negotiated(d);
}

static const char *net_open(struct vio_dev *d, const void *options)
{
	const struct vio_net_options *o = options;
	struct net *n = vio_net_of(d);
	const char *why = check(o);

	if (why)
		return why;
	take_options(n, o);
	offer(n, o);
	if (!open_lanes(n))
		return "there is no memory, or there are no descriptors, for the lanes of the link: choose fewer queue pairs";
	d->queues = (uint16_t)(2 * n->pairs + (offered(n, VIO_NET_F_CTRL_VQ) ? 1 : 0));
	d->queue_size_max = o->queue_size ? o->queue_size : 1024;
	d->config = (uint8_t *)&n->config;
	n->link->changed = on_link_changed;
	n->link->changed_arg = n;
	net_reset(d);
	return NULL;
}

static void net_close(struct vio_dev *d)
{
	struct net *n = vio_net_of(d);

	n->link->changed = NULL;
	for (unsigned i = 0; i < n->pairs; i++)
		n->pair[i].lane->ops->close(n->pair[i].lane);
}

const struct vio_dev_type vio_dev_net = {
	.name = "net",
	.id = VIO_ID_NET,
	.features = features,
	.features_count = sizeof features,
	.needs = needs,
	.config_len = sizeof(struct vio_net_config),
	.queue_size_max = VIO_RING_SIZE_MAX,
	.instance = sizeof(struct net),
	.request = sizeof(struct net_buffer),
	.unlimited = net_unlimited,
	.lane = net_lane,
	.no_replay = true,
	.parts = true,
	.backend = VIO_BACKEND_LINK,
	.open = net_open,
	.close = net_close,
	.features_ok = net_features_ok,
	.negotiated = net_negotiated,
	.reset = net_reset,
	.save = vio_net_dev_save,
	.load = vio_net_dev_load,
	.queue_start = net_queue_start,
	.queue_stop = net_queue_stop,
	.queue = net_queue,
	.disabled = net_disabled,
};
