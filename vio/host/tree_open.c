/*
 * Handles: open files and folders, as the guest calls them.
 *
 * A handle's number is a place in a table and how often that place was used.  Looking one up takes no lock: the place's
 * word holds the generation, whether the guest still has it (LIVE) and the references, of which the guest has one; whoever
 * drops the last closes the descriptor.  Places are never freed while the tree lives.
 */
#include <vio/host/tree_host.h>
#include <stdlib.h>
#include <sys/statfs.h>
#include <unistd.h>

#define LIVE UINT64_C(0x80000000)
#define REFERENCES UINT64_C(0x7fffffff)
enum { CHUNK = 256 };

static struct vio_open *place(const struct vio_host_tree *t, uint32_t i)
{
	if (i / CHUNK >= t->opens.chunks)
		return NULL;
	struct vio_open *chunk = atomic_load_explicit(&t->opens.chunk[i / CHUNK], memory_order_acquire);
	return chunk ? &chunk[i % CHUNK] : NULL;
}

bool vio_opens_init(struct vio_host_tree *t)
{
	struct vio_opens *os = &t->opens;

	pthread_mutex_init(&os->lock, NULL);
	os->limit = t->o.max_handles;
	os->chunks = (os->limit + CHUNK - 1) / CHUNK;
	os->chunk = calloc(os->chunks, sizeof *os->chunk);
	return os->chunk;
}

void vio_opens_free(struct vio_host_tree *t)
{
	for (uint32_t i = 0; t->opens.chunk && i < t->opens.chunks; i++)
		free(t->opens.chunk[i]);
	free(t->opens.chunk);
	pthread_mutex_destroy(&t->opens.lock);
}

/* A free place, which nobody else can have; NULL with *error. */
static struct vio_open *take(struct vio_host_tree *t, uint32_t *index, int *error)
{
	struct vio_opens *os = &t->opens;
	struct vio_open *o = NULL;

	*error = ENFILE;
	pthread_mutex_lock(&os->lock);
	if (os->free) {
		*index = os->free - 1;
		o = place(t, *index);
		os->free = o->free;
	} else if (os->used < os->limit) {
		uint32_t c = os->used / CHUNK;
		if (!os->chunk[c])
			atomic_store_explicit(&os->chunk[c], calloc(CHUNK, sizeof *o), memory_order_release);
		if (os->chunk[c])
			o = &os->chunk[c][(*index = os->used++) % CHUNK];
		else
			*error = ENOMEM;
	}
	os->live += o != NULL;
	pthread_mutex_unlock(&os->lock);
	return o;
}

/* ---- What kind of file system ---- */

static bool is_in(uint64_t type, const uint32_t *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (type == list[i])
			return true;
	return false;
}

void vio_tree_kind_of(int fd, bool *memory, bool *remote)
{
	static const uint32_t in_memory[] = { 0x01021994 /* tmpfs */, 0x858458f6 /* ramfs */ };
	static const uint32_t far[] = { 0x6969 /* nfs */, 0xff534d42 /* cifs */, 0xfe534d42 /* smb2 */, 0x65735546 /* fuse */,
		0x01021997 /* 9p */, 0x00c36400 /* ceph */, 0x5346414f /* afs */, 0x73757245 /* coda */, 0x47504653 /* gpfs */ };
	struct statfs f;

	*memory = *remote = false;
	if (fstatfs(fd, &f) < 0)
		return;
	*memory = is_in((uint32_t)f.f_type, in_memory, sizeof in_memory / sizeof *in_memory);
	*remote = is_in((uint32_t)f.f_type, far, sizeof far / sizeof *far);
}

/* ---- Handles ---- */

int vio_open_new(struct vio_host_tree *t, const struct vio_node *n, int fd, int flags, bool folder, uint64_t *handle)
{
	uint32_t index = 0;
	int error;
	struct vio_open *o = take(t, &index, &error);

	if (!o) {
		close(fd);
		return error;
	}
	bool memory = t->memory, remote;
	if (!folder && n->mount != t->root.mount)
		vio_tree_kind_of(fd, &memory, &remote);
	o->index = index;
	o->node = n->id;
	o->fd = fd;
	o->flags = flags;
	o->folder = folder;
	o->memory = memory;
	o->append = false;
	o->read_nowait = o->write_nowait = !memory;
	o->list = NULL;
	atomic_store_explicit(&o->map, NULL, memory_order_relaxed);
	atomic_flag_clear_explicit(&o->mapping, memory_order_relaxed);
	o->maps = 0;
	atomic_store_explicit(&o->reads, 0, memory_order_relaxed);
	uint64_t generation = (atomic_load_explicit(&o->word, memory_order_relaxed) >> 32) + 1;
	*handle = generation << 32 | index;
	atomic_store_explicit(&o->word, generation << 32 | LIVE | 1, memory_order_release);
	return 0;
}

struct vio_open *vio_open_get_any(struct vio_host_tree *t, uint64_t handle, uint64_t node)
{
	struct vio_open *o = place(t, (uint32_t)handle);

	if (!o)
		return NULL;
	uint64_t w = atomic_load_explicit(&o->word, memory_order_relaxed);
	do
		if (w >> 32 != handle >> 32 || !(w & LIVE))
			return NULL;
	while (!atomic_compare_exchange_weak_explicit(&o->word, &w, w + 1, memory_order_acquire, memory_order_relaxed));
	if (o->node == node)
		return o;
	vio_open_put(t, o);
	return NULL;
}

struct vio_open *vio_open_get(struct vio_host_tree *t, uint64_t handle, uint64_t node, bool folder)
{
	struct vio_open *o = vio_open_get_any(t, handle, node);

	if (!o || o->folder == folder)
		return o;
	vio_open_put(t, o);
	return NULL;
}

void vio_open_put(struct vio_host_tree *t, struct vio_open *o)
{
	uint64_t before = atomic_fetch_sub_explicit(&o->word, 1, memory_order_acq_rel);

	if ((before & REFERENCES) != 1)
		return;
	struct vio_opens *os = &t->opens;
	int fd = o->fd;
	vio_list_free(o->list);
	o->list = NULL;
	vio_tree_map_free(t, o);
	vio_tree_pool_close(t->pool, fd);
	pthread_mutex_lock(&os->lock);
	o->free = os->free;
	os->free = o->index + 1;
	os->live--;
	pthread_mutex_unlock(&os->lock);
}

/* The guest's own reference goes, once.  any: whatever generation it is of. */
static void release(struct vio_host_tree *t, struct vio_open *o, uint64_t generation, bool any)
{
	uint64_t w = atomic_load_explicit(&o->word, memory_order_acquire);

	do
		if (!(w & LIVE) || (!any && w >> 32 != generation))
			return;
	while (!atomic_compare_exchange_weak_explicit(&o->word, &w, w & ~LIVE, memory_order_acq_rel, memory_order_acquire));
	vio_open_put(t, o);
}

void vio_open_release(struct vio_host_tree *t, uint64_t handle, uint64_t node)
{
	struct vio_open *o = vio_open_get_any(t, handle, node);

	if (!o)
		return;
	release(t, o, handle >> 32, false);
	vio_open_put(t, o);
}

void vio_opens_release_all(struct vio_host_tree *t)
{
	pthread_mutex_lock(&t->opens.lock);
	uint32_t used = t->opens.used;
	pthread_mutex_unlock(&t->opens.lock);
	for (uint32_t i = 0; i < used; i++)
		release(t, place(t, i), 0, true);
}
