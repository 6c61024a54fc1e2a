/*
 * The life of the daemons: sockets, images, locks, signals, confinement, growth, and a driver of ours that reads and writes.
 */
#include "program.h"
#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <vio/driver/blk.h>
#include <vio/driver/rng.h>
#include <vio/spec/device.h>
#include <vio/vhost/frontend.h>

enum { QUEUE = 16, MEMORY = 4 << 20, IMAGE = 1 << 20 };

static char folder[] = "/tmp/vio-life-XXXXXX";
static char socket_path[64], socket_arg[80], image[64], image_arg[80], second[64], second_arg[80];

/* ---- A guest: our front end and our block driver ---- */

struct guest {
	struct vio_vhost_memory memory;
	struct vio_vhost_front *front;
	struct vio_blk *blk;		/* and what follows lie in memory */
	struct vio_blk_request *request;
	unsigned char *data;
	struct vio_rng *rng;
};

static void *take(struct guest *g, size_t *at, size_t bytes)
{
	*at = (*at + 4095) & ~(size_t)4095;
	void *p = (char *)g->memory.base + *at;
	*at += bytes;
	assert_true(*at <= g->memory.size);
	return p;
}

static void guest_connect(struct guest *g, const char *path, int fd, uint32_t device)
{
	char why[512];
	memset(g, 0, sizeof *g);
	assert_true(vio_vhost_memory_make(&g->memory, MEMORY));
	g->front = vio_vhost_connect(&(struct vio_vhost_front_options){ .path = path, .fd = fd, .memory = &g->memory,
		.device_id = device }, why);
	if (!g->front)
		fail_msg("%s", why);
}

static void guest_start(struct guest *g, const char *path, int fd)
{
	size_t at = 0;
	guest_connect(g, path, fd, VIO_ID_BLK);
	g->blk = take(g, &at, sizeof *g->blk);
	g->request = take(g, &at, sizeof *g->request);
	g->data = take(g, &at, 65536);
	struct vio_blk_setup setup = { .queues = 1, .queue_size = QUEUE };
	setup.memory[0] = (struct vio_blk_queue_memory){ .ring = take(g, &at, VIO_DRVQ_RING_BYTES(QUEUE)),
		.slots = take(g, &at, QUEUE * sizeof(struct vio_drvq_slot)),
		.indirect = take(g, &at, QUEUE * VIO_BLK_DRV_INDIRECT * sizeof(struct vio_split_desc)) };
	if (!vio_blk_start(g->blk, vio_vhost_drv_port(g->front), &setup))
		fail_msg("%s", g->blk->drv.failed);
}

static void guest_end(struct guest *g)
{
	vio_vhost_disconnect(g->front);
	vio_vhost_memory_free(&g->memory);
}

static uint8_t guest_do(struct guest *g, uint32_t type, uint64_t sector, uint32_t len)
{
	g->request->type = type;
	g->request->sector = sector;
	g->request->data = len ? g->data : NULL;
	g->request->len = len;
	return vio_blk_do(g->blk, g->request);
}

/* ---- Images and sockets ---- */

static void make_image(const char *path, off_t size)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
	chmod(path, 0666);
}

static bool exists(const char *path) { return access(path, F_OK) == 0; }

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	memcpy(a.sun_path, path, strlen(path) + 1);
	return a;
}

static int listening(const char *path)
{
	struct sockaddr_un a = address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void expect_refusal(struct program *p, const char *format, const char *arg)
{
	char expected[512];
	snprintf(expected, sizeof expected, format, arg);
	program_run(p);
	if (p->status != 1 || strcmp(p->said, expected))
		fail_msg("status %d, said: %s", p->status, p->said);
}

#define BLK(...) { .args = { "blk", socket_arg, image_arg, "--verbose", __VA_ARGS__ } }

/* ---- Signals ---- */

static void ends_on(int signal)
{
	struct program p = BLK(NULL);
	struct guest g;
	program_start(&p);
	program_until(&p, "serving");
	assert_true(exists(socket_path));
	guest_start(&g, socket_path, -1);
	assert_int_equal(guest_do(&g, VIO_BLK_T_IN, 0, 512), VIO_BLK_S_OK);
	program_stop(&p, signal);
	assert_int_equal(p.status, 0);
	assert_string_equal(p.said, "vio-blk: serving\nvio-blk: a front end has connected\n"
	    "vio-blk: the driver has chosen its features\nvio-blk: the front end has gone\n");
	assert_false(exists(socket_path));
	guest_end(&g);
}

static void signals(void **state)
{
	(void)state;
	ends_on(SIGTERM);
	ends_on(SIGINT);
}

static void flushed(void **state)
{
	(void)state;
	struct program p = BLK("--serial=eleven", NULL);
	struct guest g;
	char found[512] = { 0 };
	program_start(&p);
	program_until(&p, "serving");
	guest_start(&g, socket_path, -1);
	memset(g.data, 0x5a, 4096);
	assert_int_equal(guest_do(&g, VIO_BLK_T_OUT, 8, 4096), VIO_BLK_S_OK);
	assert_int_equal(guest_do(&g, VIO_BLK_T_GET_ID, 0, VIO_BLK_ID_BYTES), VIO_BLK_S_OK);
	assert_string_equal((char *)g.data, "eleven");
	program_stop(&p, SIGTERM);
	guest_end(&g);
	assert_int_equal(p.status, 0);
	int fd = open(image, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, found, sizeof found, 4096), sizeof found);
	close(fd);
	assert_int_equal(found[0] & found[511], 0x5a);
}

/* ---- Sockets ---- */

static void stale(void **state)
{
	(void)state;
	close(listening(socket_path));
	assert_true(exists(socket_path));
	struct program p = BLK(NULL);
	program_start(&p);
	program_until(&p, "serving");
	struct guest g;
	guest_start(&g, socket_path, -1);
	guest_end(&g);
	program_stop(&p, SIGTERM);
	assert_int_equal(p.status, 0);
	assert_false(exists(socket_path));
}

static void live(void **state)
{
	(void)state;
	int fd = listening(socket_path);
	struct program p = BLK(NULL);
	expect_refusal(&p, "vio-blk: another process listens on %s: stop it or choose another socket path\n", socket_path);
	assert_true(exists(socket_path));
	close(fd);
	unlink(socket_path);
	make_image(socket_path, 10);
	expect_refusal(&p, "vio-blk: %s exists and is not a socket: remove it or choose another socket path\n", socket_path);
	assert_true(exists(socket_path));
	unlink(socket_path);
}

static void replaced_meanwhile(void **state)
{
	(void)state;
	struct program p = BLK(NULL);
	program_start(&p);
	program_until(&p, "serving");
	unlink(socket_path);
	int fd = listening(socket_path);
	program_stop(&p, SIGTERM);
	assert_int_equal(p.status, 0);
	assert_true(exists(socket_path));	/* another one's by now */
	close(fd);
	unlink(socket_path);
}

static void mode_and_group(void **state)
{
	(void)state;
	char group[40];
	snprintf(group, sizeof group, "--socket-group=%u", (unsigned)getgid());
	const struct { const char *option; mode_t mode; } rows[] = {
		{ NULL, 0600 }, { "--socket-mode=666", 0666 }, { "--socket-mode=0", 0 }, { group, 0660 },
	};
	umask(0077);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct program p = BLK(rows[i].option, NULL);
		struct stat st;
		program_start(&p);
		program_until(&p, "serving");
		assert_int_equal(lstat(socket_path, &st), 0);
		assert_int_equal(st.st_mode & 07777, rows[i].mode);
		assert_int_equal(st.st_gid, getgid());
		program_stop(&p, SIGTERM);
		assert_int_equal(p.status, 0);
	}
	struct program p = BLK("--socket-group=no-such-group", NULL);
	expect_refusal(&p, "vio-blk: there is no group no-such-group: give --socket-group one that there is\n", NULL);
	assert_false(exists(socket_path));
}

static void long_path(void **state)
{
	(void)state;
	struct program p = { .args = { "blk", image_arg,
		"--socket-path=/run/1234567890/1234567890/1234567890/1234567890/1234567890/1234567890/1234567890/1234567890/1234567890/1234567890" } };
	expect_refusal(&p, "vio-blk: the socket path /run/1234567890/1234567890/1234567890/1234567890/1234567890/... is 114 bytes long: "
	    "choose one of at most 107\n", NULL);
}

/* ---- Descriptors, --connect, --once ---- */

static void inherited_listening(void **state)
{
	(void)state;
	struct program p = { .args = { "blk", "--fd=9", image_arg, "--verbose" } };
	struct guest g;
	p.give_fd = listening(socket_path);
	program_start(&p);
	close(p.give_fd);
	for (unsigned i = 0; i < 2; i++) {	/* it may leave and come back */
		guest_start(&g, socket_path, -1);
		assert_int_equal(guest_do(&g, VIO_BLK_T_IN, 0, 512), VIO_BLK_S_OK);
		guest_end(&g);
	}
	program_stop(&p, SIGTERM);
	assert_int_equal(p.status, 0);
	assert_true(exists(socket_path));	/* not made here, so not removed */
	unlink(socket_path);
}

static void inherited_connected(void **state)
{
	(void)state;
	struct program p = { .args = { "blk", "--fd", "9", "--blk-file=ram:1M", "--verbose" } };
	struct guest g;
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	p.give_fd = pair[0];
	program_start(&p);
	close(pair[0]);
	guest_start(&g, NULL, pair[1]);
	assert_int_equal(guest_do(&g, VIO_BLK_T_IN, 0, 512), VIO_BLK_S_OK);
	guest_end(&g);
	program_end(&p);			/* the front end has gone */
	assert_int_equal(p.status, 0);
}

static void inherited_wrong(void **state)
{
	(void)state;
	struct program p = { .args = { "blk", "--fd=9", image_arg } };
	expect_refusal(&p, "vio-blk: descriptor 9 is not open: pass a Unix socket that the parent made\n", NULL);
	p.give_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	expect_refusal(&p, "vio-blk: descriptor 9 is not a Unix stream socket: pass one that listens or is connected\n", NULL);
	close(p.give_fd);
	p.give_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	expect_refusal(&p, "vio-blk: descriptor 9 is not a Unix stream socket: pass one that listens or is connected\n", NULL);
	close(p.give_fd);
	p.give_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	expect_refusal(&p, "vio-blk: descriptor 9 is a socket that neither listens nor is connected: call listen() on it first\n", NULL);
	close(p.give_fd);
}

static void connects(void **state)
{
	(void)state;
	struct program p = BLK("--connect", NULL);
	struct guest g;
	expect_refusal(&p, "vio-blk: nobody listens on %s: start the front end first, or leave out --connect\n", socket_path);
	int fd = listening(socket_path);
	program_start(&p);
	guest_start(&g, NULL, accept4(fd, NULL, NULL, SOCK_CLOEXEC));
	assert_int_equal(guest_do(&g, VIO_BLK_T_IN, 0, 512), VIO_BLK_S_OK);
	guest_end(&g);
	program_end(&p);
	assert_int_equal(p.status, 0);
	assert_true(exists(socket_path));	/* the front end's */
	close(fd);
	unlink(socket_path);
}

static void once(void **state)
{
	(void)state;
	struct program p = BLK("--once", NULL);
	struct guest g;
	program_start(&p);
	program_until(&p, "serving");
	guest_start(&g, socket_path, -1);
	guest_end(&g);
	program_end(&p);
	assert_int_equal(p.status, 0);
	assert_false(exists(socket_path));
}

/* ---- Images ---- */

static void bad_images(void **state)
{
	(void)state;
	struct program missing = { .args = { "blk", socket_arg, "--blk-file=/nonexistent/image" } };
	program_run(&missing);
	assert_int_equal(missing.status, 1);
	assert_non_null(strstr(missing.said, "vio-blk: "));
	assert_non_null(strstr(missing.said, "/nonexistent/image"));
	make_image(second, 1000);
	struct program odd = { .args = { "blk", socket_arg, second_arg } };
	program_run(&odd);
	assert_int_equal(odd.status, 1);
	assert_non_null(strstr(odd.said, "1000"));
	struct program directory = { .args = { "blk", socket_arg, "--blk-file=/tmp" } };
	program_run(&directory);
	assert_int_equal(directory.status, 1);
	assert_non_null(strstr(directory.said, "/tmp"));
	assert_false(exists(socket_path));
	unlink(second);
}

static void locks(void **state)
{
	(void)state;
	char other_socket[80];
	snprintf(other_socket, sizeof other_socket, "--socket-path=%s/other.sock", folder);
	struct program writer = BLK(NULL), reader = BLK("--read-only", NULL);
	struct program second_writer = { .args = { "blk", other_socket, image_arg, "--verbose" } };
	struct program second_reader = { .args = { "blk", other_socket, image_arg, "--verbose", "--read-only" } };

	program_start(&writer);
	program_until(&writer, "serving");
	program_run(&second_writer);
	assert_int_equal(second_writer.status, 1);
	assert_non_null(strstr(second_writer.said, image));
	program_run(&second_reader);
	assert_int_equal(second_reader.status, 1);
	program_stop(&writer, SIGTERM);

	program_start(&reader);
	program_until(&reader, "serving");
	program_run(&second_writer);
	assert_int_equal(second_writer.status, 1);
	program_start(&second_reader);
	program_until(&second_reader, "serving");
	program_stop(&second_reader, SIGTERM);
	assert_int_equal(second_reader.status, 0);
	program_stop(&reader, SIGTERM);
	assert_int_equal(reader.status, 0);
}

static uint64_t wait_for_capacity(struct guest *g, uint64_t sectors)
{
	struct pollfd f[VIO_VHOST_LOOK_FDS];
	int fds[VIO_VHOST_LOOK_FDS];
	for (;;) {
		assert_true(vio_vhost_look(g->front));
		if (vio_vhost_config_changed(g->front) && vio_blk_config_changed(g->blk) && g->blk->capacity == sectors)
			return g->blk->capacity;
		unsigned n = vio_vhost_look_fds(g->front, fds);
		for (unsigned i = 0; i < n; i++)
			f[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
		if (poll(f, n, PATIENCE_MS) <= 0)
			return g->blk->capacity;
	}
}

static void grows(void **state)
{
	(void)state;
	struct program p = BLK(NULL);
	struct guest g;
	program_start(&p);
	program_until(&p, "serving");
	guest_start(&g, socket_path, -1);
	assert_int_equal(g.blk->capacity, IMAGE / 512);
	int fd = open(image, O_WRONLY | O_CLOEXEC);
	assert_int_equal(ftruncate(fd, 2 * IMAGE), 0);
	close(fd);		/* which tells the daemon */
	assert_int_equal(wait_for_capacity(&g, 2 * IMAGE / 512), 2 * IMAGE / 512);
	assert_int_equal(guest_do(&g, VIO_BLK_T_IN, 2 * IMAGE / 512 - 1, 512), VIO_BLK_S_OK);
	assert_int_equal(truncate(image, 3 * IMAGE), 0);
	kill(p.pid, SIGHUP);	/* nobody closed a file */
	assert_int_equal(wait_for_capacity(&g, 3 * IMAGE / 512), 3 * IMAGE / 512);
	guest_end(&g);
	program_stop(&p, SIGTERM);
	assert_int_equal(p.status, 0);
	make_image(image, IMAGE);
}

static void several(void **state)
{
	(void)state;
	char other[64], other_arg[80];
	snprintf(other, sizeof other, "%s/other.sock", folder);
	snprintf(other_arg, sizeof other_arg, "--socket-path=%s", other);
	struct program p = { .args = { "blk", "--serial=all", "--verbose", socket_arg, image_arg, "--threads=2",
		other_arg, "--blk-file=ram:3M", "--serial=one", "--read-only" } };
	struct guest a, b;
	program_start(&p);
	program_until(&p, "other.sock: serving");
	guest_start(&a, socket_path, -1);
	guest_start(&b, other, -1);
	assert_int_equal(a.blk->capacity, IMAGE / 512);
	assert_int_equal(b.blk->capacity, (3 << 20) / 512);
	assert_false(a.blk->read_only);
	assert_true(b.blk->read_only);
	assert_int_equal(guest_do(&a, VIO_BLK_T_GET_ID, 0, VIO_BLK_ID_BYTES), VIO_BLK_S_OK);
	assert_int_equal(guest_do(&b, VIO_BLK_T_GET_ID, 0, VIO_BLK_ID_BYTES), VIO_BLK_S_OK);
	assert_string_equal((char *)a.data, "all");
	assert_string_equal((char *)b.data, "one");
	guest_end(&b);
	program_stop(&p, SIGTERM);
	assert_int_equal(p.status, 0);
	assert_false(exists(socket_path));
	assert_false(exists(other));
	guest_end(&a);
}

static void second_fails(void **state)
{
	(void)state;
	struct program p = { .args = { "blk", socket_arg, "--blk-file=null:1M", "--socket-path=/no/such/folder/s", "--blk-file=null:1M" } };
	expect_refusal(&p, "vio-blk: cannot make the socket /no/such/folder/s: No such file or directory; choose another socket path\n", NULL);
	assert_false(exists(socket_path));
}

static void entropy(void **state)
{
	(void)state;
	struct program p = { .args = { "rng", socket_arg, "--verbose" } };
	struct guest g;
	size_t at = 0;
	unsigned zeroes = 0;
	program_start(&p);
	program_until(&p, "serving");
	guest_connect(&g, socket_path, -1, VIO_ID_RNG);
	g.rng = take(&g, &at, sizeof *g.rng);
	g.data = take(&g, &at, 4096);
	assert_true(vio_rng_start(g.rng, vio_vhost_drv_port(g.front)));
	uint32_t n = vio_rng_read(g.rng, g.data, 256);
	assert_in_range(n, 1, 256);
	for (uint32_t i = 0; i < n; i++)
		zeroes += g.data[i] == 0;
	assert_true(n < 64 || zeroes < n / 8);
	program_stop(&p, SIGTERM);
	assert_int_equal(p.status, 0);
	guest_end(&g);
}

/* A driver that would take either kind of ring has this one: */
static void expect_ring(const char *option, bool packed)
{
	struct program p = { .args = { "rng", socket_arg, "--verbose", option } };
	struct guest g;
	size_t at = 0;
	program_start(&p);
	program_until(&p, "serving");
	guest_connect(&g, socket_path, -1, VIO_ID_RNG);
	g.rng = take(&g, &at, sizeof *g.rng);
	g.data = take(&g, &at, 4096);
	assert_true(vio_rng_start(g.rng, vio_vhost_drv_port(g.front)));
	assert_true(vio_drv_has(&g.rng->drv, VIO_F_RING_PACKED) == packed);
	assert_in_range(vio_rng_read(g.rng, g.data, 256), 1, 256);
	program_stop(&p, SIGTERM);
	assert_int_equal(p.status, 0);
	guest_end(&g);
}

static void rings(void **state)
{
	(void)state;
	expect_ring("--ring=any", true);
	expect_ring("--ring=split", false);
}

/* ---- Confinement ---- */

static void expect_status(pid_t pid, const char *tid, const char *line)
{
	char path[300], text[8192];
	snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)pid, tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	assert_true(n > 0);
	text[n] = 0;
	if (!strstr(text, line))
		fail_msg("no \"%s\" in %s", line, text);
}

/* Of every thread; how many there are. */
static unsigned expect_threads(pid_t pid, const char *line)
{
	char path[64];
	unsigned n = 0;
	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	DIR *tasks = opendir(path);
	assert_non_null(tasks);
	for (struct dirent *e; (e = readdir(tasks)) != NULL;)
		if (e->d_name[0] != '.') {
			expect_status(pid, e->d_name, line);
			n++;
		}
	closedir(tasks);
	return n;
}

static void confined_daemon(bool nobody)
{
	struct program p = BLK("--aio=threads", "--threads=2", NULL);
	struct guest g;
	p.nobody = nobody;
	program_start(&p);
	program_until(&p, "serving");
	expect_threads(p.pid, "\nCapEff:\t0000000000000000\n");
	expect_threads(p.pid, "\nNoNewPrivs:\t1\n");
	assert_true(expect_threads(p.pid, "\nSeccomp:\t2\n") >= 3);
	guest_start(&g, socket_path, -1);
	memset(g.data, 1, 512);
	assert_int_equal(guest_do(&g, VIO_BLK_T_OUT, 0, 512), VIO_BLK_S_OK);
	assert_int_equal(guest_do(&g, VIO_BLK_T_FLUSH, 0, 0), VIO_BLK_S_OK);
	assert_int_equal(guest_do(&g, VIO_BLK_T_IN, 0, 512), VIO_BLK_S_OK);
	program_stop(&p, SIGTERM);
	assert_int_equal(p.status, 0);
	assert_false(exists(socket_path));
	guest_end(&g);
}

static void confined(void **state)
{
	(void)state;
	confined_daemon(false);
	confined_daemon(true);
}

static void unconfined(void **state)
{
	(void)state;
	struct program p = BLK("--sandbox=none", NULL);
	struct guest g;
	program_start(&p);
	program_until(&p, "serving");
	assert_non_null(strstr(p.said, "vio-blk: WARNING: --sandbox=none"));
	expect_threads(p.pid, "\nSeccomp:\t0\n");
	guest_start(&g, socket_path, -1);
	assert_int_equal(guest_do(&g, VIO_BLK_T_IN, 0, 4096), VIO_BLK_S_OK);
	program_stop(&p, SIGTERM);	/* a sanitizer looks for leaks now, which it can't when confined */
	assert_int_equal(p.status, 0);
	guest_end(&g);
}

/* ---- All ---- */

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder) || chmod(folder, 0777))
		return -1;
	snprintf(socket_path, sizeof socket_path, "%s/d.sock", folder);
	snprintf(socket_arg, sizeof socket_arg, "--socket-path=%s", socket_path);
	snprintf(image, sizeof image, "%s/image", folder);
	snprintf(image_arg, sizeof image_arg, "--blk-file=%s", image);
	snprintf(second, sizeof second, "%s/second", folder);
	snprintf(second_arg, sizeof second_arg, "--blk-file=%s", second);
	make_image(image, IMAGE);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(image);
	return rmdir(folder);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(signals, "SIGTERM and SIGINT end a daemon with status 0 while a front end is connected, and the socket is gone"),
		T(flushed, "what was written is in the image, and the serial is told"),
		T(stale, "a socket nobody listens on is replaced"),
		T(live, "a socket somebody listens on, and a file, are refused and left alone"),
		T(replaced_meanwhile, "a socket that another process has put in the place is not removed"),
		T(mode_and_group, "the socket has the mode and group asked for, whatever the umask"),
		T(long_path, "a socket path that is too long is refused"),
		T(inherited_listening, "--fd takes a listening socket, and front ends come and go"),
		T(inherited_connected, "--fd takes a connected socket, and the daemon ends with the front end"),
		T(inherited_wrong, "--fd refuses what is no such socket"),
		T(connects, "--connect connects, or says that nobody listens, and ends with the front end"),
		T(once, "--once ends with the first front end"),
		T(bad_images, "an image that is missing, of half a block, or no file is refused before there is a socket"),
		T(locks, "an image has one writer or several readers"),
		T(grows, "growing the image tells the driver, at once or on SIGHUP {blk-dev-19 blk-dev-20 blk-drv-11; only us}"),
		T(several, "several disks in one process: options before the first hold for all, after it for one"),
		T(second_fails, "when the second device cannot be made, nothing is left of the first"),
		T(entropy, "vio rng gives random bytes"),
		T(rings, "--ring=split keeps the packed ring from a driver that would take it"),
		T(confined, "a daemon of root and one of nobody are confined, serve, and remove their socket"),
		T(unconfined, "--sandbox=none warns loudly"),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return _cmocka_run_group_tests("life", tests, sizeof tests / sizeof *tests, set_up, tear_down);
}
