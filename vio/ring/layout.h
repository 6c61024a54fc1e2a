/*
 * What both sides of a ring share: its memory, its barriers and the arithmetic of its indices.  Nothing else is shared.
 *
 *        driver                     shared memory                     device
 *   add ──────────▶  descriptors, avail idx / flags  ──────────▶ pop
 *   get ◀──────────  used elements, used idx / flags ◀────────── push, flush
 *
 * Each index and each flag word has one writer.  Barriers pair as follows; the letters stand at each use.
 *   A  driver: write descriptors, release-store avail idx (packed: flags)   / device: acquire-load it, read descriptors
 *   B  device: write used elements, release-store used idx (packed: flags)  / driver: acquire-load it, read elements
 *   C  driver: store avail idx, FENCE, load avail_event (packed: device event)
 *    / device: store avail_event, FENCE, load avail idx
 *   D  device: store used idx, FENCE, load used_event (packed: driver event)
 *    / driver: store used_event, FENCE, load used idx
 * Without the fences of C and D both may look before the other's store is visible, and both sleep (tests/spin).
 */
#ifndef VIO_RING_LAYOUT_H
#define VIO_RING_LAYOUT_H
#include <vio/spec/ring.h>

/* Where a running queue's three areas are, in host memory. */
struct vio_ring_place {
	void *desc;		/* descriptor area: table (split) or ring (packed) */
	void *driver;		/* driver area: avail ring, or driver event suppression */
	void *device;		/* device area: used ring, or device event suppression */
	uint16_t size;		/* entries */
};

static inline uint16_t vio_shared_load(const vio_le16 *p)
{
	vio_le16 v;
	v.wire = __atomic_load_n(&p->wire, __ATOMIC_RELAXED);
	return vio_le16_get(v);
}
static inline uint16_t vio_shared_acquire(const vio_le16 *p)
{
	vio_le16 v;
	v.wire = __atomic_load_n(&p->wire, __ATOMIC_ACQUIRE);
	return vio_le16_get(v);
}
static inline void vio_shared_store(vio_le16 *p, uint16_t v) { __atomic_store_n(&p->wire, vio_le16_of(v).wire, __ATOMIC_RELAXED); }
static inline void vio_shared_release(vio_le16 *p, uint16_t v) { __atomic_store_n(&p->wire, vio_le16_of(v).wire, __ATOMIC_RELEASE); }
static inline void vio_shared_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* The event indices live behind the other side's ring (2.7.7, 2.7.10). */
static inline vio_le16 *vio_used_event(void *avail, uint16_t size)
{
	return (vio_le16 *)((char *)avail + 4 + 2 * (size_t)size);
}
static inline vio_le16 *vio_avail_event(void *used, uint16_t size)
{
	return (vio_le16 *)((char *)used + 4 + 8 * (size_t)size);
}

/* 2.7.7.2: did moving an index from old to now pass event? */
static inline bool vio_event_passed(uint16_t event, uint16_t now, uint16_t old)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

/* 2.8.21: the same for a packed ring's off_wrap, seen from where this side's wrap counter now is. */
static inline bool vio_packed_event_passed(uint16_t off_wrap, uint16_t now, bool wrap, uint16_t old, uint16_t size)
{
	uint16_t event = off_wrap & 0x7fff;
	if ((off_wrap >> 15 != 0) != wrap)
		event = (uint16_t)(event - size);
	return vio_event_passed(event, now, old);
}

/* The second word of a packed descriptor, {len, id, flags}, as one value: see struct vio_packed_desc. */
static inline uint64_t vio_packed_word(uint32_t len, uint16_t id, uint16_t flags)
{
	return (uint64_t)len | (uint64_t)id << 32 | (uint64_t)flags << 48;
}
static inline uint64_t vio_packed_acquire(const struct vio_packed_desc *d)
{
	vio_le64 v;
	v.wire = __atomic_load_n(&((const uint64_t *)(const void *)d)[1], __ATOMIC_ACQUIRE);
	return vio_le64_get(v);
}
static inline void vio_packed_store(struct vio_packed_desc *d, uint64_t word)
{
	__atomic_store_n(&((uint64_t *)(void *)d)[1], vio_le64_of(word).wire, __ATOMIC_RELAXED);
}
static inline void vio_packed_release(struct vio_packed_desc *d, uint64_t word)
{
	__atomic_store_n(&((uint64_t *)(void *)d)[1], vio_le64_of(word).wire, __ATOMIC_RELEASE);
}
#endif
