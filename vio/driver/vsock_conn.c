/* Socket driver: connections (virtio 1.4, 5.10.6). */
#include <vio/driver/vsock_impl.h>

/* ---- Who they are ---- */

static unsigned bucket_of(uint64_t cid, uint32_t port, uint32_t local_port)
{
	uint32_t h = ((uint32_t)cid * UINT32_C(0x85ebca6b) ^ port) * UINT32_C(0x9e3779b1) ^ local_port * UINT32_C(0xc2b2ae35);
	return (h >> 16 ^ h) % VIO_VSOCK_DRV_BUCKETS;
}

static struct vio_vsock_conn *find(struct vio_vsock *v, uint64_t cid, uint32_t port, uint32_t local_port)
{
	struct vio_vsock_conn *c = v->bucket[bucket_of(cid, port, local_port)];

	while (c && (c->cid != cid || c->port != port || c->local_port != local_port))
		c = c->next_hash;
	return c;
}

static void unhash(struct vio_vsock *v, struct vio_vsock_conn *c)
{
	struct vio_vsock_conn **at = &v->bucket[bucket_of(c->cid, c->port, c->local_port)];

	if (!c->hashed)
		return;
	while (*at != c)
		at = &(*at)->next_hash;
	*at = c->next_hash;
	c->hashed = false;
}

/* NULL: all are in use, or still owe a packet. */
static struct vio_vsock_conn *conn_new(struct vio_vsock *v, uint64_t cid, uint32_t port, uint32_t local_port, bool message)
{
	struct vio_vsock_conn *c = v->o.conn, *end = c + v->o.conns;

	while (c < end && (c->state != VIO_VSOCK_FREE || c->working))
		c++;
	if (c == end)
		return NULL;
	struct vio_fifo in = c->in;
	vio_fifo_drop(&in, in.used);
	*c = (struct vio_vsock_conn){ .in = in, .cid = cid, .port = port, .local_port = local_port, .message = message };
	c->hashed = true;
	struct vio_vsock_conn **bucket = &v->bucket[bucket_of(cid, port, local_port)];
	c->next_hash = *bucket;
	*bucket = c;
	return c;
}

static void owe(struct vio_vsock *v, struct vio_vsock_conn *c, uint8_t what)
{
	c->owed |= what;
	vio_vsock_drv_work(v, c);
}

/* It is over; whoever has it may still receive what came. */
static void end(struct vio_vsock *v, struct vio_vsock_conn *c, const char *why)
{
	bool ours = c->state == VIO_VSOCK_CLOSING || c->state == VIO_VSOCK_CALLED;

	unhash(v, c);
	c->deadline = 0;
	c->owed &= OWE_RST;
	c->why = why;
	c->state = ours ? VIO_VSOCK_FREE : VIO_VSOCK_ENDED;
}

static void end_with_reset(struct vio_vsock *v, struct vio_vsock_conn *c, const char *why)
{
	c->owed = OWE_RST;
	vio_vsock_drv_work(v, c);
	end(v, c, why);
}

void vio_vsock_drv_end_all(struct vio_vsock *v, const char *why)
{
	for (uint16_t i = 0; i < v->o.conns; i++) {
		struct vio_vsock_conn *c = &v->o.conn[i];
		c->owed = 0;
		if (c->state != VIO_VSOCK_FREE && c->state != VIO_VSOCK_ENDED)
			end(v, c, why);
	}
}

/* ---- Time ---- */

static void wait_at_most(struct vio_vsock *v, struct vio_vsock_conn *c)
{
	c->deadline = vio_vsock_drv_now(v) + VIO_VSOCK_DRV_PATIENCE_NS;
	if (c->deadline < v->next_deadline)
		v->next_deadline = c->deadline;
}

void vio_vsock_drv_deadlines(struct vio_vsock *v)
{
	if (v->next_deadline == UINT64_MAX)
		return;
	uint64_t now = vio_vsock_drv_now(v), next = UINT64_MAX;
	if (now < v->next_deadline)
		return;
	for (uint16_t i = 0; i < v->o.conns; i++) {
		struct vio_vsock_conn *c = &v->o.conn[i];
		if (!c->deadline)
			continue;
		if (c->deadline <= now)
			end_with_reset(v, c, "the other side did not answer in time");
		else if (c->deadline < next)
			next = c->deadline;
	}
	v->next_deadline = next;
}

/* ---- Credit (5.10.6.3) ---- */

uint32_t vio_vsock_credit(const struct vio_vsock_conn *c)
{
	uint32_t most = c->peer_alloc < INT32_MAX ? c->peer_alloc : INT32_MAX, flying = c->tx_cnt - c->peer_fwd;

	return flying < most ? most - flying : 0;
}

static bool take_credit(struct vio_vsock_conn *c, const struct vsock_in *p)
{
	if ((int32_t)(p->fwd_cnt - c->peer_fwd) > 0) {
		if (p->fwd_cnt - c->peer_fwd > c->tx_cnt - c->peer_fwd)
			return false;	/* more than was sent */
		c->peer_fwd = p->fwd_cnt;
	}
	c->peer_alloc = p->buf_alloc;
	return true;
}

static uint32_t peer_credit(const struct vio_vsock_conn *c) { return c->in.size - (c->rx_cnt - c->told_fwd); }

/* When a quarter is free, or when the other side may believe that there is hardly any; asked when either count has moved. */
static void tell_credit(struct vio_vsock *v, struct vio_vsock_conn *c)
{
	if (c->state == VIO_VSOCK_OPEN && c->fwd_cnt != c->told_fwd &&
	    (c->fwd_cnt - c->told_fwd >= c->in.size / 4 || peer_credit(c) < c->in.size / 4))
		owe(v, c, OWE_CREDIT);
}

static void passed_on(struct vio_vsock *v, struct vio_vsock_conn *c, uint32_t n)
{
	c->fwd_cnt += n;
	tell_credit(v, c);
}

/* ---- Out ---- */

bool vio_vsock_drv_serve(struct vio_vsock *v, struct vio_vsock_conn *c)
{
	static const struct { uint8_t owed; uint16_t op; } order[] = {
		{ OWE_RST, VIO_VSOCK_OP_RST }, { OWE_REQUEST, VIO_VSOCK_OP_REQUEST }, { OWE_RESPONSE, VIO_VSOCK_OP_RESPONSE },
		{ OWE_SHUTDOWN, VIO_VSOCK_OP_SHUTDOWN }, { OWE_CREDIT, VIO_VSOCK_OP_CREDIT_UPDATE },
	};

	for (unsigned i = 0; i < sizeof order / sizeof *order; i++) {
		if (!(c->owed & order[i].owed))
			continue;
		uint32_t flags = order[i].owed == OWE_SHUTDOWN ? c->local_shut : 0;
		if (!vio_vsock_drv_say(v, c, order[i].op, flags, NULL, 0))
			return false;
		c->owed &= (uint8_t)~order[i].owed;
	}
	return true;
}

/* ---- In ---- */

static bool listens(const struct vio_vsock *v, uint32_t port, bool message)
{
	for (unsigned i = 0; i < VIO_VSOCK_DRV_LISTENERS; i++)
		if (v->listener[i].on && v->listener[i].port == port && v->listener[i].message == message)
			return true;
	return false;
}

static bool called(struct vio_vsock *v, const struct vsock_in *p)
{
	bool message = p->type == VIO_VSOCK_TYPE_SEQPACKET;
	struct vio_vsock_conn *c = listens(v, p->local_port, message) && !p->fwd_cnt ?
	    conn_new(v, p->cid, p->port, p->local_port, message) : NULL;

	if (!c)
		return false;
	c->state = VIO_VSOCK_CALLED;
	c->peer_alloc = p->buf_alloc;
	owe(v, c, OWE_RESPONSE);
	return true;
}

/* False: it breaks a rule. */
static bool take_bytes(struct vio_vsock *v, struct vio_vsock_conn *c, const struct vsock_in *p)
{
	struct vio_seg seg = { (void *)(uintptr_t)p->data, p->len };
	struct vio_cur cur = { .seg = &seg, .left = p->len };

	if (p->len > peer_credit(c) || c->peer_shut & VIO_VSOCK_SHUTDOWN_SEND)
		return false;
	c->rx_cnt += p->len;
	tell_credit(v, c);
	if (c->state == VIO_VSOCK_CLOSING || c->local_shut & VIO_VSOCK_SHUTDOWN_RECEIVE) {
		passed_on(v, c, p->len);
		return true;
	}
	if (p->len)
		vio_fifo_put(&c->in, &cur, p->len);
	if (c->message && p->flags & VIO_VSOCK_SEQ_EOM && c->in.open)
		vio_fifo_mark(&c->in, p->flags & VIO_VSOCK_SEQ_EOR ? VIO_FIFO_EOM | VIO_FIFO_EOR : VIO_FIFO_EOM);
	return !c->message || c->in.open < c->in.size;	/* a message that will never be whole */
}

static void take_shutdown(struct vio_vsock *v, struct vio_vsock_conn *c, const struct vsock_in *p)
{
	c->peer_shut |= (uint8_t)(p->flags & VIO_VSOCK_SHUTDOWN_BOTH);
	if (c->peer_shut == VIO_VSOCK_SHUTDOWN_BOTH)	/* 5.10.6.5: what came is here, so it can be confirmed at once */
		end_with_reset(v, c, "the other side has closed");
}

static bool take_open(struct vio_vsock *v, struct vio_vsock_conn *c, const struct vsock_in *p)
{
	switch (p->op) {
	case VIO_VSOCK_OP_RW:
		return take_bytes(v, c, p);
	case VIO_VSOCK_OP_SHUTDOWN:
		take_shutdown(v, c, p);
		return true;
	case VIO_VSOCK_OP_CREDIT_UPDATE:
		return true;
	case VIO_VSOCK_OP_CREDIT_REQUEST:
		owe(v, c, OWE_CREDIT);
		return true;
	default:
		return false;
	}
}

bool vio_vsock_drv_take(struct vio_vsock *v, const struct vsock_in *p)
{
	struct vio_vsock_conn *c = find(v, p->cid, p->port, p->local_port);
	bool good;

	if (!c)
		return p->op == VIO_VSOCK_OP_RST || (p->op == VIO_VSOCK_OP_REQUEST && called(v, p));
	if (p->op == VIO_VSOCK_OP_RST) {
		end(v, c, c->state == VIO_VSOCK_CONNECTING ? "nobody listens there" : "the other side has reset the connection");
		return true;
	}
	good = p->type == (c->message ? VIO_VSOCK_TYPE_SEQPACKET : VIO_VSOCK_TYPE_STREAM) && take_credit(c, p);
	if (good && c->state == VIO_VSOCK_CONNECTING) {
		good = p->op == VIO_VSOCK_OP_RESPONSE;
		if (good) {
			c->state = VIO_VSOCK_OPEN;
			c->deadline = 0;
		}
	} else if (good) {
		good = take_open(v, c, p);
	}
	if (!good) {
		v->refused++;
		end_with_reset(v, c, "the device has broken the connection's rules");
	}
	return true;
}

/* ---- What callers do ---- */

struct vio_vsock_conn *vio_vsock_connect(struct vio_vsock *v, uint64_t cid, uint32_t port, bool message)
{
	struct vio_vsock_conn *c = NULL;

	for (unsigned tries = 0; !c && tries <= v->o.conns; tries++) {
		if (v->next_port < 1024 || v->next_port == UINT32_MAX)
			v->next_port = 1024;
		uint32_t local = v->next_port++;
		if (find(v, cid, port, local) || listens(v, local, message))
			continue;
		c = vio_vsock_can(v, message) ? conn_new(v, cid, port, local, message) : NULL;
		if (!c)
			return NULL;
	}
	if (!c)
		return NULL;
	c->state = VIO_VSOCK_CONNECTING;
	wait_at_most(v, c);
	owe(v, c, OWE_REQUEST);
	return c;
}

bool vio_vsock_listen(struct vio_vsock *v, uint32_t port, bool message)
{
	if (listens(v, port, message) || !vio_vsock_can(v, message))
		return false;
	for (unsigned i = 0; i < VIO_VSOCK_DRV_LISTENERS; i++)
		if (!v->listener[i].on) {
			v->listener[i].port = port;
			v->listener[i].message = message;
			v->listener[i].on = true;
			return true;
		}
	return false;
}

void vio_vsock_unlisten(struct vio_vsock *v, uint32_t port, bool message)
{
	for (unsigned i = 0; i < VIO_VSOCK_DRV_LISTENERS; i++)
		if (v->listener[i].port == port && v->listener[i].message == message)
			v->listener[i].on = false;
	for (uint16_t i = 0; i < v->o.conns; i++) {	/* who has called and was not accepted */
		struct vio_vsock_conn *c = &v->o.conn[i];
		if (c->state == VIO_VSOCK_CALLED && c->local_port == port && c->message == message)
			end_with_reset(v, c, NULL);
	}
}

struct vio_vsock_conn *vio_vsock_accept(struct vio_vsock *v, uint32_t port, bool message)
{
	for (uint16_t i = 0; i < v->o.conns; i++) {
		struct vio_vsock_conn *c = &v->o.conn[i];
		if (c->state == VIO_VSOCK_CALLED && c->local_port == port && c->message == message) {
			c->state = VIO_VSOCK_OPEN;
			return c;
		}
	}
	return NULL;
}

uint32_t vio_vsock_send(struct vio_vsock *v, struct vio_vsock_conn *c, const void *data, uint32_t len, uint32_t flags)
{
	uint32_t sent = 0, most = v->o.packet_bytes - VSOCK_HDR;

	if (c->state != VIO_VSOCK_OPEN || c->local_shut & VIO_VSOCK_SHUTDOWN_SEND || c->peer_shut & VIO_VSOCK_SHUTDOWN_RECEIVE)
		return 0;
	if (c->owed && !vio_vsock_drv_serve(v, c))
		return 0;		/* a RESPONSE comes before bytes */
	while (sent < len) {
		uint32_t credit = vio_vsock_credit(c), n = len - sent;
		n = n < most ? n : most;
		n = n < credit ? n : credit;	/* 5.10.6.3 */
		uint32_t ends = c->message && sent + n == len ? flags & (VIO_VSOCK_SEQ_EOM | VIO_VSOCK_SEQ_EOR) : 0;
		if (n == 0 || !vio_vsock_drv_say(v, c, VIO_VSOCK_OP_RW, ends, (const char *)data + sent, n))
			break;
		c->tx_cnt += n;
		sent += n;
	}
	return sent;
}

uint32_t vio_vsock_recv(struct vio_vsock *v, struct vio_vsock_conn *c, void *to, uint32_t len, uint32_t *flags)
{
	struct vio_fifo_cur part;
	unsigned what = 0;
	uint32_t whole = c->message ? vio_fifo_message(&c->in, &what) : c->in.used, n = whole < len ? whole : len;

	*flags = 0;
	if (n == 0 || c->state == VIO_VSOCK_FREE)
		return 0;
	vio_fifo_front(&c->in, n, &part);
	vio_cur_get(&part.cur, to, n);
	if (c->message) {
		*flags = (what & VIO_FIFO_EOM ? VIO_VSOCK_SEQ_EOM : 0) | (what & VIO_FIFO_EOR ? VIO_VSOCK_SEQ_EOR : 0) |
		    (n < whole ? (uint32_t)VIO_VSOCK_MESSAGE_CUT : 0);
		vio_fifo_drop(&c->in, whole);
		passed_on(v, c, whole);
	} else {
		vio_fifo_drop(&c->in, n);
		passed_on(v, c, n);
	}
	return n;
}

bool vio_vsock_at_end(const struct vio_vsock_conn *c)
{
	bool ended = c->state == VIO_VSOCK_ENDED || c->peer_shut & VIO_VSOCK_SHUTDOWN_SEND;

	return ended && !(c->message ? c->in.messages : c->in.used);
}

void vio_vsock_shutdown(struct vio_vsock *v, struct vio_vsock_conn *c, uint8_t what)
{
	uint8_t fresh = (uint8_t)(what & VIO_VSOCK_SHUTDOWN_BOTH & ~c->local_shut);

	if (c->state != VIO_VSOCK_OPEN || !fresh)
		return;
	c->local_shut |= fresh;
	owe(v, c, OWE_SHUTDOWN);
}

void vio_vsock_close(struct vio_vsock *v, struct vio_vsock_conn *c)
{
	if (c->state == VIO_VSOCK_ENDED)
		c->state = VIO_VSOCK_FREE;
	if (c->state == VIO_VSOCK_CONNECTING)
		vio_vsock_abort(v, c);
	if (c->state != VIO_VSOCK_OPEN)
		return;
	vio_vsock_shutdown(v, c, VIO_VSOCK_SHUTDOWN_BOTH);
	c->state = VIO_VSOCK_CLOSING;
	wait_at_most(v, c);
}

void vio_vsock_abort(struct vio_vsock *v, struct vio_vsock_conn *c)
{
	if (c->state == VIO_VSOCK_OPEN || c->state == VIO_VSOCK_CONNECTING)
		end_with_reset(v, c, NULL);
	if (c->state == VIO_VSOCK_ENDED)
		c->state = VIO_VSOCK_FREE;
}
