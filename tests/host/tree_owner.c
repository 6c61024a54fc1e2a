/* Whose files, attributes and locks they are, in a folder of the host as a tree. */
#include <tests/host/tree_rig.h>
#include <sys/file.h>
#include <sys/xattr.h>

/* ---- Ids ---- */

static void whoever_asks_owns(void **state)
{
	struct rig g;
	uint64_t node, handle;
	struct stat st;

	(void)state;
	if (geteuid())
		SKIP_BECAUSE("only root may be somebody else");
	rig_open(&g, (struct vio_tree_options){ .uid = { .map = { { 0, 0, 1 }, { 1000, 70000, 100 } }, .entries = 2 } }, NULL);
	assert_int_equal(rig_create(&g, ROOT, "user", 0644, 1005, 33, &node, &handle), 0);
	assert_int_equal(fstatat(g.dir, "user", &st, 0), 0);
	assert_int_equal(st.st_uid, 70005);
	assert_int_equal(st.st_gid, 33);
	struct vio_tree_attr a;
	assert_int_equal(rig_getattr(&g, node, &a), 0);
	assert_int_equal(a.uid, 1005);
	assert_int_equal(rig_create(&g, ROOT, "nobody", 0644, 5, 5, &node, &handle), EPERM);
	assert_int_equal(fstatat(g.dir, "nobody", &st, 0), -1);
	assert_int_equal(rig_create(&g, ROOT, "root", 0644, 0, 0, &node, &handle), 0);
	assert_int_equal(fstatat(g.dir, "root", &st, 0), 0);
	assert_int_equal(st.st_uid, 0);
	rig_put(&g, "foreign", "");
	fchownat(g.dir, "foreign", 12345, 0, 0);
	assert_int_equal(rig_getattr(&g, rig_node(&g, ROOT, "foreign"), &a), 0);
	assert_int_equal(a.uid, 65534);
	rig_close(&g);
}

/* CVE-2022-0358: in a folder with set-group-id, a file's own bit stays only for members of the group. */
static void set_group_id_is_inherited_only_by_members(void **state)
{
	struct rig g;
	uint64_t node, handle;
	struct stat st;

	(void)state;
	if (geteuid())
		SKIP_BECAUSE("only root may be somebody else");
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	assert_int_equal(mkdirat(g.dir, "d", 0777), 0);
	assert_int_equal(fchownat(g.dir, "d", 0, 0, 0), 0);
	assert_int_equal(fchmodat(g.dir, "d", 02777, 0), 0);
	uint64_t d = rig_node(&g, ROOT, "d");
	assert_int_equal(rig_create(&g, d, "stranger", 02755, 1000, 1000, &node, &handle), 0);
	assert_int_equal(fstatat(g.dir, "d/stranger", &st, 0), 0);
	assert_int_equal(st.st_gid, 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	struct rig_req q = { .r = { .op = VIO_TREE_CREATE, .node = d, .name = "member", .mode = 02755, .flags = O_RDWR,
		.uid = 1000, .gid = 1000, .group = { 0 }, .group_count = 1 } };
	assert_int_equal(rig_do(&g, &q), 0);
	assert_int_equal(fstatat(g.dir, "d/member", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 02755);
	/* Writing as somebody without privileges clears both. */
	assert_int_equal(fchmodat(g.dir, "d/member", 06755, 0), 0);
	struct rig_req w = { .seg = { (char *)"x", 1 }, .r = { .op = VIO_TREE_WRITE, .node = q.r.entry.node, .handle = q.r.new_handle,
		.kill_priv = true } };
	w.r.bytes = (struct vio_cur){ .seg = &w.seg, .left = 1 };
	assert_int_equal(rig_do(&g, &w), 0);
	assert_int_equal(fstatat(g.dir, "d/member", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	rig_close(&g);
}

static void umask_yields_to_a_default_acl(void **state)
{
	/* user::rwx group::rwx other::rwx */
	static unsigned char acl[] = { 2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 7, 0, 255, 255, 255, 255,
		32, 0, 7, 0, 255, 255, 255, 255 };
	struct rig g;
	struct stat st;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	assert_int_equal(rig_name(&g, VIO_TREE_MKDIR, ROOT, "plain"), 0);
	assert_int_equal(rig_name(&g, VIO_TREE_MKDIR, ROOT, "acl"), 0);
	uint64_t with = rig_node(&g, ROOT, "acl"), without = rig_node(&g, ROOT, "plain");
	if (rig_xattr(&g, VIO_TREE_SETXATTR, with, "system.posix_acl_default", acl, sizeof acl, NULL) == EOPNOTSUPP)
		SKIP_BECAUSE("the file system has no ACLs");
	struct rig_req q = { .r = { .op = VIO_TREE_MKDIR, .node = with, .name = "d", .mode = 0777, .umask = 077 } };
	assert_int_equal(rig_do(&g, &q), 0);
	fstatat(g.dir, "acl/d", &st, 0);
	assert_int_equal(st.st_mode & 0777, 0777);
	q.r.node = without;
	assert_int_equal(rig_do(&g, &q), 0);
	fstatat(g.dir, "plain/d", &st, 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	rig_close(&g);
}

static void maps_are_judged(void **state)
{
	static const struct { const char *text, *words; } bad[] = {
		{ "", "empty" }, { "1:2", "no map" }, { "1:2:0", "no map" }, { "a:0:1", "no map" }, { "0:0:1,", NULL },
		{ "0:0:10,5:100:1", "overlap" }, { "0:0:10,50:9:1", "overlap" }, { "0:0:4294967296", "no map" },
		{ "4294967290:0:10", "no map" }, { "-1:0:1", "no map" }, { "0:0:1x", "no map" },
	};
	struct vio_tree_ids m;
	char why[512];

	(void)state;
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		bool ok = vio_tree_ids_parse(&m, bad[i].text, why);
		assert_int_equal(ok, bad[i].words == NULL);
		if (!ok)
			assert_non_null(strstr(why, bad[i].words));
	}
	assert_true(vio_tree_ids_parse(&m, "0:1000:1,1:100000:65535", why));
	assert_int_equal(m.entries, 2);
}

/* ---- Extended attributes ---- */

static void attributes_with_names(void **state)
{
	static const struct { enum vio_tree_xattr mode; const char *guest, *host; int error; } row[] = {
		{ VIO_TREE_XATTR_ON, "user.x", "user.x", 0 },
		{ VIO_TREE_XATTR_ON, "security.selinux", NULL, EOPNOTSUPP },
		{ VIO_TREE_XATTR_ON, "trusted.x", NULL, EOPNOTSUPP },
		{ VIO_TREE_XATTR_ON, "nonsense", NULL, EOPNOTSUPP },
		{ VIO_TREE_XATTR_OFF, "user.x", NULL, EOPNOTSUPP },
		{ VIO_TREE_XATTR_MAP, "user.x", "user.x", 0 },
		{ VIO_TREE_XATTR_MAP, "trusted.overlay.opaque", "user.virtiofs.trusted.overlay.opaque", 0 },
		{ VIO_TREE_XATTR_MAP, "security.capability", "user.virtiofs.security.capability", 0 },
		{ VIO_TREE_XATTR_MAP, "user.virtiofs.trusted.x", NULL, EPERM },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		struct rig g;
		char back[64] = "", host[64] = "";
		uint64_t n;
		rig_open(&g, (struct vio_tree_options){ .xattr = row[i].mode }, NULL);
		rig_put(&g, "file", "");
		int fd = openat(g.dir, "file", O_RDWR);
		uint64_t node = rig_node(&g, ROOT, "file");
		assert_int_equal(rig_xattr(&g, VIO_TREE_SETXATTR, node, row[i].guest, (char *)"value", 5, NULL), row[i].error);
		assert_int_equal(flistxattr(fd, host, sizeof host), row[i].host ? (ssize_t)strlen(row[i].host) + 1 : 0);
		if (row[i].host) {
			assert_string_equal(host, row[i].host);
			assert_int_equal(rig_xattr(&g, VIO_TREE_GETXATTR, node, row[i].guest, NULL, 0, &n), 0);
			assert_int_equal(n, 5);
			assert_int_equal(rig_xattr(&g, VIO_TREE_GETXATTR, node, row[i].guest, back, 4, &n), ERANGE);
			assert_int_equal(rig_xattr(&g, VIO_TREE_LISTXATTR, node, NULL, back, sizeof back, &n), 0);
			assert_int_equal(n, strlen(row[i].guest) + 1);
			assert_string_equal(back, row[i].guest);
			assert_int_equal(rig_xattr(&g, VIO_TREE_REMOVEXATTR, node, row[i].guest, NULL, 0, NULL), 0);
		}
		close(fd);
		rig_close(&g);
	}
}

/* ---- Locks ---- */

static void locks_hold_for_owners_and_the_host(void **state)
{
	struct rig g;
	uint64_t a, b;

	(void)state;
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	rig_put(&g, "file", "x");
	uint64_t node = rig_node(&g, ROOT, "file");
	assert_int_equal(rig_file(&g, node, O_RDWR, &a), 0);
	assert_int_equal(rig_file(&g, node, O_RDWR, &b), 0);
	int fd = openat(g.dir, "file", O_RDWR);
	/* POSIX: by owner, whatever the handle. */
	assert_int_equal(rig_lock(&g, node, a, 1, F_WRLCK, 0, 9, false), 0);
	assert_int_equal(rig_lock(&g, node, a, 2, F_WRLCK, 5, 5, false), EAGAIN);
	assert_int_equal(rig_lock(&g, node, b, 1, F_WRLCK, 5, 5, false), 0);
	assert_int_equal(rig_lock(&g, node, b, 2, F_WRLCK, 10, INT64_MAX, false), 0);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 1 };
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), -1);
	struct rig_req q = { .r = { .op = VIO_TREE_GETLK, .node = node, .handle = a, .owner = 1, .lock = { 0, INT64_MAX, F_RDLCK, 0 } } };
	assert_int_equal(rig_do(&g, &q), 0);
	assert_int_equal(q.r.lock.type, F_WRLCK);
	assert_int_equal(q.r.lock.start, 10);
	assert_int_equal(q.r.lock.pid, 1);
	struct rig_req f = { .r = { .op = VIO_TREE_FLUSH, .node = node, .handle = a, .owner = 1 } };
	assert_int_equal(rig_do(&g, &f), 0);
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	q.r.lock = (struct vio_tree_lock){ 0, 9, F_RDLCK, 0 };
	assert_int_equal(rig_do(&g, &q), 0);
	assert_int_equal(q.r.lock.start, 3);
	assert_int_equal(q.r.lock.pid, 0);		/* the host's */
	assert_int_equal(rig_lock(&g, node, a, 1, F_RDLCK, 0, 9, false), EAGAIN);
	assert_int_equal(rig_lock(&g, node, a, 1, F_RDLCK, 9, 0, false), EINVAL);
	assert_int_equal(rig_lock(&g, node, a, 1, 77, 0, 1, false), EINVAL);
	/* BSD: by handle. */
	assert_int_equal(rig_lock(&g, node, a, 0, F_WRLCK, 0, INT64_MAX, true), 0);
	assert_int_equal(rig_lock(&g, node, b, 0, F_RDLCK, 0, INT64_MAX, true), EAGAIN);
	assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), -1);
	assert_int_equal(rig_release(&g, node, a), 0);
	struct rig_req w = { .r = { .op = VIO_TREE_SETLK, .node = node, .handle = b, .flock = true, .wait = true,
		.lock = { 0, INT64_MAX, F_RDLCK, 1 } } };
	assert_int_equal(rig_do(&g, &w), 0);	/* the descriptor is closed soon, by another thread */
	close(fd);
	rig_close(&g);
}

static void look_for_a_millisecond(struct rig *g)
{
	struct vio_timer end = { .fn = (void (*)(void *))vio_loop_quit, .arg = g->loop };

	vio_loop_timer(g->loop, &end, vio_now_ns() + 1000000);
	vio_loop_run(g->loop);
	vio_loop_untimer(g->loop, &end);
}

/* More wait than there are threads to wait; each end is an event. */
static void locks_are_waited_for(void **state)
{
	enum { WAITERS = 40 };
	static struct rig_req w[WAITERS];
	struct rig g;
	uint64_t h;

	(void)state;
	memset(w, 0, sizeof w);
	rig_open(&g, (struct vio_tree_options){ 0 }, NULL);
	rig_put(&g, "file", "x");
	uint64_t node = rig_node(&g, ROOT, "file");
	assert_int_equal(rig_file(&g, node, O_RDWR, &h), 0);
	assert_int_equal(rig_lock(&g, node, h, 1000, F_WRLCK, 0, 9, false), 0);
	for (unsigned i = 0; i < WAITERS; i++) {
		w[i].r = (struct vio_tree_req){ .op = VIO_TREE_SETLK, .node = node, .handle = h, .owner = i + 1, .wait = true,
			.unique = i + 100, .lock = { 0, 9, F_RDLCK, 1 } };
		rig_submit(&g, &w[i]);
	}
	/* Others are served meanwhile: nobody waits for those who wait. */
	for (unsigned i = 0; i < 100; i++) {
		struct rig_req x = { .r = { .op = VIO_TREE_SYNCFS, .node = node } };
		rig_submit(&g, &x);
		while (!x.ended)
			look_for_a_millisecond(&g);
	}
	for (unsigned i = 0; i < WAITERS; i++)
		assert_int_equal(w[i].ended, 0);
	/* One of each kind of cancelling, for the first and the last, which a thread has and which none has. */
	while (!g.chan->ops->interrupt(g.chan, 100))
		;
	g.chan->ops->cancel(g.chan, &w[1].r);
	while (!g.chan->ops->interrupt(g.chan, 100 + WAITERS - 1))
		;
	g.chan->ops->cancel(g.chan, &w[WAITERS - 2].r);
	assert_false(g.chan->ops->interrupt(g.chan, 7));
	while (!w[0].ended)		/* before the lock is free: then it could still be had */
		look_for_a_millisecond(&g);
	assert_int_equal(rig_lock(&g, node, h, 1000, F_UNLCK, 0, 9, false), 0);
	rig_settle(&g);
	for (unsigned i = 0; i < WAITERS; i++) {
		assert_int_equal(w[i].ended, 1);
		if (i > 1 && i < WAITERS - 2)
			assert_int_equal(w[i].error, 0);
		else
			assert_true(w[i].error == EINTR || w[i].error == 0);
	}
	assert_int_equal(w[0].error, EINTR);
	rig_close(&g);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(whoever_asks_owns, "what is created belongs to whoever asked, by the maps; as an unmapped one nobody creates"),
		T(set_group_id_is_inherited_only_by_members, "set-group-id stays for members only, and goes with a write"),
		T(umask_yields_to_a_default_acl, "the umask holds unless a default ACL does"),
		T(maps_are_judged, "maps of ids are judged in sentences"),
		T(attributes_with_names, "extended attributes by the table of what is allowed and mapped"),
		T(locks_hold_for_owners_and_the_host, "POSIX locks by owner and BSD locks by handle, for the host too"),
		T(locks_are_waited_for, "many wait for a lock, nobody else for them, and waiting is interrupted"),
	};
	return vio_tests("host-tree-owner", tests, sizeof tests / sizeof *tests);
}
