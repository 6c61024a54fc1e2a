/* What the fuzz targets share: bytes of the input taken one after another, and small guest memories of exact-size blocks. */
#ifndef VIO_FUZZ_FEED_H
#define VIO_FUZZ_FEED_H
#include <stdlib.h>
#include <string.h>
#include <vio/ring/devq.h>
#include <vio/ring/drvq.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct feed { const uint8_t *at, *end; };

/* The next n bytes of the input, little-endian; zeroes behind its end. */
static inline uint64_t take(struct feed *f, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n && f->at < f->end; i++)
		v |= (uint64_t)*f->at++ << 8 * i;
	return v;
}

static inline void take_bytes(struct feed *f, void *to, size_t n)
{
	size_t have = (size_t)(f->end - f->at);

	memset(to, 0, n);
	if (have > n)
		have = n;
	memcpy(to, f->at, have);
	f->at += have;
}

static inline bool fed(const struct feed *f) { return f->at < f->end; }

/*
 * RINGS is the rings' block; A and B are adjacent and mapped apart; ROM is read-only; TOP ends with the address space.
 * All are small, so that few bytes of input reach everything.
 */
enum { FUZZ_REGIONS = 5, FUZZ_A = 0x10000, FUZZ_AB = 512 };
#define FUZZ_RINGS UINT64_C(0x1000)
#define FUZZ_ROM UINT64_C(0x20000)
#define FUZZ_TOP (UINT64_MAX - 255)

struct guest {
	struct vio_region region[FUZZ_REGIONS];
	struct vio_mem mem;
};

static inline void guest_region(struct guest *g, uint64_t gpa, uint64_t size, uint8_t perm)
{
	void *host = NULL;

	if (posix_memalign(&host, 16, size))
		abort();
	memset(host, 0, size);
	g->region[g->mem.count++] = (struct vio_region){ .gpa = gpa, .size = size, .host = host, .perm = perm };
}

static inline struct guest *guest_new(uint64_t ring_bytes)
{
	struct guest *g = calloc(1, sizeof *g);

	guest_region(g, FUZZ_RINGS, ring_bytes, VIO_MEM_RW);
	guest_region(g, FUZZ_A, FUZZ_AB, VIO_MEM_RW);
	guest_region(g, FUZZ_A + FUZZ_AB, FUZZ_AB, VIO_MEM_RW);
	guest_region(g, FUZZ_ROM, 64, VIO_MEM_READ);
	guest_region(g, FUZZ_TOP, 256, VIO_MEM_RW);
	g->mem.region = g->region;
	g->mem.refs = 1;
	if (vio_mem_check(g->region, g->mem.count))
		abort();
	return g;
}

static inline void guest_free(struct guest *g)
{
	if (g->mem.refs != 1)
		abort();
	for (unsigned i = 0; i < g->mem.count; i++)
		free(g->region[i].host);
	free(g);
}

/* An address that is likely to be near something. */
static inline uint64_t guest_address(struct feed *f)
{
	uint8_t how = (uint8_t)take(f, 1);
	uint16_t at = (uint16_t)take(f, 2);

	switch (how % 8) {
	case 0: return FUZZ_A + at % (2 * FUZZ_AB + 16);
	case 1: return FUZZ_A + FUZZ_AB - 8 + at % 16;
	case 2: return FUZZ_ROM + at % 80;
	case 3: return FUZZ_TOP + at % 256;
	case 4: return FUZZ_RINGS + at;
	case 5: return UINT64_MAX - at % 32;
	case 6: return at;
	default: return take(f, 8);
	}
}

static inline uint32_t guest_length(struct feed *f)
{
	uint8_t how = (uint8_t)take(f, 1);

	if (how < 160)
		return how;
	return how < 224 ? 16u * (how - 160) : (uint32_t)take(f, 4);
}

/* Write a descriptor, or some bytes, somewhere a driver may. */
static inline void guest_poke(struct guest *g, struct feed *f, bool packed)
{
	uint8_t how = (uint8_t)take(f, 1);
	struct vio_region *r = &g->region[how % FUZZ_REGIONS];
	uint64_t at = take(f, 2) % r->size;

	if (how & 0x80) {
		uint64_t n = 1 + (how >> 3 & 7);
		for (uint64_t i = 0; i < n && at + i < r->size; i++)
			r->host[at + i] = (uint8_t)take(f, 1);
		return;
	}
	at &= ~UINT64_C(15);
	if (at + 16 > r->size)
		return;
	uint64_t addr = guest_address(f), len = guest_length(f), lo = take(f, 1), hi = take(f, 1);
	uint64_t flags = (lo & 7) | (packed ? (lo & 0x80) | (lo & 0x40) << 9 : 0);
	uint64_t word = packed ? len | hi << 32 | flags << 48 : len | flags << 32 | hi << 48;
	memcpy(r->host + at, &addr, 8);
	memcpy(r->host + at + 8, &word, 8);
}

static inline struct vio_features ring_features(uint8_t bits)
{
	struct vio_features f = { { 0, 0 } };

	vio_features_add(&f, VIO_F_VERSION_1);
	if (bits & 1)
		vio_features_add(&f, VIO_F_RING_PACKED);
	if (bits & 2)
		vio_features_add(&f, VIO_F_INDIRECT_DESC);
	if (bits & 4)
		vio_features_add(&f, VIO_F_EVENT_IDX);
	if (bits & 8)
		vio_features_add(&f, VIO_F_IN_ORDER);
	return f;
}
#endif
