/* The faulty twin of things that people touch. */
#include <vio/host/events.h>
#include <stdlib.h>

struct faulty {
	struct vio_events events;
	struct vio_events *inner;
	struct vio_events_faults faults;
	unsigned peeks, sends, groups;
	bool shown;			/* the device has seen this group: it stays */
	bool late;			/* until released */
};

static struct faulty *faulty_of(struct vio_events *e) { return (struct faulty *)e; }

static void tell(struct faulty *f)
{
	if (f->events.ready)
		f->events.ready(f->events.arg);
}

static unsigned faulty_peek(struct vio_events *e, const struct vio_event **group)
{
	struct faulty *f = faulty_of(e);

	if (f->late || e->gone)
		return 0;
	if (!f->shown && f->faults.late_every && ++f->peeks % f->faults.late_every == 0) {
		f->late = true;
		return 0;
	}
	unsigned n = f->inner->ops->peek(f->inner, group);
	f->shown = n != 0;
	return n;
}

static void faulty_pass(struct vio_events *e)
{
	struct faulty *f = faulty_of(e);

	f->shown = false;
	f->inner->ops->pass(f->inner);
	if (f->faults.gone_after && ++f->groups == f->faults.gone_after)
		e->gone = true;
}

static bool faulty_send(struct vio_events *e, const struct vio_event *event)
{
	struct faulty *f = faulty_of(e);

	if (f->faults.deaf_every && ++f->sends % f->faults.deaf_every == 0)
		return false;
	return f->inner->ops->send(f->inner, event);
}

static void faulty_begin(struct vio_events *e)
{
	faulty_of(e)->inner->heard = true;
	faulty_of(e)->inner->ops->begin(faulty_of(e)->inner);
}

static void faulty_forget(struct vio_events *e)
{
	struct faulty *f = faulty_of(e);

	f->shown = f->late = f->inner->heard = false;
	f->inner->ops->forget(f->inner);
}

static void faulty_close(struct vio_events *e)
{
	vio_events_close(faulty_of(e)->inner);
	free(e);
}

static const struct vio_events_ops ops = { .peek = faulty_peek, .pass = faulty_pass, .send = faulty_send, .begin = faulty_begin,
	.forget = faulty_forget, .close = faulty_close };

static void on_ready(void *arg)
{
	struct faulty *f = arg;

	f->events.gone |= f->inner->gone;
	if (!f->late)
		tell(f);
}

struct vio_events *vio_events_faulty(struct vio_events *inner, const struct vio_events_faults *faults)
{
	struct faulty *f = inner ? calloc(1, sizeof *f) : NULL;

	if (!f) {
		vio_events_close(inner);
		return NULL;
	}
	f->events = (struct vio_events){ .ops = &ops, .about = inner->about, .gone = inner->gone };
	f->inner = inner;
	f->faults = *faults;
	inner->ready = on_ready;
	inner->arg = f;
	return &f->events;
}

void vio_events_faulty_release(struct vio_events *e)
{
	if (!faulty_of(e)->late)
		return;
	faulty_of(e)->late = false;
	tell(faulty_of(e));
}
