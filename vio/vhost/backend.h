/*
 * vhost-user, the daemon's end: serves one device to one front end after another.
 *
 *   s = vio_vhost_serve(&options, why)     in the home loop; then run the loop(s)
 *   vio_vhost_stop(s, done, arg)           finish what is in flight, close the connection, then done
 *
 * The front end is not trusted: a message that is not in the table (messages.def), has the wrong size or descriptors, or
 * comes at the wrong time is refused in a sentence on standard error, and ends at most this connection.
 */
#ifndef VIO_VHOST_BACKEND_H
#define VIO_VHOST_BACKEND_H
#include <vio/device/dev.h>
#include <vio/host/loop.h>
VIO_BEGIN_DECLS

struct vio_vhost;

enum vio_vhost_news { VIO_VHOST_CONNECTED, VIO_VHOST_FEATURES, VIO_VHOST_BROKEN, VIO_VHOST_GONE_AGAIN };

struct vio_vhost_options {
	struct vio_dev *dev;		/* opened with vio_vhost_port; the caller's */
	int listen_fd;			/* a listening socket, ours to close; -1: connected_fd is given */
	int connected_fd;		/* --connect: one connection, ours to close; -1 */
	bool once;			/* end with the first front end */
	struct vio_loop *const *loops;	/* loops[0] is the home loop; a queue of lane n runs in loops[n % loop_count]; read once */
	unsigned loop_count;
	uint64_t stop_deadline_ns;	/* how long a stop waits for the back end before the connection is closed; 0: 30 s */
	void (*ended)(void *arg);	/* once: the front end has gone (home loop) */
	void (*news)(void *arg, enum vio_vhost_news news);	/* to tell the operator (home loop); may be NULL */
	void *arg;
	const char *name;		/* in messages: "vio-blk" */
};

/* What vhost-user can carry of the device-independent features. */
struct vio_features vio_vhost_features(void);
/* A device that vhost-user serves is opened with this port and NULL until vio_vhost_serve(). */
extern const struct vio_port_ops vio_vhost_port;

/* NULL: why (512 bytes) has a sentence. */
struct vio_vhost *vio_vhost_serve(const struct vio_vhost_options *o, char *why);
/* done is called in the home loop when nothing is in flight any more; then vio_vhost_free(). */
void vio_vhost_stop(struct vio_vhost *s, void (*done)(void *arg), void *arg);
void vio_vhost_free(struct vio_vhost *s);
bool vio_vhost_connected(const struct vio_vhost *s);
/* Give every ring a turn soon: what it waited for may be there, say because a limit was lifted. */
void vio_vhost_turn_all(struct vio_vhost *s);
VIO_END_DECLS
#endif
