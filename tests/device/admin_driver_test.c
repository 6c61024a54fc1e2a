/*
 * Administering a device beside its driver (driver/admin.h), which is the entropy driver here: against the made-up device, which
 * stands in for one, and against devices that lie.
 */
#include "admin_rig.h"
#include <vio/driver/admin.h>
#include <vio/driver/rng.h>

/* The made-up device under a name that there is a driver for. */
static struct vio_dev_type disguised;

enum { AT_ADMIN = RIG_BYTES / 2 };

struct duo { struct rig *g; struct vio_rng *rng; struct vio_admin *a; };

static struct vio_admin *admin_of(struct rig *g) { return (struct vio_admin *)(g->bytes + AT_ADMIN); }

static bool start(struct duo *d) { return vio_rng_start(d->rng, &d->g->wire.port); }

static struct duo opened(void)
{
	struct duo d = { .g = rig_new() };

	disguised = made_up;
	disguised.id = VIO_ID_RNG;
	assert_null(rig_open(d.g, &disguised, &no_options));
	d.rng = rig_take(d.g, sizeof *d.rng);
	d.a = admin_of(d.g);
	d.g->wire.port.admin = d.a;
	return d;
}

static struct duo started(void)
{
	struct duo d = opened();

	assert_true(start(&d));
	assert_true(vio_admin_ready(d.a) && vio_admin_begin(d.a));
	return d;
}

static void close_duo(struct duo *d)
{
	assert_true(vio_rng_stop(d->rng));
	assert_false(vio_admin_ready(d->a));
	assert_int_equal(d->g->maps, 0);
	rig_close(d->g);
}

static void rng_serves(struct duo *d)
{
	unsigned char *buf = d->g->bytes + AT_ADMIN - 64;
	assert_int_equal(vio_rng_read(d->rng, buf, 32), 32);
}

struct kinds {
	struct vio_admin_cap smells, store, stickers;
	struct vio_admin_kind box, lid, sticker;
	uint64_t boxes[1], lids[1], stuck[1];
};

static void know(struct kinds *k)
{
	memset(k, 0, sizeof *k);
	k->smells = (struct vio_admin_cap){ .id = 0x003, .bytes = 8, .field = smell_fields, .fields = 1 };
	k->store = (struct vio_admin_cap){ .id = 0x800, .bytes = sizeof(struct store_value), .field = store_fields, .fields = 4 };
	k->stickers = (struct vio_admin_cap){ .id = 0x842, .bytes = 4, .field = sticker_fields, .fields = 1 };
	k->box = (struct vio_admin_kind){ .type = 0x200, .cap = { &k->store }, .made = k->boxes, .words = 1 };
	k->lid = (struct vio_admin_kind){ .type = 0x201, .cap = { &k->store }, .limit_at = 4, .made = k->lids, .words = 1 };
	k->sticker = (struct vio_admin_kind){ .type = 0x2ff, .cap = { &k->stickers, &k->store }, .made = k->stuck, .words = 1 };
}

static uint64_t commands(struct duo *d) { return d->g->dev->queue[d->g->dev->queues].ring.stats.chains; }

/* ---- What works ---- */

static void beside_any_driver(void **state)
{
	struct duo d = opened();

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		assert_true(start(&d));
		assert_true(vio_admin_ready(d.a));
		assert_int_equal(d.a->queue, 1);
		rng_serves(&d);
		assert_true(vio_admin_begin(d.a));
		assert_int_equal(d.a->supported, 0x3f83);
		assert_int_equal(d.g->dev->admin_used, 0x3f83);
		rng_serves(&d);
		assert_true(vio_rng_stop(d.rng));
		assert_false(vio_admin_ready(d.a));
		assert_int_equal(d.g->maps, 0);
	}
	d.g->wire.port.admin = NULL;		/* and without it */
	assert_true(start(&d));
	assert_false(vio_has(d.g->dev->accepted, VIO_F_ADMIN_VQ));
	rng_serves(&d);
	close_duo(&d);
}

/* A list of commands is asked for, then told; nothing else goes before. */
static void lists_come_first(void **state)
{
	struct duo d = opened();
	unsigned char value[20];
	uint32_t got;

	(void)state;
	assert_int_equal(vio_admin_command(d.a, CMD(LIST_QUERY), 0, 0, NULL, 0, value, 8, &got), VIO_ADMIN_STATUS_NO_ANSWER);
	assert_true(start(&d));
	assert_int_equal(vio_admin_cap_get(d.a, 0x800, value, sizeof value), ST(EINVAL));
	assert_int_equal(commands(&d), 0);		/* it was not sent */
	assert_true(vio_admin_begin(d.a));
	assert_int_equal(commands(&d), 2);
	assert_int_equal(vio_admin_command(d.a, 2, 0, 0, NULL, 0, NULL, 0, &got), ST(EINVAL));	/* not in use */
	assert_int_equal(vio_admin_command(d.a, 100, 0, 0, NULL, 0, NULL, 0, &got), ST(EINVAL));
	assert_int_equal(commands(&d), 2);
	assert_int_equal(vio_admin_command(d.a, CMD(LIST_QUERY), VIO_ADMIN_GROUP_SR_IOV, 1, NULL, 0, value, 8, &got), ST(EINVAL));
	assert_int_equal(d.a->qualifier, Q(INVALID_GROUP));
	assert_int_equal(vio_admin_cap_get(d.a, 0x800, value, sizeof value), ST(OK));
	assert_memory_equal(value, whole_store(), sizeof value);
	assert_true(vio_admin_cap_has(d.a, 3) && vio_admin_cap_has(d.a, 0x842) && !vio_admin_cap_has(d.a, 0x841));
	close_duo(&d);
}

static void capabilities_and_objects(void **state)
{
	struct duo d = started();
	struct kinds k;
	struct store_value more = *whole_store(), less = { { 2 }, { 1 }, { 1 }, 0, 1, { 5 } };
	struct box b = box_of(2, 3), back;
	uint32_t got;

	(void)state;
	know(&k);
	assert_int_equal(vio_admin_create(d.a, &k.box, 0, &b, sizeof b), ST(ENOSPC));	/* no capability: not sent */
	uint64_t n = commands(&d);
	more.boxes = vio_le32_of(BOXES + 1);
	assert_int_equal(vio_admin_cap_set(d.a, &k.store, &more), ST(EINVAL));
	more = *whole_store();
	more.flags = vio_le16_of(0x8000);
	assert_int_equal(vio_admin_cap_set(d.a, &k.store, &more), ST(EINVAL));
	assert_int_equal(commands(&d), n + 2);		/* asked for what there is, and did not send more than that */
	assert_int_equal(vio_admin_cap_set(d.a, &k.store, &less), ST(OK));
	assert_int_equal(vio_admin_create(d.a, &k.box, 1, &b, sizeof b), ST(OK));
	n = commands(&d);
	assert_int_equal(vio_admin_create(d.a, &k.box, 1, &b, sizeof b), ST(EEXIST));
	assert_int_equal(vio_admin_create(d.a, &k.box, 2, &b, sizeof b), ST(ENOSPC));
	assert_int_equal(vio_admin_create(d.a, &k.box, 200, &b, sizeof b), ST(ENOSPC));
	assert_int_equal(vio_admin_create(d.a, &k.sticker, 0, &b, sizeof b), ST(ENOSPC));
	assert_int_equal(vio_admin_cap_set(d.a, &k.store, whole_store()), ST(EBUSY));
	assert_int_equal(vio_admin_modify(d.a, &k.box, 0, &b, sizeof b), ST(ENXIO));
	assert_int_equal(vio_admin_query(d.a, &k.box, 0, &back, sizeof back, &got), ST(ENXIO));
	assert_int_equal(vio_admin_destroy(d.a, &k.box, 0), ST(ENXIO));
	assert_int_equal(commands(&d), n);		/* none of these was sent */
	assert_int_equal(vio_admin_query(d.a, &k.box, 1, &back, sizeof back, &got), ST(OK));
	assert_true(got == sizeof back && memcmp(&b, &back, sizeof b) == 0);
	b = box_of(7, 7);
	assert_int_equal(vio_admin_modify(d.a, &k.box, 1, &b, sizeof b), ST(OK));
	struct lid l = { { 1 }, "flat" };
	assert_int_equal(vio_admin_create(d.a, &k.lid, 0, &l, sizeof l), ST(OK));
	assert_int_equal(vio_admin_destroy(d.a, &k.box, 1), ST(EBUSY));
	assert_int_equal(vio_admin_destroy(d.a, &k.lid, 0), ST(OK));
	assert_int_equal(vio_admin_destroy(d.a, &k.box, 1), ST(OK));
	assert_int_equal(vio_admin_cap_set(d.a, &k.store, whole_store()), ST(OK));
	assert_int_equal(vio_admin_create(d.a, &k.box, 3, &b, sizeof b), ST(OK));
	/* A reset: nothing of this is there any more, and the driver knows. */
	assert_true(vio_rng_stop(d.rng));
	assert_true(start(&d) && vio_admin_begin(d.a));
	assert_int_equal(vio_admin_query(d.a, &k.box, 3, &back, sizeof back, &got), ST(ENXIO));
	assert_int_equal(vio_admin_create(d.a, &k.box, 3, &b, sizeof b), ST(ENOSPC));
	assert_int_equal(vio_admin_cap_set(d.a, &k.store, whole_store()), ST(OK));
	assert_int_equal(vio_admin_create(d.a, &k.box, 3, &b, sizeof b), ST(OK));
	close_duo(&d);
}

/* ---- What a driver sends ---- */

static void parts_are_whole_words(void **state)
{
	struct duo d = started();
	uint32_t got;
	unsigned char result[64];

	(void)state;
	for (uint32_t n = 0; n < 20; n++)
		for (uint32_t room = 0; room < 20; room++) {
			struct vio_devq_stats before = d.g->dev->queue[1].ring.stats;
			vio_admin_command(d.a, CMD(LIST_QUERY), 0, 0, whole_store(), n, result, room, &got);
			struct vio_devq_stats after = d.g->dev->queue[1].ring.stats;
			assert_int_equal(after.chains - before.chains, 1);
			assert_true((after.bytes_r - before.bytes_r) % 8 == 0 && after.bytes_r - before.bytes_r >= 24 + n);
			assert_true(got <= room && got == (room < 8 ? room : 8));
		}
	close_duo(&d);
}

/* ---- Devices that lie ---- */

struct lie { const char *what; unsigned char head[8]; uint32_t used; unsigned times; uint16_t status, qualifier; };

static const struct lie *lie;
static unsigned lies;

static struct vio_drv_port_ops lying;
static const struct vio_drv_port_ops *honest;

/* Rewrites answers behind the device's back, once they are there. */
static void tell_lies(struct vio_drv_port *p, uint16_t queue, uint32_t notification)
{
	struct rig *g = (struct rig *)p;	/* the wire is its first member */
	struct vio_admin *a = admin_of(g);

	honest->kick(p, queue, notification);
	if (!lie || queue != 1 || lies >= lie->times)
		return;
	lies++;
	memcpy(a->out, lie->head, sizeof lie->head);
	struct vio_split_used *used = a->q.place.device;
	used->ring[(vio_le16_get(used->idx) - 1) & (a->q.size - 1)].len = vio_le32_of(lie->used);
}

static void answers_that_no_one_expects(void **state)
{
	static const struct lie rows[] = {
		{ "a status that is reserved", { 1, 0, 3, 0 }, 8, 1, ST(EINVAL), Q(INVALID_FIELD) },
		{ "the last status", { 0xff, 0xff, 0, 0 }, 8, 1, ST(EINVAL), Q(OK) },
		{ "a qualifier that is reserved", { 22, 0, 8, 0 }, 8, 1, ST(EINVAL), Q(INVALID_COMMAND) },
		{ "both", { 99, 1, 0xff, 0xff }, 8, 1, ST(EINVAL), Q(INVALID_COMMAND) },
		{ "busy", { 16, 0, 1, 0 }, 8, 1, ST(EBUSY), Q(INVALID_COMMAND) },
		{ "half an answer: the rest is zero", { 28, 0, 6, 0 }, 2, 1, ST(ENOSPC), Q(OK) },
		{ "no answer but a whole buffer: all zero", { 22, 0, 1, 0 }, 0, 1, ST(OK), Q(OK) },
		{ "try again, three times", { 11, 0, 7, 0 }, 8, 3, ST(OK), Q(OK) },
		{ "try again, for ever", { 11, 0, 7, 0 }, 8, UINT32_MAX, ST(EAGAIN), Q(TRYAGAIN) },
		{ "more bytes than there are", { 0, 0, 0, 0 }, UINT32_MAX, 1, ST(OK), Q(OK) },
	};
	struct duo d = opened();

	(void)state;
	vio_features_drop(&d.g->dev->wire, VIO_F_RING_PACKED);	/* the lies are written into a split ring */
	assert_true(start(&d) && vio_admin_begin(d.a));
	honest = d.g->wire.port.ops;
	lying = *honest;
	lying.kick = tell_lies;
	d.g->wire.port.ops = &lying;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned char result[16];
		uint32_t got;
		d.g->clock_skew = rows[i].times > 3 ? VIO_DRV_PATIENCE_NS / 100 : 0;
		lie = &rows[i];
		lies = 0;
		uint16_t status = vio_admin_command(d.a, CMD(LIST_QUERY), 0, 0, NULL, 0, result, sizeof result, &got);
		lie = NULL;
		if (status != rows[i].status || d.a->qualifier != rows[i].qualifier || (rows[i].times == 3 && lies != 3))
			fail_msg("%s: %u %u after %u", rows[i].what, status, d.a->qualifier, lies);
		assert_true(got <= sizeof result);
		if (rows[i].used <= 8)
			assert_int_equal(got, rows[i].times == 3 ? 8 : 0);
		if (!got)
			assert_int_equal(vio_admin_number(result, 8), 0);
	}
	d.g->clock_skew = 0;
	assert_null(d.rng->drv.failed);
	assert_true(vio_admin_begin(d.a));
	d.g->wire.port.ops = honest;
	close_duo(&d);
}

static void never_answer(struct vio_drv_port *p, uint16_t queue, uint32_t notification)
{
	if (queue != 1)
		honest->kick(p, queue, notification);
}

/* The wait ends; nothing more is sent; a reset of the device brings memory back. */
static void a_device_that_does_not_answer(void **state)
{
	struct duo d = started();
	unsigned char value[8];
	uint32_t got;

	(void)state;
	honest = d.g->wire.port.ops;
	lying = *honest;
	lying.kick = never_answer;
	d.g->wire.port.ops = &lying;
	d.g->clock_skew = VIO_DRV_PATIENCE_NS / 100;
	assert_int_equal(vio_admin_command(d.a, CMD(LIST_QUERY), 0, 0, NULL, 0, value, 8, &got), VIO_ADMIN_STATUS_NO_ANSWER);
	assert_non_null(d.rng->drv.failed);
	assert_int_equal(vio_admin_command(d.a, CMD(LIST_QUERY), 0, 0, NULL, 0, value, 8, &got), VIO_ADMIN_STATUS_NO_ANSWER);
	d.g->clock_skew = 0;
	d.g->wire.port.ops = honest;
	assert_true(vio_rng_stop(d.rng));
	assert_int_equal(d.g->maps, 0);
	assert_true(start(&d) && vio_admin_begin(d.a));
	close_duo(&d);
}

/* ---- Queues that are said to be where they can't be ---- */

static uint16_t said_first, said_count;
static uint16_t say_queues(struct vio_drv_port *p, uint16_t *first) { (void)p; *first = said_first; return said_count; }

static void queues_that_are_not_there(void **state)
{
	static const struct { uint16_t first, count; } rows[] = { { 1, 0 }, { 2, 1 }, { 0xffff, 1 }, { 63, 1 } };
	struct duo d = opened();

	(void)state;
	honest = d.g->wire.port.ops;
	lying = *honest;
	lying.admin_queues = say_queues;
	d.g->wire.port.ops = &lying;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		said_first = rows[i].first;
		said_count = rows[i].count;
		assert_true(start(&d));			/* driven without */
		assert_false(vio_admin_ready(d.a));
		rng_serves(&d);
		assert_true(vio_rng_stop(d.rng));
	}
	d.g->wire.port.ops = honest;
	close_duo(&d);
}

static const struct CMUnitTest tests[] = {
	T(beside_any_driver, "any driver's device can be administered beside it {pci-drv-24 admin-drv-1 admin-drv-19; only us}"),
	T(lists_come_first, "first the list of commands, and none that was not told {admin-drv-2 admin-drv-3 admin-drv-4 admin-drv-5 admin-drv-6 admin-drv-7; only us}"),
	T(capabilities_and_objects, "capabilities and objects, and what must not be sent is not {admin-drv-28 admin-drv-29 admin-drv-29a admin-drv-29b admin-drv-30 admin-drv-31 admin-drv-32 admin-drv-33 admin-drv-36 admin-drv-37; only us}"),
	T(parts_are_whole_words, "both parts are whole words and never empty {admin-drv-13 admin-drv-14 admin-drv-15; only us}"),
	T(answers_that_no_one_expects, "reserved statuses, short answers, try again {admin-drv-9 admin-drv-10 admin-drv-17 admin-drv-18 admin-drv-20; only us}"),
	T(a_device_that_does_not_answer, "a device that does not answer is given up"),
	T(queues_that_are_not_there, "a device whose administration queues are not there is driven without"),
};

int main(void) { return vio_tests("admin driver", tests, sizeof tests / sizeof *tests); }
