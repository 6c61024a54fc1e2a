/*
 * Sources of random bytes: the kernel's generator, a device, a pipe or a file; and the twin that counts.
 *
 * fill() never waits for bytes.  When there are none, the descriptor is watched; where nothing can be watched (the
 * kernel's generator early at boot, a device driver without poll), a timer asks again.  A regular file is read as fast
 * as it is, and at its end the source has failed: the same bytes twice are not random.
 */
#include <vio/host/source.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILL_MAX = 64 * 1024 };		/* bytes of one fill() */
#define RETRY_NS 20000000u
enum { WHY = 512 };

struct host_source {
	struct vio_source source;
	struct vio_loop *loop;
	int fd;				/* -1: getrandom(2) */
	bool can_watch;
	bool failed;
	uint64_t max_bytes, period_ns;	/* max_bytes 0: no limit */
	uint64_t left, period_end;
	struct vio_watch watch;
	struct vio_timer timer;
};

static struct host_source *host_of(struct vio_source *s)
{
	return (struct host_source *)s;
}

/* ---- Waiting for more ---- */

static void no_more_waiting(struct host_source *h)
{
	vio_loop_unwatch(h->loop, &h->watch);
	vio_loop_untimer(h->loop, &h->timer);
}

static void tell(struct host_source *h)
{
	no_more_waiting(h);
	if (h->source.ready)
		h->source.ready(h->source.ready_arg);
}

static void on_ready(struct vio_watch *w, uint32_t events)
{
	(void)events;
	tell(w->arg);
}

static void on_timer(void *arg)
{
	tell(arg);
}

static void wait_for_bytes(struct host_source *h)
{
	if (!h->can_watch || !vio_loop_watch(h->loop, &h->watch))
		vio_loop_timer(h->loop, &h->timer, vio_now_ns() + RETRY_NS);
}

/* ---- The rate ---- */

/* How many of n bytes this period still allows; a period begins with its first byte. */
static size_t allowed(struct host_source *h, size_t n)
{
	if (!h->max_bytes)
		return n;
	uint64_t now = vio_now_ns();
	if (now >= h->period_end) {
		h->left = h->max_bytes;
		h->period_end = now + h->period_ns;
	}
	return n < h->left ? n : (size_t)h->left;
}

/* ---- Filling ---- */

static long from_kernel(void *to, size_t n)
{
	return (long)getrandom(to, n, GRND_NONBLOCK);
}

static long host_fill(struct vio_source *s, void *to, size_t n)
{
	struct host_source *h = host_of(s);
	long r;

	no_more_waiting(h);
	if (h->failed)
		return -1;
	n = allowed(h, n < FILL_MAX ? n : FILL_MAX);
	if (n == 0) {
		vio_loop_timer(h->loop, &h->timer, h->period_end);
		return 0;
	}
	do
		r = h->fd < 0 ? from_kernel(to, n) : (long)read(h->fd, to, n);
	while (r < 0 && errno == EINTR);
	if (r < 0 && errno == EAGAIN) {
		wait_for_bytes(h);
		return 0;
	}
	if (r <= 0) {
		h->failed = true;
		return -1;
	}
	h->left -= h->max_bytes ? (uint64_t)r : 0;
	return r;
}

static void host_cancel(struct vio_source *s)
{
	no_more_waiting(host_of(s));
}

static void host_close(struct vio_source *s)
{
	struct host_source *h = host_of(s);

	no_more_waiting(h);
	if (h->fd >= 0)
		close(h->fd);
	free(h);
}

static const struct vio_source_ops host_ops = { .fill = host_fill, .cancel = host_cancel, .close = host_close };

/* ---- Opening ---- */

static bool cannot_open(const char *path, char *why)
{
	snprintf(why, WHY, "the source %s can't be read: %s", path, strerror(errno));
	return false;
}

static bool open_file(struct host_source *h, const char *path, char *why)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return cannot_open(path, why);
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode)) {
		snprintf(why, WHY, "the source %s is neither a device, nor a pipe, nor a file; name one of them", path);
		return false;
	}
	/* A pipe is opened for writing too, so that it does not end when its writer does: the next one may come. */
	h->fd = open(path, (S_ISFIFO(st.st_mode) ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (h->fd < 0)
		return cannot_open(path, why);
	h->watch = (struct vio_watch){ .fd = h->fd, .events = EPOLLIN, .ready = on_ready, .arg = h };
	h->can_watch = vio_loop_watch(h->loop, &h->watch);	/* EPERM: a file, or a device without poll */
	vio_loop_unwatch(h->loop, &h->watch);
	return true;
}

struct vio_source *vio_source_open(const struct vio_source_options *o, char *why)
{
	if (o->max_bytes && !o->period_ms) {
		snprintf(why, WHY, "a limit of bytes needs the period it is for; add --period=MS");
		return NULL;
	}
	struct host_source *h = calloc(1, sizeof *h);
	if (!h) {
		snprintf(why, WHY, "there is no memory left for the source");
		return NULL;
	}
	h->source.ops = &host_ops;
	h->loop = o->loop;
	h->fd = -1;
	h->max_bytes = o->max_bytes;
	h->period_ns = o->period_ms * 1000000u;
	h->timer = (struct vio_timer){ .fn = on_timer, .arg = h };
	if (o->path && !open_file(h, o->path, why)) {
		free(h);
		return NULL;
	}
	return &h->source;
}

/* ---- The twin that counts ---- */

struct counting_source {
	struct vio_source source;
	uint64_t at;
	uint64_t until;			/* bytes given until then; UINT64_MAX: always */
	bool waiting;
};

static long counting_fill(struct vio_source *s, void *to, size_t n)
{
	struct counting_source *c = (struct counting_source *)s;
	unsigned char *p = to;

	if (n > FILL_MAX)
		n = FILL_MAX;
	if (n > c->until - c->at)
		n = (size_t)(c->until - c->at);
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(c->at++ % 251);
	c->waiting = n == 0;
	return (long)n;
}

static void counting_cancel(struct vio_source *s)
{
	((struct counting_source *)s)->waiting = false;
}

static void counting_close(struct vio_source *s)
{
	free(s);
}

static const struct vio_source_ops counting_ops = {
	.fill = counting_fill, .cancel = counting_cancel, .close = counting_close,
};

struct vio_source *vio_source_counting(uint64_t starve)
{
	struct counting_source *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->source.ops = &counting_ops;
	c->until = starve ? starve : UINT64_MAX;
	return &c->source;
}

void vio_source_feed(struct vio_source *s, uint64_t more)
{
	struct counting_source *c = (struct counting_source *)s;

	if (c->until != UINT64_MAX)
		c->until += more;
	if (!c->waiting)
		return;
	c->waiting = false;
	if (s->ready)
		s->ready(s->ready_arg);
}
