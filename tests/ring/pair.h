/* Both sides of one queue, face to face over memory as cruel as it gets; no device core, no transport. */
#ifndef VIO_TESTS_RING_PAIR_H
#define VIO_TESTS_RING_PAIR_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/ring/devq.h>
#include <vio/ring/drvq.h>
#include "../test.h"

enum memory_kind { WHOLE, CUT, APART, MEMORY_KINDS };	/* one region; one byte a segment; many adjacent regions */
enum { PAIR_AREA = 96, PAIR_REGIONS = 48, PAIR_INDIRECT = 24, PAIR_DIRTY = 4096 };
#define PAIR_RING UINT64_C(0x1000)
#define PAIR_BUFFERS UINT64_C(0x10000000)

struct pair {
	bool packed, indirect, event_idx, in_order;
	uint16_t size;
	struct vio_features features;
	struct vio_region region[PAIR_REGIONS + 1];
	struct vio_mem mem;
	uint64_t ring_bytes;		/* of region 0: rings, then indirect tables */
	struct vio_drvq drv;
	struct vio_drvq_slot *slots;
	struct vio_devq dev;
	void *dev_memory;
	uint64_t dev_memory_bytes;
	void *journal;
	uint64_t used_signals;
};

static inline uint32_t random32(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	return *s ^= *s << 5;
}

static inline void pair_signal(struct vio_devq *q) { ((struct pair *)q->dev)->used_signals++; }

static inline unsigned char *pair_at(struct pair *p, uint64_t gpa)
{
	for (unsigned i = 0; i < p->mem.count; i++)
		if (gpa - p->region[i].gpa < p->region[i].size)
			return p->region[i].host + (gpa - p->region[i].gpa);
	return NULL;
}

static inline void pair_region(struct pair *p, uint64_t gpa, uint64_t size)
{
	void *host = NULL;

	assert_int_equal(posix_memalign(&host, 64, size), 0);
	memset(host, 0, size);
	p->region[p->mem.count++] = (struct vio_region){ .gpa = gpa, .size = size, .host = host, .perm = VIO_MEM_RW };
}

static inline void pair_memory(struct pair *p, enum memory_kind kind)
{
	uint64_t rings = (VIO_DRVQ_RING_BYTES((uint64_t)p->size) + 63) & ~UINT64_C(63);
	uint64_t left = (uint64_t)p->size * PAIR_AREA, gpa = PAIR_BUFFERS;

	p->ring_bytes = rings;
	pair_region(p, PAIR_RING, rings + (uint64_t)p->size * PAIR_INDIRECT * 16);
	uint64_t part = kind != APART ? left : (left / (PAIR_REGIONS - 1) + 15) & ~UINT64_C(15);
	for (; left > part; gpa += part, left -= part)
		pair_region(p, gpa, part);
	pair_region(p, gpa, left);
	assert_null(vio_mem_check(p->region, p->mem.count));
	p->mem.region = p->region;
	p->mem.refs = 1;
	p->mem.clip = kind == CUT ? 1 : 0;
}

static inline void pair_driver(struct pair *p)
{
	struct vio_drvq_setup s = { .size = p->size, .features = p->features, .ring = p->region[0].host, .ring_addr = PAIR_RING,
		.slots = p->slots, .indirect = (void *)(p->region[0].host + p->ring_bytes), .indirect_addr = PAIR_RING + p->ring_bytes,
		.indirect_max = PAIR_INDIRECT };

	vio_drvq_init(&p->drv, &s);
}

/* NULL, or why the device side does not start. */
static inline const char *pair_device(struct pair *p, uint32_t base)
{
	struct vio_devq_setup s = { .place = p->drv.place, .features = p->features, .base = base, .chain_max = PAIR_INDIRECT,
		.request_size = sizeof(struct vio_chain), .mem = &p->mem, .journal = p->journal, .memory = p->dev_memory,
		.memory_bytes = p->dev_memory_bytes, .signal = pair_signal, .log_used = true,
		.log_used_gpa = PAIR_RING + (uint64_t)((unsigned char *)p->drv.place.device - p->region[0].host) };

	memset(p->dev_memory, 0, p->dev_memory_bytes);
	p->dev.dev = p;
	const char *why = vio_devq_start(&p->dev, &s);
	p->dev.turn = UINT32_MAX;
	return why;
}

static inline uint32_t pair_first_base(const struct pair *p) { return p->packed ? VIO_PACKED_BASE : 0; }

static inline struct pair *pair_new(uint16_t size, enum memory_kind kind, bool packed, bool indirect, bool event_idx, bool in_order)
{
	struct pair *p = calloc(1, sizeof *p);

	p->packed = packed;
	p->indirect = indirect;
	p->event_idx = event_idx;
	p->in_order = in_order;
	p->size = size;
	vio_features_add(&p->features, VIO_F_VERSION_1);
	if (packed)
		vio_features_add(&p->features, VIO_F_RING_PACKED);
	if (indirect)
		vio_features_add(&p->features, VIO_F_INDIRECT_DESC);
	if (event_idx)
		vio_features_add(&p->features, VIO_F_EVENT_IDX);
	if (in_order)
		vio_features_add(&p->features, VIO_F_IN_ORDER);
	pair_memory(p, kind);
	p->slots = calloc(size, sizeof *p->slots);
	pair_driver(p);
	p->dev_memory_bytes = vio_devq_memory(size, sizeof(struct vio_chain), PAIR_INDIRECT, p->mem.count);
	if (kind == CUT)	/* room for one chain in single bytes, not for all: the queue will wait for segments */
		p->dev_memory_bytes += 8 * sizeof(struct vio_seg_block);
	p->dev_memory = malloc(p->dev_memory_bytes);
	return p;
}

static inline void pair_free(struct pair *p)
{
	vio_devq_stop(&p->dev);
	assert_int_equal(p->mem.refs, 1);
	for (unsigned i = 0; i < p->mem.count; i++)
		free(p->region[i].host);
	free(p->slots);
	free(p->dev_memory);
	free(p);
}
#endif
