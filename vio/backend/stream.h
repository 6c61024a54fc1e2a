/*
 * A stream of bytes both ways, as a console port or a socket connection sees it.
 *
 * Reads and writes take what goes at once and never wait; ready() tells that it is worth trying again.  A stream belongs
 * to one thread.  Nothing is lost between two calls: bytes that a read or a write did not pass are still where they were.
 * Memory twins: vio/host/stream_pair.c (two streams back to back), stream_faulty.c (short, late and ended as a test asks).
 */
#ifndef VIO_BACKEND_STREAM_H
#define VIO_BACKEND_STREAM_H
#include <vio/ring/cursor.h>
VIO_BEGIN_DECLS

enum { VIO_STREAM_READ = 1, VIO_STREAM_WRITE = 2, VIO_STREAM_CHANGED = 4 /* opened, closed at the other end, resized */ };
enum { VIO_STREAM_NONE = 0, VIO_STREAM_END = -1 };

struct vio_stream {
	const struct vio_stream_ops *ops;
	bool open;			/* somebody is at the other end */
	bool message;			/* each read and write is one whole message (SEQPACKET) */
	uint16_t columns, rows;		/* of the terminal at the other end; 0: not known, or none */
	void (*ready)(void *arg, unsigned what);	/* VIO_STREAM_*; set by the user; never called from within read() or write() */
	void *arg;
};
struct vio_stream_ops {
	/*
	 * Move bytes into (out of) c, passing them.  > 0: so many; NONE: none now, ready(READ or WRITE) will come; END: no more
	 * bytes will come (can go) from who is at the other end now.  After END a stream may open again: ready(CHANGED), and open
	 * is true.  c has room for (has) a byte at least.
	 */
	long (*read)(struct vio_stream *s, struct vio_cur *c);
	long (*write)(struct vio_stream *s, struct vio_cur *c);
	void (*shutdown)(struct vio_stream *s, unsigned what);	/* VIO_STREAM_READ, WRITE: we will not any more; may be NULL */
	/*
	 * No ready(READ) while paused: nobody has room for bytes.  After pausing ends it comes if there are any, though no read
	 * was tried.  May be NULL.
	 */
	void (*pause)(struct vio_stream *s, bool paused);
	void (*close)(struct vio_stream *s);
};
static inline void vio_stream_close(struct vio_stream *s) { if (s) s->ops->close(s); }
VIO_END_DECLS
#endif
