#include <vio/ring/freestanding.h>
#include <vio/ring/walk.h>

/* ---- Building a chain ---- */

void vio_devq_break(struct vio_devq *q, const char *why)
{
	q->why_empty = VIO_BROKEN;
	if (q->broken)
		return;
	q->broken = why;
	q->stats.broken++;
}

bool vio_walk_break(struct vio_devq *q, const char *why)
{
	vio_devq_break(q, why);
	return false;
}

static void free_blocks(struct vio_devq *q, struct vio_seg_block *b)
{
	while (b) {
		const struct vio_seg *link = &b->seg[VIO_BLOCK_SEGS];
		struct vio_seg_block *next = link->len == VIO_SEG_LINK ? link->base : NULL;
		b->seg[0].base = q->free_block;
		q->free_block = b;
		b = next;
	}
}

void vio_walk_abandon(struct vio_devq *q, struct vio_chain *c)
{
	free_blocks(q, c->more);
	c->more = NULL;
}

bool vio_walk_more(struct vio_walk *w)
{
	struct vio_devq *q = w->q;
	struct vio_seg_block *b = q->free_block;

	if (b) {
		q->free_block = b->seg[0].base;
	} else if (q->fresh_block < q->end_block) {
		b = q->fresh_block++;
	} else if (q->inflight == 0) {
		return vio_walk_break(q, "chain in too many pieces: more segments than the queue has memory for");
	} else {
		q->why_empty = VIO_WAIT_SEGMENTS;
		return false;
	}
	b->seg[VIO_BLOCK_SEGS].len = 0;
	*w->end = (struct vio_seg){ b->seg, VIO_SEG_LINK };
	if (!w->c->more)
		w->c->more = b;
	w->seg = b->seg;
	w->end = b->seg + VIO_BLOCK_SEGS;
	return true;
}

/* Outside memory; or, behind an IOMMU, not translated yet. */
static bool unreachable(struct vio_devq *q, uint64_t addr, bool write)
{
	if (!q->mem->iommu)
		return vio_walk_break(q, "buffer outside guest memory");
	q->why_empty = VIO_WAIT_IOTLB;
	q->miss_addr = addr;
	q->miss_perm = write ? VIO_MEM_WRITE : VIO_MEM_READ;
	return false;
}

bool vio_walk_far(struct vio_walk *w, uint64_t addr, uint32_t len, bool write)
{
	struct vio_devq *q = w->q;
	const struct vio_mem *m = q->mem;
	uint64_t left = len;

	if (len - 1 > UINT64_MAX - addr)
		return vio_walk_break(q, "buffer wraps around the end of the address space");
	while (left) {
		struct vio_mem_hit hit;
		if (!vio_mem_find(m, addr, write ? VIO_MEM_WRITE : VIO_MEM_READ, &hit))
			return unreachable(q, addr, write);
		uint64_t at = addr - hit.addr, n = hit.size - at;
		if (n > left)
			n = left;
		if (m->clip && n > m->clip)
			n = m->clip;
		else if (!m->clip)
			q->hit = hit;
		if (!vio_walk_put(w, hit.host + at, (size_t)n, write))
			return false;
		addr += n;
		left -= n;
	}
	return true;
}

/* Behind an IOMMU, wait for the first byte that is not translated yet. */
static void no_table(struct vio_devq *q, uint64_t addr, uint64_t left)
{
	struct vio_mem_hit hit;

	while (q->mem->iommu) {
		if (!vio_mem_find(q->mem, addr, VIO_MEM_READ, &hit)) {
			unreachable(q, addr, false);
			return;
		}
		uint64_t n = hit.size - (addr - hit.addr);
		if (n >= left)
			break;
		addr += n;
		left -= n;
	}
	vio_devq_break(q, "indirect table outside guest memory, or in two regions of it");
}

const void *vio_walk_indirect(struct vio_devq *q, uint64_t addr, uint32_t len)
{
	if (len == 0 || len % sizeof(struct vio_split_desc)) {
		vio_devq_break(q, "indirect table whose length is not a multiple of 16");	/* 2.7.5.3.1 */
		return NULL;
	}
	uint64_t at = addr - q->hit.addr;
	if (at < q->hit.size && len <= q->hit.size - at && q->hit.perm & VIO_MEM_READ)
		return q->hit.host + at;
	if (len - 1 > UINT64_MAX - addr) {
		vio_devq_break(q, "indirect table wraps around the end of the address space");
		return NULL;
	}
	const void *table = vio_mem_span(q->mem, addr, len, VIO_MEM_READ);
	if (!table)
		no_table(q, addr, len);
	return table;
}

/* ---- Verbs ---- */

struct vio_chain *vio_devq_pop(struct vio_devq *q)
{
	if (__builtin_expect(q->broken != NULL || !q->running, 0))
		return vio_devq_none(q, VIO_BROKEN);
	if (q->turn == 0)
		return vio_devq_none(q, VIO_TURN_OVER);
	return q->ops->pop(q);
}

static void release(struct vio_devq *q, struct vio_chain *c)
{
	if (c->more)
		free_blocks(q, c->more);
	q->owner[c->head] = 0;
	c->head = q->free_slot;
	q->free_slot = c->slot;
	q->inflight--;
}

/* In-place I/O may have touched every writable byte, whatever used.len says. */
static void log_written(const struct vio_devq *q, const struct vio_chain *c)
{
	struct vio_cur all = { c->w_seg, 0, c->w_total, 0 };

	while (all.left) {
		size_t n;
		const void *at = vio_cur_front(&all, &n);
		vio_mem_dirty_host(q->mem, at, n);
		vio_cur_skip(&all, n);
	}
}

static void put(struct vio_devq *q, struct vio_chain *c, uint32_t len)
{
	if (!q->broken && !q->dropping)
		q->ops->put(q, c, len);
	release(q, c);
}

/* IN_ORDER (2.7.9, 2.8.11): what is done waits for what was made available before it. */
static void put_in_order(struct vio_devq *q, struct vio_chain *c, uint32_t len)
{
	c->done = true;
	c->used_len = len;
	while (q->order_count) {
		struct vio_chain *oldest = vio_devq_chain(q, q->order[q->order_head]);
		if (!oldest->done)
			return;
		q->order_head = (uint16_t)(q->order_head + 1 == q->place.size ? 0 : q->order_head + 1);
		q->order_count--;
		put(q, oldest, oldest->used_len);
	}
}

static void push_slow(struct vio_devq *q, struct vio_chain *c, uint32_t len)
{
	log_written(q, c);
	if (c->pinned) {
		c->pinned = false;
		q->pins--;
	}
	if (q->in_order)
		put_in_order(q, c, len);
	else
		put(q, c, len);
}

void vio_devq_push(struct vio_devq *q, struct vio_chain *c)
{
	uint32_t len = c->w.done > UINT32_MAX ? UINT32_MAX : (uint32_t)c->w.done;	/* 2.7.8.2: may under-report */

	q->stats.bytes_w += len;
	if (__builtin_expect(q->slow || q->broken, 0)) {
		push_slow(q, c, len);
		return;
	}
	q->ops->put(q, c, len);
	release(q, c);
}

void vio_devq_unpop(struct vio_devq *q, struct vio_chain *c)
{
	if (q->from_replay)
		q->replay_next--;
	else if (q->journal)
		vio_journal_unpopped(q, c);
	if (!q->from_replay)
		q->ops->unpop(q, c);
	if (q->in_order)
		q->order_count--;
	q->stats.chains--;
	q->stats.bytes_r -= c->r_total;
	if (c->pinned)
		q->pins--;
	release(q, c);
}

void vio_devq_tell(struct vio_devq *q)
{
	if (q->broken || (!q->since && !q->held))
		return;
	bool due = q->ops->due(q);
	q->since = 0;
	q->held = 0;
	if (due) {
		q->stats.signals++;
		q->signal(q);
	} else {
		q->stats.signals_suppressed++;
	}
}

void vio_devq_publish(struct vio_devq *q)
{
	q->ops->publish(q);
	q->held += q->unpublished;
	q->unpublished = 0;
	if (!q->hold)
		vio_devq_tell(q);
}

void vio_devq_flush(struct vio_devq *q)
{
	if (q->unpublished && !q->broken)
		vio_devq_publish(q);
}

void vio_devq_together(struct vio_devq *q, bool on)
{
	q->publish_at = on && !q->journal ? UINT16_MAX : VIO_DEVQ_BATCH;
	if (q->unpublished >= q->publish_at && !q->broken)
		vio_devq_publish(q);
}

void vio_devq_quiet(struct vio_devq *q)
{
	if (!q->quiet) {
		q->quiet = true;
		q->ops->quiet(q);
	}
}

bool vio_devq_listen(struct vio_devq *q)
{
	if (q->broken || !q->running)
		return false;		/* nothing will come of looking again */
	q->quiet = false;
	return q->ops->listen(q) || q->replay_next < q->replay_count;
}

/* ---- Life ---- */

static uint32_t round64(uint32_t n) { return (n + 63) & ~UINT32_C(63); }

/* Bookkeeping in front of the blocks: slots, and four arrays of one number an entry. */
static uint64_t fixed_bytes(uint16_t size, uint32_t request_size)
{
	return (uint64_t)size * round64(request_size) + (4 * 2 * (uint64_t)size + 63) / 64 * 64;
}

uint64_t vio_devq_memory(uint16_t size, uint32_t request_size, uint32_t chain_max, uint32_t regions)
{
	uint64_t longest = chain_max > size ? chain_max : size;
	uint64_t segs = 2 * longest + regions + VIO_BLOCK_SEGS;
	return fixed_bytes(size, request_size) + (segs + VIO_BLOCK_SEGS - 1) / VIO_BLOCK_SEGS * sizeof(struct vio_seg_block);
}

/* What is between the used and the available place is in flight: none to size places. */
static bool check_base(uint32_t base, uint16_t size)
{
	uint32_t avail = base & 0x7fff, used = base >> 16 & 0x7fff;
	bool same_lap = (base >> 15 & 1) == base >> 31;

	return avail < size && used < size && (same_lap ? avail >= used : avail <= used);
}

static const char *check(const struct vio_devq_setup *s, bool packed)
{
	uint16_t size = s->place.size;

	if (size == 0 || size > VIO_RING_SIZE_MAX)
		return "queue size is not between 1 and 32768";		/* 2.7, 2.8.10.1 */
	if (!packed && (size & (size - 1)))
		return "split queue's size is not a power of two";	/* 2.7 */
	if (!s->place.desc || !s->place.driver || !s->place.device)
		return "ring is outside guest memory";
	if ((uintptr_t)s->place.desc % 16 || (uintptr_t)s->place.driver % (packed ? 4 : 2) || (uintptr_t)s->place.device % 4)
		return "ring is misaligned";				/* 2.7, 2.8.10.1 */
	if (packed && !check_base(s->base, size))
		return "packed ring's base is outside the ring, or its used place is ahead of its available place";
	if (s->memory_bytes < fixed_bytes(size, s->request_size))
		return "not enough memory for the queue's requests";
	return NULL;
}

static void lay_out(struct vio_devq *q, const struct vio_devq_setup *s)
{
	uint16_t size = s->place.size;
	unsigned char *at = s->memory;

	q->request_size = round64(s->request_size);
	q->slots = at;
	at += (size_t)size * q->request_size;
	q->owner = (uint16_t *)(void *)at;
	q->order = q->owner + size;
	q->replay = q->order + size;
	q->journal_free = q->replay + size;
	at = (unsigned char *)s->memory + fixed_bytes(size, s->request_size);
	q->fresh_block = (struct vio_seg_block *)(void *)at;
	q->end_block = q->fresh_block + (s->memory_bytes - fixed_bytes(size, s->request_size)) / sizeof(struct vio_seg_block);
	q->free_block = NULL;
	q->free_slot = UINT16_MAX;
	q->fresh_slot = 0;
	memset(q->owner, 0, 2 * (size_t)size);
}

static void set_slow(struct vio_devq *q)
{
	q->slow = q->journal || q->mem->dirty.bits || q->in_order || q->pins || q->dropping;
}

static void set_place(struct vio_devq *q, uint32_t base)
{
	if (q->is_packed) {
		q->packed.avail_at = base & 0x7fff;
		q->packed.avail_wrap = base >> 15 & 1;
		q->packed.used_at = base >> 16 & 0x7fff;
		q->packed.used_wrap = base >> 31;
		q->packed.used_held = false;
	} else {
		q->split.avail_next = q->split.avail_seen = (uint16_t)base;
		q->split.used_next = vio_shared_load(&((struct vio_split_used *)q->place.device)->idx);
	}
}

const char *vio_devq_start(struct vio_devq *q, const struct vio_devq_setup *s)
{
	bool packed = vio_has(s->features, VIO_F_RING_PACKED);
	const char *why = check(s, packed);
	if (why)
		return why;

	struct vio_devq_stats stats = q->stats;
	*q = (struct vio_devq){ .place = s->place, .mem = s->mem, .stats = stats, .index = q->index, .dev = q->dev,
		.signal = s->signal, .journal = s->journal, .log_used = s->log_used, .log_used_gpa = s->log_used_gpa };
	q->publish_at = VIO_DEVQ_BATCH;
	q->ops = packed ? &vio_devq_packed_ops : &vio_devq_split_ops;
	q->is_packed = packed;
	q->event_idx = vio_has(s->features, VIO_F_EVENT_IDX);
	q->indirect = vio_has(s->features, VIO_F_INDIRECT_DESC);
	q->in_order = vio_has(s->features, VIO_F_IN_ORDER);
	q->chain_max = s->chain_max > s->place.size ? s->chain_max : s->place.size;
	lay_out(q, s);
	set_place(q, s->base);
	if (q->journal && (why = vio_journal_start(q)))
		return why;
	vio_mem_ref(q->mem);
	set_slow(q);
	q->running = true;
	return NULL;
}

void vio_devq_stop(struct vio_devq *q)
{
	if (!q->running)
		return;
	q->running = false;
	q->inflight = 0;
	vio_mem_unref(q->mem);
	q->mem = NULL;
	q->hit = (struct vio_mem_hit){ 0 };
}

void vio_devq_drop(struct vio_devq *q)
{
	q->dropping = true;
	set_slow(q);
}

uint32_t vio_devq_base(const struct vio_devq *q)
{
	if (!q->is_packed)
		return q->split.avail_next;
	return q->packed.avail_at | (uint32_t)q->packed.avail_wrap << 15 |
	    (uint32_t)q->packed.used_at << 16 | (uint32_t)q->packed.used_wrap << 31;
}

struct vio_chain *vio_devq_inflight(struct vio_devq *q, uint16_t slot)
{
	if (!q->running || slot >= q->fresh_slot)
		return NULL;
	struct vio_chain *c = vio_devq_chain(q, slot);
	if (c->head >= q->place.size || q->owner[c->head] != slot + 1 || c->done)
		return NULL;
	return c;
}

static bool touches(const struct vio_cur *bytes, const struct vio_region *gone)
{
	struct vio_cur c = *bytes;

	while (c.left) {
		size_t n;
		const unsigned char *at = vio_cur_front(&c, &n);
		if ((uintptr_t)at - (uintptr_t)gone->host < gone->size)
			return true;
		vio_cur_skip(&c, n);
	}
	return false;
}

void vio_devq_set_mem(struct vio_devq *q, struct vio_mem *mem, const struct vio_region *gone)
{
	if (!q->running)
		return;
	for (uint16_t slot = 0; gone && slot < q->fresh_slot; slot++) {
		struct vio_chain *c = vio_devq_inflight(q, slot);
		if (!c || c->pinned)
			continue;
		struct vio_cur r = { c->seg, 0, c->r_total, 0 }, w = { c->w_seg, 0, c->w_total, 0 };
		if (touches(&r, gone) || touches(&w, gone)) {
			c->pinned = true;
			q->pins++;
		}
	}
	vio_mem_ref(mem);
	vio_mem_unref(q->mem);
	q->mem = mem;
	q->hit = (struct vio_mem_hit){ 0 };
	set_slow(q);
}
