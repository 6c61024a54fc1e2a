/*
 * SCSI host (virtio 1.4, section 5.6): the type.
 *
 *   controlq  (0)     task management and asynchronous notification: scsi_tmf.c
 *   eventq    (1)     buffers for what happens by itself: scsi_event.c
 *   requestqs (2...)  commands: scsi_task.c and those behind it
 *
 * Control and event queue are in the home thread, and so is the first request queue.
 */
#include <vio/device/scsi_impl.h>

/* ---- Config space (5.6.4) ---- */

static void adopt_sizes(struct scsi *s)
{
	uint64_t sense = vio_le32_get(s->config.sense_size), cdb = vio_le32_get(s->config.cdb_size);

	__atomic_store_n(&s->sizes, cdb << 32 | sense, __ATOMIC_RELAXED);
}

static void set_sizes(struct scsi *s, uint32_t sense, uint32_t cdb)
{
	s->config.sense_size = vio_le32_of(sense);
	s->config.cdb_size = vio_le32_of(cdb);
	adopt_sizes(s);
}

static void scsi_config(struct vio_dev *d, uint32_t at, uint32_t len)
{
	(void)at, (void)len;
	adopt_sizes(scsi_of(d));
}

/* 5.6.6: as after power on, but what is reserved persistently. */
static void scsi_reset(struct vio_dev *d)
{
	struct scsi *s = scsi_of(d);
	struct scsi_unit *u;

	set_sizes(s, VIO_SCSI_SENSE_SIZE, VIO_SCSI_CDB_SIZE);
	for (unsigned i = 0; (u = vio_scsi_dev_next_unit(s, &i)); )
		vio_scsi_dev_unit_reset(u, ATTENTION_POWER_ON);
	s->events = 0;
	s->events_missed = false;
}

/* ---- State: the two sizes that a driver may write, flags of units, events that wait ---- */

struct state_head { vio_le32 sense_size, cdb_size; vio_le32 units; vio_le16 events, events_missed; };
struct state_unit { vio_le32 address, flags, attention; };
struct state_event { vio_le32 event, reason, address; };
VIO_STATIC_ASSERT(sizeof(struct state_head) + VIO_SCSI_LUNS * sizeof(struct state_unit) + SCSI_EVENTS * sizeof(struct state_event) <=
    4096, "device/state.c has so much room");

static size_t scsi_save(struct vio_dev *d, void *to, size_t room)
{
	struct scsi *s = scsi_of(d);
	struct state_head head = { s->config.sense_size, s->config.cdb_size, vio_le32_of(0), vio_le16_of((uint16_t)s->events),
		vio_le16_of(s->events_missed) };
	struct scsi_unit *u;
	uint32_t n = 0;

	for (unsigned i = 0; (u = vio_scsi_dev_next_unit(s, &i)); n++) {
		vio_scsi_dev_reserve_refresh(u);	/* what others have reserved is an attention, and it is ours to tell */
		struct state_unit one = { vio_le32_of(ADDRESS_OF(u->o.target, u->o.lun)), vio_le32_of(scsi_flags(u)),
			vio_le32_of(__atomic_load_n(&u->attention, __ATOMIC_RELAXED)) };
		size_t at = sizeof head + n * sizeof one;
		if (to && room >= at + sizeof one)
			memcpy((char *)to + at, &one, sizeof one);
	}
	head.units = vio_le32_of(n);
	if (to && room >= sizeof head)
		memcpy(to, &head, sizeof head);
	size_t at = sizeof head + n * sizeof(struct state_unit);
	for (unsigned i = 0; i < s->events; i++, at += sizeof(struct state_event)) {
		const struct scsi_event_due *e = &s->event[(s->event_at + i) % SCSI_EVENTS];
		struct state_event one = { vio_le32_of(e->event), vio_le32_of(e->reason), vio_le32_of(e->address) };
		if (to && room >= at + sizeof one)
			memcpy((char *)to + at, &one, sizeof one);
	}
	return at;
}

enum { SAVED_FLAGS = UNIT_MODES | UNIT_LOCKED | UNIT_STOPPED | UNIT_OPEN };

static const char *load_unit(struct scsi *s, const unsigned char *from, bool apply)
{
	struct state_unit one;

	memcpy(&one, from, sizeof one);
	struct scsi_unit *u = vio_scsi_dev_find(s, vio_le32_get(one.address));
	if (!u)
		return "the saved state of the SCSI device has a unit that this one does not have: start it with the same units";
	if (vio_le32_get(one.attention) >> ATTENTIONS)
		return "the saved state of the SCSI device was saved by another program";
	if (!apply)
		return NULL;
	scsi_clear(u, SAVED_FLAGS);
	scsi_set(u, vio_le32_get(one.flags) & SAVED_FLAGS);
	__atomic_store_n(&u->attention, vio_le32_get(one.attention), __ATOMIC_RELAXED);
	return NULL;
}

static const char *scsi_load(struct vio_dev *d, const void *from, size_t n)
{
	struct scsi *s = scsi_of(d);
	struct state_head head;
	const char *why = NULL;

	if (n < sizeof head)
		return "the saved state of the SCSI device is too short";
	memcpy(&head, from, sizeof head);
	uint32_t units = vio_le32_get(head.units), events = vio_le16_get(head.events);
	if (units > VIO_SCSI_LUNS || events > SCSI_EVENTS || vio_le16_get(head.events_missed) > 1 ||
	    n != sizeof head + units * sizeof(struct state_unit) + events * sizeof(struct state_event))
		return "the saved state of the SCSI device has another length than it says";
	const unsigned char *unit = (const unsigned char *)from + sizeof head;
	for (uint32_t i = 0; i < units && !why; i++)
		why = load_unit(s, unit + i * sizeof(struct state_unit), false);
	for (uint32_t i = 0; i < units && !why; i++)
		load_unit(s, unit + i * sizeof(struct state_unit), true);
	if (why)
		return why;
	set_sizes(s, vio_le32_get(head.sense_size), vio_le32_get(head.cdb_size));
	s->event_at = 0;
	s->events = events;
	s->events_missed = vio_le16_get(head.events_missed);
	for (uint32_t i = 0; i < events; i++) {
		struct state_event one;
		memcpy(&one, unit + units * sizeof(struct state_unit) + i * sizeof one, sizeof one);
		s->event[i] = (struct scsi_event_due){ vio_le32_get(one.event), vio_le32_get(one.reason), vio_le32_get(one.address) };
	}
	return NULL;
}

/* ---- Queues ---- */

static unsigned scsi_lane(const struct vio_dev *d, unsigned queue)
{
	(void)d;
	return queue < VIO_SCSI_Q_REQUEST ? 0 : queue - VIO_SCSI_Q_REQUEST;
}

static bool is_request_queue(const struct vio_devq *q) { return q->index >= VIO_SCSI_Q_REQUEST; }
static struct scsi_queue *queue_of(struct vio_dev *d, const struct vio_devq *q)
{
	return &scsi_of(d)->queue[q->index - VIO_SCSI_Q_REQUEST];
}

static bool scsi_unlimited(const struct vio_dev *d, unsigned queue)
{
	(void)d;
	return queue < VIO_SCSI_Q_REQUEST;
}

static const char *scsi_queue_start(struct vio_dev *d, struct vio_devq *q)
{
	struct scsi_queue *sq;

	if (!is_request_queue(q))
		return NULL;
	sq = queue_of(d, q);
	sq->scratch = d->port->alloc(d->port_arg, SCSI_SCRATCH);
	sq->scratch_user = sq->scratch_first = NULL;
	sq->touched = NULL;
	return sq->scratch ? NULL : "there is no memory for the queue's buffer";
}

static void scsi_queue_stop(struct vio_dev *d, struct vio_devq *q)
{
	struct scsi *s = scsi_of(d);

	if (!is_request_queue(q))
		return;
	struct scsi_queue *sq = queue_of(d, q);
	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++)
		if (__atomic_load_n(&s->key[i], __ATOMIC_ACQUIRE) > KEY_GONE)
			vio_scsi_dev_lane_close(sq, &s->unit[i].lane[q->index - VIO_SCSI_Q_REQUEST]);
	sq->touched = NULL;
	d->port->free(d->port_arg, sq->scratch, SCSI_SCRATCH);
	sq->scratch = NULL;
}

static void scsi_queue_turn(struct vio_dev *d, struct vio_devq *q)
{
	struct scsi *s = scsi_of(d);
	struct vio_chain *c;

	if (q->index == VIO_SCSI_Q_CONTROL) {
		vio_scsi_dev_control(s, q);
		return;
	}
	if (q->index == VIO_SCSI_Q_EVENT) {
		vio_scsi_dev_events(s, q);
		return;
	}
	struct scsi_queue *sq = queue_of(d, q);
	while ((c = vio_devq_pop(q))) {
		uint64_t bytes = c->r.left + c->w.left;
		if (bytes < SCSI_TURN_BYTES - sq->moved) {
			sq->moved += (uint32_t)bytes;
		} else {
			sq->moved = 0;
			vio_devq_yield(q);
		}
		vio_scsi_dev_begin(s, q, c);
	}
}

/* Each channel that was used in this turn may start what it has. */
static void scsi_turn_end(struct vio_dev *d, struct vio_devq *q)
{
	struct scsi_lane *l;

	if (!is_request_queue(q))
		return;
	struct scsi_queue *sq = queue_of(d, q);
	sq->moved = 0;
	while ((l = sq->touched)) {
		sq->touched = l->touched_next;
		l->touched = false;
		if (l->chan && l->chan->ops->flush)
			l->chan->ops->flush(l->chan);
	}
}

static void scsi_cancel(struct vio_dev *d, struct vio_devq *q)
{
	(void)d;
	if (!is_request_queue(q))
		return;
	for (uint32_t slot = 0; slot < q->fresh_slot; slot++) {
		struct scsi_req *r = (struct scsi_req *)vio_devq_inflight(q, (uint16_t)slot);
		if (r)
			vio_scsi_dev_abort(r, VIO_SCSI_S_RESET);
	}
}

static void scsi_poll(struct vio_dev *d, struct vio_devq *q)
{
	struct scsi *s = scsi_of(d);

	if (!is_request_queue(q))
		return;
	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++) {
		struct scsi_lane *l = &s->unit[i].lane[q->index - VIO_SCSI_Q_REQUEST];
		if (__atomic_load_n(&s->key[i], __ATOMIC_ACQUIRE) > KEY_GONE && l->chan && l->chan->ops->poll)
			l->chan->ops->poll(l->chan);
	}
}

/* ---- Life ---- */

static void fill_config(struct scsi *s, const struct vio_scsi_options *o, uint32_t seg_max)
{
	uint32_t size = s->dev.queue_size_max, most = o->cmd_per_lun ? o->cmd_per_lun : 128;

	s->config = (struct vio_scsi_config){
		.num_queues = vio_le32_of(o->queues), .seg_max = vio_le32_of(seg_max),
		.max_sectors = vio_le32_of(o->max_sectors ? o->max_sectors : 65535),
		.cmd_per_lun = vio_le32_of(most < size ? most : size),
		.event_info_size = vio_le32_of(sizeof(struct vio_scsi_event)),
		.max_channel = vio_le16_of(0), .max_target = vio_le16_of(VIO_SCSI_MAX_TARGET), .max_lun = vio_le32_of(VIO_SCSI_MAX_LUN),
	};
	set_sizes(s, VIO_SCSI_SENSE_SIZE, VIO_SCSI_CDB_SIZE);
}

static const char *check(const struct vio_scsi_options *o)
{
	if (o->queues < 1 || o->queues > VIO_SCSI_REQUEST_QUEUES)
		return "a SCSI device has 1 to 62 request queues";
	if (o->queue_size > VIO_RING_SIZE_MAX)
		return "a queue has at most 32768 entries";
	if (o->seg_max > VIO_RING_SIZE_MAX - 3)
		return "a request has at most 32765 data segments";
	if (o->max_sectors && o->max_sectors < 8)
		return "a request must be allowed at least 8 sectors, or nothing larger than a sector could be read";
	return NULL;
}

/* At most 64 characters. */
static const char *take_name(struct scsi *s, const char *name)
{
	size_t n = 0;

	if (!name || !*name)
		name = "vio";
	while (name[n])
		if (n == sizeof s->initiator)
			return "the initiator's name has more than 64 characters";
		else
			s->initiator[n] = name[n], n++;
	return NULL;
}

static void init_parts(struct scsi *s)
{
	for (unsigned lane = 0; lane < s->queues; lane++)
		for (unsigned i = 0; i < SCSI_TMFS; i++)
			s->queue[lane].tmf[i] = (struct scsi_tmf_part){ .s = s, .lane = (uint8_t)lane, .slot = (uint8_t)i };
}

static const char *scsi_open(struct vio_dev *d, const void *options)
{
	const struct vio_scsi_options *o = options;
	struct scsi *s = scsi_of(d);
	struct scsi_unit *made;
	const char *why = check(o);

	if (!why)
		why = take_name(s, o->initiator);
	if (why)
		return why;
	uint16_t size = o->queue_size ? o->queue_size : 256;
	uint32_t seg_max = o->seg_max ? o->seg_max : size < 6 ? 1 : size < 256 ? size - 4u : 254;
	s->queues = o->queues;
	s->pi = o->pi;
	s->news = o->news;
	s->news_arg = o->news_arg;
	d->queues = (uint16_t)(VIO_SCSI_Q_REQUEST + o->queues);
	d->queue_size_max = size;
	d->chain_max = (uint16_t)(seg_max + 3);	/* header and answer, and one more where protection information has its own */
	d->config = (uint8_t *)&s->config;
	fill_config(s, o, seg_max);
	init_parts(s);
	if (o->pi == VIO_SCSI_PI_NONE)
		vio_features_drop(&d->type_features, VIO_SCSI_F_T10_PI);
	for (unsigned i = 0; i < o->lun_count && !why; i++)
		why = vio_scsi_dev_new_unit(s, &o->luns[i], &made);
	if (why)
		vio_scsi_dev_close_units(s);
	return why;
}

static void scsi_close(struct vio_dev *d) { vio_scsi_dev_close_units(scsi_of(d)); }

static const unsigned char features[] = { VIO_SCSI_F_INOUT, VIO_SCSI_F_HOTPLUG, VIO_SCSI_F_CHANGE, VIO_SCSI_F_T10_PI };

static const uint8_t config_writable[sizeof(struct vio_scsi_config)] = {
	[offsetof(struct vio_scsi_config, sense_size)] = 0xff, 0xff, 0xff, 0xff,
	[offsetof(struct vio_scsi_config, cdb_size)] = 0xff, 0xff, 0xff, 0xff,
};

const struct vio_dev_type vio_dev_scsi = {
	.name = "scsi",
	.id = VIO_ID_SCSI,
	.features = features,
	.features_count = sizeof features,
	.config_len = sizeof(struct vio_scsi_config),
	.config_writable = config_writable,
	.queue_size_max = VIO_RING_SIZE_MAX,
	.instance = sizeof(struct scsi),
	.request = sizeof(struct scsi_req),
	.unlimited = scsi_unlimited,
	.lane = scsi_lane,
	.backend = VIO_BACKEND_DISK,
	.open = scsi_open,
	.close = scsi_close,
	.config = scsi_config,
	.reset = scsi_reset,
	.save = scsi_save,
	.load = scsi_load,
	.queue_start = scsi_queue_start,
	.queue_stop = scsi_queue_stop,
	.queue = scsi_queue_turn,
	.turn_end = scsi_turn_end,
	.cancel = scsi_cancel,
	.poll = scsi_poll,
};
