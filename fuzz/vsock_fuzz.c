/*
 * The socket device between a guest that says anything about few connections and a world that calls, answers, speaks, dawdles
 * and hangs up.  A model of what the guest has said it has room for sees that no byte more comes; what comes of a message is
 * whole; connections are never more than they may be; and after a reset nothing is left of them and the next guest is served.
 */
#include <vio/device/vsock.h>
#include <vio/host/dial.h>
#include <vio/spec/vsock.h>
#include <vio/transport/loop.h>
#include "feed.h"

enum { STEPS = 400, SIZE = 16, RINGS = 3 * 2048, TX = 6000, RX = 700, RX_BUFFERS = 8, LINES = 8, CONNECTIONS = 4, PORTS = 4, BUFFER = 4096 };
#define RINGS_AT UINT64_C(0x10000)
#define TX_AT UINT64_C(0x100000)
#define RX_AT UINT64_C(0x200000)

/* What the guest knows of one of its ports' connections to port 1 of the host. */
struct port { uint32_t alloc, told, received; bool live; };

struct subject {
	struct vio_loop_wire wire;
	struct vio_dev *d;
	struct vio_dial *dial, *inner;
	struct vio_region region[2 + RX_BUFFERS];
	struct vio_mem mem;
	struct vio_drvq q[3];
	struct vio_drvq_slot slots[3][SIZE];
	struct vio_line *line[LINES];	/* the world's ends */
	struct port port[PORTS];
};

static void *alloc(size_t n) { return calloc(1, n); }
static void release(void *p, size_t n) { (void)n; free(p); }

static void region(struct subject *s, unsigned i, uint64_t gpa, uint64_t size)
{
	void *host;

	if (posix_memalign(&host, 16, size))
		abort();
	memset(host, 0, size);
	s->region[i] = (struct vio_region){ .gpa = gpa, .size = size, .host = host, .perm = VIO_MEM_RW };
}

/* ---- The guest ---- */

static void give(struct subject *s, unsigned i, uint32_t n)
{
	struct vio_buf b = { s->region[2 + i].gpa, n };

	memset(s->region[2 + i].host, 0xee, s->region[2 + i].size);
	vio_drvq_add(&s->q[0], &b, 0, 1, s->region[2 + i].host);
	vio_drvq_kick_due(&s->q[0]);
	vio_dev_notified(s->d, 0);
}

static void bring_up(struct subject *s, uint8_t bits, unsigned buffers)
{
	struct vio_features want = ring_features(bits & 15);

	want.word[0] |= bits >> 4 & 7;
	want = vio_features_and(want, vio_dev_offered(s->d));
	vio_dev_set_status(s->d, 0);
	vio_dev_set_status(s->d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
	vio_dev_set_driver_features(s->d, want);
	vio_dev_set_status(s->d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
	for (unsigned i = 0; i < 3; i++) {
		memset(s->region[0].host + 2048 * i, 0, 2048);
		vio_drvq_init(&s->q[i], &(struct vio_drvq_setup){ .size = SIZE, .features = want, .ring = s->region[0].host + 2048 * i,
		    .ring_addr = RINGS_AT + 2048 * i, .slots = s->slots[i] });
		vio_dev_queue_setup(s->d, i, SIZE, s->q[i].desc_addr, s->q[i].driver_addr, s->q[i].device_addr);
		vio_dev_queue_go_live(s->d, i);
	}
	vio_dev_set_status(s->d, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK | VIO_S_DRIVER_OK);
	memset(s->port, 0, sizeof s->port);
	for (unsigned i = 0; i < buffers; i++)
		give(s, i, RX);
}

static void send_packet(struct subject *s, struct feed *f)
{
	uint8_t how = (uint8_t)take(f, 1), odd = (uint8_t)take(f, 1);
	uint32_t len = (uint32_t)take(f, 2) % (TX - 44 + 1), says = len;
	unsigned port = how >> 3 & (PORTS - 1);
	struct port *p = &s->port[port];
	struct vio_vsock_hdr h = { .src_cid = vio_le64_of(3), .dst_cid = vio_le64_of(2), .src_port = vio_le32_of(port),
		.dst_port = vio_le32_of(1 + (odd == 4 ? 0x40000000 : 0)), .type = vio_le16_of(1 + (how >> 5 & 1)), .op = vio_le16_of(how & 7),
		.flags = vio_le32_of(how >> 6), .buf_alloc = vio_le32_of((uint32_t)take(f, 1) << (odd >> 4)),
		.fwd_cnt = vio_le32_of(p->received) };
	struct vio_buf b[3] = { { TX_AT, 44 }, { TX_AT + 44, len / 2 }, { TX_AT + 44 + len / 2, len - len / 2 } };
	unsigned n = len > 1 ? 3 : 1;

	if (n == 1)
		says = len = 0;
	if (odd == 1)
		says = (uint32_t)take(f, 4);
	if (odd == 2)
		h.fwd_cnt = vio_le32_of((uint32_t)take(f, 4));
	if (odd == 3)
		h.src_cid = vio_le64_of(take(f, 8));
	if (odd == 5)
		h.type = vio_le16_of((uint16_t)take(f, 2));
	if (odd == 6)
		b[0].len = (uint32_t)take(f, 1) % 44 + 1;
	if (odd == 7)
		h.op = vio_le16_of((uint16_t)take(f, 2));
	h.len = vio_le32_of(says);
	memcpy(s->region[1].host, &h, sizeof h);
	if (!vio_drvq_add(&s->q[1], b, n, 0, s))
		return;
	/* Only what certainly reaches a connection of ours counts as told. */
	if (odd != 3 && odd != 4 && odd != 6) {
		p->told = vio_le32_get(h.buf_alloc) > p->told ? vio_le32_get(h.buf_alloc) : p->told;
		if (vio_le16_get(h.op) == VIO_VSOCK_OP_REQUEST && vio_le16_get(h.type) <= 2)
			p->live = true;
	}
	vio_drvq_kick_due(&s->q[1]);
	vio_dev_notified(s->d, 1);
}

/* No more bytes than the guest ever said it had room for beyond what it has taken. */
static void take_packets(struct subject *s)
{
	uint32_t len;
	unsigned char *at;

	while ((at = vio_drvq_get(&s->q[0], &len))) {
		struct vio_vsock_hdr h;
		unsigned i = 0;
		while (s->region[2 + i].host != at)
			i++;
		if (len && len < sizeof h)
			abort();
		if (len) {
			memcpy(&h, at, sizeof h);
			uint32_t n = vio_le32_get(h.len), port = vio_le32_get(h.dst_port);
			if (len != sizeof h + n || vio_le64_get(h.dst_cid) != 3)
				abort();
			for (uint32_t k = len; k < s->region[2 + i].size; k++)
				if (at[k] != 0xee)
					abort();
			if (vio_le16_get(h.op) == VIO_VSOCK_OP_RW && vio_le32_get(h.src_port) == 1 && port < PORTS) {
				if (n > s->port[port].told)
					abort();
				s->port[port].received += n;
			} else if (port < PORTS && (vio_le16_get(h.op) == VIO_VSOCK_OP_RST || vio_le16_get(h.op) == VIO_VSOCK_OP_RESPONSE)) {
				s->port[port].received = 0;
			}
		}
		give(s, i, RX);
	}
	while (vio_drvq_get(&s->q[1], &len))
		if (len)
			abort();
	vio_drvq_get(&s->q[2], &len);
}

/* ---- The world ---- */

static void keep(struct subject *s, struct vio_line *l)
{
	for (unsigned i = 0; l && i < LINES; i++)
		if (!s->line[i]) {
			s->line[i] = l;
			return;
		}
	if (l)
		l->ops->close(l, true);
}

static void world(struct subject *s, struct feed *f)
{
	static unsigned char bytes[8192];
	uint8_t how = (uint8_t)take(f, 1);
	struct vio_line **at = &s->line[how % LINES], *l = *at;
	struct vio_seg seg = { bytes, 1 + (size_t)take(f, 2) % sizeof bytes };
	struct vio_cur c = { .seg = &seg, .left = seg.len };

	switch (how >> 3 & 15) {
	case 0:
		keep(s, vio_dial_memory_call(s->inner, &(struct vio_dial_call){ .from_cid = 2, .from_port = how & 1 ? 0 : 1,
		    .to_port = seg.len % PORTS, .message = how >> 7 }));
		return;
	case 1:
		vio_dial_memory_rules(s->inner, (struct vio_dial_memory_rules){ .refuse = how & 1, .late = how & 2 });
		return;
	case 2: case 3: case 4:
		keep(s, vio_dial_memory_take(s->inner, NULL));
		return;
	default:
		break;
	}
	if (!l)
		return;
	switch (how >> 3 & 15) {
	case 5:
		vio_dial_memory_answer(l, true);
		return;
	case 6: case 7:
		l->ops->shutdown(l, how & 1 ? VIO_LINE_READ : VIO_LINE_WRITE);
		return;
	case 8:
		l->ops->close(l, how >> 7);
		*at = NULL;
		return;
	case 9: case 10: case 11:
		l->ops->read(l, &c);
		return;
	default:
		l->eor = how >> 7;
		if (l->answered)
			l->ops->write(l, &c);
	}
}

/* ---- ---- */

static void step(struct subject *s, struct feed *f)
{
	uint32_t len;

	switch (take(f, 1) % 16) {
	case 0: case 1: case 2: case 3: case 4:
		send_packet(s, f);
		break;
	case 5: case 6: case 7:
		take_packets(s);
		break;
	case 8:
		vio_loop_tick(&s->wire, take(f, 1) * UINT64_C(100000000));
		break;
	case 9:
		vio_loop_pump(&s->wire, 8);
		break;
	case 10:
		if (take(f, 1) < 8)
			bring_up(s, (uint8_t)take(f, 1), RX_BUFFERS);
		break;
	case 11:
		vio_dev_queue_reset(s->d, (unsigned)take(f, 1) % 3);
		break;
	default:
		world(s, f);
	}
	vio_dial_memory_pump(s->inner);
	if (vio_vsock_dev_connections(s->d) > CONNECTIONS)
		abort();
	(void)len;
}

static void heal(struct subject *s)
{
	struct vio_vsock_hdr h = { .src_cid = vio_le64_of(3), .dst_cid = vio_le64_of(2), .src_port = vio_le32_of(9), .dst_port = vio_le32_of(9),
		.type = vio_le16_of(1), .op = vio_le16_of(VIO_VSOCK_OP_RW) };
	struct vio_buf b = { TX_AT, sizeof h };
	uint32_t len;

	vio_dev_set_status(s->d, 0);
	if (vio_dev_status(s->d) || vio_vsock_dev_connections(s->d))
		abort();
	for (unsigned i = 0; i < LINES; i++)
		if (s->line[i])
			s->line[i]->ops->close(s->line[i], false);
	vio_dial_memory_pump(s->inner);
	bring_up(s, 0x10, 1);
	memcpy(s->region[1].host, &h, sizeof h);
	if (!vio_drvq_add(&s->q[1], &b, 1, 0, s))
		abort();
	vio_drvq_kick_due(&s->q[1]);
	vio_dev_notified(s->d, 1);
	vio_loop_pump(&s->wire, 64);
	unsigned char *at = vio_drvq_get(&s->q[0], &len);
	if (!at || len != sizeof h)
		abort();
	memcpy(&h, at, sizeof h);
	if (vio_le16_get(h.op) != VIO_VSOCK_OP_RST)
		abort();
	vio_dev_set_status(s->d, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct subject *s = calloc(1, sizeof *s);
	struct feed f = { data, data + n };
	uint8_t bits = (uint8_t)take(&f, 1), faults = (uint8_t)take(&f, 1);

	s->wire = (struct vio_loop_wire){ .alloc = alloc, .free = release };
	region(s, 0, RINGS_AT, RINGS);
	region(s, 1, TX_AT, TX);
	for (unsigned i = 0; i < RX_BUFFERS; i++)
		region(s, 2 + i, RX_AT + 4096 * i, RX);
	s->mem = (struct vio_mem){ .region = s->region, .count = 2 + RX_BUFFERS, .refs = 1, .clip = faults & 1 ? 64 : 0 };
	s->inner = vio_dial_memory_open(1024);
	s->dial = vio_dial_faulty_open(s->inner, &(struct vio_dial_faults){ .reset_nth = faults & 2 ? 29 : 0, .short_nth = faults & 4 ? 3 : 0 });
	s->d = calloc(1, vio_dev_vsock.instance);
	if (vio_dev_open(s->d, &vio_dev_vsock, &(struct vio_vsock_options){ .dial = s->dial, .guest_cid = 3, .connections = CONNECTIONS,
	    .buffer = BUFFER, .queue_size = SIZE }, &vio_loop_port, &s->wire, vio_loop_features()))
		abort();
	s->wire.dev = s->d;
	vio_dev_set_mem(s->d, &s->mem);
	bring_up(s, bits, RX_BUFFERS);
	for (unsigned i = 0; i < STEPS && fed(&f); i++)
		step(s, &f);
	heal(s);
	vio_dev_close(s->d);
	vio_dial_close(s->dial);
	for (unsigned i = 0; i < 2 + RX_BUFFERS; i++)
		free(s->region[i].host);
	free(s->d);
	free(s);
	return 0;
}
