/* Disks of a Linux host (vio/backend/disk.h): a file or block device, and the twins. */
#ifndef VIO_HOST_DISK_H
#define VIO_HOST_DISK_H
#include <vio/backend/disk.h>
#include <vio/host/loop.h>
#include <vio/host/sandbox.h>
#include <vio/host/why.h>
VIO_BEGIN_DECLS

enum vio_aio { VIO_AIO_AUTO, VIO_AIO_URING, VIO_AIO_THREADS };

/* loops[queue % loop_count] is where that queue's channel lives; loops[0] is the home thread.  They outlive the disk. */
struct vio_disk_place { struct vio_loop *const *loops; unsigned loop_count; };

struct vio_disk_file_options {
	const char *path;		/* a regular file or a block device */
	bool has_fd;			/* fd is it, open already, and the disk's (also when refused); path is what sentences call it */
	int fd;
	struct vio_disk *spare;		/* from vio_disk_file_spare(): becomes the disk, or, refused, stays a spare one */
	bool read_only;
	bool shared;			/* others may write it meanwhile, if they say the same */
	bool unlocked;			/* vio_disk_file_take() will lock it: until then another process has it */
	bool direct;			/* O_DIRECT: --cache=none */
	enum vio_aio aio;
	uint32_t logical_block;		/* 0: the device's own, 512 for a file */
	struct vio_disk_place place;
	unsigned queues;		/* how many channels will be asked for */
};

/*
 * Opens, checks and locks the image (OFD locks on the bytes QEMU uses, so that QEMU and qemu-img respect it and are
 * respected).  Everything that confinement would forbid later is done here: rings, threads, probes.  NULL: why has a
 * sentence that names the remedy, in a buffer of VIO_WHY bytes.
 */
struct vio_disk *vio_disk_file_open(const struct vio_disk_file_options *o, char *why);
/*
 * A disk without an image, for one that comes while the program is confined: of o, place, queues and aio count.  A disk whose
 * channels are all closed becomes one again by vio_disk_file_empty().  Both are closed as disks are.
 */
struct vio_disk *vio_disk_file_spare(const struct vio_disk_file_options *o, char *why);
void vio_disk_file_empty(struct vio_disk *d);
/* What opening an image with has_fd and spare needs in confinement. */
extern const struct vio_sandbox_call vio_disk_file_calls[];
/* Look again how large the image is; calls resized() if that changed.  Home thread. */
void vio_disk_file_refresh(struct vio_disk *d);
/* Make the image, a regular file, this many bytes large; never smaller than it is.  False: why has a sentence. */
bool vio_disk_file_grow(struct vio_disk *d, uint64_t bytes, char *why);
/* Let go of the image's locks: nothing is in flight, and another process takes it; or take them again.  False: why has a sentence. */
void vio_disk_file_give(struct vio_disk *d);
bool vio_disk_file_take(struct vio_disk *d, const char *path, char *why);
/* What VIO_AIO_AUTO has become: io_uring where the kernel lets us, else threads. */
enum vio_aio vio_disk_file_aio(const struct vio_disk *d);

/* Bytes in memory; with erase, discard, zeroes and lifetime values, for tests.  bytes: NULL, or the caller's size bytes. */
struct vio_disk *vio_disk_ram_open(uint64_t size, void *bytes, struct vio_disk_place place);
/* Keeps nothing and touches no data, so that reads leave the buffer as it was: to measure what is around it. */
struct vio_disk *vio_disk_null_open(uint64_t size, struct vio_disk_place place);

/*
 * A disk that an NBD server offers (disk_nbd.h): uri is what libnbd takes, such as nbd://host/export or
 * nbd+unix:///?socket=/path, with "s" behind the first nbd for TLS.  A server that goes is looked for until it is back, and
 * requests wait meanwhile; what it had acknowledged and not flushed is written again.  Returns when it is connected.
 */
struct vio_disk_nbd_options {
	const char *uri;
	bool read_only;
	uint32_t logical_block;		/* 0: the server's own, 512 at least */
	struct vio_disk_place place;	/* several loops need several connections, which the server must allow */
	/* The server has gone, or is back (in the thread of the connection); why: a sentence's end.  NULL: nobody asks. */
	void (*news)(void *arg, bool back, const char *why);
	void *news_arg;
};
struct vio_disk *vio_disk_nbd_open(const struct vio_disk_nbd_options *o, char *why);
/* What confinement must leave it, so that it can connect again. */
struct vio_sandbox_options;
void vio_disk_nbd_grant(const struct vio_disk *d, struct vio_sandbox_options *o);

/*
 * Zones on a plain disk, which it closes with itself (also when it fails).  Their state is kept in a file beside the image,
 * IMAGE.zones, which is made when it is missing: then all are empty.
 */
struct vio_disk_zone_options {
	const char *image;		/* NULL: in memory, nothing is kept */
	uint64_t size, capacity;	/* bytes of a zone, and how many can be written; capacity 0: all */
	uint32_t conventional;		/* so many at the front are written anywhere */
	uint32_t max_open, max_active;	/* 0: no limit */
	uint32_t append;		/* bytes; 0: no append */
	bool host_aware;		/* sequential writes are preferred, not required */
	struct vio_disk_place place;	/* the inner disk's */
};
struct vio_disk *vio_disk_zoned_open(struct vio_disk *inner, const struct vio_disk_zone_options *o, char *why);

/* Wraps another disk and closes it with itself. */
struct vio_disk_faults {
	unsigned fail_nth;		/* the n-th request (from 1) of each channel fails with error; 0: none */
	int error;
	unsigned fail_every;		/* every n-th; 0: none */
	unsigned late_every;		/* every n-th is done only on vio_disk_faulty_release() or cancel; 0: none */
	unsigned short_every;		/* every n-th read or write moves half of its bytes, then fails; 0: none */
};
struct vio_disk *vio_disk_faulty_open(struct vio_disk *inner, const struct vio_disk_faults *f);
unsigned vio_disk_faulty_held(struct vio_disk *d);
void vio_disk_faulty_release(struct vio_disk *d);	/* all that are late, in the order they came */

static inline void vio_disk_close(struct vio_disk *d) { if (d) d->ops->close(d); }
VIO_END_DECLS
#endif
