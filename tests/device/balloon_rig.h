/* A balloon over a back end that writes down what it is asked, and fills what it is given with zeroes. */
#ifndef VIO_TESTS_DEVICE_BALLOON_RIG_H
#define VIO_TESTS_DEVICE_BALLOON_RIG_H
#include <vio/device/balloon.h>
#include "rig.h"

enum { FIRST = RIG_GPA / VIO_BALLOON_PAGE };	/* the number of guest memory's first page */
enum { PAGES = RIG_BYTES / VIO_BALLOON_PAGE, FREE = PAGES / 2 };	/* pages from FREE on are nobody's */
enum { LOG = 8192 };

struct call { char what; enum vio_pages_promise promise; uint64_t at, len; };	/* 'g'ive, 't'ake, 'h'int, 'f'orget */

struct bal {
	struct rig *g;
	struct vio_pages pages;		/* first but one: see bal_of() */
	struct vio_balloon_options o;
	struct call log[LOG];
	unsigned logged;
	bool keeps_hints;
	int error;
	unsigned news[8];
};

static inline struct bal *bal_of(struct vio_pages *p) { return (struct bal *)((char *)p - offsetof(struct bal, pages)); }

static inline void bal_log(struct vio_pages *p, char what, enum vio_pages_promise promise, uint64_t at, uint64_t len)
{
	struct bal *b = bal_of(p);
	if (b->logged < LOG)
		b->log[b->logged] = (struct call){ what, promise, at, len };
	b->logged++;
}

static inline int64_t bal_give(struct vio_pages *p, const struct vio_region *r, uint64_t at, uint64_t len, enum vio_pages_promise promise)
{
	assert_true(at <= r->size && len <= r->size - at && len);
	bal_log(p, 'g', promise, at, len);
	if (bal_of(p)->error)
		return -bal_of(p)->error;
	memset(r->host + at, 0, len);
	return (int64_t)len;
}

static inline void bal_take(struct vio_pages *p, const struct vio_region *r, uint64_t at, uint64_t len)
{
	assert_true(at <= r->size && len <= r->size - at && len);
	bal_log(p, 't', 0, at, len);
}

static inline void bal_hint(struct vio_pages *p, const struct vio_region *r, uint64_t at, uint64_t len)
{
	assert_true(at <= r->size && len <= r->size - at && len);
	bal_log(p, 'h', 0, at, len);
}

static inline void bal_forget(struct vio_pages *p, const struct vio_mem *mem) { (void)mem; bal_log(p, 'f', 0, 0, 0); }
static inline bool bal_hints_end(struct vio_pages *p) { return bal_of(p)->keeps_hints; }
static inline void bal_nothing(struct vio_pages *p) { (void)p; }
static inline void bal_news(void *arg, enum vio_pages_news what) { ((struct bal *)arg)->news[what]++; }

static const struct vio_pages_ops bal_ops = {
	.give = bal_give, .take = bal_take, .forget = bal_forget, .hint = bal_hint, .hints_end = bal_hints_end, .close = bal_nothing,
};

#define ALL_BALLOON VIO_BALLOON_F_MUST_TELL_HOST, VIO_BALLOON_F_STATS_VQ, VIO_BALLOON_F_DEFLATE_ON_OOM, \
	VIO_BALLOON_F_FREE_PAGE_HINT, VIO_BALLOON_F_PAGE_REPORTING, VIO_F_VERSION_1

static inline struct bal *bal_new(void)
{
	struct bal *b = calloc(1, sizeof *b);

	assert_non_null(b);
	b->g = rig_new();
	memset(b->g->bytes, 0xa5, RIG_BYTES);
	b->pages = (struct vio_pages){ .ops = &bal_ops, .news = bal_news, .news_arg = b };
	b->o = (struct vio_balloon_options){ .pages = &b->pages, .deflate_on_oom = true };
	return b;
}

static inline struct bal *bal_start(struct vio_features f)
{
	struct bal *b = bal_new();

	assert_null(rig_open(b->g, &vio_dev_balloon, &b->o));
	memset(b->g->bytes, 0, RIG_BYTES / 2);		/* rings */
	rig_start(b->g, VIO_BALLOON_QUEUES, f);
	b->logged = 0;
	return b;
}

static inline void bal_close(struct bal *b)
{
	rig_close(b->g);
	free(b);
}

static inline struct vio_balloon_config bal_config(const struct bal *b)
{
	struct vio_balloon_config c;
	vio_dev_config_read(b->g->dev, 0, &c, sizeof c);
	return c;
}

static inline uint32_t bal_cmd_id(const struct bal *b) { return vio_le32_get(bal_config(b).free_page_hint_cmd_id); }

/* One chain there and back: readable bytes are copied into guest memory first. */
static inline void bal_say(struct bal *b, uint16_t queue, const void *bytes, size_t n, size_t cut, void *w, size_t w_len)
{
	unsigned char *r = n ? rig_take(b->g, n) : NULL;
	uint32_t used = 1;

	if (n)
		memcpy(r, bytes, n);
	assert_true(rig_add(b->g, queue, r, n, cut, w, w_len, 0));
	rig_kick(b->g, queue);
	vio_loop_pump(&b->g->wire, UINT32_MAX);
	assert_non_null(rig_get(b->g, queue, &used));
	assert_int_equal(used, 0);
}

static inline void bal_say_id(struct bal *b, uint32_t id)
{
	vio_le32 wire = vio_le32_of(id);
	bal_say(b, VIO_BALLOON_Q_HINTS, &wire, sizeof wire, 0, NULL, 0);
}

/* Page numbers, of guest memory's first page on. */
static inline void bal_numbers(struct bal *b, uint16_t queue, const unsigned *page, size_t n, size_t cut)
{
	vio_le32 wire[1024];

	for (size_t i = 0; i < n; i++)
		wire[i] = vio_le32_of(FIRST + page[i]);
	bal_say(b, queue, wire, n * sizeof *wire, cut, NULL, 0);
}

static inline unsigned char *bal_page(const struct bal *b, unsigned page) { return b->g->bytes + (size_t)page * VIO_BALLOON_PAGE; }

/* Is every byte of page what? */
static inline bool bal_is(const struct bal *b, unsigned page, unsigned char what)
{
	const unsigned char *p = bal_page(b, page);
	return p[0] == what && !memcmp(p, p + 1, VIO_BALLOON_PAGE - 1);
}
#endif
