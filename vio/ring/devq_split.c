/* Split virtqueues, device side (2.7). */
#include <vio/ring/walk.h>

#define AVAIL(q) ((struct vio_split_avail *)(q)->place.driver)
#define USED(q) ((struct vio_split_used *)(q)->place.device)
#define MASK(q) ((uint16_t)((q)->place.size - 1))

static void log_used(struct vio_devq *q, uint64_t at, uint64_t len)
{
	if (q->log_used)
		vio_mem_dirty_gpa(q->mem, q->log_used_gpa + at, len);
}

/*
 * Zero or more normal descriptors, then perhaps one that refers to an indirect table (2.7.5.3.2); the table links by next
 * and holds no further table (2.7.5.3.1).  WRITE in the referring descriptor is ignored.
 */
static bool walk_chain(struct vio_walk *w, uint16_t head)
{
	struct vio_devq *q = w->q;
	const void *table = q->place.desc;
	uint32_t count = q->place.size, i = head;
	bool inside = false;

	for (;;) {
		struct vio_desc d = vio_desc_load(table, i);
		uint16_t flags = d.lo;
		if (flags & VIO_DESC_INDIRECT) {
			if (!q->indirect)
				return vio_walk_break(q, "indirect descriptor, but INDIRECT_DESC was not negotiated");
			if (inside)
				return vio_walk_break(q, "indirect table inside an indirect table");
			if (flags & VIO_DESC_NEXT)
				return vio_walk_break(q, "descriptor both indirect and chained");
			table = vio_walk_indirect(q, d.addr, d.len);
			if (!table)
				return false;
			count = d.len / (uint32_t)sizeof(struct vio_split_desc);
			w->left += q->chain_max - q->place.size;
			inside = true;
			i = 0;
			continue;
		}
		if (w->left == 0)
			return vio_walk_break(q, "chain of more descriptors than the queue has, or a loop");	/* 2.7.5.3.1 */
		w->left--;
		if (!vio_walk_append(w, d.addr, d.len, flags & VIO_DESC_WRITE))
			return false;
		if (!(flags & VIO_DESC_NEXT))
			return true;
		i = d.hi;
		if (i >= count)
			return vio_walk_break(q, "descriptor links outside its table");
	}
}

/* The next head: a predecessor's unfinished one, or the available ring's.  False: none, and q->why_empty says why. */
static bool next_head(struct vio_devq *q, uint16_t *head)
{
	if (__builtin_expect(q->replay_next < q->replay_count, 0)) {
		*head = q->replay[q->replay_next];
		return true;
	}
	if (q->split.avail_next == q->split.avail_seen) {
		uint16_t seen = vio_shared_acquire(&AVAIL(q)->idx);		/* barrier A */
		uint16_t waiting = (uint16_t)(seen - q->split.avail_next);
		if (waiting == 0) {
			q->why_empty = VIO_EMPTY;
			return false;
		}
		if (waiting > q->place.size) {
			vio_devq_break(q, "available index has moved further than the queue is long");
			return false;
		}
		q->split.avail_seen = seen;
	}
	*head = vio_shared_load(&AVAIL(q)->ring[q->split.avail_next & MASK(q)]);
	return true;
}

static struct vio_chain *split_pop(struct vio_devq *q)
{
	uint16_t head;

	if (!next_head(q, &head))
		return NULL;
	if (head >= q->place.size) {
		vio_devq_break(q, "available ring names a descriptor outside the table");
		return NULL;
	}
	if (q->owner[head]) {
		vio_devq_break(q, "chain made available again while the device still has it");
		return NULL;
	}
	if (__builtin_expect(!q->slow, 1)) {
		struct vio_desc d = vio_desc_load(q->place.desc, head);
		struct vio_chain *c = vio_chain_lone(q, &d, d.lo, head);
		if (c) {
			q->split.avail_next++;
			return c;
		}
	}
	struct vio_walk w = vio_walk_begin(q);
	if (!walk_chain(&w, head)) {
		vio_walk_abandon(q, w.c);
		return NULL;
	}
	if (__builtin_expect(q->journal != NULL, 0))
		vio_journal_split_popped(q, head);
	q->from_replay = q->replay_next < q->replay_count;
	if (q->from_replay)
		q->replay_next++;
	else
		q->split.avail_next++;
	return vio_walk_commit(&w, head, 1);
}

static void split_unpop(struct vio_devq *q, const struct vio_chain *c)
{
	(void)c;
	q->split.avail_next--;
}

static void split_put(struct vio_devq *q, const struct vio_chain *c, uint32_t len)
{
	uint16_t at = q->split.used_next++ & MASK(q);
	struct vio_split_elem *e = &USED(q)->ring[at];

	*e = (struct vio_split_elem){ vio_le32_of(c->head), vio_le32_of(len) };
	if (__builtin_expect(q->slow, 0)) {
		log_used(q, 4 + 8 * (uint64_t)at, 8);
		if (q->journal)
			vio_journal_split_put(q, c->head);
	}
	vio_devq_put_done(q, 1);
}

static void split_publish(struct vio_devq *q)
{
	uint16_t now = q->split.used_next;

	vio_shared_release(&USED(q)->idx, now);					/* barrier B */
	if (__builtin_expect(q->slow, 0)) {
		log_used(q, 2, 2);
		if (q->journal)
			vio_journal_split_published(q);
	}
	vio_shared_fence();							/* barrier D */
}

static bool split_due(struct vio_devq *q)
{
	uint16_t now = q->split.used_next;

	if (q->event_idx)
		return vio_event_passed(vio_shared_load(vio_used_event(q->place.driver, q->place.size)), now,
		    (uint16_t)(now - q->since));
	return !(vio_shared_load(&AVAIL(q)->flags) & VIO_AVAIL_NO_INTERRUPT);
}

static void split_quiet(struct vio_devq *q)
{
	if (q->event_idx)	/* silence is the default once the event has passed; flags stay 0 (2.7.10.1) */
		return;
	vio_shared_store(&USED(q)->flags, VIO_USED_NO_NOTIFY);
	log_used(q, 0, 2);
}

static bool split_listen(struct vio_devq *q)
{
	if (q->event_idx) {
		vio_shared_store(vio_avail_event(q->place.device, q->place.size), q->split.avail_next);
		log_used(q, 4 + 8 * (uint64_t)q->place.size, 2);
	} else {
		vio_shared_store(&USED(q)->flags, 0);
		log_used(q, 0, 2);
	}
	vio_shared_fence();							/* barrier C */
	return vio_shared_load(&AVAIL(q)->idx) != q->split.avail_next;
}

const struct vio_devq_ops vio_devq_split_ops = {
	split_pop, split_unpop, split_put, split_publish, split_due, split_quiet, split_listen,
};
