/*
 * A tree of files in memory, for tests: every operation there is, at once or as late and as failing as asked.
 *
 * All channels live in one thread.  What the caller of a tree has to check is asserted.
 */
#ifndef VIO_HOST_TREE_MEMORY_H
#define VIO_HOST_TREE_MEMORY_H
#include <vio/backend/tree.h>
VIO_BEGIN_DECLS

struct vio_tree_faults {
	unsigned fail_every;		/* every n-th request fails with error; 0: none */
	int error;			/* 0: EIO */
	unsigned late_every;		/* every n-th is done only on vio_tree_memory_release() or cancel; 0: none */
	unsigned short_every;		/* every n-th READ or WRITE moves half of its bytes; 0: none */
};

/* An empty root of mode 0755.  Everything in struct vio_tree that a tree can have is true; change it before a device is opened. */
struct vio_tree *vio_tree_memory_open(void);
void vio_tree_memory_faults(struct vio_tree *t, const struct vio_tree_faults *f);
unsigned vio_tree_memory_held(const struct vio_tree *t);	/* late ones and locks that wait */
void vio_tree_memory_release(struct vio_tree *t);		/* all that are late, in the order they came */

/* What a test may know: how many there are, and what the last request was (its pointers mean nothing any more). */
struct vio_tree_memory_count { unsigned files, looked_up, handles, locks, channels, cancels, requests; };
struct vio_tree_memory_count vio_tree_memory_count(const struct vio_tree *t);
const struct vio_tree_req *vio_tree_memory_last(const struct vio_tree *t);

static inline void vio_tree_close(struct vio_tree *t) { if (t) t->ops->close(t); }
VIO_END_DECLS
#endif
