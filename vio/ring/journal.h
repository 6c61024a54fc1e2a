/*
 * The journal: a queue's record of what is in flight, in memory that outlives the process (vhost-user "Inflight I/O
 * tracking").  pop records, push publishes in the protocol's order, start replays what a predecessor left unfinished.
 * The memory belongs to somebody who may scribble in it: what is read from it is checked and copied first.
 */
#ifndef VIO_RING_JOURNAL_H
#define VIO_RING_JOURNAL_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

/* Host byte order, as the vhost-user protocol lays them out. */
struct vio_journal_split_desc { uint8_t inflight, pad[5]; uint16_t next; uint64_t counter; };
struct vio_journal_split {
	uint64_t features;
	uint16_t version, desc_num, last_batch_head, used_idx;
	struct vio_journal_split_desc desc[];
};

struct vio_journal_packed_desc {
	uint8_t inflight, pad;
	uint16_t next, last, num;
	uint64_t counter;
	uint16_t id, flags;
	uint32_t len;
	uint64_t addr;
};
struct vio_journal_packed {
	uint64_t features;
	uint16_t version, desc_num, free_head, old_free_head, used_idx, old_used_idx;
	uint8_t used_wrap_counter, old_used_wrap_counter, pad[7 + 3];
	struct vio_journal_packed_desc desc[];
};
VIO_STATIC_ASSERT(sizeof(struct vio_journal_split_desc) == 16 && offsetof(struct vio_journal_split, desc) == 16, "vhost-user");
VIO_STATIC_ASSERT(sizeof(struct vio_journal_packed_desc) == 32 && offsetof(struct vio_journal_packed, desc) == 32, "vhost-user");
enum { VIO_JOURNAL_VERSION = 1 };

/* Bytes of one queue's region; each region starts at a multiple of VIO_JOURNAL_ALIGN. */
enum { VIO_JOURNAL_ALIGN = 64 };
static inline uint64_t vio_journal_bytes(uint32_t size, bool packed)
{
	uint64_t n = packed ? 32 + 32 * (uint64_t)size : 16 + 16 * (uint64_t)size;
	return (n + VIO_JOURNAL_ALIGN - 1) & ~(uint64_t)(VIO_JOURNAL_ALIGN - 1);
}
VIO_END_DECLS
#endif
