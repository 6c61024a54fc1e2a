/*
 * Taps and interfaces, in a network namespace of the test's own: what the kernel sends arrives, what is sent arrives at the
 * kernel, offloads pass as they are.  Skipped where no namespace may be made.
 */
#include "link_rig.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { TIMEOUT_MS = 5000 };
static bool alone;			/* in a namespace of our own */
static unsigned char frame[70000];

static int own_namespace(void **state)
{
	uid_t uid = getuid();
	(void)state;
	if (uid == 0) {
		alone = !unshare(CLONE_NEWNET);
	} else if (!unshare(CLONE_NEWUSER | CLONE_NEWNET)) {
		char map[64];
		int fd = open("/proc/self/uid_map", O_WRONLY);
		alone = fd >= 0 && write(fd, map, (size_t)snprintf(map, sizeof map, "0 %u 1", uid)) > 0;
		close(fd);
	}
	return 0;
}

static void need_namespace(void)
{
	if (alone && !access("/dev/net/tun", R_OK | W_OK))
		return;
	SKIP_BECAUSE("no network namespace of our own, or no /dev/net/tun");
}

static void quit_loop(void *arg) { vio_loop_quit(arg); }

static void run(struct vio_loop *l, uint64_t ms)
{
	struct vio_timer end = { .fn = quit_loop, .arg = l };
	vio_loop_timer(l, &end, vio_now_ns() + ms * 1000000);
	vio_loop_run(l);
	vio_loop_untimer(l, &end);
}

static void set_flags(const char *name, short flags)
{
	struct ifreq r = { .ifr_flags = flags };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	strcpy(r.ifr_name, name);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
	close(fd);
}

/* What a program on the host would see on the interface. */
static int listen_to(const char *name)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(0x88b5), .sll_ifindex = (int)if_nametoindex(name) };
	struct timeval patience = { .tv_sec = TIMEOUT_MS / 1000 };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	return fd;
}

static void fill_frame(size_t n, unsigned seed)
{
	pattern(frame, n, seed);
	memcpy(frame, "\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x88\xb5", 14);
}

/* Frames of our protocol among those received, as the kernel has some of its own to send. */
static unsigned ours(struct user *u, unsigned want, struct vio_loop *l)
{
	unsigned n = 0;
	for (unsigned tries = 0; n < want && tries < 100; tries++) {
		user_forget(u);
		if (!user_receive(u, 16))
			run(l, 50);
		for (unsigned i = 0; i < u->count; i++)
			n += u->got[i].length >= 14 && !memcmp(u->got[i].bytes + 12, "\x88\xb5", 2);
	}
	return n;
}

static struct vio_link *open_tap(const char *name, unsigned lanes, struct vio_loop *const *loop)
{
	char why[VIO_WHY] = "";
	struct vio_link *l = vio_link_tap_open(&(struct vio_link_tap_options){ .name = name, .lanes = lanes, .place = { loop, 1 } }, why);
	if (!l)
		fail_msg("%s", why);
	return l;
}

static void a_tap_carries_frames(void **state)
{
	struct vio_loop *loop = vio_loop_new();
	struct user u;
	unsigned char heard[2000];
	(void)state;
	need_namespace();
	struct vio_link *l = open_tap("vio-t0", 1, &loop);
	assert_true(l->up);
	assert_int_equal(l->mtu, 1500);
	assert_int_equal(l->takes & (VIO_LINK_CSUM | VIO_LINK_TSO4 | VIO_LINK_TSO6), VIO_LINK_CSUM | VIO_LINK_TSO4 | VIO_LINK_TSO6);
	user_open(&u, l, 0, loop);
	int fd = listen_to("vio-t0");
	fill_frame(1514, 3);
	assert_int_equal(user_send(&u, NULL, frame, 1514, 10), VIO_SENT);	/* in more pieces than are passed on */
	assert_int_equal(recv(fd, heard, sizeof heard, 0), 1514);
	assert_memory_equal(heard, frame, 1514);
	assert_int_equal(user_send(&u, NULL, frame, 60, 13), VIO_SENT);
	assert_int_equal(recv(fd, heard, sizeof heard, 0), 60);
	assert_int_equal(send(fd, frame, 700, 0), 700);
	assert_int_equal(ours(&u, 1, loop), 1);
	/* What is refused is offered again; what came while the lane was off is not. */
	while (user_receive(&u, 16))
		;
	u.refuse_after = 0;
	assert_int_equal(send(fd, frame, 701, 0), 701);
	assert_int_equal(user_receive(&u, 16), 0);
	u.refuse_after = 1000;
	assert_int_equal(ours(&u, 1, loop), 1);
	u.lane->ops->enable(u.lane, false);
	assert_int_equal(send(fd, frame, 702, 0), 702);
	u.lane->ops->enable(u.lane, true);
	assert_int_equal(ours(&u, 1, loop), 0);
	assert_int_equal(user_send(&u, NULL, frame, sizeof frame, 9999), VIO_SENT_DROPPED);
	close(fd);
	user_close(&u);
	vio_link_close(l);
	vio_loop_free(loop);
}

static void changed(void *arg) { vio_loop_quit(arg); }

static void a_tap_that_goes_down_is_told(void **state)
{
	struct vio_loop *loop = vio_loop_new();
	struct user u;
	(void)state;
	need_namespace();
	struct vio_link *l = open_tap("vio-t1", 1, &loop);
	l->changed = changed;
	l->changed_arg = loop;
	user_open(&u, l, 0, NULL);
	set_flags("vio-t1", 0);
	for (unsigned i = 0; l->up && i < 100; i++)
		run(loop, 50);
	assert_false(l->up);
	assert_int_equal(user_send(&u, NULL, frame, 60, 60), VIO_SENT_DROPPED);
	set_flags("vio-t1", IFF_UP);
	for (unsigned i = 0; !l->up && i < 100; i++)
		run(loop, 50);
	assert_true(l->up);
	user_close(&u);
	vio_link_close(l);
	vio_loop_free(loop);
}

/* IPv4, TCP, with the pseudo header's sum in the checksum's place, as a driver leaves it. */
static size_t tcp_frame(size_t payload)
{
	static const unsigned char head[54] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 0,
		0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2,
		0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0
	};
	uint32_t sum = 0;
	memcpy(frame, head, sizeof head);
	pattern(frame + 54, payload, 1);
	frame[16] = (unsigned char)((40 + payload) >> 8);
	frame[17] = (unsigned char)(40 + payload);
	for (unsigned i = 14; i < 34; i += 2)
		sum += (uint32_t)frame[i] << 8 | frame[i + 1];
	sum = ~((sum & 0xffff) + (sum >> 16));
	frame[24] = (unsigned char)(sum >> 8);
	frame[25] = (unsigned char)sum;
	sum = 0;
	for (unsigned i = 26; i < 34; i += 2)
		sum += (uint32_t)frame[i] << 8 | frame[i + 1];
	sum += 6 + 20 + (uint32_t)payload;
	sum = (sum & 0xffff) + (sum >> 16);
	frame[50] = (unsigned char)(sum >> 8);
	frame[51] = (unsigned char)sum;
	return 54 + payload;
}

static bool tcp_sum_is_right(const unsigned char *f, size_t n)
{
	uint32_t sum = 6 + (uint32_t)(n - 34);
	for (size_t i = 26; i < n; i += 2)
		sum += (uint32_t)f[i] << 8 | (i + 1 < n ? f[i + 1] : 0);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum == 0xffff;
}

/* From one tap to another over a bridge's place: an interface link on the first forwards nothing, so two links face each other. */
static void offloads_pass_through_both(void **state)
{
	const struct vio_frame tso = { .flags = VIO_FRAME_NEEDS_CSUM, .gso = VIO_FRAME_TCP4, .gso_size = 1000, .header = 54,
		.csum_start = 34, .csum_offset = 16 };
	const struct vio_frame csum = { .flags = VIO_FRAME_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 };
	struct vio_loop *loop = vio_loop_new();
	char why[VIO_WHY] = "";
	struct user tap, eth;
	(void)state;
	need_namespace();
	struct vio_link *t = open_tap("vio-t2", 1, &loop);
	struct vio_link *e = vio_link_interface_open(&(struct vio_link_interface_options){ .name = "vio-t2", .lanes = 1,
		.place = { &loop, 1 } }, why);
	if (!e)
		fail_msg("%s", why);
	assert_int_equal(e->mtu, 1500);
	user_open(&tap, t, 0, loop);
	user_open(&eth, e, 0, loop);
	while (user_receive(&eth, 16))
		;
	/* The guest of the tap sends: the interface's listener sees it whole. */
	user_forget(&eth);
	size_t n = tcp_frame(5000);
	assert_int_equal(user_send(&tap, &tso, frame, n, 4000), VIO_SENT);
	for (unsigned i = 0; !eth.count && i < 100; i++)
		if (!user_receive(&eth, 1))
			run(loop, 50);
	assert_int_equal(eth.got[0].length, n);
	assert_int_equal(eth.got[0].frame.gso, VIO_FRAME_TCP4);
	assert_int_equal(eth.got[0].frame.gso_size, 1000);
	assert_memory_equal(eth.got[0].bytes + 54, frame + 54, 5000);
	/* The other way: a tap whose guest takes TSO gets it whole, one whose guest does not gets pieces with their sums. */
	for (unsigned takes = 0; takes < 2; takes++) {
		tap.lane->ops->offloads(tap.lane, takes ? VIO_LINK_ALL : 0);
		while (user_receive(&tap, 16))
			;
		user_forget(&tap);
		n = tcp_frame(5000);
		assert_int_equal(user_send(&eth, &tso, frame, n, 4000), VIO_SENT);
		size_t payload = 0;
		for (unsigned i = 0, seen = 0; payload < 5000 && i < 100; i++) {
			if (!user_receive(&tap, 16))
				run(loop, 50);
			for (; seen < tap.count; seen++) {
				struct got *g = &tap.got[seen % GOT];
				if (g->length < 54 || memcmp(g->bytes + 26, "\x0a\x09\0\1", 4))
					continue;
				payload += g->length - 54;
				assert_int_equal(g->length, takes ? n : 1054);
				assert_int_equal(g->frame.gso, takes ? VIO_FRAME_TCP4 : VIO_FRAME_WHOLE);
				assert_true(takes || tcp_sum_is_right(g->bytes, g->length));
			}
		}
		assert_int_equal(payload, 5000);
	}
	/* A sum that is still to be made is made by the kernel. */
	tap.lane->ops->offloads(tap.lane, 0);
	user_forget(&tap);
	n = tcp_frame(300);
	assert_int_equal(user_send(&eth, &csum, frame, n, 4000), VIO_SENT);
	for (unsigned i = 0; !tap.count && i < 100; i++)
		if (!user_receive(&tap, 1))
			run(loop, 50);
	assert_true(tap.got[0].length == n && tcp_sum_is_right(tap.got[0].bytes, n));
	user_close(&eth);
	user_close(&tap);
	vio_link_close(e);
	vio_link_close(t);
	vio_loop_free(loop);
}

static void several_queues_share(void **state)
{
	struct vio_loop *loop = vio_loop_new();
	struct user u[3];
	(void)state;
	need_namespace();
	struct vio_link *l = open_tap("vio-t3", 3, &loop);
	for (unsigned i = 0; i < 3; i++)
		user_open(&u[i], l, i, loop);
	int fd = listen_to("vio-t3");
	fill_frame(100, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(user_send(&u[i], NULL, frame, 100, 100), VIO_SENT);
	unsigned char heard[200];
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(recv(fd, heard, sizeof heard, 0), 100);
	/* Queues that nobody reads get nothing. */
	u[0].lane->ops->enable(u[0].lane, false);
	u[2].lane->ops->enable(u[2].lane, false);
	for (unsigned i = 0; i < 20; i++) {
		frame[11] = (unsigned char)i;
		assert_int_equal(send(fd, frame, 100, 0), 100);
	}
	assert_int_equal(ours(&u[1], 20, loop), 20);
	close(fd);
	u[0].lane->ops->enable(u[0].lane, true);
	u[2].lane->ops->enable(u[2].lane, true);
	for (unsigned i = 0; i < 3; i++)
		user_close(&u[i]);
	vio_link_close(l);
	vio_loop_free(loop);
}

static void inherited_descriptors_are_looked_at(void **state)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	struct vio_loop *loop = vio_loop_new();
	char why[VIO_WHY] = "";
	struct user u;
	(void)state;
	need_namespace();
	int fds[2] = { open("/dev/net/tun", O_RDWR), open("/dev/null", O_RDWR) };
	struct vio_link_tap_options o = { .fds = &fds[1], .lanes = 1, .place = { &loop, 1 } };
	assert_null(vio_link_tap_open(&o, why));
	assert_non_null(strstr(why, "is not a tap"));
	strcpy(r.ifr_name, "vio-t4");
	assert_int_equal(ioctl(fds[0], TUNSETIFF, &r), 0);
	o.fds = fds;
	struct vio_link *l = vio_link_tap_open(&o, why);	/* without headers: without offloads */
	assert_non_null(l);
	assert_int_equal(l->takes, 0);
	assert_false(l->up);
	set_flags("vio-t4", IFF_UP);
	user_open(&u, l, 0, loop);
	int fd = listen_to("vio-t4");
	unsigned char heard[200];
	fill_frame(100, 1);
	assert_int_equal(user_send(&u, NULL, frame, 100, 30), VIO_SENT);
	assert_int_equal(recv(fd, heard, sizeof heard, 0), 100);
	assert_memory_equal(heard, frame, 100);
	assert_int_equal(send(fd, frame, 100, 0), 100);
	assert_int_equal(ours(&u, 1, loop), 1);
	close(fd);
	user_close(&u);
	vio_link_close(l);
	vio_loop_free(loop);
}

static void refusals_say_why(void **state)
{
	struct vio_loop *loop = vio_loop_new();
	char why[VIO_WHY] = "";
	(void)state;
	assert_null(vio_link_interface_open(&(struct vio_link_interface_options){ .name = "vio-none", .lanes = 1, .place = { &loop, 1 } }, why));
	assert_non_null(strstr(why, "there is no interface"));
	need_namespace();
	struct vio_link_tap_options o = { .name = "lo", .lanes = 1, .place = { &loop, 1 } };
	assert_null(vio_link_tap_open(&o, why));
	assert_non_null(strstr(why, "choose"));
	struct vio_link *one = open_tap("vio-t5", 1, &loop);
	o.name = "vio-t5";
	assert_null(vio_link_tap_open(&o, why));
	assert_non_null(strstr(why, "in use"));
	vio_link_close(one);
	vio_loop_free(loop);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(a_tap_carries_frames, "a tap carries frames both ways, and forgets what came for nobody"),
		T(a_tap_that_goes_down_is_told, "a tap that goes down or comes up is told"),
		T(offloads_pass_through_both, "segmentation and checksums pass through tap and interface, or are done by the kernel"),
		T(several_queues_share, "each queue of a tap sends, and what is received goes to those that are on"),
		T(inherited_descriptors_are_looked_at, "an inherited descriptor must be a tap, and serves without offloads if it has no headers"),
		T(refusals_say_why, "what can't be is refused in a sentence"),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return _cmocka_run_group_tests("host-link-world", tests, sizeof tests / sizeof *tests, own_namespace, NULL);
}
