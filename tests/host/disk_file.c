/* Files as disks: truncated and full images, block devices, what is promised after an error. */
#include <tests/host/image.h>
#include <vio/host/disk_file.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- An image that changes under us ---- */

struct place { const char *folder; struct vio_disk_file_options o; };

static void count_resize(void *arg) { ++*(unsigned *)arg; }

static void truncated_bytes_are_an_error(void **state)
{
	const struct place *p = *state;
	enum { SIZE = 1 << 20, HALF = SIZE / 2 };
	static unsigned char in[SIZE] __attribute__((aligned(4096))), back[SIZE] __attribute__((aligned(4096)));
	unsigned resized = 0;
	char name[NAME];
	struct rig r;

	use_image(&r, name, p->folder, SIZE, p->o);
	r.disk->resized = count_resize;
	r.disk->resized_arg = &resized;
	memset(in, 5, sizeof in);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, in, SIZE), 0);
	for (unsigned i = 0; i < 2; i++)	/* twice: the second time through the mapping, where there is one */
		assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, back, SIZE), 0);
	assert_memory_equal(in, back, SIZE);
	assert_int_equal(truncate(name, HALF), 0);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, SIZE - 4096, back, 4096), EIO);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, HALF - 4096, back, 8192), EIO);
	memset(back, 0, sizeof back);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, back, HALF), 0);
	assert_memory_equal(in, back, HALF);
	assert_int_equal(resized, 0);
	vio_disk_file_refresh(r.disk);
	vio_disk_file_refresh(r.disk);
	assert_int_equal(resized, 1);
	assert_int_equal(r.disk->size, HALF);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, HALF, back, 4096), EIO);	/* a request of before */
	assert_int_equal(truncate(name, 2 * SIZE), 0);
	vio_disk_file_refresh(r.disk);
	assert_int_equal(resized, 2);
	assert_int_equal(r.disk->size, 2 * SIZE);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 2 * SIZE - 4096, in, 4096), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(rig_move(&r, VIO_DISK_READ, 2 * SIZE - 4096, back, 4096), 0);
		assert_memory_equal(in, back, 4096);
	}
	end_image(&r, name);
}

static void reading_holes_takes_no_memory(void **state)
{
	enum { SIZE = 1 << 20 };
	static unsigned char bytes[SIZE], zero[SIZE];
	struct stat st;
	char name[NAME];
	struct rig r;

	(void)state;
	use_image(&r, name, TMPFS, SIZE, (struct vio_disk_file_options){ 0 });
	memset(bytes, 1, sizeof bytes);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 65536, bytes, 65536), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, bytes, SIZE), 0);
	assert_memory_equal(bytes, zero, 65536);
	assert_int_equal(bytes[65536], 1);
	assert_int_equal(stat(name, &st), 0);
	assert_int_equal(st.st_blocks, 65536 / 512);
	assert_int_equal(rig_range(&r, VIO_DISK_DISCARD, 0, SIZE), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, bytes, SIZE), 0);
	assert_memory_equal(bytes, zero, SIZE);
	assert_int_equal(stat(name, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	end_image(&r, name);
}

static blkcnt_t blocks_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(name, &st), 0);
	return st.st_blocks;
}

static void zeroes_give_space_back_if_they_may(void **state)
{
	const struct place *p = *state;
	enum { SIZE = 1 << 20 };
	static unsigned char bytes[SIZE], zero[SIZE];
	char name[NAME];
	struct rig r;

	use_image(&r, name, p->folder, SIZE, p->o);
	for (unsigned may_unmap = 0; may_unmap < 2; may_unmap++) {
		struct rig_io q = { .io = { .op = VIO_DISK_ZERO, .may_unmap = may_unmap, .length = SIZE } };
		memset(bytes, 1, SIZE);
		assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, bytes, SIZE), 0);
		assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
		assert_true(blocks_of(name) >= SIZE / 512);
		rig_submit(&r, &q);
		rig_settle(&r);
		assert_int_equal(q.error, 0);
		assert_int_equal(blocks_of(name) < SIZE / 512, may_unmap);
		assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, bytes, SIZE), 0);
		assert_memory_equal(bytes, zero, SIZE);
	}
	end_image(&r, name);
}

/* ---- Stable storage ---- */

/* Pages of the file that only the page cache has; -1: this kernel (before 6.5) does not say. */
static long dirty_pages(const char *name)
{
	struct { uint64_t off, len; } range = { 0, 0 };
	struct { uint64_t cache, dirty, writeback, evicted, recently; } pages = { 0 };
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	long r = syscall(451 /* cachestat */, fd, &range, &pages, 0);

	close(fd);
	return r < 0 ? -1 : (long)(pages.dirty + pages.writeback);
}

static void durable_means_on_the_disk(void **state)
{
	static unsigned char bytes[65536] __attribute__((aligned(4096)));
	const struct place *p = *state;
	struct vio_seg seg = { bytes, sizeof bytes };
	char name[NAME];
	struct rig r;

	use_image(&r, name, p->folder, 1 << 20, p->o);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, bytes, sizeof bytes), 0);
	long dirty = dirty_pages(name);
	if (dirty < 0) {
		end_image(&r, name);
		skip_because("this kernel has no cachestat()");
	}
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	assert_int_equal(dirty_pages(name), 0);
	struct rig_io w = { .io = { .op = VIO_DISK_WRITE, .durable = true, .length = sizeof bytes,
		.bytes = { .seg = &seg, .left = sizeof bytes } } };
	rig_submit(&r, &w);
	rig_settle(&r);
	assert_int_equal(w.error, 0);
	assert_int_equal(dirty_pages(name), 0);
	struct rig_io z = { .io = { .op = VIO_DISK_ZERO, .durable = true, .length = 4096 + 512 } };
	rig_submit(&r, &z);
	rig_settle(&r);
	assert_int_equal(z.error, 0);
	assert_int_equal(dirty_pages(name), 0);
	end_image(&r, name);
}

/* ---- Full ---- */

static void a_full_disk_fails_the_request_alone(void **state)
{
	const struct place *p = *state;
	enum { SIZE = 1 << 20, LIMIT = SIZE / 2 };
	static unsigned char bytes[8192] __attribute__((aligned(4096)));
	struct rlimit old, limit;
	char name[NAME];
	struct rig r;

	use_image(&r, name, p->folder, SIZE, p->o);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){ LIMIT, old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &limit);
	int over = rig_move(&r, VIO_DISK_WRITE, LIMIT, bytes, 4096);
	int across = rig_move(&r, VIO_DISK_WRITE, LIMIT - 4096, bytes, 8192);
	int below = rig_move(&r, VIO_DISK_WRITE, LIMIT - 4096, bytes, 4096);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(over, EFBIG);
	assert_int_equal(across, EFBIG);
	assert_int_equal(below, 0);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, LIMIT, bytes, 4096), 0);
	end_image(&r, name);
}

/* A tmpfs of 256 KiB that only this process sees.  NULL, or why not. */
static const char *mount_small(char *folder)
{
	if (!mkdtemp(folder))
		return "no folder can be made";
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", folder, "tmpfs", 0, "size=256k") < 0)
		return "mounting takes root";
	return NULL;
}

static void unmount_small(const char *folder)
{
	umount2(folder, MNT_DETACH);
	rmdir(folder);
}

static void no_space_is_said(void **state)
{
	static unsigned char bytes[1 << 20] __attribute__((aligned(4096)));
	char folder[] = "/tmp/vio-small-XXXXXX", path[64], name[NAME];
	struct rig r;

	(void)state;
	const char *lacks = mount_small(folder);
	if (lacks) {
		rmdir(folder);
		skip_because(lacks);
	}
	snprintf(path, sizeof path, "%s/", folder);
	use_image(&r, name, path, sizeof bytes, (struct vio_disk_file_options){ 0 });
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, bytes, sizeof bytes), ENOSPC);
	assert_int_equal(rig_range(&r, VIO_DISK_DISCARD, 0, sizeof bytes), 0);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, sizeof bytes - 4096, bytes, 4096), 0);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	end_image(&r, name);
	unmount_small(folder);
}

/* ---- Block devices ---- */

static void a_device_promises_what_it_has(void **state)
{
	static unsigned char in[65536], back[65536];
	char name[NAME], device[32], why[VIO_WHY];
	struct rig r;

	(void)state;
	int file = rig_image(name, sizeof name, TMPFS, 1 << 20);
	int loop = rig_device(file, device, sizeof device);
	if (loop < 0) {
		close(file);
		unlink(name);
		skip_because("no loop device can be had here");
	}
	rig_init(&r);
	struct vio_disk *d = open_file(&r, (struct vio_disk_file_options){ .path = device }, why);
	if (!d)
		fail_msg("%s", why);
	rig_use(&r, d);
	assert_int_equal(d->size, 1 << 20);
	assert_int_equal(d->logical_block, 512);
	assert_true(d->can_zero && !d->can_erase && !d->has_lifetime);
	assert_refused((struct vio_disk_file_options){ .path = device }, "in use by another program");
	memset(in, 4, sizeof in);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, in, sizeof in), 0);
	if (d->can_discard) {
		struct stat st;
		assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
		assert_int_equal(rig_range(&r, VIO_DISK_DISCARD, 0, 32768), 0);
		fstat(file, &st);
		assert_int_equal(st.st_blocks, 32768 / 512);
	}
	assert_int_not_equal(rig_range(&r, VIO_DISK_ERASE, 0, 4096), 0);	/* never pretended */
	assert_int_equal(rig_range(&r, VIO_DISK_ZERO, 32768, 4096), 0);
	assert_int_equal(rig_move(&r, VIO_DISK_READ, 0, back, sizeof back), 0);
	assert_int_equal(back[32768] | back[32768 + 4095], 0);
	assert_memory_equal(back + 36864, in + 36864, sizeof in - 36864);
	rig_end(&r);
	close(loop);
	close(file);
	unlink(name);
}

/* A device over a file that finds no space: writes end well in the cache, and the flush brings it to light. */
static void a_failed_flush_is_never_forgotten(void **state)
{
	static unsigned char bytes[1 << 20] __attribute__((aligned(4096)));
	char folder[] = "/tmp/vio-small-XXXXXX", path[64], name[NAME], device[32], why[VIO_WHY];
	struct rig r;

	const char *lacks = mount_small(folder);
	if (lacks) {
		rmdir(folder);
		skip_because(lacks);
	}
	snprintf(path, sizeof path, "%s/", folder);
	int file = rig_image(name, sizeof name, path, sizeof bytes);
	int loop = rig_device(file, device, sizeof device);
	if (loop < 0) {
		close(file);
		unmount_small(folder);
		skip_because("no loop device can be had here");
	}
	rig_init(&r);
	struct vio_disk *d = open_file(&r,
	    (struct vio_disk_file_options){ .path = device, .aio = *(const enum vio_aio *)*state }, why);
	if (!d)
		fail_msg("%s", why);
	rig_use(&r, d);
	memset(bytes, 1, sizeof bytes);
	assert_int_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, bytes, sizeof bytes), 0);
	assert_int_not_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_not_equal(rig_range(&r, VIO_DISK_FLUSH, 0, 0), 0);
	rig_end(&r);
	close(loop);
	close(file);
	unmount_small(folder);
}

/* ---- Several queues ---- */

static void loops_share_the_queues(void **state)
{
	struct vio_loop *l[2] = { vio_loop_new(), vio_loop_new() };
	char name[NAME], why[VIO_WHY] = "";

	(void)state;
	close(rig_image(name, sizeof name, FOLDER, 4096));
	struct vio_disk *d = vio_disk_file_open(&(struct vio_disk_file_options){
		.path = name, .place = { l, 2 }, .queues = 3 }, why);
	if (!d)
		fail_msg("%s", why);
	for (unsigned i = 0; i < 3; i++) {
		struct vio_file_chan *c = (struct vio_file_chan *)d->ops->channel(d, i);
		assert_ptr_equal(c->loop, l[i % 2]);
		c->base.ops->close(&c->base);
	}
	assert_null(d->ops->channel(d, 3));
	vio_disk_close(d);
	vio_loop_free(l[0]);
	vio_loop_free(l[1]);
	unlink(name);
}

/* One queue's thread: writes a block, reads it back, and so on to the end of its half. */
struct half {
	struct vio_disk_io io;
	struct vio_loop *loop;
	struct vio_disk_chan *chan;
	struct vio_disk *disk;
	unsigned queue;
	struct vio_call start, *over;
	struct vio_loop *home;
	struct vio_task next;
	uint64_t at, end;
	unsigned wrong;
	unsigned char bytes[4096] __attribute__((aligned(4096)));
	struct vio_seg seg;
};

static void half_next(void *arg)
{
	struct half *h = arg;

	if (h->at == h->end) {
		h->chan->ops->close(h->chan);
		vio_loop_call(h->home, h->over);
		return;
	}
	h->io.op = h->io.op == VIO_DISK_WRITE ? VIO_DISK_READ : VIO_DISK_WRITE;
	memset(h->bytes, h->io.op == VIO_DISK_WRITE ? (int)(h->at >> 12) : 0, sizeof h->bytes);
	h->io.offset = h->at;
	h->io.length = sizeof h->bytes;
	h->io.bytes = (struct vio_cur){ .seg = &h->seg, .left = sizeof h->bytes };
	h->chan->ops->submit(h->chan, &h->io);
	if (h->chan->ops->flush)
		h->chan->ops->flush(h->chan);
}

static void half_done(struct vio_disk_io *io, int error)
{
	struct half *h = (struct half *)io;

	h->wrong += error || !vio_loop_is_mine(h->loop) || h->bytes[77] != (unsigned char)(h->at >> 12);
	if (io->op == VIO_DISK_READ)
		h->at += sizeof h->bytes;
	vio_loop_task(h->loop, &h->next);
}

static void half_start(void *arg)
{
	struct half *h = arg;

	h->chan = h->disk->ops->channel(h->disk, h->queue);
	half_next(h);
}

struct halves { struct vio_loop *loop; unsigned left; };
static void half_over(void *arg)
{
	struct halves *h = arg;

	if (--h->left == 0)
		vio_loop_quit(h->loop);
}

static void queues_run_in_their_threads(void **state)
{
	const struct place *p = *state;
	enum { SIZE = 4 << 20 };
	struct vio_thread *t[2] = { vio_thread_start("a"), vio_thread_start("b") };
	struct vio_loop *l[2] = { vio_thread_loop(t[0]), vio_thread_loop(t[1]) };
	struct halves both = { vio_loop_new(), 2 };
	struct vio_disk_file_options o = p->o;
	static struct half h[2];
	struct vio_call over[2];
	char name[NAME], why[VIO_WHY] = "";

	close(rig_image(name, sizeof name, p->folder, SIZE));
	o.path = name;
	o.place = (struct vio_disk_place){ l, 2 };
	o.queues = 2;
	struct vio_disk *d = vio_disk_file_open(&o, why);
	if (!d)
		fail_msg("%s", why);
	for (unsigned i = 0; i < 2; i++) {
		over[i] = (struct vio_call){ .fn = half_over, .arg = &both };
		h[i] = (struct half){ .io = { .op = VIO_DISK_READ, .done = half_done }, .loop = l[i], .disk = d, .queue = i,
			.start = { .fn = half_start, .arg = &h[i] }, .over = &over[i], .home = both.loop,
			.next = { .fn = half_next, .arg = &h[i] }, .at = (uint64_t)i * SIZE / 2, .end = (uint64_t)(i + 1) * SIZE / 2,
			.seg = { h[i].bytes, sizeof h[i].bytes } };
		vio_loop_call(l[i], &h[i].start);
	}
	vio_loop_run(both.loop);
	assert_int_equal(h[0].wrong + h[1].wrong, 0);
	vio_disk_close(d);
	vio_thread_stop(t[0]);
	vio_thread_stop(t[1]);
	vio_loop_free(both.loop);
	unlink(name);
}

int main(void)
{
	static const struct place memory = { TMPFS, { 0 } }, memory_threads = { TMPFS, { .aio = VIO_AIO_THREADS } },
	    file = { FOLDER, { 0 } }, threads = { FOLDER, { .aio = VIO_AIO_THREADS } }, direct = { FOLDER, { .direct = true } };
	static const enum vio_aio uring = VIO_AIO_AUTO, pool = VIO_AIO_THREADS;
	const struct CMUnitTest tests[] = {
		TS(truncated_bytes_are_an_error, "a truncated image gives errors, and grows again: tmpfs", &memory),
		TS(truncated_bytes_are_an_error,
		    "a truncated image gives errors, and grows again: tmpfs by threads", &memory_threads),
		TS(truncated_bytes_are_an_error, "a truncated image gives errors, and grows again: a file", &file),
		TS(truncated_bytes_are_an_error, "a truncated image gives errors, and grows again: threads", &threads),
		TS(truncated_bytes_are_an_error, "a truncated image gives errors, and grows again: direct I/O", &direct),
		T(reading_holes_takes_no_memory, "reading holes of a file in tmpfs takes no memory"),
		TS(zeroes_give_space_back_if_they_may,
		    "zeroes give space back if they may, else not {blk-dev-26 blk-dev-27}: tmpfs", &memory),
		TS(zeroes_give_space_back_if_they_may,
		    "zeroes give space back if they may, else not {blk-dev-26 blk-dev-27}: a file", &file),
		TS(durable_means_on_the_disk,
		    "what is durable or flushed is not only in the page cache {blk-dev-31}: io_uring", &file),
		TS(durable_means_on_the_disk,
		    "what is durable or flushed is not only in the page cache {blk-dev-31}: threads", &threads),
		TS(a_full_disk_fails_the_request_alone, "a write beyond the limit fails, the others do not: tmpfs", &memory),
		TS(a_full_disk_fails_the_request_alone, "a write beyond the limit fails, the others do not: a file", &file),
		TS(a_full_disk_fails_the_request_alone, "a write beyond the limit fails, the others do not: threads", &threads),
		T(no_space_is_said, "no space left is said, and discard makes some"),
		T(a_device_promises_what_it_has, "a block device offers what it has and nothing else"),
		TS(a_failed_flush_is_never_forgotten,
		    "after a failed flush every flush fails {blk-dev-31; only us}: io_uring", &uring),
		TS(a_failed_flush_is_never_forgotten, "after a failed flush every flush fails {blk-dev-31; only us}: threads", &pool),
		TS(queues_run_in_their_threads, "two queues run in two threads: tmpfs", &memory),
		TS(queues_run_in_their_threads, "two queues run in two threads: io_uring", &file),
		TS(queues_run_in_their_threads, "two queues run in two threads: threads", &threads),
		T(loops_share_the_queues, "queues belong to the loops in turn, and there are as many as were asked for"),
	};
	return vio_tests("host-disk-file", tests, sizeof tests / sizeof *tests);
}
