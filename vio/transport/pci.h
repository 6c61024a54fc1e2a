/*
 * virtio over PCI (virtio 1.4, section 4.1), modern, both ends.
 *
 *     driver ── port ──▶ struct vio_pci_drv ── access: config space, BARs                        pci_drv.c
 *                                                   │
 *     device ◀── vio_dev_* ── struct vio_pci_dev ◀──┤ vio_pci_config_read, _write                pci_config.c
 *                                                   └ vio_pci_read, vio_pci_write (BAR 0)        pci_dev.c
 *
 * Device end: a PCI function for whoever has a PCI bus.  It calls the four functions for each access, maps the BARs where
 * vio_pci_bar() says (op moved tells when to look again), and delivers interrupts: op msix sends the message of a vector,
 * op intx drives the pin.
 *
 *     why = vio_pci_dev_init(&p, dev, &vio_dev_blk, &ops, me, &options);
 *     vio_dev_open(dev, &vio_dev_blk, &blk_options, &vio_pci_port, &p, vio_pci_features());
 *     vio_dev_set_mem(dev, &mem);
 *
 * BAR 0 has everything, a page or more for each structure: common configuration, ISR, device configuration, notification, the
 * MSI-X table and pending bits.  BAR 4 is shared memory (2.10), where there is any.
 *
 * Threads: all calls in the device's home thread.  Queues may have threads of their own: a used buffer notification takes the
 * queue's vector, the mask and the pending bit atomically, and calls op msix or intx there.
 */
#ifndef VIO_TRANSPORT_PCI_H
#define VIO_TRANSPORT_PCI_H
#include <vio/driver/port.h>
#include <vio/spec/pci.h>
#include <vio/transport/owner.h>
VIO_BEGIN_DECLS

/* ---- The device's end ---- */

struct vio_pci_ops {
	struct vio_owner_ops owner;
	void (*msix)(void *arg, unsigned vector);	/* send p->vector[vector]; from a queue's thread, perhaps */
	void (*intx)(void *arg, bool level);		/* the same */
	void (*moved)(void *arg);			/* a BAR, or whether BARs are decoded, has changed; may be NULL */
	void (*vector)(void *arg, unsigned vector);	/* its address, data or mask has changed; may be NULL */
};

struct vio_pci_vector { uint64_t address; uint32_t data; bool masked, pending; };	/* the last two are atomic */

struct vio_pci_shm { uint8_t id; uint64_t at, len; };	/* a region within BAR 4 */

/* What the options point to is the owner's, and outlives the device. */
struct vio_pci_options {
	struct vio_pci_vector *vector;	/* MSI-X: so many entries, 1 to 2048; 0: only INTx */
	uint16_t vectors;
	uint32_t notify_multiplier;	/* 0: all queues at one address; or a power of 2 of at least 4, a page at most */
	uint32_t class_code;		/* 24 bits; 0: the type's usual one */
	uint16_t subsystem_vendor, subsystem;	/* 0: as the ids of the device */
	bool express;			/* a PCI Express endpoint of the root complex; it has a function level reset */
	const struct vio_pci_shm *shm;
	unsigned shms;
	uint64_t shm_bytes;		/* of BAR 4: a power of 2 of at least 4096; 0: none */
	uint16_t vendor;		/* vendor data capability (4.1.4.8): whose; 0: none */
	const void *vendor_data;
	uint8_t vendor_bytes;		/* 2 + a multiple of 4 */
};

struct vio_pci_dev {
	struct vio_wire wire;
	const struct vio_pci_ops *ops;
	struct vio_pci_options o;
	uint16_t id;				/* of the type */
	/* The config space: what is constant or plain, and which bits a driver can write. */
	uint8_t config[VIO_PCI_CONFIG_BYTES], writable[VIO_PCI_CONFIG_BYTES];
	uint8_t msix_at, pm_at, express_at, window_at;	/* capabilities; 0: there is none */
	uint16_t command, msix_control;		/* atomic */
	/* BAR 0. */
	uint32_t notify_bytes, table_at, pending_at, bytes;
	uint32_t device_sel, driver_sel;
	uint16_t queue_sel;
	struct vio_features driver_features;
	uint16_t config_vector, queue_vector[VIO_DEV_QUEUES];	/* atomic */
	uint32_t isr;				/* atomic */
	uint32_t generation_seen;
	uint8_t generation;
	bool resetting;
	uint64_t refused;			/* accesses of a wrong width, to nothing, or in the wrong direction */
};

struct vio_features vio_pci_features(void);
extern const struct vio_port_ops vio_pci_port;

/* NULL, or why the options can't be. */
const char *vio_pci_dev_init(struct vio_pci_dev *p, struct vio_dev *dev, const struct vio_dev_type *type,
    const struct vio_pci_ops *ops, void *arg, const struct vio_pci_options *o);

/* Config space, 256 bytes (4096 with express, of which the rest is empty): width 1, 2 or 4, aligned; value in host order. */
uint32_t vio_pci_config_read(struct vio_pci_dev *p, uint32_t at, unsigned width);
void vio_pci_config_write(struct vio_pci_dev *p, uint32_t at, unsigned width, uint32_t value);
/* Where BAR n is.  False: there is none, or it is not decoded now. */
bool vio_pci_bar(const struct vio_pci_dev *p, unsigned n, uint64_t *base, uint64_t *bytes);
/* Accesses in BAR 0, width 1, 2, 4 or 8. */
uint64_t vio_pci_read(struct vio_pci_dev *p, uint64_t at, unsigned width);
void vio_pci_write(struct vio_pci_dev *p, uint64_t at, unsigned width, uint64_t value);
/* Where in BAR 0 a notification of the queue is written, for who hooks the address itself. */
uint32_t vio_pci_notify_at(const struct vio_pci_dev *p, unsigned queue);
/* Does a message of this vector go out at once, for who sends it himself?  Changes only in config space and BAR writes, and in loads. */
bool vio_pci_vector_open(const struct vio_pci_dev *p, unsigned vector);
/* vio_dev_queue_turn(), unless the function may not be bus master. */
bool vio_pci_turn(struct vio_pci_dev *p, unsigned queue);
/*
 * vio_dev_save() and vio_dev_load() with the registers and the config space (pci_state.c): the device is frozen, or fresh;
 * vio_dev_thaw() lets it go on.  Loading drives the pin as it was and calls ops moved and vector, so that the owner maps again.
 */
size_t vio_pci_save(struct vio_pci_dev *p, void *to, size_t room);
const char *vio_pci_load(struct vio_pci_dev *p, const void *from, size_t n);

/* ---- The driver's end ---- */

enum { VIO_PCI_DRV_QUEUES = 256 };	/* that a driver can use */

/* How the function is reached.  read and write NULL: BARs can't be, and go by the window in the config space (4.1.4.9). */
struct vio_pci_access {
	uint32_t (*config_read)(void *arg, uint32_t at, unsigned width);
	void (*config_write)(void *arg, uint32_t at, unsigned width, uint32_t value);
	uint32_t (*read)(void *arg, unsigned bar, uint64_t at, unsigned width);
	void (*write)(void *arg, unsigned bar, uint64_t at, unsigned width, uint32_t value);
};

struct vio_pci_place { bool there; uint8_t bar; uint64_t at, bytes; };

struct vio_pci_drv {
	struct vio_drv_port port;		/* give it to a driver */
	const struct vio_pci_access *access;
	void *arg;
	uint32_t id;				/* which driver it needs */
	struct vio_pci_place common, notify, isr, device;
	uint32_t multiplier;
	uint8_t window, msix;			/* capabilities; 0: there is none */
	uint16_t vectors;			/* in use: vio_pci_use_vectors() */
	bool with_data, with_config_data, with_admin;
	uint32_t notify_at[VIO_PCI_DRV_QUEUES];
	uint16_t notify_data[VIO_PCI_DRV_QUEUES];
};

/*
 * Look at a function (4.1.2, 4.1.4).  False: nothing for us; why is NULL where that is no virtio device at all, else a
 * sentence.  The function must decode its BARs and be bus master before the device is started: vio_pci_enable() sees to it.
 */
bool vio_pci_probe(struct vio_pci_drv *d, const struct vio_pci_access *access, void *arg, struct vio_platform platform,
    const char **why);
void vio_pci_enable(struct vio_pci_drv *d);
/* How many MSI-X vectors the device has; 0: it has no MSI-X. */
unsigned vio_pci_vectors(struct vio_pci_drv *d);
/* Write a vector's message into the table.  False: there is no such vector. */
bool vio_pci_vector_set(struct vio_pci_drv *d, unsigned vector, uint64_t address, uint32_t data, bool masked);
/*
 * Before the device is started: MSI-X on, with so many vectors: 0 for the configuration, the others for the queues in turn; one:
 * for all.  0: MSI-X off.  False: the device does not have so many.
 */
bool vio_pci_use_vectors(struct vio_pci_drv *d, unsigned vectors);
/* In the handler of INTx: what happened, VIO_PCI_ISR_* bits, which is taken away; 0: the interrupt was not ours. */
uint8_t vio_pci_interrupt(struct vio_pci_drv *d);
/* A shared memory region (2.10).  False: the device has none of this id. */
bool vio_pci_shm_find(struct vio_pci_drv *d, uint8_t id, struct vio_pci_place *place);
VIO_END_DECLS
#endif
