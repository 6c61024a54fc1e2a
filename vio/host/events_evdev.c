/*
 * Real keyboards, mice and the like: evdev, by libevdev.
 *
 * The kernel holds events for us, and a group of them is read when the device asks for it.  The descriptor is looked at only
 * while the device waits for a group, so that a guest that takes nothing costs nothing.  When the kernel could not hold all, it
 * says SYN_DROPPED, and libevdev makes a group of what has changed meanwhile.
 */
#include <vio/host/events.h>
#if VIO_HAVE_EVDEV
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vio/host/evdev.h>
#include <vio/host/why.h>

enum { STALE = 65536 };		/* events from before that are left out when a driver begins: more than the kernel holds */

struct evdev {
	struct vio_events events;
	struct vio_evdev_options o;
	const struct vio_evdev_lib *lib;
	struct libevdev *dev;
	struct vio_watch watch;
	struct vio_events_about about;
	bool writable;
	bool syncing;			/* libevdev tells what was lost */
	bool whole;			/* group[] ends with SYN_REPORT, and waits for pass() */
	bool overlong;			/* it has more events than a group may: the rest is left out */
	bool lit;			/* the guest has set a light */
	uint16_t lights;		/* as they were before, bit by code */
	uint64_t resyncs;
	unsigned count;			/* of group[], so far */
	struct vio_event group[VIO_EVENTS_GROUP];
};

static struct evdev *evdev_of(struct vio_events *e) { return (struct evdev *)e; }

uint64_t vio_events_evdev_resyncs(const struct vio_events *e) { return ((const struct evdev *)e)->resyncs; }

/* ---- Into the guest ---- */

/* Lights and the like are not told back; who repeats keys is the guest. */
static bool wanted(const struct evdev *v, const struct vio_event *e)
{
	if (e->type == EV_SYN)
		return e->code == SYN_MT_REPORT;
	if (e->type == EV_KEY && e->value == 2 && v->about.repeats)
		return false;
	return e->type < EV_LED && vio_events_can(&v->about, e->type, e->code);
}

static void add(struct evdev *v, struct vio_event e)
{
	if (v->count < VIO_EVENTS_GROUP - 1)
		v->group[v->count++] = e;
	else
		v->overlong = true;
}

/* The group's end; it may be that nothing of it is of use.  A longer one than there can be is none of ours to cut. */
static void end_group(struct evdev *v)
{
	if (v->overlong)
		v->count = 0;
	v->overlong = false;
	v->whole = v->count != 0;
	if (v->whole)
		v->group[v->count++] = (struct vio_event){ EV_SYN, SYN_REPORT, 0 };
}

static void take(struct evdev *v, const struct input_event *wire)
{
	struct vio_event e = { wire->type, wire->code, wire->value };

	if (e.type == EV_SYN && e.code == SYN_REPORT)
		end_group(v);
	else if (wanted(v, &e))
		add(v, e);
}

static void was_unplugged(struct evdev *v)
{
	if (v->events.gone)
		return;
	v->events.gone = true;
	v->count = 0;
	vio_loop_unwatch(v->o.loop, &v->watch);
	if (v->o.gone)
		v->o.gone(v->o.arg);
}

/* The next event, if there is one. */
static bool next(struct evdev *v, struct input_event *e)
{
	while (!v->events.gone) {
		int rc = v->lib->next_event(v->dev, v->syncing ? LIBEVDEV_READ_FLAG_SYNC : LIBEVDEV_READ_FLAG_NORMAL, e);
		if (rc == LIBEVDEV_READ_STATUS_SUCCESS)
			return true;
		if (rc == LIBEVDEV_READ_STATUS_SYNC) {
			v->resyncs += !v->syncing;
			if (v->syncing)
				return true;
			v->syncing = true;	/* e is SYN_DROPPED; what libevdev has told so far of the group is true */
		} else if (rc == -EAGAIN && v->syncing) {
			v->syncing = false;
			*e = (struct input_event){ .type = EV_SYN, .code = SYN_REPORT };
			return true;
		} else if (rc == -EAGAIN) {
			return false;
		} else if (rc != -EINTR) {
			was_unplugged(v);
		}
	}
	return false;
}

static void on_events(struct vio_watch *w, uint32_t events)
{
	struct evdev *v = w->arg;

	(void)events;
	vio_loop_unwatch(v->o.loop, w);
	if (v->events.ready)
		v->events.ready(v->events.arg);
}

static unsigned evdev_peek(struct vio_events *e, const struct vio_event **group)
{
	struct evdev *v = evdev_of(e);
	struct input_event wire;

	while (!v->whole && next(v, &wire))
		take(v, &wire);
	*group = v->group;
	if (v->whole)
		return v->count;
	if (!e->gone)
		vio_loop_watch(v->o.loop, &v->watch);
	return 0;
}

static void evdev_pass(struct vio_events *e)
{
	evdev_of(e)->whole = false;
	evdev_of(e)->count = 0;
}

static int32_t value_of(const struct evdev *v, unsigned type, unsigned code) { return v->lib->get_event_value(v->dev, type, code); }

/* What a driver can't know that was not there: where axes and switches stand.  Keys that are held are not pressed for it. */
static void tell_all(struct evdev *v)
{
	for (uint16_t i = 0; i < VIO_ABS_COUNT; i++)
		if (vio_events_can(&v->about, EV_ABS, i) && i <= ABS_MT_SLOT && !(i == ABS_MISC))
			add(v, (struct vio_event){ EV_ABS, i, value_of(v, EV_ABS, i) });
	for (uint16_t i = 0; i < SW_CNT; i++)
		if (vio_events_can(&v->about, EV_SW, i))
			add(v, (struct vio_event){ EV_SW, i, value_of(v, EV_SW, i) });
	end_group(v);
}

static void evdev_begin(struct vio_events *e)
{
	struct evdev *v = evdev_of(e);
	struct input_event old;

	for (unsigned i = 0; i < STALE && next(v, &old); i++)
		;
	v->count = 0;
	v->whole = false;
	if (!e->gone)
		tell_all(v);
}

/* ---- From the guest ---- */

static bool write_event(struct evdev *v, uint16_t type, uint16_t code, int32_t value)
{
	const struct input_event e[2] = { { .type = type, .code = code, .value = value }, { .type = EV_SYN, .code = SYN_REPORT } };

	return v->writable && !v->events.gone && write(v->watch.fd, e, sizeof e) == sizeof e;
}

static bool evdev_send(struct vio_events *e, const struct vio_event *event)
{
	struct evdev *v = evdev_of(e);

	if (event->type == EV_REP)	/* how fast this host would repeat keys: it does not */
		return !e->gone;
	v->lit |= event->type == EV_LED;
	return write_event(v, event->type, event->code, event->value);
}

static void evdev_forget(struct vio_events *e)
{
	struct evdev *v = evdev_of(e);

	vio_loop_unwatch(v->o.loop, &v->watch);
	v->whole = v->overlong = false;
	v->count = 0;
	for (uint16_t i = 0; v->lit && i < 16; i++)
		if (vio_events_can(&v->about, EV_LED, i))
			write_event(v, EV_LED, i, v->lights >> i & 1);
	v->lit = false;
}

static void free_evdev(struct evdev *v)
{
	if (v->dev)
		v->lib->free(v->dev);
	if (v->watch.fd >= 0)
		close(v->watch.fd);		/* this ends the grab, too */
	free(v);
}

static void evdev_close(struct vio_events *e)
{
	struct evdev *v = evdev_of(e);

	evdev_forget(e);
	free_evdev(v);
}

static const struct vio_events_ops ops = { .peek = evdev_peek, .pass = evdev_pass, .send = evdev_send, .begin = evdev_begin,
	.forget = evdev_forget, .close = evdev_close };

/* ---- What it is ---- */

static void copy_name(char *to, const char *from)
{
	strncpy(to, from ? from : "", VIO_INPUT_CFG_BYTES);
	to[VIO_INPUT_CFG_BYTES] = 0;
}

static void describe_codes(struct evdev *v, unsigned type)
{
	for (unsigned code = 0; code < VIO_KEY_COUNT; code++)
		if (v->lib->has_event_code(v->dev, type, code))
			v->about.codes[type][code / 8] |= (uint8_t)(1u << code % 8);
}

static void describe_axis(struct evdev *v, unsigned axis)
{
	const struct input_absinfo *a = v->lib->get_abs_info(v->dev, axis);

	if (a)
		v->about.axis[axis] = (struct vio_events_axis){ a->minimum, a->maximum, a->fuzz, a->flat, a->resolution };
}

static void describe(struct evdev *v)
{
	static const uint8_t types[] = { EV_KEY, EV_REL, EV_ABS, EV_MSC, EV_SW }, back[] = { EV_LED, EV_SND, EV_FF };
	struct vio_events_about *a = &v->about;

	copy_name(a->name, v->lib->get_name(v->dev));
	copy_name(a->serial, v->lib->get_uniq(v->dev));
	a->bustype = (uint16_t)v->lib->get_id_bustype(v->dev);
	a->vendor = (uint16_t)v->lib->get_id_vendor(v->dev);
	a->product = (uint16_t)v->lib->get_id_product(v->dev);
	a->version = (uint16_t)v->lib->get_id_version(v->dev);
	for (unsigned i = 0; i < VIO_PROP_COUNT; i++)
		if (v->lib->has_property(v->dev, i))
			a->properties[i / 8] |= (uint8_t)(1u << i % 8);
	a->repeats = v->lib->has_event_type(v->dev, EV_REP);
	for (unsigned i = 0; i < sizeof types; i++)
		describe_codes(v, types[i]);
	for (unsigned i = 0; v->writable && i < sizeof back; i++)
		describe_codes(v, back[i]);
	for (unsigned i = 0; i < VIO_ABS_COUNT; i++)
		describe_axis(v, i);
	for (unsigned i = 0; i < 16; i++)
		if (vio_events_can(a, EV_LED, i) && value_of(v, EV_LED, i))
			v->lights |= (uint16_t)(1u << i);
}

/* A guest can play effects and make none: it has a rumble, which is effect 0. */
static void make_rumble(struct evdev *v)
{
	struct ff_effect e = { .type = FF_RUMBLE, .id = -1, .replay = { .length = 1000 },
		.u.rumble = { .strong_magnitude = 0xc000, .weak_magnitude = 0xc000 } };

	if (vio_events_can(&v->about, EV_FF, FF_RUMBLE))
		ioctl(v->watch.fd, EVIOCSFF, &e);
}

/* Of v->watch.fd, which may be written to or not. */
static bool open_device(struct evdev *v, char *why)
{
	int error = v->lib->new_from_fd(v->watch.fd, &v->dev);

	if (error)
		return vio_refuse(why, "%s is no input device: %s; give one of /dev/input/event*", v->o.path, strerror(-error));
	error = v->o.no_grab ? 0 : v->lib->grab(v->dev, LIBEVDEV_GRAB);
	if (error)
		return vio_refuse(why, "cannot have %s for the guest alone: %s; another program has it: end that, or add --no-grab",
		    v->o.path, strerror(-error));
	describe(v);
	if (v->writable)
		make_rumble(v);
	return true;
}

/* The descriptor becomes the device's.  NULL: why says why not, and it is closed. */
static struct evdev *new_evdev(const struct vio_evdev_options *o, int fd, bool writable, char *why)
{
	const struct vio_evdev_lib *lib = vio_evdev_lib(why);
	struct evdev *v = lib ? calloc(1, sizeof *v) : NULL;

	if (!v) {
		if (lib)
			vio_refuse(why, "there is no memory for another device");
		close(fd);
		return NULL;
	}
	v->o = *o;
	v->lib = lib;
	v->writable = writable;
	v->events = (struct vio_events){ .ops = &ops, .about = &v->about };
	v->watch = (struct vio_watch){ .fd = fd, .events = EPOLLIN, .ready = on_events, .arg = v };
	if (open_device(v, why))
		return v;
	free_evdev(v);
	return NULL;
}

struct vio_events *vio_events_evdev(const struct vio_evdev_options *o, char *why)
{
	int fd = open(o->path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	bool writable = fd >= 0;

	if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM))
		fd = open(o->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		vio_refuse(why, "cannot open %s: %s; /dev/input/by-id has what there is, and who is in the group input may open it", o->path,
		    strerror(errno));
		return NULL;
	}
	struct evdev *v = new_evdev(o, fd, writable, why);
	return v ? &v->events : NULL;
}

/* ---- Plugged in again ---- */

/* The driver has read what the device can do, and does not ask again. */
static bool is_alike(const struct vio_events_about *a, const struct vio_events_about *b)
{
	return a->repeats == b->repeats && !memcmp(a->properties, b->properties, sizeof a->properties) &&
	    !memcmp(a->codes, b->codes, sizeof a->codes) && !memcmp(a->axis, b->axis, sizeof a->axis);
}

bool vio_events_evdev_plug(struct vio_events *e, int fd, char *why)
{
	struct evdev *v = evdev_of(e);
	int flags = fcntl(fd, F_GETFL);
	struct vio_evdev_options o = v->o;

	if (!e->gone) {
		close(fd);
		return vio_refuse(why, "the device is plugged in: unplug it first, or start another daemon for another one");
	}
	o.path = "what was plugged in";
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	struct evdev *w = new_evdev(&o, fd, (flags & O_ACCMODE) == O_RDWR, why);
	if (!w)
		return false;
	if (!is_alike(&v->about, &w->about)) {
		free_evdev(w);
		return vio_refuse(why, "it has other keys or axes than the device that was unplugged: plug that in, or start again with this one");
	}
	v->lib->free(v->dev);
	close(v->watch.fd);
	v->dev = w->dev;
	v->watch.fd = w->watch.fd;
	v->writable = w->writable;
	v->lights = w->lights;
	v->syncing = v->lit = false;
	w->dev = NULL;
	w->watch.fd = -1;
	free_evdev(w);
	e->gone = false;
	if (e->heard)
		evdev_begin(e);
	if (e->ready)
		e->ready(e->arg);
	return true;
}
#endif
