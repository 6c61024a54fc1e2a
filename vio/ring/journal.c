/*
 * The in-flight region of vhost-user, written in the order the protocol gives, so that a successor can tell at every
 * instant which chains the driver still waits for.  Somebody else may scribble in the region: nothing read from it is
 * used as an index before it has been checked, and the packed free list is followed in our own copy.
 */
#include <vio/ring/walk.h>

#define SPLIT(q) ((struct vio_journal_split *)(q)->journal)
#define PACKED(q) ((struct vio_journal_packed *)(q)->journal)
#define LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define STORE(field, v) __atomic_store_n(&(field), (v), __ATOMIC_RELAXED)
#define RELEASE(field, v) __atomic_store_n(&(field), (v), __ATOMIC_RELEASE)

static uint64_t counter_of(const struct vio_devq *q, uint16_t i)
{
	return q->is_packed ? LOAD(PACKED(q)->desc[i].counter) : LOAD(SPLIT(q)->desc[i].counter);
}

/* Heap sort by counter: no memory, n log n.  A counter that changes meanwhile costs its writer the order, nobody else. */
static void sift(struct vio_devq *q, uint32_t root, uint32_t n)
{
	for (uint32_t child; (child = 2 * root + 1) < n; root = child) {
		if (child + 1 < n && counter_of(q, q->replay[child]) < counter_of(q, q->replay[child + 1]))
			child++;
		if (counter_of(q, q->replay[root]) >= counter_of(q, q->replay[child]))
			return;
		uint16_t swap = q->replay[root];
		q->replay[root] = q->replay[child];
		q->replay[child] = swap;
	}
}

static void sort_replay(struct vio_devq *q)
{
	uint32_t n = q->replay_count;

	for (uint32_t i = n / 2; i-- > 0;)
		sift(q, i, n);
	for (uint32_t end = n; end-- > 1;) {
		uint16_t swap = q->replay[0];
		q->replay[0] = q->replay[end];
		q->replay[end] = swap;
		sift(q, 0, end);
	}
	q->journal_counter = n ? counter_of(q, q->replay[n - 1]) + 1 : 0;
}

/* ---- Split ---- */

/* used_idx behind the ring's index: the last batch was published, but its flags were not cleared any more. */
static const char *split_settle(struct vio_devq *q, struct vio_journal_split *j)
{
	uint16_t batch = (uint16_t)(q->split.used_next - LOAD(j->used_idx));
	uint16_t at = LOAD(j->last_batch_head);

	if (batch > q->place.size)
		return "in-flight region and used ring do not belong together";
	for (; batch; batch--) {
		if (at >= q->place.size)
			return "in-flight region links outside itself";
		STORE(j->desc[at].inflight, 0);
		at = LOAD(j->desc[at].next);
	}
	RELEASE(j->used_idx, q->split.used_next);
	return NULL;
}

static const char *split_start(struct vio_devq *q)
{
	struct vio_journal_split *j = SPLIT(q);
	uint16_t size = q->place.size;

	if (LOAD(j->version) == 0) {
		STORE(j->desc_num, size);
		STORE(j->used_idx, q->split.used_next);
		RELEASE(j->version, VIO_JOURNAL_VERSION);
		return NULL;
	}
	if (LOAD(j->version) != VIO_JOURNAL_VERSION || LOAD(j->desc_num) != size)
		return "in-flight region is of another version, or for another queue size";
	const char *why = split_settle(q, j);
	if (why)
		return why;
	for (uint16_t i = 0; i < size; i++) {
		uint8_t inflight = LOAD(j->desc[i].inflight);
		if (inflight > 1)
			return "in-flight region is damaged: a flag is neither 0 nor 1";
		if (inflight)
			q->replay[q->replay_count++] = i;
	}
	sort_replay(q);
	if (q->replay_count)	/* what is in flight was taken from the available ring, whatever the front end remembers */
		q->split.avail_next = q->split.avail_seen = (uint16_t)(q->split.used_next + q->replay_count);
	return NULL;
}

void vio_journal_split_popped(struct vio_devq *q, uint16_t head)
{
	struct vio_journal_split_desc *d = &SPLIT(q)->desc[head];

	if (q->replay_next < q->replay_count)
		return;		/* it is down already, with the counter that it had */
	STORE(d->counter, q->journal_counter++);
	RELEASE(d->inflight, 1);
}

void vio_journal_split_put(struct vio_devq *q, uint16_t head)
{
	STORE(SPLIT(q)->desc[head].next, LOAD(SPLIT(q)->last_batch_head));
	RELEASE(SPLIT(q)->last_batch_head, head);
	q->batch[q->unpublished] = head;
}

void vio_journal_split_published(struct vio_devq *q)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (uint16_t i = 0; i < q->unpublished; i++)
		STORE(SPLIT(q)->desc[q->batch[i]].inflight, 0);
	RELEASE(SPLIT(q)->used_idx, q->split.used_next);
}

/* The chain was never popped: what pop recorded is taken back.  A packed chain's entries are still linked as they were. */
void vio_journal_unpopped(struct vio_devq *q, const struct vio_chain *c)
{
	if (!q->is_packed) {
		RELEASE(SPLIT(q)->desc[c->head].inflight, 0);
		return;
	}
	RELEASE(PACKED(q)->desc[c->journal].inflight, 0);
	RELEASE(PACKED(q)->free_head, c->journal);
	RELEASE(PACKED(q)->old_free_head, c->journal);
	q->journal_free_head = c->journal;
}

/* ---- Packed ---- */

static void packed_fresh(struct vio_devq *q, struct vio_journal_packed *j)
{
	uint16_t size = q->place.size;

	for (uint16_t i = 0; i < size; i++) {
		STORE(j->desc[i].next, (uint16_t)(i + 1));
		q->journal_free[i] = (uint16_t)(i + 1);
	}
	STORE(j->desc_num, size);
	STORE(j->free_head, 0);
	STORE(j->old_free_head, 0);
	STORE(j->used_idx, q->packed.used_at);
	STORE(j->old_used_idx, q->packed.used_at);
	STORE(j->used_wrap_counter, q->packed.used_wrap);
	STORE(j->old_used_wrap_counter, q->packed.used_wrap);
	q->journal_free_head = 0;
	RELEASE(j->version, VIO_JOURNAL_VERSION);
}

/* An unfinished batch: commit it when its first descriptor has been given to the driver, otherwise roll it back. */
static const char *packed_settle(struct vio_devq *q, struct vio_journal_packed *j)
{
	uint16_t old = LOAD(j->old_used_idx), size = q->place.size;

	if (old >= size || LOAD(j->used_idx) >= size)
		return "in-flight region is damaged: its used index is outside the ring";
	if (LOAD(j->used_idx) != old || LOAD(j->used_wrap_counter) != LOAD(j->old_used_wrap_counter)) {
		const struct vio_packed_desc *d = (const struct vio_packed_desc *)q->place.desc + old;
		uint16_t flags = vio_shared_load(&d->flags);
		bool wrap = LOAD(j->old_used_wrap_counter) & 1;
		bool still_avail = !!(flags & VIO_DESC_AVAIL) == wrap && !!(flags & VIO_DESC_USED) != wrap;
		if (!still_avail) {
			STORE(j->old_free_head, LOAD(j->free_head));
			STORE(j->old_used_idx, LOAD(j->used_idx));
			RELEASE(j->old_used_wrap_counter, LOAD(j->used_wrap_counter));
		}
	}
	STORE(j->free_head, LOAD(j->old_free_head));
	STORE(j->used_idx, LOAD(j->old_used_idx));
	RELEASE(j->used_wrap_counter, LOAD(j->old_used_wrap_counter));
	q->packed.used_at = LOAD(j->used_idx);
	q->packed.used_wrap = LOAD(j->used_wrap_counter) & 1;
	return q->packed.used_at < size ? NULL : "in-flight region is damaged: its used index is outside the ring";
}

/* Follow the free list once, into our own copy; what is on it is not in flight.  A loop or a stray link ends it. */
static void packed_free_list(struct vio_devq *q, struct vio_journal_packed *j)
{
	uint16_t size = q->place.size, at = LOAD(j->free_head);

	for (uint16_t i = 0; i < size; i++)
		q->journal_free[i] = 0;		/* not seen; a seen one holds its successor, plus 1 for the moment */
	q->journal_free_head = at < size ? at : size;
	while (at < size && q->journal_free[at] == 0) {
		uint16_t next = LOAD(j->desc[at].next);
		if (next > size || (next < size && q->journal_free[next]) || next == at)
			next = size;
		q->journal_free[at] = (uint16_t)(next + 1);
		STORE(j->desc[at].inflight, 0);
		at = next;
	}
	for (uint16_t i = 0; i < size; i++)
		if (q->journal_free[i])
			q->journal_free[i]--;
		else
			q->journal_free[i] = size;
}

static const char *packed_start(struct vio_devq *q)
{
	struct vio_journal_packed *j = PACKED(q);
	uint32_t size = q->place.size, descs = 0;

	if (LOAD(j->version) == 0) {
		packed_fresh(q, j);
		return NULL;
	}
	if (LOAD(j->version) != VIO_JOURNAL_VERSION || LOAD(j->desc_num) != size)
		return "in-flight region is of another version, or for another queue size";
	const char *why = packed_settle(q, j);
	if (why)
		return why;
	packed_free_list(q, j);
	for (uint16_t i = 0; i < size; i++) {
		uint8_t inflight = LOAD(j->desc[i].inflight);
		uint16_t num = LOAD(j->desc[i].num);
		if (inflight > 1)
			return "in-flight region is damaged: a flag is neither 0 nor 1";
		if (!inflight)
			continue;
		if (num == 0 || num > size - descs || LOAD(j->desc[i].last) >= size)
			return "in-flight region is damaged: more descriptors in flight than the ring has";
		descs += num;
		q->replay[q->replay_count++] = i;
	}
	sort_replay(q);
	uint32_t at = q->packed.used_at + descs;	/* a journal knows better than the front end, which may not */
	q->packed.avail_at = (uint16_t)(at >= size ? at - size : at);
	q->packed.avail_wrap = at >= size ? !q->packed.used_wrap : q->packed.used_wrap;
	return NULL;
}

bool vio_journal_packed_record(struct vio_devq *q, struct vio_journal_mark *m, const struct vio_desc *d)
{
	if (m->next >= q->place.size)
		return false;
	struct vio_journal_packed_desc *e = &PACKED(q)->desc[m->next];
	STORE(e->addr, d->addr);
	STORE(e->len, d->len);
	STORE(e->id, d->lo);
	STORE(e->flags, d->hi);
	m->last = m->next;
	m->next = q->journal_free[m->next];
	return true;
}

void vio_journal_packed_popped(struct vio_devq *q, const struct vio_journal_mark *m, uint16_t num)
{
	struct vio_journal_packed_desc *head = &PACKED(q)->desc[m->first];

	STORE(head->num, num);
	STORE(head->last, m->last);
	STORE(head->counter, q->journal_counter++);
	RELEASE(head->inflight, 1);
	RELEASE(PACKED(q)->free_head, m->next);
	RELEASE(PACKED(q)->old_free_head, m->next);
	q->journal_free_head = m->next;
}

void vio_journal_packed_put(struct vio_devq *q, const struct vio_chain *c)
{
	struct vio_journal_packed *j = PACKED(q);
	uint16_t last = LOAD(j->desc[c->journal].last);

	if (last >= q->place.size)
		last = c->journal;	/* somebody scribbled: the entries in between are lost to him */
	STORE(j->desc[last].next, q->journal_free_head);
	q->journal_free[last] = q->journal_free_head;
	RELEASE(j->free_head, c->journal);
	q->journal_free_head = c->journal;
	q->batch[q->unpublished] = c->journal;
}

void vio_journal_packed_publishing(struct vio_devq *q)
{
	STORE(PACKED(q)->used_wrap_counter, q->packed.used_wrap);
	RELEASE(PACKED(q)->used_idx, q->packed.used_at);
}

void vio_journal_packed_published(struct vio_devq *q)
{
	struct vio_journal_packed *j = PACKED(q);

	__atomic_thread_fence(__ATOMIC_RELEASE);
	for (uint16_t i = 0; i < q->unpublished; i++)
		STORE(j->desc[q->batch[i]].inflight, 0);
	STORE(j->old_free_head, q->journal_free_head);
	STORE(j->old_used_idx, q->packed.used_at);
	RELEASE(j->old_used_wrap_counter, q->packed.used_wrap);
}

const char *vio_journal_start(struct vio_devq *q)
{
	return q->is_packed ? packed_start(q) : split_start(q);
}
