/*
 * Logical units: found by any thread, added and removed by the home thread while commands run.
 *
 * A unit lies in a slot of a table that is searched from its address on (open addressing).  Slots are never moved, and a key is one
 * atomic word, so that nobody who searches needs a lock.  Before a slot is used again all queues have said, by a message of
 * their own threads, that they have nothing of the old unit any more: that is draining, and how a medium is changed too.
 */
#include <vio/device/scsi_impl.h>

static unsigned first_slot(uint32_t address) { return (address * UINT32_C(0x9e3779b1)) >> 24; }
VIO_STATIC_ASSERT(VIO_SCSI_LUNS == 256, "first_slot()");

static uint32_t key_at(struct scsi *s, unsigned i) { return __atomic_load_n(&s->key[i], __ATOMIC_ACQUIRE); }

struct scsi_unit *vio_scsi_dev_find(struct scsi *s, uint32_t address)
{
	unsigned first = first_slot(address);

	for (unsigned n = 0; n < VIO_SCSI_LUNS; n++) {
		unsigned i = (first + n) % VIO_SCSI_LUNS;
		uint32_t key = key_at(s, i);
		if (key == KEY_NONE)
			return NULL;
		if (key == KEY_OF(address))
			return scsi_flags(&s->unit[i]) & UNIT_HERE ? &s->unit[i] : NULL;
	}
	return NULL;
}

bool vio_scsi_dev_has_target(struct scsi *s, unsigned target)
{
	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++) {
		uint32_t key = key_at(s, i);
		if (key > KEY_GONE && (key - KEY_OF(0)) >> 16 == target && scsi_flags(&s->unit[i]) & UNIT_HERE)
			return true;
	}
	return false;
}

struct scsi_unit *vio_scsi_dev_next_unit(struct scsi *s, unsigned *i)
{
	while (*i < VIO_SCSI_LUNS) {
		unsigned at = (*i)++;
		if (key_at(s, at) > KEY_GONE && scsi_flags(&s->unit[at]) & UNIT_HERE)
			return &s->unit[at];
	}
	return NULL;
}

/* Also one that is still being removed. */
static struct scsi_unit *find_slot(struct scsi *s, uint32_t address)
{
	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++)
		if (key_at(s, i) == KEY_OF(address))
			return &s->unit[i];
	return NULL;
}

void vio_scsi_dev_news(struct scsi_unit *u)
{
	if (u->s->news)
		u->s->news(u->s->news_arg, u->o.target, u->o.lun);
}

/* ---- What lies in a unit ---- */

static void resized(void *arg)
{
	struct scsi_unit *u = arg;
	uint64_t blocks = u->disk->size >> u->shift;

	if (blocks == scsi_blocks(u))
		return;
	__atomic_store_n(&u->blocks, blocks, __ATOMIC_RELAXED);
	scsi_attention(u, ATTENTION_CAPACITY);
	if (u->type == VIO_SCSI_DISK)		/* 5.6.6.3: never of MMC devices */
		vio_scsi_dev_event(u->s, VIO_SCSI_T_PARAM_CHANGE, ADDRESS_OF(u->o.target, u->o.lun),
		    (VIO_ASC_CAPACITY_CHANGED >> 8) | (VIO_ASC_CAPACITY_CHANGED & 0xff) << 8);
	vio_scsi_dev_news(u);
}

void vio_scsi_dev_unit_medium(struct scsi_unit *u, struct vio_disk *disk)
{
	u->disk = disk;
	if (!disk) {
		__atomic_store_n(&u->blocks, 0, __ATOMIC_RELAXED);
		scsi_clear(u, UNIT_MEDIUM);
		return;
	}
	u->read_only = u->o.read_only || u->o.cdrom || disk->read_only;
	u->can_zero = disk->can_zero && !u->read_only;
	u->can_unmap = !u->read_only && (u->o.thin ? disk->can_zero && disk->zero_may_unmap : disk->can_discard);
	__atomic_store_n(&u->blocks, disk->size >> u->shift, __ATOMIC_RELAXED);
	disk->resized = resized;
	disk->resized_arg = u;
	scsi_set(u, UNIT_MEDIUM);
}

static void forget_medium(struct scsi_unit *u)
{
	if (!u->disk)
		return;
	u->disk->resized = NULL;
	u->disk->resized_arg = NULL;
	u->disk = NULL;
}

void vio_scsi_dev_unit_reset(struct scsi_unit *u, enum attention why)
{
	scsi_clear(u, UNIT_MODES | UNIT_LOCKED | UNIT_STOPPED);
	if (!u->o.writethrough)
		scsi_set(u, UNIT_WCE);
	__atomic_store_n(&u->attention, UINT32_C(1) << why, __ATOMIC_RELAXED);
}

/* ---- New ones ---- */

static bool power_of_two(uint32_t n) { return n && !(n & (n - 1)); }

static uint32_t block_of(const struct vio_scsi_lun *o)
{
	if (o->logical_block)
		return o->logical_block;
	return o->cdrom ? 2048 : o->disk ? o->disk->logical_block : 512;
}

static bool printable(const char *text, size_t room)
{
	size_t i = 0;

	while (i < room && text[i])
		if (text[i] < ' ' || text[i++] > '~')
			return false;
	return i < room;
}

/* A medium has to fit the drive. */
static const char *check_disk(const struct vio_scsi_lun *o, const struct vio_disk *disk)
{
	uint32_t block = block_of(o);

	if (disk->logical_block > block)
		return o->cdrom ? "the disk's blocks are larger than the 2048 bytes of a CD-ROM" :
		    "the disk's blocks are larger than the unit's: choose a logical block size that is not less than the disk's";
	if (disk->size % block && !o->cdrom)
		return "the disk's size is not a multiple of its logical block size: pad the image, or choose smaller blocks";
	return NULL;
}

static const char *check_unit(const struct vio_scsi_lun *o)
{
	uint32_t block = block_of(o);

	if (o->lun > VIO_SCSI_MAX_LUN)
		return "a logical unit's number is at most 16383";
	if (!o->disk && !o->cdrom && !o->removable)
		return "only a CD-ROM drive or a removable disk can be empty: say which disk the unit has";
	if (!power_of_two(block) || block < 512 || block > 4096)
		return "the logical block size must be 512, 1024, 2048 or 4096";
	if (o->cdrom && block != 2048)
		return "a CD-ROM has blocks of 2048 bytes: leave its logical block size out";
	if (o->cdrom && (o->protect || o->thin))
		return "a CD-ROM has no protection information and no thin provisioning";
	if (o->physical_block && (!power_of_two(o->physical_block) || o->physical_block < block))
		return "the physical block size must be a power of two, and not less than the logical one";
	if (!printable(o->vendor, sizeof o->vendor) || !printable(o->product, sizeof o->product) ||
	    !printable(o->revision, sizeof o->revision) || !printable(o->serial, sizeof o->serial))
		return "vendor, product, revision and serial number are made of printable ASCII characters";
	if (o->wwn && o->wwn >> 60 != 5 && o->wwn >> 60 != 3 && o->wwn >> 60 != 2)
		return "a world wide name of 64 bits begins with 5, 3 or 2 (NAA)";
	return o->disk ? check_disk(o, o->disk) : NULL;
}

/* NULL, and *made is a slot that nobody else knows yet. */
static const char *take_slot(struct scsi *s, uint32_t address, unsigned *made)
{
	unsigned first = first_slot(address);

	if (find_slot(s, address))
		return "there is a logical unit at this address already (or it is still being removed)";
	for (unsigned n = 0; n < VIO_SCSI_LUNS; n++) {
		unsigned i = (first + n) % VIO_SCSI_LUNS;
		if (key_at(s, i) <= KEY_GONE) {
			*made = i;
			return NULL;
		}
	}
	return "the device has 256 logical units already, which is all it can have";
}

const char *vio_scsi_dev_new_unit(struct scsi *s, const struct vio_scsi_lun *o, struct scsi_unit **made)
{
	uint32_t address = ADDRESS_OF(o->target, o->lun);
	unsigned i = 0;
	const char *why = check_unit(o);

	if (!why && o->protect && s->pi == VIO_SCSI_PI_NONE)
		why = "a unit with protection information needs a device that offers T10_PI: say in which order its requests have it";

	if (!why)
		why = take_slot(s, address, &i);
	if (why)
		return why;
	struct scsi_unit *u = &s->unit[i];
	memset(u, 0, offsetof(struct scsi_unit, lane));
	for (unsigned lane = 0; lane < VIO_SCSI_REQUEST_QUEUES; lane++)
		u->lane[lane] = (struct scsi_lane){ .unit = u };
	u->s = s;
	u->o = *o;
	u->type = o->cdrom ? VIO_SCSI_CDROM : VIO_SCSI_DISK;
	u->shift = (uint8_t)__builtin_ctz(block_of(o));
	why = vio_scsi_dev_reserve_open(u);
	if (why)
		return why;
	vio_scsi_dev_unit_medium(u, o->disk);
	vio_scsi_dev_unit_reset(u, ATTENTION_POWER_ON);
	scsi_set(u, UNIT_HERE);
	__atomic_store_n(&s->key[i], KEY_OF(address), __ATOMIC_RELEASE);
	*made = u;
	return NULL;
}

/* ---- Draining ---- */

void vio_scsi_dev_lane_close(struct scsi_queue *sq, struct scsi_lane *l)
{
	struct scsi_lane **at = &sq->touched;

	if (l->touched) {
		while (*at != l)
			at = &(*at)->touched_next;
		*at = l->touched_next;
		l->touched = false;
	}
	if (l->chan)
		l->chan->ops->close(l->chan);
	l->chan = NULL;
}

static void lane_answered(void *arg)
{
	struct scsi_unit *u = ((struct scsi_lane *)arg)->unit;

	if (--u->draining == 0)
		u->drained(u);
}

/* By a message to this thread, so that a channel is never closed from inside its own call. */
static void leave_lane(void *arg)
{
	struct scsi_lane *l = arg;
	struct scsi_unit *u = l->unit;

	vio_scsi_dev_lane_close(&u->s->queue[l - u->lane], l);
	l->call = (struct vio_dev_call){ .fn = lane_answered, .arg = l };
	vio_dev_post(&u->s->dev, VIO_SCSI_Q_CONTROL, &l->call);
}

void vio_scsi_dev_lane_emptied(struct scsi_unit *u, unsigned lane)
{
	struct scsi_lane *l = &u->lane[lane];

	l->draining = false;
	l->call = (struct vio_dev_call){ .fn = leave_lane, .arg = l };
	vio_dev_post(&u->s->dev, VIO_SCSI_Q_REQUEST + lane, &l->call);
}

/* In the queue's thread.  What is in flight is cut off where the unit goes, and ends by itself where only its medium does. */
static void drain_lane(void *arg)
{
	struct scsi_lane *l = arg;
	struct scsi_unit *u = l->unit;
	unsigned lane = (unsigned)(l - u->lane);
	struct vio_devq *q = scsi_ring(u->s, lane);

	l->draining = true;
	l->inflight++;			/* that the last end is not seen before all are told */
	for (uint32_t slot = 0; !(scsi_flags(u) & UNIT_HERE) && slot < q->fresh_slot; slot++) {
		struct scsi_req *r = (struct scsi_req *)vio_devq_inflight(q, (uint16_t)slot);
		if (r && r->unit == u)
			vio_scsi_dev_abort(r, VIO_SCSI_S_TRANSPORT_FAILURE);
	}
	if (--l->inflight == 0)
		vio_scsi_dev_lane_emptied(u, lane);
}

void vio_scsi_dev_drain(struct scsi_unit *u, void (*drained)(struct scsi_unit *u))
{
	struct scsi *s = u->s;

	u->drained = drained;
	u->draining = s->queues;
	for (unsigned lane = 0; lane < s->queues; lane++) {
		struct scsi_lane *l = &u->lane[lane];
		l->call = (struct vio_dev_call){ .fn = drain_lane, .arg = l };
		vio_dev_post(&s->dev, VIO_SCSI_Q_REQUEST + lane, &l->call);
	}
}

/* ---- For the operator ---- */

static void luns_changed(struct scsi *s)
{
	struct scsi_unit *u;

	for (unsigned i = 0; (u = vio_scsi_dev_next_unit(s, &i)); )
		scsi_attention(u, ATTENTION_LUNS);
}

const char *vio_scsi_dev_add(struct vio_dev *d, const struct vio_scsi_lun *lun)
{
	struct scsi *s = scsi_of(d);
	struct scsi_unit *u;
	const char *why = vio_scsi_dev_new_unit(s, lun, &u);

	if (why)
		return why;
	luns_changed(s);
	__atomic_store_n(&u->attention, UINT32_C(1) << ATTENTION_POWER_ON, __ATOMIC_RELAXED);
	vio_scsi_dev_event(s, VIO_SCSI_T_TRANSPORT_RESET, ADDRESS_OF(lun->target, lun->lun), VIO_SCSI_EVT_RESET_RESCAN);
	return NULL;
}

static void unit_gone(struct scsi_unit *u)
{
	void (*gone)(void *arg) = u->gone;
	void *arg = u->gone_arg;

	forget_medium(u);
	__atomic_store_n(&u->s->key[u - u->s->unit], KEY_GONE, __ATOMIC_RELEASE);
	if (gone)
		gone(arg);
}

const char *vio_scsi_dev_remove(struct vio_dev *d, uint8_t target, uint16_t lun, void (*removed)(void *arg), void *arg)
{
	struct scsi *s = scsi_of(d);
	struct scsi_unit *u = find_slot(s, ADDRESS_OF(target, lun));

	if (!u || u->leaving)
		return "there is no such logical unit";
	if (u->draining)
		return "the unit's medium is just being changed: try again";
	u->leaving = true;
	u->gone = removed;
	u->gone_arg = arg;
	scsi_clear(u, UNIT_HERE);
	luns_changed(s);
	vio_scsi_dev_event(s, VIO_SCSI_T_TRANSPORT_RESET, ADDRESS_OF(target, lun), VIO_SCSI_EVT_RESET_REMOVED);
	vio_scsi_dev_drain(u, unit_gone);
	return NULL;
}

static void medium_gone(struct scsi_unit *u)
{
	void (*changed)(void *arg) = u->gone;
	void *arg = u->gone_arg;

	forget_medium(u);
	vio_scsi_dev_unit_medium(u, u->next_disk);
	scsi_clear(u, UNIT_STOPPED);
	if (u->next_disk) {
		scsi_attention(u, ATTENTION_MEDIUM);
		scsi_clear(u, UNIT_OPEN);
	}
	__atomic_store_n(&u->media_event, u->next_disk ? MEDIA_NEW : MEDIA_REMOVED, __ATOMIC_RELAXED);
	if (changed)
		changed(arg);
	vio_scsi_dev_news(u);
}

static const char *may_change(struct scsi_unit *u, struct vio_disk *disk)
{
	struct vio_scsi_lun o;

	if (!u || u->leaving)
		return "there is no such logical unit";
	if (!u->o.cdrom && !u->o.removable)
		return "the unit's medium cannot be changed: it is no CD-ROM drive and no removable disk";
	if (u->draining)
		return "the unit's medium is just being changed: try again";
	if (!disk)
		return NULL;
	o = u->o;
	o.logical_block = scsi_block_bytes(u);
	return check_disk(&o, disk);
}

const char *vio_scsi_dev_change_medium(struct vio_dev *d, uint8_t target, uint16_t lun, struct vio_disk *disk, bool force,
    void (*changed)(void *arg), void *arg)
{
	struct scsi_unit *u = find_slot(scsi_of(d), ADDRESS_OF(target, lun));
	const char *why = may_change(u, disk);

	if (why)
		return why;
	if (scsi_flags(u) & UNIT_LOCKED && u->disk && !force) {
		__atomic_store_n(&u->media_event, MEDIA_EJECT_REQUEST, __ATOMIC_RELAXED);
		return "the guest has locked its medium; it has been asked for it: try again, or force it";
	}
	u->next_disk = disk;
	u->gone = changed;
	u->gone_arg = arg;
	scsi_clear(u, UNIT_LOCKED | UNIT_MEDIUM);
	vio_scsi_dev_drain(u, medium_gone);
	return NULL;
}

/* What was written while it was on is flushed when the guest asks for it, as before. */
const char *vio_scsi_dev_set_write_cache(struct vio_dev *d, uint8_t target, uint16_t lun, bool on)
{
	struct scsi_unit *u = vio_scsi_dev_find(scsi_of(d), ADDRESS_OF(target, lun));

	if (!u || u->type != VIO_SCSI_DISK)
		return u ? "a CD-ROM drive has no write cache" : "there is no such logical unit";
	bool was = scsi_flags(u) & UNIT_WCE;
	if (on)
		scsi_set(u, UNIT_WCE);
	else
		scsi_clear(u, UNIT_WCE);
	if (was != on)
		scsi_attention(u, ATTENTION_MODE);
	return NULL;
}

static struct vio_scsi_dev_unit describe(const struct scsi_unit *u)
{
	uint32_t f = scsi_flags(u);
	struct vio_scsi_dev_unit d = {
		.target = u->o.target, .lun = u->o.lun, .cdrom = u->o.cdrom, .removable = u->o.cdrom || u->o.removable,
		.read_only = u->read_only, .has_medium = u->disk, .open = f & UNIT_OPEN, .locked = f & UNIT_LOCKED,
		.write_cache = f & UNIT_WCE, .leaving = u->leaving, .logical_block = scsi_block_bytes(u), .blocks = scsi_blocks(u),
		.registrants = u->pr.count, .reservation = u->pr.type,
	};

	for (unsigned i = 0; i < u->s->queues; i++) {
		const struct scsi_lane *l = &u->lane[i];
		d.commands += __atomic_load_n(&l->commands, __ATOMIC_RELAXED);
		d.bytes_read += __atomic_load_n(&l->bytes_read, __ATOMIC_RELAXED);
		d.bytes_written += __atomic_load_n(&l->bytes_written, __ATOMIC_RELAXED);
		d.failed += __atomic_load_n(&l->failed, __ATOMIC_RELAXED);
		d.conflicts += __atomic_load_n(&l->conflicts, __ATOMIC_RELAXED);
		d.aborted += __atomic_load_n(&l->aborted, __ATOMIC_RELAXED);
	}
	return d;
}

void vio_scsi_dev_each(const struct vio_dev *d, bool (*each)(void *arg, const struct vio_scsi_dev_unit *u), void *arg)
{
	const struct scsi *s = (const struct scsi *)d;

	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++) {
		if (__atomic_load_n(&s->key[i], __ATOMIC_ACQUIRE) <= KEY_GONE)
			continue;
		struct vio_scsi_dev_unit unit = describe(&s->unit[i]);
		if (!each(arg, &unit))
			return;
	}
}

void vio_scsi_dev_close_units(struct scsi *s)
{
	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++) {
		if (key_at(s, i) <= KEY_GONE)
			continue;
		forget_medium(&s->unit[i]);
		__atomic_store_n(&s->key[i], KEY_NONE, __ATOMIC_RELAXED);
	}
}
