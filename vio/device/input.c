/*
 * Input device (virtio 1.4, section 5.8).
 *
 * A group of events goes into the event queue when there are buffers for all of it, and is published at once: whole groups or
 * none.  Until then it stays with the back end.  Buffers that are too few are held (popped, so that the driver's next ones are
 * told of); they are given back unused to the ring when the queue stops, and whenever memory is being taken away.  Only a
 * group that is longer than the queue itself goes in pieces of the queue's size.
 *
 * The device knows what the driver believes to be pressed (told.down): it is saved with the device, and when the back end has
 * gone, or the device was loaded elsewhere, all of it is released.
 */
#include <vio/device/input.h>
#include <vio/ring/freestanding.h>

enum { HELD = 2 * VIO_EVENTS_GROUP };

struct input {
	struct vio_dev dev;
	struct vio_events *events;
	struct vio_input_config config;
	struct vio_input_told told;
	unsigned sent;			/* events of the group on hand that the driver has already */
	unsigned held_count, usable;	/* how many, and how many of them an event fits into */
	bool release_due;		/* what is down is nobody's any more */
	unsigned releases;		/* events in release[]; 0: it is not made */
	struct vio_event release[VIO_EVENTS_GROUP];
	struct vio_chain *held[HELD];	/* in the order they were popped */
};

static struct input *input_of(struct vio_dev *d) { return (struct input *)d; }

const struct vio_input_told *vio_dev_input_told(const struct vio_dev *d) { return &((const struct input *)d)->told; }

/* ---- Config space: questions and answers (5.8.4) ---- */

static unsigned bytes_of(const uint8_t *bitmap, unsigned n)
{
	while (n && !bitmap[n - 1])
		n--;
	return n;
}

static unsigned length_of(const char *s)
{
	unsigned n = 0;

	while (n < VIO_INPUT_CFG_BYTES && s[n])
		n++;
	return n;
}

/* The type's codes; how many bytes.  REP has no codes that anybody looks at, and is there or not. */
static unsigned codes_of(const struct vio_events_about *a, unsigned type, const uint8_t **bitmap)
{
	static const uint8_t repeats = 3;	/* REP_DELAY, REP_PERIOD */

	if (type == VIO_EV_SYN || type >= VIO_EV_COUNT)
		return 0;
	*bitmap = type == VIO_EV_REP ? &repeats : a->codes[type];
	return type == VIO_EV_REP ? a->repeats : bytes_of(a->codes[type], VIO_EVENTS_BITMAP);
}

static unsigned answer_axis(const struct vio_events_about *a, unsigned axis, struct vio_input_config *c)
{
	if (axis >= VIO_ABS_COUNT || !vio_events_can(a, VIO_EV_ABS, axis))
		return 0;
	const struct vio_events_axis *x = &a->axis[axis];
	c->u.abs = (struct vio_input_absinfo){ vio_le32_of((uint32_t)x->min), vio_le32_of((uint32_t)x->max),
		vio_le32_of((uint32_t)x->fuzz), vio_le32_of((uint32_t)x->flat), vio_le32_of((uint32_t)x->resolution) };
	return sizeof c->u.abs;
}

static unsigned answer_ids(const struct vio_events_about *a, struct vio_input_config *c)
{
	c->u.ids = (struct vio_input_devids){ vio_le16_of(a->bustype), vio_le16_of(a->vendor), vio_le16_of(a->product),
		vio_le16_of(a->version) };
	return sizeof c->u.ids;
}

/* What select and subsel ask for: how many bytes, which are in c->u or at *from. */
static unsigned look_up(const struct vio_events_about *a, struct vio_input_config *c, const void **from)
{
	const uint8_t *bitmap = NULL;
	unsigned n;

	switch (c->select) {
	case VIO_INPUT_CFG_ID_NAME:
	case VIO_INPUT_CFG_ID_SERIAL:
		*from = c->select == VIO_INPUT_CFG_ID_NAME ? a->name : a->serial;
		return c->subsel ? 0 : length_of(*from);
	case VIO_INPUT_CFG_ID_DEVIDS:
		return c->subsel ? 0 : answer_ids(a, c);
	case VIO_INPUT_CFG_PROP_BITS:
		*from = a->properties;
		return c->subsel ? 0 : bytes_of(a->properties, sizeof a->properties);
	case VIO_INPUT_CFG_EV_BITS:
		n = codes_of(a, c->subsel, &bitmap);
		*from = bitmap;
		return n;
	case VIO_INPUT_CFG_ABS_INFO:
		return answer_axis(a, c->subsel, c);
	}
	return 0;
}

static void answer(struct input *n)
{
	struct vio_input_config *c = &n->config;
	const void *from = NULL;

	memset(&c->u, 0, sizeof c->u);
	c->size = (uint8_t)look_up(n->events->about, c, &from);		/* 5.8.5.2: 0 where there is nothing */
	if (from && c->size)
		memcpy(c->u.string, from, c->size);
}

static void input_config(struct vio_dev *d, uint32_t at, uint32_t len)
{
	(void)at, (void)len;	/* only select and subsel can be written */
	answer(input_of(d));
}

/* ---- Into the guest ---- */

static bool fits(const struct vio_chain *c) { return c->w_total >= sizeof(struct vio_input_event); }	/* 5.8.6.1: MUST */

/* Nothing was written into them: last popped, first back.  The type has no journal, so that many may go. */
static void give_back(struct input *n, struct vio_devq *q)
{
	n->usable = 0;
	while (n->held_count)
		vio_dev_unpop(q, n->held[--n->held_count]);
}

static void refuse(struct vio_devq *q, struct vio_chain *c)
{
	vio_dev_refused(q);
	vio_dev_push(q, c);
}

/* Hold buffers until there are so many.  False: there are not yet. */
static bool hold(struct input *n, struct vio_devq *q, unsigned need)
{
	while (n->usable < need) {
		struct vio_chain *c = n->held_count < HELD ? vio_devq_pop(q) : NULL;
		if (n->held_count == HELD)
			vio_devq_break(q, "the driver fills the event queue with buffers that are too small for an event");
		if (!c)
			return false;
		if (!fits(c) && !n->held_count) {
			refuse(q, c);
			continue;
		}
		n->held[n->held_count++] = c;	/* small ones too: who is to be given back must have been popped last */
		n->usable += fits(c);
	}
	return true;
}

static void put(struct input *n, struct vio_devq *q, const struct vio_event *group, unsigned count)
{
	unsigned at = 0;

	vio_devq_together(q, true);
	for (const struct vio_event *ev = group; ev < group + count; at++) {
		struct vio_chain *c = n->held[at];
		if (!fits(c)) {
			refuse(q, c);
			continue;
		}
		struct vio_input_event e = { vio_le16_of(ev->type), vio_le16_of(ev->code), vio_le32_of((uint32_t)ev->value) };
		vio_cur_put(&c->w, &e, sizeof e);
		vio_dev_push(q, c);
		vio_events_note(&n->told.down, ev++);
	}
	vio_devq_together(q, false);
	n->held_count -= at;
	n->usable -= count;
	memmove(n->held, n->held + at, n->held_count * sizeof *n->held);
	n->sent += count;
	n->told.events += count;
}

static void add_release(struct input *n, uint16_t type, uint16_t code, int32_t value)
{
	n->release[n->releases++] = (struct vio_event){ type, code, value };
}

/* A group that releases what is down (the rest of it by the next one); none: nothing is. */
static void make_release(struct input *n)
{
	const struct vio_events_state *down = &n->told.down;

	for (int32_t i = 0; i < VIO_EVENTS_SLOTS && n->releases < VIO_EVENTS_GROUP - 2; i++)
		if (down->touch[i]) {
			add_release(n, VIO_EV_ABS, VIO_ABS_MT_SLOT, i);
			add_release(n, VIO_EV_ABS, VIO_ABS_MT_TRACKING_ID, -1);
		}
	for (uint16_t i = 0; i < VIO_KEY_COUNT && n->releases < VIO_EVENTS_GROUP - 1; i++)
		if (vio_events_is_down(down, i))
			add_release(n, VIO_EV_KEY, i, 0);
	n->release_due = n->releases != 0;
	if (n->releases)
		add_release(n, VIO_EV_SYN, VIO_SYN_REPORT, 0);
}

/* The group on hand: how many events, 0: none. */
static unsigned peek(struct input *n, const struct vio_event **group)
{
	struct vio_events *e = n->events;

	if (!n->releases && !n->release_due) {
		unsigned count = e->ops->peek(e, group);
		if (count || !e->gone)
			return count;
	}
	if (!n->releases)
		make_release(n);
	if (n->releases) {
		*group = n->release;
		return n->releases;
	}
	return e->gone ? 0 : e->ops->peek(e, group);
}

static void pass(struct input *n)
{
	n->sent = 0;
	n->told.groups++;
	if (n->releases)
		n->releases = 0;
	else
		n->events->ops->pass(n->events);
}

static void serve_events(struct input *n, struct vio_devq *q)
{
	const struct vio_event *group;
	unsigned count;

	if (q->pins)		/* held buffers lie in memory that is to go */
		give_back(n, q);
	n->told.starved = false;
	while ((count = peek(n, &group))) {
		unsigned need = count - n->sent < q->place.size ? count - n->sent : q->place.size;
		if (!hold(n, q, need)) {
			n->told.starved = q->why_empty == VIO_EMPTY;
			return;		/* the driver's next buffers come here again */
		}
		put(n, q, group + n->sent, need);
		if (n->sent == count)
			pass(n);
	}
	give_back(n, q);
	q->why_empty = VIO_WAIT_DEVICE;
}

/* ---- From the guest ---- */

/* There is feedback, and it has this effect (virtio has no way to make effects: those that are there are played), or this knob. */
static bool can_feed_back(const struct vio_events_about *a, unsigned code)
{
	return code < VIO_FF_GAIN ? bytes_of(a->codes[VIO_EV_FF], VIO_EVENTS_BITMAP) != 0 : vio_events_can(a, VIO_EV_FF, code);
}

/* 5.8.6: what a driver may say, and this device can hear. */
static bool may_say(const struct vio_events_about *a, const struct vio_event *e)
{
	switch (e->type) {
	case VIO_EV_REP:
		return a->repeats && e->code < 2;
	case VIO_EV_LED:
	case VIO_EV_SND:
		return vio_events_can(a, e->type, e->code);
	case VIO_EV_FF:
		return can_feed_back(a, e->code);
	}
	return e->type == VIO_EV_SYN && e->code == VIO_SYN_REPORT;
}

static void serve_status(struct input *n, struct vio_devq *q)
{
	struct vio_input_event wire;
	struct vio_chain *c;

	while ((c = vio_devq_pop(q))) {
		bool whole = vio_cur_get(&c->r, &wire, sizeof wire);
		struct vio_event e = { 0, 0, 0 };
		if (whole)
			e = (struct vio_event){ vio_le16_get(wire.type), vio_le16_get(wire.code),
				(int32_t)vio_le32_get(wire.value) };
		if (!whole || !may_say(n->events->about, &e))
			vio_dev_refused(q);
		else if (e.type != VIO_EV_SYN && n->events->ops->send(n->events, &e))
			n->told.status++;
		else if (e.type != VIO_EV_SYN)
			n->told.status_lost++;
		vio_dev_push(q, c);
	}
}

/* ---- Queues ---- */

static void input_queue(struct vio_dev *d, struct vio_devq *q)
{
	if (q->index == VIO_INPUT_Q_EVENTS)
		serve_events(input_of(d), q);
	else
		serve_status(input_of(d), q);
}

/* No stop, and nobody who takes memory away, waits for somebody to press a key. */
static void input_turn_end(struct vio_dev *d, struct vio_devq *q)
{
	if (q->index == VIO_INPUT_Q_EVENTS && (d->queue[q->index].state == VIO_QUEUE_STOPPING || q->broken || q->pins))
		give_back(input_of(d), q);
}

static const char *input_queue_start(struct vio_dev *d, struct vio_devq *q)
{
	struct vio_events *e = input_of(d)->events;

	if (q->index != VIO_INPUT_Q_EVENTS || e->heard)
		return NULL;
	e->heard = true;
	e->ops->begin(e);
	return NULL;
}

static void on_ready(void *arg)
{
	struct input *n = arg;
	struct vio_dev_queue *dq = &n->dev.queue[VIO_INPUT_Q_EVENTS];

	if (dq->state == VIO_QUEUE_STARTED)
		vio_dev_wake(&dq->ring);
}

/* An alarm for keys would make them late. */
static bool input_unlimited(const struct vio_dev *d, unsigned queue)
{
	(void)d;
	return queue == VIO_INPUT_Q_EVENTS;
}

/* ---- Life ---- */

static void input_reset(struct vio_dev *d)
{
	struct input *n = input_of(d);

	n->config.select = n->config.subsel = 0;
	answer(n);
	memset(&n->told.down, 0, sizeof n->told.down);
	n->sent = n->releases = 0;
	n->release_due = n->told.starved = false;
	n->events->heard = false;
	n->events->ops->forget(n->events);
}

/* Device-specific state: what was asked last, and what the driver believes to be down. */
struct saved { uint8_t select, subsel, spare[2]; uint8_t keys[VIO_EVENTS_BITMAP]; vio_le32 slot, touch[VIO_EVENTS_SLOTS]; };

static size_t input_save(struct vio_dev *d, void *to, size_t room)
{
	const struct input *n = input_of(d);
	struct saved s = { .select = n->config.select, .subsel = n->config.subsel };

	s.slot = vio_le32_of((uint32_t)n->told.down.slot);
	memcpy(s.keys, n->told.down.keys, sizeof s.keys);
	for (unsigned i = 0; i < VIO_EVENTS_SLOTS; i++)
		s.touch[i] = vio_le32_of((uint32_t)n->told.down.touch[i]);
	if (to && room >= sizeof s)
		memcpy(to, &s, sizeof s);
	return sizeof s;
}

static const char *input_load(struct vio_dev *d, const void *from, size_t n)
{
	struct input *in = input_of(d);
	struct saved s;

	if (n != sizeof s)
		return "the saved state of the input device has another size: it was saved by another program";
	memcpy(&s, from, sizeof s);
	in->config.select = s.select;
	in->config.subsel = s.subsel;
	answer(in);
	memcpy(in->told.down.keys, s.keys, sizeof s.keys);
	in->told.down.slot = (int32_t)vio_le32_get(s.slot);
	for (unsigned i = 0; i < VIO_EVENTS_SLOTS; i++)
		in->told.down.touch[i] = (int32_t)vio_le32_get(s.touch[i]);
	in->release_due = true;		/* it was pressed somewhere else */
	return NULL;
}

static const char *input_open(struct vio_dev *d, const void *options)
{
	const struct vio_input_options *o = options;
	struct input *n = input_of(d);

	if (o->queue_size > VIO_RING_SIZE_MAX)
		return "a queue has at most 32768 entries";
	n->events = o->events;
	n->events->ready = on_ready;
	n->events->arg = n;
	d->config = (uint8_t *)&n->config;
	d->queues = VIO_INPUT_QUEUES;
	d->queue_size_max = o->queue_size ? o->queue_size : 256;
	return NULL;
}

static void input_close(struct vio_dev *d) { input_of(d)->events->ready = NULL; }

static const uint8_t writable[sizeof(struct vio_input_config)] = {
	[offsetof(struct vio_input_config, select)] = 0xff, [offsetof(struct vio_input_config, subsel)] = 0xff
};

const struct vio_dev_type vio_dev_input = {
	.name = "input",
	.id = VIO_ID_INPUT,
	.config_len = sizeof(struct vio_input_config),
	.config_writable = writable,
	.queue_size_max = VIO_RING_SIZE_MAX,
	.instance = sizeof(struct input),
	.request = sizeof(struct vio_chain),
	.unlimited = input_unlimited,
	.no_replay = true,
	.backend = VIO_BACKEND_EVENTS,
	.open = input_open,
	.close = input_close,
	.config = input_config,
	.reset = input_reset,
	.save = input_save,
	.load = input_load,
	.queue_start = input_queue_start,
	.queue = input_queue,
	.turn_end = input_turn_end,
};
