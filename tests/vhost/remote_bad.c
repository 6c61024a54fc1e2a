/*
 * A device served elsewhere by somebody who does wrong: a table of {where, what is done, the words}.  It must be told in a
 * sentence and in time, leak no descriptor, and be as good as new when an honest back end takes over.
 */
#include "machine.h"
#include "liar.h"
#include "raw.h"
#include <vio/driver/blk.h>

enum { RING = 16, BAD_PATIENCE_MS = 400 };

struct row { uint32_t at; enum wrong wrong; uint64_t value; const char *words; };	/* words NULL: it goes on all right */

struct life {
	struct machine m;
	struct vio_blk blk;
	struct vio_drvq_slot slots[RING];
	void *ring;
	struct vio_blk_request *request;
	const char *bad;		/* the step at which it was noticed */
};

static bool start_driver(struct life *l)
{
	static const unsigned char plain[] = { VIO_F_VERSION_1, VIO_F_SUSPEND };
	struct vio_blk_setup s = { .queues = 1, .queue_size = RING, .wanted = vio_features_of(plain, sizeof plain) };

	memset(l->ring, 0, VIO_DRVQ_RING_BYTES(RING));
	s.memory[0] = (struct vio_blk_queue_memory){ .ring = l->ring, .slots = l->slots };
	return vio_blk_start(&l->blk, &l->m.wire.port, &s);
}

/* Has it gone well so far? */
static bool good(struct life *l, const char *step, bool ok)
{
	machine_turn(&l->m);
	machine_turn(&l->m);
	if (!ok || l->m.lost || l->m.ill)
		l->bad = step;
	return !l->bad;
}

/* Connect, start a driver, suspend and resume it, log, reset: all that there is. */
static void live(struct life *l, int fd)
{
	uint8_t *bits;
	uint64_t bytes;

	machine_begin(&l->m, true);
	l->m.o.like = &vio_dev_blk;
	l->m.o.fd = fd;
	l->m.o.reconnect = true;	/* with an in-flight region, then */
	l->m.o.patience_ns = BAD_PATIENCE_MS * UINT64_C(1000000);
	l->ring = machine_take(&l->m, 0, VIO_DRVQ_RING_BYTES(RING));
	l->request = machine_take(&l->m, 1, sizeof *l->request + 4096);
	memset(l->request, 0, sizeof *l->request);
	if (machine_plug(&l->m)) {
		l->bad = "connect";
		return;
	}
	(void)(good(l, "start", start_driver(l))
	    && good(l, "suspend", vio_drv_suspend(&l->blk.drv))
	    && good(l, "resume", vio_drv_resume(&l->blk.drv))
	    && good(l, "log", vio_remote_log(l->m.remote, true, &bits, &bytes, l->m.why))
	    && good(l, "log off", vio_remote_log(l->m.remote, false, NULL, NULL, l->m.why))
	    && good(l, "reset", vio_blk_stop(&l->blk)));
}

/* An honest back end, and the driver from the beginning. */
static void heals(struct life *l, struct rig *r, const char *name)
{
	char why[512] = "";

	l->m.o.patience_ns = 0;
	vio_blk_stop(&l->blk);
	if (!vio_remote_again(l->m.remote, rig_connect(r), why))
		fail_msg("%s: %s", name, why);
	if (!start_driver(l))
		fail_msg("%s: healed, but: %s; %s", name, l->blk.drv.failed, l->m.why);
	*l->request = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .data = l->request + 1, .len = VIO_BLK_SECTOR };
	if (vio_blk_do(&l->blk, l->request) != VIO_BLK_S_OK)
		fail_msg("%s: healed, but a request ended with %u; %s", name, l->request->status, l->m.why);
	assert_int_equal(vio_dev_status(l->m.dev) & VIO_S_NEEDS_RESET, 0);
}

static void check(const struct row *row, struct rig *rig)
{
	const char *name = row->at < VIO_MSG_LIMIT ? vio_vhost_message_types[row->at].name : "-";
	struct back b = { .channel = -1, .at = row->at, .wrong = row->wrong, .value = row->value };
	unsigned fds = open_fds();
	uint64_t from = vio_now_ns();
	struct life l = { 0 };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	b.sock = pair[1];
	assert_int_equal(pthread_create(&b.thread, NULL, back_end, &b), 0);
	live(&l, pair[0]);
	uint64_t took = (vio_now_ns() - from) / 1000000;
	if (!row->words && l.bad)
		fail_msg("%s, wrong %d: %s failed: %s", name, row->wrong, l.bad, l.m.why);
	if (row->words && !l.bad)
		fail_msg("%s, wrong %d: nobody noticed", name, row->wrong);
	if (row->words && !strstr(l.m.why, row->words))
		fail_msg("%s, wrong %d at %s: \"%s\" does not say \"%s\"", name, row->wrong, l.bad, l.m.why, row->words);
	if (row->wrong != CHANNEL_FLOOD && took > 20 * BAD_PATIENCE_MS)
		fail_msg("%s, wrong %d: it took %u ms", name, row->wrong, (unsigned)took);
	if (l.m.dev)
		heals(&l, rig, name);
	machine_end(&l.m);
	pthread_join(b.thread, NULL);
	rig_settles(rig);
	assert_int_equal(open_fds(), fds);
}

static void each(const struct row *rows, unsigned n)
{
	struct rig rig;

	rig_start(&rig, (struct rig_options){ 0 });
	for (unsigned i = 0; i < n; i++)
		check(&rows[i], &rig);
	rig_stop(&rig);
}

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
	struct rig rig;

	(void)state;
	rig_start(&rig, (struct rig_options){ 0 });
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
			check(&row, &rig);
		}
	rig_stop(&rig);
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
		{ VIO_MSG_GET_QUEUE_NUM, VALUE, 65, NULL },
		{ VIO_MSG_GET_MAX_MEM_SLOTS, VALUE, UINT64_MAX, NULL },
		{ VIO_MSG_GET_MAX_MEM_SLOTS, VALUE, 0, NULL },		/* a table is sent instead */
		{ VIO_MSG_GET_MAX_MEM_SLOTS, VALUE, 1, "1 memory regions at most, not 2" },
		{ VIO_MSG_GET_FEATURES, VALUE, 0, "VERSION_1" },
		{ VIO_MSG_GET_FEATURES, VALUE, BIT(VIO_VHOST_PROTOCOL_FEATURES), "VERSION_1" },
		{ VIO_MSG_GET_PROTOCOL_FEATURES, VALUE, 0, "config" },
		{ VIO_MSG_GET_VRING_BASE, VALUE, 1, "for queue 1 instead of 0" },
		{ VIO_MSG_GET_INFLIGHT_FD, VALUE, 8192, "smaller than it says" },
		{ VIO_MSG_GET_INFLIGHT_FD, VALUE, 0, "smaller than it says" },
		{ VIO_MSG_GET_INFLIGHT_FD, VALUE, UINT64_MAX, "smaller than it says" },
	};
	(void)state;
	each(rows, sizeof rows / sizeof *rows);
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
	each(rows, sizeof rows / sizeof *rows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_reply, "every reply, wrong in every way: a sentence, in time, no descriptor is leaked, and an honest back end heals"),
		T(refusals, "refusals and values beyond reason are told or bounded, and an honest back end heals"),
		T(channels, "nonsense, floods and uncalled-for requests over the back end's channel"),
	};
	return vio_tests("remote-bad", tests, sizeof tests / sizeof *tests);
}
