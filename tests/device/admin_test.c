/* The administration virtqueue and the self group (virtio 1.4, sections 2.12 and 2.13), command by command. */
#include "admin_rig.h"

enum { ALL = 0x3f83, CREATE = CMD(RESOURCE_OBJ_CREATE), MODIFY = CMD(RESOURCE_OBJ_MODIFY), QUERY = CMD(RESOURCE_OBJ_QUERY),
	DESTROY = CMD(RESOURCE_OBJ_DESTROY) };

/* ---- Lists of commands ---- */

static void lists_of_commands(void **state)
{
	struct rig *g = admin_rig();

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(query_list(g), ALL);
		is(say(g, CMD(CAP_ID_LIST_QUERY), 0, 0, NULL, 0), ST(EINVAL), Q(INVALID_OPCODE));
		is(get_cap(g, 0x800), ST(EINVAL), Q(INVALID_OPCODE));
		is(use_list(g, 1 << CMD(CAP_ID_LIST_QUERY) | 3), ST(OK), Q(OK));
		is(say(g, CMD(CAP_ID_LIST_QUERY), 0, 0, NULL, 0), ST(OK), Q(OK));
		is(get_cap(g, 0x800), ST(EINVAL), Q(INVALID_OPCODE));
		assert_int_equal(query_list(g), ALL);		/* what is used takes nothing from what there is */
		is(use_list(g, ALL), ST(OK), Q(OK));
		is(get_cap(g, 0x800), ST(OK), Q(OK));
		is(use_list(g, 1 << CMD(DEVICE_CAP_GET)), ST(OK), Q(OK));
		is(say(g, CMD(LIST_QUERY), 0, 0, NULL, 0), ST(EINVAL), Q(INVALID_OPCODE));
		is(use_list(g, ALL), ST(EINVAL), Q(INVALID_OPCODE));		/* for good */
		is(get_cap(g, 0x800), ST(OK), Q(OK));
		rig_reset(g);
		admin_start(g, BITS(VIO_F_RING_PACKED));
	}
	rig_close(g);
}

static void lists_that_can_not_be(void **state)
{
	static const struct { const char *what; uint64_t list[2]; size_t n; uint16_t status; } rows[] = {
		{ "a command nobody has", { ALL | UINT64_C(1) << 18 }, 8, ST(EINVAL) },
		{ "the legacy interface's", { ALL | 1 << 2 }, 8, ST(EINVAL) },
		{ "device parts, the SR-IOV group's", { ALL | 1 << 0x10 }, 8, ST(EINVAL) },
		{ "the last bit", { UINT64_C(1) << 63 }, 8, ST(EINVAL) },
		{ "every bit", { UINT64_MAX, UINT64_MAX }, 16, ST(EINVAL) },
		{ "zeroes behind", { ALL, 0 }, 16, ST(OK) },
		{ "one byte of it: the two lists and one more", { 0x83 }, 1, ST(OK) },
	};
	struct rig *g = admin_rig();

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		vio_le64 wire[2] = { vio_le64_of(rows[i].list[0]), vio_le64_of(rows[i].list[1]) };
		is(use_list(g, 0x83), ST(OK), Q(OK));
		uint64_t refused = rig_refused(g, admin_index(g));
		struct reply a = say(g, CMD(LIST_USE), 0, 0, wire, rows[i].n);
		if (a.status != rows[i].status || a.qualifier != (a.status ? Q(INVALID_FIELD) : Q(OK)))
			fail_msg("%s: %u %u", rows[i].what, a.status, a.qualifier);
		assert_int_equal(rig_refused(g, admin_index(g)) - refused, a.status != 0);
		assert_int_equal(g->dev->admin_used, a.status ? 0x83 : rows[i].n == 1 ? 0x83 : ALL);
	}
	rig_close(g);
}

/* ---- Heads ---- */

static size_t save(struct rig *g, unsigned char *to, size_t room)
{
	size_t n = vio_dev_save(g->dev, to, room);

	assert_true(n <= room);
	return n;
}

/* group before opcode before member, whatever else is wrong; nothing has changed, and the next command is served. */
static void heads_that_can_not_be(void **state)
{
	static const struct { const char *what; uint16_t opcode, group; uint64_t member; uint16_t qualifier; } rows[] = {
		{ "virtual functions, of which there are none", CMD(LIST_QUERY), 1, 1, Q(INVALID_GROUP) },
		{ "their list to be used", CMD(LIST_USE), 1, 0, Q(INVALID_GROUP) },
		{ "capabilities of a virtual function", CMD(CAP_ID_LIST_QUERY), 1, 1, Q(INVALID_GROUP) },
		{ "a virtual function's capability", CMD(DEVICE_CAP_GET), 1, 1, Q(INVALID_GROUP) },
		{ "setting a virtual function's capability", CMD(DRIVER_CAP_SET), 1, 1, Q(INVALID_GROUP) },
		{ "a group nobody knows", CMD(LIST_QUERY), 2, 0, Q(INVALID_GROUP) },
		{ "the last group, an opcode, a member", 0xffff, 0xffff, UINT64_MAX, Q(INVALID_GROUP) },
		{ "an opcode nobody knows, a member", 0x12, 0, 7, Q(INVALID_OPCODE) },
		{ "an opcode beyond the list", 64, 0, 0, Q(INVALID_OPCODE) },
		{ "an opcode that would be another one in 64 bits", 64 + CMD(LIST_USE), 0, 0, Q(INVALID_OPCODE) },
		{ "an opcode of another structure", 0x8000, 0, 0, Q(INVALID_OPCODE) },
		{ "the last opcode", 0xffff, 0, 0, Q(INVALID_OPCODE) },
		{ "a legacy command", 2, 0, 0, Q(INVALID_OPCODE) },
		{ "device parts", 0xe, 0, 0, Q(INVALID_OPCODE) },
		{ "a member that is not 0", CMD(CAP_ID_LIST_QUERY), 0, 1, Q(INVALID_MEMBER) },
		{ "a large member", CMD(DEVICE_CAP_GET), 0, UINT64_C(1) << 32, Q(INVALID_MEMBER) },
		{ "a member, to set", CMD(DRIVER_CAP_SET), 0, UINT64_MAX, Q(INVALID_MEMBER) },
		{ "a member, to create", CREATE, 0, 1, Q(INVALID_MEMBER) },
		{ "a member, to modify", MODIFY, 0, 1, Q(INVALID_MEMBER) },
		{ "a member, to query", QUERY, 0, 1, Q(INVALID_MEMBER) },
		{ "a member, to destroy", DESTROY, 0, 1, Q(INVALID_MEMBER) },
		{ "a member, where it is not used", CMD(LIST_QUERY), 0, 1, Q(OK) },
	};
	static unsigned char before[4096], after[4096];
	struct rig *g = admin_rig();

	(void)state;
	all_in_use(g);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint64_t refused = rig_refused(g, admin_index(g));
		size_t n = save(g, before, sizeof before);
		struct reply a = say(g, rows[i].opcode, rows[i].group, rows[i].member, NULL, 0);
		if (a.qualifier != rows[i].qualifier || a.status != (rows[i].qualifier ? ST(EINVAL) : ST(OK)))
			fail_msg("%s: %u %u", rows[i].what, a.status, a.qualifier);
		assert_int_equal(rig_refused(g, admin_index(g)) - refused, rows[i].qualifier != Q(OK));
		assert_true(save(g, after, sizeof after) == n && memcmp(before, after, n) == 0);
		assert_false(vio_dev_status(g->dev) & VIO_S_NEEDS_RESET);
		assert_int_equal(query_list(g), ALL);
	}
	rig_close(g);
}

/* ---- Buffers ---- */

static void buffers_that_are_short_or_long(void **state)
{
	unsigned char bytes[1024] = { 0 };
	struct rig *g = admin_rig();
	struct vio_admin_cap_id ask = { vio_le16_of(0x800), { 0 } };

	(void)state;
	all_in_use(g);
	size_t whole = command(bytes, CMD(DEVICE_CAP_GET), 0, 0, &ask, sizeof ask);
	for (size_t w = 0; w <= 48; w++) {	/* 8 and 20 bytes and what fills the word */
		struct reply a = exchange_on(g, admin_index(g), bytes, whole, 0, w, 0);
		assert_int_equal(a.used, w < 32 ? w : 32);
		if (w >= 4)
			is(a, ST(OK), Q(OK));
		if (w >= 32) {
			assert_memory_equal(a.result, whole_store(), sizeof(struct store_value));
			assert_int_equal(vio_admin_number(a.result + 20, 4), 0);
		}
	}
	for (size_t r = 1; r <= whole; r++) {	/* what is missing is zero: another opcode, another capability */
		struct reply a = exchange_on(g, admin_index(g), bytes, r, 0, 64, 0);
		if (r <= 24)
			is(a, ST(ENXIO), Q(INVALID_FIELD));	/* capability 0 */
		else if (r == 25)
			is(a, ST(ENXIO), Q(INVALID_FIELD));
		else
			is(a, ST(OK), Q(OK));
	}
	memset(bytes + whole, 0xff, sizeof bytes - whole);	/* not looked at */
	for (size_t r = whole; r <= sizeof bytes; r += 31)
		is(exchange_on(g, admin_index(g), bytes, r, 0, 64, 0), ST(OK), Q(OK));
	struct reply a = exchange_on(g, admin_index(g), NULL, 0, 0, 64, 0);		/* nothing at all: all zero */
	is(a, ST(OK), Q(OK));
	assert_int_equal(vio_admin_number(a.result, 8), ALL);
	struct box b = box_of(1, 2);
	struct vio_admin_object head = { { vio_le16_of(0x200), { 0 }, vio_le32_of(3) }, { 0 } };
	memset(bytes, 0, sizeof bytes);
	command(bytes, CREATE, 0, 0, &head, sizeof head);
	memcpy(bytes + 40, &b, sizeof b);
	assert_int_equal(exchange_on(g, admin_index(g), bytes, sizeof bytes, 0, 0, 0).used, 0);	/* done, and nobody is told */
	a = object(g, QUERY, 0x200, 3, NULL, 0);
	is(a, ST(OK), Q(OK));
	assert_int_equal(a.used, 16);
	assert_memory_equal(a.result, &b, sizeof b);
	rig_close(g);
}

static void buffers_in_pieces(void **state)
{
	unsigned char bytes[64] = { 0 };
	struct vio_admin_cap_id ask = { vio_le16_of(0x800), { 0 } };
	struct rig *g = admin_rig();

	(void)state;
	all_in_use(g);
	size_t n = command(bytes, CMD(DEVICE_CAP_GET), 0, 0, &ask, sizeof ask);
	for (size_t cut = 1; cut < 33; cut++) {
		struct reply a = exchange_on(g, admin_index(g), bytes, n, cut, 32, 33 - cut);
		is(a, ST(OK), Q(OK));
		assert_memory_equal(a.result, whole_store(), sizeof(struct store_value));
	}
	rig_close(g);
}

static void commands_in_order(void **state)
{
	enum { ROUNDS = RIG_SIZE / 16 };	/* of 8 commands, each of two descriptors */
	static const uint16_t opcodes[] = { CREATE, QUERY, MODIFY, QUERY, DESTROY, QUERY, CREATE, DESTROY };
	static const uint16_t statuses[] = { ST(OK), ST(OK), ST(OK), ST(OK), ST(OK), ST(ENXIO), ST(OK), ST(OK) };
	struct rig *g = admin_rig();
	uint16_t queue = admin_index(g);
	struct box first = box_of(1, 2), second = box_of(9, 9);
	unsigned char *w[8 * ROUNDS];
	uint32_t used;

	(void)state;
	all_in_use(g);
	rig_rewind(g);
	for (unsigned i = 0; i < 8 * ROUNDS; i++) {
		struct { struct vio_admin_object head; struct box b; } o = {
			.head.at.type = vio_le16_of(0x200), .b = i % 8 < 2 ? first : second };
		unsigned char *r = rig_take(g, 64);
		size_t n = command(r, opcodes[i % 8], 0, 0, &o, sizeof o);
		w[i] = rig_take(g, 16);
		assert_true(rig_add(g, queue, r, n, 0, w[i], 16, 0));
	}
	rig_kick(g, queue);
	for (unsigned i = 0; i < 8 * ROUNDS; i++) {
		assert_ptr_equal(rig_get(g, queue, &used), w[i]);
		assert_int_equal(vio_admin_number(w[i], 2), statuses[i % 8]);
		if (opcodes[i % 8] == QUERY && !statuses[i % 8])
			assert_memory_equal(w[i] + 8, i % 8 == 1 ? &first : &second, sizeof first);
	}
	rig_close(g);
}

/* ---- Capabilities ---- */

static void capabilities_are_listed_and_told(void **state)
{
	struct rig *g = admin_rig();

	(void)state;
	all_in_use(g);
	struct reply a = say(g, CMD(CAP_ID_LIST_QUERY), 0, 0, NULL, 0);
	is(a, ST(OK), Q(OK));
	assert_int_equal(a.used, 8 + (0x842 / 64 + 1) * 8);
	for (unsigned id = 0; id < (a.used - 8) * 8; id++)
		assert_int_equal(a.result[id / 8] >> id % 8 & 1, id == 3 || id == 0x800 || id == 0x842);
	a = get_cap(g, 0x800);
	is(a, ST(OK), Q(OK));
	assert_memory_equal(a.result, whole_store(), sizeof(struct store_value));
	a = get_cap(g, 3);
	assert_int_equal(a.used, 16);
	assert_int_equal(vio_admin_number(a.result, 8), SMELLS);
	static const uint16_t others[] = { 0, 2, 4, 0x7ff, 0x801, 0x843, 0xfff, 0x1000, 0xffff };
	for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
		is(get_cap(g, others[i]), ST(ENXIO), Q(INVALID_FIELD));
		is(set_cap(g, others[i], "", 1), ST(ENXIO), Q(INVALID_FIELD));
	}
	rig_close(g);
}

static void capabilities_are_set_within(void **state)
{
	static const struct { const char *what; struct store_value v; uint16_t status; } rows[] = {
		{ "all there is", { { BOXES }, { LIDS }, { STORE_FLAGS }, STORE_DEPTH, 3, { 1, 2, 5 } }, ST(OK) },
		{ "less of each number", { { BOXES - 1 }, { 1 }, { STORE_FLAGS }, 0, 3, { 1, 2, 5 } }, ST(OK) },
		{ "one flag of three", { { BOXES }, { LIDS }, { 0x0100 }, STORE_DEPTH, 0, { 0 } }, ST(OK) },
		{ "two of the array, in another order", { { 1 }, { 1 }, { 1 }, 1, 2, { 5, 1 } }, ST(OK) },
		{ "nothing", { .depth = 0 }, ST(OK) },
		{ "one box too many", { { BOXES + 1 }, { LIDS }, { STORE_FLAGS }, STORE_DEPTH, 0, { 0 } }, ST(EINVAL) },
		{ "all the lids of the world", { { 0 }, { UINT32_MAX }, { 0 }, 0, 0, { 0 } }, ST(EINVAL) },
		{ "deeper", { { 0 }, { 0 }, { 0 }, STORE_DEPTH + 1, 0, { 0 } }, ST(EINVAL) },
		{ "a flag that is not there", { { 1 }, { 1 }, { 0x0104 }, 1, 0, { 0 } }, ST(EINVAL) },
		{ "a colour that is not there", { { 1 }, { 1 }, { 1 }, 1, 2, { 1, 3 } }, ST(EINVAL) },
		{ "more colours than there is room for", { { 1 }, { 1 }, { 1 }, 1, 255, { 1, 1, 1, 1, 1, 1, 1, 1 } }, ST(EINVAL) },
	};
	struct rig *g = admin_rig();

	(void)state;
	all_in_use(g);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(set_cap(g, 0x800, whole_store(), sizeof(struct store_value)).status, ST(OK));
		struct reply a = set_cap(g, 0x800, &rows[i].v, sizeof rows[i].v);
		if (a.status != rows[i].status || a.qualifier != (a.status ? Q(INVALID_FIELD) : Q(OK)))
			fail_msg("%s: %u %u", rows[i].what, a.status, a.qualifier);
		const void *is_now = a.status ? (const void *)whole_store() : &rows[i].v;
		assert_memory_equal(vio_dev_admin_cap(g->dev, CAP_STORE), is_now, sizeof rows[i].v);
	}
	rig_close(g);
}

/* ---- Resource objects ---- */

static void objects_live(void **state)
{
	struct rig *g = admin_rig();
	struct box b[BOXES];

	(void)state;
	all_in_use(g);
	for (unsigned round = 0; round < 3; round++) {		/* all of them, in any order of ids, and again */
		for (uint32_t i = 0; i < BOXES; i++) {
			uint32_t id = (i * 3 + round) % BOXES;
			b[id] = box_of((uint16_t)(id + round), id);
			is(object(g, CREATE, 0x200, id, &b[id], sizeof *b), ST(OK), Q(OK));
			is(object(g, CREATE, 0x200, id, &b[id], sizeof *b), ST(EEXIST), Q(INVALID_FIELD));
		}
		is(object(g, CREATE, 0x200, BOXES, b, sizeof *b), ST(ENOSPC), Q(NORESOURCE));
		is(object(g, CREATE, 0x200, UINT32_MAX, b, sizeof *b), ST(ENOSPC), Q(NORESOURCE));
		for (uint32_t id = 0; id < BOXES; id++) {
			struct reply a = object(g, QUERY, 0x200, id, NULL, 0);
			is(a, ST(OK), Q(OK));
			assert_memory_equal(a.result, &b[id], sizeof *b);
			b[id] = box_of(7, id * 2);
			is(object(g, MODIFY, 0x200, id, &b[id], sizeof *b), ST(OK), Q(OK));
			assert_memory_equal(object(g, QUERY, 0x200, id, NULL, 0).result, &b[id], sizeof *b);
		}
		for (uint32_t id = BOXES; id--; )
			is(object(g, DESTROY, 0x200, id, NULL, 0), ST(OK), Q(OK));
		for (uint32_t id = 0; id <= BOXES; id++) {
			is(object(g, QUERY, 0x200, id, NULL, 0), ST(ENXIO), Q(INVALID_FIELD));
			is(object(g, MODIFY, 0x200, id, b, sizeof *b), ST(ENXIO), Q(INVALID_FIELD));
			is(object(g, DESTROY, 0x200, id, NULL, 0), ST(ENXIO), Q(INVALID_FIELD));
		}
	}
	rig_close(g);
}

static void objects_that_can_not_be(void **state)
{
	static const struct {
		const char *what;
		uint16_t opcode, type;
		uint32_t id;
		unsigned char data[24];
		uint16_t status, qualifier;
	} rows[] = {
		{ "a type nobody knows", CREATE, 0x202, 0, { 0 }, ST(ENXIO), Q(INVALID_FIELD) },
		{ "device parts", CREATE, 0, 0, { 0 }, ST(ENXIO), Q(INVALID_FIELD) },
		{ "the last type", QUERY, 0xffff, 0, { 0 }, ST(ENXIO), Q(INVALID_FIELD) },
		{ "a type nobody knows, to modify", MODIFY, 0x202, 0, { 0 }, ST(ENXIO), Q(INVALID_FIELD) },
		{ "a type nobody knows, to destroy", DESTROY, 0x202, 0, { 0 }, ST(ENXIO), Q(INVALID_FIELD) },
		{ "a box too heavy", CREATE, 0x200, 1, { 1, 0, 0xe9, 3 }, ST(EINVAL), Q(INVALID_FIELD) },
		{ "a box for which there is no memory", CREATE, 0x200, 1, { 1, 0, 0xd0, 7 }, ST(ENOMEM), Q(NORESOURCE) },
		{ "a box not now", CREATE, 0x200, 1, { 1, 0, 0xb8, 0xb }, ST(EAGAIN), Q(TRYAGAIN) },
		{ "a box made too heavy", MODIFY, 0x200, 3, { 1, 0, 0xff, 0xff, 0xff, 0xff }, ST(EINVAL), Q(INVALID_FIELD) },
		{ "a box changed for which there is no memory", MODIFY, 0x200, 3, { 1, 0, 0xd0, 7 }, ST(ENOMEM), Q(NORESOURCE) },
		{ "a box changed not now", MODIFY, 0x200, 3, { 1, 0, 0xb8, 0xb }, ST(EAGAIN), Q(TRYAGAIN) },
		{ "a box with a lid, to modify", MODIFY, 0x200, 0, { 1 }, ST(EBUSY), Q(INVALID_COMMAND) },
		{ "a box with a lid, to destroy", DESTROY, 0x200, 0, { 0 }, ST(EBUSY), Q(INVALID_COMMAND) },
		{ "a lid with a sticker, to destroy", DESTROY, 0x201, 1, { 0 }, ST(EBUSY), Q(INVALID_COMMAND) },
		{ "a lid on a box that there is not", CREATE, 0x201, 0, { 2 }, ST(EINVAL), Q(INVALID_FIELD) },
		{ "a lid on a box that there can't be", CREATE, 0x201, 0, { 0xff, 0xff, 0xff, 0xff }, ST(EINVAL), Q(INVALID_FIELD) },
		{ "a lid moved to a box that there is not", MODIFY, 0x201, 2, { 1 }, ST(EINVAL), Q(INVALID_FIELD) },
		{ "a sticker on a lid that there is not", CREATE, 0x2ff, 1, { 0, 0, 0, 0, 0 }, ST(EINVAL), Q(INVALID_FIELD) },
		{ "a lid beyond the driver's limit", CREATE, 0x201, 3, { 0 }, ST(ENOSPC), Q(NORESOURCE) },
	};
	static unsigned char before[4096], after[4096];
	struct rig *g = admin_rig();
	struct box b = box_of(1, 1);
	struct lid on_0 = { { 0 }, "round" };
	struct sticker s = { { 3 }, { 1 }, "fragile" };

	(void)state;
	all_in_use(g);
	is(object(g, CREATE, 0x200, 0, &b, sizeof b), ST(OK), Q(OK));
	is(object(g, CREATE, 0x200, 3, &b, sizeof b), ST(OK), Q(OK));
	is(object(g, CREATE, 0x201, 1, &on_0, sizeof on_0), ST(OK), Q(OK));
	is(object(g, CREATE, 0x201, 2, &on_0, sizeof on_0), ST(OK), Q(OK));
	is(object(g, CREATE, 0x2ff, 0, &s, sizeof s), ST(OK), Q(OK));
	is(object(g, MODIFY, 0x2ff, 0, &(struct sticker){ { 0 }, { 1 }, "heavy" }, sizeof s), ST(OK), Q(OK));	/* from box 3 to box 0 */
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = save(g, before, sizeof before);
		struct reply a = object(g, rows[i].opcode, rows[i].type, rows[i].id, rows[i].data, sizeof rows[i].data);
		if (a.status != rows[i].status || a.qualifier != rows[i].qualifier)
			fail_msg("%s: %u %u", rows[i].what, a.status, a.qualifier);
		assert_int_equal(a.used, 8);
		assert_true(save(g, after, sizeof after) == n && memcmp(before, after, n) == 0);
	}
	static const struct { uint16_t type; uint32_t id; } backwards[] = {
		{ 0x2ff, 0 }, { 0x201, 2 }, { 0x201, 1 }, { 0x200, 3 }, { 0x200, 0 } };
	for (unsigned i = 0; i < sizeof backwards / sizeof *backwards; i++)
		is(object(g, DESTROY, backwards[i].type, backwards[i].id, NULL, 0), ST(OK), Q(OK));
	rig_close(g);
}

/* Without its capability there are no objects; with it no more than the driver said; and it stays while there are any. */
static void objects_need_their_capability(void **state)
{
	struct store_value few = { { 2 }, { 0 }, { 0 }, 0, 0, { 0 } };
	struct rig *g = admin_rig();
	struct box b = box_of(1, 1);

	(void)state;
	is(use_list(g, ALL), ST(OK), Q(OK));
	static const uint16_t opcodes[] = { CREATE, MODIFY, QUERY, DESTROY };
	for (unsigned i = 0; i < 4; i++)
		is(object(g, opcodes[i], 0x200, 0, &b, sizeof b), ST(EINVAL), Q(INVALID_OPCODE));
	is(set_cap(g, 0x800, &few, sizeof few), ST(OK), Q(OK));
	is(object(g, CREATE, 0x200, 2, &b, sizeof b), ST(ENOSPC), Q(NORESOURCE));
	is(object(g, CREATE, 0x201, 0, "", 1), ST(ENOSPC), Q(NORESOURCE));
	is(object(g, CREATE, 0x2ff, 0, "", 1), ST(EINVAL), Q(INVALID_OPCODE));	/* the second capability it needs */
	is(object(g, CREATE, 0x200, 1, &b, sizeof b), ST(OK), Q(OK));
	is(set_cap(g, 0x800, &(struct store_value){ .depth = 0 }, sizeof few), ST(EBUSY), Q(INVALID_COMMAND));
	is(set_cap(g, 0x800, whole_store(), sizeof few), ST(EBUSY), Q(INVALID_COMMAND));
	is(set_cap(g, 0x842, "\2", 1), ST(OK), Q(OK));		/* nothing stands on this one */
	is(object(g, DESTROY, 0x200, 1, NULL, 0), ST(OK), Q(OK));
	is(set_cap(g, 0x800, &(struct store_value){ .depth = 0 }, sizeof few), ST(OK), Q(OK));
	is(object(g, CREATE, 0x200, 0, &b, sizeof b), ST(ENOSPC), Q(NORESOURCE));
	rig_close(g);
}

static const struct CMUnitTest tests[] = {
	T(lists_of_commands, "after a reset the two lists, then what the driver says it uses {admin-dev-5 admin-dev-6 admin-dev-12 admin-dev-13 admin-dev-14 admin-dev-15 admin-dev-17 admin-dev-18; only us}"),
	T(lists_that_can_not_be, "lists with commands that there are not are refused {admin-dev-9; only us}"),
	T(heads_that_can_not_be, "group, opcode, member: the first that is wrong is told, and nothing changes {admin-dev-1 admin-dev-2 admin-dev-3 admin-dev-4 admin-dev-6 admin-dev-7 admin-dev-20 admin-dev-51 admin-dev-52; only us}"),
	T(buffers_that_are_short_or_long, "short and long buffers: zeroes, and nothing beyond {admin-dev-21 admin-dev-21a admin-dev-21b admin-dev-22 admin-dev-22a admin-dev-22b admin-dev-23 admin-dev-24 admin-dev-25 admin-dev-26; only us}"),
	T(buffers_in_pieces, "buffers cut anywhere"),
	T(commands_in_order, "a queue's commands are carried out in order {admin-dev-27 admin-dev-61; only us}"),
	T(capabilities_are_listed_and_told, "capabilities are listed and told, others are not there {admin-dev-47 admin-dev-54; only us}"),
	T(capabilities_are_set_within, "a driver sets as much of a capability as there is, or less {admin-dev-48 admin-dev-49 admin-dev-50; only us}"),
	T(objects_live, "objects are made, changed, asked for, destroyed and made again {admin-dev-57 admin-dev-58 admin-dev-59 admin-dev-61 admin-dev-62 admin-dev-64 admin-dev-66; only us}"),
	T(objects_that_can_not_be, "objects that can't be are refused, and nothing changes {admin-dev-8 admin-dev-29 admin-dev-58 admin-dev-59 admin-dev-60 admin-dev-65; only us}"),
	T(objects_need_their_capability, "no objects without their capability, and no other capability while there are objects {admin-dev-53 admin-dev-56; only us}"),
};

int main(void) { return vio_tests("admin", tests, sizeof tests / sizeof *tests); }
