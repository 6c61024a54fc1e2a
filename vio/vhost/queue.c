/* A ring as its own loop knows it: kicks in, turns, calls out, and orders from the home loop. */
#include <vio/vhost/server.h>
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- Notes ---- */

static void leave_note(struct vio_vhost_ring *r, uint32_t what)
{
	if (!__atomic_fetch_or(&r->notes, what, __ATOMIC_ACQ_REL))
		vio_loop_call(r->s->home, &r->note);
}

/* Home loop. */
static void take_note(void *arg)
{
	struct vio_vhost_ring *r = arg;
	struct vio_vhost *s = r->s;
	uint32_t what = __atomic_exchange_n(&r->notes, 0, __ATOMIC_ACQ_REL);

	if (what & VIO_NOTE_BROKEN) {
		r->broken = true;
		vio_vhost_say(s, "queue %u is broken until it is reset: %s", r->index,
		    __atomic_load_n(&r->note_broken, __ATOMIC_RELAXED));
		vio_vhost_tell(s, VIO_VHOST_BROKEN);
	}
	if (what & (VIO_NOTE_CALL | VIO_NOTE_ERR))
		vio_vhost_channel_ask(r, what & (VIO_NOTE_CALL | VIO_NOTE_ERR));
	if (what & VIO_NOTE_MISS && (r->running || r->starting)) {
		uint64_t miss = __atomic_load_n(&r->note_miss, __ATOMIC_RELAXED);
		vio_vhost_miss(r, miss & ~(uint64_t)VIO_MEM_RW, miss & VIO_MEM_RW);
	}
	if (what & VIO_NOTE_DEAD && s->state == VIO_VHOST_SERVING) {
		vio_vhost_say(s, "memory that the front end shares was cut short while in use; the connection is closed");
		vio_vhost_close(s, false);
	}
}

/* After guest memory has been touched. */
static void look_alive(struct vio_vhost_ring *r)
{
	if (__builtin_expect(__atomic_load_n(&r->s->dead, __ATOMIC_RELAXED), 0))
		leave_note(r, VIO_NOTE_DEAD);
}

/* ---- Turns ---- */

static void turn(struct vio_vhost_ring *r)
{
	if (vio_dev_queue_turn(r->s->dev, r->index))
		vio_loop_task(r->loop, &r->turn);
	look_alive(r);
}

static void turn_task(void *arg) { turn(arg); }

static void on_nudge(void *arg)
{
	struct vio_vhost_nudge *n = arg;

	__atomic_store_n(&n->sent, 0, __ATOMIC_RELEASE);
	turn(n->ring);
}

void vio_vhost_nudge_init(struct vio_vhost *s, unsigned i)
{
	s->nudge[i] = (struct vio_vhost_nudge){ .call = { .fn = on_nudge, .arg = &s->nudge[i] }, .ring = &s->ring[i] };
}

void vio_vhost_turn_all(struct vio_vhost *s)
{
	for (unsigned i = 0; i < s->dev->queues; i++)
		if (!__atomic_exchange_n(&s->nudge[i].sent, 1, __ATOMIC_ACQ_REL))
			vio_loop_call(s->ring[i].loop, &s->nudge[i].call);
}

static bool poller_look(void *arg)
{
	struct vio_vhost_ring *r = arg;
	bool worked = vio_dev_queue_poll(r->s->dev, r->index);
	look_alive(r);
	return worked;
}

static bool poller_listen(void *arg)
{
	struct vio_vhost_ring *r = arg;
	return vio_dev_queue_listen(r->s->dev, r->index);
}

static void clock_tick(void *arg)
{
	struct vio_vhost_ring *r = arg;
	turn(r);
	if (r->attended && r->polled)
		vio_loop_timer(r->loop, &r->clock, vio_now_ns() + VIO_VHOST_CLOCK_NS);
}

static void break_here(struct vio_vhost_ring *r, const char *why);

static void kicked(struct vio_watch *w, uint32_t events)
{
	struct vio_vhost_ring *r = w->arg;
	uint64_t counts[8];	/* an eventfd has one, a pipe may have many */
	ssize_t got = read(w->fd, counts, sizeof counts);

	(void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {		/* it would be ready for ever */
		vio_loop_unwatch(r->loop, w);
		break_here(r, "its kick descriptor can't be read: it is neither an eventfd nor an open pipe");
		return;
	}
	r->s->dev->queue[r->index].ring.stats.kicks++;
	turn(r);
}

/* ---- What a running ring listens to ---- */

static void unattend_kicks(struct vio_vhost_ring *r)
{
	r->attended = false;
	vio_loop_unwatch(r->loop, &r->kick);
	vio_loop_untimer(r->loop, &r->clock);
}

static bool attend(struct vio_vhost_ring *r)
{
	r->attended = true;
	if (r->kick.fd >= 0 && !vio_loop_watch(r->loop, &r->kick)) {
		unattend_kicks(r);
		return false;
	}
	if (r->polled)
		vio_loop_timer(r->loop, &r->clock, vio_now_ns() + VIO_VHOST_CLOCK_NS);
	vio_loop_poller(r->loop, &r->poller);
	return true;
}

static void unattend(struct vio_vhost_ring *r)
{
	unattend_kicks(r);
	vio_loop_unpoller(r->loop, &r->poller);
	vio_loop_untimer(r->loop, &r->alarm);
	vio_loop_untask(r->loop, &r->turn);
}

/* ---- Orders ---- */

static void answer(struct vio_vhost_order *o) { vio_loop_call(o->ring->s->home, &o->back); }

static void keep_fd(int *have, int fd)
{
	if (*have >= 0)
		close(*have);
	*have = fd;
}

static void set_kick(struct vio_vhost_order *o)
{
	struct vio_vhost_ring *r = o->ring;
	bool was = r->attended;

	unattend_kicks(r);
	keep_fd(&r->kick.fd, o->kick_fd);
	r->polled = o->polled;
	if (was && !attend(r))
		o->why = "its kick descriptor can't be waited for: it is neither an eventfd nor a pipe";
}

static void start(struct vio_vhost_order *o)
{
	struct vio_vhost_ring *r = o->ring;

	if (!attend(r)) {
		o->why = "its kick descriptor can't be waited for: it is neither an eventfd nor a pipe";
		return;
	}
	vio_dev_queue_enable(r->s->dev, r->index, o->enable);
	o->why = vio_dev_queue_start(r->s->dev, r->index, &o->start);
	if (o->why)
		unattend(r);
}

static void set_log(struct vio_vhost_order *o)
{
	struct vio_devq *q = &o->ring->s->dev->queue[o->ring->index].ring;
	q->log_used = o->start.log_used;
	q->log_used_gpa = o->start.log_used_gpa;
}

/* False: the answer comes later. */
static bool set_mem(struct vio_vhost_order *o)
{
	struct vio_vhost_ring *r = o->ring;
	uint32_t pins = vio_dev_queue_set_mem(r->s->dev, r->index, o->mem, o->gones ? &o->gone[0] : NULL);

	for (unsigned i = 1; i < o->gones; i++)
		pins = vio_dev_queue_set_mem(r->s->dev, r->index, o->mem, &o->gone[i]);
	vio_mem_unref(o->mem);
	o->mem = NULL;
	if (!pins || !o->gones)
		return true;
	r->pinned[r->pins++] = o;
	return false;
}

static void unpinned(struct vio_vhost_ring *r)
{
	while (r->pins)
		answer(r->pinned[--r->pins]);
}

/*
 * The ring is at rest.  Once the last of these is answered the home loop may take the ring apart: so this is a task, under
 * which nothing is going on with it any more, and touches nothing after the last answer.
 */
static void answer_stops(void *arg)
{
	struct vio_vhost_ring *r = arg;
	struct vio_vhost_order *o[VIO_LANES];
	unsigned n = r->stoppings;

	memcpy(o, r->stopping, sizeof o);
	r->stoppings = 0;
	for (unsigned i = 0; i < n; i++)
		answer(o[i]);
}

static void break_here(struct vio_vhost_ring *r, const char *why)
{
	struct vio_dev_queue *q = &r->s->dev->queue[r->index];

	if (q->state == VIO_QUEUE_STARTED) {
		vio_devq_break(&q->ring, why);
		turn(r);
	} else {
		vio_vhost_port.broken(r->s, r->index, why);
	}
}

static void stopped(void *arg, unsigned queue, uint32_t base)
{
	struct vio_vhost_ring *r = arg;

	(void)queue;
	unattend(r);
	r->stopped_at = base;
	unpinned(r);
	vio_loop_task(r->loop, &r->ended);
}

/* A second order to stop, which may cancel, is answered together with the first. */
static void stop(struct vio_vhost_order *o)
{
	struct vio_vhost_ring *r = o->ring;

	unattend_kicks(r);
	r->stopping[r->stoppings++] = o;
	vio_dev_queue_stop(r->s->dev, r->index, o->cancel, stopped, r);
}

static void obey(void *arg)
{
	struct vio_vhost_order *o = arg;
	struct vio_vhost_ring *r = o->ring;
	bool now = true;

	if (o->what & VIO_ORDER_CALL) {
		keep_fd(&r->call_fd, o->call_fd);
		r->call_polled = o->polled;
	}
	if (o->what & VIO_ORDER_ERR)
		keep_fd(&r->err_fd, o->err_fd);
	if (o->what & VIO_ORDER_KICK)
		set_kick(o);
	if (o->what & VIO_ORDER_LOG)
		set_log(o);
	if (o->what & VIO_ORDER_ENABLE)
		vio_dev_queue_enable(r->s->dev, r->index, o->enable);
	if (o->what & VIO_ORDER_START && !o->why)
		start(o);
	if (o->what & VIO_ORDER_MEM)
		now = set_mem(o);
	if (o->what & VIO_ORDER_BREAK)
		break_here(r, o->why);
	if (o->what & VIO_ORDER_LOOK && !o->why)
		turn(r);
	look_alive(r);
	if (o->what & VIO_ORDER_STOP)
		stop(o);
	else if (now)
		answer(o);
}

/* Home loop. */
static void answered(void *arg)
{
	struct vio_vhost_order *o = arg;
	struct vio_vhost *s = o->ring->s;
	struct vio_vhost_work *w = o->work;

	o->out = false;
	s->orders--;
	if (w)
		vio_vhost_work_answered(s, w, o->tolerated ? NULL : o->why);
	vio_vhost_orders_done(s);
}

struct vio_vhost_order *vio_vhost_order(struct vio_vhost_ring *r, enum vio_vhost_lane lane, unsigned what)
{
	struct vio_vhost_order *o = &r->order[lane];

	assert(!o->out);
	*o = (struct vio_vhost_order){ .go = { obey, o, NULL }, .back = { answered, o, NULL }, .ring = r, .what = what,
		.call_fd = -1, .err_fd = -1, .kick_fd = -1 };
	return o;
}

void vio_vhost_post(struct vio_vhost_order *o, struct vio_vhost_work *w)
{
	o->out = true;
	o->work = w;
	o->ring->s->orders++;
	if (w)
		w->out++;
	vio_loop_call(o->ring->loop, &o->go);
}

/* ---- The port ---- */

static struct vio_vhost_ring *ring_of(void *arg, unsigned queue) { return &((struct vio_vhost *)arg)->ring[queue]; }

static void signal_fd(int fd)
{
	uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof one);
	(void)n;	/* EAGAIN: it is full of signals; anything else is the front end's loss */
}

static void port_used(void *arg, unsigned queue)
{
	struct vio_vhost_ring *r = ring_of(arg, queue);

	if (r->call_fd >= 0)
		signal_fd(r->call_fd);
	else if (!r->call_polled && vio_vhost_uses(r->s, VIO_VHOST_F_INBAND_NOTIFICATIONS))
		leave_note(r, VIO_NOTE_CALL);
}

static void port_config(void *arg)
{
	if (arg)
		vio_vhost_channel_config(arg);
}

static void port_wake(void *arg, unsigned queue)
{
	struct vio_vhost_ring *r = ring_of(arg, queue);
	vio_loop_task(r->loop, &r->turn);
}

VIO_STATIC_ASSERT(sizeof(struct vio_dev_call) == sizeof(struct vio_call) &&
    offsetof(struct vio_dev_call, fn) == offsetof(struct vio_call, fn) &&
    offsetof(struct vio_dev_call, arg) == offsetof(struct vio_call, arg), "a device's call is a loop's");

static void port_post(void *arg, unsigned queue, struct vio_dev_call *c)
{
	if (arg)
		vio_loop_call(ring_of(arg, queue)->loop, (struct vio_call *)(void *)c);
	else
		c->fn(c->arg);		/* nobody is connected, and so no queue runs anywhere */
}

static void port_broken(void *arg, unsigned queue, const char *why)
{
	struct vio_vhost_ring *r = ring_of(arg, queue);
	uint32_t note = VIO_NOTE_BROKEN;

	__atomic_store_n(&r->note_broken, why, __ATOMIC_RELAXED);
	if (r->err_fd >= 0)
		signal_fd(r->err_fd);
	else if (vio_vhost_uses(r->s, VIO_VHOST_F_INBAND_NOTIFICATIONS))
		note |= VIO_NOTE_ERR;
	leave_note(r, note);
}

static void port_miss(void *arg, unsigned queue, uint64_t iova, unsigned perm)
{
	struct vio_vhost_ring *r = ring_of(arg, queue);
	__atomic_store_n(&r->note_miss, (iova & ~(uint64_t)(VIO_DIRTY_PAGE - 1)) | perm, __ATOMIC_RELAXED);
	leave_note(r, VIO_NOTE_MISS);
}

static bool port_together(void *arg, unsigned a, unsigned b)
{
	return !arg || ring_of(arg, a)->loop == ring_of(arg, b)->loop;
}

static uint64_t port_now(void *arg)
{
	(void)arg;
	return vio_now_ns();
}

static void port_alarm(void *arg, unsigned queue, uint64_t at_ns)
{
	struct vio_vhost_ring *r = ring_of(arg, queue);

	if (at_ns == UINT64_MAX)
		vio_loop_untimer(r->loop, &r->alarm);
	else
		vio_loop_timer(r->loop, &r->alarm, at_ns);
}

static void port_unpinned(void *arg, unsigned queue) { unpinned(ring_of(arg, queue)); }

static void *port_alloc(void *arg, size_t bytes)
{
	(void)arg;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void port_free(void *arg, void *p, size_t bytes)
{
	(void)arg;
	munmap(p, bytes);
}

const struct vio_port_ops vio_vhost_port = {
	.used = port_used, .config = port_config, .wake = port_wake, .post = port_post, .broken = port_broken, .miss = port_miss,
	.unpinned = port_unpinned, .together = port_together, .now = port_now, .alarm = port_alarm, .alloc = port_alloc, .free = port_free,
};

void vio_vhost_ring_init(struct vio_vhost *s, unsigned i)
{
	struct vio_vhost_ring *r = &s->ring[i];

	*r = (struct vio_vhost_ring){ .s = s, .index = i, .loop = r->loop, .call_fd = -1, .err_fd = -1 };
	r->kick = (struct vio_watch){ .fd = -1, .events = EPOLLIN, .ready = kicked, .arg = r };
	r->turn = (struct vio_task){ .fn = turn_task, .arg = r };
	r->ended = (struct vio_task){ .fn = answer_stops, .arg = r };
	r->poller = (struct vio_poller){ .look = poller_look, .listen = poller_listen, .arg = r };
	r->clock = (struct vio_timer){ .fn = clock_tick, .arg = r };
	r->alarm = (struct vio_timer){ .fn = turn_task, .arg = r };
	r->note = (struct vio_call){ .fn = take_note, .arg = r };
}
