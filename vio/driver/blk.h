/*
 * Block driver (virtio 1.4, section 5.2), freestanding.
 *
 *   vio_blk_start(&b, port, &setup)     negotiate, set up the queues
 *   vio_blk_submit(&b, queue, &req)     start a request; then vio_blk_kick() once for several
 *   req = vio_blk_poll(&b, queue)       a finished one: req->status
 *   vio_blk_do(&b, &req)                submit and wait, for firmware
 *   vio_blk_stop(&b)                    reset the device; then vio_blk_abandon() gives back what was in flight
 *
 * Requests are the caller's, and so is the memory the rings lie in (struct vio_blk_setup).  Different queues may be used by
 * different threads; everything else is one thread's at a time.
 */
#ifndef VIO_DRIVER_BLK_H
#define VIO_DRIVER_BLK_H
#include <vio/driver/port.h>
#include <vio/spec/blk.h>
VIO_BEGIN_DECLS

enum { VIO_BLK_DRV_QUEUES = 16, VIO_BLK_DRV_SEGS = 64 };
enum { VIO_BLK_S_LOST = 254 };	/* not the device's: it was reset, broke, or did not answer in time */

struct vio_blk_request {
	/* The device reads the header and writes what follows: they must be memory the platform can map. */
	struct vio_blk_req header;
	vio_le64 append_sector;		/* written for an append only */
	uint8_t answer;
	/* The caller's. */
	uint8_t status;			/* VIO_BLK_S_*, checked */
	uint32_t type;			/* VIO_BLK_T_* */
	uint64_t sector;		/* of an append that went well: where the data is */
	void *data;			/* or NULL, with len 0 */
	uint32_t len;			/* bytes */
	uint32_t got;			/* bytes of data the device has written */
	void *cookie;
	/* The driver's. */
	struct vio_buf head_buf[3];	/* header and answer */
	struct vio_buf data_buf[VIO_BLK_DRV_SEGS];
	uint8_t head_bufs, data_bufs;
	struct vio_blk_request *next;
};

struct vio_blk_queue_memory {
	void *ring;			/* VIO_DRVQ_RING_BYTES(size) bytes, 16-aligned, mappable in one piece */
	struct vio_drvq_slot *slots;	/* size */
	struct vio_split_desc *indirect;	/* size * VIO_BLK_DRV_INDIRECT, mappable in one piece; NULL: none */
};
enum { VIO_BLK_DRV_INDIRECT = VIO_BLK_DRV_SEGS + 4 };

struct vio_blk_setup {
	uint16_t queues;		/* wanted; b->queues is what there is */
	uint16_t queue_size;		/* at most; the device may have less */
	struct vio_features wanted;	/* of vio_blk_drives(); zero: all of them */
	struct vio_blk_queue_memory memory[VIO_BLK_DRV_QUEUES];
};

struct vio_blk {
	struct vio_drv drv;
	uint16_t queues;
	struct vio_drvq q[VIO_BLK_DRV_QUEUES];
	/* From the config space, checked. */
	uint64_t capacity;		/* 512-byte sectors */
	uint32_t blk_size, seg_max, size_max;
	uint32_t max_discard_sectors, max_discard_seg, max_write_zeroes_sectors, max_write_zeroes_seg;
	uint32_t max_secure_erase_sectors, max_secure_erase_seg;
	bool read_only, writeback;
	/* Zones (5.2.5): model VIO_BLK_Z_NONE: there are none.  Reports come as struct vio_blk_zone_report and zones in data. */
	uint8_t model;
	uint32_t zone_sectors, max_open_zones, max_active_zones, max_append_sectors;
	uint32_t write_granularity;	/* bytes */
	/* The driver's. */
	uint16_t stopped;		/* bit i: queue i */
	struct vio_blk_request *finished;	/* of queue 0: finished while vio_blk_do() waited for another */
	struct vio_blk_queue_memory memory[VIO_BLK_DRV_QUEUES];
	struct { struct vio_buf ring, indirect; } mapped[VIO_BLK_DRV_QUEUES];
};

/* What this driver can drive: device-specific bits and those of the ring. */
struct vio_features vio_blk_drives(void);
/* Waits.  False: b->drv.failed says why. */
bool vio_blk_start(struct vio_blk *b, struct vio_drv_port *port, const struct vio_blk_setup *s);
/*
 * False: no room now (submit again after poll; status is 255), or the request breaks a rule or can't be mapped in as many
 * pieces as the device takes (status is VIO_BLK_S_UNSUPP), or the queue is broken (VIO_BLK_S_LOST).
 */
bool vio_blk_submit(struct vio_blk *b, uint16_t queue, struct vio_blk_request *r);
void vio_blk_kick(struct vio_blk *b, uint16_t queue);
/* A finished request, or NULL.  When b->q[queue].broken or the device needs a reset: vio_blk_stop(), vio_blk_abandon(). */
struct vio_blk_request *vio_blk_poll(struct vio_blk *b, uint16_t queue);
/*
 * Submit to queue 0 and wait at most VIO_DRV_PATIENCE_NS.  The status, which is VIO_BLK_S_LOST when there was no answer:
 * then the device has been reset, b->drv.failed says why, and all of queue 0's requests come back lost from vio_blk_poll().
 */
uint8_t vio_blk_do(struct vio_blk *b, struct vio_blk_request *r);
/* The device said that its config space changed: read the capacity again. */
bool vio_blk_config_changed(struct vio_blk *b);
/* CONFIG_WCE: false when it was not negotiated. */
bool vio_blk_set_writeback(struct vio_blk *b, bool on);
/* Reset the device and take the rings' memory back (3.3).  False: it does not answer, so that memory can't be used again. */
bool vio_blk_stop(struct vio_blk *b);
/*
 * RING_RESET (2.6.1): take one queue from the device, false when it can't; then vio_blk_abandon(), and start it again, with
 * up to size entries (at most those of vio_blk_setup).
 */
bool vio_blk_queue_stop(struct vio_blk *b, uint16_t queue);
bool vio_blk_queue_start(struct vio_blk *b, uint16_t queue, uint16_t size);
/* After vio_blk_stop() or vio_blk_queue_stop(): one request at a time that will not be answered any more; NULL: none. */
struct vio_blk_request *vio_blk_abandon(struct vio_blk *b, uint16_t queue);
VIO_END_DECLS
#endif
