/*
 * The console device with three ports and all their queues: control messages of any kind, bytes both ways, ports that come
 * and go, streams that are late, short and end, resets.  No byte that the driver gave to be read changes, nothing is in
 * flight after a turn, and whatever the driver was told makes sense: it is added once, removed when it was there.
 */
#include <vio/device/console.h>
#include <vio/host/stream.h>
#include <vio/transport/loop.h>
#include "feed.h"

enum { PORTS = 3, QUEUES = 2 + 2 * PORTS, SIZE = 8, STEPS = 300, RING = 512 };
#define RINGS UINT64_C(0x100000)

struct subject {
	struct vio_dev *d;
	struct vio_loop_wire wire;
	struct guest *g;
	struct vio_region region[FUZZ_REGIONS + 1];
	struct vio_drvq q[QUEUES];
	struct vio_drvq_slot slots[QUEUES][SIZE];
	struct vio_stream *here[PORTS], *there[PORTS];
	bool plugged[PORTS], known[PORTS];
};
_Static_assert(VIO_DRVQ_RING_BYTES(SIZE) <= RING, "rings lie side by side");

static void *alloc(size_t n) { return calloc(1, n); }
static void release(void *p, size_t n) { (void)n; free(p); }

static void plug(struct subject *s, struct feed *f, unsigned i)
{
	uint8_t every = (uint8_t)take(f, 1);
	struct vio_stream_faults faults = { .late_every = every & 3, .short_every = every >> 2 & 3, .end_every = (every >> 4 & 3) * 3 };
	const char *const names[] = { "a", "bb", NULL };
	struct vio_stream *pair[2];
	const char *why;

	if (s->plugged[i])
		return;
	vio_stream_close(s->here[i]);
	vio_stream_close(s->there[i]);
	if (!vio_stream_pair(pair, 32))
		abort();
	s->here[i] = vio_stream_faulty(pair[0], &faults);
	s->there[i] = pair[1];
	struct vio_console_port p = { .stream = s->here[i], .name = names[i], .console = every & 0x40, .lossy = every & 0x80 };
	s->plugged[i] = vio_dev_console_add(s->d, (int)i, &p, &why) == (int)i;
}

static void bring_up(struct subject *s, uint8_t bits)
{
	struct vio_features want = ring_features(bits & 15);

	want.word[0] |= (bits & 16 ? 0 : 1u << VIO_CONSOLE_F_MULTIPORT) | (UINT64_C(1) << VIO_F_RING_RESET) | (UINT64_C(1) << VIO_F_SUSPEND);
	want = vio_features_and(want, vio_dev_offered(s->d));
	vio_dev_set_status(s->d, 0);
	if (vio_dev_status(s->d))
		abort();	/* a stop waits for nobody */
	memset(s->known, 0, sizeof s->known);
	vio_dev_set_status(s->d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
	vio_dev_set_driver_features(s->d, want);
	vio_dev_set_status(s->d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
	for (unsigned i = 0; i < QUEUES; i++) {
		vio_drvq_init(&s->q[i], &(struct vio_drvq_setup){ .size = SIZE, .features = want,
		    .ring = s->region[FUZZ_REGIONS - 1].host + RING * i, .ring_addr = RINGS + RING * i, .slots = s->slots[i] });
		vio_dev_queue_setup(s->d, i, SIZE, s->q[i].desc_addr, s->q[i].driver_addr, s->q[i].device_addr);
		vio_dev_queue_go_live(s->d, i);
	}
	vio_dev_set_status(s->d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK);
}

static void kick(struct subject *s, unsigned i)
{
	vio_drvq_kick_due(&s->q[i]);
	vio_dev_notified(s->d, i);
	vio_loop_pump(&s->wire, 64);
	if (s->d->queue[i].ring.inflight)
		abort();
}

/* What the device says is heard as a good driver would. */
static void hear(struct subject *s)
{
	struct vio_console_control m;
	uint32_t len;

	if (s->q[VIO_CONSOLE_Q_CONTROL_RX].free_count == SIZE) {
		const struct vio_buf b = { FUZZ_A, 64 };
		vio_drvq_add(&s->q[VIO_CONSOLE_Q_CONTROL_RX], &b, 0, 1, s);
	}
	kick(s, VIO_CONSOLE_Q_CONTROL_RX);
	if (!vio_drvq_get(&s->q[VIO_CONSOLE_Q_CONTROL_RX], &len) || len < sizeof m)
		return;
	memcpy(&m, s->region[1].host, sizeof m);
	uint32_t id = vio_le32_get(m.id);
	if (id >= PORTS || vio_le16_get(m.value) > 1)
		abort();
	switch (vio_le16_get(m.event)) {
	case VIO_CONSOLE_DEVICE_ADD:
		if (s->known[id])
			abort();
		s->known[id] = true;
		break;
	case VIO_CONSOLE_DEVICE_REMOVE:
		if (!s->known[id])
			abort();
		s->known[id] = false;
		break;
	case VIO_CONSOLE_CONSOLE_PORT: case VIO_CONSOLE_RESIZE: case VIO_CONSOLE_PORT_OPEN: case VIO_CONSOLE_PORT_NAME:
		if (!s->known[id])
			abort();
		break;
	default:
		abort();
	}
}

static void say(struct subject *s, struct feed *f)
{
	uint8_t how = (uint8_t)take(f, 1);
	struct vio_console_control m = { vio_le32_of(how & 3), vio_le16_of(how >> 2 & 7), vio_le16_of(how >> 5 & 3) };
	struct vio_buf b = { FUZZ_A + FUZZ_AB, how & 0x80 ? how & 15 : sizeof m };

	if (how == 0xff)
		take_bytes(f, &m, sizeof m);
	memcpy(s->region[2].host, &m, sizeof m);
	if (vio_drvq_add(&s->q[VIO_CONSOLE_Q_CONTROL_TX], &b, 1, 0, s)) {
		uint32_t len;
		kick(s, VIO_CONSOLE_Q_CONTROL_TX);
		if (vio_drvq_get(&s->q[VIO_CONSOLE_Q_CONTROL_TX], &len) && len)
			abort();
	}
}

static void bytes(struct subject *s, struct feed *f)
{
	unsigned i = (unsigned)take(f, 1) % QUEUES;
	const struct vio_buf b[2] = { { guest_address(f), guest_length(f) }, { guest_address(f), guest_length(f) } };
	uint8_t how = (uint8_t)take(f, 1);
	uint32_t len;

	if (i == VIO_CONSOLE_Q_CONTROL_RX || i == VIO_CONSOLE_Q_CONTROL_TX)
		return;
	vio_drvq_add(&s->q[i], b, how & 1, (how & 1 ? 0 : 1) + (how >> 1 & 1), s);
	kick(s, i);
	vio_drvq_get(&s->q[i], &len);
}

static void world(struct subject *s, struct feed *f)
{
	uint8_t how = (uint8_t)take(f, 1);
	unsigned i = how % PORTS;
	char text[16] = "another sixteen";
	struct vio_seg seg = { text, sizeof text };
	struct vio_cur c = { .seg = &seg, .left = sizeof text };

	if (!s->here[i])
		return;
	switch (how >> 4 & 7) {
	case 0: case 1:
		s->there[i]->ops->write(s->there[i], &c);
		break;
	case 2: case 3:
		s->there[i]->ops->read(s->there[i], &c);
		break;
	case 4:
		vio_stream_pair_open(vio_stream_faulty_inner(s->here[i]), how & 0x80);
		break;
	case 5:
		vio_stream_resize(vio_stream_faulty_inner(s->here[i]), how, how);
		break;
	case 6:
		if (how & 0x80)
			plug(s, f, i);
		else if (vio_dev_console_remove(s->d, i))
			s->plugged[i] = false;
		break;
	default:
		vio_stream_faulty_release(s->here[i]);
	}
	vio_loop_pump(&s->wire, 64);
}

static void step(struct subject *s, struct feed *f)
{
	static const uint8_t ready[] = { 0x20 };
	vio_le32 urgent = vio_le32_of('u');

	switch (take(f, 1) % 16) {
	case 0:
		bring_up(s, (uint8_t)take(f, 1));
		break;
	case 1:
		say(s, &(struct feed){ ready, ready + 1 });
		break;
	case 2: case 3: case 4:
		say(s, f);
		break;
	case 5: case 6: case 7:
		hear(s);
		break;
	case 8: case 9: case 10:
		bytes(s, f);
		break;
	case 11:
		vio_dev_config_write(s->d, (uint32_t)take(f, 1) % 16, &urgent, (uint32_t)take(f, 1) % 5);
		break;
	case 12:
		vio_dev_queue_reset(s->d, (unsigned)take(f, 1) % QUEUES);
		break;
	default:
		world(s, f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct subject *s = calloc(1, sizeof *s);
	struct feed f = { data, data + n };
	void *rings = NULL;

	s->wire = (struct vio_loop_wire){ .alloc = alloc, .free = release };
	s->g = guest_new(64);
	if (posix_memalign(&rings, 16, RING * QUEUES))
		abort();
	memset(rings, 0, RING * QUEUES);
	memcpy(s->region, s->g->region, sizeof s->g->region);
	/* sorted by address: TOP stays last */
	s->region[FUZZ_REGIONS] = s->region[FUZZ_REGIONS - 1];
	s->region[FUZZ_REGIONS - 1] = (struct vio_region){ .gpa = RINGS, .size = RING * QUEUES, .host = rings, .perm = VIO_MEM_RW };
	s->g->mem.region = s->region;
	s->g->mem.count = FUZZ_REGIONS + 1;
	s->d = calloc(1, vio_dev_console.instance);
	if (vio_mem_check(s->region, s->g->mem.count) || vio_dev_open(s->d, &vio_dev_console,
	    &(struct vio_console_options){ .max_ports = PORTS, .queue_size = SIZE }, &vio_loop_port, &s->wire, vio_loop_features()))
		abort();
	s->wire.dev = s->d;
	vio_dev_set_mem(s->d, &s->g->mem);
	for (unsigned i = 0; i < PORTS - 1; i++)
		plug(s, &f, i);
	bring_up(s, (uint8_t)take(&f, 1));
	for (unsigned i = 0; i < STEPS && fed(&f); i++)
		step(s, &f);
	vio_dev_set_status(s->d, 0);
	if (vio_dev_status(s->d))
		abort();
	vio_dev_close(s->d);
	for (unsigned i = 0; i < PORTS; i++) {
		vio_stream_close(s->here[i]);
		vio_stream_close(s->there[i]);
	}
	s->g->mem.count = FUZZ_REGIONS;
	s->g->mem.region = s->g->region;
	guest_free(s->g);
	free(rings);
	free(s->d);
	free(s);
	return 0;
}
