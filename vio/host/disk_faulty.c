/*
 * A disk whose requests go wrong as planned: fail, come late, move half of their bytes.
 *
 * Late requests stand in one list in the order they came; channels of a faulty disk therefore all live in one thread.
 * A tester's tool: it may allocate for a request.
 */
#include <vio/host/disk.h>
#include <errno.h>
#include <stdlib.h>

struct faulty_disk {
	struct vio_disk disk;
	struct vio_disk *inner;
	struct vio_disk_faults faults;
	struct vio_disk_io *late, **late_end;
	unsigned held;
};

struct faulty_chan {
	struct vio_disk_chan base;
	struct faulty_disk *disk;
	struct vio_disk_chan *inner;
	unsigned count;			/* requests so far */
	struct half *halves;		/* in flight below */
};

/* The half of a request that is moved before it fails. */
struct half {
	struct vio_disk_io io;
	struct vio_disk_io *whole;
	struct faulty_chan *chan;
	struct half *next;
	int error;
};

static void half_done(struct vio_disk_io *io, int error)
{
	struct half *h = (struct half *)io;
	struct vio_disk_io *whole = h->whole;
	struct half **p = &h->chan->halves;

	while (*p != h)
		p = &(*p)->next;
	*p = h->next;
	if (!error)
		error = h->error;
	vio_cur_skip(&whole->bytes, io->length);
	free(h);
	whole->done(whole, error);
}

static void submit_half(struct faulty_chan *c, struct vio_disk_io *io)
{
	struct half *h = malloc(sizeof *h);
	uint64_t block = c->disk->disk.logical_block;

	if (!h) {
		io->done(io, ENOMEM);
		return;
	}
	h->io = *io;
	h->io.length = io->length / 2 / block * block;
	vio_cur_split(&h->io.bytes, h->io.length);
	h->io.done = half_done;
	h->whole = io;
	h->error = c->disk->faults.error ? c->disk->faults.error : EIO;
	h->chan = c;
	h->next = c->halves;
	c->halves = h;
	c->inner->ops->submit(c->inner, &h->io);
}

static void hold(struct faulty_chan *c, struct vio_disk_io *io)
{
	struct faulty_disk *f = c->disk;

	io->disk_priv = c;
	io->next = NULL;
	*f->late_end = io;
	f->late_end = &io->next;
	f->held++;
}

static bool every(unsigned count, unsigned n)
{
	return n && count % n == 0;
}

static void submit(struct vio_disk_chan *chan, struct vio_disk_io *io)
{
	struct faulty_chan *c = (struct faulty_chan *)chan;
	const struct vio_disk_faults *f = &c->disk->faults;
	unsigned n = ++c->count;

	io->disk_priv = NULL;
	if (n == f->fail_nth || every(n, f->fail_every))
		io->done(io, f->error ? f->error : EIO);
	else if (every(n, f->short_every) && (io->op == VIO_DISK_READ || io->op == VIO_DISK_WRITE))
		submit_half(c, io);
	else if (every(n, f->late_every))
		hold(c, io);
	else
		c->inner->ops->submit(c->inner, io);
}

static void flush(struct vio_disk_chan *chan)
{
	struct faulty_chan *c = (struct faulty_chan *)chan;

	if (c->inner->ops->flush)
		c->inner->ops->flush(c->inner);
}

static void poll(struct vio_disk_chan *chan)
{
	struct faulty_chan *c = (struct faulty_chan *)chan;

	if (c->inner->ops->poll)
		c->inner->ops->poll(c->inner);
}

static bool drop(struct faulty_disk *f, struct vio_disk_io *io)
{
	for (struct vio_disk_io **p = &f->late; *p; p = &(*p)->next)
		if (*p == io) {
			*p = io->next;
			if (!*p)
				f->late_end = p;
			f->held--;
			return true;
		}
	return false;
}

static void cancel(struct vio_disk_chan *chan, struct vio_disk_io *io)
{
	struct faulty_chan *c = (struct faulty_chan *)chan;

	if (drop(c->disk, io)) {
		io->done(io, ECANCELED);
		return;
	}
	for (struct half *h = c->halves; h; h = h->next)
		if (h->whole == io) {
			c->inner->ops->cancel(c->inner, &h->io);
			return;
		}
	c->inner->ops->cancel(c->inner, io);
}

static void chan_close(struct vio_disk_chan *chan)
{
	struct faulty_chan *c = (struct faulty_chan *)chan;

	c->inner->ops->close(c->inner);
	free(c);
}

static const struct vio_disk_chan_ops chan_ops = {
	.submit = submit, .flush = flush, .cancel = cancel, .poll = poll, .close = chan_close,
};

static struct vio_disk_chan *channel(struct vio_disk *d, unsigned queue)
{
	struct faulty_disk *f = (struct faulty_disk *)d;
	struct faulty_chan *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->base.ops = &chan_ops;
	c->disk = f;
	c->inner = f->inner->ops->channel(f->inner, queue);
	if (!c->inner) {
		free(c);
		return NULL;
	}
	return &c->base;
}

static void disk_close(struct vio_disk *d)
{
	struct faulty_disk *f = (struct faulty_disk *)d;

	vio_disk_close(f->inner);
	free(f);
}

static const struct vio_disk_ops ops = { .channel = channel, .close = disk_close };

static void resized(void *arg)
{
	struct faulty_disk *f = arg;

	f->disk.size = f->inner->size;
	if (f->disk.resized)
		f->disk.resized(f->disk.resized_arg);
}

struct vio_disk *vio_disk_faulty_open(struct vio_disk *inner, const struct vio_disk_faults *faults)
{
	struct faulty_disk *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	f->inner = inner;
	f->faults = *faults;
	f->late_end = &f->late;
	f->disk = *inner;
	f->disk.ops = &ops;
	f->disk.resized = NULL;
	inner->resized = resized;
	inner->resized_arg = f;
	return &f->disk;
}

unsigned vio_disk_faulty_held(struct vio_disk *d)
{
	return ((struct faulty_disk *)d)->held;
}

void vio_disk_faulty_release(struct vio_disk *d)
{
	struct faulty_disk *f = (struct faulty_disk *)d;
	struct vio_disk_io *io = f->late;

	f->late = NULL;
	f->late_end = &f->late;
	f->held = 0;
	while (io) {
		struct vio_disk_io *next = io->next;
		struct faulty_chan *c = io->disk_priv;
		c->inner->ops->submit(c->inner, io);
		flush(&c->base);
		io = next;
	}
}
