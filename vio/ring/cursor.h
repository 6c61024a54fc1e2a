/*
 * A chain's bytes: segments of host memory and a cursor over them.
 *
 * Segments are never changed once a chain is made; a cursor is a place in them and how many bytes may still be passed.
 * Copying a cursor gives a second, independent one; cutting one in two costs nothing.  Segments stand in blocks: an
 * entry whose len is VIO_SEG_LINK is no segment but leads to the next block.
 */
#ifndef VIO_RING_CURSOR_H
#define VIO_RING_CURSOR_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

struct vio_seg { void *base; size_t len; };	/* the layout of struct iovec */
#define VIO_SEG_LINK SIZE_MAX

struct vio_cur {
	const struct vio_seg *seg;	/* the segment that holds the next byte */
	size_t at;			/* its offset in that segment */
	uint64_t left;			/* bytes that may still be passed */
	uint64_t done;			/* bytes passed */
};

/*
 * A cursor to be handed over by value on a data path.  Compilers store its fields one by one and then copy it sixteen bytes at a
 * time: such a load has to wait until everything stored before it is in the cache, lines of other processors too.
 */
static inline struct vio_cur vio_cur_new(const struct vio_seg *seg, size_t at, uint64_t left)
{
#if defined __GNUC__ && UINTPTR_MAX > 0xffffffff
	typedef uint64_t pair __attribute__((vector_size(16)));
	pair front = { (uintptr_t)seg, at }, back = { left, 0 };
	union { pair half[2]; struct vio_cur c; } u;
	u.half[0] = front;
	u.half[1] = back;
	return u.c;
#else
	struct vio_cur c = { seg, at, left, 0 };
	return c;
#endif
}

/* Copy n bytes out of (into) the front and pass them; all n or nothing. */
bool vio_cur_get(struct vio_cur *c, void *to, uint64_t n);
bool vio_cur_put(struct vio_cur *c, const void *from, uint64_t n);
bool vio_cur_zero(struct vio_cur *c, uint64_t n);

/* Pass n <= left bytes that someone else has read or filled. */
void vio_cur_skip(struct vio_cur *c, uint64_t n);

/* A cursor over the bytes after the first n <= left; c keeps the first n. */
struct vio_cur vio_cur_split(struct vio_cur *c, uint64_t n);

/* The contiguous bytes at the front: their address and, in *len, how many; NULL and 0 at the end. */
void *vio_cur_front(const struct vio_cur *c, size_t *len);

/*
 * Fill at most max segments of out with the bytes from the front, at most limit bytes; returns how many segments and, in
 * *bytes, how many bytes they hold.  out may be passed to readv() as struct iovec.  c does not move.
 */
unsigned vio_cur_segs(const struct vio_cur *c, struct vio_seg *out, unsigned max, uint64_t limit, uint64_t *bytes);
VIO_END_DECLS
#endif
