/* The input driver over the real device, in every shape; and against one that lies. */
#include <vio/driver/input.h>
#include "fake.h"
#include "input_rig.h"

struct desk { struct inp *in; struct vio_input *d; };

static struct desk desk_new(const char *kind)
{
	struct desk k = { .in = inp_new(kind) };

	k.d = rig_take(k.in->g, sizeof *k.d);
	inp_open(k.in);
	return k;
}

static void desk_start(struct desk *k)
{
	if (!vio_input_start(k->d, &k->in->g->wire.port))
		fail_msg("%s", k->d->drv.failed);
	inp_pump(k->in);
}

static void desk_close(struct desk *k)
{
	assert_true(vio_input_stop(k->d));
	assert_int_equal(k->in->g->maps, 0);
	inp_close(k->in);
}

static void hears(struct desk *k, uint16_t type, uint16_t code, int32_t value)
{
	struct vio_input_said e;

	assert_true(vio_input_next(k->d, &e));
	assert_event(e, type, code, value);
}

static void hears_nothing(struct desk *k)
{
	struct vio_input_said e;

	assert_false(vio_input_next(k->d, &e));
}

/* ---- Our device ---- */

static void everything_in_every_shape(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1), BITS(VIO_F_VERSION_1, VIO_F_EVENT_IDX),
		BITS(VIO_F_VERSION_1, VIO_F_IN_ORDER), BITS(VIO_F_VERSION_1, VIO_F_RING_PACKED),
		BITS(VIO_F_VERSION_1, VIO_F_RING_PACKED, VIO_F_EVENT_IDX, VIO_F_NOTIFICATION_DATA) };

	(void)state;
	for (unsigned r = 0; r < sizeof rings / sizeof *rings; r++)
		for (uint32_t clip = 0; clip < 2; clip++) {
			struct desk k = desk_new("keyboard");
			k.in->g->mem.clip = clip * 5;
			k.in->g->dev->wire = vio_features_and(k.in->g->dev->wire, rings[r]);
			desk_start(&k);
			for (int32_t i = 0; i < 300; i++) {	/* many times round the ring */
				inp_key(k.in, KEY_A, i & 1);
				hears(&k, EV_KEY, KEY_A, i & 1);
				hears(&k, EV_SYN, SYN_REPORT, 0);
				hears_nothing(&k);
				assert_true(vio_input_tell(k.d, EV_LED, LED_CAPSL, i & 1));
				inp_pump(k.in);
				assert_int_equal(k.in->said_count, 1);
				assert_event(k.in->said[0], EV_LED, LED_CAPSL, i & 1);
				k.in->said_count = 0;
			}
			assert_int_equal(rig_refused(k.in->g, EVENTS) + rig_refused(k.in->g, STATUS), 0);	/* 5.8.6.1 */
			assert_int_equal(k.d->ignored, 0);
			desk_close(&k);
		}
}

static void it_knows_the_device(void **state)
{
	struct desk k = desk_new("gamepad");
	struct vio_input_axis a;

	(void)state;
	desk_start(&k);
	assert_string_equal(k.d->name, "vio gamepad");
	assert_string_equal(k.d->serial, "");
	assert_int_equal(k.d->bustype, 6);
	assert_int_equal(k.d->product, 5);
	assert_true(vio_input_can(k.d, EV_KEY, BTN_SOUTH) && !vio_input_can(k.d, EV_KEY, KEY_A) && !k.d->repeats);
	assert_true(vio_input_axis(k.d, ABS_X, &a));
	assert_int_equal(a.min, -32768);
	assert_int_equal(a.max, 32767);
	assert_int_equal(a.flat, 128);
	assert_false(vio_input_axis(k.d, ABS_MT_SLOT, &a));
	assert_true(vio_input_tell(k.d, EV_FF, 0, 1) && vio_input_tell(k.d, EV_FF, VIO_FF_GAIN, 100));
	assert_false(vio_input_tell(k.d, EV_FF, VIO_FF_GAIN + 1, 1) || vio_input_tell(k.d, EV_LED, LED_NUML, 1) ||
	    vio_input_tell(k.d, EV_REP, REP_DELAY, 1) || vio_input_tell(k.d, EV_KEY, BTN_SOUTH, 1) || vio_input_tell(k.d, 31, 0, 0) ||
	    vio_input_tell(k.d, UINT16_MAX, UINT16_MAX, 0));
	inp_pump(k.in);
	assert_int_equal(k.in->said_count, 2);
	desk_close(&k);
	k = desk_new("keyboard");
	desk_start(&k);
	assert_true(k.d->repeats && vio_input_tell(k.d, EV_REP, REP_DELAY, 1) && !vio_input_tell(k.d, EV_REP, 2, 1));
	desk_close(&k);
}

/* ---- One that lies: the config space by a script, the rings in our hands ---- */

enum { ACCESSES = 256 };

struct liar {
	struct fake *f;
	struct vio_input *d;
	const struct vio_drvq *q[2];
	uint16_t used[2];
	uint8_t select, subsel;
	int size;			/* of each answer; -1: as it should be */
	uint8_t bits;			/* what bitmaps are full of */
	unsigned queues, breaks_after;	/* config accesses; 0: never */
	unsigned accesses;
	struct { bool write; uint32_t at, len; } log[ACCESSES];
};

static struct liar *current;

static bool note(bool write, uint32_t at, uint32_t len)
{
	unsigned n = current->accesses < ACCESSES ? current->accesses : ACCESSES - 1;

	current->log[n].write = write;
	current->log[n].at = at;
	current->log[n].len = len;
	return ++current->accesses != current->breaks_after;
}

static bool liar_write(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len)
{
	(void)p;
	if (at == 0)
		memcpy(&current->select, from, 1);
	else
		memcpy(&current->subsel, from, 1);
	return note(true, at, len);
}

static uint8_t right_size(void)
{
	bool bits = current->select == VIO_INPUT_CFG_EV_BITS && current->subsel < VIO_EV_COUNT;

	if (current->size >= 0)
		return (uint8_t)current->size;
	return bits ? 96 : current->select == VIO_INPUT_CFG_ABS_INFO ? 20 : current->select == VIO_INPUT_CFG_ID_DEVIDS ? 8 : 0;
}

static bool liar_read(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len)
{
	struct vio_input_config c = { .select = current->select, .subsel = current->subsel, .size = right_size() };

	(void)p;
	memset(&c.u, current->bits, sizeof c.u);
	assert_true(at <= sizeof c && len <= sizeof c - at);
	memcpy(to, (char *)&c + at, len);
	return note(false, at, len);
}

static bool liar_queue_start(struct vio_drv_port *p, uint16_t i, const struct vio_drvq *q)
{
	(void)p;
	current->q[i] = q;
	return true;
}

static uint16_t liar_queue_max(struct vio_drv_port *p, uint16_t i) { return i < current->queues ? FAKE(p)->queue_max : 0; }

static struct liar *liar_new(void)
{
	static struct vio_drv_port_ops ops;
	struct liar *l = calloc(1, sizeof *l);

	assert_non_null(l);
	ops = fake_ops;
	ops.queue_start = liar_queue_start;
	ops.queue_max = liar_queue_max;
	ops.config_read = liar_read;
	ops.config_write = liar_write;
	l->f = fake_new(VIO_ID_INPUT, BITS(VIO_F_VERSION_1));
	l->f->port.ops = &ops;
	l->queues = 2;
	l->size = -1;
	l->bits = 0xff;
	l->d = rig_take(l->f->g, sizeof *l->d);
	current = l;
	return l;
}

static struct liar *liar_start(void)
{
	struct liar *l = liar_new();

	assert_true(vio_input_start(l->d, &l->f->port));
	return l;
}

static void liar_close(struct liar *l)
{
	vio_input_stop(l->d);
	assert_int_equal(l->f->g->maps, 0);
	fake_close(l->f);
	free(l);
}

/* The n-th chain that queue i was given. */
static const struct vio_split_desc *given(struct liar *l, unsigned i, uint16_t n)
{
	const struct vio_split_avail *avail = l->q[i]->place.driver;
	const struct vio_split_desc *desc = l->q[i]->place.desc;

	return &desc[vio_le16_get(avail->ring[n % l->q[i]->size])];
}

static uint16_t given_count(struct liar *l, unsigned i)
{
	return vio_le16_get(((const struct vio_split_avail *)l->q[i]->place.driver)->idx);
}

/* The chain given n-th comes back, with so many bytes. */
static void use(struct liar *l, unsigned i, const void *bytes, size_t n, uint32_t len)
{
	const struct vio_drvq *q = l->q[i];
	struct vio_split_used *used = q->place.device;
	const struct vio_split_desc *d = given(l, i, l->used[i]);
	uint32_t head = (uint32_t)(d - (const struct vio_split_desc *)q->place.desc);

	memcpy(l->f->g->bytes + (vio_le64_get(d->addr) - RIG_GPA), bytes, n);
	used->ring[l->used[i] % q->size] = (struct vio_split_elem){ vio_le32_of(head), vio_le32_of(len) };
	used->idx = vio_le16_of(++l->used[i]);
}

static void event(struct liar *l, uint16_t type, uint16_t code, uint32_t len)
{
	struct vio_input_event e = { vio_le16_of(type), vio_le16_of(code), vio_le32_of(7) };

	use(l, EVENTS, &e, sizeof e, len);
}

static void it_asks_as_it_must(void **state)
{
	struct liar *l = liar_start();
	struct vio_input_axis a;

	(void)state;
	assert_true(vio_input_axis(l->d, ABS_Y, &a));
	assert_in_range(l->accesses, 13 * 3, ACCESSES - 1);
	for (unsigned i = 0; i < l->accesses;) {
		/* both are written, a byte each; then the size is read, and then perhaps the answer */
		assert_true(l->log[i].write && l->log[i].at == 0 && l->log[i].len == 1);
		assert_true(l->log[i + 1].write && l->log[i + 1].at == 1 && l->log[i + 1].len == 1);
		assert_true(!l->log[i + 2].write && l->log[i + 2].at == 2 && l->log[i + 2].len == 1);
		i += 3;
		if (i < l->accesses && !l->log[i].write) {
			assert_true(l->log[i].at == 8 && l->log[i].len <= 128);
			i++;
		}
	}
	liar_close(l);
}

static void its_buffers_are_as_they_must_be(void **state)
{
	struct liar *l = liar_start();
	struct vio_input_said e;

	(void)state;
	assert_int_equal(given_count(l, EVENTS), l->q[EVENTS]->size);		/* all there is room for */
	for (uint16_t i = 0; i < 200; i++) {
		const struct vio_split_desc *d = given(l, EVENTS, i);
		assert_int_equal(vio_le16_get(d->flags), VIO_DESC_WRITE);
		assert_in_range(vio_le32_get(d->len), sizeof(struct vio_input_event), 4096);
		event(l, EV_KEY, KEY_A, 8);
		assert_true(vio_input_next(l->d, &e));
		assert_int_equal(given_count(l, EVENTS), l->q[EVENTS]->size + i + 1);	/* and back at once */
	}
	assert_true(vio_input_tell(l->d, EV_LED, LED_CAPSL, 1));
	const struct vio_split_desc *d = given(l, STATUS, 0);
	assert_int_equal(vio_le16_get(d->flags), 0);
	assert_in_range(vio_le32_get(d->len), sizeof(struct vio_input_event), 4096);
	liar_close(l);
}

static void nonsense_is_left_out(void **state)
{
	struct liar *l = liar_new();
	struct vio_input_said e;

	(void)state;
	l->bits = 1;			/* every eighth code there is */
	assert_true(vio_input_start(l->d, &l->f->port));
	const struct { uint16_t type, code; uint32_t len; } bad[] = {
		{ EV_KEY, 1, 8 }, { EV_KEY, 0x2ff, 8 }, { EV_KEY, 0x300, 8 }, { EV_KEY, UINT16_MAX, 8 }, { 6, 0, 8 }, { 31, 0, 8 }, { 32, 0, 8 },
		{ UINT16_MAX, 0, 8 }, { EV_SYN, SYN_DROPPED, 8 }, { EV_SYN, SYN_CONFIG, 8 }, { EV_KEY, 8, 7 }, { EV_KEY, 8, 0 },
	};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		event(l, bad[i].type, bad[i].code, bad[i].len);
		assert_false(vio_input_next(l->d, &e));
		assert_int_equal(l->d->ignored, i + 1);
	}
	event(l, 6, 0, 8);
	event(l, EV_KEY, 8, UINT32_MAX);	/* more than the buffer has: an event is an event */
	event(l, EV_SYN, SYN_REPORT, 8);
	assert_true(vio_input_next(l->d, &e));
	assert_event(e, EV_KEY, 8, 7);
	assert_true(vio_input_next(l->d, &e));
	assert_event(e, EV_SYN, SYN_REPORT, 7);
	for (unsigned i = 0; i < 2 * VIO_INPUT_DRV_EVENTS; i++)		/* for ever, if it were for the device */
		event(l, 6, 0, 8);
	assert_false(vio_input_next(l->d, &e));
	liar_close(l);
}

static void answers_of_any_size(void **state)
{
	static const int sizes[] = { 0, 1, 7, 8, 19, 20, 95, 96, 97, 127, 128, 129, 255 };

	(void)state;
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct liar *l = liar_new();
		struct vio_input_axis a;
		l->size = sizes[i];
		l->bits = 'n';
		if (!vio_input_start(l->d, &l->f->port))
			fail_msg("size %d: %s", sizes[i], l->d->drv.failed);
		assert_int_equal(strlen(l->d->name), sizes[i] < 128 ? sizes[i] : 128);
		assert_int_equal(vio_input_axis(l->d, 1, &a), sizes[i] >= 20);
		liar_close(l);
	}
}

static void a_deaf_device_is_not_waited_for(void **state)
{
	struct liar *l = liar_start();
	struct vio_input_said e;

	(void)state;
	for (unsigned i = 0; i < VIO_INPUT_DRV_STATUS; i++)
		assert_true(vio_input_tell(l->d, EV_LED, LED_CAPSL, 1));
	for (unsigned i = 0; i < 3; i++)
		assert_false(vio_input_tell(l->d, EV_LED, LED_CAPSL, 1));
	use(l, STATUS, "", 0, 12345);
	assert_true(vio_input_tell(l->d, EV_LED, LED_CAPSL, 1));
	assert_false(vio_input_tell(l->d, EV_LED, LED_CAPSL, 1));
	assert_false(vio_input_next_wait(l->d, &e, rig_now(l->f->g) + 100000000));
	event(l, EV_KEY, KEY_A, 8);
	assert_true(vio_input_next_wait(l->d, &e, rig_now(l->f->g) + 100000000));
	liar_close(l);
}

static void a_start_that_fails(void **state)
{
	struct liar *l;

	(void)state;
	for (unsigned queues = 0; queues < 2; queues++) {
		l = liar_new();
		l->queues = queues;
		assert_false(vio_input_start(l->d, &l->f->port));
		assert_non_null(strstr(l->d->drv.failed, "lacks one of its two queues"));
		liar_close(l);
	}
	for (unsigned n = 1; n < 20; n++) {
		l = liar_new();
		l->breaks_after = n;
		assert_false(vio_input_start(l->d, &l->f->port));
		assert_non_null(strstr(l->d->drv.failed, "broke"));
		liar_close(l);
	}
	l = liar_new();
	l->f->restless = true;
	assert_false(vio_input_start(l->d, &l->f->port));
	assert_non_null(strstr(l->d->drv.failed, "never holds still"));
	assert_in_range(l->f->g->clock, 0, 2 * VIO_DRV_PATIENCE_NS);		/* once, not for each question */
	struct vio_input_said e;
	assert_false(vio_input_next(l->d, &e) || vio_input_tell(l->d, EV_LED, 0, 1) || vio_input_next_wait(l->d, &e, 0));
	liar_close(l);
}

static const struct CMUnitTest tests[] = {
	T(everything_in_every_shape, "events in, lights out, over every ring and cut memory {input-drv-4 input-drv-5 input-drv-6; only us}"),
	T(it_knows_the_device, "what the device is and can do is known; what it can't hear is not said"),
	T(it_asks_as_it_must, "both of select and subsel are written, and nothing else; the size is read first {input-drv-1 input-drv-2 "
	    "input-drv-3; only us}"),
	T(its_buffers_are_as_they_must_be, "the event queue is full of writable buffers that an event fits into, and so are the others readable "
	    "{input-drv-4 input-drv-5 input-drv-6; only us}"),
	T(nonsense_is_left_out, "events that the device did not announce, or that are none, are left out {input-drv-7; only us}"),
	T(answers_of_any_size, "answers of any size do no harm"),
	T(a_deaf_device_is_not_waited_for, "a device that takes nothing, or says nothing, is not waited for"),
	T(a_start_that_fails, "a device without its queues, or whose config space breaks, is given up in words"),
};

int main(void) { return vio_tests("input-driver", tests, sizeof tests / sizeof *tests); }
