/*
 * A tree of files as the file system device sees it (virtio-fs serves FUSE; this is FUSE without its wire).
 *
 * Files are NODES: numbers that lookup hands out and forget takes back (1 is the root, always there).  Open files are
 * HANDLES.  Both are the whole tree's.  A tree is used through channels, one a queue; a channel belongs to the thread of its
 * queue.  Requests belong to the caller, their names are the caller's NUL-terminated copies and their data is guest memory
 * itself.  Every submitted request calls done() exactly once in the channel's thread, perhaps before submit() returns.
 *
 * The caller has checked what can be checked without the tree: names are 1 to 255 bytes without '/' and NUL, and not "." or
 * ".." (a lookup may have those two); sizes are within the limits below; of flags and modes only what Linux knows.
 * Everything about files is the tree's to check, and nothing that a guest says of nodes and handles can be trusted: they
 * may never have been handed out (ESTALE, EBADF), be of the wrong kind (a directory's handle for READ: EBADF; a handle of
 * another node: EBADF), and be forgotten or released in one channel while a request of another still uses them: what a
 * request uses stays until its done().
 *
 * Errors are positive Linux errno values, the generic ones (asm-generic), below 512.
 *
 * Memory twins: vio/host/tree_memory.c (a small tree in memory, as late and as failing as a test asks).
 */
#ifndef VIO_BACKEND_TREE_H
#define VIO_BACKEND_TREE_H
#include <vio/ring/cursor.h>
VIO_BEGIN_DECLS

#define VIO_TREE_ROOT UINT64_C(1)
enum {
	VIO_TREE_NAME = 255,		/* bytes of a name, and of an extended attribute's */
	VIO_TREE_TARGET = 4095,		/* of a symbolic link's target */
	VIO_TREE_XATTR = 65536,		/* of an extended attribute's value, and of the list of names */
	VIO_TREE_GROUPS = 32		/* further groups of who creates */
};

enum vio_tree_op {
	VIO_TREE_BEGIN,		/* flags (VIO_TREE_S_*): a driver begins a session; what an earlier one left goes, as with END */
	VIO_TREE_END,		/* all nodes but the root, handles and locks go; requests in flight keep what they use */
	VIO_TREE_LOOKUP,	/* node name -> entry (which counts as one lookup when entry.node is not 0) */
	VIO_TREE_FORGET,	/* node count: so many lookups less, 0 at the least; never fails */
	VIO_TREE_GETATTR,	/* node [handle] -> entry.attr */
	VIO_TREE_SETATTR,	/* node [handle] set change kill_priv -> entry.attr */
	VIO_TREE_READLINK,	/* node -> bytes, result is how many (no NUL) */
	VIO_TREE_SYMLINK,	/* node name, bytes is the target (1 to 4095; copy it, then judge the copy) [creator] -> entry */
	VIO_TREE_MKNOD,		/* node name mode rdev umask [creator] -> entry */
	VIO_TREE_MKDIR,		/* node name mode umask [creator] -> entry */
	VIO_TREE_UNLINK,	/* node name */
	VIO_TREE_RMDIR,		/* node name */
	VIO_TREE_RENAME,	/* node name, node2 name2, flags (renameat2) */
	VIO_TREE_LINK,		/* node is the file, node2 name2 where -> entry */
	VIO_TREE_OPEN,		/* node flags kill_priv -> new_handle, open_flags */
	VIO_TREE_READ,		/* node handle offset, bytes to be filled -> result is how many */
	VIO_TREE_WRITE,		/* node handle offset, bytes to be written, kill_priv, cached -> result is how many */
	VIO_TREE_STATFS,	/* node -> statfs */
	VIO_TREE_RELEASE,	/* node handle, owner and flock: the owner's BSD lock goes too; never fails */
	VIO_TREE_FSYNC,		/* node handle datasync */
	VIO_TREE_SETXATTR,	/* node name, bytes is the value (copy it, then judge the copy), flags (setxattr), kill_sgid */
	VIO_TREE_GETXATTR,	/* node name -> bytes, result is how many (ERANGE: too few); bytes.left 0: only result, the size */
	VIO_TREE_LISTXATTR,	/* node -> the same; names each with its NUL */
	VIO_TREE_REMOVEXATTR,	/* node name */
	VIO_TREE_FLUSH,		/* node handle owner: the owner's posix locks go */
	VIO_TREE_OPENDIR,	/* node flags -> new_handle, open_flags */
	VIO_TREE_READDIR,	/* node handle offset -> emit() for each */
	VIO_TREE_READDIRPLUS,	/* the same; each but "." and ".." is looked up as LOOKUP would */
	VIO_TREE_RELEASEDIR,	/* node handle; never fails */
	VIO_TREE_FSYNCDIR,	/* node handle datasync */
	VIO_TREE_GETLK,		/* node handle owner lock -> lock (type F_UNLCK: it could be had) */
	VIO_TREE_SETLK,		/* node handle owner lock; wait: until it is had, or interrupted (EINTR); flock: a BSD lock */
	VIO_TREE_ACCESS,	/* node flags (R_OK...) */
	VIO_TREE_CREATE,	/* node name mode flags umask kill_priv [creator] -> entry, new_handle, open_flags */
	VIO_TREE_TMPFILE,	/* node mode flags umask [creator] -> entry, new_handle, open_flags */
	VIO_TREE_FALLOCATE,	/* node handle offset length flags (fallocate's mode) */
	VIO_TREE_LSEEK,		/* node handle offset flags (whence: SEEK_DATA, SEEK_HOLE and the rest) -> result */
	VIO_TREE_COPY_RANGE,	/* node handle offset, node2 handle2 offset2, length (below 2^32) -> result */
	VIO_TREE_SYNCFS,	/* node */
	VIO_TREE_STATX,		/* node [handle] flags (AT_STATX_*) -> entry.attr with btime where there is one */
	VIO_TREE_IOCTL,		/* node handle flags (command), bytes_in -> bytes, length is how many; ENOTTY: not one a tree knows */
	VIO_TREE_OPS
};

enum {	/* BEGIN: what driver and device agreed on */
	VIO_TREE_S_WRITEBACK = 1,	/* the driver caches writes: files opened to write must be readable, O_APPEND is its own */
	VIO_TREE_S_POSIX_ACL = 2,	/* ACLs are kept: umask is applied where there is no default ACL */
	VIO_TREE_S_DONT_MASK = 4,	/* umask is not yet applied to mode: the tree does, unless a default ACL stands instead */
	VIO_TREE_S_SUBMOUNTS = 8,	/* attr.submount may be said */
	VIO_TREE_S_KILL_PRIV = 16	/* the tree clears suid, sgid and capabilities where kill_priv says so; else drivers SETATTR */
};

struct vio_tree_time { int64_t s; uint32_t ns; };
struct vio_tree_attr {
	uint64_t ino, size, blocks;	/* blocks of 512 bytes */
	struct vio_tree_time atime, mtime, ctime, btime;
	uint32_t mode, nlink, uid, gid, blksize;
	uint32_t rdev;			/* major << 8 | minor & 0xff | (minor & 0xfff00) << 12: Linux's 32-bit form */
	bool has_btime;
	bool submount;			/* another file system begins here */
};
struct vio_tree_entry {
	uint64_t node, generation;	/* node 0: there is no such file, and that may be remembered for entry_valid */
	struct vio_tree_attr attr;
};
struct vio_tree_statfs { uint64_t blocks, bfree, bavail, files, ffree; uint32_t bsize, frsize, namelen; };
struct vio_tree_lock { uint64_t start, end; uint32_t type, pid; };	/* F_RDLCK, F_WRLCK, F_UNLCK; end inclusive */

enum {	/* set: which members of change SETATTR applies */
	VIO_TREE_SET_MODE = 1, VIO_TREE_SET_UID = 2, VIO_TREE_SET_GID = 4, VIO_TREE_SET_SIZE = 8, VIO_TREE_SET_ATIME = 16,
	VIO_TREE_SET_MTIME = 32, VIO_TREE_SET_ATIME_NOW = 64, VIO_TREE_SET_MTIME_NOW = 128, VIO_TREE_SET_CTIME = 256
};
enum {	/* open_flags */
	VIO_TREE_DIRECT_IO = 1,		/* nobody may cache what is read */
	VIO_TREE_KEEP_CACHE = 2,	/* what was cached before is still good */
	VIO_TREE_CACHE_DIR = 8,
	VIO_TREE_NOFLUSH = 32,
	VIO_TREE_PARALLEL_WRITES = 64
};

struct vio_tree_req {
	/* The question: what the operation's line names; all else is what an earlier request left.  uid, gid, pid always. */
	enum vio_tree_op op;
	bool has_handle, datasync, wait, flock, cached, kill_priv, kill_sgid;
	uint64_t node, handle, offset, length;
	struct vio_cur bytes;		/* guest memory, bytes.left of it: read from, or to be filled.  The tree may move it. */
	void (*done)(struct vio_tree_req *r, int error);	/* 0 or a positive Linux errno value */
	/* The tree's, between submit and done. */
	struct vio_tree_req *next;
	void *tree_priv;
	uint64_t tree_word;
	/* The question, further. */
	uint64_t unique;		/* what an interrupt names it by */
	uint32_t uid, gid, pid;		/* who asks, by the guest's numbers */
	uint32_t flags, mode, umask, rdev, set;
	const char *name, *name2;
	uint64_t node2, handle2, offset2, owner;
	uint64_t count;
	struct vio_cur bytes_in;	/* IOCTL: what the guest sent */
	/*
	 * READDIR, READDIRPLUS: one directory entry.  next: the offset that goes on behind it.  entry: READDIRPLUS's; "." and ".."
	 * are told with entry NULL.  False: it does not fit: stop, undo its lookup, and be done without error.  May be called in
	 * any thread between submit and done.
	 */
	bool (*emit)(struct vio_tree_req *r, const char *name, size_t len, uint64_t ino, uint32_t type, uint64_t next,
	    const struct vio_tree_entry *entry);
	/* creator: what FUSE_SECURITY_CTX and FUSE_CREATE_SUPP_GROUP said; always set for the operations that name it. */
	uint32_t group_count;
	uint32_t group[VIO_TREE_GROUPS];
	const char *security_name;	/* an extended attribute to be set on what is created; NULL: none */
	struct vio_cur security;	/* its value, at most VIO_TREE_XATTR bytes */
	/* The answer. */
	uint64_t new_handle, result;
	uint32_t open_flags;
	struct vio_tree_lock lock;	/* also the question */
	struct vio_tree_entry entry;
	struct vio_tree_attr change;	/* SETATTR's question */
	struct vio_tree_statfs statfs;
};

struct vio_tree_chan { const struct vio_tree_chan_ops *ops; };
struct vio_tree_chan_ops {
	void (*submit)(struct vio_tree_chan *c, struct vio_tree_req *r);
	void (*flush)(struct vio_tree_chan *c);		/* end of a turn: what was submitted may be started; may be NULL */
	/* End early what can be, with EINTR: a stop or a reset.  A request of this channel; done() still comes, perhaps later. */
	void (*cancel)(struct vio_tree_chan *c, struct vio_tree_req *r);
	/*
	 * The same for the requests called unique in whatever channel: those of which there can be any that wait are in a list
	 * which the tree locks.  False: none is known (it may have ended, or not have come yet).
	 */
	bool (*interrupt)(struct vio_tree_chan *c, uint64_t unique);
	void (*poll)(struct vio_tree_chan *c);		/* look for completions, for a loop that polls; may be NULL */
	void (*close)(struct vio_tree_chan *c);		/* nothing of it is in flight */
};

struct vio_tree_valid { uint64_t s; uint32_t ns; };	/* how long a driver may believe something */

struct vio_tree {
	const struct vio_tree_ops *ops;
	/* For the session's beginning and all answers; constant while a device uses the tree. */
	struct vio_tree_valid entry_valid, attr_valid;
	bool posix_locks, flocks;	/* else the driver keeps locks to itself */
	bool posix_acl, submounts, security_ctx;
	bool create_groups;		/* group[] counts where something is created */
	bool allow_mmap;		/* files opened with DIRECT_IO may be mapped shared */
	bool kill_priv;			/* the tree clears suid and sgid when told to (7.33) */
	bool writeback;			/* drivers may cache writes */
	bool readdirplus;		/* ... is no dearer than a driver's LOOKUP of each */
	bool readdirplus_always;	/* not only when a driver thinks that it will need it */
	bool export_handles;		/* LOOKUP of "." and ".." works for any node that was ever handed out */
	bool auto_inval;		/* files change behind the driver's back: it looks at mtime and size */
};
struct vio_tree_ops {
	struct vio_tree_chan *(*channel)(struct vio_tree *t, unsigned queue);	/* NULL: no memory or descriptors */
	void (*forget_all)(struct vio_tree *t);		/* the driver has gone: as END, in the home thread; nothing is in flight */
	void (*close)(struct vio_tree *t);		/* all channels are closed */
};
VIO_END_DECLS
#endif
