/* The front end's insides, shared by frontend.c (port, negotiation), frontend_queue.c and frontend_wire.c. */
#ifndef VIO_VHOST_FRONTEND_IMPL_H
#define VIO_VHOST_FRONTEND_IMPL_H
#include <vio/ring/devq.h>
#include <vio/vhost/frontend.h>
#include <vio/vhost/wire.h>
VIO_BEGIN_DECLS

enum { VIO_FRONT_QUEUES = 256, VIO_FRONT_WHY = 512 };	/* kick and call messages name a queue in 8 bits */

struct vio_front_queue {
	const struct vio_drvq *q;	/* NULL: not set up */
	int kick, call;			/* eventfds, or -1 */
	uint32_t base;			/* where to go on; valid while stopped */
	bool running;			/* the back end has been told to serve it */
	bool called;			/* in-band: a call has come */
};

struct vio_vhost_front {
	struct vio_drv_port port;
	struct vio_vhost_front_options o;
	int sock;			/* -1: gone */
	int channel;			/* our end of the back end's request channel, or -1 */
	int error;			/* eventfd for SET_VRING_ERR */
	bool broken, refused, needs_reset, config_changed;
	uint64_t offered, accepted;	/* device features as on the wire */
	uint64_t protocol;		/* protocol features in use */
	uint32_t queue_count;		/* what GET_QUEUE_NUM said; 0: not asked */
	uint64_t slots;			/* memory slots the back end takes one by one; 0: only a table */
	uint8_t status;
	bool memory_sent;
	uint32_t translations;		/* translations sent whose acknowledgement may still come */
	uint32_t relaxed;
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

/* frontend_queue.c */
bool vio_front_memory(struct vio_vhost_front *f);		/* the memory table, once per connection */
bool vio_front_inflight(struct vio_vhost_front *f);		/* get or give the in-flight region */
bool vio_front_describe(struct vio_vhost_front *f, uint16_t queue);	/* size, addresses, base, call */
bool vio_front_go(struct vio_vhost_front *f, uint16_t queue);	/* kick descriptor, enable */
bool vio_front_log(struct vio_vhost_front *f);			/* give it the dirty log */
bool vio_front_send_features(struct vio_vhost_front *f);	/* what was accepted, and LOG_ALL while logging */
/* Its user address of a device address; 0: outside memory. */
uint64_t vio_front_uva(const struct vio_vhost_front *f, uint64_t addr, uint64_t len);
VIO_END_DECLS
#endif
