/* Entropy driver (virtio 1.4, section 5.4). */
#include <vio/driver/rng.h>

static const struct vio_platform *platform(const struct vio_rng *r) { return &r->drv.port->platform; }

static struct vio_features drives(void)
{
	static const unsigned char bits[] = {
		VIO_F_EVENT_IDX, VIO_F_RING_PACKED, VIO_F_IN_ORDER, VIO_F_NOTIFICATION_DATA, VIO_F_RING_RESET, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

static bool map_ring(struct vio_rng *r)
{
	const struct vio_platform *pf = platform(r);
	unsigned n = pf->ops->map(pf->arg, r->ring, sizeof r->ring, VIO_BOTH_WAYS, &r->ring_mapped, 1);

	if (n == 1 && r->ring_mapped.len == sizeof r->ring)
		return true;
	if (n)
		pf->ops->unmap(pf->arg, r->ring, sizeof r->ring, VIO_BOTH_WAYS, &r->ring_mapped, n);
	r->ring_mapped.len = 0;
	return vio_drv_fail(&r->drv, "the ring's memory can't be mapped in one piece");
}

/* What the device can do, at most what there is room for. */
static uint16_t queue_size(struct vio_rng *r)
{
	uint16_t size = r->drv.port->ops->queue_max(r->drv.port, 0);

	if (size > VIO_RNG_DRV_QUEUE)
		size = VIO_RNG_DRV_QUEUE;
	while (!vio_drv_has(&r->drv, VIO_F_RING_PACKED) && size & (size - 1))
		size &= (uint16_t)(size - 1);		/* 2.7: a power of two */
	return size;
}

static bool start_queue(struct vio_rng *r)
{
	uint16_t size = queue_size(r);

	if (size == 0)
		return vio_drv_fail(&r->drv, "the device has no queue");
	if (!map_ring(r))
		return false;
	struct vio_drvq_setup setup = {
		.size = size, .features = r->drv.features, .ring = r->ring, .ring_addr = r->ring_mapped.addr, .slots = r->slots,
	};
	vio_drvq_init(&r->q, &setup);
	return vio_drv_queue(&r->drv, 0, &r->q) && vio_drv_ready(&r->drv);
}

bool vio_rng_start(struct vio_rng *r, struct vio_drv_port *port)
{
	*r = (struct vio_rng){ .ring_mapped.len = 0 };
	if (!vio_drv_begin(&r->drv, port, VIO_ID_RNG, drives(), NULL))
		return false;
	if (start_queue(r))
		return true;
	vio_rng_stop(r);	/* the device must forget the ring before it is unmapped */
	return false;
}

static void unmap(struct vio_rng *r, struct vio_rng_request *q)
{
	const struct vio_platform *pf = platform(r);

	pf->ops->unmap(pf->arg, q->buf, q->len, VIO_FROM_DEVICE, q->mapped, q->bufs);
	q->buf = NULL;
}

bool vio_rng_stop(struct vio_rng *r)
{
	const struct vio_platform *pf = platform(r);

	if (!vio_drv_reset(&r->drv))
		return false;
	for (unsigned i = 0; i < VIO_RNG_DRV_QUEUE; i++)
		if (r->request[i].buf)
			unmap(r, &r->request[i]);
	if (r->ring_mapped.len)
		pf->ops->unmap(pf->arg, r->ring, sizeof r->ring, VIO_BOTH_WAYS, &r->ring_mapped, 1);
	r->ring_mapped.len = 0;
	return true;
}

static bool submit(struct vio_rng *r, void *buf, uint32_t len)
{
	const struct vio_platform *pf = platform(r);
	struct vio_rng_request *q = r->request;

	while (q < r->request + VIO_RNG_DRV_QUEUE && q->buf)
		q++;
	if (q == r->request + VIO_RNG_DRV_QUEUE || !buf || len == 0 || !r->drv.status)
		return false;
	*q = (struct vio_rng_request){ .buf = buf, .len = len };
	q->bufs = pf->ops->map(pf->arg, buf, len, VIO_FROM_DEVICE, q->mapped, VIO_RNG_DRV_SEGS);
	if (q->bufs && vio_drvq_add(&r->q, q->mapped, 0, q->bufs, q))	/* 5.4.6.1: no device-readable buffers */
		return true;
	if (q->bufs)
		unmap(r, q);
	q->buf = NULL;
	return false;
}

bool vio_rng_request(struct vio_rng *r, void *buf, uint32_t len)
{
	if (!submit(r, buf, len))
		return false;
	vio_drv_kick(&r->drv, 0, &r->q);
	return true;
}

void *vio_rng_poll(struct vio_rng *r, uint32_t *got)
{
	struct vio_rng_request *q = vio_drvq_get(&r->q, got);	/* 5.4.6.1: the length says how many bytes are random */

	if (!q)
		return NULL;
	void *buf = q->buf;
	unmap(r, q);
	return buf;
}

uint32_t vio_rng_read(struct vio_rng *r, void *buf, uint32_t len)
{
	const struct vio_platform *pf = platform(r);
	uint64_t deadline = pf->ops->now_ns(pf->arg) + VIO_DRV_PATIENCE_NS;
	uint32_t got;

	if (!submit(r, buf, len))
		return 0;
	struct vio_rng_request *q = vio_drv_get_wait(&r->drv, 0, &r->q, &got, deadline);
	if (q) {
		unmap(r, q);
		return got;
	}
	vio_drv_fail(&r->drv, r->q.broken ? r->q.broken : "the device gave no random bytes in time");
	vio_rng_stop(r);	/* 3.3.1: only then is buf ours again */
	return 0;
}
