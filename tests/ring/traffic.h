/*
 * One queue, a driver and a device that really run at the same time: two threads over one mapping, or two processes over
 * two mappings of one memfd.  Each buffer carries its number to the device and the number's complement back.
 */
#ifndef VIO_TESTS_RING_TRAFFIC_H
#define VIO_TESTS_RING_TRAFFIC_H
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/ring/devq.h>
#include <vio/ring/drvq.h>

#define TRAFFIC_GPA UINT64_C(0x40000000)
enum { TRAFFIC_INDIRECT = 4, TRAFFIC_AREA = 16, TRAFFIC_PATIENCE_MS = 60000 };

struct traffic {
	struct vio_features features;
	uint16_t size;
	uint64_t total;			/* buffers */
	bool sleeping;			/* listen and sleep when there is nothing to do; otherwise poll */
	int kick_fd, call_fd;		/* eventfds */
	/* Where this side sees the memory: ring, indirect tables, buffers. */
	unsigned char *base;
	const volatile int *gone;	/* the other side has ended; NULL: nobody can tell */
	uint64_t slept, notified;
	const char *failed;
};

static inline uint64_t traffic_ring_bytes(uint16_t size) { return (VIO_DRVQ_RING_BYTES((uint64_t)size) + 63) & ~UINT64_C(63); }
static inline uint64_t traffic_tables_bytes(uint16_t size) { return (uint64_t)size * TRAFFIC_INDIRECT * 16; }
static inline uint64_t traffic_bytes(uint16_t size)
{
	return traffic_ring_bytes(size) + traffic_tables_bytes(size) + (uint64_t)size * TRAFFIC_AREA;
}

static inline struct vio_drvq traffic_driver(struct traffic *t, struct vio_drvq_slot *slots)
{
	struct vio_drvq q;
	struct vio_drvq_setup s = { .size = t->size, .features = t->features, .ring = t->base, .ring_addr = TRAFFIC_GPA,
		.slots = slots, .indirect = (void *)(t->base + traffic_ring_bytes(t->size)),
		.indirect_addr = TRAFFIC_GPA + traffic_ring_bytes(t->size), .indirect_max = TRAFFIC_INDIRECT };

	vio_drvq_init(&q, &s);
	return q;
}

static inline void traffic_notify(struct traffic *t, int fd)
{
	t->notified++;
	if (write(fd, &(uint64_t){ 1 }, 8) != 8)
		t->failed = "an event descriptor does not take a notification";
}

static inline int traffic_poll(struct pollfd *p)
{
	int n;

	do
		n = poll(p, 1, TRAFFIC_PATIENCE_MS);
	while (n < 0 && errno == EINTR);	/* the other side has ended: what it published last was notified before */
	return n;
}

/* Asleep until the other side notifies; a minute of nothing while there is work is a lost wake-up. */
static inline bool traffic_sleep(struct traffic *t, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n;

	t->slept++;
	if (traffic_poll(&p) != 1 || read(fd, &n, 8) != 8)
		t->failed = "lost wake-up: the other side has not notified";
	return !t->failed;
}

/* Polling and nothing there: on a busy machine the other side may be waiting for this processor. */
static inline void traffic_idle(struct traffic *t, unsigned *rounds)
{
	if (++*rounds % 256 == 0)
		sched_yield();
	if (*rounds % 65536 == 0 && t->gone && *t->gone)
		t->failed = "the other side has ended, and not all is done";
}

/* ---- The driver ---- */

struct traffic_driver {
	struct traffic *t;
	struct vio_drvq *q;
	uint64_t *number;		/* by area: what was sent there */
	uint16_t *areas, free_areas;
	uint64_t added, got;
};

static inline bool traffic_add(struct traffic_driver *d)
{
	struct traffic *t = d->t;
	uint64_t buffers = traffic_ring_bytes(t->size) + traffic_tables_bytes(t->size);

	if (d->added == t->total || d->free_areas == 0)
		return false;
	uint16_t area = d->areas[d->free_areas - 1];
	uint64_t at = buffers + (uint64_t)area * TRAFFIC_AREA, n = d->added;
	struct vio_buf b[2] = { { TRAFFIC_GPA + at, 8 }, { TRAFFIC_GPA + at + 8, 8 } };
	unsigned w = t->size > 1 && n % 3 != 0;		/* chains of one buffer and of two */
	memcpy(t->base + at, &n, 8);
	memset(t->base + at + 8, 0, 8);
	if (!vio_drvq_add(d->q, b, 1, w, &d->number[area]))
		return false;
	d->number[area] = n << 1 | w;
	d->free_areas--;
	d->added++;
	return true;
}

static inline bool traffic_get(struct traffic_driver *d)
{
	struct traffic *t = d->t;
	uint32_t len;
	uint64_t *number = vio_drvq_get(d->q, &len), back;

	if (d->q->broken)
		t->failed = d->q->broken;
	if (!number)
		return false;
	uint16_t area = (uint16_t)(number - d->number);
	memcpy(&back, t->base + traffic_ring_bytes(t->size) + traffic_tables_bytes(t->size) + (uint64_t)area * TRAFFIC_AREA + 8, 8);
	if (*number & 1 ? len != 8 || back != ~(*number >> 1) : len != 0 || back != 0)
		t->failed = "a buffer came back with the wrong bytes";
	d->areas[d->free_areas++] = area;
	d->got++;
	return true;
}

static inline void traffic_drive(struct traffic *t, struct vio_drvq *q)
{
	struct traffic_driver d = { .t = t, .q = q, .free_areas = t->size };

	d.number = calloc(t->size, sizeof *d.number);
	d.areas = calloc(t->size, sizeof *d.areas);
	for (uint16_t i = 0; i < t->size; i++)
		d.areas[i] = i;
	unsigned idle = 0;
	vio_drvq_quiet(q);
	while (d.got < t->total && !t->failed) {
		uint64_t before = d.added + d.got;
		for (unsigned n = 0; n < 64 && traffic_add(&d); n++)
			;
		if (vio_drvq_kick_due(q))
			traffic_notify(t, t->kick_fd);
		while (traffic_get(&d))
			;
		if (d.added + d.got != before)
			continue;
		if (!t->sleeping)
			traffic_idle(t, &idle);
		if (!t->sleeping || vio_drvq_listen(q))
			continue;
		traffic_sleep(t, t->call_fd);
		vio_drvq_quiet(q);
	}
	free(d.number);
	free(d.areas);
}

/* ---- The device ---- */

static inline void traffic_signal(struct vio_devq *q)
{
	struct traffic *t = q->dev;
	traffic_notify(t, t->call_fd);
}

static inline void traffic_answer(struct traffic *t, struct vio_devq *q, struct vio_chain *c)
{
	uint64_t n = 0;

	if (!vio_cur_get(&c->r, &n, 8))
		t->failed = "a chain without its number";
	n = ~n;
	if (c->w.left)
		vio_cur_put(&c->w, &n, 8);
	vio_devq_push(q, c);
}

/* place: the three areas as this side sees them. */
static inline void traffic_serve(struct traffic *t, struct vio_ring_place place)
{
	struct vio_region region = { .gpa = TRAFFIC_GPA, .size = traffic_bytes(t->size), .host = t->base, .perm = VIO_MEM_RW };
	struct vio_mem mem = { .region = &region, .count = 1, .refs = 1 };
	struct vio_devq_setup s = { .place = place, .features = t->features, .request_size = sizeof(struct vio_chain), .mem = &mem,
		.base = vio_has(t->features, VIO_F_RING_PACKED) ? VIO_PACKED_BASE : 0, .signal = traffic_signal,
		.memory_bytes = vio_devq_memory(t->size, sizeof(struct vio_chain), 0, 1) };
	struct vio_devq *q = calloc(1, sizeof *q);

	s.memory = calloc(1, s.memory_bytes);
	q->dev = t;
	unsigned idle = 0;
	t->failed = vio_devq_start(q, &s);
	vio_devq_quiet(q);
	while (q->stats.chains < t->total && !t->failed) {
		uint64_t before = q->stats.chains;
		struct vio_chain *c;
		q->turn = 256;
		while ((c = vio_devq_pop(q)))
			traffic_answer(t, q, c);
		vio_devq_flush(q);
		if (q->broken)
			t->failed = q->broken;
		if (q->stats.chains != before)
			continue;
		if (!t->sleeping)
			traffic_idle(t, &idle);
		if (!t->sleeping || vio_devq_listen(q))
			continue;
		traffic_sleep(t, t->kick_fd);
		vio_devq_quiet(q);
	}
	vio_devq_stop(q);
	free(s.memory);
	free(q);
}
#endif
