/*
 * Operations on open files.
 *
 * Bytes go straight between the file and guest memory: in place where that cannot wait (a file system in memory, or what
 * the kernel has in its cache, RWF_NOWAIT), otherwise in a pool thread.
 */
#include <vio/host/tree_host.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { IOVECS = 64 };			/* segments of one system call */
enum { COPY_BYTES = 16 << 20 };		/* of one COPY_RANGE: nothing ends it early */

static struct vio_open *use(struct vio_host_tree *t, const struct vio_tree_req *r)
{
	return vio_open_get(t, r->handle, r->node, false);
}

/* ---- OPEN ---- */

int vio_open_flags(const struct vio_host_tree *t, uint32_t guest)
{
	int flags = (int)guest & (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME);

	if ((flags & O_ACCMODE) == O_ACCMODE)
		flags &= ~O_WRONLY;	/* 3 means ioctl only: O_RDWR */
	/* What the guest caches, it fills up by reading. */
	if (t->session & VIO_TREE_S_WRITEBACK && (flags & O_ACCMODE) == O_WRONLY)
		flags = (flags & ~O_ACCMODE) | O_RDWR;
	return flags;	/* without O_APPEND, which would hold for pages written back too: see WRITE */
}

uint32_t vio_open_answer(const struct vio_host_tree *t, bool folder)
{
	switch (t->o.cache) {
	case VIO_TREE_CACHE_NEVER:
		return folder ? 0 : VIO_TREE_DIRECT_IO | VIO_TREE_PARALLEL_WRITES;
	case VIO_TREE_CACHE_ALWAYS:
		return VIO_TREE_KEEP_CACHE | (folder ? VIO_TREE_CACHE_DIR : 0);
	default:
		return 0;
	}
}

int vio_tree_opening(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	int flags = vio_open_flags(t, r->flags), fd, error;

	if (!may_wait && flags & O_TRUNC)
		return VIO_TREE_ELSEWHERE;
	if (t->o.read_only && (flags & O_ACCMODE || flags & O_TRUNC))
		return EROFS;
	struct vio_node *n = vio_node_use(t, r->node, may_wait, &fd, &error);
	if (!n)
		return error;
	bool kill = flags & O_TRUNC && r->kill_priv;
	if (kill)
		vio_id_fsetid(t, false);
	int file = n->type == S_IFDIR ? -EISDIR : vio_node_open(t, n, fd, flags);
	if (kill)
		vio_id_fsetid(t, true);
	if (flags & O_TRUNC)
		vio_tree_cut(t, n->id);
	error = file < 0 ? -file : vio_open_new(t, n, file, flags, false, &r->new_handle);
	if (!error && r->flags & O_APPEND && !(t->session & VIO_TREE_S_WRITEBACK)) {
		struct vio_open *o = vio_open_get(t, r->new_handle, r->node, false);
		if (o) {
			o->append = true;
			vio_open_put(t, o);
		}
	}
	vio_node_done(t, n);
	r->open_flags = vio_open_answer(t, false);
	return error;
}

int vio_tree_release(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	(void)may_wait;
	vio_open_release(t, r->handle, r->node);	/* with it, a BSD lock, which is the handle's own */
	vio_locks_retry(t->locks);
	return 0;
}

/* ---- READ and WRITE ---- */

/* Bytes moved, or a negative errno value; cur is passed.  how: RWF_*. */
static long move(const struct vio_open *o, struct vio_cur *cur, uint64_t at, size_t limit, bool write, int how)
{
	struct vio_seg v[IOVECS];
	uint64_t bytes;
	unsigned n = vio_cur_segs(cur, v, IOVECS, limit, &bytes);
	const struct iovec *iov = (const struct iovec *)(const void *)v;
	long r;

	if (write)
		r = n == 1 && !how ? pwrite(o->fd, v->base, v->len, (off_t)at) : pwritev2(o->fd, iov, (int)n, (off_t)at, how);
	else
		r = n == 1 && !how ? pread(o->fd, v->base, v->len, (off_t)at) : preadv2(o->fd, iov, (int)n, (off_t)at, how);
	if (r < 0)
		return -errno;
	vio_cur_skip(cur, (uint64_t)r);
	return r;
}

/* As far as it goes: VIO_TREE_ELSEWHERE if the rest would have to wait (r->result bytes are done). */
static int move_all(struct vio_host_tree *t, struct vio_tree_req *r, struct vio_open *o, bool may_wait, int how)
{
	struct vio_host_chan *c = vio_tree_chan_of(r);
	bool write = r->op == VIO_TREE_WRITE, append = how & RWF_APPEND;
	atomic_bool *nowait = write ? &o->write_nowait : &o->read_nowait;

	if (!may_wait && !o->memory) {
		if (!atomic_load_explicit(nowait, memory_order_relaxed))
			return VIO_TREE_ELSEWHERE;
		how |= RWF_NOWAIT;
	}
	while (r->bytes.left) {
		size_t limit = may_wait ? 1 << 30 : c->budget;
		if (!limit)
			return VIO_TREE_ELSEWHERE;
		uint64_t at = append ? 0 : r->offset + r->result;
		long n = write ? 0 : (long)vio_tree_map_read(t, o, at, &r->bytes, limit);
		if (!n && (n = move(o, &r->bytes, at, limit, write, how)) > 0 && !write)
			vio_tree_map_learn(t, o, at, (uint64_t)n);
		if (n == -EINTR)
			continue;
		if (n == -EOPNOTSUPP && how & RWF_NOWAIT)
			*nowait = false;
		if (how & RWF_NOWAIT && (n == -EAGAIN || n == -EOPNOTSUPP))
			return VIO_TREE_ELSEWHERE;
		if (n < 0)
			return r->result ? 0 : (int)-n;
		if (n == 0)
			break;		/* the end of the file; or a full disk, which the next write is told */
		r->result += (uint64_t)n;
		if (!may_wait)
			c->budget -= (size_t)n < c->budget ? (size_t)n : c->budget;
	}
	return 0;
}

static bool is_out_of_range(const struct vio_tree_req *r)
{
	return r->offset > INT64_MAX || r->bytes.left > INT64_MAX - r->offset;
}

int vio_tree_read(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *o = use(t, r);

	if (!o)
		return EBADF;
	int error = is_out_of_range(r) ? EINVAL : move_all(t, r, o, may_wait, 0);
	vio_open_put(t, o);
	return error;
}

int vio_tree_write(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *o = use(t, r);

	if (!o)
		return EBADF;
	/* A page written back has its place, even if the handle at hand was opened to append. */
	int how = o->append && !r->cached ? RWF_APPEND : 0, error = EFBIG;
	bool kill = r->kill_priv;
	if (!is_out_of_range(r)) {
		if (kill)
			vio_id_fsetid(t, false);
		if (may_wait || t->o.xattr != VIO_TREE_XATTR_MAP) {
			vio_xattr_changed(t, o->fd);
			error = move_all(t, r, o, may_wait, how);
		} else {
			error = VIO_TREE_ELSEWHERE;
		}
		if (kill)
			vio_id_fsetid(t, true);
	}
	vio_open_put(t, o);
	return error;
}

/* ---- The rest ---- */

int vio_tree_flush_file(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *o = use(t, r);
	int error = 0;

	if (!o)
		return EBADF;
	if (!may_wait && (t->remote || vio_locks_any(t->locks, r->node, r->owner))) {
		vio_open_put(t, o);
		return VIO_TREE_ELSEWHERE;
	}
	if (may_wait) {
		vio_locks_drop(t->locks, r->node, r->owner);
		if (t->remote) {	/* closing is when such a file system tells what went wrong */
			int copy = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
			error = copy >= 0 && close(copy) < 0 ? errno : 0;
		}
	}
	vio_open_put(t, o);
	return error;
}

int vio_tree_fsync(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *o = vio_open_get(t, r->handle, r->node, r->op == VIO_TREE_FSYNCDIR);

	(void)may_wait;
	if (!o)
		return EBADF;
	int error = (r->datasync ? fdatasync(o->fd) : fsync(o->fd)) < 0 ? errno : 0;
	vio_open_put(t, o);
	return error;
}

int vio_tree_fallocate(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *o = use(t, r);

	(void)may_wait;
	if (!o)
		return EBADF;
	int error = EFBIG;
	if (r->offset <= INT64_MAX && r->length <= INT64_MAX) {
		vio_xattr_changed(t, o->fd);
		error = fallocate(o->fd, (int)r->flags, (off_t)r->offset, (off_t)r->length) < 0 ? errno : 0;
		if (r->flags & ~(uint32_t)FALLOC_FL_KEEP_SIZE)
			vio_tree_cut(t, r->node);
	}
	vio_open_put(t, o);
	return error;
}

int vio_tree_lseek(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *o = use(t, r);
	int error = 0;

	(void)may_wait;
	if (!o)
		return EBADF;
	/* The place is the guest's affair; only these two ask about the file. */
	off_t at = r->flags == SEEK_DATA || r->flags == SEEK_HOLE ? lseek(o->fd, (off_t)r->offset, (int)r->flags) : -2;
	if (at == -1)
		error = errno;
	else if (at >= 0)
		r->result = (uint64_t)at;
	else {
		struct statx x;
		int64_t base = 0, sum;
		if (r->flags > SEEK_END || r->flags == SEEK_CUR)
			error = EINVAL;
		else if (r->flags == SEEK_END && statx(o->fd, "", AT_EMPTY_PATH, STATX_SIZE, &x) < 0)
			error = errno;
		else if (r->flags == SEEK_END)
			base = (int64_t)x.stx_size;
		if (!error && (__builtin_add_overflow(base, (int64_t)r->offset, &sum) || sum < 0))
			error = EINVAL;
		if (!error)
			r->result = (uint64_t)sum;
	}
	vio_open_put(t, o);
	return error;
}

int vio_tree_copy(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *in = use(t, r), *out = vio_open_get(t, r->handle2, r->node2, false);
	loff_t from = (loff_t)r->offset, to = (loff_t)r->offset2;
	int error = EBADF;

	(void)may_wait;
	if (in && out && (r->offset > INT64_MAX || r->offset2 > INT64_MAX))
		error = EINVAL;
	else if (in && out) {
		vio_xattr_changed(t, out->fd);
		ssize_t n = copy_file_range(in->fd, &from, out->fd, &to, r->length < COPY_BYTES ? r->length : COPY_BYTES, 0);
		error = n < 0 ? errno : 0;
		r->result = n < 0 ? 0 : (uint64_t)n;
	}
	if (in)
		vio_open_put(t, in);
	if (out)
		vio_open_put(t, out);
	return error;
}

int vio_tree_syncfs(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	int fd, error;
	struct vio_node *n = vio_node_use(t, r->node, may_wait, &fd, &error);

	if (!n)
		return error;
	int file = vio_node_open(t, n, fd, O_RDONLY);
	error = file < 0 ? -file : syncfs(file) < 0 ? errno : 0;
	if (file >= 0)
		close(file);
	vio_node_done(t, n);
	return error;
}

/* ---- IOCTL: what lsattr, chattr and project quotas ask.  What is not listed is a device driver's, or too dear. ---- */

static int flags_of_file(int fd, struct vio_tree_req *r, bool set)
{
	int32_t v = 0;		/* an int, whatever the command's number says */

	if (set && !vio_cur_get(&r->bytes_in, &v, sizeof v))
		return EINVAL;
	if (!set && r->bytes.left < sizeof v)
		return EINVAL;
	if (ioctl(fd, set ? FS_IOC_SETFLAGS : FS_IOC_GETFLAGS, &v) < 0)
		return errno;
	if (!set)
		vio_cur_put(&r->bytes, &v, sizeof v);
	r->length = set ? 0 : sizeof v;
	return 0;
}

static int xattr_of_file(int fd, struct vio_tree_req *r, bool set)
{
	struct fsxattr now, v;

	if (ioctl(fd, FS_IOC_FSGETXATTR, &now) < 0)
		return errno;
	if (!set) {
		r->length = sizeof now;
		return vio_cur_put(&r->bytes, &now, sizeof now) ? 0 : EINVAL;
	}
	if (!vio_cur_get(&r->bytes_in, &v, sizeof v))
		return EINVAL;
	if (v.fsx_projid != now.fsx_projid)
		return EPERM;		/* the project is how the host limits the guest's space */
	r->length = 0;
	return ioctl(fd, FS_IOC_FSSETXATTR, &v) < 0 ? errno : 0;
}

int vio_tree_ioctl(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *o = vio_open_get_any(t, r->handle, r->node);
	bool set = r->flags == (uint32_t)FS_IOC_SETFLAGS || r->flags == (uint32_t)FS_IOC_FSSETXATTR;
	int error = ENOTTY;

	(void)may_wait;
	if (!o)
		return EBADF;
	if (set && t->o.read_only)
		error = EROFS;
	else if (r->flags == (uint32_t)FS_IOC_GETFLAGS || r->flags == (uint32_t)FS_IOC_SETFLAGS)
		error = flags_of_file(o->fd, r, set);
	else if (r->flags == (uint32_t)FS_IOC_FSGETXATTR || r->flags == (uint32_t)FS_IOC_FSSETXATTR)
		error = xattr_of_file(o->fd, r, set);
	vio_open_put(t, o);
	return error;
}
