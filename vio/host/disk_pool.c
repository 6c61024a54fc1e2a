/*
 * Steps of a file disk in threads that wait: where io_uring is forbidden, and for the ioctls of block devices.
 *
 * One queue for all channels, behind a mutex; what is finished goes to the channel's own list and is announced to its
 * loop when that list was empty.  So there is a call under way exactly while the list is not empty, and none once
 * nothing is in flight.
 */
#include <vio/host/disk_file.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { STACK = 64 * 1024 };

struct worker { struct vio_pool *pool; pthread_t id; void *bounce; };

struct vio_pool {
	struct vio_file *file;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct vio_disk_io *first, **last;
	bool stop;
	unsigned char *bounces;		/* direct I/O: VIO_FILE_BOUNCE bytes a thread, touched only when used */
	size_t bounces_bytes;
	unsigned workers;
	struct worker worker[];
};

/* ---- In the threads ---- */

static struct vio_disk_io *take(struct vio_pool *p)
{
	struct vio_disk_io *io;

	pthread_mutex_lock(&p->lock);
	while (!(io = p->first) && !p->stop)
		pthread_cond_wait(&p->work, &p->lock);
	if (io) {
		p->first = io->next;
		if (!p->first)
			p->last = &p->first;
	}
	pthread_mutex_unlock(&p->lock);
	return io;
}

static void finish(struct vio_file_chan *c, struct vio_disk_io *io, int error)
{
	struct vio_disk_io *before = atomic_load_explicit(&c->finished, memory_order_relaxed);

	io->progress = (uint64_t)error;
	do
		io->next = before;
	while (!atomic_compare_exchange_weak(&c->finished, &before, io));
	/* From here io is the collector's. */
	if (!before)
		vio_loop_call(c->loop, &c->call);
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct vio_disk_io *io;

	while ((io = take(w->pool))) {
		struct vio_file_chan *c = io->disk_priv;
		vio_step_begin(io, true);
		finish(c, io, vio_step_all(w->pool->file, io, w->bounce));
	}
	return NULL;
}

/* ---- In the loops ---- */

void vio_pool_submit(struct vio_pool *p, struct vio_file_chan *c, struct vio_disk_io *io)
{
	io->disk_priv = c;
	io->next = NULL;
	pthread_mutex_lock(&p->lock);
	*p->last = io;
	p->last = &io->next;
	pthread_mutex_unlock(&p->lock);
	pthread_cond_signal(&p->work);
}

bool vio_pool_cancel(struct vio_pool *p, struct vio_disk_io *io)
{
	bool found = false;

	pthread_mutex_lock(&p->lock);
	for (struct vio_disk_io **at = &p->first; *at && !found; at = &(*at)->next)
		if (*at == io) {
			found = true;
			*at = io->next;
			if (!*at) {
				p->last = at;
				break;
			}
		}
	pthread_mutex_unlock(&p->lock);
	return found;
}

void vio_pool_collect(void *chan)
{
	struct vio_file_chan *c = chan;
	struct vio_disk_io *newest = atomic_exchange(&c->finished, NULL), *oldest = NULL;

	while (newest) {
		struct vio_disk_io *next = newest->next;
		newest->next = oldest;
		oldest = newest;
		newest = next;
	}
	while (oldest) {
		struct vio_disk_io *io = oldest;
		oldest = io->next;
		io->done(io, (int)io->progress);
	}
}

/* ---- Life ---- */

/* All signals are the first thread's, but for those that the processor raises: blocked, they would kill. */
static void block_signals(sigset_t *before)
{
	sigset_t all;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

static int start_workers(struct vio_pool *p, unsigned n)
{
	pthread_attr_t attr;
	sigset_t before;
	int error = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	block_signals(&before);
	for (; !error && p->workers < n; p->workers += !error) {
		struct worker *w = &p->worker[p->workers];
		w->pool = p;
		w->bounce = p->bounces ? p->bounces + (size_t)p->workers * VIO_FILE_BOUNCE : NULL;
		error = pthread_create(&w->id, &attr, run, w);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return error;
}

struct vio_pool *vio_pool_new(struct vio_file *f, unsigned threads)
{
	struct vio_pool *p = calloc(1, sizeof *p + threads * sizeof p->worker[0]);

	if (!p)
		return NULL;
	p->file = f;
	p->last = &p->first;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	int error = 0;
	if (f->direct) {
		p->bounces_bytes = (size_t)threads * VIO_FILE_BOUNCE;
		p->bounces = mmap(NULL, p->bounces_bytes, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (p->bounces == MAP_FAILED) {
			p->bounces = NULL;
			error = errno;
		}
	}
	if (!error)
		error = start_workers(p, threads);
	if (!error)
		return p;
	vio_pool_free(p);
	errno = error;
	return NULL;
}

void vio_pool_free(struct vio_pool *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_mutex_unlock(&p->lock);
	pthread_cond_broadcast(&p->work);
	for (unsigned i = 0; i < p->workers; i++)
		pthread_join(p->worker[i].id, NULL);
	if (p->bounces)
		munmap(p->bounces, p->bounces_bytes);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
