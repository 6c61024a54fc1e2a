/* User-mode networking's process: started before confinement, spoken to by a socket, seen to its end. */
#include "net.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vio/host/why.h>

enum { START_MS = 10000, ASK_MS = 2000, END_MS = 2000 };
extern char **environ;

/* An answer: empty, or a sentence. */
static bool hear(int control, int patience_ms, char *why)
{
	struct pollfd p = { .fd = control, .events = POLLIN };
	int n;
	do
		n = poll(&p, 1, patience_ms);
	while (n < 0 && errno == EINTR);
	ssize_t got = n > 0 ? recv(control, why, VIO_WHY - 1, MSG_DONTWAIT) : -1;
	if (got == 0)
		return vio_refuse(why, "the process that runs user-mode networking has died; it may have said why");
	if (got < 0)
		return vio_refuse(why, "the process that runs user-mode networking does not answer: restart this daemon");
	why[got] = 0;
	return !*why;
}

static bool spawn(struct vio_user *u, char **argv, const int *theirs, char *why)
{
	posix_spawn_file_actions_t files;
	pid_t pid;
	posix_spawn_file_actions_init(&files);
	for (unsigned i = 0; i < 2; i++)	/* the same number: only that it stays open */
		posix_spawn_file_actions_adddup2(&files, theirs[i], theirs[i]);
	/* It is nobody's to wait for: nothing remains of it when it ends. */
	struct sigaction forget = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT };
	sigaction(SIGCHLD, &forget, NULL);
	int error = posix_spawn(&pid, "/proc/self/exe", &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (error)
		return vio_refuse(why, "cannot start user-mode networking: %s; is /proc mounted?", strerror(error));
	u->process = (int)syscall(SYS_pidfd_open, pid, 0);
	return true;
}

bool vio_user_start(struct vio_user *u, const struct vio_user_options *o, char *why)
{
	char fd[24], control[32], network[40], hostname[64], mtu[24];
	enum { FIXED = 12 };
	unsigned n = 0, forwards = 0;
	int line[2], talk[2];
	for (const struct vio_opt_word *w = o->forwards; w; w = w->next)
		forwards++;
	char **argv = calloc(FIXED + 2 * forwards, sizeof *argv);
	*u = (struct vio_user){ -1, -1, -1 };
	if (!argv || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line)) {
		free(argv);
		return vio_refuse(why, "cannot make sockets for user-mode networking: %s; raise the limit of open files (ulimit -n)", strerror(errno));
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, talk)) {
		close(line[0]);
		close(line[1]);
		free(argv);
		return vio_refuse(why, "cannot make sockets for user-mode networking: %s; raise the limit of open files (ulimit -n)", strerror(errno));
	}
	int buffer = 1 << 20;	/* what the kernel allows of it */
	setsockopt(line[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	setsockopt(line[1], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	snprintf(fd, sizeof fd, "--fd=%d", line[1]);
	snprintf(control, sizeof control, "--control-fd=%d", talk[1]);
	snprintf(mtu, sizeof mtu, "--mtu=%u", o->mtu ? o->mtu : 1500u);
	argv[n++] = "vio";
	argv[n++] = "slirp";
	argv[n++] = fd;
	argv[n++] = control;
	argv[n++] = mtu;
	if (o->network) {
		snprintf(network, sizeof network, "--network=%s", o->network);
		argv[n++] = network;
	}
	if (o->hostname) {
		snprintf(hostname, sizeof hostname, "--hostname=%s", o->hostname);
		argv[n++] = hostname;
	}
	if (o->restricted)
		argv[n++] = "--restrict";
	if (o->no_ipv6)
		argv[n++] = "--no-ipv6";
	if (o->no_sandbox)
		argv[n++] = "--sandbox=none";
	for (const struct vio_opt_word *w = o->forwards; w; w = w->next) {
		argv[n++] = "--forward";
		argv[n++] = (char *)w->text;
	}
	bool ok = spawn(u, argv, (const int[]){ line[1], talk[1] }, why);
	free(argv);
	close(line[1]);
	close(talk[1]);
	u->fd = line[0];
	u->control = talk[0];
	if (ok && hear(u->control, START_MS, why))
		return true;
	close(u->fd);
	vio_user_end(u);
	return false;
}

bool vio_user_ask(struct vio_user *u, const char *request, char *why)
{
	size_t n = strlen(request);
	if (n > VIO_SLIRP_FORWARD_MAX)
		return vio_refuse(why, "a port forward is at most %d characters long", VIO_SLIRP_FORWARD_MAX);
	if (send(u->control, request, n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return vio_refuse(why, "the process that runs user-mode networking has died: restart this daemon");
	return hear(u->control, ASK_MS, why);
}

void vio_user_end(struct vio_user *u)
{
	struct pollfd p = { .fd = u->process, .events = POLLIN };
	if (u->control >= 0)
		close(u->control);
	if (u->process >= 0) {
		poll(&p, 1, END_MS);
		close(u->process);
	}
	*u = (struct vio_user){ -1, -1, -1 };
}
