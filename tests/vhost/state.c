/* Device state over vhost-user (DEVICE_STATE): from one daemon to another, and what can't be. */
#include "../test.h"
#include "raw.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vio/device/state.h>
#include <vio/driver/blk.h>
#include <vio/vhost/frontend.h>

enum { RING = 16, MEMORY = 1 << 18, STATE = 65536 };
#define BIT(n) (UINT64_C(1) << (n))

struct drive {
	struct vio_vhost_memory memory;
	struct vio_vhost_front *front;
	struct vio_blk blk;
	struct vio_drvq_slot slots[RING];
	struct vio_blk_request *request;
	unsigned char *data;
};

static void drive_connect(struct drive *d, int fd, uint64_t without)
{
	char why[512] = "";

	if (!d->memory.base)
		assert_true(vio_vhost_memory_make(&d->memory, MEMORY));
	d->front = vio_vhost_connect(&(struct vio_vhost_front_options){ .fd = fd, .memory = &d->memory, .device_id = VIO_ID_BLK,
	    .protocol_without = without, .patience_ns = UINT64_C(2000000000) }, why);
	if (!d->front)
		fail_msg("%s", why);
}

static void drive_start(struct drive *d)
{
	static const unsigned char bits[] = { VIO_F_VERSION_1, VIO_BLK_F_BLK_SIZE, VIO_BLK_F_FLUSH, VIO_BLK_F_CONFIG_WCE };
	struct vio_blk_setup s = { .queues = 1, .queue_size = RING, .wanted = vio_features_of(bits, sizeof bits) };

	s.memory[0] = (struct vio_blk_queue_memory){ .ring = d->memory.base, .slots = d->slots };
	d->request = (struct vio_blk_request *)((char *)d->memory.base + 65536);
	d->data = (unsigned char *)d->memory.base + 131072;
	memset(d->request, 0, sizeof *d->request);
	if (!vio_blk_start(&d->blk, vio_vhost_drv_port(d->front), &s))
		fail_msg("%s %s", d->blk.drv.failed, vio_vhost_why(d->front));
}

static void works(struct drive *d)
{
	d->request->type = VIO_BLK_T_OUT;
	d->request->sector = 3;
	d->request->data = d->data;
	d->request->len = 512;
	memset(d->data, 0x77, 512);
	assert_int_equal(vio_blk_do(&d->blk, d->request), VIO_BLK_S_OK);
}

static uint8_t writeback(struct drive *d)
{
	struct vio_drv_port *p = vio_vhost_drv_port(d->front);
	uint8_t v = 0xee;

	assert_true(p->ops->config_read(p, offsetof(struct vio_blk_config, writeback), &v, 1));
	return v;
}

static void set_writeback(struct drive *d, uint8_t v)
{
	struct vio_drv_port *p = vio_vhost_drv_port(d->front);

	assert_true(p->ops->config_write(p, offsetof(struct vio_blk_config, writeback), &v, 1));
}

/* What a driver has written of the config space is with the other daemon, whose queues go on where this one's stood. */
static void goes_to_another_daemon(void **state)
{
	static unsigned char bytes[STATE];
	struct rig here, there;
	struct drive d = { 0 }, e = { 0 };
	uint32_t base;

	(void)state;
	rig_start(&here, (struct rig_options){ 0 });
	rig_start(&there, (struct rig_options){ 0 });
	drive_connect(&d, rig_connect(&here), 0);
	drive_start(&d);
	works(&d);
	assert_int_equal(writeback(&d), 1);
	set_writeback(&d, 0);
	assert_int_equal(vio_vhost_save(d.front, bytes, sizeof bytes), 0);	/* it runs */
	assert_true(vio_vhost_queue_stop(d.front, 0, &base));
	size_t n = vio_vhost_save(d.front, bytes, sizeof bytes);
	if (!n)
		fail_msg("%s", vio_vhost_why(d.front));
	assert_int_equal(vio_vhost_save(d.front, bytes, sizeof bytes), n);	/* any number of times */
	assert_true(vio_vhost_queue_go(d.front, 0, base));
	works(&d);			/* and it goes on here, too */

	drive_connect(&e, rig_connect(&there), 0);
	if (!vio_vhost_load(e.front, bytes, n))		/* before the features are settled, as QEMU does it */
		fail_msg("%s", vio_vhost_why(e.front));
	drive_start(&e);
	assert_int_equal(writeback(&e), 0);
	works(&e);
	assert_true(vio_vhost_queue_stop(e.front, 0, &base));
	set_writeback(&e, 1);
	assert_true(vio_vhost_load(e.front, bytes, n));		/* and after */
	assert_int_equal(writeback(&e), 0);
	assert_true(vio_vhost_queue_go(e.front, 0, base));
	works(&e);
	vio_vhost_disconnect(d.front);
	vio_vhost_disconnect(e.front);
	vio_vhost_memory_free(&d.memory);
	vio_vhost_memory_free(&e.memory);
	rig_settles(&here);
	rig_settles(&there);
	rig_stop(&there);
	rig_stop(&here);
}

/* Cut at each byte and with each byte another: refused by CHECK, or a state; and the device serves on. */
static void bad_states(void **state)
{
	static unsigned char bytes[STATE], bad[STATE];
	struct rig r;
	struct drive d = { 0 };
	unsigned refused = 0;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	words_begin();
	drive_connect(&d, rig_connect(&r), 0);
	size_t n = vio_vhost_save(d.front, bytes, sizeof bytes);
	assert_in_range(n, 1, 200);
	for (size_t cut = 0; cut < n; cut++)
		assert_false(vio_vhost_load(d.front, bytes, cut));
	assert_non_null(strstr(vio_vhost_why(d.front), "did not pass well"));
	for (size_t at = 0; at < n; at++) {
		memcpy(bad, bytes, n);
		bad[at] ^= 0x81;
		refused += !vio_vhost_load(d.front, bad, n);
	}
	assert_in_range(refused, n / 2, n);
	memset(bad, 0, sizeof bad);
	assert_false(vio_vhost_load(d.front, bad, sizeof bad));
	assert_true(vio_vhost_load(d.front, bytes, n));
	assert_null(vio_vhost_broken(d.front));
	drive_start(&d);
	works(&d);
	vio_vhost_disconnect(d.front);
	vio_vhost_memory_free(&d.memory);
	rig_settles(&r);
	rig_stop(&r);
}

static void a_back_end_without_it(void **state)
{
	static unsigned char bytes[STATE];
	struct rig r;
	struct drive d = { 0 };

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	drive_connect(&d, rig_connect(&r), BIT(VIO_VHOST_F_DEVICE_STATE));
	assert_int_equal(vio_vhost_save(d.front, bytes, sizeof bytes), 0);
	assert_non_null(strstr(vio_vhost_why(d.front), "DEVICE_STATE"));
	assert_false(vio_vhost_load(d.front, bytes, 1));
	drive_start(&d);
	works(&d);
	vio_vhost_disconnect(d.front);
	vio_vhost_memory_free(&d.memory);
	rig_settles(&r);
	rig_stop(&r);
}

/* ---- Message by message ---- */

static uint64_t transfer(int s, uint32_t direction, uint32_t phase, int *fd)
{
	struct vio_vhost_transfer t = { direction, phase };
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	int mine[2];
	bool timeout;

	assert_int_equal(pipe2(mine, O_CLOEXEC), 0);
	*fd = -1;
	say(s, VIO_MSG_SET_DEVICE_STATE_FD, &t, sizeof t, &mine[direction == VIO_TRANSFER_SAVE], 1);
	assert_true(hear(s, &h, &p, fd, PATIENCE_MS, &timeout));
	assert_int_equal(h.size, 8);
	close(mine[0]);
	close(mine[1]);
	return p.u64;
}

static void messages(void **state)
{
	static const struct { const char *what; uint32_t direction, phase; } bad[] = {
		{ "a phase of nobody's", 0, 1 }, { "a direction of nobody's", 2, 0 }, { "both", 7, 7 },
	};
	static unsigned char much[VIO_VHOST_STATE_BYTES / 16];
	struct rig r;
	int fd, other;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	int s = rig_connect(&r);
	words_begin();
	assert_true(ask_u64(s, VIO_MSG_GET_PROTOCOL_FEATURES) >> VIO_VHOST_F_DEVICE_STATE & 1);
	assert_int_equal(tell_u64(s, VIO_MSG_SET_PROTOCOL_FEATURES, BIT(VIO_VHOST_F_REPLY_ACK) | BIT(VIO_VHOST_F_DEVICE_STATE)), DONE);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		if (transfer(s, bad[i].direction, bad[i].phase, &fd) != (VIO_TRANSFER_NO_FD | 1) || fd >= 0)
			fail_msg("%s is not refused", bad[i].what);
	}
	assert_int_equal(ask_u64(s, VIO_MSG_CHECK_DEVICE_STATE), 0);	/* nothing was transferred, nothing is wrong */
	assert_int_equal(transfer(s, VIO_TRANSFER_LOAD, 0, &fd), 0);	/* larger than any */
	assert_true(fd >= 0);
	for (unsigned i = 0; i < 17; i++)
		assert_true(write(fd, much, sizeof much) == (ssize_t)sizeof much);
	close(fd);
	assert_int_equal(ask_u64(s, VIO_MSG_CHECK_DEVICE_STATE), 1);
	assert_true(words_have("larger than any"));
	assert_int_equal(ask_u64(s, VIO_MSG_CHECK_DEVICE_STATE), 0);
	/* begun twice, the first one's file means nothing */
	assert_int_equal(transfer(s, VIO_TRANSFER_LOAD, 0, &fd), 0);
	assert_int_equal(transfer(s, VIO_TRANSFER_SAVE, 0, &other), 0);
	assert_true(write(fd, much, 100) == 100);
	close(fd);
	assert_in_range(read(other, much, sizeof much), 1, 200);
	close(other);
	assert_int_equal(ask_u64(s, VIO_MSG_CHECK_DEVICE_STATE), 0);
	/* nothing at all is no state */
	assert_int_equal(transfer(s, VIO_TRANSFER_LOAD, 0, &fd), 0);
	close(fd);
	assert_int_equal(ask_u64(s, VIO_MSG_CHECK_DEVICE_STATE), 1);
	/* and hanging up in the middle leaves nothing behind */
	assert_int_equal(transfer(s, VIO_TRANSFER_LOAD, 0, &fd), 0);
	close(fd);
	close(s);
	rig_settles(&r);
	rig_stop(&r);
}

static const struct CMUnitTest tests[] = {
	T(goes_to_another_daemon, "what the back end knows goes to another daemon, whether or not features are settled there"),
	T(bad_states, "states cut or with bytes changed are refused by CHECK, and the device serves on"),
	T(a_back_end_without_it, "a back end without DEVICE_STATE"),
	T(messages, "phases, directions, sizes and orders of messages that can't be"),
};

int main(void) { return vio_tests("vhost-state", tests, sizeof tests / sizeof *tests); }
