/*
 * Entropy device (virtio 1.4, section 5.4): fills what it is given, in place.
 *
 * Each buffer must get at least one byte (5.4.6.2), and a source may have none at the moment.  So one random byte is always
 * in hand before a chain is popped: it goes to the chain's front, the source fills what it can of the rest.  A queue
 * without a byte in hand pops nothing and waits for the source, so that nothing of it is in flight and a stop needs not wait.
 */
#include <vio/device/rng.h>

enum {
	REQUEST_BYTES = 64 << 10,	/* of one buffer: a driver may ask for 4 GiB */
	TURN_BYTES = 256 << 10		/* before others get their turn */
};

struct rng {
	struct vio_dev dev;
	struct vio_source *source;
	struct vio_devq *waiting;	/* the queue, while it waits for the source */
	bool have;			/* byte is fresh */
	unsigned char byte;
	bool failed;			/* the source has */
};

static struct rng *rng_of(struct vio_dev *d) { return (struct rng *)d; }

static long fill(struct rng *g, void *to, size_t n)
{
	long got = g->source->ops->fill(g->source, to, n);

	if (got < 0)
		g->failed = true;
	return got;
}

/* A byte in hand?  False: the queue waits, or is broken for good. */
static bool prepare(struct rng *g, struct vio_devq *q)
{
	if (!g->have && !g->failed)
		g->have = fill(g, &g->byte, 1) > 0;
	if (g->have)
		return true;
	if (g->failed) {
		vio_devq_break(q, "the source of random bytes has failed: give the daemon another one and reset the device");
		return false;
	}
	g->waiting = q;
	q->why_empty = VIO_WAIT_DEVICE;
	return false;
}

/* In place; stops early when the source has no more, or where the request has had its share. */
static void serve(struct rng *g, struct vio_chain *c)
{
	vio_cur_put(&c->w, &g->byte, 1);
	g->have = false;
	g->byte = 0;
	while (c->w.left && c->w.done < REQUEST_BYTES) {
		size_t n, most = REQUEST_BYTES - (size_t)c->w.done;
		void *to = vio_cur_front(&c->w, &n);
		long got = fill(g, to, n < most ? n : most);
		if (got <= 0)
			return;
		vio_cur_skip(&c->w, (uint64_t)got);
	}
}

static void rng_queue(struct vio_dev *d, struct vio_devq *q)
{
	struct rng *g = rng_of(d);
	uint64_t moved = 0;
	struct vio_chain *c;

	while (prepare(g, q) && (c = vio_devq_pop(q))) {
		if (c->w.left)
			serve(g, c);	/* what the device could read of it means nothing here */
		else
			vio_dev_refused(q);
		moved += c->w.done;
		vio_dev_push(q, c);
		if (moved >= TURN_BYTES)
			vio_devq_yield(q);
	}
}

/* The source has bytes again. */
static void ready(void *arg)
{
	struct rng *g = arg;
	struct vio_devq *q = g->waiting;

	g->waiting = NULL;
	if (q)
		vio_dev_wake(q);
}

static void rng_queue_stop(struct vio_dev *d, struct vio_devq *q)
{
	struct rng *g = rng_of(d);

	(void)q;
	g->source->ops->cancel(g->source);
	g->waiting = NULL;
	g->have = false;		/* the next driver gets no byte that was meant for this one */
	g->byte = 0;
}

static const char *rng_open(struct vio_dev *d, const void *options)
{
	const struct vio_rng_options *o = options;
	struct rng *g = rng_of(d);

	if (o->queue_size > VIO_RING_SIZE_MAX)
		return "a queue has at most 32768 entries";
	g->source = o->source;
	g->source->ready = ready;
	g->source->ready_arg = g;
	d->queues = 1;
	d->queue_size_max = o->queue_size ? o->queue_size : 64;
	return NULL;
}

static void rng_close(struct vio_dev *d)
{
	struct rng *g = rng_of(d);

	g->source->ready = NULL;
	g->source->ready_arg = NULL;
}

const struct vio_dev_type vio_dev_rng = {
	.name = "rng",
	.id = VIO_ID_RNG,
	.queue_size_max = VIO_RING_SIZE_MAX,
	.instance = sizeof(struct rng),
	.request = sizeof(struct vio_chain),
	.backend = VIO_BACKEND_SOURCE,
	.open = rng_open,
	.close = rng_close,
	.queue_stop = rng_queue_stop,
	.queue = rng_queue,
};
