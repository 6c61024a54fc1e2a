/* What can be done with a tree of files in memory. */
#include <vio/host/tree_memory_impl.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILES = 512, HANDLES = 128, LOCKS = 64, XATTRS = 16, BYTES = 4 << 20 };	/* of all; BYTES also of one */

static uint32_t type_of(const struct file *f) { return f->attr.mode & S_IFMT; }

/* ---- Files ---- */

static struct file *find(struct memory *m, uint64_t node)
{
	struct file *f = m->files;

	while (f && (f->number != node || !(f->lookups || node == VIO_TREE_ROOT)))
		f = f->next;
	return f;
}

static struct handle *find_handle(struct memory *m, uint64_t number, uint64_t node)
{
	struct handle *h = m->handles;

	while (h && h->number != number)
		h = h->next;
	return h && h->file->number == node ? h : NULL;
}

static struct entry **find_entry(struct file *dir, const char *name)
{
	struct entry **e = &dir->entries;

	while (*e && strcmp((*e)->name, name))
		e = &(*e)->next;
	return e;
}

static void drop_locks(struct memory *m, const struct file *f, const uint64_t *owner, bool flock)
{
	for (struct lock **p = &m->locks; *p; ) {
		struct lock *l = *p;
		if ((f && l->file != f) || (owner && (l->owner != *owner || l->flock != flock))) {
			p = &l->next;
			continue;
		}
		*p = l->next;
		m->count.locks--;
		free(l);
	}
}

static void free_file(struct memory *m, struct file *f)
{
	while (f->xattrs) {
		struct xattr *x = f->xattrs;
		f->xattrs = x->next;
		m->bytes -= x->size;
		free(x);
	}
	if (f->bytes)
		m->bytes -= f->attr.size;
	free(f->bytes);
	free(f);
	m->file_count--;
}

/* Perhaps nothing is left of it. */
static void let_go(struct memory *m, struct file *f)
{
	struct file **p = &m->files;

	if (f->names || f->lookups || f->handles || f->number == VIO_TREE_ROOT)
		return;
	drop_locks(m, f, NULL, false);
	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	free_file(m, f);
}

static struct file *new_file(struct memory *m, const struct vio_tree_req *r, uint32_t mode)
{
	struct file *f = m->file_count < FILES ? calloc(1, sizeof *f) : NULL;

	if (!f)
		return NULL;
	f->number = f->attr.ino = m->next_number++;
	f->attr.mode = mode;
	f->attr.uid = r->uid;
	f->attr.gid = r->gid;
	f->attr.nlink = S_ISDIR(mode) ? 2 : 1;
	f->attr.blksize = 4096;
	f->attr.has_btime = true;
	f->attr.btime = (struct vio_tree_time){ 1000000000, 999 };
	f->next = m->files;
	m->files = f;
	m->file_count++;
	return f;
}

static int resize(struct memory *m, struct file *f, uint64_t size)
{
	if (size > BYTES || (size > f->attr.size && size - f->attr.size > BYTES - m->bytes))
		return ENOSPC;
	if (size > f->attr.size) {
		unsigned char *bytes = realloc(f->bytes, size);
		if (!bytes)
			return ENOSPC;
		memset(bytes + f->attr.size, 0, size - f->attr.size);
		f->bytes = bytes;
	}
	m->bytes = m->bytes - f->attr.size + size;
	f->attr.size = size;
	f->attr.blocks = (size + 511) / 512;
	f->attr.mtime.s++;
	return 0;
}

/* A directory that has been removed takes no more names. */
static bool is_gone(const struct file *dir) { return !dir->names && dir->number != VIO_TREE_ROOT; }

static int link_in(struct file *dir, const char *name, struct file *f)
{
	if (is_gone(dir))
		return ENOENT;
	struct entry **at = find_entry(dir, name), *e = calloc(1, sizeof *e);

	if (!e)
		return ENOSPC;
	e->file = f;
	memcpy(e->name, name, strlen(name) + 1);
	*at = e;
	f->names++;
	if (S_ISDIR(f->attr.mode))
		f->parent = dir;
	return 0;
}

static void unlink_from(struct memory *m, struct entry **at)
{
	struct entry *e = *at;

	*at = e->next;
	e->file->names--;
	if (!S_ISDIR(e->file->attr.mode))
		e->file->attr.nlink = e->file->names;
	else if (!e->file->names)
		e->file->parent = NULL;
	let_go(m, e->file);
	free(e);
}

static void tell_entry(struct vio_tree_req *r, struct file *f)
{
	f->lookups++;
	r->entry = (struct vio_tree_entry){ f->number, 0, f->attr };
}

static int open_file(struct memory *m, struct vio_tree_req *r, struct file *f, bool dir)
{
	struct handle *h = m->count.handles < HANDLES ? calloc(1, sizeof *h) : NULL;

	if (!h)
		return ENFILE;
	m->count.handles++;
	*h = (struct handle){ m->handles, m->next_handle++, f, dir };
	m->handles = h;
	f->handles++;
	r->new_handle = h->number;
	r->open_flags = VIO_TREE_KEEP_CACHE;
	return 0;
}

static void close_handle(struct memory *m, struct handle *h)
{
	struct handle **p = &m->handles;

	while (*p != h)
		p = &(*p)->next;
	*p = h->next;
	h->file->handles--;
	m->count.handles--;
	let_go(m, h->file);
	free(h);
}

/* ---- Locks ---- */

static bool clash(const struct lock *l, const struct file *f, const struct vio_tree_req *r)
{
	return l->file == f && l->owner != r->owner && l->flock == r->flock && l->l.start <= r->lock.end && l->l.end >= r->lock.start &&
	    (l->l.type == F_WRLCK || r->lock.type == F_WRLCK);
}

static const struct lock *clashing(const struct memory *m, const struct file *f, const struct vio_tree_req *r)
{
	const struct lock *l = m->locks;

	while (l && !clash(l, f, r))
		l = l->next;
	return r->lock.type == F_UNLCK ? NULL : l;
}

/* An owner's locks that overlap go as a whole: no test cuts one. */
static int set_lock(struct memory *m, struct file *f, const struct vio_tree_req *r)
{
	for (struct lock **p = &m->locks; *p; ) {
		struct lock *l = *p;
		if (l->file != f || l->owner != r->owner || l->flock != r->flock || l->l.start > r->lock.end || l->l.end < r->lock.start) {
			p = &l->next;
			continue;
		}
		*p = l->next;
		m->count.locks--;
		free(l);
	}
	if (r->lock.type == F_UNLCK)
		return 0;
	struct lock *l = m->count.locks < LOCKS ? calloc(1, sizeof *l) : NULL;
	if (!l)
		return ENOLCK;
	*l = (struct lock){ m->locks, f, r->owner, r->flock, r->lock };
	m->locks = l;
	m->count.locks++;
	return 0;
}

static int setlk(struct memory *m, struct vio_tree_req *r)
{
	struct handle *h = find_handle(m, r->handle, r->node);

	if (!h || h->dir)
		return EBADF;
	if (!clashing(m, h->file, r))
		return set_lock(m, h->file, r);
	if (!r->wait)
		return EAGAIN;
	r->next = m->waiting;
	m->waiting = r;
	return -1;
}

static int getlk(struct memory *m, struct vio_tree_req *r)
{
	struct handle *h = find_handle(m, r->handle, r->node);

	if (!h || h->dir)
		return EBADF;
	const struct lock *l = clashing(m, h->file, r);
	if (l)
		r->lock = l->l;
	else
		r->lock.type = F_UNLCK;
	return 0;
}

void vio_tree_memory_retry(struct memory *m)
{
	struct vio_tree_req *r = m->waiting;

	m->waiting = NULL;
	while (r) {
		struct vio_tree_req *next = r->next;
		int error = setlk(m, r);
		if (error >= 0)
			r->done(r, error);
		r = next;
	}
}

/* ---- Operations on names ---- */

static int directory(struct memory *m, uint64_t node, struct file **dir)
{
	*dir = find(m, node);
	return !*dir ? ESTALE : S_ISDIR((*dir)->attr.mode) ? 0 : ENOTDIR;
}

static void check_name(const char *name, bool dots)
{
	size_t n = strlen(name);

	assert(n && n <= VIO_TREE_NAME && !strchr(name, '/'));
	assert(dots || (strcmp(name, ".") && strcmp(name, "..")));
}

static int lookup(struct memory *m, struct vio_tree_req *r)
{
	struct file *dir;
	int error = directory(m, r->node, &dir);

	check_name(r->name, true);
	if (error)
		return error;
	if (!strcmp(r->name, ".."))
		dir = dir->parent ? dir->parent : dir;
	if (r->name[0] == '.' && (!r->name[1] || !strcmp(r->name, ".."))) {
		tell_entry(r, dir);
		return 0;
	}
	struct entry *e = *find_entry(dir, r->name);
	if (e)
		tell_entry(r, e->file);
	else
		r->entry.node = 0;
	return 0;
}

static int create(struct memory *m, struct vio_tree_req *r, uint32_t mode, struct file **made)
{
	struct file *dir, *f;
	int error = directory(m, r->node, &dir);

	check_name(r->name, false);
	assert(r->group_count <= VIO_TREE_GROUPS && (!r->security_name || r->security.left <= VIO_TREE_XATTR));
	if (error)
		return error;
	if (*find_entry(dir, r->name))
		return EEXIST;
	f = new_file(m, r, mode);
	if (!f)
		return ENOSPC;
	error = link_in(dir, r->name, f);
	if (error) {
		let_go(m, f);
		return error;
	}
	*made = f;
	tell_entry(r, f);
	return 0;
}

static int make(struct memory *m, struct vio_tree_req *r)
{
	struct file *f;
	bool dir = r->op == VIO_TREE_MKDIR;
	int error = create(m, r, dir ? S_IFDIR | (r->mode & 07777) : r->mode & S_IFMT ? r->mode : S_IFREG | r->mode, &f);

	if (!error && r->op == VIO_TREE_MKNOD)
		f->attr.rdev = r->entry.attr.rdev = r->rdev;
	return error;
}

static int make_link(struct memory *m, struct vio_tree_req *r)
{
	unsigned char target[VIO_TREE_TARGET];
	struct file *f;
	uint64_t n = r->bytes.left;

	assert(n >= 1 && n <= VIO_TREE_TARGET);
	vio_cur_get(&r->bytes, target, n);
	int error = create(m, r, S_IFLNK | 0777, &f);
	if (error)
		return error;
	error = resize(m, f, n);
	if (!error)
		memcpy(f->bytes, target, n);
	r->entry.attr = f->attr;
	return error;
}

static int create_open(struct memory *m, struct vio_tree_req *r)
{
	struct file *f;
	int error;

	if (r->op == VIO_TREE_TMPFILE) {
		error = directory(m, r->node, &f);
		if (error)
			return error;
		f = new_file(m, r, S_IFREG | (r->mode & 07777));
		if (!f)
			return ENOSPC;
		f->attr.nlink = 0;
		tell_entry(r, f);
	} else {
		error = create(m, r, S_IFREG | (r->mode & 07777), &f);
		if (error)
			return error;
	}
	return open_file(m, r, f, false);
}

static int remove_name(struct memory *m, struct vio_tree_req *r)
{
	struct file *dir;
	int error = directory(m, r->node, &dir);

	check_name(r->name, false);
	if (error)
		return error;
	struct entry **e = find_entry(dir, r->name);
	if (!*e)
		return ENOENT;
	if (r->op == VIO_TREE_RMDIR && !S_ISDIR((*e)->file->attr.mode))
		return ENOTDIR;
	if (r->op == VIO_TREE_UNLINK && S_ISDIR((*e)->file->attr.mode))
		return EISDIR;
	if ((*e)->file->entries)
		return ENOTEMPTY;
	unlink_from(m, e);
	return 0;
}

static bool inside(const struct file *dir, const struct file *of)
{
	while (dir && dir != of)
		dir = dir->parent;
	return dir;
}

static int exchange(struct file *from, struct file *to, struct entry *a, struct entry *b)
{
	struct file *f = a->file;

	if (inside(from, b->file) || inside(to, a->file))
		return EINVAL;
	a->file = b->file;
	b->file = f;
	if (S_ISDIR(a->file->attr.mode))
		a->file->parent = from;
	if (S_ISDIR(b->file->attr.mode))
		b->file->parent = to;
	return 0;
}

static int rename_name(struct memory *m, struct vio_tree_req *r)
{
	enum { NOREPLACE = 1, EXCHANGE = 2, WHITEOUT = 4 };
	struct file *from, *to;
	int error = directory(m, r->node, &from);

	check_name(r->name, false);
	check_name(r->name2, false);
	if (!error)
		error = directory(m, r->node2, &to);
	if (error)
		return error;
	struct entry *e = *find_entry(from, r->name), **old = find_entry(to, r->name2);
	if (!e)
		return ENOENT;
	if (r->flags & WHITEOUT)
		return EINVAL;
	if (r->flags & EXCHANGE)
		return *old ? exchange(from, to, e, *old) : ENOENT;
	if (*old && r->flags & NOREPLACE)
		return EEXIST;
	if (*old && (*old)->file == e->file)
		return 0;
	if (S_ISDIR(e->file->attr.mode) && inside(to, e->file))
		return EINVAL;
	if (*old && (*old)->file->entries)
		return ENOTEMPTY;
	if (is_gone(to))
		return ENOENT;
	if (*old)
		unlink_from(m, old);
	error = link_in(to, r->name2, e->file);
	if (!error)
		unlink_from(m, find_entry(from, r->name));
	return error;
}

static int link_file(struct memory *m, struct vio_tree_req *r)
{
	struct file *f = find(m, r->node), *dir;
	int error = directory(m, r->node2, &dir);

	check_name(r->name2, false);
	if (!f || error)
		return f ? error : ESTALE;
	if (S_ISDIR(f->attr.mode))
		return EPERM;
	if (*find_entry(dir, r->name2))
		return EEXIST;
	error = link_in(dir, r->name2, f);
	if (error)
		return error;
	f->attr.nlink = f->names;
	tell_entry(r, f);
	return 0;
}

/* ---- Operations on files ---- */

static int getattr(struct memory *m, struct vio_tree_req *r)
{
	struct file *f = find(m, r->node);

	if (r->has_handle && !find_handle(m, r->handle, r->node))
		return EBADF;
	if (!f)
		return ESTALE;
	r->entry.attr = f->attr;
	return 0;
}

static int setattr(struct memory *m, struct vio_tree_req *r)
{
	struct file *f = find(m, r->node);
	const struct vio_tree_attr *c = &r->change;

	if (!f)
		return ESTALE;
	if (r->set & VIO_TREE_SET_SIZE) {
		int error = S_ISREG(f->attr.mode) ? resize(m, f, c->size) : EISDIR;
		if (error)
			return error;
	}
	if (r->set & VIO_TREE_SET_MODE)
		f->attr.mode = (f->attr.mode & S_IFMT) | (c->mode & 07777);
	if (r->set & VIO_TREE_SET_UID)
		f->attr.uid = c->uid;
	if (r->set & VIO_TREE_SET_GID)
		f->attr.gid = c->gid;
	if (r->set & VIO_TREE_SET_ATIME)
		f->attr.atime = c->atime;
	if (r->set & VIO_TREE_SET_MTIME)
		f->attr.mtime = c->mtime;
	r->entry.attr = f->attr;
	return 0;
}

static int readlink_file(struct memory *m, struct vio_tree_req *r)
{
	struct file *f = find(m, r->node);

	if (!f || !S_ISLNK(f->attr.mode))
		return f ? EINVAL : ESTALE;
	r->result = f->attr.size < r->bytes.left ? f->attr.size : r->bytes.left;
	vio_cur_put(&r->bytes, f->bytes, r->result);
	return 0;
}

static int open_node(struct memory *m, struct vio_tree_req *r)
{
	struct file *f = find(m, r->node);
	bool dir = r->op == VIO_TREE_OPENDIR;

	if (!f)
		return ESTALE;
	if (dir != S_ISDIR(f->attr.mode))
		return dir ? ENOTDIR : EISDIR;
	if (!dir && !S_ISREG(f->attr.mode))
		return ENXIO;			/* never a device, a pipe, a link */
	if (r->flags & O_TRUNC)
		resize(m, f, 0);
	return open_file(m, r, f, dir);
}

static int release(struct memory *m, struct vio_tree_req *r)
{
	struct handle *h = find_handle(m, r->handle, r->node);

	if (h && r->flock)
		drop_locks(m, h->file, &r->owner, true);
	if (h)
		close_handle(m, h);
	return 0;
}

static int flush_file(struct memory *m, struct vio_tree_req *r)
{
	struct handle *h = find_handle(m, r->handle, r->node);

	if (!h)
		return EBADF;
	drop_locks(m, h->file, &r->owner, false);
	return 0;
}

static int read_file(struct memory *m, struct vio_tree_req *r)
{
	struct handle *h = find_handle(m, r->handle, r->node);

	if (!h || h->dir)
		return EBADF;
	uint64_t size = h->file->attr.size, n = r->offset < size ? size - r->offset : 0;
	if (n > r->bytes.left)
		n = r->bytes.left;
	if (every(m->count.requests, m->faults.short_every))
		n /= 2;
	if (n)
		vio_cur_put(&r->bytes, h->file->bytes + r->offset, n);
	r->result = n;
	return 0;
}

static int write_file(struct memory *m, struct vio_tree_req *r)
{
	struct handle *h = find_handle(m, r->handle, r->node);
	uint64_t n = r->bytes.left;

	if (!h || h->dir)
		return EBADF;
	if (every(m->count.requests, m->faults.short_every))
		n /= 2;
	assert(r->offset <= INT64_MAX - n);
	if (n && r->offset + n > h->file->attr.size) {
		int error = resize(m, h->file, r->offset + n);
		if (error)
			return error;
	}
	if (n)
		vio_cur_get(&r->bytes, h->file->bytes + r->offset, n);
	r->result = n;
	return 0;
}

static int readdir(struct memory *m, struct vio_tree_req *r)
{
	struct handle *h = find_handle(m, r->handle, r->node);
	uint64_t at = 2;

	if (!h || !h->dir)
		return EBADF;
	struct file *dir = h->file, *up = dir->parent ? dir->parent : dir;
	if (r->offset < 1 && !r->emit(r, ".", 1, dir->number, 4, 1, NULL))
		return 0;
	if (r->offset < 2 && !r->emit(r, "..", 2, up->number, 4, 2, NULL))
		return 0;
	for (struct entry *e = dir->entries; e; e = e->next) {
		if (at++ < r->offset)
			continue;
		struct vio_tree_entry entry = { e->file->number, 0, e->file->attr };
		bool plus = r->op == VIO_TREE_READDIRPLUS;
		if (!r->emit(r, e->name, strlen(e->name), e->file->number, type_of(e->file) >> 12, at, plus ? &entry : NULL))
			return 0;
		e->file->lookups += plus;
	}
	return 0;
}

static int fallocate_file(struct memory *m, struct vio_tree_req *r)
{
	struct handle *h = find_handle(m, r->handle, r->node);

	if (!h || h->dir)
		return EBADF;
	uint64_t size = h->file->attr.size, end = r->offset + r->length;
	assert(r->length && end <= INT64_MAX);
	if (r->flags == 0)
		return end > size ? resize(m, h->file, end) : 0;
	if (r->flags != 3)		/* punch a hole, keep the size */
		return EOPNOTSUPP;
	if (r->offset < size)
		memset(h->file->bytes + r->offset, 0, (end < size ? end : size) - r->offset);
	return 0;
}

static int seek(struct memory *m, struct vio_tree_req *r)
{
	struct handle *h = find_handle(m, r->handle, r->node);

	if (!h)
		return EBADF;
	uint64_t size = h->file->attr.size;
	if (r->flags == 1)
		return EINVAL;
	if (r->flags >= 3 && r->offset >= size)
		return ENXIO;
	r->result = r->flags == 2 ? size + r->offset : r->flags == 4 ? size : r->offset;
	return r->result > INT64_MAX ? EINVAL : 0;
}

static int copy_range(struct memory *m, struct vio_tree_req *r)
{
	struct handle *from = find_handle(m, r->handle, r->node), *to = find_handle(m, r->handle2, r->node2);

	if (!from || !to || from->dir || to->dir)
		return EBADF;
	assert(r->length <= UINT32_MAX && r->offset <= INT64_MAX - r->length && r->offset2 <= INT64_MAX - r->length);
	uint64_t size = from->file->attr.size, n = r->offset < size ? size - r->offset : 0;
	if (n > r->length)
		n = r->length;
	if (n && r->offset2 + n > to->file->attr.size) {
		int error = resize(m, to->file, r->offset2 + n);
		if (error)
			return error;
	}
	if (n)
		memmove(to->file->bytes + r->offset2, from->file->bytes + r->offset, n);
	r->result = n;
	return 0;
}

static int statfs(struct memory *m, struct vio_tree_req *r)
{
	if (!find(m, r->node))
		return ESTALE;
	r->statfs = (struct vio_tree_statfs){ BYTES / 4096, (BYTES - m->bytes) / 4096, (BYTES - m->bytes) / 4096, FILES,
		FILES - m->file_count, 4096, 4096, VIO_TREE_NAME };
	return 0;
}

static int ioctl_file(struct memory *m, struct vio_tree_req *r)
{
	enum { GETFLAGS = 0x6601, SETFLAGS = 0x6602 };	/* the low half of FS_IOC_... */

	if (!find_handle(m, r->handle, r->node))
		return EBADF;
	if ((r->flags & 0xffff) == SETFLAGS)
		return r->bytes_in.left >= 4 ? 0 : EINVAL;
	if ((r->flags & 0xffff) != GETFLAGS)
		return ENOTTY;
	vio_cur_zero(&r->bytes, r->length);
	return 0;
}

/* ---- Extended attributes ---- */

static struct xattr **find_xattr(struct file *f, const char *name)
{
	struct xattr **x = &f->xattrs;

	while (*x && strcmp((*x)->name, name))
		x = &(*x)->next;
	return x;
}

static void drop_xattr(struct memory *m, struct xattr **at)
{
	struct xattr *x = *at;

	*at = x->next;
	m->bytes -= x->size;
	free(x);
}

static int setxattr(struct memory *m, struct vio_tree_req *r)
{
	enum { CREATE = 1, REPLACE = 2 };
	struct file *f = find(m, r->node);
	unsigned n = 0;

	assert(r->bytes.left <= VIO_TREE_XATTR && *r->name);
	if (!f)
		return ESTALE;
	struct xattr **at = find_xattr(f, r->name);
	if (*at ? r->flags & CREATE : r->flags & REPLACE)
		return *at ? EEXIST : ENODATA;
	for (struct xattr *x = f->xattrs; x; x = x->next)
		n++;
	if (n >= XATTRS || r->bytes.left > BYTES - m->bytes)
		return ENOSPC;
	struct xattr *x = calloc(1, sizeof *x + r->bytes.left);
	if (!x)
		return ENOSPC;
	memcpy(x->name, r->name, strlen(r->name) + 1);
	x->size = (uint32_t)r->bytes.left;
	m->bytes += x->size;
	vio_cur_get(&r->bytes, x->value, x->size);
	if (*at)
		drop_xattr(m, at);
	x->next = f->xattrs;
	f->xattrs = x;
	return 0;
}

static int give(struct vio_tree_req *r, const void *bytes, uint64_t n)
{
	r->result = n;
	if (r->bytes.left == 0)
		return 0;
	return vio_cur_put(&r->bytes, bytes, n) ? 0 : ERANGE;
}

static int getxattr(struct memory *m, struct vio_tree_req *r)
{
	struct file *f = find(m, r->node);

	if (!f)
		return ESTALE;
	const struct xattr *x = *find_xattr(f, r->name);
	if (r->op == VIO_TREE_GETXATTR)
		return x ? give(r, x->value, x->size) : ENODATA;
	if (!x)
		return ENODATA;
	drop_xattr(m, find_xattr(f, r->name));
	return 0;
}

static int listxattr(struct memory *m, struct vio_tree_req *r)
{
	struct file *f = find(m, r->node);
	char list[XATTRS * (VIO_TREE_NAME + 1)];
	size_t n = 0;

	if (!f)
		return ESTALE;
	for (const struct xattr *x = f->xattrs; x; x = x->next) {
		size_t len = strlen(x->name) + 1;
		memcpy(list + n, x->name, len);
		n += len;
	}
	return give(r, list, n);
}

/* ---- Sessions and forgetting ---- */

static int forget(struct memory *m, struct vio_tree_req *r)
{
	struct file *f = find(m, r->node);

	if (!f)
		return 0;
	f->lookups -= r->count < f->lookups ? r->count : f->lookups;
	let_go(m, f);
	return 0;
}

static void end_waiting(struct memory *m)
{
	while (m->waiting) {
		struct vio_tree_req *r = m->waiting;
		m->waiting = r->next;
		r->done(r, EINTR);
	}
}

int vio_tree_memory_end(struct memory *m)
{
	while (m->handles)
		close_handle(m, m->handles);
	drop_locks(m, NULL, NULL, false);
	for (struct file *f = m->files, *next; f; f = next) {
		next = f->next;
		f->lookups = 0;
		let_go(m, f);
	}
	end_waiting(m);
	return 0;
}

/* ---- The first file and the last ---- */

bool vio_tree_memory_root(struct memory *m)
{
	m->next_number = VIO_TREE_ROOT;
	return new_file(m, &(struct vio_tree_req){ .uid = 0 }, S_IFDIR | 0755);
}

static void empty(struct memory *m, struct file *dir)
{
	while (dir->entries) {
		empty(m, dir->entries->file);
		unlink_from(m, &dir->entries);
	}
}

void vio_tree_memory_empty(struct memory *m)
{
	struct file *root = m->files;

	while (root->number != VIO_TREE_ROOT)
		root = root->next;
	empty(m, root);
	assert(m->files == root && !root->next);
	free_file(m, root);
	assert(m->file_count == 0 && m->bytes == 0);
}

/* ---- The table ---- */

static int known(struct memory *m, struct vio_tree_req *r) { return find(m, r->node) ? 0 : ESTALE; }

static int known_handle(struct memory *m, struct vio_tree_req *r) { return find_handle(m, r->handle, r->node) ? 0 : EBADF; }

static int session(struct memory *m, struct vio_tree_req *r)
{
	(void)r;
	return vio_tree_memory_end(m);
}

vio_tree_memory_op *const vio_tree_memory_ops[VIO_TREE_OPS] = {
	[VIO_TREE_BEGIN] = session, [VIO_TREE_END] = session, [VIO_TREE_LOOKUP] = lookup, [VIO_TREE_FORGET] = forget,
	[VIO_TREE_GETATTR] = getattr, [VIO_TREE_SETATTR] = setattr, [VIO_TREE_READLINK] = readlink_file,
	[VIO_TREE_SYMLINK] = make_link, [VIO_TREE_MKNOD] = make, [VIO_TREE_MKDIR] = make, [VIO_TREE_UNLINK] = remove_name,
	[VIO_TREE_RMDIR] = remove_name, [VIO_TREE_RENAME] = rename_name, [VIO_TREE_LINK] = link_file,
	[VIO_TREE_OPEN] = open_node, [VIO_TREE_READ] = read_file, [VIO_TREE_WRITE] = write_file, [VIO_TREE_STATFS] = statfs,
	[VIO_TREE_RELEASE] = release, [VIO_TREE_FSYNC] = known_handle, [VIO_TREE_SETXATTR] = setxattr,
	[VIO_TREE_GETXATTR] = getxattr, [VIO_TREE_LISTXATTR] = listxattr, [VIO_TREE_REMOVEXATTR] = getxattr,
	[VIO_TREE_FLUSH] = flush_file, [VIO_TREE_OPENDIR] = open_node, [VIO_TREE_READDIR] = readdir,
	[VIO_TREE_READDIRPLUS] = readdir, [VIO_TREE_RELEASEDIR] = release, [VIO_TREE_FSYNCDIR] = known_handle,
	[VIO_TREE_GETLK] = getlk, [VIO_TREE_SETLK] = setlk, [VIO_TREE_ACCESS] = known, [VIO_TREE_CREATE] = create_open,
	[VIO_TREE_TMPFILE] = create_open, [VIO_TREE_FALLOCATE] = fallocate_file, [VIO_TREE_LSEEK] = seek,
	[VIO_TREE_COPY_RANGE] = copy_range, [VIO_TREE_SYNCFS] = known, [VIO_TREE_STATX] = getattr, [VIO_TREE_IOCTL] = ioctl_file,
};
