/* The faulty twin: any dial, of which every n-th thing goes wrong. */
#include <stdlib.h>
#include <vio/host/dial.h>

struct faulty {
	struct vio_dial dial;
	struct vio_dial *inner;
	struct vio_dial_faults faults;
	unsigned connects;
};

struct faulty_line {
	struct vio_line line;
	struct vio_line *inner;
	struct faulty *f;
	unsigned moves;
};

static struct faulty_line *faulty_line(struct vio_line *l) { return (struct faulty_line *)l; }
static bool due(unsigned n, unsigned nth) { return nth && n % nth == 0; }

/* What the device sees of the inner line. */
static void reflect(struct faulty_line *l)
{
	l->line.message = l->inner->message;
	l->line.answered = l->inner->answered;
	l->line.deaf = l->inner->deaf;
}

static void on_event(void *arg, unsigned what)
{
	struct faulty_line *l = arg;

	reflect(l);
	l->line.event(l->line.arg, what);
}

static long move(struct vio_line *line, struct vio_cur *c, bool write)
{
	struct faulty_line *l = faulty_line(line);
	const struct vio_dial_faults *x = &l->f->faults;
	struct vio_cur part = *c;
	bool cut = due(++l->moves, x->short_nth) && write;	/* a short read would promise an event that does not come */

	if (due(l->moves, x->reset_nth))
		return VIO_LINE_RESET;
	if (cut && !line->message && part.left > 1)
		part.left = 1;
	l->inner->eor = line->eor;
	long n = (write ? l->inner->ops->write : l->inner->ops->read)(l->inner, &part);
	reflect(l);
	line->eor = l->inner->eor;
	if (n > 0)
		vio_cur_skip(c, (uint64_t)n);
	return n;
}

static long faulty_read(struct vio_line *l, struct vio_cur *c) { return move(l, c, false); }
static long faulty_write(struct vio_line *l, struct vio_cur *c) { return move(l, c, true); }

static void faulty_shutdown(struct vio_line *l, unsigned what)
{
	faulty_line(l)->inner->ops->shutdown(faulty_line(l)->inner, what);
}

static void faulty_answer(struct vio_line *l, uint32_t port)
{
	faulty_line(l)->inner->ops->answer(faulty_line(l)->inner, port);
	reflect(faulty_line(l));
}

static void faulty_line_close(struct vio_line *l, bool reset)
{
	faulty_line(l)->inner->ops->close(faulty_line(l)->inner, reset);
	free(l);
}

static const struct vio_line_ops line_ops = {
	.read = faulty_read, .write = faulty_write, .shutdown = faulty_shutdown, .answer = faulty_answer, .close = faulty_line_close,
};

static struct faulty_line *wrap(struct faulty *f, struct vio_line *inner)
{
	struct faulty_line *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	*l = (struct faulty_line){ .line.ops = &line_ops, .inner = inner, .f = f };
	inner->event = on_event;
	inner->arg = l;
	reflect(l);
	return l;
}

static struct vio_line *faulty_connect(struct vio_dial *d, const struct vio_dial_call *call)
{
	struct faulty *f = (struct faulty *)d;
	struct vio_line *inner = due(++f->connects, f->faults.refuse_nth) ? NULL : f->inner->ops->connect(f->inner, call);
	struct faulty_line *l = inner ? wrap(f, inner) : NULL;

	if (inner && !l)
		inner->ops->close(inner, true);
	return l ? &l->line : NULL;
}

static bool on_incoming(void *arg, const struct vio_dial_call *call, struct vio_line *inner)
{
	struct faulty *f = arg;
	struct faulty_line *l = wrap(f, inner);

	if (l && f->dial.incoming && f->dial.incoming(f->dial.arg, call, &l->line))
		return true;
	free(l);
	return false;
}

static void faulty_close(struct vio_dial *d)
{
	struct faulty *f = (struct faulty *)d;

	f->inner->ops->close(f->inner);
	free(f);
}

static const struct vio_dial_ops ops = { .connect = faulty_connect, .close = faulty_close };

struct vio_dial *vio_dial_faulty_open(struct vio_dial *inner, const struct vio_dial_faults *faults)
{
	struct faulty *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	*f = (struct faulty){ .dial.ops = &ops, .inner = inner, .faults = *faults };
	inner->incoming = on_incoming;
	inner->arg = f;
	return &f->dial;
}
