/*
 * Every device type over a back end that is late, short or fails, with any driver: two queues of either format, memory
 * written meanwhile, resets of the device and of queues, suspend and resume.  Nothing outside the back end's bytes changes,
 * everything in flight ends at a reset, and a good driver is served afterwards, whatever was before.
 */
#include "kind.h"

enum { STEPS = 200, RING_BYTES = VIO_DRVQ_RING_BYTES(KIND_SIZE) };
#define RING_1 (FUZZ_RINGS + 0x800)	/* queue 1's, in a block of its own */

static void *alloc(size_t n) { return calloc(1, n); }
static void release(void *p, size_t n) { (void)n; free(p); }

/* ---- The types ---- */

/* A type that is not here has no fuzz target: give it a file kind_NAME.c and a word. */
static const struct kind *const kinds[] = {
	&kind_balloon,
	&kind_blk,
	&kind_console,
	&kind_fs,
	&kind_input,
	&kind_net,
	&kind_rng,
	&kind_scsi,
	&kind_vsock,
};

static void open_type(struct subject *s, struct feed *f)
{
	unsigned count = 0, i;

	while (vio_dev_types[count])
		count++;
	const struct vio_dev_type *t = vio_dev_types[take(f, 1) % count];
	for (i = 0; i < sizeof kinds / sizeof *kinds && kinds[i]->type != t; i++)
		;
	if (i == sizeof kinds / sizeof *kinds)
		abort();
	s->d = calloc(1, t->instance);
	s->kind = kinds[i];
	if (s->kind->open(s, f))
		abort();
	s->wire.dev = s->d;
}

static void check(struct subject *s)
{
	if (s->kind->check)
		s->kind->check(s);
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
	for (unsigned i = 0; i < KIND_QUEUES; i++) {
		vio_drvq_init(&s->q[i], &(struct vio_drvq_setup){ .size = KIND_SIZE, .features = want,
		    .ring = i ? s->region[1].host : s->region[0].host, .ring_addr = i ? RING_1 : FUZZ_RINGS, .slots = s->slots[i] });
		vio_dev_queue_setup(d, kind_queue(s, i), KIND_SIZE, s->q[i].desc_addr, s->q[i].driver_addr, s->q[i].device_addr);
		vio_dev_queue_go_live(d, kind_queue(s, i));
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
		vio_dev_notified(s->d, kind_queue(s, i));
}

static void change_config(struct vio_dev *d, struct feed *f)
{
	unsigned char bytes[16];
	uint32_t at = (uint32_t)take(f, 1) % 128, n = (uint32_t)take(f, 1) % sizeof bytes;

	vio_dev_config_read(d, at, bytes, n);
	take_bytes(f, bytes, n);
	vio_dev_config_write(d, at, bytes, n);
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
	case 10: case 11: case 12:
		s->kind->late(s, f);
		break;
	case 13:
		vio_dev_notified(s->d, (unsigned)take(f, 1) % 3);
		break;
	default:
		guest_poke(s->g, f, vio_has(s->d->accepted, VIO_F_RING_PACKED));
	}
	check(s);
}

/* ---- Afterwards ---- */

/* A reset takes what has been posted to run, and no more. */
static void reset(struct subject *s)
{
	vio_dev_set_status(s->d, 0);
	for (unsigned i = 0; vio_dev_status(s->d) && i < 16; i++)
		vio_loop_pump(&s->wire, 16);
	if (vio_dev_status(s->d))
		abort();	/* what was late has been cancelled */
}

static void heal(struct subject *s, uint8_t bits)
{
	reset(s);
	for (unsigned i = 0; i < s->d->queues; i++)
		if (s->d->queue[i].memory || s->d->queue[i].ring.inflight)
			abort();
	bring_up(s, bits, 0);
	if (!(vio_dev_status(s->d) & VIO_S_DRIVER_OK) || vio_dev_status(s->d) & VIO_S_NEEDS_RESET)
		abort();
	s->kind->good(s);
	reset(s);
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
	check(s);
	vio_dev_close(s->d);
	s->kind->close(s);
	free(s->region[1].host);
	s->g->mem.count = FUZZ_REGIONS;
	guest_free(s->g);
	free(s->d);
	free(s);
	return 0;
}
