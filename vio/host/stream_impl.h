/*
 * What the streams of this host share: two descriptors (often one and its duplicate), read and written when they can be.
 *
 * An opener fills fds and hooks in and calls vio_stream_host_begin(); stream_fd.c does the rest.
 */
#ifndef VIO_HOST_STREAM_IMPL_H
#define VIO_HOST_STREAM_IMPL_H
#include <vio/host/socket.h>
#include <vio/host/stream.h>
#include <vio/host/why.h>

enum { VIO_STREAM_WHERE = 128 };

struct vio_stream_host {
	struct vio_stream stream;
	struct vio_loop *loop;
	struct vio_watch in, out;	/* fd -1: none */
	bool is_socket;			/* recvmsg, sendmsg: whoever shares it need not see it non-blocking */
	bool one_way;			/* the end of input is not the end: output goes on (files, pipes, standard streams) */
	bool lasting;			/* nobody can go away: a write that fails loses its bytes, and the next one is tried (files) */
	bool paused, wants_in, wants_out;
	bool in_ended;
	struct vio_task task;		/* what is to be told, not from within read() or write() */
	unsigned due;			/* VIO_STREAM_* */
	bool lost;			/* the other end has gone: hook gone is due */
	/* Hooks; NULL: nothing special. */
	long (*get)(struct vio_stream_host *h, struct vio_cur *c);	/* instead of readv; as read(2): 0 is the end */
	bool (*has)(struct vio_stream_host *h);		/* the opener reads ahead by itself: is there something?  then get is given it */
	void (*gone)(struct vio_stream_host *h);	/* both descriptors are closed after it unless it keeps them */
	void (*end)(struct vio_stream_host *h);		/* close: the opener's part */
	bool keeps_fds;			/* gone leaves the descriptors be (pty) */
	char where[VIO_STREAM_WHERE];
	struct vio_socket_file made;	/* dir -1: nothing */
	char *made_path;
	bool reconnects;
};

/* A stream of bytes zeroed bytes (which begin with struct vio_stream_host), without descriptors.  NULL: why. */
void *vio_stream_host_new(size_t bytes, struct vio_loop *l, char *why);
/* Both descriptors become the stream's; they may be the same (it is duplicated).  False: why; they are closed. */
bool vio_stream_host_use(struct vio_stream_host *h, int in, int out, char *why);
void vio_stream_host_drop_fds(struct vio_stream_host *h);
/* What hook has says may be another thing now. */
void vio_stream_host_came(struct vio_stream_host *h);
/* Tell the user soon. */
void vio_stream_host_tell(struct vio_stream_host *h, unsigned what);
/* close() for openers that fail. */
void vio_stream_host_free(struct vio_stream_host *h);
/* Remember that path was made, so that it is removed at the end. */
bool vio_stream_host_made(struct vio_stream_host *h, const char *path, char *why);
/* A listening socket's descriptor becomes a stream (stream_socket.c). */
struct vio_stream *vio_stream_host_listener(struct vio_loop *l, int fd, char *why);
#endif
