/* Something that nobody holds in his hands: events come from the program, and wait here until the guest takes them. */
#include <vio/host/events.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = 4096 };

struct synthetic {
	struct vio_events events;
	struct vio_synthetic_options o;
	struct vio_events_about about;
	struct vio_events_state state;
	uint16_t lit;			/* lights, bit by code */
	unsigned at, count;		/* of waiting[]: from where, how many; whole groups */
	unsigned group;			/* events of the first group; 0: not counted yet */
	struct vio_event *waiting;	/* o.room of them; groups lie in one piece */
};

static struct synthetic *synthetic_of(struct vio_events *e) { return (struct synthetic *)e; }

static bool is_back(uint16_t type) { return type >= VIO_EV_LED; }	/* lights and the like */

static bool ends(const struct vio_event *e) { return e->type == VIO_EV_SYN && e->code == VIO_SYN_REPORT; }

static unsigned synthetic_peek(struct vio_events *e, const struct vio_event **group)
{
	struct synthetic *s = synthetic_of(e);

	while (s->count && (s->group == 0 || !ends(&s->waiting[s->at + s->group - 1])))
		s->group++;
	*group = s->waiting + s->at;
	return s->group;
}

static void synthetic_pass(struct vio_events *e)
{
	struct synthetic *s = synthetic_of(e);

	s->at += s->group;
	s->count -= s->group;
	s->group = 0;
	if (s->count == 0)
		s->at = 0;
}

static bool synthetic_send(struct vio_events *e, const struct vio_event *event)
{
	struct synthetic *s = synthetic_of(e);

	if (event->type == VIO_EV_LED && event->code < 16)
		s->lit = (uint16_t)(event->value ? s->lit | 1u << event->code : s->lit & ~(1u << event->code));
	if (s->o.said)
		s->o.said(s->o.arg, event);
	return s->o.said != NULL;
}

static void synthetic_forget(struct vio_events *e)
{
	struct synthetic *s = synthetic_of(e);

	s->at = s->count = s->group = 0;
	memset(&s->state, 0, sizeof s->state);
	for (uint16_t i = 0; i < 16; i++)
		if (s->lit >> i & 1)
			synthetic_send(e, &(struct vio_event){ VIO_EV_LED, i, 0 });
}

static void synthetic_close(struct vio_events *e)
{
	free(synthetic_of(e)->waiting);
	free(e);
}

static const struct vio_events_ops ops = { .peek = synthetic_peek, .pass = synthetic_pass, .send = synthetic_send,
	.begin = synthetic_forget, .forget = synthetic_forget, .close = synthetic_close };

struct vio_events *vio_events_synthetic(const struct vio_synthetic_options *o)
{
	struct synthetic *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->o = *o;
	s->o.room = o->room ? o->room : ROOM;
	s->waiting = calloc(s->o.room, sizeof *s->waiting);
	if (!s->waiting) {
		free(s);
		return NULL;
	}
	s->about = *o->about;
	s->events = (struct vio_events){ .ops = &ops, .about = &s->about };
	return &s->events;
}

/* Groups that a guest can take, of what this thing has. */
static const char *refused(const struct synthetic *s, const struct vio_event *ev, unsigned n)
{
	for (unsigned i = 0, group = 1; i < n; i++, group++) {
		if (group >= VIO_EVENTS_GROUP)
			return "that is too much for one update of the device: it has at most 511 events";
		if (ends(&ev[i]))
			group = 0;
		else if (is_back(ev[i].type) && ev[i].type < VIO_EV_COUNT)
			return "lights, sounds and feedback are for the guest to say";
		else if (!vio_events_can(&s->about, ev[i].type, ev[i].code))
			return "the device has no such key, button or axis: choose another one, or another --kind";
	}
	return NULL;
}

const char *vio_events_synthetic_put(struct vio_events *e, const struct vio_event *events, unsigned n)
{
	struct synthetic *s = synthetic_of(e);
	const char *why = refused(s, events, n);
	bool last = n == 0 || !ends(&events[n - 1]);

	if (why)
		return why;
	if (e->gone)
		return "the device was unplugged";
	if (!e->heard)
		return "no driver listens: try again when the guest has started its driver";
	if (n + last > s->o.room - s->count)
		return "the guest takes no events at the moment, and as many wait as may: try again later";
	if (s->at + s->count + n + last > s->o.room) {
		memmove(s->waiting, s->waiting + s->at, s->count * sizeof *s->waiting);
		s->at = 0;
	}
	struct vio_event *to = s->waiting + s->at + s->count;
	memcpy(to, events, n * sizeof *to);
	if (last)
		to[n] = (struct vio_event){ VIO_EV_SYN, VIO_SYN_REPORT, 0 };
	s->count += n + last;
	for (unsigned i = 0; i < n; i++)
		vio_events_note(&s->state, &events[i]);
	if (e->ready)
		e->ready(e->arg);
	return NULL;
}

const struct vio_events_state *vio_events_synthetic_state(const struct vio_events *e)
{
	return &((const struct synthetic *)e)->state;
}

uint16_t vio_events_synthetic_lights(const struct vio_events *e) { return ((const struct synthetic *)e)->lit; }

unsigned vio_events_synthetic_waiting(const struct vio_events *e) { return ((const struct synthetic *)e)->count; }

void vio_events_synthetic_unplug(struct vio_events *e)
{
	e->gone = true;
	if (e->ready)
		e->ready(e->arg);
}
