#include <stdlib.h>
#include <vio/host/dial_pair.h>

static struct vio_pair_end *end_of(struct vio_line *l) { return (struct vio_pair_end *)l; }
static struct vio_pair_end *other(struct vio_pair_end *e) { return &e->pair->end[e == &e->pair->end[0]]; }

/* ---- Events: never from inside an operation ---- */

static void list_pair(struct vio_pair *p)
{
	bool first = !p->list->first;

	if (p->listed)
		return;
	p->listed = true;
	p->next = NULL;
	*(p->list->last ? &p->list->last->next : &p->list->first) = p;
	p->list->last = p;
	if (first && p->wake)
		p->wake(p->arg);
}

static void post(struct vio_pair_end *e, unsigned what)
{
	if (e->closed)
		return;
	e->due |= what;
	list_pair(e->pair);
}

static void release(struct vio_pair *p)
{
	if (p->busy || p->listed || !p->end[0].closed || !p->end[1].closed)
		return;
	if (p->freed)
		p->freed(p);
	vio_pair_free(p);
}

unsigned vio_pair_deliver(struct vio_pair_list *list)
{
	struct vio_pair *p, *last = list->last;
	unsigned n = 0;

	for (bool more = true; more && (p = list->first);) {
		more = p != last;
		list->first = p->next;
		if (!list->first)
			list->last = NULL;
		p->listed = false;
		p->busy = true;
		for (unsigned i = 0; i < 2; i++) {
			struct vio_pair_end *e = &p->end[i];
			unsigned what = e->due;
			e->due = 0;
			if (what && !e->closed && e->line.event) {
				e->line.event(e->line.arg, what);
				n++;
			}
		}
		p->busy = false;
		release(p);
	}
	return n;
}

/* ---- A line ---- */

static void move_out(struct vio_pair_end *e, struct vio_cur *c, uint32_t n)
{
	struct vio_fifo_cur part;

	vio_fifo_front(&e->in, n, &part);
	for (unsigned i = 0; i < 2; i++)
		if (part.seg[i].len)
			vio_cur_put(c, part.seg[i].base, part.seg[i].len);
	vio_fifo_drop(&e->in, n);
}

static long pair_read(struct vio_line *l, struct vio_cur *c)
{
	struct vio_pair_end *e = end_of(l), *o = other(e);
	unsigned what = 0;
	uint32_t n = l->message ? vio_fifo_message(&e->in, &what) : e->in.used;

	if (e->reset)
		return VIO_LINE_RESET;
	if (n == 0)
		return o->ended || o->closed ? VIO_LINE_END : VIO_LINE_NONE;
	if (l->message && n > c->left)
		return VIO_LINE_RESET;
	if (n > c->left)
		n = (uint32_t)c->left;
	bool short_one = n < c->left;
	move_out(e, c, n);
	l->eor = what & VIO_FIFO_EOR;
	if (o->full) {
		o->full = false;
		post(o, VIO_LINE_WRITE);
	}
	if (short_one && (o->ended || o->closed))
		post(e, VIO_LINE_READ);
	return n;
}

static long pair_write(struct vio_line *l, struct vio_cur *c)
{
	struct vio_pair_end *e = end_of(l), *o = other(e);
	uint32_t room = vio_fifo_room(&o->in), n = c->left < room ? (uint32_t)c->left : room;

	if (e->reset)
		return VIO_LINE_RESET;
	if (l->deaf || o->closed)
		return VIO_LINE_END;
	if (l->message && c->left > o->in.size)
		return VIO_LINE_RESET;
	if (n == 0 || (l->message && n < c->left)) {
		e->full = true;
		return VIO_LINE_NONE;
	}
	e->full = n < c->left;
	vio_fifo_put(&o->in, c, n);
	if (l->message)
		vio_fifo_mark(&o->in, l->eor ? VIO_FIFO_EOM | VIO_FIFO_EOR : VIO_FIFO_EOM);
	post(o, VIO_LINE_READ);
	return n;
}

static void pair_shutdown(struct vio_line *l, unsigned what)
{
	struct vio_pair_end *e = end_of(l), *o = other(e);

	if (what & VIO_LINE_WRITE) {
		e->ended = true;
		post(o, VIO_LINE_READ);
	}
	if (what & VIO_LINE_READ) {
		vio_fifo_drop(&e->in, e->in.used);
		o->line.deaf = true;
		post(o, VIO_LINE_WRITE);
	}
}

static void pair_answer(struct vio_line *l, uint32_t port)
{
	struct vio_pair_end *e = end_of(l), *o = other(e);

	l->answered = o->line.answered = true;
	o->port = port;
	post(o, VIO_LINE_ANSWERED);
	if (e->in.used || o->ended)
		post(e, VIO_LINE_READ);
}

static void pair_close(struct vio_line *l, bool reset)
{
	struct vio_pair_end *e = end_of(l), *o = other(e);

	e->closed = true;
	o->line.deaf = true;
	o->reset |= reset;
	post(o, l->answered ? VIO_LINE_READ | VIO_LINE_WRITE : VIO_LINE_GONE);
	release(e->pair);
}

static const struct vio_line_ops ops = {
	.read = pair_read, .write = pair_write, .shutdown = pair_shutdown, .answer = pair_answer, .close = pair_close,
};

/* ---- Life ---- */

struct vio_pair *vio_pair_new(const struct vio_dial_call *call, uint32_t room, struct vio_pair_list *list, void (*wake)(void *arg), void *arg)
{
	struct vio_pair *p = calloc(1, sizeof *p);
	uint32_t size = 64;

	while (size < room && size < UINT32_C(1) << 30)
		size *= 2;
	for (unsigned i = 0; p && i < 2; i++) {
		struct vio_pair_end *e = &p->end[i];
		void *memory = calloc(1, VIO_FIFO_BYTES(size, call->message));
		e->in = vio_fifo_of(memory, size, call->message);
		e->line = (struct vio_line){ .ops = &ops, .message = call->message };
		e->pair = p;
		if (!memory) {
			vio_pair_free(p);
			return NULL;
		}
	}
	if (p) {
		p->call = *call;
		p->list = list;
		p->wake = wake;
		p->arg = arg;
	}
	return p;
}

void vio_pair_free(struct vio_pair *p)
{
	free(p->end[0].in.bytes);
	free(p->end[1].in.bytes);
	free(p);
}
