/*
 * A front end that types along, for guests, where a whole machine would be one too many (tests/guest/inside/dev-input):
 *
 *   input_front SOCKET READY EVENTS [LED FILE]     makes the file READY when the driver has begun, and ends with 0 when these
 *                                                  events have come (T:C:V,T:C:V...); or lights the LED until there is FILE
 *   input_front SOCKET READY only:KEY FILE         takes nothing until there is FILE; then, sooner or later, this key is down
 *                                                  and no other one
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/driver/input.h>
#include <vio/vhost/frontend.h>

enum { MEMORY = 1 << 20, SECONDS = 30, KEYS = 256 };

static int fail(const char *what)
{
	printf("%s\n", what);
	return 1;
}

static int listen_for(struct vio_input *in, char *events)
{
	const struct vio_platform *pf = &in->drv.port->platform;
	uint64_t deadline = pf->ops->now_ns(pf->arg) + SECONDS * UINT64_C(1000000000);
	struct vio_input_said e;
	char came[64];
	unsigned n = 0;

	for (char *word = strtok(events, ","); word; word = strtok(NULL, ","), n++) {
		if (!vio_input_next_wait(in, &e, deadline))
			return fail("no event comes");
		snprintf(came, sizeof came, "%u:%u:%d", e.type, e.code, e.value);
		if (strcmp(came, word)) {
			printf("event %u is %s, not %s\n", n, came, word);
			return 1;
		}
	}
	printf("%u events of %s\n", n, in->name);
	fflush(stdout);
	return 0;
}

static void wait_for(const char *file)
{
	for (unsigned i = 0; i < SECONDS * 10 && access(file, F_OK); i++)
		usleep(100000);
}

/* Whatever was lost on the way, what is down at the end is what is down. */
static int only(struct vio_input *in, int key)
{
	const struct vio_platform *pf = &in->drv.port->platform;
	uint64_t deadline = pf->ops->now_ns(pf->arg) + SECONDS * UINT64_C(1000000000);
	struct vio_input_said e;
	bool down[KEYS] = { false };
	unsigned n = 0, count = 0;

	while (!(count == 1 && down[key] && e.type == VIO_EV_SYN)) {
		if (!vio_input_next_wait(in, &e, deadline)) {
			printf("after %u events %u keys are down, %d among them: %d\n", n, count, key, down[key]);
			return 1;
		}
		n++;
		if (e.type != VIO_EV_KEY || e.code >= KEYS)
			continue;
		count = count + (e.value != 0) - down[e.code];
		down[e.code] = e.value;
	}
	printf("%u events\n", n);
	return 0;
}

int main(int argc, char **argv)
{
	struct vio_vhost_memory memory;
	char why[512] = "";

	if (argc < 4 || !vio_vhost_memory_make(&memory, MEMORY))
		return fail("usage, or no memory");
	struct vio_vhost_front *f = vio_vhost_connect(&(struct vio_vhost_front_options){ .path = argv[1], .memory = &memory,
	    .device_id = VIO_ID_INPUT, .irq = true }, why);
	struct vio_input *in = memory.base;
	if (!f || !vio_input_start(in, vio_vhost_drv_port(f)))
		return fail(f ? in->drv.failed : why);
	close(open(argv[2], O_CREAT | O_WRONLY, 0600));
	int key = -1, status;
	if (argc > 4 && sscanf(argv[3], "only:%d", &key) == 1) {
		wait_for(argv[4]);
		status = key >= 0 && key < KEYS ? only(in, key) : 1;
		argc = 4;
	} else {
		status = listen_for(in, argv[3]);
	}
	if (!status && argc > 4 && !vio_input_tell(in, VIO_EV_LED, (uint16_t)atoi(argv[4]), 1))
		status = fail("the light can't be lit");
	if (argc > 5)
		wait_for(argv[5]);
	vio_input_stop(in);
	vio_vhost_disconnect(f);
	return status;
}
