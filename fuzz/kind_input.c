/* A thing that is late, deaf, and unplugged. */
#include "kind.h"
#include <vio/device/input.h>
#include <vio/host/events.h>

struct own { struct vio_events *inner, *events; };

static void hears(void *arg, const struct vio_event *e) { (void)arg, (void)e; }

static const char *open_input(struct subject *s, struct feed *f)
{
	static const char *const kinds[] = { "keyboard", "mouse", "tablet", "touch", "gamepad" };
	struct own *own = s->own = calloc(1, sizeof *own);
	uint8_t how = (uint8_t)take(f, 1);
	struct vio_events_faults faults = { .late_every = how & 3 ? 1 + (how & 3) : 0, .deaf_every = how >> 2 & 3 };
	struct vio_events_about about;

	if (!vio_events_kind(kinds[(how >> 4) % 5], 10, &about))
		abort();
	memset(about.codes, 0xff, sizeof about.codes);
	own->inner = vio_events_synthetic(&(struct vio_synthetic_options){ .about = &about, .room = 64, .said = hears });
	own->events = vio_events_faulty(own->inner, &faults);
	return kind_open(s, &(struct vio_input_options){ .events = own->events, .queue_size = KIND_SIZE });
}

static void request(struct subject *s, struct feed *f, unsigned queue)
{
	uint8_t how = (uint8_t)take(f, 1);
	struct vio_buf b[2] = { { guest_address(f), how & 0x10 ? 8 : guest_length(f) }, { guest_address(f), guest_length(f) } };
	bool in = queue == VIO_INPUT_Q_EVENTS ? how & 3 : !(how & 3);

	if (!in && how & 4) {
		b[0] = (struct vio_buf){ FUZZ_A, how >> 4 };
		take_bytes(f, kind_header(s), 8);
	}
	kind_add(s, queue, b, in ? 0 : 1 + (how >> 3 & 1), in ? 1 + (how >> 3 & 1) : 0);
}

/* Somebody does something: groups of one event to more than the queue has room for. */
static void late(struct subject *s, struct feed *f)
{
	struct own *own = s->own;
	struct vio_event group[16];
	uint8_t how = (uint8_t)take(f, 1);
	unsigned n = how & 15;

	for (unsigned i = 0; i < n; i++)
		group[i] = (struct vio_event){ (uint16_t)take(f, 1) % VIO_EV_LED, (uint16_t)take(f, 1),
			(int32_t)(int8_t)take(f, 1) };
	vio_events_synthetic_put(own->inner, group, n);
	if (how & 0x10)
		vio_events_faulty_release(own->events);
	if ((how & 0xe0) == 0xe0 && s->d->type->save) {
		unsigned char state[512];
		size_t size = s->d->type->save(s->d, state, sizeof state);
		if (size > sizeof state)
			abort();
		take_bytes(f, state + take(f, 1), 4);
		s->d->type->load(s->d, state, size);
	}
	vio_loop_pump(&s->wire, 4);
}

/* An event that is heard, and one that is told. */
static void good(struct subject *s)
{
	struct own *own = s->own;
	const struct vio_buf in[2] = { { FUZZ_A, 8 }, { FUZZ_A + 64, 64 } }, out = { FUZZ_A + 128, 8 };
	struct vio_event e = { VIO_EV_KEY, 30, 1 };
	struct vio_input_event got;
	uint32_t len;

	if (vio_events_synthetic_put(own->inner, &e, 1))
		abort();
	vio_events_faulty_release(own->events);
	kind_add(s, VIO_INPUT_Q_EVENTS, &in[0], 0, 1);
	kind_kick(s, VIO_INPUT_Q_EVENTS);
	if (vio_drvq_get(&s->q[0], &len))
		abort();		/* half a group */
	kind_add(s, VIO_INPUT_Q_EVENTS, &in[1], 0, 1);
	for (unsigned i = 0; i < 4; i++) {
		kind_kick(s, VIO_INPUT_Q_EVENTS);
		vio_events_faulty_release(own->events);
	}
	kind_served(s, VIO_INPUT_Q_EVENTS, sizeof got);
	memcpy(&got, kind_header(s), sizeof got);
	if (vio_le16_get(got.type) != e.type || vio_le16_get(got.code) != e.code || vio_le32_get(got.value) != 1)
		abort();
	kind_served(s, VIO_INPUT_Q_EVENTS, sizeof got);
	kind_add(s, VIO_INPUT_Q_STATUS, &out, 1, 0);
	kind_served(s, VIO_INPUT_Q_STATUS, 0);
}

static void close_input(struct subject *s)
{
	struct own *own = s->own;

	vio_events_close(own->events);
	free(own);
}

const struct kind kind_input = { &vio_dev_input, open_input, request, late, good, NULL, close_input };
