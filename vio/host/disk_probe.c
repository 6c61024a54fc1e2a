/* What kind of image it is, how large, and what it can do.  Nothing here changes a byte of it. */
#include <vio/host/disk_file.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { BLOCK_MIN = 512, BLOCK_MAX = 65536, PAGE = 4096 };

static bool is_block_size(uint32_t n)
{
	return n >= BLOCK_MIN && n <= BLOCK_MAX && (n & (n - 1)) == 0;
}

/* ---- Opening ---- */

static bool explain_open(const struct vio_disk_file_options *o, int error, char *why)
{
	switch (error) {
	case ENOENT:
		return vio_refuse(why, "the image %s does not exist; make one with: truncate -s 1G %s", o->path, o->path);
	case EACCES:
	case EPERM:
		return vio_refuse(why, "the image %s can't be opened for %s (%s); change its owner or mode%s", o->path,
		    o->read_only ? "reading" : "reading and writing", strerror(error),
		    o->read_only ? "" : ", or use --read-only");
	case EROFS:
		return vio_refuse(why, "the image %s is on a read-only file system; use --read-only", o->path);
	case EINVAL:
		if (o->direct)
			return vio_refuse(why, "the file system of %s has no direct I/O; use --cache=writeback", o->path);
		break;
	case EBUSY:
		return vio_refuse(why, "the device %s is in use (mounted, or held exclusively); free it first", o->path);
	}
	return vio_refuse(why, "the image %s can't be opened: %s", o->path, strerror(error));
}

/* A descriptor that somebody else has opened. */
static bool take_image(struct vio_file *f, const struct vio_disk_file_options *o, struct stat *st, char *why)
{
	f->fd = o->fd;
	int flags = fcntl(f->fd, F_GETFL);
	if (flags < 0 || fstat(f->fd, st) < 0)
		return vio_refuse(why, "%s can't be looked at: %s", o->path, strerror(errno));
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return vio_refuse(why, "%s is neither a file nor a block device; name one of them", o->path);
	if (!o->read_only && (flags & O_ACCMODE) != O_RDWR)
		return vio_refuse(why, "the image %s was handed over for reading only; change its mode, or serve it read-only", o->path);
	if (o->direct && fcntl(f->fd, F_SETFL, flags | O_DIRECT) < 0)
		return vio_refuse(why, "the file system of %s has no direct I/O; use --cache=writeback", o->path);
	f->block_device = S_ISBLK(st->st_mode);
	f->disk.read_only = o->read_only;
	return true;
}

static bool open_image(struct vio_file *f, const struct vio_disk_file_options *o, struct stat *st, char *why)
{
	if (o->has_fd)
		return take_image(f, o, st, why);
	/* Looked at before it is opened: opening a terminal or a tape may do things. */
	if (stat(o->path, st) < 0)
		return explain_open(o, errno, why);
	if (S_ISDIR(st->st_mode))
		return vio_refuse(why, "%s is a directory; name an image file or a block device", o->path);
	if (!S_ISREG(st->st_mode) && !S_ISBLK(st->st_mode))
		return vio_refuse(why, "%s is neither a file nor a block device; name one of them", o->path);
	f->fd = open(o->path, (o->read_only ? O_RDONLY : O_RDWR) | (o->direct ? O_DIRECT : 0) | O_CLOEXEC | O_NOCTTY);
	if (f->fd < 0 || fstat(f->fd, st) < 0)
		return explain_open(o, errno, why);
	f->block_device = S_ISBLK(st->st_mode);
	f->disk.read_only = o->read_only;
	return true;
}

/* ---- sysfs ---- */

static int sysfs_open(dev_t dev)
{
	char path[64];

	snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major(dev), minor(dev));
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Up to n numbers of an attribute; how many there are. */
static int sysfs_numbers(int at, const char *name, unsigned long *v, int n)
{
	char text[64], *p = text, *next;
	int fd = at < 0 ? -1 : openat(at, name, O_RDONLY | O_CLOEXEC), i = 0;

	if (fd < 0)
		return 0;
	ssize_t len = read(fd, text, sizeof text - 1);
	close(fd);
	if (len <= 0)
		return 0;
	text[len] = 0;
	for (; i < n; i++, p = next) {
		v[i] = strtoul(p, &next, 0);
		if (next == p)
			break;
	}
	return i;
}

/* An attribute of the queue, which a partition shares with its disk. */
static unsigned long sysfs_queue(int at, const char *name)
{
	char path[64];
	unsigned long v;

	snprintf(path, sizeof path, "queue/%s", name);
	if (sysfs_numbers(at, path, &v, 1) == 1)
		return v;
	snprintf(path, sizeof path, "../queue/%s", name);
	return sysfs_numbers(at, path, &v, 1) == 1 ? v : 0;
}

bool vio_file_lifetime(int at, struct vio_disk *d)
{
	static const char *const folder[] = { "device", "../device" };	/* of a disk, of a partition */
	static const char ufs[] = "../../../health_descriptor";		/* the host controller's, above host, target, LUN */
	unsigned long eol, life[2];
	char path[96];

	for (unsigned i = 0; i < 2; i++) {
		/* eMMC: one attribute with both estimates */
		snprintf(path, sizeof path, "%s/pre_eol_info", folder[i]);
		bool found = sysfs_numbers(at, path, &eol, 1) == 1;
		snprintf(path, sizeof path, "%s/life_time", folder[i]);
		found = found && sysfs_numbers(at, path, life, 2) == 2;
		if (!found) {
			snprintf(path, sizeof path, "%s/%s/eol_info", folder[i], ufs);
			found = sysfs_numbers(at, path, &eol, 1) == 1;
			snprintf(path, sizeof path, "%s/%s/life_time_estimation_a", folder[i], ufs);
			found = found && sysfs_numbers(at, path, &life[0], 1) == 1;
			snprintf(path, sizeof path, "%s/%s/life_time_estimation_b", folder[i], ufs);
			found = found && sysfs_numbers(at, path, &life[1], 1) == 1;
		}
		if (!found)
			continue;
		d->has_lifetime = true;
		d->pre_eol = (uint16_t)eol;
		d->life_a = (uint16_t)life[0];
		d->life_b = (uint16_t)life[1];
		return true;
	}
	return false;
}

/* ---- Direct I/O ---- */

static bool direct_read_works(int fd, unsigned char *at, size_t n)
{
	return pread(fd, at, n, 0) >= 0 || errno != EINVAL;
}

/* Kernels that do not tell (before 6.1, and some file systems): try reads. */
static bool direct_try(struct vio_file *f)
{
	unsigned char *p = mmap(NULL, 2 * BLOCK_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return false;
	uint32_t len = BLOCK_MIN, mem = 1;
	while (len <= BLOCK_MAX && !direct_read_works(f->fd, p, len))
		len *= 2;
	while (len <= BLOCK_MAX && mem < len && !direct_read_works(f->fd, p + mem, len))
		mem *= 2;
	munmap(p, 2 * BLOCK_MAX);
	f->len_align = len;
	f->mem_align = mem;
	return len <= BLOCK_MAX;
}

static bool probe_direct(struct vio_file *f, const char *path, char *why)
{
	struct statx x;

	f->mem_align = f->len_align = 1;
	if (!f->direct)
		return true;
	memset(&x, 0, sizeof x);
	bool told = syscall(SYS_statx, f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &x) == 0 && (x.stx_mask & STATX_DIOALIGN);
	if (told) {
		f->len_align = x.stx_dio_offset_align;
		f->mem_align = x.stx_dio_mem_align;
	} else if (!direct_try(f)) {
		return vio_refuse(why, "%s can't be read with direct I/O; use --cache=writeback", path);
	}
	if (!f->len_align)
		return vio_refuse(why, "the file system of %s has no direct I/O for it; use --cache=writeback", path);
	return true;
}

/* ---- Blocks ---- */

static bool choose_block(struct vio_file *f, const struct vio_disk_file_options *o, uint32_t least, char *why)
{
	if (o->logical_block && !is_block_size(o->logical_block))
		return vio_refuse(why, "a logical block size of %u is not possible; it is a power of two from %d to %d",
		    o->logical_block, BLOCK_MIN, BLOCK_MAX);
	if (!is_block_size(least))
		return vio_refuse(why, "%s has blocks of %u bytes, which can't be served; sizes are powers of two from %d to %d",
		    o->path, least, BLOCK_MIN, BLOCK_MAX);
	if (o->logical_block && o->logical_block < least)
		return vio_refuse(why, "%s takes %s in blocks of %u bytes; use --logical-block-size=%u%s", o->path,
		    f->direct ? "direct I/O" : "requests", least, least, f->block_device ? "" : " or --cache=writeback");
	f->disk.logical_block = o->logical_block ? o->logical_block : least;
	return true;
}

int64_t vio_file_size(const struct vio_file *f)
{
	uint64_t bytes;

	if (f->block_device) {
		if (ioctl(f->fd, BLKGETSIZE64, &bytes) < 0)
			return -1;
	} else {
		struct stat st;
		if (fstat(f->fd, &st) < 0)
			return -1;
		bytes = (uint64_t)st.st_size;
	}
	return (int64_t)(bytes / f->disk.logical_block * f->disk.logical_block);
}

static bool check_size(struct vio_file *f, const char *path, const struct stat *st, char *why)
{
	int64_t size = vio_file_size(f);
	uint32_t block = f->disk.logical_block;

	if (size < 0)
		return vio_refuse(why, "the size of %s can't be found out: %s", path, strerror(errno));
	if (!f->block_device && size != st->st_size)
		return vio_refuse(why, "the image %s has %" PRIu64 " bytes, which is not a multiple of its %u-byte blocks; "
		    "pad it with: truncate -s %" PRIu64 " %s", path, (uint64_t)st->st_size, block, (uint64_t)size + block, path);
	f->disk.size = (uint64_t)size;
	return true;
}

/* ---- Abilities ---- */

/* An ioctl of a range that starts in the middle of a sector: EINVAL where the device could, EOPNOTSUPP where not. */
static bool range_ioctl_works(int fd, unsigned long request)
{
	uint64_t nonsense[2] = { 1, 1 };

	return ioctl(fd, request, nonsense) < 0 && errno == EINVAL;
}

static bool probe_block_device(struct vio_file *f, const struct vio_disk_file_options *o, const struct stat *st,
    char *why)
{
	int logical = BLOCK_MIN, read_only = 0;
	unsigned physical = 0, optimal = 0;

	if (ioctl(f->fd, BLKSSZGET, &logical) < 0)
		return vio_refuse(why, "%s does not tell its block size: %s", o->path, strerror(errno));
	if (!o->read_only && ioctl(f->fd, BLKROGET, &read_only) == 0 && read_only)
		return vio_refuse(why, "the device %s is read-only; use --read-only", o->path);
	uint32_t least = (uint32_t)logical;
	if (f->direct && f->len_align > least)
		least = f->len_align;
	if (!choose_block(f, o, least, why))
		return false;
	if (ioctl(f->fd, BLKPBSZGET, &physical) == 0)
		f->disk.physical_block = physical;
	if (ioctl(f->fd, BLKIOOPT, &optimal) == 0)
		f->disk.optimal_io = optimal;
	int sysfs = o->has_fd ? -1 : sysfs_open(st->st_rdev);	/* a confined program can't open it */
	f->disk.discard_align = (uint32_t)sysfs_queue(sysfs, "discard_granularity");
	bool offload = sysfs_queue(sysfs, "write_zeroes_max_bytes") > 0;
	vio_file_lifetime(sysfs, &f->disk);
	if (sysfs >= 0)
		close(sysfs);
	if (o->read_only)
		return true;
	f->disk.can_discard = range_ioctl_works(f->fd, BLKDISCARD);
	f->disk.can_erase = range_ioctl_works(f->fd, BLKSECDISCARD);
	f->disk.can_zero = true;	/* by writing, if need be */
	f->disk.zero_may_unmap = offload;
	f->no_punch = !offload;
	return true;
}

static bool probe_regular(struct vio_file *f, const struct vio_disk_file_options *o, const struct stat *st, char *why)
{
	struct statfs fs;
	uint32_t unit = st->st_blksize > 0 && st->st_blksize < PAGE ? (uint32_t)st->st_blksize : PAGE;

	if (fstatfs(f->fd, &fs) == 0 && ((unsigned long)fs.f_type == TMPFS_MAGIC || (unsigned long)fs.f_type == RAMFS_MAGIC))
		f->memory = true;
	if (f->memory)
		f->direct = false;	/* there is no other storage: every read is as direct as it gets */
	if (!choose_block(f, o, f->direct && f->len_align > BLOCK_MIN ? f->len_align : BLOCK_MIN, why))
		return false;
	f->disk.physical_block = unit > f->disk.logical_block ? unit : f->disk.logical_block;
	if (o->read_only)
		return true;
	f->disk.can_zero = true;
	/* Behind the end, where there is nothing to punch; the lock says that nobody is about to write there. */
	off_t behind = (st->st_size + PAGE - 1) & ~(off_t)(PAGE - 1);
	f->disk.can_discard = fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, behind, PAGE) == 0;
	f->disk.zero_may_unmap = f->disk.can_discard;
	f->no_punch = !f->disk.can_discard;
	f->disk.discard_align = f->disk.can_discard ? unit : 0;
	return true;
}

/* Can a read be told to fail instead of waiting?  (Not all file systems and kernels; direct I/O always waits.) */
static bool probe_nowait(const struct vio_file *f)
{
	unsigned char byte;
	struct iovec v = { &byte, 1 };

	return !f->direct && (preadv2(f->fd, &v, 1, 0, RWF_NOWAIT) >= 0 || errno == EAGAIN);
}

const struct vio_sandbox_call vio_disk_file_calls[] = {
	{ SYS_fcntl, VIO_CALL_ONE, 1, F_OFD_SETLK, 0 }, { SYS_fcntl, VIO_CALL_ONE, 1, F_OFD_GETLK, 0 },
	{ SYS_ioctl, VIO_CALL_ONE, 1, BLKSSZGET, 0 }, { SYS_ioctl, VIO_CALL_ONE, 1, BLKROGET, 0 },
	{ SYS_ioctl, VIO_CALL_ONE, 1, BLKPBSZGET, 0 }, { SYS_ioctl, VIO_CALL_ONE, 1, BLKIOOPT, 0 },
	{ SYS_statx, VIO_CALL_ANY, 0, 0, 0 },
	{ .call = -1 }
};

bool vio_file_probe(struct vio_file *f, const struct vio_disk_file_options *o, char *why)
{
	struct stat st;

	f->direct = o->direct;
	f->shared = o->shared;
	if (!open_image(f, o, &st, why) || (!o->unlocked && !vio_file_lock(f->fd, o, why)) || !probe_direct(f, o->path, why))
		return false;
	if (!(f->block_device ? probe_block_device(f, o, &st, why) : probe_regular(f, o, &st, why)))
		return false;
	f->nowait = probe_nowait(f);
	return check_size(f, o->path, &st, why);
}
