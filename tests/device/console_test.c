/* The console device (virtio 1.4, section 5.3): ports, their bytes, and what is said about them. */
#include "console_rig.h"

/* ---- The hand-shake ---- */

static void ports_are_introduced(void **state)
{
	struct con *c = con_new(ROOM);

	(void)state;
	c->port[1].console = true;
	c->port[2].name = NULL;
	c->here[0]->columns = 100;
	c->here[0]->rows = 30;
	c->here[2]->open = false;
	con_open(c);
	con_start(c, BITS(ALL_CONSOLE));
	con_give(c, 16, CONTROL);
	con_expect_silence(c);			/* until the driver is ready */
	con_say(c, 77, VIO_CONSOLE_DEVICE_READY, 1);	/* the id is unused */
	for (uint8_t i = 0; i < 3; i++)
		con_expect(c, i, VIO_CONSOLE_DEVICE_ADD, 1);
	con_expect_silence(c);			/* until the port is ready */
	con_say(c, 0, VIO_CONSOLE_PORT_READY, 1);
	con_expect(c, 0, VIO_CONSOLE_CONSOLE_PORT, 1);
	con_expect_bytes(c, 0, VIO_CONSOLE_PORT_NAME, 1, "zero", 4);
	con_expect_bytes(c, 0, VIO_CONSOLE_RESIZE, 1, "\x64\x00\x1e\x00", 4);	/* columns, rows */
	con_expect(c, 0, VIO_CONSOLE_PORT_OPEN, 1);
	con_say(c, 1, VIO_CONSOLE_PORT_READY, 1);
	con_expect(c, 1, VIO_CONSOLE_CONSOLE_PORT, 1);
	con_expect_bytes(c, 1, VIO_CONSOLE_PORT_NAME, 1, "one", 3);
	con_expect(c, 1, VIO_CONSOLE_PORT_OPEN, 1);
	con_say(c, 2, VIO_CONSOLE_PORT_READY, 1);
	con_expect_silence(c);			/* no name, no console, nobody there */
	vio_stream_pair_open(c->here[2], true);
	con_expect(c, 2, VIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(rig_refused(c->g, VIO_CONSOLE_Q_CONTROL_TX), 0);
	con_close(c);
}

static void nothing_is_added_twice(void **state)
{
	struct con *c = con_begin(ROOM, BITS(ALL_CONSOLE));

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		con_say(c, 0, VIO_CONSOLE_DEVICE_READY, 1);
	con_expect_silence(c);
	con_say(c, 0, VIO_CONSOLE_DEVICE_READY, 0);	/* failed: it hears nothing more */
	vio_stream_pair_open(c->here[1], false);
	con_expect_silence(c);
	con_say(c, 0, VIO_CONSOLE_DEVICE_READY, 1);
	con_expect(c, 1, VIO_CONSOLE_PORT_OPEN, 0);
	con_expect_silence(c);
	con_close(c);
}

static void ports_come_and_go(void **state)
{
	struct con *c = con_begin(ROOM, BITS(ALL_CONSOLE));
	const char *why;

	(void)state;
	assert_int_equal(vio_dev_console_add(c->g->dev, -1, &c->port[3], &why), 3);
	con_expect(c, 3, VIO_CONSOLE_DEVICE_ADD, 1);
	con_say(c, 3, VIO_CONSOLE_PORT_READY, 1);
	con_expect_bytes(c, 3, VIO_CONSOLE_PORT_NAME, 1, "three", 5);
	con_expect(c, 3, VIO_CONSOLE_PORT_OPEN, 1);
	assert_true(vio_dev_console_remove(c->g->dev, 3));
	assert_false(vio_dev_console_remove(c->g->dev, 3));
	con_expect(c, 3, VIO_CONSOLE_DEVICE_REMOVE, 1);
	con_say(c, 3, VIO_CONSOLE_PORT_OPEN, 1);		/* it has gone */
	assert_int_equal(rig_refused(c->g, VIO_CONSOLE_Q_CONTROL_TX), 1);
	assert_int_equal(vio_dev_console_add(c->g->dev, 3, &c->port[3], &why), 3);
	con_expect(c, 3, VIO_CONSOLE_DEVICE_ADD, 1);	/* the same number again */
	con_expect_silence(c);
	assert_true(vio_dev_console_remove(c->g->dev, 1));
	con_expect(c, 1, VIO_CONSOLE_DEVICE_REMOVE, 1);
	con_close(c);
}

/* A port that came and went before the driver could hear of it was never there. */
static void removal_needs_an_addition(void **state)
{
	struct con *c = con_new(ROOM);
	const char *why;

	(void)state;
	con_open(c);
	con_start(c, BITS(ALL_CONSOLE));
	con_say(c, 0, VIO_CONSOLE_DEVICE_READY, 1);	/* no buffers yet */
	assert_true(vio_dev_console_remove(c->g->dev, 1));
	con_give(c, 1, CONTROL);
	con_expect(c, 0, VIO_CONSOLE_DEVICE_ADD, 1);
	con_give(c, 1, CONTROL);
	con_expect(c, 2, VIO_CONSOLE_DEVICE_ADD, 1);
	/* one that the driver knows keeps its number until the driver has been told */
	assert_true(vio_dev_console_remove(c->g->dev, 0));
	assert_int_equal(vio_dev_console_add(c->g->dev, 0, &c->port[0], &why), -1);
	assert_non_null(strstr(why, "not told yet"));
	assert_int_equal(vio_dev_console_add(c->g->dev, -1, &c->port[0], &why), 1);
	con_give(c, 8, CONTROL);
	con_expect(c, 0, VIO_CONSOLE_DEVICE_REMOVE, 1);
	con_expect(c, 1, VIO_CONSOLE_DEVICE_ADD, 1);
	con_expect_silence(c);
	con_close(c);
}

static void too_many_ports_are_refused(void **state)
{
	char name[VIO_CONSOLE_NAME + 2];
	struct con *c = con_new(ROOM);
	const char *why;

	(void)state;
	con_open(c);
	memset(name, 'x', sizeof name);
	name[sizeof name - 1] = 0;
	struct vio_console_port p = { .stream = c->here[3], .name = name };
	const struct { int number; const char *name, *says; } rows[] = {
		{ PORTS, "new", "beyond the ports" }, { INT32_MAX, "new", "beyond the ports" }, { 0, "new", "such a port already" },
		{ 3, name, "longer than 128" }, { 3, "two", "of that name already" },
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		p.name = rows[i].name;
		assert_int_equal(vio_dev_console_add(c->g->dev, rows[i].number, &p, &why), -1);
		assert_non_null(strstr(why, rows[i].says));
	}
	name[VIO_CONSOLE_NAME] = 0;
	p.name = name;
	assert_int_equal(vio_dev_console_add(c->g->dev, -1, &p, &why), 3);
	p.name = NULL;
	assert_int_equal(vio_dev_console_add(c->g->dev, -1, &p, &why), -1);
	assert_non_null(strstr(why, "as many ports as"));
	assert_int_equal(con_view(c, 3).stream == c->here[3], 1);
	con_close(c);
	struct rig *g = rig_new();
	struct vio_console_options o = { .max_ports = 32 };
	assert_string_equal(rig_open(g, &vio_dev_console, &o), "a console device has at most 31 ports");
	o.max_ports = 31;
	assert_null(rig_open(g, &vio_dev_console, &o));
	assert_int_equal(g->dev->queues, 64);
	rig_close(g);
}

/* A driver without control buffers costs nothing, however much happens, and then hears how things are. */
static void messages_wait_in_order(void **state)
{
	struct con *c = con_begin(ROOM, BITS(ALL_CONSOLE));

	(void)state;
	do	/* use up what was given */
		vio_stream_pair_open(c->here[1], !c->here[1]->open);
	while (con_hear(c, NULL));
	vio_stream_pair_open(c->here[1], true);
	con_give(c, 2, CONTROL);
	while (con_hear(c, NULL))
		;
	vio_stream_resize(c->here[0], 80, 25);
	vio_stream_resize(c->here[0], 81, 25);
	con_give(c, 1, CONTROL);
	while (con_hear(c, NULL))
		;
	for (unsigned i = 0; i < 1000; i++) {
		vio_stream_pair_open(c->here[1], i % 2);
		vio_stream_resize(c->here[0], (uint16_t)(80 + i), 25);
		con_pump(c);
	}
	vio_stream_pair_open(c->here[2], false);
	vio_stream_pair_open(c->here[2], true);
	vio_stream_pair_open(c->here[2], false);
	assert_int_equal(c->g->dev->queue[VIO_CONSOLE_Q_CONTROL_RX].ring.inflight, 0);
	con_give(c, 16, CONTROL);
	unsigned closed = 0, opened = 0, sizes = 0, two = 0;
	uint32_t len;
	for (unsigned char *p; (p = con_hear(c, &len));) {
		if (p[4] == VIO_CONSOLE_RESIZE && ++sizes)
			assert_memory_equal(p + 8, "\x37\x04\x19\x00", 4);	/* the last size alone: 1079 x 25 */
		else if (p[0] == 1 && p[6] == 0)
			assert_int_equal(closed++, opened);
		else if (p[0] == 1)
			assert_int_equal(++opened, closed);
		else if (p[0] == 2)
			assert_int_equal(p[6] + two++, 0);
	}
	assert_int_equal(closed, 1);
	assert_int_equal(opened, 1);
	assert_int_equal(sizes, 1);
	assert_int_equal(two, 1);
	con_close(c);
}

static void sizes_are_told(void **state)
{
	struct con *c = con_begin(ROOM, BITS(ALL_CONSOLE));
	struct vio_console_config config;
	uint64_t told = c->g->wire.configs;

	(void)state;
	vio_stream_resize(c->here[0], 132, 43);
	con_expect_bytes(c, 0, VIO_CONSOLE_RESIZE, 1, "\x84\x00\x2b\x00", 4);
	vio_dev_config_read(c->g->dev, 0, &config, sizeof config);
	assert_memory_equal(&config, "\x84\x00\x2b\x00\x04\x00\x00\x00\x00\x00\x00\x00", 12);
	assert_int_equal(c->g->wire.configs, told + 1);
	vio_stream_resize(c->here[0], 132, 43);	/* as it was */
	vio_stream_resize(c->here[1], 90, 20);	/* no console, and not port 0 */
	con_expect_silence(c);
	assert_int_equal(c->g->wire.configs, told + 1);
	con_close(c);
	c = con_new(ROOM);
	c->o.rows_first = true;
	con_open(c);
	con_start(c, BITS(ALL_CONSOLE));
	con_shake(c);
	vio_stream_resize(c->here[0], 132, 43);
	con_expect_bytes(c, 0, VIO_CONSOLE_RESIZE, 1, "\x2b\x00\x84\x00", 4);
	con_close(c);
}

/* ---- Bytes ---- */

static void bytes_go_both_ways(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_CONSOLE), BITS(ALL_CONSOLE, VIO_F_RING_PACKED), BITS(ALL_CONSOLE, VIO_F_IN_ORDER),
		BITS(ALL_CONSOLE, VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX), BITS(SIMPLE), BITS(SIMPLE, VIO_F_RING_PACKED) };
	const size_t cuts[] = { 0, 1, 7 };
	char bytes[40], got[41];

	(void)state;
	for (unsigned r = 0; r < 6; r++)
		for (uint32_t clip = 0; clip < 2; clip++) {
			struct con *c = con_new(ROOM);
			c->g->mem.clip = clip;
			con_open(c);
			con_start(c, rings[r]);
			unsigned ports = vio_has(rings[r], VIO_CONSOLE_F_MULTIPORT) ? 3 : 1;
			if (ports == 3)
				con_shake(c);
			for (unsigned i = 0; i < 3 * ports; i++) {
				unsigned port = i % ports;
				uint32_t used;
				rig_rewind(c->g);
				memset(bytes, 'a' + (int)i, sizeof bytes);
				unsigned char *p = con_send(c, port, bytes, sizeof bytes, cuts[i / ports]);
				assert_ptr_equal(rig_get(c->g, con_tx(port), &used), p);
				assert_int_equal(used, 0);
				assert_int_equal(world_reads(c, port, got, sizeof got), 40);
				assert_memory_equal(got, bytes, 40);
				p = con_buffer(c, port, 41, cuts[i / ports]);
				assert_null(rig_get(c->g, con_rx(port), &used));
				assert_int_equal(world_writes(c, port, bytes, 40), 40);
				assert_ptr_equal(rig_get(c->g, con_rx(port), &used), p);
				assert_int_equal(used, 40);
				assert_memory_equal(p, bytes, 40);
				assert_int_equal(p[40], 0xee);
			}
			assert_int_equal(con_view(c, 0).to_guest, 120);
			assert_int_equal(con_view(c, 0).from_guest, 120);
			assert_null(c->g->wire.broken);
			con_close(c);
		}
}

/* The other end is slow: chains wait where they are, and each byte arrives once. */
static void a_slow_reader_loses_nothing(void **state)
{
	struct con *c = con_begin(10, BITS(ALL_CONSOLE));
	char bytes[95], got[95];
	size_t n = 0;

	(void)state;
	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)('A' + i % 26);
	con_send(c, 1, bytes, 35, 4);
	con_send(c, 1, bytes + 35, 60, 0);
	assert_null(rig_get(c->g, con_tx(1), NULL));
	assert_int_equal(c->g->dev->queue[con_tx(1)].ring.inflight, 0);
	assert_int_equal(c->g->wire.due[0], 0);		/* nobody asks for turns meanwhile */
	con_send(c, 2, "others", 6, 0);			/* and neighbours are served */
	assert_int_equal(world_reads(c, 2, got, 10), 6);
	while (n < sizeof bytes) {
		long k = world_reads(c, 1, got + n, 3);
		assert_in_range(k, 1, 3);
		n += (size_t)k;
	}
	assert_memory_equal(got, bytes, sizeof bytes);
	assert_int_equal(world_reads(c, 1, got, 1), 0);
	assert_non_null(rig_get(c->g, con_tx(1), NULL));
	assert_non_null(rig_get(c->g, con_tx(1), NULL));
	assert_int_equal(con_view(c, 1).from_guest, 95);
	con_close(c);
}

static void a_stop_keeps_its_place(void **state)
{
	struct con *c = con_begin(10, BITS(ALL_CONSOLE, VIO_F_SUSPEND, VIO_F_RING_RESET));
	char got[40];

	(void)state;
	con_send(c, 0, "0123456789abcdefghij", 20, 0);
	assert_true(vio_drv_suspend(&c->g->drv));	/* at once: nothing is in flight */
	assert_int_equal(world_reads(c, 0, got, 40), 10);
	con_pump(c);
	assert_int_equal(world_reads(c, 0, got, 40), 0);	/* quiet while suspended */
	assert_true(vio_drv_resume(&c->g->drv));
	con_pump(c);
	assert_int_equal(world_reads(c, 0, got, 40), 10);
	assert_memory_equal(got, "abcdefghij", 10);
	/* a queue that is reset forgets the half-sent chain */
	con_send(c, 1, "0123456789abcdefghij", 20, 0);
	assert_true(vio_drv_queue_reset(&c->g->drv, con_tx(1)));
	rig_start_queue(c->g, con_tx(1));
	assert_int_equal(world_reads(c, 1, got, 40), 10);
	con_send(c, 1, "new", 3, 0);
	assert_int_equal(world_reads(c, 1, got, 40), 3);
	assert_memory_equal(got, "new", 3);
	/* and so does a new driver */
	con_send(c, 2, "0123456789abcdefghij", 20, 0);
	rig_reset(c->g);
	con_start(c, BITS(ALL_CONSOLE));
	con_shake(c);
	assert_int_equal(world_reads(c, 2, got, 40), 10);
	con_send(c, 2, "new", 3, 0);
	assert_int_equal(world_reads(c, 2, got, 40), 3);
	assert_memory_equal(got, "new", 3);
	con_close(c);
}

static void bytes_wait_for_the_guest(void **state)
{
	struct con *c = con_begin(ROOM, BITS(ALL_CONSOLE));
	uint32_t used;

	(void)state;
	con_say(c, 1, VIO_CONSOLE_PORT_OPEN, 0);
	unsigned char *p = con_buffer(c, 1, 30, 0);
	assert_int_equal(world_writes(c, 1, "for later", 9), 9);
	assert_null(rig_get(c->g, con_rx(1), NULL));		/* the driver has closed the port */
	assert_int_equal(c->g->wire.due[0], 0);
	con_say(c, 1, VIO_CONSOLE_PORT_OPEN, 1);
	assert_ptr_equal(rig_get(c->g, con_rx(1), &used), p);
	assert_int_equal(used, 9);
	assert_memory_equal(p, "for later", 9);
	/* without buffers they wait too, as many as the world has room for */
	char many[ROOM + 10] = { 0 };
	assert_int_equal(world_writes(c, 1, many, sizeof many), ROOM);
	assert_int_equal(c->g->wire.due[0], 0);
	p = con_buffer(c, 1, ROOM, 0);
	assert_ptr_equal(rig_get(c->g, con_rx(1), &used), p);
	assert_int_equal(used, ROOM);
	con_close(c);
}

/* Linux waits for its console's buffers in a loop: nobody at the other end must not hold it up. */
static void nobody_there_means_dropped(void **state)
{
	struct con *c = con_begin(ROOM, BITS(ALL_CONSOLE));
	char got[20];
	uint32_t used;

	(void)state;
	vio_stream_pair_open(c->here[0], false);
	con_expect(c, 0, VIO_CONSOLE_PORT_OPEN, 0);
	unsigned char *p = con_send(c, 0, "unheard", 7, 0);
	assert_ptr_equal(rig_get(c->g, con_tx(0), &used), p);
	assert_int_equal(con_view(c, 0).dropped, 7);
	p = con_buffer(c, 0, 20, 0);
	assert_null(rig_get(c->g, con_rx(0), &used));
	vio_stream_pair_open(c->here[0], true);
	con_expect(c, 0, VIO_CONSOLE_PORT_OPEN, 1);
	con_send(c, 0, "heard", 5, 0);
	assert_int_equal(world_reads(c, 0, got, 20), 5);
	assert_memory_equal(got, "heard", 5);
	/* what waited for somebody who then goes is dropped as well */
	char many[ROOM + 10] = { 0 };
	con_send(c, 1, many, sizeof many, 0);
	assert_null(rig_get(c->g, con_tx(1), &used));
	vio_stream_pair_open(c->here[1], false);
	con_pump(c);
	assert_non_null(rig_get(c->g, con_tx(1), &used));
	assert_int_equal(con_view(c, 1).dropped, 10);
	con_close(c);
	/* a lossy port does not wait for a slow reader either */
	c = con_new(10);
	c->port[0].lossy = true;
	con_open(c);
	con_start(c, BITS(ALL_CONSOLE));
	con_shake(c);
	p = con_send(c, 0, "0123456789abcdef", 16, 0);
	assert_ptr_equal(rig_get(c->g, con_tx(0), &used), p);
	assert_int_equal(con_view(c, 0).dropped, 6);
	con_close(c);
}

/* ---- Emergency write (5.3.5) ---- */

static void write_urgent(struct con *c, uint32_t value)
{
	vio_le32 v = vio_le32_of(value);

	assert_true(vio_dev_config_write(c->g->dev, 8, &v, sizeof v));
}

static void an_emergency_is_heard(void **state)
{
	struct con *c = con_new(8);
	char got[5000];
	uint32_t v;

	(void)state;
	con_open(c);
	assert_true(vio_has(vio_dev_offered(c->g->dev), VIO_CONSOLE_F_EMERG_WRITE));
	write_urgent(c, 'P');				/* the device has not even been looked at */
	write_urgent(c, 0x1234ff00u | 'a');		/* the lower byte */
	assert_true(vio_dev_config_write(c->g->dev, 8, "n", 1));
	assert_true(vio_dev_config_write(c->g->dev, 9, "xyz", 3));	/* not the lower byte */
	assert_false(vio_dev_config_write(c->g->dev, 7, "xx", 2));
	assert_false(vio_dev_config_write(c->g->dev, 9, "xxxx", 4));
	assert_false(vio_dev_config_write(c->g->dev, 0, "xx", 2));
	vio_dev_config_read(c->g->dev, 8, &v, 4);
	assert_int_equal(v, 0);
	assert_int_equal(world_reads(c, 0, got, 10), 3);
	assert_memory_equal(got, "Pan", 3);
	/* a full stream: none is lost, and nothing overtakes them */
	con_start(c, BITS(SIMPLE));
	con_send(c, 0, "01234567", 8, 0);
	for (unsigned i = 0; i < 10; i++)
		write_urgent(c, 'a' + i);
	con_send(c, 0, "after", 5, 0);
	assert_int_equal(world_reads(c, 0, got, 8), 8);
	assert_int_equal(world_reads(c, 0, got, 3), 3);
	assert_int_equal(world_reads(c, 0, got + 3, 100), 8);
	assert_int_equal(world_reads(c, 0, got + 11, 100), 4);
	assert_memory_equal(got, "abcdefghijafter", 15);
	/* nobody is there: kept until somebody is, up to 4096 */
	vio_stream_pair_open(c->here[0], false);
	for (unsigned i = 0; i < 5000; i++)
		write_urgent(c, '0' + i % 10);
	vio_stream_pair_open(c->here[0], true);
	long n = 0, k;
	while ((k = world_reads(c, 0, got + n, 100)) > 0)
		n += k;
	assert_int_equal(n, 4096);
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(got[i], '0' + i % 10);
	con_close(c);
}

static void an_emergency_waits_for_a_port(void **state)
{
	struct con *c = con_new(ROOM);
	const char *why;
	char got[10];

	(void)state;
	c->o.count = 0;
	con_open(c);
	write_urgent(c, '!');
	assert_int_equal(vio_dev_console_add(c->g->dev, 0, &c->port[0], &why), 0);
	assert_int_equal(world_reads(c, 0, got, 10), 1);
	assert_int_equal(got[0], '!');
	con_close(c);
}

/* ---- Without MULTIPORT; budgets; state ---- */

static void one_port_without_multiport(void **state)
{
	struct con *c = con_begin(ROOM, BITS(SIMPLE));
	char got[10];

	(void)state;
	assert_int_equal(c->g->dev->queues, QUEUES_OF_PORTS);
	assert_true(vio_dev_queue_size_max(c->g->dev, 0) >= 64);
	con_send(c, 0, "hello", 5, 0);
	assert_int_equal(world_reads(c, 0, got, 10), 5);
	con_close(c);
	/* a driver that starts the other queues all the same gets nothing out of them */
	c = con_new(ROOM);
	con_open(c);
	rig_start(c->g, QUEUES_OF_PORTS, BITS(SIMPLE));
	con_give(c, 2, CONTROL);
	con_send(c, 1, "hello", 5, 0);
	assert_int_equal(world_reads(c, 1, got, 10), 0);
	unsigned char *p = con_buffer(c, 1, 10, 0);
	world_writes(c, 1, "hello", 5);
	assert_int_equal(p[0], 0xee);
	assert_int_equal(c->g->wire.due[0], 0);
	con_expect_silence(c);
	con_close(c);
}

static long swallow(struct vio_stream *s, struct vio_cur *c)
{
	uint64_t n = c->left < 65536 ? c->left : 65536;

	(void)s;
	vio_cur_skip(c, n);
	return (long)n;
}
static const struct vio_stream_ops endless = { .read = swallow, .write = swallow };

static void a_turn_has_a_budget(void **state)
{
	struct con *c = con_new(ROOM);
	struct vio_stream s = { .ops = &endless, .open = true };
	uint64_t from, to;

	(void)state;
	c->port[1].stream = &s;
	con_open(c);
	con_start(c, BITS(ALL_CONSOLE));
	con_shake(c);
	c->g->wire.lazy = true;
	unsigned char *p = rig_take(c->g, 1 << 20);
	assert_true(rig_add(c->g, con_tx(1), p, 1 << 20, 0, NULL, 0, 0));
	rig_kick(c->g, con_tx(1));
	for (unsigned i = 1; i <= 4; i++) {
		vio_loop_pump(&c->g->wire, 1);
		from = con_view(c, 1).from_guest;
		assert_int_equal(from, i * 262144);
	}
	vio_loop_pump(&c->g->wire, 1);
	assert_ptr_equal(rig_get(c->g, con_tx(1), NULL), p);
	assert_int_equal(con_view(c, 1).from_guest, 1 << 20);
	for (unsigned i = 0; i < 8; i++)
		assert_true(rig_add(c->g, con_rx(1), NULL, 0, 0, p, 65536, 0));
	rig_kick(c->g, con_rx(1));
	vio_loop_pump(&c->g->wire, 1);
	to = con_view(c, 1).to_guest;
	assert_int_equal(to, 262144);
	vio_loop_pump(&c->g->wire, 10);
	assert_int_equal(con_view(c, 1).to_guest, 524288);
	con_close(c);
}

static void state_is_saved_and_loaded(void **state)
{
	struct con *a = con_begin(10, BITS(ALL_CONSOLE)), *b = con_new(10);
	unsigned char saved[512];
	char got[20];

	(void)state;
	con_say(a, 2, VIO_CONSOLE_PORT_OPEN, 0);
	con_send(a, 1, "0123456789abcde", 15, 0);
	size_t n = a->g->dev->type->save(a->g->dev, saved, sizeof saved);
	assert_int_equal(n, 8 + PORTS * 16);
	assert_int_equal(a->g->dev->type->save(a->g->dev, NULL, 0), n);
	b->here[0]->open = false;		/* things are different there: closed, and a port fewer */
	b->o.count = 2;
	con_open(b);
	con_start(b, BITS(ALL_CONSOLE));
	assert_null(b->g->dev->type->load(b->g->dev, saved, n));
	assert_false(con_view(b, 0).ready != con_view(a, 0).ready || con_view(b, 1).guest_open != con_view(a, 1).guest_open);
	con_give(b, 8, CONTROL);
	con_expect(b, 0, VIO_CONSOLE_PORT_OPEN, 0);
	con_expect(b, 2, VIO_CONSOLE_DEVICE_REMOVE, 1);
	con_expect_silence(b);
	con_send(b, 1, "0123456789abcde", 15, 0);	/* the chain that was half sent */
	assert_int_equal(world_reads(b, 1, got, 20), 5);
	assert_memory_equal(got, "abcde", 5);
	/* all or nothing */
	const struct { size_t at; unsigned char is; } bad[] = { { 0, 2 }, { 4, 5 }, { 8, 16 }, { 9, 1 }, { 9, 2 }, { 8, 2 } };
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		unsigned char other[512];
		memcpy(other, saved, n);
		other[bad[i].at] = bad[i].is;
		assert_non_null(b->g->dev->type->load(b->g->dev, other, n));
	}
	for (size_t i = 0; i < n; i++)
		assert_non_null(b->g->dev->type->load(b->g->dev, saved, i));
	con_close(a);
	con_close(b);
}

static const struct CMUnitTest tests[] = {
	T(ports_are_introduced, "ports are introduced in the order and bytes of the specification, once the driver is ready"),
	T(nothing_is_added_twice, "a port is added once, however often the driver says that it is ready {console-dev-3}"),
	T(ports_come_and_go, "ports are plugged and unplugged at run time, and a number is used again {console-dev-3 console-dev-4}"),
	T(removal_needs_an_addition, "only a port that the driver knows is removed, and only then is its number free {console-dev-4}"),
	T(too_many_ports_are_refused, "no port has a number from max_nr_ports on; names are checked {console-dev-3}"),
	T(messages_wait_in_order, "without control buffers nothing piles up: afterwards the driver hears how things are, in order"),
	T(sizes_are_told, "a new size is told: by the config space for port 0, by a message for each console"),
	T(bytes_go_both_ways, "bytes go both ways, over both rings and any cut"),
	T(a_slow_reader_loses_nothing, "a slow reader holds up its own port alone, and gets each byte once"),
	T(a_stop_keeps_its_place, "a half-sent chain holds up no stop; it goes on after a resume, and is forgotten by a reset"),
	T(bytes_wait_for_the_guest, "bytes wait for a driver that has closed the port or has no buffers"),
	T(nobody_there_means_dropped, "what is sent while nobody is there is dropped and counted, so that no guest waits for ever"),
	T(an_emergency_is_heard, "emergency characters arrive in order, on an unconfigured device too {console-dev-1 console-dev-2}"),
	T(an_emergency_waits_for_a_port, "an emergency character is kept until there is a port 0 {console-dev-2}"),
	T(one_port_without_multiport, "without MULTIPORT there is port 0 and nothing else"),
	T(a_turn_has_a_budget, "an endless stream lets others have their turn"),
	T(state_is_saved_and_loaded, "what the driver knows is saved and loaded, and what changed meanwhile is told"),
};

int main(void) { return vio_tests("console", tests, sizeof tests / sizeof *tests); }
