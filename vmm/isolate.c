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

struct vmm_isolate {
	struct vmm_isolate_options o;
	pid_t pid;			/* 0: dead */
	struct vio_watch died;		/* fd: its pidfd */
	struct vio_timer again;
	uint64_t death[VMM_ISOLATE_RESTARTS];	/* the last ones, 0: none; in a circle */
	unsigned deaths;
};

/* ---- the child's side: between fork and exec nothing may be called that is not async-signal-safe ---- */

struct birth { const char *program; char *const *argv; char **env; int socket, report; const int *keep; unsigned keeps; pid_t parent; };

static void stay_open(int fd)
{
	int flags = fcntl(fd, F_GETFD);
	if (flags >= 0)
		fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC);
}

static void default_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child(const struct birth *b)
{
	/* Whoever stands in the socket's place, or was opened without care, ends at exec. */
	int report = fcntl(b->report, F_DUPFD_CLOEXEC, VMM_ISOLATE_FD + 1), null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0 || report < 0 || dup2(null, 0) < 0 || dup2(b->socket, VMM_ISOLATE_FD) < 0)
		goto failed;
	if (syscall(SYS_close_range, 3, ~0U, 1 << 2 /* CLOSE_RANGE_CLOEXEC */) != 0)
		goto failed;
	stay_open(VMM_ISOLATE_FD);
	for (unsigned i = 0; i < b->keeps; i++)
		stay_open(b->keep[i]);
	default_signals();
	/* The parent may have gone already, and then nobody would send this. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != b->parent)
		goto failed;
	execve(b->program, b->argv, b->env);
failed:;
	int error = errno;
	(void)!write(report >= 0 ? report : b->report, &error, sizeof error);
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

static bool watch(struct vmm_isolate *p, char *why)
{
	p->died = (struct vio_watch){ .fd = (int)syscall(SYS_pidfd_open, p->pid, 0), .events = EPOLLIN, .ready = on_death, .arg = p };
	if (p->died.fd >= 0 && vio_loop_watch(p->o.loop, &p->died))
		return true;
	vio_refuse(why, "%s: its process can't be watched: %s", p->o.name, strerror(errno));
	if (p->died.fd >= 0)
		close(p->died.fd);
	kill(p->pid, SIGKILL);
	waitpid(p->pid, NULL, 0);
	p->pid = 0;
	return false;
}

static bool start_with(struct vmm_isolate *p, struct birth *b, int report, char *why)
{
	b->env = make_env();
	b->parent = getpid();
	p->pid = b->env ? fork() : -1;
	if (p->pid == 0)
		child(b);
	int error = errno;
	free(b->env);
	close(b->socket);
	close(b->report);
	if (p->pid < 0) {
		p->pid = 0;
		return vio_refuse(why, "%s: no process can be started: %s", p->o.name, strerror(error));
	}
	error = hear(report);
	if (!error)
		return watch(p, why);
	waitpid(p->pid, NULL, 0);
	p->pid = 0;
	return vio_refuse(why, "%s: its process can't be started: %s", p->o.name, strerror(error));
}

static bool start(struct vmm_isolate *p, int *fd, char *why)
{
	struct birth b = { .program = p->o.program ? p->o.program : "/proc/self/exe", .argv = p->o.argv, .keep = p->o.keep, .keeps = p->o.keeps };
	int pair[2], pipe_[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		return vio_refuse(why, "%s: no socket can be made: %s", p->o.name, strerror(errno));
	if (pipe2(pipe_, O_CLOEXEC) != 0) {
		close(pair[0]);
		close(pair[1]);
		return vio_refuse(why, "%s: no pipe can be made: %s", p->o.name, strerror(errno));
	}
	b.socket = pair[1];
	b.report = pipe_[1];
	bool ok = start_with(p, &b, pipe_[0], why);
	close(pipe_[0]);
	if (ok)
		*fd = pair[0];
	else
		close(pair[0]);
	return ok;
}

struct vmm_isolate *vmm_isolate_start(const struct vmm_isolate_options *o, int *fd, char *why)
{
	for (unsigned i = 0; i < o->keeps; i++)
		if (o->keep[i] == VMM_ISOLATE_FD) {
			vio_refuse(why, "%s: descriptor %d is taken in a device's process: give another one", o->name, VMM_ISOLATE_FD);
			return NULL;
		}
	struct vmm_isolate *p = calloc(1, sizeof *p);
	if (!p) {
		vio_refuse(why, "%s: there is no memory for another process", o->name);
		return NULL;
	}
	p->o = *o;
	if (start(p, fd, why))
		return p;
	free(p);
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
	} else if (too_often(p)) {
		snprintf(more, sizeof more, ", as %d others have in the last %d seconds", VMM_ISOLATE_RESTARTS, VMM_ISOLATE_WINDOW_S);
		give_up(p, how, more);
	} else {
		p->again = (struct vio_timer){ .fn = on_again, .arg = p };
		vio_loop_timer(p->o.loop, &p->again, vio_now_ns() + PAUSE_MS * (lately(p) - 1) * UINT64_C(1000000));
		p->o.news(p->o.arg, VMM_ISOLATE_DIED, -1, how);
	}
}

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
