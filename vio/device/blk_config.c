/*
 * What the block device says of itself and is told (virtio 1.4, 5.2.3 to 5.2.5): features, config space, cache mode, size.
 * All of it in the home thread; the queues' threads see two atomic words of it, the rules and the size.
 */
#include <vio/device/blk_impl.h>

/*
 * 5.2.6.2, the three ways in which a write becomes stable: with neither CONFIG_WCE nor FLUSH every write is; with CONFIG_WCE
 * the writeback field says it; with FLUSH alone a flush does it (but an operator who asked for writethrough gets that).
 */
static void settle(struct blk *b)
{
	struct vio_features f = b->dev.accepted;
	uint32_t now = 0;

	if (vio_has(f, VIO_BLK_F_CONFIG_WCE) ? !b->config.writeback : !vio_has(f, VIO_BLK_F_FLUSH) || b->writethrough)
		now |= VIO_BLK_DURABLE;
	if (vio_has(f, VIO_BLK_F_DISCARD))
		now |= VIO_BLK_DISCARD;
	if (vio_has(f, VIO_BLK_F_WRITE_ZEROES))
		now |= VIO_BLK_ZEROES;
	if (vio_has(f, VIO_BLK_F_SECURE_ERASE))
		now |= VIO_BLK_ERASE;
	if (vio_has(f, VIO_BLK_F_LIFETIME))
		now |= VIO_BLK_LIFETIME;
	if (vio_has(f, VIO_BLK_F_ZONED))
		now |= VIO_BLK_ZONED;
	__atomic_store_n(&b->rules, now, __ATOMIC_RELAXED);
}

static void fill_zones(struct blk *b, bool zoned);

void vio_blk_dev_negotiated(struct vio_dev *d)
{
	struct blk *b = blk_of(d);

	if (vio_has(d->accepted, VIO_BLK_F_CONFIG_WCE) && !vio_has(d->accepted, VIO_BLK_F_FLUSH))
		b->config.writeback = 0;	/* 5.2.5.2 */
	if (b->disk->zones)
		fill_zones(b, vio_has(d->accepted, VIO_BLK_F_ZONED));
	settle(b);
}

/* writeback is the only field that a driver can write. */
void vio_blk_dev_config(struct vio_dev *d, uint32_t at, uint32_t len)
{
	struct blk *b = blk_of(d);

	(void)at, (void)len;
	if (vio_has(d->accepted, VIO_BLK_F_CONFIG_WCE))
		b->config.writeback = b->config.writeback != 0;
	else
		b->config.writeback = !b->writethrough;
	settle(b);
}

void vio_blk_dev_reset(struct vio_dev *d)
{
	struct blk *b = blk_of(d);

	b->config.writeback = !b->writethrough;
	if (b->disk->zones)
		fill_zones(b, true);
	__atomic_store_n(&b->rules, VIO_BLK_DURABLE, __ATOMIC_RELAXED);
}

/* Device-specific state: one byte, the cache mode. */
size_t vio_blk_dev_save(struct vio_dev *d, void *to, size_t room)
{
	if (to && room)
		*(uint8_t *)to = blk_of(d)->config.writeback;
	return 1;
}

const char *vio_blk_dev_load(struct vio_dev *d, const void *from, size_t n)
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

void vio_blk_dev_tell_size(struct blk *b)
{
	b->size_due = false;
	b->config.capacity = vio_le64_of(b->sectors);
	vio_dev_config_changed(&b->dev);
}

static void blk_resized(void *arg)
{
	struct blk *b = arg;
	uint64_t sectors = whole_sectors(b->disk);

	__atomic_store_n(&b->sectors, sectors, __ATOMIC_RELAXED);
	b->size_due = b->dev.status & VIO_S_SUSPEND;	/* 3.4.2: the config space stands still; a queue's start goes on */
	if (!b->size_due)
		vio_blk_dev_tell_size(b);
}

const unsigned char vio_blk_dev_features[VIO_BLK_DEV_FEATURES] = {
	VIO_BLK_F_SIZE_MAX, VIO_BLK_F_SEG_MAX, VIO_BLK_F_GEOMETRY, VIO_BLK_F_RO, VIO_BLK_F_BLK_SIZE, VIO_BLK_F_FLUSH,
	VIO_BLK_F_TOPOLOGY, VIO_BLK_F_CONFIG_WCE, VIO_BLK_F_MQ, VIO_BLK_F_DISCARD, VIO_BLK_F_WRITE_ZEROES,
	VIO_BLK_F_LIFETIME, VIO_BLK_F_SECURE_ERASE, VIO_BLK_F_ZONED,
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
		return "the disk's size is not a multiple of its logical block size: pad the image, or choose smaller blocks";
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
	    vio_le32_of(VIO_BLK_RANGE_SECTORS);
	b->config.max_discard_seg = b->config.max_write_zeroes_seg = b->config.max_secure_erase_seg =
	    vio_le32_of(VIO_BLK_RANGES);
	b->config.discard_sector_alignment = b->config.secure_erase_sector_alignment = vio_le32_of(align / VIO_BLK_SECTOR);
	b->config.write_zeroes_may_unmap = disk->zero_may_unmap;
}

/*
 * 5.2.5: what is told of zones when ZONED is negotiated; all zeroes when a host-aware disk is used as a plain one.  Without a limit
 * for segments' bytes seg_max * size_max is none either.
 */
static void fill_zones(struct blk *b, bool zoned)
{
	const struct vio_disk_zones *z = b->disk->zones;
	uint64_t append = z->max_append / VIO_BLK_SECTOR;
	uint64_t segs = vio_le32_get(b->config.seg_max), bytes = vio_le32_get(b->config.size_max);

	memset(&b->config.zoned, 0, sizeof b->config.zoned);
	if (!zoned)
		return;
	if (bytes && append > segs * bytes / VIO_BLK_SECTOR)
		append = segs * bytes / z->granularity * z->granularity / VIO_BLK_SECTOR;
	b->config.zoned.zone_sectors = vio_le32_of((uint32_t)(z->size / VIO_BLK_SECTOR));
	b->config.zoned.max_open_zones = vio_le32_of(z->max_open);
	b->config.zoned.max_active_zones = vio_le32_of(z->max_active);
	b->config.zoned.max_append_sectors = vio_le32_of((uint32_t)append);
	b->config.zoned.write_granularity = vio_le32_of(z->granularity);
	b->config.zoned.model = z->model;
}

/* 5.2.5.2: a host-managed disk is of no use to a driver that knows no zones. */
bool vio_blk_dev_features_ok(struct vio_dev *d, struct vio_features accepted)
{
	const struct vio_disk_zones *z = blk_of(d)->disk->zones;
	return !z || z->model != VIO_BLK_Z_HM || vio_has(accepted, VIO_BLK_F_ZONED);
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
	if (b->disk->zones)
		fill_zones(b, true);
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
		{ VIO_BLK_F_ZONED, disk->zones },
	};

	for (unsigned i = 0; i < sizeof has / sizeof has[0]; i++)
		if (!has[i].has)
			vio_features_drop(&b->dev.type_features, has[i].bit);
}

const char *vio_blk_dev_open(struct vio_dev *d, const void *options)
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
	b->rules = VIO_BLK_DURABLE;
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

void vio_blk_dev_close(struct vio_dev *d)
{
	struct vio_disk *disk = blk_of(d)->disk;

	disk->resized = NULL;
	disk->resized_arg = NULL;
}
