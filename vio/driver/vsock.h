/*
 * Socket driver (virtio 1.4, section 5.10), freestanding: connections of bytes and of messages.
 *
 *   vio_vsock_start(&v, port, &setup)            negotiate, set up the queues
 *   c = vio_vsock_connect(&v, 2, 80, false)      ask for a connection; c->state says what became of it
 *   vio_vsock_listen(&v, 9000, false)            c = vio_vsock_accept(&v, 9000, false) gives who has called
 *   n = vio_vsock_send(&v, c, data, len, 0)      what goes now; n = vio_vsock_recv(&v, c, to, len, &flags) what is there
 *   vio_vsock_shutdown(&v, c, ...), vio_vsock_close(&v, c)
 *   vio_vsock_poll(&v)                           all that moves: call it again and again, or vio_vsock_wait()
 *
 * All memory is the caller's (struct vio_vsock_setup).  Nothing the device says is trusted: packets are copied once and
 * checked, credit is kept by either side's own count, and a device that breaks a connection's rules loses that connection.
 * One thread's at a time.
 */
#ifndef VIO_DRIVER_VSOCK_H
#define VIO_DRIVER_VSOCK_H
#include <vio/driver/port.h>
#include <vio/ring/fifo.h>
#include <vio/spec/vsock.h>
VIO_BEGIN_DECLS

enum {
	VIO_VSOCK_DRV_SEGS = 4,		/* pieces that a packet may be mapped in */
	VIO_VSOCK_DRV_EVENTS = 4, VIO_VSOCK_DRV_LISTENERS = 16, VIO_VSOCK_DRV_BUCKETS = 256,
	VIO_VSOCK_DRV_RESETS = 32	/* answers to nobody's packets that may wait while the transmit queue is full (5.10.6.1) */
};
#define VIO_VSOCK_DRV_PATIENCE_NS UINT64_C(8000000000)	/* for an answer, and for the RST that ends a clean disconnect */

enum vio_vsock_state {
	VIO_VSOCK_FREE,
	VIO_VSOCK_CONNECTING,
	VIO_VSOCK_CALLED,		/* has called; vio_vsock_accept() gives it */
	VIO_VSOCK_OPEN,
	VIO_VSOCK_ENDED,		/* by the other side, or never began: c->why says it; what came before can be received */
	VIO_VSOCK_CLOSING		/* the driver's: closed here, the other side's RST is awaited */
};

enum { VIO_VSOCK_MESSAGE_CUT = 4 };	/* a flag of recv beside VIO_VSOCK_SEQ_*: the message was longer than the room for it */

struct vio_vsock_conn {
	enum vio_vsock_state state;
	const char *why;
	uint64_t cid;			/* the other side's */
	uint32_t port, local_port;
	bool message;			/* SEQPACKET */
	uint8_t peer_shut, local_shut;	/* VIO_VSOCK_SHUTDOWN_* */
	struct vio_fifo in;		/* received and not taken */
	/* The driver's. */
	uint8_t owed;
	bool working, hashed;
	uint32_t rx_cnt, fwd_cnt, told_fwd;
	uint32_t tx_cnt, peer_fwd, peer_alloc;
	uint64_t deadline;		/* 0: none */
	struct vio_vsock_conn *next_work, *next_hash;
};

/* A packet's memory, with the queue or ours. */
struct vio_vsock_slot {
	unsigned char *bytes;
	uint32_t len;			/* of it, mapped; 0: free */
	unsigned bufs;
	struct vio_buf buf[VIO_VSOCK_DRV_SEGS];
	struct vio_vsock_slot *next;
};

struct vio_vsock_setup {
	struct vio_features wanted;	/* of vio_vsock_drives(); zero: all of them */
	uint16_t queue_size;		/* of rx and tx, at most; a power of two */
	void *ring[2];			/* rx, tx: VIO_DRVQ_RING_BYTES(queue_size), 16-aligned, mappable in one piece */
	struct vio_drvq_slot *slots[2];	/* queue_size each */
	uint16_t packets;		/* in either direction */
	struct vio_vsock_slot *packet[2];
	uint32_t packet_bytes;		/* header and payload of one: more than 44 */
	unsigned char *bytes;		/* 2 * packets * packet_bytes, mappable */
	uint16_t conns;
	struct vio_vsock_conn *conn;
	uint32_t buffer;		/* received bytes that may wait in each connection: a power of two, at least 64 */
	void *buffers;			/* conns * VIO_FIFO_BYTES(buffer, true), 8-aligned, zeroed */
};

struct vio_vsock {
	struct vio_drv drv;
	uint64_t cid;			/* ours */
	struct vio_drvq q[VIO_VSOCK_QUEUES];
	/* The driver's. */
	struct vio_vsock_setup o;
	struct vio_buf ring_mapped[VIO_VSOCK_QUEUES];
	struct vio_vsock_slot *free_tx, *idle_rx;	/* ours, and not in a queue */
	struct vio_vsock_slot *late_rx;			/* received, and not looked at */
	uint32_t late_len;
	struct vio_vsock_conn *work, *work_last;
	struct vio_vsock_conn *bucket[VIO_VSOCK_DRV_BUCKETS];
	uint64_t next_deadline;
	uint32_t next_port;
	struct { uint32_t port; bool message, on; } listener[VIO_VSOCK_DRV_LISTENERS];
	struct vio_vsock_hdr reset[VIO_VSOCK_DRV_RESETS];
	unsigned reset_at, resets;
	struct vio_vsock_event event[VIO_VSOCK_DRV_EVENTS];
	struct vio_drvq_slot event_slots[VIO_VSOCK_DRV_EVENTS];
	struct vio_buf event_mapped;
	uint64_t refused;		/* packets of the device that broke a rule */
	uint64_t lost_transports;	/* TRANSPORT_RESET events */
	VIO_ALIGNAS(16) unsigned char event_ring[VIO_DRVQ_RING_BYTES(VIO_VSOCK_DRV_EVENTS)];
};

struct vio_features vio_vsock_drives(void);
/* Waits.  The struct itself must lie in memory the platform can map.  False: v->drv.failed says why. */
bool vio_vsock_start(struct vio_vsock *v, struct vio_drv_port *port, const struct vio_vsock_setup *s);
/* Reset the device and take all memory back; every connection has ended.  False: it does not answer. */
bool vio_vsock_stop(struct vio_vsock *v);

/* May there be sockets of this type, by what was negotiated (5.10.3)? */
bool vio_vsock_can(const struct vio_vsock *v, bool message);
/* NULL: no connection is free, or there are no sockets of this type.  Fails later if nobody answers. */
struct vio_vsock_conn *vio_vsock_connect(struct vio_vsock *v, uint64_t cid, uint32_t port, bool message);
/* False: there are VIO_VSOCK_DRV_LISTENERS, or this one is there. */
bool vio_vsock_listen(struct vio_vsock *v, uint32_t port, bool message);
void vio_vsock_unlisten(struct vio_vsock *v, uint32_t port, bool message);
struct vio_vsock_conn *vio_vsock_accept(struct vio_vsock *v, uint32_t port, bool message);

/*
 * How many bytes went: as many as there is room for here and credit there (5.10.6.3).  flags: VIO_VSOCK_SEQ_EOM and _EOR of
 * a message, sent only when all len bytes go; otherwise call again with the rest.
 */
uint32_t vio_vsock_send(struct vio_vsock *v, struct vio_vsock_conn *c, const void *data, uint32_t len, uint32_t flags);
/* How many bytes came; of messages one whole, with *flags.  0: none now, or none ever (vio_vsock_at_end()). */
uint32_t vio_vsock_recv(struct vio_vsock *v, struct vio_vsock_conn *c, void *to, uint32_t len, uint32_t *flags);
/* Nothing is left to receive, and nothing will come. */
bool vio_vsock_at_end(const struct vio_vsock_conn *c);
/* How many bytes could be sent now, as far as the other side's room goes. */
uint32_t vio_vsock_credit(const struct vio_vsock_conn *c);
/* We will not receive, or send, any more (5.10.6.5). */
void vio_vsock_shutdown(struct vio_vsock *v, struct vio_vsock_conn *c, uint8_t what);
/* c is gone for the caller: a clean disconnect; abort is a RST at once. */
void vio_vsock_close(struct vio_vsock *v, struct vio_vsock_conn *c);
void vio_vsock_abort(struct vio_vsock *v, struct vio_vsock_conn *c);

/* Move all that can be moved.  True: something happened.  v->drv.failed: the device is no use any more: vio_vsock_stop(). */
bool vio_vsock_poll(struct vio_vsock *v);
/* The same, waiting for something to happen until now_ns() is deadline_ns. */
bool vio_vsock_wait(struct vio_vsock *v, uint64_t deadline_ns);
VIO_END_DECLS
#endif
