/* Opening files as disks: what is refused and in which words, what is promised, locks. */
#include <tests/host/image.h>
#include <vio/host/disk_file.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- What is refused ---- */

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

static void shared_images_have_several_writers(void **state)
{
	char name[NAME], why[VIO_WHY];
	struct rig r;

	(void)state;
	rig_init(&r);
	close(rig_image(name, sizeof name, FOLDER, 4096));
	struct vio_disk *a = open_file(&r, (struct vio_disk_file_options){ .path = name, .shared = true }, why);
	struct vio_disk *b = open_file(&r, (struct vio_disk_file_options){ .path = name, .shared = true }, why);
	assert_true(a && b);
	assert_refused((struct vio_disk_file_options){ .path = name }, "in use by another program");
	assert_refused((struct vio_disk_file_options){ .path = name, .read_only = true }, "being written");
	vio_disk_close(b);
	vio_disk_close(a);
	a = open_file(&r, (struct vio_disk_file_options){ .path = name, .read_only = true }, why);
	assert_refused((struct vio_disk_file_options){ .path = name, .shared = true }, "in use by another program");
	vio_disk_close(a);
	end_image(&r, name);
}

/* ---- Disks that come while the program is confined ---- */

static void spare_disks_take_images(void **state)
{
	struct vio_disk_file_options o = { .aio = *(const enum vio_aio *)*state, .queues = 1, .path = "spare" };
	unsigned char bytes[4096] __attribute__((aligned(4096))), back[4096] __attribute__((aligned(4096)));
	char name[NAME], why[VIO_WHY];
	struct rig r;

	rig_init(&r);
	o.place = rig_place(&r);
	struct vio_disk *spare = vio_disk_file_spare(&o, why);
	assert_non_null(spare);
	o.spare = spare;
	o.has_fd = true;
	for (unsigned i = 0; i < 3; i++) {
		o.fd = rig_image(name, sizeof name, FOLDER, 1 << 20);
		o.path = name;
		struct vio_disk *d = vio_disk_file_open(&o, why);
		if (!d)
			fail_msg("%s", why);
		assert_true(d == spare && d->size == 1 << 20 && d->can_discard);
		rig_use(&r, d);
		memset(bytes, (int)i + 1, sizeof bytes);
		assert_int_equal(rig_move(&r, VIO_DISK_WRITE, 8192, bytes, sizeof bytes), 0);
		assert_int_equal(rig_move(&r, VIO_DISK_READ, 8192, back, sizeof back), 0);
		assert_memory_equal(bytes, back, sizeof bytes);
		r.chan->ops->close(r.chan);
		vio_disk_file_empty(d);
		assert_int_equal(d->size, 0);
		unlink(name);
		/* what it refuses leaves it as it was, and the descriptor closed */
		o.fd = open("/dev/null", O_RDWR);
		assert_null(vio_disk_file_open(&o, why));
		assert_non_null(strstr(why, "neither a file"));
		assert_int_equal(fcntl(o.fd, F_GETFD), -1);
		close(rig_image(name, sizeof name, FOLDER, 4096));
		o.fd = open(name, O_RDONLY);
		assert_null(vio_disk_file_open(&o, why));
		assert_non_null(strstr(why, "for reading only"));
		unlink(name);
	}
	r.disk = NULL;
	r.chan = NULL;
	vio_disk_close(spare);
	vio_loop_free(r.loop);
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

/* ---- Where io_uring is forbidden ---- */

static bool forbid_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void threads_step_in_for_io_uring(void **state)
{
	char name[NAME];
	int status;

	(void)state;
	close(rig_image(name, sizeof name, FOLDER, 4096));
	pid_t child = fork();
	if (child == 0) {
		struct vio_loop *l = vio_loop_new();
		struct vio_disk_file_options o = { .path = name, .aio = VIO_AIO_URING, .place = { &l, 1 }, .queues = 1 };
		char why[VIO_WHY] = "";
		if (!forbid_io_uring())
			_exit(2);
		if (vio_disk_file_open(&o, why) || !strstr(why, "--aio=threads"))
			_exit(3);
		o.aio = VIO_AIO_AUTO;
		struct vio_disk *d = vio_disk_file_open(&o, why);
		_exit(d && vio_disk_file_aio(d) == VIO_AIO_THREADS ? 0 : 4);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	unlink(name);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2)
		skip_because("seccomp filters are not to be had here");
	assert_int_equal(status, 0);
}

int main(void)
{
	static const enum vio_aio uring = VIO_AIO_AUTO, pool = VIO_AIO_THREADS;
	const struct CMUnitTest tests[] = {
		T(refusals_say_why, "an image that can't be served is refused in a sentence with the remedy"),
		T(no_permission_is_said, "an image that may only be read is refused with --read-only as the remedy, and served so"),
		T(a_file_promises_what_it_has, "a file offers discard and zeroes, and neither secure erase nor lifetime"),
		T(lifetime_comes_from_the_device, "lifetime values are those of the device, or not offered {blk-dev-33; only us}"),
		T(locks_hold_between_our_disks, "one writer or several readers"),
		T(shared_images_have_several_writers, "an image that is shared has several writers, who all say so"),
		TS(spare_disks_take_images, "a spare disk takes images by descriptor, one after the other: io_uring", &uring),
		TS(spare_disks_take_images, "and threads", &pool),
		TS(a_closed_image_is_free_at_once, "a closed image is free at once: io_uring", &uring),
		TS(a_closed_image_is_free_at_once, "a closed image is free at once: threads", &pool),
		T(qemu_respects_our_locks, "QEMU's tools respect our lock {; qemu-img}"),
		T(we_respect_qemus_locks, "we respect the lock of QEMU's tools {; qemu-io}"),
		T(threads_step_in_for_io_uring, "where io_uring is forbidden, auto takes threads, and io_uring is refused"),
	};
	return vio_tests("host-disk-open", tests, sizeof tests / sizeof *tests);
}
