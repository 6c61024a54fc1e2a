/*
 * A remote device in its loop: what the back end says unasked, and how another one takes over when it has gone.
 *
 *     served ──── connection ends ───▶ lost ──── another back end: all that was said is said again ────▶ served
 *                                       │
 *                                       └─ not to be waited for, or five in a row have failed ──▶ DEVICE_NEEDS_RESET
 *
 * The device's functions are never called from within a message that is being waited for: what came of it is seen to in a
 * task, before the loop sleeps.
 */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <vio/vhost/remote_impl.h>

static void settled(void *arg);

/* ---- what is watched ---- */

static void closing(void *arg, int fd)
{
	struct vio_remote *r = arg;

	for (unsigned i = 0; i < VIO_VHOST_LOOK_FDS; i++)
		if (r->look[i].on && r->look[i].fd == fd)
			vio_loop_unwatch(r->o.loop, &r->look[i]);
}

static void on_look(struct vio_watch *w, uint32_t events)
{
	struct vio_remote *r = w->arg;

	(void)events;
	vio_vhost_look(r->f);
	settled(r);
}

static void watch_connection(struct vio_remote *r)
{
	int fds[VIO_VHOST_LOOK_FDS];
	unsigned n = vio_vhost_look_fds(r->f, fds);

	r->f->closing = closing;
	r->f->closing_arg = r;
	for (unsigned i = 0; i < n; i++) {
		struct vio_watch *w = &r->look[i];
		if (w->on)
			vio_loop_unwatch(r->o.loop, w);
		*w = (struct vio_watch){ .fd = fds[i], .events = EPOLLIN, .ready = on_look, .arg = r };
		if (!vio_loop_watch(r->o.loop, w))
			vio_front_fail(r->f, "The connection can't be watched: there is no memory.");
	}
}

static void on_call(struct vio_watch *w, uint32_t events)
{
	struct vio_remote_queue *q = w->arg;
	struct vio_dev *d = q->r->dev;
	uint64_t times;

	(void)events;
	if (read(w->fd, &times, sizeof times) == sizeof times)
		d->port->used(d->port_arg, (unsigned)(q - q->r->queue));
}

static bool watch_call(struct vio_remote *r, unsigned i, bool on)
{
	struct vio_watch *w = &r->queue[i].call;

	if (!on && w->on)
		vio_loop_unwatch(r->o.loop, w);
	if (!on || w->on)
		return true;
	r->queue[i].r = r;
	*w = (struct vio_watch){ .fd = r->f->queue[i].call, .events = EPOLLIN, .ready = on_call, .arg = &r->queue[i] };
	return vio_loop_watch(r->o.loop, w);
}

bool vio_remote_watch_call(struct vio_remote *r, unsigned queue, bool here)
{
	if (queue >= r->queues)
		return false;
	r->queue[queue].elsewhere = !here;
	return !r->dev || watch_call(r, queue, here);
}

void vio_remote_watch(struct vio_remote *r)
{
	r->settle = (struct vio_task){ .fn = settled, .arg = r };
	watch_connection(r);
	for (unsigned i = 0; i < r->queues; i++)
		if (!watch_call(r, i, !r->queue[i].elsewhere))
			vio_front_fail(r->f, "The calls of queue %u can't be watched: there is no memory.", i);
	vio_remote_settle(r);
}

void vio_remote_unwatch(struct vio_remote *r)
{
	for (unsigned i = 0; i < VIO_VHOST_LOOK_FDS; i++)
		if (r->look[i].on)
			vio_loop_unwatch(r->o.loop, &r->look[i]);
	for (unsigned i = 0; i < r->queues; i++)
		watch_call(r, i, false);
	vio_loop_untask(r->o.loop, &r->settle);
	vio_loop_untimer(r->o.loop, &r->retry);
	r->f->closing = NULL;
}

void vio_remote_settle(struct vio_remote *r)
{
	if (r->dev && (r->f->broken != r->lost || r->f->config_changed || r->f->needs_reset))
		vio_loop_task(r->o.loop, &r->settle);
}

/* ---- lost and found ---- */

void vio_remote_tell(struct vio_remote *r, enum vio_remote_news news)
{
	if (r->o.news)
		r->o.news(r->o.arg, news, r->why);
}

/* A device that no driver has begun with has nothing to lose: the next start finds out. */
static void needs_reset(struct vio_remote *r, const char *why)
{
	if (vio_dev_status(r->dev))
		vio_dev_needs_reset(r->dev, why);
}

static void give_up(struct vio_remote *r)
{
	r->given_up = true;
	vio_loop_untimer(r->o.loop, &r->retry);
	needs_reset(r, r->why);
	vio_remote_tell(r, VIO_REMOTE_GIVEN_UP);
}

static void found(struct vio_remote *r)
{
	uint64_t one = 1;

	r->lost = r->given_up = r->told_ill = false;
	r->failures = 0;
	vio_loop_untimer(r->o.loop, &r->retry);
	watch_connection(r);
	for (unsigned i = 0; i < r->queues; i++)	/* the last one may have died between using buffers and telling of it */
		if (r->f->queue[i].running)
			(void)!write(r->f->queue[i].call, &one, sizeof one);
	if (vio_remote_config(r))
		vio_dev_config_changed(r->dev);
	vio_remote_tell(r, VIO_REMOTE_BACK);
	vio_remote_settle(r);
}

static void look_again(struct vio_remote *r)
{
	vio_loop_timer(r->o.loop, &r->retry, vio_now_ns() + VIO_REMOTE_RETRY_MS * UINT64_C(1000000));
}

static bool failed(struct vio_remote *r)
{
	snprintf(r->why, sizeof r->why, "%s", r->f->why);
	if (r->f->reached && ++r->failures >= VIO_REMOTE_FAILURES)
		give_up(r);
	return false;
}

static bool try(struct vio_remote *r, const char *path, int fd)
{
	char why[VIO_FRONT_WHY];

	if (!vio_vhost_reconnect(r->f, path, fd, why))
		return failed(r);
	found(r);
	return true;
}

static void on_retry(void *arg)
{
	struct vio_remote *r = arg;

	if (!try(r, r->o.path, -1) && !r->given_up)
		look_again(r);
}

static void lost(struct vio_remote *r)
{
	r->lost = true;
	snprintf(r->why, sizeof r->why, "%s", r->f->why);
	vio_remote_tell(r, VIO_REMOTE_LOST);
	if (!r->lost)				/* brought by whoever was told */
		return;
	if (!r->o.reconnect) {
		needs_reset(r, r->why);
		return;
	}
	if (!r->o.path)
		return;
	r->retry = (struct vio_timer){ .fn = on_retry, .arg = r };
	look_again(r);
}

bool vio_remote_again(struct vio_remote *r, int fd, char *why)
{
	if (!r->dev) {
		snprintf(why, VIO_FRONT_WHY, "The device is not open.");
		close(fd);
		return false;
	}
	if (!r->lost) {			/* its process may be known to have died before its socket tells */
		vio_front_fail(r->f, "Another back end takes over.");
		vio_loop_untask(r->o.loop, &r->settle);
		settled(r);
	}
	if (try(r, NULL, fd))
		return true;
	snprintf(why, VIO_FRONT_WHY, "%s", r->why);
	return false;
}

bool vio_remote_revive(struct vio_remote *r)
{
	if (r->f->broken && !r->lost) {		/* not seen to yet */
		vio_loop_untask(r->o.loop, &r->settle);
		settled(r);
	}
	if (!r->lost || (r->o.reconnect && !r->given_up))
		return true;
	return r->o.path && try(r, r->o.path, -1);
}

void vio_remote_give_up(struct vio_remote *r, const char *why)
{
	if (!r->dev || r->given_up)
		return;
	if (!r->lost) {			/* as in vio_remote_again() */
		vio_front_fail(r->f, "%s", why);
		vio_loop_untask(r->o.loop, &r->settle);
		settled(r);
	}
	if (!r->o.reconnect)		/* nobody was waited for */
		return;
	snprintf(r->why, sizeof r->why, "%s", why);
	give_up(r);
}

const char *vio_remote_lost(const struct vio_remote *r) { return r->lost ? r->why : NULL; }

/* ---- what came of it ---- */

static void settled(void *arg)
{
	struct vio_remote *r = arg;
	struct vio_vhost_front *f = r->f;

	if (f->config_changed && !f->broken) {
		f->config_changed = false;
		vio_remote_config(r);
		if (!f->broken)
			vio_dev_config_changed(r->dev);
	}
	if (f->needs_reset && !r->told_ill && !f->broken) {
		r->told_ill = true;
		snprintf(r->why, sizeof r->why, "The back end says that a queue is broken.");
		needs_reset(r, r->why);
		vio_remote_tell(r, VIO_REMOTE_ILL);
	}
	if (f->broken && !r->lost)
		lost(r);
}
