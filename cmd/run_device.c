/* A device of `vio run` as it is given: the words of its option as the command line of its daemon. */
#include "run_words.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/host/why.h>
#include <vio/device/fs.h>

enum { PARTS = 64, SAID = 60 };
enum { FIXED = 3, MORE = 3 };	/* words of the daemon's command line before the device's, "vio blk --fd=N", and behind them */

/* What a device may be, and what its first word means. */
static const struct kind {
	const struct vio_service *service;
	const char *main;		/* the option that the first word is the value of, when it names none */
	const char *before, *after;	/* what then stands around it; such words may have a "=" */
} kinds[] = {
	{ &vio_service_blk, "blk-file" },
	{ &vio_service_scsi, "lun" },
	{ &vio_service_net, "backend" },
	{ &vio_service_fs, "shared-dir" },
	{ &vio_service_console, "port", "console,", ",console" },
	{ &vio_service_rng, "source" },
	{ &vio_service_balloon, "target" },
	{ &vio_service_input, "kind" },
	{ &vio_service_vsock, "guest-cid" },
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static const struct kind *find_kind(const char *type)
{
	for (unsigned i = 0; i < KINDS; i++)
		if (!strcmp(kinds[i].service->type->name, type))
			return &kinds[i];
	return NULL;
}

/* ---- Words that a device of a machine can't have ---- */

/* The machine's, and so said once, to it. */
static const struct { unsigned option; const char *remedy; } machines[] = {
	{ VIO_OPT_CONTROL, "the machine has one control socket for all: give --control=PATH beside the device" },
	{ VIO_OPT_SANDBOX, "confinement is the machine's affair: give --sandbox=on|none beside the device" },
	{ VIO_OPT_VERBOSE, "it is the machine's: give --verbose beside the device" },
	{ VIO_OPT_HELP, "vio DEVICE --help lists a device's options" },
};

static bool misplaced(const struct kind *k, unsigned option, bool isolate, char *why)
{
	const struct vio_service *s = k->service;
	const char *name = vio_opt_at(&s->options, option)->name;

	for (unsigned i = 0; i < sizeof machines / sizeof *machines; i++)
		if (option == machines[i].option)
			return !vio_refuse(why, "%s is not for one device: %s", name, machines[i].remedy);
	if (option < VIO_OPT_COMMON && option != VIO_OPT_RING)
		return !vio_refuse(why, "%s is for a daemon and its socket, which a machine's own device has not: leave it out", name);
	if (!isolate && (option == s->threads_option || option == s->poll_option || option == s->always_option))
		return !vio_refuse(why, "%s is for a daemon: leave it out, or add --isolate, which makes one of each device", name);
	if (s == &vio_service_vsock && !strcmp(name, "groups"))
		return !vio_refuse(why, "groups are for the guests of one daemon: serve this one by vio vsock and --vhost-user=vsock,socket=PATH");
	return false;
}

/* ---- Words ---- */

static bool looks_like_name(const char *s) { return *s && !s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-")]; }

/* Is the first word a value that stands for itself? */
static bool stands_alone(const struct kind *k, const struct vio_opt_part *p)
{
	if (vio_opt_find(&k->service->options, p->name, strlen(p->name)) >= 0)
		return false;
	return !p->value || k->before || !looks_like_name(p->name);
}

/* One word as an option of the daemon's, or NULL: no memory. */
static char *as_option(const struct kind *k, const struct vio_opt_part *p, bool alone)
{
	const char *before = alone && k->before ? k->before : "", *after = alone && k->after ? k->after : "";
	const char *value = p->value ? p->value : "", *equals = p->value ? "=" : "";
	char *word;
	int n = alone ? asprintf(&word, "--%s=%s%s%s%s%s", k->main, before, p->name, equals, value, after)
	    : asprintf(&word, "--%s%s%s", p->name, equals, value);

	return n < 0 ? NULL : word;
}

static bool no_memory(char *why) { return vio_refuse(why, "there is no memory for another device"); }

static bool take_words(struct run_device *d, const struct kind *k, char *text, bool isolate, char *why)
{
	struct vio_opt_part part[PARTS];
	unsigned n = *text ? vio_opt_parts(text, part, PARTS) : 0;

	if (n > PARTS)
		return vio_refuse(why, "it has more than %d words: a comma in a value is written twice", PARTS);
	d->argv = calloc(FIXED + n + MORE + 1, sizeof *d->argv);
	if (!d->argv)
		return no_memory(why);
	d->argv[0] = (char *)(uintptr_t)"vio";
	d->argv[1] = (char *)(uintptr_t)d->type;
	d->argv[2] = d->fd_word;	/* empty in a machine's own process */
	d->argc = FIXED;
	for (unsigned i = 0; i < n; i++) {
		bool alone = i == 0 && stands_alone(k, &part[i]);
		int option = vio_opt_find(&k->service->options, part[i].name, strlen(part[i].name));
		if (!*part[i].name)
			return vio_refuse(why, "there is a comma too many: a comma in a value is written twice");
		if (!alone && option >= 0 && misplaced(k, (unsigned)option, isolate, why))
			return false;
		if (!(d->argv[d->argc] = as_option(k, &part[i], alone)))
			return no_memory(why);
		d->argc++;
	}
	return true;
}

/* What the machine was told holds for the device as well. */
static bool add_machines(struct run_device *d, const struct run_words *w, char *why)
{
	struct vio_arg *a = d->args.device[0];

	a[VIO_OPT_CONTROL] = (struct vio_arg){ .text = w->control, .given = w->control };
	a[VIO_OPT_SANDBOX] = (struct vio_arg){ .text = "none", .number = w->no_sandbox, .given = w->no_sandbox };
	a[VIO_OPT_VERBOSE] = (struct vio_arg){ .text = "", .given = w->verbose };
	if (w->control && asprintf(&d->argv[d->argc++], "--control=%s.%s", w->control, d->name) < 0)
		return no_memory(why);
	if (w->no_sandbox && !(d->argv[d->argc++] = strdup("--sandbox=none")))
		return no_memory(why);
	if (w->verbose && !(d->argv[d->argc++] = strdup("--verbose")))
		return no_memory(why);
	return true;
}

static bool make_own(struct run_device *d, const struct run_words *w, const struct kind *k, const char *words, char *why)
{
	char *text = strdup(words);
	bool ok = text ? take_words(d, k, text, w->isolate, why) : no_memory(why);

	free(text);
	/* From the socket's place on: what stands there is not looked at. */
	ok = ok && vio_opt_parse_one(&k->service->options, d->argc - FIXED + 1, d->argv + FIXED - 1, &d->args, why);
	return ok && add_machines(d, w, why) && (!k->service->check || k->service->check(d->args.device[0], why));
}

/* ---- --vhost-user=TYPE,socket=S[,...] ---- */

static bool take_number(const struct vio_opt_part *p, unsigned most, bool power, unsigned *to, char *why)
{
	uint64_t n = 0;

	if (p->value && vio_opt_size(p->value, &n) && n && n <= most && !(power && n & (n - 1))) {
		*to = (unsigned)n;
		return true;
	}
	return vio_refuse(why, "%s=%.40s cannot be: give a %s from 1 to %u", p->name, p->value ? p->value : "", power ? "power of two" : "number",
	    most);
}

static bool take_far_word(struct run_device *d, const struct vio_opt_part *p, char *why)
{
	if (!strcmp(p->name, "socket") && p->value && *p->value)
		d->socket = p->value;
	else if (!strcmp(p->name, "tag") && p->value && *p->value && strlen(p->value) <= VIO_FS_TAG && !strcmp(d->type, "fs"))
		d->tag = p->value;
	else if (!strcmp(p->name, "num-queues"))
		return take_number(p, VIO_DEV_QUEUES, false, &d->queues, why);
	else if (!strcmp(p->name, "queue-size"))
		return take_number(p, 32768, true, &d->queue_size, why);
	else
		return vio_refuse(why, "%.40s says nothing here: there may be socket=PATH, num-queues=N, queue-size=N and, of fs, tag=NAME of at most "
		    "%d characters", p->name, VIO_FS_TAG);
	return true;
}

static bool make_far(struct run_device *d, const char *words, char *why)
{
	struct vio_opt_part part[PARTS];

	if (!(d->text = strdup(words)))
		return no_memory(why);
	unsigned n = vio_opt_parts(d->text, part, PARTS);
	const struct vio_dev_type *type = part[0].value ? NULL : vio_dev_type_named(part[0].name);
	if (!type)
		return vio_refuse(why, "it begins with what the device is, such as blk, net or fs: give --vhost-user=TYPE,socket=PATH");
	if (n > PARTS)
		return vio_refuse(why, "it has more than %d words: a comma in a value is written twice", PARTS);
	d->type = type->name;
	for (unsigned i = 1; i < n; i++)
		if (!take_far_word(d, &part[i], why))
			return false;
	if (!d->socket)
		return vio_refuse(why, "it is not said where the back end listens: add socket=PATH");
	return d->tag || strcmp(d->type, "fs") ||
	    vio_refuse(why, "a file system's name is told by the machine: add tag=NAME, by which the guest mounts it");
}

/* ---- A device ---- */

bool run_device_make(struct run_device *d, const struct run_words *w, const char *type, const char *words, unsigned number, char *why)
{
	const struct kind *k = find_kind(type);
	char reason[VIO_OPT_WHY - SAID - 40];

	*d = (struct run_device){ .type = k ? k->service->type->name : type, .service = k ? k->service : NULL };
	snprintf(d->name, sizeof d->name, "%.12s%u", type, number);
	if (k ? make_own(d, w, k, words, why) : make_far(d, words, why))
		return true;
	snprintf(reason, sizeof reason, "%s", why);
	vio_refuse(why, "--%s%s%.*s: %s", type, *words ? "=" : "", SAID, words, reason);
	run_device_free(d);
	return false;
}

void run_device_fd(struct run_device *d, int fd) { snprintf(d->fd_word, sizeof d->fd_word, "--fd=%d", fd); }

void run_device_move(struct run_device *to, struct run_device *from)
{
	*to = *from;
	if (to->argv)
		to->argv[2] = to->fd_word;
	*from = (struct run_device){ .service = NULL };
}

void run_device_free(struct run_device *d)
{
	vio_opt_free(&d->args);
	for (int i = FIXED; i < d->argc; i++)
		free(d->argv[i]);
	free(d->argv);
	free(d->text);
	*d = (struct run_device){ .service = NULL };
}

static bool port_takes_stdio(const char *words)
{
	struct vio_opt_part part[PARTS];
	char *text = strdup(words);
	bool takes = text && vio_opt_parts(text, part, PARTS) > 1 && !strcmp(part[1].name, "stdio");

	free(text);
	return takes;
}

bool run_device_takes_stdio(const struct run_device *d)
{
	if (d->service != &vio_service_console)
		return false;
	int place = vio_opt_find(&d->service->options, "port", 4);
	const struct vio_arg *a = &d->args.device[0][place];
	bool takes = !a->given;		/* one console, there */
	for (const struct vio_opt_word *p = a->words; p; p = p->next)
		takes |= port_takes_stdio(p->text);
	return takes;
}
