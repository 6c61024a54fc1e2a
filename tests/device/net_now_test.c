/* Frames that come outside a turn, from another port of a switch: copied once, and never past what the operator holds back. */
#include "net_rig.h"
#include <vio/host/switch.h>

struct room {
	struct net_rig *r;
	struct vio_switch *s;
	struct vio_link *port, *other;
	struct vio_link_lane *lane;	/* the other port's */
	unsigned ready;
};

static bool take_none(void *arg, const struct vio_frame *f, struct vio_cur bytes)
{
	(void)arg;
	(void)f;
	(void)bytes;
	return true;
}

static void count_ready(void *arg) { ++*(unsigned *)arg; }

static void room_open(struct room *o)
{
	char why[VIO_WHY];
	*o = (struct room){ .r = net_new(VIO_LINK_ALL), .s = vio_switch_new(&(struct vio_switch_options){ .seed = 1 }) };
	struct vio_switch_port_options plain = { .lanes = 1 };
	o->port = vio_switch_port(o->s, &plain, why);
	o->other = vio_switch_port(o->s, &plain, why);
	vio_link_close(o->r->end[0]);
	o->r->link = o->port;
	net_open(o->r);
	net_start(o->r, BITS(VIO_F_VERSION_1, VIO_NET_F_MAC, VIO_NET_F_MRG_RXBUF));
	o->lane = o->other->ops->lane(o->other, 0);
	o->lane->deliver = take_none;
	o->lane->ready = count_ready;
	o->lane->arg = &o->ready;
	o->lane->ops->enable(o->lane, true);
}

static void room_close(struct room *o)
{
	o->lane->ops->enable(o->lane, false);
	o->lane->ops->close(o->lane);
	vio_link_close(o->other);
	net_close(o->r);
	vio_switch_free(o->s);
}

static unsigned char frame[300];

static void say(struct room *o, unsigned n)
{
	static const struct vio_frame whole;
	make_frame(frame, n, guest_mac, world_mac, n);
	struct vio_seg seg = { frame, n };
	assert_int_equal(o->lane->ops->send(o->lane, &whole, (struct vio_cur){ .seg = &seg, .left = n }), VIO_SENT);
}

static void hear(struct room *o, unsigned n)
{
	uint32_t used = 0;
	vio_loop_pump(&o->r->g->wire, 64);
	unsigned char *got = rx_get(o->r, 0, &used);
	assert_non_null(got);
	assert_int_equal(used, HDR + n);
	make_frame(frame, n, guest_mac, world_mac, n);
	assert_memory_equal(got + HDR, frame, n);
}

static void hear_none(struct room *o)
{
	vio_loop_pump(&o->r->g->wire, 64);
	assert_null(rx_get(o->r, 0, NULL));
}

static uint64_t direct(const struct room *o) { return vio_switch_counts(o->port).direct; }

static void at_once(void **state)
{
	struct room o;
	(void)state;
	room_open(&o);
	rx_give(o.r, 0, 3, RX_BYTES);
	for (unsigned i = 0; i < 5; i++)
		say(&o, 100 + i);
	assert_int_equal(direct(&o), 3);
	for (unsigned i = 0; i < 3; i++)
		hear(&o, 100 + i);
	hear_none(&o);
	rx_give(o.r, 0, 4, RX_BYTES);
	hear(&o, 103);			/* what waited, in order */
	hear(&o, 104);
	say(&o, 200);
	assert_int_equal(direct(&o), 4);
	hear(&o, 200);
	room_close(&o);
}

static void held_back(void **state)
{
	struct room o;
	struct vio_dev *d;
	(void)state;
	room_open(&o);
	d = o.r->g->dev;
	rx_give(o.r, 0, 8, RX_BYTES);
	vio_dev_hold(d, true);
	say(&o, 100);
	assert_int_equal(direct(&o), 0);
	hear_none(&o);
	vio_dev_hold(d, false);
	vio_dev_notified(d, 0);
	hear(&o, 100);
	vio_dev_set_rate(d, VIO_RATE_OPS, 1000, 0);
	say(&o, 101);
	assert_int_equal(direct(&o), 0);
	hear(&o, 101);
	vio_dev_set_rate(d, VIO_RATE_OPS, 0, 0);
	vio_dev_notified(d, 0);
	vio_loop_pump(&o.r->g->wire, 64);
	say(&o, 102);
	assert_int_equal(direct(&o), 1);
	hear(&o, 102);
	room_close(&o);
}

static void not_running(void **state)
{
	struct room o;
	(void)state;
	room_open(&o);
	rx_give(o.r, 0, 8, RX_BYTES);
	vio_dev_queue_enable(o.r->g->dev, 0, false);
	say(&o, 100);
	assert_int_equal(direct(&o), 0);
	hear_none(&o);
	vio_dev_queue_enable(o.r->g->dev, 0, true);
	vio_dev_notified(o.r->g->dev, 0);
	vio_loop_pump(&o.r->g->wire, 64);
	rig_reset(o.r->g);
	say(&o, 100);			/* nobody is there */
	assert_int_equal(direct(&o), 0);
	assert_true(vio_switch_counts(o.port).lost >= 1);
	room_close(&o);
}

static const struct CMUnitTest tests[] = {
	T(at_once, "a frame from another port is copied into a buffer at once; without one it waits, and order is kept"),
	T(held_back, "what is held or limited gets its frames in its turn, as ever"),
	T(not_running, "a queue that is disabled or reset is given nothing"),
};
int main(void) { return vio_tests("net-now", tests, sizeof tests / sizeof *tests); }
