/*
 * What the tests of host trees share: a folder of its own, a tree over it, and requests that are answered before the call
 * returns.  Names that a test makes behind the tree's back are relative to the folder's descriptor.
 */
#ifndef VIO_TESTS_HOST_TREE_RIG_H
#define VIO_TESTS_HOST_TREE_RIG_H
#include <vio/host/tree.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <tests/test.h>

#define ROOT VIO_TREE_ROOT
enum { RIG_SESSION = VIO_TREE_S_POSIX_ACL | VIO_TREE_S_DONT_MASK | VIO_TREE_S_SUBMOUNTS | VIO_TREE_S_KILL_PRIV };

struct rig {
	struct vio_loop *loop;
	struct vio_tree *tree;
	struct vio_tree_chan *chan;
	char path[64];			/* the parent of "share", which is shared */
	int dir;			/* the shared folder */
	unsigned in_flight;
	bool settling;
};
struct rig_req {
	struct vio_tree_req r;
	struct rig *rig;
	struct vio_seg seg;
	unsigned ended;
	int error;
	unsigned entries;		/* emit() */
	unsigned room;			/* entries that fit; 0: any number */
	char last[VIO_TREE_NAME + 1];
	uint64_t next, nodes[4];
};

static inline void rig_done(struct vio_tree_req *r, int error)
{
	struct rig_req *q = (struct rig_req *)r;

	q->ended++;
	q->error = error;
	if (--q->rig->in_flight == 0 && q->rig->settling)
		vio_loop_quit(q->rig->loop);
}

static inline bool rig_emit(struct vio_tree_req *r, const char *name, size_t len, uint64_t ino, uint32_t type, uint64_t next,
    const struct vio_tree_entry *entry)
{
	struct rig_req *q = (struct rig_req *)r;

	(void)ino;
	(void)type;
	if (q->room && q->entries == q->room)
		return false;
	memcpy(q->last, name, len);
	q->last[len] = 0;
	q->next = next;
	if (entry && q->entries < 4)
		q->nodes[q->entries] = entry->node;
	q->entries++;
	return true;
}

static inline void rig_submit(struct rig *g, struct rig_req *q)
{
	q->rig = g;
	q->r.done = rig_done;
	q->r.emit = rig_emit;
	g->in_flight++;
	g->chan->ops->submit(g->chan, &q->r);
}

static inline void rig_settle(struct rig *g)
{
	g->settling = true;
	g->chan->ops->flush(g->chan);
	while (g->in_flight)
		vio_loop_run(g->loop);
	g->settling = false;
}

static inline int rig_do(struct rig *g, struct rig_req *q)
{
	q->ended = 0;
	rig_submit(g, q);
	rig_settle(g);
	assert_int_equal(q->ended, 1);
	return q->error;
}

static inline void rig_open(struct rig *g, struct vio_tree_options o, const char *under)
{
	char share[80], why[512] = "";

	*g = (struct rig){ .loop = vio_loop_new() };
	snprintf(g->path, sizeof g->path, "%s/vio-tree-XXXXXX", under ? under : "/tmp");
	assert_non_null(mkdtemp(g->path));
	chmod(g->path, 0755);
	snprintf(share, sizeof share, "%s/share", g->path);
	assert_int_equal(mkdir(share, 0777), 0);
	chmod(share, 0777);
	g->dir = open(share, O_RDONLY | O_DIRECTORY);
	o.path = share;
	o.loops = &g->loop;
	o.loop_count = 1;
	o.queues = 1;
	g->tree = vio_tree_host_open(&o, why);
	if (!g->tree)
		fail_msg("%s", why);
	g->chan = g->tree->ops->channel(g->tree, 0);
	struct rig_req q = { .r = { .op = VIO_TREE_BEGIN, .flags = RIG_SESSION } };
	assert_int_equal(rig_do(g, &q), 0);
}

static inline int rig_remove(const char *path, const struct stat *st, int flag, struct FTW *w)
{
	(void)st;
	(void)flag;
	(void)w;
	return remove(path);
}

static inline void rig_close(struct rig *g)
{
	g->chan->ops->close(g->chan);
	g->tree->ops->forget_all(g->tree);
	vio_tree_close(g->tree);
	vio_loop_free(g->loop);
	close(g->dir);
	nftw(g->path, rig_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* ---- Single operations ---- */

static inline int rig_lookup(struct rig *g, uint64_t in, const char *name, uint64_t *node)
{
	struct rig_req q = { .r = { .op = VIO_TREE_LOOKUP, .node = in, .name = name } };
	int error = rig_do(g, &q);

	if (node)
		*node = error ? 0 : q.r.entry.node;
	return error;
}

static inline uint64_t rig_node(struct rig *g, uint64_t in, const char *name)
{
	uint64_t node;

	assert_int_equal(rig_lookup(g, in, name, &node), 0);
	return node;
}

static inline void rig_forget(struct rig *g, uint64_t node, uint64_t count)
{
	struct rig_req q = { .r = { .op = VIO_TREE_FORGET, .node = node, .count = count } };
	assert_int_equal(rig_do(g, &q), 0);
}

static inline int rig_getattr(struct rig *g, uint64_t node, struct vio_tree_attr *a)
{
	struct rig_req q = { .r = { .op = VIO_TREE_GETATTR, .node = node } };
	int error = rig_do(g, &q);

	if (a && !error)
		*a = q.r.entry.attr;
	return error;
}

static inline int rig_file(struct rig *g, uint64_t node, uint32_t flags, uint64_t *handle)
{
	struct rig_req q = { .r = { .op = VIO_TREE_OPEN, .node = node, .flags = flags } };
	int error = rig_do(g, &q);

	*handle = q.r.new_handle;
	return error;
}

static inline int rig_release(struct rig *g, uint64_t node, uint64_t handle)
{
	struct rig_req q = { .r = { .op = VIO_TREE_RELEASE, .node = node, .handle = handle } };
	return rig_do(g, &q);
}

/* By whoever uid and gid are. */
static inline int rig_create(struct rig *g, uint64_t in, const char *name, uint32_t mode, uint32_t uid, uint32_t gid,
    uint64_t *node, uint64_t *handle)
{
	struct rig_req q = { .r = { .op = VIO_TREE_CREATE, .node = in, .name = name, .mode = mode, .flags = O_RDWR | O_CREAT,
		.uid = uid, .gid = gid } };
	int error = rig_do(g, &q);

	*node = error ? 0 : q.r.entry.node;
	*handle = error ? 0 : q.r.new_handle;
	return error;
}

static inline int rig_name(struct rig *g, enum vio_tree_op op, uint64_t in, const char *name)
{
	struct rig_req q = { .r = { .op = op, .node = in, .name = name, .mode = 0755 } };
	return rig_do(g, &q);
}

static inline int rig_rename(struct rig *g, uint64_t a, const char *from, uint64_t b, const char *to, uint32_t flags)
{
	struct rig_req q = { .r = { .op = VIO_TREE_RENAME, .node = a, .name = from, .node2 = b, .name2 = to, .flags = flags } };
	return rig_do(g, &q);
}

static inline int rig_move(struct rig *g, enum vio_tree_op op, uint64_t node, uint64_t handle, uint64_t offset, void *bytes,
    size_t n, uint64_t *moved)
{
	struct rig_req q = { .seg = { bytes, n }, .r = { .op = op, .node = node, .handle = handle, .offset = offset } };
	q.r.bytes = (struct vio_cur){ .seg = &q.seg, .left = n };
	int error = rig_do(g, &q);

	if (moved)
		*moved = error ? 0 : q.r.result;
	return error;
}

static inline int rig_lock(struct rig *g, uint64_t node, uint64_t handle, uint64_t owner, uint32_t type, uint64_t start,
    uint64_t end, bool flock)
{
	struct rig_req q = { .r = { .op = VIO_TREE_SETLK, .node = node, .handle = handle, .owner = owner, .flock = flock,
		.lock = { start, end, type, 1 } } };
	return rig_do(g, &q);
}

static inline int rig_xattr(struct rig *g, enum vio_tree_op op, uint64_t node, const char *name, void *value, size_t n,
    uint64_t *size)
{
	struct rig_req q = { .seg = { value, n }, .r = { .op = op, .node = node, .name = name } };
	q.r.bytes = (struct vio_cur){ .seg = &q.seg, .left = n };
	int error = rig_do(g, &q);

	if (size)
		*size = error ? 0 : q.r.result;
	return error;
}

/* ---- Behind its back ---- */

static inline void rig_put(struct rig *g, const char *name, const char *text)
{
	int fd = openat(g->dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}
#endif
