/* vio input: between input.c (the service) and input_verbs.c (what an operator's program presses). */
#ifndef VIO_CMD_INPUT_H
#define VIO_CMD_INPUT_H
#include "control.h"
#include <vio/host/events.h>

struct input_unit {
	struct vio_events *events;
	bool real;			/* evdev */
	int32_t touch_id;		/* the last that was given to a touch */
};

static inline struct input_unit *input_unit(const struct vio_unit *u) { return (struct input_unit *)u->backend; }

extern const struct vio_verb input_verbs[];
/* "KEY_A", or "30" where there is no name.  room bytes. */
const char *input_code_name(uint16_t type, uint16_t code, char *room, size_t n);
#endif
