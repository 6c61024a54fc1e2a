/*
 * SCSI host driver (virtio 1.4, section 5.6): start and stop, commands.  The other two queues are scsi_control.c's.
 *
 * A command is one chain: header with CDB, data out, answer with sense, data in.  What the device says about itself is
 * checked once, when it is read; what it says about a command is copied once, when it comes back.
 */
#include <vio/driver/scsi_impl.h>

enum {
	HEAD_BYTES = offsetof(struct vio_scsi_wire, resp), ANSWER_BYTES = sizeof(struct vio_scsi_wire) - HEAD_BYTES,
	BUFS = VIO_SCSI_DRV_INDIRECT,
	NO_RESPONSE = 0xff
};
VIO_STATIC_ASSERT(HEAD_BYTES == 51 && ANSWER_BYTES == 108, "5.6.6.1, as after a reset");

struct vio_features vio_scsi_drives(void)
{
	static const unsigned char bits[] = {
		VIO_SCSI_F_HOTPLUG, VIO_SCSI_F_CHANGE, VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_VERSION_1, VIO_F_ACCESS_PLATFORM,
		VIO_F_RING_PACKED, VIO_F_IN_ORDER, VIO_F_ORDER_PLATFORM, VIO_F_NOTIFICATION_DATA, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

static const struct vio_platform *platform(const struct vio_scsi *s) { return &s->drv.port->platform; }

/* ---- The config space ---- */

#define AT(field) offsetof(struct vio_scsi_config, field)

static bool read32(struct vio_scsi *s, uint32_t at, uint32_t *to)
{
	vio_le32 wire;

	if (!vio_drv_config(&s->drv, at, &wire, sizeof wire))
		return false;
	*to = vio_le32_get(wire);
	return true;
}

/* The sizes that a driver may choose (5.6.4) are left as they are after a reset; one that is not is written. */
static bool size_is(struct vio_scsi *s, uint32_t at, uint32_t wanted)
{
	uint32_t is;

	if (!read32(s, at, &is))
		return false;
	if (is == wanted)
		return true;
	vio_le32 wire = vio_le32_of(wanted);
	if (!s->drv.port->ops->config_write(s->drv.port, at, &wire, sizeof wire))
		return vio_drv_fail(&s->drv, "the way to the device broke while its config space was written");
	if (!read32(s, at, &is))
		return false;
	return is == wanted || vio_drv_fail(&s->drv, "the device does not take the sizes of commands and sense data that this driver has");
}

/* A limit of 0 or beyond reason becomes the nearest that makes sense; of max_sectors 0 can only mean that there is none. */
static bool read_config(struct vio_scsi *s, uint16_t queues_wanted)
{
	uint32_t queues, sectors;
	vio_le16 target;

	if (!read32(s, AT(num_queues), &queues) || !read32(s, AT(seg_max), &s->seg_max) || !read32(s, AT(max_sectors), &sectors) ||
	    !read32(s, AT(cmd_per_lun), &s->per_lun) || !read32(s, AT(event_info_size), &s->event_bytes) ||
	    !read32(s, AT(max_lun), &s->max_lun) || !vio_drv_config(&s->drv, AT(max_target), &target, sizeof target))
		return false;
	if (queues == 0)
		return vio_drv_fail(&s->drv, "the device says that it has no request queues");
	s->queues = queues < queues_wanted ? (uint16_t)queues : queues_wanted;
	s->seg_max = s->seg_max == 0 ? 1 : s->seg_max < VIO_SCSI_DRV_SEGS ? s->seg_max : VIO_SCSI_DRV_SEGS;
	s->max_bytes = sectors ? (uint64_t)sectors * 512 : UINT32_MAX;
	s->per_lun = s->per_lun ? s->per_lun : 1;
	s->max_target = vio_le16_get(target) < 255 ? vio_le16_get(target) : 255;
	s->max_lun = s->max_lun < 16383 ? s->max_lun : 16383;
	/* 5.6.6.3.1: no shorter than an event, and as long as the device asks for, as far as there is room. */
	s->event_bytes = s->event_bytes > VIO_SCSI_DRV_EVENT_BYTES ? VIO_SCSI_DRV_EVENT_BYTES :
	    s->event_bytes < sizeof(struct vio_scsi_event) ? sizeof(struct vio_scsi_event) : s->event_bytes;
	return size_is(s, AT(cdb_size), VIO_SCSI_DRV_CDB) && size_is(s, AT(sense_size), VIO_SCSI_DRV_SENSE);
}

/* ---- Start and stop ---- */

bool vio_scsi_drv_map_whole(struct vio_scsi *s, const void *p, uint64_t bytes, struct vio_buf *out)
{
	const struct vio_platform *pf = platform(s);
	unsigned n = bytes > UINT32_MAX ? 0 : pf->ops->map(pf->arg, p, (uint32_t)bytes, VIO_BOTH_WAYS, out, 1);

	if (n == 1 && out->len == bytes)
		return true;
	if (n)
		pf->ops->unmap(pf->arg, p, (uint32_t)bytes, VIO_BOTH_WAYS, out, n);
	out->len = 0;
	return vio_drv_fail(&s->drv, "a ring's memory can't be mapped in one piece");
}

void vio_scsi_drv_unmap_whole(struct vio_scsi *s, const void *p, struct vio_buf *buf)
{
	const struct vio_platform *pf = platform(s);

	if (buf->len)
		pf->ops->unmap(pf->arg, p, buf->len, VIO_BOTH_WAYS, buf, 1);
	buf->len = 0;
}

uint16_t vio_scsi_drv_queue_size(struct vio_scsi *s, uint16_t queue, uint16_t most)
{
	uint16_t size = s->drv.port->ops->queue_max(s->drv.port, queue);

	if (size > most)
		size = most;
	if (size > VIO_RING_SIZE_MAX)
		size = VIO_RING_SIZE_MAX;
	while (!vio_drv_has(&s->drv, VIO_F_RING_PACKED) && size & (size - 1))
		size &= (uint16_t)(size - 1);		/* 2.7: a power of two */
	return size;
}

static bool start_queue(struct vio_scsi *s, uint16_t i, uint16_t most)
{
	struct vio_scsi_queue_memory *m = &s->memory[i];
	uint16_t size = vio_scsi_drv_queue_size(s, (uint16_t)(VIO_SCSI_Q_REQUEST + i), most);

	if (size < 2)		/* a header is readable, an answer writable */
		return vio_drv_fail(&s->drv, "the device has no such queue, or one too short for a command");
	if (!vio_scsi_drv_map_whole(s, m->ring, VIO_DRVQ_RING_BYTES((uint64_t)size), &s->mapped[i].ring))
		return false;
	if (m->indirect && !vio_scsi_drv_map_whole(s, m->indirect, (uint64_t)size * VIO_SCSI_DRV_INDIRECT * sizeof *m->indirect,
	    &s->mapped[i].indirect))
		return false;
	struct vio_drvq_setup setup = {
		.size = size, .features = s->drv.features, .slots = m->slots, .ring = m->ring, .ring_addr = s->mapped[i].ring.addr,
		.indirect = m->indirect, .indirect_addr = s->mapped[i].indirect.addr, .indirect_max = VIO_SCSI_DRV_INDIRECT,
	};
	vio_drvq_init(&s->q[i], &setup);
	if (s->per_lun > size)			/* 5.6.4.1: nor more than the queue has entries */
		s->per_lun = size;
	return vio_drv_queue(&s->drv, (uint16_t)(VIO_SCSI_Q_REQUEST + i), &s->q[i]);
}

static bool start(struct vio_scsi *s, const struct vio_scsi_setup *setup)
{
	if (!read_config(s, setup->queues) || !vio_scsi_drv_start_control(s))
		return false;
	for (uint16_t i = 0; i < s->queues; i++) {
		s->memory[i] = setup->memory[i];
		if (!start_queue(s, i, setup->queue_size))
			return false;
	}
	if (!vio_drv_ready(&s->drv))
		return false;
	vio_drv_kick(&s->drv, VIO_SCSI_Q_EVENT, &s->events);
	s->stopped = false;
	return true;
}

bool vio_scsi_start(struct vio_scsi *s, struct vio_drv_port *port, const struct vio_scsi_setup *setup)
{
	struct vio_features wanted = vio_scsi_drives();

	*s = (struct vio_scsi){ .stopped = true };
	if (setup->queues < 1 || setup->queues > VIO_SCSI_DRV_QUEUES) {
		s->drv.failed = "a SCSI driver has 1 to 16 request queues";
		return false;
	}
	if (!vio_features_none(setup->wanted))
		wanted = vio_features_and(wanted, setup->wanted);
	if (!vio_drv_begin(&s->drv, port, VIO_ID_SCSI, wanted, NULL))
		return false;
	if (start(s, setup))
		return true;
	const char *why = s->drv.failed;
	vio_scsi_stop(s);	/* it may know of some rings, and must forget them before they are unmapped */
	s->drv.failed = why;
	return false;
}

bool vio_scsi_stop(struct vio_scsi *s)
{
	if (!vio_drv_reset(&s->drv))
		return false;
	vio_scsi_drv_unmap_whole(s, &s->shared, &s->inside);
	for (uint16_t i = 0; i < VIO_SCSI_DRV_QUEUES; i++) {
		vio_scsi_drv_unmap_whole(s, s->memory[i].ring, &s->mapped[i].ring);
		vio_scsi_drv_unmap_whole(s, s->memory[i].indirect, &s->mapped[i].indirect);
	}
	s->stopped = true;
	return true;
}

/* ---- How many commands a unit has (5.6.4.1) ---- */

/* Units that share a counter share the limit: fewer commands than allowed, never more. */
static uint8_t counter_of(const uint8_t *lun) { return (uint8_t)((lun[1] * 31u + lun[2] * 17u + lun[3]) % VIO_SCSI_DRV_COUNTERS); }

static void leave(struct vio_scsi *s, const struct vio_scsi_request *r)
{
	__atomic_fetch_sub(&s->busy[r->counter], 1, __ATOMIC_RELAXED);
}

static bool enter(struct vio_scsi *s, struct vio_scsi_request *r)
{
	r->counter = counter_of(r->lun);
	if (__atomic_fetch_add(&s->busy[r->counter], 1, __ATOMIC_RELAXED) < s->per_lun)
		return true;
	leave(s, r);
	return false;
}

/* ---- Requests ---- */

static enum vio_dir direction(const struct vio_scsi_request *r) { return r->writes ? VIO_TO_DEVICE : VIO_FROM_DEVICE; }

static void unmap(struct vio_scsi *s, struct vio_scsi_request *r)
{
	const struct vio_platform *pf = platform(s);

	if (r->data_bufs)
		pf->ops->unmap(pf->arg, r->data, r->len, direction(r), r->data_buf, r->data_bufs);
	if (r->head_bufs)
		pf->ops->unmap(pf->arg, &r->wire, sizeof r->wire, VIO_BOTH_WAYS, r->head_buf, r->head_bufs);
	r->data_bufs = r->head_bufs = 0;
}

static bool map(struct vio_scsi *s, struct vio_scsi_request *r)
{
	const struct vio_platform *pf = platform(s);

	r->data_bufs = 0;
	r->head_bufs = (uint8_t)pf->ops->map(pf->arg, &r->wire, sizeof r->wire, VIO_BOTH_WAYS, r->head_buf, VIO_SCSI_DRV_HEADS);
	if (r->len && r->head_bufs)
		r->data_bufs = (uint8_t)pf->ops->map(pf->arg, r->data, r->len, direction(r), r->data_buf, s->seg_max);
	if (r->head_bufs && (!r->len || r->data_bufs))
		return true;
	unmap(s, r);
	return false;
}

/* The part from `from` to `to` of header and answer, as buffers.  How many. */
static unsigned heads(const struct vio_scsi_request *r, uint32_t from, uint32_t to, struct vio_buf *out)
{
	uint32_t at = 0;
	unsigned n = 0;

	for (unsigned i = 0; i < r->head_bufs; i++) {
		uint32_t end = at + r->head_buf[i].len, a = at > from ? at : from, b = end < to ? end : to;
		if (a < b)
			out[n++] = (struct vio_buf){ r->head_buf[i].addr + (a - at), b - a };
		at = end;
	}
	return n;
}

/* Header, data out, answer, data in (5.6.6.1). */
static unsigned lay_out(const struct vio_scsi_request *r, struct vio_buf out[BUFS], unsigned *readable)
{
	unsigned n = heads(r, 0, HEAD_BYTES, out);

	if (r->writes) {
		memcpy(out + n, r->data_buf, r->data_bufs * sizeof *out);
		n += r->data_bufs;
	}
	*readable = n;
	n += heads(r, HEAD_BYTES, HEAD_BYTES + ANSWER_BYTES, out + n);
	if (!r->writes) {
		memcpy(out + n, r->data_buf, r->data_bufs * sizeof *out);
		n += r->data_bufs;
	}
	return n;
}

static void fill(struct vio_scsi *s, struct vio_scsi_request *r)
{
	r->id = __atomic_add_fetch(&s->next_id, 1, __ATOMIC_RELAXED);
	vio_le64 id = vio_le64_of(r->id);
	memset(&r->wire, 0, sizeof r->wire);		/* 5.6.6.1.2: task_attr, prio and crn are zero */
	memcpy(r->wire.req.lun, r->lun, sizeof r->lun);
	memcpy(r->wire.req.id, &id, sizeof id);
	memcpy(r->wire.cdb, r->cdb, sizeof r->cdb);
	r->wire.resp.response = NO_RESPONSE;
}

bool vio_scsi_submit(struct vio_scsi *s, uint16_t queue, struct vio_scsi_request *r)
{
	struct vio_buf bufs[BUFS];
	unsigned n, readable;

	r->got = 0;
	r->sense_len = 0;
	r->status = 0;
	r->response = VIO_SCSI_S_FAILURE;
	if (queue >= s->queues || (r->len && !r->data) || r->len > s->max_bytes)
		return false;
	r->response = VIO_SCSI_S_LOST;
	if (s->stopped || s->q[queue].broken)
		return false;
	r->response = NO_RESPONSE;
	if (!enter(s, r))
		return false;
	fill(s, r);
	if (!map(s, r)) {
		r->response = VIO_SCSI_S_FAILURE;
		leave(s, r);
		return false;
	}
	n = lay_out(r, bufs, &readable);
	if (vio_drvq_add(&s->q[queue], bufs, readable, n - readable, r))
		return true;
	if (n > s->q[queue].size && !(s->q[queue].indirect && n <= s->q[queue].indirect_max))
		r->response = VIO_SCSI_S_FAILURE;	/* it never fits */
	unmap(s, r);
	leave(s, r);
	return false;
}

void vio_scsi_kick(struct vio_scsi *s, uint16_t queue)
{
	vio_drv_kick(&s->drv, (uint16_t)(VIO_SCSI_Q_REQUEST + queue), &s->q[queue]);
}

/* The device has used r's chain, len bytes of it written.  It may still write there: each byte is read once. */
static struct vio_scsi_request *finish(struct vio_scsi *s, struct vio_scsi_request *r, uint32_t len)
{
	struct vio_scsi_resp resp;
	const volatile uint8_t *from = (const volatile uint8_t *)&r->wire.resp;

	unmap(s, r);
	leave(s, r);
	for (unsigned i = 0; i < sizeof resp; i++)
		((uint8_t *)&resp)[i] = from[i];
	r->response = len < sizeof resp || resp.response > VIO_SCSI_S_FAILURE ? VIO_SCSI_S_FAILURE : resp.response;
	if (r->response != VIO_SCSI_S_OK)
		return r;
	uint32_t sense = vio_le32_get(resp.sense_len), room = len - (uint32_t)sizeof resp, left = vio_le32_get(resp.residual);
	room = room < VIO_SCSI_DRV_SENSE ? room : VIO_SCSI_DRV_SENSE;
	r->status = resp.status;
	r->sense_len = (uint8_t)(sense < room ? sense : room);
	memcpy(r->sense, r->wire.sense, r->sense_len);
	uint32_t moved = left < r->len ? r->len - left : 0;
	uint32_t written = len > ANSWER_BYTES ? len - ANSWER_BYTES : 0;		/* 2.7.8.3: what lies behind is not what was read */
	r->got = r->writes || moved < written ? moved : written;
	return r;
}

struct vio_scsi_request *vio_scsi_poll(struct vio_scsi *s, uint16_t queue)
{
	struct vio_scsi_request *r = s->finished;
	uint32_t len;

	if (__builtin_expect(queue == 0 && r, 0)) {
		s->finished = r->next;
		return r;
	}
	r = s->stopped || queue >= s->queues ? NULL : vio_drvq_get(&s->q[queue], &len);
	return r ? finish(s, r, len) : NULL;
}

static void keep(struct vio_scsi *s, struct vio_scsi_request *r)
{
	struct vio_scsi_request **end = &s->finished;

	while (*end)
		end = &(*end)->next;
	r->next = NULL;
	*end = r;
}

/* Nothing came in time, or nothing sensible can: only a reset makes the memory ours again (3.3.1). */
void vio_scsi_drv_give_up(struct vio_scsi *s, const char *why, struct vio_scsi_request *r)
{
	struct vio_scsi_request *other;

	vio_drv_fail(&s->drv, why);
	if (vio_scsi_stop(s))
		while ((other = vio_scsi_abandon(s, 0)))
			if (other != r)
				keep(s, other);
}

uint8_t vio_scsi_do(struct vio_scsi *s, struct vio_scsi_request *r)
{
	const struct vio_platform *pf = platform(s);
	bool submitted = false;
	uint32_t len;

	if (!s->drv.status)
		return r->response = VIO_SCSI_S_LOST;
	uint64_t deadline = pf->ops->now_ns(pf->arg) + VIO_DRV_PATIENCE_NS;
	while (s->drv.status & VIO_S_DRIVER_OK) {	/* nor while suspended */
		if (!submitted) {
			submitted = vio_scsi_submit(s, 0, r);
			if (!submitted && r->response != NO_RESPONSE)
				return r->response;
		}
		struct vio_scsi_request *one = vio_drv_get_wait(&s->drv, VIO_SCSI_Q_REQUEST, &s->q[0], &len, deadline);
		if (!one) {
			vio_scsi_drv_give_up(s, s->q[0].broken ? s->q[0].broken : "the device did not answer a command in time", r);
			break;
		}
		finish(s, one, len);
		if (one == r)
			return r->response;
		keep(s, one);
	}
	return r->response = VIO_SCSI_S_LOST;
}

struct vio_scsi_request *vio_scsi_abandon(struct vio_scsi *s, uint16_t queue)
{
	if (queue >= s->queues || !s->stopped)	/* the device still has them */
		return NULL;
	struct vio_scsi_request *r = vio_drvq_take_back(&s->q[queue]);
	if (!r)
		return NULL;
	unmap(s, r);
	leave(s, r);
	r->response = VIO_SCSI_S_LOST;
	r->got = 0;
	return r;
}
