/* The socket device (virtio 1.4, section 5.10): what well-behaved guests and hosts get of it. */
#include "vsock_rig.h"

static void who_the_guest_is(void **state)
{
	const uint64_t reserved[] = { 0, 1, 2, 0xffffffff, UINT64_C(0x100000003), UINT64_MAX };
	struct vsock_rig *b = vsock_new();
	uint64_t cid;

	(void)state;
	for (unsigned i = 0; i < sizeof reserved / sizeof *reserved; i++) {
		b->o.guest_cid = reserved[i];
		assert_non_null(strstr(rig_open(b->g, &vio_dev_vsock, &b->o), "reserved"));
	}
	b->o.guest_cid = 0xfffffffe;
	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vio_dev_config_read(b->g->dev, 0, &cid, sizeof cid);
	assert_int_equal(vio_le64_get((vio_le64){ cid }), 0xfffffffe);
	assert_false(vio_dev_config_write(b->g->dev, 0, &cid, sizeof cid));
	assert_true(vio_has(vio_dev_offered(b->g->dev), VIO_VSOCK_F_NO_IMPLIED_STREAM));
	assert_true(vio_has(vio_dev_offered(b->g->dev), VIO_VSOCK_F_STREAM));
	assert_true(vio_has(vio_dev_offered(b->g->dev), VIO_VSOCK_F_SEQPACKET));
	vsock_close(b);
}

/* Against a vector written by hand from 5.10.6: the response to a request of port 1025 for port 80. */
static void a_packet_byte_by_byte(void **state)
{
	static const unsigned char request[44] = {
		7, 0, 0, 0, 0, 0, 0, 0,  2, 0, 0, 0, 0, 0, 0, 0,  1, 4, 0, 0,  80, 0, 0, 0,
		0, 0, 0, 0,  1, 0,  1, 0,  0, 0, 0, 0,  0, 0, 1, 0,  0, 0, 0, 0,
	};
	static const unsigned char response[44] = {
		2, 0, 0, 0, 0, 0, 0, 0,  7, 0, 0, 0, 0, 0, 0, 0,  80, 0, 0, 0,  1, 4, 0, 0,
		0, 0, 0, 0,  1, 0,  2, 0,  0, 0, 0, 0,  0, 0x40, 0, 0,  0, 0, 0, 0,
	};
	struct vsock_rig *b = vsock_start();
	struct vio_dial_call call;
	unsigned char *at;

	(void)state;
	vsock_send_raw(b, request, sizeof request);
	at = rig_get(b->g, VIO_VSOCK_RX, &b->used);
	assert_non_null(at);
	assert_int_equal(b->used, 44);
	assert_memory_equal(at, response, 44);
	struct vio_line *l = vio_dial_memory_take(b->dial, &call);
	assert_non_null(l);
	assert_int_equal(call.from_cid, CID);
	assert_int_equal(call.from_port, 1025);
	assert_int_equal(call.to_cid, 2);
	assert_int_equal(call.to_port, 80);
	assert_false(call.message);
	world_close(l);
	vsock_close(b);
}

static void bytes_go_both_ways(void **state)
{
	const struct vio_features rings[] = { BITS(ALL_VSOCK), BITS(ALL_VSOCK, VIO_F_RING_PACKED),
		BITS(ALL_VSOCK, VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX) };
	const size_t cuts[] = { 0, 1, 13 };
	static unsigned char in[9000], out[9000];

	(void)state;
	for (unsigned k = 0; k < 9; k++)
		for (uint32_t clip = 0; clip < 2; clip++) {
			struct vsock_rig *b = vsock_new();
			struct packet p;
			b->g->mem.clip = clip;
			b->rx_bytes = cuts[k % 3] == 1 ? 60 : 400;	/* so many buffers of a byte */
			b->rx_cut = cuts[k % 3];
			assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
			vsock_begin(b, rings[k / 3], 1);
			b->tx_cut = cuts[k % 3] == 1 ? 0 : cuts[k % 3] * 64;
			struct vio_line *l = vsock_connect(b);
			fill_marks(in, 5, 700);
			b->tx_cut = cuts[k % 3] == 1 ? 20 : b->tx_cut;
			vsock_bytes(b, in, 700);
			assert_int_equal(world_read(l, out, sizeof out), 700);
			assert_memory_equal(in, out, 700);
			fill_marks(in, 99, 1000);
			assert_int_equal(world_write(l, in, 1000), 1000);
			for (uint32_t got = 0; got < 1000; got += p.len) {
				assert_true(vsock_get(b, &p));
				assert_int_equal(p.op, VIO_VSOCK_OP_RW);
				assert_int_equal(p.fwd_cnt, 700);
				assert_int_equal(p.buf_alloc, BUFFER);
				assert_memory_equal(b->data, in + got, p.len);
			}
			vsock_silence(b);
			world_close(l);
			vsock_close(b);
		}
}

static void a_caller_is_put_through(void **state)
{
	struct vsock_rig *b = vsock_start();
	struct vio_dial_call call = { .from_cid = HOST, .to_port = 9000 };
	struct packet p, r = packet_of(VIO_VSOCK_OP_RESPONSE);
	unsigned char text[16];

	(void)state;
	struct vio_line *l = vio_dial_memory_call(b->dial, &call), *m = vio_dial_memory_call(b->dial, &call);
	assert_non_null(l);
	assert_true(vsock_get(b, &p));
	assert_int_equal(p.op, VIO_VSOCK_OP_REQUEST);
	assert_int_equal(p.src_cid, HOST);
	assert_int_equal(p.dst_port, 9000);
	assert_true(p.src_port >= 1 << 30);
	assert_false(l->answered);
	r.src_port = 9000;
	r.dst_port = p.src_port;
	vsock_send(b, r, NULL, 0);
	assert_true(l->answered);
	assert_int_equal(vio_dial_memory_port(l), p.src_port);
	r.op = VIO_VSOCK_OP_RW;
	r.len = 5;
	vsock_send(b, r, "hello", 5);
	assert_int_equal(world_read(l, text, sizeof text), 5);
	/* the other caller has a port of its own, and is turned away */
	uint32_t first = p.src_port;
	assert_true(vsock_get(b, &p));
	assert_int_equal(p.op, VIO_VSOCK_OP_REQUEST);
	assert_int_not_equal(p.src_port, first);
	r.op = VIO_VSOCK_OP_RST;
	r.dst_port = p.src_port;
	r.len = 0;
	vsock_send(b, r, NULL, 0);
	assert_int_equal(world_read(m, text, sizeof text), VIO_LINE_RESET);
	world_close(m);
	world_close(l);
	vsock_close(b);
}

static const struct CMUnitTest tests[] = {
	T(who_the_guest_is, "the guest's context id is none that is reserved, and all there is is offered {socket-dev-7 socket-dev-1}"),
	T(a_packet_byte_by_byte, "a request and its response, byte by byte"),
	T(bytes_go_both_ways, "bytes go both ways, however buffers and memory are cut, over either ring {socket-dev-6}"),
	T(a_caller_is_put_through, "a caller gets the guest's port, or is turned away"),
};

int main(void) { return vio_tests("vsock", tests, sizeof tests / sizeof *tests); }
