/*
 * The device's side of a virtqueue (virtio 1.4, 2.7 and 2.8): pop chains, serve them, push them back used.
 *
 *   vio_devq_start(&q, ...)                     the driver has set the queue up
 *   while ((c = vio_devq_pop(&q)))              NULL: nothing more now; q.why_empty says why
 *           read c->r, fill c->w, vio_devq_push(&q, c)
 *   vio_devq_flush(&q)                          publish, and signal if the driver asked for it
 *   if (vio_devq_listen(&q)) ...again           before sleeping
 *
 * pop validates a whole chain and copies it: nothing in the ring is read twice.  An incoherent ring breaks the queue: one
 * sticky English sentence in q.broken, until the queue is started anew.  A chain stays valid until it is pushed, in any
 * order; with IN_ORDER negotiated, push delivers in order by itself.
 *
 * One queue belongs to one thread.  Nothing is allocated after start: all memory comes from one block given to it.
 */
#ifndef VIO_RING_DEVQ_H
#define VIO_RING_DEVQ_H
#include <vio/ring/cursor.h>
#include <vio/ring/journal.h>
#include <vio/ring/layout.h>
#include <vio/ring/mem.h>
#include <vio/spec/feature.h>
VIO_BEGIN_DECLS

enum {
	VIO_CHAIN_SEGS = 6,	/* segments inside the chain itself: header, data, status and some */
	VIO_BLOCK_SEGS = 15,	/* in each further block */
	VIO_DEVQ_BATCH = 16	/* push publishes by itself at least this often */
};

struct vio_devq;
struct vio_seg_block { struct vio_seg seg[VIO_BLOCK_SEGS + 1]; };	/* the last entry links on */

/* A popped chain.  A device type's request begins with it. */
struct vio_chain {
	struct vio_cur r, w;		/* device-readable and device-writable bytes; w.done becomes used.len */
	uint16_t head;			/* split: head of chain; packed: buffer id */
	uint16_t slot;			/* which request of the queue's pool this is */
	uint16_t descs;			/* ring descriptors taken, packed */
	uint16_t journal;		/* this chain's entry in a packed journal */
	bool pinned;			/* uses memory that is being removed */
	bool done;			/* pushed, but waiting for an older one (IN_ORDER) */
	uint32_t used_len;		/* while done */
	const struct vio_seg *w_seg;	/* the first writable segment, for the dirty log */
	uint64_t r_total, w_total;
	struct vio_seg_block *more;	/* further segments */
	struct vio_seg seg[VIO_CHAIN_SEGS + 1];
};

/* Why pop gave nothing. */
enum vio_empty {
	VIO_EMPTY,		/* no chain is available */
	VIO_BROKEN,		/* q->broken says what the driver did */
	VIO_TURN_OVER,		/* the turn's budget is used up: others first */
	VIO_WAIT_SEGMENTS,	/* for segments that chains in flight hold: the next push frees some */
	VIO_WAIT_IOTLB,		/* for the translation of q->miss_addr, q->miss_perm */
	VIO_WAIT_RATE,		/* the device core's: the device has had its share for now */
	VIO_WAIT_DEVICE		/* set by a device type that stopped popping: it will call vio_dev_wake() */
};

/* Counted for the operator; read from other threads without a lock, so each is written by one. */
struct vio_devq_stats {
	uint64_t chains, bytes_r, bytes_w;
	uint64_t signals, signals_suppressed;
	uint64_t kicks;
	uint64_t refused;	/* malformed requests in sound chains */
	uint64_t broken;	/* incoherent rings */
};

struct vio_devq_setup {
	struct vio_ring_place place;
	struct vio_features features;	/* what was negotiated */
	uint32_t base;			/* where to go on; see vio_devq_base() */
	uint16_t chain_max;		/* descriptors an indirect chain may have beyond the queue's size; 0: the queue's size */
	uint32_t request_size;		/* bytes of the device's request, which begins with struct vio_chain */
	struct vio_mem *mem;		/* one reference is taken */
	uint64_t log_used_gpa;		/* where writes to the device area are logged, when log_used */
	bool log_used;
	void *journal;			/* vio_journal_bytes(size) bytes, or NULL */
	void *memory;			/* vio_devq_memory() bytes, zeroed; the caller's, until the queue has been stopped */
	uint64_t memory_bytes;
	void (*signal)(struct vio_devq *q);	/* send a used buffer notification */
};

struct vio_devq {
	/* what pop and push touch for every chain stands first */
	const struct vio_devq_ops *ops;
	struct vio_ring_place place;
	struct vio_mem_hit hit;
	struct vio_mem *mem;
	struct { uint16_t avail_next, avail_seen, used_next; } split;
	struct {
		uint16_t avail_at, used_at, used_held_at;
		bool avail_wrap, used_wrap, used_held;
		uint64_t used_held_word;	/* a batch's first used descriptor, released last */
	} packed;
	uint32_t turn;			/* chains that may still be popped in this turn */
	uint32_t inflight;
	uint16_t unpublished, publish_at;	/* filled in but not visible; publish by itself at so many */
	uint16_t since;			/* used entries (packed: ring places) since the last signal decision */
	uint32_t held;			/* chains published since then */
	bool event_idx, indirect, is_packed, in_order, quiet;
	bool slow;			/* a push has more to do than fill: journal, dirty log, order, pins, dropping */
	bool hold;			/* publishing does not signal: vio_devq_tell() does */
	bool dropping;			/* pushed chains vanish: the queue is being stopped, its journal keeps them */
	uint16_t free_slot, fresh_slot;	/* free list by index; slots from fresh_slot on were never used */
	uint16_t *owner;		/* by head or buffer id: slot + 1 of the chain in flight */
	unsigned char *slots;
	uint32_t request_size;
	uint32_t chain_max;
	struct vio_seg_block *free_block, *fresh_block, *end_block;
	uint16_t *order;		/* IN_ORDER: slots in the order they were popped */
	uint16_t order_head, order_count;
	void *journal;
	uint64_t journal_counter;
	uint16_t *replay;		/* heads (split) or journal entries (packed) left by a predecessor */
	uint32_t replay_next, replay_count;
	bool from_replay;		/* the chain popped last was */
	uint16_t *journal_free;		/* packed: the journal's free list, our own copy: nobody else can scribble in it */
	uint16_t journal_free_head;
	uint16_t batch[VIO_DEVQ_BATCH];	/* split journal: heads filled in but not published */
	uint64_t log_used_gpa;
	bool log_used;
	bool running;
	uint32_t pins;			/* chains in flight that use memory being removed */
	uint64_t miss_addr;
	uint8_t miss_perm;
	enum vio_empty why_empty;
	const char *broken;
	void (*signal)(struct vio_devq *q);
	struct vio_devq_stats stats;
	void *dev;			/* whose queue this is; the device core's */
	void *priv;			/* the device type's own, between start and stop */
	uint16_t index;
};

/* Bytes of memory that a queue of size needs.  regions: how many the memory has, at most (a buffer may cross them). */
uint64_t vio_devq_memory(uint16_t size, uint32_t request_size, uint32_t chain_max, uint32_t regions);

/*
 * Start serving.  NULL, or why not, in words (wrong size 2.7, 2.8; misaligned area; not enough memory).  Counters go on.
 * For a split queue used entries go on where the used ring's index stands.
 */
const char *vio_devq_start(struct vio_devq *q, const struct vio_devq_setup *s);

/* Stop.  q->inflight must be 0 or the chains in flight abandoned.  Gives up the memory reference. */
void vio_devq_stop(struct vio_devq *q);

/*
 * From now on a pushed chain vanishes instead of being published: its request is left to whoever replays the journal, or
 * to nobody (the driver has gone).  Until the next start.
 */
void vio_devq_drop(struct vio_devq *q);

/*
 * Where the queue stands, as vhost-user's SET_VRING_BASE takes it.  Split: the next available index.  Packed: bits 0-14
 * next available place, 15 its wrap counter, 16-30 next used place, 31 its wrap counter.
 */
uint32_t vio_devq_base(const struct vio_devq *q);
#define VIO_PACKED_BASE UINT32_C(0x80008000)	/* a fresh packed queue's base */

/* The next chain, or NULL and q->why_empty. */
struct vio_chain *vio_devq_pop(struct vio_devq *q);

/* Give a chain back, c->w.done bytes written.  c is gone.  Published by flush, or by itself every few. */
void vio_devq_push(struct vio_devq *q, struct vio_chain *c);

/*
 * Give back the chain popped last, untouched, as if it had never been popped: the device can't serve it now and will
 * be woken.  Nothing has been popped since, or all of that was given back already (not with a journal).
 */
void vio_devq_unpop(struct vio_devq *q, struct vio_chain *c);

/* Publish what was pushed, and call signal if the driver asked to be told (2.7.7, 2.7.10, 2.8.21). */
void vio_devq_flush(struct vio_devq *q);

/*
 * Between on and off what is pushed is published together, however much it is (at most the queue's size): a driver that sees
 * the first sees all.  Not with a journal, which takes down few at a time.
 */
void vio_devq_together(struct vio_devq *q, bool on);

/* While q->hold, signals wait: decide now about all that was published since the last decision, and call signal if due. */
void vio_devq_tell(struct vio_devq *q);

/* No kicks, please: we are looking.  Then, before sleeping, listen: true when a chain slipped in, so look again. */
void vio_devq_quiet(struct vio_devq *q);
bool vio_devq_listen(struct vio_devq *q);

/* End the turn after this chain: the device has moved its share of bytes. */
static inline void vio_devq_yield(struct vio_devq *q) { q->turn = 0; }

/* The queue is useless until it is started anew; the first reason sticks. */
void vio_devq_break(struct vio_devq *q, const char *why);

/*
 * Take a new value of guest memory.  Chains in flight that use a byte of gone (a region that the new value lacks; NULL:
 * none) are pinned: q->pins counts them down as they are pushed.
 */
void vio_devq_set_mem(struct vio_devq *q, struct vio_mem *mem, const struct vio_region *gone);

/* The chain in slot i while it is in flight, or NULL: for cancelling and for pins. */
struct vio_chain *vio_devq_inflight(struct vio_devq *q, uint16_t slot);
VIO_END_DECLS
#endif
