/* What a driver should not do to an input device (class D7): answered, counted, and nothing breaks but what must. */
#include "input_rig.h"

/* ---- The status queue: each row is one chain of readable bytes cut as told ---- */

struct bad {
	const char *what;
	uint16_t type, code;
	size_t bytes, cut, writable;
	unsigned heard;
	bool fine;
};

static const struct bad bad[] = {
	{ "a light that there is", EV_LED, LED_CAPSL, 8, 0, 0, 1, true },
	{ "the same in eight pieces", EV_LED, LED_CAPSL, 8, 1, 0, 1, true },
	{ "the same with writable bytes behind it", EV_LED, LED_CAPSL, 8, 0, 64, 1, true },
	{ "the same in a large buffer", EV_LED, LED_CAPSL, 4096, 0, 0, 1, true },
	{ "the end of an update", EV_SYN, SYN_REPORT, 8, 0, 0, 0, true },
	{ "no byte at all", EV_LED, LED_CAPSL, 0, 0, 8, 0 },
	{ "one byte", EV_LED, LED_CAPSL, 1, 0, 0, 0 },
	{ "seven bytes", EV_LED, LED_CAPSL, 7, 0, 0, 0 },
	{ "a light that there is not", EV_LED, LED_MAIL, 8, 0, 0, 0 },
	{ "a light beyond all lights", EV_LED, 16, 8, 0, 0, 0 },
	{ "the last code there could be", EV_LED, UINT16_MAX, 8, 0, 0, 0 },
	{ "a sound that there is not", EV_SND, 7, 8, 0, 0, 0 },
	{ "feedback where there is none", EV_FF, 0, 8, 0, 0, 0 },
	{ "a gain where there is none", EV_FF, VIO_FF_GAIN, 8, 0, 0, 0 },
	{ "a third kind of repeat rate", EV_REP, 2, 8, 0, 0, 0 },
	{ "a key, pressed by the guest", EV_KEY, KEY_A, 8, 0, 0, 0 },
	{ "a movement, by the guest", EV_REL, REL_X, 8, 0, 0, 0 },
	{ "an axis, by the guest", EV_ABS, ABS_X, 8, 0, 0, 0 },
	{ "a switch, by the guest", EV_SW, 0, 8, 0, 0, 0 },
	{ "an update that was dropped", EV_SYN, SYN_DROPPED, 8, 0, 0, 0 },
	{ "power", 0x16, 0, 8, 0, 0, 0 },
	{ "the last type there is", 0x1f, 0, 8, 0, 0, 0 },
	{ "the first that there is not", 0x20, 0, 8, 0, 0, 0 },
	{ "the last there could be", UINT16_MAX, UINT16_MAX, 8, 0, 0, 0 },
};

static void say_row(struct inp *in, const struct bad *row)
{
	struct vio_input_event wire = { vio_le16_of(row->type), vio_le16_of(row->code), vio_le32_of(1) };
	unsigned char *r = rig_take(in->g, row->bytes + 8), *w = rig_take(in->g, row->writable + 1);
	uint64_t refused = rig_refused(in->g, STATUS);
	uint32_t used = 1;

	memset(r, 0, row->bytes);
	memcpy(r, &wire, row->bytes < 8 ? row->bytes : 8);
	memset(w, 0xee, row->writable);
	in->said_count = 0;
	assert_true(rig_add(in->g, STATUS, row->bytes ? r : NULL, row->bytes, row->cut, row->writable ? w : NULL, row->writable, 0));
	rig_kick(in->g, STATUS);
	inp_pump(in);
	if (!rig_get(in->g, STATUS, &used) || used)
		fail_msg("%s: not answered, or with %u bytes", row->what, used);
	if (in->said_count != row->heard)
		fail_msg("%s: heard %u times", row->what, in->said_count);
	if (rig_refused(in->g, STATUS) != refused + !row->fine)
		fail_msg("%s: counted wrongly", row->what);
	for (size_t i = 0; i < row->writable; i++)
		assert_int_equal(w[i], 0xee);
	if (in->g->wire.broken)
		fail_msg("%s: broke the queue: %s", row->what, in->g->wire.broken);
}

static void each_row_is_answered(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1, VIO_F_INDIRECT_DESC), BITS(VIO_F_VERSION_1, VIO_F_RING_PACKED, VIO_F_IN_ORDER) };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct inp *in = inp_start("keyboard", rings[k]);
		for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
			say_row(in, &bad[i]);
			inp_give(in, 2);			/* the neighbour is served */
			inp_key(in, KEY_A, (int32_t)(i & 1));
			inp_expect_key(in, KEY_A, (int32_t)(i & 1));
			rig_reset(in->g);			/* and a reset heals */
			rig_start(in->g, VIO_INPUT_QUEUES, rings[k]);
			say_row(in, &bad[0]);
			assert_true(vio_events_synthetic_lights(in->world) != 0);
		}
		inp_close(in);
	}
}

/* ---- The event queue ---- */

static bool got_or_empty(struct inp *in) { uint32_t used; return rig_get(in->g, EVENTS, &used); }

/* Buffers that no event fits into come back empty; those that one fits into are filled in their order. */
static void small_buffers_come_back(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1), BITS(VIO_F_VERSION_1, VIO_F_IN_ORDER),
		BITS(VIO_F_VERSION_1, VIO_F_RING_PACKED), BITS(VIO_F_VERSION_1, VIO_F_RING_PACKED, VIO_F_IN_ORDER) };
	static const uint8_t sizes[] = { 1, 7, 8, 3, 9, 7, 8, 200, 4, 5 };	/* fit: 8, 9, 8, 200 */

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		struct inp *in = inp_start("mouse", rings[k]);
		unsigned empty = 0, full = 0;
		inp_happen(in, (const struct vio_event[]){ { EV_REL, REL_X, 1 }, { EV_REL, REL_Y, 2 }, { EV_REL, REL_WHEEL, 3 } }, 3);
		for (unsigned i = 0; i < sizeof sizes; i++)
			inp_give_sized(in, 1, sizes[i]);
		for (uint32_t used; ;) {
			unsigned char *p = rig_get(in->g, EVENTS, &used);
			if (!p)
				break;
			assert_true(used == 0 || used == 8);
			empty += used == 0;
			full += used == 8;
			if (used == 0)
				assert_int_equal(*p, 0xee);
		}
		assert_int_equal(full, 4);
		assert_int_equal(empty, 4);		/* the two behind are not looked at until they are needed */
		assert_int_equal(rig_refused(in->g, EVENTS), 4);
		inp_give(in, 2);
		inp_happen(in, (const struct vio_event[]){ { EV_REL, REL_X, 1 } }, 1);
		for (unsigned i = 0; i < 4; i++)
			assert_true(got_or_empty(in));
		assert_false(got_or_empty(in));
		inp_close(in);
	}
}


/* Held for half a group, with small ones between: a stop gives all of them back, in their order. */
static void a_stop_between_small_ones(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1, VIO_F_SUSPEND), BITS(VIO_F_VERSION_1, VIO_F_SUSPEND, VIO_F_IN_ORDER),
		BITS(VIO_F_VERSION_1, VIO_F_SUSPEND, VIO_F_RING_PACKED) };

	(void)state;
	for (unsigned k = 0; k < 3; k++) {
		struct inp *in = inp_start("mouse", rings[k]);
		inp_happen(in, (const struct vio_event[]){ { EV_REL, REL_X, 1 }, { EV_REL, REL_Y, 2 } }, 2);
		inp_give_sized(in, 1, 8);
		inp_give_sized(in, 1, 4);
		inp_give_sized(in, 1, 8);
		assert_int_equal(in->g->dev->queue[EVENTS].ring.inflight, 3);
		assert_true(vio_drv_suspend(&in->g->drv));
		assert_false(got_or_empty(in));
		assert_true(vio_drv_resume(&in->g->drv));
		inp_give(in, 1);
		for (unsigned i = 0; i < 4; i++)
			assert_true(got_or_empty(in));
		assert_false(got_or_empty(in));
		inp_close(in);
	}
}

/* Nothing but small buffers behind one that is good: more of them than are held is the driver's own fault. */
static void a_flood_of_small_buffers(void **state)
{
	struct inp *in = inp_new("mouse");
	struct vio_input_options o = { .events = in->events, .queue_size = 4096 };
	struct vio_drvq_slot *slots = calloc(4096, sizeof *slots);
	struct vio_drvq q;

	(void)state;
	assert_null(rig_open(in->g, &vio_dev_input, &o));
	in->g->used = 0;
	assert_true(vio_drv_begin(&in->g->drv, &in->g->wire.port, VIO_ID_INPUT, BITS(VIO_F_VERSION_1), NULL));
	void *ring = rig_take(in->g, VIO_DRVQ_RING_BYTES(4096));
	vio_drvq_init(&q, &(struct vio_drvq_setup){ .size = 4096, .features = in->g->drv.features, .ring = ring,
	    .ring_addr = rig_address(in->g, ring), .slots = slots });
	assert_true(vio_drv_queue(&in->g->drv, EVENTS, &q));
	rig_start_queue(in->g, STATUS);
	assert_true(vio_drv_ready(&in->g->drv));
	unsigned char *p = rig_take(in->g, 16);
	for (unsigned i = 0; i < 3000; i++)
		assert_true(vio_drvq_add(&q, &(struct vio_buf){ rig_address(in->g, p), i ? 4 : 8 }, 0, 1, p));
	vio_drv_kick(&in->g->drv, EVENTS, &q);
	inp_happen(in, (const struct vio_event[]){ { EV_REL, REL_X, 1 } }, 1);
	assert_non_null(in->g->wire.broken);
	assert_non_null(strstr(in->g->wire.broken, "too small for an event"));
	assert_int_equal(in->g->dev->queue[EVENTS].ring.inflight, 0);
	inp_say(in, EV_SYN, SYN_REPORT, 0);		/* the other queue goes on */
	rig_reset(in->g);
	in->g->wire.broken = NULL;
	rig_start(in->g, VIO_INPUT_QUEUES, BITS(VIO_F_VERSION_1));
	inp_give(in, 2);
	inp_key(in, BTN_LEFT, 1);
	inp_expect_key(in, BTN_LEFT, 1);
	free(slots);
	inp_close(in);
}

/* Readable bytes in the event queue are not looked at, and a chain that has nothing else comes back empty. */
static void readable_buffers_in_the_event_queue(void **state)
{
	struct inp *in = inp_start("mouse", BITS(VIO_F_VERSION_1));
	unsigned char *r = rig_take(in->g, 64), *w = rig_take(in->g, 64);
	uint32_t used;

	(void)state;
	inp_key(in, BTN_LEFT, 1);
	assert_true(rig_add(in->g, EVENTS, r, 64, 0, NULL, 0, 0));
	assert_true(rig_add(in->g, EVENTS, r, 64, 0, w, 8, 0));
	assert_true(rig_add(in->g, EVENTS, NULL, 0, 0, w + 8, 8, 0));
	rig_kick(in->g, EVENTS);
	inp_pump(in);
	assert_ptr_equal(rig_get(in->g, EVENTS, &used), r);
	assert_int_equal(used, 0);
	inp_expect_key(in, BTN_LEFT, 1);
	inp_close(in);
}

/* ---- State from elsewhere ---- */

static void states_that_contradict_themselves(void **state)
{
	struct inp *in = inp_start("touch", BITS(VIO_F_VERSION_1));
	unsigned char saved[512];
	size_t n = vio_dev_input.save(in->g->dev, saved, sizeof saved);

	(void)state;
	assert_in_range(n, 1, sizeof saved);
	assert_int_equal(vio_dev_input.save(in->g->dev, NULL, 0), n);
	for (size_t len = 0; len <= sizeof saved; len++)
		if (len != n)
			assert_non_null(vio_dev_input.load(in->g->dev, saved, len));
	memset(saved, 0xff, n);			/* everything is down, in slots that there are not */
	assert_null(vio_dev_input.load(in->g->dev, saved, n));
	vio_dev_queue_turn(in->g->dev, EVENTS);
	while (vio_dev_input_told(in->g->dev)->starved) {
		inp_give(in, 1);
		while (got_or_empty(in))
			;
	}
	assert_false(vio_events_is_down(&vio_dev_input_told(in->g->dev)->down, BTN_TOUCH));
	rig_reset(in->g);
	rig_start(in->g, VIO_INPUT_QUEUES, BITS(VIO_F_VERSION_1));
	inp_give(in, 2);
	inp_key(in, BTN_TOUCH, 1);
	inp_expect_key(in, BTN_TOUCH, 1);
	inp_close(in);
}

/* ---- The program that presses ---- */

static void what_can_not_be_pressed(void **state)
{
	struct inp *in = inp_new_room("mouse", 1024);
	struct vio_event many[600];
	const struct { const char *what, *why; struct vio_event e; } rows[] = {
		{ "a key of another kind", "no such key", { EV_KEY, KEY_A, 1 } },
		{ "an axis of another kind", "no such key", { EV_ABS, ABS_X, 1 } },
		{ "a code beyond all codes", "no such key", { EV_KEY, UINT16_MAX, 1 } },
		{ "a type beyond all types", "no such key", { UINT16_MAX, 0, 1 } },
		{ "an update that was dropped", "no such key", { EV_SYN, SYN_DROPPED, 1 } },
		{ "a light", "for the guest to say", { EV_LED, LED_NUML, 1 } },
		{ "feedback", "for the guest to say", { EV_FF, 0, 1 } },
	};

	(void)state;
	inp_open(in);
	assert_non_null(strstr(vio_events_synthetic_put(in->world, &(struct vio_event){ EV_KEY, BTN_LEFT, 1 }, 1), "no driver"));
	rig_start(in->g, VIO_INPUT_QUEUES, BITS(VIO_F_VERSION_1));
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct vio_event two[] = { { EV_REL, REL_X, 1 }, rows[i].e };
		const char *why = vio_events_synthetic_put(in->world, two, 2);
		if (!why || !strstr(why, rows[i].why))
			fail_msg("%s: %s", rows[i].what, why ? why : "taken");
		assert_int_equal(vio_events_synthetic_waiting(in->world), 0);
	}
	for (unsigned i = 0; i < 600; i++)
		many[i] = (struct vio_event){ EV_REL, REL_X, 1 };
	assert_non_null(strstr(vio_events_synthetic_put(in->world, many, 600), "too much for one update"));
	assert_null(vio_events_synthetic_put(in->world, many, 511));
	assert_int_equal(vio_events_synthetic_waiting(in->world), 512);
	assert_null(vio_events_synthetic_put(in->world, many, 511));
	assert_non_null(strstr(vio_events_synthetic_put(in->world, many, 0), "as many wait as may"));
	inp_close(in);
}

static const struct CMUnitTest tests[] = {
	T(each_row_is_answered, "malformed status events are answered and counted, and break nothing"),
	T(small_buffers_come_back, "buffers that no event fits into come back empty, and events are in the others"),
	T(a_stop_between_small_ones, "a stop while buffers of all sizes are held leaves them as they were"),
	T(a_flood_of_small_buffers, "a flood of small buffers breaks the queue in words, and a reset heals"),
	T(readable_buffers_in_the_event_queue, "readable bytes in the event queue are not looked at"),
	T(states_that_contradict_themselves, "saved states of any size and content do no harm"),
	T(what_can_not_be_pressed, "what the device does not have can't be pressed, and half of it neither"),
};

int main(void) { return vio_tests("input-bad", tests, sizeof tests / sizeof *tests); }
