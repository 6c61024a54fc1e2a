/* Bytes that outlive the program: in files that several have open, torn, cut short, damaged; and the twin in memory. */
#include "../test.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>
#include <vio/host/keep.h>

enum { SLOT_0 = 4096, SLOT_1 = 16384, FILE_BYTES = 28672 };

static char folder[] = "/tmp/vio-keep-XXXXXX", path[64];

static int begin(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static struct vio_keep *must_open(void)
{
	char why[VIO_WHY] = "";
	struct vio_keep *k = vio_keep_file_open(path, why);

	if (!k)
		fail_msg("%s", why);
	return k;
}

static size_t set(void *arg, unsigned char *bytes, size_t n)
{
	(void)n;
	strcpy((char *)bytes, arg);
	return strlen(arg);
}

static void must_set(struct vio_keep *k, bool durable, const char *text)
{
	assert_int_equal(k->ops->update(k, durable, set, (void *)(uintptr_t)text), 0);
}

static void assert_holds(struct vio_keep *k, const char *text)
{
	unsigned char bytes[VIO_KEEP_BYTES];
	uint64_t version;
	size_t n = k->ops->read(k, bytes, &version);

	assert_int_equal(n, strlen(text));
	assert_memory_equal(bytes, text, n);
	assert_int_equal(version, k->ops->version(k));
}

static void scribble(off_t at, const void *bytes, size_t n)
{
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, n, at), (ssize_t)n);
	close(fd);
}

/* ---- What it is for ---- */

static size_t leave(void *arg, unsigned char *bytes, size_t n)
{
	(void)n;
	memset(bytes, 0xee, 100);
	*(unsigned *)arg += 1;
	return SIZE_MAX;
}

static void walk_through(struct vio_keep *k)
{
	unsigned calls = 0;
	uint64_t before = k->ops->version(k);

	assert_holds(k, "");
	must_set(k, true, "one");
	assert_holds(k, "one");
	assert_true(k->ops->version(k) != before);
	before = k->ops->version(k);
	assert_int_equal(k->ops->update(k, true, leave, &calls), 0);
	assert_int_equal(calls, 1);
	assert_holds(k, "one");
	assert_int_equal(k->ops->version(k), before);
	must_set(k, false, "a longer one");
	must_set(k, true, "2");
	assert_holds(k, "2");
	must_set(k, true, "");
	assert_holds(k, "");
}

static void keeps(void **state)
{
	(void)state;
	struct vio_keep *k = must_open(), *memory = vio_keep_memory_open();
	struct stat st;

	assert_true(k->fresh && memory->fresh);
	walk_through(k);
	walk_through(memory);
	must_set(memory, true, "x");
	vio_keep_memory_fail(memory, 1, EIO);
	assert_int_equal(memory->ops->update(memory, true, set, "y"), EIO);
	assert_holds(memory, "x");
	must_set(memory, true, "y");
	vio_keep_close(memory);
	must_set(k, true, "what was said last");
	vio_keep_close(k);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	k = must_open();
	assert_true(k->fresh);
	assert_holds(k, "what was said last");
	vio_keep_close(k);
}

static size_t fill(void *arg, unsigned char *bytes, size_t n)
{
	(void)n;
	memset(bytes, 'm', VIO_KEEP_BYTES);
	return *(size_t *)arg;
}

static void the_most(void **state)
{
	unsigned char bytes[VIO_KEEP_BYTES];
	uint64_t version;
	size_t n = VIO_KEEP_BYTES;
	struct vio_keep *k = must_open();

	(void)state;
	assert_int_equal(k->ops->update(k, true, fill, &n), 0);
	assert_int_equal(k->ops->read(k, bytes, &version), VIO_KEEP_BYTES);
	for (unsigned i = 0; i < VIO_KEEP_BYTES; i++)
		assert_int_equal(bytes[i], 'm');
	vio_keep_close(k);
}

/* ---- Several ---- */

static void two_of_one_process(void **state)
{
	struct vio_keep *a = must_open(), *b = must_open();

	(void)state;
	assert_true(a->fresh);
	assert_false(b->fresh);
	must_set(a, false, "from a");
	assert_holds(b, "from a");
	must_set(b, true, "from b");
	assert_holds(a, "from b");
	vio_keep_close(a);
	struct vio_keep *c = must_open();
	assert_false(c->fresh);		/* b is there */
	assert_holds(c, "from b");
	vio_keep_close(b);
	vio_keep_close(c);
	c = must_open();
	assert_true(c->fresh);
	vio_keep_close(c);
}

static size_t count(void *arg, unsigned char *bytes, size_t n)
{
	uint32_t v = 0;

	(void)arg;
	if (n)
		memcpy(&v, bytes, sizeof v);
	v++;
	memcpy(bytes, &v, sizeof v);
	memset(bytes + sizeof v, (int)(v & 0xff), 1000 + v % 3000);
	return sizeof v + 1000 + v % 3000;
}

/* What is read is always one state, whole. */
static void look(struct vio_keep *k)
{
	unsigned char bytes[VIO_KEEP_BYTES];
	uint64_t version;
	uint32_t v;
	size_t n = k->ops->read(k, bytes, &version);

	if (!n)
		return;
	memcpy(&v, bytes, sizeof v);
	if (n != sizeof v + 1000 + v % 3000)
		_exit(3);
	for (size_t i = sizeof v; i < n; i++)
		if (bytes[i] != (v & 0xff))
			_exit(4);
}

static void several_programs(void **state)
{
	enum { PROGRAMS = 4, TIMES = 150 };
	pid_t pid[PROGRAMS];
	unsigned char bytes[VIO_KEEP_BYTES];
	uint64_t version;
	uint32_t v;

	(void)state;
	for (unsigned i = 0; i < PROGRAMS; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		char why[VIO_WHY];
		struct vio_keep *k = vio_keep_file_open(path, why);
		for (unsigned n = 0; k && n < TIMES; n++) {
			if (k->ops->update(k, false, count, NULL))
				_exit(2);
			look(k);
		}
		_exit(k ? 0 : 1);
	}
	for (unsigned i = 0; i < PROGRAMS; i++) {
		int status;
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
	struct vio_keep *k = must_open();
	assert_true(k->fresh);
	assert_true(k->ops->read(k, bytes, &version) > sizeof v);
	memcpy(&v, bytes, sizeof v);
	assert_int_equal(v, PROGRAMS * TIMES);
	vio_keep_close(k);
}

/* ---- What may happen to it ---- */

static void torn(void **state)
{
	struct vio_keep *k = must_open();

	(void)state;
	must_set(k, true, "old");	/* slot 0 */
	must_set(k, true, "new");	/* slot 1 */
	vio_keep_close(k);
	scribble(SLOT_1 + 17, "#", 1);		/* the power failed in the middle of it */
	k = must_open();
	assert_holds(k, "old");
	must_set(k, true, "newer");
	assert_holds(k, "newer");
	vio_keep_close(k);
	k = must_open();
	assert_holds(k, "newer");
	vio_keep_close(k);
}

static void never_noted(void **state)
{
	uint64_t nothing = 0;
	struct vio_keep *k = must_open();

	(void)state;
	must_set(k, true, "written");
	vio_keep_close(k);
	scribble(16, &nothing, sizeof nothing);		/* who wrote died before the version was */
	k = must_open();
	assert_holds(k, "written");
	vio_keep_close(k);
}

static void refused(const char *words)
{
	char why[VIO_WHY] = "";

	assert_null(vio_keep_file_open(path, why));
	if (!strstr(why, words))
		fail_msg("\"%s\" does not say \"%s\"", why, words);
}

static void damaged(void **state)
{
	struct vio_keep *k = must_open();

	(void)state;
	must_set(k, true, "one");
	must_set(k, true, "two");
	vio_keep_close(k);
	scribble(SLOT_0 + 17, "#", 1);
	scribble(SLOT_1 + 17, "#", 1);
	refused("is damaged");
	assert_int_equal(truncate(path, 5000), 0);
	refused("something else");
	assert_int_equal(truncate(path, 0), 0);
	k = must_open();		/* an empty one is a new one */
	assert_holds(k, "");
	vio_keep_close(k);
	scribble(0, "#", 1);
	refused("something else");
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	refused("choose a file");
	rmdir(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	refused("is not a file");
}

static void cut_short(void **state)
{
	struct vio_keep *k = must_open();
	unsigned char bytes[VIO_KEEP_BYTES];
	uint64_t version;

	(void)state;
	must_set(k, true, "one");
	assert_int_equal(truncate(path, 0), 0);
	k->ops->version(k);				/* SIGBUS, which is survived */
	assert_int_equal(k->ops->read(k, bytes, &version), 0);
	assert_int_equal(k->ops->update(k, true, set, "two"), EIO);
	vio_keep_close(k);
}

static void full(void **state)
{
	struct vio_keep *k = must_open();
	struct rlimit was, less = { SLOT_0 + 100, RLIM_INFINITY };

	(void)state;
	must_set(k, true, "one");	/* slot 0 */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	less.rlim_max = was.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
	assert_int_equal(k->ops->update(k, true, set, "two"), EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
	assert_holds(k, "one");
	must_set(k, true, "three");
	assert_holds(k, "three");
	vio_keep_close(k);
}

static void held(void **state)
{
	struct vio_keep *k = must_open();
	int fd = open(path, O_RDWR);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1 };

	(void)state;
	must_set(k, true, "one");
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &l), 0);
	assert_int_equal(k->ops->update(k, true, set, "two"), EBUSY);	/* who holds it for ever is not waited for */
	assert_holds(k, "one");
	close(fd);
	must_set(k, true, "two");
	vio_keep_close(k);
}

#define B(fn, sentence) { .name = (sentence), .test_func = (fn), .setup_func = begin }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		B(keeps, "what is kept is there again, in a file and in memory, and a change that is not wanted changes nothing"),
		B(the_most, "as many bytes as there may be"),
		B(two_of_one_process, "two of one process see each other, and who comes first knows it"),
		B(several_programs, "four programs count together, and what they read is always whole"),
		B(torn, "a write that was cut off leaves the state before it"),
		B(never_noted, "what was written counts, whether or not its writer lived to say so"),
		B(damaged, "what is damaged, or something else, is refused in words"),
		B(cut_short, "a file that somebody cuts short fails changes and ends nobody"),
		B(full, "a change that does not fit on the disk leaves the state before it"),
		B(held, "who holds the lock for ever is not waited for"),
	};
	if (!mkdtemp(folder))
		return 1;
	snprintf(path, sizeof path, "%s/keep", folder);
	int r = vio_tests("keep", tests, sizeof tests / sizeof *tests);
	unlink(path);
	rmdir(folder);
	return r;
}
