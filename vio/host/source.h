/* Sources of random bytes on a Linux host (vio/backend/source.h). */
#ifndef VIO_HOST_SOURCE_H
#define VIO_HOST_SOURCE_H
#include <vio/backend/source.h>
#include <vio/host/loop.h>
VIO_BEGIN_DECLS

struct vio_source_options {
	const char *path;		/* a device or file; NULL: getrandom(2) */
	uint64_t max_bytes;		/* in each period; 0: no limit */
	uint64_t period_ms;
	struct vio_loop *loop;
};
/* NULL: why (512 bytes) has a sentence. */
struct vio_source *vio_source_open(const struct vio_source_options *o, char *why);
/* The memory twin: byte i is i modulo 251; starve > 0: after that many bytes it gives none until vio_source_feed(). */
struct vio_source *vio_source_counting(uint64_t starve);
void vio_source_feed(struct vio_source *s, uint64_t more);
static inline void vio_source_close(struct vio_source *s) { if (s) s->ops->close(s); }
VIO_END_DECLS
#endif
