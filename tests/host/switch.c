/* The switch, over memory: where frames go, what they look like there, and what a port may not do. */
#include "link_rig.h"
#include <vio/host/switch.h>

enum { PORTS = 4 };
#define SECOND UINT64_C(1000000000)

static uint64_t now = 1000 * SECOND;
static uint64_t clock_now(void) { return now; }

struct bench {
	struct vio_switch *s;
	struct vio_link *link[PORTS];
	struct user user[PORTS];
	unsigned now_room[PORTS];	/* frames that deliver_now takes */
	unsigned ports;
};

/* ---- The rig ---- */

static struct bench *on;		/* the one that runs */

static bool deliver_now(void *arg, const struct vio_frame *f, struct vio_cur bytes)
{
	struct user *u = arg;
	unsigned *room = &on->now_room[u - on->user];
	if (!*room)
		return false;
	--*room;
	return user_deliver(arg, f, bytes);
}

static void begin(struct bench *b, unsigned ports, const struct vio_switch_port_options *o)
{
	char why[VIO_WHY];
	memset(b, 0, sizeof *b);
	on = b;
	b->s = vio_switch_new(&(struct vio_switch_options){ .seed = 7, .now = clock_now });
	b->ports = ports;
	for (unsigned i = 0; i < ports; i++) {
		struct vio_switch_port_options plain = { .lanes = 2 };
		b->link[i] = vio_switch_port(b->s, o ? &o[i] : &plain, why);
		if (!b->link[i])
			fail_msg("%s", why);
		user_open(&b->user[i], b->link[i], 0, NULL);
	}
}

static void end(struct bench *b)
{
	for (unsigned i = 0; i < b->ports; i++) {
		user_close(&b->user[i]);
		vio_link_close(b->link[i]);
	}
	vio_switch_free(b->s);
}

/* A frame from station a to station b (255: everybody), n bytes. */
static unsigned char frame[VIO_FRAME_MAX + 16];
static void write_frame(unsigned from, unsigned to, size_t n)
{
	pattern(frame, n, from + to);
	memset(frame, to == 255 ? 255 : 0, 6);
	frame[0] = to == 255 ? 255 : 2;
	frame[5] = (unsigned char)to;
	memcpy(frame + 6, "\x02\0\0\0\0", 5);
	frame[11] = (unsigned char)from;
	frame[12] = 0x88;
	frame[13] = 0xb5;
}

static void write_tagged(unsigned from, unsigned to, size_t n, unsigned vlan)
{
	write_frame(from, to, n - 4);
	memmove(frame + 16, frame + 12, n - 16);
	memcpy(frame + 12, (unsigned char[]){ 0x81, 0, (unsigned char)(vlan >> 8), (unsigned char)vlan }, 4);
}

static enum vio_sent say(struct bench *b, unsigned port, size_t n) { return user_send(&b->user[port], NULL, frame, n, 11); }

static void send_frame(struct bench *b, unsigned port, unsigned from, unsigned to)
{
	write_frame(from, to, 100);
	assert_int_equal(say(b, port, 100), VIO_SENT);
}

/* How many frames come to each port. */
static void expect(struct bench *b, unsigned p0, unsigned p1, unsigned p2, unsigned p3)
{
	const unsigned wanted[PORTS] = { p0, p1, p2, p3 };
	for (unsigned i = 0; i < b->ports; i++) {
		user_receive(&b->user[i], 1000);
		if (b->user[i].count != wanted[i])
			fail_msg("port %u got %u frames, not %u", i, b->user[i].count, wanted[i]);
		user_forget(&b->user[i]);
	}
}

/* ---- Where frames go ---- */

static void frames_go_to_all_until_the_address_is_known(void **state)
{
	struct bench b;
	(void)state;
	begin(&b, 4, NULL);
	send_frame(&b, 0, 10, 11);
	expect(&b, 0, 1, 1, 1);
	send_frame(&b, 1, 11, 10);
	expect(&b, 1, 0, 0, 0);
	send_frame(&b, 0, 10, 11);
	expect(&b, 0, 1, 0, 0);
	send_frame(&b, 0, 10, 255);
	expect(&b, 0, 1, 1, 1);
	send_frame(&b, 1, 12, 11);	/* two stations behind one port: never back to it */
	expect(&b, 0, 0, 0, 0);
	struct vio_switch_counts c = vio_switch_counts(b.link[0]);
	assert_int_equal(c.in_frames, 3);
	assert_int_equal(c.in_bytes, 300);
	assert_int_equal(c.flooded, 2);
	assert_int_equal(c.out_frames, 1);
	end(&b);
}

static void addresses_age_and_can_be_forgotten(void **state)
{
	struct bench b;
	(void)state;
	begin(&b, 3, NULL);
	send_frame(&b, 1, 11, 255);
	expect(&b, 1, 0, 1, 0);
	now += 299 * SECOND;
	send_frame(&b, 0, 10, 11);
	expect(&b, 0, 1, 0, 0);
	now += 2 * SECOND;
	send_frame(&b, 0, 10, 11);
	expect(&b, 0, 1, 1, 0);
	send_frame(&b, 1, 11, 10);
	expect(&b, 1, 0, 0, 0);
	vio_switch_forget(b.s, b.link[1]);
	send_frame(&b, 0, 10, 11);
	expect(&b, 0, 1, 1, 0);
	send_frame(&b, 1, 11, 10);
	expect(&b, 1, 0, 0, 0);
	b.user[1].lane->ops->enable(b.user[1].lane, false);	/* its guest has gone */
	send_frame(&b, 0, 10, 11);
	expect(&b, 0, 0, 1, 0);
	b.user[1].lane->ops->enable(b.user[1].lane, true);
	end(&b);
}

static void a_frame_is_passed_on_as_it_was(void **state)
{
	static const size_t lengths[] = { 14, 60, 1514, 9014, VIO_FRAME_MAX };
	const struct vio_frame f = { .flags = VIO_FRAME_NEEDS_CSUM, .gso = VIO_FRAME_TCP4, .ecn = true, .gso_size = 1448, .header = 54,
		.csum_start = 34, .csum_offset = 16 };
	struct bench b;
	(void)state;
	begin(&b, 2, NULL);
	for (unsigned now_room = 0; now_room < 2; now_room++)
		for (unsigned i = 0; i < 5; i++)
			for (size_t piece = 1; piece < 40000; piece = piece * 7 + 5) {
				b.user[1].lane->deliver_now = deliver_now;
				b.now_room[1] = now_room;
				write_frame(10, 255, lengths[i]);
				assert_int_equal(user_send(&b.user[0], &f, frame, lengths[i], piece), VIO_SENT);
				assert_int_equal(user_receive(&b.user[1], 9), !now_room);
				assert_true(user_got(&b.user[1], 0, frame, lengths[i]));
				assert_memory_equal(&b.user[1].got[0].frame, &f, sizeof f);
				user_forget(&b.user[1]);
			}
	assert_int_equal(say(&b, 0, 13), VIO_SENT_DROPPED);
	assert_int_equal(say(&b, 0, VIO_FRAME_MAX + 1), VIO_SENT_DROPPED);
	end(&b);
}

/* ---- Copied once, or waiting ---- */

static void who_has_buffers_gets_it_at_once_and_in_order(void **state)
{
	struct bench b;
	(void)state;
	begin(&b, 2, NULL);
	b.user[1].lane->deliver_now = deliver_now;
	b.now_room[1] = 2;
	for (unsigned i = 0; i < 4; i++) {
		write_frame(10, 255, 100 + i);
		assert_int_equal(say(&b, 0, 100 + i), VIO_SENT);
	}
	assert_int_equal(b.user[1].count, 2);
	assert_int_equal(b.user[1].ready, 1);		/* once, not for each */
	b.now_room[1] = 9;
	write_frame(10, 255, 104);
	assert_int_equal(say(&b, 0, 104), VIO_SENT);	/* behind those that wait */
	assert_int_equal(b.user[1].count, 2);
	b.user[1].refuse_after = 1;
	assert_int_equal(user_receive(&b.user[1], 9), 1);
	b.user[1].refuse_after = 99;
	assert_int_equal(user_receive(&b.user[1], 1), 1);
	assert_int_equal(user_receive(&b.user[1], 9), 1);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(b.user[1].got[i].length, 100 + i);
	write_frame(10, 255, 105);
	assert_int_equal(say(&b, 0, 105), VIO_SENT);
	assert_int_equal(b.user[1].count, 6);
	assert_int_equal(vio_switch_counts(b.link[1]).direct, 3);
	assert_int_equal(vio_switch_counts(b.link[1]).out_frames, 6);
	end(&b);
}

static void who_takes_nothing_loses_and_holds_up_nobody(void **state)
{
	struct bench b;
	unsigned kept;
	(void)state;
	begin(&b, 3, NULL);
	for (unsigned i = 0; i < 20; i++) {
		write_frame(10, 255, VIO_FRAME_MAX);
		assert_int_equal(say(&b, 0, VIO_FRAME_MAX), VIO_SENT);
		user_receive(&b.user[2], 9);
	}
	assert_int_equal(b.user[2].count, 20);
	kept = 20 - (unsigned)vio_switch_counts(b.link[1]).lost;
	assert_true(kept >= 6 && kept < 9);		/* half a mebibyte */
	assert_int_equal(user_receive(&b.user[1], 99), kept);
	for (unsigned i = 0; i < kept; i++)
		assert_true(user_got(&b.user[1], i, frame, VIO_FRAME_MAX));
	vio_link_set(b.link[1], false, false);
	user_forget(&b.user[1]);
	send_frame(&b, 0, 10, 255);
	assert_int_equal(user_receive(&b.user[1], 9), 0);
	vio_link_set(b.link[0], true, true);
	assert_int_equal(say(&b, 0, 100), VIO_SENT_DROPPED);
	end(&b);
}

/* ---- VLANs ---- */

static void vlans_are_networks_of_their_own(void **state)
{
	struct vio_switch_port_options o[4] = { { .lanes = 1, .vlan = 10 }, { .lanes = 1, .vlan = 10 }, { .lanes = 1, .vlan = 20 },
		{ .lanes = 1, .vlan = 20 } };
	struct bench b;
	struct vio_frame f = { .flags = VIO_FRAME_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6, .header = 42 };
	(void)state;
	vio_vlan_add(&o[3].tagged, 10);		/* a trunk: 10 with a tag, 20 without */
	begin(&b, 4, o);
	write_frame(1, 255, 100);
	assert_int_equal(user_send(&b.user[0], &f, frame, 100, 9), VIO_SENT);
	user_receive(&b.user[1], 9);
	user_receive(&b.user[3], 9);
	assert_true(user_got(&b.user[1], 0, frame, 100));
	assert_int_equal(b.user[1].got[0].frame.csum_start, 34);
	write_tagged(1, 255, 104, 10);
	assert_true(user_got(&b.user[3], 0, frame, 104));
	assert_int_equal(b.user[3].got[0].frame.csum_start, 38);
	assert_int_equal(b.user[3].got[0].frame.header, 46);
	expect(&b, 0, 1, 0, 1);
	/* From the trunk: a tag comes off where the VLAN is the port's own. */
	f.csum_start = 38;
	f.header = 46;
	write_tagged(4, 255, 104, 10);
	assert_int_equal(user_send(&b.user[3], &f, frame, 104, 17), VIO_SENT);
	user_receive(&b.user[0], 9);
	write_frame(4, 255, 100);
	assert_true(user_got(&b.user[0], 0, frame, 100));
	assert_int_equal(b.user[0].got[0].frame.csum_start, 34);
	assert_int_equal(b.user[0].got[0].frame.header, 42);
	expect(&b, 1, 1, 0, 0);
	/* The same address in two VLANs is two stations. */
	send_frame(&b, 2, 1, 255);
	expect(&b, 0, 0, 0, 1);
	send_frame(&b, 1, 2, 1);
	expect(&b, 1, 0, 0, 0);
	send_frame(&b, 3, 4, 1);
	expect(&b, 0, 0, 1, 0);
	end(&b);
}

static void a_tag_that_is_not_for_the_port_is_refused(void **state)
{
	static const struct { unsigned vlan; enum vio_sent verdict; } rows[] = {
		{ 10, VIO_SENT }, { 20, VIO_SENT_DROPPED }, { 4095, VIO_SENT_DROPPED }, { 30, VIO_SENT }, { 0, VIO_SENT }, { 1, VIO_SENT_DROPPED },
	};
	struct vio_switch_port_options o[2] = { { .lanes = 1, .vlan = 10 }, { .lanes = 1, .vlan = 10 } };
	struct bench b;
	unsigned refused = 0;
	(void)state;
	vio_vlan_add(&o[0].tagged, 30);
	begin(&b, 2, o);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		write_tagged(1, 255, 104, rows[i].vlan);
		assert_int_equal(say(&b, 0, 104), rows[i].verdict);
		refused += rows[i].verdict == VIO_SENT_DROPPED;
		assert_int_equal(vio_switch_counts(b.link[0]).strange_vlan, refused);
	}
	user_receive(&b.user[1], 9);		/* 10 and 0, without their tags; 30 is not carried there */
	assert_int_equal(b.user[1].count, 2);
	write_frame(1, 255, 100);
	assert_true(user_got(&b.user[1], 1, frame, 100));
	write_tagged(1, 255, 16, 10);		/* nothing behind the tag */
	assert_int_equal(say(&b, 0, 16), VIO_SENT);
	end(&b);
}

/* ---- What a port may not do ---- */

static void addresses_that_are_fixed_cannot_be_taken(void **state)
{
	struct vio_switch_port_options o[3] = {
		{ .lanes = 1, .has_mac = true, .locked = true, .mac = { 2, 0, 0, 0, 0, 10 } }, { .lanes = 1, .takeovers = 100 },
		{ .lanes = 1 }
	};
	struct bench b;
	char why[VIO_WHY];
	(void)state;
	begin(&b, 3, o);
	assert_null(vio_switch_port(b.s, &o[0], why));
	assert_non_null(strstr(why, "02:00:00:00:00:0a"));
	send_frame(&b, 2, 12, 10);		/* known before it has said anything */
	expect(&b, 1, 0, 0, 0);
	write_frame(10, 255, 100);
	assert_int_equal(say(&b, 1, 100), VIO_SENT_DROPPED);
	assert_int_equal(vio_switch_counts(b.link[1]).strange_source, 1);
	write_frame(13, 255, 100);
	assert_int_equal(say(&b, 0, 100), VIO_SENT_DROPPED);	/* it is locked to its own */
	write_frame(10, 255, 100);
	assert_int_equal(say(&b, 0, 100), VIO_SENT);
	memset(frame + 6, 255, 6);
	assert_int_equal(say(&b, 0, 100), VIO_SENT_DROPPED);	/* nobody is everybody */
	expect(&b, 0, 1, 1, 0);
	end(&b);
}

static void addresses_move_so_often_and_no_oftener(void **state)
{
	struct vio_switch_port_options o[3] = { { .lanes = 1, .takeovers = 1 }, { .lanes = 1, .takeovers = 1 }, { .lanes = 1 } };
	struct bench b;
	(void)state;
	begin(&b, 3, o);
	send_frame(&b, 0, 10, 255);
	send_frame(&b, 0, 11, 255);
	write_frame(10, 255, 100);
	assert_int_equal(say(&b, 1, 100), VIO_SENT);		/* a station that has moved */
	write_frame(11, 255, 100);
	assert_int_equal(say(&b, 1, 100), VIO_SENT_DROPPED);	/* two of them within a second have not */
	write_frame(10, 255, 100);
	assert_int_equal(say(&b, 2, 100), VIO_SENT_DROPPED);	/* a port that may not at all */
	assert_int_equal(say(&b, 0, 100), VIO_SENT);		/* back again */
	now += 301 * SECOND;
	assert_int_equal(say(&b, 2, 100), VIO_SENT);		/* what was forgotten is nobody's */
	end(&b);
}

static void a_port_has_so_many_addresses(void **state)
{
	struct vio_switch_port_options o[2] = { { .lanes = 1, .addresses = 4 }, { .lanes = 1 } };
	struct bench b;
	(void)state;
	begin(&b, 2, o);
	for (unsigned i = 0; i < 10; i++) {
		write_frame(100 + i, 255, 100);
		assert_int_equal(say(&b, 0, 100), i < 4 ? VIO_SENT : VIO_SENT_DROPPED);
	}
	assert_int_equal(vio_switch_counts(b.link[0]).strange_source, 6);
	now += 301 * SECOND;
	assert_int_equal(say(&b, 0, 100), VIO_SENT);
	end(&b);
}

static bool count_one(void *arg, const struct vio_switch_address *a)
{
	(void)a;
	++*(unsigned *)arg;
	return true;
}

static void a_full_table_only_costs_who_filled_it(void **state)
{
	struct vio_switch_port_options o[3] = { { .lanes = 1, .addresses = 65535 }, { .lanes = 1 }, { .lanes = 1 } };
	struct bench b;
	unsigned known = 0;
	(void)state;
	begin(&b, 3, o);
	send_frame(&b, 1, 11, 255);
	for (unsigned i = 0; i < 20000; i++) {
		write_frame(10, 11, 100);
		frame[7] = (unsigned char)(i >> 8);
		frame[8] = (unsigned char)i;
		assert_int_equal(say(&b, 0, 100), VIO_SENT);	/* served, if not learned */
		user_receive(&b.user[1], 9);
		user_forget(&b.user[1]);
		user_receive(&b.user[2], 9);
	}
	vio_switch_each(b.s, count_one, &known);
	assert_int_equal(known, 20001 - vio_switch_counts(b.link[0]).unlearned);
	assert_true(known <= 8192 && known > 7000);
	assert_int_equal(b.user[2].count, 1);	/* 11 was known all the while */
	end(&b);
}

static void floods_have_a_limit(void **state)
{
	struct vio_switch_port_options o[3] = { { .lanes = 1, .floods = 5 }, { .lanes = 1 }, { .lanes = 1 } };
	struct bench b;
	(void)state;
	begin(&b, 3, o);
	send_frame(&b, 1, 11, 255);
	expect(&b, 1, 0, 1, 0);
	for (unsigned i = 0; i < 9; i++)
		send_frame(&b, 0, 10, i & 1 ? 255 : 77);
	assert_int_equal(vio_switch_counts(b.link[0]).limited, 4);
	expect(&b, 0, 5, 5, 0);
	send_frame(&b, 0, 10, 11);		/* whom it knows it reaches */
	send_frame(&b, 1, 11, 255);		/* others have their own */
	expect(&b, 1, 1, 1, 0);
	now += SECOND;
	for (unsigned i = 0; i < 9; i++)
		send_frame(&b, 0, 10, 255);
	expect(&b, 0, 5, 5, 0);
	end(&b);
}

static void frames_between_bridges_end_here(void **state)
{
	struct bench b;
	(void)state;
	begin(&b, 2, NULL);
	for (unsigned i = 0; i < 17; i++) {
		write_frame(10, 255, 100);
		memcpy(frame, (unsigned char[]){ 1, 0x80, 0xc2, 0, 0, (unsigned char)i }, 6);
		assert_int_equal(say(&b, 0, 100), VIO_SENT);
	}
	expect(&b, 0, 1, 0, 0);
	end(&b);
}

static void any_lane_takes_and_gives(void **state)
{
	struct bench b;
	struct user second;
	(void)state;
	begin(&b, 2, NULL);
	user_open(&second, b.link[0], 1, NULL);
	write_frame(10, 255, 100);
	assert_int_equal(user_send(&second, NULL, frame, 100, 9), VIO_SENT);
	expect(&b, 0, 1, 0, 0);
	b.user[0].lane->ops->enable(b.user[0].lane, false);
	send_frame(&b, 1, 11, 10);		/* not forgotten: one lane is on */
	assert_int_equal(user_receive(&second, 9), 1);
	assert_null(b.link[0]->ops->lane(b.link[0], 1));
	assert_null(b.link[0]->ops->lane(b.link[0], 2));
	user_close(&second);
	end(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(frames_go_to_all_until_the_address_is_known, "a frame goes to all until its address is known, then to one port, and never back"),
		T(addresses_age_and_can_be_forgotten, "addresses age, are forgotten on request, and go with their guest"),
		T(a_frame_is_passed_on_as_it_was, "a frame of any length, however it is cut, is passed on as it was"),
		T(who_has_buffers_gets_it_at_once_and_in_order, "who has buffers gets frames at once, copied once; what waits stays in order"),
		T(who_takes_nothing_loses_and_holds_up_nobody, "who takes nothing loses frames and holds up nobody; a link that is down is given none"),
		T(vlans_are_networks_of_their_own, "VLANs are networks of their own; tags come and go as a port wants them, and offsets with them"),
		T(a_tag_that_is_not_for_the_port_is_refused, "a tag that is not for the port to use is refused"),
		T(addresses_that_are_fixed_cannot_be_taken, "a fixed address can't be taken by another port, nor a locked port use others"),
		T(addresses_move_so_often_and_no_oftener, "addresses move from port to port so often and no oftener"),
		T(a_port_has_so_many_addresses, "a port has so many addresses and no more"),
		T(a_full_table_only_costs_who_filled_it, "a full table costs only who filled it"),
		T(floods_have_a_limit, "floods have a limit, a port each"),
		T(frames_between_bridges_end_here, "frames between bridges end here"),
		T(any_lane_takes_and_gives, "any lane takes frames, and the first that is on gives them"),
	};
	return vio_tests("host-switch", tests, sizeof tests / sizeof *tests);
}
