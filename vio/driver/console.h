/*
 * Console driver (virtio 1.4, section 5.3), freestanding: ports, each a stream of bytes both ways.
 *
 *   vio_console_start(&c, port)            ports appear as the device tells of them
 *   vio_console_work(&c)                   now and then, or when the device has signalled: hear what it says of its ports
 *   vio_console_open(&c, n, true)          consoles open by themselves
 *   vio_console_read(&c, n, buf, len), vio_console_write(&c, n, buf, len)     what goes at once, without waiting
 */
#ifndef VIO_DRIVER_CONSOLE_H
#define VIO_DRIVER_CONSOLE_H
#include <vio/driver/port.h>
#include <vio/spec/console.h>
VIO_BEGIN_DECLS

enum {
	VIO_CONSOLE_DRV_PORTS = 4,	/* ports from here on are declined */
	VIO_CONSOLE_DRV_QUEUE = 8,	/* entries of a queue, each with a buffer */
	VIO_CONSOLE_DRV_BYTES = 256,	/* of a buffer */
	VIO_CONSOLE_DRV_NAME = 64	/* of a name, with its NUL; longer ones are cut */
};

/* What the device sees of a pair of queues: must lie in memory that the platform can map in one piece. */
struct vio_console_pair {
	VIO_ALIGNAS(16) unsigned char rx_ring[VIO_DRVQ_RING_BYTES(VIO_CONSOLE_DRV_QUEUE)];
	VIO_ALIGNAS(16) unsigned char tx_ring[VIO_DRVQ_RING_BYTES(VIO_CONSOLE_DRV_QUEUE)];
	unsigned char rx[VIO_CONSOLE_DRV_QUEUE][VIO_CONSOLE_DRV_BYTES];
	unsigned char tx[VIO_CONSOLE_DRV_QUEUE][VIO_CONSOLE_DRV_BYTES];
};

struct vio_console_line {		/* a pair of queues as the driver knows it */
	struct vio_console_pair *pair;
	struct vio_buf mapped;		/* len 0: not */
	struct vio_drvq rx, tx;
	struct vio_drvq_slot rx_slots[VIO_CONSOLE_DRV_QUEUE], tx_slots[VIO_CONSOLE_DRV_QUEUE];
	uint8_t tx_busy;		/* bit i: the device has buffer i */
	const unsigned char *at;	/* a received buffer that is being read, and how much of it is left */
	uint32_t left;
	uint8_t current;		/* its number */
};

struct vio_console_drv_port {
	struct vio_console_line line;
	bool exists, console;
	bool host_open;			/* somebody is at the device's other end */
	bool open;			/* we have opened it */
	uint16_t columns, rows;		/* of a console; 0: not known */
	char name[VIO_CONSOLE_DRV_NAME];
	bool owes_ready, owes_open;	/* messages that there was no room for */
};

struct vio_console {
	struct vio_drv drv;
	uint16_t ports;			/* of the device, at most VIO_CONSOLE_DRV_PORTS */
	uint32_t max_ports;		/* of the device, as it says */
	bool owes_device_ready;
	struct vio_console_line control;
	struct vio_console_drv_port port[VIO_CONSOLE_DRV_PORTS];
	struct vio_console_pair pairs[VIO_CONSOLE_DRV_PORTS + 1];	/* the last one is the control queues' */
};

/* Waits.  False: c->drv.failed says why. */
bool vio_console_start(struct vio_console *c, struct vio_drv_port *port);
/* Reset the device and take all memory back.  False: it does not answer, so that memory can't be used again. */
bool vio_console_stop(struct vio_console *c);
/* Hear what the device says; true: something about a port has changed. */
bool vio_console_work(struct vio_console *c);
/* Tell the device that somebody reads port n here (or not any more).  False: there is no such port. */
bool vio_console_open(struct vio_console *c, unsigned n, bool open);
/* How many bytes came (went): 0 when there are none (no room) now, or no such port. */
uint32_t vio_console_read(struct vio_console *c, unsigned n, void *to, uint32_t len);
uint32_t vio_console_write(struct vio_console *c, unsigned n, const void *from, uint32_t len);
/* Wait until the device has taken everything written.  False: it did not within VIO_DRV_PATIENCE_NS. */
bool vio_console_drain(struct vio_console *c, unsigned n);
/* The configuration has changed: the size of port 0 may be another one. */
bool vio_console_config_changed(struct vio_console *c);
/* 5.3.5: a character at any time, also without a driver.  False: the device does not offer it. */
bool vio_console_emergency(struct vio_drv_port *port, unsigned char character);
VIO_END_DECLS
#endif
