/*
 * A front end that types along: input_front SOCKET READY EVENTS [LED] makes the file READY when the driver has begun, and ends
 * with 0 when these events have come (T:C:V,T:C:V...), after it has lit the LED.  For guests, where a whole machine would be
 * one too many (tests/guest/inside/dev-input).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/driver/input.h>
#include <vio/vhost/frontend.h>

enum { MEMORY = 1 << 20, SECONDS = 30 };

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
	int status = listen_for(in, argv[3]);
	if (!status && argc > 4 && !vio_input_tell(in, VIO_EV_LED, (uint16_t)atoi(argv[4]), 1))
		status = fail("the light can't be lit");
	if (argc > 5) {		/* and until this file is there, the light stays */
		for (unsigned i = 0; i < SECONDS * 10 && access(argv[5], F_OK); i++)
			usleep(100000);
	}
	vio_input_stop(in);
	vio_vhost_disconnect(f);
	return status;
}
