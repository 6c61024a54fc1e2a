/*
 * Rings written out by hand from the specification, byte by byte: what a driver must have left in memory, and what a device
 * must make of it.  The two sides never meet here, so one can't cover up for the other's misreading.
 *
 * Little-endian throughout.  A split queue of 4: descriptors at 0, available ring at 64, used ring at 80.
 * A packed queue of 4: descriptors at 0, driver event at 64, device event at 80.
 */
#include <stdlib.h>
#include <string.h>
#include <vio/ring/devq.h>
#include <vio/ring/drvq.h>
#include "../test.h"

enum { N = 4, AVAIL = 64, USED = 80, RING = 128, BUFFERS = 0x1000, MEM = 0x3000 };
#define GPA UINT64_C(0x10000)

static unsigned char *mem;		/* the whole of guest memory, at GPA */
static struct vio_region region;
static struct vio_mem value;
static struct vio_drvq drv;
static struct vio_drvq_slot slots[N];
static struct vio_devq dev;
static unsigned signals;
static void *dev_memory;

static void on_signal(struct vio_devq *q) { (void)q; signals++; }

#define FEATURES(...) vio_features_of((const unsigned char[]){ VIO_F_VERSION_1, __VA_ARGS__ }, \
	sizeof((const unsigned char[]){ VIO_F_VERSION_1, __VA_ARGS__ }))

static void driver(struct vio_features f)
{
	struct vio_drvq_setup s = { .size = N, .features = f, .ring = mem, .ring_addr = GPA, .slots = slots,
		.indirect = (void *)(mem + 0x800), .indirect_addr = GPA + 0x800, .indirect_max = 4 };

	memset(mem, 0xa5, MEM);
	vio_drvq_init(&drv, &s);
}

static void device(struct vio_features f)
{
	bool packed = vio_has(f, VIO_F_RING_PACKED);
	struct vio_devq_setup s = { .place = { mem, mem + AVAIL, mem + USED, N }, .features = f, .signal = on_signal,
		.base = packed ? VIO_PACKED_BASE : 0, .request_size = sizeof(struct vio_chain), .mem = &value,
		.memory_bytes = vio_devq_memory(N, sizeof(struct vio_chain), N, 1) };

	vio_devq_stop(&dev);
	free(dev_memory);
	s.memory = dev_memory = calloc(1, s.memory_bytes);
	signals = 0;
	assert_null(vio_devq_start(&dev, &s));
	dev.turn = UINT32_MAX;
}

static int setup(void **state)
{
	(void)state;
	if (posix_memalign((void **)&mem, 64, MEM))
		return 1;
	memset(mem, 0, MEM);
	region = (struct vio_region){ .gpa = GPA, .size = MEM, .host = mem, .perm = VIO_MEM_RW };
	value = (struct vio_mem){ .region = &region, .count = 1, .refs = 1 };
	dev = (struct vio_devq){ 0 };
	dev_memory = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vio_devq_stop(&dev);
	free(dev_memory);
	free(mem);
	return 0;
}

#define BYTES(at, ...) do { \
	static const unsigned char wanted[] = { __VA_ARGS__ }; \
	assert_memory_equal(mem + (at), wanted, sizeof wanted); \
} while (0)
#define WRITE(at, ...) do { \
	static const unsigned char written[] = { __VA_ARGS__ }; \
	memcpy(mem + (at), written, sizeof written); \
} while (0)


#define AT(n) GPA + BUFFERS + (n)
static const struct vio_buf abc[] = { { AT(0), 16 }, { AT(0x100), 0x1234 }, { AT(0x2ff), 1 } };
static char a, b, c, d;

/* ---- Split: what the driver writes ---- */

static void split_init(void **state)
{
	(void)state;
	driver(FEATURES(VIO_F_EVENT_IDX));
	assert_int_equal(drv.desc_addr, GPA);
	assert_int_equal(drv.driver_addr, GPA + AVAIL);
	assert_int_equal(drv.device_addr, GPA + USED);
	for (unsigned i = 0; i < USED + 6 + 8 * N; i++)	/* flags, indices and event fields are 0 */
		assert_int_equal(mem[i], 0);
}

/* 2.7, 2.8.10: alignments of 16, 2 and 4, or of 16, 4 and 4, whatever the size; and nothing overlaps. */
static void areas(void **state)
{
	static struct vio_drvq_slot many[32768];
	static unsigned char ring[VIO_DRVQ_RING_BYTES(32768)] __attribute__((aligned(16)));
	bool packed = *state;

	for (unsigned n = 1; n <= 32768; n = packed && n < 300 ? n + 1 : n * 2) {
		struct vio_drvq q;
		vio_drvq_init(&q, &(struct vio_drvq_setup){ .size = (uint16_t)n, .ring = ring, .ring_addr = 0x7000, .slots = many,
		    .features = packed ? FEATURES(VIO_F_RING_PACKED) : FEATURES() });
		assert_int_equal(q.desc_addr % 16 + q.driver_addr % (packed ? 4 : 2) + q.device_addr % 4, 0);
		assert_true(q.driver_addr >= q.desc_addr + 16 * n && q.device_addr >= q.driver_addr + (packed ? 4 : 6 + 2 * n));
		assert_true(q.device_addr + (packed ? 4 : 6 + 8 * n) <= 0x7000 + VIO_DRVQ_RING_BYTES(n));
	}
}

static void four_gigabytes(void **state)
{
	static const struct vio_buf more[] = { { AT(0), UINT32_MAX }, { AT(0), 1 }, { AT(0), 1 } };

	driver(*state ? FEATURES(VIO_F_RING_PACKED) : FEATURES());
	assert_false(vio_drvq_add(&drv, more, 2, 1, &a));	/* 2^32 + 1 */
	assert_true(vio_drvq_add(&drv, more, 1, 1, &a));
	assert_true(vio_drvq_kick_due(&drv));
}

static void split_chain(void **state)
{
	(void)state;
	driver(FEATURES());
	assert_true(vio_drvq_add(&drv, abc, 1, 2, &a));
	assert_int_equal(mem[AVAIL + 2], 0);		/* filled in, not published */
	assert_true(vio_drvq_kick_due(&drv));		/* used flags are 0 */
	BYTES(0,
	    0x00, 0x10, 0x01, 0, 0, 0, 0, 0,	16, 0, 0, 0,		1, 0,	1, 0,	/* readable, next 1 */
	    0x00, 0x11, 0x01, 0, 0, 0, 0, 0,	0x34, 0x12, 0, 0,	3, 0,	2, 0,	/* writable, next 2 */
	    0xff, 0x12, 0x01, 0, 0, 0, 0, 0,	1, 0, 0, 0,		2, 0,	0, 0);	/* writable, the last */
	BYTES(AVAIL, 0, 0, 1, 0, 0, 0);			/* flags, idx, ring[0]: head 0 */
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &b));
	assert_false(vio_drvq_add(&drv, abc, 1, 0, &c));	/* 4 descriptors are out */
	assert_true(vio_drvq_kick_due(&drv));
	assert_false(vio_drvq_kick_due(&drv));		/* nothing new */
	BYTES(48, 0x00, 0x10, 0x01, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0);
	BYTES(AVAIL, 0, 0, 2, 0, 0, 0, 3, 0);
	assert_int_equal(vio_drvq_notification(&drv, 7), 7 | 2 << 16);
}

static void split_table(void **state)
{
	(void)state;
	driver(FEATURES(VIO_F_INDIRECT_DESC));
	assert_true(vio_drvq_add(&drv, abc, 2, 1, &a));
	vio_drvq_kick_due(&drv);
	BYTES(0, 0x00, 0x08, 0x01, 0, 0, 0, 0, 0, 48, 0, 0, 0, 4, 0, 0, 0);	/* INDIRECT alone, 3 descriptors long */
	BYTES(0x800,
	    0x00, 0x10, 0x01, 0, 0, 0, 0, 0,	16, 0, 0, 0,		1, 0,	1, 0,
	    0x00, 0x11, 0x01, 0, 0, 0, 0, 0,	0x34, 0x12, 0, 0,	1, 0,	2, 0,
	    0xff, 0x12, 0x01, 0, 0, 0, 0, 0,	1, 0, 0, 0,		2, 0,	0, 0);
	BYTES(AVAIL, 0, 0, 1, 0, 0, 0);
}

/* What is used comes back; without EVENT_IDX flags tell the device to be quiet, and the device tells us. */
static void split_flags(void **state)
{
	uint32_t len;

	(void)state;
	driver(FEATURES());
	WRITE(USED + 4 + 8 * N, 0x55, 0x55);		/* avail_event: ignored */
	vio_drvq_quiet(&drv);
	BYTES(AVAIL, 1, 0);
	assert_true(vio_drvq_add(&drv, abc, 1, 1, &a));
	WRITE(USED, 1, 0);				/* the device wants no notification */
	assert_false(vio_drvq_kick_due(&drv));
	WRITE(USED, 1, 0, 1, 0, 0, 0, 0, 0, 0x35, 0x12, 0, 0);	/* idx 1, element {0, 0x1235}: more than there was room for */
	assert_false(vio_drvq_kick_due(&drv));
	assert_ptr_equal(vio_drvq_get(&drv, &len), &a);
	assert_int_equal(len, 0x1234);
	assert_null(vio_drvq_get(&drv, &len));		/* and again: a spurious notification */
	assert_false(vio_drvq_listen(&drv));
	BYTES(AVAIL, 0, 0);
	WRITE(USED, 0, 0);
	assert_true(vio_drvq_add(&drv, abc, 1, 1, &a));
	assert_true(vio_drvq_kick_due(&drv));
}

static void split_events(void **state)
{
	uint32_t len;

	(void)state;
	driver(FEATURES(VIO_F_EVENT_IDX));
	WRITE(USED, 1, 0);				/* flags: its low bit is ignored */
	WRITE(USED + 4 + 8 * N, 1, 0);			/* avail_event 1: tell me of the second */
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &a));
	assert_false(vio_drvq_kick_due(&drv));
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &b));
	assert_true(vio_drvq_kick_due(&drv));
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &c));
	assert_false(vio_drvq_kick_due(&drv));
	vio_drvq_quiet(&drv);
	BYTES(AVAIL, 0, 0);				/* flags stay 0 */
	WRITE(USED + 2, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_ptr_equal(vio_drvq_get(&drv, &len), &b);
	assert_ptr_equal(vio_drvq_get(&drv, &len), &a);
	assert_false(vio_drvq_listen(&drv));
	BYTES(AVAIL + 4 + 2 * N, 2, 0);			/* used_event: tell me of the third */
	BYTES(AVAIL, 0, 0);
}

/* 2.7.9: with IN_ORDER next is x + 1, and 0 behind the table's end; one element may stand for a batch. */
static void split_order(void **state)
{
	uint32_t len;

	(void)state;
	driver(FEATURES(VIO_F_IN_ORDER));
	assert_true(vio_drvq_add(&drv, abc, 0, 2, &a));
	assert_true(vio_drvq_add(&drv, abc, 0, 1, &b));
	vio_drvq_kick_due(&drv);
	WRITE(USED + 2, 2, 0, 2, 0, 0, 0, 7, 0, 0, 0);	/* idx 2, ring[0] {2, 7}: both are used, of b 7 bytes */
	assert_ptr_equal(vio_drvq_get(&drv, &len), &a);
	assert_int_equal(len, 16 + 0x1234);		/* skipped: written in full */
	assert_true(vio_drvq_add(&drv, abc, 0, 3, &c));	/* descriptors 3, 0 and 1, as 0 and 1 are free and 2 is not */
	assert_ptr_equal(vio_drvq_get(&drv, &len), &b);
	assert_int_equal(len, 7);
	vio_drvq_kick_due(&drv);
	BYTES(48 + 12, 3, 0, 0, 0);			/* descriptor 3: WRITE | NEXT, next 0 */
	BYTES(12, 3, 0, 1, 0);				/* descriptor 0: next 1 */
	BYTES(16 + 12, 2, 0);
	BYTES(AVAIL + 2, 3, 0, 0, 0, 2, 0, 3, 0);
	WRITE(USED + 2, 3, 0);
	WRITE(USED + 4 + 16, 3, 0, 0, 0, 1, 0, 0, 0);
	assert_ptr_equal(vio_drvq_get(&drv, &len), &c);
	assert_int_equal(len, 1);
	assert_null(drv.broken);
}

/* ---- Split: what the device makes of it ---- */

static void split_device(void **state)
{
	struct vio_chain *x, *y;
	char text[8] = "";

	(void)state;
	WRITE(0,
	    0x00, 0x11, 0x01, 0, 0, 0, 0, 0,	3, 0, 0, 0,	2, 0,	9, 9,		/* 0: writable, the last; next means nothing */
	    0x00, 0x12, 0x01, 0, 0, 0, 0, 0,	1, 0, 0, 0,	0, 0,	0, 0,		/* 1: readable, alone */
	    0x00, 0x10, 0x01, 0, 0, 0, 0, 0,	2, 0, 0, 0,	1, 0,	3, 0,		/* 2: readable, next 3 */
	    0x02, 0x10, 0x01, 0, 0, 0, 0, 0,	2, 0, 0, 0,	1, 0,	0, 0);		/* 3: readable, next 0 */
	WRITE(AVAIL, 0, 0, 2, 0, 2, 0, 1, 0);		/* idx 2: heads 2 and 1 */
	WRITE(BUFFERS, 'v', 'i', 'o', '!');
	device(FEATURES());
	assert_non_null(x = vio_devq_pop(&dev));
	assert_int_equal(x->r.left, 4);
	assert_int_equal(x->w.left, 3);
	assert_true(vio_cur_get(&x->r, text, 4));
	assert_string_equal(text, "vio!");
	assert_non_null(y = vio_devq_pop(&dev));
	assert_int_equal(y->r.left, 1);
	assert_null(vio_devq_pop(&dev));
	assert_int_equal(dev.why_empty, VIO_EMPTY);
	vio_devq_push(&dev, y);
	assert_true(vio_cur_put(&x->w, "ab", 2));
	vio_devq_push(&dev, x);
	BYTES(USED, 0, 0, 0, 0);			/* not published yet */
	vio_devq_flush(&dev);
	BYTES(USED, 0, 0, 2, 0,	1, 0, 0, 0, 0, 0, 0, 0,	2, 0, 0, 0, 2, 0, 0, 0);
	BYTES(BUFFERS + 0x100, 'a', 'b', 0);
	assert_int_equal(signals, 1);			/* avail flags are 0 */
	WRITE(AVAIL, 1, 0, 3, 0, 2, 0, 1, 0, 1, 0);	/* no interrupts; head 1 again */
	vio_devq_push(&dev, vio_devq_pop(&dev));
	vio_devq_flush(&dev);
	assert_int_equal(signals, 1);
	BYTES(USED, 0, 0, 3, 0);
	vio_devq_quiet(&dev);
	BYTES(USED, 1, 0);
	assert_false(vio_devq_listen(&dev));
	BYTES(USED, 0, 0);
	BYTES(0, 0x00, 0x11, 0x01, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 9, 9);	/* no descriptor was written */
}

static void split_device_events(void **state)
{
	(void)state;
	WRITE(0, 0x00, 0x11, 0x01, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0);
	WRITE(AVAIL, 1, 0, 1, 0, 0, 0);			/* flags 1 means nothing with EVENT_IDX */
	WRITE(AVAIL + 4 + 2 * N, 1, 0);			/* used_event 1: signal for the second */
	device(FEATURES(VIO_F_EVENT_IDX));
	vio_devq_quiet(&dev);
	BYTES(USED, 0, 0);				/* flags stay 0 */
	vio_devq_push(&dev, vio_devq_pop(&dev));
	vio_devq_flush(&dev);
	assert_int_equal(signals, 0);
	assert_false(vio_devq_listen(&dev));
	BYTES(USED + 4 + 8 * N, 1, 0);			/* avail_event */
	WRITE(AVAIL + 2, 2, 0, 0, 0, 0, 0);
	assert_true(vio_devq_listen(&dev));
	vio_devq_push(&dev, vio_devq_pop(&dev));
	vio_devq_flush(&dev);
	assert_int_equal(signals, 1);
	BYTES(USED, 0, 0, 2, 0);
}

/* ---- Packed: what the driver writes ---- */

static void packed_chain(void **state)
{
	uint32_t len;

	(void)state;
	driver(FEATURES(VIO_F_RING_PACKED));
	assert_true(vio_drvq_add(&drv, abc, 2, 1, &a));
	assert_int_equal(mem[14], 0);			/* the first is held back: nothing is available */
	assert_true(vio_drvq_kick_due(&drv));		/* device event: flags 0, enabled */
	BYTES(0,
	    0x00, 0x10, 0x01, 0, 0, 0, 0, 0,	16, 0, 0, 0,		0, 0,	0x81, 0,	/* AVAIL, NEXT */
	    0x00, 0x11, 0x01, 0, 0, 0, 0, 0,	0x34, 0x12, 0, 0,	0, 0,	0x81, 0,
	    0xff, 0x12, 0x01, 0, 0, 0, 0, 0,	1, 0, 0, 0,		0, 0,	0x82, 0);	/* AVAIL, WRITE; id 0 */
	assert_int_equal(vio_drvq_notification(&drv, 5), 5u | 3u << 16 | 1u << 31);
	assert_false(vio_drvq_add(&drv, abc, 2, 0, &b));	/* one place is left: no room for the whole list, so none of it */
	BYTES(48, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &b));
	vio_drvq_kick_due(&drv);
	BYTES(48, 0x00, 0x10, 0x01, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0x80, 0);
	assert_int_equal(vio_drvq_notification(&drv, 5), 5);	/* place 0 of the second lap */
	WRITE(0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x82, 0x80);	/* used: id 0, 1 byte, AVAIL and USED */
	assert_ptr_equal(vio_drvq_get(&drv, &len), &a);
	assert_int_equal(len, 1);
	assert_null(vio_drvq_get(&drv, &len));		/* place 3 is not used */
	assert_true(vio_drvq_add(&drv, abc, 1, 1, &c));
	vio_drvq_kick_due(&drv);
	BYTES(0,
	    0x00, 0x10, 0x01, 0, 0, 0, 0, 0,	16, 0, 0, 0,		2, 0,	0x01, 0x80,	/* second lap: USED, not AVAIL */
	    0x00, 0x11, 0x01, 0, 0, 0, 0, 0,	0x34, 0x12, 0, 0,	2, 0,	0x02, 0x80);
	WRITE(48 + 8, 9, 9, 9, 9, 1, 0, 0x80, 0x80);	/* nothing in it is writable: the length means nothing */
	assert_ptr_equal(vio_drvq_get(&drv, &len), &b);
	assert_int_equal(len, 0);
	WRITE(8, 2, 0, 0, 0, 2, 0, 0, 0);		/* second lap: used is neither AVAIL nor USED; without WRITE, as QEMU has it */
	assert_ptr_equal(vio_drvq_get(&drv, &len), &c);
	assert_int_equal(len, 2);
	assert_null(drv.broken);
}

static void packed_table(void **state)
{
	(void)state;
	driver(FEATURES(VIO_F_RING_PACKED, VIO_F_INDIRECT_DESC));
	assert_true(vio_drvq_add(&drv, abc, 1, 2, &a));
	vio_drvq_kick_due(&drv);
	BYTES(0, 0x00, 0x08, 0x01, 0, 0, 0, 0, 0, 48, 0, 0, 0, 0, 0, 0x84, 0);	/* AVAIL, INDIRECT */
	BYTES(0x800,
	    0x00, 0x10, 0x01, 0, 0, 0, 0, 0,	16, 0, 0, 0,		0, 0,	0, 0,
	    0x00, 0x11, 0x01, 0, 0, 0, 0, 0,	0x34, 0x12, 0, 0,	0, 0,	2, 0,
	    0xff, 0x12, 0x01, 0, 0, 0, 0, 0,	1, 0, 0, 0,		0, 0,	2, 0);	/* no flag but WRITE */
}

static void packed_events(void **state)
{
	uint32_t len;

	(void)state;
	driver(FEATURES(VIO_F_RING_PACKED, VIO_F_EVENT_IDX));
	vio_drvq_quiet(&drv);
	BYTES(AVAIL + 2, 1, 0);				/* disable */
	WRITE(USED, 1, 0x80, 2, 0);			/* device event: place 1 of the first lap */
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &a));
	assert_false(vio_drvq_kick_due(&drv));
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &b));
	assert_true(vio_drvq_kick_due(&drv));
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &c));
	assert_false(vio_drvq_kick_due(&drv));
	WRITE(USED, 0, 0, 1, 0);			/* disabled */
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &d));
	assert_false(vio_drvq_kick_due(&drv));
	WRITE(8, 0, 0, 0, 0, 0, 0, 0x80, 0x80);
	assert_ptr_equal(vio_drvq_get(&drv, &len), &a);
	assert_false(vio_drvq_listen(&drv));
	BYTES(AVAIL, 1, 0x80, 2, 0);			/* tell me of place 1 of the first lap */
	WRITE(USED, 0, 0, 2, 0);			/* place 0 of the second lap */
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &a));
	assert_true(vio_drvq_kick_due(&drv));
}

static void packed_events_without_event_idx(void **state)
{
	uint32_t len;

	(void)state;
	driver(FEATURES(VIO_F_RING_PACKED));
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &a));
	vio_drvq_kick_due(&drv);
	vio_drvq_quiet(&drv);
	BYTES(AVAIL + 2, 1, 0);
	assert_false(vio_drvq_listen(&drv));
	BYTES(AVAIL + 2, 0, 0);				/* enable, not "descriptor" */
	WRITE(8, 0, 0, 0, 0, 0, 0, 0x80, 0x80);
	assert_true(vio_drvq_listen(&drv));
	assert_ptr_equal(vio_drvq_get(&drv, &len), &a);
}

/* 2.8.11: one used descriptor with the id of the last buffer stands for the batch. */
static void packed_order(void **state)
{
	uint32_t len;

	(void)state;
	driver(FEATURES(VIO_F_RING_PACKED, VIO_F_IN_ORDER));
	assert_true(vio_drvq_add(&drv, abc, 0, 2, &a));
	assert_true(vio_drvq_add(&drv, abc, 0, 1, &b));
	vio_drvq_kick_due(&drv);
	WRITE(8, 7, 0, 0, 0, 1, 0, 0x82, 0x80);		/* at place 0: id 1, 7 bytes */
	assert_ptr_equal(vio_drvq_get(&drv, &len), &a);
	assert_int_equal(len, 16 + 0x1234);
	assert_ptr_equal(vio_drvq_get(&drv, &len), &b);
	assert_int_equal(len, 7);
	assert_true(vio_drvq_add(&drv, abc, 0, 1, &c));	/* place 3, id 2 */
	vio_drvq_kick_due(&drv);
	BYTES(48 + 12, 2, 0, 0x82, 0);
	WRITE(48 + 8, 5, 0, 0, 0, 2, 0, 0x82, 0x80);
	assert_ptr_equal(vio_drvq_get(&drv, &len), &c);
	assert_int_equal(len, 5);
	assert_null(drv.broken);
}

/* ---- Packed: what the device makes of it ---- */

static void packed_device(void **state)
{
	struct vio_chain *x, *y, *z;
	char text[8] = "";

	(void)state;
	WRITE(0,
	    0x00, 0x10, 0x01, 0, 0, 0, 0, 0,	2, 0, 0, 0,	9, 9,	0x81, 0,	/* readable, NEXT; its id means nothing */
	    0x02, 0x10, 0x01, 0, 0, 0, 0, 0,	2, 0, 0, 0,	9, 9,	0x81, 0,
	    0x00, 0x11, 0x01, 0, 0, 0, 0, 0,	3, 0, 0, 0,	3, 0,	0x82, 0,	/* writable, the last: id 3 */
	    0x00, 0x12, 0x01, 0, 0, 0, 0, 0,	1, 0, 0, 0,	1, 0,	0x80, 0);	/* readable, id 1 */
	WRITE(BUFFERS, 'v', 'i', 'o', '!');
	device(FEATURES(VIO_F_RING_PACKED));
	assert_non_null(x = vio_devq_pop(&dev));
	assert_int_equal(x->r.left, 4);
	assert_int_equal(x->w.left, 3);
	assert_true(vio_cur_get(&x->r, text, 4));
	assert_string_equal(text, "vio!");
	assert_non_null(y = vio_devq_pop(&dev));
	assert_null(vio_devq_pop(&dev));		/* place 0 is AVAIL, but of the first lap */
	vio_devq_push(&dev, y);
	vio_devq_flush(&dev);
	/* The second buffer is used first: its descriptor comes first, at place 0. */
	BYTES(8, 0, 0, 0, 0, 1, 0, 0x80, 0x80);
	assert_int_equal(signals, 1);
	WRITE(0, 0x00, 0x12, 0x01, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0x00, 0x80);	/* place 0 again, second lap, id 2 */
	assert_non_null(z = vio_devq_pop(&dev));
	assert_true(vio_cur_put(&x->w, "ab", 2));
	vio_devq_push(&dev, x);				/* at place 1, and 3 places long */
	vio_devq_push(&dev, z);				/* at place 0 of the second lap */
	vio_devq_flush(&dev);
	BYTES(16 + 8, 2, 0, 0, 0, 3, 0, 0x82, 0x80);
	BYTES(8, 0, 0, 0, 0, 2, 0, 0, 0);		/* second lap: neither AVAIL nor USED, nothing written */
	assert_int_equal(vio_devq_base(&dev), 1u | 0u << 15 | 1u << 16 | 0u << 31);
}

static void packed_device_events(void **state)
{
	(void)state;
	WRITE(0, 0x00, 0x10, 0x01, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0x80, 0,
	    0x00, 0x10, 0x01, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0x80, 0);
	WRITE(AVAIL, 1, 0x80, 2, 0);			/* driver event: place 1 of the first lap */
	device(FEATURES(VIO_F_RING_PACKED, VIO_F_EVENT_IDX));
	vio_devq_quiet(&dev);
	BYTES(USED + 2, 1, 0);
	vio_devq_push(&dev, vio_devq_pop(&dev));
	vio_devq_flush(&dev);
	assert_int_equal(signals, 0);
	vio_devq_push(&dev, vio_devq_pop(&dev));
	vio_devq_flush(&dev);
	assert_int_equal(signals, 1);
	assert_false(vio_devq_listen(&dev));
	BYTES(USED, 2, 0x80, 2, 0);			/* tell me of place 2 of the first lap */
	WRITE(32, 0x00, 0x10, 0x01, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0x80, 0);
	assert_true(vio_devq_listen(&dev));
	WRITE(AVAIL, 0, 0, 1, 0);			/* disabled */
	vio_devq_push(&dev, vio_devq_pop(&dev));
	vio_devq_flush(&dev);
	assert_int_equal(signals, 1);
}

/* ---- What a device lies about ---- */

static void lies_of_a_split_device(void **state)
{
	static const struct { unsigned char used[12]; const char *words; } lies[] = {
		{ { 0, 0, 3, 0 }, "used index has moved further than chains were made available" },
		{ { 0, 0, 0xff, 0xff }, "used index has moved further than chains were made available" },
		{ { 0, 0, 1, 0, 4, 0, 0, 0 }, "used element names no chain of ours" },		/* queue size */
		{ { 0, 0, 1, 0, 0, 0, 1, 0 }, "used element names no chain of ours" },		/* 65536 */
		{ { 0, 0, 1, 0, 1, 0, 0, 0 }, "used element names no chain of ours" },		/* inside a chain */
		{ { 0, 0, 1, 0, 3, 0, 0, 0 }, "used element names no chain of ours" },		/* free */
	};
	uint32_t len;

	(void)state;
	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		driver(FEATURES());
		assert_true(vio_drvq_add(&drv, abc, 2, 0, &a));
		assert_true(vio_drvq_add(&drv, abc, 1, 0, &b));
		vio_drvq_kick_due(&drv);
		memcpy(mem + USED, lies[i].used, 12);
		assert_null(vio_drvq_get(&drv, &len));
		assert_string_equal(drv.broken, lies[i].words);
		assert_false(vio_drvq_add(&drv, abc, 1, 0, &c));
		assert_false(vio_drvq_kick_due(&drv));
		assert_false(vio_drvq_listen(&drv));
		assert_ptr_equal(vio_drvq_take_back(&drv), &a);
		assert_ptr_equal(vio_drvq_take_back(&drv), &b);
		assert_null(vio_drvq_take_back(&drv));
	}
	driver(FEATURES());
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &a));
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &b));
	vio_drvq_kick_due(&drv);
	WRITE(USED + 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);	/* the same chain twice */
	assert_ptr_equal(vio_drvq_get(&drv, &len), &a);
	assert_null(vio_drvq_get(&drv, &len));
	assert_string_equal(drv.broken, "used element names no chain of ours");
	driver(FEATURES(VIO_F_IN_ORDER));
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &a));
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &b));
	vio_drvq_kick_due(&drv);
	WRITE(USED + 2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0);	/* the second, and the index says that it is no batch */
	assert_null(vio_drvq_get(&drv, &len));
	assert_string_equal(drv.broken, "device used chains out of order");
	/* Descriptors rewritten by the device change nothing: they are never read back. */
	driver(FEATURES());
	assert_true(vio_drvq_add(&drv, abc, 2, 0, &a));
	vio_drvq_kick_due(&drv);
	memset(mem, 0xff, 64);
	WRITE(USED + 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	assert_ptr_equal(vio_drvq_get(&drv, &len), &a);
	assert_true(vio_drvq_add(&drv, abc, 2, 1, &b));
}

static void lies_of_a_packed_device(void **state)
{
	static const struct { unsigned char used[8]; const char *words; } lies[] = {
		{ { 0, 0, 0, 0, 4, 0, 0x80, 0x80 }, "used descriptor names no chain of ours" },
		{ { 0, 0, 0, 0, 0xff, 0xff, 0x80, 0x80 }, "used descriptor names no chain of ours" },
		{ { 0, 0, 0, 0, 3, 0, 0x80, 0x80 }, "used descriptor names no chain of ours" },
	};
	uint32_t len;

	(void)state;
	for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
		driver(FEATURES(VIO_F_RING_PACKED));
		assert_true(vio_drvq_add(&drv, abc, 2, 0, &a));
		vio_drvq_kick_due(&drv);
		memcpy(mem + 8, lies[i].used, 8);
		assert_null(vio_drvq_get(&drv, &len));
		assert_string_equal(drv.broken, lies[i].words);
		assert_ptr_equal(vio_drvq_take_back(&drv), &a);
	}
	driver(FEATURES(VIO_F_RING_PACKED));		/* used before anything is with the device: nothing happens */
	memset(mem, 0xff, 64);
	assert_null(vio_drvq_get(&drv, &len));
	assert_false(vio_drvq_listen(&drv));
	assert_null(drv.broken);
	driver(FEATURES(VIO_F_RING_PACKED, VIO_F_IN_ORDER));
	assert_true(vio_drvq_add(&drv, abc, 1, 0, &a));
	vio_drvq_kick_due(&drv);
	WRITE(8, 0, 0, 0, 0, 0, 0, 0x80, 0x80);
	assert_ptr_equal(vio_drvq_get(&drv, &len), &a);
	memset(mem + 16, 0xff, 48);
	assert_null(vio_drvq_get(&drv, &len));
	assert_null(drv.broken);
}

#define V(fn, what) { .name = (what), .test_func = (fn), .setup_func = setup, .teardown_func = teardown }
#define VP(fn, what) { .name = (what), .test_func = (fn), .setup_func = setup, .teardown_func = teardown, .initial_state = &a }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		V(split_init, "split: where the areas are, zeroes in them {split-drv-19; only us}"),
		V(areas, "split: areas of any size are aligned {split-drv-1; only us}"),
		VP(areas, "packed: areas of any size are aligned {packed-drv-1; only us}"),
		V(four_gigabytes, "split: a chain of more than 2^32 bytes is not added {split-drv-4; only us}"),
		VP(four_gigabytes, "packed: a chain of more than 2^32 bytes is not added"),
		V(split_chain, "split: a chain as the driver writes it, unpublished and published {split-drv-2 split-drv-22 split-drv-26; only us}"),
		V(split_table, "split: an indirect table as the driver writes it {split-drv-9 split-drv-7 split-drv-10; only us}"),
		V(split_flags, "split: flags of both sides, a length that is too long, a get for nothing "
		    "{split-drv-12 split-drv-16 split-drv-17 split-drv-20 split-drv-22; only us}"),
		V(split_events, "split: event indices of both sides {split-drv-14 split-drv-23 split-drv-24; only us}"),
		V(split_order, "split, in order: next behind the table's end, a batch in one element {split-drv-5; only us}"),
		V(split_device, "split: a chain in any order of descriptors as the device reads it, used elements and flags "
		    "{split-dev-1 split-dev-6 split-dev-11 split-dev-15 split-dev-16 split-dev-18; only us}"),
		V(split_device_events, "split: event indices as the device treats them {split-dev-12 split-dev-13 split-dev-20; only us}"),
		V(packed_chain, "packed: lists as the driver writes them, over two laps "
		    "{packed-drv-4 packed-drv-8 packed-drv-10 packed-drv-11 packed-drv-2 packed-drv-16; only us}"),
		V(packed_table, "packed: an indirect table as the driver writes it {packed-drv-13 packed-drv-15; only us}"),
		V(packed_events, "packed: event structures of both sides {packed-drv-17; only us}"),
		V(packed_events_without_event_idx, "packed: without EVENT_IDX events are on or off"),
		V(packed_order, "packed, in order: a batch in one descriptor"),
		V(packed_device, "packed: lists as the device reads them, out of order, over two laps "
		    "{packed-dev-1 packed-dev-2 packed-dev-6 packed-dev-8; only us}"),
		V(packed_device_events, "packed: event structures as the device treats them"),
		V(lies_of_a_split_device, "E1 to E4 a split device that lies breaks the queue, not the driver"),
		V(lies_of_a_packed_device, "E1 to E4 a packed device that lies breaks the queue, not the driver"),
	};
	return vio_tests("vectors", tests, sizeof tests / sizeof *tests);
}
