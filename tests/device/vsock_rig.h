/*
 * The socket device in the rig: packets by hand on both queues, and the world as the memory twin.  Nothing here knows more of
 * a packet than chapter 5.10.6 says.
 */
#ifndef VIO_TESTS_DEVICE_VSOCK_RIG_H
#define VIO_TESTS_DEVICE_VSOCK_RIG_H
#include <vio/device/vsock.h>
#include <vio/host/dial.h>
#include <vio/spec/vsock.h>
#include "rig.h"

enum { CID = 7, HOST = 2, GUEST_PORT = 1025, PORT = 80, RX_BYTES = 4096, RX_BUFFERS = 16, ROOM = 64 << 10, BUFFER = 16384 };
#define ALL_VSOCK VIO_VSOCK_F_STREAM, VIO_VSOCK_F_SEQPACKET, VIO_VSOCK_F_NO_IMPLIED_STREAM, VIO_F_VERSION_1

struct packet {				/* in host order; what a test does not say is as below */
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
};

struct vsock_rig {
	struct rig *g;
	struct vio_dial *dial;
	struct vio_vsock_options o;
	unsigned char *tx;		/* where the packet on hand lies */
	size_t rx_bytes, rx_cut, tx_cut;
	uint32_t received[65536];	/* payload bytes by the guest's port, for fwd_cnt */
	unsigned char data[65536];	/* payload of the packet received last */
	uint32_t used;			/* its used.len */
};

static inline void vsock_give(struct vsock_rig *b, void *buffer)
{
	memset(buffer, 0xee, b->rx_bytes);
	assert_true(rig_add(b->g, VIO_VSOCK_RX, NULL, 0, 0, buffer, b->rx_bytes, b->rx_cut));
}

/* The driver's start: queues, and buffers in the receive queue. */
static inline void vsock_begin(struct vsock_rig *b, struct vio_features f, unsigned buffers)
{
	rig_start(b->g, VIO_VSOCK_QUEUES, f);
	b->tx = rig_take(b->g, 44 + 65536 + 64);
	memset(b->received, 0, sizeof b->received);
	for (unsigned i = 0; i < buffers; i++)
		vsock_give(b, rig_take(b->g, b->rx_bytes));
	b->g->kept = b->g->used;
	rig_kick(b->g, VIO_VSOCK_RX);
}

/* The world's end of a connection holds room bytes. */
static inline struct vsock_rig *vsock_new_room(uint32_t room)
{
	struct vsock_rig *b = calloc(1, sizeof *b);

	assert_non_null(b);
	b->g = rig_new();
	b->dial = vio_dial_memory_open(room);
	b->o = (struct vio_vsock_options){ .dial = b->dial, .guest_cid = CID, .buffer = BUFFER, .connections = 64, .seed = 1 };
	b->rx_bytes = RX_BYTES;
	return b;
}

static inline struct vsock_rig *vsock_new(void) { return vsock_new_room(ROOM); }

static inline struct vsock_rig *vsock_start_room(uint32_t room)
{
	struct vsock_rig *b = vsock_new_room(room);

	assert_null(rig_open(b->g, &vio_dev_vsock, &b->o));
	vsock_begin(b, BITS(ALL_VSOCK), RX_BUFFERS);
	return b;
}

static inline struct vsock_rig *vsock_start(void) { return vsock_start_room(ROOM); }

static inline void vsock_close(struct vsock_rig *b)
{
	rig_close(b->g);
	vio_dial_close(b->dial);
	free(b);
}

/* All events and turns that are due. */
static inline void vsock_pump(struct vsock_rig *b)
{
	for (unsigned i = 0; i < 1000; i++) {
		unsigned n = vio_dial_memory_pump(b->dial);
		uint64_t due = b->g->wire.due[0];
		vio_loop_pump(&b->g->wire, 64);
		if (!n && !due)
			return;
	}
	fail_msg("it never comes to rest");
}

static inline struct packet packet_of(uint16_t op)
{
	return (struct packet){ .src_cid = CID, .dst_cid = HOST, .src_port = GUEST_PORT, .dst_port = PORT,
		.type = VIO_VSOCK_TYPE_STREAM, .op = op, .buf_alloc = 65536 };
}

/* Send n bytes of packet: header and payload, cut as the rig says; the driver takes the chain back. */
static inline void vsock_send_raw(struct vsock_rig *b, const void *bytes, size_t n)
{
	uint32_t used;

	if (n)
		memcpy(b->tx, bytes, n);
	assert_true(rig_add(b->g, VIO_VSOCK_TX, n ? b->tx : NULL, n, b->tx_cut, n ? NULL : b->tx, n ? 0 : 1, 0));
	rig_kick(b->g, VIO_VSOCK_TX);
	vsock_pump(b);
	assert_non_null(rig_get(b->g, VIO_VSOCK_TX, &used));
	assert_int_equal(used, 0);
}

static inline struct vio_vsock_hdr wire_of(const struct packet *p)
{
	return (struct vio_vsock_hdr){ vio_le64_of(p->src_cid), vio_le64_of(p->dst_cid), vio_le32_of(p->src_port),
		vio_le32_of(p->dst_port), vio_le32_of(p->len), vio_le16_of(p->type), vio_le16_of(p->op), vio_le32_of(p->flags),
		vio_le32_of(p->buf_alloc), vio_le32_of(p->fwd_cnt) };
}

/* Header, then n bytes of data. */
static inline void vsock_send(struct vsock_rig *b, struct packet p, const void *data, size_t n)
{
	static unsigned char all[44 + 65536 + 64];
	struct vio_vsock_hdr h = wire_of(&p);

	memcpy(all, &h, sizeof h);
	if (n)
		memcpy(all + sizeof h, data, n);
	vsock_send_raw(b, all, sizeof h + n);
}

static inline void vsock_say(struct vsock_rig *b, uint16_t op, uint32_t flags)
{
	struct packet p = packet_of(op);

	p.flags = flags;
	p.fwd_cnt = b->received[p.src_port];
	vsock_send(b, p, NULL, 0);
}

static inline void vsock_bytes(struct vsock_rig *b, const void *data, uint32_t n)
{
	struct packet p = packet_of(VIO_VSOCK_OP_RW);

	p.len = n;
	p.fwd_cnt = b->received[p.src_port];
	vsock_send(b, p, data, n);
}

/* Bytes of a message, in one packet. */
static inline void vsock_message(struct vsock_rig *b, const void *data, uint32_t n, uint32_t flags)
{
	struct packet p = packet_of(VIO_VSOCK_OP_RW);

	p.type = VIO_VSOCK_TYPE_SEQPACKET;
	p.len = n;
	p.flags = flags;
	p.fwd_cnt = b->received[p.src_port];
	vsock_send(b, p, data, n);
}

/* The next packet for the guest, whose buffer is given again at once.  False: none. */
static inline bool vsock_get(struct vsock_rig *b, struct packet *p)
{
	struct vio_vsock_hdr h;
	unsigned char *at;

	vsock_pump(b);
	at = rig_get(b->g, VIO_VSOCK_RX, &b->used);
	if (!at)
		return false;
	assert_true(b->used >= sizeof h);
	memcpy(&h, at, sizeof h);
	*p = (struct packet){ vio_le64_get(h.src_cid), vio_le64_get(h.dst_cid), vio_le32_get(h.src_port), vio_le32_get(h.dst_port),
		vio_le32_get(h.len), vio_le16_get(h.type), vio_le16_get(h.op), vio_le32_get(h.flags), vio_le32_get(h.buf_alloc),
		vio_le32_get(h.fwd_cnt) };
	assert_int_equal(b->used, sizeof h + p->len);
	memcpy(b->data, at + sizeof h, p->len);
	for (size_t i = b->used; i < b->rx_bytes; i++)
		assert_int_equal(at[i], 0xee);		/* B7: nothing behind what was used */
	if (p->op == VIO_VSOCK_OP_RW && p->dst_port < 65536)
		b->received[p->dst_port] += p->len;
	vsock_give(b, at);
	rig_kick(b->g, VIO_VSOCK_RX);
	return true;
}

static inline void vsock_expect(struct vsock_rig *b, uint16_t op)
{
	struct packet p;

	if (!vsock_get(b, &p))
		fail_msg("operation %u did not come", op);
	if (p.op != op)
		fail_msg("operation %u came, not %u", p.op, op);
	assert_int_equal(p.dst_cid, CID);
}

/* ... and returns it. */
static inline struct packet vsock_expected(struct vsock_rig *b, uint16_t op)
{
	struct packet p = { 0 };

	if (!vsock_get(b, &p))
		fail_msg("operation %u did not come", op);
	if (p.op != op)
		fail_msg("operation %u came, not %u", p.op, op);
	return p;
}

static inline uint32_t vsock_count(const struct vsock_rig *b) { return vio_vsock_dev_connections(b->g->dev); }

static inline void vsock_silence(struct vsock_rig *b)
{
	struct packet p;

	if (vsock_get(b, &p))
		fail_msg("operation %u came unasked", p.op);
}

/* A connection made by the guest: the world's end of it. */
static inline struct vio_line *vsock_connect_type(struct vsock_rig *b, uint16_t type)
{
	struct packet p = packet_of(VIO_VSOCK_OP_REQUEST);
	struct vio_line *l;

	p.type = type;
	b->received[p.src_port] = 0;
	vsock_send(b, p, NULL, 0);
	l = vio_dial_memory_take(b->dial, NULL);
	assert_non_null(l);
	vsock_expect(b, VIO_VSOCK_OP_RESPONSE);
	return l;
}

static inline struct vio_line *vsock_connect(struct vsock_rig *b) { return vsock_connect_type(b, VIO_VSOCK_TYPE_STREAM); }

/* The world's end reads and writes plain memory. */
static inline long world_read(struct vio_line *l, void *to, size_t n)
{
	struct vio_seg seg = { to, n };
	struct vio_cur c = { .seg = &seg, .left = n };
	return l->ops->read(l, &c);
}

static inline long world_write(struct vio_line *l, const void *from, size_t n)
{
	struct vio_seg seg = { (void *)(uintptr_t)from, n };
	struct vio_cur c = { .seg = &seg, .left = n };
	return l->ops->write(l, &c);
}

static inline void world_close(struct vio_line *l) { l->ops->close(l, false); }

static inline unsigned char mark_of(uint64_t i) { return (unsigned char)(i * 7 + (i >> 8) * 13 + 1); }
static inline void fill_marks(unsigned char *to, uint64_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = mark_of(from + i);
}
#endif
