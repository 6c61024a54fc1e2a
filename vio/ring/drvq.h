/*
 * The driver's side of a virtqueue (virtio 1.4, 2.7 and 2.8): add buffers, kick, get them back.
 *
 *   vio_drvq_init(&q, &setup)                 lay the rings out in memory the caller gives
 *   vio_drvq_add(&q, bufs, r, w, cookie)      make a chain available (r readable buffers, then w writable ones)
 *   if (vio_drvq_kick_due(&q)) kick           publishes what was added; true: the device wants to hear of it
 *   cookie = vio_drvq_get(&q, &len)           a finished chain's cookie, or NULL
 *
 * The device is not trusted.  Shared memory is written and never read back, except for what only the device writes; the
 * slots are the driver's own record.  A device that lies breaks the queue (q.broken, in words), not the driver.
 *
 * No function allocates or waits; all may be called in an interrupt handler; the caller locks.
 */
#ifndef VIO_RING_DRVQ_H
#define VIO_RING_DRVQ_H
#include <vio/ring/layout.h>
#include <vio/spec/feature.h>
VIO_BEGIN_DECLS

struct vio_buf { uint64_t addr; uint32_t len; };	/* as the device addresses it */

enum { VIO_DRVQ_BATCH = 16 };	/* add publishes by itself at least this often */

/* The driver's record of a chain, by head (split) or buffer id (packed).  count 0: free. */
struct vio_drvq_slot { void *cookie; uint32_t writable; uint16_t next, count; uint16_t last, spare; };

struct vio_drvq_setup {
	uint16_t size;			/* split: a power of two */
	struct vio_features features;
	void *ring;			/* vio_drvq_ring_bytes(), zeroed, 16-aligned, shared with the device */
	uint64_t ring_addr;		/* what the device calls it */
	struct vio_drvq_slot *slots;	/* size of them, the driver's own */
	struct vio_split_desc *indirect;	/* size * indirect_max descriptors, shared with the device; NULL: none */
	uint64_t indirect_addr;
	uint16_t indirect_max;		/* descriptors a table has room for */
};

struct vio_drvq {
	const struct vio_drvq_ops *ops;
	struct vio_ring_place place;
	uint64_t desc_addr, driver_addr, device_addr;	/* what to tell the device */
	struct vio_drvq_slot *slot;
	uint16_t size, free_head, free_tail, free_count;
	uint16_t kicked;		/* entries (packed: places) filled since the last kick decision; sticks at 65535 */
	uint16_t places;		/* packed: ring places in use */
	uint16_t unpublished;
	struct { uint16_t avail_next, used_next, used_seen; } split;
	struct { uint16_t avail_at, used_at, held_at; bool avail_wrap, used_wrap, held; uint64_t held_word; } packed;
	/* IN_ORDER: the device may tell of a batch by its last buffer only; these are owed to get without a look at the ring */
	uint16_t owed, order_next;
	uint32_t last_len;
	bool event_idx, is_packed, in_order, hush;
	struct vio_split_desc *indirect;
	uint64_t indirect_addr;
	uint16_t indirect_max;
	const char *broken;
};

/* Bytes of 16-aligned memory for the rings of a queue of n entries (a constant expression for a static buffer). */
#define VIO_DRVQ_RING_BYTES(n) (16 * (n) + ((6 + 2 * (n) + 15) & ~15) + ((6 + 8 * (n) + 15) & ~15))

void vio_drvq_init(struct vio_drvq *q, const struct vio_drvq_setup *s);

/*
 * False: no room now (or broken, or more than 2^32 bytes); nothing was added.  r + w >= 1; readable buffers come first
 * (2.7.4.2).
 */
bool vio_drvq_add(struct vio_drvq *q, const struct vio_buf *bufs, unsigned r, unsigned w, void *cookie);

/* Publish what was added; must a notification be sent? (2.7.7, 2.8.21) */
bool vio_drvq_kick_due(struct vio_drvq *q);

/* What a notification carries beside the queue index with NOTIFICATION_DATA: next_off and next_wrap in the high half. */
uint32_t vio_drvq_notification(const struct vio_drvq *q, uint16_t index);

/*
 * A finished chain: its cookie, and in *len how many bytes the device wrote, never more than the chain's writable bytes.
 * NULL: none, or q->broken.
 */
void *vio_drvq_get(struct vio_drvq *q, uint32_t *len);

/* No interrupts, please.  Then, before sleeping, listen: true when something has finished already, so get again. */
void vio_drvq_quiet(struct vio_drvq *q);
bool vio_drvq_listen(struct vio_drvq *q);

/* The cookie of some chain still with the device, which the driver thereby takes back; NULL: none.  After a reset only. */
void *vio_drvq_take_back(struct vio_drvq *q);
VIO_END_DECLS
#endif
