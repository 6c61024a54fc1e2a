/*
 * The device's end of MMIO: registers over the core's status machine and queues (device/status.c).
 *
 * A register that selects nothing (a queue, a feature word, a region that is not there) reads as the specification says, 0 or
 * all ones, and takes writes without effect.
 */
#include <vio/transport/mmio.h>
#include <vio/transport/registers.h>

#define SELF(p) ((struct vio_mmio_dev *)(p))

/* ---- Interrupts ---- */

/* Whoever moves the line looks again: another thread may have changed what it stands for meanwhile, and moved it before us. */
static void move_line(struct vio_mmio_dev *m)
{
	bool level;

	do {
		level = vio_mmio_interrupt_read(m);
		m->ops->interrupt(m->wire.arg, level);
	} while (level != !!vio_mmio_interrupt_read(m));
}

static void raise_bits(struct vio_mmio_dev *m, uint32_t bits)
{
	__atomic_or_fetch(&m->interrupt, bits, __ATOMIC_SEQ_CST);
	move_line(m);
}

uint32_t vio_mmio_interrupt_read(struct vio_mmio_dev *m) { return __atomic_load_n(&m->interrupt, __ATOMIC_SEQ_CST); }

void vio_mmio_interrupt_ack(struct vio_mmio_dev *m, uint32_t bits)
{
	if (!__atomic_and_fetch(&m->interrupt, ~(bits & VIO_MMIO_INT_ALL), __ATOMIC_SEQ_CST))
		move_line(m);
}

/* ---- The device's port ---- */

static void on_used(void *arg, unsigned queue)
{
	(void)queue;
	raise_bits(SELF(arg), VIO_MMIO_INT_USED);
}

static void on_config(void *arg) { raise_bits(SELF(arg), VIO_MMIO_INT_CONFIG); }

const struct vio_port_ops vio_mmio_port = {
	.used = on_used, .config = on_config, VIO_WIRE_PORT
};

struct vio_features vio_mmio_features(void)
{
	static const unsigned char bits[] = {
		VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_VERSION_1, VIO_F_ACCESS_PLATFORM, VIO_F_RING_PACKED, VIO_F_IN_ORDER,
		VIO_F_ORDER_PLATFORM, VIO_F_NOTIFICATION_DATA, VIO_F_RING_RESET, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

void vio_mmio_dev_init(struct vio_mmio_dev *m, struct vio_dev *dev, const struct vio_mmio_ops *ops, void *arg)
{
	*m = (struct vio_mmio_dev){ .wire = { dev, &ops->owner, arg }, .ops = ops };
}

/* ---- What takes time ---- */

/* Is a reset, or the selected queue's stop, under way that its driver must not outrun? */
static bool busy(const struct vio_mmio_dev *m, const struct vio_dev_queue *q)
{
	return m->wire.dev->pending == VIO_PENDING_RESET || (q && vio_queue_ending(m->wire.dev, q));
}

static bool complete(struct vio_mmio_dev *m, const struct vio_dev_queue *q)
{
	if (!busy(m, q))
		return true;
	m->unsettled = true;
	return false;
}

/* All that was asked to stop has stopped. */
static bool quiet(const struct vio_mmio_dev *m)
{
	if (m->wire.dev->pending == VIO_PENDING_RESET)
		return false;
	for (unsigned i = 0; i < m->wire.dev->queues; i++)
		if (busy(m, &m->wire.dev->queue[i]))
			return false;
	return true;
}

/* Once a reset is done the registers are as at the beginning; whoever comes first sees to it. */
static void catch_up(struct vio_mmio_dev *m)
{
	if (!m->resetting || m->wire.dev->pending == VIO_PENDING_RESET)
		return;
	m->resetting = false;
	m->device_sel = m->driver_sel = m->queue_sel = m->shm_sel = 0;
	m->driver_features = (struct vio_features){ { 0, 0 } };
	vio_mmio_interrupt_ack(m, VIO_MMIO_INT_ALL);	/* 4.2.2.1 */
}

bool vio_mmio_turn(struct vio_mmio_dev *m, unsigned queue)
{
	bool more = vio_dev_queue_turn(m->wire.dev, queue);

	catch_up(m);
	if (m->unsettled && quiet(m)) {
		m->unsettled = false;
		m->ops->settled(m->wire.arg);
	}
	return more;
}

/* ---- Registers ---- */

static struct vio_dev_queue *selected(const struct vio_mmio_dev *m)
{
	return m->queue_sel < m->wire.dev->queues ? &m->wire.dev->queue[m->queue_sel] : NULL;
}

static uint32_t shm_word(const struct vio_mmio_dev *m, uint32_t at)
{
	for (unsigned i = 0; i < m->shms; i++)
		if (m->shm[i].id == m->shm_sel)
			return vio_half(at < VIO_MMIO_SHM_BASE_LOW ? m->shm[i].len : m->shm[i].base, at & 4);
	return UINT32_MAX;
}

/* False: there is no such register, or none to be read. */
static bool read_control(struct vio_mmio_dev *m, uint32_t at, uint32_t *v)
{
	const struct vio_dev_queue *q = selected(m);

	switch (at) {
	case VIO_MMIO_MAGIC_VALUE: *v = VIO_MMIO_MAGIC; return true;
	case VIO_MMIO_VERSION: *v = VIO_MMIO_VERSION_2; return true;
	case VIO_MMIO_DEVICE_ID: *v = m->wire.dev->type->id; return true;
	case VIO_MMIO_VENDOR_ID: *v = m->vendor; return true;
	case VIO_MMIO_DEVICE_FEATURES: *v = vio_feature_word(vio_dev_offered(m->wire.dev), m->device_sel); return true;
	case VIO_MMIO_QUEUE_SIZE_MAX: *v = vio_dev_queue_size_max(m->wire.dev, m->queue_sel); return true;
	case VIO_MMIO_QUEUE_READY: *v = q && q->live; return true;
	case VIO_MMIO_INTERRUPT_STATUS: *v = vio_mmio_interrupt_read(m); return true;
	case VIO_MMIO_STATUS: *v = vio_dev_status(m->wire.dev); return true;
	case VIO_MMIO_SHM_LEN_LOW: case VIO_MMIO_SHM_LEN_LOW + 4: case VIO_MMIO_SHM_BASE_LOW: case VIO_MMIO_SHM_BASE_LOW + 4:
		*v = shm_word(m, at);
		return true;
	case VIO_MMIO_QUEUE_RESET: *v = q && busy(m, q); return true;
	case VIO_MMIO_CONFIG_GENERATION: *v = m->wire.dev->generation; return true;
	default: return false;
	}
}

static void set_features(struct vio_mmio_dev *m, uint32_t v)
{
	vio_set_feature_word(&m->driver_features, m->driver_sel, v);
	vio_dev_set_driver_features(m->wire.dev, m->driver_features);
}

static void set_queue(struct vio_mmio_dev *m, uint32_t at, uint32_t v)
{
	const struct vio_dev_queue *q = selected(m);

	if (!q)
		return;
	uint64_t desc = q->desc, driver = q->driver, device = q->device;
	uint16_t size = q->size;
	switch (at & ~4u) {
	case VIO_MMIO_QUEUE_DESC_LOW: vio_set_half(&desc, at & 4, v); break;
	case VIO_MMIO_QUEUE_DRIVER_LOW: vio_set_half(&driver, at & 4, v); break;
	case VIO_MMIO_QUEUE_DEVICE_LOW: vio_set_half(&device, at & 4, v); break;
	default: size = v <= UINT16_MAX ? (uint16_t)v : 0; break;	/* 0: refused when it is made ready */
	}
	vio_dev_queue_setup(m->wire.dev, m->queue_sel, size, desc, driver, device);
}

static void notify(struct vio_mmio_dev *m, uint32_t v)
{
	unsigned queue = vio_has(m->wire.dev->accepted, VIO_F_NOTIFICATION_DATA) ? v & 0xffff : v;

	if (queue < m->wire.dev->queues && vio_dev_notified(m->wire.dev, queue))
		m->ops->owner.wake(m->wire.arg, queue);
}

static bool set_status(struct vio_mmio_dev *m, uint32_t v)
{
	if (v > UINT8_MAX)
		return true;		/* no such bits, and none of the others is to be believed */
	m->resetting |= v == 0;
	vio_dev_set_status(m->wire.dev, (uint8_t)v);
	catch_up(m);
	return v != 0 || complete(m, NULL);
}

static bool set_ready(struct vio_mmio_dev *m, uint32_t v)
{
	if (v == 1)
		vio_dev_queue_go_live(m->wire.dev, m->queue_sel);
	else if (v == 0)
		vio_dev_queue_let_go(m->wire.dev, m->queue_sel);
	return v != 0 || complete(m, selected(m));
}

/* False: there is no such register, or none to be written.  *done: as vio_mmio_write() says. */
static bool write_control(struct vio_mmio_dev *m, uint32_t at, uint32_t v, bool *done)
{
	switch (at) {
	case VIO_MMIO_DEVICE_FEATURES_SEL: m->device_sel = v; return true;
	case VIO_MMIO_DRIVER_FEATURES: set_features(m, v); return true;
	case VIO_MMIO_DRIVER_FEATURES_SEL: m->driver_sel = v; return true;
	case VIO_MMIO_QUEUE_SEL: m->queue_sel = v; return true;
	case VIO_MMIO_QUEUE_READY: *done = set_ready(m, v); return true;
	case VIO_MMIO_QUEUE_NOTIFY: notify(m, v); return true;
	case VIO_MMIO_INTERRUPT_ACK: vio_mmio_interrupt_ack(m, v); return true;
	case VIO_MMIO_STATUS: *done = set_status(m, v); return true;
	case VIO_MMIO_SHM_SEL: m->shm_sel = v; return true;
	case VIO_MMIO_QUEUE_SIZE:
	case VIO_MMIO_QUEUE_DESC_LOW: case VIO_MMIO_QUEUE_DESC_LOW + 4:
	case VIO_MMIO_QUEUE_DRIVER_LOW: case VIO_MMIO_QUEUE_DRIVER_LOW + 4:
	case VIO_MMIO_QUEUE_DEVICE_LOW: case VIO_MMIO_QUEUE_DEVICE_LOW + 4:
		set_queue(m, at, v);
		return true;
	case VIO_MMIO_QUEUE_RESET:
		if (v == 1)
			vio_dev_queue_reset(m->wire.dev, m->queue_sel);
		return true;
	default: return false;
	}
}

/* ---- Accesses ---- */

static bool fits(uint64_t at, unsigned width)
{
	bool power = width == 1 || width == 2 || width == 4 || width == 8;

	return power && at % width == 0 && at <= UINT32_MAX && (at >= VIO_MMIO_CONFIG || width == 4);
}

bool vio_mmio_read(struct vio_mmio_dev *m, uint64_t at, unsigned width, uint64_t *value)
{
	uint32_t v = 0;

	catch_up(m);
	*value = 0;
	if (fits(at, width) && at >= VIO_MMIO_CONFIG) {
		vio_le64 wire = { 0 };
		vio_dev_config_read(m->wire.dev, (uint32_t)at - VIO_MMIO_CONFIG, &wire, width);
		*value = vio_le64_get(wire);
	} else if (fits(at, width) && read_control(m, (uint32_t)at, &v)) {
		*value = v;
	} else {
		m->refused++;
	}
	return true;
}

bool vio_mmio_write(struct vio_mmio_dev *m, uint64_t at, unsigned width, uint64_t value)
{
	bool done = true, known = false;

	catch_up(m);
	if (fits(at, width) && at >= VIO_MMIO_CONFIG) {
		vio_le64 wire = vio_le64_of(value);
		known = vio_dev_config_write(m->wire.dev, (uint32_t)at - VIO_MMIO_CONFIG, &wire, width);
	} else if (fits(at, width)) {
		known = write_control(m, (uint32_t)at, (uint32_t)value, &done);
	}
	m->refused += !known;
	return done;
}
