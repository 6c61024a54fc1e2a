/*
 * Guest memory: one file in memory, seen by KVM, by the devices (struct vio_mem) and by whoever is handed the descriptor.
 *
 * What was written is known from two logs while it matters (migration): KVM's, of what vCPUs wrote, and ours, of what devices wrote.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmm/arch.h>
#include <vmm/kvm.h>

enum { ALIGN = 2 << 20 };

static bool set_slots(struct vmm *m, bool log, char *why)
{
	for (unsigned i = 0; i < m->memory.regions; i++) {
		const struct vio_region *r = &m->memory.region[i];
		struct kvm_userspace_memory_region slot = { .slot = i, .flags = log ? KVM_MEM_LOG_DIRTY_PAGES : 0, .guest_phys_addr = r->gpa,
			.memory_size = r->size, .userspace_addr = (uint64_t)(uintptr_t)r->host };
		if (!vmm_try(m->vm, KVM_SET_USER_MEMORY_REGION, &slot, "map the guest's memory", why))
			return false;
	}
	return true;
}

static void release(struct vio_mem *mem) { free(mem); }

/* A new value of the same regions, with or without a log. */
static bool new_value(struct vmm *m, char *why)
{
	struct vmm_memory *y = &m->memory;
	struct vio_mem *mem = calloc(1, sizeof *mem);

	if (!mem)
		return vio_refuse(why, "there is no memory for the machine");
	*mem = (struct vio_mem){ .region = y->region, .count = y->regions, .refs = 1, .release = release,
		.dirty = { y->dirty, y->dirty_bytes } };
	vio_mem_unref(y->mem);
	y->mem = mem;
	return true;
}

static bool make_file(struct vmm_memory *y, char *why)
{
	y->fd = memfd_create("vio-guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (y->fd < 0 || ftruncate(y->fd, (off_t)y->bytes) || fcntl(y->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return vio_refuse(why, "cannot make %llu MiB of guest memory: %s; give --memory less", (unsigned long long)y->bytes >> 20,
		    strerror(errno));
	y->base = mmap(NULL, y->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, y->fd, 0);
	if (y->base == MAP_FAILED) {
		y->base = NULL;
		return vio_refuse(why, "cannot map %llu MiB of guest memory: %s; give --memory less", (unsigned long long)y->bytes >> 20,
		    strerror(errno));
	}
	return true;
}

bool vmm_memory_open(struct vmm *m, char *why)
{
	struct vmm_memory *y = &m->memory;
	uint64_t offset = 0;

	y->bytes = m->o.memory;
	if (y->bytes < ALIGN || y->bytes % ALIGN)
		return vio_refuse(why, "guest memory is a multiple of 2 MiB, at least one: give --memory such a size");
	if (!vmm_arch_memory(m, why) || !make_file(y, why))
		return false;
	for (unsigned i = 0; i < y->regions; i++) {
		struct vio_region *r = &y->region[i];
		y->backing[i] = (struct vio_backing){ .fd = y->fd, .offset = offset, .page = 4096 };
		r->host = y->base + offset;
		r->perm = VIO_MEM_RW;
		r->backing = &y->backing[i];
		r->uva = (uint64_t)(uintptr_t)r->host;
		offset += r->size;
		y->top = r->gpa + r->size;
	}
	return set_slots(m, false, why) && new_value(m, why);
}

void vmm_memory_close(struct vmm *m)
{
	struct vmm_memory *y = &m->memory;

	vio_mem_unref(y->mem);
	for (unsigned i = 0; i < y->regions; i++)
		free(y->backing[i].kept);
	if (y->base)
		munmap(y->base, y->bytes);
	if (y->fd >= 0)
		close(y->fd);
	free(y->dirty);
}

/* ---- What was written ---- */

bool vmm_memory_log(struct vmm *m, bool on, char *why)
{
	struct vmm_memory *y = &m->memory;
	uint8_t *bits = NULL, *before = y->dirty;

	if (on == (before != NULL))
		return true;
	y->dirty_bytes = on ? (y->top / VIO_DIRTY_PAGE + 63) / 64 * 8 : 0;
	if (on && !(bits = calloc(1, y->dirty_bytes)))
		return vio_refuse(why, "there is no memory to log what the guest writes");
	y->dirty = bits;
	if (!new_value(m, why) || !set_slots(m, on, why))
		return false;
	vmm_devices_adopt(m);
	free(before);		/* nobody has the old value any more */
	return vmm_devices_log(m, on, why);
}

static bool region_written(struct vmm *m, unsigned i, uint8_t *bits, char *why)
{
	const struct vio_region *r = &m->memory.region[i];
	uint64_t words = (r->size / VIO_DIRTY_PAGE + 63) / 64;
	uint64_t *log = calloc(words, sizeof *log), *to = (uint64_t *)(void *)bits + r->gpa / VIO_DIRTY_PAGE / 64;

	if (!log)
		return vio_refuse(why, "there is no memory to log what the guest writes");
	struct kvm_dirty_log l = { .slot = i, .dirty_bitmap = log };
	bool ok = vmm_try(m->vm, KVM_GET_DIRTY_LOG, &l, "say what the guest has written", why);
	for (uint64_t k = 0; ok && k < words; k++)
		to[k] |= log[k];
	free(log);
	return ok;
}

/* Devices set bits meanwhile. */
static void take_bits(uint8_t *to, uint8_t *from, uint64_t bytes)
{
	for (uint64_t k = 0; k < bytes; k++)
		if (__atomic_load_n(&from[k], __ATOMIC_RELAXED))
			to[k] |= __atomic_exchange_n(&from[k], 0, __ATOMIC_ACQ_REL);
}

bool vmm_memory_written(struct vmm *m, uint8_t *bits, char *why)
{
	struct vmm_memory *y = &m->memory;

	for (unsigned i = 0; i < y->regions; i++)
		if (!region_written(m, i, bits, why))
			return false;
	take_bits(bits, y->dirty, y->dirty_bytes);
	for (struct vmm_device *d = m->devices; d; d = d->next)
		if (d->written)
			take_bits(bits, d->written, d->written_bytes < y->dirty_bytes ? d->written_bytes : y->dirty_bytes);
	return true;
}

struct vio_mem *vmm_mem(struct vmm *m) { return m->memory.mem; }
int vmm_memory_fd(const struct vmm *m) { return m->memory.fd; }
