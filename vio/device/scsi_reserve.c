/* Persistent reservations (SPC-4, 5.13). */
#include <vio/device/scsi_impl.h>

void vio_scsi_dev_reserve_refresh(struct scsi_unit *u) { (void)u; }

bool vio_scsi_dev_reserve_stale(const struct scsi_unit *u)
{
	return u->o.keep->ops->version(u->o.keep) != __atomic_load_n(&u->keep_version, __ATOMIC_RELAXED);
}
