/* The driver's end of MMIO (4.2.2.2, 4.2.3): control registers are 32 bits wide, config fields as wide as they are. */
#include <vio/transport/config.h>
#include <vio/transport/mmio.h>

#define SELF(p) ((struct vio_mmio_drv *)(p))

static uint32_t get(struct vio_mmio_drv *d, uint32_t at) { return d->access->read(d->arg, at, 4); }
static void put(struct vio_mmio_drv *d, uint32_t at, uint32_t v) { d->access->write(d->arg, at, 4, v); }

static void put64(struct vio_mmio_drv *d, uint32_t at, uint64_t v)
{
	put(d, at, (uint32_t)v);
	put(d, at + 4, (uint32_t)(v >> 32));
}

/* ---- Volatile memory ---- */

static uint32_t mapped_read(void *arg, uint32_t at, unsigned width)
{
	volatile unsigned char *p = (volatile unsigned char *)arg + at;
	uint32_t v = width == 1 ? *p : width == 2 ? VIO_LE_SWAP(16, *(volatile uint16_t *)(volatile void *)p) :
	    VIO_LE_SWAP(32, *(volatile uint32_t *)(volatile void *)p);

	__atomic_thread_fence(__ATOMIC_SEQ_CST);	/* what is read later is no older than this */
	return v;
}

static void mapped_write(void *arg, uint32_t at, unsigned width, uint32_t value)
{
	volatile unsigned char *p = (volatile unsigned char *)arg + at;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);	/* rings are written before the device is told */
	if (width == 1)
		*p = (unsigned char)value;
	else if (width == 2)
		*(volatile uint16_t *)(volatile void *)p = VIO_LE_SWAP(16, (uint16_t)value);
	else
		*(volatile uint32_t *)(volatile void *)p = VIO_LE_SWAP(32, value);
}

const struct vio_mmio_access vio_mmio_mapped = { mapped_read, mapped_write };

/* ---- Features, status, config ---- */

static uint32_t device_id(struct vio_drv_port *p) { return SELF(p)->id; }

static struct vio_features features(struct vio_drv_port *p)
{
	struct vio_features f = { { 0, 0 } };

	for (uint32_t i = 0; i < VIO_F_LIMIT / 32; i++) {
		put(SELF(p), VIO_MMIO_DEVICE_FEATURES_SEL, i);
		f.word[i / 2] |= (uint64_t)get(SELF(p), VIO_MMIO_DEVICE_FEATURES) << i % 2 * 32;
	}
	/*
	 * QEMU takes any selector but 0 for 1.  Bit 32 is there in every device we drive, bit 96 has no meaning: such a device has
	 * no bits from 64 on.
	 */
	if (vio_has(f, VIO_F_VERSION_1 + 64))
		f.word[1] = 0;
	return f;
}

static bool accept(struct vio_drv_port *p, struct vio_features f)
{
	SELF(p)->with_data = vio_has(f, VIO_F_NOTIFICATION_DATA);
	for (uint32_t i = VIO_F_LIMIT / 32; i-- > 0; ) {	/* the low ones last, so that they stand with QEMU, too */
		put(SELF(p), VIO_MMIO_DRIVER_FEATURES_SEL, i);
		put(SELF(p), VIO_MMIO_DRIVER_FEATURES, (uint32_t)(f.word[i / 2] >> i % 2 * 32));
	}
	return true;
}

static uint8_t status(struct vio_drv_port *p) { return (uint8_t)get(SELF(p), VIO_MMIO_STATUS); }
static void set_status(struct vio_drv_port *p, uint8_t s) { put(SELF(p), VIO_MMIO_STATUS, s); }
static uint32_t generation(struct vio_drv_port *p) { return get(SELF(p), VIO_MMIO_CONFIG_GENERATION); }

static uint32_t config_get(struct vio_drv_port *p, uint32_t at, unsigned width)
{
	return SELF(p)->access->read(SELF(p)->arg, VIO_MMIO_CONFIG + at, width);
}

static void config_put(struct vio_drv_port *p, uint32_t at, unsigned width, uint32_t v)
{
	SELF(p)->access->write(SELF(p)->arg, VIO_MMIO_CONFIG + at, width, v);
}

static bool config_read(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len)
{
	return vio_config_get(p, config_get, VIO_CONFIG_BYTES_MAX, at, to, len);
}

static bool config_write(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len)
{
	return vio_config_put(p, config_put, VIO_CONFIG_BYTES_MAX, at, from, len);
}

/* ---- Queues ---- */

static uint16_t queue_max(struct vio_drv_port *p, uint16_t queue)
{
	put(SELF(p), VIO_MMIO_QUEUE_SEL, queue);
	uint32_t max = get(SELF(p), VIO_MMIO_QUEUE_SIZE_MAX);
	return max > VIO_RING_SIZE_MAX ? VIO_RING_SIZE_MAX : (uint16_t)max;
}

static bool queue_is_live(struct vio_drv_port *p, uint16_t queue)
{
	put(SELF(p), VIO_MMIO_QUEUE_SEL, queue);
	return get(SELF(p), VIO_MMIO_QUEUE_READY) != 0;
}

static bool queue_start(struct vio_drv_port *p, uint16_t queue, const struct vio_drvq *q)
{
	if (queue_is_live(p, queue))		/* 4.2.2.2: its registers are not to be touched then */
		return false;
	put(SELF(p), VIO_MMIO_QUEUE_SIZE, q->size);
	put64(SELF(p), VIO_MMIO_QUEUE_DESC_LOW, q->desc_addr);
	put64(SELF(p), VIO_MMIO_QUEUE_DRIVER_LOW, q->driver_addr);
	put64(SELF(p), VIO_MMIO_QUEUE_DEVICE_LOW, q->device_addr);
	put(SELF(p), VIO_MMIO_QUEUE_READY, 1);
	return queue_is_live(p, queue);
}

static bool queue_reset(struct vio_drv_port *p, uint16_t queue)
{
	put(SELF(p), VIO_MMIO_QUEUE_SEL, queue);
	put(SELF(p), VIO_MMIO_QUEUE_RESET, 1);
	return true;
}

/* Until the reset of a queue is done both registers are not 0 (4.2.2.1, 4.2.2.2). */
static bool queue_in_use(struct vio_drv_port *p, uint16_t queue)
{
	return queue_is_live(p, queue) || get(SELF(p), VIO_MMIO_QUEUE_RESET) != 0;
}

static void kick(struct vio_drv_port *p, uint16_t queue, uint32_t notification)
{
	put(SELF(p), VIO_MMIO_QUEUE_NOTIFY, SELF(p)->with_data ? notification : queue);
}

static const struct vio_drv_port_ops ops = {
	.device_id = device_id, .features = features, .accept = accept, .status = status, .set_status = set_status,
	.generation = generation, .config_read = config_read, .config_write = config_write, .queue_max = queue_max,
	.queue_start = queue_start, .queue_reset = queue_reset, .queue_is_live = queue_in_use, .kick = kick,
};

/* ---- Beside the port ---- */

bool vio_mmio_probe(struct vio_mmio_drv *d, const struct vio_mmio_access *access, void *arg, struct vio_platform platform,
    const char **why)
{
	*d = (struct vio_mmio_drv){ .port = { &ops, platform }, .access = access, .arg = arg };
	*why = NULL;
	if (get(d, VIO_MMIO_MAGIC_VALUE) != VIO_MMIO_MAGIC)
		*why = "there is no virtio device at this address";
	else if (get(d, VIO_MMIO_VERSION) != VIO_MMIO_VERSION_2)
		*why = "the device speaks another version of virtio over MMIO than 2: turn its legacy interface off";
	else
		d->id = get(d, VIO_MMIO_DEVICE_ID);
	return d->id != 0;
}

uint32_t vio_mmio_interrupt(struct vio_mmio_drv *d)
{
	uint32_t bits = get(d, VIO_MMIO_INTERRUPT_STATUS) & VIO_MMIO_INT_ALL;

	if (bits)
		put(d, VIO_MMIO_INTERRUPT_ACK, bits);
	return bits;
}

bool vio_mmio_queue_stop(struct vio_mmio_drv *d, uint16_t queue)
{
	const struct vio_platform *pf = &d->port.platform;
	uint64_t deadline = pf->ops->now_ns(pf->arg) + VIO_DRV_PATIENCE_NS;

	put(d, VIO_MMIO_QUEUE_SEL, queue);
	put(d, VIO_MMIO_QUEUE_READY, 0);
	while (get(d, VIO_MMIO_QUEUE_READY)) {		/* 4.2.2.2 */
		if (pf->ops->now_ns(pf->arg) >= deadline)
			return false;
		if (pf->ops->relax)
			pf->ops->relax(pf->arg);
	}
	return true;
}

static uint64_t get64(struct vio_mmio_drv *d, uint32_t at) { return get(d, at) | (uint64_t)get(d, at + 4) << 32; }

bool vio_mmio_shm_find(struct vio_mmio_drv *d, uint8_t id, uint64_t *base, uint64_t *len)
{
	put(d, VIO_MMIO_SHM_SEL, id);
	*len = get64(d, VIO_MMIO_SHM_LEN_LOW);
	*base = get64(d, VIO_MMIO_SHM_BASE_LOW);
	return *len != UINT64_MAX && *base <= UINT64_MAX - *len;
}
