/* The front end's memory and dirty log: regions, each with its own file, as the back end gets them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vio/vhost/frontend_impl.h>

bool vio_vhost_memory_make(struct vio_vhost_memory *m, uint64_t size)
{
	/* a guest address that is neither a file offset nor a host address, so that nobody can mistake one for the other */
	*m = (struct vio_vhost_memory){ .size = size, .gpa = UINT64_C(0x100000000), .fd = -1 };
	if (size == 0 || size > INT64_MAX) {
		errno = EINVAL;
		return false;
	}
	m->fd = memfd_create("vio-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0)
		return false;
	if (ftruncate(m->fd, (off_t)size) == 0 && fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
		m->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
		if (m->base != MAP_FAILED)
			return true;
	}
	int error = errno;
	vio_front_close(&m->fd);
	m->base = NULL;
	errno = error;
	return false;
}

void vio_vhost_memory_free(struct vio_vhost_memory *m)
{
	if (m->base)
		munmap(m->base, m->size);
	m->base = NULL;
	vio_front_close(&m->fd);
}

/* ---- regions ---- */

static struct vio_vhost_region on_the_wire(const struct vio_front_region *r)
{
	return (struct vio_vhost_region){ .gpa = r->gpa, .size = r->size, .uva = (uint64_t)(uintptr_t)r->host, .offset = r->offset };
}

static bool has_region(const struct vio_front_region *in, unsigned count, const struct vio_front_region *r)
{
	for (unsigned i = 0; i < count; i++)
		if (in[i].gpa == r->gpa && in[i].size == r->size && in[i].host == r->host && in[i].offset == r->offset)
			return true;
	return false;
}

/* A back end that takes regions one by one lets go of those that are in there no more. */
static bool remove_others(struct vio_vhost_front *f, const struct vio_front_region *keep, unsigned count)
{
	for (unsigned i = 0; i < f->regions && f->memory_sent && f->slots && !f->broken; i++) {
		struct vio_vhost_mem_reg r = { .region = on_the_wire(&f->region[i]) };
		if (!has_region(keep, count, &f->region[i]) && !vio_front_tell(f, VIO_MSG_REM_MEM_REG, &r, sizeof r, NULL, 0))
			return false;
	}
	return true;
}

bool vio_front_set_regions(struct vio_vhost_front *f, const struct vio_front_region *region, unsigned count)
{
	struct vio_front_region *copy = count && count <= VIO_VHOST_MEM_SLOTS ? malloc(count * sizeof *copy) : NULL;

	if (!copy)
		return vio_front_fail(f, "Memory of %u regions can't be shared: 1 to %d can.", count, VIO_VHOST_MEM_SLOTS);
	if (!remove_others(f, region, count)) {
		free(copy);
		return false;
	}
	memcpy(copy, region, count * sizeof *copy);
	for (unsigned i = 0; i < count; i++)
		copy[i].sent = f->memory_sent && has_region(f->region, f->regions, &copy[i]);
	free(f->region);
	f->region = copy;
	f->regions = count;
	f->memory_sent = false;
	return true;
}

/* One memory cut into pieces, equally large, at multiples of 16. */
bool vio_front_cut_memory(struct vio_vhost_front *f)
{
	const struct vio_vhost_memory *m = f->o.memory;
	unsigned n = m->regions ? m->regions : 1;
	struct vio_front_region region[VIO_VHOST_MEM_SLOTS];

	if (n > VIO_VHOST_MEM_SLOTS || m->size / n < VIO_MEM_ALIGN)
		return vio_front_fail(f, "Memory can't be cut into %u regions: they would be too small.", n);
	for (unsigned i = 0; i < n; i++) {
		uint64_t from = m->size / n * i & ~(uint64_t)(VIO_MEM_ALIGN - 1);
		uint64_t to = i + 1 == n ? m->size : m->size / n * (i + 1) & ~(uint64_t)(VIO_MEM_ALIGN - 1);
		region[i] = (struct vio_front_region){ .gpa = m->gpa + from, .size = to - from, .offset = from,
			.host = (unsigned char *)m->base + from, .fd = m->fd };
	}
	return vio_front_set_regions(f, region, n);
}

const struct vio_front_region *vio_front_region(const struct vio_vhost_front *f, uint64_t addr)
{
	for (unsigned i = 0; i < f->regions; i++)
		if (addr - f->region[i].gpa < f->region[i].size)
			return &f->region[i];
	return NULL;
}

/* Regions that are neighbours here and there are one piece. */
uint64_t vio_front_uva(const struct vio_vhost_front *f, uint64_t addr, uint64_t len)
{
	const struct vio_front_region *r = vio_front_region(f, addr), *end = f->region + f->regions;
	if (!r)
		return 0;
	uint64_t uva = (uint64_t)(uintptr_t)r->host + (addr - r->gpa), have = r->size - (addr - r->gpa);
	for (; have < len && r + 1 < end && r[1].gpa == r->gpa + r->size && r[1].host == r->host + r->size; r++)
		have += r[1].size;
	return len <= have ? uva : 0;
}

static bool send_table(struct vio_vhost_front *f)
{
	struct vio_vhost_mem_table t = { .count = f->regions };
	int fds[VIO_VHOST_REGIONS];
	for (unsigned i = 0; i < t.count; i++) {
		t.region[i] = on_the_wire(&f->region[i]);
		fds[i] = f->region[i].fd;
	}
	return vio_front_tell(f, VIO_MSG_SET_MEM_TABLE, &t,
	    (uint32_t)(offsetof(struct vio_vhost_mem_table, region) + t.count * sizeof *t.region), fds, t.count);
}

bool vio_front_memory(struct vio_vhost_front *f)
{
	uint64_t most = f->slots ? f->slots : VIO_VHOST_REGIONS;

	if (f->memory_sent)
		return true;
	if (!f->regions)
		return vio_front_fail(f, "A queue was started before memory was given.");
	if (f->regions > most)
		return vio_front_fail(f, "The back end takes %llu memory regions at most, not %u.", (unsigned long long)most, f->regions);
	if (f->slots) {
		for (unsigned i = 0; i < f->regions; i++) {
			struct vio_vhost_mem_reg r = { .region = on_the_wire(&f->region[i]) };
			if (!f->region[i].sent && !vio_front_tell(f, VIO_MSG_ADD_MEM_REG, &r, sizeof r, &f->region[i].fd, 1))
				return false;
		}
	} else if (!send_table(f))
		return false;
	f->memory_sent = true;
	return true;
}

/* ---- dirty log ---- */

/* One bit a page up to the highest address: of memory, and of nothing above it. */
static bool make_log(struct vio_vhost_front *f)
{
	uint64_t end = 0;
	for (unsigned i = 0; i < f->regions; i++)
		if (f->region[i].gpa + f->region[i].size > end)
			end = f->region[i].gpa + f->region[i].size;
	uint64_t bytes = (end / VIO_DIRTY_PAGE / 8 + 1 + 4095) & ~UINT64_C(4095);

	if (f->log_bits)
		return true;
	f->log_fd = memfd_create("vio-log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	/* sealed: whoever cut it short would take us with it */
	if (f->log_fd >= 0 && ftruncate(f->log_fd, (off_t)bytes) == 0
	    && fcntl(f->log_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
		void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->log_fd, 0);
		if (p != MAP_FAILED) {
			f->log_bits = p;
			f->log_bytes = bytes;
			return true;
		}
	}
	snprintf(f->why, sizeof f->why, "No memory for a dirty log: %s.", strerror(errno));
	vio_front_close(&f->log_fd);
	return false;
}

/* Always answered: by nothing, by what was sent, or by a number. */
bool vio_front_log(struct vio_vhost_front *f)
{
	struct vio_vhost_log log = { f->log_bytes, 0 };
	const struct vio_front_question q = { .request = VIO_MSG_SET_LOG_BASE, .payload = &log, .size = sizeof log,
		.min = 0, .max = sizeof log, .send_fd = &f->log_fd };
	union vio_vhost_payload p;
	return vio_front_ask(f, &q, &p, NULL, NULL);
}

bool vio_vhost_log(struct vio_vhost_front *f, bool on, uint8_t **bits, uint64_t *bytes)
{
	if (f->broken || !vio_front_uses(f, VIO_VHOST_F_LOG_SHMFD) || !(f->offered >> VIO_VHOST_LOG_ALL & 1))
		return false;
	if (on && (!make_log(f) || !vio_front_log(f)))
		return false;
	f->logging = on;
	if (f->accepted && !vio_front_send_features(f))
		return false;
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++)
		if (f->queue[i].running && !vio_front_addresses(f, i))
			return false;
	if (on) {
		*bits = f->log_bits;
		*bytes = f->log_bytes;
	}
	return true;
}
