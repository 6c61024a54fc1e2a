/*
 * The zones of an image in a file beside it: a head that says what they are, then 16 bytes for each.
 *
 * An entry lies within a sector, which storage writes whole or not at all.
 */
#include <vio/host/disk_zone.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vio/host/why.h>

enum { HEAD = 4096, VERSION = 1, FULL = 1 };

struct head { char magic[8]; vio_le32 version, conventional; vio_le64 disk_size, zone_size, capacity; uint8_t model, rest[7]; };
struct entry { vio_le64 wp; uint8_t flags, rest[7]; };
VIO_STATIC_ASSERT(sizeof(struct head) == 48 && sizeof(struct entry) == 16, "as it is in the file");

static struct head head_of(const struct vio_zone_table *t)
{
	return (struct head){ "viozones", vio_le32_of(VERSION), vio_le32_of(t->conventional), vio_le64_of(t->disk_size),
		vio_le64_of(t->is.size), vio_le64_of(t->capacity), t->is.model, { 0 } };
}

static off_t place(uint32_t i) { return HEAD + (off_t)i * (off_t)sizeof(struct entry); }

int vio_zone_file_put(int fd, uint32_t i, uint64_t wp, bool full)
{
	struct entry e = { vio_le64_of(wp), full ? FULL : 0, { 0 } };
	ssize_t n = pwrite(fd, &e, sizeof e, place(i));

	return n == sizeof e ? 0 : n < 0 ? errno : EIO;
}

static bool make(const struct vio_zone_table *t, int fd, const char *path, char *why)
{
	struct head h = head_of(t);

	if (ftruncate(fd, place(t->count)) || pwrite(fd, &h, sizeof h, 0) != sizeof h || fsync(fd))
		return vio_refuse(why, "the zones' file %.200s can't be written: %s", path, strerror(errno));
	return true;
}

static bool load(struct vio_zone_table *t, int fd, const char *path, char *why)
{
	struct head h, ours = head_of(t);
	struct entry e;

	if (pread(fd, &h, sizeof h, 0) != sizeof h || memcmp(&h, &ours, sizeof h))
		return vio_refuse(why, "%.200s is of zones of another size, capacity, number or kind: give the same as when the image was made, or "
		    "remove it, with which all zones are empty", path);
	for (uint32_t i = t->conventional; i < t->count; i++) {
		if (pread(fd, &e, sizeof e, place(i)) != sizeof e || e.flags & ~FULL || vio_le64_get(e.wp) > vio_zone_capacity(t, i))
			return vio_refuse(why, "%.200s is damaged at zone %u: restore it, or remove it, with which all zones are empty", path, i);
		vio_zone_revive(t, i, vio_le64_get(e.wp), e.flags & FULL);
	}
	return true;
}

int vio_zone_file_open(struct vio_zone_table *t, const char *path, bool read_only, char *why)
{
	struct stat st;
	int fd = open(path, (read_only ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC | O_NOCTTY, 0600);

	if (fd < 0 || fstat(fd, &st)) {
		vio_refuse(why, "the zones' file %.200s can't be opened: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		vio_refuse(why, "%.200s is not a file: remove it", path);
	} else if (st.st_size || read_only ? load(t, fd, path, why) : make(t, fd, path, why)) {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}
