/*
 * Balloon driver (virtio 1.4, section 5.5).
 *
 * Each queue has at most one request out, so that a page changes hands only when the device has said so.  Page numbers are
 * guest physical: what the platform maps a page to is its number, and a platform that bounces can have no balloon.
 */
#include <vio/driver/balloon.h>
#include <vio/ring/freestanding.h>

static const struct vio_platform *platform(const struct vio_balloon *b) { return &b->drv.port->platform; }

/* ---- Life ---- */

static struct vio_features drives(const struct vio_balloon_setup *s)
{
	static const unsigned char bits[] = {
		VIO_BALLOON_F_MUST_TELL_HOST, VIO_BALLOON_F_STATS_VQ, VIO_BALLOON_F_DEFLATE_ON_OOM, VIO_BALLOON_F_FREE_PAGE_HINT,
		VIO_BALLOON_F_PAGE_REPORTING, VIO_F_EVENT_IDX, VIO_F_RING_PACKED, VIO_F_IN_ORDER, VIO_F_NOTIFICATION_DATA,
		VIO_F_SUSPEND,
	};
	struct vio_features f = vio_features_of(bits, sizeof bits);

	if (s->poison)		/* 5.5.3.1 */
		vio_features_add(&f, VIO_BALLOON_F_PAGE_POISON);
	return f;
}

/* In one piece, or not at all. */
static bool map_whole(struct vio_balloon *b, void *p, uint32_t len, struct vio_buf *out)
{
	const struct vio_platform *pf = platform(b);
	unsigned n = pf->ops->map(pf->arg, p, len, VIO_BOTH_WAYS, out, 1);

	if (n == 1 && out->len == len)
		return true;
	if (n)
		pf->ops->unmap(pf->arg, p, len, VIO_BOTH_WAYS, out, n);
	out->len = 0;
	return vio_drv_fail(&b->drv, "the balloon's memory can't be mapped in one piece");
}

static void unmap_whole(struct vio_balloon *b, void *p, struct vio_buf *mapped)
{
	const struct vio_platform *pf = platform(b);

	if (mapped->len)
		pf->ops->unmap(pf->arg, p, mapped->len, VIO_BOTH_WAYS, mapped, 1);
	mapped->len = 0;
}

/* 5.5.2: queues 2 to 4 are there only with their features. */
static bool has_queue(const struct vio_balloon *b, unsigned queue)
{
	static const unsigned char needs[VIO_BALLOON_QUEUES] = { VIO_F_VERSION_1, VIO_F_VERSION_1, VIO_BALLOON_F_STATS_VQ,
		VIO_BALLOON_F_FREE_PAGE_HINT, VIO_BALLOON_F_PAGE_REPORTING };
	return vio_drv_has(&b->drv, needs[queue]);
}

static bool start_queue(struct vio_balloon *b, uint16_t i)
{
	uint16_t size = b->drv.port->ops->queue_max(b->drv.port, i);

	if (size > VIO_BALLOON_DRV_QUEUE)
		size = VIO_BALLOON_DRV_QUEUE;
	while (!vio_drv_has(&b->drv, VIO_F_RING_PACKED) && size & (size - 1))
		size &= (uint16_t)(size - 1);		/* 2.7: a power of two */
	if (size == 0)
		return vio_drv_fail(&b->drv, "the device has no such queue");
	if (!map_whole(b, b->ring[i], sizeof b->ring[i], &b->ring_mapped[i]))
		return false;
	struct vio_drvq_setup setup = { .size = size, .features = b->drv.features, .ring = b->ring[i],
		.ring_addr = b->ring_mapped[i].addr, .slots = b->slots[i] };
	vio_drvq_init(&b->q[i], &setup);
	return vio_drv_queue(&b->drv, i, &b->q[i]);
}

/* 5.5.6.5: poison_val before DRIVER_OK, and never afterwards. */
static bool write_poison(struct vio_balloon *b)
{
	vio_le32 wire = vio_le32_of(b->poison_val);

	if (!vio_drv_has(&b->drv, VIO_BALLOON_F_PAGE_POISON))
		return true;
	return b->drv.port->ops->config_write(b->drv.port, offsetof(struct vio_balloon_config, poison_val), &wire, sizeof wire) ||
	    vio_drv_fail(&b->drv, "the device does not take the poison value");
}

static bool start(struct vio_balloon *b)
{
	for (uint16_t i = 0; i < VIO_BALLOON_QUEUES; i++)
		if (has_queue(b, i) && !start_queue(b, i))
			return false;
	return map_whole(b, &b->shared, sizeof b->shared, &b->shared_mapped) && write_poison(b) && vio_drv_ready(&b->drv);
}

bool vio_balloon_start(struct vio_balloon *b, struct vio_drv_port *port, const struct vio_balloon_setup *s,
    const struct vio_balloon_stat *stat, unsigned n)
{
	/* 5.5.3.1: who counts on what is in free pages must not have them reported without a word about poison */
	static const struct vio_feature_need needs[] = { { VIO_BALLOON_F_PAGE_REPORTING, VIO_BALLOON_F_PAGE_POISON }, { 0, 0 } };

	memset(b, 0, sizeof *b);
	b->poison_val = s->poison_val;
	if (!vio_drv_begin(&b->drv, port, VIO_ID_BALLOON, drives(s), s->keeps_contents ? needs : NULL))
		return false;
	if (start(b) && (!has_queue(b, VIO_BALLOON_Q_STATS) || vio_balloon_stats(b, stat, n)))
		return true;
	if (!b->drv.failed)
		vio_drv_fail(&b->drv, "the statistics are not what they must be: each tag once, and one at least");
	vio_balloon_stop(b);
	return false;
}

bool vio_balloon_stop(struct vio_balloon *b)
{
	if (!vio_drv_reset(&b->drv))
		return false;
	for (unsigned i = 0; i < VIO_BALLOON_QUEUES; i++)
		unmap_whole(b, b->ring[i], &b->ring_mapped[i]);
	unmap_whole(b, &b->shared, &b->shared_mapped);
	b->actual = 0;
	return true;
}

/* One chain there and back. */
static bool ask(struct vio_balloon *b, uint16_t queue, const struct vio_buf *bufs, unsigned r, unsigned w)
{
	const struct vio_platform *pf = platform(b);
	struct vio_drvq *q = &b->q[queue];
	uint32_t len;

	if (!b->drv.status || b->drv.failed || !has_queue(b, queue) || !vio_drvq_add(q, bufs, r, w, b))
		return false;
	vio_drv_kick(&b->drv, queue, q);
	if (vio_drv_get_wait(&b->drv, queue, q, &len, pf->ops->now_ns(pf->arg) + VIO_DRV_PATIENCE_NS))
		return true;
	return vio_drv_fail(&b->drv, q->broken ? q->broken : "the device did not answer the balloon in time");
}

static struct vio_buf in_shared(struct vio_balloon *b, const void *p, uint32_t len)
{
	return (struct vio_buf){ b->shared_mapped.addr + (uint64_t)((const unsigned char *)p - (unsigned char *)&b->shared), len };
}

static void fill(const struct vio_balloon *b, void *page, uint32_t len)
{
	if (vio_drv_has(&b->drv, VIO_BALLOON_F_PAGE_POISON))
		for (uint32_t at = 0; at < len; at += sizeof b->poison_val)
			memcpy((unsigned char *)page + at, &b->poison_val, sizeof b->poison_val);
}

/* ---- Inflate and deflate (5.5.6) ---- */

static bool number_of(struct vio_balloon *b, void *page, vio_le32 *number)
{
	const struct vio_platform *pf = platform(b);
	struct vio_buf buf;
	unsigned n = pf->ops->map(pf->arg, page, VIO_BALLOON_PAGE, VIO_BOTH_WAYS, &buf, 1);

	if (n)
		pf->ops->unmap(pf->arg, page, VIO_BALLOON_PAGE, VIO_BOTH_WAYS, &buf, n);
	if (n != 1 || buf.addr % VIO_BALLOON_PAGE || buf.addr / VIO_BALLOON_PAGE > UINT32_MAX)
		return false;
	*number = vio_le32_of((uint32_t)(buf.addr / VIO_BALLOON_PAGE));
	return true;
}

static bool set_actual(struct vio_balloon *b, uint32_t pages)
{
	vio_le32 wire = vio_le32_of(pages);

	b->actual = pages;
	return b->drv.port->ops->config_write(b->drv.port, offsetof(struct vio_balloon_config, actual), &wire, sizeof wire) ||
	    vio_drv_fail(&b->drv, "the device does not take the number of pages in the balloon");
}

static bool move(struct vio_balloon *b, uint16_t queue, void *const *page, unsigned n)
{
	while (n) {
		unsigned part = n < VIO_BALLOON_DRV_PAGES ? n : VIO_BALLOON_DRV_PAGES;
		for (unsigned i = 0; i < part; i++)
			if (!number_of(b, page[i], &b->shared.number[i]))
				return false;
		struct vio_buf buf = in_shared(b, b->shared.number, part * (uint32_t)sizeof b->shared.number[0]);
		if (!ask(b, queue, &buf, 1, 0))
			return false;
		for (unsigned i = 0; queue == VIO_BALLOON_Q_DEFLATE && i < part; i++)
			fill(b, page[i], VIO_BALLOON_PAGE);
		if (!set_actual(b, queue == VIO_BALLOON_Q_INFLATE ? b->actual + part : b->actual - part))
			return false;
		page += part;
		n -= part;
	}
	return true;
}

bool vio_balloon_wants(struct vio_balloon *b, uint32_t *pages)
{
	vio_le32 wire;

	if (!vio_drv_config(&b->drv, offsetof(struct vio_balloon_config, num_pages), &wire, sizeof wire))
		return false;
	*pages = vio_le32_get(wire);
	return true;
}

bool vio_balloon_inflate(struct vio_balloon *b, void *const *page, unsigned n)
{
	return n <= UINT32_MAX - b->actual && move(b, VIO_BALLOON_Q_INFLATE, page, n);
}

/*
 * 5.5.6.1 forbids to use pages when num_pages is "less than or equal to" actual, a sentence after it has allowed to when it
 * is less; what is meant is: not while the device wants them.
 */
bool vio_balloon_deflate(struct vio_balloon *b, void *const *page, unsigned n, bool oom)
{
	uint32_t wants;

	if (n > b->actual || !vio_balloon_wants(b, &wants))
		return false;
	if (b->actual - n < wants && !(oom && vio_drv_has(&b->drv, VIO_BALLOON_F_DEFLATE_ON_OOM)))
		return false;
	return move(b, VIO_BALLOON_Q_DEFLATE, page, n);
}

/* ---- Free page reporting (5.5.6.6) ---- */

static void unmap_ranges(struct vio_balloon *b, const struct vio_balloon_range *range, const struct vio_buf *bufs, unsigned n)
{
	const struct vio_platform *pf = platform(b);

	for (unsigned i = 0; i < n; i++)
		pf->ops->unmap(pf->arg, range[i].at, range[i].len, VIO_FROM_DEVICE, &bufs[i], 1);
}

static bool offer(struct vio_balloon *b, uint16_t queue, const struct vio_balloon_range *range, unsigned n)
{
	const struct vio_platform *pf = platform(b);
	struct vio_buf bufs[VIO_BALLOON_DRV_RANGES];
	unsigned mapped = 0;

	for (; mapped < n; mapped++) {
		unsigned k = pf->ops->map(pf->arg, range[mapped].at, range[mapped].len, VIO_FROM_DEVICE, &bufs[mapped], 1);
		if (k != 1 || bufs[mapped].addr % VIO_BALLOON_PAGE || bufs[mapped].len % VIO_BALLOON_PAGE) {
			unmap_ranges(b, range, bufs, mapped + (k == 1));
			return false;
		}
	}
	bool ok = ask(b, queue, bufs, 0, n);
	unmap_ranges(b, range, bufs, n);
	return ok;
}

bool vio_balloon_report(struct vio_balloon *b, const struct vio_balloon_range *range, unsigned n)
{
	if (n == 0 || n > VIO_BALLOON_DRV_RANGES || !has_queue(b, VIO_BALLOON_Q_REPORTS))
		return false;
	for (unsigned i = 0; i < n; i++)
		fill(b, range[i].at, range[i].len);
	return offer(b, VIO_BALLOON_Q_REPORTS, range, n);
}

/* ---- Statistics (5.5.6.2) ---- */

bool vio_balloon_stats_wanted(struct vio_balloon *b)
{
	uint32_t len;

	if (!has_queue(b, VIO_BALLOON_Q_STATS))
		return false;
	if (b->stats_out && vio_drvq_get(&b->q[VIO_BALLOON_Q_STATS], &len))
		b->stats_out = false;
	return !b->stats_out;
}

/*
 * 5.5.6.2.1 asks for a multiple of 6 bytes and of 10-byte entries: entries of a tag that nobody knows, which the device must
 * ignore, fill up.
 */
bool vio_balloon_stats(struct vio_balloon *b, const struct vio_balloon_stat *stat, unsigned n)
{
	static const struct vio_balloon_stat filler = { { 0xffff }, { 0 } };
	unsigned tags = 0, whole = (n + 2) / 3 * 3;

	if (b->stats_out || n == 0 || n > VIO_BALLOON_S_COUNT || !has_queue(b, VIO_BALLOON_Q_STATS))
		return false;
	for (unsigned i = 0; i < n; i++) {
		uint16_t tag = vio_le16_get(stat[i].tag);
		if (tag >= VIO_BALLOON_S_COUNT || tags >> tag & 1)
			return false;
		tags |= 1u << tag;
	}
	if (b->stats_tags && tags != b->stats_tags)	/* the same subset, always */
		return false;
	for (unsigned i = 0; i < whole; i++)
		b->shared.stat[i] = i < n ? stat[i] : filler;
	struct vio_buf buf = in_shared(b, b->shared.stat, whole * (uint32_t)sizeof b->shared.stat[0]);
	if (!vio_drvq_add(&b->q[VIO_BALLOON_Q_STATS], &buf, 1, 0, b))
		return false;
	b->stats_tags = (uint16_t)tags;
	b->stats_out = true;
	vio_drv_kick(&b->drv, VIO_BALLOON_Q_STATS, &b->q[VIO_BALLOON_Q_STATS]);
	return true;
}

/* ---- Free page hinting (5.5.6.4) ---- */

static bool read_cmd_id(struct vio_balloon *b, uint32_t *id)
{
	vio_le32 wire;

	if (!has_queue(b, VIO_BALLOON_Q_HINTS) ||
	    !vio_drv_config(&b->drv, offsetof(struct vio_balloon_config, free_page_hint_cmd_id), &wire, sizeof wire))
		return false;
	*id = vio_le32_get(wire);
	return true;
}

static bool say_cmd_id(struct vio_balloon *b, uint32_t id)
{
	b->shared.cmd_id = vio_le32_of(id);
	struct vio_buf buf = in_shared(b, &b->shared.cmd_id, sizeof b->shared.cmd_id);
	return ask(b, VIO_BALLOON_Q_HINTS, &buf, 1, 0);
}

bool vio_balloon_hint_round(struct vio_balloon *b)
{
	uint32_t id;

	if (b->hint_id || !read_cmd_id(b, &id) || id < VIO_BALLOON_CMD_ID_FIRST || id == b->hint_last)
		return false;
	b->hint_last = id;		/* an id is said once */
	if (!say_cmd_id(b, id))
		return false;
	b->hint_id = id;
	return true;
}

bool vio_balloon_hint(struct vio_balloon *b, const struct vio_balloon_range *range)
{
	uint32_t id;

	return b->hint_id && read_cmd_id(b, &id) && id == b->hint_id && offer(b, VIO_BALLOON_Q_HINTS, range, 1);
}

bool vio_balloon_hint_end(struct vio_balloon *b)
{
	if (!b->hint_id)
		return false;
	b->hint_id = 0;
	return say_cmd_id(b, VIO_BALLOON_CMD_ID_STOP);
}

bool vio_balloon_hint_done(struct vio_balloon *b)
{
	uint32_t id;
	return read_cmd_id(b, &id) && id == VIO_BALLOON_CMD_ID_DONE;
}
