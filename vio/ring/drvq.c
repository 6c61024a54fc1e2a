#include <vio/ring/fill.h>
#include <vio/ring/freestanding.h>

static uint64_t round16(uint64_t n) { return (n + 15) & ~UINT64_C(15); }

void vio_drvq_init(struct vio_drvq *q, const struct vio_drvq_setup *s)
{
	bool packed = vio_has(s->features, VIO_F_RING_PACKED);
	uint64_t driver_at = vio_ring_desc_bytes(s->size);
	uint64_t device_at = driver_at + round16(vio_ring_driver_bytes(s->size, packed));

	*q = (struct vio_drvq){ .slot = s->slots, .size = s->size, .free_count = s->size, .is_packed = packed };
	q->ops = packed ? &vio_drvq_packed_ops : &vio_drvq_split_ops;
	q->place = (struct vio_ring_place){ s->ring, (char *)s->ring + driver_at, (char *)s->ring + device_at, s->size };
	q->desc_addr = s->ring_addr;
	q->driver_addr = s->ring_addr + driver_at;
	q->device_addr = s->ring_addr + device_at;
	q->event_idx = vio_has(s->features, VIO_F_EVENT_IDX);
	q->in_order = vio_has(s->features, VIO_F_IN_ORDER);
	q->packed.avail_wrap = q->packed.used_wrap = true;	/* 2.8.1 */
	if (s->indirect && vio_has(s->features, VIO_F_INDIRECT_DESC)) {
		q->indirect = s->indirect;
		q->indirect_addr = s->indirect_addr;
		q->indirect_max = s->indirect_max;
	}
	memset(s->ring, 0, (size_t)(device_at + vio_ring_device_bytes(s->size, packed)));	/* 2.7.10: used flags 0 */
	for (uint16_t i = 0; i < s->size; i++)
		s->slots[i] = (struct vio_drvq_slot){ .next = (uint16_t)(i + 1) };
	q->free_tail = (uint16_t)(s->size - 1);
}

/* 2.7.5.2: a chain has at most 2^32 bytes. */
static bool too_long(const struct vio_buf *bufs, unsigned n)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += bufs[i].len;
	return bytes > UINT64_C(1) << 32;
}

bool vio_drvq_add(struct vio_drvq *q, const struct vio_buf *bufs, unsigned r, unsigned w, void *cookie)
{
	if (q->broken || r + w == 0 || (r + w > 1 && too_long(bufs, r + w)))
		return false;
	return q->ops->add(q, bufs, r, w, cookie);
}

bool vio_drvq_kick_due(struct vio_drvq *q)
{
	if (q->broken)
		return false;
	q->ops->publish(q);
	return q->ops->kick_due(q);
}

uint32_t vio_drvq_notification(const struct vio_drvq *q, uint16_t index)
{
	uint32_t off = q->is_packed ? q->packed.avail_at : q->split.avail_next & 0x7fff;
	uint32_t wrap = q->is_packed ? q->packed.avail_wrap : q->split.avail_next >> 15;

	return index | off << 16 | wrap << 31;		/* 2.9 */
}

void *vio_drvq_get(struct vio_drvq *q, uint32_t *len)
{
	uint32_t unused;

	if (q->broken)
		return NULL;
	return q->ops->get(q, len ? len : &unused);
}

void vio_drvq_quiet(struct vio_drvq *q)
{
	if (!q->hush) {
		q->hush = true;
		q->ops->quiet(q);
	}
}

bool vio_drvq_listen(struct vio_drvq *q)
{
	q->hush = false;
	return !q->broken && (q->owed || q->ops->listen(q));
}

void *vio_drvq_take_back(struct vio_drvq *q)
{
	for (uint16_t i = 0; i < q->size; i++)
		if (q->slot[i].count) {
			q->slot[i].count = 0;
			return q->slot[i].cookie;
		}
	return NULL;
}
