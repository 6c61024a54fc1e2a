/*
 * The load.  A turn takes what has finished, counts it, submits as many again, and asks once whether a kick is due: that
 * costs a fence, which would otherwise be the most expensive part of a request.  The clock is read once a turn.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "bench.h"

enum { IDLE_LOOKS = 1 << 16 };		/* empty looks between two looks at the clock and the stop flag */

void bench_pin(const struct bench_worker *w)
{
	cpu_set_t set;
	if (w->cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)w->cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

uint64_t bench_waited_ns(void)
{
	unsigned long long ran = 0, waited = 0;
	FILE *f = fopen("/proc/thread-self/schedstat", "r");
	if (!f)
		return 0;
	if (fscanf(f, "%llu %llu", &ran, &waited) != 2)
		waited = 0;
	fclose(f);
	return waited;
}

static bool gone(const struct bench_worker *w)
{
	return __atomic_load_n(w->stop, __ATOMIC_RELAXED) || w->q->broken;
}

bool bench_wait(struct bench_worker *w, struct pollfd *call, uint32_t *idle)
{
	struct vio_drvq *q = w->q;
	uint64_t times;

	if (!w->o->irq)
		return ++*idle % IDLE_LOOKS != 0 || !gone(w);
	if (!vio_drvq_listen(q) && poll(call, 1, 100) > 0 && read(call->fd, &times, sizeof times) < 0)
		return !gone(w);	/* EAGAIN: somebody was faster */
	vio_drvq_quiet(q);
	return !gone(w);
}

void bench_end(struct bench_worker *w)
{
	w->lost = w->inflight;
	if (w->q->broken && !w->first_error[0])
		snprintf(w->first_error, sizeof w->first_error, "queue %u is broken: %s", w->queue, w->q->broken);
	__atomic_sub_fetch(w->running, 1, __ATOMIC_RELEASE);
}

static void note_error(struct bench_worker *w, const struct vio_blk_request *r)
{
	if (w->errors++ == 0)
		snprintf(w->first_error, sizeof w->first_error, "sector %llu: status %u", (unsigned long long)r->sector, r->status);
}

static inline void submit(struct bench_worker *w, struct vio_blk_request *r, uint64_t now)
{
	enum bench_rw rw = w->o->rw;
	uint64_t block;

	if (rw == BENCH_RANDREAD || rw == BENCH_RANDWRITE) {
		block = bench_random(w, w->blocks);
	} else {
		block = w->next_block++;
		if (w->next_block == w->blocks)
			w->next_block = 0;
	}
	r->sector = (w->first_block + block) * (w->o->bs / VIO_BLK_SECTOR);
	r->data = bench_buffer(w, (uint32_t)(r - w->request));
	r->cookie = (void *)(uintptr_t)now;
	if (vio_blk_submit(w->blk, w->queue, r))
		w->inflight++;
	else
		note_error(w, r);
}

static inline void finish(struct bench_worker *w, const struct vio_blk_request *r, uint64_t now)
{
	bench_count(w, now - (uintptr_t)r->cookie);
	if (r->status != VIO_BLK_S_OK)
		note_error(w, r);
}

/* What has finished, taken, counted and, while more, replaced by as much again.  Returns how many. */
static uint32_t turn(struct bench_worker *w, uint64_t *now, bool more)
{
	struct vio_blk_request *r = vio_blk_poll(w->blk, w->queue);
	uint32_t n = 0;

	if (!r)
		return 0;
	*now = bench_ticks();
	do {
		finish(w, r, *now);
		if (more)
			submit(w, r, *now);
		n++;
	} while (n < w->o->qd && (r = vio_blk_poll(w->blk, w->queue)));
	if (more)
		vio_blk_kick(w->blk, w->queue);
	return n;
}

static void submit_first(struct bench_worker *w, uint32_t i, uint64_t now) { submit(w, &w->request[i], now); }
static void kick(struct bench_worker *w) { vio_blk_kick(w->blk, w->queue); }

void bench_blk_prepare(struct bench_worker *w)
{
	w->q = &w->blk->q[w->queue];
	w->vq = w->queue;
	w->turn = turn;
	w->submit = submit_first;
	w->kick = kick;
}

/* ---- Whatever the device ---- */

static void run(struct bench_worker *w, struct pollfd *call, uint64_t until, uint64_t *now)
{
	uint32_t idle = 0;
	while (*now < until) {
		if (w->turn(w, now, true))
			continue;
		if (!bench_wait(w, call, &idle))
			return;
		if (w->o->irq || idle % IDLE_LOOKS == 0)
			*now = bench_ticks();
	}
}

static void drain(struct bench_worker *w, struct pollfd *call)
{
	uint64_t deadline = bench_ticks() + w->run_ticks + w->warm_ticks * 50, now = 0;
	uint32_t idle = 0;
	while (w->inflight && now < deadline) {
		if (w->turn(w, &now, false))
			continue;
		if (!bench_wait(w, call, &idle))
			return;
		now = bench_ticks();
	}
}

void *bench_load(void *arg)
{
	struct bench_worker *w = arg;
	struct pollfd call = { .fd = vio_vhost_call_fd(w->front, w->vq), .events = POLLIN };
	uint64_t now, from;

	bench_pin(w);
	vio_drvq_quiet(w->q);
	now = from = bench_ticks();
	for (uint32_t i = 0; i < w->o->qd; i++)
		w->submit(w, i, now);
	w->kick(w);
	run(w, &call, from + w->warm_ticks, &now);

	w->ops = w->max_ticks = 0;		/* what was counted while caches and page tables were cold */
	memset(w->histogram, 0, sizeof w->histogram);
	w->waited_ns = bench_waited_ns();
	from = now = bench_ticks();
	run(w, &call, from + w->run_ticks, &now);
	w->ticks = now - from;
	w->waited_ns = bench_waited_ns() - w->waited_ns;
	uint64_t ops = w->ops;
	drain(w, &call);
	w->ops = ops;
	bench_end(w);
	return NULL;
}
