/*
 * Back ends that do wrong: a table of {where, what they do, the words}.  The front end must say so, in time, leak no
 * descriptor, and never take more than it has room for.
 */
#include "../test.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vio/driver/blk.h>
#include <vio/vhost/frontend.h>
#include "liar.h"

enum { MEMORY = 1 << 18, RING = 16, PATIENCE_MS = 150 };

static unsigned open_fds(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

struct row { uint32_t at; enum wrong wrong; uint64_t value; const char *words; };	/* words NULL: it goes on all right */

/* Connect, start a driver, log, stop, reset: the whole life.  What went wrong, or NULL. */
static const char *live(struct vio_vhost_memory *memory, int fd, char *said)
{
	static struct vio_blk blk;
	static struct vio_drvq_slot slots[RING];
	struct vio_blk_setup s = { .queues = 1, .queue_size = RING };
	uint8_t *bits;
	uint64_t bytes;
	uint32_t base;
	const char *bad = NULL;

	*said = 0;
	struct vio_vhost_front *f = vio_vhost_connect(&(struct vio_vhost_front_options){ .fd = fd, .memory = memory,
	    .device_id = VIO_ID_BLK, .inflight = true, .irq = true, .patience_ns = PATIENCE_MS * UINT64_C(1000000) }, said);
	if (!f)
		return "connect";
	memset(&blk, 0, sizeof blk);
	s.memory[0] = (struct vio_blk_queue_memory){ .ring = memory->base, .slots = slots };
	if (!vio_blk_start(&blk, vio_vhost_drv_port(f), &s) || blk.drv.port->ops->status(blk.drv.port) & VIO_S_NEEDS_RESET)
		bad = "start";
	else if (!vio_vhost_log(f, true, &bits, &bytes))
		bad = "log";
	else if (!vio_vhost_queue_stop(f, 0, &base) || !vio_vhost_queue_go(f, 0, base))
		bad = "stop";
	else if (!vio_vhost_look(f))
		bad = "look";
	else if (!vio_blk_stop(&blk))
		bad = "reset";
	else if (vio_vhost_broken(f))
		bad = "broken";
	if (bad)
		snprintf(said, 512, "%s%s%s", vio_vhost_why(f), *vio_vhost_why(f) ? " " : "", blk.drv.failed ? blk.drv.failed : "");
	vio_vhost_disconnect(f);
	return bad;
}

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void check(const struct row *row)
{
	struct vio_vhost_memory memory;
	struct back b = { .channel = -1, .at = row->at, .wrong = row->wrong, .value = row->value };
	unsigned fds = open_fds();
	uint64_t from = now_ms();
	char said[512];
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(vio_vhost_memory_make(&memory, MEMORY));
	b.sock = pair[1];
	assert_int_equal(pthread_create(&b.thread, NULL, back_end, &b), 0);
	const char *bad = live(&memory, pair[0], said);
	pthread_join(b.thread, NULL);
	vio_vhost_memory_free(&memory);

	const char *name = row->at < VIO_MSG_LIMIT ? vio_vhost_message_types[row->at].name : "-";
	if (!row->words && bad)
		fail_msg("%s, wrong %d: %s failed: %s", name, row->wrong, bad, said);
	if (row->words && !bad)
		fail_msg("%s, wrong %d: nobody noticed", name, row->wrong);
	if (row->words && !strstr(said, row->words))
		fail_msg("%s, wrong %d: \"%s\" does not say \"%s\"", name, row->wrong, said, row->words);
	if (row->wrong == CHANNEL_FLOOD)
		assert_int_equal(b.floods_answered, 100);
	if (row->wrong != CHANNEL_FLOOD && now_ms() - from > 20 * PATIENCE_MS)
		fail_msg("%s, wrong %d: it took %u ms", name, row->wrong, (unsigned)(now_ms() - from));
	assert_int_equal(open_fds(), fds);
}

/* Each message that has a reply, and each way to answer wrongly. */
static void every_reply(void **state)
{
	static const uint32_t messages[] = { VIO_MSG_GET_FEATURES, VIO_MSG_GET_PROTOCOL_FEATURES, VIO_MSG_GET_QUEUE_NUM,
		VIO_MSG_GET_MAX_MEM_SLOTS, VIO_MSG_SET_BACKEND_REQ_FD, VIO_MSG_SET_FEATURES, VIO_MSG_GET_CONFIG,
		VIO_MSG_ADD_MEM_REG, VIO_MSG_SET_VRING_NUM, VIO_MSG_SET_VRING_BASE, VIO_MSG_SET_VRING_ADDR, VIO_MSG_SET_VRING_ERR,
		VIO_MSG_SET_VRING_CALL, VIO_MSG_GET_INFLIGHT_FD, VIO_MSG_SET_INFLIGHT_FD, VIO_MSG_SET_VRING_KICK,
		VIO_MSG_SET_VRING_ENABLE, VIO_MSG_SET_LOG_BASE, VIO_MSG_GET_VRING_BASE };
	static const struct row ways[] = {
		{ .wrong = CLOSES, .words = "closed the connection" },
		{ .wrong = IS_SILENT, .words = "in time" },
		{ .wrong = OTHER_REQUEST, .words = "with a reply to" },
		{ .wrong = NO_REPLY_FLAG, .words = "nonsense" },
		{ .wrong = WRONG_VERSION, .words = "nonsense" },
		{ .wrong = TOO_LONG, .words = "nonsense" },
		{ .wrong = LONGER, .words = "bytes instead of" },
		{ .wrong = SHORTER, .words = "bytes instead of" },
		{ .wrong = HALF_HEADER, .words = "in time" },
		{ .wrong = HALF_PAYLOAD, .words = "closed the connection" },
		{ .wrong = MANY_FDS },
		{ .wrong = NOTHING_WRONG },
		{ .wrong = TWICE, .words = "The back end" },
	};
	(void)state;
	for (unsigned m = 0; m < sizeof messages / sizeof *messages; m++)
		for (unsigned w = 0; w < sizeof ways / sizeof *ways; w++) {
			struct row row = ways[w];
			row.at = messages[m];
			if (row.at == VIO_MSG_SET_LOG_BASE && (row.wrong == LONGER || row.wrong == SHORTER))
				continue;	/* back ends answer it in three sizes */
			if (row.at == VIO_MSG_GET_CONFIG && row.wrong == SHORTER)
				row.words = "no config space";
			if (row.at == VIO_MSG_GET_INFLIGHT_FD && row.wrong == MANY_FDS)
				row.words = "smaller than it says";	/* the first of them is a socket */
			check(&row);
		}
}

static void refusals(void **state)
{
	static const struct row rows[] = {
		{ VIO_MSG_SET_FEATURES, SAYS_NO, 0, "" },
		{ VIO_MSG_SET_BACKEND_REQ_FD, SAYS_NO, 0, "refused SET_BACKEND_REQ_FD" },
		{ VIO_MSG_ADD_MEM_REG, SAYS_NO, 0, "refused ADD_MEM_REG" },
		{ VIO_MSG_SET_VRING_NUM, SAYS_NO, 0, "refused SET_VRING_NUM" },
		{ VIO_MSG_SET_VRING_KICK, SAYS_NO, 0, "refused SET_VRING_KICK" },
		{ VIO_MSG_SET_INFLIGHT_FD, SAYS_NO, 0, "refused SET_INFLIGHT_FD" },
		{ VIO_MSG_GET_CONFIG, SAYS_NO, 0, "no config space" },
		{ VIO_MSG_GET_QUEUE_NUM, VALUE, 0, NULL },
		{ VIO_MSG_GET_QUEUE_NUM, VALUE, UINT64_MAX, NULL },
		{ VIO_MSG_GET_MAX_MEM_SLOTS, VALUE, UINT64_MAX, NULL },
		{ VIO_MSG_GET_MAX_MEM_SLOTS, VALUE, 0, NULL },		/* a table is sent instead */
		{ VIO_MSG_GET_FEATURES, VALUE, 0, "VERSION_1" },
		{ VIO_MSG_GET_FEATURES, VALUE, BIT(VIO_VHOST_PROTOCOL_FEATURES), "VERSION_1" },
		{ VIO_MSG_GET_PROTOCOL_FEATURES, VALUE, 0, "config" },
		{ VIO_MSG_GET_PROTOCOL_FEATURES, VALUE, UINT64_MAX, NULL },
		{ VIO_MSG_GET_VRING_BASE, VALUE, 1, "for queue 1 instead of 0" },
		{ VIO_MSG_GET_INFLIGHT_FD, VALUE, 8192, "smaller than it says" },
		{ VIO_MSG_GET_INFLIGHT_FD, VALUE, 0, "smaller than it says" },
		{ VIO_MSG_GET_INFLIGHT_FD, VALUE, UINT64_MAX, "smaller than it says" },
	};
	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		check(&rows[i]);
}

static void channels(void **state)
{
	static const struct row rows[] = {
		{ VIO_MSG_SET_VRING_NUM, CHANNEL_NONSENSE, 0, "nonsense" },
		{ VIO_MSG_SET_VRING_NUM, CHANNEL_TOO_LONG, 0, "nonsense" },
		{ VIO_MSG_ADD_MEM_REG, CHANNEL_FLOOD, 0, NULL },
		{ VIO_MSG_GET_VRING_BASE, CHANNEL_MISS, 0, NULL },
	};
	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		check(&rows[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_reply, "every reply, wrong in every way: a sentence, in time, and no descriptor is leaked"),
		T(refusals, "refusals and values beyond reason are told or bounded"),
		T(channels, "nonsense, floods and uncalled-for requests over the back end's channel"),
	};
	return vio_tests("front-bad", tests, sizeof tests / sizeof *tests);
}
