/*
 * What a hostile or strange driver does around a ring: where it puts it (A10), how large it says it is (A11), notifications
 * (A12), an index that moves while the device serves (A7), and descriptors rewritten while they are read (A13).
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include "probe.h"

static const struct vio_features none = { { 0, 0 } };

static struct vio_features bits(unsigned char a, unsigned char b)
{
	return vio_features_of((const unsigned char[]){ a, b }, 2);
}

/* ---- A10 ring placement ---- */

struct spot {
	const char *what;
	uint64_t desc, driver, device;
	const char *words;		/* NULL: it starts, and whatever the driver harms is its own */
};

#define RING_OUT "ring is outside guest memory"
#define RING_ODD "ring is misaligned"
static const struct spot spots[] = {
	{ "no addresses at all", 0, 0, 0, RING_OUT },
	{ "the descriptor area in a hole", 0x700000, LOW, LOW + 0x100, RING_OUT },
	{ "the driver area in a hole", LOW, 0x700000, LOW + 0x100, RING_OUT },
	{ "the device area in a hole", LOW, LOW + 0x100, 0x700000, RING_OUT },
	{ "the descriptor area half in a hole", HIGH + HIGH_SIZE - 64, LOW, LOW + 0x100, RING_OUT },
	{ "the device area half in a hole", LOW, LOW + 0x100, HIGH + HIGH_SIZE - 4, NULL },	/* packed: its 4 bytes fit */
	{ "the descriptor area in two regions", HIGH - 64, LOW, LOW + 0x100, RING_OUT },
	{ "the descriptor area that wraps", UINT64_MAX - 63, LOW, LOW + 0x100, RING_OUT },
	{ "the device area that wraps", LOW, LOW + 0x100, UINT64_MAX - 1, RING_OUT },
	{ "the device area in read-only memory", LOW, LOW + 0x100, ROM, RING_OUT },
	{ "the descriptor area not a multiple of 16", LOW + 8, LOW + 0x100, LOW + 0x200, RING_ODD },
	{ "the driver area odd", LOW, LOW + 0x101, LOW + 0x200, RING_ODD },
	{ "the device area not a multiple of 4", LOW, LOW + 0x100, LOW + 0x202, RING_ODD },
	{ "all three in one place", LOW, LOW, LOW, NULL },
	{ "over the other queue's ring", RING_1, RING_1, RING_1, NULL },
};

static void ring_placement(void **state)
{
	bool packed = *state;

	for (size_t i = 0; i < sizeof spots / sizeof *spots; i++) {
		const struct spot *s = &spots[i];
		struct probe *p = probe_new(packed, 8, none);
		bool starts = !s->words || (packed && s->device == UINT64_MAX - 1 && false);
		if (!packed && s->device == HIGH + HIGH_SIZE - 4)
			starts = false;		/* split: 70 bytes do not */
		probe_negotiate(p);
		probe_rings(p, 0);
		probe_rings(p, 1);
		vio_dev_queue_setup(&p->dev, 0, 8, s->desc, s->driver, s->device);
		vio_dev_queue_go_live(&p->dev, 0);
		vio_dev_queue_go_live(&p->dev, 1);
		vio_dev_set_status(&p->dev, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK);
		if (starts) {
			assert_null(p->dev.needs_reset);
		} else {
			assert_non_null(p->dev.needs_reset);
			assert_string_equal(p->dev.needs_reset, s->words ? s->words : RING_OUT);
			assert_int_equal(p->wire.configs, 1);
		}
		kick(p);
		if (s->desc != RING_1)
			neighbour_serves(p);
		vio_dev_set_status(&p->dev, 0);
		probe_start(p);
		CHAIN(p, { LOW, 4, 0 });
		kick(p);
		assert_null(p->dev.queue[0].ring.broken);
		neighbour_serves(p);
		probe_free_all(p);
	}
}

/* ---- A11 queue size ---- */

static void queue_size(void **state)
{
	bool packed = *state;
	static const struct { uint16_t size; bool split, packed; } sizes[] = {
		{ 0, false, false }, { 1, true, true }, { 2, true, true }, { 3, false, true }, { 7, false, true }, { 8, true, true },
		{ 9, false, false }, { 32768, false, false }, { 32769, false, false }, { 65535, false, false },
	};

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct probe *p = probe_new(packed, 8, none);
		bool good = packed ? sizes[i].packed : sizes[i].split;
		probe_negotiate(p);
		probe_rings(p, 0);
		vio_dev_queue_setup(&p->dev, 0, sizes[i].size, p->q[0].desc_addr, p->q[0].driver_addr, p->q[0].device_addr);
		vio_dev_queue_go_live(&p->dev, 0);
		vio_dev_set_status(&p->dev, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK);
		assert_int_equal(p->dev.queue[0].state == VIO_QUEUE_STARTED, good);
		assert_int_equal(p->dev.needs_reset == NULL, good || sizes[i].size == 0);	/* 0: it never went live */
		kick(p);
		probe_free_all(p);
	}
}

static void size_and_place_are_latched(void **state)
{
	bool packed = *state;
	struct probe *p = probe_new(packed, 8, none);

	probe_start(p);
	vio_dev_queue_setup(&p->dev, 0, 4, 0, 0, 0);
	vio_dev_queue_setup(&p->dev, 0, 65535, UINT64_MAX, UINT64_MAX, UINT64_MAX);
	vio_dev_queue_go_live(&p->dev, 0);	/* a second time */
	assert_int_equal(p->dev.queue[0].ring.place.size, 8);
	for (unsigned i = 0; i < 20; i++) {
		CHAIN(p, { LOW, 4, 0 });
		kick(p);
	}
	assert_int_equal(p->seen, 20);
	assert_null(p->dev.queue[0].ring.broken);
	probe_free_all(p);
}

/* ---- A2, A12 notifications ---- */

static void notifications_without_work(void **state)
{
	struct probe *p = probe_new(*state, 8, none);

	probe_start(p);
	for (unsigned i = 0; i < 10000; i++)
		assert_false(vio_dev_notified(&p->dev, 0));
	assert_int_equal(p->wire.used, 0);
	for (unsigned n = PROBE_RINGS; n < 70000; n = n * 2 + 1)
		assert_false(vio_dev_notified(&p->dev, n));
	assert_false(vio_dev_notified(&p->dev, 0x80000000u));
	assert_false(vio_dev_notified(&p->dev, UINT32_MAX));
	assert_int_equal(vio_dev_queue_size_max(&p->dev, UINT32_MAX), 0);
	neighbour_serves(p);
	probe_free_all(p);
}

static void before_driver_ok(void **state)
{
	struct probe *p = probe_new(*state, 8, none);

	probe_negotiate(p);
	probe_rings(p, 0);
	vio_dev_queue_go_live(&p->dev, 0);
	CHAIN(p, { LOW, 4, 0 });
	kick(p);
	vio_loop_pump(&p->wire, 10);
	assert_int_equal(p->seen, 0);
	assert_int_equal(p->wire.used, 0);
	vio_dev_set_status(&p->dev, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK);
	vio_loop_pump(&p->wire, 10);	/* it asks for a turn by itself: the driver need not kick again */
	assert_int_equal(p->seen, 1);
	probe_free_all(p);
}

/* A packed driver's event structure: any offset, any flags; what is not "disable" may signal, nothing else happens. */
static void event_structures(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 8; flags++)
		for (unsigned off = 0; off < 0x10000; off += 0x0fff) {
			struct probe *p = probe_new(true, 5, bits(VIO_F_EVENT_IDX, VIO_F_INDIRECT_DESC));
			probe_start(p);
			struct vio_packed_event *e = p->q[0].place.driver;
			*e = (struct vio_packed_event){ vio_le16_of((uint16_t)off), vio_le16_of((uint16_t)flags) };
			for (unsigned i = 0; i < 12; i++) {
				CHAIN(p, { LOW, 4, 0 });
				kick(p);
			}
			assert_int_equal(p->seen, 12);
			if ((flags & 3) == VIO_EVENT_DISABLE)
				assert_int_equal(p->wire.used, 0);
			if ((flags & 3) == VIO_EVENT_ENABLE)
				assert_int_equal(p->wire.used, 12);
			assert_null(p->dev.queue[0].ring.broken);
			probe_free_all(p);
		}
}

static void used_event_far_away(void **state)
{
	(void)state;
	for (unsigned event = 0; event < 0x10000; event += 0x0fff) {
		struct probe *p = probe_new(false, 8, bits(VIO_F_EVENT_IDX, VIO_F_INDIRECT_DESC));
		unsigned due = event < 100;
		probe_start(p);
		vio_used_event(p->q[0].place.driver, 8)->wire = (uint16_t)event;
		avail_ring(p)->flags = vio_le16_of(VIO_AVAIL_NO_INTERRUPT);	/* 2.7.7.2: means nothing with EVENT_IDX */
		for (unsigned i = 0; i < 100; i++) {
			CHAIN(p, { LOW, 4, 0 });
			kick(p);
		}
		assert_int_equal(p->wire.used, due);
		probe_free_all(p);
	}
}

static void used_event_means_nothing_without_event_idx(void **state)
{
	(void)state;
	struct probe *p = probe_new(false, 8, none);

	probe_start(p);
	vio_used_event(p->q[0].place.driver, 8)->wire = 0x1234;
	for (unsigned i = 0; i < 10; i++) {
		CHAIN(p, { LOW, 4, 0 });
		kick(p);
		assert_int_equal(p->wire.used, i + 1);
	}
	probe_free_all(p);
}

/* ---- A7, C9 a driver that never ends ---- */

static void one_more(struct probe *p)
{
	CHAIN(p, { LOW, 4, 0 });
}

static void a_turn_ends(void **state)
{
	struct probe *p = probe_new(*state, 64, none);

	probe_start(p);
	p->at_chain = one_more;
	CHAIN(p, { LOW, 4, 0 });
	assert_true(vio_dev_notified(&p->dev, 0));	/* more is waiting, but others first */
	assert_int_equal(p->seen, VIO_DEV_TURN);
	neighbour_serves(p);
	assert_true(vio_dev_queue_turn(&p->dev, 0));
	assert_int_equal(p->seen, 2 * VIO_DEV_TURN + 1);
	p->at_chain = NULL;
	kick(p);
	probe_free_all(p);
}

/* ---- used.len ---- */

static void used_length(void **state)
{
	struct probe *p = probe_new(*state, 8, none);

	probe_start(p);
	CHAIN(p, { LOW, 4, 0 }, { LOW + 64, 5, VIO_DESC_WRITE }, { LOW + 128, 3, VIO_DESC_WRITE });
	CHAIN(p, { LOW, 4, 0 });
	CHAIN(p, { LOW + 256, 2 * PROBE_NOTE, VIO_DESC_WRITE });
	kick(p);
	unsigned second = p->packed ? 3 : 1, third = p->packed ? 4 : 2;
	assert_int_equal(vio_le32_get(used_of(p, 0).len), 8);		/* over descriptors, written bytes only */
	assert_int_equal(vio_le32_get(used_of(p, second).len), 0);
	assert_int_equal(vio_le32_get(used_of(p, third).len), PROBE_NOTE);	/* what was written, not what there was room for */
	assert_memory_equal(at(p, LOW + 64), "\x80\x81\x82\x83\x84", 5);
	assert_memory_equal(at(p, LOW + 128), "\x85\x86\x87", 3);
	if (p->packed) {	/* 2.8.5: WRITE says that the length means something */
		assert_true(vio_le16_get(packed_ring(p)[0].flags) & VIO_DESC_WRITE);
		assert_false(vio_le16_get(packed_ring(p)[3].flags) & VIO_DESC_WRITE);
	}
	probe_free_all(p);
}

/* ---- A13 another processor rewrites descriptors ---- */

struct flipper { struct probe *p; _Atomic bool stop; uint32_t seed; };

static uint32_t random32(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	return *s ^= *s << 5;
}

/* Plain racing stores, as a guest's are.  Addresses stay in HIGH, LOW or a hole; now and then a good descriptor. */
static void scribble(struct probe *p, uint32_t *seed)
{
	static const uint64_t addrs[] = { LOW, LOW + 0x1000, HIGH - 8, HIGH, HIGH + HIGH_SIZE - 16, 0x10, UINT64_MAX - 3 };
	uint64_t *word = (uint64_t *)(void *)at(p, RING_0) + 2 * (random32(seed) % p->size);
	uint32_t r = random32(seed);

	__atomic_store_n(&word[0], addrs[r % 7], __ATOMIC_RELAXED);
	uint64_t flags = r >> 8 & (p->packed ? 0x8087 : 7), other = r >> 24 & 7, len = (r >> 16 & 7) * 16;
	uint64_t v = p->packed ? vio_packed_word((uint32_t)len, (uint16_t)other, (uint16_t)flags) :
	    len | flags << 32 | other << 48;
	__atomic_store_n(&word[1], v, __ATOMIC_RELAXED);
	uint64_t *t = (uint64_t *)(void *)at(p, LOW + (r % 7 ? 0 : 0x1000)) + 2 * (r >> 4 & 7);
	__atomic_store_n(&t[0], addrs[(r >> 3) % 7], __ATOMIC_RELAXED);
	__atomic_store_n(&t[1], v, __ATOMIC_RELAXED);
}

static void *flip(void *arg)
{
	struct flipper *f = arg;

	while (!atomic_load_explicit(&f->stop, memory_order_relaxed))
		scribble(f->p, &f->seed);
	return NULL;
}

static void rewritten_while_read(void **state)
{
	bool packed = *state;
	struct probe *p = probe_new(packed, 8, vio_features_of((const unsigned char[]){ VIO_F_INDIRECT_DESC }, 1));
	struct flipper f = { .p = p, .seed = 0x1234567 };
	pthread_t thread;
	unsigned broken = 0, served = 0;

	probe_start(p);
	assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
	for (unsigned i = 0; i < 50000000 && (i < 5000 || broken < 100 || served < 100); i++) {
		if (!packed)
			for (unsigned k = 0; k < 4; k++)
				offer(p, (uint16_t)((i + k) % 8));
		vio_dev_notified(&p->dev, 0);
		assert_int_equal(p->dev.queue[0].ring.inflight, 0);
		if (!p->dev.queue[0].ring.broken) {
			sched_yield();
			continue;
		}
		broken++;
		served += p->seen;
		p->seen = 0;
		vio_dev_set_status(&p->dev, 0);
		probe_start(p);
	}
	atomic_store(&f.stop, true);
	pthread_join(thread, NULL);
	assert_true(broken >= 100);	/* it did hit, and some chains were sound */
	assert_true(served >= 100);
	vio_dev_set_status(&p->dev, 0);
	probe_start(p);
	neighbour_serves(p);
	probe_free_all(p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TS(ring_placement, "A10 rings in holes, at edges, misaligned, over each other: refused or harmless, a reset heals (split)", 0),
		TS(ring_placement, "A10 rings in holes, at edges, misaligned, over each other: refused or harmless, a reset heals (packed)", 1),
		TS(queue_size, "A11 sizes: powers of two up to the device's (split)", 0),
		TS(queue_size, "A11 sizes: any up to the device's (packed)", 1),
		TS(size_and_place_are_latched, "A11 size and addresses written to a live queue are ignored (split)", 0),
		TS(size_and_place_are_latched, "A11 size and addresses written to a live queue are ignored (packed)", 1),
		TS(notifications_without_work, "A12 ten thousand kicks for nothing, and for queues that there are not (split) "
		    "{split-dev-22; only us}", 0),
		TS(notifications_without_work, "A12 ten thousand kicks for nothing, and for queues that there are not (packed)", 1),
		TS(before_driver_ok, "nothing is consumed before DRIVER_OK, and all that waits then (split) {core-dev-1; only us}", 0),
		TS(before_driver_ok, "nothing is consumed before DRIVER_OK, and all that waits then (packed) {core-dev-1; only us}", 1),
		T(event_structures, "A9 every kind of driver event structure, in the ring and outside it"),
		T(used_event_far_away, "A12 used_event: one signal when it is passed, none otherwise, flags ignored "
		    "{split-dev-12 split-dev-13; only us}"),
		T(used_event_means_nothing_without_event_idx, "A12 used_event means nothing without EVENT_IDX, a signal for each "
		    "{split-dev-9 split-dev-11; only us}"),
		TS(a_turn_ends, "A7 a driver that adds while it is served: a turn ends, others get theirs (split)", 0),
		TS(a_turn_ends, "A7 a driver that adds while it is served: a turn ends, others get theirs (packed)", 1),
		TS(used_length, "the used length is what was written (split) {split-dev-15 split-dev-16; only us}", 0),
		TS(used_length, "the used length is what was written (packed)", 1),
		TS(rewritten_while_read, "A13 descriptors and tables rewritten by another thread (split)", 0),
		TS(rewritten_while_read, "A13 descriptors and tables rewritten by another thread (packed)", 1),
	};
	return vio_tests("around the ring", tests, sizeof tests / sizeof *tests);
}
