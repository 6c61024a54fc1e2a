/* A tree in memory that is late, short or fails. */
#include "kind.h"
#include <vio/device/fs.h>
#include <vio/host/tree_memory.h>
#include <vio/spec/fs.h>

static const char *open_fs(struct subject *s, struct feed *f)
{
	uint8_t every = (uint8_t)take(f, 1);
	struct vio_tree_faults faults = { .late_every = every & 3, .fail_every = (every >> 2 & 3) * 2, .short_every = (every >> 4 & 3) * 3 };
	struct vio_tree *tree = vio_tree_memory_open();

	s->own = tree;
	vio_tree_memory_faults(tree, &faults);
	return kind_open(s, &(struct vio_fs_options){ .tree = tree, .tag = "fuzz", .request_queues = 1, .queue_size = KIND_SIZE });
}

/* FUSE: half of the requests begin a session, for without one there is nothing to be had. */
static void request(struct subject *s, struct feed *f, unsigned queue)
{
	uint8_t how = (uint8_t)take(f, 1), bits = (uint8_t)take(f, 1);
	unsigned char *header = kind_header(s);
	const struct vio_buf b[4] = { { FUZZ_A, 64 }, { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) } };

	memset(header, 0, 64);
	header[0] = (unsigned char)(40 + (how >> 4) * 8);
	header[4] = bits & 1 ? VIO_FUSE_INIT : bits >> 1 & 63;
	header[16] = how >> 6;
	header[40] = 7;
	header[44] = 38;
	kind_add(s, queue, b, 1 + (how & 1), 1 - (how & 1) + (how >> 1 & 1));
}

static void late(struct subject *s, struct feed *f)
{
	(void)f;
	vio_tree_memory_release(s->own);
}

static void good(struct subject *s)
{
	const struct vio_buf init[] = { { FUZZ_A, 56 }, { FUZZ_A + 64, 80 } };
	unsigned char *a = kind_header(s);

	vio_tree_memory_faults(s->own, &(struct vio_tree_faults){ .fail_every = 0 });
	memset(a, 0xff, 256);
	memset(a, 0, 64);
	a[0] = 56;
	a[4] = VIO_FUSE_INIT;
	a[40] = 7;
	a[44] = 31;
	kind_add(s, 1, init, 1, 1);
	kind_served(s, 1, 80);
	if (a[64] != 80 || a[80] != 7 || a[84] != 31)
		abort();
}

static void close_fs(struct subject *s) { vio_tree_close(s->own); }

const struct kind kind_fs = { &vio_dev_fs, open_fs, request, late, good, NULL, close_fs };
