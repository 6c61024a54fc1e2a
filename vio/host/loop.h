/*
 * The event loop: one thread that waits for file descriptors, timers and calls from other threads (Linux, epoll).
 *
 * Everything handed to a loop (watch, call, task, timer, poller) is a struct of the caller's, which the loop links and
 * never frees.  All functions but vio_loop_call(), vio_loop_ask() and vio_loop_quit() are called in the loop's own thread (or before it
 * runs).  A turn of the loop: ready descriptors, due timers, calls, then tasks, until there are none; then sleep.
 */
#ifndef VIO_HOST_LOOP_H
#define VIO_HOST_LOOP_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

struct vio_loop;

/* NULL with errno when there are no descriptors or memory for one. */
struct vio_loop *vio_loop_new(void);
void vio_loop_free(struct vio_loop *l);
/* Runs until vio_loop_quit(), which any thread and a signal handler may call. */
void vio_loop_run(struct vio_loop *l);
void vio_loop_quit(struct vio_loop *l);
/* Is this the thread that runs l? */
bool vio_loop_is_mine(const struct vio_loop *l);

/* A file descriptor to watch.  events are EPOLLIN, EPOLLOUT...; the descriptor stays the caller's. */
struct vio_watch {
	int fd;
	uint32_t events;
	void (*ready)(struct vio_watch *w, uint32_t events);
	void *arg;
	bool on;		/* the loop's */
};
bool vio_loop_watch(struct vio_loop *l, struct vio_watch *w);	/* again: new events; false with errno */
/* After this ready is not called again, not even for an event that has been fetched already. */
void vio_loop_unwatch(struct vio_loop *l, struct vio_watch *w);

/* Run fn(arg) in the loop's thread, once.  From any thread, never blocks; the struct is free again when fn runs. */
struct vio_call { void (*fn)(void *arg); void *arg; struct vio_call *next; };
void vio_loop_call(struct vio_loop *l, struct vio_call *c);

/*
 * Run fn(arg) in the loop's thread and wait for it; at once if this is the thread.  Whoever asks must not be asked by that thread
 * meanwhile.  From any thread.
 */
void vio_loop_ask(struct vio_loop *l, void (*fn)(void *arg), void *arg);

/* Run fn(arg) before the loop sleeps.  Adding one that is pending does nothing. */
struct vio_task { void (*fn)(void *arg); void *arg; bool pending; struct vio_task *next; };
void vio_loop_task(struct vio_loop *l, struct vio_task *t);
void vio_loop_untask(struct vio_loop *l, struct vio_task *t);

/* Once, at or soon after at_ns (CLOCK_MONOTONIC).  Setting one that is set moves it. */
struct vio_timer { void (*fn)(void *arg); void *arg; uint64_t at_ns; bool set; struct vio_timer *next; };
void vio_loop_timer(struct vio_loop *l, struct vio_timer *t, uint64_t at_ns);
void vio_loop_untimer(struct vio_loop *l, struct vio_timer *t);
uint64_t vio_now_ns(void);

/*
 * Something to look at again and again instead of sleeping.  look() returns true when it found work.  When no poller
 * found any for the loop's poll time, listen() of each is called, which asks to be told; true: there is something, look
 * again.
 */
struct vio_poller { bool (*look)(void *arg); bool (*listen)(void *arg); void *arg; bool on; struct vio_poller *next; };
void vio_loop_poller(struct vio_loop *l, struct vio_poller *p);
void vio_loop_unpoller(struct vio_loop *l, struct vio_poller *p);
/* How long pollers look before the loop sleeps; 0: they are not asked at all.  UINT64_MAX: it never sleeps. */
void vio_loop_poll_time(struct vio_loop *l, uint64_t ns);

/* A thread that runs a loop of its own until vio_thread_stop(). */
struct vio_thread;
struct vio_thread *vio_thread_start(const char *name);	/* NULL with errno */
struct vio_loop *vio_thread_loop(struct vio_thread *t);
void vio_thread_stop(struct vio_thread *t);
VIO_END_DECLS
#endif
