/* Frames both ways over a link that is full, late and loses some; the world sends what the input says. */
#include "kind.h"
#include <vio/device/net.h>
#include <vio/host/link.h>

enum { LANES = 2, FRAMES = 4, RX = 0, TX = 1 };

struct world {
	struct vio_link *inner[2], *link;	/* the device's is link, over inner[0] */
	struct vio_link_lane *lane;		/* our end of pair 0's */
	uint32_t got;				/* bytes of the last frame that came */
};

static bool deliver(void *arg, const struct vio_frame *f, struct vio_cur bytes)
{
	struct world *w = arg;

	(void)f;
	if (bytes.left < VIO_NET_ETH || bytes.left > VIO_FRAME_MAX)
		abort();
	w->got = (uint32_t)bytes.left;
	return true;
}

static void ready(void *arg) { (void)arg; }

static const char *open_net(struct subject *s, struct feed *f)
{
	struct world *w = calloc(1, sizeof *w);
	uint8_t how = (uint8_t)take(f, 1);
	struct vio_link_faults faults = { .full_every = how & 6, .drop_every = how >> 3 & 3, .late_every = how >> 5 & 6 };

	if (!vio_link_pair_open(LANES, FRAMES, how & 1 ? VIO_LINK_ALL : VIO_LINK_CSUM, w->inner))
		abort();
	w->link = vio_link_faulty_open(w->inner[0], &faults);
	w->lane = w->inner[1]->ops->lane(w->inner[1], 0);
	w->lane->deliver = deliver;
	w->lane->ready = ready;
	w->lane->arg = w;
	w->lane->ops->enable(w->lane, true);
	s->own = w;
	return kind_open(s, &(struct vio_net_options){ .link = w->link, .pairs = LANES, .queue_size = KIND_SIZE, .mtu = 1500,
	    .has_mac = true, .mac = { 2, 0, 0, 0, 0, 1 } });
}

static void request(struct subject *s, struct feed *f, unsigned queue)
{
	struct vio_buf b[3] = { { FUZZ_A, VIO_NET_HDR_PLAIN }, { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) } };
	uint8_t how = (uint8_t)take(f, 1);

	if (queue == RX) {
		kind_add(s, queue, b + 1, 0, 1 + (how & 1));
		return;
	}
	take_bytes(f, kind_header(s), VIO_NET_HDR_PLAIN);
	b[0].len = how & 128 ? how & 63 : VIO_NET_HDR_PLAIN;
	kind_add(s, queue, b, 1 + (how & 1) + (how >> 1 & 1), 0);
}

/* A frame for the guest, with any wishes; or what the link held back. */
static void late(struct subject *s, struct feed *f)
{
	static unsigned char bytes[1600];
	struct world *w = s->own;
	struct vio_seg seg = { bytes, (size_t)take(f, 2) % sizeof bytes };
	uint8_t how = (uint8_t)take(f, 1);
	struct vio_frame frame = { .flags = how & 3, .gso = (how >> 2) % 5, .ecn = how & 128, .gso_size = (uint16_t)(how ? how : 1),
		.header = how & 64 ? (uint16_t)take(f, 1) : 0, .csum_start = (uint16_t)take(f, 1), .csum_offset = (uint16_t)take(f, 1) };

	vio_link_faulty_release(w->link);
	w->lane->ops->receive(w->lane, FRAMES);
	if (frame.csum_start + frame.csum_offset + 2u > seg.len)
		frame.flags &= (uint8_t)~VIO_FRAME_NEEDS_CSUM;
	if (!(frame.flags & VIO_FRAME_NEEDS_CSUM))
		frame.gso = VIO_FRAME_WHOLE;
	memset(bytes, 0xff, 6);
	take_bytes(f, bytes + 12, 32);
	if (seg.len)
		w->lane->ops->send(w->lane, &frame, (struct vio_cur){ .seg = &seg, .left = seg.len });
	if (how & 32)
		vio_link_pair_set(w->inner[1], how & 16);
	vio_loop_tick(&s->wire, UINT64_C(1000000));
}

/* A frame each way.  The link may lose what is sent: what must come back is the buffer. */
static void good(struct subject *s)
{
	enum { FRAME = 60 };
	static unsigned char bytes[FRAME] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 0x88, 0xb5 };
	const struct vio_buf tx = { FUZZ_A, VIO_NET_HDR_PLAIN + FRAME }, rx = { FUZZ_A + 128, 100 };
	struct vio_seg seg = { bytes, FRAME };
	struct world *w = s->own;

	vio_link_pair_set(w->inner[1], true);
	memset(kind_header(s), 0, VIO_NET_HDR_PLAIN + FRAME);
	kind_add(s, TX, &tx, 1, 0);
	kind_kick(s, TX);
	vio_link_faulty_release(w->link);
	kind_served(s, TX, 0);
	kind_add(s, RX, &rx, 0, 1);
	kind_kick(s, RX);
	if (w->lane->ops->send(w->lane, &(struct vio_frame){ 0 }, (struct vio_cur){ .seg = &seg, .left = FRAME }) != VIO_SENT)
		abort();
	vio_link_faulty_release(w->link);
	kind_served(s, RX, VIO_NET_HDR_PLAIN + FRAME);
	if (memcmp(kind_header(s) + 128 + VIO_NET_HDR_PLAIN, bytes, FRAME) || kind_header(s)[128 + 10] != 1)
		abort();
}

static void close_net(struct subject *s)
{
	struct world *w = s->own;

	w->lane->ops->enable(w->lane, false);
	w->lane->ops->close(w->lane);
	vio_link_close(w->link);
	vio_link_close(w->inner[1]);
	free(w);
}

const struct kind kind_net = { &vio_dev_net, open_net, request, late, good, NULL, close_net };
