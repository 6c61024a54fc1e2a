/*
 * A disk as the block device sees it: an array of bytes, served in any order.
 *
 * Requests belong to the caller and carry guest memory itself.  Every submitted request calls done() exactly once, perhaps
 * before submit() returns.  A disk is used through channels, one a queue; a channel belongs to the thread of its queue and
 * calls done() there.  Memory twins: vio/host/disk_ram.c (bytes in memory), disk_null.c (touches no data, keeps nothing),
 * disk_faulty.c (the n-th request fails, is late, is short).
 */
#ifndef VIO_BACKEND_DISK_H
#define VIO_BACKEND_DISK_H
#include <vio/ring/cursor.h>
VIO_BEGIN_DECLS

enum vio_disk_op {
	VIO_DISK_READ,
	VIO_DISK_WRITE,
	VIO_DISK_FLUSH,		/* all writes completed before are on stable storage when it is done */
	VIO_DISK_DISCARD,	/* offset, length: contents undefined afterwards */
	VIO_DISK_ZERO,		/* offset, length: reads as zeroes; with may_unmap the space may be given back */
	VIO_DISK_ERASE		/* offset, length: contents are gone for good */
};

struct vio_disk_io {
	enum vio_disk_op op;
	bool durable;		/* a write that must be on stable storage when it is done */
	bool may_unmap;		/* VIO_DISK_ZERO */
	uint64_t offset, length;	/* bytes; for READ and WRITE length is bytes.left */
	struct vio_cur bytes;	/* guest memory, for READ and WRITE; the disk may move it */
	void (*done)(struct vio_disk_io *io, int error);	/* 0 or a positive errno value */
	/* The disk's, between submit and done. */
	struct vio_disk_io *next;
	uint64_t progress;
	void *disk_priv;
};

struct vio_disk_chan {
	const struct vio_disk_chan_ops *ops;
};
struct vio_disk_chan_ops {
	void (*submit)(struct vio_disk_chan *c, struct vio_disk_io *io);
	/* Everything submitted so far may now be started in one go.  Called at the end of each turn; may be NULL. */
	void (*flush)(struct vio_disk_chan *c);
	/* Finish early what can be, with ECANCELED.  done() still comes, perhaps later. */
	void (*cancel)(struct vio_disk_chan *c, struct vio_disk_io *io);
	/* Look for finished requests, for a loop that polls; may be NULL. */
	void (*poll)(struct vio_disk_chan *c);
	void (*close)(struct vio_disk_chan *c);	/* nothing is in flight */
};

struct vio_disk {
	const struct vio_disk_ops *ops;
	uint64_t size;			/* bytes; changes only in resized() below */
	uint32_t logical_block;		/* bytes; offsets and lengths are multiples; 512 at least */
	uint32_t physical_block;	/* bytes; 0: not known */
	uint32_t optimal_io;		/* bytes; 0: not known */
	bool read_only;
	bool can_discard, can_zero, zero_may_unmap, can_erase;
	uint32_t discard_align;		/* bytes; 0: not known */
	bool has_lifetime;		/* ... and these are true: 5.2.6 values */
	uint16_t pre_eol, life_a, life_b;
	/* The disk's user: the size has changed (called in the home thread), or NULL. */
	void (*resized)(void *arg);
	void *resized_arg;
};
struct vio_disk_ops {
	/* A channel for queue index; NULL when there is no memory or descriptor for one. */
	struct vio_disk_chan *(*channel)(struct vio_disk *d, unsigned queue);
	void (*close)(struct vio_disk *d);	/* all channels are closed */
};
VIO_END_DECLS
#endif
