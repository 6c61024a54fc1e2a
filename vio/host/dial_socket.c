/*
 * A connection over a socket.  The descriptor is watched once, for edges: an event costs one system call of the loop's, and
 * nothing has to be switched on or off while the device has no room for what comes.
 */
#include <vio/host/dial_socket.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SEGMENTS = 64 };

static struct vio_socket_line *socket_line(struct vio_line *l) { return (struct vio_socket_line *)l; }

static bool soon(int error) { return error == EAGAIN || error == EINTR || error == ENOBUFS; }

/* ---- Bytes and messages ---- */

/* 0 bytes of a message socket: an empty message, which is skipped, or the end? */
static bool is_end(const struct vio_socket_line *s, const struct msghdr *m)
{
	return !s->line.message || !s->credentials || m->msg_controllen == 0;
}

static long line_read(struct vio_line *l, struct vio_cur *c)
{
	struct vio_socket_line *s = socket_line(l);
	struct vio_seg seg[SEGMENTS];
	union { struct cmsghdr align; char bytes[256]; } control;
	uint64_t room;
	ssize_t n;

	for (;;) {
		struct msghdr m = { .msg_iov = (struct iovec *)seg, .msg_iovlen = vio_cur_segs(c, seg, SEGMENTS, c->left, &room) };
		if (s->credentials) {
			m.msg_control = &control;
			m.msg_controllen = sizeof control;
		}
		n = recvmsg(s->watch.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0)
			return soon(errno) ? VIO_LINE_NONE : VIO_LINE_RESET;
		if (n == 0 && is_end(s, &m))
			return VIO_LINE_END;
		if (n == 0)
			continue;
		if (m.msg_flags & MSG_TRUNC)
			return VIO_LINE_RESET;
		l->eor = s->marks && m.msg_flags & MSG_EOR;
		break;
	}
	vio_cur_skip(c, (uint64_t)n);
	if (s->ended && (uint64_t)n < room)
		vio_socket_line_soon(s);	/* there will be no other edge for the end */
	return n;
}

static long line_write(struct vio_line *l, struct vio_cur *c)
{
	struct vio_socket_line *s = socket_line(l);
	struct vio_seg seg[SEGMENTS];
	uint64_t bytes;
	struct msghdr m = { .msg_iov = (struct iovec *)seg, .msg_iovlen = vio_cur_segs(c, seg, SEGMENTS, c->left, &bytes) };

	if (l->message && bytes < c->left) {	/* in too many pieces for one call: the device gathers it and asks again */
		vio_socket_line_soon(s);
		return VIO_LINE_NONE;
	}
	ssize_t n = sendmsg(s->watch.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL | (s->marks && l->eor ? MSG_EOR : 0));
	if (n > 0) {
		vio_cur_skip(c, (uint64_t)n);
		return n;
	}
	if (n < 0 && errno == EPIPE) {
		l->deaf = true;
		return VIO_LINE_END;
	}
	return n == 0 || soon(errno) ? VIO_LINE_NONE : VIO_LINE_RESET;
}

static void line_shutdown(struct vio_line *l, unsigned what)
{
	shutdown(socket_line(l)->watch.fd, what == (VIO_LINE_READ | VIO_LINE_WRITE) ? SHUT_RDWR :
	    what == VIO_LINE_READ ? SHUT_RD : SHUT_WR);
}

static void line_answer(struct vio_line *l, uint32_t port)
{
	struct vio_socket_line *s = socket_line(l);

	l->answered = true;
	if (s->answer)
		s->answer(s, port);
	vio_socket_line_soon(s);	/* what came meanwhile */
}

static void line_close(struct vio_line *l, bool reset)
{
	struct vio_socket_line *s = socket_line(l);

	(void)reset;		/* Unix sockets have no other end than this */
	if (s->closed)
		s->closed(s);
	vio_loop_unwatch(s->loop, &s->watch);
	vio_loop_untask(s->loop, &s->again);
	close(s->watch.fd);
	free(s);
}

static const struct vio_line_ops ops = {
	.read = line_read, .write = line_write, .shutdown = line_shutdown, .answer = line_answer, .close = line_close,
};

/* ---- Events ---- */

static void connected(struct vio_socket_line *s, uint32_t events)
{
	int error = 0;

	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	s->connecting = false;
	getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof error });
	s->line.answered = !error && !(events & (EPOLLERR | EPOLLHUP));
	s->line.event(s->line.arg, s->line.answered ? VIO_LINE_ANSWERED : VIO_LINE_GONE);
}

static void on_ready(struct vio_watch *w, uint32_t events)
{
	struct vio_socket_line *s = w->arg;
	unsigned what = 0;

	if (s->connecting) {
		connected(s, events);
		return;
	}
	if (events & (EPOLLHUP | EPOLLERR))
		s->line.deaf = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		s->ended = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		what |= VIO_LINE_READ;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		what |= VIO_LINE_WRITE;
	if (!s->line.answered)		/* a caller that gave up before the guest answered; bytes it sent meanwhile can wait */
		what = s->line.deaf ? VIO_LINE_GONE : 0;
	if (what)
		s->line.event(s->line.arg, what);
}

static void on_again(void *arg)
{
	struct vio_socket_line *s = arg;

	s->line.event(s->line.arg, VIO_LINE_READ | VIO_LINE_WRITE);
}

void vio_socket_line_soon(struct vio_socket_line *s) { vio_loop_task(s->loop, &s->again); }

/* ---- Making one ---- */

int vio_dial_socket(int family, bool message, uint32_t message_max)
{
	int fd = socket(family, (message ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int yes = 1, room = (int)message_max + 4096;

	if (fd >= 0 && message && family == AF_UNIX) {	/* the host's limits may leave less room: then long messages do not go */
		setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	}
	return fd;
}

struct vio_socket_line *vio_socket_line_new(struct vio_loop *loop, int fd, bool message)
{
	struct vio_socket_line *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->line.ops = &ops;
	s->line.message = message;
	s->loop = loop;
	s->watch = (struct vio_watch){ .fd = fd, .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .ready = on_ready, .arg = s };
	s->again = (struct vio_task){ .fn = on_again, .arg = s };
	return s;
}

bool vio_socket_line_watch(struct vio_socket_line *s) { return vio_loop_watch(s->loop, &s->watch); }
