/* The faulty twin of streams. */
#include <vio/host/stream.h>
#include <stdlib.h>

struct faulty {
	struct vio_stream stream;
	struct vio_stream *inner;
	struct vio_stream_faults faults;
	unsigned calls;
	unsigned owed;			/* VIO_STREAM_*: said NONE although it could */
};

static struct faulty *faulty_of(struct vio_stream *s) { return (struct faulty *)s; }

static bool turn_of(const struct faulty *f, unsigned every) { return every && f->calls % every == 0; }

static long call(struct faulty *f, struct vio_cur *c, unsigned what, long (*fn)(struct vio_stream *s, struct vio_cur *c))
{
	struct vio_cur rest;

	f->calls++;
	if (turn_of(f, f->faults.end_every))
		return VIO_STREAM_END;
	if (turn_of(f, f->faults.late_every)) {
		f->owed |= what;
		return VIO_STREAM_NONE;
	}
	if (!turn_of(f, f->faults.short_every) || c->left < 2)
		return fn(f->inner, c);
	rest = *c;
	struct vio_cur after = vio_cur_split(&rest, 1);
	long got = fn(f->inner, &rest);
	if (got > 0) {
		after.done = c->done + 1;
		*c = after;
	}
	return got;
}

static long faulty_read(struct vio_stream *s, struct vio_cur *c)
{
	return call(faulty_of(s), c, VIO_STREAM_READ, faulty_of(s)->inner->ops->read);
}

static long faulty_write(struct vio_stream *s, struct vio_cur *c)
{
	return call(faulty_of(s), c, VIO_STREAM_WRITE, faulty_of(s)->inner->ops->write);
}

static void take_after(struct faulty *f)
{
	f->stream.open = f->inner->open;
	f->stream.columns = f->inner->columns;
	f->stream.rows = f->inner->rows;
}

static void on_ready(void *arg, unsigned what)
{
	struct faulty *f = arg;

	take_after(f);
	if (f->stream.ready)
		f->stream.ready(f->stream.arg, what);
}

static void faulty_pause(struct vio_stream *s, bool paused)
{
	if (faulty_of(s)->inner->ops->pause)
		faulty_of(s)->inner->ops->pause(faulty_of(s)->inner, paused);
}

static void faulty_close(struct vio_stream *s)
{
	vio_stream_close(faulty_of(s)->inner);
	free(s);
}

static const struct vio_stream_ops ops = {
	.read = faulty_read, .write = faulty_write, .pause = faulty_pause, .close = faulty_close,
};

struct vio_stream *vio_stream_faulty(struct vio_stream *inner, const struct vio_stream_faults *faults)
{
	struct faulty *f = inner ? calloc(1, sizeof *f) : NULL;

	if (!f) {
		vio_stream_close(inner);
		return NULL;
	}
	f->stream.ops = &ops;
	f->inner = inner;
	f->faults = *faults;
	inner->ready = on_ready;
	inner->arg = f;
	take_after(f);
	return &f->stream;
}

void vio_stream_faulty_release(struct vio_stream *s)
{
	struct faulty *f = faulty_of(s);
	unsigned owed = f->owed;

	f->owed = 0;
	if (owed && s->ready)
		s->ready(s->arg, owed);
}

struct vio_stream *vio_stream_faulty_inner(struct vio_stream *s) { return faulty_of(s)->inner; }
