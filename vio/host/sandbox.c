#include <vio/host/sandbox.h>
#include <vio/host/why.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/fs.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

enum { PATIENCE_S = 5 };

/* ---- Landlock (Linux 5.13 and later; the numbers are the kernel's, newer than some headers) ---- */

enum { LANDLOCK_CREATE = 444, LANDLOCK_ADD_RULE = 445, LANDLOCK_RESTRICT = 446 };
enum { LANDLOCK_VERSION_FLAG = 1, LANDLOCK_RULE_BENEATH = 1 };
struct landlock_ruleset { uint64_t fs, net, scoped; };
struct __attribute__((packed)) landlock_beneath { uint64_t allowed; int32_t fd; };

/* All a kernel of this ABI can forbid. */
static struct landlock_ruleset everything(long abi, bool network, size_t *size)
{
	static const unsigned fs_rights[] = { 0, 13, 14, 15, 15, 16 };	/* by ABI: 2 REFER, 3 TRUNCATE, 5 IOCTL_DEV */
	struct landlock_ruleset r = { .fs = (UINT64_C(1) << fs_rights[abi < 5 ? abi : 5]) - 1 };
	*size = sizeof r.fs;
	if (abi >= 4) {
		r.net = network ? 0 : 3;	/* bind and connect, TCP */
		*size += sizeof r.net;
	}
	if (abi >= 6) {
		r.scoped = 3;	/* abstract Unix sockets and signals */
		*size += sizeof r.scoped;
	}
	return r;
}

/* A ruleset's descriptor; -1: this kernel has no Landlock; -2: why has a sentence. */
static int landlock_rules(const struct vio_sandbox_options *o, char *why)
{
	long abi = syscall(LANDLOCK_CREATE, NULL, 0, LANDLOCK_VERSION_FLAG);
	if (abi < 1)
		return -1;
	size_t size;
	struct landlock_ruleset r = everything(abi, o->network, &size);
	int fd = (int)syscall(LANDLOCK_CREATE, &r, size, 0);
	for (unsigned i = 0; fd >= 0 && i < o->folders; i++) {
		struct landlock_beneath rule = { o->folder[i].rights & r.fs, o->folder[i].fd };
		if (syscall(LANDLOCK_ADD_RULE, fd, LANDLOCK_RULE_BENEATH, &rule, 0)) {
			close(fd);
			fd = -1;
		}
	}
	if (fd >= 0)
		return fd;
	vio_refuse(why, "cannot set up Landlock: %s; start with --sandbox=none if you must", strerror(errno));
	return -2;
}

/* ---- What each thread gives up for itself ---- */

/* Only system calls: a signal handler calls it.  0 or an errno value. */
static int confine_thread(int landlock_fd, uint64_t keep)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct kept[2] = {
		{ .effective = (uint32_t)keep, .permitted = (uint32_t)keep },
		{ .effective = (uint32_t)(keep >> 32), .permitted = (uint32_t)(keep >> 32) },
	};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return errno;
	/* Without CAP_SETPCAP the bounding set stays, and says nothing: no_new_privs is set. */
	for (unsigned cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (!(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) && errno != EPERM)
			return errno;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) && errno != EINVAL)
		return errno;
	if (landlock_fd >= 0 && syscall(LANDLOCK_RESTRICT, landlock_fd, 0))
		return errno;
	return syscall(SYS_capset, &header, kept) ? errno : 0;
}

/*
 * Capabilities and Landlock belong to a thread, and threads exist already.  A signal makes each of them do it, one by one:
 * SIGSYS, because threads that block signals leave those open that the processor and the kernel raise (vio/host/thread.c).
 */
static struct { int landlock_fd, error; uint64_t keep; sem_t done; } broadcast;

static void on_broadcast(int signal)
{
	(void)signal;
	int saved = errno;
	broadcast.error = confine_thread(broadcast.landlock_fd, broadcast.keep);
	sem_post(&broadcast.done);
	errno = saved;
}

/* The kernel's own threads in our process (io_uring workers) take no signals and run nothing of ours. */
static bool of_the_kernel(const char *tid)
{
	char path[64], name[16] = "";
	snprintf(path, sizeof path, "/proc/self/task/%.20s/comm", tid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, name, sizeof name - 1);
	close(fd);
	return n > 4 && !memcmp(name, "iou-", 4);
}

/* 0 or an errno value. */
static int confine_other(pid_t tid)
{
	struct timespec until;
	if (syscall(SYS_tgkill, getpid(), tid, SIGSYS))
		return errno == ESRCH ? 0 : errno;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	while (sem_timedwait(&broadcast.done, &until))
		if (errno != EINTR)
			return errno;
	return broadcast.error;
}

static bool confine_others(int landlock_fd, uint64_t keep, char *why)
{
	DIR *tasks = opendir("/proc/self/task");
	if (!tasks)
		return vio_refuse(why, "cannot look for my threads in /proc/self/task: %s; mount /proc", strerror(errno));
	struct sigaction old, action = { .sa_handler = on_broadcast, .sa_flags = SA_RESTART };
	sigaction(SIGSYS, &action, &old);
	sem_init(&broadcast.done, 0, 0);
	broadcast.landlock_fd = landlock_fd;
	broadcast.keep = keep;
	int error = 0;
	for (struct dirent *e; !error && (e = readdir(tasks)) != NULL;) {
		pid_t tid = (pid_t)strtol(e->d_name, NULL, 10);
		if (tid > 0 && tid != gettid() && !of_the_kernel(e->d_name))
			error = confine_other(tid);
	}
	closedir(tasks);
	if (error != ETIMEDOUT)		/* the handler may still come */
		sigaction(SIGSYS, &old, NULL);
	return !error || vio_refuse(why, "a thread cannot give up its privileges: %s; start with --sandbox=none if you must",
	    strerror(error));
}

/* ---- seccomp ---- */

#define CALL(name) SCMP_SYS(name)
static const int allowed[] = {
	/* waiting and waking */
	CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_pwait2), CALL(epoll_ctl), CALL(ppoll), CALL(poll), CALL(eventfd2),
	CALL(futex), CALL(restart_syscall), CALL(sched_yield), CALL(timerfd_settime), CALL(timerfd_gettime),
	CALL(clock_gettime), CALL(clock_nanosleep), CALL(nanosleep), CALL(io_uring_enter),
	/* bytes */
	CALL(read), CALL(readv), CALL(pread64), CALL(preadv), CALL(preadv2),
	CALL(write), CALL(writev), CALL(pwrite64), CALL(pwritev), CALL(pwritev2),
	CALL(fsync), CALL(fdatasync), CALL(fallocate), CALL(fstat), CALL(newfstatat), CALL(fstatfs), CALL(lseek), CALL(getrandom),
	/* the front end: its socket and its memory; memfd_create for in-flight regions */
	CALL(accept4), CALL(recvmsg), CALL(sendmsg), CALL(recvfrom), CALL(sendto), CALL(shutdown), CALL(close),
	CALL(memfd_create), CALL(ftruncate), CALL(munmap), CALL(mremap), CALL(madvise), CALL(brk),
	/* threads and signals; tgkill is below */
	CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(sigaltstack), CALL(getpid), CALL(gettid),
	CALL(membarrier), CALL(exit), CALL(exit_group),
#ifdef SANITIZED
	/* a sanitizer that reports reads its own maps, and writes in colour */
	CALL(openat), CALL(open), CALL(readlink), CALL(readlinkat), CALL(getrlimit), CALL(prlimit64), CALL(getuid),
	CALL(geteuid), CALL(getgid), CALL(getegid), CALL(sched_getaffinity), CALL(pipe2), CALL(pipe), CALL(dup), CALL(dup2),
	CALL(stat), CALL(access), CALL(clock_getres), CALL(set_robust_list), CALL(rseq), CALL(getcwd),
#endif
};

/* Calls that are allowed with one value of one argument, or with some bits of it clear. */
struct narrow { int call; unsigned argument; enum scmp_compare how; scmp_datum_t a, b; };
static const struct narrow narrowed[] = {
	{ CALL(mmap), 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 },
	{ CALL(mprotect), 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0 },
	{ CALL(fcntl), 1, SCMP_CMP_EQ, F_GETFD }, { CALL(fcntl), 1, SCMP_CMP_EQ, F_SETFD },
	{ CALL(fcntl), 1, SCMP_CMP_EQ, F_GETFL }, { CALL(fcntl), 1, SCMP_CMP_EQ, F_SETFL },
	{ CALL(fcntl), 1, SCMP_CMP_EQ, F_DUPFD_CLOEXEC },
	{ CALL(fcntl), 1, SCMP_CMP_EQ, F_ADD_SEALS }, { CALL(fcntl), 1, SCMP_CMP_EQ, F_GET_SEALS },
	{ CALL(ioctl), 1, SCMP_CMP_EQ, BLKGETSIZE64 }, { CALL(ioctl), 1, SCMP_CMP_EQ, BLKDISCARD },
	{ CALL(ioctl), 1, SCMP_CMP_EQ, BLKZEROOUT }, { CALL(ioctl), 1, SCMP_CMP_EQ, BLKSECDISCARD },
	{ CALL(getsockopt), 2, SCMP_CMP_EQ, 4 /* SO_ERROR */ }, { CALL(getsockopt), 2, SCMP_CMP_EQ, 17 /* SO_PEERCRED */ },
#ifdef SANITIZED
	{ CALL(ioctl), 1, SCMP_CMP_EQ, TCGETS },
#endif
};

static int add_list(scmp_filter_ctx f, const struct vio_sandbox_call *c)
{
	static const enum scmp_compare how[] = { [VIO_CALL_ONE] = SCMP_CMP_EQ, [VIO_CALL_BITS] = SCMP_CMP_MASKED_EQ };
	int r = 0;
	for (; !r && c && c->call >= 0; c++) {
		struct scmp_arg_cmp compare = { c->argument, how[c->how], c->a, c->b };
		r = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, c->call, c->how != VIO_CALL_ANY, &compare);
		if (r == -EEXIST)	/* another list has it */
			r = 0;
	}
	return r;
}

static int add_rules(scmp_filter_ctx f, const struct vio_sandbox_options *o)
{
	int r = 0;
	for (size_t i = 0; !r && i < sizeof allowed / sizeof *allowed; i++)
		if (allowed[i] >= 0)	/* below 0: this machine has no such call */
			r = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; !r && i < sizeof narrowed / sizeof *narrowed; i++) {
		struct scmp_arg_cmp c = { narrowed[i].argument, narrowed[i].how, narrowed[i].a, narrowed[i].b };
		r = seccomp_rule_add_array(f, SCMP_ACT_ALLOW, narrowed[i].call, 1, &c);
	}
	if (!r)	/* raise() and abort() */
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	for (unsigned i = 0; !r && i < o->folders; i++)
		if (o->folder[i].rights & VIO_FOLDER_REMOVE)
			r = seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(unlinkat), 2,
			    SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)o->folder[i].fd), SCMP_A2(SCMP_CMP_EQ, 0));
	for (unsigned i = 0; !r && i < VIO_SANDBOX_LISTS; i++)
		r = add_list(f, o->calls[i]);
	return r;
}

static bool filter_calls(const struct vio_sandbox_options *o, char *why)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!f)
		return vio_refuse(why, "there is no memory for a seccomp filter: free some");
	int r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!r)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);	/* all threads at once */
	if (!r)
		r = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);	/* a tree, not a list */
	if (!r)
		r = add_rules(f, o);
	if (!r)
		r = seccomp_load(f);
	seccomp_release(f);
	return !r || vio_refuse(why, "cannot load the seccomp filter: %s; start with --sandbox=none if you must", strerror(-r));
}

/* ---- The whole ---- */

bool vio_sandbox_folder(struct vio_sandbox_options *o, int fd, uint32_t rights)
{
	unsigned i = 0;
	while (i < o->folders && o->folder[i].fd != fd)
		i++;
	if (i == o->room)
		return false;
	if (i == o->folders)
		o->folder[o->folders++] = (struct vio_sandbox_folder){ .fd = fd };
	o->folder[i].rights |= rights;
	return true;
}

void vio_sandbox_calls(struct vio_sandbox_options *o, const struct vio_sandbox_call *calls)
{
	unsigned i = 0;
	while (i < VIO_SANDBOX_LISTS && o->calls[i] && o->calls[i] != calls)
		i++;
	assert(i < VIO_SANDBOX_LISTS);
	o->calls[i] = calls;
}

#ifdef SANITIZED
/* The leak check at exit is a debugger of its own process, which is what confinement forbids. */
static bool confined;
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return confined; }
#endif

bool vio_sandbox_enter(const struct vio_sandbox_options *o, const char **lacks, char *why)
{
	int landlock_fd = landlock_rules(o, why);
	if (landlock_fd == -2)
		return false;
	*lacks = landlock_fd < 0 ? "this kernel has no Landlock: seccomp alone keeps files from being opened" : NULL;
	bool ok = confine_others(landlock_fd, o->keep, why);
	int error = ok ? confine_thread(landlock_fd, o->keep) : 0;
	if (error)
		ok = vio_refuse(why, "cannot give up privileges: %s; start with --sandbox=none if you must", strerror(error));
	if (landlock_fd >= 0)
		close(landlock_fd);
	if (!ok)
		return false;
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	ok = filter_calls(o, why);
#ifdef SANITIZED
	confined = ok;
#endif
	return ok;
}
