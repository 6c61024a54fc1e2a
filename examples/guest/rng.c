/* Entropy: twice some bytes, which differ. */
#include <vio/driver/rng.h>
#include "guest.h"

enum { BYTES = 64 };

void drive_rng(struct vio_drv_port *port)
{
	struct vio_rng *r = GUEST_NEW(struct vio_rng);
	unsigned char *a = guest_alloc(2 * BYTES, 64), *b = a + BYTES;

	if (!expect(vio_rng_start(r, port), "starts")) {
		say("# %s\n", r->drv.failed);
		return;
	}
	drive_features(&r->drv);
	uint32_t first = vio_rng_read(r, a, BYTES), second = vio_rng_read(r, b, BYTES);
	expect(first >= 16 && second >= 16, "gives bytes");
	expect(memcmp(a, b, 16) != 0, "they differ");
	expect(vio_rng_stop(r), "stops");
}
