/* A server's life: listening, one front end after another, and the one way in which a connection ends. */
#include <vio/vhost/server.h>
#include <vio/host/log.h>
#include <vio/host/sigbus.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WHY = 512 };
enum { SAY_LINES = 100 };			/* in */
#define SAY_NS UINT64_C(10000000000)		/* this time */
#define DEADLINE_NS UINT64_C(30000000000)	/* for a stop, unless the options say otherwise */
#define RELISTEN_NS UINT64_C(1000000000)	/* between two tries to accept when there are no descriptors left */

void vio_vhost_say(struct vio_vhost *s, const char *format, ...)
{
	char line[WHY];
	uint64_t now = vio_now_ns();
	va_list args;

	if (vio_log_level() == VIO_LOG_QUIET)
		return;
	if (now - s->said_since > SAY_NS) {
		s->said_since = now;
		s->said = 0;
	}
	if (s->said > SAY_LINES)
		return;
	if (s->said++ == SAY_LINES) {
		fprintf(stderr, "%s: more complaints than can be read; the others of these ten seconds are not shown\n", s->o.name);
		return;
	}
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	fprintf(stderr, "%s: %s\n", s->o.name, line);
}

struct vio_features vio_vhost_features(void)
{
	/* Not ACCESS_PLATFORM: user-mode Linux would accept it and can't translate.  Who has an IOMMU adds it. */
	static const unsigned char bits[] = { VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_VERSION_1, VIO_F_RING_PACKED,
		VIO_F_IN_ORDER };
	return vio_features_of(bits, sizeof bits);
}

void vio_vhost_tell(struct vio_vhost *s, enum vio_vhost_news news)
{
	if (s->o.news)
		s->o.news(s->o.arg, news);
}

/* ---- Listening ---- */

static void listen_again(struct vio_vhost *s)
{
	if (s->listen.fd >= 0 && !vio_loop_watch(s->home, &s->listen))
		vio_vhost_say(s, "can't listen any more: %s", strerror(errno));
}

static void relisten(void *arg) { listen_again(arg); }

/* One front end at a time: the next one waits in the socket's queue. */
static void accept_one(struct vio_watch *w, uint32_t events)
{
	struct vio_vhost *s = w->arg;
	int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return;
	vio_loop_unwatch(s->home, w);
	if (fd < 0) {
		vio_vhost_say(s, "can't accept a front end: %s; raise the limit of open files (ulimit -n)", strerror(errno));
		vio_loop_timer(s->home, &s->relisten, vio_now_ns() + RELISTEN_NS);
		return;
	}
	vio_vhost_conn_start(s, fd);
	vio_vhost_tell(s, VIO_VHOST_CONNECTED);
}

/* ---- The end of a connection ---- */

static void forget_connection(struct vio_vhost *s)
{
	vio_vhost_conn_end(s);
	vio_vhost_channel_close(s);
	for (unsigned i = 0; i < s->dev->queues; i++)
		vio_vhost_ring_forget(&s->ring[i]);
	vio_dev_set_mem(s->dev, NULL);
	vio_mem_unref(s->mem);
	vio_vhost_map_unref(s->log);
	vio_vhost_map_unref(s->inflight);
	s->mem = NULL;
	s->log = s->inflight = NULL;
	s->protocol = s->features = 0;
	s->has_features = s->iotlb_evicted = false;
	s->regions_again = 0;
	s->status = 0;
	__atomic_store_n(&s->dead, false, __ATOMIC_RELAXED);
	vio_vhost_state_forget(s);
	vio_dev_forget(s->dev);
}

void vio_vhost_orders_done(struct vio_vhost *s)
{
	if (s->state != VIO_VHOST_CLOSING || s->orders)
		return;
	vio_loop_untimer(s->home, &s->deadline);
	vio_loop_untimer(s->home, &s->misses);
	vio_loop_untask(s->home, &s->more);
	forget_connection(s);
	s->state = VIO_VHOST_IDLE;
	vio_vhost_tell(s, VIO_VHOST_GONE_AGAIN);
	if (s->ending || s->o.once || s->listen.fd < 0) {
		if (s->ended)
			s->ended(s->ended_arg);
	} else {
		listen_again(s);
	}
}

static void name_late_rings(struct vio_vhost *s)
{
	for (unsigned i = 0; i < s->dev->queues; i++)
		for (unsigned lane = 0; lane < VIO_LANES; lane++)
			if (s->ring[i].order[lane].out) {
				vio_vhost_say(s, "queue %u has requests that the host has not finished and can't cancel", i);
				break;
			}
}

static void force(struct vio_vhost *s)
{
	for (unsigned i = 0; i < s->dev->queues; i++) {
		if (s->ring[i].order[VIO_LANE_FORCE].out)
			continue;
		struct vio_vhost_order *o = vio_vhost_order(&s->ring[i], VIO_LANE_FORCE, VIO_ORDER_STOP);
		o->cancel = true;
		vio_vhost_post(o, NULL);
	}
}

/* What was to stop has not. */
static void too_late(void *arg)
{
	struct vio_vhost *s = arg;

	name_late_rings(s);
	if (s->state == VIO_VHOST_SERVING) {
		vio_vhost_say(s, "the connection is closed; guest memory stays mapped until they end");
		vio_vhost_close(s, false);
	} else if (s->graceful) {
		vio_vhost_say(s, "they are cancelled now");
		s->graceful = false;
		vio_vhost_conn_end(s);
		force(s);
		vio_vhost_deadline_start(s);
	} else {
		vio_vhost_say(s, "guest memory stays mapped until they end; the next front end waits until then");
	}
}

void vio_vhost_deadline_start(struct vio_vhost *s)
{
	vio_loop_timer(s->home, &s->deadline, vio_now_ns() + (s->o.stop_deadline_ns ? s->o.stop_deadline_ns : DEADLINE_NS));
}

void vio_vhost_close(struct vio_vhost *s, bool graceful)
{
	if (s->state != VIO_VHOST_SERVING)
		return;
	s->state = VIO_VHOST_CLOSING;
	s->graceful = graceful;
	vio_loop_unwatch(s->home, &s->sock);
	vio_vhost_channel_close(s);
	if (!graceful)
		vio_vhost_conn_end(s);
	for (unsigned i = 0; i < s->dev->queues; i++) {
		struct vio_vhost_order *o = vio_vhost_order(&s->ring[i], VIO_LANE_END, VIO_ORDER_STOP);
		o->cancel = !graceful;
		vio_vhost_post(o, NULL);
	}
	vio_vhost_deadline_start(s);
}

/* ---- Making and ending a server ---- */

static bool make_rings(struct vio_vhost *s)
{
	s->ring = calloc(s->dev->queues ? s->dev->queues : 1, sizeof *s->ring);
	s->channel.room = 3u * s->dev->queues;
	s->channel.asked = calloc(s->channel.room ? s->channel.room : 1, sizeof *s->channel.asked);
	s->nudge = calloc(s->dev->queues ? s->dev->queues : 1, sizeof *s->nudge);
	if (!s->ring || !s->nudge || !s->channel.asked)
		return false;
	for (unsigned i = 0; i < s->dev->queues; i++) {
		unsigned lane = s->dev->type->lane ? s->dev->type->lane(s->dev, i) : 0;
		s->ring[i].loop = s->o.loops[lane % s->o.loop_count];
		vio_vhost_ring_init(s, i);
		vio_vhost_nudge_init(s, i);
	}
	s->o.loops = NULL;	/* the caller's array may be gone from now on */
	return true;
}

static void nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void look_task(void *arg) { vio_vhost_conn_look(arg); }

struct vio_vhost *vio_vhost_serve(const struct vio_vhost_options *o, char *why)
{
	struct vio_vhost *s = calloc(1, sizeof *s);

	if (!s) {
		snprintf(why, WHY, "there is no memory for a vhost-user server");
		return NULL;
	}
	s->o = *o;
	s->dev = o->dev;
	s->home = o->loops[0];
	s->ended = o->ended;
	s->ended_arg = o->arg;
	s->listen = (struct vio_watch){ .fd = o->listen_fd, .events = EPOLLIN, .ready = accept_one, .arg = s };
	s->relisten = (struct vio_timer){ .fn = relisten, .arg = s };
	s->deadline = (struct vio_timer){ .fn = too_late, .arg = s };
	s->more = (struct vio_task){ .fn = look_task, .arg = s };
	s->sock.fd = s->channel.watch.fd = s->state_fd = -1;
	for (unsigned n = 0; n < VIO_WORKS; n++)
		s->work[n].reply_fd = -1;
	signal(SIGPIPE, SIG_IGN);	/* a call descriptor may be a pipe that nobody reads any more */
	if (!make_rings(s) || !vio_sigbus_init()) {
		snprintf(why, WHY, "can't prepare %u queues: %s", s->dev->queues, strerror(errno));
		vio_vhost_free(s);
		return NULL;
	}
	vio_dev_attach(s->dev, &vio_vhost_port, s, s->dev->wire);
	if (o->connected_fd >= 0) {
		nonblocking(o->connected_fd);
		vio_vhost_conn_start(s, o->connected_fd);
		vio_vhost_tell(s, VIO_VHOST_CONNECTED);
		return s;
	}
	nonblocking(o->listen_fd);
	if (!vio_loop_watch(s->home, &s->listen)) {
		snprintf(why, WHY, "can't wait for front ends: %s", strerror(errno));
		vio_vhost_free(s);
		return NULL;
	}
	return s;
}

void vio_vhost_stop(struct vio_vhost *s, void (*done)(void *arg), void *arg)
{
	s->ending = true;
	s->ended = done;
	s->ended_arg = arg;
	vio_loop_unwatch(s->home, &s->listen);
	vio_loop_untimer(s->home, &s->relisten);
	if (s->state == VIO_VHOST_SERVING)
		vio_vhost_close(s, true);
	else if (s->state == VIO_VHOST_IDLE)
		done(arg);
}

void vio_vhost_free(struct vio_vhost *s)
{
	if (!s)
		return;
	if (s->listen.fd >= 0) {
		vio_loop_unwatch(s->home, &s->listen);
		close(s->listen.fd);
	}
	vio_loop_untimer(s->home, &s->relisten);
	if (s->ring)
		vio_dev_attach(s->dev, &vio_vhost_port, NULL, s->dev->wire);
	free(s->ring);
	free(s->nudge);
	free(s->channel.asked);
	free(s);
}

bool vio_vhost_connected(const struct vio_vhost *s) { return s->state != VIO_VHOST_IDLE; }
