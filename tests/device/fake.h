/*
 * A device that lies: a driver port whose every answer is scripted, and the other end of its rings to scribble in.
 * It knows the ring formats from the specification alone and shares no code with the device side.
 */
#ifndef VIO_TESTS_DEVICE_FAKE_H
#define VIO_TESTS_DEVICE_FAKE_H
#include <vio/driver/blk.h>
#include <vio/driver/rng.h>
#include "rig.h"

enum { FAKE_LOG = 64 };

struct fake {
	struct vio_drv_port port;
	struct rig *g;			/* memory and clock */
	uint32_t id;
	struct vio_features offers, accepted;
	unsigned char config[96];
	uint32_t config_bytes;		/* the wire breaks behind these */
	uint16_t queue_max;
	uint8_t status;
	/* What it does wrong. */
	bool reset_stuck, refuses_features, restless, wire_broken, never_suspends, never_resumes, queue_stuck, takes_no_queue;
	unsigned tears;			/* so many config reads are torn: the second half is of another time */
	uint8_t needs_reset_at;		/* when this status bit is set, NEEDS_RESET comes with it */
	/* What happened. */
	uint8_t log[FAKE_LOG];		/* status values written */
	unsigned logged, kicks, early_kicks, early_writes, early_writeback_reads, generations, config_writes;
	bool live[8];
	uint16_t watched;		/* this queue is looked into; 0 */
	const struct vio_drvq *q;	/* it, as the driver sees it: its memory is ours */
	void (*on_kick)(struct fake *f);
};

#define FAKE(p) ((struct fake *)(p))

static inline uint32_t fake_id(struct vio_drv_port *p) { return FAKE(p)->id; }
static inline struct vio_features fake_features(struct vio_drv_port *p) { return FAKE(p)->offers; }

static inline bool fake_accept(struct vio_drv_port *p, struct vio_features f)
{
	FAKE(p)->accepted = f;
	assert_int_equal(FAKE(p)->status, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);	/* 3.1.1: neither sooner nor later */
	return !FAKE(p)->wire_broken;
}

static inline uint8_t fake_status(struct vio_drv_port *p) { return FAKE(p)->status; }

static inline void fake_set_status(struct vio_drv_port *p, uint8_t s)
{
	struct fake *f = FAKE(p);

	if (f->logged < FAKE_LOG)
		f->log[f->logged++] = s;
	if (s == 0 && f->reset_stuck) {
		f->status |= VIO_S_NEEDS_RESET;
		return;
	}
	if (s & VIO_S_SUSPEND && !(f->status & VIO_S_SUSPEND) && !f->never_suspends)
		s &= (uint8_t)~VIO_S_DRIVER_OK;
	else if (f->status & VIO_S_SUSPEND && s & VIO_S_DRIVER_OK)
		s &= (uint8_t)~(f->never_resumes ? VIO_S_DRIVER_OK : VIO_S_SUSPEND);
	else if (f->never_suspends)
		s &= (uint8_t)~VIO_S_SUSPEND;
	if (f->refuses_features)
		s &= (uint8_t)~VIO_S_FEATURES_OK;
	if (f->needs_reset_at & s)
		s |= VIO_S_NEEDS_RESET;
	f->status = s;
}

static inline uint32_t fake_generation(struct vio_drv_port *p)
{
	return FAKE(p)->restless ? ++FAKE(p)->generations : FAKE(p)->generations;
}

static inline bool fake_config_read(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len)
{
	struct fake *f = FAKE(p);

	if (at <= 32 && at + len > 32 && !(f->status & VIO_S_FEATURES_OK))
		f->early_writeback_reads++;
	if (at + len > f->config_bytes)
		return false;
	memcpy(to, f->config + at, len);
	if (f->tears) {
		f->tears--;
		f->generations++;
		memset((char *)to + len / 2, 0xee, len - len / 2);
	}
	return true;
}

static inline bool fake_config_write(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len)
{
	(void)at, (void)from, (void)len;
	FAKE(p)->config_writes++;
	if (!(FAKE(p)->status & VIO_S_FEATURES_OK))
		FAKE(p)->early_writes++;
	return !FAKE(p)->wire_broken;
}

static inline uint16_t fake_queue_max(struct vio_drv_port *p, uint16_t i) { return i < 8 ? FAKE(p)->queue_max : 0; }

static inline bool fake_queue_start(struct vio_drv_port *p, uint16_t i, const struct vio_drvq *q)
{
	if (FAKE(p)->takes_no_queue)
		return false;
	if (i == FAKE(p)->watched)
		FAKE(p)->q = q;
	FAKE(p)->live[i] = true;
	return true;
}

static inline bool fake_queue_reset(struct vio_drv_port *p, uint16_t i)
{
	FAKE(p)->live[i] = FAKE(p)->queue_stuck;
	return true;
}

static inline bool fake_queue_is_live(struct vio_drv_port *p, uint16_t i) { return FAKE(p)->live[i]; }

static inline void fake_kick(struct vio_drv_port *p, uint16_t i, uint32_t notification)
{
	struct fake *f = FAKE(p);

	(void)i, (void)notification;
	f->kicks++;
	if (!(f->status & VIO_S_DRIVER_OK))
		f->early_kicks++;
	if (f->on_kick)
		f->on_kick(f);
}

static const struct vio_drv_port_ops fake_ops = {
	.device_id = fake_id, .features = fake_features, .accept = fake_accept, .status = fake_status,
	.set_status = fake_set_status, .generation = fake_generation, .config_read = fake_config_read,
	.config_write = fake_config_write, .queue_max = fake_queue_max, .queue_start = fake_queue_start,
	.queue_reset = fake_queue_reset, .queue_is_live = fake_queue_is_live, .kick = fake_kick,
};

static inline void fake_nothing(void *arg) { (void)arg; }

static inline struct fake *fake_new(uint32_t id, struct vio_features offers)
{
	struct fake *f = calloc(1, sizeof *f);

	assert_non_null(f);
	f->g = rig_new();
	f->g->relax = fake_nothing;
	f->g->clock_skew = 1000000;	/* a look at the clock takes a millisecond: deadlines come */
	f->port = (struct vio_drv_port){ &fake_ops, { &rig_platform, f->g } };
	f->id = id;
	f->offers = vio_features_or(offers, BITS(VIO_F_VERSION_1));
	f->queue_max = RIG_SIZE;
	f->config_bytes = 96;
	((struct vio_blk_config *)(void *)f->config)->capacity = vio_le64_of(2048);
	return f;
}

static inline void fake_close(struct fake *f)
{
	rig_close(f->g);
	free(f);
}

/* ---- The device's end of queue 0 ---- */

static inline struct vio_split_used *fake_used(struct fake *f) { return f->q->place.device; }
static inline struct vio_packed_desc *fake_packed(struct fake *f) { return f->q->place.desc; }

static inline bool fake_is_packed(const struct fake *f) { return vio_has(f->accepted, VIO_F_RING_PACKED); }

/* Tell of a used chain in place n of the ring, the first time round. */
static inline void fake_use(struct fake *f, uint16_t n, uint32_t id, uint32_t len)
{
	if (fake_is_packed(f)) {
		struct vio_packed_desc *d = &fake_packed(f)[n % f->q->size];
		d->len = vio_le32_of(len);
		d->id = vio_le16_of((uint16_t)id);
		d->flags = vio_le16_of(VIO_DESC_AVAIL | VIO_DESC_USED | VIO_DESC_WRITE);
		return;
	}
	fake_used(f)->ring[n & (f->q->size - 1)] = (struct vio_split_elem){ vio_le32_of(id), vio_le32_of(len) };
	fake_used(f)->idx = vio_le16_of((uint16_t)(n + 1));
}

/* The id of the n-th chain made available, each of descs descriptors, the first time round. */
static inline uint16_t fake_id_of(struct fake *f, uint16_t n, uint16_t descs)
{
	if (fake_is_packed(f))
		return vio_le16_get(fake_packed(f)[n * descs + descs - 1].id);
	return vio_le16_get(((struct vio_split_avail *)f->q->place.driver)->ring[n]);
}
#endif
