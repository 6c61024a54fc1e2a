/*
 * The network device behind honest rings: any command, any frame both ways, any features, over a link that takes any offloads;
 * then its state, saved, damaged and loaded.  Every buffer comes back, no ring breaks, a frame that goes out is no longer than it
 * was, and what a good state loads into saves the same state again.
 */
#include <vio/device/net.h>
#include <vio/host/link.h>
#include <vio/ring/drvq.h>
#include <vio/transport/loop.h>
#include "feed.h"

enum { PAIRS = 2, QUEUES = 2 * PAIRS + 1, SIZE = 16, MEMORY = 1 << 17, STEPS = 100, STATE = 1 << 16 };
#define GPA UINT64_C(0x100000)

struct play {
	struct vio_dev *d;
	struct vio_loop_wire wire;
	struct vio_link *end[2];
	struct vio_link_lane *lane[PAIRS];
	struct vio_mem mem;
	struct vio_region region;
	unsigned char *bytes;
	struct vio_drvq q[QUEUES];
	struct vio_drvq_slot slots[QUEUES][SIZE];
	unsigned queues, control;
};

static void *alloc(size_t n) { return calloc(1, n); }
static void release(void *p, size_t n) { (void)n; free(p); }

static bool deliver(void *arg, const struct vio_frame *f, struct vio_cur bytes)
{
	(void)arg, (void)f;
	if (bytes.left < VIO_NET_ETH || bytes.left > VIO_FRAME_MAX)
		abort();
	return true;
}

static void ready(void *arg) { (void)arg; }

static void play_open(struct play *p, unsigned takes)
{
	p->wire = (struct vio_loop_wire){ .alloc = alloc, .free = release };
	p->bytes = calloc(1, MEMORY);
	p->region = (struct vio_region){ .gpa = GPA, .size = MEMORY, .host = p->bytes, .perm = VIO_MEM_RW };
	p->mem = (struct vio_mem){ .region = &p->region, .count = 1, .refs = 1 };
	p->d = calloc(1, vio_dev_net.instance);
	if (!vio_link_pair_open(PAIRS, 8, takes, p->end))
		abort();
	p->end[1]->takes = VIO_LINK_ALL;
	struct vio_net_options o = { .link = p->end[0], .pairs = PAIRS, .queue_size = SIZE, .mtu = 1500, .has_mac = true, .coalesced = true };
	if (vio_dev_open(p->d, &vio_dev_net, &o, &vio_loop_port, &p->wire, vio_loop_features()))
		abort();
	p->wire.dev = p->d;
	vio_dev_set_mem(p->d, &p->mem);
	for (unsigned i = 0; i < PAIRS; i++) {
		p->lane[i] = p->end[1]->ops->lane(p->end[1], i);
		p->lane[i]->deliver = deliver;
		p->lane[i]->ready = ready;
		p->lane[i]->ops->enable(p->lane[i], true);
	}
}

static void play_close(struct play *p)
{
	vio_dev_set_status(p->d, 0);
	if (vio_dev_status(p->d))
		abort();
	vio_dev_close(p->d);
	for (unsigned i = 0; i < PAIRS; i++) {
		p->lane[i]->ops->enable(p->lane[i], false);
		p->lane[i]->ops->close(p->lane[i]);
	}
	vio_link_close(p->end[0]);
	vio_link_close(p->end[1]);
	free(p->d);
	free(p->bytes);
}

/* Features as the input has them, but so that the device takes them. */
static struct vio_features choose(struct play *p, struct feed *f)
{
	struct vio_features want = { { ~take(f, 8), ~take(f, 1) } };

	want = vio_features_and(want, vio_dev_offered(p->d));
	vio_features_add(&want, VIO_F_VERSION_1);
	vio_features_drop(&want, VIO_F_NOTIFICATION_DATA);
	for (unsigned bit = 127; vio_dev_features_refused(p->d, want) && bit; bit--)
		if (bit != VIO_F_VERSION_1)
			vio_features_drop(&want, bit);
	return want;
}

static void play_start(struct play *p, struct feed *f)
{
	struct vio_features want = choose(p, f);
	bool many = vio_has(want, VIO_NET_F_MQ) || vio_has(want, VIO_NET_F_RSS), control = vio_has(want, VIO_NET_F_CTRL_VQ);

	p->control = many ? 2 * PAIRS : 2;
	p->queues = p->control + control;
	vio_dev_set_status(p->d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
	vio_dev_set_driver_features(p->d, want);
	vio_dev_set_status(p->d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
	for (unsigned i = 0; i < p->queues; i++) {
		size_t at = i * 2048;
		vio_drvq_init(&p->q[i], &(struct vio_drvq_setup){ .size = SIZE, .features = want, .ring = p->bytes + at, .ring_addr = GPA + at,
		    .slots = p->slots[i] });
		vio_dev_queue_setup(p->d, i, SIZE, p->q[i].desc_addr, p->q[i].driver_addr, p->q[i].device_addr);
		vio_dev_queue_go_live(p->d, i);
	}
	vio_dev_set_status(p->d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK);
	vio_loop_pump(&p->wire, 100);
	if (!control)
		p->control = QUEUES;
}

/* Bytes of the input in a buffer of its own, in up to three pieces; w bytes of room behind them. */
static void give(struct play *p, struct feed *f, unsigned queue, size_t r, size_t w)
{
	struct vio_buf b[4];
	size_t at = 16384 + queue * 16384, cut = r ? take(f, 2) % r : 0;
	unsigned n = 0;

	take_bytes(f, p->bytes + at, r);
	if (cut)
		b[n++] = (struct vio_buf){ GPA + at, (uint32_t)cut };
	if (r - cut)
		b[n++] = (struct vio_buf){ GPA + at + cut, (uint32_t)(r - cut) };
	unsigned readable = n;
	if (w)
		b[n++] = (struct vio_buf){ GPA + at + 8192, (uint32_t)w };
	if (n)
		vio_drvq_add(&p->q[queue], b, readable, n - readable, p);
	vio_drvq_kick_due(&p->q[queue]);
	vio_dev_notified(p->d, queue);
	vio_loop_pump(&p->wire, 100);
}

static void command(struct play *p, struct feed *f)
{
	uint32_t len;

	if (p->control == QUEUES)
		return;
	give(p, f, p->control, 2 + take(f, 2) % 700, 1 + take(f, 1));
	if (!vio_drvq_get(&p->q[p->control], &len) || len < 1)
		abort();		/* each is answered, and at once */
}

static void out(struct play *p, struct feed *f)
{
	unsigned queue = 1 + (unsigned)take(f, 1) % 2 * 2;

	if (queue >= p->queues || queue >= p->control)
		return;
	give(p, f, queue, take(f, 2) % 4000, 0);
	for (unsigned i = 0; i < PAIRS; i++)
		p->lane[i]->ops->receive(p->lane[i], 8);
	vio_loop_pump(&p->wire, 100);
	while (vio_drvq_get(&p->q[queue], NULL))
		;
}

static void in(struct play *p, struct feed *f)
{
	static unsigned char bytes[4096];
	uint8_t how = (uint8_t)take(f, 1);
	unsigned queue = (how & 1) * 2;
	struct vio_seg seg = { bytes, take(f, 2) % sizeof bytes };
	struct vio_frame frame = { .flags = how >> 1 & 3, .gso = (how >> 3) % 6, .ecn = how & 128, .gso_size = (uint16_t)take(f, 1),
		.csum_start = (uint16_t)take(f, 1), .csum_offset = (uint16_t)take(f, 1) };

	take_bytes(f, bytes, 64);
	if (queue < p->queues && queue != p->control && how & 64)
		give(p, f, queue, 0, 1 + take(f, 2) % 4096);
	p->lane[how & 1]->ops->send(p->lane[how & 1], &frame, (struct vio_cur){ .seg = &seg, .left = seg.len });
	vio_loop_pump(&p->wire, 100);
	while (queue < p->queues && queue != p->control && vio_drvq_get(&p->q[queue], NULL))
		;
}

static void check(struct play *p)
{
	for (unsigned i = 0; i < p->queues; i++)
		if (p->q[i].broken || p->d->queue[i].ring.broken)
			abort();
}

static void move(struct play *p, struct feed *f)
{
	static unsigned char first[STATE], second[STATE];
	struct play other = { 0 };

	if (vio_has(p->d->accepted, VIO_F_SUSPEND))
		vio_dev_set_status(p->d, p->d->status | VIO_S_SUSPEND);
	size_t n = vio_dev_save(p->d, first, sizeof first);
	if (n > sizeof first)
		abort();
	play_open(&other, VIO_LINK_ALL);
	if (p->d->status & VIO_S_SUSPEND && (vio_dev_load(other.d, first, n) || vio_dev_save(other.d, second, sizeof second) != n ||
	    memcmp(first, second, n)))
		abort();
	for (unsigned i = 0; i < 8 && fed(f); i++)
		first[take(f, 2) % n] = (unsigned char)take(f, 1);
	vio_dev_load(other.d, first, n);
	other.d->status = 0;
	for (unsigned i = 0; i < QUEUES; i++)
		other.d->queue[i].live = false;
	play_close(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct feed f = { data, data + n };
	struct play p = { 0 };

	play_open(&p, (unsigned)take(&f, 1) & VIO_LINK_ALL);
	play_start(&p, &f);
	for (unsigned i = 0; i < STEPS && fed(&f); i++) {
		switch (take(&f, 1) % 5) {
		case 0: case 1: command(&p, &f); break;
		case 2: out(&p, &f); break;
		case 3: in(&p, &f); break;
		default: vio_loop_tick(&p.wire, UINT64_C(1000) << take(&f, 1) % 16); vio_loop_pump(&p.wire, 100);
		}
		check(&p);
	}
	move(&p, &f);
	play_close(&p);
	return 0;
}
