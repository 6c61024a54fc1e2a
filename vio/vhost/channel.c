/*
 * What the back end asks of the front end, over a channel of its own (SET_BACKEND_REQ_FD): translations, and used and error
 * notifications where they go in-band.
 *
 * A ring asks for each thing at most once at a time, so that the queue of what is sent and not answered has a room known
 * beforehand, and a front end that does not listen costs nothing more.
 */
#include <vio/vhost/server.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MISS_NS UINT64_C(10000000000)	/* how long a translation may take */
#define ACKED_NS UINT64_C(1000000000)	/* and after the front end has said that it has sent it */

/* ---- Translations ---- */

static bool translated(const struct vio_vhost *s, const struct vio_vhost_ring *r)
{
	struct vio_mem_hit hit;
	return s->mem && vio_mem_find(s->mem, r->missing_iova, r->missing_perm, &hit);
}

static void miss_due(struct vio_vhost_ring *r, uint64_t ns)
{
	struct vio_vhost *s = r->s;

	r->missing_until = vio_now_ns() + ns;
	if (!s->misses.set || s->misses.at_ns > r->missing_until)
		vio_loop_timer(s->home, &s->misses, r->missing_until);
}

void vio_vhost_miss(struct vio_vhost_ring *r, uint64_t iova, unsigned perm)
{
	r->missing = true;
	r->missing_iova = iova;
	r->missing_perm = (uint8_t)perm;
	vio_vhost_misses_settle(r->s);
	if (!r->missing)
		return;
	if (r->s->channel.watch.fd < 0) {
		r->missing = false;
		vio_vhost_break(r, "guest memory is behind an IOMMU, but the front end has given no channel to ask for translations");
		return;
	}
	miss_due(r, MISS_NS);
	vio_vhost_channel_ask(r, VIO_NOTE_MISS);
}

void vio_vhost_misses_settle(struct vio_vhost *s)
{
	for (unsigned i = 0; i < s->dev->queues; i++)
		if (s->ring[i].missing && translated(s, &s->ring[i])) {
			s->ring[i].missing = false;
			s->ring[i].asks &= (uint8_t)~VIO_NOTE_MISS;
		}
}

static void misses_late(void *arg)
{
	struct vio_vhost *s = arg;
	uint64_t now = vio_now_ns(), next = UINT64_MAX;

	for (unsigned i = 0; i < s->dev->queues; i++) {
		struct vio_vhost_ring *r = &s->ring[i];
		if (r->missing && r->missing_until <= now) {
			r->missing = false;
			vio_vhost_break(r, "the front end did not translate an address in time");
		}
		if (r->missing && r->missing_until < next)
			next = r->missing_until;
	}
	if (next != UINT64_MAX)
		vio_loop_timer(s->home, &s->misses, next);
}

/* ---- Sending ---- */

static uint32_t request_of(unsigned what)
{
	return what == VIO_NOTE_MISS ? VIO_MSG_BACKEND_IOTLB_MSG :
	    what == VIO_NOTE_ERR ? VIO_MSG_BACKEND_VRING_ERR : VIO_MSG_BACKEND_VRING_CALL;
}

static void put_ring(struct vio_vhost *s, struct vio_vhost_ring *r, unsigned what)
{
	struct vio_vhost_channel *c = &s->channel;
	union vio_vhost_payload p;
	uint32_t size = sizeof p.state, flags = 0;

	if (what == VIO_NOTE_MISS) {
		p.iotlb = (struct vio_vhost_iotlb){ .iova = r->missing_iova, .perm = r->missing_perm, .type = VIO_IOTLB_MISS };
		size = sizeof p.iotlb;
	} else {
		p.state = (struct vio_vhost_state){ .index = r->index };
	}
	r->asks &= (uint8_t)~what;
	if (vio_vhost_uses(s, VIO_VHOST_F_REPLY_ACK)) {
		flags = VIO_VHOST_NEED_REPLY;
		r->asked |= (uint8_t)what;
		c->asked[(c->first + c->count++) % c->room] = (struct vio_vhost_asked){ r, request_of(what) };
	}
	vio_vhost_put(&c->out, request_of(what), flags, &p, size, -1);
}

/* The next thing to ask, rings in turn.  False: there is none. */
static bool put_next(struct vio_vhost *s)
{
	struct vio_vhost_channel *c = &s->channel;

	if (c->config && vio_vhost_uses(s, VIO_VHOST_F_CONFIG) && vio_vhost_any_running(s)) {
		c->config = false;
		vio_vhost_put(&c->out, VIO_MSG_BACKEND_CONFIG_CHANGE, 0, NULL, 0, -1);
		return true;
	}
	for (unsigned n = 0; n < s->dev->queues; n++) {
		struct vio_vhost_ring *r = &s->ring[(c->next_ring + n) % s->dev->queues];
		unsigned due = r->asks & ~(unsigned)r->asked;
		if (due) {
			c->next_ring = r->index + 1;
			put_ring(s, r, due & -due);
			return true;
		}
	}
	return false;
}

void vio_vhost_channel_pump(struct vio_vhost *s)
{
	struct vio_vhost_channel *c = &s->channel;
	uint32_t events = EPOLLIN;

	if (c->watch.fd < 0)
		return;
	do {
		if (!vio_vhost_send(c->watch.fd, &c->out)) {
			vio_vhost_channel_close(s);
			return;
		}
		if (c->out.at < c->out.len) {
			events |= EPOLLOUT;
			break;
		}
	} while (put_next(s));
	if (events != c->watch.events || !c->watch.on) {
		c->watch.events = events;
		if (!vio_loop_watch(s->home, &c->watch))
			vio_vhost_channel_close(s);
	}
}

void vio_vhost_channel_ask(struct vio_vhost_ring *r, unsigned what)
{
	r->asks |= (uint8_t)what;
	vio_vhost_channel_pump(r->s);
}

void vio_vhost_channel_config(struct vio_vhost *s)
{
	s->channel.config = true;
	vio_vhost_channel_pump(s);
}

/* ---- Answers ---- */

static bool take_answer(struct vio_vhost *s, const struct vio_vhost_message *m)
{
	struct vio_vhost_channel *c = &s->channel;
	struct vio_vhost_asked a = c->asked[c->first];

	if (!c->count || m->header.request != a.request || m->header.size != sizeof m->payload.u64 || m->fds || m->fds_lost)
		return false;
	c->first = (c->first + 1) % c->room;
	c->count--;
	if (a.request == VIO_MSG_BACKEND_IOTLB_MSG) {
		a.ring->asked &= (uint8_t)~VIO_NOTE_MISS;
		if (!a.ring->missing)
			return true;
		if (m->payload.u64 == 0) {
			miss_due(a.ring, ACKED_NS);
		} else {
			a.ring->missing = false;
			vio_vhost_break(a.ring, "the driver uses an address that the IOMMU does not translate");
		}
	} else {
		a.ring->asked &= (uint8_t)~(a.request == VIO_MSG_BACKEND_VRING_ERR ? VIO_NOTE_ERR : VIO_NOTE_CALL);
	}
	return true;
}

static void ready(struct vio_watch *w, uint32_t events)
{
	struct vio_vhost *s = w->arg;
	struct vio_vhost_channel *c = &s->channel;
	const char *why = NULL;

	(void)events;
	for (;;) {
		enum vio_vhost_got got = vio_vhost_receive(w->fd, &c->in, true, &why);
		if (got == VIO_GOT_PART)
			break;
		if (got == VIO_GOT_END || got == VIO_GOT_NONSENSE || !take_answer(s, &c->in)) {
			if (got != VIO_GOT_END)
				vio_vhost_say(s, "the front end answers what it was not asked: its channel is closed");
			vio_vhost_channel_close(s);
			return;
		}
		vio_vhost_message_close(&c->in);
	}
	vio_vhost_channel_pump(s);
}

/* ---- Life ---- */

void vio_vhost_channel_open(struct vio_vhost *s, int fd)
{
	struct vio_vhost_channel *c = &s->channel;

	vio_vhost_channel_close(s);
	c->watch = (struct vio_watch){ .fd = fd, .ready = ready, .arg = s };
	s->misses.fn = misses_late;
	s->misses.arg = s;
	vio_vhost_channel_pump(s);
}

void vio_vhost_channel_close(struct vio_vhost *s)
{
	struct vio_vhost_channel *c = &s->channel;

	if (c->watch.fd < 0)
		return;
	vio_loop_unwatch(s->home, &c->watch);
	close(c->watch.fd);
	c->watch.fd = -1;
	c->out.at = c->out.len = 0;
	c->first = c->count = 0;
	vio_vhost_message_close(&c->in);
	for (unsigned i = 0; i < s->dev->queues; i++)
		s->ring[i].asked = 0;
}
