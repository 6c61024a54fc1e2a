/*
 * A block device with the status machine in front of it and any driver: registers, memory, notifications, resets in any
 * order.  The disk is memory in a block of exactly its size.
 */
#include <vio/device/blk.h>
#include <vio/host/disk.h>
#include <vio/transport/loop.h>
#include "feed.h"

enum { STEPS = 300, DISK = 8192, RING_BYTES = VIO_DRVQ_RING_BYTES(16) };

static void *alloc(size_t n) { return calloc(1, n); }
static void release(void *p, size_t n) { (void)n; free(p); }

/* As a driver does who means it, so that not all inputs end at the first register. */
static void bring_up(struct vio_dev *d, struct feed *f)
{
	uint8_t bits = (uint8_t)take(f, 1);
	struct vio_features want = ring_features(bits & 15);
	struct vio_drvq layout;
	static struct vio_drvq_slot slots[16];
	static unsigned char scratch[RING_BYTES] __attribute__((aligned(16)));

	want.word[0] |= take(f, 2);
	vio_dev_set_status(d, 0);
	vio_dev_set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
	vio_dev_set_driver_features(d, vio_features_and(want, vio_dev_offered(d)));
	vio_dev_set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
	vio_drvq_init(&layout, &(struct vio_drvq_setup){ .size = 16, .features = want, .ring = scratch, .ring_addr = FUZZ_RINGS,
	    .slots = slots });
	vio_dev_queue_setup(d, 0, bits & 16 ? 8 : 16, layout.desc_addr, layout.driver_addr, layout.device_addr);
	vio_dev_queue_go_live(d, 0);
	vio_dev_set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK);
}

static void write_status(struct vio_dev *d, struct feed *f)
{
	vio_dev_set_status(d, (uint8_t)take(f, 1));
}

static void set_up_queue(struct vio_dev *d, struct feed *f)
{
	unsigned i = (unsigned)take(f, 1) % 3;
	uint16_t size = (uint16_t)take(f, 1);
	uint64_t desc = guest_address(f), driver = guest_address(f), device = guest_address(f);

	vio_dev_queue_setup(d, i, size, desc, driver, device);
	vio_dev_queue_go_live(d, i);
}

static void access_config(struct vio_dev *d, struct feed *f)
{
	unsigned char bytes[16];
	uint32_t at = (uint32_t)take(f, 1), n = (uint32_t)take(f, 1) % sizeof bytes;

	vio_dev_config_read(d, at, bytes, n);
	take_bytes(f, bytes, n);
	vio_dev_config_write(d, at, bytes, n);
}

/* A request in a sound chain, with a header of the input's. */
static void request(struct vio_dev *d, struct guest *g, struct feed *f)
{
	struct vio_split_desc *t = (void *)g->region[0].host;
	struct vio_split_avail *avail = (void *)(g->region[0].host + 16 * 16);
	uint16_t idx = vio_le16_get(avail->idx);
	uint32_t data = guest_length(f);
	bool out = take(f, 1) & 1;

	take_bytes(f, g->region[1].host, 8);
	g->region[1].host[0] %= 20;
	memset(g->region[1].host + 1, 0, 7);
	take_bytes(f, g->region[1].host + 8, 2);
	t[0] = (struct vio_split_desc){ vio_le64_of(FUZZ_A), vio_le32_of(16), vio_le16_of(1), vio_le16_of(1) };
	t[1] = (struct vio_split_desc){ vio_le64_of(guest_address(f)), vio_le32_of(data),
		vio_le16_of(out ? VIO_DESC_NEXT : VIO_DESC_NEXT | VIO_DESC_WRITE), vio_le16_of(2) };
	t[2] = (struct vio_split_desc){ vio_le64_of(FUZZ_A + FUZZ_AB), vio_le32_of(1), vio_le16_of(2), vio_le16_of(0) };
	avail->ring[idx % 16] = vio_le16_of(0);
	avail->idx = vio_le16_of((uint16_t)(idx + 1));
	vio_dev_notified(d, 0);
}

static void step(struct vio_dev *d, struct guest *g, struct feed *f, struct vio_loop_wire *l)
{
	switch (take(f, 1) % 16) {
	case 0:
		bring_up(d, f);
		break;
	case 1:
		write_status(d, f);
		break;
	case 2:
		vio_dev_set_driver_features(d, (struct vio_features){ { take(f, 8), take(f, 1) } });
		break;
	case 3:
		set_up_queue(d, f);
		break;
	case 4:
		vio_dev_queue_reset(d, (unsigned)take(f, 1) % 3);
		break;
	case 5:
		access_config(d, f);
		break;
	case 6: case 7: case 8:
		request(d, g, f);
		break;
	case 9: case 10:
		vio_dev_notified(d, (unsigned)take(f, 1) % 3);
		break;
	case 11:
		vio_loop_pump(l, 4);
		break;
	default:
		guest_poke(g, f, vio_has(d->accepted, VIO_F_RING_PACKED));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct feed f = { data, data + n };
	uint8_t bits = (uint8_t)take(&f, 1);
	struct guest *g = guest_new(RING_BYTES);
	unsigned char *bytes = malloc(DISK);
	struct vio_disk *disk = vio_disk_ram_open(DISK, bytes, (struct vio_disk_place){ NULL, 0 });
	struct vio_blk_options o = { .disk = disk, .queues = 2, .queue_size = 16, .read_only = bits & 1, .size_max = bits & 2 ? 512 : 0,
		.seg_max = bits & 4 ? 4 : 0, .writethrough = bits & 8, .serial = "12345678901234567890" };
	struct vio_loop_wire l = { .alloc = alloc, .free = release };
	struct vio_dev *d = calloc(1, vio_dev_blk.instance);

	memset(bytes, 0, DISK);
	if (vio_dev_open(d, &vio_dev_blk, &o, &vio_loop_port, &l, vio_loop_features()))
		abort();
	l.dev = d;
	vio_dev_set_mem(d, &g->mem);
	bring_up(d, &f);
	for (unsigned i = 0; i < STEPS && fed(&f); i++)
		step(d, g, &f, &l);
	vio_dev_set_status(d, 0);
	if (vio_dev_status(d))
		abort();
	vio_dev_close(d);
	vio_disk_close(disk);
	free(d);
	free(bytes);
	guest_free(g);
	return 0;
}
