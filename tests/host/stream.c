/* Streams of this host: every end reads, writes, waits, goes and comes back; and the twins. */
#include <vio/host/stream.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <tests/test.h>

#define PATIENCE_NS UINT64_C(20000000000)

struct rig {
	struct vio_loop *loop;
	struct vio_stream *s;
	unsigned seen, until;		/* VIO_STREAM_* told; those that end a run */
	char folder[64], path[128];
	bool late;
};

static void on_ready(void *arg, unsigned what)
{
	struct rig *r = arg;

	r->seen |= what;
	if (r->seen & r->until)
		vio_loop_quit(r->loop);
}

static void too_late(void *arg)
{
	((struct rig *)arg)->late = true;
	vio_loop_quit(((struct rig *)arg)->loop);
}

static void use(struct rig *r, struct vio_stream *s, const char *why)
{
	if (!s)
		fail_msg("%s", why);
	r->s = s;
	s->ready = on_ready;
	s->arg = r;
}

static struct rig rig_new(const char *name)
{
	struct rig r = { .loop = vio_loop_new(), .folder = "/tmp/vio-stream-XXXXXX" };

	assert_non_null(mkdtemp(r.folder));
	snprintf(r.path, sizeof r.path, "%s/%s", r.folder, name);
	return r;
}

static void rig_end(struct rig *r)
{
	vio_stream_close(r->s);
	vio_loop_free(r->loop);
	unlink(r->path);
	if (rmdir(r->folder))
		fail_msg("something is left in %s", r->folder);
}

/* Until one of what is told; what was told before counts unless it was forgotten. */
static void wait_for(struct rig *r, unsigned what)
{
	struct vio_timer end = { .fn = too_late, .arg = r };

	r->until = what;
	if (!(r->seen & what)) {
		vio_loop_timer(r->loop, &end, vio_now_ns() + PATIENCE_NS);
		vio_loop_run(r->loop);
		vio_loop_untimer(r->loop, &end);
	}
	assert_false(r->late);
	r->seen &= ~what;
}

/* Everything that is due now, and nothing that is not. */
static void stop(void *arg) { vio_loop_quit(arg); }
static void quiet_for(struct rig *r, unsigned ms)
{
	struct vio_timer end = { .fn = stop, .arg = r->loop };

	r->until = 0;
	vio_loop_timer(r->loop, &end, vio_now_ns() + ms * UINT64_C(1000000));
	vio_loop_run(r->loop);
}

static long get(struct rig *r, void *to, size_t n)
{
	struct vio_seg seg[2] = { { to, 1 }, { (char *)to + 1, n - 1 } };
	struct vio_cur c = { .seg = seg, .left = n };
	long got = r->s->ops->read(r->s, &c);

	assert_int_equal(c.done, got > 0 ? got : 0);
	return got;
}

static long put(struct rig *r, const void *from, size_t n)
{
	struct vio_seg seg = { (void *)(uintptr_t)from, n };
	struct vio_cur c = { .seg = &seg, .left = n };
	long sent = r->s->ops->write(r->s, &c);

	assert_int_equal(c.done, sent > 0 ? sent : 0);
	return sent;
}

/* "hello" arrives, and is waited for. */
static void hears(struct rig *r, int world)
{
	char got[16];

	assert_int_equal(get(r, got, sizeof got), VIO_STREAM_NONE);
	assert_int_equal(write(world, "hello", 5), 5);
	wait_for(r, VIO_STREAM_READ);
	assert_int_equal(get(r, got, sizeof got), 5);
	assert_memory_equal(got, "hello", 5);
	assert_int_equal(get(r, got, sizeof got), VIO_STREAM_NONE);
}

static void world_hears(struct rig *r, int world)
{
	char got[16];

	assert_int_equal(put(r, "answer", 6), 6);
	assert_int_equal(read(world, got, sizeof got), 6);
	assert_memory_equal(got, "answer", 6);
}

/* Fill it until it takes no more; then every byte comes out, and it is told that there is room. */
static void fills_up(struct rig *r, int world)
{
	static char many[65536], got[65536];
	uint64_t in = 0, out = 0;
	long n;

	while ((n = put(r, many, sizeof many)) > 0)
		in += (uint64_t)n;
	assert_int_equal(n, VIO_STREAM_NONE);
	r->seen = 0;
	fcntl(world, F_SETFL, O_NONBLOCK);
	while ((n = read(world, got, sizeof got)) > 0)
		out += (uint64_t)n;
	wait_for(r, VIO_STREAM_WRITE);
	assert_int_equal(out, in);
	fcntl(world, F_SETFL, 0);
}

/* While paused nothing is told; afterwards what came meanwhile is. */
static void pauses(struct rig *r, int world)
{
	char got[16];

	assert_int_equal(get(r, got, sizeof got), VIO_STREAM_NONE);
	r->s->ops->pause(r->s, true);
	r->seen = 0;
	assert_int_equal(write(world, "later", 5), 5);
	quiet_for(r, 30);
	assert_int_equal(r->seen, 0);
	r->s->ops->pause(r->s, false);
	wait_for(r, VIO_STREAM_READ);
	assert_int_equal(get(r, got, sizeof got), 5);
	assert_int_equal(get(r, got, sizeof got), VIO_STREAM_NONE);
}

static int dial(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static int answer_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a) | listen(fd, 4), 0);
	return fd;
}

static void a_socket_listens(void **state)
{
	struct rig r = rig_new("s");
	char why[512] = "", got[16];

	(void)state;
	use(&r, vio_stream_listen(r.loop, r.path, why), why);
	assert_false(r.s->open);
	assert_int_equal(put(&r, "x", 1), VIO_STREAM_END);
	assert_int_equal(get(&r, got, 4), VIO_STREAM_END);
	int a = dial(r.path), b = dial(r.path);		/* b waits until a has gone */
	wait_for(&r, VIO_STREAM_CHANGED);
	assert_true(r.s->open);
	hears(&r, a);
	world_hears(&r, a);
	fills_up(&r, a);
	pauses(&r, a);
	assert_int_equal(write(b, "me too", 6), 6);
	assert_int_equal(write(a, "last", 4), 4);
	close(a);
	wait_for(&r, VIO_STREAM_READ);
	assert_int_equal(get(&r, got, 16), 4);		/* not a byte is lost */
	assert_int_equal(get(&r, got, 16), VIO_STREAM_END);
	wait_for(&r, VIO_STREAM_CHANGED);
	if (!r.s->open)		/* closed, then b */
		wait_for(&r, VIO_STREAM_CHANGED);
	assert_true(r.s->open);
	assert_int_equal(get(&r, got, 16), 6);
	assert_memory_equal(got, "me too", 6);
	/* paused, nothing to read: it is noticed all the same that the peer goes */
	r.s->ops->pause(r.s, true);
	close(b);
	wait_for(&r, VIO_STREAM_CHANGED);
	assert_false(r.s->open);
	/* and with something to read it stays until that is read */
	r.s->ops->pause(r.s, false);
	a = dial(r.path);
	wait_for(&r, VIO_STREAM_CHANGED);
	r.s->ops->pause(r.s, true);
	assert_int_equal(write(a, "will", 4), 4);
	close(a);
	quiet_for(&r, 30);
	assert_true(r.s->open);
	r.s->ops->pause(r.s, false);
	wait_for(&r, VIO_STREAM_READ);
	assert_int_equal(get(&r, got, 16), 4);
	rig_end(&r);
}

/* A peer that has only shut down its sending side still listens. */
static void half_a_socket(void **state)
{
	struct rig r = rig_new("s");
	char why[512] = "", got[16];

	(void)state;
	use(&r, vio_stream_listen(r.loop, r.path, why), why);
	int a = dial(r.path);
	wait_for(&r, VIO_STREAM_CHANGED);
	shutdown(a, SHUT_WR);
	assert_int_equal(get(&r, got, 16), VIO_STREAM_END);
	quiet_for(&r, 20);
	assert_true(r.s->open);
	world_hears(&r, a);
	close(a);
	wait_for(&r, VIO_STREAM_CHANGED);
	assert_false(r.s->open);
	rig_end(&r);
}

static void a_socket_connects_again(void **state)
{
	struct rig r = rig_new("s");
	char why[512] = "";

	(void)state;
	use(&r, vio_stream_connect(r.loop, r.path, why), why);
	assert_true(vio_stream_reconnects(r.s));
	assert_false(r.s->open);	/* nobody there: that is no mistake */
	for (unsigned i = 0; i < 2; i++) {
		int listener = answer_at(r.path);
		wait_for(&r, VIO_STREAM_CHANGED);
		assert_true(r.s->open);
		int a = accept(listener, NULL, NULL);
		hears(&r, a);
		world_hears(&r, a);
		close(listener);
		unlink(r.path);
		close(a);
		wait_for(&r, VIO_STREAM_CHANGED);
		assert_false(r.s->open);
	}
	rig_end(&r);
}

static void a_terminal_opens_and_closes(void **state)
{
	struct rig r = rig_new("tty");
	char why[512] = "", got[8];
	const struct winsize size = { .ws_col = 132, .ws_row = 43 };

	(void)state;
	use(&r, vio_stream_pty(r.loop, r.path, why), why);
	assert_int_equal(strncmp(vio_stream_where(r.s), "/dev/pts/", 9), 0);
	assert_false(r.s->open);
	for (unsigned i = 0; i < 2; i++) {
		int user = open(r.path, O_RDWR | O_NOCTTY);
		assert_true(user >= 0);
		wait_for(&r, VIO_STREAM_CHANGED);
		assert_true(r.s->open);
		hears(&r, user);
		world_hears(&r, user);
		pauses(&r, user);
		if (i == 0) {
			assert_int_equal(ioctl(user, TIOCSWINSZ, &size), 0);
			wait_for(&r, VIO_STREAM_CHANGED);
		}
		assert_int_equal(r.s->columns * 1000 + r.s->rows, 132043);
		assert_int_equal(get(&r, got, 8), VIO_STREAM_NONE);
		close(user);
		wait_for(&r, VIO_STREAM_CHANGED | VIO_STREAM_READ);
		while (r.s->open) {
			assert_int_equal(get(&r, got, 8), VIO_STREAM_END);
			wait_for(&r, VIO_STREAM_CHANGED);
		}
		r.seen = 0;
	}
	quiet_for(&r, 30);		/* nobody there: nothing to do */
	assert_int_equal(r.seen, 0);
	rig_end(&r);
}

static void a_file_takes_everything(void **state)
{
	struct rig r = rig_new("log");
	char why[512] = "", got[32] = "";

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		use(&r, vio_stream_file(r.loop, r.path, why), why);
		assert_true(r.s->open);
		assert_int_equal(put(&r, "line\n", 5), 5);
		assert_int_equal(get(&r, got, 8), VIO_STREAM_END);
		assert_true(r.s->open);
		vio_stream_close(r.s);
	}
	int fd = open(r.path, O_RDONLY);
	assert_int_equal(read(fd, got, sizeof got), 10);	/* appended */
	assert_memory_equal(got, "line\nline\n", 10);
	close(fd);
	use(&r, vio_stream_file(r.loop, "/dev/full", why), why);
	assert_int_equal(put(&r, "line\n", 5), VIO_STREAM_END);	/* lost, and the next one is tried */
	quiet_for(&r, 10);
	assert_true(r.s->open);
	rig_end(&r);
}

static void pipes_stay(void **state)
{
	struct rig r = rig_new("p");
	char why[512] = "", in[160], out[160];

	(void)state;
	snprintf(in, sizeof in, "%s.in", r.path);
	snprintf(out, sizeof out, "%s.out", r.path);
	use(&r, vio_stream_pipe(r.loop, r.path, why), why);
	for (unsigned i = 0; i < 2; i++) {	/* who is at the other end may go and come */
		int to = open(in, O_WRONLY), from = open(out, O_RDONLY);
		hears(&r, to);
		world_hears(&r, from);
		fills_up(&r, from);
		close(to);
		close(from);
		assert_true(r.s->open);
	}
	unlink(in);
	unlink(out);
	rig_end(&r);
}

static void a_descriptor_becomes_a_stream(void **state)
{
	struct rig r = rig_new("f");
	char why[512] = "", got[8];
	int pair[2], ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	use(&r, vio_stream_fd(r.loop, pair[0], why), why);
	hears(&r, pair[1]);
	world_hears(&r, pair[1]);
	close(pair[1]);
	wait_for(&r, VIO_STREAM_READ | VIO_STREAM_CHANGED);
	get(&r, got, 8);
	quiet_for(&r, 10);
	assert_false(r.s->open);	/* for good */
	vio_stream_close(r.s);
	use(&r, vio_stream_fd(r.loop, answer_at(r.path), why), why);
	r.seen = 0;
	int a = dial(r.path);
	wait_for(&r, VIO_STREAM_CHANGED);
	hears(&r, a);
	close(a);
	vio_stream_close(r.s);
	assert_int_equal(pipe(ends), 0);
	use(&r, vio_stream_fd(r.loop, ends[1], why), why);
	world_hears(&r, ends[0]);
	assert_int_equal(get(&r, got, 8), VIO_STREAM_END);
	close(ends[0]);
	rig_end(&r);
}

static void refusals_say_why(void **state)
{
	struct vio_loop *l = vio_loop_new();
	char why[512], path[200];
	int fd;

	(void)state;
	memset(path, 'x', sizeof path);
	path[199] = 0;
	assert_null(vio_stream_connect(l, path, why));
	assert_non_null(strstr(why, "choose one of at most"));
	assert_null(vio_stream_listen(l, "/no/such/folder/s", why));
	assert_non_null(strstr(why, "choose another socket path"));
	assert_null(vio_stream_file(l, "/tmp", why));
	assert_non_null(strstr(why, "choose a file"));
	assert_null(vio_stream_pipe(l, "/no/such/folder/p", why));
	assert_non_null(strstr(why, "choose a folder"));
	assert_null(vio_stream_pty(l, "/no/such/folder/l", why));
	assert_non_null(strstr(why, "choose another path"));
	assert_null(vio_stream_fd(l, 999, why));
	assert_non_null(strstr(why, "not open"));
	fd = open("/tmp", O_RDONLY);
	assert_null(vio_stream_fd(l, fd, why));
	assert_non_null(strstr(why, "neither a socket"));
	fd = open("/proc/self/exe", O_RDONLY);
	assert_null(vio_stream_fd(l, fd, why));
	assert_non_null(strstr(why, "can't be written"));
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_null(vio_stream_fd(l, fd, why));
	assert_non_null(strstr(why, "SOCK_STREAM"));
	vio_loop_free(l);
}

/* ---- Standard input and output: in a child, for they are the test's own ---- */

static bool quitting;
static void quit_key(void *arg)
{
	quitting = true;
	vio_loop_quit(arg);
}

/* What is typed before the end, and what of it is the stream's. */
struct typing { bool prefixed; const char *typed, *end, *got; };

static int child(int terminal, const struct typing *t)
{
	char why[512];
	struct rig r = { .loop = vio_loop_new() };

	dup2(terminal, 0);
	dup2(terminal, 1);
	r.s = (t->prefixed ? vio_stream_stdio_prefixed : vio_stream_stdio)(r.loop, quit_key, r.loop, why);
	if (!r.s || !r.s->open)
		return 2;
	r.s->ready = on_ready;
	r.s->arg = &r;
	if (put(&r, "ready", 5) != 5)
		return 3;
	char got[16];
	long n = 0, k;
	while (n < 3) {		/* as typed: raw, so that no line must end */
		k = get(&r, got + n, 16 - (size_t)n);
		if (k < 0)
			return 4;
		n += k;
		if (k == 0) {
			r.until = VIO_STREAM_READ;
			vio_loop_run(r.loop);
		}
	}
	if (memcmp(got, t->got, 3))
		return 5;
	while (r.s->columns != 77) {
		r.until = VIO_STREAM_CHANGED;
		vio_loop_run(r.loop);
	}
	if (put(&r, "sized", 5) != 5)
		return 6;
	while (!quitting) {
		r.until = VIO_STREAM_READ;
		r.seen = 0;
		if (get(&r, got, 16) == 0 && !quitting)
			vio_loop_run(r.loop);
	}
	vio_stream_close(r.s);
	return 0;
}

static void read_words(int fd, const char *words)
{
	char got[16];
	size_t n = 0;

	while (n < strlen(words)) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (poll(&p, 1, 20000) != 1)
			fail_msg("\"%s\" does not come", words);
		ssize_t k = read(fd, got + n, strlen(words) - n);
		assert_true(k > 0);
		n += (size_t)k;
	}
	assert_memory_equal(got, words, n);
}

static const struct typing bracket = { false, "abc", "\x1d", "abc" };
/* Ctrl-A twice is Ctrl-A, Ctrl-] a key like others, and Ctrl-A before another key is lost. */
static const struct typing prefix = { true, "\x01\x01\x01\x1d\x01" "c", "\x01x", "\x01\x1d" "c" };

static void a_terminal_of_ours(void **state)
{
	const struct typing *t = *state;
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), status;
	struct termios before, after;
	char name[64];

	assert_int_equal(grantpt(master) | unlockpt(master) | ptsname_r(master, name, sizeof name), 0);
	int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_int_equal(tcgetattr(slave, &before), 0);
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		ioctl(slave, TIOCSCTTY, 0);	/* so that SIGWINCH comes */
		_exit(child(slave, t));
	}
	read_words(master, "ready");
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_false(after.c_lflag & (ICANON | ECHO | ISIG));
	assert_int_equal(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);	/* others who share it see no difference */
	assert_int_equal(write(master, t->typed, strlen(t->typed)), strlen(t->typed));
	const struct winsize size = { .ws_col = 77, .ws_row = 21 };
	assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
	read_words(master, "sized");
	assert_int_equal(write(master, t->end, strlen(t->end)), strlen(t->end));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_memory_equal(&after.c_lflag, &before.c_lflag, sizeof after.c_lflag);
	close(slave);
	close(master);
}

static void a_file_goes_on(void **state)
{
	int file = memfd_create("out", MFD_CLOEXEC), in[2], status;
	char got[32] = "";

	(void)state;
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(write(file, "before ", 7), 7);
	pid_t pid = fork();
	if (pid == 0) {
		char why[512];
		struct rig r = { .loop = vio_loop_new() };
		dup2(in[0], 0);
		dup2(file, 1);
		r.s = vio_stream_stdio(r.loop, quit_key, r.loop, why);
		if (!r.s || put(&r, "ours ", 5) != 5)
			_exit(1);
		vio_stream_close(r.s);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(write(file, "after", 5), 5);
	assert_int_equal(pread(file, got, sizeof got, 0), 17);
	assert_string_equal(got, "before ours after");
	close(file);
	close(in[0]);
	close(in[1]);
}

/* ---- The twins ---- */

static void the_twins(void **state)
{
	struct vio_stream *s[2];
	struct rig a = { .loop = vio_loop_new() }, b = a;
	char got[16];

	(void)state;
	assert_true(vio_stream_pair(s, 8));
	use(&a, s[0], "");
	use(&b, s[1], "");
	assert_int_equal(get(&a, got, 16), VIO_STREAM_NONE);
	assert_int_equal(put(&b, "0123456789", 10), 8);
	assert_int_equal(a.seen, VIO_STREAM_READ);
	assert_int_equal(put(&b, "89", 2), VIO_STREAM_NONE);
	assert_int_equal(get(&a, got, 5), 5);
	assert_int_equal(b.seen, VIO_STREAM_WRITE);
	assert_int_equal(put(&b, "89", 2), 2);
	assert_int_equal(get(&a, got, 16), 5);
	assert_memory_equal(got, "56789", 5);
	struct vio_stream_faults faults = { .short_every = 2, .late_every = 3, .end_every = 7 };
	struct rig f = { .loop = a.loop };
	use(&f, vio_stream_faulty(s[0], &faults), "");
	const long expected[] = { 4, 1, 0, 1, 4, 0, -1 };
	for (unsigned i = 0; i < 7; i++) {
		assert_int_equal(put(&f, "wxyz", 4), expected[i]);
		get(&b, got, 16);
	}
	f.seen = 0;
	vio_stream_faulty_release(f.s);
	assert_int_equal(f.seen, VIO_STREAM_WRITE);
	b.seen = 0;
	vio_stream_close(f.s);
	assert_int_equal(b.seen, VIO_STREAM_CHANGED);
	assert_false(b.s->open);
	assert_int_equal(put(&b, "x", 1), VIO_STREAM_END);
	vio_stream_close(b.s);
	vio_loop_free(a.loop);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(a_socket_listens, "a listening socket serves one peer after another, and loses no byte of any"),
		T(half_a_socket, "a peer that has shut down its sending side is still written to"),
		T(a_socket_connects_again, "a connecting socket connects as soon as somebody listens, and again"),
		T(a_terminal_opens_and_closes, "a new terminal is open while somebody has it open, and tells its size"),
		T(a_file_takes_everything, "a file is appended to; one that is full loses bytes and stays"),
		T(pipes_stay, "named pipes outlive who is at their other end"),
		T(a_descriptor_becomes_a_stream, "sockets, listening ones and pipes that are handed over become streams"),
		T(refusals_say_why, "what can't be a stream is refused in a sentence"),
		TS(a_terminal_of_ours, "standard input becomes raw, follows SIGWINCH, ends by Ctrl-], and is as before at the end", &bracket),
		TS(a_terminal_of_ours, "the same with Ctrl-A x for the way out", &prefix),
		T(a_file_goes_on, "who shares standard output, a file, writes on behind what we wrote"),
		T(the_twins, "the twins: two ends back to back, and one that is short, late and ended"),
	};
	return vio_tests("host-stream", tests, sizeof tests / sizeof *tests);
}
