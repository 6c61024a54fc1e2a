/*
 * File system device (virtio 1.4, section 5.11) and the FUSE messages it carries, protocol 7.39.
 *
 * FUSE is in the byte order of the driver (5.11.6.1); these are the messages of a little-endian one.  Names are FUSE's with
 * VIO_ before them: fuse_entry_out is struct vio_fuse_entry_out, FATTR_MODE is VIO_FATTR_MODE.
 */
#ifndef VIO_SPEC_FS_H
#define VIO_SPEC_FS_H
#include <vio/spec/types.h>

enum { VIO_FS_F_NOTIFICATION = 0 };	/* 5.11.3 */

struct vio_fs_config {	/* 5.11.4 */
	char tag[36];
	vio_le32 num_request_queues;
	vio_le32 notify_buf_size;
};
VIO_STATIC_ASSERT(sizeof(struct vio_fs_config) == 44, "5.11.4");

enum { VIO_FUSE_MAJOR = 7, VIO_FUSE_MINOR = 39, VIO_FUSE_MINOR_LEAST = 23 /* since then no message has changed its size */, VIO_FUSE_ROOT_ID = 1 };

/* Errors as FUSE carries them, negated: the numbers of Linux, whatever the host. */
enum {
	VIO_FUSE_EINTR = 4, VIO_FUSE_EIO = 5, VIO_FUSE_EAGAIN = 11, VIO_FUSE_EINVAL = 22, VIO_FUSE_ENOTTY = 25,
	VIO_FUSE_ERANGE = 34, VIO_FUSE_ENAMETOOLONG = 36, VIO_FUSE_ENOSYS = 38, VIO_FUSE_EPROTO = 71, VIO_FUSE_EOPNOTSUPP = 95
};

enum vio_fuse_opcode {
	VIO_FUSE_LOOKUP = 1,
	VIO_FUSE_FORGET = 2,		/* no answer */
	VIO_FUSE_GETATTR = 3,
	VIO_FUSE_SETATTR = 4,
	VIO_FUSE_READLINK = 5,
	VIO_FUSE_SYMLINK = 6,
	VIO_FUSE_MKNOD = 8,
	VIO_FUSE_MKDIR = 9,
	VIO_FUSE_UNLINK = 10,
	VIO_FUSE_RMDIR = 11,
	VIO_FUSE_RENAME = 12,
	VIO_FUSE_LINK = 13,
	VIO_FUSE_OPEN = 14,
	VIO_FUSE_READ = 15,
	VIO_FUSE_WRITE = 16,
	VIO_FUSE_STATFS = 17,
	VIO_FUSE_RELEASE = 18,
	VIO_FUSE_FSYNC = 20,
	VIO_FUSE_SETXATTR = 21,
	VIO_FUSE_GETXATTR = 22,
	VIO_FUSE_LISTXATTR = 23,
	VIO_FUSE_REMOVEXATTR = 24,
	VIO_FUSE_FLUSH = 25,
	VIO_FUSE_INIT = 26,
	VIO_FUSE_OPENDIR = 27,
	VIO_FUSE_READDIR = 28,
	VIO_FUSE_RELEASEDIR = 29,
	VIO_FUSE_FSYNCDIR = 30,
	VIO_FUSE_GETLK = 31,
	VIO_FUSE_SETLK = 32,
	VIO_FUSE_SETLKW = 33,
	VIO_FUSE_ACCESS = 34,
	VIO_FUSE_CREATE = 35,
	VIO_FUSE_INTERRUPT = 36,
	VIO_FUSE_BMAP = 37,
	VIO_FUSE_DESTROY = 38,
	VIO_FUSE_IOCTL = 39,
	VIO_FUSE_POLL = 40,
	VIO_FUSE_NOTIFY_REPLY = 41,
	VIO_FUSE_BATCH_FORGET = 42,	/* no answer */
	VIO_FUSE_FALLOCATE = 43,
	VIO_FUSE_READDIRPLUS = 44,
	VIO_FUSE_RENAME2 = 45,
	VIO_FUSE_LSEEK = 46,
	VIO_FUSE_COPY_FILE_RANGE = 47,
	VIO_FUSE_SETUPMAPPING = 48,
	VIO_FUSE_REMOVEMAPPING = 49,
	VIO_FUSE_SYNCFS = 50,
	VIO_FUSE_TMPFILE = 51,
	VIO_FUSE_STATX = 52,
	VIO_FUSE_OPCODES,
	VIO_FUSE_INIT_SWAPPED = 26 << 24	/* INIT from a driver of the other byte order */
};

/* INIT's flags, by bit number; 32 to 63 are flags2, which both sides have when INIT_EXT is set. */
enum {
	VIO_FUSE_ASYNC_READ = 0,
	VIO_FUSE_POSIX_LOCKS = 1,
	VIO_FUSE_FILE_OPS = 2,
	VIO_FUSE_ATOMIC_O_TRUNC = 3,
	VIO_FUSE_EXPORT_SUPPORT = 4,
	VIO_FUSE_BIG_WRITES = 5,
	VIO_FUSE_DONT_MASK = 6,
	VIO_FUSE_SPLICE_WRITE = 7,
	VIO_FUSE_SPLICE_MOVE = 8,
	VIO_FUSE_SPLICE_READ = 9,
	VIO_FUSE_FLOCK_LOCKS = 10,
	VIO_FUSE_HAS_IOCTL_DIR = 11,
	VIO_FUSE_AUTO_INVAL_DATA = 12,
	VIO_FUSE_DO_READDIRPLUS = 13,
	VIO_FUSE_READDIRPLUS_AUTO = 14,
	VIO_FUSE_ASYNC_DIO = 15,
	VIO_FUSE_WRITEBACK_CACHE = 16,
	VIO_FUSE_NO_OPEN_SUPPORT = 17,
	VIO_FUSE_PARALLEL_DIROPS = 18,
	VIO_FUSE_HANDLE_KILLPRIV = 19,
	VIO_FUSE_POSIX_ACL = 20,
	VIO_FUSE_ABORT_ERROR = 21,
	VIO_FUSE_MAX_PAGES = 22,
	VIO_FUSE_CACHE_SYMLINKS = 23,
	VIO_FUSE_NO_OPENDIR_SUPPORT = 24,
	VIO_FUSE_EXPLICIT_INVAL_DATA = 25,
	VIO_FUSE_MAP_ALIGNMENT = 26,
	VIO_FUSE_SUBMOUNTS = 27,
	VIO_FUSE_HANDLE_KILLPRIV_V2 = 28,
	VIO_FUSE_SETXATTR_EXT = 29,
	VIO_FUSE_INIT_EXT = 30,
	VIO_FUSE_INIT_RESERVED = 31,
	VIO_FUSE_SECURITY_CTX = 32,
	VIO_FUSE_HAS_INODE_DAX = 33,
	VIO_FUSE_CREATE_SUPP_GROUP = 34,
	VIO_FUSE_HAS_EXPIRE_ONLY = 35,
	VIO_FUSE_DIRECT_IO_ALLOW_MMAP = 36
};

enum {	/* setattr_in.valid */
	VIO_FATTR_MODE = 1 << 0,
	VIO_FATTR_UID = 1 << 1,
	VIO_FATTR_GID = 1 << 2,
	VIO_FATTR_SIZE = 1 << 3,
	VIO_FATTR_ATIME = 1 << 4,
	VIO_FATTR_MTIME = 1 << 5,
	VIO_FATTR_FH = 1 << 6,
	VIO_FATTR_ATIME_NOW = 1 << 7,
	VIO_FATTR_MTIME_NOW = 1 << 8,
	VIO_FATTR_LOCKOWNER = 1 << 9,
	VIO_FATTR_CTIME = 1 << 10,
	VIO_FATTR_KILL_SUIDGID = 1 << 11
};
enum {	/* open_out.open_flags */
	VIO_FOPEN_DIRECT_IO = 1 << 0,
	VIO_FOPEN_KEEP_CACHE = 1 << 1,
	VIO_FOPEN_NONSEEKABLE = 1 << 2,
	VIO_FOPEN_CACHE_DIR = 1 << 3,
	VIO_FOPEN_STREAM = 1 << 4,
	VIO_FOPEN_NOFLUSH = 1 << 5,
	VIO_FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6
};
enum { VIO_FUSE_OPEN_KILL_SUIDGID = 1 };		/* open_in.open_flags */
enum { VIO_FUSE_RELEASE_FLUSH = 1, VIO_FUSE_RELEASE_FLOCK_UNLOCK = 2 };
enum { VIO_FUSE_GETATTR_FH = 1 };
enum { VIO_FUSE_LK_FLOCK = 1 };
enum { VIO_FUSE_WRITE_CACHE = 1, VIO_FUSE_WRITE_LOCKOWNER = 2, VIO_FUSE_WRITE_KILL_SUIDGID = 4 };
enum { VIO_FUSE_READ_LOCKOWNER = 2 };
enum { VIO_FUSE_FSYNC_FDATASYNC = 1 };
enum { VIO_FUSE_ATTR_SUBMOUNT = 1, VIO_FUSE_ATTR_DAX = 2 };
enum { VIO_FUSE_SETXATTR_ACL_KILL_SGID = 1 };
enum { VIO_FUSE_IOCTL_COMPAT = 1, VIO_FUSE_IOCTL_UNRESTRICTED = 2, VIO_FUSE_IOCTL_32BIT = 8, VIO_FUSE_IOCTL_DIR = 16 };
enum { VIO_FUSE_MAX_NR_SECCTX = 31, VIO_FUSE_EXT_GROUPS = 32 };	/* types of extensions */

/* ---- Headers ---- */

struct vio_fuse_in_header {
	vio_le32 len, opcode;
	vio_le64 unique, nodeid;
	vio_le32 uid, gid, pid;
	vio_le16 total_extlen;		/* of the extensions behind the arguments, in units of 8 bytes */
	vio_le16 padding;
};
struct vio_fuse_out_header { vio_le32 len, error; vio_le64 unique; };	/* error: 0 or a negative errno value */
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_in_header) == 40 && sizeof(struct vio_fuse_out_header) == 16, "FUSE");
VIO_STATIC_ASSERT(offsetof(struct vio_fuse_in_header, nodeid) == 16 && offsetof(struct vio_fuse_in_header, total_extlen) == 36, "FUSE");

/* ---- Answers ---- */

struct vio_fuse_attr {
	vio_le64 ino, size, blocks, atime, mtime, ctime;
	vio_le32 atimensec, mtimensec, ctimensec, mode, nlink, uid, gid, rdev, blksize, flags;
};
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_attr) == 88 && offsetof(struct vio_fuse_attr, mode) == 60, "FUSE");

struct vio_fuse_entry_out {
	vio_le64 nodeid, generation, entry_valid, attr_valid;
	vio_le32 entry_valid_nsec, attr_valid_nsec;
	struct vio_fuse_attr attr;
};
struct vio_fuse_attr_out { vio_le64 attr_valid; vio_le32 attr_valid_nsec, dummy; struct vio_fuse_attr attr; };
struct vio_fuse_open_out { vio_le64 fh; vio_le32 open_flags, padding; };
struct vio_fuse_write_out { vio_le32 size, padding; };		/* COPY_FILE_RANGE's too */
struct vio_fuse_getxattr_out { vio_le32 size, padding; };	/* LISTXATTR's too */
struct vio_fuse_lseek_out { vio_le64 offset; };
struct vio_fuse_ioctl_out { vio_le32 result, flags, in_iovs, out_iovs; };
struct vio_fuse_statfs_out {
	vio_le64 blocks, bfree, bavail, files, ffree;
	vio_le32 bsize, namelen, frsize, padding, spare[6];
};
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_entry_out) == 128 && sizeof(struct vio_fuse_attr_out) == 104, "FUSE");
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_open_out) == 16 && sizeof(struct vio_fuse_write_out) == 8, "FUSE");
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_getxattr_out) == 8 && sizeof(struct vio_fuse_lseek_out) == 8, "FUSE");
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_ioctl_out) == 16 && sizeof(struct vio_fuse_statfs_out) == 80, "FUSE");

struct vio_fuse_dirent { vio_le64 ino, off; vio_le32 namelen, type; };		/* then the name, padded to 8 bytes */
struct vio_fuse_direntplus { struct vio_fuse_entry_out entry; struct vio_fuse_dirent dirent; };
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_dirent) == 24 && sizeof(struct vio_fuse_direntplus) == 152, "FUSE");

struct vio_fuse_sx_time { vio_le64 sec; vio_le32 nsec, reserved; };
struct vio_fuse_statx {
	vio_le32 mask, blksize;
	vio_le64 attributes;
	vio_le32 nlink, uid, gid;
	vio_le16 mode, spare0;
	vio_le64 ino, size, blocks, attributes_mask;
	struct vio_fuse_sx_time atime, btime, ctime, mtime;
	vio_le32 rdev_major, rdev_minor, dev_major, dev_minor;
	vio_le64 spare2[14];
};
struct vio_fuse_statx_out { vio_le64 attr_valid; vio_le32 attr_valid_nsec, flags; vio_le64 spare[2]; struct vio_fuse_statx stat; };
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_statx) == 256 && offsetof(struct vio_fuse_statx, atime) == 64, "FUSE");
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_statx_out) == 288, "FUSE");
enum { VIO_STATX_BASIC = 0x7ff, VIO_STATX_BTIME = 0x800 };	/* statx.mask */

struct vio_fuse_init_out {
	vio_le32 major, minor, max_readahead, flags;
	vio_le16 max_background, congestion_threshold;
	vio_le32 max_write, time_gran;
	vio_le16 max_pages, map_alignment;
	vio_le32 flags2, unused[7];
};
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_init_out) == 64 && offsetof(struct vio_fuse_init_out, max_pages) == 28, "FUSE");
enum { VIO_FUSE_INIT_OUT_22 = 24 };	/* what a driver before 7.23 has room for; before 7.5: 8 */

/* ---- Questions ---- */

struct vio_fuse_forget_in { vio_le64 nlookup; };
struct vio_fuse_forget_one { vio_le64 nodeid, nlookup; };
struct vio_fuse_batch_forget_in { vio_le32 count, dummy; };	/* then count forget_one */
struct vio_fuse_getattr_in { vio_le32 getattr_flags, dummy; vio_le64 fh; };
struct vio_fuse_statx_in { vio_le32 getattr_flags, reserved; vio_le64 fh; vio_le32 sx_flags, sx_mask; };
struct vio_fuse_mknod_in { vio_le32 mode, rdev, umask, padding; };	/* then the name */
struct vio_fuse_mkdir_in { vio_le32 mode, umask; };			/* then the name */
struct vio_fuse_rename_in { vio_le64 newdir; };				/* then the old name, the new name */
struct vio_fuse_rename2_in { vio_le64 newdir; vio_le32 flags, padding; };	/* then the same */
struct vio_fuse_link_in { vio_le64 oldnodeid; };			/* then the new name */
struct vio_fuse_setattr_in {
	vio_le32 valid, padding;
	vio_le64 fh, size, lock_owner, atime, mtime, ctime;
	vio_le32 atimensec, mtimensec, ctimensec, mode, unused4, uid, gid, unused5;
};
struct vio_fuse_open_in { vio_le32 flags, open_flags; };
struct vio_fuse_create_in { vio_le32 flags, mode, umask, open_flags; };	/* then the name; TMPFILE's too */
struct vio_fuse_release_in { vio_le64 fh; vio_le32 flags, release_flags; vio_le64 lock_owner; };
struct vio_fuse_flush_in { vio_le64 fh; vio_le32 unused, padding; vio_le64 lock_owner; };
struct vio_fuse_read_in {		/* READDIR's and READDIRPLUS's too */
	vio_le64 fh, offset;
	vio_le32 size, read_flags;
	vio_le64 lock_owner;
	vio_le32 flags, padding;
};
struct vio_fuse_write_in {		/* then the bytes */
	vio_le64 fh, offset;
	vio_le32 size, write_flags;
	vio_le64 lock_owner;
	vio_le32 flags, padding;
};
struct vio_fuse_fsync_in { vio_le64 fh; vio_le32 fsync_flags, padding; };
struct vio_fuse_setxattr_in { vio_le32 size, flags, setxattr_flags, padding; };	/* then name and value */
enum { VIO_FUSE_SETXATTR_IN_COMPAT = 8 };	/* without SETXATTR_EXT */
struct vio_fuse_getxattr_in { vio_le32 size, padding; };	/* then the name; LISTXATTR's without one */
struct vio_fuse_file_lock { vio_le64 start, end; vio_le32 type, pid; };
struct vio_fuse_lk_in { vio_le64 fh, owner; struct vio_fuse_file_lock lk; vio_le32 lk_flags, padding; };
struct vio_fuse_lk_out { struct vio_fuse_file_lock lk; };
struct vio_fuse_access_in { vio_le32 mask, padding; };
struct vio_fuse_init_in { vio_le32 major, minor, max_readahead, flags, flags2, unused[11]; };
enum { VIO_FUSE_INIT_IN_COMPAT = 16 };		/* without INIT_EXT */
struct vio_fuse_interrupt_in { vio_le64 unique; };
struct vio_fuse_ioctl_in { vio_le64 fh; vio_le32 flags, cmd; vio_le64 arg; vio_le32 in_size, out_size; };
struct vio_fuse_fallocate_in { vio_le64 fh, offset, length; vio_le32 mode, padding; };
struct vio_fuse_lseek_in { vio_le64 fh, offset; vio_le32 whence, padding; };
struct vio_fuse_copy_file_range_in { vio_le64 fh_in, off_in, nodeid_out, fh_out, off_out, len, flags; };
struct vio_fuse_syncfs_in { vio_le64 padding; };
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_setattr_in) == 88 && sizeof(struct vio_fuse_init_in) == 64, "FUSE");
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_read_in) == 40 && sizeof(struct vio_fuse_write_in) == 40, "FUSE");
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_lk_in) == 48 && sizeof(struct vio_fuse_lk_out) == 24, "FUSE");
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_ioctl_in) == 32 && sizeof(struct vio_fuse_fallocate_in) == 32, "FUSE");
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_copy_file_range_in) == 56 && sizeof(struct vio_fuse_lseek_in) == 24, "FUSE");
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_release_in) == 24 && sizeof(struct vio_fuse_flush_in) == 24, "FUSE");
VIO_STATIC_ASSERT(sizeof(struct vio_fuse_statx_in) == 24 && sizeof(struct vio_fuse_getattr_in) == 16, "FUSE");

/* Behind the arguments of what creates, when the flags were agreed on: total_extlen of the header says how long. */
struct vio_fuse_secctx_header { vio_le32 size, nr_secctx; };	/* nr_secctx <= 31 tells it from the next */
struct vio_fuse_secctx { vio_le32 size, padding; };		/* then the name, then size bytes; padded to 8 bytes */
struct vio_fuse_ext_header { vio_le32 size, type; };		/* type > 31 */
struct vio_fuse_supp_groups { vio_le32 nr_groups; };		/* then the groups; padded to 8 bytes */

/* ---- DAX (5.11.6.4) ---- */

struct vio_fuse_setupmapping_in { vio_le64 fh, foffset, len, flags, moffset; };
struct vio_fuse_removemapping_in { vio_le32 count; };
struct vio_fuse_removemapping_one { vio_le64 moffset, len; };
#endif
