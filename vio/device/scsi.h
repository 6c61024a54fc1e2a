/*
 * SCSI host (virtio 1.4, section 5.6) with its targets: options, and what the operator may do.  The type is vio_dev_scsi.
 *
 *   struct vio_scsi_lun luns[] = { { .target = 0, .lun = 0, .disk = disk, .serial = "0001" } };
 *   struct vio_scsi_options o = { .luns = luns, .lun_count = 1, .queues = 4 };
 *   vio_dev_open(d, &vio_dev_scsi, &o, port, arg, wire);
 *   ...
 *   vio_scsi_dev_add(d, &another);            while the guest runs: it is told, if it listens
 *
 * A logical unit is a disk (SBC) or a CD-ROM drive (MMC) over a struct vio_disk, which is the caller's and must outlive the unit:
 * it may be closed when removed() has been called, or when the device is.  Its size is followed by itself.  All functions are
 * called in the home thread; they return NULL, or a sentence and nothing has been done.
 */
#ifndef VIO_DEVICE_SCSI_H
#define VIO_DEVICE_SCSI_H
#include <vio/backend/disk.h>
#include <vio/backend/keep.h>
#include <vio/device/dev.h>
#include <vio/spec/scsi.h>
VIO_BEGIN_DECLS

enum {
	VIO_SCSI_LUNS = 256,			/* logical units of a device, over all its targets */
	VIO_SCSI_REQUEST_QUEUES = VIO_DEV_QUEUES - VIO_SCSI_Q_REQUEST
};

struct vio_scsi_lun {
	uint8_t target;
	uint16_t lun;				/* at most VIO_SCSI_MAX_LUN */
	struct vio_disk *disk;			/* a CD-ROM drive may be empty: NULL */
	bool read_only;
	bool cdrom;				/* blocks of 2048 bytes, read only, removable */
	bool removable;				/* a disk whose medium can be ejected */
	bool writethrough;			/* start with the write cache off (mode page 8, WCE) */
	bool thin;				/* unmapped blocks are told to read as zeroes (needs disk->can_zero and zero_may_unmap) */
	bool protect;				/* formatted with T10 protection type 1: checked and made up on the way, not stored */
	uint16_t rotation;			/* revolutions per minute; 0: none, an SSD */
	uint32_t logical_block;			/* bytes: 512 to 4096, a power of two; 0: the disk's */
	uint32_t physical_block;		/* 0: the disk's */
	uint64_t wwn;				/* NAA 5 or 6 number of the unit; 0: made of the serial number (see docs/device-scsi.md) */
	/* NUL-terminated ASCII; "": vendor "vio", product "disk" or "cdrom", revision "1", no serial number. */
	char vendor[8 + 1], product[16 + 1], revision[4 + 1], serial[36 + 1];
	/*
	 * Where persistent reservations are kept.  NULL: in memory, for as long as the unit is there, and nothing outlives a power
	 * failure (APTPL is refused).  The caller's, must outlive the unit.
	 */
	struct vio_keep *keep;
};

enum vio_scsi_pi {	/* where a request has its numbers of protection bytes when T10_PI is negotiated */
	VIO_SCSI_PI_NONE,			/* T10_PI is not offered */
	VIO_SCSI_PI_SPEC,			/* behind the CDB, as 5.6.6.1 says */
	VIO_SCSI_PI_LINUX			/* in front of it, as Linux does */
};

struct vio_scsi_options {
	const struct vio_scsi_lun *luns;	/* copied */
	unsigned lun_count;
	uint16_t queues;			/* request queues: 1 to VIO_SCSI_REQUEST_QUEUES */
	uint16_t queue_size;			/* 0: 256 */
	uint32_t seg_max;			/* data segments of a request; 0: 254 */
	uint32_t max_sectors;			/* of 512 bytes, in a request; 0: 65535 */
	uint32_t cmd_per_lun;			/* 0: 128, or the queue's size if that is less */
	enum vio_scsi_pi pi;
	/* Who this guest is in the persistent reservations of units that others share: at most 64 characters; "": "vio". */
	const char *initiator;
	/* Something that vio_scsi_dev_each() tells has changed: a guest ejected a medium, say.  Home thread; may be NULL. */
	void (*news)(void *arg, uint8_t target, uint16_t lun);
	void *news_arg;
};
extern const struct vio_dev_type vio_dev_scsi;

/* ---- For the operator, in the home thread ---- */

/* A unit more; a driver that negotiated HOTPLUG is told. */
const char *vio_scsi_dev_add(struct vio_dev *d, const struct vio_scsi_lun *lun);
/*
 * A unit less: what is in flight ends (cancelled where that goes), the driver is told, then removed() is called (perhaps before
 * this returns; NULL: nobody cares) and its disk and keep are the caller's again.
 */
const char *vio_scsi_dev_remove(struct vio_dev *d, uint8_t target, uint16_t lun, void (*removed)(void *arg), void *arg);
/*
 * Another medium in a removable unit; NULL: none.  Unless forced, one that the guest has locked (PREVENT ALLOW MEDIUM REMOVAL)
 * stays, and the guest is asked for it.  The old disk is the caller's again when changed() is called.
 */
const char *vio_scsi_dev_change_medium(struct vio_dev *d, uint8_t target, uint16_t lun, struct vio_disk *disk, bool force,
    void (*changed)(void *arg), void *arg);

/* The write cache of a disk on or off, as mode page 8 would; the guest is told of it by a unit attention. */
const char *vio_scsi_dev_set_write_cache(struct vio_dev *d, uint8_t target, uint16_t lun, bool on);

struct vio_scsi_dev_unit {
	uint8_t target;
	uint16_t lun;
	bool cdrom, removable, read_only;
	bool has_medium;			/* a disk is there */
	bool open, locked;			/* the tray; the guest forbids removal */
	bool write_cache;
	bool leaving;				/* being removed */
	uint32_t logical_block;
	uint64_t blocks;
	uint32_t registrants;			/* of persistent reservations */
	uint8_t reservation;			/* its type, 0: none */
	uint64_t commands, bytes_read, bytes_written;
	uint64_t failed;			/* ended with CHECK CONDITION, other than UNIT ATTENTION */
	uint64_t conflicts;			/* RESERVATION CONFLICT */
	uint64_t aborted;			/* by task management, or resets */
};
/* Until each() gives false. */
void vio_scsi_dev_each(const struct vio_dev *d, bool (*each)(void *arg, const struct vio_scsi_dev_unit *u), void *arg);
/* Events that the driver gave no buffers for. */
uint64_t vio_scsi_dev_events_missed(const struct vio_dev *d);
VIO_END_DECLS
#endif
