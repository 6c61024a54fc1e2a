/*
 * Streams over descriptors.
 *
 * A descriptor is watched only for what somebody waits for.  While nobody wants its bytes, a socket's or terminal's other
 * end is still noticed when it goes (by an edge, so that it is told once): with bytes unread it stays until they are read,
 * for they belong to the guest.
 */
#include <vio/host/stream_impl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SEGMENTS = 32, AT_ONCE = 64 << 10 };
_Static_assert(sizeof(struct vio_seg) == sizeof(struct iovec), "cursor.h says so");

static struct vio_stream_host *host_of(struct vio_stream *s) { return (struct vio_stream_host *)s; }

/* ---- Watching ---- */

void vio_stream_host_tell(struct vio_stream_host *h, unsigned what)
{
	h->due |= what;
	vio_loop_task(h->loop, &h->task);
}

static void watch(struct vio_stream_host *h, struct vio_watch *w, uint32_t events, unsigned what)
{
	if (w->fd < 0 || (w->on && w->events == events))
		return;
	if (!events) {
		vio_loop_unwatch(h->loop, w);
		w->events = 0;
		return;
	}
	w->events = events;
	if (!vio_loop_watch(h->loop, w) && what)
		vio_stream_host_tell(h, what);		/* a file: it can always be read and written */
}

static void update(struct vio_stream_host *h)
{
	uint32_t in = 0;
	bool wanted = !h->in_ended && !h->paused && h->wants_in;

	if (h->has && wanted && h->has(h)) {
		h->wants_in = false;
		vio_stream_host_tell(h, VIO_STREAM_READ);
	}
	if (wanted && !h->has)
		in = EPOLLIN;
	else if (!h->one_way)
		in = EPOLLRDHUP | EPOLLET;
	watch(h, &h->in, in, in == EPOLLIN ? VIO_STREAM_READ : 0);
	watch(h, &h->out, h->wants_out ? EPOLLOUT : 0, VIO_STREAM_WRITE);
}

void vio_stream_host_came(struct vio_stream_host *h) { update(h); }

/* Has the other end gone, with nothing left to read? */
static bool is_gone(const struct vio_stream_host *h)
{
	struct pollfd p = { .fd = h->in.fd, .events = POLLIN };
	char c;

	if (h->in.fd < 0 || poll(&p, 1, 0) < 1 || !(p.revents & (POLLHUP | POLLERR)))
		return false;
	if (h->is_socket)
		return recv(h->in.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) <= 0;
	return !(p.revents & POLLIN);
}

static void lose(struct vio_stream_host *h)
{
	h->lost = true;
	vio_loop_task(h->loop, &h->task);
}

static void in_ready(struct vio_watch *w, uint32_t events)
{
	struct vio_stream_host *h = w->arg;

	(void)events;
	if (w->events == EPOLLIN) {
		h->wants_in = false;
		update(h);
		vio_stream_host_tell(h, VIO_STREAM_READ);
	} else if (h->stream.open && is_gone(h)) {
		lose(h);
	}
}

static void out_ready(struct vio_watch *w, uint32_t events)
{
	struct vio_stream_host *h = w->arg;

	(void)events;
	h->wants_out = false;
	update(h);
	vio_stream_host_tell(h, VIO_STREAM_WRITE);
}

static void went(struct vio_stream_host *h)
{
	h->lost = false;
	h->stream.open = false;
	h->wants_in = h->wants_out = false;
	if (h->keeps_fds)
		update(h);
	else
		vio_stream_host_drop_fds(h);
	if (h->stream.ready)
		h->stream.ready(h->stream.arg, VIO_STREAM_CHANGED);
	if (h->gone)
		h->gone(h);
}

static void on_task(void *arg)
{
	struct vio_stream_host *h = arg;
	unsigned due = h->due;

	h->due = 0;
	if (h->lost && h->stream.open)
		went(h);
	else if (due && h->stream.ready)
		h->stream.ready(h->stream.arg, due);
}

/* ---- Bytes ---- */

static long get_bytes(struct vio_stream_host *h, struct vio_cur *c)
{
	struct vio_seg seg[SEGMENTS];
	uint64_t bytes;
	unsigned n = vio_cur_segs(c, seg, SEGMENTS, AT_ONCE, &bytes);
	struct msghdr m = { .msg_iov = (struct iovec *)seg, .msg_iovlen = n };
	long got = h->is_socket ? recvmsg(h->in.fd, &m, MSG_DONTWAIT) : readv(h->in.fd, (struct iovec *)seg, (int)n);

	if (got > 0)
		vio_cur_skip(c, (uint64_t)got);
	return got;
}

static long host_read(struct vio_stream *s, struct vio_cur *c)
{
	struct vio_stream_host *h = host_of(s);

	if (h->in.fd < 0 || h->in_ended || !s->open)
		return VIO_STREAM_END;
	long got = h->get ? h->get(h, c) : get_bytes(h, c);
	if (got > 0)
		return got;
	if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
		h->wants_in = true;
		update(h);
		return VIO_STREAM_NONE;
	}
	h->in_ended = true;
	update(h);
	/* A socket whose peer has only shut down its sending side still listens. */
	if (!h->one_way && (got < 0 || !h->is_socket || is_gone(h)))
		lose(h);
	return VIO_STREAM_END;
}

static long host_write(struct vio_stream *s, struct vio_cur *c)
{
	struct vio_stream_host *h = host_of(s);
	struct vio_seg seg[SEGMENTS];
	uint64_t bytes;
	unsigned n = vio_cur_segs(c, seg, SEGMENTS, AT_ONCE, &bytes);
	struct msghdr m = { .msg_iov = (struct iovec *)seg, .msg_iovlen = n };

	if (h->out.fd < 0 || !s->open)
		return VIO_STREAM_END;
	long sent = h->is_socket ? sendmsg(h->out.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) : writev(h->out.fd, (struct iovec *)seg, (int)n);
	if (sent > 0) {
		vio_cur_skip(c, (uint64_t)sent);
		return sent;
	}
	if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
		h->wants_out = true;
		update(h);
		return VIO_STREAM_NONE;
	}
	if (!h->lasting)
		lose(h);
	return VIO_STREAM_END;
}

static void host_pause(struct vio_stream *s, bool paused)
{
	struct vio_stream_host *h = host_of(s);

	if (h->paused == paused)
		return;
	h->paused = paused;
	h->wants_in |= !paused;
	update(h);
	if (paused && !h->one_way && s->open && is_gone(h))	/* its edge may have come already */
		lose(h);
}

static void host_shutdown(struct vio_stream *s, unsigned what)
{
	struct vio_stream_host *h = host_of(s);

	if (h->is_socket && h->out.fd >= 0 && what & VIO_STREAM_WRITE)
		shutdown(h->out.fd, SHUT_WR);
	if (what & VIO_STREAM_READ) {
		h->in_ended = true;
		update(h);
	}
}

/* ---- Life ---- */

static void host_close(struct vio_stream *s) { vio_stream_host_free(host_of(s)); }

static const struct vio_stream_ops ops = {
	.read = host_read, .write = host_write, .shutdown = host_shutdown, .pause = host_pause, .close = host_close,
};

void *vio_stream_host_new(size_t bytes, struct vio_loop *l, char *why)
{
	struct vio_stream_host *h = calloc(1, bytes);

	if (!h) {
		vio_refuse(why, "there is no memory left for another port");
		return NULL;
	}
	h->stream.ops = &ops;
	h->loop = l;
	h->in = (struct vio_watch){ .fd = -1, .ready = in_ready, .arg = h };
	h->out = (struct vio_watch){ .fd = -1, .ready = out_ready, .arg = h };
	h->task = (struct vio_task){ .fn = on_task, .arg = h };
	h->made.dir = -1;
	return h;
}

bool vio_stream_host_use(struct vio_stream_host *h, int in, int out, char *why)
{
	bool same = in >= 0 && in == out;

	if (same)
		out = fcntl(in, F_DUPFD_CLOEXEC, 3);
	if (same && out < 0) {
		vio_refuse(why, "cannot duplicate a descriptor: %s; raise the limit of open files (ulimit -n)", strerror(errno));
		close(in);
		return false;
	}
	h->in.fd = in;
	h->out.fd = out;
	h->in_ended = in < 0;
	h->stream.open = true;
	h->wants_in = true;
	update(h);
	return true;
}

void vio_stream_host_drop_fds(struct vio_stream_host *h)
{
	struct vio_watch *w[] = { &h->in, &h->out };

	for (unsigned i = 0; i < 2; i++) {
		vio_loop_unwatch(h->loop, w[i]);
		w[i]->events = 0;
		if (w[i]->fd >= 0)
			close(w[i]->fd);
		w[i]->fd = -1;
	}
}

void vio_stream_host_free(struct vio_stream_host *h)
{
	if (h->end)
		h->end(h);
	vio_loop_untask(h->loop, &h->task);
	vio_stream_host_drop_fds(h);
	vio_socket_remove(&h->made);
	if (h->made.dir >= 0)
		close(h->made.dir);
	free(h->made_path);
	free(h);
}

bool vio_stream_host_made(struct vio_stream_host *h, const char *path, char *why)
{
	h->made_path = strdup(path);
	if (!h->made_path)
		return vio_refuse(why, "there is no memory left for another port");
	return vio_socket_file(&h->made, h->made_path, -1, why);
}

static const struct vio_stream_host *host_of_const(const struct vio_stream *s)
{
	return s->ops == &ops ? (const struct vio_stream_host *)s : NULL;
}

const char *vio_stream_where(const struct vio_stream *s) { return host_of_const(s) ? host_of_const(s)->where : ""; }
int vio_stream_made(const struct vio_stream *s) { return host_of_const(s) ? host_of_const(s)->made.dir : -1; }
bool vio_stream_reconnects(const struct vio_stream *s) { return host_of_const(s) && host_of_const(s)->reconnects; }

/* ---- A descriptor from somewhere else ---- */

static bool socket_kind(int fd, bool *listens, char *why)
{
	int type = 0, accepts = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){ sizeof type }) || type != SOCK_STREAM)
		return vio_refuse(why, "the socket is not a stream of bytes: hand over one of type SOCK_STREAM");
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &(socklen_t){ sizeof accepts }))
		return vio_refuse(why, "cannot ask the socket whether it listens: %s", strerror(errno));
	*listens = accepts;
	return true;
}

static struct vio_stream *adopt(struct vio_loop *l, int fd, mode_t type, int mode, char *why)
{
	struct vio_stream_host *h = vio_stream_host_new(sizeof *h, l, why);
	int access = mode & O_ACCMODE;

	if (!h)
		return NULL;
	h->is_socket = S_ISSOCK(type);
	h->one_way = S_ISFIFO(type) || S_ISREG(type);
	h->lasting = S_ISREG(type);
	snprintf(h->where, sizeof h->where, "descriptor %d", fd);
	if (vio_stream_host_use(h, access == O_WRONLY || S_ISREG(type) ? -1 : fd, access == O_RDONLY ? -1 : fd, why))
		return &h->stream;
	vio_stream_host_free(h);
	return NULL;
}

struct vio_stream *vio_stream_fd(struct vio_loop *l, int fd, char *why)
{
	struct stat st;
	int mode = fcntl(fd, F_GETFL);
	bool listens = false;

	if (mode < 0 || fstat(fd, &st)) {
		vio_refuse(why, "descriptor %d is not open: pass one that is", fd);
		return NULL;
	}
	if (!S_ISSOCK(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode) && !S_ISREG(st.st_mode))
		vio_refuse(why, "descriptor %d is neither a socket, nor a pipe, nor a terminal, nor a file: pass one of them", fd);
	else if (S_ISREG(st.st_mode) && (mode & O_ACCMODE) == O_RDONLY)
		vio_refuse(why, "descriptor %d is a file that can't be written: open it for writing", fd);
	else if (S_ISSOCK(st.st_mode) && !socket_kind(fd, &listens, why))
		;
	else if (fcntl(fd, F_SETFD, FD_CLOEXEC) || (!S_ISREG(st.st_mode) && fcntl(fd, F_SETFL, mode | O_NONBLOCK)))
		vio_refuse(why, "cannot set up descriptor %d: %s", fd, strerror(errno));
	else
		return listens ? vio_stream_host_listener(l, fd, why) : adopt(l, fd, st.st_mode, mode, why);
	close(fd);
	return NULL;
}
