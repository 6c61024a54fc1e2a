/*
 * A tree whose process is confined as the daemon is: every operation still works (a call that is not granted would end the
 * process), as root and as somebody else; and the process itself can reach nothing outside the folder.
 */
#include <tests/host/tree_rig.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <vio/host/sandbox.h>

enum { NOBODY = 1234, SKIPPED = 77 };

static int last_error;
#define NEED(good) do { \
	if (!(good)) { \
		dprintf(2, "line %d: %s (the last error was %d)\n", __LINE__, #good, last_error); \
		_exit(1); \
	} \
} while (0)

static int ask(struct rig *g, struct rig_req *q) { return last_error = rig_do(g, q); }

/* All operations that carry no bytes and need no more than a node and a handle. */
static int plain(struct rig *g, enum vio_tree_op op, uint64_t node, uint64_t handle)
{
	struct rig_req q = { .r = { .op = op, .node = node, .handle = handle, .length = 4096, .count = 1, .owner = 1 } };
	return ask(g, &q);
}

static void names(struct rig *g)
{
	struct rig_req q;
	char target[] = "file";
	uint64_t node, handle;

	NEED(!rig_create(g, ROOT, "file", 0640, 0, 0, &node, &handle));
	NEED(!rig_name(g, VIO_TREE_MKDIR, ROOT, "folder"));
	uint64_t folder = rig_node(g, ROOT, "folder");
	for (uint32_t flags = 0; flags <= RENAME_EXCHANGE; flags++) {
		rig_create(g, folder, "other", 0640, 0, 0, &node, &handle);
		NEED(rig_rename(g, ROOT, "file", folder, "other", flags) == (flags == RENAME_NOREPLACE ? EEXIST : 0));
		if (!flags)
			NEED(!rig_rename(g, folder, "other", ROOT, "file", flags));
	}
	q = (struct rig_req){ .r = { .op = VIO_TREE_LINK, .node = rig_node(g, ROOT, "file"), .node2 = folder, .name2 = "link" } };
	NEED(!ask(g, &q));
	q = (struct rig_req){ .seg = { target, 4 }, .r = { .op = VIO_TREE_SYMLINK, .node = ROOT, .name = "soft" } };
	q.r.bytes = (struct vio_cur){ .seg = &q.seg, .left = 4 };
	NEED(!ask(g, &q));
	NEED(!rig_xattr(g, VIO_TREE_READLINK, q.r.entry.node, NULL, target, 4, NULL));
	q = (struct rig_req){ .r = { .op = VIO_TREE_MKNOD, .node = ROOT, .name = "pipe", .mode = S_IFIFO | 0600 } };
	NEED(!ask(g, &q));
	q.r.name = "device";
	q.r.mode = S_IFCHR | 0600;
	q.r.rdev = 1 << 8 | 3;
	NEED(ask(g, &q) == EPERM);
	q = (struct rig_req){ .r = { .op = VIO_TREE_TMPFILE, .node = ROOT, .mode = 0600, .flags = O_RDWR } };
	NEED(ask(g, &q) == 0 || q.error == EOPNOTSUPP);
	NEED(!rig_name(g, VIO_TREE_UNLINK, folder, "link") && !rig_name(g, VIO_TREE_UNLINK, folder, "other"));
	NEED(!rig_name(g, VIO_TREE_RMDIR, ROOT, "folder"));
	NEED(!rig_lookup(g, ROOT, "..", &node) && node == ROOT);
}

static void contents(struct rig *g)
{
	uint64_t node, handle, moved;
	char back[8];
	struct rig_req q;

	NEED(!rig_create(g, ROOT, "bytes", 0644, 0, 0, &node, &handle));
	NEED(!rig_move(g, VIO_TREE_WRITE, node, handle, 0, (char *)"12345678", 8, &moved) && moved == 8);
	NEED(!rig_move(g, VIO_TREE_READ, node, handle, 0, back, 8, &moved) && !memcmp(back, "12345678", 8));
	static const enum vio_tree_op ops[] = { VIO_TREE_FSYNC, VIO_TREE_FLUSH, VIO_TREE_FALLOCATE, VIO_TREE_LSEEK, VIO_TREE_SYNCFS,
		VIO_TREE_STATFS, VIO_TREE_ACCESS, VIO_TREE_GETATTR, VIO_TREE_STATX };
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
		NEED(!plain(g, ops[i], node, handle));
	q = (struct rig_req){ .r = { .op = VIO_TREE_COPY_RANGE, .node = node, .handle = handle, .node2 = node, .handle2 = handle,
		.offset2 = 100, .length = 8 } };
	NEED(!ask(g, &q) && q.r.result == 8);
	q = (struct rig_req){ .r = { .op = VIO_TREE_IOCTL, .node = node, .handle = handle, .flags = FS_IOC_GETFLAGS } };
	q.seg = (struct vio_seg){ back, 8 };
	q.r.bytes = (struct vio_cur){ .seg = &q.seg, .left = 8 };
	ask(g, &q);			/* file systems differ; it is enough to live on */
	struct vio_tree_lock lock = { 0, 9, F_WRLCK, 1 };
	for (unsigned i = 0; i < 4; i++) {
		q = (struct rig_req){ .r = { .op = i == 2 ? VIO_TREE_GETLK : VIO_TREE_SETLK, .node = node, .handle = handle, .owner = 1,
			.flock = i == 3, .wait = i == 1, .lock = lock } };
		NEED(!ask(g, &q));
	}
	NEED(!rig_release(g, node, handle) && !rig_file(g, node, O_RDONLY, &handle) && !rig_release(g, node, handle));
	q = (struct rig_req){ .r = { .op = VIO_TREE_OPENDIR, .node = ROOT } };
	NEED(!ask(g, &q));
	uint64_t dir = q.r.new_handle;
	NEED(!plain(g, VIO_TREE_READDIR, ROOT, dir) && !plain(g, VIO_TREE_READDIRPLUS, ROOT, dir));
	NEED(!plain(g, VIO_TREE_FSYNCDIR, ROOT, dir) && !plain(g, VIO_TREE_RELEASEDIR, ROOT, dir));
}

static void attributes(struct rig *g, bool users)
{
	uint64_t node, handle, n;
	char list[64];
	struct rig_req q = { .r = { .op = VIO_TREE_SETATTR, .set = VIO_TREE_SET_MODE | VIO_TREE_SET_SIZE | VIO_TREE_SET_ATIME_NOW |
		VIO_TREE_SET_MTIME, .change = { .mode = 0600, .size = 5, .mtime = { 5, 5 } } } };

	NEED(!rig_create(g, ROOT, "attr", 0644, 0, 0, &node, &handle));
	q.r.node = node;
	NEED(!ask(g, &q));
	q.r.has_handle = true;
	q.r.handle = handle;
	NEED(!ask(g, &q));
	q.r.set = VIO_TREE_SET_UID | VIO_TREE_SET_GID;
	q.r.change.uid = q.r.change.gid = users ? 1000 : 0;
	NEED(!ask(g, &q));
	NEED(rig_create(g, ROOT, "theirs", 0644, 1000, 1000, &n, &handle) == (users ? 0 : EPERM));
	NEED(!rig_xattr(g, VIO_TREE_LISTXATTR, node, NULL, list, sizeof list, NULL));
	if (rig_xattr(g, VIO_TREE_SETXATTR, node, "user.x", (char *)"value", 5, NULL) == EOPNOTSUPP)
		return;
	NEED(!rig_xattr(g, VIO_TREE_GETXATTR, node, "user.x", list, sizeof list, &n) && n == 5);
	NEED(!rig_xattr(g, VIO_TREE_REMOVEXATTR, node, "user.x", NULL, 0, NULL));
}

/* Nodes lose their descriptors and are found again. */
static void found_again(struct rig *g)
{
	uint64_t node[64], handle;
	char name[16];

	for (unsigned i = 0; i < 64; i++) {
		snprintf(name, sizeof name, "n%u", i);
		NEED(!rig_create(g, ROOT, name, 0600, 0, 0, &node[i], &handle) && !rig_release(g, node[i], handle));
	}
	for (unsigned i = 0; i < 64; i++)
		NEED(!rig_getattr(g, node[i], NULL));
}

/* With what this very process may do, whatever was asked of it. */
static bool reaches(struct rig *g, const char *path)
{
	int fd = openat(g->dir, path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static char *left;		/* the folder's path, for who removes it */

static void live(bool root, bool by_name)
{
	struct rig g;
	struct vio_sandbox_folder room[4];
	struct vio_sandbox_options o = { .folder = room, .room = 4 };
	const char *lacks;
	char why[512] = "";

	if (root ? geteuid() != 0 : geteuid() == 0 && (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)))
		_exit(SKIPPED);
	rig_open(&g, (struct vio_tree_options){ .max_descriptors = 16, .no_file_handles = by_name }, NULL);
	memcpy(left, g.path, sizeof g.path);
	rig_put(&g, "../outside", "secret");
	rig_put(&g, "inside", "open");
	vio_sandbox_calls(&o, vio_tree_host_calls);
	vio_tree_host_grant(g.tree, &o);
	if (!vio_sandbox_enter(&o, &lacks, why)) {
		dprintf(2, "%s\n", why);
		_exit(1);
	}
	names(&g);
	contents(&g);
	attributes(&g, root);
	found_again(&g);
	NEED(reaches(&g, "inside"));
	NEED(lacks || (!reaches(&g, "../outside") && !reaches(&g, "/etc/passwd")));
	NEED(lacks || openat(g.dir, "../new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0);
	struct rig_req end = { .r = { .op = VIO_TREE_END } };
	NEED(!ask(&g, &end));
	_exit(0);
}

static void in_a_child(bool root, bool by_name)
{
	int status;

	left = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(left != MAP_FAILED);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		live(root, by_name);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (*left)
		nftw(left, rig_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	munmap(left, 4096);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		SKIP_BECAUSE("this kernel does not let the process confine itself, or it may not mount");
	assert_int_equal(status, 0);
}

static void as_root(void **state) { (void)state; in_a_child(true, false); }
static void as_root_by_name(void **state) { (void)state; in_a_child(true, true); }
static void as_nobody(void **state) { (void)state; in_a_child(false, false); }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(as_root, "confined, root serves every operation, and reaches nothing outside the folder"),
		T(as_root_by_name, "the same where files are found again by their names"),
		T(as_nobody, "confined, a user serves every operation, and reaches nothing outside the folder"),
	};
	return vio_tests("host-tree-confined", tests, sizeof tests / sizeof *tests);
}
