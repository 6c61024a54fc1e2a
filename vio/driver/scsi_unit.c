/*
 * SCSI host driver: units, for callers that know no SCSI (SPC-4, SBC-3).  Everything here waits.  What a unit says of itself is
 * copied and checked before anything is made of it.
 */
#include <vio/driver/scsi_impl.h>
#include <vio/spec/scsi_cmd.h>

enum { TRIES = 16 };			/* unit attentions may stand in a row */
enum { BLOCK_MIN = 512, BLOCK_MAX = 1 << 20 };

static bool fail(struct vio_scsi_unit *u, const char *why)
{
	u->why = why;
	return false;
}

/* Fixed or descriptor format (SPC-4 4.5): the sense key, or -1. */
static int sense_key(const struct vio_scsi_request *r)
{
	if (r->sense_len >= 3 && (r->sense[0] & 0x7e) == 0x70)
		return r->sense[2] & 15;
	return r->sense_len >= 2 && (r->sense[0] & 0x7e) == 0x72 ? r->sense[1] & 15 : -1;
}

static const char *words_of(const struct vio_scsi_request *r)
{
	static const char *const keys[16] = {
		"no sense", "recovered error", "the unit is not ready: it has no medium", "the medium is bad", "the hardware is bad",
		"the unit does not know this command, or not these parameters", "the unit keeps changing", "the unit is write-protected",
		"blank check", "vendor-specific error", "copy aborted", "the unit aborted the command", "reserved sense",
		"volume overflow", "the data miscompare", "completed",
	};

	if (r->status != VIO_SAM_CHECK_CONDITION)
		return r->status == VIO_SAM_RESERVATION_CONFLICT ? "the unit is reserved by somebody else" : "the unit is busy";
	return sense_key(r) < 0 ? "the unit failed the command and does not say why" : keys[sense_key(r)];
}

/* u->r is filled but for its unit.  What passes by itself is tried again. */
static bool run(struct vio_scsi_unit *u)
{
	struct vio_scsi_request *r = &u->r;

	memcpy(r->lun, u->lun, sizeof r->lun);
	for (unsigned tries = 0; tries < TRIES; tries++) {
		switch (vio_scsi_do(u->s, r)) {
		case VIO_SCSI_S_OK:
			break;
		case VIO_SCSI_S_BUSY:
		case VIO_SCSI_S_RESET:
			continue;
		case VIO_SCSI_S_BAD_TARGET:
			return fail(u, "there is no such target");
		case VIO_SCSI_S_LOST:
			return fail(u, u->s->drv.failed ? u->s->drv.failed : "the device is stopped");
		default:
			return fail(u, "the device could not carry out the command");
		}
		if (r->status == VIO_SAM_GOOD)
			return true;
		bool passes = r->status == VIO_SAM_BUSY || r->status == VIO_SAM_TASK_SET_FULL ||
		    (r->status == VIO_SAM_CHECK_CONDITION && sense_key(r) == VIO_SENSE_UNIT_ATTENTION);
		if (!passes)
			break;
	}
	return fail(u, words_of(r));
}

static struct vio_scsi_request *begin(struct vio_scsi_unit *u, uint8_t code, uint32_t room)
{
	u->r = (struct vio_scsi_request){ .data = room ? u->room : NULL, .len = room };
	u->r.cdb[0] = code;
	memset(u->room, 0, sizeof u->room);
	return &u->r;
}

/* ---- Which units there are ---- */

int vio_scsi_luns(struct vio_scsi_unit *u, uint8_t target, uint16_t *list, unsigned max)
{
	struct vio_scsi_request *r = begin(u, VIO_SCSI_REPORT_LUNS, sizeof u->room);
	unsigned count = 0;

	vio_scsi_lun_set(u->lun, target, 0);
	vio_be32_put(r->cdb + 6, sizeof u->room);
	if (!run(u))
		return -1;
	if (r->got < 8)
		return fail(u, "the target's list of units is too short") - 1;
	uint32_t bytes = vio_be32_at(u->room) / 8 * 8, there = r->got - 8;
	if (bytes < there)
		there = bytes;
	for (const uint8_t *at = u->room + 8; there >= 8; at += 8, there -= 8) {
		if (at[0] >> 6 > 1)		/* neither peripheral nor flat addressing: a well-known unit */
			continue;
		if (count < max)
			list[count] = (uint16_t)((at[0] & 0x3f) << 8 | at[1]);
		count++;
	}
	return (int)count;
}

/* ---- What a unit is ---- */

/* Printable or nothing; blanks at the end go. */
static void take_text(char *to, const uint8_t *from, unsigned n)
{
	unsigned end = 0;

	for (unsigned i = 0; i < n; i++) {
		uint8_t c = *(const volatile uint8_t *)&from[i];
		to[i] = c >= 0x20 && c < 0x7f ? (char)c : '?';
		if (c != ' ')
			end = i + 1;
	}
	to[end] = 0;
}

static bool inquire(struct vio_scsi_unit *u)
{
	struct vio_scsi_request *r = begin(u, VIO_SCSI_INQUIRY, 96);

	vio_be16_put(r->cdb + 3, 96);
	if (!run(u))
		return false;
	if (r->got < 36)
		return fail(u, "the unit's INQUIRY data are too short");
	if (u->room[0] >> 5)
		return fail(u, "there is no such unit");
	u->kind = u->room[0] & 0x1f;
	u->removable = u->room[1] >> 7;
	take_text(u->vendor, u->room + 8, 8);
	take_text(u->product, u->room + 16, 16);
	take_text(u->revision, u->room + 32, 4);
	return true;
}

static bool read_capacity(struct vio_scsi_unit *u)
{
	struct vio_scsi_request *r = begin(u, VIO_SCSI_READ_CAPACITY_10, 8);
	uint64_t last;

	if (!run(u))
		return false;
	if (r->got < 8)
		return fail(u, "the unit does not tell its capacity");
	last = vio_be32_at(u->room);
	u->block = vio_be32_at(u->room + 4);
	if (last == UINT32_MAX) {
		r = begin(u, VIO_SCSI_SERVICE_ACTION_IN_16, 32);
		r->cdb[1] = VIO_SCSI_SAI_READ_CAPACITY_16;
		vio_be32_put(r->cdb + 10, 32);
		if (!run(u))
			return false;
		if (r->got < 12)
			return fail(u, "the unit does not tell its capacity");
		last = vio_be64_at(u->room);
		u->block = vio_be32_at(u->room + 8);
	}
	u->blocks = last + 1;
	if (u->block >= BLOCK_MIN && u->block <= BLOCK_MAX && u->block % 4 == 0 && u->blocks && u->blocks <= UINT64_MAX / u->block)
		return true;
	u->block = 0;
	return fail(u, "the unit's capacity makes no sense");
}

/* No medium is no failure: a drive may be empty. */
static bool ready(struct vio_scsi_unit *u)
{
	begin(u, VIO_SCSI_TEST_UNIT_READY, 0);
	return run(u);
}

bool vio_scsi_open(struct vio_scsi_unit *u, struct vio_scsi *s, uint8_t target, uint16_t unit)
{
	*u = (struct vio_scsi_unit){ .s = s };
	vio_scsi_lun_set(u->lun, target, unit);
	if (!inquire(u))
		return false;
	if (u->kind != VIO_SCSI_DISK && u->kind != VIO_SCSI_CDROM)
		return true;
	if (ready(u))
		return read_capacity(u);
	return u->r.response == VIO_SCSI_S_OK && u->r.status == VIO_SAM_CHECK_CONDITION && sense_key(&u->r) == VIO_SENSE_NOT_READY;
}

/* ---- Blocks ---- */

static bool one(struct vio_scsi_unit *u, uint64_t block, uint32_t blocks, void *data, bool writes)
{
	struct vio_scsi_request *r = &u->r;
	bool far = block > UINT32_MAX || blocks > UINT16_MAX;

	*r = (struct vio_scsi_request){ .data = data, .len = blocks * u->block, .writes = writes };
	if (far) {
		r->cdb[0] = writes ? VIO_SCSI_WRITE_16 : VIO_SCSI_READ_16;
		vio_be64_put(r->cdb + 2, block);
		vio_be32_put(r->cdb + 10, blocks);
	} else {
		r->cdb[0] = writes ? VIO_SCSI_WRITE_10 : VIO_SCSI_READ_10;
		vio_be32_put(r->cdb + 2, (uint32_t)block);
		vio_be16_put(r->cdb + 7, (uint16_t)blocks);
	}
	if (!run(u))
		return false;
	return r->got == r->len || fail(u, "the unit moved fewer bytes than it was told to");
}

static bool all(struct vio_scsi_unit *u, uint64_t block, uint32_t blocks, void *data, bool writes)
{
	if (!u->block)
		return fail(u, "the unit has no blocks: it is no disk, or has no medium");
	if (block > u->blocks || blocks > u->blocks - block)
		return fail(u, "that is beyond the end of the unit");
	uint64_t most = u->s->max_bytes / u->block;
	if (!most)
		return fail(u, "the device does not take commands of even one block");
	/* more than that fits no segment list whose pieces are pages */
	if (most > (uint64_t)u->s->seg_max * 4096 / u->block && u->s->seg_max > 1)
		most = (uint64_t)u->s->seg_max * 4096 / u->block ? (uint64_t)u->s->seg_max * 4096 / u->block : 1;
	for (unsigned char *at = data; blocks;) {
		uint32_t part = blocks < most ? blocks : (uint32_t)most;
		if (!one(u, block, part, at, writes))
			return false;
		at += (size_t)part * u->block;
		block += part;
		blocks -= part;
	}
	return true;
}

bool vio_scsi_read(struct vio_scsi_unit *u, uint64_t block, uint32_t blocks, void *data) { return all(u, block, blocks, data, false); }

bool vio_scsi_write(struct vio_scsi_unit *u, uint64_t block, uint32_t blocks, const void *data)
{
	return all(u, block, blocks, (void *)(uintptr_t)data, true);
}

bool vio_scsi_flush(struct vio_scsi_unit *u)
{
	begin(u, VIO_SCSI_SYNCHRONIZE_CACHE_10, 0);
	return run(u);
}
