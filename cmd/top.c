/*
 * vio top: the queues of running daemons, live.
 *
 * Asks each daemon for its statistics once a second and shows the differences.  The mean time of a request is the time that
 * requests were in flight divided by how many there were, which is exact over an interval (Little's law).
 */
#include "client.h"
#include "daemon.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

int vio_cmd_top(int argc, char **argv);

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
enum { DAEMONS = 64, INTERVAL_MS = 1000 };

static const char usage[] =
	"Usage: vio top [--once] PATH...\n"
	"Shows the queues of the daemons that were started with --control=PATH: requests, bytes, depth, mean time, notifications,\n"
	"refusals, each second. q ends it. --once prints one second's figures and ends.\n";

struct sight {			/* one device at one moment */
	json_t *stats;
	uint64_t now;
};
/* A daemon or machine, and its devices a moment ago; those of a machine come and go. */
struct seen { struct client client; const char *path; unsigned devices; struct sight *before; bool gone; };

static uint64_t number(json_t *o, const char *name) { return (uint64_t)json_integer_value(json_object_get(o, name)); }

static json_t *ask_stats(struct client *c, unsigned device, char *why)
{
	json_t *line = json_pack("{s:s, s:i}", "do", "stats", "device", (int)device), *answer = client_ask(c, line, NULL, 0, why);
	json_decref(line);
	return answer;
}

/* How many devices there are now; -1: nobody is there any more. */
static int ask_devices(struct client *c, char *why)
{
	json_t *line = json_pack("{s:s}", "do", "devices"), *answer = client_ask(c, line, NULL, 0, why);
	int n = answer ? (int)json_array_size(json_object_get(answer, "devices")) : -1;
	json_decref(line);
	json_decref(answer);
	return n;
}

/* 12345678 as "12.3M" */
static const char *short_number(double n, char *to, size_t room)
{
	static const char units[] = " KMGT";
	unsigned u = 0;
	while (n >= 9999.5 && u < 4) {
		n /= 1000;
		u++;
	}
	if (u)
		snprintf(to, room, n < 100 ? "%.1f%c" : "%.0f%c", n, units[u]);
	else
		snprintf(to, room, "%.0f", n);
	return to;
}

static const char *short_time(double ns, char *to, size_t room)
{
	if (ns < 10000)
		snprintf(to, room, "%.0f ns", ns);
	else if (ns < 10e6)
		snprintf(to, room, "%.1f us", ns / 1e3);
	else
		snprintf(to, room, "%.1f ms", ns / 1e6);
	return to;
}

static void queue_line(json_t *now, json_t *before, double seconds, FILE *to)
{
	char t[8][24];
	static const char *const names[] = { "requests", "bytes_from_guest", "bytes_to_guest", "kicks", "signals", "signals_suppressed" };
	double rate[6];
	uint64_t requests = number(now, "requests") - number(before, "requests");
	uint64_t time_ns = number(now, "time_ns") - number(before, "time_ns");
	json_t *broken = json_object_get(now, "why_broken");
	for (unsigned i = 0; i < 6; i++)
		rate[i] = (double)(number(now, names[i]) - number(before, names[i])) / seconds;
	fprintf(to, "  %3llu  %-8s %5llu %8s %9s %9s %10s %8s %8s %8s %8llu", (unsigned long long)number(now, "queue"),
	    json_is_string(broken) ? "broken" : json_is_true(json_object_get(now, "enabled")) || strcmp("started",
	    json_string_value(json_object_get(now, "state"))) ? json_string_value(json_object_get(now, "state")) : "disabled",
	    (unsigned long long)number(now, "depth"), short_number(rate[0], t[0], sizeof *t), short_number(rate[1], t[1], sizeof *t),
	    short_number(rate[2], t[2], sizeof *t),
	    requests ? short_time((double)time_ns / (double)requests, t[3], sizeof *t) : "-", short_number(rate[3], t[4], sizeof *t),
	    short_number(rate[4], t[5], sizeof *t), short_number(rate[5], t[6], sizeof *t),
	    (unsigned long long)number(now, "refused"));
	if (json_is_string(broken))
		fprintf(to, "  %s", json_string_value(broken));
	fputc('\n', to);
}

/* The same device a moment ago, or NULL. */
static const struct sight *seen_before(const struct seen *s, json_t *now)
{
	for (unsigned i = 0; i < s->devices; i++)
		if (json_equal(json_object_get(s->before[i].stats, "name"), json_object_get(now, "name")))
			return &s->before[i];
	return NULL;
}

static void device_lines(const struct seen *s, const struct sight *before, json_t *now, FILE *to)
{
	json_t *queues = json_object_get(now, "queues"), *old = json_object_get(before->stats, "queues");
	double seconds = (double)(number(now, "now_ns") - before->now) / 1e9;
	fprintf(to, "%s  %s, %s%s\n", s->path, json_string_value(json_object_get(now, "name")),
	    json_is_true(json_object_get(now, "connected")) ? "connected" : "no front end",
	    json_is_true(json_object_get(now, "held")) ? ", drained" : "");
	for (size_t i = 0; i < json_array_size(queues) && seconds > 0; i++) {
		json_t *q = json_array_get(queues, i);
		if (strcmp("stopped", json_string_value(json_object_get(q, "state"))) || number(q, "requests"))
			queue_line(q, json_array_get(old, i), seconds, to);
	}
}

static void forget(struct seen *s)
{
	for (unsigned d = 0; d < s->devices; d++)
		json_decref(s->before[d].stats);
	free(s->before);
	s->before = NULL;
	s->devices = 0;
}

/* All devices of one process; false: nobody is there any more. */
static bool look_at(struct seen *s, FILE *to)
{
	char why[VIO_WHY];
	int n = ask_devices(&s->client, why);
	struct sight *sight = n < 0 ? NULL : calloc((size_t)n + 1, sizeof *sight);
	unsigned seen = 0;
	if (!sight)
		return false;
	for (int d = 0; d < n; d++) {
		json_t *now = ask_stats(&s->client, (unsigned)d, why);
		if (!now)	/* gone meanwhile, or all of them: the next look tells */
			break;
		const struct sight *before = seen_before(s, now);
		if (before)
			device_lines(s, before, now, to);
		sight[seen++] = (struct sight){ now, number(now, "now_ns") };
	}
	forget(s);
	s->before = sight;
	s->devices = seen;
	return true;
}

/* Everything there is to see, into text; false: there is nobody left to ask. */
static bool look(struct seen *all, unsigned n, FILE *to)
{
	bool any = false;
	fprintf(to, "queue  state    depth  req/s    from/s      to/s       time   kicks/s  calls/s  quiet/s  refused\n");
	for (unsigned i = 0; i < n; i++) {
		all[i].gone = all[i].gone || !look_at(&all[i], to);
		any |= !all[i].gone;
	}
	for (unsigned i = 0; i < n; i++)
		if (all[i].gone)
			fprintf(to, "%s  has ended\n", all[i].path);
	return any;
}

/* Sleep for an interval; false: the user wants to end. */
static bool wait_key(bool terminal)
{
	struct pollfd key = { STDIN_FILENO, POLLIN, 0 };
	char c;
	if (poll(&key, terminal, INTERVAL_MS) <= 0)
		return true;
	return read(STDIN_FILENO, &c, 1) == 1 && c != 'q' && c != 3;
}

static bool draw(struct seen *all, unsigned n, bool terminal)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);
	if (!to)
		return false;
	bool any = look(all, n, to);
	fclose(to);
	if (terminal) {		/* cut to the window: home, clear each line's rest, clear below */
		struct winsize w = { .ws_row = 25, .ws_col = 80 };
		ioctl(STDOUT_FILENO, TIOCGWINSZ, &w);
		fputs("\033[H", stdout);
		char *line = text, *end;
		for (unsigned row = 1; row < w.ws_row && (end = strchr(line, '\n')); row++, line = end + 1)
			printf("%.*s\033[K\n", (int)(end - line < w.ws_col ? end - line : w.ws_col), line);
		fputs("\033[J", stdout);
	} else {
		fputs(text, stdout);
	}
	fflush(stdout);
	free(text);
	return any;
}

static int run(struct seen *all, unsigned n, bool once)
{
	struct termios was, raw;
	bool terminal = !once && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !tcgetattr(STDIN_FILENO, &was);
	FILE *nowhere = fopen("/dev/null", "w");
	bool any = nowhere && look(all, n, nowhere);	/* the first look only tells where the counters stand */
	if (nowhere)
		fclose(nowhere);
	if (terminal) {
		raw = was;
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
		fputs("\033[?1049h\033[?25l", stdout);
	}
	while (any && wait_key(terminal))
		if (!(any = draw(all, n, terminal)) || once)
			break;
	if (terminal) {
		fputs("\033[?25h\033[?1049l", stdout);
		fflush(stdout);
		tcsetattr(STDIN_FILENO, TCSANOW, &was);
	}
	return EXIT_OK;
}

int vio_cmd_top(int argc, char **argv)
{
	static struct seen all[DAEMONS];
	char why[VIO_WHY];
	unsigned n = 0;
	bool once = false;
	int status = EXIT_OK;
	for (int i = 1; i < argc && status == EXIT_OK; i++) {
		struct seen *s = &all[n];
		if (!strcmp(argv[i], "--help")) {
			fputs(usage, stdout);
			return EXIT_OK;
		}
		if (!strcmp(argv[i], "--once")) {
			once = true;
		} else if (!strncmp(argv[i], "--", 2) || n == DAEMONS) {
			vio_say("vio top", n == DAEMONS ? "there are more than 64 daemons: watch fewer at a time"
			    : "there is no option %.60s: vio top --help tells how it is used", argv[i]);
			status = EXIT_USAGE;
		} else if (!client_open(&s->client, argv[i], why)) {
			vio_say("vio top", "%s", why);
			status = EXIT_FAILED;
		} else {
			s->path = argv[i];
			n++;
		}
	}
	if (status == EXIT_OK && !n) {
		fputs(usage, stderr);
		status = EXIT_USAGE;
	}
	if (status == EXIT_OK)
		status = run(all, n, once);
	while (n--) {
		forget(&all[n]);
		client_close(&all[n].client);
	}
	return status;
}
