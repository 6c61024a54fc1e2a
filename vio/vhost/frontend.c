/*
 * The front end as a driver port: connection, negotiation, config space and the status machine of the specification, which
 * vhost-user does not have.
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
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vio/vhost/frontend_impl.h>

#define PROTOCOL(name) (UINT64_C(1) << VIO_VHOST_F_##name)
static const uint64_t protocol_known = PROTOCOL(MQ) | PROTOCOL(LOG_SHMFD) | PROTOCOL(REPLY_ACK) | PROTOCOL(BACKEND_REQ)
    | PROTOCOL(CONFIG) | PROTOCOL(INFLIGHT_SHMFD) | PROTOCOL(RESET_DEVICE) | PROTOCOL(CONFIGURE_MEM_SLOTS) | PROTOCOL(STATUS);
static const uint64_t protocol_on_request = PROTOCOL(INBAND_NOTIFICATIONS);

static struct vio_vhost_front *front_of(struct vio_drv_port *p)
{
	return (struct vio_vhost_front *)((char *)p - offsetof(struct vio_vhost_front, port));
}

/* ---- connection and negotiation ---- */

static bool front_open(struct vio_vhost_front *f, const char *path, int fd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timeval limit = { (time_t)(f->o.patience_ns / 1000000000), (suseconds_t)(f->o.patience_ns / 1000 % 1000000) };

	f->sock = fd;
	if (!path)
		return fd >= 0 || vio_front_fail(f, "Neither a socket path nor a descriptor to connect to was given.");
	if (strlen(path) >= sizeof a.sun_path)
		return vio_front_fail(f, "The socket path is longer than %zu characters: %s.", sizeof a.sun_path - 1, path);
	strcpy(a.sun_path, path);
	f->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->sock < 0)
		return vio_front_fail(f, "No socket can be made: %s.", strerror(errno));
	setsockopt(f->sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(f->sock, (struct sockaddr *)&a, sizeof a) != 0)
		return vio_front_fail(f, "Nobody can be reached at %s: %s. Is the back end running?", path, strerror(errno));
	return true;
}

static bool front_give_channel(struct vio_vhost_front *f)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return vio_front_fail(f, "No socket can be made: %s.", strerror(errno));
	f->channel = pair[0];
	vio_vhost_message_init(&f->in);
	bool ok = vio_front_tell(f, VIO_MSG_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1);
	close(pair[1]);
	return ok;
}

static bool front_negotiate_protocol(struct vio_vhost_front *f)
{
	uint64_t offered, use = (protocol_known | (protocol_on_request & f->o.protocol_with)) & ~f->o.protocol_without;
	if (!vio_front_ask_u64(f, VIO_MSG_GET_PROTOCOL_FEATURES, &offered))
		return false;
	use &= offered;
	/* "an error to negotiate this feature without also negotiating" the two others */
	if (~use & (PROTOCOL(BACKEND_REQ) | PROTOCOL(REPLY_ACK)))
		use &= ~PROTOCOL(INBAND_NOTIFICATIONS);
	if (!vio_front_tell_u64(f, VIO_MSG_SET_PROTOCOL_FEATURES, use))
		return false;
	f->protocol = use;
	if (vio_front_uses(f, VIO_VHOST_F_MQ)) {
		uint64_t n;
		if (!vio_front_ask_u64(f, VIO_MSG_GET_QUEUE_NUM, &n))
			return false;
		f->queue_count = n < VIO_FRONT_QUEUES ? (uint32_t)n : VIO_FRONT_QUEUES;
	}
	if (vio_front_uses(f, VIO_VHOST_F_CONFIGURE_MEM_SLOTS) && !vio_front_ask_u64(f, VIO_MSG_GET_MAX_MEM_SLOTS, &f->slots))
		return false;
	return !vio_front_uses(f, VIO_VHOST_F_BACKEND_REQ) || front_give_channel(f);
}

static bool front_negotiate(struct vio_vhost_front *f)
{
	f->protocol = f->slots = 0;
	f->queue_count = f->translations = 0;
	f->memory_sent = f->needs_reset = false;
	if (!vio_front_tell(f, VIO_MSG_SET_OWNER, NULL, 0, NULL, 0) || !vio_front_ask_u64(f, VIO_MSG_GET_FEATURES, &f->offered))
		return false;
	return !(f->offered >> VIO_VHOST_PROTOCOL_FEATURES & 1) || front_negotiate_protocol(f);
}

static const struct vio_drv_port_ops front_ops_irq, front_ops_poll;
static const struct vio_platform_ops front_platform;

struct vio_vhost_front *vio_vhost_connect(const struct vio_vhost_front_options *o, char *why)
{
	struct vio_vhost_front *f = calloc(1, sizeof *f);
	if (!f) {
		snprintf(why, VIO_FRONT_WHY, "No memory for a front end.");
		return NULL;
	}
	f->o = *o;
	vio_vhost_message_init(&f->in);
	f->o.no_call &= !o->irq;
	f->o.path = NULL;	/* the caller's, and perhaps gone soon */
	if (!f->o.patience_ns)
		f->o.patience_ns = VIO_DRV_PATIENCE_NS;
	f->port.ops = o->irq ? &front_ops_irq : &front_ops_poll;
	f->port.platform = (struct vio_platform){ &front_platform, f };
	f->sock = f->channel = f->error = f->inflight_fd = f->log_fd = -1;
	for (unsigned i = 0; i < VIO_FRONT_QUEUES; i++)
		f->queue[i].kick = f->queue[i].call = -1;
	if (front_open(f, o->path, o->fd) && front_negotiate(f))
		return f;
	snprintf(why, VIO_FRONT_WHY, "%s", f->why);
	vio_vhost_disconnect(f);
	return NULL;
}

void vio_vhost_disconnect(struct vio_vhost_front *f)
{
	if (!f)
		return;
	vio_front_close(&f->sock);
	vio_front_close(&f->channel);
	vio_front_close(&f->error);
	vio_front_close(&f->inflight_fd);
	vio_front_close(&f->log_fd);
	if (f->log_bits)
		munmap(f->log_bits, f->log_bytes);
	for (unsigned i = 0; i < VIO_FRONT_QUEUES; i++) {
		vio_front_close(&f->queue[i].kick);
		vio_front_close(&f->queue[i].call);
	}
	free(f);
}

/* Where a back end that has lost its memory goes on: behind what has been used. */
static uint32_t front_used_place(const struct vio_drvq *q)
{
	if (!q->is_packed)
		return vio_shared_acquire(&((const struct vio_split_used *)q->place.device)->idx);
	uint32_t at = q->packed.used_at | (uint32_t)q->packed.used_wrap << 15;
	return at | at << 16;
}

static bool front_go_all(struct vio_vhost_front *f)
{
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++)
		if (f->queue[i].q && !f->queue[i].running && !vio_front_go(f, i))
			return false;
	return true;
}

static bool front_tell_status(struct vio_vhost_front *f)
{
	return !vio_front_uses(f, VIO_VHOST_F_STATUS) || vio_front_tell_u64(f, VIO_MSG_SET_STATUS, f->status);
}

/* Everything that was said to the old back end is said to the new one. */
static bool front_replay(struct vio_vhost_front *f)
{
	if (f->accepted & ~f->offered)
		return vio_front_fail(f, "The new back end lacks features 0x%llx of the old one.",
		    (unsigned long long)(f->accepted & ~f->offered));
	if (!(f->status & VIO_S_FEATURES_OK))
		return true;
	if ((f->logging && !vio_front_log(f)) || !vio_front_send_features(f) || !front_tell_status(f))
		return false;
	bool go = f->status & VIO_S_DRIVER_OK;
	if (go && (!vio_front_memory(f) || !vio_front_inflight(f)))
		return false;
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++) {
		struct vio_front_queue *q = &f->queue[i];
		if (!q->q)
			continue;
		if (q->running)
			q->base = front_used_place(q->q);
		q->running = false;
		if (!vio_front_describe(f, i) || (go && !vio_front_go(f, i)))
			return false;
		if (go)
			f->port.ops->kick(&f->port, i, 0);
	}
	return !f->broken;
}

bool vio_vhost_reconnect(struct vio_vhost_front *f, const char *path, int fd, char *why)
{
	vio_front_close(&f->sock);
	vio_front_close(&f->channel);
	f->broken = false;
	if (front_open(f, path, fd) && front_negotiate(f) && front_replay(f))
		return true;
	vio_front_fail(f, "%s", "The new back end refused what the old one had taken.");
	snprintf(why, VIO_FRONT_WHY, "%s", f->why);
	return false;
}

/* ---- the port ---- */

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
		q->q = NULL;
		q->running = q->called = false;
	}
	f->status = 0;
	f->needs_reset = f->refused = f->logging = false;
	vio_front_close(&f->inflight_fd);	/* what was in flight has ended; the next start asks for a new one */
	if (!was || f->broken)
		return;
	if (vio_front_uses(f, VIO_VHOST_F_RESET_DEVICE))
		vio_front_tell(f, VIO_MSG_RESET_DEVICE, NULL, 0, NULL, 0);
	front_tell_status(f);
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
		if (f->queue[i].q && !f->queue[i].running && !vio_vhost_queue_go(f, i, f->queue[i].base)) {
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
		if (added & VIO_S_DRIVER_OK && !(vio_front_inflight(f) && front_go_all(f)))
			f->needs_reset = true;
		if (!f->broken && !front_tell_status(f))
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
static bool front_config_read(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len)
{
	struct vio_vhost_front *f = front_of(p);
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

static bool front_config_write(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len)
{
	struct vio_vhost_front *f = front_of(p);
	struct vio_vhost_config c = { .offset = at, .size = len };

	if (at > VIO_VHOST_CONFIG_BYTES || len > VIO_VHOST_CONFIG_BYTES - at || !vio_front_uses(f, VIO_VHOST_F_CONFIG))
		return false;
	memcpy(c.bytes, from, len);
	return vio_front_tell(f, VIO_MSG_SET_CONFIG, &c, (uint32_t)offsetof(struct vio_vhost_config, bytes) + len, NULL, 0);
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
	f->queue[queue].q = q;
	f->queue[queue].base = q->is_packed ? VIO_PACKED_BASE : 0;
	f->queue[queue].called = false;
	return vio_front_describe(f, queue) && (!(f->status & VIO_S_DRIVER_OK) || vio_front_go(f, queue));
}

/* RING_RESET (2.6.1): stopped is reset, for the next start brings all that a back end knows of a queue. */
static bool front_queue_reset(struct vio_drv_port *p, uint16_t queue)
{
	return vio_vhost_queue_stop(front_of(p), queue, NULL);
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

static const struct vio_platform_ops front_platform = {
	.map = front_map, .unmap = front_unmap, .now_ns = front_now_ns, .relax = front_relax,
};

#define FRONT_OPS .device_id = front_device_id, .features = front_features, .accept = front_accept, \
	.status = front_status, .set_status = front_set_status, .generation = front_generation, \
	.config_read = front_config_read, .config_write = front_config_write, .queue_max = front_queue_max, \
	.queue_start = front_queue_start, .queue_reset = front_queue_reset, .queue_is_live = front_queue_is_live, \
	.kick = front_kick
static const struct vio_drv_port_ops front_ops_poll = { FRONT_OPS };
static const struct vio_drv_port_ops front_ops_irq = { FRONT_OPS, .wait = front_wait };

struct vio_drv_port *vio_vhost_drv_port(struct vio_vhost_front *f) { return &f->port; }

int vio_vhost_call_fd(struct vio_vhost_front *f, uint16_t queue)
{
	return f->o.irq && queue < VIO_FRONT_QUEUES ? f->queue[queue].call : -1;
}

bool vio_vhost_config_changed(struct vio_vhost_front *f)
{
	bool was = f->config_changed;
	if (f->status & VIO_S_SUSPEND)	/* 2.13: told when it runs again */
		return false;
	f->config_changed = false;
	return was;
}

const char *vio_vhost_broken(const struct vio_vhost_front *f) { return f->broken ? f->why : NULL; }
const char *vio_vhost_why(const struct vio_vhost_front *f) { return f->why; }
uint64_t vio_vhost_protocol(const struct vio_vhost_front *f) { return f->protocol; }
uint32_t vio_vhost_queues(const struct vio_vhost_front *f) { return f->queue_count; }
