/* Between admin.c and admin_store.c. */
#ifndef VIO_DEVICE_ADMIN_IMPL_H
#define VIO_DEVICE_ADMIN_IMPL_H
#include <vio/device/admin.h>

/* Bit opcode: the device knows the command. */
uint64_t vio_dev_admin_commands(const struct vio_dev *d);

/* Statuses.  data: n bytes that came, and zeroes up to VIO_DEV_ADMIN_VALUE. */
uint16_t vio_dev_admin_cap_get(const struct vio_dev *d, uint16_t id, void *to, uint32_t *n);
uint16_t vio_dev_admin_cap_set(struct vio_dev *d, uint16_t id, const void *data, uint32_t n);
uint16_t vio_dev_admin_create(struct vio_dev *d, uint16_t type, uint32_t id, const void *data, uint32_t n);
uint16_t vio_dev_admin_modify(struct vio_dev *d, uint16_t type, uint32_t id, const void *data, uint32_t n);
uint16_t vio_dev_admin_query(const struct vio_dev *d, uint16_t type, uint32_t id, void *to, uint32_t *n);
uint16_t vio_dev_admin_destroy(struct vio_dev *d, uint16_t type, uint32_t id);
/* A resource of which not all capabilities have been set: commands for it are not to be used. */
bool vio_dev_admin_locked(const struct vio_dev *d, uint16_t type);
#endif
