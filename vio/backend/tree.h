/*
 * A tree of files as the file system device sees it (virtio-fs serves FUSE; this is FUSE without its wire).
 *
 * Files are NODES: numbers that lookup hands out and forget takes back (1 is the root, always there).  Requests belong to
 * the caller, their names are the caller's NUL-terminated copies and their data is guest memory itself.  Every submitted
 * request calls done() exactly once, perhaps before submit() returns, in the channel's thread.  A tree is used through
 * channels, one a queue; nodes and handles are the whole tree's.
 *
 * The caller has checked what can be checked without the tree: names are not empty, without '/', at most 255 bytes and not
 * "." or ".." (lookup may have those two); sizes are within limits.  Everything about files is the tree's to check.
 * Memory twin: vio/host/tree_memory.c (a small tree in memory, as late and as failing as a test asks).
 */
#ifndef VIO_BACKEND_TREE_H
#define VIO_BACKEND_TREE_H
#include <vio/ring/cursor.h>
VIO_BEGIN_DECLS

#define VIO_TREE_ROOT UINT64_C(1)

enum vio_tree_op {
	VIO_TREE_LOOKUP,	/* node name -> entry */
	VIO_TREE_FORGET,	/* node count (no answer to the guest; done() comes all the same) */
	VIO_TREE_GETATTR,	/* node [handle] -> attr */
	VIO_TREE_SETATTR,	/* node [handle] set, attr -> attr */
	VIO_TREE_READLINK,	/* node -> bytes */
	VIO_TREE_SYMLINK,	/* node name, name2 is the target -> entry */
	VIO_TREE_MKNOD,		/* node name mode rdev umask -> entry */
	VIO_TREE_MKDIR,		/* node name mode umask -> entry */
	VIO_TREE_UNLINK,	/* node name */
	VIO_TREE_RMDIR,		/* node name */
	VIO_TREE_RENAME,	/* node name, node2 name2, flags (renameat2) */
	VIO_TREE_LINK,		/* node is the file, node2 name2 where -> entry */
	VIO_TREE_OPEN,		/* node flags (open(2)'s, Linux generic values) kill_priv -> handle, open_flags */
	VIO_TREE_READ,		/* node handle offset -> bytes; result is how many */
	VIO_TREE_WRITE,		/* node handle offset bytes kill_priv -> result */
	VIO_TREE_STATFS,	/* node -> statfs */
	VIO_TREE_RELEASE,	/* node handle [flock owner] */
	VIO_TREE_FSYNC,		/* node handle datasync */
	VIO_TREE_SETXATTR,	/* node name bytes (value) flags, kill_sgid (ACL) */
	VIO_TREE_GETXATTR,	/* node name -> bytes and result, or with length 0 only result, the size */
	VIO_TREE_LISTXATTR,	/* node -> the same */
	VIO_TREE_REMOVEXATTR,	/* node name */
	VIO_TREE_FLUSH,		/* node handle owner: posix locks of owner go */
	VIO_TREE_OPENDIR,	/* node flags -> handle, open_flags */
	VIO_TREE_READDIR,	/* node handle offset -> emit() for each */
	VIO_TREE_READDIRPLUS,	/* the same; each but . and .. is looked up as lookup would */
	VIO_TREE_RELEASEDIR,	/* node handle */
	VIO_TREE_FSYNCDIR,	/* node handle datasync */
	VIO_TREE_GETLK,		/* node handle owner lock -> lock */
	VIO_TREE_SETLK,		/* node handle owner lock; wait: until it is had, or cancelled; flock: BSD lock */
	VIO_TREE_ACCESS,	/* node flags (R_OK...) */
	VIO_TREE_CREATE,	/* node name mode flags umask kill_priv -> entry, handle, open_flags */
	VIO_TREE_TMPFILE,	/* node mode flags umask -> entry, handle, open_flags */
	VIO_TREE_FALLOCATE,	/* node handle offset length flags (mode) */
	VIO_TREE_LSEEK,		/* node handle offset flags (whence) -> result */
	VIO_TREE_COPY_RANGE,	/* node handle offset, node2 handle2 offset2, length flags -> result */
	VIO_TREE_SYNCFS,	/* node */
	VIO_TREE_STATX,		/* node [handle] flags mask -> attr with btime */
	VIO_TREE_IOCTL,		/* node handle flags (command), bytes in, out: only those a tree knows (FS_IOC_*) */
	VIO_TREE_OPS
};

struct vio_tree_time { int64_t s; uint32_t ns; };
struct vio_tree_attr {
	uint64_t ino, size, blocks;
	struct vio_tree_time atime, mtime, ctime, btime;
	uint32_t mode, nlink, uid, gid, rdev, blksize;	/* rdev: as Linux's new_encode_dev */
	uint32_t rdev_major, rdev_minor;
	bool has_btime;
	bool submount;			/* another file system begins here */
};
struct vio_tree_entry {
	uint64_t node, generation;	/* node 0: there is no such file, and that may be remembered */
	struct vio_tree_attr attr;
	uint64_t entry_valid_ns, attr_valid_ns;
};
struct vio_tree_statfs { uint64_t blocks, bfree, bavail, files, ffree; uint32_t bsize, frsize, namelen; };
struct vio_tree_lock { uint64_t start, end; uint32_t type, pid; };	/* F_RDLCK, F_WRLCK, F_UNLCK; end inclusive */

enum {	/* set: which members of attr SETATTR changes */
	VIO_TREE_SET_MODE = 1, VIO_TREE_SET_UID = 2, VIO_TREE_SET_GID = 4, VIO_TREE_SET_SIZE = 8, VIO_TREE_SET_ATIME = 16,
	VIO_TREE_SET_MTIME = 32, VIO_TREE_SET_ATIME_NOW = 64, VIO_TREE_SET_MTIME_NOW = 128, VIO_TREE_SET_CTIME = 256
};
enum {	/* open_flags */
	VIO_TREE_DIRECT_IO = 1,		/* nobody may cache what is read */
	VIO_TREE_KEEP_CACHE = 2,	/* what was cached before is still good */
	VIO_TREE_CACHE_DIR = 8,
	VIO_TREE_PARALLEL_WRITES = 64
};

struct vio_tree_req {
	enum vio_tree_op op;
	uint64_t node, node2, handle, handle2;
	bool has_handle;
	const char *name, *name2;
	uint32_t uid, gid, pid;		/* who asks, by the guest's numbers */
	uint32_t groups[32];		/* further groups to create with (FUSE_SECURITY_CTX and CREATE_SUPP_GROUP); how many: */
	uint32_t group_count;
	const char *security_name;	/* xattr to set on what is created, or NULL; value in security/security_len */
	const void *security;
	uint32_t security_len;
	uint64_t offset, offset2, length, owner;
	uint32_t flags, mode, umask, rdev, set, mask;
	uint64_t count;			/* FORGET */
	bool datasync, wait, flock, kill_priv, kill_sgid;
	struct vio_cur bytes;		/* guest memory: read from (WRITE, SETXATTR) or to be filled; bytes.left is how much */
	struct vio_cur bytes_in;	/* IOCTL: what the guest sent */
	/*
	 * READDIR: one directory entry; next: the offset that goes on behind it.  entry: READDIRPLUS's, or NULL ("." and "..").
	 * False: it does not fit, and the tree must undo its lookup.
	 */
	bool (*emit)(struct vio_tree_req *r, const char *name, size_t len, uint64_t ino, uint32_t type, uint64_t next,
	    const struct vio_tree_entry *entry);
	void (*done)(struct vio_tree_req *r, int error);	/* 0 or a positive Linux errno value */
	/* Answers. */
	struct vio_tree_entry entry;
	struct vio_tree_attr attr;	/* SETATTR: also the question */
	struct vio_tree_statfs statfs;
	struct vio_tree_lock lock;	/* also the question */
	uint64_t new_handle, result;
	uint32_t open_flags;
	/* The tree's, between submit and done. */
	struct vio_tree_req *next;
	void *tree_priv;
	uint64_t tree_word;
};

struct vio_tree_chan { const struct vio_tree_chan_ops *ops; };
struct vio_tree_chan_ops {
	void (*submit)(struct vio_tree_chan *c, struct vio_tree_req *r);
	void (*flush)(struct vio_tree_chan *c);		/* end of a turn; may be NULL */
	/* End early what can be (a lock that waits), with EINTR.  done() still comes, perhaps later. */
	void (*cancel)(struct vio_tree_chan *c, struct vio_tree_req *r);
	void (*poll)(struct vio_tree_chan *c);		/* may be NULL */
	void (*close)(struct vio_tree_chan *c);		/* nothing is in flight */
};

struct vio_tree {
	const struct vio_tree_ops *ops;
	/* What it can do, for FUSE_INIT. */
	bool posix_locks, flocks, posix_acl, xattrs, submounts, writeback, readdirplus, kill_priv, security_ctx, export_handles;
};
struct vio_tree_ops {
	struct vio_tree_chan *(*channel)(struct vio_tree *t, unsigned queue);	/* NULL: no memory or descriptors */
	void (*forget_all)(struct vio_tree *t);		/* the driver has gone: nodes but the root, handles, locks; nothing is in flight */
	void (*close)(struct vio_tree *t);		/* all channels are closed */
};
VIO_END_DECLS
#endif
