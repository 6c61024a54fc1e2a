/*
 * Administration commands (2.12.1, 2.13): a chain is a command, read whole into a local and answered at once, so a queue's
 * commands are carried out in order.  What the driver's buffers lack is zero, what they have beyond is not looked at.
 */
#include <vio/device/admin_impl.h>
#include <vio/ring/freestanding.h>

enum { CAP_LIST = VIO_ADMIN_CAP_IDS / 8, RESULT = CAP_LIST > VIO_DEV_ADMIN_VALUE ? CAP_LIST : VIO_DEV_ADMIN_VALUE };
#define BIT(command) (UINT64_C(1) << VIO_ADMIN_CMD_##command)

enum {
	LISTS = 1 << VIO_ADMIN_CMD_LIST_QUERY | 1 << VIO_ADMIN_CMD_LIST_USE,
	CAPS = 1 << VIO_ADMIN_CMD_CAP_ID_LIST_QUERY | 1 << VIO_ADMIN_CMD_DEVICE_CAP_GET | 1 << VIO_ADMIN_CMD_DRIVER_CAP_SET,
	OBJECTS = 1 << VIO_ADMIN_CMD_RESOURCE_OBJ_CREATE | 1 << VIO_ADMIN_CMD_RESOURCE_OBJ_MODIFY |
	    1 << VIO_ADMIN_CMD_RESOURCE_OBJ_QUERY | 1 << VIO_ADMIN_CMD_RESOURCE_OBJ_DESTROY
};

struct call {
	struct vio_admin_cmd cmd;
	struct {			/* what a command adds: which object, and data */
		union { struct vio_admin_object object; struct vio_admin_cap_id cap; vio_le64 list; } of;
		unsigned char data[VIO_DEV_ADMIN_VALUE];
	} in;
	uint32_t got;			/* bytes of in that came */
	struct { struct vio_admin_answer head; unsigned char result[RESULT]; } out;
	uint32_t result;		/* bytes of it */
};

uint64_t vio_dev_admin_commands(const struct vio_dev *d)
{
	const struct vio_dev_admin_type *t = d->type->admin;
	return LISTS | CAPS | (t && t->resources ? OBJECTS : 0);
}

/* ---- Commands ---- */

static uint16_t list_query(struct vio_dev *d, struct call *c)
{
	vio_le64 list = vio_le64_of(vio_dev_admin_commands(d));

	memcpy(c->out.result, &list, sizeof list);
	c->result = sizeof list;
	return VIO_ADMIN_STATUS_OK;
}

static uint16_t list_use(struct vio_dev *d, struct call *c)
{
	uint64_t list = vio_le64_get(c->in.of.list);

	if (list & ~vio_dev_admin_commands(d))
		return VIO_ADMIN_STATUS_EINVAL;
	d->admin_used = list;
	return VIO_ADMIN_STATUS_OK;
}

/* A bit for each capability, in words of 64; one at least. */
static uint16_t cap_id_list_query(struct vio_dev *d, struct call *c)
{
	const struct vio_dev_admin_type *t = d->type->admin;

	c->result = 8;
	for (unsigned i = 0; t && i < t->caps; i++) {
		unsigned id = t->cap[i].id;
		c->out.result[id / 8] |= (unsigned char)(1 << id % 8);
		if (c->result < id / 64 * 8 + 8)
			c->result = id / 64 * 8 + 8;
	}
	return VIO_ADMIN_STATUS_OK;
}

static uint16_t device_cap_get(struct vio_dev *d, struct call *c)
{
	return vio_dev_admin_cap_get(d, vio_le16_get(c->in.of.cap.id), c->out.result, &c->result);
}

/* The bytes of a command's data that came; they begin at this offset of what a command adds. */
static uint32_t came(const struct call *c, uint32_t from)
{
	uint32_t n = c->got > from ? c->got - from : 0;
	return n < VIO_DEV_ADMIN_VALUE ? n : VIO_DEV_ADMIN_VALUE;
}

static uint16_t driver_cap_set(struct vio_dev *d, struct call *c)
{
	enum { AT = sizeof(struct vio_admin_cap_id) };
	return vio_dev_admin_cap_set(d, vio_le16_get(c->in.of.cap.id), (unsigned char *)&c->in + AT, came(c, AT));
}

static uint16_t object(struct vio_dev *d, struct call *c, unsigned opcode)
{
	uint16_t type = vio_le16_get(c->in.of.object.at.type);
	uint32_t id = vio_le32_get(c->in.of.object.at.id), n = came(c, sizeof c->in.of.object);

	switch (opcode) {
	case VIO_ADMIN_CMD_RESOURCE_OBJ_CREATE: return vio_dev_admin_create(d, type, id, c->in.data, n);
	case VIO_ADMIN_CMD_RESOURCE_OBJ_MODIFY: return vio_dev_admin_modify(d, type, id, c->in.data, n);
	case VIO_ADMIN_CMD_RESOURCE_OBJ_QUERY: return vio_dev_admin_query(d, type, id, c->out.result, &c->result);
	default: return vio_dev_admin_destroy(d, type, id);
	}
}

static uint16_t carry_out(struct vio_dev *d, struct call *c, unsigned opcode)
{
	switch (opcode) {
	case VIO_ADMIN_CMD_LIST_QUERY: return list_query(d, c);
	case VIO_ADMIN_CMD_LIST_USE: return list_use(d, c);
	case VIO_ADMIN_CMD_CAP_ID_LIST_QUERY: return cap_id_list_query(d, c);
	case VIO_ADMIN_CMD_DEVICE_CAP_GET: return device_cap_get(d, c);
	case VIO_ADMIN_CMD_DRIVER_CAP_SET: return driver_cap_set(d, c);
	default: return object(d, c, opcode);
	}
}

/* ---- Answers ---- */

static uint16_t qualifier_of(uint16_t status)
{
	switch (status) {
	case VIO_ADMIN_STATUS_OK: return VIO_ADMIN_STATUS_Q_OK;
	case VIO_ADMIN_STATUS_EINVAL:
	case VIO_ADMIN_STATUS_EEXIST:
	case VIO_ADMIN_STATUS_ENXIO: return VIO_ADMIN_STATUS_Q_INVALID_FIELD;
	case VIO_ADMIN_STATUS_EAGAIN: return VIO_ADMIN_STATUS_Q_TRYAGAIN;
	case VIO_ADMIN_STATUS_ENOMEM:
	case VIO_ADMIN_STATUS_ENOSPC: return VIO_ADMIN_STATUS_Q_NORESOURCE;
	default: return VIO_ADMIN_STATUS_Q_INVALID_COMMAND;
	}
}

static bool uses(uint64_t list, unsigned opcode) { return opcode < VIO_ADMIN_CMDS && list >> opcode & 1; }

/* What is wrong with a command's head: the first of group, opcode and member (2.12.1). */
static uint16_t head_is_wrong(const struct vio_dev *d, const struct call *c)
{
	unsigned opcode = vio_le16_get(c->cmd.opcode);

	if (vio_le16_get(c->cmd.group_type) != VIO_ADMIN_GROUP_SELF)
		return VIO_ADMIN_STATUS_Q_INVALID_GROUP;
	if (!uses(vio_dev_admin_commands(d), opcode) || !uses(d->admin_used, opcode))
		return VIO_ADMIN_STATUS_Q_INVALID_OPCODE;
	if (!uses(LISTS, opcode) && vio_le64_get(c->cmd.member))
		return VIO_ADMIN_STATUS_Q_INVALID_MEMBER;
	if (uses(OBJECTS, opcode) && vio_dev_admin_locked(d, vio_le16_get(c->in.of.object.at.type)))
		return VIO_ADMIN_STATUS_Q_INVALID_OPCODE;
	return VIO_ADMIN_STATUS_Q_OK;
}

static void run(struct vio_dev *d, struct call *c)
{
	uint16_t qualifier = head_is_wrong(d, c), status = VIO_ADMIN_STATUS_EINVAL;

	if (qualifier == VIO_ADMIN_STATUS_Q_OK) {
		status = carry_out(d, c, vio_le16_get(c->cmd.opcode));
		qualifier = qualifier_of(status);
	}
	if (status != VIO_ADMIN_STATUS_OK)
		c->result = 0;
	c->out.head.status = vio_le16_of(status);
	c->out.head.qualifier = vio_le16_of(qualifier);
}

static uint32_t take(struct vio_cur *r, void *to, uint32_t n)
{
	uint32_t have = r->left < n ? (uint32_t)r->left : n;

	vio_cur_get(r, to, have);
	return have;
}

static void serve(struct vio_dev *d, struct vio_devq *q, struct vio_chain *chain)
{
	struct call c = { .got = 0 };

	take(&chain->r, &c.cmd, sizeof c.cmd);
	c.got = take(&chain->r, &c.in, sizeof c.in);
	run(d, &c);
	if (vio_le16_get(c.out.head.status) != VIO_ADMIN_STATUS_OK)
		vio_dev_refused(q);
	uint32_t bytes = (uint32_t)sizeof c.out.head + ((c.result + 7) & ~7u);	/* whole words, zeroes behind */
	vio_cur_put(&chain->w, &c.out, chain->w.left < bytes ? chain->w.left : bytes);
}

static void admin_queue(struct vio_dev *d, struct vio_devq *q)
{
	struct vio_chain *c;

	while ((c = vio_devq_pop(q))) {
		serve(d, q, c);
		vio_dev_push(q, c);
	}
}

const struct vio_dev_type vio_dev_admin = { .name = "admin", .request = sizeof(struct vio_chain), .queue = admin_queue };
