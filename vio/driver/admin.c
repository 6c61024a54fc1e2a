/* The driver's side of the administration virtqueue (virtio 1.4, sections 2.12 and 2.13). */
#include <vio/driver/admin.h>
#include <vio/ring/freestanding.h>

#define BIT(command) (UINT64_C(1) << VIO_ADMIN_CMD_##command)

/* What is understood here: 2.12.1 has a driver ask for no more. */
static const uint64_t known = BIT(LIST_QUERY) | BIT(LIST_USE) | BIT(CAP_ID_LIST_QUERY) | BIT(DEVICE_CAP_GET) | BIT(DRIVER_CAP_SET) |
    BIT(RESOURCE_OBJ_CREATE) | BIT(RESOURCE_OBJ_MODIFY) | BIT(RESOURCE_OBJ_QUERY) | BIT(RESOURCE_OBJ_DESTROY);

static const struct vio_platform *platform(const struct vio_admin *a) { return &a->drv->port->platform; }
static uint64_t now(const struct vio_admin *a) { return platform(a)->ops->now_ns(platform(a)->arg); }

/* ---- The queue ---- */

static uint16_t queue_size(struct vio_drv *d, uint16_t queue)
{
	uint16_t size = d->port->ops->queue_max(d->port, queue);

	if (size > VIO_ADMIN_DRV_QUEUE)
		size = VIO_ADMIN_DRV_QUEUE;
	while (!vio_drv_has(d, VIO_F_RING_PACKED) && size & (size - 1))
		size &= (uint16_t)(size - 1);		/* 2.7: a power of two */
	return size;
}

static bool map_ring(struct vio_admin *a, struct vio_drv *d)
{
	const struct vio_platform *pf = &d->port->platform;
	unsigned n = pf->ops->map(pf->arg, a->ring, sizeof a->ring, VIO_BOTH_WAYS, &a->ring_mapped, 1);

	if (n == 1 && a->ring_mapped.len == sizeof a->ring)
		return true;
	if (n)
		pf->ops->unmap(pf->arg, a->ring, sizeof a->ring, VIO_BOTH_WAYS, &a->ring_mapped, n);
	a->ring_mapped.len = 0;
	return vio_drv_fail(d, "the administration queue's memory can't be mapped in one piece");
}

bool vio_admin_start(struct vio_admin *a, struct vio_drv *d)
{
	uint32_t round = a->round + 1;
	uint16_t first = 0, queues = d->port->ops->admin_queues(d->port, &first), size = queues ? queue_size(d, first) : 0;

	memset(a, 0, sizeof *a);
	a->round = round ? round : 1;
	if (size < 2)			/* a command has two parts */
		return true;		/* a device that has none, whatever it said, is driven without */
	if (!map_ring(a, d))
		return false;
	struct vio_drvq_setup setup = {
		.size = size, .features = d->features, .ring = a->ring, .ring_addr = a->ring_mapped.addr, .slots = a->slots,
	};
	vio_drvq_init(&a->q, &setup);
	a->drv = d;			/* what is mapped is unmapped when the device is reset */
	a->queue = first;
	a->used = BIT(LIST_QUERY) | BIT(LIST_USE);
	return vio_drv_queue(d, first, &a->q);
}

static void unmap(struct vio_admin *a)
{
	const struct vio_platform *pf = platform(a);

	if (a->in_bufs)
		pf->ops->unmap(pf->arg, a->in, a->in_bytes, VIO_TO_DEVICE, a->mapped, a->in_bufs);
	if (a->out_bufs)
		pf->ops->unmap(pf->arg, a->out, a->out_bytes, VIO_FROM_DEVICE, a->mapped + a->in_bufs, a->out_bufs);
	a->in_bufs = a->out_bufs = 0;
}

/* Both parts, one behind the other in a->mapped.  False: they don't fit; what is mapped is still to be unmapped. */
static bool map(struct vio_admin *a, uint32_t in, uint32_t out)
{
	const struct vio_platform *pf = platform(a);

	a->in_bytes = in;
	a->out_bytes = out;
	a->in_bufs = pf->ops->map(pf->arg, a->in, in, VIO_TO_DEVICE, a->mapped, VIO_ADMIN_DRV_SEGS);
	if (a->in_bufs)
		a->out_bufs = pf->ops->map(pf->arg, a->out, out, VIO_FROM_DEVICE, a->mapped + a->in_bufs, VIO_ADMIN_DRV_SEGS);
	return a->out_bufs;
}

void vio_admin_end(struct vio_admin *a)
{
	if (!a->drv)
		return;
	unmap(a);
	if (a->ring_mapped.len)
		platform(a)->ops->unmap(platform(a)->arg, a->ring, sizeof a->ring, VIO_BOTH_WAYS, &a->ring_mapped, 1);
	a->ring_mapped.len = 0;
	a->used = a->supported = 0;
	a->drv = NULL;
}

/* ---- Commands ---- */

/* No answer: the device may still write, until it is reset. */
static uint16_t no_answer(struct vio_admin *a, const char *why)
{
	vio_drv_fail(a->drv, a->q.broken ? a->q.broken : why);
	a->used = 0;
	return VIO_ADMIN_STATUS_NO_ANSWER;
}

/* Send a->in, wait for a->out; in *wrote what of it the device has written.  Without an answer both stay mapped until a reset. */
static bool exchange(struct vio_admin *a, uint32_t in, uint32_t out, uint64_t deadline, uint32_t *wrote)
{
	bool sent = map(a, in, out) && vio_drvq_add(&a->q, a->mapped, a->in_bufs, a->out_bufs, a);

	if (sent && !vio_drv_get_wait(a->drv, a->queue, &a->q, wrote, deadline))
		return false;
	unmap(a);
	return sent;
}

/* Reserved values are read as the specification has them read (2.12.1). */
static void read_answer(struct vio_admin *a)
{
	struct vio_admin_answer head;

	memcpy(&head, a->out, sizeof head);
	a->status = a->status_said = vio_le16_get(head.status);
	a->qualifier = a->qualifier_said = vio_le16_get(head.qualifier);
	switch (a->status) {
	case VIO_ADMIN_STATUS_OK: case VIO_ADMIN_STATUS_ENXIO: case VIO_ADMIN_STATUS_EAGAIN: case VIO_ADMIN_STATUS_ENOMEM:
	case VIO_ADMIN_STATUS_EBUSY: case VIO_ADMIN_STATUS_EEXIST: case VIO_ADMIN_STATUS_EINVAL: case VIO_ADMIN_STATUS_ENOSPC:
		break;
	default: a->status = VIO_ADMIN_STATUS_EINVAL;
	}
	if (a->qualifier > VIO_ADMIN_STATUS_Q_TRYAGAIN)
		a->qualifier = VIO_ADMIN_STATUS_Q_INVALID_COMMAND;
}

static uint32_t words(uint32_t n) { return (n + 7) & ~7u; }

static uint16_t send(struct vio_admin *a, const struct vio_admin_cmd *cmd, const void *data, uint32_t n, uint32_t room,
    uint32_t *wrote)
{
	uint64_t deadline = now(a) + VIO_DRV_PATIENCE_NS;

	for (;;) {
		memset(a->in, 0, sizeof a->in);
		memset(a->out, 0, sizeof a->out);
		memcpy(a->in, cmd, sizeof *cmd);
		if (n)
			memcpy(a->in + sizeof *cmd, data, n);
		*wrote = 0;
		if (!exchange(a, (uint32_t)sizeof *cmd + words(n), (uint32_t)sizeof(struct vio_admin_answer) + words(room), deadline, wrote))
			return no_answer(a, "the device does not answer an administration command");
		memset(a->out + *wrote, 0, sizeof a->out - *wrote);	/* 2.13: what was not used is zero, whatever stands there */
		read_answer(a);
		if (a->status != VIO_ADMIN_STATUS_EAGAIN || now(a) >= deadline)
			return a->status;
		if (platform(a)->ops->relax)
			platform(a)->ops->relax(platform(a)->arg);
	}
}

uint16_t vio_admin_command(struct vio_admin *a, uint16_t opcode, uint16_t group, uint64_t member, const void *data, uint32_t n,
    void *result, uint32_t room, uint32_t *got)
{
	struct vio_admin_cmd cmd = { vio_le16_of(opcode), vio_le16_of(group), { 0 }, vio_le64_of(member) };
	uint32_t wrote, head = sizeof(struct vio_admin_answer);

	*got = 0;
	if (room)
		memset(result, 0, room);
	if (!a->drv || !a->used)
		return VIO_ADMIN_STATUS_NO_ANSWER;
	if (opcode >= VIO_ADMIN_CMDS || !(a->used >> opcode & 1) || n > sizeof a->in - sizeof cmd || room > VIO_ADMIN_DRV_DATA)
		return VIO_ADMIN_STATUS_EINVAL;
	uint16_t status = send(a, &cmd, data, n, room, &wrote);
	if (status == VIO_ADMIN_STATUS_OK && wrote > head) {
		*got = wrote - head < room ? wrote - head : room;
		memcpy(result, a->out + head, *got);
	}
	return status;
}

static uint16_t ask(struct vio_admin *a, uint16_t opcode, const void *data, uint32_t n, void *result, uint32_t room, uint32_t *got)
{
	return vio_admin_command(a, opcode, VIO_ADMIN_GROUP_SELF, 0, data, n, result, room, got);
}

bool vio_admin_begin(struct vio_admin *a)
{
	uint32_t got;
	vio_le64 list;

	if (ask(a, VIO_ADMIN_CMD_LIST_QUERY, NULL, 0, &list, sizeof list, &got) != VIO_ADMIN_STATUS_OK)
		return false;
	a->supported = vio_le64_get(list);
	list = vio_le64_of(a->supported & known);
	if (ask(a, VIO_ADMIN_CMD_LIST_USE, &list, sizeof list, NULL, 0, &got) != VIO_ADMIN_STATUS_OK)
		return false;
	a->used = a->supported & known;
	return true;
}

/* ---- Capabilities ---- */

bool vio_admin_cap_has(struct vio_admin *a, uint16_t id)
{
	unsigned char list[VIO_ADMIN_CAP_IDS / 8];
	uint32_t got;

	if (id >= VIO_ADMIN_CAP_IDS || ask(a, VIO_ADMIN_CMD_CAP_ID_LIST_QUERY, NULL, 0, list, sizeof list, &got) != VIO_ADMIN_STATUS_OK)
		return false;
	return list[id / 8] >> id % 8 & 1;
}

uint16_t vio_admin_cap_get(struct vio_admin *a, uint16_t id, void *value, uint32_t bytes)
{
	struct vio_admin_cap_id ask_for = { vio_le16_of(id), { 0 } };
	uint32_t got;

	return ask(a, VIO_ADMIN_CMD_DEVICE_CAP_GET, &ask_for, sizeof ask_for, value, bytes, &got);
}

static bool within(const struct vio_admin_cap *c, const unsigned char *device, const unsigned char *driver)
{
	for (unsigned i = 0; i < c->fields; i++) {
		const struct vio_admin_field *f = &c->field[i];
		uint64_t has = vio_admin_number(device + f->at, f->bytes), wants = vio_admin_number(driver + f->at, f->bytes);
		if (f->kind == VIO_ADMIN_FLAGS ? (wants & ~has) != 0 : wants > has)
			return false;
	}
	return true;
}

static bool cap_is_set(const struct vio_admin *a, const struct vio_admin_cap *c) { return a->round && c->round == a->round; }

uint16_t vio_admin_cap_set(struct vio_admin *a, struct vio_admin_cap *cap, const void *value)
{
	struct { struct vio_admin_cap_id id; unsigned char value[VIO_ADMIN_DRV_DATA]; } set = { { vio_le16_of(cap->id), { 0 } }, { 0 } };
	unsigned char device[VIO_ADMIN_DRV_DATA];
	uint32_t got;

	if (cap->bytes > sizeof device)
		return VIO_ADMIN_STATUS_EINVAL;
	if (cap_is_set(a, cap) && cap->live)
		return VIO_ADMIN_STATUS_EBUSY;
	uint16_t status = vio_admin_cap_get(a, cap->id, device, cap->bytes);
	if (status != VIO_ADMIN_STATUS_OK)
		return status;
	if (!within(cap, device, value))
		return VIO_ADMIN_STATUS_EINVAL;
	memcpy(set.value, value, cap->bytes);
	status = ask(a, VIO_ADMIN_CMD_DRIVER_CAP_SET, &set, (uint32_t)sizeof set.id + cap->bytes, NULL, 0, &got);
	if (status != VIO_ADMIN_STATUS_OK)
		return status;
	cap->round = a->round;
	cap->live = 0;
	memcpy(cap->value, value, cap->bytes);
	return status;
}

/* ---- Resource objects ---- */

/* What was made before the device's last reset is gone. */
static void look_again(const struct vio_admin *a, struct vio_admin_kind *k)
{
	if (k->round != a->round)
		memset(k->made, 0, k->words * sizeof *k->made);
	k->round = a->round;
}

static bool made(const struct vio_admin_kind *k, uint32_t id) { return id / 64 < k->words && k->made[id / 64] >> id % 64 & 1; }

static uint32_t limit(const struct vio_admin *a, const struct vio_admin_kind *k)
{
	for (unsigned i = 0; i < sizeof k->cap / sizeof *k->cap; i++)
		if (k->cap[i] && !cap_is_set(a, k->cap[i]))
			return 0;
	uint64_t n = k->cap[0] ? vio_admin_number(k->cap[0]->value + k->limit_at, 4) : 0, room = (uint64_t)k->words * 64;
	return (uint32_t)(n < room ? n : room);
}

static void count(struct vio_admin_kind *k, uint32_t id, bool more)
{
	k->made[id / 64] ^= UINT64_C(1) << id % 64;
	for (unsigned i = 0; i < sizeof k->cap / sizeof *k->cap; i++)
		if (k->cap[i])
			k->cap[i]->live += more ? 1 : UINT32_MAX;
}

static uint16_t object(struct vio_admin *a, uint16_t opcode, const struct vio_admin_kind *k, uint32_t id, const void *data,
    uint32_t n)
{
	struct { struct vio_admin_object head; unsigned char data[VIO_ADMIN_DRV_DATA]; } o = {
		.head.at = { vio_le16_of(k->type), { 0 }, vio_le32_of(id) } };
	uint32_t got;

	if (n > sizeof o.data)
		return VIO_ADMIN_STATUS_EINVAL;
	if (n)
		memcpy(o.data, data, n);
	return ask(a, opcode, &o, (uint32_t)sizeof o.head + n, NULL, 0, &got);
}

uint16_t vio_admin_create(struct vio_admin *a, struct vio_admin_kind *k, uint32_t id, const void *data, uint32_t n)
{
	look_again(a, k);
	if (made(k, id))
		return VIO_ADMIN_STATUS_EEXIST;
	if (id >= limit(a, k))
		return VIO_ADMIN_STATUS_ENOSPC;
	uint16_t status = object(a, VIO_ADMIN_CMD_RESOURCE_OBJ_CREATE, k, id, data, n);
	if (status == VIO_ADMIN_STATUS_OK)
		count(k, id, true);
	return status;
}

uint16_t vio_admin_modify(struct vio_admin *a, struct vio_admin_kind *k, uint32_t id, const void *data, uint32_t n)
{
	look_again(a, k);
	return made(k, id) ? object(a, VIO_ADMIN_CMD_RESOURCE_OBJ_MODIFY, k, id, data, n) : VIO_ADMIN_STATUS_ENXIO;
}

uint16_t vio_admin_query(struct vio_admin *a, struct vio_admin_kind *k, uint32_t id, void *data, uint32_t room, uint32_t *got)
{
	struct vio_admin_object o = { { vio_le16_of(k->type), { 0 }, vio_le32_of(id) }, vio_le64_of(0) };

	look_again(a, k);
	*got = 0;
	if (!made(k, id))
		return VIO_ADMIN_STATUS_ENXIO;
	return ask(a, VIO_ADMIN_CMD_RESOURCE_OBJ_QUERY, &o, sizeof o, data, room, got);
}

uint16_t vio_admin_destroy(struct vio_admin *a, struct vio_admin_kind *k, uint32_t id)
{
	look_again(a, k);
	if (!made(k, id))
		return VIO_ADMIN_STATUS_ENXIO;
	uint16_t status = object(a, VIO_ADMIN_CMD_RESOURCE_OBJ_DESTROY, k, id, NULL, 0);
	if (status == VIO_ADMIN_STATUS_OK)
		count(k, id, false);
	return status;
}
