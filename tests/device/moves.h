/*
 * A device moves while its driver runs: it is frozen, saved, and loaded into a fresh one with the same options, over the same guest
 * memory and back end; the driver goes on and is told nothing.  Over the rig's wire, whichever it is.
 */
#ifndef VIO_TESTS_DEVICE_MOVES_H
#define VIO_TESTS_DEVICE_MOVES_H
#include <stdio.h>
#include <vio/device/state.h>
#include "rig.h"

enum { MOVES_BYTES = 64 << 10 };

static inline void moves_done(void *arg) { ++*(unsigned *)arg; }

/* Pumped until it is frozen; false: something in flight does not end. */
static inline bool moves_freeze(struct rig *g)
{
	static unsigned done;

	done = 0;
	vio_dev_freeze(g->dev, moves_done, &done);
	for (unsigned i = 0; i < 100 && !done; i++)
		vio_loop_pump(&g->wire, 100);
	assert_in_range(done, 0, 1);
	return done;
}

#if defined(RIG_MMIO) || defined(RIG_PCI)
#if defined(RIG_MMIO)
#define WIRE_SAVE vio_mmio_save
#define WIRE_LOAD vio_mmio_load
#else
#define WIRE_SAVE vio_pci_save
#define WIRE_LOAD vio_pci_load
#endif
static inline size_t moves_save(struct rig *g, void *to, size_t room) { return WIRE_SAVE(&WIRE_OF(&g->wire)->dev, to, room); }
static inline const char *moves_load(struct rig *g, const void *from, size_t n) { return WIRE_LOAD(&WIRE_OF(&g->wire)->dev, from, n); }
#else
static inline size_t moves_save(struct rig *g, void *to, size_t room) { return vio_dev_save(g->dev, to, room); }
static inline const char *moves_load(struct rig *g, const void *from, size_t n) { return vio_dev_load(g->dev, from, n); }
#endif

/* A fresh device in the place of g's, which is frozen and goes.  The driver's end of the wire stays, and so do counters. */
static inline void moves_replace(struct rig *g)
{
	struct vio_drv_port port = g->wire.port;
	struct vio_dev *old = g->dev;
	void *old_wire = g->rewired;
#if defined(RIG_MMIO) || defined(RIG_PCI)
	__typeof__(((struct rig_wire *)0)->drv) drv = WIRE_OF(&g->wire)->drv;
#endif

	vio_dev_close(old);
	assert_null(rig_open_bytes(g, g->type, g->options, g->options_bytes));
	g->wire.port = port;
#if defined(RIG_MMIO) || defined(RIG_PCI)
	WIRE_OF(&g->wire)->drv = drv;
#endif
	g->dev->wire = old->wire;		/* tests take some away */
	g->dev->type_features = old->type_features;
	for (unsigned i = 0; i < old->queues; i++)
		g->dev->queue[i].ring.stats = old->queue[i].ring.stats;
	free(old);
	free(old_wire);
}

/* Of a device that is frozen.  The same state comes out of the one that took it. */
static inline void moves_over(struct rig *g)
{
	static unsigned char saved[MOVES_BYTES], again[MOVES_BYTES];

	size_t n = moves_save(g, NULL, 0);
	assert_in_range(n, 1, sizeof saved);
	assert_int_equal(moves_save(g, saved, sizeof saved), n);
	moves_replace(g);
	const char *why = moves_load(g, saved, n);
	if (why)
		fail_msg("%s", why);
	assert_int_equal(moves_save(g, again, sizeof again), n);
	for (size_t at = 0; !g->moves_differ && at < n; ) {
		struct vio_part_header h;
		memcpy(&h, saved + at, sizeof h);
		size_t bytes = sizeof h + vio_le32_get(h.length);
		if (memcmp(saved + at, again + at, bytes)) {
			char bad[400] = "";
			for (size_t i = 0, k = 0; i < bytes && k < 380; i++)
				if (saved[at + i] != again[at + i])
					k += (size_t)sprintf(bad + k, " %zu:%02x->%02x", i, saved[at + i], again[at + i]);
			fail_msg("part 0x%x of the state has become another:%s", vio_le16_get(h.type), bad);
		}
		at += bytes;
	}
}

/* What vhost-user carries: the type's own state, over and over. */
static inline void moves_own(struct rig *g)
{
	static unsigned char own[MOVES_BYTES], before[MOVES_BYTES], after[MOVES_BYTES];
	struct vio_features f;
	size_t n = vio_dev_save_own(g->dev, own, sizeof own), m = moves_save(g, before, sizeof before);

	assert_in_range(n, 1, sizeof own);
	const char *why = vio_dev_load_own(g->dev, own, n, &f);
	if (why)
		fail_msg("%s", why);
	assert_true(vio_features_equal(f, g->dev->accepted));
	assert_int_equal(moves_save(g, after, sizeof after), m);
	if (!g->moves_differ)
		assert_memory_equal(before, after, m);
	for (size_t cut = 0; cut < n; cut += n > 1000 ? 97 : 1)
		if (!vio_dev_load_own(g->dev, own, cut, &f))
			assert_true(g->dev->type->parts || !g->dev->type->save);	/* whose parts may be none */
	assert_null(vio_dev_load_own(g->dev, own, n, &f));
}

/* The whole way. */
static inline void moves_on(struct rig *g)
{
	assert_true(moves_freeze(g));
	moves_over(g);
	if (vio_dev_status(g->dev) & VIO_S_FEATURES_OK)
		moves_own(g);
	vio_dev_thaw(g->dev);
	vio_loop_pump(&g->wire, 1000);
}

/*
 * Cut at each byte the state of g's frozen device is refused, in words, and nothing changes; so it is with any byte that is another,
 * or that state is one of a device too: it comes out as it went in.  How many were refused.
 */
static inline unsigned moves_refuses(struct rig *g)
{
	static unsigned char saved[MOVES_BYTES], bad[MOVES_BYTES], out[MOVES_BYTES], again[MOVES_BYTES];
	static const unsigned char flips[] = { 0x01, 0x80, 0xff };
	size_t n = moves_save(g, saved, sizeof saved);
	unsigned refused = 0;

	assert_in_range(n, 1, sizeof saved);
	for (size_t cut = 0; cut < n; cut++) {
		unsigned char *exact = malloc(cut ? cut : 1);	/* so that one byte too many is seen */
		memcpy(exact, saved, cut);
		assert_non_null(moves_load(g, exact, cut));
		free(exact);
		assert_int_equal(moves_save(g, out, sizeof out), n);
		assert_memory_equal(out, saved, n);
	}
	for (size_t at = 0; at < n; at += n > 4000 ? 3 : 1)
		for (unsigned i = 0; i < sizeof flips; i++) {
			memcpy(bad, saved, n);
			bad[at] ^= flips[i];
			const char *why = moves_load(g, bad, n);
			size_t m = moves_save(g, out, sizeof out);
			refused += why != NULL;
			if (why && (m != n || memcmp(out, saved, n)))
				fail_msg("byte %zu ^ %x: refused (%s), and yet something has changed", at, flips[i], why);
			if (!why && (moves_load(g, out, m) || moves_save(g, again, sizeof again) != m || memcmp(out, again, m)))
				fail_msg("byte %zu ^ %x: taken, and not the same when saved again", at, flips[i]);
			assert_null(moves_load(g, saved, n));
		}
	return refused;
}

#if defined(RIG_FREEZES) || defined(RIG_MOVES)
static void moves_kick(struct vio_drv_port *p, uint16_t i, uint32_t notification)
{
	static unsigned times, done;
	struct vio_loop_wire *l = (struct vio_loop_wire *)p;
	struct rig *g = (struct rig *)(void *)((char *)l - offsetof(struct rig, wire));

	done = 0;
	vio_dev_freeze(l->dev, moves_done, &done);
#ifdef RIG_MOVES
	if (done && !g->stays)
		moves_over(g);
#else
	(void)g;
#endif
	if (++times & 1)
		rig_inner.kick(p, i, notification);
	vio_dev_thaw(l->dev);
	if (!(times & 1))
		rig_inner.kick(p, i, notification);
	if (!l->lazy)
		vio_loop_pump(l, UINT32_MAX);
}
#endif
#endif
