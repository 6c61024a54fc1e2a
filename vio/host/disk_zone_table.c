/* Zones: what may be done to them, and what becomes of them (5.2.6). */
#include <vio/host/disk_zone.h>
#include <stdlib.h>
#include <vio/host/why.h>

enum { ZONES_MAX = 1 << 20 };

/* ---- Making one ---- */

static bool power_of_two(uint64_t n) { return n && !(n & (n - 1)); }

bool vio_zone_table_init(struct vio_zone_table *t, const struct vio_disk_zone_options *o, uint64_t disk_size, uint32_t block, char *why)
{
	uint64_t capacity = o->capacity ? o->capacity : o->size;

	if (!power_of_two(o->size) || o->size < block || o->size > UINT64_C(1) << 40)
		return vio_refuse(why, "a zone's size is a power of two, at least a block of %u bytes: give size=64M", block);
	if (capacity > o->size || capacity % block)
		return vio_refuse(why, "a zone's capacity is whole blocks of %u bytes, and no more than its size", block);
	uint64_t count = (disk_size + o->size - 1) / o->size;
	if (count > ZONES_MAX || !count)
		return vio_refuse(why, "the disk would have %llu zones, and may have 1 to %d: give another size", (unsigned long long)count, ZONES_MAX);
	if (o->conventional > count)
		return vio_refuse(why, "there are %llu zones: fewer of them can be conventional", (unsigned long long)count);
	if (o->max_active && o->max_open > o->max_active)
		return vio_refuse(why, "open zones are active ones: max-open is at most max-active");
	if (o->append % block)
		return vio_refuse(why, "what is appended at once is whole blocks of %u bytes", block);
	*t = (struct vio_zone_table){ .disk_size = disk_size, .capacity = capacity, .count = (uint32_t)count, .conventional = o->conventional,
		.is = { .model = o->host_aware ? VIO_BLK_Z_HA : VIO_BLK_Z_HM, .size = o->size, .max_open = o->max_open,
			.max_active = o->max_active, .max_append = o->append, .granularity = block } };
	t->zone = calloc(count, sizeof *t->zone);
	if (!t->zone)
		return vio_refuse(why, "there is no memory for %u zones: give a larger size", t->count);
	for (uint32_t i = 0; i < t->count; i++) {
		bool conventional = i < t->conventional;
		t->zone[i].type = conventional ? VIO_BLK_ZT_CONV : o->host_aware ? VIO_BLK_ZT_SWP : VIO_BLK_ZT_SWR;
		t->zone[i].state = conventional ? VIO_BLK_ZS_NOT_WP : VIO_BLK_ZS_EMPTY;
	}
	return true;
}

void vio_zone_table_free(struct vio_zone_table *t)
{
	free(t->zone);
	t->zone = NULL;
}

uint64_t vio_zone_start(const struct vio_zone_table *t, uint32_t i) { return i * t->is.size; }

static uint64_t end_of(const struct vio_zone_table *t, uint32_t i)
{
	uint64_t left = t->disk_size - vio_zone_start(t, i);
	return vio_zone_start(t, i) + (left < t->is.size ? left : t->is.size);
}

uint64_t vio_zone_capacity(const struct vio_zone_table *t, uint32_t i)
{
	uint64_t size = end_of(t, i) - vio_zone_start(t, i);
	return i < t->conventional || size < t->capacity ? size : t->capacity;
}

/* Open zones were closed when the power went. */
void vio_zone_revive(struct vio_zone_table *t, uint32_t i, uint64_t wp, bool full)
{
	struct vio_zone *z = &t->zone[i];

	z->wp = z->durable = wp;
	z->full = full;
	z->state = full || wp == vio_zone_capacity(t, i) ? VIO_BLK_ZS_FULL : wp ? VIO_BLK_ZS_CLOSED : VIO_BLK_ZS_EMPTY;
	t->active += z->state == VIO_BLK_ZS_CLOSED;
}

/* ---- Resources ---- */

static bool is_open(const struct vio_zone *z) { return z->state == VIO_BLK_ZS_IOPEN || z->state == VIO_BLK_ZS_EOPEN; }
static bool is_active(const struct vio_zone *z) { return is_open(z) || z->state == VIO_BLK_ZS_CLOSED; }

static void become(struct vio_zone_table *t, struct vio_zone *z, uint8_t state)
{
	t->open -= is_open(z);
	t->active -= is_active(z);
	z->state = state;
	t->open += is_open(z);
	t->active += is_active(z);
}

/* An implicitly open one, in turn. */
static bool close_one(struct vio_zone_table *t)
{
	for (uint32_t n = 0; n < t->count; n++) {
		struct vio_zone *z = &t->zone[t->close_next];
		t->close_next = (t->close_next + 1) % t->count;
		if (z->state != VIO_BLK_ZS_IOPEN)
			continue;
		become(t, z, VIO_BLK_ZS_CLOSED);
		return true;
	}
	return false;
}

/* Of an empty or closed zone; when both limits are in the way, it is the active one that is told. */
static int open_zone(struct vio_zone_table *t, struct vio_zone *z, uint8_t state)
{
	if (!is_active(z) && t->is.max_active && t->active >= t->is.max_active)
		return VIO_DISK_ZONE_NO_ACTIVE;
	if (!is_open(z) && t->is.max_open && t->open >= t->is.max_open && !close_one(t))
		return VIO_DISK_ZONE_NO_OPEN;
	become(t, z, state);
	return 0;
}

/* ---- Writing ---- */

static bool can_be_written(const struct vio_zone *z)
{
	return z->state != VIO_BLK_ZS_RDONLY && z->state != VIO_BLK_ZS_OFFLINE;
}

static void advance(struct vio_zone_table *t, uint32_t i, uint64_t wp)
{
	struct vio_zone *z = &t->zone[i];

	if (wp <= z->wp)
		return;
	z->wp = wp;
	z->dirty = true;
	if (wp == vio_zone_capacity(t, i))
		become(t, z, VIO_BLK_ZS_FULL);
}

static int write_sequential(struct vio_zone_table *t, uint32_t i, uint64_t offset, uint64_t length, bool append, uint64_t *at)
{
	struct vio_zone *z = &t->zone[i];
	uint64_t start = vio_zone_start(t, i), in = offset - start;

	if (!can_be_written(z) || z->state == VIO_BLK_ZS_FULL || (append && in) || length > end_of(t, i) - offset)
		return VIO_DISK_ZONE_INVALID;
	if ((!append && in != z->wp) || length % t->is.granularity)
		return VIO_DISK_ZONE_UNALIGNED;
	if (length > vio_zone_capacity(t, i) - z->wp)
		return VIO_DISK_ZONE_INVALID;
	int error = is_open(z) ? 0 : open_zone(t, z, VIO_BLK_ZS_IOPEN);
	if (error)
		return error;
	*at = start + z->wp;
	advance(t, i, z->wp + length);
	return 0;
}

/* Preferred, not required: anywhere, and over several zones. */
static int write_preferred(struct vio_zone_table *t, uint32_t i, uint64_t offset, uint64_t end)
{
	for (uint32_t k = i; k < t->count && vio_zone_start(t, k) < end; k++) {
		uint64_t to = end < end_of(t, k) ? end : end_of(t, k);
		if (!can_be_written(&t->zone[k]) || to - vio_zone_start(t, k) > vio_zone_capacity(t, k))
			return VIO_DISK_ZONE_INVALID;
	}
	for (; i < t->count && vio_zone_start(t, i) < end; i++) {
		struct vio_zone *z = &t->zone[i];
		uint64_t to = (end < end_of(t, i) ? end : end_of(t, i)) - vio_zone_start(t, i);
		if (z->type == VIO_BLK_ZT_CONV)
			continue;
		int error = is_open(z) || z->state == VIO_BLK_ZS_FULL ? 0 : open_zone(t, z, VIO_BLK_ZS_IOPEN);
		if (error)
			return error;
		advance(t, i, to);
	}
	(void)offset;
	return 0;
}

/* Does [offset, end) have sectors of a zone that must be written in sequence, and of another one as well? */
static bool leaves_zone(const struct vio_zone_table *t, uint64_t offset, uint64_t end)
{
	uint32_t first = (uint32_t)(offset / t->is.size), last = (uint32_t)((end - 1) / t->is.size);

	return first != last && (t->zone[first].type == VIO_BLK_ZT_SWR || t->zone[last].type == VIO_BLK_ZT_SWR);
}

int vio_zone_write(struct vio_zone_table *t, uint64_t offset, uint64_t length, bool append, uint64_t *at)
{
	uint32_t i = (uint32_t)(offset / t->is.size);
	const struct vio_zone *z = &t->zone[i];

	*at = offset;
	if ((append && z->type != VIO_BLK_ZT_SWR) || leaves_zone(t, offset, offset + length))
		return VIO_DISK_ZONE_INVALID;
	if (z->type == VIO_BLK_ZT_SWR)
		return write_sequential(t, i, offset, length, append, at);
	return write_preferred(t, i, offset, offset + length);
}

void vio_zone_unwrite(struct vio_zone_table *t, uint64_t at, uint64_t length)
{
	uint32_t i = (uint32_t)(at / t->is.size);
	struct vio_zone *z = &t->zone[i];
	uint64_t in = at - vio_zone_start(t, i);

	if (z->type != VIO_BLK_ZT_SWR || z->wp != in + length || (z->state != VIO_BLK_ZS_FULL && !is_active(z)))
		return;
	z->wp = in;
	z->dirty = true;
	if (!in)
		become(t, z, VIO_BLK_ZS_EMPTY);
	else if (z->state == VIO_BLK_ZS_FULL)
		become(t, z, VIO_BLK_ZS_CLOSED);
}

int vio_zone_read(const struct vio_zone_table *t, uint64_t offset, uint64_t length, uint64_t *data)
{
	uint32_t i = (uint32_t)(offset / t->is.size);
	const struct vio_zone *z = &t->zone[i];
	uint64_t in = offset - vio_zone_start(t, i);

	*data = length;
	if (leaves_zone(t, offset, offset + length))
		return VIO_DISK_ZONE_INVALID;
	for (uint32_t k = i; k < t->count && vio_zone_start(t, k) < offset + length; k++)
		if (t->zone[k].state == VIO_BLK_ZS_OFFLINE)
			return VIO_DISK_ZONE_INVALID;
	if (z->type != VIO_BLK_ZT_CONV && length <= end_of(t, i) - offset)
		*data = in >= z->wp ? 0 : length < z->wp - in ? length : z->wp - in;
	return 0;
}

/* ---- What a driver tells a zone to be ---- */

static void empty(struct vio_zone_table *t, struct vio_zone *z)
{
	if (z->state == VIO_BLK_ZS_EMPTY)
		return;
	become(t, z, VIO_BLK_ZS_EMPTY);
	z->wp = z->durable = 0;
	z->full = false;
	z->dirty = true;
}

/*
 * 5.2.6 lets an open zone be finished, and says nothing of an empty or closed one.  Zones may be closed at any time without a
 * word, so these can be finished too, as ZBC and ZNS have it.
 */
static int change(struct vio_zone_table *t, struct vio_zone *z, enum vio_disk_zone_op op)
{
	bool writable = is_active(z) || z->state == VIO_BLK_ZS_EMPTY;

	switch (op) {
	case VIO_ZONE_OPEN:
		return writable ? open_zone(t, z, VIO_BLK_ZS_EOPEN) : VIO_DISK_ZONE_INVALID;
	case VIO_ZONE_CLOSE:
		if (!is_active(z))
			return VIO_DISK_ZONE_INVALID;
		become(t, z, z->wp ? VIO_BLK_ZS_CLOSED : VIO_BLK_ZS_EMPTY);
		return 0;
	case VIO_ZONE_FINISH:
		if (!writable && z->state != VIO_BLK_ZS_FULL)
			return VIO_DISK_ZONE_INVALID;
		become(t, z, VIO_BLK_ZS_FULL);
		z->dirty = true;
		return 0;
	case VIO_ZONE_RESET:
		if (!writable && z->state != VIO_BLK_ZS_FULL)
			return VIO_DISK_ZONE_INVALID;
		empty(t, z);
		return 0;
	default:
		return VIO_DISK_ZONE_INVALID;
	}
}

int vio_zone_change(struct vio_zone_table *t, enum vio_disk_zone_op op, uint64_t offset)
{
	uint32_t i = (uint32_t)(offset / t->is.size);

	if (op == VIO_ZONE_RESET_ALL) {
		for (uint32_t k = t->conventional; k < t->count; k++)
			if (can_be_written(&t->zone[k]))
				empty(t, &t->zone[k]);
		return 0;
	}
	if (offset >= t->disk_size || offset != vio_zone_start(t, i) || t->zone[i].type == VIO_BLK_ZT_CONV)
		return VIO_DISK_ZONE_INVALID;
	return change(t, &t->zone[i], op);
}

void vio_zone_describe(const struct vio_zone_table *t, uint32_t i, struct vio_blk_zone *to)
{
	const struct vio_zone *z = &t->zone[i];
	uint64_t start = vio_zone_start(t, i), wp = z->type == VIO_BLK_ZT_CONV || z->state == VIO_BLK_ZS_FULL ? end_of(t, i) : start + z->wp;

	*to = (struct vio_blk_zone){ .z_cap = vio_le64_of(vio_zone_capacity(t, i) / VIO_BLK_SECTOR), .z_start = vio_le64_of(start / VIO_BLK_SECTOR),
		.z_wp = vio_le64_of(wp / VIO_BLK_SECTOR), .z_type = z->type, .z_state = z->state };
}
