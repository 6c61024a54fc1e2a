/* Guest memory's pages on a Linux host (vio/backend/pages.h), and the twins. */
#ifndef VIO_HOST_PAGES_H
#define VIO_HOST_PAGES_H
#include <vio/backend/pages.h>
VIO_BEGIN_DECLS

/*
 * Pages are punched out of the file that a region is backed by, huge ones only as a whole.  A region whose file is not
 * known is dealt with by its mapping: MADV_REMOVE where it is shared, else MADV_DONTNEED (private memory without a file).
 * NULL: there is no memory.
 */
struct vio_pages *vio_pages_open(void);
/* Works on any memory: fills with zeroes what would be given back, and counts it as come back. */
struct vio_pages *vio_pages_ram_open(void);

/* Wraps another and closes it with itself. */
struct vio_pages_faults {
	unsigned fail_nth;		/* the n-th give (from 1) fails with error; 0: none */
	unsigned fail_every;		/* every n-th; 0: none */
	int error;
};
struct vio_pages *vio_pages_faulty_open(struct vio_pages *inner, const struct vio_pages_faults *f);

/* Set the target, ask: NULL, or why it can't be asked.  Home thread. */
const char *vio_pages_set_target(struct vio_pages *p, uint64_t bytes);
const char *vio_pages_ask(struct vio_pages *p, enum vio_pages_ask what);

static inline void vio_pages_close(struct vio_pages *p) { if (p) p->ops->close(p); }
VIO_END_DECLS
#endif
