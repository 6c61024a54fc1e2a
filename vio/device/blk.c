/*
 * Block device (virtio 1.4, section 5.2); not legacy.
 *
 *   device-readable   header, then what is written or the ranges to discard, zero or erase
 *   device-writable   what is read, then one byte of status
 *
 * A driver may cut these bytes into buffers as it likes (2.7.4.1), so everything goes by cursors: the header is the first
 * 16 readable bytes, the status the last writable one.  A request is judged as a whole before the disk hears of it, by
 * copies of what the driver wrote, and the disk works in guest memory itself.
 */
#include <vio/device/blk_impl.h>

enum {
	BURST = 8,			/* chains popped and prefetched before the first is served */
	TURN_BYTES = 1 << 20		/* a queue that has moved so much in a turn lets others have theirs */
};

/* A request, in a slot of its queue. */
struct blk_req {
	struct vio_chain chain;		/* its cursors stay where they were */
	struct vio_disk_io io;
	struct vio_devq *q;
	uint8_t *status;
	uint8_t ranges, range_at;	/* steps of a request that needs several */
	bool several, cancelled, flush_after, zoned;
	uint8_t zone;			/* enum: what of it an answer has to tell */
	struct vio_blk_range range[VIO_BLK_RANGES];
};

static struct blk_queue *queue_of(struct blk_req *r) { return r->q->priv; }
static uint32_t rules(const struct blk *b) { return __atomic_load_n(&b->rules, __ATOMIC_RELAXED); }

/* ---- Answers ---- */

/*
 * used.len counts bytes written without a gap from the first writable one (2.7.8.2), so the status byte counts only when
 * everything in front of it was written, and a failed read counts nothing.
 */
static void answer(struct blk_req *r, uint8_t status, uint64_t wrote)
{
	*r->status = status;
	r->chain.w.done = wrote == r->chain.w.left - 1 ? wrote + 1 : wrote;
	vio_dev_push(r->q, &r->chain);
}

/* The driver's mistake. */
static void refuse(struct blk_req *r, uint8_t status)
{
	vio_dev_refused(r->q);
	answer(r, status, 0);
}

static void submit(struct blk_req *r)
{
	struct vio_disk_chan *chan = queue_of(r)->chan;
	chan->ops->submit(chan, &r->io);
}

/* The next range of a request that has several, or the flush behind the last, or its end. */
static void next_step(struct blk_req *r)
{
	while (r->range_at < r->ranges) {
		const struct vio_blk_range *range = &r->range[r->range_at++];
		uint64_t sectors = vio_le32_get(range->num_sectors);
		if (sectors == 0)
			continue;
		r->io.offset = vio_le64_get(range->sector) * VIO_BLK_SECTOR;
		r->io.length = sectors * VIO_BLK_SECTOR;
		r->io.may_unmap = vio_le32_get(range->flags) & VIO_BLK_RANGE_UNMAP;
		submit(r);
		return;
	}
	if (r->flush_after) {
		r->flush_after = false;
		r->io.op = VIO_DISK_FLUSH;
		r->io.offset = r->io.length = 0;
		submit(r);
		return;
	}
	answer(r, VIO_BLK_S_OK, 0);
}

/* ---- Zones: what a disk that has them answers (5.2.6) ---- */

enum { NOTHING_OF_ZONES, APPENDED, REPORTED };

/* The zones' own statuses exist only where zones were negotiated. */
static uint8_t status_of(const struct blk_req *r, int error)
{
	return r->zoned && error > VIO_DISK_ZONE_ERRORS && error < VIO_DISK_ZONE_ERRORS_END ? (uint8_t)(error - VIO_DISK_ZONE_ERRORS) : VIO_BLK_S_IOERR;
}

static void tell_zone(struct blk_req *r)
{
	struct vio_blk_zone_report head = { .nr_zones = vio_le64_of(r->io.length) };
	vio_le64 at = vio_le64_of(r->io.offset / VIO_BLK_SECTOR);
	struct vio_cur c = r->chain.w;

	if (r->zone == REPORTED) {
		vio_cur_put(&c, &head, sizeof head);
		answer(r, VIO_BLK_S_OK, sizeof head + r->io.length * sizeof(struct vio_blk_zone));
	} else {
		vio_cur_put(&c, &at, sizeof at);
		answer(r, VIO_BLK_S_OK, sizeof at);
	}
}

static void done(struct vio_disk_io *io, int error)
{
	struct blk_req *r = (struct blk_req *)((char *)io - offsetof(struct blk_req, io));

	if (error || (r->several && r->cancelled))
		answer(r, status_of(r, error), 0);
	else if (r->zone)
		tell_zone(r);
	else if (r->several)
		next_step(r);
	else
		answer(r, VIO_BLK_S_OK, io->op == VIO_DISK_READ ? io->length : 0);
}

/* ---- Requests ---- */

/* Overflow-proof, against the size the disk has now. */
static bool within(const struct blk *b, uint64_t sector, uint64_t sectors, uint32_t mask)
{
	uint64_t size = __atomic_load_n(&b->sectors, __ATOMIC_RELAXED);
	return sector <= size && sectors <= size - sector && !((sector | sectors) & mask);
}

static bool on_disk(const struct blk *b, uint64_t sector, uint64_t sectors)
{
	return within(b, sector, sectors, b->block_mask);
}

static void transfer(struct blk *b, struct blk_req *r, uint64_t sector, bool write)
{
	struct vio_disk_io *io = &r->io;

	if (write && b->read_only) {	/* whether or not the driver accepted F_RO */
		refuse(r, VIO_BLK_S_IOERR);
		return;
	}
	if (write) {
		io->bytes = r->chain.r;
		vio_cur_skip(&io->bytes, sizeof(struct vio_blk_req));
		io->bytes.done = 0;
		io->op = VIO_DISK_WRITE;
		io->durable = rules(b) & VIO_BLK_DURABLE;
	} else {
		io->bytes = r->chain.w;
		io->bytes.left--;
		io->op = VIO_DISK_READ;
	}
	io->length = io->bytes.left;
	/* Where zones are, the disk says itself what is wrong with a write's place (5.2.6). */
	uint32_t mask = write && rules(b) & VIO_BLK_ZONED ? 0 : b->block_mask;
	if (io->length % VIO_BLK_SECTOR || !within(b, sector, io->length / VIO_BLK_SECTOR, mask)) {
		refuse(r, VIO_BLK_S_IOERR);
		return;
	}
	io->offset = sector * VIO_BLK_SECTOR;
	if (io->length == 0) {
		answer(r, VIO_BLK_S_OK, 0);
		return;
	}
	submit(r);
}

/* Data and sector mean nothing (5.2.6.1 wants none and 0).  Never refused: not even a flush that was not negotiated. */
static void flush(struct blk_req *r)
{
	r->io.op = VIO_DISK_FLUSH;
	r->io.offset = r->io.length = 0;
	submit(r);
}

/* All of a request's ranges are judged before the first is touched.  The answer when they are wrong, or OK. */
static uint8_t judge_ranges(const struct blk *b, const struct blk_req *r, uint32_t flags_known)
{
	for (unsigned i = 0; i < r->ranges; i++)	/* 5.2.6.2: an unknown flag comes first */
		if (vio_le32_get(r->range[i].flags) & ~flags_known)
			return VIO_BLK_S_UNSUPP;
	for (unsigned i = 0; i < r->ranges; i++) {
		uint32_t sectors = vio_le32_get(r->range[i].num_sectors);
		if (sectors > VIO_BLK_RANGE_SECTORS || !on_disk(b, vio_le64_get(r->range[i].sector), sectors))
			return VIO_BLK_S_IOERR;
	}
	return VIO_BLK_S_OK;
}

/*
 * Discard, write zeroes, secure erase.  unmap means something in write zeroes only (5.2.6).  Writing zeroes is a write like
 * any other, so where writes must be durable a flush follows the last range.
 */
static void ranges(struct blk *b, struct blk_req *r, enum vio_disk_op op, uint32_t rule, uint32_t flags_known)
{
	struct vio_cur c = r->chain.r;

	if (!(rules(b) & rule)) {
		refuse(r, VIO_BLK_S_UNSUPP);
		return;
	}
	vio_cur_skip(&c, sizeof(struct vio_blk_req));
	uint64_t bytes = c.left;
	if (bytes == 0 || bytes % sizeof r->range[0] || bytes > sizeof r->range) {
		refuse(r, VIO_BLK_S_IOERR);
		return;
	}
	vio_cur_get(&c, r->range, bytes);
	r->ranges = (uint8_t)(bytes / sizeof r->range[0]);
	r->range_at = 0;
	uint8_t verdict = judge_ranges(b, r, flags_known);
	if (verdict != VIO_BLK_S_OK) {
		refuse(r, verdict);
		return;
	}
	r->several = true;
	r->io.op = op;
	r->flush_after = op == VIO_DISK_ZERO && rules(b) & VIO_BLK_DURABLE;
	next_step(r);
}

/* Up to n bytes to the front of the data; a driver that asks for fewer gets fewer, one that gives more room gets no more. */
static void tell(struct blk_req *r, const void *what, uint64_t n)
{
	struct vio_cur c = r->chain.w;

	c.left--;
	if (n > c.left)
		n = c.left;
	vio_cur_put(&c, what, n);
	answer(r, VIO_BLK_S_OK, n);
}

static void lifetime(struct blk *b, struct blk_req *r)
{
	const struct vio_disk *disk = b->disk;
	/* 5.2.6: values above these are reserved and must not be sent; 0 is "not known" */
	struct vio_blk_lifetime life = {
		vio_le16_of(disk->pre_eol <= 3 ? disk->pre_eol : 0),
		vio_le16_of(disk->life_a <= 11 ? disk->life_a : 0),
		vio_le16_of(disk->life_b <= 11 ? disk->life_b : 0),
	};

	if (!(rules(b) & VIO_BLK_LIFETIME))
		refuse(r, VIO_BLK_S_UNSUPP);
	else if (r->chain.w.left - 1 < sizeof life)
		refuse(r, VIO_BLK_S_IOERR);
	else
		tell(r, &life, sizeof life);
}

/* ---- Zone requests ---- */

static void append(struct blk *b, struct blk_req *r, uint64_t sector)
{
	struct vio_disk_io *io = &r->io;
	uint32_t most = vio_le32_get(b->config.zoned.max_append_sectors);

	io->bytes = r->chain.r;
	vio_cur_skip(&io->bytes, sizeof(struct vio_blk_req));
	io->bytes.done = 0;
	io->length = io->bytes.left;
	uint64_t sectors = io->length / VIO_BLK_SECTOR;
	if (b->read_only || r->chain.w.left - 1 != sizeof(vio_le64) || !sectors || io->length % VIO_BLK_SECTOR ||
	    !within(b, sector, 1, 0)) {
		refuse(r, VIO_BLK_S_IOERR);
	} else if (sectors > most) {
		refuse(r, most ? VIO_BLK_S_ZONE_INVALID_CMD : VIO_BLK_S_UNSUPP);
	} else {
		r->zone = APPENDED;
		io->durable = rules(b) & VIO_BLK_DURABLE;
		io->offset = sector * VIO_BLK_SECTOR;
		submit(r);
	}
}

static void report(struct blk *b, struct blk_req *r, uint64_t sector)
{
	struct vio_disk_io *io = &r->io;

	io->bytes = r->chain.w;
	io->bytes.left--;
	if (io->bytes.left < sizeof(struct vio_blk_zone_report)) {
		refuse(r, VIO_BLK_S_IOERR);
		return;
	}
	if (!within(b, sector, 1, 0)) {
		refuse(r, VIO_BLK_S_ZONE_INVALID_CMD);
		return;
	}
	vio_cur_skip(&io->bytes, sizeof(struct vio_blk_zone_report));
	r->zone = REPORTED;
	io->offset = sector * VIO_BLK_SECTOR;
	io->length = 0;
	submit(r);
}

/* Open, close, finish, reset: data means nothing. */
static void zone(struct blk *b, struct blk_req *r, uint32_t type, uint64_t sector)
{
	static const unsigned char op[] = { VIO_ZONE_APPEND, VIO_ZONE_REPORT, 0, VIO_ZONE_OPEN, 0, VIO_ZONE_CLOSE, 0, VIO_ZONE_FINISH, 0,
		VIO_ZONE_RESET, 0, VIO_ZONE_RESET_ALL };

	if (!(rules(b) & VIO_BLK_ZONED)) {
		refuse(r, VIO_BLK_S_UNSUPP);
		return;
	}
	r->io.op = VIO_DISK_ZONE;
	r->io.zone = (enum vio_disk_zone_op)op[type - VIO_BLK_T_ZONE_APPEND];
	if (type == VIO_BLK_T_ZONE_APPEND) {
		append(b, r, sector);
	} else if (type == VIO_BLK_T_ZONE_REPORT) {
		report(b, r, sector);
	} else if (b->read_only) {
		refuse(r, VIO_BLK_S_IOERR);
	} else if (type != VIO_BLK_T_ZONE_RESET_ALL && !within(b, sector, 1, 0)) {
		refuse(r, VIO_BLK_S_ZONE_INVALID_CMD);
	} else {
		r->io.offset = type == VIO_BLK_T_ZONE_RESET_ALL ? 0 : sector * VIO_BLK_SECTOR;
		r->io.length = 0;
		submit(r);
	}
}

/* The 16 bytes of a header that lies in one piece, each word loaded once; nothing aligns it. */
struct header_words { uint64_t type, sector; } __attribute__((packed, may_alias));

static bool get_header(const struct vio_cur *readable, uint32_t *type, uint64_t *sector)
{
	struct vio_blk_req h;

	if (readable->left < sizeof h)
		return false;
	if (readable->seg->len >= sizeof h) {
		const volatile struct header_words *p = readable->seg->base;
		vio_le64 first = { p->type }, second = { p->sector };
		*type = (uint32_t)vio_le64_get(first);
		*sector = vio_le64_get(second);
		return true;
	}
	struct vio_cur c = *readable;
	vio_cur_get(&c, &h, sizeof h);
	*type = vio_le32_get(h.type);
	*sector = vio_le64_get(h.sector);
	return true;
}

/* The last writable byte.  Usually it has a buffer of its own behind the only one with data. */
static uint8_t *find_status(const struct vio_cur *writable)
{
	if (writable->left == 0)
		return NULL;
	if (writable->seg->len == writable->left)
		return (uint8_t *)writable->seg->base + writable->left - 1;
	if (writable->seg->len == writable->left - 1 && writable->seg[1].len == 1)
		return writable->seg[1].base;
	struct vio_cur c = *writable;
	size_t n;
	vio_cur_skip(&c, c.left - 1);
	return vio_cur_front(&c, &n);
}

static void serve(struct blk *b, struct vio_devq *q, struct vio_chain *c)
{
	struct blk_req *r = (struct blk_req *)c;
	uint32_t type;
	uint64_t sector;

	r->status = find_status(&c->w);
	if (!r->status || !get_header(&c->r, &type, &sector)) {		/* nowhere to answer, or nothing asked */
		vio_dev_refused(q);
		vio_dev_push(q, c);
		return;
	}
	r->q = q;
	r->io.done = done;
	r->several = r->cancelled = false;
	r->zone = NOTHING_OF_ZONES;
	r->zoned = rules(b) & VIO_BLK_ZONED;
	switch (type) {
	case VIO_BLK_T_IN:
		transfer(b, r, sector, false);
		return;
	case VIO_BLK_T_OUT:
		transfer(b, r, sector, true);
		return;
	case VIO_BLK_T_FLUSH:
		flush(r);
		return;
	case VIO_BLK_T_GET_ID:
		tell(r, b->serial, sizeof b->serial);
		return;
	case VIO_BLK_T_GET_LIFETIME:
		lifetime(b, r);
		return;
	case VIO_BLK_T_DISCARD:
		ranges(b, r, VIO_DISK_DISCARD, VIO_BLK_DISCARD, 0);
		return;
	case VIO_BLK_T_WRITE_ZEROES:
		ranges(b, r, VIO_DISK_ZERO, VIO_BLK_ZEROES, VIO_BLK_RANGE_UNMAP);
		return;
	case VIO_BLK_T_SECURE_ERASE:
		ranges(b, r, VIO_DISK_ERASE, VIO_BLK_ERASE, 0);
		return;
	case VIO_BLK_T_ZONE_APPEND:
	case VIO_BLK_T_ZONE_REPORT:
	case VIO_BLK_T_ZONE_OPEN:
	case VIO_BLK_T_ZONE_CLOSE:
	case VIO_BLK_T_ZONE_FINISH:
	case VIO_BLK_T_ZONE_RESET:
	case VIO_BLK_T_ZONE_RESET_ALL:
		zone(b, r, type, sector);
		return;
	default:
		refuse(r, VIO_BLK_S_UNSUPP);
		return;
	}
}

/* ---- Queues ---- */

/* Pop a burst so that the headers' cache lines are all on their way before the first is looked at (docs/performance.md). */
static unsigned pop_burst(struct blk_queue *bq, struct vio_devq *q, struct vio_chain *burst[BURST])
{
	unsigned n = 0;

	while (n < BURST) {
		struct vio_chain *c = vio_devq_pop(q);
		if (!c)
			break;
		__builtin_prefetch(c->seg[0].base);
		burst[n++] = c;
		uint64_t bytes = c->r.left + c->w.left;
		if (bytes < TURN_BYTES - bq->moved) {
			bq->moved += (uint32_t)bytes;
		} else {
			bq->moved = 0;
			vio_devq_yield(q);
		}
	}
	return n;
}

static void blk_queue(struct vio_dev *d, struct vio_devq *q)
{
	struct blk_queue *bq = q->priv;
	struct vio_chain *burst[BURST];
	unsigned n;

	do {
		n = pop_burst(bq, q, burst);
		for (unsigned i = 0; i < n; i++)
			serve(blk_of(d), q, burst[i]);
	} while (n == BURST || (n && q->why_empty == VIO_WAIT_SEGMENTS));	/* whose segments may be free now */
}

static void blk_turn_end(struct vio_dev *d, struct vio_devq *q)
{
	struct blk_queue *bq = q->priv;

	(void)d;
	bq->moved = 0;
	if (bq->chan->ops->flush)
		bq->chan->ops->flush(bq->chan);
}

static void blk_poll(struct vio_dev *d, struct vio_devq *q)
{
	struct blk_queue *bq = q->priv;

	(void)d;
	if (bq->chan->ops->poll)
		bq->chan->ops->poll(bq->chan);
}

static void blk_cancel(struct vio_dev *d, struct vio_devq *q)
{
	struct blk_queue *bq = q->priv;

	(void)d;
	for (uint16_t slot = 0; slot < q->place.size; slot++) {
		struct blk_req *r = (struct blk_req *)vio_devq_inflight(q, slot);
		if (!r)
			continue;
		r->cancelled = true;
		bq->chan->ops->cancel(bq->chan, &r->io);
	}
}

static const char *blk_queue_start(struct vio_dev *d, struct vio_devq *q)
{
	struct blk *b = blk_of(d);
	struct blk_queue *bq = &b->queue[q->index];

	if (b->size_due)
		vio_blk_dev_tell_size(b);
	bq->moved = 0;
	bq->chan = b->disk->ops->channel(b->disk, q->index);
	if (!bq->chan)
		return "the disk has no memory or file descriptors for another queue: use fewer queues, or raise the limits";
	q->priv = bq;
	return NULL;
}

static void blk_queue_stop(struct vio_dev *d, struct vio_devq *q)
{
	struct blk_queue *bq = q->priv;

	(void)d;
	bq->chan->ops->close(bq->chan);
	bq->chan = NULL;
	q->priv = NULL;
}

static const uint8_t config_writable[sizeof(struct vio_blk_config)] = {
	[offsetof(struct vio_blk_config, writeback)] = 0xff,
};

const struct vio_dev_type vio_dev_blk = {
	.name = "blk",
	.id = VIO_ID_BLK,
	.features = vio_blk_dev_features,
	.features_count = VIO_BLK_DEV_FEATURES,
	.config_len = sizeof(struct vio_blk_config),
	.config_writable = config_writable,
	.queue_size_max = VIO_RING_SIZE_MAX,
	.instance = sizeof(struct blk),
	.request = sizeof(struct blk_req),
	.lane = vio_dev_lane_each,
	.backend = VIO_BACKEND_DISK,
	.open = vio_blk_dev_open,
	.close = vio_blk_dev_close,
	.config = vio_blk_dev_config,
	.features_ok = vio_blk_dev_features_ok,
	.negotiated = vio_blk_dev_negotiated,
	.reset = vio_blk_dev_reset,
	.save = vio_blk_dev_save,
	.load = vio_blk_dev_load,
	.queue_start = blk_queue_start,
	.queue_stop = blk_queue_stop,
	.queue = blk_queue,
	.turn_end = blk_turn_end,
	.cancel = blk_cancel,
	.poll = blk_poll,
};
