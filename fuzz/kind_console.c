/* A port whose other end comes, goes and dribbles. */
#include "kind.h"
#include <vio/device/console.h>
#include <vio/host/stream.h>

struct own { struct vio_stream *stream, *world;	/* the console's port, and its other end */ };

static const char *open_console(struct subject *s, struct feed *f)
{
	struct own *own = s->own = calloc(1, sizeof *own);
	uint8_t every = (uint8_t)take(f, 1);
	struct vio_stream_faults faults = { .late_every = every & 3 ? 1 + (every & 3) : 0, .short_every = every >> 2 & 3,
		.end_every = (every >> 4 & 3) * 5 };
	struct vio_stream *pair[2];

	if (!vio_stream_pair(pair, 64))
		abort();
	own->stream = vio_stream_faulty(pair[0], &faults);
	own->world = pair[1];
	struct vio_console_port port = { .stream = own->stream, .name = "port", .console = every & 0x40, .lossy = every & 0x80 };
	return kind_open(s, &(struct vio_console_options){ .ports = &port, .count = 1, .queue_size = KIND_SIZE });
}

static void request(struct subject *s, struct feed *f, unsigned queue)
{
	uint8_t how = (uint8_t)take(f, 1);
	const struct vio_buf b[2] = { { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) } };
	bool in = how & 1;

	kind_add(s, queue, b, in ? 0 : 1 + (how >> 1 & 1), in ? 1 + (how >> 1 & 1) : 0);
}

/* Somebody at the other end reads, writes, comes, goes, and changes the size of the window. */
static void late_how(struct subject *s, uint8_t how)
{
	struct own *own = s->own;
	char bytes[32] = "at the other end of the world";
	struct vio_seg seg = { bytes, sizeof bytes };
	struct vio_cur c = { .seg = &seg, .left = sizeof bytes };

	if (how & 1)
		own->world->ops->write(own->world, &c);
	if (how & 2 && c.left)
		own->world->ops->read(own->world, &c);
	if (how & 4)
		vio_stream_faulty_release(own->stream);
	if ((how & 0x38) == 0x38)
		vio_stream_resize(vio_stream_faulty_inner(own->stream), how, how);
	if ((how & 0xc0) == 0xc0)
		vio_stream_pair_open(vio_stream_faulty_inner(own->stream), how & 8);
}

static void late(struct subject *s, struct feed *f) { late_how(s, (uint8_t)take(f, 1)); }

static void good(struct subject *s)
{
	static const uint8_t wakes[] = { 0xc0, 0xc8, 1, 0x3c, 0x3c, 0x3c, 0x3c, 0x3c, 0x3c };
	const struct vio_buf b = { FUZZ_A, 20 };
	uint32_t len;

	kind_add(s, 0, &b, 0, 1);
	for (unsigned i = 0; i < sizeof wakes; i++) {
		late_how(s, wakes[i]);
		kind_kick(s, 0);
	}
	if (vio_drvq_get(&s->q[0], &len) != s || len == 0 || len > 20)
		abort();
}

static void close_console(struct subject *s)
{
	struct own *own = s->own;

	vio_stream_close(own->stream);
	vio_stream_close(own->world);
	free(own);
}

const struct kind kind_console = { &vio_dev_console, open_console, request, late, good, NULL, close_console };
