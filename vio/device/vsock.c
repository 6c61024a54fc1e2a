/*
 * Socket device (virtio 1.4, section 5.10): the queues and their packets.
 *
 *        tx:  chain ─▶ header judged ─▶ connection ─▶ line            vsock_conn.c says what a packet does to a connection
 *                           └─ nobody's ─▶ a RST waits for rx
 *        rx:  RSTs first, then each connection with something for the guest in its turn: one packet, and back to the end
 *
 * The transmit queue never waits for the receive queue (5.10.6.1), with one exception that the specification foresees: when
 * VSOCK_RESETS answers to nobody's packets wait for a guest that takes none, no more of its packets are looked at.  All else a
 * guest may be owed is kept in its connection.
 *
 * A packet to the guest is read from the line straight into the guest's buffer.  While there is no buffer nothing is read: what
 * comes from outside waits where it is.
 */
#include <vio/device/vsock_impl.h>

enum { HDR = sizeof(struct vio_vsock_hdr) };

uint32_t vio_vsock_dev_connections(const struct vio_dev *d) { return ((const struct vsock *)d)->count; }

/* ---- Transmit: from the guest ---- */

static void wake_rx(struct vsock *v)
{
	if (v->q[VIO_VSOCK_RX])
		vio_dev_wake(v->q[VIO_VSOCK_RX]);
}

/* There is room: the caller has looked. */
static void answer_reset(struct vsock *v, const struct vsock_packet *p)
{
	if (p->op == VIO_VSOCK_OP_RST)
		return;			/* or two sides would answer each other for ever */
	v->reset[(v->reset_at + v->resets++) % VSOCK_RESETS] =
	    (struct vsock_reset){ .cid = p->cid, .port = p->port, .guest_port = p->guest_port, .type = p->type };
	wake_rx(v);
}

/* False: it was malformed, or broke a rule. */
static bool take_packet(struct vsock *v, struct vio_chain *c)
{
	struct vio_vsock_hdr h;

	if (!vio_cur_get(&c->r, &h, sizeof h))
		return false;
	struct vsock_packet p = {
		.cid = vio_le64_get(h.dst_cid), .port = vio_le32_get(h.dst_port), .guest_port = vio_le32_get(h.src_port),
		.type = vio_le16_get(h.type), .op = vio_le16_get(h.op), .len = vio_le32_get(h.len),
		.flags = vio_le32_get(h.flags), .buf_alloc = vio_le32_get(h.buf_alloc), .fwd_cnt = vio_le32_get(h.fwd_cnt),
	};
	if (vio_le64_get(h.src_cid) != v->cid)
		return false;		/* 5.10.6.4: not this guest's; there is nobody to answer */
	if (!vio_vsock_dev_has_type(v, p.type)) {
		answer_reset(v, &p);	/* 5.10.6.4 */
		return false;
	}
	struct conn *conn = vio_vsock_dev_find(v, p.cid, p.port, p.guest_port);
	if (conn)
		return vio_vsock_dev_take(conn, &p, c->r);
	if (p.op != VIO_VSOCK_OP_REQUEST || !vio_vsock_dev_connect(v, &p))
		answer_reset(v, &p);
	return p.op <= VIO_VSOCK_OP_CREDIT_REQUEST && p.op != VIO_VSOCK_OP_INVALID && p.len <= c->r.left;
}

static void tx_queue(struct vsock *v, struct vio_devq *q)
{
	uint64_t moved = 0;
	struct vio_chain *c = NULL;

	while (v->resets < VSOCK_RESETS && (c = vio_devq_pop(q))) {
		moved += c->r.left;
		if (!take_packet(v, c))
			vio_dev_refused(q);
		vio_dev_push(q, c);	/* what the device could write of it means nothing here (5.10.6.4) */
		if (moved >= VSOCK_TURN_BYTES)
			vio_devq_yield(q);
	}
	if (v->resets == VSOCK_RESETS)
		q->why_empty = VIO_WAIT_DEVICE;	/* 5.10.6.1: until the guest takes some */
}

/* ---- Receive: to the guest ---- */

static void put_header(struct vsock *v, struct vio_chain *chain, const struct conn *c, uint16_t op, uint32_t len, uint32_t flags)
{
	struct vio_vsock_hdr h = {
		.src_cid = vio_le64_of(c->cid), .dst_cid = vio_le64_of(v->cid), .src_port = vio_le32_of(c->port),
		.dst_port = vio_le32_of(c->guest_port), .len = vio_le32_of(len), .op = vio_le16_of(op),
		.type = vio_le16_of(c->message ? VIO_VSOCK_TYPE_SEQPACKET : VIO_VSOCK_TYPE_STREAM), .flags = vio_le32_of(flags),
		.buf_alloc = vio_le32_of(v->buffer), .fwd_cnt = vio_le32_of(c->fwd_cnt),
	};
	vio_cur_put(&chain->w, &h, sizeof h);
}

static void say(struct vsock *v, struct vio_chain *chain, struct conn *c, uint16_t op, uint32_t flags)
{
	put_header(v, chain, c, op, 0, flags);
	c->told_fwd = c->fwd_cnt;
	c->owed &= (uint8_t)~OWE_CREDIT;
}

static void say_reset(struct vsock *v, struct vio_chain *chain)
{
	const struct vsock_reset *r = &v->reset[v->reset_at];
	struct vio_vsock_hdr h = {
		.src_cid = vio_le64_of(r->cid), .dst_cid = vio_le64_of(v->cid), .src_port = vio_le32_of(r->port),
		.dst_port = vio_le32_of(r->guest_port), .type = vio_le16_of(r->type), .op = vio_le16_of(VIO_VSOCK_OP_RST),
	};
	bool full = v->resets == VSOCK_RESETS;

	vio_cur_put(&chain->w, &h, sizeof h);
	v->reset_at = (v->reset_at + 1) % VSOCK_RESETS;
	v->resets--;
	if (full && v->q[VIO_VSOCK_TX])
		vio_dev_wake(v->q[VIO_VSOCK_TX]);
}

/* One of the packets without payload that c's guest has to get before any other.  False: there is none. */
static bool say_first(struct vsock *v, struct vio_chain *chain, struct conn *c)
{
	static const struct { uint8_t owed; uint16_t op; } first[] = {
		{ OWE_RST, VIO_VSOCK_OP_RST }, { OWE_REQUEST, VIO_VSOCK_OP_REQUEST }, { OWE_RESPONSE, VIO_VSOCK_OP_RESPONSE },
		{ OWE_SHUTDOWN, VIO_VSOCK_OP_SHUTDOWN },
	};

	for (unsigned i = 0; i < sizeof first / sizeof *first; i++) {
		if (!(c->owed & first[i].owed))
			continue;
		c->owed &= (uint8_t)~first[i].owed;
		bool shut = first[i].owed == OWE_SHUTDOWN;
		say(v, chain, c, first[i].op, shut ? c->host_shut : 0);
		if (shut)
			c->told_shut = c->host_shut;
		return true;
	}
	return false;
}

static bool say_last(struct vsock *v, struct vio_chain *chain, struct conn *c)
{
	if (!(c->owed & (OWE_CREDIT | OWE_ASK)))
		return false;
	bool ask = !(c->owed & OWE_CREDIT);
	c->owed &= (uint8_t)~(ask ? OWE_ASK : OWE_CREDIT);
	say(v, chain, c, ask ? VIO_VSOCK_OP_CREDIT_REQUEST : VIO_VSOCK_OP_CREDIT_UPDATE, 0);
	return true;
}

static uint32_t least(uint64_t a, uint64_t b) { return (uint32_t)(a < b ? a : b); }

static void sent(struct conn *c, uint32_t n)
{
	c->tx_cnt += n;
	c->told_fwd = c->fwd_cnt;
	c->owed &= (uint8_t)~OWE_CREDIT;
}

/* What read gave instead of bytes. */
static void no_bytes(struct conn *c, long got)
{
	uint8_t shut = (uint8_t)((got == VIO_LINE_END ? VIO_VSOCK_SHUTDOWN_SEND : 0) | (c->line->deaf ? VIO_VSOCK_SHUTDOWN_RECEIVE : 0));

	c->readable = false;
	if (got == VIO_LINE_RESET)
		vio_vsock_dev_kill(c, true);
	else
		vio_vsock_dev_host_shut(c, shut);
}

/* Read from the line into the guest's buffer, behind the place of the header. */
static bool send_bytes(struct vsock *v, struct vio_chain *chain, struct conn *c, uint32_t most)
{
	struct vio_cur payload = chain->w;

	vio_cur_skip(&payload, HDR);
	payload.left = most;
	long got = c->line->ops->read(c->line, &payload);
	if (got <= 0) {
		no_bytes(c, got);
		return false;
	}
	c->readable = (uint32_t)got == most;	/* otherwise the line will tell */
	put_header(v, chain, c, VIO_VSOCK_OP_RW, (uint32_t)got, 0);
	vio_cur_skip(&chain->w, (uint64_t)got);
	sent(c, (uint32_t)got);
	if (!c->readable && c->line->deaf)
		vio_vsock_dev_host_shut(c, VIO_VSOCK_SHUTDOWN_RECEIVE);
	return true;
}

/* A message is read whole, then goes in as many packets as it takes; one that the guest never has room for can't go. */
static bool fetch_message(struct conn *c)
{
	struct vio_seg seg = { c->out, c->v->buffer };
	struct vio_cur cur = { .seg = &seg, .left = seg.len };
	long got = c->line->ops->read(c->line, &cur);

	if (got <= 0) {
		no_bytes(c, got);
		return false;
	}
	c->out_len = (uint32_t)got;
	c->out_at = 0;
	c->out_eor = c->line->eor;
	if (c->out_len <= c->peer_alloc)
		return true;
	vio_vsock_dev_kill(c, true);
	return false;
}

static bool send_message(struct vsock *v, struct vio_chain *chain, struct conn *c, uint32_t most)
{
	if (!c->out_len && !fetch_message(c))
		return false;
	uint32_t n = least(most, c->out_len - c->out_at), flags = 0;
	if (c->out_at + n == c->out_len)
		flags = VIO_VSOCK_SEQ_EOM | (c->out_eor ? VIO_VSOCK_SEQ_EOR : 0);	/* 5.10.6.6 */
	put_header(v, chain, c, VIO_VSOCK_OP_RW, n, flags);
	vio_cur_put(&chain->w, c->out + c->out_at, n);
	c->out_at += n;
	if (flags)
		c->out_len = 0;
	sent(c, n);
	return true;
}

/* 5.10.6.3: as far as the guest has room. */
static bool send_data(struct vsock *v, struct vio_chain *chain, struct conn *c)
{
	uint32_t credit = vio_vsock_dev_credit(c), most = least(least(chain->w.left - HDR, VSOCK_PACKET), credit);

	if (c->state != CONN_OPEN || !(c->readable || c->out_len) || c->guest_shut & VIO_VSOCK_SHUTDOWN_RECEIVE)
		return false;
	if (!credit && !c->asked) {
		c->asked = true;
		c->owed |= OWE_ASK;
	}
	if (!most)
		return false;
	return c->message ? send_message(v, chain, c, most) : send_bytes(v, chain, c, most);
}

/* One packet of c's into chain.  False: it had none after all. */
static bool serve(struct vsock *v, struct vio_chain *chain, struct conn *c)
{
	if (say_first(v, chain, c) || send_data(v, chain, c))
		return true;
	return say_first(v, chain, c) || say_last(v, chain, c);		/* the data may have turned out to be the end */
}

static bool has_work(const struct conn *c)
{
	if (c->owed || c->drain_more)
		return true;
	return c->state == CONN_OPEN && (c->readable || c->out_len) && !(c->guest_shut & VIO_VSOCK_SHUTDOWN_RECEIVE) &&
	    (vio_vsock_dev_credit(c) || !c->asked);
}

/* The connection whose turn it is; what needs no buffer of the guest is done on the way.  NULL: nobody has anything. */
static struct conn *next_conn(struct vsock *v)
{
	struct conn *c;

	while ((c = v->work.first)) {
		if (c->drain_more) {
			vio_vsock_dev_idle(c);
			vio_vsock_dev_work(c);		/* to the end: others first */
			vio_vsock_dev_drain(c);
		} else if (has_work(c)) {
			return c;
		} else {
			vio_vsock_dev_idle(c);
		}
	}
	return NULL;
}

/* Fill chain.  False: nobody has anything to say. */
static bool fill(struct vsock *v, struct vio_chain *chain)
{
	struct conn *c;

	if (v->resets) {
		say_reset(v, chain);
		return true;
	}
	while ((c = next_conn(v))) {
		vio_vsock_dev_idle(c);
		bool said = serve(v, chain, c);
		if (c->state == CONN_DEAD && !c->owed)
			vio_vsock_dev_free(c);
		else if (has_work(c))
			vio_vsock_dev_work(c);
		if (said || chain->w.left == HDR)
			return said;
	}
	return false;
}

static void rx_queue(struct vsock *v, struct vio_devq *q)
{
	uint64_t moved = 0;
	struct vio_chain *c;

	vio_vsock_dev_timeouts(v);
	while (v->resets || next_conn(v)) {
		if (!(c = vio_devq_pop(q)))
			return;
		if (c->w.left < HDR || (!fill(v, c) && c->w.left == HDR && next_conn(v))) {
			vio_dev_refused(q);		/* no room for what there is */
		} else if (c->w.done == 0) {
			vio_devq_unpop(q, c);
			continue;
		}
		moved += c->w.done;
		vio_dev_push(q, c);
		if (moved >= VSOCK_TURN_BYTES)
			vio_devq_yield(q);
	}
	q->why_empty = VIO_WAIT_DEVICE;		/* buffers are not looked at before there is something for them */
}

/* ---- Events (5.10.6.7) ---- */

static void event_queue(struct vsock *v, struct vio_devq *q)
{
	const struct vio_vsock_event e = { vio_le32_of(VIO_VSOCK_EVENT_TRANSPORT_RESET) };
	struct vio_chain *c;

	while (v->event_due) {
		if (!(c = vio_devq_pop(q)))
			return;
		if (vio_cur_put(&c->w, &e, sizeof e))
			v->event_due = false;
		else
			vio_dev_refused(q);
		vio_dev_push(q, c);
	}
	q->why_empty = VIO_WAIT_DEVICE;
}

/* ---- The type ---- */

static void vsock_queue(struct vio_dev *d, struct vio_devq *q)
{
	static void (*const serve_queue[])(struct vsock *, struct vio_devq *) = {
		[VIO_VSOCK_RX] = rx_queue, [VIO_VSOCK_TX] = tx_queue, [VIO_VSOCK_EVENT] = event_queue,
	};
	serve_queue[q->index](vsock_of(d), q);
}

/* A queue that goes on where another device left it: what connections the driver had are gone, and it must hear of it. */
static bool goes_on(const struct vio_dev *d, const struct vio_devq *q)
{
	return vio_devq_base(q) != (vio_has(d->accepted, VIO_F_RING_PACKED) ? VIO_PACKED_BASE : 0);
}

static const char *vsock_queue_start(struct vio_dev *d, struct vio_devq *q)
{
	struct vsock *v = vsock_of(d);

	v->q[q->index] = q;
	v->alarm = q->index == VIO_VSOCK_RX ? UINT64_MAX : v->alarm;	/* the turn it gets now sets it */
	if (!v->known && q->index != VIO_VSOCK_EVENT) {
		v->event_due |= goes_on(d, q);
		v->known = q->index == VIO_VSOCK_TX;
	}
	if (v->event_due && v->q[VIO_VSOCK_EVENT])
		vio_dev_wake(v->q[VIO_VSOCK_EVENT]);
	return NULL;
}

static void vsock_queue_stop(struct vio_dev *d, struct vio_devq *q)
{
	if (q->index == VIO_VSOCK_RX)
		vio_dev_alarm(q, UINT64_MAX);
	vsock_of(d)->q[q->index] = NULL;
}

static bool vsock_unlimited(const struct vio_dev *d, unsigned queue)
{
	(void)d;
	return queue == VIO_VSOCK_EVENT;
}

static void vsock_reset(struct vio_dev *d)
{
	struct vsock *v = vsock_of(d);

	vio_vsock_dev_forget_all(v);
	v->known = v->event_due = false;
}

/* Device-specific state: whose guest it was.  Connections do not move (5.10.6.7). */
static size_t vsock_save(struct vio_dev *d, void *to, size_t room)
{
	struct vsock *v = vsock_of(d);

	if (to && room >= sizeof v->config)
		memcpy(to, &v->config, sizeof v->config);
	return sizeof v->config;
}

static const char *vsock_load(struct vio_dev *d, const void *from, size_t n)
{
	struct vsock *v = vsock_of(d);

	(void)from;		/* another guest_cid is what the event is for: the driver reads it again */
	if (n != sizeof v->config)
		return "the saved state of the socket device is not a context id: it was saved by another program";
	vio_vsock_dev_forget_all(v);
	v->event_due = v->known = true;
	return NULL;
}

static const char *vsock_open(struct vio_dev *d, const void *options)
{
	const struct vio_vsock_options *o = options;
	struct vsock *v = vsock_of(d);
	uint32_t buffer = o->buffer ? o->buffer : 256 << 10;

	if (vio_vsock_cid_reserved(o->guest_cid))
		return "the guest's context id is a reserved one: give one from 3 to 4294967294";	/* 5.10.6.4 */
	if (o->connections > VIO_VSOCK_CONNECTIONS_MAX)
		return "there may be at most 65536 connections";
	if (buffer < VIO_VSOCK_BUFFER_MIN || buffer > VIO_VSOCK_BUFFER_MAX || buffer & (buffer - 1))
		return "a connection's buffer is a power of two, from 4 KiB to 16 MiB";
	if (o->queue_size > VIO_RING_SIZE_MAX)
		return "a queue has at most 32768 entries";
	v->dial = o->dial;
	v->cid = o->guest_cid;
	v->config.guest_cid = vio_le64_of(o->guest_cid);
	v->most = o->connections ? o->connections : 1024;
	v->buffer = buffer;
	v->seed = o->seed;
	v->next_port = VSOCK_HOST_PORTS;
	v->alarm = UINT64_MAX;
	d->queues = VIO_VSOCK_QUEUES;
	d->queue_size_max = o->queue_size ? o->queue_size : 256;
	d->config = (uint8_t *)&v->config;
	v->dial->incoming = vio_vsock_dev_incoming;
	v->dial->arg = v;
	return NULL;
}

static void vsock_close(struct vio_dev *d)
{
	struct vsock *v = vsock_of(d);

	vio_vsock_dev_forget_all(v);
	v->dial->incoming = NULL;
	v->dial->arg = NULL;
}

static const unsigned char features[] = { VIO_VSOCK_F_STREAM, VIO_VSOCK_F_SEQPACKET, VIO_VSOCK_F_NO_IMPLIED_STREAM };

const struct vio_dev_type vio_dev_vsock = {
	.name = "vsock",
	.id = VIO_ID_VSOCK,
	.features = features,
	.features_count = sizeof features,
	.config_len = sizeof(struct vio_vsock_config),
	.queue_size_max = VIO_RING_SIZE_MAX,
	.instance = sizeof(struct vsock),
	.request = sizeof(struct vio_chain),
	.unlimited = vsock_unlimited,
	.no_replay = true,		/* connections do not outlive their device */
	.backend = VIO_BACKEND_DIAL,
	.open = vsock_open,
	.close = vsock_close,
	.reset = vsock_reset,
	.save = vsock_save,
	.load = vsock_load,
	.queue_start = vsock_queue_start,
	.queue_stop = vsock_queue_stop,
	.queue = vsock_queue,
};
