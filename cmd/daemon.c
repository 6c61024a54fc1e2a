#include "control.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vio/host/log.h>
#include <vio/host/sandbox.h>

enum { WHY = 512, LOOPS = 64 };
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define ENDPOINT 1	/* the slot of --socket-path and --fd; services have their own from 2 on */

const struct vio_opt vio_daemon_options[VIO_OPT_COMMON] = {
	[VIO_OPT_SOCKET_PATH] = { "socket-path", "PATH", VIO_OPT_TEXT, VIO_OPT_PLACE, 1, 4095, .slot = ENDPOINT,
		.help = "Listen on a Unix socket that is made at PATH and removed at the end." },
	[VIO_OPT_FD] = { "fd", "N", VIO_OPT_NUMBER, VIO_OPT_PLACE, 3, 1 << 20, .slot = ENDPOINT,
		.help = "Use the inherited descriptor N: a Unix socket that listens, or that is connected to the front end." },
	[VIO_OPT_CONNECT] = { "connect", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE,
		.help = "The front end listens at --socket-path: connect to it, and end when it has gone." },
	[VIO_OPT_SOCKET_GROUP] = { "socket-group", "GROUP", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 255,
		.help = "Give the socket to this group (a name or a number)." },
	[VIO_OPT_SOCKET_MODE] = { "socket-mode", "OCTAL", VIO_OPT_OCTAL, VIO_OPT_DEVICE, 0, 0777,
		.help = "The socket's file mode; 0600, or with --socket-group 0660, unless given." },
	[VIO_OPT_IOMMU] = { "iommu", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE,
		.help = "Offer ACCESS_PLATFORM: the front end translates addresses by its IOMMU (QEMU: iommu_platform=on)." },
	[VIO_OPT_RING] = { "ring", "any|split", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "Offer packed and split rings (any, the default), or split ones alone (split)." },
	[VIO_OPT_ONCE] = { "once", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS,
		.help = "End when the first front end (of each device) has gone." },
	[VIO_OPT_CONTROL] = { "control", "PATH", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 4095,
		.help = "Listen on a Unix socket at PATH for orders and questions while it runs: vio ctl, vio top (docs/control.md)." },
	[VIO_OPT_SANDBOX] = { "sandbox", "on|none", VIO_OPT_CHOICE, VIO_OPT_PROCESS,
		.help = "Give up all privileges, files and unneeded system calls before serving (on, the default), or do not (none)." },
	[VIO_OPT_STOP_DEADLINE] = { "stop-deadline", "SECONDS", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 1, 86400, 30,
		.help = "How long to wait for requests in flight when a queue stops, before the connection is closed; 30." },
	[VIO_OPT_VERBOSE] = { "verbose", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS,
		.help = "Say what is served, and what this kernel lacks." },
	[VIO_OPT_PRINT_CAPABILITIES] = { "print-capabilities", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS,
		.help = "Print what this program can do as JSON, for management tools, and end." },
	[VIO_OPT_HELP] = { "help", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Print this text and end." },
	[VIO_OPT_VERSION] = { "version", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Print the version and end." },
};

struct vio_daemon {
	struct vio_process process;
	const struct vio_service *service;
	struct vio_args args;
	struct vio_unit *units;
	unsigned count;			/* of them; process.units only when all are open */
	unsigned stopped;		/* units */
	bool single;			/* end with the first front ends */
	struct vio_loop *loops[LOOPS];
	struct vio_thread *threads[LOOPS];	/* [0] is NULL: the home loop is the main thread's */
	unsigned loop_count;
	struct vio_watch signals;		/* signalfd; fd -1: none */
	struct vio_changes changes;
	struct vio_socket_file control_file;
	char *control_path;
	int status;
};

/* Not by itself: a front end without an IOMMU (user-mode Linux) would accept it all the same. */
struct vio_features vio_daemon_wire(const struct vio_arg *args)
{
	struct vio_features f = vio_vhost_features();

	if (args[VIO_OPT_IOMMU].given)
		vio_features_add(&f, VIO_F_ACCESS_PLATFORM);
	if (args[VIO_OPT_RING].number)
		vio_features_drop(&f, VIO_F_RING_PACKED);
	return f;
}

/* ---- Checks that touch nothing ---- */

static bool refuse(char *why, const char *sentence)
{
	snprintf(why, WHY, "%s", sentence);
	return false;
}

static bool same_endpoint(const struct vio_arg *a, const struct vio_arg *b)
{
	if (a[VIO_OPT_FD].given)
		return b[VIO_OPT_FD].given && a[VIO_OPT_FD].number == b[VIO_OPT_FD].number;
	return b[VIO_OPT_SOCKET_PATH].given && !strcmp(a[VIO_OPT_SOCKET_PATH].text, b[VIO_OPT_SOCKET_PATH].text);
}

static bool check_endpoint(const struct vio_arg *a, char *why)
{
	bool path = a[VIO_OPT_SOCKET_PATH].given;
	if (!path && !a[VIO_OPT_FD].given)
		return refuse(why, "it is not said where the front end connects: add --socket-path=PATH or --fd=N");
	if (a[VIO_OPT_CONNECT].given && !path)
		return refuse(why, "--connect needs --socket-path: a descriptor shows by itself whether it is connected");
	if ((a[VIO_OPT_SOCKET_GROUP].given || a[VIO_OPT_SOCKET_MODE].given) && (!path || a[VIO_OPT_CONNECT].given))
		return refuse(why, "--socket-group and --socket-mode are for a socket that is made here: leave them out");
	return true;
}

static bool check(const struct vio_daemon *d, char *why)
{
	if (!d->args.devices)
		return refuse(why, "it is not said where the front end connects: add --socket-path=PATH or --fd=N");
	for (unsigned i = 0; i < d->args.devices; i++) {
		const struct vio_arg *a = d->args.device[i];
		if (!check_endpoint(a, why) || (d->service->check && !d->service->check(a, why)))
			return false;
		for (unsigned j = 0; j < i; j++)
			if (same_endpoint(a, d->args.device[j]))
				return refuse(why, "two devices have the same --socket-path or --fd: give each its own");
	}
	return true;
}

/* ---- The end ---- */

static void after_stop(struct vio_daemon *d)
{
	if (++d->stopped == d->count)
		vio_loop_quit(d->loops[0]);
}

static void flushed(struct vio_unit *u, int error)
{
	struct vio_daemon *d = u->process->arg;
	if (error) {
		vio_say(u->name, "could not write everything to stable storage: %s; what was written last may be lost",
		    strerror(error));
		d->status = EXIT_FAILED;
	}
	u->state = VIO_UNIT_STOPPED;
	after_stop(d);
}

static void vhost_stopped(void *arg)
{
	vio_unit_flush(arg, flushed);
}

static void stop_unit(void *arg)
{
	struct vio_unit *u = arg;
	if (u->state != VIO_UNIT_SERVING)
		return;
	u->state = VIO_UNIT_STOPPING;
	control_undrain(u);
	vio_dev_hold(u->dev, false);	/* what is in flight ends all the same */
	vio_vhost_stop(u->vhost, vhost_stopped, u);
}

/* Not from here: vhost-user is still in the middle of its own work. */
static void front_end_gone(void *arg)
{
	struct vio_unit *u = arg;
	vio_loop_task(u->loop, &u->stop);
}

static void quit(struct vio_process *p)
{
	struct vio_daemon *d = p->arg;
	for (unsigned i = 0; i < d->count; i++)
		vio_loop_task(d->units[i].loop, &d->units[i].stop);
}

/* What became of a front end: for the log, and for whoever listens at the control socket. */
static void on_news(void *arg, enum vio_vhost_news news)
{
	static const char *const event[] = { "connected", "features", "broken", "disconnected" };
	static const char *const words[] = { "a front end has connected", "the driver has chosen its features", NULL,
		"the front end has gone" };
	struct vio_unit *u = arg;
	if (words[news] && vio_log_level() == VIO_LOG_VERBOSE)
		vio_say(u->name, "%s", words[news]);
	vio_control_event(u, event[news], NULL);
}

static void on_signal(struct vio_watch *w, uint32_t events)
{
	(void)events;
	struct vio_daemon *d = w->arg;
	struct signalfd_siginfo info;
	while (read(w->fd, &info, sizeof info) == sizeof info)
		for (unsigned i = 0; i < d->count; i++) {
			if (info.ssi_signo != SIGHUP)
				stop_unit(&d->units[i]);
			else if (d->service->refresh)
				d->service->refresh(&d->units[i]);
		}
}

/* ---- The process ---- */

static bool watch(struct vio_daemon *d, struct vio_watch *w, int fd, void (*ready)(struct vio_watch *, uint32_t), char *why)
{
	*w = (struct vio_watch){ .fd = fd, .events = EPOLLIN, .ready = ready, .arg = d };
	if (fd >= 0 && vio_loop_watch(d->loops[0], w))
		return true;
	snprintf(why, WHY, "cannot watch a descriptor: %s; raise the limit of open files (ulimit -n)", strerror(errno));
	return false;
}

static bool start_loops(struct vio_daemon *d, char *why)
{
	const struct vio_service *s = d->service;
	d->loop_count = s->threads_option ? (unsigned)d->args.common[s->threads_option].number : 1;
	uint64_t poll_ns = s->poll_option ? d->args.common[s->poll_option].number * 1000 : 0;
	if (s->always_option && d->args.common[s->always_option].given)
		poll_ns = UINT64_MAX;
	for (unsigned i = 0; i < d->loop_count; i++) {
		d->threads[i] = i ? vio_thread_start("vio-queues") : NULL;
		d->loops[i] = d->threads[i] ? vio_thread_loop(d->threads[i]) : i ? NULL : vio_loop_new();
		if (!d->loops[i]) {
			snprintf(why, WHY, "cannot start %u threads: %s; give a smaller --threads", d->loop_count, strerror(errno));
			d->loop_count = i;
			return false;
		}
		vio_loop_poll_time(d->loops[i], poll_ns);
	}
	return true;
}

static bool set_up_process(struct vio_daemon *d, char *why)
{
	sigset_t set;

	if (!vio_process_begin(&set, why) || !start_loops(d, why))
		return false;
	d->process.loop = d->loops[0];
	return watch(d, &d->signals, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), on_signal, why);
}

/* ---- The devices ---- */

static char *unit_name(const struct vio_daemon *d, const struct vio_arg *a)
{
	char *name;
	int n;
	if (d->args.devices == 1)
		return strdup(d->service->program);
	if (a[VIO_OPT_FD].given)
		n = asprintf(&name, "%s: descriptor %s", d->service->program, a[VIO_OPT_FD].text);
	else
		n = asprintf(&name, "%s: %s", d->service->program, a[VIO_OPT_SOCKET_PATH].text);
	return n < 0 ? NULL : name;
}

static bool find_group(const char *text, gid_t *group, char *why)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	if (*text >= '0' && *text <= '9' && !*end && n < (gid_t)-1) {
		*group = (gid_t)n;
		return true;
	}
	const struct group *g = getgrnam(text);
	if (!g) {
		snprintf(why, WHY, "there is no group %s: give --socket-group one that there is", text);
		return false;
	}
	*group = g->gr_gid;
	return true;
}

/* A descriptor of the folder path lies in that an earlier unit has opened, or -1. */
static int known_folder(const struct vio_daemon *d, const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) + 1 : 0;
	for (unsigned i = 0; i < d->count; i++) {
		const struct vio_unit *u = &d->units[i];
		if (u->socket.dir < 0)
			continue;
		const char *other = u->args[VIO_OPT_SOCKET_PATH].text;
		if ((size_t)(u->socket.name - other) == n && !memcmp(other, path, n))
			return u->socket.dir;
	}
	return -1;
}

static int listen_at(struct vio_daemon *d, struct vio_unit *u, char *why)
{
	const struct vio_arg *a = u->args;
	struct vio_socket_options o = { .path = a[VIO_OPT_SOCKET_PATH].text, .has_group = a[VIO_OPT_SOCKET_GROUP].given };
	if (o.has_group && !find_group(a[VIO_OPT_SOCKET_GROUP].text, &o.group, why))
		return -1;
	o.mode = a[VIO_OPT_SOCKET_MODE].given ? (mode_t)a[VIO_OPT_SOCKET_MODE].number : o.has_group ? 0660 : 0600;
	int fd = vio_socket_listen(&o, why);
	if (fd >= 0 && !vio_socket_file(&u->socket, o.path, known_folder(d, o.path), why)) {
		close(fd);
		unlink(o.path);
		fd = -1;
	}
	return fd;
}

/* The socket, and vhost-user on it. */
static bool serve_unit(struct vio_daemon *d, struct vio_unit *u, char *why)
{
	const struct vio_arg *a = u->args;
	struct vio_vhost_options o = {
		.dev = u->dev, .listen_fd = -1, .connected_fd = -1, .once = d->args.common[VIO_OPT_ONCE].given,
		.loops = d->loops, .loop_count = d->loop_count,
		.stop_deadline_ns = u->stop_deadline_ns, .ended = front_end_gone, .news = on_news, .arg = u, .name = u->name
	};
	if (a[VIO_OPT_FD].given) {
		int fd = (int)a[VIO_OPT_FD].number;
		bool connected;
		if (!vio_socket_inherited(fd, &connected, why))
			return false;
		*(connected ? &o.connected_fd : &o.listen_fd) = fd;
	} else if (a[VIO_OPT_CONNECT].given) {
		o.connected_fd = vio_socket_connect(a[VIO_OPT_SOCKET_PATH].text,
		    "start the front end first, or leave out --connect", why);
	} else {
		o.listen_fd = listen_at(d, u, why);
	}
	if (o.listen_fd < 0 && o.connected_fd < 0)
		return false;
	u->stop = (struct vio_task){ .fn = stop_unit, .arg = u };
	u->vhost = vio_vhost_serve(&o, why);
	if (u->vhost)
		u->state = VIO_UNIT_SERVING;
	return u->vhost != NULL;
}

static bool open_units(struct vio_daemon *d, char *why)
{
	d->units = calloc(d->args.devices, sizeof *d->units);
	d->process.unit = calloc(d->args.devices, sizeof *d->process.unit);
	if (!d->units || !d->process.unit)
		return refuse(why, "there is no memory for so many devices: serve fewer from one process");
	for (unsigned i = 0; i < d->args.devices; i++)
		d->units[i] = (struct vio_unit){ .service = d->service, .args = d->args.device[i], .name = unit_name(d, d->args.device[i]),
			.process = &d->process, .loop = d->loops[0], .socket.dir = -1,
			.stop_deadline_ns = d->args.common[VIO_OPT_STOP_DEADLINE].number * 1000000000 };
	d->count = d->args.devices;
	/* Images are locked before any socket is made. */
	for (unsigned i = 0; i < d->count; i++)
		if (!vio_unit_open(&d->units[i], d->loops, d->loop_count, why))
			return false;
	for (unsigned i = 0; i < d->count; i++)
		if (!serve_unit(d, &d->units[i], why))
			return false;
	for (unsigned i = 0; i < d->count; i++)
		d->process.unit[i] = &d->units[i];
	d->process.units = d->count;
	return true;
}

static void close_unit(struct vio_unit *u)
{
	if (u->vhost)
		vio_vhost_free(u->vhost);
	vio_unit_close(u);
	int error = vio_socket_remove(&u->socket);
	if (error)	/* such as root's daemon, which is not almighty any more, in somebody else's folder */
		vio_say(u->name, "cannot remove the socket %s: %s; remove it yourself, or choose a folder that this user may write",
		    u->socket.name, strerror(error));
	free(u->name);
}

static void close_control(struct vio_daemon *d)
{
	if (!d->process.control)
		return;
	vio_control_close(d->process.control);
	d->process.control = NULL;
	int error = vio_socket_remove(&d->control_file);
	if (error)
		vio_say(d->service->program, "cannot remove the socket %s: %s; remove it yourself", d->control_path, strerror(error));
}

static void tear_down(struct vio_daemon *d)
{
	close_control(d);
	free(d->control_path);
	for (unsigned i = 0; i < d->count; i++)
		close_unit(&d->units[i]);
	free(d->units);
	free(d->process.unit);
	for (unsigned i = 1; i < d->loop_count; i++)
		vio_thread_stop(d->threads[i]);
	if (d->loop_count)
		vio_loop_free(d->loops[0]);
	vio_opt_free(&d->args);
}

/* ---- Confinement ---- */

static bool confine(struct vio_daemon *d, char *why)
{
	const char *lacks = NULL;
	enum { GRANTED = 32 };		/* folders a unit may need beside its socket's */
	struct vio_sandbox_options o = { .room = d->count * (1 + GRANTED) + 1 };
	o.folder = calloc(o.room, sizeof *o.folder);
	if (!o.folder)
		return refuse(why, "there is no memory for so many devices: serve fewer from one process");
	for (unsigned i = 0; i < d->count; i++) {
		if (d->units[i].socket.dir >= 0)
			vio_sandbox_folder(&o, d->units[i].socket.dir, VIO_FOLDER_REMOVE);
		vio_unit_grant(&d->units[i], &o);
	}
	if (d->process.control)
		vio_sandbox_folder(&o, d->control_file.dir, VIO_FOLDER_REMOVE);
	bool ok = vio_sandbox_enter(&o, &lacks, why);
	free(o.folder);
	if (ok && lacks && d->args.common[VIO_OPT_VERBOSE].given)
		vio_say(d->service->program, "%s", lacks);
	return ok;
}

/* ---- The life ---- */

/* Something failed when some units served already. */
static void abandon(struct vio_daemon *d)
{
	bool any = false;
	for (unsigned i = 0; i < d->count; i++)
		if (d->units[i].state == VIO_UNIT_SERVING)
			any = true;
		else
			d->stopped++;
	for (unsigned i = 0; i < d->count; i++)
		stop_unit(&d->units[i]);
	if (any)
		vio_loop_run(d->loops[0]);
}

static bool open_control(struct vio_daemon *d, char *why)
{
	const struct vio_arg *a = &d->args.common[VIO_OPT_CONTROL];
	if (!a->given)
		return true;
	d->control_path = strdup(a->text);
	if (!d->control_path)
		return refuse(why, "there is no memory for a control socket");
	d->process.control = vio_control_open(&d->process, d->control_path, &d->control_file, why);
	return d->process.control != NULL;
}

static bool begin(struct vio_daemon *d, char *why)
{
	bool verbose = d->args.common[VIO_OPT_VERBOSE].given;
	if (verbose)
		vio_log_set(VIO_LOG_VERBOSE);
	if (!set_up_process(d, why) || !open_units(d, why) || !open_control(d, why) || !vio_notify_open(why))
		return false;
	vio_changes_open(&d->changes, d->loops[0], d->process.unit, d->count, verbose);
	if (d->args.common[VIO_OPT_SANDBOX].number)
		vio_say(d->service->program, "WARNING: --sandbox=none: whoever takes this process over has all of its user's rights");
	else if (!confine(d, why))
		return false;
	for (unsigned i = 0; verbose && i < d->count; i++)
		vio_say(d->units[i].name, "serving");
	for (unsigned i = 0; i < d->count; i++)
		d->units[i].args = NULL;
	vio_opt_free(&d->args);
	vio_notify_ready();
	return true;
}

int vio_daemon(const struct vio_service *s, int argc, char **argv)
{
	char why[WHY];
	struct vio_daemon d = { .service = s, .signals.fd = -1, .status = EXIT_OK,
		.process = { .program = s->program, .type = s->type->name, .quit = quit, .arg = &d } };

	if (!vio_opt_parse(&s->options, argc, argv, &d.args, why)) {
		vio_say(s->program, "%s", why);
		vio_opt_free(&d.args);
		return EXIT_USAGE;
	}
	if (d.args.common[VIO_OPT_HELP].given) {
		vio_opt_help(&s->options);
	} else if (d.args.common[VIO_OPT_VERSION].given) {
		printf("%s %s\n", s->program, VIO_VERSION);
	} else if (d.args.common[VIO_OPT_PRINT_CAPABILITIES].given) {
		printf("%s\n", s->capabilities);
	} else if (!check(&d, why)) {
		vio_say(s->program, "%s", why);
		d.status = EXIT_USAGE;
	} else if (begin(&d, why)) {
		vio_loop_run(d.loops[0]);
	} else {
		vio_say(s->program, "%s", why);
		d.status = EXIT_FAILED;
		abandon(&d);
	}
	tear_down(&d);
	return d.status;
}
