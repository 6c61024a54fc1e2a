/* What console.c (bytes, the type) and console_control.c (messages about ports) share. */
#ifndef VIO_DEVICE_CONSOLE_IMPL_H
#define VIO_DEVICE_CONSOLE_IMPL_H
#include <vio/device/console.h>
#include <vio/ring/freestanding.h>

/* Messages that a port owes the driver.  They are sent in this order, each as things are when it is sent. */
enum {
	DUE_REMOVE = 1, DUE_ADD = 2,
	DUE_CONSOLE = 4, DUE_NAME = 8, DUE_RESIZE = 16, DUE_CLOSED = 32, DUE_OPEN = 64	/* after PORT_READY */
};
#define DUE_AFTER_READY (DUE_CONSOLE | DUE_NAME | DUE_RESIZE | DUE_CLOSED | DUE_OPEN)

struct console;

struct port {
	struct console *console;
	struct vio_stream *stream;	/* NULL: there is no such port (any more) */
	uint8_t due;			/* DUE_* */
	bool is_console, lossy;
	bool added;			/* the driver was sent DEVICE_ADD, and no DEVICE_REMOVE since */
	bool ready;			/* ... and has answered PORT_READY 1 */
	bool told_open;			/* the PORT_OPEN sent last said open */
	bool guest_open;		/* the driver's last PORT_OPEN did */
	bool stalled;			/* its transmit queue waits for the stream */
	uint64_t sent;			/* bytes of the transmit queue's next chain that the stream has taken already */
	uint64_t to_guest, from_guest, dropped;
	uint16_t columns, rows;		/* as told last */
	uint8_t name_len;
	char name[VIO_CONSOLE_NAME + 1];
};

enum { EMERGENCY = 4096 };		/* characters kept until port 0 takes them */

struct console {
	struct vio_dev dev;
	struct vio_console_config config;
	unsigned max_ports;
	bool rows_first;
	bool driver_ready;		/* DEVICE_READY 1 has come */
	unsigned next;			/* port that sends next, so that none is kept from it */
	struct port port[VIO_CONSOLE_PORTS];
	uint16_t urgent_count;		/* emergency characters waiting */
	uint64_t urgent_lost;
	unsigned char urgent[EMERGENCY];
};

static inline struct console *vio_console_of(struct vio_dev *d) { return (struct console *)d; }
static inline bool vio_console_multiport(const struct console *n) { return vio_has(n->dev.accepted, VIO_CONSOLE_F_MULTIPORT); }
static inline unsigned vio_console_number(const struct port *p) { return (unsigned)(p - p->console->port); }

/* console.c: something about the port's stream or driver has changed: look at both its queues. */
void vio_console_look(struct port *p);

/* console_control.c */
void vio_console_send(struct console *n, struct vio_devq *q);		/* the control receive queue has room, perhaps */
void vio_console_listen(struct console *n, struct vio_devq *q);		/* the control transmit queue has messages, perhaps */
void vio_console_owe(struct port *p, uint8_t due);			/* to be sent soon */
void vio_console_stream_changed(struct port *p);			/* open, closed, resized */
void vio_console_forget(struct console *n);				/* the driver has gone */
size_t vio_console_save(struct vio_dev *d, void *to, size_t room);
const char *vio_console_load(struct vio_dev *d, const void *from, size_t n);
#endif
