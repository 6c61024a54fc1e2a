/* SCSI host driver: the control queue, one question at a time, and the event queue, which is kept full (5.6.6.3.1). */
#include <vio/driver/scsi_impl.h>

static uint64_t address(const struct vio_scsi *s, const void *p)
{
	return s->inside.addr + (uint64_t)((const char *)p - (const char *)&s->shared);
}

static bool start_queue(struct vio_scsi *s, uint16_t i, struct vio_drvq *q, unsigned char *ring, struct vio_drvq_slot *slots, uint16_t most)
{
	uint16_t size = vio_scsi_drv_queue_size(s, i, most);

	if (size < 2)
		return vio_drv_fail(&s->drv, "the device lacks its control queue or its event queue");
	struct vio_drvq_setup setup = { .size = size, .features = s->drv.features, .ring = ring, .ring_addr = address(s, ring),
		.slots = slots };
	vio_drvq_init(q, &setup);
	return vio_drv_queue(&s->drv, i, q);
}

static void give_event(struct vio_scsi *s, unsigned char *event)
{
	struct vio_buf b = { address(s, event), s->event_bytes };

	memset(event, 0, VIO_SCSI_DRV_EVENT_BYTES);
	vio_drvq_add(&s->events, &b, 0, 1, event);
}

bool vio_scsi_drv_start_control(struct vio_scsi *s)
{
	if (!vio_scsi_drv_map_whole(s, &s->shared, sizeof s->shared, &s->inside))
		return false;
	if (!start_queue(s, VIO_SCSI_Q_CONTROL, &s->control, s->shared.control_ring, s->control_slots, VIO_SCSI_DRV_CONTROLS) ||
	    !start_queue(s, VIO_SCSI_Q_EVENT, &s->events, s->shared.event_ring, s->event_slots, VIO_SCSI_DRV_EVENTS))
		return false;
	for (unsigned i = 0; i < s->events.size; i++)
		give_event(s, s->shared.event[i]);
	return true;
}

/* ---- Questions ---- */

/* True: the device has answered with this many bytes.  False: it will not; it has been reset. */
static bool ask(struct vio_scsi *s, uint32_t asks, uint32_t answers)
{
	const struct vio_platform *pf = &s->drv.port->platform;
	struct vio_buf bufs[2] = { { address(s, &s->shared.ask), asks }, { address(s, &s->shared.answer), answers } };
	uint32_t len;

	if (s->stopped || !(s->drv.status & VIO_S_DRIVER_OK) || s->drv.suspended)
		return false;
	memset(&s->shared.answer, 0xff, sizeof s->shared.answer);
	uint64_t deadline = pf->ops->now_ns(pf->arg) + VIO_DRV_PATIENCE_NS;
	if (vio_drvq_add(&s->control, bufs, 1, 1, s) &&
	    vio_drv_get_wait(&s->drv, VIO_SCSI_Q_CONTROL, &s->control, &len, deadline) && len >= answers)
		return true;
	vio_scsi_drv_give_up(s, s->control.broken ? s->control.broken : "the device did not answer a question on the control queue", NULL);
	return false;
}

static uint8_t checked(uint8_t response) { return response > VIO_SCSI_S_INCORRECT_LUN ? VIO_SCSI_S_FAILURE : response; }

uint8_t vio_scsi_manage(struct vio_scsi *s, const uint8_t lun[8], uint32_t what, uint64_t id)
{
	struct vio_scsi_tmf *tmf = &s->shared.ask.tmf;

	*tmf = (struct vio_scsi_tmf){ .type = vio_le32_of(VIO_SCSI_T_TMF), .subtype = vio_le32_of(what), .id = vio_le64_of(id) };
	memcpy(tmf->lun, lun, sizeof tmf->lun);
	return ask(s, sizeof *tmf, 1) ? checked(*(volatile uint8_t *)&s->shared.answer) : VIO_SCSI_S_LOST;
}

uint8_t vio_scsi_notify(struct vio_scsi *s, const uint8_t lun[8], bool subscribe, uint32_t events, uint32_t *actual)
{
	struct vio_scsi_an *an = &s->shared.ask.an;
	vio_le32 wire;

	*an = (struct vio_scsi_an){ .type = vio_le32_of(subscribe ? VIO_SCSI_T_AN_SUBSCRIBE : VIO_SCSI_T_AN_QUERY),
		.event_requested = vio_le32_of(events) };
	memcpy(an->lun, lun, sizeof an->lun);
	*actual = 0;
	if (!ask(s, sizeof *an, sizeof s->shared.answer))
		return VIO_SCSI_S_LOST;
	memcpy(&wire, s->shared.answer.event_actual, sizeof wire);
	*actual = vio_le32_get(wire) & events;
	return checked(*(volatile uint8_t *)&s->shared.answer.response);
}

/* ---- Events ---- */

static bool is_unit_0(const uint8_t *lun) { return lun[2] % 64 == 0 && lun[3] == 0; }

bool vio_scsi_event(struct vio_scsi *s, struct vio_scsi_news *n)
{
	struct vio_scsi_event e;
	uint32_t len;
	unsigned char *event = s->stopped ? NULL : vio_drvq_get(&s->events, &len);

	if (!event)
		return false;
	memcpy(&e, event, sizeof e);
	if (len < sizeof e)		/* it has told nothing */
		memset(&e, 0, sizeof e);
	give_event(s, event);
	vio_drv_kick(&s->drv, VIO_SCSI_Q_EVENT, &s->events);
	uint32_t what = vio_le32_get(e.event);
	*n = (struct vio_scsi_news){ .event = what & ~VIO_SCSI_T_EVENTS_MISSED, .reason = vio_le32_get(e.reason),
		.missed = what & VIO_SCSI_T_EVENTS_MISSED };
	memcpy(n->lun, e.lun, sizeof n->lun);
	/* 5.6.6.3.1: a target comes with its unit 0, and goes with it */
	n->scan = n->event == VIO_SCSI_T_TRANSPORT_RESET && n->reason != VIO_SCSI_EVT_RESET_HARD && is_unit_0(n->lun);
	return true;
}
