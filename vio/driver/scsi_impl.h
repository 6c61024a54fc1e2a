/* What the SCSI driver's files share: scsi.c (commands), scsi_control.c (task management, events), scsi_unit.c (units). */
#ifndef VIO_DRIVER_SCSI_IMPL_H
#define VIO_DRIVER_SCSI_IMPL_H
#include <vio/driver/scsi.h>
#include <vio/ring/freestanding.h>

/* scsi.c */
bool vio_scsi_drv_map_whole(struct vio_scsi *s, const void *p, uint64_t bytes, struct vio_buf *out);
void vio_scsi_drv_unmap_whole(struct vio_scsi *s, const void *p, struct vio_buf *buf);
uint16_t vio_scsi_drv_queue_size(struct vio_scsi *s, uint16_t queue, uint16_t most);
/* Fail and reset; all requests of queue 0 but r will come from vio_scsi_poll(). */
void vio_scsi_drv_give_up(struct vio_scsi *s, const char *why, struct vio_scsi_request *r);

/* scsi_control.c: both queues, with all event buffers given. */
bool vio_scsi_drv_start_control(struct vio_scsi *s);
#endif
