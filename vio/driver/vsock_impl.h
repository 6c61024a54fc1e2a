/* What the socket driver's files share: vsock.c (queues and packets), vsock_conn.c (connections). */
#ifndef VIO_DRIVER_VSOCK_IMPL_H
#define VIO_DRIVER_VSOCK_IMPL_H
#include <vio/driver/vsock.h>
#include <vio/ring/freestanding.h>

enum { VSOCK_HDR = sizeof(struct vio_vsock_hdr) };
enum {	/* packets a connection's other side has to get, as soon as there is room */
	OWE_REQUEST = 1, OWE_RESPONSE = 2, OWE_SHUTDOWN = 4, OWE_CREDIT = 8, OWE_RST = 16
};

/* A packet of the device's, copied once. */
struct vsock_in { uint64_t cid; uint32_t port, local_port, len, flags, buf_alloc, fwd_cnt; uint16_t type, op; const unsigned char *data; };

/* vsock_conn.c: what a packet does to its connection.  False: it was nobody's, and is to be answered with a RST. */
bool vio_vsock_drv_take(struct vio_vsock *v, const struct vsock_in *p);
/* Send what c owes, if it can be sent now.  False: the transmit queue is full. */
bool vio_vsock_drv_serve(struct vio_vsock *v, struct vio_vsock_conn *c);
void vio_vsock_drv_deadlines(struct vio_vsock *v);
void vio_vsock_drv_end_all(struct vio_vsock *v, const char *why);

/* vsock.c: a packet of c's with n bytes of payload.  False: the transmit queue is full. */
bool vio_vsock_drv_say(struct vio_vsock *v, struct vio_vsock_conn *c, uint16_t op, uint32_t flags, const void *data, uint32_t n);
void vio_vsock_drv_work(struct vio_vsock *v, struct vio_vsock_conn *c);
uint64_t vio_vsock_drv_now(const struct vio_vsock *v);
#endif
