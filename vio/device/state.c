/*
 * Save and load: a device's state as the specification's device parts (2.12).  Saving is legal while all queues are
 * stopped.  Loading checks everything before it changes anything; unknown optional parts are skipped.
 */
#include <vio/device/dev.h>
#include <vio/ring/freestanding.h>
#include <vio/spec/parts.h>

struct out { unsigned char *to; size_t room, used; };

static void part(struct out *o, uint16_t type, uint8_t flags, uint16_t index, const void *value, size_t len)
{
	struct vio_part_header h = { vio_le16_of(type), flags, 0, { (uint8_t)index, (uint8_t)(index >> 8) },
		vio_le32_of((uint32_t)len) };

	if (o->to && o->room >= o->used && o->room - o->used >= sizeof h + len) {
		memcpy(o->to + o->used, &h, sizeof h);
		memcpy(o->to + o->used + sizeof h, value, len);
	}
	o->used += sizeof h + len;
}

static void features_part(struct out *o, uint16_t type, uint8_t flags, struct vio_features f)
{
	struct vio_part_features v = { { vio_le64_of(f.word[0]), vio_le64_of(f.word[1]) } };
	part(o, type, flags, 0, &v, sizeof v);
}

enum { TYPE_BYTES = 4096 };	/* of a device type's own part */

size_t vio_dev_save(struct vio_dev *d, void *to, size_t room)
{
	struct out o = { to, room, 0 };
	unsigned char own[TYPE_BYTES];

	features_part(&o, VIO_PART_DEV_FEATURES, VIO_PART_F_OPTIONAL, vio_dev_offered(d));
	features_part(&o, VIO_PART_DRV_FEATURES, 0, d->accepted);
	for (uint16_t i = 0; i < d->queues; i++) {
		const struct vio_dev_queue *q = &d->queue[i];
		struct vio_part_vq_cfg v = { vio_le16_of(q->size), vio_le16_of(0xffff), vio_le16_of(q->live), vio_le16_of(0),
			vio_le64_of(q->desc), vio_le64_of(q->driver), vio_le64_of(q->device) };
		struct vio_part_vq_place p = { vio_le32_of(q->base) };
		part(&o, VIO_PART_VQ_CFG, 0, i, &v, sizeof v);
		part(&o, VIO_PART_VQ_PLACE, 0, i, &p, sizeof p);
	}
	if (d->type->save && d->type->parts) {
		size_t left = o.room > o.used ? o.room - o.used : 0;
		o.used += d->type->save(d, o.to && left ? o.to + o.used : NULL, left);
	} else if (d->type->save) {
		size_t n = d->type->save(d, own, sizeof own);
		part(&o, VIO_PART_DEVICE_TYPE, 0, 0, own, n <= sizeof own ? n : sizeof own);
	}
	part(&o, VIO_PART_DEVICE_STATUS, 0, 0, &d->status, 1);
	return o.used;
}

/* What was read, before any of it is used. */
struct state {
	bool has_features, has_status, has_own;
	struct vio_features features;
	uint8_t status;
	uint64_t cfg_seen, place_seen;	/* bit i: queue i */
	struct vio_part_vq_cfg cfg[VIO_DEV_QUEUES];
	uint32_t base[VIO_DEV_QUEUES];
	const unsigned char *own;
	size_t own_len;
};
VIO_STATIC_ASSERT(VIO_DEV_QUEUES <= 64, "struct state");

static const char *queue_part(const struct vio_dev *d, struct state *s, const struct vio_part_header *h, const void *value)
{
	unsigned i = h->selector[0] | (unsigned)h->selector[1] << 8;
	bool cfg = vio_le16_get(h->type) == VIO_PART_VQ_CFG;
	uint64_t *seen = cfg ? &s->cfg_seen : &s->place_seen;

	if (i >= d->queues)
		return "the state has a queue that the device does not have";
	if (*seen >> i & 1)
		return "the state has a part twice";
	*seen |= UINT64_C(1) << i;
	if (cfg) {
		memcpy(&s->cfg[i], value, sizeof s->cfg[i]);
		if (vio_le16_get(s->cfg[i].size) > d->queue_size_max)
			return "the state has a queue larger than the device offers";
	} else {
		struct vio_part_vq_place p;
		memcpy(&p, value, sizeof p);
		s->base[i] = vio_le32_get(p.base);
	}
	return NULL;
}

static size_t length_of(uint16_t type)
{
	switch (type) {
	case VIO_PART_DEV_FEATURES:
	case VIO_PART_DRV_FEATURES:  return sizeof(struct vio_part_features);
	case VIO_PART_DEVICE_STATUS: return 1;
	case VIO_PART_VQ_CFG:        return sizeof(struct vio_part_vq_cfg);
	case VIO_PART_VQ_PLACE:      return sizeof(struct vio_part_vq_place);
	default:                     return SIZE_MAX;	/* any */
	}
}

/* A type whose save writes whole parts is given them back as they stand there, one after the other. */
static const char *own_part(struct state *s, const struct vio_part_header *h, const unsigned char *value)
{
	const unsigned char *whole = value - sizeof *h;
	size_t bytes = sizeof *h + vio_le32_get(h->length);

	if (!s->has_own)
		s->own = whole;
	else if (s->own + s->own_len != whole)
		return "the state has the parts of the device's type in two places";
	s->has_own = true;
	s->own_len += bytes;
	return NULL;
}

static const char *one_part(struct vio_dev *d, struct state *s, const struct vio_part_header *h, const unsigned char *value)
{
	uint16_t type = vio_le16_get(h->type);
	size_t len = vio_le32_get(h->length);
	struct vio_part_features f;

	if (length_of(type) != SIZE_MAX && len != length_of(type))
		return "the state has a part of the wrong length";
	if (d->type->parts && type >= VIO_PART_DEVICE_TYPE && type < VIO_PART_VQ_PLACE)
		return own_part(s, h, value);
	switch (type) {
	case VIO_PART_DEV_FEATURES:
		return NULL;		/* to find mistakes by; what counts is what the driver accepted */
	case VIO_PART_DRV_FEATURES:
		if (s->has_features)
			return "the state has a part twice";
		memcpy(&f, value, sizeof f);
		s->has_features = true;
		s->features = (struct vio_features){ { vio_le64_get(f.word[0]), vio_le64_get(f.word[1]) } };
		return NULL;
	case VIO_PART_DEVICE_STATUS:
		if (s->has_status)
			return "the state has a part twice";
		s->has_status = true;
		s->status = value[0];
		return NULL;
	case VIO_PART_VQ_CFG:
	case VIO_PART_VQ_PLACE:
		return queue_part(d, s, h, value);
	case VIO_PART_DEVICE_TYPE:
		if (s->has_own)
			return "the state has a part twice";
		s->has_own = true;
		s->own = value;
		s->own_len = len;
		return NULL;
	default:
		return h->flags & VIO_PART_F_OPTIONAL ? NULL : "the state has a part that this version does not know";
	}
}

static const char *read_parts(struct vio_dev *d, struct state *s, const unsigned char *from, size_t n)
{
	while (n) {
		struct vio_part_header h;
		if (n < sizeof h)
			return "the state ends in the middle of a part";
		memcpy(&h, from, sizeof h);
		from += sizeof h;
		n -= sizeof h;
		size_t len = vio_le32_get(h.length);
		if (len > n)
			return "the state ends in the middle of a part";
		const char *why = one_part(d, s, &h, from);
		if (why)
			return why;
		from += len;
		n -= len;
	}
	if (!s->has_features || !s->has_status)
		return "the state lacks the driver's features or the device status";
	return NULL;
}

/* With the features that the state was made with. */
static const char *try_load(struct vio_dev *d, const struct state *s)
{
	struct vio_features before = d->accepted;

	d->accepted = s->features;
	const char *why = d->type->load(d, s->own, s->own_len);
	d->accepted = before;
	return why;
}

const char *vio_dev_load(struct vio_dev *d, const void *from, size_t n)
{
	struct state s = { 0 };
	const char *why = read_parts(d, &s, from, n);

	for (unsigned i = 0; !why && i < d->queues; i++)
		if (d->queue[i].state != VIO_QUEUE_STOPPED)
			why = "a queue is running: state is loaded into a stopped device";
	if (!why && !vio_features_none(s.features))
		why = vio_dev_features_refused(d, s.features);
	if (!why && vio_features_none(s.features) && s.status & (VIO_S_FEATURES_OK | VIO_S_DRIVER_OK | VIO_S_SUSPEND))
		why = "the state's device status tells of features that were accepted, and the state has none";
	if (!why && s.has_own && !d->type->load)
		why = "the state has a part that this device type does not know";
	if (!why && s.has_own)
		why = try_load(d, &s);		/* the last that may refuse */
	if (why)
		return why;
	vio_dev_forget(d);
	if (!vio_features_none(s.features))
		vio_dev_accept(d, s.features);
	if (s.has_own)
		(void)d->type->load(d, s.own, s.own_len);	/* again: accept may have set defaults */
	for (unsigned i = 0; i < d->queues; i++) {
		struct vio_dev_queue *q = &d->queue[i];
		q->size = s.cfg_seen >> i & 1 ? vio_le16_get(s.cfg[i].size) : d->queue_size_max;
		q->live = s.cfg_seen >> i & 1 && vio_le16_get(s.cfg[i].enabled);
		q->desc = vio_le64_get(s.cfg[i].desc);
		q->driver = vio_le64_get(s.cfg[i].driver);
		q->device = vio_le64_get(s.cfg[i].device);
		q->base = s.base[i];
	}
	d->status = s.status;
	d->needs_reset = s.status & VIO_S_NEEDS_RESET ? "the device needed a reset when its state was saved" : NULL;
	d->config_due = false;
	return NULL;
}
