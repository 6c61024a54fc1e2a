/*
 * How a socket device reaches the world, and is reached by it.
 *
 *     device ── connect(call) ──▶ dial        gives a LINE; ANSWERED or GONE comes, unless it has been answered already
 *     device ◀── incoming(call, line) ── dial somebody asks for a port of the guest: answer(line), or close it
 *
 * A line is one connection, of bytes or of messages.  Both directions end by themselves, the whole of it by a close or a
 * reset.  Reads and writes take what goes at once and never wait; after one that gave nothing, or fewer bytes than were asked
 * for, event() tells when it is worth trying again.  event() is never called from inside connect() or an operation of a line,
 * and not after close().  Events may come when nothing has changed.
 *
 * This is not vio/backend/stream.h because a connection has what a terminal has not: it is asked for and answered, it can be
 * reset instead of ended, and its messages have ends of two kinds.
 *
 * A dial and its lines belong to one thread.  Memory twins: vio/host/dial_memory.c and, with faults, dial_faulty.c.
 */
#ifndef VIO_BACKEND_DIAL_H
#define VIO_BACKEND_DIAL_H
#include <vio/ring/cursor.h>
VIO_BEGIN_DECLS

enum { VIO_LINE_READ = 1, VIO_LINE_WRITE = 2, VIO_LINE_ANSWERED = 4, VIO_LINE_GONE = 8 };	/* events */
enum { VIO_LINE_NONE = 0, VIO_LINE_END = -1, VIO_LINE_RESET = -2 };	/* what read and write may give beside a count */

struct vio_line {
	const struct vio_line_ops *ops;
	bool message;			/* each read and each write is one whole message of at least a byte */
	bool eor;			/* messages: the one just read, or about to be written, ends a record too */
	bool answered;			/* bytes can flow */
	bool deaf;			/* nobody will take any more bytes: WRITE tells when that changes */
	/* The line's user, set by it at once. */
	void (*event)(void *arg, unsigned what);	/* VIO_LINE_*; GONE: nobody answered */
	void *arg;
};
struct vio_line_ops {
	/*
	 * Move bytes into (out of) c, passing them.  > 0: so many; NONE: none now, READ (WRITE) will come; END: there will be no
	 * more (nobody takes any more); RESET: the connection has been cut.  A message that does not fit is a RESET.
	 */
	long (*read)(struct vio_line *l, struct vio_cur *c);
	long (*write)(struct vio_line *l, struct vio_cur *c);
	void (*shutdown)(struct vio_line *l, unsigned what);	/* VIO_LINE_READ, WRITE: we will not any more */
	void (*answer)(struct vio_line *l, uint32_t port);	/* of an incoming one: the guest takes it, known as port there */
	void (*close)(struct vio_line *l, bool reset);
};

struct vio_dial_call {
	uint64_t from_cid, to_cid;
	uint32_t from_port, to_port;	/* incoming: from_port 0: the device chooses one */
	bool message;			/* SEQPACKET */
};

struct vio_dial {
	const struct vio_dial_ops *ops;
	/* The dial's user.  False: the guest can't be asked, and the line is still the dial's.  NULL: nobody can be asked yet. */
	bool (*incoming)(void *arg, const struct vio_dial_call *call, struct vio_line *l);
	void *arg;
};
struct vio_dial_ops {
	struct vio_line *(*connect)(struct vio_dial *d, const struct vio_dial_call *call);	/* NULL: nobody is there */
	void (*close)(struct vio_dial *d);	/* all lines are closed */
};
VIO_END_DECLS
#endif
