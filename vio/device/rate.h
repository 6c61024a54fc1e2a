/* Between core.c and rate.c: what the operator allows, and measures, of a device. */
#ifndef VIO_DEVICE_RATE_H
#define VIO_DEVICE_RATE_H
#include <vio/device/dev.h>

/* May q have a turn now?  Shortens it to what is allowed; false: why_empty is VIO_WAIT_RATE and an alarm is set. */
bool vio_dev_rate_allows(struct vio_dev *d, struct vio_devq *q);
/* There is no limit any more. */
void vio_dev_rate_end(struct vio_dev *d, struct vio_devq *q);
/* Count what q has done since the last time. */
void vio_dev_rate_charge(struct vio_dev *d, struct vio_devq *q);
/* A turn begins (ends): count the time that requests have been in flight. */
void vio_dev_time_turn(struct vio_dev *d, struct vio_devq *q, bool begins);
#endif
