/* vio vsock: sockets between guests and this host over vhost-user. */
#include "control.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <vio/device/vsock.h>
#include <vio/host/dial.h>
#include <vio/spec/vsock.h>

enum {
	GUEST_CID = VIO_OPT_COMMON, UDS_PATH, UDS_MODE, FORWARD_CID, FORWARD_LISTEN, GROUPS, CONNECTIONS, BUFFER, QUEUE_SIZE, END
};
enum { SLOT_CID = 2, SLOT_UDS = 3 };

static const struct vio_opt options[END - VIO_OPT_COMMON] = {
	[GUEST_CID - VIO_OPT_COMMON] = { "guest-cid", "N", VIO_OPT_NUMBER, VIO_OPT_PLACE, 0, UINT32_MAX, .slot = SLOT_CID,
		.help = "The guest's context id, which is its address: 3 to 4294967294." },
	[UDS_PATH - VIO_OPT_COMMON] = { "uds-path", "PATH", VIO_OPT_TEXT, VIO_OPT_PLACE, 1, 4095, .slot = SLOT_UDS,
		.help = "The guest's port N of context id 2 is the Unix socket PATH_N; who connects to PATH and sends \"CONNECT N\\n\" gets "
		        "the guest's port N (PATH_seqpacket: the same for messages)." },
	[UDS_MODE - VIO_OPT_COMMON] = { "uds-mode", "MODE", VIO_OPT_OCTAL, VIO_OPT_DEVICE, 0, 0777, 0600,
		.help = "Mode of PATH and PATH_seqpacket: who may call the guest; 600." },
	[FORWARD_CID - VIO_OPT_COMMON] = { "forward-cid", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, UINT32_MAX - 1,
		.help = "Instead of --uds-path: the guest's port N of context id 2 is port N of this context id in the host's own vsock (1: "
		        "this host)." },
	[FORWARD_LISTEN - VIO_OPT_COMMON] = { "forward-listen", "PORT[,PORT]...", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 700,
		.help = "With --forward-cid: who connects to one of these ports of the host's vsock gets the guest's." },
	[GROUPS - VIO_OPT_COMMON] = { "groups", "NAME[,NAME]...", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 255,
		.help = "Guests of this process that have a group in common reach each other by context id; none do unless told." },
	[CONNECTIONS - VIO_OPT_COMMON] = { "connections", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, VIO_VSOCK_CONNECTIONS_MAX, 1024,
		.help = "Connections at a time; 1024." },
	[BUFFER - VIO_OPT_COMMON] = { "buffer", "BYTES", VIO_OPT_POWER, VIO_OPT_DEVICE, VIO_VSOCK_BUFFER_MIN, VIO_VSOCK_BUFFER_MAX, 262144,
		.help = "Bytes that each connection may have waiting for the host, and of the longest message; 262144." },
	[QUEUE_SIZE - VIO_OPT_COMMON] = { "queue-size", "N", VIO_OPT_POWER, VIO_OPT_DEVICE, 4, 32768, 256,
		.help = "Entries a queue may have; 256." },
};

struct backend { struct vio_dial *dial; int folder; bool member; };

/* The guests that have groups share one switchboard. */
static struct { struct vio_hub *hub; unsigned members; } board;

static bool refuse(char *why, const char *sentence)
{
	snprintf(why, VIO_OPT_WHY, "%s", sentence);
	return false;
}

static bool take_ports(const char *text, struct vio_dial_vsock_options *o, char *why)
{
	for (o->listens = 0; *text; o->listens++) {
		char *end;
		unsigned long port = strtoul(text, &end, 10);
		if (*text < '0' || *text > '9' || port >= UINT32_MAX || (*end && *end != ',') || (*end && !end[1]))
			return refuse(why, "--forward-listen is port numbers with commas between: give them like 1024,5000");
		if (o->listens == VIO_DIAL_LISTEN)
			return refuse(why, "--forward-listen can have 64 ports at most: leave some out");
		o->listen[o->listens] = (uint32_t)port;
		text = *end ? end + 1 : end;
	}
	return true;
}

static bool check(const struct vio_arg *a, char *why)
{
	struct vio_dial_vsock_options ports;
	if (!a[GUEST_CID].given)
		return refuse(why, "it is not said what the guest's address is: add --guest-cid=N, 3 or more, and another one for each guest");
	if (vio_vsock_cid_reserved(a[GUEST_CID].number)) {
		snprintf(why, VIO_OPT_WHY, "--guest-cid=%s is a reserved context id: give one from 3 to 4294967294", a[GUEST_CID].text);
		return false;
	}
	if (a[UDS_PATH].given && a[FORWARD_CID].given)
		return refuse(why, "the host's side is either Unix sockets or the host's own vsock: leave out --uds-path or --forward-cid");
	if (!a[UDS_PATH].given && !a[FORWARD_CID].given && !a[GROUPS].given)
		return refuse(why, "nobody is there for the guest to talk to: add --uds-path=PATH, --forward-cid=N or --groups=NAME");
	if (a[UDS_MODE].given && !a[UDS_PATH].given)
		return refuse(why, "--uds-mode is for sockets that --uds-path makes: add that, or leave this out");
	if (a[FORWARD_CID].given && a[FORWARD_CID].number == VIO_VSOCK_CID_HOST)
		return refuse(why, "--forward-cid=2 is the machine around this one as its own guests see it: give 1 for this host itself");
	if (!a[FORWARD_LISTEN].given)
		return true;
	return a[FORWARD_CID].given ? take_ports(a[FORWARD_LISTEN].text, &ports, why) :
	    refuse(why, "--forward-listen needs --forward-cid, which says what the guest's own connections reach: add it");
}

static bool open_outer(struct backend *b, const struct vio_arg *a, struct vio_loop *loop, char *why)
{
	if (a[UDS_PATH].given) {
		b->dial = vio_dial_unix_open(&(struct vio_dial_unix_options){ .path = a[UDS_PATH].text, .loop = loop,
			.mode = (mode_t)a[UDS_MODE].number, .message_max = (uint32_t)a[BUFFER].number }, why);
		b->folder = b->dial ? vio_dial_unix_folder(b->dial) : -1;
		return b->dial;
	}
	if (!a[FORWARD_CID].given)
		return true;
	struct vio_dial_vsock_options o = { .loop = loop, .cid = (uint32_t)a[FORWARD_CID].number,
		.message_max = (uint32_t)a[BUFFER].number };
	if (a[FORWARD_LISTEN].given && !take_ports(a[FORWARD_LISTEN].text, &o, why))
		return false;
	b->dial = vio_dial_vsock_open(&o, why);
	return b->dial;
}

static void leave_board(void)
{
	if (--board.members)
		return;
	vio_hub_free(board.hub);
	board.hub = NULL;
}

static bool join_board(struct backend *b, const struct vio_arg *a, struct vio_loop *loop, char *why)
{
	if (!board.hub && !(board.hub = vio_hub_new(loop)))
		return refuse(why, "there is no memory for guests that reach each other: serve fewer from one process");
	board.members++;
	struct vio_dial *d = vio_hub_join(board.hub, &(struct vio_hub_member){ .cid = a[GUEST_CID].number, .groups = a[GROUPS].text,
		.message_max = (uint32_t)a[BUFFER].number, .outer = b->dial }, why);
	if (!d) {
		leave_board();
		return false;
	}
	b->dial = d;
	b->member = true;
	return true;
}

static void close_backend(struct backend *b)
{
	vio_dial_close(b->dial);
	if (b->member)
		leave_board();
	free(b);
}

static bool open_backend(struct backend *b, const struct vio_arg *a, struct vio_loop *loop, char *why)
{
	return open_outer(b, a, loop, why) && (!a[GROUPS].given || join_board(b, a, loop, why));
}

static bool open_vsock(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	const struct vio_arg *a = u->args;
	struct backend *b = calloc(1, sizeof *b);
	(void)loop_count;	/* all queues are the home loop's, and so are all guests' */
	if (!b)
		return refuse(why, "there is no memory for another guest: serve fewer from one process");
	b->folder = -1;
	struct vio_vsock_options o = { .guest_cid = a[GUEST_CID].number, .connections = (uint32_t)a[CONNECTIONS].number,
		.buffer = (uint32_t)a[BUFFER].number, .queue_size = (uint16_t)a[QUEUE_SIZE].number };
	const char *refused = NULL;
	bool ok = open_backend(b, a, loops[0], why);
	if (ok) {
		o.dial = b->dial;
		if (getrandom(&o.seed, sizeof o.seed, GRND_NONBLOCK) != sizeof o.seed)
			o.seed = vio_now_ns() * UINT64_C(0x9e3779b97f4a7c15);	/* too early at boot for more */
		refused = vio_dev_open(u->dev, &vio_dev_vsock, &o, &vio_vhost_port, NULL, vio_daemon_wire(a));
	}
	if (refused)
		snprintf(why, VIO_OPT_WHY, "cannot make a socket device: %s", refused);
	if (!ok || refused) {
		close_backend(b);
		return false;
	}
	u->backend = b;
	return true;
}

static void close_vsock(struct vio_unit *u) { close_backend(u->backend); }

/* ---- The control socket ---- */

enum { LISTED = 256 };
struct listing { json_t *list; uint32_t skip; };

static bool list_one(void *arg, const struct vio_vsock_dev_connection *c)
{
	struct listing *l = arg;
	if (l->skip) {
		l->skip--;
		return true;
	}
	json_array_append_new(l->list, json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:I, s:I, s:I}", "cid", (json_int_t)c->cid,
	    "port", (json_int_t)c->port, "guest_port", (json_int_t)c->guest_port, "type", c->message ? "seqpacket" : "stream",
	    "from", c->from_guest ? "guest" : "host", "state", c->state, "received", (json_int_t)c->received,
	    "sent", (json_int_t)c->sent, "waiting", (json_int_t)c->waiting));
	return json_array_size(l->list) < LISTED;
}

static bool connections(struct vio_command *c, char *why)
{
	struct listing l = { json_array(), (uint32_t)vio_command_number(c, "from", 0) };
	(void)why;
	vio_vsock_dev_each(c->unit->dev, list_one, &l);
	json_object_set_new(c->answer, "connections", l.list);
	json_object_set_new(c->answer, "count", json_integer(vio_vsock_dev_connections(c->unit->dev)));
	return true;
}

static const struct vio_verb verbs[] = {
	{ "connections", "[from:number]", "Lists the connections, at most 256 at a time.", false, connections },
	{ NULL, NULL, NULL, false, NULL },
};

static void stats(struct vio_unit *u, json_t *into)
{
	json_object_set_new(into, "vsock", json_pack("{s:I}", "connections", (json_int_t)vio_vsock_dev_connections(u->dev)));
}

/* The socket files are removed at the end. */
static void grant(struct vio_unit *u, struct vio_sandbox_options *o)
{
	const struct backend *b = u->backend;
	if (b->folder >= 0)
		vio_sandbox_folder(o, b->folder, VIO_FOLDER_REMOVE);
}

/* What the guest connects to is connected to while serving: Unix sockets and the host's vsock, no other kind. */
static const struct vio_sandbox_call calls[] = {
	{ SYS_socket, VIO_CALL_ONE, 0, AF_UNIX, 0 }, { SYS_socket, VIO_CALL_ONE, 0, AF_VSOCK, 0 },
	{ SYS_connect, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_setsockopt, VIO_CALL_ONE, 2, SO_PASSCRED, 0 }, { SYS_setsockopt, VIO_CALL_ONE, 2, SO_SNDBUF, 0 },
	{ -1, 0, 0, 0, 0 }
};

const struct vio_service vio_service_vsock = {
	.type = &vio_dev_vsock,
	.program = "vio-vsock",
	.capabilities = "{\"type\": \"vsock\"}",
	.options = {
		.usage = "vio vsock --socket-path=PATH --guest-cid=N --uds-path=PATH [options] [--socket-path=PATH --guest-cid=N ...]...",
		.about = "Serves sockets between virtual machines and this host over vhost-user.",
		.common = vio_daemon_options, .common_count = VIO_OPT_COMMON,
		.own = options, .own_count = END - VIO_OPT_COMMON,
	},
	.verbs = verbs, .stats = stats, .check = check, .open = open_vsock, .close = close_vsock, .calls = calls, .grant = grant,
};
