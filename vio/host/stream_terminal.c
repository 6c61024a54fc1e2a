/* Streams of terminals: the one we were started from, and new ones (ptys). */
#include <vio/host/stream_impl.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { QUIT_KEY = 0x1d /* Ctrl-] */, PREFIX_KEY = 1 /* Ctrl-A */, TYPED = 256 };
#define LOOK_NS UINT64_C(1000000000)

struct terminal {
	struct vio_stream_host host;
	struct vio_watch events;	/* SIGWINCH (signalfd), or who opens the pty (inotify); fd -1: none */
	struct vio_timer look;		/* a pty's owner is not told of its size: looked at while it is open */
	bool raw;			/* standard input is a terminal, and was as before says */
	struct termios before;
	/*
	 * Ctrl-A x, not Ctrl-]: the way out of a machine, whose guest may not want to hear anything, or not yet.  So keys are read as they
	 * are typed, and those that nobody has room for are lost.
	 */
	bool prefixed, after_prefix;
	struct vio_watch typing;	/* fd -1: not so, or the end has come */
	char held[TYPED];
	size_t held_n;
	bool ended;
	void (*quit)(void *arg);
	void *quit_arg;
};

static struct terminal *terminal_of(struct vio_stream_host *h) { return (struct terminal *)h; }

static void read_size(struct terminal *t, int fd)
{
	struct vio_stream *s = &t->host.stream;
	struct winsize w;

	if (ioctl(fd, TIOCGWINSZ, &w) || (w.ws_col == s->columns && w.ws_row == s->rows))
		return;
	s->columns = w.ws_col;
	s->rows = w.ws_row;
	vio_stream_host_tell(&t->host, VIO_STREAM_CHANGED);
}

static void terminal_end(struct vio_stream_host *h)
{
	struct terminal *t = terminal_of(h);

	vio_loop_untimer(h->loop, &t->look);
	vio_loop_unwatch(h->loop, &t->events);
	if (t->events.fd >= 0)
		close(t->events.fd);
	vio_loop_unwatch(h->loop, &t->typing);
	if (t->typing.fd >= 0)
		close(t->typing.fd);
	if (t->raw)
		tcsetattr(h->in.fd, TCSANOW, &t->before);
}

static struct terminal *new_terminal(struct vio_loop *l, char *why)
{
	struct terminal *t = vio_stream_host_new(sizeof *t, l, why);

	if (!t)
		return NULL;
	t->host.end = terminal_end;
	t->events.fd = t->typing.fd = -1;
	return t;
}

static bool watch_events(struct terminal *t, int fd, void (*ready)(struct vio_watch *w, uint32_t events), char *why)
{
	t->events = (struct vio_watch){ .fd = fd, .events = EPOLLIN, .ready = ready, .arg = t };
	return (fd >= 0 && vio_loop_watch(t->host.loop, &t->events)) ||
	    vio_refuse(why, "cannot watch a terminal: %s; raise the limit of open files (ulimit -n)", strerror(errno));
}

/* ---- Standard input and output ---- */

/*
 * Whoever shares our descriptors must not find them non-blocking: a description of our own, where there can be one.  Files know no
 * waiting, and whoever shares one goes on behind what we have written.
 */
static int own_description(int fd, int mode)
{
	struct stat st;
	char name[32];

	if (!fstat(fd, &st) && S_ISREG(st.st_mode))
		return fcntl(fd, F_DUPFD_CLOEXEC, 3);
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	int own = open(name, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* What is left of the keys when those that are ours are gone; *quit: all ends. */
static size_t strip_prefixed(struct terminal *t, char *keys, size_t n, bool *quit)
{
	size_t to = 0;

	for (size_t i = 0; i < n; i++) {
		bool after = t->after_prefix;
		t->after_prefix = !after && keys[i] == PREFIX_KEY;
		if (after && (keys[i] == 'x' || keys[i] == 'X')) {
			*quit = true;
			return to;
		}
		if (!t->after_prefix)	/* any other key after Ctrl-A is that key, and so is Ctrl-A */
			keys[to++] = keys[i];
	}
	return to;
}

static void on_typing(struct vio_watch *w, uint32_t events)
{
	struct terminal *t = w->arg;
	char keys[TYPED];
	bool quit = false;
	ssize_t got = read(w->fd, keys, sizeof keys);

	(void)events;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		t->ended = true;
		vio_loop_unwatch(t->host.loop, w);
	}
	size_t n = got > 0 ? strip_prefixed(t, keys, (size_t)got, &quit) : 0, room = TYPED - t->held_n;
	memcpy(t->held + t->held_n, keys, n < room ? n : room);
	t->held_n += n < room ? n : room;
	if (quit && t->quit)
		t->quit(t->quit_arg);
	vio_stream_host_came(&t->host);
}

static bool has_typed(struct vio_stream_host *h) { return terminal_of(h)->held_n || terminal_of(h)->ended; }

static long typed_prefixed(struct vio_stream_host *h, struct vio_cur *c)
{
	struct terminal *t = terminal_of(h);
	size_t n = c->left < t->held_n ? (size_t)c->left : t->held_n;

	if (!n && !t->ended)
		errno = EAGAIN;
	if (!n)
		return t->ended ? 0 : -1;
	vio_cur_put(c, t->held, n);
	t->held_n -= n;
	memmove(t->held, t->held + n, t->held_n);
	return (long)n;
}

static bool read_ahead(struct terminal *t, char *why)
{
	t->typing = (struct vio_watch){ .fd = fcntl(t->host.in.fd, F_DUPFD_CLOEXEC, 3), .events = EPOLLIN, .ready = on_typing, .arg = t };
	t->host.get = typed_prefixed;
	t->host.has = has_typed;
	return (t->typing.fd >= 0 && vio_loop_watch(t->host.loop, &t->typing)) ||
	    vio_refuse(why, "cannot watch a terminal: %s; raise the limit of open files (ulimit -n)", strerror(errno));
}

static long typed(struct vio_stream_host *h, struct vio_cur *c)
{
	struct terminal *t = terminal_of(h);
	char keys[TYPED];
	long got = read(h->in.fd, keys, c->left < TYPED ? (size_t)c->left : TYPED);
	const char *quit = got > 0 ? memchr(keys, QUIT_KEY, (size_t)got) : NULL;

	if (quit && t->quit) {
		t->quit(t->quit_arg);
		got = quit - keys;
		if (got == 0)
			errno = EAGAIN;
		vio_cur_put(c, keys, (uint64_t)got);
		return got ? got : -1;
	}
	if (got > 0)
		vio_cur_put(c, keys, (uint64_t)got);
	return got;
}

static void on_winch(struct vio_watch *w, uint32_t events)
{
	struct terminal *t = w->arg;
	struct signalfd_siginfo info;

	(void)events;
	while (read(w->fd, &info, sizeof info) == sizeof info)
		;
	read_size(t, t->host.out.fd);
}

static bool make_raw(struct terminal *t, char *why)
{
	struct termios raw;
	sigset_t set;

	if (tcgetattr(t->host.in.fd, &t->before))
		return true;	/* not a terminal */
	raw = t->before;
	cfmakeraw(&raw);
	raw.c_oflag |= OPOST & t->before.c_oflag;
	if (tcsetattr(t->host.in.fd, TCSANOW, &raw))
		return vio_refuse(why, "cannot set up the terminal: %s; start in the foreground", strerror(errno));
	t->raw = true;
	t->host.get = typed;
	if (t->prefixed && !read_ahead(t, why))
		return false;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return watch_events(t, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), on_winch, why);
}

static struct vio_stream *open_stdio(struct vio_loop *l, bool prefixed, void (*quit)(void *arg), void *arg, char *why)
{
	struct terminal *t = new_terminal(l, why);
	struct stat st;

	if (!t)
		return NULL;
	t->prefixed = prefixed;
	t->quit = quit;
	t->quit_arg = arg;
	t->host.one_way = true;
	t->host.is_socket = !fstat(STDIN_FILENO, &st) && S_ISSOCK(st.st_mode) && !fstat(STDOUT_FILENO, &st) && S_ISSOCK(st.st_mode);
	t->host.lasting = !fstat(STDOUT_FILENO, &st) && S_ISREG(st.st_mode);
	snprintf(t->host.where, sizeof t->host.where, "standard input and output");
	int in = own_description(STDIN_FILENO, O_RDONLY), out = own_description(STDOUT_FILENO, O_WRONLY | O_APPEND);
	if (in < 0 || out < 0) {
		vio_refuse(why, "standard input or output is closed: open it, or give the port another end");
		if (in >= 0)
			close(in);
		if (out >= 0)
			close(out);
	} else if (vio_stream_host_use(&t->host, in, out, why) && make_raw(t, why)) {
		read_size(t, out);
		return &t->host.stream;
	}
	vio_stream_host_free(&t->host);
	return NULL;
}

struct vio_stream *vio_stream_stdio(struct vio_loop *l, void (*quit)(void *arg), void *arg, char *why)
{
	return open_stdio(l, false, quit, arg, why);
}

struct vio_stream *vio_stream_stdio_prefixed(struct vio_loop *l, void (*quit)(void *arg), void *arg, char *why)
{
	return open_stdio(l, true, quit, arg, why);
}

/* ---- A new terminal ---- */

static bool has_user(const struct terminal *t)
{
	struct pollfd p = { .fd = t->host.in.fd };

	return poll(&p, 1, 0) == 0 || !(p.revents & POLLHUP);
}

static void on_look(void *arg)
{
	struct terminal *t = arg;

	if (!t->host.stream.open)
		return;
	read_size(t, t->host.in.fd);
	vio_loop_timer(t->host.loop, &t->look, vio_now_ns() + LOOK_NS);
}

static void look_for_user(struct terminal *t)
{
	struct vio_stream_host *h = &t->host;

	if (h->stream.open || !has_user(t))
		return;
	h->stream.open = true;
	h->in_ended = false;
	vio_stream_host_tell(h, VIO_STREAM_CHANGED);
	on_look(t);
}

static void on_opened(struct vio_watch *w, uint32_t events)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	(void)events;
	while (read(w->fd, buffer, sizeof buffer) > 0)
		;
	look_for_user(w->arg);
}

static void user_gone(struct vio_stream_host *h)
{
	vio_loop_untimer(h->loop, &terminal_of(h)->look);
	look_for_user(terminal_of(h));		/* another one has come meanwhile */
}

/* Raw, and without a user: a pty that nobody has opened yet looks as if somebody had. */
static bool set_up_slave(const char *name, char *why)
{
	struct termios raw;
	int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	bool ok = fd >= 0 && !tcgetattr(fd, &raw);

	if (ok) {
		cfmakeraw(&raw);
		ok = !tcsetattr(fd, TCSANOW, &raw);
	}
	if (!ok)
		vio_refuse(why, "cannot set up the terminal %s: %s; mount /dev/pts", name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ok;
}

static bool make_link(struct terminal *t, const char *link, char *why)
{
	struct stat st;

	/* One that leads to a pty is a predecessor's. */
	if (!lstat(link, &st) && S_ISLNK(st.st_mode)) {
		char to[16];
		ssize_t n = readlink(link, to, sizeof to);
		if (n > 9 && !memcmp(to, "/dev/pts/", 9))
			unlink(link);
	}
	if (symlink(t->host.where, link))
		return vio_refuse(why, "cannot make the link %s: %s; remove what is there, or choose another path", link, strerror(errno));
	if (vio_stream_host_made(&t->host, link, why))
		return true;
	unlink(link);
	return false;
}

struct vio_stream *vio_stream_pty(struct vio_loop *l, const char *link, char *why)
{
	struct terminal *t = new_terminal(l, why);
	int fd = t ? posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC) : -1;

	if (!t)
		return NULL;
	t->host.keeps_fds = true;
	t->host.gone = user_gone;
	t->look = (struct vio_timer){ .fn = on_look, .arg = t };
	if (fd < 0 || grantpt(fd) || unlockpt(fd) || ptsname_r(fd, t->host.where, sizeof t->host.where)) {
		vio_refuse(why, "cannot make a terminal: %s; mount /dev/pts", strerror(errno));
		if (fd >= 0)
			close(fd);
	} else if (set_up_slave(t->host.where, why) && vio_stream_host_use(&t->host, fd, fd, why)) {
		int opened = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
		t->host.stream.open = false;
		if (watch_events(t, opened >= 0 && inotify_add_watch(opened, t->host.where, IN_OPEN) >= 0 ? opened : -1, on_opened, why)) {
			look_for_user(t);
			if (!link || make_link(t, link, why))
				return &t->host.stream;
		} else if (opened >= 0) {
			close(opened);
		}
	}
	vio_stream_host_free(&t->host);
	return NULL;
}
