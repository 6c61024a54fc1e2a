/*
 * A thing that people touch, as the input device sees it: events come from it in groups, and events go back to it.
 *
 *     device ◀── peek(), pass() ── thing      whole groups: one update each, SYN_REPORT is the last event
 *     device ◀── ready() ── thing             "there is a group", after peek() said there was none
 *     device ── send(event) ──▶ thing         lights, sounds, force feedback
 *
 * The device pulls: a thing that nobody peeks at holds what happens as long as it can, and what it then can't hold it drops
 * in whole groups, after which it tells how things are (keys that were released meanwhile are told as released).  All of it
 * in the device's home thread; nothing waits.
 * Memory twin: vio/host/events_synthetic.c (which is the real thing as well); events_faulty.c is late, fails, goes away.
 */
#ifndef VIO_BACKEND_EVENTS_H
#define VIO_BACKEND_EVENTS_H
#include <vio/spec/input.h>
VIO_BEGIN_DECLS

struct vio_event { uint16_t type, code; int32_t value; };	/* as Linux's evdev has them */

enum {
	VIO_EVENTS_GROUP = 512,		/* events of a group, at most */
	VIO_EVENTS_SLOTS = 64,		/* of multi-touch that are followed */
	VIO_EVENTS_BITMAP = VIO_KEY_COUNT / 8	/* bytes of the longest bitmap */
};

/* What it is and what it can do: does not change. */
struct vio_events_axis { int32_t min, max, fuzz, flat, resolution; };
struct vio_events_about {
	char name[VIO_INPUT_CFG_BYTES + 1], serial[VIO_INPUT_CFG_BYTES + 1];	/* UTF-8 */
	uint16_t bustype, vendor, product, version;
	uint8_t properties[VIO_PROP_COUNT / 8];
	bool repeats;			/* EV_REP: the guest repeats keys that are held */
	uint8_t codes[VIO_EV_COUNT][VIO_EVENTS_BITMAP];	/* bit by code, for each type; EV_SYN's and EV_REP's are not looked at */
	struct vio_events_axis axis[VIO_ABS_COUNT];
};

static inline bool vio_events_can(const struct vio_events_about *a, unsigned type, unsigned code)
{
	return type < VIO_EV_COUNT && code < VIO_KEY_COUNT && a->codes[type][code / 8] >> code % 8 & 1;
}

struct vio_events {
	const struct vio_events_ops *ops;
	const struct vio_events_about *about;
	bool gone;			/* it was unplugged: after the groups that there are nothing comes any more */
	bool heard;			/* set by the device: a driver is there, who takes events sooner or later */
	void (*ready)(void *arg);	/* set by the device; never called from within an operation.  Also when gone becomes true */
	void *arg;
};
struct vio_events_ops {
	/* The next group, whole: how many events (at most VIO_EVENTS_GROUP).  They stay until pass().  0: none now. */
	unsigned (*peek)(struct vio_events *e, const struct vio_event **group);
	void (*pass)(struct vio_events *e);
	/* The guest says something: false, it was of no use (nobody is there, or it is not for the guest to say). */
	bool (*send)(struct vio_events *e, const struct vio_event *event);
	void (*begin)(struct vio_events *e);	/* a driver begins: what happened before is not its affair */
	void (*forget)(struct vio_events *e);	/* it has gone: so are the groups, and what it lit is as it was before */
	void (*close)(struct vio_events *e);
};
static inline void vio_events_close(struct vio_events *e) { if (e) e->ops->close(e); }

/* Which keys and touches somebody who was told of groups believes to be down. */
struct vio_events_state {
	uint8_t keys[VIO_EVENTS_BITMAP];
	int32_t slot;			/* the one that touches are told of */
	int32_t touch[VIO_EVENTS_SLOTS];	/* tracking id + 1, by slot; 0: none */
};

static inline void vio_events_note(struct vio_events_state *s, const struct vio_event *e)
{
	uint8_t bit = (uint8_t)(1u << e->code % 8);

	if (e->type == VIO_EV_KEY && e->code < VIO_KEY_COUNT && e->value != 2)
		s->keys[e->code / 8] = (uint8_t)(e->value ? s->keys[e->code / 8] | bit : s->keys[e->code / 8] & ~bit);
	else if (e->type == VIO_EV_ABS && e->code == VIO_ABS_MT_SLOT)
		s->slot = e->value;
	else if (e->type == VIO_EV_ABS && e->code == VIO_ABS_MT_TRACKING_ID && s->slot >= 0 && s->slot < VIO_EVENTS_SLOTS)
		s->touch[s->slot] = e->value < 0 ? 0 : e->value == INT32_MAX ? INT32_MAX : e->value + 1;
}

static inline bool vio_events_is_down(const struct vio_events_state *s, unsigned key)
{
	return key < VIO_KEY_COUNT && s->keys[key / 8] >> key % 8 & 1;
}
VIO_END_DECLS
#endif
