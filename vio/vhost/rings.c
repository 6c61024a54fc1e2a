/*
 * Messages about one ring, and what a ring needs in order to run: a size, addresses, memory behind them (through the IOMMU,
 * translations), and a kick.  A ring that was kicked and lacks memory or translations waits for them, and starts when they
 * come; it stops when the memory it lies in goes, and goes on when that comes back.
 */
#include <vio/vhost/server.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool vio_vhost_any_kicked(const struct vio_vhost *s)
{
	for (unsigned i = 0; i < s->dev->queues; i++)
		if (s->ring[i].kicked)
			return true;
	return false;
}

bool vio_vhost_any_running(const struct vio_vhost *s)
{
	for (unsigned i = 0; i < s->dev->queues; i++)
		if (s->ring[i].running)
			return true;
	return false;
}

void vio_vhost_break(struct vio_vhost_ring *r, const char *why)
{
	if (r->s->state != VIO_VHOST_SERVING || r->order[VIO_LANE_BREAK].out)
		return;
	struct vio_vhost_order *o = vio_vhost_order(r, VIO_LANE_BREAK, VIO_ORDER_BREAK);
	o->why = why;
	o->tolerated = true;
	vio_vhost_post(o, NULL);
}

/* ---- Where a ring lies ---- */

enum where { FOUND, UNTRANSLATED, NOWHERE };
struct lookup { uint64_t iova; unsigned perm; };	/* the page that is not translated */

/* Through the IOMMU: page by page, and in one piece all the same. */
static enum where find_iova(const struct vio_mem *m, uint64_t addr, uint64_t len, unsigned perm, void **host, struct lookup *l)
{
	unsigned char *first = NULL;

	if (len - 1 > UINT64_MAX - addr)
		return NOWHERE;
	for (uint64_t done = 0; done < len;) {
		struct vio_mem_hit hit;
		if (!vio_mem_find(m, addr + done, perm, &hit)) {
			*l = (struct lookup){ (addr + done) & ~(uint64_t)(VIO_DIRTY_PAGE - 1), perm };
			return UNTRANSLATED;
		}
		uint64_t at = addr + done - hit.addr;
		if (!first)
			first = hit.host + at;
		else if (hit.host + at != first + done)
			return NOWHERE;
		done += hit.size - at;
	}
	*host = first;
	return FOUND;
}

static enum where find(const struct vio_vhost *s, uint64_t addr, uint64_t len, unsigned perm, void **host, struct lookup *l)
{
	if (!s->mem)
		return NOWHERE;
	if (s->mem->iommu)
		return find_iova(s->mem, addr, len, perm, host, l);
	*host = vio_mem_span_uva(s->mem, addr, len, perm);
	return *host ? FOUND : NOWHERE;
}

/* Ring addresses are user addresses, or with ACCESS_PLATFORM I/O virtual ones. */
static enum where locate(const struct vio_vhost_ring *r, const struct vio_vhost_addr *a, struct vio_ring_place *p,
    struct lookup *l)
{
	const struct vio_vhost *s = r->s;
	bool packed = vio_vhost_is_packed(s);
	enum where w;

	p->size = (uint16_t)r->size;
	w = find(s, a->desc, vio_ring_desc_bytes(r->size), packed ? VIO_MEM_RW : VIO_MEM_READ, &p->desc, l);
	if (w == FOUND)
		w = find(s, a->avail, vio_ring_driver_bytes(r->size, packed), VIO_MEM_READ, &p->driver, l);
	if (w == FOUND)
		w = find(s, a->used, vio_ring_device_bytes(r->size, packed), VIO_MEM_RW, &p->device, l);
	return w;
}

bool vio_vhost_ring_log_fits(const struct vio_vhost_ring *r, uint64_t log_bytes)
{
	uint64_t bytes = vio_ring_device_bytes(r->size, vio_vhost_is_packed(r->s));

	if (!r->has_addr || !(r->addr.flags & VIO_VHOST_ADDR_LOG))
		return true;
	return bytes - 1 <= UINT64_MAX - 1 - r->addr.log && vio_vhost_log_covers(log_bytes, r->addr.log + bytes);
}

/* ---- Starting ---- */

/* docs/decisions/packed-base-zero.md */
static uint32_t base_of(const struct vio_vhost_ring *r, const struct vio_ring_place *p)
{
	if (!vio_vhost_is_packed(r->s))
		return r->base;
	if (r->base)	/* half a base: both places are the same */
		return r->base >> 16 ? r->base : r->base | r->base << 16;
	const struct vio_packed_desc *d = p->desc;
	for (uint16_t i = 0; i < p->size; i++)
		if (vio_shared_load(&d[i].flags) & VIO_DESC_USED)
			return 0;
	return VIO_PACKED_BASE;
}

/* Make an order of it that starts the ring at p too. */
static const char *order_start(struct vio_vhost_order *o, const struct vio_ring_place *p)
{
	struct vio_vhost_ring *r = o->ring;
	const char *why;
	void *journal = vio_vhost_journal(r, &why);

	if (why)
		return why;
	o->what |= VIO_ORDER_START | VIO_ORDER_LOOK;
	o->enable = r->enabled;
	o->start = (struct vio_queue_start){ .place = *p, .base = base_of(r, p), .journal = journal,
		.log_used = r->addr.flags & VIO_VHOST_ADDR_LOG, .log_used_gpa = r->addr.log };
	r->place = *p;
	r->broken = false;		/* before its first turn, which may break it again */
	return NULL;
}

static void note_started(struct vio_vhost_ring *r)
{
	r->running = true;
	r->has_left = false;
	vio_vhost_channel_pump(r->s);
}

/* What a message that was refused has left behind. */
static void forget_starts(struct vio_vhost *s, const struct vio_vhost_work *w)
{
	for (unsigned i = 0; i < s->dev->queues; i++)
		if (s->ring[i].starting == w)
			s->ring[i].starting = NULL;
}

static const char *waiting_started(struct vio_vhost *s, struct vio_vhost_work *w)
{
	for (unsigned i = 0; i < s->dev->queues; i++) {
		struct vio_vhost_ring *r = &s->ring[i];
		if (r->starting != w)
			continue;
		r->starting = NULL;
		if (r->order[w->lane].why)
			vio_vhost_break(r, r->order[w->lane].why);
		else
			note_started(r);
	}
	return w->then ? w->then(s, w) : NULL;
}

const char *vio_vhost_start_waiting(struct vio_vhost *s, struct vio_vhost_work *w)
{
	w->next = waiting_started;
	w->rests = false;		/* a start reads the device's memory: it must hold still */
	forget_starts(s, w);
	for (unsigned i = 0; i < s->dev->queues; i++) {
		struct vio_vhost_ring *r = &s->ring[i];
		struct vio_ring_place p;
		struct lookup l;
		if (!r->kicked || r->running || r->broken || r->starting)
			continue;
		enum where where = locate(r, &r->addr, &p, &l);
		if (where == UNTRANSLATED)
			vio_vhost_miss(r, l.iova, l.perm);
		if (where != FOUND)
			continue;
		struct vio_vhost_order *o = vio_vhost_order(r, w->lane, 0);
		const char *why = order_start(o, &p);
		if (why) {
			vio_vhost_break(r, why);
			continue;
		}
		o->tolerated = true;
		r->starting = w;
		vio_vhost_post(o, w);
	}
	return vio_vhost_later;
}

static const char *kick_done(struct vio_vhost *s, struct vio_vhost_work *w)
{
	for (unsigned i = 0; i < s->dev->queues; i++) {
		struct vio_vhost_ring *r = &s->ring[i];
		if (r->starting != w)
			continue;
		r->starting = NULL;
		r->kicked = true;
		note_started(r);
	}
	return NULL;
}

/* o brings a kick, or is one: start the ring with it if it does not run.  Posts o, unless it says why not. */
static const char *kick(struct vio_vhost *s, struct vio_vhost_work *w, struct vio_vhost_order *o)
{
	struct vio_vhost_ring *r = o->ring;
	struct vio_ring_place p;
	struct lookup l;
	const char *why;

	forget_starts(s, w);
	w->next = kick_done;
	o->what |= VIO_ORDER_LOOK;
	if (r->running)
		goto post;
	if (!r->size || !r->has_addr)
		return "the queue has no size or no addresses yet: SET_VRING_NUM and SET_VRING_ADDR come first";
	if (!s->has_features)
		return "no features have been negotiated yet: SET_FEATURES comes first";
	enum where where = locate(r, &r->addr, &p, &l);
	if (where == NOWHERE)
		return "the queue's rings are outside guest memory";
	if (where == FOUND && (why = order_start(o, &p)))
		return why;
	r->broken = false;
	r->starting = where == FOUND ? w : NULL;
	if (where == UNTRANSLATED) {
		r->kicked = true;
		vio_vhost_miss(r, l.iova, l.perm);
	}
post:
	vio_vhost_post(o, w);
	return vio_vhost_later;
}

/* ---- Descriptors for events ---- */

/* An eventfd or a pipe (or a socket): not something whose write could wait for a disk.  It must never block us. */
static const char *check_event(int fd, int wrong_mode)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (fstat(fd, &st) || ((st.st_mode & S_IFMT) && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode)))
		return "its descriptor is neither an eventfd nor a pipe";
	if (flags < 0 || flags & O_PATH || (flags & O_ACCMODE) == wrong_mode)
		return "its descriptor is the wrong end of a pipe";
	if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return "its descriptor can't be made not to block";
	return NULL;
}

static struct vio_vhost_ring *ring_of_u64(struct vio_vhost *s, struct vio_vhost_work *w)
{
	return &s->ring[w->m.payload.u64 & 0xff];
}

static const char *done(struct vio_vhost *s, struct vio_vhost_work *w)
{
	(void)s; (void)w;
	return NULL;
}

const char *vio_vhost_on_SET_VRING_KICK(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct vio_vhost_order *o = vio_vhost_order(ring_of_u64(s, w), w->lane, VIO_ORDER_KICK);
	const char *why = w->m.fds ? check_event(w->m.fd[0], O_WRONLY) : NULL;

	if (why)
		return why;
	o->polled = !w->m.fds;
	o->kick_fd = w->m.fds ? w->m.fd[0] : -1;
	why = kick(s, w, o);
	if (why == vio_vhost_later)
		vio_vhost_take_fd(&w->m, 0);	/* it is the ring's now */
	return why;
}

const char *vio_vhost_on_VRING_KICK(struct vio_vhost *s, struct vio_vhost_work *w)
{
	return kick(s, w, vio_vhost_order(&s->ring[w->m.payload.state.index], w->lane, 0));
}

const char *vio_vhost_on_SET_VRING_CALL(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct vio_vhost_order *o = vio_vhost_order(ring_of_u64(s, w), w->lane, VIO_ORDER_CALL);
	const char *why = w->m.fds ? check_event(w->m.fd[0], O_RDONLY) : NULL;

	if (why)
		return why;
	o->polled = !w->m.fds;
	o->call_fd = vio_vhost_take_fd(&w->m, 0);
	w->next = done;
	vio_vhost_post(o, w);
	return vio_vhost_later;
}

const char *vio_vhost_on_SET_VRING_ERR(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct vio_vhost_order *o = vio_vhost_order(ring_of_u64(s, w), w->lane, VIO_ORDER_ERR);
	const char *why = w->m.fds ? check_event(w->m.fd[0], O_RDONLY) : NULL;

	if (why)
		return why;
	o->err_fd = vio_vhost_take_fd(&w->m, 0);
	w->next = done;
	vio_vhost_post(o, w);
	return vio_vhost_later;
}

/* ---- Parameters ---- */

/* The old driver's ring has ended: serve the message that came with the new one. */
static const char *abandoned(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct vio_vhost_ring *r = &s->ring[w->m.payload.state.index];

	const char *why;
	void *journal = vio_vhost_journal(r, &why);

	if (journal)
		memset(journal, 0, vio_journal_bytes(s->inflight_is.queue_size, vio_vhost_is_packed(s)));
	r->running = r->kicked = r->broken = r->missing = r->has_left = false;
	w->rests = false;
	if (!vio_vhost_any_kicked(s))
		vio_vhost_new_driver(s);
	switch (w->m.header.request) {
	case VIO_MSG_SET_VRING_NUM:
		return vio_vhost_on_SET_VRING_NUM(s, w);
	case VIO_MSG_SET_VRING_BASE:
		return vio_vhost_on_SET_VRING_BASE(s, w);
	default:
		return vio_vhost_on_SET_VRING_ADDR(s, w);
	}
}

/*
 * User-mode Linux lets go of a device by disabling its rings and never asks where they stand; the next driver just says
 * where the new ones are.  What the old one left in flight is nobody's any more.
 */
static const char *abandon(struct vio_vhost_ring *r, struct vio_vhost_work *w)
{
	struct vio_vhost_order *o = vio_vhost_order(r, w->lane, VIO_ORDER_KICK);

	if (r->running) {
		o->what |= VIO_ORDER_STOP;
		o->cancel = true;
		w->rests = true;
	}
	w->next = abandoned;
	vio_vhost_post(o, w);
	return vio_vhost_later;
}

const char *vio_vhost_on_SET_VRING_NUM(struct vio_vhost *s, struct vio_vhost_work *w)
{
	const struct vio_vhost_state *p = &w->m.payload.state;

	if (s->ring[p->index].kicked)		/* and disabled, or the table would not have let it through */
		return abandon(&s->ring[p->index], w);
	if (p->num == 0 || p->num > VIO_RING_SIZE_MAX)
		return "the queue's size is not between 1 and 32768";
	if (p->num > s->dev->queue_size_max)
		return "the queue is larger than the device's: raise --queue-size here, or lower it in the front end";
	if (s->has_features && !vio_vhost_is_packed(s) && p->num & (p->num - 1))
		return "a split queue's size must be a power of two";
	s->ring[p->index].size = p->num;
	return NULL;
}

static bool moves(const struct vio_vhost_ring *r, const struct vio_vhost_addr *a)
{
	return a->desc != r->addr.desc || a->avail != r->addr.avail || a->used != r->addr.used;
}

/* While the ring runs only its log may change. */
const char *vio_vhost_on_SET_VRING_ADDR(struct vio_vhost *s, struct vio_vhost_work *w)
{
	const struct vio_vhost_addr *a = &w->m.payload.addr;
	struct vio_vhost_ring *r = &s->ring[a->index];
	struct vio_vhost_addr before = r->addr;
	bool had = r->has_addr;
	struct vio_ring_place p;
	struct lookup l;

	if (a->flags & ~(uint32_t)VIO_VHOST_ADDR_LOG)
		return "it has flags that mean nothing";
	if (r->kicked && moves(r, a)) {
		if (r->enabled)
			return "the queue is running: its addresses can't change before it is stopped or disabled";
		return abandon(r, w);
	}
	if (!s->mem || !s->mem->count)
		return "no memory has been given yet: SET_MEM_TABLE or ADD_MEM_REG comes first";
	if (!r->kicked && r->size && locate(r, a, &p, &l) == NOWHERE)
		return "the queue's rings are outside guest memory";
	r->addr = *a;
	r->has_addr = true;
	if (s->log && !vio_vhost_ring_log_fits(r, s->log->size)) {
		r->addr = before;
		r->has_addr = had;
		return "the used ring would be logged beyond the end of the log";
	}
	if (!r->running)
		return NULL;
	struct vio_vhost_order *o = vio_vhost_order(r, w->lane, VIO_ORDER_LOG);
	o->start.log_used = a->flags & VIO_VHOST_ADDR_LOG;
	o->start.log_used_gpa = a->log;
	w->next = done;
	vio_vhost_post(o, w);
	return vio_vhost_later;
}

const char *vio_vhost_on_SET_VRING_BASE(struct vio_vhost *s, struct vio_vhost_work *w)
{
	const struct vio_vhost_state *p = &w->m.payload.state;
	struct vio_vhost_ring *r = &s->ring[p->index];

	if (r->kicked)
		return abandon(r, w);
	if (s->has_features && !vio_vhost_is_packed(s) && p->num > UINT16_MAX)
		return "a split queue's base has 16 bits";
	if (r->has_left && p->num != r->left && !vio_vhost_any_kicked(s))
		vio_vhost_new_driver(s);
	r->has_left = false;
	r->base = p->num;
	return NULL;
}

const char *vio_vhost_on_SET_VRING_ENABLE(struct vio_vhost *s, struct vio_vhost_work *w)
{
	const struct vio_vhost_state *p = &w->m.payload.state;
	struct vio_vhost_ring *r = &s->ring[p->index];

	if (p->num > 1)
		return "a queue is enabled with 1 and disabled with 0";
	r->enabled = p->num;
	if (!r->running)
		return NULL;
	struct vio_vhost_order *o = vio_vhost_order(r, w->lane, VIO_ORDER_ENABLE | VIO_ORDER_LOOK);
	o->enable = r->enabled;
	w->next = done;
	vio_vhost_post(o, w);
	return vio_vhost_later;
}

/* ---- Stopping ---- */

static const char *stop_done(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct vio_vhost_state *p = &w->m.payload.state;
	struct vio_vhost_ring *r = &s->ring[p->index];

	if (r->running)
		r->base = r->stopped_at;
	r->running = r->kicked = r->broken = r->missing = false;
	r->left = r->base;
	r->has_left = true;
	p->num = r->base;
	w->reply_size = sizeof *p;
	return NULL;
}

/*
 * With GET_VRING_BASE_INFLIGHT, and a journal that remembers them, requests in flight are cancelled at the host and left
 * for the next back end; otherwise they end first.
 */
const char *vio_vhost_on_GET_VRING_BASE(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct vio_vhost_ring *r = &s->ring[w->m.payload.state.index];
	struct vio_vhost_order *o = vio_vhost_order(r, w->lane, VIO_ORDER_KICK);

	if (r->running) {
		o->what |= VIO_ORDER_STOP;
		o->cancel = s->inflight && vio_vhost_uses(s, VIO_VHOST_F_GET_VRING_BASE_INFLIGHT);
		w->rests = true;
	}
	w->next = stop_done;
	vio_vhost_post(o, w);
	return vio_vhost_later;
}

void vio_vhost_ring_forget(struct vio_vhost_ring *r)
{
	struct vio_vhost *s = r->s;
	int fds[] = { r->kick.fd, r->call_fd, r->err_fd };

	for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	vio_vhost_ring_init(s, r->index);
}
