/*
 * Device state of any content (2.12): loaded whole or refused in words and nothing changed; what was loaded runs, is saved
 * again, and loads again.
 */
#include <vio/device/blk.h>
#include <vio/host/disk.h>
#include <vio/spec/parts.h>
#include <vio/transport/loop.h>
#include "feed.h"

enum { DISK = 4096, QUEUES = 2, SAVED = 16384 };

static void *alloc(size_t n) { return calloc(1, n); }
static void release(void *p, size_t n) { (void)n; free(p); }

/* Parts whose headers are right more often than chance would have it. */
static size_t shape(struct feed *f, unsigned char *to, size_t room)
{
	static const uint16_t types[] = { VIO_PART_DEV_FEATURES, VIO_PART_DRV_FEATURES, VIO_PART_DEVICE_STATUS, VIO_PART_VQ_CFG,
		VIO_PART_VQ_PLACE, VIO_PART_DEVICE_TYPE, VIO_PART_CONFIG };
	static const uint8_t lengths[] = { 16, 16, 1, 32, 8, 1, 104 };
	size_t at = 0;

	while (fed(f) && room - at >= 16 + 64) {
		uint8_t how = (uint8_t)take(f, 1);
		unsigned i = how % 8;
		uint32_t len = i < 7 && how < 0xf0 ? lengths[i] : (uint32_t)take(f, 1) % 64;
		struct vio_part_header h = { vio_le16_of(i < 7 ? types[i] : (uint16_t)take(f, 2)), how >> 3 & 1, 0,
			{ how & 0x80 ? (uint8_t)take(f, 1) : how >> 6 & 1 }, vio_le32_of(how == 0xff ? (uint32_t)take(f, 4) : len) };
		memcpy(to + at, &h, sizeof h);
		take_bytes(f, to + at + sizeof h, len);
		at += sizeof h + len;
	}
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static unsigned char state[SAVED], saved[SAVED], again[SAVED];
	struct feed f = { data, data + n };
	struct guest *g = guest_new(VIO_DRVQ_RING_BYTES(16));
	unsigned char *bytes = calloc(1, DISK);
	struct vio_disk *disk = vio_disk_ram_open(DISK, bytes, (struct vio_disk_place){ NULL, 0 });
	struct vio_blk_options o = { .disk = disk, .queues = QUEUES, .queue_size = 16 };
	struct vio_loop_wire l = { .alloc = alloc, .free = release };
	struct vio_dev *d = calloc(1, vio_dev_blk.instance);

	if (vio_dev_open(d, &vio_dev_blk, &o, &vio_loop_port, &l, vio_loop_features()))
		abort();
	l.dev = d;
	vio_dev_set_mem(d, &g->mem);
	bool shaped = take(&f, 1) & 1;
	size_t len = shaped ? shape(&f, state, sizeof state) : (size_t)(f.end - f.at);
	unsigned char *exact = malloc(len ? len : 1);	/* so that one byte too many is seen */
	memcpy(exact, shaped ? state : f.at, len);
	size_t before = vio_dev_save(d, saved, sizeof saved);
	if (vio_dev_load(d, exact, len)) {
		if (vio_dev_save(d, again, sizeof again) != before || memcmp(saved, again, before))
			abort();	/* refused, and yet something changed */
	} else {
		size_t size = vio_dev_save(d, saved, sizeof saved);
		if (vio_dev_status(d) & VIO_S_DRIVER_OK && !vio_has(d->accepted, VIO_F_VERSION_1))
			abort();
		if (vio_dev_load(d, saved, size) || vio_dev_save(d, again, sizeof again) != size || memcmp(saved, again, size))
			abort();	/* what we saved must load, and be the same */
	}
	vio_dev_set_status(d, 0);
	vio_dev_close(d);
	vio_disk_close(disk);
	free(exact);
	free(d);
	free(bytes);
	guest_free(g);
	return 0;
}
