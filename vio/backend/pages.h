/*
 * The host's side of guest memory, as the balloon device sees it: pages that the guest does without go back to the host,
 * and what the host wants of the guest comes the other way.
 *
 *     host ── target, ask() ──▶ device        "give up so much", "how much is free?"
 *     device ── give(), take() ──▶ host       "these pages are not in use", "they are again"
 *     device ── told ──▶ host                 what the guest said, and what came of it
 *
 * All of it in the device's home thread; nothing waits.  Memory twins: vio/host/pages_ram.c (fills with zeroes and counts),
 * pages_faulty.c (the n-th give fails).
 */
#ifndef VIO_BACKEND_PAGES_H
#define VIO_BACKEND_PAGES_H
#include <vio/ring/mem.h>
#include <vio/spec/balloon.h>
VIO_BEGIN_DECLS

struct vio_pages;

enum vio_pages_promise {
	VIO_PAGES_ONCE,		/* the guest may use them again as soon as it has its answer, and tells nobody */
	VIO_PAGES_KEPT		/* the guest says so before it uses them again: parts of a large page may be gathered until it is whole */
};

enum vio_pages_ask {
	VIO_ASK_TARGET,		/* target has changed */
	VIO_ASK_STATS,		/* statistics, please; or stats_every_ns has changed */
	VIO_ASK_HINTS,		/* which pages are free? A new round */
	VIO_ASK_HINTS_STOP,	/* no more hints at the moment; the guest keeps what it hinted */
	VIO_ASK_HINTS_DONE	/* nobody needs the hints any more */
};

enum vio_pages_news { VIO_NEWS_ACTUAL, VIO_NEWS_STATS, VIO_NEWS_HINTS_END, VIO_NEWS_FAILED };

/* What the guest said and what came of it; written by the device, for whoever wants to know. */
struct vio_pages_told {
	uint64_t actual;		/* bytes in the balloon, by the driver's word */
	uint64_t inflated, deflated;	/* bytes that were named since the start */
	uint64_t reported, hinted;
	uint64_t came_back;		/* bytes that the host really has got back, as measured by give() */
	uint64_t failed;		/* gives that failed, */
	int error;			/* and the last one's errno value */
	uint64_t stats_count;		/* buffers of statistics that came */
	uint64_t stats_at_ns;		/* when the last came (vio_dev_now()) */
	uint16_t stats_has;		/* bit by tag: the guest told it */
	uint64_t stats[VIO_BALLOON_S_COUNT];
	bool hinting;			/* a round is under way */
};

struct vio_pages {
	const struct vio_pages_ops *ops;
	/* What the host wants.  Whoever changes it calls ask(). */
	uint64_t target;		/* bytes that the guest shall do without */
	uint64_t stats_every_ns;	/* how often statistics come by themselves; 0: when they are asked for */
	struct vio_pages_told told;
	/* The device's, while there is one.  NULL, or why it can't be asked. */
	const char *(*ask)(void *arg, enum vio_pages_ask what);
	void *arg;
	/* Whoever wants to know at once; or NULL. */
	void (*news)(void *arg, enum vio_pages_news what);
	void *news_arg;
};

struct vio_pages_ops {
	/*
	 * The guest does not need [at, at + len) of region r: give its whole pages back.  They read as zeroes afterwards.  Returns
	 * the bytes that came back, as measured, or a negative errno value: then nothing has changed but perhaps contents.
	 */
	int64_t (*give)(struct vio_pages *p, const struct vio_region *r, uint64_t at, uint64_t len, enum vio_pages_promise promise);
	/* It uses them again, what was KEPT included. */
	void (*take)(struct vio_pages *p, const struct vio_region *r, uint64_t at, uint64_t len);
	/* The driver has gone: nothing in these regions is promised any more. */
	void (*forget)(struct vio_pages *p, const struct vio_mem *mem);
	/*
	 * A hint: not used, but the guest may use it again at any time without a word, so contents must stay unless the host knows
	 * that they were not written since the round began.  For who copies guest memory and need not copy these; may be NULL.
	 */
	void (*hint)(struct vio_pages *p, const struct vio_region *r, uint64_t at, uint64_t len);
	/* The round is at its end; true: the host still needs the hints and will ask HINTS_DONE.  NULL: it does not. */
	bool (*hints_end)(struct vio_pages *p);
	void (*close)(struct vio_pages *p);
};

/*
 * What is below a region, for those who give pages back (vio_region.backing): it lives as long as the memory value that
 * names it.
 */
struct vio_backing {
	int fd;				/* the file, or -1: not known */
	uint64_t offset;		/* of the region's first byte in it */
	uint64_t page;			/* bytes of its pages; a power of two */
	/* For pages larger than the guest's: a bit for each 4 KiB that is in the balloon.  The pages back end's, by malloc. */
	uint8_t *kept;
};
VIO_END_DECLS
#endif
