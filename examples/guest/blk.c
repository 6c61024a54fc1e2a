/* A disk: its name, eight writes in flight at once, a flush, and what was written is read back.  Sectors 8 to 71 are overwritten. */
#include <vio/driver/blk.h>
#include "guest.h"

enum { QUEUE = 32, FLIGHT = 8, BYTES = 4096, FIRST = 8 };

static bool start(struct vio_blk *b, struct vio_drv_port *port)
{
	struct vio_blk_setup setup = { .queues = 1, .queue_size = QUEUE, .memory[0] = {
		.ring = guest_alloc(VIO_DRVQ_RING_BYTES(QUEUE), 16),
		.slots = guest_alloc(QUEUE * sizeof(struct vio_drvq_slot), 8),
		.indirect = guest_alloc(QUEUE * VIO_BLK_DRV_INDIRECT * sizeof(struct vio_split_desc), 16) } };

	if (!expect(vio_blk_start(b, port, &setup), "starts"))
		return expect(false, "%s", b->drv.failed);
	drive_features(&b->drv);
	say("# blk: %llu sectors, of %u bytes\n", (unsigned long long)b->capacity, b->blk_size);
	return expect(b->capacity >= FIRST + FLIGHT * BYTES / VIO_BLK_SECTOR, "is large enough");
}

/* Every byte tells of its place. */
static void fill(unsigned char *data, unsigned request)
{
	for (uint32_t i = 0; i < BYTES; i += 8)
		*(uint64_t *)(data + i) = UINT64_C(0x0123456789abcdef) * (request + 1) + i;
}

static bool check(const unsigned char *data, unsigned request)
{
	for (uint32_t i = 0; i < BYTES; i += 8)
		if (*(const uint64_t *)(data + i) != UINT64_C(0x0123456789abcdef) * (request + 1) + i)
			return false;
	return true;
}

/* All at once; true when each came back well. */
static bool several(struct vio_blk *b, struct vio_blk_request *r, uint32_t type)
{
	uint64_t deadline = clock_ns() + VIO_DRV_PATIENCE_NS;
	unsigned done = 0, good = 0;

	for (unsigned i = 0; i < FLIGHT; i++) {
		r[i].type = type;
		r[i].sector = FIRST + i * BYTES / VIO_BLK_SECTOR;
		r[i].len = BYTES;
		if (!vio_blk_submit(b, 0, &r[i]))
			return false;
	}
	vio_blk_kick(b, 0);
	while (done < FLIGHT && clock_ns() < deadline) {
		struct vio_blk_request *one = vio_blk_poll(b, 0);
		if (one) {
			done++;
			good += one->status == VIO_BLK_S_OK;
		} else {
			vio_drv_wait(&b->drv, 0, &b->q[0], deadline);
		}
	}
	return good == FLIGHT;
}

void drive_blk(struct vio_drv_port *port)
{
	struct vio_blk *b = GUEST_NEW(struct vio_blk);
	struct vio_blk_request *r = guest_alloc((FLIGHT + 1) * sizeof *r, 64), *one = &r[FLIGHT];
	char *name = guest_alloc(VIO_BLK_ID_BYTES + 1, 8);
	bool right = true;

	if (!start(b, port))
		return;
	*one = (struct vio_blk_request){ .type = VIO_BLK_T_GET_ID, .data = name, .len = VIO_BLK_ID_BYTES };
	expect(vio_blk_do(b, one) == VIO_BLK_S_OK, "tells its name");
	say("# blk: name %s\n", name);
	for (unsigned i = 0; i < FLIGHT; i++)
		fill(r[i].data = guest_alloc(BYTES, 512), i);
	expect(several(b, r, VIO_BLK_T_OUT), "eight writes at once");
	*one = (struct vio_blk_request){ .type = VIO_BLK_T_FLUSH };
	expect(vio_blk_do(b, one) == VIO_BLK_S_OK, "a flush");
	for (unsigned i = 0; i < FLIGHT; i++)
		memset(r[i].data, 0, BYTES);
	expect(several(b, r, VIO_BLK_T_IN), "eight reads at once");
	for (unsigned i = 0; i < FLIGHT; i++)
		right &= check(r[i].data, i);
	expect(right, "what was written is read");
	*one = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .sector = b->capacity, .data = r[0].data, .len = VIO_BLK_SECTOR };
	expect(vio_blk_do(b, one) != VIO_BLK_S_OK, "a read behind its end is refused");
	expect(vio_blk_stop(b), "stops");
}
