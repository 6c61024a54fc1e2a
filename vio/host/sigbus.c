/*
 * The handler looks through a table that is written under a lock and read without one.  A slot is published by its base,
 * last, and withdrawn by it, first:
 *
 *   unguard:  base = 0, A                   handler:  base, B      (acquire)
 *   guard:    A, size, dead, base, B                  size, dead, A
 *                                                     base again: another one, then look again
 *
 * B: who sees a base sees its size or a later one.  A: who sees a later size sees that the base has gone.  The slot of the
 * mapping that faulted stands still, because the thread that faults uses that mapping; a slot that changes meanwhile
 * belongs to another one, whose addresses are elsewhere.  Chunks are added and never freed.
 */
#include <vio/host/sigbus.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CHUNK_SLOTS = 62 };

struct slot {
	_Atomic(uintptr_t) base;
	_Atomic(size_t) size;
	_Atomic(bool *) dead;
};
struct chunk {
	struct slot slot[CHUNK_SLOTS];
	_Atomic(struct chunk *) next;
};

static struct chunk first;
static pthread_mutex_t writers = PTHREAD_MUTEX_INITIALIZER;

/* ---- The handler's side: async-signal-safe ---- */

static bool covers(struct slot *s, uintptr_t at, uintptr_t *base, size_t *size, bool **dead)
{
	for (;;) {
		*base = atomic_load_explicit(&s->base, memory_order_acquire);	/* B, with vio_sigbus_guard() */
		*size = atomic_load_explicit(&s->size, memory_order_relaxed);
		*dead = atomic_load_explicit(&s->dead, memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);	/* A, with vio_sigbus_guard() */
		if (atomic_load_explicit(&s->base, memory_order_relaxed) == *base)
			return *base && at - *base < *size;
	}
}

/*
 * Anonymous memory over the page at `at`.  What the page size of the mapping is, only the kernel knows: a piece cut out of
 * a mapping of huge pages must be a whole huge page, and is refused otherwise.
 */
static bool put_zeroes(uintptr_t at, uintptr_t base, size_t size)
{
	static const size_t pages[] = { 0, (size_t)2 << 20, (size_t)1 << 30 };
	for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
		size_t page = pages[i] ? pages[i] : (size_t)sysconf(_SC_PAGESIZE);
		uintptr_t from = at & ~(page - 1);
		if (from < base || base + size - from < page)
			continue;
		if (mmap((void *)from, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED)
			return true;
	}
	return false;
}

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	(void)context;
	int saved = errno;
	uintptr_t at = (uintptr_t)info->si_addr, base;
	size_t size;
	bool *dead;
	/* si_code <= 0: somebody sent it, and there is no address. */
	if (info->si_code > 0)
		for (struct chunk *c = &first; c; c = atomic_load_explicit(&c->next, memory_order_acquire))
			for (unsigned i = 0; i < CHUNK_SLOTS; i++)
				if (covers(&c->slot[i], at, &base, &size, &dead)) {
					/* First, or another thread could read the new zeroes and believe them. */
					__atomic_store_n(dead, true, __ATOMIC_SEQ_CST);
					if (!put_zeroes(at, base, size))
						goto fatal;
					errno = saved;
					return;
				}
fatal:;
	/* Not ours: raised again, it ends the process when the handler returns. */
	struct sigaction normal = { .sa_handler = SIG_DFL };
	sigaction(signal, &normal, NULL);
	raise(signal);
}

/* ---- The owners' side ---- */

bool vio_sigbus_init(void)
{
	sysconf(_SC_PAGESIZE);	/* so that the handler's call finds it known */
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	sigemptyset(&action.sa_mask);
	return !sigaction(SIGBUS, &action, NULL);
}

/* A free slot; with the lock held. */
static struct slot *free_slot(void)
{
	for (struct chunk *c = &first;; c = atomic_load_explicit(&c->next, memory_order_relaxed)) {
		for (unsigned i = 0; i < CHUNK_SLOTS; i++)
			if (!atomic_load_explicit(&c->slot[i].base, memory_order_relaxed))
				return &c->slot[i];
		if (!atomic_load_explicit(&c->next, memory_order_relaxed)) {
			struct chunk *more = calloc(1, sizeof *more);
			if (!more)
				return NULL;
			atomic_store_explicit(&c->next, more, memory_order_release);
		}
	}
}

bool vio_sigbus_guard(void *base, size_t size, bool *dead)
{
	pthread_mutex_lock(&writers);
	struct slot *s = free_slot();
	if (s) {
		atomic_thread_fence(memory_order_release);	/* A, with covers() */
		atomic_store_explicit(&s->size, size, memory_order_relaxed);
		atomic_store_explicit(&s->dead, dead, memory_order_relaxed);
		atomic_store_explicit(&s->base, (uintptr_t)base, memory_order_release);	/* B, with covers() */
	}
	pthread_mutex_unlock(&writers);
	return s != NULL;
}

void vio_sigbus_unguard(void *base)
{
	pthread_mutex_lock(&writers);
	for (struct chunk *c = &first; c; c = atomic_load_explicit(&c->next, memory_order_relaxed))
		for (unsigned i = 0; i < CHUNK_SLOTS; i++)
			if (atomic_load_explicit(&c->slot[i].base, memory_order_relaxed) == (uintptr_t)base) {
				atomic_store_explicit(&c->slot[i].base, 0, memory_order_release);
				pthread_mutex_unlock(&writers);
				return;
			}
	pthread_mutex_unlock(&writers);
}
