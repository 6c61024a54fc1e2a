/*
 * The event queue (5.6.6.3): what happens by itself.
 *
 * Events wait for buffers, SCSI_EVENTS of them at most; what does not find room is lost, and the next event says so with bit 31.
 * A buffer is popped only when there is something for it, so that no stop waits for one.
 */
#include <vio/device/scsi_impl.h>

uint64_t vio_scsi_dev_events_missed(const struct vio_dev *d) { return ((const struct scsi *)d)->missed; }

static void put_event(struct scsi *s, struct vio_devq *q, struct vio_chain *c, const struct scsi_event_due *due)
{
	struct vio_scsi_event e = { .event = vio_le32_of(due->event | (s->events_missed ? VIO_SCSI_T_EVENTS_MISSED : 0)),
		.reason = vio_le32_of(due->reason) };

	if (due->event != VIO_SCSI_T_NO_EVENT) {
		e.lun[0] = 1;
		e.lun[1] = (uint8_t)(due->address >> 16);
		/* The flat form only where it must be: Linux takes these two bytes for the number. */
		uint16_t lun = (uint16_t)(due->address & 0x3fff);
		vio_be16_put(e.lun + 2, lun < 256 ? lun : (uint16_t)(0x4000 | lun));
	}
	if (vio_cur_put(&c->w, &e, sizeof e))
		s->events_missed = false;
	else {				/* 5.6.6.3.1: too small for any event */
		s->events_missed = true;
		s->missed++;
		vio_dev_refused(q);
	}
	vio_dev_push(q, c);
}

void vio_scsi_dev_events(struct scsi *s, struct vio_devq *q)
{
	while (s->events || s->events_missed) {
		struct scsi_event_due due = { .event = VIO_SCSI_T_NO_EVENT };
		struct vio_chain *c = vio_devq_pop(q);
		if (!c)
			return;
		if (s->events) {
			due = s->event[s->event_at];
			s->event_at = (s->event_at + 1) % SCSI_EVENTS;
			s->events--;
		}
		put_event(s, q, c, &due);
	}
	q->why_empty = VIO_WAIT_DEVICE;
}

static bool wanted(const struct scsi *s, uint32_t event, uint32_t reason)
{
	if (event == VIO_SCSI_T_PARAM_CHANGE)
		return vio_has(s->dev.accepted, VIO_SCSI_F_CHANGE);
	if (event == VIO_SCSI_T_TRANSPORT_RESET && reason != VIO_SCSI_EVT_RESET_HARD)
		return vio_has(s->dev.accepted, VIO_SCSI_F_HOTPLUG);
	return true;
}

void vio_scsi_dev_event(struct scsi *s, uint32_t event, uint32_t address, uint32_t reason)
{
	struct vio_dev_queue *dq = &s->dev.queue[VIO_SCSI_Q_EVENT];

	if (!wanted(s, event, reason))
		return;
	if (s->events == SCSI_EVENTS) {
		s->events_missed = true;
		s->missed++;
	} else {
		s->event[(s->event_at + s->events++) % SCSI_EVENTS] = (struct scsi_event_due){ event, reason, address };
	}
	if (dq->state == VIO_QUEUE_STARTED)
		vio_dev_wake(&dq->ring);
}
