/*
 * ring [split|packed] [OUTSTANDING] [SECONDS]: nanoseconds a buffer through a ring, both sides polling.
 *
 * The driver's side runs on processor 1, the device's on 0; ring of 256, event index on, one writable segment, payload
 * untouched.  The driver makes as many buffers available as have come back, then asks once whether a kick is due.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <vio/ring/devq.h>
#include <vio/ring/drvq.h>
#include "probe.h"

enum { SIZE = 256, BUFFER = 64, SHARED = 1 << 20, GPA = 1 << 30, DEVICE_CPU = 0, DRIVER_CPU = 1 };

struct ring {
	struct vio_features features;
	unsigned outstanding, out;	/* wanted, and how many there are */
	unsigned char *shared;
	struct vio_region region;
	struct vio_mem mem;
	struct vio_drvq drv;
	struct vio_drvq_slot slots[SIZE];
	_Alignas(128) struct vio_devq dev;
	_Alignas(128) int stop;
	uint64_t waited;		/* by the device's thread, for a processor */
};

static void no_signal(struct vio_devq *q) { (void)q; }

static bool fail(const char *what, const char *why)
{
	fprintf(stderr, "ring: %s: %s.\n", what, why);
	return false;
}

static bool set_up(struct ring *r)
{
	r->shared = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	uint64_t bytes = vio_devq_memory(SIZE, sizeof(struct vio_chain), 0, 1);
	void *memory = calloc(1, bytes);
	if (r->shared == MAP_FAILED || !memory)
		return fail("setting up", "no memory");
	r->region = (struct vio_region){ .gpa = GPA, .size = SHARED, .host = r->shared, .perm = VIO_MEM_RW };
	r->mem = (struct vio_mem){ .region = &r->region, .count = 1, .refs = 1 };

	vio_drvq_init(&r->drv, &(struct vio_drvq_setup){ .size = SIZE, .features = r->features, .ring = r->shared,
	    .ring_addr = GPA, .slots = r->slots });
	const char *why = vio_devq_start(&r->dev, &(struct vio_devq_setup){ .place = r->drv.place, .features = r->features,
	    .base = r->drv.is_packed ? VIO_PACKED_BASE : 0, .request_size = sizeof(struct vio_chain), .mem = &r->mem,
	    .memory = memory, .memory_bytes = bytes, .signal = no_signal });
	return !why || fail("starting", why);
}

static void *device(void *arg)
{
	struct ring *r = arg;
	struct vio_chain *c;

	vio_devq_quiet(&r->dev);
	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED) && !r->dev.broken) {
		r->dev.turn = SIZE;
		for (unsigned n = 0; (c = vio_devq_pop(&r->dev)); n++) {
			vio_cur_skip(&c->w, BUFFER);
			vio_devq_push(&r->dev, c);
		}
		vio_devq_flush(&r->dev);
	}
	r->waited = probe_waited_ns();
	return NULL;
}

/* Returns how many buffers have gone round until the time given. */
static uint64_t drive(struct ring *r, uint64_t until)
{
	struct vio_buf buf = { GPA + SHARED / 2, BUFFER };
	uint64_t done = 0;
	unsigned looks = 0;
	uint32_t len;

	vio_drvq_quiet(&r->drv);
	do {
		unsigned added = 0;
		while (r->out < r->outstanding && vio_drvq_add(&r->drv, &buf, 0, 1, r)) {
			r->out++;
			added++;
		}
		if (added)
			vio_drvq_kick_due(&r->drv);
		while (r->out && vio_drvq_get(&r->drv, &len)) {
			r->out--;
			done++;
		}
	} while (++looks % 1024 || (probe_now_ns() < until && !r->drv.broken && !r->dev.broken));
	return done;
}

int main(int argc, char **argv)
{
	static struct ring r;
	bool packed = argc > 1 && !strcmp(argv[1], "packed");
	double seconds = argc > 3 ? strtod(argv[3], NULL) : 1;
	pthread_t other;

	vio_features_add(&r.features, VIO_F_VERSION_1);
	vio_features_add(&r.features, VIO_F_EVENT_IDX);
	if (packed)
		vio_features_add(&r.features, VIO_F_RING_PACKED);
	r.outstanding = argc > 2 ? (unsigned)atoi(argv[2]) : SIZE;
	double before = probe_line_ns(DRIVER_CPU, DEVICE_CPU);
	if (!set_up(&r) || !probe_thread(&other, DEVICE_CPU, device, &r))
		return 1;
	drive(&r, probe_now_ns() + 50000000);
	uint64_t from = probe_now_ns(), waited = probe_waited_ns();
	uint64_t done = drive(&r, from + (uint64_t)(seconds * 1e9));
	double ns = (double)(probe_now_ns() - from) / (double)done;
	waited = probe_waited_ns() - waited;
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELAXED);
	pthread_join(other, NULL);
	if (r.drv.broken || r.dev.broken)
		return !fail("running", r.drv.broken ? r.drv.broken : r.dev.broken);
	double after = probe_line_ns(DRIVER_CPU, DEVICE_CPU);
	printf("{\"ring\":\"%s\",\"outstanding\":%u,\"buffers\":%" PRIu64 ",\"ns\":%.2f,\"line_before\":%.1f,\"line_after\":%.1f,"
	    "\"waited_ns\":%" PRIu64 "}\n", packed ? "packed" : "split", r.outstanding, done, ns, before, after, waited + r.waited);
	return 0;
}
