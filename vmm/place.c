#include <vmm/place.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <vio/host/why.h>

enum { PAGE = 4096 };

/* ---- Files ---- */

bool vmm_file_of(struct vmm_file *f, int fd, const char *name, char *why)
{
	off_t end = lseek(fd, 0, SEEK_END);

	*f = (struct vmm_file){ .fd = fd, .name = name };
	if (end < 0)
		return vio_refuse(why, "%s: cannot be read at any place (%s); give a file, not a pipe", name, strerror(errno));
	f->bytes = (uint64_t)end;
	return true;
}

static bool read_at(const struct vmm_file *f, uint64_t offset, unsigned char *to, uint64_t bytes, char *why)
{
	while (bytes) {
		size_t some = bytes < 1 << 30 ? (size_t)bytes : 1 << 30;
		ssize_t n = pread(f->fd, to, some, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return vio_refuse(why, "%s: %s at byte %" PRIu64, f->name, strerror(errno), offset);
		if (n == 0)
			return vio_refuse(why, "%s: became shorter while it was read; leave it alone until the machine has started",
				f->name);
		to += n, offset += (uint64_t)n, bytes -= (uint64_t)n;
	}
	return true;
}

static bool in_file(const struct vmm_file *f, uint64_t offset, uint64_t bytes, char *why)
{
	if (offset <= f->bytes && bytes <= f->bytes - offset)
		return true;
	return vio_refuse(why, "%s: is cut short: %" PRIu64 " bytes long, and %" PRIu64 " bytes at %" PRIu64
		" are spoken of; copy it again", f->name, f->bytes, bytes, offset);
}

bool vmm_file_read(const struct vmm_file *f, uint64_t offset, void *to, size_t bytes, char *why)
{
	return in_file(f, offset, bytes, why) && read_at(f, offset, to, bytes, why);
}

bool vmm_file_load(const struct vmm_file *f, uint64_t offset, uint64_t bytes, const struct vio_mem *mem, uint64_t at, char *why)
{
	struct vio_mem_hit hit;

	if (!in_file(f, offset, bytes, why))
		return false;
	while (bytes) {
		if (!vio_mem_find(mem, at, VIO_MEM_RW, &hit))
			return vio_refuse(why, "%s: the machine has no memory at 0x%" PRIx64 "; give it more", f->name, at);
		uint64_t skip = at - hit.addr, some = hit.size - skip < bytes ? hit.size - skip : bytes;
		if (!read_at(f, offset, hit.host + skip, some, why))
			return false;
		offset += some, at += some, bytes -= some;
	}
	return true;
}

/* ---- Memory ---- */

uint64_t vmm_mem_run(const struct vio_mem *mem, uint64_t at)
{
	struct vio_mem_hit hit;
	uint64_t run = 0;

	while (run <= UINT64_MAX - at && vio_mem_find(mem, at + run, VIO_MEM_RW, &hit)) {
		uint64_t more = hit.size - (at + run - hit.addr);
		run += more;
		if (at + run == 0)
			break;	/* memory up to the end of the address space */
	}
	return run;
}

/* from NULL: zeroes. */
static bool put(const struct vio_mem *mem, uint64_t at, const unsigned char *from, uint64_t bytes)
{
	struct vio_mem_hit hit;

	while (bytes) {
		if (!vio_mem_find(mem, at, VIO_MEM_RW, &hit))
			return false;
		uint64_t skip = at - hit.addr, some = hit.size - skip < bytes ? hit.size - skip : bytes;
		if (from)
			memcpy(hit.host + skip, from, some), from += some;
		else
			memset(hit.host + skip, 0, some);
		at += some, bytes -= some;
	}
	return true;
}

bool vmm_mem_put(const struct vio_mem *mem, uint64_t at, const void *from, uint64_t bytes)
{
	return put(mem, at, from, bytes);
}

bool vmm_mem_zero(const struct vio_mem *mem, uint64_t at, uint64_t bytes)
{
	return put(mem, at, NULL, bytes);
}

/* ---- Who owns it ---- */

static int taken(const struct vmm_place *p, uint64_t at, uint64_t bytes)
{
	for (unsigned i = 0; i < p->count; i++)
		if (at - p->claim[i].at < p->claim[i].bytes || p->claim[i].at - at < bytes)
			return (int)i;
	return -1;
}

static bool claim(struct vmm_place *p, uint64_t at, uint64_t bytes, const char *what, const char *name, char *why)
{
	if (p->count == VMM_CLAIMS)
		return vio_refuse(why, "%s: has too many segments; link it with fewer", name);
	p->claim[p->count].at = at;
	p->claim[p->count].bytes = bytes;
	p->claim[p->count++].what = what;
	return true;
}

bool vmm_claim(struct vmm_place *p, uint64_t at, uint64_t bytes, const char *what, const char *name, char *why)
{
	uint64_t run = vmm_mem_run(p->mem, at);
	int i;

	if (bytes == 0)
		return true;
	if (bytes - 1 > UINT64_MAX - at)
		return vio_refuse(why, "%s: %s would be at 0x%" PRIx64 ", 0x%" PRIx64 " bytes, beyond the end of all addresses; "
			"the file is damaged", name, what, at, bytes);
	if (run < bytes)
		return vio_refuse(why, "%s: %s needs memory from 0x%" PRIx64 " up to 0x%" PRIx64 ", and the machine has none at 0x%" PRIx64
			"; give it more memory", name, what, at, at + (bytes - 1), at + run);
	if ((i = taken(p, at, bytes)) >= 0)
		return vio_refuse(why, "%s: %s, 0x%" PRIx64 " bytes at 0x%" PRIx64 ", would lie over %s (0x%" PRIx64 " bytes at 0x%" PRIx64
			"); link it to run elsewhere", name, what, bytes, at, p->claim[i].what, p->claim[i].bytes, p->claim[i].at);
	return claim(p, at, bytes, what, name, why);
}

bool vmm_claim_high(struct vmm_place *p, uint64_t from, uint64_t below, uint64_t bytes, const char *what, const char *name,
	uint64_t *at, char *why)
{
	uint64_t run = vmm_mem_run(p->mem, from), top;
	int i;

	top = below > from && below - from < run ? below : from + run;
	while (below > from && top > from && bytes <= top - from) {
		uint64_t a = (top - bytes) / PAGE * PAGE;
		if (a < from)
			break;
		if ((i = taken(p, a, bytes)) < 0) {
			*at = a;
			return claim(p, a, bytes, what, name, why);
		}
		top = p->claim[i].at;
	}
	return vio_refuse(why, "%s: no room for %s of %" PRIu64 " bytes between 0x%" PRIx64 " and 0x%" PRIx64
		" beside the kernel; give the machine more memory, or a smaller %s", name, what, bytes, from,
		below > from && below - from < run ? below : from + run, what);
}

bool vmm_load_initrd(const struct vmm_load *how, struct vmm_place *p, uint64_t from, uint64_t below, struct vmm_entry *entry,
	char *why)
{
	struct vmm_file f;

	entry->initrd = entry->initrd_bytes = 0;
	if (how->initrd < 0)
		return true;
	if (!vmm_file_of(&f, how->initrd, how->initrd_name, why))
		return false;
	if (f.bytes == 0)
		return vio_refuse(why, "%s: the initrd is empty; give one that is not, or none", f.name);
	if (!vmm_claim_high(p, from, below, f.bytes, "initrd", f.name, &entry->initrd, why) ||
	    !vmm_file_load(&f, 0, f.bytes, p->mem, entry->initrd, why))
		return false;
	entry->initrd_bytes = f.bytes;
	return true;
}
