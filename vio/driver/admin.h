/*
 * Administering a device (virtio 1.4, sections 2.12 and 2.13), whatever drives it, freestanding: lists of commands, capabilities
 * and resource objects of the self group, by the first administration queue.
 *
 *     static struct vio_admin admin;
 *     port->admin = &admin;                       before the device's driver is started
 *     vio_net_start(&net, port, ...);             negotiates ADMIN_VQ and sets the queue up
 *     if (vio_admin_ready(&admin) && vio_admin_begin(&admin))
 *             status = vio_admin_cap_set(&admin, &cap, value);
 *             status = vio_admin_create(&admin, &kind, id, data, n);
 *
 * One command at a time, and each waits for its answer, so that they are carried out in order (2.13).  What the specification
 * forbids a driver to send is answered here and not sent.  A reset of the device forgets all.
 */
#ifndef VIO_DRIVER_ADMIN_H
#define VIO_DRIVER_ADMIN_H
#include <vio/driver/port.h>
#include <vio/spec/admin.h>
VIO_BEGIN_DECLS

enum { VIO_ADMIN_DRV_QUEUE = 4, VIO_ADMIN_DRV_SEGS = 4, VIO_ADMIN_DRV_DATA = 512 };

/* A status of ours: no answer came; a->drv->failed says why. */
enum { VIO_ADMIN_STATUS_NO_ANSWER = 0xffff };

struct vio_admin {
	struct vio_drv *drv;			/* NULL: there is no administration queue */
	uint16_t queue;				/* which one it is */
	uint16_t status, qualifier;		/* of the last answer, reserved ones as the specification reads them */
	uint16_t status_said, qualifier_said;	/* as the device said them, for messages */
	uint64_t supported, used;		/* commands: what the device has, what it was told */
	uint32_t round;				/* counts starts */
	struct vio_drvq q;
	struct vio_buf ring_mapped, mapped[2 * VIO_ADMIN_DRV_SEGS];	/* mapped: of in, then of out */
	unsigned in_bufs, out_bufs;		/* 0: not mapped */
	uint32_t in_bytes, out_bytes;
	struct vio_drvq_slot slots[VIO_ADMIN_DRV_QUEUE];
	VIO_ALIGNAS(16) unsigned char ring[VIO_DRVQ_RING_BYTES(VIO_ADMIN_DRV_QUEUE)];
	VIO_ALIGNAS(8) unsigned char in[sizeof(struct vio_admin_cmd) + sizeof(struct vio_admin_object) + VIO_ADMIN_DRV_DATA];
	VIO_ALIGNAS(8) unsigned char out[sizeof(struct vio_admin_answer) + VIO_ADMIN_DRV_DATA];
};

/* A capability as this driver knows it: the caller's, as are the two that follow. */
struct vio_admin_cap {
	uint16_t id, bytes;			/* of the value that the driver knows */
	const struct vio_admin_field *field;	/* its numbers and bitmaps; of the rest the caller sets no more than the device has */
	unsigned fields;
	/* Ours; zero at first. */
	uint32_t round, live;			/* since which start it is set; objects that stand on it */
	unsigned char value[VIO_ADMIN_DRV_DATA];
};
/* A kind of resource objects. */
struct vio_admin_kind {
	uint16_t type;
	struct vio_admin_cap *cap[3];		/* what it needs; cap[0] has, at limit_at, the le32 limit of ids; NULL: no more */
	uint16_t limit_at;
	uint64_t *made;				/* bit id: there is such an object; of words, so many */
	uint32_t words;
	/* Ours. */
	uint32_t round;
};

static inline bool vio_admin_ready(const struct vio_admin *a) { return a->drv != NULL; }

/* Ask for the device's commands and tell it which of them we use: those above.  Before any other.  Waits, as all below do. */
bool vio_admin_begin(struct vio_admin *a);
/* One command of any kind that is in use: n bytes of data, room for the result, how much of that came.  Its status. */
uint16_t vio_admin_command(struct vio_admin *a, uint16_t opcode, uint16_t group, uint64_t member, const void *data, uint32_t n,
    void *result, uint32_t room, uint32_t *got);

/* Has the device this capability?  And what can it do: bytes of the value, zeroes where the device knows less. */
bool vio_admin_cap_has(struct vio_admin *a, uint16_t id);
uint16_t vio_admin_cap_get(struct vio_admin *a, uint16_t id, void *value, uint32_t bytes);
/* Not sent: VIO_ADMIN_STATUS_EINVAL for more than the device has, EBUSY while there are objects. */
uint16_t vio_admin_cap_set(struct vio_admin *a, struct vio_admin_cap *cap, const void *value);

/* Not sent: EEXIST, ENXIO for what there is already, or is not; ENOSPC beyond the limit, or with a capability not set. */
uint16_t vio_admin_create(struct vio_admin *a, struct vio_admin_kind *k, uint32_t id, const void *data, uint32_t n);
uint16_t vio_admin_modify(struct vio_admin *a, struct vio_admin_kind *k, uint32_t id, const void *data, uint32_t n);
uint16_t vio_admin_query(struct vio_admin *a, struct vio_admin_kind *k, uint32_t id, void *data, uint32_t room, uint32_t *got);
uint16_t vio_admin_destroy(struct vio_admin *a, struct vio_admin_kind *k, uint32_t id);

/* The core's: before DRIVER_OK; after a reset. */
bool vio_admin_start(struct vio_admin *a, struct vio_drv *d);
void vio_admin_end(struct vio_admin *a);
VIO_END_DECLS
#endif
