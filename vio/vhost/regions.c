/*
 * Messages about memory.  Each makes a draft of the current value, changes and checks it, and only then hands the new value
 * out: to every running ring, which goes on with it, and is asked to answer when none of its requests in flight uses what
 * is gone.  The old value stays mapped until the message is answered.
 */
#include <vio/vhost/server.h>

/* ---- Handing out a new value ---- */

static bool lies_in(const struct vio_vhost_ring *r, const struct vio_mem *m)
{
	bool packed = vio_vhost_is_packed(r->s);
	const struct vio_ring_place *p = &r->place;

	return vio_vhost_mem_keeps(m, p->desc, vio_ring_desc_bytes(p->size)) &&
	    vio_vhost_mem_keeps(m, p->driver, vio_ring_driver_bytes(p->size, packed)) &&
	    vio_vhost_mem_keeps(m, p->device, vio_ring_device_bytes(p->size, packed));
}

static const char *adopted(struct vio_vhost *s, struct vio_vhost_work *w)
{
	for (unsigned i = 0; i < s->dev->queues; i++) {
		struct vio_vhost_ring *r = &s->ring[i];
		if (r->parking) {
			r->parking = r->running = false;
			r->base = r->stopped_at;
		}
	}
	vio_mem_unref(w->old);
	w->old = NULL;
	vio_vhost_misses_settle(s);
	return vio_vhost_start_waiting(s, w);
}

/*
 * The draft becomes guest memory.  A ring that lies in memory that goes is stopped, and goes on when there is memory at its
 * addresses again: QEMU takes regions away and gives them back while the guest runs.
 */
static const char *adopt(struct vio_vhost *s, struct vio_vhost_work *w, struct vio_vhost_draft *d)
{
	struct vio_mem *m = vio_vhost_draft_finish(d);

	if (!m)
		return "there is no memory for a table of guest memory";
	w->rests = w->gones != 0;
	for (unsigned i = 0; i < s->dev->queues; i++) {
		struct vio_vhost_ring *r = &s->ring[i];
		if (!r->running || r->parking)
			continue;
		r->parking = !lies_in(r, m);
		struct vio_vhost_order *o = vio_vhost_order(r, w->lane, r->parking ? VIO_ORDER_STOP : VIO_ORDER_MEM);
		if (r->parking) {
			w->rests = true;
		} else {
			o->mem = vio_mem_ref(m);
			o->gone = w->gone;
			o->gones = w->gones;
		}
		vio_vhost_post(o, w);
	}
	w->old = s->mem;
	s->mem = m;
	vio_dev_set_mem(s->dev, m);
	w->next = adopted;
	return vio_vhost_later;
}

/* Host bytes that go.  When there are more ranges than places the last one grows: waiting for too much is only slow. */
static void add_gone(struct vio_vhost_work *w, const struct vio_region *r)
{
	if (r->size == 0)
		return;
	if (w->gones < VIO_VHOST_GONE) {
		w->gone[w->gones++] = *r;
		return;
	}
	struct vio_region *last = &w->gone[VIO_VHOST_GONE - 1];
	uintptr_t from = (uintptr_t)last->host, to = from + last->size;
	if ((uintptr_t)r->host + r->size > to)
		to = (uintptr_t)r->host + r->size;
	if ((uintptr_t)r->host < from)
		from = (uintptr_t)r->host;
	*last = (struct vio_region){ .host = (unsigned char *)from, .size = to - from };
}

/* A device that gives pages back to the host needs the files they are in. */
static bool gives_back(const struct vio_vhost *s) { return s->dev->type->backend == VIO_BACKEND_PAGES; }

static const char *no_memory(void) { return "there is no memory for a table of guest memory"; }

/* ---- Regions ---- */

static void gone_since(struct vio_vhost_work *w, const struct vio_mem *old, const struct vio_vhost_draft *d)
{
	for (uint32_t i = 0; old && i < old->count; i++) {
		uint32_t j = 0;
		while (j < d->count && d->region[j].host != old->region[i].host)
			j++;
		if (j == d->count)
			add_gone(w, &old->region[i]);
	}
}

const char *vio_vhost_on_SET_MEM_TABLE(struct vio_vhost *s, struct vio_vhost_work *w)
{
	const struct vio_vhost_mem_table *t = &w->m.payload.table;
	const char *why = NULL;

	if (t->count == 0)
		return "the table has no memory: give QEMU a memory-backend-memfd or -file with share=on";
	if (t->count > VIO_VHOST_REGIONS || w->m.header.size < 8 + t->count * sizeof t->region[0])
		return "the table says that it has more regions than it holds";
	if (w->m.fds != t->count)
		return "the table does not carry one descriptor a region";
	struct vio_vhost_draft *d = vio_vhost_draft_new(s->mem);
	if (!d)
		return no_memory();
	d->keep_files = gives_back(s);
	vio_vhost_draft_clear(d);
	for (uint32_t i = 0; i < t->count && !why; i++)
		why = vio_vhost_draft_add(d, &t->region[i], w->m.fd[i], s->mem, &s->dead);
	if (why || (why = vio_vhost_draft_check(d))) {
		vio_vhost_draft_drop(d);
		return why;
	}
	gone_since(w, s->mem, d);
	return adopt(s, w, d);
}

/*
 * QEMU 7.2 gives and takes each region once for every pair of queues of a network device.  What is there already is there; of
 * what was given so often, all takings but the first find nothing.
 */
const char *vio_vhost_on_ADD_MEM_REG(struct vio_vhost *s, struct vio_vhost_work *w)
{
	if (vio_vhost_mem_has(s->mem, &w->m.payload.reg.region, w->m.fd[0])) {
		s->regions_again += s->regions_again < VIO_VHOST_AGAIN;
		return NULL;
	}
	struct vio_vhost_draft *d = vio_vhost_draft_new(s->mem);

	if (!d)
		return no_memory();
	d->keep_files = gives_back(s);
	const char *why = vio_vhost_draft_add(d, &w->m.payload.reg.region, w->m.fd[0], NULL, &s->dead);
	if (why || (why = vio_vhost_draft_check(d))) {
		vio_vhost_draft_drop(d);
		return why;
	}
	return adopt(s, w, d);
}

const char *vio_vhost_on_REM_MEM_REG(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct vio_vhost_draft *d = vio_vhost_draft_new(s->mem);
	struct vio_region gone;

	if (!d)
		return no_memory();
	const char *why = vio_vhost_draft_remove(d, &w->m.payload.reg.region, &gone);
	if (why) {
		vio_vhost_draft_drop(d);
		return s->regions_again && s->regions_again-- ? NULL : why;
	}
	add_gone(w, &gone);
	return adopt(s, w, d);
}

const char *vio_vhost_on_GET_MAX_MEM_SLOTS(struct vio_vhost *s, struct vio_vhost_work *w)
{
	(void)s;
	w->m.payload.u64 = VIO_VHOST_MEM_SLOTS;
	w->reply_size = sizeof w->m.payload.u64;
	return NULL;
}

/* ---- The dirty log ---- */

const char *vio_vhost_set_views(struct vio_vhost *s, struct vio_vhost_work *w, bool log, bool iommu)
{
	struct vio_vhost_map *map = log ? s->log : NULL;
	bool logged = s->mem && s->mem->dirty.bits;

	w->next = vio_vhost_start_waiting;
	if (logged == (map != NULL) && (s->mem ? s->mem->iommu : false) == iommu)
		return vio_vhost_later;
	struct vio_vhost_draft *d = vio_vhost_draft_new(s->mem);
	if (!d)
		return no_memory();
	vio_vhost_draft_log(d, map);
	d->iommu = iommu;
	const char *why = vio_vhost_draft_check(d);
	if (why) {
		vio_vhost_draft_drop(d);
		return why;
	}
	return adopt(s, w, d);
}

/* Answered when every ring writes to the new one. */
const char *vio_vhost_on_SET_LOG_BASE(struct vio_vhost *s, struct vio_vhost_work *w)
{
	const struct vio_vhost_log *l = &w->m.payload.log;
	const char *why = NULL;

	if (!vio_vhost_log_covers(l->size, vio_vhost_mem_end(s->mem)))
		return "the log is too short for the guest's memory";
	for (unsigned i = 0; i < s->dev->queues; i++)
		if (!vio_vhost_ring_log_fits(&s->ring[i], l->size))
			return "the log is too short for a used ring that is to be logged";
	struct vio_vhost_map *map = vio_vhost_map_new(w->m.fd[0], l->offset, l->size, &s->dead, &why);
	if (!map)
		return why;
	vio_vhost_map_unref(s->log);
	s->log = map;
	if (!(s->features >> VIO_VHOST_LOG_ALL & 1))
		return NULL;
	struct vio_vhost_draft *d = vio_vhost_draft_new(s->mem);
	if (!d)
		return no_memory();
	vio_vhost_draft_log(d, map);
	return adopt(s, w, d);
}

/* An event to tell that the log has changed: nobody has ever needed to be told. */
const char *vio_vhost_on_SET_LOG_FD(struct vio_vhost *s, struct vio_vhost_work *w)
{
	(void)s; (void)w;
	return NULL;
}

/* ---- Translations ---- */

static const char *update(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct vio_vhost_draft *d = vio_vhost_draft_new(s->mem);

	if (!d)
		return no_memory();
	const char *why = vio_vhost_draft_update(d, &w->m.payload.iotlb, &s->iotlb_evicted);
	if (why) {
		vio_vhost_draft_drop(d);
		return why;
	}
	return adopt(s, w, d);
}

static const char *invalidate(struct vio_vhost *s, struct vio_vhost_work *w)
{
	static const struct vio_region everything = { .size = UINT64_MAX };
	const struct vio_vhost_iotlb *t = &w->m.payload.iotlb;
	struct vio_vhost_draft *d = vio_vhost_draft_new(s->mem);
	struct vio_region gone;

	if (!d)
		return no_memory();
	vio_vhost_draft_invalidate(d, t->iova, t->size, &gone, &s->iotlb_evicted);
	/* A translation that had to make room may still be in use, and nobody knows any more which memory it named. */
	add_gone(w, s->iotlb_evicted ? &everything : &gone);
	return adopt(s, w, d);
}

const char *vio_vhost_on_IOTLB_MSG(struct vio_vhost *s, struct vio_vhost_work *w)
{
	if (!vio_has(s->dev->accepted, VIO_F_ACCESS_PLATFORM))
		return "ACCESS_PLATFORM was not negotiated";
	if (w->m.payload.iotlb.type == VIO_IOTLB_UPDATE)
		return update(s, w);
	if (w->m.payload.iotlb.type == VIO_IOTLB_INVALIDATE)
		return invalidate(s, w);
	return "it is neither an update nor an invalidation";
}
