/*
 * start SOCKET COMMAND...: milliseconds from starting a daemon until it accepts on its socket; then it is ended.
 * The parent sleeps in between, so that it does not take the daemon's time.
 */
#include <errno.h>
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

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct timespec pause = { 0, 20000 };
	pid_t child;

	if (argc < 3 || strlen(argv[1]) >= sizeof a.sun_path) {
		fprintf(stderr, "start: give a socket path and a command.\n");
		return 2;
	}
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
