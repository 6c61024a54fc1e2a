/* An input device whose keys the test presses, and a driver of raw buffers. */
#ifndef VIO_TESTS_DEVICE_INPUT_RIG_H
#define VIO_TESTS_DEVICE_INPUT_RIG_H
#include <linux/input-event-codes.h>
#include <vio/device/input.h>
#include <vio/host/events.h>
#include "rig.h"

enum { EVENTS = VIO_INPUT_Q_EVENTS, STATUS = VIO_INPUT_Q_STATUS, SAID = 64 };

struct inp {
	struct rig *g;
	struct vio_events *world, *events;	/* where the test presses, what the device has: often the same */
	struct vio_event said[SAID];		/* by the guest */
	unsigned said_count;
};

static inline void inp_said(void *arg, const struct vio_event *e)
{
	struct inp *in = arg;

	assert_true(in->said_count < SAID);
	in->said[in->said_count++] = *e;
}

/* All that can be done to a driver's peace: everything is announced, unless a kind is named. */
static inline struct inp *inp_new_room(const char *kind, unsigned room)
{
	struct inp *in = calloc(1, sizeof *in);
	struct vio_events_about about;

	assert_non_null(in);
	in->g = rig_new();
	assert_true(vio_events_kind(kind, 10, &about));
	in->events = in->world = vio_events_synthetic(&(struct vio_synthetic_options){ .about = &about, .room = room,
	    .said = inp_said, .arg = in });
	assert_non_null(in->events);
	return in;
}

static inline struct inp *inp_new(const char *kind) { return inp_new_room(kind, 0); }

static inline void inp_open(struct inp *in)
{
	assert_null(rig_open(in->g, &vio_dev_input, &(struct vio_input_options){ .events = in->events }));
}

static inline struct inp *inp_start(const char *kind, struct vio_features f)
{
	struct inp *in = inp_new(kind);

	inp_open(in);
	rig_start(in->g, VIO_INPUT_QUEUES, f);
	return in;
}

static inline void inp_close(struct inp *in)
{
	rig_close(in->g);
	vio_events_close(in->events);
	free(in);
}

static inline void inp_pump(struct inp *in) { vio_loop_pump(&in->g->wire, UINT32_MAX); }

/* Buffers of n bytes into the event queue. */
static inline void inp_give_sized(struct inp *in, unsigned count, size_t n)
{
	while (count--) {
		unsigned char *p = rig_take(in->g, n);
		memset(p, 0xee, n);
		assert_true(rig_add(in->g, EVENTS, NULL, 0, 0, p, n, 0));
	}
	rig_kick(in->g, EVENTS);
	inp_pump(in);
}

static inline void inp_give(struct inp *in, unsigned count) { inp_give_sized(in, count, sizeof(struct vio_input_event)); }

/* Events happen; the last one is followed by SYN_REPORT. */
static inline void inp_happen(struct inp *in, const struct vio_event *e, unsigned n)
{
	assert_null(vio_events_synthetic_put(in->world, e, n));
	inp_pump(in);
}

static inline void inp_key(struct inp *in, uint16_t code, int32_t value)
{
	inp_happen(in, &(struct vio_event){ EV_KEY, code, value }, 1);
}

/* The next event that the driver has got; false: none. */
static inline bool inp_got(struct inp *in, struct vio_event *e)
{
	struct vio_input_event wire;
	uint32_t used;
	void *p = rig_get(in->g, EVENTS, &used);

	if (!p)
		return false;
	assert_int_equal(used, sizeof wire);
	memcpy(&wire, p, sizeof wire);
	*e = (struct vio_event){ vio_le16_get(wire.type), vio_le16_get(wire.code), (int32_t)vio_le32_get(wire.value) };
	return true;
}

#define assert_event(e, t, c, v) do { \
		assert_int_equal((e).type, t); \
		assert_int_equal((e).code, c); \
		assert_int_equal((e).value, v); \
	} while (0)

static inline void inp_expect(struct inp *in, uint16_t type, uint16_t code, int32_t value)
{
	struct vio_event e;

	assert_true(inp_got(in, &e));
	assert_event(e, type, code, value);
}

static inline void inp_expect_none(struct inp *in)
{
	struct vio_event e;

	assert_false(inp_got(in, &e));
}

/* A group of one key. */
static inline void inp_expect_key(struct inp *in, uint16_t code, int32_t value)
{
	inp_expect(in, EV_KEY, code, value);
	inp_expect(in, EV_SYN, SYN_REPORT, 0);
}

/* The guest says something, in a buffer of n bytes. */
static inline void inp_say_sized(struct inp *in, uint16_t type, uint16_t code, int32_t value, size_t n)
{
	struct vio_input_event wire = { vio_le16_of(type), vio_le16_of(code), vio_le32_of((uint32_t)value) };
	unsigned char *p = rig_take(in->g, n + sizeof wire);
	uint32_t used;

	memset(p, 0, n);
	memcpy(p, &wire, n < sizeof wire ? n : sizeof wire);
	assert_true(rig_add(in->g, STATUS, p, n, 0, NULL, 0, 0));
	rig_kick(in->g, STATUS);
	inp_pump(in);
	assert_ptr_equal(rig_get(in->g, STATUS, &used), p);
	assert_int_equal(used, 0);
}

static inline void inp_say(struct inp *in, uint16_t type, uint16_t code, int32_t value)
{
	inp_say_sized(in, type, code, value, sizeof(struct vio_input_event));
}

static inline bool inp_write(struct inp *in, uint32_t at, const void *from, uint32_t n)
{
	return in->g->wire.port.ops->config_write(&in->g->wire.port, at, from, n);
}

/* What the config space answers. */
static inline struct vio_input_config inp_ask(struct inp *in, uint8_t select, uint8_t subsel)
{
	struct vio_input_config c;

	assert_true(inp_write(in, 0, &select, 1) && inp_write(in, 1, &subsel, 1));
	vio_dev_config_read(in->g->dev, 0, &c, sizeof c);
	assert_int_equal(c.select, select);
	assert_int_equal(c.subsel, subsel);
	return c;
}
#endif
