/*
 * Things that people touch, on a Linux host (vio/backend/events.h): real ones by evdev, made-up ones that a program presses;
 * and the twins of the tests.
 *
 * All of it in the thread of the loop.  Openers return NULL with a sentence in why (512 bytes) that names the remedy.
 */
#ifndef VIO_HOST_EVENTS_H
#define VIO_HOST_EVENTS_H
#include <vio/backend/events.h>
#include <vio/host/loop.h>
VIO_BEGIN_DECLS

/* ---- Real ---- */

struct vio_evdev_options {
	struct vio_loop *loop;
	const char *path;		/* /dev/input/event3 */
	bool no_grab;			/* this host's programs get its events as well */
	void (*gone)(void *arg);	/* it was unplugged; or NULL */
	void *arg;
};
/*
 * An evdev device, by libevdev, which is loaded here.  When more happens than the kernel holds for us, what was lost is made
 * good by telling how things are.  On close it is released, and its lights are as they were.
 */
struct vio_events *vio_events_evdev(const struct vio_evdev_options *o, char *why);
/*
 * It is there again, or another one that can do the same: fd, which becomes the device's (or is closed).  For one that is gone;
 * in a confined process, too, which may ask evdev devices (ioctl).  False: why not.
 */
bool vio_events_evdev_plug(struct vio_events *e, int fd, char *why);
uint64_t vio_events_evdev_resyncs(const struct vio_events *e);	/* how often that happened */

/* Names of types and codes, as in linux/input-event-codes.h; loads libevdev, too: before confinement.  False: why not. */
bool vio_event_names(char *why);
bool vio_event_type(const char *name, uint16_t *type);		/* "EV_KEY" */
bool vio_event_code(const char *name, uint16_t *type, uint16_t *code);	/* "KEY_A" */
const char *vio_event_type_name(uint16_t type);			/* NULL: it has none */
const char *vio_event_code_name(uint16_t type, uint16_t code);

/* ---- Made up: somebody says what happens (also the memory twin) ---- */

struct vio_synthetic_options {
	const struct vio_events_about *about;	/* copied */
	unsigned room;			/* events that may wait for the guest; 0: 4096 */
	/* The guest says something; NULL: nobody listens. */
	void (*said)(void *arg, const struct vio_event *e);
	void *arg;
};
struct vio_events *vio_events_synthetic(const struct vio_synthetic_options *o);		/* NULL: no memory */
/*
 * n events happen, as groups: SYN_REPORT ends each, and is put behind the last one if it does not stand there.  All or
 * nothing: NULL, or why not (no driver is there, too much is waiting, the thing has no such key).
 */
const char *vio_events_synthetic_put(struct vio_events *e, const struct vio_event *events, unsigned n);
/* As it is now, when the guest has got all that waits. */
const struct vio_events_state *vio_events_synthetic_state(const struct vio_events *e);
unsigned vio_events_synthetic_waiting(const struct vio_events *e);	/* events */
uint16_t vio_events_synthetic_lights(const struct vio_events *e);	/* that the guest has lit, bit by code */
/* As if it were unplugged. */
void vio_events_synthetic_unplug(struct vio_events *e);

/* A keyboard, mouse, tablet, touch screen or gamepad as most drivers know them; slots: of a touch screen.  False: no such kind. */
bool vio_events_kind(const char *kind, unsigned slots, struct vio_events_about *about);

/* ---- Twin: as its inner one, but... Closes it with itself.  NULL: no memory, or no inner one. ---- */

struct vio_events_faults {
	unsigned late_every;		/* every n-th peek says that there is nothing, until vio_events_faulty_release(); 0: none */
	unsigned deaf_every;		/* every n-th send fails */
	unsigned gone_after;		/* unplugged after so many groups; 0: never */
};
struct vio_events *vio_events_faulty(struct vio_events *inner, const struct vio_events_faults *f);
void vio_events_faulty_release(struct vio_events *e);
VIO_END_DECLS
#endif
