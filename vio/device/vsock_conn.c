/*
 * The socket device's connections (virtio 1.4, 5.10.6): who they are, how they begin and end, and credit.
 *
 *        guest: REQUEST                        caller: incoming()
 *             CALLING ── ANSWERED ──▶ OPEN ◀── RESPONSE ── ASKING
 *                                      │
 *       the other side ended both ways │ the guest did: RST once all is passed on
 *                            ENDING ◀──┴──▶ DEAD ── RST sent ──▶ gone
 *
 * Whatever the guest is owed is a bit, not a packet: it is made when the guest gives a buffer, so nothing the guest makes us
 * owe takes memory.  Bytes from the guest go straight to the line; only what the line does not take waits, within what the
 * guest was told it may send (buf_alloc), or the connection is reset.  Bytes to the guest wait in the line.
 *
 * A connection's memory is one block, taken when it begins.
 */
#include <vio/device/vsock_impl.h>

static void on_line(void *arg, unsigned what);

/* ---- Lists ---- */

#define LINK(c, which) ((struct conn_link *)((char *)(c) + (which)))
enum { WORK = offsetof(struct conn, work), TIMED = offsetof(struct conn, timed) };

static void list_add(struct conn_list *l, struct conn *c, size_t which)
{
	struct conn_link *k = LINK(c, which);

	*k = (struct conn_link){ .prev = l->last, .on = true };
	*(l->last ? &LINK(l->last, which)->next : &l->first) = c;
	l->last = c;
}

static void list_remove(struct conn_list *l, struct conn *c, size_t which)
{
	struct conn_link *k = LINK(c, which);

	if (!k->on)
		return;
	*(k->prev ? &LINK(k->prev, which)->next : &l->first) = k->next;
	*(k->next ? &LINK(k->next, which)->prev : &l->last) = k->prev;
	k->on = false;
}

void vio_vsock_dev_work(struct conn *c)
{
	struct vsock *v = c->v;

	if (!c->work.on)
		list_add(&v->work, c, WORK);
	if (v->q[VIO_VSOCK_RX])
		vio_dev_wake(v->q[VIO_VSOCK_RX]);
}

void vio_vsock_dev_idle(struct conn *c) { list_remove(&c->v->work, c, WORK); }

static void owe(struct conn *c, uint8_t what)
{
	c->owed |= what;
	vio_vsock_dev_work(c);
}

/* ---- Time: one span for all, so that the list is in order by itself ---- */

static void set_alarm(struct vsock *v)
{
	uint64_t at = v->timed.first ? v->timed.first->due : UINT64_MAX;

	if (!v->q[VIO_VSOCK_RX] || at == v->alarm)
		return;
	v->alarm = at;
	vio_dev_alarm(v->q[VIO_VSOCK_RX], at);
}

static void wait_at_most(struct conn *c)
{
	struct vsock *v = c->v;

	list_remove(&v->timed, c, TIMED);
	c->due = vio_dev_now(&v->dev) + VSOCK_PATIENCE_NS;
	list_add(&v->timed, c, TIMED);
	set_alarm(v);
}

static void wait_no_more(struct conn *c)
{
	if (c->state != CONN_LINGERING)
		list_remove(&c->v->timed, c, TIMED);
}

void vio_vsock_dev_timeouts(struct vsock *v)
{
	uint64_t now = vio_dev_now(&v->dev);

	while (v->timed.first && v->timed.first->due <= now)
		vio_vsock_dev_kill(v->timed.first, true);
	if (v->alarm <= now)
		v->alarm = UINT64_MAX;		/* it has rung */
	set_alarm(v);
}

/* ---- Who they are ---- */

static unsigned bucket_of(const struct vsock *v, uint64_t cid, uint32_t port, uint32_t guest_port)
{
	uint64_t h = v->seed ^ cid;

	h = (h ^ h >> 32) * UINT64_C(0x9e3779b97f4a7c15) + ((uint64_t)port << 32 | guest_port);
	h = (h ^ h >> 29 ^ v->seed) * UINT64_C(0xbf58476d1ce4e5b9);
	h = (h ^ h >> 32) * UINT64_C(0x94d049bb133111eb);
	return (unsigned)(h >> 40) % VSOCK_BUCKETS;
}

struct conn *vio_vsock_dev_find(struct vsock *v, uint64_t cid, uint32_t port, uint32_t guest_port)
{
	struct conn *c = v->bucket[bucket_of(v, cid, port, guest_port)];

	while (c && (c->cid != cid || c->port != port || c->guest_port != guest_port))
		c = c->hash_next;
	return c;
}

static void unhash(struct conn *c)
{
	struct conn **at = &c->v->bucket[bucket_of(c->v, c->cid, c->port, c->guest_port)];

	while (*at != c)
		at = &(*at)->hash_next;
	*at = c->hash_next;
	c->hashed = false;
}

bool vio_vsock_dev_has_type(const struct vsock *v, uint16_t type)
{
	struct vio_features f = v->dev.accepted;

	if (type == VIO_VSOCK_TYPE_SEQPACKET)
		return vio_has(f, VIO_VSOCK_F_SEQPACKET);
	return type == VIO_VSOCK_TYPE_STREAM && (vio_has(f, VIO_VSOCK_F_STREAM) || !vio_has(f, VIO_VSOCK_F_NO_IMPLIED_STREAM));
}

/* NULL: there are as many as there may be, or there is no memory. */
static struct conn *conn_new(struct vsock *v, uint64_t cid, uint32_t port, uint32_t guest_port, bool message)
{
	size_t head = (sizeof(struct conn) + 63) & ~(size_t)63;
	size_t bytes = head + VIO_FIFO_BYTES(v->buffer, message) + (message ? v->buffer : 0);
	struct conn *c = v->count < v->most ? v->dev.port->alloc(v->dev.port_arg, bytes) : NULL;

	if (!c)
		return NULL;
	unsigned char *at = (unsigned char *)c + head;
	*c = (struct conn){ .v = v, .cid = cid, .port = port, .guest_port = guest_port, .message = message, .bytes = bytes };
	c->in = vio_fifo_of(at, v->buffer, message);
	c->out = message ? at + VIO_FIFO_BYTES(v->buffer, true) : NULL;
	struct conn **bucket = &v->bucket[bucket_of(v, cid, port, guest_port)];
	c->hash_next = *bucket;
	c->hashed = true;
	*bucket = c;
	v->count++;
	return c;
}

static void hang_up(struct conn *c, bool reset)
{
	struct vio_line *l = c->line;

	c->line = NULL;
	c->readable = c->drain_more = false;
	if (l)
		l->ops->close(l, reset);
}

void vio_vsock_dev_free(struct conn *c)
{
	struct vsock *v = c->v;

	hang_up(c, true);
	vio_vsock_dev_idle(c);
	list_remove(c->state == CONN_LINGERING ? &v->lingering : &v->timed, c, TIMED);
	if (c->hashed)
		unhash(c);
	v->count--;
	v->dev.port->free(v->dev.port_arg, c, c->bytes);
}

void vio_vsock_dev_kill(struct conn *c, bool reset)
{
	hang_up(c, reset);
	if (c->state == CONN_LINGERING) {
		vio_vsock_dev_free(c);
		return;
	}
	wait_no_more(c);
	c->state = CONN_DEAD;
	c->owed = OWE_RST;
	vio_vsock_dev_work(c);
}

void vio_vsock_dev_forget_all(struct vsock *v)
{
	while (v->lingering.first)
		vio_vsock_dev_free(v->lingering.first);
	for (unsigned i = 0; i < VSOCK_BUCKETS && v->count; i++)
		while (v->bucket[i])
			vio_vsock_dev_free(v->bucket[i]);
	v->resets = 0;
}

/* ---- Credit (5.10.6.3) ---- */

/* Packets may have overtaken each other inside the guest: the count never goes back.  False: it says more than was sent. */
static bool take_credit(struct conn *c, const struct vsock_packet *p)
{
	if ((int32_t)(p->fwd_cnt - c->peer_fwd) > 0) {
		if (p->fwd_cnt - c->peer_fwd > c->tx_cnt - c->peer_fwd)
			return false;
		c->peer_fwd = p->fwd_cnt;
	}
	c->peer_alloc = p->buf_alloc;
	if (vio_vsock_dev_credit(c)) {
		c->asked = false;
		if (c->readable || c->out_len)
			vio_vsock_dev_work(c);
	}
	return true;
}

uint32_t vio_vsock_dev_credit(const struct conn *c)
{
	uint32_t most = c->peer_alloc < INT32_MAX ? c->peer_alloc : INT32_MAX, flying = c->tx_cnt - c->peer_fwd;

	return flying < most ? most - flying : 0;
}

/* As the guest knows it: how much more it may send. */
static uint32_t guest_credit(const struct conn *c) { return c->v->buffer - (c->rx_cnt - c->told_fwd); }

/*
 * Tell the guest of room when a quarter of the buffer has become free, or when it may believe that there is hardly any: asked
 * whenever either count has moved, or a guest that used up what it knew of would wait for ever.
 */
static void tell_credit(struct conn *c)
{
	if (c->fwd_cnt != c->told_fwd &&
	    (c->fwd_cnt - c->told_fwd >= c->v->buffer / 4 || guest_credit(c) < c->v->buffer / 4) && c->state == CONN_OPEN)
		owe(c, OWE_CREDIT);
}

static void passed_on(struct conn *c, uint32_t n)
{
	c->fwd_cnt += n;
	tell_credit(c);
}

/* ---- Ends ---- */

void vio_vsock_dev_host_shut(struct conn *c, uint8_t what)
{
	c->host_shut |= what;
	if (c->host_shut & c->guest_shut & VIO_VSOCK_SHUTDOWN_RECEIVE)
		c->host_shut = VIO_VSOCK_SHUTDOWN_BOTH;		/* nobody takes anything */
	if (c->host_shut == c->told_shut || c->state != CONN_OPEN)
		return;
	if (c->host_shut == VIO_VSOCK_SHUTDOWN_BOTH) {
		hang_up(c, false);
		c->state = CONN_ENDING;
		wait_at_most(c);
	}
	owe(c, OWE_SHUTDOWN);
}

/* The line takes nothing any more: what waits for it, and what will still come, is passed on to nobody. */
static void gone_deaf(struct conn *c)
{
	uint32_t n = c->in.used;

	vio_fifo_drop(&c->in, n);
	passed_on(c, n);
	if (c->state == CONN_LINGERING)
		vio_vsock_dev_free(c);
	else if (c->guest_shut == VIO_VSOCK_SHUTDOWN_BOTH)
		vio_vsock_dev_kill(c, false);
	else if (!c->readable || !vio_vsock_dev_credit(c))
		vio_vsock_dev_host_shut(c, VIO_VSOCK_SHUTDOWN_RECEIVE);
	/* otherwise the read that is due may tell more: the end, or a reset */
}

/* All that the guest sent has been passed on. */
static void drained(struct conn *c)
{
	if (c->state == CONN_LINGERING) {
		hang_up(c, false);
		vio_vsock_dev_free(c);
	} else if (c->guest_shut == VIO_VSOCK_SHUTDOWN_BOTH) {
		vio_vsock_dev_kill(c, false);
	} else if (c->guest_shut & VIO_VSOCK_SHUTDOWN_SEND && !c->write_shut) {
		c->write_shut = true;
		c->line->ops->shutdown(c->line, VIO_LINE_WRITE);
	}
}

void vio_vsock_dev_drain(struct conn *c)
{
	struct vio_fifo_cur part;
	unsigned what = 0, budget = VSOCK_DRAIN;

	c->drain_more = false;
	while (c->in.used && c->line) {
		uint32_t n = c->message ? vio_fifo_message(&c->in, &what) : c->in.used;
		if (n == 0 && !(c->guest_shut & VIO_VSOCK_SHUTDOWN_SEND))
			return;			/* the rest of the message is to come */
		if (n == 0) {			/* or never will: it was no message */
			vio_fifo_drop(&c->in, c->in.used);
			break;
		}
		if (!budget--) {
			c->drain_more = true;
			vio_vsock_dev_work(c);
			return;
		}
		vio_fifo_front(&c->in, n, &part);
		c->line->eor = what & VIO_FIFO_EOR;
		long went = c->line->ops->write(c->line, &part.cur);
		if (went == VIO_LINE_NONE)
			return;
		if (went == VIO_LINE_RESET) {
			vio_vsock_dev_kill(c, true);
			return;
		}
		if (went == VIO_LINE_END) {
			gone_deaf(c);
			return;
		}
		vio_fifo_drop(&c->in, (uint32_t)went);
		passed_on(c, (uint32_t)went);
	}
	if (c->line)
		drained(c);
}

static void linger(struct conn *c)
{
	wait_no_more(c);
	vio_vsock_dev_idle(c);
	c->owed = 0;
	c->readable = false;
	unhash(c);
	c->state = CONN_LINGERING;
	list_add(&c->v->lingering, c, TIMED);
	vio_vsock_dev_drain(c);
}

/* ---- Packets of the guest ---- */

static bool take_reset(struct conn *c)
{
	bool waits = c->line && c->in.used && c->state == CONN_OPEN && c->guest_shut & VIO_VSOCK_SHUTDOWN_SEND;

	if (waits) {
		linger(c);
		return true;
	}
	hang_up(c, c->guest_shut != VIO_VSOCK_SHUTDOWN_BOTH);
	vio_vsock_dev_free(c);
	return true;
}

static bool take_shutdown(struct conn *c, const struct vsock_packet *p)
{
	uint8_t fresh = (uint8_t)(p->flags & VIO_VSOCK_SHUTDOWN_BOTH & ~c->guest_shut);

	c->guest_shut |= fresh;			/* 5.10.6.5: permanent */
	if (c->state == CONN_ENDING) {
		if (c->guest_shut == VIO_VSOCK_SHUTDOWN_BOTH)
			vio_vsock_dev_kill(c, false);	/* both hung up at the same time */
		return true;
	}
	if (fresh & VIO_VSOCK_SHUTDOWN_RECEIVE && c->guest_shut != VIO_VSOCK_SHUTDOWN_BOTH)
		c->line->ops->shutdown(c->line, VIO_LINE_READ);
	if (fresh & VIO_VSOCK_SHUTDOWN_RECEIVE) {
		c->readable = false;
		c->out_len = 0;
	}
	if (fresh)
		vio_vsock_dev_drain(c);
	return true;
}

static bool overrun(struct conn *c)
{
	vio_vsock_dev_kill(c, true);
	return false;
}

/*
 * What the line takes at once goes past the buffer.  False: the line has ended, and so has the connection perhaps.  *left: of
 * the n bytes, those still to be passed on.
 */
static bool pass_by(struct conn *c, struct vio_cur *payload, uint32_t *left)
{
	while (*left && c->in.used == 0) {
		long went = c->line->ops->write(c->line, payload);
		if (went == VIO_LINE_NONE)
			break;
		if (went == VIO_LINE_RESET) {
			vio_vsock_dev_kill(c, true);
			return false;
		}
		uint32_t n = went == VIO_LINE_END ? *left : (uint32_t)went;
		*left -= n;
		passed_on(c, n);
		if (went == VIO_LINE_END) {
			gone_deaf(c);
			return false;
		}
	}
	return true;
}

static bool pass_message(struct conn *c, const struct vsock_packet *p, struct vio_cur *payload)
{
	bool ends = p->flags & VIO_VSOCK_SEQ_EOM;
	uint32_t left = p->len;

	c->line->eor = p->flags & VIO_VSOCK_SEQ_EOR;
	if (ends && (!pass_by(c, payload, &left) || (p->len && !left)))
		return true;		/* the whole message was in one packet */
	vio_fifo_put(&c->in, payload, left);
	if (ends && c->in.open) {	/* a message without a byte can't be told from the end of all */
		vio_fifo_mark(&c->in, c->line->eor ? VIO_FIFO_EOM | VIO_FIFO_EOR : VIO_FIFO_EOM);
		vio_vsock_dev_drain(c);
	} else if (c->in.open == c->in.size) {
		return overrun(c);	/* a message longer than its buffer will never be whole */
	}
	return true;
}

/* D6: within what the guest was told it may send, or not at all; so what waits always fits. */
static bool take_bytes(struct conn *c, const struct vsock_packet *p, struct vio_cur payload)
{
	if (p->len > payload.left || p->len > guest_credit(c) || c->guest_shut & VIO_VSOCK_SHUTDOWN_SEND)
		return overrun(c);
	c->rx_cnt += p->len;
	tell_credit(c);
	payload.left = p->len;
	if (!c->line || c->host_shut & VIO_VSOCK_SHUTDOWN_RECEIVE) {	/* sent before it knew */
		passed_on(c, p->len);
		return true;
	}
	if (c->message)
		return pass_message(c, p, &payload);
	uint32_t left = p->len;
	if (pass_by(c, &payload, &left))
		vio_fifo_put(&c->in, &payload, left);
	return true;
}

static bool take_response(struct conn *c)
{
	if (c->state != CONN_ASKING)
		return overrun(c);
	wait_no_more(c);
	set_alarm(c->v);
	c->state = CONN_OPEN;
	c->readable = true;
	vio_vsock_dev_work(c);
	c->line->ops->answer(c->line, c->port);
	return true;
}

bool vio_vsock_dev_take(struct conn *c, const struct vsock_packet *p, struct vio_cur payload)
{
	if (p->op == VIO_VSOCK_OP_RST)
		return take_reset(c);
	if (c->state == CONN_DEAD)
		return true;		/* sent before it knew */
	if (p->type != (c->message ? VIO_VSOCK_TYPE_SEQPACKET : VIO_VSOCK_TYPE_STREAM) || !take_credit(c, p))
		return overrun(c);
	if (p->op == VIO_VSOCK_OP_RESPONSE)
		return take_response(c);
	if (c->state != CONN_OPEN && c->state != CONN_ENDING)
		return overrun(c);
	switch (p->op) {
	case VIO_VSOCK_OP_RW:
		return take_bytes(c, p, payload);
	case VIO_VSOCK_OP_SHUTDOWN:
		return take_shutdown(c, p);
	case VIO_VSOCK_OP_CREDIT_UPDATE:
		return true;
	case VIO_VSOCK_OP_CREDIT_REQUEST:
		owe(c, OWE_CREDIT);
		return true;
	default:			/* a REQUEST for what is there already, or no operation at all */
		return overrun(c);
	}
}

/* ---- Beginnings ---- */

static void use_line(struct conn *c, struct vio_line *l)
{
	c->line = l;
	l->event = on_line;
	l->arg = c;
}

static void answered(struct conn *c)
{
	wait_no_more(c);
	c->state = CONN_OPEN;
	c->readable = true;
	owe(c, OWE_RESPONSE);
}

bool vio_vsock_dev_connect(struct vsock *v, const struct vsock_packet *p)
{
	struct vio_dial_call call = { .from_cid = v->cid, .to_cid = p->cid, .from_port = p->guest_port, .to_port = p->port,
		.message = p->type == VIO_VSOCK_TYPE_SEQPACKET };
	struct conn *c = p->fwd_cnt ? NULL : conn_new(v, p->cid, p->port, p->guest_port, call.message);	/* received before it began? */

	if (!c)
		return false;
	c->peer_alloc = p->buf_alloc;
	struct vio_line *l = v->dial->ops->connect(v->dial, &call);
	if (!l) {
		vio_vsock_dev_free(c);
		return false;
	}
	use_line(c, l);
	c->from_guest = true;
	c->state = CONN_CALLING;
	if (l->answered)
		answered(c);
	else
		wait_at_most(c);
	return true;
}

/* A port of the host's side for a caller that has none; 0: none is free, which can't be. */
static uint32_t host_port(struct vsock *v, uint64_t cid, uint32_t guest_port)
{
	for (uint32_t i = 0; i <= v->most; i++) {
		if (v->next_port < VSOCK_HOST_PORTS || v->next_port >= UINT32_MAX)
			v->next_port = VSOCK_HOST_PORTS;
		uint32_t port = v->next_port++;
		if (!vio_vsock_dev_find(v, cid, port, guest_port))
			return port;
	}
	return 0;
}

bool vio_vsock_dev_incoming(void *arg, const struct vio_dial_call *call, struct vio_line *l)
{
	struct vsock *v = arg;
	uint32_t port = call->from_port ? call->from_port : host_port(v, call->from_cid, call->to_port);

	if (!v->q[VIO_VSOCK_RX] || !v->q[VIO_VSOCK_TX] || !port || vio_vsock_dev_find(v, call->from_cid, port, call->to_port)
	    || !vio_vsock_dev_has_type(v, call->message ? VIO_VSOCK_TYPE_SEQPACKET : VIO_VSOCK_TYPE_STREAM))
		return false;
	struct conn *c = conn_new(v, call->from_cid, port, call->to_port, call->message);
	if (!c)
		return false;
	use_line(c, l);
	c->state = CONN_ASKING;
	wait_at_most(c);
	owe(c, OWE_REQUEST);
	return true;
}

/* ---- Events of the line ---- */

static void on_line(void *arg, unsigned what)
{
	struct conn *c = arg;

	if (c->state == CONN_CALLING) {
		if (what & VIO_LINE_GONE)
			vio_vsock_dev_kill(c, true);
		else if (what & VIO_LINE_ANSWERED)
			answered(c);
		return;
	}
	if (what & VIO_LINE_GONE && c->state == CONN_ASKING) {	/* the caller has given up */
		vio_vsock_dev_kill(c, true);
		return;
	}
	if (what & VIO_LINE_READ && c->state == CONN_OPEN && !(c->guest_shut & VIO_VSOCK_SHUTDOWN_RECEIVE)) {
		c->readable = true;
		vio_vsock_dev_work(c);
	}
	if (!(what & VIO_LINE_WRITE) || (c->state != CONN_OPEN && c->state != CONN_LINGERING))
		return;
	if (c->line->deaf)
		gone_deaf(c);
	else
		vio_vsock_dev_drain(c);
}

/* ---- For the operator ---- */

void vio_vsock_dev_each(const struct vio_dev *d, bool (*each)(void *arg, const struct vio_vsock_dev_connection *c), void *arg)
{
	static const char *const states[] = {
		[CONN_CALLING] = "calling", [CONN_ASKING] = "asking", [CONN_OPEN] = "open", [CONN_ENDING] = "ending",
		[CONN_DEAD] = "dead", [CONN_LINGERING] = "lingering",
	};
	const struct vsock *v = (const struct vsock *)d;
	uint32_t left = v->count;

	for (unsigned i = 0; i <= VSOCK_BUCKETS && left; i++)
		for (const struct conn *c = i < VSOCK_BUCKETS ? v->bucket[i] : v->lingering.first; c;
		    c = i < VSOCK_BUCKETS ? c->hash_next : c->timed.next) {
			struct vio_vsock_dev_connection told = { .cid = c->cid, .port = c->port, .guest_port = c->guest_port,
				.message = c->message, .from_guest = c->from_guest, .state = states[c->state],
				.received = c->rx_cnt, .sent = c->tx_cnt, .waiting = c->in.used };
			left--;
			if (!each(arg, &told))
				return;
		}
}
