/* The host's own AF_VSOCK: what the guest connects to is connected to there, and what is listened on there calls the guest. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h>
#include <unistd.h>
#include <vio/host/dial_socket.h>

enum { ACCEPTS = 16, BACKLOG = 64, ANSWER_MS = 500 };
#define LOOK_NS UINT64_C(100000000)

struct vsock_listener { struct vio_watch watch; struct vsock_dial *v; uint32_t port; bool message; };

struct vsock_dial {
	struct vio_dial dial;
	struct vio_loop *loop;
	uint32_t cid, message_max;
	struct vio_timer tick;		/* to listen again, after descriptors had run out */
	unsigned listeners;
	struct vsock_listener listener[2 * VIO_DIAL_LISTEN];
};

static struct vsock_dial *vsock_of(struct vio_dial *d) { return (struct vsock_dial *)d; }

static struct vio_socket_line *line_of(struct vsock_dial *v, int fd, bool message)
{
	struct vio_socket_line *s = vio_socket_line_new(v->loop, fd, message);

	if (s)
		s->marks = message;
	else
		close(fd);
	return s;
}

static struct vio_line *vsock_connect(struct vio_dial *d, const struct vio_dial_call *call)
{
	struct vsock_dial *v = vsock_of(d);
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = v->cid, .svm_port = call->to_port };
	int fd = call->to_cid == 2 ? vio_dial_socket(AF_VSOCK, call->message, v->message_max) : -1;

	if (fd < 0)
		return NULL;
	int error = connect(fd, (const struct sockaddr *)&a, sizeof a) ? errno : 0;
	if (error && error != EINPROGRESS) {
		close(fd);
		return NULL;
	}
	struct vio_socket_line *s = line_of(v, fd, call->message);
	if (!s)
		return NULL;
	s->connecting = error;
	s->line.answered = !error;
	if (vio_socket_line_watch(s))
		return &s->line;
	s->line.ops->close(&s->line, true);
	return NULL;
}

static void on_listener(struct vio_watch *w, uint32_t events)
{
	struct vsock_listener *l = w->arg;
	struct vsock_dial *v = l->v;

	(void)events;
	for (unsigned i = 0; i < ACCEPTS; i++) {
		struct vio_dial_call call = { .from_cid = 2, .to_port = l->port, .message = l->message };
		int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
				vio_loop_unwatch(v->loop, w);
				vio_loop_timer(v->loop, &v->tick, vio_now_ns() + LOOK_NS);
			}
			return;
		}
		struct vio_socket_line *s = line_of(v, fd, l->message);
		if (!s)
			continue;
		bool taken = v->dial.incoming && v->dial.incoming(v->dial.arg, &call, &s->line);
		if (!taken)
			s->line.ops->close(&s->line, true);
		else if (!vio_socket_line_watch(s))
			vio_socket_line_soon(s);
	}
}

static void on_tick(void *arg)
{
	struct vsock_dial *v = arg;

	for (unsigned i = 0; i < v->listeners; i++)
		if (!v->listener[i].watch.on)
			vio_loop_watch(v->loop, &v->listener[i].watch);
}

static void vsock_close(struct vio_dial *d)
{
	struct vsock_dial *v = vsock_of(d);

	vio_loop_untimer(v->loop, &v->tick);
	for (unsigned i = 0; i < v->listeners; i++) {
		vio_loop_unwatch(v->loop, &v->listener[i].watch);
		close(v->listener[i].watch.fd);
	}
	free(v);
}

static const struct vio_dial_ops ops = { .connect = vsock_connect, .close = vsock_close };

static bool listen_on(struct vsock_dial *v, uint32_t port, bool message, char *why)
{
	struct vsock_listener *l = &v->listener[v->listeners];
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port };
	int fd = vio_dial_socket(AF_VSOCK, message, v->message_max);

	/* A host kernel that has no SOCK_SEQPACKET there (before Linux 5.14) has streams. */
	if (fd < 0 && message && (errno == ESOCKTNOSUPPORT || errno == EPROTONOSUPPORT))
		return true;
	*l = (struct vsock_listener){ .watch = { .fd = fd, .events = EPOLLIN, .ready = on_listener, .arg = l }, .v = v, .port = port,
		.message = message };
	if (fd >= 0 && !bind(fd, (const struct sockaddr *)&a, sizeof a) && !listen(fd, BACKLOG) && vio_loop_watch(v->loop, &l->watch)) {
		v->listeners++;
		return true;
	}
	int error = errno;
	if (fd >= 0)
		close(fd);
	/* One port can't be listened on by both types: the first one has it. */
	return (message && error == EADDRINUSE) || vio_refuse(why, "cannot listen on port %u of this host's vsock: %s; choose another "
	    "--forward-listen, or load the module vsock_loopback or vhost_vsock", port, strerror(error));
}

/*
 * Is there an AF_VSOCK that leads to cid?  Somebody there says at once that nobody listens; where no transport leads there, the
 * kernel says so, or a request is lost on the way to the machine around this one.
 */
static bool look(const struct vio_dial_vsock_options *o, char *why)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = o->cid, .svm_port = VMADDR_PORT_ANY - 1 };
	int fd = vio_dial_socket(AF_VSOCK, false, 0);

	if (fd < 0)
		return vio_refuse(why, "this host has no vsock: %s; load the module vsock, or use --uds-path", strerror(errno));
	int error = connect(fd, (const struct sockaddr *)&a, sizeof a) ? errno : 0;
	if (error == EINPROGRESS) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		error = poll(&p, 1, ANSWER_MS) == 1 ? 0 : ETIMEDOUT;
		if (!error)
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){ sizeof error });
	}
	close(fd);
	if (!error || error == ECONNRESET || error == ECONNREFUSED)
		return true;
	return vio_refuse(why, "this host's vsock does not lead to context id %u: %s; load the module vsock_loopback (for 1), or "
	    "use --uds-path", o->cid, strerror(error));
}

struct vio_dial *vio_dial_vsock_open(const struct vio_dial_vsock_options *o, char *why)
{
	if (!look(o, why))
		return NULL;
	struct vsock_dial *v = calloc(1, sizeof *v);
	if (!v) {
		vio_refuse(why, "there is no memory left for forwarding sockets");
		return NULL;
	}
	v->dial.ops = &ops;
	v->loop = o->loop;
	v->cid = o->cid;
	v->message_max = o->message_max;
	v->tick = (struct vio_timer){ .fn = on_tick, .arg = v };
	for (unsigned i = 0; i < o->listens; i++)
		if (!listen_on(v, o->listen[i], false, why) || !listen_on(v, o->listen[i], true, why)) {
			vsock_close(&v->dial);
			return NULL;
		}
	return &v->dial;
}
