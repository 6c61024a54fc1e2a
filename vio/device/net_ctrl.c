/*
 * The control queue (virtio 1.4, 5.1.6.5): {class, command, data} readable, {ack, result} writable.
 *
 *   its thread      a chain is popped
 *   home thread     the command is read and judged; what it changes becomes the next rules, every pair is told
 *   each pair       takes the new rules
 *   home thread     when the last has: the answer
 *   its thread      the chain goes back, and the next is looked at
 *
 * So a command has taken effect everywhere when the driver sees its answer, as 5.1.6.5 asks here and there; and one at a time is
 * enough.  Where all that is one thread, all happens at once.
 */
#include <vio/device/net_impl.h>

/* ---- Commands.  False: the driver is answered VIO_NET_ERR, and nothing has changed. ---- */

static bool rx_mode(struct net_asking *a, unsigned which)
{
	uint8_t on;

	if (!vio_net_dev_take(a, &on, sizeof on) || on > 1)
		return false;
	a->rules->modes = (uint8_t)((a->rules->modes & ~(1u << which)) | (unsigned)on << which);
	a->rules->told = a->changed = true;
	return true;
}

static bool rx_promisc(struct net_asking *a) { return rx_mode(a, VIO_NET_CTRL_RX_PROMISC); }
static bool rx_allmulti(struct net_asking *a) { return rx_mode(a, VIO_NET_CTRL_RX_ALLMULTI); }
static bool rx_alluni(struct net_asking *a) { return rx_mode(a, VIO_NET_CTRL_RX_ALLUNI); }
static bool rx_nomulti(struct net_asking *a) { return rx_mode(a, VIO_NET_CTRL_RX_NOMULTI); }
static bool rx_nouni(struct net_asking *a) { return rx_mode(a, VIO_NET_CTRL_RX_NOUNI); }
static bool rx_nobcast(struct net_asking *a) { return rx_mode(a, VIO_NET_CTRL_RX_NOBCAST); }

/* A number and so many addresses.  Of more than there is room for, none is kept and all such frames are let through. */
static bool read_macs(struct net_asking *a, struct net_macs *t)
{
	vio_le32 entries;

	if (!vio_cur_get(&a->in, &entries, sizeof entries))
		return false;
	uint32_t count = vio_le32_get(entries);
	if (count > a->in.left / VIO_NET_MAC)
		return false;
	*t = (struct net_macs){ .overflow = count > VIO_NET_DEV_MACS };
	if (t->overflow) {
		vio_cur_skip(&a->in, (uint64_t)count * VIO_NET_MAC);
		return true;
	}
	t->count = (uint16_t)count;
	return vio_cur_get(&a->in, t->mac, (uint64_t)count * VIO_NET_MAC);
}

static bool mac_table_set(struct net_asking *a)
{
	if (!read_macs(a, &a->rules->unicast) || !read_macs(a, &a->rules->multicast) || a->in.left)
		return false;
	a->rules->told = a->changed = true;
	return true;
}

static bool mac_addr_set(struct net_asking *a)
{
	uint8_t mac[VIO_NET_MAC];

	if (!vio_net_dev_take(a, mac, sizeof mac))
		return false;
	memcpy(a->rules->mac, mac, sizeof mac);
	a->rules->has_mac = a->changed = true;
	if (vio_net_dev_has(a->n, VIO_NET_F_MAC))
		memcpy(a->n->config.mac, mac, sizeof mac);	/* 5.1.6.5.2.1 */
	return true;
}

static bool vlan(struct net_asking *a, bool add)
{
	vio_le16 wire;

	if (!vio_net_dev_take(a, &wire, sizeof wire) || vio_le16_get(wire) >= VIO_NET_VLANS)
		return false;
	unsigned id = vio_le16_get(wire);
	uint64_t bit = UINT64_C(1) << id % 64, *word = &a->rules->vlan[id / 64];
	*word = add ? *word | bit : *word & ~bit;
	a->changed = true;
	return true;
}

static bool vlan_add(struct net_asking *a) { return vlan(a, true); }
static bool vlan_del(struct net_asking *a) { return vlan(a, false); }

static bool announce_ack(struct net_asking *a)
{
	if (a->in.left)
		return false;
	a->n->config.status = vio_le16_of(vio_le16_get(a->n->config.status) & ~VIO_NET_S_ANNOUNCE);	/* 5.1.6.5.4.1 */
	return true;
}

static bool mq_pairs_set(struct net_asking *a)
{
	vio_le16 wire;

	if (!vio_net_dev_take(a, &wire, sizeof wire) || vio_le16_get(wire) == 0 || vio_le16_get(wire) > a->n->pairs)
		return false;
	for (unsigned i = 0; i < VIO_NET_DEV_CONTEXTS; i++)
		if (a->rules->has_context[i])
			return false;		/* 5.1.6.5.8.3: a driver must not ask for that */
	a->rules->pairs = vio_le16_get(wire);
	a->rules->steering = a->rules->pairs > 1 ? NET_STEER_FLOWS : NET_STEER_NOT;	/* the last command counts */
	a->changed = true;
	return true;
}

static uint64_t accepted_offloads(const struct net *n)
{
	static const unsigned char guest[] = { VIO_NET_F_GUEST_CSUM, VIO_NET_F_GUEST_TSO4, VIO_NET_F_GUEST_TSO6,
		VIO_NET_F_GUEST_ECN, VIO_NET_F_GUEST_UFO, VIO_NET_F_GUEST_USO4, VIO_NET_F_GUEST_USO6 };
	return n->dev.accepted.word[0] & vio_features_of(guest, sizeof guest).word[0];
}

static bool offloads_set(struct net_asking *a)
{
	vio_le64 wire;

	if (!vio_net_dev_take(a, &wire, sizeof wire) || vio_le64_get(wire) & ~accepted_offloads(a->n))
		return false;
	a->rules->offloads = vio_le64_get(wire);
	a->changed = true;
	return true;
}

static const struct command { uint8_t class_, command, feature; bool (*run)(struct net_asking *a); } commands[] = {
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_PROMISC, VIO_NET_F_CTRL_RX, rx_promisc },
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_ALLMULTI, VIO_NET_F_CTRL_RX, rx_allmulti },
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_ALLUNI, VIO_NET_F_CTRL_RX_EXTRA, rx_alluni },
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_NOMULTI, VIO_NET_F_CTRL_RX_EXTRA, rx_nomulti },
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_NOUNI, VIO_NET_F_CTRL_RX_EXTRA, rx_nouni },
	{ VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_NOBCAST, VIO_NET_F_CTRL_RX_EXTRA, rx_nobcast },
	{ VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_TABLE_SET, VIO_NET_F_CTRL_RX, mac_table_set },
	{ VIO_NET_CTRL_MAC, VIO_NET_CTRL_MAC_ADDR_SET, VIO_NET_F_CTRL_MAC_ADDR, mac_addr_set },
	{ VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_ADD, VIO_NET_F_CTRL_VLAN, vlan_add },
	{ VIO_NET_CTRL_VLAN, VIO_NET_CTRL_VLAN_DEL, VIO_NET_F_CTRL_VLAN, vlan_del },
	{ VIO_NET_CTRL_ANNOUNCE, VIO_NET_CTRL_ANNOUNCE_ACK, VIO_NET_F_GUEST_ANNOUNCE, announce_ack },
	{ VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIO_NET_F_MQ, mq_pairs_set },
	{ VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, VIO_NET_F_RSS, vio_net_dev_rss_config },
	{ VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_HASH_CONFIG, VIO_NET_F_HASH_REPORT, vio_net_dev_hash_config },
	{ VIO_NET_CTRL_GUEST_OFFLOADS, VIO_NET_CTRL_GUEST_OFFLOADS_SET, VIO_NET_F_CTRL_GUEST_OFFLOADS, offloads_set },
	{ VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_TX_SET, VIO_NET_F_NOTF_COAL, vio_net_dev_coal_tx },
	{ VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_RX_SET, VIO_NET_F_NOTF_COAL, vio_net_dev_coal_rx },
	{ VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_VQ_SET, VIO_NET_F_VQ_NOTF_COAL, vio_net_dev_coal_set },
	{ VIO_NET_CTRL_NOTF_COAL, VIO_NET_CTRL_NOTF_COAL_VQ_GET, VIO_NET_F_VQ_NOTF_COAL, vio_net_dev_coal_get },
	{ VIO_NET_CTRL_HASH_TUNNEL, VIO_NET_CTRL_HASH_TUNNEL_SET, VIO_NET_F_HASH_TUNNEL, vio_net_dev_tunnel_set },
	{ VIO_NET_CTRL_STATS, VIO_NET_CTRL_STATS_QUERY, VIO_NET_F_DEVICE_STATS, vio_net_dev_stats_query },
	{ VIO_NET_CTRL_STATS, VIO_NET_CTRL_STATS_GET, VIO_NET_F_DEVICE_STATS, vio_net_dev_stats_get },
	{ VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_CAP_GET, VIO_NET_F_RSS_CONTEXT, vio_net_dev_context_cap },
	{ VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_ADD, VIO_NET_F_RSS_CONTEXT, vio_net_dev_context_add },
	{ VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_MOD, VIO_NET_F_RSS_CONTEXT, vio_net_dev_context_mod },
	{ VIO_NET_CTRL_RSS_CTX, VIO_NET_CTRL_RSS_CTX_DEL, VIO_NET_F_RSS_CONTEXT, vio_net_dev_context_del },
};

static const struct command *find(const struct net *n, const struct vio_net_ctrl *c)
{
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (commands[i].class_ == c->class_ && commands[i].command == c->command)
			return vio_net_dev_has(n, commands[i].feature) ? &commands[i] : NULL;
	return NULL;
}

/* ---- Rules ---- */

static void settle(const struct net *n, struct net_rules *r)
{
	r->filters = !(r->modes >> VIO_NET_CTRL_RX_PROMISC & 1) && (r->told || vio_net_dev_has(n, VIO_NET_F_CTRL_VLAN));
}

static uint32_t lets(uint64_t offloads)
{
	static const struct { uint8_t feature, link; } all[] = {
		{ VIO_NET_F_GUEST_CSUM, VIO_LINK_CSUM }, { VIO_NET_F_GUEST_TSO4, VIO_LINK_TSO4 },
		{ VIO_NET_F_GUEST_TSO6, VIO_LINK_TSO6 }, { VIO_NET_F_GUEST_ECN, VIO_LINK_ECN },
		{ VIO_NET_F_GUEST_UFO, VIO_LINK_UFO }, { VIO_NET_F_GUEST_USO4, VIO_LINK_USO4 },
		{ VIO_NET_F_GUEST_USO6, VIO_LINK_USO6 },
	};
	uint32_t l = 0;

	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		l |= offloads >> all[i].feature & 1 ? all[i].link : 0u;
	return l & VIO_LINK_CSUM ? l : 0;	/* the others make no sense without */
}

/* The pair's thread, or no queue runs. */
static void adopt(struct net_pair *p, const struct net_rules *r)
{
	uint32_t before = p->lets;

	p->rules = r;
	p->lets = lets(r->offloads);
	p->plain = !r->filters && p->n->header == VIO_NET_HDR_PLAIN && r->steering == NET_STEER_NOT;
	p->learns = r->steering == NET_STEER_FLOWS;
	p->placed = 0;
	vio_net_dev_refresh(p);
	vio_net_dev_coal_adopt(p);
	if (p->on && p->lets != before && p->lane->ops->offloads)
		p->lane->ops->offloads(p->lane, p->lets);
	if (vio_net_dev_runs(p->rx))
		vio_dev_wake(p->rx);
}

static void adopt_all(struct net *n)
{
	for (unsigned i = 0; i < n->pairs; i++)
		adopt(&n->pair[i], &n->rules[n->now]);
}

static void fresh(const struct net *n, struct net_rules *r)
{
	*r = (struct net_rules){
		.pairs = n->control == NET_NO_QUEUE ? n->pairs : 1,	/* 5.1.6.5.6.2 */
		.has_mac = n->has_mac, .offloads = accepted_offloads(n),
	};
	memcpy(r->mac, n->mac, sizeof r->mac);
	if (r->pairs > 1)
		r->steering = NET_STEER_FLOWS;
}

void vio_net_dev_default_rules(struct net *n)
{
	n->now = 0;
	fresh(n, &n->rules[0]);
	settle(n, &n->rules[0]);
	adopt_all(n);
}

/* ---- A saved state: commands once more ---- */

void vio_net_dev_restore_begin(struct net *n) { fresh(n, &n->rules[!n->now]); }

bool vio_net_dev_restore(struct net *n, const struct vio_net_ctrl *c, const void *data, size_t bytes)
{
	struct vio_seg seg = { (void *)(uintptr_t)data, bytes };
	struct net_asking a = { .n = n, .rules = &n->rules[!n->now], .in = { .seg = &seg, .left = bytes } };
	const struct command *command = find(n, c);

	return command && command->run(&a);
}

void vio_net_dev_restore_end(struct net *n)
{
	n->now = !n->now;
	settle(n, &n->rules[n->now]);
	adopt_all(n);
}

/* ---- The way of a command ---- */

/* The control queue's thread. */
static void give_back(void *arg)
{
	struct net *n = arg;
	struct vio_devq *q = n->ask.q;
	struct vio_chain *c = n->ask.chain;

	n->ask.chain = NULL;
	if (!n->ask.ok)
		vio_dev_refused(q);
	vio_dev_push(q, c);	/* and a turn for the next, if this is none */
}

static bool at_home(const struct net *n, unsigned queue) { return vio_dev_together(&n->dev, 0, queue); }

static void answer(struct net *n)
{
	if (at_home(n, n->ask.q->index)) {
		give_back(n);
		return;
	}
	n->ask.call = (struct vio_dev_call){ .fn = give_back, .arg = n };
	vio_dev_post(&n->dev, n->ask.q->index, &n->ask.call);
}

static void taken(void *arg)
{
	struct net *n = arg;

	if (--n->ask.waits_for == 0)
		answer(n);
}

/* A pair's thread. */
static void take_rules(void *arg)
{
	struct net_pair *p = arg;
	struct net *n = p->n;

	adopt(p, &n->rules[__atomic_load_n(&n->now, __ATOMIC_RELAXED)]);	/* it does not change before all have answered */
	p->call = (struct vio_dev_call){ .fn = taken, .arg = n };
	vio_dev_post(&n->dev, 0, &p->call);
}

static void spread(struct net *n)
{
	n->ask.waits_for = 1;		/* ourselves, so that it ends once */
	__atomic_store_n(&n->now, !n->now, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < n->pairs; i++) {
		struct net_pair *p = &n->pair[i];
		if (at_home(n, 2 * i)) {
			adopt(p, &n->rules[n->now]);
			continue;
		}
		n->ask.waits_for++;
		p->call = (struct vio_dev_call){ .fn = take_rules, .arg = p };
		vio_dev_post(&n->dev, 2 * i, &p->call);
	}
	taken(n);
}

/* Read, judge and do what the chain asks for.  True: the rules have changed. */
static bool serve(struct net *n, struct vio_chain *c)
{
	struct net_asking a = { .n = n, .rules = &n->rules[!n->now], .in = c->r, .out = c->w };
	struct vio_net_ctrl head;
	uint8_t ack = VIO_NET_ERR;

	n->ask.ok = false;
	n->ask.commands++;
	if (c->w.left < sizeof ack)
		return false;		/* there is no place for an answer */
	vio_cur_skip(&a.out, sizeof ack);
	const struct command *command = vio_cur_get(&a.in, &head, sizeof head) ? find(n, &head) : NULL;
	if (command) {
		*a.rules = n->rules[n->now];
		n->ask.ok = command->run(&a);
		settle(n, a.rules);
	}
	if (n->ask.ok)
		ack = VIO_NET_OK;
	vio_cur_put(&c->w, &ack, sizeof ack);
	if (n->ask.ok) {
		vio_cur_skip(&c->w, a.out.done - sizeof ack);	/* the result */
		n->ask.done++;
	}
	return n->ask.ok && a.changed;
}

static void run(void *arg)
{
	struct net *n = arg;

	if (serve(n, n->ask.chain))
		spread(n);
	else
		answer(n);
}

void vio_net_dev_control(struct net *n, struct vio_devq *q)
{
	while (!n->ask.chain) {
		struct vio_chain *c = vio_devq_pop(q);
		if (!c)
			return;
		n->ask.q = q;
		n->ask.chain = c;
		if (at_home(n, q->index)) {
			run(n);
		} else {
			n->ask.call = (struct vio_dev_call){ .fn = run, .arg = n };
			vio_dev_post(&n->dev, 0, &n->ask.call);
		}
	}
	q->why_empty = VIO_WAIT_DEVICE;
}
