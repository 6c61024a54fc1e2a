/* A thread that runs a loop. */
#include <vio/host/loop.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { STACK = 256 * 1024 };

struct vio_thread {
	struct vio_loop *loop;
	pthread_t id;
};

static void *run(void *arg)
{
	struct vio_thread *t = arg;

	vio_loop_run(t->loop);
	return NULL;
}

/* Signals are the first thread's, but for those that the processor raises: blocked, they would kill. */
static void block_signals(sigset_t *before)
{
	static const int ours[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
	sigset_t all;

	sigfillset(&all);
	for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
		sigdelset(&all, ours[i]);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

struct vio_thread *vio_thread_start(const char *name)
{
	struct vio_thread *t = calloc(1, sizeof *t);
	pthread_attr_t attr;
	sigset_t before;

	if (!t || !(t->loop = vio_loop_new())) {
		free(t);
		return NULL;
	}
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	block_signals(&before);
	int error = pthread_create(&t->id, &attr, run, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (error) {
		vio_loop_free(t->loop);
		free(t);
		errno = error;
		return NULL;
	}
	pthread_setname_np(t->id, name);
	return t;
}

struct vio_loop *vio_thread_loop(struct vio_thread *t)
{
	return t->loop;
}

void vio_thread_stop(struct vio_thread *t)
{
	if (!t)
		return;
	vio_loop_quit(t->loop);
	pthread_join(t->id, NULL);
	vio_loop_free(t->loop);
	free(t);
}
