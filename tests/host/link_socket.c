/* Frames over Unix sockets: what stands on the wire, what the other end may do wrong, who comes back; and the capture file. */
#include "link_rig.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { TIMEOUT_MS = 5000 };

struct rig {
	struct vio_loop *loop;
	struct vio_link *link;
	struct user user;
	int far;			/* the other end */
	unsigned said, changes;
	char sentence[VIO_WHY];
};

static unsigned char bytes[VIO_FRAME_MAX + 1];

static void say(void *arg, const char *sentence)
{
	struct rig *r = arg;
	r->said++;
	snprintf(r->sentence, sizeof r->sentence, "%s", sentence);
	vio_loop_quit(r->loop);
}

static void changed(void *arg)
{
	struct rig *r = arg;
	r->changes++;
	vio_loop_quit(r->loop);
}

static void use(struct rig *r)
{
	r->link->changed = changed;
	r->link->changed_arg = r;
	user_open(&r->user, r->link, 0, r->loop);
}

static void rig_open(struct rig *r, int type)
{
	int pair[2];
	char why[VIO_WHY] = "";
	*r = (struct rig){ .loop = vio_loop_new() };
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
	r->far = pair[0];
	r->link = vio_link_socket_open(&(struct vio_link_socket_options){ .fd = pair[1], .place = { &r->loop, 1 }, .say = say,
		.say_arg = r }, why);
	if (!r->link)
		fail_msg("%s", why);
	use(r);
}

static void rig_close(struct rig *r)
{
	user_close(&r->user);
	vio_link_close(r->link);
	if (r->far >= 0)
		close(r->far);
	vio_loop_free(r->loop);
}

static void quit_loop(void *arg) { vio_loop_quit(arg); }

/* Until something happens, or not for so long. */
static void run(struct rig *r, uint64_t ms)
{
	struct vio_timer end = { .fn = quit_loop, .arg = r->loop };
	vio_loop_timer(r->loop, &end, vio_now_ns() + ms * 1000000);
	vio_loop_run(r->loop);
	vio_loop_untimer(r->loop, &end);
}

static void far_says(struct rig *r, const void *what, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t k = send(r->far, (const char *)what + at, n - at, 0);
		assert_true(k > 0);
		at += (size_t)k;
	}
}

/* Our own loop runs when there is nothing to hear: the rest may wait in the link until there is room. */
static void far_hears(struct rig *r, void *to, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t k = recv(r->far, (char *)to + at, n - at, MSG_DONTWAIT);
		if (k > 0)
			at += (size_t)k;
		else
			run(r, 20);
	}
}

static void the_wire_has_lengths(void **state)
{
	unsigned char heard[200];
	struct rig r;
	(void)state;
	rig_open(&r, SOCK_STREAM);
	pattern(bytes, 100, 1);
	assert_int_equal(user_send(&r.user, NULL, bytes, 60, 7), VIO_SENT);
	assert_int_equal(user_send(&r.user, NULL, bytes + 30, 14, 100), VIO_SENT);
	assert_int_equal(recv(r.far, heard, sizeof heard, MSG_DONTWAIT), -1);	/* together, at the end of the turn */
	user_flush(&r.user);
	far_hears(&r, heard, 64 + 18);
	assert_memory_equal(heard, "\0\0\0\x3c", 4);
	assert_memory_equal(heard + 4, bytes, 60);
	assert_memory_equal(heard + 64, "\0\0\0\x0e", 4);
	assert_memory_equal(heard + 68, bytes + 30, 14);
	assert_int_equal(user_send(&r.user, NULL, bytes, 13, 100), VIO_SENT_DROPPED);
	assert_int_equal(user_send(&r.user, NULL, bytes, sizeof bytes, 5000), VIO_SENT_DROPPED);
	/* A byte at a time, and two at once. */
	for (unsigned i = 0; i < 4; i++)
		far_says(&r, &"\0\0\0\x14"[i], 1);
	assert_int_equal(user_receive(&r.user, 9), 0);
	for (unsigned i = 0; i < 19; i++)
		far_says(&r, bytes + i, 1);
	assert_int_equal(user_receive(&r.user, 9), 0);
	far_says(&r, bytes + 19, 1);
	run(&r, TIMEOUT_MS);
	assert_true(r.user.ready >= 1);
	far_says(&r, "\0\0\0\x0f" "0123456789abcde" "\0\0\0\x03" "abc" "\0\0\0\x0e" "0123456789abcd", 4 + 15 + 4 + 3 + 4 + 14);
	assert_int_equal(user_receive(&r.user, 2), 2);
	assert_true(user_got(&r.user, 0, bytes, 20));
	assert_true(user_got(&r.user, 1, "0123456789abcde", 15));
	r.user.refuse_after = 0;
	assert_int_equal(user_receive(&r.user, 2), 0);
	r.user.refuse_after = 9;
	assert_int_equal(user_receive(&r.user, 2), 1);	/* the one of 3 bytes is nothing; this one was kept */
	assert_true(user_got(&r.user, 2, "0123456789abcd", 14));
	rig_close(&r);
}

static void great_frames_pass(void **state)
{
	static unsigned char heard[4 + VIO_FRAME_MAX];
	struct rig r;
	(void)state;
	rig_open(&r, SOCK_STREAM);
	pattern(bytes, VIO_FRAME_MAX, 3);
	assert_int_equal(user_send(&r.user, NULL, bytes, VIO_FRAME_MAX, 1000), VIO_SENT);
	user_flush(&r.user);
	far_hears(&r, heard, sizeof heard);
	assert_memory_equal(heard + 4, bytes, VIO_FRAME_MAX);
	far_says(&r, heard, sizeof heard);
	assert_int_equal(user_receive(&r.user, 2), 1);
	assert_true(user_got(&r.user, 0, bytes, VIO_FRAME_MAX));
	rig_close(&r);
}

static void a_full_socket_calls_back(void **state)
{
	static unsigned char heard[4 + 60000];
	unsigned sent = 0, got = 0;
	struct rig r;
	(void)state;
	rig_open(&r, SOCK_STREAM);
	pattern(bytes, 60000, 5);
	while (user_send(&r.user, NULL, bytes, 60000, 60000) == VIO_SENT) {
		user_flush(&r.user);
		assert_true(++sent < 1000);
	}
	assert_true(sent > 4);
	run(&r, 20);
	assert_int_equal(r.user.ready, 0);
	while (got < sent) {
		far_hears(&r, heard, sizeof heard);
		assert_memory_equal(heard + 4, bytes, 60000);
		got++;
		run(&r, got == sent ? 1 : 20);
	}
	assert_true(r.user.ready > 0);
	assert_int_equal(recv(r.far, heard, 1, MSG_DONTWAIT), -1);	/* nothing twice */
	assert_int_equal(user_send(&r.user, NULL, bytes, 60, 60), VIO_SENT);
	rig_close(&r);
}

static void packets_need_no_lengths(void **state)
{
	static const int types[] = { SOCK_SEQPACKET, SOCK_DGRAM };
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		unsigned char heard[2000];
		struct rig r;
		unsigned sent = 0;
		rig_open(&r, types[i]);
		pattern(bytes, 1514, 9);
		assert_int_equal(user_send(&r.user, NULL, bytes, 1514, 11), VIO_SENT);	/* more pieces than are passed on as such */
		assert_int_equal(recv(r.far, heard, sizeof heard, 0), 1514);
		assert_memory_equal(heard, bytes, 1514);
		assert_int_equal(send(r.far, bytes, 200, 0), 200);
		assert_int_equal(send(r.far, bytes, 5, 0), 5);
		assert_int_equal(send(r.far, bytes + 9, 64, 0), 64);
		assert_int_equal(user_receive(&r.user, 9), 2);
		assert_true(user_got(&r.user, 0, bytes, 200));
		assert_true(user_got(&r.user, 1, bytes + 9, 64));
		while (user_send(&r.user, NULL, bytes, 1514, 1514) == VIO_SENT)
			assert_true(++sent < 10000);
		for (unsigned k = 0; k < sent; k++)
			assert_int_equal(recv(r.far, heard, sizeof heard, 0), 1514);
		unsigned before = r.user.ready;
		run(&r, TIMEOUT_MS);
		assert_true(r.user.ready > before);
		assert_int_equal(user_send(&r.user, NULL, bytes, 60, 60), VIO_SENT);
		rig_close(&r);
	}
}

static void what_is_no_frame_ends_it(void **state)
{
	static const unsigned char row[][4] = { { 0, 0, 0, 0 }, { 0, 1, 0, 0x17 }, { 0xff, 0xff, 0xff, 0xff }, { 'G', 'E', 'T', ' ' } };
	(void)state;
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		struct rig r;
		char c;
		rig_open(&r, SOCK_STREAM);
		far_says(&r, "\0\0\0\x0e" "0123456789abcd", 18);
		far_says(&r, row[i], 4);
		assert_int_equal(user_receive(&r.user, 9), 1);
		assert_int_equal(r.said, 0);		/* not from inside our call */
		run(&r, TIMEOUT_MS);
		assert_int_equal(r.said, 1);
		assert_non_null(strstr(r.sentence, "speaks another protocol"));
		assert_int_equal(r.changes, 1);
		assert_false(r.link->up);
		assert_int_equal(recv(r.far, &c, 1, 0), 0);
		assert_int_equal(user_send(&r.user, NULL, bytes, 60, 60), VIO_SENT_DROPPED);
		assert_int_equal(user_receive(&r.user, 9), 0);
		rig_close(&r);
	}
}

static void the_end_is_told(void **state)
{
	(void)state;
	for (unsigned on = 0; on < 2; on++) {
		struct rig r;
		rig_open(&r, SOCK_STREAM);
		if (!on)	/* nobody receives: it is noticed all the same */
			r.user.lane->ops->enable(r.user.lane, false);
		else
			assert_int_equal(user_receive(&r.user, 1), 0);
		close(r.far);
		r.far = -1;
		run(&r, TIMEOUT_MS);
		if (on) {
			assert_int_equal(r.user.ready, 1);
			assert_int_equal(user_receive(&r.user, 1), 0);
			run(&r, TIMEOUT_MS);
		}
		assert_int_equal(r.said, 1);
		assert_non_null(strstr(r.sentence, "closed by the other end"));
		assert_false(r.link->up);
		rig_close(&r);
	}
}

static void lanes_share_the_socket(void **state)
{
	struct rig r;
	struct user second;
	struct vio_link_socket_options o = { .lanes = 3, .say = say, .say_arg = &r };
	int pair[2];
	char why[VIO_WHY] = "", far[200];
	unsigned sent = 0;
	(void)state;
	r = (struct rig){ .loop = vio_loop_new() };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	r.far = pair[0];
	o.fd = pair[1];
	o.place = (struct vio_link_place){ &r.loop, 1 };
	r.link = vio_link_socket_open(&o, why);
	assert_int_equal(r.link->lanes, 3);
	use(&r);
	user_open(&second, r.link, 2, r.loop);
	pattern(bytes, 100, 1);
	assert_int_equal(user_send(&second, NULL, bytes, 100, 33), VIO_SENT);
	user_flush(&second);
	assert_int_equal(read(r.far, far, sizeof far), 104);
	assert_memory_equal(far + 4, bytes, 100);
	far_says(&r, "\0\0\0\x0e" "0123456789abcd", 18);
	assert_int_equal(user_receive(&second, 9), 0);
	assert_int_equal(user_receive(&r.user, 9), 1);
	/* Both wait for room, both are told. */
	while (user_send(&second, NULL, bytes, sizeof bytes - 1, 70000) == VIO_SENT)
		sent++;
	assert_true(sent > 2);
	assert_int_equal(user_send(&r.user, NULL, bytes, sizeof bytes - 1, 70000), VIO_SENT_NO_ROOM);
	unsigned char *sink = malloc(1 << 20);
	while (!r.user.ready || !second.ready) {
		assert_true(read(r.far, sink, 1 << 20) > 0);
		run(&r, 20);
	}
	free(sink);
	user_close(&second);
	rig_close(&r);
}

static int listen_at(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(at.sun_path, path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static void who_comes_back_is_found(void **state)
{
	char path[64], why[VIO_WHY] = "";
	struct rig r = { .loop = vio_loop_new() };
	struct vio_link_socket_options o = { .path = path, .place = { &r.loop, 1 }, .say = say, .say_arg = &r };
	(void)state;
	snprintf(path, sizeof path, "/tmp/vio-link-%d", (int)getpid());
	assert_null(vio_link_socket_open(&o, why));
	assert_non_null(strstr(why, "start what listens there"));
	int listener = listen_at(path);
	r.link = vio_link_socket_open(&o, why);
	assert_non_null(r.link);
	use(&r);
	r.far = accept(listener, NULL, NULL);
	assert_int_equal(user_receive(&r.user, 1), 0);
	far_says(&r, "\0\0\0\x0e" "01234", 9);	/* a half frame is not the beginning of another one's */
	run(&r, TIMEOUT_MS);
	assert_int_equal(user_receive(&r.user, 1), 0);
	close(r.far);
	close(listener);
	while (r.said == 0) {
		run(&r, TIMEOUT_MS);
		user_receive(&r.user, 1);
	}
	assert_non_null(strstr(r.sentence, "connecting again every second"));
	assert_false(r.link->up);
	listener = listen_at(path);
	while (!r.link->up)
		run(&r, TIMEOUT_MS);
	assert_int_equal(r.said, 2);
	assert_non_null(strstr(r.sentence, "connected again"));
	r.far = accept(listener, NULL, NULL);
	far_says(&r, "\0\0\0\x0e" "0123456789abcd", 18);
	assert_int_equal(user_receive(&r.user, 1), 1);
	vio_link_set(r.link, r.link->carrier, true);	/* the operator's cut stays */
	assert_false(r.link->up);
	close(listener);
	unlink(path);
	rig_close(&r);
}

/* ---- The capture file ---- */

static void a_capture_has_both_directions(void **state)
{
	char name[] = "/tmp/vio-pcap-XXXXXX", why[VIO_WHY];
	unsigned char file[1000];
	struct vio_link *end[2];
	struct user a, b;
	struct vio_loop *loop = vio_loop_new();
	(void)state;
	int fd = mkstemp(name), look = open(name, O_RDONLY);
	unlink(name);
	assert_true(vio_link_pair_open(1, 4, VIO_LINK_ALL, end));
	struct vio_link *p = vio_link_pcap_open(end[0], fd, 40, (struct vio_link_place){ &loop, 1 }, NULL, NULL, why);
	assert_non_null(p);
	user_open(&a, p, 0, NULL);
	user_open(&b, end[1], 0, NULL);
	pattern(bytes, 100, 1);
	assert_int_equal(user_send(&a, NULL, bytes, 20, 3), VIO_SENT);
	assert_int_equal(user_send(&b, NULL, bytes + 1, 60, 60), VIO_SENT);
	a.refuse_after = 0;
	assert_int_equal(user_receive(&a, 1), 0);	/* not taken: not yet in the file */
	a.refuse_after = 9;
	assert_int_equal(user_receive(&a, 1), 1);
	assert_int_equal(pread(look, file, sizeof file, 0), 24);
	user_close(&a);
	assert_int_equal(pread(look, file, sizeof file, 0), 24 + 16 + 20 + 16 + 40);
	assert_memory_equal(file, "\x4d\x3c\xb2\xa1\2\0\4\0\0\0\0\0\0\0\0\0\x28\0\0\0\1\0\0\0", 24);
	assert_memory_equal(file + 24 + 8, "\x14\0\0\0\x14\0\0\0", 8);
	assert_memory_equal(file + 24 + 16, bytes, 20);
	assert_memory_equal(file + 60 + 8, "\x28\0\0\0\x3c\0\0\0", 8);
	assert_memory_equal(file + 60 + 16, bytes + 1, 40);
	vio_link_pair_set(end[1], false);
	assert_false(p->up);
	user_close(&b);
	vio_link_close(p);
	vio_link_close(end[1]);
	vio_loop_free(loop);
	close(look);
}

static void a_capture_that_fails_harms_nobody(void **state)
{
	char why[VIO_WHY];
	struct rig r = { .loop = vio_loop_new(), .far = -1 };
	int pipe_fd[2];
	(void)state;
	assert_int_equal(pipe2(pipe_fd, O_NONBLOCK), 0);
	struct vio_link *l = vio_link_null_open(1, 0);
	r.link = vio_link_pcap_open(l, pipe_fd[1], 65535, (struct vio_link_place){ &r.loop, 1 }, say, &r, why);
	assert_non_null(r.link);
	use(&r);
	for (unsigned i = 0; i < 500; i++)	/* more than the pipe takes */
		assert_int_equal(user_send(&r.user, NULL, bytes, 1500, 1500), VIO_SENT);
	run(&r, TIMEOUT_MS);
	assert_int_equal(r.said, 1);
	assert_non_null(strstr(r.sentence, "nothing more is captured"));
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(user_send(&r.user, NULL, bytes, 1500, 1500), VIO_SENT);
	assert_int_equal(r.said, 1);
	rig_close(&r);
	close(pipe_fd[0]);
	l = vio_link_null_open(1, 0);
	assert_null(vio_link_pcap_open(l, open("/dev/null", O_RDONLY), 64, (struct vio_link_place){ &r.loop, 1 }, NULL, NULL, why));
	assert_non_null(strstr(why, "cannot write"));
	vio_link_close(l);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(lanes_share_the_socket, "lanes share the socket: all send, the first receives, all are told when there is room"),
		T(the_wire_has_lengths, "a stream has a big-endian length before each frame, however it is cut"),
		T(great_frames_pass, "the longest frame passes"),
		T(a_full_socket_calls_back, "a socket without room says so, and calls back when there is some; nothing is lost or doubled"),
		T(packets_need_no_lengths, "packets and datagrams carry one frame each"),
		T(what_is_no_frame_ends_it, "a length that no frame has ends the connection, in a sentence"),
		T(the_end_is_told, "that the other end has gone is noticed and told, also while nobody receives"),
		T(who_comes_back_is_found, "who listens again is connected to again, and begins anew"),
		T(a_capture_has_both_directions, "a capture has what was sent and what was taken, as much of it as was asked for"),
		T(a_capture_that_fails_harms_nobody, "a capture that can't be written is told once, and harms nobody"),
	};
	return vio_tests("host-link-socket", tests, sizeof tests / sizeof *tests);
}
