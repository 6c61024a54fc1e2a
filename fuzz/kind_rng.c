/* A source that starves. */
#include "kind.h"
#include <vio/device/rng.h>
#include <vio/host/source.h>

static const char *open_rng(struct subject *s, struct feed *f)
{
	struct vio_source *source = vio_source_counting(take(f, 1));

	s->own = source;
	return kind_open(s, &(struct vio_rng_options){ .source = source, .queue_size = KIND_SIZE });
}

static void request(struct subject *s, struct feed *f, unsigned queue)
{
	bool two = take(f, 1) & 1;
	const struct vio_buf b[2] = { { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) } };

	kind_add(s, queue, b, 0, 1 + two);
}

static void late(struct subject *s, struct feed *f) { vio_source_feed(s->own, take(f, 1)); }

static void good(struct subject *s)
{
	const struct vio_buf b = { FUZZ_A + 64, 20 };

	kind_add(s, 0, &b, 0, 1);
	vio_source_feed(s->own, 100);
	kind_served(s, 0, 20);
}

static void close_rng(struct subject *s) { vio_source_close(s->own); }

const struct kind kind_rng = { &vio_dev_rng, open_rng, request, late, good, NULL, close_rng };
