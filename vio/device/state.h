/*
 * State, for those who add to it: a transport whose registers are device parts too (transport/mmio_state.c, pci_state.c), and
 * vhost-user, which carries the device type's own state alone.
 */
#ifndef VIO_DEVICE_STATE_H
#define VIO_DEVICE_STATE_H
#include <vio/device/dev.h>
#include <vio/spec/parts.h>
VIO_BEGIN_DECLS

/* Parts being written: used goes on counting when there is no room. */
struct vio_parts { unsigned char *to; size_t room, used; };
void vio_parts_put(struct vio_parts *o, uint16_t type, uint8_t flags, uint32_t selector, const void *value, size_t len);

/* What a transport has besides.  Loading calls part() for each, then check(); only what nobody refused is used then. */
struct vio_state_wire {
	void (*save_common)(void *arg, struct vio_parts *o);	/* between the features and the status (2.12); may be NULL */
	void (*save)(void *arg, struct vio_parts *o);		/* the rest */
	uint16_t (*vector)(void *arg, unsigned queue);		/* NULL: queues have none */
	/* False: no part of this transport.  why: it is one, and can't be. */
	bool (*part)(void *arg, const struct vio_part_header *h, const unsigned char *value, const char **why);
	bool (*queue)(void *arg, unsigned queue, uint16_t vector);	/* a queue's vector; false: can't be; NULL: not looked at */
	const char *(*check)(void *arg);			/* all parts have been seen */
};
size_t vio_dev_save_with(struct vio_dev *d, void *to, size_t room, const struct vio_state_wire *w, void *arg);
const char *vio_dev_load_with(struct vio_dev *d, const void *from, size_t n, const struct vio_state_wire *w, void *arg);

/*
 * The type's own parts with the driver's features before them, and nothing else: what vhost-user's back end keeps for its front end.
 * Loading puts the features that they belong to into *f, whether or not they are settled here already; all or nothing.
 */
size_t vio_dev_save_own(struct vio_dev *d, void *to, size_t room);
const char *vio_dev_load_own(struct vio_dev *d, const void *from, size_t n, struct vio_features *f);
VIO_END_DECLS
#endif
