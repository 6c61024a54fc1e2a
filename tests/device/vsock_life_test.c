/* The socket device: how connections, and the device, end and begin again. */
#include "vsock_rig.h"
#include "moves.h"

enum { RECEIVE = VIO_VSOCK_SHUTDOWN_RECEIVE, SEND = VIO_VSOCK_SHUTDOWN_SEND, BOTH = VIO_VSOCK_SHUTDOWN_BOTH };
#define SECOND UINT64_C(1000000000)

static void pass_time(struct vsock_rig *b, uint64_t ns)
{
	vio_loop_tick(&b->g->wire, ns);
	vsock_pump(b);
}

/* ---- The guest ends a direction, or both ---- */

static void half_closed_by_the_guest(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct vio_line *l = vsock_connect(b);
	char text[16];

	(void)state;
	vsock_bytes(b, "last", 4);
	vsock_say(b, VIO_VSOCK_OP_SHUTDOWN, SEND);
	assert_int_equal(world_read(l, text, sizeof text), 4);
	assert_int_equal(world_read(l, text, sizeof text), VIO_LINE_END);
	assert_int_equal(world_write(l, "answer", 6), 6);	/* the other direction lives */
	assert_int_equal(vsock_expected(b, VIO_VSOCK_OP_RW).len, 6);
	vsock_say(b, VIO_VSOCK_OP_SHUTDOWN, 0);			/* bits clear do not reset anything */
	vsock_silence(b);
	vsock_say(b, VIO_VSOCK_OP_SHUTDOWN, RECEIVE);		/* and together they are both */
	vsock_expect(b, VIO_VSOCK_OP_RST);
	assert_int_equal(world_write(l, "x", 1), VIO_LINE_END);
	assert_int_equal(vsock_count(b), 0);
	world_close(l);
	vsock_close(b);
}

static void a_guest_that_will_not_receive(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct vio_line *l = vsock_connect(b);
	char text[16];

	(void)state;
	vsock_say(b, VIO_VSOCK_OP_SHUTDOWN, RECEIVE);
	assert_true(l->deaf);
	assert_int_equal(world_write(l, "x", 1), VIO_LINE_END);
	vsock_bytes(b, "still", 5);
	assert_int_equal(world_read(l, text, sizeof text), 5);
	world_close(l);			/* nobody takes anything any more */
	assert_int_equal(vsock_expected(b, VIO_VSOCK_OP_SHUTDOWN).flags, BOTH);
	vsock_say(b, VIO_VSOCK_OP_RST, 0);
	assert_int_equal(vsock_count(b), 0);
	vsock_close(b);
}

/* All that was sent before is passed on first, however slow the host is. */
static void closed_by_the_guest(void **state)
{
	static unsigned char in[1000], out[1000];
	struct vsock_rig *b = vsock_start_room(64);
	struct vio_line *l = vsock_connect(b);
	uint32_t got = 0;

	(void)state;
	fill_marks(in, 0, sizeof in);
	vsock_bytes(b, in, sizeof in);
	vsock_say(b, VIO_VSOCK_OP_SHUTDOWN, BOTH);
	vsock_silence(b);			/* 5.10.6.5: the RST says that it is all done */
	for (long n; (n = world_read(l, out + got, 64)) > 0; vsock_pump(b))
		got += (uint32_t)n;
	assert_int_equal(got, sizeof in);
	assert_memory_equal(in, out, sizeof in);
	assert_int_equal(world_read(l, out, 1), VIO_LINE_END);
	vsock_expect(b, VIO_VSOCK_OP_RST);
	assert_int_equal(vsock_count(b), 0);
	world_close(l);
	vsock_close(b);
}

/* A guest that does not wait that long (its own RST comes): what it sent is still passed on; but not behind a plain RST. */
static void what_was_sent_outlives_a_patient_end(void **state)
{
	static unsigned char in[1000], out[1000];

	(void)state;
	for (unsigned clean = 0; clean < 2; clean++) {
		struct vsock_rig *b = vsock_start_room(64);
		struct vio_line *l = vsock_connect(b);
		uint32_t got = 0;
		long n;
		fill_marks(in, 0, sizeof in);
		vsock_bytes(b, in, sizeof in);
		if (clean)
			vsock_say(b, VIO_VSOCK_OP_SHUTDOWN, BOTH);
		vsock_say(b, VIO_VSOCK_OP_RST, 0);
		assert_int_equal(vsock_count(b), clean);
		for (; (n = world_read(l, out + got, 64)) > 0; vsock_pump(b))
			got += (uint32_t)n;
		assert_int_equal(n, clean ? VIO_LINE_END : VIO_LINE_RESET);
		assert_int_equal(got, clean ? sizeof in : 0);
		assert_int_equal(vsock_count(b), 0);
		vsock_silence(b);
		world_close(l);
		/* the address is free at once */
		l = vsock_connect(b);
		world_close(l);
		vsock_close(b);
	}
}

static void half_a_message_is_none(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct vio_line *l = vsock_connect_type(b, VIO_VSOCK_TYPE_SEQPACKET);
	struct packet p = packet_of(VIO_VSOCK_OP_SHUTDOWN);
	char text[16];

	(void)state;
	vsock_message(b, "half", 4, 0);
	p.type = VIO_VSOCK_TYPE_SEQPACKET;
	p.flags = BOTH;
	vsock_send(b, p, NULL, 0);
	vsock_expect(b, VIO_VSOCK_OP_RST);
	assert_int_equal(world_read(l, text, sizeof text), VIO_LINE_END);
	assert_int_equal(vsock_count(b), 0);
	world_close(l);
	vsock_close(b);
}

/* ---- The host does ---- */

static void half_closed_by_the_host(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct vio_line *l = vsock_connect(b);
	char text[16];

	(void)state;
	world_write(l, "last", 4);
	l->ops->shutdown(l, VIO_LINE_WRITE);
	assert_int_equal(vsock_expected(b, VIO_VSOCK_OP_RW).len, 4);
	assert_int_equal(vsock_expected(b, VIO_VSOCK_OP_SHUTDOWN).flags, SEND);
	vsock_silence(b);
	vsock_bytes(b, "still", 5);
	assert_int_equal(world_read(l, text, sizeof text), 5);
	l->ops->shutdown(l, VIO_LINE_READ);
	assert_int_equal(vsock_expected(b, VIO_VSOCK_OP_SHUTDOWN).flags, BOTH);
	vsock_bytes(b, "late", 4);		/* sent before it knew */
	vsock_silence(b);
	vsock_say(b, VIO_VSOCK_OP_RST, 0);
	assert_int_equal(vsock_count(b), 0);
	world_close(l);
	vsock_close(b);
}

/* What the host sent before it closed arrives, then both directions end; the guest confirms, or has some seconds. */
static void closed_by_the_host(void **state)
{
	(void)state;
	for (unsigned confirms = 0; confirms < 2; confirms++) {
		struct vsock_rig *b = vsock_start();
		struct vio_line *l = vsock_connect(b);
		struct packet p;
		uint32_t got = 0;
		static unsigned char in[10000];
		assert_int_equal(world_write(l, in, sizeof in), sizeof in);
		world_close(l);
		for (p.flags = 0; p.flags != BOTH; got += p.len) {	/* that it takes nothing may be said before */
			assert_true(vsock_get(b, &p));
			assert_true(p.op == VIO_VSOCK_OP_RW || p.op == VIO_VSOCK_OP_SHUTDOWN);
		}
		assert_int_equal(got, sizeof in);
		pass_time(b, 7 * SECOND);
		vsock_silence(b);
		assert_int_equal(vsock_count(b), 1);
		if (confirms) {
			vsock_say(b, VIO_VSOCK_OP_RST, 0);
		} else {
			pass_time(b, SECOND + 1);
			vsock_expect(b, VIO_VSOCK_OP_RST);
		}
		assert_int_equal(vsock_count(b), 0);
		pass_time(b, 100 * SECOND);
		vsock_silence(b);
		vsock_close(b);
	}
}

static void reset_by_the_host(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct vio_line *l = vsock_connect(b);

	(void)state;
	l->ops->close(l, true);
	vsock_expect(b, VIO_VSOCK_OP_RST);
	assert_int_equal(vsock_count(b), 0);
	vsock_silence(b);
	vsock_close(b);
}

static void both_close_at_the_same_time(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct vio_line *l = vsock_connect(b);

	(void)state;
	world_close(l);
	assert_int_equal(vsock_expected(b, VIO_VSOCK_OP_SHUTDOWN).flags, BOTH);
	vsock_say(b, VIO_VSOCK_OP_SHUTDOWN, BOTH);
	vsock_expect(b, VIO_VSOCK_OP_RST);
	assert_int_equal(vsock_count(b), 0);
	vsock_close(b);
}

/* ---- Nobody answers ---- */

static void nobody_answers_the_guest(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);

	(void)state;
	for (unsigned how = 0; how < 4; how++) {	/* refused at once; later; never; late but well */
		vio_dial_memory_rules(b->dial, (struct vio_dial_memory_rules){ .refuse = how == 0, .late = how > 0 });
		vsock_send(b, p, NULL, 0);
		struct vio_line *l = vio_dial_memory_take(b->dial, NULL);
		assert_int_equal(l != NULL, how > 0);
		if (how > 0)
			vsock_silence(b);
		if (how == 1 || how == 3)
			vio_dial_memory_answer(l, how == 3);
		if (how == 2)
			pass_time(b, 8 * SECOND + 1);
		vsock_expect(b, how == 3 ? VIO_VSOCK_OP_RESPONSE : VIO_VSOCK_OP_RST);
		assert_int_equal(vsock_count(b), how == 3);
		if (how >= 2)
			world_close(l);
	}
	vsock_close(b);
}

static void the_guest_answers_nobody(void **state)
{
	struct vsock_rig *b = vsock_start();
	const struct vio_dial_call call = { .from_cid = HOST, .to_port = 9 };
	char byte;

	(void)state;
	struct vio_line *l = vio_dial_memory_call(b->dial, &call);
	vsock_expect(b, VIO_VSOCK_OP_REQUEST);
	pass_time(b, 8 * SECOND - 1);
	assert_int_equal(world_read(l, &byte, 1), VIO_LINE_NONE);
	pass_time(b, 1);
	vsock_expect(b, VIO_VSOCK_OP_RST);
	assert_int_equal(world_read(l, &byte, 1), VIO_LINE_RESET);
	world_close(l);
	/* a caller that gives up first */
	l = vio_dial_memory_call(b->dial, &call);
	vsock_expect(b, VIO_VSOCK_OP_REQUEST);
	world_close(l);
	vsock_expect(b, VIO_VSOCK_OP_RST);
	assert_int_equal(vsock_count(b), 0);
	vsock_close(b);
}

/* ---- The device ---- */

static void a_reset_ends_all(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct vio_line *l[4];
	struct vio_dial_call call = { .from_cid = HOST, .to_port = 9 };
	char byte;

	(void)state;
	l[0] = vsock_connect(b);
	vio_dial_memory_rules(b->dial, (struct vio_dial_memory_rules){ .late = true });
	struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);
	p.src_port++;
	vsock_send(b, p, NULL, 0);
	l[1] = vio_dial_memory_take(b->dial, NULL);
	l[2] = vio_dial_memory_call(b->dial, &call);
	p.op = VIO_VSOCK_OP_RW;
	p.src_port++;
	vsock_send(b, p, NULL, 0);		/* a RST is owed */
	rig_reset(b->g);
	assert_int_equal(vsock_count(b), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(world_read(l[i], &byte, 1), VIO_LINE_RESET);
		world_close(l[i]);
	}
	assert_null(vio_dial_memory_call(b->dial, &call));	/* no driver, nobody to ask */
	vio_dial_memory_rules(b->dial, (struct vio_dial_memory_rules){ 0 });
	vsock_begin(b, BITS(ALL_VSOCK), RX_BUFFERS);
	vsock_silence(b);
	l[0] = vsock_connect(b);
	world_close(l[0]);
	vsock_close(b);
}

/* A paused guest keeps its connections. */
static void a_suspended_device_keeps_them(void **state)
{
	struct vsock_rig *b = vsock_new();
	char text[8];

	(void)state;
	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vsock_begin(b, BITS(ALL_VSOCK, VIO_F_SUSPEND), RX_BUFFERS);
	struct vio_line *l = vsock_connect(b);
	assert_true(vio_drv_suspend(&b->g->drv));
	assert_int_equal(world_write(l, "wait", 4), 4);
	vsock_pump(b);
	assert_true(vio_drv_resume(&b->g->drv));
	assert_int_equal(vsock_expected(b, VIO_VSOCK_OP_RW).len, 4);
	vsock_bytes(b, "go on", 5);
	assert_int_equal(world_read(l, text, sizeof text), 5);
	uint32_t used;
	assert_null(rig_get(b->g, VIO_VSOCK_EVENT, &used));
	world_close(l);
	vsock_close(b);
}

static unsigned char *give_event(struct vsock_rig *b, size_t n)
{
	unsigned char *p = rig_take(b->g, 16);

	memset(p, 0xee, 16);
	assert_true(rig_add(b->g, VIO_VSOCK_EVENT, NULL, 0, 0, p, n, 0));
	rig_kick(b->g, VIO_VSOCK_EVENT);
	return p;
}

/* 5.10.6.7: the state has no connections, and the driver hears of it, when it has given a buffer that holds it. */
static void a_restored_device_says_so(void **state)
{
	struct vsock_rig *b = vsock_new(), *r = vsock_new();
	static unsigned char saved[4096];
	uint32_t used;

	(void)state;
	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vsock_begin(b, BITS(ALL_VSOCK, VIO_F_SUSPEND), RX_BUFFERS);
	unsigned char *first = give_event(b, 3), *second = give_event(b, 4);
	assert_null(rig_get(b->g, VIO_VSOCK_EVENT, &used));
	struct vio_line *l = vsock_connect(b);
	assert_true(vio_drv_suspend(&b->g->drv));
	size_t n = vio_dev_save(b->g->dev, saved, sizeof saved);
	assert_in_range(n, 8, sizeof saved);

	/* another device, over the same memory */
	r->o.guest_cid = CID + 1;
	memcpy(r->g->bytes, b->g->bytes, RIG_BYTES);
	assert_null(rig_open(r->g, &vio_dev_vsock, &r->o));
	assert_null(vio_dev_load(r->g->dev, saved, n));
	assert_true(vio_dev_status(r->g->dev) & VIO_S_SUSPEND);
	vio_dev_set_status(r->g->dev, vio_dev_status(r->g->dev) | VIO_S_DRIVER_OK);
	vio_loop_pump(&r->g->wire, 100);
	unsigned char *seen = r->g->bytes + (second - b->g->bytes);
	assert_memory_equal(seen, "\0\0\0\0\xee", 5);
	assert_int_equal(r->g->bytes[first - b->g->bytes], 0xee);
	assert_int_equal(rig_refused(r->g, VIO_VSOCK_EVENT), 1);
	assert_int_equal(vsock_count(r), 0);
	/* nonsense is refused */
	assert_non_null(strstr(vio_dev_vsock.load(r->g->dev, saved, 7), "saved by another program"));
	world_close(l);
	vsock_close(b);
	vsock_close(r);
}

/* A driver that goes on where another device stopped (over vhost-user: another daemon) has connections that nobody knows. */
static void a_queue_that_goes_on_says_so(void **state)
{
	struct vsock_rig *b = vsock_start();
	uint32_t used;

	(void)state;
	struct vio_line *l = vsock_connect(b);
	give_event(b, 4);
	vsock_silence(b);
	struct vio_dev *d = b->g->dev;
	uint32_t base[3];
	for (unsigned i = 0; i < 3; i++)
		base[i] = vio_devq_base(&d->queue[i].ring);
	world_close(l);
	struct vio_queue_start s[3];
	for (unsigned i = 0; i < 3; i++)
		s[i] = (struct vio_queue_start){ .place = d->queue[i].ring.place, .base = base[i] };
	uint8_t status = vio_dev_status(d);
	struct vio_features f = d->accepted;
	vio_dev_set_status(d, 0);		/* what another daemon would begin with */
	vio_dev_accept(d, f);
	for (unsigned i = 0; i < 3; i++) {
		assert_null(vio_dev_queue_start(d, i, &s[i]));
		vio_dev_queue_enable(d, i, true);
	}
	d->status = status;
	vio_loop_pump(&b->g->wire, 100);
	unsigned char *e = rig_get(b->g, VIO_VSOCK_EVENT, &used);
	assert_non_null(e);
	assert_int_equal(used, 4);
	assert_memory_equal(e, "\0\0\0\0\xee", 5);
	vsock_close(b);
}

/* Connections are this host's: the driver hears that they are gone, and makes new ones. */
static void moves_mid_traffic(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_VSOCK), BITS(ALL_VSOCK, VIO_F_RING_PACKED), BITS(ALL_VSOCK, VIO_F_EVENT_IDX) };

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		struct vsock_rig *b = vsock_new();
		assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
		vsock_begin(b, rings[k], RX_BUFFERS);
		unsigned char *event = give_event(b, 4);
		struct vio_line *l = vsock_connect(b);
		b->g->moves_differ = true;
		moves_on(b->g);
		assert_ptr_equal(rig_get(b->g, VIO_VSOCK_EVENT, NULL), event);
		assert_memory_equal(event, "\0\0\0\0", 4);
		assert_int_equal(vsock_count(b), 0);
		world_close(l);
		l = vsock_connect(b);
		assert_int_equal(vsock_count(b), 1);
		assert_true(moves_freeze(b->g));
		assert_in_range(moves_refuses(b->g), 1, UINT32_MAX);
		world_close(l);
		vsock_close(b);
	}
}

static const struct CMUnitTest tests[] = {
	T(half_closed_by_the_guest, "a guest that has said all can still listen; its hints stay, and add up"),
	T(a_guest_that_will_not_receive, "a guest that will not receive can still speak"),
	T(closed_by_the_guest, "a guest's close is confirmed when all it said is passed on"),
	T(what_was_sent_outlives_a_patient_end, "what a guest said before a clean end is passed on even if it does not wait"),
	T(half_a_message_is_none, "a message that was not finished is not passed on"),
	T(half_closed_by_the_host, "a host that has said all can still listen"),
	T(closed_by_the_host, "a host's close comes behind all it said; a guest that does not confirm gets a RST after 8 seconds"),
	T(reset_by_the_host, "a connection cut by the host is cut for the guest"),
	T(both_close_at_the_same_time, "both sides may close at the same time"),
	T(nobody_answers_the_guest, "a guest is refused when nobody answers: at once, later, or after 8 seconds"),
	T(the_guest_answers_nobody, "a caller that the guest does not answer is let go after 8 seconds"),
	T(a_reset_ends_all, "a reset ends every connection, and the next driver begins anew {core-dev-8}"),
	T(a_suspended_device_keeps_them, "a suspended device keeps its connections"),
	T(a_restored_device_says_so, "a device restored elsewhere tells the driver that its connections are gone"),
	T(moves_mid_traffic, "moved with a connection: the driver hears of its end and makes another"),
	T(a_queue_that_goes_on_says_so, "so does a device that takes over queues in the middle"),
};

int main(void) { return vio_tests("vsock-life", tests, sizeof tests / sizeof *tests); }
