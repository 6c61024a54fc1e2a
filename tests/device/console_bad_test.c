/* What a hostile driver can do to the console device: each row is ignored, counted, and the next port is served. */
#include "console_rig.h"

struct bad { const char *what; uint32_t id; uint16_t event, value; unsigned bytes; };

static const struct bad bad[] = {
	{ "nothing at all", 0, 0, 0, 0 },
	{ "one byte", 0, 0, 0, 1 },
	{ "half an id", 0, 0, 0, 2 },
	{ "an id alone", 0, 0, 0, 4 },
	{ "no value", 0, VIO_CONSOLE_PORT_OPEN, 1, 6 },
	{ "half a value", 0, VIO_CONSOLE_PORT_OPEN, 1, 7 },
	{ "device ready with a strange value", 0, VIO_CONSOLE_DEVICE_READY, 2, 8 },
	{ "device ready with the largest value", 0, VIO_CONSOLE_DEVICE_READY, 65535, 8 },
	{ "the driver adds a port", 3, VIO_CONSOLE_DEVICE_ADD, 1, 8 },
	{ "the driver adds a port there is", 0, VIO_CONSOLE_DEVICE_ADD, 1, 8 },
	{ "the driver removes a port", 0, VIO_CONSOLE_DEVICE_REMOVE, 1, 8 },
	{ "the driver names a console", 0, VIO_CONSOLE_CONSOLE_PORT, 1, 8 },
	{ "the driver resizes", 0, VIO_CONSOLE_RESIZE, 0, 8 },
	{ "the driver gives a name", 0, VIO_CONSOLE_PORT_NAME, 1, 8 },
	{ "an event nobody knows", 0, 8, 1, 8 },
	{ "the last event there could be", 0, 65535, 1, 8 },
	{ "a port ready twice", 0, VIO_CONSOLE_PORT_READY, 1, 8 },
	{ "a port ready with a strange value", 0, VIO_CONSOLE_PORT_READY, 7, 8 },
	{ "a port that was never announced is ready", 3, VIO_CONSOLE_PORT_READY, 1, 8 },
	{ "a port that was never announced is opened", 3, VIO_CONSOLE_PORT_OPEN, 1, 8 },
	{ "the port behind the last is ready", PORTS, VIO_CONSOLE_PORT_READY, 1, 8 },
	{ "the port behind the last is opened", PORTS, VIO_CONSOLE_PORT_OPEN, 1, 8 },
	{ "port 31 is opened", 31, VIO_CONSOLE_PORT_OPEN, 1, 8 },
	{ "port 2^31 is opened", UINT32_C(1) << 31, VIO_CONSOLE_PORT_OPEN, 1, 8 },
	{ "port 2^32 - 1 is opened", UINT32_MAX, VIO_CONSOLE_PORT_OPEN, 1, 8 },
	{ "port 2^32 - 1 is ready", UINT32_MAX, VIO_CONSOLE_PORT_READY, 1, 8 },
	{ "open with a strange value", 0, VIO_CONSOLE_PORT_OPEN, 2, 8 },
};

static void each_row_is_ignored(void **state)
{
	struct con *c = con_begin(ROOM, BITS(ALL_CONSOLE));
	char got[10];

	(void)state;
	con_expect_silence(c);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		const struct bad *row = &bad[i];
		struct vio_console_control m = { vio_le32_of(row->id), vio_le16_of(row->event), vio_le16_of(row->value) };
		uint64_t refused = rig_refused(c->g, VIO_CONSOLE_Q_CONTROL_TX);
		if (row->bytes)
			con_say_bytes(c, &m, row->bytes);
		else	/* a chain with nothing readable */
			assert_true(rig_add(c->g, VIO_CONSOLE_Q_CONTROL_TX, NULL, 0, 0, rig_take(c->g, 8), 8, 0));
		rig_kick(c->g, VIO_CONSOLE_Q_CONTROL_TX);
		con_pump(c);
		if (!row->bytes)
			assert_non_null(rig_get(c->g, VIO_CONSOLE_Q_CONTROL_TX, NULL));
		if (rig_refused(c->g, VIO_CONSOLE_Q_CONTROL_TX) != refused + 1)
			fail_msg("%s: not counted once", row->what);
		if (con_hear(c, NULL))
			fail_msg("%s: was answered", row->what);
		con_send(c, 1, "still", 5, 0);
		if (world_reads(c, 1, got, 10) != 5 || !con_view(c, 0).guest_open)
			fail_msg("%s: did something", row->what);
	}
	assert_null(c->g->wire.broken);
	rig_reset(c->g);
	con_start(c, BITS(ALL_CONSOLE));
	con_shake(c);
	con_close(c);
}

/* A longer message, or one in pieces, is as good as any. */
static void framing_means_nothing(void **state)
{
	struct con *c = con_begin(ROOM, BITS(ALL_CONSOLE));
	unsigned char *p = rig_take(c->g, 64);
	const unsigned char close[] = { 1, 0, 0, 0, 6, 0, 0, 0 };

	(void)state;
	memcpy(p, close, sizeof close);
	assert_true(rig_add(c->g, VIO_CONSOLE_Q_CONTROL_TX, p, 8, 1, NULL, 0, 0));
	rig_kick(c->g, VIO_CONSOLE_Q_CONTROL_TX);
	assert_false(con_view(c, 1).guest_open);
	p[6] = 1;
	assert_true(rig_add(c->g, VIO_CONSOLE_Q_CONTROL_TX, p, 64, 5, NULL, 0, 0));
	rig_kick(c->g, VIO_CONSOLE_Q_CONTROL_TX);
	assert_true(con_view(c, 1).guest_open);
	assert_int_equal(rig_refused(c->g, VIO_CONSOLE_Q_CONTROL_TX), 0);
	con_close(c);
}

/* Buffers for messages: too small, of the wrong kind, in pieces. */
static void small_control_buffers(void **state)
{
	struct con *c = con_new(ROOM);
	uint32_t used;

	(void)state;
	con_open(c);
	con_start(c, BITS(ALL_CONSOLE));
	con_say(c, 0, VIO_CONSOLE_DEVICE_READY, 1);
	for (size_t n = 1; n < 8; n++) {
		con_give(c, 1, n);
		unsigned char *p = con_hear(c, &used);
		assert_non_null(p);
		assert_int_equal(used, 0);
		assert_int_equal(p[0], 0xee);
		assert_int_equal(rig_refused(c->g, VIO_CONSOLE_Q_CONTROL_RX), n);
	}
	assert_true(rig_add(c->g, VIO_CONSOLE_Q_CONTROL_RX, rig_take(c->g, 64), 64, 0, NULL, 0, 0));	/* readable */
	rig_kick(c->g, VIO_CONSOLE_Q_CONTROL_RX);
	assert_non_null(con_hear(c, &used));
	assert_int_equal(used, 0);
	/* exactly eight bytes: a name has no room, and everything else goes on without it */
	con_give(c, 3, 8);
	for (uint8_t i = 0; i < 3; i++)
		con_expect(c, i, VIO_CONSOLE_DEVICE_ADD, 1);
	con_say(c, 1, VIO_CONSOLE_PORT_READY, 1);
	con_give(c, 2, 8);
	assert_non_null(con_hear(c, &used));
	assert_int_equal(used, 0);
	con_expect(c, 1, VIO_CONSOLE_PORT_OPEN, 1);
	con_give(c, 1, 8);
	con_expect_silence(c);
	con_close(c);
}

/* 5.3.6.1: what a driver must not put where. */
static void the_wrong_kind_of_buffer(void **state)
{
	struct con *c = con_begin(ROOM, BITS(ALL_CONSOLE));
	unsigned char *p = rig_take(c->g, 64);
	char got[40];
	uint32_t used;

	(void)state;
	memset(p, 0xee, 64);
	memcpy(p, "out", 3);
	/* a transmit queue: writable bytes stay as they are, readable ones are sent */
	assert_true(rig_add(c->g, con_tx(1), NULL, 0, 0, p + 32, 16, 0));
	assert_true(rig_add(c->g, con_tx(1), p, 3, 0, p + 32, 16, 0));
	rig_kick(c->g, con_tx(1));
	con_pump(c);
	for (unsigned i = 0; i < 2; i++) {
		assert_non_null(rig_get(c->g, con_tx(1), &used));
		assert_int_equal(used, 0);
	}
	assert_int_equal(rig_refused(c->g, con_tx(1)), 2);
	assert_int_equal(p[32], 0xee);
	assert_int_equal(world_reads(c, 1, got, 40), 3);
	/* a receive queue: readable ones come back, mean nothing, and cost no byte of what came */
	world_writes(c, 1, "in", 2);
	assert_true(rig_add(c->g, con_rx(1), p, 8, 0, NULL, 0, 0));
	assert_true(rig_add(c->g, con_rx(1), p, 3, 0, p + 32, 16, 0));
	rig_kick(c->g, con_rx(1));
	con_pump(c);
	assert_ptr_equal(rig_get(c->g, con_rx(1), &used), p);
	assert_int_equal(used, 0);
	assert_ptr_equal(rig_get(c->g, con_rx(1), &used), p + 32);
	assert_int_equal(used, 2);
	assert_memory_equal(p, "out", 3);
	assert_memory_equal(p + 32, "in", 2);
	assert_int_equal(rig_refused(c->g, con_rx(1)), 2);
	assert_null(c->g->wire.broken);
	con_close(c);
}

/* Streams that are late, short and end at any moment: no byte is doubled or out of order, and a reset is done at once. */
static void streams_go_wrong(void **state)
{
	char got[200];

	(void)state;
	for (unsigned shorts = 0; shorts < 4; shorts++)
		for (unsigned late = 0; late < 4; late++) {
			struct vio_stream_faults faults = { .short_every = shorts, .late_every = late == 1 ? 2 : late };
			struct con *c = con_new(ROOM);
			struct vio_stream *f = vio_stream_faulty(c->here[1], &faults);
			c->here[1] = c->port[1].stream = f;
			con_open(c);
			con_start(c, BITS(ALL_CONSOLE));
			con_shake(c);
			for (unsigned i = 0; i < 4; i++)
				con_send(c, 1, "0123456789", 10, 3);
			size_t n = 0;
			for (unsigned i = 0; i < 200 && n < 40; i++) {
				long k = world_reads(c, 1, got + n, 7);
				n += k > 0 ? (size_t)k : 0;
				vio_stream_faulty_release(f);
				con_pump(c);
			}
			assert_int_equal(n, 40);
			for (unsigned i = 0; i < 40; i++)
				assert_int_equal(got[i], '0' + i % 10);
			for (unsigned i = 0; i < 12; i++)
				con_buffer(c, 1, 8, 0);
			world_writes(c, 1, "0123456789", 10);
			n = 0;
			for (unsigned i = 0; i < 100 && n < 10; i++) {
				uint32_t used;
				for (unsigned char *p; (p = rig_get(c->g, con_rx(1), &used)); n += used)
					memcpy(got + n, p, used);
				vio_stream_faulty_release(f);
				con_pump(c);
			}
			assert_int_equal(n, 10);
			assert_memory_equal(got, "0123456789", 10);
			con_send(c, 1, "0123456789", 10, 3);
			c->g->wire.port.ops->set_status(&c->g->wire.port, 0);
			assert_int_equal(vio_dev_status(c->g->dev), 0);
			con_close(c);
		}
}

/* A flood of chains and of messages: each turn is bounded, and others have theirs. */
static void a_flood_is_a_trickle(void **state)
{
	struct con *c = con_begin(ROOM, BITS(ALL_CONSOLE));
	char got[10];

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		rig_rewind(c->g);
		for (unsigned i = 0; i < RIG_SIZE; i++)
			assert_true(rig_add(c->g, VIO_CONSOLE_Q_CONTROL_TX, rig_take(c->g, 8), 8, 0, NULL, 0, 0));
		rig_kick(c->g, VIO_CONSOLE_Q_CONTROL_TX);
		con_pump(c);
		for (unsigned i = 0; i < RIG_SIZE; i++)
			assert_non_null(rig_get(c->g, VIO_CONSOLE_Q_CONTROL_TX, NULL));
	}
	con_send(c, 2, "here", 4, 0);
	assert_int_equal(world_reads(c, 2, got, 10), 4);
	con_close(c);
}

static const struct CMUnitTest tests[] = {
	T(each_row_is_ignored, "malformed control messages are ignored and counted, and ports served on"),
	T(framing_means_nothing, "a control message may come in pieces, and may be longer"),
	T(small_control_buffers, "control buffers too small for a message come back empty; one too small for a name does without it"),
	T(the_wrong_kind_of_buffer, "a buffer of the wrong kind is counted, and is neither read nor written"),
	T(streams_go_wrong, "a stream that is late and short loses and doubles nothing, and holds up no reset"),
	T(a_flood_is_a_trickle, "a flood of control messages changes nothing"),
};

int main(void) { return vio_tests("console-bad", tests, sizeof tests / sizeof *tests); }
