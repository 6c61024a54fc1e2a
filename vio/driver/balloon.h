/*
 * Balloon driver (virtio 1.4, section 5.5), freestanding.
 *
 *   vio_balloon_wants(&b, &pages)          how many pages the device wants
 *   vio_balloon_inflate(&b, page, n)       give these up: not the caller's any more when it returns true
 *   vio_balloon_deflate(&b, page, n, oom)  take these back: the caller's again when it returns true
 *   vio_balloon_report(&b, ranges, n)      free memory that the device may have, now
 *   vio_balloon_stats_wanted(), _stats()   statistics, when the device asks
 *   vio_balloon_hint_round(), _hint(), _hint_end()
 *
 * A page is VIO_BALLOON_PAGE bytes, so aligned for the device.  inflate, deflate, report and hint wait for the device, at
 * most VIO_DRV_PATIENCE_NS; after false the pages are neither's until vio_balloon_stop() has succeeded.
 */
#ifndef VIO_DRIVER_BALLOON_H
#define VIO_DRIVER_BALLOON_H
#include <vio/driver/port.h>
#include <vio/spec/balloon.h>
VIO_BEGIN_DECLS

enum {
	VIO_BALLOON_DRV_QUEUE = 32,	/* entries of each queue */
	VIO_BALLOON_DRV_PAGES = 256,	/* page numbers of one request; longer arrays are several */
	VIO_BALLOON_DRV_RANGES = 31,	/* of one report */
	VIO_BALLOON_DRV_STATS = 12	/* entries of a buffer, at most */
};

struct vio_balloon_range { void *at; uint32_t len; };	/* whole pages */

struct vio_balloon_setup {
	bool keeps_contents;		/* the caller counts on poison_val in free pages: no reporting without PAGE_POISON */
	bool poison;			/* free pages are filled with poison_val, as soon as they are the caller's again */
	uint32_t poison_val;
};

struct vio_balloon {
	struct vio_drv drv;
	struct vio_drvq q[VIO_BALLOON_QUEUES];
	struct vio_buf ring_mapped[VIO_BALLOON_QUEUES];
	struct vio_buf shared_mapped;
	uint32_t poison_val;
	uint32_t actual;		/* pages in the balloon */
	uint32_t hint_id;		/* of the round under way; 0: none */
	uint32_t hint_last;		/* of the round before: never begun twice */
	uint16_t stats_tags;		/* which are told, bit by tag */
	bool stats_out;			/* the device has the statistics buffer */
	struct vio_drvq_slot slots[VIO_BALLOON_QUEUES][VIO_BALLOON_DRV_QUEUE];
	struct {			/* shared with the device */
		vio_le32 number[VIO_BALLOON_DRV_PAGES];
		vio_le32 cmd_id;
		struct vio_balloon_stat stat[VIO_BALLOON_DRV_STATS];
	} shared;
	VIO_ALIGNAS(16) unsigned char ring[VIO_BALLOON_QUEUES][VIO_DRVQ_RING_BYTES(VIO_BALLOON_DRV_QUEUE)];
};

/*
 * stat, n: the first statistics, told before the device asks (n at most VIO_BALLOON_S_COUNT, each tag once, the same tags
 * always).  The struct must lie in memory the platform can map in one piece.  Waits.  False: b->drv.failed says why.
 */
bool vio_balloon_start(struct vio_balloon *b, struct vio_drv_port *port, const struct vio_balloon_setup *s,
    const struct vio_balloon_stat *stat, unsigned n);
bool vio_balloon_stop(struct vio_balloon *b);

bool vio_balloon_wants(struct vio_balloon *b, uint32_t *pages);
bool vio_balloon_inflate(struct vio_balloon *b, void *const *page, unsigned n);
/*
 * Refused without asking the device while it wants at least as many pages as would be left, unless oom (the caller is out of
 * memory) and DEFLATE_ON_OOM was negotiated.
 */
bool vio_balloon_deflate(struct vio_balloon *b, void *const *page, unsigned n, bool oom);
/* n at most VIO_BALLOON_DRV_RANGES.  Afterwards the pages are the caller's and hold poison_val, or nothing that is known. */
bool vio_balloon_report(struct vio_balloon *b, const struct vio_balloon_range *range, unsigned n);

/* The device has used the buffer: it wants new ones. */
bool vio_balloon_stats_wanted(struct vio_balloon *b);
bool vio_balloon_stats(struct vio_balloon *b, const struct vio_balloon_stat *stat, unsigned n);

/*
 * Does the device want hints that it has not got?  Then a round begins.  Hinted pages stay free until
 * vio_balloon_hint_done(), or are filled anew before they are used: their contents are unknown.
 */
bool vio_balloon_hint_round(struct vio_balloon *b);
bool vio_balloon_hint(struct vio_balloon *b, const struct vio_balloon_range *range);	/* false too: the device wants no more */
bool vio_balloon_hint_end(struct vio_balloon *b);
bool vio_balloon_hint_done(struct vio_balloon *b);	/* the device needs none of them any more */
VIO_END_DECLS
#endif
