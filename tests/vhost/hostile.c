/*
 * A front end that lies (docs/vhost-user.md): every message of any size with any descriptors, and each of its fields out of
 * range.  What is refused changes nothing, closes all descriptors, and leaves a daemon that serves the next one.
 */
#include "../test.h"
#include "raw.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIT(n) (UINT64_C(1) << (n))
#define PACKED BIT(VIO_F_RING_PACKED)
enum { OUT = 1, IN = 0 };

/* ---- Every id, size, number of descriptors ---- */

/* What the table says must become of it; ANSWERED: it may be served. */
static enum verdict expected(uint32_t id, uint32_t size, unsigned fds)
{
	const struct vio_vhost_message_type *t = id < VIO_MSG_LIMIT ? &vio_vhost_message_types[id] : NULL;
	bool known = t && t->name;

	if (size > sizeof(union vio_vhost_payload))
		return CLOSED;
	if (known && size >= t->size_min && size <= t->size_max && fds >= t->fds_min && fds <= t->fds_max &&
	    t->payload != VIO_PAYLOAD_OTHER)
		return ANSWERED;
	if (known && (id == VIO_MSG_GET_CONFIG || id == VIO_MSG_SET_DEVICE_STATE_FD || id == VIO_MSG_CHECK_DEVICE_STATE))
		return REFUSED;
	return known && t->reply == VIO_REPLY_ANSWER ? CLOSED : REFUSED;
}

static void every_message(void **state)
{
	static const uint8_t zeroes[8192];
	struct rig r;
	struct guest g;
	int fds[16];
	bool connected = false;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	for (unsigned i = 0; i < 16; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	for (uint32_t id = 0; id < 256; id++) {
		const struct vio_vhost_message_type *t = id < VIO_MSG_LIMIT ? &vio_vhost_message_types[id] : NULL;
		uint32_t min = t ? t->size_min : 0, max = t ? t->size_max : 0;
		uint32_t sizes[] = { 0, min ? min - 1 : 0, min, max, max + 1, 512, 513, 4096, UINT32_MAX };
		static const unsigned counts[] = { 0, 1, 8, 9, 16 };
		for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++)
			for (unsigned f = 0; f < sizeof counts / sizeof *counts; f++) {
				if (!connected)
					guest_begin(&g, &r, (struct guest_options){ .no_start = true }, 1);
				enum verdict want = expected(id, sizes[s], counts[f]), got;
				if (sizes[s] == UINT32_MAX) {	/* only its head */
					struct vio_vhost_header h = { id, VIO_VHOST_VERSION, UINT32_MAX };
					say_bytes(g.sock, &h, sizeof h, fds, counts[f]);
					union vio_vhost_payload p;
					bool timeout;
					got = hear(g.sock, &h, &p, NULL, PATIENCE_MS, &timeout) ? ANSWERED : timeout ? SILENT : CLOSED;
				} else if (id == VIO_MSG_SET_PROTOCOL_FEATURES && want == ANSWERED) {
					continue;	/* would end the answers; see rows */
				} else {
					got = tell(g.sock, id, zeroes, sizes[s], fds, counts[f]);
				}
				if (want == ANSWERED ? got == SILENT : got != want)
					fail_msg("message %u of %u bytes with %u descriptors: %d, not %d", id, sizes[s], counts[f], got, want);
				connected = got != CLOSED;
				if (!connected)
					guest_end(&g);
			}
		if (connected)
			guest_end(&g);
		connected = false;
	}
	for (unsigned i = 0; i < 16; i++)
		close(fds[i]);
	rig_settles(&r);
	assert_int_equal(open_fds(), r.fds);
	assert_true(good_front_end(&r));
	rig_stop(&r);
}

static void wrong_flags(void **state)
{
	static const uint32_t flags[] = { 0, 2, 3, VIO_VHOST_VERSION | VIO_VHOST_REPLY, 2 | VIO_VHOST_NEED_REPLY };
	struct rig r;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	for (unsigned f = 0; f < sizeof flags / sizeof *flags; f++)
		for (uint32_t id = 1; id < 44; id++) {
			struct vio_vhost_header h;
			union vio_vhost_payload p;
			bool timeout;
			int fd = rig_connect(&r);
			say_flags(fd, id, flags[f], NULL, 0, NULL, 0);
			assert_false(hear(fd, &h, &p, NULL, PATIENCE_MS, &timeout));
			assert_false(timeout);
			close(fd);
		}
	assert_true(good_front_end(&r));
	rig_stop(&r);
}

/* Each message as the very first one, with nothing negotiated. */
static void first_message(void **state)
{
	static const uint8_t ones[512] = { [0 ... 511] = 0xff }, zeroes[512];
	struct rig r;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	for (uint32_t id = 0; id < 50; id++)
		for (unsigned k = 0; k < 4; k++) {
			const struct vio_vhost_message_type *t = id < VIO_MSG_LIMIT ? &vio_vhost_message_types[id] : NULL;
			int event = eventfd(0, EFD_CLOEXEC), fd = rig_connect(&r);
			say(fd, id, k & 1 ? ones : zeroes, t ? t->size_max : 8, &event, k & 2 ? 1 : 0);
			close(fd);
			close(event);
		}
	rig_settles(&r);
	assert_true(good_front_end(&r));
	assert_int_equal(open_fds(), r.fds);
	rig_stop(&r);
}

/* ---- Each field out of range ---- */

enum level { NEGOTIATED, MEMORY, READY, RUNNING };
enum kind { NO_FD, EVENT, DIRECTORY, PLAIN_FILE, DEAD_PIPE, WRITE_PIPE, READ_PIPE, EPOLL, SOCKET, PATH_ONLY, MEMFD, SHORT_MEMFD, READ_ONLY_MEMFD, TWO };

struct row {
	const char *what;
	enum level level;
	uint32_t request;
	uint64_t p[12];			/* payload */
	uint32_t size;
	enum kind fd;
	unsigned count;			/* descriptors; 0: one, if fd says so */
	enum verdict verdict;
	const char *words;		/* part of the sentence */
	uint64_t features;
};

#define STATE(i, n) { (uint64_t)(uint32_t)(n) << 32 | (uint32_t)(i) }, 8
#define U64(v) { (v) }, 8
#define UVA UINT64_C(0x7f0000000000)
#define GPA UINT64_C(0x40000000)
#define SIZE 0x100000
#define ADDR(i, f, d, u, a) { (uint64_t)(f) << 32 | (uint32_t)(i), d, u, a, 0 }, 40
#define OK_ADDR ADDR(0, 0, UVA + 0x10000, UVA + 0x11000, UVA + 0x10800)
#define ONE(gpa, size, uva, offset) { 1, gpa, size, uva, offset }, 40
#define TABLE2(a, b, c, d, e, f, g, h) { 2, a, b, c, d, e, f, g, h }, 72
#define REG(gpa, size, uva, offset) { 0, gpa, size, uva, offset }, 40
#define LOG(size, offset) { size, offset }, 16
#define INFLIGHT(size, offset, queues, entries) { size, offset, (uint64_t)(entries) << 16 | (queues) }, 24

static const struct row rows[] = {
	/* features */
	{ "features without VERSION_1", NEGOTIATED, VIO_MSG_SET_FEATURES, U64(BIT(30)), .verdict = REFUSED, .words = "VERSION_1" },
	{ "a feature that was not offered", NEGOTIATED, VIO_MSG_SET_FEATURES, U64(BIT(32) | BIT(63)), .verdict = REFUSED, .words = "not offered" },
	{ "features of a running device", RUNNING, VIO_MSG_SET_FEATURES, U64(BIT(32) | BIT(30) | BIT(29)), .verdict = REFUSED, .words = "can't change until all are stopped" },
	{ "protocol features not offered", NEGOTIATED, VIO_MSG_SET_PROTOCOL_FEATURES, U64(BIT(2) | BIT(3)), .verdict = REFUSED, .words = "protocol features that were not offered" },
	{ "all protocol features", NEGOTIATED, VIO_MSG_SET_PROTOCOL_FEATURES, U64(UINT64_MAX), .verdict = REFUSED },
	{ "in-band without its partners", NEGOTIATED, VIO_MSG_SET_PROTOCOL_FEATURES, U64(BIT(14) | BIT(3)), .verdict = CLOSED, .words = "in-band notifications need BACKEND_REQ and REPLY_ACK" },
	{ "protocol features under a running ring", RUNNING, VIO_MSG_SET_PROTOCOL_FEATURES, U64(BIT(3)), .verdict = REFUSED, .words = "stop all of them first" },
	{ "a status of nine bits", NEGOTIATED, VIO_MSG_SET_STATUS, U64(256), .verdict = REFUSED },
	{ "an in-band kick without its feature", RUNNING, VIO_MSG_VRING_KICK, STATE(0, 0), .verdict = REFUSED, .words = "INBAND_NOTIFICATIONS" },
	{ "a RARP", RUNNING, VIO_MSG_SEND_RARP, U64(0), .verdict = REFUSED, .words = "RARP" },
	/* descriptors */
	{ "a directory to kick", READY, VIO_MSG_SET_VRING_KICK, U64(0), DIRECTORY, .verdict = REFUSED, .words = "neither an eventfd nor a pipe" },
	{ "a file to kick", READY, VIO_MSG_SET_VRING_KICK, U64(0), PLAIN_FILE, .verdict = REFUSED, .words = "neither an eventfd nor a pipe" },
	{ "a file to call", RUNNING, VIO_MSG_SET_VRING_CALL, U64(0), PLAIN_FILE, .verdict = REFUSED, .words = "neither an eventfd nor a pipe" },
	{ "a directory to err", RUNNING, VIO_MSG_SET_VRING_ERR, U64(0), DIRECTORY, .verdict = REFUSED },
	{ "the writing end of a pipe to kick", READY, VIO_MSG_SET_VRING_KICK, U64(0), WRITE_PIPE, .verdict = REFUSED },
	{ "the reading end of a pipe to call", RUNNING, VIO_MSG_SET_VRING_CALL, U64(0), READ_PIPE, .verdict = REFUSED },
	{ "a path that was not opened to call", RUNNING, VIO_MSG_SET_VRING_CALL, U64(0), PATH_ONLY, .verdict = REFUSED },
	{ "a pipe whose writer has gone to kick: the queue breaks", READY, VIO_MSG_SET_VRING_KICK, U64(0), DEAD_PIPE, .verdict = DONE, .words = "kick descriptor can't be read" },
	{ "an epoll descriptor to kick", READY, VIO_MSG_SET_VRING_KICK, U64(0), EPOLL, .verdict = DONE },
	{ "a pipe without a reader to call", RUNNING, VIO_MSG_SET_VRING_CALL, U64(0), TWO, .verdict = REFUSED, .count = 2 },
	{ "nine descriptors", RUNNING, VIO_MSG_SET_VRING_CALL, U64(0), EVENT, .count = 9, .verdict = REFUSED, .words = "more descriptors" },
	{ "253 descriptors", RUNNING, VIO_MSG_SET_VRING_CALL, U64(0), EVENT, .count = 253, .verdict = REFUSED, .words = "more descriptors" },
	{ "a descriptor that is said not to be there", RUNNING, VIO_MSG_SET_VRING_CALL, U64(0x100), EVENT, .verdict = REFUSED },
	{ "no descriptor, and no word of it", RUNNING, VIO_MSG_SET_VRING_CALL, U64(0), .verdict = REFUSED },
	{ "bits that mean nothing", RUNNING, VIO_MSG_SET_VRING_CALL, U64(0x200), EVENT, .verdict = REFUSED },
	{ "a file for a channel", RUNNING, VIO_MSG_SET_BACKEND_REQ_FD, { 0 }, 0, PLAIN_FILE, .verdict = REFUSED, .words = "not a socket" },
	/* rings */
	{ "queue n", READY, VIO_MSG_SET_VRING_NUM, STATE(2, 16), .verdict = REFUSED, .words = "no such queue" },
	{ "queue 255", READY, VIO_MSG_SET_VRING_BASE, STATE(255, 0), .verdict = REFUSED, .words = "no such queue" },
	{ "queue 65536", READY, VIO_MSG_SET_VRING_ENABLE, STATE(65536, 1), .verdict = REFUSED, .words = "no such queue" },
	{ "queue 2^32 - 1", READY, VIO_MSG_SET_VRING_ENABLE, STATE(0xffffffff, 1), .verdict = REFUSED, .words = "no such queue" },
	{ "queue 255 to kick", READY, VIO_MSG_SET_VRING_KICK, U64(255), EVENT, .verdict = REFUSED, .words = "no such queue" },
	{ "queue 65536 to call", READY, VIO_MSG_SET_VRING_CALL, U64(65536), EVENT, .verdict = REFUSED },
	{ "queue 2^32 - 1 at an address", READY, VIO_MSG_SET_VRING_ADDR, ADDR(0xffffffff, 0, UVA, UVA, UVA), .verdict = REFUSED },
	{ "where does queue n stand?", READY, VIO_MSG_GET_VRING_BASE, STATE(2, 0), .verdict = CLOSED, .words = "no such queue" },
	{ "a size of 0", READY, VIO_MSG_SET_VRING_NUM, STATE(0, 0), .verdict = REFUSED, .words = "not between 1 and 32768" },
	{ "a split size of 3", READY, VIO_MSG_SET_VRING_NUM, STATE(0, 3), .verdict = REFUSED, .words = "power of two" },
	{ "a size of 65536", READY, VIO_MSG_SET_VRING_NUM, STATE(0, 65536), .verdict = REFUSED, .words = "not between 1 and 32768" },
	{ "a larger size than the device's", READY, VIO_MSG_SET_VRING_NUM, STATE(0, 256), .verdict = REFUSED, .words = "--queue-size" },
	{ "a packed size of 3", READY, VIO_MSG_SET_VRING_NUM, STATE(0, 3), .verdict = DONE, .features = PACKED },
	{ "the size of a running ring", RUNNING, VIO_MSG_SET_VRING_NUM, STATE(0, 8), .verdict = REFUSED, .words = "GET_VRING_BASE" },
	{ "the base of a running ring", RUNNING, VIO_MSG_SET_VRING_BASE, STATE(0, 8), .verdict = REFUSED, .words = "GET_VRING_BASE" },
	{ "a split base of 17 bits", READY, VIO_MSG_SET_VRING_BASE, STATE(0, 65536), .verdict = REFUSED, .words = "16 bits" },
	{ "enabled twice over", READY, VIO_MSG_SET_VRING_ENABLE, STATE(0, 2), .verdict = REFUSED },
	{ "enabled without anything", MEMORY, VIO_MSG_SET_VRING_ENABLE, STATE(0, 1), .verdict = DONE },
	{ "addresses before memory", NEGOTIATED, VIO_MSG_SET_VRING_ADDR, OK_ADDR, .verdict = REFUSED, .words = "no memory has been given" },
	{ "a kick before size and addresses", MEMORY, VIO_MSG_SET_VRING_KICK, U64(0), EVENT, .verdict = REFUSED, .words = "come first" },
	{ "descriptors outside memory", READY, VIO_MSG_SET_VRING_ADDR, ADDR(0, 0, UVA + SIZE, UVA, UVA), .verdict = REFUSED, .words = "outside guest memory" },
	{ "descriptors across the end of memory", READY, VIO_MSG_SET_VRING_ADDR, ADDR(0, 0, UVA + SIZE - 255, UVA, UVA), .verdict = REFUSED, .words = "outside guest memory" },
	{ "a used ring at the end of addresses", READY, VIO_MSG_SET_VRING_ADDR, ADDR(0, 0, UVA, UINT64_MAX - 3, UVA), .verdict = REFUSED, .words = "outside guest memory" },
	{ "an available ring at a guest address", READY, VIO_MSG_SET_VRING_ADDR, ADDR(0, 0, UVA, UVA, GPA), .verdict = REFUSED, .words = "outside guest memory" },
	{ "flags that mean nothing", READY, VIO_MSG_SET_VRING_ADDR, ADDR(0, 2, UVA, UVA, UVA), .verdict = REFUSED },
	{ "other addresses of a running ring", RUNNING, VIO_MSG_SET_VRING_ADDR, ADDR(0, 0, UVA, UVA + 0x1000, UVA + 0x800), .verdict = REFUSED, .words = "addresses can't change" },
	{ "kicked twice", RUNNING, VIO_MSG_SET_VRING_KICK, U64(0), EVENT, .verdict = DONE },
	/* memory */
	{ "no regions", RUNNING, VIO_MSG_SET_MEM_TABLE, { 0 }, 8, .verdict = REFUSED, .words = "share=on" },
	{ "nine regions", RUNNING, VIO_MSG_SET_MEM_TABLE, { 9 }, 96, MEMFD, 8, .verdict = REFUSED },
	{ "2^32 - 1 regions", RUNNING, VIO_MSG_SET_MEM_TABLE, { 0xffffffff }, 96, MEMFD, 1, .verdict = REFUSED },
	{ "fewer regions than said", RUNNING, VIO_MSG_SET_MEM_TABLE, { 2, GPA, SIZE, UVA, 0 }, 40, MEMFD, 2, .verdict = REFUSED },
	{ "two regions and one descriptor", RUNNING, VIO_MSG_SET_MEM_TABLE, TABLE2(0, 4096, 0, 0, 8192, 4096, 8192, 0), MEMFD, 1, .verdict = REFUSED, .words = "one descriptor a region" },
	{ "regions that overlap for the guest", RUNNING, VIO_MSG_SET_MEM_TABLE, TABLE2(0, 8192, 0, 0, 4096, 8192, 0x10000, 0), MEMFD, 2, .verdict = REFUSED, .words = "overlap" },
	{ "regions that overlap for the front end", RUNNING, VIO_MSG_SET_MEM_TABLE, TABLE2(0, 8192, 0, 0, 0x10000, 8192, 4096, 0), MEMFD, 2, .verdict = REFUSED, .words = "front end's address space" },
	{ "a region of no bytes", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(GPA, 0, UVA, 0), MEMFD, .verdict = REFUSED, .words = "no bytes" },
	{ "a region larger than its file", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(GPA, SIZE + 1, UVA, 0), MEMFD, .verdict = REFUSED, .words = "beyond the end of its file" },
	{ "a region of 2^64 - 1 bytes", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(0, UINT64_MAX, 0, 0), MEMFD, .verdict = REFUSED, .words = "beyond the end of its file" },
	{ "an offset that wraps", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(GPA, 4096, UVA, UINT64_MAX - 4095), MEMFD, .verdict = REFUSED, .words = "beyond the end of its file" },
	{ "an offset at the end", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(GPA, 4096, UVA, SIZE), MEMFD, .verdict = REFUSED, .words = "beyond the end of its file" },
	{ "a guest address that wraps", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(UINT64_MAX - 4095, 8192, UVA, 0), MEMFD, .verdict = REFUSED, .words = "wraps" },
	{ "a user address that wraps", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(GPA, 8192, UINT64_MAX - 4095, 0), MEMFD, .verdict = REFUSED, .words = "wraps" },
	{ "an offset aligned otherwise than the address", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(GPA, 4096, UVA, 1), MEMFD, .verdict = REFUSED, .words = "aligned differently" },
	{ "a directory for memory", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(GPA, SIZE, UVA, 0), DIRECTORY, .verdict = REFUSED, .words = "not a file" },
	{ "an eventfd for memory", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(GPA, SIZE, UVA, 0), EVENT, .verdict = REFUSED, .words = "not a file" },
	{ "memory that is not shared", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(GPA, SIZE, UVA, 0), READ_ONLY_MEMFD, .verdict = REFUSED, .words = "share=on" },
	{ "a second region that is bad", RUNNING, VIO_MSG_SET_MEM_TABLE, TABLE2(GPA, SIZE, UVA, 0, 0, 4096, 0, SIZE), MEMFD, 2, .verdict = REFUSED },
	{ "one region of the same", RUNNING, VIO_MSG_SET_MEM_TABLE, ONE(GPA, SIZE, UVA, 0), MEMFD, .verdict = DONE },
	{ "a slot that overlaps", RUNNING, VIO_MSG_ADD_MEM_REG, REG(GPA + 4096, 4096, 0, 0), MEMFD, .verdict = REFUSED, .words = "overlap" },
	{ "a slot that overlaps for the front end", RUNNING, VIO_MSG_ADD_MEM_REG, REG(0, 4096, UVA + SIZE - 1, 0), MEMFD, .verdict = REFUSED, .words = "overlap" },
	{ "a slot without its descriptor", RUNNING, VIO_MSG_ADD_MEM_REG, REG(0, 4096, 0, 0), .verdict = REFUSED, .words = "lacks a descriptor" },
	{ "a slot that is not there", RUNNING, VIO_MSG_REM_MEM_REG, REG(0, 4096, 0, 0), .verdict = REFUSED, .words = "no such memory region" },
	{ "a slot of another size", RUNNING, VIO_MSG_REM_MEM_REG, REG(GPA, 4096, UVA, 0), .verdict = REFUSED, .words = "no such memory region" },
	/* log */
	{ "a log of no bytes", RUNNING, VIO_MSG_SET_LOG_BASE, LOG(0, 0), MEMFD, .verdict = REFUSED, .words = "too short" },
	{ "a log too short for memory", RUNNING, VIO_MSG_SET_LOG_BASE, LOG(0x8000, 0), MEMFD, .verdict = REFUSED, .words = "too short" },
	{ "a log one byte too short", RUNNING, VIO_MSG_SET_LOG_BASE, LOG(0x801f, 0), MEMFD, .verdict = REFUSED, .words = "too short" },
	{ "a log just long enough", RUNNING, VIO_MSG_SET_LOG_BASE, LOG(0x8020, 0), MEMFD, .verdict = DONE },
	{ "a log larger than its file", RUNNING, VIO_MSG_SET_LOG_BASE, LOG(SIZE + 1, 0), MEMFD, .verdict = REFUSED, .words = "beyond the end" },
	{ "a log whose offset wraps", RUNNING, VIO_MSG_SET_LOG_BASE, LOG(0x8020, UINT64_MAX - 4095), MEMFD, .verdict = REFUSED, .words = "beyond the end" },
	{ "a log of 2^64 - 1 bytes", RUNNING, VIO_MSG_SET_LOG_BASE, LOG(UINT64_MAX, 0), MEMFD, .verdict = REFUSED },
	{ "a log without its descriptor", RUNNING, VIO_MSG_SET_LOG_BASE, LOG(0x8020, 0), .verdict = REFUSED, .words = "lacks a descriptor" },
	{ "a log in an eventfd", RUNNING, VIO_MSG_SET_LOG_BASE, LOG(0x8020, 0), EVENT, .verdict = REFUSED },
	/* in-flight memory */
	{ "in-flight memory for no queues", READY, VIO_MSG_GET_INFLIGHT_FD, INFLIGHT(0, 0, 0, 16), .verdict = CLOSED },
	{ "in-flight memory for 65535 queues", READY, VIO_MSG_GET_INFLIGHT_FD, INFLIGHT(0, 0, 65535, 16), .verdict = CLOSED },
	{ "in-flight memory for no entries", READY, VIO_MSG_GET_INFLIGHT_FD, INFLIGHT(0, 0, 2, 0), .verdict = CLOSED },
	{ "in-flight memory for 65535 entries", READY, VIO_MSG_GET_INFLIGHT_FD, INFLIGHT(0, 0, 2, 65535), .verdict = CLOSED },
	{ "in-flight memory too small", READY, VIO_MSG_SET_INFLIGHT_FD, INFLIGHT(100, 0, 2, 16), MEMFD, .verdict = REFUSED, .words = "too small" },
	{ "in-flight memory misaligned", READY, VIO_MSG_SET_INFLIGHT_FD, INFLIGHT(0x1000, 4, 2, 16), MEMFD, .verdict = REFUSED, .words = "misaligned" },
	{ "in-flight memory beyond its file", READY, VIO_MSG_SET_INFLIGHT_FD, INFLIGHT(0x1000, SIZE, 2, 16), MEMFD, .verdict = REFUSED, .words = "beyond the end" },
	{ "in-flight memory in a file too short", READY, VIO_MSG_SET_INFLIGHT_FD, INFLIGHT(0x1000, 0, 2, 16), SHORT_MEMFD, .verdict = REFUSED, .words = "beyond the end" },
	{ "in-flight memory whose offset wraps", READY, VIO_MSG_SET_INFLIGHT_FD, INFLIGHT(0x1000, UINT64_MAX - 63, 2, 16), MEMFD, .verdict = REFUSED },
	{ "in-flight memory that says to be endless", READY, VIO_MSG_SET_INFLIGHT_FD, INFLIGHT(UINT64_MAX, 0, 64, 32768), MEMFD, .verdict = REFUSED },
	{ "in-flight memory under a running ring", RUNNING, VIO_MSG_SET_INFLIGHT_FD, INFLIGHT(0x1000, 0, 2, 16), MEMFD, .verdict = REFUSED, .words = "stop all of them first" },
	/* the rest */
	{ "a translation without an IOMMU", RUNNING, VIO_MSG_IOTLB_MSG, { 0, 4096, UVA, 0x203 }, 32, .verdict = REFUSED, .words = "ACCESS_PLATFORM" },
	{ "more config than there is room for", RUNNING, VIO_MSG_GET_CONFIG, { 257ull << 32, 0 }, 268, .verdict = REFUSED },
	{ "config of another size than said", RUNNING, VIO_MSG_GET_CONFIG, { 8ull << 32, 0 }, 16, .verdict = REFUSED },
	{ "config written where it is read-only", RUNNING, VIO_MSG_SET_CONFIG, { 1ull << 32, 0 }, 13, .verdict = REFUSED, .words = "read-only" },
	{ "config written beyond its end", RUNNING, VIO_MSG_SET_CONFIG, { 4ull << 32 | 0xfffffffe, 0 }, 16, .verdict = REFUSED, .words = "read-only, or ends" },
};

static int make_fd(enum kind k, int *other)
{
	int p[2] = { -1, -1 }, fd = -1;

	*other = -1;
	switch (k) {
	case NO_FD: return -1;
	case EVENT: case TWO: return eventfd(0, EFD_CLOEXEC);
	case DIRECTORY: return open("/", O_RDONLY | O_CLOEXEC);
	case PLAIN_FILE: return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	case PATH_ONLY: return open("/", O_PATH | O_CLOEXEC);
	case EPOLL: return epoll_create1(EPOLL_CLOEXEC);
	case SOCKET: return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	case MEMFD: case SHORT_MEMFD: case READ_ONLY_MEMFD:
		fd = memfd_create("row", MFD_CLOEXEC);
		assert_int_equal(ftruncate(fd, k == SHORT_MEMFD ? 100 : SIZE), 0);
		if (k == READ_ONLY_MEMFD) {
			char path[64];
			snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
			*other = fd;
			return open(path, O_RDONLY | O_CLOEXEC);
		}
		return fd;
	case DEAD_PIPE: case WRITE_PIPE: case READ_PIPE:
		assert_int_equal(pipe2(p, O_CLOEXEC), 0);
		if (k == DEAD_PIPE) {
			close(p[1]);
			return p[0];
		}
		*other = p[k == WRITE_PIPE ? 0 : 1];
		return p[k == WRITE_PIPE ? 1 : 0];
	}
	return -1;
}

static void run_row(struct rig *r, const struct row *row)
{
	struct guest g;
	int other, fd = make_fd(row->fd, &other), fds[253];
	unsigned count = fd < 0 ? 0 : row->count ? row->count : 1;

	for (unsigned i = 0; i < count; i++)
		fds[i] = fd;
	words_begin();
	guest_begin(&g, r, (struct guest_options){ .features = row->features, .no_memory = row->level == NEGOTIATED,
	    .no_start = row->level != RUNNING }, row->level >= READY ? 2 : 0);
	uint8_t payload[512] = { 0 };
	memcpy(payload, row->p, sizeof row->p);
	enum verdict got = tell(g.sock, row->request, payload, row->size, fds, count);
	if (got != row->verdict)
		fail_msg("%s: %d, not %d", row->what, got, row->verdict);
	if (row->words && !words_have(row->words))
		fail_msg("%s: the sentence does not say \"%s\"", row->what, row->words);
	/* What was refused has changed nothing. */
	if (row->level == RUNNING && got == REFUSED && (!guest_works(&g, 0) || !guest_works(&g, 1)))
		fail_msg("%s: the rings do not go on", row->what);
	guest_end(&g);
	if (fd >= 0)
		close(fd);
	if (other >= 0)
		close(other);
	rig_settles(r);
	if (open_fds() != r->fds)
		fail_msg("%s: descriptors are left open", row->what);
	if (!good_front_end(r))
		fail_msg("%s: the next front end is not served", row->what);
}

static void every_row(void **state)
{
	struct rig r;

	(void)state;
	words_begin();
	for (unsigned i = 0; i < sizeof rows / sizeof *rows;) {
		rig_start(&r, (struct rig_options){ .loops = 2 });
		do	/* a daemon does not say more than 100 sentences in ten seconds */
			run_row(&r, &rows[i]);
		while (++i % 30 && i < sizeof rows / sizeof *rows);
		rig_stop(&r);
	}
}

/* More slots than there are. */
static void too_many_slots(void **state)
{
	struct rig r;
	struct guest g;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 1);
	for (uint64_t i = 1; i < 512; i++) {
		struct vio_vhost_mem_reg reg = { .region = { i << 20, 4096, i << 20, 4096 * (i % 100) } };
		assert_int_equal(tell(g.sock, VIO_MSG_ADD_MEM_REG, &reg, sizeof reg, &g.memfd, 1),
		    i < VIO_VHOST_MEM_SLOTS ? DONE : REFUSED);
	}
	assert_true(guest_works(&g, 0));
	for (uint64_t i = 1; i < VIO_VHOST_MEM_SLOTS; i++) {
		struct vio_vhost_mem_reg reg = { .region = { i << 20, 4096, i << 20, 0 } };
		assert_int_equal(tell(g.sock, VIO_MSG_REM_MEM_REG, &reg, sizeof reg, NULL, 0), DONE);
	}
	assert_true(guest_works(&g, 0));
	guest_end(&g);
	rig_stop(&r);
}

/* ---- Delivery ---- */

/* A whole session, byte by byte: through a relay that passes descriptors with the first byte of each message. */
static void slowly(int fd, uint32_t request, const void *payload, uint32_t size, int with)
{
	struct { struct vio_vhost_header h; uint8_t bytes[300]; } m = { .h = { request, VIO_VHOST_VERSION | VIO_VHOST_NEED_REPLY, size } };
	memcpy(m.bytes, payload, size);
	const uint8_t *at = (const uint8_t *)&m;
	say_bytes(fd, at, 1, &with, with >= 0);
	for (uint32_t i = 1; i < sizeof m.h + size; i++) {
		say_bytes(fd, at + i, 1, NULL, 0);
		if (i % 5 == 0)
			usleep(50);
	}
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	bool timeout;
	assert_true(hear(fd, &h, &p, NULL, PATIENCE_MS, &timeout));
	assert_int_equal(h.request, request);
	assert_int_equal(p.u64, 0);
}

static void byte_by_byte(void **state)
{
	struct rig r;
	struct guest g;

	(void)state;
	rig_start(&r, (struct rig_options){ .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 1);
	struct vio_vhost_mem_table t = { .count = 1, .region = { { g.gpa, g.size, g.uva, 0 } } };
	struct vio_vhost_addr a = guest_addr(&g, 1, 0);
	struct vio_vhost_state size = { 1, GUEST_QUEUE }, on = { 1, 1 };
	uint64_t index = 1;
	slowly(g.sock, VIO_MSG_SET_MEM_TABLE, &t, 40, g.memfd);
	slowly(g.sock, VIO_MSG_SET_VRING_NUM, &size, 8, -1);
	slowly(g.sock, VIO_MSG_SET_VRING_ADDR, &a, sizeof a, -1);
	guest_queue(&g, 1, 0);
	slowly(g.sock, VIO_MSG_SET_VRING_CALL, &index, 8, g.call[1]);
	slowly(g.sock, VIO_MSG_SET_VRING_KICK, &index, 8, g.kick[1]);
	slowly(g.sock, VIO_MSG_SET_VRING_ENABLE, &on, 8, -1);
	assert_true(guest_works(&g, 1));
	guest_end(&g);
	rig_settles(&r);
	assert_int_equal(open_fds(), r.fds);
	rig_stop(&r);
}

/* Half a message holds up neither the rings nor the end of the connection. */
static void half_a_message(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_addr a;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	for (size_t n = 0; n < 12 + sizeof a; n++) {
		guest_begin(&g, &r, (struct guest_options){ 0 }, 1);
		a = guest_addr(&g, 0, 0);
		struct { struct vio_vhost_header h; struct vio_vhost_addr a; } __attribute__((packed)) m = { { VIO_MSG_SET_VRING_ADDR, 1, sizeof a }, a };
		say_bytes(g.sock, &m, n, &g.memfd, n > 0);
		assert_true(guest_works(&g, 0));
		guest_end(&g);
	}
	rig_settles(&r);
	assert_int_equal(open_fds(), r.fds);
	rig_stop(&r);
}

/* Many messages at once, whose answers nobody reads: they wait in the socket, and the rings go on. */
static void deaf(void **state)
{
	struct rig r;
	struct guest g;
	unsigned sent = 0;
	struct vio_vhost_header h = { VIO_MSG_GET_FEATURES, VIO_VHOST_VERSION, 0 };

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 1);
	while (sent < 200000 && send(g.sock, &h, sizeof h, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof h)
		sent++;
	assert_in_range(sent, 100, 199999);
	assert_true(guest_works(&g, 0));
	for (unsigned i = 0; i < sent; i++) {
		union vio_vhost_payload p;
		bool timeout;
		assert_true(hear(g.sock, &h, &p, NULL, PATIENCE_MS, &timeout));
		assert_int_equal(h.request, VIO_MSG_GET_FEATURES);
	}
	assert_true(guest_works(&g, 0));
	guest_end(&g);
	rig_stop(&r);
}

/* Descriptors with every message, for long. */
static void many_descriptors(void **state)
{
	struct rig r;
	struct guest g;

	(void)state;
	rig_start(&r, (struct rig_options){ .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 2);
	unsigned before = open_fds();
	for (unsigned i = 0; i < 3000; i++) {
		int fds[8] = { g.call[0], g.call[0], g.call[0], g.call[0], g.call[0], g.call[0], g.call[0], g.call[0] };
		uint64_t one = 1;
		assert_int_equal(tell_fd(g.sock, VIO_MSG_SET_VRING_CALL, i & 1, g.call[i & 1]), DONE);
		assert_int_equal(tell_fd(g.sock, VIO_MSG_SET_VRING_KICK, i & 1, g.kick[i & 1]), DONE);
		assert_int_equal(tell(g.sock, VIO_MSG_SET_VRING_ERR, &one, 8, fds, 8), REFUSED);
		assert_int_equal(tell(g.sock, VIO_MSG_SET_VRING_NUM, &one, 8, fds, 8), REFUSED);
	}
	assert_int_equal(open_fds(), before);
	assert_true(guest_works(&g, 0));
	assert_true(guest_works(&g, 1));
	guest_end(&g);
	rig_stop(&r);
}

/* Any order of good messages, any number of times. */
static void any_order(void **state)
{
	struct rig r;
	struct guest g;
	uint32_t x = 12345;

	(void)state;
	rig_start(&r, (struct rig_options){ .loops = 3, .queues = 3 });
	for (unsigned round = 0; round < 60; round++) {
		guest_begin(&g, &r, (struct guest_options){ .features = round & 1 ? PACKED : 0, .no_start = round & 2 }, 3);
		for (unsigned i = 0; i < 60; i++) {
			x = x * 1664525 + 1013904223;
			unsigned q = (x >> 28) % 3, what = (x >> 20) % 16;
			struct vio_vhost_addr a = guest_addr(&g, q, 0);
			struct vio_vhost_mem_reg reg = { .region = { g.gpa, g.size, g.uva, 0 } };
			enum verdict v = DONE;
			switch (what) {
			case 0: case 1: ask_base(g.sock, q); break;
			case 2: case 3: case 4: v = tell_fd(g.sock, VIO_MSG_SET_VRING_KICK, q, g.kick[q]); break;
			case 5: v = tell_state(g.sock, VIO_MSG_SET_VRING_ENABLE, q, x >> 10 & 1); break;
			case 6: v = tell(g.sock, VIO_MSG_SET_VRING_ADDR, &a, sizeof a, NULL, 0); break;
			case 7: v = tell_state(g.sock, VIO_MSG_SET_VRING_BASE, q, 0); break;
			case 8: v = guest_table(&g); break;
			case 9: v = tell(g.sock, VIO_MSG_REM_MEM_REG, &reg, sizeof reg, NULL, 0); break;
			case 10: v = tell(g.sock, VIO_MSG_ADD_MEM_REG, &reg, sizeof reg, &g.memfd, 1); break;
			case 11: v = tell_u64(g.sock, VIO_MSG_SET_FEATURES, g.features ^ (x & BIT(29))); break;
			case 12: v = tell(g.sock, VIO_MSG_RESET_DEVICE, NULL, 0, NULL, 0); break;
			case 13: v = tell_u64(g.sock, VIO_MSG_SET_STATUS, x >> 10 & 0xff); break;
			case 14: guest_submit(&g, q, 0, IN, 0); guest_kick(&g, q); break;
			case 15: v = tell_fd(g.sock, VIO_MSG_SET_VRING_CALL, q, g.call[q]); break;
			}
			assert_true(v == DONE || v == REFUSED);
		}
		guest_end(&g);
	}
	rig_settles(&r);
	assert_int_equal(open_fds(), r.fds);
	assert_true(good_front_end(&r));
	rig_stop(&r);
}

/* Messages of the right size whose fields are any of what is likely to hurt. */
static void any_fields(void **state)
{
	static const uint64_t palette[] = { 0, 1, 2, 3, 8, 16, 17, 128, 255, 256, 4095, 4096, 8192, 65535, 65536, SIZE, SIZE - 1, GPA,
		GPA + 4096, UVA, UVA + 0x10000, UVA + 0x10800, UVA + 0x11000, UVA + SIZE - 1, 0x80008000, UINT32_MAX, INT64_MAX,
		UINT64_MAX, UINT64_MAX - 4095, BIT(32) | BIT(30), BIT(32) | BIT(34) | BIT(26), BIT(33) | BIT(32), 0x1000000000, 0x100000001 };
	enum { PALETTE = sizeof palette / sizeof *palette };
	struct rig r;
	struct guest g;
	uint64_t x = 88172645463325252u;
	bool connected = false;

	(void)state;
	rig_start(&r, (struct rig_options){ .loops = 2, .iommu = true });
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t p[64];
		if (!connected)
			guest_begin(&g, &r, (struct guest_options){ .no_start = i & 1,
			    .features = i & 2 ? PACKED : i & 4 ? BIT(VIO_F_ACCESS_PLATFORM) : 0 }, 2);
		connected = true;
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		uint32_t id = 1 + (uint32_t)(x >> 20) % (VIO_MSG_LIMIT - 1);
		const struct vio_vhost_message_type *t = &vio_vhost_message_types[id];
		if (id == VIO_MSG_SET_PROTOCOL_FEATURES)	/* could end the answers */
			continue;
		uint32_t size = t->size_min + (t->size_max > t->size_min ? (uint32_t)(x >> 32) % (t->size_max - t->size_min + 1u) : 0);
		for (unsigned k = 0; k < 64; k++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			p[k] = palette[(x >> 8) % PALETTE];
			if (x >> 60 == 0)
				p[k] = x;
		}
		if (t->payload == VIO_PAYLOAD_CONFIG && x & 1)		/* or nothing would come through */
			((uint32_t *)p)[1] = size - 12;
		int fds[8];
		for (unsigned k = 0; k < 8; k++)
			fds[k] = x >> (k + 10) & 1 ? event : g.memfd;
		unsigned count = t->fds_max ? (unsigned)(x >> 40) % (t->fds_max + 1u) : 0;
		enum verdict v = tell(g.sock, id, p, size, fds, count);
		assert_int_not_equal(v, SILENT);
		guest_kick(&g, i & 1);
		connected = v != CLOSED;
		if (!connected)
			guest_end(&g);
	}
	if (connected)
		guest_end(&g);
	close(event);
	rig_settles(&r);
	assert_int_equal(open_fds(), r.fds);
	assert_true(good_front_end(&r));
	rig_stop(&r);
}

/* ---- In-flight memory that lies ---- */

static void inflight_lies(void **state)
{
	struct rig r;
	struct guest g;
	uint64_t features = (uintptr_t)*state ? PACKED : 0;
	uint32_t x = 99;

	words_begin();
	rig_start(&r, (struct rig_options){ 0 });
	for (unsigned round = 0; round < 300; round++) {
		int fd = -1;
		struct vio_vhost_inflight is;
		guest_begin(&g, &r, (struct guest_options){ .features = features, .no_start = true }, 0);
		guest_inflight(&g, &fd, &is);
		uint8_t *m = mmap(NULL, is.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		uint16_t one = 1, size = GUEST_QUEUE;
		memcpy(m + 8, &one, 2);			/* version 1 */
		memcpy(m + 10, &size, 2);
		for (unsigned k = 0; k < 1 + round % 40; k++) {
			x = x * 1664525 + 1013904223;
			m[(x >> 8) % (is.size / 2)] = round % 3 ? (uint8_t)(x >> 24) : (uint8_t)(x >> 24 & 1);
		}
		guest_queue(&g, 0, g.packed ? VIO_PACKED_BASE : 0);
		enum verdict v = guest_kick_fd(&g, 0);
		assert_true(v == DONE || v == REFUSED);
		tell_state(g.sock, VIO_MSG_SET_VRING_ENABLE, 0, 1);
		guest_submit(&g, 0, 0, OUT, 1);
		guest_kick(&g, 0);
		for (unsigned k = 0; k < 50; k++) {	/* and while it runs */
			x = x * 1664525 + 1013904223;
			m[(x >> 8) % (is.size / 2)] = (uint8_t)(x >> 24);
			if (k % 10 == 0)
				guest_kick(&g, 0);
		}
		ask_base(g.sock, 0);
		munmap(m, is.size);
		close(fd);
		guest_end(&g);
	}
	assert_true(good_front_end(&r));
	rig_stop(&r);
}

/* ---- One queue floods, the other is served ---- */

struct flood { struct guest *g; uint32_t stop; };

static void *flood(void *arg)
{
	struct flood *f = arg;
	struct guest *g = f->g;
	struct vio_split_avail *avail = (struct vio_split_avail *)(g->mem + ring_at(0) + 0x800);
	uint16_t idx = 0;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		struct vio_split_used *used = (struct vio_split_used *)(g->mem + ring_at(0) + 0x1000);
		vio_le16 u = { __atomic_load_n(&used->idx.wire, __ATOMIC_ACQUIRE) };
		while ((uint16_t)(idx - vio_le16_get(u)) < 4)
			idx++;
		__atomic_store_n(&avail->idx.wire, vio_le16_of(idx).wire, __ATOMIC_RELEASE);
		guest_kick(g, 0);
	}
	return NULL;
}

static void fair(void **state)
{
	struct rig r;
	struct guest g;
	pthread_t t;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });	/* both queues in one loop */
	guest_begin(&g, &r, (struct guest_options){ 0 }, 2);
	struct vio_split_avail *avail = (struct vio_split_avail *)(g.mem + ring_at(0) + 0x800);
	for (unsigned k = 0; k < 4; k++)
		guest_submit(&g, 0, k, IN, 0);
	for (unsigned k = 0; k < GUEST_QUEUE; k++)
		avail->ring[k] = vio_le16_of((uint16_t)(k % 4 * 3));
	__atomic_store_n(&avail->idx.wire, 0, __ATOMIC_SEQ_CST);
	struct flood f = { &g, 0 };
	pthread_create(&t, NULL, flood, &f);
	for (unsigned k = 0; k < 100; k++)
		assert_true(guest_works(&g, 1));
	assert_int_equal(ask_u64(g.sock, VIO_MSG_GET_STATUS), 0);
	__atomic_store_n(&f.stop, 1, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	guest_end(&g);
	rig_stop(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(every_message, "every message id of any size with any descriptors is served or refused as its table says"),
		T(wrong_flags, "another version, or a reply, ends the connection"),
		T(first_message, "any message may come first"),
		T(every_row, "each field out of range is refused in a sentence, changes nothing, and leaves no descriptor"),
		T(too_many_slots, "509 memory slots, and no more"),
		T(byte_by_byte, "messages that come byte by byte"),
		T(half_a_message, "half a message holds up neither rings nor the end"),
		T(deaf, "answers that nobody reads"),
		T(many_descriptors, "descriptors with thousands of messages"),
		T(any_order, "good messages in any order"),
		T(any_fields, "twenty thousand messages of likely and unlikely fields"),
		TS(inflight_lies, "in-flight memory that lies, split", 0),
		TS(inflight_lies, "and packed", 1),
		T(fair, "a queue that floods does not keep its neighbour waiting"),
	};
	return vio_tests("vhost hostile", tests, sizeof tests / sizeof *tests);
}
