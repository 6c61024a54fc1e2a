/*
 * The status machine (2.1, 2.4, 2.6, 2.13, 3.1): a shim over the queue primitives for transports that have a status field.
 *
 *        ACKNOWLEDGE, DRIVER → FEATURES_OK → DRIVER_OK ⇄ SUSPEND        0 from anywhere: reset
 *
 * Reset and suspend stop all queues by the one stop path; until the last has answered the status shows what it was.  So does the
 * owner who freezes the device, of which the status shows nothing.
 */
#include <vio/device/dev.h>

static void settle(struct vio_dev *d);

void vio_dev_needs_reset(struct vio_dev *d, const char *why)
{
	if (d->status & VIO_S_NEEDS_RESET)
		return;
	d->needs_reset = why;
	d->status |= VIO_S_NEEDS_RESET;
	vio_dev_config_changed(d);	/* 2.1.2: MUST notify when DRIVER_OK is set */
}

/* ---- Queues ---- */

uint16_t vio_dev_queue_size_max(const struct vio_dev *d, unsigned i)
{
	return i < vio_dev_queues_seen(d) ? d->queue_size_max : 0;
}

bool vio_dev_queue_is_live(const struct vio_dev *d, unsigned i)
{
	return i < vio_dev_queues_seen(d) && d->queue[i].live;
}

void vio_dev_queue_setup(struct vio_dev *d, unsigned i, uint16_t size, uint64_t desc, uint64_t driver, uint64_t device)
{
	if (i >= vio_dev_queues_seen(d) || d->queue[i].live)
		return;
	struct vio_dev_queue *dq = &d->queue[i];
	dq->size = size;
	dq->desc = desc;
	dq->driver = driver;
	dq->device = device;
}

static const char *start(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];
	bool packed = vio_has(d->accepted, VIO_F_RING_PACKED);
	struct vio_queue_start s = { .base = dq->base, .place.size = dq->size };

	if (!d->mem || dq->size == 0 || dq->size > d->queue_size_max)
		return "the queue's size is zero, or larger than the device offers";
	s.place.desc = vio_mem_span(d->mem, dq->desc, vio_ring_desc_bytes(dq->size), VIO_MEM_RW);
	s.place.driver = vio_mem_span(d->mem, dq->driver, vio_ring_driver_bytes(dq->size, packed), VIO_MEM_READ);
	s.place.device = vio_mem_span(d->mem, dq->device, vio_ring_device_bytes(dq->size, packed), VIO_MEM_RW);
	if (vio_mem_gpa(d->mem, s.place.device, &s.log_used_gpa))
		s.log_used = true;
	const char *why = vio_dev_queue_start(d, i, &s);
	if (why)
		return why;
	vio_dev_queue_enable(d, i, true);
	vio_dev_wake(&dq->ring);	/* the driver may have filled it before DRIVER_OK */
	return NULL;
}

/* Nothing stands in the way of a queue that has stopped.  One that is broken has nowhere to go on. */
static bool may_run(const struct vio_dev *d, unsigned i)
{
	const struct vio_dev_queue *dq = &d->queue[i];

	return d->status & VIO_S_DRIVER_OK && !d->pending && !d->freeze && dq->live && !dq->leaving && !dq->ring.broken &&
	    dq->state == VIO_QUEUE_STOPPED;
}

static void start_if_may(struct vio_dev *d, unsigned i)
{
	if (!may_run(d, i))
		return;
	const char *why = start(d, i);
	if (!why)
		return;
	d->queue[i].ring.broken = why;
	vio_dev_needs_reset(d, why);
}

static void start_live(struct vio_dev *d)
{
	for (unsigned i = 0; i < vio_dev_queues_seen(d); i++)
		start_if_may(d, i);
}

static uint32_t first_base(const struct vio_dev *d)
{
	return vio_has(d->accepted, VIO_F_RING_PACKED) ? VIO_PACKED_BASE : 0;
}

void vio_dev_queue_go_live(struct vio_dev *d, unsigned i)
{
	if (i >= vio_dev_queues_seen(d) || d->queue[i].live || d->queue[i].size == 0)
		return;
	d->queue[i].live = true;
	d->queue[i].base = first_base(d);
	start_if_may(d, i);
}

static void default_queue(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];

	dq->live = dq->enabled = dq->leaving = false;
	dq->size = d->queue_size_max;
	dq->desc = dq->driver = dq->device = 0;
	dq->base = 0;
	dq->ring.broken = NULL;
}

/* All that wait for queues to stop look here, each time one has, whatever it was stopped for. */
static void queue_stopped(void *arg, unsigned i, uint32_t base)
{
	struct vio_dev *d = arg;

	d->queue[i].base = base;
	if (d->queue[i].leaving)
		default_queue(d, i);
	start_if_may(d, i);		/* thawed before it had stopped */
	settle(d);
}

void vio_dev_queue_let_go(struct vio_dev *d, unsigned i)
{
	if (i >= vio_dev_queues_seen(d) || !d->queue[i].live || d->pending || d->queue[i].leaving)
		return;
	d->queue[i].leaving = true;
	vio_dev_queue_stop(d, i, true, queue_stopped, d);
}

void vio_dev_queue_reset(struct vio_dev *d, unsigned i)
{
	if (vio_has(d->accepted, VIO_F_RING_RESET))
		vio_dev_queue_let_go(d, i);
}

bool vio_dev_notified(struct vio_dev *d, unsigned i)
{
	if (i >= vio_dev_queues_seen(d) || !(d->status & VIO_S_DRIVER_OK) || d->status & VIO_S_FAILED)
		return false;
	d->queue[i].ring.stats.kicks++;
	return vio_dev_queue_turn(d, i);
}

/* ---- Status ---- */

void vio_dev_set_driver_features(struct vio_dev *d, struct vio_features f)
{
	if (!(d->status & VIO_S_FEATURES_OK))	/* 3.1.1 step 6: none after this step */
		d->accepted = f;
}

static void all_stopped(struct vio_dev *d)
{
	uint8_t pending = d->pending;

	d->pending = 0;
	if (pending == VIO_PENDING_RESET) {
		for (unsigned i = 0; i < vio_dev_queues(d); i++)
			default_queue(d, i);
		vio_dev_forget(d);
		d->needs_reset = NULL;
		d->config_due = false;
		d->status = 0;
	} else if (pending == VIO_PENDING_SUSPEND) {
		d->status = (uint8_t)((d->status & ~VIO_S_DRIVER_OK) | VIO_S_SUSPEND);
	}
	if (d->freeze == VIO_FREEZE_BEGUN) {
		d->freeze = VIO_FREEZE_DONE;
		d->frozen(d->frozen_arg);
	}
}

static void settle(struct vio_dev *d)
{
	for (unsigned i = 0; i < vio_dev_queues(d); i++)
		if (d->queue[i].state != VIO_QUEUE_STOPPED)
			return;
	all_stopped(d);
}

/* A queue that is on its way to its end already is asked again only to make it come sooner. */
static void stop_queues(struct vio_dev *d, bool cancel)
{
	for (unsigned i = 0; i < vio_dev_queues(d); i++)
		if (d->queue[i].state != VIO_QUEUE_STOPPED && (cancel || d->queue[i].state != VIO_QUEUE_STOPPING))
			vio_dev_queue_stop(d, i, cancel, queue_stopped, d);
	settle(d);
}

static void stop_for(struct vio_dev *d, uint8_t pending)
{
	d->pending = pending;
	stop_queues(d, pending == VIO_PENDING_RESET);
}

/* ---- Frozen by the owner ---- */

void vio_dev_freeze(struct vio_dev *d, void (*done)(void *arg), void *arg)
{
	d->freeze = VIO_FREEZE_BEGUN;
	d->frozen = done;
	d->frozen_arg = arg;
	stop_queues(d, false);
}

static void tell_config(struct vio_dev *d)
{
	if (!d->config_due || d->status & VIO_S_SUSPEND || d->freeze)
		return;
	d->config_due = false;
	d->port->config(d->port_arg);
}

void vio_dev_thaw(struct vio_dev *d)
{
	d->freeze = 0;
	start_live(d);
	tell_config(d);
}

/* ---- Status, further ---- */

static void features_ok(struct vio_dev *d)
{
	if (!(d->status & VIO_S_DRIVER) || vio_dev_features_refused(d, d->accepted))
		return;		/* FEATURES_OK stays clear: the driver sees it when it reads back (2.2.2) */
	vio_dev_accept(d, d->accepted);
	d->status |= VIO_S_FEATURES_OK;
}

static void resume(struct vio_dev *d)
{
	d->status = (uint8_t)((d->status & ~VIO_S_SUSPEND) | VIO_S_DRIVER_OK);
	start_live(d);
	tell_config(d);
}

static void driver_ok(struct vio_dev *d)
{
	if (d->status & VIO_S_SUSPEND) {
		resume(d);
	} else if (d->status & VIO_S_FEATURES_OK) {
		d->status |= VIO_S_DRIVER_OK;
		start_live(d);
	}
}

uint8_t vio_dev_status(const struct vio_dev *d)
{
	return d->status;
}

void vio_dev_set_status(struct vio_dev *d, uint8_t status)
{
	if (status == 0) {
		if (d->pending != VIO_PENDING_RESET)
			stop_for(d, VIO_PENDING_RESET);
		return;
	}
	if (d->pending)
		return;
	uint8_t rising = status & (uint8_t)~d->status;	/* bits are set, never cleared, but by reset (2.1.1) */
	d->status |= rising & (VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FAILED);
	if (rising & VIO_S_FEATURES_OK)
		features_ok(d);
	if (rising & VIO_S_DRIVER_OK)
		driver_ok(d);
	else if (rising & VIO_S_SUSPEND && d->status & VIO_S_DRIVER_OK && vio_has(d->accepted, VIO_F_SUSPEND))
		stop_for(d, VIO_PENDING_SUSPEND);
}
