/*
 * Guest memory: the only way from a guest address to a host pointer.
 *
 * struct vio_mem is an immutable value: regions, the dirty log and the IOMMU's translations as they are at one moment.
 * Whoever changes memory makes a new value and hands it to every queue; a queue keeps its value by a reference, and the
 * last reference releases it.  Nothing else turns a guest address into a pointer.  Register windows are never in it, so
 * a device can't be made to write into a device.
 */
#ifndef VIO_RING_MEM_H
#define VIO_RING_MEM_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

enum { VIO_MEM_READ = 1, VIO_MEM_WRITE = 2, VIO_MEM_RW = 3 };
enum { VIO_MEM_ALIGN = 16 };		/* guest and host address of a region agree modulo this (ring alignments) */
enum { VIO_DIRTY_PAGE = 4096 };		/* what one bit of the dirty log stands for */

struct vio_backing;
struct vio_region {
	uint64_t gpa, size;		/* size > 0, gpa + size - 1 does not wrap */
	unsigned char *host;
	uint64_t uva;			/* what a vhost-user front end calls the first byte; 0 elsewhere */
	uint8_t perm;			/* VIO_MEM_* */
	struct vio_backing *backing;	/* the file below, for who gives pages back (vio/backend/pages.h); NULL: nobody knows */
};

/* One translation of the IOMMU (vhost-user IOTLB): I/O virtual address to front-end user address. */
struct vio_iotlb_entry { uint64_t iova, size, uva; uint8_t perm; };

/* A bitmap of guest pages, bit 0 of byte 0 for address 0; shared with another process, so bits are set atomically. */
struct vio_dirty { uint8_t *bits; uint64_t bytes; };

struct vio_mem {
	const struct vio_region *region;	/* sorted by gpa, disjoint */
	uint32_t count;
	uint32_t refs;				/* atomic; see vio_mem_ref() */
	void (*release)(struct vio_mem *m);	/* the last reference is gone; NULL: nothing to do */
	struct vio_dirty dirty;			/* bits NULL: not logged */
	bool iommu;				/* guest addresses are I/O virtual; iotlb translates them */
	const struct vio_iotlb_entry *iotlb;	/* sorted by iova, disjoint */
	uint32_t iotlb_count;
	uint32_t clip;				/* no segment is longer than this; 0: no limit.  A tester's saw. */
};

/* A translated range: the last one found is kept by each queue and tried first. */
struct vio_mem_hit { uint64_t addr, size; unsigned char *host; uint8_t perm; };

/*
 * The range around addr in which all bytes may be accessed as perm asks.  False: addr is outside memory, or not
 * translated by the IOMMU (yet) when m->iommu.
 */
bool vio_mem_find(const struct vio_mem *m, uint64_t addr, unsigned perm, struct vio_mem_hit *hit);

/* All len bytes at guest address addr in one piece, or NULL.  perm as above.  len 0 gives NULL. */
void *vio_mem_span(const struct vio_mem *m, uint64_t addr, uint64_t len, unsigned perm);

/* The same for a vhost-user front end's user address (never translated by the IOMMU). */
void *vio_mem_span_uva(const struct vio_mem *m, uint64_t uva, uint64_t len, unsigned perm);

/* The region that a guest physical address (a host byte) is in, or NULL. */
const struct vio_region *vio_mem_region(const struct vio_mem *m, uint64_t gpa);
const struct vio_region *vio_mem_region_of(const struct vio_mem *m, const void *host);

/* The guest physical address of a host byte inside some region; false when there is none. */
bool vio_mem_gpa(const struct vio_mem *m, const void *host, uint64_t *gpa);

/* Is the table fit for use: sorted, disjoint, no wrap, aligned?  NULL, or what is wrong in words. */
const char *vio_mem_check(const struct vio_region *region, uint32_t count);

/* Mark what was written: by guest physical address, or by host bytes of a region. Does nothing where nothing is logged. */
void vio_mem_dirty_gpa(const struct vio_mem *m, uint64_t gpa, uint64_t len);
void vio_mem_dirty_host(const struct vio_mem *m, const void *host, uint64_t len);

static inline struct vio_mem *vio_mem_ref(struct vio_mem *m)
{
	__atomic_fetch_add(&m->refs, 1, __ATOMIC_RELAXED);
	return m;
}

static inline void vio_mem_unref(struct vio_mem *m)
{
	if (m && __atomic_fetch_sub(&m->refs, 1, __ATOMIC_ACQ_REL) == 1 && m->release)
		m->release(m);
}
VIO_END_DECLS
#endif
