/* What a program does to a device that nobody holds in his hands: keys, pointers, touches, and events as they are. */
#include "input.h"
#include <ctype.h>
#include <linux/input-event-codes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/host/why.h>

enum { EVENTS = 2048, KEYS = 16, TEXT = 200 };

/* Events on their way to the device: all of them happen, or none. */
struct batch { struct vio_event e[EVENTS]; unsigned n; };

static void add(struct batch *b, uint16_t type, uint16_t code, int64_t value)
{
	if (b->n < EVENTS)
		b->e[b->n++] = (struct vio_event){ type, code, (int32_t)value };
}

static void end_group(struct batch *b) { add(b, EV_SYN, SYN_REPORT, 0); }

static bool happen(struct vio_command *c, const struct batch *b, char *why)
{
	struct input_unit *in = input_unit(c->unit);
	const char *refused;

	if (in->real)
		return vio_refuse(why, "this is a real device, and whoever has it in his hands presses it: start vio input with --kind "
		    "for one that a program presses");
	refused = vio_events_synthetic_put(in->events, b->e, b->n);
	return !refused || vio_refuse(why, "%s", refused);
}

/* ---- Names ---- */

const char *input_code_name(uint16_t type, uint16_t code, char *room, size_t n)
{
	bool effect = type == EV_FF && code < VIO_FF_GAIN;	/* a number of the guest's */
	const char *name = effect ? NULL : vio_event_code_name(type, code);

	snprintf(room, n, "%u", code);
	return name ? name : room;
}

static bool number_of(const char *text, uint16_t *n)
{
	char *end;
	unsigned long v = strtoul(text, &end, 0);

	*n = (uint16_t)v;
	return isdigit((unsigned char)*text) && !*end && v <= UINT16_MAX;
}

/* A key or button that the device has: "KEY_A", "BTN_LEFT", "a", "left", or its number. */
static bool find_key(const struct vio_events_about *a, const char *name, uint16_t *code, char *why)
{
	static const char *const prefixes[] = { "", "KEY_", "BTN_" };
	char whole[64];
	uint16_t type;
	bool known = false;

	for (unsigned i = 0; i < 3; i++) {
		snprintf(whole, sizeof whole, "%s%s", prefixes[i], name);
		for (char *p = whole; *p; p++)
			*p = (char)toupper((unsigned char)*p);
		bool is = vio_event_code(whole, &type, code) && type == EV_KEY;
		if (is && vio_events_can(a, EV_KEY, *code))
			return true;
		known |= is;
	}
	if (known)
		return vio_refuse(why, "the device has no key %.40s: press one that it has, or start one of another --kind", name);
	return (number_of(name, code) && *code >= 10) || vio_refuse(why, "there is no key %.40s: they are named as in "
	    "linux/input-event-codes.h, such as KEY_A or BTN_LEFT", name);
}

/* "KEY_LEFTCTRL+KEY_C": how many, or 0 and why. */
static unsigned find_keys(const struct vio_events_about *a, const char *text, uint16_t *code, char *why)
{
	char copy[KEYS * 24], *rest = copy, *name;
	unsigned n = 0;

	bool cut = snprintf(copy, sizeof copy, "%s", text) >= (int)sizeof copy;
	for (; !cut && n < KEYS && (name = strsep(&rest, "+")); n++)
		if (!find_key(a, name, &code[n], why))
			return 0;
	if (!cut && !rest)
		return n;
	vio_refuse(why, "these are too many keys at once: press them one after the other");
	return 0;
}

static bool find_type(const char *name, uint16_t *type, char *why)
{
	return vio_event_type(name, type) || number_of(name, type) ||
	    vio_refuse(why, "there is no type of events %.40s: give EV_KEY, EV_REL, EV_ABS, EV_MSC, EV_SW or EV_SYN", name);
}

static bool find_code(const char *name, uint16_t type, uint16_t *code, char *why)
{
	uint16_t of;

	return (vio_event_code(name, &of, code) && of == type) || number_of(name, code) ||
	    vio_refuse(why, "events of that type have no code %.40s: they are named as in linux/input-event-codes.h", name);
}

/* ---- Keys and buttons ---- */

static bool press_keys(struct vio_command *c, bool down, bool up, char *why)
{
	uint16_t code[KEYS];
	struct batch b = { .n = 0 };
	unsigned n = find_keys(input_unit(c->unit)->events->about, vio_command_text(c, "keys"), code, why);

	for (unsigned i = 0; down && i < n; i++) {
		add(&b, EV_KEY, code[i], 1);
		end_group(&b);
	}
	for (unsigned i = n; up && i-- > 0;) {
		add(&b, EV_KEY, code[i], 0);
		end_group(&b);
	}
	return n && happen(c, &b, why);
}

static bool press(struct vio_command *c, char *why) { return press_keys(c, true, false, why); }
static bool key(struct vio_command *c, char *why) { return press_keys(c, true, true, why); }

/* Those that are named, or whatever is down. */
static bool release(struct vio_command *c, char *why)
{
	struct batch b = { .n = 0 };

	if (vio_command_has(c, "keys"))
		return press_keys(c, false, true, why);
	if (input_unit(c->unit)->real)
		return happen(c, &b, why);
	const struct vio_events_state *s = vio_events_synthetic_state(input_unit(c->unit)->events);
	for (unsigned i = 0; i < VIO_EVENTS_SLOTS; i++)
		if (s->touch[i]) {
			add(&b, EV_ABS, ABS_MT_SLOT, i);
			add(&b, EV_ABS, ABS_MT_TRACKING_ID, -1);
		}
	for (uint16_t i = 0; i < VIO_KEY_COUNT; i++)
		if (vio_events_is_down(s, i)) {
			add(&b, EV_KEY, i, 0);
			end_group(&b);
		}
	return b.n == 0 || happen(c, &b, why);
}

/* Where characters are on a keyboard of the United States. */
static bool key_of(unsigned char character, uint16_t *code, bool *shift)
{
	static const char rows[][2][14] = {
		{ "1234567890-=", "!@#$%^&*()_+" }, { "qwertyuiop[]", "QWERTYUIOP{}" }, { "asdfghjkl;'`", "ASDFGHJKL:\"~" },
		{ "\\zxcvbnm,./", "|ZXCVBNM<>?" }, { " ", "" }, { "\n", "" }, { "\t", "" },
	};
	static const uint16_t first[] = { KEY_1, KEY_Q, KEY_A, KEY_BACKSLASH, KEY_SPACE, KEY_ENTER, KEY_TAB };

	for (unsigned row = 0; row < sizeof rows / sizeof *rows; row++)
		for (unsigned s = 0; s < 2; s++) {
			const char *at = strchr(rows[row][s], character);
			if (!at || !character)
				continue;
			*code = (uint16_t)(first[row] + (at - rows[row][s]));
			*shift = s;
			return true;
		}
	return false;
}

static bool type_text(struct vio_command *c, char *why)
{
	const char *text = vio_command_text(c, "text");
	struct batch b = { .n = 0 };

	if (strlen(text) > TEXT)
		return vio_refuse(why, "a text has at most %d characters: type it in parts", TEXT);
	for (; *text; text++) {
		uint16_t code;
		bool shift;
		if (!key_of((unsigned char)*text, &code, &shift))
			return vio_refuse(why, "there is no key for a character of this text: type knows those of a keyboard of the "
			    "United States");
		if (shift) {
			add(&b, EV_KEY, KEY_LEFTSHIFT, 1);
			end_group(&b);
		}
		for (int down = 1; down >= 0; down--) {
			add(&b, EV_KEY, code, down);
			end_group(&b);
		}
		if (shift) {
			add(&b, EV_KEY, KEY_LEFTSHIFT, 0);
			end_group(&b);
		}
	}
	return happen(c, &b, why);
}

/* ---- Pointers ---- */

static bool in_range(const struct vio_events_about *a, unsigned axis, int64_t value, char *why)
{
	char name[32];

	return (value >= a->axis[axis].min && value <= a->axis[axis].max) ||
	    vio_refuse(why, "%s is between %d and %d on this device", input_code_name(EV_ABS, (uint16_t)axis, name, sizeof name),
		a->axis[axis].min, a->axis[axis].max);
}

/* A mouse goes so far, a tablet goes there. */
static bool move(struct vio_command *c, char *why)
{
	static const struct { const char *name; uint16_t rel, abs; } axes[] = { { "x", REL_X, ABS_X }, { "y", REL_Y, ABS_Y } };
	const struct vio_events_about *a = input_unit(c->unit)->events->about;
	bool absolute = vio_events_can(a, EV_ABS, ABS_X);
	struct batch b = { .n = 0 };

	for (unsigned i = 0; i < 2; i++) {
		int64_t v = vio_command_integer(c, axes[i].name, 0);
		if (!vio_command_has(c, axes[i].name))
			continue;
		if (absolute && !in_range(a, axes[i].abs, v, why))
			return false;
		if (v != (int32_t)v)
			return vio_refuse(why, "that is too far: go there in steps");
		add(&b, absolute ? EV_ABS : EV_REL, absolute ? axes[i].abs : axes[i].rel, v);
	}
	return b.n ? happen(c, &b, why) : vio_refuse(why, "it is not said where to: give x, y, or both");
}

static bool wheel(struct vio_command *c, char *why)
{
	int64_t vertical = vio_command_integer(c, "vertical", 0), horizontal = vio_command_integer(c, "horizontal", 0);
	struct batch b = { .n = 0 };

	if (vertical != (int16_t)vertical || horizontal != (int16_t)horizontal || !(vertical || horizontal))
		return vio_refuse(why, "it is not said how far: give vertical, horizontal, or both, at most 32767 steps");
	if (vertical)
		add(&b, EV_REL, REL_WHEEL, vertical);
	if (horizontal)
		add(&b, EV_REL, REL_HWHEEL, horizontal);
	return happen(c, &b, why);
}

/* ---- Touches ---- */

/* The lowest slot that touches, which single-touch programs follow; slots: none. */
static unsigned first_touch(const struct vio_events_state *s)
{
	unsigned i = 0;

	while (i < VIO_EVENTS_SLOTS && !s->touch[i])
		i++;
	return i;
}

static bool find_slot(struct vio_command *c, unsigned *slot, char *why)
{
	const struct vio_events_about *a = input_unit(c->unit)->events->about;
	uint64_t n = vio_command_number(c, "slot", 0);

	*slot = (unsigned)n;
	if (input_unit(c->unit)->real || !vio_events_can(a, EV_ABS, ABS_MT_SLOT))
		return vio_refuse(why, "this device can't be touched: start vio input with --kind=touch for one that can");
	return n <= (uint64_t)a->axis[ABS_MT_SLOT].max || vio_refuse(why, "the device has slots 0 to %d: choose one of these, or start "
	    "it with more (--slots)", a->axis[ABS_MT_SLOT].max);
}

static bool touch(struct vio_command *c, char *why)
{
	static const struct { const char *name; uint16_t one, many; } axes[] = {
		{ "x", ABS_X, ABS_MT_POSITION_X }, { "y", ABS_Y, ABS_MT_POSITION_Y },
		{ "pressure", ABS_PRESSURE, ABS_MT_PRESSURE } };
	struct input_unit *in = input_unit(c->unit);
	struct batch b = { .n = 0 };
	unsigned slot;

	if (!find_slot(c, &slot, why))
		return false;
	const struct vio_events_state *s = vio_events_synthetic_state(in->events);
	unsigned first = first_touch(s);
	int32_t id = s->touch[slot] ? in->touch_id : (in->touch_id + 1) & UINT16_MAX;
	add(&b, EV_ABS, ABS_MT_SLOT, slot);
	if (!s->touch[slot])
		add(&b, EV_ABS, ABS_MT_TRACKING_ID, id);
	if (first == VIO_EVENTS_SLOTS)
		add(&b, EV_KEY, BTN_TOUCH, 1);
	for (unsigned i = 0; i < 3; i++) {
		int64_t v = vio_command_integer(c, axes[i].name, 0);
		if (!vio_command_has(c, axes[i].name))
			continue;
		if (!in_range(in->events->about, axes[i].many, v, why))
			return false;
		add(&b, EV_ABS, axes[i].many, v);
		if (slot <= first)
			add(&b, EV_ABS, axes[i].one, v);
	}
	if (!happen(c, &b, why))
		return false;
	in->touch_id = id;
	return true;
}

static bool lift(struct vio_command *c, char *why)
{
	struct batch b = { .n = 0 };
	unsigned slot;

	if (!find_slot(c, &slot, why))
		return false;
	struct vio_events_state s = *vio_events_synthetic_state(input_unit(c->unit)->events);
	if (!s.touch[slot])
		return vio_refuse(why, "nothing touches in slot %u: stats tells what does", slot);
	add(&b, EV_ABS, ABS_MT_SLOT, slot);
	add(&b, EV_ABS, ABS_MT_TRACKING_ID, -1);
	s.touch[slot] = 0;
	if (first_touch(&s) == VIO_EVENTS_SLOTS)
		add(&b, EV_KEY, BTN_TOUCH, 0);
	return happen(c, &b, why);
}

/* ---- Events as they are ---- */

static bool add_event(struct batch *b, const char *type_name, const char *code_name, int64_t value, char *why)
{
	uint16_t type, code;

	if (!find_type(type_name, &type, why) || !find_code(code_name, type, &code, why))
		return false;
	if (value != (int32_t)value)
		return vio_refuse(why, "a value has 32 bits: %lld does not fit", (long long)value);
	add(b, type, code, value);
	return true;
}

static bool event(struct vio_command *c, char *why)
{
	struct batch b = { .n = 0 };

	return add_event(&b, vio_command_text(c, "type"), vio_command_text(c, "code"), vio_command_integer(c, "value", 0), why) &&
	    happen(c, &b, why);
}

static bool send_events(struct vio_command *c, char *why)
{
	json_t *list = json_object_get(c->args, "events"), *one;
	struct batch b = { .n = 0 };
	size_t i;

	if (json_array_size(list) == 0 || json_array_size(list) > EVENTS - 1)
		return vio_refuse(why, "give 1 to %d events, as [[\"EV_KEY\",\"KEY_A\",1], ...]", EVENTS - 1);
	json_array_foreach(list, i, one) {
		const char *type, *code;
		json_int_t value;
		if (json_unpack(one, "[s, s, I!]", &type, &code, &value))
			return vio_refuse(why, "event %u is not of the form [\"EV_KEY\",\"KEY_A\",1]", (unsigned)i);
		if (!add_event(&b, type, code, value, why))
			return false;
	}
	return happen(c, &b, why);
}

/* ---- Real devices ---- */

static bool plug(struct vio_command *c, char *why)
{
	struct input_unit *in = input_unit(c->unit);

	if (!in->real)
		return vio_refuse(why, "nothing can be plugged in here: this device is pressed by a program");
	if (!vio_events_evdev_plug(in->events, vio_command_fd(c, "file"), why))
		return false;
	vio_control_event(c->unit, "plugged", NULL);
	return true;
}

const struct vio_verb input_verbs[] = {
	{ "key", "keys:text", "Presses keys or buttons (KEY_LEFTCTRL+KEY_C) and releases them.", false, key },
	{ "press", "keys:text", "Presses keys or buttons, which stay down.", false, press },
	{ "release", "[keys:text]", "Releases keys or buttons; without keys everything that is down or touches.", false, release },
	{ "type", "text:text", "Types a text on a keyboard of the United States.", false, type_text },
	{ "move", "[x:integer] [y:integer]", "Moves a mouse by so much, or a tablet's pen to a place.", false, move },
	{ "wheel", "[vertical:integer] [horizontal:integer]", "Turns a wheel; up and to the right are positive.", false, wheel },
	{ "touch", "slot:number [x:integer] [y:integer] [pressure:integer]", "Touches the screen, or moves the touch in that slot.",
		false, touch },
	{ "lift", "slot:number", "Ends the touch in that slot.", false, lift },
	{ "event", "type:text code:text value:integer", "An event as it is, such as EV_REL REL_X -5, and the end of the update.",
		false, event },
	{ "send", "events:list", "Events as they are, [[\"EV_KEY\",\"KEY_A\",1], ...]; EV_SYN SYN_REPORT ends an update.",
		false, send_events },
	{ "plug", "file:file", "Goes on with a real device that was unplugged, or another one that can do the same.", false, plug },
	{ NULL, NULL, NULL, false, NULL },
};
