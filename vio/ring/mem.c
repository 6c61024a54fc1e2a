#include <vio/ring/mem.h>

const struct vio_region *vio_mem_region(const struct vio_mem *m, uint64_t gpa)
{
	uint32_t lo = 0, hi = m->count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (m->region[mid].gpa <= gpa)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || gpa - m->region[lo - 1].gpa >= m->region[lo - 1].size)
		return NULL;
	return &m->region[lo - 1];
}

/* User addresses come in no order; they are asked for at start and on an IOTLB hit, never for each chain. */
static const struct vio_region *region_at_uva(const struct vio_mem *m, uint64_t uva)
{
	for (uint32_t i = 0; i < m->count; i++)
		if (uva - m->region[i].uva < m->region[i].size)
			return &m->region[i];
	return NULL;
}

static const struct vio_iotlb_entry *iotlb_at(const struct vio_mem *m, uint64_t iova)
{
	uint32_t lo = 0, hi = m->iotlb_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (m->iotlb[mid].iova <= iova)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0 || iova - m->iotlb[lo - 1].iova >= m->iotlb[lo - 1].size)
		return NULL;
	return &m->iotlb[lo - 1];
}

/* An entry may cross regions: the hit is what both have in common. */
static bool find_translated(const struct vio_mem *m, uint64_t iova, unsigned perm, struct vio_mem_hit *hit)
{
	const struct vio_iotlb_entry *e = iotlb_at(m, iova);
	if (!e || (e->perm & perm) != perm)
		return false;
	uint64_t uva = e->uva + (iova - e->iova);
	const struct vio_region *r = region_at_uva(m, uva);
	if (!r || (r->perm & perm) != perm)
		return false;
	uint64_t in_entry = iova - e->iova, in_region = uva - r->uva;
	uint64_t before = in_entry < in_region ? in_entry : in_region;
	uint64_t after_entry = e->size - in_entry, after_region = r->size - in_region;
	hit->addr = iova - before;
	hit->size = before + (after_entry < after_region ? after_entry : after_region);
	hit->host = r->host + (in_region - before);
	hit->perm = e->perm & r->perm;
	return true;
}

bool vio_mem_find(const struct vio_mem *m, uint64_t addr, unsigned perm, struct vio_mem_hit *hit)
{
	if (m->iommu)
		return find_translated(m, addr, perm, hit);
	const struct vio_region *r = vio_mem_region(m, addr);
	if (!r || (r->perm & perm) != perm)
		return false;
	*hit = (struct vio_mem_hit){ r->gpa, r->size, r->host, r->perm };
	return true;
}

void *vio_mem_span(const struct vio_mem *m, uint64_t addr, uint64_t len, unsigned perm)
{
	struct vio_mem_hit hit;

	if (len == 0 || len - 1 > UINT64_MAX - addr || !vio_mem_find(m, addr, perm, &hit))
		return NULL;
	unsigned char *host = hit.host + (addr - hit.addr);
	uint64_t have = hit.size - (addr - hit.addr);
	while (have < len) {	/* neighbours that are neighbours in the host too are one piece: pages of an IOTLB */
		if (!vio_mem_find(m, addr + have, perm, &hit) || hit.host + (addr + have - hit.addr) != host + have)
			return NULL;
		have += hit.size - (addr + have - hit.addr);
	}
	return host;
}

void *vio_mem_span_uva(const struct vio_mem *m, uint64_t uva, uint64_t len, unsigned perm)
{
	const struct vio_region *r = region_at_uva(m, uva);

	if (len == 0 || !r || (r->perm & perm) != perm || len > r->size - (uva - r->uva))
		return NULL;
	return r->host + (uva - r->uva);
}

const struct vio_region *vio_mem_region_of(const struct vio_mem *m, const void *host)
{
	for (uint32_t i = 0; i < m->count; i++)
		if ((uintptr_t)host - (uintptr_t)m->region[i].host < m->region[i].size)
			return &m->region[i];
	return NULL;
}

bool vio_mem_gpa(const struct vio_mem *m, const void *host, uint64_t *gpa)
{
	const struct vio_region *r = vio_mem_region_of(m, host);

	if (r)
		*gpa = r->gpa + ((uintptr_t)host - (uintptr_t)r->host);
	return r;
}

const char *vio_mem_check(const struct vio_region *region, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct vio_region *r = &region[i];
		if (r->size == 0)
			return "memory region of no bytes";
		if (r->size - 1 > UINT64_MAX - r->gpa || r->size - 1 > UINT64_MAX - r->uva)
			return "memory region wraps around the end of the address space";
		if (r->size - 1 > (uint64_t)(UINTPTR_MAX - (uintptr_t)r->host))
			return "memory region is larger than this host can address";
		if ((r->gpa ^ (uint64_t)(uintptr_t)r->host) % VIO_MEM_ALIGN)
			return "memory region whose host address and guest address are aligned differently";
		if (i && r->gpa <= r[-1].gpa + (r[-1].size - 1))
			return "memory regions overlap, or are not sorted by guest address";
	}
	return NULL;
}

void vio_mem_dirty_gpa(const struct vio_mem *m, uint64_t gpa, uint64_t len)
{
	if (!m->dirty.bits || len == 0)
		return;
	uint64_t last = len - 1 > UINT64_MAX - gpa ? UINT64_MAX : gpa + (len - 1);
	for (uint64_t page = gpa / VIO_DIRTY_PAGE; page <= last / VIO_DIRTY_PAGE; page++) {
		if (page / 8 >= m->dirty.bytes)
			return;		/* a page the log has no room for; the size was checked when the log was set */
		uint8_t bit = (uint8_t)(1u << page % 8);
		if (!(__atomic_load_n(&m->dirty.bits[page / 8], __ATOMIC_RELAXED) & bit))
			__atomic_fetch_or(&m->dirty.bits[page / 8], bit, __ATOMIC_RELAXED);
	}
}

void vio_mem_dirty_host(const struct vio_mem *m, const void *host, uint64_t len)
{
	uint64_t gpa;

	if (m->dirty.bits && vio_mem_gpa(m, host, &gpa))
		vio_mem_dirty_gpa(m, gpa, len);
}
