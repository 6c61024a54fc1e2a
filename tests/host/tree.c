/* A folder of the host as a tree: what a guest asks for is what it gets, and nothing outside the folder. */
#include <tests/host/tree_rig.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/wait.h>

/* ---- Names, files, folders ---- */

static void files_are_made_and_found(void **state)
{
	struct rig g;
	uint64_t node, handle, again, moved;
	char back[32] = "";

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	assert_int_equal(rig_lookup(&g, ROOT, "file", NULL), ENOENT);
	assert_int_equal(rig_create(&g, ROOT, "file", 0640, 0, 0, &node, &handle), 0);
	assert_int_equal(rig_move(&g, VIO_TREE_WRITE, node, handle, 5, (char *)"hello", 5, &moved), 0);
	assert_int_equal(moved, 5);
	assert_int_equal(rig_move(&g, VIO_TREE_READ, node, handle, 5, back, 10, &moved), 0);
	assert_int_equal(moved, 5);
	assert_string_equal(back, "hello");
	assert_int_equal(rig_lookup(&g, ROOT, "file", &again), 0);
	assert_true(again == node);
	struct vio_tree_attr a;
	assert_int_equal(rig_getattr(&g, node, &a), 0);
	assert_int_equal(a.size, 10);
	assert_int_equal(a.mode, S_IFREG | 0640);
	assert_int_equal(rig_release(&g, node, handle), 0);
	assert_int_equal(rig_move(&g, VIO_TREE_READ, node, handle, 0, back, 1, NULL), EBADF);
	assert_int_equal(rig_name(&g, VIO_TREE_MKDIR, ROOT, "folder"), 0);
	uint64_t folder = rig_node(&g, ROOT, "folder");
	assert_int_equal(rig_rename(&g, ROOT, "file", folder, "moved", 0), 0);
	assert_true(rig_node(&g, folder, "moved") == node);
	assert_int_equal(rig_name(&g, VIO_TREE_RMDIR, ROOT, "folder"), ENOTEMPTY);
	assert_int_equal(rig_name(&g, VIO_TREE_UNLINK, folder, "moved"), 0);
	assert_int_equal(rig_name(&g, VIO_TREE_RMDIR, ROOT, "folder"), 0);
	rig_close(&g);
}

static void renames_have_flags(void **state)
{
	struct rig g;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	rig_put(&g, "a", "a");
	rig_put(&g, "b", "b");
	uint64_t a = rig_node(&g, ROOT, "a"), b = rig_node(&g, ROOT, "b");
	assert_int_equal(rig_rename(&g, ROOT, "a", ROOT, "b", 1), EEXIST);
	assert_int_equal(rig_rename(&g, ROOT, "a", ROOT, "b", 2), 0);
	assert_true(rig_node(&g, ROOT, "a") == b);
	assert_true(rig_node(&g, ROOT, "b") == a);
	assert_int_equal(rig_rename(&g, ROOT, "a", ROOT, "c", 8), EINVAL);
	assert_int_equal(rig_rename(&g, ROOT, "a", ROOT, "b", 0), 0);
	assert_int_equal(rig_lookup(&g, ROOT, "a", NULL), ENOENT);
	rig_close(&g);
}

static void folders_are_read_in_pieces(void **state)
{
	struct rig g;
	enum { FILES = 1000 };
	static bool seen[FILES];
	char name[16];
	unsigned count = 0;

	(void)state;
	memset(seen, 0, sizeof seen);
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "f%u", i);
		rig_put(&g, name, "");
	}
	struct rig_req q = { .r = { .op = VIO_TREE_OPENDIR, .node = ROOT } };
	assert_int_equal(rig_do(&g, &q), 0);
	uint64_t handle = q.r.new_handle, at = 0;
	for (;;) {
		struct rig_req e = { .room = 1, .r = { .op = VIO_TREE_READDIRPLUS, .node = ROOT, .handle = handle, .offset = at } };
		assert_int_equal(rig_do(&g, &e), 0);
		if (!e.entries)
			break;
		at = e.next;
		if (e.last[0] != 'f')
			continue;
		assert_false(seen[atoi(e.last + 1)]);
		seen[atoi(e.last + 1)] = true;
		assert_true(e.nodes[0] != 0);
		count++;
	}
	assert_int_equal(count, FILES);
	struct vio_tree_figures f;
	vio_tree_host_figures(g.tree, &f);
	assert_int_equal(f.nodes, FILES + 1);		/* a lookup that did not fit was undone */
	struct rig_req wrong = { .r = { .op = VIO_TREE_READDIR, .node = 77, .handle = handle } };
	assert_int_equal(rig_do(&g, &wrong), EBADF);
	rig_close(&g);
}

static void files_without_names(void **state)
{
	struct rig g;
	uint64_t moved;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	struct rig_req q = { .r = { .op = VIO_TREE_TMPFILE, .node = ROOT, .mode = 0600, .flags = O_RDWR } };
	if (rig_do(&g, &q) == EOPNOTSUPP)
		SKIP_BECAUSE("the file system has no files without names");
	assert_int_equal(q.error, 0);
	uint64_t node = q.r.entry.node, handle = q.r.new_handle;
	assert_int_equal(rig_move(&g, VIO_TREE_WRITE, node, handle, 0, (char *)"x", 1, &moved), 0);
	struct rig_req l = { .r = { .op = VIO_TREE_LINK, .node = node, .node2 = ROOT, .name2 = "named" } };
	assert_int_equal(rig_do(&g, &l), 0);
	assert_true(l.r.entry.node == node);
	struct stat st;
	assert_int_equal(fstatat(g.dir, "named", &st, 0), 0);
	assert_int_equal(st.st_size, 1);
	rig_close(&g);
}

static void attributes_are_set(void **state)
{
	struct rig g;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	rig_put(&g, "file", "0123456789");
	uint64_t node = rig_node(&g, ROOT, "file");
	struct rig_req q = { .r = { .op = VIO_TREE_SETATTR, .node = node, .set = VIO_TREE_SET_MODE | VIO_TREE_SET_SIZE |
		VIO_TREE_SET_MTIME, .change = { .mode = 0604, .size = 3, .mtime = { 1000, 5 } } } };
	assert_int_equal(rig_do(&g, &q), 0);
	assert_int_equal(q.r.entry.attr.mode, S_IFREG | 0604);
	assert_int_equal(q.r.entry.attr.size, 3);
	assert_int_equal(q.r.entry.attr.mtime.s, 1000);
	q.r.set = VIO_TREE_SET_MTIME;
	q.r.change.mtime.ns = 1000000000;
	assert_int_equal(rig_do(&g, &q), EINVAL);
	assert_int_equal(rig_name(&g, VIO_TREE_MKDIR, ROOT, "folder"), 0);
	q.r.node = rig_node(&g, ROOT, "folder");
	q.r.set = VIO_TREE_SET_SIZE;
	assert_int_equal(rig_do(&g, &q), EISDIR);
	rig_close(&g);
}

static void holes_copies_and_space(void **state)
{
	struct rig g;
	uint64_t node, handle, moved;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	assert_int_equal(rig_create(&g, ROOT, "file", 0600, 0, 0, &node, &handle), 0);
	assert_int_equal(rig_move(&g, VIO_TREE_WRITE, node, handle, 1 << 20, (char *)"data", 4, &moved), 0);
	struct rig_req s = { .r = { .op = VIO_TREE_LSEEK, .node = node, .handle = handle, .flags = SEEK_DATA } };
	assert_int_equal(rig_do(&g, &s), 0);
	assert_int_equal(s.r.result, 1 << 20);
	s.r.flags = SEEK_END;
	s.r.offset = (uint64_t)-4;
	assert_int_equal(rig_do(&g, &s), 0);
	assert_int_equal(s.r.result, 1 << 20);
	struct rig_req c = { .r = { .op = VIO_TREE_COPY_RANGE, .node = node, .handle = handle, .node2 = node, .handle2 = handle,
		.offset = 1 << 20, .offset2 = 10, .length = 4 } };
	assert_int_equal(rig_do(&g, &c), 0);
	assert_int_equal(c.r.result, 4);
	char back[4];
	assert_int_equal(rig_move(&g, VIO_TREE_READ, node, handle, 10, back, 4, &moved), 0);
	assert_memory_equal(back, "data", 4);
	struct rig_req f = { .r = { .op = VIO_TREE_FALLOCATE, .node = node, .handle = handle, .offset = 0, .length = 4 << 20 } };
	assert_int_equal(rig_do(&g, &f), 0);
	struct stat st;
	fstatat(g.dir, "file", &st, 0);
	assert_int_equal(st.st_size, 4 << 20);
	f.r.offset = UINT64_MAX;
	assert_int_equal(rig_do(&g, &f), EFBIG);
	assert_int_equal(rig_move(&g, VIO_TREE_READ, node, handle, UINT64_MAX - 1, back, 4, &moved), EINVAL);
	rig_close(&g);
}

/* In memory and with nobody else about, what is read often is read through a mapping; nobody can tell. */
static void read_often(struct rig *g, uint64_t node, uint64_t handle, uint64_t at, size_t n, const unsigned char *want, size_t got)
{
	static unsigned char back[20000];
	uint64_t moved;

	for (unsigned i = 0; i < 200; i++) {
		memset(back, 0xee, n);
		assert_int_equal(rig_move(g, VIO_TREE_READ, node, handle, at, back, n, &moved), 0);
		assert_int_equal(moved, got);
		assert_memory_equal(back, want + at, got);
	}
}

static void files_in_memory_are_mapped(void **state)
{
	static unsigned char want[20000];
	struct rig g;
	uint64_t node, handle;
	struct stat st;

	(void)state;
	if (access("/dev/shm", W_OK))
		SKIP_BECAUSE("there is no file system in memory at /dev/shm");
	for (unsigned i = 0; i < sizeof want; i++)
		want[i] = (unsigned char)(i * 7 + i / 251);
	rig_open(&g, (struct vio_tree_options){ .cache = VIO_TREE_CACHE_ALWAYS }, "/dev/shm");
	assert_int_equal(rig_create(&g, ROOT, "f", 0600, 0, 0, &node, &handle), 0);
	memset(want + 8192, 0, 4096);			/* a hole: reading fills no page of it */
	assert_int_equal(rig_move(&g, VIO_TREE_WRITE, node, handle, 0, want, 8192, NULL), 0);
	assert_int_equal(rig_move(&g, VIO_TREE_WRITE, node, handle, 12288, want + 12288, 7000, NULL), 0);
	read_often(&g, node, handle, 0, sizeof want, want, 19288);
	assert_int_equal(fstatat(g.dir, "f", &st, 0), 0);
	assert_int_equal(st.st_blocks, 4 * 8);
	/* written to, longer, shorter, with a hole more, by another handle too */
	memset(want + 100, 9, 5000);
	assert_int_equal(rig_move(&g, VIO_TREE_WRITE, node, handle, 100, want + 100, 5000, NULL), 0);
	assert_int_equal(rig_move(&g, VIO_TREE_WRITE, node, handle, 19288, want + 19288, 100, NULL), 0);
	read_often(&g, node, handle, 3, 19900, want, 19385);
	struct rig_req q = { .r = { .op = VIO_TREE_SETATTR, .node = node, .set = VIO_TREE_SET_SIZE, .change = { .size = 5000 } } };
	assert_int_equal(rig_do(&g, &q), 0);
	read_often(&g, node, handle, 0, 19900, want, 5000);
	q.r.change.size = 19000;
	assert_int_equal(rig_do(&g, &q), 0);
	memset(want + 5000, 0, 15000);
	read_often(&g, node, handle, 0, 19900, want, 19000);
	struct rig_req p = { .r = { .op = VIO_TREE_FALLOCATE, .node = node, .handle = handle, .length = 4096, .flags = 3 /* a hole */ } };
	assert_int_equal(rig_do(&g, &p), 0);
	memset(want, 0, 4096);
	read_often(&g, node, handle, 0, 8000, want, 8000);
	uint64_t other;
	assert_int_equal(rig_file(&g, node, O_RDWR | O_TRUNC, &other), 0);
	read_often(&g, node, handle, 0, 8000, want, 0);
	/* cut short by somebody who should not be there: the process lives, the answer is what is there then */
	assert_int_equal(rig_move(&g, VIO_TREE_WRITE, node, other, 0, want, 16384, NULL), 0);
	read_often(&g, node, other, 0, 16384, want, 16384);
	int fd = openat(g.dir, "f", O_WRONLY);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	read_often(&g, node, other, 0, 16384, want, 0);
	rig_close(&g);
}

/* ---- Numbers that a guest makes up ---- */

static void made_up_numbers_are_refused(void **state)
{
	static const uint64_t numbers[] = { 0, 2, 16, 17, UINT64_MAX, UINT64_C(1) << 32, UINT64_C(1) << 32 | 1, UINT64_C(5) << 32 | 77 };
	struct rig g;
	uint64_t handle;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	rig_put(&g, "file", "x");
	uint64_t node = rig_node(&g, ROOT, "file");
	for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		if (numbers[i] == node)
			continue;
		assert_int_equal(rig_getattr(&g, numbers[i], NULL), ESTALE);
		assert_int_equal(rig_lookup(&g, numbers[i], "file", NULL), ESTALE);
		assert_int_equal(rig_move(&g, VIO_TREE_READ, node, numbers[i], 0, &handle, 1, NULL), EBADF);
		assert_int_equal(rig_release(&g, node, numbers[i]), 0);
		rig_forget(&g, numbers[i], UINT64_MAX);
	}
	assert_int_equal(rig_file(&g, node, O_RDONLY, &handle), 0);
	uint64_t other = rig_node(&g, ROOT, "file");
	assert_true(other == node);
	assert_int_equal(rig_move(&g, VIO_TREE_READ, ROOT, handle, 0, &other, 1, NULL), EBADF);
	rig_forget(&g, node, 1);
	assert_int_equal(rig_getattr(&g, node, NULL), 0);
	rig_forget(&g, node, UINT64_MAX);		/* more than there are */
	assert_int_equal(rig_getattr(&g, node, NULL), ESTALE);
	rig_forget(&g, ROOT, UINT64_MAX);
	assert_int_equal(rig_getattr(&g, ROOT, NULL), 0);
	rig_close(&g);
}

static void a_session_ends(void **state)
{
	struct rig g;
	uint64_t handle;
	char b;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	rig_put(&g, "file", "x");
	uint64_t node = rig_node(&g, ROOT, "file");
	assert_int_equal(rig_file(&g, node, O_RDWR, &handle), 0);
	assert_int_equal(rig_lock(&g, node, handle, 5, F_WRLCK, 0, 9, false), 0);
	struct rig_req q = { .r = { .op = VIO_TREE_END } };
	assert_int_equal(rig_do(&g, &q), 0);
	assert_int_equal(rig_getattr(&g, node, NULL), ESTALE);
	assert_int_equal(rig_move(&g, VIO_TREE_READ, node, handle, 0, &b, 1, NULL), EBADF);
	struct vio_tree_figures f;
	vio_tree_host_figures(g.tree, &f);
	assert_int_equal(f.nodes, 1);
	assert_int_equal(f.handles, 0);
	assert_int_equal(f.lock_owners, 0);
	rig_close(&g);
}

static void caps_hold(void **state)
{
	struct rig g;
	uint64_t handle[40], node;
	char name[16];
	int error = 0;
	unsigned i;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ .max_nodes = 256, .max_handles = 20, .max_lock_owners = 3 }, NULL);
	for (i = 0; i < 2000; i++) {
		snprintf(name, sizeof name, "f%u", i);
		rig_put(&g, name, "");
	}
	for (i = 0; i < 2000 && !error; i++) {
		snprintf(name, sizeof name, "f%u", i);
		error = rig_lookup(&g, ROOT, name, NULL);
	}
	assert_int_equal(error, ENFILE);
	assert_in_range(i, 17, 257);
	node = rig_node(&g, ROOT, "f0");
	for (i = 0, error = 0; i < 40 && !error; i++)
		error = rig_file(&g, node, O_RDWR, &handle[i]);
	assert_int_equal(error, ENFILE);
	assert_int_equal(i, 21);
	for (i = 0, error = 0; i < 10 && !error; i++)
		error = rig_lock(&g, node, handle[0], i + 1, F_RDLCK, 0, 0, false);
	assert_int_equal(error, ENOLCK);
	assert_int_equal(i, 4);
	assert_int_equal(rig_release(&g, node, handle[0]), 0);
	assert_int_equal(rig_file(&g, node, O_RDWR, &handle[0]), 0);
	rig_close(&g);
}

/* ---- Nothing outside ---- */

static void links_are_not_followed(void **state)
{
	struct rig g;
	uint64_t handle;
	char back[64];

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	assert_int_equal(symlinkat("/etc/passwd", g.dir, "file"), 0);
	assert_int_equal(symlinkat("/etc", g.dir, "folder"), 0);
	assert_int_equal(symlinkat("..", g.dir, "up"), 0);
	uint64_t file = rig_node(&g, ROOT, "file"), folder = rig_node(&g, ROOT, "folder"), up = rig_node(&g, ROOT, "up");
	struct vio_tree_attr a;
	assert_int_equal(rig_getattr(&g, file, &a), 0);
	assert_true(S_ISLNK(a.mode));
	assert_int_equal(rig_file(&g, file, O_RDONLY, &handle), ELOOP);
	assert_int_equal(rig_lookup(&g, folder, "passwd", NULL), ENOTDIR);
	assert_int_equal(rig_lookup(&g, up, "share", NULL), ENOTDIR);
	struct rig_req d = { .r = { .op = VIO_TREE_OPENDIR, .node = folder } };
	assert_int_equal(rig_do(&g, &d), ENOTDIR);
	struct rig_req c = { .r = { .op = VIO_TREE_CREATE, .node = ROOT, .name = "file", .flags = O_RDWR | O_CREAT | O_TRUNC, .mode = 0600 } };
	assert_int_equal(rig_do(&g, &c), ELOOP);
	struct rig_req s = { .r = { .op = VIO_TREE_SETATTR, .node = file, .set = VIO_TREE_SET_MODE, .change = { .mode = 0777 } } };
	assert_int_equal(rig_do(&g, &s), EOPNOTSUPP);
	s.r.set = VIO_TREE_SET_SIZE;
	assert_int_equal(rig_do(&g, &s), EINVAL);
	assert_int_equal(rig_xattr(&g, VIO_TREE_READLINK, file, NULL, back, sizeof back, NULL), 0);
	assert_memory_equal(back, "/etc/passwd", 11);
	rig_close(&g);
}

static void dots_do_not_lead_out(void **state)
{
	struct rig g;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	assert_int_equal(rig_name(&g, VIO_TREE_MKDIR, ROOT, "a"), 0);
	uint64_t a = rig_node(&g, ROOT, "a"), up;
	assert_int_equal(rig_lookup(&g, ROOT, "..", &up), 0);
	assert_true(up == ROOT);
	assert_int_equal(rig_lookup(&g, a, "..", &up), 0);
	assert_true(up == ROOT);
	assert_int_equal(rig_lookup(&g, a, ".", &up), 0);
	assert_true(up == a);
	assert_int_equal(renameat(g.dir, "a", g.dir, "../a"), 0);	/* moved out, behind its back */
	assert_int_equal(rig_lookup(&g, a, "..", &up), ESTALE);
	rig_close(&g);
}

static void special_files_are_not_opened(void **state)
{
	struct rig g;
	uint64_t handle;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	assert_int_equal(mkfifoat(g.dir, "pipe", 0666), 0);
	uint64_t pipe = rig_node(&g, ROOT, "pipe");
	for (uint32_t flags = O_RDONLY; flags <= O_RDWR; flags++)
		assert_int_equal(rig_file(&g, pipe, flags, &handle), ENXIO);
	if (mknodat(g.dir, "null", S_IFCHR | 0666, 1 << 8 | 3) == 0) {
		uint64_t null = rig_node(&g, ROOT, "null");
		assert_int_equal(rig_file(&g, null, O_RDWR, &handle), ENXIO);
		assert_int_equal(rig_lookup(&g, null, "x", NULL), ENOTDIR);
	}
	struct rig_req m = { .r = { .op = VIO_TREE_MKNOD, .node = ROOT, .name = "zero", .mode = S_IFCHR | 0666, .rdev = 1 << 8 | 5 } };
	assert_int_equal(rig_do(&g, &m), EPERM);
	m.r.mode = S_IFDIR | 0700;
	assert_int_equal(rig_do(&g, &m), EINVAL);
	m.r.mode = S_IFIFO | 0600;
	assert_int_equal(rig_do(&g, &m), 0);
	rig_close(&g);
}

struct swapper { int dir; atomic_bool stop; unsigned swaps; };
static void *swap(void *arg)
{
	struct swapper *s = arg;

	while (!s->stop && !renameat2(s->dir, "a", s->dir, "b", RENAME_EXCHANGE))
		s->swaps++;
	return NULL;
}

/* The secret stands where a symbolic link beside the folder of the same name leads. */
static void a_race_of_links_leads_nowhere(void **state)
{
	struct rig g;
	struct swapper s = { 0 };
	pthread_t thread;
	unsigned folders = 0, links = 0;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	s.dir = g.dir;
	assert_int_equal(mkdirat(g.dir, "../secret", 0755), 0);
	rig_put(&g, "../secret/file", "secret");
	assert_int_equal(mkdirat(g.dir, "a", 0755), 0);
	rig_put(&g, "a/file", "public");
	assert_int_equal(symlinkat("../secret", g.dir, "b"), 0);
	assert_int_equal(pthread_create(&thread, NULL, swap, &s), 0);
	for (unsigned i = 0; i < 20000; i++) {
		char back[6] = "";
		uint64_t a, file, handle;
		if (rig_lookup(&g, ROOT, "a", &a))
			continue;
		int error = rig_lookup(&g, a, "file", &file);
		if (error) {
			assert_int_equal(error, ENOTDIR);
			links++;
		} else if (!rig_create(&g, a, "file", 0600, 0, 0, &file, &handle)) {
			assert_int_equal(rig_move(&g, VIO_TREE_READ, file, handle, 0, back, 6, NULL), 0);
			assert_memory_equal(back, "public", 6);
			rig_release(&g, file, handle);
			rig_forget(&g, file, 2);
			folders++;
		}
		rig_forget(&g, a, 1);
	}
	s.stop = true;
	pthread_join(thread, NULL);
	assert_true(s.swaps > 0 && folders > 0 && links > 0);
	rig_close(&g);
}

/* ---- Found again ---- */

static void few_descriptors_do(void **state)
{
	enum { FILES = 600 };
	static uint64_t node[FILES];
	struct rig g;
	char name[32];
	bool by_name = state && *state;

	rig_open(&g, (struct vio_tree_options){ .max_descriptors = 32, .no_file_handles = by_name }, NULL);
	assert_int_equal(rig_name(&g, VIO_TREE_MKDIR, ROOT, "d"), 0);
	uint64_t d = rig_node(&g, ROOT, "d");
	assert_int_equal(rig_name(&g, VIO_TREE_MKDIR, d, "e"), 0);
	uint64_t e = rig_node(&g, d, "e");
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(name, sizeof name, "d/e/f%u", i);
		rig_put(&g, name, name);
		node[i] = rig_node(&g, e, name + 4);
	}
	struct vio_tree_figures f;
	vio_tree_host_figures(g.tree, &f);
	assert_int_equal(f.nodes, FILES + 3);
	assert_in_range(f.descriptors, 0, 32 + 16);
	for (unsigned i = 0; i < FILES; i++) {
		struct vio_tree_attr a;
		uint64_t handle;
		char back[32] = "";
		snprintf(name, sizeof name, "d/e/f%u", i);
		assert_int_equal(rig_getattr(&g, node[i], &a), 0);
		assert_int_equal(a.size, strlen(name));
		assert_int_equal(rig_file(&g, node[i], O_RDONLY, &handle), 0);
		assert_int_equal(rig_move(&g, VIO_TREE_READ, node[i], handle, 0, back, sizeof back, NULL), 0);
		assert_string_equal(back, name);
		rig_release(&g, node[i], handle);
	}
	/* The guest renames a folder on the way: found all the same. */
	assert_int_equal(rig_rename(&g, ROOT, "d", ROOT, "D", 0), 0);
	for (unsigned i = 0; i < FILES; i += 7)
		assert_int_equal(rig_getattr(&g, node[i], NULL), 0);
	/* Others put something else in a file's place. */
	unlinkat(g.dir, "D/e/f3", 0);
	rig_put(&g, "D/e/f3", "another");
	for (unsigned i = 10; i < FILES; i++)
		rig_getattr(&g, node[i], NULL);
	assert_int_equal(rig_getattr(&g, node[3], NULL), ESTALE);
	assert_true(rig_node(&g, e, "f3") != node[3]);
	rig_close(&g);
}

static void an_unlinked_file_stays(void **state)
{
	struct rig g;
	uint64_t node, handle;
	char name[32], b;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ .max_descriptors = 64, .no_file_handles = true }, NULL);
	assert_int_equal(rig_create(&g, ROOT, "gone", 0600, 0, 0, &node, &handle), 0);
	assert_int_equal(rig_move(&g, VIO_TREE_WRITE, node, handle, 0, (char *)"x", 1, NULL), 0);
	assert_int_equal(rig_name(&g, VIO_TREE_UNLINK, ROOT, "gone"), 0);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(name, sizeof name, "f%u", i);
		rig_put(&g, name, "");
		rig_node(&g, ROOT, name);
	}
	assert_int_equal(rig_getattr(&g, node, NULL), 0);
	assert_int_equal(rig_move(&g, VIO_TREE_READ, node, handle, 0, &b, 1, NULL), 0);
	rig_close(&g);
}

/* ---- File systems below the folder ---- */

/* In a process of its own, which mounts for itself alone: what went wrong, as a line; 77: nothing can be mounted here. */
static int mounted_below(bool refused)
{
	struct rig g;
	struct vio_tree_attr a;
	uint64_t node, handle, up;
	char path[128], back;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 77;
	rig_open(&g, (struct vio_tree_options){ .no_submounts = refused, .max_descriptors = 16 }, NULL);
	snprintf(path, sizeof path, "%s/share/below", g.path);
	if (mkdir(path, 0777) || mount("none", path, "tmpfs", 0, NULL))
		return 77;
	rig_put(&g, "below/file", "x");
	struct rig_req q = { .r = { .op = VIO_TREE_LOOKUP, .node = ROOT, .name = "below" } };
	int line = 0;
	if (refused) {
		if (rig_lookup(&g, ROOT, "below", &node) == 0 && rig_lookup(&g, node, "file", &node) == 0)
			line = __LINE__;
	} else if (rig_do(&g, &q) || !q.r.entry.attr.submount || !(node = q.r.entry.node)) {
		line = __LINE__;
	} else if (rig_lookup(&g, node, "..", &up) || up != ROOT || rig_create(&g, node, "new", 0600, 0, 0, &up, &handle)) {
		line = __LINE__;
	} else {
		for (unsigned i = 0; i < 100; i++) {	/* descriptors are given up there too */
			char name[24];
			snprintf(name, sizeof name, "below/f%u", i);
			rig_put(&g, name, "y");
			rig_node(&g, node, name + 6);
		}
		if (rig_rename(&g, node, "file", ROOT, "file", 0) != EXDEV || rig_getattr(&g, up, &a) || a.submount)
			line = __LINE__;
		else if (rig_move(&g, VIO_TREE_READ, up, handle, 0, &back, 1, NULL))
			line = __LINE__;
	}
	rig_close(&g);
	umount2(path, MNT_DETACH);
	nftw(g.path, rig_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	return line;
}

static void file_systems_below(void **state)
{
	(void)state;
	for (unsigned refused = 0; refused < 2; refused++) {
		int status;
		fflush(NULL);
		pid_t pid = fork();
		if (pid == 0) {
			int line = mounted_below(refused);
			if (line && line != 77)
				dprintf(2, "line %d\n", line);
			_exit(line == 77 ? 77 : line != 0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
			SKIP_BECAUSE("nothing may be mounted here");
		assert_int_equal(status, 0);
	}
}

/* ---- Without privileges, read-only, refused ---- */

static void read_only_is_kept(void **state)
{
	struct rig g;
	uint64_t handle, node;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ .read_only = true }, NULL);
	rig_put(&g, "file", "x");
	uint64_t file = rig_node(&g, ROOT, "file");
	assert_int_equal(rig_file(&g, file, O_RDWR, &handle), EROFS);
	assert_int_equal(rig_file(&g, file, O_RDONLY | O_TRUNC, &handle), EROFS);
	assert_int_equal(rig_create(&g, ROOT, "new", 0600, 0, 0, &node, &handle), EROFS);
	assert_int_equal(rig_name(&g, VIO_TREE_UNLINK, ROOT, "file"), EROFS);
	assert_int_equal(rig_file(&g, file, O_RDONLY, &handle), 0);
	rig_close(&g);
}

static void refusals_say_why(void **state)
{
	struct vio_loop *l = vio_loop_new();
	static const char *const paths[] = { "/vio-no-such-folder", "/etc/passwd" };
	char why[512];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct vio_tree_options o = { .path = paths[i], .loops = &l, .loop_count = 1 };
		assert_null(vio_tree_host_open(&o, why));
		assert_non_null(strstr(why, "name a folder"));
	}
	vio_loop_free(l);
}

/* In a process of its own, which has given up being root. */
static void without_privileges(void **state)
{
	struct rig g;
	uint64_t node, handle;
	struct vio_tree_attr a;

	(void)state;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		if (geteuid() == 0 && (setresgid(1234, 1234, 1234) || setresuid(1234, 1234, 1234)))
			_exit(77);
		rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
		bool ok = !rig_create(&g, ROOT, "root", 0644, 0, 0, &node, &handle) && !rig_getattr(&g, node, &a) && a.uid == 0 &&
		    rig_create(&g, ROOT, "user", 0644, 1000, 1000, &node, &handle) == EPERM;
		struct stat st;
		ok = ok && !fstatat(g.dir, "root", &st, 0) && st.st_uid == geteuid();
		rig_close(&g);
		_exit(ok ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP_BECAUSE("nobody may become another user here");
	assert_int_equal(status, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(files_are_made_and_found, "files and folders are made, found, written, read, moved and removed"),
		T(renames_have_flags, "renames without replacing, exchanging, and with flags nobody knows"),
		T(folders_are_read_in_pieces, "a folder is read one entry at a time, each entry once, and what did not fit is not known"),
		T(files_without_names, "a file without a name gets one"),
		T(attributes_are_set, "mode, size and times are set; nonsense is not"),
		T(holes_copies_and_space, "holes are found, ranges copied, space allocated; offsets beyond all files are refused"),
		T(files_in_memory_are_mapped, "files in memory that are read often: nobody can tell that they are mapped"),
		T(made_up_numbers_are_refused, "nodes and handles that were never handed out, or of others, are refused"),
		T(a_session_ends, "with the session go nodes, handles and locks"),
		T(caps_hold, "a guest can pin so many nodes, handles and lock owners"),
		T(links_are_not_followed, "symbolic links are read, never followed"),
		T(dots_do_not_lead_out, ".. does not lead out of the folder, even from what was moved out"),
		T(special_files_are_not_opened, "pipes and devices are not opened, and devices not made"),
		T(a_race_of_links_leads_nowhere, "a link that takes a folder's place again and again leads nowhere"),
		TS(few_descriptors_do, "many nodes do with few descriptors: file handles where granted", 0),
		TS(few_descriptors_do, "many nodes do with few descriptors: names", 1),
		T(an_unlinked_file_stays, "an unlinked file stays while it is known, without file handles too"),
		T(file_systems_below, "file systems mounted below the folder are told as such, or refused"),
		T(read_only_is_kept, "read-only is kept"),
		T(refusals_say_why, "what cannot be shared is refused in a sentence"),
		T(without_privileges, "without privileges the guest's root is the calling user, and nobody else creates"),
	};
	return vio_tests("host-tree", tests, sizeof tests / sizeof *tests);
}
