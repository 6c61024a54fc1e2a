/* Processes of devices: what they have and have not, how they die and are started again, and that they end with whoever started them. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <vio/device/blk.h>
#include <vio/driver/blk.h>
#include <vmm/isolate.h>
#include "../vhost/machine.h"

enum { RING = 32, FLIGHT = 8, BYTES = 4096 };
#define SECONDS(n) ((n) * UINT64_C(1000000000))

struct heard {
	struct machine m;		/* for its loop */
	unsigned died, started, given_up;
	int fd;
	char why[VIO_WHY];
	bool reconnects;
};

static void news(void *arg, enum vmm_isolate_news n, int fd, const char *why)
{
	struct heard *h = arg;
	char no[MACHINE_TEXT];

	h->died += n == VMM_ISOLATE_DIED;
	h->started += n == VMM_ISOLATE_STARTED;
	h->given_up += n == VMM_ISOLATE_GIVEN_UP;
	if (*why)
		snprintf(h->why, sizeof h->why, "%s", why);
	if (fd < 0)
		return;
	if (!h->reconnects)
		close(fd);
	else if (!vio_remote_again(h->m.remote, fd, no))
		snprintf(h->why, sizeof h->why, "%s", no);
}

static struct vmm_isolate *start(struct heard *h, struct vmm_isolate_options o)
{
	char why[VIO_WHY] = "";

	o.name = "blk0";
	o.loop = h->m.loop;
	o.news = news;
	o.arg = h;
	struct vmm_isolate *p = vmm_isolate_start(&o, &h->fd, why);
	if (!p)
		fail_msg("%s", why);
	return p;
}

static struct heard *begin(void)
{
	struct heard *h = calloc(1, sizeof *h);

	machine_begin(&h->m, true);
	return h;
}

static void end(struct heard *h)
{
	machine_end(&h->m);
	free(h);
}

#define ARGV(...) ((char *[]){ __VA_ARGS__, NULL })

/* ---- What it has ---- */

static void has_its_own(void **state)
{
	struct heard *h = begin();
	int open_to_all = fcntl(0, F_DUPFD, 300), kept = fcntl(0, F_DUPFD, 310);	/* no close-on-exec */
	char path[64];
	unsigned seen = 0;

	(void)state;
	assert_true(open_to_all >= 300 && kept >= 310);
	setenv("NOTIFY_SOCKET", "/nowhere", 1);
	setenv("VIO_TEST_WORD", "there", 1);
	struct vmm_isolate *p = start(h, (struct vmm_isolate_options){ .program = "/bin/sleep", .argv = ARGV("sleep", "100"), .keep = &kept, .keeps = 1 });
	snprintf(path, sizeof path, "/proc/%d/fd", vmm_isolate_pid(p));
	DIR *d = opendir(path);
	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d)); ) {
		if (*e->d_name == '.')
			continue;
		int fd = atoi(e->d_name);
		if (fd > 2 && fd != VMM_ISOLATE_FD && fd != kept)
			fail_msg("it has descriptor %d", fd);
		seen++;
	}
	closedir(d);
	assert_int_equal(seen, 5);
	char env[65536];
	snprintf(path, sizeof path, "/proc/%d/environ", vmm_isolate_pid(p));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, env, sizeof env);
	close(fd);
	assert_true(n > 0);
	assert_non_null(memmem(env, (size_t)n, "VIO_TEST_WORD=there", 19));
	assert_null(memmem(env, (size_t)n, "NOTIFY_SOCKET", 13));
	assert_false(vmm_isolate_end(p, SECONDS(1) / 20));	/* sleep does not look at its socket: it is asked, then ends */
	close(h->fd);
	close(open_to_all);
	close(kept);
	end(h);
}

static void refused(void **state)
{
	struct heard *h = begin();
	char why[VIO_WHY];
	int taken = VMM_ISOLATE_FD;
	struct vmm_isolate_options o = { .program = "/nowhere/at/all", .argv = ARGV("vio"), .name = "blk0", .loop = h->m.loop, .news = news, .arg = h };

	(void)state;
	assert_null(vmm_isolate_start(&o, &h->fd, why));
	assert_string_equal(why, "blk0: its process can't be started: No such file or directory");
	o.keep = &taken;
	o.keeps = 1;
	assert_null(vmm_isolate_start(&o, &h->fd, why));
	assert_non_null(strstr(why, "descriptor 255 is taken"));
	end(h);
}

/* ---- How it dies ---- */

static void says_how(void **state)
{
	static const struct { const char *script, *words; } rows[] = {
		{ "exit 3", "has ended with status 3, and no other is started" },
		{ "exit 0", "has ended with status 0, and no other is started" },
		{ "kill -9 $$", "was killed by signal 9 (Killed), and no other is started" },
		{ "kill -11 $$", "was killed by signal 11 (Segmentation fault), and no other is started" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct heard *h = begin();
		struct vmm_isolate *p = start(h, (struct vmm_isolate_options){ .program = "/bin/sh",
			.argv = ARGV("sh", "-c", (char *)(uintptr_t)rows[i].script) });
		assert_true(MACHINE_UNTIL(&h->m, h->given_up));
		if (!strstr(h->why, rows[i].words))
			fail_msg("\"%s\" does not say \"%s\"", h->why, rows[i].words);
		assert_int_equal(vmm_isolate_pid(p), -1);
		assert_true(vmm_isolate_end(p, 0));
		close(h->fd);
		end(h);
	}
}

static void not_too_often(void **state)
{
	struct heard *h = begin();

	(void)state;
	struct vmm_isolate *p = start(h, (struct vmm_isolate_options){ .program = "/bin/sh", .argv = ARGV("sh", "-c", "exit 1"), .restart = true });
	assert_true(MACHINE_UNTIL(&h->m, h->given_up));
	assert_int_equal(h->died, VMM_ISOLATE_RESTARTS);
	assert_int_equal(h->started, VMM_ISOLATE_RESTARTS);
	assert_non_null(strstr(h->why, "as 5 others have in the last 60 seconds, and no other is started"));
	assert_true(vmm_isolate_end(p, 0));
	close(h->fd);
	end(h);
}

static bool forbidden;			/* no more forks: as a confined machine */

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	errno = EPERM;
	return forbidden ? -1 : __real_fork();
}

/* What waits is started when nothing else can be, and holds nothing open that somebody waits for the end of. */
static void spares(void **state)
{
	struct heard *h = begin();
	int out[2];
	char byte;

	(void)state;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	struct vmm_isolate *p = start(h, (struct vmm_isolate_options){ .program = "/bin/sh", .argv = ARGV("sh", "-c", "exit 1"), .restart = true,
		.spares = 3 });
	forbidden = true;
	close(out[1]);
	struct pollfd f = { .fd = out[0], .events = POLLIN };
	assert_int_equal(poll(&f, 1, 10000), 1);
	assert_int_equal(read(out[0], &byte, 1), 0);
	assert_true(MACHINE_UNTIL(&h->m, h->given_up));
	forbidden = false;
	assert_int_equal(h->started, 3);
	assert_non_null(strstr(h->why, "has ended with status 1, as all others have that could be started, and no other is started"));
	assert_true(vmm_isolate_end(p, 0));
	close(h->fd);
	/* those that are not needed end too */
	p = start(h, (struct vmm_isolate_options){ .program = "/bin/cat", .argv = ARGV("cat"), .restart = true, .spares = 5 });
	close(h->fd);
	assert_true(vmm_isolate_end(p, SECONDS(5)));
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	close(out[0]);
	end(h);
}

/* ---- How it ends ---- */

static void stubborn(void **state)
{
	struct heard *h = begin();
	int out[2], kept = 9;		/* a shell names no descriptor of two digits */
	char byte;

	(void)state;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(dup2(out[1], kept), kept);
	struct vmm_isolate *p = start(h, (struct vmm_isolate_options){ .program = "/bin/sh", .keep = &kept, .keeps = 1,
		.argv = ARGV("sh", "-c", "trap '' TERM; echo >&9; while :; do :; done") });
	assert_int_equal(read(out[0], &byte, 1), 1);		/* the trap stands */
	assert_false(vmm_isolate_end(p, SECONDS(1) / 20));
	close(out[0]);
	close(out[1]);
	close(kept);
	assert_int_equal(h->given_up, 0);
	close(h->fd);
	end(h);
}

/* Whoever started it is killed: it hears of that by the signal alone. */
static void ends_with_the_machine(void **state)
{
	int out[2];
	pid_t device = 0;

	(void)state;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid_t parent = fork();
	assert_true(parent >= 0);
	if (!parent) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct heard *h = begin();
		struct vmm_isolate *p = start(h, (struct vmm_isolate_options){ .program = "/bin/sleep", .argv = ARGV("sleep", "100") });
		device = vmm_isolate_pid(p);
		(void)!write(out[1], &device, sizeof device);
		pause();
	}
	assert_int_equal(read(out[0], &device, sizeof device), sizeof device);
	struct pollfd f = { .fd = (int)syscall(SYS_pidfd_open, device, 0), .events = POLLIN };
	assert_true(f.fd >= 0);
	assert_int_equal(poll(&f, 1, 0), 0);
	kill(parent, SIGKILL);
	waitpid(parent, NULL, 0);
	assert_int_equal(poll(&f, 1, 10000), 1);
	close(f.fd);
	close(out[0]);
	close(out[1]);
}

/* ---- A device that is killed while it works ---- */

struct traffic {
	struct vio_blk blk;
	struct vio_drvq_slot slots[RING];
	struct vio_blk_request *request;
	unsigned char *data;
	unsigned next, done, count[400];
};

/* Kills whom it is told to: a confined machine may not. */
static int start_killer(void)
{
	int told[2];

	assert_int_equal(pipe2(told, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(told[0], 3);
		close_range(4, ~0U, 0);		/* copies of sockets whose end others wait for */
		told[0] = 3;
		for (int whom; read(told[0], &whom, sizeof whom) == sizeof whom; )
			kill(whom, SIGKILL);
		_exit(0);
	}
	close(told[0]);
	return told[1];
}

static void submit(struct traffic *t, unsigned i)
{
	struct vio_blk_request *r = &t->request[i];
	unsigned n = t->next++;

	*r = (struct vio_blk_request){ .type = VIO_BLK_T_OUT, .sector = n * (BYTES / VIO_BLK_SECTOR), .data = t->data + i * BYTES, .len = BYTES,
		.cookie = (void *)(uintptr_t)n };
	memset(r->data, (int)(n % 251) + 1, BYTES);
	assert_true(vio_blk_submit(&t->blk, 0, r));
}

static void drive(struct heard *h, struct traffic *t, struct vmm_isolate *p, int killer)
{
	const unsigned all = sizeof t->count / sizeof *t->count;
	uint64_t until = vio_now_ns() + SECONDS(20);
	unsigned kills = 0;

	for (unsigned i = 0; i < FLIGHT; i++)
		submit(t, i);
	vio_blk_kick(&t->blk, 0);
	while (t->done < all && vio_now_ns() < until) {
		struct vio_blk_request *r = vio_blk_poll(&t->blk, 0);
		if (!r) {
			machine_turn(&h->m);
			continue;
		}
		assert_int_equal(r->status, VIO_BLK_S_OK);
		t->count[(uintptr_t)r->cookie]++;
		t->done++;
		if (t->next < all)
			submit(t, (unsigned)(r - t->request));
		vio_blk_kick(&t->blk, 0);
		int whom = vmm_isolate_pid(p);
		if (t->done % 100 != 50 || kills == 3)
			continue;
		assert_int_equal(write(killer, &whom, sizeof whom), sizeof whom);
		kills++;
		assert_true(MACHINE_UNTIL(&h->m, h->started == kills));
	}
	if (t->done < all)
		fail_msg("%u of %u requests: %s; %s", t->done, all, h->why, h->m.why);
	assert_int_equal(kills, 3);
}

/* All of it, confined once the device runs, as a machine is. */
static void work(const char *image, bool packed, bool confined)
{
	struct heard *h = begin();
	struct machine *m = &h->m;
	struct traffic *t = calloc(1, sizeof *t);
	char option[64];

	snprintf(option, sizeof option, "--blk-file=%s", image);
	h->reconnects = true;
	struct vmm_isolate *p = start(h, (struct vmm_isolate_options){ .program = VIO_PROGRAM, .argv = ARGV("vio", "blk", "--fd=255", option),
		.restart = true, .spares = confined ? VMM_ISOLATE_RESTARTS : 0 });
	m->o.like = &vio_dev_blk;
	m->o.fd = h->fd;
	m->o.reconnect = true;
	if (machine_plug(m))
		fail_msg("%s", m->why);
	struct vio_blk_setup s = { .queues = 1, .queue_size = RING, .memory[0] = { .ring = machine_take(m, 0, VIO_DRVQ_RING_BYTES(RING)),
		.slots = t->slots } };
	m->wire.port.refuse = (struct vio_features){ { packed ? 0 : UINT64_C(1) << VIO_F_RING_PACKED, 0 } };
	t->request = machine_take(m, 1, FLIGHT * sizeof *t->request);
	t->data = machine_take(m, 0, FLIGHT * BYTES);
	if (!vio_blk_start(&t->blk, &m->wire.port, &s))
		fail_msg("%s", t->blk.drv.failed);
	assert_int_equal(vio_drv_has(&t->blk.drv, VIO_F_RING_PACKED), packed);
	struct vio_sandbox_options o = { .folders = 0 };
	int killer = start_killer();
	const char *lacks;
	vio_sandbox_calls(&o, vmm_isolate_calls);
	if (confined && !vio_sandbox_enter(&o, &lacks, h->why))
		fail_msg("%s", h->why);
	drive(h, t, p, killer);
	assert_true(MACHINE_UNTIL(m, h->started == 3 && m->back == 3));
	assert_int_equal(vio_dev_status(m->dev) & VIO_S_NEEDS_RESET, 0);
	for (unsigned n = 0; n < sizeof t->count / sizeof *t->count; n++)
		assert_int_equal(t->count[n], 1);
	machine_unplug(m);
	assert_true(vmm_isolate_end(p, SECONDS(5)));	/* by itself */
	close(killer);
	wait(NULL);
	end(h);
	free(t);
}

static int make_image(char *image)
{
	int fd = mkostemp(image, O_CLOEXEC);

	assert_int_equal(ftruncate(fd, 4 << 20), 0);
	return fd;
}

static void check_image(const char *image, int fd)
{
	for (unsigned n = 0; n < sizeof ((struct traffic *)0)->count / sizeof *((struct traffic *)0)->count; n++) {
		unsigned char bytes[BYTES];
		assert_int_equal(pread(fd, bytes, BYTES, (off_t)n * BYTES), BYTES);
		assert_true(bytes[0] == n % 251 + 1 && memcmp(bytes, bytes + 1, BYTES - 1) == 0);
	}
	close(fd);
	unlink(image);
}

static void killed_at_work(void **state)
{
	char image[] = "/tmp/vio-isolate-XXXXXX";
	int fd = make_image(image);

	work(image, *state, false);
	check_image(image, fd);
}

static void killed_confined(void **state)
{
	char image[] = "/tmp/vio-isolate-XXXXXX";
	int fd = make_image(image), status;

	(void)state;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		work(image, false, true);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status)
		fail_msg("the confined machine ended with status 0x%x", status);
	check_image(image, fd);
}

/* Killed for good: the driver learns that the device needs a reset. */
static void given_up(void **state)
{
	struct heard *h = begin();
	struct machine *m = &h->m;

	(void)state;
	struct vmm_isolate *p = start(h, (struct vmm_isolate_options){ .program = VIO_PROGRAM, .argv = ARGV("vio", "rng", "--fd=255") });
	m->o.like = vio_dev_type_named("rng");
	m->o.fd = h->fd;
	m->o.reconnect = true;
	if (machine_plug(m))
		fail_msg("%s", m->why);
	m->wire.port.ops->set_status(&m->wire.port, VIO_S_ACKNOWLEDGE);
	kill(vmm_isolate_pid(p), SIGKILL);
	assert_true(MACHINE_UNTIL(m, h->given_up && m->lost));
	vio_remote_give_up(m->remote, h->why);
	assert_true(vio_dev_status(m->dev) & VIO_S_NEEDS_RESET);
	assert_string_equal(m->dev->needs_reset, h->why);
	assert_int_equal(m->given_up, 1);
	machine_unplug(m);
	assert_true(vmm_isolate_end(p, 0));
	end(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(has_its_own, "it has its own descriptors and nothing that is the machine's"),
		T(refused, "a program that is not there, and a descriptor that is taken, are refused in a sentence"),
		T(says_how, "how it died is said in one sentence"),
		T(not_too_often, "one that dies again and again is given up"),
		T(spares, "a machine that can start nothing any more has some that wait"),
		T(stubborn, "one that does not end is killed"),
		T(ends_with_the_machine, "it ends when the machine is killed"),
		TS(killed_at_work, "a disk's process killed three times at work: every write answered once, and in the image: split", 0),
		TS(killed_at_work, "a disk's process killed three times at work: every write answered once, and in the image: packed", 1),
		T(killed_confined, "the same for a confined machine, by processes that wait"),
		T(given_up, "where no other process is started the device needs a reset"),
	};
	return vio_tests("isolate", tests, sizeof tests / sizeof *tests);
}
