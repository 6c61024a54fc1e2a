/*
 * The file disk's parts among themselves; not for others.
 *
 *   disk_file.c   the disk: open, channels, what is served in place
 *   disk_probe.c  what kind of image it is, and what it can do
 *   disk_lock.c   the image locks
 *   disk_map.c    reads of tmpfs through a mapping
 *   disk_step.c   one request as a row of system calls: what is next, and what a result means
 *   disk_uring.c  runs steps by io_uring, without waiting     } one of them,
 *   disk_pool.c   runs steps in threads that wait             } or both
 */
#ifndef VIO_HOST_DISK_FILE_H
#define VIO_HOST_DISK_FILE_H
#include <vio/host/disk.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum { VIO_FILE_IOVECS = 64 };			/* segments of one system call */
enum { VIO_FILE_BOUNCE = 256 * 1024 };		/* bytes of one step whose memory is not aligned for direct I/O */

struct vio_file_chan;
struct vio_uring;
struct vio_pool;
struct vio_map;

struct vio_file {
	struct vio_disk disk;
	int fd;
	bool block_device;
	bool memory;			/* tmpfs, ramfs: nothing ever waits */
	bool direct;
	bool shared;			/* as the options said */
	uint32_t mem_align, len_align;	/* what direct I/O asks of each segment */
	atomic_bool nowait;		/* reads can be told not to wait */
	atomic_bool no_punch, no_zero_range;	/* have been refused: the next weaker way is taken */
	atomic_int sync_error;		/* a flush has failed: what was in the cache may be gone, and every later one fails too */
	_Atomic(struct vio_map *) map;	/* of tmpfs; NULL: none */
	struct vio_pool *pool;
	unsigned queues;
	atomic_uint channels;		/* open ones */
	struct vio_file_chan *chan;
};

struct vio_file_chan {
	struct vio_disk_chan base;
	struct vio_file *file;
	struct vio_loop *loop;
	size_t budget;			/* bytes that may still be read in place in this turn */
	struct vio_uring *uring;	/* NULL: everything goes to the pool */
	/* Of the pool: what its threads have finished, newest first, and the call that takes it. */
	_Atomic(struct vio_disk_io *) finished;
	struct vio_call call;
};

/* ---- disk_probe.c ---- */

/* Opens f->fd and fills f and f->disk.  False: why has a sentence; f->fd may be open. */
bool vio_file_probe(struct vio_file *f, const struct vio_disk_file_options *o, char *why);
/* Bytes, rounded down to logical blocks; -1 with errno. */
int64_t vio_file_size(const struct vio_file *f);
/* eMMC and UFS: the lifetime values below a block device's sysfs folder; false: there are none. */
bool vio_file_lifetime(int sysfs_fd, struct vio_disk *d);

/* ---- disk_lock.c ---- */

bool vio_file_lock(int fd, const struct vio_disk_file_options *o, char *why);
void vio_file_unlock(int fd);

/* ---- disk_map.c ---- */

/* NULL: no memory or addresses for it; everything works without, more slowly. */
struct vio_map *vio_map_new(int fd, uint64_t size, struct vio_map *older);
void vio_map_free(struct vio_map *m);		/* and all older ones */
void vio_map_kill(struct vio_map *m);		/* the image has become smaller */
void vio_map_rest(struct vio_map *m);		/* nobody reads now: the pages need not be mapped */
/* Up to n bytes at offset; how many.  0: by pread(), please, and tell what came of it to vio_map_learn(). */
uint64_t vio_map_read(const struct vio_map *m, uint64_t offset, struct vio_cur *to, uint64_t n);
void vio_map_learn(struct vio_map *m, int fd, uint64_t offset, uint64_t n);
void vio_map_forget(struct vio_map *m, uint64_t offset, uint64_t n);	/* there may be holes now */

/* ---- disk_step.c ---- */

enum vio_step_kind { VIO_STEP_READ, VIO_STEP_WRITE, VIO_STEP_SYNC, VIO_STEP_FALLOCATE, VIO_STEP_IOCTL };

struct vio_step {
	enum vio_step_kind kind;
	int flags;			/* READ, WRITE: RWF_*; FALLOCATE: mode */
	unsigned long request;		/* IOCTL */
	const struct vio_seg *iov;	/* READ, WRITE */
	unsigned iovecs;
	uint64_t offset, length;
};

/* Before the first step, with io->progress bytes done already.  elsewhere: not in the submitter's thread, please. */
void vio_step_begin(struct vio_disk_io *io, bool elsewhere);
/* Is there no next step?  Then *error is the request's: 0 or a positive errno value. */
bool vio_step_is_over(const struct vio_file *f, struct vio_disk_io *io, int *error);
/*
 * The next system call of an io that is not over.  iov has room for VIO_FILE_IOVECS; bounce is VIO_FILE_BOUNCE bytes,
 * or NULL when it is taken: then false says that this step needs it.  A step that needs it owns it until its result is
 * known.
 */
bool vio_step_next(const struct vio_file *f, struct vio_disk_io *io, struct vio_step *s, struct vio_seg *iov,
    void *bounce);
bool vio_step_is_bounced(const struct vio_disk_io *io);		/* between next and result */
bool vio_step_is_elsewhere(const struct vio_disk_io *io);
/* What it gave: bytes, or a negative errno value. */
void vio_step_result(struct vio_file *f, struct vio_disk_io *io, const void *bounce, long result);
/* No more steps after the one under way; ECANCELED unless that turns out to be the last. */
void vio_step_cancel(struct vio_disk_io *io);
/* All steps, waiting.  0 or a positive errno value. */
int vio_step_all(struct vio_file *f, struct vio_disk_io *io, void *bounce);

/* ---- disk_uring.c ---- */

/* NULL with errno. */
struct vio_uring *vio_uring_new(struct vio_file_chan *c);
void vio_uring_free(struct vio_uring *u);
void vio_uring_submit(struct vio_uring *u, struct vio_disk_io *io);	/* after vio_step_begin() */
void vio_uring_flush(struct vio_uring *u);
void vio_uring_cancel(struct vio_uring *u, struct vio_disk_io *io);
void vio_uring_poll(struct vio_uring *u);
void vio_uring_close(struct vio_uring *u);		/* the channel is closed */

/* ---- disk_pool.c ---- */

struct vio_pool *vio_pool_new(struct vio_file *f, unsigned threads);	/* NULL with errno */
void vio_pool_free(struct vio_pool *p);
void vio_pool_submit(struct vio_pool *p, struct vio_file_chan *c, struct vio_disk_io *io);
bool vio_pool_cancel(struct vio_pool *p, struct vio_disk_io *io);	/* true: not begun, the caller's again */
void vio_pool_collect(void *chan);			/* the channel's call: done() for what is finished */
#endif
