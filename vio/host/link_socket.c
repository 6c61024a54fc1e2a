/*
 * Frames over a Unix socket: how user-mode networking (vio slirp), passt and QEMU's -netdev stream are spoken to.
 *
 *   stream      00 00 05 ea | 1514 bytes | 00 00 00 2a | 42 bytes | ...      a length, big-endian, before each frame
 *   packets     one frame each (SOCK_SEQPACKET, SOCK_DGRAM)
 *
 * In the home thread.  Several lanes share the socket: all send, the first receives.  What is sent is collected until the end of the turn, so that a burst is one system call; what
 * is received is fetched by the bufferful.  The other end is not trusted: a length that no frame has ends the connection.
 */
#include <vio/host/link_impl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PREFIX = 4, BUFFER = 256 * 1024, PIECES = 64, LEAST = 14 };
#define RETRY_NS UINT64_C(1000000000)

struct socket_lane {
	struct vio_link_lane lane;
	struct socket_link *link;
	bool on;
	bool waits_in, waits_out;	/* ready() is owed */
};

struct socket_link {
	struct vio_link link;
	struct socket_lane lane[VIO_LINK_LANES];
	struct vio_loop *loop;
	struct sockaddr_un to;		/* sun_family 0: nowhere to connect to again */
	struct vio_watch watch;		/* fd -1: not connected */
	struct vio_timer retry;
	struct vio_task settle;		/* tell everybody that the connection has ended */
	vio_link_say_fn *say;
	void *say_arg;
	const char *gone;
	char why[VIO_WHY];		/* it has ended */
	bool packets;
	bool blocked;			/* EPOLLOUT is asked for */
	unsigned char *in, *out;
	size_t in_at, in_end, out_at, out_end;
};

static struct socket_link *link_of(struct vio_link *l) { return (struct socket_link *)l; }
static struct socket_lane *lane_of(struct vio_link_lane *l) { return (struct socket_lane *)l; }

/* ---- The connection ---- */

static bool watch(struct socket_link *s, bool out)
{
	s->blocked = out;
	s->watch.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (out ? EPOLLOUT : 0);
	return vio_loop_watch(s->loop, &s->watch);
}

/* Not to be used any more; who wants to know is told before the loop sleeps, not from inside his own call. */
static void lost(struct socket_link *s, const char *why)
{
	if (s->watch.fd < 0)
		return;
	vio_loop_unwatch(s->loop, &s->watch);
	close(s->watch.fd);
	s->watch.fd = -1;
	s->in_at = s->in_end = s->out_at = s->out_end = 0;
	snprintf(s->why, sizeof s->why, "%s", why);
	vio_loop_task(s->loop, &s->settle);
}

/* Frames for the first lane; room for all that wait for some. */
static void tell_ready(struct socket_link *s, bool in, bool out)
{
	for (unsigned i = 0; i < s->link.lanes; i++) {
		struct socket_lane *l = &s->lane[i];
		bool tell = l->on && ((in && l->waits_in && !i) || (out && l->waits_out));
		if (in && !i)
			l->waits_in = false;
		if (out)
			l->waits_out = false;
		if (tell)
			l->lane.ready(l->lane.arg);
	}
}

static void on_settle(void *arg)
{
	struct socket_link *s = arg;
	bool again = s->to.sun_family;
	char line[2 * VIO_WHY];
	snprintf(line, sizeof line, "%s%s", s->why, again ? "; connecting again every second" : "");
	if (s->say)
		s->say(s->say_arg, line);
	if (again)
		vio_loop_timer(s->loop, &s->retry, vio_now_ns() + RETRY_NS);
	vio_link_set(&s->link, false, s->link.cut);
	tell_ready(s, false, true);	/* nobody waits for room on a link that is down */
}

static void gone(struct socket_link *s)
{
	char why[VIO_WHY];
	snprintf(why, sizeof why, "the packet socket %s has been closed by the other end", s->to.sun_path);
	lost(s, s->gone ? s->gone : why);
}

static bool is_over(int error) { return error != EAGAIN && error != EINTR && error != ENOBUFS && error != EMSGSIZE; }

/* ---- Sending ---- */

/* As much of what is collected as the socket takes. */
static void push(struct socket_link *s)
{
	while (s->out_at < s->out_end && s->watch.fd >= 0) {
		ssize_t n = send(s->watch.fd, s->out + s->out_at, s->out_end - s->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) {
			s->out_at += (size_t)n;
		} else if (is_over(errno)) {
			gone(s);
		} else if (errno != EINTR) {
			if (!s->blocked)
				watch(s, true);
			return;
		}
	}
	s->out_at = s->out_end = 0;
}

static bool make_room(struct socket_link *s, size_t n)
{
	if (BUFFER - s->out_end >= n)
		return true;
	push(s);
	memmove(s->out, s->out + s->out_at, s->out_end - s->out_at);
	s->out_end -= s->out_at;
	s->out_at = 0;
	return BUFFER - s->out_end >= n;
}

static enum vio_sent send_packet(struct socket_lane *l, struct vio_cur bytes)
{
	struct socket_link *s = l->link;
	struct vio_seg v[PIECES];
	uint64_t n, length = bytes.left;
	unsigned pieces = vio_cur_segs(&bytes, v, PIECES, length, &n);
	if (n < length) {
		v[0] = (struct vio_seg){ s->out, length };
		vio_cur_get(&bytes, s->out, length);
		pieces = 1;
	}
	struct msghdr m = { .msg_iov = (struct iovec *)v, .msg_iovlen = pieces };
	ssize_t r;
	do
		r = sendmsg(s->watch.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return VIO_SENT;
	if (errno == EAGAIN && watch(s, true)) {
		l->waits_out = true;
		return VIO_SENT_NO_ROOM;
	}
	if (is_over(errno) && errno != ECONNREFUSED)	/* a datagram to somebody who is not there yet is only lost */
		gone(s);
	return VIO_SENT_DROPPED;
}

static enum vio_sent socket_send(struct vio_link_lane *l, const struct vio_frame *f, struct vio_cur bytes)
{
	struct socket_link *s = lane_of(l)->link;
	uint32_t n = (uint32_t)bytes.left;
	(void)f;		/* takes is 0: frames are whole */
	if (s->watch.fd < 0 || vio_link_is_cut(&s->link) || bytes.left > VIO_FRAME_MAX || bytes.left < LEAST)
		return VIO_SENT_DROPPED;
	if (s->packets)
		return send_packet(lane_of(l), bytes);
	if (!make_room(s, PREFIX + n)) {
		lane_of(l)->waits_out = s->watch.fd >= 0;
		return s->watch.fd >= 0 ? VIO_SENT_NO_ROOM : VIO_SENT_DROPPED;
	}
	unsigned char *to = s->out + s->out_end;
	to[0] = (unsigned char)(n >> 24);
	to[1] = (unsigned char)(n >> 16);
	to[2] = (unsigned char)(n >> 8);
	to[3] = (unsigned char)n;
	vio_cur_get(&bytes, to + PREFIX, n);
	s->out_end += PREFIX + n;
	return VIO_SENT;
}

static void socket_flush(struct vio_link_lane *l)
{
	struct socket_link *s = lane_of(l)->link;
	if (!s->packets && !s->blocked)
		push(s);
}

/* ---- Receiving ---- */

/* More bytes behind those that are there.  False: there are none, or nobody to send any. */
static bool fill(struct socket_link *s)
{
	if (s->watch.fd < 0)
		return false;
	if (s->in_at) {
		memmove(s->in, s->in + s->in_at, s->in_end - s->in_at);
		s->in_end -= s->in_at;
		s->in_at = 0;
	}
	ssize_t n;
	do
		n = recv(s->watch.fd, s->in + s->in_end, s->packets ? VIO_FRAME_MAX + 1 : BUFFER - s->in_end, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		s->in_end += (size_t)n;
		return true;
	}
	if (n == 0 || is_over(errno))
		gone(s);
	return false;
}

static uint32_t length_at(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The next frame that is worth delivering, where it lies.  False: there is none now. */
static bool next(struct socket_link *s, unsigned char **frame, uint32_t *n)
{
	for (;;) {
		size_t have = s->in_end - s->in_at, prefix = s->packets ? 0 : PREFIX;
		if (s->packets)
			*n = (uint32_t)have;
		else if (have >= PREFIX)
			*n = length_at(s->in + s->in_at);
		if (have && have >= prefix && !s->packets && (*n == 0 || *n > VIO_FRAME_MAX)) {
			char why[VIO_WHY];
			snprintf(why, sizeof why, "the other end of the packet socket %s sends a frame of %u bytes, which no frame has: it "
			    "speaks another protocol", s->to.sun_path, *n);
			lost(s, why);
			return false;
		}
		if (have && have >= prefix && have - prefix >= *n) {
			*frame = s->in + s->in_at + prefix;
			if (*n >= LEAST && *n <= VIO_FRAME_MAX)
				return true;
			s->in_at += prefix + *n;	/* no Ethernet header: not for anybody */
		} else if (!fill(s)) {
			return false;
		}
	}
}

static unsigned socket_receive(struct vio_link_lane *l, unsigned most)
{
	struct socket_link *s = lane_of(l)->link;
	static const struct vio_frame whole;
	unsigned done = 0;
	if (lane_of(l) != &s->lane[0])
		return 0;
	while (done < most) {
		unsigned char *frame;
		uint32_t n;
		if (!next(s, &frame, &n)) {
			lane_of(l)->waits_in = true;
			break;
		}
		struct vio_seg seg = { frame, n };
		if (!vio_link_deliver(&s->link, l, &whole, (struct vio_cur){ .seg = &seg, .left = n }))
			break;
		s->in_at += n + (s->packets ? 0 : PREFIX);
		done++;
	}
	return done;
}

static void on_ready(struct vio_watch *w, uint32_t events)
{
	struct socket_link *s = w->arg;
	if (!s->lane[0].on && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {	/* nobody reads who would notice */
		gone(s);
		return;
	}
	if (events & EPOLLOUT) {
		watch(s, false);
		push(s);
	}
	tell_ready(s, events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR), events & EPOLLOUT && !s->blocked);
}

/* ---- Lane and link ---- */

static void socket_enable(struct vio_link_lane *l, bool on)
{
	struct socket_link *s = lane_of(l)->link;
	lane_of(l)->on = lane_of(l)->waits_in = on;
	lane_of(l)->waits_out = false;
	if (on && s->watch.fd >= 0)
		watch(s, s->blocked);	/* again: tells what has come meanwhile */
}

/* The connection goes on: it is the link's. */
static void lane_close(struct vio_link_lane *l) { (void)l; }

static const struct vio_link_lane_ops lane_ops = {
	.enable = socket_enable, .send = socket_send, .flush = socket_flush, .receive = socket_receive, .close = lane_close,
};

static struct vio_link_lane *socket_lane(struct vio_link *l, unsigned pair)
{
	return pair < l->lanes ? &link_of(l)->lane[pair].lane : NULL;
}

static void socket_close(struct vio_link *l)
{
	struct socket_link *s = link_of(l);
	vio_loop_untimer(s->loop, &s->retry);
	vio_loop_untask(s->loop, &s->settle);
	vio_loop_unwatch(s->loop, &s->watch);
	if (s->watch.fd >= 0)
		close(s->watch.fd);
	free(s->in);
	free(s->out);
	free(s);
}

static const struct vio_link_ops ops = { .lane = socket_lane, .close = socket_close };

/* ---- Opening ---- */

/* fd is connected, and non-blocking from now on. */
static bool use(struct socket_link *s, int fd)
{
	int type = 0, flags = fcntl(fd, F_GETFL);
	socklen_t n = sizeof type;
	if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n))
		return false;
	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	s->packets = type != SOCK_STREAM;
	s->watch.fd = fd;
	if (watch(s, false))
		return true;
	s->watch.fd = -1;
	return false;
}

/* A descriptor, or -1 with errno. */
static int connect_to(const struct sockaddr_un *to)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	for (unsigned i = 0; i < 2; i++) {
		int fd = socket(AF_UNIX, types[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0 || !connect(fd, (const struct sockaddr *)to, sizeof *to))
			return fd;
		int error = errno;
		close(fd);
		errno = error;
		if (error != EPROTOTYPE)
			break;
	}
	return -1;
}

static void on_retry(void *arg)
{
	struct socket_link *s = arg;
	int fd = connect_to(&s->to);
	if (fd < 0 || !use(s, fd)) {
		if (fd >= 0)
			close(fd);
		vio_loop_timer(s->loop, &s->retry, vio_now_ns() + RETRY_NS);
		return;
	}
	if (s->say) {
		char line[VIO_WHY];
		snprintf(line, sizeof line, "the packet socket %s is connected again", s->to.sun_path);
		s->say(s->say_arg, line);
	}
	vio_link_set(&s->link, true, s->link.cut);
	tell_ready(s, true, true);
}

static bool open_socket(struct socket_link *s, const struct vio_link_socket_options *o, char *why)
{
	int fd = o->fd;
	if (o->path) {
		if (strlen(o->path) >= sizeof s->to.sun_path)
			return vio_refuse(why, "the path of a socket has at most %zu characters: choose a shorter one than %s",
			    sizeof s->to.sun_path - 1, o->path);
		s->to.sun_family = AF_UNIX;
		strcpy(s->to.sun_path, o->path);
		fd = connect_to(&s->to);
		if (fd < 0)
			return vio_refuse(why, "cannot connect to the packet socket %s: %s; start what listens there (passt) first", o->path,
			    strerror(errno));
	} else {
		snprintf(s->to.sun_path, sizeof s->to.sun_path, "(descriptor %d)", fd);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	}
	if (use(s, fd))
		return true;
	int error = errno;
	close(fd);
	return vio_refuse(why, "descriptor %d is no socket that is connected: %s", fd, strerror(error));
}

struct vio_link *vio_link_socket_open(const struct vio_link_socket_options *o, char *why)
{
	struct socket_link *s = calloc(1, sizeof *s);
	if (s) {
		s->in = malloc(BUFFER);
		s->out = malloc(BUFFER);
	}
	if (!s || !s->in || !s->out) {
		vio_refuse(why, "there is no memory left for a packet socket");
		goto fail;
	}
	s->loop = o->place.loops[0];
	for (unsigned i = 0; i < VIO_LINK_LANES; i++)
		s->lane[i] = (struct socket_lane){ .lane.ops = &lane_ops, .link = s };
	s->watch = (struct vio_watch){ .fd = -1, .ready = on_ready, .arg = s };
	s->retry = (struct vio_timer){ .fn = on_retry, .arg = s };
	s->settle = (struct vio_task){ .fn = on_settle, .arg = s };
	s->say = o->say;
	s->say_arg = o->say_arg;
	s->gone = o->gone;
	s->link = (struct vio_link){ .ops = &ops, .lanes = o->place.loop_count == 1 && o->lanes ? o->lanes : 1, .up = true, .carrier = true,
		.speed = UINT32_MAX, .duplex = 0xff };
	if (open_socket(s, o, why))
		return &s->link;
fail:
	if (s) {
		free(s->in);
		free(s->out);
	}
	free(s);
	return NULL;
}
