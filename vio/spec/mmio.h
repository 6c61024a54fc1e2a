/* virtio over MMIO (virtio 1.4, section 4.2): registers, little-endian words of 32 bits.  The legacy interface has none here. */
#ifndef VIO_SPEC_MMIO_H
#define VIO_SPEC_MMIO_H

enum {	/* 4.2.2; R: a driver only reads it, W: only writes */
	VIO_MMIO_MAGIC_VALUE = 0x000,		/* R */
	VIO_MMIO_VERSION = 0x004,		/* R */
	VIO_MMIO_DEVICE_ID = 0x008,		/* R; 0: a placeholder, to be ignored in silence */
	VIO_MMIO_VENDOR_ID = 0x00c,		/* R */
	VIO_MMIO_DEVICE_FEATURES = 0x010,	/* R */
	VIO_MMIO_DEVICE_FEATURES_SEL = 0x014,	/* W */
	VIO_MMIO_DRIVER_FEATURES = 0x020,	/* W */
	VIO_MMIO_DRIVER_FEATURES_SEL = 0x024,	/* W */
	VIO_MMIO_QUEUE_SEL = 0x030,		/* W */
	VIO_MMIO_QUEUE_SIZE_MAX = 0x034,	/* R */
	VIO_MMIO_QUEUE_SIZE = 0x038,		/* W */
	VIO_MMIO_QUEUE_READY = 0x044,		/* RW */
	VIO_MMIO_QUEUE_NOTIFY = 0x050,		/* W */
	VIO_MMIO_INTERRUPT_STATUS = 0x060,	/* R */
	VIO_MMIO_INTERRUPT_ACK = 0x064,		/* W */
	VIO_MMIO_STATUS = 0x070,		/* RW */
	VIO_MMIO_QUEUE_DESC_LOW = 0x080,	/* W; the high half follows, as in the next two */
	VIO_MMIO_QUEUE_DRIVER_LOW = 0x090,	/* W */
	VIO_MMIO_QUEUE_DEVICE_LOW = 0x0a0,	/* W */
	VIO_MMIO_SHM_SEL = 0x0ac,		/* W */
	VIO_MMIO_SHM_LEN_LOW = 0x0b0,		/* R; all ones: no such region */
	VIO_MMIO_SHM_BASE_LOW = 0x0b8,		/* R */
	VIO_MMIO_QUEUE_RESET = 0x0c0,		/* RW */
	VIO_MMIO_CONFIG_GENERATION = 0x0fc,	/* R */
	VIO_MMIO_CONFIG = 0x100			/* RW */
};

#define VIO_MMIO_MAGIC UINT32_C(0x74726976)	/* "virt" */
enum { VIO_MMIO_VERSION_2 = 2 };
enum { VIO_MMIO_INT_USED = 1, VIO_MMIO_INT_CONFIG = 2, VIO_MMIO_INT_ALL = 3 };
#endif
