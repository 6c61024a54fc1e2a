/* Every disk against a model: the same random requests to both, bytes compared. */
#include <tests/host/rig.h>

enum { STRIPES = 8, STRIPE = 160 * 1024, SIZE = STRIPES * STRIPE, WAVES = 60 };

/* ---- The disks ---- */


struct kind {
	const char *folder;		/* of the image file; NULL: a twin */
	bool direct, block_device, faulty;
	enum vio_aio aio;
	uint32_t block;
	size_t cut;			/* pieces of guest memory are multiples */
};

static const struct kind
	ram = { .cut = 1 },
	faulty = { .cut = 1, .faulty = true },
	memory_uring = { .folder = "/dev/shm/", .aio = VIO_AIO_URING, .cut = 1 },
	memory_threads = { .folder = "/dev/shm/", .aio = VIO_AIO_THREADS, .cut = 1 },
	file_uring = { .folder = "/var/tmp/", .aio = VIO_AIO_URING, .cut = 1 },
	file_threads = { .folder = "/var/tmp/", .aio = VIO_AIO_THREADS, .cut = 1 },
	file_4k = { .folder = "/var/tmp/", .aio = VIO_AIO_AUTO, .block = 4096, .cut = 1 },
	direct_uring = { .folder = "/var/tmp/", .aio = VIO_AIO_URING, .direct = true, .cut = 512 },
	direct_threads = { .folder = "/var/tmp/", .aio = VIO_AIO_THREADS, .direct = true, .cut = 512 },
	direct_odd_uring = { .folder = "/var/tmp/", .aio = VIO_AIO_URING, .direct = true, .cut = 1 },
	direct_odd_threads = { .folder = "/var/tmp/", .aio = VIO_AIO_THREADS, .direct = true, .cut = 1 },
	device_uring = { .folder = "/var/tmp/", .aio = VIO_AIO_URING, .block_device = true, .cut = 1 },
	device_threads = { .folder = "/var/tmp/", .aio = VIO_AIO_THREADS, .block_device = true, .cut = 1 };

struct image { char name[128], device[32]; int fd, loop_fd; };

static void image_end(struct image *m)
{
	if (m->loop_fd >= 0)
		close(m->loop_fd);
	if (m->fd >= 0) {
		close(m->fd);
		unlink(m->name);
	}
}

/* NULL, or why this machine can't have such a disk. */
static const char *open_kind(struct rig *r, const struct kind *k, struct image *m, uint64_t size)
{
	char why[VIO_WHY] = "";

	rig_init(r);
	m->fd = m->loop_fd = -1;
	if (!k->folder) {
		struct vio_disk *d = vio_disk_ram_open(size, NULL, rig_place(r));
		rig_use(r, k->faulty ? vio_disk_faulty_open(d, &(struct vio_disk_faults){ .error = EIO }) : d);
		return NULL;
	}
	m->fd = rig_image(m->name, sizeof m->name, k->folder, size);
	if (k->block_device && (m->loop_fd = rig_device(m->fd, m->device, sizeof m->device)) < 0)
		return "no loop device can be had here";
	struct vio_disk *d = vio_disk_file_open(&(struct vio_disk_file_options){
		.path = k->block_device ? m->device : m->name, .direct = k->direct, .aio = k->aio, .logical_block = k->block,
		.place = rig_place(r), .queues = 1 }, why);
	if (!d && k->direct && strstr(why, "direct I/O"))
		return "no direct I/O in /var/tmp";
	if (!d && k->aio == VIO_AIO_URING && strstr(why, "io_uring"))
		return "io_uring is forbidden here";
	if (!d)
		fail_msg("%s", why);
	rig_use(r, d);
	if (k->aio != VIO_AIO_AUTO)
		assert_int_equal(vio_disk_file_aio(d), k->aio);
	return NULL;
}

static void close_kind(struct rig *r, struct image *m)
{
	if (r->disk)
		rig_end(r);
	else
		vio_loop_free(r->loop);
	image_end(m);
}

#define OPEN_OR_SKIP(r, k, m, size) do { \
	const char *lacks_ = open_kind(r, k, m, size); \
	if (lacks_) { \
		close_kind(r, m); \
		SKIP_BECAUSE(lacks_); \
	} \
} while (0)

/* ---- The model ---- */

struct model { unsigned char bytes[SIZE]; };

static void random_bytes(struct rig *r, unsigned char *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (unsigned char)rig_random(r, 256);
}

static enum vio_disk_op random_op(struct rig *r)
{
	static const enum vio_disk_op op[] = {
		VIO_DISK_READ, VIO_DISK_READ, VIO_DISK_READ, VIO_DISK_WRITE, VIO_DISK_WRITE, VIO_DISK_WRITE,
		VIO_DISK_ZERO, VIO_DISK_ZERO, VIO_DISK_FLUSH, VIO_DISK_DISCARD,
	};
	enum vio_disk_op o = op[rig_random(r, sizeof op / sizeof *op)];

	return o == VIO_DISK_DISCARD && !r->disk->can_discard ? VIO_DISK_FLUSH : o;
}

/* A random request within a stripe, and what it does to the model. */
static void send_random(struct rig *r, struct rig_io *q, const struct kind *k, unsigned stripe, struct model *m)
{
	uint32_t block = r->disk->logical_block, blocks = STRIPE / block;
	uint32_t first = rig_random(r, blocks), count = 1 + rig_random(r, rig_random(r, 4) ? 16 : blocks);
	static unsigned char data[STRIPE];

	memset(q, 0, sizeof *q);
	count = count < blocks - first ? count : blocks - first;
	q->io.op = random_op(r);
	q->io.offset = (uint64_t)stripe * STRIPE + (uint64_t)first * block;
	q->io.length = (uint64_t)count * block;
	q->io.may_unmap = rig_random(r, 2) && r->disk->zero_may_unmap;
	q->io.durable = rig_random(r, 4) == 0;
	if (q->io.op == VIO_DISK_FLUSH)
		q->io.offset = q->io.length = 0;
	if (q->io.op == VIO_DISK_READ || q->io.op == VIO_DISK_WRITE)
		rig_cut(r, q, q->io.length, k->cut, k->cut == 1 ? 3000 : 8192);
	if (q->io.op == VIO_DISK_WRITE) {
		random_bytes(r, data, q->io.length);
		rig_fill(q, data);
		memcpy(m->bytes + q->io.offset, data, q->io.length);
	}
	if (q->io.op == VIO_DISK_ZERO)
		memset(m->bytes + q->io.offset, 0, q->io.length);
	rig_submit(r, q);
}

static void check(struct rig *r, struct rig_io *q, struct model *m)
{
	static unsigned char data[STRIPE];

	assert_int_equal(q->ended, 1);
	assert_int_equal(q->error, 0);
	if (q->io.op == VIO_DISK_READ) {
		rig_take(q, data);
		assert_memory_equal(data, m->bytes + q->io.offset, q->io.length);
	}
	if (q->memory) {
		assert_int_equal(q->io.bytes.left, 0);
		assert_true(rig_gaps_whole(q));
	}
	if (q->io.op == VIO_DISK_DISCARD)	/* undefined now, but the same each time it is asked until written */
		assert_int_equal(rig_move(r, VIO_DISK_READ, q->io.offset, m->bytes + q->io.offset, q->io.length), 0);
	rig_free(q);
}

static void against_the_model(void **state)
{
	const struct kind *k = *state;
	struct model *m = aligned_alloc(4096, sizeof *m);
	struct rig_io q[STRIPES];
	struct image image;
	struct rig r;

	OPEN_OR_SKIP(&r, k, &image, SIZE);
	assert_int_equal(r.disk->size, SIZE);
	memset(m, 0, sizeof *m);
	for (unsigned wave = 0; wave < WAVES; wave++) {
		for (unsigned i = 0; i < STRIPES; i++)
			send_random(&r, &q[i], k, i, m);
		rig_settle(&r);
		for (unsigned i = 0; i < STRIPES; i++)
			check(&r, &q[i], m);
	}
	unsigned char *all = aligned_alloc(4096, SIZE);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, all, SIZE), 0);
	assert_memory_equal(all, m->bytes, SIZE);
	free(all);
	free(m);
	close_kind(&r, &image);
}

/* ---- Many, long, and none ---- */

enum { MANY = 700 };

static void more_than_fit(void **state)
{
	struct rig_io *q = calloc(MANY, sizeof *q);
	struct image image;
	struct rig r;

	OPEN_OR_SKIP(&r, *state, &image, MANY * 4096);
	for (unsigned i = 0; i < MANY; i++) {
		rig_cut(&r, &q[i], 4096, 512, 4096);
		memset(q[i].memory, (int)i, q[i].memory_bytes);
		q[i].io.op = VIO_DISK_WRITE;
		q[i].io.offset = (uint64_t)i * 4096;
		rig_submit(&r, &q[i]);
	}
	rig_settle(&r);
	for (unsigned i = 0; i < MANY; i++) {
		unsigned char back[4096] __attribute__((aligned(4096)));
		assert_int_equal(q[i].error, 0);
		assert_int_equal(q[i].ended, 1);
		assert_int_equal(rig_move(&r, VIO_DISK_READ, (uint64_t)i * 4096, back, sizeof back), 0);
		assert_int_equal(back[0], i & 0xff);
		assert_memory_equal(back, back + 1, sizeof back - 1);
		rig_free(&q[i]);
	}
	free(q);
	close_kind(&r, &image);
}

/* 24 MiB in thousands of pieces: beyond IOV_MAX, the window of a system call, and what is done in place in one turn. */
static void long_requests(void **state)
{
	enum { LONG = 24 << 20 };
	const struct kind *k = *state;
	unsigned char *data = malloc(LONG), *back = malloc(LONG);
	struct rig_io w = { .io.op = VIO_DISK_WRITE }, q = { .io.op = VIO_DISK_READ };
	struct image image;
	struct rig r;

	OPEN_OR_SKIP(&r, k, &image, LONG);
	random_bytes(&r, data, LONG);
	rig_cut(&r, &w, LONG, k->cut, 10000);
	rig_fill(&w, data);
	rig_submit(&r, &w);
	rig_settle(&r);
	assert_int_equal(w.error, 0);
	rig_cut(&r, &q, LONG, k->cut, 10000);
	rig_submit(&r, &q);
	/* In memory it could be done at once; but the other queues of this thread have their turn first. */
	assert_true(q.ended == 0 || !k->folder || strcmp(k->folder, "/dev/shm/"));
	rig_settle(&r);
	assert_int_equal(q.error, 0);
	rig_take(&q, back);
	assert_memory_equal(data, back, LONG);
	assert_true(rig_gaps_whole(&q));
	rig_free(&w);
	rig_free(&q);
	free(data);
	free(back);
	close_kind(&r, &image);
}

static void no_bytes_at_all(void **state)
{
	struct image image;
	struct rig r;

	OPEN_OR_SKIP(&r, *state, &image, 4096);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, NULL, 0), 0);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 4096, NULL, 0), 0);
	assert_int_equal(rig_range(&r, VIO_DISK_ZERO, 4096, 0), 0);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	close_kind(&r, &image);
}

/* ---- Cancel ---- */

static void cancelled_ones_end_once(void **state)
{
	enum { N = 600, BYTES = 16384 };
	struct rig_io *q = calloc(N, sizeof *q);
	struct image image;
	struct rig r;
	unsigned early = 0;

	OPEN_OR_SKIP(&r, *state, &image, N * BYTES);
	for (unsigned i = 0; i < N; i++) {
		rig_cut(&r, &q[i], BYTES, 512, BYTES);
		memset(q[i].memory, (int)i | 1, q[i].memory_bytes);
		q[i].io.op = VIO_DISK_WRITE;
		q[i].io.offset = (uint64_t)i * BYTES;
	}
	for (unsigned i = 0; i < N; i++)
		rig_submit(&r, &q[i]);
	r.chan->ops->flush(r.chan);
	for (unsigned i = N; i--;)
		if (!q[i].ended)
			r.chan->ops->cancel(r.chan, &q[i].io);
	rig_settle(&r);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(q[i].ended, 1);
		assert_true(q[i].error == 0 || q[i].error == ECANCELED);
		early += q[i].error == ECANCELED;
		unsigned char back[BYTES] __attribute__((aligned(4096)));
		assert_int_equal(rig_move(&r, VIO_DISK_READ, (uint64_t)i * BYTES, back, BYTES), 0);
		if (q[i].error == 0) {
			assert_int_equal(back[0], (i | 1) & 0xff);
			assert_memory_equal(back, back + 1, BYTES - 1);
		}
		rig_free(&q[i]);
	}
	assert_true(early > 0);
	free(q);
	close_kind(&r, &image);
}

/* ---- Twins ---- */

static void the_null_disk_touches_nothing(void **state)
{
	unsigned char bytes[1024];
	struct rig r;

	(void)state;
	rig_init(&r);
	rig_use(&r, vio_disk_null_open(1 << 20, rig_place(&r)));
	memset(bytes, 7, sizeof bytes);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, bytes, sizeof bytes), 0);
	assert_int_equal(bytes[0], 7);
	assert_memory_equal(bytes, bytes + 1, sizeof bytes - 1);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	rig_end(&r);
}

static void the_callers_bytes_are_served(void **state)
{
	static unsigned char bytes[8192];
	unsigned char in[512];
	struct rig r;

	(void)state;
	rig_init(&r);
	rig_use(&r, vio_disk_ram_open(sizeof bytes, bytes, rig_place(&r)));
	memset(in, 9, sizeof in);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 512, in, sizeof in), 0);
	assert_memory_equal(bytes + 512, in, sizeof in);
	assert_true(r.disk->can_erase && r.disk->has_lifetime);
	assert_int_equal(rig_range(&r, VIO_DISK_ERASE, 0, 8192), 0);
	assert_int_equal(bytes[600], 0);
	rig_end(&r);
}

static void use_faulty(struct rig *r, const struct vio_disk_faults *f)
{
	rig_init(r);
	rig_use(r, vio_disk_faulty_open(vio_disk_ram_open(1 << 20, NULL, rig_place(r)), f));
}

static void faults_come_as_planned(void **state)
{
	unsigned char bytes[512] = { 0 };
	struct rig r;

	(void)state;
	use_faulty(&r, &(struct vio_disk_faults){ .fail_nth = 2, .fail_every = 5, .error = ENOSPC });
	for (unsigned i = 1; i <= 20; i++)
		assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, bytes, sizeof bytes), i == 2 || i % 5 == 0 ? ENOSPC : 0);
	rig_end(&r);
}

static void short_ones_move_half(void **state)
{
	unsigned char in[2048], back[2048];
	struct rig r;

	(void)state;
	use_faulty(&r, &(struct vio_disk_faults){ .short_every = 2, .error = EIO });
	memset(in, 3, sizeof in);
	memset(back, 0, sizeof back);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, back, sizeof back), 0);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, in, sizeof in), EIO);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, back, sizeof back), 0);
	assert_memory_equal(back, in, 1024);
	assert_int_equal(back[1024], 0);
	rig_end(&r);
}

static void late_ones_wait_for_release(void **state)
{
	unsigned char in[4][512];
	struct rig_io q[4];
	struct vio_seg seg[4];
	struct rig r;

	(void)state;
	use_faulty(&r, &(struct vio_disk_faults){ .late_every = 1 });
	memset(q, 0, sizeof q);
	for (unsigned i = 0; i < 4; i++) {
		memset(in[i], (int)i + 1, 512);
		seg[i] = (struct vio_seg){ in[i], 512 };
		q[i].io = (struct vio_disk_io){ .op = VIO_DISK_WRITE, .length = 512, .bytes = { .seg = &seg[i], .left = 512 } };
		rig_submit(&r, &q[i]);
	}
	assert_int_equal(vio_disk_faulty_held(r.disk), 4);
	r.chan->ops->cancel(r.chan, &q[3].io);
	assert_int_equal(q[3].error, ECANCELED);
	assert_int_equal(vio_disk_faulty_held(r.disk), 3);
	assert_int_equal(q[0].ended, 0);
	vio_disk_faulty_release(r.disk);
	rig_settle(&r);
	assert_int_equal(vio_disk_faulty_held(r.disk), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(q[i].ended, 1);
	unsigned char back[512];
	struct rig_io last = { .io = { .op = VIO_DISK_READ, .length = 512,
		.bytes = { .seg = &(struct vio_seg){ back, 512 }, .left = 512 } } };
	rig_submit(&r, &last);
	vio_disk_faulty_release(r.disk);
	assert_int_equal(last.ended, 1);
	assert_memory_equal(back, in[2], 512);		/* the last that was not cancelled */
	rig_end(&r);
}

#define MODEL(kind, words) TS(against_the_model, words " keeps what is written, as a model says", &(kind))

int main(void)
{
	const struct CMUnitTest tests[] = {
		MODEL(ram, "a disk in memory"),
		MODEL(faulty, "a faulty disk without faults"),
		MODEL(memory_uring, "a file in tmpfs, by io_uring,"),
		MODEL(memory_threads, "a file in tmpfs, by threads,"),
		MODEL(file_uring, "{blk-dev-27} a file, by io_uring,"),
		MODEL(file_threads, "a file, by threads,"),
		MODEL(file_4k, "a file in blocks of 4096 bytes"),
		MODEL(direct_uring, "direct I/O by io_uring"),
		MODEL(direct_threads, "direct I/O by threads"),
		MODEL(direct_odd_uring, "direct I/O by io_uring, of memory that is not aligned,"),
		MODEL(direct_odd_threads, "direct I/O by threads, of memory that is not aligned,"),
		MODEL(device_uring, "a block device, by io_uring,"),
		MODEL(device_threads, "a block device, by threads,"),
		TS(more_than_fit, "700 requests at once all end, by io_uring", &direct_uring),
		TS(more_than_fit, "700 requests at once all end, through the cache", &file_uring),
		TS(more_than_fit, "700 requests at once all end, by threads", &file_threads),
		TS(long_requests, "24 MiB in thousands of pieces: in memory", &ram),
		TS(long_requests, "24 MiB in thousands of pieces: tmpfs by io_uring", &memory_uring),
		TS(long_requests, "24 MiB in thousands of pieces: tmpfs by threads", &memory_threads),
		TS(long_requests, "24 MiB in thousands of pieces: a file by io_uring", &file_uring),
		TS(long_requests, "24 MiB in thousands of pieces: a file by threads", &file_threads),
		TS(long_requests, "24 MiB in thousands of pieces: direct I/O", &direct_uring),
		TS(long_requests, "24 MiB in thousands of pieces: direct I/O of odd memory", &direct_odd_uring),
		TS(no_bytes_at_all, "requests of no bytes end well: tmpfs", &memory_uring),
		TS(no_bytes_at_all, "requests of no bytes end well: a file by io_uring", &file_uring),
		TS(no_bytes_at_all, "requests of no bytes end well: a file by threads", &file_threads),
		TS(cancelled_ones_end_once, "cancelled requests end once, early or well: io_uring", &direct_uring),
		TS(cancelled_ones_end_once, "cancelled requests end once, early or well: threads", &direct_threads),
		T(the_null_disk_touches_nothing, "the null disk answers and touches nothing"),
		T(the_callers_bytes_are_served, "a disk in memory serves the caller's bytes and erases them"),
		T(faults_come_as_planned, "the faulty disk fails the requests it was told to"),
		T(short_ones_move_half, "a short request of the faulty disk moves half and fails"),
		T(late_ones_wait_for_release, "late requests of the faulty disk come at release, in order, or by cancel"),
	};
	return vio_tests("host-disk", tests, sizeof tests / sizeof *tests);
}
