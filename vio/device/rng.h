/* Entropy device (virtio 1.4, section 5.4): options.  The type is vio_dev_rng. */
#ifndef VIO_DEVICE_RNG_H
#define VIO_DEVICE_RNG_H
#include <vio/backend/source.h>
#include <vio/device/dev.h>
VIO_BEGIN_DECLS

struct vio_rng_options {
	struct vio_source *source;	/* the caller's; must outlive the device */
	uint16_t queue_size;		/* 0: 64 */
};
extern const struct vio_dev_type vio_dev_rng;
VIO_END_DECLS
#endif
