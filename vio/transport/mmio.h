/*
 * virtio over MMIO (virtio 1.4, section 4.2), version 2, both ends.
 *
 *     driver ── port ──▶ struct vio_mmio_drv ── access: read, write ──▶ registers      mmio_drv.c
 *                                                                          │
 *     device ◀── vio_dev_* ── struct vio_mmio_dev ◀── vio_mmio_read, _write┘            mmio_dev.c
 *
 * Device end: whoever has the address space gives a page to the device, calls vio_mmio_read() and vio_mmio_write() for each
 * access, vio_mmio_turn() when asked to (op wake), and drives one interrupt line (op interrupt).
 *
 *     static const struct vio_mmio_ops ops = { { .wake = ..., .alloc = ..., .free = ... }, .interrupt = ... };
 *     vio_mmio_dev_init(&m, dev, &ops, me);
 *     vio_dev_open(dev, &vio_dev_blk, &options, &vio_mmio_port, &m, vio_mmio_features());
 *     vio_dev_set_mem(dev, &mem);
 *
 * An access is complete when the call returns true.  False: a reset, or the stop of a queue, waits for what is in flight; the
 * processor that made the access must not go on before op settled is called, because drivers take the write's end for the
 * reset's (4.2.2).  Meanwhile other accesses are answered.
 *
 * Threads: all calls in the device's home thread, but vio_mmio_interrupt_read() and _ack(), which may be called from anywhere.
 */
#ifndef VIO_TRANSPORT_MMIO_H
#define VIO_TRANSPORT_MMIO_H
#include <vio/driver/port.h>
#include <vio/spec/mmio.h>
#include <vio/transport/owner.h>
VIO_BEGIN_DECLS

/* ---- The device's end ---- */

struct vio_mmio_ops {
	struct vio_owner_ops owner;
	void (*interrupt)(void *arg, bool level);	/* the line; a queue's thread may raise it */
	void (*settled)(void *arg);			/* the access that was not complete is now; NULL: back ends never need time */
};

/* A shared memory region (2.10), where the machine has put it. */
struct vio_mmio_shm { uint8_t id; uint64_t base, len; };

struct vio_mmio_dev {
	struct vio_wire wire;
	const struct vio_mmio_ops *ops;
	uint32_t vendor;			/* VendorID */
	const struct vio_mmio_shm *shm;		/* the owner's */
	unsigned shms;
	/* Registers. */
	uint32_t device_sel, driver_sel, queue_sel, shm_sel;
	struct vio_features driver_features;
	uint32_t interrupt;			/* atomic: InterruptStatus */
	bool resetting;				/* since a write of 0 to Status */
	bool unsettled;				/* an access waits */
	uint64_t refused;			/* accesses of a wrong width, to no register, or in the wrong direction */
};

/* Device-independent features that the wire carries. */
struct vio_features vio_mmio_features(void);
/* The port to open the device with; arg is the struct. */
extern const struct vio_port_ops vio_mmio_port;
/* m->vendor, shm and shms may be set afterwards. */
void vio_mmio_dev_init(struct vio_mmio_dev *m, struct vio_dev *dev, const struct vio_mmio_ops *ops, void *arg);

/*
 * An access of width 1, 2, 4 or 8 bytes at offset at, value in host order.  Control registers are 4 wide and aligned; the
 * config space takes any of the widths, aligned.  Anything else reads as 0, writes nothing and is counted.
 */
bool vio_mmio_read(struct vio_mmio_dev *m, uint64_t at, unsigned width, uint64_t *value);
bool vio_mmio_write(struct vio_mmio_dev *m, uint64_t at, unsigned width, uint64_t value);
/* InterruptStatus and InterruptACK, for a machine that answers these in the processor's own thread. */
uint32_t vio_mmio_interrupt_read(struct vio_mmio_dev *m);
void vio_mmio_interrupt_ack(struct vio_mmio_dev *m, uint32_t bits);
/* vio_dev_queue_turn(), and what waited for it. */
bool vio_mmio_turn(struct vio_mmio_dev *m, unsigned queue);
/*
 * vio_dev_save() and vio_dev_load() with the registers (mmio_state.c): the device is frozen, or fresh; vio_dev_thaw() lets it go on.
 * Loading drives the line as it was.
 */
size_t vio_mmio_save(struct vio_mmio_dev *m, void *to, size_t room);
const char *vio_mmio_load(struct vio_mmio_dev *m, const void *from, size_t n);

/* ---- The driver's end ---- */

/* How registers are reached. */
struct vio_mmio_access {
	uint32_t (*read)(void *arg, uint32_t at, unsigned width);	/* width 1, 2 or 4; host order */
	void (*write)(void *arg, uint32_t at, unsigned width, uint32_t value);
};
/* Volatile accesses; arg is the mapped page. */
extern const struct vio_mmio_access vio_mmio_mapped;

struct vio_mmio_drv {
	struct vio_drv_port port;		/* give it to a driver */
	const struct vio_mmio_access *access;
	void *arg;
	uint32_t id;				/* DeviceID */
	bool with_data;				/* NOTIFICATION_DATA was negotiated */
};

/*
 * Look at what is there (4.2.3.1.1).  False: nothing for us; why is NULL for a placeholder, which is no error, and else a
 * sentence.  True: d->id says which driver it needs, and d->port is the way to it.
 */
bool vio_mmio_probe(struct vio_mmio_drv *d, const struct vio_mmio_access *access, void *arg, struct vio_platform platform,
    const char **why);

/*
 * In the interrupt handler (4.2.3.4): what happened, VIO_MMIO_INT_* bits, acknowledged; 0: the interrupt was not ours.  USED is
 * for every queue.
 */
uint32_t vio_mmio_interrupt(struct vio_mmio_drv *d);
/* Stop using a queue without a reset of it.  False: the device did not let go within VIO_DRV_PATIENCE_NS. */
bool vio_mmio_queue_stop(struct vio_mmio_drv *d, uint16_t queue);
/* A shared memory region (2.10).  False: the device has none of this id. */
bool vio_mmio_shm_find(struct vio_mmio_drv *d, uint8_t id, uint64_t *base, uint64_t *len);
VIO_END_DECLS
#endif
