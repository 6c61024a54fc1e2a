/*
 * The driver core's two seams: the PORT is a driver's way to its device (one implementation per transport), the PLATFORM
 * is what the driver needs of the kernel, firmware or process around it.
 *
 * Nothing here allocates.  Everything may be called in an interrupt handler except what waits: vio_drv_begin(),
 * vio_drv_reset(), vio_drv_queue_reset(), vio_drv_suspend(), vio_drv_resume(), vio_drv_wait() and what says so.  Callers lock.
 */
#ifndef VIO_DRIVER_PORT_H
#define VIO_DRIVER_PORT_H
#include <vio/ring/drvq.h>
#include <vio/spec/device.h>
VIO_BEGIN_DECLS

enum vio_dir { VIO_TO_DEVICE = 1, VIO_FROM_DEVICE = 2, VIO_BOTH_WAYS = 3 };

struct vio_drv_port;
struct vio_platform {
	const struct vio_platform_ops *ops;
	void *arg;
};
struct vio_platform_ops {
	/*
	 * Make len bytes at p reachable for the device: at most max buffers into out (memory need not be contiguous).
	 * Returns how many; 0: it does not fit or can't be mapped.  unmap gives them back after the device is done
	 * (bounce buffers are copied back then).
	 */
	unsigned (*map)(void *arg, const void *p, uint32_t len, enum vio_dir dir, struct vio_buf *out, unsigned max);
	void (*unmap)(void *arg, const void *p, uint32_t len, enum vio_dir dir, const struct vio_buf *bufs, unsigned n);
	uint64_t (*now_ns)(void *arg);		/* monotonic */
	void (*relax)(void *arg);		/* between two looks while waiting; may give the processor away; may be NULL */
	/*
	 * Sleep until the device behind port has interrupted, or now_ns() reaches deadline; may come back earlier.  An interrupt
	 * since wait() was last left counts: the driver looks at its ring before it calls.  NULL: drivers poll, with relax().
	 */
	void (*wait)(void *arg, struct vio_drv_port *port, uint16_t queue, uint64_t deadline_ns);
};

struct vio_admin;

struct vio_drv_port {
	const struct vio_drv_port_ops *ops;
	struct vio_platform platform;
	bool has_config_data;		/* the wire can do NOTIF_CONFIG_DATA */
	struct vio_features refuse;	/* for its user to set, after the probe: not taken though the device offers it */
	struct vio_admin *admin;	/* the user's, to administer the device whatever its driver (driver/admin.h); NULL: he does not */
};
struct vio_drv_port_ops {
	uint32_t (*device_id)(struct vio_drv_port *p);
	struct vio_features (*features)(struct vio_drv_port *p);
	bool (*accept)(struct vio_drv_port *p, struct vio_features f);	/* false: the wire broke */
	uint8_t (*status)(struct vio_drv_port *p);
	void (*set_status)(struct vio_drv_port *p, uint8_t s);
	uint32_t (*generation)(struct vio_drv_port *p);		/* constant where the wire reads the config space at once */
	/*
	 * Of what is read or written here 2, 4 or 8 bytes are one field, any other number are bytes: some wires want accesses as
	 * wide as the field (4.1.3.1, 4.2.2.2).
	 */
	bool (*config_read)(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len);
	bool (*config_write)(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len);
	/* How many administration queues there are once ADMIN_VQ is negotiated, and the first; NULL: the wire has none. */
	uint16_t (*admin_queues)(struct vio_drv_port *p, uint16_t *first);
	uint16_t (*queue_max)(struct vio_drv_port *p, uint16_t queue);	/* 0: no such queue */
	bool (*queue_start)(struct vio_drv_port *p, uint16_t queue, const struct vio_drvq *q);
	bool (*queue_reset)(struct vio_drv_port *p, uint16_t queue);	/* ask; NULL: the wire can't */
	bool (*queue_is_live)(struct vio_drv_port *p, uint16_t queue);
	/* notification: vio_drvq_notification(); the wire sends of it what was negotiated */
	void (*kick)(struct vio_drv_port *p, uint16_t queue, uint32_t notification);
	/* Wait until the device has signalled the queue, or now_ns() reaches deadline; NULL: as the platform waits. */
	void (*wait)(struct vio_drv_port *p, uint16_t queue, uint64_t deadline_ns);
};

/* How long a device may take to answer a reset, a queue reset, a suspend. */
#define VIO_DRV_PATIENCE_NS UINT64_C(5000000000)

struct vio_drv {
	struct vio_drv_port *port;
	struct vio_features features;	/* what was negotiated */
	const char *failed;		/* why the driver gave up, in words */
	uint8_t status;			/* the bits this driver has set: what the device reads back is not trusted */
	bool suspended;
};

/*
 * Steps 1 to 6 of 3.1.1: reset, acknowledge, negotiate.  wanted: what this driver can drive, of what is offered; needs: its
 * feature dependencies.  VERSION_1 is required.  False: d->failed says why, and FAILED has been set.  Waits.
 */
bool vio_drv_begin(struct vio_drv *d, struct vio_drv_port *port, uint32_t device_id, struct vio_features wanted,
    const struct vio_feature_need *needs);
/* Step 7 for one queue; q has been initialised with d->features. */
bool vio_drv_queue(struct vio_drv *d, uint16_t queue, const struct vio_drvq *q);
/* Step 8: DRIVER_OK; an administration queue is set up before it. */
bool vio_drv_ready(struct vio_drv *d);
/* Something went wrong for good: sets FAILED (3.1.1).  Returns false. */
bool vio_drv_fail(struct vio_drv *d, const char *why);

/* Read config bytes consistently, however wide (2.5.1).  False: the wire broke, or the device never holds still. */
bool vio_drv_config(struct vio_drv *d, uint32_t at, void *to, uint32_t len);

/* Status 0, and wait until it reads 0 (2.4).  False: it did not within VIO_DRV_PATIENCE_NS. */
bool vio_drv_reset(struct vio_drv *d);
/* 2.6.1.  After true the queue is the driver's: initialise it and call vio_drv_queue() again. */
bool vio_drv_queue_reset(struct vio_drv *d, uint16_t queue);
/* 2.13 SUSPEND: after true the device is quiet until resumed.  kick and add are the caller's not to call meanwhile. */
bool vio_drv_suspend(struct vio_drv *d);
bool vio_drv_resume(struct vio_drv *d);

static inline bool vio_drv_has(const struct vio_drv *d, unsigned bit) { return vio_has(d->features, bit); }

/* Publish what was added to q and notify the device if it wants to hear of it. */
void vio_drv_kick(struct vio_drv *d, uint16_t queue, struct vio_drvq *q);

/*
 * Publish what was added to q, kick, and wait until something may have finished, a tenth of a second at most: for who has several
 * requests in flight, between two looks.
 */
void vio_drv_wait(struct vio_drv *d, uint16_t queue, struct vio_drvq *q, uint64_t deadline_ns);
/* vio_drvq_get(), waiting for it.  NULL: deadline passed, queue broken, or the device needs a reset. */
void *vio_drv_get_wait(struct vio_drv *d, uint16_t queue, struct vio_drvq *q, uint32_t *len, uint64_t deadline_ns);
VIO_END_DECLS
#endif
