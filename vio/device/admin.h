/*
 * The administration virtqueue and the self group (virtio 1.4, sections 2.12 and 2.13): a queue of the core, not of a type.
 *
 *     queue[0 .. queues-1]                       the type's
 *     queue[queues .. queues+admin_queues-1]     administration: in the home thread, served here (admin.c)
 *
 * Every device has one where its wire carries ADMIN_VQ.  What it can be asked for beyond the lists of commands and capabilities
 * a type says by a table (struct vio_dev_admin_type): which capabilities it has, and which kinds of resource objects.  The core
 * judges numbers, flags, limits, ids and what depends on what, keeps what the driver has set and made in a store of the
 * instance's, saves and loads it, and forgets it on reset.  A type judges what only it understands and looks things up:
 *
 *     static const struct vio_dev_admin_type admin = { .cap = caps, .caps = 1, .resource = kinds, .resources = 2, ... };
 *     const struct vio_dev_type vio_dev_x = { ..., .admin = &admin };
 *     open:   d->admin_store = x->store;  d->admin_store_bytes = sizeof x->store;       zeroed, VIO_DEV_ADMIN_SLOT() bytes each
 *     use:    const struct rule *r = vio_dev_admin_object(d, RULES, id);
 *
 * The SR-IOV group is not here: no device has virtual functions, so every command for it is told so.
 */
#ifndef VIO_DEVICE_ADMIN_H
#define VIO_DEVICE_ADMIN_H
#include <vio/device/dev.h>
#include <vio/spec/admin.h>
VIO_BEGIN_DECLS

enum { VIO_DEV_ADMIN_VALUE = 512 };	/* bytes of a capability or of an object's data, at most */

struct vio_dev_admin_cap {
	uint16_t id, bytes;
	const struct vio_admin_field *field;
	unsigned fields;
	/* Of what is no number and no bitmap, may the driver have this?  NULL: there is nothing else. */
	bool (*fits)(const void *device, const void *driver);
};

/* An object's data have, at this offset, the le32 id of an object of another kind that it depends on. */
struct vio_dev_admin_ref { uint8_t resource; uint16_t at; };

struct vio_dev_admin_resource {
	uint16_t type, bytes;
	uint32_t caps;			/* bit i: capability i must have been set */
	uint8_t cap;			/* in whose value there is, */
	uint16_t limit_at;		/* at this offset, the le32 limit of ids */
	uint32_t most;			/* as in the device's value: the store has room for so many */
	const struct vio_dev_admin_ref *ref;	/* only to resources that stand before this one */
	unsigned refs;
};

struct vio_dev_admin_type {
	const struct vio_dev_admin_cap *cap;
	unsigned caps;			/* at most 32 */
	const struct vio_dev_admin_resource *resource;
	unsigned resources;
	void (*value)(const struct vio_dev *d, unsigned cap, void *to);	/* what the device can do */
	/*
	 * May an object have this data (n bytes, and zeroes up to the resource's)?  VIO_ADMIN_STATUS_OK, or why not; nothing is
	 * changed yet.  NULL: always.
	 */
	uint16_t (*judge)(struct vio_dev *d, unsigned resource, uint32_t id, const void *data, uint32_t n);
	void (*changed)(struct vio_dev *d);	/* capabilities or objects, by command or by loading; may be NULL */
};

/* One capability or object in the store. */
struct vio_dev_admin_slot { uint16_t len; bool there; uint8_t spare; uint32_t users; };
#define VIO_DEV_ADMIN_SLOT(bytes) (sizeof(struct vio_dev_admin_slot) + (((bytes) + 7u) & ~7u))

/* ---- For types ---- */

/* What the driver has set or made: the value or data (zeroes follow up to what the table says), or NULL. */
const void *vio_dev_admin_cap(const struct vio_dev *d, unsigned cap);
const void *vio_dev_admin_object(const struct vio_dev *d, unsigned resource, uint32_t id);

/* ---- For the core ---- */

static inline bool vio_dev_is_admin(const struct vio_dev *d, unsigned queue) { return queue >= d->queues; }
/* What serves administration queues, as a type serves its own: only the hooks of queues are set. */
extern const struct vio_dev_type vio_dev_admin;
/* As after a reset.  NULL, or what is wrong with the type's store. */
const char *vio_dev_admin_open(struct vio_dev *d);
void vio_dev_admin_reset(struct vio_dev *d);
/* Parts (VIO_PART_ADMIN, with headers): bytes written or needed. */
size_t vio_dev_admin_save(struct vio_dev *d, void *to, size_t room);
/* After vio_dev_admin_reset(), with the features accepted.  try: change nothing.  NULL, or why not. */
const char *vio_dev_admin_load(struct vio_dev *d, const void *parts, size_t n, bool try_only);
VIO_END_DECLS
#endif
