/*
 * A network: a question goes out (ARP: who has arp=ADDRESS? 10.0.2.2 as in user-mode networking), and the answer comes in.
 */
#include <vio/driver/net.h>
#include "guest.h"

enum { QUEUE = 16, BUFFERS = 8, BYTES = 2048, FRAME = 42 };
enum { ARP_ETHERTYPE = 12, ARP_HEAD = 14, ARP_OPCODE = 21, ARP_SENDER = 22, ARP_SENDER_IP = 28, ARP_TARGET_IP = 38 };

static struct vio_net_queue_memory memory(bool indirect)
{
	return (struct vio_net_queue_memory){
		.ring = guest_alloc(VIO_DRVQ_RING_BYTES(QUEUE), 16),
		.slots = guest_alloc(QUEUE * sizeof(struct vio_drvq_slot), 8),
		.indirect = indirect ? guest_alloc(QUEUE * VIO_NET_DRV_INDIRECT * sizeof(struct vio_split_desc), 16) : NULL };
}

static bool start(struct vio_net *n, struct vio_drv_port *port)
{
	static struct vio_net_setup s;	/* large for a stack */

	s = (struct vio_net_setup){ .pairs = 1, .queue_size = QUEUE, .control = memory(false), .control_size = QUEUE };
	s.pair[0] = (struct vio_net_pair_memory){ .rx = memory(true), .tx = memory(true), .count = BUFFERS,
		.buffers = guest_alloc(BUFFERS * sizeof(struct vio_net_rx), 8) };
	for (unsigned i = 0; i < BUFFERS; i++)
		s.pair[0].buffers[i] = (struct vio_net_rx){ .bytes = guest_alloc(BYTES, 64), .size = BYTES };
	if (!expect(vio_net_start(n, port, &s), "starts"))
		return expect(false, "%s", n->drv.failed);
	drive_features(&n->drv);
	return true;
}

static void address(uint8_t ip[4], const char *name, const uint8_t otherwise[4])
{
	const char *text = word(name);
	uint64_t n;

	memcpy(ip, otherwise, 4);
	for (unsigned i = 0; text && i < 4 && next_number(&text, &n); i++, text += *text == '.')
		ip[i] = (uint8_t)n;
}

static void ask(uint8_t *frame, const struct vio_net *n, const uint8_t whom[4])
{
	static const uint8_t head[] = { 0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1 };	/* ARP: Ethernet, IPv4, a request */
	static const uint8_t ours[4] = { 10, 0, 2, 15 };

	memset(frame, 0xff, 6);
	memcpy(frame + 6, n->mac, 6);
	memcpy(frame + ARP_ETHERTYPE, head, sizeof head);
	memcpy(frame + ARP_SENDER, n->mac, 6);
	address(frame + ARP_SENDER_IP, "ip", ours);
	memcpy(frame + ARP_TARGET_IP, whom, 4);
}

/* Is it the answer, and for us? */
static bool answers(const struct vio_net_received *r, const struct vio_net *n, const uint8_t whom[4])
{
	const uint8_t *f = (const uint8_t *)r->first->bytes + r->first->at;

	return r->first->len >= FRAME && f[ARP_ETHERTYPE] == 8 && f[ARP_ETHERTYPE + 1] == 6 && f[ARP_OPCODE] == 2 &&
	    memcmp(f + ARP_SENDER_IP, whom, 4) == 0 && memcmp(f, n->mac, 6) == 0;
}

static bool hear(struct vio_net *n, const uint8_t whom[4])
{
	uint64_t deadline = clock_ns() + VIO_DRV_PATIENCE_NS;
	struct vio_net_received r;

	while (clock_ns() < deadline) {
		if (!vio_net_receive(n, 0, &r)) {
			vio_drv_wait(&n->drv, 0, &n->q[0], deadline);
			continue;
		}
		bool found = answers(&r, n, whom);
		vio_net_give_back(n, 0, r.first);
		vio_net_kick(n, 0);
		if (found)
			return true;
	}
	return false;
}

static bool sent(struct vio_net *n, struct vio_net_tx *f)
{
	uint64_t deadline = clock_ns() + VIO_DRV_PATIENCE_NS;
	struct vio_net_tx *one;

	while (!(one = vio_net_sent(n, 0)) && clock_ns() < deadline)
		vio_drv_wait(&n->drv, 1, &n->q[1], deadline);
	return one == f;
}

void drive_net(struct vio_drv_port *port)
{
	struct vio_net *n = GUEST_NEW(struct vio_net);
	struct vio_net_tx *f = GUEST_NEW(struct vio_net_tx);
	uint8_t *frame = guest_alloc(64, 8), whom[4];
	static const uint8_t gateway[4] = { 10, 0, 2, 2 };

	if (!start(n, port))
		return;
	say("# net: %x:%x:%x:%x:%x:%x\n", n->mac[0], n->mac[1], n->mac[2], n->mac[3], n->mac[4], n->mac[5]);
	expect(n->up, "is up");
	address(whom, "arp", gateway);
	ask(frame, n, whom);
	*f = (struct vio_net_tx){ .data = frame, .len = 60 };
	if (expect(vio_net_send(n, 0, f) == VIO_NET_QUEUED, "takes a frame")) {
		vio_net_kick(n, 0);
		expect(sent(n, f), "sends it");
		expect(hear(n, whom), "receives the answer");
	}
	if (vio_net_control_queue(n) && vio_drv_has(&n->drv, VIO_NET_F_CTRL_RX))
		expect(vio_net_set_mode(n, VIO_NET_CTRL_RX_PROMISC, true), "takes a command");
	expect(vio_net_stop(n), "stops");
}
