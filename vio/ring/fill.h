/* Between the files of the driver side: the verbs that differ by ring format. */
#ifndef VIO_RING_FILL_H
#define VIO_RING_FILL_H
#include <vio/ring/drvq.h>

struct vio_drvq_ops {
	bool (*add)(struct vio_drvq *q, const struct vio_buf *bufs, unsigned r, unsigned w, void *cookie);
	void (*publish)(struct vio_drvq *q);
	bool (*kick_due)(struct vio_drvq *q);
	void *(*get)(struct vio_drvq *q, uint32_t *len);
	void (*quiet)(struct vio_drvq *q);
	bool (*listen)(struct vio_drvq *q);
};
extern const struct vio_drvq_ops vio_drvq_split_ops, vio_drvq_packed_ops;

/* First in, first out: a slot rests as long as it can, so both sides walk through their arrays in order. */
static inline uint16_t vio_drvq_slot_take(struct vio_drvq *q)
{
	uint16_t i = q->free_head;
	q->free_head = q->slot[i].next;
	q->free_count--;
	return i;
}

static inline void vio_drvq_slot_free(struct vio_drvq *q, uint16_t first, uint16_t last, uint16_t n)
{
	if (q->free_count)
		q->slot[q->free_tail].next = first;
	else
		q->free_head = first;
	q->free_tail = last;
	q->free_count = (uint16_t)(q->free_count + n);
}

/* Count what the next kick decision is about.  It sticks at its end: beyond that any event index has been passed. */
static inline void vio_drvq_count(struct vio_drvq *q, uint16_t places)
{
	uint32_t n = (uint32_t)q->kicked + places;
	q->kicked = n < UINT16_MAX ? (uint16_t)n : UINT16_MAX;
}

static inline uint32_t vio_drvq_room(const struct vio_buf *bufs, unsigned n)
{
	uint64_t room = 0;
	for (unsigned i = 0; i < n; i++)
		room += bufs[i].len;
	return room > UINT32_MAX ? UINT32_MAX : (uint32_t)room;
}

static inline uint64_t vio_drvq_indirect_at(const struct vio_drvq *q, uint16_t slot)
{
	return q->indirect_addr + (uint64_t)slot * q->indirect_max * sizeof(struct vio_split_desc);
}
#endif
