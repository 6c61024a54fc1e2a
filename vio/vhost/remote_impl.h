/* The insides of a remote device, between remote.c (the type), remote_loop.c (what comes unasked, lost and found). */
#ifndef VIO_VHOST_REMOTE_IMPL_H
#define VIO_VHOST_REMOTE_IMPL_H
#include <vio/vhost/frontend_impl.h>
#include <vio/vhost/remote.h>
VIO_BEGIN_DECLS

enum { VIO_REMOTE_RETRY_MS = 100, VIO_REMOTE_FAILURES = 5 };	/* back ends in a row that fail before the device is given up */

struct vio_remote_queue {
	struct vio_remote *r;
	struct vio_watch call;
	bool elsewhere;			/* calls are not watched for here */
};

struct vio_remote {
	struct vio_remote_options o;
	struct vio_dev_type type;
	struct vio_dev_elsewhere elsewhere;
	struct vio_vhost_front *f;
	struct vio_dev *dev;		/* NULL: not open */
	struct vio_mem *mem;		/* what the back end was given; one reference */
	uint16_t queues, served;	/* that the device has; that the back end knows, which may be fewer */
	uint16_t config_have;		/* bytes of the config space that the back end has */
	uint8_t config[VIO_VHOST_CONFIG_BYTES];
	bool lost, given_up, told_ill;
	unsigned failures;
	struct vio_task settle;
	struct vio_timer retry;
	struct vio_watch look[VIO_VHOST_LOOK_FDS];
	char why[VIO_FRONT_WHY];	/* said last: needs_reset may point here */
	struct vio_remote_queue queue[VIO_DEV_QUEUES];
};

/* remote.c */
bool vio_remote_config(struct vio_remote *r);	/* read the config space again; true: it differs */

/* remote_loop.c */
void vio_remote_watch(struct vio_remote *r);	/* the connection's descriptors, and calls */
void vio_remote_unwatch(struct vio_remote *r);
void vio_remote_settle(struct vio_remote *r);	/* after anything was said: see soon what came of it */
void vio_remote_tell(struct vio_remote *r, enum vio_remote_news news);	/* with r->why */
/* For a driver that starts anew: connect again if the connection has ended.  False: there is no back end. */
bool vio_remote_revive(struct vio_remote *r);
VIO_END_DECLS
#endif
