/* Files as disks: what is refused and in which words, locks, truncated and full images, what is promised after an error. */
#include <tests/host/rig.h>
#include <vio/host/disk_file.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define TMPFS "/dev/shm/"
#define FOLDER "/var/tmp/"
enum { NAME = 128 };

static void skip_because(const char *why)
{
	print_message("%s\n", why);
	skip();
}

static struct vio_disk *open_file(struct rig *r, struct vio_disk_file_options o, char *why)
{
	why[0] = 0;
	o.place = rig_place(r);
	o.queues = 1;
	struct vio_disk *d = vio_disk_file_open(&o, why);
	assert_true((d == NULL) == (why[0] != 0));
	return d;
}

/* In one rig: an image of size bytes in folder, opened as o says (but for the path). */
static void use_image(struct rig *r, char *name, const char *folder, uint64_t size, struct vio_disk_file_options o)
{
	char why[VIO_WHY];

	rig_init(r);
	close(rig_image(name, NAME, folder, size));
	o.path = name;
	struct vio_disk *d = open_file(r, o, why);
	if (!d)
		fail_msg("%s", why);
	rig_use(r, d);
}

static void end_image(struct rig *r, const char *name)
{
	rig_end(r);
	unlink(name);
}

/* ---- What is refused ---- */

static void assert_refused(struct vio_disk_file_options o, const char *words)
{
	char why[VIO_WHY];
	struct rig r;

	rig_init(&r);
	assert_null(open_file(&r, o, why));
	if (!strstr(why, words))
		fail_msg("\"%s\" does not say \"%s\"", why, words);
	rig_end(&r);
}

static void refusals_say_why(void **state)
{
	char name[NAME], fifo[NAME + 8];

	(void)state;
	close(rig_image(name, sizeof name, FOLDER, 1000));
	assert_refused((struct vio_disk_file_options){ .path = "/var/tmp/vio-no-such-image" }, "does not exist; make one with");
	assert_refused((struct vio_disk_file_options){ .path = FOLDER }, "is a directory");
	assert_refused((struct vio_disk_file_options){ .path = "/dev/null" }, "neither a file nor a block device");
	assert_refused((struct vio_disk_file_options){ .path = name }, "truncate -s 1024");
	assert_int_equal(truncate(name, 512), 0);
	assert_refused((struct vio_disk_file_options){ .path = name, .logical_block = 4096 }, "truncate -s 4096");
	assert_refused((struct vio_disk_file_options){ .path = name, .logical_block = 1000 }, "power of two");
	assert_refused((struct vio_disk_file_options){ .path = name, .logical_block = 1 << 20 }, "power of two");
	snprintf(fifo, sizeof fifo, "%s.fifo", name);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_refused((struct vio_disk_file_options){ .path = fifo }, "neither a file nor a block device");
	unlink(fifo);
	unlink(name);
}

/* root may open everything, so somebody else tries. */
static void no_permission_is_said(void **state)
{
	char name[NAME];
	int status;

	(void)state;
	close(rig_image(name, sizeof name, FOLDER, 4096));
	chmod(name, 0444);
	pid_t child = fork();
	if (child == 0) {
		struct vio_loop *l = vio_loop_new();
		char why[VIO_WHY] = "";
		if (getuid() == 0 && setuid(65534) < 0)
			_exit(2);
		struct vio_disk_file_options o = { .path = name, .place = { &l, 1 }, .queues = 1 };
		bool refused = !vio_disk_file_open(&o, why) && strstr(why, "--read-only");
		o.read_only = true;
		struct vio_disk *d = vio_disk_file_open(&o, why);
		_exit(refused && d && d->read_only ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	unlink(name);
}

static void a_file_promises_what_it_has(void **state)
{
	char name[NAME];
	struct rig r;

	(void)state;
	use_image(&r, name, TMPFS, 1 << 20, (struct vio_disk_file_options){ 0 });
	assert_int_equal(r.disk->logical_block, 512);
	assert_int_equal(r.disk->physical_block, 4096);
	assert_true(r.disk->can_discard && r.disk->can_zero && r.disk->zero_may_unmap);
	assert_false(r.disk->can_erase || r.disk->has_lifetime || r.disk->read_only);
	end_image(&r, name);
	use_image(&r, name, TMPFS, 1 << 20, (struct vio_disk_file_options){ .read_only = true, .logical_block = 4096 });
	assert_int_equal(r.disk->logical_block, 4096);
	assert_false(r.disk->can_discard || r.disk->can_zero);
	assert_true(r.disk->read_only);
	end_image(&r, name);
}

static void put_text(const char *folder, const char *name, const char *text)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void lifetime_comes_from_the_device(void **state)
{
	char folder[] = "/tmp/vio-sysfs-XXXXXX", command[80];
	struct vio_disk d = { 0 };

	(void)state;
	assert_non_null(mkdtemp(folder));
	int at = open(folder, O_PATH | O_DIRECTORY);
	assert_false(vio_file_lifetime(at, &d));
	assert_int_equal(mkdirat(at, "device", 0700), 0);
	put_text(folder, "device/pre_eol_info", "0x02\n");
	assert_false(vio_file_lifetime(at, &d));
	assert_false(d.has_lifetime);
	put_text(folder, "device/life_time", "0x03 0x0b\n");
	assert_true(vio_file_lifetime(at, &d));
	assert_true(d.has_lifetime && d.pre_eol == 2 && d.life_a == 3 && d.life_b == 11);
	close(at);
	snprintf(command, sizeof command, "rm -r %s", folder);
	assert_int_equal(system(command), 0);
}

/* ---- Locks ---- */

static void locks_hold_between_our_disks(void **state)
{
	char name[NAME], why[VIO_WHY];
	struct rig r;

	(void)state;
	use_image(&r, name, FOLDER, 4096, (struct vio_disk_file_options){ 0 });
	assert_refused((struct vio_disk_file_options){ .path = name }, "in use by another program");
	assert_refused((struct vio_disk_file_options){ .path = name, .read_only = true }, "being written");
	rig_end(&r);

	rig_init(&r);
	struct vio_disk *a = open_file(&r, (struct vio_disk_file_options){ .path = name, .read_only = true }, why);
	struct vio_disk *b = open_file(&r, (struct vio_disk_file_options){ .path = name, .read_only = true }, why);
	assert_true(a && b);
	assert_refused((struct vio_disk_file_options){ .path = name }, "in use by another program");
	vio_disk_close(a);
	vio_disk_close(b);
	end_image(&r, name);
}

static void a_closed_image_is_free_at_once(void **state)
{
	struct vio_disk_file_options o = { .aio = *(const enum vio_aio *)*state };
	unsigned char bytes[4096] __attribute__((aligned(4096))) = { 1 };
	char name[NAME], why[VIO_WHY];
	struct rig r;

	use_image(&r, name, FOLDER, 1 << 20, o);
	rig_end(&r);
	o.path = name;
	for (unsigned i = 0; i < 10; i++) {
		rig_init(&r);
		uint64_t before = vio_now_ns();
		struct vio_disk *d = open_file(&r, o, why);
		if (!d)
			fail_msg("%s", why);
		assert_true(i == 0 || vio_now_ns() - before < 200000000);	/* it did not wait for the lock */
		rig_use(&r, d);
		assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 0, bytes, sizeof bytes), 0);
		rig_end(&r);
	}
	unlink(name);
}

static bool have(const char *program)
{
	char command[128];

	snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", program);
	return system(command) == 0;
}

/* Exit status of a qemu-io or qemu-img command on the image. */
static int run(const char *format, const char *name)
{
	char command[256];

	snprintf(command, sizeof command, format, name);
	return system(command);
}

static void qemu_respects_our_locks(void **state)
{
	char name[NAME];
	struct rig r;

	(void)state;
	if (!have("qemu-io") || !have("qemu-img"))
		skip_because("qemu-io and qemu-img are not installed");
	use_image(&r, name, FOLDER, 1 << 20, (struct vio_disk_file_options){ 0 });
	assert_int_not_equal(run("qemu-io -f raw -c 'write 0 512' %s >/dev/null 2>&1", name), 0);
	assert_int_not_equal(run("qemu-img resize -f raw %s 2M >/dev/null 2>&1", name), 0);
	assert_int_not_equal(run("qemu-img bench -w -c 1 -f raw %s >/dev/null 2>&1", name), 0);
	/* Those that only look may, as with an image that a machine of QEMU's is running on. */
	assert_int_equal(run("qemu-img info -f raw %s >/dev/null 2>&1", name), 0);
	rig_end(&r);
	assert_int_equal(run("qemu-io -f raw -c 'write 0 512' %s >/dev/null 2>&1", name), 0);

	char why[VIO_WHY];
	rig_init(&r);
	rig_use(&r, open_file(&r, (struct vio_disk_file_options){ .path = name, .read_only = true }, why));
	assert_int_not_equal(run("qemu-io -f raw -c 'write 0 512' %s >/dev/null 2>&1", name), 0);
	assert_int_equal(run("qemu-io -r -f raw -c 'read 0 512' %s >/dev/null 2>&1", name), 0);
	end_image(&r, name);
}

/* A qemu-io that has the image open until its input is closed. */
static FILE *hold_by_qemu(const char *options, const char *name, pid_t *child)
{
	int in[2], out[2];
	char command[NAME + 64], word[16] = "";

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	*child = fork();
	if (*child == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		snprintf(command, sizeof command, "exec qemu-io %s -f raw %s", options, name);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	assert_int_equal(write(in[1], "read 0 512\n", 11), 11);
	FILE *f = fdopen(out[0], "r");	/* its answer: now the image is open */
	for (int c; !strstr(word, "read") && (c = fgetc(f)) != EOF;) {
		memmove(word, word + 1, 4);
		word[3] = (char)c;
		word[4] = 0;
	}
	fclose(f);
	return fdopen(in[1], "w");
}

static void we_respect_qemus_locks(void **state)
{
	char name[NAME], why[VIO_WHY];
	struct rig r;
	pid_t child;

	(void)state;
	if (!have("qemu-io"))
		skip_because("qemu-io is not installed");
	close(rig_image(name, sizeof name, FOLDER, 1 << 20));
	FILE *q = hold_by_qemu("", name, &child);
	assert_refused((struct vio_disk_file_options){ .path = name }, "in use by another program");
	assert_refused((struct vio_disk_file_options){ .path = name, .read_only = true }, "being written");
	fclose(q);
	waitpid(child, NULL, 0);

	q = hold_by_qemu("-r", name, &child);
	rig_init(&r);
	struct vio_disk *d = open_file(&r, (struct vio_disk_file_options){ .path = name, .read_only = true }, why);
	if (!d)
		fail_msg("%s", why);
	vio_disk_close(d);
	rig_end(&r);
	fclose(q);
	waitpid(child, NULL, 0);
	unlink(name);
}

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

/* A loop device over the file; its descriptor, or -1. */
static int make_device(int file, char *name, size_t room)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int n = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);

	if (control >= 0)
		close(control);
	if (n < 0)
		return -1;
	snprintf(name, room, "/dev/loop%d", n);
	int fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, LOOP_SET_FD, file) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void a_device_promises_what_it_has(void **state)
{
	static unsigned char in[65536], back[65536];
	char name[NAME], device[32], why[VIO_WHY];
	struct rig r;

	(void)state;
	int file = rig_image(name, sizeof name, TMPFS, 1 << 20);
	int loop = make_device(file, device, sizeof device);
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
	ioctl(loop, LOOP_CLR_FD);
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
	int loop = make_device(file, device, sizeof device);
	if (loop < 0) {
		close(file);
		unmount_small(folder);
		skip_because("no loop device can be had here");
	}
	rig_init(&r);
	struct vio_disk *d = open_file(&r, (struct vio_disk_file_options){ .path = device, .aio = *(const enum vio_aio *)*state },
	    why);
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
	ioctl(loop, LOOP_CLR_FD);
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

int main(void)
{
	static const struct place memory = { TMPFS, { 0 } }, memory_threads = { TMPFS, { .aio = VIO_AIO_THREADS } },
	    file = { FOLDER, { 0 } }, threads = { FOLDER, { .aio = VIO_AIO_THREADS } }, direct = { FOLDER, { .direct = true } };
	static const enum vio_aio uring = VIO_AIO_AUTO, pool = VIO_AIO_THREADS;
	const struct CMUnitTest tests[] = {
		T(refusals_say_why, "an image that can't be served is refused in a sentence with the remedy"),
		T(no_permission_is_said, "an image that may only be read is refused with --read-only as the remedy, and served so"),
		T(a_file_promises_what_it_has, "a file offers discard and zeroes, and neither secure erase nor lifetime"),
		T(lifetime_comes_from_the_device, "lifetime values are those of the device, or not offered {blk-dev-33; only us}"),
		T(locks_hold_between_our_disks, "one writer or several readers"),
		TS(a_closed_image_is_free_at_once, "a closed image is free at once: io_uring", &uring),
		TS(a_closed_image_is_free_at_once, "a closed image is free at once: threads", &pool),
		T(qemu_respects_our_locks, "QEMU's tools respect our lock {; qemu-img}"),
		T(we_respect_qemus_locks, "we respect the lock of QEMU's tools {; qemu-io}"),
		TS(truncated_bytes_are_an_error, "a truncated image gives errors, and grows again: tmpfs", &memory),
		TS(truncated_bytes_are_an_error, "a truncated image gives errors, and grows again: tmpfs by threads", &memory_threads),
		TS(truncated_bytes_are_an_error, "a truncated image gives errors, and grows again: a file", &file),
		TS(truncated_bytes_are_an_error, "a truncated image gives errors, and grows again: threads", &threads),
		TS(truncated_bytes_are_an_error, "a truncated image gives errors, and grows again: direct I/O", &direct),
		T(reading_holes_takes_no_memory, "reading holes of a file in tmpfs takes no memory"),
		TS(a_full_disk_fails_the_request_alone, "a write beyond the limit fails, the others do not: tmpfs", &memory),
		TS(a_full_disk_fails_the_request_alone, "a write beyond the limit fails, the others do not: a file", &file),
		TS(a_full_disk_fails_the_request_alone, "a write beyond the limit fails, the others do not: threads", &threads),
		T(no_space_is_said, "no space left is said, and discard makes some"),
		T(a_device_promises_what_it_has, "a block device offers what it has and nothing else"),
		TS(a_failed_flush_is_never_forgotten, "after a failed flush every flush fails {blk-dev-31; only us}: io_uring", &uring),
		TS(a_failed_flush_is_never_forgotten, "after a failed flush every flush fails {blk-dev-31; only us}: threads", &pool),
		T(loops_share_the_queues, "queues belong to the loops in turn, and there are as many as were asked for"),
	};
	return vio_tests("host-disk-file", tests, sizeof tests / sizeof *tests);
}
