/*
 * A request to a file as a row of system calls.
 *
 * Long requests go window by window, short results are continued, and what an image can't do is done in a weaker way:
 *
 *   ZERO    punch a hole (if the space may be given back) -> zero the range -> write zeroes
 *
 * io->progress is how many bytes are done; io->disk_priv holds the state between steps as bits, not as a pointer.
 */
#include <vio/host/disk_file.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	KIND = 7,		/* enum vio_step_kind of the step under way */
	BOUNCED = 8,
	PUNCH = 16,
	CANCELLED = 32,
	END = 64,
	ELSEWHERE = 128,
	ERROR_SHIFT = 8
};
enum { WINDOW = 1 << 30 };		/* bytes of one read or write; the kernel's own limit is just below 2^31 */
enum { ZEROES = 64 * 1024 };
static unsigned char zeroes[ZEROES] __attribute__((aligned(4096)));	/* never written, so it costs no memory */

static uintptr_t state(const struct vio_disk_io *io)
{
	return (uintptr_t)io->disk_priv;
}

static void set_state(struct vio_disk_io *io, uintptr_t s)
{
	io->disk_priv = (void *)s;
}

static void end(struct vio_disk_io *io, int error)
{
	set_state(io, END | (uintptr_t)error << ERROR_SHIFT);
}

void vio_step_begin(struct vio_disk_io *io, bool elsewhere)
{
	set_state(io, elsewhere ? ELSEWHERE : 0);
}

void vio_step_cancel(struct vio_disk_io *io)
{
	set_state(io, state(io) | CANCELLED);
}

bool vio_step_is_bounced(const struct vio_disk_io *io)
{
	return state(io) & BOUNCED;
}

bool vio_step_is_elsewhere(const struct vio_disk_io *io)
{
	return state(io) & ELSEWHERE;
}

/* ---- What is next ---- */

static bool aligned(const struct vio_file *f, const struct vio_seg *iov, unsigned n)
{
	size_t bits = 0;

	for (unsigned i = 0; i < n; i++)
		bits |= ((uintptr_t)iov[i].base & (f->mem_align - 1)) | (iov[i].len & (f->len_align - 1));
	return bits == 0;
}

static bool next_move(const struct vio_file *f, struct vio_disk_io *io, struct vio_step *s, struct vio_seg *iov,
    void *bounce)
{
	bool write = io->op == VIO_DISK_WRITE;

	s->kind = write ? VIO_STEP_WRITE : VIO_STEP_READ;
	s->flags = write && io->durable ? RWF_DSYNC : 0;
	s->offset = io->offset + io->progress;
	s->iov = iov;
	s->iovecs = vio_cur_segs(&io->bytes, iov, VIO_FILE_IOVECS, WINDOW, &s->length);
	if (!f->direct || aligned(f, iov, s->iovecs))
		return true;
	if (!bounce)
		return false;
	s->length = io->bytes.left < VIO_FILE_BOUNCE ? io->bytes.left : VIO_FILE_BOUNCE;
	s->iovecs = 1;
	iov[0] = (struct vio_seg){ bounce, (size_t)s->length };
	if (write) {
		struct vio_cur from = io->bytes;
		vio_cur_get(&from, bounce, s->length);
	}
	set_state(io, state(io) | BOUNCED);
	return true;
}

static void next_allocate(struct vio_disk_io *io, struct vio_step *s, int mode)
{
	s->kind = VIO_STEP_FALLOCATE;
	s->flags = mode | FALLOC_FL_KEEP_SIZE;
	s->offset = io->offset;
	s->length = io->length;
	if (mode == FALLOC_FL_PUNCH_HOLE)
		set_state(io, state(io) | PUNCH);
}

static void next_zero(const struct vio_file *f, struct vio_disk_io *io, struct vio_step *s, struct vio_seg *iov)
{
	uint64_t left = io->length - io->progress;

	if (left == 0) {
		s->kind = VIO_STEP_SYNC;	/* durable */
		return;
	}
	if (io->may_unmap && !f->no_punch) {
		next_allocate(io, s, FALLOC_FL_PUNCH_HOLE);
		return;
	}
	if (!f->no_zero_range) {
		next_allocate(io, s, FALLOC_FL_ZERO_RANGE);
		return;
	}
	s->kind = VIO_STEP_WRITE;
	s->flags = 0;
	s->offset = io->offset + io->progress;
	s->length = 0;
	s->iov = iov;
	for (s->iovecs = 0; left && s->iovecs < VIO_FILE_IOVECS; s->iovecs++) {
		size_t n = left < ZEROES ? (size_t)left : ZEROES;
		iov[s->iovecs] = (struct vio_seg){ zeroes, n };
		s->length += n;
		left -= n;
	}
}

static void next_ioctl(struct vio_disk_io *io, struct vio_step *s, unsigned long request)
{
	s->kind = VIO_STEP_IOCTL;
	s->request = request;
	s->offset = io->offset;
	s->length = io->length;
}

bool vio_step_is_over(const struct vio_file *f, struct vio_disk_io *io, int *error)
{
	uintptr_t st = state(io);

	if (st & END)
		*error = (int)(st >> ERROR_SHIFT);
	else if (st & CANCELLED)
		*error = ECANCELED;
	else if (io->op == VIO_DISK_FLUSH && f->sync_error)
		*error = f->sync_error;
	else if (io->op != VIO_DISK_FLUSH && io->length == 0)
		*error = 0;
	else
		return false;
	return true;
}

bool vio_step_next(const struct vio_file *f, struct vio_disk_io *io, struct vio_step *s, struct vio_seg *iov,
    void *bounce)
{
	switch (io->op) {
	case VIO_DISK_READ:
	case VIO_DISK_WRITE:
		if (!next_move(f, io, s, iov, bounce))
			return false;
		break;
	case VIO_DISK_FLUSH:
		s->kind = VIO_STEP_SYNC;
		break;
	case VIO_DISK_DISCARD:
		if (f->block_device)
			next_ioctl(io, s, BLKDISCARD);
		else
			next_allocate(io, s, FALLOC_FL_PUNCH_HOLE);
		break;
	case VIO_DISK_ZERO:
		next_zero(f, io, s, iov);
		break;
	case VIO_DISK_ERASE:
		next_ioctl(io, s, BLKSECDISCARD);
		break;
	case VIO_DISK_ZONE:
		assert(io->op != VIO_DISK_ZONE);	/* disk_zone.c keeps these */
	}
	set_state(io, state(io) | s->kind);
	return true;
}

/* ---- What a result means ---- */

/*
 * After a failed fsync the kernel calls the lost pages clean, and the next fsync succeeds: it says nothing about them.
 * So the first failure stays.  A failed RWF_DSYNC write is the same where it is EIO; ENOSPC and the like are its own.
 */
static void remember_sync_error(struct vio_file *f, int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&f->sync_error, &none, error);
}

/* Is this a "can't do it this way" for which there is another way?  Then take that from now on. */
static bool weaker_way(struct vio_file *f, const struct vio_disk_io *io, bool punch, int error)
{
	if (io->op != VIO_DISK_ZERO || (error != EOPNOTSUPP && error != ENOSYS))
		return false;
	if (punch)
		f->no_punch = true;
	else
		f->no_zero_range = true;
	return true;
}

static void failed(struct vio_file *f, struct vio_disk_io *io, enum vio_step_kind kind, bool punch, int error)
{
	if (error == EINTR || error == EAGAIN)
		return;		/* once more, unless cancelled */
	if (kind == VIO_STEP_FALLOCATE && weaker_way(f, io, punch, error))
		return;
	if (kind == VIO_STEP_SYNC && error != ECANCELED)
		remember_sync_error(f, error);
	if (kind == VIO_STEP_WRITE && io->durable && error == EIO)
		remember_sync_error(f, error);
	end(io, error);
}

static void moved(struct vio_disk_io *io, bool bounced, const void *bounce, uint64_t n)
{
	if (n == 0) {
		end(io, EIO);		/* the image ends here: somebody has truncated it */
		return;
	}
	io->progress += n;
	if (io->op == VIO_DISK_ZERO)
		;
	else if (bounced && io->op == VIO_DISK_READ)
		vio_cur_put(&io->bytes, bounce, n);
	else
		vio_cur_skip(&io->bytes, n);
	if (io->progress == io->length && !(io->op == VIO_DISK_ZERO && io->durable))
		end(io, 0);
}

void vio_step_result(struct vio_file *f, struct vio_disk_io *io, const void *bounce, long result)
{
	uintptr_t st = state(io);
	enum vio_step_kind kind = (enum vio_step_kind)(st & KIND);

	set_state(io, st & (CANCELLED | ELSEWHERE));
	if (result < 0) {
		failed(f, io, kind, st & PUNCH, (int)-result);
		return;
	}
	switch (kind) {
	case VIO_STEP_READ:
	case VIO_STEP_WRITE:
		moved(io, st & BOUNCED, bounce, (uint64_t)result);
		break;
	case VIO_STEP_FALLOCATE:
		io->progress = io->length;
		if (!(io->op == VIO_DISK_ZERO && io->durable))
			end(io, 0);
		break;
	case VIO_STEP_SYNC:
		end(io, io->op == VIO_DISK_FLUSH ? f->sync_error : 0);
		break;
	case VIO_STEP_IOCTL:
		end(io, 0);
		break;
	}
}

/* ---- Waiting for each ---- */

static long run(const struct vio_file *f, const struct vio_step *s)
{
	const struct iovec *iov = (const struct iovec *)(const void *)s->iov;
	long r = -1;

	switch (s->kind) {
	case VIO_STEP_READ:
		r = preadv2(f->fd, iov, (int)s->iovecs, (off_t)s->offset, s->flags);
		break;
	case VIO_STEP_WRITE:
		r = pwritev2(f->fd, iov, (int)s->iovecs, (off_t)s->offset, s->flags);
		break;
	case VIO_STEP_SYNC:
		r = fdatasync(f->fd);
		break;
	case VIO_STEP_FALLOCATE:
		r = fallocate(f->fd, s->flags, (off_t)s->offset, (off_t)s->length);
		break;
	case VIO_STEP_IOCTL: {
		uint64_t range[2] = { s->offset, s->length };
		r = ioctl(f->fd, s->request, range);
		break;
	}
	}
	return r < 0 ? -errno : r;
}

int vio_step_all(struct vio_file *f, struct vio_disk_io *io, void *bounce)
{
	struct vio_seg iov[VIO_FILE_IOVECS];
	struct vio_step s;
	int error;

	while (!vio_step_is_over(f, io, &error)) {
		bool ok = vio_step_next(f, io, &s, iov, bounce);
		assert(ok);
		vio_step_result(f, io, bounce, run(f, &s));
	}
	return error;
}
