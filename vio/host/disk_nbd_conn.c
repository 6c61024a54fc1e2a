/*
 * A connection to a server, and its life.
 *
 *   LOST -timer-> CONNECTING -> REPLAYING -> UP -the server goes-> LOST
 *
 * While the server is away requests wait: those that it had been given, and those that come.  They may be cancelled.
 */
#include <vio/host/disk_nbd.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <vio/host/why.h>

#define FIRST_PAUSE_NS UINT64_C(20000000)
#define LONGEST_PAUSE_NS UINT64_C(2000000000)
#define CONNECT_NS UINT64_C(10000000000)
enum { READS = 8 << 20, WRITES = 32 << 20 };	/* bytes of the rings */

bool vio_nbd_is_gone(const struct vio_nbd_conn *c)
{
	const struct vio_nbd_library *lib = c->disk->lib;
	return !c->h || c->drop || lib->aio_is_dead(c->h) > 0 || lib->aio_is_closed(c->h) > 0;
}

/* ---- Losing it ---- */

static void tell(struct vio_nbd_conn *c, bool back, const char *why)
{
	if (c->told == !back)
		return;
	c->told = !back;
	if (c->disk->news)
		c->disk->news(c->disk->news_arg, back, why);
}

static void lost(struct vio_nbd_conn *c, const char *why)
{
	if (c->watch.on)
		vio_loop_unwatch(c->loop, &c->watch);
	if (c->h)
		c->disk->lib->close(c->h);
	c->h = NULL;
	c->drop = false;
	c->state = VIO_NBD_LOST;
	tell(c, false, why);
	vio_nbd_forget(c);
	if (c->users)
		vio_loop_timer(c->loop, &c->timer, vio_now_ns() + c->pause_ns);
	c->pause_ns = c->pause_ns * 2 < LONGEST_PAUSE_NS ? c->pause_ns * 2 : LONGEST_PAUSE_NS;
}

/* ---- Getting it back ---- */

struct nbd_handle *vio_nbd_begin(const struct vio_nbd *d, char *why)
{
	const struct vio_nbd_library *lib = d->lib;
	struct nbd_handle *h = lib->create();
	int failed = -1;

	if (h)
		failed = lib->set_uri_allow_local_file(h, true) || lib->set_pread_initialize(h, false);
	if (!failed && d->peer_len)
		failed = lib->set_export_name(h, d->export) || lib->aio_connect(h, (const struct sockaddr *)&d->peer, d->peer_len);
	else if (!failed)
		failed = lib->aio_connect_uri(h, d->uri);
	if (!failed)
		return h;
	snprintf(why, VIO_WHY, "%s", lib->get_error());
	if (h)
		lib->close(h);
	return NULL;
}

static void keep_alive(int fd)
{
	static const struct { int level, name, value; } set[] = {	/* a host that has gone without a word is noticed within 25 s */
		{ SOL_SOCKET, SO_KEEPALIVE, 1 }, { IPPROTO_TCP, TCP_KEEPIDLE, 10 }, { IPPROTO_TCP, TCP_KEEPINTVL, 5 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 3 }, { IPPROTO_TCP, TCP_USER_TIMEOUT, 25000 },
	};
	for (unsigned i = 0; i < sizeof set / sizeof *set; i++)
		setsockopt(fd, set[i].level, set[i].name, &set[i].value, sizeof set[i].value);
}

bool vio_nbd_same_export(const struct vio_nbd *d, struct nbd_handle *h, char *why)
{
	const struct vio_nbd_library *lib = d->lib;
	int64_t size = lib->get_size(h), block = lib->get_block_size(h, LIBNBD_SIZE_MINIMUM);

	if (size < 0 || (uint64_t)size != d->disk.size)
		return vio_refuse(why, "it is back with %" PRId64 " bytes instead of %" PRIu64 ": it must serve the same disk", size,
		    d->disk.size);
	if (block > (int64_t)d->disk.logical_block)
		return vio_refuse(why, "it is back with blocks of %" PRId64 " bytes instead of %u: it must serve the same disk", block,
		    d->disk.logical_block);
	if (d->disk.read_only)
		return true;
	if (lib->is_read_only(h) > 0 || (d->can_flush && lib->can_flush(h) <= 0) || (d->can_fua && lib->can_fua(h) <= 0) ||
	    (d->can_trim && lib->can_trim(h) <= 0) || (d->can_zero && lib->can_zero(h) <= 0) ||
	    (d->can_fast_zero && lib->can_fast_zero(h) <= 0))
		return vio_refuse(why, "it is back and can do less than before: start it with the same options");
	return true;
}

static void connected(struct vio_nbd_conn *c)
{
	char why[VIO_WHY];

	vio_loop_untimer(c->loop, &c->timer);
	if (!vio_nbd_same_export(c->disk, c->h, why)) {
		c->told = false;	/* this is news */
		lost(c, why);
		return;
	}
	if (c->disk->peer_len)
		keep_alive(c->disk->lib->aio_get_fd(c->h));
	c->state = VIO_NBD_REPLAYING;
	vio_nbd_replay_begin(c);
}

static void try_again(void *arg)
{
	struct vio_nbd_conn *c = arg;
	char why[VIO_WHY];

	if (c->state == VIO_NBD_CONNECTING) {
		lost(c, "it does not answer");
		return;
	}
	c->h = vio_nbd_begin(c->disk, why);
	if (!c->h) {
		lost(c, why);
		return;
	}
	c->state = VIO_NBD_CONNECTING;
	vio_loop_timer(c->loop, &c->timer, vio_now_ns() + CONNECT_NS);
	vio_nbd_serve(c);
}

/* ---- Serving ---- */

static void ready(struct vio_watch *w, uint32_t events)
{
	struct vio_nbd_conn *c = w->arg;
	const struct vio_nbd_library *lib = c->disk->lib;
	unsigned direction = lib->aio_get_direction(c->h);

	/* A reply each time: looking for one that is not there would hold back new commands until one comes. */
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && direction & LIBNBD_AIO_DIRECTION_READ)
		lib->aio_notify_read(c->h);
	else if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		lib->aio_notify_write(c->h);
	vio_nbd_serve(c);
}

static void watch(struct vio_nbd_conn *c)
{
	const struct vio_nbd_library *lib = c->disk->lib;
	uint32_t events = 0;

	if (!c->h || !c->users)
		return;
	int fd = lib->aio_get_fd(c->h);
	unsigned direction = lib->aio_get_direction(c->h);
	if (direction & LIBNBD_AIO_DIRECTION_READ)
		events |= EPOLLIN;
	if (direction & LIBNBD_AIO_DIRECTION_WRITE)
		events |= EPOLLOUT;
	/* While it connects libnbd may try one address after the other, by sockets of the same number. */
	if (c->watch.on && c->watch.fd == fd && c->watch.events == events && c->state != VIO_NBD_CONNECTING)
		return;
	if (c->watch.on && (c->watch.fd != fd || c->state == VIO_NBD_CONNECTING))
		vio_loop_unwatch(c->loop, &c->watch);
	c->watch.fd = fd;
	c->watch.events = events;
	if (!vio_loop_watch(c->loop, &c->watch))
		lost(c, strerror(errno));
}

static void step(struct vio_nbd_conn *c)
{
	const struct vio_nbd_library *lib = c->disk->lib;

	vio_nbd_collect(c);
	if (c->state == VIO_NBD_LOST)
		return;
	if (vio_nbd_is_gone(c)) {
		lost(c, c->state == VIO_NBD_CONNECTING ? "it can't be reached, or does not offer this disk" : "it has closed the connection");
		return;
	}
	if (c->state == VIO_NBD_CONNECTING && lib->aio_is_connecting(c->h) <= 0 && lib->aio_is_ready(c->h) > 0)
		connected(c);
	if (c->state == VIO_NBD_REPLAYING && vio_nbd_replay(c)) {
		c->state = VIO_NBD_UP;
		c->pause_ns = FIRST_PAUSE_NS;
		tell(c, true, "");
		vio_nbd_resend(c);
	}
	if (c->state == VIO_NBD_UP)
		vio_nbd_pump(c);
	if (c->state != VIO_NBD_LOST && vio_nbd_is_gone(c))
		c->again = true;
}

/* done() may submit, and submit comes here: that is one more step. */
void vio_nbd_serve(struct vio_nbd_conn *c)
{
	c->again = true;
	if (c->serving)
		return;
	c->serving = true;
	while (c->again || c->ended) {
		c->again = false;
		step(c);
	}
	c->serving = false;
	watch(c);
}

/* ---- Users ---- */

bool vio_nbd_conn_init(struct vio_nbd_conn *c)
{
	c->chan.ops = &vio_nbd_chan_ops;
	c->watch = (struct vio_watch){ .fd = -1, .ready = ready, .arg = c };
	c->timer = (struct vio_timer){ .fn = try_again, .arg = c };
	c->pause_ns = FIRST_PAUSE_NS;
	vio_nbd_commands_init(c);
	return vio_nbd_ring_init(&c->reads, READS) && vio_nbd_ring_init(&c->writes, WRITES);
}

void vio_nbd_conn_use(struct vio_nbd_conn *c)
{
	if (c->users++)
		return;
	if (c->state == VIO_NBD_LOST)
		vio_loop_timer(c->loop, &c->timer, vio_now_ns());
	else
		vio_nbd_serve(c);
}

/* A half-made connection would be watched by nobody. */
void vio_nbd_conn_leave(struct vio_nbd_conn *c)
{
	if (--c->users)
		return;
	if (c->state == VIO_NBD_CONNECTING || c->state == VIO_NBD_REPLAYING)
		lost(c, "nobody uses it");
	vio_loop_untimer(c->loop, &c->timer);
	if (c->watch.on)
		vio_loop_unwatch(c->loop, &c->watch);
}
