/* Traditional memory balloon (virtio 1.4, section 5.5). */
#ifndef VIO_SPEC_BALLOON_H
#define VIO_SPEC_BALLOON_H
#include <vio/spec/types.h>

enum {	/* 5.5.2 queues: their numbers are fixed, whether or not the ones before exist */
	VIO_BALLOON_Q_INFLATE = 0,
	VIO_BALLOON_Q_DEFLATE = 1,
	VIO_BALLOON_Q_STATS = 2,
	VIO_BALLOON_Q_HINTS = 3,	/* free_page_vq */
	VIO_BALLOON_Q_REPORTS = 4,	/* reporting_vq */
	VIO_BALLOON_QUEUES = 5
};

enum {	/* 5.5.3 feature bits */
	VIO_BALLOON_F_MUST_TELL_HOST = 0,
	VIO_BALLOON_F_STATS_VQ = 1,
	VIO_BALLOON_F_DEFLATE_ON_OOM = 2,
	VIO_BALLOON_F_FREE_PAGE_HINT = 3,
	VIO_BALLOON_F_PAGE_POISON = 4,
	VIO_BALLOON_F_PAGE_REPORTING = 5
};

enum { VIO_BALLOON_PAGE = 4096 };	/* what a page number counts, whatever the guest's pages are (5.5.6) */

struct vio_balloon_config {	/* 5.5.4 */
	vio_le32 num_pages;	/* the device wants so many */
	vio_le32 actual;	/* the driver has given so many */
	vio_le32 free_page_hint_cmd_id;
	vio_le32 poison_val;	/* the driver's */
};
VIO_STATIC_ASSERT(sizeof(struct vio_balloon_config) == 16, "5.5.4");

enum {	/* 5.5.6.4: what a command id means that is none */
	VIO_BALLOON_CMD_ID_STOP = 0,
	VIO_BALLOON_CMD_ID_DONE = 1,
	VIO_BALLOON_CMD_ID_FIRST = 2
};

enum {	/* 5.5.6.3 tags */
	VIO_BALLOON_S_SWAP_IN = 0,
	VIO_BALLOON_S_SWAP_OUT = 1,
	VIO_BALLOON_S_MAJFLT = 2,
	VIO_BALLOON_S_MINFLT = 3,
	VIO_BALLOON_S_MEMFREE = 4,
	VIO_BALLOON_S_MEMTOT = 5,
	VIO_BALLOON_S_AVAIL = 6,
	VIO_BALLOON_S_CACHES = 7,
	VIO_BALLOON_S_HTLB_PGALLOC = 8,
	VIO_BALLOON_S_HTLB_PGFAIL = 9,
	VIO_BALLOON_S_COUNT = 10
};

struct vio_balloon_stat { vio_le16 tag; vio_le64 val; } __attribute__((packed));	/* 5.5.6.2 */
VIO_STATIC_ASSERT(sizeof(struct vio_balloon_stat) == 10, "5.5.6.2");
#endif
