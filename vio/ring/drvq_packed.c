/*
 * Packed virtqueues, driver side (2.8).
 *
 * Slots are buffer ids, ring places are taken in order.  A batch is published by releasing its first descriptor's flags
 * last: until then the device, which looks at one place only, sees none of the others (2.8.6).
 */
#include <vio/ring/fill.h>

#define RING(q) ((struct vio_packed_desc *)(q)->place.desc)
#define DRIVER_EVENT(q) ((struct vio_packed_event *)(q)->place.driver)
#define DEVICE_EVENT(q) ((struct vio_packed_event *)(q)->place.device)

static void advance(struct vio_drvq *q)
{
	if (++q->packed.avail_at == q->size) {
		q->packed.avail_at = 0;
		q->packed.avail_wrap = !q->packed.avail_wrap;
	}
}

/*
 * Fill the next place.  The first of a batch is held back, so the order of the others does not matter: none is visible
 * before it.
 */
static void put(struct vio_drvq *q, uint64_t addr, uint32_t len, uint16_t id, unsigned flags)
{
	uint16_t at = q->packed.avail_at;
	uint64_t word = vio_packed_word(len, id,
	    (uint16_t)(flags | (q->packed.avail_wrap ? VIO_DESC_AVAIL : VIO_DESC_USED)));

	RING(q)[at].addr = vio_le64_of(addr);
	if (q->packed.held) {
		vio_packed_store(&RING(q)[at], word);
	} else {
		q->packed.held = true;
		q->packed.held_at = at;
		q->packed.held_word = word;
	}
	advance(q);
}

static void made(struct vio_drvq *q, uint16_t id, void *cookie, uint32_t writable, uint16_t places)
{
	struct vio_drvq_slot *s = &q->slot[id];

	s->cookie = cookie;
	s->writable = writable;
	s->last = id;
	s->count = places;
	q->places = (uint16_t)(q->places + places);
	vio_drvq_count(q, places);
	if (++q->unpublished == VIO_DRVQ_BATCH)
		q->ops->publish(q);
}

static void add_indirect(struct vio_drvq *q, const struct vio_buf *bufs, unsigned r, unsigned n, void *cookie)
{
	uint16_t id = vio_drvq_slot_take(q);
	struct vio_packed_desc *table = (struct vio_packed_desc *)(void *)(q->indirect + (size_t)id * q->indirect_max);

	for (unsigned i = 0; i < n; i++)	/* no flag but WRITE inside (2.8.7) */
		table[i] = (struct vio_packed_desc){ vio_le64_of(bufs[i].addr), vio_le32_of(bufs[i].len), vio_le16_of(0),
			vio_le16_of(i >= r ? VIO_DESC_WRITE : 0) };
	put(q, vio_drvq_indirect_at(q, id), n * (uint32_t)sizeof *table, id, VIO_DESC_INDIRECT);
	made(q, id, cookie, vio_drvq_room(bufs + r, n - r), 1);
}

static bool packed_add(struct vio_drvq *q, const struct vio_buf *bufs, unsigned r, unsigned w, void *cookie)
{
	unsigned n = r + w, free_places = (unsigned)(q->size - q->places);

	if (q->free_count == 0 || free_places == 0)
		return false;
	if (n > 1 && n <= q->indirect_max) {
		add_indirect(q, bufs, r, n, cookie);
		return true;
	}
	if (n > free_places)	/* room for the whole list first (2.8.17) */
		return false;
	uint16_t id = vio_drvq_slot_take(q);
	for (unsigned i = 0; i < n; i++)
		put(q, bufs[i].addr, bufs[i].len, id, (i >= r ? VIO_DESC_WRITE : 0) | (i + 1 < n ? VIO_DESC_NEXT : 0));
	made(q, id, cookie, vio_drvq_room(bufs + r, w), (uint16_t)n);
	return true;
}

static void packed_publish(struct vio_drvq *q)
{
	if (q->packed.held)
		vio_packed_release(&RING(q)[q->packed.held_at], q->packed.held_word);	/* barrier A */
	q->packed.held = false;
	q->unpublished = 0;
}

static bool packed_kick_due(struct vio_drvq *q)
{
	uint16_t now = q->packed.avail_at, since = q->kicked;

	q->kicked = 0;
	if (since == 0)
		return false;
	vio_shared_fence();							/* barrier C */
	uint16_t flags = vio_shared_acquire(&DEVICE_EVENT(q)->flags) & 3;
	if (flags == VIO_EVENT_DESC && q->event_idx)
		return vio_packed_event_passed(vio_shared_load(&DEVICE_EVENT(q)->off_wrap), now, q->packed.avail_wrap,
		    (uint16_t)(now - since), q->size);
	return flags != VIO_EVENT_DISABLE;
}

static void *give_back(struct vio_drvq *q, uint16_t id, uint32_t n, uint32_t *len)
{
	struct vio_drvq_slot *s = &q->slot[id];

	*len = n < s->writable ? n : s->writable;	/* the device may lie; believe no more than it could write */
	uint32_t next = (uint32_t)q->packed.used_at + s->count;
	if (next >= q->size) {
		next -= q->size;
		q->packed.used_wrap = !q->packed.used_wrap;
	}
	q->packed.used_at = (uint16_t)next;
	q->places = (uint16_t)(q->places - s->count);
	s->count = 0;
	vio_drvq_slot_free(q, id, id, 1);
	q->order_next = (uint16_t)(id + 1 == q->size ? 0 : id + 1);	/* IN_ORDER: ids go round, as the free list does */
	return s->cookie;
}

/* IN_ORDER: one used descriptor may stand for all chains up to its own (2.8.11); those before it count as used in full. */
static void *get_in_order(struct vio_drvq *q, uint32_t *len)
{
	uint16_t id = q->order_next;

	q->owed--;
	return give_back(q, id, q->owed ? q->slot[id].writable : q->last_len, len);
}

static uint16_t batch_up_to(const struct vio_drvq *q, uint16_t last)
{
	uint16_t id = q->order_next;

	for (uint16_t n = 1; q->slot[id].count && n <= q->size; n++) {
		if (id == last)
			return n;
		id = (uint16_t)(id + 1 == q->size ? 0 : id + 1);
	}
	return 0;
}

static bool is_used(const struct vio_drvq *q, uint64_t word)
{
	uint16_t flags = (uint16_t)(word >> 48);
	return !!(flags & VIO_DESC_AVAIL) == q->packed.used_wrap && !!(flags & VIO_DESC_USED) == q->packed.used_wrap;
}

static void *packed_get(struct vio_drvq *q, uint32_t *len)
{
	if (q->owed)
		return get_in_order(q, len);
	if (q->places == 0)	/* nothing is with the device, whatever lies in the ring */
		return NULL;
	uint64_t word = vio_packed_acquire(&RING(q)[q->packed.used_at]);	/* barrier B */
	if (!is_used(q, word))
		return NULL;
	uint16_t id = (uint16_t)(word >> 32);
	uint32_t n = (uint32_t)word;	/* without WRITE it should mean nothing (2.8.5), but QEMU writes data and len and never sets WRITE */

	if (id >= q->size || q->slot[id].count == 0) {
		q->broken = "used descriptor names no chain of ours";
		return NULL;
	}
	if (q->in_order && id != q->order_next) {
		q->owed = batch_up_to(q, id);
		if (!q->owed) {
			q->broken = "device used chains out of order";
			return NULL;
		}
		q->last_len = n;
		return get_in_order(q, len);
	}
	return give_back(q, id, n, len);
}

static void set_driver_event(struct vio_drvq *q, uint16_t off_wrap, uint16_t flags)
{
	struct vio_packed_event *e = DRIVER_EVENT(q);

	vio_shared_store(&e->off_wrap, off_wrap);
	vio_shared_release(&e->flags, flags);
}

static void packed_quiet(struct vio_drvq *q)
{
	set_driver_event(q, 0, VIO_EVENT_DISABLE);
}

static bool packed_listen(struct vio_drvq *q)
{
	set_driver_event(q, (uint16_t)(q->packed.used_at | (uint16_t)q->packed.used_wrap << 15),
	    q->event_idx ? VIO_EVENT_DESC : VIO_EVENT_ENABLE);
	vio_shared_fence();							/* barrier D */
	return q->places && is_used(q, vio_packed_acquire(&RING(q)[q->packed.used_at]));
}

const struct vio_drvq_ops vio_drvq_packed_ops = {
	packed_add, packed_publish, packed_kick_due, packed_get, packed_quiet, packed_listen,
};
