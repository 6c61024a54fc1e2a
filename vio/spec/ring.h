/* Virtqueue layouts (virtio 1.4, sections 2.7 Split Virtqueues and 2.8 Packed Virtqueues). */
#ifndef VIO_SPEC_RING_H
#define VIO_SPEC_RING_H
#include <vio/spec/types.h>

enum { VIO_RING_SIZE_MAX = 32768 };

/* 2.7.5 and 2.8.1: descriptor flags */
enum {
	VIO_DESC_NEXT = 1,
	VIO_DESC_WRITE = 2,
	VIO_DESC_INDIRECT = 4,
	VIO_DESC_AVAIL = 1 << 7,	/* packed only */
	VIO_DESC_USED = 1 << 15		/* packed only */
};

struct vio_split_desc { vio_le64 addr; vio_le32 len; vio_le16 flags, next; };
struct vio_split_avail { vio_le16 flags, idx, ring[]; };	/* then vio_le16 used_event */
struct vio_split_elem { vio_le32 id, len; };
struct vio_split_used { vio_le16 flags, idx; struct vio_split_elem ring[]; };	/* then vio_le16 avail_event */

/* 2.7.6 and 2.7.8: "no interrupt", "no notify" */
enum { VIO_AVAIL_NO_INTERRUPT = 1, VIO_USED_NO_NOTIFY = 1 };

/*
 * 2.8.14.  Seen as two 64-bit words the descriptor is published by one store: the second word is len, id and flags.
 */
struct vio_packed_desc { vio_le64 addr; vio_le32 len; vio_le16 id, flags; };

/* 2.8.14 Event suppression structure: off_wrap is 15 bits of ring offset and the wrap counter. */
struct vio_packed_event { vio_le16 off_wrap, flags; };
enum { VIO_EVENT_ENABLE = 0, VIO_EVENT_DISABLE = 1, VIO_EVENT_DESC = 2 };

VIO_STATIC_ASSERT(sizeof(struct vio_split_desc) == 16, "2.7.5");
VIO_STATIC_ASSERT(sizeof(struct vio_split_elem) == 8, "2.7.8");
VIO_STATIC_ASSERT(sizeof(struct vio_packed_desc) == 16, "2.8.14");
VIO_STATIC_ASSERT(sizeof(struct vio_packed_event) == 4, "2.8.14");

/* Bytes of each part of a queue of n entries (2.7, 2.8): descriptor area, driver area, device area. */
static inline uint64_t vio_ring_desc_bytes(uint32_t n) { return 16 * (uint64_t)n; }
static inline uint64_t vio_ring_driver_bytes(uint32_t n, bool packed) { return packed ? 4 : 6 + 2 * (uint64_t)n; }
static inline uint64_t vio_ring_device_bytes(uint32_t n, bool packed) { return packed ? 4 : 6 + 8 * (uint64_t)n; }
#endif
