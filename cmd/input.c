/* vio input: keyboards, mice, tablets and touch screens over vhost-user. */
#include "input.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <vio/device/input.h>
#include <vio/host/why.h>

#define WHAT 2		/* the slot of what says what a device is */

enum { EVDEV_PATH = VIO_OPT_COMMON, KIND, NO_GRAB, NAME, SERIAL, SLOTS, END };

static const char *const kinds[] = { "keyboard", "mouse", "tablet", "touch", "gamepad" };

static const struct vio_opt options[END - VIO_OPT_COMMON] = {
	[EVDEV_PATH - VIO_OPT_COMMON] = { "evdev-path", "PATH", VIO_OPT_TEXT, VIO_OPT_PLACE, 1, 4095, .slot = WHAT,
		.help = "Pass a real device through, such as /dev/input/event3 or a name in /dev/input/by-id; from now on it is the "
			"guest's alone." },
	[KIND - VIO_OPT_COMMON] = { "kind", "keyboard|mouse|tablet|touch|gamepad", VIO_OPT_CHOICE, VIO_OPT_PLACE, .slot = WHAT,
		.help = "A device that nobody holds in his hands: it is pressed and moved by the control socket (--control)." },
	[NO_GRAB - VIO_OPT_COMMON] = { "no-grab", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE,
		.help = "With --evdev-path: this host's programs get the device's events as well." },
	[NAME - VIO_OPT_COMMON] = { "name", "NAME", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, VIO_INPUT_CFG_BYTES,
		.help = "With --kind: what the guest calls it; \"vio keyboard\" and the like." },
	[SERIAL - VIO_OPT_COMMON] = { "serial", "TEXT", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, VIO_INPUT_CFG_BYTES,
		.help = "With --kind: its serial number; none." },
	[SLOTS - VIO_OPT_COMMON] = { "slots", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, VIO_EVENTS_SLOTS, 10,
		.help = "With --kind=touch: how many touches there may be at once; 10." },
};

static bool check(const struct vio_arg *a, char *why)
{
	if (!a[EVDEV_PATH].given && !a[KIND].given)
		return vio_refuse(why, "it is not said what the device is: add --evdev-path=PATH for a real one, or --kind=keyboard "
		    "(mouse, tablet, touch, gamepad)");
	if (a[EVDEV_PATH].given && (a[NAME].given || a[SERIAL].given || a[SLOTS].given))
		return vio_refuse(why, "a real device has its own name, serial number and slots: leave --name, --serial and --slots "
		    "out");
	if (a[KIND].given && a[NO_GRAB].given)
		return vio_refuse(why, "--no-grab is for real devices: leave it out, or give --evdev-path");
	if (a[SLOTS].given && strcmp(kinds[a[KIND].number], "touch"))
		return vio_refuse(why, "--slots is for touch screens: leave it out, or give --kind=touch");
	return true;
}

/* ---- News ---- */

/* The guest has said something to a device that is made up. */
static void said(void *arg, const struct vio_event *e)
{
	struct vio_unit *u = arg;
	char code[32];
	const char *type = vio_event_type_name(e->type);

	vio_control_event(u, "said", json_pack("{s:s, s:s, s:i}", "type", type ? type : "?", "code",
	    input_code_name(e->type, e->code, code, sizeof code), "value", e->value));
}

static void unplugged(void *arg)
{
	struct vio_unit *u = arg;

	vio_say(u->name, "the input device was unplugged: the guest keeps one that nothing comes from; plug it in again and say "
	    "so (vio ctl PATH plug file=/dev/input/...), or start again");
	vio_control_event(u, "unplugged", NULL);
}

/* ---- The device ---- */

static struct vio_events *open_real(struct vio_unit *u, struct vio_loop *l, char *why)
{
	const struct vio_arg *a = u->args;

	return vio_events_evdev(&(struct vio_evdev_options){ .loop = l, .path = a[EVDEV_PATH].text, .no_grab = a[NO_GRAB].given,
		.gone = unplugged, .arg = u }, why);
}

static struct vio_events *open_synthetic(struct vio_unit *u, char *why)
{
	const struct vio_arg *a = u->args;
	struct vio_events_about about;

	if (!vio_event_names(why))
		return NULL;
	vio_events_kind(kinds[a[KIND].number], (unsigned)a[SLOTS].number, &about);
	if (a[NAME].given)
		snprintf(about.name, sizeof about.name, "%s", a[NAME].text);
	if (a[SERIAL].given)
		snprintf(about.serial, sizeof about.serial, "%s", a[SERIAL].text);
	struct vio_events *e = vio_events_synthetic(&(struct vio_synthetic_options){ .about = &about, .said = said, .arg = u });
	if (!e)
		vio_refuse(why, "there is no memory for another device");
	return e;
}

static void close_input(struct vio_unit *u)
{
	vio_events_close(input_unit(u)->events);
	free(u->backend);
}

static bool open_input(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	const struct vio_arg *a = u->args;
	struct input_unit *in = calloc(1, sizeof *in);

	(void)loop_count;	/* both queues are the home loop's */
	if (!in)
		return vio_refuse(why, "there is no memory for another device");
	in->real = a[EVDEV_PATH].given;
	in->events = in->real ? open_real(u, loops[0], why) : open_synthetic(u, why);
	if (in->events) {
		struct vio_input_options o = { .events = in->events };
		const char *refused = vio_dev_open(u->dev, &vio_dev_input, &o, &vio_vhost_port, NULL, vio_daemon_wire(a));
		u->backend = in;
		if (!refused)
			return true;
		vio_refuse(why, "cannot make an input device: %s", refused);
		vio_events_close(in->events);
	}
	u->backend = NULL;
	free(in);
	return false;
}

/* ---- Figures ---- */

static json_t *down_of(const struct vio_events_state *s)
{
	json_t *list = json_array();
	char code[32];

	for (uint16_t i = 0; i < VIO_KEY_COUNT; i++)
		if (vio_events_is_down(s, i))
			json_array_append_new(list, json_string(input_code_name(VIO_EV_KEY, i, code, sizeof code)));
	return list;
}

static json_t *touches_of(const struct vio_events_state *s)
{
	json_t *list = json_array();

	for (int i = 0; i < VIO_EVENTS_SLOTS; i++)
		if (s->touch[i])
			json_array_append_new(list, json_integer(i));
	return list;
}

static json_t *lights_of(uint16_t lights)
{
	json_t *list = json_array();
	char code[32];

	for (uint16_t i = 0; i < 16; i++)
		if (lights >> i & 1)
			json_array_append_new(list, json_string(input_code_name(VIO_EV_LED, i, code, sizeof code)));
	return list;
}

static void stats(struct vio_unit *u, json_t *into)
{
	const struct input_unit *in = input_unit(u);
	const struct vio_input_told *t = vio_dev_input_told(u->dev);
	json_t *o = json_pack("{s:s, s:b, s:b, s:b, s:I, s:I, s:b, s:o, s:o, s:I, s:I}", "name", in->events->about->name, "real",
	    in->real, "unplugged", in->events->gone, "driver", in->events->heard, "groups", (json_int_t)t->groups, "events",
	    (json_int_t)t->events, "starved", t->starved, "down", down_of(&t->down), "touches", touches_of(&t->down), "said", (json_int_t)t->status,
	    "said_lost", (json_int_t)t->status_lost);

	if (in->real) {
		json_object_set_new(o, "resyncs", json_integer((json_int_t)vio_events_evdev_resyncs(in->events)));
	} else {
		json_object_set_new(o, "waiting", json_integer(vio_events_synthetic_waiting(in->events)));
		json_object_set_new(o, "lights", lights_of(vio_events_synthetic_lights(in->events)));
	}
	json_object_set_new(into, "input", o);
}

/* ---- Confinement ---- */

/* evdev's own requests ('E'): how things are after some were lost. */
static const struct vio_sandbox_call evdev_calls[] = { { SYS_ioctl, VIO_CALL_BITS, 1, 0xff00, 'E' << 8 }, { .call = -1 } };

static void grant(struct vio_unit *u, struct vio_sandbox_options *o)
{
	if (input_unit(u)->real)
		vio_sandbox_calls(o, evdev_calls);
}

const struct vio_service vio_service_input = {
	.type = &vio_dev_input,
	.program = "vio-input",
	.capabilities = "{\"type\": \"input\", \"features\": [\"evdev-path\", \"no-grab\"]}",
	.options = {
		.usage = "vio input --socket-path=PATH --evdev-path=PATH|--kind=KIND [options] [--socket-path=PATH ...]...",
		.about = "Serves keyboards, mice, tablets and touch screens to virtual machines over vhost-user.",
		.common = vio_daemon_options, .common_count = VIO_OPT_COMMON,
		.own = options, .own_count = END - VIO_OPT_COMMON,
	},
	.check = check, .open = open_input, .close = close_input, .grant = grant, .verbs = input_verbs, .stats = stats,
};
