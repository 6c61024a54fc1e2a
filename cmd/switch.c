/* vio switch: network devices that reach each other and nothing else, through a learning switch in one process. */
#include "control.h"
#include "net.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <vio/device/net.h>
#include <vio/host/switch.h>
#include <vio/host/why.h>

enum {
	VLAN = VIO_OPT_COMMON, TRUNK, FLOODS, ADDRESSES, TAKEOVERS, MAC, LOCK, MTU, QUEUES, QUEUE_SIZE, AGE, POLL, POLL_US, END
};

#define OWN(i) [(i) - VIO_OPT_COMMON]
static const struct vio_opt options[END - VIO_OPT_COMMON] = {
	OWN(VLAN) = { "vlan", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, VIO_VLAN_MIN, VIO_VLAN_MAX, 1,
		.help = "The VLAN of the port's frames without a tag; 1. A port that is given one carries no tags, unless --trunk says which." },
	OWN(TRUNK) = { "trunk", "N[-N][,N[-N]]...", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 1000,
		.help = "VLANs that the port carries with tags, like 10,20-29; all of them, where neither --vlan nor --trunk is given." },
	OWN(FLOODS) = { "floods", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 0, UINT32_MAX, 10000,
		.help = "Frames a second that the port may send to group addresses and to addresses nobody knows; 10000; 0: any number." },
	OWN(ADDRESSES) = { "addresses", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, 4096, 64,
		.help = "Addresses that may be in use behind the port at a time; 64. Frames from others are dropped." },
	OWN(TAKEOVERS) = { "takeovers", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 0, 1000, 1,
		.help = "Addresses a second that may move to the port from another one, as a guest's do that has moved; 1." },
	OWN(MAC) = { "mac", "ADDRESS", VIO_OPT_TEXT, VIO_OPT_DEVICE, 17, 17,
		.help = "The port's own address, like 52:54:00:12:34:56, which no other port can use; the guest is told it." },
	OWN(LOCK) = { "lock", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE, .help = "With --mac: no other address may be used behind the port." },
	OWN(MTU) = { "mtu", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 68, 65535, .help = "Bytes of the longest packet, that the guest is told." },
	OWN(QUEUES) = { "queues", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, VIO_NET_DEV_PAIRS, 1,
		.help = "Pairs of a receive and a transmit queue that the guest may use; 1." },
	OWN(QUEUE_SIZE) = { "queue-size", "N", VIO_OPT_POWER, VIO_OPT_DEVICE, 4, 32768, 1024, .help = "Entries a queue may have; 1024." },
	OWN(AGE) = { "age", "SECONDS", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 1, 1000000, 300,
		.help = "An address that was not heard for so long is forgotten; 300." },
	OWN(POLL) = { "poll", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Never sleep: look for frames all the time. Takes a processor." },
	OWN(POLL_US) = { "poll-us", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 0, 1000000, 0,
		.help = "Look for frames for so many microseconds before sleeping; 0. Takes processor time, gives latency." },
};

/* All guests are at one switch. */
static struct { struct vio_switch *s; unsigned ports; } board;

struct port { struct vio_link *link; struct vio_unit *unit; unsigned pairs; };

/* ---- Options ---- */

/* "10,20-29" */
static bool take_vlans(const char *text, struct vio_vlan_set *to, char *why)
{
	while (*text) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;
		bool good = *text >= '0' && *text <= '9';
		if (good && *end == '-' && end[1] >= '0' && end[1] <= '9')
			last = strtoul(end + 1, &end, 10);
		if (!good || first < VIO_VLAN_MIN || last > VIO_VLAN_MAX || first > last || (*end && *end != ',') || (*end && !end[1]))
			return vio_refuse(why, "--trunk is numbers from 1 to 4094 with commas between: give them like 10,20-29");
		for (; first <= last; first++)
			vio_vlan_add(to, (unsigned)first);
		text = *end ? end + 1 : end;
	}
	return true;
}

static bool take_port(const struct vio_arg *a, struct vio_switch_port_options *o, char *why)
{
	*o = (struct vio_switch_port_options){ .lanes = (unsigned)a[QUEUES].number, .vlan = (uint16_t)a[VLAN].number,
		.floods = (uint32_t)a[FLOODS].number, .addresses = (uint16_t)a[ADDRESSES].number,
		.takeovers = (uint16_t)a[TAKEOVERS].number, .has_mac = a[MAC].given, .locked = a[LOCK].given, .mtu = (uint16_t)a[MTU].number };
	if (a[MAC].given && !vio_mac_parse(a[MAC].text, o->mac))
		return vio_refuse(why, "--mac=%.20s is not the address of one station: give one like 52:54:00:12:34:56", a[MAC].text);
	if (a[LOCK].given && !a[MAC].given)
		return vio_refuse(why, "--lock is about the address that --mac gives: add that, or leave this out");
	if (a[TRUNK].given)
		return take_vlans(a[TRUNK].text, &o->tagged, why);
	for (unsigned id = VIO_VLAN_MIN; !a[VLAN].given && id <= VIO_VLAN_MAX; id++)
		vio_vlan_add(&o->tagged, id);
	return true;
}

static bool check(const struct vio_arg *a, char *why)
{
	struct vio_switch_port_options o;
	if (a[POLL].given && a[POLL_US].given)
		return vio_refuse(why, "--poll looks all the time: leave out --poll-us");
	return take_port(a, &o, why);
}

/* ---- Life ---- */

static void leave_board(void)
{
	if (--board.ports)
		return;
	vio_switch_free(board.s);
	board.s = NULL;
}

static bool join_board(struct port *p, const struct vio_arg *a, char *why)
{
	struct vio_switch_options s = { .age_seconds = (uint32_t)a[AGE].number };
	struct vio_switch_port_options o;
	if (getrandom(&s.seed, sizeof s.seed, GRND_NONBLOCK) != sizeof s.seed)
		s.seed = vio_now_ns() * UINT64_C(0x9e3779b97f4a7c15);	/* too early at boot for more */
	if (!board.s && !(board.s = vio_switch_new(&s)))
		return vio_refuse(why, "there is no memory for a switch");
	board.ports++;
	p->link = take_port(a, &o, why) ? vio_switch_port(board.s, &o, why) : NULL;
	if (!p->link)
		leave_board();
	return p->link;
}

static void close_port(struct port *p)
{
	vio_link_close(p->link);
	leave_board();
	free(p);
}

static bool open_switch(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	const struct vio_arg *a = u->args;
	struct port *p = calloc(1, sizeof *p);
	(void)loops;
	(void)loop_count;	/* one */
	if (!p || !join_board(p, a, why)) {
		if (!p)
			vio_refuse(why, "there is no memory for another port of the switch");
		free(p);
		return false;
	}
	p->unit = u;
	p->pairs = (unsigned)a[QUEUES].number;
	struct vio_net_options o = { .link = p->link, .pairs = (uint16_t)p->pairs, .queue_size = (uint16_t)a[QUEUE_SIZE].number };
	const char *refused = vio_dev_open(u->dev, &vio_dev_net, &o, &vio_vhost_port, NULL, vio_daemon_wire(a));
	if (refused) {
		vio_refuse(why, "cannot make a network device: %s", refused);
		close_port(p);
		return false;
	}
	u->backend = p;
	return true;
}

static void close_switch(struct vio_unit *u) { close_port(u->backend); }

/* ---- The control socket ---- */

enum { LISTED = 256 };
struct listing { json_t *list; uint64_t skip, count; const struct vio_process *process; };

static unsigned number_of(const struct vio_process *p, const struct vio_link *l)
{
	const struct vio_unit *u;
	unsigned i = 0;
	while ((u = vio_process_unit(p, i)) && ((const struct port *)u->backend)->link != l)
		i++;
	return i;
}

static bool list_one(void *arg, const struct vio_switch_address *a)
{
	struct listing *l = arg;
	char mac[18];
	if (l->count++ < l->skip || json_array_size(l->list) == LISTED)
		return true;
	snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", a->mac[0], a->mac[1], a->mac[2], a->mac[3], a->mac[4], a->mac[5]);
	json_array_append_new(l->list, json_pack("{s:s, s:i, s:I, s:b, s:I}", "mac", mac, "vlan", (int)a->vlan, "device",
	    (json_int_t)number_of(l->process, a->port), "fixed", a->fixed, "age", (json_int_t)a->age_seconds));
	return true;
}

static bool addresses(struct vio_command *c, char *why)
{
	struct listing l = { json_array(), vio_command_number(c, "from", 0), 0, c->process };
	(void)why;
	vio_switch_each(board.s, list_one, &l);
	json_object_set_new(c->answer, "addresses", l.list);
	json_object_set_new(c->answer, "count", json_integer((json_int_t)l.count));
	return true;
}

static bool forget(struct vio_command *c, char *why)
{
	(void)why;
	vio_switch_forget(board.s, ((struct port *)c->unit->backend)->link);
	return true;
}

static bool set_link(struct vio_command *c, char *why)
{
	struct vio_link *l = ((struct port *)c->unit->backend)->link;
	const char *state = vio_command_text(c, "state");
	bool down = state && !strcmp(state, "down");
	if (state && !down && strcmp(state, "up"))
		return vio_refuse(why, "a link is up or down: give state=up or state=down");
	if (state)
		vio_link_set(l, l->carrier, down);
	json_object_set_new(c->answer, "up", json_boolean(l->up));
	return true;
}

static const struct vio_verb verbs[] = {
	{ "addresses", "[from:number]", "Lists which address is at which device, at most 256 at a time.", true, addresses },
	{ "forget", "", "Forgets what was learned at a port.", false, forget },
	{ "link", "[state:text]", "Takes a port down, or up again; the guest is told. Without: tells how it is.", false, set_link },
	{ NULL, NULL, NULL, false, NULL },
};

static void stats(struct vio_unit *u, json_t *into)
{
	const struct port *p = u->backend;
	struct vio_switch_counts c = vio_switch_counts(p->link);
	json_t *pairs = json_array();
	for (unsigned i = 0; i < p->pairs; i++)
		json_array_append_new(pairs, vio_net_pair_stats(u->dev, i));
	json_object_set_new(into, "net", json_pack("{s:b, s:o}", "up", p->link->up, "pairs", pairs));
	json_object_set_new(into, "switch", json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
	    "in_frames", (json_int_t)c.in_frames, "in_bytes", (json_int_t)c.in_bytes, "out_frames", (json_int_t)c.out_frames,
	    "out_bytes", (json_int_t)c.out_bytes, "direct", (json_int_t)c.direct, "flooded", (json_int_t)c.flooded,
	    "lost", (json_int_t)c.lost, "limited", (json_int_t)c.limited, "strange_source", (json_int_t)c.strange_source,
	    "strange_vlan", (json_int_t)c.strange_vlan, "unlearned", (json_int_t)c.unlearned));
}

const struct vio_service vio_service_switch = {
	.type = &vio_dev_net,
	.program = "vio-switch",
	.capabilities = "{\"type\": \"net\"}",
	.options = {
		.usage = "vio switch --socket-path=PATH [options] --socket-path=PATH [options]...",
		.about = "Connects virtual machines with each other over vhost-user: each --socket-path is a port of a switch.",
		.common = vio_daemon_options, .common_count = VIO_OPT_COMMON,
		.own = options, .own_count = END - VIO_OPT_COMMON,
	},
	.poll_option = POLL_US, .always_option = POLL,
	.verbs = verbs, .stats = stats, .check = check, .open = open_switch, .close = close_switch,
};
