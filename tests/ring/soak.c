/*
 * Two processes, one memfd, mapped at two addresses: a driver and a device that share nothing but a ring and two event
 * descriptors, over the wrap of every index, polling and sleeping.
 *
 *      soak [--buffers=N]      N for each polling queue; the sleeping ones get a tenth.  TAP on standard output.
 */
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include "traffic.h"

static const struct { const char *what; unsigned char bits[3]; bool sleeping; } shapes[] = {
	{ "split, polling", { VIO_F_VERSION_1 }, false },
	{ "packed, polling", { VIO_F_VERSION_1, VIO_F_RING_PACKED }, false },
	{ "split, sleeping", { VIO_F_VERSION_1 }, true },
	{ "packed, sleeping", { VIO_F_VERSION_1, VIO_F_RING_PACKED }, true },
	{ "split, event index, sleeping", { VIO_F_VERSION_1, VIO_F_EVENT_IDX }, true },
	{ "packed, event index, sleeping", { VIO_F_VERSION_1, VIO_F_EVENT_IDX, VIO_F_RING_PACKED }, true },
};
enum { SHAPES = sizeof shapes / sizeof *shapes, SIZE = 256 };

static void *map(int fd, size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED) {
		perror("soak: mmap");
		exit(1);
	}
	return p;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The device's process: its own mapping, elsewhere than the driver's. */
static int device(struct traffic t, struct vio_ring_place place, int fd, const unsigned char *drivers)
{
	t.base = map(fd, traffic_bytes(t.size));
	place.desc = t.base + ((unsigned char *)place.desc - drivers);
	place.driver = t.base + ((unsigned char *)place.driver - drivers);
	place.device = t.base + ((unsigned char *)place.device - drivers);
	if (t.base == drivers)
		t.failed = "both mappings are at one address";
	else
		traffic_serve(&t, place);
	if (t.failed)
		fprintf(stderr, "soak: device: %s\n", t.failed);
	return t.failed != NULL;
}

static volatile int gone;
static void on_child(int sig) { gone = sig; }

static const char *run(struct traffic *t)
{
	int fd = memfd_create("soak", MFD_CLOEXEC), status;
	struct vio_drvq_slot *slots = calloc(t->size, sizeof *slots);

	if (fd < 0 || ftruncate(fd, (off_t)traffic_bytes(t->size)))
		return "there is no memfd";
	t->base = map(fd, traffic_bytes(t->size));
	struct vio_drvq q = traffic_driver(t, slots);
	gone = 0;
	t->gone = &gone;
	signal(SIGCHLD, on_child);
	pid_t child = fork();
	if (child == 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0)
		_exit(device(*t, q.place, fd, t->base));
	traffic_drive(t, &q);
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		t->failed = t->failed ? t->failed : "the device's process has failed";
	munmap(t->base, traffic_bytes(t->size));
	close(fd);
	free(slots);
	return t->failed;
}

int main(int argc, char **argv)
{
	uint64_t buffers = 400000000;
	int failed = 0;

	for (int i = 1; i < argc; i++)
		if (sscanf(argv[i], "--buffers=%lu", &buffers) != 1 || buffers < 10) {
			fprintf(stderr, "usage: soak [--buffers=N]\n");
			return 2;
		}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%d\n", SHAPES);
	for (unsigned i = 0; i < SHAPES; i++) {
		struct traffic t = { .features = vio_features_of(shapes[i].bits, 1), .size = SIZE, .sleeping = shapes[i].sleeping,
			.total = shapes[i].sleeping ? buffers / 10 : buffers, .kick_fd = eventfd(0, 0), .call_fd = eventfd(0, 0) };
		for (unsigned b = 1; b < 3; b++)
			if (shapes[i].bits[b])
				vio_features_add(&t.features, shapes[i].bits[b]);
		double began = seconds();
		const char *why = run(&t);
		double ns = (seconds() - began) * 1e9 / (double)t.total;
		if (why)
			printf("# %s\n", why);
		printf("%sok %u - two processes, %s: %lu buffers, %.0f ns each, %lu kicks, %lu sleeps\n", why ? "not " : "", i + 1,
		    shapes[i].what, t.total, ns, t.notified, t.slept);
		failed |= why != NULL;
		close(t.kick_fd);
		close(t.call_fd);
	}
	return failed;
}
