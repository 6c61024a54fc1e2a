/*
 * The host tree's parts among themselves; not for others.
 *
 *   tree_host.c    the tree: probes, channels, the table of operations and where each of them runs
 *   tree_pool.c    threads for what may wait
 *   tree_node.c    nodes: numbers, identity, counts
 *   tree_fd.c      a node's descriptor: as many as are allowed, found again when it is needed
 *   tree_open.c    handles: open files and folders
 *   tree_map.c     reads of files in memory through a mapping
 *   tree_id.c      users and groups: the maps, and who creates
 *   tree_name.c    operations on names          tree_attr.c   on attributes
 *   tree_file.c    on open files                tree_list.c   on open folders
 *   tree_xattr.c   on extended attributes       tree_lock.c   on locks
 *
 * What is shared by queues is behind short locks, which are never held over a system call: each shard of the nodes has one,
 * so have free handles, lock owners, lock waiters and the pool.  No two of them are held at once.
 *
 * Why no name leads out of the folder: every system call that takes a name takes one component, relative to an O_PATH
 * descriptor, and never follows a symbolic link (O_NOFOLLOW, AT_SYMLINK_NOFOLLOW).  ".." is never passed on: it is answered
 * from the nodes.  A descriptor is opened for input and output only from an O_PATH descriptor that has been seen to be a
 * regular file or a folder, by /proc/self/fd, so there is no moment in which it could become something else.
 */
#ifndef VIO_HOST_TREE_HOST_H
#define VIO_HOST_TREE_HOST_H
#include <vio/host/tree.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum { VIO_NODE_SHARDS = 16 };
enum { VIO_TREE_MOUNTS = 64 };			/* file systems whose file handles are used */
enum { VIO_TREE_WAITERS = 8 };			/* threads that wait for locks */
enum { VIO_TREE_WAITS = 1024 };			/* lock requests that may wait at once */
/* Beside 0 and errno values, of an operation: it would have to wait, and may not; its done() comes by itself, later. */
enum { VIO_TREE_ELSEWHERE = -4096, VIO_TREE_LATER = -4097 };

struct vio_host_tree;
struct vio_node;

/* ---- Nodes ---- */

struct vio_node_handle { int type; uint8_t bytes; unsigned char data[]; };	/* of name_to_handle_at(2) */
struct vio_node {
	uint64_t id;
	uint64_t dev, ino, mount;	/* with born: which file it is */
	int64_t born;			/* ns; 0: the file system does not say */
	uint64_t lookups;		/* the guest's count */
	struct vio_node *bucket;	/* the next of its hash bucket */
	struct vio_node *next;		/* in the shard's list of descriptors */
	struct vio_node *parent;	/* where it was seen last (pinned), and as what; NULL: the root, or nowhere */
	char *name;
	struct vio_node_handle *handle;
	atomic_uint pins;		/* requests and children: it stays; whoever has one may add one without the lock */
	uint32_t held;			/* requests that use fd: it stays */
	int fd;				/* O_PATH, or -1 */
	uint16_t type;			/* S_IFMT's */
	bool listed;			/* in the list of descriptors */
	bool used;			/* its descriptor, since the list was last looked through */
	bool kept;			/* its descriptor cannot be had again: it has no name any more */
	bool stale;			/* another file has its place now */
};

struct vio_node_slot { struct vio_node *node; uint32_t generation, free; };
struct vio_node_shard {
	pthread_mutex_t lock;
	struct vio_node **bucket;
	uint32_t buckets, nodes;
	struct vio_node_slot *slot;
	uint32_t slots, used_slots, free_slot;	/* free_slot: index + 1; 0: none */
	struct vio_node *oldest, **newest;	/* those with descriptors, but for the root */
	uint32_t descriptors;
} __attribute__((aligned(64)));

/* What statx(2) says of a file, as far as it is its identity. */
struct vio_node_key { uint64_t dev, ino, mount; int64_t born; uint16_t type; };

bool vio_nodes_init(struct vio_host_tree *t, const struct vio_node_key *root, int root_fd);
void vio_nodes_free(struct vio_host_tree *t);
/* Pinned, or NULL: never handed out, or forgotten. */
struct vio_node *vio_node_get(struct vio_host_tree *t, uint64_t id);
static inline void vio_node_pin(struct vio_node *n) { n->pins++; }	/* by somebody who has a pin */
void vio_node_put(struct vio_host_tree *t, struct vio_node *n);
/* One lookup more of a file that is known, and its number; false: it is not. */
bool vio_node_again(struct vio_host_tree *t, const struct vio_node_key *k, uint64_t *id);
/*
 * The same for a file that may not be known: becomes a node, seen as name in parent (pinned by the caller; NULL: it has no
 * name).  fd is the tree's then, in any case.  0 or an errno value.
 */
int vio_node_enter(struct vio_host_tree *t, struct vio_node *parent, const char *name, const struct vio_node_key *k,
    int fd, uint64_t *id);
void vio_node_forget(struct vio_host_tree *t, uint64_t id, uint64_t lookups);
void vio_nodes_forget_all(struct vio_host_tree *t);
/* Is there a node for this file?  Pinned. */
struct vio_node *vio_node_of(struct vio_host_tree *t, const struct vio_node_key *k);
/* It is called so now. */
void vio_node_moved(struct vio_host_tree *t, struct vio_node *n, struct vio_node *parent, const char *name);
/* A hint: is there a node of that number in the file system of in? */
bool vio_node_maybe(struct vio_host_tree *t, const struct vio_node *in, uint64_t ino);

/* ---- Their descriptors (tree_fd.c) ---- */

/*
 * A node's O_PATH descriptor, which stays until vio_node_drop(): or -errno.  may_wait false: VIO_TREE_ELSEWHERE when it would
 * have to be opened.
 */
int vio_node_hold(struct vio_host_tree *t, struct vio_node *n, bool may_wait);
void vio_node_drop(struct vio_host_tree *t, struct vio_node *n);
/* With the shard's lock, of a node without one: it has a descriptor now. */
void vio_node_list(struct vio_node_shard *s, struct vio_node *n, int fd);
/* Give up descriptors until the shard has no more than it may. */
void vio_node_trim(struct vio_host_tree *t, struct vio_node_shard *s);
/* Its name goes: keep its descriptor, if so many are allowed. */
void vio_node_keep(struct vio_host_tree *t, struct vio_node *n);
/* A node and its descriptor by number: the node pinned and held, or NULL with *error. */
struct vio_node *vio_node_use(struct vio_host_tree *t, uint64_t id, bool may_wait, int *fd, int *error);
void vio_node_done(struct vio_host_tree *t, struct vio_node *n);
/*
 * Opens what fd (O_PATH) is for input and output.  Only regular files and folders: opening anything else would do something
 * on the host (a device, a pipe).  -errno.
 */
int vio_node_open(struct vio_host_tree *t, struct vio_node *n, int fd, int flags);

/* ---- Handles (tree_open.c) ---- */

struct vio_list;
struct vio_tree_map;
struct vio_open {
	_Atomic uint64_t word;		/* generation << 32 | LIVE | references */
	uint64_t node;
	int fd;
	int flags;			/* what it was opened with */
	bool folder;
	bool memory;			/* its file system never waits */
	bool append;
	atomic_bool read_nowait, write_nowait;
	struct vio_list *list;		/* of a folder */
	_Atomic(struct vio_tree_map *) map;	/* newest first (tree_map.c) */
	atomic_flag mapping;		/* a thread is about to make one; */
	unsigned maps;			/* so many have been tried */
	atomic_uint reads;		/* since then */
	uint32_t index, free;
};
struct vio_opens {
	pthread_mutex_t lock;
	_Atomic(struct vio_open *) *chunk;
	uint32_t chunks, used, free, live, limit;
};
bool vio_opens_init(struct vio_host_tree *t);
void vio_opens_free(struct vio_host_tree *t);
/* Is the file system of fd one that never waits, or one where everything may? */
void vio_tree_kind_of(int fd, bool *memory, bool *remote);
/* 0 or an errno value; fd is the tree's then, in any case. */
int vio_open_new(struct vio_host_tree *t, const struct vio_node *n, int fd, int flags, bool folder, uint64_t *handle);
/* The handle, referenced, or NULL: never handed out, released, of another node, or of the wrong kind. */
struct vio_open *vio_open_get(struct vio_host_tree *t, uint64_t handle, uint64_t node, bool folder);
struct vio_open *vio_open_get_any(struct vio_host_tree *t, uint64_t handle, uint64_t node);
void vio_open_put(struct vio_host_tree *t, struct vio_open *o);
void vio_open_release(struct vio_host_tree *t, uint64_t handle, uint64_t node);
void vio_opens_release_all(struct vio_host_tree *t);
void vio_list_free(struct vio_list *l);

/* ---- Reads through a mapping (tree_map.c) ---- */

/* As vio_map_read() and vio_map_learn() (disk_file.h); 0 also where there is no mapping. */
uint64_t vio_tree_map_read(struct vio_host_tree *t, struct vio_open *o, uint64_t at, struct vio_cur *to, uint64_t n);
void vio_tree_map_learn(struct vio_host_tree *t, const struct vio_open *o, uint64_t at, uint64_t n);
void vio_tree_map_free(struct vio_host_tree *t, struct vio_open *o);
/* The file has been made smaller, or may have holes where there were none; before that is answered. */
void vio_tree_cut(struct vio_host_tree *t, uint64_t node);

/* ---- Users and groups (tree_id.c) ---- */

/* False: that id has no counterpart. */
bool vio_id_to_host(const struct vio_tree_ids *m, uint32_t guest, uint32_t *host);
uint32_t vio_id_to_guest(const struct vio_tree_ids *m, uint32_t host);
/* Become whoever asks, to create something: 0 or an errno value.  Then vio_id_leave(), in the same thread. */
int vio_id_enter(struct vio_host_tree *t, const struct vio_tree_req *r, uint32_t umask);
void vio_id_leave(struct vio_host_tree *t, const struct vio_tree_req *r);
/* For a call that must clear suid and sgid as if somebody without privileges made it; then true again. */
void vio_id_fsetid(struct vio_host_tree *t, bool on);
/* What this process can do: sets switches and has_fsetid. */
void vio_id_probe(struct vio_host_tree *t);

/* ---- The pool (tree_pool.c) ---- */

struct vio_tree_pool;
struct vio_tree_pool *vio_tree_pool_new(struct vio_host_tree *t, unsigned threads);	/* NULL with errno */
void vio_tree_pool_free(struct vio_tree_pool *p);
void vio_tree_pool_submit(struct vio_tree_pool *p, struct vio_tree_req *r);
bool vio_tree_pool_cancel(struct vio_tree_pool *p, struct vio_tree_req *r);	/* true: not begun, the caller's again */
/* Closing the last descriptor of a removed file frees its space, which may take long. */
void vio_tree_pool_close(struct vio_tree_pool *p, int fd);
/* All signals are the first thread's, but for those that the processor raises. */
void vio_tree_block_signals(sigset_t *before);

/* ---- Locks (tree_lock.c) ---- */

struct vio_locks;
struct vio_locks *vio_locks_new(struct vio_host_tree *t);	/* NULL with errno */
void vio_locks_free(struct vio_locks *l);
void vio_locks_forget_all(struct vio_locks *l);
bool vio_lock_cancel(struct vio_locks *l, struct vio_tree_req *r, uint64_t unique);	/* r, or any called unique */
bool vio_lock_nudge(struct vio_locks *l);	/* again to those that are cancelled; false: there are none */
/* Something was unlocked: those that wait without a thread try again. */
void vio_locks_retry(struct vio_locks *l);
bool vio_locks_any(struct vio_locks *l, uint64_t node, uint64_t owner);
uint32_t vio_locks_owners(struct vio_locks *l);
void vio_locks_drop(struct vio_locks *l, uint64_t node, uint64_t owner);	/* all POSIX locks of an owner */

/* ---- The tree ---- */

struct vio_tree_hints;
struct vio_host_chan {
	struct vio_tree_chan base;
	struct vio_host_tree *tree;
	struct vio_loop *loop;
	size_t budget;			/* bytes that may still be moved in place in this turn */
	_Atomic(struct vio_tree_req *) finished;	/* elsewhere, newest first, and the call that takes them */
	struct vio_call call;
	struct vio_timer nudge;		/* for lock waiters that did not hear */
	uint64_t *hint;			/* which names were known a short while ago */
};

struct vio_host_tree {
	struct vio_tree tree;
	struct vio_tree_options o;	/* its texts are not kept */
	int root_fd, proc_fd;		/* the folder; /proc/self/fd */
	struct vio_node_key root;
	uint32_t uid, gid;		/* our own */
	bool memory;			/* the whole tree lies in a file system that never waits */
	bool remote;			/* ... or in one where everything may */
	bool handles;			/* file handles are granted */
	bool switches;			/* creates as whoever asks; otherwise all is done as the caller's user */
	bool has_fsetid;
	atomic_uint session;		/* VIO_TREE_S_* */
	struct vio_node_shard shard[VIO_NODE_SHARDS];
	uint32_t nodes_per_shard, descriptors_per_shard;
	atomic_uint kept;
	atomic_uint cuts[256], maps;	/* tree_map.c: cuts by node; mappings that there are */
	struct vio_opens opens;
	pthread_mutex_t mounts_lock;
	struct { uint64_t mount; int fd; } mount[VIO_TREE_MOUNTS];
	unsigned mounts;
	struct vio_tree_pool *pool;
	struct vio_locks *locks;
	struct vio_host_chan *chan;
	unsigned channels;
};

static inline struct vio_node_shard *vio_node_shard(struct vio_host_tree *t, const struct vio_node *n)
{
	return &t->shard[n->id % VIO_NODE_SHARDS];
}

/* A request has ended in another thread than its channel's. */
void vio_tree_finish(struct vio_tree_req *r, int error);
/* One request, from beginning to end. */
int vio_tree_run(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait);

/* ---- Attributes ---- */

enum { VIO_STATX_MASK = STATX_BASIC_STATS | STATX_BTIME | 0x1000 /* STATX_MNT_ID */ };
static inline void vio_key_of(const struct statx *x, struct vio_node_key *k)
{
	*k = (struct vio_node_key){ .dev = (uint64_t)x->stx_dev_major << 32 | x->stx_dev_minor, .ino = x->stx_ino,
		.mount = x->stx_mnt_id, .type = x->stx_mode & S_IFMT };
	if (x->stx_mask & STATX_BTIME)
		k->born = x->stx_btime.tv_sec * 1000000000 + x->stx_btime.tv_nsec;
}
/* As the guest shall see it.  in: what it lies in, or NULL. */
void vio_attr_of(const struct vio_host_tree *t, const struct statx *x, const struct vio_node *in, struct vio_tree_attr *a);

/* ---- Operations: 0, an errno value, or VIO_TREE_ELSEWHERE (only if !may_wait) ---- */

typedef int vio_tree_run_fn(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait);
vio_tree_run_fn vio_tree_lookup, vio_tree_symlink, vio_tree_mknod, vio_tree_mkdir, vio_tree_unlink, vio_tree_rmdir,
    vio_tree_rename, vio_tree_link, vio_tree_create, vio_tree_tmpfile;
vio_tree_run_fn vio_tree_getattr, vio_tree_setattr, vio_tree_readlink, vio_tree_statfs, vio_tree_access;
vio_tree_run_fn vio_tree_opening, vio_tree_read, vio_tree_write, vio_tree_fsync, vio_tree_flush_file, vio_tree_fallocate,
    vio_tree_lseek, vio_tree_copy, vio_tree_syncfs, vio_tree_ioctl, vio_tree_release;
vio_tree_run_fn vio_tree_opendir, vio_tree_readdir;
vio_tree_run_fn vio_tree_setxattr, vio_tree_getxattr, vio_tree_listxattr, vio_tree_removexattr;
vio_tree_run_fn vio_tree_getlk, vio_tree_setlk;

/* LOOKUP of one name in a folder whose descriptor is held; is_known: a hint that it will be a known node. */
int vio_tree_look(struct vio_host_tree *t, struct vio_node *in, int fd, const char *name, bool may_wait, bool is_known,
    struct vio_tree_entry *e);
/* An attribute of what file is in /proc/self/fd, by the guest's name; value may be changed.  In a pool thread. */
int vio_xattr_set(struct vio_host_tree *t, const char *file, const char *name, void *value, size_t n, int flags);
/* Its contents or owner change: file capabilities go, which the kernel sees to where it knows them as such. */
void vio_xattr_changed(struct vio_host_tree *t, int fd);
/* Of all channels: memory that is there only as far as it is used. */
bool vio_tree_hints_init(struct vio_host_tree *t);
void vio_tree_hints_free(struct vio_host_tree *t);
/* Which of open's flags a guest decides, and what is added for the session's sake. */
int vio_open_flags(const struct vio_host_tree *t, uint32_t guest);
uint32_t vio_open_answer(const struct vio_host_tree *t, bool folder);
struct vio_host_chan *vio_tree_chan_of(const struct vio_tree_req *r);
#endif
