/*
 * The zoned disk's parts among themselves; not for others.
 *
 *   disk_zone.c         the disk: requests, and the thread that makes things durable
 *   disk_zone_table.c   where each zone's write pointer is, and what may be done to it (5.2.6): no I/O, no lock
 *   disk_zone_file.c    the table in a file beside the image
 */
#ifndef VIO_HOST_DISK_ZONE_H
#define VIO_HOST_DISK_ZONE_H
#include <vio/host/disk.h>
#include <vio/spec/blk.h>

struct vio_zone {
	uint64_t wp;		/* bytes that the zone holds, written or under way; of a full one too */
	uint64_t durable;	/* the same, as the file is to know it */
	uint8_t type, state;	/* VIO_BLK_ZT_*, VIO_BLK_ZS_* */
	bool full;		/* finished, as the file is to know it */
	bool dirty;		/* the file does not know it yet */
};

struct vio_zone_table {
	struct vio_disk_zones is;
	uint64_t disk_size, capacity;	/* bytes; capacity of a zone */
	uint32_t count, conventional;	/* zones; the first ones are conventional */
	uint32_t open, active;
	uint32_t close_next;		/* where to look for one to close implicitly */
	struct vio_zone *zone;
};

/* ---- disk_zone_table.c.  0, or what the request is answered with. ---- */

bool vio_zone_table_init(struct vio_zone_table *t, const struct vio_disk_zone_options *o, uint64_t disk_size, uint32_t block, char *why);
void vio_zone_table_free(struct vio_zone_table *t);
/* What a zone has become when only the file is left of it. */
void vio_zone_revive(struct vio_zone_table *t, uint32_t i, uint64_t wp, bool full);
uint64_t vio_zone_start(const struct vio_zone_table *t, uint32_t i);
uint64_t vio_zone_capacity(const struct vio_zone_table *t, uint32_t i);
/* A write is about to begin: the write pointer moves.  append: offset is the zone's, and *at where it goes. */
int vio_zone_write(struct vio_zone_table *t, uint64_t offset, uint64_t length, bool append, uint64_t *at);
/* It has failed: nothing behind it has been begun meanwhile, so nothing has been written. */
void vio_zone_unwrite(struct vio_zone_table *t, uint64_t at, uint64_t length);
/* *data: so many bytes of the range have been written; the rest reads as zeroes. */
int vio_zone_read(const struct vio_zone_table *t, uint64_t offset, uint64_t length, uint64_t *data);
int vio_zone_change(struct vio_zone_table *t, enum vio_disk_zone_op op, uint64_t offset);
void vio_zone_describe(const struct vio_zone_table *t, uint32_t i, struct vio_blk_zone *to);

/* ---- disk_zone_file.c ---- */

/* Opens or makes the file at path, and fills the table.  -1: why has a sentence. */
int vio_zone_file_open(struct vio_zone_table *t, const char *path, bool read_only, char *why);
/* One zone's entry, not synced.  0 or an errno value. */
int vio_zone_file_put(int fd, uint32_t i, uint64_t wp, bool full);
#endif
