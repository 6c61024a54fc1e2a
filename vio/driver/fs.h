/*
 * File system driver (virtio 1.4, section 5.11), freestanding: a FUSE client.
 *
 *   vio_fs_start(&f, port, &setup)      negotiate, set up the queues, INIT
 *   vio_fs_submit(&f, queue, &req)      start a request; then vio_fs_kick() once for several
 *   req = vio_fs_poll(&f, queue)        an answered one: req->error, req->got
 *   vio_fs_do(&f, &req)                 submit to queue 0 and wait; vio_fs_lookup() and its kind do that for firmware
 *   vio_fs_forget(&f, node, n)          by the high priority queue
 *   vio_fs_stop(&f)                     reset the device; then vio_fs_abandon() gives back what was in flight
 *
 * Queues are request queues here, counted from 0.  Requests are the caller's, and so is the memory the rings lie in (struct
 * vio_fs_setup).  Different queues may be used by different threads; everything else is one thread's at a time.
 */
#ifndef VIO_DRIVER_FS_H
#define VIO_DRIVER_FS_H
#include <vio/driver/port.h>
#include <vio/spec/fs.h>
VIO_BEGIN_DECLS

enum { VIO_FS_DRV_QUEUES = 16, VIO_FS_DRV_SEGS = 32, VIO_FS_DRV_HIPRIO = 8 };
enum { VIO_FS_E_LOST = 512, VIO_FS_E_WRONG = 513 };	/* not the device's: it was reset or did not answer; it answered nonsense */
enum { VIO_FS_ANSWER = 288, VIO_FS_ARGS = 88 };		/* the longest fixed parts there are */

struct vio_fs_request {
	/* The device reads in and args and writes out and answer: they must be memory the platform can map. */
	struct vio_fuse_in_header in;
	VIO_ALIGNAS(8) unsigned char args[VIO_FS_ARGS];	/* the caller's: the operation's ..._in */
	struct vio_fuse_out_header out;
	VIO_ALIGNAS(8) unsigned char answer[VIO_FS_ANSWER];	/* its ..._out, when error is 0 */
	/* The caller's question. */
	uint32_t opcode;		/* VIO_FUSE_*, but none of the high priority queue */
	uint64_t node;
	uint32_t uid, gid, pid;
	uint32_t args_len, answer_len;	/* bytes of the fixed parts */
	const void *send;		/* behind args: names, bytes to be written; or NULL, with send_len 0 */
	uint32_t send_len;
	void *receive;			/* behind answer: what is read; or NULL, with receive_len 0 */
	uint32_t receive_len;
	void *cookie;
	/* The answer. */
	int error;			/* 0, a Linux errno value, or VIO_FS_E_* */
	uint32_t got;			/* bytes that have come into receive */
	/* The driver's. */
	struct vio_buf in_buf[2], out_buf[2], send_buf[VIO_FS_DRV_SEGS], receive_buf[VIO_FS_DRV_SEGS];
	uint8_t in_bufs, out_bufs, send_bufs, receive_bufs;
	struct vio_fs_request *next;
};

struct vio_fs_queue_memory {
	void *ring;			/* VIO_DRVQ_RING_BYTES(size) bytes, 16-aligned, mappable in one piece */
	struct vio_drvq_slot *slots;	/* size */
	struct vio_split_desc *indirect;	/* size * VIO_FS_DRV_INDIRECT, mappable in one piece; NULL: none */
};
enum { VIO_FS_DRV_INDIRECT = 2 * VIO_FS_DRV_SEGS + 4 };

struct vio_fs_setup {
	uint16_t queues;		/* request queues wanted; f->queues is what there is */
	uint16_t queue_size;		/* at most; the device may have less */
	struct vio_features wanted;	/* of vio_fs_drives(); zero: all of them */
	uint16_t queues_there;		/* not 0: the wire has no config space, so many there are, and the tag is not known */
	uint64_t init_flags;		/* VIO_FUSE_* of INIT, as bits; MAX_PAGES and INIT_EXT go without saying */
	struct vio_fs_queue_memory memory[VIO_FS_DRV_QUEUES];
};

struct vio_fs_hiprio {			/* FORGET or INTERRUPT on its way; busy: with the device */
	struct vio_fuse_in_header in;
	VIO_ALIGNAS(8) unsigned char args[8];
	struct vio_buf buf[2];
	uint8_t bufs;
	bool busy;
};

struct vio_fs {
	struct vio_drv drv;
	uint16_t queues;
	struct vio_drvq q[VIO_FS_DRV_QUEUES];
	/* From the config space and INIT, checked. */
	char tag[37];			/* NUL-terminated */
	uint32_t minor, max_write;	/* bytes of one WRITE */
	uint32_t max_read;		/* bytes of one READ */
	uint64_t flags;			/* what was agreed on */
	/* The driver's. */
	uint64_t unique;		/* atomic */
	uint32_t stopped;		/* bit i: queue i */
	struct vio_fs_request *finished;	/* of queue 0: finished while vio_fs_do() waited for another */
	struct vio_fs_queue_memory memory[VIO_FS_DRV_QUEUES];
	struct { struct vio_buf ring, indirect; } mapped[VIO_FS_DRV_QUEUES];
	/* The high priority queue and vio_fs_lookup() and its kind need no memory from outside; all this must be mappable. */
	struct vio_drvq hiprio;
	struct vio_buf hiprio_ring;
	struct vio_fs_hiprio urgent[VIO_FS_DRV_HIPRIO];
	struct vio_drvq_slot hiprio_slots[VIO_FS_DRV_HIPRIO];
	struct vio_fs_request own;
	char names[512];
	VIO_ALIGNAS(16) unsigned char ring[VIO_DRVQ_RING_BYTES(VIO_FS_DRV_HIPRIO)];
};

/* What this driver can drive: device-specific bits and those of the ring. */
struct vio_features vio_fs_drives(void);
/* Waits.  False: f->drv.failed says why. */
bool vio_fs_start(struct vio_fs *f, struct vio_drv_port *port, const struct vio_fs_setup *s);
/*
 * False: no room now (submit again after poll; error is EAGAIN), or the request breaks a rule or can't be mapped (EINVAL), or
 * the queue is broken (VIO_FS_E_LOST).
 */
bool vio_fs_submit(struct vio_fs *f, uint16_t queue, struct vio_fs_request *r);
void vio_fs_kick(struct vio_fs *f, uint16_t queue);
/* An answered request, or NULL.  When f->q[queue].broken or the device needs a reset: vio_fs_stop(), vio_fs_abandon(). */
struct vio_fs_request *vio_fs_poll(struct vio_fs *f, uint16_t queue);
/*
 * Submit to queue 0 and wait at most VIO_DRV_PATIENCE_NS.  r->error, which is VIO_FS_E_LOST when there was no answer: then the
 * device has been reset, f->drv.failed says why, and all of queue 0's requests come back lost from vio_fs_poll().
 */
int vio_fs_do(struct vio_fs *f, struct vio_fs_request *r);
/* So many lookups of node less.  Waits while VIO_FS_DRV_HIPRIO are on their way.  False: the device does not take it. */
bool vio_fs_forget(struct vio_fs *f, uint64_t node, uint64_t lookups);
/* Ask that r, which is with the device, ends soon; it is polled as ever. */
bool vio_fs_interrupt(struct vio_fs *f, const struct vio_fs_request *r);
/* Reset the device and take the rings' memory back (3.3).  False: it does not answer, so that memory can't be used again. */
bool vio_fs_stop(struct vio_fs *f);
/* After vio_fs_stop(): one request at a time that will not be answered any more; NULL: none. */
struct vio_fs_request *vio_fs_abandon(struct vio_fs *f, uint16_t queue);

/* ---- For firmware: ask and wait.  What vio_fs_do() returns; names are at most 255 bytes. ---- */

struct vio_fs_file { uint64_t node, handle; };
int vio_fs_lookup(struct vio_fs *f, uint64_t dir, const char *name, struct vio_fuse_entry_out *out);
int vio_fs_getattr(struct vio_fs *f, uint64_t node, struct vio_fuse_attr *out);
int vio_fs_open(struct vio_fs *f, uint64_t node, uint32_t flags, struct vio_fs_file *out);
int vio_fs_create(struct vio_fs *f, uint64_t dir, const char *name, uint32_t mode, struct vio_fs_file *out);
int vio_fs_mkdir(struct vio_fs *f, uint64_t dir, const char *name, uint32_t mode, uint64_t *node);
int vio_fs_unlink(struct vio_fs *f, uint64_t dir, const char *name);
int vio_fs_rename(struct vio_fs *f, uint64_t dir, const char *name, uint64_t new_dir, const char *new_name);
int vio_fs_read(struct vio_fs *f, const struct vio_fs_file *file, uint64_t at, void *to, uint32_t n, uint32_t *got);
int vio_fs_write(struct vio_fs *f, const struct vio_fs_file *file, uint64_t at, const void *from, uint32_t n, uint32_t *put);
int vio_fs_fsync(struct vio_fs *f, const struct vio_fs_file *file);
int vio_fs_release(struct vio_fs *f, const struct vio_fs_file *file);
int vio_fs_opendir(struct vio_fs *f, uint64_t node, struct vio_fs_file *out);
/* Entries from offset at (0: the first) into to; take them out with vio_fs_entry(). */
int vio_fs_readdir(struct vio_fs *f, const struct vio_fs_file *dir, uint64_t at, void *to, uint32_t n, uint32_t *got);
int vio_fs_releasedir(struct vio_fs *f, const struct vio_fs_file *dir);

/*
 * The entry at *at of what READDIR has brought, and *at moves on; names are not NUL-terminated, have no '/' and no NUL, and 1
 * to 255 bytes.  False: there is none, or what comes makes no sense.
 */
struct vio_fs_dirent { uint64_t ino, next; uint32_t type, len; const char *name; };
bool vio_fs_entry(const void *bytes, uint32_t n, uint32_t *at, struct vio_fs_dirent *out);
VIO_END_DECLS
#endif
