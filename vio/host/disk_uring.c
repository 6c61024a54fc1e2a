/*
 * Steps of a file disk by io_uring: one ring a channel, made when the disk is opened and then restricted to the
 * operations below.  A process that was taken over can't open or send anything by it.
 *
 *   submit -> fifo -> [a free entry] -> prepared -> flush: one system call for all -> completion -> next step, or done()
 *
 * At most IN_FLIGHT requests are with the kernel, which is the size of its completion queue, so it can't overflow; the
 * others wait in the fifo, linked by themselves.  An entry's segments are needed until the kernel has taken the entry
 * (IORING_FEAT_SUBMIT_STABLE), so there is one array of them for each entry of the submission queue.
 *
 * The file is not registered with the ring, though that would save some nanoseconds: a ring is taken apart some time
 * after its process has ended, and would keep the image locked until then.
 */
#include <vio/host/disk_file.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

enum { ENTRIES = 64, IN_FLIGHT = 256 };
/*
 * Entries handed over at once.  The kernel holds a call's requests back until it has seen all of them, 2 to 3 us each:
 * with a whole turn in one call the disk would stand idle meanwhile, then everybody wait for the disk.
 */
enum { HANDFUL = 2 };
enum { RETRY_NS = 1000000 };		/* the kernel had no memory for an entry */
enum { IOV_BYTES = ENTRIES * VIO_FILE_IOVECS * sizeof(struct vio_seg) };

struct vio_uring {
	struct io_uring ring;
	struct vio_file *file;
	struct vio_loop *loop;
	struct vio_watch watch;
	struct vio_timer retry;
	struct vio_disk_io *waiting, **waiting_end;
	unsigned in_flight;
	unsigned prepared;		/* entries the kernel has not been told of */
	bool starting;
	unsigned char *bounce;		/* VIO_FILE_BOUNCE bytes; touched only when used */
	bool bounce_taken;
	struct vio_seg *iov;		/* ENTRIES arrays of VIO_FILE_IOVECS; touched only when used */
};

/* ---- Making one ---- */

static bool restrict_ring(struct io_uring *r)
{
	static const unsigned char op[] = {
		IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE,
		IORING_OP_ASYNC_CANCEL,
	};
	struct io_uring_restriction rule[sizeof op + 1];
	unsigned n = 0;

	memset(rule, 0, sizeof rule);
	for (; n < sizeof op; n++) {
		rule[n].opcode = IORING_RESTRICTION_SQE_OP;
		rule[n].sqe_op = op[n];
	}
	rule[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	rule[n++].sqe_flags = IOSQE_ASYNC;
	/* By number: liburing 2.3's shared library leaves out the functions for these two. */
	int error = io_uring_register((unsigned)r->ring_fd, IORING_REGISTER_RESTRICTIONS, rule, n);
	if (!error)
		error = io_uring_register((unsigned)r->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	errno = -error;
	return !error;
}

static bool make_ring(struct io_uring *r)
{
	struct io_uring_params p = { .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE, .cq_entries = IN_FLIGHT };
	int error = io_uring_queue_init_params(ENTRIES, r, &p);

	if (error) {
		errno = -error;
		return false;
	}
	if (!(p.features & IORING_FEAT_SUBMIT_STABLE))
		errno = ENOSYS;
	else if (restrict_ring(r))
		return true;
	error = errno;
	io_uring_queue_exit(r);
	errno = error;
	return false;
}

static void ready(struct vio_watch *w, uint32_t events);
static void try_again(void *arg);

struct vio_uring *vio_uring_new(struct vio_file_chan *c)
{
	struct vio_uring *u = calloc(1, sizeof *u);

	if (!u)
		return NULL;
	unsigned char *p = mmap(NULL, IOV_BYTES + VIO_FILE_BOUNCE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		free(u);
		return NULL;
	}
	if (!make_ring(&u->ring)) {
		int error = errno;
		munmap(p, IOV_BYTES + VIO_FILE_BOUNCE);
		free(u);
		errno = error;
		return NULL;
	}
	u->iov = (struct vio_seg *)(void *)p;
	u->bounce = p + IOV_BYTES;
	u->file = c->file;
	u->loop = c->loop;
	u->waiting_end = &u->waiting;
	u->watch = (struct vio_watch){ .fd = u->ring.ring_fd, .events = EPOLLIN, .ready = ready, .arg = u };
	u->retry = (struct vio_timer){ .fn = try_again, .arg = u };
	return u;
}

void vio_uring_free(struct vio_uring *u)
{
	if (!u)
		return;
	io_uring_queue_exit(&u->ring);
	munmap(u->iov, IOV_BYTES + VIO_FILE_BOUNCE);
	free(u);
}

void vio_uring_close(struct vio_uring *u)
{
	assert(!u->in_flight && !u->waiting);
	vio_uring_flush(u);		/* a cancel that nobody needs any more */
	vio_loop_unwatch(u->loop, &u->watch);
	vio_loop_untimer(u->loop, &u->retry);
}

/* ---- Submitting ---- */

void vio_uring_flush(struct vio_uring *u)
{
	if (!u->prepared)
		return;
	if (!u->watch.on && !vio_loop_watch(u->loop, &u->watch))
		goto later;		/* no memory for it: the next try may have some */
	int n = io_uring_submit(&u->ring);
	if (n > 0)
		u->prepared -= (unsigned)n < u->prepared ? (unsigned)n : u->prepared;
	if (!u->prepared)
		return;
later:
	vio_loop_timer(u->loop, &u->retry, vio_now_ns() + RETRY_NS);
}

/* Is there a free entry?  False: the kernel takes none at the moment. */
static bool has_room(struct vio_uring *u)
{
	if (io_uring_sq_space_left(&u->ring) == 0)
		vio_uring_flush(u);
	return io_uring_sq_space_left(&u->ring) > 0;
}

static struct vio_seg *next_iov(struct vio_uring *u)
{
	return u->iov + (size_t)(u->ring.sq.sqe_tail & (ENTRIES - 1)) * VIO_FILE_IOVECS;
}

static void prepare(struct vio_uring *u, struct vio_disk_io *io, const struct vio_step *s)
{
	struct io_uring_sqe *e = io_uring_get_sqe(&u->ring);
	const struct iovec *iov = (const struct iovec *)(const void *)s->iov;
	int fd = u->file->fd;
	bool one;

	assert(e);
	switch (s->kind) {
	case VIO_STEP_READ:
	case VIO_STEP_WRITE:
		one = s->iovecs == 1;
		io_uring_prep_rw(s->kind == VIO_STEP_READ ? (one ? IORING_OP_READ : IORING_OP_READV) :
		    (one ? IORING_OP_WRITE : IORING_OP_WRITEV), e, fd, one ? s->iov->base : (const void *)iov,
		    one ? (unsigned)s->iov->len : s->iovecs, s->offset);
		e->rw_flags = s->flags;
		break;
	case VIO_STEP_SYNC:
		io_uring_prep_fsync(e, fd, IORING_FSYNC_DATASYNC);
		break;
	case VIO_STEP_FALLOCATE:
		io_uring_prep_fallocate(e, fd, s->flags, (off_t)s->offset, (off_t)s->length);
		break;
	case VIO_STEP_IOCTL:
		assert(s->kind != VIO_STEP_IOCTL);	/* disk_file.c gives these to the pool */
	}
	if (vio_step_is_elsewhere(io))
		e->flags |= IOSQE_ASYNC;
	io_uring_sqe_set_data(e, io);
	u->prepared++;
}

/* Prepare io's next step, or end it.  False: it has to wait. */
static bool start(struct vio_uring *u, struct vio_disk_io *io)
{
	struct vio_step s;
	int error;

	if (vio_step_is_over(u->file, io, &error)) {
		io->done(io, error);
		return true;
	}
	if (!has_room(u) || !vio_step_next(u->file, io, &s, next_iov(u), u->bounce_taken ? NULL : u->bounce))
		return false;
	if (vio_step_is_bounced(io))
		u->bounce_taken = true;
	prepare(u, io, &s);
	u->in_flight++;
	if (u->prepared >= HANDFUL)
		vio_uring_flush(u);
	return true;
}

/* Start those that wait, in order, as long as there is room. */
static void start_waiting(struct vio_uring *u)
{
	if (u->starting)
		return;		/* done() has submitted another one: it is in the list */
	u->starting = true;
	while (u->waiting && u->in_flight < IN_FLIGHT) {
		struct vio_disk_io *io = u->waiting;
		u->waiting = io->next;
		if (!u->waiting)
			u->waiting_end = &u->waiting;
		if (start(u, io))
			continue;
		io->next = u->waiting;
		u->waiting = io;
		if (!io->next)
			u->waiting_end = &io->next;
		break;
	}
	u->starting = false;
}

static void wait_in_line(struct vio_uring *u, struct vio_disk_io *io)
{
	io->next = NULL;
	*u->waiting_end = io;
	u->waiting_end = &io->next;
}

void vio_uring_submit(struct vio_uring *u, struct vio_disk_io *io)
{
	wait_in_line(u, io);
	start_waiting(u);
}

static void try_again(void *arg)
{
	struct vio_uring *u = arg;

	vio_uring_flush(u);
	start_waiting(u);
	vio_uring_flush(u);
}

/* ---- Completing ---- */

static void completed(struct vio_uring *u, struct vio_disk_io *io, long result)
{
	int error;

	u->in_flight--;
	bool bounced = vio_step_is_bounced(io);
	vio_step_result(u->file, io, u->bounce, result);
	if (bounced)
		u->bounce_taken = false;
	if (vio_step_is_over(u->file, io, &error))
		io->done(io, error);
	else
		wait_in_line(u, io);
}

void vio_uring_poll(struct vio_uring *u)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		struct vio_disk_io *io = io_uring_cqe_get_data(cqe);
		long result = cqe->res;
		io_uring_cqe_seen(&u->ring, cqe);
		if (io)		/* not the answer to a cancel */
			completed(u, io, result);
	}
	start_waiting(u);
	vio_uring_flush(u);
}

static void ready(struct vio_watch *w, uint32_t events)
{
	(void)events;
	vio_uring_poll(w->arg);
}

/* ---- Cancelling ---- */

static bool take_from_line(struct vio_uring *u, struct vio_disk_io *io)
{
	for (struct vio_disk_io **p = &u->waiting; *p; p = &(*p)->next)
		if (*p == io) {
			*p = io->next;
			if (!*p)
				u->waiting_end = p;
			return true;
		}
	return false;
}

void vio_uring_cancel(struct vio_uring *u, struct vio_disk_io *io)
{
	if (take_from_line(u, io)) {
		io->done(io, ECANCELED);
		return;
	}
	vio_step_cancel(io);
	if (!has_room(u))
		return;			/* it ends with the step under way */
	struct io_uring_sqe *e = io_uring_get_sqe(&u->ring);
	io_uring_prep_cancel(e, io, 0);
	io_uring_sqe_set_data(e, NULL);
	u->prepared++;
	vio_uring_flush(u);
}
