/*
 * Packed virtqueues, device side (2.8).
 *
 * A batch is published by releasing its first used descriptor last: until then the driver, which looks at one place only,
 * sees none of the others.
 */
#include <vio/ring/walk.h>

#define RING(q) ((struct vio_packed_desc *)(q)->place.desc)
#define DRIVER_EVENT(q) ((struct vio_packed_event *)(q)->place.driver)
#define DEVICE_EVENT(q) ((struct vio_packed_event *)(q)->place.device)

static bool is_avail(uint16_t flags, bool wrap)
{
	return !!(flags & VIO_DESC_AVAIL) == wrap && !!(flags & VIO_DESC_USED) != wrap;	/* 2.8.1 */
}

/* An indirect table is read front to back; of the flags inside only WRITE means something (2.8.7). */
static bool walk_table(struct vio_walk *w, const struct vio_desc *d)
{
	struct vio_devq *q = w->q;
	const void *table = vio_walk_indirect(q, d->addr, d->len);
	if (!table)
		return false;
	uint32_t count = d->len / (uint32_t)sizeof(struct vio_packed_desc);
	if (count > q->chain_max)
		return vio_walk_break(q, "chain of more descriptors than the queue has, or a loop");
	for (uint32_t i = 0; i < count; i++) {
		struct vio_desc e = vio_desc_load(table, i);
		if (e.hi & VIO_DESC_INDIRECT)
			return vio_walk_break(q, "indirect table inside an indirect table");
		if (!vio_walk_append(w, e.addr, e.len, e.hi & VIO_DESC_WRITE))
			return false;
	}
	return true;
}

static bool walk_desc(struct vio_walk *w, const struct vio_desc *d, bool lone)
{
	if (!(d->hi & VIO_DESC_INDIRECT))
		return vio_walk_append(w, d->addr, d->len, d->hi & VIO_DESC_WRITE);
	if (!w->q->indirect)
		return vio_walk_break(w->q, "indirect descriptor, but INDIRECT_DESC was not negotiated");
	if (!lone || d->hi & VIO_DESC_NEXT)
		return vio_walk_break(w->q, "indirect descriptor inside a list");	/* 2.8.7.1 */
	return walk_table(w, d);
}

/* Places of the ring that the device does not have; chains in flight hold the others (see check_base() in devq.c). */
static uint16_t places_free(const struct vio_devq *q)
{
	uint32_t avail = q->packed.avail_at + (q->packed.avail_wrap == q->packed.used_wrap ? 0u : q->place.size);

	return (uint16_t)(q->place.size - (avail - q->packed.used_at));
}

struct list { uint16_t id, descs; };

/* The list of descriptors that begins with d, at the available place; a journal takes each of them down. */
static bool walk_list(struct vio_walk *w, struct vio_desc d, struct list *l, struct vio_journal_mark *m)
{
	struct vio_devq *q = w->q;
	uint16_t i = q->packed.avail_at, room = places_free(q);

	for (l->descs = 1;; l->descs++) {
		if (__builtin_expect(q->journal != NULL, 0) && !vio_journal_packed_record(q, m, &d))
			return vio_walk_break(q, "in-flight region has no room for the chain");
		if (!walk_desc(w, &d, l->descs == 1))
			return false;
		if (!(d.hi & VIO_DESC_NEXT))
			break;
		if (l->descs == room)
			return vio_walk_break(q, "chain of more descriptors than the queue has, or a loop");
		if (++i == q->place.size)
			i = 0;
		d = vio_desc_load(RING(q), i);
	}
	l->id = d.lo;
	return true;
}

static bool check_id(struct vio_devq *q, uint16_t id)
{
	if (id >= q->place.size)	/* docs/decisions/buffer-ids.md */
		return vio_walk_break(q, "buffer id is not below the queue size");
	if (q->owner[id])
		return vio_walk_break(q, "buffer id made available again while the device still has it");
	return true;
}

/* A list that a predecessor left in the journal: its links were checked and copied at start. */
static bool walk_journal(struct vio_walk *w, uint16_t first, struct list *l)
{
	const struct vio_devq *q = w->q;
	const struct vio_journal_packed *j = q->journal;

	for (uint16_t at = first; at < q->place.size; at = q->journal_free[at]) {
		const struct vio_journal_packed_desc *e = &j->desc[at];
		struct vio_desc d = { __atomic_load_n(&e->addr, __ATOMIC_RELAXED), __atomic_load_n(&e->len, __ATOMIC_RELAXED),
			__atomic_load_n(&e->id, __ATOMIC_RELAXED), __atomic_load_n(&e->flags, __ATOMIC_RELAXED) };
		l->descs++;
		l->id = d.lo;
		if (!walk_desc(w, &d, l->descs == 1))
			return false;
	}
	return true;
}

static struct vio_chain *pop_replay(struct vio_devq *q)
{
	struct list l = { 0 };
	uint16_t first = q->replay[q->replay_next];
	struct vio_walk w = vio_walk_begin(q);

	if (!walk_journal(&w, first, &l) || !check_id(q, l.id)) {
		vio_walk_abandon(q, w.c);
		return NULL;
	}
	q->replay_next++;
	q->from_replay = true;
	struct vio_chain *c = vio_walk_commit(&w, l.id, l.descs);
	c->journal = first;
	return c;
}

static void advance(struct vio_devq *q, uint16_t descs)
{
	q->packed.avail_at = (uint16_t)(q->packed.avail_at + descs);
	if (q->packed.avail_at >= q->place.size) {
		q->packed.avail_at = (uint16_t)(q->packed.avail_at - q->place.size);
		q->packed.avail_wrap = !q->packed.avail_wrap;
	}
}

static struct vio_chain *packed_pop(struct vio_devq *q)
{
	struct list l = { 0 };

	q->why_empty = VIO_EMPTY;
	if (__builtin_expect(q->replay_next < q->replay_count, 0))
		return pop_replay(q);
	const struct vio_packed_desc *first = &RING(q)[q->packed.avail_at];
	uint64_t word = vio_packed_acquire(first);				/* barrier A */
	if (!is_avail((uint16_t)(word >> 48), q->packed.avail_wrap))
		return NULL;
	if (__builtin_expect(places_free(q) == 0, 0)) {
		vio_devq_break(q, "descriptor made available again while the device still has it");
		return NULL;
	}
	struct vio_desc d = { vio_le64_get((vio_le64){ __atomic_load_n(&first->addr.wire, __ATOMIC_RELAXED) }),
		(uint32_t)word, (uint16_t)(word >> 32), (uint16_t)(word >> 48) };

	if (__builtin_expect(!q->slow, 1) && d.lo < q->place.size && !q->owner[d.lo]) {
		struct vio_chain *c = vio_chain_lone(q, &d, d.hi, d.lo);
		if (c) {
			advance(q, 1);
			return c;
		}
	}
	struct vio_journal_mark m = { q->journal_free_head, 0, q->journal_free_head };
	struct vio_walk w = vio_walk_begin(q);
	if (!walk_list(&w, d, &l, &m) || !check_id(q, l.id)) {
		vio_walk_abandon(q, w.c);
		return NULL;
	}
	if (__builtin_expect(q->journal != NULL, 0))
		vio_journal_packed_popped(q, &m, l.descs);
	advance(q, l.descs);
	q->from_replay = false;
	struct vio_chain *c = vio_walk_commit(&w, l.id, l.descs);
	c->journal = m.first;
	return c;
}

static void packed_unpop(struct vio_devq *q, const struct vio_chain *c)
{
	if (q->packed.avail_at < c->descs) {
		q->packed.avail_at = (uint16_t)(q->packed.avail_at + q->place.size);
		q->packed.avail_wrap = !q->packed.avail_wrap;
	}
	q->packed.avail_at = (uint16_t)(q->packed.avail_at - c->descs);
}

static void advance_used(struct vio_devq *q, uint16_t places)
{
	uint32_t next = (uint32_t)q->packed.used_at + places;

	if (next >= q->place.size) {
		next -= q->place.size;
		q->packed.used_wrap = !q->packed.used_wrap;
	}
	q->packed.used_at = (uint16_t)next;
}

static void log_place(struct vio_devq *q, uint16_t at)
{
	vio_mem_dirty_host(q->mem, &RING(q)[at], sizeof(struct vio_packed_desc));
}

/*
 * With a journal each used descriptor is published by itself.  Of a batch, all but the first would already stand in the
 * ring, used, if we died before the first; the driver would come upon them behind whatever a successor uses first.
 */
static void put_recorded(struct vio_devq *q, const struct vio_chain *c, uint16_t at, uint64_t word)
{
	vio_journal_packed_using(q, c);
	vio_packed_release(&RING(q)[at], word);					/* barrier B */
	vio_journal_packed_used(q, c);
	log_place(q, at);
}

static void packed_put(struct vio_devq *q, const struct vio_chain *c, uint32_t len)
{
	uint16_t at = q->packed.used_at;
	unsigned flags = q->packed.used_wrap ? VIO_DESC_AVAIL | VIO_DESC_USED : 0;
	uint64_t word = vio_packed_word(len, c->head, (uint16_t)(flags | (len ? VIO_DESC_WRITE : 0)));

	advance_used(q, c->descs);
	if (__builtin_expect(q->journal != NULL, 0)) {
		put_recorded(q, c, at, word);
	} else if (q->packed.used_held) {
		vio_packed_store(&RING(q)[at], word);
		if (__builtin_expect(q->slow, 0))
			log_place(q, at);
	} else {
		q->packed.used_held = true;
		q->packed.used_held_at = at;
		q->packed.used_held_word = word;
	}
	vio_devq_put_done(q, c->descs);
}

static void packed_publish(struct vio_devq *q)
{
	if (q->packed.used_held) {
		uint16_t at = q->packed.used_held_at;
		vio_packed_release(&RING(q)[at], q->packed.used_held_word);	/* barrier B */
		q->packed.used_held = false;
		if (__builtin_expect(q->slow, 0))
			log_place(q, at);
	}
	vio_shared_fence();							/* barrier D */
}

static bool packed_due(struct vio_devq *q)
{
	uint16_t flags = vio_shared_load(&DRIVER_EVENT(q)->flags) & 3;

	if (flags == VIO_EVENT_DESC && q->event_idx)
		return vio_packed_event_passed(vio_shared_load(&DRIVER_EVENT(q)->off_wrap), q->packed.used_at,
		    q->packed.used_wrap, (uint16_t)(q->packed.used_at - q->since), q->place.size);
	return flags != VIO_EVENT_DISABLE;
}

static void set_device_event(struct vio_devq *q, uint16_t off_wrap, uint16_t flags)
{
	struct vio_packed_event *e = DEVICE_EVENT(q);

	vio_shared_store(&e->off_wrap, off_wrap);
	vio_shared_release(&e->flags, flags);
	if (q->log_used)
		vio_mem_dirty_gpa(q->mem, q->log_used_gpa, sizeof *e);
}

static void packed_quiet(struct vio_devq *q)
{
	set_device_event(q, 0, VIO_EVENT_DISABLE);
}

static bool packed_listen(struct vio_devq *q)
{
	set_device_event(q, (uint16_t)(q->packed.avail_at | (uint16_t)q->packed.avail_wrap << 15),
	    q->event_idx ? VIO_EVENT_DESC : VIO_EVENT_ENABLE);
	vio_shared_fence();							/* barrier C */
	uint64_t word = vio_packed_acquire(&RING(q)[q->packed.avail_at]);
	return is_avail((uint16_t)(word >> 48), q->packed.avail_wrap);
}

const struct vio_devq_ops vio_devq_packed_ops = {
	packed_pop, packed_unpop, packed_put, packed_publish, packed_due, packed_quiet, packed_listen,
};
