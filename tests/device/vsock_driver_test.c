/* The socket driver over the real device, in every shape; and against a device that lies. */
#include <vio/driver/vsock.h>
#include "vsock_rig.h"

enum { PACKETS = 8, PACKET = 44 + 1500, CONNS = 6, ROOM_HERE = 4096, TALK = 20000 };

/* A driver whose memory is the guest's. */
struct drv {
	struct vsock_rig *b;
	struct rig *g;
	struct vio_vsock *v;
	struct vio_vsock_setup o;
	struct vio_vsock_conn conn[CONNS];
	struct vio_vsock_slot packet[2][PACKETS];
};

static void give_memory(struct drv *d, struct vio_features wanted)
{
	struct rig *g = d->g;

	d->v = rig_take(g, sizeof *d->v);
	d->o = (struct vio_vsock_setup){ .wanted = wanted, .queue_size = RIG_SIZE, .packets = PACKETS, .packet_bytes = PACKET,
		.bytes = rig_take(g, 2 * PACKETS * PACKET), .conns = CONNS, .conn = d->conn, .buffer = ROOM_HERE,
		.buffers = rig_take(g, CONNS * VIO_FIFO_BYTES(ROOM_HERE, true)) };
	for (unsigned i = 0; i < 2; i++) {
		d->o.ring[i] = rig_take(g, VIO_DRVQ_RING_BYTES(RIG_SIZE));
		d->o.slots[i] = g->slots[i];
		d->o.packet[i] = d->packet[i];
	}
}

static struct drv *drv_new(struct vio_features wanted, uint32_t map_cut, uint32_t clip)
{
	struct drv *d = calloc(1, sizeof *d);

	assert_non_null(d);
	d->b = vsock_new();
	d->g = d->b->g;
	d->g->map_cut = map_cut;
	d->g->mem.clip = clip;
	assert_null(rig_open(d->g, &vio_dev_vsock, &d->b->o));
	give_memory(d, wanted);
	if (!vio_vsock_start(d->v, &d->g->wire.port, &d->o))
		fail_msg("%s", d->v->drv.failed);
	assert_int_equal(d->v->cid, CID);
	return d;
}

static void drv_close(struct drv *d)
{
	assert_true(vio_vsock_stop(d->v));
	assert_int_equal(d->g->maps, 0);
	d->g->mem.clip = 0;
	vsock_close(d->b);
	free(d);
}

static void move(struct drv *d)
{
	for (unsigned quiet = 0; quiet < 3; quiet++) {
		vsock_pump(d->b);
		if (vio_vsock_poll(d->v))
			quiet = 0;
	}
}

static struct vio_vsock_conn *drv_connect(struct drv *d, bool message, struct vio_line **l)
{
	struct vio_vsock_conn *c = vio_vsock_connect(d->v, HOST, PORT, message);

	assert_non_null(c);
	move(d);
	assert_int_equal(c->state, VIO_VSOCK_OPEN);
	*l = vio_dial_memory_take(d->b->dial, NULL);
	assert_non_null(*l);
	return c;
}

/* ---- Everything, in every shape ---- */

static void talk(struct drv *d, bool message)
{
	static unsigned char out[TALK], in[TALK], part[TALK];
	const uint32_t sizes[] = { 1, 700, 4096, 2, 1500, 3000, 1456 };
	struct vio_line *l;
	struct vio_vsock_conn *c = drv_connect(d, message, &l);
	uint32_t said = 0, heard = 0, echoed = 0, flags, k = 0, j = 0, left = sizes[0];
	long n;

	fill_marks(out, 11, TALK);
	while (heard < TALK) {
		if (said < TALK) {
			uint32_t most = left < TALK - said ? left : TALK - said;
			uint32_t went = vio_vsock_send(d->v, c, out + said, most, k % 2 ? VIO_VSOCK_SEQ_EOM : VIO_VSOCK_SEQ_EOM | VIO_VSOCK_SEQ_EOR);
			said += went;
			left -= went;
			if (left == 0)
				left = sizes[++k % 7];
		}
		move(d);
		while ((n = world_read(l, part, sizeof part)) > 0) {	/* the world says it back, as it came */
			if (message) {
				uint32_t whole = sizes[echoed % 7];
				assert_true((uint32_t)n == whole || (uint32_t)n < whole);
				assert_int_equal(l->eor, echoed % 2 == 0);
				echoed++;
			}
			for (long at = 0, m; at < n; at += m > 0 ? m : 0) {
				m = world_write(l, part + at, (size_t)(n - at));
				assert_true(m >= 0);
			}
		}
		move(d);
		while ((n = vio_vsock_recv(d->v, c, in + heard, message ? TALK - heard : 333, &flags)) > 0) {
			assert_int_equal(flags, !message ? 0 : j % 2 ? VIO_VSOCK_SEQ_EOM : VIO_VSOCK_SEQ_EOM | VIO_VSOCK_SEQ_EOR);
			if (message && heard + (uint32_t)n < TALK)
				assert_int_equal(n, sizes[j++ % 7]);
			heard += (uint32_t)n;
			if (!message && heard + 333 > TALK)
				break;
		}
		while (!message && heard + 333 > TALK && heard < TALK && (n = vio_vsock_recv(d->v, c, in + heard, TALK - heard, &flags)) > 0)
			heard += (uint32_t)n;
	}
	assert_memory_equal(in, out, TALK);
	assert_int_equal(d->v->refused, 0);
	vio_vsock_close(d->v, c);
	move(d);
	assert_int_equal(c->state, VIO_VSOCK_FREE);
	assert_int_equal(world_read(l, part, 1), VIO_LINE_END);
	world_close(l);
	assert_int_equal(vsock_count(d->b), 0);
}

static void all_of_it_in_every_shape(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_VSOCK), BITS(ALL_VSOCK, VIO_F_EVENT_IDX), BITS(ALL_VSOCK, VIO_F_IN_ORDER),
		BITS(ALL_VSOCK, VIO_F_RING_PACKED), BITS(ALL_VSOCK, VIO_F_RING_PACKED, VIO_F_EVENT_IDX),
		BITS(ALL_VSOCK, VIO_F_RING_PACKED, VIO_F_IN_ORDER, VIO_F_NOTIFICATION_DATA) };
	const uint32_t cuts[] = { 0, 700 };

	(void)state;
	for (unsigned i = 0; i < 6; i++)
		for (unsigned c = 0; c < 2; c++)
			for (uint32_t clip = 0; clip < 2; clip++) {
				struct drv *d = drv_new(rings[i], cuts[c], clip * 100);
				assert_true(vio_drv_has(&d->v->drv, VIO_VSOCK_F_NO_IMPLIED_STREAM));
				talk(d, false);
				talk(d, true);
				drv_close(d);
			}
}

static void types_are_those_negotiated(void **state)
{
	const struct { struct vio_features f; bool stream, message; } rows[] = {
		{ BITS(VIO_F_VERSION_1), true, false },
		{ BITS(VIO_VSOCK_F_SEQPACKET), true, true },
		{ BITS(VIO_VSOCK_F_SEQPACKET, VIO_VSOCK_F_NO_IMPLIED_STREAM), false, true },
		{ BITS(VIO_VSOCK_F_STREAM, VIO_VSOCK_F_NO_IMPLIED_STREAM), true, false },
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct drv *d = drv_new(rows[i].f, 0, 0);
		for (unsigned message = 0; message < 2; message++) {
			bool has = message ? rows[i].message : rows[i].stream;
			assert_int_equal(vio_vsock_can(d->v, message), has);
			assert_int_equal(vio_vsock_connect(d->v, HOST, 1, message) != NULL, has);
			assert_int_equal(vio_vsock_listen(d->v, 1, message), has);
		}
		move(d);
		drv_close(d);
	}
}

/* ---- Calls, refusals, ends ---- */

static void callers_are_accepted_in_turn(void **state)
{
	struct drv *d = drv_new(BITS(ALL_VSOCK), 0, 0);
	struct vio_dial_call call = { .from_cid = HOST, .to_port = 50 };
	struct vio_line *l[CONNS + 1];
	uint32_t flags;
	char text[16];

	(void)state;
	l[0] = vio_dial_memory_call(d->b->dial, &call);
	move(d);
	assert_int_equal(world_read(l[0], text, 1), VIO_LINE_RESET);	/* nobody listens */
	world_close(l[0]);
	assert_true(vio_vsock_listen(d->v, 50, false));
	assert_false(vio_vsock_listen(d->v, 50, false));
	assert_null(vio_vsock_accept(d->v, 50, false));
	for (unsigned i = 0; i <= CONNS; i++)
		assert_non_null(l[i] = vio_dial_memory_call(d->b->dial, &call));
	move(d);
	assert_int_equal(world_read(l[CONNS], text, 1), VIO_LINE_RESET);	/* there is no room for it */
	world_close(l[CONNS]);
	for (unsigned i = 0; i < 3; i++) {
		struct vio_vsock_conn *c = vio_vsock_accept(d->v, 50, false);
		assert_non_null(c);
		assert_int_equal(world_write(l[i], "hello", 5), 5);
		move(d);
		assert_int_equal(vio_vsock_recv(d->v, c, text, sizeof text, &flags), 5);
		assert_int_equal(vio_vsock_send(d->v, c, "world", 5, 0), 5);
		move(d);
		assert_int_equal(world_read(l[i], text, sizeof text), 5);
	}
	vio_vsock_unlisten(d->v, 50, false);		/* those not accepted go */
	move(d);
	for (unsigned i = 0; i < CONNS; i++) {
		assert_int_equal(world_read(l[i], text, 1), i < 3 ? VIO_LINE_NONE : VIO_LINE_RESET);
		world_close(l[i]);
	}
	move(d);
	assert_int_equal(vsock_count(d->b), 0);
	drv_close(d);
}

static void ends_of_all_kinds(void **state)
{
	struct drv *d = drv_new(BITS(ALL_VSOCK), 0, 0);
	struct vio_vsock_conn *c;
	struct vio_line *l;
	uint32_t flags;
	char text[16];

	(void)state;
	/* refused */
	vio_dial_memory_rules(d->b->dial, (struct vio_dial_memory_rules){ .refuse = true });
	c = vio_vsock_connect(d->v, HOST, PORT, false);
	move(d);
	assert_int_equal(c->state, VIO_VSOCK_ENDED);
	assert_non_null(strstr(c->why, "nobody listens"));
	assert_int_equal(vio_vsock_send(d->v, c, "x", 1, 0), 0);
	vio_vsock_close(d->v, c);
	/* not answered: the driver gives up first, for time passes only here */
	vio_dial_memory_rules(d->b->dial, (struct vio_dial_memory_rules){ .late = true });
	c = vio_vsock_connect(d->v, HOST, PORT, false);
	move(d);
	assert_int_equal(c->state, VIO_VSOCK_CONNECTING);
	d->g->clock += VIO_VSOCK_DRV_PATIENCE_NS;
	move(d);
	assert_int_equal(c->state, VIO_VSOCK_ENDED);
	assert_non_null(strstr(c->why, "in time"));
	vio_vsock_close(d->v, c);
	world_close(vio_dial_memory_take(d->b->dial, NULL));
	vio_dial_memory_rules(d->b->dial, (struct vio_dial_memory_rules){ 0 });
	/* half closed here, then there */
	c = drv_connect(d, false, &l);
	assert_int_equal(vio_vsock_send(d->v, c, "last", 4, 0), 4);
	vio_vsock_shutdown(d->v, c, VIO_VSOCK_SHUTDOWN_SEND);
	assert_int_equal(vio_vsock_send(d->v, c, "x", 1, 0), 0);
	move(d);
	assert_int_equal(world_read(l, text, 16), 4);
	assert_int_equal(world_read(l, text, 16), VIO_LINE_END);
	assert_int_equal(world_write(l, "answer", 6), 6);
	world_close(l);
	move(d);
	assert_int_equal(c->state, VIO_VSOCK_ENDED);
	assert_false(vio_vsock_at_end(c));		/* what came is still there */
	assert_int_equal(vio_vsock_recv(d->v, c, text, 16, &flags), 6);
	assert_true(vio_vsock_at_end(c));
	vio_vsock_close(d->v, c);
	/* cut here, and there */
	c = drv_connect(d, false, &l);
	vio_vsock_abort(d->v, c);
	move(d);
	assert_int_equal(world_read(l, text, 1), VIO_LINE_RESET);
	world_close(l);
	c = drv_connect(d, false, &l);
	l->ops->close(l, true);
	move(d);
	assert_int_equal(c->state, VIO_VSOCK_ENDED);
	vio_vsock_close(d->v, c);
	for (unsigned i = 0; i < CONNS; i++)
		assert_int_equal(d->conn[i].state, VIO_VSOCK_FREE);
	assert_int_equal(vsock_count(d->b), 0);
	drv_close(d);
}

static void a_closed_connection_is_not_waited_for_for_ever(void **state)
{
	struct drv *d = drv_new(BITS(ALL_VSOCK), 0, 0);
	struct vio_line *l;
	struct vio_vsock_conn *c = drv_connect(d, false, &l);

	(void)state;
	d->g->wire.lazy = true;			/* the device says nothing any more */
	vio_vsock_close(d->v, c);
	vio_vsock_poll(d->v);
	assert_int_equal(c->state, VIO_VSOCK_CLOSING);
	d->g->clock += VIO_VSOCK_DRV_PATIENCE_NS;
	vio_vsock_poll(d->v);
	assert_int_equal(c->state, VIO_VSOCK_FREE);
	d->g->wire.lazy = false;
	world_close(l);
	drv_close(d);
}

/* ---- A device that is played: the test has its end of the rings ---- */

static struct vio_devq *play(struct drv *d, unsigned i)
{
	struct vio_devq *q = &d->g->dev->queue[i].ring;

	q->turn = 1000;
	return q;
}

static void lie(struct drv *d, const struct packet *p, uint32_t bytes, uint32_t used)
{
	struct vio_devq *q = play(d, VIO_VSOCK_RX);
	struct vio_chain *c = vio_devq_pop(q);
	struct vio_vsock_hdr h = wire_of(p);
	static const unsigned char data[2000] = { 'd' };

	assert_non_null(c);
	if (used >= sizeof h) {
		assert_true(vio_cur_put(&c->w, &h, sizeof h));
		assert_true(vio_cur_put(&c->w, data, bytes));
	} else {
		assert_true(vio_cur_put(&c->w, &h, used));
	}
	vio_devq_push(q, c);
	vio_devq_flush(q);
}

/* What the driver has sent. */
static bool hear(struct drv *d, struct packet *p)
{
	struct vio_devq *q = play(d, VIO_VSOCK_TX);
	struct vio_chain *c = vio_devq_pop(q);
	struct vio_vsock_hdr h;

	if (!c)
		return false;
	assert_int_equal(c->w.left, 0);		/* 5.10.6.4: read-only */
	assert_true(vio_cur_get(&c->r, &h, sizeof h));
	*p = (struct packet){ vio_le64_get(h.src_cid), vio_le64_get(h.dst_cid), vio_le32_get(h.src_port), vio_le32_get(h.dst_port),
		vio_le32_get(h.len), vio_le16_get(h.type), vio_le16_get(h.op), vio_le32_get(h.flags), vio_le32_get(h.buf_alloc),
		vio_le32_get(h.fwd_cnt) };
	assert_int_equal(p->len, c->r.left);
	if (p->op != VIO_VSOCK_OP_RST)
		assert_int_equal(p->buf_alloc, ROOM_HERE);
	vio_devq_push(q, c);
	vio_devq_flush(q);
	return true;
}

static void heard(struct drv *d, uint16_t op)
{
	struct packet p = { .op = 0xeeee };

	if (!hear(d, &p) || p.op != op)
		fail_msg("the driver says %d, not %u", p.op == 0xeeee ? -1 : p.op, op);
}

static struct drv *liar_new(void)
{
	struct drv *d = drv_new(BITS(ALL_VSOCK), 0, 0);

	d->g->wire.lazy = true;
	return d;
}

/* For the driver: from the host. */
static struct packet lie_of(const struct vio_vsock_conn *c, uint16_t op)
{
	return (struct packet){ .src_cid = HOST, .dst_cid = CID, .src_port = PORT, .dst_port = c ? c->local_port : 60, .op = op,
		.type = VIO_VSOCK_TYPE_STREAM, .buf_alloc = 65536, .fwd_cnt = c ? c->tx_cnt : 0 };
}

static struct vio_vsock_conn *liar_connect(struct drv *d, bool message)
{
	struct vio_vsock_conn *c = vio_vsock_connect(d->v, HOST, PORT, message);

	vio_vsock_poll(d->v);
	heard(d, VIO_VSOCK_OP_REQUEST);
	struct packet p = lie_of(c, VIO_VSOCK_OP_RESPONSE);
	p.type = message ? 2 : 1;
	lie(d, &p, 0, 44);
	vio_vsock_poll(d->v);
	assert_int_equal(c->state, VIO_VSOCK_OPEN);
	return c;
}

enum { CUT = 1, RST = 2, MSG = 4 };	/* the connection ends; a RST comes; it is of messages */
struct lie { const char *what; struct packet p; uint32_t bytes, used; int how; };
static const struct lie lies[] = {
	{ "nothing at all", { .op = 5 }, 0, 0, 0 },
	{ "half a header", { .op = 5 }, 0, 43, 0 },
	{ "more bytes than were written", { .op = 5, .len = 11 }, 10, 44, 0 },
	{ "2^32 - 1 bytes", { .op = 5, .len = UINT32_MAX }, 10, 44, 0 },
	{ "2^32 - 44 bytes", { .op = 5, .len = UINT32_MAX - 43 }, 10, 44, 0 },
	{ "somebody else's context id", { .dst_cid = CID + 1, .op = 5, .len = 1 }, 1, 44, 0 },
	{ "upper bits in the destination", { .dst_cid = UINT64_C(1) << 32 | CID, .op = 5, .len = 1 }, 1, 44, 0 },
	{ "type 3", { .op = 5, .type = 3, .len = 1 }, 1, 44, RST },
	{ "type 0xfffe", { .op = 1, .type = 0xfffe }, 0, 44, RST },
	{ "a reset of type 3", { .op = 3, .type = 3 }, 0, 44, 0 },
	{ "bytes for nobody", { .dst_port = 61, .op = 5, .len = 1 }, 1, 44, RST },
	{ "bytes from another port", { .src_port = 81, .op = 5, .len = 1 }, 1, 44, RST },
	{ "bytes from another guest", { .src_cid = 9, .op = 5, .len = 1 }, 1, 44, RST },
	{ "a response to nobody", { .dst_port = 61, .op = 2 }, 0, 44, RST },
	{ "a request for a port that nobody listens on", { .dst_port = 61, .op = 1 }, 0, 44, RST },
	{ "a request for a connection there is", { .op = 1 }, 0, 44, RST | CUT },
	{ "a second response", { .op = 2 }, 0, 44, RST | CUT },
	{ "operation 0", { .op = 0xffff }, 0, 44, RST | CUT },
	{ "operation 8", { .op = 8 }, 0, 44, RST | CUT },
	{ "messages on a connection of bytes", { .op = 5, .type = 2, .len = 1 }, 1, 44, RST | CUT },
	{ "bytes on a connection of messages", { .op = 5, .type = 1, .len = 1 }, 1, 44, RST | CUT | MSG },
	{ "received more than was sent", { .op = 6, .fwd_cnt = 1 }, 0, 44, RST | CUT },
	{ "received 2^31 - 1 bytes", { .op = 6, .fwd_cnt = INT32_MAX }, 0, 44, RST | CUT },
};

static void a_lying_device_loses_its_connection(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof lies / sizeof *lies; i++) {
		const struct lie *x = &lies[i];
		struct drv *d = liar_new();
		struct vio_vsock_conn *c = liar_connect(d, x->how & MSG), *n = liar_connect(d, false);
		struct packet p = lie_of(c, x->p.op == 0xffff ? 0 : x->p.op), r;
		char byte;
		uint32_t flags;
		p.src_cid = x->p.src_cid ? x->p.src_cid : p.src_cid;
		p.dst_cid = x->p.dst_cid ? x->p.dst_cid : p.dst_cid;
		p.src_port = x->p.src_port ? x->p.src_port : p.src_port;
		p.dst_port = x->p.dst_port ? x->p.dst_port : p.dst_port;
		p.type = x->p.type ? x->p.type : x->how & MSG ? 2 : 1;
		p.len = x->p.len;
		p.fwd_cnt = x->p.fwd_cnt;
		lie(d, &p, x->bytes, x->used);
		vio_vsock_poll(d->v);
		bool came = hear(d, &r);
		if (came != !!(x->how & RST) || (came && (r.op != VIO_VSOCK_OP_RST || r.src_port != p.dst_port || r.dst_cid != p.src_cid)))
			fail_msg("%s: %s", x->what, came ? "it answers otherwise" : "it does not answer");
		if (came && r.type != (x->how & CUT ? (x->how & MSG ? 2 : 1) : p.type))
			fail_msg("%s: its answer has type %u", x->what, r.type);
		if ((c->state == VIO_VSOCK_ENDED) != !!(x->how & CUT))
			fail_msg("%s: the connection is in state %d", x->what, c->state);
		assert_int_equal(d->v->refused, 1);
		p = lie_of(n, VIO_VSOCK_OP_RW);
		p.len = 1;
		lie(d, &p, 1, 44);
		vio_vsock_poll(d->v);
		assert_int_equal(vio_vsock_recv(d->v, n, &byte, 1, &flags), 1);
		d->g->wire.lazy = false;
		drv_close(d);
	}
}

/* More than it was told it may send: what fits is taken, the first byte more ends it. */
static void a_device_that_ignores_credit(void **state)
{
	struct drv *d = liar_new();
	struct vio_vsock_conn *c = liar_connect(d, false);
	struct packet p = lie_of(c, VIO_VSOCK_OP_RW);

	(void)state;
	for (uint32_t sent = 0; sent < ROOM_HERE; sent += p.len) {
		p.len = ROOM_HERE - sent < 1500 ? ROOM_HERE - sent : 1500;
		lie(d, &p, p.len, 44);
		vio_vsock_poll(d->v);
		assert_int_equal(c->state, VIO_VSOCK_OPEN);
	}
	assert_int_equal(c->in.used, ROOM_HERE);
	p.len = 1;
	lie(d, &p, 1, 44);
	vio_vsock_poll(d->v);
	assert_int_equal(c->state, VIO_VSOCK_ENDED);
	heard(d, VIO_VSOCK_OP_RST);
	d->g->wire.lazy = false;
	drv_close(d);
}

/* And the driver does not ignore it, whatever the device has room for (5.10.6.3). */
static void the_driver_keeps_to_credit(void **state)
{
	const struct { uint32_t fwd_cnt, buf_alloc, goes; } steps[] = {
		{ 0, 100, 100 }, { 0, 100, 0 }, { 60, 100, 60 }, { 60, 160, 60 }, { 160, 0, 0 }, { 200, 10, 0 }, { 220, 10, 10 },
		{ 100, 10, 0 }, { 230, UINT32_MAX, 770 },
	};
	static unsigned char out[1000];
	struct drv *d = liar_new();
	struct vio_vsock_conn *c = liar_connect(d, false);
	struct packet p = lie_of(c, VIO_VSOCK_OP_CREDIT_UPDATE), r;
	uint32_t at = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
		p.fwd_cnt = steps[i].fwd_cnt;
		p.buf_alloc = steps[i].buf_alloc;
		lie(d, &p, 0, 44);
		vio_vsock_poll(d->v);
		assert_int_equal(vio_vsock_send(d->v, c, out, 1000 - at, 0), steps[i].goes);
		for (uint32_t came = 0; came < steps[i].goes; came += r.len) {
			assert_true(hear(d, &r));
			assert_int_equal(r.op, VIO_VSOCK_OP_RW);
			assert_int_equal(r.src_cid, CID);	/* 5.10.6.4 */
		}
		at += steps[i].goes;
	}
	assert_int_equal(at, 1000);
	d->g->wire.lazy = false;
	drv_close(d);
}

/* 5.10.6.1: nothing is taken from the transmit queue, and still all that comes is taken in. */
static void receive_goes_on_while_transmit_is_full(void **state)
{
	struct drv *d = liar_new();
	struct vio_vsock_conn *c = liar_connect(d, false);
	struct packet p = lie_of(c, VIO_VSOCK_OP_RW), r;
	unsigned char out[100];
	uint32_t flags, got = 0, sent = 0;
	unsigned resets = 0;

	(void)state;
	while (vio_vsock_send(d->v, c, out, 1, 0))
		sent++;
	assert_int_equal(sent, PACKETS);
	p.fwd_cnt = 0;
	p.len = 1;
	for (unsigned i = 0; i < 100; i++) {
		lie(d, &p, 1, 44);
		assert_true(vio_vsock_poll(d->v));
		got += vio_vsock_recv(d->v, c, out, 1, &flags);
	}
	assert_int_equal(got, 100);
	p.dst_port = 61;			/* nobody's: the answers wait */
	for (unsigned i = 0; i < VIO_VSOCK_DRV_RESETS; i++) {
		p.src_port = 1000 + i;
		lie(d, &p, 1, 44);
		assert_true(vio_vsock_poll(d->v));
	}
	p.src_port = 5000;			/* "eventually even the additional resources will be exhausted" */
	lie(d, &p, 1, 44);
	vio_vsock_poll(d->v);
	for (unsigned turns = 0; turns < 100; turns++) {
		while (hear(d, &r))
			if (r.op == VIO_VSOCK_OP_RST)
				assert_int_equal(r.dst_port, resets++ < VIO_VSOCK_DRV_RESETS ? 1000 + resets - 1 : 5000);
		vio_vsock_poll(d->v);
	}
	assert_int_equal(resets, VIO_VSOCK_DRV_RESETS + 1);
	d->g->wire.lazy = false;
	drv_close(d);
}

/* ---- TRANSPORT_RESET (5.10.6.7) ---- */

static uint64_t new_cid;
static bool other_config(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len)
{
	vio_le64 wire = vio_le64_of(new_cid);

	(void)p;
	assert_int_equal(at + len, 8);
	memcpy(to, &wire, len);
	return true;
}

static void send_event(struct drv *d, uint32_t id, uint32_t bytes)
{
	struct vio_devq *q = play(d, VIO_VSOCK_EVENT);
	struct vio_chain *c = vio_devq_pop(q);
	struct vio_vsock_event e = { vio_le32_of(id) };

	assert_non_null(c);
	assert_true(vio_cur_put(&c->w, &e, bytes));
	vio_devq_push(q, c);
	vio_devq_flush(q);
	vio_vsock_poll(d->v);
}

static void a_transport_reset_is_obeyed(void **state)
{
	struct drv *d = liar_new();
	struct vio_vsock_conn *c = liar_connect(d, false), *closing = liar_connect(d, true);
	struct vio_drv_port_ops ops = *d->g->wire.port.ops;
	struct packet p, r;

	(void)state;
	ops.config_read = other_config;
	d->g->wire.port.ops = &ops;
	assert_true(vio_vsock_listen(d->v, 60, false));
	vio_vsock_close(d->v, closing);
	vio_vsock_poll(d->v);
	heard(d, VIO_VSOCK_OP_SHUTDOWN);
	new_cid = 99;
	send_event(d, 7, 4);			/* events there are not, and halves of those there are */
	send_event(d, VIO_VSOCK_EVENT_TRANSPORT_RESET, 3);
	assert_int_equal(c->state, VIO_VSOCK_OPEN);
	assert_int_equal(d->v->cid, CID);
	for (unsigned i = 0; i < 20; i++)	/* buffers come back: more than there are */
		send_event(d, VIO_VSOCK_EVENT_TRANSPORT_RESET, 4);
	assert_int_equal(d->v->lost_transports, 20);
	assert_int_equal(d->v->cid, 99);
	assert_int_equal(c->state, VIO_VSOCK_ENDED);
	assert_non_null(strstr(c->why, "transport"));
	assert_int_equal(closing->state, VIO_VSOCK_FREE);
	assert_false(hear(d, &r));		/* nobody is there to be told */
	p = lie_of(NULL, VIO_VSOCK_OP_REQUEST);	/* the listener stands, under the new address */
	lie(d, &p, 0, 44);
	vio_vsock_poll(d->v);
	assert_null(vio_vsock_accept(d->v, 60, false));
	p.dst_cid = 99;
	lie(d, &p, 0, 44);
	vio_vsock_poll(d->v);
	assert_non_null(vio_vsock_accept(d->v, 60, false));
	assert_true(hear(d, &r));
	assert_int_equal(r.op, VIO_VSOCK_OP_RESPONSE);
	assert_int_equal(r.src_cid, 99);
	new_cid = 2;				/* an address that can't be */
	send_event(d, VIO_VSOCK_EVENT_TRANSPORT_RESET, 4);
	assert_non_null(strstr(d->v->drv.failed, "reserved"));
	d->g->wire.lazy = false;
	drv_close(d);
}

static void a_reserved_context_id_is_refused(void **state)
{
	const uint64_t reserved[] = { 0, 1, 2, 0xffffffff, UINT64_MAX };

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct drv *d = drv_new(BITS(ALL_VSOCK), 0, 0);
		struct vio_drv_port_ops ops = *d->g->wire.port.ops;
		assert_true(vio_vsock_stop(d->v));
		ops.config_read = other_config;
		d->g->wire.port.ops = &ops;
		new_cid = reserved[i];
		assert_false(vio_vsock_start(d->v, &d->g->wire.port, &d->o));
		assert_non_null(strstr(d->v->drv.failed, "reserved"));
		drv_close(d);
	}
}

static void a_broken_ring_ends_it(void **state)
{
	struct drv *d = liar_new();
	struct vio_vsock_conn *c = liar_connect(d, false);
	struct vio_split_used *used = d->v->q[VIO_VSOCK_RX].place.device;

	(void)state;
	used->idx = vio_le16_of((uint16_t)(vio_le16_get(used->idx) + 300));
	vio_vsock_poll(d->v);
	assert_non_null(d->v->drv.failed);
	assert_int_equal(c->state, VIO_VSOCK_ENDED);
	assert_false(vio_vsock_poll(d->v));
	assert_null(vio_vsock_accept(d->v, 1, false));
	assert_int_equal(vio_vsock_send(d->v, c, "x", 1, 0), 0);
	d->g->wire.lazy = false;
	drv_close(d);
}

static const struct CMUnitTest tests[] = {
	T(all_of_it_in_every_shape, "bytes and messages there and back, over every ring, however memory is cut {socket-drv-1 socket-drv-6 "
	    "socket-dev-4 socket-dev-6; only us}"),
	T(types_are_those_negotiated, "socket types are those negotiated, and bytes by default {socket-drv-2 socket-drv-3; only us}"),
	T(callers_are_accepted_in_turn, "callers are accepted in turn, and refused where nobody listens or nothing is free"),
	T(ends_of_all_kinds, "connections end refused, unanswered, half closed, closed and cut"),
	T(a_closed_connection_is_not_waited_for_for_ever, "a close that is not confirmed ends by itself"),
	T(a_lying_device_loses_its_connection, "packets that can't be are refused, and cost at most their connection {socket-drv-8; only us}"),
	T(a_device_that_ignores_credit, "a device that sends more than it may loses the connection"),
	T(the_driver_keeps_to_credit, "the driver sends no byte more than there is room for {socket-drv-5 socket-drv-6 socket-drv-7; only us}"),
	T(receive_goes_on_while_transmit_is_full, "packets are taken in while the transmit queue is full {socket-drv-4; only us}"),
	T(a_transport_reset_is_obeyed, "a transport reset ends connections, keeps listeners and fetches the address again "
	    "{socket-drv-7 socket-drv-9 socket-drv-10 socket-drv-11 socket-drv-12; only us}"),
	T(a_reserved_context_id_is_refused, "a device that gives a reserved address is refused"),
	T(a_broken_ring_ends_it, "a device that breaks a ring loses the driver"),
};

int main(void) { return vio_tests("vsock-driver", tests, sizeof tests / sizeof *tests); }
