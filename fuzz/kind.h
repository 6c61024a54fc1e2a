/*
 * The device types as fuzz/device_fuzz.c sees them: how one is opened over a back end that is late, short or fails, how a
 * request is made that may be malformed, and one that must be served whatever was before.  One file a type, fuzz/kind_NAME.c.
 */
#ifndef VIO_FUZZ_KIND_H
#define VIO_FUZZ_KIND_H
#include <vio/transport/loop.h>
#include "feed.h"

enum { KIND_SIZE = 8, KIND_QUEUES = 2 };	/* entries of a queue; queues that the driver starts */

struct subject {
	const struct kind *kind;
	struct vio_dev *d;
	struct vio_loop_wire wire;
	struct guest *g;
	struct vio_region region[FUZZ_REGIONS + 1];	/* g's, and queue 1's ring */
	void *own;			/* the kind's: its back end */
	struct vio_drvq q[KIND_QUEUES];	/* where the driver's next chain goes */
	struct vio_drvq_slot slots[KIND_QUEUES][KIND_SIZE];
};

struct kind {
	const struct vio_dev_type *type;
	const char *(*open)(struct subject *s, struct feed *f);
	void (*request)(struct subject *s, struct feed *f, unsigned queue);	/* add one, perhaps malformed */
	void (*late)(struct subject *s, struct feed *f);	/* what the back end held back, or does by itself, happens */
	void (*good)(struct subject *s);			/* a request that must be served right, or abort() */
	void (*check)(struct subject *s);			/* after each step: nothing was touched that must not be; may be NULL */
	void (*close)(struct subject *s);			/* the device is closed */
	unsigned char queue[KIND_QUEUES];			/* which of the device's the two are; { 0, 0 }: 0 and 1 */
};

/* The table in device_fuzz.c.  A type that is not in it has no fuzz target: give it a file and a word. */
extern const struct kind kind_balloon;
extern const struct kind kind_blk;
extern const struct kind kind_console;
extern const struct kind kind_fs;
extern const struct kind kind_net;
extern const struct kind kind_input;
extern const struct kind kind_rng;
extern const struct kind kind_scsi;
extern const struct kind kind_vsock;

/* The device's number of the driver's queue. */
static inline unsigned kind_queue(const struct subject *s, unsigned i)
{
	const unsigned char *q = s->kind->queue;
	return q[0] || q[1] ? q[i] : i;
}

/* Guest memory at FUZZ_A: where requests have their headers. */
static inline unsigned char *kind_header(struct subject *s) { return s->region[2].host; }

static inline void kind_add(struct subject *s, unsigned queue, const struct vio_buf *b, unsigned r, unsigned w)
{
	vio_drvq_add(&s->q[queue], b, r, w, s);
}

static inline void kind_kick(struct subject *s, unsigned queue)
{
	vio_drvq_kick_due(&s->q[queue]);
	vio_dev_notified(s->d, kind_queue(s, queue));
	vio_loop_pump(&s->wire, 16);
}

/* The chain that was added comes back, and with this length. */
static inline void kind_served(struct subject *s, unsigned queue, uint32_t length)
{
	uint32_t len;

	kind_kick(s, queue);
	if (vio_drvq_get(&s->q[queue], &len) != s || len != length)
		abort();
}

static inline const char *kind_open(struct subject *s, const void *options)
{
	return vio_dev_open(s->d, s->kind->type, options, &vio_loop_port, &s->wire, vio_loop_features());
}
#endif
