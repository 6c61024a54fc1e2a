/* SCSI host device (virtio 1.4, section 5.6).  What travels inside its requests is in spec/scsi_cmd.h. */
#ifndef VIO_SPEC_SCSI_H
#define VIO_SPEC_SCSI_H
#include <vio/spec/types.h>

enum {	/* 5.6.2 */
	VIO_SCSI_Q_CONTROL = 0,
	VIO_SCSI_Q_EVENT = 1,
	VIO_SCSI_Q_REQUEST = 2		/* the first of num_queues */
};

enum {	/* 5.6.3 feature bits */
	VIO_SCSI_F_INOUT = 0,
	VIO_SCSI_F_HOTPLUG = 1,
	VIO_SCSI_F_CHANGE = 2,
	VIO_SCSI_F_T10_PI = 3
};

struct vio_scsi_config {	/* 5.6.4 */
	vio_le32 num_queues;
	vio_le32 seg_max;
	vio_le32 max_sectors;
	vio_le32 cmd_per_lun;
	vio_le32 event_info_size;
	vio_le32 sense_size;	/* a driver may write these two */
	vio_le32 cdb_size;
	vio_le16 max_channel;
	vio_le16 max_target;
	vio_le32 max_lun;
};
VIO_STATIC_ASSERT(sizeof(struct vio_scsi_config) == 36, "5.6.4");
VIO_STATIC_ASSERT(offsetof(struct vio_scsi_config, sense_size) == 20, "5.6.4");
enum { VIO_SCSI_SENSE_SIZE = 96, VIO_SCSI_CDB_SIZE = 32 };	/* after a reset */
enum { VIO_SCSI_MAX_TARGET = 255, VIO_SCSI_MAX_LUN = 16383 };

/*
 * 5.6.6.1: a request is this, cdb_size bytes of CDB, with T10_PI struct vio_scsi_pi_bytes and pi_bytesout bytes of protection
 * information, then the data out.  Linux (and QEMU and the kernel's vhost with it) has struct vio_scsi_pi_bytes before the CDB.
 */
struct vio_scsi_req {
	uint8_t lun[8];
	uint8_t id[8];		/* le64; not aligned behind everything */
	uint8_t task_attr;
	uint8_t prio;
	uint8_t crn;
};
struct vio_scsi_pi_bytes { uint8_t out[4], in[4]; };	/* le32 */
/* Then sense_size bytes of sense data, with T10_PI pi_bytesin bytes of protection information, and the data in. */
struct vio_scsi_resp {
	vio_le32 sense_len;
	vio_le32 residual;
	vio_le16 status_qualifier;
	uint8_t status;
	uint8_t response;
};
VIO_STATIC_ASSERT(sizeof(struct vio_scsi_req) == 19 && sizeof(struct vio_scsi_resp) == 12, "5.6.6.1");

enum { VIO_SCSI_T_SIMPLE = 0, VIO_SCSI_T_ORDERED = 1, VIO_SCSI_T_HEAD = 2, VIO_SCSI_T_ACA = 3 };	/* task_attr */

enum {	/* response */
	VIO_SCSI_S_OK = 0,
	VIO_SCSI_S_OVERRUN = 1,
	VIO_SCSI_S_ABORTED = 2,
	VIO_SCSI_S_BAD_TARGET = 3,
	VIO_SCSI_S_RESET = 4,
	VIO_SCSI_S_BUSY = 5,
	VIO_SCSI_S_TRANSPORT_FAILURE = 6,
	VIO_SCSI_S_TARGET_FAILURE = 7,
	VIO_SCSI_S_NEXUS_FAILURE = 8,
	VIO_SCSI_S_FAILURE = 9,
	/* 5.6.6.2, and FAILURE and BAD_TARGET of those above */
	VIO_SCSI_S_FUNCTION_COMPLETE = 0,
	VIO_SCSI_S_FUNCTION_SUCCEEDED = 10,
	VIO_SCSI_S_FUNCTION_REJECTED = 11,
	VIO_SCSI_S_INCORRECT_LUN = 12
};

enum { VIO_SCSI_T_TMF = 0, VIO_SCSI_T_AN_QUERY = 1, VIO_SCSI_T_AN_SUBSCRIBE = 2 };	/* 5.6.6.2, control queue */
enum {
	VIO_SCSI_T_TMF_ABORT_TASK = 0,
	VIO_SCSI_T_TMF_ABORT_TASK_SET = 1,
	VIO_SCSI_T_TMF_CLEAR_ACA = 2,
	VIO_SCSI_T_TMF_CLEAR_TASK_SET = 3,
	VIO_SCSI_T_TMF_I_T_NEXUS_RESET = 4,
	VIO_SCSI_T_TMF_LOGICAL_UNIT_RESET = 5,
	VIO_SCSI_T_TMF_QUERY_TASK = 6,
	VIO_SCSI_T_TMF_QUERY_TASK_SET = 7
};
struct vio_scsi_tmf { vio_le32 type, subtype; uint8_t lun[8]; vio_le64 id; };	/* then one byte of response to write */
struct vio_scsi_an { vio_le32 type; uint8_t lun[8]; vio_le32 event_requested; };	/* then struct vio_scsi_an_resp */
struct vio_scsi_an_resp { uint8_t event_actual[4], response; };
VIO_STATIC_ASSERT(sizeof(struct vio_scsi_tmf) == 24 && sizeof(struct vio_scsi_an) == 16, "5.6.6.2");
VIO_STATIC_ASSERT(sizeof(struct vio_scsi_an_resp) == 5, "5.6.6.2");

enum {	/* asynchronous notification, as MMC names them */
	VIO_SCSI_EVT_ASYNC_OPERATIONAL_CHANGE = 2,
	VIO_SCSI_EVT_ASYNC_POWER_MGMT = 4,
	VIO_SCSI_EVT_ASYNC_EXTERNAL_REQUEST = 8,
	VIO_SCSI_EVT_ASYNC_MEDIA_CHANGE = 16,
	VIO_SCSI_EVT_ASYNC_MULTI_HOST = 32,
	VIO_SCSI_EVT_ASYNC_DEVICE_BUSY = 64
};

struct vio_scsi_event { vio_le32 event; uint8_t lun[8]; vio_le32 reason; };	/* 5.6.6.3 */
VIO_STATIC_ASSERT(sizeof(struct vio_scsi_event) == 16, "5.6.6.3");
enum {
	VIO_SCSI_T_NO_EVENT = 0,
	VIO_SCSI_T_TRANSPORT_RESET = 1,
	VIO_SCSI_T_ASYNC_NOTIFY = 2,
	VIO_SCSI_T_PARAM_CHANGE = 3
};
#define VIO_SCSI_T_EVENTS_MISSED UINT32_C(0x80000000)
enum { VIO_SCSI_EVT_RESET_HARD = 0, VIO_SCSI_EVT_RESET_RESCAN = 1, VIO_SCSI_EVT_RESET_REMOVED = 2 };
#endif
