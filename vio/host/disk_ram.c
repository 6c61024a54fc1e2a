/*
 * A disk of bytes in memory, as large as asked for and touched only where it is written.
 *
 * Channels share nothing but the bytes.  Two queues that write the same block at once get either's bytes or a mixture,
 * as from any disk; each request is done before submit() returns.
 */
#include <vio/host/disk.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

struct ram_disk {
	struct vio_disk disk;
	struct vio_disk_chan chan;
	unsigned char *bytes;
	bool ours;		/* mapped here, so that pages can be given back */
};

static struct ram_disk *ram_of(struct vio_disk_chan *c)
{
	return (struct ram_disk *)((char *)c - offsetof(struct ram_disk, chan));
}

/* Zeroes; whole pages of our own go back to the system, which also makes them zeroes. */
static void clear(struct ram_disk *r, uint64_t offset, uint64_t length)
{
	uint64_t first = (offset + PAGE - 1) & ~(uint64_t)(PAGE - 1), end = (offset + length) & ~(uint64_t)(PAGE - 1);

	if (!r->ours || first >= end || madvise(r->bytes + first, end - first, MADV_DONTNEED) < 0) {
		memset(r->bytes + offset, 0, length);
		return;
	}
	memset(r->bytes + offset, 0, first - offset);
	memset(r->bytes + end, 0, offset + length - end);
}

static void submit(struct vio_disk_chan *c, struct vio_disk_io *io)
{
	struct ram_disk *r = ram_of(c);

	assert(io->offset <= r->disk.size && io->length <= r->disk.size - io->offset);
	switch (io->op) {
	case VIO_DISK_READ:
		vio_cur_put(&io->bytes, r->bytes + io->offset, io->length);
		break;
	case VIO_DISK_WRITE:
		vio_cur_get(&io->bytes, r->bytes + io->offset, io->length);
		break;
	case VIO_DISK_FLUSH:
		break;
	case VIO_DISK_DISCARD:
	case VIO_DISK_ZERO:
	case VIO_DISK_ERASE:
		clear(r, io->offset, io->length);
		break;
	case VIO_DISK_ZONE:
		io->done(io, ENOTSUP);
		return;
	}
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
	return &((struct ram_disk *)d)->chan;
}

static void disk_close(struct vio_disk *d)
{
	struct ram_disk *r = (struct ram_disk *)d;

	if (r->ours)
		munmap(r->bytes, d->size);
	free(r);
}

static const struct vio_disk_ops ops = { .channel = channel, .close = disk_close };

struct vio_disk *vio_disk_ram_open(uint64_t size, void *bytes, struct vio_disk_place place)
{
	struct ram_disk *r = calloc(1, sizeof *r);

	(void)place;
	if (!r)
		return NULL;
	size &= ~(uint64_t)511;
	r->ours = !bytes && size;
	r->bytes = bytes;
	if (r->ours) {
		void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p == MAP_FAILED) {
			free(r);
			return NULL;
		}
		r->bytes = p;
	}
	r->chan.ops = &chan_ops;
	r->disk = (struct vio_disk){
		.ops = &ops, .size = size, .logical_block = 512,
		.can_discard = true, .can_zero = true, .zero_may_unmap = true, .can_erase = true, .discard_align = PAGE,
		/* 5.2.6: normal; 10 to 20 % and 20 to 30 % of the life used */
		.has_lifetime = true, .pre_eol = 1, .life_a = 2, .life_b = 3,
	};
	return &r->disk;
}
