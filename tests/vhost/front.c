/* The front end and vio's own block driver over it: every way to share memory, to notify, to stop, and to come back. */
#include "../test.h"
#include "raw.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vio/driver/blk.h>
#include <vio/host/disk.h>
#include <vio/vhost/frontend.h>

enum { RING = 64, REQUESTS = 20, SECTOR = VIO_BLK_SECTOR, MEMORY = 1 << 20, PLACES = MEMORY / 2 };

/* A driver with its memory: rings and requests in the first half, data in the second. */
struct drive {
	struct vio_vhost_memory memory;
	struct vio_vhost_front *front;
	struct vio_blk blk;
	struct vio_drvq_slot slots[RING];
	struct vio_blk_request *request;	/* REQUESTS */
};

struct way {
	uint64_t features;		/* of the ring, bits */
	uint64_t without, with;		/* protocol features */
	unsigned regions;
	bool irq, iommu, inflight;
};
#define BIT(n) (UINT64_C(1) << (n))

static void drive_connect(struct drive *d, const struct way *w, int fd)
{
	char why[512] = "";
	assert_true(vio_vhost_memory_make(&d->memory, MEMORY));
	d->memory.regions = w->regions;
	d->front = vio_vhost_connect(&(struct vio_vhost_front_options){ .fd = fd, .memory = &d->memory,
	    .protocol_without = w->without, .protocol_with = w->with, .device_id = VIO_ID_BLK, .inflight = w->inflight,
	    .irq = w->irq }, why);
	if (!d->front)
		fail_msg("%s", why);
}

static void drive_start(struct drive *d, const struct way *w)
{
	static const unsigned char plain[] = { VIO_F_VERSION_1, VIO_BLK_F_BLK_SIZE, VIO_BLK_F_FLUSH, VIO_F_RING_RESET, VIO_F_SUSPEND };
	struct vio_blk_setup s = { .queues = 1, .queue_size = RING, .wanted = vio_features_of(plain, sizeof plain) };

	s.wanted.word[0] |= w->features;
	s.memory[0] = (struct vio_blk_queue_memory){ .ring = d->memory.base, .slots = d->slots };
	d->request = (struct vio_blk_request *)((char *)d->memory.base + 16384);
	memset(d->request, 0, REQUESTS * sizeof *d->request);
	if (!vio_blk_start(&d->blk, vio_vhost_drv_port(d->front), &s))
		fail_msg("%s %s", d->blk.drv.failed, vio_vhost_why(d->front));
	assert_int_equal(d->blk.drv.features.word[0] & w->features, w->features);
}

static void drive_end(struct drive *d)
{
	vio_vhost_disconnect(d->front);
	vio_vhost_memory_free(&d->memory);
}

static unsigned char *data_of(struct drive *d, unsigned i) { return (unsigned char *)d->memory.base + PLACES + i * 8192; }

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
		fail_msg("request %u: status %u; %s %s", i, d->request[i].status, d->blk.drv.failed ? d->blk.drv.failed : "",
		    vio_vhost_why(d->front));
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

/* ---- ways ---- */

static const struct way ways[] = {
	{ .regions = 1 },
	{ .features = BIT(VIO_F_RING_PACKED) },
	{ .features = BIT(VIO_F_EVENT_IDX), .irq = true },
	{ .features = BIT(VIO_F_RING_PACKED) | BIT(VIO_F_EVENT_IDX), .irq = true },
	{ .features = BIT(VIO_F_IN_ORDER) },
	{ .features = BIT(VIO_F_RING_PACKED) | BIT(VIO_F_IN_ORDER) },
	{ .regions = 8, .without = BIT(VIO_VHOST_F_CONFIGURE_MEM_SLOTS) },
	{ .regions = 40 },
	{ .without = BIT(VIO_VHOST_F_REPLY_ACK) },
	{ .without = BIT(VIO_VHOST_F_BACKEND_REQ) },
	{ .with = BIT(VIO_VHOST_F_INBAND_NOTIFICATIONS), .irq = true },
	{ .with = BIT(VIO_VHOST_F_INBAND_NOTIFICATIONS), .features = BIT(VIO_F_RING_PACKED), .irq = true },
	{ .features = BIT(VIO_F_ACCESS_PLATFORM), .iommu = true },
	{ .features = BIT(VIO_F_ACCESS_PLATFORM) | BIT(VIO_F_RING_PACKED), .iommu = true, .irq = true },
	{ .features = BIT(VIO_F_ACCESS_PLATFORM), .iommu = true, .without = BIT(VIO_VHOST_F_REPLY_ACK) },
	{ .inflight = true },
	{ .inflight = true, .features = BIT(VIO_F_RING_PACKED) },
};

static void every_way(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
		struct rig r;
		struct drive d = { 0 };
		rig_start(&r, (struct rig_options){ .iommu = ways[i].iommu });
		for (unsigned again = 0; again < 2; again++) {	/* a front end may come again */
			drive_connect(&d, &ways[i], rig_connect(&r));
			drive_start(&d, &ways[i]);
			works(&d);
			assert_true(vio_blk_stop(&d.blk));
			drive_start(&d, &ways[i]);		/* and begin anew on one connection */
			works(&d);
			drive_end(&d);
			rig_settles(&r);
			assert_int_equal(open_fds(), r.fds);
		}
		rig_stop(&r);
	}
}

/* ---- stopping ---- */

static const struct way *format(void **state) { return &ways[*state ? 1 : 0]; }

/* Requests submitted around a suspension are answered, none twice. */
static void suspends(void **state)
{
	struct rig r;
	struct drive d = { 0 };
	unsigned back = 0;

	rig_start(&r, (struct rig_options){ 0 });
	drive_connect(&d, format(state), rig_connect(&r));
	drive_start(&d, format(state));
	works(&d);
	for (unsigned round = 0; round < 3; round++) {
		assert_true(vio_drv_suspend(&d.blk.drv));
		for (unsigned i = 0; i < 5; i++) {
			prepare(&d, i, VIO_BLK_T_IN, i, SECTOR);
			assert_true(vio_blk_submit(&d.blk, 0, &d.request[i]));
		}
		usleep(20000);
		assert_null(vio_blk_poll(&d.blk, 0));
		assert_true(vio_drv_resume(&d.blk.drv));
		vio_blk_kick(&d.blk, 0);
		for (back = 0; back < 5;)
			back += vio_blk_poll(&d.blk, 0) != NULL;
		works(&d);
	}
	drive_end(&d);
	rig_stop(&r);
}

static void stops_and_goes(void **state)
{
	struct rig r;
	struct drive d = { 0 };
	uint32_t base = 0;

	rig_start(&r, (struct rig_options){ 0 });
	drive_connect(&d, format(state), rig_connect(&r));
	drive_start(&d, format(state));
	for (unsigned round = 0; round < 4; round++) {
		works(&d);
		assert_true(vio_vhost_queue_stop(d.front, 0, &base));
		if (!*state)
			assert_int_equal(base, (round + 1) * 2 * REQUESTS);
		assert_false(vio_vhost_queue_stop(d.front, 0, &base));
		assert_true(vio_vhost_queue_go(d.front, 0, base));
	}
	works(&d);
	drive_end(&d);
	rig_stop(&r);
}

/* ---- the dirty log ---- */

static bool dirty(const uint8_t *bits, uint64_t gpa) { return bits[gpa / VIO_DIRTY_PAGE / 8] >> gpa / VIO_DIRTY_PAGE % 8 & 1; }

static void logs(void **state)
{
	struct rig r;
	struct drive d = { 0 };
	uint8_t *bits = NULL;
	uint64_t bytes = 0, data, gpa;

	rig_start(&r, (struct rig_options){ 0 });
	drive_connect(&d, format(state), rig_connect(&r));
	drive_start(&d, format(state));
	gpa = d.memory.gpa;
	data = gpa + (uint64_t)(data_of(&d, 3) - (unsigned char *)d.memory.base);
	ask(&d, 3, VIO_BLK_T_IN, 0, SECTOR);
	assert_true(vio_vhost_log(d.front, true, &bits, &bytes));
	assert_false(dirty(bits, data));
	ask(&d, 3, VIO_BLK_T_OUT, 0, SECTOR);
	assert_false(dirty(bits, data));		/* a write only reads memory */
	assert_true(dirty(bits, gpa + 16384));		/* but its status is written */
	assert_true(dirty(bits, d.blk.q[0].device_addr) || *state);
	ask(&d, 3, VIO_BLK_T_IN, 0, SECTOR);
	assert_true(dirty(bits, data));
	assert_false(dirty(bits, data + 8192));
	memset(bits, 0, bytes);
	assert_true(vio_vhost_log(d.front, false, NULL, NULL));
	ask(&d, 3, VIO_BLK_T_IN, 0, SECTOR);
	for (uint64_t i = 0; i < bytes; i++)
		assert_int_equal(bits[i], 0);
	drive_end(&d);
	rig_stop(&r);
}

static void config_changes(void **state)
{
	struct rig r;
	struct drive d = { 0 };

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	drive_connect(&d, &ways[0], rig_connect(&r));
	drive_start(&d, &ways[0]);
	assert_int_equal(d.blk.capacity, RIG_DISK / SECTOR);
	assert_false(vio_vhost_config_changed(d.front));
	rig_resize(&r, RIG_DISK / 2);
	for (unsigned i = 0; i < 500 && vio_vhost_look(d.front) && !vio_vhost_config_changed(d.front); i++)
		usleep(10000);
	assert_null(vio_vhost_broken(d.front));
	assert_true(vio_blk_config_changed(&d.blk));
	assert_int_equal(d.blk.capacity, RIG_DISK / 2 / SECTOR);
	drive_end(&d);
	rig_stop(&r);
}

/* A ring that makes no sense: the back end says so over the error eventfd or in-band, and a reset heals it. */
static void hears_of_breaks(void **state)
{
	static const struct way in_band = { .with = BIT(VIO_VHOST_F_INBAND_NOTIFICATIONS), .irq = true };
	const struct way *w = *state ? &in_band : &ways[0];
	struct rig r;
	struct drive d = { 0 };

	rig_start(&r, (struct rig_options){ 0 });
	drive_connect(&d, w, rig_connect(&r));
	drive_start(&d, w);
	works(&d);
	struct vio_drv_port *port = vio_vhost_drv_port(d.front);
	struct vio_split_avail *avail = d.blk.q[0].place.driver;
	avail->idx = vio_le16_of((uint16_t)(vio_le16_get(avail->idx) + RING + 1));
	port->ops->kick(port, 0, 0);
	for (unsigned i = 0; i < 500 && vio_vhost_look(d.front) && !(port->ops->status(port) & VIO_S_NEEDS_RESET); i++)
		usleep(10000);
	assert_true(port->ops->status(port) & VIO_S_NEEDS_RESET);
	assert_null(vio_vhost_broken(d.front));
	assert_true(vio_blk_stop(&d.blk));
	drive_start(&d, w);
	works(&d);
	drive_end(&d);
	rig_stop(&r);
}

/* ---- the back end dies ---- */

enum { WRITES = 90 };

/* A daemon of its own; each late_every-th request of the disk never ends.  Returns its process and a way to connect. */
static pid_t fork_daemon(unsigned char *bytes, unsigned late_every, int *connected)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t length = sizeof a;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a.sun_family), 0);
	assert_int_equal(listen(listener, 4), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &length), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
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
		struct vio_vhost_options o = { .dev = dev, .listen_fd = listener, .connected_fd = -1, .loops = &loop,
			.loop_count = 1, .name = "daemon" };
		if (vio_vhost_serve(&o, why))
			vio_loop_run(loop);
		_exit(1);
	}
	close(listener);
	*connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(*connected, (struct sockaddr *)&a, length), 0);
	return pid;
}

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

static void survives_kill(void **state)
{
	struct way way = { .features = *state ? BIT(VIO_F_RING_PACKED) : 0, .inflight = true };
	unsigned char *bytes = mmap(NULL, RIG_DISK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct recovery c = { 0 };
	struct drive d = { 0 };
	char why[512] = "";
	int fd;

	pid_t daemon = fork_daemon(bytes, 3, &fd);
	drive_connect(&d, &way, fd);
	drive_start(&d, &way);
	for (unsigned i = 0; i < REQUESTS; i++)
		submit_write(&d, &c, i);
	vio_blk_kick(&d.blk, 0);
	for (unsigned lives = 0; lives < 3; lives++) {
		pump(&d, &c, true, 200);	/* until only those are left that never end */
		assert_true(c.finished < WRITES || lives == 2);
		kill(daemon, SIGKILL);
		waitpid(daemon, NULL, 0);
		pump(&d, &c, false, 20);
		assert_true(c.finished < WRITES || lives == 2);
		daemon = fork_daemon(bytes, lives == 1 ? 0 : 3, &fd);
		if (!vio_vhost_reconnect(d.front, NULL, fd, why))
			fail_msg("%s", why);
	}
	pump(&d, &c, true, 2000);
	for (unsigned n = 0; n < WRITES; n++) {
		assert_int_equal(c.count[n], 1);
		for (unsigned k = 0; k < SECTOR; k++)
			assert_int_equal(bytes[n * SECTOR + k], pattern(n, k));
	}
	kill(daemon, SIGKILL);
	waitpid(daemon, NULL, 0);
	drive_end(&d);
	munmap(bytes, RIG_DISK);
}

/* The driver notices, gets its requests back, and may start again with another back end. */
static void notices_death(void **state)
{
	unsigned char *bytes = mmap(NULL, RIG_DISK, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct drive d = { 0 };
	unsigned lost = 0;
	int fd;

	pid_t daemon = fork_daemon(bytes, 1, &fd);
	drive_connect(&d, format(state), fd);
	drive_start(&d, format(state));
	for (unsigned i = 0; i < 5; i++) {
		prepare(&d, i, VIO_BLK_T_OUT, i, SECTOR);
		assert_true(vio_blk_submit(&d.blk, 0, &d.request[i]));
	}
	vio_blk_kick(&d.blk, 0);
	kill(daemon, SIGKILL);
	waitpid(daemon, NULL, 0);
	prepare(&d, 6, VIO_BLK_T_IN, 0, SECTOR);
	assert_int_equal(vio_blk_do(&d.blk, &d.request[6]), VIO_BLK_S_LOST);
	assert_non_null(vio_vhost_broken(d.front));
	while (vio_blk_poll(&d.blk, 0))
		lost++;
	vio_blk_stop(&d.blk);
	while (vio_blk_abandon(&d.blk, 0))
		lost++;
	assert_int_equal(lost, 5);
	drive_end(&d);
	munmap(bytes, RIG_DISK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TS(survives_kill, "kill -9 with writes in flight, three times: none lost, none completed twice (split)", 0),
		TS(survives_kill, "kill -9 with writes in flight, three times: none lost, none completed twice (packed)", 1),
		TS(notices_death, "a driver notices that its back end has died and gets its requests back (split)", 0),
		TS(notices_death, "a driver notices that its back end has died and gets its requests back (packed)", 1),
		T(every_way, "the block driver works over every way to share memory and to notify, again and anew"),
		TS(suspends, "suspended is quiet; resumed goes on where it was (split) {core-drv-31 core-drv-35; only us}", 0),
		TS(suspends, "suspended is quiet; resumed goes on where it was (packed) {core-drv-31 core-drv-35; only us}", 1),
		TS(stops_and_goes, "GET_VRING_BASE says where a queue stands, and it goes on there (split)", 0),
		TS(stops_and_goes, "GET_VRING_BASE says where a queue stands, and it goes on there (packed)", 1),
		TS(logs, "the dirty log has what was written and no more (split)", 0),
		TS(logs, "the dirty log has what was written and no more (packed)", 1),
		TS(hears_of_breaks, "a broken ring is told by the error eventfd, and a reset heals it", 0),
		TS(hears_of_breaks, "a broken ring is told in-band, and a reset heals it", 1),
		T(config_changes, "a changed config space is told over the channel"),
	};
	return vio_tests("front", tests, sizeof tests / sizeof *tests);
}
