/* How socket devices of a Linux host reach the world (vio/backend/dial.h): Unix sockets, AF_VSOCK, each other, and the twins. */
#ifndef VIO_HOST_DIAL_H
#define VIO_HOST_DIAL_H
#include <vio/backend/dial.h>
#include <vio/host/loop.h>
#include <vio/host/socket.h>
#include <vio/host/why.h>
VIO_BEGIN_DECLS

/*
 * The bridge to Unix sockets, as it is widely spoken.
 *
 *   guest to host: port N of CID 2 is who listens on PATH_N, by a SOCK_STREAM or, for the guest's SOCK_SEQPACKET, by a
 *   SOCK_SEQPACKET socket: the guest's type must be the listener's.
 *   host to guest: connect to PATH, send "CONNECT PORT\n"; the answer is "OK PORT\n" and then the guest's bytes, or the end.
 *   PATH_seqpacket is the same by SOCK_SEQPACKET: the first message each way is that line.
 */
struct vio_dial_unix_options {
	const char *path;
	struct vio_loop *loop;
	bool call_only;			/* nobody can call the guest: PATH is not listened on */
	bool has_group;			/* who may call: as vio/host/socket.h says */
	gid_t group;
	mode_t mode;
	uint32_t message_max;		/* bytes of a message; 0: 256 KiB */
};
enum { VIO_DIAL_UNIX_FILES = 2 };
/* NULL: why (VIO_WHY bytes) has a sentence. */
struct vio_dial *vio_dial_unix_open(const struct vio_dial_unix_options *o, char *why);
/* The folder of PATH, for who confines the process: socket files are removed there at the end; -1 when there are none. */
int vio_dial_unix_folder(const struct vio_dial *d);

/* The host's own AF_VSOCK: port N of CID 2 is port N of cid there; whoever calls the host on one of listen gets the guest's. */
enum { VIO_DIAL_LISTEN = 64 };
struct vio_dial_vsock_options {
	struct vio_loop *loop;
	uint32_t cid;			/* 1: the host itself, over its loopback; or another machine's */
	unsigned listens;
	uint32_t listen[VIO_DIAL_LISTEN];
	uint32_t message_max;
};
struct vio_dial *vio_dial_vsock_open(const struct vio_dial_vsock_options *o, char *why);

/*
 * A switchboard for the guests of one process.  Each member's dial takes calls to other members that share a group with it
 * and passes all others on to outer, which it closes with itself.
 */
struct vio_hub;
struct vio_hub *vio_hub_new(struct vio_loop *loop);	/* NULL: no memory */
void vio_hub_free(struct vio_hub *h);			/* all members are closed */
struct vio_hub_member {
	uint64_t cid;
	const char *groups;		/* words with commas between; at least one */
	uint32_t message_max;		/* bytes that wait in each direction of a connection, and of a message; 0: 256 KiB */
	struct vio_dial *outer;		/* NULL: there is no world outside */
};
struct vio_dial *vio_hub_join(struct vio_hub *h, const struct vio_hub_member *m, char *why);

/*
 * The memory twin: what the device connects to and what calls it are lines in the tester's hand.  Each direction of a line
 * holds `room` bytes.  Events are given by vio_dial_memory_pump(), never by themselves.
 */
struct vio_dial *vio_dial_memory_open(uint32_t room);
struct vio_dial_memory_rules { bool refuse, late; };	/* connect(): nobody is there; answered only by _answer() */
void vio_dial_memory_rules(struct vio_dial *d, struct vio_dial_memory_rules rules);
/* The other end of the connection made last and not yet taken; NULL: none.  Its ops are the same as any line's. */
struct vio_line *vio_dial_memory_take(struct vio_dial *d, struct vio_dial_call *call);
/* The other end of a late one says yes or no. */
void vio_dial_memory_answer(struct vio_line *other, bool yes);
/* Call the guest: the other end; NULL: the device does not take it.  other->answered and other->eor tell as a line's do. */
struct vio_line *vio_dial_memory_call(struct vio_dial *d, const struct vio_dial_call *call);
uint32_t vio_dial_memory_port(const struct vio_line *other);	/* what answer() told */
/* Give every event that is due.  How many. */
unsigned vio_dial_memory_pump(struct vio_dial *d);

/* The faulty twin wraps a dial and closes it with itself. */
struct vio_dial_faults {
	unsigned refuse_nth;		/* every n-th connect() finds nobody; 0: none */
	unsigned reset_nth;		/* every n-th read or write of each line is a RESET */
	unsigned short_nth;		/* every n-th, if it is a write of bytes, takes one */
};
struct vio_dial *vio_dial_faulty_open(struct vio_dial *inner, const struct vio_dial_faults *f);

static inline void vio_dial_close(struct vio_dial *d) { if (d) d->ops->close(d); }
VIO_END_DECLS
#endif
