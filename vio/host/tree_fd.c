/*
 * A node's descriptor: O_PATH, which opens nothing and keeps the inode.
 *
 * A million nodes do not need a million descriptors.  Each shard lists its nodes that have one, oldest first; those
 * beyond the limit give theirs up (unless it was used since the list was last looked through).  Such a node is found again
 *   - by its file handle, where the kernel grants them: exact, whatever has become of the name; or
 *   - by parent and name, and then it must still be the same file: device, inode, mount, and time of birth;
 * and when it is not found, or is not the same, the answer is ESTALE.
 */
#include <vio/host/tree_host.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOOKED_THROUGH = 64 };		/* nodes, for one to give up */
enum { DEPTH = 256 };			/* folders on the way to a node that is found again by names */
enum { HANDLE_BYTES = MAX_HANDLE_SZ };

/* ---- The list of those that have one (with the shard's lock) ---- */

void vio_node_list(struct vio_node_shard *s, struct vio_node *n, int fd)
{
	n->fd = fd;
	n->next = NULL;
	n->listed = true;
	*s->newest = n;
	s->newest = &n->next;
	s->descriptors++;
}

static struct vio_node *take_oldest(struct vio_node_shard *s)
{
	struct vio_node *n = s->oldest;

	s->oldest = n->next;
	if (!s->oldest)
		s->newest = &s->oldest;
	n->next = NULL;
	return n;
}

/* The one to give up, pinned and held; NULL: none can now. */
static struct vio_node *choose(struct vio_node_shard *s)
{
	struct vio_node *n;

	for (unsigned i = 0; i < LOOKED_THROUGH && s->oldest; i++) {
		n = take_oldest(s);
		*s->newest = n;
		s->newest = &n->next;
		if (!n->held && !n->used && !n->kept) {
			n->pins++;
			n->held++;
			return n;
		}
		n->used = false;
	}
	return NULL;
}

/* With the lock. */
static void strike(struct vio_node_shard *s, struct vio_node *n)
{
	struct vio_node **at = &s->oldest;

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	if (!*at)
		s->newest = at;
	n->next = NULL;
	n->listed = false;
	s->descriptors--;
}

/* ---- File handles ---- */

/* A descriptor in the mount, as open_by_handle_at(2) wants one (not O_PATH); -1: none is known. */
static int mount_fd(struct vio_host_tree *t, uint64_t mount)
{
	int fd = -1;

	pthread_mutex_lock(&t->mounts_lock);
	for (unsigned i = 0; i < t->mounts && fd < 0; i++)
		if (t->mount[i].mount == mount)
			fd = t->mount[i].fd;
	pthread_mutex_unlock(&t->mounts_lock);
	return fd;
}

/* The first folder of a mount that gives up its descriptor makes it known. */
static bool know_mount(struct vio_host_tree *t, struct vio_node *n)
{
	if (mount_fd(t, n->mount) >= 0)
		return true;
	int fd = n->type == S_IFDIR ? vio_node_open(t, n, n->fd, O_RDONLY | O_DIRECTORY) : -1;
	if (fd < 0)
		return false;
	pthread_mutex_lock(&t->mounts_lock);
	bool room = t->mounts < VIO_TREE_MOUNTS;
	if (room) {
		t->mount[t->mounts].mount = n->mount;
		t->mount[t->mounts++].fd = fd;
	}
	pthread_mutex_unlock(&t->mounts_lock);
	if (!room)
		close(fd);
	return room;
}

static struct vio_node_handle *handle_of(int fd)
{
	union { struct file_handle h; char room[sizeof(struct file_handle) + HANDLE_BYTES]; } u = { .h.handle_bytes = HANDLE_BYTES };
	int mount;

	if (name_to_handle_at(fd, "", &u.h, &mount, AT_EMPTY_PATH) < 0)
		return NULL;
	struct vio_node_handle *h = malloc(sizeof *h + u.h.handle_bytes);
	if (h) {
		h->type = u.h.handle_type;
		h->bytes = (uint8_t)u.h.handle_bytes;
		memcpy(h->data, u.room + sizeof(struct file_handle), h->bytes);
	}
	return h;
}

static int open_handle(struct vio_host_tree *t, const struct vio_node *n)
{
	union { struct file_handle h; char room[sizeof(struct file_handle) + HANDLE_BYTES]; } u =
	    { .h = { .handle_bytes = n->handle->bytes, .handle_type = n->handle->type } };

	memcpy(u.room + sizeof(struct file_handle), n->handle->data, n->handle->bytes);
	int fd = open_by_handle_at(mount_fd(t, n->mount), &u.h, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- Giving up ---- */

/* One node of the shard that can be found again gives up its descriptor.  False: none can. */
static bool give_up(struct vio_host_tree *t, struct vio_node_shard *s)
{
	pthread_mutex_lock(&s->lock);
	struct vio_node *n = s->descriptors > t->descriptors_per_shard ? choose(s) : NULL;
	bool wants_handle = n && t->handles && !n->handle;
	pthread_mutex_unlock(&s->lock);
	if (!n)
		return false;
	struct vio_node_handle *h = wants_handle && know_mount(t, n) ? handle_of(n->fd) : NULL;
	pthread_mutex_lock(&s->lock);
	int fd = -1;
	if (!n->handle)
		n->handle = h;
	else
		free(h);
	if (--n->held == 0 && !n->kept && (n->handle || n->parent)) {
		fd = n->fd;
		n->fd = -1;
		strike(s, n);
	}
	pthread_mutex_unlock(&s->lock);
	if (fd >= 0)
		vio_tree_pool_close(t->pool, fd);
	vio_node_put(t, n);
	return fd >= 0;
}

void vio_node_trim(struct vio_host_tree *t, struct vio_node_shard *s)
{
	while (give_up(t, s))
		;
}

void vio_node_keep(struct vio_host_tree *t, struct vio_node *n)
{
	struct vio_node_shard *s = vio_node_shard(t, n);

	if (vio_node_hold(t, n, true) < 0)
		return;
	pthread_mutex_lock(&s->lock);
	if (!n->kept && !n->handle && t->kept < t->o.max_descriptors / 2) {
		n->kept = true;
		t->kept++;
	}
	pthread_mutex_unlock(&s->lock);
	vio_node_drop(t, n);
}

/* ---- Finding again ---- */

/* What an ancestor's descriptor is had from, copied under the lock. */
struct way { struct vio_node *parent; bool handle; char name[VIO_TREE_NAME + 1]; };

/* False: it has a descriptor. */
static bool way_to(struct vio_host_tree *t, struct vio_node *n, struct way *w)
{
	struct vio_node_shard *s = vio_node_shard(t, n);

	pthread_mutex_lock(&s->lock);
	bool lacks = n->fd < 0;
	w->handle = n->handle != NULL;	/* which stays as it is */
	w->parent = lacks ? n->parent : NULL;
	if (w->parent) {
		vio_node_pin(w->parent);
		memcpy(w->name, n->name, strlen(n->name) + 1);
	}
	pthread_mutex_unlock(&s->lock);
	return lacks;
}

static bool has_descriptor(struct vio_host_tree *t, struct vio_node *n)
{
	struct vio_node_shard *s = vio_node_shard(t, n);

	pthread_mutex_lock(&s->lock);
	bool has = n->fd >= 0;
	pthread_mutex_unlock(&s->lock);
	return has;
}

static bool is_it(int fd, const struct vio_node *n)
{
	struct statx x;
	struct vio_node_key k;

	if (statx(fd, "", AT_EMPTY_PATH, VIO_STATX_MASK, &x) < 0)
		return false;
	vio_key_of(&x, &k);
	return k.ino == n->ino && k.dev == n->dev && k.mount == n->mount && k.type == n->type && k.born == n->born;
}

static int open_name(struct vio_host_tree *t, const struct vio_node *n, const struct way *w)
{
	int in = vio_node_hold(t, w->parent, false);

	if (in < 0)
		return in == VIO_TREE_ELSEWHERE ? -EAGAIN : in;	/* given up again meanwhile */
	int fd = openat(in, w->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int error = errno;
	vio_node_drop(t, w->parent);
	if (fd < 0)
		return error == ENOENT || error == ENOTDIR ? -ESTALE : -error;
	if (is_it(fd, n))
		return fd;
	close(fd);
	return -ESTALE;
}

/* One node whose parent has a descriptor, or which needs none: 0 or -errno. */
static int open_again(struct vio_host_tree *t, struct vio_node *n, const struct way *w)
{
	struct vio_node_shard *s = vio_node_shard(t, n);
	int fd = w->handle ? open_handle(t, n) : w->parent ? open_name(t, n, w) : -ESTALE;

	if (fd < 0)
		return fd;
	pthread_mutex_lock(&s->lock);
	bool late = n->fd >= 0;
	if (!late) {
		n->used = true;
		n->held++;		/* or it might be the one that is given up for it */
		vio_node_list(s, n, fd);
	}
	pthread_mutex_unlock(&s->lock);
	if (late) {
		close(fd);
		return 0;
	}
	vio_node_trim(t, s);
	vio_node_drop(t, n);
	return 0;
}

/* One step down towards n from the nearest ancestor that has a descriptor. */
static int step(struct vio_host_tree *t, struct vio_node *n)
{
	struct vio_node *at = n;
	struct way w = { 0 };
	int r = 0;

	vio_node_pin(at);
	for (unsigned depth = 0;; depth++) {
		if (!way_to(t, at, &w))
			break;
		if (w.handle || !w.parent || has_descriptor(t, w.parent)) {
			r = open_again(t, at, &w);
			break;
		}
		if (depth == DEPTH) {
			r = -ESTALE;
			break;
		}
		vio_node_put(t, at);
		at = w.parent;		/* with the way's pin */
		w.parent = NULL;
	}
	if (w.parent)
		vio_node_put(t, w.parent);
	vio_node_put(t, at);
	return r;
}

static int held_if_there(struct vio_host_tree *t, struct vio_node *n)
{
	struct vio_node_shard *s = vio_node_shard(t, n);

	if (n->id == VIO_TREE_ROOT)
		return t->root_fd;
	pthread_mutex_lock(&s->lock);
	int fd = n->fd;
	if (fd >= 0) {
		n->held++;
		n->used = true;
	}
	pthread_mutex_unlock(&s->lock);
	return fd;
}

int vio_node_hold(struct vio_host_tree *t, struct vio_node *n, bool may_wait)
{
	int fd = held_if_there(t, n);

	if (fd >= 0)
		return fd;
	if (!may_wait)
		return VIO_TREE_ELSEWHERE;
	for (unsigned i = 0; i < 4 * DEPTH; i++) {
		int r = step(t, n);
		if (r < 0 && r != -EAGAIN)
			return r;
		if ((fd = held_if_there(t, n)) >= 0)
			return fd;
	}
	return -ESTALE;
}

void vio_node_drop(struct vio_host_tree *t, struct vio_node *n)
{
	struct vio_node_shard *s = vio_node_shard(t, n);

	if (n->id == VIO_TREE_ROOT)
		return;
	pthread_mutex_lock(&s->lock);
	n->held--;
	pthread_mutex_unlock(&s->lock);
}

struct vio_node *vio_node_use(struct vio_host_tree *t, uint64_t id, bool may_wait, int *fd, int *error)
{
	struct vio_node *n = vio_node_get(t, id);

	if (!n) {
		*error = ESTALE;
		return NULL;
	}
	*fd = vio_node_hold(t, n, may_wait);
	if (*fd >= 0)
		return n;
	*error = *fd == VIO_TREE_ELSEWHERE ? VIO_TREE_ELSEWHERE : -*fd;
	vio_node_put(t, n);
	return NULL;
}

void vio_node_done(struct vio_host_tree *t, struct vio_node *n)
{
	vio_node_drop(t, n);
	vio_node_put(t, n);
}

/* ---- For input and output ---- */

static int reopen(struct vio_host_tree *t, int fd, int flags)
{
	char name[16];

	snprintf(name, sizeof name, "%d", fd);
	int r = openat(t->proc_fd, name, flags | O_CLOEXEC | O_NOCTTY);
	return r < 0 ? -errno : r;
}

int vio_node_open(struct vio_host_tree *t, struct vio_node *n, int fd, int flags)
{
	if (n->type != S_IFREG && n->type != S_IFDIR)
		return n->type == S_IFLNK ? -ELOOP : -ENXIO;
	if (n->type == S_IFREG && flags & O_DIRECTORY)
		return -ENOTDIR;
	int r = reopen(t, fd, flags);
	if (r == -EPERM && flags & O_NOATIME)
		r = reopen(t, fd, flags & ~O_NOATIME);	/* only the owner may ask for it */
	if (r != -EACCES || n->id == VIO_TREE_ROOT)
		return r;
	/* Had by its handle it may stand outside all folders, where Landlock lets nothing be opened: by its name, then. */
	struct way w = { 0 };
	struct vio_node_shard *s = vio_node_shard(t, n);
	pthread_mutex_lock(&s->lock);
	if (n->handle && (w.parent = n->parent)) {
		vio_node_pin(w.parent);
		memcpy(w.name, n->name, strlen(n->name) + 1);
	}
	pthread_mutex_unlock(&s->lock);
	if (!w.parent)
		return r;
	if (vio_node_hold(t, w.parent, true) >= 0) {
		int named = open_name(t, n, &w);
		if (named >= 0) {
			r = reopen(t, named, flags);
			close(named);
		}
		vio_node_drop(t, w.parent);
	}
	vio_node_put(t, w.parent);
	return r;
}
