/*
 * vio slirp: user-mode networking behind a packet socket, for vio net and for whoever speaks that protocol (QEMU's -netdev
 * stream).  The TCP/IP is libslirp's, which only this process loads.
 *
 *      guest ── frames ──▶ slirp_input() ── sockets of this process ──▶ the world
 *      guest ◀── frames ── out ◀── send_packet() ── slirp_pollfds_poll()
 *
 * It has no privileges to give to the guest: it can open sockets of the Internet families, and read resolv.conf.
 *
 * Congestion: frames wait in out while the guest does not take them.  Beyond CONGESTED bytes libslirp's sockets are not
 * looked at, so that senders in the world are slowed down by their own windows; what libslirp says all the same beyond
 * OUT is lost, as on any network.
 */
#include "net.h"
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vio/host/sandbox.h>
#include <vio/host/why.h>

int vio_cmd_slirp(int argc, char **argv);

enum { FD, SOCKET_PATH, CONTROL_FD, FORWARD, NETWORK, MTU, HOSTNAME, RESTRICT, NO_IPV6, SANDBOX, HELP, END };

static const struct vio_opt options[END] = {
	[FD] = { "fd", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 3, 1 << 20,
		.help = "Use the inherited descriptor N, a connected Unix stream socket, and end when the other end has gone." },
	[SOCKET_PATH] = { "socket-path", "PATH", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 107,
		.help = "Listen on a Unix socket that is made at PATH, and serve one after another." },
	[CONTROL_FD] = { "control-fd", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 3, 1 << 20,
		.help = "For vio net: where requests come from." },
	[FORWARD] = { "forward", "tcp:HOST:GUEST", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 63, .many = true,
		.help = "Port HOST of this host's loopback (or tcp:ADDRESS:HOST:GUEST: of that address) leads to the guest's port GUEST; udp "
		        "too; may be given many times." },
	[NETWORK] = { "network", "ADDRESS/BITS", VIO_OPT_TEXT, VIO_OPT_PROCESS, 9, 18,
		.help = "The guest's network; 10.0.2.0/24. Its 2nd address is this host, the 3rd the name server, the 15th the guest's." },
	[MTU] = { "mtu", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 68, 65521, 1500, .help = "Bytes of the longest packet; 1500." },
	[HOSTNAME] = { "hostname", "NAME", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 33, .help = "What DHCP tells the guest to be called." },
	[RESTRICT] = { "restrict", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS,
		.help = "The guest reaches neither this host nor anything beyond it; forwards still reach the guest." },
	[NO_IPV6] = { "no-ipv6", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "The guest's network has no IPv6." },
	[SANDBOX] = { "sandbox", "on|none", VIO_OPT_CHOICE, VIO_OPT_PROCESS,
		.help = "Give up all privileges, files and unneeded system calls before serving (on, the default), or do not (none)." },
	[HELP] = { "help", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Print this text and end." },
};

static const struct vio_opt_table table = {
	.usage = "vio slirp --socket-path=PATH [options]",
	.about = "User-mode networking (libslirp) behind a packet socket.",
	.own = options, .own_count = END,
};

#if !VIO_HAVE_SLIRP
int vio_cmd_slirp(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	(void)table;
	vio_say("vio-slirp", "this vio was built without user-mode networking: build it where libslirp-dev is installed, or choose "
	    "another back end (--tap, --socket)");
	return 1;
}
#else
#include <slirp/libslirp.h>

enum { IN = 256 * 1024, OUT = 4 << 20, CONGESTED = 1 << 20, PREFIX = 4, LEAST = 14, POLLS_MAX = 16384 };

/* ---- libslirp, loaded by hand ---- */

#define WORDS(X) X(slirp_new) X(slirp_cleanup) X(slirp_pollfds_fill) X(slirp_pollfds_poll) X(slirp_input) \
	X(slirp_add_hostfwd) X(slirp_remove_hostfwd)
#define DECLARE(word) __typeof__(word) *word;
static struct { WORDS(DECLARE) } lib;

static bool load(char *why)
{
	void *so = dlopen("libslirp.so.0", RTLD_NOW);
	if (!so)
		return vio_refuse(why, "user-mode networking needs libslirp (%s): install libslirp0, or choose another back end (--tap, --socket)",
		    dlerror());
#define FIND(word) if (!(lib.word = (__typeof__(word) *)dlsym(so, #word))) \
		return vio_refuse(why, "libslirp has no %s: install a newer one", #word);
	WORDS(FIND)
	return true;
}

/* ---- State ---- */

struct timer { SlirpTimerCb fn; void *arg; int64_t at_ms; struct timer *next; };	/* at_ms -1: not set */

struct stack {
	Slirp *slirp;
	struct in_addr network;
	int conn, listener, control;	/* -1 */
	bool once;			/* ends with its connection */
	struct timer *timers;
	struct pollfd *polls;
	unsigned poll_count, poll_room;
	unsigned char *in, *out;
	size_t in_end, out_at, out_end;
	unsigned long lost;
};

static int64_t now_ns(void *arg)
{
	(void)arg;
	return (int64_t)vio_now_ns();
}

/* ---- libslirp's callbacks ---- */

static ssize_t send_packet(const void *bytes, size_t n, void *arg)
{
	struct stack *s = arg;
	if (s->conn < 0 || n > VIO_FRAME_MAX)
		return (ssize_t)n;
	if (OUT - s->out_end < PREFIX + n && s->out_at) {
		memmove(s->out, s->out + s->out_at, s->out_end - s->out_at);
		s->out_end -= s->out_at;
		s->out_at = 0;
	}
	if (OUT - s->out_end < PREFIX + n) {
		s->lost++;
		return (ssize_t)n;
	}
	uint32_t prefix = htonl((uint32_t)n);
	memcpy(s->out + s->out_end, &prefix, PREFIX);
	memcpy(s->out + s->out_end + PREFIX, bytes, n);
	s->out_end += PREFIX + n;
	return (ssize_t)n;
}

static void guest_error(const char *message, void *arg)
{
	(void)message;		/* a guest could fill the log */
	(void)arg;
}

static void *timer_new(SlirpTimerCb fn, void *fn_arg, void *arg)
{
	struct stack *s = arg;
	struct timer *t = malloc(sizeof *t);
	if (!t)
		abort();	/* only when the stack is made */
	*t = (struct timer){ fn, fn_arg, -1, s->timers };
	s->timers = t;
	return t;
}

static void timer_free(void *timer, void *arg)
{
	struct timer **p = &((struct stack *)arg)->timers;
	while (*p != timer)
		p = &(*p)->next;
	*p = (*p)->next;
	free(timer);
}

static void timer_mod(void *timer, int64_t at_ms, void *arg)
{
	(void)arg;
	((struct timer *)timer)->at_ms = at_ms;
}

static void nothing_fd(int fd, void *arg)
{
	(void)fd;
	(void)arg;
}

static void nothing(void *arg) { (void)arg; }

static int poll_add(struct stack *s, int fd, short events)
{
	if (s->poll_count == s->poll_room) {
		unsigned room = s->poll_room ? 2 * s->poll_room : 64;
		struct pollfd *more = room > POLLS_MAX ? NULL : realloc(s->polls, room * sizeof *more);
		if (!more)
			return -1;
		s->polls = more;
		s->poll_room = room;
	}
	s->polls[s->poll_count] = (struct pollfd){ .fd = fd, .events = events };
	return (int)s->poll_count++;
}

static int add_poll(int fd, int events, void *arg)
{
	return poll_add(arg, fd, (short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0)
	    | (events & SLIRP_POLL_PRI ? POLLPRI : 0)));
}

static int get_revents(int i, void *arg)
{
	struct stack *s = arg;
	int r = i >= 0 && (unsigned)i < s->poll_count ? s->polls[i].revents : 0;
	return (r & POLLIN ? SLIRP_POLL_IN : 0) | (r & POLLOUT ? SLIRP_POLL_OUT : 0) | (r & POLLPRI ? SLIRP_POLL_PRI : 0)
	    | (r & POLLERR ? SLIRP_POLL_ERR : 0) | (r & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static const SlirpCb callbacks = {
	.send_packet = send_packet, .guest_error = guest_error, .clock_get_ns = now_ns, .timer_new = timer_new,
	.timer_free = timer_free, .timer_mod = timer_mod, .register_poll_fd = nothing_fd, .unregister_poll_fd = nothing_fd,
	.notify = nothing,
};

/* ---- The packet socket ---- */

static void hang_up(struct stack *s)
{
	close(s->conn);
	s->conn = -1;
	s->in_end = s->out_at = s->out_end = 0;
}

static bool over(ssize_t n) { return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR); }

static void push(struct stack *s)
{
	while (s->conn >= 0 && s->out_at < s->out_end) {
		ssize_t n = send(s->conn, s->out + s->out_at, s->out_end - s->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (over(n))
			hang_up(s);
		if (n <= 0)
			return;
		s->out_at += (size_t)n;
	}
	s->out_at = s->out_end = 0;
}

/* What the guest has sent.  A length that no frame has ends the connection. */
static void pull(struct stack *s)
{
	size_t at = 0;
	ssize_t got = recv(s->conn, s->in + s->in_end, IN - s->in_end, MSG_DONTWAIT);
	if (over(got))
		hang_up(s);
	if (got <= 0)
		return;
	s->in_end += (size_t)got;
	while (s->in_end - at >= PREFIX) {
		uint32_t n;
		memcpy(&n, s->in + at, PREFIX);
		n = ntohl(n);
		if (n == 0 || n > VIO_FRAME_MAX) {
			vio_say("vio-slirp", "the other end sends a frame of %u bytes, which no frame has: it speaks another protocol", n);
			hang_up(s);
			return;
		}
		if (s->in_end - at - PREFIX < n)
			break;
		if (n >= LEAST)
			lib.slirp_input(s->slirp, s->in + at + PREFIX, (int)n);
		at += PREFIX + n;
	}
	memmove(s->in, s->in + at, s->in_end - at);
	s->in_end -= at;
}

/* ---- Forwards ---- */

static bool forward(struct stack *s, const char *text, bool add, char *why)
{
	struct vio_forward f;
	if (!vio_forward_parse(text, &f, why))
		return false;
	struct in_addr guest = { htonl(ntohl(s->network.s_addr) | 15) };
	if (add && lib.slirp_add_hostfwd(s->slirp, f.udp, f.host, f.host_port, guest, f.guest_port) < 0)
		return vio_refuse(why, "cannot forward %s: %s; is the port in use, or one that this user may not have?", text, strerror(errno));
	if (!add && lib.slirp_remove_hostfwd(s->slirp, f.udp, f.host, f.host_port) < 0)
		return vio_refuse(why, "there is no forward %s", text);
	return true;
}

static void answer(struct stack *s)
{
	char request[VIO_SLIRP_FORWARD_MAX + 16], why[VIO_WHY] = "";
	ssize_t n = recv(s->control, request, sizeof request - 1, MSG_DONTWAIT);
	if (n <= 0) {
		if (over(n)) {
			close(s->control);
			s->control = -1;
		}
		return;
	}
	request[n] = 0;
	if (!strncmp(request, "add ", 4))
		forward(s, request + 4, true, why);
	else if (!strncmp(request, "remove ", 7))
		forward(s, request + 7, false, why);
	else
		vio_refuse(why, "there is no request like that");
	send(s->control, why, strlen(why) + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* ---- The loop ---- */

static int timeout_of(const struct stack *s, uint32_t slirps)
{
	int64_t now = now_ns(NULL) / 1000000, least = slirps > INT_MAX ? INT_MAX : (int64_t)slirps;
	for (const struct timer *t = s->timers; t; t = t->next)
		if (t->at_ms >= 0 && t->at_ms - now < least)
			least = t->at_ms > now ? t->at_ms - now : 0;
	return least == INT_MAX ? -1 : (int)least;
}

static void run_timers(struct stack *s)
{
	int64_t now = now_ns(NULL) / 1000000;
	for (struct timer *t = s->timers, *next; t; t = next) {
		next = t->next;
		if (t->at_ms < 0 || t->at_ms > now)
			continue;
		t->at_ms = -1;
		t->fn(t->arg);
	}
}

static void turn(struct stack *s)
{
	bool congested = s->out_end - s->out_at > CONGESTED;
	uint32_t timeout = UINT32_MAX;
	s->poll_count = 0;
	int line = s->conn < 0 ? -1 : poll_add(s, s->conn, (short)(POLLIN | (s->out_at < s->out_end ? POLLOUT : 0)));
	int caller = s->conn >= 0 || s->listener < 0 ? -1 : poll_add(s, s->listener, POLLIN);
	int control = s->control < 0 ? -1 : poll_add(s, s->control, POLLIN);
	if (!congested)
		lib.slirp_pollfds_fill(s->slirp, &timeout, add_poll, s);
	int n = poll(s->polls, s->poll_count, timeout_of(s, timeout));
	if (n < 0)
		for (unsigned i = 0; i < s->poll_count; i++)
			s->polls[i].revents = 0;
	short on_line = line < 0 ? 0 : s->polls[line].revents;
	bool called = caller >= 0 && s->polls[caller].revents, asked = control >= 0 && s->polls[control].revents;
	if (!congested)
		lib.slirp_pollfds_poll(s->slirp, n < 0, get_revents, s);
	run_timers(s);
	if (on_line & (POLLIN | POLLERR | POLLHUP))
		pull(s);
	push(s);
	if (called)
		s->conn = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (asked)
		answer(s);
}

/* ---- The beginning ---- */

static bool make_stack(struct stack *s, const struct vio_arg *a, char *why)
{
	struct in_addr mask;
	SlirpConfig c = { .version = 1, .restricted = a[RESTRICT].given, .in_enabled = true, .in6_enabled = !a[NO_IPV6].given,
		.vprefix_len = 64, .vhostname = a[HOSTNAME].text, .if_mtu = a[MTU].number, .if_mru = a[MTU].number };
	if (!vio_network_parse(a[NETWORK].given ? a[NETWORK].text : "10.0.2.0/24", &s->network, &mask))
		return vio_refuse(why, "--network=%s cannot be: give a network of 8 to 27 bits, like 10.0.2.0/24", a[NETWORK].text);
	c.vnetwork = s->network;
	c.vnetmask = mask;
	c.vhost.s_addr = htonl(ntohl(s->network.s_addr) | 2);
	c.vnameserver.s_addr = htonl(ntohl(s->network.s_addr) | 3);
	c.vdhcp_start.s_addr = htonl(ntohl(s->network.s_addr) | 15);
	inet_pton(AF_INET6, "fec0::", &c.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &c.vhost6);
	inet_pton(AF_INET6, "fec0::3", &c.vnameserver6);
	s->in = malloc(IN);
	s->out = mmap(NULL, OUT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!s->in || s->out == MAP_FAILED)
		return vio_refuse(why, "there is no memory for user-mode networking");
	s->slirp = lib.slirp_new(&c, &callbacks, s);
	if (!s->slirp)
		return vio_refuse(why, "libslirp does not start: is it a version from 4.0 to 4.9?");
	for (const struct vio_opt_word *w = a[FORWARD].words; w; w = w->next)
		if (!forward(s, w->text, true, why))
			return false;
	return true;
}

/* Sockets of the Internet families, and files only to be read: which of them, Landlock says. */
static const struct vio_sandbox_call calls[] = {
	{ SYS_socket, VIO_CALL_ONE, 0, AF_INET, 0 }, { SYS_socket, VIO_CALL_ONE, 0, AF_INET6, 0 },
	{ SYS_connect, VIO_CALL_ANY, 0, 0, 0 }, { SYS_bind, VIO_CALL_ANY, 0, 0, 0 }, { SYS_listen, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_accept, VIO_CALL_ANY, 0, 0, 0 }, { SYS_getsockname, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_getpeername, VIO_CALL_ANY, 0, 0, 0 }, { SYS_setsockopt, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_getsockopt, VIO_CALL_ANY, 0, 0, 0 }, { SYS_ioctl, VIO_CALL_ONE, 1, FIONREAD, 0 },
	{ SYS_openat, VIO_CALL_BITS, 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY },
	{ -1, 0, 0, 0, 0 }
};

/* Root's rights over files are nobody's business; where no user may be changed to, they go with the capabilities. */
static void drop_root(void)
{
	enum { NOBODY = 65534 };
	if (geteuid() || setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY))
		return;
	if (setresuid(NOBODY, NOBODY, NOBODY))
		return;
}

/* resolv.conf is written anew by renaming, so its folder is what may be read, and the folder of what it links to. */
static bool confine(char *why)
{
	struct vio_sandbox_folder folder[2];
	struct vio_sandbox_options o = { .folder = folder, .room = 2, .network = true };
	char target[PATH_MAX];
	const char *lacks;
	int etc = open("/etc", O_PATH | O_DIRECTORY | O_CLOEXEC), other = -1;
	drop_root();
	if (realpath("/etc/resolv.conf", target) && strncmp(target, "/etc/", 5)) {
		*strrchr(target, '/') = 0;
		other = open(*target ? target : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (etc >= 0)
		vio_sandbox_folder(&o, etc, VIO_FOLDER_READ);
	if (other >= 0)
		vio_sandbox_folder(&o, other, VIO_FOLDER_READ);
	vio_sandbox_calls(&o, calls);
	bool ok = vio_sandbox_enter(&o, &lacks, why);
	if (etc >= 0)
		close(etc);
	if (other >= 0)
		close(other);
	return ok;
}

/* Descriptors that a parent left open are none of ours. */
static void keep_only(int a, int b)
{
	unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);
	if (a < 0 || b < 0)
		low = high;
	if (low > 3)
		close_range(3, low - 1, 0);
	if (high > low + 1)
		close_range(low + 1, high - 1, 0);
	close_range(high + 1, ~0u, 0);
}

static bool begin(struct stack *s, const struct vio_arg *a, char *why)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->control = a[CONTROL_FD].given ? (int)a[CONTROL_FD].number : -1;
	if (a[FD].given == a[SOCKET_PATH].given)
		return vio_refuse(why, "it is not said who the guest is: add --socket-path=PATH or --fd=N, one of them");
	if (a[FD].given) {
		s->conn = (int)a[FD].number;
		s->once = true;
		signal(SIGINT, SIG_IGN);	/* of a terminal: it is for the daemon, which we end with */
		keep_only(s->conn, s->control);
	} else {
		s->listener = vio_socket_listen(&(struct vio_socket_options){ .path = a[SOCKET_PATH].text, .mode = 0600 }, why);
		if (s->listener < 0)
			return false;
	}
	return load(why) && make_stack(s, a, why) && (a[SANDBOX].number || confine(why));
}

int vio_cmd_slirp(int argc, char **argv)
{
	struct stack s = { .conn = -1, .listener = -1, .control = -1 };
	struct vio_args args;
	char why[VIO_WHY] = "";
	int status = 2;
	if (!vio_opt_parse(&table, argc, argv, &args, why)) {
		vio_say("vio-slirp", "%s", why);
	} else if (args.common[HELP].given) {
		vio_opt_help(&table);
		status = 0;
	} else {
		bool ok = begin(&s, args.common, why);
		if (s.control >= 0)
			send(s.control, why, strlen(why) + 1, MSG_NOSIGNAL);
		else if (!ok)
			vio_say("vio-slirp", "%s", why);
		status = !ok;
		while (ok && (s.conn >= 0 || !s.once))
			turn(&s);
	}
	vio_opt_free(&args);
	return status;
}
#endif
