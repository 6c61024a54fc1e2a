/*
 * The device tests' rig: guest memory between guard pages, one device on the loop wire, and a driver of raw chains that
 * can say anything to it.
 */
#ifndef VIO_TESTS_DEVICE_RIG_H
#define VIO_TESTS_DEVICE_RIG_H
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <vio/transport/loop.h>
#include "../test.h"
#include "wire.h"

enum { RIG_QUEUES = 12, RIG_SIZE = 64, RIG_INDIRECT = 64, RIG_BYTES = 8 << 20, RIG_PAGE = 4096 };
#define RIG_GPA UINT64_C(0x40000000)

struct rig {
	struct vio_loop_wire wire;
	struct vio_dev *dev;
	struct vio_mem mem;
	struct vio_region region;
	unsigned char *bytes;		/* guest memory */
	size_t kept, used;		/* bump allocator: rings and tables stay, what tests take is given back by rig_rewind() */
	struct vio_drv drv;
	uint16_t queues, size;
	struct vio_drvq q[RIG_QUEUES];
	struct vio_drvq_slot slots[RIG_QUEUES][RIG_SIZE];
	uint64_t clock_skew;		/* added to the clock at each look: makes deadlines pass */
	uint64_t clock;
	void (*relax)(void *arg);	/* what goes on while the driver waits; NULL: the wire is pumped */
	void *relax_arg;
	uint32_t map_cut;		/* the platform maps pieces of at most so many bytes; 0: whole */
	unsigned maps;			/* mapped and not unmapped */
	void *rewired;			/* another wire in between: wire.h */
	const struct vio_dev_type *type;
	_Alignas(16) unsigned char options[1024];	/* what the device was opened with */
	size_t options_bytes;
	bool stays;			/* under RIG_MOVES: what is tested is not in the options, or is of this device alone */
	bool moves_differ;		/* the state that comes out of a move need not be what went in */
};

/* Bytes between two pages that can't be touched, ending at the second one. */
static inline unsigned char *guarded(size_t n)
{
	size_t whole = (n + RIG_PAGE - 1) / RIG_PAGE * RIG_PAGE;
	unsigned char *p = mmap(NULL, whole + 2 * RIG_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert(p != MAP_FAILED);
	assert(mprotect(p + RIG_PAGE, whole, PROT_READ | PROT_WRITE) == 0);
	return p + RIG_PAGE + whole - n;
}

static inline void unguard(unsigned char *p, size_t n)
{
	size_t whole = (n + RIG_PAGE - 1) / RIG_PAGE * RIG_PAGE;
	munmap(p + n - whole - RIG_PAGE, whole + 2 * RIG_PAGE);
}

/* ---- The platform: guest memory is at RIG_GPA for the device ---- */

static inline uint64_t rig_address(const struct rig *g, const void *p)
{
	assert((const unsigned char *)p >= g->bytes && (const unsigned char *)p < g->bytes + RIG_BYTES);
	return RIG_GPA + (uint64_t)((const unsigned char *)p - g->bytes);
}

static inline unsigned rig_map(void *arg, const void *p, uint32_t len, enum vio_dir dir, struct vio_buf *out, unsigned max)
{
	struct rig *g = arg;
	uint64_t at = rig_address(g, p);
	unsigned n = 0;

	(void)dir;
	while (len) {
		uint32_t part = g->map_cut && g->map_cut < len && max > 1 ? g->map_cut : len;
		if (n == max)
			return 0;
		out[n++] = (struct vio_buf){ at, part };
		at += part;
		len -= part;
	}
	g->maps++;
	return n;
}

static inline void rig_unmap(void *arg, const void *p, uint32_t len, enum vio_dir dir, const struct vio_buf *bufs, unsigned n)
{
	struct rig *g = arg;
	uint64_t total = 0;

	(void)dir;
	for (unsigned i = 0; i < n; i++)
		total += bufs[i].len;
	assert(bufs[0].addr == rig_address(g, p) && total == len && g->maps);
	g->maps--;
}

static inline uint64_t rig_now(void *arg)
{
	struct rig *g = arg;
	return g->clock += 1000 + g->clock_skew;
}

static inline void rig_relax(void *arg)
{
	struct rig *g = arg;
	if (g->relax)
		g->relax(g->relax_arg);
	else
		vio_loop_pump(&g->wire, 1);
}

static const struct vio_platform_ops rig_platform = {
	.map = rig_map, .unmap = rig_unmap, .now_ns = rig_now, .relax = rig_relax,
};

/* ---- Life ---- */

static inline void *rig_alloc(size_t n) { return calloc(1, n); }
static inline void rig_free(void *p, size_t n) { (void)n; free(p); }

static inline void *rig_take(struct rig *g, size_t n)
{
	void *p = g->bytes + g->used;
	g->used += (n + 15) & ~(size_t)15;
	assert(g->used <= RIG_BYTES);
	return p;
}

static inline void rig_rewind(struct rig *g) { g->used = g->kept; }

static inline struct rig *rig_new(void)
{
	struct rig *g = calloc(1, sizeof *g);

	assert(g);
	g->bytes = guarded(RIG_BYTES);
	g->region = (struct vio_region){ .gpa = RIG_GPA, .size = RIG_BYTES, .host = g->bytes, .perm = VIO_MEM_RW };
	g->mem = (struct vio_mem){ .region = &g->region, .count = 1, .refs = 1 };
	g->wire.alloc = rig_alloc;
	g->wire.free = rig_free;
	g->size = RIG_SIZE;
	return g;
}

/*
 * A program compiled with RIG_FREEZES has its owner freeze the device around each kick, and perhaps thaw it before it is frozen; with
 * RIG_MOVES the device moves into a fresh one (moves.h).  No driver may notice.
 */
#if defined(RIG_FREEZES) || defined(RIG_MOVES)
static struct vio_drv_port_ops rig_inner, rig_outer;
static void moves_kick(struct vio_drv_port *p, uint16_t i, uint32_t notification);
#endif

/* NULL, or the sentence with which the device refused its options. */
static inline const char *rig_open_bytes(struct rig *g, const struct vio_dev_type *type, const void *options, size_t bytes)
{
	g->type = type;
	assert(bytes <= sizeof g->options);
	memcpy(g->options, options, bytes);
	g->options_bytes = bytes;
	g->dev = calloc(1, type->instance);
	assert(g->dev);
	const char *why = vio_dev_open(g->dev, type, options, &vio_loop_port, &g->wire, vio_loop_features());
	if (why) {
		free(g->dev);
		g->dev = NULL;
		return why;
	}
	vio_loop_connect(&g->wire, g->dev, (struct vio_platform){ &rig_platform, g });
	g->rewired = rig_rewire(&g->wire);
#if defined(RIG_FREEZES) || defined(RIG_MOVES)
	rig_inner = rig_outer = *g->wire.port.ops;
	rig_outer.kick = moves_kick;
	g->wire.port.ops = &rig_outer;
#endif
	vio_dev_set_mem(g->dev, &g->mem);
	return NULL;
}

#define rig_open(g, type, ...) rig_open_bytes((g), (type), (__VA_ARGS__), sizeof *(__VA_ARGS__))

static inline void rig_reset(struct rig *g)
{
	g->wire.port.ops->set_status(&g->wire.port, 0);
	while (vio_dev_status(g->dev))
		rig_relax(g);
}

static inline void rig_close(struct rig *g)
{
	if (g->dev) {
		rig_reset(g);
		vio_dev_close(g->dev);
		free(g->dev);
		free(g->rewired);
	}
	unguard(g->bytes, RIG_BYTES);
	free(g);
}

static inline struct vio_features bits_of(const unsigned char *bits, size_t n) { return vio_features_of(bits, n); }
#define BITS(...) bits_of((const unsigned char[]){ __VA_ARGS__ }, sizeof((const unsigned char[]){ __VA_ARGS__ }))

static inline void rig_start_queue(struct rig *g, uint16_t i)
{
	struct vio_drvq_setup s = { .size = g->size, .features = g->drv.features, .slots = g->slots[i] };

	s.ring = rig_take(g, VIO_DRVQ_RING_BYTES(RIG_SIZE));
	s.ring_addr = rig_address(g, s.ring);
	s.indirect = rig_take(g, RIG_SIZE * RIG_INDIRECT * sizeof *s.indirect);
	s.indirect_addr = rig_address(g, s.indirect);
	s.indirect_max = RIG_INDIRECT;
	vio_drvq_init(&g->q[i], &s);
	assert_true(vio_drv_queue(&g->drv, i, &g->q[i]));
}

/* Negotiate all of features that are offered, start the queues. */
static inline void rig_start(struct rig *g, uint16_t queues, struct vio_features features)
{
	g->used = 0;
	g->queues = queues;
	assert_true(vio_drv_begin(&g->drv, &g->wire.port, g->dev->type->id, features, NULL));
	for (uint16_t i = 0; i < queues; i++)
		rig_start_queue(g, i);
	assert_true(vio_drv_ready(&g->drv));
	g->kept = g->used;
}

/* ---- Chains ---- */

/* Cut n bytes at p into buffers of at most cut bytes (0: one buffer); none for no bytes.  How many. */
static inline unsigned rig_cut(struct rig *g, void *p, size_t n, size_t cut, struct vio_buf *out)
{
	unsigned k = 0;

	for (size_t at = 0; at < n; k++) {
		size_t part = cut && cut < n - at ? cut : n - at;
		out[k] = (struct vio_buf){ rig_address(g, (char *)p + at), (uint32_t)part };
		at += part;
	}
	return k;
}

/* Give queue i a chain of r readable bytes at rp and w writable ones at wp, cut as told. */
static inline bool rig_add(struct rig *g, uint16_t i, void *rp, size_t r, size_t r_cut, void *wp, size_t w, size_t w_cut)
{
	static struct vio_buf bufs[4096];
	unsigned rn = rig_cut(g, rp, r, r_cut, bufs), wn = rig_cut(g, wp, w, w_cut, bufs + rn);

	return vio_drvq_add(&g->q[i], bufs, rn, wn, wp ? wp : rp);
}

static inline void rig_kick(struct rig *g, uint16_t i) { vio_drv_kick(&g->drv, i, &g->q[i]); }

/* The chain that came back first, or NULL. */
static inline void *rig_get(struct rig *g, uint16_t i, uint32_t *used)
{
	uint32_t unused;
	return vio_drvq_get(&g->q[i], used ? used : &unused);
}

static inline uint64_t rig_refused(const struct rig *g, unsigned i) { return g->dev->queue[i].ring.stats.refused; }

#if defined(RIG_FREEZES) || defined(RIG_MOVES)
#include "moves.h"
#endif
#endif
