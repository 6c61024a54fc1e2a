/* A keyboard, or what there is: its names; with input=key a key that the host presses. */
#include <vio/driver/input.h>
#include "guest.h"

static bool key(struct vio_input *in)
{
	uint64_t deadline = clock_ns() + 2 * VIO_DRV_PATIENCE_NS;
	struct vio_input_said e;

	say("# input: press a key\n");
	while (vio_input_next_wait(in, &e, deadline))
		if (e.type == VIO_EV_KEY && e.value == 1) {
			say("# input: key %u\n", e.code);
			return true;
		}
	return false;
}

void drive_input(struct vio_drv_port *port)
{
	struct vio_input *in = GUEST_NEW(struct vio_input);

	if (!expect(vio_input_start(in, port), "starts")) {
		say("# %s\n", in->drv.failed);
		return;
	}
	drive_features(&in->drv);
	expect(in->name[0], "has a name");
	say("# input: %s, bus %u, vendor %x, product %x\n", in->name, in->bustype, in->vendor, in->product);
	if (word_is("input", "key"))
		expect(key(in), "tells of a key");
	expect(vio_input_stop(in), "stops");
}
