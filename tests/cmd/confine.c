/*
 * Confinement, tried from inside: a child confines itself and then does what it must not be able to do.
 */
#include "../test.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vio/host/loop.h>
#include <vio/host/sandbox.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED true
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

enum { NOBODY = 65534 };
enum { DONE = 10, DENIED = 11, NOT_CONFINED = 12 };	/* exit statuses of a child; killed is none */

static char folder[] = "/tmp/vio-confine-XXXXXX";	/* with files "mine" and "below/mine", and a file "other" beside it */
static char other[sizeof folder + 8];
static int folder_fd;

/* ---- What a child tries ---- */

static bool worked(long r) { return r >= 0; }

static bool open_file(void) { return worked(open("/etc/hostname", O_RDONLY)); }
static bool create_file(void) { return worked(openat(folder_fd, "new", O_CREAT | O_WRONLY, 0600)); }
static bool make_socket(void) { return worked(socket(AF_UNIX, SOCK_STREAM, 0)); }
static bool make_inet(void) { return worked(socket(AF_INET, SOCK_STREAM, 0)); }
static bool exec_shell(void)
{
	char *argv[] = { "true", NULL };
	execve("/bin/true", argv, NULL);
	return false;
}
static bool trace(void) { return worked(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL)); }
static bool kill_parent(void) { return worked(kill(getppid(), 0)); }
static bool fork_child(void) { return worked(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)); }
static bool map_code(void) { return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED; }
static bool become_root(void) { return worked(setuid(0)); }
static bool mount_proc(void) { return worked(mount("proc", "/mnt", "proc", 0, NULL)); }
static bool new_namespace(void) { return worked(unshare(CLONE_NEWUSER)); }
static bool new_ring(void) { char p[120] = { 0 }; return worked(syscall(SYS_io_uring_setup, 1, p)); }
static bool read_parent(void)
{
	char c;
	struct iovec here = { &c, 1 }, there = { &other, 1 };
	return worked(process_vm_readv(getppid(), &here, 1, &there, 1, 0));
}
static bool dumpable(void) { return worked(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); }
static bool push_input(void) { return worked(ioctl(0, TIOCSTI, "x")); }
static bool rename_file(void) { return worked(renameat(folder_fd, "mine", folder_fd, "yours")); }
static bool remove_by_path(void) { return worked(unlink(other)); }
static bool remove_by_cwd(void) { return worked(unlinkat(AT_FDCWD, other, 0)); }
static bool remove_folder(void) { return worked(unlinkat(folder_fd, "empty", AT_REMOVEDIR)); }
static bool remove_beside(void)
{
	char up[sizeof other + 4];
	snprintf(up, sizeof up, "../%s", strrchr(other, '/') + 1);
	return worked(unlinkat(folder_fd, up, 0));
}
static bool open_by_x32(void) { return worked(syscall(0x40000000 + SYS_open, "/etc/hostname", O_RDONLY)); }

static bool remove_mine(void) { return worked(unlinkat(folder_fd, "mine", 0)); }
static bool serve(void)
{
	char c = 'x';
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return p != MAP_FAILED && fd >= 0 && !ftruncate(fd, 4096) && pwrite(fd, &c, 1, 0) == 1 && pread(fd, &c, 1, 0) == 1
	    && !fdatasync(fd) && !munmap(p, 4096) && fcntl(fd, F_GETFL) >= 0 && !close(fd);
}

enum verdict {
	KILLED,		/* by seccomp */
	KILLED_,	/* the same; a sanitizer needs the call, and then it is denied */
	REFUSED,	/* by Landlock, which a kernel may not have */
	ALLOWED
};
struct attempt { const char *name; bool (*does)(void); enum verdict verdict; };

static const struct attempt attempts[] = {
	{ "open a file", open_file, KILLED_ },
	{ "make a file", create_file, KILLED_ },
	{ "make a Unix socket", make_socket, KILLED },
	{ "make an internet socket", make_inet, KILLED },
	{ "run a program", exec_shell, KILLED },
	{ "trace another process", trace, KILLED },
	{ "signal another process", kill_parent, KILLED },
	{ "make a process", fork_child, KILLED },
	{ "map executable memory", map_code, KILLED },
	{ "become root", become_root, KILLED },
	{ "mount", mount_proc, KILLED },
	{ "make a user namespace", new_namespace, KILLED },
	{ "make an io_uring", new_ring, KILLED },
	{ "read another process", read_parent, KILLED },
	{ "become dumpable again", dumpable, KILLED },
	{ "type into the terminal", push_input, KILLED },
	{ "rename a file", rename_file, KILLED },
	{ "remove a file by its path", remove_by_path, KILLED },
	{ "remove a file from the working folder", remove_by_cwd, KILLED },
	{ "remove a folder", remove_folder, KILLED },
	{ "remove a file elsewhere through the folder", remove_beside, REFUSED },
	{ "open a file by the x32 calls", open_by_x32, KILLED },
	{ "remove a file of the folder", remove_mine, ALLOWED },
	{ "map, read, write, sync, close", serve, ALLOWED },
};

/* ---- Children ---- */

static void be_nobody(void)
{
	if (geteuid() == 0 && (setresgid(NOBODY, NOBODY, NOBODY) || setresuid(NOBODY, NOBODY, NOBODY)))
		_exit(NOT_CONFINED);
}

static bool have_landlock;

static void confine_or_exit(void)
{
	char why[512];
	const char *lacks = NULL;
	struct vio_sandbox_folder removable = { folder_fd, VIO_FOLDER_REMOVE };
	struct vio_sandbox_options o = { .folder = &removable, .folders = 1 };
	if (!vio_sandbox_enter(&o, &lacks, why)) {
		fprintf(stderr, "%s\n", why);
		_exit(NOT_CONFINED);
	}
}

static void end(const struct attempt *a) { _exit(a->does() ? DONE : DENIED); }
static void end_in_thread(void *arg) { end(arg); }

/* The wait status of a child that confines itself and tries. */
static int try(const struct attempt *a, bool nobody, bool in_thread)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (!child) {
		if (nobody)
			be_nobody();
		struct vio_thread *t = in_thread ? vio_thread_start("tries") : NULL;
		confine_or_exit();
		if (!t)
			end(a);
		struct vio_call call = { .fn = end_in_thread, .arg = (void *)(uintptr_t)a };
		vio_loop_call(vio_thread_loop(t), &call);
		for (;;)
			sched_yield();
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static bool as_expected(const struct attempt *a, int status)
{
	bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	switch (a->verdict) {
	case KILLED: return killed;
	case KILLED_: return SANITIZED ? code == DENIED : killed;
	case REFUSED: return !have_landlock || code == DENIED;
	case ALLOWED: return code == DONE;
	}
	return false;
}

static void fill_folder(void)
{
	int fd = openat(folder_fd, "mine", O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
	if (fd >= 0)
		close(fd);
}

static void try_all(bool nobody, bool in_thread)
{
	unsigned wrong = 0;
	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		fill_folder();
		int status = try(&attempts[i], nobody, in_thread);
		if (as_expected(&attempts[i], status))
			continue;
		wrong++;
		print_message("# %s: wait status %#x\n", attempts[i].name, (unsigned)status);
	}
	assert_int_equal(wrong, 0);
}

static void tries_as_root(void **state) { (void)state; try_all(false, false); }
static void tries_as_nobody(void **state) { (void)state; try_all(true, false); }
static void tries_in_thread(void **state) { (void)state; try_all(false, true); }
static void tries_in_thread_as_nobody(void **state) { (void)state; try_all(true, true); }

/* ---- What is left, as the kernel tells it of each thread ---- */

static void expect_line(const char *status, const char *key, const char *value)
{
	const char *line = strstr(status, key);
	assert_non_null(line);
	line += strlen(key) + strspn(line + strlen(key), " \t");
	if (strncmp(line, value, strlen(value)))
		fail_msg("%s%.20s, not %s", key, line, value);
}

static void check_thread(pid_t process, const char *tid)
{
	static const char *const none[] = { "\nCapInh:", "\nCapPrm:", "\nCapEff:", "\nCapAmb:", "\nCapBnd:" };
	char path[80], status[8192];
	snprintf(path, sizeof path, "/proc/%d/task/%s/status", (int)process, tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	ssize_t n = read(fd, status, sizeof status - 1);
	assert_true(n > 0);
	close(fd);
	status[n] = 0;
	/* Who has no capabilities may not drop any from the bounding set either. */
	for (size_t i = 0; i < (geteuid() == 0 ? 5 : 4); i++)
		expect_line(status, none[i], "0000000000000000");
	expect_line(status, "\nNoNewPrivs:", "1");
	expect_line(status, "\nSeccomp:", "2");
}

static void nothing_left(void **state)
{
	(void)state;
	int ready[2];
	char c, path[64];
	assert_int_equal(pipe(ready), 0);
	pid_t child = fork();
	if (!child) {
		vio_thread_start("one");
		vio_thread_start("two");
		confine_or_exit();
		if (write(ready[1], "x", 1) == 1)
			for (;;)
				sched_yield();
		_exit(DONE);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	unsigned threads = 0;
	snprintf(path, sizeof path, "/proc/%d/task/%d", (int)child, (int)child);
	assert_int_equal(access(path, F_OK), 0);
	for (pid_t tid = child; tid < child + 64; tid++) {
		snprintf(path, sizeof path, "/proc/%d/task/%d", (int)child, (int)tid);
		if (access(path, F_OK))
			continue;
		threads++;
		check_thread(child, strrchr(path, '/') + 1);
	}
	assert_in_range(threads, 3, 8);	/* a sanitizer may have one of its own */
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* ---- What a service asks for beyond that, and no more than that ---- */

static bool read_in_folder(void) { return worked(openat(folder_fd, "mine", O_RDONLY)); }
static bool write_in_folder(void) { return worked(openat(folder_fd, "mine", O_WRONLY)); }
static bool read_outside(void) { return worked(openat(AT_FDCWD, "/etc/hostname", O_RDONLY)); }
static bool make_unix(void) { return worked(socket(AF_UNIX, SOCK_STREAM, 0)); }
static bool give_away(void) { return worked(fchownat(folder_fd, "mine", NOBODY, NOBODY, 0)); }
static bool become_nobody(void) { return worked(setuid(NOBODY)); }

static const struct vio_sandbox_call granted_calls[] = {
	{ SYS_openat, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_socket, VIO_CALL_ONE, 0, AF_UNIX, 0 },
	{ SYS_fchownat, VIO_CALL_ANY, 0, 0, 0 },
	{ SYS_setuid, VIO_CALL_ANY, 0, 0, 0 },
	{ -1, 0, 0, 0, 0 },
};

static const struct attempt granted[] = {
	{ "read in the folder", read_in_folder, ALLOWED },
	{ "write in a folder that is for reading", write_in_folder, REFUSED },
	{ "read elsewhere", read_outside, REFUSED },
	{ "make a Unix socket", make_unix, ALLOWED },
	{ "make an internet socket", make_inet, KILLED },
	{ "use a capability that was kept", give_away, ALLOWED },
	{ "map executable memory", map_code, KILLED },
	{ "remove a file, which was not asked for", remove_mine, KILLED },
};

static void grants(void **state)
{
	(void)state;
	if (geteuid()) {
		SKIP_BECAUSE("only root has capabilities to keep");
	}
	unsigned wrong = 0;
	for (size_t i = 0; i < sizeof granted / sizeof *granted; i++) {
		fill_folder();
		pid_t child = fork();
		if (!child) {
			char why[512];
			const char *lacks;
			struct vio_sandbox_folder room[1];
			struct vio_sandbox_options o = { .folder = room, .room = 1, .keep = 1 << 0 /* CAP_CHOWN */ };
			vio_sandbox_calls(&o, granted_calls);
			if (!vio_sandbox_folder(&o, folder_fd, VIO_FOLDER_READ) || vio_sandbox_folder(&o, folder_fd + 1, VIO_FOLDER_READ)
			    || !vio_sandbox_enter(&o, &lacks, why))
				_exit(NOT_CONFINED);
			end(&granted[i]);
		}
		int status;
		assert_int_equal(waitpid(child, &status, 0), child);
		if (as_expected(&granted[i], status))
			continue;
		wrong++;
		print_message("# %s: wait status %#x\n", granted[i].name, (unsigned)status);
	}
	assert_int_equal(wrong, 0);
}

/* A capability that was not kept is gone though its call is allowed. */
static void kept_and_no_more(void **state)
{
	(void)state;
	int status;
	pid_t child = fork();
	if (!child) {
		char why[512];
		const char *lacks;
		struct vio_sandbox_options o = { .keep = 1 << 0 };
		vio_sandbox_calls(&o, granted_calls);
		if (!vio_sandbox_enter(&o, &lacks, why))
			_exit(NOT_CONFINED);
		_exit(become_nobody() ? DONE : DENIED);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == DENIED);
}

/* ---- The folder ---- */

static int set_up(void **state)
{
	(void)state;
	have_landlock = syscall(444, NULL, 0, 1) >= 1;
	if (!mkdtemp(folder))
		return -1;
	snprintf(other, sizeof other, "%s.other", folder);
	int fd = open(other, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
	folder_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	close(fd);
	return fd < 0 || folder_fd < 0 || mkdirat(folder_fd, "empty", 0777) || chmod(folder, 0777) || chmod(other, 0666);
}

static int tear_down(void **state)
{
	(void)state;
	unlinkat(folder_fd, "mine", 0);
	unlinkat(folder_fd, "new", 0);
	unlinkat(folder_fd, "empty", AT_REMOVEDIR);
	close(folder_fd);
	return rmdir(folder) | unlink(other);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(tries_as_root, "a confined process of root can serve, and nothing else"),
		T(tries_as_nobody, "a confined process of nobody can serve, and nothing else"),
		T(tries_in_thread, "threads started before are confined too"),
		T(tries_in_thread_as_nobody, "nobody's threads started before are confined too"),
		T(grants, "a service has what it asks for: calls, folders, capabilities"),
		T(kept_and_no_more, "a capability that is not kept is gone, though the call that needs it is allowed"),
		T(nothing_left, "no thread keeps a capability, and all have seccomp and no_new_privs"),
	};
	cmocka_set_message_output(CM_OUTPUT_TAP);
	return _cmocka_run_group_tests("confine", tests, sizeof tests / sizeof *tests, set_up, tear_down);
}
