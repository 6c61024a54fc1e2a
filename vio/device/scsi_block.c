/* Reading, writing, flushing (SBC-3), for disks and CD-ROMs alike. */
#include <vio/device/scsi_impl.h>

void vio_scsi_dev_extent(const uint8_t *cdb, uint64_t *lba, uint64_t *blocks)
{
	switch (vio_scsi_dev_cdb_bytes(cdb[0])) {
	case 6:
		*lba = vio_be24_at(cdb + 1) & 0x1fffff;
		*blocks = cdb[4] ? cdb[4] : 256;
		break;
	case 10:
		*lba = vio_be32_at(cdb + 2);
		*blocks = vio_be16_at(cdb + 7);
		break;
	case 12:
		*lba = vio_be32_at(cdb + 2);
		*blocks = vio_be32_at(cdb + 6);
		break;
	default:
		*lba = vio_be64_at(cdb + 2);
		*blocks = vio_be32_at(cdb + 10);
		break;
	}
}

bool vio_scsi_dev_on_medium(struct scsi_req *r, uint64_t lba, uint64_t blocks)
{
	uint64_t size = scsi_blocks(r->unit);

	if (lba <= size && blocks <= size - lba)
		return true;
	r->sense.has_information = true;
	r->sense.information = lba;
	vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_LBA_RANGE);
	return false;
}

bool vio_scsi_dev_protect_ok(struct scsi_req *r)
{
	if (!(r->cdb[1] >> 5))
		return true;
	vio_scsi_dev_bad_cdb(r, 1, 7);
	return false;
}

/* The request's extent and its bytes, checked against everything but the data there is. */
static bool take_extent(struct scsi_req *r, struct vio_cur *pi)
{
	uint64_t most = (uint64_t)vio_le32_get(scsi_of_req(r)->config.max_sectors) * 512;

	vio_scsi_dev_extent(r->cdb, &r->lba, &r->blocks);
	if (!vio_scsi_dev_on_medium(r, r->lba, r->blocks))
		return false;
	if (r->blocks << r->unit->shift <= most)
		return vio_scsi_dev_pi_ok(r, pi);
	unsigned bytes = vio_scsi_dev_cdb_bytes(r->cdb[0]);
	vio_scsi_dev_bad_cdb(r, bytes == 10 ? 7 : bytes == 12 ? 6 : 10, -1);
	return false;
}

/* ---- READ ---- */

static void was_read(struct scsi_req *r, int error)
{
	if (error) {
		vio_scsi_dev_failed(r, error);
		return;
	}
	r->moved_in = r->io.length;
	if (r->pi_in.left)
		vio_scsi_dev_pi_make(r);
	vio_scsi_dev_good(r);
}

void vio_scsi_do_read(struct scsi_req *r)
{
	if (!take_extent(r, &r->pi_in))
		return;
	uint64_t bytes = r->blocks << r->unit->shift;
	if (bytes > r->in.left) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
		return;
	}
	if (!bytes) {
		vio_scsi_dev_good(r);
		return;
	}
	r->io.op = VIO_DISK_READ;
	r->io.offset = r->lba << r->unit->shift;
	r->io.length = bytes;
	r->io.bytes = r->in;
	r->io.bytes.left = bytes;
	vio_scsi_dev_submit(r, was_read);
}

/* ---- WRITE ---- */

static void was_written(struct scsi_req *r, int error)
{
	if (error) {
		vio_scsi_dev_failed(r, error);
		return;
	}
	r->moved_out = r->io.length;
	vio_scsi_dev_good(r);
}

/* A write that has to be on stable storage when it is done: FUA, or the write cache is off. */
static bool is_durable(const struct scsi_req *r)
{
	bool fua = vio_scsi_dev_cdb_bytes(r->cdb[0]) != 6 && r->cdb[1] & 8;

	return fua || !(scsi_flags(r->unit) & UNIT_WCE);
}

void vio_scsi_do_write(struct scsi_req *r)
{
	if (!take_extent(r, &r->pi_out))
		return;
	uint64_t bytes = r->blocks << r->unit->shift;
	if (bytes > r->out.left) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
		return;
	}
	if (!bytes) {
		vio_scsi_dev_good(r);
		return;
	}
	if (r->pi_out.left && !vio_scsi_dev_pi_check(r))
		return;
	r->io.op = VIO_DISK_WRITE;
	r->io.durable = is_durable(r);
	r->io.offset = r->lba << r->unit->shift;
	r->io.length = bytes;
	r->io.bytes = r->out;
	r->io.bytes.left = bytes;
	r->io.bytes.done = 0;
	vio_scsi_dev_submit(r, was_written);
}

/* ---- SYNCHRONIZE CACHE ---- */

static void was_flushed(struct scsi_req *r, int error)
{
	if (error)
		vio_scsi_dev_failed(r, error);
	else
		vio_scsi_dev_good(r);
}

/* The whole cache, whatever the extent.  IMMED is not taken at its word: an answer before the end would tell nothing. */
void vio_scsi_do_synchronize_cache(struct scsi_req *r)
{
	vio_scsi_dev_extent(r->cdb, &r->lba, &r->blocks);
	if (!vio_scsi_dev_on_medium(r, r->lba, r->blocks))
		return;
	r->io.op = VIO_DISK_FLUSH;
	r->io.offset = r->io.length = 0;
	vio_scsi_dev_submit(r, was_flushed);
}
