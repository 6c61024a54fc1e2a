/*
 * Every device in a process of its own, with the real program: started as a machine would start it, a remote device in front of
 * it, and the drives of the bare guest (examples/guest), split and packed, on the wire that this is compiled for.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <vio/spec/fs.h>
#include <vmm/isolate.h>
#include "../vhost/machine.h"
#include "../../examples/guest/guest.h"

static char folder[] = "/tmp/vio-isolated-XXXXXX";

/* ---- What the drives need of their guest ---- */

static struct machine *m;		/* that they run in */
static size_t mark[2];
static unsigned turn, wrong;
static bool want_packed;
static char first_wrong[256];

/* Of one region and of the other in turn, so that a device's buffers lie in two files. */
void *guest_alloc(size_t bytes, size_t align)
{
	unsigned region = turn++ & 1;
	size_t at = (m->used[region] + align - 1) & ~(align - 1);

	m->used[region] = at + bytes;
	assert(m->used[region] <= MACHINE_REGION);
	return memset(m->region[region].host + at, 0, bytes);
}

uint64_t clock_ns(void) { return vio_now_ns(); }
const char *word(const char *name) { (void)name; return NULL; }
bool word_is(const char *name, const char *value) { (void)name, (void)value; return false; }
uint64_t word_number(const char *name, uint64_t otherwise) { (void)name; return otherwise; }
bool next_number(const char **text, uint64_t *n) { (void)text, (void)n; return false; }
void say(const char *format, ...) { (void)format; }

bool expect(bool ok, const char *format, ...)
{
	va_list a;

	va_start(a, format);
	if (!ok && !wrong++)
		vsnprintf(first_wrong, sizeof first_wrong, format, a);
	va_end(a);
	return ok;
}

void drive_features(const struct vio_drv *d)
{
	expect(vio_drv_has(d, VIO_F_RING_PACKED) == want_packed, "the ring is the one that was asked for");
}

/* ---- The host's part ---- */

static const char *in(const char *name)
{
	static char path[4][96];
	static unsigned n;
	char *p = path[n++ % 4];

	snprintf(p, sizeof path[0], "%s/%s", folder, name);
	return p;
}

static void make_file(const char *name, const char *text, off_t size)
{
	int fd = open(in(name), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_true(!size || ftruncate(fd, size) == 0);
	close(fd);
}

static int echo_listener;

/* Sends back what it gets, to one after another. */
static void *echo(void *arg)
{
	char bytes[256];

	(void)arg;
	for (int peer; (peer = accept(echo_listener, NULL, NULL)) >= 0; close(peer))
		for (ssize_t n; (n = read(peer, bytes, sizeof bytes)) > 0; )
			if (write(peer, bytes, (size_t)n) != n)
				break;
	return NULL;
}

static int begin_all(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	pthread_t thread;

	(void)state;
	if (!mkdtemp(folder) || mkdir(in("share"), 0700))
		return -1;
	make_file("disk", "", 4 << 20);
	make_file("scsi", "first of blocks\n", 1 << 20);
	make_file("share/hello", "read by a guest", 0);
	strcpy(a.sun_path, in("calls_5000"));
	echo_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return bind(echo_listener, (struct sockaddr *)&a, sizeof a) || listen(echo_listener, 4) || pthread_create(&thread, NULL, echo, NULL)
	    || pthread_detach(thread);
}

static int end_all(void **state)
{
	char command[128];

	(void)state;
	shutdown(echo_listener, SHUT_RDWR);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	return system(command);
}

/* ---- Each device ---- */

enum { WORDS = 8 };
struct device {
	const char *name;
	drive_fn *drive;
	const char *words[WORDS];	/* "=NAME" at the end: a file of the folder */
	const char *file, *holds;	/* afterwards; NULL: nothing is looked at */
};

static const struct device devices[] = {
	{ "balloon", drive_balloon, { NULL } },
	{ "blk", drive_blk, { "--blk-file=@disk" }, "disk", NULL },
	{ "console", drive_console, { "--port=c,file=@out,console" }, "out", "a line of the guest\n" },
	{ "fs", drive_fs, { "--shared-dir=@share", "--tag=shared" } },
	{ "input", drive_input, { "--kind=keyboard" } },
	{ "net", drive_net, { "--backend=user" } },
	{ "rng", drive_rng, { NULL } },
	{ "scsi", drive_scsi, { "--lun=0:0,file=@scsi" } },
	{ "vsock", drive_vsock, { "--guest-cid=7", "--uds-path=@calls" } },
};

static void news(void *arg, enum vmm_isolate_news n, int fd, const char *why)
{
	(void)n, (void)fd;
	snprintf(arg, MACHINE_TEXT, "%s", why);
}

/* Its words, with files in the folder. */
static unsigned make_argv(const struct device *d, char **argv, char text[][160])
{
	unsigned n = 0;

	argv[n++] = (char *)(uintptr_t)"vio";
	argv[n++] = (char *)(uintptr_t)d->name;
	argv[n++] = (char *)(uintptr_t)"--fd=255";
	for (unsigned i = 0; d->words[i]; i++) {
		const char *at = strchr(d->words[i], '@');
		if (at)
			snprintf(text[i], 160, "%.*s%s/%s", (int)(at - d->words[i]), d->words[i], folder, at + 1);
		else
			snprintf(text[i], 160, "%s", d->words[i]);
		argv[n++] = text[i];
	}
	argv[n] = NULL;
	return n;
}

static void drive(const struct device *d, bool packed)
{
	char text[WORDS][160], *argv[WORDS + 4], said[MACHINE_TEXT] = "", why[MACHINE_TEXT] = "";
	struct machine machine;

	make_argv(d, argv, text);
	m = &machine;
	machine_begin(m, true);
	m->o.like = vio_dev_type_named(d->name);
	struct vmm_isolate_options o = { .program = VIO_PROGRAM, .argv = argv, .name = d->name, .loop = m->loop, .news = news, .arg = said };
	struct vmm_isolate *p = vmm_isolate_start(&o, &m->o.fd, why);
	if (!p)
		fail_msg("%s", why);
	const char *no = machine_plug(m);
	for (unsigned i = 0; no && i < 200 && !*said; i++)
		machine_turn(m);
	if (no)
		fail_msg("%s: %s %s", d->name, no, said);
	wrong = 0;
	want_packed = packed;
	for (unsigned round = 0; round < 2; round++) {	/* a driver that has stopped may start again */
		struct vio_drv_port *port = &m->wire.port;
		memcpy(mark, m->used, sizeof mark);
		port->refuse = (struct vio_features){ { packed ? 0 : UINT64_C(1) << VIO_F_RING_PACKED, 0 } };
		d->drive(port);
		memcpy(m->used, mark, sizeof mark);
		if (wrong)
			fail_msg("%s, %s, round %u: not so: %s (%s%s)", d->name, packed ? "packed" : "split", round, first_wrong, said, m->why);
	}
	assert_int_equal(m->lost, 0);
	machine_unplug(m);
	assert_true(vmm_isolate_end(p, UINT64_C(5000000000)));	/* by itself */
	machine_end(m);
}

static bool file_holds(const char *name, const char *text)
{
	char bytes[256];
	int fd = open(in(name), O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, bytes, sizeof bytes - 1);

	close(fd);
	bytes[n < 0 ? 0 : n] = 0;
	return strstr(bytes, text) != NULL;
}

/* ---- Back ends that were not written here ---- */

static pid_t start_other(char **argv)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

/* Until somebody listens there, or its process has ended. */
static bool listens(const char *path, pid_t pid)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strcpy(a.sun_path, path);
	for (unsigned i = 0; i < 1000 && waitpid(pid, NULL, WNOHANG) == 0; i++) {
		if (access(path, F_OK) == 0)
			return true;
		usleep(10000);
	}
	return false;
}

static void other(const char *name, drive_fn *fn, char **argv, const char *socket_path)
{
	const struct vio_fs_config fs = { .tag = "shared", .num_request_queues = vio_le32_of(1) };
	struct machine machine;

	if (access(argv[0], X_OK))
		SKIP_BECAUSE("it is not installed");
	pid_t pid = start_other(argv);
	if (!listens(socket_path, pid))
		SKIP_BECAUSE("it does not start here");
	m = &machine;
	machine_begin(m, true);
	m->o.like = vio_dev_type_named(name);
	m->o.path = socket_path;
	m->o.config = &fs;
	m->o.config_bytes = sizeof fs;
	const char *no = machine_plug(m);
	if (no)
		fail_msg("%s", no);
	wrong = 0;
	want_packed = false;
	for (unsigned round = 0; round < 2; round++) {
		memcpy(mark, m->used, sizeof mark);
		fn(&m->wire.port);
		memcpy(m->used, mark, sizeof mark);
		if (wrong)
			fail_msg("%s, round %u: not so: %s; %s", name, round, first_wrong, m->why);
	}
	machine_end(m);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void storage_daemon(void **state)
{
	char blockdev[160], export[200];

	(void)state;
	snprintf(blockdev, sizeof blockdev, "driver=file,node-name=d,filename=%s/disk", folder);
	snprintf(export, sizeof export, "type=vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,addr.path=%s/qsd", folder);
	other("blk", drive_blk, (char *[]){ "/usr/bin/qemu-storage-daemon", "--blockdev", blockdev, "--export", export, NULL }, in("qsd"));
}

static void virtiofsd(void **state)
{
	char path[160], source[160];

	(void)state;
	snprintf(path, sizeof path, "--socket-path=%s/vfs", folder);
	snprintf(source, sizeof source, "source=%s/share,sandbox=chroot", folder);
	other("fs", drive_fs, (char *[]){ "/usr/lib/qemu/virtiofsd", path, "-o", source, "-f", NULL }, in("vfs"));
}

static void test(void **state)
{
	const struct device *d = *state;

	drive(d, false);
	drive(d, true);
	if (d->holds)
		assert_true(file_holds(d->file, d->holds));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define ONE(i, type) { .name = type " in a process of its own: split and packed, started twice", .test_func = test, \
		.initial_state = (void *)(uintptr_t)&devices[i] }
		ONE(0, "balloon"), ONE(1, "blk"), ONE(2, "console"), ONE(3, "fs"), ONE(4, "input"), ONE(5, "net"), ONE(6, "rng"), ONE(7, "scsi"),
		ONE(8, "vsock"),
		T(storage_daemon, "a disk of qemu-storage-daemon's"),
		T(virtiofsd, "a folder of virtiofsd's, whose tag is told here"),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("isolated-types", tests, begin_all, end_all);
}
