/* The console driver over the real device, in every shape; and against one that lies. */
#include <vio/driver/console.h>
#include "console_rig.h"
#include "fake.h"

struct line { struct con *c; struct vio_console *d; };

static struct line line_new(size_t room)
{
	struct line l = { .c = con_new(room) };

	l.d = rig_take(l.c->g, sizeof *l.d);
	return l;
}

static bool line_start(struct line *l)
{
	bool ok = vio_console_start(l->d, &l->c->g->wire.port);

	con_pump(l->c);
	return ok;
}

/* Until nothing more is said. */
static void settle(struct line *l)
{
	for (unsigned i = 0; i < 20; i++) {
		con_pump(l->c);
		vio_console_work(l->d);
	}
}

static void line_close(struct line *l)
{
	assert_true(vio_console_stop(l->d));
	assert_int_equal(l->c->g->maps, 0);
	con_close(l->c);
}

/* ---- Our device ---- */

static void echo(struct line *l, unsigned port)
{
	char bytes[1200], got[1200];
	uint32_t sent = 0, back = 0, heard = 0;
	char part[100];
	long held = 0;		/* of part, by the other end */

	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)(i * 7 + port);
	while (heard < sizeof bytes) {
		sent += vio_console_write(l->d, port, bytes + sent, (uint32_t)sizeof bytes - sent);
		if (!held && (held = world_reads(l->c, port, part, sizeof part)) > 0) {
			assert_memory_equal(part, bytes + back, (size_t)held);
			back += (uint32_t)held;
		}
		if (held > 0) {
			long n = world_writes(l->c, port, part, (size_t)held);
			assert_in_range(n, 0, held);
			memmove(part, part + n, (size_t)(held -= n));
		}
		heard += vio_console_read(l->d, port, got + heard, 33 < sizeof got - heard ? 33 : (uint32_t)sizeof got - heard);
		con_pump(l->c);
	}
	assert_memory_equal(got, bytes, sizeof bytes);
	assert_int_equal(vio_console_read(l->d, port, got, 1), 0);
	assert_true(vio_console_drain(l->d, port));
}

static void everything_in_every_shape(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_CONSOLE), BITS(ALL_CONSOLE, VIO_F_EVENT_IDX), BITS(ALL_CONSOLE, VIO_F_IN_ORDER),
		BITS(ALL_CONSOLE, VIO_F_RING_PACKED), BITS(ALL_CONSOLE, VIO_F_RING_PACKED, VIO_F_EVENT_IDX, VIO_F_NOTIFICATION_DATA),
		BITS(SIMPLE), BITS(VIO_F_VERSION_1, VIO_F_RING_PACKED) };

	(void)state;
	for (unsigned r = 0; r < sizeof rings / sizeof *rings; r++)
		for (uint32_t clip = 0; clip < 2; clip++) {
			struct line l = line_new(ROOM);
			l.c->g->mem.clip = clip * 5;
			l.c->here[0]->columns = 90;
			l.c->here[0]->rows = 33;
			con_open(l.c);
			/* the device offers what the row says: that is how a driver is made to drive it */
			l.c->g->dev->type_features = vio_features_and(l.c->g->dev->type_features, rings[r]);
			l.c->g->dev->wire = vio_features_and(l.c->g->dev->wire, rings[r]);
			if (!line_start(&l))
				fail_msg("%s", l.d->drv.failed);
			settle(&l);
			bool multi = vio_has(rings[r], VIO_CONSOLE_F_MULTIPORT);
			if (multi) {
				assert_string_equal(l.d->port[0].name, "zero");
				assert_string_equal(l.d->port[2].name, "two");
				assert_true(l.d->port[0].console && l.d->port[0].open && !l.d->port[1].open && l.d->port[1].host_open);
				assert_true(vio_console_open(l.d, 1, true) && vio_console_open(l.d, 2, true));
				settle(&l);
				assert_true(con_view(l.c, 0).guest_open && con_view(l.c, 2).guest_open);
				assert_int_equal(rig_refused(l.c->g, VIO_CONSOLE_Q_CONTROL_TX), 0);
			}
			if (vio_has(rings[r], VIO_CONSOLE_F_SIZE))
				assert_int_equal(l.d->port[0].columns * 1000 + l.d->port[0].rows, 90033);
			for (unsigned p = 0; p < (multi ? 3 : 1); p++)
				echo(&l, p);
			for (unsigned q = 0; q < l.c->g->dev->queues; q++)
				assert_int_equal(rig_refused(l.c->g, q), 0);	/* 5.3.6.1 */
			line_close(&l);
		}
}

static void ports_come_and_go(void **state)
{
	struct line l = line_new(ROOM);
	const char *why;

	(void)state;
	l.c->g->stays = true;
	con_open(l.c);
	assert_true(line_start(&l));
	settle(&l);
	assert_false(l.d->port[3].exists || vio_console_open(l.d, 3, true));
	assert_int_equal(vio_console_write(l.d, 3, "x", 1), 0);
	assert_int_equal(vio_dev_console_add(l.c->g->dev, 3, &l.c->port[3], &why), 3);
	settle(&l);
	assert_true(l.d->port[3].exists && vio_console_open(l.d, 3, true));
	settle(&l);
	echo(&l, 3);
	assert_int_equal(world_writes(l.c, 3, "unread", 6), 6);
	assert_int_equal(vio_console_read(l.d, 3, (char[2]){ 0 }, 2), 2);	/* some of it is left */
	assert_true(vio_dev_console_remove(l.c->g->dev, 3));
	settle(&l);
	assert_false(l.d->port[3].exists);
	assert_int_equal(vio_console_read(l.d, 3, (char[4]){ 0 }, 4), 0);
	vio_stream_close(l.c->here[3]);
	vio_stream_close(l.c->there[3]);
	struct vio_stream *s[2];
	assert_true(vio_stream_pair(s, ROOM));
	l.c->here[3] = l.c->port[3].stream = s[0];
	l.c->there[3] = s[1];
	assert_int_equal(vio_dev_console_add(l.c->g->dev, 3, &l.c->port[3], &why), 3);
	settle(&l);
	assert_true(vio_console_open(l.d, 3, true));
	settle(&l);
	echo(&l, 3);
	vio_stream_pair_open(l.c->here[1], false);
	settle(&l);
	assert_false(l.d->port[1].host_open);
	vio_stream_resize(l.c->here[0], 132, 50);
	settle(&l);
	assert_int_equal(l.d->port[0].columns, 132);
	line_close(&l);
}

/* More ports than the driver has room for are declined. */
static void too_many_ports_are_declined(void **state)
{
	struct line l = line_new(ROOM);

	(void)state;
	l.c->g->stays = true;
	l.c->o.max_ports = 6;
	l.c->o.count = 4;
	con_open(l.c);
	assert_true(line_start(&l));
	assert_int_equal(l.d->ports, VIO_CONSOLE_DRV_PORTS);
	assert_int_equal(l.d->max_ports, 6);
	settle(&l);
	struct vio_stream *s[2];
	const char *why;
	assert_true(vio_stream_pair(s, ROOM));
	assert_int_equal(vio_dev_console_add(l.c->g->dev, 5, &(struct vio_console_port){ .stream = s[0] }, &why), 5);
	settle(&l);
	assert_false(con_view(l.c, 5).ready);
	assert_int_equal(rig_refused(l.c->g, VIO_CONSOLE_Q_CONTROL_TX), 0);
	assert_true(vio_dev_console_remove(l.c->g->dev, 5));
	vio_stream_close(s[0]);
	vio_stream_close(s[1]);
	line_close(&l);
}

static void an_emergency_needs_no_driver(void **state)
{
	struct line l = line_new(ROOM);
	char got[4];

	(void)state;
	con_open(l.c);
	assert_true(vio_console_emergency(&l.c->g->wire.port, '!'));
	assert_int_equal(world_reads(l.c, 0, got, 4), 1);
	assert_int_equal(got[0], '!');
	vio_features_drop(&l.c->g->dev->type_features, VIO_CONSOLE_F_EMERG_WRITE);
	assert_false(vio_console_emergency(&l.c->g->wire.port, '!'));
	con_close(l.c);
}

/* ---- One that lies: queue by queue, with the rings in our hands ---- */

struct liar {
	struct fake *f;
	struct vio_console *d;
	const struct vio_drvq *q[10];
	uint16_t used[10];
};

static struct liar *current;

static bool liar_queue_start(struct vio_drv_port *p, uint16_t i, const struct vio_drvq *q)
{
	(void)p;
	current->q[i] = q;
	return true;
}

static uint16_t liar_queue_max(struct vio_drv_port *p, uint16_t i) { return i < 10 ? FAKE(p)->queue_max : 0; }

static struct liar *liar_new(uint32_t max_ports)
{
	static struct vio_drv_port_ops ops;
	struct liar *l = calloc(1, sizeof *l);

	assert_non_null(l);
	ops = fake_ops;
	ops.queue_start = liar_queue_start;
	ops.queue_max = liar_queue_max;
	l->f = fake_new(VIO_ID_CONSOLE, BITS(VIO_CONSOLE_F_MULTIPORT, VIO_CONSOLE_F_SIZE, VIO_CONSOLE_F_EMERG_WRITE));
	l->f->port.ops = &ops;
	vio_le32 max = vio_le32_of(max_ports);
	memset(l->f->config, 0, sizeof l->f->config);
	memcpy(l->f->config + 4, &max, 4);
	l->d = rig_take(l->f->g, sizeof *l->d);
	current = l;
	return l;
}

static void liar_close(struct liar *l)
{
	vio_console_stop(l->d);
	assert_int_equal(l->f->g->maps, 0);
	fake_close(l->f);
	free(l);
}

/* The chain that was made available n-th on queue i is used, with bytes in it. */
static void use(struct liar *l, unsigned i, const void *bytes, size_t n, uint32_t len)
{
	const struct vio_drvq *q = l->q[i];
	const struct vio_split_avail *avail = q->place.driver;
	struct vio_split_used *used = q->place.device;
	const struct vio_split_desc *desc = q->place.desc;
	uint16_t at = l->used[i]++, head = vio_le16_get(avail->ring[at % q->size]);

	memcpy(l->f->g->bytes + (vio_le64_get(desc[head].addr) - RIG_GPA), bytes, n);
	used->ring[at % q->size] = (struct vio_split_elem){ vio_le32_of(head), vio_le32_of(len) };
	used->idx = vio_le16_of(l->used[i]);
}

static void tell(struct liar *l, uint32_t id, uint16_t event, uint16_t value, uint32_t len)
{
	struct vio_console_control m = { vio_le32_of(id), vio_le16_of(event), vio_le16_of(value) };

	use(l, VIO_CONSOLE_Q_CONTROL_RX, &m, sizeof m, len);
	vio_console_work(l->d);
}

/* What the driver has said: event and value of the n-th message. */
static uint32_t said(struct liar *l, unsigned n)
{
	const struct vio_drvq *q = l->q[VIO_CONSOLE_Q_CONTROL_TX];
	const struct vio_split_avail *avail = q->place.driver;
	const struct vio_split_desc *desc = q->place.desc;
	struct vio_console_control m;

	if (n >= vio_le16_get(avail->idx))
		return UINT32_MAX;
	const struct vio_split_desc *d = &desc[vio_le16_get(avail->ring[n % q->size])];
	assert_int_equal(vio_le16_get(d->flags) & VIO_DESC_WRITE, 0);
	memcpy(&m, l->f->g->bytes + (vio_le64_get(d->addr) - RIG_GPA), sizeof m);
	return (uint32_t)vio_le16_get(m.event) << 16 | vio_le16_get(m.value);
}

static void the_driver_says_what_it_must(void **state)
{
	struct liar *l = liar_new(2);

	(void)state;
	assert_true(vio_console_start(l->d, &l->f->port));
	assert_int_equal(said(l, 0), VIO_CONSOLE_DEVICE_READY << 16 | 1);
	tell(l, 1, VIO_CONSOLE_DEVICE_ADD, 0, 8);
	assert_int_equal(said(l, 1), VIO_CONSOLE_PORT_READY << 16 | 1);
	tell(l, 1, VIO_CONSOLE_CONSOLE_PORT, 1, 8);
	assert_int_equal(said(l, 2), VIO_CONSOLE_PORT_OPEN << 16 | 1);
	assert_true(l->d->port[1].console);
	/* 5.3.6.1: receive queues hold writable buffers, transmit queues readable ones */
	for (unsigned i = 0; i < 6; i++) {
		const struct vio_split_desc *desc = l->q[i]->place.desc;
		const struct vio_split_avail *avail = l->q[i]->place.driver;
		for (unsigned n = 0; n < vio_le16_get(avail->idx); n++)
			assert_int_equal(vio_le16_get(desc[vio_le16_get(avail->ring[n])].flags) & VIO_DESC_WRITE, i & 1 ? 0 : VIO_DESC_WRITE);
	}
	liar_close(l);
}

static void lies_change_nothing(void **state)
{
	struct liar *l = liar_new(3);
	char got[600];

	(void)state;
	assert_true(vio_console_start(l->d, &l->f->port));
	const struct { uint32_t id; uint16_t event; uint32_t len; } lies[] = {
		{ 0, VIO_CONSOLE_DEVICE_REMOVE, 8 }, { 0, VIO_CONSOLE_PORT_OPEN, 8 }, { 0, VIO_CONSOLE_CONSOLE_PORT, 8 },
		{ 3, VIO_CONSOLE_DEVICE_ADD, 8 }, { UINT32_MAX, VIO_CONSOLE_DEVICE_ADD, 8 }, { UINT32_C(1) << 31, VIO_CONSOLE_PORT_NAME, 8 },
		{ 0, VIO_CONSOLE_DEVICE_ADD, 7 }, { 0, VIO_CONSOLE_DEVICE_ADD, 0 }, { 0, 8, 8 }, { 0, 65535, 8 },
	};
	for (unsigned i = 0; i < sizeof lies / sizeof *lies; i++) {
		tell(l, lies[i].id, lies[i].event, 1, lies[i].len);
		for (unsigned p = 0; p < 3; p++)
			assert_false(l->d->port[p].exists);
		assert_int_equal(said(l, 1), UINT32_MAX);
	}
	tell(l, 0, VIO_CONSOLE_DEVICE_ADD, 1, 8);
	tell(l, 0, VIO_CONSOLE_DEVICE_ADD, 1, 8);		/* a second time */
	assert_int_equal(said(l, 2), UINT32_MAX);
	/* a name as long as a buffer, a size of three bytes, more bytes than the buffer has */
	memset(got, 'n', sizeof got);
	memcpy(got, &(struct vio_console_control){ vio_le32_of(0), vio_le16_of(VIO_CONSOLE_PORT_NAME), vio_le16_of(1) }, 8);
	use(l, VIO_CONSOLE_Q_CONTROL_RX, got, VIO_CONSOLE_DRV_BYTES, UINT32_MAX);
	vio_console_work(l->d);
	assert_int_equal(strlen(l->d->port[0].name), VIO_CONSOLE_DRV_NAME - 1);
	tell(l, 0, VIO_CONSOLE_RESIZE, 0, 11);
	assert_int_equal(l->d->port[0].columns, 0);
	/* bytes: used longer than it is, and of length 0 for ever */
	use(l, 0, "abc", 3, UINT32_MAX);
	assert_int_equal(vio_console_read(l->d, 0, got, sizeof got), VIO_CONSOLE_DRV_BYTES);
	for (unsigned i = 0; i < 100; i++) {
		use(l, 0, "", 0, 0);
		assert_int_equal(vio_console_read(l->d, 0, got, sizeof got), 0);
	}
	liar_close(l);
}

/* It never takes what is written to it. */
static void a_deaf_device_is_not_waited_for(void **state)
{
	struct liar *l = liar_new(1);
	static char bytes[10000];

	(void)state;
	assert_true(vio_console_start(l->d, &l->f->port));
	for (unsigned i = 0; i < 30; i++)	/* more to say than there is room for */
		tell(l, 0, i % 2 ? VIO_CONSOLE_DEVICE_REMOVE : VIO_CONSOLE_DEVICE_ADD, 1, 8);
	tell(l, 0, VIO_CONSOLE_DEVICE_ADD, 1, 8);
	assert_int_equal(vio_console_write(l->d, 0, bytes, sizeof bytes), VIO_CONSOLE_DRV_QUEUE * VIO_CONSOLE_DRV_BYTES);
	assert_int_equal(vio_console_write(l->d, 0, bytes, sizeof bytes), 0);
	assert_false(vio_console_drain(l->d, 0));
	use(l, 1, "", 0, 0);
	assert_int_equal(vio_console_write(l->d, 0, bytes, sizeof bytes), VIO_CONSOLE_DRV_BYTES);
	liar_close(l);
}

static void a_start_that_fails(void **state)
{
	(void)state;
	struct liar *l = liar_new(0);
	assert_false(vio_console_start(l->d, &l->f->port));
	assert_string_equal(l->d->drv.failed, "the device has no port at all");
	liar_close(l);
	l = liar_new(2);
	l->f->queue_max = 0;
	assert_false(vio_console_start(l->d, &l->f->port));
	assert_non_null(strstr(l->d->drv.failed, "lacks a queue"));
	liar_close(l);
	l = liar_new(2);
	l->f->restless = true;
	assert_false(vio_console_start(l->d, &l->f->port));
	assert_non_null(strstr(l->d->drv.failed, "never holds still"));
	liar_close(l);
}

static const struct CMUnitTest tests[] = {
	T(everything_in_every_shape, "bytes, names, sizes over every ring, with and without MULTIPORT {console-drv-1 console-drv-2; only us}"),
	T(ports_come_and_go, "ports are plugged, opened, unplugged, and a number is used again"),
	T(too_many_ports_are_declined, "ports beyond the driver's room are declined"),
	T(an_emergency_needs_no_driver, "an emergency character needs no driver, and is not sent where it is not offered"),
	T(the_driver_says_what_it_must,
	    "DEVICE_READY comes first, a console is opened, no buffer is of the wrong kind {console-drv-1 console-drv-2 console-drv-3 "
	    "console-drv-4 console-drv-5; only us}"),
	T(lies_change_nothing, "a device that tells of ports there can't be, or of lengths there can't be, changes nothing"),
	T(a_deaf_device_is_not_waited_for, "a device that takes nothing is not waited for beyond the deadline"),
	T(a_start_that_fails, "a device without ports, or without their queues, is given up in words"),
};

int main(void) { return vio_tests("console-driver", tests, sizeof tests / sizeof *tests); }
