/*
 * The driver's side against the device's side over the whole product of options: both formats, indirect tables, event
 * index, in-order, memory whole, in adjacent regions and cut at every byte, queues of 1 to 32768.
 *
 * One thread plays both sides in a random order of a fixed seed.  A side that finds nothing to do listens and sleeps; only
 * a notification wakes it.  A model that knows the specification's sentence and not our arithmetic says of each
 * notification whether it is due: one too few would be a hang, one too many a waste.
 */
#include "pair.h"

/* A chain on its way: which one, its bytes, where they are; once done, how many the device wrote. */
struct chain_note { uint32_t k, r, w, expect; uint64_t gpa; uint16_t places; bool done; };

struct game {
	struct pair *p;
	uint32_t seed;
	uint32_t added, popped, got, total;
	struct chain_note *note;	/* by area */
	uint16_t *area_of;		/* by k modulo size, from add until pop (IN_ORDER: until used) */
	uint16_t *areas;		/* free areas, a stack */
	uint16_t areas_free;
	struct held { struct vio_chain *c; struct chain_note *note; } *held;
	unsigned held_count;
	uint32_t order_next;		/* IN_ORDER: the next k to be used */
	bool driver_sleeps, device_sleeps;
	/* The model: places of the available ring (packed) or entries, counted from the start without wrapping. */
	uint64_t filled, filled_at_decision;
	uint64_t used, used_at_decision;
	unsigned unpublished;
	uint64_t signals_due, kicks_due, kicks;
	uint64_t waits, unpops;
};

static struct chain_note *note_of(struct game *g, uint32_t k) { return &g->note[g->area_of[k % g->p->size]]; }
static unsigned char r_byte(uint32_t k, uint64_t i) { return (unsigned char)(k * 7 + i * 3 + 1); }
static unsigned char w_byte(uint32_t k, uint64_t i) { return (unsigned char)(k * 5 + i + 0x81); }
enum { UNTOUCHED = 0xee };

/* ---- The model of notifications ---- */

/* 2.8.10: the place's offset and, in bit 15, the wrap counter with which it is filled or used. */
static uint16_t off_wrap(const struct game *g, uint64_t place)
{
	uint64_t size = g->p->size;
	return (uint16_t)(place % size | (place / size % 2 ? 0 : 0x8000));
}

/* Was one of the places (entries) from..now-1 the one that the other side named? */
static bool named(const struct game *g, uint64_t from, uint64_t now, uint16_t event)
{
	for (uint64_t i = now - from > g->p->size && g->p->packed ? now - g->p->size : from; i < now; i++)
		if ((g->p->packed ? off_wrap(g, i) : (uint16_t)i) == event)
			return true;
	return false;
}

static bool due(const struct game *g, uint64_t from, uint64_t now, bool of_driver)
{
	const struct pair *p = g->p;
	const struct vio_ring_place *at = &p->drv.place;

	if (from == now)
		return false;
	if (p->packed) {
		const struct vio_packed_event *e = of_driver ? at->driver : at->device;
		uint16_t flags = vio_le16_get(e->flags);
		return flags == VIO_EVENT_ENABLE || (flags == VIO_EVENT_DESC && named(g, from, now, vio_le16_get(e->off_wrap)));
	}
	if (p->event_idx)
		return named(g, from, now, vio_shared_load(of_driver ? vio_used_event(at->driver, p->size) :
		    vio_avail_event(at->device, p->size)));
	return !vio_le16_get(of_driver ? ((struct vio_split_avail *)at->driver)->flags : ((struct vio_split_used *)at->device)->flags);
}

static void model_published(struct game *g)
{
	g->signals_due += due(g, g->used_at_decision, g->used, true);
	g->used_at_decision = g->used;
	g->unpublished = 0;
}

static void model_put(struct game *g, const struct chain_note *c)
{
	g->used += g->p->packed ? c->places : 1;
	if (++g->unpublished == VIO_DEVQ_BATCH)
		model_published(g);
}

static void model_push(struct game *g, struct chain_note *c)
{
	c->done = true;
	if (!g->p->in_order) {
		model_put(g, c);
		return;
	}
	while (g->order_next < g->popped && note_of(g, g->order_next)->done)
		model_put(g, note_of(g, g->order_next++));
}

/* ---- The driver ---- */

/* Cut n bytes into pieces, some of them empty; at most max.  How many. */
static unsigned cut(struct game *g, uint64_t gpa, uint32_t n, unsigned max, struct vio_buf *out)
{
	unsigned k = 0;

	while (n && k < max) {
		uint32_t part = k + 1 == max ? n : random32(&g->seed) % (n + 1);
		out[k++] = (struct vio_buf){ gpa, part };
		gpa += part;
		n -= part;
	}
	return k;
}

static bool add_one(struct game *g)
{
	struct pair *p = g->p;
	struct vio_buf bufs[PAIR_INDIRECT];
	unsigned most = p->size < PAIR_INDIRECT ? p->size : PAIR_INDIRECT;

	if (g->added == g->total || g->areas_free == 0)
		return false;
	uint32_t shape = random32(&g->seed) % 8, k = g->added;
	unsigned r_max = shape < 3 || most == 1 ? 1 : 1 + random32(&g->seed) % (most - 1);
	uint32_t r = shape == 0 ? 0 : random32(&g->seed) % (PAIR_AREA / 2), w = shape == 1 ? 0 : random32(&g->seed) % (PAIR_AREA / 2);
	if (most == 1)
		*(shape & 1 ? &w : &r) = 0;
	if (r + w == 0)
		r = 1;
	uint16_t area = g->areas[g->areas_free - 1];
	uint64_t gpa = PAIR_BUFFERS + (uint64_t)area * PAIR_AREA;
	unsigned rn = cut(g, gpa, r, w ? r_max : most, bufs), wn = cut(g, gpa + r, w, most - rn, bufs + rn);
	uint16_t places = (uint16_t)(p->indirect && rn + wn > 1 ? 1 : rn + wn);
	for (uint32_t i = 0; i < r; i++)
		*pair_at(p, gpa + i) = r_byte(k, i);
	for (uint32_t i = 0; i < w; i++)
		*pair_at(p, gpa + r + i) = UNTOUCHED;
	if (!vio_drvq_add(&p->drv, bufs, rn, wn, &g->note[area]))
		return false;
	g->note[area] = (struct chain_note){ .k = k, .r = r, .w = w, .gpa = gpa, .places = places };
	g->area_of[k % p->size] = area;
	g->areas_free--;
	g->added++;
	g->filled += p->packed ? places : 1;
	return true;
}

static void decide_kick(struct game *g)
{
	bool expected = due(g, g->filled_at_decision, g->filled, false);
	bool kick = vio_drvq_kick_due(&g->p->drv);

	assert_int_equal(kick, expected);
	g->filled_at_decision = g->filled;
	g->kicks += kick;
	if (kick)
		g->device_sleeps = false;
}

static bool get_one(struct game *g)
{
	uint32_t len;
	void *cookie = vio_drvq_get(&g->p->drv, &len);

	assert_null(g->p->drv.broken);
	if (!cookie)
		return false;
	uint16_t area = (uint16_t)((struct chain_note *)cookie - g->note);
	struct chain_note *c = &g->note[area];
	assert_true(c->done);		/* and not got before */
	c->done = false;
	if (g->p->in_order)
		assert_int_equal(c->k, g->got);
	assert_int_equal(len, c->expect);
	for (uint32_t i = 0; i < c->r; i++)
		assert_int_equal(*pair_at(g->p, c->gpa + i), r_byte(c->k, i));
	for (uint32_t i = 0; i < c->w; i++)
		assert_int_equal(*pair_at(g->p, c->gpa + c->r + i), i < len ? w_byte(c->k, i) : UNTOUCHED);
	g->areas[g->areas_free++] = area;
	g->got++;
	return true;
}

/* Its turn: add some, take some; with nothing to do it listens and sleeps. */
static void driver_turn(struct game *g)
{
	bool did = false;

	vio_drvq_quiet(&g->p->drv);
	for (unsigned n = random32(&g->seed) % 40; n && add_one(g); n--)
		did = true;
	decide_kick(g);
	for (unsigned n = 1 + random32(&g->seed) % 40; n && get_one(g); n--)
		did = true;
	if (!did && (g->added == g->total || g->areas_free == 0 || !add_one(g)) && !vio_drvq_listen(&g->p->drv))
		g->driver_sleeps = true;
	decide_kick(g);		/* never wait with something unpublished */
}

/* ---- The device ---- */

static void judge(struct game *g, struct vio_chain *c)
{
	const struct chain_note *n = note_of(g, g->popped);
	struct vio_cur r = c->r;

	assert_int_equal(n->k, g->popped);	/* in the order they were made available */
	assert_int_equal(r.left, n->r);
	assert_int_equal(c->w.left, n->w);
	for (uint32_t i = 0; i < n->r; i++) {
		unsigned char byte;
		assert_true(vio_cur_get(&r, &byte, 1));
		assert_int_equal(byte, r_byte(n->k, i));
	}
	assert_false(vio_cur_get(&r, &(char){ 0 }, 1));
}

static bool pop_one(struct game *g)
{
	struct pair *p = g->p;
	struct vio_chain *c = vio_devq_pop(&p->dev);

	assert_null(p->dev.broken);
	if (!c) {
		g->waits += p->dev.why_empty == VIO_WAIT_SEGMENTS;
		return false;
	}
	if (random32(&g->seed) % 16 == 0) {	/* can't be served now: as if it had never been popped */
		g->unpops++;
		vio_devq_unpop(&p->dev, c);
		c = vio_devq_pop(&p->dev);
		assert_non_null(c);
	}
	judge(g, c);
	g->held[g->held_count++] = (struct held){ c, note_of(g, g->popped++) };
	return true;
}

static void push_one(struct game *g, unsigned i)
{
	struct vio_chain *c = g->held[i].c;
	struct chain_note *n = g->held[i].note;

	n->expect = n->w ? random32(&g->seed) % (n->w + 1) : 0;
	for (uint32_t b = 0; b < n->expect; b++) {
		unsigned char byte = w_byte(n->k, b);
		assert_true(vio_cur_put(&c->w, &byte, 1));
	}
	g->held[i] = g->held[--g->held_count];
	model_push(g, n);
	uint64_t before = g->p->used_signals;
	vio_devq_push(&g->p->dev, c);
	if (g->p->used_signals != before)
		g->driver_sleeps = false;
	assert_int_equal(g->p->used_signals, g->signals_due);
}

static void flush(struct game *g)
{
	uint64_t before = g->p->used_signals;

	if (g->unpublished)
		model_published(g);
	vio_devq_flush(&g->p->dev);
	if (g->p->used_signals != before)
		g->driver_sleeps = false;
	assert_int_equal(g->p->used_signals, g->signals_due);
}

static void device_turn(struct game *g)
{
	bool empty = false;

	vio_devq_quiet(&g->p->dev);
	for (unsigned n = 1 + random32(&g->seed) % 40; n && !empty; n--)
		empty = !pop_one(g);
	for (unsigned n = random32(&g->seed) % 40; n && g->held_count; n--)
		push_one(g, random32(&g->seed) % g->held_count);
	flush(g);
	if (empty && g->p->dev.why_empty == VIO_EMPTY && !vio_devq_listen(&g->p->dev))
		g->device_sleeps = true;
}

/* Asleep as far as the ring is concerned, but a back end finishes what is held. */
static void device_completes(struct game *g)
{
	for (unsigned n = 1 + random32(&g->seed) % 20; n && g->held_count; n--)
		push_one(g, random32(&g->seed) % g->held_count);
	flush(g);
}

/* ---- The game ---- */

static void play(struct pair *p, uint32_t total, uint32_t seed)
{
	struct game g = { .p = p, .seed = seed, .total = total, .areas_free = p->size };

	g.note = calloc(p->size, sizeof *g.note);
	g.areas = calloc(p->size, sizeof *g.areas);
	g.area_of = calloc(p->size, sizeof *g.area_of);
	g.held = calloc(p->size, sizeof *g.held);
	for (uint16_t i = 0; i < p->size; i++)
		g.areas[i] = i;
	assert_null(pair_device(p, pair_first_base(p)));
	while (g.got < total) {
		uint32_t who = random32(&g.seed) % 2;
		if (who && !g.driver_sleeps)
			driver_turn(&g);
		else if (!who && !g.device_sleeps)
			device_turn(&g);
		else if (!who && g.held_count)
			device_completes(&g);
		/* A lost wake-up: both would sleep for ever. */
		assert_false(g.driver_sleeps && g.device_sleeps && g.held_count == 0);
	}
	assert_int_equal(p->dev.inflight, 0);
	assert_int_equal(p->dev.stats.chains, total);
	assert_int_equal(p->dev.stats.signals, g.signals_due);
	free(g.note);
	free(g.areas);
	free(g.held);
	free(g.area_of);
}

/* 70000 chains: over the wrap of a 16-bit index. */
static const struct { uint16_t size; uint32_t whole, cruel; } sizes[] = {
	{ 1, 5000, 500 }, { 2, 5000, 1000 }, { 3, 5000, 1000 }, { 8, 70000, 3000 }, { 256, 70000, 3000 }, { 32768, 70000, 2000 },
};

static void product(void **state)
{
	unsigned bits = (unsigned)(uintptr_t)*state;
	bool packed = bits & 1;

	for (enum memory_kind kind = 0; kind < MEMORY_KINDS; kind++)
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			if (sizes[i].size == 3 && !packed)
				continue;
			struct pair *p = pair_new(sizes[i].size, kind, packed, bits & 2, bits & 4, bits & 8);
			play(p, kind == WHOLE ? sizes[i].whole : sizes[i].cruel, 0x9e3779b9u ^ (bits << 8 | (unsigned)kind << 4 | i));
			pair_free(p);
		}
}

/* ---- A driver that asks for the kick decision once in 65536 chains and more ---- */

static void sixteen(struct pair *p, unsigned n)
{
	struct vio_buf b = { PAIR_BUFFERS, 4 };

	for (unsigned i = 0; i < n; i++)
		assert_true(vio_drvq_add(&p->drv, &b, 1, 0, p));
}

static void kick_after_very_many(void **state)
{
	unsigned bits = (unsigned)(uintptr_t)*state;

	for (unsigned last = 1; last <= VIO_DRVQ_BATCH; last++) {
		struct pair *p = pair_new(64, WHOLE, bits & 1, false, bits & 2, false);
		struct vio_chain *c;
		uint32_t len;
		assert_null(pair_device(p, pair_first_base(p)));
		for (unsigned round = 0; round < 65536 / VIO_DRVQ_BATCH - 1; round++) {
			sixteen(p, VIO_DRVQ_BATCH);	/* published by themselves; the device polls */
			while ((c = vio_devq_pop(&p->dev)))
				vio_devq_push(&p->dev, c);
			while (vio_drvq_get(&p->drv, &len))
				;
		}
		assert_false(vio_devq_listen(&p->dev));	/* now it sleeps */
		sixteen(p, last);
		assert_true(vio_drvq_kick_due(&p->drv));
		pair_free(p);
	}
}

int main(void)
{
	enum { PRODUCT = 16 };
	static char names[PRODUCT][300];
	static struct CMUnitTest tests[] = {
		[PRODUCT] =
		TS(kick_after_very_many, "a kick is due after 65536 chains without a decision (split)", 0),
		TS(kick_after_very_many, "a kick is due after 65536 chains without a decision (packed)", 1),
		TS(kick_after_very_many, "a kick is due after 65536 chains without a decision (split, event index)", 2),
		TS(kick_after_very_many, "a kick is due after 65536 chains without a decision (packed, event index)", 3),
	};

	for (unsigned bits = 0; bits < PRODUCT; bits++) {
		bool packed = bits & 1;
		snprintf(names[bits], sizeof names[bits], "%s%s%s%s: every byte, the order, each notification, over the index's wrap {%s; "
		    "only us}", packed ? "packed" : "split", bits & 2 ? ", indirect" : "", bits & 4 ? ", event index" : "",
		    bits & 8 ? ", in order" : "",
		    bits & 8 ? "core-dev-27" : packed ? "packed-dev-1 packed-dev-2 packed-dev-8 packed-dev-4 packed-drv-9 packed-drv-17" :
		    bits & 4 ? "split-drv-24 split-drv-25 split-drv-27 split-dev-3 split-dev-13 split-dev-14 split-drv-17" :
		    "split-drv-21 split-drv-22 split-drv-27 split-dev-3 split-dev-10 split-dev-11 split-drv-17");
		tests[bits] = (struct CMUnitTest)TS(product, names[bits], bits);
	}
	return vio_tests("driver against device", tests, sizeof tests / sizeof *tests);
}
