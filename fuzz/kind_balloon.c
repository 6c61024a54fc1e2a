/* Pages in memory whose giving back fails. */
#include "kind.h"
#include <vio/device/balloon.h>
#include <vio/host/pages.h>
#include <vio/spec/balloon.h>

static const char *open_balloon(struct subject *s, struct feed *f)
{
	struct vio_pages_faults faults = { .fail_every = take(f, 1) & 3, .error = 5 };
	struct vio_pages *pages = vio_pages_faulty_open(vio_pages_ram_open(), &faults);

	s->own = pages;
	return kind_open(s, &(struct vio_balloon_options){ .pages = pages, .queue_size = KIND_SIZE });
}

static void request(struct subject *s, struct feed *f, unsigned queue)
{
	const struct vio_buf b[2] = { { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) } };

	kind_add(s, queue, b, 1 + (take(f, 1) & 1), 0);
}

static void late(struct subject *s, struct feed *f)
{
	struct vio_pages *pages = s->own;

	pages->target = take(f, 2) * VIO_BALLOON_PAGE;
	vio_pages_ask(pages, (enum vio_pages_ask)(take(f, 1) % (VIO_ASK_HINTS_DONE + 1)));
}

/* A page of no memory: acknowledged all the same. */
static void good(struct subject *s)
{
	const struct vio_buf b = { FUZZ_A, 4 };

	memset(kind_header(s), 0xff, 4);
	kind_add(s, VIO_BALLOON_Q_INFLATE, &b, 1, 0);
	kind_served(s, VIO_BALLOON_Q_INFLATE, 0);
}

static void close_balloon(struct subject *s) { vio_pages_close(s->own); }

const struct kind kind_balloon = { &vio_dev_balloon, open_balloon, request, late, good, NULL, close_balloon };
