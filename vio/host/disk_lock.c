/*
 * Image locks, as QEMU and its tools understand them.
 *
 * Permissions have numbers: 0 consistent read, 1 write, 2 write unchanged, 3 resize.  Whoever uses permission p holds a
 * shared lock on byte 100 + p of the image; whoever can't bear that others use p holds one on byte 200 + p.  Nobody
 * ever locks exclusively: after taking its own locks, everybody asks whether an exclusive one would be granted on the
 * bytes that must be free.  Of two that come at once, at most one wins.  The locks are those of open file descriptions,
 * so they also hold between disks of one process, and end with the descriptor.
 */
#include <vio/host/disk_file.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { USED = 100, UNSHARED = 200 };
enum { READ = 0, WRITE = 1 };
enum { TRIES = 30 };			/* 0.3 seconds */

static int lock_op(int fd, int op, short type, off_t byte, struct flock *l)
{
	*l = (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
	return fcntl(fd, op, l);
}

/* 0, or an errno value. */
static int hold(int fd, off_t byte)
{
	struct flock l;

	return lock_op(fd, F_OFD_SETLK, F_RDLCK, byte, &l) < 0 ? errno : 0;
}

static int is_free(int fd, off_t byte)
{
	struct flock l;

	if (lock_op(fd, F_OFD_GETLK, F_WRLCK, byte, &l) < 0)
		return errno;
	return l.l_type == F_UNLCK ? 0 : EAGAIN;
}

/* 0, EAGAIN when somebody is in the way, or another errno value. */
static int try_lock(int fd, bool read_only, bool shared)
{
	int error = hold(fd, USED + READ);

	if (!error && !read_only)
		error = hold(fd, USED + WRITE);
	if (!error && !shared)
		error = hold(fd, UNSHARED + WRITE);
	/* Does anyone write, or forbid what we do? */
	if (!error && !shared)
		error = is_free(fd, USED + WRITE);
	if (!error)
		error = is_free(fd, UNSHARED + READ);
	if (!error && !read_only)
		error = is_free(fd, UNSHARED + WRITE);
	return error == EACCES ? EAGAIN : error;
}

bool vio_file_lock(int fd, const struct vio_disk_file_options *o, char *why)
{
	int error;
	bool read_only = o->read_only;
	const char *path = o->path;

	/*
	 * A process that was killed keeps its locks until the kernel has ended its last request, which is right: it may
	 * still be writing.  Nothing tells when that is (a lock that waits would have to be exclusive, and disturb
	 * others).
	 */
	for (unsigned i = 0; (error = try_lock(fd, read_only, o->shared)) == EAGAIN && i < TRIES; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	if (!error)
		return true;
	if (error == EAGAIN)
		snprintf(why, VIO_WHY, read_only ?
		    "the image %s is being written by another program; end that one first" :
		    "the image %s is in use by another program; end that one first, or share it among readers with --read-only",
		    path);
	else
		snprintf(why, VIO_WHY, "the image %s can't be locked (%s); move it to a file system that has file locks",
		    path, strerror(error));
	return false;
}

void vio_file_unlock(int fd)
{
	struct flock l = { .l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = USED, .l_len = UNSHARED + 100 - USED };

	fcntl(fd, F_OFD_SETLK, &l);
}

void vio_disk_file_give(struct vio_disk *d) { vio_file_unlock(((struct vio_file *)d)->fd); }

bool vio_disk_file_take(struct vio_disk *d, const char *path, char *why)
{
	struct vio_file *f = (struct vio_file *)d;

	if (!vio_file_lock(f->fd, &(struct vio_disk_file_options){ .path = path, .read_only = d->read_only, .shared = f->shared }, why))
		return false;
	vio_disk_file_refresh(d);
	return true;
}
