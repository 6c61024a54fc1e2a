/*
 * Device state of any content (2.12), for every device type on every wire that has any: loaded whole or refused in words and
 * nothing changed; what was loaded is saved again, and loads again, and runs.
 *
 * The state begins as that of a device of this type that has been driven a little, and then the input changes it: so it gets past
 * the first check.
 */
#include <vio/spec/parts.h>
#include <vio/transport/mmio.h>
#include <vio/transport/pci.h>
#include "kind.h"

enum { SAVED = 64 << 10, VECTORS = 3, RING_BYTES = VIO_DRVQ_RING_BYTES(KIND_SIZE) };
#define RING_1 (FUZZ_RINGS + 0x800)

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

enum wire { LOOP, MMIO, PCI, WIRES };

struct play {
	struct subject s;
	enum wire wire;
	struct vio_mmio_dev mmio;
	struct vio_pci_dev pci;
	struct vio_pci_vector vector[VECTORS];
};

/* ---- The owner: the loop wire's ---- */

static void *heap(size_t n) { return calloc(1, n); }
static void release(void *p, size_t n) { (void)n; free(p); }
static struct vio_loop_wire *loop_of(void *arg) { return &((struct play *)arg)->s.wire; }
static void on_wake(void *arg, unsigned queue) { vio_loop_port.wake(loop_of(arg), queue); }
static void *on_alloc(void *arg, size_t n) { (void)arg; return heap(n); }
static void on_free(void *arg, void *p, size_t n) { (void)arg; release(p, n); }
static uint64_t on_now(void *arg) { return vio_loop_port.now(loop_of(arg)); }
static void on_alarm(void *arg, unsigned queue, uint64_t at) { vio_loop_port.alarm(loop_of(arg), queue, at); }
static void on_post(void *arg, unsigned queue, struct vio_dev_call *c) { vio_loop_port.post(loop_of(arg), queue, c); }
static void on_line(void *arg, bool level) { (void)arg, (void)level; }
static void on_settled(void *arg) { (void)arg; }

static void on_vector(void *arg, unsigned vector)
{
	(void)arg;
	if (vector >= VECTORS)
		abort();
}

#define OWNER { .wake = on_wake, .alloc = on_alloc, .free = on_free, .now = on_now, .alarm = on_alarm, .post = on_post }
static const struct vio_mmio_ops mmio_ops = { OWNER, .interrupt = on_line, .settled = on_settled };
static const struct vio_pci_ops pci_ops = { OWNER, .msix = on_vector, .intx = on_line, .moved = on_settled, .vector = on_vector };

static void rewire(struct play *p)
{
	struct vio_dev *d = p->s.d;

	if (p->wire == MMIO) {
		vio_mmio_dev_init(&p->mmio, d, &mmio_ops, p);
		vio_dev_attach(d, &vio_mmio_port, &p->mmio, vio_mmio_features());
	} else if (p->wire == PCI) {
		if (vio_pci_dev_init(&p->pci, d, d->type, &pci_ops, p, &(struct vio_pci_options){ .vector = p->vector,
		    .vectors = VECTORS, .notify_multiplier = 4 }))
			abort();
		vio_dev_attach(d, &vio_pci_port, &p->pci, vio_pci_features());
	}
}

static size_t save(struct play *p, void *to)
{
	size_t n = p->wire == MMIO ? vio_mmio_save(&p->mmio, to, SAVED) : p->wire == PCI ? vio_pci_save(&p->pci, to, SAVED) :
	    vio_dev_save(p->s.d, to, SAVED);

	if (n > SAVED)
		abort();
	return n;
}

static const char *load(struct play *p, const void *from, size_t n)
{
	return p->wire == MMIO ? vio_mmio_load(&p->mmio, from, n) : p->wire == PCI ? vio_pci_load(&p->pci, from, n) :
	    vio_dev_load(p->s.d, from, n);
}

/* ---- A device that has been driven ---- */

static void bring_up(struct subject *s, uint8_t bits)
{
	struct vio_features want = ring_features(bits & 15);
	struct vio_dev *d = s->d;

	want.word[0] |= (UINT64_C(1) << VIO_F_RING_RESET) | (UINT64_C(1) << VIO_F_SUSPEND) | (bits & 16 ? 0xffffff : 0);
	want = vio_features_and(want, vio_dev_offered(d));
	vio_dev_set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
	vio_dev_set_driver_features(d, want);
	vio_dev_set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
	for (unsigned i = 0; i < KIND_QUEUES; i++) {
		vio_drvq_init(&s->q[i], &(struct vio_drvq_setup){ .size = KIND_SIZE, .features = want,
		    .ring = i ? s->region[1].host : s->region[0].host, .ring_addr = i ? RING_1 : FUZZ_RINGS, .slots = s->slots[i] });
		vio_dev_queue_setup(d, kind_queue(s, i), KIND_SIZE, s->q[i].desc_addr, s->q[i].driver_addr, s->q[i].device_addr);
		vio_dev_queue_go_live(d, kind_queue(s, i));
	}
	if (bits & 32)
		vio_dev_set_status(d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK);
}

static void drive(struct subject *s, struct feed *f)
{
	unsigned steps = (unsigned)take(f, 1) % 8;

	while (steps--) {
		unsigned i = (unsigned)take(f, 1) & 1;
		s->kind->request(s, f, i);
		vio_drvq_kick_due(&s->q[i]);
		vio_dev_notified(s->d, kind_queue(s, i));
		s->kind->late(s, f);
		vio_loop_pump(&s->wire, 16);
	}
}

static void frozen(void *arg) { *(bool *)arg = true; }

/* What is late is let happen, until all has ended; false: it does not. */
static bool freeze(struct subject *s)
{
	static const uint8_t more[64];
	bool done = false;

	vio_dev_freeze(s->d, frozen, &done);
	for (unsigned i = 0; i < 64 && !done; i++) {
		struct feed f = { more, more + sizeof more };
		s->kind->late(s, &f);
		vio_loop_pump(&s->wire, 64);
	}
	return done;
}

/* ---- States ---- */

static void change(struct feed *f, unsigned char *state, size_t *n)
{
	while (fed(f) && *n) {
		size_t at = (size_t)take(f, 2) % *n;
		switch (take(f, 1) % 4) {
		case 0: state[at] = (unsigned char)take(f, 1); break;
		case 1: *n = at; break;
		case 2: state[at] ^= (unsigned char)(1u << take(f, 1) % 8); break;
		default: {			/* bytes go, or come twice */
			size_t len = (size_t)take(f, 1) % 64;
			if (len > *n - at)
				len = *n - at;
			memmove(state + at, state + at + len, *n - at - len);
			*n -= len;
		}
		}
	}
}

static void try(struct play *p, const unsigned char *state, size_t n)
{
	static unsigned char before[SAVED], after[SAVED], again[SAVED];
	unsigned char *exact = malloc(n ? n : 1);	/* so that one byte too many is seen */
	size_t had = save(p, before);

	memcpy(exact, state, n);
	if (load(p, exact, n)) {
		if (save(p, after) != had || memcmp(before, after, had))
			abort();		/* refused, and yet something has changed */
	} else {
		size_t m = save(p, after);
		if (vio_dev_status(p->s.d) & VIO_S_DRIVER_OK && !vio_has(p->s.d->accepted, VIO_F_VERSION_1))
			abort();
		if (load(p, after, m) || save(p, again) != m || memcmp(after, again, m))
			abort();		/* what we saved must load, and be the same */
	}
	free(exact);
}

/* ---- */

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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static unsigned char state[SAVED];
	struct play *p = calloc(1, sizeof *p);
	struct subject *s = &p->s;
	struct feed f = { data, data + n };

	s->wire = (struct vio_loop_wire){ .alloc = heap, .free = release };
	s->g = guest_new(RING_BYTES);
	add_ring_1(s);
	s->kind = kinds[take(&f, 1) % (sizeof kinds / sizeof *kinds)];
	p->wire = take(&f, 1) % WIRES;
	s->d = calloc(1, s->kind->type->instance);
	if (s->kind->open(s, &f))
		abort();
	s->wire.dev = s->d;
	rewire(p);
	vio_dev_set_mem(s->d, &s->g->mem);
	bring_up(s, (uint8_t)take(&f, 1));
	drive(s, &f);
	if (freeze(s)) {
		size_t bytes = save(p, state);
		change(&f, state, &bytes);
		try(p, state, bytes);
	}
	vio_dev_thaw(s->d);
	vio_loop_pump(&s->wire, 64);
	vio_dev_set_status(s->d, 0);
	for (unsigned i = 0; vio_dev_status(s->d) && i < 64; i++)
		vio_loop_pump(&s->wire, 16);
	if (vio_dev_status(s->d))
		abort();
	vio_dev_close(s->d);
	s->kind->close(s);
	free(s->region[1].host);
	s->g->mem.count = FUZZ_REGIONS;
	guest_free(s->g);
	free(s->d);
	free(p);
	return 0;
}
