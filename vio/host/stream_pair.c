/* The memory twin of streams: two of them back to back, each with a ring of bytes that the other one fills. */
#include <vio/host/stream.h>
#include <stdlib.h>

struct end {
	struct vio_stream stream;
	struct end *other;		/* NULL: closed by its owner */
	size_t at, count, room;		/* bytes to be read here */
	bool paused, starved, blocked;	/* read said NONE; the other one's write did */
	unsigned char bytes[];
};

static struct end *end_of(struct vio_stream *s) { return (struct end *)s; }

static void tell(struct end *e, unsigned what)
{
	if (e && e->stream.ready)
		e->stream.ready(e->stream.arg, what);
}

static long pair_read(struct vio_stream *s, struct vio_cur *c)
{
	struct end *e = end_of(s);
	long moved = 0;

	while (e->count && c->left) {
		size_t n = e->room - e->at < e->count ? e->room - e->at : e->count;
		n = n < c->left ? n : (size_t)c->left;
		vio_cur_put(c, e->bytes + e->at, n);
		e->at = (e->at + n) % e->room;
		e->count -= n;
		moved += (long)n;
	}
	if (moved == 0) {
		e->starved = s->open;
		return s->open ? VIO_STREAM_NONE : VIO_STREAM_END;
	}
	if (e->blocked) {
		e->blocked = false;
		tell(e->other, VIO_STREAM_WRITE);
	}
	return moved;
}

static long pair_write(struct vio_stream *s, struct vio_cur *c)
{
	struct end *to = end_of(s)->other;
	long moved = 0;

	if (!to || !s->open)
		return VIO_STREAM_END;
	while (to->count < to->room && c->left) {
		size_t at = (to->at + to->count) % to->room, n = to->room - to->count;
		n = to->room - at < n ? to->room - at : n;
		n = n < c->left ? n : (size_t)c->left;
		vio_cur_get(c, to->bytes + at, n);
		to->count += n;
		moved += (long)n;
	}
	if (moved == 0)
		to->blocked = true;
	else if (to->starved && !to->paused) {
		to->starved = false;
		tell(to, VIO_STREAM_READ);
	}
	return moved;
}

static void pair_pause(struct vio_stream *s, bool paused)
{
	struct end *e = end_of(s);

	e->starved |= e->paused && !paused;
	e->paused = paused;
}

static void pair_close(struct vio_stream *s)
{
	struct end *e = end_of(s);

	if (e->other) {
		e->other->other = NULL;
		vio_stream_pair_open(&e->other->stream, false);
	}
	free(e);
}

static const struct vio_stream_ops ops = { .read = pair_read, .write = pair_write, .pause = pair_pause, .close = pair_close };

bool vio_stream_pair(struct vio_stream *s[2], size_t room)
{
	struct end *e[2] = { calloc(1, sizeof *e[0] + room), calloc(1, sizeof *e[1] + room) };

	if (!e[0] || !e[1]) {
		free(e[0]);
		free(e[1]);
		return false;
	}
	for (unsigned i = 0; i < 2; i++) {
		e[i]->stream = (struct vio_stream){ .ops = &ops, .open = true };
		e[i]->other = e[!i];
		e[i]->room = room;
		s[i] = &e[i]->stream;
	}
	return true;
}

void vio_stream_pair_open(struct vio_stream *s, bool open)
{
	struct end *e = end_of(s);

	if (s->open == open)
		return;
	s->open = open;
	if (!open)
		e->count = 0;
	tell(e, VIO_STREAM_CHANGED);
}
