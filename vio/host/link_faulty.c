/* A link on which things go wrong as planned: no room, lost frames, frames that come late, no lanes. */
#include <vio/host/link.h>
#include <stdlib.h>

struct faulty_lane {
	struct vio_link_lane lane;
	struct faulty_link *link;
	struct vio_link_lane *inner;
	unsigned sends, receives;
	bool held;			/* ready() is owed */
	struct faulty_lane *next;
};

struct faulty_link {
	struct vio_link link;
	struct vio_link *inner;
	struct vio_link_faults faults;
	struct faulty_lane *lanes;
};

static struct faulty_lane *lane_of(struct vio_link_lane *l) { return (struct faulty_lane *)l; }

static bool every(unsigned count, unsigned n) { return n && count % n == 0; }

/* The inner lane's user is this one. */
static bool inner_deliver(void *arg, const struct vio_frame *f, struct vio_cur bytes)
{
	struct vio_link_lane *l = arg;
	return l->deliver(l->arg, f, bytes);
}

static void inner_ready(void *arg)
{
	struct vio_link_lane *l = arg;
	l->ready(l->arg);
}

static void faulty_enable(struct vio_link_lane *l, bool on)
{
	struct faulty_lane *p = lane_of(l);
	p->held = false;
	if (p->inner->ops->enable)
		p->inner->ops->enable(p->inner, on);
}

static enum vio_sent faulty_send(struct vio_link_lane *l, const struct vio_frame *f, struct vio_cur bytes)
{
	struct faulty_lane *p = lane_of(l);
	const struct vio_link_faults *faults = &p->link->faults;
	unsigned n = ++p->sends;
	if (every(n, faults->full_every)) {
		p->held = true;
		return VIO_SENT_NO_ROOM;
	}
	if (every(n, faults->drop_every))
		return VIO_SENT_DROPPED;
	return p->inner->ops->send(p->inner, f, bytes);
}

static void faulty_flush(struct vio_link_lane *l)
{
	struct faulty_lane *p = lane_of(l);
	if (p->inner->ops->flush)
		p->inner->ops->flush(p->inner);
}

static unsigned faulty_receive(struct vio_link_lane *l, unsigned most)
{
	struct faulty_lane *p = lane_of(l);
	if (every(++p->receives, p->link->faults.late_every)) {
		p->held = true;
		return 0;
	}
	return p->inner->ops->receive(p->inner, most);
}

static void faulty_offloads(struct vio_link_lane *l, unsigned deliver)
{
	struct faulty_lane *p = lane_of(l);
	if (p->inner->ops->offloads)
		p->inner->ops->offloads(p->inner, deliver);
}

static void faulty_lane_close(struct vio_link_lane *l)
{
	struct faulty_lane *p = lane_of(l), **at = &p->link->lanes;
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	p->inner->ops->close(p->inner);
	free(p);
}

static const struct vio_link_lane_ops lane_ops = {
	.enable = faulty_enable, .send = faulty_send, .flush = faulty_flush, .receive = faulty_receive, .offloads = faulty_offloads,
	.close = faulty_lane_close,
};

static struct vio_link_lane *faulty_lane(struct vio_link *l, unsigned pair)
{
	struct faulty_link *f = (struct faulty_link *)l;
	struct vio_link_lane *inner = f->faults.no_lane ? NULL : f->inner->ops->lane(f->inner, pair);
	struct faulty_lane *p = inner ? calloc(1, sizeof *p) : NULL;
	if (!p) {
		if (inner)
			inner->ops->close(inner);
		return NULL;
	}
	*p = (struct faulty_lane){ .lane.ops = &lane_ops, .link = f, .inner = inner, .next = f->lanes };
	f->lanes = p;
	inner->deliver = inner_deliver;
	inner->ready = inner_ready;
	inner->arg = &p->lane;
	return &p->lane;
}

static void faulty_promiscuous(struct vio_link *l, bool all)
{
	struct vio_link *inner = ((struct faulty_link *)l)->inner;
	if (inner->ops->promiscuous)
		inner->ops->promiscuous(inner, all);
}

static void faulty_close(struct vio_link *l)
{
	vio_link_close(((struct faulty_link *)l)->inner);
	free(l);
}

static const struct vio_link_ops ops = { .lane = faulty_lane, .promiscuous = faulty_promiscuous, .close = faulty_close };

static void changed(void *arg)
{
	struct faulty_link *f = arg;
	f->link.speed = f->inner->speed;
	f->link.duplex = f->inner->duplex;
	vio_link_set(&f->link, f->inner->up, f->link.cut);
}

struct vio_link *vio_link_faulty_open(struct vio_link *inner, const struct vio_link_faults *faults)
{
	struct faulty_link *f = calloc(1, sizeof *f);
	if (!f)
		return NULL;
	f->link = *inner;
	f->link.ops = &ops;
	f->link.changed = NULL;
	f->inner = inner;
	f->faults = *faults;
	inner->changed = changed;
	inner->changed_arg = f;
	return &f->link;
}

void vio_link_faulty_release(struct vio_link *l)
{
	for (struct faulty_lane *p = ((struct faulty_link *)l)->lanes, *next; p; p = next) {
		next = p->next;
		if (!p->held)
			continue;
		p->held = false;
		p->lane.ready(p->lane.arg);
	}
}
