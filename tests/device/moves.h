/*
 * A device moves while its driver runs: it is frozen, saved, and loaded into a fresh one with the same options, over the same guest
 * memory and back end; the driver goes on and is told nothing.  Over the rig's wire, whichever it is.
 */
#ifndef VIO_TESTS_DEVICE_MOVES_H
#define VIO_TESTS_DEVICE_MOVES_H
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

/* A fresh device in the place of g's, which is frozen and goes.  The driver's end of the wire stays. */
static inline void moves_replace(struct rig *g, const struct vio_dev_type *type, const void *options)
{
	struct vio_drv_port port = g->wire.port;
	struct vio_dev *old = g->dev;
	void *old_wire = g->rewired;
#if defined(RIG_MMIO) || defined(RIG_PCI)
	__typeof__(((struct rig_wire *)0)->drv) drv = WIRE_OF(&g->wire)->drv;
#endif

	vio_dev_close(old);
	assert_null(rig_open(g, type, options));
	g->wire.port = port;
#if defined(RIG_MMIO) || defined(RIG_PCI)
	WIRE_OF(&g->wire)->drv = drv;
#endif
	free(old);
	free(old_wire);
}

/* The whole way.  The state's bytes, and the same again from the one that took it. */
static inline void moves(struct rig *g, const struct vio_dev_type *type, const void *options)
{
	static unsigned char saved[MOVES_BYTES];

	assert_true(moves_freeze(g));
	size_t n = moves_save(g, NULL, 0);
	assert_in_range(n, 1, sizeof saved);
	assert_int_equal(moves_save(g, saved, sizeof saved), n);
	moves_replace(g, type, options);
	const char *why = moves_load(g, saved, n);
	if (why)
		fail_msg("%s", why);
	vio_dev_thaw(g->dev);
	vio_loop_pump(&g->wire, 1000);
}
#endif
