/*
 * Every device type over a back end that is late, short or fails, with any driver: two queues of either format, memory
 * written meanwhile, resets of the device and of queues, suspend and resume.  Nothing outside the back end's bytes changes,
 * everything in flight ends at a reset, and a good driver is served afterwards, whatever was before.
 */
#include <vio/device/blk.h>
#include <vio/device/fs.h>
#include <vio/device/rng.h>
#include <vio/host/disk.h>
#include <vio/host/source.h>
#include <vio/host/tree_memory.h>
#include <vio/spec/blk.h>
#include <vio/spec/fs.h>
#include <vio/transport/loop.h>
#include "feed.h"

enum { STEPS = 200, SIZE = 8, DISK = 4096, GUARD = 512, RING_BYTES = VIO_DRVQ_RING_BYTES(SIZE), QUEUES = 2 };
#define RING_1 (FUZZ_RINGS + 0x800)	/* queue 1's, in a block of its own */

struct kind;
struct subject {
	const struct kind *kind;
	struct vio_dev *d;
	struct vio_loop_wire wire;
	struct guest *g;
	struct vio_region region[FUZZ_REGIONS + 1];	/* g's, and queue 1's ring */
	struct vio_disk *disk;
	struct vio_source *source;
	struct vio_tree *tree;
	unsigned char *bytes;		/* guard, disk, guard */
	struct vio_drvq q[QUEUES];	/* where the driver's next chain goes */
	struct vio_drvq_slot slots[QUEUES][SIZE];
};

static void *alloc(size_t n) { return calloc(1, n); }
static void release(void *p, size_t n) { (void)n; free(p); }

/* ---- The types ---- */

static const char *open_blk(struct subject *s, struct feed *f, const struct vio_dev_type *t)
{
	uint8_t bits = (uint8_t)take(f, 1), every = (uint8_t)take(f, 1);
	struct vio_disk_faults faults = { .late_every = every & 3, .fail_every = (every >> 2 & 3) * 2, .short_every = (every >> 4 & 3) * 3 };
	struct vio_blk_options o = { .queues = QUEUES, .queue_size = SIZE, .read_only = bits & 1, .size_max = bits & 2 ? 512 : 0,
		.seg_max = bits & 4 ? 4 : 0, .writethrough = bits & 8, .serial = "12345678901234567890" };

	s->bytes = malloc(GUARD + DISK + GUARD);
	memset(s->bytes, 0xa5, GUARD + DISK + GUARD);
	s->disk = vio_disk_faulty_open(vio_disk_ram_open(DISK, s->bytes + GUARD, (struct vio_disk_place){ NULL, 0 }), &faults);
	o.disk = s->disk;
	return vio_dev_open(s->d, t, &o, &vio_loop_port, &s->wire, vio_loop_features());
}

static const char *open_rng(struct subject *s, struct feed *f, const struct vio_dev_type *t)
{
	s->source = vio_source_counting(take(f, 1));
	return vio_dev_open(s->d, t, &(struct vio_rng_options){ .source = s->source, .queue_size = SIZE }, &vio_loop_port, &s->wire,
	    vio_loop_features());
}

static const char *open_fs(struct subject *s, struct feed *f, const struct vio_dev_type *t)
{
	uint8_t every = (uint8_t)take(f, 1);
	struct vio_tree_faults faults = { .late_every = every & 3, .fail_every = (every >> 2 & 3) * 2, .short_every = (every >> 4 & 3) * 3 };

	s->tree = vio_tree_memory_open();
	vio_tree_memory_faults(s->tree, &faults);
	return vio_dev_open(s->d, t, &(struct vio_fs_options){ .tree = s->tree, .tag = "fuzz", .request_queues = 1, .queue_size = SIZE },
	    &vio_loop_port, &s->wire, vio_loop_features());
}

/* ---- What they are asked: the beginning of A is the header's ---- */

static unsigned ask_blk(unsigned char *header, struct feed *f, uint8_t how)
{
	header[0] = how >> 4;
	header[8] = (unsigned char)take(f, 1);
	return 16;
}

static unsigned ask_rng(unsigned char *header, struct feed *f, uint8_t how)
{
	(void)header, (void)how;
	take(f, 1);
	return 0;
}

/* FUSE: half of the requests begin a session, for without one there is nothing to be had. */
static unsigned ask_fs(unsigned char *header, struct feed *f, uint8_t how)
{
	unsigned char bits = (unsigned char)take(f, 1);

	header[0] = 40 + (how >> 4) * 8;
	header[4] = bits & 1 ? VIO_FUSE_INIT : bits >> 1 & 63;
	header[16] = how >> 6;
	header[40] = 7;
	header[44] = 38;
	return 64;
}

/* ---- What they must answer, whatever was before: false when they don't ---- */

static bool run(struct subject *s, unsigned queue, const struct vio_buf *bufs, unsigned r, unsigned w, uint32_t expected)
{
	uint32_t len;

	if (!vio_drvq_add(&s->q[queue], bufs, r, w, s))
		return false;
	vio_drvq_kick_due(&s->q[queue]);
	vio_dev_notified(s->d, queue);
	vio_loop_pump(&s->wire, 16);
	return vio_drvq_get(&s->q[queue], &len) == s && len == expected;
}

static bool good_blk(struct subject *s, unsigned char *a)
{
	const struct vio_buf id[] = { { FUZZ_A, 16 }, { FUZZ_A + 64, VIO_BLK_ID_BYTES }, { FUZZ_A + 128, 1 } };

	memset(a, 0, 16);
	a[0] = VIO_BLK_T_GET_ID;
	return run(s, 0, id, 1, 2, VIO_BLK_ID_BYTES + 1) && a[128] == VIO_BLK_S_OK &&
	    !memcmp(a + 64, "12345678901234567890", VIO_BLK_ID_BYTES);
}

static bool good_rng(struct subject *s, unsigned char *a)
{
	(void)a;
	vio_source_feed(s->source, 100);
	return run(s, 0, &(struct vio_buf){ FUZZ_A + 64, 20 }, 0, 1, 20);
}

static bool good_fs(struct subject *s, unsigned char *a)
{
	const struct vio_buf init[] = { { FUZZ_A, 56 }, { FUZZ_A + 64, 80 } };

	vio_tree_memory_faults(s->tree, &(struct vio_tree_faults){ .fail_every = 0 });
	memset(a, 0, 64);
	a[0] = 56;
	a[4] = VIO_FUSE_INIT;
	a[40] = 7;
	a[44] = 31;
	return run(s, 1, init, 1, 1, 80) && a[64] == 80 && a[80] == 7 && a[84] == 31;
}

/* A type that is not here has no fuzz target: give it a row. */
static const struct kind {
	const char *name;
	const char *(*open)(struct subject *s, struct feed *f, const struct vio_dev_type *t);
	/* Fill in a request's header; how many bytes of it the device reads. */
	unsigned (*ask)(unsigned char *header, struct feed *f, uint8_t how);
	bool (*good)(struct subject *s, unsigned char *a);
} kinds[] = {
	{ "blk", open_blk, ask_blk, good_blk },
	{ "rng", open_rng, ask_rng, good_rng },
	{ "fs", open_fs, ask_fs, good_fs },
};

static void open_type(struct subject *s, struct feed *f)
{
	unsigned count = 0, i;

	while (vio_dev_types[count])
		count++;
	const struct vio_dev_type *t = vio_dev_types[take(f, 1) % count];
	for (i = 0; i < sizeof kinds / sizeof *kinds && strcmp(kinds[i].name, t->name); i++)
		;
	s->d = calloc(1, t->instance);
	if (i == sizeof kinds / sizeof *kinds || kinds[i].open(s, f, t))
		abort();
	s->kind = &kinds[i];
	s->wire.dev = s->d;
}

static void check_guards(const struct subject *s)
{
	for (unsigned i = 0; s->bytes && i < GUARD; i++)
		if (s->bytes[i] != 0xa5 || s->bytes[GUARD + DISK + i] != 0xa5)
			abort();
}

/* ---- The driver ---- */

static void bring_up(struct subject *s, uint8_t bits, uint16_t type_bits)
{
	struct vio_features want = ring_features(bits & 15);
	struct vio_dev *d = s->d;

	want.word[0] |= type_bits | (UINT64_C(1) << VIO_F_RING_RESET) | (UINT64_C(1) << VIO_F_SUSPEND);
	want = vio_features_and(want, vio_dev_offered(d));
	vio_dev_set_status(d, 0);
	vio_dev_set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
	vio_dev_set_driver_features(d, want);
	vio_dev_set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
	for (unsigned i = 0; i < QUEUES; i++) {
		vio_drvq_init(&s->q[i], &(struct vio_drvq_setup){ .size = SIZE, .features = want,
		    .ring = i ? s->region[1].host : s->region[0].host, .ring_addr = i ? RING_1 : FUZZ_RINGS, .slots = s->slots[i] });
		vio_dev_queue_setup(d, i, SIZE, s->q[i].desc_addr, s->q[i].driver_addr, s->q[i].device_addr);
		vio_dev_queue_go_live(d, i);
	}
	vio_dev_set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK);
}

/* One request's buffers: a header in A, data where the input says, status. */
static void request(struct subject *s, struct feed *f)
{
	unsigned i = (unsigned)take(f, 1) % QUEUES;
	uint8_t how = (uint8_t)take(f, 1);
	unsigned char *header = s->region[2].host;
	struct vio_buf b[4] = { { FUZZ_A, 0 }, { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) },
		{ FUZZ_A + FUZZ_AB, 1 } };
	bool in = how & 1, two = how & 2;

	memset(header, 0, 64);
	b[0].len = s->kind->ask(header, f, how);
	if (!two)
		b[2] = b[3];
	if (b[0].len == 0)
		vio_drvq_add(&s->q[i], b + 1, 0, 1 + two, s);
	else
		vio_drvq_add(&s->q[i], b, in ? 1 : 2 + two, in ? 2 + two : 1, s);
	vio_drvq_kick_due(&s->q[i]);
	if (!(how & 8))
		vio_dev_notified(s->d, i);
}

static void change_config(struct vio_dev *d, struct feed *f)
{
	unsigned char bytes[16];
	uint32_t at = (uint32_t)take(f, 1) % 128, n = (uint32_t)take(f, 1) % sizeof bytes;

	vio_dev_config_read(d, at, bytes, n);
	take_bytes(f, bytes, n);
	vio_dev_config_write(d, at, bytes, n);
}

/* The disk changes its size, within its bytes. */
static void resize(struct subject *s, struct feed *f)
{
	if (!s->disk)
		return;
	s->disk->size = take(f, 1) % (DISK / 512 + 1) * 512;
	if (s->disk->resized)
		s->disk->resized(s->disk->resized_arg);
}

static void late_ones(struct subject *s, struct feed *f)
{
	if (s->disk)
		vio_disk_faulty_release(s->disk);
	else if (s->tree)
		vio_tree_memory_release(s->tree);
	else
		vio_source_feed(s->source, take(f, 1));
}

static void step(struct subject *s, struct feed *f)
{
	uint32_t len;

	switch (take(f, 1) % 16) {
	case 0:
		bring_up(s, (uint8_t)take(f, 1), (uint16_t)take(f, 2));
		break;
	case 1:
		vio_dev_set_status(s->d, (uint8_t)take(f, 1));
		break;
	case 2:
		vio_dev_queue_reset(s->d, (unsigned)take(f, 1) % 3);
		break;
	case 3:
		change_config(s->d, f);
		break;
	case 4: case 5: case 6: case 7:
		request(s, f);
		break;
	case 8:
		vio_drvq_get(&s->q[0], &len);
		vio_drvq_get(&s->q[1], &len);
		break;
	case 9:
		vio_loop_pump(&s->wire, 4);
		break;
	case 10: case 11:
		late_ones(s, f);
		break;
	case 12:
		resize(s, f);
		break;
	case 13:
		vio_dev_notified(s->d, (unsigned)take(f, 1) % 3);
		break;
	default:
		guest_poke(s->g, f, vio_has(s->d->accepted, VIO_F_RING_PACKED));
	}
	check_guards(s);
}

/* ---- Afterwards ---- */

static void heal(struct subject *s, uint8_t bits)
{
	vio_dev_set_status(s->d, 0);
	if (vio_dev_status(s->d))
		abort();	/* what was late has been cancelled */
	for (unsigned i = 0; i < s->d->queues; i++)
		if (s->d->queue[i].memory || s->d->queue[i].ring.inflight)
			abort();
	bring_up(s, bits, 0);
	if (!(vio_dev_status(s->d) & VIO_S_DRIVER_OK) || vio_dev_status(s->d) & VIO_S_NEEDS_RESET)
		abort();
	memset(s->region[2].host, 0xff, 256);
	if (!s->kind->good(s, s->region[2].host))
		abort();
	vio_dev_set_status(s->d, 0);
	if (vio_dev_status(s->d))
		abort();
}

static void add_ring_1(struct subject *s)
{
	void *host;

	if (posix_memalign(&host, 16, RING_BYTES))
		abort();
	memset(host, 0, RING_BYTES);
	s->region[0] = s->g->region[0];
	s->region[1] = (struct vio_region){ .gpa = RING_1, .size = RING_BYTES, .host = host, .perm = VIO_MEM_RW };
	memcpy(s->region + 2, s->g->region + 1, (FUZZ_REGIONS - 1) * sizeof *s->region);
	s->g->mem.region = s->region;
	s->g->mem.count = FUZZ_REGIONS + 1;
	if (vio_mem_check(s->region, s->g->mem.count))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct subject *s = calloc(1, sizeof *s);
	struct feed f = { data, data + n };

	s->wire = (struct vio_loop_wire){ .alloc = alloc, .free = release };
	s->g = guest_new(RING_BYTES);
	add_ring_1(s);
	uint8_t bits = (uint8_t)take(&f, 1);
	s->g->mem.clip = bits & 32 ? 100 : 0;
	open_type(s, &f);
	vio_dev_set_mem(s->d, &s->g->mem);
	bring_up(s, bits, (uint16_t)take(&f, 2));
	for (unsigned i = 0; i < STEPS && fed(&f); i++)
		step(s, &f);
	heal(s, bits);
	check_guards(s);
	vio_dev_close(s->d);
	vio_disk_close(s->disk);
	vio_source_close(s->source);
	vio_tree_close(s->tree);
	free(s->region[1].host);
	s->g->mem.count = FUZZ_REGIONS;
	guest_free(s->g);
	free(s->d);
	free(s->bytes);
	free(s);
	return 0;
}
