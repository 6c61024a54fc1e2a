/*
 * Buffers in a ring, taken at its tail, let go in any order, free again from the head on.
 *
 * libnbd wants a command's bytes in one piece, which guest memory is not, so they are copied once; and for writes that copy
 * is what can be sent again when a server has gone with writes that it had acknowledged.
 */
#include <vio/host/disk_nbd.h>
#include <assert.h>
#include <sys/mman.h>

enum { ALIGN = 64, HEAD = 64 };
enum { RETURN_BYTES = 4 << 20 };	/* an empty ring that has taken so much gives it back */
VIO_STATIC_ASSERT(sizeof(struct vio_nbd_buffer) <= HEAD, "the head's place");

bool vio_nbd_ring_init(struct vio_nbd_ring *r, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	*r = (struct vio_nbd_ring){ .base = p == MAP_FAILED ? NULL : p, .size = size };
	return r->base;
}

void vio_nbd_ring_free(struct vio_nbd_ring *r)
{
	if (r->base)
		munmap(r->base, r->size);
}

static struct vio_nbd_buffer *at(const struct vio_nbd_ring *r, size_t place)
{
	return (struct vio_nbd_buffer *)(void *)(r->base + place);
}

static struct vio_nbd_buffer *append(struct vio_nbd_ring *r, size_t room)
{
	struct vio_nbd_buffer *b = at(r, r->tail);

	*b = (struct vio_nbd_buffer){ .room = (uint32_t)room, .bytes = (unsigned char *)b + HEAD };
	r->tail += room;
	r->used += room;
	if (r->tail > r->most)
		r->most = r->tail;
	if (r->tail == r->size)
		r->tail = 0;
	return b;
}

struct vio_nbd_buffer *vio_nbd_ring_take(struct vio_nbd_ring *r, size_t bytes)
{
	size_t room = HEAD + ((bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1));
	bool wrapped = r->used && r->tail <= r->head;
	size_t here = (wrapped ? r->head : r->size) - r->tail;

	if (room > here) {
		if (wrapped || room > r->head)
			return NULL;
		append(r, here);	/* free already: let go with those before it */
	}
	struct vio_nbd_buffer *b = append(r, room);
	b->use = VIO_NBD_IN_FLIGHT;
	return b;
}

static void pop(struct vio_nbd_ring *r)
{
	while (r->used && at(r, r->head)->use == VIO_NBD_FREE) {
		size_t room = at(r, r->head)->room;
		r->used -= room;
		r->head += room;
		if (r->head == r->size)
			r->head = 0;
	}
	if (r->used)
		return;
	r->head = r->tail = 0;
	if (r->most < RETURN_BYTES)
		return;
	madvise(r->base, r->size, MADV_DONTNEED);
	r->most = 0;
}

void vio_nbd_ring_release(struct vio_nbd_ring *r, struct vio_nbd_buffer *b)
{
	assert(b->use != VIO_NBD_FREE);
	b->use = VIO_NBD_FREE;
	pop(r);
}

void vio_nbd_ring_covered(struct vio_nbd_ring *r, uint64_t acked)
{
	/*
	 * Only from the head: what stands behind an older write that is still in flight stays, so that what is kept is always
	 * all that was written since some moment, and writing it again in its order gives what is there now.
	 */
	while (r->used) {
		struct vio_nbd_buffer *b = at(r, r->head);
		if (b->use == VIO_NBD_IN_FLIGHT || (b->use == VIO_NBD_ACKED && b->acked > acked))
			return;
		b->use = VIO_NBD_FREE;
		pop(r);
	}
}

struct vio_nbd_buffer *vio_nbd_ring_first(const struct vio_nbd_ring *r)
{
	return r->used ? at(r, r->head) : NULL;
}

struct vio_nbd_buffer *vio_nbd_ring_next(const struct vio_nbd_ring *r, const struct vio_nbd_buffer *b)
{
	size_t place = (size_t)((const unsigned char *)b - r->base) + b->room;

	if (place == r->size)
		place = 0;
	return place == r->tail ? NULL : at(r, place);
}
