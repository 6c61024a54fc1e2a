/*
 * The front end as a driver port: config space and the status machine of the specification, which vhost-user does not have.
 *
 *   status written            what is sent
 *   0                         GET_VRING_BASE of every queue, RESET_DEVICE, SET_STATUS
 *   accept() + FEATURES_OK    SET_FEATURES; the bit stays off if the back end refused
 *   queue_start()             memory table (once), size, base, addresses, call
 *   DRIVER_OK                 in-flight region, kick descriptors, enable
 *   SUSPEND, DRIVER_OK again  GET_VRING_BASE of every queue; the same bases given back (2.13 without the back end's help)
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <vio/vhost/frontend_impl.h>

static struct vio_vhost_front *front_of(struct vio_drv_port *p)
{
	return (struct vio_vhost_front *)((char *)p - offsetof(struct vio_vhost_front, port));
}

static uint32_t front_device_id(struct vio_drv_port *p) { return front_of(p)->o.device_id; }

static struct vio_features front_features(struct vio_drv_port *p)
{
	struct vio_vhost_front *f = front_of(p);
	struct vio_features offered = { { f->offered, 0 } };
	vio_features_drop(&offered, VIO_VHOST_LOG_ALL);
	vio_features_drop(&offered, VIO_VHOST_PROTOCOL_FEATURES);
	vio_features_drop(&offered, VIO_F_NOTIFICATION_DATA);	/* an eventfd carries none */
	vio_features_drop(&offered, VIO_F_NOTIF_CONFIG_DATA);
	if (!vio_front_uses(f, VIO_VHOST_F_BACKEND_REQ))	/* nobody could ask for translations */
		vio_features_drop(&offered, VIO_F_ACCESS_PLATFORM);
	vio_features_add(&offered, VIO_F_SUSPEND);		/* stopping all queues is all it takes, and any back end can */
	return offered;
}

static bool front_accept(struct vio_drv_port *p, struct vio_features features)
{
	struct vio_vhost_front *f = front_of(p);
	f->accepted = features.word[0] & ~(UINT64_C(1) << VIO_F_SUSPEND);
	f->accepted |= f->offered & UINT64_C(1) << VIO_VHOST_PROTOCOL_FEATURES;
	f->refused = features.word[1] != 0 || !vio_front_send_features(f);
	return !f->broken;
}

static uint8_t front_status(struct vio_drv_port *p)
{
	struct vio_vhost_front *f = front_of(p);
	bool ill = f->status && (f->broken || f->needs_reset);
	return (uint8_t)(f->status | (ill ? VIO_S_NEEDS_RESET : 0));
}

/* After the connection has ended nobody serves the rings either: a reset is done then, and accept() fails. */
static void front_reset(struct vio_vhost_front *f)
{
	bool was = f->status != 0;
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++) {
		struct vio_front_queue *q = &f->queue[i];
		if (q->running && !f->broken)
			vio_vhost_queue_stop(f, i, NULL);
		q->set = q->running = q->called = false;
	}
	f->status = 0;
	f->needs_reset = f->refused = f->logging = false;
	vio_front_close(&f->inflight_fd);	/* what was in flight has ended; the next start asks for a new one */
	if (!was || f->broken)
		return;
	if (vio_front_uses(f, VIO_VHOST_F_RESET_DEVICE))
		vio_front_tell(f, VIO_MSG_RESET_DEVICE, NULL, 0, NULL, 0);
	vio_front_tell_status(f);
}

static void front_suspend(struct vio_vhost_front *f)
{
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++)
		if (f->queue[i].running && !vio_vhost_queue_stop(f, i, NULL)) {
			f->needs_reset = true;	/* 2.13: "or set DEVICE_NEEDS_RESET when it fails to suspend" */
			return;
		}
	f->status = (uint8_t)((f->status | VIO_S_SUSPEND) & ~VIO_S_DRIVER_OK);
}

static void front_resume(struct vio_vhost_front *f)
{
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++)
		if (f->queue[i].set && !f->queue[i].running && !vio_vhost_queue_go(f, i, f->queue[i].base)) {
			f->needs_reset = true;
			return;
		}
	f->status = (uint8_t)((f->status | VIO_S_DRIVER_OK) & ~VIO_S_SUSPEND);
}

static void front_set_status(struct vio_drv_port *p, uint8_t s)
{
	struct vio_vhost_front *f = front_of(p);
	uint8_t added = (uint8_t)(s & ~f->status);

	if (s == 0) {
		front_reset(f);
	} else if (f->status & VIO_S_SUSPEND) {
		if (added & VIO_S_DRIVER_OK)
			front_resume(f);
	} else if (added & VIO_S_SUSPEND && f->status & VIO_S_DRIVER_OK) {
		front_suspend(f);
	} else {
		if (f->refused)
			s &= (uint8_t)~VIO_S_FEATURES_OK;
		f->status = (uint8_t)((f->status | s) & ~(VIO_S_SUSPEND | VIO_S_NEEDS_RESET));
		if (added & VIO_S_DRIVER_OK && !(vio_front_inflight(f) && vio_front_go_all(f)))
			f->needs_reset = true;
		if (!f->broken && !vio_front_tell_status(f))
			f->needs_reset = true;
	}
}

/* GET_CONFIG reads at once, so there is nothing to be torn. */
static uint32_t front_generation(struct vio_drv_port *p)
{
	(void)p;
	return 0;
}

/* Some back ends ignore the offset: what is asked for always begins at 0. */
bool vio_front_config_read(struct vio_vhost_front *f, uint32_t at, void *to, uint32_t len)
{
	struct vio_vhost_config c = { .size = at + len };
	const uint32_t head = offsetof(struct vio_vhost_config, bytes);
	const struct vio_front_question q = { .request = VIO_MSG_GET_CONFIG, .payload = &c, .size = head + c.size,
		.min = 0, .max = head + c.size };
	union vio_vhost_payload reply;
	uint32_t got;

	if (at > VIO_VHOST_CONFIG_BYTES || len > VIO_VHOST_CONFIG_BYTES - at || !vio_front_uses(f, VIO_VHOST_F_CONFIG))
		return false;
	if (!vio_front_ask(f, &q, &reply, &got, NULL))
		return false;
	if (got != q.size || reply.config.offset != 0 || reply.config.size != c.size) {	/* no payload: an error */
		snprintf(f->why, sizeof f->why, "The back end has no config space of %u bytes.", c.size);
		return false;
	}
	memcpy(to, reply.config.bytes + at, len);
	return true;
}

bool vio_front_config_write(struct vio_vhost_front *f, uint32_t at, const void *from, uint32_t len)
{
	struct vio_vhost_config c = { .offset = at, .size = len };

	if (at > VIO_VHOST_CONFIG_BYTES || len > VIO_VHOST_CONFIG_BYTES - at || !vio_front_uses(f, VIO_VHOST_F_CONFIG))
		return false;
	memcpy(c.bytes, from, len);
	return vio_front_tell(f, VIO_MSG_SET_CONFIG, &c, (uint32_t)offsetof(struct vio_vhost_config, bytes) + len, NULL, 0);
}

static bool front_config_read(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len)
{
	return vio_front_config_read(front_of(p), at, to, len);
}

static bool front_config_write(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len)
{
	return vio_front_config_write(front_of(p), at, from, len);
}

/* The protocol has no word for a queue's greatest size: SET_VRING_NUM is refused if it is too large. */
static uint16_t front_queue_max(struct vio_drv_port *p, uint16_t queue)
{
	struct vio_vhost_front *f = front_of(p);
	uint32_t count = f->queue_count ? f->queue_count : VIO_FRONT_QUEUES;
	return queue < count ? VIO_RING_SIZE_MAX : 0;
}

static bool front_queue_start(struct vio_drv_port *p, uint16_t queue, const struct vio_drvq *q)
{
	struct vio_vhost_front *f = front_of(p);
	if (queue >= VIO_FRONT_QUEUES || f->queue[queue].running)
		return false;
	struct vio_front_queue *fq = &f->queue[queue];
	fq->q = q;
	fq->size = q->size;
	fq->packed = q->is_packed;
	fq->desc = q->desc_addr;
	fq->driver = q->driver_addr;
	fq->device = q->device_addr;
	fq->base = q->is_packed ? VIO_PACKED_BASE : 0;
	fq->called = false;
	fq->set = true;
	return vio_front_describe(f, queue) && (!(f->status & VIO_S_DRIVER_OK) || vio_front_go(f, queue));
}

/* RING_RESET (2.6.1): stopped is reset, for the next start brings all that a back end knows of a queue. */
static bool front_queue_reset(struct vio_drv_port *p, uint16_t queue)
{
	struct vio_vhost_front *f = front_of(p);
	if (!vio_vhost_queue_stop(f, queue, NULL))
		return false;
	vio_front_inflight_clear(f, queue);
	return true;
}

static bool front_queue_is_live(struct vio_drv_port *p, uint16_t queue)
{
	return queue < VIO_FRONT_QUEUES && front_of(p)->queue[queue].running;
}

static void front_kick(struct vio_drv_port *p, uint16_t queue, uint32_t notification)
{
	struct vio_vhost_front *f = front_of(p);
	struct vio_vhost_state s = { queue, 0 };
	uint64_t one = 1;

	(void)notification;
	if (queue >= VIO_FRONT_QUEUES || f->broken)
		return;
	if (vio_front_uses(f, VIO_VHOST_F_INBAND_NOTIFICATIONS))
		vio_front_tell(f, VIO_MSG_VRING_KICK, &s, sizeof s, NULL, 0);
	else if (write(f->queue[queue].kick, &one, sizeof one) < 0 && errno != EAGAIN)	/* EAGAIN: kicked already, often */
		f->needs_reset = true;
}

static void front_wait(struct vio_drv_port *p, uint16_t queue, uint64_t deadline_ns)
{
	struct vio_vhost_front *f = front_of(p);
	struct vio_front_queue *q = &f->queue[queue % VIO_FRONT_QUEUES];

	while (vio_vhost_look(f) && !q->called) {
		struct pollfd fds[1 + VIO_VHOST_LOOK_FDS] = { { .fd = q->call, .events = POLLIN } };
		int look[VIO_VHOST_LOOK_FDS];
		unsigned n = vio_vhost_look_fds(f, look);
		uint64_t now = vio_front_now(), times;

		if (now >= deadline_ns || f->needs_reset)
			return;
		uint64_t left = deadline_ns - now;
		struct timespec t = { (time_t)(left / 1000000000), (long)(left % 1000000000) };
		for (unsigned i = 0; i < n; i++)
			fds[1 + i] = (struct pollfd){ .fd = look[i], .events = POLLIN };
		if (ppoll(fds, 1 + n, &t, NULL) > 0 && fds[0].revents && read(q->call, &times, sizeof times) == sizeof times)
			return;
	}
	q->called = false;
}

/* ---- the platform ---- */

static unsigned front_map(void *arg, const void *at, uint32_t len, enum vio_dir dir, struct vio_buf *out, unsigned max)
{
	const struct vio_vhost_front *f = arg;
	const struct vio_vhost_memory *m = f->o.memory;
	uint64_t offset = (uint64_t)((uintptr_t)at - (uintptr_t)m->base);

	(void)dir;
	if (max == 0 || offset >= m->size || len > m->size - offset)
		return 0;
	out->addr = m->gpa + offset;
	out->len = len;
	return 1;
}

static void front_unmap(void *arg, const void *at, uint32_t len, enum vio_dir dir, const struct vio_buf *bufs, unsigned n)
{
	(void)arg, (void)at, (void)len, (void)dir, (void)bufs, (void)n;
}

static uint64_t front_now_ns(void *arg)
{
	(void)arg;
	return vio_front_now();
}

/* Now and then see whether the back end still lives, and let it run where processors are few. */
static void front_relax(void *arg)
{
	struct vio_vhost_front *f = arg;
	if (++f->relaxed % 256 == 0) {
		vio_vhost_look(f);
		sched_yield();
	}
}

const struct vio_platform_ops vio_front_platform = {
	.map = front_map, .unmap = front_unmap, .now_ns = front_now_ns, .relax = front_relax,
};

#define FRONT_OPS .device_id = front_device_id, .features = front_features, .accept = front_accept, \
	.status = front_status, .set_status = front_set_status, .generation = front_generation, \
	.config_read = front_config_read, .config_write = front_config_write, .queue_max = front_queue_max, \
	.queue_start = front_queue_start, .queue_reset = front_queue_reset, .queue_is_live = front_queue_is_live, \
	.kick = front_kick
const struct vio_drv_port_ops vio_front_ops_poll = { FRONT_OPS };
const struct vio_drv_port_ops vio_front_ops_irq = { FRONT_OPS, .wait = front_wait };
