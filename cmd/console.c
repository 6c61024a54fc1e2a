/* vio console: consoles and other ports of bytes over vhost-user. */
#include "control.h"
#include <asm/termbits.h>
#include <asm/ioctls.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <vio/device/console.h>
#include <vio/host/stream.h>
#include <vio/host/why.h>

enum { PORT = VIO_OPT_COMMON, MAX_PORTS, ROWS_FIRST, END };
enum { PARTS = 5, SPARE = 4 };	/* ports that may be added at run time, unless --max-ports says otherwise */

static const struct vio_opt options[END - VIO_OPT_COMMON] = {
	[PORT - VIO_OPT_COMMON] = { "port", "NAME,END[,console][,lossy]", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 4095, .many = true,
		.help = "A port, and what is at its other end: stdio, pty[=LINK], socket=PATH[,server], file=PATH or pipe=PATH; "
			"may be given many times.  Unless given: console,stdio,console." },
	[MAX_PORTS - VIO_OPT_COMMON] = { "max-ports", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, VIO_CONSOLE_PORTS,
		.help = "How many ports there may be at the same time; 4 more than are given, unless given." },
	[ROWS_FIRST - VIO_OPT_COMMON] = { "rows-first", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE,
		.help = "Tell a new size of the window with rows before columns, as older Linux kernels expect it; the specification has columns first." },
};

/* ---- A port as the command line gives it ---- */

enum end { STDIO, PTY, SOCKET, FILE_END, PIPE, ENDS };

struct spec {
	char *text;			/* what the rest points into */
	const char *name, *path;
	enum end end;
	bool server, console, lossy;
};

static const struct { const char *word; bool path, needs_path; } ends[ENDS] = {
	[STDIO] = { "stdio", false, false }, [PTY] = { "pty", true, false }, [SOCKET] = { "socket", true, true },
	[FILE_END] = { "file", true, true }, [PIPE] = { "pipe", true, true },
};

static bool parse_end(struct spec *s, const struct vio_opt_part *p, char *why)
{
	for (unsigned i = 0; i < ENDS; i++) {
		if (strcmp(ends[i].word, p->name))
			continue;
		if ((!p->value && ends[i].needs_path) || (p->value && (!ends[i].path || !*p->value)))
			return vio_refuse(why, ends[i].path ? "--port=%s: %s needs a path: %s=PATH" : "--port=%s: %s takes no value", s->name,
			    p->name, p->name);
		s->end = (enum end)i;
		s->path = p->value;
		return true;
	}
	return vio_refuse(why, "--port=%s,%s: there is no such end: give stdio, pty, socket=PATH, file=PATH or pipe=PATH", s->name, p->name);
}

/* s->text is a copy that may be cut up. */
static bool parse(struct spec *s, char *why)
{
	struct vio_opt_part part[PARTS];
	unsigned n = vio_opt_parts(s->text, part, PARTS);

	s->name = part[0].name;
	if (part[0].value || !*s->name)
		return vio_refuse(why, "--port begins with a name: give --port=NAME,END, such as --port=log,file=guest.log");
	if (strlen(s->name) > VIO_CONSOLE_NAME)
		return vio_refuse(why, "--port: a name has at most %d bytes", VIO_CONSOLE_NAME);
	if (n < 2)
		return vio_refuse(why, "--port=%s does not say what is at the other end: add stdio, pty, socket=PATH, file=PATH or pipe=PATH",
		    s->name);
	if (!parse_end(s, &part[1], why))
		return false;
	for (unsigned i = 2; i < n && i < PARTS; i++) {
		bool *flag = !strcmp(part[i].name, "console") ? &s->console : !strcmp(part[i].name, "lossy") ? &s->lossy :
		    !strcmp(part[i].name, "server") && s->end == SOCKET ? &s->server : NULL;
		if (!flag || part[i].value || *flag)
			return vio_refuse(why, "--port=%s: there is no \"%s\" here: after the end there may be console, lossy and, with a socket, server",
			    s->name, part[i].name);
		*flag = true;
	}
	return n <= PARTS || vio_refuse(why, "--port=%s has too many parts: a comma in a path is written twice", s->name);
}

/* All ports of a device: how many, or -1 and why. */
static int parse_all(const struct vio_arg *a, struct spec *specs, char *why)
{
	static const struct vio_opt_word preset = { .text = "console,stdio,console" };
	int count = 0, stdios = 0;

	for (const struct vio_opt_word *w = a[PORT].words ? a[PORT].words : &preset; w; w = w->next) {
		struct spec *s = &specs[count];
		if (count == VIO_CONSOLE_PORTS)
			return vio_refuse(why, "there are more than %d ports: give fewer, or another device", VIO_CONSOLE_PORTS) - 1;
		*s = (struct spec){ .text = strdup(w->text) };
		count++;
		if (!s->text)
			return vio_refuse(why, "there is no memory for another port") - 1;
		if (!parse(s, why))
			return -1;
		stdios += s->end == STDIO;
		for (int i = 0; i < count - 1; i++)
			if (!strcmp(specs[i].name, s->name))
				return vio_refuse(why, "two ports have the name %s: give each its own", s->name) - 1;
	}
	if (stdios > 1)
		return vio_refuse(why, "two ports have stdio at the other end: there is one standard input") - 1;
	if (a[MAX_PORTS].given && (unsigned)count > a[MAX_PORTS].number)
		return vio_refuse(why, "there are more ports than --max-ports=%u: raise it", (unsigned)a[MAX_PORTS].number) - 1;
	return count;
}

static void free_all(struct spec *specs)
{
	for (unsigned i = 0; i < VIO_CONSOLE_PORTS; i++)
		free(specs[i].text);
}

static bool check(const struct vio_arg *a, char *why)
{
	struct spec specs[VIO_CONSOLE_PORTS] = { { 0 } };
	int count = parse_all(a, specs, why);

	free_all(specs);
	return count >= 0;
}

/* ---- The device ---- */

struct console_unit { struct vio_stream *stream[VIO_CONSOLE_PORTS]; };

static bool stdio_taken;

static void quit(void *arg)
{
	struct vio_unit *u = arg;

	vio_process_quit(u->process);
}

static struct vio_stream *open_end(struct vio_unit *u, const struct spec *s, struct vio_loop *l, char *why)
{
	switch (s->end) {
	case STDIO:
		if (stdio_taken) {
			vio_refuse(why, "two devices have stdio at the other end of a port: there is one standard input");
			return NULL;
		}
		stdio_taken = true;
		return (u->process->prefixed ? vio_stream_stdio_prefixed : vio_stream_stdio)(l, quit, u, why);
	case PTY:
		return vio_stream_pty(l, s->path, why);
	case SOCKET:
		return s->server ? vio_stream_listen(l, s->path, why) : vio_stream_connect(l, s->path, why);
	case FILE_END:
		return vio_stream_file(l, s->path, why);
	default:
		return vio_stream_pipe(l, s->path, why);
	}
}

static void close_console(struct vio_unit *u)
{
	struct console_unit *c = u->backend;

	for (unsigned i = 0; c && i < VIO_CONSOLE_PORTS; i++)
		vio_stream_close(c->stream[i]);
	free(c);
}

static bool open_ports(struct vio_unit *u, struct spec *specs, struct vio_loop *l, char *why)
{
	struct vio_console_port port[VIO_CONSOLE_PORTS];
	struct console_unit *c = u->backend;
	int count = parse_all(u->args, specs, why);

	for (int i = 0; i < count; i++) {
		c->stream[i] = open_end(u, &specs[i], l, why);
		if (!c->stream[i])
			return false;
		port[i] = (struct vio_console_port){ .stream = c->stream[i], .name = specs[i].name, .console = specs[i].console,
			.lossy = specs[i].lossy };
		if (specs[i].end == PTY)
			vio_say(u->name, "port %s is %s", specs[i].name, vio_stream_where(c->stream[i]));
	}
	if (count < 0)
		return false;
	unsigned spare = (unsigned)count + SPARE < VIO_CONSOLE_PORTS ? (unsigned)count + SPARE : VIO_CONSOLE_PORTS;
	struct vio_console_options o = { .ports = port, .count = (unsigned)count, .rows_first = u->args[ROWS_FIRST].given,
		.max_ports = u->args[MAX_PORTS].given ? (unsigned)u->args[MAX_PORTS].number : spare };
	const char *refused = vio_dev_open(u->dev, &vio_dev_console, &o, &vio_vhost_port, NULL, vio_daemon_wire(u->args));
	return !refused || vio_refuse(why, "cannot make a console device: %s", refused);
}

static bool open_console(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	struct spec specs[VIO_CONSOLE_PORTS] = { { 0 } };

	(void)loop_count;	/* all queues are the home loop's */
	u->backend = calloc(1, sizeof(struct console_unit));
	bool ok = u->backend ? open_ports(u, specs, loops[0], why) : vio_refuse(why, "there is no memory for another device");
	free_all(specs);
	if (!ok) {
		close_console(u);
		u->backend = NULL;
	}
	return ok;
}

/* ---- While it runs: ports come and go ---- */

static bool no_port(const char *name, char *why)
{
	return vio_refuse(why, "there is no port %s: \"ports\" tells which there are", name);
}

/* The number of the port of that name, or -1. */
static int find(const struct vio_unit *u, const char *name)
{
	struct vio_console_view v;

	for (unsigned i = 0; i < VIO_CONSOLE_PORTS; i++)
		if (vio_dev_console_view(u->dev, i, &v) && !strcmp(v.name, name))
			return (int)i;
	return -1;
}

/* The one descriptor that came, or -1 and why. */
static int the_end(struct vio_command *c, char *why)
{
	static const char *const kinds[] = { "file", "listen", "connect" };
	int fd = -1, count = 0;

	for (unsigned i = 0; i < 3; i++)
		count += vio_command_has(c, kinds[i]);
	if (count != 1)
		return vio_refuse(why, "a port has one other end: give file=PATH, listen=PATH or connect=PATH") - 1;
	for (unsigned i = 0; i < 3 && fd < 0; i++)
		fd = vio_command_fd(c, kinds[i]);
	return fd;
}

static bool add_port(struct vio_command *c, char *why)
{
	struct vio_unit *u = c->unit;
	struct console_unit *ports = u->backend;
	const char *refused;
	unsigned free = 0;
	int fd = the_end(c, why);
	struct vio_stream *s = fd < 0 ? NULL : vio_stream_fd(u->loop, fd, why);

	if (!s)
		return false;
	while (free < VIO_CONSOLE_PORTS && ports->stream[free])
		free++;
	struct vio_console_port port = { .stream = s, .name = vio_command_text(c, "name"), .console = vio_command_flag(c, "console"),
		.lossy = vio_command_flag(c, "lossy") };
	int number = vio_dev_console_add(u->dev, -1, &port, &refused);
	if (number < 0) {
		vio_stream_close(s);
		return vio_refuse(why, "%s", refused);
	}
	ports->stream[free] = s;	/* never more streams than ports */
	json_object_set_new(c->answer, "port", json_integer(number));
	return true;
}

static bool remove_port(struct vio_command *c, char *why)
{
	struct console_unit *ports = c->unit->backend;
	const char *name = vio_command_text(c, "name");
	struct vio_console_view v;
	int number = find(c->unit, name);

	if (number < 0)
		return no_port(name, why);
	vio_dev_console_view(c->unit->dev, (unsigned)number, &v);
	vio_dev_console_remove(c->unit->dev, (unsigned)number);
	for (unsigned i = 0; i < VIO_CONSOLE_PORTS; i++)
		if (ports->stream[i] == v.stream)
			ports->stream[i] = NULL;
	vio_stream_close(v.stream);
	return true;
}

static bool resize(struct vio_command *c, char *why)
{
	const char *name = vio_command_text(c, "name");
	uint64_t columns = vio_command_number(c, "columns", 0), rows = vio_command_number(c, "rows", 0);
	struct vio_console_view v;
	int number = find(c->unit, name);

	if (number < 0)
		return no_port(name, why);
	if (columns > UINT16_MAX || rows > UINT16_MAX)
		return vio_refuse(why, "a window has at most 65535 columns and rows");
	vio_dev_console_view(c->unit->dev, (unsigned)number, &v);
	vio_stream_resize(v.stream, (uint16_t)columns, (uint16_t)rows);
	return true;
}

static void stats(struct vio_unit *u, json_t *into)
{
	json_t *list = json_array();
	struct vio_console_view v;

	for (unsigned i = 0; i < VIO_CONSOLE_PORTS; i++)
		if (vio_dev_console_view(u->dev, i, &v))
			json_array_append_new(list, json_pack("{s:i, s:s, s:b, s:s, s:b, s:b, s:b, s:b, s:i, s:i, s:I, s:I, s:I}", "port", i, "name", v.name,
			    "console", v.console, "end", vio_stream_where(v.stream), "announced", v.added, "ready", v.ready, "guest_open",
			    v.guest_open, "host_open", v.stream->open, "columns", v.stream->columns, "rows", v.stream->rows, "bytes_to_guest",
			    (json_int_t)v.to_guest, "bytes_from_guest", (json_int_t)v.from_guest, "bytes_dropped", (json_int_t)v.dropped));
	json_object_set_new(into, "ports", list);
}

static bool list_ports(struct vio_command *c, char *why)
{
	(void)why;
	stats(c->unit, c->answer);
	return true;
}

static const struct vio_verb verbs[] = {
	{ "ports", "", "Tells which ports there are, who has them open, and what went through them.", false, list_ports },
	{ "add-port", "name:text [file:file] [listen:listen] [connect:connect] [console:bool] [lossy:bool]",
		"Plugs a port in, with a file, pipe or terminal, a socket to listen on or a connected one at its other end.", false, add_port },
	{ "remove-port", "name:text", "Unplugs a port and closes its other end.", false, remove_port },
	{ "resize", "name:text columns:number rows:number", "Tells the guest a size of the window, for an end that has none itself.", false,
		resize },
	{ NULL, NULL, NULL, false, NULL },
};

/* ---- Confinement ---- */

static const struct vio_sandbox_call calls[] = {
	/* sizes of windows; a terminal is put back as it was; what is handed over is looked at */
	{ SYS_ioctl, VIO_CALL_ONE, 1, TIOCGWINSZ, 0 }, { SYS_ioctl, VIO_CALL_ONE, 1, TCSETS, 0 }, { SYS_ioctl, VIO_CALL_ONE, 1, TCGETS, 0 },
	{ SYS_getsockopt, VIO_CALL_ONE, 2, SO_TYPE, 0 }, { SYS_getsockopt, VIO_CALL_ONE, 2, SO_ACCEPTCONN, 0 },
	{ .call = -1 }
};

static const struct vio_sandbox_call connecting[] = {
	{ SYS_socket, VIO_CALL_ONE, 0, AF_UNIX, 0 }, { SYS_connect, VIO_CALL_ANY, 0, 0, 0 },
	{ .call = -1 }
};

static void grant(struct vio_unit *u, struct vio_sandbox_options *o)
{
	struct console_unit *c = u->backend;

	for (unsigned i = 0; i < VIO_CONSOLE_PORTS && c->stream[i]; i++) {
		int folder = vio_stream_made(c->stream[i]);
		if (folder >= 0)
			vio_sandbox_folder(o, folder, VIO_FOLDER_REMOVE);
		if (vio_stream_reconnects(c->stream[i]))
			vio_sandbox_calls(o, connecting);
	}
}

const struct vio_service vio_service_console = {
	.type = &vio_dev_console,
	.program = "vio-console",
	.capabilities = "{\"type\": \"console\"}",
	.options = {
		.usage = "vio console --socket-path=PATH [--port=NAME,END]... [options]",
		.about = "Serves consoles and other ports of bytes to virtual machines over vhost-user.",
		.common = vio_daemon_options, .common_count = VIO_OPT_COMMON,
		.own = options, .own_count = END - VIO_OPT_COMMON,
	},
	.check = check, .open = open_console, .close = close_console, .calls = calls, .grant = grant,
	.verbs = verbs, .stats = stats,
};
