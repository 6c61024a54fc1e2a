/* Streams over Unix sockets: one that is listened on, one that is connected to as often as it takes. */
#include <vio/host/stream_impl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_NS UINT64_C(1000000000)

struct socket_stream {
	struct vio_stream_host host;
	struct vio_watch listener;	/* fd -1: we connect */
	struct vio_timer retry;
	struct sockaddr_un to;
};

static struct socket_stream *socket_of(struct vio_stream_host *h) { return (struct socket_stream *)h; }

static bool begin(struct socket_stream *s, int fd)
{
	char why[VIO_WHY];

	return vio_stream_host_use(&s->host, fd, fd, why);
}

static void socket_end(struct vio_stream_host *h)
{
	struct socket_stream *s = socket_of(h);

	vio_loop_untimer(h->loop, &s->retry);
	vio_loop_unwatch(h->loop, &s->listener);
	if (s->listener.fd >= 0)
		close(s->listener.fd);
}

static struct socket_stream *new_socket(struct vio_loop *l, char *why)
{
	struct socket_stream *s = vio_stream_host_new(sizeof *s, l, why);

	if (!s)
		return NULL;
	s->host.is_socket = true;
	s->host.end = socket_end;
	s->listener.fd = -1;
	return s;
}

/* ---- Listening ---- */

/* Only while nobody is there: the next one waits in the socket's backlog. */
static void on_connection(struct vio_watch *w, uint32_t events)
{
	struct socket_stream *s = w->arg;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0 || !begin(s, fd))
		return;
	vio_loop_unwatch(s->host.loop, w);
	vio_stream_host_tell(&s->host, VIO_STREAM_CHANGED);
}

static void listen_again(struct vio_stream_host *h)
{
	vio_loop_watch(h->loop, &socket_of(h)->listener);
}

struct vio_stream *vio_stream_host_listener(struct vio_loop *l, int fd, char *why)
{
	struct socket_stream *s = new_socket(l, why);

	if (!s) {
		close(fd);
		return NULL;
	}
	s->listener = (struct vio_watch){ .fd = fd, .events = EPOLLIN, .ready = on_connection, .arg = s };
	s->host.gone = listen_again;
	if (vio_loop_watch(l, &s->listener))
		return &s->host.stream;
	vio_refuse(why, "cannot watch a socket: %s; raise the limit of open files (ulimit -n)", strerror(errno));
	vio_stream_host_free(&s->host);
	return NULL;
}

struct vio_stream *vio_stream_listen(struct vio_loop *l, const char *path, char *why)
{
	int fd = vio_socket_listen(&(struct vio_socket_options){ .path = path, .mode = 0600 }, why);
	struct vio_stream *s = fd < 0 ? NULL : vio_stream_host_listener(l, fd, why);

	if (s) {
		struct vio_stream_host *h = (struct vio_stream_host *)s;
		snprintf(h->where, sizeof h->where, "%s", path);
		if (vio_stream_host_made(h, path, why))
			return s;
		vio_stream_close(s);
	}
	if (fd >= 0)
		unlink(path);
	return NULL;
}

/* ---- Connecting ---- */

static void try_to_connect(struct socket_stream *s)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&s->to, sizeof s->to)) {
		close(fd);	/* nobody listens, or too many wait (EAGAIN) */
		fd = -1;
	}
	if (fd >= 0 && begin(s, fd))
		vio_stream_host_tell(&s->host, VIO_STREAM_CHANGED);
	else
		vio_loop_timer(s->host.loop, &s->retry, vio_now_ns() + RETRY_NS);
}

static void on_retry(void *arg) { try_to_connect(arg); }
static void connect_again(struct vio_stream_host *h) { try_to_connect(socket_of(h)); }

struct vio_stream *vio_stream_connect(struct vio_loop *l, const char *path, char *why)
{
	struct socket_stream *s = new_socket(l, why);

	if (!s)
		return NULL;
	if (strlen(path) >= sizeof s->to.sun_path) {
		vio_refuse(why, "the socket path %.60s... is %zu bytes long: choose one of at most %zu", path, strlen(path),
		    sizeof s->to.sun_path - 1);
		vio_stream_host_free(&s->host);
		return NULL;
	}
	s->to.sun_family = AF_UNIX;
	strcpy(s->to.sun_path, path);
	snprintf(s->host.where, sizeof s->host.where, "%s", path);
	s->retry = (struct vio_timer){ .fn = on_retry, .arg = s };
	s->host.gone = connect_again;
	s->host.reconnects = true;
	try_to_connect(s);
	return &s->host.stream;
}
