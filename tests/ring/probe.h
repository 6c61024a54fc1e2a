/*
 * A device under test: two queues over cruel memory, and a driver that writes descriptors by hand.
 *
 * The device reads each chain into a note and fills what it may write; it can be told to hold chains.  Guest memory:
 *
 *      0x1000  ring 0          0x100000  LOW   \ adjacent, mapped       0x800000  ROM     0xfffffffffffff000  TOP
 *     0xc0000  ring 1          0x300000  HIGH  / apart in the host      (read only)
 *
 * Each region is a heap block of exactly its size, so that the address sanitizer sees one byte too many.
 */
#ifndef VIO_TESTS_RING_PROBE_H
#define VIO_TESTS_RING_PROBE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/transport/loop.h>
#include "../test.h"

enum { PROBE_RINGS = 2, PROBE_NOTE = 4096, PROBE_REGIONS = 6 };
enum { RING_0 = 0x1000, RING_1 = 0xc0000, LOW = 0x100000, HIGH = 0x300000, LOW_SIZE = HIGH - LOW, HIGH_SIZE = 0x400000, ROM = 0x800000,
	ROM_SIZE = 0x1000 };
#define TOP UINT64_C(0xfffffffffffff000)

struct probe {
	struct vio_dev dev;
	struct vio_loop_wire wire;
	struct vio_mem mem;
	struct vio_region region[PROBE_REGIONS];
	bool packed;
	uint16_t size;
	struct vio_features features;
	struct vio_drvq q[PROBE_RINGS];	/* laid out, then written by hand */
	struct vio_drvq_slot *slots[PROBE_RINGS];
	unsigned next;			/* descriptor (split) or place (packed) that the driver by hand fills next */
	bool wrap;
	/* What the device saw. */
	unsigned char note[PROBE_NOTE];
	uint64_t r, w;			/* bytes of the last chain */
	unsigned seen;			/* chains */
	bool hold;
	unsigned held_count;
	struct vio_chain *held[64];
	void (*at_chain)(struct probe *p);	/* called between a pop and its push */
};

/* ---- The device ---- */

static inline void probe_finish(struct probe *p, struct vio_devq *q, struct vio_chain *c)
{
	(void)p;
	for (unsigned i = 0; c->w.left && i < PROBE_NOTE; i++)
		vio_cur_put(&c->w, &(unsigned char){ (unsigned char)(0x80 + i) }, 1);
	vio_dev_push(q, c);
}

static inline void probe_queue(struct vio_dev *d, struct vio_devq *q)
{
	struct probe *p = (struct probe *)d;
	struct vio_chain *c;

	while ((c = vio_devq_pop(q))) {
		p->seen++;
		p->r = c->r.left;
		p->w = c->w.left;
		vio_cur_get(&c->r, p->note, p->r < PROBE_NOTE ? p->r : PROBE_NOTE);
		if (p->at_chain && q->index == 0)
			p->at_chain(p);
		if (p->hold && q->index == 0 && p->held_count < 64)
			p->held[p->held_count++] = c;
		else
			probe_finish(p, q, c);
	}
}

static inline void probe_cancel(struct vio_dev *d, struct vio_devq *q)
{
	struct probe *p = (struct probe *)d;

	if (q->index)
		return;
	while (p->held_count)
		vio_dev_push(q, p->held[--p->held_count]);
}

static inline const char *probe_open(struct vio_dev *d, const void *options)
{
	const struct probe *p = options;

	d->queues = PROBE_RINGS;
	d->queue_size_max = p->size;
	d->chain_max = 1026;
	return NULL;
}

static const struct vio_dev_type probe_type = {
	.name = "probe", .id = 63, .queue_size_max = VIO_RING_SIZE_MAX, .instance = sizeof(struct probe),
	.request = sizeof(struct vio_chain), .open = probe_open, .queue = probe_queue, .cancel = probe_cancel,
};

/* ---- Memory ---- */

static size_t probe_allocated;		/* bytes, all told */
static inline void *probe_alloc(size_t n) { probe_allocated += n; return calloc(1, n); }
static inline void probe_free(void *p, size_t n) { (void)n; free(p); }

static inline void probe_region(struct probe *p, unsigned i, uint64_t gpa, uint64_t size, uint8_t perm)
{
	void *host = NULL;

	assert_int_equal(posix_memalign(&host, 64, size), 0);
	memset(host, 0, size < 0x10000 ? size : 0x10000);
	p->region[i] = (struct vio_region){ .gpa = gpa, .size = size, .host = host, .perm = perm };
}

/* The test's own way to guest memory; NULL outside it. */
static inline unsigned char *at(struct probe *p, uint64_t gpa)
{
	for (unsigned i = 0; i < PROBE_REGIONS; i++)
		if (gpa - p->region[i].gpa < p->region[i].size)
			return p->region[i].host + (gpa - p->region[i].gpa);
	return NULL;
}

static inline void fill(struct probe *p, uint64_t gpa, size_t n, unsigned char first)
{
	for (size_t i = 0; i < n; i++)
		*at(p, gpa + i) = (unsigned char)(first + i);
}

/* ---- The driver, by hand ---- */

static inline void probe_rings(struct probe *p, unsigned i)
{
	struct vio_drvq_setup s = { .size = p->size, .features = p->features, .ring = at(p, i ? RING_1 : RING_0),
		.ring_addr = i ? RING_1 : RING_0, .slots = p->slots[i] };

	vio_drvq_init(&p->q[i], &s);
	vio_dev_queue_setup(&p->dev, i, p->size, p->q[i].desc_addr, p->q[i].driver_addr, p->q[i].device_addr);
}

static inline void probe_negotiate(struct probe *p)
{
	vio_dev_set_status(&p->dev, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
	vio_dev_set_driver_features(&p->dev, p->features);
	vio_dev_set_status(&p->dev, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
	assert_true(vio_dev_status(&p->dev) & VIO_S_FEATURES_OK);
	p->next = 0;
	p->wrap = true;
}

/* From reset to DRIVER_OK. */
static inline void probe_start(struct probe *p)
{
	probe_negotiate(p);
	for (unsigned i = 0; i < PROBE_RINGS; i++) {
		probe_rings(p, i);
		vio_dev_queue_go_live(&p->dev, i);
	}
	vio_dev_set_status(&p->dev, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK);
}

static inline struct probe *probe_new(bool packed, uint16_t size, struct vio_features more)
{
	struct probe *p = calloc(1, sizeof *p);
	uint64_t ring = VIO_DRVQ_RING_BYTES((uint64_t)size);

	p->packed = packed;
	p->size = size;
	p->features = vio_features_or(more, vio_features_of((const unsigned char[]){ VIO_F_VERSION_1 }, 1));
	if (packed)
		vio_features_add(&p->features, VIO_F_RING_PACKED);
	probe_region(p, 0, RING_0, ring, VIO_MEM_RW);
	probe_region(p, 1, RING_1, ring, VIO_MEM_RW);
	probe_region(p, 2, LOW, LOW_SIZE, VIO_MEM_RW);
	probe_region(p, 3, HIGH, HIGH_SIZE, VIO_MEM_RW);
	probe_region(p, 4, ROM, ROM_SIZE, VIO_MEM_READ);
	probe_region(p, 5, TOP, 0x1000, VIO_MEM_RW);
	assert_null(vio_mem_check(p->region, PROBE_REGIONS));
	p->mem = (struct vio_mem){ .region = p->region, .count = PROBE_REGIONS, .refs = 1 };
	for (unsigned i = 0; i < PROBE_RINGS; i++)
		p->slots[i] = calloc(size, sizeof *p->slots[i]);
	p->wire.alloc = probe_alloc;
	p->wire.free = probe_free;
	assert_null(vio_dev_open(&p->dev, &probe_type, p, &vio_loop_port, &p->wire, vio_loop_features()));
	p->wire.dev = &p->dev;
	vio_dev_set_mem(&p->dev, &p->mem);
	return p;
}

static inline void probe_free_all(struct probe *p)
{
	vio_dev_set_status(&p->dev, 0);
	assert_int_equal(vio_dev_status(&p->dev), 0);
	vio_dev_close(&p->dev);
	assert_int_equal(p->mem.refs, 1);
	for (unsigned i = 0; i < PROBE_REGIONS; i++)
		free(p->region[i].host);
	for (unsigned i = 0; i < PROBE_RINGS; i++)
		free(p->slots[i]);
	free(p);
}

static inline struct vio_split_desc *split_table(struct probe *p) { return p->q[0].place.desc; }
static inline struct vio_packed_desc *packed_ring(struct probe *p) { return p->q[0].place.desc; }
static inline struct vio_split_avail *avail_ring(struct probe *p) { return p->q[0].place.driver; }
static inline struct vio_split_used *used_ring(struct probe *p) { return p->q[0].place.device; }

struct b { uint64_t addr; uint32_t len; uint16_t flags; };

/* A descriptor of an indirect table, or of the split table: i links to the next one. */
static inline void table_entry(bool packed, void *table, unsigned i, struct b b, bool more)
{
	if (packed) {
		struct vio_packed_desc d = { vio_le64_of(b.addr), vio_le32_of(b.len), vio_le16_of(0), vio_le16_of(b.flags) };
		memcpy((char *)table + 16 * i, &d, sizeof d);
	} else {
		struct vio_split_desc d = { vio_le64_of(b.addr), vio_le32_of(b.len),
			vio_le16_of((uint16_t)(b.flags | (more ? VIO_DESC_NEXT : 0))), vio_le16_of((uint16_t)(i + 1)) };
		memcpy((char *)table + 16 * i, &d, sizeof d);
	}
}

static inline void offer(struct probe *p, uint16_t head)
{
	uint16_t idx = vio_shared_load(&avail_ring(p)->idx);

	avail_ring(p)->ring[idx & (p->size - 1)] = vio_le16_of(head);
	vio_shared_release(&avail_ring(p)->idx, (uint16_t)(idx + 1));
}

/* The next place of the packed ring, available. */
static inline void place(struct probe *p, struct b b, uint16_t id)
{
	uint16_t flags = (uint16_t)(b.flags | (p->wrap ? VIO_DESC_AVAIL : VIO_DESC_USED));

	packed_ring(p)[p->next] = (struct vio_packed_desc){ vio_le64_of(b.addr), vio_le32_of(b.len), vio_le16_of(id),
		vio_le16_of(flags) };
	if (++p->next == p->size) {
		p->next = 0;
		p->wrap = !p->wrap;
	}
}

/* A chain of n buffers, available; head or id is the first descriptor's number. */
static inline void chain(struct probe *p, const struct b *b, unsigned n)
{
	uint16_t first = (uint16_t)(p->next % p->size);

	if (p->packed) {
		for (unsigned i = 0; i < n; i++)
			place(p, (struct b){ b[i].addr, b[i].len, (uint16_t)(b[i].flags | (i + 1 < n ? VIO_DESC_NEXT : 0)) }, first);
		return;
	}
	for (unsigned i = 0; i < n; i++, p->next++) {
		table_entry(false, split_table(p), p->next % p->size, b[i], i + 1 < n);
		split_table(p)[p->next % p->size].next = vio_le16_of((uint16_t)((p->next + 1) % p->size));
	}
	offer(p, first);
}
#define CHAIN(p, ...) chain(p, (const struct b[]){ __VA_ARGS__ }, sizeof((const struct b[]){ __VA_ARGS__ }) / sizeof(struct b))

/* An indirect table at addr, not made available. */
static inline void table(struct probe *p, uint64_t addr, const struct b *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		table_entry(p->packed, at(p, addr), i, b[i], i + 1 < n);
}
#define TABLE(p, addr, ...) \
	table(p, addr, (const struct b[]){ __VA_ARGS__ }, sizeof((const struct b[]){ __VA_ARGS__ }) / sizeof(struct b))

static inline void kick(struct probe *p) { while (vio_dev_notified(&p->dev, 0)) ; }

/* The used element or descriptor number n of ring 0. */
static inline struct vio_split_elem used_of(struct probe *p, unsigned n)
{
	if (!p->packed)
		return used_ring(p)->ring[n & (p->size - 1)];
	struct vio_packed_desc d = packed_ring(p)[n % p->size];
	return (struct vio_split_elem){ vio_le32_of(vio_le16_get(d.id)), d.len };
}

/* Does the other queue still serve?  Its driver is the real one. */
static inline void neighbour_serves(struct probe *p)
{
	unsigned before = p->seen;
	uint32_t len;

	unsigned r = p->size > 1;	/* a queue of one entry has room for one buffer */
	fill(p, LOW + 0x8000, 5, 0x31);
	assert_true(vio_drvq_add(&p->q[1], (const struct vio_buf[]){ { LOW + 0x8000, 5 }, { LOW + 0x9000, 3 } } + !r, r, 1, p));
	vio_drvq_kick_due(&p->q[1]);
	while (vio_dev_notified(&p->dev, 1))
		;
	assert_int_equal(p->seen, before + 1);
	if (r)
		assert_memory_equal(p->note, "12345", 5);
	assert_ptr_equal(vio_drvq_get(&p->q[1], &len), p);
	assert_int_equal(len, 3);
	assert_memory_equal(at(p, LOW + 0x9000), "\x80\x81\x82", 3);
}
#endif
