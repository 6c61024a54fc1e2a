/* A disk in memory between guards. */
#include "kind.h"
#include <vio/device/blk.h>
#include <vio/host/disk.h>
#include <vio/spec/blk.h>

enum { DISK = 4096, GUARD = 512 };

struct own { struct vio_disk *disk; unsigned char *bytes; /* guard, disk, guard */ };

static const char *open_blk(struct subject *s, struct feed *f)
{
	struct own *own = s->own = calloc(1, sizeof *own);
	uint8_t bits = (uint8_t)take(f, 1), every = (uint8_t)take(f, 1);
	struct vio_disk_faults faults = { .late_every = every & 3, .fail_every = (every >> 2 & 3) * 2, .short_every = (every >> 4 & 3) * 3 };
	struct vio_blk_options o = { .queues = KIND_QUEUES, .queue_size = KIND_SIZE, .read_only = bits & 1,
		.size_max = bits & 2 ? 512 : 0, .seg_max = bits & 4 ? 4 : 0, .writethrough = bits & 8, .serial = "12345678901234567890" };

	own->bytes = malloc(GUARD + DISK + GUARD);
	memset(own->bytes, 0xa5, GUARD + DISK + GUARD);
	own->disk = vio_disk_faulty_open(vio_disk_ram_open(DISK, own->bytes + GUARD, (struct vio_disk_place){ NULL, 0 }), &faults);
	o.disk = own->disk;
	return kind_open(s, &o);
}

static void request(struct subject *s, struct feed *f, unsigned queue)
{
	uint8_t how = (uint8_t)take(f, 1);
	unsigned char *header = kind_header(s);
	struct vio_buf b[4] = { { FUZZ_A, 16 }, { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) },
		{ FUZZ_A + FUZZ_AB, 1 } };
	bool in = how & 1, two = how & 2;

	memset(header, 0, 16);
	header[0] = how >> 4;
	header[8] = (unsigned char)take(f, 1);
	if (!two)
		b[2] = b[3];
	kind_add(s, queue, b, in ? 1 : 2 + two, in ? 2 + two : 1);
}

/* What was late is done, or the disk changes its size, within its bytes. */
static void late(struct subject *s, struct feed *f)
{
	struct own *own = s->own;
	uint8_t how = (uint8_t)take(f, 1);

	if (!(how & 0x80)) {
		vio_disk_faulty_release(own->disk);
		return;
	}
	own->disk->size = (how & 0x7fu) % (DISK / 512 + 1) * 512;
	if (own->disk->resized)
		own->disk->resized(own->disk->resized_arg);
}

static void good(struct subject *s)
{
	const struct vio_buf id[] = { { FUZZ_A, 16 }, { FUZZ_A + 64, VIO_BLK_ID_BYTES }, { FUZZ_A + 128, 1 } };
	unsigned char *a = kind_header(s);

	memset(a, 0xff, 256);
	memset(a, 0, 16);
	a[0] = VIO_BLK_T_GET_ID;
	kind_add(s, 0, id, 1, 2);
	kind_served(s, 0, VIO_BLK_ID_BYTES + 1);
	if (a[128] != VIO_BLK_S_OK || memcmp(a + 64, "12345678901234567890", VIO_BLK_ID_BYTES))
		abort();
}

static void check(struct subject *s)
{
	const struct own *own = s->own;

	for (unsigned i = 0; i < GUARD; i++)
		if (own->bytes[i] != 0xa5 || own->bytes[GUARD + DISK + i] != 0xa5)
			abort();
}

static void close_blk(struct subject *s)
{
	struct own *own = s->own;

	vio_disk_close(own->disk);
	free(own->bytes);
	free(own);
}

const struct kind kind_blk = { &vio_dev_blk, open_blk, request, late, good, check, close_blk };
