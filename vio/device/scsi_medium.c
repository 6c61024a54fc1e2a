/* START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL: the medium, its tray and its lock (SBC-3, 5.25; MMC-6, 6.42 and 6.16). */
#include <vio/device/scsi_impl.h>

static bool is_removable(const struct scsi_unit *u) { return u->o.cdrom || u->o.removable; }

/* ---- START STOP UNIT ---- */

enum { START = 1, LOEJ = 2, NO_FLUSH = 4 };

static void tell_operator(struct scsi_req *r) { vio_scsi_dev_news(r->unit); }

static void eject(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	uint32_t was = __atomic_fetch_or(&u->flags, UNIT_OPEN | UNIT_STOPPED, __ATOMIC_ACQ_REL);

	if (!(was & UNIT_OPEN))
		__atomic_store_n(&u->media_event, MEDIA_REMOVED, __ATOMIC_RELAXED);
	vio_scsi_dev_home(r, tell_operator, vio_scsi_dev_good);
}

static void load(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	uint32_t was = __atomic_fetch_and(&u->flags, ~(uint32_t)(UNIT_OPEN | UNIT_STOPPED), __ATOMIC_ACQ_REL);

	if (was & UNIT_OPEN && was & UNIT_MEDIUM) {
		__atomic_store_n(&u->media_event, MEDIA_NEW, __ATOMIC_RELAXED);
		scsi_attention(u, ATTENTION_MEDIUM);
	}
	vio_scsi_dev_home(r, tell_operator, vio_scsi_dev_good);
}

static void stop_or_eject(struct scsi_req *r)
{
	if (r->cdb[4] & LOEJ) {
		eject(r);
		return;
	}
	scsi_set(r->unit, UNIT_STOPPED);
	vio_scsi_dev_good(r);
}

static void flushed(struct scsi_req *r, int error)
{
	if (error)
		vio_scsi_dev_failed(r, error);
	else
		stop_or_eject(r);
}

/* What is cached is written before the unit stops. */
static void stop(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	uint32_t f = scsi_flags(u);

	if (r->cdb[4] & NO_FLUSH || u->read_only || !(f & UNIT_MEDIUM) || f & UNIT_OPEN) {
		stop_or_eject(r);
		return;
	}
	r->io.op = VIO_DISK_FLUSH;
	r->io.offset = r->io.length = 0;
	vio_scsi_dev_submit(r, flushed);
}

void vio_scsi_do_start_stop(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	uint8_t what = r->cdb[4];

	if (what >> 4) {		/* power conditions: taken note of, there are none */
		vio_scsi_dev_good(r);
	} else if (what & LOEJ && !is_removable(u)) {
		vio_scsi_dev_bad_cdb(r, 4, 1);
	} else if (what & LOEJ && !(what & START) && scsi_flags(u) & UNIT_LOCKED) {
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_REMOVAL_PREVENTED);
	} else if (!(what & START)) {
		stop(r);
	} else if (what & LOEJ) {
		load(r);
	} else {
		scsi_clear(u, UNIT_STOPPED);
		vio_scsi_dev_good(r);
	}
}

/* ---- PREVENT ALLOW MEDIUM REMOVAL ---- */

void vio_scsi_do_prevent_allow(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;

	if (r->cdb[4] & 2) {		/* persistent prevent of MMC: not here */
		vio_scsi_dev_bad_cdb(r, 4, 1);
		return;
	}
	if (r->cdb[4] & 1)
		scsi_set(u, UNIT_LOCKED);
	else
		scsi_clear(u, UNIT_LOCKED);
	vio_scsi_dev_good(r);
}
