/* The administration queue by raw commands, on the made-up device or any other. */
#ifndef VIO_TESTS_DEVICE_ADMIN_RIG_H
#define VIO_TESTS_DEVICE_ADMIN_RIG_H
#include "rig.h"
#include "admin_type.h"

enum { ADMIN_ROOM = 544, POISON = 0xa5 };
static const int no_options;
#define CMD(name) VIO_ADMIN_CMD_##name
#define ST(name) VIO_ADMIN_STATUS_##name
#define Q(name) VIO_ADMIN_STATUS_Q_##name

struct reply { uint16_t status, qualifier; uint32_t used; unsigned char result[ADMIN_ROOM]; };

static inline const struct vio_drv_port_ops *port_ops(struct rig *g) { return g->wire.port.ops; }

/* The administration queue's index, as the wire tells it. */
static inline uint16_t admin_index(struct rig *g)
{
	uint16_t first = 0;

	assert_true(port_ops(g)->admin_queues(&g->wire.port, &first) >= 1);
	return first;
}

/* A driver that takes ADMIN_VQ and starts all queues. */
static inline void admin_start(struct rig *g, struct vio_features f)
{
	struct vio_drv_port *p = &g->wire.port;
	const uint8_t steps[] = { 0, VIO_S_ACKNOWLEDGE, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER };

	g->used = 0;
	vio_features_add(&f, VIO_F_VERSION_1);
	vio_features_add(&f, VIO_F_ADMIN_VQ);
	for (unsigned i = 0; i < sizeof steps; i++)
		p->ops->set_status(p, steps[i]);
	assert_true(p->ops->accept(p, vio_features_and(f, p->ops->features(p))));
	g->drv = (struct vio_drv){ .port = p, .features = f, .status = VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK };
	p->ops->set_status(p, g->drv.status);
	assert_true(p->ops->status(p) & VIO_S_FEATURES_OK);
	g->queues = (uint16_t)(admin_index(g) + g->dev->admin_queues);
	assert_true(g->queues <= RIG_QUEUES);
	for (uint16_t i = 0; i < g->queues; i++)
		rig_start_queue(g, i);
	assert_true(vio_drv_ready(&g->drv));
	g->kept = g->used;
}

static inline struct rig *admin_rig(void)
{
	struct rig *g = rig_new();

	assert_null(rig_open(g, &made_up, &no_options));
	admin_start(g, BITS(VIO_F_RING_RESET));
	return g;
}

/* r readable bytes in pieces of r_cut, w writable ones of w_cut: what came back.  Nothing is written beyond what is used. */
static inline struct reply exchange_on(struct rig *g, uint16_t queue, const void *readable, size_t r, size_t r_cut, size_t w,
    size_t w_cut)
{
	struct reply a = { 0 };
	struct vio_admin_answer head = { 0 };
	uint32_t used = 0;

	rig_rewind(g);
	unsigned char *rp = rig_take(g, r ? r : 1), *wp = rig_take(g, w + 8);
	if (r)
		memcpy(rp, readable, r);
	memset(wp, POISON, w + 8);
	assert_true(rig_add(g, queue, r ? rp : NULL, r, r_cut, w ? wp : NULL, w, w_cut));
	rig_kick(g, queue);
	assert_ptr_equal(rig_get(g, queue, &used), w ? wp : rp);
	assert_true(used <= w);
	for (size_t i = used; i < w + 8; i++)
		assert_int_equal(wp[i], POISON);
	memcpy(&head, wp, used < sizeof head ? used : sizeof head);
	a.status = vio_le16_get(head.status);
	a.qualifier = vio_le16_get(head.qualifier);
	a.used = used;
	if (used > sizeof head)
		memcpy(a.result, wp + sizeof head, used - sizeof head);
	return a;
}

/* The bytes of a command with n bytes of data, at to. */
static inline size_t command(unsigned char *to, uint16_t opcode, uint16_t group, uint64_t member, const void *data, size_t n)
{
	struct vio_admin_cmd c = { vio_le16_of(opcode), vio_le16_of(group), { 0 }, vio_le64_of(member) };

	memcpy(to, &c, sizeof c);
	if (n)
		memcpy(to + sizeof c, data, n);
	return sizeof c + n;
}

static inline struct reply say(struct rig *g, uint16_t opcode, uint16_t group, uint64_t member, const void *data, size_t n)
{
	unsigned char bytes[1024];

	return exchange_on(g, admin_index(g), bytes, command(bytes, opcode, group, member, data, n), 0, 8 + ADMIN_ROOM - 32, 0);
}

static inline struct reply use_list(struct rig *g, uint64_t list)
{
	vio_le64 l = vio_le64_of(list);
	return say(g, CMD(LIST_USE), 0, 0, &l, sizeof l);
}

static inline uint64_t query_list(struct rig *g)
{
	struct reply a = say(g, CMD(LIST_QUERY), 0, 0, NULL, 0);

	assert_int_equal(a.status, ST(OK));
	assert_int_equal(a.used, 16);
	return vio_admin_number(a.result, 8);
}

static inline struct reply set_cap(struct rig *g, uint16_t id, const void *value, size_t n)
{
	unsigned char data[8 + 512] = { (unsigned char)id, (unsigned char)(id >> 8) };

	memcpy(data + 8, value, n);
	return say(g, CMD(DRIVER_CAP_SET), 0, 0, data, 8 + n);
}

static inline struct reply get_cap(struct rig *g, uint16_t id)
{
	struct vio_admin_cap_id ask = { vio_le16_of(id), { 0 } };
	return say(g, CMD(DEVICE_CAP_GET), 0, 0, &ask, sizeof ask);
}

static inline struct reply object(struct rig *g, uint16_t opcode, uint16_t type, uint32_t id, const void *data, size_t n)
{
	struct { struct vio_admin_object head; unsigned char data[512]; } o = {
		.head.at = { vio_le16_of(type), { 0 }, vio_le32_of(id) } };

	if (n)
		memcpy(o.data, data, n);
	return say(g, opcode, 0, 0, &o, sizeof o.head + n);
}

static inline struct box box_of(uint16_t colour, uint32_t weight)
{
	struct box b = { vio_le16_of(colour), { 0 } };

	for (unsigned i = 0; i < 4; i++)
		b.weight[i] = (uint8_t)(weight >> 8 * i);
	return b;
}

static inline const struct store_value *whole_store(void)
{
	static const struct store_value v = { { BOXES }, { LIDS }, { STORE_FLAGS }, STORE_DEPTH, 3, { 1, 2, 5 } };
	return &v;
}

/* All commands in use, all capabilities as large as they can be. */
static inline void all_in_use(struct rig *g)
{
	vio_le64 smells = vio_le64_of(SMELLS);
	vio_le32 stickers = vio_le32_of(STICKERS);

	assert_int_equal(use_list(g, query_list(g)).status, ST(OK));
	assert_int_equal(set_cap(g, 0x003, &smells, 8).status, ST(OK));
	assert_int_equal(set_cap(g, 0x800, whole_store(), sizeof(struct store_value)).status, ST(OK));
	assert_int_equal(set_cap(g, 0x842, &stickers, 4).status, ST(OK));
}

static inline void is(struct reply a, uint16_t status, uint16_t qualifier)
{
	assert_int_equal(a.status, status);
	assert_int_equal(a.qualifier, qualifier);
}
#endif
