/* Entropy driver (virtio 1.4, section 5.4), freestanding: give it buffers, get them back with some random bytes. */
#ifndef VIO_DRIVER_RNG_H
#define VIO_DRIVER_RNG_H
#include <vio/driver/port.h>
VIO_BEGIN_DECLS

enum { VIO_RNG_DRV_QUEUE = 8, VIO_RNG_DRV_SEGS = 4 };

struct vio_rng_request {		/* buf NULL: free */
	void *buf;
	uint32_t len;
	unsigned bufs;
	struct vio_buf mapped[VIO_RNG_DRV_SEGS];
};

struct vio_rng {
	struct vio_drv drv;
	struct vio_drvq q;
	struct vio_buf ring_mapped;
	struct vio_rng_request request[VIO_RNG_DRV_QUEUE];
	struct vio_drvq_slot slots[VIO_RNG_DRV_QUEUE];
	VIO_ALIGNAS(16) unsigned char ring[VIO_DRVQ_RING_BYTES(VIO_RNG_DRV_QUEUE)];
};

/* The ring must lie in memory the platform can map in one piece.  Waits.  False: r->drv.failed says why. */
bool vio_rng_start(struct vio_rng *r, struct vio_drv_port *port);
/*
 * False: no room now, or buf can't be mapped (in VIO_RNG_DRV_SEGS pieces).  buf is the caller's and must stay until
 * vio_rng_poll() gives it back, or vio_rng_stop() has succeeded.
 */
bool vio_rng_request(struct vio_rng *r, void *buf, uint32_t len);
/* A filled buffer and how many random bytes it got (1 to len; 0 from a device that breaks its word), or NULL. */
void *vio_rng_poll(struct vio_rng *r, uint32_t *got);
/*
 * Ask and wait: how many bytes came, 0 when none within VIO_DRV_PATIENCE_NS: then the device has been reset.  Not to be
 * called while vio_rng_request() has buffers with the device.
 */
uint32_t vio_rng_read(struct vio_rng *r, void *buf, uint32_t len);
/* Reset the device and take all memory back.  False: it does not answer, so that memory can't be used again. */
bool vio_rng_stop(struct vio_rng *r);
VIO_END_DECLS
#endif
