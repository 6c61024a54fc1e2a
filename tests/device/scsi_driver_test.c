/* The SCSI driver over the real device in every shape, what it must not ask, and over a device that lies. */
#include <vio/driver/scsi.h>
#include "scsi_rig.h"
#include "fake.h"

enum { DATA = 32768 };
struct drv { struct scsi_rig *b; struct vio_scsi *s; struct vio_scsi_setup setup; struct vio_scsi_unit *u; struct vio_scsi_request *r; unsigned char *data; };

static void give_memory(struct rig *g, struct vio_scsi_setup *setup, bool indirect)
{
	for (uint16_t i = 0; i < setup->queues; i++) {
		struct vio_scsi_queue_memory *m = &setup->memory[i];
		m->ring = rig_take(g, VIO_DRVQ_RING_BYTES(RIG_SIZE));
		m->slots = g->slots[REQUESTS + i];
		m->indirect = indirect ? rig_take(g, RIG_SIZE * VIO_SCSI_DRV_INDIRECT * sizeof *m->indirect) : NULL;
	}
}

static struct drv drv_new(struct vio_features wanted, bool indirect)
{
	struct drv t = { .b = scsi_new() };

	t.b->o.queues = 2;
	t.setup = (struct vio_scsi_setup){ .queues = 2, .queue_size = RIG_SIZE, .wanted = wanted };
	t.s = rig_take(t.b->g, sizeof *t.s);
	t.u = rig_take(t.b->g, sizeof *t.u);
	t.data = rig_take(t.b->g, DATA);
	/* headers that cross a page, as the worst caller would have them */
	t.b->g->used = ((t.b->g->used + 4095) & ~(size_t)4095) - 16;
	t.r = rig_take(t.b->g, 16 * sizeof *t.r);
	give_memory(t.b->g, &t.setup, indirect);
	return t;
}

static void drv_begin(struct drv *t)
{
	assert_null(rig_open(t->b->g, &vio_dev_scsi, &t->b->o));
	if (!vio_scsi_start(t->s, &t->b->g->wire.port, &t->setup))
		fail_msg("%s", t->s->drv.failed);
}

static void drv_end(struct drv *t)
{
	assert_true(vio_scsi_stop(t->s));
	for (uint16_t i = 0; i < t->s->queues; i++)
		while (vio_scsi_abandon(t->s, i))
			;
	assert_int_equal(t->b->g->maps, 0);	/* everything mapped was unmapped */
	scsi_close(t->b);
}

static struct drv drv_start(void)
{
	struct drv t = drv_new(BITS(USUAL, SPLIT_FULL), true);

	drv_begin(&t);
	return t;
}

static void must(struct drv *t, bool done)
{
	if (!done)
		fail_msg("%s", t->u->why);
}

/* A read of one block, ready to be submitted. */
static struct vio_scsi_request *a_read(struct drv *t, unsigned i, uint16_t lun, uint8_t block)
{
	t->r[i] = (struct vio_scsi_request){ .cdb = { VIO_SCSI_READ_10, 0, 0, 0, 0, block, 0, 0, 1 }, .data = t->data + 512 * i, .len = 512 };
	vio_scsi_lun_set(t->r[i].lun, 0, lun);
	return &t->r[i];
}

/* ---- All of it, in every shape ---- */

static void walk_through(struct drv *t)
{
	struct test_disk *disk = t->b->t[0];
	uint16_t list[8] = { 0 };

	t->u->s = t->s;
	assert_int_equal(vio_scsi_luns(t->u, 0, list, 8), 2);
	assert_true((list[0] == 0 && list[1] == 5) || (list[0] == 5 && list[1] == 0));
	assert_int_equal(vio_scsi_luns(t->u, 3, list, 0), 1);
	assert_int_equal(vio_scsi_luns(t->u, 3, list, 8), 1);
	assert_int_equal(list[0], 300);
	assert_int_equal(vio_scsi_luns(t->u, 9, list, 8), -1);
	assert_non_null(strstr(t->u->why, "no such target"));
	assert_false(vio_scsi_open(t->u, t->s, 0, 7));
	assert_non_null(t->u->why);
	must(t, vio_scsi_open(t->u, t->s, 3, 300));
	must(t, vio_scsi_open(t->u, t->s, 4, 0));
	assert_int_equal(t->u->kind, VIO_SCSI_CDROM);
	assert_int_equal(t->u->block, 2048);
	assert_false(vio_scsi_write(t->u, 0, 1, t->data));
	must(t, vio_scsi_read(t->u, 3, 2, t->data));
	assert_memory_equal(t->data, t->b->t[3]->bytes + 6144, 4096);

	must(t, vio_scsi_open(t->u, t->s, 0, 0));
	assert_true(t->u->kind == VIO_SCSI_DISK && t->u->block == 512 && t->u->blocks == BLOCKS && !t->u->removable);
	assert_string_equal(t->u->vendor, "vio");
	must(t, vio_scsi_read(t->u, 16, 64, t->data));
	assert_memory_equal(t->data, disk->bytes + 16 * 512, 32768);
	memset(t->data, 0x77, 8192);
	must(t, vio_scsi_write(t->u, BLOCKS - 16, 16, t->data));
	for (unsigned i = 0; i < 8192; i++)
		assert_int_equal(disk->bytes[DISK_BYTES - 8192 + i], 0x77);
	assert_int_equal(disk->bytes[DISK_BYTES - 8193], pattern(DISK_BYTES - 8193));
	test_disk_forget(disk);
	must(t, vio_scsi_flush(t->u));
	assert_int_equal(disk->asked[0].op, VIO_DISK_FLUSH);
	assert_false(vio_scsi_read(t->u, BLOCKS - 1, 2, t->data));
	assert_non_null(strstr(t->u->why, "beyond the end"));
	assert_int_equal(vio_scsi_manage(t->s, t->u->lun, VIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0), VIO_SCSI_S_FUNCTION_COMPLETE);
	must(t, vio_scsi_read(t->u, 0, 1, t->data));	/* the unit attention of the reset has been passed over */
}

static void all_of_it_in_every_shape(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1), BITS(VIO_F_INDIRECT_DESC), BITS(VIO_F_EVENT_IDX), BITS(VIO_F_IN_ORDER),
		BITS(SPLIT_FULL), BITS(VIO_F_RING_PACKED), BITS(PACKED_FULL), BITS(PACKED_FULL, VIO_F_NOTIFICATION_DATA) };

	(void)state;
	for (unsigned i = 0; i < sizeof rings / sizeof *rings; i++)
		for (unsigned cut = 0; cut < 2; cut++) {
			struct drv t = drv_new(vio_features_or(rings[i], BITS(USUAL)), i & 1);
			t.b->g->map_cut = cut ? 1000 : 0;
			drv_begin(&t);
			assert_true(vio_drv_has(&t.s->drv, VIO_SCSI_F_HOTPLUG));
			walk_through(&t);
			drv_end(&t);
		}
}

/* ---- Commands ---- */

static void headers_say_nothing_more(void **state)
{
	struct drv t = drv_start();

	(void)state;
	memset(&t.r[0], 0xff, sizeof t.r[0]);
	a_read(&t, 0, 0, 1);
	a_read(&t, 1, 0, 2);
	t.b->g->wire.lazy = true;
	assert_true(vio_scsi_submit(t.s, 0, &t.r[0]) && vio_scsi_submit(t.s, 1, &t.r[1]));
	assert_true(t.r[0].wire.req.task_attr == 0 && t.r[0].wire.req.prio == 0 && t.r[0].wire.req.crn == 0);
	assert_true(t.r[0].id != t.r[1].id);
	assert_memory_equal(t.r[0].wire.req.lun, t.r[0].lun, 8);
	vio_scsi_kick(t.s, 0);
	vio_scsi_kick(t.s, 1);
	assert_null(vio_scsi_poll(t.s, 0));
	vio_loop_pump(&t.b->g->wire, 10);
	assert_ptr_equal(vio_scsi_poll(t.s, 0), &t.r[0]);
	assert_ptr_equal(vio_scsi_poll(t.s, 1), &t.r[1]);
	assert_null(vio_scsi_poll(t.s, 1));
	/* the first after power on: an attention, told in sense data, and no data */
	assert_int_equal(t.r[0].response, VIO_SCSI_S_OK);
	assert_int_equal(t.r[0].status, VIO_SAM_CHECK_CONDITION);
	assert_true(t.r[0].sense_len >= 14 && (t.r[0].sense[0] & 0x70) == 0x70);
	assert_int_equal(t.r[0].got, 0);
	drv_end(&t);
}

static void a_unit_has_only_so_many(void **state)
{
	struct drv t = drv_new(BITS(USUAL), true);

	(void)state;
	t.b->o.cmd_per_lun = 3;
	drv_begin(&t);
	assert_int_equal(t.s->per_lun, 3);
	t.u->s = t.s;
	must(&t, vio_scsi_open(t.u, t.s, 0, 0) && vio_scsi_open(t.u, t.s, 0, 5));
	t.b->t[0]->hold = true;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 3; i++)	/* over all queues */
			assert_true(vio_scsi_submit(t.s, (uint16_t)(i & 1), a_read(&t, i, 0, (uint8_t)i)));
		assert_false(vio_scsi_submit(t.s, 0, a_read(&t, 3, 0, 3)));
		assert_int_equal(t.r[3].response, 255);		/* not now */
		assert_true(vio_scsi_submit(t.s, 0, a_read(&t, 4, 5, 3)));	/* another unit */
		vio_scsi_kick(t.s, 0);
		vio_scsi_kick(t.s, 1);
		assert_ptr_equal(vio_scsi_poll(t.s, 0), &t.r[4]);
		test_disk_release(t.b->t[0]);
		vio_loop_pump(&t.b->g->wire, 10);
		assert_true(vio_scsi_poll(t.s, 0) && vio_scsi_poll(t.s, 0) && vio_scsi_poll(t.s, 1));
		assert_int_equal(t.r[0].got, 512);
		assert_memory_equal(t.r[2].data, t.b->t[0]->bytes + 1024, 512);
	}
	drv_end(&t);
	/* nor more than the queue has entries, whatever the device allows */
	t = drv_new(BITS(USUAL), true);
	t.setup.queue_size = 4;
	t.b->o.cmd_per_lun = 64;
	drv_begin(&t);
	assert_int_equal(t.s->per_lun, 4);
	drv_end(&t);
}

static void what_can_never_be_is_refused(void **state)
{
	struct drv t = drv_new(BITS(USUAL), false);

	(void)state;
	t.b->o.max_sectors = 8;
	t.b->o.seg_max = 4;
	drv_begin(&t);
	a_read(&t, 0, 0, 0)->len = 8 * 512 + 512;
	assert_false(vio_scsi_submit(t.s, 0, &t.r[0]));
	assert_int_equal(t.r[0].response, VIO_SCSI_S_FAILURE);
	a_read(&t, 0, 0, 0)->data = NULL;
	assert_false(vio_scsi_submit(t.s, 0, &t.r[0]));
	t.b->g->map_cut = 100;				/* six pieces */
	assert_false(vio_scsi_submit(t.s, 0, a_read(&t, 0, 0, 0)));
	assert_int_equal(t.r[0].response, VIO_SCSI_S_FAILURE);
	t.b->g->map_cut = 200;
	assert_true(vio_scsi_submit(t.s, 0, a_read(&t, 0, 0, 0)));
	assert_false(vio_scsi_submit(t.s, 2, a_read(&t, 1, 0, 0)));
	drv_end(&t);
	/* the loader's calls cut what is too long for one command */
	t = drv_new(BITS(USUAL), true);
	t.b->o.max_sectors = 8;
	drv_begin(&t);
	must(&t, vio_scsi_open(t.u, t.s, 0, 0));
	test_disk_forget(t.b->t[0]);
	must(&t, vio_scsi_read(t.u, 1, 20, t.data));
	assert_memory_equal(t.data, t.b->t[0]->bytes + 512, 20 * 512);
	assert_int_equal(t.b->t[0]->count, 3);
	drv_end(&t);
}

static void others_are_kept_while_one_waits(void **state)
{
	struct drv t = drv_start();

	(void)state;
	must(&t, vio_scsi_open(t.u, t.s, 0, 0) && vio_scsi_open(t.u, t.s, 0, 5));
	for (unsigned i = 0; i < 4; i++)
		assert_true(vio_scsi_submit(t.s, 0, a_read(&t, i, 0, (uint8_t)i)));
	assert_int_equal(vio_scsi_do(t.s, a_read(&t, 5, 5, 5)), VIO_SCSI_S_OK);
	assert_memory_equal(t.r[5].data, t.b->t[1]->bytes + 5 * 512, 512);
	for (unsigned i = 0; i < 4; i++)
		assert_non_null(vio_scsi_poll(t.s, 0));
	assert_null(vio_scsi_poll(t.s, 0));
	drv_end(&t);
}

/* ---- Task management ---- */

static void tasks_are_asked_for_and_aborted(void **state)
{
	struct drv t = drv_start();

	(void)state;
	must(&t, vio_scsi_open(t.u, t.s, 0, 0));
	t.b->t[0]->hold = true;
	assert_true(vio_scsi_submit(t.s, 0, a_read(&t, 0, 0, 0)));
	assert_true(vio_scsi_submit(t.s, 1, a_read(&t, 1, 0, 0)));
	vio_scsi_kick(t.s, 0);
	vio_scsi_kick(t.s, 1);
	assert_int_equal(vio_scsi_manage(t.s, t.u->lun, VIO_SCSI_T_TMF_QUERY_TASK, t.r[1].id), VIO_SCSI_S_FUNCTION_SUCCEEDED);
	assert_int_equal(vio_scsi_manage(t.s, t.u->lun, VIO_SCSI_T_TMF_QUERY_TASK, 12345), VIO_SCSI_S_FUNCTION_COMPLETE);
	assert_int_equal(vio_scsi_manage(t.s, t.u->lun, VIO_SCSI_T_TMF_ABORT_TASK, t.r[1].id), VIO_SCSI_S_FUNCTION_COMPLETE);
	assert_ptr_equal(vio_scsi_poll(t.s, 1), &t.r[1]);
	assert_int_equal(t.r[1].response, VIO_SCSI_S_ABORTED);
	assert_int_equal(t.r[1].got, 0);
	assert_null(vio_scsi_poll(t.s, 0));
	assert_int_equal(vio_scsi_manage(t.s, t.u->lun, VIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0), VIO_SCSI_S_FUNCTION_COMPLETE);
	assert_ptr_equal(vio_scsi_poll(t.s, 0), &t.r[0]);
	assert_int_equal(t.r[0].response, VIO_SCSI_S_RESET);
	uint8_t nobody[8];
	vio_scsi_lun_set(nobody, 0, 9);
	assert_int_equal(vio_scsi_manage(t.s, nobody, VIO_SCSI_T_TMF_ABORT_TASK_SET, 0), VIO_SCSI_S_INCORRECT_LUN);
	assert_int_equal(vio_scsi_manage(t.s, t.u->lun, 99, 0), VIO_SCSI_S_FUNCTION_REJECTED);
	uint32_t actual = 99;
	assert_int_equal(vio_scsi_notify(t.s, t.u->lun, true, 0x7e, &actual), VIO_SCSI_S_OK);
	assert_true((actual & ~0x7eu) == 0);
	drv_end(&t);
}

/* ---- Events ---- */

static void units_that_come_and_go_are_told(void **state)
{
	struct drv t = drv_start();
	struct vio_scsi_lun more = t.b->luns[2];
	struct vio_scsi_news n;

	(void)state;
	assert_false(vio_scsi_event(t.s, &n));
	for (unsigned i = 0; i < 60; i++) {		/* more than there are buffers */
		more.target = 7;
		more.lun = i & 1 ? 0 : 3;
		assert_null(vio_scsi_dev_add(t.b->g->dev, &more));
		vio_loop_pump(&t.b->g->wire, 10);
		assert_true(vio_scsi_event(t.s, &n));
		assert_int_equal(n.event, VIO_SCSI_T_TRANSPORT_RESET);
		assert_int_equal(n.reason, VIO_SCSI_EVT_RESET_RESCAN);
		assert_true(n.lun[1] == 7 && n.lun[3] == more.lun && !n.missed);
		assert_int_equal(n.scan, i & 1);	/* unit 0: perhaps a whole target */
		assert_null(vio_scsi_dev_remove(t.b->g->dev, 7, more.lun, NULL, NULL));
		vio_loop_pump(&t.b->g->wire, 10);
		assert_true(vio_scsi_event(t.s, &n));
		assert_true(n.reason == VIO_SCSI_EVT_RESET_REMOVED && n.scan == (i & 1));
		assert_false(vio_scsi_event(t.s, &n));
	}
	/* who does not look loses some, and is told that too */
	bool missed = false;
	for (unsigned i = 0; i < 100; i++) {
		assert_null(vio_scsi_dev_add(t.b->g->dev, &more));
		assert_null(vio_scsi_dev_remove(t.b->g->dev, 7, more.lun, NULL, NULL));
		vio_loop_pump(&t.b->g->wire, 10);
	}
	for (unsigned i = 0; i < 200 && vio_scsi_event(t.s, &n); i++) {
		vio_loop_pump(&t.b->g->wire, 10);
		missed |= n.missed;
	}
	assert_true(missed);
	drv_end(&t);
}

/* ---- Over a device that lies ---- */

static struct vio_scsi_config *config_of(struct fake *f) { return (struct vio_scsi_config *)(void *)f->config; }

static struct fake *scsi_fake(struct vio_features offers)
{
	struct fake *f = fake_new(VIO_ID_SCSI, offers);

	memset(f->config, 0, sizeof f->config);
	*config_of(f) = (struct vio_scsi_config){ .num_queues = vio_le32_of(1), .seg_max = vio_le32_of(16), .max_sectors = vio_le32_of(1000),
		.cmd_per_lun = vio_le32_of(8), .event_info_size = vio_le32_of(16), .sense_size = vio_le32_of(96), .cdb_size = vio_le32_of(32),
		.max_target = vio_le16_of(255), .max_lun = vio_le32_of(16383) };
	f->watched = REQUESTS;
	return f;
}

static struct vio_scsi *over_a_fake(struct fake *f, const char **why)
{
	struct vio_scsi *s = rig_take(f->g, sizeof *s);
	struct vio_scsi_setup setup = { .queues = 1, .queue_size = 8 };

	give_memory(f->g, &setup, false);
	*why = NULL;
	if (vio_scsi_start(s, &f->port, &setup))
		return s;
	*why = s->drv.failed;
	assert_non_null(*why);
	assert_int_equal(f->g->maps, 0);
	return NULL;
}

/* What config_write really does here. */
static unsigned written[64];
static bool keeps;
static bool write_config(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len)
{
	assert_true(at + len <= sizeof FAKE(p)->config && len == 4);
	written[at]++;
	if (keeps)
		memcpy(FAKE(p)->config + at, from, len);
	return true;
}

static void only_two_fields_are_written(void **state)
{
	struct vio_drv_port_ops ops = fake_ops;
	const char *why;

	(void)state;
	ops.config_write = write_config;
	for (unsigned i = 0; i < 3; i++) {		/* as after a reset; others; others that can't be changed */
		struct fake *f = scsi_fake(BITS(USUAL));
		f->port.ops = &ops;
		memset(written, 0, sizeof written);
		keeps = i == 1;
		if (i)
			config_of(f)->sense_size = config_of(f)->cdb_size = vio_le32_of(64);
		struct vio_scsi *s = over_a_fake(f, &why);
		assert_int_equal(!s, i == 2);
		for (unsigned at = 0; at < sizeof written / sizeof *written; at++) {
			bool may = at == offsetof(struct vio_scsi_config, sense_size) || at == offsetof(struct vio_scsi_config, cdb_size);
			assert_true(written[at] <= (i && may));
		}
		if (s)
			assert_true(vio_scsi_stop(s));
		else
			assert_non_null(strstr(why, "sizes"));
		fake_close(f);
	}
}

static void events_have_buffers(void **state)
{
	const uint32_t sizes[] = { 16, 0, 40, 100000 };
	const char *why;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct fake *f = scsi_fake(BITS(USUAL));
		config_of(f)->event_info_size = vio_le32_of(sizes[i]);
		f->watched = EVENTS;
		struct vio_scsi *s = over_a_fake(f, &why);
		assert_non_null(s);
		const struct vio_split_desc *desc = f->q->place.desc;
		const struct vio_split_avail *avail = f->q->place.driver;
		assert_int_equal(vio_le16_get(avail->idx), VIO_SCSI_DRV_EVENTS);
		for (unsigned k = 0; k < VIO_SCSI_DRV_EVENTS; k++) {
			const struct vio_split_desc *d = &desc[vio_le16_get(avail->ring[k])];
			uint32_t least = sizes[i] < 16 ? 16 : sizes[i] < VIO_SCSI_DRV_EVENT_BYTES ? sizes[i] : VIO_SCSI_DRV_EVENT_BYTES;
			assert_int_equal(vio_le16_get(d->flags), VIO_DESC_WRITE);
			assert_true(vio_le32_get(d->len) >= least);
		}
		/* too short an event says nothing; one of a kind that there is not is handed on */
		struct vio_scsi_news n;
		struct vio_scsi_event e = { .event = vio_le32_of(77), .reason = vio_le32_of(5) };
		memcpy(f->g->bytes + (vio_le64_get(desc[vio_le16_get(avail->ring[0])].addr) - RIG_GPA), &e, sizeof e);
		fake_use(f, 0, vio_le16_get(avail->ring[0]), 15);
		assert_true(vio_scsi_event(s, &n) && n.event == VIO_SCSI_T_NO_EVENT && !n.missed && !n.scan);
		assert_int_equal(vio_le16_get(avail->idx), VIO_SCSI_DRV_EVENTS + 1);
		assert_true(vio_scsi_stop(s));
		fake_close(f);
	}
}

static void absurd_config(void **state)
{
	const char *why;

	(void)state;
	struct fake *f = scsi_fake(BITS(USUAL));
	config_of(f)->num_queues = vio_le32_of(0);
	assert_null(over_a_fake(f, &why));
	assert_non_null(strstr(why, "no request queues"));
	fake_close(f);
	f = scsi_fake(BITS(USUAL));
	memset(f->config, 0xff, 20);
	memset(f->config + 28, 0xff, 8);
	struct vio_scsi *s = over_a_fake(f, &why);
	assert_non_null(s);
	assert_true(s->queues == 1 && s->seg_max == VIO_SCSI_DRV_SEGS && s->per_lun == 8 && s->max_lun == 16383 && s->max_target == 255);
	assert_true(vio_scsi_stop(s));
	fake_close(f);
	f = scsi_fake(BITS(USUAL));
	memset(f->config + 4, 0, 16);		/* no segments, no sectors, no commands */
	s = over_a_fake(f, &why);
	assert_true(s && s->seg_max == 1 && s->per_lun == 1 && s->max_bytes > 512);
	assert_true(vio_scsi_stop(s));
	fake_close(f);
	f = scsi_fake(BITS(USUAL));
	f->queue_max = 1;
	assert_null(over_a_fake(f, &why));
	assert_non_null(strstr(why, "lacks"));
	fake_close(f);
}

/* How the next command is answered: by these bytes, and a length. */
static struct { struct vio_scsi_resp resp; uint8_t sense[96]; uint32_t len; uint8_t data[64]; unsigned commands; bool silent, nonsense; } answer;

static void answer_one(struct fake *f)
{
	const struct vio_split_avail *avail = f->q ? f->q->place.driver : NULL;
	const struct vio_split_desc *desc = f->q ? f->q->place.desc : NULL;

	if (!f->q || vio_le16_get(avail->idx) == answer.commands || answer.silent)
		return;
	uint16_t head = vio_le16_get(avail->ring[answer.commands & (f->q->size - 1)]), i = head;
	if (answer.nonsense) {
		fake_use(f, (uint16_t)answer.commands++, 77, 0);
		return;
	}
	uint8_t out[12 + 96 + 64];
	memcpy(out, &answer.resp, 12);
	memcpy(out + 12, answer.sense, 96);
	memcpy(out + 108, answer.data, 64);
	unsigned at = 0;
	for (;; i = vio_le16_get(desc[i].next)) {
		uint32_t n = vio_le32_get(desc[i].len);
		if (vio_le16_get(desc[i].flags) & VIO_DESC_WRITE && at < sizeof out) {
			n = n < sizeof out - at ? n : (uint32_t)sizeof out - at;
			memcpy(f->g->bytes + (vio_le64_get(desc[i].addr) - RIG_GPA), out + at, n);
			at += n;
		}
		if (!(vio_le16_get(desc[i].flags) & VIO_DESC_NEXT))
			break;
	}
	fake_use(f, (uint16_t)answer.commands++, head, answer.len);
}

static void answers_are_checked(void **state)
{
	static const struct { uint32_t len; uint8_t response, status; uint32_t sense_len, residual; uint8_t is; uint32_t sense, got; } rows[] = {
		{ 108 + 64, 0, 0, 0, 0, VIO_SCSI_S_OK, 0, 64 },
		{ 108 + 64, 0, 0, 0, 60, VIO_SCSI_S_OK, 0, 4 },
		{ 108 + 10, 0, 0, 0, 0, VIO_SCSI_S_OK, 0, 10 },		/* it says 64 and wrote 10 */
		{ 108, 0, 0, 0, 0, VIO_SCSI_S_OK, 0, 0 },
		{ 12, 0, 2, 18, 64, VIO_SCSI_S_OK, 0, 0 },		/* sense that was not written */
		{ 12 + 5, 0, 2, 18, 64, VIO_SCSI_S_OK, 5, 0 },
		{ 108, 0, 2, 18, 64, VIO_SCSI_S_OK, 18, 0 },
		{ 108, 0, 2, UINT32_MAX, UINT32_MAX, VIO_SCSI_S_OK, 96, 0 },
		{ UINT32_MAX, 0, 0, 0, UINT32_MAX, VIO_SCSI_S_OK, 0, 0 },
		{ 11, 0, 0, 0, 0, VIO_SCSI_S_FAILURE, 0, 0 },		/* no answer at all */
		{ 0, 0, 0, 0, 0, VIO_SCSI_S_FAILURE, 0, 0 },
		{ 108, 10, 0, 0, 0, VIO_SCSI_S_FAILURE, 0, 0 },		/* no response to a command */
		{ 108, 255, 0, 0, 0, VIO_SCSI_S_FAILURE, 0, 0 },
		{ 108, 7, 0, 0, 0, VIO_SCSI_S_TARGET_FAILURE, 0, 0 },
		{ 108, 3, 0, 0, 0, VIO_SCSI_S_BAD_TARGET, 0, 0 },
	};
	const char *why;

	(void)state;
	struct fake *f = scsi_fake(BITS(USUAL));
	f->on_kick = answer_one;
	memset(&answer, 0, sizeof answer);
	struct vio_scsi *s = over_a_fake(f, &why);
	struct vio_scsi_request *r = rig_take(f->g, sizeof *r);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		*r = (struct vio_scsi_request){ .data = rig_take(f->g, 64), .len = 64, .cdb = { VIO_SCSI_INQUIRY } };
		answer.len = rows[i].len;
		answer.resp = (struct vio_scsi_resp){ vio_le32_of(rows[i].sense_len), vio_le32_of(rows[i].residual), vio_le16_of(0), rows[i].status,
			rows[i].response };
		memset(answer.sense, 0x70, sizeof answer.sense);
		unsigned before = answer.commands;
		assert_int_equal(vio_scsi_do(s, r), rows[i].is);
		assert_int_equal(r->sense_len, rows[i].sense);
		assert_int_equal(r->got, rows[i].got);
		assert_int_equal(answer.commands, before + 1);
		assert_int_equal(f->g->maps, 2);		/* what is inside, and the ring */
	}
	/* TARGET FAILURE: not again, neither here nor elsewhere */
	struct vio_scsi_unit *u = rig_take(f->g, sizeof *u);
	answer.resp = (struct vio_scsi_resp){ .response = VIO_SCSI_S_TARGET_FAILURE };
	answer.len = 108;
	unsigned before = answer.commands;
	assert_false(vio_scsi_open(u, s, 0, 0));
	assert_int_equal(answer.commands, before + 1);
	/* BUSY for ever: it ends */
	answer.resp = (struct vio_scsi_resp){ .response = VIO_SCSI_S_BUSY };
	assert_false(vio_scsi_open(u, s, 0, 0));
	assert_true(answer.commands < before + 100);
	assert_true(vio_scsi_stop(s));
	fake_close(f);
}

static void silence_ends(void **state)
{
	const char *why;

	(void)state;
	for (unsigned nonsense = 0; nonsense < 2; nonsense++) {
		struct fake *f = scsi_fake(BITS(USUAL));
		f->on_kick = answer_one;
		memset(&answer, 0, sizeof answer);
		answer.silent = !nonsense;
		answer.nonsense = nonsense;
		struct vio_scsi *s = over_a_fake(f, &why);
		struct vio_scsi_request *r = rig_take(f->g, 3 * sizeof *r), *back;
		for (unsigned i = 0; i < 3; i++)
			r[i] = (struct vio_scsi_request){ .cdb = { VIO_SCSI_TEST_UNIT_READY } };
		assert_true(vio_scsi_submit(s, 0, &r[0]) && vio_scsi_submit(s, 0, &r[1]));
		uint64_t begun = f->g->clock;
		assert_int_equal(vio_scsi_do(s, &r[2]), VIO_SCSI_S_LOST);
		assert_true(f->g->clock - begun < 3 * VIO_DRV_PATIENCE_NS);
		assert_non_null(s->drv.failed);
		assert_int_equal(f->g->maps, 0);
		unsigned found = 0;
		while ((back = vio_scsi_poll(s, 0))) {		/* the others come back */
			assert_true(back == &r[0] || back == &r[1]);
			assert_int_equal(back->response, VIO_SCSI_S_LOST);
			found++;
		}
		assert_int_equal(found, 2);
		assert_false(vio_scsi_submit(s, 0, &r[0]));
		assert_int_equal(r[0].response, VIO_SCSI_S_LOST);
		assert_int_equal(vio_scsi_do(s, &r[0]), VIO_SCSI_S_LOST);
		fake_close(f);
	}
	/* the control queue, too */
	struct fake *f = scsi_fake(BITS(USUAL));
	uint8_t lun[8] = { 1 };
	uint32_t actual;
	struct vio_scsi *s = over_a_fake(f, &why);
	assert_int_equal(vio_scsi_manage(s, lun, VIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0), VIO_SCSI_S_LOST);
	assert_non_null(strstr(s->drv.failed, "control queue"));
	assert_int_equal(vio_scsi_notify(s, lun, false, 2, &actual), VIO_SCSI_S_LOST);
	assert_int_equal(actual, 0);
	assert_int_equal(f->g->maps, 0);
	fake_close(f);
}

static const struct CMUnitTest tests[] = {
	T(all_of_it_in_every_shape, "units are found, read, written, flushed and reset over every ring, memory whole and in pieces"),
	T(headers_say_nothing_more, "task attribute, priority and CRN are zero, ids differ {scsi-drv-3; only us}"),
	T(a_unit_has_only_so_many, "a unit has at most cmd_per_lun commands at a time, and no more than the queue has entries {scsi-drv-2; only us}"),
	T(what_can_never_be_is_refused, "what is too long, or in too many pieces, is refused; the loader's calls cut it"),
	T(others_are_kept_while_one_waits, "what finishes while one command is waited for is not lost"),
	T(tasks_are_asked_for_and_aborted, "tasks are asked for, aborted and reset; the answers are told apart"),
	T(units_that_come_and_go_are_told, "events are told, buffers given back, and lost events and targets to be scanned pointed out "
	    "{scsi-drv-5 scsi-drv-8 scsi-drv-9; only us}"),
	T(only_two_fields_are_written, "of the config space only sense_size and cdb_size are ever written {scsi-drv-1; only us}"),
	T(events_have_buffers, "the event queue is full of writable buffers of the size asked for {scsi-drv-5 scsi-drv-6 scsi-drv-7; only us}"),
	T(absurd_config, "absurd limits become the nearest that make sense; no queues is refused"),
	T(answers_are_checked, "answers: lengths, sense, residuals, responses; TARGET FAILURE is not tried again {scsi-drv-4; only us}"),
	T(silence_ends, "a device that is silent, or breaks its rings, ends the wait; everything comes back"),
};

int main(void) { return vio_tests("scsi-driver", tests, sizeof tests / sizeof *tests); }
