/* The SCSI device over time: config space, reset, units that come and go, events, task management over queues, saved state. */
#include "scsi_rig.h"
#include <vio/host/disk.h>
#include <vio/host/keep.h>

static void count(void *arg) { ++*(unsigned *)arg; }

/* ---- Config space ---- */

static struct vio_scsi_config config(struct scsi_rig *b)
{
	struct vio_scsi_config c;

	assert_true(vio_drv_config(&b->g->drv, 0, &c, sizeof c));
	return c;
}

static void set_size(struct scsi_rig *b, unsigned at, uint32_t v)
{
	vio_le32 wire = vio_le32_of(v);

	assert_true(b->g->wire.port.ops->config_write(&b->g->wire.port, at, &wire, sizeof wire));
}

enum { SENSE = offsetof(struct vio_scsi_config, sense_size), CDB_ = offsetof(struct vio_scsi_config, cdb_size) };

static void config_is(void **state)
{
	struct scsi_rig *b = scsi_start();
	struct vio_scsi_config c = config(b);

	(void)state;
	assert_int_equal(vio_le32_get(c.num_queues), 1);
	assert_int_equal(vio_le32_get(c.seg_max), RIG_SIZE - 4);
	assert_int_equal(vio_le32_get(c.max_sectors), 65535);
	assert_int_equal(vio_le32_get(c.cmd_per_lun), RIG_SIZE);
	assert_int_equal(vio_le32_get(c.event_info_size), 16);
	assert_int_equal(vio_le32_get(c.sense_size), 96);
	assert_int_equal(vio_le32_get(c.cdb_size), 32);
	assert_int_equal(vio_le16_get(c.max_channel), 0);
	assert_int_equal(vio_le16_get(c.max_target), 255);
	assert_int_equal(vio_le32_get(c.max_lun), 16383);
	for (unsigned at = 0; at < sizeof c; at += 4) {		/* two of them can be written */
		vio_le32 v = vio_le32_of(1);
		bool may = b->g->wire.port.ops->config_write(&b->g->wire.port, at, &v, sizeof v);
		assert_int_equal(may, at == SENSE || at == CDB_);
	}
	rig_reset(b->g);
	rig_start(b->g, REQUESTS + 1, BITS(USUAL));
	c = config(b);
	assert_int_equal(vio_le32_get(c.sense_size), 96);
	assert_int_equal(vio_le32_get(c.cdb_size), 32);
	scsi_settle(b);
	scsi_close(b);
}

static void sizes_are_adopted(void **state)
{
	static const struct { uint32_t sense, cdb; } rows[] = { { 0, 32 }, { 8, 16 }, { 18, 260 }, { 252, 16 }, { 1024, 64 }, { 1, 20 } };
	struct scsi_rig *b = scsi_start();

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		set_size(b, SENSE, b->sense_size = rows[i].sense);
		set_size(b, CDB_, b->cdb_size = rows[i].cdb);
		good(b, CDB(0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0), NULL, 0, 512);
		assert_memory_equal(b->in, b->t[0]->bytes + 7 * 512, 512);
		assert_int_equal(b->used, 12 + (rows[i].sense > 252 ? 252 : rows[i].sense + 512));
		assert_int_equal(scsi_run(b, CDB(0xff, 0, 0, 0, 0, 0), NULL, 0, 0), VIO_SAM_CHECK_CONDITION);
		assert_int_equal(b->sense_len, rows[i].sense < 18 ? rows[i].sense : 18);
	}
	set_size(b, CDB_, b->cdb_size = 9);	/* less than the command has: nothing is guessed */
	responds(b, VIO_SCSI_S_FAILURE, CDB(0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0), NULL, 0, 512);
	responds(b, VIO_SCSI_S_OK, TUR);
	set_size(b, CDB_, b->cdb_size = 0);
	responds(b, VIO_SCSI_S_FAILURE, TUR);
	scsi_close(b);
}

/* A request keeps the sizes that it was begun with. */
static void sizes_change_in_flight(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	rig_rewind(b->g);
	b->t[0]->hold = true;
	struct ask a = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0), NULL, 0, 512);
	scsi_add(b, &a);
	set_size(b, SENSE, 0);
	set_size(b, CDB_, UINT32_MAX);
	test_disk_release(b->t[0]);
	vio_loop_pump(&b->g->wire, 10);
	assert_ptr_equal(rig_get(b->g, REQUESTS, &b->used), a.w);
	scsi_take(b, &a);
	assert_int_equal(b->response, VIO_SCSI_S_OK);
	assert_memory_equal(b->in, b->t[0]->bytes + 512, 512);
	set_size(b, SENSE, UINT32_MAX);		/* more than there is room for: nowhere to answer */
	rig_rewind(b->g);
	a = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0), NULL, 0, 512);
	scsi_add(b, &a);
	assert_ptr_equal(rig_get(b->g, REQUESTS, &b->used), a.w);
	assert_int_equal(b->used, 0);
	rig_reset(b->g);			/* heals */
	rig_start(b->g, REQUESTS + 1, BITS(USUAL));
	b->t[0]->hold = false;
	scsi_settle(b);
	good(b, TUR);
	scsi_close(b);
}

/* ---- Reset ---- */

static void reset_forgets(void **state)
{
	struct scsi_rig *b = scsi_start();
	struct ask a;

	(void)state;
	good(b, CDB(0x15, 0x10, 0, 0, 24, 0), "\0\0\0\0\x08\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, 0);
	good(b, CDB(0x1b, 0, 0, 0, 0, 0), NULL, 0, 0);
	good(b, CDB(0x1b, 0, 0, 0, 1, 0), NULL, 0, 0);
	b->t[0]->hold = true;
	rig_rewind(b->g);
	a = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0), NULL, 0, 512);
	scsi_add(b, &a);
	rig_reset(b->g);
	assert_int_equal(b->t[0]->channels, 0);
	assert_int_equal(b->t[0]->cancels, 1);
	rig_start(b->g, REQUESTS + 1, BITS(USUAL));
	b->t[0]->hold = false;
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2900, TUR);
	good(b, TUR);
	good(b, CDB(0x1a, 8, 0x08, 0, 255, 0), NULL, 0, 255);
	assert_int_equal(b->in[6], 4);
	scsi_close(b);
}

static void power_on_is_told_once(void **state)
{
	struct scsi_rig *b = scsi_new();

	(void)state;
	scsi_begin(b, BITS(USUAL));
	good(b, CDB(0x12, 0, 0, 0, 36, 0), NULL, 0, 36);		/* these don't care */
	good(b, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 0, 256);
	good(b, CDB(0x03, 0, 0, 0, 18, 0), NULL, 0, 18);
	assert_memory_equal(b->in, "\x70\0\6\0\0\0\0\x0a\0\0\0\0\x29\0", 14);
	good(b, TUR);
	scsi_at(b, 0, 5);
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2900, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
	assert_int_equal(b->residual, 512);
	good(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
	good(b, CDB(0x03, 1, 0, 0, 18, 0), NULL, 0, 18);
	assert_memory_equal(b->in, "\x72\0\0\0\0\0\0\0", 8);
	scsi_close(b);
}

/* ---- Events ---- */

static unsigned char *event_buffer(struct scsi_rig *b, size_t n)
{
	unsigned char *p = rig_take(b->g, n);

	memset(p, FILL, n);
	assert_true(rig_add(b->g, EVENTS, NULL, 0, 0, p, n, 0));
	return p;
}

static void expect_event(struct scsi_rig *b, unsigned char *p, uint32_t event, const char lun[8], uint32_t reason)
{
	uint32_t used, is;

	vio_loop_pump(&b->g->wire, 100);
	assert_ptr_equal(rig_get(b->g, EVENTS, &used), p);
	assert_int_equal(used, 16);
	memcpy(&is, p, 4);
	assert_int_equal(is, event);
	assert_memory_equal(p + 4, lun, 8);
	memcpy(&is, p + 12, 4);
	assert_int_equal(is, reason);
}

static void units_come_and_go(void **state)
{
	struct scsi_rig *b = scsi_start();
	struct test_disk *t = test_disk_new(DISK_BYTES);
	struct vio_scsi_lun more = { .target = 7, .lun = 300, .disk = &t->disk };
	unsigned removed = 0;

	(void)state;
	rig_rewind(b->g);
	unsigned char *p = event_buffer(b, 16), *q = event_buffer(b, 32);
	b->g->kept = b->g->used;
	rig_kick(b->g, EVENTS);
	assert_null(vio_scsi_dev_add(b->g->dev, &more));
	assert_non_null(vio_scsi_dev_add(b->g->dev, &more));
	expect_event(b, p, VIO_SCSI_T_TRANSPORT_RESET, "\1\7\x41\x2c\0\0\0\0", VIO_SCSI_EVT_RESET_RESCAN);
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x3f0e, TUR);
	scsi_at(b, 7, 300);
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2900, TUR);
	good(b, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0), NULL, 0, 512);
	t->hold = true;
	rig_rewind(b->g);
	struct ask a = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0), NULL, 0, 512);
	scsi_add(b, &a);
	t->stubborn = true;
	assert_null(vio_scsi_dev_remove(b->g->dev, 7, 300, count, &removed));
	assert_non_null(vio_scsi_dev_remove(b->g->dev, 7, 300, count, &removed));
	assert_non_null(vio_scsi_dev_add(b->g->dev, &more));		/* not before it is gone */
	expect_event(b, q, VIO_SCSI_T_TRANSPORT_RESET, "\1\7\x41\x2c\0\0\0\0", VIO_SCSI_EVT_RESET_REMOVED);
	assert_int_equal(removed, 0);
	scsi_at(b, 0, 5);		/* neighbours are served */
	struct ask n = scsi_ask(b, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0), NULL, 0, 256);
	scsi_add(b, &n);
	assert_ptr_equal(rig_get(b->g, REQUESTS, NULL), n.w);
	test_disk_release(t);
	vio_loop_pump(&b->g->wire, 100);
	assert_int_equal(removed, 1);
	assert_int_equal(t->channels, 0);
	assert_ptr_equal(rig_get(b->g, REQUESTS, NULL), a.w);
	scsi_take(b, &a);
	assert_int_equal(b->response, VIO_SCSI_S_TRANSPORT_FAILURE);
	scsi_at(b, 7, 300);
	responds(b, VIO_SCSI_S_BAD_TARGET, TUR);
	t->hold = false;
	assert_null(vio_scsi_dev_add(b->g->dev, &more));		/* and again */
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2900, TUR);
	assert_null(vio_scsi_dev_remove(b->g->dev, 7, 300, count, &removed));
	vio_loop_pump(&b->g->wire, 100);
	assert_int_equal(removed, 2);
	t->disk.ops->close(&t->disk);
	scsi_close(b);
}

static void without_hotplug_nothing_is_told(void **state)
{
	struct scsi_rig *b = scsi_start_with(BITS(VIO_F_VERSION_1));
	uint32_t used;

	(void)state;
	rig_rewind(b->g);
	unsigned char *p = event_buffer(b, 16);
	b->g->kept = b->g->used;
	rig_kick(b->g, EVENTS);
	assert_null(vio_scsi_dev_remove(b->g->dev, 0, 5, NULL, NULL));
	b->t[0]->disk.size = DISK_BYTES / 2;
	b->t[0]->disk.resized(b->t[0]->disk.resized_arg);
	vio_loop_pump(&b->g->wire, 100);
	assert_null(rig_get(b->g, EVENTS, &used));
	assert_int_equal(p[0], FILL);
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x3f0e, TUR);		/* but as unit attentions */
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2a09, TUR);
	b->t[0]->disk.size = DISK_BYTES;
	scsi_close(b);
}

static void sizes_of_units_change(void **state)
{
	struct scsi_rig *b = scsi_start();
	uint32_t used;

	(void)state;
	rig_rewind(b->g);
	unsigned char *p = event_buffer(b, 16);
	b->g->kept = b->g->used;
	rig_kick(b->g, EVENTS);
	b->t[3]->disk.size = DISK_BYTES / 2;		/* a CD-ROM's is not told so */
	b->t[3]->disk.resized(b->t[3]->disk.resized_arg);
	vio_loop_pump(&b->g->wire, 100);
	assert_null(rig_get(b->g, EVENTS, &used));
	b->t[1]->disk.size = DISK_BYTES / 2;
	b->t[1]->disk.resized(b->t[1]->disk.resized_arg);
	expect_event(b, p, VIO_SCSI_T_PARAM_CHANGE, "\1\0\0\5\0\0\0\0", 0x092a);
	scsi_at(b, 0, 5);
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2a09, TUR);
	good(b, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), NULL, 0, 8);
	assert_memory_equal(b->in, "\0\0\x03\xff", 4);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2100, CDB(0x28, 0, 0, 0, 4, 0, 0, 0, 1, 0), NULL, 0, 512);
	b->t[1]->disk.size = b->t[3]->disk.size = DISK_BYTES;
	scsi_close(b);
}

/* More events than may wait, and then a buffer. */
static void lost_events_are_told(void **state)
{
	struct scsi_rig *b = scsi_start();
	uint32_t used, is;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		b->t[1]->disk.size = DISK_BYTES - (i % 2 ? 0 : 512);
		b->t[1]->disk.resized(b->t[1]->disk.resized_arg);
	}
	assert_int_equal(vio_scsi_dev_events_missed(b->g->dev), 8);
	rig_rewind(b->g);
	unsigned char *small = event_buffer(b, 15), *p[40];
	rig_kick(b->g, EVENTS);
	vio_loop_pump(&b->g->wire, 100);
	assert_ptr_equal(rig_get(b->g, EVENTS, &used), small);		/* nothing fits in there: lost too */
	assert_int_equal(used, 0);
	assert_int_equal(rig_refused(b->g, EVENTS), 1);
	for (unsigned i = 0; i < 40; i++)
		p[i] = event_buffer(b, 16);
	rig_kick(b->g, EVENTS);
	vio_loop_pump(&b->g->wire, 100);
	for (unsigned i = 0; i < 31; i++) {
		assert_ptr_equal(rig_get(b->g, EVENTS, &used), p[i]);
		memcpy(&is, p[i], 4);
		assert_int_equal(is, i ? VIO_SCSI_T_PARAM_CHANGE : VIO_SCSI_T_PARAM_CHANGE | VIO_SCSI_T_EVENTS_MISSED);
	}
	assert_null(rig_get(b->g, EVENTS, &used));
	rig_reset(b->g);			/* nothing of it is left */
	rig_start(b->g, REQUESTS + 1, BITS(USUAL));
	scsi_settle(b);
	b->t[1]->disk.size = DISK_BYTES;
	scsi_close(b);
}

/* ---- Task management over several queues ---- */

static uint8_t *send_tmf(struct scsi_rig *b, uint32_t subtype, uint64_t id)
{
	uint8_t *r = rig_take(b->g, 24), *w = rig_take(b->g, 1);
	uint32_t type = 0;

	memcpy(r, &type, 4);
	memcpy(r + 4, &subtype, 4);
	memcpy(r + 8, b->lun, 8);
	memcpy(r + 16, &id, 8);
	*w = FILL;
	assert_true(rig_add(b->g, CONTROL, r, 24, 0, w, 1, 0));
	rig_kick(b->g, CONTROL);
	return w;
}

static struct scsi_rig *start_queues(uint16_t queues)
{
	struct scsi_rig *b = scsi_new();

	b->o.queues = queues;
	scsi_begin(b, BITS(USUAL));
	scsi_settle(b);
	rig_rewind(b->g);
	return b;
}

static void queues_are_reset_together(void **state)
{
	struct scsi_rig *b = start_queues(3);
	struct ask a[3], other;

	(void)state;
	b->t[0]->hold = b->t[0]->stubborn = b->t[1]->hold = true;
	for (unsigned i = 0; i < 3; i++) {
		b->queue = (uint16_t)(REQUESTS + i);
		a[i] = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
		scsi_add(b, &a[i]);
	}
	scsi_at(b, 0, 5);
	other = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
	scsi_add(b, &other);
	scsi_at(b, 0, 0);
	uint8_t *w = send_tmf(b, VIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0);
	scsi_at(b, 0, 5);		/* another unit's function does not wait for it */
	uint8_t *v = send_tmf(b, VIO_SCSI_T_TMF_ABORT_TASK_SET, 0);
	assert_ptr_equal(rig_get(b->g, CONTROL, NULL), v);
	assert_ptr_equal(rig_get(b->g, REQUESTS + 2, NULL), other.w);
	assert_int_equal(*w, FILL);
	for (unsigned i = 0; i < 3; i++) {
		assert_null(rig_get(b->g, CONTROL, NULL));
		test_disk_do(b->t[0], b->t[0]->held[--b->t[0]->held_count]);
		vio_loop_pump(&b->g->wire, 100);
	}
	assert_ptr_equal(rig_get(b->g, CONTROL, NULL), w);
	assert_int_equal(*w, VIO_SCSI_S_FUNCTION_COMPLETE);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(rig_get(b->g, (uint16_t)(REQUESTS + i), NULL), a[i].w);
		scsi_take(b, &a[i]);
		assert_int_equal(b->response, VIO_SCSI_S_RESET);
	}
	b->t[0]->hold = b->t[1]->hold = false;
	scsi_close(b);
}

static void a_nexus_is_all_of_a_target(void **state)
{
	struct scsi_rig *b = start_queues(1);
	struct ask a[2];

	(void)state;
	b->t[0]->hold = b->t[1]->hold = true;
	for (unsigned i = 0; i < 2; i++) {
		scsi_at(b, 0, i ? 5 : 0);
		a[i] = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
		scsi_add(b, &a[i]);
	}
	uint8_t *w = send_tmf(b, VIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0);
	assert_ptr_equal(rig_get(b->g, CONTROL, NULL), w);
	for (unsigned i = 0; i < 2; i++)
		assert_non_null(rig_get(b->g, REQUESTS, NULL));
	b->t[0]->hold = b->t[1]->hold = false;
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2907, TUR);
	scsi_close(b);
}

/* More functions than there are places for at a time; all are answered in the end. */
static void many_functions(void **state)
{
	struct scsi_rig *b = start_queues(2);
	unsigned answered = 0;

	(void)state;
	b->t[0]->hold = b->t[0]->stubborn = true;
	struct ask a = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
	scsi_add(b, &a);
	for (unsigned i = 0; i < 30; i++)
		send_tmf(b, VIO_SCSI_T_TMF_ABORT_TASK, 0);
	assert_null(rig_get(b->g, CONTROL, NULL));
	test_disk_release(b->t[0]);
	vio_loop_pump(&b->g->wire, 1000);
	while (rig_get(b->g, CONTROL, NULL))
		answered++;
	assert_int_equal(answered, 30);
	assert_ptr_equal(rig_get(b->g, REQUESTS, NULL), a.w);
	b->t[0]->hold = false;
	scsi_close(b);
}

/* A reset while a function waits ends both. */
static void reset_ends_functions(void **state)
{
	struct scsi_rig *b = start_queues(2);

	(void)state;
	b->t[0]->hold = true;
	b->t[0]->stubborn = true;
	struct ask a = scsi_ask(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), NULL, 0, 512);
	scsi_add(b, &a);
	send_tmf(b, VIO_SCSI_T_TMF_ABORT_TASK, 0);
	b->g->wire.port.ops->set_status(&b->g->wire.port, 0);
	assert_int_not_equal(vio_dev_status(b->g->dev), 0);
	test_disk_release(b->t[0]);
	while (vio_dev_status(b->g->dev))
		vio_loop_pump(&b->g->wire, 10);
	b->t[0]->hold = false;
	rig_start(b->g, REQUESTS + 2, BITS(USUAL));
	scsi_settle(b);
	good(b, TUR);
	scsi_close(b);
}

/* ---- A daemon that died ---- */

static void note_stop(void *arg, unsigned queue, uint32_t base) { (void)queue; *(uint32_t *)arg = base; }

/* Stop the request queue as a crash would, and start it anew with the journal. */
static void die_and_come_back(struct scsi_rig *b, void *journal)
{
	struct vio_queue_start s = { .place = b->g->q[REQUESTS].place, .journal = journal };

	vio_dev_queue_stop(b->g->dev, REQUESTS, true, note_stop, &s.base);
	assert_null(vio_dev_queue_start(b->g->dev, REQUESTS, &s));
	vio_dev_queue_enable(b->g->dev, REQUESTS, true);
	vio_dev_queue_turn(b->g->dev, REQUESTS);
	vio_loop_pump(&b->g->wire, 100);
}

/* What it is asked is done, but the answer is lost with the one who did it; the next one does it again.  The status. */
static uint8_t done_twice(struct scsi_rig *b, void *journal, const uint8_t *cdb, size_t cdb_len, const void *out, size_t out_len)
{
	rig_rewind(b->g);
	struct ask a = scsi_ask(b, cdb, cdb_len, out, out_len, 0);
	vio_devq_drop(&b->g->dev->queue[REQUESTS].ring);
	scsi_add(b, &a);
	assert_null(rig_get(b->g, REQUESTS, NULL));
	die_and_come_back(b, journal);
	assert_ptr_equal(rig_get(b->g, REQUESTS, NULL), a.w);
	assert_null(rig_get(b->g, REQUESTS, NULL));
	scsi_take(b, &a);
	assert_int_equal(b->response, VIO_SCSI_S_OK);
	return b->status;
}

static void what_is_done_again(void **state)
{
	void *journal = aligned_alloc(64, vio_journal_bytes(RIG_SIZE, false));
	struct vio_keep *keep = vio_keep_memory_open();
	struct scsi_rig *b = scsi_new();
	unsigned char data[1024];
	uint8_t list[24] = { [15] = 7 };

	(void)state;
	b->luns[0].keep = keep;
	scsi_begin(b, BITS(USUAL));
	scsi_settle(b);
	memset(journal, 0, vio_journal_bytes(RIG_SIZE, false));
	die_and_come_back(b, journal);
	/* COMPARE AND WRITE: the medium has what it writes */
	memcpy(data, b->t[0]->bytes, 512);
	memset(data + 512, 0x42, 512);
	assert_int_equal(done_twice(b, journal, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), data, 1024), 0);
	assert_int_equal(b->residual, 0);
	assert_memory_equal(b->t[0]->bytes, data + 512, 512);
	check(b, VIO_SENSE_MISCOMPARE, 0x1d00, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), data, 1024, 0);	/* a new one */
	data[512]++;				/* it had miscompared the first time: it does again */
	assert_int_equal(done_twice(b, journal, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), data, 1024), 2);
	/* PERSISTENT RESERVE OUT: REGISTER with key 0 would be a conflict with itself */
	b->id = 77;
	assert_int_equal(done_twice(b, journal, CDB(0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0), list, 24), 0);
	assert_int_equal(scsi_run(b, CDB(0x5f, 0, 0, 0, 0, 0, 0, 0, 24, 0), list, 24, 0), VIO_SAM_RESERVATION_CONFLICT);
	good(b, CDB(0x5e, 0, 0, 0, 0, 0, 0, 0, 16, 0), NULL, 0, 16);
	assert_memory_equal(b->in, "\0\0\0\1\0\0\0\x08\0\0\0\0\0\0\0\7", 16);	/* generation 1: once */
	scsi_close(b);
	vio_keep_close(keep);
	free(journal);
}

/* ---- Operator ---- */

static bool sum_up(void *arg, const struct vio_scsi_dev_unit *u)
{
	struct vio_scsi_dev_unit *to = arg;

	if (u->target == 0 && u->lun == 0)
		*to = *u;
	return true;
}

static void what_happened_is_counted(void **state)
{
	struct scsi_rig *b = scsi_start();
	struct vio_scsi_dev_unit before = { 0 }, u = { 0 };
	unsigned char block[512] = { 0 };

	(void)state;
	vio_scsi_dev_each(b->g->dev, sum_up, &before);
	good(b, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), block, 512, 0);
	good(b, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0), NULL, 0, 1024);
	check(b, VIO_SENSE_ILLEGAL_REQUEST, 0x2000, CDB(0xff, 0, 0, 0, 0, 0), NULL, 0, 0);
	vio_scsi_dev_each(b->g->dev, sum_up, &u);
	assert_int_equal(u.commands - before.commands, 3);
	assert_int_equal(u.bytes_read, 1024);
	assert_int_equal(u.bytes_written, 512);
	assert_int_equal(u.failed, 1);
	assert_true(u.write_cache && u.has_medium && !u.removable && !u.cdrom);
	assert_int_equal(u.blocks, BLOCKS);
	scsi_close(b);
}

static void options_are_refused(void **state)
{
	static const struct { const char *says; struct vio_scsi_lun lun; uint16_t queues; uint32_t disk_block; } rows[] = {
		{ "1 to 62", { 0 }, 63, 512 }, { "1 to 62", { 0 }, 0, 512 },
		{ "16383", { .lun = 16384 }, 1, 512 },
		{ "512, 1024, 2048 or 4096", { .logical_block = 8192 }, 1, 512 },
		{ "512, 1024, 2048 or 4096", { .logical_block = 513 }, 1, 512 },
		{ "2048 bytes", { .cdrom = true, .logical_block = 512 }, 1, 512 },
		{ "not less than the disk's", { .logical_block = 512 }, 1, 4096 },
		{ "physical block", { .physical_block = 300 }, 1, 512 },
		{ "printable", { .serial = "\n" }, 1, 512 },
		{ "begins with 5, 3 or 2", { .wwn = 1 }, 1, 512 },
		{ "T10_PI", { .protect = true }, 1, 512 },
		{ "no protection", { .cdrom = true, .protect = true }, 1, 512 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct scsi_rig *b = scsi_new();
		struct vio_scsi_lun lun = rows[i].lun;
		lun.disk = &b->t[0]->disk;
		b->t[0]->disk.logical_block = rows[i].disk_block;
		b->o.luns = &lun;
		b->o.lun_count = 1;
		b->o.queues = rows[i].queues;
		const char *why = rig_open(b->g, &vio_dev_scsi, &b->o);
		if (!why || !strstr(why, rows[i].says))
			fail_msg("%s: %s", rows[i].says, why ? why : "(taken)");
		scsi_close(b);
	}
}

static void a_full_device(void **state)
{
	struct scsi_rig *b = scsi_start();
	struct vio_disk *disk[VIO_SCSI_LUNS];
	struct vio_scsi_lun lun = { 0 };
	unsigned n;

	(void)state;
	for (n = 0; n < VIO_SCSI_LUNS; n++) {
		disk[n] = vio_disk_ram_open(4096, NULL, (struct vio_disk_place){ 0 });
		lun = (struct vio_scsi_lun){ .target = (uint8_t)(n + 10), .lun = (uint16_t)(n * 61), .disk = disk[n] };
		if (vio_scsi_dev_add(b->g->dev, &lun))
			break;
	}
	assert_int_equal(n, VIO_SCSI_LUNS - UNITS);
	for (unsigned i = 0; i < n; i++) {
		scsi_at(b, (uint8_t)(i + 10), (uint16_t)(i * 61));
		check(b, VIO_SENSE_UNIT_ATTENTION, 0x2900, TUR);
	}
	memcpy(b->lun, "\xc1\1\0\0\0\0\0\0", 8);			/* all of them, as virtio writes them */
	good(b, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0), NULL, 0, 4096);
	assert_int_equal(vio_be32_at(b->in), 8 * VIO_SCSI_LUNS);
	assert_int_equal(b->in[8], 1);
	for (unsigned i = 0; i < n; i++)
		assert_null(vio_scsi_dev_remove(b->g->dev, (uint8_t)(i + 10), (uint16_t)(i * 61), NULL, NULL));
	vio_loop_pump(&b->g->wire, 100000);
	assert_null(vio_scsi_dev_add(b->g->dev, &lun));
	assert_null(vio_scsi_dev_remove(b->g->dev, lun.target, lun.lun, NULL, NULL));
	vio_loop_pump(&b->g->wire, 1000);
	for (unsigned i = 0; i <= n; i++)
		vio_disk_close(disk[i]);
	scsi_close(b);
}

static void the_operator_sets_the_cache(void **state)
{
	struct scsi_rig *b = scsi_start();

	(void)state;
	assert_null(vio_scsi_dev_set_write_cache(b->g->dev, 0, 0, true));
	good(b, TUR);				/* nothing has changed */
	assert_null(vio_scsi_dev_set_write_cache(b->g->dev, 0, 0, false));
	check(b, VIO_SENSE_UNIT_ATTENTION, 0x2a01, TUR);
	good(b, CDB(0x1a, 8, 0x08, 0, 255, 0), NULL, 0, 255);
	assert_int_equal(b->in[6], 0);
	assert_non_null(vio_scsi_dev_set_write_cache(b->g->dev, 0, 1, false));
	assert_non_null(vio_scsi_dev_set_write_cache(b->g->dev, 4, 0, false));
	scsi_close(b);
}

/* ---- Saved state ---- */

static void state_is_saved_and_loaded(void **state)
{
	struct scsi_rig *b = scsi_start(), *other = scsi_new();
	static unsigned char saved[8192];

	(void)state;
	good(b, CDB(0x15, 0x10, 0, 0, 24, 0), "\0\0\0\0\x08\x12\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24, 0);
	set_size(b, SENSE, 48);
	assert_null(rig_open(other->g, &vio_dev_scsi, &other->o));
	size_t n = b->g->dev->type->save(b->g->dev, saved, sizeof saved);
	assert_int_equal(n, b->g->dev->type->save(b->g->dev, NULL, 0));
	assert_null(other->g->dev->type->load(other->g->dev, saved, n));
	struct vio_scsi_dev_unit u = { 0 };
	vio_scsi_dev_each(other->g->dev, sum_up, &u);
	assert_false(u.write_cache);
	struct vio_scsi_config *c = (struct vio_scsi_config *)(void *)other->g->dev->config;
	assert_int_equal(vio_le32_get(c->sense_size), 48);
	for (size_t k = 0; k < n; k++)
		assert_non_null(other->g->dev->type->load(other->g->dev, saved, k));
	saved[16] = 9;				/* a unit that is not there */
	assert_non_null(strstr(other->g->dev->type->load(other->g->dev, saved, n), "the same units"));
	scsi_close(b);
	scsi_close(other);
}

static const struct CMUnitTest tests[] = {
	T(config_is, "the config space, and that a reset makes the sizes 96 and 32 {scsi-dev-1; only us}"),
	T(sizes_are_adopted, "sense_size and cdb_size as the driver writes them"),
	T(sizes_change_in_flight, "a request keeps the sizes it began with; absurd ones end with a reset"),
	T(reset_forgets, "a reset cancels what is in flight and forgets what was selected"),
	T(power_on_is_told_once, "power on is told once to each, and not to those who need not know"),
	T(units_come_and_go, "units are added and removed under commands, and the driver is told {scsi-dev-6f; only us}"),
	T(without_hotplug_nothing_is_told, "without HOTPLUG and CHANGE there are no events {scsi-dev-11; only us}"),
	T(sizes_of_units_change, "a change of size is an event and a unit attention, but not of a CD-ROM drive {scsi-dev-12; only us}"),
	T(lost_events_are_told, "events without buffers are lost, and bit 31 says so {scsi-dev-9 scsi-dev-10; only us}"),
	T(queues_are_reset_together, "a reset of a unit waits for all queues, and for no other unit"),
	T(a_nexus_is_all_of_a_target, "I_T NEXUS RESET"),
	T(many_functions, "more functions than places: none is lost"),
	T(reset_ends_functions, "a device reset while a function waits"),
	T(what_is_done_again, "what a daemon that died had done already is not done twice"),
	T(what_happened_is_counted, "commands, bytes and failures are counted by unit"),
	T(the_operator_sets_the_cache, "the operator switches the write cache, and the guest is told"),
	T(options_are_refused, "options that can't be are refused in a sentence"),
	T(a_full_device, "256 units, and not one more"),
	T(state_is_saved_and_loaded, "sizes and modes are saved and loaded, and checked"),
};
int main(void) { return vio_tests("scsi_life", tests, sizeof tests / sizeof *tests); }
