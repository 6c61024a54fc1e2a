/* Input device (virtio 1.4, section 5.8): options.  The type is vio_dev_input. */
#ifndef VIO_DEVICE_INPUT_H
#define VIO_DEVICE_INPUT_H
#include <vio/backend/events.h>
#include <vio/device/dev.h>
VIO_BEGIN_DECLS

struct vio_input_options {
	struct vio_events *events;	/* the caller's; must outlive the device */
	uint16_t queue_size;		/* 0: 256 */
};
extern const struct vio_dev_type vio_dev_input;

/* For the operator. */
struct vio_input_told {
	uint64_t groups, events;	/* that the driver has got */
	uint64_t status;		/* events from the driver that were taken, */
	uint64_t status_lost;		/* and that were not */
	bool starved;			/* a group waits for the driver's buffers */
	struct vio_events_state down;	/* as the driver believes */
};
const struct vio_input_told *vio_dev_input_told(const struct vio_dev *d);
VIO_END_DECLS
#endif
