/* Device statistics (virtio 1.4, 5.1.6.5.11): a command that asks wrongly for one thing gets nothing. */
#include <vio/device/net_impl.h>

#define BIT(n) (UINT64_C(1) << (n))
#define RX (BIT(VIO_NET_STATS_RX_BASIC) | BIT(VIO_NET_STATS_RX_CSUM) | BIT(VIO_NET_STATS_RX_GSO) | BIT(VIO_NET_STATS_RX_SPEED))
#define TX (BIT(VIO_NET_STATS_TX_BASIC) | BIT(VIO_NET_STATS_TX_CSUM) | BIT(VIO_NET_STATS_TX_GSO) | BIT(VIO_NET_STATS_TX_SPEED))

enum { MOST = 6 };			/* counters of a type */

static unsigned collect(const struct net *n, unsigned queue, unsigned type, uint64_t *v)
{
	const struct net_pair *p = &n->pair[queue / 2 < n->pairs ? queue / 2 : 0];
	const struct vio_net_dev_counts *c = &p->counts;
	const struct net_more_counts *m = &p->more;
	const struct vio_devq_stats *q = &n->dev.queue[queue].ring.stats;
	uint64_t whole = c->rx_frames - m->rx_needs_csum - m->rx_csum_valid;

#define GIVE(...) do { const uint64_t all[] = { __VA_ARGS__ }; memcpy(v, all, sizeof all); return sizeof all / 8; } while (0)
	switch (type) {
	case VIO_NET_STATS_RX_BASIC:
		GIVE(q->kicks, c->rx_frames, c->rx_bytes, q->signals, c->rx_dropped + c->rx_filtered, c->rx_overruns);
	case VIO_NET_STATS_RX_CSUM:
		GIVE(m->rx_csum_valid, m->rx_needs_csum, whole, 0);	/* checksums are not looked at here */
	case VIO_NET_STATS_RX_GSO:
		GIVE(c->rx_gso, m->rx_gso_bytes, 0, 0);			/* the device itself puts none together */
	case VIO_NET_STATS_TX_BASIC:
		GIVE(q->kicks, c->tx_frames, c->tx_bytes, q->signals, c->tx_dropped + c->tx_malformed, c->tx_malformed);
	case VIO_NET_STATS_TX_CSUM:
		GIVE(c->tx_frames - m->tx_needs_csum, m->tx_needs_csum);
	case VIO_NET_STATS_TX_GSO:
		GIVE(c->tx_gso, m->tx_gso_bytes, c->tx_segments, m->tx_segment_bytes, c->tx_gso - m->tx_cut,
		    m->tx_gso_bytes - m->tx_cut_bytes);
	case VIO_NET_STATS_CVQ:
		GIVE(n->ask.commands, n->ask.done + 1);			/* this one succeeds */
	default:
		GIVE(0, 0);						/* of the speed nothing is ever dropped */
	}
#undef GIVE
}

/* The types that may be asked for: of this queue, with these features. */
static uint64_t types_of(const struct net *n, unsigned queue)
{
	uint64_t types = queue & 1 ? TX : RX;
	bool rx_gso = vio_net_dev_has(n, VIO_NET_F_GUEST_TSO4) || vio_net_dev_has(n, VIO_NET_F_GUEST_TSO6);
	bool tx_gso = vio_net_dev_has(n, VIO_NET_F_HOST_TSO4) || vio_net_dev_has(n, VIO_NET_F_HOST_TSO6) ||
	    vio_net_dev_has(n, VIO_NET_F_HOST_USO);

	if (queue == n->control)
		return BIT(VIO_NET_STATS_CVQ);
	if (queue > n->control || queue / 2 >= n->pairs)
		return 0;
	if (!vio_net_dev_has(n, VIO_NET_F_GUEST_CSUM))
		types &= ~BIT(VIO_NET_STATS_RX_CSUM);
	if (!vio_net_dev_has(n, VIO_NET_F_CSUM))
		types &= ~BIT(VIO_NET_STATS_TX_CSUM);
	if (!rx_gso)
		types &= ~BIT(VIO_NET_STATS_RX_GSO);
	if (!tx_gso)
		types &= ~BIT(VIO_NET_STATS_TX_GSO);
	return types;
}

bool vio_net_dev_stats_query(struct net_asking *a)
{
	vio_le64 all = vio_le64_of(RX | TX | BIT(VIO_NET_STATS_CVQ));

	return !a->in.left && vio_cur_put(&a->out, &all, sizeof all);
}

static bool put_one(struct net_asking *a, unsigned queue, unsigned type)
{
	struct { struct vio_net_stats_head head; vio_le64 value[MOST]; } reply = { 0 };
	uint64_t v[MOST];
	unsigned count = collect(a->n, queue, type, v);
	size_t bytes = sizeof reply.head + count * sizeof *reply.value;

	reply.head = (struct vio_net_stats_head){ .type = (uint8_t)type, .vq_index = vio_le16_of((uint16_t)queue),
		.size = vio_le16_of((uint16_t)bytes) };
	for (unsigned i = 0; i < count; i++)
		reply.value[i] = vio_le64_of(v[i]);
	return vio_cur_put(&a->out, &reply, bytes);
}

/* One entry more of what is asked for.  False: it is wrong. */
static bool read_ask(struct net_asking *a, unsigned *queue, uint64_t *types)
{
	struct vio_net_stats_ask ask;

	if (!vio_cur_get(&a->in, &ask, sizeof ask))
		return false;
	*queue = vio_le16_get(ask.vq_index);
	*types = vio_le64_get(ask.types_bitmap);
	return !(*types & ~types_of(a->n, *queue));
}

/* All of it is looked at before anything is answered. */
static bool check(struct net_asking a)
{
	uint64_t types, v[MOST], bytes = 0;
	unsigned queue;

	while (a.in.left) {
		if (!read_ask(&a, &queue, &types))
			return false;
		for (; types; types &= types - 1)
			bytes += sizeof(struct vio_net_stats_head) + 8 * collect(a.n, queue, (unsigned)__builtin_ctzll(types), v);
		if (bytes > a.out.left)
			return false;
	}
	return true;
}

bool vio_net_dev_stats_get(struct net_asking *a)
{
	uint64_t types;
	unsigned queue;

	if (!a->in.left || !check(*a))
		return false;
	while (a->in.left) {
		if (!read_ask(a, &queue, &types))
			return false;	/* it has been changed meanwhile */
		for (; types; types &= types - 1)
			if (!put_one(a, queue, (unsigned)__builtin_ctzll(types)))
				return false;
	}
	return true;
}
