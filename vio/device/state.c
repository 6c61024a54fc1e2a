/*
 * Save and load: a device's state as the specification's device parts (2.12).  Saving is legal while all queues are
 * stopped.  Loading checks everything before it changes anything; unknown optional parts are skipped.
 */
#include <vio/device/admin.h>
#include <vio/device/state.h>
#include <vio/ring/freestanding.h>

enum { TYPE_BYTES = 4096 };	/* of a device type's own part, where it is one */

/* ---- Saving ---- */

void vio_parts_put(struct vio_parts *o, uint16_t type, uint8_t flags, uint32_t selector, const void *value, size_t len)
{
	vio_le32 which = vio_le32_of(selector);
	struct vio_part_header h = { vio_le16_of(type), flags, 0, { 0 }, vio_le32_of((uint32_t)len) };

	memcpy(h.selector, &which, sizeof which);
	if (o->to && o->room >= o->used && o->room - o->used >= sizeof h + len) {
		memcpy(o->to + o->used, &h, sizeof h);
		memcpy(o->to + o->used + sizeof h, value, len);
	}
	o->used += sizeof h + len;
}

static void features_part(struct vio_parts *o, uint16_t type, uint8_t flags, struct vio_features f)
{
	struct vio_part_features v = { { vio_le64_of(f.word[0]), vio_le64_of(f.word[1]) } };
	vio_parts_put(o, type, flags, 0, &v, sizeof v);
}

static void save_queue(const struct vio_dev *d, struct vio_parts *o, unsigned i, uint16_t vector)
{
	const struct vio_dev_queue *q = &d->queue[i];
	struct vio_part_vq_cfg v = { vio_le16_of(q->size), vio_le16_of(vector), vio_le16_of(q->live), vio_le16_of(0),
		vio_le64_of(q->desc), vio_le64_of(q->driver), vio_le64_of(q->device) };

	vio_parts_put(o, VIO_PART_VQ_CFG, 0, i, &v, sizeof v);
}

static void save_own(struct vio_dev *d, struct vio_parts *o)
{
	unsigned char own[TYPE_BYTES];

	if (d->type->save && d->type->parts) {
		size_t left = o->room > o->used ? o->room - o->used : 0;
		o->used += d->type->save(d, o->to && left ? o->to + o->used : NULL, left);
	} else if (d->type->save) {
		size_t n = d->type->save(d, own, sizeof own);
		vio_parts_put(o, VIO_PART_DEVICE_TYPE, 0, 0, own, n <= sizeof own ? n : sizeof own);
	}
}

static void save_administered(struct vio_dev *d, struct vio_parts *o)
{
	size_t left = o->room > o->used ? o->room - o->used : 0;

	o->used += vio_dev_admin_save(d, o->to && left ? o->to + o->used : NULL, left);
}

static void save_ours(struct vio_dev *d, struct vio_parts *o)
{
	struct { struct vio_part_config head; uint8_t bytes[VIO_DEV_CONFIG_MAX]; } c = {
		.head = { .generation = vio_le32_of(d->generation), .due = d->config_due } };

	vio_dev_config_read(d, 0, c.bytes, d->type->config_len);
	vio_parts_put(o, VIO_PART_CONFIG, VIO_PART_F_OPTIONAL, 0, &c, sizeof c.head + d->type->config_len);
	for (unsigned i = 0; i < vio_dev_queues_seen(d); i++) {
		struct vio_part_vq_place p = { vio_le32_of(d->queue[i].base), d->queue[i].ring.broken != NULL, { 0 } };
		vio_parts_put(o, VIO_PART_VQ_PLACE, 0, i, &p, sizeof p);
	}
}

/* Until FEATURES_OK what the driver wrote is a draft, and nothing stands on it. */
static struct vio_features settled(uint8_t status, struct vio_features f)
{
	return status & VIO_S_FEATURES_OK ? f : (struct vio_features){ { 0, 0 } };
}

size_t vio_dev_save_with(struct vio_dev *d, void *to, size_t room, const struct vio_state_wire *w, void *arg)
{
	struct vio_parts o = { to, room, 0 };
	struct vio_features draft = d->accepted;

	features_part(&o, VIO_PART_DEV_FEATURES, VIO_PART_F_OPTIONAL, vio_dev_offered(d));
	features_part(&o, VIO_PART_DRV_FEATURES, 0, draft);
	if (w && w->save_common)
		w->save_common(arg, &o);
	vio_parts_put(&o, VIO_PART_DEVICE_STATUS, 0, 0, &d->status, 1);
	for (unsigned i = 0; i < vio_dev_queues_seen(d); i++)
		save_queue(d, &o, i, w && w->vector ? w->vector(arg, i) : 0xffff);
	if (w)
		w->save(arg, &o);
	d->accepted = settled(d->status, draft);
	save_own(d, &o);
	save_administered(d, &o);
	d->accepted = draft;
	save_ours(d, &o);
	return o.used;
}

size_t vio_dev_save(struct vio_dev *d, void *to, size_t room)
{
	return vio_dev_save_with(d, to, room, NULL, NULL);
}

const char *vio_dev_stays(const struct vio_dev *d)
{
	return d->type->stays ? d->type->stays(d) : NULL;
}

size_t vio_dev_save_own(struct vio_dev *d, void *to, size_t room)
{
	struct vio_parts o = { to, room, 0 };

	features_part(&o, VIO_PART_DRV_FEATURES, 0, d->accepted);
	save_own(d, &o);
	return o.used;
}

/* ---- Loading: what was read, before any of it is used ---- */

struct state {
	bool has_features, has_status, has_own, has_config;
	struct vio_features features;
	uint8_t status;
	uint64_t cfg_seen, place_seen;	/* bit i: queue i */
	struct vio_part_vq_cfg cfg[VIO_DEV_QUEUES];
	struct vio_part_vq_place place[VIO_DEV_QUEUES];
	const unsigned char *own, *config, *admin;	/* admin: NULL, or parts one after the other */
	size_t own_len, config_len, admin_len;
	struct vio_part_config config_head;
	const struct vio_state_wire *wire;
	void *arg;
};
VIO_STATIC_ASSERT(VIO_DEV_QUEUES <= 64, "struct state");

static const char *queue_part(const struct vio_dev *d, struct state *s, const struct vio_part_header *h, const void *value)
{
	unsigned i = h->selector[0] | (unsigned)h->selector[1] << 8;
	bool cfg = vio_le16_get(h->type) == VIO_PART_VQ_CFG;
	uint64_t *seen = cfg ? &s->cfg_seen : &s->place_seen;

	if (i >= vio_dev_queues(d))
		return "the state has a queue that the device does not have";
	if (*seen >> i & 1)
		return "the state has a part twice";
	*seen |= UINT64_C(1) << i;
	if (!cfg) {
		memcpy(&s->place[i], value, sizeof s->place[i]);
		return s->place[i].broken > 1 ? "the state has a queue that is neither whole nor broken" : NULL;
	}
	memcpy(&s->cfg[i], value, sizeof s->cfg[i]);
	if (vio_le16_get(s->cfg[i].enabled) > 1)
		return "the state has a queue that is neither enabled nor not";
	if (s->wire && s->wire->queue && !s->wire->queue(s->arg, i, vio_le16_get(s->cfg[i].vector)))
		return "the state has a queue whose interrupt vector the device does not have";
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

/* So are those of what was administered. */
static const char *admin_part(struct state *s, const struct vio_part_header *h, const unsigned char *value)
{
	const unsigned char *whole = value - sizeof *h;

	if (!s->admin)
		s->admin = whole;
	else if (s->admin + s->admin_len != whole)
		return "the state has what was administered in two places";
	s->admin_len += sizeof *h + vio_le32_get(h->length);
	return NULL;
}

static const char *once(bool *seen)
{
	const char *why = *seen ? "the state has a part twice" : NULL;

	*seen = true;
	return why;
}

static const char *config_part(struct state *s, const unsigned char *value, size_t len)
{
	if (len < sizeof s->config_head)
		return "the state has a part of the wrong length";
	memcpy(&s->config_head, value, sizeof s->config_head);
	s->config = value + sizeof s->config_head;
	s->config_len = len - sizeof s->config_head;
	return once(&s->has_config);
}

static const char *unknown_part(struct state *s, const struct vio_part_header *h, const unsigned char *value)
{
	const char *why = NULL;

	if (s->wire && s->wire->part(s->arg, h, value, &why))
		return why;
	if (h->flags & VIO_PART_F_OPTIONAL)
		return NULL;
	switch (vio_le16_get(h->type)) {
	case VIO_PART_PCI_COMMON_CFG: case VIO_PART_PCI_CONFIG: case VIO_PART_PCI_VECTORS:
		return "the state is of a device on PCI, and this one is not";
	case VIO_PART_MMIO:
		return "the state is of a device on MMIO, and this one is not";
	default:
		return "the state has a part that this version does not know";
	}
}

static const char *one_part(struct vio_dev *d, struct state *s, const struct vio_part_header *h, const unsigned char *value)
{
	uint16_t type = vio_le16_get(h->type);
	size_t len = vio_le32_get(h->length);
	struct vio_part_features f;

	if (length_of(type) != SIZE_MAX && len != length_of(type))
		return "the state has a part of the wrong length";
	if (d->type->parts && type >= VIO_PART_DEVICE_TYPE && type < VIO_PART_OURS)
		return own_part(s, h, value);
	switch (type) {
	case VIO_PART_DEV_FEATURES:
		return NULL;		/* to find mistakes by; what counts is what the driver accepted */
	case VIO_PART_DRV_FEATURES:
		memcpy(&f, value, sizeof f);
		s->features = (struct vio_features){ { vio_le64_get(f.word[0]), vio_le64_get(f.word[1]) } };
		return once(&s->has_features);
	case VIO_PART_DEVICE_STATUS:
		s->status = value[0];
		return once(&s->has_status);
	case VIO_PART_VQ_CFG:
	case VIO_PART_VQ_PLACE:
		return queue_part(d, s, h, value);
	case VIO_PART_CONFIG:
		return config_part(s, value, len);
	case VIO_PART_ADMIN:
		return admin_part(s, h, value);
	case VIO_PART_DEVICE_TYPE:
		s->own = value;
		s->own_len = len;
		return once(&s->has_own);
	default:
		return unknown_part(s, h, value);
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
	return NULL;
}

/* ---- Is it a state that a device can be in? ---- */

static const char *judge_status(struct vio_dev *d, const struct state *s)
{
	bool suspended = s->status & VIO_S_SUSPEND, runs = s->status & VIO_S_DRIVER_OK;

	if (!(s->status & VIO_S_FEATURES_OK))
		return runs || suspended ? "the state's device status tells of a device that runs without having features" : NULL;
	if (runs && suspended)
		return "the state's device status tells of a device that runs and is suspended";
	if (suspended && !vio_has(s->features, VIO_F_SUSPEND))
		return "the state's device status tells of a device that is suspended and has no such feature";
	return vio_dev_features_refused(d, s->features);
}

/* Administration queues are seen, and saved, with their feature only. */
static bool has_queue(const struct vio_dev *d, const struct state *s, unsigned i)
{
	return i < d->queues || (vio_has(s->features, VIO_F_ADMIN_VQ) && vio_has(d->wire, VIO_F_ADMIN_VQ));
}

static const char *judge_queues(const struct vio_dev *d, const struct state *s)
{
	for (unsigned i = 0; i < vio_dev_queues(d); i++)
		if (!has_queue(d, s, i) && (s->cfg_seen | s->place_seen) >> i & 1)
			return "the state has a queue that the device does not have";
	for (unsigned i = 0; i < vio_dev_queues(d); i++) {
		if (d->queue[i].state != VIO_QUEUE_STOPPED)
			return "a queue is running: state is loaded into a stopped device";
		if (!has_queue(d, s, i))
			continue;
		if (!(s->cfg_seen >> i & 1) || !(s->place_seen >> i & 1))
			return "the state lacks a queue that the device has: start it with as many as the other had";
		bool used = vio_le16_get(s->cfg[i].enabled) && s->status & (VIO_S_DRIVER_OK | VIO_S_SUSPEND) && !s->place[i].broken;
		if (used && vio_le16_get(s->cfg[i].size) > d->queue_size_max)
			return "the state has a queue larger than the device offers";	/* the register may hold anything until it is used */
	}
	return NULL;
}

/* With the features that the state was made with. */
static const char *try_own(struct vio_dev *d, const struct state *s)
{
	struct vio_features before = d->accepted;

	if (s->has_own && !d->type->load)
		return "the state has a part that this device type does not know";
	if (!d->type->load)
		return NULL;
	if (!s->has_own && !d->type->parts)	/* whose parts may be none */
		return "the state lacks the part of the device's type";
	d->accepted = settled(s->status, s->features);
	const char *why = d->type->load(d, s->own, s->own_len);
	d->accepted = before;
	return why;
}

static const char *try_administered(struct vio_dev *d, const struct state *s)
{
	struct vio_features before = d->accepted;

	d->accepted = settled(s->status, s->features);
	const char *why = vio_dev_admin_load(d, s->admin, s->admin_len, true);
	d->accepted = before;
	return why;
}

static const char *judge(struct vio_dev *d, const struct state *s)
{
	const char *why = NULL;

	if (!s->has_features || !s->has_status)
		why = "the state lacks the driver's features or the device status";
	if (!why)
		why = judge_queues(d, s);
	if (!why)
		why = judge_status(d, s);
	if (!why && s->wire)
		why = s->wire->check(s->arg);
	if (!why)
		why = try_administered(d, s);
	return why ? why : try_own(d, s);	/* the last that may refuse */
}

/* ---- It is: use it ---- */

static void take_queue(struct vio_dev *d, unsigned i, const struct state *s)
{
	struct vio_dev_queue *q = &d->queue[i];

	q->size = vio_le16_get(s->cfg[i].size);
	q->live = vio_le16_get(s->cfg[i].enabled);
	q->desc = vio_le64_get(s->cfg[i].desc);
	q->driver = vio_le64_get(s->cfg[i].driver);
	q->device = vio_le64_get(s->cfg[i].device);
	q->base = vio_le32_get(s->place[i].base);
	q->leaving = false;
	q->ring.broken = s->place[i].broken ? "the queue was broken when its state was saved" : NULL;
}

/* What the driver knows of the config space may be true here no more: then it is told, as of any change. */
static void take_config(struct vio_dev *d, const struct state *s)
{
	d->config_due = false;
	if (!s->has_config)
		return;
	d->generation = vio_le32_get(s->config_head.generation);
	d->config_due = s->config_head.due;
	bool same = s->config_len == d->type->config_len && (!s->config_len || memcmp(d->config, s->config, s->config_len) == 0);
	if (!same && s->status & VIO_S_FEATURES_OK) {
		d->generation++;
		d->config_due = true;
	}
}

static void take(struct vio_dev *d, const struct state *s)
{
	struct vio_features f = settled(s->status, s->features);

	vio_dev_forget(d);
	if (s->status & VIO_S_FEATURES_OK)
		vio_dev_accept(d, f);
	if (d->type->load)
		(void)d->type->load(d, s->own, s->own_len);	/* again: accept may have set defaults */
	(void)vio_dev_admin_load(d, s->admin, s->admin_len, false);
	d->accepted = s->features;
	for (unsigned i = 0; i < vio_dev_queues_seen(d); i++)
		take_queue(d, i, s);
	d->status = s->status;
	d->needs_reset = s->status & VIO_S_NEEDS_RESET ? "the device needed a reset when its state was saved" : NULL;
	take_config(d, s);
}

const char *vio_dev_load_with(struct vio_dev *d, const void *from, size_t n, const struct vio_state_wire *w, void *arg)
{
	struct state s = { .wire = w, .arg = arg };
	const char *why = read_parts(d, &s, from, n);

	if (!why)
		why = judge(d, &s);
	if (!why)
		take(d, &s);
	return why;
}

const char *vio_dev_load(struct vio_dev *d, const void *from, size_t n)
{
	return vio_dev_load_with(d, from, n, NULL, NULL);
}

const char *vio_dev_load_own(struct vio_dev *d, const void *from, size_t n, struct vio_features *f)
{
	struct state s = { .status = VIO_S_FEATURES_OK };
	const char *why = read_parts(d, &s, from, n);

	for (unsigned i = 0; !why && i < d->queues; i++)
		if (d->queue[i].state != VIO_QUEUE_STOPPED)
			why = "a queue is running: state is loaded into a stopped device";
	if (!why && (s.has_status || s.cfg_seen || s.place_seen || s.has_config || s.admin))
		why = "the state is of a whole device, and here it is its type's alone";
	if (!why && !s.has_features)
		why = "the state lacks the driver's features";
	if (!why && !vio_features_none(vio_features_minus(s.features, vio_dev_offered(d))))
		why = "the driver accepted a feature that this device does not offer: start it with the same options";
	if (!why)
		why = try_own(d, &s);
	if (!why)
		*f = s.features;
	return why;
}
