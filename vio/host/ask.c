/* A question to another thread's loop. */
#include <semaphore.h>
#include <vio/host/loop.h>

struct question { struct vio_call call; void (*fn)(void *arg); void *arg; sem_t answered; };

static void answer(void *arg)
{
	struct question *q = arg;
	q->fn(q->arg);
	sem_post(&q->answered);
}

void vio_loop_ask(struct vio_loop *l, void (*fn)(void *arg), void *arg)
{
	struct question q = { .fn = fn, .arg = arg };

	if (vio_loop_is_mine(l)) {
		fn(arg);
		return;
	}
	q.call = (struct vio_call){ .fn = answer, .arg = &q };
	sem_init(&q.answered, 0, 0);
	vio_loop_call(l, &q.call);
	while (sem_wait(&q.answered))
		continue;	/* a signal */
	sem_destroy(&q.answered);
}
