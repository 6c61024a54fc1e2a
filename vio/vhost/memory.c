#include <vio/vhost/memory.h>
#include <vio/host/sigbus.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ---- Mappings ---- */

/* Offset and length of a mapping must be multiples of this: huge pages, where the file is made of them. */
static uint64_t page_of(int fd)
{
	struct statfs fs;

	if (!fstatfs(fd, &fs) && fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize > 0)
		return (uint64_t)fs.f_bsize;
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static const char *mapping_failed(void)
{
	switch (errno) {
	case EACCES: case EPERM:
		return "guest memory is not shared, or read-only: give QEMU's memory backend share=on";
	case ENOMEM:
		return "guest memory can't be mapped: there are no pages or no addresses left for it (hugepages: see /proc/meminfo)";
	default:
		return "guest memory can't be mapped: give QEMU a memory-backend-memfd or -file with share=on";
	}
}

struct vio_vhost_map *vio_vhost_map_new(int fd, uint64_t offset, uint64_t size, bool *dead, const char **why)
{
	struct stat st;
	uint64_t page = page_of(fd), slack = offset % page;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode)) {
		*why = "what came as memory is not a file: give QEMU a memory-backend-memfd or -file with share=on";
		return NULL;
	}
	if (size == 0 || offset > (uint64_t)st.st_size || size > (uint64_t)st.st_size - offset) {
		*why = "memory lies beyond the end of its file";
		return NULL;
	}
	uint64_t bytes = (slack + size + page - 1) / page * page;	/* the file has them: it can't wrap */
	struct vio_vhost_map *map = malloc(sizeof *map);
	if (!map) {
		*why = "there is no memory to note a mapping";
		return NULL;
	}
	void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)(offset - slack));
	if (base == MAP_FAILED) {
		*why = mapping_failed();
		free(map);
		return NULL;
	}
	if (!vio_sigbus_guard(base, bytes, dead)) {
		*why = "there is no memory to note a mapping";
		munmap(base, bytes);
		free(map);
		return NULL;
	}
	*map = (struct vio_vhost_map){ .refs = 1, .base = base, .bytes = bytes, .at = (unsigned char *)base + slack, .size = size,
		.dev = st.st_dev, .ino = st.st_ino, .offset = offset, .backing = { .fd = -1, .offset = offset, .page = page } };
	return map;
}

struct vio_vhost_map *vio_vhost_map_ref(struct vio_vhost_map *map)
{
	if (map)
		__atomic_fetch_add(&map->refs, 1, __ATOMIC_RELAXED);
	return map;
}

void vio_vhost_map_unref(struct vio_vhost_map *map)
{
	if (!map || __atomic_fetch_sub(&map->refs, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	vio_sigbus_unguard(map->base);
	munmap(map->base, map->bytes);
	if (map->backing.fd >= 0)
		close(map->backing.fd);
	free(map->backing.kept);
	free(map);
}

/* ---- Values ---- */

/* A value and all that it points to are one block. */
struct value {
	struct vio_mem mem;		/* first */
	struct vio_vhost_map *log;
	struct vio_vhost_map **map;
	struct vio_region *region;
	struct vio_iotlb_entry *iotlb;
};

static const struct value *value_of(const struct vio_mem *m) { return (const struct value *)(const void *)m; }

static void value_release(struct vio_mem *m)
{
	struct value *v = (struct value *)(void *)m;

	for (uint32_t i = 0; i < m->count; i++)
		vio_vhost_map_unref(v->map[i]);
	vio_vhost_map_unref(v->log);
	free(v);
}

struct vio_vhost_draft *vio_vhost_draft_new(const struct vio_mem *from)
{
	struct vio_vhost_draft *d = malloc(sizeof *d);

	if (!d)
		return NULL;
	d->count = d->iotlb_count = 0;
	d->log = NULL;
	d->iommu = d->keep_files = false;
	if (!from)
		return d;
	d->count = from->count;
	for (uint32_t i = 0; i < d->count; i++) {
		d->region[i] = from->region[i];
		d->map[i] = vio_vhost_map_ref(value_of(from)->map[i]);
	}
	d->log = vio_vhost_map_ref(value_of(from)->log);
	d->iommu = from->iommu;
	d->iotlb_count = from->iotlb_count;
	memcpy(d->iotlb, from->iotlb, d->iotlb_count * sizeof *d->iotlb);
	return d;
}

void vio_vhost_draft_clear(struct vio_vhost_draft *d)
{
	for (uint32_t i = 0; i < d->count; i++)
		vio_vhost_map_unref(d->map[i]);
	d->count = 0;
}

void vio_vhost_draft_drop(struct vio_vhost_draft *d)
{
	if (!d)
		return;
	vio_vhost_draft_clear(d);
	vio_vhost_draft_log(d, NULL);
	free(d);
}

struct vio_mem *vio_vhost_draft_finish(struct vio_vhost_draft *d)
{
	size_t regions = d->count * sizeof *d->region, maps = d->count * sizeof *d->map;
	struct value *v = malloc(sizeof *v + regions + maps + d->iotlb_count * sizeof *d->iotlb);

	if (!v) {
		vio_vhost_draft_drop(d);
		return NULL;
	}
	*v = (struct value){ .log = d->log };
	v->region = (struct vio_region *)(void *)(v + 1);
	v->map = (struct vio_vhost_map **)(void *)((char *)v->region + regions);
	v->iotlb = (struct vio_iotlb_entry *)(void *)((char *)v->map + maps);
	memcpy(v->region, d->region, regions);
	memcpy(v->map, d->map, maps);
	memcpy(v->iotlb, d->iotlb, d->iotlb_count * sizeof *d->iotlb);
	v->mem = (struct vio_mem){ .region = v->region, .count = d->count, .refs = 1, .release = value_release,
		.iommu = d->iommu, .iotlb = v->iotlb, .iotlb_count = d->iotlb_count };
	if (d->log)
		v->mem.dirty = (struct vio_dirty){ d->log->at, d->log->size };
	free(d);
	return &v->mem;
}

/* ---- Regions ---- */

static struct vio_vhost_map *same_bytes(const struct vio_mem *from, const struct vio_vhost_region *r, int fd)
{
	struct stat st;

	if (!from || fstat(fd, &st))
		return NULL;
	for (uint32_t i = 0; i < from->count; i++) {
		struct vio_vhost_map *map = value_of(from)->map[i];
		if (map->dev == st.st_dev && map->ino == st.st_ino && map->offset == r->offset && map->size == r->size)
			return vio_vhost_map_ref(map);
	}
	return NULL;
}

const char *vio_vhost_draft_add(struct vio_vhost_draft *d, const struct vio_vhost_region *r, int fd, const struct vio_mem *from,
    bool *dead)
{
	const char *why = NULL;

	if (d->count == VIO_VHOST_MEM_SLOTS)
		return "all memory slots are taken";
	if (r->size == 0)
		return "memory region of no bytes";
	struct vio_vhost_map *map = same_bytes(from, r, fd);
	if (!map)
		map = vio_vhost_map_new(fd, r->offset, r->size, dead, &why);
	if (!map)
		return why;
	if (d->keep_files && map->backing.fd < 0 && (map->backing.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0) {
		vio_vhost_map_unref(map);
		return "there are no descriptors left to keep guest memory's files open: raise the limit of open files (ulimit -n)";
	}
	d->region[d->count] = (struct vio_region){ .gpa = r->gpa, .size = r->size, .host = map->at, .uva = r->uva,
		.perm = VIO_MEM_RW, .backing = d->keep_files ? &map->backing : NULL };
	d->map[d->count++] = map;
	return NULL;
}

const char *vio_vhost_draft_remove(struct vio_vhost_draft *d, const struct vio_vhost_region *r, struct vio_region *gone)
{
	for (uint32_t i = 0; i < d->count; i++) {
		const struct vio_region *have = &d->region[i];
		if (have->gpa != r->gpa || have->uva != r->uva || have->size != r->size)
			continue;
		*gone = *have;
		vio_vhost_map_unref(d->map[i]);
		d->count--;
		memmove(&d->region[i], &d->region[i + 1], (d->count - i) * sizeof *d->region);
		memmove(&d->map[i], &d->map[i + 1], (d->count - i) * sizeof *d->map);
		return NULL;
	}
	return "there is no such memory region to remove";
}

bool vio_vhost_mem_has(const struct vio_mem *m, const struct vio_vhost_region *r, int fd)
{
	struct stat st;

	if (!m || fstat(fd, &st))
		return false;
	for (uint32_t i = 0; i < m->count; i++) {
		const struct vio_region *have = &m->region[i];
		const struct vio_vhost_map *map = value_of(m)->map[i];
		if (have->gpa == r->gpa && have->uva == r->uva && have->size == r->size && map->offset == r->offset
		    && map->dev == st.st_dev && map->ino == st.st_ino)
			return true;
	}
	return false;
}

/* By guest address; the mappings follow their regions.  Few, and nearly sorted: insertion. */
static void sort(struct vio_vhost_draft *d)
{
	for (uint32_t i = 1; i < d->count; i++) {
		struct vio_region r = d->region[i];
		struct vio_vhost_map *map = d->map[i];
		uint32_t j = i;
		for (; j && d->region[j - 1].gpa > r.gpa; j--) {
			d->region[j] = d->region[j - 1];
			d->map[j] = d->map[j - 1];
		}
		d->region[j] = r;
		d->map[j] = map;
	}
}

static bool uva_overlap(const struct vio_vhost_draft *d)
{
	for (uint32_t i = 0; i < d->count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (d->region[i].uva - d->region[j].uva < d->region[j].size ||
			    d->region[j].uva - d->region[i].uva < d->region[i].size)
				return true;
	return false;
}

static uint64_t regions_end(const struct vio_region *r, uint32_t count)
{
	if (!count)
		return 0;
	r += count - 1;		/* sorted and disjoint: the last one ends last */
	return r->size > UINT64_MAX - r->gpa ? UINT64_MAX : r->gpa + r->size;
}

uint64_t vio_vhost_mem_end(const struct vio_mem *m) { return m ? regions_end(m->region, m->count) : 0; }

bool vio_vhost_log_covers(uint64_t log_bytes, uint64_t end)
{
	return end == 0 || (end - 1) / VIO_DIRTY_PAGE / 8 < log_bytes;
}

const char *vio_vhost_draft_check(struct vio_vhost_draft *d)
{
	sort(d);
	const char *why = vio_mem_check(d->region, d->count);
	if (why)
		return why;
	if (uva_overlap(d))
		return "memory regions overlap in the front end's address space";
	if (d->log && !vio_vhost_log_covers(d->log->size, regions_end(d->region, d->count)))
		return "memory would go beyond the dirty log: set a longer log first";
	return NULL;
}

void vio_vhost_draft_log(struct vio_vhost_draft *d, struct vio_vhost_map *log)
{
	vio_vhost_map_ref(log);
	vio_vhost_map_unref(d->log);
	d->log = log;
}

bool vio_vhost_mem_keeps(const struct vio_mem *m, const void *host, uint64_t len)
{
	for (uint32_t i = 0; i < m->count; i++) {
		uint64_t at = (uintptr_t)host - (uintptr_t)m->region[i].host;
		if (at < m->region[i].size)
			return len <= m->region[i].size - at;
	}
	return false;
}

/* ---- Translations ---- */

/* All of [uva, uva + size) in regions, which may be several that follow each other. */
static bool uva_known(const struct vio_vhost_draft *d, uint64_t uva, uint64_t size)
{
	while (size) {
		uint64_t n = 0;
		for (uint32_t i = 0; i < d->count && !n; i++)
			if (uva - d->region[i].uva < d->region[i].size)
				n = d->region[i].size - (uva - d->region[i].uva);
		if (!n)
			return false;
		if (n > size)
			n = size;
		uva += n;
		size -= n;
	}
	return true;
}

/* Widen a range of host bytes by what [uva, uva + size) is. */
static void widen(struct vio_region *range, const struct vio_vhost_draft *d, uint64_t uva, uint64_t size)
{
	for (uint32_t i = 0; i < d->count; i++) {
		const struct vio_region *r = &d->region[i];
		uint64_t from = uva > r->uva ? uva : r->uva;
		uint64_t last = uva + (size - 1) < r->uva + (r->size - 1) ? uva + (size - 1) : r->uva + (r->size - 1);
		if (from > last)
			continue;
		unsigned char *lo = r->host + (from - r->uva), *end = r->host + (last - r->uva) + 1;
		if (range->size) {
			unsigned char *range_end = range->host + range->size;
			lo = (uintptr_t)lo < (uintptr_t)range->host ? lo : range->host;
			end = (uintptr_t)end > (uintptr_t)range_end ? end : range_end;
		}
		range->host = lo;
		range->size = (uintptr_t)end - (uintptr_t)lo;
	}
}

/* Take [iova, last] out; an entry that sticks out keeps what sticks out.  False: that would be one entry too many. */
static void carve(struct vio_vhost_draft *d, uint64_t iova, uint64_t last, struct vio_region *gone, bool *evicted)
{
	uint32_t to = 0;
	struct vio_iotlb_entry tail = { 0 };
	bool has_tail = false;

	for (uint32_t i = 0; i < d->iotlb_count; i++) {
		struct vio_iotlb_entry e = d->iotlb[i];
		uint64_t e_last = e.iova + (e.size - 1);
		if (e.iova > last || e_last < iova) {
			d->iotlb[to++] = e;
			continue;
		}
		uint64_t from = e.iova > iova ? e.iova : iova, upto = e_last < last ? e_last : last;
		if (gone)
			widen(gone, d, e.uva + (from - e.iova), upto - from + 1);
		if (e_last > last) {	/* at most one entry sticks out behind: they are disjoint */
			tail = (struct vio_iotlb_entry){ last + 1, e_last - last, e.uva + (last + 1 - e.iova), e.perm };
			has_tail = true;
		}
		if (e.iova < iova) {
			e.size = iova - e.iova;
			d->iotlb[to++] = e;
		}
	}
	d->iotlb_count = to;
	if (!has_tail)
		return;
	if (to == VIO_VHOST_IOTLB_ENTRIES) {	/* a cache may forget: it will be asked for again */
		*evicted = true;
		return;
	}
	uint32_t at = to;
	for (; at && d->iotlb[at - 1].iova > tail.iova; at--)
		d->iotlb[at] = d->iotlb[at - 1];
	d->iotlb[at] = tail;
	d->iotlb_count++;
}

const char *vio_vhost_draft_update(struct vio_vhost_draft *d, const struct vio_vhost_iotlb *t, bool *evicted)
{
	if (t->size == 0 || t->size - 1 > UINT64_MAX - t->iova || t->size - 1 > UINT64_MAX - t->uva)
		return "translation of no bytes, or around the end of the address space";
	if (t->perm == 0 || t->perm > VIO_MEM_RW)
		return "translation that permits nothing, or what is not known";
	if (!uva_known(d, t->uva, t->size))
		return "translation to what is not in any memory region";
	carve(d, t->iova, t->iova + (t->size - 1), NULL, evicted);
	if (d->iotlb_count == VIO_VHOST_IOTLB_ENTRIES) {
		/* Another one goes: the neighbour's place changes with the address, so that no pattern is always unlucky. */
		uint32_t victim = (uint32_t)(t->iova / VIO_DIRTY_PAGE * 2654435761u % VIO_VHOST_IOTLB_ENTRIES);
		memmove(&d->iotlb[victim], &d->iotlb[victim + 1], (--d->iotlb_count - victim) * sizeof *d->iotlb);
		*evicted = true;
	}
	uint32_t at = d->iotlb_count++;
	for (; at && d->iotlb[at - 1].iova > t->iova; at--)
		d->iotlb[at] = d->iotlb[at - 1];
	d->iotlb[at] = (struct vio_iotlb_entry){ t->iova, t->size, t->uva, t->perm };
	return NULL;
}

void vio_vhost_draft_invalidate(struct vio_vhost_draft *d, uint64_t iova, uint64_t size, struct vio_region *gone,
    bool *evicted)
{
	*gone = (struct vio_region){ 0 };
	/* All there is comes as 2^64 - 1 bytes, or as 2^64, which is 0: size - 1 is the difference of the last byte. */
	uint64_t last = size - 1 > UINT64_MAX - iova ? UINT64_MAX : iova + (size - 1);
	carve(d, iova, last, gone, evicted);
}
