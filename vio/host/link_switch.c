/*
 * The way of a frame through a switch.  Its addresses and tag are copied before they are looked at, and what was looked at is
 * what is passed on: the guest may write to the frame all the while.  The rest is copied once for each receiver, from where
 * it lies.
 */
#include <vio/host/switch_impl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MACS = 12, TAG = 4, LEAST = 14, BACKLOG = 512 * 1024, AGE_SECONDS = 300, ADDRESSES = 256, VLAN = 1 };
enum { ETH_8021Q = 0x8100, TCI_VLAN = 0x0fff };

/* Of a frame under way. */
struct passage {
	struct switch_port *from;
	const struct vio_frame *frame;
	uint16_t vlan;
	bool tagged;			/* it came with a tag, perhaps of VLAN 0, which only has a priority */
	unsigned char head[MACS + TAG];	/* addresses, and the tag it has or would have */
	struct vio_cur rest;		/* behind them */
};

static struct switch_port *port_of(const struct vio_link *l) { return (struct switch_port *)(uintptr_t)l; }
static uint16_t be16(const unsigned char *p) { return (uint16_t)(p[0] << 8 | p[1]); }

/* ---- What waits for a port ---- */

struct waiting { struct vio_frame frame; uint32_t length; };

static void ring_put(struct backlog *b, const void *from, size_t n)
{
	size_t at = b->in % BACKLOG, first = n < BACKLOG - at ? n : BACKLOG - at;
	memcpy(b->bytes + at, from, first);
	memcpy(b->bytes, (const char *)from + first, n - first);
	b->in += n;
}

static void ring_take_in(struct backlog *b, struct vio_cur *c, size_t n)
{
	size_t at = b->in % BACKLOG, first = n < BACKLOG - at ? n : BACKLOG - at;
	vio_cur_get(c, b->bytes + at, first);
	vio_cur_get(c, b->bytes, n - first);
	b->in += n;
}

static bool keep(struct backlog *b, const struct vio_frame *f, struct vio_cur bytes)
{
	struct waiting w = { *f, (uint32_t)bytes.left };
	if (BACKLOG - (b->in - b->out) < sizeof w + bytes.left)
		return false;
	ring_put(b, &w, sizeof w);
	ring_take_in(b, &bytes, w.length);
	return true;
}

/* The first that waits, where it lies; seg has room for two. */
static struct waiting first(const struct backlog *b, struct vio_seg *seg)
{
	struct waiting w;
	size_t at = b->out % BACKLOG, part = sizeof w < BACKLOG - at ? sizeof w : BACKLOG - at;
	memcpy(&w, b->bytes + at, part);
	memcpy((char *)&w + part, b->bytes, sizeof w - part);
	at = (at + sizeof w) % BACKLOG;
	part = w.length < BACKLOG - at ? w.length : BACKLOG - at;
	seg[0] = (struct vio_seg){ b->bytes + at, part };
	seg[1] = (struct vio_seg){ b->bytes, w.length - part };
	return w;
}

static struct switch_lane *lane_in_use(struct switch_port *p)
{
	for (unsigned i = 0; i < p->link.lanes; i++)
		if (p->lane[i].on)
			return &p->lane[i];
	return NULL;
}

static unsigned switch_receive(struct vio_link_lane *l, unsigned most)
{
	struct switch_lane *lane = (struct switch_lane *)l;
	struct switch_port *p = lane->port;
	struct backlog *b = &p->backlog;
	unsigned done = 0;
	if (lane_in_use(p) != lane)	/* a frame that was given in part goes on where it began */
		return 0;
	while (done < most && b->in != b->out) {
		struct vio_seg seg[2];
		struct waiting w = first(b, seg);
		if (!l->deliver(l->arg, &w.frame, (struct vio_cur){ .seg = seg, .left = w.length }))
			return done;
		p->counts.out_frames++;
		p->counts.out_bytes += w.length;
		b->out += sizeof w + w.length;
		done++;
	}
	lane->waits_in |= b->in == b->out;
	return done;
}

/* ---- Out of a port ---- */

static void give(struct switch_port *p, const struct vio_frame *f, struct vio_cur bytes)
{
	struct switch_lane *lane = p->link.up ? lane_in_use(p) : NULL;
	if (!lane) {
		p->counts.lost++;
		return;
	}
	bool empty = p->backlog.in == p->backlog.out;
	if (empty && lane->lane.deliver_now && lane->lane.deliver_now(lane->lane.arg, f, bytes)) {
		p->counts.direct++;
		p->counts.out_frames++;
		p->counts.out_bytes += bytes.left;
		return;
	}
	if (!keep(&p->backlog, f, bytes))
		p->counts.lost++;
	if (lane->waits_in) {
		lane->waits_in = false;
		lane->lane.ready(lane->lane.arg);
	}
}

static uint16_t moved(uint16_t offset, int by) { return (uint16_t)(offset + by); }

/* With the tag or without it, as the port wants it. */
static void pass_on(const struct passage *g, struct switch_port *p)
{
	bool tag = g->vlan != p->o.vlan, had = g->tagged;
	struct vio_seg seg[4];
	size_t n = tag ? MACS + TAG : MACS, front;
	unsigned count = 0;
	seg[count++] = (struct vio_seg){ (void *)(uintptr_t)g->head, n };
	if (g->rest.left) {
		void *at = vio_cur_front(&g->rest, &front);
		seg[count++] = (struct vio_seg){ at, front };
		struct vio_cur more = g->rest;
		vio_cur_skip(&more, front);
		if (more.left)
			seg[count] = (struct vio_seg){ (void *)(uintptr_t)more.seg, VIO_SEG_LINK };
	}
	struct vio_frame f = *g->frame;
	int by = tag == had ? 0 : tag ? TAG : -TAG;
	if (f.header)
		f.header = moved(f.header, by);
	if (f.flags & VIO_FRAME_NEEDS_CSUM)
		f.csum_start = moved(f.csum_start, by);
	give(p, &f, (struct vio_cur){ .seg = seg, .left = n + g->rest.left });
}

static bool carries(const struct switch_port *p, uint16_t vlan)
{
	return p->o.vlan == vlan || vio_vlan_has(&p->o.tagged, vlan);
}

static void flood(const struct passage *g, uint64_t now)
{
	struct switch_port *from = g->from;
	if (from->o.floods && !vio_switch_pay(&from->floods, now, from->o.floods, from->o.floods)) {
		from->counts.limited++;
		return;
	}
	from->counts.flooded++;
	for (struct switch_port *p = from->s->ports; p; p = p->next)
		if (p != from && carries(p, g->vlan))
			pass_on(g, p);
}

/* ---- Into a port ---- */

/* The frame's VLAN.  False: this port may not send there. */
static bool classify(struct passage *g, struct vio_cur bytes)
{
	const struct switch_port *p = g->from;
	vio_cur_get(&bytes, g->head, MACS);
	struct vio_cur peek = bytes;
	unsigned char tag[TAG] = { 0 };
	g->tagged = vio_cur_get(&peek, tag, TAG) && be16(tag) == ETH_8021Q;
	uint16_t id = g->tagged ? be16(tag + 2) & TCI_VLAN : 0;
	g->vlan = id ? id : p->o.vlan;
	g->rest = g->tagged ? peek : bytes;
	tag[2] = (unsigned char)((g->tagged ? tag[2] & 0xf0 : 0) | g->vlan >> 8);
	memcpy(g->head + MACS, (const unsigned char[]){ ETH_8021Q >> 8, ETH_8021Q & 0xff, tag[2], (unsigned char)g->vlan }, TAG);
	return id <= VIO_VLAN_MAX && carries(p, g->vlan);
}

static bool is_group(const unsigned char *mac) { return mac[0] & 1; }

/* IEEE 802.1D table 7-10: what bridges keep to themselves. */
static bool is_for_bridges(const unsigned char *mac) { return !memcmp(mac, "\x01\x80\xc2\0\0", 5) && mac[5] < 16; }

static bool source_is_his(struct passage *g, uint64_t now)
{
	const unsigned char *source = g->head + 6;
	if (is_group(source) || (g->from->o.locked && memcmp(source, g->from->o.mac, 6)))
		return false;
	return vio_switch_learn(g->from->s, g->from, source, g->vlan, now);
}

static enum vio_sent switch_send(struct vio_link_lane *l, const struct vio_frame *f, struct vio_cur bytes)
{
	struct switch_port *p = ((struct switch_lane *)l)->port, *to;
	struct passage g = { .from = p, .frame = f };
	if (bytes.left < LEAST || bytes.left > VIO_FRAME_MAX || !p->link.up)
		return VIO_SENT_DROPPED;
	if (!classify(&g, bytes)) {
		p->counts.strange_vlan++;
		return VIO_SENT_DROPPED;
	}
	uint64_t now = p->s->now();
	if (!source_is_his(&g, now)) {
		p->counts.strange_source++;
		return VIO_SENT_DROPPED;
	}
	p->counts.in_frames++;
	p->counts.in_bytes += bytes.left;
	if (is_for_bridges(g.head))
		return VIO_SENT;
	to = is_group(g.head) ? NULL : vio_switch_find(p->s, g.head, g.vlan, now);
	if (!to)
		flood(&g, now);
	else if (to != p && carries(to, g.vlan))
		pass_on(&g, to);
	return VIO_SENT;
}

/* ---- Lanes and ports ---- */

static void switch_enable(struct vio_link_lane *l, bool on)
{
	struct switch_lane *lane = (struct switch_lane *)l;
	struct switch_port *p = lane->port;
	lane->on = lane->waits_in = on;
	if (lane_in_use(p))
		return;
	p->backlog.out = p->backlog.in;		/* what nobody is there for is lost */
	vio_switch_drop(p->s, p, false);
}

static void lane_close(struct vio_link_lane *l) { ((struct switch_lane *)l)->open = false; }

static const struct vio_link_lane_ops lane_ops = {
	.enable = switch_enable, .send = switch_send, .receive = switch_receive, .close = lane_close,
};

static struct vio_link_lane *switch_lane(struct vio_link *l, unsigned pair)
{
	struct switch_port *p = port_of(l);
	if (pair >= l->lanes || p->lane[pair].open)
		return NULL;
	p->lane[pair] = (struct switch_lane){ .lane.ops = &lane_ops, .port = p, .open = true };
	return &p->lane[pair].lane;
}

static void port_close(struct vio_link *l)
{
	struct switch_port *p = port_of(l), **at = &p->s->ports;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->s->count--;
	vio_switch_drop(p->s, p, true);
	munmap(p->backlog.bytes, BACKLOG);
	free(p);
}

static const struct vio_link_ops ops = { .lane = switch_lane, .close = port_close };

/* Its address in its own VLAN is nobody else's. */
static bool fix_address(struct switch_port *p, char *why)
{
	if (!vio_switch_fix(p->s, p, p->o.mac, p->o.vlan))
		return vio_refuse(why, "the address %02x:%02x:%02x:%02x:%02x:%02x is another port's: give each its own", p->o.mac[0],
		    p->o.mac[1], p->o.mac[2], p->o.mac[3], p->o.mac[4], p->o.mac[5]);
	return true;
}

struct vio_link *vio_switch_port(struct vio_switch *s, const struct vio_switch_port_options *o, char *why)
{
	if (s->count == VIO_SWITCH_PORTS) {
		vio_refuse(why, "a switch has at most %d ports", VIO_SWITCH_PORTS);
		return NULL;
	}
	struct switch_port *p = calloc(1, sizeof *p);
	void *bytes = mmap(NULL, BACKLOG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!p || bytes == MAP_FAILED) {
		if (bytes != MAP_FAILED)
			munmap(bytes, BACKLOG);
		free(p);
		vio_refuse(why, "there is no memory for another port of the switch");
		return NULL;
	}
	p->s = s;
	p->o = *o;
	p->o.vlan = o->vlan ? o->vlan : VLAN;
	p->o.addresses = o->addresses ? o->addresses : ADDRESSES;
	p->backlog.bytes = bytes;
	p->link = (struct vio_link){ .ops = &ops, .lanes = o->lanes < VIO_LINK_LANES ? o->lanes : VIO_LINK_LANES,
		.takes = VIO_LINK_ALL, .gives_mac = o->has_mac, .up = true, .carrier = true, .mtu = o->mtu, .speed = UINT32_MAX,
		.duplex = 0xff };
	memcpy(p->link.mac, o->mac, 6);
	p->next = s->ports;
	s->ports = p;
	s->count++;
	if (!o->has_mac || fix_address(p, why))
		return &p->link;
	port_close(&p->link);
	return NULL;
}

struct vio_switch_counts vio_switch_counts(const struct vio_link *port) { return port_of(port)->counts; }

/* ---- The switch ---- */

/* Cheaper than the exact time, which ageing and limits a second do not need. */
static uint64_t coarse_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

struct vio_switch *vio_switch_new(const struct vio_switch_options *o)
{
	struct vio_switch *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return NULL;
	s->seed = o->seed;
	s->age = UINT64_C(1000000000) * (o->age_seconds ? o->age_seconds : AGE_SECONDS);
	s->now = o->now ? o->now : coarse_ns;
	return s;
}

void vio_switch_free(struct vio_switch *s) { munmap(s, sizeof *s); }
