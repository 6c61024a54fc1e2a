/* Sockets: a connection to port vsock=PORT of the host, which sends back what it gets. */
#include <vio/driver/vsock.h>
#include "guest.h"

enum { QUEUE = 16, PACKETS = 16, PACKET = 1024, CONNS = 4, BUFFER = 4096 };

static bool start(struct vio_vsock *v, struct vio_drv_port *port)
{
	struct vio_vsock_setup s = { .queue_size = QUEUE, .packets = PACKETS, .packet_bytes = PACKET, .conns = CONNS, .buffer = BUFFER,
		.bytes = guest_alloc(2 * PACKETS * PACKET, 64), .conn = guest_alloc(CONNS * sizeof(struct vio_vsock_conn), 8),
		.buffers = guest_alloc(CONNS * VIO_FIFO_BYTES(BUFFER, true), 8) };

	for (unsigned i = 0; i < 2; i++) {
		s.ring[i] = guest_alloc(VIO_DRVQ_RING_BYTES(QUEUE), 16);
		s.slots[i] = guest_alloc(QUEUE * sizeof(struct vio_drvq_slot), 8);
		s.packet[i] = guest_alloc(PACKETS * sizeof(struct vio_vsock_slot), 8);
	}
	if (!expect(vio_vsock_start(v, port, &s), "starts"))
		return expect(false, "%s", v->drv.failed);
	drive_features(&v->drv);
	return true;
}

static bool echo(struct vio_vsock *v, struct vio_vsock_conn *c, const char *text, uint32_t len)
{
	uint64_t deadline = clock_ns() + VIO_DRV_PATIENCE_NS;
	uint32_t sent = 0, got = 0, flags;
	char back[64];

	while (got < len && clock_ns() < deadline && !vio_vsock_at_end(c)) {
		sent += vio_vsock_send(v, c, text + sent, len - sent, 0);
		uint32_t n = vio_vsock_recv(v, c, back + got, (uint32_t)sizeof back - got, &flags);
		got += n;
		if (!n)
			vio_vsock_wait(v, deadline);
	}
	return got == len && memcmp(text, back, len) == 0;
}

void drive_vsock(struct vio_drv_port *port)
{
	static const char text[] = "there and back again";
	struct vio_vsock *v = GUEST_NEW(struct vio_vsock);
	uint64_t deadline = clock_ns() + VIO_DRV_PATIENCE_NS;

	if (!start(v, port))
		return;
	say("# vsock: context %llu\n", (unsigned long long)v->cid);
	struct vio_vsock_conn *c = vio_vsock_connect(v, 2, (uint32_t)word_number("vsock", 5000), false);
	while (c && c->state == VIO_VSOCK_CONNECTING && vio_vsock_wait(v, deadline))
		;
	if (expect(c && c->state == VIO_VSOCK_OPEN, "connects")) {
		expect(echo(v, c, text, sizeof text - 1), "what was sent comes back");
		vio_vsock_close(v, c);
		vio_vsock_poll(v);
	} else {
		say("# vsock: %s\n", c && c->why ? c->why : "no connection");
	}
	expect(vio_vsock_stop(v), "stops");
}
