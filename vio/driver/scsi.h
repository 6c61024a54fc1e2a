/*
 * SCSI host driver (virtio 1.4, section 5.6), freestanding.
 *
 *   vio_scsi_start(&s, port, &setup)       negotiate, set up the queues
 *   vio_scsi_submit(&s, queue, &req)       start a command; then vio_scsi_kick() once for several
 *   req = vio_scsi_poll(&s, queue)         a finished one: req->response, req->status, req->sense
 *   vio_scsi_do(&s, &req)                  submit and wait, for firmware
 *   vio_scsi_manage(&s, lun, what, id)     task management, waiting
 *   vio_scsi_event(&s, &news)              what the device tells unasked: units that come, go, or change
 *   vio_scsi_stop(&s)                      reset the device; then vio_scsi_abandon() gives back what was in flight
 *
 * and over these, for whoever wants to read a disk and knows no SCSI (scsi_unit.c):
 *
 *   vio_scsi_luns(&s, target, list, n), vio_scsi_open(&u, &s, lun), vio_scsi_read(&u, block, blocks, data)
 *
 * Requests are the caller's, and so is the memory the request queues' rings lie in (struct vio_scsi_setup).  struct vio_scsi
 * holds the other two rings: it, requests and units must lie in memory the platform can map.  Different request queues may be
 * used by different threads; everything else is one thread's at a time.
 */
#ifndef VIO_DRIVER_SCSI_H
#define VIO_DRIVER_SCSI_H
#include <vio/driver/port.h>
#include <vio/spec/scsi.h>
VIO_BEGIN_DECLS

enum {
	VIO_SCSI_DRV_QUEUES = 16,
	VIO_SCSI_DRV_SEGS = 64,		/* pieces that a command's data may be mapped in */
	VIO_SCSI_DRV_HEADS = 4,		/* and its header and answer */
	VIO_SCSI_DRV_INDIRECT = VIO_SCSI_DRV_SEGS + VIO_SCSI_DRV_HEADS + 1,
	VIO_SCSI_DRV_CONTROLS = 8, VIO_SCSI_DRV_EVENTS = 8,
	VIO_SCSI_DRV_EVENT_BYTES = 64,
	VIO_SCSI_DRV_COUNTERS = 64,	/* of commands in flight: units share them by chance */
	VIO_SCSI_DRV_CDB = VIO_SCSI_CDB_SIZE, VIO_SCSI_DRV_SENSE = VIO_SCSI_SENSE_SIZE
};
enum { VIO_SCSI_S_LOST = 254 };		/* not the device's: it was reset, broke, or did not answer in time */

/* What goes over the wire for a command, beside its data. */
struct __attribute__((packed)) vio_scsi_wire {
	struct vio_scsi_req req;
	uint8_t cdb[VIO_SCSI_DRV_CDB];
	struct vio_scsi_resp resp;
	uint8_t sense[VIO_SCSI_DRV_SENSE];
};

struct vio_scsi_request {
	struct vio_scsi_wire wire;	/* the device reads and writes it: memory the platform can map */
	/* The caller's. */
	uint8_t lun[8];			/* vio_scsi_lun_set() */
	uint8_t cdb[VIO_SCSI_DRV_CDB];
	void *data;			/* or NULL, with len 0 */
	uint32_t len;
	bool writes;			/* data goes to the device */
	void *cookie;
	/* What came of it. */
	uint8_t response;		/* VIO_SCSI_S_*, checked */
	uint8_t status;			/* SAM's, where response is VIO_SCSI_S_OK */
	uint8_t sense_len;
	uint8_t sense[VIO_SCSI_DRV_SENSE];
	uint32_t got;			/* bytes of data that were moved */
	uint64_t id;			/* for vio_scsi_manage(), since it was submitted */
	/* The driver's. */
	struct vio_buf head_buf[VIO_SCSI_DRV_HEADS];
	struct vio_buf data_buf[VIO_SCSI_DRV_SEGS];
	uint8_t head_bufs, data_bufs;
	uint8_t counter;
	struct vio_scsi_request *next;
};

struct vio_scsi_queue_memory {
	void *ring;			/* VIO_DRVQ_RING_BYTES(size) bytes, 16-aligned, mappable in one piece */
	struct vio_drvq_slot *slots;	/* size */
	struct vio_split_desc *indirect;	/* size * VIO_SCSI_DRV_INDIRECT, mappable in one piece; NULL: none */
};

struct vio_scsi_setup {
	uint16_t queues;		/* request queues wanted; s->queues is what there is */
	uint16_t queue_size;		/* at most; the device may have less */
	struct vio_features wanted;	/* of vio_scsi_drives(); zero: all of them */
	struct vio_scsi_queue_memory memory[VIO_SCSI_DRV_QUEUES];
};

struct vio_scsi {
	struct vio_drv drv;
	uint16_t queues;
	struct vio_drvq q[VIO_SCSI_DRV_QUEUES];
	/* From the config space, checked. */
	uint32_t seg_max;
	uint64_t max_bytes;		/* of a command's data */
	uint32_t per_lun;		/* commands that one unit may have at a time */
	uint16_t max_target;
	uint32_t max_lun;
	/* The driver's. */
	struct vio_scsi_queue_memory memory[VIO_SCSI_DRV_QUEUES];
	struct { struct vio_buf ring, indirect; } mapped[VIO_SCSI_DRV_QUEUES];
	bool stopped;
	uint64_t next_id;		/* atomic */
	uint32_t busy[VIO_SCSI_DRV_COUNTERS];	/* atomic */
	struct vio_scsi_request *finished;	/* of queue 0: finished while vio_scsi_do() waited for another */
	struct vio_drvq control, events;
	struct vio_drvq_slot control_slots[VIO_SCSI_DRV_CONTROLS], event_slots[VIO_SCSI_DRV_EVENTS];
	struct vio_buf inside;			/* what stands below, mapped */
	uint32_t event_bytes;
	VIO_ALIGNAS(16) struct {
		unsigned char control_ring[VIO_DRVQ_RING_BYTES(VIO_SCSI_DRV_CONTROLS)];
		unsigned char event_ring[VIO_DRVQ_RING_BYTES(VIO_SCSI_DRV_EVENTS)];
		unsigned char event[VIO_SCSI_DRV_EVENTS][VIO_SCSI_DRV_EVENT_BYTES];
		union { struct vio_scsi_tmf tmf; struct vio_scsi_an an; } ask;
		struct vio_scsi_an_resp answer;
	} shared;
};

/* ---- Commands ---- */

struct vio_features vio_scsi_drives(void);
/* Waits.  False: s->drv.failed says why. */
bool vio_scsi_start(struct vio_scsi *s, struct vio_drv_port *port, const struct vio_scsi_setup *setup);
/*
 * False: no room now, or as many commands as one unit may have (submit again after poll; response is 255); or the request
 * can't be mapped in as many pieces as the device takes, or is too long (response is VIO_SCSI_S_FAILURE); or the device is of
 * no use any more (VIO_SCSI_S_LOST).
 */
bool vio_scsi_submit(struct vio_scsi *s, uint16_t queue, struct vio_scsi_request *r);
void vio_scsi_kick(struct vio_scsi *s, uint16_t queue);
/* A finished request, or NULL.  When s->q[queue].broken or the device needs a reset: vio_scsi_stop(), vio_scsi_abandon(). */
struct vio_scsi_request *vio_scsi_poll(struct vio_scsi *s, uint16_t queue);
/*
 * Submit to queue 0 and wait at most VIO_DRV_PATIENCE_NS.  The response, which is VIO_SCSI_S_LOST when there was none: then
 * the device has been reset, s->drv.failed says why, and all of queue 0's requests come back lost from vio_scsi_poll().
 */
uint8_t vio_scsi_do(struct vio_scsi *s, struct vio_scsi_request *r);
/* Reset the device and take the rings' memory back (3.3).  False: it does not answer, so that memory can't be used again. */
bool vio_scsi_stop(struct vio_scsi *s);
/* After vio_scsi_stop(): one request at a time that will not be answered any more; NULL: none. */
struct vio_scsi_request *vio_scsi_abandon(struct vio_scsi *s, uint16_t queue);

/* ---- Task management and notification (5.6.6.2), waiting for the answer ---- */

/* what: VIO_SCSI_T_TMF_*; id: of the task that is meant, else 0.  VIO_SCSI_S_* (0: function complete), or LOST as above. */
uint8_t vio_scsi_manage(struct vio_scsi *s, const uint8_t lun[8], uint32_t what, uint64_t id);
/* Ask which asynchronous events there are, or subscribe to them; *actual: those that there are. */
uint8_t vio_scsi_notify(struct vio_scsi *s, const uint8_t lun[8], bool subscribe, uint32_t events, uint32_t *actual);

/* ---- Events (5.6.6.3) ---- */

struct vio_scsi_news {
	uint32_t event;		/* VIO_SCSI_T_NO_EVENT, ..._TRANSPORT_RESET, ..._ASYNC_NOTIFY, ..._PARAM_CHANGE, or one of a later device */
	uint32_t reason;
	uint8_t lun[8];
	bool missed;		/* events were lost: look at all units, and scan the bus */
	bool scan;		/* a whole target may have come or gone: scan it */
};
/* False: there is none.  Its buffer is with the device again. */
bool vio_scsi_event(struct vio_scsi *s, struct vio_scsi_news *n);

/* ---- Units: what a loader needs, waiting (scsi_unit.c) ---- */

/* 5.6.6.1: target 0 to 255, unit 0 to 16383. */
static inline void vio_scsi_lun_set(uint8_t lun[8], uint8_t target, uint16_t unit)
{
	lun[0] = 1;
	lun[1] = target;
	lun[2] = (uint8_t)(0x40 | (unit >> 8 & 0x3f));
	lun[3] = (uint8_t)unit;
	lun[4] = lun[5] = lun[6] = lun[7] = 0;
}

enum { VIO_SCSI_DRV_ROOM = 512 };
struct vio_scsi_unit {
	struct vio_scsi *s;
	struct vio_scsi_request r;
	uint8_t room[VIO_SCSI_DRV_ROOM];
	uint8_t lun[8];
	uint8_t kind;			/* peripheral device type: 0 disk, 5 CD-ROM */
	bool removable;
	uint32_t block;			/* bytes of one; 0: not a unit of blocks, or no medium */
	uint64_t blocks;
	char vendor[9], product[17], revision[5];
	const char *why;		/* what went wrong last */
};

/*
 * The units of a target, from REPORT LUNS: how many there are, of which at most max are in list; or -1.  u->s is set, the rest
 * is the call's to use.
 */
int vio_scsi_luns(struct vio_scsi_unit *u, uint8_t target, uint16_t *list, unsigned max);
/* Look at a unit: false: there is none, or u->why.  One without a medium opens, with block 0. */
bool vio_scsi_open(struct vio_scsi_unit *u, struct vio_scsi *s, uint8_t target, uint16_t unit);
bool vio_scsi_read(struct vio_scsi_unit *u, uint64_t block, uint32_t blocks, void *data);
bool vio_scsi_write(struct vio_scsi_unit *u, uint64_t block, uint32_t blocks, const void *data);
bool vio_scsi_flush(struct vio_scsi_unit *u);
VIO_END_DECLS
#endif
