/*
 * A device served elsewhere, on each wire: vio's block driver here, the block device in another thread or process, and a
 * vhost-user socket between them.
 */
#include "machine.h"
#include "raw.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <vio/driver/blk.h>
#include <vio/host/disk.h>

enum { RING = 64, REQUESTS = 20, SECTOR = VIO_BLK_SECTOR };
#define BIT(n) (UINT64_C(1) << (n))

/* A driver in the machine: rings and headers in the first region, data in the second. */
struct drive {
	struct machine m;
	struct vio_blk blk;
	struct vio_drvq_slot slots[RING];
	struct vio_blk_request *request;	/* REQUESTS */
	struct vio_blk_queue_memory memory;
};

struct way { uint64_t features, without; bool reconnect; };

static void drive_begin(struct drive *d, bool shared)
{
	machine_begin(&d->m, shared);
	d->m.o.like = &vio_dev_blk;
	d->request = machine_take(&d->m, 0, REQUESTS * sizeof *d->request);
	d->memory = (struct vio_blk_queue_memory){ .ring = machine_take(&d->m, 0, VIO_DRVQ_RING_BYTES(RING)), .slots = d->slots,
		.indirect = machine_take(&d->m, 1, RING * VIO_BLK_DRV_INDIRECT * sizeof(struct vio_split_desc)) };
	machine_take(&d->m, 1, 0);
}

static void drive_plug(struct drive *d, const struct way *w, int fd)
{
	drive_begin(d, true);
	d->m.o.fd = fd;
	d->m.o.reconnect = w->reconnect;
	d->m.o.protocol_without = w->without;
	const char *why = machine_plug(&d->m);
	if (why)
		fail_msg("%s", why);
}

static bool drive_start(struct drive *d, uint64_t features)
{
	static const unsigned char plain[] = { VIO_F_VERSION_1, VIO_BLK_F_BLK_SIZE, VIO_BLK_F_FLUSH, VIO_BLK_F_CONFIG_WCE,
		VIO_F_RING_RESET, VIO_F_SUSPEND };
	struct vio_blk_setup s = { .queues = 1, .queue_size = RING, .wanted = vio_features_of(plain, sizeof plain) };

	s.wanted.word[0] |= features;
	s.memory[0] = d->memory;
	memset(d->request, 0, REQUESTS * sizeof *d->request);
	memset(d->memory.ring, 0, VIO_DRVQ_RING_BYTES(RING));
	return vio_blk_start(&d->blk, &d->m.wire.port, &s);
}

static void drive_must_start(struct drive *d, uint64_t features)
{
	if (!drive_start(d, features))
		fail_msg("%s %s", d->blk.drv.failed, d->m.dev->needs_reset ? d->m.dev->needs_reset : "");
	assert_int_equal(d->blk.drv.features.word[0] & features, features);
}

static unsigned char *data_of(struct drive *d, unsigned i) { return d->m.region[1].host + MACHINE_REGION / 2 + i * 8192; }
static unsigned char pattern(unsigned i, unsigned at) { return (unsigned char)(i * 37 + at * 11 + at / 256 + 1); }

static void prepare(struct drive *d, unsigned i, uint32_t type, uint64_t sector, uint32_t bytes)
{
	d->request[i].type = type;
	d->request[i].sector = sector;
	d->request[i].data = data_of(d, i);
	d->request[i].len = bytes;
}

static void ask(struct drive *d, unsigned i, uint32_t type, uint64_t sector, uint32_t bytes)
{
	prepare(d, i, type, sector, bytes);
	if (vio_blk_do(&d->blk, &d->request[i]) != VIO_BLK_S_OK)
		fail_msg("request %u: status %u; %s %s", i, d->request[i].status, d->blk.drv.failed ? d->blk.drv.failed : "", d->m.why);
}

/* Blocks of all sizes go there and come back. */
static void works(struct drive *d)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		uint32_t bytes = (1 + i % 16) * SECTOR;
		for (uint32_t k = 0; k < bytes; k++)
			data_of(d, i)[k] = pattern(i, k);
		ask(d, i, VIO_BLK_T_OUT, i * 16, bytes);
	}
	for (unsigned i = 0; i < REQUESTS; i++) {
		uint32_t bytes = (1 + i % 16) * SECTOR;
		memset(data_of(d, i), 0, bytes);
		ask(d, i, VIO_BLK_T_IN, i * 16, bytes);
		for (uint32_t k = 0; k < bytes; k++)
			if (data_of(d, i)[k] != pattern(i, k))
				fail_msg("request %u byte %u: %u instead of %u", i, k, data_of(d, i)[k], pattern(i, k));
	}
}

/* ---- it works ---- */

static const struct way ways[] = {
	{ 0 },
	{ .features = BIT(VIO_F_RING_PACKED) },
	{ .features = BIT(VIO_F_EVENT_IDX) | BIT(VIO_F_INDIRECT_DESC) },
	{ .features = BIT(VIO_F_RING_PACKED) | BIT(VIO_F_EVENT_IDX) | BIT(VIO_F_INDIRECT_DESC) },
	{ .features = BIT(VIO_F_IN_ORDER) },
	{ .features = BIT(VIO_F_RING_PACKED) | BIT(VIO_F_IN_ORDER) },
	{ .without = BIT(VIO_VHOST_F_CONFIGURE_MEM_SLOTS) },
	{ .without = BIT(VIO_VHOST_F_REPLY_ACK) },
	{ .without = BIT(VIO_VHOST_F_BACKEND_REQ) },
	{ .without = BIT(VIO_VHOST_F_STATUS) | BIT(VIO_VHOST_F_RESET_DEVICE) },
	{ .reconnect = true },
	{ .features = BIT(VIO_F_RING_PACKED), .reconnect = true },
};

static void every_way(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
		struct rig r;
		struct drive d;
		rig_start(&r, (struct rig_options){ 0 });
		for (unsigned again = 0; again < 2; again++) {
			drive_plug(&d, &ways[i], rig_connect(&r));
			assert_int_equal(d.m.dev->queues, 2);
			drive_must_start(&d, ways[i].features);
			works(&d);
			assert_true(vio_blk_stop(&d.blk));
			assert_int_equal(vio_dev_status(d.m.dev), 0);
			drive_must_start(&d, ways[i].features);		/* and anew on one connection */
			works(&d);
			assert_true(MACHINE_UNTIL(&d.m, d.m.wire.used));
			assert_int_equal(d.m.lost, 0);
			machine_end(&d.m);
			rig_settles(&r);
			assert_int_equal(open_fds(), r.fds);
		}
		rig_stop(&r);
	}
}

static const struct way *format(void **state) { return &ways[*state ? 1 : 0]; }

/* What its eventfd can't carry, and what only a front end with an IOMMU can give, is not offered. */
static void offers(void **state)
{
	struct rig r;
	struct drive d;

	(void)state;
	rig_start(&r, (struct rig_options){ .iommu = true });
	drive_plug(&d, &ways[0], rig_connect(&r));
	struct vio_features f = d.m.wire.port.ops->features(&d.m.wire.port);
	assert_true(vio_has(f, VIO_F_VERSION_1) && vio_has(f, VIO_F_RING_PACKED) && vio_has(f, VIO_BLK_F_FLUSH));
	assert_true(vio_has(f, VIO_F_SUSPEND) && vio_has(f, VIO_F_RING_RESET));
	assert_false(vio_has(f, VIO_F_NOTIFICATION_DATA) || vio_has(f, VIO_F_ACCESS_PLATFORM) || vio_has(f, VIO_F_NOTIF_CONFIG_DATA));
	assert_false(vio_has(f, VIO_VHOST_LOG_ALL) || vio_has(f, VIO_VHOST_PROTOCOL_FEATURES));
	machine_end(&d.m);
	rig_stop(&r);
}

/* The protocol has no word for it: a back end that refuses what is too large is asked for less. */
static void queue_sizes(void **state)
{
	static const struct { uint16_t asked, has, is; } rows[] = { { 0, 0, 128 }, { 0, 256, 256 }, { 0, 64, 64 }, { 1024, 512, 512 }, { 32, 256, 32 } };

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rig r;
		struct drive d;
		rig_start(&r, (struct rig_options){ 0 });
		if (rows[i].has)
			r.dev->queue_size_max = rows[i].has;	/* no queue has been started */
		drive_begin(&d, true);
		d.m.o.fd = rig_connect(&r);
		d.m.o.queue_size = rows[i].asked;
		if (machine_plug(&d.m))
			fail_msg("%s", d.m.why);
		assert_int_equal(d.m.wire.port.ops->queue_max(&d.m.wire.port, 0), rows[i].is);
		drive_must_start(&d, 0);
		works(&d);
		machine_end(&d.m);
		rig_stop(&r);
	}
}

static void suspends(void **state)
{
	struct rig r;
	struct drive d;

	rig_start(&r, (struct rig_options){ 0 });
	drive_plug(&d, format(state), rig_connect(&r));
	drive_must_start(&d, format(state)->features);
	works(&d);
	for (unsigned round = 0; round < 3; round++) {
		assert_true(vio_drv_suspend(&d.blk.drv));
		for (unsigned i = 0; i < 5; i++) {
			prepare(&d, i, VIO_BLK_T_IN, i, SECTOR);
			assert_true(vio_blk_submit(&d.blk, 0, &d.request[i]));
		}
		for (unsigned i = 0; i < 50; i++)
			machine_turn(&d.m);
		assert_null(vio_blk_poll(&d.blk, 0));
		assert_true(vio_drv_resume(&d.blk.drv));
		vio_blk_kick(&d.blk, 0);
		unsigned back = 0;
		assert_true(MACHINE_UNTIL(&d.m, (back += vio_blk_poll(&d.blk, 0) != NULL) >= 5));
		works(&d);
	}
	machine_end(&d.m);
	rig_stop(&r);
}

/* One queue is taken back and given again, with fewer entries, while the device runs. */
static void resets_a_queue(void **state)
{
	struct way w = *format(state);
	struct rig r;
	struct drive d;

	w.reconnect = true;		/* with a record of what is in flight */
	rig_start(&r, (struct rig_options){ 0 });
	drive_plug(&d, &w, rig_connect(&r));
	drive_must_start(&d, w.features);
	for (uint16_t size = RING; size >= RING / 4; size /= 2) {
		works(&d);
		assert_true(vio_blk_queue_stop(&d.blk, 0));
		memset(d.memory.ring, 0, VIO_DRVQ_RING_BYTES(RING));
		assert_true(vio_blk_queue_start(&d.blk, 0, size));
		works(&d);
	}
	assert_int_equal(d.m.lost, 0);
	machine_end(&d.m);
	rig_stop(&r);
}

/* ---- notifications by eventfd ---- */

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, 5000) == 1;
}

static void eventfds(void **state)
{
	struct rig r;
	struct drive d;
	uint64_t one = 1, times;

	rig_start(&r, (struct rig_options){ 0 });
	drive_plug(&d, format(state), rig_connect(&r));
	int kick = vio_remote_kick_fd(d.m.remote, 0), call = vio_remote_call_fd(d.m.remote, 0);
	assert_true(kick >= 0 && call >= 0 && kick != vio_remote_kick_fd(d.m.remote, 1));
	assert_int_equal(vio_remote_kick_fd(d.m.remote, 2), -1);
	assert_int_equal(vio_remote_call_fd(d.m.remote, 2), -1);
	assert_false(vio_remote_watch_call(d.m.remote, 2, true));
	assert_true(vio_remote_watch_call(d.m.remote, 0, false));	/* the kernel's now */
	for (unsigned round = 0; round < 3; round++) {
		drive_must_start(&d, format(state)->features);
		uint64_t used = d.m.wire.used;
		prepare(&d, 0, VIO_BLK_T_IN, 0, SECTOR);
		assert_true(vio_blk_submit(&d.blk, 0, &d.request[0]));
		vio_drvq_kick_due(&d.blk.q[0]);			/* publishes */
		assert_int_equal(write(kick, &one, sizeof one), sizeof one);
		assert_true(readable(call));
		assert_int_equal(read(call, &times, sizeof times), sizeof times);
		machine_turn(&d.m);
		assert_int_equal(d.m.wire.used, used);
		assert_non_null(vio_blk_poll(&d.blk, 0));
		assert_true(vio_remote_watch_call(d.m.remote, 0, true));
		ask(&d, 1, VIO_BLK_T_IN, 1, SECTOR);
		assert_true(MACHINE_UNTIL(&d.m, d.m.wire.used > used));
		assert_true(vio_remote_watch_call(d.m.remote, 0, false));
		assert_true(vio_blk_stop(&d.blk));
		assert_int_equal(vio_remote_kick_fd(d.m.remote, 0), kick);	/* over resets */
	}
	machine_end(&d.m);
	rig_stop(&r);
}

/* ---- config space ---- */

static void config_space(void **state)
{
	struct rig r;
	struct drive d;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	drive_plug(&d, &ways[0], rig_connect(&r));
	drive_must_start(&d, 0);
	assert_int_equal(d.blk.capacity, RIG_DISK / SECTOR);
	uint64_t told = d.m.wire.configs;
	rig_resize(&r, RIG_DISK / 2);
	assert_true(MACHINE_UNTIL(&d.m, d.m.wire.configs > told));
	assert_true(vio_blk_config_changed(&d.blk));
	assert_int_equal(d.blk.capacity, RIG_DISK / 2 / SECTOR);
	bool before = d.blk.writeback;
	assert_true(vio_blk_set_writeback(&d.blk, !before));	/* a byte that a driver may write gets there */
	unsigned char byte;
	assert_true(vio_drv_config(&d.blk.drv, offsetof(struct vio_blk_config, writeback), &byte, 1));
	assert_int_equal(byte, !before);
	assert_int_equal(r.dev->config[offsetof(struct vio_blk_config, writeback)], !before);
	machine_end(&d.m);
	rig_stop(&r);
}

/* ---- the dirty log ---- */

static bool dirty(const uint8_t *bits, uint64_t gpa) { return bits[gpa / VIO_DIRTY_PAGE / 8] >> gpa / VIO_DIRTY_PAGE % 8 & 1; }

static void logs(void **state)
{
	struct rig r;
	struct drive d;
	uint8_t *bits = NULL;
	uint64_t bytes = 0;
	char why[MACHINE_TEXT] = "";

	rig_start(&r, (struct rig_options){ 0 });
	drive_plug(&d, format(state), rig_connect(&r));
	drive_must_start(&d, format(state)->features);
	uint64_t data = machine_gpa(&d.m, data_of(&d, 3)), status = machine_gpa(&d.m, &d.request[3].answer);
	ask(&d, 3, VIO_BLK_T_IN, 0, SECTOR);
	if (!vio_remote_log(d.m.remote, true, &bits, &bytes, why))
		fail_msg("%s", why);
	assert_false(dirty(bits, data));
	ask(&d, 3, VIO_BLK_T_OUT, 0, SECTOR);
	assert_false(dirty(bits, data));		/* a write only reads memory */
	assert_true(dirty(bits, status));		/* but its status is written */
	ask(&d, 3, VIO_BLK_T_IN, 0, SECTOR);
	assert_true(dirty(bits, data));
	assert_false(dirty(bits, data + 8192));
	assert_true(vio_blk_stop(&d.blk));		/* a driver that starts anew is recorded as well */
	memset(bits, 0, bytes);
	drive_must_start(&d, format(state)->features);
	ask(&d, 3, VIO_BLK_T_IN, 0, SECTOR);
	assert_true(dirty(bits, data));
	assert_true(vio_remote_log(d.m.remote, false, NULL, NULL, why));
	memset(bits, 0, bytes);
	ask(&d, 3, VIO_BLK_T_IN, 0, SECTOR);
	for (uint64_t i = 0; i < bytes; i++)
		assert_int_equal(bits[i], 0);
	machine_end(&d.m);
	rig_stop(&r);
}

/* ---- the back end goes ---- */

/* A daemon's process, with a socket that listens or is connected; each late_every-th request of its disk never ends. */
static pid_t fork_with(unsigned char *bytes, unsigned late_every, int listening, int connected)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);	/* a test that fails leaves nothing behind */
		char why[512];
		struct vio_loop *loop = vio_loop_new();
		struct vio_disk_place place = { &loop, 1 };
		struct vio_disk_faults faults = { .late_every = late_every };
		struct vio_disk *disk = vio_disk_ram_open(RIG_DISK, bytes, place);
		if (late_every)
			disk = vio_disk_faulty_open(disk, &faults);
		struct vio_blk_options blk = { .disk = disk, .queues = 1 };
		struct vio_dev *dev = calloc(1, vio_dev_blk.instance);
		if (vio_dev_open(dev, &vio_dev_blk, &blk, &vio_vhost_port, NULL, vio_vhost_features()))
			_exit(1);
		struct vio_vhost_options o = { .dev = dev, .listen_fd = listening, .connected_fd = connected, .loops = &loop,
			.loop_count = 1, .name = "daemon" };
		if (vio_vhost_serve(&o, why))
			vio_loop_run(loop);
		_exit(1);
	}
	close(listening >= 0 ? listening : connected);
	return pid;
}

/* Returns a way to it as well. */
static pid_t fork_daemon(unsigned char *bytes, unsigned late_every, int *fd)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	*fd = fcntl(pair[0], F_DUPFD_CLOEXEC, 0);
	close(pair[0]);
	return fork_with(bytes, late_every, -1, pair[1]);
}

/* One that listens at a path. */
static pid_t fork_at(unsigned char *bytes, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(a.sun_path, path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fork_with(bytes, 0, fd, -1);
}

static void kill_daemon(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

enum { WRITES = 90 };
struct recovery { unsigned next, finished, count[WRITES], which[REQUESTS]; };

static void submit_write(struct drive *d, struct recovery *c, unsigned i)
{
	unsigned n = c->next++;
	prepare(d, i, VIO_BLK_T_OUT, n, SECTOR);
	for (unsigned k = 0; k < SECTOR; k++)
		data_of(d, i)[k] = pattern(n, k);
	c->which[i] = n;
	assert_true(vio_blk_submit(&d->blk, 0, &d->request[i]));
}

/* Take what has finished, submit as much again; until all is done or nothing has happened for ms. */
static void pump(struct drive *d, struct recovery *c, bool more, unsigned ms)
{
	uint64_t until = vio_now_ns() + ms * UINT64_C(1000000);
	while (c->finished < WRITES && vio_now_ns() < until) {
		machine_turn(&d->m);
		struct vio_blk_request *r = vio_blk_poll(&d->blk, 0);
		if (!r)
			continue;
		unsigned i = (unsigned)(r - d->request);
		assert_int_equal(r->status, VIO_BLK_S_OK);
		c->count[c->which[i]]++;
		c->finished++;
		if (more && c->next < WRITES)
			submit_write(d, c, i);
		vio_blk_kick(&d->blk, 0);
		until = vio_now_ns() + ms * UINT64_C(1000000);
	}
	assert_null(d->blk.q[0].broken);
}

/* Three lives of the back end: each write is answered once, and the driver notices nothing. */
static void survives_kill(void **state)
{
	struct way way = { .features = *state ? BIT(VIO_F_RING_PACKED) : 0, .reconnect = true };
	unsigned char *bytes = mmap(NULL, RIG_DISK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct recovery c = { 0 };
	struct drive d;
	char why[MACHINE_TEXT] = "";
	int fd;

	pid_t daemon = fork_daemon(bytes, 3, &fd);
	drive_plug(&d, &way, fd);
	drive_must_start(&d, way.features);
	for (unsigned i = 0; i < REQUESTS; i++)
		submit_write(&d, &c, i);
	vio_blk_kick(&d.blk, 0);
	for (unsigned lives = 0; lives < 3; lives++) {
		pump(&d, &c, true, 200);	/* until only those are left that never end */
		assert_true(c.finished < WRITES || lives == 2);
		kill_daemon(daemon);
		assert_true(MACHINE_UNTIL(&d.m, d.m.lost == lives + 1));
		assert_non_null(vio_remote_lost(d.m.remote));
		pump(&d, &c, true, 20);		/* and submits on */
		daemon = fork_daemon(bytes, lives == 1 ? 0 : 3, &fd);
		if (!vio_remote_again(d.m.remote, fd, why))
			fail_msg("%s", why);
		assert_null(vio_remote_lost(d.m.remote));
	}
	pump(&d, &c, true, 2000);
	assert_int_equal(d.m.back, 3);
	for (unsigned n = 0; n < WRITES; n++) {
		assert_int_equal(c.count[n], 1);
		for (unsigned k = 0; k < SECTOR; k++)
			assert_int_equal(bytes[n * SECTOR + k], pattern(n, k));
	}
	assert_false(vio_dev_status(d.m.dev) & VIO_S_NEEDS_RESET);
	machine_end(&d.m);
	kill_daemon(daemon);
	munmap(bytes, RIG_DISK);
}

/* A driver that resets and starts while there is no back end gets its answers when there is one. */
static void starts_without(void **state)
{
	struct way way = { .features = *state ? BIT(VIO_F_RING_PACKED) : 0, .reconnect = true };
	unsigned char *bytes = mmap(NULL, RIG_DISK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char why[MACHINE_TEXT] = "";
	struct drive d;
	int fd;

	pid_t daemon = fork_daemon(bytes, 0, &fd);
	drive_plug(&d, &way, fd);
	drive_must_start(&d, way.features);
	works(&d);
	kill_daemon(daemon);
	assert_true(MACHINE_UNTIL(&d.m, d.m.lost));
	assert_true(vio_blk_stop(&d.blk));
	drive_must_start(&d, way.features);
	prepare(&d, 0, VIO_BLK_T_IN, 0, SECTOR);
	assert_true(vio_blk_submit(&d.blk, 0, &d.request[0]));
	vio_blk_kick(&d.blk, 0);
	daemon = fork_daemon(bytes, 0, &fd);
	if (!vio_remote_again(d.m.remote, fd, why))
		fail_msg("%s", why);
	assert_true(MACHINE_UNTIL(&d.m, vio_blk_poll(&d.blk, 0) != NULL));
	works(&d);
	machine_end(&d.m);
	kill_daemon(daemon);
	munmap(bytes, RIG_DISK);
}

struct place { char folder[32], path[48]; };

static struct place make_place(void)
{
	struct place p = { "/tmp/vio-remote-XXXXXX", "" };
	assert_non_null(mkdtemp(p.folder));
	snprintf(p.path, sizeof p.path, "%s/s", p.folder);
	return p;
}

static void remove_place(const struct place *p)
{
	unlink(p->path);
	rmdir(p->folder);
}

/* Nobody waits for another back end: the driver is told, and what it does then connects again where somebody listens. */
static void needs_reset(void **state)
{
	unsigned char *bytes = mmap(NULL, RIG_DISK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct place p = make_place();
	struct drive d;

	drive_begin(&d, true);
	d.m.o.path = p.path;
	pid_t daemon = fork_at(bytes, p.path);
	assert_null(machine_plug(&d.m));
	for (unsigned round = 1; round < 4; round++) {
		drive_must_start(&d, format(state)->features);
		works(&d);
		uint64_t told = d.m.wire.configs;
		kill_daemon(daemon);
		assert_true(MACHINE_UNTIL(&d.m, vio_dev_status(d.m.dev) & VIO_S_NEEDS_RESET));
		assert_int_equal(d.m.lost, round);
		assert_true(d.m.wire.configs > told);
		assert_non_null(strstr(d.m.dev->needs_reset, "closed the connection"));
		assert_true(vio_blk_stop(&d.blk));
		assert_false(drive_start(&d, format(state)->features));	/* nobody listens */
		assert_int_equal(d.m.back, round - 1);
		daemon = fork_at(bytes, p.path);
		drive_must_start(&d, format(state)->features);
		assert_int_equal(d.m.back, round);
		works(&d);
		assert_true(vio_blk_stop(&d.blk));
	}
	machine_end(&d.m);
	kill_daemon(daemon);
	munmap(bytes, RIG_DISK);
	remove_place(&p);
}

/* Looked for where the last one was: the driver sees a request that takes long. */
static void comes_back(void **state)
{
	unsigned char *bytes = mmap(NULL, RIG_DISK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct place p = make_place();
	struct drive d;

	drive_begin(&d, true);
	d.m.o.path = p.path;
	d.m.o.reconnect = true;
	pid_t daemon = fork_at(bytes, p.path);
	assert_null(machine_plug(&d.m));
	drive_must_start(&d, format(state)->features);
	works(&d);
	for (unsigned round = 1; round < 4; round++) {
		kill_daemon(daemon);
		assert_true(MACHINE_UNTIL(&d.m, d.m.lost == round));
		daemon = fork_at(bytes, p.path);
		works(&d);
		assert_int_equal(d.m.back, round);
		assert_int_equal(vio_dev_status(d.m.dev) & VIO_S_NEEDS_RESET, 0);
	}
	machine_end(&d.m);
	kill_daemon(daemon);
	munmap(bytes, RIG_DISK);
	remove_place(&p);
}

/* ---- what can't be ---- */

static void private_memory(void **state)
{
	struct rig r;
	struct drive d;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	drive_begin(&d, false);
	d.m.o.fd = rig_connect(&r);
	assert_null(machine_plug(&d.m));
	assert_false(drive_start(&d, 0));
	assert_non_null(strstr(d.m.why, "is no file that could be shared"));
	assert_int_equal(d.m.ill, 1);
	assert_int_equal(d.m.lost, 0);		/* it was not the back end's fault */
	machine_end(&d.m);
	rig_stop(&r);
}

/* As a driver of the guest's may say at any time: its queue does not start, and the next driver's does. */
static void rings_outside_memory(void **state)
{
	struct rig r;
	struct drive d;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		rig_start(&r, (struct rig_options){ 0 });
		drive_plug(&d, &(struct way){ .reconnect = i & 1 }, rig_connect(&r));
		struct vio_drv v;
		struct vio_drvq q;
		struct vio_features f = { { BIT(VIO_F_VERSION_1) | (i & 2 ? BIT(VIO_F_RING_PACKED) : 0), 0 } };
		assert_true(vio_drv_begin(&v, &d.m.wire.port, VIO_ID_BLK, f, NULL));
		struct vio_drvq_setup s = { .size = RING, .features = v.features, .ring = d.memory.ring, .ring_addr = UINT64_C(1) << 40,
			.slots = d.slots };
		vio_drvq_init(&q, &s);
		assert_false(vio_drv_queue(&v, 0, &q) && vio_drv_ready(&v));
		assert_true(vio_drv_reset(&v));
		drive_must_start(&d, 0);
		works(&d);
		assert_int_equal(d.m.lost, 0);
		machine_end(&d.m);
		rig_stop(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_way, "a driver works with a device elsewhere: split and packed, with and without parts of the protocol"),
		T(offers, "what an eventfd or a plain guest address can't carry is not offered"),
		T(queue_sizes, "a queue is as large as the back end takes, and no larger than asked for"),
		T(suspends, "suspended and resumed: split"),
		TS(suspends, "suspended and resumed: packed", 1),
		T(resets_a_queue, "a queue is reset and started with another size: split"),
		TS(resets_a_queue, "a queue is reset and started with another size: packed", 1),
		T(eventfds, "kicks and calls by eventfds that stay the same, watched here or elsewhere: split"),
		TS(eventfds, "kicks and calls by eventfds: packed", 1),
		T(config_space, "a config space that changes there changes here, and what a driver writes gets there"),
		T(logs, "what the back end writes is recorded: split"),
		TS(logs, "what the back end writes is recorded: packed", 1),
		T(survives_kill, "killed three times, each request is answered once: split"),
		TS(survives_kill, "killed three times, each request is answered once: packed", 1),
		T(starts_without, "a driver starts while there is no back end: split"),
		TS(starts_without, "a driver starts while there is no back end: packed", 1),
		TS(needs_reset, "a lost connection that nobody waits for: the device needs a reset, which connects again: split", 0),
		TS(needs_reset, "a lost connection that nobody waits for: the device needs a reset, which connects again: packed", 1),
		TS(comes_back, "a back end that is found again at its path: the driver notices nothing: split", 0),
		TS(comes_back, "a back end that is found again at its path: the driver notices nothing: packed", 1),
		T(rings_outside_memory, "rings outside guest memory are no affair of the back end's: a reset heals"),
		T(private_memory, "memory that is no file is refused in a sentence"),
	};
	return vio_tests("remote", tests, sizeof tests / sizeof *tests);
}
