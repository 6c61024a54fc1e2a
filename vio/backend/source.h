/*
 * A source of random bytes, as the entropy device sees it.  Memory twin: vio/host/source.c's counting source.
 *
 * fill() writes 1 to n bytes at once and returns how many, or 0: none at the moment, ready() will be called once there
 * are some; or -1: the source has failed for good.  It never waits.
 */
#ifndef VIO_BACKEND_SOURCE_H
#define VIO_BACKEND_SOURCE_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

struct vio_source {
	const struct vio_source_ops *ops;
	void (*ready)(void *arg);	/* set by the user; called in the thread that called fill() */
	void *ready_arg;
};
struct vio_source_ops {
	long (*fill)(struct vio_source *s, void *to, size_t n);
	void (*cancel)(struct vio_source *s);	/* do not call ready() any more, until the next fill() gives 0 */
	void (*close)(struct vio_source *s);
};
VIO_END_DECLS
#endif
