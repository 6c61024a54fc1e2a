/*
 * Block device (virtio 1.4, section 5.2); not zoned, not legacy.
 *
 *   device-readable   header, then what is written or the ranges to discard, zero or erase
 *   device-writable   what is read, then one byte of status
 *
 * A driver may cut these bytes into buffers as it likes (2.7.4.1), so everything goes by cursors: the header is the first
 * 16 readable bytes, the status the last writable one.  A request is judged as a whole before the disk hears of it, by
 * copies of what the driver wrote, and the disk works in guest memory itself.
 */
#include <vio/device/blk.h>
#include <vio/ring/freestanding.h>
#include <vio/spec/blk.h>

enum {
	BURST = 8,			/* chains popped and prefetched before the first is served */
	TURN_BYTES = 1 << 20,		/* a queue that has moved so much in a turn lets others have theirs */
	RANGES = 16,			/* of one discard, write zeroes or secure erase request */
	RANGE_SECTORS = 1 << 22		/* of one range: 2 GiB, so that one request is not endless */
};

/* What settles how requests are served; read by the queues' threads, written in the home thread only. */
enum { DURABLE = 1, DISCARD = 2, ZEROES = 4, ERASE = 8, LIFETIME = 16 };

struct blk;

struct blk_queue {
	struct blk *blk;
	struct vio_disk_chan *chan;
	uint32_t moved;			/* bytes, in this turn */
	unsigned char apart[128 - 2 * sizeof(void *) - sizeof(uint32_t)];	/* neighbours have other threads */
};

struct blk {
	struct vio_dev dev;
	struct vio_disk *disk;
	uint64_t sectors;		/* atomic */
	uint32_t rules;			/* atomic; DURABLE and friends */
	uint32_t block_mask;		/* sectors of a logical block - 1 */
	bool read_only, writethrough;
	bool size_due;			/* changed while suspended */
	char serial[VIO_BLK_ID_BYTES];
	struct vio_blk_config config;
	struct blk_queue queue[VIO_DEV_QUEUES];
};

struct blk_req {
	struct vio_chain chain;		/* its cursors stay where they were */
	struct vio_disk_io io;
	struct vio_devq *q;
	uint8_t *status;
	uint8_t ranges, range_at;	/* steps of a request that needs several */
	bool several, cancelled, flush_after;
	struct vio_blk_range range[RANGES];
};

static struct blk *blk_of(struct vio_dev *d) { return (struct blk *)d; }
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

static void done(struct vio_disk_io *io, int error)
{
	struct blk_req *r = (struct blk_req *)((char *)io - offsetof(struct blk_req, io));

	if (error || (r->several && r->cancelled))
		answer(r, VIO_BLK_S_IOERR, 0);
	else if (r->several)
		next_step(r);
	else
		answer(r, VIO_BLK_S_OK, io->op == VIO_DISK_READ ? io->length : 0);
}

/* ---- Requests ---- */

/* Overflow-proof, against the size the disk has now. */
static bool on_disk(const struct blk *b, uint64_t sector, uint64_t sectors)
{
	uint64_t size = __atomic_load_n(&b->sectors, __ATOMIC_RELAXED);
	return sector <= size && sectors <= size - sector && !((sector | sectors) & b->block_mask);
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
		io->durable = rules(b) & DURABLE;
	} else {
		io->bytes = r->chain.w;
		io->bytes.left--;
		io->op = VIO_DISK_READ;
	}
	io->length = io->bytes.left;
	if (io->length % VIO_BLK_SECTOR || !on_disk(b, sector, io->length / VIO_BLK_SECTOR)) {
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

/* Data in a flush is ignored (5.2.6.1: a driver SHOULD NOT send any), so is a sector.  Never refused, even when not negotiated. */
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
		if (sectors > RANGE_SECTORS || !on_disk(b, vio_le64_get(r->range[i].sector), sectors))
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
	r->flush_after = op == VIO_DISK_ZERO && rules(b) & DURABLE;
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

	if (!(rules(b) & LIFETIME))
		refuse(r, VIO_BLK_S_UNSUPP);
	else if (r->chain.w.left - 1 < sizeof life)
		refuse(r, VIO_BLK_S_IOERR);
	else
		tell(r, &life, sizeof life);
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
		ranges(b, r, VIO_DISK_DISCARD, DISCARD, 0);
		return;
	case VIO_BLK_T_WRITE_ZEROES:
		ranges(b, r, VIO_DISK_ZERO, ZEROES, VIO_BLK_RANGE_UNMAP);
		return;
	case VIO_BLK_T_SECURE_ERASE:
		ranges(b, r, VIO_DISK_ERASE, ERASE, 0);
		return;
	default:	/* zone requests among them: ZONED is not offered (5.2.6.2) */
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

static void tell_size(struct blk *b)
{
	b->size_due = false;
	b->config.capacity = vio_le64_of(b->sectors);
	vio_dev_config_changed(&b->dev);
}

static const char *blk_queue_start(struct vio_dev *d, struct vio_devq *q)
{
	struct blk *b = blk_of(d);
	struct blk_queue *bq = &b->queue[q->index];

	if (b->size_due)
		tell_size(b);
	bq->blk = b;
	bq->moved = 0;
	bq->chan = b->disk->ops->channel(b->disk, q->index);
	if (!bq->chan)
		return "the disk has no memory or file descriptors left for another queue: use fewer queues, or raise the limits";
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

/* ---- Features and config space (home thread) ---- */

/*
 * 5.2.6.2, the three ways in which a write becomes stable: with neither CONFIG_WCE nor FLUSH every write is; with CONFIG_WCE
 * the writeback field says it; with FLUSH alone a flush does it (but an operator who asked for writethrough gets that).
 */
static void settle(struct blk *b)
{
	struct vio_features f = b->dev.accepted;
	uint32_t now = 0;

	if (vio_has(f, VIO_BLK_F_CONFIG_WCE) ? !b->config.writeback : !vio_has(f, VIO_BLK_F_FLUSH) || b->writethrough)
		now |= DURABLE;
	if (vio_has(f, VIO_BLK_F_DISCARD))
		now |= DISCARD;
	if (vio_has(f, VIO_BLK_F_WRITE_ZEROES))
		now |= ZEROES;
	if (vio_has(f, VIO_BLK_F_SECURE_ERASE))
		now |= ERASE;
	if (vio_has(f, VIO_BLK_F_LIFETIME))
		now |= LIFETIME;
	__atomic_store_n(&b->rules, now, __ATOMIC_RELAXED);
}

static void blk_negotiated(struct vio_dev *d)
{
	struct blk *b = blk_of(d);

	if (vio_has(d->accepted, VIO_BLK_F_CONFIG_WCE) && !vio_has(d->accepted, VIO_BLK_F_FLUSH))
		b->config.writeback = 0;	/* 5.2.5.2 */
	settle(b);
}

/* writeback is the only field that a driver can write. */
static void blk_config(struct vio_dev *d, uint32_t at, uint32_t len)
{
	struct blk *b = blk_of(d);

	(void)at, (void)len;
	if (vio_has(d->accepted, VIO_BLK_F_CONFIG_WCE))
		b->config.writeback = b->config.writeback != 0;
	else
		b->config.writeback = !b->writethrough;
	settle(b);
}

static void blk_reset(struct vio_dev *d)
{
	struct blk *b = blk_of(d);

	b->config.writeback = !b->writethrough;
	__atomic_store_n(&b->rules, DURABLE, __ATOMIC_RELAXED);
}

/* Device-specific state: one byte, the cache mode. */
static size_t blk_save(struct vio_dev *d, void *to, size_t room)
{
	if (to && room)
		*(uint8_t *)to = blk_of(d)->config.writeback;
	return 1;
}

static const char *blk_load(struct vio_dev *d, const void *from, size_t n)
{
	const uint8_t *writeback = from;

	if (n != 1 || *writeback > 1)
		return "the saved state of the block device is not one byte, 0 or 1: it was saved by another program";
	blk_of(d)->config.writeback = *writeback;
	settle(blk_of(d));
	return NULL;
}

/* A size that is no multiple of the logical block ends with the last whole one. */
static uint64_t whole_sectors(const struct vio_disk *disk)
{
	return disk->size / disk->logical_block * (disk->logical_block / VIO_BLK_SECTOR);
}

static void blk_resized(void *arg)
{
	struct blk *b = arg;
	uint64_t sectors = whole_sectors(b->disk);

	__atomic_store_n(&b->sectors, sectors, __ATOMIC_RELAXED);
	b->size_due = b->dev.status & VIO_S_SUSPEND;	/* 3.4.2: the config space stands still; a queue's start goes on */
	if (!b->size_due)
		tell_size(b);
}

static const unsigned char known[] = {
	VIO_BLK_F_SIZE_MAX, VIO_BLK_F_SEG_MAX, VIO_BLK_F_GEOMETRY, VIO_BLK_F_RO, VIO_BLK_F_BLK_SIZE, VIO_BLK_F_FLUSH,
	VIO_BLK_F_TOPOLOGY, VIO_BLK_F_CONFIG_WCE, VIO_BLK_F_MQ, VIO_BLK_F_DISCARD, VIO_BLK_F_WRITE_ZEROES,
	VIO_BLK_F_LIFETIME, VIO_BLK_F_SECURE_ERASE,
};

static bool power_of_two(uint32_t n) { return n && !(n & (n - 1)); }

static const char *check(const struct vio_blk_options *o)
{
	const struct vio_disk *disk = o->disk;

	if (o->queues < 1 || o->queues > VIO_DEV_QUEUES)
		return "a block device has 1 to 64 queues";
	if (o->queue_size > VIO_RING_SIZE_MAX)
		return "a queue has at most 32768 entries";
	if (o->seg_max > VIO_RING_SIZE_MAX - 2)
		return "a request has at most 32766 data segments";
	if (o->size_max && o->size_max < VIO_BLK_SECTOR)
		return "the segment size limit is less than a sector: give at least 512, or 0 for no limit";
	if (!power_of_two(disk->logical_block) || disk->logical_block < VIO_BLK_SECTOR)
		return "the logical block size must be a power of two, at least 512";
	if (disk->size % disk->logical_block)
		return "the disk's size is not a multiple of its logical block size: pad the image, or choose a smaller block size";
	return NULL;
}

static void fill_topology(struct blk *b)
{
	const struct vio_disk *disk = b->disk;
	uint32_t blocks = 1, best = disk->optimal_io / disk->logical_block;

	if (disk->physical_block > disk->logical_block && power_of_two(disk->physical_block))
		blocks = disk->physical_block / disk->logical_block;
	b->config.topology.physical_block_exp = (uint8_t)__builtin_ctz(blocks);
	b->config.topology.min_io_size = vio_le16_of(blocks < UINT16_MAX ? (uint16_t)blocks : UINT16_MAX);
	b->config.topology.opt_io_size = vio_le32_of(best);
}

static void fill_ranges(struct blk *b)
{
	const struct vio_disk *disk = b->disk;
	uint32_t align = disk->discard_align > disk->logical_block ? disk->discard_align : disk->logical_block;

	b->config.max_discard_sectors = b->config.max_write_zeroes_sectors = b->config.max_secure_erase_sectors =
	    vio_le32_of(RANGE_SECTORS);
	b->config.max_discard_seg = b->config.max_write_zeroes_seg = b->config.max_secure_erase_seg = vio_le32_of(RANGES);
	b->config.discard_sector_alignment = b->config.secure_erase_sector_alignment = vio_le32_of(align / VIO_BLK_SECTOR);
	b->config.write_zeroes_may_unmap = disk->zero_may_unmap;
}

static void fill_config(struct blk *b, const struct vio_blk_options *o, uint32_t seg_max)
{
	struct vio_blk_config *c = &b->config;

	c->capacity = vio_le64_of(b->sectors);
	c->size_max = vio_le32_of(o->size_max);
	c->seg_max = vio_le32_of(seg_max);
	c->geometry.cylinders = vio_le16_of(o->geometry.cylinders);
	c->geometry.heads = o->geometry.heads;
	c->geometry.sectors = o->geometry.sectors;
	c->blk_size = vio_le32_of(b->disk->logical_block);
	c->writeback = !o->writethrough;
	c->num_queues = vio_le16_of(o->queues);
	fill_topology(b);
	fill_ranges(b);
}

/* A feature is offered only where the disk below has it. */
static void drop_features(struct blk *b, const struct vio_blk_options *o)
{
	const struct vio_disk *disk = b->disk;
	const struct { unsigned char bit; bool has; } has[] = {
		{ VIO_BLK_F_SIZE_MAX, o->size_max != 0 },
		{ VIO_BLK_F_GEOMETRY, o->geometry.cylinders != 0 },
		{ VIO_BLK_F_RO, b->read_only },
		{ VIO_BLK_F_TOPOLOGY, disk->physical_block || disk->optimal_io },
		{ VIO_BLK_F_MQ, o->queues > 1 },
		{ VIO_BLK_F_DISCARD, disk->can_discard && !b->read_only },
		{ VIO_BLK_F_WRITE_ZEROES, disk->can_zero && !b->read_only },
		{ VIO_BLK_F_SECURE_ERASE, disk->can_erase && !b->read_only },
		{ VIO_BLK_F_LIFETIME, disk->has_lifetime },
	};

	for (unsigned i = 0; i < sizeof has / sizeof has[0]; i++)
		if (!has[i].has)
			vio_features_drop(&b->dev.type_features, has[i].bit);
}

static const char *blk_open(struct vio_dev *d, const void *options)
{
	const struct vio_blk_options *o = options;
	struct blk *b = blk_of(d);
	const char *why = check(o);
	if (why)
		return why;

	uint16_t size = o->queue_size ? o->queue_size : 256;
	/* A driver without indirect descriptors needs a header and a status beside the data (QEMU tells the same). */
	uint32_t seg_max = o->seg_max ? o->seg_max : size < 4 ? 1 : size < 256 ? size - 2u : 254;
	b->disk = o->disk;
	b->read_only = o->read_only || o->disk->read_only;
	b->writethrough = o->writethrough;
	b->block_mask = o->disk->logical_block / VIO_BLK_SECTOR - 1;
	b->sectors = whole_sectors(o->disk);
	b->rules = DURABLE;
	memcpy(b->serial, o->serial, sizeof b->serial);
	d->queues = o->queues;
	d->queue_size_max = size;
	d->chain_max = (uint16_t)(seg_max + 2);
	d->config = (uint8_t *)&b->config;
	fill_config(b, o, seg_max);
	drop_features(b, o);
	o->disk->resized = blk_resized;
	o->disk->resized_arg = b;
	return NULL;
}

static void blk_close(struct vio_dev *d)
{
	struct vio_disk *disk = blk_of(d)->disk;

	disk->resized = NULL;
	disk->resized_arg = NULL;
}

static const uint8_t config_writable[sizeof(struct vio_blk_config)] = {
	[offsetof(struct vio_blk_config, writeback)] = 0xff,
};

const struct vio_dev_type vio_dev_blk = {
	.name = "blk",
	.id = VIO_ID_BLK,
	.features = known,
	.features_count = sizeof known,
	.config_len = sizeof(struct vio_blk_config),
	.config_writable = config_writable,
	.queue_size_max = VIO_RING_SIZE_MAX,
	.instance = sizeof(struct blk),
	.request = sizeof(struct blk_req),
	.queues_independent = true,
	.backend = VIO_BACKEND_DISK,
	.open = blk_open,
	.close = blk_close,
	.config = blk_config,
	.negotiated = blk_negotiated,
	.reset = blk_reset,
	.save = blk_save,
	.load = blk_load,
	.queue_start = blk_queue_start,
	.queue_stop = blk_queue_stop,
	.queue = blk_queue,
	.turn_end = blk_turn_end,
	.cancel = blk_cancel,
	.poll = blk_poll,
};
