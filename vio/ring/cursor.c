#include <vio/ring/cursor.h>
#include <vio/ring/freestanding.h>

/* The segment after seg, over the link at a block's end.  Not called behind the last byte. */
static const struct vio_seg *next_seg(const struct vio_seg *seg)
{
	seg++;
	return seg->len == VIO_SEG_LINK ? (const struct vio_seg *)seg->base : seg;
}

static void pass(struct vio_cur *c, size_t n)
{
	c->at += n;
	c->left -= n;
	c->done += n;
	if (c->at == c->seg->len && c->left) {
		c->seg = next_seg(c->seg);
		c->at = 0;
	}
}

void *vio_cur_front(const struct vio_cur *c, size_t *len)
{
	if (c->left == 0) {
		*len = 0;
		return NULL;
	}
	size_t n = c->seg->len - c->at;
	*len = n < c->left ? n : (size_t)c->left;
	return (unsigned char *)c->seg->base + c->at;
}

bool vio_cur_get(struct vio_cur *c, void *to, uint64_t n)
{
	if (n > c->left)
		return false;
	while (n) {
		size_t part;
		const void *from = vio_cur_front(c, &part);
		if (part > n)
			part = (size_t)n;
		memcpy(to, from, part);
		to = (unsigned char *)to + part;
		n -= part;
		pass(c, part);
	}
	return true;
}

bool vio_cur_put(struct vio_cur *c, const void *from, uint64_t n)
{
	if (n > c->left)
		return false;
	while (n) {
		size_t part;
		void *to = vio_cur_front(c, &part);
		if (part > n)
			part = (size_t)n;
		memcpy(to, from, part);
		from = (const unsigned char *)from + part;
		n -= part;
		pass(c, part);
	}
	return true;
}

bool vio_cur_zero(struct vio_cur *c, uint64_t n)
{
	if (n > c->left)
		return false;
	while (n) {
		size_t part;
		void *to = vio_cur_front(c, &part);
		if (part > n)
			part = (size_t)n;
		memset(to, 0, part);
		n -= part;
		pass(c, part);
	}
	return true;
}

void vio_cur_skip(struct vio_cur *c, uint64_t n)
{
	while (n) {
		size_t part = c->seg->len - c->at;
		if (part > n)
			part = (size_t)n;
		n -= part;
		pass(c, part);
	}
}

struct vio_cur vio_cur_split(struct vio_cur *c, uint64_t n)
{
	struct vio_cur tail = *c;

	vio_cur_skip(&tail, n);
	tail.done = 0;
	c->left = n;
	return tail;
}

unsigned vio_cur_segs(const struct vio_cur *c, struct vio_seg *out, unsigned max, uint64_t limit, uint64_t *bytes)
{
	struct vio_cur at = *c;
	unsigned n = 0;

	if (limit < at.left)
		at.left = limit;
	at.done = 0;
	while (n < max && at.left) {
		size_t part;
		void *base = vio_cur_front(&at, &part);
		out[n++] = (struct vio_seg){ base, part };
		pass(&at, part);
	}
	*bytes = at.done;
	return n;
}
