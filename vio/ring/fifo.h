/*
 * Bytes in a ring, in from a cursor and out to one, with the ends of messages marked: what waits between two sides that are
 * not ready at the same time.  Both ends of a socket connection keep one.
 *
 * A mark is a bit beside the byte that ends a message, so that however short messages are, they need no more room than their
 * bytes.  That is why an empty message can't be kept.  Nothing here allocates or fails: room is asked for before.
 */
#ifndef VIO_RING_FIFO_H
#define VIO_RING_FIFO_H
#include <vio/ring/cursor.h>
VIO_BEGIN_DECLS

enum { VIO_FIFO_EOM = 1, VIO_FIFO_EOR = 2 };	/* the byte ends a message; and a record */

struct vio_fifo {
	unsigned char *bytes;
	uint64_t *ends, *records;	/* a bit for each byte; NULL: no marks */
	uint32_t size;			/* a power of two, at least 64 */
	uint32_t head;			/* where the first byte is */
	uint32_t used;
	uint32_t messages;		/* ends among them */
	uint32_t open;			/* bytes behind the last end */
};

/* Bytes of 8-aligned memory that a ring of size takes. */
#define VIO_FIFO_BYTES(size, marked) ((size_t)(size) + ((marked) ? (size_t)(size) / 4 : 0))

static inline struct vio_fifo vio_fifo_of(void *memory, uint32_t size, bool marked)
{
	struct vio_fifo f = { .bytes = (unsigned char *)memory, .size = size };

	if (marked) {		/* zeroed memory */
		f.ends = (uint64_t *)(void *)(f.bytes + size);
		f.records = f.ends + size / 64;
	}
	return f;
}

static inline uint32_t vio_fifo_room(const struct vio_fifo *f) { return f->size - f->used; }

/* A cursor over n <= size - start bytes, in at most two pieces. */
struct vio_fifo_cur { struct vio_seg seg[2]; struct vio_cur cur; };

static inline void vio_fifo_at(const struct vio_fifo *f, uint32_t place, uint32_t n, struct vio_fifo_cur *c)
{
	uint32_t at = place & (f->size - 1), first = f->size - at < n ? f->size - at : n;

	c->seg[0] = (struct vio_seg){ f->bytes + at, first };
	c->seg[1] = (struct vio_seg){ f->bytes, n - first };
	c->cur = (struct vio_cur){ .seg = c->seg, .left = n };
}

/* The first n <= used bytes, to be read. */
static inline void vio_fifo_front(const struct vio_fifo *f, uint32_t n, struct vio_fifo_cur *c) { vio_fifo_at(f, f->head, n, c); }

/* n <= room bytes from the front of c. */
static inline void vio_fifo_put(struct vio_fifo *f, struct vio_cur *c, uint32_t n)
{
	struct vio_fifo_cur to;

	vio_fifo_at(f, f->head + f->used, n, &to);
	for (unsigned i = 0; i < 2; i++)
		if (to.seg[i].len)
			vio_cur_get(c, to.seg[i].base, to.seg[i].len);
	f->used += n;
	f->open += n;
}

/* The last byte ends a message (and a record).  There is one, and it does not yet. */
static inline void vio_fifo_mark(struct vio_fifo *f, unsigned what)
{
	uint32_t at = (f->head + f->used - 1) & (f->size - 1);

	f->ends[at / 64] |= UINT64_C(1) << at % 64;
	if (what & VIO_FIFO_EOR)
		f->records[at / 64] |= UINT64_C(1) << at % 64;
	f->messages++;
	f->open = 0;
}

/* How long the first message is, and what ends it; 0: there is no whole one. */
static inline uint32_t vio_fifo_message(const struct vio_fifo *f, unsigned *what)
{
	uint32_t at = f->head & (f->size - 1);
	uint64_t word = f->messages ? f->ends[at / 64] >> at % 64 : 0;

	if (!f->messages)
		return 0;
	for (uint32_t n = 0;;) {
		if (word) {
			uint32_t end = n + (uint32_t)__builtin_ctzll(word), place = (f->head + end) & (f->size - 1);
			*what = VIO_FIFO_EOM | (f->records[place / 64] >> place % 64 & 1 ? VIO_FIFO_EOR : 0);
			return end + 1;
		}
		n += 64 - ((at + n) & 63);
		word = f->ends[((at + n) & (f->size - 1)) / 64];
	}
}

/* Forget the first n <= used bytes: of a marked ring, whole messages or all. */
static inline void vio_fifo_drop(struct vio_fifo *f, uint32_t n)
{
	for (uint32_t i = 0; f->ends && i < n;) {	/* a word at a time, where that goes */
		uint32_t at = (f->head + i) & (f->size - 1), span = 64 - at % 64 < n - i ? 64 - at % 64 : n - i;
		uint64_t mask = (span == 64 ? UINT64_MAX : (UINT64_C(1) << span) - 1) << at % 64;
		for (uint64_t ends = f->ends[at / 64] & mask; ends; ends &= ends - 1)
			f->messages--;
		f->ends[at / 64] &= ~mask;
		f->records[at / 64] &= ~mask;
		i += span;
	}
	f->head += n;
	f->used -= n;
	if (f->open > f->used)
		f->open = f->used;
}
VIO_END_DECLS
#endif
