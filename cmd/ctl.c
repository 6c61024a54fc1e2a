/* vio ctl: tell a running daemon what to do, over its control socket. */
#include "client.h"
#include "daemon.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int vio_cmd_ctl(int argc, char **argv);

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
enum { FDS = 16 };

static const char usage[] =
	"Usage: vio ctl PATH [VERB [NAME=VALUE]...]\n"
	"Tells the daemon or machine that was started with --control=PATH what to do, and prints its answer as JSON.\n\n"
	"Without a verb it lists the verbs there are. device=N is the N-th device, counted from 0, or the one of this name; unless\n"
	"given it is the first one that has the verb.\n"
	"Files are opened here and handed over, so that the daemon need not be allowed to open them; Unix sockets likewise.\n"
	"\"events\" prints a line for each thing that happens, until it is interrupted.\n\n"
	"  vio ctl /run/d.ctl stats\n"
	"  vio ctl /run/d.ctl limit bytes=100M operations=5000\n";

/* tcp:HOST:PORT, connected; HOST may be [an IPv6 address]. */
static int connect_tcp(const char *address, char *why)
{
	const struct addrinfo want = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *all = NULL;
	char host[256];
	const char *at = address + 4, *colon = strrchr(at, ':');
	size_t n = colon ? (size_t)(colon - at) : 0;
	int fd = -1;

	if (!n || n >= sizeof host || !colon[1])
		return vio_refuse(why, "%.60s is no address: give tcp:HOST:PORT", address) - 1;
	bool brackets = at[0] == '[' && at[n - 1] == ']';
	snprintf(host, sizeof host, "%.*s", (int)(brackets ? n - 2 : n), at + brackets);
	int error = getaddrinfo(host, colon + 1, &want, &all);
	if (error)
		return vio_refuse(why, "there is no host %.200s: %s", host, gai_strerror(error)) - 1;
	for (const struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd < 0 || !connect(fd, a->ai_addr, a->ai_addrlen))
			continue;
		vio_refuse(why, "cannot connect to %.200s: %s; start what is to listen there first", address, strerror(errno));
		close(fd);
		fd = -1;
	}
	freeaddrinfo(all);
	return fd;
}

/* A descriptor for an argument of this kind, or -1. */
static int open_for(const char *kind, const char *path, char *why)
{
	if (!strcmp(kind, "listen"))
		return vio_socket_listen(&(struct vio_socket_options){ .path = path, .mode = 0600 }, why);
	if (!strcmp(kind, "connect") && !strncmp(path, "tcp:", 4))
		return connect_tcp(path, why);
	if (!strcmp(kind, "connect"))
		return vio_socket_connect(strncmp(path, "unix:", 5) ? path : path + 5, "start what is to listen there first", why);
	if (!strcmp(kind, "new")) {
		int made = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		return made >= 0 ? made : vio_refuse(why, "cannot make %s: %s", path, strerror(errno)) - 1;
	}
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EISDIR || errno == EPERM))
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		vio_refuse(why, "cannot open %s: %s", path, strerror(errno));
	return fd;
}

/* The type of the device that is meant, or NULL: none is named, or there is none. */
static const char *type_of(json_t *greeting, const char *device)
{
	json_t *names = json_object_get(greeting, "devices"), *types = json_object_get(greeting, "types");
	for (size_t i = 0; device && i < json_array_size(names); i++) {
		char number[24];
		snprintf(number, sizeof number, "%zu", i);
		if (!strcmp(device, number) || !strcmp(device, json_string_value(json_array_get(names, i))))
			return json_string_value(json_array_get(types, i));
	}
	return NULL;
}

/* Devices of different types may have verbs of one name. */
static json_t *find_verb(json_t *help, const char *name, const char *type)
{
	size_t i;
	json_t *v, *found = NULL;
	json_array_foreach(json_object_get(help, "verbs"), i, v) {
		const char *of = json_string_value(json_object_get(v, "of"));
		if (strcmp(json_string_value(json_object_get(v, "do")), name))
			continue;
		if (type && of && !strcmp(of, type))
			return v;
		if (!found)
			found = v;
	}
	return found;
}

static bool several_types(json_t *greeting)
{
	json_t *types = json_object_get(greeting, "types");
	for (size_t i = 1; i < json_array_size(types); i++)
		if (!json_equal(json_array_get(types, i), json_array_get(types, 0)))
			return true;
	return false;
}

/* The value of device=, or NULL. */
static const char *device_in(char **words, int n)
{
	for (int i = 0; i < n; i++)
		if (!strncmp(words[i], "device=", 7))
			return words[i] + 7;
	return NULL;
}

static json_t *value_of(const char *kind, const char *text)
{
	bool json = !strcmp(kind, "object") || !strcmp(kind, "list");
	json_t *v = json ? json_loads(text, 0, NULL) : json_string(text);
	return v ? v : json_string(text);	/* the daemon says what is wrong with it */
}

/* The descriptors go in the order of the declaration, whatever the order they were typed in. */
static bool open_files(json_t *verb, json_t *line, int *fds, unsigned *n, char *why)
{
	size_t i;
	json_t *a;
	json_array_foreach(json_object_get(verb, "args"), i, a) {
		const char *kind = json_string_value(json_object_get(a, "kind"));
		const char *value = json_string_value(json_object_get(line, json_string_value(json_object_get(a, "name"))));
		if (!value || (strcmp(kind, "file") && strcmp(kind, "new") && strcmp(kind, "listen") && strcmp(kind, "connect")) || *n == FDS)
			continue;
		int fd = open_for(kind, value, why);
		if (fd < 0)
			return false;
		fds[(*n)++] = fd;
	}
	return true;
}

static const char *kind_of(json_t *verb, const char *name)
{
	size_t i;
	json_t *a;
	json_array_foreach(json_object_get(verb, "args"), i, a)
		if (!strcmp(json_string_value(json_object_get(a, "name")), name))
			return json_string_value(json_object_get(a, "kind"));
	return "text";
}

static bool make_line(json_t *line, json_t *verb, char **words, int n, char *why)
{
	for (int i = 0; i < n; i++) {
		char *equals = strchr(words[i], '=');
		if (!equals || equals == words[i])
			return vio_refuse(why, "\"%.60s\" is not an argument: write NAME=VALUE", words[i]);
		*equals = 0;
		json_object_set_new(line, words[i], value_of(kind_of(verb, words[i]), equals + 1));
	}
	return true;
}

/* several: devices of several types, so that it matters whose a verb is */
static void list_verbs(json_t *help, bool several)
{
	size_t i, j;
	json_t *v, *a;
	json_array_foreach(json_object_get(help, "verbs"), i, v) {
		printf("%s", json_string_value(json_object_get(v, "do")));
		json_array_foreach(json_object_get(v, "args"), j, a) {
			bool optional = json_is_true(json_object_get(a, "optional"));
			printf(" %s%s=%s%s", optional ? "[" : "", json_string_value(json_object_get(a, "name")),
			    json_string_value(json_object_get(a, "kind")), optional ? "]" : "");
		}
		const char *of = json_string_value(json_object_get(v, "of"));
		printf(several && of ? "   (%s)" : "%s", several && of ? of : "");
		printf("\n    %s\n", json_string_value(json_object_get(v, "about")));
	}
}

static bool follow(struct client *c, char *why)
{
	json_t *line;
	while ((line = client_receive(c, why))) {
		if (json_object_get(line, "event")) {
			json_dumpf(line, stdout, JSON_COMPACT);
			putchar('\n');
			fflush(stdout);
		}
		json_decref(line);
	}
	return true;	/* the daemon has ended: there is nothing more to tell */
}

static bool tell(struct client *c, char **words, int n, char *why)
{
	int fds[FDS];
	unsigned opened = 0;
	json_t *line = json_pack("{s:s}", "do", "help"), *help = client_ask(c, line, NULL, 0, why), *answer = NULL;
	json_decref(line);
	if (!help)
		return false;
	if (!n) {
		list_verbs(help, several_types(c->greeting));
		json_decref(help);
		return true;
	}
	json_t *verb = find_verb(help, words[0], type_of(c->greeting, device_in(words + 1, n - 1)));
	line = json_pack("{s:s}", "do", words[0]);
	bool ok = verb ? make_line(line, verb, words + 1, n - 1, why) && open_files(verb, line, fds, &opened, why)
	    : vio_refuse(why, "this daemon has no verb %.40s: vio ctl PATH lists those it has", words[0]);
	if (ok)
		answer = client_ask(c, line, fds, opened, why);
	while (opened)
		close(fds[--opened]);
	json_decref(line);
	json_decref(help);
	if (!answer)
		return false;
	if (!strcmp(words[0], "events")) {
		ok = follow(c, why);
	} else if (json_object_size(answer)) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(answer);
	return ok;
}

int vio_cmd_ctl(int argc, char **argv)
{
	char why[VIO_WHY];
	struct client c;
	if (argc < 2 || !strcmp(argv[1], "--help")) {
		fputs(usage, argc < 2 ? stderr : stdout);
		return argc < 2 ? EXIT_USAGE : EXIT_OK;
	}
	if (!strncmp(argv[1], "--", 2)) {
		vio_say("vio ctl", "there is no option %.60s: vio ctl --help tells how it is used", argv[1]);
		return EXIT_USAGE;
	}
	bool ok = client_open(&c, argv[1], why);
	if (ok) {
		ok = tell(&c, argv + 2, argc - 2, why);
		client_close(&c);
	}
	if (!ok)
		vio_say("vio ctl", "%s", why);
	return ok ? EXIT_OK : EXIT_FAILED;
}
