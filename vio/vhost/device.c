/* Messages about the device: features, config space, status, reset. */
#include <vio/vhost/server.h>
#include <vio/spec/net.h>
#include <sys/stat.h>
#include <string.h>

#define BIT(n) (UINT64_C(1) << (n))

static const char *answer_u64(struct vio_vhost_work *w, uint64_t v)
{
	w->m.payload.u64 = v;
	w->reply_size = sizeof v;
	return NULL;
}

/* ---- Features ---- */

/*
 * What front ends pass on and what they keep, by device (docs/vhost-user.md has the table with who does what).
 *   passed: features of a guest that come although we never offered them: QEMU offers bits of its own to the guest and hands
 *     on all that was accepted.  None of these changes what a back end has to do.
 *   kept: features that are negotiated between the front end and its guest alone, because the front end serves them itself
 *     (the control queue, the config space).  What needs one of them is not refused for want of it.
 *   pairs: GET_QUEUE_NUM counts pairs of queues.
 *   whole: SET_CONFIG has the whole config space, whatever the guest wrote: QEMU's copy, with the writable bytes changed.
 */
static const struct front_ends { uint32_t device; uint64_t passed, kept; bool pairs, whole; } front_ends[] = {
	{ VIO_ID_INPUT, BIT(24) | BIT(27) | BIT(VIO_F_RING_RESET), 0, false, true },
	{ VIO_ID_RNG, BIT(24) /* NOTIFY_ON_EMPTY */ | BIT(27) /* ANY_LAYOUT */ | BIT(VIO_F_RING_RESET), 0, false },
	{ VIO_ID_VSOCK, BIT(24) | BIT(27) | BIT(VIO_F_RING_RESET), 0, false },
	{ VIO_ID_NET, BIT(24) | BIT(27) | BIT(6) /* GSO */, BIT(VIO_NET_F_CTRL_VQ) | BIT(VIO_NET_F_MAC) | BIT(VIO_NET_F_STATUS), true },
};

static struct front_ends front_ends_of(const struct vio_vhost *s)
{
	for (size_t i = 0; i < sizeof front_ends / sizeof *front_ends; i++)
		if (front_ends[i].device == s->dev->type->id)
			return front_ends[i];
	return (struct front_ends){ 0 };
}

/* The features as the guest has accepted them, as far as one can tell: with those that the front end kept. */
static const char *features_refused(struct vio_vhost *s, struct vio_features f)
{
	struct vio_features kept = { { front_ends_of(s).kept, 0 } };

	return vio_dev_features_refused(s->dev, vio_features_or(f, vio_features_and(kept, vio_dev_offered(s->dev))));
}

const char *vio_vhost_on_GET_FEATURES(struct vio_vhost *s, struct vio_vhost_work *w)
{
	uint64_t offered = vio_dev_offered(s->dev).word[0];
	return answer_u64(w, offered | BIT(VIO_VHOST_LOG_ALL) | BIT(VIO_VHOST_PROTOCOL_FEATURES));
}

static const char *features_done(struct vio_vhost *s, struct vio_vhost_work *w)
{
	(void)s; (void)w;
	return NULL;
}

/* "... without VHOST_USER_F_PROTOCOL_FEATURES set, the back-end must enable all rings immediately." */
static const char *enable_all(struct vio_vhost *s, struct vio_vhost_work *w)
{
	w->next = features_done;
	for (unsigned i = 0; i < s->dev->queues; i++) {
		struct vio_vhost_ring *r = &s->ring[i];
		bool was = r->enabled;
		r->enabled = true;
		if (was || !r->running)
			continue;
		struct vio_vhost_order *o = vio_vhost_order(r, w->lane, VIO_ORDER_ENABLE | VIO_ORDER_LOOK);
		o->enable = true;
		vio_vhost_post(o, w);
	}
	return vio_vhost_later;
}

/* Bits 26 and 30 are the protocol's and may change while rings run; the device's may not. */
const char *vio_vhost_on_SET_FEATURES(struct vio_vhost *s, struct vio_vhost_work *w)
{
	uint64_t said = w->m.payload.u64;
	uint64_t own = said & ~(BIT(VIO_VHOST_LOG_ALL) | BIT(VIO_VHOST_PROTOCOL_FEATURES));
	struct vio_features offered = vio_dev_offered(s->dev), f = { { own, 0 } };
	f.word[0] &= ~(front_ends_of(s).passed & ~offered.word[0]);

	bool changes = !s->has_features || !vio_features_equal(f, s->dev->accepted);
	if (changes && vio_vhost_any_kicked(s))
		return "a queue is running: the device's features can't change until all are stopped";
	const char *why = changes ? features_refused(s, f) : NULL;
	if (why)
		return why;
	why = vio_vhost_set_views(s, w, said & BIT(VIO_VHOST_LOG_ALL), vio_has(f, VIO_F_ACCESS_PLATFORM));
	if (why != vio_vhost_later)
		return why;
	s->features = said;
	s->has_features = true;
	if (changes) {
		vio_dev_accept(s->dev, f);
		vio_vhost_state_settled(s);
		vio_vhost_tell(s, VIO_VHOST_FEATURES);
	}
	w->then = said & BIT(VIO_VHOST_PROTOCOL_FEATURES) ? NULL : enable_all;
	return why;
}

/* CONFIG only where there is a config space: QEMU warns of it where it keeps none. */
static uint64_t protocol_offered(const struct vio_vhost *s)
{
	uint64_t config = s->dev->type->config_len ? BIT(VIO_VHOST_F_CONFIG) : 0;
	uint64_t inflight = s->dev->type->no_replay ? 0 : BIT(VIO_VHOST_F_INFLIGHT_SHMFD) | BIT(VIO_VHOST_F_GET_VRING_BASE_INFLIGHT);

	return config | inflight | BIT(VIO_VHOST_F_MQ) | BIT(VIO_VHOST_F_LOG_SHMFD) | BIT(VIO_VHOST_F_REPLY_ACK) | BIT(VIO_VHOST_F_BACKEND_REQ) |
	    BIT(VIO_VHOST_F_BACKEND_SEND_FD) |
	    BIT(VIO_VHOST_F_RESET_DEVICE) | BIT(VIO_VHOST_F_INBAND_NOTIFICATIONS) | BIT(VIO_VHOST_F_CONFIGURE_MEM_SLOTS) |
	    BIT(VIO_VHOST_F_STATUS) | BIT(VIO_VHOST_F_DEVICE_STATE);
}

const char *vio_vhost_on_GET_PROTOCOL_FEATURES(struct vio_vhost *s, struct vio_vhost_work *w)
{
	return answer_u64(w, protocol_offered(s));
}

const char *vio_vhost_on_SET_PROTOCOL_FEATURES(struct vio_vhost *s, struct vio_vhost_work *w)
{
	uint64_t v = w->m.payload.u64, needed = BIT(VIO_VHOST_F_BACKEND_REQ) | BIT(VIO_VHOST_F_REPLY_ACK);

	if (v & ~protocol_offered(s))
		return "it accepts protocol features that were not offered";
	if (v & BIT(VIO_VHOST_F_INBAND_NOTIFICATIONS) && (v & needed) != needed) {
		s->protocol = 0;	/* "the back-end should close the connection": no way to say no is left */
		return "in-band notifications need BACKEND_REQ and REPLY_ACK too";
	}
	s->protocol = v;
	return NULL;
}

const char *vio_vhost_on_GET_QUEUE_NUM(struct vio_vhost *s, struct vio_vhost_work *w)
{
	unsigned queues = s->dev->queues;

	return answer_u64(w, front_ends_of(s).pairs ? queues / 2 : queues);
}

/* ---- Config space ---- */

/* Reads past the end give zeroes: QEMU asks for more than a device has, user-mode Linux for a field's end from 0. */
const char *vio_vhost_on_GET_CONFIG(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct vio_vhost_config *c = &w->m.payload.config;

	if (c->size > VIO_VHOST_CONFIG_BYTES || w->m.header.size != 12 + c->size)
		return "it asks for more or fewer bytes than it has room for";
	vio_dev_config_read(s->dev, c->offset, c->bytes, c->size);
	w->reply_size = 12 + c->size;
	return NULL;
}

/* What a driver may write of the whole space; the rest is what it read last, and means nothing. */
static const char *write_whole(struct vio_vhost *s, const struct vio_vhost_config *c)
{
	const struct vio_dev_type *t = s->dev->type;

	for (uint32_t i = 0, n; i < t->config_len; i += n ? n : 1) {
		for (n = 0; i + n < t->config_len && t->config_writable[i + n] == 0xff; n++)
			;
		if (n && !vio_dev_config_write(s->dev, i, c->bytes + i, n))
			return "it writes what the device does not take";
	}
	return NULL;
}

/* Migration brings the whole space: what a driver may write is taken, and the rest must be the same device. */
static const char *migrate_config(struct vio_vhost *s, const struct vio_vhost_config *c)
{
	uint8_t have[VIO_VHOST_CONFIG_BYTES];
	const uint8_t *writable = s->dev->type->config_writable;

	vio_dev_config_read(s->dev, c->offset, have, c->size);
	for (uint32_t i = 0; i < c->size; i++) {
		bool may = writable && c->offset < s->dev->type->config_len && i < s->dev->type->config_len - c->offset &&
		    writable[c->offset + i] == 0xff;
		if (c->bytes[i] != have[i] && !may)
			return "the device that was migrated has another config space: start this one with the same options";
	}
	for (uint32_t i = 0; i < c->size; i++)
		if (c->bytes[i] != have[i])
			vio_dev_config_write(s->dev, c->offset + i, &c->bytes[i], 1);
	return NULL;
}

const char *vio_vhost_on_SET_CONFIG(struct vio_vhost *s, struct vio_vhost_work *w)
{
	const struct vio_vhost_config *c = &w->m.payload.config;

	if (c->size > VIO_VHOST_CONFIG_BYTES || w->m.header.size != 12 + c->size)
		return "it says another size than it has";
	if (c->flags == 1)
		return migrate_config(s, c);
	if (c->flags)
		return "it has flags that mean nothing";
	if (front_ends_of(s).whole && c->offset == 0 && c->size == s->dev->type->config_len && s->dev->type->config_writable)
		return write_whole(s, c);
	if (!vio_dev_config_write(s->dev, c->offset, c->bytes, c->size))
		return "it writes where the config space is read-only, or ends";
	return NULL;
}

/* ---- Status and reset ---- */

/*
 * QEMU's meaning: kept and told back.  Status 0 comes when a guest is merely paused, so it must not forget anything: rings
 * that start again at the base we gave are the same driver's (vio_vhost_new_driver()).
 */
const char *vio_vhost_on_SET_STATUS(struct vio_vhost *s, struct vio_vhost_work *w)
{
	if (w->m.payload.u64 > UINT8_MAX)
		return "the device status has eight bits";
	s->status = (uint8_t)w->m.payload.u64;
	return NULL;
}

const char *vio_vhost_on_GET_STATUS(struct vio_vhost *s, struct vio_vhost_work *w)
{
	uint8_t status = s->status;

	for (unsigned i = 0; i < s->dev->queues; i++)
		if (s->ring[i].broken)
			status |= VIO_S_NEEDS_RESET;
	return answer_u64(w, status);
}

void vio_vhost_new_driver(struct vio_vhost *s)
{
	struct vio_features f = s->dev->accepted;

	vio_vhost_state_forget(s);
	vio_dev_forget(s->dev);
	vio_dev_accept(s->dev, f);
	for (unsigned i = 0; i < s->dev->queues; i++)
		s->ring[i].has_left = false;
}

static const char *reset_done(struct vio_vhost *s, struct vio_vhost_work *w)
{
	(void)w;
	for (unsigned i = 0; i < s->dev->queues; i++) {
		struct vio_vhost_ring *r = &s->ring[i];
		r->running = r->kicked = r->enabled = r->broken = r->missing = r->has_left = r->has_addr = false;
		r->size = r->base = 0;
	}
	vio_vhost_map_unref(s->inflight);	/* what it records will never be finished */
	s->inflight = NULL;
	s->status = 0;
	s->has_features = false;
	vio_vhost_state_forget(s);
	vio_dev_forget(s->dev);
	return NULL;
}

const char *vio_vhost_on_RESET_DEVICE(struct vio_vhost *s, struct vio_vhost_work *w)
{
	for (unsigned i = 0; i < s->dev->queues; i++) {
		struct vio_vhost_order *o = vio_vhost_order(&s->ring[i], w->lane, VIO_ORDER_KICK | VIO_ORDER_STOP);
		o->cancel = true;
		s->ring[i].kicked = false;	/* one that waits does not start any more */
		vio_vhost_post(o, w);
	}
	w->rests = true;
	w->next = reset_done;
	return vio_vhost_later;
}

/* "used as a session start flag" */
const char *vio_vhost_on_SET_OWNER(struct vio_vhost *s, struct vio_vhost_work *w)
{
	(void)s; (void)w;
	return NULL;
}

/* "It is recommended that back-ends either ignore this message, or use it to disable all rings." */
const char *vio_vhost_on_RESET_OWNER(struct vio_vhost *s, struct vio_vhost_work *w)
{
	(void)s; (void)w;
	return NULL;
}

const char *vio_vhost_on_SET_BACKEND_REQ_FD(struct vio_vhost *s, struct vio_vhost_work *w)
{
	struct stat st;

	if (fstat(w->m.fd[0], &st) || !S_ISSOCK(st.st_mode))
		return "its descriptor is not a socket";
	vio_vhost_channel_open(s, vio_vhost_take_fd(&w->m, 0));
	return NULL;
}
