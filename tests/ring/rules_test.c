/*
 * What must never be, whatever the traffic: after each step of a random game all of the ring is read over, as an
 * inspector with the specification in his hand would, who knows nothing of either side's state.
 */
#include "die.h"
#include "pair.h"

enum { SIZE = 16 };

struct inspector {
	struct pair *p;
	uint32_t seed;
	struct vio_chain *held[SIZE];
	unsigned held_count;
	uint16_t avail_seen;
	bool pending;
};

static const struct vio_split_desc *entry(struct pair *p, const void *table, unsigned i)
{
	(void)p;
	return (const struct vio_split_desc *)table + i;
}

/* 2.7.5, 2.7.5.3: one chain of the split ring, as it was made available. */
static void split_chain_is_lawful(struct pair *p, uint16_t head)
{
	const void *table = p->drv.place.desc;
	unsigned count = p->size, i = head, length = 0;
	bool inside = false, writable = false;
	uint64_t bytes = 0;

	assert_true(head < p->size);
	for (;;) {
		const struct vio_split_desc *d = entry(p, table, i);
		uint16_t flags = vio_le16_get(d->flags), next = vio_le16_get(d->next);
		assert_int_equal(flags & ~7, 0);
		if (flags & VIO_DESC_INDIRECT) {
			assert_true(p->indirect && !inside && !(flags & VIO_DESC_NEXT));
			assert_true(vio_le32_get(d->len) && vio_le32_get(d->len) % 16 == 0);
			count = vio_le32_get(d->len) / 16;
			table = pair_at(p, vio_le64_get(d->addr));
			inside = true;
			i = 0;
			continue;
		}
		assert_true(++length <= p->size);
		bytes += vio_le32_get(d->len);
		assert_non_null(pair_at(p, vio_le64_get(d->addr)));
		if (flags & VIO_DESC_WRITE)
			writable = true;
		else
			assert_false(writable);
		if (!(flags & VIO_DESC_NEXT))
			break;
		if (inside)
			assert_int_equal(next, i + 1);	/* also without IN_ORDER */
		else if (p->in_order)
			assert_int_equal(next, i + 1 == p->size ? 0 : i + 1);
		assert_true(next < count);
		i = next;
	}
	assert_true(bytes <= UINT64_C(1) << 32);
}

static void split_is_lawful(struct inspector *s)
{
	struct pair *p = s->p;
	const struct vio_split_avail *avail = p->drv.place.driver;
	const struct vio_split_used *used = p->drv.place.device;
	uint16_t idx = vio_le16_get(avail->idx), now_used = vio_le16_get(used->idx);

	assert_true((uint16_t)(idx - s->avail_seen) <= p->size);	/* never back */
	s->avail_seen = idx;
	assert_true(vio_le16_get(avail->flags) <= (p->event_idx ? 0 : 1));
	assert_true(vio_le16_get(used->flags) <= (p->event_idx ? 0 : 1));
	for (uint16_t i = p->dev.split.avail_next; i != idx; i++)
		split_chain_is_lawful(p, vio_le16_get(avail->ring[i % p->size]));
	assert_true((uint16_t)(idx - now_used) <= p->size);
}

/* 2.8: what is available from the device's place on. */
static void packed_is_lawful(struct inspector *s)
{
	struct pair *p = s->p;
	const struct vio_packed_desc *ring = p->drv.place.desc;
	unsigned i = p->dev.packed.avail_at, length = 0;
	bool wrap = p->dev.packed.avail_wrap, writable = false;

	for (unsigned n = 0; n <= p->size; n++) {
		uint16_t flags = vio_le16_get(ring[i].flags);
		bool available = !!(flags & VIO_DESC_AVAIL) == wrap && !!(flags & VIO_DESC_USED) != wrap;
		if (!available) {
			assert_int_equal(length, 0);		/* a list is available whole or not at all */
			return;
		}
		assert_true(n < p->size);
		assert_int_equal(flags & ~(7 | VIO_DESC_AVAIL | VIO_DESC_USED), 0);
		if (flags & VIO_DESC_INDIRECT) {
			assert_true(p->indirect && !(flags & VIO_DESC_NEXT) && length == 0);
			const struct vio_packed_desc *t = (const void *)pair_at(p, vio_le64_get(ring[i].addr));
			bool w = false;
			for (unsigned k = 0; k < vio_le32_get(ring[i].len) / 16; k++) {
				uint16_t f = vio_le16_get(t[k].flags);
				assert_int_equal(f & ~VIO_DESC_WRITE, 0);
				assert_true(f & VIO_DESC_WRITE || !w);
				w = f & VIO_DESC_WRITE;
			}
		} else {
			assert_non_null(pair_at(p, vio_le64_get(ring[i].addr)));
			assert_true(flags & VIO_DESC_WRITE || !writable);
			writable = flags & VIO_DESC_WRITE;
		}
		length++;
		if (!(flags & VIO_DESC_NEXT)) {
			assert_true(vio_le16_get(ring[i].id) < p->size);
			length = 0;
			writable = false;
		}
		if (++i == p->size) {
			i = 0;
			wrap = !wrap;
		}
	}
}

static bool add(struct inspector *s, unsigned most)
{
	struct vio_buf b[PAIR_INDIRECT];
	unsigned n = 1 + random32(&s->seed) % most, r = random32(&s->seed) % (n + 1);

	for (unsigned i = 0; i < n; i++)
		b[i] = (struct vio_buf){ PAIR_BUFFERS + random32(&s->seed) % (SIZE * PAIR_AREA - 8), random32(&s->seed) % 9 };
	return vio_drvq_add(&s->p->drv, b, r, n - r, s);
}

static void drive(void *arg)
{
	struct inspector *s = arg;
	uint32_t len;

	switch (random32(&s->seed) % 6) {
	case 0: case 1: case 2:
		s->pending |= add(s, random32(&s->seed) % 8 ? 6 : PAIR_INDIRECT);	/* longer than the queue: not taken */
		break;
	case 3:
		if (s->pending)
			vio_drvq_kick_due(&s->p->drv);
		s->pending = false;
		break;
	case 4:
		while (vio_drvq_get(&s->p->drv, &len))
			;
		break;
	default:
		vio_drvq_quiet(&s->p->drv);
		if (random32(&s->seed) % 2)
			vio_drvq_listen(&s->p->drv);
	}
}

static void serve(struct inspector *s)
{
	struct vio_devq *q = &s->p->dev;
	struct vio_chain *c;

	switch (random32(&s->seed) % 6) {
	case 0: case 1: case 2:
		if (s->held_count < SIZE && (c = vio_devq_pop(q)))
			s->held[s->held_count++] = c;
		break;
	case 3:
		if (s->held_count) {
			unsigned i = random32(&s->seed) % s->held_count;
			c = s->held[i];
			s->held[i] = s->held[--s->held_count];
			vio_cur_zero(&c->w, c->w.left);
			vio_devq_push(q, c);
		}
		break;
	case 4:
		vio_devq_flush(q);
		break;
	default:
		vio_devq_quiet(q);
		if (random32(&s->seed) % 2)
			vio_devq_listen(q);
	}
	assert_null(q->broken);
}

static struct inspector game(unsigned bits, uint32_t seed)
{
	struct inspector s = { .p = pair_new(SIZE, WHOLE, bits & 1, bits & 2, bits & 4, bits & 8), .seed = seed * 2654435761u | 1 };

	assert_null(pair_device(s.p, pair_first_base(s.p)));
	return s;
}

static void is_lawful(struct inspector *s)
{
	if (s->p->packed)
		packed_is_lawful(s);
	else
		split_is_lawful(s);
}

/* 2.7.5, 2.7.8: of the rings a device writes the used ring, and nothing of what it may only read. */
static void what_the_driver_writes(void **state)
{
	unsigned bits = (unsigned)(uintptr_t)*state;
	struct inspector s = game(bits, 7 + bits);

	for (unsigned i = 0; i < 20000; i++) {
		if (random32(&s.seed) % 2)
			drive(&s);
		else
			serve(&s);
		is_lawful(&s);
		assert_null(s.p->drv.broken);
	}
	assert_true(s.p->dev.stats.chains > 1000);
	pair_free(s.p);
}

static void what_the_device_leaves_alone(void **state)
{
	unsigned bits = (unsigned)(uintptr_t)*state;
	struct inspector s = game(bits, 70 + bits);
	size_t n = s.p->ring_bytes, driver = (size_t)((unsigned char *)s.p->drv.place.driver - s.p->region[0].host),
	    device = (size_t)((unsigned char *)s.p->drv.place.device - s.p->region[0].host);
	unsigned char *before = malloc(s.p->region[0].size);

	for (unsigned i = 0; i < 10000; i++) {
		if (random32(&s.seed) % 2) {
			drive(&s);
			continue;
		}
		struct vio_packed_desc *ring = s.p->drv.place.desc;
		memcpy(before, s.p->region[0].host, s.p->region[0].size);
		serve(&s);
		assert_memory_equal(before + driver, s.p->region[0].host + driver, device - driver);
		assert_memory_equal(before + n, s.p->region[0].host + n, s.p->region[0].size - n);	/* tables */
		if (!s.p->packed)
			assert_memory_equal(before, s.p->region[0].host, driver);
		for (unsigned k = 0; s.p->packed && k < SIZE; k++) {	/* packed: only places on their way from available to used */
			const struct vio_packed_desc *old = (const void *)(before + 16 * k);
			uint16_t f = vio_le16_get(old->flags);
			if (!(f & VIO_DESC_AVAIL) == !(f & VIO_DESC_USED))
				assert_memory_equal(old, &ring[k], 16);
			assert_memory_equal(&old->addr, &ring[k].addr, 8);
		}
	}
	free(before);
	pair_free(s.p);
}

#if CAN_DIE
/* Wherever the driver is interrupted, what the device can see is lawful and whole. */
static void interrupted(void **state)
{
	unsigned bits = (unsigned)(uintptr_t)*state;

	for (uint32_t seed = 1; seed < 40; seed++)
		for (unsigned n = 1;; n++) {
			struct inspector s = game(bits, seed);
			for (unsigned i = 0; i < 40 + seed; i++) {
				drive(&s);
				serve(&s);
				is_lawful(&s);
			}
			die_shared(0, s.p->region[0].host, s.p->region[0].size);
			bool died = dies_before(n, drive, &s);
			is_lawful(&s);
			pair_free(s.p);
			if (!died)
				break;
		}
}
#endif

int main(void)
{
	enum { ALL = 16 };
	static struct CMUnitTest tests[3 * ALL];
	static char names[3 * ALL][300];
	size_t n = 0;

	for (unsigned bits = 0; bits < ALL; bits++) {
		bool packed = bits & 1;
		char which[80];
		snprintf(which, sizeof which, "%s%s%s%s", packed ? "packed" : "split", bits & 2 ? ", indirect" : "",
		    bits & 4 ? ", event index" : "", bits & 8 ? ", in order" : "");
		snprintf(names[n], sizeof names[n], "whatever the driver does, the ring is lawful (%s) {%s; only us}", which,
		    packed ? "packed-drv-6 packed-drv-7 packed-drv-8 packed-drv-10 packed-drv-12 packed-drv-13 packed-drv-14 packed-drv-15" :
		    "split-drv-2 split-drv-5 split-drv-6 split-drv-7 split-drv-8 split-drv-9 split-drv-10 split-drv-11 "
		    "split-drv-12 split-drv-14");
		tests[n] = (struct CMUnitTest)TS(what_the_driver_writes, names[n], bits);
		n++;
		snprintf(names[n], sizeof names[n], "whatever the device does, it writes only what is its own (%s) {%s; only us}", which,
		    packed ? "packed-dev-7" : "split-dev-6 split-dev-18 split-dev-20");
		tests[n] = (struct CMUnitTest)TS(what_the_device_leaves_alone, names[n], bits);
		n++;
#if CAN_DIE
		snprintf(names[n], sizeof names[n], "wherever the driver is interrupted, the ring is lawful (%s) {%s; only us}", which,
		    packed ? "packed-drv-11 packed-drv-16 packed-drv-3" : "split-drv-26");
		tests[n] = (struct CMUnitTest)TS(interrupted, names[n], bits);
		n++;
#endif
	}
	return vio_tests("rules", tests, n);
}
