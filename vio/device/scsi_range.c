/*
 * What works on ranges of blocks (SBC-3): UNMAP, WRITE SAME, VERIFY, COMPARE AND WRITE, GET LBA STATUS.
 *
 * What has to see the medium's bytes reads them into the queue's scratch buffer, a part at a time; one request has it at a time.
 */
#include <vio/device/scsi_impl.h>

static unsigned char *scratch_of(const struct scsi_req *r) { return scsi_queue_of(r)->scratch; }

/* The disk's bytes go to, or come from, n bytes of the scratch buffer.  A request is its own segment list. */
static void aim(struct scsi_req *r, enum vio_disk_op op, uint64_t offset, uint64_t n)
{
	r->io.op = op;
	r->io.offset = offset;
	r->io.length = n;
	r->scratch_seg = (struct vio_seg){ scratch_of(r), (size_t)n };
	r->io.bytes = (struct vio_cur){ .seg = &r->scratch_seg, .left = n };
}

static bool is_durable(const struct scsi_req *r) { return !(scsi_flags(r->unit) & UNIT_WCE); }

/* Writing zeroes is a write like any other: where writes must be durable a flush follows. */
static void was_flushed(struct scsi_req *r, int error)
{
	if (error)
		vio_scsi_dev_failed(r, error);
	else
		vio_scsi_dev_good(r);
}

static void finish_durably(struct scsi_req *r)
{
	if (!is_durable(r)) {
		vio_scsi_dev_good(r);
		return;
	}
	r->io.op = VIO_DISK_FLUSH;
	r->io.offset = r->io.length = 0;
	vio_scsi_dev_submit(r, was_flushed);
}

/* ---- UNMAP ---- */

static void next_range(struct scsi_req *r, int error)
{
	if (error) {
		vio_scsi_dev_failed(r, error);
		return;
	}
	while (r->range_at < r->ranges && !r->range[r->range_at].blocks)
		r->range_at++;
	if (r->range_at == r->ranges) {
		vio_scsi_dev_good(r);
		return;
	}
	const struct scsi_range *range = &r->range[r->range_at++];
	r->io.op = r->unit->o.thin ? VIO_DISK_ZERO : VIO_DISK_DISCARD;
	r->io.may_unmap = true;
	r->io.offset = range->lba << r->unit->shift;
	r->io.length = (uint64_t)range->blocks << r->unit->shift;
	vio_scsi_dev_submit(r, next_range);
}

/* All are judged before the first is touched. */
static bool take_ranges(struct scsi_req *r, unsigned bytes)
{
	uint64_t most = ((uint64_t)SCSI_UNMAP_SECTORS * 512) >> r->unit->shift, all = 0;
	uint8_t d[16];

	if (bytes / sizeof d > SCSI_UNMAP_RANGES) {
		vio_scsi_dev_bad_parameter(r, 2, -1);
		return false;
	}
	for (r->ranges = 0; r->ranges < bytes / sizeof d; r->ranges++) {
		if (!vio_cur_get(&r->out, d, sizeof d)) {
			vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
			return false;
		}
		uint64_t lba = vio_be64_at(d);
		uint32_t blocks = vio_be32_at(d + 8);
		all += blocks;
		if (blocks > most || all > most) {
			vio_scsi_dev_bad_parameter(r, 8 + 16u * r->ranges + 8, -1);
			return false;
		}
		if (!vio_scsi_dev_on_medium(r, lba, blocks))
			return false;
		r->range[r->ranges] = (struct scsi_range){ lba, blocks };
	}
	return true;
}

void vio_scsi_do_unmap(struct scsi_req *r)
{
	unsigned list = vio_be16_at(r->cdb + 7);
	uint8_t head[8];

	if (r->cdb[1] & 1) {			/* ANCHOR: nothing is anchored here */
		vio_scsi_dev_bad_cdb(r, 1, 0);
		return;
	}
	if (list == 0) {
		vio_scsi_dev_good(r);
		return;
	}
	if (list > r->out.left) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
		return;
	}
	if (list < sizeof head) {
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_PARAMETER_LENGTH);
		return;
	}
	vio_cur_get(&r->out, head, sizeof head);
	unsigned bytes = vio_be16_at(head + 2);
	/* SBC-3, 5.28: what the header says beyond the list is cut off; a descriptor cut in two is an error */
	if (bytes > list - sizeof head)
		bytes = list - (unsigned)sizeof head;
	if (bytes % 16) {
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_PARAMETER_LENGTH);
		return;
	}
	if (!take_ranges(r, bytes))
		return;
	r->moved_out = list;
	r->range_at = 0;
	next_range(r, 0);
}

/* ---- WRITE SAME ---- */

static void same_done(struct scsi_req *r, int error)
{
	if (error)
		vio_scsi_dev_failed(r, error);
	else
		finish_durably(r);
}

static void same_part(struct scsi_req *r, int error)
{
	uint64_t part = SCSI_SCRATCH >> r->unit->shift;

	if (error) {
		vio_scsi_dev_failed(r, error);
		return;
	}
	uint64_t n = scsi_least(part, r->blocks - r->at), at = r->lba + r->at;
	if (!n) {
		vio_scsi_dev_good(r);
		return;
	}
	aim(r, VIO_DISK_WRITE, at << r->unit->shift, n << r->unit->shift);
	r->io.durable = is_durable(r);
	r->at += n;
	vio_scsi_dev_submit(r, same_part);
}

enum { SAME_NDOB = 1, SAME_UNMAP = 8, SAME_ANCHOR = 16 };

/* No data: zeroes, which the disk can't make itself. */
static bool has_no_data(const struct scsi_req *r) { return r->cdb[0] == VIO_SCSI_WRITE_SAME_16 && r->cdb[1] & SAME_NDOB; }

static void same_spread(struct scsi_req *r)
{
	unsigned char *p = scratch_of(r);
	uint32_t block = scsi_block_bytes(r->unit);

	if (has_no_data(r))
		memset(p, 0, block);
	else if (vio_cur_get(&r->out, p, block))
		r->moved_out = block;
	for (uint32_t at = block; at < SCSI_SCRATCH; at += block)
		memcpy(p + at, p, block);
	r->at = 0;
	same_part(r, 0);
}

static void same_zero(struct scsi_req *r, enum vio_disk_op op, bool may_unmap)
{
	r->io.op = op;
	r->io.may_unmap = may_unmap;
	r->io.offset = r->lba << r->unit->shift;
	r->io.length = r->blocks << r->unit->shift;
	vio_scsi_dev_submit(r, same_done);
}

static bool block_is_zero(const struct scsi_req *r)
{
	struct vio_cur c = r->out;

	for (c.left = scsi_block_bytes(r->unit); c.left; ) {
		size_t n;
		const unsigned char *p = vio_cur_front(&c, &n);
		for (size_t i = 0; i < n; i++)
			if (p[i])
				return false;
		vio_cur_skip(&c, n);
	}
	return true;
}

/* False: the request has ended. */
static bool judge_same(struct scsi_req *r)
{
	bool sixteen = r->cdb[0] == VIO_SCSI_WRITE_SAME_16;
	uint8_t how = r->cdb[1];
	uint64_t most = SCSI_SAME_BYTES >> r->unit->shift;

	vio_scsi_dev_extent(r->cdb, &r->lba, &r->blocks);
	if (how & SAME_ANCHOR) {
		vio_scsi_dev_bad_cdb(r, 1, 4);
	} else if (how & SAME_UNMAP && !r->unit->can_unmap) {
		vio_scsi_dev_bad_cdb(r, 1, 3);
	} else if (how & 6) {			/* PBDATA, LBDATA: long gone */
		vio_scsi_dev_bad_cdb(r, 1, how & 4 ? 2 : 1);
	} else if (how & SAME_NDOB && !sixteen) {
		vio_scsi_dev_bad_cdb(r, 1, 0);
	} else if (!vio_scsi_dev_protect_ok(r) || !vio_scsi_dev_on_medium(r, r->lba, r->blocks)) {
		return false;
	} else if (!r->blocks || r->blocks > most) {	/* 0 would be all the rest: WSNZ says that it is not */
		vio_scsi_dev_bad_cdb(r, sixteen ? 10 : 7, -1);
	} else {
		return true;
	}
	return false;
}

/*
 * Zeroes are left to the disk, which may give their space back where UNMAP is set (and unmapped blocks read as zeroes here:
 * never less than what was asked for).
 */
void vio_scsi_do_write_same(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	bool unmap = r->cdb[1] & SAME_UNMAP, no_data = has_no_data(r);

	if (!judge_same(r))
		return;
	if (!no_data && r->out.left < scsi_block_bytes(u)) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
		return;
	}
	if ((no_data || block_is_zero(r)) && u->can_zero) {
		r->moved_out = no_data ? 0 : scsi_block_bytes(u);
		same_zero(r, VIO_DISK_ZERO, unmap);
		return;
	}
	vio_scsi_dev_scratch(r, same_spread);
}

/* ---- VERIFY ---- */

/* The data that the medium is compared with: each byte once, or one block again and again. */
static bool same_bytes(struct scsi_req *r, const unsigned char *medium, uint64_t n, uint64_t *miss)
{
	for (uint64_t at = 0; at < n; ) {
		size_t part;
		const unsigned char *p = vio_cur_front(&r->compare, &part);
		if (part > n - at)
			part = (size_t)(n - at);
		for (size_t i = 0; i < part; i++)
			if (p[i] != medium[at + i]) {
				*miss = at + i;
				return false;
			}
		vio_cur_skip(&r->compare, part);
		at += part;
		if (!r->compare.left && r->compare_again)
			r->compare = r->out, r->compare.left = scsi_block_bytes(r->unit);
	}
	return true;
}

static void miscompare(struct scsi_req *r, uint64_t at)
{
	r->sense.has_information = true;
	r->sense.information = at;
	vio_scsi_dev_check(r, VIO_SENSE_MISCOMPARE, VIO_ASC_MISCOMPARE);
}

static void verify_part(struct scsi_req *r, int error)
{
	uint64_t miss, done = r->io.length;

	if (error) {
		vio_scsi_dev_failed(r, error);
		return;
	}
	if (r->at && !same_bytes(r, scratch_of(r), done, &miss)) {
		uint64_t at = (r->at << r->unit->shift) - done + miss;
		miscompare(r, r->compare_again ? at % scsi_block_bytes(r->unit) : at);
		return;
	}
	uint64_t n = scsi_least(SCSI_SCRATCH >> r->unit->shift, r->blocks - r->at);
	if (!n) {
		r->moved_out = r->compare_again ? scsi_block_bytes(r->unit) : r->blocks << r->unit->shift;
		vio_scsi_dev_good(r);
		return;
	}
	aim(r, VIO_DISK_READ, (r->lba + r->at) << r->unit->shift, n << r->unit->shift);
	r->at += n;
	vio_scsi_dev_submit(r, verify_part);
}

static void verify_begin(struct scsi_req *r)
{
	r->at = 0;
	r->compare = r->out;
	if (r->compare_again)
		r->compare.left = scsi_block_bytes(r->unit);
	verify_part(r, 0);
}

/* BYTCHK 0 asks for the medium alone, which the host's storage looks after. */
void vio_scsi_do_verify(struct scsi_req *r)
{
	unsigned check = r->cdb[1] >> 1 & 3;

	vio_scsi_dev_extent(r->cdb, &r->lba, &r->blocks);
	if (check == 2) {
		vio_scsi_dev_bad_cdb(r, 1, 2);
		return;
	}
	if (!vio_scsi_dev_protect_ok(r) || !vio_scsi_dev_on_medium(r, r->lba, r->blocks))
		return;
	r->compare_again = check == 3;
	if (check == 3 && r->blocks > (uint64_t)SCSI_SAME_BYTES >> r->unit->shift) {
		vio_scsi_dev_bad_cdb(r, 1, -1);
		return;
	}
	if (!check || !r->blocks) {
		vio_scsi_dev_good(r);
		return;
	}
	if (r->out.left < (check == 3 ? UINT64_C(1) : r->blocks) << r->unit->shift) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
		return;
	}
	vio_scsi_dev_scratch(r, verify_begin);
}

/* ---- WRITE AND VERIFY: on stable storage, then compared if it is asked for ---- */

static void written(struct scsi_req *r, int error)
{
	if (error) {
		vio_scsi_dev_failed(r, error);
	} else if (r->cdb[1] & 2) {
		vio_scsi_dev_scratch(r, verify_begin);
	} else {
		r->moved_out = r->blocks << r->unit->shift;
		vio_scsi_dev_good(r);
	}
}

void vio_scsi_do_write_and_verify(struct scsi_req *r)
{
	vio_scsi_dev_extent(r->cdb, &r->lba, &r->blocks);
	if (r->cdb[1] & 4) {
		vio_scsi_dev_bad_cdb(r, 1, 2);
		return;
	}
	if (!vio_scsi_dev_protect_ok(r) || !vio_scsi_dev_on_medium(r, r->lba, r->blocks))
		return;
	if (r->out.left < r->blocks << r->unit->shift) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
		return;
	}
	if (!r->blocks) {
		vio_scsi_dev_good(r);
		return;
	}
	r->io.op = VIO_DISK_WRITE;
	r->io.durable = true;
	r->io.offset = r->lba << r->unit->shift;
	r->io.length = r->blocks << r->unit->shift;
	r->io.bytes = r->out;
	r->io.bytes.left = r->io.length;
	r->io.bytes.done = 0;
	vio_scsi_dev_submit(r, written);
}

/* ---- COMPARE AND WRITE: one at a time on a unit, whichever queue it came from ---- */

/* In the home thread, before it ends: the next one's turn. */
void vio_scsi_dev_compare_over(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	struct scsi_req *next = u->compare_first;

	r->locked = false;
	u->comparing = next;
	if (!next)
		return;
	u->compare_first = next->next;
	next->locked = true;
	vio_scsi_dev_back(next);
}

static void compare_written(struct scsi_req *r, int error)
{
	if (error) {
		vio_scsi_dev_failed(r, error);
		return;
	}
	r->moved_out = 2 * r->blocks << r->unit->shift;
	vio_scsi_dev_good(r);
}

/*
 * A request that a predecessor of ours had in flight may have been done already: then the medium has what it would write.
 * Whoever locks with this command writes who it is, so that nobody else's data can look like this.
 */
static bool done_before(struct scsi_req *r, uint64_t bytes)
{
	uint64_t miss;

	if (!r->replayed)
		return false;
	r->compare = r->out;
	vio_cur_skip(&r->compare, bytes);
	return same_bytes(r, scratch_of(r), bytes, &miss);
}

static void compare_read(struct scsi_req *r, int error)
{
	uint64_t bytes = r->blocks << r->unit->shift, miss;

	if (error) {
		vio_scsi_dev_failed(r, error);
		return;
	}
	r->compare = r->out;
	if (!same_bytes(r, scratch_of(r), bytes, &miss)) {
		if (done_before(r, bytes)) {
			r->moved_out = 2 * bytes;
			vio_scsi_dev_good(r);
			return;
		}
		miscompare(r, miss);
		return;
	}
	r->io.op = VIO_DISK_WRITE;
	r->io.durable = is_durable(r) || r->cdb[1] & 8;
	r->io.bytes = r->out;
	vio_cur_skip(&r->io.bytes, bytes);
	r->io.bytes.left = bytes;
	r->io.bytes.done = 0;
	vio_scsi_dev_submit(r, compare_written);
}

static void compare_begin(struct scsi_req *r)
{
	aim(r, VIO_DISK_READ, r->lba << r->unit->shift, r->blocks << r->unit->shift);
	vio_scsi_dev_submit(r, compare_read);
}

static void compare_locked(struct scsi_req *r)
{
	if (r->ending)
		vio_scsi_dev_end(r);
	else
		vio_scsi_dev_scratch(r, compare_begin);
}

static void wait_for_turn(struct scsi_req *r)		/* home thread */
{
	struct scsi_unit *u = r->unit;

	if (!u->comparing) {
		u->comparing = r->locked = true;
		vio_scsi_dev_back(r);
		return;
	}
	r->next = NULL;
	*(u->compare_first ? u->compare_last : &u->compare_first) = r;
	u->compare_last = &r->next;
}

void vio_scsi_do_compare_and_write(struct scsi_req *r)
{
	r->lba = vio_be64_at(r->cdb + 2);
	r->blocks = r->cdb[13];
	if (!vio_scsi_dev_protect_ok(r) || !vio_scsi_dev_on_medium(r, r->lba, r->blocks))
		return;
	if (r->blocks > scsi_least(SCSI_SCRATCH >> r->unit->shift, 255))
		vio_scsi_dev_bad_cdb(r, 13, -1);
	else if (!r->blocks)
		vio_scsi_dev_good(r);
	else if (r->out.left < 2 * r->blocks << r->unit->shift)
		vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
	else
		vio_scsi_dev_go_home(r, wait_for_turn, compare_locked);
}

/* ---- GET LBA STATUS: where data is, is not told by the disk; so all of it is mapped ---- */

void vio_scsi_do_get_lba_status(struct scsi_req *r)
{
	uint64_t lba = vio_be64_at(r->cdb + 2), size = scsi_blocks(r->unit);
	uint8_t to[24] = { 0 };

	if (!vio_scsi_dev_on_medium(r, lba, 1))
		return;
	vio_be32_put(to, 20);
	vio_be64_put(to + 8, lba);
	vio_be32_put(to + 16, (uint32_t)scsi_least(size - lba, UINT32_MAX));
	vio_scsi_dev_tell(r, to, sizeof to, vio_be32_at(r->cdb + 10));
}
