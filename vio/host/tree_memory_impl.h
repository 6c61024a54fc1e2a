/*
 * A tree of files in memory, for its two files: tree_memory.c is the tree with its faults, tree_memory_ops.c what can be done.
 *
 * Directories are lists of entries, an entry names a file, a file stays while a name, a lookup, a handle or a lock is left of
 * it.  Everything is found by walking lists: there is little of it, and that is a limit.
 */
#ifndef VIO_HOST_TREE_MEMORY_IMPL_H
#define VIO_HOST_TREE_MEMORY_IMPL_H
#include <vio/host/tree_memory.h>

struct entry { struct entry *next; struct file *file; char name[VIO_TREE_NAME + 1]; };
struct xattr { struct xattr *next; char name[VIO_TREE_NAME + 1]; uint32_t size; unsigned char value[]; };

struct file {
	struct file *next;
	uint64_t number, lookups;
	unsigned names, handles;
	struct vio_tree_attr attr;
	struct file *parent;		/* of a directory */
	struct entry *entries;
	struct xattr *xattrs;
	unsigned char *bytes;		/* a file's, or a link's target; attr.size of them */
};
struct handle { struct handle *next; uint64_t number; struct file *file; bool dir; };
struct lock { struct lock *next; struct file *file; uint64_t owner; bool flock; struct vio_tree_lock l; };

struct memory {
	struct vio_tree tree;
	struct file *files;		/* the root is the last */
	struct handle *handles;
	struct lock *locks;
	uint64_t next_number, next_handle, bytes;
	unsigned file_count;
	struct vio_tree_faults faults;
	struct vio_tree_req *late, **late_end, *waiting;	/* tree_priv of each: its channel */
	struct vio_tree_memory_count count;
	struct vio_tree_req last;
};
struct chan { struct vio_tree_chan chan; struct memory *m; };


typedef int vio_tree_memory_op(struct memory *m, struct vio_tree_req *r);	/* an errno value; or -1: it waits */
extern vio_tree_memory_op *const vio_tree_memory_ops[VIO_TREE_OPS];

bool vio_tree_memory_root(struct memory *m);
int vio_tree_memory_end(struct memory *m);		/* END */
void vio_tree_memory_empty(struct memory *m);		/* all files but the root have gone afterwards, and it too */
void vio_tree_memory_retry(struct memory *m);		/* locks that wait */

static inline bool every(unsigned count, unsigned n) { return n && count % n == 0; }
#endif
