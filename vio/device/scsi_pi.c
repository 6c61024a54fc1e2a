/*
 * T10 protection information of type 1 (SBC-3, 4.22): eight bytes to a block, on their way only.
 *
 * The disk has no room for them.  What comes with a write is checked against its data and let go; what a read gets is made of
 * the data.  So the way between the initiator and this device is protected, and what happens on the medium is not.  The application
 * tag is nobody's (ATO is 0 in the control mode page): it is not looked at but for 0xffff, which switches off a block's checks, and
 * read as 0.
 */
#include <vio/device/scsi_impl.h>

/* CRC of polynomial 0x8bb7, four bits at a time. */
static uint16_t crc(uint16_t sum, const uint8_t *p, size_t n)
{
	static const uint16_t part[16] = {
		0x0000, 0x8bb7, 0x9cd9, 0x176e, 0xb205, 0x39b2, 0x2edc, 0xa56b, 0xefbd, 0x640a, 0x7364, 0xf8d3, 0x5db8, 0xd60f, 0xc161, 0x4ad6,
	};

	while (n--) {
		uint8_t byte = *p++;
		sum = (uint16_t)(sum << 4 ^ part[(sum >> 12 ^ byte >> 4) & 15]);
		sum = (uint16_t)(sum << 4 ^ part[(sum >> 12 ^ byte) & 15]);
	}
	return sum;
}

/* The guard of the block at the front of c, which is passed. */
static uint16_t guard(struct vio_cur *c, uint32_t block)
{
	uint16_t sum = 0;

	for (uint32_t left = block; left; ) {
		size_t n;
		const uint8_t *p = vio_cur_front(c, &n);
		if (n > left)
			n = left;
		sum = crc(sum, p, n);
		vio_cur_skip(c, n);
		left -= (uint32_t)n;
	}
	return sum;
}

/* RDPROTECT and WRPROTECT: what is looked at (SBC-3, tables 60 and 130). */
static bool checks_guard(unsigned protect) { return protect == 0 || protect == 1 || protect == 4 || protect == 5; }
static bool checks_reference(unsigned protect) { return protect == 0 || protect == 1 || protect == 2 || protect == 5; }

bool vio_scsi_dev_pi_ok(struct scsi_req *r, struct vio_cur *pi)
{
	unsigned protect = vio_scsi_dev_cdb_bytes(r->cdb[0]) == 6 ? 0 : r->cdb[1] >> 5;
	bool here = vio_has(scsi_of_req(r)->dev.accepted, VIO_SCSI_F_T10_PI);

	if (!protect && !pi->left)
		return true;
	if (protect > 5 || (protect && (!r->unit->o.protect || !here))) {
		vio_scsi_dev_bad_cdb(r, 1, 7);
		return false;
	}
	if (pi->left / VIO_SCSI_PI_BYTES < r->blocks) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
		return false;
	}
	return true;
}

static bool wrong(struct scsi_req *r, uint64_t lba, uint16_t asc)
{
	r->sense.has_information = true;
	r->sense.information = lba;
	vio_scsi_dev_check(r, VIO_SENSE_ABORTED_COMMAND, asc);
	return false;
}

/* Of the data that is to be written.  False: something is wrong, and the request has ended. */
bool vio_scsi_dev_pi_check(struct scsi_req *r)
{
	unsigned protect = r->cdb[1] >> 5;
	struct vio_cur data = r->out, pi = r->pi_out;
	uint8_t tuple[VIO_SCSI_PI_BYTES];

	for (uint64_t i = 0; i < r->blocks && vio_cur_get(&pi, tuple, sizeof tuple); i++) {
		uint64_t lba = r->lba + i;
		uint16_t sum = guard(&data, scsi_block_bytes(r->unit));
		if (vio_be16_at(tuple + 2) == 0xffff)
			continue;
		if (checks_guard(protect) && vio_be16_at(tuple) != sum)
			return wrong(r, lba, VIO_ASC_GUARD_CHECK);
		if (checks_reference(protect) && vio_be32_at(tuple + 4) != (uint32_t)lba)
			return wrong(r, lba, VIO_ASC_REF_TAG_CHECK);
	}
	return true;
}

/* Of the data that was read. */
void vio_scsi_dev_pi_make(struct scsi_req *r)
{
	struct vio_cur data = r->in, pi = r->pi_in;
	uint8_t tuple[VIO_SCSI_PI_BYTES] = { 0 };

	for (uint64_t i = 0; i < r->blocks && pi.left >= sizeof tuple; i++) {
		vio_be16_put(tuple, guard(&data, scsi_block_bytes(r->unit)));
		vio_be32_put(tuple + 4, (uint32_t)(r->lba + i));
		vio_cur_put(&pi, tuple, sizeof tuple);
		r->told_pi += sizeof tuple;
	}
}
