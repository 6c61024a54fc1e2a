/*
 * Two links back to back: the memory twin with which devices, drivers and the wrappers of links are tested.
 *
 *     a.lane[p] ── send ──▶ ring of frames ── receive ──▶ b.lane[p]        and the other way round
 */
#include <vio/host/link_impl.h>
#include <stdlib.h>
#include <string.h>

struct slot { struct vio_frame frame; uint32_t length; unsigned char bytes[VIO_FRAME_MAX]; };

struct pair_lane {
	struct vio_link_lane lane;
	struct pair_end *end;
	unsigned pair;
	bool open, on;
	bool waits_in, waits_out;	/* was told that there is nothing, that there is no room */
	struct slot *slot;		/* frames that come to this lane */
	uint32_t in, out;		/* counted for ever; in - out are waiting */
};

struct pair_end {
	struct vio_link link;
	struct pair *pair;
	struct pair_lane lane[VIO_LINK_LANES];
};

struct pair {
	struct pair_end end[2];
	unsigned frames;
	unsigned open;			/* ends */
};

static struct pair_end *other_end(struct pair_end *e)
{
	return &e->pair->end[e == &e->pair->end[0]];
}

static void tell(struct pair_lane *p, bool *waits)
{
	if (!p->on || !*waits)
		return;
	*waits = false;
	p->lane.ready(p->lane.arg);
}

static enum vio_sent pair_send(struct vio_link_lane *l, const struct vio_frame *f, struct vio_cur bytes)
{
	struct pair_lane *from = (struct pair_lane *)l, *to = &other_end(from->end)->lane[from->pair];
	if (!to->on || !from->end->link.up || bytes.left > VIO_FRAME_MAX || (vio_link_uses(f) & ~from->end->link.takes))
		return VIO_SENT_DROPPED;
	if (to->in - to->out == from->end->pair->frames) {
		from->waits_out = true;
		return VIO_SENT_NO_ROOM;
	}
	struct slot *s = &to->slot[to->in++ % from->end->pair->frames];
	s->frame = *f;
	s->length = (uint32_t)bytes.left;
	vio_cur_get(&bytes, s->bytes, s->length);
	tell(to, &to->waits_in);
	return VIO_SENT;
}

static unsigned pair_receive(struct vio_link_lane *l, unsigned most)
{
	struct pair_lane *p = (struct pair_lane *)l;
	unsigned done = 0;
	while (done < most && p->in != p->out) {
		struct slot *s = &p->slot[p->out % p->end->pair->frames];
		struct vio_seg seg = { s->bytes, s->length };
		if (!l->deliver(l->arg, &s->frame, (struct vio_cur){ .seg = &seg, .left = s->length }))
			break;
		p->out++;
		done++;
	}
	p->waits_in |= p->in == p->out && done < most;
	struct pair_lane *other = &other_end(p->end)->lane[p->pair];
	if (done)
		tell(other, &other->waits_out);
	return done;
}

static void pair_enable(struct vio_link_lane *l, bool on)
{
	struct pair_lane *p = (struct pair_lane *)l, *other = &other_end(p->end)->lane[p->pair];
	p->on = p->waits_in = on;
	p->waits_out = false;
	p->out = p->in;			/* what nobody is there for is lost */
	tell(other, &other->waits_out);
}

static void pair_lane_close(struct vio_link_lane *l)
{
	struct pair_lane *p = (struct pair_lane *)l;
	free(p->slot);
	p->slot = NULL;
	p->open = false;
}

static const struct vio_link_lane_ops lane_ops = {
	.enable = pair_enable, .send = pair_send, .receive = pair_receive, .close = pair_lane_close,
};

static struct vio_link_lane *pair_lane(struct vio_link *l, unsigned pair)
{
	struct pair_end *e = (struct pair_end *)l;
	struct pair_lane *p = &e->lane[pair];
	if (pair >= l->lanes || p->open)
		return NULL;
	*p = (struct pair_lane){ .lane.ops = &lane_ops, .end = e, .pair = pair, .open = true,
		.slot = malloc(e->pair->frames * sizeof *p->slot) };
	if (p->slot)
		return &p->lane;
	p->open = false;
	return NULL;
}

static void pair_close(struct vio_link *l)
{
	struct pair *p = ((struct pair_end *)l)->pair;
	if (--p->open == 0)
		free(p);
}

static const struct vio_link_ops ops = { .lane = pair_lane, .close = pair_close };

bool vio_link_pair_open(unsigned lanes, unsigned frames, unsigned takes, struct vio_link *end[2])
{
	struct pair *p = calloc(1, sizeof *p);
	if (!p)
		return false;
	p->frames = frames;
	p->open = 2;
	for (unsigned i = 0; i < 2; i++) {
		p->end[i].pair = p;
		p->end[i].link = (struct vio_link){ .ops = &ops, .lanes = lanes < VIO_LINK_LANES ? lanes : VIO_LINK_LANES,
			.takes = takes, .up = true, .carrier = true, .speed = UINT32_MAX, .duplex = 0xff };
		end[i] = &p->end[i].link;
	}
	return true;
}

void vio_link_pair_set(struct vio_link *l, bool up)
{
	struct pair *p = ((struct pair_end *)l)->pair;
	for (unsigned i = 0; i < 2; i++)
		vio_link_set(&p->end[i].link, up, p->end[i].link.cut);
}
