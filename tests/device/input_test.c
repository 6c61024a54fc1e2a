/* The input device: what it says of itself, groups of events in, lights and sounds out, and all that may come between. */
#include "input_rig.h"
#include "moves.h"

#define RINGS BITS(VIO_F_VERSION_1), BITS(VIO_F_VERSION_1, VIO_F_EVENT_IDX), BITS(VIO_F_VERSION_1, VIO_F_IN_ORDER, VIO_F_EVENT_IDX), \
	BITS(VIO_F_VERSION_1, VIO_F_RING_PACKED), BITS(VIO_F_VERSION_1, VIO_F_RING_PACKED, VIO_F_EVENT_IDX, VIO_F_IN_ORDER)
#define PLAIN BITS(VIO_F_VERSION_1)

static const struct vio_event two_moves[] = { { EV_REL, REL_X, 5 }, { EV_REL, REL_Y, -7 }, { EV_KEY, BTN_LEFT, 1 } };

/* ---- Config space ---- */

static void it_says_what_it_is(void **state)
{
	struct inp *in = inp_start("touch", PLAIN);
	struct vio_input_config c = inp_ask(in, VIO_INPUT_CFG_ID_NAME, 0);

	(void)state;
	assert_int_equal(c.size, strlen("vio touch screen"));
	assert_memory_equal(c.u.string, "vio touch screen", c.size + 1);	/* zeroes behind it */
	c = inp_ask(in, VIO_INPUT_CFG_ID_DEVIDS, 0);
	assert_int_equal(c.size, 8);
	assert_int_equal(vio_le16_get(c.u.ids.bustype), 6);
	assert_int_equal(vio_le16_get(c.u.ids.product), 4);
	c = inp_ask(in, VIO_INPUT_CFG_PROP_BITS, 0);
	assert_int_equal(c.size, 1);
	assert_int_equal(c.u.bitmap[0], 2);		/* INPUT_PROP_DIRECT */
	c = inp_ask(in, VIO_INPUT_CFG_EV_BITS, EV_KEY);
	assert_int_equal(c.size, BTN_TOUCH / 8 + 1);
	for (unsigned i = 0; i < c.size; i++)
		assert_int_equal(c.u.bitmap[i], i == BTN_TOUCH / 8 ? 1 << BTN_TOUCH % 8 : 0);
	c = inp_ask(in, VIO_INPUT_CFG_ABS_INFO, ABS_MT_POSITION_X);
	assert_int_equal(c.size, 20);
	assert_int_equal(vio_le32_get(c.u.abs.min), 0);
	assert_int_equal(vio_le32_get(c.u.abs.max), 32767);
	inp_close(in);
	in = inp_start("gamepad", PLAIN);
	c = inp_ask(in, VIO_INPUT_CFG_ABS_INFO, ABS_X);
	assert_int_equal((int32_t)vio_le32_get(c.u.abs.min), -32768);
	assert_int_equal(vio_le32_get(c.u.abs.fuzz), 16);
	assert_int_equal(vio_le32_get(c.u.abs.flat), 128);
	inp_close(in);
}

/* 5.8.5.2 over every question there can be. */
static void absent_is_size_0(void **state)
{
	struct inp *in = inp_start("keyboard", PLAIN);
	unsigned answered = 0;

	(void)state;
	for (unsigned select = 0; select < 256; select++)
		for (unsigned subsel = 0; subsel < 256; subsel++) {
			struct vio_input_config c = inp_ask(in, (uint8_t)select, (uint8_t)subsel);
			bool there = (select == VIO_INPUT_CFG_ID_NAME || select == VIO_INPUT_CFG_ID_DEVIDS) ? subsel == 0 :
			    select == VIO_INPUT_CFG_EV_BITS && (subsel == EV_KEY || subsel == EV_LED || subsel == EV_SND || subsel == EV_REP);
			if (!there != (c.size == 0))
				fail_msg("select %u subsel %u has size %u", select, subsel, c.size);
			for (unsigned i = c.size; i < sizeof c.u; i++)
				assert_int_equal(c.u.bitmap[i], 0);	/* nothing of the answer before */
			answered += there;
		}
	assert_int_equal(answered, 6);
	inp_close(in);
}

static void only_questions_are_written(void **state)
{
	struct inp *in = inp_start("mouse", PLAIN);
	uint8_t bytes[sizeof(struct vio_input_config)] = { VIO_INPUT_CFG_ID_NAME };
	struct vio_input_config c, before = inp_ask(in, VIO_INPUT_CFG_ID_DEVIDS, 0);

	(void)state;
	for (uint32_t at = 2; at < sizeof bytes; at++)
		inp_write(in, at, bytes, 1);
	vio_dev_config_read(in->g->dev, 0, &c, sizeof c);
	assert_memory_equal(&c, &before, sizeof c);
	assert_false(vio_dev_config_write(in->g->dev, 0, bytes, 3));
	assert_false(vio_dev_config_write(in->g->dev, 0, bytes, sizeof bytes));
	assert_true(vio_dev_config_write(in->g->dev, 0, bytes, 2));		/* both at once */
	vio_dev_config_read(in->g->dev, 0, &c, sizeof c);
	assert_int_equal(c.size, strlen("vio mouse"));
	rig_reset(in->g);
	vio_dev_config_read(in->g->dev, 0, &c, sizeof c);
	assert_int_equal(c.select + c.subsel + c.size, 0);
	inp_close(in);
}

/* ---- Groups ---- */

static void groups_arrive_whole(void **state)
{
	const struct vio_features rings[] = { RINGS };

	(void)state;
	for (unsigned r = 0; r < sizeof rings / sizeof *rings; r++)
		for (uint32_t clip = 0; clip < 2; clip++) {
			struct inp *in = inp_new("mouse");
			in->g->mem.clip = clip * 3;		/* an event in three pieces */
			inp_open(in);
			rig_start(in->g, VIO_INPUT_QUEUES, rings[r]);
			for (unsigned round = 0; round < 200; round++) {	/* several times round the ring */
				inp_happen(in, two_moves, 3);
				for (unsigned n = 0; n < 4; n++) {
					assert_true(vio_dev_input_told(in->g->dev)->starved);
					inp_expect_none(in);
					inp_give(in, 1);
				}
				assert_int_equal(in->g->dev->queue[EVENTS].ring.inflight, 0);
				for (unsigned n = 0; n < 3; n++)
					inp_expect(in, two_moves[n].type, two_moves[n].code, two_moves[n].value);
				inp_expect(in, EV_SYN, SYN_REPORT, 0);
				rig_rewind(in->g);
				if (round % 10 == 3) {	/* more buffers than a group needs */
					inp_give(in, 9);
					inp_happen(in, two_moves, 3);
					inp_happen(in, two_moves + 2, 1);
					for (unsigned n = 0; n < 6; n++)
						assert_true(inp_got(in, &(struct vio_event){ 0 }));
					inp_expect_none(in);
					inp_key(in, BTN_RIGHT, 1);	/* needs two, and there are three */
					inp_expect_key(in, BTN_RIGHT, 1);
					inp_happen(in, two_moves, 3);
					inp_give(in, 3);
					for (unsigned n = 0; n < 4; n++)
						assert_true(inp_got(in, &(struct vio_event){ 0 }));
				}
			}
			assert_int_equal(rig_refused(in->g, EVENTS), 0);
			inp_close(in);
		}
}

static void a_group_is_one_signal(void **state)
{
	struct inp *in = inp_start("mouse", PLAIN);
	struct vio_event many[40];

	(void)state;
	inp_give(in, 60);
	for (unsigned i = 0; i < 40; i++)
		many[i] = (struct vio_event){ EV_REL, i & 1 ? REL_X : REL_Y, (int32_t)i };
	uint64_t before = in->g->wire.used;
	inp_happen(in, many, 40);
	assert_int_equal(in->g->wire.used, before + 1);
	for (unsigned i = 0; i < 41; i++)
		assert_true(inp_got(in, &(struct vio_event){ 0 }));
	inp_close(in);
}

/* A guest that has no buffers costs nothing: the device sleeps until it has some, however much waits. */
static void a_starved_queue_sleeps(void **state)
{
	const struct vio_features rings[] = { RINGS };

	(void)state;
	for (unsigned r = 0; r < sizeof rings / sizeof *rings; r++) {
		struct inp *in = inp_new_room("keyboard", 100);
		inp_open(in);
		rig_start(in->g, VIO_INPUT_QUEUES, rings[r]);
		inp_give(in, 1);
		const char *why = NULL;
		for (unsigned i = 0; i < 50; i++) {
			assert_null(why);
			why = vio_events_synthetic_put(in->world, &(struct vio_event){ EV_KEY, KEY_A, !(i & 1) }, 1);
			vio_loop_pump(&in->g->wire, 1);		/* the turn that the key asks for */
			assert_false(vio_dev_queue_turn(in->g->dev, EVENTS));	/* and nothing more to do */
		}
		assert_null(why);
		assert_non_null(vio_events_synthetic_put(in->world, &(struct vio_event){ EV_KEY, KEY_A, 1 }, 1));	/* not lost silently */
		inp_expect_none(in);
		inp_give(in, 50);
		for (unsigned i = 0; i < 25; i++)
			inp_expect_key(in, KEY_A, !(i & 1));
		inp_expect_none(in);
		inp_give(in, 49);
		for (unsigned i = 25; i < 50; i++)
			inp_expect_key(in, KEY_A, !(i & 1));
		inp_close(in);
	}
}

static void a_group_longer_than_the_queue(void **state)
{
	struct inp *in = inp_new("mouse");
	struct vio_event many[200];

	(void)state;
	in->g->size = 16;
	inp_open(in);
	rig_start(in->g, VIO_INPUT_QUEUES, PLAIN);
	for (unsigned i = 0; i < 200; i++)
		many[i] = (struct vio_event){ EV_REL, REL_X, (int32_t)i };
	inp_happen(in, many, 200);
	inp_give(in, 15);
	inp_expect_none(in);
	inp_give(in, 1);
	for (unsigned i = 0; i < 200; i++) {
		inp_expect(in, EV_REL, REL_X, (int32_t)i);
		inp_give(in, 1);
	}
	inp_expect(in, EV_SYN, SYN_REPORT, 0);
	inp_expect_none(in);
	inp_close(in);
}

/* ---- Stops, with buffers held ---- */

static void a_stop_gives_buffers_back(void **state)
{
	const struct vio_features rings[] = { RINGS };

	(void)state;
	for (unsigned r = 0; r < sizeof rings / sizeof *rings; r++) {
		struct inp *in = inp_start("mouse", vio_features_or(rings[r], BITS(VIO_F_SUSPEND)));
		inp_give(in, 5);
		inp_key(in, BTN_LEFT, 1);
		inp_expect_key(in, BTN_LEFT, 1);
		inp_happen(in, two_moves, 3);		/* needs four, three are there, and held */
		assert_int_equal(in->g->dev->queue[EVENTS].ring.inflight, 3);
		assert_true(vio_drv_suspend(&in->g->drv));
		assert_int_equal(in->g->dev->queue[EVENTS].state, VIO_QUEUE_STOPPED);
		inp_expect_none(in);
		assert_true(vio_drv_resume(&in->g->drv));
		inp_pump(in);
		inp_expect_none(in);
		inp_give(in, 1);
		for (unsigned n = 0; n < 4; n++)
			assert_true(inp_got(in, &(struct vio_event){ 0 }));
		inp_close(in);
	}
}

static void a_reset_forgets(void **state)
{
	struct inp *in = inp_start("mouse", PLAIN);

	(void)state;
	inp_give(in, 3);
	inp_key(in, BTN_LEFT, 1);
	inp_expect_key(in, BTN_LEFT, 1);
	inp_happen(in, two_moves, 3);
	assert_true(vio_events_is_down(vio_events_synthetic_state(in->world), BTN_LEFT));
	rig_reset(in->g);
	assert_false(vio_events_is_down(vio_events_synthetic_state(in->world), BTN_LEFT));
	assert_non_null(strstr(vio_events_synthetic_put(in->world, two_moves, 3), "no driver listens"));
	rig_start(in->g, VIO_INPUT_QUEUES, PLAIN);
	inp_give(in, 8);
	inp_expect_none(in);
	inp_key(in, BTN_RIGHT, 1);
	inp_expect_key(in, BTN_RIGHT, 1);
	inp_close(in);
}

/* Memory that is taken away is not waited for until somebody presses a key. */
static void held_buffers_let_memory_go(void **state)
{
	struct inp *in = inp_start("mouse", PLAIN);
	struct vio_mem other = in->g->mem;
	struct vio_region gone = in->g->region;

	(void)state;
	inp_give(in, 3);
	inp_happen(in, two_moves, 3);
	assert_int_equal(in->g->dev->queue[EVENTS].ring.inflight, 3);
	other.refs = 1;
	gone.size = RIG_BYTES;
	assert_int_equal(vio_dev_queue_set_mem(in->g->dev, EVENTS, &other, &gone), 3);
	inp_pump(in);
	assert_int_equal(in->g->dev->queue[EVENTS].ring.pins, 0);
	inp_give(in, 1);
	for (unsigned n = 0; n < 4; n++)
		assert_true(inp_got(in, &(struct vio_event){ 0 }));
	inp_close(in);
}

/* ---- What is down is released ---- */

static void unplugged_keys_are_released(void **state)
{
	struct inp *in = inp_start("touch", PLAIN);
	const struct vio_event fingers[] = { { EV_ABS, ABS_MT_SLOT, 3 }, { EV_ABS, ABS_MT_TRACKING_ID, 77 }, { EV_ABS, ABS_MT_POSITION_X, 9 },
		{ EV_KEY, BTN_TOUCH, 1 } };

	(void)state;
	inp_give(in, 20);
	inp_happen(in, fingers, 4);
	for (unsigned n = 0; n < 5; n++)
		assert_true(inp_got(in, &(struct vio_event){ 0 }));
	vio_events_synthetic_unplug(in->world);
	inp_pump(in);
	inp_expect(in, EV_ABS, ABS_MT_SLOT, 3);
	inp_expect(in, EV_ABS, ABS_MT_TRACKING_ID, -1);
	inp_expect(in, EV_KEY, BTN_TOUCH, 0);
	inp_expect(in, EV_SYN, SYN_REPORT, 0);
	inp_expect_none(in);
	assert_non_null(strstr(vio_events_synthetic_put(in->world, fingers, 4), "unplugged"));
	inp_close(in);
}

/* A thousand keys are more than a group. */
static void many_keys_are_released(void **state)
{
	struct inp *in = inp_new("keyboard");
	struct vio_events_about about;
	unsigned down = 0, groups = 0;
	struct vio_event e;

	(void)state;
	vio_events_close(in->events);
	vio_events_kind("keyboard", 0, &about);
	memset(about.codes[EV_KEY], 0xff, sizeof about.codes[EV_KEY]);
	in->events = in->world = vio_events_synthetic(&(struct vio_synthetic_options){ .about = &about });
	inp_open(in);
	rig_start(in->g, VIO_INPUT_QUEUES, PLAIN);
	for (uint16_t i = 1; i < VIO_KEY_COUNT; i++) {
		inp_give(in, 2);
		inp_key(in, i, 1);
		inp_expect_key(in, i, 1);
		rig_rewind(in->g);
	}
	vio_events_synthetic_unplug(in->world);
	while (groups < 2) {
		inp_give(in, 1);
		while (inp_got(in, &e)) {
			down += e.type == EV_KEY && e.value == 0;
			groups += e.type == EV_SYN;
		}
	}
	inp_expect_none(in);
	assert_int_equal(down, VIO_KEY_COUNT - 1);
	inp_close(in);
}

static void a_device_that_moves_house(void **state)
{
	struct inp *a = inp_start("keyboard", BITS(VIO_F_VERSION_1, VIO_F_SUSPEND)), *b;
	unsigned char saved[4096];

	(void)state;
	inp_give(a, 2);
	inp_key(a, KEY_LEFTSHIFT, 1);
	inp_expect_key(a, KEY_LEFTSHIFT, 1);
	inp_ask(a, VIO_INPUT_CFG_EV_BITS, EV_LED);
	assert_true(vio_drv_suspend(&a->g->drv));
	size_t n = vio_dev_save(a->g->dev, saved, sizeof saved);
	assert_in_range(n, 1, sizeof saved);
	b = inp_new("keyboard");
	inp_open(b);
	memcpy(b->g->bytes, a->g->bytes, RIG_BYTES);	/* the guest moves as well */
	assert_null(vio_dev_load(b->g->dev, saved, n));
	struct vio_input_config c;
	vio_dev_config_read(b->g->dev, 0, &c, sizeof c);
	assert_int_equal(c.select, VIO_INPUT_CFG_EV_BITS);
	assert_int_equal(c.size, 1);
	assert_true(vio_events_is_down(&vio_dev_input_told(b->g->dev)->down, KEY_LEFTSHIFT));
	assert_non_null(vio_dev_load(b->g->dev, saved, n - 1));
	inp_close(b);
	assert_null(vio_dev_load(a->g->dev, saved, n));	/* nor there, after it came back */
	assert_true(vio_drv_resume(&a->g->drv));
	inp_give(a, 4);
	inp_expect_key(a, KEY_LEFTSHIFT, 0);
	inp_key(a, KEY_B, 1);
	inp_expect_key(a, KEY_B, 1);
	inp_close(a);
}

/* ---- The guest says something ---- */

static void lights_and_sounds_come_back(void **state)
{
	struct inp *in = inp_start("keyboard", PLAIN);
	const struct vio_event all[] = { { EV_LED, LED_CAPSL, 1 }, { EV_LED, LED_NUML, 1 }, { EV_LED, LED_CAPSL, 0 }, { EV_SND, SND_TONE, 440 },
		{ EV_REP, REP_DELAY, 300 }, { EV_REP, REP_PERIOD, 40 } };

	(void)state;
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		inp_say(in, all[i].type, all[i].code, all[i].value);
	inp_say(in, EV_SYN, SYN_REPORT, 0);		/* of no consequence */
	assert_int_equal(in->said_count, sizeof all / sizeof *all);
	assert_memory_equal(in->said, all, sizeof all);
	inp_say_sized(in, EV_LED, LED_SCROLLL, 1, 64);	/* at least an event's size: more may be */
	assert_int_equal(in->said_count, 7);
	assert_int_equal(rig_refused(in->g, STATUS), 0);
	assert_int_equal(vio_dev_input_told(in->g->dev)->status, 7);
	inp_close(in);
	in = inp_start("gamepad", PLAIN);
	inp_say(in, EV_FF, 0, 1);			/* an effect, to be played */
	inp_say(in, EV_FF, VIO_FF_GAIN, 0x8000);
	assert_int_equal(in->said_count, 2);
	assert_event(in->said[0], EV_FF, 0, 1);
	assert_event(in->said[1], EV_FF, VIO_FF_GAIN, 0x8000);
	inp_close(in);
}

static void what_nobody_hears_is_counted(void **state)
{
	struct inp *in = inp_new("keyboard");

	(void)state;
	in->events = vio_events_faulty(in->world, &(struct vio_events_faults){ .deaf_every = 2, .late_every = 2 });
	inp_open(in);
	rig_start(in->g, VIO_INPUT_QUEUES, PLAIN);
	for (unsigned i = 0; i < 4; i++)
		inp_say(in, EV_LED, LED_CAPSL, i & 1);
	assert_int_equal(vio_dev_input_told(in->g->dev)->status, 2);
	assert_int_equal(vio_dev_input_told(in->g->dev)->status_lost, 2);
	inp_give(in, 10);			/* one peek */
	inp_key(in, KEY_A, 1);			/* the second one is late */
	inp_expect_none(in);
	vio_events_faulty_release(in->events);
	inp_pump(in);
	inp_expect_key(in, KEY_A, 1);
	inp_close(in);
}

/* ---- The operator ---- */

static void a_limit_does_not_delay_keys(void **state)
{
	struct inp *in = inp_start("keyboard", PLAIN);

	(void)state;
	vio_dev_set_rate(in->g->dev, VIO_RATE_OPS, 1, 1);
	inp_give(in, 40);
	for (unsigned i = 0; i < 20; i++) {
		inp_key(in, KEY_A, !(i & 1));
		inp_expect_key(in, KEY_A, !(i & 1));
	}
	vio_dev_hold(in->g->dev, true);
	inp_give(in, 2);
	inp_key(in, KEY_A, 1);
	inp_expect_none(in);
	vio_dev_hold(in->g->dev, false);
	vio_dev_queue_turn(in->g->dev, EVENTS);
	inp_expect_key(in, KEY_A, 1);
	inp_close(in);
}

/* What was held is let go at the other end. */
static void moves_mid_traffic(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1), BITS(VIO_F_VERSION_1, VIO_F_RING_PACKED),
		BITS(VIO_F_VERSION_1, VIO_F_EVENT_IDX) };

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		struct inp *a = inp_start("keyboard", rings[k]);
		inp_give(a, 3);
		inp_key(a, KEY_A, 1);
		inp_expect_key(a, KEY_A, 1);
		moves_on(a->g);
		inp_give(a, 8);
		inp_expect_key(a, KEY_A, 0);
		inp_key(a, KEY_B, 1);
		inp_expect_key(a, KEY_B, 1);
		assert_true(moves_freeze(a->g));
		assert_in_range(moves_refuses(a->g), 1, UINT32_MAX);
		inp_close(a);
	}
}

static const struct CMUnitTest tests[] = {
	T(it_says_what_it_is, "names, ids, properties, codes and axes are told"),
	T(absent_is_size_0, "of all 65536 questions those that make no sense are answered by size 0 {input-dev-1; only us}"),
	T(only_questions_are_written, "a driver writes select and subsel and nothing else; a reset clears them"),
	T(groups_arrive_whole, "a group waits for buffers for all of it, in every ring and cut memory {input-dev-2 input-dev-3 input-dev-4; only us}"),
	T(a_group_is_one_signal, "a group is published at once, with one signal"),
	T(a_starved_queue_sleeps, "a queue without buffers is not looked at again and again, and loses nothing {input-dev-3 input-dev-4; only us}"),
	T(a_group_longer_than_the_queue, "a group longer than the queue goes in pieces, complete"),
	T(a_stop_gives_buffers_back, "buffers that are held for half a group go back when the queue stops"),
	T(a_reset_forgets, "a reset drops what waits and releases what is down"),
	T(held_buffers_let_memory_go, "memory is let go though buffers in it are held"),
	T(unplugged_keys_are_released, "keys and touches of a device that is unplugged are released"),
	T(many_keys_are_released, "more keys than a group holds are released in two"),
	T(a_device_that_moves_house, "a device that was loaded elsewhere releases what was down"),
	T(moves_mid_traffic, "moved mid-traffic: nothing is lost, and what was held is let go"),
	T(lights_and_sounds_come_back, "lights, sounds, repeat rates and feedback come back"),
	T(what_nobody_hears_is_counted, "what the other end does not take is counted; what is late arrives"),
	T(a_limit_does_not_delay_keys, "a limit does not make keys late, and holding the device does"),
};

int main(void) { return vio_tests("input", tests, sizeof tests / sizeof *tests); }
