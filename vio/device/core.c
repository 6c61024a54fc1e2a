/* Instances, features, config space, and the queue primitives: see dev.h. */
#include <vio/device/admin.h>
#include <vio/device/rate.h>
#include <vio/ring/freestanding.h>

/* Whose hooks serve a queue. */
static const struct vio_dev_type *hooks(const struct vio_dev *d, unsigned queue)
{
	return vio_dev_is_admin(d, queue) ? &vio_dev_admin : d->type;
}

/* ---- Life ---- */

static struct vio_features features_of_type(const struct vio_dev_type *t)
{
	return vio_features_of(t->features, t->features_count);
}

const char *vio_dev_open(struct vio_dev *d, const struct vio_dev_type *type, const void *options,
    const struct vio_port_ops *port, void *port_arg, struct vio_features wire)
{
	d->type = type;
	d->type_features = features_of_type(type);
	vio_dev_attach(d, port, port_arg, wire);
	const char *why = type->open(d, options);
	if (!why && vio_features_unmet(d->type_features, type->needs) != VIO_F_LIMIT)
		why = "the device would offer a feature without one that it needs";	/* 2.2.2 */
	if (!why)
		why = vio_dev_admin_open(d);
	for (uint16_t i = 0; i < vio_dev_queues(d); i++) {
		d->queue[i].ring.index = i;
		d->queue[i].ring.dev = d;
		d->queue[i].size = d->queue_size_max;
	}
	return why;
}

void vio_dev_close(struct vio_dev *d)
{
	if (d->type->close)
		d->type->close(d);
	vio_mem_unref(d->mem);
	d->mem = NULL;
}

void vio_dev_attach(struct vio_dev *d, const struct vio_port_ops *port, void *port_arg, struct vio_features wire)
{
	d->port = port;
	d->port_arg = port_arg;
	d->wire = wire;
}

void vio_dev_set_mem(struct vio_dev *d, struct vio_mem *mem)
{
	if (mem)
		vio_mem_ref(mem);
	vio_mem_unref(d->mem);
	d->mem = mem;
}

void vio_dev_forget(struct vio_dev *d)
{
	d->accepted = (struct vio_features){ { 0, 0 } };
	vio_dev_admin_reset(d);
	if (d->type->reset)
		d->type->reset(d);
}

unsigned vio_dev_lane_each(const struct vio_dev *d, unsigned queue)
{
	(void)d;
	return queue;
}

/* ---- Features and config space ---- */

struct vio_features vio_dev_offered(const struct vio_dev *d)
{
	const struct vio_dev_elsewhere *e = d->type->elsewhere;
	struct vio_features f = vio_features_or(d->type_features, e ? vio_features_and(d->wire, e->carries) : d->wire);

	if (!d->admin_queues)
		vio_features_drop(&f, VIO_F_ADMIN_VQ);
	return f;
}

const char *vio_dev_features_refused(struct vio_dev *d, struct vio_features f)
{
	if (!vio_features_none(vio_features_minus(f, vio_dev_offered(d))))
		return "the driver accepts a feature that was not offered";
	if (!vio_has(f, VIO_F_VERSION_1))
		return "the driver does not accept VERSION_1: legacy drivers are not served";
	if (vio_features_unmet(f, d->type->needs) != VIO_F_LIMIT)
		return "the driver accepts a feature without one that it needs";
	if (d->type->features_ok && !d->type->features_ok(d, f))
		return "the device can't work with the features that the driver accepts";
	return NULL;
}

void vio_dev_accept(struct vio_dev *d, struct vio_features f)
{
	d->accepted = f;
	if (d->type->negotiated)
		d->type->negotiated(d);
}

void vio_dev_config_read(const struct vio_dev *d, uint32_t at, void *to, uint32_t len)
{
	uint32_t have = at < d->type->config_len ? d->type->config_len - at : 0;

	if (have > len)
		have = len;
	if (have)
		memcpy(to, d->config + at, have);
	memset((unsigned char *)to + have, 0, len - have);
}

bool vio_dev_config_write(struct vio_dev *d, uint32_t at, const void *from, uint32_t len)
{
	const struct vio_dev_type *t = d->type;

	if (d->status & VIO_S_SUSPEND)		/* 2.13.2 */
		return false;
	if (!t->config_writable || at > t->config_len || len > t->config_len - at)
		return false;
	for (uint32_t i = 0; i < len; i++)
		if (t->config_writable[at + i] != 0xff)
			return false;
	memcpy(d->config + at, from, len);
	if (t->config)
		t->config(d, at, len);
	return true;
}

void vio_dev_config_changed(struct vio_dev *d)
{
	d->generation++;
	if (d->status & VIO_S_SUSPEND || d->freeze)
		d->config_due = true;		/* 2.13.2: told on resume */
	else if (d->port)
		d->port->config(d->port_arg);
}

/* ---- Queues ---- */

static void used(struct vio_devq *q)
{
	struct vio_dev *d = q->dev;
	d->port->used(d->port_arg, q->index);
}

static uint64_t queue_memory(const struct vio_dev *d, unsigned i, const struct vio_mem *mem, uint16_t size)
{
	uint64_t bytes = vio_devq_memory(size, (uint32_t)hooks(d, i)->request, d->chain_max, mem->count);

	if (mem->clip)		/* the tester's saw: room for one request in single bytes */
		bytes += (UINT64_C(1) << 20) / mem->clip * 2 * sizeof(struct vio_seg);
	return bytes;
}

static const char *start_elsewhere(struct vio_dev *d, unsigned i, uint32_t base)
{
	const char *why = d->type->elsewhere->start(d, i, base);

	if (!why)
		d->queue[i].state = VIO_QUEUE_ELSEWHERE;
	return why;
}

const char *vio_dev_queue_start(struct vio_dev *d, unsigned i, const struct vio_queue_start *s)
{
	struct vio_dev_queue *dq = &d->queue[i];

	if (dq->state != VIO_QUEUE_STOPPED)
		return "the queue is running already";
	if (!d->mem)
		return "the queue was started before guest memory was given";
	if (s->place.size == 0 || s->place.size > d->queue_size_max)
		return "the queue's size is zero, or larger than the device offers";
	if (d->type->elsewhere)
		return start_elsewhere(d, i, s->base);
	dq->memory_bytes = queue_memory(d, i, d->mem, s->place.size);
	dq->memory = d->port->alloc(d->port_arg, (size_t)dq->memory_bytes);
	if (!dq->memory)
		return "there is no memory for the queue's requests";

	struct vio_devq_setup setup = {
		.place = s->place, .features = d->accepted, .base = s->base, .chain_max = d->chain_max,
		.request_size = (uint32_t)hooks(d, i)->request, .mem = d->mem, .log_used_gpa = s->log_used_gpa,
		.log_used = s->log_used, .journal = s->journal, .memory = dq->memory, .memory_bytes = dq->memory_bytes,
		.signal = used,
	};
	const char *why = vio_devq_start(&dq->ring, &setup);
	if (!why && hooks(d, i)->queue_start && (why = hooks(d, i)->queue_start(d, &dq->ring)))
		vio_devq_stop(&dq->ring);
	if (why) {
		d->port->free(d->port_arg, dq->memory, (size_t)dq->memory_bytes);
		dq->memory = NULL;
		return why;
	}
	dq->state = VIO_QUEUE_STARTED;
	dq->told_broken = dq->told_miss = dq->wake_sent = false;
	dq->alarm_type = dq->alarm_rate = 0;
	dq->area_at = 0;
	dq->coal_until = 0;
	return NULL;
}

void vio_dev_queue_enable(struct vio_dev *d, unsigned i, bool on)
{
	d->queue[i].enabled = on;
}

/* Nothing is in flight any more: the one end of every stop. */
static void finish_stop(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];
	vio_stopped_fn *stopped = dq->stopped;

	dq->base = vio_devq_base(&dq->ring);
	if (hooks(d, i)->queue_stop)
		hooks(d, i)->queue_stop(d, &dq->ring);
	vio_devq_stop(&dq->ring);
	d->port->free(d->port_arg, dq->memory, (size_t)dq->memory_bytes);
	dq->memory = NULL;
	dq->state = VIO_QUEUE_STOPPED;
	dq->stopped = NULL;
	stopped(dq->stopped_arg, i, dq->base);
}

/* 2.1.2: tell it once, and with the status machine set NEEDS_RESET. */
static void tell_broken(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];

	dq->told_broken = true;
	if (d->status & VIO_S_DRIVER_OK && !(d->status & VIO_S_NEEDS_RESET)) {
		d->status |= VIO_S_NEEDS_RESET;
		d->needs_reset = dq->ring.broken;
		vio_dev_config_changed(d);
	}
	d->port->broken(d->port_arg, i, dq->ring.broken);
}

/* After a turn, whatever started it. */
static void settle(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];
	struct vio_devq *q = &dq->ring;

	if (q->broken && !dq->told_broken)
		tell_broken(d, i);
	if (q->why_empty == VIO_WAIT_IOTLB && !dq->told_miss && dq->state == VIO_QUEUE_STARTED) {
		dq->told_miss = true;
		d->port->miss(d->port_arg, i, q->miss_addr, q->miss_perm);
	}
	if (dq->state == VIO_QUEUE_STOPPING && q->inflight == 0 && dq->busy == 0)
		finish_stop(d, i);
}

/* Does the operator let this queue have its turn? */
static bool allowed(struct vio_dev *d, struct vio_devq *q)
{
	struct vio_dev_queue *dq = &d->queue[q->index];

	if (__atomic_load_n(&d->held, __ATOMIC_RELAXED)) {
		q->why_empty = VIO_WAIT_RATE;
		return false;
	}
	if (__atomic_load_n(&d->limited, __ATOMIC_RELAXED))
		return vio_dev_rate_allows(d, q);
	if (__builtin_expect(dq->charged.on, 0))
		vio_dev_rate_end(d, q);
	return true;
}

/* Signals that are held back, when enough of them are or the first is old enough. */
static void tell_held(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];
	struct vio_devq *q = &dq->ring;

	if (!q->held && !dq->coal_until)
		return;
	uint64_t at = vio_dev_now(d);
	bool first = !dq->coal_until;
	if (first)
		dq->coal_until = at + UINT64_C(1000) * dq->coal_usecs;
	if (q->held >= dq->coal_packets || q->since >= INT16_MAX || at >= dq->coal_until || !q->held) {
		vio_devq_tell(q);
		dq->coal_until = 0;
		if (!first)
			vio_dev_alarm(q, UINT64_MAX);
	} else if (first) {
		vio_dev_alarm(q, dq->coal_until);
	}
}

static void serve(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];
	struct vio_devq *q = &dq->ring;
	const struct vio_dev_type *type = hooks(d, i);
	bool timed = __atomic_load_n(&d->timed, __ATOMIC_RELAXED);

	dq->wake_sent = dq->pushed = false;
	dq->in_turn = true;
	if (timed)
		vio_dev_time_turn(d, q, true);
	if (dq->state == VIO_QUEUE_STARTED && !q->broken) {
		q->turn = VIO_DEV_TURN;
		q->why_empty = VIO_EMPTY;
		if (!dq->enabled && type->disabled)
			type->disabled(d, q);
		else if (dq->enabled && allowed(d, q))
			type->queue(d, q);
	}
	if (type->turn_end)
		type->turn_end(d, q);
	vio_devq_flush(q);
	if (timed)
		vio_dev_time_turn(d, q, false);
	if (__builtin_expect(dq->charged.on, 0))
		vio_dev_rate_charge(d, q);
	if (__builtin_expect(q->hold, 0))
		tell_held(d, i);
	dq->in_turn = false;
}

static bool more_waiting(const struct vio_dev_queue *dq)
{
	const struct vio_devq *q = &dq->ring;
	if (q->why_empty == VIO_WAIT_RATE)
		return false;
	return q->why_empty == VIO_TURN_OVER || q->turn == 0 || (q->why_empty == VIO_WAIT_SEGMENTS && dq->pushed);
}

static bool serving(const struct vio_dev_queue *dq)
{
	return dq->state == VIO_QUEUE_STARTED && !dq->ring.broken;
}

/* A turn of a queue that has no ring here. */
static bool turn_elsewhere(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];

	dq->wake_sent = false;
	if (dq->state == VIO_QUEUE_ELSEWHERE)
		d->type->elsewhere->kick(d, i);
	return false;
}

bool vio_dev_queue_turn(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];

	if (dq->state < VIO_QUEUE_STARTED)
		return turn_elsewhere(d, i);
	if (serving(dq))
		vio_devq_quiet(&dq->ring);
	serve(d, i);
	settle(d, i);
	if (!serving(dq))
		return false;
	return more_waiting(dq) || vio_dev_queue_listen(d, i);
}

bool vio_dev_queue_poll(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];

	if (dq->state < VIO_QUEUE_STARTED)
		return false;
	uint64_t before = dq->ring.stats.chains;
	dq->in_turn = true;
	if (hooks(d, i)->poll)
		hooks(d, i)->poll(d, &dq->ring);
	if (serving(dq))
		vio_devq_quiet(&dq->ring);
	serve(d, i);
	bool worked = dq->pushed || dq->ring.stats.chains != before;
	settle(d, i);
	return worked;
}

bool vio_dev_queue_listen(struct vio_dev *d, unsigned i)
{
	struct vio_dev_queue *dq = &d->queue[i];

	if (!serving(dq) || (dq->ring.why_empty != VIO_EMPTY && dq->ring.why_empty != VIO_TURN_OVER))
		return false;		/* waiting for something: whoever frees it wakes us */
	if (!dq->enabled && !hooks(d, i)->disabled)
		return false;		/* looked at when it is enabled */
	return vio_devq_listen(&dq->ring);
}

void vio_dev_queue_stop(struct vio_dev *d, unsigned i, bool cancel, vio_stopped_fn *stopped, void *arg)
{
	struct vio_dev_queue *dq = &d->queue[i];

	if (dq->state < VIO_QUEUE_STARTED) {
		if (dq->state == VIO_QUEUE_ELSEWHERE)
			dq->base = d->type->elsewhere->stop(d, i, cancel);
		dq->state = VIO_QUEUE_STOPPED;
		stopped(arg, i, dq->base);
		return;
	}
	dq->state = VIO_QUEUE_STOPPING;
	dq->stopped = stopped;
	dq->stopped_arg = arg;
	dq->in_turn = true;		/* completions need no wake: we settle here */
	if (cancel) {
		vio_devq_drop(&dq->ring);
		if (hooks(d, i)->cancel)
			hooks(d, i)->cancel(d, &dq->ring);
	}
	if (hooks(d, i)->turn_end)
		hooks(d, i)->turn_end(d, &dq->ring);
	vio_devq_flush(&dq->ring);
	vio_dev_coalesce(&dq->ring, 0, 0);
	dq->in_turn = false;
	settle(d, i);
}

uint32_t vio_dev_queue_set_mem(struct vio_dev *d, unsigned i, struct vio_mem *mem, const struct vio_region *gone)
{
	struct vio_dev_queue *dq = &d->queue[i];

	if (dq->state < VIO_QUEUE_STARTED)
		return 0;
	vio_devq_set_mem(&dq->ring, mem, gone);
	dq->told_miss = false;
	vio_dev_wake(&dq->ring);
	return dq->ring.pins;
}

void vio_dev_wake(struct vio_devq *q)
{
	struct vio_dev *d = q->dev;
	struct vio_dev_queue *dq = &d->queue[q->index];

	if (dq->wake_sent)
		return;
	dq->wake_sent = true;
	d->port->wake(d->port_arg, q->index);
}

void vio_dev_busy(struct vio_devq *q, bool on)
{
	struct vio_dev *d = q->dev;
	struct vio_dev_queue *dq = &d->queue[q->index];

	dq->busy += on ? 1 : UINT32_MAX;
	if (!dq->busy && dq->state == VIO_QUEUE_STOPPING && !dq->in_turn)
		vio_dev_wake(q);	/* a turn ends the stop: wires that wait for it look then */
}

void vio_dev_coalesce(struct vio_devq *q, uint32_t packets, uint32_t usecs)
{
	struct vio_dev *d = q->dev;
	struct vio_dev_queue *dq = &d->queue[q->index];
	bool hold = packets && usecs && d->port->now && d->port->alarm;

	if (!hold && !q->hold)
		return;
	q->hold = hold;
	dq->coal_packets = packets;
	dq->coal_usecs = usecs;
	dq->coal_until = 0;
	vio_dev_alarm(q, UINT64_MAX);
	if (hold)
		vio_dev_wake(q);	/* what is held back may be enough by the new conditions */
	else
		vio_devq_tell(q);
}

void vio_dev_push(struct vio_devq *q, struct vio_chain *c)
{
	struct vio_dev *d = q->dev;
	struct vio_dev_queue *dq = &d->queue[q->index];
	bool pinned = q->pins;

	vio_devq_push(q, c);
	dq->pushed = true;
	if (!dq->in_turn)
		vio_dev_wake(q);
	if (pinned && q->pins == 0 && d->port->unpinned)
		d->port->unpinned(d->port_arg, q->index);
}

void vio_dev_unpop(struct vio_devq *q, struct vio_chain *c)
{
	struct vio_dev *d = q->dev;
	bool pinned = q->pins;

	vio_devq_unpop(q, c);
	if (pinned && q->pins == 0 && d->port->unpinned)
		d->port->unpinned(d->port_arg, q->index);
}
