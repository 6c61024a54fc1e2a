/* Guest memory under a running queue: the dirty log, regions that go, an IOMMU, and the cursors over it all. */
#include "pair.h"

enum { PAGE = VIO_DIRTY_PAGE };

/* ---- The table and its ranges ---- */

static void tables_that_are_refused(void **state)
{
	static unsigned char host[64] __attribute__((aligned(16)));
	static const struct { const char *words; struct vio_region r[2]; unsigned n; } rows[] = {
		{ NULL, { { .gpa = 0, .size = 16, .host = host } }, 1 },
		{ NULL, { { .gpa = UINT64_MAX - 15, .size = 16, .host = host } }, 1 },
		{ NULL, { { .gpa = 0, .size = 16, .host = host }, { .gpa = 16, .size = 16, .host = host + 32 } }, 2 },
		{ "memory region of no bytes", { { .gpa = 0, .size = 0, .host = host } }, 1 },
		{ "memory region wraps around the end of the address space", { { .gpa = UINT64_MAX - 15, .size = 17, .host = host } }, 1 },
		{ "memory region wraps around the end of the address space", { { .gpa = 0, .uva = UINT64_MAX - 7, .size = 16, .host = host } }, 1 },
		{ "memory region is larger than this host can address", { { .gpa = 0, .size = UINT64_MAX, .host = host } }, 1 },
		{ "memory region whose host address and guest address are aligned differently", { { .gpa = 8, .size = 16, .host = host } }, 1 },
		{ "memory regions overlap, or are not sorted by guest address",
			{ { .gpa = 0, .size = 17, .host = host }, { .gpa = 16, .size = 16, .host = host + 32 } }, 2 },
		{ "memory regions overlap, or are not sorted by guest address",
			{ { .gpa = 32, .size = 16, .host = host }, { .gpa = 0, .size = 16, .host = host + 32 } }, 2 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *why = vio_mem_check(rows[i].r, rows[i].n);
		if (rows[i].words)
			assert_string_equal(why, rows[i].words);
		else
			assert_null(why);
	}
}

static void spans(void **state)
{
	static unsigned char host[3][32] __attribute__((aligned(32)));
	const struct vio_region r[] = {
		{ .gpa = 0x1000, .size = 32, .host = host[0], .perm = VIO_MEM_RW },
		{ .gpa = 0x1020, .size = 32, .host = host[1], .perm = VIO_MEM_RW },	/* adjacent here and there */
		{ .gpa = UINT64_MAX - 31, .size = 32, .host = host[2], .perm = VIO_MEM_READ },
	};
	const struct vio_mem m = { .region = r, .count = 3 };

	(void)state;
	assert_ptr_equal(vio_mem_span(&m, 0x1000, 32, VIO_MEM_RW), host[0]);
	assert_ptr_equal(vio_mem_span(&m, 0x101f, 33, VIO_MEM_RW), host[0] + 31);
	assert_null(vio_mem_span(&m, 0x1000, 65, VIO_MEM_READ));
	assert_null(vio_mem_span(&m, 0x1000, 0, VIO_MEM_READ));
	assert_null(vio_mem_span(&m, 0xfff, 1, VIO_MEM_READ));
	assert_ptr_equal(vio_mem_span(&m, UINT64_MAX, 1, VIO_MEM_READ), host[2] + 31);
	assert_null(vio_mem_span(&m, UINT64_MAX, 2, VIO_MEM_READ));
	assert_null(vio_mem_span(&m, UINT64_MAX - 31, UINT64_MAX, VIO_MEM_READ));
	assert_null(vio_mem_span(&m, UINT64_MAX, 1, VIO_MEM_WRITE));
	uint64_t gpa;
	assert_true(vio_mem_gpa(&m, host[1] + 3, &gpa));
	assert_int_equal(gpa, 0x1023);
	assert_false(vio_mem_gpa(&m, &gpa, &gpa));
}

static void log_edges(void **state)
{
	uint8_t *bits = calloc(1, 2);	/* 16 pages */
	const struct vio_mem m = { .dirty = { bits, 2 } };

	(void)state;
	vio_mem_dirty_gpa(&m, PAGE - 1, 2);
	assert_int_equal(bits[0], 3);
	vio_mem_dirty_gpa(&m, 15 * PAGE, UINT64_MAX);	/* beyond the log, and wrapping */
	assert_int_equal(bits[1], 0x80);
	vio_mem_dirty_gpa(&m, 16 * PAGE, 1);
	vio_mem_dirty_gpa(&m, UINT64_MAX, 1);
	vio_mem_dirty_gpa(&m, 5 * PAGE, 0);
	assert_int_equal(bits[0], 3);
	free(bits);
}

/* ---- Cursors ---- */

static void cursors(void **state)
{
	enum { SEGS = 40 };
	struct vio_seg seg[SEGS];
	unsigned char bytes[SEGS * 4], copy[SEGS * 4], out[SEGS * 4];
	uint32_t seed = 17;
	unsigned n = 0, total = 0;

	(void)state;
	for (unsigned i = 0; i + 1 < SEGS; i++) {	/* some entries only lead on, as between blocks */
		if (n % 5 == 4) {
			seg[n] = (struct vio_seg){ &seg[n + 1], VIO_SEG_LINK };
			n++;
			continue;
		}
		size_t len = 1 + random32(&seed) % 4;
		seg[n++] = (struct vio_seg){ bytes + total, len };
		total += (unsigned)len;
	}
	if (seg[n - 1].len == VIO_SEG_LINK)
		n--;
	for (unsigned round = 0; round < 3000; round++) {
		struct vio_cur c = { seg, 0, total, 0 };
		unsigned at = 0;
		for (unsigned i = 0; i < total; i++)
			copy[i] = bytes[i] = (unsigned char)random32(&seed);
		while (c.left) {
			unsigned k = random32(&seed) % (total / 3);
			bool fits = k <= c.left;
			size_t len;
			uint64_t held;
			struct vio_seg v[SEGS];
			switch (random32(&seed) % 6) {
			case 0:
				assert_int_equal(vio_cur_get(&c, out, k), fits);
				if (fits)
					assert_memory_equal(out, copy + at, k);
				at += fits ? k : 0;
				break;
			case 1:
				memset(out, (int)round, k);
				assert_int_equal(vio_cur_put(&c, out, k), fits);
				memset(copy + at, (int)round, fits ? k : 0);
				at += fits ? k : 0;
				break;
			case 2:
				assert_int_equal(vio_cur_zero(&c, k), fits);
				memset(copy + at, 0, fits ? k : 0);
				at += fits ? k : 0;
				break;
			case 3:
				k = fits ? k : (unsigned)c.left;
				vio_cur_skip(&c, k);
				at += k;
				break;
			case 4: {
				k = fits ? k : (unsigned)c.left;
				struct vio_cur head = c, tail = vio_cur_split(&head, k);
				assert_int_equal(head.left, k);
				assert_int_equal(tail.left, c.left - k);
				assert_int_equal(tail.done, 0);
				assert_true(vio_cur_get(&head, out, k));
				assert_true(vio_cur_get(&tail, out + k, c.left - k));
				assert_memory_equal(out, copy + at, c.left);
				break;
			}
			default: {
				unsigned segs = vio_cur_segs(&c, v, 3, k, &held);
				unsigned sum = 0;
				for (unsigned i = 0; i < segs; i++) {
					assert_memory_equal(v[i].base, copy + at + sum, v[i].len);
					sum += (unsigned)v[i].len;
				}
				assert_int_equal(sum, held);
				assert_true(held <= k && segs <= 3);
				void *front = vio_cur_front(&c, &len);
				assert_true(len > 0 && len <= c.left && *(unsigned char *)front == copy[at]);
			}
			}
			assert_int_equal(c.done, at);
			assert_int_equal(c.left, total - at);
		}
		assert_memory_equal(bytes, copy, total);
		size_t none;
		assert_null(vio_cur_front(&c, &none));
	}
}

/* ---- The dirty log ---- */

struct image { unsigned char *bytes[PAIR_REGIONS + 1]; };

static void take(struct pair *p, struct image *m)
{
	for (unsigned i = 0; i < p->mem.count; i++) {
		m->bytes[i] = m->bytes[i] ? m->bytes[i] : malloc(p->region[i].size);
		memcpy(m->bytes[i], p->region[i].host, p->region[i].size);
	}
}

static bool marked(const struct pair *p, uint64_t gpa)
{
	uint64_t page = gpa / PAGE;
	return page / 8 < p->mem.dirty.bytes && p->mem.dirty.bits[page / 8] >> page % 8 & 1;
}

/* Every page that differs from m stands in the log. */
static void changes_are_marked(struct pair *p, const struct image *m)
{
	for (unsigned i = 0; i < p->mem.count; i++)
		for (uint64_t b = 0, n; b < p->region[i].size; b += n) {
			n = p->region[i].size - b < PAGE ? p->region[i].size - b : PAGE;
			if (!marked(p, p->region[i].gpa + b) && memcmp(m->bytes[i] + b, p->region[i].host + b, n))
				fail_msg("page %lu of region %u was written and is not marked", b / PAGE, i);
		}
}

/* A front end that has just fetched and cleared the log copies the pages it found.  What is written later must show again. */
static void fetch_log(struct pair *p, struct image *m)
{
	memset(p->mem.dirty.bits, 0, p->mem.dirty.bytes);
	take(p, m);
}

enum { R_PAGES = 3 };	/* of the buffers' region: readable buffers; what follows is writable */

static bool add_logged(struct pair *p, uint32_t *seed)
{
	uint64_t r = PAIR_BUFFERS + random32(seed) % (R_PAGES * PAGE - 100);
	uint64_t w = PAIR_BUFFERS + R_PAGES * PAGE + random32(seed) % (p->size * PAIR_AREA - R_PAGES * PAGE - 100);
	struct vio_buf b[3] = { { r, 1 + random32(seed) % 100 }, { w, 1 + random32(seed) % 50 }, { w + 50, 1 + random32(seed) % 50 } };

	return vio_drvq_add(&p->drv, b, 1, random32(seed) % 3, p);
}

static void serve_logged(struct pair *p, uint32_t *seed, struct vio_chain **held, unsigned *n)
{
	struct vio_chain *c;

	switch (random32(seed) % 8) {
	case 0: case 1: case 2:
		if (*n < 64 && (c = vio_devq_pop(&p->dev)))
			held[(*n)++] = c;
		break;
	case 3: case 4: case 5:
		if (*n == 0)
			break;
		c = held[--*n];
		vio_cur_zero(&c->w, 0);
		while (c->w.left && random32(seed) % 16)
			vio_cur_put(&c->w, &(unsigned char){ (unsigned char)random32(seed) }, 1);
		if (c->w.left)	/* in-place I/O that failed: written, but not said so */
			*(unsigned char *)vio_cur_front(&c->w, &(size_t){ 0 }) = (unsigned char)random32(seed);
		vio_devq_push(&p->dev, c);
		break;
	case 6:
		vio_devq_flush(&p->dev);
		break;
	default:
		vio_devq_quiet(&p->dev);
		if (random32(seed) % 2)
			vio_devq_listen(&p->dev);
	}
}

static void every_write_is_logged(void **state)
{
	unsigned bits = (unsigned)(uintptr_t)*state;
	struct pair *p = pair_new(256, WHOLE, bits & 1, bits & 2, bits & 4, bits & 8);
	struct vio_chain *held[64];
	struct image m = { { NULL } };
	unsigned n = 0;
	uint32_t seed = 0xabcdef ^ bits, len;

	p->mem.dirty.bytes = (PAIR_BUFFERS + 0x100000) / PAGE / 8;
	p->mem.dirty.bits = calloc(1, p->mem.dirty.bytes);
	assert_null(pair_device(p, pair_first_base(p)));
	for (unsigned i = 0; i < 4000; i++) {
		while (random32(&seed) % 3 && add_logged(p, &seed))
			;
		vio_drvq_kick_due(&p->drv);
		if (random32(&seed) % 2)
			while (vio_drvq_get(&p->drv, &len))
				;
		vio_drvq_listen(&p->drv);
		fetch_log(p, &m);
		serve_logged(p, &seed, held, &n);
		changes_are_marked(p, &m);
		for (unsigned page = 0; page < R_PAGES; page++)
			assert_false(marked(p, PAIR_BUFFERS + page * PAGE));
	}
	assert_true(p->dev.stats.chains > 500);
	while (n)
		vio_devq_push(&p->dev, held[--n]);
	for (unsigned i = 0; i < p->mem.count; i++)
		free(m.bytes[i]);
	free(p->mem.dirty.bits);
	pair_free(p);
}

/* ---- Memory that goes ---- */

static unsigned released;
static void release(struct vio_mem *m) { (void)m; released++; }

static void pins(void **state)
{
	struct pair *p = pair_new(64, APART, *state, true, false, false);
	struct vio_mem next = p->mem;
	struct vio_chain *c[4];
	const struct vio_region *a = &p->region[1], *b = &p->region[3];

	assert_null(pair_device(p, pair_first_base(p)));
	p->mem.release = release;
	next.release = release;
	struct vio_buf r[4][2] = { { { a->gpa, 8 }, { b->gpa, 8 } }, { { a->gpa, 4 } }, { { b->gpa - 4, 8 } }, { { b->gpa + 8, 8 } } };
	for (unsigned i = 0; i < 4; i++)
		assert_true(vio_drvq_add(&p->drv, r[i], i != 3, i == 0 || i == 3, p));
	vio_drvq_kick_due(&p->drv);
	for (unsigned i = 0; i < 4; i++)
		assert_non_null(c[i] = vio_devq_pop(&p->dev));
	released = 0;
	assert_int_equal(p->mem.refs, 2);
	vio_devq_set_mem(&p->dev, &next, b);
	assert_int_equal(p->mem.refs, 1);
	assert_int_equal(next.refs, 2);
	assert_int_equal(p->dev.pins, 3);	/* 0 and 3 write to it, 2 reads over its edge; 1 does not know it */
	vio_devq_set_mem(&p->dev, &next, b);
	assert_int_equal(p->dev.pins, 3);	/* said twice, counted once */
	vio_devq_push(&p->dev, c[1]);
	assert_int_equal(p->dev.pins, 3);
	vio_devq_push(&p->dev, c[3]);
	vio_devq_push(&p->dev, c[0]);
	assert_int_equal(p->dev.pins, 1);
	vio_devq_push(&p->dev, c[2]);
	assert_int_equal(p->dev.pins, 0);
	assert_true(vio_drvq_add(&p->drv, r[1], 1, 0, p));	/* the rest goes on */
	vio_drvq_kick_due(&p->drv);
	assert_non_null(c[0] = vio_devq_pop(&p->dev));
	vio_devq_push(&p->dev, c[0]);
	assert_true(vio_drvq_add(&p->drv, r[3], 0, 1, p));	/* one that is put back holds nothing either */
	vio_drvq_kick_due(&p->drv);
	assert_non_null(c[0] = vio_devq_pop(&p->dev));
	vio_devq_set_mem(&p->dev, &next, b);
	assert_int_equal(p->dev.pins, 1);
	vio_devq_unpop(&p->dev, c[0]);
	assert_int_equal(p->dev.pins, 0);
	assert_non_null(c[0] = vio_devq_pop(&p->dev));
	vio_devq_push(&p->dev, c[0]);
	vio_devq_stop(&p->dev);
	assert_int_equal(next.refs, 1);
	vio_mem_unref(&next);
	assert_int_equal(released, 1);
	p->mem.release = NULL;
	pair_free(p);
}

static void a_last_hit_does_not_outlive_its_memory(void **state)
{
	struct pair *p = pair_new(64, APART, *state, false, false, false);
	struct vio_mem less = p->mem;
	struct vio_buf b = { p->region[p->mem.count - 1].gpa, 8 };

	assert_null(pair_device(p, pair_first_base(p)));
	assert_true(vio_drvq_add(&p->drv, &b, 1, 0, p));
	assert_true(vio_drvq_add(&p->drv, &b, 1, 0, p));
	vio_drvq_kick_due(&p->drv);
	vio_devq_push(&p->dev, vio_devq_pop(&p->dev));
	less.refs = 1;
	less.count--;
	vio_devq_set_mem(&p->dev, &less, NULL);
	assert_null(vio_devq_pop(&p->dev));
	assert_string_equal(p->dev.broken, "buffer outside guest memory");
	pair_free(p);
}

static void dropped_chains_vanish(void **state)
{
	struct pair *p = pair_new(8, WHOLE, *state, false, false, false);
	struct vio_buf b = { PAIR_BUFFERS, 8 };
	struct vio_chain *c[3];
	uint32_t len;

	assert_null(pair_device(p, pair_first_base(p)));
	for (unsigned i = 0; i < 3; i++)
		assert_true(vio_drvq_add(&p->drv, &b, 1, 0, p));
	vio_drvq_kick_due(&p->drv);
	for (unsigned i = 0; i < 3; i++)
		c[i] = vio_devq_pop(&p->dev);
	vio_devq_push(&p->dev, c[0]);
	vio_devq_drop(&p->dev);
	vio_devq_push(&p->dev, c[1]);
	vio_devq_push(&p->dev, c[2]);
	vio_devq_flush(&p->dev);
	assert_int_equal(p->dev.inflight, 0);
	assert_ptr_equal(vio_drvq_get(&p->drv, &len), p);	/* pushed before */
	assert_null(vio_drvq_get(&p->drv, &len));
	assert_null(p->drv.broken);
	pair_free(p);
}

/* ---- An IOMMU ---- */

#define IOVA UINT64_C(0x500000)

/* I/O pages of 64 bytes over the buffers' region; uva is what the front end calls it. */
static void iommu(void **state)
{
	struct pair *p = pair_new(64, WHOLE, *state, true, false, false);
	uint64_t uva = 0x7000000000, table = p->region[0].gpa + p->ring_bytes;
	struct vio_iotlb_entry e[] = {
		{ IOVA, 64, uva, VIO_MEM_READ },
		{ IOVA + 64, 64, uva + 64, VIO_MEM_RW },
		{ IOVA + 128, 64, uva + 1024, VIO_MEM_RW },		/* elsewhere in the host */
	};
	struct vio_mem m[4];
	struct vio_chain *c;

	p->region[1].uva = uva;
	p->region[0].uva = 0x6000000000;
	for (unsigned i = 0; i < 4; i++) {
		m[i] = p->mem;
		m[i].refs = 1;
		m[i].iommu = true;
		m[i].iotlb = e;
		m[i].iotlb_count = i;
	}
	p->mem = m[0];
	(void)table;
	assert_null(pair_device(p, pair_first_base(p)));
	for (unsigned i = 0; i < 128; i++)
		p->region[1].host[i] = (unsigned char)i;
	/* A buffer over two pages: each is asked for, nothing is consumed meanwhile. */
	struct vio_buf over[] = { { IOVA + 60, 8 }, { IOVA + 100, 4 } };
	p->drv.indirect = NULL;
	p->drv.indirect_max = 0;
	assert_true(vio_drvq_add(&p->drv, over, 1, 1, p));
	vio_drvq_kick_due(&p->drv);
	assert_null(vio_devq_pop(&p->dev));
	assert_int_equal(p->dev.why_empty, VIO_WAIT_IOTLB);
	assert_int_equal(p->dev.miss_addr, IOVA + 60);
	assert_int_equal(p->dev.miss_perm, VIO_MEM_READ);
	vio_devq_set_mem(&p->dev, &m[1], NULL);
	assert_null(vio_devq_pop(&p->dev));
	assert_int_equal(p->dev.why_empty, VIO_WAIT_IOTLB);
	assert_int_equal(p->dev.miss_addr, IOVA + 64);
	vio_devq_set_mem(&p->dev, &m[2], NULL);
	assert_non_null(c = vio_devq_pop(&p->dev));
	unsigned char got[8];
	assert_true(vio_cur_get(&c->r, got, 8));
	assert_memory_equal(got, "\x3c\x3d\x3e\x3f\x40\x41\x42\x43", 8);
	vio_devq_push(&p->dev, c);
	/* The right to write is asked for by itself. */
	struct vio_buf write = { IOVA, 4 };
	assert_true(vio_drvq_add(&p->drv, &write, 0, 1, p));
	vio_drvq_kick_due(&p->drv);
	assert_null(vio_devq_pop(&p->dev));
	assert_int_equal(p->dev.why_empty, VIO_WAIT_IOTLB);
	assert_int_equal(p->dev.miss_perm, VIO_MEM_WRITE);
	e[0].perm = VIO_MEM_RW;
	vio_devq_set_mem(&p->dev, &m[2], NULL);
	assert_non_null(c = vio_devq_pop(&p->dev));
	vio_devq_push(&p->dev, c);
	assert_null(p->dev.broken);
	pair_free(p);
}

/* An indirect table over I/O pages: what is missing is asked for; pages that are one piece in the host are one. */
static void iommu_tables(void **state)
{
	bool packed = *state;
	struct pair *p = pair_new(64, WHOLE, packed, true, false, false);
	uint64_t uva = 0x7000000000;
	struct vio_iotlb_entry e[] = {
		{ IOVA, 64, uva, VIO_MEM_RW }, { IOVA + 64, 64, uva + 64, VIO_MEM_RW }, { IOVA + 128, 64, uva + 1024, VIO_MEM_RW },
	};
	struct vio_mem m[4];
	struct vio_chain *c;

	p->region[1].uva = uva;
	for (unsigned i = 0; i < 4; i++) {
		m[i] = p->mem;
		m[i].refs = 1;
		m[i].iommu = true;
		m[i].iotlb = e;
		m[i].iotlb_count = i;
	}
	p->mem = m[1];
	assert_null(pair_device(p, pair_first_base(p)));
	/* The driver's tables: one of 3 descriptors at IOVA + 48, over the first page's end. */
	p->drv.indirect = (struct vio_split_desc *)(void *)(p->region[1].host + 48);
	p->drv.indirect_addr = IOVA + 48;
	p->drv.indirect_max = 3;
	struct vio_buf b[3] = { { IOVA + 8, 1 }, { IOVA + 9, 1 }, { IOVA + 10, 1 } };
	assert_true(vio_drvq_add(&p->drv, b, 3, 0, p));
	assert_true(vio_drvq_add(&p->drv, b, 3, 0, p));	/* at 96, into the third page, which is elsewhere in the host */
	vio_drvq_kick_due(&p->drv);
	assert_null(vio_devq_pop(&p->dev));
	assert_int_equal(p->dev.why_empty, VIO_WAIT_IOTLB);
	assert_int_equal(p->dev.miss_addr, IOVA + 64);
	vio_devq_set_mem(&p->dev, &m[2], NULL);
	assert_non_null(c = vio_devq_pop(&p->dev));
	assert_int_equal(c->r.left, 3);
	vio_devq_push(&p->dev, c);
	assert_null(vio_devq_pop(&p->dev));
	assert_int_equal(p->dev.why_empty, VIO_WAIT_IOTLB);
	assert_int_equal(p->dev.miss_addr, IOVA + 128);
	vio_devq_set_mem(&p->dev, &m[3], NULL);
	assert_null(vio_devq_pop(&p->dev));
	assert_string_equal(p->dev.broken, "indirect table outside guest memory, or in two regions of it");
	pair_free(p);
}

#define PAIR_OF(fn, what) TS(fn, what " (split)", 0), TS(fn, what " (packed)", 1)

int main(void)
{
	enum { LOGGED = 16 };
	static char names[LOGGED][160];
	static struct CMUnitTest tests[] = {
		[LOGGED] = T(tables_that_are_refused, "memory tables that overlap, wrap or are aligned differently are refused in words"),
		T(spans, "a span is in one piece, in memory, allowed, and does not wrap"),
		T(log_edges, "the dirty log ends where it ends"),
		T(cursors, "cursors: all or nothing, over links, cut in two, as segments"),
		PAIR_OF(pins, "memory that is removed waits for the chains that use it, and for no others"),
		PAIR_OF(a_last_hit_does_not_outlive_its_memory, "the range last hit is forgotten with its memory"),
		PAIR_OF(dropped_chains_vanish, "chains pushed while dropping vanish, those before stay"),
		PAIR_OF(iommu, "behind an IOMMU a chain waits for the first byte that is missing, and consumes nothing"),
		PAIR_OF(iommu_tables, "behind an IOMMU an indirect table waits for its missing page"),
	};

	for (unsigned bits = 0; bits < LOGGED; bits++) {
		snprintf(names[bits], sizeof names[bits], "every page written is in the log, also one fetched meanwhile (%s%s%s%s)",
		    bits & 1 ? "packed" : "split", bits & 2 ? ", indirect" : "", bits & 4 ? ", event index" : "",
		    bits & 8 ? ", in order" : "");
		tests[bits] = (struct CMUnitTest)TS(every_write_is_logged, names[bits], bits);
	}
	return vio_tests("guest memory", tests, sizeof tests / sizeof *tests);
}
