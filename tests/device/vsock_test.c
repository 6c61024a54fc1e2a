/* The socket device (virtio 1.4, section 5.10): what well-behaved guests and hosts get of it. */
#include "vsock_rig.h"

static void who_the_guest_is(void **state)
{
	const uint64_t reserved[] = { 0, 1, 2, 0xffffffff, UINT64_C(0x100000003), UINT64_MAX };
	struct vsock_rig *b = vsock_new();
	uint64_t cid;

	(void)state;
	for (unsigned i = 0; i < sizeof reserved / sizeof *reserved; i++) {
		b->o.guest_cid = reserved[i];
		assert_non_null(strstr(rig_open(b->g, &vio_dev_vsock, &b->o), "reserved"));
	}
	b->o.guest_cid = 0xfffffffe;
	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vio_dev_config_read(b->g->dev, 0, &cid, sizeof cid);
	assert_int_equal(vio_le64_get((vio_le64){ cid }), 0xfffffffe);
	assert_false(vio_dev_config_write(b->g->dev, 0, &cid, sizeof cid));
	assert_true(vio_has(vio_dev_offered(b->g->dev), VIO_VSOCK_F_NO_IMPLIED_STREAM));
	assert_true(vio_has(vio_dev_offered(b->g->dev), VIO_VSOCK_F_STREAM));
	assert_true(vio_has(vio_dev_offered(b->g->dev), VIO_VSOCK_F_SEQPACKET));
	vsock_close(b);
}

/* Against a vector written by hand from 5.10.6: the response to a request of port 1025 for port 80. */
static void a_packet_byte_by_byte(void **state)
{
	static const unsigned char request[44] = {
		7, 0, 0, 0, 0, 0, 0, 0,  2, 0, 0, 0, 0, 0, 0, 0,  1, 4, 0, 0,  80, 0, 0, 0,
		0, 0, 0, 0,  1, 0,  1, 0,  0, 0, 0, 0,  0, 0, 1, 0,  0, 0, 0, 0,
	};
	static const unsigned char response[44] = {
		2, 0, 0, 0, 0, 0, 0, 0,  7, 0, 0, 0, 0, 0, 0, 0,  80, 0, 0, 0,  1, 4, 0, 0,
		0, 0, 0, 0,  1, 0,  2, 0,  0, 0, 0, 0,  0, 0x40, 0, 0,  0, 0, 0, 0,
	};
	struct vsock_rig *b = vsock_start();
	struct vio_dial_call call;
	unsigned char *at;

	(void)state;
	vsock_send_raw(b, request, sizeof request);
	at = rig_get(b->g, VIO_VSOCK_RX, &b->used);
	assert_non_null(at);
	assert_int_equal(b->used, 44);
	assert_memory_equal(at, response, 44);
	struct vio_line *l = vio_dial_memory_take(b->dial, &call);
	assert_non_null(l);
	assert_int_equal(call.from_cid, CID);
	assert_int_equal(call.from_port, 1025);
	assert_int_equal(call.to_cid, 2);
	assert_int_equal(call.to_port, 80);
	assert_false(call.message);
	world_close(l);
	vsock_close(b);
}

static void bytes_go_both_ways(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_VSOCK), BITS(ALL_VSOCK, VIO_F_RING_PACKED),
		BITS(ALL_VSOCK, VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX) };
	const size_t cuts[] = { 0, 1, 13 };
	static unsigned char in[9000], out[9000];

	(void)state;
	for (unsigned k = 0; k < 9; k++)
		for (uint32_t clip = 0; clip < 2; clip++) {
			struct vsock_rig *b = vsock_new();
			struct packet p;
			b->g->mem.clip = clip;
			b->rx_bytes = cuts[k % 3] == 1 ? 60 : 400;	/* so many buffers of a byte */
			b->rx_cut = cuts[k % 3];
			assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
			vsock_begin(b, rings[k / 3], 1);
			b->tx_cut = cuts[k % 3] == 1 ? 0 : cuts[k % 3] * 64;
			struct vio_line *l = vsock_connect(b);
			fill_marks(in, 5, 700);
			b->tx_cut = cuts[k % 3] == 1 ? 20 : b->tx_cut;
			vsock_bytes(b, in, 700);
			assert_int_equal(world_read(l, out, sizeof out), 700);
			assert_memory_equal(in, out, 700);
			fill_marks(in, 99, 1000);
			assert_int_equal(world_write(l, in, 1000), 1000);
			for (uint32_t got = 0; got < 1000; got += p.len) {
				assert_true(vsock_get(b, &p));
				assert_int_equal(p.op, VIO_VSOCK_OP_RW);
				assert_int_equal(p.fwd_cnt, 700);
				assert_int_equal(p.buf_alloc, BUFFER);
				assert_memory_equal(b->data, in + got, p.len);
			}
			vsock_silence(b);
			world_close(l);
			vsock_close(b);
		}
}

static void a_caller_is_put_through(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct vio_dial_call call = { .from_cid = HOST, .to_port = 9000 };
	struct packet p, r = packet_of(VIO_VSOCK_OP_RESPONSE);
	unsigned char text[16];

	(void)state;
	struct vio_line *l = vio_dial_memory_call(b->dial, &call), *m = vio_dial_memory_call(b->dial, &call);
	assert_non_null(l);
	assert_true(vsock_get(b, &p));
	assert_int_equal(p.op, VIO_VSOCK_OP_REQUEST);
	assert_int_equal(p.src_cid, HOST);
	assert_int_equal(p.dst_port, 9000);
	assert_true(p.src_port >= 1 << 30);
	assert_false(l->answered);
	r.src_port = 9000;
	r.dst_port = p.src_port;
	vsock_send(b, r, NULL, 0);
	assert_true(l->answered);
	assert_int_equal(vio_dial_memory_port(l), p.src_port);
	r.op = VIO_VSOCK_OP_RW;
	r.len = 5;
	vsock_send(b, r, "hello", 5);
	assert_int_equal(world_read(l, text, sizeof text), 5);
	/* the other caller has a port of its own, and is turned away */
	uint32_t first = p.src_port;
	assert_true(vsock_get(b, &p));
	assert_int_equal(p.op, VIO_VSOCK_OP_REQUEST);
	assert_int_not_equal(p.src_port, first);
	r.op = VIO_VSOCK_OP_RST;
	r.dst_port = p.src_port;
	r.len = 0;
	vsock_send(b, r, NULL, 0);
	assert_int_equal(world_read(m, text, sizeof text), VIO_LINE_RESET);
	world_close(m);
	/* one who has an address of its own keeps it, and nobody else gets it meanwhile */
	call = (struct vio_dial_call){ .from_cid = 9, .from_port = 77, .to_port = 9000 };
	m = vio_dial_memory_call(b->dial, &call);
	assert_true(vsock_get(b, &p));
	assert_int_equal(p.src_cid, 9);
	assert_int_equal(p.src_port, 77);
	assert_null(vio_dial_memory_call(b->dial, &call));
	world_close(m);
	vsock_expect(b, VIO_VSOCK_OP_RST);
	world_close(l);
	vsock_close(b);
}

/* ---- Credit ---- */

static void what_the_host_does_not_take_waits(void **state)
{
	static unsigned char in[BUFFER + 64], out[BUFFER + 64];
	struct vsock_rig *b = vsock_start_room(64);
	struct vio_line *l = vsock_connect(b);

	(void)state;
	fill_marks(in, 0, sizeof in);
	vsock_bytes(b, in, 64);			/* the line is full */
	vsock_bytes(b, in + 64, BUFFER - 64);	/* all that the guest was told it may send, so it is told of 64 more */
	struct packet p = vsock_expected(b, VIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(p.fwd_cnt, 64);
	vsock_bytes(b, in + BUFFER, 64);
	vsock_silence(b);
	for (uint32_t got = 0; got < sizeof in;) {
		long n = world_read(l, out + got, 50);
		assert_true(n > 0);
		got += (uint32_t)n;
		vsock_pump(b);
	}
	assert_memory_equal(in, out, sizeof in);
	assert_int_equal(world_read(l, out, 1), VIO_LINE_NONE);
	world_close(l);
	vsock_close(b);
}

static void credit_is_told_in_time(void **state)
{
	static unsigned char in[BUFFER], out[BUFFER];
	struct vsock_rig *b = vsock_start();
	struct vio_line *l = vsock_connect(b);

	(void)state;
	vsock_bytes(b, in, BUFFER / 4 - 1);
	vsock_silence(b);			/* not for each packet */
	vsock_bytes(b, in, 1);
	assert_int_equal(vsock_expected(b, VIO_VSOCK_OP_CREDIT_UPDATE).fwd_cnt, BUFFER / 4);
	vsock_silence(b);
	vsock_say(b, VIO_VSOCK_OP_CREDIT_REQUEST, 0);
	struct packet p = vsock_expected(b, VIO_VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(p.fwd_cnt, BUFFER / 4);
	assert_int_equal(p.buf_alloc, BUFFER);
	assert_int_equal(p.len, 0);
	/* what is sent tells it too */
	vsock_bytes(b, in, 100);
	assert_int_equal(world_write(l, in, 10), 10);
	assert_int_equal(vsock_expected(b, VIO_VSOCK_OP_RW).fwd_cnt, BUFFER / 4 + 100);
	assert_int_equal(world_read(l, out, sizeof out), BUFFER / 4 + 100);
	world_close(l);
	vsock_close(b);
}

/* A step of the guest's: what it has taken and has room for, and how many bytes must come then. */
static void a_guest_gets_what_it_has_room_for(void **state)
{
	const struct { uint32_t fwd_cnt, buf_alloc, bytes; bool asks; } steps[] = {
		{ 0, 100, 100, true },
		{ 0, 100, 0, false },		/* asked once */
		{ 60, 100, 60, true },
		{ 60, 160, 60, true },		/* grown */
		{ 160, 0, 0, false },		/* shrunk to nothing with 60 on their way */
		{ 200, 10, 0, false },		/* less than is on its way */
		{ 220, 10, 10, true },
		{ 100, 10, 0, false },		/* overtaken by an older packet: does not count */
		{ 230, UINT32_MAX, 770, false },	/* the rest */
	};
	static unsigned char in[1000];
	struct vsock_rig *b = vsock_start();
	struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);
	uint32_t at = 0;

	(void)state;
	p.buf_alloc = 0;
	vsock_send(b, p, NULL, 0);
	struct vio_line *l = vio_dial_memory_take(b->dial, NULL);
	vsock_expect(b, VIO_VSOCK_OP_RESPONSE);
	fill_marks(in, 0, sizeof in);
	assert_int_equal(world_write(l, in, sizeof in), sizeof in);
	vsock_expect(b, VIO_VSOCK_OP_CREDIT_REQUEST);
	for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
		struct packet q = packet_of(VIO_VSOCK_OP_CREDIT_UPDATE), r;
		uint32_t came = 0, asked = 0;
		q.fwd_cnt = steps[i].fwd_cnt;
		q.buf_alloc = steps[i].buf_alloc;
		vsock_send(b, q, NULL, 0);
		while (vsock_get(b, &r)) {
			if (r.op == VIO_VSOCK_OP_CREDIT_REQUEST) {
				asked++;
				continue;
			}
			assert_int_equal(r.op, VIO_VSOCK_OP_RW);
			assert_memory_equal(b->data, in + at + came, r.len);
			came += r.len;
		}
		if (came != steps[i].bytes || asked != steps[i].asks)
			fail_msg("step %u: %u bytes came and it asked %u times", i, came, asked);
		at += came;
	}
	assert_int_equal(at, sizeof in);
	world_close(l);
	vsock_close(b);
}

/* ---- The queues wait for each other as little as may be ---- */

static void transmit_goes_on_without_receive_buffers(void **state)
{
	struct vsock_rig *b = vsock_new();
	unsigned char byte = 9, out[400];
	struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);
	uint32_t used;

	(void)state;
	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vsock_begin(b, BITS(ALL_VSOCK), 0);
	vsock_send(b, p, NULL, 0);		/* each comes back at once, or vsock_send() fails */
	struct vio_line *l = vio_dial_memory_take(b->dial, NULL);
	for (unsigned i = 0; i < 300; i++)
		vsock_bytes(b, &byte, 1);
	assert_int_equal(world_read(l, out, sizeof out), 300);
	for (unsigned i = 0; i < 256; i++) {	/* and answers to nobody's packets wait, as many as that */
		p = packet_of(VIO_VSOCK_OP_RW);
		p.dst_port = 5000 + i;
		vsock_send(b, p, NULL, 0);
	}
	struct vio_vsock_hdr h = wire_of(&p);
	memcpy(b->tx, &h, sizeof h);
	assert_true(rig_add(b->g, VIO_VSOCK_TX, b->tx, sizeof h, 0, NULL, 0, 0));
	rig_kick(b->g, VIO_VSOCK_TX);
	vio_dev_notified(b->g->dev, VIO_VSOCK_TX);	/* unasked for, too */
	vsock_pump(b);
	assert_null(rig_get(b->g, VIO_VSOCK_TX, &used));	/* one too many: looked at when the guest takes some */
	assert_int_equal(b->g->dev->queue[VIO_VSOCK_TX].ring.inflight, 0);
	vsock_give(b, rig_take(b->g, b->rx_bytes));
	rig_kick(b->g, VIO_VSOCK_RX);
	for (unsigned i = 0; i < 257; i++)
		assert_int_equal(vsock_expected(b, VIO_VSOCK_OP_RST).src_port, i < 256 ? 5000 + i : 5255);
	assert_non_null(rig_get(b->g, VIO_VSOCK_TX, &used));
	vsock_expect(b, VIO_VSOCK_OP_RESPONSE);
	world_close(l);
	vsock_close(b);
}

static void without_buffers_nothing_is_read(void **state)
{
	static unsigned char in[ROOM + 1];
	struct vsock_rig *b = vsock_new();
	struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);
	uint32_t got = 0;

	(void)state;
	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vsock_begin(b, BITS(ALL_VSOCK), 0);
	p.buf_alloc = 1 << 20;
	vsock_send(b, p, NULL, 0);
	struct vio_line *l = vio_dial_memory_take(b->dial, NULL);
	fill_marks(in, 3, sizeof in);
	assert_int_equal(world_write(l, in, sizeof in), ROOM);
	vsock_pump(b);
	assert_int_equal(world_write(l, in, 1), VIO_LINE_NONE);		/* it is still all there */
	assert_int_equal(b->g->wire.due[0], 0);			/* and nobody turns in circles */
	vsock_give(b, rig_take(b->g, b->rx_bytes));
	rig_kick(b->g, VIO_VSOCK_RX);
	vsock_expect(b, VIO_VSOCK_OP_RESPONSE);
	while (vsock_get(b, &p)) {
		assert_memory_equal(b->data, in + got, p.len);
		got += p.len;
	}
	assert_int_equal(got, ROOM);
	world_close(l);
	vsock_close(b);
}

/* Three connections with more than goes in a turn: one packet each, round and round. */
static void everybody_has_a_turn(void **state)
{
	static unsigned char in[20000];
	struct vsock_rig *b = vsock_start();
	struct vio_line *l[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);
		p.src_port = GUEST_PORT + i;
		vsock_send(b, p, NULL, 0);
		l[i] = vio_dial_memory_take(b->dial, NULL);
		vsock_expect(b, VIO_VSOCK_OP_RESPONSE);
	}
	for (unsigned i = 0; i < 3; i++)
		world_write(l[i], in, sizeof in);
	for (unsigned n = 0; n < 12; n++) {
		struct packet p = vsock_expected(b, VIO_VSOCK_OP_RW);
		assert_int_equal(p.dst_port, GUEST_PORT + n % 3);
		assert_int_equal(p.len, RX_BYTES - 44);
	}
	for (unsigned i = 0; i < 3; i++)
		world_close(l[i]);
	vsock_close(b);
}

/* ---- Messages ---- */

static void messages_keep_their_ends(void **state)
{
	static unsigned char in[9000], out[9000];
	const struct { uint32_t n, flags; } from_guest[] = { { 1, 1 }, { 500, 3 }, { 9000, 1 }, { 63, 1 }, { 64, 3 }, { 65, 1 } };
	struct vsock_rig *b = vsock_start();
	struct vio_line *l = vsock_connect_type(b, VIO_VSOCK_TYPE_SEQPACKET);

	(void)state;
	assert_true(l->message);
	for (unsigned i = 0; i < 6; i++) {
		fill_marks(in, i, from_guest[i].n);
		vsock_message(b, in, from_guest[i].n, from_guest[i].flags);
		assert_int_equal(world_read(l, out, sizeof out), from_guest[i].n);
		assert_int_equal(l->eor, from_guest[i].flags == 3);
		assert_memory_equal(in, out, from_guest[i].n);
		struct packet p;
		while (vsock_get(b, &p))	/* only credit */
			assert_int_equal(p.op, VIO_VSOCK_OP_CREDIT_UPDATE);
	}
	/* one message in three packets, the last of which is empty: nobody sees a part of it */
	vsock_message(b, in, 100, 0);
	vsock_message(b, in + 100, 50, 0);
	assert_int_equal(world_read(l, out, sizeof out), VIO_LINE_NONE);
	vsock_message(b, in, 0, VIO_VSOCK_SEQ_EOM);
	assert_int_equal(world_read(l, out, sizeof out), 150);
	assert_memory_equal(in, out, 150);
	vsock_message(b, in, 0, VIO_VSOCK_SEQ_EOM);	/* a message without a byte is none */
	assert_int_equal(world_read(l, out, sizeof out), VIO_LINE_NONE);
	/* to the guest: as many packets as it takes, the end in the last one only */
	fill_marks(in, 77, sizeof in);
	l->eor = true;
	assert_int_equal(world_write(l, in, sizeof in), sizeof in);
	l->eor = false;
	assert_int_equal(world_write(l, in, 5), 5);
	for (uint32_t at = 0; at < sizeof in;) {
		struct packet p = vsock_expected(b, VIO_VSOCK_OP_RW);
		assert_int_equal(p.type, VIO_VSOCK_TYPE_SEQPACKET);
		assert_memory_equal(b->data, in + at, p.len);
		at += p.len;
		assert_int_equal(p.flags, at == sizeof in ? 3 : 0);
	}
	struct packet p = vsock_expected(b, VIO_VSOCK_OP_RW);
	assert_int_equal(p.len, 5);
	assert_int_equal(p.flags, VIO_VSOCK_SEQ_EOM);
	world_close(l);
	vsock_close(b);
}

/* Many small ones that nobody takes: as many as their bytes, however many that is. */
static void messages_wait_by_their_bytes(void **state)
{
	struct vsock_rig *b = vsock_new_room(64);
	unsigned char byte, out[8];

	(void)state;
	b->o.buffer = 4096;
	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vsock_begin(b, BITS(ALL_VSOCK), RX_BUFFERS);
	struct vio_line *l = vsock_connect_type(b, VIO_VSOCK_TYPE_SEQPACKET);
	for (unsigned i = 0; i < 4096 + 64; i++) {
		struct packet p;
		byte = mark_of(i);
		vsock_message(b, &byte, 1, i % 5 == 0 ? 3 : 1);
		while (vsock_get(b, &p))
			assert_int_equal(p.op, VIO_VSOCK_OP_CREDIT_UPDATE);
	}
	for (unsigned i = 0; i < 4096 + 64; i++) {
		assert_int_equal(world_read(l, out, sizeof out), 1);
		assert_int_equal(out[0], mark_of(i));
		assert_int_equal(l->eor, i % 5 == 0);
		vsock_pump(b);
	}
	world_close(l);
	vsock_close(b);
}

static void a_message_that_can_not_arrive_cuts_the_connection(void **state)
{
	static unsigned char in[BUFFER + 1];
	struct vsock_rig *b = vsock_start();
	struct vio_line *l = vsock_connect_type(b, VIO_VSOCK_TYPE_SEQPACKET);
	struct packet p = packet_of(VIO_VSOCK_OP_CREDIT_UPDATE);

	(void)state;
	p.type = VIO_VSOCK_TYPE_SEQPACKET;
	p.buf_alloc = 1000;
	vsock_send(b, p, NULL, 0);
	assert_int_equal(world_write(l, in, 1001), 1001);	/* the guest never has room for it */
	vsock_expect(b, VIO_VSOCK_OP_RST);
	assert_int_equal(world_read(l, in, sizeof in), VIO_LINE_RESET);
	world_close(l);
	l = vsock_connect_type(b, VIO_VSOCK_TYPE_SEQPACKET);
	assert_int_equal(world_write(l, in, BUFFER + 1), BUFFER + 1);	/* nor has the device */
	vsock_expect(b, VIO_VSOCK_OP_RST);
	world_close(l);
	l = vsock_connect_type(b, VIO_VSOCK_TYPE_SEQPACKET);
	vsock_message(b, in, BUFFER, 0);			/* full, and still no end */
	vsock_expect(b, VIO_VSOCK_OP_RST);
	assert_int_equal(vsock_count(b), 0);
	world_close(l);
	vsock_close(b);
}

/* ---- Types, by what was negotiated (5.10.3) ---- */

static void types_are_those_negotiated(void **state)
{
	const struct { struct vio_features f; bool stream, message; } rows[] = {
		{ BITS(VIO_F_VERSION_1), true, false },
		{ BITS(VIO_F_VERSION_1, VIO_VSOCK_F_STREAM), true, false },
		{ BITS(VIO_F_VERSION_1, VIO_VSOCK_F_SEQPACKET), true, true },
		{ BITS(VIO_F_VERSION_1, VIO_VSOCK_F_SEQPACKET, VIO_VSOCK_F_NO_IMPLIED_STREAM), false, true },
		{ BITS(VIO_F_VERSION_1, VIO_VSOCK_F_NO_IMPLIED_STREAM), false, false },
		{ BITS(ALL_VSOCK), true, true },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		for (uint16_t type = 1; type <= 2; type++) {
			struct vsock_rig *b = vsock_new();
			bool has = type == 1 ? rows[i].stream : rows[i].message;
			struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);
			struct vio_dial_call call = { .from_cid = HOST, .to_port = 1, .message = type == 2 };
			assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
			vsock_begin(b, rows[i].f, RX_BUFFERS);
			p.type = type;
			vsock_send(b, p, NULL, 0);
			vsock_expect(b, has ? VIO_VSOCK_OP_RESPONSE : VIO_VSOCK_OP_RST);
			struct vio_line *l = vio_dial_memory_call(b->dial, &call);
			assert_int_equal(l != NULL, has);
			if (l)
				world_close(l);
			vsock_close(b);
		}
}

/* ---- Many ---- */

static void connections_are_counted(void **state)
{
	enum { MANY = 10000 };
	struct vsock_rig *b = vsock_new_room(64);
	static struct vio_line *l[MANY];
	unsigned char byte;

	(void)state;
	b->o.connections = MANY;
	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vsock_begin(b, BITS(ALL_VSOCK), RX_BUFFERS);
	for (unsigned i = 0; i <= MANY; i++) {
		struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);
		p.src_port = 10000 + i;
		vsock_send(b, p, NULL, 0);
		vsock_expect(b, i < MANY ? VIO_VSOCK_OP_RESPONSE : VIO_VSOCK_OP_RST);
		if (i < MANY)
			assert_non_null(l[i] = vio_dial_memory_take(b->dial, NULL));
	}
	assert_int_equal(vsock_count(b), MANY);
	assert_null(vio_dial_memory_call(b->dial, &(struct vio_dial_call){ .from_cid = HOST, .to_port = 1 }));
	for (unsigned i = 0; i < MANY; i += 97) {	/* each is who it is */
		struct packet p = packet_of(VIO_VSOCK_OP_RW);
		p.src_port = 10000 + i;
		p.len = 1;
		byte = (unsigned char)i;
		vsock_send(b, p, &byte, 1);
		byte = 0;
		assert_int_equal(world_read(l[i], &byte, 1), 1);
		assert_int_equal(byte, (unsigned char)i);
	}
	rig_reset(b->g);
	assert_int_equal(vsock_count(b), 0);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(world_read(l[i], &byte, 1), VIO_LINE_RESET);
		world_close(l[i]);
	}
	vsock_close(b);
}

static void a_flood_of_ports_costs_nothing(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct vio_line *l = vsock_connect(b);
	unsigned char byte;

	(void)state;
	vio_dial_memory_rules(b->dial, (struct vio_dial_memory_rules){ .refuse = true });
	for (unsigned i = 0; i < 100000; i++) {
		struct packet p = packet_of(i % 2 ? VIO_VSOCK_OP_REQUEST : VIO_VSOCK_OP_RW);
		p.src_port = 2000 + i;
		p.dst_port = i;
		vsock_send(b, p, NULL, 0);
		struct packet r = vsock_expected(b, VIO_VSOCK_OP_RST);
		assert_int_equal(r.dst_port, 2000 + i);
		assert_int_equal(r.src_port, i);
	}
	assert_int_equal(vsock_count(b), 1);
	vsock_bytes(b, "!", 1);
	assert_int_equal(world_read(l, &byte, 1), 1);
	world_close(l);
	vsock_close(b);
}

static const struct CMUnitTest tests[] = {
	T(who_the_guest_is, "the guest's context id is none that is reserved, and all there is is offered {socket-dev-7 socket-dev-1}"),
	T(a_packet_byte_by_byte, "a request and its response, byte by byte"),
	T(bytes_go_both_ways, "bytes go both ways, however buffers and memory are cut, over either ring {socket-dev-6}"),
	T(a_caller_is_put_through, "a caller gets the guest's port, or is turned away"),
	T(what_the_host_does_not_take_waits, "what the host does not take waits, as much as the guest was told"),
	T(credit_is_told_in_time, "room is told when a quarter is free, when it is asked for, and with all that is sent {socket-dev-6}"),
	T(a_guest_gets_what_it_has_room_for, "a guest gets no byte more than it has room for, and all when it has {socket-dev-5}"),
	T(transmit_goes_on_without_receive_buffers, "the transmit queue is served while the receive queue has no buffer {socket-dev-4}"),
	T(without_buffers_nothing_is_read, "without buffers of the guest nothing is read from the host, and nothing lost"),
	T(everybody_has_a_turn, "connections take turns, one packet each"),
	T(messages_keep_their_ends, "messages and records keep their ends, both ways"),
	T(messages_wait_by_their_bytes, "messages of a byte wait as many as there are bytes of room"),
	T(a_message_that_can_not_arrive_cuts_the_connection, "a message that can't arrive whole cuts its connection"),
	T(types_are_those_negotiated, "socket types are those negotiated, and bytes by default {socket-dev-2 socket-dev-3 socket-dev-8}"),
	T(connections_are_counted, "ten thousand connections, and not one more"),
	T(a_flood_of_ports_costs_nothing, "a hundred thousand ports of nobody's are refused, and nothing is kept"),
};

int main(void) { return vio_tests("vsock", tests, sizeof tests / sizeof *tests); }
