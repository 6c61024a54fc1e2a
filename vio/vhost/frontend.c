/* The front end: connection, negotiation, and the same with the next back end. */
#include <errno.h>
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
    | PROTOCOL(CONFIG) | PROTOCOL(INFLIGHT_SHMFD) | PROTOCOL(RESET_DEVICE) | PROTOCOL(CONFIGURE_MEM_SLOTS) | PROTOCOL(STATUS)
    | PROTOCOL(DEVICE_STATE);
static const uint64_t protocol_on_request = PROTOCOL(INBAND_NOTIFICATIONS);

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
	for (unsigned i = 0; i < f->regions; i++)
		f->region[i].sent = false;
	if (!vio_front_tell(f, VIO_MSG_SET_OWNER, NULL, 0, NULL, 0) || !vio_front_ask_u64(f, VIO_MSG_GET_FEATURES, &f->offered))
		return false;
	return !(f->offered >> VIO_VHOST_PROTOCOL_FEATURES & 1) || front_negotiate_protocol(f);
}

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
	f->port.ops = o->irq ? &vio_front_ops_irq : &vio_front_ops_poll;
	f->port.platform = (struct vio_platform){ &vio_front_platform, f };
	f->sock = f->channel = f->error = f->inflight_fd = f->log_fd = -1;
	for (unsigned i = 0; i < VIO_FRONT_QUEUES; i++)
		f->queue[i].kick = f->queue[i].call = -1;
	if (front_open(f, o->path, o->fd) && (!o->memory || vio_front_cut_memory(f)) && front_negotiate(f))
		return f;
	snprintf(why, VIO_FRONT_WHY, "%s", f->why);
	vio_vhost_disconnect(f);
	return NULL;
}

void vio_vhost_disconnect(struct vio_vhost_front *f)
{
	if (!f)
		return;
	vio_front_hang_up(f, &f->sock);
	vio_front_hang_up(f, &f->channel);
	vio_front_close(&f->error);
	vio_front_close(&f->inflight_fd);
	vio_front_close(&f->log_fd);
	if (f->log_bits)
		munmap(f->log_bits, f->log_bytes);
	for (unsigned i = 0; i < VIO_FRONT_QUEUES; i++) {
		vio_front_close(&f->queue[i].kick);
		vio_front_close(&f->queue[i].call);
	}
	free(f->region);
	free(f);
}

bool vio_front_go_all(struct vio_vhost_front *f)
{
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++)
		if (f->queue[i].set && !f->queue[i].running && !vio_front_go(f, i))
			return false;
	return true;
}

bool vio_front_tell_status(struct vio_vhost_front *f)
{
	return !vio_front_uses(f, VIO_VHOST_F_STATUS) || vio_front_tell_u64(f, VIO_MSG_SET_STATUS, f->status);
}

/* Everything that was said to the old back end is said to the new one. */
static bool front_replay(struct vio_vhost_front *f)
{
	if (f->accepted & ~f->offered)
		return vio_front_fail(f, "The new back end lacks features 0x%llx of the old one.",
		    (unsigned long long)(f->accepted & ~f->offered));
	if (f->logging && !vio_front_log(f))
		return false;
	if (!(f->status & VIO_S_FEATURES_OK))
		return true;
	if (!vio_front_send_features(f) || !vio_front_tell_status(f))
		return false;
	bool go = f->status & VIO_S_DRIVER_OK;
	if (go && (!vio_front_memory(f) || !vio_front_inflight(f)))
		return false;
	for (uint16_t i = 0; i < VIO_FRONT_QUEUES; i++) {
		struct vio_front_queue *q = &f->queue[i];
		if (!q->set)
			continue;
		if (q->running)
			q->base = vio_front_place(f, i);
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
	vio_front_hang_up(f, &f->sock);
	vio_front_hang_up(f, &f->channel);
	f->broken = false;
	f->reached = front_open(f, path, fd);
	if (f->reached && front_negotiate(f) && front_replay(f))
		return true;
	vio_front_fail(f, "%s", "The new back end refused what the old one had taken.");
	snprintf(why, VIO_FRONT_WHY, "%s", f->why);
	return false;
}

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
