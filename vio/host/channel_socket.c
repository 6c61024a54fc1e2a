/* Sockets as channels: addresses, who calls, who is called. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vio/host/socket.h>
#include <vio/host/channel_impl.h>

/* ---- Bytes ---- */

static ssize_t socket_read(struct vio_channel *c, void *to, size_t n)
{
	struct vio_way *w = (struct vio_way *)c;

	for (;;) {
		int error = vio_way_wait(w, POLLIN, VIO_CHANNEL_PATIENCE);
		if (error)
			return error;
		ssize_t got = recv(w->fd, to, n, MSG_DONTWAIT);
		if (got >= 0)
			return got;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
}

static ssize_t socket_write(struct vio_channel *c, const void *from, size_t n)
{
	struct vio_way *w = (struct vio_way *)c;

	for (;;) {
		int error = vio_way_wait(w, POLLOUT, VIO_CHANNEL_PATIENCE);
		if (error)
			return error;
		ssize_t done = send(w->fd, from, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (done >= 0)
			return done;
		if (errno != EINTR && errno != EAGAIN)
			return -errno;
	}
}

static void socket_close(struct vio_channel *c) { vio_way_close((struct vio_way *)c); }

static const struct vio_channel_ops ops = { socket_read, socket_write, vio_way_shut, socket_close };

static struct vio_channel *channel(int fd, bool server, const struct vio_tls *tls, const char *host, char *why)
{
	struct vio_way *w = vio_way_open(fd, &ops);
	int one = 1;

	if (!w) {
		vio_refuse(why, "there is no memory, or no descriptor left, for a connection");
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);	/* of no effect on a Unix socket */
	if (!tls || (!tls->psk && !tls->certificates && !tls->keys))
		return &w->c;
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 || !vio_way_tls(w, server, tls, host, why)) {
		vio_way_close(w);
		return NULL;
	}
	return &w->c;
}

struct vio_channel *vio_channel_socket(int fd, bool server, const struct vio_tls *tls, char *why)
{
	int type, listens;
	socklen_t n = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) || type != SOCK_STREAM ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) || listens) {
		vio_refuse(why, "descriptor %d is not a connected stream socket: pass one that is", fd);
		close(fd);
		return NULL;
	}
	return channel(fd, server, tls, NULL, why);
}

/* ---- Addresses ---- */

struct name { char host[256], port[32]; };

static bool split(const char *address, struct name *n, char *why)
{
	const char *at = address + 4, *colon = strrchr(at, ':');

	if (!colon || colon == at || !colon[1] || (size_t)(colon - at) >= sizeof n->host || strlen(colon + 1) >= sizeof n->port)
		return vio_refuse(why, "%.60s is no address: give tcp:HOST:PORT", address);
	size_t len = (size_t)(colon - at);
	if (at[0] == '[' && at[len - 1] == ']') {
		at++;
		len -= 2;
	}
	memcpy(n->host, at, len);
	n->host[len] = 0;
	strcpy(n->port, colon + 1);
	return true;
}

static const char *unix_path(const char *address) { return !strncmp(address, "unix:", 5) && address[5] ? address + 5 : NULL; }

static bool is_tcp(const char *address, char *why)
{
	if (!strncmp(address, "tcp:", 4))
		return true;
	return vio_refuse(why, "%.60s is no address: give tcp:HOST:PORT or unix:PATH", address);
}

static struct addrinfo *look_up(const struct name *n, bool listens, char *why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = listens ? AI_PASSIVE : AI_ADDRCONFIG }, *all;
	int error = getaddrinfo(n->host, n->port, &hints, &all);

	if (!error)
		return all;
	vio_refuse(why, "no address is known of %.100s, port %s: %s", n->host, n->port, gai_strerror(error));
	return NULL;
}

/* ---- Who calls ---- */

/* 0 or an errno value. */
static int connect_within(int fd, const struct addrinfo *a, int patience)
{
	int error, flags = fcntl(fd, F_GETFL);
	socklen_t n = sizeof error;

	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return errno;
	if (!connect(fd, a->ai_addr, a->ai_addrlen))
		return fcntl(fd, F_SETFL, flags) < 0 ? errno : 0;
	if (errno != EINPROGRESS)
		return errno;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int got = poll(&p, 1, patience);
	if (got <= 0)
		return got < 0 ? errno : ETIMEDOUT;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n))
		return errno;
	return error ? error : fcntl(fd, F_SETFL, flags) < 0 ? errno : 0;
}

static int connect_tcp(const struct name *n, char *why)
{
	struct addrinfo *all = look_up(n, false, why);
	int error = 0, fd = -1;

	for (const struct addrinfo *a = all; a; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		error = fd < 0 ? errno : connect_within(fd, a, VIO_CHANNEL_PATIENCE);
		if (!error)
			break;
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	if (all) {
		freeaddrinfo(all);
		if (fd < 0)
			vio_refuse(why, "cannot connect to %.100s, port %s: %s", n->host, n->port, strerror(error));
	}
	return fd;
}

struct vio_channel *vio_channel_connect(const char *address, const struct vio_tls *tls, char *why)
{
	const char *path = unix_path(address);
	struct name n;
	int fd;

	if (path) {
		fd = vio_socket_connect(path, "start the machine that waits there first (vio run --incoming)", why);
		return fd < 0 ? NULL : channel(fd, false, tls, NULL, why);
	}
	if (!is_tcp(address, why) || !split(address, &n, why) || (fd = connect_tcp(&n, why)) < 0)
		return NULL;
	return channel(fd, false, tls, n.host, why);
}

/* ---- Who is called ---- */

static int listen_tcp(const struct name *n, char *why)
{
	struct addrinfo *all = look_up(n, true, why);
	int error = 0, fd = -1, one = 1;

	for (const struct addrinfo *a = all; a; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
		if (fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) && !bind(fd, a->ai_addr, a->ai_addrlen) &&
		    !listen(fd, 1))
			break;
		error = errno;
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	if (all) {
		freeaddrinfo(all);
		if (fd < 0)
			vio_refuse(why, "cannot listen on %.100s, port %s: %s", n->host, n->port, strerror(error));
	}
	return fd;
}

int vio_channel_listen(const char *address, char *why)
{
	const char *path = unix_path(address);
	struct name n;

	if (path)
		return vio_socket_listen(&(struct vio_socket_options){ .path = path, .mode = 0600 }, why);
	return is_tcp(address, why) && split(address, &n, why) ? listen_tcp(&n, why) : -1;
}

struct vio_channel *vio_channel_accept(int listener, const struct vio_tls *tls, char *why)
{
	why[0] = 0;
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			return channel(fd, true, tls, NULL, why);
		if (errno == EINVAL)
			return NULL;		/* shut down */
		if (errno == EAGAIN) {
			struct pollfd p = { .fd = listener, .events = POLLIN };
			poll(&p, 1, -1);
		} else if (errno != EINTR && errno != ECONNABORTED) {
			vio_refuse(why, "cannot take a call: %s", strerror(errno));
			return NULL;
		}
	}
}
