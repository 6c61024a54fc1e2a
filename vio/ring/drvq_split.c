/*
 * Split virtqueues, driver side (2.7).
 *
 * Slots are descriptors: a chain takes as many as it has buffers (one with an indirect table) and is known by its head.
 * With IN_ORDER chains take descriptors in ring order (2.7.9), so the free list is the ring itself.
 */
#include <vio/ring/fill.h>

#define DESC(q) ((struct vio_split_desc *)(q)->place.desc)
#define AVAIL(q) ((struct vio_split_avail *)(q)->place.driver)
#define USED(q) ((struct vio_split_used *)(q)->place.device)
#define MASK(q) ((uint16_t)((q)->size - 1))

static struct vio_split_desc desc(const struct vio_buf *b, bool write, bool more, uint16_t next)
{
	return (struct vio_split_desc){ vio_le64_of(b->addr), vio_le32_of(b->len),
		vio_le16_of((uint16_t)((write ? VIO_DESC_WRITE : 0) | (more ? VIO_DESC_NEXT : 0))), vio_le16_of(more ? next : 0) };
}

static void make_available(struct vio_drvq *q, uint16_t head)
{
	AVAIL(q)->ring[q->split.avail_next++ & MASK(q)] = vio_le16_of(head);
	vio_drvq_count(q, 1);
	if (++q->unpublished == VIO_DRVQ_BATCH)
		q->ops->publish(q);
}

static void add_indirect(struct vio_drvq *q, const struct vio_buf *bufs, unsigned r, unsigned n, void *cookie)
{
	uint16_t head = vio_drvq_slot_take(q);
	struct vio_split_desc *table = q->indirect + (size_t)head * q->indirect_max;

	for (unsigned i = 0; i < n; i++)	/* in sequence, as IN_ORDER wants it too (2.7.5.3.1) */
		table[i] = desc(&bufs[i], i >= r, i + 1 < n, (uint16_t)(i + 1));
	DESC(q)[head] = (struct vio_split_desc){ vio_le64_of(vio_drvq_indirect_at(q, head)),
		vio_le32_of(n * (uint32_t)sizeof *table), vio_le16_of(VIO_DESC_INDIRECT), vio_le16_of(0) };
	struct vio_drvq_slot *s = &q->slot[head];
	s->cookie = cookie;
	s->writable = vio_drvq_room(bufs + r, n - r);
	s->last = head;
	s->count = 1;
	make_available(q, head);
}

static bool split_add(struct vio_drvq *q, const struct vio_buf *bufs, unsigned r, unsigned w, void *cookie)
{
	unsigned n = r + w;

	if (n > q->size)
		return false;		/* 2.7.5.3.1: no chain longer than the queue */
	if (n > 1 && n <= q->indirect_max && q->free_count) {
		add_indirect(q, bufs, r, n, cookie);
		return true;
	}
	if (n > q->free_count)
		return false;
	uint16_t head = q->free_head, i = head;
	for (unsigned k = 0; k < n; k++) {
		i = vio_drvq_slot_take(q);
		uint16_t next = q->free_head;
		DESC(q)[i] = desc(&bufs[k], k >= r, k + 1 < n, next);
	}
	struct vio_drvq_slot *s = &q->slot[head];
	s->cookie = cookie;
	s->writable = vio_drvq_room(bufs + r, w);
	s->last = i;
	s->count = (uint16_t)n;
	make_available(q, head);
	return true;
}

static void split_publish(struct vio_drvq *q)
{
	if (q->unpublished)
		vio_shared_release(&AVAIL(q)->idx, q->split.avail_next);	/* barrier A */
	q->unpublished = 0;
}

static bool split_kick_due(struct vio_drvq *q)
{
	uint16_t now = q->split.avail_next, since = q->kicked;

	q->kicked = 0;
	if (since == 0)
		return false;
	vio_shared_fence();							/* barrier C */
	if (q->event_idx)	/* the low bit of flags is ignored then (2.7.10.1) */
		return vio_event_passed(vio_shared_load(vio_avail_event(q->place.device, q->size)), now,
		    (uint16_t)(now - since));
	return !(vio_shared_load(&USED(q)->flags) & VIO_USED_NO_NOTIFY);
}

/* A chain is the driver's again. */
static void *give_back(struct vio_drvq *q, uint16_t head, uint32_t n, uint32_t *len)
{
	struct vio_drvq_slot *s = &q->slot[head];

	*len = n < s->writable ? n : s->writable;	/* the device may lie; believe no more than it could write */
	vio_drvq_slot_free(q, head, s->last, s->count);
	if (q->in_order)
		q->order_next = (uint16_t)((head + s->count) & MASK(q));
	s->count = 0;
	return s->cookie;
}

/* IN_ORDER: one used element may stand for all chains up to its own (2.7.9); those before it count as used in full. */
static void *get_in_order(struct vio_drvq *q, uint32_t *len)
{
	uint16_t head = q->order_next;

	if (q->slot[head].count == 0) {
		q->broken = "device used a chain that it does not have";
		return NULL;
	}
	q->owed--;
	return give_back(q, head, q->owed ? q->slot[head].writable : q->last_len, len);
}

/* How many chains the element with this id stands for, in the order they were made available; 0: none of ours. */
static uint16_t batch_up_to(struct vio_drvq *q, uint32_t id, uint16_t at_most)
{
	uint16_t head = q->order_next;

	for (uint16_t n = 1; n <= at_most && q->slot[head].count; n++) {
		if (head == id)
			return n;
		head = (uint16_t)((head + q->slot[head].count) & MASK(q));
	}
	return 0;
}

static void *split_get(struct vio_drvq *q, uint32_t *len)
{
	if (q->owed)
		return get_in_order(q, len);
	if (q->split.used_next == q->split.used_seen) {
		uint16_t seen = vio_shared_acquire(&USED(q)->idx);		/* barrier B */
		if (seen == q->split.used_next)
			return NULL;
		if ((uint16_t)(seen - q->split.used_next) > (uint16_t)(q->split.avail_next - q->split.used_next)) {
			q->broken = "used index has moved further than chains were made available";
			return NULL;
		}
		q->split.used_seen = seen;
	}
	const volatile struct vio_split_elem *e = &USED(q)->ring[q->split.used_next & MASK(q)];
	vio_le32 wire_id = { e->id.wire }, wire_len = { e->len.wire };
	uint32_t id = vio_le32_get(wire_id), n = vio_le32_get(wire_len);

	if (id >= q->size || q->slot[id].count == 0) {
		q->broken = "used element names no chain of ours";
		return NULL;
	}
	if (q->in_order && id != q->order_next) {
		/* A batch: the index moves by all of them, the element stands in the first one's place. */
		uint16_t most = (uint16_t)(q->split.used_seen - q->split.used_next);
		q->owed = batch_up_to(q, id, most);
		if (!q->owed) {
			q->broken = "device used chains out of order";
			return NULL;
		}
		q->split.used_next = (uint16_t)(q->split.used_next + q->owed);
		q->last_len = n;
		return get_in_order(q, len);
	}
	q->split.used_next++;
	return give_back(q, (uint16_t)id, n, len);
}

static void split_quiet(struct vio_drvq *q)
{
	if (!q->event_idx)	/* with it, silence is the default; flags must stay 0 (2.7.7.1) */
		vio_shared_store(&AVAIL(q)->flags, VIO_AVAIL_NO_INTERRUPT);
}

static bool split_listen(struct vio_drvq *q)
{
	if (q->event_idx)
		vio_shared_store(vio_used_event(q->place.driver, q->size), q->split.used_next);
	else
		vio_shared_store(&AVAIL(q)->flags, 0);
	vio_shared_fence();							/* barrier D */
	return vio_shared_load(&USED(q)->idx) != q->split.used_next;
}

const struct vio_drvq_ops vio_drvq_split_ops = {
	split_add, split_publish, split_kick_due, split_get, split_quiet, split_listen,
};
