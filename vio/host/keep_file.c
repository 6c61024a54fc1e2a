/*
 * A keep in a file:
 *
 *   0      magic, layout
 *   16     version: the number of the slot written last, mapped by all who have the file open
 *   4096   slot 0  }  number, length, checksum, bytes.  The one with the larger number holds, if its checksum does; the
 *   16384  slot 1  }  other one is written next.  A write that is cut short leaves the old state.
 *
 * Locks of open file descriptions, so they also hold between two keeps of one process: byte 0 while the file is changed, byte 1
 * by everybody as long as it is open, which tells who comes first.
 */
#include <vio/host/keep.h>
#include <vio/host/sigbus.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "vio keep 1\n\0\0\0\0\0"
enum { PAGE = 4096, SLOT_AT = 4096, SLOT_BYTES = 12288, FILE_BYTES = SLOT_AT + 2 * SLOT_BYTES };
enum { CHANGING = 0, PRESENT = 1 };		/* bytes that are locked */
enum { TRIES = 200 };				/* a second */

struct header { char magic[16]; uint64_t version; };
struct slot { vio_le64 number; vio_le32 bytes, sum; unsigned char data[VIO_KEEP_BYTES]; };
VIO_STATIC_ASSERT(sizeof(struct slot) <= SLOT_BYTES && sizeof(MAGIC) == 17, "the layout");

struct file_keep {
	struct vio_keep base;
	int fd;
	struct header *header;		/* mapped */
	bool dead;			/* somebody has cut the file short */
};

static struct file_keep *of(struct vio_keep *k) { return (struct file_keep *)k; }

const struct vio_sandbox_call vio_keep_calls[] = {
	{ SYS_fcntl, VIO_CALL_ONE, 1, F_OFD_SETLK, 0 },
	{ .call = -1 }
};

/* ---- Locks ---- */

static int lock(int fd, int byte, short how)
{
	struct flock l = { .l_type = how, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

	return fcntl(fd, F_OFD_SETLK, &l) ? errno : 0;
}

/* Nobody holds it for longer than a write takes; who does all the same is not waited for without end. */
static int lock_soon(int fd, int byte, short how)
{
	int error = 0;

	for (unsigned i = 0; i < TRIES; i++) {
		error = lock(fd, byte, how);
		if (error != EAGAIN && error != EACCES)
			return error;
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
	return EBUSY;
}

/* ---- Slots ---- */

/* CRC-32C, a bit at a time: 8 KiB now and then. */
static uint32_t sum_of(const struct slot *s, size_t n)
{
	uint32_t crc = UINT32_MAX;
	const unsigned char *part[2] = { (const unsigned char *)s, s->data };
	const size_t size[2] = { offsetof(struct slot, sum), n };

	for (unsigned p = 0; p < 2; p++)
		for (size_t i = 0; i < size[p]; i++) {
			crc ^= part[p][i];
			for (unsigned bit = 0; bit < 8; bit++)
				crc = crc >> 1 ^ (UINT32_C(0x82f63b78) & -(crc & 1));
		}
	return ~crc;
}

static off_t slot_at(unsigned i) { return SLOT_AT + (off_t)i * SLOT_BYTES; }

/* 0 and *s, or EBADMSG: it was never written, or not to its end. */
static int read_slot(int fd, unsigned i, struct slot *s)
{
	ssize_t got = pread(fd, s, sizeof *s, slot_at(i));

	if (got < 0)
		return errno;
	if (got != sizeof *s)
		return EIO;		/* cut short */
	uint32_t n = vio_le32_get(s->bytes);
	return vio_le64_get(s->number) && n <= VIO_KEEP_BYTES && vio_le32_get(s->sum) == sum_of(s, n) ? 0 : EBADMSG;
}

/* The state that holds: which slot, or -1 with *error 0: there is none yet. */
static int newest(int fd, struct slot *s, int *error)
{
	struct slot other;
	int a = read_slot(fd, 0, s), b = read_slot(fd, 1, &other);

	*error = a && a != EBADMSG ? a : b && b != EBADMSG ? b : 0;
	if (*error || (a && b))
		return -1;
	if (b || (!a && vio_le64_get(s->number) > vio_le64_get(other.number)))
		return 0;
	*s = other;
	return 1;
}

static int write_all(int fd, const void *from, size_t n, off_t at)
{
	ssize_t done = pwrite(fd, from, n, at);

	return done < 0 ? errno : (size_t)done == n ? 0 : ENOSPC;
}

/* ---- The keep ---- */

static uint64_t version(struct vio_keep *k) { return __atomic_load_n(&of(k)->header->version, __ATOMIC_ACQUIRE); }

/* Without a lock: a writer never touches the slot that holds, and who is overtaken twice looks again. */
static size_t read_bytes(struct vio_keep *k, unsigned char *to, uint64_t *at)
{
	struct slot s;
	int error, which = -1;

	for (unsigned i = 0; i < TRIES && which < 0; i++) {
		*at = version(k);
		which = newest(of(k)->fd, &s, &error);
		if (which < 0 && (error || !*at))
			break;
	}
	if (which < 0)
		return 0;
	*at = vio_le64_get(s.number);
	memcpy(to, s.data, vio_le32_get(s.bytes));
	return vio_le32_get(s.bytes);
}

static int write_slot(struct file_keep *f, unsigned i, struct slot *s, size_t n, bool durable)
{
	static const struct slot nothing;

	s->bytes = vio_le32_of((uint32_t)n);
	memset(s->data + n, 0, sizeof s->data - n);
	s->sum = vio_le32_of(sum_of(s, n));
	int error = write_all(f->fd, s, sizeof *s, slot_at(i));
	if (!error && durable && fdatasync(f->fd))
		error = errno;
	if (error)		/* it must not be found, not even as far as it got */
		write_all(f->fd, &nothing, sizeof nothing, slot_at(i));
	return error;
}

static int change_locked(struct file_keep *f, bool durable, size_t (*change)(void *arg, unsigned char *bytes, size_t n), void *arg)
{
	struct slot s = { .number = vio_le64_of(0) };
	int error, which = newest(f->fd, &s, &error);

	if (error)
		return error;
	if (which < 0)
		s = (struct slot){ .number = vio_le64_of(0) };
	size_t n = change(arg, s.data, vio_le32_get(s.bytes));
	if (n > VIO_KEEP_BYTES)
		return 0;
	uint64_t number = vio_le64_get(s.number) + 1;
	s.number = vio_le64_of(number);
	error = write_slot(f, which == 0, &s, n, durable);
	if (!error)
		__atomic_store_n(&f->header->version, number, __ATOMIC_RELEASE);
	return error;
}

static int update(struct vio_keep *k, bool durable, size_t (*change)(void *arg, unsigned char *bytes, size_t n), void *arg)
{
	struct file_keep *f = of(k);

	if (__atomic_load_n(&f->dead, __ATOMIC_RELAXED))
		return EIO;
	int error = lock_soon(f->fd, CHANGING, F_WRLCK);
	if (error)
		return error;
	error = change_locked(f, durable, change, arg);
	lock(f->fd, CHANGING, F_UNLCK);
	return error;
}

static void keep_close(struct vio_keep *k)
{
	struct file_keep *f = of(k);

	if (f->header) {
		vio_sigbus_unguard(f->header);
		munmap(f->header, PAGE);
	}
	close(f->fd);
	free(f);
}

static const struct vio_keep_ops ops = { .version = version, .read = read_bytes, .update = update, .close = keep_close };

/* ---- Opening ---- */

/* An empty file becomes a keep; what else it is must be one.  With the file locked. */
static bool check_file(int fd, const char *name, char *why)
{
	struct header h;
	struct stat st;
	struct slot s;
	int error;

	if (fstat(fd, &st))
		return vio_refuse(why, "cannot look at %s: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return vio_refuse(why, "%s is not a file: reservations are kept in one", name);
	if (st.st_size == 0) {
		memcpy(h.magic, MAGIC, sizeof h.magic);
		h.version = 0;
		if (ftruncate(fd, FILE_BYTES) || write_all(fd, &h, sizeof h, 0) || fsync(fd))
			return vio_refuse(why, "cannot write to %s: %s", name, strerror(errno));
		return true;
	}
	if (st.st_size != FILE_BYTES || pread(fd, &h, sizeof h, 0) != sizeof h || memcmp(h.magic, MAGIC, sizeof h.magic))
		return vio_refuse(why, "%s is something else than a file of reservations: name one that is, or that does not exist yet", name);
	if (newest(fd, &s, &error) < 0 && error)
		return vio_refuse(why, "cannot read %s: %s", name, strerror(error));
	if (newest(fd, &s, &error) < 0 && h.version)
		return vio_refuse(why, "%s is damaged, and nobody knows which reservations there were: remove it to begin anew", name);
	return true;
}

/* Map the header, and put there what the slots say: whoever wrote last may have died before it did. */
static bool map_header(struct file_keep *f, const char *name, char *why)
{
	struct slot s;
	int error;
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);

	if (p == MAP_FAILED)
		return vio_refuse(why, "cannot map %s: %s", name, strerror(errno));
	if (!vio_sigbus_init() || !vio_sigbus_guard(p, PAGE, &f->dead)) {
		munmap(p, PAGE);
		return vio_refuse(why, "there is no memory for %s", name);
	}
	f->header = p;
	if (newest(f->fd, &s, &error) >= 0)
		__atomic_store_n(&f->header->version, vio_le64_get(s.number), __ATOMIC_RELEASE);
	return true;
}

/* Am I the first?  Then all others wait until that has been noted. */
static bool enter(struct file_keep *f, const char *name, char *why)
{
	f->base.fresh = lock(f->fd, PRESENT, F_WRLCK) == 0;
	int error = lock_soon(f->fd, PRESENT, F_RDLCK);
	if (!error)
		error = lock_soon(f->fd, CHANGING, F_WRLCK);
	if (error)
		return vio_refuse(why, "%s can't be locked (%s): move it to a file system that has file locks", name, strerror(error));
	bool ok = check_file(f->fd, name, why) && map_header(f, name, why);
	lock(f->fd, CHANGING, F_UNLCK);
	return ok;
}

struct vio_keep *vio_keep_file_take(int fd, const char *name, char *why)
{
	struct file_keep *f = calloc(1, sizeof *f);

	if (!f) {
		vio_refuse(why, "there is no memory for %s", name);
		close(fd);
		return NULL;
	}
	*f = (struct file_keep){ .base = { .ops = &ops }, .fd = fd };
	if (enter(f, name, why))
		return &f->base;
	keep_close(&f->base);
	return NULL;
}

/* The name of a file that was made is on stable storage, too. */
static int sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int error = fd < 0 || (fsync(fd) && errno != EINVAL) ? errno : 0;

	if (fd >= 0)
		close(fd);
	free(folder);
	return error;
}

struct vio_keep *vio_keep_file_open(const char *path, char *why)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);

	if (fd < 0) {
		vio_refuse(why, "cannot open %s for reading and writing: %s; choose a file that this user may make", path, strerror(errno));
		return NULL;
	}
	struct vio_keep *k = vio_keep_file_take(fd, path, why);
	int error = k ? sync_folder(path) : 0;
	if (error) {
		vio_refuse(why, "the folder of %s can't be synchronised: %s", path, strerror(error));
		keep_close(k);
		return NULL;
	}
	return k;
}
