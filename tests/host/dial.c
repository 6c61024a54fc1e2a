/* The ways out of a socket device: Unix sockets, guests of one process, the host's own vsock. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <tests/test.h>
#include <vio/host/dial.h>

#define MS UINT64_C(1000000)
enum { CALLS = 100 };

struct rig {
	struct vio_loop *loop;
	struct vio_dial *dial;
	char folder[64], path[100];
	/* what came */
	struct vio_line *line[CALLS];
	struct vio_dial_call call[CALLS];
	unsigned calls;
	bool refuse;
};

struct user { struct rig *r; unsigned events, what; };

static bool on_incoming(void *arg, const struct vio_dial_call *call, struct vio_line *l)
{
	struct rig *r = arg;

	if (r->refuse || r->calls == CALLS)
		return false;
	r->call[r->calls] = *call;
	r->line[r->calls++] = l;
	return true;
}

static void on_event(void *arg, unsigned what)
{
	struct user *u = arg;

	u->events++;
	u->what |= what;
}

static void use(struct user *u, struct rig *r, struct vio_line *l)
{
	*u = (struct user){ .r = r };
	l->event = on_event;
	l->arg = u;
}

static void quit_loop(void *arg) { vio_loop_quit(arg); }

static void run_for(struct rig *r, uint64_t ns)
{
	struct vio_timer end = { .fn = quit_loop, .arg = r->loop };

	vio_loop_timer(r->loop, &end, vio_now_ns() + ns);
	vio_loop_run(r->loop);
	vio_loop_untimer(r->loop, &end);
}

#define RUN_UNTIL(r, condition) do { \
	for (uint64_t until_ = vio_now_ns() + 5000 * MS; !(condition); run_for((r), MS)) \
		if (vio_now_ns() > until_) \
			fail_msg("it does not happen: %s", #condition); \
} while (0)

static struct rig *rig_new(bool call_only)
{
	struct rig *r = calloc(1, sizeof *r);
	char why[VIO_WHY] = "";

	assert_non_null(r);
	r->loop = vio_loop_new();
	snprintf(r->folder, sizeof r->folder, "/tmp/vio-dial-XXXXXX");
	assert_non_null(mkdtemp(r->folder));
	snprintf(r->path, sizeof r->path, "%s/guest", r->folder);
	r->dial = vio_dial_unix_open(&(struct vio_dial_unix_options){ .path = r->path, .loop = r->loop, .mode = 0600,
		.call_only = call_only }, why);
	if (!r->dial)
		fail_msg("%s", why);
	r->dial->incoming = on_incoming;
	r->dial->arg = r;
	return r;
}

static void rig_close(struct rig *r)
{
	vio_dial_close(r->dial);
	vio_loop_free(r->loop);
	assert_int_equal(rmdir(r->folder), 0);		/* every socket file has gone */
	free(r);
}

static struct sockaddr_un address(const struct rig *r, const char *suffix)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof a.sun_path, "%.90s%.15s", r->path, suffix);
	return a;
}

static int listen_at(const struct rig *r, const char *suffix, int type, int backlog)
{
	struct sockaddr_un a = address(r, suffix);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && !bind(fd, (struct sockaddr *)&a, sizeof a) && !listen(fd, backlog));
	return fd;
}

static void forget(const struct rig *r, const char *suffix, int fd)
{
	close(fd);
	unlink(address(r, suffix).sun_path);
}

static int call(const struct rig *r, const char *suffix, int type)
{
	struct sockaddr_un a = address(r, suffix);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof a));
	return fd;
}

static long line_read(struct vio_line *l, void *to, size_t n)
{
	struct vio_seg seg[2] = { { to, n / 3 }, { (char *)to + n / 3, n - n / 3 } };
	struct vio_cur c = { .seg = n / 3 ? seg : seg + 1, .left = n };
	return l->ops->read(l, &c);
}

static long line_write(struct vio_line *l, const void *from, size_t n)
{
	struct vio_seg seg[2] = { { (void *)(uintptr_t)from, n / 3 }, { (char *)(uintptr_t)from + n / 3, n - n / 3 } };
	struct vio_cur c = { .seg = n / 3 ? seg : seg + 1, .left = n };
	return l->ops->write(l, &c);
}

static const struct vio_dial_call to_80 = { .from_cid = 7, .to_cid = 2, .from_port = 1025, .to_port = 80 };
static const struct vio_dial_call to_80_messages = { .from_cid = 7, .to_cid = 2, .from_port = 1025, .to_port = 80, .message = true };

/* ---- Guest to host ---- */

static void the_guests_port_is_a_socket(void **state)
{
	struct rig *r = rig_new(true);
	struct user u;
	char text[64];
	struct vio_dial_call other = to_80;

	(void)state;
	assert_null(r->dial->ops->connect(r->dial, &to_80));	/* nobody there */
	int fd = listen_at(r, "_80", SOCK_STREAM, 8);
	other.to_cid = 3;
	assert_null(r->dial->ops->connect(r->dial, &other));	/* another machine: not here */
	assert_null(r->dial->ops->connect(r->dial, &to_80_messages));	/* bytes are listened for */
	struct vio_line *l = r->dial->ops->connect(r->dial, &to_80);
	assert_non_null(l);
	assert_true(l->answered);
	use(&u, r, l);
	int c = accept(fd, NULL, NULL);
	assert_int_equal(line_write(l, "hello", 5), 5);
	assert_int_equal(recv(c, text, sizeof text, 0), 5);
	assert_int_equal(line_read(l, text, sizeof text), VIO_LINE_NONE);
	assert_int_equal(send(c, "world!", 6, 0), 6);
	RUN_UNTIL(r, u.what & VIO_LINE_READ);
	assert_int_equal(line_read(l, text, 6), 6);
	assert_memory_equal(text, "world!", 6);
	/* each direction ends by itself */
	l->ops->shutdown(l, VIO_LINE_WRITE);
	assert_int_equal(recv(c, text, sizeof text, 0), 0);
	u.what = 0;
	assert_int_equal(send(c, "end", 3, 0), 3);
	shutdown(c, SHUT_WR);
	RUN_UNTIL(r, u.what & VIO_LINE_READ);
	assert_int_equal(line_read(l, text, sizeof text), 3);	/* fewer than asked for: the end is told of */
	u.what = 0;
	RUN_UNTIL(r, u.what & VIO_LINE_READ);
	assert_int_equal(line_read(l, text, sizeof text), VIO_LINE_END);
	close(c);
	l->ops->close(l, false);
	forget(r, "_80", fd);
	rig_close(r);
}

static void a_host_that_hangs_up_is_noticed(void **state)
{
	struct rig *r = rig_new(true);
	int fd = listen_at(r, "_80", SOCK_STREAM, 8);
	struct vio_line *l = r->dial->ops->connect(r->dial, &to_80);
	struct user u;
	char text[8];

	(void)state;
	use(&u, r, l);
	close(accept(fd, NULL, NULL));
	RUN_UNTIL(r, l->deaf);
	assert_true(u.what & VIO_LINE_WRITE);
	assert_int_equal(line_read(l, text, 8), VIO_LINE_END);
	assert_int_equal(line_write(l, "x", 1), VIO_LINE_END);
	l->ops->close(l, false);
	forget(r, "_80", fd);
	rig_close(r);
}

static void a_slow_host_is_waited_for(void **state)
{
	static char data[1 << 20];
	struct rig *r = rig_new(true);
	int fd = listen_at(r, "_80", SOCK_STREAM, 8);
	struct vio_line *l = r->dial->ops->connect(r->dial, &to_80);
	struct user u;
	long sent = line_write(l, data, sizeof data), got = 0;

	(void)state;
	use(&u, r, l);
	assert_in_range(sent, 1, sizeof data - 1);
	assert_int_equal(line_write(l, data, 1), VIO_LINE_NONE);
	run_for(r, 5 * MS);		/* the first look: nothing is to be written */
	u.what = 0;
	int c = accept(fd, NULL, NULL);
	while (got < sent)
		got += recv(c, data, sizeof data, 0);
	RUN_UNTIL(r, u.what & VIO_LINE_WRITE);
	assert_true(line_write(l, data, 1000) > 0);
	close(c);
	l->ops->close(l, false);
	forget(r, "_80", fd);
	rig_close(r);
}

/* More at once than the listener's backlog takes: they wait, and all get through. */
static void a_full_backlog_is_waited_for(void **state)
{
	enum { MANY = 20 };
	struct rig *r = rig_new(true);
	int fd = listen_at(r, "_80", SOCK_STREAM, 1), c[MANY];
	struct vio_line *l[MANY];
	struct user u[MANY];
	unsigned late = 0, came = 0;

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		l[i] = r->dial->ops->connect(r->dial, &to_80);
		assert_non_null(l[i]);
		use(&u[i], r, l[i]);
		late += !l[i]->answered;
	}
	assert_true(late > MANY / 2);
	l[MANY - 1]->ops->close(l[MANY - 1], true);	/* one does not wait for it */
	for (; came < MANY - 1; came++) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		RUN_UNTIL(r, poll(&p, 1, 0) == 1);
		c[came] = accept(fd, NULL, NULL);
	}
	RUN_UNTIL(r, l[MANY - 2]->answered);
	for (unsigned i = 0; i < MANY - 1; i++) {
		assert_true(l[i]->answered);
		if (i > 5)
			assert_true(u[i].what & VIO_LINE_ANSWERED);
		l[i]->ops->close(l[i], false);
		close(c[i]);
	}
	/* the listener goes while somebody waits */
	for (unsigned i = 0; i < 4; i++)
		use(&u[i], r, l[i] = r->dial->ops->connect(r->dial, &to_80));
	assert_false(l[3]->answered);
	forget(r, "_80", fd);
	RUN_UNTIL(r, u[3].what & VIO_LINE_GONE);
	for (unsigned i = 0; i < 4; i++)
		l[i]->ops->close(l[i], true);
	rig_close(r);
}

static void messages_stay_whole(void **state)
{
	static char big[200000], back[200000];
	struct rig *r = rig_new(true);
	int fd = listen_at(r, "_80", SOCK_SEQPACKET, 8);
	struct user u;
	char text[64];

	(void)state;
	assert_null(r->dial->ops->connect(r->dial, &to_80));	/* messages are listened for */
	struct vio_line *l = r->dial->ops->connect(r->dial, &to_80_messages);
	assert_non_null(l);
	use(&u, r, l);
	int c = accept(fd, NULL, NULL);
	assert_int_equal(line_write(l, "one", 3), 3);
	assert_int_equal(line_write(l, "three", 5), 5);
	memset(big, 'b', sizeof big);
	assert_int_equal(recv(c, text, sizeof text, 0), 3);
	assert_int_equal(recv(c, text, sizeof text, 0), 5);
	assert_int_equal(line_write(l, big, sizeof big), sizeof big);
	assert_int_equal(recv(c, back, sizeof back, 0), sizeof back);
	assert_memory_equal(big, back, sizeof big);
	/* empty ones are none, and are not the end */
	assert_int_equal(send(c, "", 0, 0), 0);
	assert_int_equal(send(c, "four", 4, 0), 4);
	assert_int_equal(send(c, "", 0, 0), 0);
	assert_int_equal(line_read(l, text, sizeof text), 4);
	assert_int_equal(line_read(l, text, sizeof text), VIO_LINE_NONE);
	/* one that does not fit cuts the connection */
	assert_int_equal(send(c, "twelve bytes", 12, 0), 12);
	assert_int_equal(line_read(l, text, 11), VIO_LINE_RESET);
	assert_int_equal(send(c, "x", 1, 0), 1);
	close(c);
	assert_int_equal(line_read(l, text, 11), 1);
	assert_int_equal(line_read(l, text, 11), VIO_LINE_END);
	l->ops->close(l, false);
	forget(r, "_80", fd);
	rig_close(r);
}

/* ---- Host to guest ---- */

static void a_caller_says_whom_it_wants(void **state)
{
	const struct { const char *suffix; int type; } rows[] = { { "", SOCK_STREAM }, { "_seqpacket", SOCK_SEQPACKET } };
	struct rig *r = rig_new(false);
	char text[64];
	struct stat st;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct user u;
		assert_int_equal(stat(address(r, rows[i].suffix).sun_path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
		int c = call(r, rows[i].suffix, rows[i].type);
		assert_int_equal(send(c, i ? "CONNECT 4294967294\n" : "CONNECT 9000\nmore", i ? 19 : 17, 0), i ? 19 : 17);
		RUN_UNTIL(r, r->calls == i + 1);
		struct vio_line *l = r->line[i];
		assert_int_equal(r->call[i].to_port, i ? 4294967294 : 9000);
		assert_int_equal(r->call[i].from_cid, 2);
		assert_int_equal(r->call[i].from_port, 0);
		assert_int_equal(r->call[i].message, i);
		use(&u, r, l);
		assert_false(l->answered);
		l->ops->answer(l, 1073741824);
		assert_true(l->answered);
		ssize_t n = recv(c, text, sizeof text, 0);
		assert_int_equal(n, 14);
		assert_memory_equal(text, "OK 1073741824\n", 14);
		if (i == 0) {
			RUN_UNTIL(r, u.what & VIO_LINE_READ);
			assert_int_equal(line_read(l, text, sizeof text), 4);	/* nothing of it was eaten */
			assert_memory_equal(text, "more", 4);
		}
		l->ops->close(l, false);
		assert_int_equal(recv(c, text, sizeof text, 0), 0);
		close(c);
	}
	rig_close(r);
}

static void a_line_in_pieces_is_a_line(void **state)
{
	static const char line[] = "CONNECT 65000\n";
	struct rig *r = rig_new(false);
	int c = call(r, "", SOCK_STREAM);

	(void)state;
	for (unsigned i = 0; i < sizeof line - 1; i++) {
		assert_int_equal(r->calls, 0);
		assert_int_equal(send(c, line + i, 1, 0), 1);
		run_for(r, 2 * MS);
	}
	RUN_UNTIL(r, r->calls == 1);
	assert_int_equal(r->call[0].to_port, 65000);
	r->line[0]->ops->close(r->line[0], true);
	close(c);
	rig_close(r);
}

static void other_lines_are_turned_away(void **state)
{
	static const char *const lines[] = { "\n", "CONNECT\n", "CONNECT \n", "CONNECT x\n", "CONNECT 12x\n", "CONNECT -1\n",
		"CONNECT 4294967296\n", "CONNECT 99999999999999999999\n", "connect 12\n", "CONNECT  12\n", "CONNECT 12 \n",
		"CONNECT 12\r\n", "GET / HTTP/1.0\r\n\r\n", "0123456789012345678901234567890123456789", "CONNECT 0000000000000000000000000012\n" };
	struct rig *r = rig_new(false);
	char byte;

	(void)state;
	for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++)
		for (unsigned message = 0; message < 2; message++) {
			int c = call(r, message ? "_seqpacket" : "", message ? SOCK_SEQPACKET : SOCK_STREAM);
			struct pollfd p = { .fd = c, .events = POLLIN };
			assert_true(send(c, lines[i], strlen(lines[i]), 0) > 0);
			RUN_UNTIL(r, poll(&p, 1, 0) == 1);
			ssize_t n = recv(c, &byte, 1, 0);
			assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
			close(c);
		}
	r->refuse = true;			/* and who is not let through */
	int c = call(r, "", SOCK_STREAM);
	struct pollfd p = { .fd = c, .events = POLLIN };
	assert_int_equal(send(c, "CONNECT 1\n", 10, 0), 10);
	RUN_UNTIL(r, poll(&p, 1, 0) == 1);
	assert_int_equal(recv(c, &byte, 1, 0), 0);
	close(c);
	assert_int_equal(r->calls, 0);
	rig_close(r);
}

/* Callers that say nothing: as many as may be, and the next ones wait until those have gone. */
static void silent_callers_are_few(void **state)
{
	enum { SILENT = 64 };
	struct rig *r = rig_new(false);
	int c[SILENT + 1];

	(void)state;
	for (unsigned i = 0; i < SILENT; i++)
		c[i] = call(r, "", SOCK_STREAM);
	run_for(r, 20 * MS);
	c[SILENT] = call(r, "", SOCK_STREAM);
	assert_int_equal(send(c[SILENT], "CONNECT 5\n", 10, 0), 10);
	run_for(r, 150 * MS);
	assert_int_equal(r->calls, 0);
	close(c[0]);
	RUN_UNTIL(r, r->calls == 1);
	/* one that goes before the guest has answered */
	struct user u;
	use(&u, r, r->line[0]);
	close(c[SILENT]);
	RUN_UNTIL(r, u.what & VIO_LINE_GONE);
	r->line[0]->ops->close(r->line[0], true);
	for (unsigned i = 1; i < SILENT; i++)
		close(c[i]);
	rig_close(r);
}

static void paths_have_room_for_a_port(void **state)
{
	char path[140], why[VIO_WHY] = "";
	struct vio_dial_unix_options o = { .path = path, .call_only = true };

	(void)state;
	o.loop = vio_loop_new();
	memset(path, 'p', sizeof path);
	path[107 - 11] = 0;
	struct vio_dial *d = vio_dial_unix_open(&o, why);
	assert_non_null(d);
	vio_dial_close(d);
	path[107 - 11] = 'p';
	path[107 - 10] = 0;
	assert_null(vio_dial_unix_open(&o, why));
	assert_non_null(strstr(why, "choose one of at most 96"));
	vio_loop_free(o.loop);
}

/* ---- Guests of one process ---- */

struct member { struct rig r; struct vio_dial *dial; };

static void join(struct vio_hub *h, struct member *m, struct vio_loop *loop, uint64_t cid, const char *groups, struct vio_dial *outer)
{
	char why[VIO_WHY] = "";

	*m = (struct member){ .r.loop = loop };
	m->dial = vio_hub_join(h, &(struct vio_hub_member){ .cid = cid, .groups = groups, .message_max = 1000, .outer = outer }, why);
	if (!m->dial)
		fail_msg("%s", why);
	m->dial->incoming = on_incoming;
	m->dial->arg = &m->r;
}

static void guests_reach_those_they_may(void **state)
{
	struct vio_loop *loop = vio_loop_new();
	struct vio_hub *h = vio_hub_new(loop);
	struct vio_dial *outer = vio_dial_memory_open(64);
	struct member m[4];
	static const char *const groups[] = { "web", "web,db", "db", "other" };
	char why[VIO_WHY];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		join(h, &m[i], loop, 3 + i, groups[i], i ? NULL : outer);
	for (unsigned i = 0; i < 4; i++)
		for (unsigned j = 0; j < 4; j++) {
			struct vio_dial_call call = { .from_cid = 3 + i, .to_cid = 3 + j, .from_port = 9, .to_port = 80 };
			bool may = i != j && (i + j == 1 || i + j == 3) && i < 3 && j < 3;
			struct vio_line *l = m[i].dial->ops->connect(m[i].dial, &call);
			if ((l != NULL) != may)
				fail_msg("%u to %u: %s", i, j, l ? "it may" : "it may not");
			if (!l)
				continue;
			assert_int_equal(m[j].r.calls, 1);
			assert_int_equal(m[j].r.call[0].from_cid, 3 + i);
			assert_int_equal(m[j].r.call[0].from_port, 9);
			struct user a, b;
			struct vio_line *o = m[j].r.line[0];
			char text[8];
			use(&a, &m[i].r, l);
			use(&b, &m[j].r, o);
			assert_false(l->answered);
			o->ops->answer(o, 80);
			assert_int_equal(a.events, 0);	/* not from inside */
			RUN_UNTIL(&m[i].r, a.what & VIO_LINE_ANSWERED);
			assert_int_equal(line_write(l, "hello", 5), 5);
			RUN_UNTIL(&m[i].r, b.what & VIO_LINE_READ);
			assert_int_equal(line_read(o, text, 8), 5);
			l->ops->close(l, false);
			assert_int_equal(line_read(o, text, 8), VIO_LINE_END);
			o->ops->close(o, false);
			m[j].r.calls = 0;
		}
	/* what is no guest here is the world's, where there is one */
	struct vio_dial_call out = { .from_cid = 3, .to_cid = 2, .from_port = 9, .to_port = 80 };
	struct vio_line *l = m[0].dial->ops->connect(m[0].dial, &out);
	assert_non_null(l);
	l->ops->close(l, true);
	assert_null(m[1].dial->ops->connect(m[1].dial, &out));
	struct vio_line *o = vio_dial_memory_call(outer, &(struct vio_dial_call){ .from_cid = 2, .to_port = 5 });
	assert_non_null(o);
	assert_int_equal(m[0].r.calls, 1);
	m[0].r.line[0]->ops->close(m[0].r.line[0], true);
	o->ops->close(o, true);
	assert_null(vio_hub_join(h, &(struct vio_hub_member){ .cid = 3, .groups = "x" }, why));
	assert_non_null(strstr(why, "its own --guest-cid"));
	static const char *const wrong[] = { "", ",", "a,", ",a", "a,,b" };
	for (unsigned i = 0; i < 5; i++) {
		assert_null(vio_hub_join(h, &(struct vio_hub_member){ .cid = 30, .groups = wrong[i] }, why));
		assert_non_null(strstr(why, "commas between"));
	}
	for (unsigned i = 0; i < 4; i++)
		vio_dial_close(m[i].dial);
	vio_hub_free(h);
	vio_loop_free(loop);
}

static void a_message_between_guests_keeps_its_ends(void **state)
{
	struct vio_loop *loop = vio_loop_new();
	struct vio_hub *h = vio_hub_new(loop);
	struct member m[2];
	struct vio_dial_call call = { .from_cid = 3, .to_cid = 4, .from_port = 9, .to_port = 80, .message = true };
	static char big[2000], text[2000];
	struct user u[2];

	(void)state;
	join(h, &m[0], loop, 3, "a", NULL);
	join(h, &m[1], loop, 4, "a", NULL);
	struct vio_line *l = m[0].dial->ops->connect(m[0].dial, &call), *o = m[1].r.line[0];
	assert_true(l->message && o->message);
	use(&u[0], &m[0].r, l);
	use(&u[1], &m[1].r, o);
	o->ops->answer(o, 80);
	l->eor = true;
	assert_int_equal(line_write(l, "a", 1), 1);
	l->eor = false;
	assert_int_equal(line_write(l, big, 1000), 1000);
	assert_int_equal(line_write(l, big, 1000), VIO_LINE_NONE);	/* whole or not */
	assert_int_equal(line_read(o, text, sizeof text), 1);
	assert_true(o->eor);
	assert_int_equal(line_read(o, text, sizeof text), 1000);
	assert_false(o->eor);
	RUN_UNTIL(&m[0].r, u[0].what & VIO_LINE_WRITE);
	assert_int_equal(line_write(l, big, 1000), 1000);
	assert_int_equal(line_read(o, text, 999), VIO_LINE_RESET);	/* does not fit */
	assert_int_equal(line_write(l, big, 1025), VIO_LINE_RESET);	/* never would */
	l->ops->close(l, true);
	assert_int_equal(line_read(o, text, sizeof text), VIO_LINE_RESET);
	o->ops->close(o, true);
	vio_dial_close(m[0].dial);
	vio_dial_close(m[1].dial);
	vio_hub_free(h);
	vio_loop_free(loop);
}

/* ---- The host's own vsock: where there is one ---- */

static void the_hosts_vsock(void **state)
{
	struct vio_dial_vsock_options o = { .loop = vio_loop_new(), .cid = 1, .listens = 1, .listen = { 45999 } };
	char why[VIO_WHY] = "";
	struct vio_dial *d = vio_dial_vsock_open(&o, why);

	(void)state;
	if (!d) {		/* a sentence that names the remedy, and nothing left open */
		assert_non_null(strstr(why, "load the module vsock"));
		vio_loop_free(o.loop);
		SKIP_BECAUSE(why);
	}
	/* over the loopback: what the dial connects to is what it listens on */
	struct rig r = { .loop = o.loop };
	struct user a, b;
	char text[8];
	d->incoming = on_incoming;
	d->arg = &r;
	struct vio_line *l = d->ops->connect(d, &(struct vio_dial_call){ .from_cid = 7, .to_cid = 2, .from_port = 9, .to_port = 45999 });
	assert_non_null(l);
	use(&a, &r, l);
	RUN_UNTIL(&r, r.calls == 1 && l->answered);
	assert_int_equal(r.call[0].to_port, 45999);
	use(&b, &r, r.line[0]);
	r.line[0]->ops->answer(r.line[0], 1);
	assert_int_equal(line_write(l, "hello", 5), 5);
	RUN_UNTIL(&r, b.what & VIO_LINE_READ);
	assert_int_equal(line_read(r.line[0], text, 8), 5);
	l->ops->close(l, false);
	r.line[0]->ops->close(r.line[0], false);
	vio_dial_close(d);
	vio_loop_free(o.loop);
}

static const struct CMUnitTest tests[] = {
	T(the_guests_port_is_a_socket, "a guest's port is a Unix socket, of the guest's type"),
	T(a_host_that_hangs_up_is_noticed, "a host that hangs up is noticed without a word"),
	T(a_slow_host_is_waited_for, "a slow host is waited for, and tells when it can take more"),
	T(a_full_backlog_is_waited_for, "a full backlog is waited for"),
	T(messages_stay_whole, "messages stay whole; empty ones are none"),
	T(a_caller_says_whom_it_wants, "a caller says whom it wants, and not a byte of the rest is eaten"),
	T(a_line_in_pieces_is_a_line, "a caller's line may come in pieces"),
	T(other_lines_are_turned_away, "whatever else a caller says is turned away"),
	T(silent_callers_are_few, "silent callers are few, and one that goes is noticed"),
	T(paths_have_room_for_a_port, "a path leaves room for the longest port"),
	T(guests_reach_those_they_may, "guests of one process reach those of their groups, and nobody else"),
	T(a_message_between_guests_keeps_its_ends, "messages between guests keep their ends"),
	T(the_hosts_vsock, "the host's own vsock is forwarded to, or what it lacks is said"),
};

int main(void) { return vio_tests("host-dial", tests, sizeof tests / sizeof *tests); }
