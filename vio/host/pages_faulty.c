/* The faulty twin: the n-th give fails, and nothing of it reaches the one inside. */
#include <vio/host/pages.h>
#include <stdlib.h>

struct faulty {
	struct vio_pages pages;
	struct vio_pages *inner;
	struct vio_pages_faults f;
	unsigned gives;
};

static struct vio_pages *inner(struct vio_pages *p) { return ((struct faulty *)p)->inner; }

static int64_t faulty_give(struct vio_pages *p, const struct vio_region *r, uint64_t at, uint64_t len,
    enum vio_pages_promise promise)
{
	struct faulty *f = (struct faulty *)p;
	unsigned n = ++f->gives;

	if (n == f->f.fail_nth || (f->f.fail_every && n % f->f.fail_every == 0))
		return -f->f.error;
	return f->inner->ops->give(f->inner, r, at, len, promise);
}

static void faulty_take(struct vio_pages *p, const struct vio_region *r, uint64_t at, uint64_t len)
{
	inner(p)->ops->take(inner(p), r, at, len);
}

static void faulty_forget(struct vio_pages *p, const struct vio_mem *mem) { inner(p)->ops->forget(inner(p), mem); }

static void faulty_close(struct vio_pages *p)
{
	inner(p)->ops->close(inner(p));
	free(p);
}

static const struct vio_pages_ops faulty_ops = {
	.give = faulty_give, .take = faulty_take, .forget = faulty_forget, .close = faulty_close,
};

struct vio_pages *vio_pages_faulty_open(struct vio_pages *in, const struct vio_pages_faults *f)
{
	struct faulty *y = calloc(1, sizeof *y);

	if (!y)
		return NULL;
	y->pages.ops = &faulty_ops;
	y->inner = in;
	y->f = *f;
	return &y->pages;
}
