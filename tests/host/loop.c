/* The event loop: what comes when, and what never comes. */
#include <vio/host/loop.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <tests/test.h>

#define MS 1000000u

static void quit_loop(void *arg) { vio_loop_quit(arg); }

/* Notes what was run, in order. */
static char trace[64];
static void note(void *arg)
{
	size_t n = strlen(trace);

	if (n + 1 < sizeof trace)
		trace[n] = *(const char *)arg;
}
static void trace_clear(void) { memset(trace, 0, sizeof trace); }

static struct vio_loop *new_loop(void)
{
	struct vio_loop *l = vio_loop_new();

	assert_non_null(l);
	trace_clear();
	return l;
}

static void run_for(struct vio_loop *l, uint64_t ns)
{
	struct vio_timer end = { .fn = quit_loop, .arg = l };

	vio_loop_timer(l, &end, vio_now_ns() + ns);
	vio_loop_run(l);
	vio_loop_untimer(l, &end);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Calls ---- */

enum { CALLERS = 4, CALLS = 5000 };
struct caller;
struct numbered { struct vio_call call; struct caller *from; unsigned number; };
struct caller {
	pthread_t thread;
	struct vio_loop *loop;
	unsigned next;			/* number that must come next; the loop's thread alone */
	unsigned *total;
	struct numbered call[CALLS];
};

static void take_numbered(void *arg)
{
	struct numbered *n = arg;

	assert_true(vio_loop_is_mine(n->from->loop));
	assert_int_equal(n->number, n->from->next++);
	if (++*n->from->total == CALLERS * CALLS)
		vio_loop_quit(n->from->loop);
}

static void *call_many(void *arg)
{
	struct caller *c = arg;

	assert_false(vio_loop_is_mine(c->loop));
	for (unsigned i = 0; i < CALLS; i++) {
		c->call[i] = (struct numbered){ { .fn = take_numbered, .arg = &c->call[i] }, c, i };
		vio_loop_call(c->loop, &c->call[i].call);
		if (i % 64 == 0)
			usleep(50);	/* let it fall asleep: the wakeup is what is tested */
	}
	return NULL;
}

static void calls_come_once(void **state)
{
	struct vio_loop *l = new_loop();
	struct caller *c = calloc(CALLERS, sizeof *c);
	unsigned total = 0;

	(void)state;
	for (unsigned i = 0; i < CALLERS; i++) {
		c[i].loop = l;
		c[i].total = &total;
		pthread_create(&c[i].thread, NULL, call_many, &c[i]);
	}
	vio_loop_run(l);
	for (unsigned i = 0; i < CALLERS; i++)
		pthread_join(c[i].thread, NULL);
	assert_int_equal(total, CALLERS * CALLS);
	free(c);
	vio_loop_free(l);
}

struct again { struct vio_call call; struct vio_loop *loop; unsigned left; };
static void call_again(void *arg)
{
	struct again *a = arg;

	if (a->left-- == 0)
		vio_loop_quit(a->loop);
	else
		vio_loop_call(a->loop, &a->call);
}

static void a_call_is_free_when_it_runs(void **state)
{
	struct vio_loop *l = new_loop();
	struct again a = { { call_again, &a, NULL }, l, 1000 };

	(void)state;
	vio_loop_call(l, &a.call);
	vio_loop_run(l);
	assert_int_equal(a.left, -1u);
	vio_loop_free(l);
}

static struct vio_loop *signalled;
static void on_signal(int n)
{
	(void)n;
	vio_loop_quit(signalled);
}

static void a_signal_handler_may_quit(void **state)
{
	struct vio_loop *l = new_loop();
	struct sigaction action = { .sa_handler = on_signal }, old;
	timer_t timer;
	struct itimerspec soon = { .it_value.tv_nsec = 20 * MS };

	(void)state;
	signalled = l;
	sigaction(SIGALRM, &action, &old);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0);
	timer_settime(timer, 0, &soon, NULL);
	vio_loop_run(l);
	timer_delete(timer);
	sigaction(SIGALRM, &old, NULL);
	vio_loop_free(l);
}

static void a_quit_before_the_run_counts(void **state)
{
	struct vio_loop *l = new_loop();
	struct vio_call c = { note, "c", NULL };

	(void)state;
	vio_loop_call(l, &c);
	vio_loop_quit(l);
	vio_loop_run(l);
	assert_string_equal(trace, "c");
	run_for(l, MS);		/* and it can run again */
	vio_loop_free(l);
}

static void note_thread(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
}

static void a_thread_runs_what_it_was_called_with(void **state)
{
	atomic_bool ran = false;
	struct vio_call c = { note_thread, &ran, NULL };
	struct vio_thread *t = vio_thread_start("test");

	(void)state;
	assert_non_null(t);
	vio_loop_call(vio_thread_loop(t), &c);
	vio_thread_stop(t);
	assert_true(ran);
}

/* ---- Timers ---- */

static void timers_come_in_order(void **state)
{
	struct vio_loop *l = new_loop();
	uint64_t t0 = vio_now_ns() + 5 * MS;
	struct vio_timer a = { .fn = note, .arg = "a" }, b = { .fn = note, .arg = "b" }, c = { .fn = note, .arg = "c" },
	    d = { .fn = note, .arg = "d" };

	(void)state;
	vio_loop_timer(l, &c, t0 + 3 * MS);
	vio_loop_timer(l, &a, t0);
	vio_loop_timer(l, &b, t0);		/* same time: in the order they were set */
	vio_loop_timer(l, &d, t0 - 1 * MS);
	vio_loop_timer(l, &d, t0 + 9 * MS);	/* moved */
	run_for(l, 60 * MS);
	assert_string_equal(trace, "abcd");
	assert_true(vio_now_ns() >= t0 + 9 * MS);
	assert_false(d.set);
	vio_loop_free(l);
}

struct stop_other { struct vio_timer timer, other; struct vio_loop *loop; };
static void stop_other(void *arg)
{
	struct stop_other *s = arg;

	vio_loop_untimer(s->loop, &s->other);
}

static void a_due_timer_can_be_stopped_by_another(void **state)
{
	struct vio_loop *l = new_loop();
	struct stop_other s = { { .fn = stop_other, .arg = &s }, { .fn = note, .arg = "x" }, l };

	(void)state;
	vio_loop_timer(l, &s.timer, 1);
	vio_loop_timer(l, &s.other, 2);
	run_for(l, 5 * MS);
	assert_string_equal(trace, "");
	vio_loop_free(l);
}

struct busy { struct vio_timer timer; struct vio_task task; struct vio_loop *loop; unsigned long n; };
static void busy_timer(void *arg)
{
	struct busy *b = arg;

	b->n++;
	vio_loop_timer(b->loop, &b->timer, 1);
}
static void busy_task(void *arg)
{
	struct busy *b = arg;

	b->n++;
	vio_loop_task(b->loop, &b->task);
}

struct fd { struct vio_watch watch; struct vio_loop *loop; struct fd *other; unsigned ready; };
static void on_ready(struct vio_watch *w, uint32_t events)
{
	struct fd *f = (struct fd *)w;

	assert_true(events & (EPOLLIN | EPOLLOUT));
	f->ready++;
	if (f->other)
		vio_loop_unwatch(f->loop, &f->other->watch);
	else
		vio_loop_quit(f->loop);
}

static void fd_open(struct fd *f, struct vio_loop *l, unsigned value)
{
	*f = (struct fd){ .watch = { .fd = eventfd(value, EFD_CLOEXEC), .events = EPOLLIN, .ready = on_ready }, .loop = l };
	assert_true(f->watch.fd >= 0);
	assert_true(vio_loop_watch(l, &f->watch));
}

static void fd_close(struct fd *f)
{
	vio_loop_unwatch(f->loop, &f->watch);
	close(f->watch.fd);
}

static void nobody_starves_descriptors(void **state)
{
	struct vio_loop *l = new_loop();
	struct busy t = { .timer = { .fn = busy_timer, .arg = &t }, .loop = l };
	struct busy k = { .task = { .fn = busy_task, .arg = &k }, .loop = l };
	struct fd f;

	(void)state;
	fd_open(&f, l, 1);
	vio_loop_timer(l, &t.timer, 1);
	vio_loop_task(l, &k.task);
	vio_loop_run(l);	/* ends by f's quit alone */
	assert_int_equal(f.ready, 1);
	fd_close(&f);
	vio_loop_untimer(l, &t.timer);
	vio_loop_untask(l, &k.task);
	vio_loop_free(l);
}

/* ---- Descriptors ---- */

static void unwatched_means_never_called(void **state)
{
	struct vio_loop *l = new_loop();
	struct fd a, b;

	(void)state;
	fd_open(&a, l, 1);
	fd_open(&b, l, 1);
	a.other = &b;		/* both are ready: whoever comes first unwatches the other, then itself stays ready */
	b.other = &a;
	run_for(l, 3 * MS);
	assert_true(a.ready == 0 || b.ready == 0);
	assert_true(a.ready + b.ready > 0);
	fd_close(&a);
	fd_close(&b);
	vio_loop_free(l);
}

static void watching_again_changes_events(void **state)
{
	struct vio_loop *l = new_loop();
	struct fd a;

	(void)state;
	fd_open(&a, l, 0);
	run_for(l, 3 * MS);
	assert_int_equal(a.ready, 0);
	a.watch.events = EPOLLOUT;
	assert_true(vio_loop_watch(l, &a.watch));
	vio_loop_run(l);
	assert_int_equal(a.ready, 1);
	fd_close(&a);
	vio_loop_free(l);
}

static void a_file_cannot_be_watched(void **state)
{
	struct vio_loop *l = new_loop();
	char name[] = "/tmp/vio-loop-XXXXXX";
	struct vio_watch w = { .fd = mkstemp(name), .events = EPOLLIN, .ready = on_ready };

	(void)state;
	unlink(name);
	assert_false(vio_loop_watch(l, &w));
	assert_false(w.on);
	vio_loop_unwatch(l, &w);
	close(w.fd);
	vio_loop_free(l);
}

/* ---- Tasks ---- */

static void tasks_come_in_order(void **state)
{
	struct vio_loop *l = new_loop();
	struct vio_task a = { .fn = note, .arg = "a" }, b = { .fn = note, .arg = "b" }, c = { .fn = note, .arg = "c" };

	(void)state;
	vio_loop_task(l, &a);
	vio_loop_task(l, &b);
	vio_loop_task(l, &c);
	vio_loop_task(l, &a);		/* pending: nothing changes */
	vio_loop_untask(l, &c);
	vio_loop_task(l, &c);
	vio_loop_untask(l, &b);
	run_for(l, 2 * MS);
	assert_string_equal(trace, "ac");
	vio_loop_free(l);
}

struct pair { struct vio_task first, second; struct vio_loop *loop; };
static void take_back(void *arg)
{
	struct pair *p = arg;

	vio_loop_untask(p->loop, &p->second);
}

static void a_task_can_take_back_the_next(void **state)
{
	struct vio_loop *l = new_loop();
	struct pair p = { { .fn = take_back, .arg = &p }, { .fn = note, .arg = "x" }, l };

	(void)state;
	vio_loop_task(l, &p.first);
	vio_loop_task(l, &p.second);
	run_for(l, 2 * MS);
	assert_string_equal(trace, "");
	vio_loop_task(l, &p.second);	/* the list is still whole */
	run_for(l, 2 * MS);
	assert_string_equal(trace, "x");
	vio_loop_free(l);
}

/* ---- Pollers ---- */

struct looker {
	struct vio_poller poller;
	struct vio_loop *loop;
	unsigned long looks, listens;
	unsigned long work;		/* looks that find something */
	unsigned surprises;		/* listens that find something */
	struct looker *drop;		/* is taken out by each look */
};

static bool look(void *arg)
{
	struct looker *k = arg;

	k->looks++;
	if (k->drop)
		vio_loop_unpoller(k->loop, &k->drop->poller);
	if (!k->work)
		return false;
	k->work--;
	return true;
}

static bool listen_(void *arg)
{
	struct looker *k = arg;

	k->listens++;
	if (!k->surprises)
		return false;
	k->surprises--;
	return true;
}

static void looker_on(struct looker *k, struct vio_loop *l)
{
	k->loop = l;
	k->poller = (struct vio_poller){ .look = look, .listen = listen_, .arg = k };
	vio_loop_poller(l, &k->poller);
}

static void a_poller_looks_then_listens(void **state)
{
	struct vio_loop *l = new_loop();
	struct looker k = { .work = 100 };

	(void)state;
	looker_on(&k, l);
	vio_loop_poll_time(l, 2 * MS);
	uint64_t cpu = cpu_ns();
	run_for(l, 60 * MS);
	cpu = cpu_ns() - cpu;
	assert_int_equal(k.work, 0);
	assert_true(k.looks > 101);		/* it went on looking though there was nothing */
	assert_in_range(k.listens, 1, 3);	/* then slept; the timer at the end may have had it look once more */
	assert_true(cpu < 30 * MS);
	vio_loop_unpoller(l, &k.poller);
	vio_loop_free(l);
}

static void a_surprise_keeps_it_awake(void **state)
{
	struct vio_loop *l = new_loop();
	struct looker k = { .surprises = 3 };

	(void)state;
	looker_on(&k, l);
	vio_loop_poll_time(l, MS / 10);
	run_for(l, 50 * MS);
	assert_int_equal(k.surprises, 0);
	assert_true(k.listens >= 4);
	vio_loop_unpoller(l, &k.poller);
	vio_loop_free(l);
}

static void without_poll_time_nobody_is_asked(void **state)
{
	struct vio_loop *l = new_loop();
	struct looker k = { .work = 1 };

	(void)state;
	looker_on(&k, l);
	uint64_t cpu = cpu_ns();
	run_for(l, 50 * MS);
	assert_true(cpu_ns() - cpu < 10 * MS);
	assert_int_equal(k.looks + k.listens, 0);
	vio_loop_unpoller(l, &k.poller);
	vio_loop_free(l);
}

static void control_gets_in_while_polling(void **state)
{
	struct vio_loop *l = new_loop();
	struct looker k = { .work = ULONG_MAX };
	struct fd f;

	(void)state;
	looker_on(&k, l);
	vio_loop_poll_time(l, UINT64_MAX);
	fd_open(&f, l, 1);
	vio_loop_run(l);	/* ends by f's quit alone */
	assert_int_equal(k.listens, 0);
	fd_close(&f);
	run_for(l, 2 * MS);	/* timers too */
	vio_loop_unpoller(l, &k.poller);
	vio_loop_free(l);
}

static void pollers_may_leave_during_a_look(void **state)
{
	struct vio_loop *l = new_loop();
	struct looker a = { .work = 1 }, b = { .work = 1 }, c = { .work = 1 }, d = { .work = 1 };

	(void)state;
	looker_on(&d, l);		/* asked last */
	looker_on(&c, l);
	looker_on(&b, l);
	looker_on(&a, l);
	a.drop = &a;
	b.drop = &c;
	vio_loop_poll_time(l, MS);
	run_for(l, 10 * MS);
	assert_int_equal(a.looks, 1);
	assert_true(b.looks > 1);
	assert_int_equal(c.looks, 0);
	assert_true(d.looks > 1);
	vio_loop_unpoller(l, &b.poller);
	vio_loop_unpoller(l, &d.poller);
	vio_loop_free(l);
}

static void an_idle_loop_uses_no_time(void **state)
{
	struct vio_loop *l = new_loop();

	(void)state;
	uint64_t cpu = cpu_ns();
	run_for(l, 100 * MS);
	assert_true(cpu_ns() - cpu < 2 * MS);
	vio_loop_free(l);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(calls_come_once, "calls from four threads come once each, in each caller's order, in the loop's thread"),
		T(a_call_is_free_when_it_runs, "a call can be made again from inside itself"),
		T(a_signal_handler_may_quit, "a signal handler may end a loop that sleeps"),
		T(a_quit_before_the_run_counts, "a quit before the run is not lost, nor is the call made before it"),
		T(a_thread_runs_what_it_was_called_with, "a thread that is stopped at once has run the call made before"),
		T(timers_come_in_order, "timers come in order of time, equal ones as set, a moved one at its new time"),
		T(a_due_timer_can_be_stopped_by_another, "a timer that is due can still be stopped by an earlier one"),
		T(nobody_starves_descriptors, "timers and tasks that renew themselves do not starve descriptors"),
		T(unwatched_means_never_called, "after unwatch ready is not called, even if its event was fetched"),
		T(watching_again_changes_events, "watching a descriptor again changes its events"),
		T(a_file_cannot_be_watched, "a descriptor that cannot be watched is refused and leaves nothing behind"),
		T(tasks_come_in_order, "tasks run once, in order, but for those taken back"),
		T(a_task_can_take_back_the_next, "a task can take back the one that would come next"),
		T(a_poller_looks_then_listens, "a poller looks for the poll time, then listens, and the loop sleeps"),
		T(a_surprise_keeps_it_awake, "when listen finds something, looking goes on"),
		T(without_poll_time_nobody_is_asked, "without poll time pollers are not asked, and no time is used"),
		T(control_gets_in_while_polling, "descriptors and timers get in while a poller finds work for ever"),
		T(pollers_may_leave_during_a_look,
		    "a poller may take itself or the next one out while it looks, and the others go on"),
		T(an_idle_loop_uses_no_time, "a loop with nothing to do uses no processor time"),
	};
	return vio_tests("host-loop", tests, sizeof tests / sizeof *tests);
}
