/*
 * Locks, shared with the host and with other guests.
 *
 * BSD locks belong to an open file, and so does ours: flock(2) on the handle's descriptor.  POSIX locks belong to a process of
 * the guest (an owner) and a file: each such pair has an open file of its own, whose OFD locks they are, and which is closed
 * when the owner closes the file (FLUSH), as POSIX wants it.
 *
 * A lock that cannot be had at once is waited for by one of a few threads, in the kernel; more requests than threads wait in a list and
 * try again whenever something was unlocked here.  A signal ends a thread's waiting; since one that comes just before the
 * system call is not noticed, the canceller sends it again until it was heard.
 */
#include <vio/host/tree_host.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { STACK = 64 * 1024, BUCKETS = 256 };
enum { HOLDERS = 64 };			/* owners of a file that are asked whether a lock is theirs */
enum { WAKE_SIGNAL = SIGURG };		/* which means nothing to anybody by itself */

struct owner {
	struct owner *next;
	uint64_t node, owner;
	int fd;
	uint32_t pid;			/* of who locked last, by the guest's numbers */
	unsigned refs;			/* requests; one more while it is in the table */
};

struct wait {
	struct wait *next;
	struct vio_tree_req *req;
	uint64_t unique;
	struct owner *owner;		/* POSIX, */
	struct vio_open *open;		/* or BSD */
	bool busy;			/* a thread has it */
	bool cancelled;
	pthread_t thread;		/* which waits in the kernel, if waits */
	bool waits;
};

struct vio_locks {
	struct vio_host_tree *tree;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct owner *bucket[BUCKETS];
	unsigned owners;
	struct wait *first, **last;
	unsigned waiting, unattended;
	bool stop;
	unsigned threads;
	pthread_t thread[VIO_TREE_WAITERS];
};

/* ---- Owners ---- */

static struct owner **place(struct vio_locks *l, uint64_t node, uint64_t owner)
{
	uint64_t h = (node * 31 + owner) * UINT64_C(0x9e3779b97f4a7c15);
	struct owner **at = &l->bucket[(h >> 32) % BUCKETS];

	while (*at && ((*at)->node != node || (*at)->owner != owner))
		at = &(*at)->next;
	return at;
}

static void put(struct vio_locks *l, struct owner *o)
{
	pthread_mutex_lock(&l->lock);
	bool last = --o->refs == 0;
	pthread_mutex_unlock(&l->lock);
	if (!last)
		return;
	close(o->fd);
	free(o);
}

/* Referenced, or NULL. */
static struct owner *find(struct vio_locks *l, uint64_t node, uint64_t owner)
{
	pthread_mutex_lock(&l->lock);
	struct owner *o = *place(l, node, owner);
	if (o)
		o->refs++;
	pthread_mutex_unlock(&l->lock);
	return o;
}

/* The file again, with as much access as there is: a lock to write needs a descriptor that may. */
static int open_to_lock(struct vio_host_tree *t, uint64_t id)
{
	int fd, error;
	struct vio_node *n = vio_node_use(t, id, true, &fd, &error);

	if (!n)
		return -error;
	int file = n->type != S_IFREG ? -EBADF : t->o.read_only ? -EROFS : vio_node_open(t, n, fd, O_RDWR | O_NONBLOCK);
	if (file < 0 && n->type == S_IFREG)
		file = vio_node_open(t, n, fd, O_RDONLY | O_NONBLOCK);
	vio_node_done(t, n);
	return file;
}

static struct owner *find_or_make(struct vio_locks *l, uint64_t node, uint64_t owner, int *error)
{
	struct owner *o = find(l, node, owner);

	if (o)
		return o;
	struct owner *fresh = calloc(1, sizeof *fresh);
	int fd = fresh ? open_to_lock(l->tree, node) : -ENOMEM;
	if (fd < 0) {
		free(fresh);
		*error = -fd;
		return NULL;
	}
	*fresh = (struct owner){ .node = node, .owner = owner, .fd = fd, .refs = 2 };
	pthread_mutex_lock(&l->lock);
	struct owner **at = place(l, node, owner);
	o = *at;
	if (o) {
		o->refs++;
	} else if (l->owners < l->tree->o.max_lock_owners) {
		o = *at = fresh;
		fresh = NULL;
		l->owners++;
	}
	pthread_mutex_unlock(&l->lock);
	if (fresh) {
		close(fd);
		free(fresh);
	}
	*error = ENOLCK;
	return o;
}

void vio_locks_drop(struct vio_locks *l, uint64_t node, uint64_t owner)
{
	pthread_mutex_lock(&l->lock);
	struct owner **at = place(l, node, owner), *o = *at;
	if (o) {
		*at = o->next;
		l->owners--;
	}
	pthread_mutex_unlock(&l->lock);
	if (!o)
		return;
	/* Whoever waits for another lock of this owner holds the file open; what it has goes now. */
	struct flock all = { .l_type = F_UNLCK, .l_whence = SEEK_SET };
	fcntl(o->fd, F_OFD_SETLK, &all);
	put(l, o);
	vio_locks_retry(l);
}

bool vio_locks_any(struct vio_locks *l, uint64_t node, uint64_t owner)
{
	pthread_mutex_lock(&l->lock);
	bool any = *place(l, node, owner) != NULL;
	pthread_mutex_unlock(&l->lock);
	return any;
}

uint32_t vio_locks_owners(struct vio_locks *l)
{
	pthread_mutex_lock(&l->lock);
	uint32_t n = l->owners;
	pthread_mutex_unlock(&l->lock);
	return n;
}

void vio_locks_forget_all(struct vio_locks *l)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (;;) {
			pthread_mutex_lock(&l->lock);
			uint64_t node = l->bucket[i] ? l->bucket[i]->node : 0, owner = node ? l->bucket[i]->owner : 0;
			pthread_mutex_unlock(&l->lock);
			if (!node)
				break;
			vio_locks_drop(l, node, owner);
		}
}

/* ---- Trying ---- */

static bool range_of(const struct vio_tree_lock *k, struct flock *f)
{
	if (k->type != F_RDLCK && k->type != F_WRLCK && k->type != F_UNLCK)
		return false;
	if (k->start > k->end || k->start > INT64_MAX)
		return false;
	*f = (struct flock){ .l_type = (short)k->type, .l_whence = SEEK_SET, .l_start = (off_t)k->start };
	if (k->end < INT64_MAX)
		f->l_len = (off_t)(k->end - k->start + 1);
	return true;
}

static int flock_of(const struct vio_tree_req *r)
{
	return r->lock.type == F_UNLCK ? LOCK_UN : r->lock.type == F_RDLCK ? LOCK_SH : LOCK_EX;
}

/* 0 or an errno value; EAGAIN, EWOULDBLOCK: somebody has it. */
static int try_lock(const struct vio_tree_req *r, const struct owner *o, const struct vio_open *open, bool wait)
{
	struct flock f;

	if (open)
		return flock(open->fd, flock_of(r) | (wait ? 0 : LOCK_NB)) < 0 ? errno : 0;
	if (!range_of(&r->lock, &f))
		return EINVAL;
	return fcntl(o->fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &f) < 0 ? errno : 0;
}

static void drop_wait(struct vio_locks *l, struct wait *w)
{
	if (w->owner)
		put(l, w->owner);
	if (w->open)
		vio_open_put(l->tree, w->open);
	free(w);
}

/* With the lock. */
static void unlink_wait(struct vio_locks *l, struct wait *w)
{
	struct wait **at = &l->first;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	if (!*at)
		l->last = at;
	l->waiting--;
}

/* ---- The threads that wait ---- */

static struct wait *take(struct vio_locks *l)
{
	struct wait *w = l->first;

	while (w && w->busy)
		w = w->next;
	if (w) {
		w->busy = true;
		l->unattended--;
	}
	return w;
}

static void *run(void *arg)
{
	struct vio_locks *l = arg;

	pthread_mutex_lock(&l->lock);
	for (;;) {
		struct wait *w = take(l);
		if (!w && l->stop)
			break;
		if (!w) {
			pthread_cond_wait(&l->work, &l->lock);
			continue;
		}
		w->thread = pthread_self();
		w->waits = true;
		int error = EINTR;
		while (!w->cancelled && error == EINTR) {
			pthread_mutex_unlock(&l->lock);
			error = try_lock(w->req, w->owner, w->open, true);
			pthread_mutex_lock(&l->lock);
		}
		unlink_wait(l, w);
		pthread_mutex_unlock(&l->lock);
		struct vio_tree_req *r = w->req;
		drop_wait(l, w);
		vio_tree_finish(r, error);
		pthread_mutex_lock(&l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

/* 0: it waits, and done() comes later. */
static int wait_for(struct vio_locks *l, struct vio_tree_req *r, struct owner *o, struct vio_open *open)
{
	struct wait *w = calloc(1, sizeof *w);

	if (!w)
		return ENOMEM;
	*w = (struct wait){ .req = r, .unique = r->unique, .owner = o, .open = open };
	pthread_mutex_lock(&l->lock);
	bool room = l->waiting < VIO_TREE_WAITS;
	if (room) {
		*l->last = w;
		l->last = &w->next;
		l->waiting++;
		l->unattended++;
		pthread_cond_signal(&l->work);
	}
	pthread_mutex_unlock(&l->lock);
	if (room)
		return 0;
	free(w);
	return ENOLCK;
}

/* The oldest that no thread has, out of the list's reach. */
static struct wait *next_unattended(struct vio_locks *l)
{
	pthread_mutex_lock(&l->lock);
	struct wait *w = take(l);
	pthread_mutex_unlock(&l->lock);
	return w;
}

void vio_locks_retry(struct vio_locks *l)
{
	pthread_mutex_lock(&l->lock);
	unsigned n = l->unattended;
	pthread_mutex_unlock(&l->lock);
	while (n--) {
		struct wait *w = next_unattended(l);
		if (!w)
			return;
		int error = try_lock(w->req, w->owner, w->open, false);
		pthread_mutex_lock(&l->lock);
		bool over = (error != EAGAIN && error != EACCES) || w->cancelled;
		unlink_wait(l, w);
		if (!over) {		/* to the end of the list */
			w->busy = false;
			w->next = NULL;
			*l->last = w;
			l->last = &w->next;
			l->waiting++;
			l->unattended++;
			pthread_cond_signal(&l->work);
		}
		pthread_mutex_unlock(&l->lock);
		if (!over)
			continue;
		struct vio_tree_req *r = w->req;
		drop_wait(l, w);
		vio_tree_finish(r, error == EAGAIN || error == EACCES ? EINTR : error);
	}
}

bool vio_lock_cancel(struct vio_locks *l, struct vio_tree_req *r, uint64_t unique)
{
	struct wait *w, *mine = NULL;

	pthread_mutex_lock(&l->lock);
	for (w = l->first; w && (r ? w->req != r : w->unique != unique); w = w->next)
		;
	if (w) {
		w->cancelled = true;
		if (!w->busy) {
			w->busy = true;
			l->unattended--;
			unlink_wait(l, w);
			mine = w;
		} else if (w->waits) {
			pthread_kill(w->thread, WAKE_SIGNAL);
		}
	}
	pthread_mutex_unlock(&l->lock);
	if (mine) {
		r = mine->req;
		drop_wait(l, mine);
		vio_tree_finish(r, EINTR);
	}
	return w != NULL;
}

bool vio_lock_nudge(struct vio_locks *l)
{
	bool any = false;

	pthread_mutex_lock(&l->lock);
	for (struct wait *w = l->first; w; w = w->next)
		if (w->cancelled) {
			any = true;
			if (w->waits)
				pthread_kill(w->thread, WAKE_SIGNAL);
		}
	pthread_mutex_unlock(&l->lock);
	return any;
}

/* ---- Operations ---- */

int vio_tree_setlk(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *open = vio_open_get(t, r->handle, r->node, false);
	struct flock f;
	int error = 0;

	(void)may_wait;
	if (!open)
		return EBADF;
	if (t->o.no_locks || !range_of(&r->lock, &f)) {
		vio_open_put(t, open);
		return t->o.no_locks ? ENOSYS : EINVAL;
	}
	struct owner *o = NULL;
	if (!r->flock) {
		vio_open_put(t, open);
		open = NULL;
		o = r->lock.type == F_UNLCK ? find(t->locks, r->node, r->owner) :
		    find_or_make(t->locks, r->node, r->owner, &error);
		if (!o)
			return r->lock.type == F_UNLCK ? 0 : error;
	}
	if (o)
		__atomic_store_n(&o->pid, r->lock.pid, __ATOMIC_RELAXED);
	bool unlocks = r->lock.type != F_WRLCK;		/* or gives up a part of what it had */
	error = try_lock(r, o, open, false);
	if ((error == EAGAIN || error == EACCES) && r->wait && !(error = wait_for(t->locks, r, o, open)))
		return VIO_TREE_LATER;
	if (o)
		put(t->locks, o);
	if (open)
		vio_open_put(t, open);
	if (!error && unlocks)
		vio_locks_retry(t->locks);
	return error == EACCES ? EAGAIN : error;
}

/*
 * Whose lock stands in the way: the kernel says only that it is one of an open file, which each owner has its own of.  It is
 * that owner's for whom the range is free.  0: nobody's here, or several have it.
 */
static uint32_t holder(struct vio_locks *l, uint64_t node, const struct flock *found)
{
	uint32_t pid = 0;
	unsigned looked = 0;

	pthread_mutex_lock(&l->lock);
	for (unsigned i = 0; i < BUCKETS && !pid && looked < HOLDERS; i++)
		for (struct owner *o = l->bucket[i]; o && !pid; o = o->next) {
			struct flock f = *found;
			f.l_type = F_WRLCK;
			f.l_pid = 0;
			if (o->node == node && ++looked && !fcntl(o->fd, F_OFD_GETLK, &f) && f.l_type == F_UNLCK)
				pid = __atomic_load_n(&o->pid, __ATOMIC_RELAXED);
		}
	pthread_mutex_unlock(&l->lock);
	return pid;
}

int vio_tree_getlk(struct vio_host_tree *t, struct vio_tree_req *r, bool may_wait)
{
	struct vio_open *open = vio_open_get(t, r->handle, r->node, false);
	struct flock f;

	(void)may_wait;
	if (!open)
		return EBADF;
	vio_open_put(t, open);
	if (t->o.no_locks)
		return ENOSYS;
	if (!range_of(&r->lock, &f) || r->lock.type == F_UNLCK)
		return EINVAL;
	struct owner *o = find(t->locks, r->node, r->owner);
	int fd = o ? o->fd : open_to_lock(t, r->node);
	int error = fd < 0 ? -fd : fcntl(fd, F_OFD_GETLK, &f) < 0 ? errno : 0;
	if (o)
		put(t->locks, o);
	else if (fd >= 0)
		close(fd);
	if (error)
		return error;
	r->lock.type = (uint32_t)f.l_type;
	r->lock.pid = 0;		/* a host's process number says nothing to a guest */
	if (f.l_type != F_UNLCK) {
		r->lock.pid = holder(t->locks, r->node, &f);
		r->lock.start = (uint64_t)f.l_start;
		r->lock.end = f.l_len ? (uint64_t)(f.l_start + f.l_len - 1) : INT64_MAX;
	}
	return 0;
}

/* ---- Life ---- */

static void heard(int signal) { (void)signal; }

struct vio_locks *vio_locks_new(struct vio_host_tree *t)
{
	struct vio_locks *l = calloc(1, sizeof *l);
	struct sigaction ours = { .sa_handler = heard };	/* no SA_RESTART: it ends the wait */
	pthread_attr_t attr;
	sigset_t before, one;
	int error = 0;

	if (!l)
		return NULL;
	l->tree = t;
	l->last = &l->first;
	pthread_mutex_init(&l->lock, NULL);
	pthread_cond_init(&l->work, NULL);
	sigaction(WAKE_SIGNAL, &ours, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	vio_tree_block_signals(&before);
	sigemptyset(&one);
	sigaddset(&one, WAKE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	unsigned threads = t->o.no_locks ? 0 : VIO_TREE_WAITERS;
	for (; !error && l->threads < threads; l->threads += !error)
		error = pthread_create(&l->thread[l->threads], &attr, run, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (!error)
		return l;
	vio_locks_free(l);
	errno = error;
	return NULL;
}

void vio_locks_free(struct vio_locks *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_mutex_unlock(&l->lock);
	pthread_cond_broadcast(&l->work);
	for (unsigned i = 0; i < l->threads; i++)
		pthread_join(l->thread[i], NULL);
	pthread_cond_destroy(&l->work);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
