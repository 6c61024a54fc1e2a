/*
 * A disk that is a file or a block device.
 *
 *   submit --> in place: what never waits (tmpfs: disk_map.c) or is cached (RWF_NOWAIT), up to a budget a turn
 *          --> io_uring or the thread pool: the rest
 *
 * Buffered writes to other file systems are not done in place.  Measured on ext4, 4 KiB at random: in place 1 us in the
 * median, by io_uring one every 6 us at depth 32; but the slowest of 300,000 in place took 50 to 150 ms, when the kernel
 * throttled whoever makes pages dirty, and everything else in this thread would have waited with it.
 */
#include <vio/host/disk_file.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUDGET = 4 << 20 };		/* bytes in place a turn: about half a millisecond */
enum { IN_PLACE_IOVECS = 16 };
enum { THREADS = 8, IOCTL_THREADS = 1 };

static struct vio_file_chan *chan_of(struct vio_disk_chan *c)
{
	return (struct vio_file_chan *)c;
}

/* ---- In place ---- */

/* Bytes moved, or a negative errno value. */
static long move_some(struct vio_file *f, struct vio_disk_io *io, size_t limit)
{
	struct vio_seg v[IN_PLACE_IOVECS];
	uint64_t bytes;
	unsigned n = vio_cur_segs(&io->bytes, v, IN_PLACE_IOVECS, limit, &bytes);
	const struct iovec *iov = (const struct iovec *)(const void *)v;
	off_t at = (off_t)(io->offset + io->progress);
	long r;

	if (io->op == VIO_DISK_WRITE)
		r = n == 1 ? pwrite(f->fd, v->base, v->len, at) : pwritev(f->fd, iov, (int)n, at);
	else if (!f->memory)
		r = preadv2(f->fd, iov, (int)n, at, RWF_NOWAIT);
	else
		r = n == 1 ? pread(f->fd, v->base, v->len, at) : preadv(f->fd, iov, (int)n, at);
	return r < 0 ? -errno : r;
}

/* The same, through the mapping where it can be. */
static long read_memory(struct vio_file *f, struct vio_map *m, struct vio_disk_io *io, size_t limit)
{
	uint64_t at = io->offset + io->progress, n = vio_map_read(m, at, &io->bytes, limit);

	if (n)
		return (long)n;
	long r = move_some(f, io, limit);
	if (r > 0) {
		vio_map_learn(m, f->fd, at, (uint64_t)r);
		vio_cur_skip(&io->bytes, (uint64_t)r);
	}
	return r;
}

/* True: done() has been called.  False: the rest is for others. */
static bool move_in_place(struct vio_file_chan *c, struct vio_disk_io *io)
{
	struct vio_file *f = c->file;
	struct vio_map *m = io->op == VIO_DISK_READ ? atomic_load_explicit(&f->map, memory_order_acquire) : NULL;

	while (io->progress < io->length) {
		if (!c->budget)
			return false;
		long r = m ? read_memory(f, m, io, c->budget) : move_some(f, io, c->budget);
		if (r == -EINTR)
			continue;
		if (r == -EAGAIN && !f->memory)
			return false;
		if (r == -EOPNOTSUPP && !f->memory) {
			f->nowait = false;
			return false;
		}
		if (r <= 0) {
			io->done(io, r ? (int)-r : EIO);	/* 0: somebody has truncated the image */
			return true;
		}
		io->progress += (uint64_t)r;
		if (!m)
			vio_cur_skip(&io->bytes, (uint64_t)r);
		c->budget -= (size_t)r;
	}
	io->done(io, 0);
	return true;
}

/* ---- A channel ---- */

static bool is_ioctl(const struct vio_file *f, const struct vio_disk_io *io)
{
	return io->op == VIO_DISK_ERASE || (io->op == VIO_DISK_DISCARD && f->block_device);
}

static void submit(struct vio_disk_chan *chan, struct vio_disk_io *io)
{
	struct vio_file_chan *c = chan_of(chan);
	struct vio_file *f = c->file;

	if (io->offset > f->disk.size || io->length > f->disk.size - io->offset) {
		io->done(io, EIO);	/* the image has become smaller since the device looked */
		return;
	}
	io->progress = 0;
	if (io->op == VIO_DISK_READ ? f->memory || f->nowait : io->op == VIO_DISK_WRITE && f->memory)
		if (move_in_place(c, io))
			return;
	if (f->map && (io->op == VIO_DISK_DISCARD || (io->op == VIO_DISK_ZERO && io->may_unmap)))
		vio_map_forget(f->map, io->offset, io->length);
	if (!c->uring || is_ioctl(f, io)) {
		vio_pool_submit(f->pool, c, io);
		return;
	}
	vio_step_begin(io, !c->budget);
	vio_uring_submit(c->uring, io);
}

static void flush(struct vio_disk_chan *chan)
{
	struct vio_file_chan *c = chan_of(chan);

	c->budget = BUDGET;
	if (c->uring)
		vio_uring_flush(c->uring);
}

static void cancel(struct vio_disk_chan *chan, struct vio_disk_io *io)
{
	struct vio_file_chan *c = chan_of(chan);

	if (!c->uring || is_ioctl(c->file, io)) {
		if (vio_pool_cancel(c->file->pool, io))
			io->done(io, ECANCELED);
	} else {
		vio_uring_cancel(c->uring, io);
	}
}

/* What the pool has finished comes by a call, which a loop that polls looks at by itself. */
static void poll(struct vio_disk_chan *chan)
{
	struct vio_file_chan *c = chan_of(chan);

	if (c->uring)
		vio_uring_poll(c->uring);
}

static void chan_close(struct vio_disk_chan *chan)
{
	struct vio_file_chan *c = chan_of(chan);

	if (c->uring)
		vio_uring_close(c->uring);
	if (--c->file->channels == 0 && c->file->map)
		vio_map_rest(c->file->map);
}

static const struct vio_disk_chan_ops chan_ops = {
	.submit = submit, .flush = flush, .cancel = cancel, .poll = poll, .close = chan_close,
};

/* ---- The disk ---- */

static struct vio_file *file_of(struct vio_disk *d)
{
	return (struct vio_file *)d;
}

static struct vio_disk_chan *channel(struct vio_disk *d, unsigned queue)
{
	struct vio_file *f = file_of(d);

	if (queue >= f->queues)
		return NULL;
	f->channels++;
	f->chan[queue].budget = BUDGET;
	return &f->chan[queue].base;
}

static void disk_close(struct vio_disk *d)
{
	struct vio_file *f = file_of(d);

	vio_pool_free(f->pool);
	for (unsigned i = 0; f->chan && i < f->queues; i++)
		vio_uring_free(f->chan[i].uring);
	free(f->chan);
	vio_map_free(f->map);
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

static const struct vio_disk_ops ops = { .channel = channel, .close = disk_close };

static void map_image(struct vio_file *f, uint64_t size)
{
	struct vio_map *m = vio_map_new(f->fd, size, f->map);

	if (m)
		atomic_store_explicit(&f->map, m, memory_order_release);
}

void vio_disk_file_refresh(struct vio_disk *d)
{
	struct vio_file *f = file_of(d);
	int64_t size = vio_file_size(f);

	if (size < 0 || (uint64_t)size == d->size)
		return;
	if (f->map && (uint64_t)size < d->size)
		vio_map_kill(f->map);
	else if (f->memory)
		map_image(f, (uint64_t)size);
	d->size = (uint64_t)size;
	if (d->resized)
		d->resized(d->resized_arg);
}

bool vio_disk_file_grow(struct vio_disk *d, uint64_t bytes, char *why)
{
	struct vio_file *f = file_of(d);

	vio_disk_file_refresh(d);
	if (f->block_device)
		return vio_refuse(why, "a block device has the size it has: make it larger on the host, then resize without bytes");
	if (d->read_only)
		return vio_refuse(why, "the image is served read-only: make it larger on the host, then resize without bytes");
	if (bytes < d->size)
		return vio_refuse(why, "the image is larger, and what is stored behind its new end would be lost: give at least %llu bytes",
		    (unsigned long long)d->size);
	if (bytes % d->logical_block || bytes > INT64_MAX)
		return vio_refuse(why, "a disk has whole blocks: give a multiple of %u bytes", d->logical_block);
	if (ftruncate(f->fd, (off_t)bytes))
		return vio_refuse(why, "cannot make the image larger: %s", strerror(errno));
	vio_disk_file_refresh(d);
	return true;
}

enum vio_aio vio_disk_file_aio(const struct vio_disk *d)
{
	const struct vio_file *f = (const struct vio_file *)d;

	return f->chan[0].uring ? VIO_AIO_URING : VIO_AIO_THREADS;
}

/* ---- Opening ---- */

static bool make_channels(struct vio_file *f, const struct vio_disk_file_options *o)
{
	f->queues = o->queues ? o->queues : 1;
	f->chan = calloc(f->queues, sizeof *f->chan);
	for (unsigned i = 0; f->chan && i < f->queues; i++) {
		struct vio_file_chan *c = &f->chan[i];
		c->base.ops = &chan_ops;
		c->file = f;
		c->loop = o->place.loops[i % o->place.loop_count];
		c->call = (struct vio_call){ .fn = vio_pool_collect, .arg = c };
	}
	return f->chan;
}

/* One ring a channel, or none.  False with errno. */
static bool make_rings(struct vio_file *f)
{
	for (unsigned i = 0; i < f->queues; i++)
		if (!(f->chan[i].uring = vio_uring_new(&f->chan[i]))) {
			int error = errno;
			while (i--) {
				vio_uring_free(f->chan[i].uring);
				f->chan[i].uring = NULL;
			}
			errno = error;
			return false;
		}
	return true;
}

/* Does this error say that io_uring, as we use it, is not to be had here at all? */
static bool is_forbidden(int error)
{
	return error == ENOSYS || error == EPERM || error == EACCES || error == EINVAL;
}

static bool make_aio(struct vio_file *f, const struct vio_disk_file_options *o, char *why)
{
	bool rings = o->aio != VIO_AIO_THREADS && make_rings(f);

	if (!rings && (o->aio == VIO_AIO_URING || (o->aio == VIO_AIO_AUTO && !is_forbidden(errno)))) {
		snprintf(why, VIO_WHY, "io_uring can't be used for %s (%s); use --aio=threads", o->path, strerror(errno));
		return false;
	}
	unsigned threads = !rings ? THREADS : f->block_device && !o->read_only ? IOCTL_THREADS : 0;
	if (threads && !(f->pool = vio_pool_new(f, threads))) {
		snprintf(why, VIO_WHY, "the threads for %s can't be started (%s); raise the limits of memory and processes",
		    o->path, strerror(errno));
		return false;
	}
	return true;
}

/* All but the image. */
static struct vio_file *make_file(const struct vio_disk_file_options *o, char *why)
{
	struct vio_file *f = calloc(1, sizeof *f);

	if (f)
		*f = (struct vio_file){ .fd = -1, .disk.ops = &ops };
	if (f && make_channels(f, o))
		return f;
	if (f)
		disk_close(&f->disk);
	snprintf(why, VIO_WHY, "there is no memory left for %s", o->path);
	return NULL;
}

struct vio_disk *vio_disk_file_spare(const struct vio_disk_file_options *o, char *why)
{
	struct vio_file *f = make_file(o, why);

	if (!f || make_aio(f, o, why))
		return f ? &f->disk : NULL;
	disk_close(&f->disk);
	return NULL;
}

void vio_disk_file_empty(struct vio_disk *d)
{
	struct vio_file *f = file_of(d);

	vio_map_free(f->map);
	if (f->fd >= 0)
		close(f->fd);
	*f = (struct vio_file){ .fd = -1, .disk.ops = &ops, .pool = f->pool, .queues = f->queues, .chan = f->chan };
}

/* A spare disk has its rings, or threads that were not made for direct I/O nor for a block device's ioctls. */
static bool use_spare(struct vio_file *f, const struct vio_disk_file_options *o, char *why)
{
	if (!vio_file_probe(f, o, why))
		return false;
	if (f->direct && f->pool)
		return vio_refuse(why, "a disk that is added has direct I/O by io_uring only, which is forbidden here; use --cache=writeback");
	if (f->block_device && !f->pool)
		f->disk.can_discard = f->disk.can_erase = false;
	return true;
}

struct vio_disk *vio_disk_file_open(const struct vio_disk_file_options *o, char *why)
{
	struct vio_file *f = o->spare ? file_of(o->spare) : make_file(o, why);

	if (!f) {
		if (o->has_fd)
			close(o->fd);
		return NULL;
	}
	bool ok = o->spare ? use_spare(f, o, why) : vio_file_probe(f, o, why) && make_aio(f, o, why);
	if (!ok && o->spare) {
		vio_disk_file_empty(&f->disk);
		return NULL;
	}
	if (!ok) {
		disk_close(&f->disk);
		return NULL;
	}
	if (f->memory)
		map_image(f, f->disk.size);
	return &f->disk;
}
