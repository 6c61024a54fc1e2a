/*
 * The in-flight region: a device that dies between any two stores, and its successor that reads what it left.
 *
 * Whatever the instant: every chain that the driver made available comes back, none comes back twice, and a chain that the
 * driver has seen used is not served again.  And a region that somebody scribbled in is refused in words or served with
 * harm to nobody but its owner.
 */
#include <pthread.h>
#include <stdatomic.h>
#include "die.h"
#include "pair.h"

enum { SIZE = 8, CHAINS = 4000 };

struct life {
	struct pair *p;
	uint32_t seed;
	uint32_t added;
	uint8_t back[CHAINS];		/* how often the driver got chain k */
	struct vio_chain *held[SIZE];
	uint32_t held_k[SIZE];
	unsigned held_count;
	unsigned prefix, ops;		/* of the life to come: operations before and under the steps */
	uint32_t base;
	const char *refused;
	bool checking;			/* pops must not give what is back already */
};

static const uint16_t places_of[] = { 1, 2, 1, 3, 1, 1, 2 };

static void *cookie_of(uint32_t k) { return (void *)(uintptr_t)(k + 1); }

/* Chain k: its number in the first readable buffer, then some more, then a writable one. */
static bool add(struct life *l)
{
	uint32_t k = l->added;
	unsigned n = places_of[k % 7];
	uint64_t gpa = PAIR_BUFFERS + (k % (SIZE * 2)) * 48;
	struct vio_buf b[3] = { { gpa, 4 }, { gpa + 16, 4 }, { gpa + 32, 4 } };

	if (k == CHAINS || !vio_drvq_add(&l->p->drv, b, n == 3 ? 2 : 1, n > 1 ? 1 : 0, cookie_of(k)))
		return false;
	memcpy(pair_at(l->p, gpa), &k, 4);
	l->added++;
	vio_drvq_kick_due(&l->p->drv);
	return true;
}

static void get_all(struct life *l)
{
	void *cookie;
	uint32_t len;

	while ((cookie = vio_drvq_get(&l->p->drv, &len)))
		l->back[(uintptr_t)cookie - 1]++;
	assert_null(l->p->drv.broken);
	for (uint32_t k = 0; k < l->added; k++)
		assert_true(l->back[k] <= 1);
}

static bool pop(struct life *l)
{
	struct vio_chain *c = l->held_count < SIZE ? vio_devq_pop(&l->p->dev) : NULL;
	uint32_t k;

	if (!c)
		return false;
	vio_cur_get(&c->r, &k, 4);
	if (l->checking && (k >= l->added || l->back[k]))
		fail_msg("chain %u was used already and is served again", k);
	l->held[l->held_count] = c;
	l->held_k[l->held_count++] = k;
	return true;
}

static void push(struct life *l, unsigned i)
{
	vio_devq_push(&l->p->dev, l->held[i]);
	l->held[i] = l->held[--l->held_count];
}

static void unpop(struct life *l)
{
	struct vio_chain *c = vio_devq_pop(&l->p->dev);

	if (c && l->held_count)
		push(l, 0);		/* between a pop and its unpop others may end */
	if (c)
		vio_devq_unpop(&l->p->dev, c);
}

/* One thing that a device does, by chance. */
static void device_op(struct life *l)
{
	switch (random32(&l->seed) % 8) {
	case 0: case 1: case 2:
		pop(l);
		break;
	case 3: case 4: case 5:
		if (l->held_count)
			push(l, random32(&l->seed) % l->held_count);
		break;
	case 6:
		vio_devq_flush(&l->p->dev);
		break;
	default:
		if (l->held_count < SIZE)
			unpop(l);
	}
}

static void start(void *arg)
{
	struct life *l = arg;
	l->refused = pair_device(l->p, l->base);
}

static struct life *life_new(bool packed, bool in_order, uint32_t seed)
{
	struct life *l = calloc(1, sizeof *l);
	void *journal = NULL;

	l->p = pair_new(SIZE, WHOLE, packed, seed & 1, true, in_order);
	assert_int_equal(posix_memalign(&journal, VIO_JOURNAL_ALIGN, vio_journal_bytes(SIZE, packed)), 0);
	memset(journal, 0, vio_journal_bytes(SIZE, packed));
	l->p->journal = journal;
	l->seed = seed * 2654435761u + 1;
	l->base = pair_first_base(l->p);
	start(l);
	assert_null(l->refused);
#if CAN_DIE
	die_shared(0, l->p->region[0].host, l->p->region[0].size);
	die_shared(1, journal, vio_journal_bytes(SIZE, packed));
#endif
	return l;
}

static void life_free(struct life *l)
{
	free(l->p->journal);
	pair_free(l->p);
	free(l);
}

/* The same lives, whatever the seed: the driver adds, the device does this and that. */
static void live(struct life *l, unsigned ops)
{
	for (unsigned i = 0; i < ops; i++) {
		if (random32(&l->seed) % 2)
			add(l);
		else if (random32(&l->seed) % 4 == 0)
			get_all(l);
		device_op(l);
	}
	while (add(l) && random32(&l->seed) % 3)
		;
}

/* What a front end remembers when its back end dies: for a split ring the used index, for a packed one nothing. */
static void forget(struct life *l)
{
	l->p->dev.inflight = 0;
	vio_devq_stop(&l->p->dev);
	l->held_count = 0;
	l->base = l->p->packed ? VIO_PACKED_BASE : vio_shared_load(&((struct vio_split_used *)l->p->drv.place.device)->idx);
}

static void drain(struct life *l)
{
	bool more = true;

	for (unsigned n = 0; more && n < 100; n++) {
		more = pop(l);
		while (l->held_count && (!more || l->held_count == SIZE))
			push(l, random32(&l->seed) % l->held_count);
		vio_devq_flush(&l->p->dev);
		get_all(l);
	}
	assert_null(l->p->dev.broken);
}

/* The successor serves what is left, and the ring is as good as new. */
static void succeed(struct life *l)
{
	get_all(l);
	forget(l);
	start(l);
	assert_null(l->refused);
	l->checking = true;
	drain(l);
	for (uint32_t k = 0; k < l->added; k++)
		assert_int_equal(l->back[k], 1);
	for (unsigned i = 0; i < 6 * SIZE; i++) {
		while (add(l))
			;
		drain(l);
	}
	for (uint32_t k = 0; k < l->added; k++)
		assert_int_equal(l->back[k], 1);
}

#if CAN_DIE
static void some_ops(void *arg)
{
	struct life *l = arg;

	for (unsigned i = 0; i < l->ops; i++)
		device_op(l);
}

static void die_anywhere(void **state)
{
	unsigned bits = (unsigned)(uintptr_t)*state, deaths = 0;

	for (uint32_t seed = 1; seed <= 60; seed++)
		for (unsigned n = 1;; n++) {
			struct life *l = life_new(bits & 1, bits & 2, seed);
			live(l, 5 + seed);
			l->ops = 4;
			bool died = dies_before(n, some_ops, l);
			succeed(l);
			life_free(l);
			deaths += died;
			if (!died)
				break;
		}
	assert_true(deaths > 250);
}

static void start_and_go_on(void *arg)
{
	struct life *l = arg;

	start(l);
	some_ops(l);
}

/* Dead a first time somewhere, a second time while starting or in the first operations. */
static void die_again(void **state)
{
	unsigned bits = (unsigned)(uintptr_t)*state;

	for (uint32_t seed = 1; seed <= 60; seed++)
		for (unsigned n = 1;; n++) {
			struct life *l = life_new(bits & 1, bits & 2, seed);
			live(l, 20 + seed);
			l->ops = 4;
			dies_before(seed % 23, some_ops, l);
			get_all(l);
			forget(l);
			l->checking = true;
			bool died = dies_before(n, start_and_go_on, l);
			succeed(l);
			life_free(l);
			if (!died)
				break;
		}
}
#endif

/* A clean stop that drops what is in flight leaves it to the successor too. */
static void dropped(void **state)
{
	unsigned bits = (unsigned)(uintptr_t)*state;

	for (uint32_t seed = 1; seed < 60; seed++) {
		struct life *l = life_new(bits & 1, bits & 2, seed);
		live(l, seed);
		while (pop(l) && random32(&l->seed) % 4)
			;
		vio_devq_drop(&l->p->dev);
		while (l->held_count)
			push(l, 0);
		vio_devq_flush(&l->p->dev);
		assert_int_equal(l->p->dev.inflight, 0);
		succeed(l);
		life_free(l);
	}
}

/* ---- Lies ---- */

/* Start from the region as it is, serve a while.  Nothing is promised but words, an end, and no byte of anybody else's. */
static bool endure(struct life *l)
{
	start(l);
	if (l->refused) {
		assert_non_null(strstr(l->refused, "in-flight"));
		return false;
	}
	uint32_t len;
	for (unsigned i = 0; i < 4 * SIZE && !l->p->dev.broken; i++) {
		while (l->held_count < SIZE && (l->held[l->held_count] = vio_devq_pop(&l->p->dev)))
			l->held_count++;
		if (i % 3)
			while (l->held_count)
				push(l, 0);
		vio_devq_flush(&l->p->dev);
		while (vio_drvq_get(&l->p->drv, &len))
			;
		while (!l->p->drv.broken && add(l))
			;
	}
	while (l->held_count)
		push(l, 0);
	return true;
}

static void every_byte_a_lie(void **state)
{
	bool packed = *state;
	static const unsigned char lies[] = { 0, 1, 2, 7, 8, 9, 0x7f, 0x80, 0xff };
	unsigned refused = 0, served = 0;

	for (uint64_t i = 0; i < vio_journal_bytes(SIZE, packed); i++)
		for (unsigned n = 0; n < sizeof lies; n++) {
			struct life *l = life_new(packed, false, 1 + (uint32_t)i % 5);
			live(l, 30);
			forget(l);
			((unsigned char *)l->p->journal)[i] = lies[n];
			if (endure(l))
				served++;
			else
				refused++;
			life_free(l);
		}
	assert_true(refused > 10 && served > 10);
}

struct scribbler { unsigned char *at; size_t n; _Atomic bool stop; };

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	uint32_t seed = 99;

	while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
		uint32_t r = random32(&seed);
		__atomic_store_n(&s->at[r % s->n], (unsigned char)(r >> 16 & (r >> 31 ? 0xff : 7)), __ATOMIC_RELAXED);
	}
	return NULL;
}

static void lies_while_running(void **state)
{
	bool packed = *state;
	struct life *l = life_new(packed, false, 3);
	struct scribbler s = { .at = l->p->journal, .n = vio_journal_bytes(SIZE, packed) };
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, scribble, &s), 0);
	for (unsigned i = 0; i < 3000; i++) {
		forget(l);
		l->added = 0;
		pair_driver(l->p);
		l->base = pair_first_base(l->p);
		if (i % 8 == 0)
			((uint16_t *)l->p->journal)[4] = 0;	/* version 0: start afresh, whatever else it says */
		endure(l);
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	life_free(l);
}

#define EACH(fn, what) \
	TS(fn, what " (split)", 0), TS(fn, what " (packed)", 1), TS(fn, what " (split, in order)", 2), TS(fn, what " (packed, in order)", 3)

int main(void)
{
	static const struct CMUnitTest tests[] = {
#if CAN_DIE
		EACH(die_anywhere, "a device that dies between any two stores loses no chain and completes none twice"),
		EACH(die_again, "nor does one that dies a second time while it recovers"),
#endif
		EACH(dropped, "chains dropped by a stop are the successor's"),
		TS(every_byte_a_lie, "C6 each byte of the region a lie: refused in words or harmless (split)", 0),
		TS(every_byte_a_lie, "C6 each byte of the region a lie: refused in words or harmless (packed)", 1),
		TS(lies_while_running, "C6 a region rewritten by another thread meanwhile (split)", 0),
		TS(lies_while_running, "C6 a region rewritten by another thread meanwhile (packed)", 1),
	};
	return vio_tests("in-flight region", tests, sizeof tests / sizeof *tests);
}
