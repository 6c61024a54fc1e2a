/*
 * Between the files of the device side: building a chain from descriptors, and the verbs that differ by ring format.
 *
 * A walk keeps its state in locals of one struct on the stack; the chain is written once, at its end.  The region of the
 * last hit is tested inline, everything else is out of line (docs/ring.md has what was measured).
 */
#ifndef VIO_RING_WALK_H
#define VIO_RING_WALK_H
#include <vio/ring/devq.h>

struct vio_devq_ops {
	struct vio_chain *(*pop)(struct vio_devq *q);
	void (*unpop)(struct vio_devq *q, const struct vio_chain *c);	/* move back over the chain popped last */
	void (*put)(struct vio_devq *q, const struct vio_chain *c, uint32_t len);	/* fill one used entry */
	void (*publish)(struct vio_devq *q);	/* make what was put visible, and a full barrier */
	bool (*due)(struct vio_devq *q);	/* has the driver asked to be told of the last q->since? */
	void (*quiet)(struct vio_devq *q);
	bool (*listen)(struct vio_devq *q);
};
extern const struct vio_devq_ops vio_devq_split_ops, vio_devq_packed_ops;

struct vio_walk {
	struct vio_devq *q;
	struct vio_chain *c;
	struct vio_seg *seg, *end;	/* where the next segment goes; end: place for the link to a further block */
	const struct vio_seg *w_seg;	/* the first writable segment, when there is one */
	uint64_t r_total, w_total;
	uint32_t left;			/* descriptors that the chain may still have */
};

/* One descriptor, each word of it loaded once: the driver can rewrite it under our feet, but not this copy. */
struct vio_desc { uint64_t addr; uint32_t len; uint16_t lo, hi; };	/* split: flags, next; packed: id, flags */

/* Packed, because nothing aligns an indirect table. */
struct vio_unaligned64 { uint64_t wire; } __attribute__((packed, may_alias));

static inline struct vio_desc vio_desc_load(const void *table, uint32_t i)
{
	const volatile struct vio_unaligned64 *p = (const volatile struct vio_unaligned64 *)table + 2 * (size_t)i;
	vio_le64 addr = { p[0].wire }, word = { p[1].wire };
	uint64_t w = vio_le64_get(word);
	return (struct vio_desc){ vio_le64_get(addr), (uint32_t)w, (uint16_t)(w >> 32), (uint16_t)(w >> 48) };
}

static inline struct vio_chain *vio_devq_chain(struct vio_devq *q, uint16_t slot)
{
	return (struct vio_chain *)(void *)(q->slots + (size_t)slot * q->request_size);
}

/* A free slot.  There is one whenever a free head or id is: both are at most size. */
static inline struct vio_chain *vio_devq_slot(struct vio_devq *q)
{
	if (q->free_slot != UINT16_MAX)
		return vio_devq_chain(q, q->free_slot);
	struct vio_chain *c = vio_devq_chain(q, q->fresh_slot);
	c->slot = q->fresh_slot;
	c->head = UINT16_MAX;		/* the next free slot, while this one is free */
	return c;
}

/* Out of line: another block for segments; a buffer that is not in the range of the last hit. */
bool vio_walk_more(struct vio_walk *w);
bool vio_walk_far(struct vio_walk *w, uint64_t addr, uint32_t len, bool write);
/* The indirect table of len bytes at addr, or NULL (broken, or waiting for a translation). */
const void *vio_walk_indirect(struct vio_devq *q, uint64_t addr, uint32_t len);
void vio_walk_abandon(struct vio_devq *q, struct vio_chain *c);
bool vio_walk_break(struct vio_devq *q, const char *why);	/* breaks the queue; false */

static inline struct vio_walk vio_walk_begin(struct vio_devq *q)
{
	struct vio_chain *c = vio_devq_slot(q);

	c->more = NULL;
	return (struct vio_walk){ .q = q, .c = c, .seg = c->seg, .end = c->seg + VIO_CHAIN_SEGS, .left = q->place.size };
}

enum { VIO_CHAIN_BYTES_LOG2 = 32 };	/* 2.7.5.2: at most 2^32 bytes */

static inline bool vio_walk_put(struct vio_walk *w, void *host, size_t len, bool write)
{
	if (w->seg == w->end && !vio_walk_more(w))
		return false;
	w->seg->base = host;
	w->seg->len = len;
	if (write) {
		if (!w->w_seg)
			w->w_seg = w->seg;
		w->w_total += len;
	} else {
		w->r_total += len;
	}
	w->seg++;
	return !((w->r_total + w->w_total - 1) >> VIO_CHAIN_BYTES_LOG2) ||
	    vio_walk_break(w->q, "chain of more than 2^32 bytes");	/* 2.7.5.2 */
}

/*
 * Add a buffer.  An empty one has no bytes, so it has no order and no address to check (docs/decisions/empty-buffers.md);
 * a buffer that crosses memory regions becomes several segments.
 */
static inline bool vio_walk_append(struct vio_walk *w, uint64_t addr, uint32_t len, bool write)
{
	const struct vio_mem_hit *hit = &w->q->hit;
	uint64_t at = addr - hit->addr;

	if (len == 0)
		return true;
	if (!write && w->w_seg)
		return vio_walk_break(w->q, "device-readable buffer after a device-writable one");	/* 2.7.4.2, 2.8.17 */
	if (at < hit->size && len <= hit->size - at && (hit->perm & (write ? VIO_MEM_WRITE : VIO_MEM_READ)))
		return vio_walk_put(w, hit->host + at, len, write);
	return vio_walk_far(w, addr, len, write);
}

/* The chain is the device's. */
static inline void vio_chain_commit(struct vio_devq *q, struct vio_chain *c, uint16_t head, uint16_t descs)
{
	c->r_total = c->r.left;
	c->w_total = c->w.left;
	c->w_seg = c->w.seg;
	if (c->slot == q->fresh_slot)
		q->fresh_slot++;
	q->free_slot = c->head;
	c->head = head;
	c->descs = descs;
	c->pinned = false;
	c->done = false;
	q->owner[head] = (uint16_t)(c->slot + 1);
	if (__builtin_expect(q->in_order, 0))
		q->order[((uint32_t)q->order_head + q->order_count++) % q->place.size] = c->slot;
	q->inflight++;
	q->turn--;
	q->stats.chains++;
	q->stats.bytes_r += c->r_total;
}

static inline struct vio_chain *vio_walk_commit(const struct vio_walk *w, uint16_t head, uint16_t descs)
{
	struct vio_chain *c = w->c;

	c->r = (struct vio_cur){ c->seg, 0, w->r_total, 0 };
	c->w = (struct vio_cur){ w->w_seg, 0, w->w_total, 0 };
	vio_chain_commit(w->q, c, head, descs);
	return c;
}

/* A chain of one buffer in the range of the last hit needs no walk.  NULL: walk. */
static inline struct vio_chain *vio_chain_lone(struct vio_devq *q, const struct vio_desc *d, uint16_t flags, uint16_t head)
{
	uint64_t at = d->addr - q->hit.addr;
	bool write = flags & VIO_DESC_WRITE;

	if (flags & (VIO_DESC_NEXT | VIO_DESC_INDIRECT) || d->len == 0 || at >= q->hit.size || d->len > q->hit.size - at ||
	    !(q->hit.perm & (write ? VIO_MEM_WRITE : VIO_MEM_READ)))
		return NULL;
	struct vio_chain *c = vio_devq_slot(q);
	c->more = NULL;
	c->seg[0].base = q->hit.host + at;
	c->seg[0].len = d->len;
	c->r = (struct vio_cur){ c->seg, 0, write ? 0 : d->len, 0 };
	c->w = (struct vio_cur){ c->seg, 0, write ? d->len : 0, 0 };
	vio_chain_commit(q, c, head, 1);
	return c;
}

/* Why pop gives nothing. */
static inline struct vio_chain *vio_devq_none(struct vio_devq *q, enum vio_empty why)
{
	q->why_empty = why;
	return NULL;
}

/* Out of line: publish; and signal, unless signals are held back. */
void vio_devq_publish(struct vio_devq *q);

/* Count an entry put; publish when the batch is full. */
static inline void vio_devq_put_done(struct vio_devq *q, uint16_t places)
{
	q->since = (uint16_t)(q->since + places);
	if (++q->unpublished >= q->publish_at)
		vio_devq_publish(q);
}


/* journal.c: what vhost-user's "Inflight I/O tracking" asks for, at each point it asks for it */
const char *vio_journal_start(struct vio_devq *q);
void vio_journal_split_popped(struct vio_devq *q, uint16_t head);
void vio_journal_unpopped(struct vio_devq *q, const struct vio_chain *c);
void vio_journal_split_put(struct vio_devq *q, uint16_t head);
void vio_journal_split_published(struct vio_devq *q);
struct vio_journal_mark { uint16_t first, last, next; };	/* entries that a chain takes, as it is being walked */
bool vio_journal_packed_record(struct vio_devq *q, struct vio_journal_mark *m, const struct vio_desc *d);
void vio_journal_packed_popped(struct vio_devq *q, const struct vio_journal_mark *m, uint16_t num);
void vio_journal_packed_using(struct vio_devq *q, const struct vio_chain *c);	/* before the used descriptor is written */
void vio_journal_packed_used(struct vio_devq *q, const struct vio_chain *c);	/* after */
#endif
