/*
 * The driver core: what every driver does with its device (virtio 1.4, chapters 2 and 3).
 *
 * The device is not trusted: it can lie, stall and break its word, and the driver ends each wait at a deadline with a
 * sentence in d->failed.
 */
#include <vio/driver/admin.h>

static uint64_t now(const struct vio_drv *d) { return d->port->platform.ops->now_ns(d->port->platform.arg); }

static void relax(const struct vio_drv *d)
{
	if (d->port->platform.ops->relax)
		d->port->platform.ops->relax(d->port->platform.arg);
}

static uint8_t status(const struct vio_drv *d) { return d->port->ops->status(d->port); }

/* Set bits in the device status; none is ever cleared but by a reset (2.1.1). */
static void add_status(struct vio_drv *d, uint8_t bits)
{
	d->status |= bits;
	d->port->ops->set_status(d->port, d->status);
}

/* Wait until the status bits under mask are want.  False: they were not in time, or the device needs a reset. */
static bool wait_status(struct vio_drv *d, uint8_t mask, uint8_t want)
{
	uint64_t deadline = now(d) + VIO_DRV_PATIENCE_NS;

	for (;;) {
		uint8_t s = status(d);
		if ((s & mask) == want)
			return true;
		if ((s & VIO_S_NEEDS_RESET && want) || now(d) >= deadline)
			return false;
		relax(d);
	}
}

bool vio_drv_fail(struct vio_drv *d, const char *why)
{
	if (!d->failed)
		d->failed = why;
	if (d->status)
		add_status(d, VIO_S_FAILED);
	return false;
}

bool vio_drv_reset(struct vio_drv *d)
{
	d->status = 0;
	d->suspended = false;
	d->port->ops->set_status(d->port, 0);
	if (wait_status(d, 0xff, 0)) {		/* 2.4.2 */
		if (d->port->admin)
			vio_admin_end(d->port->admin);
		return true;
	}
	add_status(d, VIO_S_FAILED);
	return vio_drv_fail(d, "the device does not finish its reset");
}

/* ---- Initialisation (3.1.1) ---- */

/* What a driver takes if it is offered, whatever it drives. */
static const unsigned char always[] = {
	VIO_F_VERSION_1,	/* 6.1 */
	VIO_F_ACCESS_PLATFORM,	/* 6.1: every address comes from platform.map(), which knows where the device looks */
	VIO_F_NOTIF_CONFIG_DATA,	/* the port's affair, if it is one */
#if defined(__x86_64__) || defined(__i386__) || defined(__s390x__)
	/* 6.1: barriers fit for hardware.  The ring's are full ones for the processor; here that holds for DMA as well. */
	VIO_F_ORDER_PLATFORM,
#endif
};

/* Bits that mean something to a transport only. */
static const unsigned char never[] = { VIO_F_SR_IOV };

static struct vio_features choose(struct vio_features offered, struct vio_features wanted, const struct vio_feature_need *needs)
{
	struct vio_features f = vio_features_or(wanted, vio_features_of(always, sizeof always));
	unsigned bit;

	f = vio_features_and(offered, vio_features_minus(f, vio_features_of(never, sizeof never)));
	while ((bit = vio_features_unmet(f, needs)) != VIO_F_LIMIT)	/* 2.2.1 */
		vio_features_drop(&f, bit);
	return f;
}

bool vio_drv_begin(struct vio_drv *d, struct vio_drv_port *port, uint32_t device_id, struct vio_features wanted,
    const struct vio_feature_need *needs)
{
	*d = (struct vio_drv){ .port = port };
	if (port->ops->device_id(port) != device_id) {
		d->failed = "the device is of another type";	/* not ours to mark as failed */
		return false;
	}
	if (!vio_drv_reset(d))
		return false;
	add_status(d, VIO_S_ACKNOWLEDGE);
	add_status(d, VIO_S_DRIVER);
	if (port->admin && port->ops->admin_queues)
		vio_features_add(&wanted, VIO_F_ADMIN_VQ);
	else
		vio_features_drop(&wanted, VIO_F_ADMIN_VQ);
	d->features = choose(vio_features_minus(port->ops->features(port), port->refuse), wanted, needs);
	if (!port->has_config_data)		/* a device may offer it where it means nothing */
		vio_features_drop(&d->features, VIO_F_NOTIF_CONFIG_DATA);
	if (!vio_drv_has(d, VIO_F_VERSION_1))
		return vio_drv_fail(d, "the device is a legacy one: it does not offer VERSION_1");
	if (!port->ops->accept(port, d->features))
		return vio_drv_fail(d, "the way to the device broke while features were negotiated");
	add_status(d, VIO_S_FEATURES_OK);
	if (!(status(d) & VIO_S_FEATURES_OK))
		return vio_drv_fail(d, "the device refused the features that it offered");
	return true;
}

bool vio_drv_queue(struct vio_drv *d, uint16_t queue, const struct vio_drvq *q)
{
	if (d->port->ops->queue_max(d->port, queue) < q->size)
		return vio_drv_fail(d, "the device has no such queue, or not of that size");
	if (!d->port->ops->queue_start(d->port, queue, q))
		return vio_drv_fail(d, "the device did not take the queue");
	return true;
}

bool vio_drv_ready(struct vio_drv *d)
{
	if (d->port->admin && vio_drv_has(d, VIO_F_ADMIN_VQ) && !vio_admin_start(d->port->admin, d))
		return false;
	add_status(d, VIO_S_DRIVER_OK);
	if (status(d) & VIO_S_NEEDS_RESET)
		return vio_drv_fail(d, "the device needed a reset as soon as it was started");
	return true;
}

/* ---- While it runs ---- */

bool vio_drv_config(struct vio_drv *d, uint32_t at, void *to, uint32_t len)
{
	const struct vio_drv_port_ops *ops = d->port->ops;
	uint64_t deadline = now(d) + VIO_DRV_PATIENCE_NS;

	for (;;) {	/* 2.5.1 */
		uint32_t before = ops->generation(d->port);
		if (!ops->config_read(d->port, at, to, len))
			return vio_drv_fail(d, "the way to the device broke while its config space was read");
		if (ops->generation(d->port) == before)
			return true;
		if (now(d) >= deadline)
			return vio_drv_fail(d, "the device's config space never holds still");
		relax(d);
	}
}

bool vio_drv_queue_reset(struct vio_drv *d, uint16_t queue)
{
	const struct vio_drv_port_ops *ops = d->port->ops;
	uint64_t deadline = now(d) + VIO_DRV_PATIENCE_NS;

	if (!vio_drv_has(d, VIO_F_RING_RESET) || !ops->queue_reset || !ops->queue_reset(d->port, queue))
		return false;
	while (ops->queue_is_live(d->port, queue)) {	/* 2.6.1.2: verify */
		if (now(d) >= deadline)
			return vio_drv_fail(d, "the device does not finish the reset of a queue");
		relax(d);
	}
	return true;
}

bool vio_drv_suspend(struct vio_drv *d)
{
	if (d->suspended)
		return true;
	if (!vio_drv_has(d, VIO_F_SUSPEND) || !(d->status & VIO_S_DRIVER_OK))
		return false;
	d->suspended = true;		/* no notification from here on (3.4.1) */
	add_status(d, VIO_S_SUSPEND);
	if (!wait_status(d, VIO_S_SUSPEND | VIO_S_DRIVER_OK, VIO_S_SUSPEND))
		return vio_drv_fail(d, "the device does not suspend itself");
	d->status &= (uint8_t)~VIO_S_DRIVER_OK;		/* cleared by the device */
	return true;
}

bool vio_drv_resume(struct vio_drv *d)
{
	if (!d->suspended)
		return true;
	add_status(d, VIO_S_DRIVER_OK);
	if (!wait_status(d, VIO_S_SUSPEND | VIO_S_DRIVER_OK, VIO_S_DRIVER_OK))
		return vio_drv_fail(d, "the device does not resume");
	d->status &= (uint8_t)~VIO_S_SUSPEND;
	d->suspended = false;
	return true;
}

void vio_drv_kick(struct vio_drv *d, uint16_t queue, struct vio_drvq *q)
{
	if (!(d->status & VIO_S_DRIVER_OK) || d->suspended)	/* 3.1.1, 3.4.1: what was added waits for a later kick */
		return;
	if (vio_drvq_kick_due(q))
		d->port->ops->kick(d->port, queue, vio_drvq_notification(q, queue));
}

static bool can_sleep(const struct vio_drv *d) { return d->port->ops->wait || d->port->platform.ops->wait; }

static void wait_signal(struct vio_drv *d, uint16_t queue, uint64_t deadline)
{
	const struct vio_platform *pf = &d->port->platform;

	if (d->port->ops->wait)
		d->port->ops->wait(d->port, queue, deadline);
	else
		pf->ops->wait(pf->arg, d->port, queue, deadline);
}

void vio_drv_wait(struct vio_drv *d, uint16_t queue, struct vio_drvq *q, uint64_t deadline)
{
	const uint64_t slice = 100000000;	/* look at its status now and then */
	bool hush = q->hush;

	vio_drv_kick(d, queue, q);	/* never wait with something unpublished */
	if (!can_sleep(d)) {
		relax(d);
		return;
	}
	uint64_t soon = now(d) + slice;
	if (!vio_drvq_listen(q))
		wait_signal(d, queue, soon < deadline ? soon : deadline);
	if (hush)
		vio_drvq_quiet(q);
}

void *vio_drv_get_wait(struct vio_drv *d, uint16_t queue, struct vio_drvq *q, uint32_t *len, uint64_t deadline_ns)
{
	unsigned looks = 0;
	void *cookie;

	vio_drv_kick(d, queue, q);	/* never wait with something unpublished */
	while (!(cookie = vio_drvq_get(q, len))) {
		if (q->broken || now(d) >= deadline_ns)
			return NULL;
		vio_drv_wait(d, queue, q, deadline_ns);
		if ((can_sleep(d) || ++looks % 1024 == 0) && status(d) & VIO_S_NEEDS_RESET)
			return vio_drvq_get(q, len);	/* 2.1.1: don't rely on the rest */
	}
	return cookie;
}
