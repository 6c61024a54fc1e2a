/*
 * A transport of function calls: a driver and a device in one address space, one thread.  Every test's first wire.
 *
 *   struct vio_loop_wire l = { .alloc = ..., .free = ... };
 *   vio_dev_open(dev, &vio_dev_blk, &options, &vio_loop_port, &l, vio_loop_features());
 *   vio_loop_connect(&l, dev, platform);        and start a driver with &l.port
 *
 * A kick serves the queue at once, unless l->lazy: then vio_loop_pump() does.
 */
#ifndef VIO_TRANSPORT_LOOP_H
#define VIO_TRANSPORT_LOOP_H
#include <vio/device/dev.h>
#include <vio/driver/port.h>
VIO_BEGIN_DECLS

struct vio_loop_wire {
	struct vio_drv_port port;
	struct vio_dev *dev;
	void *(*alloc)(size_t bytes);	/* zeroed memory for queues: the owner's */
	void (*free)(void *p, size_t bytes);
	bool lazy;
	uint64_t due[VIO_DEV_QUEUES / 64];	/* queues that asked for a turn */
	struct vio_dev_call *calls, **calls_end;	/* posted */
	uint64_t clock;			/* what the device takes for the time, in ns: whoever moves it calls vio_loop_tick() */
	uint64_t alarm[VIO_DEV_QUEUES];	/* 0: none */
	uint64_t kicks, used, configs;
	uint32_t last_notification;
	const char *broken;
	void *other;			/* the owner's: a wire that he has put in between */
};

/* Device-independent features function calls can carry. */
struct vio_features vio_loop_features(void);
/* The port a device is opened with; arg is the wire. */
extern const struct vio_port_ops vio_loop_port;
void vio_loop_connect(struct vio_loop_wire *l, struct vio_dev *dev, struct vio_platform platform);
/* Time has passed: queues whose alarm is due are due a turn. */
void vio_loop_tick(struct vio_loop_wire *l, uint64_t ns);
/* Run what was posted, give every queue that asked for it a turn, until there is none or n turns are used up. */
void vio_loop_pump(struct vio_loop_wire *l, unsigned turns);
VIO_END_DECLS
#endif
