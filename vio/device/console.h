/* Console device (virtio 1.4, section 5.3): options and ports.  The type is vio_dev_console. */
#ifndef VIO_DEVICE_CONSOLE_H
#define VIO_DEVICE_CONSOLE_H
#include <vio/backend/stream.h>
#include <vio/device/dev.h>
#include <vio/spec/console.h>
VIO_BEGIN_DECLS

enum {
	VIO_CONSOLE_PORTS = (VIO_DEV_QUEUES - 2) / 2,	/* 31: what the queues of a device are enough for */
	VIO_CONSOLE_NAME = 128				/* bytes of a port's name, at most */
};

struct vio_console_port {
	struct vio_stream *stream;	/* the caller's; must outlive the port */
	const char *name;		/* UTF-8; NULL or "": none.  Copied */
	bool console;			/* the driver is to treat it as a text console */
	bool lossy;			/* what the other end does not take at once is dropped, so that it can't hold up the guest */
};

struct vio_console_options {
	const struct vio_console_port *ports;	/* become ports 0, 1, 2... */
	unsigned count;			/* may be 0 */
	unsigned max_ports;		/* there may be at the same time; 0: count, at least 1 */
	uint16_t queue_size;		/* 0: 256 */
	/*
	 * RESIZE messages give rows before columns, as Linux read them for many years (until 5326ab737a47, in 2025).  The
	 * specification has columns first (5.3.6.2); the config space has them first for everybody.
	 */
	bool rows_first;
};
extern const struct vio_dev_type vio_dev_console;

/*
 * Hot plug (home thread).  A port more: its number, or -1 and why not, in words.  number -1: the lowest free one.  The
 * driver is told as soon as it can hear it.
 */
int vio_dev_console_add(struct vio_dev *d, int number, const struct vio_console_port *p, const char **why);
/* The stream is not touched afterwards.  False: there is no such port. */
bool vio_dev_console_remove(struct vio_dev *d, unsigned number);

/* For the operator.  False: there is no such port. */
struct vio_console_view {
	struct vio_stream *stream;
	const char *name;
	bool console, added, ready, guest_open;	/* added: the driver was told of it; ready: it has answered */
	uint64_t to_guest, from_guest;	/* bytes */
	uint64_t dropped;		/* bytes from the guest that nobody took */
};
bool vio_dev_console_view(const struct vio_dev *d, unsigned number, struct vio_console_view *v);
VIO_END_DECLS
#endif
