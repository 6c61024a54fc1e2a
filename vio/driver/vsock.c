/*
 * Socket driver (virtio 1.4, section 5.10): start and stop, and packets in and out of the queues.
 *
 * The receive queue never waits for the transmit queue (5.10.6.1): what a connection owes is a bit in it, and answers to
 * packets of nobody's wait in a ring of their own; only when that is full is the next packet left where it is.
 */
#include <vio/driver/vsock_impl.h>

enum { TURN = 256 };			/* packets that one vio_vsock_poll() takes in */

struct vio_features vio_vsock_drives(void)
{
	static const unsigned char bits[] = {
		VIO_VSOCK_F_STREAM, VIO_VSOCK_F_SEQPACKET, VIO_VSOCK_F_NO_IMPLIED_STREAM, VIO_F_EVENT_IDX, VIO_F_VERSION_1,
		VIO_F_ACCESS_PLATFORM, VIO_F_RING_PACKED, VIO_F_IN_ORDER, VIO_F_ORDER_PLATFORM, VIO_F_NOTIFICATION_DATA,
		VIO_F_RING_RESET, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

static const struct vio_platform *platform(const struct vio_vsock *v) { return &v->drv.port->platform; }
uint64_t vio_vsock_drv_now(const struct vio_vsock *v) { return platform(v)->ops->now_ns(platform(v)->arg); }

bool vio_vsock_can(const struct vio_vsock *v, bool message)
{
	if (message)
		return vio_drv_has(&v->drv, VIO_VSOCK_F_SEQPACKET);
	return vio_drv_has(&v->drv, VIO_VSOCK_F_STREAM) || !vio_drv_has(&v->drv, VIO_VSOCK_F_NO_IMPLIED_STREAM);
}

/* ---- Memory ---- */

static bool map(struct vio_vsock *v, struct vio_vsock_slot *s, uint32_t len, enum vio_dir dir)
{
	const struct vio_platform *pf = platform(v);

	s->bufs = pf->ops->map(pf->arg, s->bytes, len, dir, s->buf, VIO_VSOCK_DRV_SEGS);
	s->len = s->bufs ? len : 0;
	return s->bufs;
}

static void unmap(struct vio_vsock *v, struct vio_vsock_slot *s, enum vio_dir dir)
{
	const struct vio_platform *pf = platform(v);

	if (s->len)
		pf->ops->unmap(pf->arg, s->bytes, s->len, dir, s->buf, s->bufs);
	s->len = 0;
}

static bool map_whole(struct vio_vsock *v, void *p, uint32_t bytes, struct vio_buf *out)
{
	const struct vio_platform *pf = platform(v);
	unsigned n = pf->ops->map(pf->arg, p, bytes, VIO_BOTH_WAYS, out, 1);

	if (n == 1 && out->len == bytes)
		return true;
	if (n)
		pf->ops->unmap(pf->arg, p, bytes, VIO_BOTH_WAYS, out, n);
	out->len = 0;
	return vio_drv_fail(&v->drv, "a ring's memory can't be mapped in one piece");
}

static void unmap_whole(struct vio_vsock *v, void *p, struct vio_buf *buf)
{
	const struct vio_platform *pf = platform(v);

	if (buf->len)
		pf->ops->unmap(pf->arg, p, buf->len, VIO_BOTH_WAYS, buf, 1);
	buf->len = 0;
}

static void push(struct vio_vsock_slot **list, struct vio_vsock_slot *s)
{
	s->next = *list;
	*list = s;
}

static struct vio_vsock_slot *pop(struct vio_vsock_slot **list)
{
	struct vio_vsock_slot *s = *list;

	if (s)
		*list = s->next;
	return s;
}

/* ---- Start and stop ---- */

static void *ring_of(struct vio_vsock *v, uint16_t i) { return i == VIO_VSOCK_EVENT ? v->event_ring : v->o.ring[i]; }

static bool start_queue(struct vio_vsock *v, uint16_t i)
{
	uint16_t most = i == VIO_VSOCK_EVENT ? VIO_VSOCK_DRV_EVENTS : v->o.queue_size;
	uint16_t size = v->drv.port->ops->queue_max(v->drv.port, i);

	if (size > most)
		size = most;
	while (!vio_drv_has(&v->drv, VIO_F_RING_PACKED) && size & (size - 1))
		size &= (uint16_t)(size - 1);		/* 2.7: a power of two */
	if (size == 0)
		return i == VIO_VSOCK_EVENT || vio_drv_fail(&v->drv, "the device lacks a queue");
	void *ring = ring_of(v, i);
	uint32_t bytes = (uint32_t)VIO_DRVQ_RING_BYTES(most);
	memset(ring, 0, bytes);
	if (!map_whole(v, ring, bytes, &v->ring_mapped[i]))
		return false;
	struct vio_drvq_setup s = { .size = size, .features = v->drv.features, .ring = ring, .ring_addr = v->ring_mapped[i].addr,
		.slots = i == VIO_VSOCK_EVENT ? v->event_slots : v->o.slots[i] };
	vio_drvq_init(&v->q[i], &s);
	return vio_drv_queue(&v->drv, i, &v->q[i]);
}

static bool has_events(const struct vio_vsock *v) { return v->ring_mapped[VIO_VSOCK_EVENT].len; }

/* The upper half is reserved and zero; 5.10.4 names those that can't be. */
static bool read_cid(struct vio_vsock *v)
{
	vio_le64 wire;

	if (!vio_drv_config(&v->drv, offsetof(struct vio_vsock_config, guest_cid), &wire, sizeof wire))
		return false;
	v->cid = vio_le64_get(wire) & UINT32_MAX;
	return !vio_vsock_cid_reserved(v->cid) || vio_drv_fail(&v->drv, "the device gives a context id that is reserved");
}

static void give_event(struct vio_vsock *v, struct vio_vsock_event *e)
{
	struct vio_buf b = { v->event_mapped.addr + (uint64_t)((char *)e - (char *)v->event), sizeof *e };

	e->id = vio_le32_of(UINT32_MAX);
	vio_drvq_add(&v->q[VIO_VSOCK_EVENT], &b, 0, 1, e);
}

/* All packets that are not with the device. */
static void give_packets(struct vio_vsock *v)
{
	struct vio_vsock_slot *s, *rest = NULL;
	bool any = false;

	while ((s = pop(&v->idle_rx))) {
		if (!map(v, s, v->o.packet_bytes, VIO_FROM_DEVICE))
			push(&rest, s);
		else if (vio_drvq_add(&v->q[VIO_VSOCK_RX], s->buf, 0, s->bufs, s))
			any = true;
		else {			/* the ring is full */
			unmap(v, s, VIO_FROM_DEVICE);
			push(&v->idle_rx, s);
			break;
		}
	}
	while ((s = pop(&rest)))
		push(&v->idle_rx, s);
	if (any)
		vio_drv_kick(&v->drv, VIO_VSOCK_RX, &v->q[VIO_VSOCK_RX]);
}

static void lay_out(struct vio_vsock *v)
{
	unsigned char *at = v->o.bytes;

	for (unsigned dir = 0; dir < 2; dir++)
		for (uint16_t i = v->o.packets; i-- > 0; at += v->o.packet_bytes) {
			struct vio_vsock_slot *s = &v->o.packet[dir][i];
			*s = (struct vio_vsock_slot){ .bytes = at };
			push(dir == VIO_VSOCK_RX ? &v->idle_rx : &v->free_tx, s);
		}
	for (uint16_t i = 0; i < v->o.conns; i++) {
		size_t bytes = VIO_FIFO_BYTES(v->o.buffer, true);
		v->o.conn[i] = (struct vio_vsock_conn){ .state = VIO_VSOCK_FREE };
		memset((char *)v->o.buffers + i * bytes, 0, bytes);
		v->o.conn[i].in = vio_fifo_of((char *)v->o.buffers + i * bytes, v->o.buffer, true);
	}
}

static bool start(struct vio_vsock *v)
{
	if (!read_cid(v))			/* 5.10.5, in this order */
		return false;
	for (uint16_t i = 0; i < VIO_VSOCK_QUEUES; i++)
		if (!start_queue(v, i))
			return false;
	if (has_events(v)) {
		if (!map_whole(v, v->event, sizeof v->event, &v->event_mapped))
			return false;
		for (unsigned i = 0; i < v->q[VIO_VSOCK_EVENT].size; i++)
			give_event(v, &v->event[i]);
	}
	if (!vio_drv_ready(&v->drv))
		return false;
	if (has_events(v))
		vio_drv_kick(&v->drv, VIO_VSOCK_EVENT, &v->q[VIO_VSOCK_EVENT]);
	give_packets(v);
	return true;
}

bool vio_vsock_start(struct vio_vsock *v, struct vio_drv_port *port, const struct vio_vsock_setup *s)
{
	struct vio_features wanted = vio_features_none(s->wanted) ? vio_vsock_drives() : s->wanted;

	*v = (struct vio_vsock){ .o = *s, .next_port = 1024, .next_deadline = UINT64_MAX };
	lay_out(v);
	vio_features_add(&wanted, VIO_F_VERSION_1);
	if (!vio_drv_begin(&v->drv, port, VIO_ID_VSOCK, vio_features_and(wanted, vio_vsock_drives()), NULL))
		return false;
	if (start(v))
		return true;
	vio_vsock_stop(v);
	return false;
}

bool vio_vsock_stop(struct vio_vsock *v)
{
	if (!vio_drv_reset(&v->drv))
		return false;
	vio_vsock_drv_end_all(v, "the device was stopped");
	for (unsigned dir = 0; dir < 2; dir++)
		for (uint16_t i = 0; i < v->o.packets; i++)
			unmap(v, &v->o.packet[dir][i], dir == VIO_VSOCK_RX ? VIO_FROM_DEVICE : VIO_TO_DEVICE);
	unmap_whole(v, v->event, &v->event_mapped);
	for (uint16_t i = 0; i < VIO_VSOCK_QUEUES; i++)
		unmap_whole(v, ring_of(v, i), &v->ring_mapped[i]);
	return true;
}

/* ---- Out ---- */

/* A free packet's memory, what has been sent taken back first. */
static struct vio_vsock_slot *take_slot(struct vio_vsock *v)
{
	struct vio_vsock_slot *s;
	uint32_t len;

	if (!v->free_tx)
		while ((s = vio_drvq_get(&v->q[VIO_VSOCK_TX], &len))) {
			unmap(v, s, VIO_TO_DEVICE);
			push(&v->free_tx, s);
		}
	return v->drv.status ? pop(&v->free_tx) : NULL;
}

static bool send_out(struct vio_vsock *v, struct vio_vsock_slot *s, uint32_t len)
{
	if (map(v, s, len, VIO_TO_DEVICE) && vio_drvq_add(&v->q[VIO_VSOCK_TX], s->buf, s->bufs, 0, s)) {	/* 5.10.6.4: read-only */
		vio_drv_kick(&v->drv, VIO_VSOCK_TX, &v->q[VIO_VSOCK_TX]);
		return true;
	}
	unmap(v, s, VIO_TO_DEVICE);
	push(&v->free_tx, s);
	return false;
}

bool vio_vsock_drv_say(struct vio_vsock *v, struct vio_vsock_conn *c, uint16_t op, uint32_t flags, const void *data, uint32_t n)
{
	struct vio_vsock_slot *s = take_slot(v);
	struct vio_vsock_hdr h = {
		.src_cid = vio_le64_of(v->cid), .dst_cid = vio_le64_of(c->cid), .src_port = vio_le32_of(c->local_port),	/* 5.10.6.4 */
		.dst_port = vio_le32_of(c->port), .len = vio_le32_of(n), .op = vio_le16_of(op), .flags = vio_le32_of(flags),
		.type = vio_le16_of(c->message ? VIO_VSOCK_TYPE_SEQPACKET : VIO_VSOCK_TYPE_STREAM),
		.buf_alloc = vio_le32_of(v->o.buffer), .fwd_cnt = vio_le32_of(c->fwd_cnt),	/* 5.10.6.3 */
	};

	if (!s)
		return false;
	memcpy(s->bytes, &h, sizeof h);
	if (n)
		memcpy(s->bytes + sizeof h, data, n);
	if (!send_out(v, s, VSOCK_HDR + n))
		return false;
	c->told_fwd = c->fwd_cnt;
	c->owed &= (uint8_t)~OWE_CREDIT;
	return true;
}

static bool say_resets(struct vio_vsock *v)
{
	bool any = false;

	while (v->resets) {
		struct vio_vsock_slot *s = take_slot(v);
		if (!s)
			break;
		memcpy(s->bytes, &v->reset[v->reset_at], VSOCK_HDR);
		if (!send_out(v, s, VSOCK_HDR))
			break;
		v->reset_at = (v->reset_at + 1) % VIO_VSOCK_DRV_RESETS;
		v->resets--;
		any = true;
	}
	return any;
}

/* ---- Work: connections that owe something, in turn ---- */

void vio_vsock_drv_work(struct vio_vsock *v, struct vio_vsock_conn *c)
{
	if (c->working)
		return;
	c->working = true;
	c->next_work = NULL;
	*(v->work_last ? &v->work_last->next_work : &v->work) = c;
	v->work_last = c;
}

static bool do_work(struct vio_vsock *v)
{
	struct vio_vsock_conn *c;
	bool any = false;

	while ((c = v->work)) {
		if (!vio_vsock_drv_serve(v, c))
			return any;
		v->work = c->next_work;
		if (!v->work)
			v->work_last = NULL;
		c->working = false;
		any = true;
	}
	return any;
}

/* ---- In ---- */

/* 5.10.6.4, and 5.10.6.5 for connections there are not.  There is room: the caller has looked. */
static void answer_reset(struct vio_vsock *v, const struct vsock_in *p)
{
	if (p->op == VIO_VSOCK_OP_RST)
		return;
	v->reset[(v->reset_at + v->resets++) % VIO_VSOCK_DRV_RESETS] = (struct vio_vsock_hdr){
		.src_cid = vio_le64_of(v->cid), .dst_cid = vio_le64_of(p->cid), .src_port = vio_le32_of(p->local_port),
		.dst_port = vio_le32_of(p->port), .type = vio_le16_of(p->type), .op = vio_le16_of(VIO_VSOCK_OP_RST),
	};
}

static bool known_type(const struct vio_vsock *v, uint16_t type)
{
	return (type == VIO_VSOCK_TYPE_STREAM || type == VIO_VSOCK_TYPE_SEQPACKET) && vio_vsock_can(v, type == VIO_VSOCK_TYPE_SEQPACKET);
}

/* len: how much of the packet's memory the device says it has written, which is no more than there is. */
static void take_packet(struct vio_vsock *v, const unsigned char *bytes, uint32_t len)
{
	struct vio_vsock_hdr h;

	if (len < sizeof h) {
		v->refused++;
		return;
	}
	memcpy(&h, bytes, sizeof h);
	struct vsock_in p = {
		.cid = vio_le64_get(h.src_cid), .port = vio_le32_get(h.src_port), .local_port = vio_le32_get(h.dst_port),
		.len = vio_le32_get(h.len), .flags = vio_le32_get(h.flags), .buf_alloc = vio_le32_get(h.buf_alloc),
		.fwd_cnt = vio_le32_get(h.fwd_cnt), .type = vio_le16_get(h.type), .op = vio_le16_get(h.op), .data = bytes + sizeof h,
	};
	if (vio_le64_get(h.dst_cid) != v->cid || p.len > len - sizeof h) {
		v->refused++;		/* not ours, or not all there */
		return;
	}
	if (!known_type(v, p.type) || !vio_vsock_drv_take(v, &p)) {
		v->refused++;
		answer_reset(v, &p);
	}
}

static bool take_packets(struct vio_vsock *v)
{
	bool any = false;

	for (unsigned n = 0; n < TURN && v->resets < VIO_VSOCK_DRV_RESETS; n++) {
		uint32_t len;
		struct vio_vsock_slot *s = vio_drvq_get(&v->q[VIO_VSOCK_RX], &len);
		if (!s)
			break;
		unmap(v, s, VIO_FROM_DEVICE);
		take_packet(v, s->bytes, len);
		push(&v->idle_rx, s);
		any = true;
	}
	if (any)
		give_packets(v);
	return any;
}

/* 5.10.6.7: connections are gone, listeners stay, and the context id may be another one. */
static bool take_events(struct vio_vsock *v)
{
	struct vio_vsock_event *e;
	bool any = false;
	uint32_t len;

	if (!has_events(v))
		return false;
	while ((e = vio_drvq_get(&v->q[VIO_VSOCK_EVENT], &len))) {
		bool reset = len >= sizeof *e && vio_le32_get(e->id) == VIO_VSOCK_EVENT_TRANSPORT_RESET;
		give_event(v, e);
		any = true;
		if (!reset)
			continue;
		v->lost_transports++;
		v->resets = 0;
		vio_vsock_drv_end_all(v, "the transport was reset, as by a migration");
		if (!read_cid(v))
			break;
	}
	if (any)
		vio_drv_kick(&v->drv, VIO_VSOCK_EVENT, &v->q[VIO_VSOCK_EVENT]);
	return any;
}

static bool broken(struct vio_vsock *v)
{
	for (uint16_t i = 0; i < VIO_VSOCK_QUEUES; i++)
		if (v->q[i].broken && !v->drv.failed)
			vio_drv_fail(&v->drv, v->q[i].broken);
	return v->drv.failed;
}

bool vio_vsock_poll(struct vio_vsock *v)
{
	if (!v->drv.status || v->drv.failed)
		return false;
	bool any = take_events(v);
	any |= take_packets(v);
	vio_vsock_drv_deadlines(v);
	any |= say_resets(v);
	any |= do_work(v);
	if (v->idle_rx)
		give_packets(v);
	if (broken(v))
		vio_vsock_drv_end_all(v, v->drv.failed);
	return any;
}

bool vio_vsock_wait(struct vio_vsock *v, uint64_t deadline_ns)
{
	for (;;) {
		if (vio_vsock_poll(v))
			return true;
		if (v->drv.failed || vio_vsock_drv_now(v) >= deadline_ns)
			return false;
		vio_drv_wait(&v->drv, VIO_VSOCK_RX, &v->q[VIO_VSOCK_RX], deadline_ns);
	}
}
