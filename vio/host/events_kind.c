/* Things as most drivers know them. */
#include <vio/host/events.h>
#include <linux/input-event-codes.h>
#include <linux/input.h>
#include <string.h>

enum { RANGE = 32767, VENDOR = 0x1af4 };

static void has(struct vio_events_about *a, unsigned type, unsigned code) { a->codes[type][code / 8] |= (uint8_t)(1u << code % 8); }

static void has_all(struct vio_events_about *a, unsigned type, unsigned first, unsigned last)
{
	for (unsigned code = first; code <= last; code++)
		has(a, type, code);
}

static void has_axis(struct vio_events_about *a, unsigned axis, int32_t min, int32_t max)
{
	has(a, EV_ABS, axis);
	a->axis[axis] = (struct vio_events_axis){ .min = min, .max = max };
}

static void keyboard(struct vio_events_about *a, unsigned slots)
{
	(void)slots;
	has_all(a, EV_KEY, KEY_ESC, KEY_MICMUTE);
	has_all(a, EV_LED, LED_NUML, LED_KANA);
	has_all(a, EV_SND, SND_BELL, SND_TONE);
	a->repeats = true;
}

static void wheels(struct vio_events_about *a)
{
	has(a, EV_REL, REL_WHEEL);
	has(a, EV_REL, REL_HWHEEL);
}

static void mouse(struct vio_events_about *a, unsigned slots)
{
	(void)slots;
	has_all(a, EV_KEY, BTN_LEFT, BTN_TASK);
	has(a, EV_REL, REL_X);
	has(a, EV_REL, REL_Y);
	wheels(a);
	a->properties[0] = 1 << INPUT_PROP_POINTER;
}

/* A pointer that is told where it is, not how far it went. */
static void tablet(struct vio_events_about *a, unsigned slots)
{
	(void)slots;
	has_all(a, EV_KEY, BTN_LEFT, BTN_TASK);
	has_axis(a, ABS_X, 0, RANGE);
	has_axis(a, ABS_Y, 0, RANGE);
	wheels(a);
}

static void touch(struct vio_events_about *a, unsigned slots)
{
	has(a, EV_KEY, BTN_TOUCH);
	has_axis(a, ABS_X, 0, RANGE);
	has_axis(a, ABS_Y, 0, RANGE);
	has_axis(a, ABS_PRESSURE, 0, 255);
	has_axis(a, ABS_MT_SLOT, 0, (int32_t)slots - 1);
	has_axis(a, ABS_MT_TRACKING_ID, 0, UINT16_MAX);
	has_axis(a, ABS_MT_POSITION_X, 0, RANGE);
	has_axis(a, ABS_MT_POSITION_Y, 0, RANGE);
	has_axis(a, ABS_MT_PRESSURE, 0, 255);
	a->properties[0] = 1 << INPUT_PROP_DIRECT;
}

static void gamepad(struct vio_events_about *a, unsigned slots)
{
	static const uint8_t sticks[] = { ABS_X, ABS_Y, ABS_RX, ABS_RY };

	(void)slots;
	has_all(a, EV_KEY, BTN_SOUTH, BTN_THUMBR);
	for (unsigned i = 0; i < sizeof sticks; i++) {
		has_axis(a, sticks[i], INT16_MIN, INT16_MAX);
		a->axis[sticks[i]].fuzz = 16;
		a->axis[sticks[i]].flat = 128;
	}
	has_axis(a, ABS_Z, 0, 255);
	has_axis(a, ABS_RZ, 0, 255);
	has_axis(a, ABS_HAT0X, -1, 1);
	has_axis(a, ABS_HAT0Y, -1, 1);
	has(a, EV_FF, FF_RUMBLE);
	has(a, EV_FF, FF_GAIN);
}

bool vio_events_kind(const char *kind, unsigned slots, struct vio_events_about *about)
{
	static const struct { const char *kind, *name; void (*fill)(struct vio_events_about *a, unsigned slots); } kinds[] = {
		{ "keyboard", "vio keyboard", keyboard }, { "mouse", "vio mouse", mouse }, { "tablet", "vio tablet", tablet },
		{ "touch", "vio touch screen", touch }, { "gamepad", "vio gamepad", gamepad },
	};

	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (strcmp(kinds[i].kind, kind))
			continue;
		memset(about, 0, sizeof *about);
		strcpy(about->name, kinds[i].name);
		about->bustype = BUS_VIRTUAL;
		about->vendor = VENDOR;
		about->product = (uint16_t)(i + 1);
		about->version = 1;
		kinds[i].fill(about, slots);
		return true;
	}
	return false;
}
