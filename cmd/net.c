/* vio net: network devices over vhost-user, and what is at their other end. */
#include "control.h"
#include "net.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vio/device/net.h>
#include <vio/host/why.h>

enum {
	BACKEND = VIO_OPT_COMMON, TAP, TAP_FD, INTERFACE, SOCKET, SOCKET_FD, FRAME_SIZE, FORWARD, NETWORK, HOSTNAME, RESTRICT, NO_IPV6,
	PCAP, PCAP_SNAP, QUEUES, QUEUE_SIZE, MAC, MTU, SPEED, DUPLEX, RSS_TABLE, RSS_CONTEXTS, WITHOUT, POLL, POLL_US, THREADS, END
};
enum { USER, TO_TAP, TO_INTERFACE, TO_SOCKET, TO_NULL, BACKENDS };
static const char *const backend_words[BACKENDS] = { "user", "tap", "interface", "socket", "null" };

#define OWN(i) [(i) - VIO_OPT_COMMON]
static const struct vio_opt options[END - VIO_OPT_COMMON] = {
	OWN(BACKEND) = { "backend", "user|tap|interface|socket|null", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "What is at the other end: user-mode networking, which needs no rights (user, the default), or what one of the next "
		        "five options says, which need not be said here too; null is a sink and, with --frame-size, a source, to measure with." },
	OWN(TAP) = { "tap", "NAME", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 15,
		.help = "A tap of this host. One that is not there is made, which needs root, and goes with the daemon." },
	OWN(TAP_FD) = { "tap-fd", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 3, 1 << 20, .many = true,
		.help = "A tap by the inherited descriptor N; given many times: the queues of one tap, one for each of --queues." },
	OWN(INTERFACE) = { "interface", "NAME", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 15,
		.help = "An interface of this host, whose network the guest becomes a station of; needs root at the start." },
	OWN(SOCKET) = { "socket", "PATH", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 107,
		.help = "A packet socket to connect to, such as passt's: a Unix stream with a length before each frame, or packets." },
	OWN(SOCKET_FD) = { "socket-fd", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 3, 1 << 20,
		.help = "A packet socket by the inherited descriptor N, which is connected." },
	OWN(FRAME_SIZE) = { "frame-size", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 14, VIO_FRAME_MAX,
		.help = "With --backend=null: as many frames of N bytes as the guest takes; it gets none unless given." },
	OWN(FORWARD) = { "forward", "tcp:HOST:GUEST", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 63, .many = true,
		.help = "User-mode networking: port HOST of this host's loopback (or tcp:ADDRESS:HOST:GUEST: of that address) leads to the "
		        "guest's port GUEST; udp too; may be given many times." },
	OWN(NETWORK) = { "network", "ADDRESS/BITS", VIO_OPT_TEXT, VIO_OPT_DEVICE, 9, 18,
		.help = "User-mode networking: the guest's network; 10.0.2.0/24. Its 2nd address is this host, the 3rd the name server, the "
		        "15th the guest's." },
	OWN(HOSTNAME) = { "hostname", "NAME", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 33,
		.help = "User-mode networking: what DHCP tells the guest to be called." },
	OWN(RESTRICT) = { "restrict", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE,
		.help = "User-mode networking: the guest reaches neither this host nor anything beyond it; forwards still reach the guest." },
	OWN(NO_IPV6) = { "no-ipv6", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE, .help = "User-mode networking: there is no IPv6." },
	OWN(PCAP) = { "pcap", "FILE", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 4095,
		.help = "Write every frame in both directions to FILE, which is made anew, for Wireshark and tcpdump." },
	OWN(PCAP_SNAP) = { "pcap-snap", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 14, VIO_FRAME_MAX, VIO_FRAME_MAX,
		.help = "At most N bytes of each frame; all of them." },
	OWN(QUEUES) = { "queues", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, VIO_NET_DEV_PAIRS, 1,
		.help = "Pairs of a receive and a transmit queue that the guest may use; 1." },
	OWN(QUEUE_SIZE) = { "queue-size", "N", VIO_OPT_POWER, VIO_OPT_DEVICE, 4, 32768, 1024, .help = "Entries a queue may have; 1024." },
	OWN(MAC) = { "mac", "ADDRESS", VIO_OPT_TEXT, VIO_OPT_DEVICE, 17, 17,
		.help = "The guest's Ethernet address, like 52:54:00:12:34:56; QEMU has its own mac=." },
	OWN(MTU) = { "mtu", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 68, 65521,
		.help = "Bytes of the longest packet; the other end's, 1500 with user-mode networking." },
	OWN(SPEED) = { "speed", "MBITS", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, VIO_NET_SPEED_MAX, .help = "The speed that the guest is told." },
	OWN(DUPLEX) = { "duplex", "full|half", VIO_OPT_CHOICE, VIO_OPT_DEVICE, .help = "With --speed; full." },
	OWN(RSS_TABLE) = { "rss-table", "N", VIO_OPT_POWER, VIO_OPT_DEVICE, 128, VIO_NET_DEV_RSS_TABLE, 128,
		.help = "Entries that the guest's table for spreading flows over queues may have; 128." },
	OWN(RSS_CONTEXTS) = { "rss-contexts", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, VIO_NET_DEV_CONTEXTS, VIO_NET_DEV_CONTEXTS,
		.help = "Such tables, at most; 8." },
	OWN(WITHOUT) = { "without", "WORD[,WORD]...", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 255,
		.help = "Do not offer: csum, tso, ufo, uso (to the guest and from it), mergeable, control, mq, rss, hash, announce, coalescing, "
		        "statistics." },
	OWN(POLL) = { "poll", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Never sleep: look for frames all the time. Each thread takes a processor." },
	OWN(POLL_US) = { "poll-us", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 0, 1000000, 0,
		.help = "Look for frames for so many microseconds before sleeping; 0. Takes processor time, gives latency." },
	OWN(THREADS) = { "threads", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 1, 64, 1, .help = "Threads the pairs of queues are spread over; 1." },
};

/* ---- Features left out ---- */

static const struct { const char *word; unsigned char bits[8]; unsigned count; } left_out[] = {
	{ "csum", { VIO_NET_F_CSUM, VIO_NET_F_GUEST_CSUM }, 2 },
	{ "tso", { VIO_NET_F_HOST_TSO4, VIO_NET_F_HOST_TSO6, VIO_NET_F_HOST_ECN, VIO_NET_F_GUEST_TSO4, VIO_NET_F_GUEST_TSO6,
		VIO_NET_F_GUEST_ECN }, 6 },
	{ "ufo", { VIO_NET_F_HOST_UFO, VIO_NET_F_GUEST_UFO }, 2 },
	{ "uso", { VIO_NET_F_HOST_USO, VIO_NET_F_GUEST_USO4, VIO_NET_F_GUEST_USO6 }, 3 },
	{ "mergeable", { VIO_NET_F_MRG_RXBUF }, 1 },
	{ "control", { VIO_NET_F_CTRL_VQ }, 1 },
	{ "mq", { VIO_NET_F_MQ }, 1 },
	{ "rss", { VIO_NET_F_RSS }, 1 },
	{ "hash", { VIO_NET_F_HASH_REPORT }, 1 },
	{ "announce", { VIO_NET_F_GUEST_ANNOUNCE }, 1 },
	{ "coalescing", { VIO_NET_F_NOTF_COAL, VIO_NET_F_VQ_NOTF_COAL }, 2 },
	{ "statistics", { VIO_NET_F_DEVICE_STATS }, 1 },
};

static bool leave_out(const char *text, struct vio_features *f, char *why)
{
	while (*text) {
		size_t n = strcspn(text, ","), i = 0;
		while (i < sizeof left_out / sizeof *left_out && (strlen(left_out[i].word) != n || memcmp(left_out[i].word, text, n)))
			i++;
		if (i == sizeof left_out / sizeof *left_out)
			return vio_refuse(why, "--without=%.*s: there is no such word; --help lists them", (int)(n < 60 ? n : 60), text);
		for (unsigned j = 0; j < left_out[i].count; j++)
			vio_features_add(f, left_out[i].bits[j]);
		text += n + (text[n] == ',');
	}
	return true;
}

/* ---- Is all well? ---- */

static const unsigned ends[] = { TAP, TAP_FD, INTERFACE, SOCKET, SOCKET_FD };
static const unsigned char end_of[] = { TO_TAP, TO_TAP, TO_INTERFACE, TO_SOCKET, TO_SOCKET };
enum { ENDS = sizeof end_of };

static unsigned backend_of(const struct vio_arg *a)
{
	for (unsigned i = 0; i < ENDS; i++)
		if (a[ends[i]].given)
			return end_of[i];
	return (unsigned)a[BACKEND].number;
}

static bool check_end(const struct vio_arg *a, char *why)
{
	unsigned given = 0, backend = backend_of(a);
	for (unsigned i = 0; i < ENDS; i++)
		given += a[ends[i]].given;
	if (given > 1)
		return vio_refuse(why, "a device has one other end: give one of --tap, --tap-fd, --interface, --socket and --socket-fd");
	if (a[BACKEND].given && a[BACKEND].number != backend)
		return vio_refuse(why, "--backend=%s and --%s do not agree: leave out one of them", backend_words[a[BACKEND].number],
		    options[ends[0] - VIO_OPT_COMMON].name);
	if (!given && (backend == TO_TAP || backend == TO_INTERFACE || backend == TO_SOCKET))
		return vio_refuse(why, "--backend=%s does not say which one: give --%s=%s instead", backend_words[backend], backend_words[backend],
		    backend == TO_SOCKET ? "PATH" : "NAME");
	return true;
}

static bool check_belongs(const struct vio_arg *a, char *why)
{
	static const struct { unsigned option, backend; } rows[] = {
		{ FORWARD, USER }, { NETWORK, USER }, { HOSTNAME, USER }, { RESTRICT, USER }, { NO_IPV6, USER }, { FRAME_SIZE, TO_NULL },
	};
	struct in_addr network, mask;
	struct vio_forward f;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		if (a[rows[i].option].given && backend_of(a) != rows[i].backend)
			return vio_refuse(why, "--%s is for --backend=%s: leave it out", options[rows[i].option - VIO_OPT_COMMON].name,
			    backend_words[rows[i].backend]);
	for (const struct vio_opt_word *w = a[FORWARD].words; w; w = w->next)
		if (!vio_forward_parse(w->text, &f, why))
			return false;
	if (a[NETWORK].given && !vio_network_parse(a[NETWORK].text, &network, &mask))
		return vio_refuse(why, "--network=%s cannot be: give a network of 8 to 27 bits, like 10.0.2.0/24", a[NETWORK].text);
	return true;
}

static bool check_queues(const struct vio_arg *a, char *why)
{
	unsigned backend = backend_of(a), fds = 0;
	for (const struct vio_opt_word *w = a[TAP_FD].words; w; w = w->next)
		fds++;
	if (fds && fds != a[QUEUES].number)
		return vio_refuse(why, "there are %u --tap-fd for --queues=%u: give one for each", fds, (unsigned)a[QUEUES].number);
	if (a[QUEUES].number > 1 && a[THREADS].number > 1 && (backend == USER || backend == TO_SOCKET))
		return vio_refuse(why, "one socket carries the frames of all queues: leave out --threads, or choose --queues=1");
	return true;
}

static bool check(const struct vio_arg *a, char *why)
{
	struct vio_features none = { { 0 } };
	unsigned char mac[VIO_NET_MAC];
	if (!check_end(a, why) || !check_belongs(a, why) || !check_queues(a, why))
		return false;
	if (a[MAC].given && !vio_mac_parse(a[MAC].text, mac))
		return vio_refuse(why, "--mac=%.20s is not the address of one station: give one like 52:54:00:12:34:56", a[MAC].text);
	if (a[PCAP_SNAP].given && !a[PCAP].given)
		return vio_refuse(why, "--pcap-snap is about the file that --pcap names: add that, or leave this out");
	if (a[DUPLEX].given && !a[SPEED].given)
		return vio_refuse(why, "--duplex belongs to --speed: add that, or leave this out");
	if (a[POLL].given && a[POLL_US].given)
		return vio_refuse(why, "--poll looks all the time: leave out --poll-us");
	return !a[WITHOUT].given || leave_out(a[WITHOUT].text, &none, why);
}

/* ---- The other end ---- */

struct net {
	struct vio_unit *unit;
	struct vio_link *link;
	struct vio_user user;		/* control -1: there is none */
	unsigned backend, pairs;
};

static void say(void *arg, const char *sentence)
{
	struct net *n = arg;
	vio_say(n->unit->name, "%s", sentence);
	vio_control_event(n->unit, "link", json_pack("{s:s}", "says", sentence));
}

static struct vio_link *open_user(struct net *n, const struct vio_arg *a, struct vio_link_socket_options *o, char *why)
{
	const struct vio_user_options u = { .forwards = a[FORWARD].words, .network = a[NETWORK].text, .hostname = a[HOSTNAME].text,
		.mtu = (uint16_t)a[MTU].number, .restricted = a[RESTRICT].given, .no_ipv6 = a[NO_IPV6].given,
		.no_sandbox = a[VIO_OPT_SANDBOX].number != 0 };
	if (!vio_user_start(&n->user, &u, why))
		return NULL;
	o->fd = n->user.fd;
	o->gone = "user-mode networking has ended; the guest has no network until this daemon is started again";
	return vio_link_socket_open(o, why);
}

static struct vio_link *open_tap(const struct vio_arg *a, struct vio_link_place place, char *why)
{
	int fds[VIO_LINK_LANES];
	struct vio_link_tap_options o = { .name = a[TAP].text, .lanes = (unsigned)a[QUEUES].number, .place = place };
	if (a[TAP_FD].given) {
		unsigned i = 0;
		for (const struct vio_opt_word *w = a[TAP_FD].words; w; w = w->next)
			fds[i++] = atoi(w->text);	/* a number: the table */
		o.fds = fds;
	}
	return vio_link_tap_open(&o, why);
}

static struct vio_link *open_end(struct net *n, const struct vio_arg *a, struct vio_link_place place, char *why)
{
	struct vio_link_socket_options s = { .path = a[SOCKET].text, .lanes = n->pairs, .place = place, .say = say, .say_arg = n };
	struct vio_link *l;
	switch (n->backend) {
	case USER:
		return open_user(n, a, &s, why);
	case TO_TAP:
		return open_tap(a, place, why);
	case TO_INTERFACE:
		return vio_link_interface_open(&(struct vio_link_interface_options){ .name = a[INTERFACE].text, .lanes = n->pairs,
			.place = place }, why);
	case TO_SOCKET:
		s.fd = (int)a[SOCKET_FD].number;
		return vio_link_socket_open(&s, why);
	default:
		l = vio_link_null_open(n->pairs, (uint32_t)a[FRAME_SIZE].number);
		if (!l)
			vio_refuse(why, "there is no memory for a link");
		return l;
	}
}

/* What --pcap asks for around it. */
static bool capture(struct net *n, const struct vio_arg *a, struct vio_link_place place, char *why)
{
	int fd = open(a[PCAP].text, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return vio_refuse(why, "cannot make the capture file %s: %s; choose a folder that this user may write", a[PCAP].text, strerror(errno));
	struct vio_link *l = vio_link_pcap_open(n->link, fd, (uint32_t)a[PCAP_SNAP].number, place, say, n, why);
	if (l)
		n->link = l;
	return l;
}

static void close_end(struct net *n)
{
	vio_link_close(n->link);
	if (n->user.control >= 0)
		vio_user_end(&n->user);
	free(n);
}

static struct vio_net_options device_options(const struct net *n, const struct vio_arg *a)
{
	char why[VIO_WHY];
	struct vio_net_options o = { .link = n->link, .pairs = (uint16_t)n->pairs, .queue_size = (uint16_t)a[QUEUE_SIZE].number,
		.has_mac = a[MAC].given, .mtu = (uint16_t)a[MTU].number, .speed = (uint32_t)a[SPEED].number,
		.duplex = a[DUPLEX].number ? VIO_NET_DUPLEX_HALF : VIO_NET_DUPLEX_FULL, .rss_table = (uint16_t)a[RSS_TABLE].number,
		.rss_contexts = (uint16_t)a[RSS_CONTEXTS].number };
	if (n->backend == USER && !o.mtu)
		o.mtu = 1500;
	if (a[MAC].given)
		vio_mac_parse(a[MAC].text, o.mac);	/* check() has asked, */
	if (a[WITHOUT].given)
		leave_out(a[WITHOUT].text, &o.without, why);	/* here too */
	return o;
}

static bool open_net(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	const struct vio_arg *a = u->args;
	struct vio_link_place place = { loops, loop_count };
	struct net *n = calloc(1, sizeof *n);
	if (!n)
		return vio_refuse(why, "there is no memory for another network: serve fewer from one process");
	*n = (struct net){ .unit = u, .user = { -1, -1, -1 }, .backend = backend_of(a), .pairs = (unsigned)a[QUEUES].number };
	n->link = open_end(n, a, place, why);
	if (!n->link || (a[PCAP].given && !capture(n, a, place, why))) {
		close_end(n);
		return false;
	}
	struct vio_net_options o = device_options(n, a);
	const char *refused = vio_dev_open(u->dev, &vio_dev_net, &o, &vio_vhost_port, NULL, vio_daemon_wire(a));
	if (refused) {
		vio_refuse(why, "cannot make a network device: %s", refused);
		close_end(n);
		return false;
	}
	u->backend = n;
	return true;
}

static void close_net(struct vio_unit *u) { close_end(u->backend); }

/* ---- The control socket ---- */

static bool set_link(struct vio_command *c, char *why)
{
	struct net *n = c->unit->backend;
	const char *state = vio_command_text(c, "state");
	bool down = state && !strcmp(state, "down");
	if (state && !down && strcmp(state, "up"))
		return vio_refuse(why, "a link is up or down: give state=up or state=down");
	if (state)
		vio_link_set(n->link, n->link->carrier, down);
	json_object_update_new(c->answer, json_pack("{s:b, s:b}", "up", n->link->up, "cut", n->link->cut));
	if (state)
		vio_control_event(c->unit, "link", json_pack("{s:b}", "up", n->link->up));
	return true;
}

static bool announce(struct vio_command *c, char *why)
{
	return vio_net_dev_announce(c->unit->dev)
	    || vio_refuse(why, "no driver here announces itself: it has not taken GUEST_ANNOUNCE, or the front end keeps that to itself (QEMU)");
}

static bool ask_user(struct vio_command *c, const char *verb, char *why)
{
	struct net *n = c->unit->backend;
	struct vio_forward f;
	char request[VIO_SLIRP_FORWARD_MAX];
	const char *text = vio_command_text(c, "forward");
	if (n->user.control < 0)
		return vio_refuse(why, "ports are forwarded by user-mode networking, and this device has %s", backend_words[n->backend]);
	if (!vio_forward_parse(text, &f, why))
		return false;
	snprintf(request, sizeof request, "%s %s", verb, text);
	return vio_user_ask(&n->user, request, why);
}

static bool add_forward(struct vio_command *c, char *why) { return ask_user(c, "add", why); }
static bool remove_forward(struct vio_command *c, char *why) { return ask_user(c, "remove", why); }

static const struct vio_verb verbs[] = {
	{ "link", "[state:text]", "Cuts the link (down), or lets it be again (up); the guest is told. Without: tells how it is.", false, set_link },
	{ "announce", "", "Has the guest announce itself on its network, as after a move.", false, announce },
	{ "add-forward", "forward:text", "User-mode networking: forwards a port of the host, as --forward does.", false, add_forward },
	{ "remove-forward", "forward:text", "Forwards it no more; connections that are there go on.", false, remove_forward },
	{ NULL, NULL, NULL, false, NULL },
};

static void stats(struct vio_unit *u, json_t *into)
{
	const struct net *n = u->backend;
	json_t *pairs = json_array();
	for (unsigned i = 0; i < n->pairs; i++)
		json_array_append_new(pairs, vio_net_pair_stats(u->dev, i));
	json_object_set_new(into, "net", json_pack("{s:s, s:b, s:b, s:o}", "backend", backend_words[n->backend], "up", n->link->up,
	    "cut", n->link->cut, "pairs", pairs));
}

/* ---- Confinement: what a tap and a socket that is connected to again need beside the rest ---- */

static const struct vio_sandbox_call tap_calls[] = {
	{ SYS_ioctl, VIO_CALL_ONE, 1, TUNSETOFFLOAD, 0 }, { SYS_ioctl, VIO_CALL_ONE, 1, TUNSETQUEUE, 0 }, { -1, 0, 0, 0, 0 }
};
static const struct vio_sandbox_call socket_calls[] = {
	{ SYS_socket, VIO_CALL_ONE, 0, AF_UNIX, 0 }, { SYS_connect, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_getsockopt, VIO_CALL_ONE, 2, SO_TYPE, 0 }, { -1, 0, 0, 0, 0 }
};

static void grant(struct vio_unit *u, struct vio_sandbox_options *o)
{
	const struct net *n = u->backend;
	if (n->backend == TO_TAP)
		vio_sandbox_calls(o, tap_calls);
	if (n->backend == TO_SOCKET)
		vio_sandbox_calls(o, socket_calls);
}

const struct vio_service vio_service_net = {
	.type = &vio_dev_net,
	.program = "vio-net",
	.capabilities = "{\"type\": \"net\"}",
	.options = {
		.usage = "vio net --socket-path=PATH [--tap=NAME|--interface=NAME|--socket=PATH|--backend=null] [options] [--socket-path=PATH ...]...",
		.about = "Serves network devices to virtual machines over vhost-user.",
		.common = vio_daemon_options, .common_count = VIO_OPT_COMMON,
		.own = options, .own_count = END - VIO_OPT_COMMON,
	},
	.threads_option = THREADS, .poll_option = POLL_US, .always_option = POLL,
	.verbs = verbs, .stats = stats, .check = check, .open = open_net, .close = close_net, .grant = grant,
};
