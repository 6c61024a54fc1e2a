/*
 * Real input devices (vio/host/events_evdev.c) without one: libevdev and the back end ask a device that this program plays, by
 * having open(), ioctl() and read() of its own.  What is written to the device, and where its events come from, is the other
 * end of a socket.  (Linux's own evdev is tried in a guest, tests/guest/devices/input.py.)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vio/host/events.h>
#include <vio/host/why.h>
#include "../test.h"

/* ---- The device ---- */

enum { SLOTS = 3, PATIENCE_S = 10 };
#define PATH "/dev/input/event-of-the-test"

static struct {
	int fd, other;			/* the descriptor that the back end has, and ours; -1: not open */
	bool read_only, taken, no_device, unplugged;
	bool grabbed;
	unsigned char types[EV_CNT / 8 + 1], codes[EV_CNT][KEY_CNT / 8], properties[4];
	unsigned char keys[KEY_CNT / 8], leds[2], switches[4];
	struct input_absinfo axis[ABS_CNT];
	int32_t tracking[SLOTS];
	struct ff_effect effect;
	unsigned effects;
} device;

static void set(unsigned char *bits, unsigned i) { bits[i / 8] |= (unsigned char)(1u << i % 8); }

static void has(unsigned type, unsigned code)
{
	set(device.types, type);
	set(device.codes[type], code);
}

static int answer(void *to, size_t room, const void *from, size_t n)
{
	memset(to, 0, room);
	memcpy(to, from, n < room ? n : room);
	return (int)(n < room ? n : room);
}

static int answer_text(void *to, size_t room, const char *text) { return answer(to, room, text, strlen(text) + 1); }

/* struct input_mt_request_layout: a code, and a value a slot. */
static int answer_slots(int32_t *to, size_t room)
{
	for (unsigned i = 0; i < SLOTS && (i + 2) * sizeof *to <= room; i++)
		to[1 + i] = to[0] == ABS_MT_TRACKING_ID ? device.tracking[i] : 0;
	return 0;
}

static int ask_sized(unsigned number, void *to, size_t room)
{
	if (number >= _IOC_NR(EVIOCGBIT(0, 0)) && number < _IOC_NR(EVIOCGBIT(EV_MAX, 0)) + 1) {
		unsigned type = number - _IOC_NR(EVIOCGBIT(0, 0));
		return type ? answer(to, room, device.codes[type], sizeof device.codes[type]) : answer(to, room, device.types, sizeof device.types);
	}
	switch (number) {
	case _IOC_NR(EVIOCGNAME(0)):	return answer_text(to, room, "A keyboard of the test");
	case _IOC_NR(EVIOCGUNIQ(0)):	return answer_text(to, room, "serial 7");
	case _IOC_NR(EVIOCGPHYS(0)):	return answer_text(to, room, "desk");
	case _IOC_NR(EVIOCGPROP(0)):	return answer(to, room, device.properties, sizeof device.properties);
	case _IOC_NR(EVIOCGKEY(0)):	return answer(to, room, device.keys, sizeof device.keys);
	case _IOC_NR(EVIOCGLED(0)):	return answer(to, room, device.leds, sizeof device.leds);
	case _IOC_NR(EVIOCGSW(0)):	return answer(to, room, device.switches, sizeof device.switches);
	case _IOC_NR(EVIOCGSND(0)):	return answer(to, room, "", 1);
	case _IOC_NR(EVIOCGMTSLOTS(0)):	return answer_slots(to, room);
	}
	return -EINVAL;
}

static int ask(unsigned long request, void *to)
{
	const struct input_id id = { BUS_USB, 0x1234, 0x5678, 9 };
	unsigned number = _IOC_NR(request);

	if (device.no_device)
		return -ENOTTY;
	if (request == EVIOCGVERSION)
		return answer(to, sizeof(int), &(int){ EV_VERSION }, sizeof(int)) < 0;
	if (request == EVIOCGID)
		return answer(to, sizeof id, &id, sizeof id) < 0;
	if (request == EVIOCGREP)
		return answer(to, 8, (unsigned[]){ 250, 33 }, 8) < 0;
	if (request == EVIOCGRAB) {
		if (device.taken)
			return -EBUSY;
		device.grabbed = to != NULL;
		return 0;
	}
	if (request == EVIOCSFF) {
		device.effects++;
		device.effect = *(struct ff_effect *)to;
		((struct ff_effect *)to)->id = 0;
		return 0;
	}
	if (number >= _IOC_NR(EVIOCGABS(0)) && number <= _IOC_NR(EVIOCGABS(ABS_MAX)) && _IOC_DIR(request) == _IOC_READ)
		return answer(to, _IOC_SIZE(request), &device.axis[number - _IOC_NR(EVIOCGABS(0))], sizeof *device.axis) < 0;
	return ask_sized(number, to, _IOC_SIZE(request));
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	va_start(args, request);
	void *to = va_arg(args, void *);
	va_end(args);
	if (fd < 0 || fd != device.fd || _IOC_TYPE(request) != 'E')
		return (int)syscall(SYS_ioctl, fd, request, to);
	int rc = ask(request, to);
	if (rc < 0)
		errno = -rc;
	return rc < 0 ? -1 : rc;
}

ssize_t read(int fd, void *to, size_t n)
{
	if (fd >= 0 && fd == device.fd && device.unplugged) {
		errno = ENODEV;
		return -1;
	}
	return syscall(SYS_read, fd, to, n);
}

int open64(const char *path, int flags, ...);
int open64(const char *path, int flags, ...)
{
	int ends[2];

	if (strcmp(path, PATH))
		return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
	if (device.read_only && (flags & O_ACCMODE) != O_RDONLY) {
		errno = EACCES;
		return -1;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends))
		return -1;
	device.fd = ends[0];
	device.other = ends[1];
	return ends[0];
}

/* ---- Opening it ---- */

struct room { struct vio_loop *loop; struct vio_events *e; char why[VIO_WHY]; unsigned ready, gone; };
static struct room room;

static void on_ready(void *arg)
{
	(void)arg;
	room.ready++;
	vio_loop_quit(room.loop);
}

static void on_gone(void *arg)
{
	(void)arg;
	room.gone++;
}

static void new_device(void)
{
	memset(&device, 0, sizeof device);
	device.fd = device.other = -1;
	for (unsigned i = KEY_ESC; i <= KEY_D; i++)
		has(EV_KEY, i);
	has(EV_LED, LED_NUML);
	has(EV_LED, LED_CAPSL);
	has(EV_REP, REP_DELAY);
	has(EV_MSC, MSC_SCAN);
	has(EV_REL, REL_X);
	set(device.types, EV_SYN);
	set(device.leds, LED_NUML);
}

static struct vio_events *try_open(bool no_grab)
{
	room.loop = vio_loop_new();
	room.ready = room.gone = 0;
	strcpy(room.why, "");
	struct vio_evdev_options o = { .loop = room.loop, .path = PATH, .no_grab = no_grab, .gone = on_gone };
	room.e = vio_events_evdev(&o, room.why);
	if (room.e)
		room.e->ready = on_ready;
	return room.e;
}

static struct vio_events *must_open(void)
{
	if (!try_open(false))
		fail_msg("%s", room.why);
	room.e->heard = true;
	room.e->ops->begin(room.e);
	return room.e;
}

static void end(void)
{
	vio_events_close(room.e);
	vio_loop_free(room.loop);
	if (device.other >= 0)
		close(device.other);
}

static void happens(uint16_t type, uint16_t code, int32_t value)
{
	const struct input_event e = { .type = type, .code = code, .value = value };

	assert_int_equal(write(device.other, &e, sizeof e), sizeof e);
}

static void report(void) { happens(EV_SYN, SYN_REPORT, 0); }

/* The next group is of n events and the end; the first ones are these. */
static void group_of(unsigned n, const struct vio_event *first, unsigned count)
{
	const struct vio_event *g;

	assert_int_equal(room.e->ops->peek(room.e, &g), n + 1);
	for (unsigned i = 0; i < count; i++)
		assert_memory_equal(&g[i], &first[i], sizeof *g);
	assert_true(g[n].type == EV_SYN && g[n].code == SYN_REPORT);
	room.e->ops->pass(room.e);
}

static void one(uint16_t type, uint16_t code, int32_t value) { group_of(1, &(struct vio_event){ type, code, value }, 1); }

static void none(void)
{
	const struct vio_event *g;
	assert_int_equal(room.e->ops->peek(room.e, &g), 0);
}

/* What the back end has written. */
static void told(uint16_t type, uint16_t code, int32_t value)
{
	struct input_event e[2];

	assert_int_equal(recv(device.other, e, sizeof e, MSG_DONTWAIT), sizeof e);
	assert_true(e[0].type == type && e[0].code == code && e[0].value == value);
	assert_true(e[1].type == EV_SYN && e[1].code == SYN_REPORT);
}

static void told_nothing(void)
{
	char byte;
	assert_int_equal(recv(device.other, &byte, 1, MSG_DONTWAIT), -1);
}

/* ---- Tests ---- */

static void it_is_described(void **state)
{
	(void)state;
	new_device();
	set(device.properties, INPUT_PROP_POINTER);
	has(EV_ABS, ABS_X);
	device.axis[ABS_X] = (struct input_absinfo){ .value = 3, .minimum = -5, .maximum = 5, .fuzz = 1, .flat = 2, .resolution = 40 };
	const struct vio_events_about *a = must_open()->about;
	assert_true(device.grabbed);
	assert_string_equal(a->name, "A keyboard of the test");
	assert_string_equal(a->serial, "serial 7");
	assert_true(a->bustype == BUS_USB && a->vendor == 0x1234 && a->product == 0x5678 && a->version == 9);
	assert_true(vio_events_can(a, EV_KEY, KEY_A) && !vio_events_can(a, EV_KEY, KEY_F) && vio_events_can(a, EV_LED, LED_CAPSL));
	assert_true(vio_events_can(a, EV_MSC, MSC_SCAN) && a->repeats);
	assert_int_equal(a->properties[0], 1 << INPUT_PROP_POINTER);
	assert_memory_equal(&a->axis[ABS_X], (&(struct vio_events_axis){ -5, 5, 1, 2, 40 }), sizeof *a->axis);
	end();
	new_device();
	assert_non_null(try_open(true));
	assert_false(device.grabbed);
	end();
}

static void what_can_not_be_opened(void **state)
{
	(void)state;
	new_device();
	device.taken = true;
	assert_null(try_open(false));
	assert_non_null(strstr(room.why, "another program has it"));
	end();
	assert_non_null(try_open(true));	/* it may be shared */
	end();
	new_device();
	device.no_device = true;
	assert_null(try_open(false));
	assert_non_null(strstr(room.why, "is no input device"));
	end();
	room.loop = vio_loop_new();
	room.e = vio_events_evdev(&(struct vio_evdev_options){ .loop = room.loop, .path = "/dev/input/none" }, room.why);
	assert_null(room.e);
	assert_non_null(strstr(room.why, "cannot open /dev/input/none"));
	new_device();
	end();
}

static void groups_come_whole(void **state)
{
	(void)state;
	new_device();
	must_open();
	none();
	happens(EV_MSC, MSC_SCAN, 30);
	happens(EV_KEY, KEY_A, 1);
	none();					/* it has not ended */
	report();
	group_of(2, (const struct vio_event[]){ { EV_MSC, MSC_SCAN, 30 }, { EV_KEY, KEY_A, 1 } }, 2);
	none();
	happens(EV_KEY, KEY_A, 2);		/* the guest repeats keys by itself */
	report();
	happens(EV_LED, LED_CAPSL, 1);		/* what the guest has said comes back to us, and not to the guest */
	report();
	happens(EV_KEY, KEY_A, 0);
	report();
	one(EV_KEY, KEY_A, 0);
	none();
	for (int32_t i = 0; i < 100; i++) {	/* more than libevdev reads at once */
		happens(EV_REL, REL_X, i + 1);
		report();
	}
	for (int32_t i = 0; i < 100; i++)
		one(EV_REL, REL_X, i + 1);
	none();
	end();
}

/* The descriptor is looked at while somebody waits for a group, and at no other time. */
static void who_waits_is_told(void **state)
{
	(void)state;
	new_device();
	must_open();
	none();
	happens(EV_KEY, KEY_A, 1);
	vio_loop_run(room.loop);
	assert_int_equal(room.ready, 1);
	none();
	report();
	vio_loop_run(room.loop);
	assert_int_equal(room.ready, 2);
	happens(EV_KEY, KEY_A, 0);
	report();
	struct vio_call later = { .fn = on_ready };		/* with nobody waiting, nothing but this call ends the loop */
	vio_loop_call(room.loop, &later);
	vio_loop_run(room.loop);
	assert_int_equal(room.ready, 3);
	one(EV_KEY, KEY_A, 1);
	one(EV_KEY, KEY_A, 0);
	none();
	end();
}

static void what_was_lost_is_made_good(void **state)
{
	(void)state;
	new_device();
	must_open();
	happens(EV_KEY, KEY_A, 1);
	report();
	happens(EV_KEY, KEY_S, 1);
	happens(EV_SYN, SYN_DROPPED, 0);
	happens(EV_KEY, KEY_Q, 1);		/* means nothing until the next report */
	report();
	set(device.keys, KEY_S);		/* A was released meanwhile, S and D are down */
	set(device.keys, KEY_D);
	one(EV_KEY, KEY_A, 1);
	struct vio_events_state s = { .keys = { 0 } };
	set(s.keys, KEY_A);
	const struct vio_event *g;
	for (unsigned n; (n = room.e->ops->peek(room.e, &g));) {
		assert_int_equal(g[n - 1].type, EV_SYN);
		for (unsigned i = 0; i < n; i++)
			vio_events_note(&s, &g[i]);
		room.e->ops->pass(room.e);
	}
	assert_memory_equal(s.keys, device.keys, sizeof s.keys);
	assert_int_equal(vio_events_evdev_resyncs(room.e), 1);
	happens(EV_KEY, KEY_D, 0);
	report();
	one(EV_KEY, KEY_D, 0);
	end();
}

static void a_driver_begins_with_things_as_they_are(void **state)
{
	(void)state;
	new_device();
	has(EV_ABS, ABS_X);
	has(EV_ABS, ABS_MT_SLOT);
	has(EV_ABS, ABS_MT_TRACKING_ID);
	has(EV_ABS, ABS_MT_POSITION_X);
	has(EV_SW, SW_LID);
	device.axis[ABS_X] = (struct input_absinfo){ .value = 42, .maximum = 100 };
	device.axis[ABS_MT_SLOT] = (struct input_absinfo){ .value = 1, .maximum = SLOTS - 1 };
	device.axis[ABS_MT_TRACKING_ID].maximum = 65535;
	for (unsigned i = 0; i < SLOTS; i++)
		device.tracking[i] = -1;
	set(device.switches, SW_LID);
	set(device.keys, KEY_ENTER);		/* that started the program: not for the guest */
	assert_non_null(try_open(false));
	happens(EV_KEY, KEY_A, 1);
	report();
	happens(EV_ABS, ABS_X, 43);
	report();
	room.e->heard = true;
	room.e->ops->begin(room.e);
	group_of(3, (const struct vio_event[]){ { EV_ABS, ABS_X, 43 }, { EV_ABS, ABS_MT_SLOT, 1 }, { EV_SW, SW_LID, 1 } }, 3);
	none();
	happens(EV_KEY, KEY_A, 0);
	report();
	one(EV_KEY, KEY_A, 0);
	end();
}

static void lights_are_lit_and_put_back(void **state)
{
	(void)state;
	new_device();
	struct vio_events *e = must_open();
	e->ops->forget(e);
	told_nothing();				/* nothing was lit */
	assert_true(e->ops->send(e, &(struct vio_event){ EV_LED, LED_CAPSL, 1 }));
	told(EV_LED, LED_CAPSL, 1);
	assert_true(e->ops->send(e, &(struct vio_event){ EV_LED, LED_NUML, 0 }));
	told(EV_LED, LED_NUML, 0);
	assert_true(e->ops->send(e, &(struct vio_event){ EV_REP, REP_DELAY, 100 }));	/* is the guest's own affair */
	told_nothing();
	e->ops->forget(e);
	told(EV_LED, LED_NUML, 1);
	told(EV_LED, LED_CAPSL, 0);
	e->ops->forget(e);
	told_nothing();
	end();
}

static void feedback_is_played(void **state)
{
	(void)state;
	new_device();
	has(EV_FF, FF_RUMBLE);
	has(EV_FF, FF_GAIN);
	struct vio_events *e = must_open();
	assert_int_equal(device.effects, 1);	/* which the guest could not make */
	assert_int_equal(device.effect.type, FF_RUMBLE);
	assert_true(device.effect.u.rumble.strong_magnitude && device.effect.replay.length);
	assert_true(e->ops->send(e, &(struct vio_event){ EV_FF, FF_GAIN, 0x7fff }) && e->ops->send(e, &(struct vio_event){ EV_FF, 0, 1 }));
	told(EV_FF, FF_GAIN, 0x7fff);
	told(EV_FF, 0, 1);
	end();
}

static void one_that_may_only_be_read(void **state)
{
	(void)state;
	new_device();
	device.read_only = true;
	struct vio_events *e = must_open();
	assert_false(vio_events_can(e->about, EV_LED, LED_CAPSL));	/* no light is offered that can't be lit */
	assert_false(e->ops->send(e, &(struct vio_event){ EV_LED, LED_CAPSL, 1 }));
	happens(EV_KEY, KEY_A, 1);
	report();
	one(EV_KEY, KEY_A, 1);
	end();
}

static void one_that_is_unplugged(void **state)
{
	(void)state;
	new_device();
	must_open();
	happens(EV_KEY, KEY_A, 1);
	report();
	one(EV_KEY, KEY_A, 1);
	none();
	happens(EV_KEY, KEY_S, 1);		/* half a group */
	device.unplugged = true;
	shutdown(device.other, SHUT_RDWR);
	vio_loop_run(room.loop);
	none();
	assert_true(room.e->gone);
	assert_int_equal(room.gone, 1);
	none();
	assert_false(room.e->ops->send(room.e, &(struct vio_event){ EV_LED, LED_CAPSL, 1 }));
	assert_int_equal(room.gone, 1);
	room.e->ops->begin(room.e);		/* another driver finds the same */
	none();
	end();
}

static void one_that_is_plugged_in_again(void **state)
{
	(void)state;
	new_device();
	must_open();
	int fd = open(PATH, O_RDWR);		/* the second end of a device; the first one is lost to this program */
	assert_false(vio_events_evdev_plug(room.e, fd, room.why));
	assert_non_null(strstr(room.why, "is plugged in"));
	close(device.other);
	end();
	new_device();
	must_open();
	device.unplugged = true;
	none();
	assert_true(room.e->gone);
	close(device.other);
	device.unplugged = false;
	fd = open(PATH, O_RDWR);
	has(EV_KEY, BTN_LEFT);			/* it has more than the other one had */
	assert_false(vio_events_evdev_plug(room.e, fd, room.why));
	assert_non_null(strstr(room.why, "other keys or axes"));
	close(device.other);
	fd = open(PATH, O_RDWR);
	device.no_device = true;
	assert_false(vio_events_evdev_plug(room.e, fd, room.why));
	assert_non_null(strstr(room.why, "is no input device"));
	close(device.other);
	memset(device.codes[EV_KEY] + BTN_LEFT / 8, 0, 1);
	device.no_device = device.grabbed = false;
	fd = open(PATH, O_RDWR);
	happens(EV_KEY, KEY_S, 1);		/* before it is had */
	report();
	if (!vio_events_evdev_plug(room.e, fd, room.why))
		fail_msg("%s", room.why);
	assert_true(device.grabbed && !room.e->gone);
	assert_int_equal(room.ready, 1);
	none();
	happens(EV_KEY, KEY_A, 1);
	report();
	one(EV_KEY, KEY_A, 1);
	assert_true(room.e->ops->send(room.e, &(struct vio_event){ EV_LED, LED_CAPSL, 1 }));
	told(EV_LED, LED_CAPSL, 1);
	end();
}

static void a_group_beyond_measure(void **state)
{
	(void)state;
	new_device();
	must_open();
	for (int32_t i = 0; i < 2 * VIO_EVENTS_GROUP; i++) {
		happens(EV_REL, REL_X, 1);
		none();
	}
	report();
	happens(EV_KEY, KEY_A, 1);
	report();
	one(EV_KEY, KEY_A, 1);			/* the long one was left out whole */
	none();
	end();
}

static void names_are_known(void **state)
{
	uint16_t type, code;

	(void)state;
	assert_true(vio_event_names(room.why));
	assert_true(vio_event_code("BTN_LEFT", &type, &code) && type == EV_KEY && code == BTN_LEFT);
	assert_true(vio_event_code("ABS_MT_SLOT", &type, &code) && type == EV_ABS && code == ABS_MT_SLOT);
	assert_true(vio_event_type("EV_REL", &type) && type == EV_REL);
	assert_false(vio_event_code("KEY_", &type, &code) || vio_event_code("", &type, &code) || vio_event_type("EV_", &type));
	assert_string_equal(vio_event_code_name(EV_LED, LED_CAPSL), "LED_CAPSL");
	assert_string_equal(vio_event_type_name(EV_SND), "EV_SND");
	assert_null(vio_event_code_name(EV_KEY, 0x2ff - 1));
	assert_null(vio_event_type_name(9));
}

static const struct CMUnitTest tests[] = {
	T(it_is_described, "a device is described and had for the guest alone, unless it is to be shared"),
	T(what_can_not_be_opened, "what is not there, is none, or is another's, is refused in words"),
	T(groups_come_whole, "groups come whole, without repeated keys and what the guest has said itself"),
	T(who_waits_is_told, "the device is looked at while a group is waited for, and only then"),
	T(what_was_lost_is_made_good, "what the kernel could not hold is made good by how things are"),
	T(a_driver_begins_with_things_as_they_are, "a driver begins with axes and switches as they are, and no event from before"),
	T(lights_are_lit_and_put_back, "lights are lit, and as before when the driver has gone"),
	T(feedback_is_played, "there is a rumble to be played"),
	T(one_that_may_only_be_read, "a device that may only be read offers no lights"),
	T(one_that_is_unplugged, "a device that is unplugged says so once"),
	T(one_that_is_plugged_in_again, "it goes on when it is plugged in again, if it is alike"),
	T(a_group_beyond_measure, "a group beyond measure is left out whole"),
	T(names_are_known, "types and codes have names"),
};

int main(void)
{
	if (!vio_event_names(room.why)) {
		printf("1..0 # SKIP %s\n", room.why);
		return 0;
	}
	alarm(PATIENCE_S * 6);
	return vio_tests("host-evdev", tests, sizeof tests / sizeof *tests);
}
