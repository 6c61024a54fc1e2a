/*
 * Where an address is: a table of sets with eight places each, so that a look-up has an end and nothing is ever allocated.
 * A full set learns nothing new until something in it has aged; then frames to that address go to all, as to any unknown one.
 */
#include <vio/host/switch_impl.h>
#include <string.h>

static struct switch_entry *set_of(struct vio_switch *s, const unsigned char mac[6], uint16_t vlan)
{
	uint64_t x = s->seed ^ vlan;
	for (unsigned i = 0; i < 6; i++)
		x = x << 8 ^ x >> 56 ^ mac[i];
	x ^= s->seed * UINT64_C(0x9e3779b97f4a7c15);
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return s->table[x >> 40 & (SWITCH_SETS - 1)];
}

static bool old(const struct vio_switch *s, const struct switch_entry *e, uint64_t now)
{
	return !e->fixed && now - e->heard > s->age && now > e->heard;
}

static void release(struct switch_entry *e)
{
	if (!e->fixed)
		e->port->learned--;
	e->port = NULL;
}

static struct switch_entry *look(struct vio_switch *s, const unsigned char mac[6], uint16_t vlan)
{
	struct switch_entry *set = set_of(s, mac, vlan);
	for (unsigned i = 0; i < SWITCH_WAYS; i++)
		if (set[i].port && set[i].vlan == vlan && !memcmp(set[i].mac, mac, 6))
			return &set[i];
	return NULL;
}

static struct switch_entry *free_place(struct vio_switch *s, const unsigned char mac[6], uint16_t vlan, uint64_t now)
{
	struct switch_entry *set = set_of(s, mac, vlan);
	for (unsigned i = 0; i < SWITCH_WAYS; i++) {
		if (set[i].port && old(s, &set[i], now))
			release(&set[i]);
		if (!set[i].port)
			return &set[i];
	}
	return NULL;
}

bool vio_switch_pay(struct switch_debt *d, uint64_t now, uint64_t per_second, uint64_t burst)
{
	uint64_t cost = UINT64_C(1000000000) / per_second, saved = cost * burst;
	if (d->paid + saved < now)
		d->paid = now - saved;
	if (d->paid + cost > now)
		return false;
	d->paid += cost;
	return true;
}

/* What aged gives its place back when somebody wants it; a port that has all it may have looks for such once a second. */
static bool has_room(struct vio_switch *s, struct switch_port *p, uint64_t now)
{
	if (p->learned < p->o.addresses)
		return true;
	if (!vio_switch_pay(&p->sweeps, now, 1, 1))
		return false;
	for (unsigned i = 0; i < SWITCH_SETS; i++)
		for (unsigned j = 0; j < SWITCH_WAYS; j++) {
			struct switch_entry *e = &s->table[i][j];
			if (e->port == p && old(s, e, now))
				release(e);
		}
	return p->learned < p->o.addresses;
}

/* The address is another port's. */
static bool take_over(struct vio_switch *s, struct switch_entry *e, struct switch_port *p, uint64_t now)
{
	if (e->fixed || !has_room(s, p, now))
		return false;
	if (!old(s, e, now) && (!p->o.takeovers || !vio_switch_pay(&p->takeovers, now, p->o.takeovers, 1)))
		return false;
	e->port->learned--;
	e->port = p;
	p->learned++;
	return true;
}

bool vio_switch_learn(struct vio_switch *s, struct switch_port *p, const unsigned char mac[6], uint16_t vlan, uint64_t now)
{
	struct switch_entry *e = look(s, mac, vlan);
	if (e && e->port == p) {
		e->heard = now;
		return true;
	}
	if (e) {
		if (!take_over(s, e, p, now))
			return false;
		e->heard = now;
		return true;
	}
	if (!has_room(s, p, now))
		return false;
	e = free_place(s, mac, vlan, now);
	if (!e) {
		p->counts.unlearned++;
		return true;
	}
	*e = (struct switch_entry){ .port = p, .heard = now, .vlan = vlan };
	memcpy(e->mac, mac, 6);
	p->learned++;
	return true;
}

struct switch_port *vio_switch_find(struct vio_switch *s, const unsigned char mac[6], uint16_t vlan, uint64_t now)
{
	struct switch_entry *e = look(s, mac, vlan);
	return e && !old(s, e, now) ? e->port : NULL;
}

bool vio_switch_fix(struct vio_switch *s, struct switch_port *p, const unsigned char mac[6], uint16_t vlan)
{
	struct switch_entry *e = look(s, mac, vlan);
	if (e && e->fixed)
		return e->port == p;
	if (e)
		release(e);
	else
		e = free_place(s, mac, vlan, s->now());
	if (!e)
		return false;
	*e = (struct switch_entry){ .port = p, .vlan = vlan, .fixed = true };
	memcpy(e->mac, mac, 6);
	return true;
}

void vio_switch_drop(struct vio_switch *s, struct switch_port *p, bool all)
{
	for (unsigned i = 0; i < SWITCH_SETS; i++)
		for (unsigned j = 0; j < SWITCH_WAYS; j++) {
			struct switch_entry *e = &s->table[i][j];
			if (e->port == p && (all || !e->fixed))
				release(e);
		}
}

void vio_switch_each(const struct vio_switch *s, bool (*each)(void *arg, const struct vio_switch_address *a), void *arg)
{
	uint64_t now = s->now();
	for (unsigned i = 0; i < SWITCH_SETS; i++)
		for (unsigned j = 0; j < SWITCH_WAYS; j++) {
			const struct switch_entry *e = &s->table[i][j];
			if (!e->port || old(s, e, now))
				continue;
			struct vio_switch_address a = { .vlan = e->vlan, .port = &e->port->link, .fixed = e->fixed,
				.age_seconds = e->fixed || now < e->heard ? 0 : (uint32_t)((now - e->heard) / UINT64_C(1000000000)) };
			memcpy(a.mac, e->mac, 6);
			if (!each(arg, &a))
				return;
		}
}

void vio_switch_forget(struct vio_switch *s, const struct vio_link *port)
{
	for (struct switch_port *p = s->ports; p; p = p->next)
		if (!port || port == &p->link)
			vio_switch_drop(s, p, false);
}
