/*
 * The front end's insides, shared by frontend.c (connection, negotiation), frontend_port.c, frontend_memory.c,
 * frontend_queue.c, frontend_wire.c, and by remote*.c, which drive queues for others.
 */
#ifndef VIO_VHOST_FRONTEND_IMPL_H
#define VIO_VHOST_FRONTEND_IMPL_H
#include <vio/ring/devq.h>
#include <vio/vhost/frontend.h>
#include <vio/vhost/wire.h>
VIO_BEGIN_DECLS

enum { VIO_FRONT_QUEUES = 256, VIO_FRONT_WHY = 512 };	/* kick and call messages name a queue in 8 bits */

struct vio_front_queue {
	bool set;			/* size and addresses are known */
	bool packed;
	uint16_t size;
	uint64_t desc, driver, device;	/* device addresses */
	const struct vio_drvq *q;	/* our own driver's, which knows where it stands; NULL: somebody else drives it */
	int kick, call;			/* eventfds, or -1 */
	uint32_t base;			/* where to go on; valid while stopped */
	bool running;			/* the back end has been told to serve it */
	bool called;			/* in-band: a call has come */
};

/* What the back end gets of memory; the caller's descriptors. */
struct vio_front_region { uint64_t gpa, size, offset; unsigned char *host; int fd; bool sent; };

struct vio_vhost_front {
	struct vio_drv_port port;
	struct vio_vhost_front_options o;
	int sock;			/* -1: gone */
	int channel;			/* our end of the back end's request channel, or -1 */
	int error;			/* eventfd for SET_VRING_ERR */
	bool reached;			/* somebody took the connection */
	bool broken, refused, needs_reset, config_changed;
	void (*closing)(void *arg, int fd);	/* a descriptor of vio_vhost_look_fds() is about to be closed; NULL: nobody watches */
	void *closing_arg;
	uint64_t offered, accepted;	/* device features as on the wire */
	uint64_t protocol;		/* protocol features in use */
	uint32_t queue_count;		/* what GET_QUEUE_NUM said; 0: not asked */
	uint64_t slots;			/* memory slots the back end takes one by one; 0: only a table */
	uint8_t status;
	struct vio_front_region *region;	/* sorted by gpa */
	unsigned regions;
	bool memory_sent;
	uint32_t translations;		/* translations sent whose acknowledgement may still come */
	uint32_t relaxed;
	uint16_t record_queues, record_size;	/* what the in-flight region has room for; 0: the queues that are set up */
	int inflight_fd;
	struct vio_vhost_inflight inflight;
	int log_fd;
	uint8_t *log_bits;
	uint64_t log_bytes;
	bool logging;
	struct vio_vhost_message in;	/* the request that is arriving on the channel */
	struct vio_front_queue queue[VIO_FRONT_QUEUES];
	char why[VIO_FRONT_WHY];
};

static inline bool vio_front_uses(const struct vio_vhost_front *f, unsigned protocol_bit)
{
	return f->protocol >> protocol_bit & 1;
}
static inline bool vio_front_took(const struct vio_vhost_front *f, unsigned feature)
{
	return f->accepted >> feature & 1;
}

/* frontend_wire.c */

/* The connection is no use any more: the first reason sticks.  Returns false. */
bool vio_front_fail(struct vio_vhost_front *f, const char *how, ...) __attribute__((format(printf, 2, 3)));
/*
 * Send a request and, where REPLY_ACK is in use, wait for its acknowledgement.  False: the connection broke (f->broken), or
 * the back end said no, which leaves a sentence in f->why.
 */
bool vio_front_tell(struct vio_vhost_front *f, uint32_t request, const void *payload, uint32_t size, const int *fds,
    unsigned count);
/* A request that has a reply of its own, of min to max bytes. */
struct vio_front_question {
	uint32_t request, size;		/* of payload */
	const void *payload;
	uint32_t min, max;
	const int *send_fd;		/* NULL: none */
	uint64_t patience_ns;		/* 0: the usual */
};
/* *got: how large the reply's payload is (NULL: not wanted); *fd, if -1: a descriptor that comes with it (NULL: not wanted). */
bool vio_front_ask(struct vio_vhost_front *f, const struct vio_front_question *q, union vio_vhost_payload *reply,
    uint32_t *got, int *fd);
bool vio_front_tell_u64(struct vio_vhost_front *f, uint32_t request, uint64_t v);
bool vio_front_ask_u64(struct vio_vhost_front *f, uint32_t request, uint64_t *v);
uint64_t vio_front_now(void);
void vio_front_close(int *fd);
void vio_front_hang_up(struct vio_vhost_front *f, int *fd);	/* the same for sock and channel: whoever watches is told */

/* frontend.c */
bool vio_front_go_all(struct vio_vhost_front *f);		/* every queue that is set up and does not run */
bool vio_front_tell_status(struct vio_vhost_front *f);

/* frontend_port.c */
extern const struct vio_drv_port_ops vio_front_ops_irq, vio_front_ops_poll;
extern const struct vio_platform_ops vio_front_platform;
bool vio_front_config_read(struct vio_vhost_front *f, uint32_t at, void *to, uint32_t len);
bool vio_front_config_write(struct vio_vhost_front *f, uint32_t at, const void *from, uint32_t len);

/* frontend_memory.c */
/* These regions from now on (a copy is kept); the back end is told when a queue is set up.  False: f is broken. */
bool vio_front_set_regions(struct vio_vhost_front *f, const struct vio_front_region *region, unsigned count);
bool vio_front_cut_memory(struct vio_vhost_front *f);		/* regions of o.memory */
bool vio_front_memory(struct vio_vhost_front *f);		/* the memory table, once per connection */
bool vio_front_log(struct vio_vhost_front *f);			/* give it the dirty log */
/* Its user address of a device address, which is ours too; 0: outside memory. */
uint64_t vio_front_uva(const struct vio_vhost_front *f, uint64_t addr, uint64_t len);
const struct vio_front_region *vio_front_region(const struct vio_vhost_front *f, uint64_t addr);

/* frontend_queue.c */
bool vio_front_inflight(struct vio_vhost_front *f);		/* get or give the in-flight region */
bool vio_front_reaches(const struct vio_vhost_front *f, uint16_t queue);	/* do its rings lie in the shared memory? */
bool vio_front_addresses(struct vio_vhost_front *f, uint16_t queue);
bool vio_front_events(struct vio_vhost_front *f, uint16_t queue);	/* make the eventfds of a queue that are not there yet */
bool vio_front_describe(struct vio_vhost_front *f, uint16_t queue);	/* size, addresses, base, call */
bool vio_front_go(struct vio_vhost_front *f, uint16_t queue);	/* kick descriptor, enable */
bool vio_front_send_features(struct vio_vhost_front *f);	/* what was accepted, and LOG_ALL while logging */
/* Where the ring of a queue stands that was being served, as far as its memory and the in-flight region tell. */
uint32_t vio_front_place(const struct vio_vhost_front *f, uint16_t queue);
/* What was in flight has ended in order: the queue begins anew with an empty record. */
void vio_front_inflight_clear(struct vio_vhost_front *f, uint16_t queue);
VIO_END_DECLS
#endif
