/* Front ends come, use the device, stop, go, and come back; and what has to survive that. */
#include "../test.h"
#include "raw.h"
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vio/ring/journal.h>

#define BIT(n) (UINT64_C(1) << (n))
#define PACKED BIT(VIO_F_RING_PACKED)
enum { NOW = 150 };		/* ms: long enough for what must not happen to happen */
enum { OUT = 1, IN = 0 };

static uint64_t format(void **state) { return (uintptr_t)*state ? PACKED : 0; }

static void serves(void **state)
{
	struct rig r;
	struct guest g;

	rig_start(&r, (struct rig_options){ .loops = 2 });
	for (unsigned round = 0; round < 20; round++) {
		guest_begin(&g, &r, (struct guest_options){ .features = format(state) }, 2);
		assert_true(guest_works(&g, 0));
		assert_true(guest_works(&g, 1));
		guest_end(&g);
	}
	rig_settles(&r);
	assert_int_equal(open_fds(), r.fds);
	rig_stop(&r);
}

/* Nothing waits for an answer that is still being awaited. */
static bool quiet(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, ms) == 0;
}

static uint32_t hear_base(int fd)
{
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	bool timeout;
	assert_true(hear(fd, &h, &p, NULL, PATIENCE_MS, &timeout));
	assert_int_equal(h.request, VIO_MSG_GET_VRING_BASE);
	return p.state.num;
}

static void stops_and_goes_on(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_state which = { 0, 0 };

	rig_start(&r, (struct rig_options){ 0 });
	guest_begin(&g, &r, (struct guest_options){ .features = format(state) }, 2);
	for (unsigned round = 0; round < 30; round++) {
		assert_true(guest_works(&g, 0));
		rig_hold(&r, true, false);
		guest_submit(&g, 0, 2, OUT, 3);
		guest_kick(&g, 0);
		while (!rig_held(&r))
			;
		say(g.sock, VIO_MSG_GET_VRING_BASE, &which, sizeof which, NULL, 0);
		if (round == 0)
			assert_true(quiet(g.sock, NOW));
		assert_int_equal(guest_status(&g, 0, 2), 0xee);
		rig_hold(&r, false, false);
		uint32_t base = hear_base(g.sock);
		assert_int_equal(guest_status(&g, 0, 2), 0);	/* it ended before the answer */
		assert_true(guest_used(&g, 0, 0, NULL));
		guest_submit(&g, 0, 3, OUT, 4);
		guest_kick(&g, 0);		/* nobody listens */
		if (round == 0) {
			assert_false(guest_used(&g, 0, NOW, NULL));
			assert_true(guest_works(&g, 1));
		}
		struct guest_queue before = g.q[0];
		guest_queue(&g, 0, base);
		g.q[0] = before;
		assert_int_equal(guest_kick_fd(&g, 0), DONE);
		assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));	/* looked at once */
	}
	guest_end(&g);
	rig_stop(&r);
}

static void disabled_waits(void **state)
{
	struct rig r;
	struct guest g;

	(void)state;
	rig_start(&r, (struct rig_options){ .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ .no_start = true }, 2);
	assert_int_equal(guest_kick_fd(&g, 1), DONE);
	guest_submit(&g, 1, 0, IN, 0);
	guest_kick(&g, 1);
	assert_false(guest_used(&g, 1, NOW, NULL));
	assert_int_equal(tell_state(g.sock, VIO_MSG_SET_VRING_ENABLE, 1, 1), DONE);
	assert_true(guest_used(&g, 1, PATIENCE_MS, NULL));
	assert_int_equal(tell_state(g.sock, VIO_MSG_SET_VRING_ENABLE, 1, 0), DONE);
	guest_submit(&g, 1, 1, IN, 0);
	guest_kick(&g, 1);
	assert_false(guest_used(&g, 1, NOW, NULL));
	/* without the protocol bit all rings are enabled, running or not */
	assert_int_equal(tell_u64(g.sock, VIO_MSG_SET_FEATURES, g.features & ~BIT(VIO_VHOST_PROTOCOL_FEATURES)), DONE);
	assert_true(guest_used(&g, 1, PATIENCE_MS, NULL));
	assert_int_equal(guest_kick_fd(&g, 0), DONE);
	assert_true(guest_works(&g, 0));
	guest_end(&g);
	rig_stop(&r);
}

/* ---- In-flight memory ---- */

static void recovers(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_inflight is;
	int fd = -1;
	struct guest_options o = { .features = format(state), .no_start = true };

	rig_start(&r, (struct rig_options){ 0 });
	guest_begin(&g, &r, o, 0);
	for (unsigned round = 0; round < 12; round++) {
		/* with nothing in flight, used is where it stands; a packed journal knows by itself */
		uint32_t base = g.packed ? VIO_PACKED_BASE : g.q[0].used;
		guest_inflight(&g, &fd, &is);
		struct guest_queue before = g.q[0];
		guest_must_start(&g, 0, base);
		if (round)
			g.q[0] = before;	/* the driver knows nothing of it */
		else
			assert_true(guest_works(&g, 0));
		rig_hold(&r, true, true);
		for (unsigned k = 0; k < 4; k++) {
			memset(guest_data(&g, 0, k), (int)(k + round), 512);
			guest_submit(&g, 0, k, OUT, 20 + k);
		}
		guest_kick(&g, 0);
		while (rig_held(&r) < 4)
			;
		guest_leave(&g);	/* as if killed, with four requests in flight */
		rig_settles(&r);
		assert_int_equal(rig_held(&r), 0);
		rig_hold(&r, false, false);
		assert_false(guest_used(&g, 0, 0, NULL));

		guest_return(&g, &r, o);
		guest_inflight(&g, &fd, &is);
		before = g.q[0];
		guest_must_start(&g, 0, base);
		g.q[0] = before;
		uint32_t seen = 0, id;
		for (unsigned k = 0; k < 4; k++) {
			assert_true(guest_used(&g, 0, PATIENCE_MS, &id));
			assert_false(seen >> id & 1);
			seen |= UINT32_C(1) << id;
			assert_int_equal(guest_status(&g, 0, id), 0);
			uint8_t sector[512];
			rig_peek(&r, (20 + id) * 512, sector, sizeof sector);
			assert_memory_equal(sector, guest_data(&g, 0, id), 512);
		}
		assert_false(guest_used(&g, 0, 20, &id));
		assert_true(guest_works(&g, 0));
		guest_leave(&g);
		rig_settles(&r);
		guest_return(&g, &r, o);
	}
	close(fd);
	guest_end(&g);
	rig_stop(&r);
}

/*
 * QEMU's vhost-user-scsi asks for in-flight memory, and gives it, before SET_FEATURES: it serves the format chosen then, and
 * another one chosen later.
 */
static void early_inflight(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_inflight is;
	int fd = -1;
	struct guest_options o = { .features = format(state), .no_start = true };

	rig_start(&r, (struct rig_options){ 0 });
	for (unsigned round = 0; round < 4; round++) {
		struct guest_options bare = o;
		bare.no_memory = true;
		guest_begin(&g, &r, bare, 0);
		assert_int_equal(tell(g.sock, VIO_MSG_RESET_DEVICE, NULL, 0, NULL, 0), DONE);	/* it knows no features any more */
		guest_inflight(&g, &fd, &is);
		assert_true(is.size >= 2 * vio_journal_bytes(GUEST_QUEUE, true));
		assert_int_equal(tell_u64(g.sock, VIO_MSG_SET_FEATURES, g.features), DONE);
		guest_memory(&g);
		assert_int_equal(guest_table(&g), DONE);
		for (unsigned i = 0; i < 2; i++) {
			guest_must_start(&g, i, g.packed ? VIO_PACKED_BASE : 0);
			assert_true(guest_works(&g, i));
		}
		guest_end(&g);
		rig_settles(&r);
		o.features ^= PACKED;
		close(fd);
		fd = -1;
	}
	rig_stop(&r);
}

/* Memory that split rings fill does not do for packed ones, which is told when such a ring starts. */
static void early_inflight_small(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_inflight is;
	int fd = memfd_create("small", MFD_CLOEXEC);

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	for (unsigned packed = 0; packed < 2; packed++) {
		guest_begin(&g, &r, (struct guest_options){ .features = packed ? PACKED : 0, .no_memory = true }, 0);
		assert_int_equal(tell(g.sock, VIO_MSG_RESET_DEVICE, NULL, 0, NULL, 0), DONE);
		is = (struct vio_vhost_inflight){ .size = 2 * vio_journal_bytes(GUEST_QUEUE, false), .queues = 2, .queue_size = GUEST_QUEUE };
		assert_int_equal(ftruncate(fd, 0) | ftruncate(fd, (off_t)is.size), 0);
		guest_inflight(&g, &fd, &is);
		assert_int_equal(tell_u64(g.sock, VIO_MSG_SET_FEATURES, g.features), DONE);
		guest_memory(&g);
		assert_int_equal(guest_table(&g), DONE);
		words_begin();
		guest_queue(&g, 1, packed ? VIO_PACKED_BASE : 0);
		assert_int_equal(guest_kick_fd(&g, 1), packed ? REFUSED : DONE);
		if (packed)
			assert_true(words_have("has no room for this queue"));
		guest_end(&g);
		rig_settles(&r);
	}
	close(fd);
	assert_true(good_front_end(&r));
	rig_stop(&r);
}

/* GET_VRING_BASE_INFLIGHT: the answer does not wait for the disk; what is in flight is done by the next one. */
static void suspends(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_inflight is;
	int fd = -1;

	rig_start(&r, (struct rig_options){ 0 });
	guest_begin(&g, &r, (struct guest_options){ .features = format(state), .no_start = true }, 0);
	guest_inflight(&g, &fd, &is);
	guest_must_start(&g, 0, g.packed ? VIO_PACKED_BASE : 0);
	assert_true(guest_works(&g, 0));
	rig_hold(&r, true, true);
	for (unsigned k = 0; k < 3; k++)
		guest_submit(&g, 0, k, OUT, 20 + k);
	guest_kick(&g, 0);
	while (rig_held(&r) < 3)
		;
	uint32_t base = ask_base(g.sock, 0);
	assert_false(guest_used(&g, 0, 20, NULL));
	rig_hold(&r, false, false);
	struct guest_queue before = g.q[0];
	guest_must_start(&g, 0, base);
	g.q[0] = before;
	for (unsigned k = 0; k < 3; k++)
		assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));
	assert_true(guest_works(&g, 0));
	close(fd);
	guest_end(&g);
	rig_stop(&r);
}

/* ---- Notifications ---- */

static void polls(void **state)
{
	struct rig r;
	struct guest g;

	rig_start(&r, (struct rig_options){ .poll_ns = (uintptr_t)*state ? UINT64_C(1000000) : 0 });
	guest_begin(&g, &r, (struct guest_options){ .no_start = true }, 1);
	assert_int_equal(tell_fd(g.sock, VIO_MSG_SET_VRING_KICK, VIO_VHOST_NO_FD, -1), DONE);
	assert_int_equal(tell_fd(g.sock, VIO_MSG_SET_VRING_CALL, VIO_VHOST_NO_FD, -1), DONE);
	assert_int_equal(tell_state(g.sock, VIO_MSG_SET_VRING_ENABLE, 0, 1), DONE);
	for (unsigned k = 0; k < 20; k++) {
		guest_submit(&g, 0, 0, IN, k);		/* no kick */
		assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));
	}
	guest_end(&g);
	rig_stop(&r);
}

static void in_band(void **state)
{
	struct rig r;
	struct guest g;
	uint32_t request;
	union vio_vhost_payload p;

	(void)state;
	rig_start(&r, (struct rig_options){ .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ .no_start = true,
	    .protocol_with = BIT(VIO_VHOST_F_INBAND_NOTIFICATIONS) }, 2);
	assert_int_equal(tell_state(g.sock, VIO_MSG_SET_VRING_ENABLE, 1, 1), DONE);
	for (unsigned k = 0; k < 20; k++) {
		guest_submit(&g, 1, 0, IN, k);
		assert_int_equal(tell_state(g.sock, VIO_MSG_VRING_KICK, 1, 0), DONE);
		assert_true(guest_used(&g, 1, 0, NULL));	/* "to block until they are processed" */
		assert_true(guest_asked(&g, &request, &p, PATIENCE_MS));
		assert_int_equal(request, VIO_MSG_BACKEND_VRING_CALL);
		assert_int_equal(p.state.index, 1);
		guest_answers(&g, request, 0);
	}
	/* a loop of descriptors: the error goes in-band too */
	struct vio_split_desc *table = (struct vio_split_desc *)(g.mem + ring_at(1));
	guest_submit(&g, 1, 0, IN, 0);
	table[1].next = vio_le16_of(0);
	assert_int_equal(tell_state(g.sock, VIO_MSG_VRING_KICK, 1, 0), DONE);
	assert_true(guest_asked(&g, &request, &p, PATIENCE_MS));
	assert_int_equal(request, VIO_MSG_BACKEND_VRING_ERR);
	guest_end(&g);
	rig_stop(&r);
}

static void breaks_one(void **state)
{
	struct rig r;
	struct guest g;
	uint64_t n;

	(void)state;
	words_begin();
	rig_start(&r, (struct rig_options){ .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 2);
	struct vio_split_desc *table = (struct vio_split_desc *)(g.mem + ring_at(0));
	guest_submit(&g, 0, 0, OUT, 0);
	table[1].next = vio_le16_of(0);
	guest_kick(&g, 0);
	struct pollfd p = { .fd = g.err[0], .events = POLLIN };
	assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
	assert_int_equal(read(g.err[0], &n, sizeof n), 8);
	assert_true(words_have("raw: queue 0 is broken until it is reset: chain of more descriptors than the queue has, or a loop"));
	assert_int_equal(ask_u64(g.sock, VIO_MSG_GET_STATUS), VIO_S_NEEDS_RESET);
	assert_true(guest_works(&g, 1));
	ask_base(g.sock, 0);
	assert_int_equal(ask_u64(g.sock, VIO_MSG_GET_STATUS), 0);
	memset(g.mem + ring_at(0), 0, 0x2000);
	guest_must_start(&g, 0, 0);
	assert_true(guest_works(&g, 0));
	/* broken in the very first turn, before the start has been answered */
	for (unsigned round = 0; round < 20; round++) {
		ask_base(g.sock, 0);
		memset(g.mem + ring_at(0), 0, 0x2000);
		guest_queue(&g, 0, 0);
		guest_submit(&g, 0, 0, OUT, 0);
		table[1].next = vio_le16_of(0);
		assert_int_equal(guest_kick_fd(&g, 0), DONE);
		assert_int_equal(ask_u64(g.sock, VIO_MSG_GET_STATUS), VIO_S_NEEDS_RESET);
	}
	guest_end(&g);
	rig_stop(&r);
}

/*
 * User-mode Linux disables a ring and never stops it; the next driver just says where the new one is.  What was in flight
 * is dropped, in-flight memory included.
 */
static void abandoned(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_inflight is;
	int fd = -1;

	rig_start(&r, (struct rig_options){ .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ .features = format(state), .no_start = true }, 0);
	guest_inflight(&g, &fd, &is);
	guest_must_start(&g, 0, 0x80008000 * (uint32_t)g.packed);
	for (unsigned round = 0; round < 5; round++) {
		assert_true(guest_works(&g, 0));
		rig_hold(&r, true, true);
		guest_submit(&g, 0, 2, IN, 1);
		guest_kick(&g, 0);
		while (!rig_held(&r))
			;
		assert_int_equal(tell_state(g.sock, VIO_MSG_SET_VRING_NUM, 0, 8), REFUSED);	/* not yet */
		assert_int_equal(tell_state(g.sock, VIO_MSG_SET_VRING_ENABLE, 0, 0), DONE);
		assert_int_equal(tell_state(g.sock, VIO_MSG_SET_VRING_NUM, 0, GUEST_QUEUE), DONE);
		assert_int_equal(rig_held(&r), 0);
		rig_hold(&r, false, false);
		memset(g.mem + ring_at(0), 0, 0x2000);
		guest_must_start(&g, 0, 0);
		if (g.packed)
			g.q[0].avail_wrap = g.q[0].used_wrap = true;
		assert_false(guest_used(&g, 0, 20, NULL));
	}
	assert_true(guest_works(&g, 0));
	close(fd);
	guest_end(&g);
	rig_stop(&r);
}

/* ---- Device ---- */

static void get_config(struct guest *g, void *to, uint32_t offset, uint32_t n)
{
	struct vio_vhost_config c = { .offset = offset, .size = n };
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	bool timeout;

	say(g->sock, VIO_MSG_GET_CONFIG, &c, 12 + n, NULL, 0);
	assert_true(hear(g->sock, &h, &p, NULL, PATIENCE_MS, &timeout));
	assert_int_equal(h.size, 12 + n);
	assert_int_equal(p.config.offset, offset);
	assert_int_equal(p.config.size, n);
	memcpy(to, p.config.bytes, n);
}

static enum verdict set_config(struct guest *g, uint32_t offset, uint8_t byte, uint32_t flags)
{
	struct vio_vhost_config c = { .offset = offset, .size = 1, .flags = flags, .bytes = { byte } };
	return tell(g->sock, VIO_MSG_SET_CONFIG, &c, 13, NULL, 0);
}

static void config_space(void **state)
{
	struct rig r;
	struct guest g;
	uint8_t whole[256], part[256];
	uint32_t request;
	union vio_vhost_payload p;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	guest_begin(&g, &r, (struct guest_options){ .features = BIT(11) | BIT(9), .no_start = true }, 0);
	get_config(&g, whole, 0, 256);
	for (uint32_t n = 1; n < 128; n++) {	/* user-mode Linux: growing, from 0 */
		get_config(&g, part, 0, n);
		assert_memory_equal(whole, part, n);
	}
	get_config(&g, part, 4000000000u, 16);
	assert_int_equal(part[0], 0);
	assert_int_equal(set_config(&g, 32, 0, 0), DONE);
	assert_int_equal(set_config(&g, 0, 1, 0), REFUSED);
	assert_int_equal(set_config(&g, 33, 1, 0), REFUSED);
	assert_int_equal(set_config(&g, 32, 1, 2), REFUSED);
	assert_int_equal(set_config(&g, 0, whole[0], 1), DONE);		/* migration: the same device */
	assert_int_equal(set_config(&g, 0, (uint8_t)(whole[0] + 1), 1), REFUSED);
	get_config(&g, part, 0, 64);
	assert_int_equal(part[32], 0);

	rig_resize(&r, RIG_DISK / 2);		/* all rings are stopped: not a word to the front end */
	assert_false(guest_asked(&g, &request, &p, NOW));
	guest_must_start(&g, 0, 0);
	assert_true(guest_asked(&g, &request, &p, PATIENCE_MS));
	assert_int_equal(request, VIO_MSG_BACKEND_CONFIG_CHANGE);
	get_config(&g, part, 0, 8);
	assert_int_equal(part[1] << 8 | part[0], RIG_DISK / 2 / 512);

	/* status 0 forgets nothing; the same base is the same driver; another base is another one */
	assert_int_equal(tell_u64(g.sock, VIO_MSG_SET_STATUS, 15), DONE);
	assert_int_equal(ask_u64(g.sock, VIO_MSG_GET_STATUS), 15);
	assert_true(guest_works(&g, 0));
	assert_int_equal(tell_u64(g.sock, VIO_MSG_SET_STATUS, 0), DONE);
	uint32_t base = ask_base(g.sock, 0);
	guest_must_start(&g, 0, base);
	assert_true(guest_works(&g, 0));
	get_config(&g, part, 0, 64);
	assert_int_equal(part[32], 0);
	ask_base(g.sock, 0);
	memset(g.mem + ring_at(0), 0, 0x2000);
	guest_must_start(&g, 0, 0);
	get_config(&g, part, 0, 64);
	assert_int_equal(part[32], 1);
	assert_true(guest_works(&g, 0));
	guest_end(&g);
	rig_stop(&r);
}

static void resets(void **state)
{
	struct rig r;
	struct guest g;

	(void)state;
	rig_start(&r, (struct rig_options){ .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 2);
	assert_true(guest_works(&g, 1));
	rig_hold(&r, true, true);
	guest_submit(&g, 1, 0, OUT, 1);
	guest_kick(&g, 1);
	while (!rig_held(&r))
		;
	assert_int_equal(tell(g.sock, VIO_MSG_RESET_DEVICE, NULL, 0, NULL, 0), DONE);
	assert_int_equal(rig_held(&r), 0);
	rig_hold(&r, false, false);
	assert_false(guest_used(&g, 1, 20, NULL));
	assert_int_equal(guest_kick_fd(&g, 0), REFUSED);
	memset(g.mem + ring_at(0), 0, 0x4000);
	assert_int_equal(tell_u64(g.sock, VIO_MSG_SET_FEATURES, g.features), DONE);
	guest_must_start(&g, 0, 0);
	guest_must_start(&g, 1, 0);
	assert_true(guest_works(&g, 0));
	assert_true(guest_works(&g, 1));
	guest_end(&g);
	rig_stop(&r);
}

/* docs/decisions/packed-base-zero.md */
static void packed_base_zero(void **state)
{
	struct rig r;
	struct guest g;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	guest_begin(&g, &r, (struct guest_options){ .features = PACKED, .no_start = true }, 0);
	guest_must_start(&g, 0, 0);		/* user-mode Linux says 0 of a fresh ring */
	g.q[0].avail_wrap = g.q[0].used_wrap = true;
	/* 16 places and 3 a request: after 16 requests both stand at 0 again, wrapped three times: counters 0 */
	for (unsigned k = 0; k < 8; k++)
		assert_true(guest_works(&g, 0));
	assert_int_equal(g.q[0].avail, 0);
	assert_false(g.q[0].avail_wrap);
	assert_int_equal(ask_base(g.sock, 0), 0);
	guest_must_start(&g, 0, 0);		/* and 0 is where a ring may really stand */
	assert_true(guest_works(&g, 0));
	uint32_t base = ask_base(g.sock, 0);
	assert_int_equal(base >> 16, base & 0xffff);
	guest_must_start(&g, 0, base & 0xffff);	/* DPDK leaves the upper half away */
	g.q[0].used = g.q[0].avail;
	g.q[0].used_wrap = g.q[0].avail_wrap;
	assert_true(guest_works(&g, 0));
	guest_end(&g);
	rig_stop(&r);
}

/* ---- Ends ---- */

static void deadline(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	bool timeout;

	(void)state;
	words_begin();
	rig_start(&r, (struct rig_options){ .stop_deadline_ns = UINT64_C(50000000) });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 2);
	rig_hold(&r, true, false);
	guest_submit(&g, 0, 0, IN, 0);
	guest_kick(&g, 0);
	while (!rig_held(&r))
		;
	struct vio_vhost_state which = { 0, 0 };
	say(g.sock, VIO_MSG_GET_VRING_BASE, &which, sizeof which, NULL, 0);
	assert_false(hear(g.sock, &h, &p, NULL, PATIENCE_MS, &timeout));
	assert_false(timeout);		/* hung up */
	assert_true(words_have("raw: queue 0 has requests that the host has not finished and can't cancel"));
	assert_true(words_have("guest memory stays mapped until they end"));
	assert_int_equal(guest_status(&g, 0, 0), 0xee);
	rig_hold(&r, false, false);
	rig_settles(&r);
	assert_int_equal(guest_status(&g, 0, 0), 0);	/* into memory that was still mapped */
	guest_end(&g);
	assert_true(good_front_end(&r));
	rig_stop(&r);
}

static void finishes(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	bool timeout;

	(void)state;
	rig_start(&r, (struct rig_options){ .loops = 2, .stop_deadline_ns = UINT64_C(100000000) });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 1);
	rig_hold(&r, true, true);
	guest_submit(&g, 0, 0, IN, 0);
	guest_kick(&g, 0);
	while (!rig_held(&r))
		;
	rig_stop(&r);		/* the deadline cancels what is held, and closes the connection */
	assert_false(hear(g.sock, &h, &p, NULL, PATIENCE_MS, &timeout));
	assert_false(timeout);
	guest_end(&g);
}

static void once(void **state)
{
	struct rig r;
	struct guest g;

	rig_start(&r, (struct rig_options){ .once = !*state, .connected = *state });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 1);
	assert_true(guest_works(&g, 0));
	assert_int_equal(r.ended, 0);
	guest_end(&g);
	for (int ms = 0; ms < PATIENCE_MS && !__atomic_load_n(&r.ended, __ATOMIC_SEQ_CST); ms++)
		poll(NULL, 0, 1);
	assert_int_equal(r.ended, 1);
	rig_stop(&r);
}

static void second_waits(void **state)
{
	struct rig r;
	struct guest g;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 1);
	int second = rig_connect(&r);
	say(second, VIO_MSG_GET_FEATURES, NULL, 0, NULL, 0);
	assert_true(quiet(second, NOW));
	assert_true(guest_works(&g, 0));
	guest_end(&g);
	assert_false(quiet(second, PATIENCE_MS));
	close(second);
	assert_true(good_front_end(&r));
	rig_stop(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TS(serves, "twenty front ends, one after another, use two split queues in two loops", 0),
		TS(serves, "and two packed queues", 1),
		TS(stops_and_goes_on, "GET_VRING_BASE waits for what is in flight, and the ring goes on from there, split", 0),
		TS(stops_and_goes_on, "and packed", 1),
		T(disabled_waits, "a started ring that is disabled waits; without the protocol bit all are enabled"),
		TS(recovers, "in-flight memory: what a connection left is done by the next, once, split", 0),
		TS(recovers, "and packed", 1),
		TS(early_inflight, "in-flight memory asked for before SET_FEATURES serves the format chosen then, split first", 0),
		TS(early_inflight, "and packed first", 1),
		T(early_inflight_small, "in-flight memory given before SET_FEATURES that is too small for the format chosen is told when a ring starts"),
		TS(suspends, "GET_VRING_BASE_INFLIGHT answers at once and leaves requests in the journal, split", 0),
		TS(suspends, "and packed", 1),
		TS(polls, "a ring without kicks is looked at by the clock", 0),
		TS(polls, "and by a loop that polls", 1),
		T(in_band, "kicks, calls and errors go in-band"),
		T(breaks_one, "an incoherent ring breaks that queue in a sentence; the other goes on; GET_VRING_BASE heals"),
		TS(abandoned, "a disabled ring that is described anew is another driver's, split", 0),
		TS(abandoned, "and packed", 1),
		T(config_space, "the config space: any size, writable bytes, changes told while a ring runs, a new driver begins anew"),
		T(resets, "RESET_DEVICE cancels, forgets and can be started again"),
		T(packed_base_zero, "a packed ring at base 0: fresh, or really there"),
		T(deadline, "what can't be cancelled is named, the connection closed, the memory kept until it ends"),
		T(finishes, "the end of the daemon finishes or cancels what is in flight"),
		TS(once, "once: the end of the first front end is told", 0),
		TS(once, "and so is the end of a connection that the daemon was given", 1),
		T(second_waits, "a second front end waits until the first has gone"),
	};
	return vio_tests("vhost life", tests, sizeof tests / sizeof *tests);
}
