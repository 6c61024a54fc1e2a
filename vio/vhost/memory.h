/*
 * The guest's memory as a front end hands it over: descriptors become mappings, mappings become values of struct vio_mem.
 *
 *   descriptor ──▶ struct vio_vhost_map (counted)  ◀── any number of struct vio_mem values, each immutable
 *
 * A change is made on a draft of the current value and becomes a new value, or nothing: every sentence returned here means
 * that nothing has changed.  A mapping goes with the last value that has it, in whatever thread that happens.
 */
#ifndef VIO_VHOST_MEMORY_H
#define VIO_VHOST_MEMORY_H
#include <vio/backend/pages.h>
#include <vio/ring/mem.h>
#include <vio/vhost/proto.h>
VIO_BEGIN_DECLS

/* Somebody else's file, shared and writable. */
struct vio_vhost_map {
	uint32_t refs;			/* atomic */
	void *base;			/* of the mapping; pages */
	size_t bytes;
	unsigned char *at;		/* what was asked for */
	uint64_t size;
	uint64_t dev, ino, offset;	/* what it is a mapping of */
	struct vio_backing backing;	/* its file stays open only for a device that gives pages back */
};

/*
 * Map size bytes at offset of fd, which stays the caller's.  *dead becomes true when somebody cuts the file short and the
 * mapping is touched there (vio/host/sigbus.h); it outlives the mapping.  NULL: *why says why, with the remedy.
 */
struct vio_vhost_map *vio_vhost_map_new(int fd, uint64_t offset, uint64_t size, bool *dead, const char **why);
struct vio_vhost_map *vio_vhost_map_ref(struct vio_vhost_map *map);
void vio_vhost_map_unref(struct vio_vhost_map *map);	/* NULL: nothing */

enum { VIO_VHOST_IOTLB_ENTRIES = 2048 };

/* The home thread's pad to make a new value on. */
struct vio_vhost_draft {
	uint32_t count;
	struct vio_region region[VIO_VHOST_MEM_SLOTS];
	struct vio_vhost_map *map[VIO_VHOST_MEM_SLOTS];		/* of each region, one reference each */
	struct vio_vhost_map *log;	/* where writes are recorded now, or NULL; one reference */
	bool iommu;
	bool keep_files;		/* maps that are added keep their files open, and regions name them */
	uint32_t iotlb_count;
	struct vio_iotlb_entry iotlb[VIO_VHOST_IOTLB_ENTRIES];
};

/* Begin with what a value (NULL: none) has; NULL: there is no memory for it.  Ends with finish or drop. */
struct vio_vhost_draft *vio_vhost_draft_new(const struct vio_mem *from);
/* A new value with one reference, or NULL: there is no memory.  The draft is gone. */
struct vio_mem *vio_vhost_draft_finish(struct vio_vhost_draft *d);
void vio_vhost_draft_drop(struct vio_vhost_draft *d);	/* NULL: nothing */

/* Add a region; a mapping of from (may be NULL) that is the same bytes of the same file is used again. */
const char *vio_vhost_draft_add(struct vio_vhost_draft *d, const struct vio_vhost_region *r, int fd, const struct vio_mem *from,
    bool *dead);
/* Remove the region that is exactly this one; *gone tells which host bytes that were. */
/* Is r, the same bytes of the same file, in m already? */
bool vio_vhost_mem_has(const struct vio_mem *m, const struct vio_vhost_region *r, int fd);
const char *vio_vhost_draft_remove(struct vio_vhost_draft *d, const struct vio_vhost_region *r, struct vio_region *gone);
/* No regions any more. */
void vio_vhost_draft_clear(struct vio_vhost_draft *d);
/* Sort and check what the draft has, and that its log, if it has one, is long enough for it. */
const char *vio_vhost_draft_check(struct vio_vhost_draft *d);
/* Record writes in log (takes no reference of the caller's), or NULL: nowhere. */
void vio_vhost_draft_log(struct vio_vhost_draft *d, struct vio_vhost_map *log);
/* Is a log of this many bytes long enough for regions that end here? */
bool vio_vhost_log_covers(uint64_t log_bytes, uint64_t end);
uint64_t vio_vhost_mem_end(const struct vio_mem *m);	/* one past the last guest address; UINT64_MAX when that wraps */

/*
 * Translations.  update: replaces what overlaps; *evicted becomes true when another one had to go.  invalidate: *gone is a
 * range of host bytes that holds all that was translated (size 0: nothing was).
 */
const char *vio_vhost_draft_update(struct vio_vhost_draft *d, const struct vio_vhost_iotlb *t, bool *evicted);
void vio_vhost_draft_invalidate(struct vio_vhost_draft *d, uint64_t iova, uint64_t size, struct vio_region *gone,
    bool *evicted);

/* Does a value map these host bytes through the same mapping, so that a ring in them may go on? */
bool vio_vhost_mem_keeps(const struct vio_mem *m, const void *host, uint64_t len);
VIO_END_DECLS
#endif
