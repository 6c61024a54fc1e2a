/*
 * The other end of a machine's serial port: a stream (vio/host/stream.h), between which and the machine bytes are carried through a
 * pair of sockets.  What nobody is there to read is dropped, so that a guest does not wait for somebody to look at it.
 *
 *   machine ── theirs ═══ ours ── carry ── stream: terminal, pty, file
 */
#include "run.h"
#include <asm/ioctls.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vio/host/stream.h>
#include <vio/host/why.h>

enum { SOME = 4096 };

struct way { unsigned char bytes[SOME]; size_t at, end; };	/* bytes that wait are at to end */

struct run_serial {
	struct vio_loop *loop;
	struct vio_stream *stream;
	struct vio_watch ours;
	int theirs;
	bool heard;			/* the stream has said that it can be read */
	struct way in, out;		/* to the guest, from it */
};

static struct vio_cur cursor(struct vio_seg *seg) { return vio_cur_new(seg, 0, seg->len); }

static void watch(struct run_serial *s)
{
	uint32_t events = (s->out.at == s->out.end ? EPOLLIN : 0) | (s->in.at < s->in.end ? EPOLLOUT : 0);

	if (s->ours.on && s->ours.events == events)
		return;
	s->ours.events = events;
	vio_loop_watch(s->loop, &s->ours);	/* a socket can be watched */
}

/* From the guest, as far as it goes. */
static void carry_out(struct run_serial *s)
{
	struct way *w = &s->out;

	for (;;) {
		if (w->at == w->end) {
			ssize_t n = recv(s->ours.fd, w->bytes, SOME, MSG_DONTWAIT);
			if (n <= 0)
				return;
			w->at = 0;
			w->end = (size_t)n;
		}
		struct vio_seg seg = { w->bytes + w->at, w->end - w->at };
		struct vio_cur c = cursor(&seg);
		long n = s->stream->open ? s->stream->ops->write(s->stream, &c) : VIO_STREAM_END;
		if (n == VIO_STREAM_NONE)
			return;
		w->at = n > 0 ? w->at + (size_t)n : w->end;
	}
}

/* To the guest. */
static void carry_in(struct run_serial *s)
{
	struct way *w = &s->in;

	while (s->heard || w->at < w->end) {
		if (w->at == w->end) {
			struct vio_seg seg = { w->bytes, SOME };
			struct vio_cur c = cursor(&seg);
			long n = s->stream->ops->read(s->stream, &c);
			s->heard = n > 0;
			if (n <= 0)
				return;
			w->at = 0;
			w->end = (size_t)n;
		}
		ssize_t n = send(s->ours.fd, w->bytes + w->at, w->end - w->at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		w->at = n > 0 ? w->at + (size_t)n : w->end;
	}
}

static void carry(struct run_serial *s)
{
	carry_out(s);
	carry_in(s);
	watch(s);
}

static void on_ours(struct vio_watch *w, uint32_t events)
{
	(void)events;
	carry(w->arg);
}

static void on_stream(void *arg, unsigned what)
{
	struct run_serial *s = arg;

	s->heard |= what & (VIO_STREAM_READ | VIO_STREAM_CHANGED);
	carry(s);
}

static void quit(void *arg)
{
	struct run *r = arg;
	vio_process_quit(&r->process);
}

static struct vio_stream *open_stream(struct run *r, char *why)
{
	struct vio_loop *l = r->process.loop;

	switch (r->words.serial) {
	case RUN_SERIAL_PTY:
		return vio_stream_pty(l, r->words.serial_file, why);
	case RUN_SERIAL_FILE:
		return vio_stream_file(l, r->words.serial_file, why);
	default:
		return vio_stream_stdio_prefixed(l, quit, r, why);
	}
}

bool run_serial_open(struct run *r, int *in, int *out, char *why)
{
	int pair[2];

	*in = *out = -1;
	if (r->words.serial == RUN_SERIAL_NONE)
		return true;
	struct run_serial *s = calloc(1, sizeof *s);
	if (!s || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
		free(s);
		return vio_refuse(why, "cannot make sockets for the serial port: %s; raise the limit of open files (ulimit -n)", strerror(errno));
	}
	s->loop = r->process.loop;
	s->ours = (struct vio_watch){ .fd = pair[0], .ready = on_ours, .arg = s };
	s->theirs = pair[1];
	s->stream = open_stream(r, why);
	r->serial = s;
	if (!s->stream)
		return false;
	s->stream->ready = on_stream;
	s->stream->arg = s;
	s->heard = true;
	carry(s);
	if (r->words.serial == RUN_SERIAL_PTY)
		vio_say("vio run", "the serial port is %s", vio_stream_where(s->stream));
	*in = *out = pair[1];
	return true;
}

void run_serial_close(struct run_serial *s)
{
	if (!s)
		return;
	if (s->stream)
		carry_out(s);	/* the last words */
	vio_loop_unwatch(s->loop, &s->ours);
	vio_stream_close(s->stream);
	close(s->ours.fd);
	close(s->theirs);
	free(s);
}

/* Windows' sizes, and a terminal that is put back as it was. */
static const struct vio_sandbox_call calls[] = {
	{ SYS_ioctl, VIO_CALL_ONE, 1, TIOCGWINSZ, 0 }, { SYS_ioctl, VIO_CALL_ONE, 1, TCSETS, 0 }, { SYS_ioctl, VIO_CALL_ONE, 1, TCGETS, 0 },
	{ .call = -1 }
};

void run_serial_grant(const struct run_serial *s, struct vio_sandbox_options *o)
{
	if (!s)
		return;
	int folder = vio_stream_made(s->stream);
	vio_sandbox_calls(o, calls);
	if (folder >= 0)
		vio_sandbox_folder(o, folder, VIO_FOLDER_REMOVE);
}
