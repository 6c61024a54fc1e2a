/*
 * Questions: what each FUSE operation asks, judged and put to the tree.
 *
 * An answer that would not fit into what the driver gave is refused before anything is done.  Names are copied and judged
 * here; a target, a value or the bytes of a file stay in guest memory, where the tree takes them from.
 */
#include <vio/device/fs_impl.h>

#define ARGS(type) const struct vio_fuse_##type *a = args

static bool beyond(uint64_t offset, uint64_t length)	/* of any file */
{
	return offset > INT64_MAX || length > INT64_MAX - offset;
}

/* ---- Names ---- */

/*
 * A string to its NUL, into room bytes.  One that goes on is too long, which Linux leaves to us to say; one that the message
 * ends in is the driver's mistake.
 */
static int get_text(struct vio_cur *from, char *to, uint32_t *len)
{
	struct vio_cur look = *from;
	uint32_t n = from->left < VIO_TREE_NAME + 1 ? (uint32_t)from->left : VIO_TREE_NAME + 1;

	vio_cur_get(&look, to, n);
	for (uint32_t i = 0; i < n; i++)
		if (to[i] == 0) {
			vio_cur_skip(from, i + 1);
			*len = i;
			return i ? FS_ASK : -VIO_FUSE_EINVAL;
		}
	return from->left > n ? VIO_FUSE_ENAMETOOLONG : -VIO_FUSE_EINVAL;
}

static bool is_dots(const char *name, uint32_t len) { return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')); }

/* A name in a directory; dots: "." and ".." may be. */
static int get_name(struct vio_cur *from, char *to, bool dots)
{
	uint32_t len;
	int error = get_text(from, to, &len);

	if (error)
		return error;
	for (uint32_t i = 0; i < len; i++)
		if (to[i] == '/')
			return -VIO_FUSE_EINVAL;
	return !dots && is_dots(to, len) ? -VIO_FUSE_EINVAL : FS_ASK;
}

static int get_first(struct fs_req *r, bool dots)
{
	r->t.name = r->name;
	return get_name(&r->in, r->name, dots);
}

static int get_second(struct fs_req *r)
{
	r->t.name2 = r->name2;
	return get_name(&r->in, r->name2, false);
}

/* ---- Extensions: who creates, and what is to be set on what he creates ---- */

static int get_secctx(struct fs_req *r, struct vio_cur body, uint32_t count)
{
	struct vio_fuse_secctx one;
	uint32_t len;

	if (count == 0)
		return FS_ASK;
	if (count > 1)			/* one security module at a time, as in Linux */
		return VIO_FUSE_EOPNOTSUPP;
	if (!vio_cur_get(&body, &one, sizeof one))
		return -VIO_FUSE_EINVAL;
	int error = get_text(&body, r->security_name, &len);
	if (error)
		return error;
	uint32_t size = vio_le32_get(one.size);
	if (size > body.left || size > VIO_TREE_XATTR)
		return -VIO_FUSE_EINVAL;
	body.left = size;
	body.done = 0;
	r->t.security = body;
	r->t.security_name = r->security_name;
	return FS_ASK;
}

static int get_groups(struct fs_req *r, struct vio_cur body)
{
	struct vio_fuse_supp_groups head;

	if (!vio_cur_get(&body, &head, sizeof head))
		return -VIO_FUSE_EINVAL;
	uint32_t n = vio_le32_get(head.nr_groups);
	if (n > VIO_TREE_GROUPS || n > body.left / sizeof(vio_le32))
		return -VIO_FUSE_EINVAL;
	for (uint32_t i = 0; i < n; i++) {
		vio_le32 g;
		vio_cur_get(&body, &g, sizeof g);
		r->t.group[i] = vio_le32_get(g);
	}
	r->t.group_count = n;
	return FS_ASK;
}

/* Behind the last name.  Before 7.38 the header did not say so, and a security context was all there could be. */
static int get_creator(const struct fs *s, struct fs_req *r)
{
	uint64_t session = fs_session(s);
	struct vio_cur *c = &r->in;

	r->t.group_count = 0;
	r->t.security_name = NULL;
	if (r->extensions > c->left)
		return -VIO_FUSE_EINVAL;
	if (r->extensions)
		vio_cur_skip(c, c->left - r->extensions);
	else if (!(session & FS_SECURITY_CTX) || (session & FS_MINOR) >= 38)
		return FS_ASK;
	while (c->left) {
		struct vio_fuse_ext_header h;
		if (!vio_cur_get(c, &h, sizeof h))
			return -VIO_FUSE_EINVAL;
		uint32_t size = vio_le32_get(h.size), type = vio_le32_get(h.type);
		if (size < sizeof h || size - sizeof h > c->left)
			return -VIO_FUSE_EINVAL;
		struct vio_cur body = *c;
		body.left = size - sizeof h;
		vio_cur_skip(c, body.left);
		int error = FS_ASK;
		if (type <= VIO_FUSE_MAX_NR_SECCTX && session & FS_SECURITY_CTX)
			error = get_secctx(r, body, type);
		else if (type == VIO_FUSE_EXT_GROUPS && session & FS_CREATE_GROUPS)
			error = get_groups(r, body);
		if (error)
			return error;
	}
	return FS_ASK;
}

/* ---- Places for bytes ---- */

/* size bytes behind the header, to be filled. */
static int get_room(struct fs_req *r, uint64_t size)
{
	r->t.bytes = r->chain.w;
	vio_cur_skip(&r->t.bytes, sizeof(struct vio_fuse_out_header));
	if (size > r->t.bytes.left || size > FS_BYTES_MAX)
		return -VIO_FUSE_EINVAL;
	r->t.bytes.left = size;
	r->t.bytes.done = 0;
	r->t.length = size;
	return FS_ASK;
}

/* ---- Nodes and names ---- */

static int ask_lookup(struct fs *s, struct fs_req *r, const void *args)
{
	(void)s, (void)args;
	return get_first(r, true);
}

static int ask_name(struct fs *s, struct fs_req *r, const void *args)
{
	(void)s, (void)args;
	return get_first(r, false);
}

static int ask_nothing(struct fs *s, struct fs_req *r, const void *args)
{
	(void)s, (void)r, (void)args;
	return FS_ASK;
}

/* What it names may be in any queue, so the tree finds it; or it does not, and the driver may try again (FUSE: EAGAIN). */
static int ask_interrupt(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(interrupt_in);
	(void)s;
	if (!fs_chan(r)->ops->interrupt(fs_chan(r), vio_le64_get(a->unique)))
		return VIO_FUSE_EAGAIN;
	vio_fs_dev_error(r, 0);
	return FS_SERVED;
}

static int ask_getattr(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(getattr_in);
	(void)s;
	r->t.has_handle = vio_le32_get(a->getattr_flags) & VIO_FUSE_GETATTR_FH;
	r->t.handle = vio_le64_get(a->fh);
	return FS_ASK;
}

static int ask_statx(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(statx_in);
	(void)s;
	r->t.has_handle = vio_le32_get(a->getattr_flags) & VIO_FUSE_GETATTR_FH;
	r->t.handle = vio_le64_get(a->fh);
	r->t.flags = vio_le32_get(a->sx_flags);
	return FS_ASK;
}

static const struct { uint16_t fuse, tree; } set_bits[] = {
	{ VIO_FATTR_MODE, VIO_TREE_SET_MODE }, { VIO_FATTR_UID, VIO_TREE_SET_UID }, { VIO_FATTR_GID, VIO_TREE_SET_GID },
	{ VIO_FATTR_SIZE, VIO_TREE_SET_SIZE }, { VIO_FATTR_ATIME, VIO_TREE_SET_ATIME }, { VIO_FATTR_MTIME, VIO_TREE_SET_MTIME },
	{ VIO_FATTR_ATIME_NOW, VIO_TREE_SET_ATIME_NOW }, { VIO_FATTR_MTIME_NOW, VIO_TREE_SET_MTIME_NOW },
	{ VIO_FATTR_CTIME, VIO_TREE_SET_CTIME },
};

static struct vio_tree_time time_of(vio_le64 s, vio_le32 ns)
{
	return (struct vio_tree_time){ (int64_t)vio_le64_get(s), vio_le32_get(ns) };
}

static int ask_setattr(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(setattr_in);
	struct vio_tree_attr *to = &r->t.change;
	uint32_t valid = vio_le32_get(a->valid), set = 0;

	(void)s;
	for (unsigned i = 0; i < sizeof set_bits / sizeof *set_bits; i++)
		if (valid & set_bits[i].fuse)
			set |= set_bits[i].tree;
	to->mode = vio_le32_get(a->mode);
	to->uid = vio_le32_get(a->uid);
	to->gid = vio_le32_get(a->gid);
	to->size = vio_le64_get(a->size);
	to->atime = time_of(a->atime, a->atimensec);
	to->mtime = time_of(a->mtime, a->mtimensec);
	to->ctime = time_of(a->ctime, a->ctimensec);
	if ((set & VIO_TREE_SET_SIZE && to->size > INT64_MAX) || (set & VIO_TREE_SET_ATIME && to->atime.ns > 999999999) ||
	    (set & VIO_TREE_SET_MTIME && to->mtime.ns > 999999999))
		return -VIO_FUSE_EINVAL;
	r->t.set = set;
	r->t.has_handle = valid & VIO_FATTR_FH;
	r->t.handle = vio_le64_get(a->fh);
	r->t.kill_priv = valid & VIO_FATTR_KILL_SUIDGID;
	return FS_ASK;
}

static int ask_readlink(struct fs *s, struct fs_req *r, const void *args)
{
	uint64_t left = r->chain.w.left - sizeof(struct vio_fuse_out_header);

	(void)s, (void)args;
	return get_room(r, left < VIO_TREE_TARGET ? left : VIO_TREE_TARGET);
}

/* The target's bytes stay where they are, so its end is looked for there; who copies it will see what it then is. */
static int ask_symlink(struct fs *s, struct fs_req *r, const void *args)
{
	int error = get_first(r, false);

	(void)args;
	if (error)
		return error;
	struct vio_cur look = r->in;
	uint64_t n = 0;
	for (;; n++) {
		char c;
		if (n > VIO_TREE_TARGET)
			return VIO_FUSE_ENAMETOOLONG;
		if (!vio_cur_get(&look, &c, 1))
			return -VIO_FUSE_EINVAL;
		if (c == 0)
			break;
	}
	if (n == 0)
		return -VIO_FUSE_EINVAL;
	r->t.bytes = r->in;
	r->t.bytes.left = n;
	r->t.bytes.done = 0;
	r->in = look;
	return get_creator(s, r);
}

enum { MODE_BITS = 0177777, TYPE_BITS = 0170000, PERMISSIONS = 07777 };

static int ask_mknod(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(mknod_in);
	uint32_t type;
	int error = get_first(r, false);

	if (error)
		return error;
	r->t.mode = vio_le32_get(a->mode);
	r->t.rdev = vio_le32_get(a->rdev);
	r->t.umask = vio_le32_get(a->umask) & 0777;
	type = r->t.mode & TYPE_BITS;
	/* a regular file (also as no type at all), pipe, character or block device, socket */
	if (r->t.mode & ~(uint32_t)MODE_BITS || (type && type != 0100000 && type != 0010000 && type != 0020000 && type != 0060000 &&
	    type != 0140000))
		return -VIO_FUSE_EINVAL;
	return get_creator(s, r);
}

static int ask_mkdir(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(mkdir_in);
	int error = get_first(r, false);

	if (error)
		return error;
	r->t.mode = vio_le32_get(a->mode) & PERMISSIONS;
	r->t.umask = vio_le32_get(a->umask) & 0777;
	return get_creator(s, r);
}

static int get_both(struct fs_req *r)
{
	int error = get_first(r, false);
	return error ? error : get_second(r);
}

static int ask_rename(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(rename_in);
	(void)s;
	r->t.node2 = vio_le64_get(a->newdir);
	r->t.flags = 0;
	return get_both(r);
}

static int ask_rename2(struct fs *s, struct fs_req *r, const void *args)
{
	enum { NOREPLACE_EXCHANGE_WHITEOUT = 7 };
	ARGS(rename2_in);
	(void)s;
	r->t.node2 = vio_le64_get(a->newdir);
	r->t.flags = vio_le32_get(a->flags);
	if (r->t.flags & ~(uint32_t)NOREPLACE_EXCHANGE_WHITEOUT)
		return VIO_FUSE_EINVAL;
	return get_both(r);
}

/* The header's node is where the new name goes; the tree has it the other way round. */
static int ask_link(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(link_in);
	(void)s;
	r->t.node2 = r->t.node;
	r->t.node = vio_le64_get(a->oldnodeid);
	return get_second(r);
}

static int ask_access(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(access_in);
	(void)s;
	r->t.flags = vio_le32_get(a->mask);
	return r->t.flags & ~7u ? -VIO_FUSE_EINVAL : FS_ASK;
}

/* ---- Open files ---- */

static int ask_open(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(open_in);
	(void)s;
	r->t.flags = vio_le32_get(a->flags);
	r->t.kill_priv = vio_le32_get(a->open_flags) & VIO_FUSE_OPEN_KILL_SUIDGID;
	return FS_ASK;
}

static int get_create(struct fs *s, struct fs_req *r, const struct vio_fuse_create_in *a)
{
	r->t.flags = vio_le32_get(a->flags);
	r->t.mode = vio_le32_get(a->mode) & PERMISSIONS;
	r->t.umask = vio_le32_get(a->umask) & 0777;
	r->t.kill_priv = vio_le32_get(a->open_flags) & VIO_FUSE_OPEN_KILL_SUIDGID;
	return get_creator(s, r);
}

static int ask_create(struct fs *s, struct fs_req *r, const void *args)
{
	int error = get_first(r, false);
	return error ? error : get_create(s, r, args);
}

/* The name that comes with it means nothing: what is created has none. */
static int ask_tmpfile(struct fs *s, struct fs_req *r, const void *args)
{
	uint32_t len;

	if (r->in.left > r->extensions) {
		int error = get_text(&r->in, r->name, &len);
		if (error)
			return error;
	}
	return get_create(s, r, args);
}

static int ask_release(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(release_in);
	(void)s;
	r->t.handle = vio_le64_get(a->fh);
	r->t.flags = vio_le32_get(a->flags);
	r->t.flock = vio_le32_get(a->release_flags) & VIO_FUSE_RELEASE_FLOCK_UNLOCK;
	r->t.owner = vio_le64_get(a->lock_owner);
	return FS_ASK;
}

static int ask_flush(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(flush_in);
	(void)s;
	r->t.handle = vio_le64_get(a->fh);
	r->t.owner = vio_le64_get(a->lock_owner);
	return FS_ASK;
}

static int ask_read(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(read_in);
	uint32_t size = vio_le32_get(a->size);

	(void)s;
	r->t.handle = vio_le64_get(a->fh);
	r->t.offset = vio_le64_get(a->offset);
	r->t.flags = vio_le32_get(a->flags);
	return beyond(r->t.offset, size) ? -VIO_FUSE_EINVAL : get_room(r, size);
}

/* A directory's offsets are the tree's cookies: any number can be one. */
static int ask_readdir(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(read_in);
	(void)s;
	r->t.handle = vio_le64_get(a->fh);
	r->t.offset = vio_le64_get(a->offset);
	vio_fs_dev_emits(r);
	return get_room(r, vio_le32_get(a->size));
}

static int ask_write(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(write_in);
	uint32_t size = vio_le32_get(a->size), flags = vio_le32_get(a->write_flags);

	(void)s;
	r->t.handle = vio_le64_get(a->fh);
	r->t.offset = vio_le64_get(a->offset);
	r->t.flags = vio_le32_get(a->flags);
	r->t.cached = flags & VIO_FUSE_WRITE_CACHE;
	r->t.kill_priv = flags & VIO_FUSE_WRITE_KILL_SUIDGID;
	if (size > r->in.left || size > FS_BYTES_MAX || beyond(r->t.offset, size))
		return -VIO_FUSE_EINVAL;
	r->t.bytes = r->in;
	r->t.bytes.left = size;
	r->t.bytes.done = 0;
	r->t.length = size;
	return FS_ASK;
}

static int ask_fsync(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(fsync_in);
	(void)s;
	r->t.handle = vio_le64_get(a->fh);
	r->t.datasync = vio_le32_get(a->fsync_flags) & VIO_FUSE_FSYNC_FDATASYNC;
	return FS_ASK;
}

static int ask_fallocate(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(fallocate_in);
	(void)s;
	r->t.handle = vio_le64_get(a->fh);
	r->t.offset = vio_le64_get(a->offset);
	r->t.length = vio_le64_get(a->length);
	r->t.flags = vio_le32_get(a->mode);
	return beyond(r->t.offset, r->t.length) || r->t.length == 0 ? -VIO_FUSE_EINVAL : FS_ASK;
}

static int ask_lseek(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(lseek_in);
	(void)s;
	r->t.handle = vio_le64_get(a->fh);
	r->t.offset = vio_le64_get(a->offset);
	r->t.flags = vio_le32_get(a->whence);
	return r->t.flags > 4 ? -VIO_FUSE_EINVAL : FS_ASK;	/* SEEK_HOLE is the last */
}

static int ask_copy(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(copy_file_range_in);
	uint64_t length = vio_le64_get(a->len);
	const uint64_t most = UINT32_C(1) << 30;	/* the answer has 32 bits for it, and others wait */

	(void)s;
	r->t.handle = vio_le64_get(a->fh_in);
	r->t.offset = vio_le64_get(a->off_in);
	r->t.node2 = vio_le64_get(a->nodeid_out);
	r->t.handle2 = vio_le64_get(a->fh_out);
	r->t.offset2 = vio_le64_get(a->off_out);
	r->t.length = length < most ? length : most;
	return vio_le64_get(a->flags) || beyond(r->t.offset, length) || beyond(r->t.offset2, length) ? -VIO_FUSE_EINVAL : FS_ASK;
}

/* ---- Locks ---- */

static int get_lock(struct fs_req *r, const struct vio_fuse_lk_in *a, bool wait)
{
	struct vio_tree_lock *l = &r->t.lock;

	*l = (struct vio_tree_lock){ vio_le64_get(a->lk.start), vio_le64_get(a->lk.end), vio_le32_get(a->lk.type),
		vio_le32_get(a->lk.pid) };
	r->t.handle = vio_le64_get(a->fh);
	r->t.owner = vio_le64_get(a->owner);
	r->t.wait = wait;
	r->t.flock = vio_le32_get(a->lk_flags) & VIO_FUSE_LK_FLOCK;
	return l->type > 2 || l->start > l->end || l->end > INT64_MAX ? -VIO_FUSE_EINVAL : FS_ASK;
}

static int ask_setlk(struct fs *s, struct fs_req *r, const void *args)
{
	(void)s;
	return get_lock(r, args, false);
}

static int ask_setlkw(struct fs *s, struct fs_req *r, const void *args)
{
	(void)s;
	return get_lock(r, args, true);
}

/* ---- Extended attributes ---- */

static int get_xattr_name(struct fs_req *r)
{
	uint32_t len;

	r->t.name = r->name;
	int error = get_text(&r->in, r->name, &len);
	return error == VIO_FUSE_ENAMETOOLONG ? VIO_FUSE_ERANGE : error;
}

/* The fixed part is 8 bytes longer when SETXATTR_EXT was agreed on. */
static int ask_setxattr(struct fs *s, struct fs_req *r, const void *args)
{
	struct vio_fuse_setxattr_in a = { .setxattr_flags = vio_le32_of(0) };

	memcpy(&a, args, VIO_FUSE_SETXATTR_IN_COMPAT);
	if (fs_session(s) & FS_SETXATTR_EXT && !vio_cur_get(&r->in, &a.setxattr_flags, sizeof a - VIO_FUSE_SETXATTR_IN_COMPAT))
		return -VIO_FUSE_EINVAL;
	int error = get_xattr_name(r);
	if (error)
		return error;
	uint32_t size = vio_le32_get(a.size);
	r->t.flags = vio_le32_get(a.flags);
	r->t.kill_sgid = vio_le32_get(a.setxattr_flags) & VIO_FUSE_SETXATTR_ACL_KILL_SGID;
	r->t.bytes = r->in;
	r->t.bytes.left = size;
	r->t.bytes.done = 0;
	return size > r->in.left || size > VIO_TREE_XATTR || r->t.flags & ~3u ? -VIO_FUSE_EINVAL : FS_ASK;
}

/* More room than any attribute needs is no mistake. */
static int get_xattr_room(struct fs_req *r, uint32_t size)
{
	if (size == 0 && r->chain.w.left < sizeof(struct vio_fuse_out_header) + sizeof(struct vio_fuse_getxattr_out))
		return -VIO_FUSE_EINVAL;
	return get_room(r, size < VIO_TREE_XATTR ? size : VIO_TREE_XATTR);
}

static int ask_getxattr(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(getxattr_in);
	int error = get_xattr_name(r);

	(void)s;
	return error ? error : get_xattr_room(r, vio_le32_get(a->size));
}

static int ask_listxattr(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(getxattr_in);
	(void)s;
	return get_xattr_room(r, vio_le32_get(a->size));
}

static int ask_removexattr(struct fs *s, struct fs_req *r, const void *args)
{
	(void)s, (void)args;
	return get_xattr_name(r);
}

/* ---- Ioctl ---- */

/* What goes in and out is said in the command, or there would be no confining it. */
static int ask_ioctl(struct fs *s, struct fs_req *r, const void *args)
{
	ARGS(ioctl_in);
	uint32_t in = vio_le32_get(a->in_size), out = vio_le32_get(a->out_size);

	(void)s;
	if (vio_le32_get(a->flags) & VIO_FUSE_IOCTL_UNRESTRICTED)
		return VIO_FUSE_ENOTTY;
	int error = get_room(r, sizeof(struct vio_fuse_ioctl_out) + (uint64_t)out);
	if (error || in > r->in.left)
		return -VIO_FUSE_EINVAL;
	vio_cur_skip(&r->t.bytes, sizeof(struct vio_fuse_ioctl_out));
	r->t.bytes.done = 0;
	r->t.length = out;
	r->t.bytes_in = r->in;
	r->t.bytes_in.left = in;
	r->t.bytes_in.done = 0;
	r->t.handle = vio_le64_get(a->fh);
	r->t.flags = vio_le32_get(a->cmd);
	return FS_ASK;
}

/* ---- The table ---- */

static void tell_nothing(struct fs *s, struct fs_req *r)
{
	(void)s;
	vio_fs_dev_answer(r, NULL, 0);
}

#define IN(type) .args = sizeof(struct vio_fuse_##type)
#define OUT(type) .room = sizeof(struct vio_fuse_##type)
#define OP(name) .known = true, .tree = VIO_TREE_##name
#define ENTRY OUT(entry_out), .tell = vio_fs_dev_tell_entry
#define ATTR OUT(attr_out), .tell = vio_fs_dev_tell_attr
#define OPEN OUT(open_out), .tell = vio_fs_dev_tell_open
#define CREATED .room = sizeof(struct vio_fuse_entry_out) + sizeof(struct vio_fuse_open_out), .tell = vio_fs_dev_tell_create
#define NOTHING .tell = tell_nothing
#define NOT_HERE .known = true		/* ENOSYS: drivers take that for an answer for good */

const struct fs_op vio_fs_dev_ops[VIO_FUSE_OPCODES] = {
	[VIO_FUSE_LOOKUP] = { OP(LOOKUP), .ask = ask_lookup, ENTRY },
	[VIO_FUSE_FORGET] = { OP(FORGET), IN(forget_in), .ask = vio_fs_dev_forget, .silent = true, .hiprio = true },
	[VIO_FUSE_GETATTR] = { OP(GETATTR), IN(getattr_in), .ask = ask_getattr, ATTR },
	[VIO_FUSE_SETATTR] = { OP(SETATTR), IN(setattr_in), .ask = ask_setattr, ATTR },
	[VIO_FUSE_READLINK] = { OP(READLINK), .ask = ask_readlink, .tell = vio_fs_dev_tell_bytes },
	[VIO_FUSE_SYMLINK] = { OP(SYMLINK), .ask = ask_symlink, ENTRY },
	[VIO_FUSE_MKNOD] = { OP(MKNOD), IN(mknod_in), .ask = ask_mknod, ENTRY },
	[VIO_FUSE_MKDIR] = { OP(MKDIR), IN(mkdir_in), .ask = ask_mkdir, ENTRY },
	[VIO_FUSE_UNLINK] = { OP(UNLINK), .ask = ask_name, NOTHING },
	[VIO_FUSE_RMDIR] = { OP(RMDIR), .ask = ask_name, NOTHING },
	[VIO_FUSE_RENAME] = { OP(RENAME), IN(rename_in), .ask = ask_rename, NOTHING },
	[VIO_FUSE_LINK] = { OP(LINK), IN(link_in), .ask = ask_link, ENTRY },
	[VIO_FUSE_OPEN] = { OP(OPEN), IN(open_in), .ask = ask_open, OPEN },
	[VIO_FUSE_READ] = { OP(READ), IN(read_in), .ask = ask_read, .tell = vio_fs_dev_tell_bytes },
	[VIO_FUSE_WRITE] = { OP(WRITE), IN(write_in), .ask = ask_write, OUT(write_out), .tell = vio_fs_dev_tell_size },
	[VIO_FUSE_STATFS] = { OP(STATFS), .ask = ask_nothing, OUT(statfs_out), .tell = vio_fs_dev_tell_statfs },
	[VIO_FUSE_RELEASE] = { OP(RELEASE), IN(release_in), .ask = ask_release, NOTHING },
	[VIO_FUSE_FSYNC] = { OP(FSYNC), IN(fsync_in), .ask = ask_fsync, NOTHING },
	[VIO_FUSE_SETXATTR] = { OP(SETXATTR), .args = VIO_FUSE_SETXATTR_IN_COMPAT, .ask = ask_setxattr, NOTHING },
	[VIO_FUSE_GETXATTR] = { OP(GETXATTR), IN(getxattr_in), .ask = ask_getxattr, .tell = vio_fs_dev_tell_xattr },
	[VIO_FUSE_LISTXATTR] = { OP(LISTXATTR), IN(getxattr_in), .ask = ask_listxattr, .tell = vio_fs_dev_tell_xattr },
	[VIO_FUSE_REMOVEXATTR] = { OP(REMOVEXATTR), .ask = ask_removexattr, NOTHING },
	[VIO_FUSE_FLUSH] = { OP(FLUSH), IN(flush_in), .ask = ask_flush, NOTHING },
	[VIO_FUSE_INIT] = { OP(BEGIN), .args = VIO_FUSE_INIT_IN_COMPAT, .ask = vio_fs_dev_init, OUT(init_out),
		.tell = vio_fs_dev_tell_init },
	[VIO_FUSE_OPENDIR] = { OP(OPENDIR), IN(open_in), .ask = ask_open, OPEN },
	[VIO_FUSE_READDIR] = { OP(READDIR), IN(read_in), .ask = ask_readdir, .tell = vio_fs_dev_tell_dir },
	[VIO_FUSE_RELEASEDIR] = { OP(RELEASEDIR), IN(release_in), .ask = ask_release, NOTHING },
	[VIO_FUSE_FSYNCDIR] = { OP(FSYNCDIR), IN(fsync_in), .ask = ask_fsync, NOTHING },
	[VIO_FUSE_GETLK] = { OP(GETLK), IN(lk_in), .ask = ask_setlk, OUT(lk_out), .tell = vio_fs_dev_tell_lock },
	[VIO_FUSE_SETLK] = { OP(SETLK), IN(lk_in), .ask = ask_setlk, NOTHING },
	[VIO_FUSE_SETLKW] = { OP(SETLK), IN(lk_in), .ask = ask_setlkw, NOTHING },
	[VIO_FUSE_ACCESS] = { OP(ACCESS), IN(access_in), .ask = ask_access, NOTHING },
	[VIO_FUSE_CREATE] = { OP(CREATE), IN(create_in), .ask = ask_create, CREATED },
	[VIO_FUSE_INTERRUPT] = { .known = true, IN(interrupt_in), .ask = ask_interrupt, .silent = true, .hiprio = true },
	[VIO_FUSE_BMAP] = { NOT_HERE },			/* there are no blocks */
	[VIO_FUSE_DESTROY] = { OP(END), .ask = vio_fs_dev_destroy, NOTHING },
	[VIO_FUSE_IOCTL] = { OP(IOCTL), IN(ioctl_in), .ask = ask_ioctl, OUT(ioctl_out), .tell = vio_fs_dev_tell_ioctl },
	[VIO_FUSE_POLL] = { NOT_HERE },			/* files are always ready */
	[VIO_FUSE_NOTIFY_REPLY] = { NOT_HERE },		/* nothing was notified */
	[VIO_FUSE_BATCH_FORGET] = { OP(FORGET), IN(batch_forget_in), .ask = vio_fs_dev_batch_forget, .silent = true, .hiprio = true },
	[VIO_FUSE_FALLOCATE] = { OP(FALLOCATE), IN(fallocate_in), .ask = ask_fallocate, NOTHING },
	[VIO_FUSE_READDIRPLUS] = { OP(READDIRPLUS), IN(read_in), .ask = ask_readdir, .tell = vio_fs_dev_tell_dir },
	[VIO_FUSE_RENAME2] = { OP(RENAME), IN(rename2_in), .ask = ask_rename2, NOTHING },
	[VIO_FUSE_LSEEK] = { OP(LSEEK), IN(lseek_in), .ask = ask_lseek, OUT(lseek_out), .tell = vio_fs_dev_tell_offset },
	[VIO_FUSE_COPY_FILE_RANGE] = { OP(COPY_RANGE), IN(copy_file_range_in), .ask = ask_copy, OUT(write_out),
		.tell = vio_fs_dev_tell_size },
	[VIO_FUSE_SETUPMAPPING] = { NOT_HERE },		/* there is no DAX window (5.11.6.4) */
	[VIO_FUSE_REMOVEMAPPING] = { NOT_HERE },
	[VIO_FUSE_SYNCFS] = { OP(SYNCFS), IN(syncfs_in), .ask = ask_nothing, NOTHING },
	[VIO_FUSE_TMPFILE] = { OP(TMPFILE), IN(create_in), .ask = ask_tmpfile, CREATED },
	[VIO_FUSE_STATX] = { OP(STATX), IN(statx_in), OUT(statx_out), .ask = ask_statx, .tell = vio_fs_dev_tell_statx },
};
