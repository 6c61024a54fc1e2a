/* What the socket device's files share: vsock.c (the queues and their packets), vsock_conn.c (connections). */
#ifndef VIO_DEVICE_VSOCK_IMPL_H
#define VIO_DEVICE_VSOCK_IMPL_H
#include <vio/device/vsock.h>
#include <vio/ring/fifo.h>
#include <vio/ring/freestanding.h>
#include <vio/spec/vsock.h>

enum {
	VSOCK_BUCKETS = 16384,
	VSOCK_RESETS = 256,		/* RST packets without a connection that may wait for the guest (5.10.6.1) */
	VSOCK_PACKET = 65536,		/* payload bytes of one packet to the guest, at most */
	VSOCK_TURN_BYTES = 1 << 20,	/* before others get their turn */
	VSOCK_DRAIN = 256,		/* messages passed on before others get their turn */
	VSOCK_HOST_PORTS = 1 << 30	/* the ports that callers without one of their own get begin here */
};
#define VSOCK_PATIENCE_NS UINT64_C(8000000000)	/* for an answer, or for the RST that ends a clean disconnect (5.10.6.5) */

enum conn_state {
	CONN_CALLING,		/* the guest has asked, the line has not answered */
	CONN_ASKING,		/* a caller has asked, the guest has not answered */
	CONN_OPEN,
	CONN_ENDING,		/* nothing more will be passed on either way; the guest's RST is awaited */
	CONN_DEAD,		/* only a RST is still to be sent */
	CONN_LINGERING		/* gone for the guest; what it sent before is still being passed on */
};

enum {	/* packets that the guest has to get, as soon as it gives a buffer */
	OWE_REQUEST = 1, OWE_RESPONSE = 2, OWE_SHUTDOWN = 4, OWE_CREDIT = 8, OWE_ASK = 16, OWE_RST = 32
};

struct conn_list { struct conn *first, *last; };
struct conn_link { struct conn *prev, *next; bool on; };

struct conn {
	struct vsock *v;
	struct conn *hash_next;
	struct conn_link work, timed;	/* has something for the guest; waits until due */
	uint64_t due;
	struct vio_line *line;		/* NULL once closed */
	uint64_t cid;			/* the other side's address; the guest's port */
	uint32_t port, guest_port;
	uint8_t state;			/* enum conn_state */
	uint8_t owed;			/* OWE_* */
	uint8_t guest_shut, host_shut;	/* VIO_VSOCK_SHUTDOWN_*: what the one and the other said it will not do any more */
	uint8_t told_shut;		/* of host_shut */
	bool message, from_guest;	/* SEQPACKET; the guest has asked for it */
	bool hashed;
	bool readable;			/* the line may have bytes */
	bool drain_more;		/* the line may take more */
	bool write_shut;		/* the line has been told that nothing more comes */
	bool asked;			/* for credit, and none came yet */
	/* From the guest: bytes received, passed on, and passed on as the guest knows.  rx_cnt - fwd_cnt wait in in. */
	uint32_t rx_cnt, fwd_cnt, told_fwd;
	struct vio_fifo in;
	/* To the guest: bytes sent, received by it, and what it has room for. */
	uint32_t tx_cnt, peer_fwd, peer_alloc;
	unsigned char *out;		/* a message on its way to the guest */
	uint32_t out_len, out_at;
	bool out_eor;
	size_t bytes;			/* of memory this lies in */
};

struct vsock_reset { uint64_t cid; uint32_t port, guest_port; uint16_t type; };

struct vsock {
	struct vio_dev dev;
	struct vio_vsock_config config;
	struct vio_dial *dial;
	uint64_t cid;
	uint32_t most, buffer, count;
	uint64_t seed;
	uint32_t next_port;
	bool known;			/* the driver is one that this device has seen from its start */
	bool event_due;			/* TRANSPORT_RESET */
	uint64_t alarm;			/* when the receive queue gets a turn by itself */
	struct vio_devq *q[VIO_VSOCK_QUEUES];	/* those that run */
	struct conn_list work, timed, lingering;	/* in turn; by due; (linked through timed) */
	struct vsock_reset reset[VSOCK_RESETS];
	uint32_t reset_at, resets;
	struct conn *bucket[VSOCK_BUCKETS];
};

static inline struct vsock *vsock_of(struct vio_dev *d) { return (struct vsock *)d; }

/* A packet from the guest, judged so far that its addresses and type are known. */
struct vsock_packet {
	uint64_t cid;			/* where it goes */
	uint32_t port, guest_port;
	uint16_t type, op;
	uint32_t len, flags, buf_alloc, fwd_cnt;
};

/* ---- vsock_conn.c ---- */

/* May sockets of this type be, by what the driver accepted (5.10.3)? */
bool vio_vsock_dev_has_type(const struct vsock *v, uint16_t type);
struct conn *vio_vsock_dev_find(struct vsock *v, uint64_t cid, uint32_t port, uint32_t guest_port);
/* The guest asks for a connection; false: nobody is there, or there is no room for it. */
bool vio_vsock_dev_connect(struct vsock *v, const struct vsock_packet *p);
/* Any other packet for a connection there is.  False: the request was malformed or broke a rule. */
bool vio_vsock_dev_take(struct conn *c, const struct vsock_packet *p, struct vio_cur payload);
bool vio_vsock_dev_incoming(void *arg, const struct vio_dial_call *call, struct vio_line *l);
/* The guest gets a RST instead of whatever else it was owed, and the other side what reset says. */
void vio_vsock_dev_kill(struct conn *c, bool reset);
void vio_vsock_dev_free(struct conn *c);
/* Into, and out of, the list of those that have something to do in the receive queue's turn. */
void vio_vsock_dev_work(struct conn *c);
void vio_vsock_dev_idle(struct conn *c);
/* Pass on what waits for the line. */
void vio_vsock_dev_drain(struct conn *c);
/* Those whose time has come; then the alarm for the next. */
void vio_vsock_dev_timeouts(struct vsock *v);
void vio_vsock_dev_forget_all(struct vsock *v);
/* The other side will not send, or not take, any more. */
void vio_vsock_dev_host_shut(struct conn *c, uint8_t what);
/* How many bytes the guest has room for (5.10.6.3). */
uint32_t vio_vsock_dev_credit(const struct conn *c);
#endif
