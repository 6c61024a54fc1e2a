/* A device served elsewhere: its type, made at run time of what the back end says, and its queues. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/backend/pages.h>
#include <vio/spec/net.h>
#include <vio/vhost/remote_impl.h>

static struct vio_remote *remote_of(const struct vio_dev *d)
{
	return (struct vio_remote *)((char *)(uintptr_t)d->type - offsetof(struct vio_remote, type));
}

/* ---- what the back end has ---- */

/* A suspended queue is stopped and one that was reset is begun anew, which any back end can do. */
#define BY_STOPPING (UINT64_C(1) << VIO_F_SUSPEND | UINT64_C(1) << VIO_F_RING_RESET)

/* Of the device-independent features: those an eventfd and guest addresses can carry. */
static struct vio_features carried(const struct vio_remote *r)
{
	static const unsigned char bits[] = { VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_VERSION_1, VIO_F_RING_PACKED,
		VIO_F_IN_ORDER, VIO_F_ORDER_PLATFORM };
	struct vio_features f = vio_features_of(bits, sizeof bits);

	f.word[0] &= r->f->offered;
	/* Where a packed ring stands only its driver and the in-flight region know: without one no other back end could go on. */
	if (r->o.reconnect && !vio_front_uses(r->f, VIO_VHOST_F_INFLIGHT_SHMFD))
		vio_features_drop(&f, VIO_F_RING_PACKED);
	f.word[0] |= BY_STOPPING;
	return vio_features_minus(f, r->o.without);
}

/* Bits 24 to 40 are not the device's; 30 and 26 are the protocol's. */
static struct vio_features of_the_type(const struct vio_remote *r)
{
	struct vio_features f = { { r->f->offered & ~(((UINT64_C(1) << 26) - 1) << 24), 0 } };
	unsigned bit;

	f = vio_features_minus(f, r->o.without);
	while ((bit = vio_features_unmet(f, r->type.needs)) != VIO_F_LIMIT)
		vio_features_drop(&f, bit);
	return f;
}

/* What the protocol does not tell: queues that a device of the type has at the least, whether GET_QUEUE_NUM counts pairs, and entries. */
static const struct kind { uint32_t id; uint8_t least; bool pairs; uint16_t size; } kinds[] = {
	{ VIO_ID_NET, 2, true, 1024 },
	{ VIO_ID_BLK, 1, false, 256 },
	{ VIO_ID_CONSOLE, 2, false, 256 },
	{ VIO_ID_RNG, 1, false, 64 },
	{ VIO_ID_BALLOON, 2, false, 256 },
	{ VIO_ID_SCSI, 3, false, 256 },
	{ VIO_ID_INPUT, 2, false, 256 },
	{ VIO_ID_VSOCK, 3, false, 256 },
	{ VIO_ID_FS, 2, false, 1024 },
};

static struct kind kind_of(uint32_t id)
{
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (kinds[i].id == id)
			return kinds[i];
	return (struct kind){ id, 1, false, 256 };
}

static bool count_queues(struct vio_remote *r, bool control)
{
	const struct kind k = kind_of(r->type.id);
	uint32_t said = r->f->queue_count, least = k.least;

	if (k.pairs && said)		/* a control queue is behind the pairs */
		said = 2 * said + control;
	r->served = (uint16_t)(said && said < VIO_DEV_QUEUES ? said : VIO_DEV_QUEUES);
	r->queues = (uint16_t)(r->o.queues ? r->o.queues : said < least ? least + control : said < VIO_DEV_QUEUES ? said : VIO_DEV_QUEUES);
	if (r->queues > VIO_DEV_QUEUES)
		return vio_front_fail(r->f, "A device has %d queues at most, not %u.", VIO_DEV_QUEUES, r->queues);
	for (uint16_t i = 0; i < r->queues; i++)
		if (!vio_front_events(r->f, i))
			return false;
	return true;
}

/* Nor does it tell how large a queue may be: half as large again and again, until it is not refused, where a back end can refuse. */
static bool measure_queues(struct vio_remote *r)
{
	uint32_t size = r->o.queue_size ? r->o.queue_size : kind_of(r->type.id).size;

	for (; size && vio_front_uses(r->f, VIO_VHOST_F_REPLY_ACK); size /= 2) {
		struct vio_vhost_state num = { 0, size };
		if (vio_front_tell(r->f, VIO_MSG_SET_VRING_NUM, &num, sizeof num, NULL, 0))
			break;
		if (r->f->broken)
			return false;
	}
	r->type.queue_size_max = (uint16_t)size;
	r->f->why[0] = 0;
	return size || vio_front_fail(r->f, "The back end refused SET_VRING_NUM whatever the size of the queue.");
}

/* A back end refuses to read beyond what it has, and does not say how much that is: the most it answers. */
static bool measure_config(struct vio_remote *r)
{
	uint32_t have = 0, most = r->type.config_len, ask = most;
	uint8_t bytes[VIO_VHOST_CONFIG_BYTES];

	while (vio_front_uses(r->f, VIO_VHOST_F_CONFIG) && have < most) {
		if (vio_front_config_read(r->f, 0, bytes, ask))
			have = ask;
		else if (r->f->broken)
			return false;
		else
			most = ask - 1;
		ask = have + (most - have + 1) / 2;
	}
	r->config_have = (uint16_t)have;
	if (r->type.config_len && !have && !r->o.config)
		return vio_front_fail(r->f, "The back end has no config space for a device of type %s: it must be given here.", r->type.name);
	r->f->why[0] = 0;
	return true;
}

bool vio_remote_config(struct vio_remote *r)
{
	uint8_t now[VIO_VHOST_CONFIG_BYTES] = { 0 };
	uint16_t given = r->o.config_bytes < r->type.config_len ? r->o.config_bytes : r->type.config_len;

	if (r->o.config)
		memcpy(now, r->o.config, given);
	if (r->config_have && !vio_front_config_read(r->f, 0, now, r->config_have))
		return false;
	bool differs = memcmp(now, r->config, r->type.config_len) != 0;
	memcpy(r->config, now, r->type.config_len);
	return differs;
}

/* ---- features and config space ---- */

static bool said(struct vio_remote *r, bool ok)
{
	vio_remote_settle(r);
	return ok;
}

static bool send_features(struct vio_remote *r, struct vio_features f)
{
	uint64_t v = (f.word[0] & ~BY_STOPPING) | (r->f->offered & UINT64_C(1) << VIO_VHOST_PROTOCOL_FEATURES);

	if (v == r->f->accepted)
		return true;
	if (v & ~r->f->offered)		/* of this back end, which is perhaps not the one that the driver asked */
		return false;
	r->f->accepted = v;
	if (r->lost || vio_front_send_features(r->f))	/* lost: the next back end is told */
		return true;
	r->f->accepted = 0;
	return false;
}

static bool remote_features_ok(struct vio_dev *d, struct vio_features f)
{
	struct vio_remote *r = remote_of(d);
	return vio_remote_revive(r) && said(r, send_features(r, f));
}

static void remote_negotiated(struct vio_dev *d)
{
	struct vio_remote *r = remote_of(d);

	if (send_features(r, d->accepted)) {
		r->f->status = VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK;
		if (!r->lost && vio_front_tell_status(r->f))
			vio_remote_config(r);
	}
	vio_remote_settle(r);
}

/* The whole is read again: some bytes answer others, as an input device's do. */
static void remote_config_written(struct vio_dev *d, uint32_t at, uint32_t len)
{
	struct vio_remote *r = remote_of(d);

	if (r->f->broken || at + len > r->config_have)
		return;
	if (vio_front_config_write(r->f, at, r->config + at, len))
		vio_remote_config(r);
	vio_remote_settle(r);
}

static void remote_reset(struct vio_dev *d)
{
	struct vio_remote *r = remote_of(d);
	bool was = r->f->status != 0;

	r->f->status = 0;
	r->f->accepted = 0;
	r->f->needs_reset = r->told_ill = false;
	vio_front_close(&r->f->inflight_fd);
	if (was && !r->f->broken) {
		if (vio_front_uses(r->f, VIO_VHOST_F_RESET_DEVICE))
			vio_front_tell(r->f, VIO_MSG_RESET_DEVICE, NULL, 0, NULL, 0);
		vio_front_tell_status(r->f);
		vio_remote_config(r);
	}
	vio_remote_settle(r);
}

/* ---- memory and queues ---- */

/* Give the back end the device's memory, unless it has it.  NULL, or why it can't be done. */
static const char *share_memory(struct vio_remote *r)
{
	struct vio_mem *m = r->dev->mem;

	if (r->mem == m)
		return NULL;
	struct vio_front_region *region = calloc(m->count ? m->count : 1, sizeof *region);
	if (!region)
		return "there is no memory for a table of regions";
	for (uint32_t i = 0; i < m->count; i++) {
		const struct vio_region *from = &m->region[i];
		if (!from->backing || from->backing->fd < 0) {
			free(region);
			return "guest memory is no file that could be shared with the device's process";
		}
		region[i] = (struct vio_front_region){ .gpa = from->gpa, .size = from->size, .host = from->host,
			.fd = from->backing->fd, .offset = from->backing->offset };
	}
	bool ok = vio_front_set_regions(r->f, region, m->count);
	free(region);
	if (!ok)
		return r->f->why;
	vio_mem_unref(r->mem);
	r->mem = vio_mem_ref(m);
	return NULL;
}

static bool none_runs(const struct vio_remote *r)
{
	for (unsigned i = 0; i < r->queues; i++)
		if (r->f->queue[i].running)
			return false;
	return true;
}

/* What goes before the first queue: memory, and the record of what is in flight. */
static bool begin(struct vio_remote *r)
{
	if (!none_runs(r))
		return true;
	return vio_front_memory(r->f) && vio_front_inflight(r->f) && vio_front_tell_status(r->f);
}

static const char *start(struct vio_remote *r, uint16_t i)
{
	struct vio_front_queue *q = &r->f->queue[i];

	q->set = true;
	r->f->status |= VIO_S_DRIVER_OK;
	if (r->lost)			/* the next back end begins with it */
		q->running = true;
	else if (!(begin(r) && vio_front_describe(r->f, i) && vio_front_go(r->f, i)) && !(r->f->broken && r->o.reconnect))
		return r->f->why;
	return NULL;
}

static const char *remote_start(struct vio_dev *d, unsigned i, uint32_t base)
{
	struct vio_remote *r = remote_of(d);
	const struct vio_dev_queue *dq = &d->queue[i];
	struct vio_front_queue *q = &r->f->queue[i];

	if (i >= r->served)		/* the specification has it and the back end does not: nothing ever comes of it */
		return NULL;
	if (r->given_up || (r->lost && !r->o.reconnect))
		return r->why;
	*q = (struct vio_front_queue){ .size = dq->size, .packed = vio_has(d->accepted, VIO_F_RING_PACKED), .desc = dq->desc,
		.driver = dq->driver, .device = dq->device, .base = base, .kick = q->kick, .call = q->call };
	const char *why = share_memory(r);
	if (!why && !vio_front_reaches(r->f, (uint16_t)i)) {	/* the driver's mistake: the back end hears nothing of it */
		q->set = q->running = false;
		return "its rings do not lie in guest memory";
	}
	if (!why)
		why = start(r, (uint16_t)i);
	if (why) {
		q->set = q->running = false;
		snprintf(r->why, sizeof r->why, "%s", why);
		vio_remote_tell(r, VIO_REMOTE_ILL);
	}
	vio_remote_settle(r);
	return why ? r->why : NULL;
}

static uint32_t remote_stop(struct vio_dev *d, unsigned i, bool drop)
{
	struct vio_remote *r = remote_of(d);
	struct vio_front_queue *q = &r->f->queue[i];

	if (!q->set)
		return 0;
	if (q->running && (r->f->broken || !vio_vhost_queue_stop(r->f, (uint16_t)i, NULL)))
		q->base = vio_front_place(r->f, (uint16_t)i);
	if (drop)
		vio_front_inflight_clear(r->f, (uint16_t)i);
	q->set = q->running = false;
	vio_remote_settle(r);
	return q->base;
}

static void remote_kick(struct vio_dev *d, unsigned i)
{
	struct vio_remote *r = remote_of(d);
	uint64_t one = 1;

	(void)!write(r->f->queue[i].kick, &one, sizeof one);	/* full: it has been kicked, and often */
}

/* ---- life ---- */

static const char *remote_open(struct vio_dev *d, const void *options)
{
	struct vio_remote *r = remote_of(d);

	if (options != r || r->dev)
		return "a remote device is opened once, with the struct vio_remote that its type came from";
	r->dev = d;
	d->queues = r->queues;
	d->queue_size_max = r->type.queue_size_max;
	d->type_features = of_the_type(r);
	d->config = r->config;
	/* a record for all queues, and for the largest that a driver may make: one may be reset and begun anew */
	r->f->record_queues = r->queues < r->served ? r->queues : r->served;
	r->f->record_size = d->queue_size_max;
	vio_remote_watch(r);
	return NULL;
}

static void remote_close(struct vio_dev *d)
{
	struct vio_remote *r = remote_of(d);

	vio_remote_unwatch(r);
	r->dev = NULL;
}

static void make_type(struct vio_remote *r)
{
	const struct vio_dev_type *like = r->o.like;

	r->elsewhere = (struct vio_dev_elsewhere){ .start = remote_start, .stop = remote_stop, .kick = remote_kick };
	r->type = (struct vio_dev_type){
		.name = like->name, .id = like->id, .needs = like->needs, .config_len = like->config_len,
		.config_writable = like->config_writable, .instance = sizeof(struct vio_dev), .elsewhere = &r->elsewhere,
		.open = remote_open, .close = remote_close, .config = remote_config_written, .features_ok = remote_features_ok,
		.negotiated = remote_negotiated, .reset = remote_reset,
	};
}

/* Is it a device of our time, and how much of one? */
static bool take_stock(struct vio_remote *r)
{
	if (!(r->f->offered >> VIO_F_VERSION_1 & 1))
		return vio_front_fail(r->f, "The back end does not offer VERSION_1: legacy devices are not driven.");
	r->elsewhere.carries = carried(r);
	struct vio_features own = of_the_type(r);
	if (!count_queues(r, r->type.id == VIO_ID_NET && vio_has(own, VIO_NET_F_CTRL_VQ)) || !measure_queues(r) || !measure_config(r))
		return false;
	vio_remote_config(r);
	return !r->f->broken;
}

struct vio_remote *vio_remote_connect(const struct vio_remote_options *o, char *why)
{
	struct vio_remote *r = calloc(1, sizeof *r);

	if (!r) {
		snprintf(why, VIO_FRONT_WHY, "No memory for a remote device.");
		return NULL;
	}
	r->o = *o;
	make_type(r);
	r->f = vio_vhost_connect(&(struct vio_vhost_front_options){ .path = o->path, .fd = o->fd, .device_id = o->like->id,
	    .inflight = o->reconnect, .irq = true, .patience_ns = o->patience_ns, .protocol_without = o->protocol_without }, why);
	if (r->f && take_stock(r))
		return r;
	if (r->f)
		snprintf(why, VIO_FRONT_WHY, "%s", r->f->why);
	vio_remote_free(r);
	return NULL;
}

void vio_remote_free(struct vio_remote *r)
{
	if (!r)
		return;
	if (r->f)
		r->f->closing = NULL;
	vio_vhost_disconnect(r->f);
	vio_mem_unref(r->mem);
	free(r);
}

const struct vio_dev_type *vio_remote_type(const struct vio_remote *r) { return &r->type; }
unsigned vio_remote_queues(const struct vio_remote *r) { return r->queues; }

int vio_remote_kick_fd(const struct vio_remote *r, unsigned queue) { return queue < r->queues ? r->f->queue[queue].kick : -1; }
int vio_remote_call_fd(const struct vio_remote *r, unsigned queue) { return queue < r->queues ? r->f->queue[queue].call : -1; }

bool vio_remote_log(struct vio_remote *r, bool on, uint8_t **bits, uint64_t *bytes, char *why)
{
	const char *no = r->lost ? r->why : on && !(r->dev && r->dev->mem) ? "there is no guest memory yet" : on ? share_memory(r) : NULL;

	if (!no && !vio_vhost_log(r->f, on, bits, bytes))
		no = r->f->broken ? r->f->why : "The back end can't record what it writes: it lacks LOG_SHMFD or LOG_ALL, or refused.";
	if (no)
		snprintf(why, VIO_FRONT_WHY, "%s", no);
	vio_remote_settle(r);
	return !no;
}
