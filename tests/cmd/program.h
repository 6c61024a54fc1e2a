/* The program under test, started as a user would, with its standard error read back. */
#ifndef VIO_TESTS_CMD_PROGRAM_H
#define VIO_TESTS_CMD_PROGRAM_H
#include "../test.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS = 40, NOBODY = 65534, PATIENCE_MS = 20000 };

struct program {
	const char *path;		/* NULL: VIO_PROGRAM */
	const char *args[ARGS];		/* after argv[0]; ends with NULL */
	bool nobody;			/* start as user nobody */
	int give_fd;			/* becomes descriptor 9, without close-on-exec; 0: none */
	/* Filled. */
	pid_t pid;
	int out;			/* both outputs */
	char said[16384];
	size_t said_len;
	int status;			/* exit status; 1000 + signal */
};

static inline void program_child(struct program *p, int out)
{
	char *argv[ARGS + 2];
	int n = 0;
	const char *path = p->path ? p->path : VIO_PROGRAM;
	argv[n++] = (char *)(uintptr_t)path;
	for (const char *const *a = p->args; *a; a++)
		argv[n++] = (char *)(uintptr_t)*a;
	argv[n] = NULL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);	/* a test that fails leaves nothing behind */
	dup2(out, 1);
	dup2(out, 2);
	if (p->give_fd)
		dup2(p->give_fd, 9);
	if (p->nobody && geteuid() == 0
	    && (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)))
		_exit(99);
	execv(path, argv);
	_exit(98);
}

static inline void program_start(struct program *p)
{
	int out[2];
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (!p->pid)
		program_child(p, out[1]);
	close(out[1]);
	p->out = out[0];
	p->said_len = 0;
	p->said[0] = 0;
}

/* Read on; false at the end. */
static inline bool program_listen(struct program *p)
{
	struct pollfd f = { .fd = p->out, .events = POLLIN };
	if (poll(&f, 1, PATIENCE_MS) <= 0)
		fail_msg("%s says nothing more after: %s", p->args[0], p->said);
	ssize_t n = read(p->out, p->said + p->said_len, sizeof p->said - 1 - p->said_len);
	if (n <= 0)
		return false;
	p->said_len += (size_t)n;
	p->said[p->said_len] = 0;
	return true;
}

static inline void program_end(struct program *p)
{
	int status;
	while (program_listen(p))
		;
	close(p->out);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	p->status = WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static inline void program_run(struct program *p)
{
	program_start(p);
	program_end(p);
}

/* Until the words have been said, which must happen. */
static inline void program_until(struct program *p, const char *words)
{
	while (!strstr(p->said, words))
		if (!program_listen(p))
			fail_msg("%s ended without saying \"%s\": %s", p->args[0], words, p->said);
}

static inline void program_stop(struct program *p, int signal)
{
	kill(p->pid, signal);
	program_end(p);
}
#endif
