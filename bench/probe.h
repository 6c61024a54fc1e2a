/*
 * How far apart are two processors now?  Two pinned threads bounce one cache line; what is told is the time one way.
 * On virtual machines it changes within minutes, so every comparison carries this figure from before and after it.
 */
#ifndef VIO_BENCH_PROBE_H
#define VIO_BENCH_PROBE_H
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline uint64_t probe_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline void probe_pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

/* How long this thread has been ready but not run, because something else had the processor. */
static inline uint64_t probe_waited_ns(void)
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

enum { PROBE_ROUNDS = 20000, PROBE_TRIES = 5 };
struct probe { _Alignas(128) unsigned ball; char apart[128]; };

/* A thread that has been on that processor from its first instruction: its maker may spin on another. */
static inline bool probe_thread(pthread_t *t, int cpu, void *(*run)(void *arg), void *arg)
{
	pthread_attr_t a;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	pthread_attr_init(&a);
	pthread_attr_setaffinity_np(&a, sizeof set, &set);
	bool ok = pthread_create(t, &a, run, arg) == 0;
	pthread_attr_destroy(&a);
	return ok;
}

static inline void *probe_other(void *arg)
{
	struct probe *p = arg;
	for (unsigned i = 0; i < PROBE_ROUNDS; i++) {
		while (__atomic_load_n(&p->ball, __ATOMIC_ACQUIRE) != 2 * i + 1)
			;
		__atomic_store_n(&p->ball, 2 * i + 2, __ATOMIC_RELEASE);
	}
	return NULL;
}

static inline int probe_order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* The calling thread ends up on cpu a.  The median of some tries, ns one way; negative: no thread could be started. */
static inline double probe_line_ns(int a, int b)
{
	double ns[PROBE_TRIES];
	probe_pin(a);
	for (unsigned t = 0; t < PROBE_TRIES; t++) {
		struct probe p = { .ball = 0 };
		pthread_t other;
		if (!probe_thread(&other, b, probe_other, &p))
			return -1;
		uint64_t from = 0;
		for (unsigned i = 0; i < PROBE_ROUNDS; i++) {
			if (i == PROBE_ROUNDS / 4)	/* by now both run */
				from = probe_now_ns();
			__atomic_store_n(&p.ball, 2 * i + 1, __ATOMIC_RELEASE);
			while (__atomic_load_n(&p.ball, __ATOMIC_ACQUIRE) != 2 * i + 2)
				;
		}
		ns[t] = (double)(probe_now_ns() - from) / (2.0 * (PROBE_ROUNDS - PROBE_ROUNDS / 4));
		pthread_join(other, NULL);
	}
	qsort(ns, PROBE_TRIES, sizeof *ns, probe_order);
	return ns[PROBE_TRIES / 2];
}
#endif
