/*
 * A tree that is a folder of the host: what it consists of, and which operation runs where.
 *
 *   submit --> in place: what cannot wait, up to a budget a turn
 *          --> the pool: what may wait (tree_pool.c), and what needs a thread's own umask or working directory
 *          --> the waiters: locks that somebody else has (tree_lock.c)
 */
#include <vio/host/tree_host.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BUDGET = 4 << 20 };		/* bytes in place a turn: about half a millisecond */
enum { RESERVED = 128 };		/* descriptors for everything but nodes, handles and locks */
#define NUDGE_NS 1000000u

static struct vio_host_tree *host_of(struct vio_tree *t) { return (struct vio_host_tree *)t; }
static struct vio_host_chan *chan_of(struct vio_tree_chan *c) { return (struct vio_host_chan *)c; }
struct vio_host_chan *vio_tree_chan_of(const struct vio_tree_req *r) { return r->tree_priv; }

/* ---- Operations ---- */

static void end_session(struct vio_host_tree *t)
{
	vio_opens_release_all(t);
	vio_locks_forget_all(t->locks);
	vio_nodes_forget_all(t);
}

static int begin(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	(void)may_wait;
	end_session(t);
	t->session = r->flags;
	return 0;
}

static int end(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	(void)r;
	(void)may_wait;
	end_session(t);
	return 0;
}

static int forget(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	(void)may_wait;
	vio_node_forget(t, r->node, r->count);
	return 0;
}

/* HERE: at once, always.  TRY: at once if it need not wait.  POOL: never at once. */
static const struct { vio_tree_run_fn *run; enum { POOL, TRY, HERE } where; bool writes; } ops[VIO_TREE_OPS] = {
	[VIO_TREE_BEGIN] = { begin },
	[VIO_TREE_END] = { end },
	[VIO_TREE_LOOKUP] = { vio_tree_lookup, TRY },
	[VIO_TREE_FORGET] = { forget, HERE },
	[VIO_TREE_GETATTR] = { vio_tree_getattr, TRY },
	[VIO_TREE_SETATTR] = { vio_tree_setattr, .writes = true },
	[VIO_TREE_READLINK] = { vio_tree_readlink, TRY },
	[VIO_TREE_SYMLINK] = { vio_tree_symlink, .writes = true },
	[VIO_TREE_MKNOD] = { vio_tree_mknod, .writes = true },
	[VIO_TREE_MKDIR] = { vio_tree_mkdir, .writes = true },
	[VIO_TREE_UNLINK] = { vio_tree_unlink, .writes = true },
	[VIO_TREE_RMDIR] = { vio_tree_rmdir, .writes = true },
	[VIO_TREE_RENAME] = { vio_tree_rename, .writes = true },
	[VIO_TREE_LINK] = { vio_tree_link, .writes = true },
	[VIO_TREE_OPEN] = { vio_tree_opening, TRY },
	[VIO_TREE_READ] = { vio_tree_read, TRY },
	[VIO_TREE_WRITE] = { vio_tree_write, TRY, .writes = true },
	[VIO_TREE_STATFS] = { vio_tree_statfs, TRY },
	[VIO_TREE_RELEASE] = { vio_tree_release, HERE },	/* the descriptor is closed by the pool */
	[VIO_TREE_FSYNC] = { vio_tree_fsync },
	[VIO_TREE_SETXATTR] = { vio_tree_setxattr, .writes = true },
	[VIO_TREE_GETXATTR] = { vio_tree_getxattr },
	[VIO_TREE_LISTXATTR] = { vio_tree_listxattr },
	[VIO_TREE_REMOVEXATTR] = { vio_tree_removexattr, .writes = true },
	[VIO_TREE_FLUSH] = { vio_tree_flush_file, TRY },
	[VIO_TREE_OPENDIR] = { vio_tree_opendir, TRY },
	[VIO_TREE_READDIR] = { vio_tree_readdir },
	[VIO_TREE_READDIRPLUS] = { vio_tree_readdir },
	[VIO_TREE_RELEASEDIR] = { vio_tree_release, HERE },
	[VIO_TREE_FSYNCDIR] = { vio_tree_fsync },
	[VIO_TREE_GETLK] = { vio_tree_getlk },
	[VIO_TREE_SETLK] = { vio_tree_setlk },
	[VIO_TREE_ACCESS] = { vio_tree_access },
	[VIO_TREE_CREATE] = { vio_tree_create, .writes = true },
	[VIO_TREE_TMPFILE] = { vio_tree_tmpfile, .writes = true },
	[VIO_TREE_FALLOCATE] = { vio_tree_fallocate, .writes = true },
	[VIO_TREE_LSEEK] = { vio_tree_lseek },
	[VIO_TREE_COPY_RANGE] = { vio_tree_copy, .writes = true },
	[VIO_TREE_SYNCFS] = { vio_tree_syncfs },
	[VIO_TREE_STATX] = { vio_tree_getattr, TRY },
	[VIO_TREE_IOCTL] = { vio_tree_ioctl },
};

int vio_tree_run(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	if (ops[r->op].writes && t->o.read_only)
		return EROFS;
	return ops[r->op].run(t, r, may_wait);
}

/* ---- A channel ---- */

static void submit(struct vio_tree_chan *chan, struct vio_tree_req *r)
{
	struct vio_host_chan *c = chan_of(chan);
	struct vio_host_tree *t = c->tree;

	if ((unsigned)r->op >= VIO_TREE_OPS) {
		r->done(r, ENOSYS);
		return;
	}
	r->tree_priv = c;
	r->result = 0;
	if (ops[r->op].where == HERE || (ops[r->op].where == TRY && !t->remote)) {
		int error = vio_tree_run(t, r, false);
		if (error != VIO_TREE_ELSEWHERE) {
			r->done(r, error);
			return;
		}
	}
	vio_tree_pool_submit(t->pool, r);
}

void vio_tree_finish(struct vio_tree_req *r, int error)
{
	struct vio_host_chan *c = r->tree_priv;
	struct vio_tree_req *before = atomic_load_explicit(&c->finished, memory_order_relaxed);

	r->tree_word = (uint64_t)error;
	do
		r->next = before;
	while (!atomic_compare_exchange_weak(&c->finished, &before, r));
	/* From here r is the collector's. */
	if (!before)
		vio_loop_call(c->loop, &c->call);
}

static void collect(void *arg)
{
	struct vio_host_chan *c = arg;
	struct vio_tree_req *newest = atomic_exchange(&c->finished, NULL), *oldest = NULL;

	while (newest) {
		struct vio_tree_req *next = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct vio_tree_req *r = oldest;
		oldest = r->next;
		r->done(r, (int)r->tree_word);
	}
}

static void flush(struct vio_tree_chan *chan) { chan_of(chan)->budget = BUDGET; }

/* A waiter that was cancelled may not have heard. */
static void nudge(void *arg)
{
	struct vio_host_chan *c = arg;

	if (vio_lock_nudge(c->tree->locks))
		vio_loop_timer(c->loop, &c->nudge, vio_now_ns() + NUDGE_NS);
}

static bool end_wait(struct vio_host_chan *c, struct vio_tree_req *r, uint64_t unique)
{
	if (!vio_lock_cancel(c->tree->locks, r, unique))
		return false;
	vio_loop_timer(c->loop, &c->nudge, vio_now_ns() + NUDGE_NS);
	return true;
}

static void cancel(struct vio_tree_chan *chan, struct vio_tree_req *r)
{
	struct vio_host_chan *c = chan_of(chan);

	if (vio_tree_pool_cancel(c->tree->pool, r))
		r->done(r, EINTR);
	else
		end_wait(c, r, 0);
}

static bool interrupt(struct vio_tree_chan *chan, uint64_t unique) { return end_wait(chan_of(chan), NULL, unique); }

static void chan_close(struct vio_tree_chan *chan)
{
	struct vio_host_chan *c = chan_of(chan);

	vio_loop_untimer(c->loop, &c->nudge);
}

static const struct vio_tree_chan_ops chan_ops = {
	.submit = submit, .flush = flush, .cancel = cancel, .interrupt = interrupt, .close = chan_close,
};

/* ---- The tree ---- */

static struct vio_tree_chan *channel(struct vio_tree *tree, unsigned queue)
{
	struct vio_host_tree *t = host_of(tree);

	if (queue >= t->channels)
		return NULL;
	t->chan[queue].budget = BUDGET;
	return &t->chan[queue].base;
}

static void forget_all(struct vio_tree *tree)
{
	struct vio_host_tree *t = host_of(tree);

	end_session(t);
	t->session = 0;
	/* Nothing is in flight: mounts below the folder need not be held any more. */
	for (unsigned i = 1; i < t->mounts; i++)
		close(t->mount[i].fd);
	t->mounts = t->mounts ? 1 : 0;
}

static void tree_close(struct vio_tree *tree)
{
	struct vio_host_tree *t = host_of(tree);

	if (t->pool && t->locks && t->chan)
		end_session(t);
	vio_locks_free(t->locks);
	vio_tree_pool_free(t->pool);
	t->pool = NULL;
	vio_opens_free(t);
	vio_nodes_free(t);
	for (unsigned i = 0; i < t->mounts; i++)
		close(t->mount[i].fd);
	pthread_mutex_destroy(&t->mounts_lock);
	vio_tree_hints_free(t);
	free(t->chan);
	if (t->root_fd >= 0)
		close(t->root_fd);
	if (t->proc_fd >= 0)
		close(t->proc_fd);
	free(t);
}

static const struct vio_tree_ops tree_ops = { .channel = channel, .forget_all = forget_all, .close = tree_close };

/* ---- Opening ---- */

/* The folder, and the way to open what a descriptor is. */
static bool open_folder(struct vio_host_tree *t, const char *path, char *why)
{
	struct statx x;

	t->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (t->root_fd < 0 || statx(t->root_fd, "", AT_EMPTY_PATH, VIO_STATX_MASK, &x) < 0)
		return vio_refuse(why, "cannot share %.200s: %s; name a folder that this user may enter", path, strerror(errno));
	vio_key_of(&x, &t->root);
	t->proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (t->proc_fd < 0)
		return vio_refuse(why, "cannot open /proc/self/fd: %s; mount /proc", strerror(errno));
	vio_tree_kind_of(t->root_fd, &t->memory, &t->remote);
	return true;
}

/* Are file handles granted?  The folder itself is asked for by its own. */
static void probe_handles(struct vio_host_tree *t)
{
	union { struct file_handle h; char room[sizeof(struct file_handle) + MAX_HANDLE_SZ]; } u = { .h.handle_bytes = MAX_HANDLE_SZ };
	int mount, folder = openat(t->root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct statx x;
	struct vio_node_key k;

	if (folder < 0 || t->o.no_file_handles || name_to_handle_at(folder, "", &u.h, &mount, AT_EMPTY_PATH) < 0) {
		if (folder >= 0)
			close(folder);
		return;
	}
	int again = open_by_handle_at(folder, &u.h, O_PATH | O_CLOEXEC);
	if (again >= 0 && !statx(again, "", AT_EMPTY_PATH, VIO_STATX_MASK, &x)) {
		vio_key_of(&x, &k);
		t->handles = k.ino == t->root.ino && k.dev == t->root.dev;
	}
	if (again >= 0)
		close(again);
	t->mount[0].mount = t->root.mount;
	t->mount[0].fd = folder;
	t->mounts = 1;
}

static uint32_t at_most(uint32_t wanted, uint32_t preset, uint64_t limit)
{
	uint32_t n = wanted ? wanted : preset;

	return n < limit ? n : (uint32_t)limit;
}

/* Caps, as the limit of open files allows: half of it for open files, a quarter for nodes, an eighth for locks. */
static bool set_caps(struct vio_host_tree *t, char *why)
{
	struct rlimit files = { 0 };

	getrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_cur < 4 * RESERVED)
		return vio_refuse(why, "a process may open only %llu files here, too few to share a folder: raise the limit (ulimit -n)",
		    (unsigned long long)files.rlim_cur);
	uint64_t room = (files.rlim_cur < 1 << 24 ? files.rlim_cur : 1 << 24) - RESERVED;
	t->o.max_handles = at_most(t->o.max_handles, VIO_TREE_MAX_HANDLES, room / 2);
	t->o.max_descriptors = at_most(t->o.max_descriptors, VIO_TREE_MAX_DESCRIPTORS, room / 4);
	t->o.max_lock_owners = at_most(t->o.max_lock_owners, VIO_TREE_MAX_LOCK_OWNERS, room / 8);
	t->o.max_nodes = at_most(t->o.max_nodes, VIO_TREE_MAX_NODES, UINT32_C(1) << 28);
	t->nodes_per_shard = (t->o.max_nodes + VIO_NODE_SHARDS - 1) / VIO_NODE_SHARDS;
	t->descriptors_per_shard = (t->o.max_descriptors + VIO_NODE_SHARDS - 1) / VIO_NODE_SHARDS;
	return true;
}

/* Who is who where no map says so: see vio_tree_host_open(). */
static void preset_ids(struct vio_host_tree *t)
{
	if (t->switches)
		return;
	if (!t->o.uid.entries && !t->o.uid.squash)
		t->o.uid = (struct vio_tree_ids){ .map = { { 0, t->uid, 1 } }, .entries = 1 };
	if (!t->o.gid.entries && !t->o.gid.squash)
		t->o.gid = (struct vio_tree_ids){ .map = { { 0, t->gid, 1 } }, .entries = 1 };
}

static void say_what_it_can(struct vio_host_tree *t)
{
	static const struct vio_tree_valid valid[] = {
		[VIO_TREE_CACHE_AUTO] = { .s = 1 }, [VIO_TREE_CACHE_NEVER] = { 0 }, [VIO_TREE_CACHE_ALWAYS] = { .s = 86400 } };

	t->tree = (struct vio_tree){ .ops = &tree_ops, .entry_valid = valid[t->o.cache], .attr_valid = valid[t->o.cache],
		.posix_locks = !t->o.no_locks, .flocks = !t->o.no_locks,
		.posix_acl = t->o.xattr != VIO_TREE_XATTR_OFF && !t->o.no_acl, .submounts = !t->o.no_submounts,
		.security_ctx = t->o.xattr == VIO_TREE_XATTR_MAP, .create_groups = t->switches, .kill_priv = true, .writeback = t->o.writeback,
		.readdirplus = true, .export_handles = false, .auto_inval = t->o.cache != VIO_TREE_CACHE_ALWAYS };
}

static bool make_channels(struct vio_host_tree *t, const struct vio_tree_options *o)
{
	t->channels = o->queues ? o->queues : 1;
	t->chan = calloc(t->channels, sizeof *t->chan);
	for (unsigned i = 0; t->chan && i < t->channels; i++) {
		struct vio_host_chan *c = &t->chan[i];
		c->base.ops = &chan_ops;
		c->tree = t;
		c->loop = o->loops[i % o->loop_count];
		c->call = (struct vio_call){ .fn = collect, .arg = c };
		c->nudge = (struct vio_timer){ .fn = nudge, .arg = c };
	}
	return t->chan && vio_tree_hints_init(t);
}

struct vio_tree *vio_tree_host_open(const struct vio_tree_options *o, char *why)
{
	struct vio_host_tree *t = aligned_alloc(64, (sizeof *t + 63) & ~(size_t)63);

	if (!t) {
		vio_refuse(why, "there is no memory left for %.200s", o->path);
		return NULL;
	}
	memset(t, 0, sizeof *t);
	t->root_fd = t->proc_fd = -1;
	t->o = *o;
	t->o.path = NULL;
	pthread_mutex_init(&t->mounts_lock, NULL);
	vio_id_probe(t);
	preset_ids(t);
	bool ok = open_folder(t, o->path, why) && set_caps(t, why);
	if (ok) {
		probe_handles(t);
		say_what_it_can(t);
	}
	/* Both, whatever comes of them: closing undoes both. */
	bool nodes = vio_nodes_init(t, &t->root, t->root_fd), opens = vio_opens_init(t);
	if (ok && (!nodes || !opens || !make_channels(t, o) ||
	    !(t->pool = vio_tree_pool_new(t, o->threads ? o->threads : VIO_TREE_THREADS)) || !(t->locks = vio_locks_new(t))))
		ok = vio_refuse(why, "there is no memory, or there are no threads, for %.200s: raise the limits of memory and processes",
		    o->path);
	if (ok)
		return &t->tree;
	tree_close(&t->tree);
	return NULL;
}

/* ---- Confinement ---- */

#define ANY(name) { SYS_##name, VIO_CALL_ANY, 0, 0, 0 }
#define ONE(name, argument, value) { SYS_##name, VIO_CALL_ONE, argument, (uint64_t)(value), 0 }
const struct vio_sandbox_call vio_tree_host_calls[] = {
	ANY(openat), ANY(openat2), ANY(statx), ANY(name_to_handle_at), ANY(open_by_handle_at),
	ANY(readlinkat), ANY(symlinkat), ANY(mknodat), ANY(mkdirat), ANY(unlinkat), ANY(renameat2), ANY(linkat),
	ANY(fchmodat), ANY(fchownat), ANY(utimensat), ANY(faccessat2), ANY(umask),
	ANY(setxattr), ANY(getxattr), ANY(listxattr), ANY(removexattr), ANY(fremovexattr),
	ANY(getdents64), ANY(copy_file_range), ANY(syncfs), ANY(flock),
	ONE(fcntl, 1, F_OFD_GETLK), ONE(fcntl, 1, F_OFD_SETLK), ONE(fcntl, 1, F_OFD_SETLKW),
	ONE(ioctl, 1, FS_IOC_GETFLAGS), ONE(ioctl, 1, FS_IOC_SETFLAGS),
	ONE(ioctl, 1, FS_IOC_FSGETXATTR), ONE(ioctl, 1, FS_IOC_FSSETXATTR),
	ANY(setfsuid), ANY(setfsgid), ANY(setgroups), ANY(capget), ANY(capset),
	{ .call = -1 }
};

void vio_tree_host_grant(struct vio_tree *tree, struct vio_sandbox_options *o)
{
	struct vio_host_tree *t = host_of(tree);
	const uint32_t read = VIO_FOLDER_READ | VIO_FOLDER_LIST;
	const uint32_t devices = 1 << 6 | 1 << 11;	/* MAKE_CHAR, of which a whiteout is one; MAKE_BLOCK */

	vio_sandbox_folder(o, t->root_fd, t->o.read_only ? read : VIO_FOLDER_ALL & ~(1u << 0 /* EXECUTE */) &
	    ~(t->o.devices ? 0 : devices & ~(1u << 6)));
	if (t->switches)
		o->keep |= 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER |
		    1u << CAP_FSETID | (t->handles ? 1u << CAP_DAC_READ_SEARCH : 0) | (t->o.devices ? 1u << CAP_MKNOD : 0) |
		    (t->o.xattr == VIO_TREE_XATTR_ON ? UINT64_C(1) << CAP_SETFCAP : 0);
	else if (t->handles)
		o->keep |= 1u << CAP_DAC_READ_SEARCH;
}

void vio_tree_host_figures(struct vio_tree *tree, struct vio_tree_figures *f)
{
	struct vio_host_tree *t = host_of(tree);

	*f = (struct vio_tree_figures){ .lock_owners = vio_locks_owners(t->locks) };
	for (struct vio_node_shard *s = t->shard; s < t->shard + VIO_NODE_SHARDS; s++) {
		pthread_mutex_lock(&s->lock);
		f->nodes += s->nodes;
		f->descriptors += s->descriptors;
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_lock(&t->opens.lock);
	f->handles = t->opens.live;
	pthread_mutex_unlock(&t->opens.lock);
}

void vio_tree_host_say(const struct vio_tree *tree, char *words, size_t room)
{
	const struct vio_host_tree *t = (const struct vio_host_tree *)tree;

	snprintf(words, room, "%s; %s; at most %u files known, %u open, %u descriptors of known ones",
	    t->switches ? "creates files as whoever asks" : "creates files as this user only",
	    t->handles ? "file handles" : "no file handles: files are found again by their names",
	    t->o.max_nodes, t->o.max_handles, t->o.max_descriptors);
}
