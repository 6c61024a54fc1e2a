/*
 * Reads of files in memory (tmpfs) through a mapping, as of disk images (disk_map.c): no system call, half the time.
 *
 * Only where nobody but the guest changes the folder (cache=always), for then everything that makes a file smaller or
 * punches holes into it goes by here: it is counted, and a mapping that is older than the count says is not read any more.
 * If somebody does cut the file short all the same, the mapping is dead (SIGBUS), and pread() gives the answer from then on.
 *
 * An open file that is read often gets one, and another when it was cut; those of before stay until it is closed, because
 * other queues' threads may still read from them.
 */
#include <vio/host/tree_host.h>
#include <vio/host/disk_file.h>
#include <stdlib.h>

enum { READS = 64 };			/* by one handle, before it is worth a mapping */
enum { MAPS_OF_ONE = 4, MAPS = 256 };
#define MAP_BYTES (INT64_C(256) << 20)	/* of one: how long it takes to undo */

struct vio_tree_map {
	struct vio_map *bytes;
	unsigned cuts;			/* when it was made */
	struct vio_tree_map *older;
};

static atomic_uint *cuts_of(struct vio_host_tree *t, uint64_t node)
{
	return &t->cuts[node * UINT64_C(0x9e3779b97f4a7c15) >> 56];
}

void vio_tree_cut(struct vio_host_tree *t, uint64_t node)
{
	atomic_fetch_add_explicit(cuts_of(t, node), 1, memory_order_acq_rel);
}

static struct vio_tree_map *make(struct vio_host_tree *t, const struct vio_open *o, struct vio_tree_map *older)
{
	struct vio_tree_map *m = calloc(1, sizeof *m);
	struct stat st;

	if (!m)
		return NULL;
	m->cuts = atomic_load_explicit(cuts_of(t, o->node), memory_order_acquire);	/* before the size is asked for */
	m->older = older;
	if (!fstat(o->fd, &st) && st.st_size > 0 && st.st_size <= MAP_BYTES)
		m->bytes = vio_map_new(o->fd, (uint64_t)st.st_size, NULL);
	if (m->bytes)
		return m;
	free(m);
	return NULL;
}

/* Another one, if no other thread is about to make it. */
static void renew(struct vio_host_tree *t, struct vio_open *o)
{
	struct vio_tree_map *m = NULL;

	if (atomic_flag_test_and_set_explicit(&o->mapping, memory_order_acquire))
		return;
	if (o->maps < MAPS_OF_ONE && (o->flags & O_ACCMODE) != O_WRONLY) {
		o->maps++;
		if (atomic_fetch_add(&t->maps, 1) < MAPS)
			m = make(t, o, atomic_load_explicit(&o->map, memory_order_relaxed));
		if (m)
			atomic_store_explicit(&o->map, m, memory_order_release);
		else
			atomic_fetch_sub(&t->maps, 1);
	}
	atomic_store_explicit(&o->reads, 0, memory_order_relaxed);
	atomic_flag_clear_explicit(&o->mapping, memory_order_release);
}

/* The one that may be read now, or NULL. */
static struct vio_map *current(struct vio_host_tree *t, const struct vio_open *o)
{
	const struct vio_tree_map *m = atomic_load_explicit(&o->map, memory_order_acquire);

	return m && m->cuts == atomic_load_explicit(cuts_of(t, o->node), memory_order_acquire) ? m->bytes : NULL;
}

uint64_t vio_tree_map_read(struct vio_host_tree *t, struct vio_open *o, uint64_t at, struct vio_cur *to, uint64_t n)
{
	if (!o->memory || t->o.cache != VIO_TREE_CACHE_ALWAYS)
		return 0;
	struct vio_map *m = current(t, o);
	if (m)
		return vio_map_read(m, at, to, n);
	if (atomic_fetch_add_explicit(&o->reads, 1, memory_order_relaxed) + 1 >= READS)
		renew(t, o);
	return 0;
}

void vio_tree_map_learn(struct vio_host_tree *t, const struct vio_open *o, uint64_t at, uint64_t n)
{
	struct vio_map *m = o->memory ? current(t, o) : NULL;

	if (m)
		vio_map_learn(m, o->fd, at, n);
}

void vio_tree_map_free(struct vio_host_tree *t, struct vio_open *o)
{
	struct vio_tree_map *m = atomic_load_explicit(&o->map, memory_order_relaxed);

	while (m) {
		struct vio_tree_map *older = m->older;
		vio_map_free(m->bytes);
		free(m);
		atomic_fetch_sub(&t->maps, 1);
		m = older;
	}
	atomic_store_explicit(&o->map, NULL, memory_order_relaxed);
}
