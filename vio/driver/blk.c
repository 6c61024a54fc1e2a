/*
 * Block driver (virtio 1.4, section 5.2).
 *
 * A request is one chain: header, data, status byte.  What the device says about itself is checked once, when it is read;
 * what it says about a request is copied once, when it comes back.
 */
#include <vio/driver/blk.h>
#include <vio/ring/freestanding.h>

enum {
	HEAD_BYTES = sizeof(struct vio_blk_req) + sizeof(vio_le64) + 1,	/* header, append_sector, status byte, mapped together */
	BUFS = VIO_BLK_DRV_INDIRECT,				/* of a chain: header and answer in four pieces at most, data */
	NO_STATUS = 0xff
};
VIO_STATIC_ASSERT(offsetof(struct vio_blk_request, answer) == HEAD_BYTES - 1, "mapped together");

struct vio_features vio_blk_drives(void)
{
	static const unsigned char bits[] = {
		VIO_BLK_F_SIZE_MAX, VIO_BLK_F_SEG_MAX, VIO_BLK_F_RO, VIO_BLK_F_BLK_SIZE, VIO_BLK_F_FLUSH, VIO_BLK_F_CONFIG_WCE,
		VIO_BLK_F_MQ, VIO_BLK_F_DISCARD, VIO_BLK_F_WRITE_ZEROES, VIO_BLK_F_LIFETIME, VIO_BLK_F_SECURE_ERASE, VIO_BLK_F_ZONED,
		VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_VERSION_1, VIO_F_ACCESS_PLATFORM, VIO_F_RING_PACKED, VIO_F_IN_ORDER,
		VIO_F_ORDER_PLATFORM, VIO_F_NOTIFICATION_DATA, VIO_F_RING_RESET, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

static const struct vio_platform *platform(const struct vio_blk *b) { return &b->drv.port->platform; }

/* ---- The config space, field by field: each only when its feature was negotiated (2.5.1) ---- */

#define READ(b, field, to) vio_drv_config(&(b)->drv, offsetof(struct vio_blk_config, field), (to), sizeof *(to))

static bool read_capacity(struct vio_blk *b)
{
	vio_le64 wire;

	if (!READ(b, capacity, &wire))
		return false;
	uint64_t sectors = vio_le64_get(wire), most = UINT64_MAX / VIO_BLK_SECTOR;
	b->capacity = sectors < most ? sectors : most;
	return true;
}

struct field { unsigned char feature; uint8_t at; uint32_t least, most; uint32_t *to; };

/*
 * A limit of 0 or beyond reason becomes the nearest that makes sense; the device may refuse what it can't do.  Except for
 * size_max: devices are about that offer it and leave it 0 (qemu-storage-daemon), and mean that there is no limit.
 */
static bool read_limits(struct vio_blk *b)
{
	const struct field fields[] = {
#define AT(field) offsetof(struct vio_blk_config, field)
		{ VIO_BLK_F_SEG_MAX, AT(seg_max), 1, VIO_BLK_DRV_SEGS, &b->seg_max },
		{ VIO_BLK_F_SIZE_MAX, AT(size_max), VIO_BLK_SECTOR, UINT32_MAX, &b->size_max },
		{ VIO_BLK_F_BLK_SIZE, AT(blk_size), VIO_BLK_SECTOR, UINT32_C(1) << 31, &b->blk_size },
		{ VIO_BLK_F_DISCARD, AT(max_discard_sectors), 1, UINT32_MAX, &b->max_discard_sectors },
		{ VIO_BLK_F_DISCARD, AT(max_discard_seg), 1, UINT32_MAX, &b->max_discard_seg },
		{ VIO_BLK_F_WRITE_ZEROES, AT(max_write_zeroes_sectors), 1, UINT32_MAX, &b->max_write_zeroes_sectors },
		{ VIO_BLK_F_WRITE_ZEROES, AT(max_write_zeroes_seg), 1, UINT32_MAX, &b->max_write_zeroes_seg },
		{ VIO_BLK_F_SECURE_ERASE, AT(max_secure_erase_sectors), 1, UINT32_MAX, &b->max_secure_erase_sectors },
		{ VIO_BLK_F_SECURE_ERASE, AT(max_secure_erase_seg), 1, UINT32_MAX, &b->max_secure_erase_seg },
#undef AT
	};

	for (const struct field *f = fields; f < fields + sizeof fields / sizeof *fields; f++) {
		vio_le32 wire;
		if (!vio_drv_has(&b->drv, f->feature))
			continue;
		if (!vio_drv_config(&b->drv, f->at, &wire, sizeof wire))
			return false;
		uint32_t v = vio_le32_get(wire);
		if (v == 0 && f->feature == VIO_BLK_F_SIZE_MAX)
			v = f->most;
		*f->to = v < f->least ? f->least : v > f->most ? f->most : v;
	}
	if (b->blk_size & (b->blk_size - 1))	/* no power of two: only a hint (5.2.5), so do without it */
		b->blk_size = VIO_BLK_SECTOR;
	return true;
}

/*
 * A model that nobody knows is none.  Limits that make no sense become such that they forbid more, not less: the device is asked
 * nothing that it could not mean.
 */
static bool read_zones(struct vio_blk *b)
{
	struct vio_blk_config c;

	if (!vio_drv_has(&b->drv, VIO_BLK_F_ZONED))
		return true;
	if (!READ(b, zoned, &c.zoned))
		return false;
	b->model = c.zoned.model;
	b->zone_sectors = vio_le32_get(c.zoned.zone_sectors);
	b->write_granularity = vio_le32_get(c.zoned.write_granularity);
	if (b->model != VIO_BLK_Z_HM && b->model != VIO_BLK_Z_HA) {
		b->model = VIO_BLK_Z_NONE;	/* 5.2.5: all other fields mean nothing */
		b->zone_sectors = b->write_granularity = 0;
		return true;
	}
	if (!b->zone_sectors)
		return vio_drv_fail(&b->drv, "the device says that it has zones, and that they have no sectors");
	if (b->write_granularity < VIO_BLK_SECTOR || b->write_granularity % VIO_BLK_SECTOR)
		return vio_drv_fail(&b->drv, "the device says that its zones are written by parts of sectors");
	b->max_open_zones = vio_le32_get(c.zoned.max_open_zones);
	b->max_active_zones = vio_le32_get(c.zoned.max_active_zones);
	b->max_append_sectors = vio_le32_get(c.zoned.max_append_sectors);
	return true;
}

static bool read_config(struct vio_blk *b, uint16_t queues_wanted)
{
	uint8_t writeback = vio_drv_has(&b->drv, VIO_BLK_F_FLUSH);	/* 5.2.5.1: without CONFIG_WCE, what FLUSH implies */
	vio_le16 queues = vio_le16_of(1);

	b->blk_size = VIO_BLK_SECTOR;
	b->seg_max = VIO_BLK_DRV_SEGS;
	b->size_max = UINT32_MAX;
	if (!read_capacity(b) || !read_limits(b) || !read_zones(b))
		return false;
	if (vio_drv_has(&b->drv, VIO_BLK_F_CONFIG_WCE) && !READ(b, writeback, &writeback))
		return false;
	if (vio_drv_has(&b->drv, VIO_BLK_F_MQ) && !READ(b, num_queues, &queues))
		return false;
	b->writeback = writeback;
	b->read_only = vio_drv_has(&b->drv, VIO_BLK_F_RO);
	b->queues = vio_le16_get(queues);
	if (b->queues == 0)
		return vio_drv_fail(&b->drv, "the device says that it has no queues");
	if (b->queues > queues_wanted)
		b->queues = queues_wanted;
	return true;
}

/* ---- Start and stop ---- */

/* Map memory that must be contiguous for the device. */
static bool map_whole(struct vio_blk *b, const void *p, uint64_t bytes, struct vio_buf *out)
{
	const struct vio_platform *pf = platform(b);

	if (bytes > UINT32_MAX)
		return false;
	unsigned n = pf->ops->map(pf->arg, p, (uint32_t)bytes, VIO_BOTH_WAYS, out, 1);
	if (n == 1 && out->len == bytes)
		return true;
	if (n)
		pf->ops->unmap(pf->arg, p, (uint32_t)bytes, VIO_BOTH_WAYS, out, n);
	out->len = 0;
	return false;
}

static void unmap_whole(struct vio_blk *b, const void *p, struct vio_buf *buf)
{
	const struct vio_platform *pf = platform(b);

	if (buf->len)
		pf->ops->unmap(pf->arg, p, buf->len, VIO_BOTH_WAYS, buf, 1);
	buf->len = 0;
}

/* What the caller has room for and the device can do. */
static uint16_t queue_size(struct vio_blk *b, uint16_t queue, uint16_t most)
{
	uint16_t size = b->drv.port->ops->queue_max(b->drv.port, queue);

	if (size > most)
		size = most;
	if (size > VIO_RING_SIZE_MAX)
		size = VIO_RING_SIZE_MAX;
	while (!vio_drv_has(&b->drv, VIO_F_RING_PACKED) && size & (size - 1))
		size &= (uint16_t)(size - 1);		/* 2.7: a power of two */
	return size;
}

bool vio_blk_queue_start(struct vio_blk *b, uint16_t i, uint16_t most)
{
	struct vio_blk_queue_memory *m = &b->memory[i];
	uint16_t size = queue_size(b, i, most);

	if (size < 2)		/* a header is readable, a status byte writable */
		return vio_drv_fail(&b->drv, "the device has no such queue, or one too short for a request");
	if (!map_whole(b, m->ring, VIO_DRVQ_RING_BYTES((uint64_t)size), &b->mapped[i].ring))
		return vio_drv_fail(&b->drv, "the ring's memory can't be mapped in one piece");
	if (m->indirect && !map_whole(b, m->indirect, (uint64_t)size * VIO_BLK_DRV_INDIRECT * sizeof *m->indirect,
	    &b->mapped[i].indirect))
		return vio_drv_fail(&b->drv, "the memory for indirect tables can't be mapped in one piece");
	struct vio_drvq_setup setup = {
		.size = size, .features = b->drv.features, .slots = m->slots,
		.ring = m->ring, .ring_addr = b->mapped[i].ring.addr, .indirect = m->indirect,
		.indirect_addr = b->mapped[i].indirect.addr, .indirect_max = VIO_BLK_DRV_INDIRECT,
	};
	vio_drvq_init(&b->q[i], &setup);
	b->stopped &= (uint16_t)~(1u << i);
	return vio_drv_queue(&b->drv, i, &b->q[i]);
}

static bool start_queues(struct vio_blk *b, const struct vio_blk_setup *s)
{
	for (uint16_t i = 0; i < b->queues; i++) {
		b->memory[i] = s->memory[i];
		if (!vio_blk_queue_start(b, i, s->queue_size))
			return false;
	}
	return vio_drv_ready(&b->drv);
}

bool vio_blk_start(struct vio_blk *b, struct vio_drv_port *port, const struct vio_blk_setup *s)
{
	struct vio_features wanted = vio_blk_drives();

	*b = (struct vio_blk){ .queues = 0 };
	if (s->queues < 1 || s->queues > VIO_BLK_DRV_QUEUES) {
		b->drv.failed = "a block driver has 1 to 16 queues";
		return false;
	}
	if (!vio_features_none(s->wanted))
		wanted = vio_features_and(wanted, s->wanted);
	/* 5.2.5.1: never both with a host-managed disk, and which model it is stands in the config space, behind the features */
	if (vio_has(wanted, VIO_BLK_F_ZONED) && vio_has(port->ops->features(port), VIO_BLK_F_ZONED))
		vio_features_drop(&wanted, VIO_BLK_F_DISCARD);
	if (!vio_drv_begin(&b->drv, port, VIO_ID_BLK, wanted, NULL))
		return false;
	if (read_config(b, s->queues) && start_queues(b, s))
		return true;
	const char *why = b->drv.failed;
	if (b->drv.status & VIO_S_FAILED)	/* it may know of some rings, and must forget them before they are unmapped */
		vio_blk_stop(b);
	b->drv.failed = why;
	return false;
}

static void queue_is_ours(struct vio_blk *b, uint16_t i)
{
	unmap_whole(b, b->memory[i].ring, &b->mapped[i].ring);
	unmap_whole(b, b->memory[i].indirect, &b->mapped[i].indirect);
	b->stopped |= (uint16_t)(1u << i);
}

bool vio_blk_queue_stop(struct vio_blk *b, uint16_t queue)
{
	if (queue >= b->queues || !vio_drv_queue_reset(&b->drv, queue))
		return false;
	queue_is_ours(b, queue);
	return true;
}

bool vio_blk_stop(struct vio_blk *b)
{
	if (!vio_drv_reset(&b->drv))
		return false;
	for (uint16_t i = 0; i < VIO_BLK_DRV_QUEUES; i++)
		queue_is_ours(b, i);
	return true;
}

/* ---- Requests ---- */

static bool reads_device(uint32_t type)
{
	return type == VIO_BLK_T_IN || type == VIO_BLK_T_GET_ID || type == VIO_BLK_T_GET_LIFETIME || type == VIO_BLK_T_ZONE_REPORT;
}

static enum vio_dir direction(const struct vio_blk_request *r)
{
	return reads_device(r->type) ? VIO_FROM_DEVICE : VIO_TO_DEVICE;
}

static bool on_disk(const struct vio_blk *b, uint64_t sector, uint64_t sectors)
{
	return sector <= b->capacity && sectors <= b->capacity - sector;
}

/* 5.2.6.1: what a driver must not ask.  Ranges of discard, write zeroes and secure erase. */
static bool ranges_allowed(const struct vio_blk *b, const struct vio_blk_request *r, unsigned feature, uint32_t max_sectors,
    uint32_t max_seg)
{
	const unsigned char *at = r->data;
	uint32_t n = r->len / (uint32_t)sizeof(struct vio_blk_range);
	uint32_t flags = feature == VIO_BLK_F_WRITE_ZEROES ? VIO_BLK_RANGE_UNMAP : 0;

	if (!vio_drv_has(&b->drv, feature) || b->read_only || b->model == VIO_BLK_Z_HM)
		return false;
	if (n == 0 || r->len % sizeof(struct vio_blk_range) || n > max_seg)
		return false;
	for (; n; n--, at += sizeof(struct vio_blk_range)) {
		struct vio_blk_range range;
		memcpy(&range, at, sizeof range);
		uint32_t sectors = vio_le32_get(range.num_sectors);
		if (vio_le32_get(range.flags) & ~flags || sectors > max_sectors ||
		    !on_disk(b, vio_le64_get(range.sector), sectors))
			return false;
	}
	return true;
}

/* 5.2.6.1, of zones.  Where the write pointer is only the device knows for sure: what is behind a zone's end is not asked. */
static bool zone_allowed(const struct vio_blk *b, const struct vio_blk_request *r)
{
	uint32_t at = r->type != VIO_BLK_T_ZONE_RESET_ALL && b->zone_sectors ? (uint32_t)(r->sector % b->zone_sectors) : 0;
	uint32_t granularity = b->write_granularity ? b->write_granularity : 1;

	if (b->model == VIO_BLK_Z_NONE || !on_disk(b, r->sector, 1))
		return false;
	if (r->type == VIO_BLK_T_ZONE_REPORT)
		return r->len >= sizeof(struct vio_blk_zone_report);
	if (at || b->read_only)
		return false;
	if (r->type != VIO_BLK_T_ZONE_APPEND)
		return r->len == 0;
	return r->len && r->len % granularity == 0 && r->len / VIO_BLK_SECTOR <= b->max_append_sectors &&
	    r->len / VIO_BLK_SECTOR <= b->zone_sectors;
}

static bool allowed(const struct vio_blk *b, const struct vio_blk_request *r)
{
	if (r->len && !r->data)
		return false;
	switch (r->type) {
	case VIO_BLK_T_ZONE_APPEND:
	case VIO_BLK_T_ZONE_REPORT:
	case VIO_BLK_T_ZONE_OPEN:
	case VIO_BLK_T_ZONE_CLOSE:
	case VIO_BLK_T_ZONE_FINISH:
	case VIO_BLK_T_ZONE_RESET:
	case VIO_BLK_T_ZONE_RESET_ALL:
		return zone_allowed(b, r);
	case VIO_BLK_T_IN:
	case VIO_BLK_T_OUT:
		return r->len && r->len % VIO_BLK_SECTOR == 0 && on_disk(b, r->sector, r->len / VIO_BLK_SECTOR) &&
		    !(r->type == VIO_BLK_T_OUT && b->read_only);
	case VIO_BLK_T_FLUSH:
		return vio_drv_has(&b->drv, VIO_BLK_F_FLUSH) && r->len == 0;
	case VIO_BLK_T_GET_ID:
		return r->len == VIO_BLK_ID_BYTES;
	case VIO_BLK_T_GET_LIFETIME:
		return vio_drv_has(&b->drv, VIO_BLK_F_LIFETIME) && r->len == sizeof(struct vio_blk_lifetime);
	case VIO_BLK_T_DISCARD:
		return ranges_allowed(b, r, VIO_BLK_F_DISCARD, b->max_discard_sectors, b->max_discard_seg);
	case VIO_BLK_T_WRITE_ZEROES:
		return ranges_allowed(b, r, VIO_BLK_F_WRITE_ZEROES, b->max_write_zeroes_sectors, b->max_write_zeroes_seg);
	case VIO_BLK_T_SECURE_ERASE:
		return ranges_allowed(b, r, VIO_BLK_F_SECURE_ERASE, b->max_secure_erase_sectors, b->max_secure_erase_seg);
	default:
		return false;
	}
}

static void unmap(struct vio_blk *b, struct vio_blk_request *r)
{
	const struct vio_platform *pf = platform(b);

	if (r->data_bufs)
		pf->ops->unmap(pf->arg, r->data, r->len, direction(r), r->data_buf, r->data_bufs);
	if (r->head_bufs)
		pf->ops->unmap(pf->arg, &r->header, HEAD_BYTES, VIO_BOTH_WAYS, r->head_buf, r->head_bufs);
	r->data_bufs = r->head_bufs = 0;
}

static bool map(struct vio_blk *b, struct vio_blk_request *r)
{
	const struct vio_platform *pf = platform(b);

	r->data_bufs = 0;
	r->head_bufs = (uint8_t)pf->ops->map(pf->arg, &r->header, HEAD_BYTES, VIO_BOTH_WAYS, r->head_buf, 3);
	if (r->len && r->head_bufs)
		r->data_bufs = (uint8_t)pf->ops->map(pf->arg, r->data, r->len, direction(r), r->data_buf, b->seg_max);
	if (r->head_bufs && (!r->len || r->data_bufs))
		return true;
	unmap(b, r);
	return false;
}

/* The data's buffers, none longer than size_max.  How many, or 0 when they would be too many. */
static unsigned add_data(const struct vio_blk *b, const struct vio_blk_request *r, struct vio_buf *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < r->data_bufs; i++) {
		struct vio_buf left = r->data_buf[i];
		while (left.len) {
			if (n == b->seg_max)
				return 0;
			uint32_t part = left.len < b->size_max ? left.len : b->size_max;
			out[n++] = (struct vio_buf){ left.addr, part };
			left.addr += part;
			left.len -= part;
		}
	}
	return n;
}

/* Bytes [from, to) of the header and what follows it, which may lie in two pieces. */
static unsigned cut_head(const struct vio_blk_request *r, uint32_t from, uint32_t to, struct vio_buf *out)
{
	unsigned n = 0;
	uint32_t at = 0;

	for (unsigned i = 0; i < r->head_bufs; i++) {
		struct vio_buf piece = r->head_buf[i];
		uint32_t begin = from > at ? from - at : 0, end = to > at ? to - at : 0;
		if (end > piece.len)
			end = piece.len;
		if (begin < end)
			out[n++] = (struct vio_buf){ piece.addr + begin, end - begin };
		at += piece.len;
	}
	return n;
}

/* Lay out the chain: header, data, answer.  How many buffers, *readable of them readable; 0: too many for the device. */
static unsigned lay_out(const struct vio_blk *b, const struct vio_blk_request *r, struct vio_buf out[BUFS], unsigned *readable)
{
	uint32_t answer = r->type == VIO_BLK_T_ZONE_APPEND ? offsetof(struct vio_blk_request, append_sector) :
	    offsetof(struct vio_blk_request, answer);
	unsigned n = cut_head(r, 0, sizeof r->header, out), data = add_data(b, r, out + n);

	*readable = n;
	if (!data && r->len)
		return 0;
	n += data;
	if (direction(r) == VIO_TO_DEVICE)
		*readable = n;
	return n + cut_head(r, answer, HEAD_BYTES, out + n);
}

bool vio_blk_submit(struct vio_blk *b, uint16_t queue, struct vio_blk_request *r)
{
	struct vio_buf bufs[BUFS];
	unsigned n, readable;

	r->got = 0;
	r->status = VIO_BLK_S_UNSUPP;
	r->answer = NO_STATUS;
	if (queue >= b->queues || !allowed(b, r))
		return false;
	if (b->stopped >> queue & 1) {
		r->status = VIO_BLK_S_LOST;
		return false;
	}
	/* 5.2.6.1: sector is 0 for all but reads, writes and those of one zone */
	bool placed = r->type == VIO_BLK_T_IN || r->type == VIO_BLK_T_OUT ||
	    (r->type >= VIO_BLK_T_ZONE_APPEND && r->type < VIO_BLK_T_ZONE_RESET_ALL);
	r->header = (struct vio_blk_req){ vio_le32_of(r->type), vio_le32_of(0), vio_le64_of(placed ? r->sector : 0) };
	if (!map(b, r))
		return false;
	n = lay_out(b, r, bufs, &readable);
	if (n == 0 || n > b->q[queue].size) {
		unmap(b, r);
		return false;
	}
	if (vio_drvq_add(&b->q[queue], bufs, readable, n - readable, r))
		return true;
	unmap(b, r);
	r->status = b->q[queue].broken ? VIO_BLK_S_LOST : NO_STATUS;
	return false;
}

void vio_blk_kick(struct vio_blk *b, uint16_t queue)
{
	vio_drv_kick(&b->drv, queue, &b->q[queue]);
}

/* Somewhere in the zone, or the device lies. */
static void finish_append(const struct vio_blk *b, struct vio_blk_request *r)
{
	uint64_t at = vio_le64_get(*(volatile vio_le64 *)&r->append_sector);

	if (at < r->sector || at - r->sector > b->zone_sectors - r->len / VIO_BLK_SECTOR)
		r->status = VIO_BLK_S_IOERR;
	else
		r->sector = at;
}

/* The device has used r's chain, len bytes of it written. */
static struct vio_blk_request *finish(struct vio_blk *b, struct vio_blk_request *r, uint32_t len)
{
	unmap(b, r);
	r->status = *(volatile uint8_t *)&r->answer;
	uint8_t most = b->model == VIO_BLK_Z_NONE ? VIO_BLK_S_UNSUPP : VIO_BLK_S_ZONE_ACTIVE_RESOURCE;
	if (r->status > most)				/* never written, or no status there is */
		r->status = VIO_BLK_S_IOERR;
	r->got = !reads_device(r->type) ? 0 : len < r->len ? len : r->len;
	if (r->type == VIO_BLK_T_IN && r->status == VIO_BLK_S_OK && r->got < r->len)
		r->status = VIO_BLK_S_IOERR;		/* 2.7.8.3: bytes past len are not what was read */
	if (r->type == VIO_BLK_T_ZONE_APPEND && r->status == VIO_BLK_S_OK)
		finish_append(b, r);
	return r;
}

struct vio_blk_request *vio_blk_poll(struct vio_blk *b, uint16_t queue)
{
	struct vio_blk_request *r = b->finished;
	uint32_t len;

	if (__builtin_expect(queue == 0 && r, 0)) {
		b->finished = r->next;
		return r;
	}
	r = b->stopped >> queue & 1 ? NULL : vio_drvq_get(&b->q[queue], &len);
	return r ? finish(b, r, len) : NULL;
}

static void keep(struct vio_blk *b, struct vio_blk_request *r)
{
	struct vio_blk_request **end = &b->finished;

	while (*end)
		end = &(*end)->next;
	r->next = NULL;
	*end = r;
}

/* Nothing came in time, or nothing sensible can: only a reset makes r's memory ours again (3.3.1). */
static uint8_t give_up(struct vio_blk *b, struct vio_blk_request *r)
{
	const char *why = b->q[0].broken ? b->q[0].broken : "the device did not answer a request in time";
	struct vio_blk_request *other;

	vio_drv_fail(&b->drv, why);
	if (vio_blk_stop(b))
		while ((other = vio_blk_abandon(b, 0)))
			if (other != r)
				keep(b, other);
	return r->status = VIO_BLK_S_LOST;
}

uint8_t vio_blk_do(struct vio_blk *b, struct vio_blk_request *r)
{
	const struct vio_platform *pf = platform(b);
	uint64_t deadline = pf->ops->now_ns(pf->arg) + VIO_DRV_PATIENCE_NS;
	bool submitted = false;
	uint32_t len;

	while (b->drv.status & VIO_S_DRIVER_OK) {	/* nor while suspended */
		if (!submitted) {
			submitted = vio_blk_submit(b, 0, r);
			if (!submitted && r->status != NO_STATUS)
				return r->status;
		}
		struct vio_blk_request *one = vio_drv_get_wait(&b->drv, 0, &b->q[0], &len, deadline);
		if (!one)
			return give_up(b, r);
		finish(b, one, len);
		if (one == r)
			return r->status;
		keep(b, one);
	}
	return r->status = VIO_BLK_S_LOST;
}

struct vio_blk_request *vio_blk_abandon(struct vio_blk *b, uint16_t queue)
{
	if (queue >= b->queues || !(b->stopped >> queue & 1))	/* the device still has them */
		return NULL;
	struct vio_blk_request *r = vio_drvq_take_back(&b->q[queue]);
	if (!r)
		return NULL;
	unmap(b, r);
	r->status = VIO_BLK_S_LOST;
	r->got = 0;
	return r;
}

/* ---- While it runs ---- */

bool vio_blk_config_changed(struct vio_blk *b)
{
	return read_capacity(b);	/* 5.2.6.1 */
}

bool vio_blk_set_writeback(struct vio_blk *b, bool on)
{
	const uint8_t wire = on;

	if (!vio_drv_has(&b->drv, VIO_BLK_F_CONFIG_WCE) || b->drv.suspended)
		return false;
	if (!b->drv.port->ops->config_write(b->drv.port, offsetof(struct vio_blk_config, writeback), &wire, 1))
		return vio_drv_fail(&b->drv, "the way to the device broke while its config space was written");
	b->writeback = on;
	return true;
}
