/*
 * The bridge to Unix sockets: see dial.h for what is spoken.
 *
 *   connect(): a socket is connected to PATH_PORT at once.  Where the listener's backlog is full (a Unix socket can't be waited
 *   for then) it is tried again until the device gives up.
 *   PATH: callers are accepted and have some seconds for their one line, of which not a byte too much is read; then the guest
 *   is asked.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vio/host/dial_socket.h>

enum { BACKLOG = 1024, CALLERS = 64, LINE_BYTES = 32, ACCEPTS = 16, TRIES = 64, LONGEST_SUFFIX = sizeof "_4294967295" - 1 };
#define CALLER_NS UINT64_C(10000000000)
#define RETRY_NS UINT64_C(5000000)
#define LOOK_NS UINT64_C(100000000)

struct unix_dial;

struct caller {				/* has not said yet whom it wants */
	struct vio_watch watch;
	struct unix_dial *u;
	bool message;
	uint64_t until;
	struct caller *prev, *next;
};

struct listener {
	struct vio_watch watch;		/* fd -1: there is none */
	struct unix_dial *u;
	bool message;
	char *path;
	struct vio_socket_file file;
};

struct unix_dial {
	struct vio_dial dial;
	struct vio_loop *loop;
	char *path;
	uint32_t message_max;
	struct listener listener[VIO_DIAL_UNIX_FILES];
	struct caller *first, *last;	/* in the order they came */
	unsigned callers;
	struct vio_socket_line *waiting, *waiting_last;	/* for room in a backlog */
	struct vio_timer tick;
};

static struct unix_dial *unix_of(struct vio_dial *d) { return (struct unix_dial *)d; }

static void set_tick(struct unix_dial *u)
{
	bool deaf = false;

	for (unsigned i = 0; i < VIO_DIAL_UNIX_FILES; i++)
		deaf |= u->listener[i].watch.fd >= 0 && !u->listener[i].watch.on;
	if (u->waiting || u->first || deaf)
		vio_loop_timer(u->loop, &u->tick, vio_now_ns() + (u->waiting ? RETRY_NS : LOOK_NS));
}

/* ---- Guest to host ---- */

static void not_waiting(struct vio_socket_line *s)
{
	struct unix_dial *u = s->dial;

	if (!s->connecting)
		return;
	s->connecting = false;
	*(s->prev ? &s->prev->next : &u->waiting) = s->next;
	*(s->next ? &s->next->prev : &u->waiting_last) = s->prev;
}

static void wait_for_room(struct unix_dial *u, struct vio_socket_line *s)
{
	s->connecting = true;
	s->next = NULL;
	s->prev = u->waiting_last;
	*(s->prev ? &s->prev->next : &u->waiting) = s;
	u->waiting_last = s;
	set_tick(u);
}

/* 0, or an errno value. */
static int try_connect(struct unix_dial *u, int fd, uint32_t port)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof a.sun_path, "%s_%" PRIu32, u->path, port);	/* fits: looked at when opened */
	return connect(fd, (const struct sockaddr *)&a, sizeof a) ? errno : 0;
}

static struct vio_line *unix_connect(struct vio_dial *d, const struct vio_dial_call *call)
{
	struct unix_dial *u = unix_of(d);
	int fd = call->to_cid == 2 ? vio_dial_socket(AF_UNIX, call->message, u->message_max) : -1;

	if (fd < 0)
		return NULL;
	int error = try_connect(u, fd, call->to_port);
	struct vio_socket_line *s = error && error != EAGAIN ? NULL : vio_socket_line_new(u->loop, fd, call->message);
	if (!s) {
		close(fd);
		return NULL;
	}
	s->dial = u;
	s->port = call->to_port;
	s->closed = not_waiting;
	s->credentials = call->message;
	if (error) {
		wait_for_room(u, s);
		return &s->line;
	}
	if (!vio_socket_line_watch(s)) {
		s->line.ops->close(&s->line, true);
		return NULL;
	}
	s->line.answered = true;
	return &s->line;
}

static void try_again(struct unix_dial *u)
{
	struct vio_socket_line *s, *last = u->waiting_last;

	for (unsigned n = 0; n < TRIES && (s = u->waiting); n++) {
		int error = try_connect(u, s->watch.fd, s->port);
		bool was_last = s == last;
		not_waiting(s);
		if (error == EAGAIN) {
			wait_for_room(u, s);
		} else {
			s->line.answered = !error && vio_socket_line_watch(s);
			s->line.event(s->line.arg, s->line.answered ? VIO_LINE_ANSWERED : VIO_LINE_GONE);
		}
		if (was_last)
			return;
	}
}

/* ---- Host to guest ---- */

static void forget_caller(struct caller *c)
{
	struct unix_dial *u = c->u;

	vio_loop_unwatch(u->loop, &c->watch);
	*(c->prev ? &c->prev->next : &u->first) = c->next;
	*(c->next ? &c->next->prev : &u->last) = c->prev;
	u->callers--;
	if (c->watch.fd >= 0)
		close(c->watch.fd);
	free(c);
}

static void say_ok(struct vio_socket_line *s, uint32_t port)
{
	char text[LINE_BYTES];
	int n = snprintf(text, sizeof text, "OK %" PRIu32 "\n", port);

	/* The first bytes of a socket always fit; and whoever has gone already will be noticed. */
	(void)!send(s->watch.fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* "CONNECT 1234\n", a line of n bytes. */
static bool parse(const char *text, size_t n, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	size_t at = sizeof word - 1;
	uint64_t v = 0;

	if (n < at + 2 || memcmp(text, word, at) || text[n - 1] != '\n')
		return false;
	for (; at < n - 1; at++) {
		if (text[at] < '0' || text[at] > '9' || (v = v * 10 + (uint64_t)(text[at] - '0')) > UINT32_MAX)
			return false;
	}
	*port = (uint32_t)v;
	return true;
}

/* The line, and nothing behind it.  How many bytes; 0: not all of it is here; -1: it is not one. */
static long take_line(const struct caller *c, char *text)
{
	ssize_t n = recv(c->watch.fd, text, LINE_BYTES, MSG_DONTWAIT | (c->message ? MSG_TRUNC : MSG_PEEK));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0 || (c->message && n > LINE_BYTES))
		return -1;
	if (c->message)
		return n;
	const char *end = memchr(text, '\n', (size_t)n);
	if (!end)
		return n < LINE_BYTES ? 0 : -1;
	return recv(c->watch.fd, text, (size_t)(end + 1 - text), MSG_DONTWAIT);
}

static void put_through(struct caller *c, uint32_t port)
{
	struct unix_dial *u = c->u;
	struct vio_dial_call call = { .from_cid = 2, .to_port = port, .message = c->message };
	struct vio_socket_line *s = vio_socket_line_new(u->loop, c->watch.fd, c->message);

	if (!s) {
		forget_caller(c);
		return;
	}
	vio_loop_unwatch(u->loop, &c->watch);
	c->watch.fd = -1;
	forget_caller(c);
	s->dial = u;
	s->answer = say_ok;
	s->credentials = s->line.message;
	bool taken = u->dial.incoming && u->dial.incoming(u->dial.arg, &call, &s->line);
	if (!taken)
		s->line.ops->close(&s->line, true);
	else if (!vio_socket_line_watch(s))
		vio_socket_line_soon(s);	/* no events: a read will tell that it is of no use */
}

static void on_caller(struct vio_watch *w, uint32_t events)
{
	struct caller *c = w->arg;
	char text[LINE_BYTES];
	uint32_t port;
	long n = take_line(c, text);

	(void)events;
	if (n > 0 && parse(text, (size_t)n, &port))
		put_through(c, port);
	else if (n)
		forget_caller(c);
}

static bool greet(struct listener *l, int fd)
{
	struct unix_dial *u = l->u;
	struct caller *c = calloc(1, sizeof *c);

	if (!c)
		return false;
	*c = (struct caller){ .watch = { .fd = fd, .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .ready = on_caller, .arg = c },
		.u = u, .message = l->message, .until = vio_now_ns() + CALLER_NS, .prev = u->last };
	if (!vio_loop_watch(u->loop, &c->watch)) {
		free(c);
		return false;
	}
	*(u->last ? &u->last->next : &u->first) = c;
	u->last = c;
	u->callers++;
	return true;
}

static void on_listener(struct vio_watch *w, uint32_t events)
{
	struct listener *l = w->arg;

	(void)events;
	for (unsigned i = 0; i < ACCEPTS; i++) {
		int fd = l->u->callers < CALLERS ? accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;
		bool full = l->u->callers >= CALLERS || (fd < 0 && errno != EAGAIN && errno != ECONNABORTED && errno != EINTR);
		if (fd >= 0 && !greet(l, fd))
			close(fd);
		if (full)	/* looked at again with the next tick */
			vio_loop_unwatch(l->u->loop, w);
		if (fd < 0)
			break;
	}
	set_tick(l->u);
}

static void on_tick(void *arg)
{
	struct unix_dial *u = arg;
	uint64_t now = vio_now_ns();

	while (u->first && u->first->until <= now)
		forget_caller(u->first);
	for (unsigned i = 0; i < VIO_DIAL_UNIX_FILES; i++)
		if (u->listener[i].watch.fd >= 0 && !u->listener[i].watch.on && u->callers < CALLERS)
			vio_loop_watch(u->loop, &u->listener[i].watch);
	try_again(u);
	set_tick(u);
}

/* ---- Life ---- */

static void unix_close(struct vio_dial *d)
{
	struct unix_dial *u = unix_of(d);

	while (u->first)
		forget_caller(u->first);
	vio_loop_untimer(u->loop, &u->tick);
	for (unsigned i = 0; i < VIO_DIAL_UNIX_FILES; i++) {
		struct listener *l = &u->listener[i];
		if (l->watch.fd >= 0) {
			vio_loop_unwatch(u->loop, &l->watch);
			close(l->watch.fd);
			vio_socket_remove(&l->file);
		}
		free(l->path);
	}
	if (u->listener[0].file.dir >= 0)
		close(u->listener[0].file.dir);
	free(u->path);
	free(u);
}

static const struct vio_dial_ops ops = { .connect = unix_connect, .close = unix_close };

static bool listen_at(struct unix_dial *u, unsigned i, const struct vio_dial_unix_options *o, char *why)
{
	struct listener *l = &u->listener[i];

	if (asprintf(&l->path, "%s%s", u->path, i ? "_seqpacket" : "") < 0) {
		l->path = NULL;
		return vio_refuse(why, "there is no memory left for the socket %s", u->path);
	}
	l->message = i;
	struct vio_socket_options so = { .path = l->path, .mode = o->mode, .has_group = o->has_group, .group = o->group,
		.messages = l->message };
	int fd = vio_socket_listen(&so, why);
	if (fd < 0)
		return false;
	listen(fd, BACKLOG);
	if (l->message)		/* inherited by what is accepted: see dial_socket.c */
		setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){ 1 }, sizeof(int));
	l->watch = (struct vio_watch){ .fd = fd, .events = EPOLLIN, .ready = on_listener, .arg = l };
	if (!vio_socket_file(&l->file, l->path, i ? u->listener[0].file.dir : -1, why)) {
		unlink(l->path);
		return false;
	}
	return vio_loop_watch(u->loop, &l->watch) || vio_refuse(why, "cannot watch %s: %s; raise the limit of open files (ulimit -n)",
	    l->path, strerror(errno));
}

struct vio_dial *vio_dial_unix_open(const struct vio_dial_unix_options *o, char *why)
{
	size_t most = sizeof((struct sockaddr_un *)0)->sun_path - 1 - LONGEST_SUFFIX;
	struct unix_dial *u;

	if (strlen(o->path) > most) {
		vio_refuse(why, "the path %.60s... is %zu bytes long, and \"_PORT\" comes behind it: choose one of at most %zu", o->path,
		    strlen(o->path), most);
		return NULL;
	}
	if (!(u = calloc(1, sizeof *u)) || !(u->path = strdup(o->path))) {
		free(u);
		vio_refuse(why, "there is no memory left for the sockets of %s", o->path);
		return NULL;
	}
	u->dial.ops = &ops;
	u->loop = o->loop;
	u->message_max = o->message_max ? o->message_max : 256 << 10;
	u->tick = (struct vio_timer){ .fn = on_tick, .arg = u };
	for (unsigned i = 0; i < VIO_DIAL_UNIX_FILES; i++)
		u->listener[i] = (struct listener){ .watch.fd = -1, .u = u, .file.dir = -1 };
	for (unsigned i = 0; !o->call_only && i < VIO_DIAL_UNIX_FILES; i++)
		if (!listen_at(u, i, o, why)) {
			unix_close(&u->dial);
			return NULL;
		}
	return &u->dial;
}

int vio_dial_unix_folder(const struct vio_dial *d) { return ((const struct unix_dial *)d)->listener[0].file.dir; }
