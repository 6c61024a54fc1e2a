/* A disk that keeps nothing: every request is done before submit() returns, and no data is touched. */
#include <vio/host/disk.h>
#include <stdlib.h>

struct null_disk {
	struct vio_disk disk;
	struct vio_disk_chan chan;	/* has no state: every queue's */
};

static void submit(struct vio_disk_chan *c, struct vio_disk_io *io)
{
	(void)c;
	io->done(io, 0);
}

/* Nothing is ever in flight. */
static void cancel(struct vio_disk_chan *c, struct vio_disk_io *io)
{
	(void)c;
	(void)io;
}

static void chan_close(struct vio_disk_chan *c)
{
	(void)c;
}

static const struct vio_disk_chan_ops chan_ops = { .submit = submit, .cancel = cancel, .close = chan_close };

static struct vio_disk_chan *channel(struct vio_disk *d, unsigned queue)
{
	(void)queue;
	return &((struct null_disk *)d)->chan;
}

static void disk_close(struct vio_disk *d)
{
	free(d);
}

static const struct vio_disk_ops ops = { .channel = channel, .close = disk_close };

struct vio_disk *vio_disk_null_open(uint64_t size, struct vio_disk_place place)
{
	struct null_disk *n = calloc(1, sizeof *n);

	(void)place;
	if (!n)
		return NULL;
	n->chan.ops = &chan_ops;
	n->disk = (struct vio_disk){
		.ops = &ops, .size = size & ~(uint64_t)511, .logical_block = 512,
		.can_discard = true, .can_zero = true, .zero_may_unmap = true,
	};
	return &n->disk;
}
