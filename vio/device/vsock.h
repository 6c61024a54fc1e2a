/* Socket device (virtio 1.4, section 5.10): options.  The type is vio_dev_vsock. */
#ifndef VIO_DEVICE_VSOCK_H
#define VIO_DEVICE_VSOCK_H
#include <vio/backend/dial.h>
#include <vio/device/dev.h>
VIO_BEGIN_DECLS

enum { VIO_VSOCK_CONNECTIONS_MAX = 65536, VIO_VSOCK_BUFFER_MIN = 4096, VIO_VSOCK_BUFFER_MAX = 16 << 20 };

struct vio_vsock_options {
	struct vio_dial *dial;		/* the caller's; must outlive the device */
	uint64_t guest_cid;		/* not a reserved one (5.10.4) */
	uint32_t connections;		/* at a time; 0: 1024 */
	/*
	 * Bytes that a connection may have waiting for the host, which is what the guest is told as buf_alloc, and the longest
	 * message.  A power of two; 0: 256 KiB.  Memory is touched only as far as bytes wait.
	 */
	uint32_t buffer;
	uint64_t seed;			/* a random number, so that no guest can choose ports that share a hash */
	uint16_t queue_size;		/* 0: 256 */
};
extern const struct vio_dev_type vio_dev_vsock;

/* For the operator, in the home thread: how many connections there are, and what each is about. */
uint32_t vio_vsock_dev_connections(const struct vio_dev *d);
struct vio_vsock_dev_connection {
	uint64_t cid;			/* the other side's */
	uint32_t port, guest_port;
	bool message, from_guest;	/* SEQPACKET; the guest has asked for it */
	const char *state;		/* a word */
	uint64_t received, sent;	/* bytes from and to the guest, modulo 2^32 */
	uint32_t waiting;		/* bytes that the host has not taken yet */
};
/* Until each() gives false. */
void vio_vsock_dev_each(const struct vio_dev *d, bool (*each)(void *arg, const struct vio_vsock_dev_connection *c), void *arg);
VIO_END_DECLS
#endif
