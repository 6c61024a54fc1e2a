/*
 * Threads of a host tree, for what may wait.
 *
 * One queue for all channels, behind a mutex; what is finished goes to the channel's own list and is announced to its
 * loop when that list was empty (as in disk_pool.c).  Each thread has a file system state of its own: its umask is the
 * request's, its working directory is /proc/self/fd, where a descriptor's number is a path to what it is.
 *
 * The threads also close descriptors, when they have nothing else to do.
 */
#include <vio/host/tree_host.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STACK = 128 * 1024 };
enum { CLOSING = 1024 };

struct vio_tree_pool {
	struct vio_host_tree *tree;
	pthread_mutex_t lock;
	pthread_cond_t work, ready;
	struct vio_tree_req *first, **last;
	int closing[CLOSING];
	unsigned to_close;
	bool stop, failed;
	unsigned workers, begun, idle;
	pthread_t worker[];
};

/* ---- In the threads ---- */

/* The next request, or descriptors to close instead (*n of them); neither: it is over. */
static struct vio_tree_req *take(struct vio_tree_pool *p, int fds[16], unsigned *n)
{
	struct vio_tree_req *r;

	*n = 0;
	pthread_mutex_lock(&p->lock);
	p->idle++;
	while (!(r = p->first) && !p->to_close && !p->stop)
		pthread_cond_wait(&p->work, &p->lock);
	p->idle--;
	if (r) {
		p->first = r->next;
		if (!p->first)
			p->last = &p->first;
	} else {
		while (p->to_close && *n < 16)
			fds[(*n)++] = p->closing[--p->to_close];
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

static void begin(struct vio_tree_pool *p, bool good)
{
	pthread_mutex_lock(&p->lock);
	p->begun++;
	p->failed |= !good;
	pthread_cond_signal(&p->ready);
	pthread_mutex_unlock(&p->lock);
}

static void *run(void *arg)
{
	struct vio_tree_pool *p = arg;
	int fds[16];

	bool good = !unshare(CLONE_FS) && !fchdir(p->tree->proc_fd);
	umask(0);
	begin(p, good);
	for (;;) {
		unsigned n;
		struct vio_tree_req *r = take(p, fds, &n);
		if (!r && !n)
			return NULL;
		for (unsigned i = 0; i < n; i++)
			close(fds[i]);
		if (!r)
			continue;
		int error = vio_tree_run(p->tree, r, true);
		if (error != VIO_TREE_LATER)
			vio_tree_finish(r, error);
	}
}

/* ---- In the loops ---- */

void vio_tree_pool_submit(struct vio_tree_pool *p, struct vio_tree_req *r)
{
	r->next = NULL;
	pthread_mutex_lock(&p->lock);
	*p->last = r;
	p->last = &r->next;
	bool idle = p->idle > 0;
	pthread_mutex_unlock(&p->lock);
	if (idle)
		pthread_cond_signal(&p->work);
}

bool vio_tree_pool_cancel(struct vio_tree_pool *p, struct vio_tree_req *r)
{
	bool found = false;

	pthread_mutex_lock(&p->lock);
	for (struct vio_tree_req **at = &p->first; *at && !found;)
		if (*at == r) {
			found = true;
			*at = r->next;
			if (!*at)
				p->last = at;
		} else {
			at = &(*at)->next;
		}
	pthread_mutex_unlock(&p->lock);
	return found;
}

void vio_tree_pool_close(struct vio_tree_pool *p, int fd)
{
	bool room = false, idle = false;

	if (p) {
		pthread_mutex_lock(&p->lock);
		room = p->to_close < CLOSING && !p->stop;
		if (room)
			p->closing[p->to_close++] = fd;
		idle = room && p->idle > 0 && p->to_close == 1;
		pthread_mutex_unlock(&p->lock);
	}
	if (!room)
		close(fd);
	else if (idle)
		pthread_cond_signal(&p->work);
}

/* ---- Life ---- */

/* All signals are the first thread's, but for those that the processor raises: blocked, they would kill. */
void vio_tree_block_signals(sigset_t *before)
{
	static const int ours[] = { SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGSYS };
	sigset_t all;

	sigfillset(&all);
	for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
		sigdelset(&all, ours[i]);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

struct vio_tree_pool *vio_tree_pool_new(struct vio_host_tree *t, unsigned threads)
{
	struct vio_tree_pool *p = calloc(1, sizeof *p + threads * sizeof p->worker[0]);
	pthread_attr_t attr;
	sigset_t before;
	int error = 0;

	if (!p)
		return NULL;
	p->tree = t;
	p->last = &p->first;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->ready, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	vio_tree_block_signals(&before);
	for (; !error && p->workers < threads; p->workers += !error)
		error = pthread_create(&p->worker[p->workers], &attr, run, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	/* What a thread does to begin with is forbidden once the process is confined, which may be soon. */
	pthread_mutex_lock(&p->lock);
	while (p->begun < p->workers)
		pthread_cond_wait(&p->ready, &p->lock);
	if (p->failed)
		error = EPERM;
	pthread_mutex_unlock(&p->lock);
	if (!error)
		return p;
	vio_tree_pool_free(p);
	errno = error;
	return NULL;
}

void vio_tree_pool_free(struct vio_tree_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_mutex_unlock(&p->lock);
	pthread_cond_broadcast(&p->work);
	for (unsigned i = 0; i < p->workers; i++)
		pthread_join(p->worker[i], NULL);
	while (p->to_close)
		close(p->closing[--p->to_close]);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->ready);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
