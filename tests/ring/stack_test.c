/*
 * The whole stack, no fakes: real drivers, real devices, every wire there is, every kind of ring.
 *
 *      block driver    entropy driver                  a table of wires: function calls with memory whole and cut at every
 *            \          /                              byte; a vhost-user socket, polling and by interrupts, memory in one
 *           wire (driver port)                         region and in eight
 *            /          \
 *      block device    entropy device                  times {split, packed} x {indirect} x {event index} x {in-order}
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <vio/device/blk.h>
#include <vio/device/rng.h>
#include <vio/driver/blk.h>
#include <vio/driver/rng.h>
#include <vio/host/disk.h>
#include <vio/host/source.h>
#include <vio/transport/loop.h>
#include <vio/vhost/backend.h>
#include <vio/vhost/frontend.h>
#include "../test.h"

enum { MEMORY = 1 << 20, DISK = 256 << 10, RING = 32, SLOTS = 16, SLOT_BYTES = 8192, GPA = 0x40000000 };

struct stack {
	const struct wire *wire;
	struct vio_drv_port *port;
	unsigned char *memory;		/* the drivers': rings and data */
	unsigned char disk[DISK];
	struct vio_dev *dev;
	/* Function calls. */
	struct vio_loop_wire loop;
	struct vio_mem mem;
	struct vio_region region;
	/* vhost-user. */
	struct vio_thread *thread;
	struct vio_loop *home;
	struct vio_vhost *server;
	struct vio_vhost_memory shared;
	struct vio_vhost_front *front;
	int stopped;			/* in: the socket to serve; then -1: served, 1: stopped */
};

struct wire {
	const char *name;
	void (*connect)(struct stack *s);
	void (*disconnect)(struct stack *s);
	uint32_t clip;
	bool irq;
	unsigned regions;
};

/* ---- Function calls ---- */

static unsigned map(void *arg, const void *p, uint32_t len, enum vio_dir dir, struct vio_buf *out, unsigned max)
{
	struct stack *s = arg;
	uint64_t at = (uint64_t)((const unsigned char *)p - s->memory);
	unsigned n = 0;

	(void)dir;
	assert_true(at <= MEMORY && len <= MEMORY - at);
	while (len) {		/* data is cut where a page would end; what must be in one piece is */
		uint32_t part = max == 1 ? len : 512 - (uint32_t)(at % 512);
		part = part < len ? part : len;
		if (n == max)
			return 0;
		out[n++] = (struct vio_buf){ GPA + at, part };
		at += part;
		len -= part;
	}
	return n;
}

static void unmap(void *arg, const void *p, uint32_t len, enum vio_dir dir, const struct vio_buf *bufs, unsigned n)
{
	(void)arg, (void)p, (void)len, (void)dir, (void)bufs, (void)n;
}

static uint64_t now_ns(void *arg)
{
	struct timespec t;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static const struct vio_platform_ops platform = { .map = map, .unmap = unmap, .now_ns = now_ns };

static void *alloc(size_t n) { return calloc(1, n); }
static void release(void *p, size_t n) { (void)n; free(p); }

static void loop_connect(struct stack *s)
{
	s->memory = aligned_alloc(64, MEMORY);
	memset(s->memory, 0, MEMORY);
	s->region = (struct vio_region){ .gpa = GPA, .size = MEMORY, .host = s->memory, .perm = VIO_MEM_RW };
	s->mem = (struct vio_mem){ .region = &s->region, .count = 1, .refs = 1, .clip = s->wire->clip };
	s->loop.alloc = alloc;
	s->loop.free = release;
	vio_loop_connect(&s->loop, s->dev, (struct vio_platform){ &platform, s });
	vio_dev_set_mem(s->dev, &s->mem);
	s->port = &s->loop.port;
}

static void loop_disconnect(struct stack *s)
{
	assert_null(s->loop.broken);
	vio_dev_set_mem(s->dev, NULL);
	assert_int_equal(s->mem.refs, 1);
	free(s->memory);
}

/* ---- vhost-user ---- */

static void serve(void *arg)
{
	struct stack *s = arg;
	struct vio_loop *const loops[] = { s->home };
	char why[512];

	s->server = vio_vhost_serve(&(struct vio_vhost_options){ .dev = s->dev, .listen_fd = -1, .connected_fd = s->stopped,
	    .loops = loops, .loop_count = 1, .once = true, .name = "stack" }, why);
	__atomic_store_n(&s->stopped, -1, __ATOMIC_RELEASE);
}

static void all_stopped(void *arg)
{
	struct stack *s = arg;

	vio_vhost_free(s->server);
	__atomic_store_n(&s->stopped, 1, __ATOMIC_RELEASE);
}

static void stop(void *arg)
{
	struct stack *s = arg;
	vio_vhost_stop(s->server, all_stopped, s);
}

/* Run fn(s) in the daemon's thread, until s->stopped is what it says. */
static void in_thread(struct stack *s, void (*fn)(void *arg), int until)
{
	struct vio_call call = { .fn = fn, .arg = s };

	vio_loop_call(s->home, &call);
	while (__atomic_load_n(&s->stopped, __ATOMIC_ACQUIRE) != until)
		usleep(100);
}

static void vhost_connect(struct stack *s)
{
	char why[512] = "";
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	s->stopped = pair[0];
	in_thread(s, serve, -1);
	assert_non_null(s->server);
	assert_true(vio_vhost_memory_make(&s->shared, MEMORY));
	s->shared.regions = s->wire->regions;
	s->front = vio_vhost_connect(&(struct vio_vhost_front_options){ .fd = pair[1], .memory = &s->shared,
	    .device_id = s->dev->type->id, .irq = s->wire->irq }, why);
	if (!s->front)
		fail_msg("%s", why);
	s->memory = s->shared.base;
	s->port = vio_vhost_drv_port(s->front);
}

static void vhost_disconnect(struct stack *s)
{
	assert_null(vio_vhost_broken(s->front));
	vio_vhost_disconnect(s->front);
	in_thread(s, stop, 1);
	vio_vhost_memory_free(&s->shared);
}

static const struct wire wires[] = {
	{ "function calls", loop_connect, loop_disconnect },
	{ "function calls, memory cut at every byte", loop_connect, loop_disconnect, .clip = 1 },
	{ "vhost-user, polling", vhost_connect, vhost_disconnect },
	{ "vhost-user, interrupts", vhost_connect, vhost_disconnect, .irq = true },
	{ "vhost-user, eight regions", vhost_connect, vhost_disconnect, .regions = 8 },
};
enum { WIRES = sizeof wires / sizeof *wires };

/* ---- Devices ---- */

static void stack_open(struct stack *s, const struct wire *w, const struct vio_dev_type *type, const void *options)
{
	bool vhost = w->connect == vhost_connect;

	s->wire = w;
	s->dev = calloc(1, type->instance);
	assert_null(vio_dev_open(s->dev, type, options, vhost ? &vio_vhost_port : &vio_loop_port, vhost ? NULL : &s->loop,
	    vhost ? vio_vhost_features() : vio_loop_features()));
	w->connect(s);
}

static void stack_close(struct stack *s)
{
	s->wire->disconnect(s);
	vio_dev_close(s->dev);
	free(s->dev);
	if (s->thread)
		vio_thread_stop(s->thread);
	free(s);
}

static struct stack *stack_new(void)
{
	struct stack *s = calloc(1, sizeof *s);

	s->thread = vio_thread_start("stack");
	assert_non_null(s->thread);
	s->home = vio_thread_loop(s->thread);
	return s;
}

/* ---- The block driver's work ---- */

static uint32_t random32(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	return *x ^= *x << 5;
}

struct work {
	struct stack *s;
	struct vio_blk blk;
	struct vio_drvq_slot slots[RING];
	struct vio_blk_request *request;
	unsigned char *data;
	unsigned char model[DISK];
	bool busy[SLOTS];
	uint32_t seed;
};

static unsigned char *slot_data(struct work *w, unsigned i) { return w->data + (size_t)i * SLOT_BYTES; }

/* Sectors are dealt to slots, so that no two requests in flight touch the same. */
static bool submit(struct work *w, unsigned i)
{
	struct vio_blk_request *r = &w->request[i];
	uint32_t per_slot = DISK / 512 / SLOTS, at = random32(&w->seed) % per_slot;
	uint32_t n = 1 + random32(&w->seed) % (per_slot - at < SLOT_BYTES / 512 ? per_slot - at : SLOT_BYTES / 512);

	memset(r, 0, sizeof *r);
	r->type = random32(&w->seed) % 2 ? VIO_BLK_T_OUT : VIO_BLK_T_IN;
	r->sector = i * per_slot + at;
	r->data = slot_data(w, i);
	r->len = n * 512;
	for (uint32_t b = 0; b < r->len; b++)
		slot_data(w, i)[b] = r->type == VIO_BLK_T_OUT ? (unsigned char)random32(&w->seed) : 0xee;
	if (!vio_blk_submit(&w->blk, 0, r)) {
		assert_int_equal(r->status, 255);	/* no room in the ring now */
		return false;
	}
	if (r->type == VIO_BLK_T_OUT)
		memcpy(w->model + r->sector * 512, r->data, r->len);
	return w->busy[i] = true;
}

static void finish(struct work *w, struct vio_blk_request *r)
{
	assert_int_equal(r->status, VIO_BLK_S_OK);
	assert_memory_equal(w->model + r->sector * 512, r->data, r->len);
	w->busy[r - w->request] = false;
}

static void some_requests(struct work *w, unsigned total)
{
	unsigned submitted = 0, finished = 0;
	uint64_t deadline = now_ns(NULL) + UINT64_C(60000000000);

	while (finished < total) {
		for (unsigned n = random32(&w->seed) % SLOTS; n && submitted < total; n--) {
			unsigned i = random32(&w->seed) % SLOTS;
			submitted += !w->busy[i] && submit(w, i);
		}
		vio_blk_kick(&w->blk, 0);
		struct vio_blk_request *r = vio_blk_poll(&w->blk, 0);
		for (; r; r = vio_blk_poll(&w->blk, 0), finished++)
			finish(w, r);
		assert_null(w->blk.q[0].broken);
		assert_true(now_ns(NULL) < deadline);
	}
}

static void blk_over(const struct wire *wire, unsigned bits)
{
	struct stack *s = stack_new();
	struct vio_loop *const loops[] = { s->home };
	struct vio_disk *disk = vio_disk_ram_open(DISK, s->disk, (struct vio_disk_place){ loops, 1 });
	struct vio_blk_options options = { .disk = disk, .queues = 1, .queue_size = RING };
	struct work *w = calloc(1, sizeof *w);
	struct vio_features wanted = vio_blk_drives();

	stack_open(s, wire, &vio_dev_blk, &options);
	w->s = s;
	w->seed = 0x1357 + bits;
	struct vio_blk_setup setup = { .queues = 1, .queue_size = RING };
	setup.memory[0] = (struct vio_blk_queue_memory){ .ring = s->memory, .slots = w->slots,
		.indirect = (void *)(s->memory + 4096) };
	static const unsigned char optional[] = { VIO_F_RING_PACKED, VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_IN_ORDER };
	for (unsigned i = 0; i < sizeof optional; i++)
		if (!(bits >> i & 1))
			vio_features_drop(&wanted, optional[i]);
	setup.wanted = wanted;
	w->request = (void *)(s->memory + 64 * 1024);
	w->data = s->memory + 256 * 1024;
	for (unsigned again = 0; again < 2; again++) {		/* and once more after a reset */
		if (!vio_blk_start(&w->blk, s->port, &setup))
			fail_msg("%s", w->blk.drv.failed);
		for (unsigned i = 0; i < sizeof optional; i++)
			assert_int_equal(vio_drv_has(&w->blk.drv, optional[i]), bits >> i & 1);
		some_requests(w, wire->clip ? 40 : 150);
		assert_true(vio_blk_stop(&w->blk));
		assert_null(vio_blk_abandon(&w->blk, 0));
	}
	stack_close(s);
	vio_disk_close(disk);
	free(w);
}

static void blk(void **state)
{
	const struct wire *wire = *state;

	for (unsigned bits = 0; bits < 16; bits++)
		blk_over(wire, bits);
}

static void rng(void **state)
{
	struct stack *s = stack_new();
	struct vio_source *source = vio_source_counting(0);
	struct vio_rng_options options = { .source = source };

	stack_open(s, *state, &vio_dev_rng, &options);
	struct vio_rng *r = (void *)s->memory;
	unsigned char *buf = s->memory + 64 * 1024;
	if (!vio_rng_start(r, s->port))
		fail_msg("%s", r->drv.failed);
	for (unsigned i = 0, at = 0; i < 50; i++) {
		uint32_t len = 1 + i * 37, got = vio_rng_read(r, buf, len);
		assert_true(got >= 1 && got <= len);
		for (uint32_t b = 0; b < got; b++)	/* the twin's bytes, none lost, none twice */
			assert_int_equal(buf[b], at++ % 251);
	}
	assert_true(vio_rng_stop(r));
	stack_close(s);
	vio_source_close(source);
}

int main(void)
{
	static struct CMUnitTest tests[2 * WIRES];
	static char names[2 * WIRES][160];
	size_t n = 0;

	for (unsigned i = 0; i < WIRES; i++) {
		snprintf(names[n], sizeof names[n], "block driver and device over %s, all sixteen kinds of ring", wires[i].name);
		tests[n] = (struct CMUnitTest)TS(blk, names[n], &wires[i]);
		n++;
		snprintf(names[n], sizeof names[n], "entropy driver and device over %s", wires[i].name);
		tests[n] = (struct CMUnitTest)TS(rng, names[n], &wires[i]);
		n++;
	}
	return vio_tests("the whole stack", tests, n);
}
