/* Operations on names: each is one component, in a folder whose descriptor is held, and no symbolic link is followed. */
#include <vio/host/tree_host.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- LOOKUP ---- */

/* An O_PATH descriptor of a name: -errno; VIO_TREE_ELSEWHERE when the kernel does not have it in its cache. */
static int open_name(int in, const char *name, bool may_wait)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (may_wait ? 0 : RESOLVE_CACHED) };
	int fd;

	do
		fd = (int)syscall(SYS_openat2, in, name, &how, sizeof how);
	while (fd < 0 && errno == EAGAIN && may_wait);	/* somebody renames around it: try again */
	if (fd < 0)	/* EINVAL: a kernel before RESOLVE_CACHED */
		return !may_wait && (errno == EAGAIN || errno == EINVAL) ? VIO_TREE_ELSEWHERE : -errno;
	return fd;
}

/* Is it of a file system that is shared?  Fills what an entry says of it. */
static int admit(struct vio_host_tree *t, const struct statx *x, const struct vio_node *in, struct vio_node_key *k,
    struct vio_tree_entry *e)
{
	vio_key_of(x, k);
	if (t->o.no_submounts && (k->dev != t->root.dev || k->mount != t->root.mount))
		return EXDEV;
	vio_attr_of(t, x, in, &e->attr);
	return 0;
}

/* "." is a node that is known; ".." too, or it may have been moved out of the folder. */
static int look_up(struct vio_host_tree *t, struct vio_node *in, int fd, const char *name, struct vio_tree_entry *e)
{
	struct vio_node_key k;
	struct statx x;
	bool up = name[1] == '.' && in->id != VIO_TREE_ROOT;

	if (statx(fd, up ? ".." : "", up ? 0 : AT_EMPTY_PATH, VIO_STATX_MASK, &x) < 0)
		return errno;
	int error = admit(t, &x, NULL, &k, e);
	return error || vio_node_again(t, &k, &e->node) ? error : ESTALE;
}

int vio_tree_look(struct vio_host_tree *t, struct vio_node *in, int fd, const char *name, bool may_wait, bool is_known,
    struct vio_tree_entry *e)
{
	struct vio_node_key k;
	struct statx x;
	int error;

	if (in->type != S_IFDIR)
		return ENOTDIR;
	e->generation = 0;
	if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
		return look_up(t, in, fd, name, e);
	if (is_known && !statx(fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, VIO_STATX_MASK, &x)) {
		error = admit(t, &x, in, &k, e);
		if (error || vio_node_again(t, &k, &e->node))
			return error;
	}
	int child = open_name(fd, name, may_wait);
	if (child < 0)
		return child == VIO_TREE_ELSEWHERE ? child : -child;
	error = statx(child, "", AT_EMPTY_PATH, VIO_STATX_MASK, &x) < 0 ? errno : admit(t, &x, in, &k, e);
	if (error) {
		close(child);
		return error;
	}
	return vio_node_enter(t, in, name, &k, child, &e->node);
}

/* Names that were found a short while ago are likely to be known nodes, and to be cached.  A guess: it decides no answer. */
enum { HINTS = 4096 };
static uint64_t *hint_of(const struct vio_tree_req *r, uint64_t *value)
{
	uint64_t h = r->node * UINT64_C(0x9e3779b97f4a7c15);

	for (const char *at = r->name; *at; at++)
		h = (h ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	*value = h;
	return &vio_tree_chan_of(r)->hint[h % HINTS];
}

int vio_tree_lookup(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	uint64_t value, *hint = hint_of(r, &value);
	int fd, error;
	struct vio_node *in = vio_node_use(t, r->node, may_wait, &fd, &error);

	if (!in)
		return error;
	bool is_known = may_wait || *hint == value;	/* in a pool thread the hints are not ours to touch */
	error = vio_tree_look(t, in, fd, r->name, may_wait, is_known, &r->entry);
	if (!may_wait)
		*hint = error ? *hint : value;
	vio_node_done(t, in);
	return error;
}

bool vio_tree_hints_init(struct vio_host_tree *t)
{
	size_t each = HINTS * sizeof(uint64_t);
	uint64_t *all = mmap(NULL, t->channels * each, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (all == MAP_FAILED)
		return false;
	for (unsigned i = 0; i < t->channels; i++)
		t->chan[i].hint = all + i * HINTS;
	return true;
}

void vio_tree_hints_free(struct vio_host_tree *t)
{
	if (t->chan && t->chan[0].hint)
		munmap(t->chan[0].hint, t->channels * HINTS * sizeof(uint64_t));
}

/* ---- Making ---- */

/* The attribute that a security module of the guest wants on what was created; on failure the new file goes again. */
static int label(struct vio_host_tree *t, const struct vio_tree_req *r, int fd)
{
	char name[16], *value;
	uint64_t n = r->security.left;
	struct vio_cur from = r->security;

	if (!r->security_name)
		return 0;
	if (t->o.xattr == VIO_TREE_XATTR_OFF || n > VIO_TREE_XATTR || !(value = malloc(n ? n : 1)))
		return EOPNOTSUPP;
	vio_cur_get(&from, value, n);
	snprintf(name, sizeof name, "%d", fd);
	int error = vio_xattr_set(t, name, r->security_name, value, n, 0);
	free(value);
	return error;
}

/* What stands there now is a node, labelled. */
static int made(struct vio_host_tree *t, struct vio_tree_req *r, struct vio_node *in, int fd, int remove_flags)
{
	int error = vio_tree_look(t, in, fd, r->name, true, false, &r->entry), child;
	struct vio_node *n = !error && r->security_name ? vio_node_use(t, r->entry.node, true, &child, &error) : NULL;

	if (!n)
		return error;
	error = label(t, r, child);
	vio_node_done(t, n);
	if (error) {
		unlinkat(fd, r->name, remove_flags);
		vio_node_forget(t, r->entry.node, 1);
	}
	return error;
}

static uint32_t mask_of(const struct vio_host_tree *t, const struct vio_tree_req *r)
{
	return t->session & VIO_TREE_S_DONT_MASK ? r->umask & 0777 : 0;
}

/* Squashed, somebody may create in another's name: no program that runs as that one. */
static mode_t mode_of(const struct vio_host_tree *t, const struct vio_tree_req *r)
{
	bool other = t->o.uid.squash && r->uid != vio_id_to_guest(&t->o.uid, t->o.uid.squash_to);

	return r->mode & (other ? 01777 : 07777);
}

int vio_tree_symlink(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	char target[VIO_TREE_TARGET + 1];
	uint64_t n = r->bytes.left;
	int fd, error;

	if (n == 0 || n > VIO_TREE_TARGET)
		return n ? ENAMETOOLONG : ENOENT;
	vio_cur_get(&r->bytes, target, n);
	target[n] = 0;
	if (strlen(target) != n)
		return EINVAL;
	struct vio_node *in = vio_node_use(t, r->node, may_wait, &fd, &error);
	if (!in)
		return error;
	if (!(error = vio_id_enter(t, r, 0))) {
		error = symlinkat(target, fd, r->name) < 0 ? errno : 0;
		vio_id_leave(t, r);
	}
	if (!error)
		error = made(t, r, in, fd, 0);
	vio_node_done(t, in);
	return error;
}

int vio_tree_mknod(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	uint32_t type = r->mode & S_IFMT, major = r->rdev >> 8 & 0xfff, minor = (r->rdev & 0xff) | (r->rdev >> 12 & 0xfff00);
	bool device = type == S_IFBLK || type == S_IFCHR, whiteout = type == S_IFCHR && !r->rdev;
	int fd, error;

	if (!device && type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return EINVAL;
	/* On the host a device node could be opened by somebody else; a whiteout (0:0) is none. */
	if (device && !whiteout && !t->o.devices)
		return EPERM;
	struct vio_node *in = vio_node_use(t, r->node, may_wait, &fd, &error);
	if (!in)
		return error;
	if (!(error = vio_id_enter(t, r, mask_of(t, r)))) {
		error = mknodat(fd, r->name, type | mode_of(t, r), device ? makedev(major, minor) : 0) < 0 ? errno : 0;
		vio_id_leave(t, r);
	}
	if (!error)
		error = made(t, r, in, fd, 0);
	vio_node_done(t, in);
	return error;
}

int vio_tree_mkdir(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	int fd, error;
	struct vio_node *in = vio_node_use(t, r->node, may_wait, &fd, &error);

	if (!in)
		return error;
	if (!(error = vio_id_enter(t, r, mask_of(t, r)))) {
		error = mkdirat(fd, r->name, mode_of(t, r)) < 0 ? errno : 0;
		vio_id_leave(t, r);
	}
	if (!error)
		error = made(t, r, in, fd, AT_REMOVEDIR);
	vio_node_done(t, in);
	return error;
}

/* ---- CREATE and TMPFILE ---- */

/* A new file's descriptor (taken) becomes a node and a handle.  in NULL: it has no name. */
static int adopt(struct vio_host_tree *t, struct vio_tree_req *r, struct vio_node *in, int fd, int flags)
{
	struct vio_node_key k;
	struct statx x;
	char name[16];

	snprintf(name, sizeof name, "%d", fd);
	int path = openat(t->proc_fd, name, O_PATH | O_CLOEXEC), error = path < 0 ? errno : label(t, r, fd);
	if (!error && statx(path, "", AT_EMPTY_PATH, VIO_STATX_MASK, &x) < 0)
		error = errno;
	if (!error)
		error = admit(t, &x, NULL, &k, &r->entry);
	if (error) {
		if (path >= 0)
			close(path);
		close(fd);
		return error;
	}
	r->entry.generation = 0;
	error = vio_node_enter(t, in, r->name, &k, path, &r->entry.node);
	struct vio_node *n = error ? NULL : vio_node_get(t, r->entry.node);
	if (!n) {			/* forgotten by a number that was guessed */
		close(fd);
		return error ? error : ESTALE;
	}
	error = vio_open_new(t, n, fd, flags, false, &r->new_handle);
	if (!error && !in)
		vio_node_keep(t, n);
	vio_node_put(t, n);
	if (error)
		vio_node_forget(t, r->entry.node, 1);
	r->open_flags = vio_open_answer(t, false);
	return error;
}

/* The name is taken: what stands there is opened, as OPEN would. */
static int open_existing(struct vio_host_tree *t, struct vio_tree_req *r, struct vio_node *in, int dir)
{
	int error = vio_tree_look(t, in, dir, r->name, true, true, &r->entry);

	if (error)
		return error;
	uint64_t node = r->node;
	r->node = r->entry.node;
	r->flags &= ~(uint32_t)(O_CREAT | O_EXCL);
	error = vio_tree_opening(t, r, true);
	r->node = node;
	if (error)
		vio_node_forget(t, r->entry.node, 1);
	return error;
}

int vio_tree_create(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	int dir, error, flags = vio_open_flags(t, r->flags), fd = -1;
	struct vio_node *in = vio_node_use(t, r->node, may_wait, &dir, &error);

	if (!in)
		return error;
	if (!(error = vio_id_enter(t, r, mask_of(t, r)))) {
		fd = openat(dir, r->name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, mode_of(t, r));
		error = fd < 0 ? errno : 0;
		vio_id_leave(t, r);
	}
	if (error == EEXIST && !(r->flags & O_EXCL))
		error = open_existing(t, r, in, dir);
	else if (!error && (error = adopt(t, r, in, fd, flags)))
		unlinkat(dir, r->name, 0);
	vio_node_done(t, in);
	return error;
}

int vio_tree_tmpfile(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	int dir, error, flags = vio_open_flags(t, r->flags) & ~O_TRUNC, fd = -1;
	struct vio_node *in = vio_node_use(t, r->node, may_wait, &dir, &error);

	if (!in)
		return error;
	flags |= r->flags & O_EXCL;	/* it may never have a name */
	if (in->type != S_IFDIR)
		error = ENOTDIR;
	else if (!(error = vio_id_enter(t, r, mask_of(t, r)))) {
		fd = openat(dir, ".", flags | O_TMPFILE | O_CLOEXEC, mode_of(t, r));
		error = fd < 0 ? errno : 0;
		vio_id_leave(t, r);
	}
	if (!error)
		error = adopt(t, r, NULL, fd, flags);
	vio_node_done(t, in);
	return error;
}

/* ---- Removing and renaming ---- */

static struct vio_node *node_at(struct vio_host_tree *t, int dir, const char *name)
{
	struct vio_node_key k;
	struct statx x;

	if (statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, VIO_STATX_MASK, &x) < 0)
		return NULL;
	vio_key_of(&x, &k);
	return vio_node_of(t, &k);
}

/* A name is about to go: a node that could only be found again by it keeps its descriptor. */
static void keep(struct vio_host_tree *t, int dir, const char *name)
{
	struct vio_node *n = t->handles ? NULL : node_at(t, dir, name);

	if (!n)
		return;
	vio_node_keep(t, n);
	vio_node_put(t, n);
}

static int removal(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait, int flags)
{
	int dir, error;
	struct vio_node *in = vio_node_use(t, r->node, may_wait, &dir, &error);

	if (!in)
		return error;
	keep(t, dir, r->name);
	error = unlinkat(dir, r->name, flags) < 0 ? errno : 0;
	vio_node_done(t, in);
	return error;
}

int vio_tree_unlink(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait) { return removal(t, r, may_wait, 0); }

int vio_tree_rmdir(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	return removal(t, r, may_wait, AT_REMOVEDIR);
}

static void moved(struct vio_host_tree *t, int dir, struct vio_node *in, const char *name)
{
	struct vio_node *n = node_at(t, dir, name);

	if (!n)
		return;
	vio_node_moved(t, n, in, name);
	vio_node_put(t, n);
}

/* A whiteout is a device node that opens nothing, so it may be left behind. */
enum { NOREPLACE = 1, EXCHANGE = 2, WHITEOUT = 4 };

int vio_tree_rename(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	int from = -1, to = -1, error;

	if (r->flags & ~(uint32_t)(NOREPLACE | EXCHANGE | WHITEOUT))
		return EINVAL;
	struct vio_node *a = vio_node_use(t, r->node, may_wait, &from, &error);
	if (!a)
		return error;
	struct vio_node *b = vio_node_use(t, r->node2, may_wait, &to, &error);
	if (b) {
		if (!(r->flags & (NOREPLACE | EXCHANGE)))
			keep(t, to, r->name2);
		/* Without flags libraries make another call of it, which is not among those granted. */
		error = syscall(SYS_renameat2, from, r->name, to, r->name2, r->flags) < 0 ? errno : 0;
		if (!error) {
			moved(t, to, b, r->name2);
			if (r->flags & EXCHANGE)
				moved(t, from, a, r->name);
		}
		vio_node_done(t, b);
	}
	vio_node_done(t, a);
	return error;
}

int vio_tree_link(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	char source[16];
	int file = -1, to = -1, error;
	struct vio_node *n = vio_node_use(t, r->node, may_wait, &file, &error);

	if (!n)
		return error;
	struct vio_node *in = vio_node_use(t, r->node2, may_wait, &to, &error);
	if (in) {
		/* What /proc/self/fd leads to is the very file, even a symbolic link, which is not followed further. */
		snprintf(source, sizeof source, "%d", file);
		error = linkat(t->proc_fd, source, to, r->name2, AT_SYMLINK_FOLLOW) < 0 ? errno : 0;
		if (!error)
			error = vio_tree_look(t, in, to, r->name2, true, true, &r->entry);
		if (!error && !n->parent)
			vio_node_moved(t, n, in, r->name2);	/* had no name until now */
		vio_node_done(t, in);
	}
	vio_node_done(t, n);
	return error;
}
