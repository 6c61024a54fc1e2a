/* The file system device (virtio 1.4, section 5.11) over a tree in memory. */
#include "fs_rig.h"
#include "fs_vectors.h"

/* ---- Options and config space ---- */

static void what_it_says_of_itself(void **state)
{
	const char *const tags[] = { "a", "123456789012345678901234567890123456", "m\xc3\xbcsli \xe2\x82\xac \xf0\x9f\x98\x80" };

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		for (uint16_t queues = 1; queues < 64; queues += 31) {
			struct fs_rig b = fs_new();
			b.o.tag = tags[i];
			b.o.request_queues = queues;
			assert_null(rig_open(b.g, &vio_dev_fs, &b.o));
			assert_int_equal(b.g->dev->queues, queues + 1);
			struct vio_fs_config c;
			char tag[VIO_FS_TAG + 1] = "";
			vio_dev_config_read(b.g->dev, 0, &c, sizeof c);
			memcpy(tag, c.tag, VIO_FS_TAG);
			assert_string_equal(tag, tags[i]);
			assert_int_equal(vio_le32_get(c.num_request_queues), queues);
			assert_int_equal(vio_le32_get(c.notify_buf_size), 0);
			assert_false(vio_has(vio_dev_offered(b.g->dev), VIO_FS_F_NOTIFICATION));
			assert_false(vio_dev_config_write(b.g->dev, 0, "x", 1));
			fs_close(&b);
		}
}

static void options_that_cannot_be(void **state)
{
	const struct { const char *what, *tag; uint16_t queues, size; } rows[] = {
		{ "no tag", NULL, 1, 0 }, { "an empty tag", "", 1, 0 }, { "37 bytes", "1234567890123456789012345678901234567", 1, 0 },
		{ "a character cut by the end", "12345678901234567890123456789012345\xc3\xbc", 1, 0 },
		{ "Latin 1", "m\xfcsli", 1, 0 }, { "a surrogate", "\xed\xa0\x80", 1, 0 }, { "overlong", "\xc0\xaf", 1, 0 },
		{ "overlong, three bytes", "\xe0\x80\xaf", 1, 0 }, { "beyond Unicode", "\xf4\x90\x80\x80", 1, 0 },
		{ "cut short", "a\xe2\x82", 1, 0 }, { "no queues", "a", 0, 0 }, { "64 queues", "a", 64, 0 },
		{ "too long a queue", "a", 1, 32769 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fs_rig b = fs_new();
		b.o.tag = rows[i].tag;
		b.o.request_queues = rows[i].queues;
		b.o.queue_size = rows[i].size;
		if (!rig_open(b.g, &vio_dev_fs, &b.o))
			fail_msg("%s was taken", rows[i].what);
		fs_close(&b);
	}
}

/* ---- The conversation ---- */

static void converse(unsigned shape, size_t cut)
{
	struct fs_rig b = fs_new();
	unsigned char says[512], hears[512];
	uint32_t used;

	fs_start_shape(&b, shape);
	for (unsigned i = 0; i < sizeof conversation / sizeof *conversation; i++) {
		const struct exchange *x = &conversation[i];
		struct ask a = { .r_len = unhex(x->says, says), .w_len = unhex(x->hears, hears) };
		size_t expected = a.w_len;
		if (a.w_len == OUT_HEADER)
			a.w_len += 16;	/* there is more room than an error needs */
		rig_rewind(b.g);
		a.r = rig_take(b.g, a.r_len);
		a.w = rig_take(b.g, 600);
		memcpy(a.r, says, a.r_len);
		memset(a.w, FILL, 600);
		uint32_t opcode = says[4], size = says[24 + 32];
		if (opcode == VIO_FUSE_READ || opcode == VIO_FUSE_READDIR || opcode == VIO_FUSE_READDIRPLUS)
			a.w_len = OUT_HEADER + size + (size ? 0 : 256);	/* as much as it asks for */
		if (opcode == VIO_FUSE_GETXATTR || opcode == VIO_FUSE_LISTXATTR)
			a.w_len = OUT_HEADER + 64;
		size_t least = (a.r_len + a.w_len) / (RIG_SIZE - 4) + 1;	/* or there would be too many buffers */
		size_t part = cut && cut < least ? least : cut;
		fs_add(&b, 1 + (i & 1), &a, part, part);
		rig_kick(b.g, 1 + (i & 1));
		assert_ptr_equal(rig_get(b.g, 1 + (i & 1), &used), a.w);
		if (used != expected || memcmp(a.w, hears, expected))
			fail_msg("%s (shape %u, cut %zu): another answer, %u bytes, not %zu", x->what, shape, cut, used, expected);
		if (a.w[expected] != FILL)
			fail_msg("%s: something is behind the answer", x->what);
	}
	assert_int_equal(rig_refused(b.g, 1) + rig_refused(b.g, 2), 1);	/* the last one */
	fs_close(&b);
}

static void byte_for_byte(void **state)
{
	const size_t cuts[] = { 0, 40, 1, 7, 16 };

	(void)state;
	for (unsigned shape = 0; shape < SHAPES; shape++)
		for (unsigned c = 0; c < 5; c++)
			converse(shape, cuts[c]);
}

/* ---- INIT ---- */

static void what_is_agreed_on(void **state)
{
	const struct { const char *what; size_t at; uint64_t bits; } rows[] = {
#define HAS(member, ...) { #member, offsetof(struct vio_tree, member), __VA_ARGS__ }
#define B(name) (UINT64_C(1) << VIO_FUSE_##name)
		HAS(posix_locks, B(POSIX_LOCKS)), HAS(flocks, B(FLOCK_LOCKS)), HAS(posix_acl, B(POSIX_ACL) | B(DONT_MASK)),
		HAS(submounts, B(SUBMOUNTS)), HAS(security_ctx, B(SECURITY_CTX)), HAS(create_groups, B(CREATE_SUPP_GROUP)),
		HAS(allow_mmap, B(DIRECT_IO_ALLOW_MMAP)), HAS(kill_priv, B(HANDLE_KILLPRIV_V2)), HAS(writeback, B(WRITEBACK_CACHE)),
		HAS(readdirplus, B(DO_READDIRPLUS) | B(READDIRPLUS_AUTO)), HAS(export_handles, B(EXPORT_SUPPORT)),
		HAS(auto_inval, B(AUTO_INVAL_DATA)),
	};
	const uint64_t never = B(FILE_OPS) | B(SPLICE_WRITE) | B(SPLICE_MOVE) | B(SPLICE_READ) | B(NO_OPEN_SUPPORT) | B(HANDLE_KILLPRIV) |
	    B(ABORT_ERROR) | B(NO_OPENDIR_SUPPORT) | B(EXPLICIT_INVAL_DATA) | B(MAP_ALIGNMENT) | B(INIT_RESERVED) | B(HAS_INODE_DAX) |
	    B(HAS_EXPIRE_ONLY) | UINT64_C(0xffffffe000000000);
	uint64_t full = 0;

	(void)state;
	for (unsigned i = 0; i <= sizeof rows / sizeof *rows; i++) {
		struct fs_rig b = fs_new();
		struct vio_fuse_init_out out;
		if (i)
			*((bool *)b.tree + rows[i - 1].at) = false;
		fs_open_start(&b, BITS(VIO_F_VERSION_1));
		assert_int_equal(fs_init_as(&b, 7, 39, UINT64_MAX, &out), 0);
		uint64_t flags = vio_le32_get(out.flags) | (uint64_t)vio_le32_get(out.flags2) << 32;
		assert_int_equal(flags & never, 0);
		if (!i)
			full = flags;
		else if (flags != (full & ~rows[i - 1].bits))
			fail_msg("without %s: %llx of %llx", rows[i - 1].what, (unsigned long long)flags, (unsigned long long)full);
		/* a driver that knows of nothing gets nothing */
		assert_int_equal(fs_init_as(&b, 7, 39, 0, &out), 0);
		assert_int_equal(vio_le32_get(out.flags) | vio_le32_get(out.flags2), 0);
		/* flags2 only where there is one */
		assert_int_equal(fs_init_as(&b, 7, 39, UINT64_MAX & ~B(INIT_EXT), &out), 0);
		assert_int_equal(vio_le32_get(out.flags2), 0);
		fs_close(&b);
	}
	struct fs_rig b = fs_new();
	struct vio_fuse_init_out out;
	b.tree->readdirplus_always = true;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	assert_int_equal(fs_init_as(&b, 7, 39, UINT64_MAX, &out), 0);
	assert_int_equal(vio_le32_get(out.flags) & (B(DO_READDIRPLUS) | B(READDIRPLUS_AUTO)), B(DO_READDIRPLUS));
	fs_close(&b);
}

static void versions(void **state)
{
	const struct { uint32_t major, minor; int error; uint32_t says; bool session; } rows[] = {
		{ 7, 39, 0, 39, true }, { 7, 38, 0, 38, true }, { 7, 31, 0, 31, true }, { 7, 23, 0, 23, true }, { 7, 45, 0, 39, true },
		{ 7, UINT32_MAX, 0, 39, true }, { 7, 22, EPROTO, 0, false }, { 7, 0, EPROTO, 0, false }, { 6, 40, EPROTO, 0, false },
		{ 0, 0, EPROTO, 0, false }, { 8, 0, 0, 39, false }, { UINT32_MAX, 0, 0, 39, false },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct fs_rig b = fs_new();
		struct vio_fuse_init_out out;
		fs_open_start(&b, BITS(VIO_F_VERSION_1));
		assert_int_equal(fs_init_as(&b, rows[i].major, rows[i].minor, ALL_INIT, &out), rows[i].error);
		if (!rows[i].error) {
			assert_int_equal(vio_le32_get(out.major), 7);
			assert_int_equal(vio_le32_get(out.minor), rows[i].says);
		}
		assert_int_equal(fs_lookup(&b, 1, "x", NULL), rows[i].session ? 0 : EIO);
		fs_close(&b);
	}
}

/* A driver of the other byte order hears of it in its own. */
static void the_other_byte_order(void **state)
{
	static const char says[] = "00000068 0000001a 0000000000000001 0000000000000000 00000000 00000000 00000000 0000 0000 "
	    "00000007 00000026 00020000 7fffffff 00000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 "
	    "0000000000000000 00000000";
	static const char hears[] = "00000010 ffffffb9 0000000000000001";	/* -71 */
	unsigned char vector[OUT_HEADER];
	uint32_t used;

	(void)state;
	struct fs_rig b = fs_new();
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	struct ask a = fs_ask(&b, 0, 0, NULL, 0, 64);
	a.r = rig_take(b.g, 200);
	a.r_len = unhex(says, a.r);
	/* the length, as we read it, is beyond all bounds, and so must not be what it is judged by */
	fs_add(&b, 1, &a, 0, 0);
	rig_kick(b.g, 1);
	assert_ptr_equal(rig_get(b.g, 1, &used), a.w);
	assert_int_equal(used, unhex(hears, vector));
	assert_memory_equal(a.w, vector, OUT_HEADER);
	assert_int_equal(rig_refused(b.g, 1), 1);
	fs_init(&b);
	fs_close(&b);
}

/* ---- Sessions ---- */

static void sessions_end(void **state)
{
	struct fs_rig b = fs_new();
	struct created f;
	uint32_t wrote;
	enum { AGAIN, DESTROYED, RESET, WAYS };

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	for (unsigned way = 0; way < WAYS; way++) {
		const char *name = &"abc"[way];
		fs_init(&b);
		assert_int_equal(fs_create(&b, 1, name, &f), 0);
		assert_int_equal(fs_write(&b, &f, 0, "text", 4, &wrote), 0);
		assert_int_equal(fs_count(&b).handles, 1);
		if (way == AGAIN) {
			fs_init(&b);	/* 5.11.6.1: the next INIT ends the session */
		} else if (way == DESTROYED) {
			assert_int_equal(fs_do(&b, VIO_FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL), 0);
		} else {
			rig_reset(b.g);
			rig_start(b.g, 3, BITS(VIO_F_VERSION_1));
		}
		assert_int_equal(fs_count(&b).handles, 0);
		assert_int_equal(fs_count(&b).looked_up, 0);
		assert_int_equal(fs_write(&b, &f, 0, "text", 4, &wrote), way == AGAIN ? EBADF : EIO);
		assert_int_equal(fs_lookup(&b, 1, name, NULL), way == AGAIN ? 0 : EIO);
	}
	fs_close(&b);
}

static void saved_state(void **state)
{
	struct fs_rig b = fs_new();
	unsigned char byte = 9;

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	const struct vio_dev_type *t = b.g->dev->type;
	assert_int_equal(t->save(b.g->dev, NULL, 0), 1);
	assert_int_equal(t->save(b.g->dev, &byte, 1), 1);
	assert_int_equal(byte, 0);
	assert_null(t->load(b.g->dev, &byte, 1));
	assert_null(vio_dev_stays(b.g->dev));
	fs_init(&b);
	assert_non_null(strstr(vio_dev_stays(b.g->dev), "unmount"));
	t->save(b.g->dev, &byte, 1);
	assert_int_equal(byte, 1);
	assert_non_null(strstr(t->load(b.g->dev, &byte, 1), "unmount"));
	byte = 2;
	assert_non_null(t->load(b.g->dev, &byte, 1));
	assert_non_null(t->load(b.g->dev, "\0\0", 2));
	assert_non_null(t->load(b.g->dev, "", 0));
	fs_close(&b);
}

/* ---- Waiting ---- */

static struct vio_fuse_lk_in lock_of(const struct created *f, uint64_t owner, uint32_t type)
{
	return (struct vio_fuse_lk_in){ .fh = f->open.fh, .owner = vio_le64_of(owner),
		.lk = { vio_le64_of(0), vio_le64_of(INT64_MAX), vio_le32_of(type), vio_le32_of(5) } };
}

/* Two files' worth of a session with a lock that somebody waits for, in queue 1; its request. */
static struct ask wait_for_lock(struct fs_rig *b, struct created *f)
{
	struct vio_fuse_lk_in in;

	fs_init(b);
	assert_int_equal(fs_create(b, 1, "locked", f), 0);
	in = lock_of(f, 1, 1);
	assert_int_equal(fs_do(b, VIO_FUSE_SETLK, vio_le64_get(f->entry.nodeid), &in, sizeof in, NULL, 0, NULL), 0);
	in = lock_of(f, 2, 1);
	assert_int_equal(fs_do(b, VIO_FUSE_SETLK, vio_le64_get(f->entry.nodeid), &in, sizeof in, NULL, 0, NULL), EAGAIN);
	rig_rewind(b->g);
	struct ask a = fs_ask(b, VIO_FUSE_SETLKW, vio_le64_get(f->entry.nodeid), &in, sizeof in, 0);
	fs_add(b, 1, &a, 0, 0);
	rig_kick(b->g, 1);
	assert_int_equal(vio_tree_memory_held(b->tree), 1);
	b->g->kept = b->g->used;	/* what follows leaves it alone */
	return a;
}

static void a_lock_is_waited_for(void **state)
{
	struct fs_rig b = fs_new();
	struct created f;
	uint32_t used;

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	struct ask a = wait_for_lock(&b, &f);
	/* neither queue minds: others are served in the same one */
	assert_int_equal(fs_lookup(&b, 1, "locked", NULL), 0);
	assert_null(rig_get(b.g, 1, &used));
	struct vio_fuse_lk_in in = lock_of(&f, 1, 2);	/* unlock */
	struct ask u = fs_ask(&b, VIO_FUSE_SETLK, vio_le64_get(f.entry.nodeid), &in, sizeof in, 0);
	assert_int_equal(fs_run(&b, 2, &u, 0, 0, &used), 0);
	vio_loop_pump(&b.g->wire, 16);
	assert_ptr_equal(rig_get(b.g, 1, &used), a.w);
	assert_int_equal(fs_judge(&a, used), 0);
	fs_close(&b);
}

static void an_interrupt_reaches_another_queue(void **state)
{
	struct fs_rig b = fs_new();
	struct created f;
	uint32_t used;

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	struct ask a = wait_for_lock(&b, &f);
	struct vio_fuse_interrupt_in none = { vio_le64_of(0x999999) }, it = { ((struct vio_fuse_in_header *)(void *)a.r)->unique };
	struct ask i = fs_ask(&b, VIO_FUSE_INTERRUPT, 0, &none, sizeof none, 0);
	assert_int_equal(fs_run(&b, HIPRIO, &i, 0, 0, &used), EAGAIN);
	assert_null(rig_get(b.g, 1, &used));
	/* without a place for an answer, as FUSE has it */
	fs_tell(&b, HIPRIO, VIO_FUSE_INTERRUPT, 0, &it, sizeof it);
	vio_loop_pump(&b.g->wire, 16);
	assert_ptr_equal(rig_get(b.g, 1, &used), a.w);
	assert_int_equal(fs_judge(&a, used), EINTR);
	i = fs_ask(&b, VIO_FUSE_INTERRUPT, 0, &it, sizeof it, 0);
	assert_int_equal(fs_run(&b, HIPRIO, &i, 0, 0, &used), EAGAIN);	/* it has ended */
	assert_int_equal(rig_refused(b.g, HIPRIO), 0);
	fs_close(&b);
}

/* 5.11.6.2: request queues full of what does not end, and the high priority queue is served all the same. */
static void nothing_holds_up_hiprio(void **state)
{
	struct fs_rig b = fs_new();
	struct vio_fuse_forget_in one = { vio_le64_of(1) };
	struct vio_fuse_entry_out out;
	uint32_t used;

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	fs_init(&b);
	uint64_t dir = fs_mkdir(&b, 1, "dir");
	assert_int_equal(fs_lookup(&b, 1, "dir", &out), 0);
	vio_tree_memory_faults(b.tree, &(struct vio_tree_faults){ .late_every = 1 });
	b.g->kept = b.g->used;
	for (uint16_t q = 1; q < 3; q++) {
		for (unsigned i = 0; i < RIG_SIZE / 2; i++) {
			struct ask a = fs_ask(&b, VIO_FUSE_GETATTR, 1, &(struct vio_fuse_getattr_in){ .fh = vio_le64_of(0) }, 16, 104);
			fs_add(&b, q, &a, 0, 0);
		}
		rig_kick(b.g, q);
		assert_null(rig_get(b.g, q, &used));
	}
	assert_int_equal(vio_tree_memory_held(b.tree), RIG_SIZE);
	assert_int_equal(fs_count(&b).looked_up, 1);
	fs_tell(&b, HIPRIO, VIO_FUSE_FORGET, dir, &one, sizeof one);
	assert_int_equal(fs_count(&b).looked_up, 1);
	fs_tell(&b, HIPRIO, VIO_FUSE_FORGET, dir, &one, sizeof one);
	assert_int_equal(fs_count(&b).looked_up, 0);
	vio_tree_memory_release(b.tree);
	vio_loop_pump(&b.g->wire, 100);
	for (unsigned i = 0; i < RIG_SIZE / 2; i++)
		assert_non_null(rig_get(b.g, 1, &used));
	fs_close(&b);
}

static void a_stop_ends_what_waits(void **state)
{
	(void)state;
	for (unsigned late = 0; late < 2; late++) {
		struct fs_rig b = fs_new();
		struct created f;
		fs_open_start(&b, BITS(VIO_F_VERSION_1));
		wait_for_lock(&b, &f);
		if (late) {
			vio_tree_memory_faults(b.tree, &(struct vio_tree_faults){ .late_every = 1 });
			struct ask a = fs_ask(&b, VIO_FUSE_STATFS, 1, NULL, 0, 80);
			fs_add(&b, 2, &a, 0, 0);
			rig_kick(b.g, 2);
			assert_int_equal(vio_tree_memory_held(b.tree), 2);
		}
		rig_reset(b.g);
		assert_int_equal(vio_tree_memory_held(b.tree), 0);
		assert_int_equal(fs_count(&b).channels, 0);
		assert_int_equal(fs_count(&b).locks, 0);
		vio_tree_memory_faults(b.tree, &(struct vio_tree_faults){ .late_every = 0 });
		rig_start(b.g, 3, BITS(VIO_F_RING_PACKED));
		fs_init(&b);
		assert_int_equal(fs_lookup(&b, 1, "locked", NULL), 0);
		fs_close(&b);
	}
}

/* ---- Forgetting ---- */

static void forgetting(void **state)
{
	struct fs_rig b = fs_new();
	unsigned char message[8 + 100 * 16];
	uint64_t dir[100];

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	fs_init(&b);
	for (unsigned i = 0; i < 100; i++) {
		char name[8];
		snprintf(name, sizeof name, "d%u", i);
		dir[i] = fs_mkdir(&b, 1, name);
		struct vio_fuse_forget_one one = { vio_le64_of(dir[i]), vio_le64_of(i == 50 ? 0 : i == 51 ? UINT64_MAX : 1) };
		memcpy(message + 8 + 16 * i, &one, 16);
	}
	assert_int_equal(fs_count(&b).looked_up, 100);
	memcpy(message, &(struct vio_fuse_batch_forget_in){ vio_le32_of(100), vio_le32_of(0) }, 8);
	fs_tell(&b, HIPRIO, VIO_FUSE_BATCH_FORGET, 0, message, sizeof message);
	assert_int_equal(fs_count(&b).looked_up, 1);
	assert_int_equal(fs_do(&b, VIO_FUSE_GETATTR, dir[51], &(struct vio_fuse_getattr_in){ .fh = vio_le64_of(0) }, 16, NULL, 104, NULL),
	    ESTALE);
	/* the root can't be forgotten; and in a request queue they work as well */
	struct vio_fuse_forget_in all = { vio_le64_of(UINT64_MAX) };
	fs_tell(&b, 1, VIO_FUSE_FORGET, 1, &all, sizeof all);
	fs_tell(&b, 2, VIO_FUSE_FORGET, dir[50], &all, sizeof all);
	assert_int_equal(fs_count(&b).looked_up, 0);
	assert_int_equal(fs_lookup(&b, 1, "d50", NULL), 0);
	fs_close(&b);
}

/* ---- What only the tree sees ---- */

/* What creates may say more of its creator (7.36, 7.38): a security context, further groups, in any order. */
static size_t extensions(unsigned char *to, bool context, bool groups, bool groups_first)
{
	static const char c[] = "20000000 01000000 03000000 00000000 73656375726974792e7800 616263 0000";	/* security.x = abc */
	static const char g[] = "18000000 20000000 02000000 0a000000 0b000000 00000000";
	size_t n = 0;

	if (groups && groups_first)
		n += unhex(g, to);
	if (context)
		n += unhex(c, to + n);
	if (groups && !groups_first)
		n += unhex(g, to + n);
	return n;
}

static void who_creates(void **state)
{
	static const uint32_t opcodes[] = { VIO_FUSE_CREATE, VIO_FUSE_MKDIR, VIO_FUSE_MKNOD, VIO_FUSE_SYMLINK, VIO_FUSE_TMPFILE };
	static const size_t fixed[] = { 16, 8, 16, 0, 16 };
	struct fs_rig b = fs_new();

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	for (unsigned way = 0; way < 5 * 16; way++) {
		unsigned op = way % 5, what = way / 5;
		bool context = what & 1, groups = what & 2, agreed = !(what & 8);
		unsigned char m[256] = { 0 };
		char name[8];
		assert_int_equal(fs_init_as(&b, 7, 38, agreed ? ALL_INIT : (UINT64_C(1) << VIO_FUSE_INIT_EXT), NULL), 0);
		snprintf(name, sizeof name, "n%u", way);
		size_t n = fs_args(m, m, fixed[op], name, opcodes[op] == VIO_FUSE_SYMLINK ? "target" : NULL);
		size_t ext = extensions(m + n, context, groups, what & 4);
		struct ask a = fs_ask(&b, opcodes[op], 1, m, n + ext, 160);
		((struct vio_fuse_in_header *)(void *)a.r)->total_extlen = vio_le16_of((uint16_t)(ext / 8));
		uint32_t used;
		assert_int_equal(fs_run(&b, 1, &a, 0, 0, &used), 0);
		const struct vio_tree_req *r = vio_tree_memory_last(b.tree);
		assert_int_equal(r->group_count, agreed && groups ? 2 : 0);
		if (r->group_count)
			assert_true(r->group[0] == 10 && r->group[1] == 11);
		assert_int_equal(r->security_name != NULL, agreed && context);
		if (r->security_name)
			assert_int_equal(r->security.left, 3);
		rig_rewind(b.g);
	}
	/* before 7.38 the header was silent about it */
	assert_int_equal(fs_init_as(&b, 7, 37, ALL_INIT, NULL), 0);
	unsigned char m[256] = { 0 };
	size_t n = fs_args(m, m, 8, "old", NULL);
	n += extensions(m + n, true, false, false);
	assert_int_equal(fs_do(&b, VIO_FUSE_MKDIR, 1, m, n, NULL, 160, NULL), 0);
	assert_non_null(vio_tree_memory_last(b.tree)->security_name);
	fs_close(&b);
}

/* Each flag of a question reaches the tree, and nothing of an earlier one is left. */
static void flags_reach_the_tree(void **state)
{
	struct fs_rig b = fs_new();
	const struct vio_tree_req *r = vio_tree_memory_last(b.tree);
	struct created f;

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	fs_init(&b);
	assert_int_equal(r->flags, VIO_TREE_S_WRITEBACK | VIO_TREE_S_POSIX_ACL | VIO_TREE_S_DONT_MASK | VIO_TREE_S_SUBMOUNTS |
	    VIO_TREE_S_KILL_PRIV);
	assert_int_equal(fs_create(&b, 1, "f", &f), 0);
	assert_true(r->uid == 1000 && r->gid == 100 && r->pid == 77 && r->umask == 022 && !r->kill_priv);
	uint64_t node = vio_le64_get(f.entry.nodeid);
	for (unsigned on = 0; on < 2; on++) {
		struct vio_fuse_write_in w = { .fh = f.open.fh, .write_flags = vio_le32_of(on ? 5 : 0) };
		fs_do(&b, VIO_FUSE_WRITE, node, &w, sizeof w, NULL, 8, NULL);
		assert_true(r->cached == on && r->kill_priv == on);
		struct vio_fuse_fsync_in s = { .fh = f.open.fh, .fsync_flags = vio_le32_of(on) };
		fs_do(&b, VIO_FUSE_FSYNC, node, &s, sizeof s, NULL, 0, NULL);
		assert_int_equal(r->datasync, on);
		struct vio_fuse_open_in o = { vio_le32_of(0), vio_le32_of(on) };
		fs_do(&b, VIO_FUSE_OPEN, node, &o, sizeof o, NULL, 16, NULL);
		assert_int_equal(r->kill_priv, on);
		struct vio_fuse_setattr_in a = { .valid = vio_le32_of(on ? 0xfff & ~0x40u : 0x40), .fh = f.open.fh };
		fs_do(&b, VIO_FUSE_SETATTR, node, &a, sizeof a, NULL, 104, NULL);
		assert_true(r->has_handle == !on && r->kill_priv == on && r->set == (on ? 0x1ffu : 0));
		unsigned char x[64] = { 0 };
		x[8] = (unsigned char)on;
		size_t n = fs_args(x, x, 16, "user.x", NULL);
		fs_do(&b, VIO_FUSE_SETXATTR, node, x, n, NULL, 0, NULL);
		assert_int_equal(r->kill_sgid, on);
		struct vio_fuse_lk_in l = lock_of(&f, 1, 0);
		l.lk_flags = vio_le32_of(on);
		fs_do(&b, on ? VIO_FUSE_SETLKW : VIO_FUSE_SETLK, node, &l, sizeof l, NULL, 0, NULL);
		assert_true(r->flock == on && r->wait == on);
	}
	/* without SETXATTR_EXT the question is shorter */
	assert_int_equal(fs_init_as(&b, 7, 31, 0, NULL), 0);
	assert_int_equal(r->flags, 0);
	unsigned char x[64] = { 2 };
	size_t n = fs_args(x, x, 8, "user.y", "v");
	assert_int_equal(fs_do(&b, VIO_FUSE_SETXATTR, 1, x, n, NULL, 0, NULL), 0);
	assert_string_equal(r->name, "user.y");
	fs_close(&b);
}

/* ---- Large and many ---- */

static void a_megabyte_each_way(void **state)
{
	enum { BYTES = 1 << 20 };
	unsigned char *bytes = malloc(BYTES), *back = malloc(BYTES);

	(void)state;
	for (unsigned i = 0; i < BYTES; i++)
		bytes[i] = (unsigned char)(i * 7 + i / 4096);
	for (unsigned shape = 0; shape < SHAPES; shape += 2) {
		struct fs_rig b = fs_new();
		struct created f;
		uint32_t wrote;
		size_t got;
		fs_start_shape(&b, shape);
		fs_init(&b);
		assert_int_equal(fs_create(&b, 1, "big", &f), 0);
		assert_int_equal(fs_write(&b, &f, 4096, bytes, BYTES, &wrote), 0);
		assert_int_equal(wrote, BYTES);
		assert_int_equal(fs_read(&b, &f, 4096, back, BYTES, &got), 0);
		assert_int_equal(got, BYTES);
		assert_memory_equal(back, bytes, BYTES);
		assert_int_equal(fs_read(&b, &f, BYTES + 4000, back, 4096, &got), 0);
		assert_int_equal(got, 96);	/* the end */
		assert_int_equal(fs_read(&b, &f, UINT32_MAX, back, 4096, &got), 0);
		assert_int_equal(got, 0);
		vio_tree_memory_faults(b.tree, &(struct vio_tree_faults){ .short_every = 1 });
		assert_int_equal(fs_read(&b, &f, 4096, back, 1000, &got), 0);
		assert_int_equal(got, 500);
		assert_int_equal(fs_write(&b, &f, 0, bytes, 1000, &wrote), 0);
		assert_int_equal(wrote, 500);
		fs_close(&b);
	}
	free(bytes);
	free(back);
}

static void a_turn_has_a_budget(void **state)
{
	struct fs_rig b = fs_new();
	struct created f;
	uint32_t wrote, used;
	unsigned back = 0;

	(void)state;
	fs_open_start(&b, BITS(VIO_F_VERSION_1));
	fs_init(&b);
	assert_int_equal(fs_create(&b, 1, "f", &f), 0);
	assert_int_equal(fs_write(&b, &f, 0, "x", 1, &wrote), 0);
	b.g->wire.lazy = true;
	rig_rewind(b.g);
	for (unsigned i = 0; i < 24; i++) {
		struct vio_fuse_read_in in = { .fh = f.open.fh, .size = vio_le32_of(131072) };
		struct ask a = fs_ask(&b, VIO_FUSE_READ, vio_le64_get(f.entry.nodeid), &in, sizeof in, 131072);
		fs_add(&b, 1, &a, 0, 0);
	}
	unsigned before = fs_count(&b).requests;
	rig_kick(b.g, 1);
	vio_loop_pump(&b.g->wire, 1);
	assert_in_range(fs_count(&b).requests - before, 7, 8);
	vio_loop_pump(&b.g->wire, 64);
	while (rig_get(b.g, 1, &used))
		back++;
	assert_int_equal(back, 24);
	fs_close(&b);
}

/* A directory longer than an answer goes on where it was, and each name comes once. */
static void a_long_directory(void **state)
{
	(void)state;
	for (unsigned plus = 0; plus < 2; plus++) {
		struct fs_rig b = fs_new();
		unsigned char out[1000];
		uint64_t seen[4] = { 0 }, next = 0;
		unsigned dots = 0;
		fs_open_start(&b, BITS(VIO_F_VERSION_1));
		fs_init(&b);
		for (unsigned i = 0; i < 200; i++) {
			char name[40];
			snprintf(name, sizeof name, "%u%.*s", i + 1000, (int)(i % 17), "-----------------");
			fs_mkdir(&b, 1, name);
		}
		struct vio_fuse_open_out dir;
		assert_int_equal(fs_do(&b, VIO_FUSE_OPENDIR, 1, &(struct vio_fuse_open_in){ .flags = vio_le32_of(0) }, 8, &dir, sizeof dir,
		    NULL), 0);
		for (;;) {
			struct vio_fuse_read_in in = { .fh = dir.fh, .offset = vio_le64_of(next), .size = vio_le32_of(sizeof out) };
			size_t got, at = 0;
			assert_int_equal(fs_do(&b, plus ? VIO_FUSE_READDIRPLUS : VIO_FUSE_READDIR, 1, &in, sizeof in, out, sizeof out, &got), 0);
			if (!got)
				break;
			while (at < got) {
				struct vio_fuse_dirent d;
				at += plus * sizeof(struct vio_fuse_entry_out);
				memcpy(&d, out + at, sizeof d);
				if (out[at + sizeof d] == '.') {
					dots++;
				} else {
					unsigned i = (unsigned)atoi((char *)out + at + sizeof d) - 1000;
					assert_false(seen[i / 64] >> i % 64 & 1);
					seen[i / 64] |= UINT64_C(1) << i % 64;
				}
				next = vio_le64_get(d.off);
				at += (sizeof d + vio_le32_get(d.namelen) + 7) & ~(size_t)7;
			}
			assert_int_equal(at, got);
		}
		assert_int_equal(dots, 2);
		for (unsigned i = 0; i < 200; i++)
			assert_true(seen[i / 64] >> i % 64 & 1);
		fs_close(&b);
	}
}

static const struct CMUnitTest tests[] = {
	T(what_it_says_of_itself, "tag and number of request queues stand in the config space, which no driver writes {fs-dev-1}"),
	T(options_that_cannot_be, "options that cannot be are refused"),
	T(byte_for_byte, "every operation, byte for byte, in either ring format, cut or not {fs-dev-7}"),
	T(what_is_agreed_on, "INIT agrees on what tree and driver both can, and on nothing else"),
	T(versions, "INIT settles on the smaller version"),
	T(the_other_byte_order, "a driver of the other byte order is told so in its own"),
	T(sessions_end, "another INIT, DESTROY and a reset end a session and all that it had"),
	T(saved_state, "the saved state says whether the file system was mounted, and then can't be loaded"),
	T(a_lock_is_waited_for, "a lock is waited for while its queue goes on"),
	T(an_interrupt_reaches_another_queue, "an interrupt ends a request of another queue"),
	T(nothing_holds_up_hiprio, "full request queues do not hold up the high priority queue {fs-dev-3}"),
	T(a_stop_ends_what_waits, "a reset ends what waits, and is not answered before"),
	T(forgetting, "lookups are forgotten, one or many at a time, in any queue"),
	T(who_creates, "security context and groups of who creates reach the tree"),
	T(flags_reach_the_tree, "each flag reaches the tree, and nothing of an earlier request does"),
	T(a_megabyte_each_way, "a megabyte in one request, both ways"),
	T(a_turn_has_a_budget, "a queue that moves much lets others have their turn"),
	T(a_long_directory, "a long directory is told in pieces, each name once"),
};

int main(void) { return vio_tests("fs", tests, sizeof tests / sizeof *tests); }
