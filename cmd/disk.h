/* Disks as command lines name them, for the devices that serve some: an image, or a twin that needs none. */
#ifndef VIO_CMD_DISK_H
#define VIO_CMD_DISK_H
#include "daemon.h"
#include <vio/host/disk.h>

struct vio_disk_words {
	const char *said;		/* "--blk-file=" or "file=": what stands before file, in sentences */
	const char *file;		/* a file or block device; null:SIZE, ram:SIZE */
	bool read_only, shared, direct;
	bool unlocked;			/* as of struct vio_disk_file_options */
	enum vio_aio aio;
	bool file_only;			/* something was said that only means something for a file: which cache, which I/O */
	uint32_t logical_block;		/* 0: the disk's own */
	unsigned queues;		/* channels that will be asked for */
	bool network;			/* file may be nbd:URI; then confinement must be told: vio_disk_nbd_grant() */
	void (*news)(void *arg, bool back, const char *why);	/* as of struct vio_disk_nbd_options */
	void *news_arg;
};

#define VIO_DISK_HELP "a file or block device; null:SIZE moves no data and keeps nothing, ram:SIZE lives in memory " \
	"(SIZE in bytes, or with K, M, G, T)"

bool vio_disk_words_check(const struct vio_disk_words *w, char *why);
/* What libnbd is to be given, of nbd:URI; NULL: it is not on the network. */
const char *vio_disk_words_uri(const struct vio_disk_words *w);
/* Is there an image, which may grow and is watched? */
bool vio_disk_words_image(const struct vio_disk_words *w);
struct vio_disk *vio_disk_words_open(const struct vio_disk_words *w, struct vio_disk_place place, char *why);
/*
 * Put what was written on stable storage, or give up after patience_ns where that can be cancelled; done() once, in the home
 * loop, whose channel is the disk's first.
 */
void vio_disk_flush(struct vio_disk *d, struct vio_loop *home, uint64_t patience_ns, void (*done)(void *arg, int error), void *arg);
#endif
