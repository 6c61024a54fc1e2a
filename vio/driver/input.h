/*
 * Input driver (virtio 1.4, section 5.8), freestanding.
 *
 *   vio_input_start(&in, port)             asks the device for its names, ids and what it can do
 *   while (vio_input_next(&in, &e))        events, as they come; SYN_REPORT ends each update of the device
 *   vio_input_tell(&in, VIO_EV_LED, code, 1)
 *   vio_input_axis(&in, axis, &a)          an axis' range
 *
 * Types, codes and values are Linux's (linux/input-event-codes.h).  Events that the device did not announce are left out.
 */
#ifndef VIO_DRIVER_INPUT_H
#define VIO_DRIVER_INPUT_H
#include <vio/driver/port.h>
#include <vio/spec/input.h>
VIO_BEGIN_DECLS

enum {
	VIO_INPUT_DRV_EVENTS = 64,	/* buffers in the event queue */
	VIO_INPUT_DRV_STATUS = 8	/* events to the device that are under way */
};

struct vio_input_said { uint16_t type, code; int32_t value; };
struct vio_input_axis { int32_t min, max, fuzz, flat, resolution; };

struct vio_input {
	struct vio_drv drv;
	struct vio_drvq q[VIO_INPUT_QUEUES];
	struct vio_buf mapped;		/* shared; len 0: not */
	char name[VIO_INPUT_CFG_BYTES + 1], serial[VIO_INPUT_CFG_BYTES + 1];
	uint16_t bustype, vendor, product, version;
	uint8_t properties[VIO_PROP_COUNT / 8];
	bool repeats;			/* keys that are held are for the driver to repeat */
	uint8_t codes[VIO_EV_COUNT][VIO_KEY_COUNT / 8];	/* bit by code: vio_input_can() */
	uint64_t ignored;		/* events that the device did not announce, or that were no whole events */
	uint8_t telling;		/* bit i: the device has status buffer i */
	struct vio_drvq_slot slots[VIO_INPUT_DRV_EVENTS], status_slots[VIO_INPUT_DRV_STATUS];
	struct {			/* with the device */
		VIO_ALIGNAS(16) unsigned char ring[VIO_DRVQ_RING_BYTES(VIO_INPUT_DRV_EVENTS)];
		VIO_ALIGNAS(16) unsigned char status_ring[VIO_DRVQ_RING_BYTES(VIO_INPUT_DRV_STATUS)];
		struct vio_input_event event[VIO_INPUT_DRV_EVENTS], status[VIO_INPUT_DRV_STATUS];
	} shared;
};

/* The struct must lie in memory the platform can map in one piece.  Waits.  False: in->drv.failed says why. */
bool vio_input_start(struct vio_input *in, struct vio_drv_port *port);
/* Reset the device and take all memory back.  False: it does not answer, so that memory can't be used again. */
bool vio_input_stop(struct vio_input *in);

/* Does the device have this?  type: KEY, REL, ABS, MSC, SW, LED, SND, FF. */
static inline bool vio_input_can(const struct vio_input *in, unsigned type, unsigned code)
{
	return type < VIO_EV_COUNT && code < VIO_KEY_COUNT && in->codes[type][code / 8] >> code % 8 & 1;
}
/*
 * Ask the config space (5.8.4): at most room bytes of the answer; 0: there is none, or the way to the device broke.
 */
unsigned vio_input_ask(struct vio_input *in, uint8_t select, uint8_t subsel, void *to, unsigned room);
bool vio_input_axis(struct vio_input *in, uint8_t axis, struct vio_input_axis *a);	/* false: there is no such axis */

/* The next event; false: none now. */
bool vio_input_next(struct vio_input *in, struct vio_input_said *e);
/* The same, waiting for it.  False: none came before deadline_ns, or the queue is broken. */
bool vio_input_next_wait(struct vio_input *in, struct vio_input_said *e, uint64_t deadline_ns);
/* LED, SND, REP or FF: false when the device has no such thing, or takes nothing at the moment. */
bool vio_input_tell(struct vio_input *in, uint16_t type, uint16_t code, int32_t value);
VIO_END_DECLS
#endif
