/* The load on a file system: one file in the root, which every queue looks up, asks about, reads or writes. */
#include <stdio.h>
#include <string.h>
#include "bench.h"

#define NAME "vio-bench"
enum { CHUNK = 1 << 20 };		/* the file is filled by so much at a time */

/* The file is as large as wanted, and every byte of it has been written. */
static bool fill(struct bench *b, const struct vio_fs_file *file)
{
	struct vio_fuse_attr attr;
	int error = vio_fs_getattr(b->fs, file->node, &attr);
	uint64_t at = error ? 0 : vio_le64_get(attr.size);
	uint64_t chunk = b->worker[0].chunk * b->o.qd;
	uint32_t most = chunk < CHUNK ? (uint32_t)chunk : CHUNK, put;

	if (most > b->fs->max_write)
		most = b->fs->max_write;
	while (!error && at < b->size) {
		uint32_t n = b->size - at < most ? (uint32_t)(b->size - at) : most;
		error = vio_fs_write(b->fs, file, at, b->worker[0].area, n, &put);
		at += put;
		if (!error && put == 0)
			return bench_refuse("The file " NAME " ends at %llu bytes.", (unsigned long long)at);
	}
	return !error || bench_refuse("The file " NAME " can't be written: error %d.", error);
}

static bool open_file(struct bench *b, struct vio_fs_file *file)
{
	enum { READ_WRITE = 2 };
	struct vio_fuse_entry_out entry;
	int error = vio_fs_lookup(b->fs, VIO_FUSE_ROOT_ID, NAME, &entry);

	if (error == 2 /* ENOENT */ || (!error && vio_le64_get(entry.nodeid) == 0))
		error = vio_fs_create(b->fs, VIO_FUSE_ROOT_ID, NAME, 0600, file);
	else if (!error)
		error = vio_fs_open(b->fs, vio_le64_get(entry.nodeid), READ_WRITE, file);
	return !error || bench_refuse("The file " NAME " can't be opened in the root of the file system: error %d.", error);
}

bool bench_fs_start(struct bench *b)
{
	struct vio_fs_file file;
	enum { CONFIG = 9 };		/* the vhost-user protocol feature */

	/* QEMU keeps tag and queues to itself, so some back ends can't tell them (C virtiofsd); they have one request queue. */
	if (!(vio_vhost_protocol(b->front) >> CONFIG & 1))
		b->fs_setup.queues_there = 1;
	if (!vio_fs_start(b->fs, vio_vhost_drv_port(b->front), &b->fs_setup)) {
		const char *said = vio_vhost_why(b->front);
		return bench_refuse("The device can't be started: %s.%s%s", b->fs->drv.failed, *said ? " " : "", said);
	}
	if (b->packed && !vio_drv_has(&b->fs->drv, VIO_F_RING_PACKED))
		return bench_refuse("The back end has no packed rings: leave out --packed.");
	if (b->in_order && !vio_drv_has(&b->fs->drv, VIO_F_IN_ORDER))
		return bench_refuse("The back end doesn't use buffers in order: leave out --in-order.");
	if (b->fs->queues < b->o.queues)
		return bench_refuse("The back end has %u request queues: use --queues=%u.", b->fs->queues, b->fs->queues);
	if (b->o.bs > b->fs->max_write)
		return bench_refuse("The back end takes at most %u bytes at a time: use a smaller --bs.", b->fs->max_write);
	if (b->size == UINT64_MAX)
		b->size = UINT64_C(256) << 20;
	uint64_t blocks = b->size / b->o.bs / b->o.queues;
	if (blocks == 0)
		return bench_refuse("The file is smaller than a request of each queue: use a larger --size.");
	if (!open_file(b, &file) || !fill(b, &file))
		return false;
	for (uint16_t i = 0; i < b->o.queues; i++) {
		b->worker[i].file = file;
		b->worker[i].blocks = blocks;
		b->worker[i].first_block = i * blocks;
	}
	return true;
}

/* ---- The load ---- */

static void note_error(struct bench_worker *w, const struct vio_fs_request *r)
{
	if (w->errors++ == 0)
		snprintf(w->first_error, sizeof w->first_error, "%s: error %d, %u bytes", r->opcode == VIO_FUSE_READ ? "READ" :
		    r->opcode == VIO_FUSE_WRITE ? "WRITE" : r->opcode == VIO_FUSE_LOOKUP ? "LOOKUP" : "GETATTR", r->error, r->got);
}

static void submit(struct bench_worker *w, struct vio_fs_request *r, uint64_t now)
{
	struct vio_fuse_read_in *in = (struct vio_fuse_read_in *)(void *)r->args;	/* WRITE's begins in the same way */

	if (w->o->fs == BENCH_FS_READ || w->o->fs == BENCH_FS_WRITE) {
		in->offset = vio_le64_of((w->first_block + bench_random(w, w->blocks)) * w->o->bs);
		void *buffer = bench_buffer(w, (uint32_t)(r - w->ask));
		if (w->o->fs == BENCH_FS_READ)
			r->receive = buffer;
		else
			r->send = buffer;
	}
	r->cookie = (void *)(uintptr_t)now;
	if (vio_fs_submit(w->fs, w->queue, r))
		w->inflight++;
	else
		note_error(w, r);
}

static void finish(struct bench_worker *w, const struct vio_fs_request *r, uint64_t now)
{
	vio_le32 wrote;

	bench_count(w, now - (uintptr_t)r->cookie);
	memcpy(&wrote, r->answer, sizeof wrote);
	if (r->error || (r->opcode == VIO_FUSE_READ && r->got != w->o->bs) ||
	    (r->opcode == VIO_FUSE_WRITE && vio_le32_get(wrote) != w->o->bs))
		note_error(w, r);
}

static uint32_t turn(struct bench_worker *w, uint64_t *now, bool more)
{
	struct vio_fs_request *r = vio_fs_poll(w->fs, w->queue);
	uint32_t n = 0;

	if (!r)
		return 0;
	*now = bench_ticks();
	do {
		finish(w, r, *now);
		if (more)
			submit(w, r, *now);
		n++;
	} while (n < w->o->qd && (r = vio_fs_poll(w->fs, w->queue)));
	if (more)
		vio_fs_kick(w->fs, w->queue);
	return n;
}

static void submit_first(struct bench_worker *w, uint32_t i, uint64_t now) { submit(w, &w->ask[i], now); }
static void kick(struct bench_worker *w) { vio_fs_kick(w->fs, w->queue); }

static void prepare(const struct bench_worker *w, struct vio_fs_request *r)
{
	const struct vio_fuse_write_in wr = { .fh = vio_le64_of(w->file.handle), .size = vio_le32_of(w->o->bs) };
	const struct vio_fuse_read_in rd = { .fh = vio_le64_of(w->file.handle), .size = vio_le32_of(w->o->bs) };

	memset(r, 0, sizeof *r);
	r->node = w->file.node;
	switch (w->o->fs) {
	case BENCH_FS_LOOKUP:
		r->opcode = VIO_FUSE_LOOKUP;
		r->node = VIO_FUSE_ROOT_ID;
		r->answer_len = sizeof(struct vio_fuse_entry_out);
		memcpy(r->args, NAME, sizeof NAME);	/* as arguments: they need no memory of their own */
		r->args_len = sizeof NAME;
		break;
	case BENCH_FS_GETATTR:
		r->opcode = VIO_FUSE_GETATTR;
		r->args_len = sizeof(struct vio_fuse_getattr_in);
		r->answer_len = sizeof(struct vio_fuse_attr_out);
		break;
	case BENCH_FS_READ:
		r->opcode = VIO_FUSE_READ;
		memcpy(r->args, &rd, sizeof rd);
		r->args_len = sizeof rd;
		r->receive_len = w->o->bs;
		break;
	default:
		r->opcode = VIO_FUSE_WRITE;
		memcpy(r->args, &wr, sizeof wr);
		r->args_len = sizeof wr;
		r->answer_len = sizeof(struct vio_fuse_write_out);
		r->send_len = w->o->bs;
	}
}

void bench_fs_prepare(struct bench *b, struct bench_worker *w)
{
	w->fs = b->fs;
	w->q = &b->fs->q[w->queue];
	w->vq = (uint16_t)(w->queue + 1);
	w->turn = turn;
	w->submit = submit_first;
	w->kick = kick;
	for (uint32_t i = 0; i < b->o.qd; i++)
		prepare(w, &w->ask[i]);
}
