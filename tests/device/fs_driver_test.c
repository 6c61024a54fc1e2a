/* The file system driver over the real device, in every shape; and against a device that lies. */
#include <vio/driver/fs.h>
#include "fake.h"
#include "fs_rig.h"

enum { DATA = 64 * 1024 };

/* A driver whose requests and rings lie in guest memory. */
struct drv {
	struct fs_rig r;
	struct vio_fs *f;
	struct vio_fs_setup setup;
	struct vio_fs_request *req;	/* 4 of them */
	unsigned char *data;
};

static void give_memory(struct rig *g, struct vio_fs_setup *s, uint16_t queues, bool indirect)
{
	s->queues = queues;
	s->queue_size = RIG_SIZE;
	for (uint16_t i = 0; i < queues; i++) {
		struct vio_fs_queue_memory *m = &s->memory[i];
		m->ring = rig_take(g, VIO_DRVQ_RING_BYTES(RIG_SIZE));
		m->slots = g->slots[i];
		m->indirect = indirect ? rig_take(g, RIG_SIZE * VIO_FS_DRV_INDIRECT * sizeof *m->indirect) : NULL;
	}
}

static struct drv *drv_new(void)
{
	struct drv *d = calloc(1, sizeof *d);

	assert_non_null(d);
	d->r = fs_new();
	d->f = rig_take(d->r.g, sizeof *d->f);
	give_memory(d->r.g, &d->setup, 2, true);
	/* a header that crosses a page, as the worst caller would have it */
	d->r.g->used = ((d->r.g->used + sizeof *d->req + 4095) & ~(size_t)4095) - 16;
	d->req = rig_take(d->r.g, 4 * sizeof *d->req);
	d->data = rig_take(d->r.g, 2 * DATA);
	return d;
}

static void drv_start(struct drv *d, struct vio_features wanted)
{
	d->setup.wanted = wanted;
	d->setup.init_flags = ALL_INIT;
	assert_null(rig_open(d->r.g, &vio_dev_fs, &d->r.o));
	if (!vio_fs_start(d->f, &d->r.g->wire.port, &d->setup))
		fail_msg("%s", d->f->drv.failed);
}

static void drv_close(struct drv *d)
{
	assert_true(vio_fs_stop(d->f));
	for (uint16_t i = 0; i < d->f->queues; i++)
		while (vio_fs_abandon(d->f, i))
			;
	assert_int_equal(d->r.g->maps, 0);	/* everything mapped was unmapped */
	fs_close(&d->r);
	free(d);
}

/* ---- Everything there is to ask, in every shape ---- */

static unsigned list(struct drv *d, uint64_t dir, char *names)
{
	struct vio_fs_file h;
	struct vio_fs_dirent e = { .next = 0 };
	uint32_t got, at;
	unsigned n = 0;

	assert_int_equal(vio_fs_opendir(d->f, dir, &h), 0);
	*names = 0;
	for (;;) {
		assert_int_equal(vio_fs_readdir(d->f, &h, e.next, d->data, 100, &got), 0);
		if (!got)
			break;
		for (at = 0; vio_fs_entry(d->data, got, &at, &e); n++) {
			strncat(names, e.name, e.len);
			strcat(names, " ");
		}
		assert_int_equal(at, got);
	}
	assert_int_equal(vio_fs_releasedir(d->f, &h), 0);
	return n;
}

static void walk_through(struct drv *d)
{
	struct vio_fs *f = d->f;
	struct vio_fs_file file, again;
	struct vio_fuse_entry_out entry;
	struct vio_fuse_attr attr;
	uint32_t n;
	uint64_t dir;
	char names[256];

	assert_string_equal(f->tag, "files");
	assert_int_equal(f->queues, 2);
	assert_int_equal(f->minor, 39);
	assert_int_equal(f->max_write, 1 << 20);
	assert_int_equal(vio_fs_mkdir(f, 1, "dir", 0700, &dir), 0);
	assert_int_equal(vio_fs_create(f, dir, "file", 0600, &file), 0);
	for (unsigned i = 0; i < DATA; i++)
		d->data[i] = (unsigned char)(i * 3 + i / 256);
	assert_int_equal(vio_fs_write(f, &file, 10, d->data, DATA, &n), 0);
	assert_int_equal(n, DATA);
	memset(d->data + DATA, 0xee, DATA);
	assert_int_equal(vio_fs_read(f, &file, 10, d->data + DATA, DATA, &n), 0);
	assert_int_equal(n, DATA);
	assert_memory_equal(d->data, d->data + DATA, DATA);
	assert_int_equal(vio_fs_read(f, &file, DATA, d->data, 100, &n), 0);
	assert_int_equal(n, 10);
	assert_int_equal(vio_fs_getattr(f, file.node, &attr), 0);
	assert_int_equal(vio_le64_get(attr.size), DATA + 10);
	assert_int_equal(vio_fs_fsync(f, &file), 0);
	assert_int_equal(vio_fs_release(f, &file), 0);
	assert_int_equal(vio_fs_lookup(f, dir, "none", &entry), 0);
	assert_int_equal(vio_le64_get(entry.nodeid), 0);
	assert_int_equal(vio_fs_rename(f, dir, "file", 1, "moved"), 0);
	assert_int_equal(vio_fs_lookup(f, 1, "moved", &entry), 0);
	assert_int_equal(vio_le64_get(entry.nodeid), file.node);
	assert_int_equal(list(d, 1, names), 4);
	assert_string_equal(names, ". .. dir moved ");
	assert_int_equal(vio_fs_open(f, file.node, 0, &again), 0);
	assert_int_equal(vio_fs_unlink(f, 1, "moved"), 0);
	assert_int_equal(vio_fs_unlink(f, 1, "moved"), ENOENT);
	assert_int_equal(vio_fs_release(f, &again), 0);
	for (unsigned i = 0; i < 3 * VIO_FS_DRV_HIPRIO; i++)	/* more than are on their way at a time */
		assert_true(vio_fs_forget(f, dir, 0));
	assert_true(vio_fs_forget(f, file.node, 2) && vio_fs_forget(f, dir, 1));
	assert_int_equal(fs_count(&d->r).looked_up, 0);
	assert_int_equal(vio_fs_getattr(f, file.node, &attr), ESTALE);
	assert_int_equal(vio_fs_mkdir(f, 1, "a/b", 0700, &dir), EINVAL);
	assert_int_equal(vio_fs_mkdir(f, 1, "", 0700, &dir), EINVAL);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(rig_refused(d->r.g, i), 0);
}

static void all_of_it_in_every_shape(void **state)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1), BITS(VIO_F_INDIRECT_DESC), BITS(VIO_F_EVENT_IDX),
		BITS(VIO_F_IN_ORDER), BITS(VIO_F_RING_PACKED), BITS(VIO_F_RING_PACKED, VIO_F_INDIRECT_DESC),
		BITS(VIO_F_RING_PACKED, VIO_F_EVENT_IDX, VIO_F_INDIRECT_DESC, VIO_F_IN_ORDER, VIO_F_NOTIFICATION_DATA) };
	const uint32_t cuts[] = { 0, 4096, 3000 };	/* how the platform cuts what it maps */

	(void)state;
	for (unsigned i = 0; i < sizeof rings / sizeof *rings; i++)
		for (unsigned c = 0; c < 3; c++)
			for (uint32_t clip = 0; clip < 2; clip++) {
				struct drv *d = drv_new();
				d->r.g->map_cut = cuts[c];
				d->r.g->mem.clip = clip;
				drv_start(d, rings[i]);
				walk_through(d);
				drv_close(d);
			}
}

static struct vio_fs_request *lock(struct drv *d, unsigned i, uint32_t opcode, const struct vio_fs_file *file, uint64_t owner)
{
	struct vio_fs_request *r = &d->req[i];
	struct vio_fuse_lk_in in = { .fh = vio_le64_of(file->handle), .owner = vio_le64_of(owner),
		.lk = { vio_le64_of(0), vio_le64_of(INT64_MAX), vio_le32_of(1), vio_le32_of(1) } };

	*r = (struct vio_fs_request){ .opcode = opcode, .node = file->node, .args_len = sizeof in };
	memcpy(r->args, &in, sizeof in);
	return r;
}

/* A lock is waited for in one queue; the other is used, lookups are forgotten, and the wait is interrupted. */
static void queues_go_on_by_themselves(void **state)
{
	struct drv *d = drv_new();
	struct vio_fs_file file;

	(void)state;
	drv_start(d, BITS(VIO_F_EVENT_IDX));
	assert_int_equal(vio_fs_create(d->f, 1, "f", 0600, &file), 0);
	assert_int_equal(vio_fs_do(d->f, lock(d, 0, VIO_FUSE_SETLK, &file, 1)), 0);
	struct vio_fs_request *waits = lock(d, 1, VIO_FUSE_SETLKW, &file, 2);
	assert_true(vio_fs_submit(d->f, 1, waits));
	vio_fs_kick(d->f, 1);
	assert_null(vio_fs_poll(d->f, 1));
	assert_int_equal(vio_fs_do(d->f, lock(d, 2, VIO_FUSE_SETLK, &file, 2)), EAGAIN);
	assert_true(vio_fs_forget(d->f, file.node, 1));
	assert_int_equal(fs_count(&d->r).looked_up, 0);
	assert_null(vio_fs_poll(d->f, 1));
	assert_true(vio_fs_interrupt(d->f, waits));
	vio_loop_pump(&d->r.g->wire, 16);
	assert_ptr_equal(vio_fs_poll(d->f, 1), waits);
	assert_int_equal(waits->error, EINTR);
	assert_int_equal(rig_refused(d->r.g, 0), 0);
	drv_close(d);
}

static void only_what_belongs_there(void **state)
{
	static const uint32_t urgent[] = { VIO_FUSE_FORGET, VIO_FUSE_BATCH_FORGET, VIO_FUSE_INTERRUPT };
	struct drv *d = drv_new();
	uint32_t n;

	(void)state;
	drv_start(d, BITS(VIO_F_VERSION_1));
	uint64_t normal = d->r.g->dev->queue[1].ring.stats.chains, hiprio = d->r.g->dev->queue[0].ring.stats.chains;
	for (unsigned i = 0; i < 3; i++)
		for (uint16_t q = 0; q < 3; q++) {
			d->req[0] = (struct vio_fs_request){ .opcode = urgent[i], .args_len = 8 };
			assert_false(vio_fs_submit(d->f, q, &d->req[0]));
			assert_int_equal(d->req[0].error, EINVAL);
		}
	assert_int_equal(d->r.g->dev->queue[1].ring.stats.chains, normal);
	assert_true(vio_fs_forget(d->f, 1, 1));
	assert_int_equal(d->r.g->dev->queue[0].ring.stats.chains, hiprio + 1);
	/* and no more than was agreed on */
	struct vio_fs_file none = { 1, 1 };
	assert_int_equal(vio_fs_read(d->f, &none, 0, d->data, d->f->max_read + 1, &n), EINVAL);
	assert_int_equal(vio_fs_write(d->f, &none, 0, d->data, d->f->max_write + 1, &n), EINVAL);
	assert_int_equal(vio_fs_read(d->f, &none, 0, d->data, 100, &n), EBADF);
	assert_int_equal(d->r.g->dev->queue[1].ring.stats.chains, normal + 1);
	drv_close(d);
}

static void fewer_queues_than_wanted(void **state)
{
	struct drv *d = drv_new();

	(void)state;
	d->r.o.request_queues = 1;
	drv_start(d, BITS(VIO_F_VERSION_1));
	assert_int_equal(d->f->queues, 1);
	d->req[0] = (struct vio_fs_request){ .opcode = VIO_FUSE_STATFS, .node = 1, .answer_len = 80 };
	assert_false(vio_fs_submit(d->f, 1, &d->req[0]));
	assert_int_equal(vio_fs_do(d->f, &d->req[0]), 0);
	drv_close(d);
}

/* What is late when the driver stops comes back as lost, and its memory is the driver's. */
static void what_is_late_is_given_back(void **state)
{
	struct drv *d = drv_new();
	unsigned n = 0;

	(void)state;
	drv_start(d, BITS(VIO_F_RING_PACKED));
	vio_tree_memory_faults(d->r.tree, &(struct vio_tree_faults){ .late_every = 1 });
	for (unsigned i = 0; i < 4; i++) {
		d->req[i] = (struct vio_fs_request){ .opcode = VIO_FUSE_STATFS, .node = 1, .answer_len = 80 };
		assert_true(vio_fs_submit(d->f, i & 1, &d->req[i]));
		vio_fs_kick(d->f, i & 1);
	}
	assert_true(vio_fs_stop(d->f));
	assert_false(vio_fs_submit(d->f, 0, &d->req[0]));
	for (uint16_t q = 0; q < 2; q++)
		for (struct vio_fs_request *r; (r = vio_fs_abandon(d->f, q)); n++)
			assert_int_equal(r->error, VIO_FS_E_LOST);
	assert_int_equal(n, 4);
	assert_int_equal(vio_fs_do(d->f, &d->req[0]), VIO_FS_E_LOST);
	assert_false(vio_fs_forget(d->f, 1, 1));
	drv_close(d);
}

/* ---- A device that lies ---- */

struct liar {
	struct fake *f;
	struct vio_fs *d;
	struct vio_fs_setup setup;
	unsigned char *data;
};

/* What the device says next. */
static struct { uint32_t len, error, used; uint64_t unique_off; bool silent; unsigned char bytes[256]; uint32_t n; } says;
static uint16_t answered;

static void init_says(uint32_t major, uint32_t minor, uint64_t flags, uint32_t write, uint16_t pages)
{
	struct vio_fuse_init_out out = { vio_le32_of(major), vio_le32_of(minor), vio_le32_of(0), vio_le32_of((uint32_t)flags),
		vio_le16_of(0), vio_le16_of(0), vio_le32_of(write), vio_le32_of(1), vio_le16_of(pages), vio_le16_of(0),
		vio_le32_of((uint32_t)(flags >> 32)) };

	memset(&says, 0, sizeof says);
	memcpy(says.bytes, &out, sizeof out);
	says.n = sizeof out;
	says.len = says.used = OUT_HEADER + sizeof out;
}

/* The n-th chain of the watched queue, a split one without indirect tables, is answered with what says says. */
static void answer(struct fake *f)
{
	uint16_t id = 0;

	if (!f->q || says.silent || vio_le16_get(((struct vio_split_avail *)f->q->place.driver)->idx) == answered)
		return;
	id = fake_id_of(f, answered & (uint16_t)(f->q->size - 1), 1);
	const struct vio_split_desc *d = &((struct vio_split_desc *)f->q->place.desc)[id];
	struct vio_fuse_in_header in;
	memcpy(&in, f->g->bytes + (vio_le64_get(d->addr) - RIG_GPA), sizeof in);
	struct vio_fuse_out_header out = { vio_le32_of(says.len), vio_le32_of(says.error),
		vio_le64_of(vio_le64_get(in.unique) + says.unique_off) };
	unsigned char all[OUT_HEADER + sizeof says.bytes];
	memcpy(all, &out, sizeof out);
	memcpy(all + sizeof out, says.bytes, says.n);
	for (uint32_t at = 0; at < sizeof out + says.n; ) {
		if (vio_le16_get(d->flags) & VIO_DESC_WRITE) {
			uint32_t part = vio_le32_get(d->len), left = (uint32_t)sizeof out + says.n - at;
			memcpy(f->g->bytes + (vio_le64_get(d->addr) - RIG_GPA), all + at, part < left ? part : left);
			at += part;
		}
		if (!(vio_le16_get(d->flags) & VIO_DESC_NEXT))
			break;
		d = &((struct vio_split_desc *)f->q->place.desc)[vio_le16_get(d->next)];
	}
	fake_use(f, answered++, id, says.used);
}

static struct liar *liar_new(void)
{
	struct liar *l = calloc(1, sizeof *l);

	assert_non_null(l);
	l->f = fake_new(VIO_ID_FS, BITS(VIO_FS_F_NOTIFICATION));
	l->f->watched = 1;
	l->f->on_kick = answer;
	answered = 0;
	struct vio_fs_config c = { .tag = "123456789012345678901234567890123456", .num_request_queues = vio_le32_of(1) };
	memcpy(l->f->config, &c, sizeof c);
	l->d = rig_take(l->f->g, sizeof *l->d);
	give_memory(l->f->g, &l->setup, 1, false);
	l->data = rig_take(l->f->g, 4096);
	init_says(7, 38, 0, 1 << 20, 256);
	return l;
}

static bool liar_start(struct liar *l) { return vio_fs_start(l->d, &l->f->port, &l->setup); }

static void liar_close(struct liar *l)
{
	if (l->d->drv.port) {
		vio_fs_stop(l->d);
		while (vio_fs_abandon(l->d, 0))
			;
	}
	assert_int_equal(l->f->g->maps, 0);
	assert_int_equal(l->f->config_writes, 0);
	fake_close(l->f);
	free(l);
}

static void what_init_says(void **state)
{
	const struct { const char *what; uint32_t major, minor; uint64_t flags; uint32_t write; uint16_t pages; bool ok; uint32_t r, w; } rows[] = {
		{ "as usual", 7, 38, UINT64_C(1) << VIO_FUSE_MAX_PAGES, 1 << 20, 256, true, 1 << 20, 1 << 20 },
		{ "another major version", 8, 38, 0, 1 << 20, 256, false, 0, 0 },
		{ "major version 0", 0, 38, 0, 1 << 20, 256, false, 0, 0 },
		{ "a larger minor version", 7, 40, 0, 1 << 20, 256, false, 0, 0 },
		{ "an ancient one", 7, 12, 0, 1 << 20, 256, false, 0, 0 },
		{ "a flag that nobody asked for", 7, 38, UINT64_C(1) << VIO_FUSE_WRITEBACK_CACHE, 1 << 20, 256, false, 0, 0 },
		{ "one of the second word", 7, 38, UINT64_C(1) << VIO_FUSE_INIT_EXT | UINT64_C(1) << 60, 1 << 20, 256, false, 0, 0 },
		{ "a second word that is not there", 7, 38, UINT64_C(1) << 60, 1 << 20, 256, true, 131072, 131072 },
		{ "nothing may be written", 7, 38, 0, 0, 256, true, 131072, 4096 },
		{ "everything may be written", 7, 38, 0, UINT32_MAX, 256, true, 131072, 131072 },
		{ "no pages", 7, 38, UINT64_C(1) << VIO_FUSE_MAX_PAGES, 1 << 20, 0, true, 131072, 131072 },
		{ "more pages than there are", 7, 38, UINT64_C(1) << VIO_FUSE_MAX_PAGES, UINT32_MAX, 65535, true, 1 << 20, 1 << 20 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct liar *l = liar_new();
		init_says(rows[i].major, rows[i].minor, rows[i].flags, rows[i].write, rows[i].pages);
		if (liar_start(l) != rows[i].ok)
			fail_msg("%s: %s", rows[i].what, rows[i].ok ? l->d->drv.failed : "was taken");
		if (rows[i].ok)
			assert_true(l->d->max_read == rows[i].r && l->d->max_write == rows[i].w);
		else
			assert_non_null(l->d->drv.failed);
		assert_false(vio_has(l->f->accepted, VIO_FS_F_NOTIFICATION));
		assert_int_equal(strlen(l->d->tag), 36);
		liar_close(l);
	}
}

static void no_start(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 7; i++) {
		struct liar *l = liar_new();
		switch (i) {
		case 0: memset(l->f->config + 36, 0, 4); break;		/* no request queues */
		case 1: l->f->config_bytes = 36; break;
		case 2: l->f->queue_max = 1; break;
		case 3: l->f->takes_no_queue = true; break;
		case 4: says.silent = true; break;			/* INIT is never answered */
		case 5: says.error = -(uint32_t)EPROTO; says.len = OUT_HEADER; break;
		case 6: l->setup.queues = 17; break;
		}
		assert_false(liar_start(l));
		assert_non_null(l->d->drv.failed);
		liar_close(l);
	}
}

static void answers_are_not_believed(void **state)
{
	const struct { const char *what; uint32_t len, error, used; uint64_t unique_off; int expected; uint32_t got; } rows[] = {
		{ "as usual", 24, 0, 24, 0, 0, 8 },
		{ "nothing was written", 24, 0, 0, 0, VIO_FS_E_WRONG, 0 },
		{ "half a header", 24, 0, 15, 0, VIO_FS_E_WRONG, 0 },
		{ "a length below the header's", 15, 0, 24, 0, VIO_FS_E_WRONG, 0 },
		{ "length 0", 0, 0, 24, 0, VIO_FS_E_WRONG, 0 },
		{ "a length beyond what was written", 25, 0, 24, 0, VIO_FS_E_WRONG, 0 },
		{ "the greatest length", UINT32_MAX, 0, 24, 0, VIO_FS_E_WRONG, 0 },
		{ "less than was written", 20, 0, 24, 0, 0, 4 },
		{ "another request's", 24, 0, 24, 1, VIO_FS_E_WRONG, 0 },
		{ "a positive error", 24, 2, 24, 0, VIO_FS_E_WRONG, 0 },
		{ "an error that is none", 16, -UINT32_C(512), 16, 0, VIO_FS_E_WRONG, 0 },
		{ "the largest error", 16, -UINT32_C(511), 16, 0, 511, 0 },
		{ "INT_MIN", 16, UINT32_C(0x80000000), 16, 0, VIO_FS_E_WRONG, 0 },
		{ "an error with bytes", 24, -UINT32_C(2), 24, 0, ENOENT, 0 },
		{ "an end", 16, 0, 16, 0, 0, 0 },
	};
	struct vio_fs_file file = { 2, 3 };
	uint32_t got;

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct liar *l = liar_new();
		assert_true(liar_start(l));
		memset(&says, 0, sizeof says);
		says.n = 8;
		says.len = rows[i].len;
		says.error = rows[i].error;
		says.used = rows[i].used;
		says.unique_off = rows[i].unique_off;
		int error = vio_fs_read(l->d, &file, 0, l->data, 8, &got);
		if (error != rows[i].expected || got != rows[i].got)
			fail_msg("%s: error %d, %u bytes", rows[i].what, error, got);
		/* fixed answers are whole or none */
		struct vio_fuse_attr attr;
		if (!rows[i].error)
			assert_int_equal(vio_fs_getattr(l->d, 2, &attr), VIO_FS_E_WRONG);
		liar_close(l);
	}
	struct liar *l = liar_new();
	assert_true(liar_start(l));
	memset(&says, 0, sizeof says);
	says.n = 8;
	says.len = says.used = 24;
	says.bytes[0] = 9;	/* more was written than was sent */
	assert_int_equal(vio_fs_write(l->d, &file, 0, l->data, 8, &got), VIO_FS_E_WRONG);
	says.bytes[0] = 8;
	assert_int_equal(vio_fs_write(l->d, &file, 0, l->data, 8, &got), 0);
	says.silent = true;
	assert_int_equal(vio_fs_read(l->d, &file, 0, l->data, 8, &got), VIO_FS_E_LOST);
	assert_non_null(strstr(l->d->drv.failed, "in time"));
	liar_close(l);
}

static void entries_are_not_believed(void **state)
{
	const struct { const char *what; uint32_t namelen, bytes; const char *name; uint32_t name_bytes; bool ok; } rows[] = {
		{ "as usual", 3, 32, "abc", 3, true }, { "the last without padding", 3, 27, "abc", 3, true },
		{ "no name", 0, 32, "", 0, false }, { "256 bytes", 256, 512, "a", 1, false },
		{ "the longest there is", UINT32_MAX, 512, "a", 1, false }, { "longer than the rest", 9, 32, "abcdefgh", 8, false },
		{ "a slash", 3, 32, "a/b", 3, false }, { "a NUL", 3, 32, "a\0b", 3, false }, { "half a header", 1, 23, "a", 1, false },
		{ "nothing", 0, 0, "", 0, false },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		unsigned char *p = guarded(rows[i].bytes ? rows[i].bytes : 1), all[512];
		struct vio_fuse_dirent d = { vio_le64_of(9), vio_le64_of(1), vio_le32_of(rows[i].namelen), vio_le32_of(4) };
		struct vio_fs_dirent e;
		uint32_t at = 0;
		memset(all, 'x', sizeof all);
		memcpy(all, &d, sizeof d);
		memcpy(all + sizeof d, rows[i].name, rows[i].name_bytes);
		memcpy(p, all, rows[i].bytes);
		if (vio_fs_entry(p, rows[i].bytes, &at, &e) != rows[i].ok)
			fail_msg("%s", rows[i].what);
		if (rows[i].ok) {
			assert_true(e.len == 3 && !memcmp(e.name, "abc", 3) && at == rows[i].bytes);
			assert_false(vio_fs_entry(p, rows[i].bytes, &at, &e));
		}
		at = UINT32_MAX;
		assert_false(vio_fs_entry(p, rows[i].bytes, &at, &e));
		unguard(p, rows[i].bytes ? rows[i].bytes : 1);
	}
}

static const struct CMUnitTest tests[] = {
	T(all_of_it_in_every_shape, "all of it, in every shape of ring and memory {fs-drv-5 fs-drv-8 fs-dev-7; only us}"),
	T(queues_go_on_by_themselves, "a request that waits holds up no other queue, and can be interrupted {fs-drv-5 fs-dev-3; only us}"),
	T(only_what_belongs_there, "FORGET and INTERRUPT go by the high priority queue, all else by the others {fs-drv-3 fs-drv-4}"),
	T(fewer_queues_than_wanted, "a device may have fewer queues than wanted"),
	T(what_is_late_is_given_back, "what is late when the driver stops is given back as lost"),
	T(what_init_says, "what a device says in INIT is believed within reason {fs-drv-1}"),
	T(no_start, "a device that can't be started fails in words and in time {fs-drv-1}"),
	T(answers_are_not_believed, "an answer that makes no sense is no answer"),
	T(entries_are_not_believed, "directory entries that make no sense are none"),
};

int main(void) { return vio_tests("fs-driver", tests, sizeof tests / sizeof *tests); }
