/*
 * The rig over another wire than function calls: a program compiled with RIG_MMIO or RIG_PCI has every access of its drivers
 * go through that wire's registers, both ends of it ours.  What the wire does not tell is counted where the loop wire counts it.
 */
#ifndef VIO_TESTS_DEVICE_WIRE_H
#define VIO_TESTS_DEVICE_WIRE_H
#include <vio/transport/loop.h>
#if defined(RIG_MMIO) || defined(RIG_PCI)
/* ---- The owner of both: the loop wire ---- */

static inline void wire_wake(void *arg, unsigned queue) { vio_loop_port.wake(arg, queue); }
static inline void wire_broken(void *arg, unsigned queue, const char *why) { vio_loop_port.broken(arg, queue, why); }
static inline uint64_t wire_now(void *arg) { return vio_loop_port.now(arg); }
static inline void wire_alarm(void *arg, unsigned queue, uint64_t at_ns) { vio_loop_port.alarm(arg, queue, at_ns); }
static inline void wire_post(void *arg, unsigned queue, struct vio_dev_call *c) { vio_loop_port.post(arg, queue, c); }
static inline void *wire_alloc(void *arg, size_t bytes) { return vio_loop_port.alloc(arg, bytes); }
static inline void wire_free(void *arg, void *p, size_t bytes) { vio_loop_port.free(arg, p, bytes); }

#define WIRE_OWNER { .wake = wire_wake, .broken = wire_broken, .now = wire_now, .alarm = wire_alarm, .post = wire_post, \
	.alloc = wire_alloc, .free = wire_free }
#define WIRE_OF(loop) ((struct rig_wire *)(loop)->other)
#define DRV_PORT(loop) (&WIRE_OF(loop)->drv.port)
#endif

#if defined(RIG_MMIO)
#include <vio/transport/mmio.h>

struct rig_wire {
	struct vio_mmio_dev dev;
	struct vio_mmio_drv drv;
	bool line;
	bool selected[2];		/* a word of the device's features, the driver's */
	unsigned settled;
};

static inline void wire_interrupt(void *arg, bool level) { WIRE_OF((struct vio_loop_wire *)arg)->line = level; }
static inline void wire_settled(void *arg) { WIRE_OF((struct vio_loop_wire *)arg)->settled++; }
static const struct vio_mmio_ops wire_ops = { WIRE_OWNER, .interrupt = wire_interrupt, .settled = wire_settled };

/* What the specification lets a driver do with control registers (4.2.2.2).  Any driver that does otherwise stops the test. */
static inline void wire_watch(struct rig_wire *w, uint32_t at, unsigned width, bool write)
{
	static const uint32_t readable[] = { VIO_MMIO_MAGIC_VALUE, VIO_MMIO_VERSION, VIO_MMIO_DEVICE_ID, VIO_MMIO_VENDOR_ID,
		VIO_MMIO_DEVICE_FEATURES, VIO_MMIO_QUEUE_SIZE_MAX, VIO_MMIO_QUEUE_READY, VIO_MMIO_INTERRUPT_STATUS, VIO_MMIO_STATUS,
		VIO_MMIO_SHM_LEN_LOW, VIO_MMIO_SHM_LEN_LOW + 4, VIO_MMIO_SHM_BASE_LOW, VIO_MMIO_SHM_BASE_LOW + 4, VIO_MMIO_QUEUE_RESET,
		VIO_MMIO_CONFIG_GENERATION };
	static const uint32_t writable[] = { VIO_MMIO_DEVICE_FEATURES_SEL, VIO_MMIO_DRIVER_FEATURES, VIO_MMIO_DRIVER_FEATURES_SEL,
		VIO_MMIO_QUEUE_SEL, VIO_MMIO_QUEUE_SIZE, VIO_MMIO_QUEUE_READY, VIO_MMIO_QUEUE_NOTIFY, VIO_MMIO_INTERRUPT_ACK,
		VIO_MMIO_STATUS, VIO_MMIO_QUEUE_DESC_LOW, VIO_MMIO_QUEUE_DESC_LOW + 4, VIO_MMIO_QUEUE_DRIVER_LOW,
		VIO_MMIO_QUEUE_DRIVER_LOW + 4, VIO_MMIO_QUEUE_DEVICE_LOW, VIO_MMIO_QUEUE_DEVICE_LOW + 4, VIO_MMIO_SHM_SEL,
		VIO_MMIO_QUEUE_RESET };
	const uint32_t *list = write ? writable : readable;
	unsigned n = write ? sizeof writable / sizeof *writable : sizeof readable / sizeof *readable, i = 0;

	if (at >= VIO_MMIO_CONFIG) {
		assert(at % width == 0);
		return;
	}
	while (i < n && list[i] != at)
		i++;
	assert(i < n && width == 4);
	w->selected[0] |= at == VIO_MMIO_DEVICE_FEATURES_SEL;
	w->selected[1] |= at == VIO_MMIO_DRIVER_FEATURES_SEL;
	assert(at != VIO_MMIO_DEVICE_FEATURES || w->selected[0]);
	assert(at != VIO_MMIO_DRIVER_FEATURES || w->selected[1]);
	bool queue_register = at == VIO_MMIO_QUEUE_SIZE || (at >= VIO_MMIO_QUEUE_DESC_LOW && at < VIO_MMIO_SHM_SEL);
	assert(!queue_register || !vio_dev_queue_is_live(w->dev.wire.dev, w->dev.queue_sel));
}

static inline uint32_t wire_read(void *arg, uint32_t at, unsigned width)
{
	uint64_t v;

	wire_watch(WIRE_OF((struct vio_loop_wire *)arg), at, width, false);
	assert(vio_mmio_read(&WIRE_OF((struct vio_loop_wire *)arg)->dev, at, width, &v));
	return (uint32_t)v;
}

/* A processor that goes on before the write is complete sees by the register that it is not. */
static inline void wire_write(void *arg, uint32_t at, unsigned width, uint32_t value)
{
	wire_watch(WIRE_OF((struct vio_loop_wire *)arg), at, width, true);
	vio_mmio_write(&WIRE_OF((struct vio_loop_wire *)arg)->dev, at, width, value);
}

static const struct vio_mmio_access wire_access = { wire_read, wire_write };
#define WIRE_PORT vio_mmio_port
#define WIRE_FEATURES vio_mmio_features()

static inline void wire_make(struct rig_wire *w, struct vio_loop_wire *l)
{
	const char *why;

	vio_mmio_dev_init(&w->dev, l->dev, &wire_ops, l);
	assert(vio_mmio_probe(&w->drv, &wire_access, l, l->port.platform, &why));
}
#endif

#if defined(RIG_PCI)
#include <vio/transport/pci.h>

enum { WIRE_VECTORS = 4 };

struct rig_wire {
	struct vio_pci_dev dev;
	struct vio_pci_drv drv;
	struct vio_pci_vector vector[WIRE_VECTORS];
	unsigned sent[WIRE_VECTORS], moved;
	bool pin;
};

static inline void wire_msix(void *arg, unsigned vector) { WIRE_OF((struct vio_loop_wire *)arg)->sent[vector]++; }
static inline void wire_intx(void *arg, bool level) { WIRE_OF((struct vio_loop_wire *)arg)->pin = level; }
static inline void wire_moved(void *arg) { WIRE_OF((struct vio_loop_wire *)arg)->moved++; }
static const struct vio_pci_ops wire_ops = { WIRE_OWNER, .msix = wire_msix, .intx = wire_intx, .moved = wire_moved };

/* What the specification lets a driver do in the common configuration (4.1.3.1, 4.1.4.3.2).  Any that does otherwise stops the test. */
static inline void wire_watch(struct rig_wire *w, uint64_t at, unsigned width, bool write, uint32_t v)
{
	/* by the offset's half: width of the field that begins there, and whether it is to be written */
	static const uint8_t widths[32] = { 4, 0, 4, 0, 4, 0, 4, 0, 2, 2, 1, 2, 2, 2, 2, 2, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 2, 2, 2, 2 };
	static const uint8_t fixed[32] = { [2] = 1, [9] = 1, [15] = 1, [28] = 1, [30] = 1, [31] = 1 };

	if (at >= 64) {
		assert(at >= 0x1000 && at % width == 0);	/* else it lies in no structure */
		return;
	}
	bool generation = at == offsetof(struct vio_pci_common, config_generation);
	assert(generation ? width == 1 && !write : at % 2 == 0 && widths[at / 2] == width);
	if (!write)
		return;
	assert(!fixed[at / 2]);
	assert(at != offsetof(struct vio_pci_common, queue_enable) || v == 1);
	bool packed = vio_has(w->dev.wire.dev->accepted, VIO_F_RING_PACKED);
	assert(at != offsetof(struct vio_pci_common, queue_size) || (v && (packed || !(v & (v - 1)))));
}

static inline uint32_t wire_read(void *arg, unsigned bar, uint64_t at, unsigned width)
{
	struct rig_wire *w = WIRE_OF((struct vio_loop_wire *)arg);

	assert(bar == 0);
	wire_watch(w, at, width, false, 0);
	return (uint32_t)vio_pci_read(&w->dev, at, width);
}

static inline void wire_write(void *arg, unsigned bar, uint64_t at, unsigned width, uint32_t value)
{
	struct rig_wire *w = WIRE_OF((struct vio_loop_wire *)arg);

	assert(bar == 0);
	wire_watch(w, at, width, true, value);
	vio_pci_write(&w->dev, at, width, value);
}

static inline uint32_t wire_config_get(void *arg, uint32_t at, unsigned width)
{
	return vio_pci_config_read(&WIRE_OF((struct vio_loop_wire *)arg)->dev, at, width);
}

/* Of the config space a driver writes the command word, MSI-X's control word and the window (4.1.4.1). */
static inline void wire_config_put(void *arg, uint32_t at, unsigned width, uint32_t value)
{
	const struct vio_pci_dev *p = &WIRE_OF((struct vio_loop_wire *)arg)->dev;

	assert((at == VIO_PCI_COMMAND && width == 2) || (at == p->msix_at + 2u && width == 2) ||
	    (at >= p->window_at + 4u && at < p->window_at + 20u));
	vio_pci_config_write(&WIRE_OF((struct vio_loop_wire *)arg)->dev, at, width, value);
}

static const struct vio_pci_access wire_access = { wire_config_get, wire_config_put, wire_read, wire_write };
#define WIRE_PORT vio_pci_port
#define WIRE_FEATURES vio_pci_features()

static inline void wire_make(struct rig_wire *w, struct vio_loop_wire *l)
{
	const char *why;

	assert(!vio_pci_dev_init(&w->dev, l->dev, l->dev->type, &wire_ops, l, &(struct vio_pci_options){ .vector = w->vector,
		.vectors = WIRE_VECTORS, .notify_multiplier = 4 }));
	assert(vio_pci_probe(&w->drv, &wire_access, l, l->port.platform, &why));
	vio_pci_enable(&w->drv);
}
#endif

#if defined(RIG_MMIO) || defined(RIG_PCI)

/* ---- The device's port: counted, then the wire's ---- */

static inline struct vio_loop_wire *wire_loop(void *arg) { return ((struct rig_wire *)arg)->dev.wire.arg; }

static inline void wire_used(void *arg, unsigned queue)
{
	wire_loop(arg)->used++;
	WIRE_PORT.used(arg, queue);
}

static inline void wire_config(void *arg)
{
	wire_loop(arg)->configs++;
	WIRE_PORT.config(arg);
}

/* ---- The driver's port: the wire's, and the loop pumped as it would be ---- */

#define FORWARD(result, name, parameters, ...) \
	static inline result wire_##name parameters { return DRV_PORT((struct vio_loop_wire *)p)->ops->name(DRV_PORT((struct vio_loop_wire *)p), ##__VA_ARGS__); }
FORWARD(uint32_t, device_id, (struct vio_drv_port *p))
FORWARD(struct vio_features, features, (struct vio_drv_port *p))
FORWARD(bool, accept, (struct vio_drv_port *p, struct vio_features f), f)
FORWARD(uint8_t, status, (struct vio_drv_port *p))
FORWARD(uint32_t, generation, (struct vio_drv_port *p))
FORWARD(bool, config_read, (struct vio_drv_port *p, uint32_t at, void *to, uint32_t len), at, to, len)
FORWARD(bool, config_write, (struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len), at, from, len)
#if defined(RIG_PCI)
FORWARD(uint16_t, admin_queues, (struct vio_drv_port *p, uint16_t *first), first)
#define wire_admin wire_admin_queues
#else
#define wire_admin NULL		/* 4.2: there are no registers for it */
#endif
FORWARD(uint16_t, queue_max, (struct vio_drv_port *p, uint16_t i), i)
FORWARD(bool, queue_start, (struct vio_drv_port *p, uint16_t i, const struct vio_drvq *q), i, q)
FORWARD(bool, queue_reset, (struct vio_drv_port *p, uint16_t i), i)
FORWARD(bool, queue_is_live, (struct vio_drv_port *p, uint16_t i), i)

static inline void wire_set_status(struct vio_drv_port *p, uint8_t s)
{
	struct vio_loop_wire *l = (struct vio_loop_wire *)p;

	DRV_PORT(l)->ops->set_status(DRV_PORT(l), s);
	if (!l->lazy)
		vio_loop_pump(l, VIO_DEV_QUEUES);
}

static inline void wire_kick(struct vio_drv_port *p, uint16_t i, uint32_t notification)
{
	struct vio_loop_wire *l = (struct vio_loop_wire *)p;

	l->kicks++;
	l->last_notification = notification;
	if (l->lazy) {
		if (i < vio_dev_queues_seen(l->dev))
			vio_loop_port.wake(l, i);
		return;
	}
	DRV_PORT(l)->ops->kick(DRV_PORT(l), i, notification);
	vio_loop_pump(l, UINT32_MAX);
}

static const struct vio_drv_port_ops wire_drv_ops = {
	.device_id = wire_device_id, .features = wire_features, .accept = wire_accept, .status = wire_status,
	.set_status = wire_set_status, .generation = wire_generation, .config_read = wire_config_read,
	.config_write = wire_config_write, .admin_queues = wire_admin, .queue_max = wire_queue_max, .queue_start = wire_queue_start,
	.queue_reset = wire_queue_reset, .queue_is_live = wire_queue_is_live, .kick = wire_kick,
};

/* The loop wire is connected: put the other one in between.  What it returns is free()d. */
static inline void *rig_rewire(struct vio_loop_wire *l)
{
	static struct vio_port_ops port;
	struct rig_wire *w = calloc(1, sizeof *w);

	assert(w);
	port = WIRE_PORT;
	port.used = wire_used;
	port.config = wire_config;
	l->other = w;
	wire_make(w, l);
	vio_dev_attach(l->dev, &port, &w->dev, WIRE_FEATURES);
	l->port.ops = &wire_drv_ops;
	l->port.has_config_data = w->drv.port.has_config_data;
	return w;
}
#else
static inline void *rig_rewire(struct vio_loop_wire *l) { (void)l; return NULL; }
#endif
#endif
