/*
 * Input device (virtio 1.4, section 5.8).  Types, codes and values of events are those of Linux's evdev interface
 * (linux/input-event-codes.h); here stand those that a device or a driver has to know by itself.
 */
#ifndef VIO_SPEC_INPUT_H
#define VIO_SPEC_INPUT_H
#include <vio/spec/types.h>

enum { VIO_INPUT_Q_EVENTS = 0, VIO_INPUT_Q_STATUS = 1, VIO_INPUT_QUEUES = 2 };	/* 5.8.2 */

enum {	/* 5.8.4: what select asks for */
	VIO_INPUT_CFG_UNSET = 0x00,
	VIO_INPUT_CFG_ID_NAME = 0x01,	/* subsel 0: a string, no NUL */
	VIO_INPUT_CFG_ID_SERIAL = 0x02,
	VIO_INPUT_CFG_ID_DEVIDS = 0x03,
	VIO_INPUT_CFG_PROP_BITS = 0x10,	/* subsel 0: a bitmap of properties */
	VIO_INPUT_CFG_EV_BITS = 0x11,	/* subsel: a type; a bitmap of its codes, or size 0 where the type is not supported */
	VIO_INPUT_CFG_ABS_INFO = 0x12	/* subsel: an axis */
};
enum { VIO_INPUT_CFG_BYTES = 128 };	/* of the answer, at most */

struct vio_input_absinfo { vio_le32 min, max, fuzz, flat, res; };
struct vio_input_devids { vio_le16 bustype, vendor, product, version; };

struct vio_input_config {	/* 5.8.4 */
	uint8_t select;		/* these two are all that a driver may write */
	uint8_t subsel;
	uint8_t size;		/* of the answer; 0: there is none */
	uint8_t reserved[5];
	union {
		uint8_t string[VIO_INPUT_CFG_BYTES];
		uint8_t bitmap[VIO_INPUT_CFG_BYTES];
		struct vio_input_absinfo abs;
		struct vio_input_devids ids;
	} u;
};
VIO_STATIC_ASSERT(sizeof(struct vio_input_config) == 136 && offsetof(struct vio_input_config, u) == 8, "5.8.4");

struct vio_input_event { vio_le16 type, code; vio_le32 value; };	/* 5.8.6 */
VIO_STATIC_ASSERT(sizeof(struct vio_input_event) == 8, "5.8.6");

enum {	/* types of events */
	VIO_EV_SYN = 0x00, VIO_EV_KEY = 0x01, VIO_EV_REL = 0x02, VIO_EV_ABS = 0x03, VIO_EV_MSC = 0x04, VIO_EV_SW = 0x05,
	VIO_EV_LED = 0x11, VIO_EV_SND = 0x12, VIO_EV_REP = 0x14, VIO_EV_FF = 0x15,
	VIO_EV_COUNT = 0x20
};
enum {	/* codes */
	VIO_SYN_REPORT = 0,	/* the end of a sequence that is one update of the device */
	VIO_SYN_MT_REPORT = 2,	/* the end of one touch, of devices that do not number them */
	VIO_FF_GAIN = 0x60,	/* codes of FF below are numbers of effects, to be played */
	VIO_ABS_MT_SLOT = 0x2f, VIO_ABS_MT_TRACKING_ID = 0x39
};
enum { VIO_KEY_COUNT = 0x300, VIO_ABS_COUNT = 0x40, VIO_PROP_COUNT = 0x20 };
#endif
