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
	VIO_DISK_ERASE,		/* offset, length: contents are gone for good */
	VIO_DISK_ZONE		/* zone says what; of disks that have zones only */
};

enum vio_disk_zone_op {
	VIO_ZONE_APPEND,	/* bytes, to the end of what the zone at offset holds; offset is then where that was */
	VIO_ZONE_REPORT,	/* from the zone that holds offset on: struct vio_blk_zone each, into bytes; length is how many came */
	VIO_ZONE_OPEN,		/* the zone that begins at offset */
	VIO_ZONE_CLOSE,
	VIO_ZONE_FINISH,
	VIO_ZONE_RESET,
	VIO_ZONE_RESET_ALL
};

/* Errors beside errno values, of requests to disks that have zones; they are 5.2.6's statuses. */
enum {
	VIO_DISK_ZONE_ERRORS = 4096,
	VIO_DISK_ZONE_INVALID = VIO_DISK_ZONE_ERRORS + 3,
	VIO_DISK_ZONE_UNALIGNED,
	VIO_DISK_ZONE_NO_OPEN,
	VIO_DISK_ZONE_NO_ACTIVE,
	VIO_DISK_ZONE_ERRORS_END
};

struct vio_disk_io {
	enum vio_disk_op op;
	enum vio_disk_zone_op zone;	/* VIO_DISK_ZONE */
	bool durable;		/* a write that must be on stable storage when it is done */
	bool may_unmap;		/* VIO_DISK_ZERO */
	uint64_t offset, length;	/* bytes; for READ and WRITE length is bytes.left */
	struct vio_cur bytes;	/* guest memory, for READ and WRITE; the disk may move it */
	void (*done)(struct vio_disk_io *io, int error);	/* 0 or a positive errno value */
	/* The disk's, between submit and done. */
	struct vio_disk_io *next;
	uint64_t progress;
	void *disk_priv;
	/* The same for a disk that stands upon another one, which has those above. */
	struct {
		void (*done)(struct vio_disk_io *io, int error);
		struct vio_disk_chan *chan;
		struct vio_disk_io *next;
		uint64_t offset, length;
	} upper;
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

/* Zones (5.2.5). */
struct vio_disk_zones {
	uint8_t model;			/* VIO_BLK_Z_HM, VIO_BLK_Z_HA */
	uint64_t size;			/* bytes of each, but the last may have fewer */
	uint32_t max_open, max_active;	/* 0: no limit */
	uint32_t max_append;		/* bytes; 0: no append */
	uint32_t granularity;		/* bytes: writes to sequential zones are multiples */
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
	const struct vio_disk_zones *zones;	/* NULL: none */
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
