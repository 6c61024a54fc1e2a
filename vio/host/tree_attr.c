/* Operations on attributes. */
#include <vio/host/tree_host.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct vio_tree_time time_of(struct statx_timestamp s)
{
	return (struct vio_tree_time){ .s = s.tv_sec, .ns = s.tv_nsec };
}

void vio_attr_of(const struct vio_host_tree *t, const struct statx *x, const struct vio_node *in, struct vio_tree_attr *a)
{
	*a = (struct vio_tree_attr){
		.ino = x->stx_ino, .size = x->stx_size, .blocks = x->stx_blocks, .mode = x->stx_mode, .nlink = x->stx_nlink,
		.uid = vio_id_to_guest(&t->o.uid, x->stx_uid), .gid = vio_id_to_guest(&t->o.gid, x->stx_gid),
		.blksize = x->stx_blksize, .atime = time_of(x->stx_atime), .mtime = time_of(x->stx_mtime),
		.ctime = time_of(x->stx_ctime), .btime = time_of(x->stx_btime), .has_btime = x->stx_mask & STATX_BTIME,
		.rdev = x->stx_rdev_major << 8 | (x->stx_rdev_minor & 0xff) | (x->stx_rdev_minor & 0xfff00) << 12,
	};
	if (in && S_ISDIR(x->stx_mode)) {
		struct vio_node_key k;
		vio_key_of(x, &k);
		a->submount = k.dev != in->dev || k.mount != in->mount;
	}
}

/* The attributes of the handle's file, or else the node's. */
static int attr_now(struct vio_host_tree *t, struct vio_tree_req *r, int fd)
{
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH, VIO_STATX_MASK, &x) < 0)
		return errno;
	r->entry.node = r->node;
	vio_attr_of(t, &x, NULL, &r->entry.attr);
	return 0;
}

int vio_tree_getattr(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	int fd, error;
	struct vio_open *o = r->has_handle ? vio_open_get_any(t, r->handle, r->node) : NULL;

	if (r->has_handle && !o)
		return EBADF;
	if (o) {
		error = attr_now(t, r, o->fd);
		vio_open_put(t, o);
		return error;
	}
	struct vio_node *n = vio_node_use(t, r->node, may_wait, &fd, &error);
	if (!n)
		return error;
	error = attr_now(t, r, fd);
	vio_node_done(t, n);
	return error;
}

/* ---- SETATTR ---- */

/* What is being changed: the node with its descriptor; a handle too, or NULL. */
struct subject { struct vio_node *node; int fd; struct vio_open *open; char name[16]; };

static int set_owner(struct vio_host_tree *t, struct vio_tree_req *r, const struct subject *s)
{
	uint32_t uid = (uint32_t)-1, gid = (uint32_t)-1;

	if (r->set & VIO_TREE_SET_UID && !vio_id_to_host(&t->o.uid, r->change.uid, &uid))
		return EPERM;
	if (r->set & VIO_TREE_SET_GID && !vio_id_to_host(&t->o.gid, r->change.gid, &gid))
		return EPERM;
	return fchownat(s->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
}

static int set_mode(struct vio_host_tree *t, struct vio_tree_req *r, const struct subject *s)
{
	if (s->node->type == S_IFLNK)
		return EOPNOTSUPP;
	return fchmodat(t->proc_fd, s->name, r->change.mode & 07777, 0) < 0 ? errno : 0;
}

static int set_size(struct vio_host_tree *t, struct vio_tree_req *r, const struct subject *s)
{
	bool own = !s->open || (s->open->flags & O_ACCMODE) == O_RDONLY;
	bool kill = r->kill_priv;

	if (s->node->type != S_IFREG)
		return s->node->type == S_IFDIR ? EISDIR : EINVAL;
	if (r->change.size > INT64_MAX)
		return EFBIG;
	int fd = own ? vio_node_open(t, s->node, s->fd, O_WRONLY | O_NONBLOCK) : s->open->fd;
	if (fd < 0)
		return -fd;
	if (kill)
		vio_id_fsetid(t, false);
	int error = ftruncate(fd, (off_t)r->change.size) < 0 ? errno : 0;
	if (kill)
		vio_id_fsetid(t, true);
	vio_tree_cut(t, s->node->id);
	if (own)
		close(fd);
	return error;
}

static int set_times(struct vio_host_tree *t, struct vio_tree_req *r, const struct subject *s)
{
	struct timespec at[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };

	if (r->set & VIO_TREE_SET_ATIME)
		at[0] = (struct timespec){ .tv_sec = r->change.atime.s, .tv_nsec = r->change.atime.ns };
	if (r->set & VIO_TREE_SET_MTIME)
		at[1] = (struct timespec){ .tv_sec = r->change.mtime.s, .tv_nsec = r->change.mtime.ns };
	for (unsigned i = 0; i < 2; i++)	/* these values mean something else to the kernel, or nothing */
		if (r->set & (i ? VIO_TREE_SET_MTIME : VIO_TREE_SET_ATIME) && (at[i].tv_nsec < 0 || at[i].tv_nsec > 999999999))
			return EINVAL;
	if (r->set & VIO_TREE_SET_ATIME_NOW)
		at[0].tv_nsec = UTIME_NOW;
	if (r->set & VIO_TREE_SET_MTIME_NOW)
		at[1].tv_nsec = UTIME_NOW;
	return utimensat(t->proc_fd, s->name, at, 0) < 0 ? errno : 0;
}

int vio_tree_setattr(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct subject s = { .open = r->has_handle ? vio_open_get_any(t, r->handle, r->node) : NULL };
	const uint32_t times = VIO_TREE_SET_ATIME | VIO_TREE_SET_MTIME | VIO_TREE_SET_ATIME_NOW | VIO_TREE_SET_MTIME_NOW;
	int error = 0;

	if (r->has_handle && !s.open)
		return EBADF;
	s.node = vio_node_use(t, r->node, may_wait, &s.fd, &error);
	if (s.node) {
		snprintf(s.name, sizeof s.name, "%d", s.fd);
		/* The owner first: changing it clears suid and sgid, which the mode may set anew.  ctime is the kernel's affair. */
		if (r->set & (VIO_TREE_SET_UID | VIO_TREE_SET_GID))
			error = set_owner(t, r, &s);
		if (!error && r->set & VIO_TREE_SET_MODE)
			error = set_mode(t, r, &s);
		if (!error && r->set & VIO_TREE_SET_SIZE)
			error = set_size(t, r, &s);
		if (!error && r->set & times)
			error = set_times(t, r, &s);
		if (!error)
			error = attr_now(t, r, s.fd);
		vio_node_done(t, s.node);
	}
	if (s.open)
		vio_open_put(t, s.open);
	return error;
}

/* ---- Others ---- */

int vio_tree_readlink(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	char target[VIO_TREE_TARGET + 1];
	int fd, error;
	struct vio_node *n = vio_node_use(t, r->node, may_wait, &fd, &error);

	if (!n)
		return error;
	ssize_t got = n->type == S_IFLNK ? readlinkat(fd, "", target, sizeof target) : (errno = EINVAL, -1);
	error = got < 0 ? errno : 0;
	vio_node_done(t, n);
	if (error)
		return error;
	if ((uint64_t)got > r->bytes.left)
		return ENAMETOOLONG;
	vio_cur_put(&r->bytes, target, (uint64_t)got);
	r->result = (uint64_t)got;
	return 0;
}

int vio_tree_statfs(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct statfs f;
	int fd, error;
	struct vio_node *n = vio_node_use(t, r->node, may_wait, &fd, &error);

	if (!n)
		return error;
	error = fstatfs(fd, &f) < 0 ? errno : 0;
	vio_node_done(t, n);
	if (!error)
		r->statfs = (struct vio_tree_statfs){ .blocks = f.f_blocks, .bfree = f.f_bfree, .bavail = f.f_bavail,
			.files = f.f_files, .ffree = f.f_ffree, .bsize = (uint32_t)f.f_bsize,
			.frsize = (uint32_t)(f.f_frsize ? f.f_frsize : f.f_bsize), .namelen = (uint32_t)f.f_namelen };
	return error;
}

/* As the asker's file system ids would be answered; a guest with default permissions never asks. */
int vio_tree_access(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	char name[16];
	int fd, error;

	if (r->flags & ~(uint32_t)(R_OK | W_OK | X_OK))
		return EINVAL;
	struct vio_node *n = vio_node_use(t, r->node, may_wait, &fd, &error);
	if (!n)
		return error;
	struct vio_tree_req who = { .uid = r->uid, .gid = r->gid };
	error = vio_id_enter(t, &who, 0);
	if (!error) {
		snprintf(name, sizeof name, "%d", fd);
		if (syscall(SYS_faccessat2, t->proc_fd, name, (int)r->flags, AT_EACCESS) < 0)
			error = errno;
		vio_id_leave(t, &who);
	} else {
		error = EACCES;
	}
	vio_node_done(t, n);
	return error;
}
