/* The twins among the links: the pair, the faulty one, source and sink; and frames in the kernel's words. */
#include "link_rig.h"
#include <vio/host/link_impl.h>
#include <linux/virtio_net.h>
#include <sys/socket.h>

static unsigned char bytes[VIO_FRAME_MAX + 1];

static void a_pair_carries_frames(void **state)
{
	static const size_t lengths[] = { 14, 60, 1514, 9014, VIO_FRAME_MAX };
	const struct vio_frame f = { .flags = VIO_FRAME_NEEDS_CSUM, .gso = VIO_FRAME_TCP4, .ecn = true, .gso_size = 1460, .header = 54,
		.csum_start = 34, .csum_offset = 16 };
	struct vio_link *end[2];
	struct user a, b;
	(void)state;
	assert_true(vio_link_pair_open(2, 4, VIO_LINK_ALL, end));
	user_open(&a, end[0], 1, NULL);
	user_open(&b, end[1], 1, NULL);
	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		pattern(bytes, lengths[i], i);
		assert_int_equal(user_send(&a, &f, bytes, lengths[i], 1000), VIO_SENT);
		assert_int_equal(user_receive(&b, 8), 1);
		assert_true(user_got(&b, i, bytes, lengths[i]));
		assert_memory_equal(&b.got[i].frame, &f, sizeof f);
	}
	assert_int_equal(user_send(&a, NULL, bytes, sizeof bytes, 5000), VIO_SENT_DROPPED);
	assert_int_equal(user_receive(&a, 8), 0);
	user_close(&a);
	user_close(&b);
	vio_link_close(end[0]);
	vio_link_close(end[1]);
}

static void a_full_pair_says_so_and_calls_back(void **state)
{
	struct vio_link *end[2];
	struct user a, b;
	(void)state;
	assert_true(vio_link_pair_open(1, 4, VIO_LINK_ALL, end));
	user_open(&a, end[0], 0, NULL);
	user_open(&b, end[1], 0, NULL);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(user_send(&a, NULL, bytes, 60 + i, 20), VIO_SENT);
	assert_int_equal(b.ready, 1);		/* once, not for each */
	assert_int_equal(user_send(&a, NULL, bytes, 99, 20), VIO_SENT_NO_ROOM);
	assert_int_equal(a.ready, 0);
	b.refuse_after = 1;
	assert_int_equal(user_receive(&b, 4), 1);
	assert_int_equal(a.ready, 1);
	b.refuse_after = 10;
	assert_int_equal(user_receive(&b, 2), 2);
	assert_int_equal(b.got[1].length, 61);	/* the refused one is offered again */
	assert_int_equal(user_send(&a, NULL, bytes, 70, 20), VIO_SENT);
	assert_int_equal(b.ready, 1);		/* it has not been told that there is nothing */
	assert_int_equal(user_receive(&b, 9), 2);
	assert_int_equal(user_send(&a, NULL, bytes, 70, 20), VIO_SENT);
	assert_int_equal(b.ready, 2);
	user_close(&a);
	user_close(&b);
	vio_link_close(end[0]);
	vio_link_close(end[1]);
}

static void changed(void *arg) { ++*(unsigned *)arg; }

static void what_nobody_is_there_for_is_lost(void **state)
{
	struct vio_link *end[2];
	struct user a, b;
	unsigned changes = 0;
	(void)state;
	assert_true(vio_link_pair_open(1, 4, VIO_LINK_CSUM, end));
	user_open(&a, end[0], 0, NULL);
	assert_int_equal(user_send(&a, NULL, bytes, 60, 20), VIO_SENT_DROPPED);
	user_open(&b, end[1], 0, NULL);
	assert_int_equal(user_send(&a, NULL, bytes, 60, 20), VIO_SENT);
	assert_int_equal(user_send(&a, &(struct vio_frame){ .gso = VIO_FRAME_TCP6, .gso_size = 9 }, bytes, 60, 20), VIO_SENT_DROPPED);
	b.lane->ops->enable(b.lane, false);
	b.lane->ops->enable(b.lane, true);
	assert_int_equal(user_receive(&b, 4), 0);
	end[1]->changed = changed;
	end[1]->changed_arg = &changes;
	vio_link_pair_set(end[0], false);
	assert_int_equal(changes, 1);
	assert_false(end[1]->up);
	assert_int_equal(user_send(&a, NULL, bytes, 60, 20), VIO_SENT_DROPPED);
	vio_link_pair_set(end[0], true);
	assert_int_equal(changes, 2);
	assert_int_equal(user_send(&a, NULL, bytes, 60, 20), VIO_SENT);
	user_close(&a);
	user_close(&b);
	vio_link_close(end[0]);
	vio_link_close(end[1]);
}

static void faults_come_as_planned(void **state)
{
	struct vio_link *end[2];
	struct user a, b;
	(void)state;
	assert_true(vio_link_pair_open(1, 8, VIO_LINK_ALL, end));
	struct vio_link *f = vio_link_faulty_open(end[0], &(struct vio_link_faults){ .full_every = 3, .drop_every = 4, .late_every = 2 });
	user_open(&a, f, 0, NULL);
	user_open(&b, end[1], 0, NULL);
	static const enum vio_sent wanted[] = { VIO_SENT, VIO_SENT, VIO_SENT_NO_ROOM, VIO_SENT_DROPPED, VIO_SENT, VIO_SENT_NO_ROOM };
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(user_send(&a, NULL, bytes, 60, 20), wanted[i]);
	assert_int_equal(user_receive(&b, 9), 3);
	assert_int_equal(a.ready, 0);
	vio_link_faulty_release(f);
	assert_int_equal(a.ready, 1);
	vio_link_faulty_release(f);
	assert_int_equal(a.ready, 1);
	assert_int_equal(user_send(&b, NULL, bytes, 60, 20), VIO_SENT);
	assert_int_equal(user_send(&b, NULL, bytes, 61, 20), VIO_SENT);
	assert_int_equal(user_receive(&a, 1), 1);
	unsigned before = a.ready;
	assert_int_equal(user_receive(&a, 1), 0);	/* late */
	vio_link_faulty_release(f);
	assert_int_equal(a.ready, before + 1);
	assert_int_equal(user_receive(&a, 1), 1);
	vio_link_pair_set(end[1], false);
	assert_false(f->up);
	user_close(&a);
	user_close(&b);
	vio_link_close(f);
	vio_link_close(end[1]);
	f = vio_link_faulty_open(vio_link_null_open(1, 0), &(struct vio_link_faults){ .no_lane = true });
	assert_null(f->ops->lane(f, 0));
	vio_link_close(f);
}

static void the_null_link_is_source_and_sink(void **state)
{
	static const uint32_t sizes[] = { 64, 1500, 2049, VIO_FRAME_MAX };
	struct user u;
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct vio_link *l = vio_link_null_open(2, sizes[i]);
		user_open(&u, l, 1, NULL);
		assert_int_equal(user_receive(&u, 40), 40);
		for (unsigned k = 0; k < 40; k++) {
			assert_int_equal(u.got[k].length, sizes[i]);
			assert_memory_equal(u.got[k].bytes, "\xff\xff\xff\xff\xff\xff", 6);
			assert_int_equal(u.got[k].bytes[sizes[i] - 1], (sizes[i] - 1) & 0xff);
		}
		u.refuse_after = 3;
		assert_int_equal(user_receive(&u, 40), 3);
		for (unsigned k = 0; k < 200; k++)
			assert_int_equal(user_send(&u, NULL, bytes, sizes[(i + k) % 4], 999), VIO_SENT);
		assert_int_equal(user_send(&u, NULL, bytes, sizeof bytes, 999), VIO_SENT_DROPPED);
		assert_null(l->ops->lane(l, 2));
		user_close(&u);
		vio_link_close(l);
	}
	struct vio_link *silent = vio_link_null_open(1, 0);
	user_open(&u, silent, 0, NULL);
	assert_int_equal(user_receive(&u, 40), 0);
	assert_int_equal(user_send(&u, NULL, bytes, 60, 7), VIO_SENT);
	user_close(&u);
	vio_link_close(silent);
}

/* Bytes as a tap gives them, and what they mean. */
/* On each link that is there for its own. */
static void what_is_cut_is_lost(void **state)
{
	char name[] = "/tmp/vio-cut-XXXXXX", why[VIO_WHY];
	struct vio_loop *loop = vio_loop_new();
	struct vio_link *l = vio_link_null_open(1, 60);
	struct user u;
	int pair[2];
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		if (i == 1) {
			assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
			l = vio_link_socket_open(&(struct vio_link_socket_options){ .fd = pair[1], .place = { &loop, 1 } }, why);
		} else if (i == 2) {
			l = vio_link_pcap_open(vio_link_null_open(1, 60), mkstemp(name), 1000, (struct vio_link_place){ &loop, 1 }, NULL, NULL, why);
		}
		user_open(&u, l, 0, NULL);
		vio_link_set(l, l->carrier, true);
		if (i == 1)
			assert_int_equal(write(pair[0], bytes, 60), 60);
		assert_int_equal(user_send(&u, NULL, bytes, 60, 20), VIO_SENT_DROPPED);
		user_receive(&u, 1);
		assert_int_equal(u.count, 0);
		vio_link_set(l, l->carrier, false);
		if (i == 1)
			assert_int_equal(write(pair[0], bytes, 60), 60);
		assert_int_equal(user_send(&u, NULL, bytes, 60, 20), VIO_SENT);
		assert_int_equal(user_receive(&u, 1), 1);
		assert_int_equal(u.count, 1);
		user_close(&u);
		vio_link_close(l);
	}
	close(pair[0]);
	unlink(name);
	vio_loop_free(loop);
}

static void frames_in_the_kernels_words(void **state)
{
	static const struct { struct virtio_net_hdr h; unsigned length; bool good; struct vio_frame f; unsigned uses; } row[] = {
		{ { 0, 0, 0, 0, 0, 0 }, 60, true, { 0 }, 0 },
		{ { 2, 0, 0, 0, 0, 0 }, 60, true, { .flags = VIO_FRAME_CSUM_VALID }, 0 },
		{ { 1, 0, 54, 0, 34, 16 }, 60, true, { .flags = 1, .header = 54, .csum_start = 34, .csum_offset = 16 }, VIO_LINK_CSUM },
		{ { 1, 0, 0, 0, 34, 24 }, 60, true, { .flags = 1, .csum_start = 34, .csum_offset = 24 }, VIO_LINK_CSUM },
		{ { 1, 0, 0, 0, 34, 25 }, 60, false, { 0 }, 0 },
		{ { 1, 0, 0, 0, 0xffff, 0xffff }, 60, false, { 0 }, 0 },
		{ { 1, 1, 54, 1460, 34, 16 }, 5000, true,
		  { .flags = 1, .gso = VIO_FRAME_TCP4, .gso_size = 1460, .header = 54, .csum_start = 34, .csum_offset = 16 },
		  VIO_LINK_CSUM | VIO_LINK_TSO4 },
		{ { 1, 0x84, 74, 1440, 54, 16 }, 5000, true,
		  { .flags = 1, .gso = VIO_FRAME_TCP6, .ecn = true, .gso_size = 1440, .header = 74, .csum_start = 54, .csum_offset = 16 },
		  VIO_LINK_CSUM | VIO_LINK_TSO6 | VIO_LINK_ECN },
		{ { 0, 3, 0, 1480, 0, 0 }, 5000, true, { .gso = VIO_FRAME_UFO, .gso_size = 1480 }, VIO_LINK_UFO },
		{ { 1, 5, 42, 1400, 34, 6 }, 5000, true,
		  { .flags = 1, .gso = VIO_FRAME_USO, .gso_size = 1400, .header = 42, .csum_start = 34, .csum_offset = 6 },
		  VIO_LINK_CSUM | VIO_LINK_USO4 | VIO_LINK_USO6 },
		{ { 1, 1, 54, 0, 34, 16 }, 5000, false, { 0 }, 0 },		/* pieces of nothing */
		{ { 0, 2, 0, 1480, 0, 0 }, 5000, false, { 0 }, 0 },		/* no such type */
		{ { 0, 0x7f, 0, 1480, 0, 0 }, 5000, false, { 0 }, 0 },
	};
	struct vio_frame f;
	(void)state;
	for (unsigned i = 0; i < sizeof row / sizeof *row; i++) {
		assert_int_equal(vio_link_from_vnet(&f, &row[i].h, row[i].length), row[i].good);
		if (!row[i].good)
			continue;
		assert_memory_equal(&f, &row[i].f, sizeof f);
		assert_int_equal(vio_link_uses(&f), row[i].uses);
		struct virtio_net_hdr back;
		vio_link_to_vnet(&back, &f);
		assert_memory_equal(&back, &row[i].h, sizeof back);
	}
	assert_int_equal(vio_link_tun_offloads(VIO_LINK_ALL), 0x7f);
	assert_int_equal(vio_link_tun_offloads(VIO_LINK_ALL & ~VIO_LINK_CSUM), 0);
	assert_int_equal(vio_link_tun_offloads(VIO_LINK_CSUM | VIO_LINK_ECN | VIO_LINK_USO4), 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(a_pair_carries_frames, "a pair of links carries frames of every length, and what goes with them"),
		T(a_full_pair_says_so_and_calls_back, "a full link says so, and calls back once there is room; what was refused is offered again"),
		T(what_nobody_is_there_for_is_lost, "what is sent to nobody, over a link that is down, or with an offload it does not take is lost"),
		T(faults_come_as_planned, "the faulty link fails as planned"),
		T(the_null_link_is_source_and_sink, "the null link gives as many frames as are asked for, and swallows all"),
		T(what_is_cut_is_lost, "while the operator cuts a link, what is sent is lost and nothing comes; afterwards it does"),
		T(frames_in_the_kernels_words, "frames and the kernel's headers say the same, and what makes no sense is refused"),
	};
	return vio_tests("host-link", tests, sizeof tests / sizeof *tests);
}
