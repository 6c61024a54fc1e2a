/* Units: opening, looking again, flushing, closing; what a daemon and a machine do alike. */
#include "control.h"
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <vio/host/sigbus.h>
#include <vio/host/why.h>

void vio_say(const char *program, const char *format, ...)
{
	char line[1024];
	va_list args;
	int n = snprintf(line, sizeof line, "%s: ", program);
	va_start(args, format);
	n += vsnprintf(line + n, sizeof line - (size_t)n - 1, format, args);
	va_end(args);
	n = n < (int)sizeof line - 1 ? n : (int)sizeof line - 2;
	line[n++] = '\n';
	/* One write, so that lines of several processes do not mix; there is nobody to tell when it fails. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

/* ---- The process ---- */

bool vio_process_begin(sigset_t *blocked, char *why)
{
	struct rlimit files;
	sigset_t all;

	json_object_seed(0);		/* reads /dev/urandom, which confinement would forbid at the first object */
	mallopt(M_ARENA_MAX, 1);	/* threads allocate hardly anything: one heap is smaller */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);	/* a write beyond RLIMIT_FSIZE fails with EFBIG, which the guest is told */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	/* Before there are threads, so that none of them takes these signals. */
	sigemptyset(blocked);
	sigaddset(blocked, SIGTERM);
	sigaddset(blocked, SIGINT);
	sigaddset(blocked, SIGHUP);
	all = *blocked;
	sigaddset(&all, SIGWINCH);	/* of the thread that has the terminal */
	sigprocmask(SIG_BLOCK, &all, NULL);
	return vio_sigbus_init() || vio_refuse(why, "cannot handle SIGBUS: %s", strerror(errno));
}

static void quit_called(void *arg)
{
	struct vio_process *p = arg;
	__atomic_store_n(&p->quit_asked, false, __ATOMIC_SEQ_CST);
	p->quit(p);
}

void vio_process_quit(struct vio_process *p)
{
	if (__atomic_exchange_n(&p->quit_asked, true, __ATOMIC_SEQ_CST))
		return;
	p->quit_call = (struct vio_call){ .fn = quit_called, .arg = p };
	vio_loop_call(p->loop, &p->quit_call);
}

struct vio_unit *vio_process_unit(const struct vio_process *p, unsigned i) { return i < p->units ? p->unit[i] : NULL; }

/* ---- A unit ---- */

bool vio_unit_watch(struct vio_unit *u, const char *path)
{
	struct vio_unit_watch *more = realloc(u->watched, (u->watches + 1) * sizeof *more);
	if (!more)
		return false;
	more[u->watches++] = (struct vio_unit_watch){ path, -1 };
	u->watched = more;
	return true;
}

bool vio_unit_open(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	size_t bytes = u->service->type->instance;
	/* Pages that no queue needs are never touched. */
	void *dev = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (dev == MAP_FAILED || !u->name) {
		if (dev != MAP_FAILED)
			munmap(dev, bytes);
		return vio_refuse(why, "there is no memory for another device: serve fewer from one process");
	}
	u->dev = dev;
	if (!u->id)
		u->id = u->name;
	if (u->service->open(u, loops, loop_count, why))
		return true;
	munmap(dev, bytes);
	u->dev = NULL;
	return false;
}

void vio_unit_close(struct vio_unit *u)
{
	if (u->dev) {
		vio_dev_close(u->dev);
		u->service->close(u);
		munmap(u->dev, u->service->type->instance);
	}
	free(u->watched);
	u->dev = NULL;
	u->watched = NULL;
}

void vio_unit_flush(struct vio_unit *u, void (*done)(struct vio_unit *u, int error))
{
	if (u->service->flush)
		u->service->flush(u, done);
	else
		done(u, 0);
}

bool vio_unit_connected(const struct vio_unit *u)
{
	return u->vhost ? vio_vhost_connected(u->vhost) : vio_dev_status(u->dev) & VIO_S_DRIVER_OK;
}

void vio_unit_turn_all(struct vio_unit *u)
{
	if (u->vhost) {
		vio_vhost_turn_all(u->vhost);
		return;
	}
	for (unsigned i = 0; i < u->dev->queues; i++)
		if (u->dev->queue[i].state != VIO_QUEUE_STOPPED)
			vio_dev_wake(&u->dev->queue[i].ring);
}

void vio_unit_grant(struct vio_unit *u, struct vio_sandbox_options *o)
{
	if (u->service->grant)
		u->service->grant(u, o);
	if (u->service->calls)
		vio_sandbox_calls(o, u->service->calls);
}

/* ---- Files that change ---- */

static bool watches(const struct vio_unit *u, int watch)
{
	for (unsigned i = 0; i < u->watches; i++)
		if (u->watched[i].watch == watch)
			return true;
	return false;
}

/* Somebody who had a file open for writing has closed it.  (Each single write would be told too, our own as well.) */
static void on_change(struct vio_watch *w, uint32_t events)
{
	(void)events;
	struct vio_changes *c = w->arg;
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	for (ssize_t n; (n = read(w->fd, buffer, sizeof buffer)) > 0;)
		for (char *at = buffer; at < buffer + n;) {
			const struct inotify_event *e = (const struct inotify_event *)at;
			for (unsigned i = 0; i < c->units; i++)
				if (watches(c->unit[i], e->wd) && c->unit[i]->state == VIO_UNIT_SERVING)
					c->unit[i]->service->refresh(c->unit[i]);
			at += sizeof *e + e->len;
		}
}

static bool watch_file(struct vio_changes *c, struct vio_unit *u, struct vio_unit_watch *w, bool verbose)
{
	if (c->watch.fd < 0) {
		c->watch.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		if (c->watch.fd < 0 || !vio_loop_watch(c->loop, &c->watch)) {
			if (verbose)
				vio_say(u->process->program, "cannot watch for images that grow: %s; send SIGHUP instead", strerror(errno));
			return false;
		}
	}
	w->watch = inotify_add_watch(c->watch.fd, w->path, IN_CLOSE_WRITE);
	if (w->watch < 0 && verbose)
		vio_say(u->name, "cannot watch for growth: %s; send SIGHUP instead", strerror(errno));
	return true;
}

void vio_changes_open(struct vio_changes *c, struct vio_loop *l, struct vio_unit *const *unit, unsigned units, bool verbose)
{
	*c = (struct vio_changes){ .watch = { .fd = -1, .events = EPOLLIN, .ready = on_change, .arg = c }, .loop = l, .unit = unit,
		.units = units };
	for (unsigned i = 0; i < units; i++)
		for (unsigned k = 0; unit[i]->service->refresh && k < unit[i]->watches; k++)
			if (!watch_file(c, unit[i], &unit[i]->watched[k], verbose))
				return;
}

void vio_changes_close(struct vio_changes *c)
{
	if (!c->loop || c->watch.fd < 0)
		return;
	vio_loop_unwatch(c->loop, &c->watch);
	close(c->watch.fd);
	c->watch.fd = -1;
}
