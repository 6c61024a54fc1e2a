/*
 * Every device type over a back end that is late, short or fails, with any driver: two queues of either format, memory
 * written meanwhile, resets of the device and of queues, suspend and resume.  Nothing outside the back end's bytes changes,
 * everything in flight ends at a reset, and a good driver is served afterwards, whatever was before.
 */
#include <vio/device/blk.h>
#include <vio/device/fs.h>
#include <vio/device/rng.h>
#include <vio/device/vsock.h>
#include <vio/host/dial.h>
#include <vio/host/disk.h>
#include <vio/host/source.h>
#include <vio/host/tree_memory.h>
#include <vio/spec/blk.h>
#include <vio/spec/fs.h>
#include <vio/spec/vsock.h>
#include <vio/transport/loop.h>
#include "feed.h"

enum { STEPS = 200, SIZE = 8, DISK = 4096, GUARD = 512, RING_BYTES = VIO_DRVQ_RING_BYTES(SIZE), QUEUES = 2 };
#define RING_1 (FUZZ_RINGS + 0x800)	/* queue 1's, in a block of its own */

struct subject;

/* What a type needs of its own. */
struct kind {
	const char *name;
	const char *(*open)(struct subject *s, struct feed *f, const struct vio_dev_type *t);
	void (*request)(struct subject *s, struct feed *f, unsigned queue);	/* add one, perhaps malformed */
	void (*late)(struct subject *s, struct feed *f);	/* what the back end held back happens */
	void (*good)(struct subject *s);			/* a request that must be served right */
};

struct subject {
	const struct kind *kind;
	struct vio_dev *d;
	struct vio_loop_wire wire;
	struct guest *g;
	struct vio_region region[FUZZ_REGIONS + 1];	/* g's, and queue 1's ring */
	struct vio_disk *disk;
	struct vio_source *source;
	struct vio_dial *dial;
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

static const char *open_vsock(struct subject *s, struct feed *f, const struct vio_dev_type *t)
{
	struct vio_dial_faults faults = { .refuse_nth = take(f, 1) % 8, .reset_nth = 11, .short_nth = 3 };

	s->dial = vio_dial_faulty_open(vio_dial_memory_open(64), &faults);
	return vio_dev_open(s->d, t, &(struct vio_vsock_options){ .dial = s->dial, .guest_cid = 3, .connections = 4, .buffer = 4096 },
	    &vio_loop_port, &s->wire, vio_loop_features());
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

/* ---- A request's buffers: a header in A, data where the input says ---- */

static void add(struct subject *s, unsigned queue, const struct vio_buf *b, unsigned r, unsigned w)
{
	vio_drvq_add(&s->q[queue], b, r, w, s);
}

static void blk_request(struct subject *s, struct feed *f, unsigned queue)
{
	uint8_t how = (uint8_t)take(f, 1);
	unsigned char *header = s->region[2].host;
	struct vio_buf b[4] = { { FUZZ_A, 16 }, { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) },
		{ FUZZ_A + FUZZ_AB, 1 } };
	bool in = how & 1, two = how & 2;

	memset(header, 0, 16);
	header[0] = how >> 4;
	header[8] = (unsigned char)take(f, 1);
	if (!two)
		b[2] = b[3];
	add(s, queue, b, in ? 1 : 2 + two, in ? 2 + two : 1);
}

static void rng_request(struct subject *s, struct feed *f, unsigned queue)
{
	bool two = take(f, 1) & 1;
	const struct vio_buf b[2] = { { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) } };

	add(s, queue, b, 0, 1 + two);
}

static struct vio_vsock_hdr vsock_header(uint16_t type, uint16_t op, uint32_t port, uint32_t len, uint32_t buf_alloc)
{
	return (struct vio_vsock_hdr){ .src_cid = vio_le64_of(3), .dst_cid = vio_le64_of(2), .src_port = vio_le32_of(port),
		.dst_port = vio_le32_of(1), .len = vio_le32_of(len), .type = vio_le16_of(type), .op = vio_le16_of(op),
		.buf_alloc = vio_le32_of(buf_alloc) };
}

static void vsock_request(struct subject *s, struct feed *f, unsigned queue)
{
	uint8_t how = (uint8_t)take(f, 1), more = (uint8_t)take(f, 1);
	struct vio_buf b[2] = { { FUZZ_A, sizeof(struct vio_vsock_hdr) }, { guest_address(f), guest_length(f) } };
	struct vio_vsock_hdr h = vsock_header(1 + (how >> 3 & 1), how & 7, how >> 4 & 3, more & 1 ? b[1].len : more, 1 << (more & 15));

	if (queue == VIO_VSOCK_RX) {
		add(s, queue, b + 1, 0, 1);
		return;
	}
	h.flags = vio_le32_of(more >> 4 & 3);
	memcpy(s->region[2].host, &h, sizeof h);
	add(s, queue, b, 1 + (more & 1), 0);
}

/* FUSE: half of the requests begin a session, for without one there is nothing to be had. */
static void fs_request(struct subject *s, struct feed *f, unsigned queue)
{
	uint8_t how = (uint8_t)take(f, 1), bits = (uint8_t)take(f, 1);
	unsigned char *header = s->region[2].host;
	const struct vio_buf b[4] = { { FUZZ_A, 64 }, { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) } };

	memset(header, 0, 64);
	header[0] = (unsigned char)(40 + (how >> 4) * 8);
	header[4] = bits & 1 ? VIO_FUSE_INIT : bits >> 1 & 63;
	header[16] = how >> 6;
	header[40] = 7;
	header[44] = 38;
	add(s, queue, b, 1 + (how & 1), 1 - (how & 1) + (how >> 1 & 1));
}

/* ---- The back end ---- */

static void blk_late(struct subject *s, struct feed *f)
{
	(void)f;
	vio_disk_faulty_release(s->disk);
}

static void rng_late(struct subject *s, struct feed *f) { vio_source_feed(s->source, take(f, 1)); }

static void vsock_late(struct subject *s, struct feed *f)
{
	(void)f;
	s->wire.clock += UINT64_C(1000000000);
	vio_loop_tick(&s->wire, 0);
}

static void fs_late(struct subject *s, struct feed *f)
{
	(void)f;
	vio_tree_memory_release(s->tree);
}

/* ---- A good request, after whatever was before ---- */

static void served(struct subject *s, unsigned queue, uint32_t length)
{
	uint32_t len;

	vio_dev_notified(s->d, queue);
	vio_loop_pump(&s->wire, 16);
	if (vio_drvq_get(&s->q[queue], &len) != s || len != length)
		abort();
}

static void blk_good(struct subject *s)
{
	const struct vio_buf id[] = { { FUZZ_A, 16 }, { FUZZ_A + 64, VIO_BLK_ID_BYTES }, { FUZZ_A + 128, 1 } };
	unsigned char *a = s->region[2].host;

	memset(a, 0xff, 256);
	memset(a, 0, 16);
	a[0] = VIO_BLK_T_GET_ID;
	add(s, 0, id, 1, 2);
	vio_drvq_kick_due(&s->q[0]);
	served(s, 0, VIO_BLK_ID_BYTES + 1);
	if (a[128] != VIO_BLK_S_OK || memcmp(a + 64, "12345678901234567890", VIO_BLK_ID_BYTES))
		abort();
}

static void rng_good(struct subject *s)
{
	const struct vio_buf b = { FUZZ_A + 64, 20 };

	add(s, 0, &b, 0, 1);
	vio_drvq_kick_due(&s->q[0]);
	vio_source_feed(s->source, 100);
	served(s, 0, 20);
}

/* Bytes for a connection there is not: a RST comes back. */
static void vsock_good(struct subject *s)
{
	const struct vio_buf tx = { FUZZ_A, sizeof(struct vio_vsock_hdr) }, rx = { FUZZ_A + 64, 64 };
	struct vio_vsock_hdr h = vsock_header(VIO_VSOCK_TYPE_STREAM, VIO_VSOCK_OP_RW, 99, 0, 0);

	memcpy(s->region[2].host, &h, sizeof h);
	add(s, VIO_VSOCK_TX, &tx, 1, 0);
	add(s, VIO_VSOCK_RX, &rx, 0, 1);
	vio_drvq_kick_due(&s->q[VIO_VSOCK_TX]);
	vio_drvq_kick_due(&s->q[VIO_VSOCK_RX]);
	served(s, VIO_VSOCK_TX, 0);
	served(s, VIO_VSOCK_RX, sizeof h);
	memcpy(&h, s->region[2].host + 64, sizeof h);
	if (vio_le16_get(h.op) != VIO_VSOCK_OP_RST || vio_le32_get(h.dst_port) != 99)
		abort();
}

static void fs_good(struct subject *s)
{
	const struct vio_buf init[] = { { FUZZ_A, 56 }, { FUZZ_A + 64, 80 } };
	unsigned char *a = s->region[2].host;

	vio_tree_memory_faults(s->tree, &(struct vio_tree_faults){ .fail_every = 0 });
	memset(a, 0xff, 256);
	memset(a, 0, 64);
	a[0] = 56;
	a[4] = VIO_FUSE_INIT;
	a[40] = 7;
	a[44] = 31;
	add(s, 1, init, 1, 1);
	vio_drvq_kick_due(&s->q[1]);
	served(s, 1, 80);
	if (a[64] != 80 || a[80] != 7 || a[84] != 31)
		abort();
}

/* A type that is not here has no fuzz target: give it a row. */
static const struct kind kinds[] = {
	{ "blk", open_blk, blk_request, blk_late, blk_good },
	{ "rng", open_rng, rng_request, rng_late, rng_good },
	{ "fs", open_fs, fs_request, fs_late, fs_good },
	{ "vsock", open_vsock, vsock_request, vsock_late, vsock_good },
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
	s->kind = &kinds[i];
	if (i == sizeof kinds / sizeof *kinds || kinds[i].open(s, f, t))
		abort();
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

static void request(struct subject *s, struct feed *f)
{
	uint8_t how = (uint8_t)take(f, 1);
	unsigned i = how & 1;

	s->kind->request(s, f, i);
	vio_drvq_kick_due(&s->q[i]);
	if (!(how & 2))
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
		s->kind->late(s, f);
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
	s->kind->good(s);
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
	vio_dial_close(s->dial);
	vio_tree_close(s->tree);
	free(s->region[1].host);
	s->g->mem.count = FUZZ_REGIONS;
	guest_free(s->g);
	free(s->d);
	free(s->bytes);
	free(s);
	return 0;
}
