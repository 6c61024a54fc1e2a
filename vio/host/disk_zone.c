/*
 * Zones on a plain disk: an image of which only so much of each zone counts as it has been written.
 *
 *   read, write, append   the table says whether, and where; then the disk below does it
 *   open, close, report   the table alone
 *   finish, reset, flush, durable writes   the table, then a thread that waits for storage
 *
 * What has been promised survives: the thread first makes the data durable, then writes pointers that are not beyond it, and only
 * then is the request answered.  So a pointer in the file never lies behind data that was flushed, and never beyond data that
 * is there.  A reset is in the file before it is answered, for a zone that is written anew must not come back as the old one.
 */
#include <vio/host/disk_zone.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/host/why.h>

struct zoned_chan {
	struct vio_disk_chan base;
	struct zoned *disk;
	struct vio_disk_chan *inner;
	struct vio_loop *loop;
	_Atomic(struct vio_disk_io *) finished;		/* by the thread, newest first */
	struct vio_call call;
};

struct zoned {
	struct vio_disk disk;
	struct vio_disk *inner;
	int image_fd, zones_fd;		/* -1: in memory, where nothing need be durable */
	pthread_t thread;
	bool running;
	pthread_mutex_t lock;		/* of all below */
	pthread_cond_t work;
	bool stop;
	struct vio_disk_io *jobs, **jobs_end;
	struct vio_disk_io *writes;	/* under way below */
	struct vio_zone_table t;
	int sync_error;			/* storage has failed once: nothing is promised any more */
	struct vio_disk_place place;
};

static struct zoned *disk_of(struct vio_disk_io *io) { return ((struct zoned_chan *)io->upper.chan)->disk; }

/* ---- The thread ---- */

/* What of zone i has surely been written. */
static uint64_t settled(const struct zoned *d, uint32_t i)
{
	uint64_t wp = d->t.zone[i].wp, start = vio_zone_start(&d->t, i);

	for (const struct vio_disk_io *io = d->writes; io; io = io->upper.next)
		if (io->upper.offset >= start && io->upper.offset - start < wp)
			wp = io->upper.offset - start;
	return wp;
}

/* Before data is made durable: which pointers that will cover. */
static void capture(struct zoned *d)
{
	for (uint32_t i = d->t.conventional; i < d->t.count; i++) {
		struct vio_zone *z = &d->t.zone[i];
		if (!z->dirty)
			continue;
		z->durable = settled(d, i);
		z->full = z->state == VIO_BLK_ZS_FULL && z->durable == z->wp;
	}
}

/* A zone that was reset meanwhile has 0 in durable, which is right at any time. */
static int write_table(struct zoned *d)
{
	int error = 0;

	for (uint32_t i = d->t.conventional; !error && i < d->t.count; i++) {
		struct vio_zone *z = &d->t.zone[i];
		if (!z->dirty)
			continue;
		error = vio_zone_file_put(d->zones_fd, i, z->durable, z->full);
		z->dirty = error || z->durable != z->wp;
	}
	return error;
}

static void give_back(struct zoned *d, uint64_t offset, uint64_t length)
{
	if (d->image_fd >= 0)	/* only space: what is behind the write pointer reads as zeroes anyway */
		fallocate(d->image_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
}

static int settle(struct zoned *d)
{
	pthread_mutex_lock(&d->lock);
	capture(d);
	pthread_mutex_unlock(&d->lock);
	int error = d->zones_fd < 0 ? 0 : fdatasync(d->image_fd) ? errno : 0;
	if (d->zones_fd < 0 || error)
		return error;
	pthread_mutex_lock(&d->lock);
	error = write_table(d);
	pthread_mutex_unlock(&d->lock);
	return error ? error : fdatasync(d->zones_fd) ? errno : 0;
}

static void finish(struct vio_disk_io *io, int error)
{
	struct zoned_chan *c = (struct zoned_chan *)io->upper.chan;
	struct vio_disk_io *before = atomic_load_explicit(&c->finished, memory_order_relaxed);

	io->upper.length = (uint64_t)error;
	do
		io->next = before;
	while (!atomic_compare_exchange_weak(&c->finished, &before, io));
	if (!before)	/* from here io is the collector's */
		vio_loop_call(c->loop, &c->call);
}

static void after_reset(struct zoned *d, const struct vio_disk_io *io)
{
	if (io->op != VIO_DISK_ZONE || (io->zone != VIO_ZONE_RESET && io->zone != VIO_ZONE_RESET_ALL))
		return;
	bool all = io->zone == VIO_ZONE_RESET_ALL;
	uint32_t first = all ? d->t.conventional : (uint32_t)(io->offset / d->t.is.size);
	for (uint32_t i = first; i < (all ? d->t.count : first + 1); i++) {
		pthread_mutex_lock(&d->lock);	/* nobody writes where the hole is made */
		if (d->t.zone[i].state == VIO_BLK_ZS_EMPTY && !d->t.zone[i].wp)
			give_back(d, vio_zone_start(&d->t, i), vio_zone_capacity(&d->t, i));
		pthread_mutex_unlock(&d->lock);
	}
}

static void *run(void *arg)
{
	struct zoned *d = arg;

	for (;;) {
		pthread_mutex_lock(&d->lock);
		while (!d->jobs && !d->stop)
			pthread_cond_wait(&d->work, &d->lock);
		struct vio_disk_io *io = d->jobs, *next;
		d->jobs = NULL;
		d->jobs_end = &d->jobs;
		pthread_mutex_unlock(&d->lock);
		if (!io)
			return NULL;
		int error = settle(d);
		if (error && !d->sync_error)
			d->sync_error = error;
		for (; io; io = next) {
			next = io->next;
			if (!d->sync_error)
				after_reset(d, io);
			finish(io, d->sync_error);
		}
	}
}

static void collect(void *arg)
{
	struct zoned_chan *c = arg;
	struct vio_disk_io *newest = atomic_exchange(&c->finished, NULL), *oldest = NULL;

	while (newest) {
		struct vio_disk_io *next = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct vio_disk_io *io = oldest;
		oldest = io->next;
		io->done(io, (int)io->upper.length);
	}
}

static void add_job(struct zoned *d, struct vio_disk_io *io)
{
	io->next = NULL;
	pthread_mutex_lock(&d->lock);
	*d->jobs_end = io;
	d->jobs_end = &io->next;
	pthread_mutex_unlock(&d->lock);
	pthread_cond_signal(&d->work);
}

/* ---- Reading and writing ---- */

static void forget_write(struct zoned *d, struct vio_disk_io *io)
{
	struct vio_disk_io **p = &d->writes;

	while (*p != io)
		p = &(*p)->upper.next;
	*p = io->upper.next;
}

static void settle_write(struct zoned *d, struct vio_disk_io *io, int error)
{
	io->done = io->upper.done;
	pthread_mutex_lock(&d->lock);
	forget_write(d, io);
	if (error)
		vio_zone_unwrite(&d->t, io->upper.offset, io->upper.length);
	pthread_mutex_unlock(&d->lock);
}

static void written(struct vio_disk_io *io, int error)
{
	settle_write(disk_of(io), io, error);
	io->done(io, error);
}

static void written_for_good(struct vio_disk_io *io, int error)
{
	settle_write(disk_of(io), io, error);
	if (error)
		io->done(io, error);
	else
		add_job(disk_of(io), io);
}

static void submit_write(struct zoned_chan *c, struct vio_disk_io *io, bool append)
{
	struct zoned *d = c->disk;
	uint64_t at;

	pthread_mutex_lock(&d->lock);
	int error = vio_zone_write(&d->t, io->offset, io->length, append, &at);
	if (!error) {
		io->upper.next = d->writes;
		io->upper.offset = at;
		io->upper.length = io->length;
		d->writes = io;
	}
	pthread_mutex_unlock(&d->lock);
	if (error) {
		io->done(io, error);
		return;
	}
	io->op = VIO_DISK_WRITE;
	io->offset = at;
	io->upper.done = io->done;
	io->done = io->durable && d->zones_fd >= 0 ? written_for_good : written;
	io->durable = false;		/* the thread does that, with the pointer */
	c->inner->ops->submit(c->inner, io);
}

static void read_done(struct vio_disk_io *io, int error)
{
	io->done = io->upper.done;
	if (!error) {
		struct vio_cur rest = { .seg = (const struct vio_seg *)io->upper.next, .at = (size_t)io->upper.offset,
			.left = io->upper.length - io->length };
		vio_cur_zero(&rest, rest.left);
	}
	io->length = io->upper.length;
	io->done(io, error);
}

static void submit_read(struct zoned_chan *c, struct vio_disk_io *io)
{
	struct zoned *d = c->disk;
	uint64_t data;

	pthread_mutex_lock(&d->lock);
	int error = vio_zone_read(&d->t, io->offset, io->length, &data);
	pthread_mutex_unlock(&d->lock);
	if (error || !data) {
		if (!error)
			vio_cur_zero(&io->bytes, io->length);
		io->done(io, error);
		return;
	}
	if (data < io->length) {	/* the front from below, the rest is zeroes */
		struct vio_cur rest = vio_cur_split(&io->bytes, data);
		io->upper.next = (struct vio_disk_io *)(uintptr_t)rest.seg;
		io->upper.offset = rest.at;
		io->upper.length = io->length;
		io->upper.done = io->done;
		io->length = data;
		io->done = read_done;
	}
	c->inner->ops->submit(c->inner, io);
}

/* ---- The rest ---- */

static void report(struct zoned *d, struct vio_disk_io *io)
{
	uint64_t i = io->offset / d->t.is.size, n = 0;
	struct vio_blk_zone one;

	if (io->offset >= d->disk.size) {
		io->done(io, VIO_DISK_ZONE_INVALID);
		return;
	}
	pthread_mutex_lock(&d->lock);
	for (; i < d->t.count && io->bytes.left >= sizeof one; i++, n++) {
		vio_zone_describe(&d->t, (uint32_t)i, &one);
		vio_cur_put(&io->bytes, &one, sizeof one);
	}
	pthread_mutex_unlock(&d->lock);
	io->length = n;
	io->done(io, 0);
}

static void change(struct zoned *d, struct vio_disk_io *io)
{
	pthread_mutex_lock(&d->lock);
	int error = vio_zone_change(&d->t, io->zone, io->offset);
	pthread_mutex_unlock(&d->lock);
	if (error || io->zone == VIO_ZONE_OPEN || io->zone == VIO_ZONE_CLOSE)
		io->done(io, error);
	else
		add_job(d, io);
}

static void submit_zone(struct zoned_chan *c, struct vio_disk_io *io)
{
	if (io->zone == VIO_ZONE_REPORT)
		report(c->disk, io);
	else if (c->disk->disk.read_only)
		io->done(io, EROFS);
	else if (io->zone == VIO_ZONE_APPEND)
		submit_write(c, io, true);
	else
		change(c->disk, io);
}

static void submit(struct vio_disk_chan *chan, struct vio_disk_io *io)
{
	struct zoned_chan *c = (struct zoned_chan *)chan;
	struct zoned *d = c->disk;

	io->upper.chan = chan;
	if (io->op != VIO_DISK_ZONE && (io->offset > d->disk.size || io->length > d->disk.size - io->offset)) {
		io->done(io, EIO);
		return;
	}
	switch (io->op) {
	case VIO_DISK_READ:
		submit_read(c, io);
		break;
	case VIO_DISK_WRITE:
		submit_write(c, io, false);
		break;
	case VIO_DISK_FLUSH:
		add_job(d, io);
		break;
	case VIO_DISK_ZONE:
		submit_zone(c, io);
		break;
	case VIO_DISK_DISCARD:
	case VIO_DISK_ZERO:
	case VIO_DISK_ERASE:
		io->done(io, ENOTSUP);
	}
}

static void flush(struct vio_disk_chan *chan)
{
	struct zoned_chan *c = (struct zoned_chan *)chan;

	if (c->inner->ops->flush)
		c->inner->ops->flush(c->inner);
}

/* Those that the thread has end soon. */
static void cancel(struct vio_disk_chan *chan, struct vio_disk_io *io)
{
	struct zoned_chan *c = (struct zoned_chan *)chan;

	if (io->done == written || io->done == written_for_good || io->op == VIO_DISK_READ)
		c->inner->ops->cancel(c->inner, io);
}

static void poll(struct vio_disk_chan *chan)
{
	struct zoned_chan *c = (struct zoned_chan *)chan;

	if (c->inner->ops->poll)
		c->inner->ops->poll(c->inner);
}

static void chan_close(struct vio_disk_chan *chan)
{
	struct zoned_chan *c = (struct zoned_chan *)chan;

	c->inner->ops->close(c->inner);
	free(c);
}

static const struct vio_disk_chan_ops chan_ops = {
	.submit = submit, .flush = flush, .cancel = cancel, .poll = poll, .close = chan_close,
};

static struct vio_disk_chan *channel(struct vio_disk *disk, unsigned queue)
{
	struct zoned *d = (struct zoned *)disk;
	struct zoned_chan *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	*c = (struct zoned_chan){ .base.ops = &chan_ops, .disk = d, .inner = d->inner->ops->channel(d->inner, queue),
		.loop = d->place.loops[queue % d->place.loop_count], .call = { .fn = collect, .arg = c } };
	if (c->inner)
		return &c->base;
	free(c);
	return NULL;
}

/* ---- Life ---- */

static void disk_close(struct vio_disk *disk)
{
	struct zoned *d = (struct zoned *)disk;

	if (d->running) {
		pthread_mutex_lock(&d->lock);
		d->stop = true;
		pthread_mutex_unlock(&d->lock);
		pthread_cond_signal(&d->work);
		pthread_join(d->thread, NULL);
	}
	if (d->zones_fd >= 0)
		close(d->zones_fd);
	if (d->image_fd >= 0)
		close(d->image_fd);
	vio_disk_close(d->inner);
	vio_zone_table_free(&d->t);
	free(d);
}

static const struct vio_disk_ops ops = { .channel = channel, .close = disk_close };

/* All signals are the first thread's, but for those that the processor raises: blocked, they would kill. */
static bool start_thread(struct zoned *d)
{
	sigset_t all, before;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	d->running = pthread_create(&d->thread, NULL, run, d) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return d->running;
}

static bool open_files(struct zoned *d, const struct vio_disk_zone_options *o, char *why)
{
	char path[4200];

	if (!o->image)
		return true;
	snprintf(path, sizeof path, "%.4095s.zones", o->image);
	d->image_fd = open(o->image, (d->disk.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY);
	if (d->image_fd < 0)
		return vio_refuse(why, "the image %.200s can't be opened: %s", o->image, strerror(errno));
	d->zones_fd = vio_zone_file_open(&d->t, path, d->disk.read_only, why);
	return d->zones_fd >= 0;
}

struct vio_disk *vio_disk_zoned_open(struct vio_disk *inner, const struct vio_disk_zone_options *o, char *why)
{
	struct zoned *d = calloc(1, sizeof *d);

	if (!d) {
		vio_refuse(why, "there is no memory for zones: free some");
		vio_disk_close(inner);
		return NULL;
	}
	d->inner = inner;
	d->image_fd = d->zones_fd = -1;
	d->place = o->place;
	d->jobs_end = &d->jobs;
	pthread_mutex_init(&d->lock, NULL);
	pthread_cond_init(&d->work, NULL);
	d->disk = *inner;
	d->disk.ops = &ops;
	d->disk.resized = NULL;
	d->disk.can_discard = d->disk.can_zero = d->disk.can_erase = d->disk.zero_may_unmap = false;
	if (vio_zone_table_init(&d->t, o, inner->size, inner->logical_block, why) && open_files(d, o, why)) {
		d->disk.zones = &d->t.is;
		if (start_thread(d))
			return &d->disk;
		vio_refuse(why, "the thread for zones can't be started: raise the limits of memory and processes");
	}
	disk_close(&d->disk);
	return NULL;
}
