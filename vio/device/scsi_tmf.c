/*
 * The control queue (5.6.6.2): task management and asynchronous notification.
 */
#include <vio/device/scsi_impl.h>

void vio_scsi_dev_tmf_ended(struct scsi_req *r) { (void)r; }

static void refuse(struct vio_devq *q, struct vio_chain *c, uint8_t response)
{
	vio_cur_put(&c->w, &response, 1);
	vio_dev_push(q, c);
}

void vio_scsi_dev_control(struct scsi *s, struct vio_devq *q)
{
	struct vio_chain *c;

	(void)s;
	while ((c = vio_devq_pop(q)))
		refuse(q, c, VIO_SCSI_S_FUNCTION_REJECTED);
}
