/*
 * The event loop.
 *
 *      other threads --calls--> +--------------------------------------+
 *      descriptors ---epoll---> | fetch -> ready -> timers             | -> sleep, or look at the pollers
 *                               |       -> calls -> tasks              |
 *                               +--------------------------------------+
 *
 * Calls arrive on a stack that is taken whole (no ABA: nothing is ever popped singly).  A caller writes to the eventfd
 * only when the loop is asleep or about to be; (A) and (B) below are the two halves of that hand-shake.
 */
#include <vio/host/loop.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32 };			/* events fetched at once */
enum { CLOCK_ROUNDS = 8 };		/* rounds of polling between two looks at the clock */
#define FETCH_NS 20000u			/* while polling, control messages wait this long at most (and CLOCK_ROUNDS) */

struct vio_loop {
	int epfd, evfd;
	_Atomic(struct vio_call *) calls;	/* newest first */
	atomic_bool asleep;
	atomic_bool quit;
	struct vio_task *tasks, **tasks_end;
	struct vio_task *running;	/* the tasks of this turn that have not been run yet */
	struct vio_timer *timers;	/* sorted by at_ns */
	struct vio_poller *pollers, *next_poller;
	uint64_t poll_ns;
	uint64_t idle_since;		/* since when no poller has found anything; 0: just now */
	uint64_t fetched;		/* when descriptors were looked at last */
	unsigned rounds;
	int event, events;		/* where the walk over fetched[] stands */
	struct epoll_event batch[BATCH];
};

static _Thread_local const struct vio_loop *mine;

uint64_t vio_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Life ---- */

struct vio_loop *vio_loop_new(void)
{
	struct vio_loop *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->tasks_end = &l->tasks;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->evfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* Edge-triggered: each write is an event, and nobody has to read the counter back. */
	struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };
	if (l->epfd >= 0 && l->evfd >= 0 && epoll_ctl(l->epfd, EPOLL_CTL_ADD, l->evfd, &e) == 0)
		return l;
	int error = errno;
	vio_loop_free(l);
	errno = error;
	return NULL;
}

void vio_loop_free(struct vio_loop *l)
{
	if (!l)
		return;
	assert(mine != l);
	if (l->epfd >= 0)
		close(l->epfd);
	if (l->evfd >= 0)
		close(l->evfd);
	free(l);
}

bool vio_loop_is_mine(const struct vio_loop *l)
{
	return mine == l;
}

/* ---- Calls ---- */

static void wake(struct vio_loop *l)
{
	/* (B) after the call is on the stack: whoever takes asleep away also rings. */
	if (!atomic_exchange(&l->asleep, false))
		return;
	int error = errno;	/* a signal handler may come by here */
	uint64_t one = 1;
	ssize_t n = write(l->evfd, &one, sizeof one);
	(void)n;		/* EAGAIN is impossible before 2^64 wakeups */
	errno = error;
}

void vio_loop_call(struct vio_loop *l, struct vio_call *c)
{
	c->next = atomic_load_explicit(&l->calls, memory_order_relaxed);
	while (!atomic_compare_exchange_weak(&l->calls, &c->next, c))
		;
	wake(l);
}

void vio_loop_quit(struct vio_loop *l)
{
	atomic_store(&l->quit, true);
	wake(l);
}

static void run_calls(struct vio_loop *l)
{
	if (!atomic_load_explicit(&l->calls, memory_order_relaxed))
		return;
	struct vio_call *newest = atomic_exchange(&l->calls, NULL), *oldest = NULL;

	while (newest) {
		struct vio_call *next = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct vio_call *c = oldest;
		oldest = c->next;
		c->fn(c->arg);
	}
}

/* ---- Tasks ---- */

void vio_loop_task(struct vio_loop *l, struct vio_task *t)
{
	if (t->pending)
		return;
	t->pending = true;
	t->next = NULL;
	*l->tasks_end = t;
	l->tasks_end = &t->next;
}

void vio_loop_untask(struct vio_loop *l, struct vio_task *t)
{
	if (!t->pending)
		return;
	t->pending = false;
	for (struct vio_task **p = &l->running; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			return;
		}
	for (struct vio_task **p = &l->tasks; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			if (!*p)
				l->tasks_end = p;
			return;
		}
}

/* A task that adds itself again has its next turn after everybody else. */
static void run_tasks(struct vio_loop *l)
{
	l->running = l->tasks;
	l->tasks = NULL;
	l->tasks_end = &l->tasks;
	while (l->running) {
		struct vio_task *t = l->running;
		l->running = t->next;
		t->pending = false;
		t->fn(t->arg);
	}
}

/* ---- Timers ---- */

void vio_loop_untimer(struct vio_loop *l, struct vio_timer *t)
{
	if (!t->set)
		return;
	t->set = false;
	for (struct vio_timer **p = &l->timers; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			return;
		}
}

void vio_loop_timer(struct vio_loop *l, struct vio_timer *t, uint64_t at_ns)
{
	struct vio_timer **p = &l->timers;

	vio_loop_untimer(l, t);
	while (*p && (*p)->at_ns <= at_ns)
		p = &(*p)->next;
	t->at_ns = at_ns;
	t->set = true;
	t->next = *p;
	*p = t;
}

static void run_timers(struct vio_loop *l)
{
	unsigned due = 0;

	if (!l->timers)
		return;
	uint64_t now = vio_now_ns();
	for (struct vio_timer *t = l->timers; t && t->at_ns <= now; t = t->next)
		due++;
	/* Counted beforehand: a timer that sets itself to a time in the past does not keep us here. */
	while (due-- && l->timers && l->timers->at_ns <= now) {
		struct vio_timer *t = l->timers;
		l->timers = t->next;
		t->set = false;
		t->fn(t->arg);
	}
}

/* Milliseconds until the first timer, rounded up so that it is due then; -1: none. */
static int timer_ms(const struct vio_loop *l)
{
	if (!l->timers)
		return -1;
	uint64_t now = vio_now_ns();
	if (l->timers->at_ns <= now)
		return 0;
	uint64_t ms = (l->timers->at_ns - now + 999999) / 1000000;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* ---- Descriptors ---- */

bool vio_loop_watch(struct vio_loop *l, struct vio_watch *w)
{
	struct epoll_event e = { .events = w->events, .data.ptr = w };

	if (epoll_ctl(l->epfd, w->on ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, w->fd, &e) < 0)
		return false;
	w->on = true;
	return true;
}

void vio_loop_unwatch(struct vio_loop *l, struct vio_watch *w)
{
	if (!w->on)
		return;
	w->on = false;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = l->event; i < l->events; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
}

static void fetch(struct vio_loop *l, int timeout_ms)
{
	if (timeout_ms != 0) {
		/* (A) asleep first, then look: a call that is not seen here sees asleep in (B). */
		atomic_store(&l->asleep, true);
		if (atomic_load(&l->calls) || atomic_load(&l->quit))
			timeout_ms = 0;
	}
	int n = epoll_wait(l->epfd, l->batch, BATCH, timeout_ms);
	atomic_store_explicit(&l->asleep, false, memory_order_relaxed);
	l->events = n < 0 ? 0 : n;	/* EINTR: a signal, whose handler has left its word */
	for (l->event = 0; l->event < l->events;) {
		struct epoll_event *e = &l->batch[l->event++];
		struct vio_watch *w = e->data.ptr;
		if (w)
			w->ready(w, e->events);
	}
	l->event = l->events = 0;
}

/* ---- Pollers ---- */

void vio_loop_poller(struct vio_loop *l, struct vio_poller *p)
{
	if (p->on)
		return;
	p->on = true;
	p->next = l->pollers;
	l->pollers = p;
	l->idle_since = 0;
}

void vio_loop_unpoller(struct vio_loop *l, struct vio_poller *p)
{
	if (!p->on)
		return;
	p->on = false;
	if (l->next_poller == p)
		l->next_poller = p->next;
	for (struct vio_poller **at = &l->pollers; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			return;
		}
}

void vio_loop_poll_time(struct vio_loop *l, uint64_t ns)
{
	l->poll_ns = ns;
	l->idle_since = 0;
}

static bool ask(struct vio_loop *l, bool listen)
{
	bool found = false;

	for (struct vio_poller *p = l->pollers; p; p = l->next_poller) {
		l->next_poller = p->next;
		found |= listen ? p->listen(p->arg) : p->look(p->arg);
	}
	return found;
}

/* Look at all pollers once.  False: nothing found for the poll time and everyone listens: sleep. */
static bool look(struct vio_loop *l)
{
	if (ask(l, false)) {
		l->idle_since = 0;
		return true;
	}
	if (l->poll_ns == UINT64_MAX || l->rounds % CLOCK_ROUNDS)
		return true;
	uint64_t now = vio_now_ns();
	if (!l->idle_since)
		l->idle_since = now;
	if (now - l->idle_since < l->poll_ns)
		return true;
	l->idle_since = 0;
	return ask(l, true);
}

/* While polling, is it time for descriptors and timers? */
static bool fetch_due(struct vio_loop *l)
{
	if (l->rounds++ % CLOCK_ROUNDS)
		return false;
	uint64_t now = vio_now_ns();
	if (now - l->fetched < FETCH_NS)
		return false;
	l->fetched = now;
	return true;
}

/* ---- The loop ---- */

static void turn(struct vio_loop *l)
{
	bool awake = l->poll_ns && l->pollers && look(l);

	if (!awake || fetch_due(l)) {
		fetch(l, awake || l->tasks ? 0 : timer_ms(l));
		run_timers(l);
	}
	run_calls(l);
	run_tasks(l);
}

void vio_loop_run(struct vio_loop *l)
{
	const struct vio_loop *outer = mine;

	mine = l;
	while (!atomic_load_explicit(&l->quit, memory_order_relaxed))
		turn(l);
	run_calls(l);		/* what was called before the quit is still done */
	atomic_store(&l->quit, false);
	mine = outer;
}
