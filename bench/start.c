/*
 * start SOCKET COMMAND...: milliseconds from starting a daemon until it accepts on its socket; then it is ended.
 * start - COMMAND...: the same until it prints an exclamation mark.
 * The parent sleeps in between, so that it does not take the daemon's time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "probe.h"

extern char **environ;

static bool accepts(const struct sockaddr_un *a)
{
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = s >= 0 && connect(s, (const struct sockaddr *)a, sizeof *a) == 0;
	if (s >= 0)
		close(s);
	return yes;
}

/* Its standard output is a pipe, of which to gets our end. */
static int start_heard(char **command, pid_t *child, int *to)
{
	posix_spawn_file_actions_t actions;
	int fd[2], error;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd[1], STDOUT_FILENO);
	error = posix_spawnp(child, *command, &actions, NULL, command, environ);
	close(fd[1]);
	*to = fd[0];
	return error;
}

static bool says(int fd)
{
	char c = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	while (c != '!')
		if (poll(&p, 1, 20000) <= 0 || read(fd, &c, 1) <= 0)
			return false;
	return true;
}

static int until_said(char **command)
{
	uint64_t from = probe_now_ns();
	pid_t child;
	int fd = -1, error = start_heard(command, &child, &fd);

	if (error) {
		fprintf(stderr, "start: %s: %s.\n", *command, strerror(error));
		return 1;
	}
	bool good = says(fd);
	uint64_t now = probe_now_ns();
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	if (!good) {
		fprintf(stderr, "start: %s said nothing.\n", *command);
		return 1;
	}
	printf("%.3f\n", (double)(now - from) / 1e6);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timespec pause = { 0, 20000 };
	pid_t child;

	if (argc < 3 || strlen(argv[1]) >= sizeof a.sun_path) {
		fprintf(stderr, "start: give a socket path and a command.\n");
		return 2;
	}
	if (!strcmp(argv[1], "-"))
		return until_said(argv + 2);
	strcpy(a.sun_path, argv[1]);
	unlink(argv[1]);
	uint64_t from = probe_now_ns();
	int error = posix_spawnp(&child, argv[2], NULL, NULL, argv + 2, environ);
	if (error) {
		fprintf(stderr, "start: %s: %s.\n", argv[2], strerror(error));
		return 1;
	}
	bool ready;
	uint64_t now;
	while (!(ready = accepts(&a)) && (now = probe_now_ns()) - from < UINT64_C(5000000000) && waitpid(child, NULL, WNOHANG) == 0)
		nanosleep(&pause, NULL);
	now = probe_now_ns();
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
	if (!ready) {
		fprintf(stderr, "start: %s did not accept at %s.\n", argv[2], argv[1]);
		return 1;
	}
	printf("%.3f\n", (double)(now - from) / 1e6);
	return 0;
}
