/* A SCSI host: the first unit of its first target answers INQUIRY and TEST UNIT READY, and its first block is read. */
#include <vio/driver/scsi.h>
#include "guest.h"

enum { QUEUE = 16, BYTES = 4096 };

static bool start(struct vio_scsi *s, struct vio_drv_port *port)
{
	struct vio_scsi_setup setup = { .queues = 1, .queue_size = QUEUE, .memory[0] = {
		.ring = guest_alloc(VIO_DRVQ_RING_BYTES(QUEUE), 16),
		.slots = guest_alloc(QUEUE * sizeof(struct vio_drvq_slot), 8),
		.indirect = guest_alloc(QUEUE * VIO_SCSI_DRV_INDIRECT * sizeof(struct vio_split_desc), 16) } };

	if (!expect(vio_scsi_start(s, port, &setup), "starts"))
		return expect(false, "%s", s->drv.failed);
	drive_features(&s->drv);
	return true;
}

/* The first target that has units. */
static bool find(struct vio_scsi *s, struct vio_scsi_unit *u)
{
	uint16_t lun[8];

	u->s = s;
	for (unsigned target = 0; target <= s->max_target && target < 8; target++)
		if (vio_scsi_luns(u, (uint8_t)target, lun, 8) > 0 && vio_scsi_open(u, s, (uint8_t)target, lun[0]))
			return true;
	return false;
}

void drive_scsi(struct vio_drv_port *port)
{
	struct vio_scsi *s = GUEST_NEW(struct vio_scsi);
	struct vio_scsi_unit *u = GUEST_NEW(struct vio_scsi_unit);
	struct vio_scsi_request *r = GUEST_NEW(struct vio_scsi_request);
	char *data = guest_alloc(BYTES + 1, 512);

	if (!start(s, port))
		return;
	if (expect(find(s, u), "has a unit")) {
		say("# scsi: %s %s, %llu blocks of %u bytes\n", u->vendor, u->product, (unsigned long long)u->blocks, u->block);
		memcpy(r->lun, u->lun, 8);		/* TEST UNIT READY is all zeroes */
		expect(vio_scsi_do(s, r) == VIO_SCSI_S_OK && r->status == 0, "is ready");
		if (expect(u->block && u->block <= BYTES && vio_scsi_read(u, 0, 1, data), "reads")) {
			data[16] = 0;
			say("# scsi: begins with %s\n", data);
		}
	}
	expect(vio_scsi_stop(s), "stops");
}
