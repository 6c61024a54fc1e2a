/*
 * Streams of bytes on a Linux host (vio/backend/stream.h): terminals, sockets, files, pipes; and the twins of the tests.
 *
 * A stream belongs to the thread of its loop.  Openers return NULL with a sentence in why (512 bytes) that names the
 * remedy.  What is made in a folder (a socket, a link to a pty) is removed by close, in a confined process too if the
 * folder was granted: see vio_stream_made().
 */
#ifndef VIO_HOST_STREAM_H
#define VIO_HOST_STREAM_H
#include <vio/backend/stream.h>
#include <vio/host/loop.h>
VIO_BEGIN_DECLS

/*
 * Standard input and output.  A terminal becomes raw until close; the key Ctrl-] calls quit (NULL: it is a key like others).
 * Its size follows SIGWINCH.
 */
struct vio_stream *vio_stream_stdio(struct vio_loop *l, void (*quit)(void *arg), void *arg, char *why);
/* The same, but the keys Ctrl-A x call quit, and Ctrl-A Ctrl-A is Ctrl-A: for who has a use for Ctrl-]. */
struct vio_stream *vio_stream_stdio_prefixed(struct vio_loop *l, void (*quit)(void *arg), void *arg, char *why);
/* A new pseudoterminal; link, unless NULL, becomes a symbolic link to it.  Open while somebody has it open. */
struct vio_stream *vio_stream_pty(struct vio_loop *l, const char *link, char *why);
/* A Unix socket at path.  One peer at a time; the next one waits until it has gone. */
struct vio_stream *vio_stream_listen(struct vio_loop *l, const char *path, char *why);
/* Connects to path, again and again every second while nobody listens there. */
struct vio_stream *vio_stream_connect(struct vio_loop *l, const char *path, char *why);
/* Appends to a file, which is made if there is none; nothing ever comes from it. */
struct vio_stream *vio_stream_file(struct vio_loop *l, const char *path, char *why);
/* Named pipes PATH.in (to the guest) and PATH.out (from it), made if there are none. */
struct vio_stream *vio_stream_pipe(struct vio_loop *l, const char *path, char *why);
/* A descriptor from somewhere else, which becomes the stream's: a socket, listening or connected, a terminal, a pipe, a file. */
struct vio_stream *vio_stream_fd(struct vio_loop *l, int fd, char *why);

/* Where it leads: "/dev/pts/7", a path; "" where there is nothing to say. */
const char *vio_stream_where(const struct vio_stream *s);
/* A folder in which close will remove something, as an O_PATH descriptor, or -1. */
int vio_stream_made(const struct vio_stream *s);
/* Needs socket() and connect() while it runs. */
bool vio_stream_reconnects(const struct vio_stream *s);

/* The window at the other end, for streams that know of none; the user is told. */
static inline void vio_stream_resize(struct vio_stream *s, uint16_t columns, uint16_t rows)
{
	s->columns = columns;
	s->rows = rows;
	if (s->ready)
		s->ready(s->arg, VIO_STREAM_CHANGED);
}

/* ---- Twins ---- */

/* Two streams back to back, with room for so many bytes on each way.  Both are closed by their owners.  False: no memory. */
bool vio_stream_pair(struct vio_stream *s[2], size_t room);
/* s's other end comes and goes. */
void vio_stream_pair_open(struct vio_stream *s, bool open);

/*
 * As its inner stream, but every n-th call (0: never) takes one byte only, says NONE although it could (ready() comes with
 * vio_stream_faulty_release()), or says END.  Closes its inner stream.  NULL: no memory, or no inner stream.
 */
struct vio_stream_faults { unsigned short_every, late_every, end_every; };
struct vio_stream *vio_stream_faulty(struct vio_stream *inner, const struct vio_stream_faults *f);
void vio_stream_faulty_release(struct vio_stream *s);
struct vio_stream *vio_stream_faulty_inner(struct vio_stream *s);
VIO_END_DECLS
#endif
