/* The administration queue as a queue: negotiated or not, reset, suspended, broken, saved and loaded; beside a type's queues. */
#include "admin_rig.h"
#include <vio/device/rng.h>
#include <vio/host/source.h>
#include <vio/spec/parts.h>

enum { ALL = 0x3f83, CREATE = CMD(RESOURCE_OBJ_CREATE), QUERY = CMD(RESOURCE_OBJ_QUERY), DESTROY = CMD(RESOURCE_OBJ_DESTROY) };

static struct made_up *device(struct rig *g) { return (struct made_up *)g->dev; }

/* The type's own queue serves. */
static void neighbour_serves(struct rig *g)
{
	rig_rewind(g);
	unsigned char *w = rig_take(g, 16);
	memset(w, POISON, 16);
	assert_true(rig_add(g, 0, NULL, 0, 0, w, 16, 0));
	rig_kick(g, 0);
	assert_ptr_equal(rig_get(g, 0, NULL), w);
	assert_int_equal(w[15], 0);
}

static void things_are_made(struct rig *g)
{
	struct box b = box_of(3, 4);
	struct lid l = { { 2 }, "oval" };

	all_in_use(g);
	is(object(g, CREATE, 0x200, 2, &b, sizeof b), ST(OK), Q(OK));
	is(object(g, CREATE, 0x201, 0, &l, sizeof l), ST(OK), Q(OK));
}

static bool things_are_there(struct rig *g)
{
	struct box b = box_of(3, 4);
	struct reply a = object(g, QUERY, 0x200, 2, NULL, 0);

	return a.status == ST(OK) && memcmp(a.result, &b, sizeof b) == 0 && object(g, QUERY, 0x201, 0, NULL, 0).status == ST(OK);
}

/* ---- Whether it is there ---- */

static void only_if_negotiated(void **state)
{
	struct rig *g = rig_new();
	const struct vio_drv_port_ops *ops;
	struct vio_drv_port *p = &g->wire.port;
	uint16_t first;

	(void)state;
	assert_null(rig_open(g, &made_up, &no_options));
	ops = port_ops(g);
	assert_true(vio_has(ops->features(p), VIO_F_ADMIN_VQ));
	rig_start(g, 1, BITS(VIO_F_RING_RESET, VIO_F_ADMIN_VQ));	/* the driver core takes it for who wants to administer only */
	assert_false(vio_has(g->dev->accepted, VIO_F_ADMIN_VQ));
	assert_int_equal(ops->queue_max(p, 1), 0);
	assert_int_equal(vio_dev_queue_size_max(g->dev, 1), 0);
	vio_dev_queue_go_live(g->dev, 1);
	assert_false(g->dev->queue[1].live);
	assert_false(vio_dev_notified(g->dev, 1));
	vio_loop_port.wake(&g->wire, 0);
	neighbour_serves(g);
	admin_start(g, BITS(VIO_F_RING_RESET));
	assert_true(ops->admin_queues(p, &first) == 1 && first == 1);
	assert_int_equal(ops->queue_max(p, 1), 64);
	assert_int_equal(ops->queue_max(p, 2), 0);
	assert_int_equal(query_list(g), ALL);
	rig_close(g);
}

#if defined(RIG_PCI)
static void registers_say_where(void **state)
{
	struct rig *g = admin_rig();
	struct vio_pci_dev *p = &((struct rig_wire *)g->wire.other)->dev;
	const unsigned queues = offsetof(struct vio_pci_common, num_queues), first = offsetof(struct vio_pci_common, admin_queue_index),
	    count = offsetof(struct vio_pci_common, admin_queue_num);

	(void)state;
	assert_int_equal(vio_pci_read(p, queues, 2), 1);	/* without them */
	assert_true(vio_pci_read(p, first, 2) >= vio_pci_read(p, queues, 2));
	assert_true(vio_pci_read(p, count, 2) == 1 && vio_pci_read(p, first, 2) + vio_pci_read(p, count, 2) <= 0x10000);
	vio_pci_write(p, first, 2, 0);
	vio_pci_write(p, count, 2, 9);
	assert_int_equal(vio_pci_read(p, first, 2), 1);
	assert_int_equal(vio_pci_read(p, count, 2), 1);
	assert_int_equal(query_list(g), ALL);
	rig_close(g);
}
#endif

static void a_device_without_room(void **state)
{
	struct rig *g = rig_new();

	(void)state;
	assert_null(rig_open(g, &made_up, &no_options));
	g->dev->admin_queues = 0;
	assert_false(vio_has(port_ops(g)->features(&g->wire.port), VIO_F_ADMIN_VQ));
	rig_start(g, 1, BITS(VIO_F_RING_RESET));
	neighbour_serves(g);
	rig_close(g);
}

/* A type that has nothing to administer has a queue all the same, and says so. */
static void a_type_that_has_nothing(void **state)
{
	struct vio_source *source = vio_source_counting(0);
	struct vio_rng_options o = { .source = source };
	struct rig *g = rig_new();

	(void)state;
	assert_null(rig_open(g, &vio_dev_rng, &o));
	admin_start(g, BITS(VIO_F_RING_RESET));
	assert_int_equal(query_list(g), 0x383);
	is(use_list(g, ALL), ST(EINVAL), Q(INVALID_FIELD));
	is(use_list(g, 0x383), ST(OK), Q(OK));
	struct reply a = say(g, CMD(CAP_ID_LIST_QUERY), 0, 0, NULL, 0);
	is(a, ST(OK), Q(OK));
	assert_true(a.used == 16 && vio_admin_number(a.result, 8) == 0);
	is(get_cap(g, 0), ST(ENXIO), Q(INVALID_FIELD));
	is(set_cap(g, 0x800, "", 1), ST(ENXIO), Q(INVALID_FIELD));
	is(object(g, CREATE, 0x200, 0, NULL, 0), ST(EINVAL), Q(INVALID_OPCODE));
	rig_close(g);
	vio_source_close(source);
}

/* ---- Reset, queue reset, suspend ---- */

static void a_reset_forgets(void **state)
{
	struct rig *g = admin_rig();

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		things_are_made(g);
		assert_true(things_are_there(g));
		unsigned changed = device(g)->changed;
		rig_reset(g);
		assert_true(device(g)->changed > changed);
		for (unsigned i = 0; i < CAPS_COUNT; i++)
			assert_null(vio_dev_admin_cap(g->dev, i));
		for (unsigned k = 0; k < KINDS; k++)
			for (uint32_t id = 0; id < made_up_kinds[k].most; id++)
				assert_null(vio_dev_admin_object(g->dev, k, id));
		admin_start(g, BITS(VIO_F_RING_RESET));
		is(object(g, QUERY, 0x200, 2, NULL, 0), ST(EINVAL), Q(INVALID_OPCODE));
	}
	rig_close(g);
}

static void a_queue_reset_forgets_nothing(void **state)
{
	struct rig *g = admin_rig();
	uint16_t queue = admin_index(g);

	(void)state;
	things_are_made(g);
	rig_rewind(g);
	assert_true(vio_drv_queue_reset(&g->drv, queue));
	neighbour_serves(g);
	g->used = g->kept;
	rig_start_queue(g, queue);
	g->kept = g->used;
	assert_true(things_are_there(g));
	rig_close(g);
}

static void suspended_it_waits(void **state)
{
	struct rig *g = rig_new();

	(void)state;
	assert_null(rig_open(g, &made_up, &no_options));
	admin_start(g, BITS(VIO_F_SUSPEND));
	things_are_made(g);
	uint16_t queue = admin_index(g);
	assert_true(vio_drv_suspend(&g->drv));
	rig_rewind(g);
	unsigned char *w = rig_take(g, 16), *r = rig_take(g, 64);
	memset(w, POISON, 16);
	assert_true(rig_add(g, queue, r, command(r, CMD(LIST_QUERY), 0, 0, NULL, 0), 0, w, 16, 0));
	(void)vio_drvq_kick_due(&g->q[queue]);
	g->wire.port.ops->kick(&g->wire.port, queue, queue);
	assert_null(rig_get(g, queue, NULL));
	assert_int_equal(w[0], POISON);
	assert_true(vio_drv_resume(&g->drv));
	vio_loop_pump(&g->wire, UINT32_MAX);
	assert_ptr_equal(rig_get(g, queue, NULL), w);
	assert_int_equal(vio_admin_number(w + 8, 8), ALL);
	assert_true(things_are_there(g));
	rig_close(g);
}

/* A loop in a chain breaks the queue; the other goes on; a reset heals. */
static void broken_rings(void **state)
{
	struct rig *g = admin_rig();

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		uint16_t queue = admin_index(g);
		struct vio_split_desc *table = g->q[queue].place.desc;
		all_in_use(g);
		rig_rewind(g);
		unsigned char *r = rig_take(g, 64), *w = rig_take(g, 16);
		assert_true(rig_add(g, queue, r, command(r, CMD(LIST_QUERY), 0, 0, NULL, 0), 8, w, 16, 0));
		for (unsigned i = 0; i < g->size; i++) {
			table[i].flags = vio_le16_of(VIO_DESC_NEXT);
			table[i].next = vio_le16_of((uint16_t)((i + 1) % g->size));
		}
		rig_kick(g, queue);
		assert_non_null(g->dev->queue[queue].ring.broken);
		assert_true(vio_dev_status(g->dev) & VIO_S_NEEDS_RESET);
		neighbour_serves(g);
		admin_start(g, BITS(VIO_F_RING_RESET));
		assert_int_equal(query_list(g), ALL);
		neighbour_serves(g);
	}
	rig_close(g);
}

/* ---- State ---- */

static size_t saved(struct rig *g, unsigned char *to, size_t room)
{
	assert_true(vio_drv_suspend(&g->drv));
	size_t n = vio_dev_save(g->dev, NULL, 0);
	assert_true(n <= room);
	assert_int_equal(vio_dev_save(g->dev, to, room), n);
	return n;
}

static struct rig *suspendable(void)
{
	struct rig *g = rig_new();

	assert_null(rig_open(g, &made_up, &no_options));
	admin_start(g, BITS(VIO_F_SUSPEND));
	return g;
}

static void saved_and_loaded(void **state)
{
	static unsigned char one[4096], two[4096];
	struct rig *g = suspendable();

	(void)state;
	things_are_made(g);
	size_t n = saved(g, one, sizeof one);
	for (size_t room = 0; room < n; room++)
		assert_int_equal(vio_dev_save(g->dev, two, room), n);
	vio_dev_set_status(g->dev, 0);
	vio_loop_pump(&g->wire, UINT32_MAX);
	assert_null(vio_dev_admin_object(g->dev, BOX, 2));
	assert_null(vio_dev_load(g->dev, one, n));
	assert_int_equal(vio_dev_save(g->dev, two, sizeof two), n);
	assert_memory_equal(one, two, n);
	assert_true(vio_drv_resume(&g->drv));
	vio_loop_pump(&g->wire, UINT32_MAX);
	assert_true(things_are_there(g));
	is(object(g, DESTROY, 0x200, 2, NULL, 0), ST(EBUSY), Q(INVALID_COMMAND));	/* who depends on whom is known again */
	is(object(g, DESTROY, 0x201, 0, NULL, 0), ST(OK), Q(OK));
	is(object(g, DESTROY, 0x200, 2, NULL, 0), ST(OK), Q(OK));
	neighbour_serves(g);
	rig_close(g);
}

/* The whole part at, and how long it is; parts stand at any address. */
static size_t part_bytes(const unsigned char *at, uint16_t *type)
{
	struct vio_part_header h;

	memcpy(&h, at, sizeof h);
	*type = vio_le16_get(h.type);
	return sizeof h + vio_le32_get(h.length);
}

/* The n-th part of what was administered. */
static unsigned char *admin_part(unsigned char *state, size_t len, unsigned n)
{
	uint16_t type;

	for (size_t at = 0, bytes; at < len; at += bytes) {
		bytes = part_bytes(state + at, &type);
		if (type == VIO_PART_ADMIN && n-- == 0)
			return state + at;
	}
	fail();
	return NULL;
}

static void bad_states(void **state)
{
	static unsigned char good[4096], bad[4096], is_now[4096], after[4096];
	/* which part, and which byte of its header (selector: from 4) or value (from 16) becomes what */
	static const struct { const char *what; unsigned part, at; unsigned char v; } rows[] = {
		{ "a list with a command that there is not", 0, 16, 0xff },
		{ "a list of two lists is one too many", 1, 4, VIO_PART_ADMIN_LIST },
		{ "a kind that there is not", 1, 4, 3 },
		{ "another capability", 1, 6, 9 },
		{ "a flag that the device does not have", 1, 16, 1 },
		{ "a larger limit", 2, 16, 200 },
		{ "a limit below what there is", 2, 16, 2 },
		{ "a colour that there is not", 2, 16 + 12, 77 },
		{ "an object of another type", 4, 6, 9 },
		{ "an object of another id", 4, 8, 1 },		/* the lid's box is gone */
		{ "an object of an id that can't be", 4, 11, 0xff },
		{ "an object that the type does not want", 4, 16 + 5, 0xff },
		{ "a lid on another box", 5, 16, 1 },
		{ "a lid twice", 4, 6, 1 },
	};
	struct rig *g = suspendable();

	(void)state;
	things_are_made(g);
	size_t n = saved(g, good, sizeof good);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		memcpy(bad, good, n);
		unsigned char *part = admin_part(bad, n, rows[i].part);
		assert_int_not_equal(part[rows[i].at], rows[i].v);
		part[rows[i].at] = rows[i].v;
		if (!vio_dev_load(g->dev, bad, n))
			fail_msg("%s: loaded", rows[i].what);
		assert_int_equal(vio_dev_save(g->dev, is_now, sizeof is_now), n);
		assert_memory_equal(is_now, good, n);
	}
	/* parts in two places; and of a driver that has no such queue */
	uint16_t type;
	unsigned char *last = admin_part(good, n, 5);
	size_t whole = part_bytes(last, &type);
	memcpy(bad, last, whole);
	memcpy(bad + whole, good, n);
	assert_non_null(vio_dev_load(g->dev, bad, n + whole));
	memcpy(bad, good, n);
	for (size_t at = 0, bytes; at < n; at += bytes) {
		bytes = part_bytes(bad + at, &type);
		if (type == VIO_PART_DRV_FEATURES)
			bad[at + sizeof(struct vio_part_header) + VIO_F_ADMIN_VQ / 8] &= (unsigned char)~(1 << VIO_F_ADMIN_VQ % 8);
	}
	assert_non_null(vio_dev_load(g->dev, bad, n));
	assert_int_equal(vio_dev_save(g->dev, after, sizeof after), n);
	assert_memory_equal(after, good, n);
	assert_true(vio_drv_resume(&g->drv));
	vio_loop_pump(&g->wire, UINT32_MAX);
	assert_true(things_are_there(g));
	neighbour_serves(g);
	rig_close(g);
}

static const struct CMUnitTest tests[] = {
	T(only_if_negotiated, "there is a queue if ADMIN_VQ was negotiated"),
#if defined(RIG_PCI)
	T(registers_say_where, "registers say where the administration queues are {pci-dev-27; only us}"),
#endif
	T(a_device_without_room, "a device that has no room for the queue does not offer it"),
	T(a_type_that_has_nothing, "a type that has nothing to administer says so {admin-dev-1 admin-dev-3 admin-dev-54; only us}"),
	T(a_reset_forgets, "a reset forgets capabilities and objects {admin-dev-12 admin-dev-55 admin-dev-67; only us}"),
	T(a_queue_reset_forgets_nothing, "a reset of the queue forgets nothing, and the other serves on"),
	T(suspended_it_waits, "a suspended device waits with commands too"),
	T(broken_rings, "a ring that is broken breaks the queue alone, and a reset heals"),
	T(saved_and_loaded, "saved and loaded with the device, dependencies too"),
	T(bad_states, "states that no driver could have made are refused whole"),
};

int main(void) { return vio_tests("admin life", tests, sizeof tests / sizeof *tests); }
