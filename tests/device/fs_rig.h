/* A file system device on the rig, over a tree in memory, and the ways to ask it something. */
#ifndef VIO_TESTS_DEVICE_FS_RIG_H
#define VIO_TESTS_DEVICE_FS_RIG_H
#include <errno.h>
#include <stdio.h>
#include <vio/device/fs.h>
#include <vio/host/tree_memory.h>
#include <vio/spec/fs.h>
#include "rig.h"

enum { HIPRIO = 0, FILL = 0x5a, IN_HEADER = sizeof(struct vio_fuse_in_header), OUT_HEADER = sizeof(struct vio_fuse_out_header) };

struct fs_rig {
	struct rig *g;
	struct vio_tree *tree;
	struct vio_fs_options o;
	uint64_t unique;
};

static inline struct fs_rig fs_new(void)
{
	struct fs_rig b = { .g = rig_new(), .tree = vio_tree_memory_open(), .unique = 0x1000 };

	assert_non_null(b.tree);
	b.o = (struct vio_fs_options){ .tree = b.tree, .tag = "files", .request_queues = 2, .queue_size = RIG_SIZE };
	return b;
}

static inline void fs_close(struct fs_rig *b)
{
	rig_close(b->g);
	vio_tree_close(b->tree);
}

static inline void fs_open_start(struct fs_rig *b, struct vio_features features)
{
	assert_null(rig_open(b->g, &vio_dev_fs, &b->o));
	rig_start(b->g, (uint16_t)(b->o.request_queues + 1), features);
}

/* Both ring formats, plain and with everything, over memory in one piece and in single bytes. */
enum { SHAPES = 8 };
static inline struct vio_features fs_shape(unsigned shape)
{
	const struct vio_features rings[] = { BITS(VIO_F_VERSION_1), BITS(VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX), BITS(VIO_F_RING_PACKED),
		BITS(VIO_F_RING_PACKED, VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_IN_ORDER) };
	return rings[shape / 2];
}

static inline void fs_start_shape(struct fs_rig *b, unsigned shape)
{
	b->g->mem.clip = shape & 1;
	fs_open_start(b, fs_shape(shape));
}

/* ---- Requests ---- */

/* On its way: what the device may read and write. */
struct ask { unsigned char *r, *w; size_t r_len, w_len; };

/* Arguments behind a header of opcode and node; room bytes behind the answer's header, all FILL. */
static inline struct ask fs_ask(struct fs_rig *b, uint32_t opcode, uint64_t node, const void *args, size_t n, size_t room)
{
	struct vio_fuse_in_header h = {
		.len = vio_le32_of((uint32_t)(sizeof h + n)), .opcode = vio_le32_of(opcode), .unique = vio_le64_of(++b->unique),
		.nodeid = vio_le64_of(node), .uid = vio_le32_of(1000), .gid = vio_le32_of(100), .pid = vio_le32_of(77),
	};
	struct ask a = { .r_len = sizeof h + n, .w_len = OUT_HEADER + room };

	a.r = rig_take(b->g, a.r_len);
	a.w = rig_take(b->g, a.w_len + 1);
	memcpy(a.r, &h, sizeof h);
	if (n)
		memcpy(a.r + sizeof h, args, n);
	memset(a.w, FILL, a.w_len + 1);
	return a;
}

static inline void fs_add(struct fs_rig *b, uint16_t queue, const struct ask *a, size_t r_cut, size_t w_cut)
{
	assert_true(rig_add(b->g, queue, a->r, a->r_len, r_cut, a->w_len ? a->w : NULL, a->w_len, w_cut));
}

static inline struct vio_fuse_out_header fs_out(const struct ask *a)
{
	struct vio_fuse_out_header h;
	memcpy(&h, a->w, sizeof h);
	return h;
}

/* An answer that came back: its header must fit the request and used.len.  The error, 0 or positive. */
static inline int fs_judge(const struct ask *a, uint32_t used)
{
	struct vio_fuse_out_header h = fs_out(a);
	struct vio_fuse_in_header in;

	memcpy(&in, a->r, sizeof in);
	assert_int_equal(vio_le32_get(h.len), used);
	assert_int_equal(vio_le64_get(h.unique), vio_le64_get(in.unique));
	int error = -(int)vio_le32_get(h.error);
	assert_in_range(error, 0, 511);
	if (error)
		assert_int_equal(used, OUT_HEADER);
	assert_int_equal(a->w[a->w_len], FILL);
	return error;
}

/* Send it alone to a queue and take it back. */
static inline int fs_run(struct fs_rig *b, uint16_t queue, const struct ask *a, size_t r_cut, size_t w_cut, uint32_t *used)
{
	fs_add(b, queue, a, r_cut, w_cut);
	rig_kick(b->g, queue);
	assert_ptr_equal(rig_get(b->g, queue, used), a->w);
	assert_null(b->g->q[queue].broken);
	return fs_judge(a, *used);
}

/*
 * The short form: in queue 1, as few buffers as usual.  The error; what is behind the answer's header, at most room bytes,
 * comes back in out, and in *got how many those are.
 */
static inline int fs_do(struct fs_rig *b, uint32_t opcode, uint64_t node, const void *args, size_t n, void *out, size_t room,
    size_t *got)
{
	uint32_t used;

	rig_rewind(b->g);
	struct ask a = fs_ask(b, opcode, node, args, n, room);
	int error = fs_run(b, 1, &a, 0, 0, &used);
	if (out && used > OUT_HEADER)
		memcpy(out, a.w + OUT_HEADER, used - OUT_HEADER);
	if (got)
		*got = used - OUT_HEADER;
	return error;
}

#define ALL_INIT (~UINT64_C(0) & ~(UINT64_C(1) << VIO_FUSE_INIT_RESERVED))

static inline int fs_init_as(struct fs_rig *b, uint32_t major, uint32_t minor, uint64_t flags, struct vio_fuse_init_out *out)
{
	struct vio_fuse_init_out unused;
	struct vio_fuse_init_in in = {
		.major = vio_le32_of(major), .minor = vio_le32_of(minor), .max_readahead = vio_le32_of(131072),
		.flags = vio_le32_of((uint32_t)flags), .flags2 = vio_le32_of((uint32_t)(flags >> 32)),
	};
	return fs_do(b, VIO_FUSE_INIT, 0, &in, sizeof in, out ? out : &unused, sizeof unused, NULL);
}

static inline void fs_init(struct fs_rig *b) { assert_int_equal(fs_init_as(b, 7, 38, ALL_INIT, NULL), 0); }

/* Arguments and a name or two with their NULs behind them, in one piece: how long it is. */
static inline size_t fs_args(unsigned char *to, const void *args, size_t n, const char *name, const char *name2)
{
	if (n)
		memcpy(to, args, n);
	if (name) {
		memcpy(to + n, name, strlen(name) + 1);
		n += strlen(name) + 1;
	}
	if (name2) {
		memcpy(to + n, name2, strlen(name2) + 1);
		n += strlen(name2) + 1;
	}
	return n;
}

static inline int fs_lookup(struct fs_rig *b, uint64_t dir, const char *name, struct vio_fuse_entry_out *out)
{
	struct vio_fuse_entry_out unused;
	return fs_do(b, VIO_FUSE_LOOKUP, dir, name, strlen(name) + 1, out ? out : &unused, sizeof unused, NULL);
}

static inline uint64_t fs_mkdir(struct fs_rig *b, uint64_t dir, const char *name)
{
	struct vio_fuse_mkdir_in in = { vio_le32_of(0750), vio_le32_of(022) };
	struct vio_fuse_entry_out out;
	unsigned char args[512];
	size_t n = fs_args(args, &in, sizeof in, name, NULL);

	assert_int_equal(fs_do(b, VIO_FUSE_MKDIR, dir, args, n, &out, sizeof out, NULL), 0);
	return vio_le64_get(out.nodeid);
}

struct created { struct vio_fuse_entry_out entry; struct vio_fuse_open_out open; };

static inline int fs_create(struct fs_rig *b, uint64_t dir, const char *name, struct created *out)
{
	struct vio_fuse_create_in in = { vio_le32_of(2), vio_le32_of(0100644), vio_le32_of(022), vio_le32_of(0) };
	unsigned char args[512];

	return fs_do(b, VIO_FUSE_CREATE, dir, args, fs_args(args, &in, sizeof in, name, NULL), out, sizeof *out, NULL);
}

static inline int fs_write(struct fs_rig *b, const struct created *f, uint64_t at, const void *bytes, uint32_t n, uint32_t *wrote)
{
	struct vio_fuse_write_in in = { .fh = f->open.fh, .offset = vio_le64_of(at), .size = vio_le32_of(n) };
	struct vio_fuse_write_out out = { vio_le32_of(0) };
	unsigned char *args = malloc(sizeof in + n + 1);

	memcpy(args, &in, sizeof in);
	memcpy(args + sizeof in, bytes, n);
	int error = fs_do(b, VIO_FUSE_WRITE, vio_le64_get(f->entry.nodeid), args, sizeof in + n, &out, sizeof out, NULL);
	free(args);
	*wrote = vio_le32_get(out.size);
	return error;
}

static inline int fs_read(struct fs_rig *b, const struct created *f, uint64_t at, void *to, uint32_t n, size_t *got)
{
	struct vio_fuse_read_in in = { .fh = f->open.fh, .offset = vio_le64_of(at), .size = vio_le32_of(n) };
	return fs_do(b, VIO_FUSE_READ, vio_le64_get(f->entry.nodeid), &in, sizeof in, to, n, got);
}

/* FORGET and its kind, in a queue: nothing comes back but the chain. */
static inline void fs_tell(struct fs_rig *b, uint16_t queue, uint32_t opcode, uint64_t node, const void *args, size_t n)
{
	uint32_t used;

	struct ask a = fs_ask(b, opcode, node, args, n, 0);
	a.w_len = 0;
	fs_add(b, queue, &a, 0, 0);
	rig_kick(b->g, queue);
	assert_ptr_equal(rig_get(b->g, queue, &used), a.r);
	assert_int_equal(used, 0);
}

static inline struct vio_tree_memory_count fs_count(const struct fs_rig *b) { return vio_tree_memory_count(b->tree); }

/* "0a 1B2c" -> bytes; how many. */
static inline size_t unhex(const char *text, unsigned char *to)
{
	size_t n = 0;
	unsigned v;

	for (; *text; text += *text == ' ' ? 1 : 2)
		if (*text != ' ') {
			assert_int_equal(sscanf(text, "%2x", &v), 1);
			to[n++] = (unsigned char)v;
		}
	return n;
}
#endif
