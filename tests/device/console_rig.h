/* The console tests' rig: a device whose ports are one end of streams back to back, the other end in the tests' hands. */
#ifndef VIO_TESTS_DEVICE_CONSOLE_RIG_H
#define VIO_TESTS_DEVICE_CONSOLE_RIG_H
#include <vio/device/console.h>
#include <vio/host/stream.h>
#include "rig.h"

enum { PORTS = 4, ROOM = 64, CONTROL = 256, QUEUES_OF_PORTS = 2 + 2 * PORTS };
#define ALL_CONSOLE VIO_F_VERSION_1, VIO_CONSOLE_F_SIZE, VIO_CONSOLE_F_MULTIPORT, VIO_CONSOLE_F_EMERG_WRITE
#define SIMPLE VIO_F_VERSION_1, VIO_CONSOLE_F_SIZE, VIO_CONSOLE_F_EMERG_WRITE

struct con {
	struct rig *g;
	struct vio_console_port port[PORTS];
	struct vio_console_options o;
	struct vio_stream *here[PORTS];		/* the device's ends */
	struct vio_stream *there[PORTS];	/* what the world holds */
};

/* Ports "zero" (a console), "one" and "two"; room for one more. */
static inline struct con *con_new(size_t room)
{
	static const char *const names[PORTS] = { "zero", "one", "two", "three" };
	struct con *c = calloc(1, sizeof *c);

	assert_non_null(c);
	c->g = rig_new();
	for (unsigned i = 0; i < PORTS; i++) {
		struct vio_stream *s[2];
		assert_true(vio_stream_pair(s, room));
		c->here[i] = s[0];
		c->there[i] = s[1];
		c->port[i] = (struct vio_console_port){ .stream = s[0], .name = names[i], .console = i == 0 };
	}
	c->o = (struct vio_console_options){ .ports = c->port, .count = 3, .max_ports = PORTS };
	return c;
}

static inline void con_start(struct con *c, struct vio_features f)
{
	bool multi = vio_has(f, VIO_CONSOLE_F_MULTIPORT);

	rig_start(c->g, multi ? QUEUES_OF_PORTS : 2, f);
}

static inline void con_open(struct con *c) { assert_null(rig_open(c->g, &vio_dev_console, &c->o)); }

static inline void con_close(struct con *c)
{
	rig_close(c->g);
	for (unsigned i = 0; i < PORTS; i++) {
		vio_stream_close(c->here[i]);
		vio_stream_close(c->there[i]);
	}
	free(c);
}

static inline void con_pump(struct con *c) { vio_loop_pump(&c->g->wire, 1000); }

/* ---- Control messages ---- */

/* A buffer for a message of the device. */
static inline void con_give(struct con *c, unsigned n, size_t bytes)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned char *p = rig_take(c->g, CONTROL);
		memset(p, 0xee, CONTROL);
		assert_true(rig_add(c->g, VIO_CONSOLE_Q_CONTROL_RX, NULL, 0, 0, p, bytes, 0));
	}
	rig_kick(c->g, VIO_CONSOLE_Q_CONTROL_RX);
	con_pump(c);
}

/* What the device says next, in bytes; NULL: nothing. */
static inline unsigned char *con_hear(struct con *c, uint32_t *len)
{
	con_pump(c);
	return rig_get(c->g, VIO_CONSOLE_Q_CONTROL_RX, len);
}

static inline void con_say_bytes(struct con *c, const void *bytes, size_t n)
{
	unsigned char *p = rig_take(c->g, n ? n : 1);

	memcpy(p, bytes, n);
	assert_true(rig_add(c->g, VIO_CONSOLE_Q_CONTROL_TX, p, n, 0, NULL, 0, 0));
	rig_kick(c->g, VIO_CONSOLE_Q_CONTROL_TX);
	con_pump(c);
	assert_ptr_equal(rig_get(c->g, VIO_CONSOLE_Q_CONTROL_TX, NULL), p);
}

static inline void con_say(struct con *c, uint32_t id, uint16_t event, uint16_t value)
{
	const unsigned char m[8] = { (unsigned char)id, (unsigned char)(id >> 8), (unsigned char)(id >> 16), (unsigned char)(id >> 24),
		(unsigned char)event, (unsigned char)(event >> 8), (unsigned char)value, (unsigned char)(value >> 8) };

	con_say_bytes(c, m, 8);
}

/* The device says exactly this next: text gives what follows the eight bytes of the header. */
static inline void con_expect_bytes(struct con *c, uint8_t id, uint8_t event, uint8_t value, const void *more, size_t n)
{
	const unsigned char head[8] = { id, 0, 0, 0, event, 0, value, 0 };
	uint32_t used;
	unsigned char *p = con_hear(c, &used);

	assert_non_null(p);
	assert_memory_equal(p, head, 8);
	assert_int_equal(used, 8 + n);
	assert_memory_equal(p + 8, more, n);
	assert_int_equal(p[8 + n], 0xee);
}

static inline void con_expect(struct con *c, uint8_t id, uint8_t event, uint8_t value)
{
	con_expect_bytes(c, id, event, value, "", 0);
}

static inline void con_expect_silence(struct con *c) { assert_null(con_hear(c, NULL)); }

/* All of the hand-shake, with the driver opening every port. */
static inline void con_shake(struct con *c)
{
	con_give(c, 16, CONTROL);
	con_say(c, 0, VIO_CONSOLE_DEVICE_READY, 1);
	for (uint8_t i = 0; i < 3; i++)
		con_expect(c, i, VIO_CONSOLE_DEVICE_ADD, 1);
	for (uint8_t i = 0; i < 3; i++)
		con_say(c, i, VIO_CONSOLE_PORT_READY, 1);
	while (con_hear(c, NULL))
		;
	for (uint8_t i = 0; i < 3; i++)
		con_say(c, i, VIO_CONSOLE_PORT_OPEN, 1);
	con_give(c, 16, CONTROL);
}

static inline struct con *con_begin(size_t room, struct vio_features f)
{
	struct con *c = con_new(room);

	con_open(c);
	con_start(c, f);
	if (vio_has(f, VIO_CONSOLE_F_MULTIPORT))
		con_shake(c);
	return c;
}

/* ---- Bytes ---- */

static inline uint16_t con_rx(unsigned port) { return (uint16_t)vio_console_queue(port); }
static inline uint16_t con_tx(unsigned port) { return (uint16_t)(vio_console_queue(port) + 1); }

static inline unsigned char *con_send(struct con *c, unsigned port, const void *bytes, size_t n, size_t cut)
{
	unsigned char *p = rig_take(c->g, n);

	memcpy(p, bytes, n);
	assert_true(rig_add(c->g, con_tx(port), p, n, cut, NULL, 0, 0));
	rig_kick(c->g, con_tx(port));
	con_pump(c);
	return p;
}

static inline unsigned char *con_buffer(struct con *c, unsigned port, size_t n, size_t cut)
{
	unsigned char *p = rig_take(c->g, n);

	memset(p, 0xee, n);
	assert_true(rig_add(c->g, con_rx(port), NULL, 0, 0, p, n, cut));
	rig_kick(c->g, con_rx(port));
	con_pump(c);
	return p;
}

/* At the other end of the world: bytes taken, how many. */
static inline long world_reads(struct con *c, unsigned port, void *to, size_t n)
{
	struct vio_seg seg = { to, n };
	struct vio_cur cur = { .seg = &seg, .left = n };
	long got = c->there[port]->ops->read(c->there[port], &cur);

	con_pump(c);
	return got;
}

static inline long world_writes(struct con *c, unsigned port, const void *from, size_t n)
{
	struct vio_seg seg = { (void *)(uintptr_t)from, n };
	struct vio_cur cur = { .seg = &seg, .left = n };
	long sent = c->there[port]->ops->write(c->there[port], &cur);

	con_pump(c);
	return sent;
}

static inline struct vio_console_view con_view(struct con *c, unsigned port)
{
	struct vio_console_view v;

	assert_true(vio_dev_console_view(c->g->dev, port, &v));
	return v;
}
#endif
