/* Connections to a world that refuses, resets and takes little. */
#include "kind.h"
#include <vio/device/vsock.h>
#include <vio/host/dial.h>
#include <vio/spec/vsock.h>

static const char *open_vsock(struct subject *s, struct feed *f)
{
	struct vio_dial_faults faults = { .refuse_nth = take(f, 1) % 8, .reset_nth = 11, .short_nth = 3 };
	struct vio_dial *dial = vio_dial_faulty_open(vio_dial_memory_open(64), &faults);

	s->own = dial;
	return kind_open(s, &(struct vio_vsock_options){ .dial = dial, .guest_cid = 3, .connections = 4, .buffer = 4096 });
}

static struct vio_vsock_hdr header(uint16_t type, uint16_t op, uint32_t port, uint32_t len, uint32_t buf_alloc)
{
	return (struct vio_vsock_hdr){ .src_cid = vio_le64_of(3), .dst_cid = vio_le64_of(2), .src_port = vio_le32_of(port),
		.dst_port = vio_le32_of(1), .len = vio_le32_of(len), .type = vio_le16_of(type), .op = vio_le16_of(op),
		.buf_alloc = vio_le32_of(buf_alloc) };
}

static void request(struct subject *s, struct feed *f, unsigned queue)
{
	uint8_t how = (uint8_t)take(f, 1), more = (uint8_t)take(f, 1);
	struct vio_buf b[2] = { { FUZZ_A, sizeof(struct vio_vsock_hdr) }, { guest_address(f), guest_length(f) } };
	struct vio_vsock_hdr h = header(1 + (how >> 3 & 1), how & 7, how >> 4 & 3, more & 1 ? b[1].len : more, 1 << (more & 15));

	if (queue == VIO_VSOCK_RX) {
		kind_add(s, queue, b + 1, 0, 1);
		return;
	}
	h.flags = vio_le32_of(more >> 4 & 3);
	memcpy(kind_header(s), &h, sizeof h);
	kind_add(s, queue, b, 1 + (more & 1), 0);
}

static void late(struct subject *s, struct feed *f)
{
	(void)f;
	vio_loop_tick(&s->wire, UINT64_C(1000000000));
}

/* Bytes for a connection there is not: a RST comes back. */
static void good(struct subject *s)
{
	const struct vio_buf tx = { FUZZ_A, sizeof(struct vio_vsock_hdr) }, rx = { FUZZ_A + 64, 64 };
	struct vio_vsock_hdr h = header(VIO_VSOCK_TYPE_STREAM, VIO_VSOCK_OP_RW, 99, 0, 0);

	memcpy(kind_header(s), &h, sizeof h);
	kind_add(s, VIO_VSOCK_TX, &tx, 1, 0);
	kind_add(s, VIO_VSOCK_RX, &rx, 0, 1);
	kind_served(s, VIO_VSOCK_TX, 0);
	kind_served(s, VIO_VSOCK_RX, sizeof h);
	memcpy(&h, kind_header(s) + 64, sizeof h);
	if (vio_le16_get(h.op) != VIO_VSOCK_OP_RST || vio_le32_get(h.dst_port) != 99)
		abort();
}

static void close_vsock(struct subject *s) { vio_dial_close(s->own); }

const struct kind kind_vsock = { &vio_dev_vsock, open_vsock, request, late, good, NULL, close_vsock };
