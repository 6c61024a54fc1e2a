/* Device processes: started with what they need and nothing else, watched by pidfd, started again with measure. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vmm/isolate.h>

extern char **environ;

enum { PAUSE_MS = 100 };		/* before the next one, times the deaths so far */

/* A process that has been forked: the program begins when it is told to go. */
struct child { pid_t pid; int pidfd, socket, go, report; };	/* socket: our end; go is written, report read */

struct vmm_isolate {
	struct vmm_isolate_options o;
	struct child spare[VMM_ISOLATE_RESTARTS];
	unsigned spares;
	pid_t pid;			/* 0: dead */
	struct vio_watch died;		/* fd: its pidfd */
	struct vio_timer again;
	uint64_t death[VMM_ISOLATE_RESTARTS];	/* the last ones, 0: none; in a circle */
	unsigned deaths;
};

/* ---- the child's side: between fork and exec nothing may be called that is not async-signal-safe ---- */

struct birth { const char *program; char *const *argv; char **env; int socket, go, report; const int *keep; unsigned keeps; pid_t parent; };
enum { REPORT = VMM_ISOLATE_FD + 1, GO };	/* what these are called there */
enum { BEGIN = 'b', END = 'e' };		/* what it is told; the end in a word too: somebody else may hold a copy of our socket */

static bool kept(const struct birth *b, int fd)
{
	for (unsigned i = 0; i < b->keeps; i++)
		if (b->keep[i] == fd)
			return true;
	return fd == VMM_ISOLATE_FD || fd == REPORT || fd == GO;
}

/* All but what it is to have: one that waits must not hold open what others wait for the end of. */
static bool close_others(const struct birth *b)
{
	int highest = GO;

	for (unsigned i = 0; i < b->keeps; i++)
		if (b->keep[i] > highest)
			highest = b->keep[i];
	for (int fd = 3; fd <= highest; fd++)
		if (kept(b, fd))
			fcntl(fd, F_SETFD, fd == REPORT || fd == GO ? FD_CLOEXEC : 0);
		else
			close(fd);
	return syscall(SYS_close_range, highest + 1, ~0U, 0) == 0;
}

/* The three end up in their places, whichever places they were in. */
static bool take_places(const struct birth *b)
{
	int socket = fcntl(b->socket, F_DUPFD, GO + 1), go = fcntl(b->go, F_DUPFD, GO + 1), report = fcntl(b->report, F_DUPFD, GO + 1);
	int null = open("/dev/null", O_RDONLY);

	return null >= 0 && dup2(null, 0) == 0 && socket >= 0 && go >= 0 && report >= 0 && dup2(report, REPORT) >= 0 && dup2(go, GO) >= 0
	    && dup2(socket, VMM_ISOLATE_FD) >= 0;
}

static void default_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void live(const struct birth *b)
{
	char word;

	if (!take_places(b) || !close_others(b))
		goto failed;
	default_signals();
	/* The parent may have gone already, and then nobody would send this. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != b->parent)
		_exit(127);
	if (read(GO, &word, 1) != 1 || word != BEGIN)
		_exit(0);		/* not needed any more */
	execve(b->program, b->argv, b->env);
failed:;
	int error = errno;
	(void)!write(fcntl(REPORT, F_GETFD) >= 0 ? REPORT : b->report, &error, sizeof error);
	_exit(127);
}

/* ---- the machine's side ---- */

/* Without what is said to the machine alone: it is the one that the service manager started. */
static char **make_env(void)
{
	static const char *const ours[] = { "NOTIFY_SOCKET=", "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "WATCHDOG_USEC=", "WATCHDOG_PID=" };
	size_t n = 0, at = 0;

	while (environ[n])
		n++;
	char **env = calloc(n + 1, sizeof *env);
	for (size_t i = 0; env && i < n; i++) {
		bool skip = false;
		for (unsigned k = 0; k < sizeof ours / sizeof *ours; k++)
			skip |= !strncmp(environ[i], ours[k], strlen(ours[k]));
		if (!skip)
			env[at++] = environ[i];
	}
	return env;
}

static void close_child(struct child *c)
{
	int *const fds[] = { &c->pidfd, &c->socket, &c->go, &c->report };
	for (unsigned i = 0; i < 4; i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}

static bool say(const struct child *c, char word) { return send(c->go, &word, 1, MSG_NOSIGNAL) == 1; }

/* It ends, having begun nothing; one that has begun without being watched is killed. */
static void abandon(struct child *c)
{
	say(c, END);
	if (c->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, c->pidfd, SIGKILL, NULL, 0);
	close_child(c);
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}

static bool fork_child(struct vmm_isolate *p, struct child *c, char *why)
{
	struct birth b = { .program = p->o.program ? p->o.program : "/proc/self/exe", .argv = p->o.argv, .keep = p->o.keep, .keeps = p->o.keeps,
		.env = make_env(), .parent = getpid() };
	int pair[2] = { -1, -1 }, go[2] = { -1, -1 }, report[2] = { -1, -1 };
	bool ok = b.env && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0
	    && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go) == 0 && pipe2(report, O_CLOEXEC) == 0;

	b.socket = pair[1];
	b.go = go[0];			/* a socket, which can be written without a signal when nobody reads */
	b.report = report[1];
	c->pid = ok ? fork() : -1;
	if (c->pid == 0)
		live(&b);
	int error = errno;
	free(b.env);
	if (ok) {
		close(b.socket);
		close(b.go);
		close(b.report);
	}
	*c = (struct child){ c->pid, -1, pair[0], go[1], report[0] };
	if (c->pid > 0 && (c->pidfd = (int)syscall(SYS_pidfd_open, c->pid, 0)) >= 0)
		return true;
	if (c->pid > 0) {
		error = errno;
		abandon(c);
	} else {
		close_child(c);
	}
	if (!ok) {			/* as far as they were made */
		int *const rest[] = { &pair[1], &go[0], &report[1] };
		for (unsigned i = 0; i < 3; i++)
			if (*rest[i] >= 0)
				close(*rest[i]);
	}
	return vio_refuse(why, "%s: no process can be started: %s", p->o.name, strerror(error));
}

/* What exec said: 0 when it went well, for then the pipe closes without a word. */
static int hear(int report)
{
	int error = 0;
	ssize_t n;

	do
		n = read(report, &error, sizeof error);
	while (n < 0 && errno == EINTR);
	return n == sizeof error ? error ? error : EIO : 0;
}

static void on_death(struct vio_watch *w, uint32_t events);

/* The program begins.  *fd: our end of its socket. */
static bool go_on(struct vmm_isolate *p, struct child *c, int *fd, char *why)
{
	bool told = say(c, BEGIN);
	int error = hear(c->report);

	if (!told && !error)
		error = EPIPE;

	if (error) {
		abandon(c);
		return vio_refuse(why, "%s: its process can't be started: %s", p->o.name, strerror(error));
	}
	p->died = (struct vio_watch){ .fd = c->pidfd, .events = EPOLLIN, .ready = on_death, .arg = p };
	if (!vio_loop_watch(p->o.loop, &p->died)) {
		abandon(c);
		return vio_refuse(why, "%s: its process can't be watched: there is no memory", p->o.name);
	}
	*fd = c->socket;
	p->pid = c->pid;
	c->pidfd = c->socket = -1;
	close_child(c);
	return true;
}

static bool start(struct vmm_isolate *p, int *fd, char *why)
{
	struct child c;

	if (p->spares)
		return go_on(p, &p->spare[--p->spares], fd, why);
	return fork_child(p, &c, why) && go_on(p, &c, fd, why);
}

static void abandon_spares(struct vmm_isolate *p)
{
	while (p->spares)
		abandon(&p->spare[--p->spares]);
}

static bool begin(struct vmm_isolate *p, int *fd, char *why)
{
	unsigned spares = p->o.spares < VMM_ISOLATE_RESTARTS ? p->o.spares : VMM_ISOLATE_RESTARTS;

	if (!start(p, fd, why))
		return false;
	for (; p->spares < spares; p->spares++)
		if (!fork_child(p, &p->spare[p->spares], why)) {
			abandon_spares(p);
			return false;
		}
	return true;
}

struct vmm_isolate *vmm_isolate_start(const struct vmm_isolate_options *o, int *fd, char *why)
{
	for (unsigned i = 0; i < o->keeps; i++)
		if (o->keep[i] >= VMM_ISOLATE_FD && o->keep[i] <= GO) {
			vio_refuse(why, "%s: descriptor %d is taken in a device's process: give another one", o->name, o->keep[i]);
			return NULL;
		}
	struct vmm_isolate *p = calloc(1, sizeof *p);
	if (!p) {
		vio_refuse(why, "%s: there is no memory for another process", o->name);
		return NULL;
	}
	p->o = *o;
	if (begin(p, fd, why))
		return p;
	if (p->pid) {			/* the first one is there, and no other can be */
		close(*fd);
		vmm_isolate_end(p, 0);
	} else {
		free(p);
	}
	return NULL;
}

int vmm_isolate_pid(const struct vmm_isolate *p) { return p->pid ? p->pid : -1; }

/* ---- death ---- */

static void forget(struct vmm_isolate *p)
{
	vio_loop_unwatch(p->o.loop, &p->died);
	close(p->died.fd);
	p->pid = 0;
}

static bool too_often(struct vmm_isolate *p)
{
	uint64_t now = vio_now_ns(), *slot = &p->death[p->deaths++ % VMM_ISOLATE_RESTARTS], oldest = *slot;

	*slot = now;
	return oldest && now - oldest < VMM_ISOLATE_WINDOW_S * UINT64_C(1000000000);
}

static unsigned lately(const struct vmm_isolate *p)
{
	unsigned n = 0;
	for (unsigned i = 0; i < VMM_ISOLATE_RESTARTS; i++)
		n += p->death[i] && vio_now_ns() - p->death[i] < VMM_ISOLATE_WINDOW_S * UINT64_C(1000000000);
	return n;
}

static void give_up(struct vmm_isolate *p, const char *how, const char *more)
{
	char why[VIO_WHY];

	vio_refuse(why, "%.400s%s, and no other is started", how, more);
	p->o.news(p->o.arg, VMM_ISOLATE_GIVEN_UP, -1, why);
}

static void on_again(void *arg)
{
	struct vmm_isolate *p = arg;
	char why[VIO_WHY];
	int fd;

	if (start(p, &fd, why))
		p->o.news(p->o.arg, VMM_ISOLATE_STARTED, fd, "");
	else
		give_up(p, why, "");
}

static void say_how(const struct vmm_isolate *p, int status, char *why)
{
	if (WIFSIGNALED(status))
		vio_refuse(why, "%s: its process %d was killed by signal %d (%s)", p->o.name, (int)p->pid, WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		vio_refuse(why, "%s: its process %d has ended with status %d", p->o.name, (int)p->pid, WEXITSTATUS(status));
}

static void on_death(struct vio_watch *w, uint32_t events)
{
	struct vmm_isolate *p = w->arg;
	char how[VIO_WHY], more[80];
	int status;

	(void)events;
	if (waitpid(p->pid, &status, WNOHANG) != p->pid)
		return;
	say_how(p, status, how);
	forget(p);
	if (!p->o.restart) {
		give_up(p, how, "");
	} else if (p->o.spares && !p->spares) {
		give_up(p, how, ", as all others have that could be started");
	} else if (too_often(p)) {
		snprintf(more, sizeof more, ", as %d others have in the last %d seconds", VMM_ISOLATE_RESTARTS, VMM_ISOLATE_WINDOW_S);
		give_up(p, how, more);
	} else {
		p->again = (struct vio_timer){ .fn = on_again, .arg = p };
		vio_loop_timer(p->o.loop, &p->again, vio_now_ns() + PAUSE_MS * (lately(p) - 1) * UINT64_C(1000000));
		p->o.news(p->o.arg, VMM_ISOLATE_DIED, -1, how);
	}
}

/* ---- confinement ---- */

const struct vio_sandbox_call vmm_isolate_calls[] = {
	{ .call = SYS_wait4 },
#ifdef SYS_poll
	{ .call = SYS_poll },
#endif
	{ .call = SYS_ppoll },		/* which is poll() where that is no system call */
	{ .call = SYS_pidfd_send_signal },
	{ SYS_socketpair, VIO_CALL_ONE, 0, AF_UNIX },	/* the channel of the next back end: frontend.c */
	{ .call = -1 }
};

/* ---- the end ---- */

static bool ends_within(const struct vmm_isolate *p, uint64_t ns)
{
	struct pollfd f = { .fd = p->died.fd, .events = POLLIN };
	uint64_t until = vio_now_ns() + ns;

	for (;;) {
		uint64_t now = vio_now_ns();
		int n = poll(&f, 1, now < until ? (int)((until - now + 999999) / 1000000) : 0);
		if (n != 0 && !(n < 0 && errno == EINTR))
			return n > 0;
		if (now >= until)
			return false;
	}
}

/* By its descriptor: a confined machine may signal nobody whose descriptor it has not. */
static void tell(const struct vmm_isolate *p, int signal)
{
	syscall(SYS_pidfd_send_signal, p->died.fd, signal, NULL, 0);
}

bool vmm_isolate_end(struct vmm_isolate *p, uint64_t patience_ns)
{
	bool well = true;
	int status = 0;

	if (!p)
		return true;
	vio_loop_untimer(p->o.loop, &p->again);
	abandon_spares(p);
	if (p->pid) {
		if (!ends_within(p, patience_ns)) {
			tell(p, SIGTERM);
			if (!ends_within(p, patience_ns))
				tell(p, SIGKILL);
		}
		while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
			continue;
		well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
		forget(p);
	}
	free(p);
	return well;
}
