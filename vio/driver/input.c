/* Input driver (virtio 1.4, section 5.8). */
#include <vio/driver/input.h>
#include <vio/ring/freestanding.h>

VIO_STATIC_ASSERT(VIO_INPUT_DRV_STATUS <= 8, "vio_input.telling");

static const struct vio_platform *platform(const struct vio_input *in) { return &in->drv.port->platform; }

static struct vio_features drives(void)
{
	static const unsigned char bits[] = {
		VIO_F_EVENT_IDX, VIO_F_RING_PACKED, VIO_F_IN_ORDER, VIO_F_NOTIFICATION_DATA, VIO_F_RING_RESET, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

/* ---- Config space (5.8.4) ---- */

/* 5.8.5.1: both are set, nothing else is ever written; the size is looked at before the rest. */
unsigned vio_input_ask(struct vio_input *in, uint8_t select, uint8_t subsel, void *to, unsigned room)
{
	const struct vio_drv_port_ops *ops = in->drv.port->ops;
	uint8_t size;

	if (in->drv.failed)
		return 0;
	if (!ops->config_write(in->drv.port, offsetof(struct vio_input_config, select), &select, 1) ||
	    !ops->config_write(in->drv.port, offsetof(struct vio_input_config, subsel), &subsel, 1)) {
		vio_drv_fail(&in->drv, "the way to the device broke while its config space was written");
		return 0;
	}
	if (!vio_drv_config(&in->drv, offsetof(struct vio_input_config, size), &size, 1))
		return 0;
	unsigned n = size < VIO_INPUT_CFG_BYTES ? size : VIO_INPUT_CFG_BYTES;
	if (n > room)
		n = room;
	return n && vio_drv_config(&in->drv, offsetof(struct vio_input_config, u), to, n) ? n : 0;
}

bool vio_input_axis(struct vio_input *in, uint8_t axis, struct vio_input_axis *a)
{
	struct vio_input_absinfo wire;

	if (!vio_input_can(in, VIO_EV_ABS, axis) ||
	    vio_input_ask(in, VIO_INPUT_CFG_ABS_INFO, axis, &wire, sizeof wire) != sizeof wire)
		return false;
	*a = (struct vio_input_axis){ (int32_t)vio_le32_get(wire.min), (int32_t)vio_le32_get(wire.max),
		(int32_t)vio_le32_get(wire.fuzz), (int32_t)vio_le32_get(wire.flat), (int32_t)vio_le32_get(wire.res) };
	return true;
}

static bool read_config(struct vio_input *in)
{
	static const uint8_t types[] = { VIO_EV_KEY, VIO_EV_REL, VIO_EV_ABS, VIO_EV_MSC, VIO_EV_SW, VIO_EV_LED, VIO_EV_SND,
		VIO_EV_FF };
	struct vio_input_devids ids;
	uint8_t repeats;

	in->name[vio_input_ask(in, VIO_INPUT_CFG_ID_NAME, 0, in->name, VIO_INPUT_CFG_BYTES)] = 0;
	in->serial[vio_input_ask(in, VIO_INPUT_CFG_ID_SERIAL, 0, in->serial, VIO_INPUT_CFG_BYTES)] = 0;
	if (vio_input_ask(in, VIO_INPUT_CFG_ID_DEVIDS, 0, &ids, sizeof ids) == sizeof ids) {
		in->bustype = vio_le16_get(ids.bustype);
		in->vendor = vio_le16_get(ids.vendor);
		in->product = vio_le16_get(ids.product);
		in->version = vio_le16_get(ids.version);
	}
	vio_input_ask(in, VIO_INPUT_CFG_PROP_BITS, 0, in->properties, sizeof in->properties);
	for (unsigned i = 0; i < sizeof types; i++)
		vio_input_ask(in, VIO_INPUT_CFG_EV_BITS, types[i], in->codes[types[i]], sizeof in->codes[0]);
	in->repeats = vio_input_ask(in, VIO_INPUT_CFG_EV_BITS, VIO_EV_REP, &repeats, 1) != 0;
	return !in->drv.failed;
}

/* ---- Queues ---- */

static uint64_t address(const struct vio_input *in, const void *p)
{
	return in->mapped.addr + (uint64_t)((const unsigned char *)p - (const unsigned char *)&in->shared);
}

static bool map_shared(struct vio_input *in)
{
	const struct vio_platform *pf = platform(in);
	unsigned n = pf->ops->map(pf->arg, &in->shared, sizeof in->shared, VIO_BOTH_WAYS, &in->mapped, 1);

	if (n == 1 && in->mapped.len == sizeof in->shared)
		return true;
	if (n)
		pf->ops->unmap(pf->arg, &in->shared, sizeof in->shared, VIO_BOTH_WAYS, &in->mapped, n);
	in->mapped.len = 0;
	return vio_drv_fail(&in->drv, "the queues' memory can't be mapped in one piece");
}

static bool start_queue(struct vio_input *in, uint16_t index, uint16_t room, void *ring, struct vio_drvq_slot *slots)
{
	uint16_t size = in->drv.port->ops->queue_max(in->drv.port, index);

	if (size > room)
		size = room;
	while (!vio_drv_has(&in->drv, VIO_F_RING_PACKED) && size & (size - 1))
		size &= (uint16_t)(size - 1);		/* 2.7: a power of two */
	if (size == 0)
		return vio_drv_fail(&in->drv, "the device lacks one of its two queues");
	struct vio_drvq_setup setup = { .size = size, .features = in->drv.features, .ring = ring, .ring_addr = address(in, ring),
		.slots = slots };
	vio_drvq_init(&in->q[index], &setup);
	return vio_drv_queue(&in->drv, index, &in->q[index]);
}

/* 5.8.6.1: writable, and as large as an event. */
static void give(struct vio_input *in, struct vio_input_event *e)
{
	struct vio_buf b = { address(in, e), sizeof *e };
	vio_drvq_add(&in->q[VIO_INPUT_Q_EVENTS], &b, 0, 1, e);
}

static bool start(struct vio_input *in)
{
	if (!read_config(in) || !map_shared(in) ||
	    !start_queue(in, VIO_INPUT_Q_EVENTS, VIO_INPUT_DRV_EVENTS, in->shared.ring, in->slots) ||
	    !start_queue(in, VIO_INPUT_Q_STATUS, VIO_INPUT_DRV_STATUS, in->shared.status_ring, in->status_slots) ||
	    !vio_drv_ready(&in->drv))
		return false;
	for (unsigned i = 0; i < in->q[VIO_INPUT_Q_EVENTS].size; i++)
		give(in, &in->shared.event[i]);
	vio_drv_kick(&in->drv, VIO_INPUT_Q_EVENTS, &in->q[VIO_INPUT_Q_EVENTS]);
	return true;
}

bool vio_input_start(struct vio_input *in, struct vio_drv_port *port)
{
	memset(in, 0, sizeof *in);
	if (!vio_drv_begin(&in->drv, port, VIO_ID_INPUT, drives(), NULL))
		return false;
	if (start(in))
		return true;
	vio_input_stop(in);	/* the device must forget the rings before they are unmapped */
	return false;
}

bool vio_input_stop(struct vio_input *in)
{
	const struct vio_platform *pf = platform(in);

	if (!vio_drv_reset(&in->drv))
		return false;
	if (in->mapped.len)
		pf->ops->unmap(pf->arg, &in->shared, sizeof in->shared, VIO_BOTH_WAYS, &in->mapped, 1);
	in->mapped.len = 0;
	return true;
}

/* ---- Events ---- */

/* 5.8.6.1: SHOULD ignore what it does not recognize. */
static bool recognized(const struct vio_input *in, const struct vio_input_said *e)
{
	if (e->type == VIO_EV_SYN)
		return e->code == VIO_SYN_REPORT || e->code == VIO_SYN_MT_REPORT;
	return vio_input_can(in, e->type, e->code);
}

/* An event that came, or not: its buffer goes back at once, so that the queue stays full. */
static bool take(struct vio_input *in, struct vio_input_event *wire, uint32_t len, struct vio_input_said *e)
{
	struct vio_input_event copy;

	memcpy(&copy, wire, sizeof copy);
	give(in, wire);
	vio_drv_kick(&in->drv, VIO_INPUT_Q_EVENTS, &in->q[VIO_INPUT_Q_EVENTS]);
	*e = (struct vio_input_said){ vio_le16_get(copy.type), vio_le16_get(copy.code), (int32_t)vio_le32_get(copy.value) };
	if (len >= sizeof copy && recognized(in, e))
		return true;
	in->ignored++;
	return false;
}

/* At most once round the queue: a device may tell nonsense for ever. */
bool vio_input_next(struct vio_input *in, struct vio_input_said *e)
{
	uint32_t len;

	for (unsigned n = 0; n < VIO_INPUT_DRV_EVENTS && in->mapped.len; n++) {
		struct vio_input_event *wire = vio_drvq_get(&in->q[VIO_INPUT_Q_EVENTS], &len);
		if (!wire)
			return false;
		if (take(in, wire, len, e))
			return true;
	}
	return false;
}

bool vio_input_next_wait(struct vio_input *in, struct vio_input_said *e, uint64_t deadline_ns)
{
	struct vio_drvq *q = &in->q[VIO_INPUT_Q_EVENTS];
	uint32_t len;

	while (in->mapped.len) {
		struct vio_input_event *wire = vio_drv_get_wait(&in->drv, VIO_INPUT_Q_EVENTS, q, &len, deadline_ns);
		if (!wire)
			return false;
		if (take(in, wire, len, e))
			return true;
		if (platform(in)->ops->now_ns(platform(in)->arg) >= deadline_ns)
			return false;
	}
	return false;
}

static bool has_feedback(const struct vio_input *in)
{
	for (unsigned i = 0; i < sizeof in->codes[VIO_EV_FF]; i++)
		if (in->codes[VIO_EV_FF][i])
			return true;
	return false;
}

static bool can_hear(const struct vio_input *in, uint16_t type, uint16_t code)
{
	if (type == VIO_EV_REP)
		return in->repeats && code < 2;
	if (type == VIO_EV_FF && code < VIO_FF_GAIN)
		return has_feedback(in);
	return (type == VIO_EV_LED || type == VIO_EV_SND || type == VIO_EV_FF) && vio_input_can(in, type, code);
}

bool vio_input_tell(struct vio_input *in, uint16_t type, uint16_t code, int32_t value)
{
	struct vio_drvq *q = &in->q[VIO_INPUT_Q_STATUS];
	struct vio_input_event *wire;
	uint32_t len;
	unsigned i = 0;

	if (!in->mapped.len || !can_hear(in, type, code))
		return false;
	while ((wire = vio_drvq_get(q, &len)))
		in->telling &= (uint8_t)~(1u << (wire - in->shared.status));
	while (i < VIO_INPUT_DRV_STATUS && in->telling >> i & 1)
		i++;
	if (i == VIO_INPUT_DRV_STATUS)
		return false;
	wire = &in->shared.status[i];
	*wire = (struct vio_input_event){ vio_le16_of(type), vio_le16_of(code), vio_le32_of((uint32_t)value) };
	struct vio_buf b = { address(in, wire), sizeof *wire };		/* 5.8.6.1: at least the size of an event */
	if (!vio_drvq_add(q, &b, 1, 0, wire))
		return false;
	in->telling |= (uint8_t)(1u << i);
	vio_drv_kick(&in->drv, VIO_INPUT_Q_STATUS, q);
	return true;
}
