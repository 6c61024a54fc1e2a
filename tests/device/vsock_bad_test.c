/* What a hostile driver can send the socket device: each row gets its answer, and everybody else is served on. */
#include <pthread.h>
#include "vsock_rig.h"

enum { NOTHING = 0, RST = VIO_VSOCK_OP_RST };	/* what the guest gets */
enum { ON_CONN = 1, GONE = 2, REFUSED = 4, CALLING = 8, ASKING = 16, MESSAGES = 32 };
/*
 * ON_CONN: on a connection that is open (CALLING: not answered yet by the host; ASKING: by the guest; MESSAGES: of messages),
 * otherwise on none.  GONE: it is gone afterwards.  REFUSED: counted.
 */
struct bad {
	const char *what;
	struct packet p;		/* zero: as in packet_of() */
	uint32_t sends;			/* bytes behind the header */
	uint16_t answer;
	unsigned how;
};

#define W .p =
static const struct bad bad[] = {
	/* addresses */
	{ "another guest's context id as source", W { .src_cid = 8, .op = 1 }, 0, NOTHING, REFUSED },
	{ "the host's context id as source", W { .src_cid = 2, .op = 1 }, 0, NOTHING, REFUSED },
	{ "a source with upper bits", W { .src_cid = UINT64_C(1) << 32 | CID, .op = 1 }, 0, NOTHING, REFUSED },
	{ "the last source there could be", W { .src_cid = UINT64_MAX, .op = 1 }, 0, NOTHING, REFUSED },
	{ "another source, on a connection", W { .src_cid = 8, .op = 5, .len = 1 }, 1, NOTHING, ON_CONN | REFUSED },
	{ "the host with upper bits", W { .dst_cid = UINT64_C(1) << 32 | HOST, .op = 5 }, 0, RST, 0 },
	{ "bytes for oneself", W { .dst_cid = CID, .op = 5 }, 0, RST, 0 },
	/* operations */
	{ "no operation", W { .op = 0xffff }, 0, RST, REFUSED },	/* 0xffff stands for 0 */
	{ "operation 8", W { .op = 8 }, 0, RST, REFUSED },
	{ "operation 0x100", W { .op = 0x100 }, 0, RST, REFUSED },
	{ "operation 0x105", W { .op = 0x105, .len = 1 }, 1, RST, ON_CONN | GONE | REFUSED },
	{ "no operation on a connection", W { .op = 0xffff }, 0, RST, ON_CONN | GONE | REFUSED },
	{ "operation 8 on a connection", W { .op = 8 }, 0, RST, ON_CONN | GONE | REFUSED },
	{ "a request for a connection there is", W { .op = 1 }, 0, RST, ON_CONN | GONE | REFUSED },
	{ "a response to nobody", W { .op = 2 }, 0, RST, 0 },
	{ "a response on an open connection", W { .op = 2 }, 0, RST, ON_CONN | GONE | REFUSED },
	{ "a response to its own request", W { .op = 2 }, 0, RST, ON_CONN | CALLING | GONE | REFUSED },
	{ "a request that answers a request", W { .op = 1 }, 0, RST, ON_CONN | ASKING | GONE | REFUSED },
	{ "bytes before the answer", W { .op = 5, .len = 1 }, 1, RST, ON_CONN | CALLING | GONE | REFUSED },
	{ "bytes instead of an answer", W { .op = 5, .len = 1 }, 1, RST, ON_CONN | ASKING | GONE | REFUSED },
	{ "a shutdown before the answer", W { .op = 4, .flags = 3 }, 0, RST, ON_CONN | CALLING | GONE | REFUSED },
	{ "credit instead of an answer", W { .op = 6 }, 0, RST, ON_CONN | ASKING | GONE | REFUSED },
	{ "a question for credit before the answer", W { .op = 7 }, 0, RST, ON_CONN | CALLING | GONE | REFUSED },
	{ "a reset before the answer", W { .op = 3 }, 0, NOTHING, ON_CONN | CALLING | GONE },
	{ "a reset instead of an answer", W { .op = 3 }, 0, NOTHING, ON_CONN | ASKING | GONE },
	{ "a reset for nobody", W { .op = 3 }, 0, NOTHING, 0 },
	{ "bytes for nobody", W { .op = 5, .len = 10 }, 10, RST, 0 },
	{ "a shutdown for nobody", W { .op = 4, .flags = 3 }, 0, RST, 0 },
	{ "credit for nobody", W { .op = 6 }, 0, RST, 0 },
	{ "a question for nobody's credit", W { .op = 7 }, 0, RST, 0 },
	/* types */
	{ "no type", W { .op = 1, .type = 0xffff }, 0, RST, REFUSED },	/* 0xffff stands for 0 */
	{ "type 3", W { .op = 1, .type = 3 }, 0, RST, REFUSED },
	{ "type 0x101", W { .op = 5, .type = 0x101, .len = 1 }, 1, RST, REFUSED },
	{ "a reset of no type", W { .op = 3, .type = 3 }, 0, NOTHING, REFUSED },
	{ "bytes of a type there is not, on a connection", W { .op = 5, .type = 3, .len = 1 }, 1, RST, ON_CONN | REFUSED },
	{ "messages on a connection of bytes", W { .op = 5, .type = 2, .len = 1 }, 1, RST, ON_CONN | GONE | REFUSED },
	{ "bytes on a connection of messages", W { .op = 5, .type = 1, .len = 1 }, 1, RST, ON_CONN | MESSAGES | GONE | REFUSED },
	/* lengths */
	{ "more bytes than there are", W { .op = 5, .len = 11 }, 10, RST, ON_CONN | GONE | REFUSED },
	{ "bytes, and none are there", W { .op = 5, .len = 1 }, 0, RST, ON_CONN | GONE | REFUSED },
	{ "2^32 - 1 bytes", W { .op = 5, .len = UINT32_MAX }, 10, RST, ON_CONN | GONE | REFUSED },
	{ "2^32 - 44 bytes", W { .op = 5, .len = UINT32_MAX - 43 }, 10, RST, ON_CONN | GONE | REFUSED },
	{ "more bytes than there are, for nobody", W { .op = 5, .len = 11 }, 10, RST, REFUSED },
	{ "fewer bytes than there are", W { .op = 5, .len = 1 }, 10, NOTHING, ON_CONN },
	{ "no bytes", W { .op = 5, .len = 0 }, 0, NOTHING, ON_CONN },
	{ "a message longer than its packet", W { .op = 5, .type = 2, .len = 2, .flags = 1 }, 1, RST, ON_CONN | MESSAGES | GONE | REFUSED },
	{ "a shutdown with a length", W { .op = 4, .flags = 1, .len = 100 }, 0, NOTHING, ON_CONN },
	/* credit */
	{ "a byte more than it may", W { .op = 5, .len = BUFFER + 1 }, BUFFER + 1, RST, ON_CONN | GONE | REFUSED },
	{ "much more than it may", W { .op = 5, .len = 65536 }, 65536, RST, ON_CONN | GONE | REFUSED },
	{ "a byte of messages more than it may", W { .op = 5, .type = 2, .len = BUFFER + 1, .flags = 1 }, BUFFER + 1, RST,
		ON_CONN | MESSAGES | GONE | REFUSED },
	{ "it has received a byte more than was sent", W { .op = 6, .fwd_cnt = 1 }, 0, RST, ON_CONN | GONE | REFUSED },
	{ "it has received 2^31 - 1 bytes", W { .op = 6, .fwd_cnt = INT32_MAX }, 0, RST, ON_CONN | GONE | REFUSED },
	{ "it had received bytes before it asked", W { .op = 1, .fwd_cnt = 1 }, 0, RST, 0 },
	{ "it answers with bytes received", W { .op = 2, .fwd_cnt = 1 }, 0, RST, ON_CONN | ASKING | GONE | REFUSED },
	{ "it has received less than nothing, which is old", W { .op = 6, .fwd_cnt = UINT32_MAX }, 0, NOTHING, ON_CONN },
	{ "no room", W { .op = 6, .buf_alloc = 0 }, 0, NOTHING, ON_CONN },
	{ "all the room there could be", W { .op = 6, .buf_alloc = UINT32_MAX }, 0, NOTHING, ON_CONN },
	/* flags */
	{ "a shutdown of nothing", W { .op = 4, .flags = 0 }, 0, NOTHING, ON_CONN },
	{ "a shutdown with unknown flags", W { .op = 4, .flags = 0xfffffffc }, 0, NOTHING, ON_CONN },
	{ "bytes with the flags of messages", W { .op = 5, .len = 1, .flags = 0xffffffff }, 1, NOTHING, ON_CONN },
	{ "a message with unknown flags", W { .op = 5, .type = 2, .len = 1, .flags = 0xffffffff }, 1, NOTHING, ON_CONN | MESSAGES },
};

struct neighbour { struct vio_line *l; uint32_t port; };

/* An open connection of another port works. */
static void neighbour_lives(struct vsock_rig *b, struct neighbour *n, const char *what)
{
	struct packet p = packet_of(VIO_VSOCK_OP_RW), r;
	unsigned char c = 0;

	p.src_port = n->port;
	p.len = 1;
	p.fwd_cnt = b->received[n->port];
	vsock_send(b, p, "n", 1);
	if (world_read(n->l, &c, 1) != 1 || c != 'n')
		fail_msg("%s: the neighbour's byte did not go out", what);
	assert_int_equal(world_write(n->l, "m", 1), 1);
	while (vsock_get(b, &r) && r.op == VIO_VSOCK_OP_CREDIT_UPDATE)
		;
	if (r.op != VIO_VSOCK_OP_RW || r.dst_port != n->port || b->data[0] != 'm')
		fail_msg("%s: the neighbour's byte did not come in", what);
}

static void row(struct vsock_rig *b, const struct bad *x, struct neighbour *n)
{
	static const unsigned char data[65536];
	struct packet p = packet_of(x->p.op == 0xffff ? 0 : x->p.op), r;
	uint16_t type = x->how & MESSAGES ? VIO_VSOCK_TYPE_SEQPACKET : VIO_VSOCK_TYPE_STREAM;
	struct vio_line *l = NULL;
	uint64_t refused = rig_refused(b->g, VIO_VSOCK_TX);

	p.src_cid = x->p.src_cid ? x->p.src_cid : p.src_cid;
	p.dst_cid = x->p.dst_cid ? x->p.dst_cid : p.dst_cid;
	p.type = x->p.type == 0xffff ? 0 : x->p.type ? x->p.type : type;
	p.len = x->p.len;
	p.flags = x->p.flags;
	p.fwd_cnt = x->p.fwd_cnt;
	p.buf_alloc = x->p.buf_alloc || p.op == 6 ? x->p.buf_alloc : p.buf_alloc;
	if (x->how & CALLING) {
		vio_dial_memory_rules(b->dial, (struct vio_dial_memory_rules){ .late = true });
		vsock_say(b, VIO_VSOCK_OP_REQUEST, 0);
		l = vio_dial_memory_take(b->dial, NULL);
		vio_dial_memory_rules(b->dial, (struct vio_dial_memory_rules){ 0 });
	} else if (x->how & ASKING) {
		l = vio_dial_memory_call(b->dial, &(struct vio_dial_call){ .from_cid = HOST, .from_port = PORT, .to_port = GUEST_PORT });
		vsock_expect(b, VIO_VSOCK_OP_REQUEST);
	} else if (x->how & ON_CONN) {
		l = vsock_connect_type(b, type);
	}
	uint32_t before = vsock_count(b);
	vsock_send(b, p, data, x->sends);
	bool came = vsock_get(b, &r);
	if (came != (x->answer != NOTHING) || (came && r.op != x->answer))
		fail_msg("%s: operation %d came", x->what, came ? r.op : -1);
	if (came && (r.dst_port != p.src_port || r.src_port != p.dst_port || r.src_cid != p.dst_cid))
		fail_msg("%s: the answer is for somebody else", x->what);
	vsock_silence(b);
	if (vsock_count(b) != before - (x->how & GONE ? 1 : 0))
		fail_msg("%s: %u connections, not %u", x->what, vsock_count(b), before - !!(x->how & GONE));
	if (rig_refused(b->g, VIO_VSOCK_TX) != refused + !!(x->how & REFUSED))
		fail_msg("%s: counted %u times", x->what, (unsigned)(rig_refused(b->g, VIO_VSOCK_TX) - refused));
	neighbour_lives(b, n, x->what);
	if (!l)
		return;
	world_close(l);
	vsock_say(b, VIO_VSOCK_OP_RST, 0);
	while (vsock_get(b, &r))
		;
}

static struct neighbour meet(struct vsock_rig *b)
{
	struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);
	struct neighbour n = { .port = 4000 };

	p.src_port = n.port;
	b->received[n.port] = 0;
	vsock_send(b, p, NULL, 0);
	n.l = vio_dial_memory_take(b->dial, NULL);
	vsock_expect(b, VIO_VSOCK_OP_RESPONSE);
	return n;
}

static void each_row_has_its_answer(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_VSOCK), BITS(ALL_VSOCK, VIO_F_RING_PACKED) };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct vsock_rig *b = vsock_new();
		assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
		vsock_begin(b, rings[k], RX_BUFFERS);
		struct neighbour n = meet(b);
		for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
			row(b, &bad[i], &n);
		assert_null(b->g->wire.broken);
		rig_reset(b->g);
		world_close(n.l);
		vsock_begin(b, rings[k], RX_BUFFERS);		/* and a reset heals whatever there was */
		n = meet(b);
		neighbour_lives(b, &n, "after a reset");
		world_close(n.l);
		vsock_close(b);
	}
}

static void every_operation_and_every_type(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct neighbour n = meet(b);
	struct packet p, r;

	(void)state;
	vio_dial_memory_rules(b->dial, (struct vio_dial_memory_rules){ .refuse = true });
	for (uint32_t i = 0; i < 65536; i++) {
		p = packet_of((uint16_t)i);
		vsock_send(b, p, NULL, 0);
		if (i == VIO_VSOCK_OP_RST)
			vsock_silence(b);
		else
			vsock_expect(b, RST);
		p = packet_of(VIO_VSOCK_OP_RW);
		p.type = (uint16_t)i;
		vsock_send(b, p, NULL, 0);
		assert_true(vsock_get(b, &r));
		assert_int_equal(r.op, RST);
		assert_int_equal(r.type, i);
	}
	assert_int_equal(vsock_count(b), 1);
	neighbour_lives(b, &n, "all operations and types");
	world_close(n.l);
	vsock_close(b);
}

/* A header cut at every byte, and every way to cut a whole one in two. */
static void headers_cut_at_every_byte(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct neighbour n = meet(b);
	struct packet p = packet_of(VIO_VSOCK_OP_RW), r;
	struct vio_vsock_hdr h = wire_of(&p);
	uint64_t refused = rig_refused(b->g, VIO_VSOCK_TX);

	(void)state;
	for (size_t k = 0; k < sizeof h; k++) {
		vsock_send_raw(b, &h, k);
		vsock_silence(b);
		assert_int_equal(rig_refused(b->g, VIO_VSOCK_TX), refused + k + 1);
	}
	for (size_t cut = 1; cut <= sizeof h; cut++) {
		b->tx_cut = cut;
		vsock_send_raw(b, &h, sizeof h);
		assert_true(vsock_get(b, &r));
		assert_int_equal(r.op, RST);
	}
	b->tx_cut = 0;
	neighbour_lives(b, &n, "cut headers");
	world_close(n.l);
	vsock_close(b);
}

/* Buffers too small for a header, or for a byte behind it, come back empty; what was for the guest stays. */
static void receive_buffers_too_small(void **state)
{
	struct vsock_rig *b = vsock_new();
	unsigned char *p;
	uint32_t used;

	(void)state;
	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vsock_begin(b, BITS(ALL_VSOCK), 0);
	vsock_say(b, VIO_VSOCK_OP_REQUEST, 0);
	struct vio_line *l = vio_dial_memory_take(b->dial, NULL);
	assert_int_equal(world_write(l, "wait", 4), 4);
	vsock_pump(b);
	for (size_t n = 1; n < 44; n++) {
		rig_rewind(b->g);
		p = rig_take(b->g, 64);
		memset(p, 0xee, 64);
		assert_true(rig_add(b->g, VIO_VSOCK_RX, NULL, 0, 0, p, n, 0));
		rig_kick(b->g, VIO_VSOCK_RX);
		vsock_pump(b);
		assert_ptr_equal(rig_get(b->g, VIO_VSOCK_RX, &used), p);
		assert_int_equal(used, 0);
		for (unsigned i = 0; i < 64; i++)
			assert_int_equal(p[i], 0xee);
	}
	assert_int_equal(rig_refused(b->g, VIO_VSOCK_RX), 43);
	for (unsigned i = 0; i < 3; i++) {	/* 44 bytes hold the response; then they hold nothing that there is; 45 a byte */
		p = rig_take(b->g, 64);
		assert_true(rig_add(b->g, VIO_VSOCK_RX, NULL, 0, 0, p, 44 + i / 2, 0));
		rig_kick(b->g, VIO_VSOCK_RX);
		vsock_pump(b);
		assert_ptr_equal(rig_get(b->g, VIO_VSOCK_RX, &used), p);
		assert_int_equal(used, i == 0 ? 44 : i == 1 ? 0 : 45);
	}
	assert_int_equal(p[44], 'w');
	assert_int_equal(rig_refused(b->g, VIO_VSOCK_RX), 44);
	/* a readable buffer there is no place for a packet at all */
	assert_true(rig_add(b->g, VIO_VSOCK_RX, p, 64, 0, NULL, 0, 0));
	rig_kick(b->g, VIO_VSOCK_RX);
	vsock_pump(b);
	assert_ptr_equal(rig_get(b->g, VIO_VSOCK_RX, &used), p);
	assert_int_equal(used, 0);
	world_close(l);
	vsock_close(b);
}

/* ---- A driver that rewrites its packet while it is looked at ---- */

struct flipper { pthread_t thread; uint32_t *word; uint32_t values[4]; bool stop; };

static void *flip(void *arg)
{
	struct flipper *f = arg;

	for (unsigned i = 0; !__atomic_load_n(&f->stop, __ATOMIC_RELAXED); i++)
		__atomic_store_n(f->word, f->values[i % 4], __ATOMIC_RELAXED);
	return NULL;
}

static void a_packet_is_read_once(void **state)
{
	const struct { size_t at; uint32_t values[4]; } rows[] = {
		{ 24, { 1, UINT32_MAX, 0, 100000 } },				/* len */
		{ 28, { 0x50001, 0x10001, 0x50002, 0x30001 } },			/* type and op */
		{ 40, { 0, 1, UINT32_MAX, 1 << 30 } },				/* fwd_cnt */
	};
	struct vsock_rig *b = vsock_start();
	struct neighbour n = meet(b);

	(void)state;
	for (unsigned k = 0; k < sizeof rows / sizeof *rows; k++) {
		struct packet p = packet_of(VIO_VSOCK_OP_RW), r;
		p.len = 1;
		struct vio_vsock_hdr h = wire_of(&p);
		struct flipper f = { .word = (uint32_t *)(void *)(b->tx + rows[k].at) };
		memcpy(f.values, rows[k].values, sizeof f.values);
		memcpy(b->tx, &h, sizeof h);
		assert_int_equal(pthread_create(&f.thread, NULL, flip, &f), 0);
		for (unsigned i = 0; i < 3000; i++) {
			uint32_t used;
			unsigned char byte;
			assert_true(rig_add(b->g, VIO_VSOCK_TX, b->tx, sizeof h + 1, 0, NULL, 0, 0));
			rig_kick(b->g, VIO_VSOCK_TX);
			vsock_pump(b);
			assert_non_null(rig_get(b->g, VIO_VSOCK_TX, &used));
			while (vsock_get(b, &r))
				;
			struct vio_line *l = vio_dial_memory_take(b->dial, NULL);
			if (l) {
				world_read(l, &byte, 1);
				world_close(l);
			}
		}
		__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
		pthread_join(f.thread, NULL);
	}
	neighbour_lives(b, &n, "flipped words");
	world_close(n.l);
	vsock_close(b);
}

/* ---- The world goes wrong ---- */

static void a_faulty_world_is_the_connections_own(void **state)
{
	static unsigned char in[3000], out[3000];
	struct vsock_rig *b = vsock_new();
	struct vio_dial *inner = b->dial;
	unsigned refused = 0, cut = 0, whole = 0;
	struct packet r;

	(void)state;
	b->o.dial = vio_dial_faulty_open(inner, &(struct vio_dial_faults){ .refuse_nth = 5, .reset_nth = 7, .short_nth = 3 });
	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vsock_begin(b, BITS(ALL_VSOCK), RX_BUFFERS);
	fill_marks(in, 0, sizeof in);
	for (unsigned i = 0; i < 200; i++) {
		struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);
		p.src_port = 3000 + i;
		vsock_send(b, p, NULL, 0);
		assert_true(vsock_get(b, &r));
		struct vio_line *l = vio_dial_memory_take(inner, NULL);
		assert_int_equal(r.op, l ? VIO_VSOCK_OP_RESPONSE : VIO_VSOCK_OP_RST);
		refused += !l;
		if (!l)
			continue;
		p.op = VIO_VSOCK_OP_RW;
		uint32_t got = 0;
		for (unsigned k = 0; k < 1 + i % 4; k++) {
			p.len = 700;
			vsock_send(b, p, in + 700 * k, 700);
		}
		long m = world_read(l, out, sizeof out);
		got += m > 0 ? (uint32_t)m : 0;
		assert_memory_equal(in, out, got);	/* a part perhaps, but never another one */
		whole += got == 700 * (1 + i % 4);
		bool dead = false;
		while (vsock_get(b, &r))
			dead |= r.op == VIO_VSOCK_OP_RST;
		cut += dead;
		world_close(l);
		p.op = VIO_VSOCK_OP_RST;
		p.len = 0;
		vsock_send(b, p, NULL, 0);
		while (vsock_get(b, &r))
			;
	}
	assert_int_equal(refused, 40);
	assert_true(cut > 10 && whole > 10);
	assert_int_equal(vsock_count(b), 0);
	b->dial = b->o.dial;			/* closes the inner one too */
	vsock_close(b);
}

static const struct CMUnitTest tests[] = {
	T(each_row_has_its_answer, "malformed and misplaced packets have their answer, and the neighbours are served {socket-dev-8 socket-dev-5}"),
	T(every_operation_and_every_type, "every operation and every type there could be gets a RST, except a RST {socket-dev-8}"),
	T(headers_cut_at_every_byte, "a header may be cut anywhere, and one that is not whole is nothing"),
	T(receive_buffers_too_small, "buffers without room come back empty, and nothing is lost"),
	T(a_packet_is_read_once, "a packet that changes while it is looked at is judged as it is used"),
	T(a_faulty_world_is_the_connections_own, "a host that refuses, cuts and dawdles harms no other connection"),
};

int main(void) { return vio_tests("vsock-bad", tests, sizeof tests / sizeof *tests); }
