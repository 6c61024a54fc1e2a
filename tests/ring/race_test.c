/*
 * Two threads over one mapping: the driver adds and gets while the device pops and pushes, polling and sleeping.  Built
 * for clang's thread sanitizer too, which then sees every plain access to a ring or a buffer that nothing orders.
 *
 * The sanitizer knows release and acquire, by which A and B publish; it takes no notice of fences.  Those of C and D order
 * only atomic loads and stores of event indices, so it has nothing to complain of; that they are enough is shown by
 * tests/spin, and by nobody sleeping for ever here.
 */
#include <pthread.h>
#include <sys/eventfd.h>
#include "../test.h"
#include "traffic.h"

struct device { struct traffic t; struct vio_ring_place place; };

static void *device(void *arg)
{
	struct device *d = arg;

	traffic_serve(&d->t, d->place);
	return NULL;
}

static void race(void **state)
{
	unsigned bits = (unsigned)(uintptr_t)*state;
	static const uint16_t sizes[] = { 1, 4, 256 };

	for (unsigned i = 0; i < 3; i++) {
		struct traffic t = { .size = sizes[i], .total = 1 + (sizes[i] == 256 ? 70000 : 3000), .sleeping = bits & 8,
			.kick_fd = eventfd(0, 0), .call_fd = eventfd(0, 0) };
		vio_features_add(&t.features, VIO_F_VERSION_1);
		if (bits & 1)
			vio_features_add(&t.features, VIO_F_RING_PACKED);
		if (bits & 2)
			vio_features_add(&t.features, VIO_F_EVENT_IDX);
		if (bits & 4)
			vio_features_add(&t.features, VIO_F_INDIRECT_DESC);
		struct vio_drvq_slot *slots = calloc(t.size, sizeof *slots);
		assert_int_equal(posix_memalign((void **)&t.base, 64, traffic_bytes(t.size)), 0);
		struct vio_drvq q = traffic_driver(&t, slots);
		struct device d = { t, q.place };
		pthread_t thread;
		assert_int_equal(pthread_create(&thread, NULL, device, &d), 0);
		traffic_drive(&t, &q);
		pthread_join(thread, NULL);
		assert_null(t.failed);
		assert_null(d.t.failed);
		close(t.kick_fd);
		close(t.call_fd);
		free(slots);
		free(t.base);
	}
}

int main(void)
{
	static struct CMUnitTest tests[16];
	static char names[16][200];

	for (unsigned bits = 0; bits < 16; bits++) {
		snprintf(names[bits], sizeof names[bits], "two threads, %s%s%s, %s {%s; only us}", bits & 1 ? "packed" : "split",
		    bits & 2 ? ", event index" : "", bits & 4 ? ", indirect" : "", bits & 8 ? "sleeping" : "polling",
		    bits & 1 ? "packed-drv-16 packed-drv-17 packed-drv-11 packed-dev-7 packed-drv-2 packed-drv-3" :
		    "split-drv-26 split-drv-27 split-dev-15 split-dev-16");
		tests[bits] = (struct CMUnitTest)TS(race, names[bits], bits);
	}
	return vio_tests("two threads", tests, 16);
}
