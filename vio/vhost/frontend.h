/*
 * vhost-user, the front end: a driver port (vio/driver/port.h) to any vhost-user back end.
 *
 *   f = vio_vhost_connect(&options, why);   the driver's rings and buffers lie in memory (a memfd shared with the back end)
 *   vio_blk_start(&blk, vio_vhost_drv_port(f), &setup)
 *
 * Addresses are offsets into the shared memory plus a base; map() refuses what lies elsewhere.
 *
 * The back end is not trusted: what it sends is checked, every wait for it has a deadline, and what it does wrong becomes
 * one sentence (vio_vhost_broken()) and the status NEEDS_RESET.  A front end belongs to one thread; kick() of different
 * queues may be called in different threads unless notifications go in-band.
 */
#ifndef VIO_VHOST_FRONTEND_H
#define VIO_VHOST_FRONTEND_H
#include <vio/driver/port.h>
VIO_BEGIN_DECLS

struct vio_vhost_front;
struct vio_vhost_memory { void *base; uint64_t size; int fd; uint64_t gpa; unsigned regions; /* cut into this many; 0: 1 */ };

/* A sealed memfd of size bytes, mapped; gpa and regions may be changed before it is used.  False with errno. */
bool vio_vhost_memory_make(struct vio_vhost_memory *m, uint64_t size);
void vio_vhost_memory_free(struct vio_vhost_memory *m);

struct vio_vhost_front_options {
	const char *path;		/* to connect to; NULL: fd */
	int fd;				/* a connected socket, ours to close */
	struct vio_vhost_memory *memory;
	uint64_t protocol_without;	/* protocol features not to use (bits), for tests */
	uint64_t protocol_with;		/* used only when asked for: in-band notifications */
	uint32_t device_id;		/* vhost-user does not tell; what device_id() answers */
	bool inflight;			/* ask for an inflight region and give it on reconnect */
	bool irq;			/* wait for call descriptors; otherwise poll */
	bool no_call;			/* give none at all; libvhost-user then dies of the first signal that it may send */
	uint64_t patience_ns;		/* how long an answer may take, and six times that a stop; 0: VIO_DRV_PATIENCE_NS */
};
/* NULL: why (512 bytes) has a sentence. */
struct vio_vhost_front *vio_vhost_connect(const struct vio_vhost_front_options *o, char *why);
void vio_vhost_disconnect(struct vio_vhost_front *f);
struct vio_drv_port *vio_vhost_drv_port(struct vio_vhost_front *f);
/*
 * The back end has died and another one listens at path (or fd): give it rings, memory and in-flight region anew.  What
 * has been used must have been taken with vio_drvq_get() before: a packed ring goes on from there.
 */
bool vio_vhost_reconnect(struct vio_vhost_front *f, const char *path, int fd, char *why);
/* The descriptor a queue's call is signalled on, for the caller's own poll(); -1 when polling. */
int vio_vhost_call_fd(struct vio_vhost_front *f, uint16_t queue);
/* GET_VRING_BASE: stop a queue and say where it stands. */
bool vio_vhost_queue_stop(struct vio_vhost_front *f, uint16_t queue, uint32_t *base);
/* Let a stopped queue go on there. */
bool vio_vhost_queue_go(struct vio_vhost_front *f, uint16_t queue, uint32_t base);

/* What the back end says unasked: take it in, never wait.  False: the connection is no use any more. */
bool vio_vhost_look(struct vio_vhost_front *f);
/* The descriptors that are readable when there is something to look at. */
enum { VIO_VHOST_LOOK_FDS = 3 };
unsigned vio_vhost_look_fds(const struct vio_vhost_front *f, int fds[VIO_VHOST_LOOK_FDS]);
/* Has the config space changed since this was asked last? */
bool vio_vhost_config_changed(struct vio_vhost_front *f);
/* Why the connection is no use any more, or NULL. */
const char *vio_vhost_broken(const struct vio_vhost_front *f);
/* What went wrong last, the connection's end or a message that was refused; "" when nothing did. */
const char *vio_vhost_why(const struct vio_vhost_front *f);
/* The protocol features in use, and the queues that the back end says it has (0: it can't say). */
uint64_t vio_vhost_protocol(const struct vio_vhost_front *f);
uint32_t vio_vhost_queues(const struct vio_vhost_front *f);

/*
 * Dirty logging of running queues on or off.  On: *bits has one bit per VIO_DIRTY_PAGE from address 0, *bytes of them, and
 * stays mapped until vio_vhost_disconnect().  False: the back end can't, or broke.
 */
bool vio_vhost_log(struct vio_vhost_front *f, bool on, uint8_t **bits, uint64_t *bytes);

/*
 * Device state, while all queues are stopped (DEVICE_STATE): what the back end keeps of its device besides what this end knows, for
 * another back end of the same kind, to be loaded before its queues go.  0 or false: vio_vhost_why() says why; the back end may still
 * be of use.  The bytes are not trusted, by whoever loads them neither.
 */
size_t vio_vhost_save(struct vio_vhost_front *f, void *to, size_t room);
bool vio_vhost_load(struct vio_vhost_front *f, const void *from, size_t n);
VIO_END_DECLS
#endif
