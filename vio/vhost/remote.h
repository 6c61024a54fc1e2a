/*
 * A device whose queues are served elsewhere, over vhost-user: it has features, config space, status and queue registers here,
 * behind any transport (loop, MMIO, PCI), and a back end in another process pops its queues.
 *
 *     r = vio_remote_connect(&options, why);
 *     type = vio_remote_type(r);                   like any other type: vio_pci_dev_init(&p, dev, type, ...)
 *     vio_dev_open(dev, type, r, port, port_arg, features);
 *     vio_dev_set_mem(dev, mem);                   of regions with files (struct vio_backing): the back end gets those
 *     ...
 *     vio_dev_close(dev); vio_remote_free(r);
 *
 *   driver ── register, config ──▶ transport ── vio_dev_* ──▶ remote.c ── messages ──▶ back end
 *      │                                                                                ▲   │
 *      └───────────────── kick: an eventfd, written here or by the kernel ──────────────┘   │
 *      ◀───────────────── call: an eventfd, watched here or by the kernel ──────────────────┘
 *
 * A machine may hand both eventfds of a queue to its kernel (KVM ioeventfd and irqfd); they stay the same as long as the device
 * lives, over resets and other back ends.  Until then a turn of a queue kicks it, and calls are watched for in the loop.
 *
 * The back end is not trusted: all it says is checked, each wait for it has a deadline, and what it does wrong becomes one
 * sentence and DEVICE_NEEDS_RESET.  All calls in the home thread, the one that runs the loop; they may wait for the back end.
 */
#ifndef VIO_VHOST_REMOTE_H
#define VIO_VHOST_REMOTE_H
#include <vio/device/dev.h>
#include <vio/host/loop.h>
VIO_BEGIN_DECLS

struct vio_remote;

enum vio_remote_news {
	VIO_REMOTE_LOST,	/* the connection has ended; why says how */
	VIO_REMOTE_BACK,	/* another back end serves the queues now */
	VIO_REMOTE_ILL,		/* the driver is told that the device needs a reset, but the connection goes on */
	VIO_REMOTE_GIVEN_UP	/* none will: the driver has been told that the device needs a reset */
};

struct vio_remote_options {
	const struct vio_dev_type *like;	/* name, id and config space are those of this type */
	const char *path;		/* to connect to; NULL: fd.  Must stay until vio_remote_free(). */
	int fd;				/* a connected socket, ours to close */
	struct vio_loop *loop;		/* of the home thread */
	uint16_t queues;		/* 0: as many as the back end says, or the type has at least */
	uint16_t queue_size;		/* the most that a driver may choose, unless the back end refuses it; 0: what is usual */
	struct vio_features without;	/* not offered, nor what needs them: say CTRL_VQ of a back end that leaves it to others */
	const void *config;		/* the config space of a back end that has none, and what is behind the one it has */
	uint16_t config_bytes;
	/*
	 * When the connection is lost, wait for another back end, which goes on where the last one was: with path it is looked for
	 * there, otherwise vio_remote_again() brings it.  The driver notices nothing.  Without: the device needs a reset, and with
	 * path the driver's next start connects again.
	 */
	bool reconnect;
	uint64_t patience_ns;		/* how long an answer may take, and six times that a stop; 0: 5 s */
	uint64_t protocol_without;	/* protocol features not to use (bits), for tests */
	void (*news)(void *arg, enum vio_remote_news news, const char *why);	/* may be NULL */
	void *arg;
};

/* NULL: why (512 bytes) has a sentence. */
struct vio_remote *vio_remote_connect(const struct vio_remote_options *o, char *why);
/* The device is closed, or was never opened. */
void vio_remote_free(struct vio_remote *r);
/* The type to open the one device with; its options are r. */
const struct vio_dev_type *vio_remote_type(const struct vio_remote *r);
unsigned vio_remote_queues(const struct vio_remote *r);

/* The eventfds of a queue; -1: no such queue.  Writing the first kicks; the second is written when buffers were used. */
int vio_remote_kick_fd(const struct vio_remote *r, unsigned queue);
int vio_remote_call_fd(const struct vio_remote *r, unsigned queue);
/* Is the call watched for here, and told the transport (port->used)?  Yes until this says no.  False with errno. */
bool vio_remote_watch_call(struct vio_remote *r, unsigned queue, bool here);

/*
 * A socket (ours to close) to another back end, which goes on where the last one was; if that one is still there, it is let go.
 * False: why (512 bytes) says why not.
 */
bool vio_remote_again(struct vio_remote *r, int fd, char *why);
/* There is no back end and none will come, and why: the driver is told that the device needs a reset. */
void vio_remote_give_up(struct vio_remote *r, const char *why);
/* Why there is no back end now, or NULL. */
const char *vio_remote_lost(const struct vio_remote *r);

/*
 * Record what the back end writes, for a migration.  On: *bits has one bit per VIO_DIRTY_PAGE from guest address 0, *bytes of
 * them, until vio_remote_free().  Off: it ends; bits are the caller's to clear, atomically.  Before the first: queues or none
 * may run.  False: why (512 bytes) says why not.
 */
bool vio_remote_log(struct vio_remote *r, bool on, uint8_t **bits, uint64_t *bytes, char *why);
VIO_END_DECLS
#endif
