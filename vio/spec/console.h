/* Console device (virtio 1.4, section 5.3). */
#ifndef VIO_SPEC_CONSOLE_H
#define VIO_SPEC_CONSOLE_H
#include <vio/spec/types.h>

enum {	/* 5.3.3 feature bits */
	VIO_CONSOLE_F_SIZE = 0,
	VIO_CONSOLE_F_MULTIPORT = 1,
	VIO_CONSOLE_F_EMERG_WRITE = 2
};

enum {	/* 5.3.2 virtqueues; those of the ports from 1 on follow in pairs */
	VIO_CONSOLE_Q_RX0 = 0,
	VIO_CONSOLE_Q_TX0 = 1,
	VIO_CONSOLE_Q_CONTROL_RX = 2,	/* device to driver */
	VIO_CONSOLE_Q_CONTROL_TX = 3
};

/* The receive queue of a port; its transmit queue is the next one. */
static inline unsigned vio_console_queue(uint32_t port) { return port ? 2 + 2 * port : 0; }

struct vio_console_config {	/* 5.3.4 */
	vio_le16 cols;
	vio_le16 rows;
	vio_le32 max_nr_ports;
	vio_le32 emerg_wr;	/* the only field that a driver may write */
};
VIO_STATIC_ASSERT(sizeof(struct vio_console_config) == 12, "5.3.4");

enum {	/* 5.3.6.2 control events, and who sends them */
	VIO_CONSOLE_DEVICE_READY = 0,	/* driver: value 1 success, 0 failure */
	VIO_CONSOLE_DEVICE_ADD = 1,	/* device */
	VIO_CONSOLE_DEVICE_REMOVE = 2,	/* device */
	VIO_CONSOLE_PORT_READY = 3,	/* driver: value 1 success, 0 failure */
	VIO_CONSOLE_CONSOLE_PORT = 4,	/* device */
	VIO_CONSOLE_RESIZE = 5,		/* device: struct vio_console_resize follows */
	VIO_CONSOLE_PORT_OPEN = 6,	/* both: value 1 open, 0 closed */
	VIO_CONSOLE_PORT_NAME = 7	/* device: the name follows, UTF-8, no NUL */
};

struct vio_console_control { vio_le32 id; vio_le16 event, value; };	/* 5.3.6.2 */
struct vio_console_resize { vio_le16 cols, rows; };
VIO_STATIC_ASSERT(sizeof(struct vio_console_control) == 8 && sizeof(struct vio_console_resize) == 4, "5.3.6.2");
#endif
