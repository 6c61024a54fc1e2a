/* The memory twin: the world is in the tester's hand. */
#include <stdlib.h>
#include <vio/host/dial_pair.h>

struct memory_dial {
	struct vio_dial dial;
	uint32_t room;
	struct vio_dial_memory_rules rules;
	struct vio_pair_list due;
	struct vio_pair *made;		/* connected and not taken yet, the last one first */
};

static struct memory_dial *memory_of(struct vio_dial *d) { return (struct memory_dial *)d; }

static void forget(struct vio_pair *p)
{
	struct memory_dial *m = p->arg;

	for (struct vio_pair **at = &m->made; *at; at = &(*at)->owner_next)
		if (*at == p) {
			*at = p->owner_next;
			break;
		}
}

static struct vio_line *memory_connect(struct vio_dial *d, const struct vio_dial_call *call)
{
	struct memory_dial *m = memory_of(d);
	struct vio_pair *p = m->rules.refuse ? NULL : vio_pair_new(call, m->room, &m->due, NULL, m);

	if (!p)
		return NULL;
	p->freed = forget;
	p->end[0].line.answered = p->end[1].line.answered = !m->rules.late;
	p->owner_next = m->made;
	m->made = p;
	return &p->end[0].line;
}

struct vio_line *vio_dial_memory_take(struct vio_dial *d, struct vio_dial_call *call)
{
	struct memory_dial *m = memory_of(d);
	struct vio_pair *p = m->made;

	if (!p)
		return NULL;
	m->made = p->owner_next;
	if (call)
		*call = p->call;
	return &p->end[1].line;
}

void vio_dial_memory_answer(struct vio_line *o, bool yes)
{
	if (yes)
		o->ops->answer(o, 0);
	else
		o->ops->close(o, true);
}

struct vio_line *vio_dial_memory_call(struct vio_dial *d, const struct vio_dial_call *call)
{
	struct memory_dial *m = memory_of(d);
	struct vio_pair *p = vio_pair_new(call, m->room, &m->due, NULL, m);

	if (!p)
		return NULL;
	if (d->incoming && d->incoming(d->arg, call, &p->end[0].line))
		return &p->end[1].line;
	vio_pair_free(p);
	return NULL;
}

uint32_t vio_dial_memory_port(const struct vio_line *o) { return ((const struct vio_pair_end *)o)->port; }

unsigned vio_dial_memory_pump(struct vio_dial *d) { return vio_pair_deliver(&memory_of(d)->due); }

void vio_dial_memory_rules(struct vio_dial *d, struct vio_dial_memory_rules rules) { memory_of(d)->rules = rules; }

/* What was never taken is closed for the tester. */
static void memory_close(struct vio_dial *d)
{
	struct memory_dial *m = memory_of(d);
	struct vio_line *l;

	while ((l = vio_dial_memory_take(d, NULL)))
		l->ops->close(l, true);
	while (m->due.first)
		vio_pair_deliver(&m->due);
	free(m);
}

static const struct vio_dial_ops ops = { .connect = memory_connect, .close = memory_close };

struct vio_dial *vio_dial_memory_open(uint32_t room)
{
	struct memory_dial *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->dial.ops = &ops;
	m->room = room;
	return &m->dial;
}
