/*
 * Memory balloon (virtio 1.4, section 5.5).
 *
 *   inflateq, deflateq   arrays of page numbers: the guest does without these pages, uses these again
 *   statsq               one buffer, which the driver fills and the device keeps until it wants another
 *   free_page_vq         hints: command ids as readable bytes, free pages as writable buffers
 *   reporting_vq         free pages as writable buffers: the host may have them at once
 *
 * What the guest names is clipped to the regions of its memory, and goes to the back end (backend/pages.h) in runs of
 * neighbours.  A long request is served over several turns; its chain is then in flight, and ends early when the queue stops:
 * the rest of its pages merely stays where it is.  The statistics buffer is looked at and put back, so that it is never in
 * flight and no stop waits for it.
 */
#include <vio/device/balloon.h>
#include <vio/ring/freestanding.h>

enum {
	TURN_COST = 4096,		/* of a turn: one for each call of the back end, and one for each 64 KiB given */
	GIVE_BYTES = 64 << 20,		/* in one call */
	STATS_ENTRIES = 64		/* that are looked at; there are ten tags */
};

struct balloon_req {
	struct vio_chain chain;
	struct vio_cur at;		/* what is left to do of it */
	bool bad;
};

struct balloon {
	struct vio_dev dev;
	struct vio_pages *pages;
	struct vio_balloon_config config;
	struct balloon_req *work[VIO_BALLOON_QUEUES];	/* under way */
	uint32_t last_id;		/* command ids are never used twice, unless there are none left */
	bool id_free;			/* the driver has sent STOP since last_id was made */
	bool hinting;			/* the driver has begun with the id in the config space */
	bool stats_seen;		/* the buffer in the statsq has been read */
	bool stats_asked;
	uint64_t stats_at;		/* when the next are due by themselves */
};

static struct balloon *balloon_of(struct vio_dev *d) { return (struct balloon *)d; }

static void tell(struct balloon *b, enum vio_pages_news what)
{
	if (b->pages->news)
		b->pages->news(b->pages->news_arg, what);
}

/* ---- Giving pages back ---- */

/* Part of a region; no bytes: none. */
struct run { const struct vio_region *r; uint64_t at, len; };

static uint32_t cost(uint64_t bytes) { return 1 + (uint32_t)(bytes >> 16); }

static void give(struct balloon *b, const struct run *run, enum vio_pages_promise promise)
{
	struct vio_pages *p = b->pages;
	int64_t got = p->ops->give(p, run->r, run->at, run->len, promise);

	if (got >= 0) {
		p->told.came_back += (uint64_t)got;
		vio_mem_dirty_host(b->dev.mem, run->r->host + run->at, run->len);	/* they read as zeroes: somebody's copy does not */
		return;
	}
	p->told.failed++;
	p->told.error = (int)-got;
	tell(b, VIO_NEWS_FAILED);
}

/* ---- inflateq and deflateq: page numbers (5.5.6) ---- */

static void end_run(struct balloon *b, struct run *run, bool inflate, uint32_t *spent)
{
	struct vio_pages *p = b->pages;

	if (!run->len)
		return;
	if (inflate) {
		p->told.inflated += run->len;
		/* Without MUST_TELL_HOST the driver may use a page again before we hear of it: then nothing can be gathered. */
		give(b, run, vio_has(b->dev.accepted, VIO_BALLOON_F_MUST_TELL_HOST) ? VIO_PAGES_KEPT : VIO_PAGES_ONCE);
	} else {
		p->told.deflated += run->len;
		p->ops->take(p, run->r, run->at, run->len);
	}
	*spent += cost(run->len);
	run->len = 0;
}

/* A page that lies in a region with all its bytes is next to the run, on either side, or begins another. */
static bool add_page(struct balloon *b, const struct vio_mem *mem, struct run *run, uint32_t number, bool inflate, uint32_t *spent)
{
	uint64_t gpa = (uint64_t)number * VIO_BALLOON_PAGE;
	const struct vio_region *r = vio_mem_region(mem, gpa);

	if (!r || r->perm != VIO_MEM_RW || r->size - (gpa - r->gpa) < VIO_BALLOON_PAGE)
		return false;
	uint64_t at = gpa - r->gpa;
	if (run->len && run->r == r && run->len < GIVE_BYTES) {
		if (at == run->at + run->len) {
			run->len += VIO_BALLOON_PAGE;
			return true;
		}
		if (at + VIO_BALLOON_PAGE == run->at) {
			run->at = at;
			run->len += VIO_BALLOON_PAGE;
			return true;
		}
	}
	end_run(b, run, inflate, spent);
	*run = (struct run){ r, at, VIO_BALLOON_PAGE };
	return true;
}

/* True: done with it.  A driver may cut its numbers as it likes; what is no whole number at the end means nothing. */
static bool serve_numbers(struct balloon *b, struct vio_devq *q, struct balloon_req *req, uint32_t *spent)
{
	bool inflate = q->index == VIO_BALLOON_Q_INFLATE;
	struct run run = { NULL, 0, 0 };
	vio_le32 numbers[64];

	while (req->at.left >= sizeof numbers[0] && *spent < TURN_COST) {
		uint64_t n = req->at.left / sizeof numbers[0];
		if (n > sizeof numbers / sizeof numbers[0])
			n = sizeof numbers / sizeof numbers[0];
		vio_cur_get(&req->at, numbers, n * sizeof numbers[0]);
		for (uint64_t i = 0; i < n; i++)
			if (!add_page(b, q->mem, &run, vio_le32_get(numbers[i]), inflate, spent)) {
				req->bad = true;
				*spent += 1;
			}
	}
	end_run(b, &run, inflate, spent);
	if (req->at.left >= sizeof numbers[0])
		return false;
	req->bad |= req->at.left != 0 || req->chain.r.left == 0;
	return true;
}

/* ---- reporting_vq and free_page_vq: writable buffers (5.5.6.4, 5.5.6.6) ---- */

/* 5.5.6.6: a reported page may change to poison_val only, and giving it back makes it zeroes. */
static bool may_zero(const struct balloon *b)
{
	return !vio_has(b->dev.accepted, VIO_BALLOON_F_PAGE_POISON) || vio_le32_get(b->config.poison_val) == 0;
}

static void serve_range(struct balloon *b, struct vio_devq *q, const struct run *run)
{
	struct vio_pages *p = b->pages;

	if (q->index == VIO_BALLOON_Q_REPORTS) {
		p->told.reported += run->len;
		if (may_zero(b))
			give(b, run, VIO_PAGES_ONCE);
	} else if (b->hinting) {
		p->told.hinted += run->len;
		if (p->ops->hint)
			p->ops->hint(p, run->r, run->at, run->len);
	}
}

/* True: done with it.  Memory that is being taken away under it is left alone. */
static bool serve_ranges(struct balloon *b, struct vio_devq *q, struct balloon_req *req, uint32_t *spent)
{
	while (req->at.left && *spent < TURN_COST) {
		size_t n;
		void *front = vio_cur_front(&req->at, &n);
		if (n > GIVE_BYTES)
			n = GIVE_BYTES;
		const struct vio_region *r = vio_mem_region_of(q->mem, front);
		if (r) {
			struct run run = { r, (uintptr_t)front - (uintptr_t)r->host, n };
			if (n > r->size - run.at)
				run.len = n = (size_t)(r->size - run.at);
			serve_range(b, q, &run);
		}
		*spent += cost(n);
		vio_cur_skip(&req->at, n);
	}
	return req->at.left == 0;
}

/* ---- Hinting: command ids (5.5.6.4) ---- */

static void set_cmd_id(struct balloon *b, uint32_t id)
{
	b->hinting = false;		/* pages of any other id are ignored from now on */
	b->pages->told.hinting = id >= VIO_BALLOON_CMD_ID_FIRST;
	b->config.free_page_hint_cmd_id = vio_le32_of(id);
	vio_dev_config_changed(&b->dev);
}

static uint32_t cmd_id(const struct balloon *b) { return vio_le32_get(b->config.free_page_hint_cmd_id); }

/* Nobody needs the hints of a daemon any more once they are counted; who copies memory says so himself. */
static void end_of_round(struct balloon *b)
{
	struct vio_pages *p = b->pages;

	if (p->ops->hints_end && p->ops->hints_end(p))
		b->hinting = false;
	else
		set_cmd_id(b, VIO_BALLOON_CMD_ID_DONE);
	p->told.hinting = false;
	tell(b, VIO_NEWS_HINTS_END);
}

/* The readable bytes of a chain in the free_page_vq.  False: they are no command id. */
static bool heard_cmd_id(struct balloon *b, struct balloon_req *req)
{
	struct vio_cur c = req->chain.r;
	vio_le32 wire;

	if (c.left == 0)
		return req->chain.w.left != 0;
	if (c.left != sizeof wire)
		return false;
	vio_cur_get(&c, &wire, sizeof wire);
	uint32_t id = vio_le32_get(wire);
	if (id == VIO_BALLOON_CMD_ID_STOP) {
		b->id_free = true;
		if (b->hinting)
			end_of_round(b);
		return true;
	}
	b->hinting = id >= VIO_BALLOON_CMD_ID_FIRST && id == cmd_id(b);
	return b->hinting;
}

/* A new round has a new id: NULL, or why there is none. */
static const char *begin_round(struct balloon *b)
{
	if (!vio_has(b->dev.accepted, VIO_BALLOON_F_FREE_PAGE_HINT))
		return "the guest's driver gives no hints (FREE_PAGE_HINT was not negotiated)";
	if (b->last_id == UINT32_MAX && !b->id_free)
		return "the guest has not ended the last round of hints yet, and there are no command ids left: try again later";
	b->last_id = b->last_id == UINT32_MAX ? VIO_BALLOON_CMD_ID_FIRST : b->last_id + 1;
	b->id_free = false;
	b->pages->told.hinted = 0;
	set_cmd_id(b, b->last_id);
	return NULL;
}

/* ---- statsq (5.5.6.2) ---- */

static void read_stats(struct balloon *b, struct vio_devq *q, const struct vio_chain *chain)
{
	struct vio_pages_told *told = &b->pages->told;
	struct vio_cur c = chain->r;
	struct vio_balloon_stat s;

	if (c.left % sizeof s)		/* whole entries count, whatever else there is */
		vio_dev_refused(q);
	told->stats_has = 0;
	for (unsigned i = 0; i < STATS_ENTRIES && vio_cur_get(&c, &s, sizeof s); i++) {
		uint16_t tag = vio_le16_get(s.tag);
		if (tag >= VIO_BALLOON_S_COUNT)
			continue;
		told->stats_has |= (uint16_t)(1u << tag);
		told->stats[tag] = vio_le64_get(s.val);
	}
	told->stats_count++;
	told->stats_at_ns = vio_dev_now(&b->dev);
	tell(b, VIO_NEWS_STATS);
}

static bool stats_due(const struct balloon *b)
{
	return b->stats_asked || (b->pages->stats_every_ns && vio_dev_now(&b->dev) >= b->stats_at);
}

static void stats_queue(struct balloon *b, struct vio_devq *q)
{
	struct vio_chain *c;

	while ((c = vio_devq_pop(q))) {
		if (!b->stats_seen) {
			b->stats_seen = true;
			b->stats_at = vio_dev_now(&b->dev) + b->pages->stats_every_ns;
			read_stats(b, q, c);
		}
		if (!stats_due(b)) {
			vio_devq_unpop(q, c);
			q->why_empty = VIO_WAIT_DEVICE;
			vio_dev_alarm(q, b->pages->stats_every_ns ? b->stats_at : UINT64_MAX);
			return;
		}
		b->stats_asked = b->stats_seen = false;
		vio_dev_push(q, c);
	}
}

/* ---- Queues ---- */

static bool exists(const struct balloon *b, unsigned queue)
{
	static const unsigned char needs[VIO_BALLOON_QUEUES] = { VIO_F_VERSION_1, VIO_F_VERSION_1, VIO_BALLOON_F_STATS_VQ,
		VIO_BALLOON_F_FREE_PAGE_HINT, VIO_BALLOON_F_PAGE_REPORTING };
	return vio_has(b->dev.accepted, needs[queue]);
}

/* True: done with it. */
static bool serve(struct balloon *b, struct vio_devq *q, struct balloon_req *req, uint32_t *spent)
{
	if (q->index == VIO_BALLOON_Q_INFLATE || q->index == VIO_BALLOON_Q_DEFLATE)
		return serve_numbers(b, q, req, spent);
	return serve_ranges(b, q, req, spent);
}

static void begin(struct balloon *b, struct vio_devq *q, struct balloon_req *req)
{
	bool numbers = q->index == VIO_BALLOON_Q_INFLATE || q->index == VIO_BALLOON_Q_DEFLATE;

	req->at = numbers ? req->chain.r : req->chain.w;
	req->bad = false;
	if (!exists(b, q->index)) {
		req->at.left = 0;
		req->bad = true;
	} else if (q->index == VIO_BALLOON_Q_HINTS) {
		req->bad = !heard_cmd_id(b, req);
	} else if (q->index == VIO_BALLOON_Q_REPORTS) {
		req->bad = req->chain.w.left == 0;
	}
}

/* Nothing is written into a guest's buffers: the used length is 0. */
static void finish(struct balloon *b, struct vio_devq *q)
{
	struct balloon_req *req = b->work[q->index];

	b->work[q->index] = NULL;
	if (req->bad)
		vio_dev_refused(q);
	vio_dev_push(q, &req->chain);
}

static void balloon_queue(struct vio_dev *d, struct vio_devq *q)
{
	struct balloon *b = balloon_of(d);
	struct balloon_req **work = &b->work[q->index];
	uint32_t spent = 0;

	if (q->index == VIO_BALLOON_Q_STATS && exists(b, q->index)) {
		stats_queue(b, q);
		return;
	}
	for (;;) {
		if (!*work) {
			*work = (struct balloon_req *)vio_devq_pop(q);
			if (!*work)
				return;
			begin(b, q, *work);
		}
		if (!serve(b, q, *work, &spent)) {
			vio_devq_yield(q);
			return;
		}
		finish(b, q);
		if (spent >= TURN_COST)
			vio_devq_yield(q);
	}
}

/* A stop waits for nobody: what is left of a long request is let go. */
static void balloon_turn_end(struct vio_dev *d, struct vio_devq *q)
{
	struct balloon *b = balloon_of(d);

	if (b->work[q->index] && d->queue[q->index].state == VIO_QUEUE_STOPPING)
		finish(b, q);
}

static const char *balloon_queue_start(struct vio_dev *d, struct vio_devq *q)
{
	if (q->index == VIO_BALLOON_Q_STATS)
		balloon_of(d)->stats_seen = false;
	return NULL;
}

/* ---- What the host asks ---- */

static const char *ask(void *arg, enum vio_pages_ask what)
{
	struct balloon *b = arg;
	struct vio_dev_queue *stats = &b->dev.queue[VIO_BALLOON_Q_STATS];
	uint64_t pages = b->pages->target / VIO_BALLOON_PAGE;

	switch (what) {
	case VIO_ASK_TARGET:
		b->config.num_pages = vio_le32_of(pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX);
		vio_dev_config_changed(&b->dev);
		return NULL;
	case VIO_ASK_STATS:
		if (!vio_has(b->dev.accepted, VIO_BALLOON_F_STATS_VQ) || stats->state != VIO_QUEUE_STARTED)
			return "the guest's driver gives no statistics (or has not begun)";
		b->stats_asked = true;
		vio_dev_wake(&stats->ring);
		return NULL;
	case VIO_ASK_HINTS:
		return begin_round(b);
	case VIO_ASK_HINTS_STOP:
	case VIO_ASK_HINTS_DONE:
		set_cmd_id(b, what == VIO_ASK_HINTS_STOP ? VIO_BALLOON_CMD_ID_STOP : VIO_BALLOON_CMD_ID_DONE);
		return NULL;
	}
	return NULL;
}

/* ---- The device ---- */

static const uint8_t config_writable[sizeof(struct vio_balloon_config)] = {
	[offsetof(struct vio_balloon_config, actual)] = 0xff, 0xff, 0xff, 0xff,
	[offsetof(struct vio_balloon_config, poison_val)] = 0xff, 0xff, 0xff, 0xff,
};

static void balloon_config(struct vio_dev *d, uint32_t at, uint32_t len)
{
	struct balloon *b = balloon_of(d);

	if (at >= offsetof(struct vio_balloon_config, actual) + 4 || at + len <= offsetof(struct vio_balloon_config, actual))
		return;
	b->pages->told.actual = (uint64_t)vio_le32_get(b->config.actual) * VIO_BALLOON_PAGE;
	tell(b, VIO_NEWS_ACTUAL);
}

static void balloon_reset(struct vio_dev *d)
{
	struct balloon *b = balloon_of(d);

	b->config.actual = b->config.poison_val = vio_le32_of(0);
	b->config.free_page_hint_cmd_id = vio_le32_of(VIO_BALLOON_CMD_ID_STOP);
	b->hinting = b->stats_seen = b->stats_asked = false;
	b->pages->told.hinting = false;
	b->pages->told.actual = 0;
	b->pages->told.stats_has = 0;
	if (d->mem)
		b->pages->ops->forget(b->pages, d->mem);
}

/* Device-specific state: what the driver wrote, what it was asked for, the command id it was given, and the last that was made. */
struct state { vio_le32 actual, poison_val, cmd_id, last_id; uint8_t id_free, hinting, spare[2]; vio_le32 num_pages; };

static size_t balloon_save(struct vio_dev *d, void *to, size_t room)
{
	struct balloon *b = balloon_of(d);
	struct state s = { b->config.actual, b->config.poison_val, b->config.free_page_hint_cmd_id, vio_le32_of(b->last_id),
		b->id_free, b->hinting, { 0, 0 }, b->config.num_pages };

	if (to && room >= sizeof s)
		memcpy(to, &s, sizeof s);
	return sizeof s;
}

static const char *balloon_load(struct vio_dev *d, const void *from, size_t n)
{
	struct balloon *b = balloon_of(d);
	struct state s;

	if (n != sizeof s)
		return "the saved state of the balloon has another size: it was saved by another program";
	memcpy(&s, from, sizeof s);
	uint32_t id = vio_le32_get(s.cmd_id), last = vio_le32_get(s.last_id);
	if (s.id_free > 1 || s.hinting > 1 || last < VIO_BALLOON_CMD_ID_DONE || (id >= VIO_BALLOON_CMD_ID_FIRST && id != last) ||
	    (s.hinting && id < VIO_BALLOON_CMD_ID_FIRST))
		return "the saved state of the balloon contradicts itself";
	if (!b->pages->target) {	/* nobody has said otherwise here */
		b->pages->target = (uint64_t)vio_le32_get(s.num_pages) * VIO_BALLOON_PAGE;
		b->config.num_pages = s.num_pages;
	}
	b->config.actual = s.actual;
	b->config.poison_val = s.poison_val;
	b->config.free_page_hint_cmd_id = s.cmd_id;
	b->last_id = last;
	b->id_free = s.id_free;
	b->hinting = s.hinting;
	b->pages->told.hinting = id >= VIO_BALLOON_CMD_ID_FIRST;
	b->pages->told.actual = (uint64_t)vio_le32_get(s.actual) * VIO_BALLOON_PAGE;
	return NULL;
}

static const char *balloon_open(struct vio_dev *d, const void *options)
{
	const struct vio_balloon_options *o = options;
	struct balloon *b = balloon_of(d);

	if (o->queue_size > VIO_RING_SIZE_MAX)
		return "a queue has at most 32768 entries";
	if (o->pages->target / VIO_BALLOON_PAGE > UINT32_MAX)
		return "a balloon holds at most 16 TiB less a page";
	b->pages = o->pages;
	b->last_id = VIO_BALLOON_CMD_ID_DONE;
	b->config.num_pages = vio_le32_of((uint32_t)(o->pages->target / VIO_BALLOON_PAGE));
	if (!o->deflate_on_oom)
		vio_features_drop(&d->type_features, VIO_BALLOON_F_DEFLATE_ON_OOM);
	if (o->no_reporting)
		vio_features_drop(&d->type_features, VIO_BALLOON_F_PAGE_REPORTING);
	d->queues = VIO_BALLOON_QUEUES;
	d->queue_size_max = o->queue_size ? o->queue_size : 256;
	d->config = (uint8_t *)&b->config;
	o->pages->ask = ask;
	o->pages->arg = b;
	return NULL;
}

static void balloon_close(struct vio_dev *d)
{
	struct vio_pages *p = balloon_of(d)->pages;

	p->ask = NULL;
	p->arg = NULL;
}

static const unsigned char features[] = {
	VIO_BALLOON_F_MUST_TELL_HOST, VIO_BALLOON_F_STATS_VQ, VIO_BALLOON_F_DEFLATE_ON_OOM, VIO_BALLOON_F_FREE_PAGE_HINT,
	VIO_BALLOON_F_PAGE_POISON, VIO_BALLOON_F_PAGE_REPORTING,
};

const struct vio_dev_type vio_dev_balloon = {
	.name = "balloon",
	.id = VIO_ID_BALLOON,
	.features = features,
	.features_count = sizeof features,
	.config_len = sizeof(struct vio_balloon_config),
	.config_writable = config_writable,
	.queue_size_max = VIO_RING_SIZE_MAX,
	.instance = sizeof(struct balloon),
	.request = sizeof(struct balloon_req),
	.backend = VIO_BACKEND_PAGES,
	.open = balloon_open,
	.close = balloon_close,
	.config = balloon_config,
	.reset = balloon_reset,
	.save = balloon_save,
	.load = balloon_load,
	.queue_start = balloon_queue_start,
	.queue = balloon_queue,
	.turn_end = balloon_turn_end,
};
