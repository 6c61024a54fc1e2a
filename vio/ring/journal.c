/*
 * The in-flight region of vhost-user, written in the order the protocol gives, so that a successor can tell at every
 * instant which chains the driver still waits for.  Somebody else may scribble in the region: nothing read from it is
 * used as an index before it has been checked, and the packed free list is followed in our own copy.
 */
#include <vio/ring/freestanding.h>
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

/* ---- Packed ---- */

/*
 * The free list's two heads, and the two used places with their wrap counters, are each changed by one store: a process
 * may die between any two.
 */
static void set_free(struct vio_journal_packed *j, uint16_t head, uint16_t old)
{
	union { uint16_t f[2]; uint32_t word; } u = { { head, old } };
	RELEASE(*(uint32_t *)(void *)((char *)j + offsetof(struct vio_journal_packed, free_head)), u.word);
}

struct used { uint16_t at; bool wrap; };

static void set_used(struct vio_journal_packed *j, struct used now, struct used old)
{
	union {
		struct { uint16_t at, old_at; uint8_t wrap, old_wrap, pad[2]; } f;
		uint64_t word;
	} u = { { now.at, old.at, now.wrap, old.wrap, { 0, 0 } } };
	RELEASE(*(uint64_t *)(void *)((char *)j + offsetof(struct vio_journal_packed, used_idx)), u.word);
}
VIO_STATIC_ASSERT(offsetof(struct vio_journal_packed, free_head) % 4 == 0 &&
    offsetof(struct vio_journal_packed, old_free_head) == offsetof(struct vio_journal_packed, free_head) + 2 &&
    offsetof(struct vio_journal_packed, used_idx) % 8 == 0 &&
    offsetof(struct vio_journal_packed, old_used_wrap_counter) == offsetof(struct vio_journal_packed, used_idx) + 5,
    "set_free, set_used");

static void packed_fresh(struct vio_devq *q, struct vio_journal_packed *j)
{
	uint16_t size = q->place.size;

	for (uint16_t i = 0; i < size; i++) {
		STORE(j->desc[i].next, (uint16_t)(i + 1));
		q->journal_free[i] = (uint16_t)(i + 1);
	}
	STORE(j->desc_num, size);
	struct used now = { q->packed.used_at, q->packed.used_wrap };
	set_free(j, 0, 0);
	set_used(j, now, now);
	q->journal_free_head = 0;
	RELEASE(j->version, VIO_JOURNAL_VERSION);
}

/* An unfinished batch: commit it when its first descriptor has been given to the driver, otherwise roll it back. */
static const char *packed_settle(struct vio_devq *q, struct vio_journal_packed *j)
{
	struct used now = { LOAD(j->used_idx), LOAD(j->used_wrap_counter) & 1 };
	struct used old = { LOAD(j->old_used_idx), LOAD(j->old_used_wrap_counter) & 1 };
	uint16_t head = LOAD(j->free_head), old_head = LOAD(j->old_free_head), size = q->place.size;

	if (old.at >= size || now.at >= size)
		return "in-flight region is damaged: its used index is outside the ring";
	if (now.at != old.at || now.wrap != old.wrap) {
		const struct vio_packed_desc *d = (const struct vio_packed_desc *)q->place.desc + old.at;
		uint16_t flags = vio_shared_load(&d->flags);
		bool still_avail = !!(flags & VIO_DESC_AVAIL) == old.wrap && !!(flags & VIO_DESC_USED) != old.wrap;
		if (still_avail)
			now = old;
		else
			old_head = head;
	}
	set_free(j, old_head, old_head);
	set_used(j, now, now);
	q->packed.used_at = now.at;
	q->packed.used_wrap = now.wrap;
	return NULL;
}

/*
 * The links are followed once, into our own copy: the free list here, the chains in flight by packed_claim().  Until
 * packed_start() is through, an entry holds its successor plus 1, and 0 when nobody has claimed it.
 */
static void packed_free_list(struct vio_devq *q, struct vio_journal_packed *j)
{
	uint16_t size = q->place.size, at = LOAD(j->free_head);

	memset(q->journal_free, 0, 2 * (size_t)size);
	q->journal_free_head = at < size ? at : size;
	while (at < size) {
		uint16_t next = LOAD(j->desc[at].next);
		if (next >= size || next == at || q->journal_free[next])
			next = size;	/* the end; or a loop or a stray link, which ends it too */
		q->journal_free[at] = (uint16_t)(next + 1);
		STORE(j->desc[at].inflight, 0);		/* what is free is not in flight */
		at = next;
	}
}

/* The entries of the chain of num that begins with at.  False: they lead outside, or belong to somebody else. */
static bool packed_claim(struct vio_devq *q, const struct vio_journal_packed *j, uint16_t at, uint16_t num)
{
	uint16_t size = q->place.size;

	while (at < size && !q->journal_free[at]) {
		uint16_t next = --num ? LOAD(j->desc[at].next) : size;
		q->journal_free[at] = (uint16_t)((next < size ? next : size) + 1);
		if (num == 0)
			return true;
		at = next;
	}
	return false;
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
		if (num == 0 || num > size - descs)
			return "in-flight region is damaged: more descriptors in flight than the ring has";
		if (!packed_claim(q, j, i, num))
			return "in-flight region is damaged: a chain leads outside it, or into another one";
		descs += num;
		q->replay[q->replay_count++] = i;
	}
	for (uint16_t i = 0; i < size; i++)
		q->journal_free[i] = q->journal_free[i] ? (uint16_t)(q->journal_free[i] - 1) : (uint16_t)size;
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
	set_free(PACKED(q), m->next, m->next);
	q->journal_free_head = m->next;
}

/* The chain's entries go to the front of the free list, in our copy and in the region's links. */
static void packed_give_back(struct vio_devq *q, const struct vio_chain *c)
{
	uint16_t last = c->journal;

	for (uint16_t n = 1; n < c->descs; n++)
		last = q->journal_free[last];
	STORE(PACKED(q)->desc[last].next, q->journal_free_head);
	q->journal_free[last] = q->journal_free_head;
	q->journal_free_head = c->journal;
}

static struct used used_before(const struct vio_devq *q, uint16_t places)
{
	struct used u = { q->packed.used_at, q->packed.used_wrap };

	if (u.at >= places)
		return (struct used){ (uint16_t)(u.at - places), u.wrap };
	return (struct used){ (uint16_t)(u.at + q->place.size - places), !u.wrap };
}

void vio_journal_packed_using(struct vio_devq *q, const struct vio_chain *c)
{
	struct used now = { q->packed.used_at, q->packed.used_wrap };
	uint16_t old_head = q->journal_free_head;

	packed_give_back(q, c);
	set_free(PACKED(q), c->journal, old_head);
	set_used(PACKED(q), now, used_before(q, c->descs));
}

void vio_journal_packed_used(struct vio_devq *q, const struct vio_chain *c)
{
	struct used now = { q->packed.used_at, q->packed.used_wrap };

	__atomic_thread_fence(__ATOMIC_RELEASE);
	STORE(PACKED(q)->desc[c->journal].inflight, 0);
	set_free(PACKED(q), c->journal, c->journal);
	set_used(PACKED(q), now, now);
}

/* The chain was never popped: what pop recorded is taken back.  Free first: what is free counts as not in flight. */
void vio_journal_unpopped(struct vio_devq *q, const struct vio_chain *c)
{
	if (!q->is_packed) {
		RELEASE(SPLIT(q)->desc[c->head].inflight, 0);
		return;
	}
	packed_give_back(q, c);
	set_free(PACKED(q), c->journal, c->journal);
	RELEASE(PACKED(q)->desc[c->journal].inflight, 0);
}

const char *vio_journal_start(struct vio_devq *q)
{
	return q->is_packed ? packed_start(q) : split_start(q);
}
