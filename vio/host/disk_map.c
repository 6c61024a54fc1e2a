/*
 * Reads from an image in tmpfs through a mapping: half the time of pread(), because the page is there already and no
 * system call is needed.
 *
 * Two things are different from pread(), and are taken care of here:
 *
 *   - touching a hole makes tmpfs fill it with a page.  So only pages are touched that have been seen to hold data, one
 *     bit each; the first read of a page goes by pread() and asks (lseek SEEK_DATA).  What is discarded loses its bits.
 *   - what somebody truncates raises SIGBUS.  The mapping is guarded: it is dead then, the bytes copied are thrown away,
 *     and pread() gives the answer, from then on.
 *
 * A bit that is set too long, or lost, costs memory or time, never bytes: both ways read the same page cache.
 */
#include <vio/host/disk_file.h>
#include <vio/host/sigbus.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, WORD = 64 };

struct vio_map {
	const unsigned char *bytes;
	uint64_t size;
	bool dead;			/* also the SIGBUS handler's */
	_Atomic(uint64_t) *seen;	/* a bit a page; memory is taken only where bits are set */
	size_t seen_bytes;
	struct vio_map *older;		/* of before the image grew: other threads may still read from it */
};

static void *map_anonymous(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct vio_map *vio_map_new(int fd, uint64_t size, struct vio_map *older)
{
	struct vio_map *m = calloc(1, sizeof *m);
	uint64_t pages = (size + PAGE - 1) / PAGE;

	if (!m || !size)
		goto no_map;
	m->size = size;
	m->older = older;
	m->seen_bytes = (pages + WORD - 1) / WORD * sizeof *m->seen;
	m->seen = map_anonymous(m->seen_bytes);
	if (!m->seen)
		goto no_map;
	void *p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		goto no_bytes;
	m->bytes = p;
	if (vio_sigbus_init() && vio_sigbus_guard(p, size, &m->dead))
		return m;
	munmap(p, size);
no_bytes:
	munmap(m->seen, m->seen_bytes);
no_map:
	free(m);
	return NULL;
}

void vio_map_free(struct vio_map *m)
{
	while (m) {
		struct vio_map *older = m->older;
		vio_sigbus_unguard((void *)(uintptr_t)m->bytes);
		munmap((void *)(uintptr_t)m->bytes, m->size);
		munmap(m->seen, m->seen_bytes);
		free(m);
		m = older;
	}
}

void vio_map_kill(struct vio_map *m)
{
	__atomic_store_n(&m->dead, true, __ATOMIC_RELEASE);
}

void vio_map_rest(struct vio_map *m)
{
	for (; m; m = m->older)
		madvise((void *)(uintptr_t)m->bytes, m->size, MADV_DONTNEED);
}

static bool is_dead(const struct vio_map *m)
{
	return __atomic_load_n(&m->dead, __ATOMIC_ACQUIRE);
}

static bool is_seen(const struct vio_map *m, uint64_t page)
{
	return atomic_load_explicit(&m->seen[page / WORD], memory_order_relaxed) >> page % WORD & 1;
}

/* How many of n bytes at offset stand in pages that have been seen. */
static uint64_t seen_from(const struct vio_map *m, uint64_t offset, uint64_t n)
{
	uint64_t end = offset;

	if (offset >= m->size)
		return 0;
	if (n > m->size - offset)
		n = m->size - offset;
	while (end < offset + n && is_seen(m, end / PAGE))
		end = (end / PAGE + 1) * PAGE;
	return end < offset + n ? end - offset : n;
}

uint64_t vio_map_read(const struct vio_map *m, uint64_t offset, struct vio_cur *to, uint64_t n)
{
	struct vio_cur c = *to;

	n = seen_from(m, offset, n < c.left ? n : c.left);
	if (!n || is_dead(m))
		return 0;
	vio_cur_put(&c, m->bytes + offset, n);
	if (is_dead(m))
		return 0;
	*to = c;
	return n;
}

void vio_map_learn(struct vio_map *m, int fd, uint64_t offset, uint64_t n)
{
	uint64_t end = offset + n < m->size ? offset + n : m->size;

	for (uint64_t page = offset / PAGE; page * PAGE < end; page++) {
		off_t at = (off_t)(page * PAGE);
		if (!is_seen(m, page) && lseek(fd, at, SEEK_DATA) == at)
			atomic_fetch_or_explicit(&m->seen[page / WORD], (uint64_t)1 << page % WORD, memory_order_relaxed);
	}
}

void vio_map_forget(struct vio_map *m, uint64_t offset, uint64_t n)
{
	uint64_t end = offset + n < m->size ? offset + n : m->size;

	/* Whole words: losing a few bits more costs a pread() each. */
	for (uint64_t word = offset / PAGE / WORD; word * WORD * PAGE < end; word++)
		if (atomic_load_explicit(&m->seen[word], memory_order_relaxed))
			atomic_store_explicit(&m->seen[word], 0, memory_order_relaxed);
}
