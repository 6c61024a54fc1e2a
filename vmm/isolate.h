/*
 * A device in a process of its own (`vio run --isolate`): our program again, as the daemon of that device, which confines itself.
 *
 *     p = vmm_isolate_start(&options, &fd, why);      fd: the machine's end of a socket, for vio_remote_connect()
 *     ...
 *     vmm_isolate_end(p, patience);                   first free the remote device: then the process ends by itself
 *
 *   the machine ── socket pair ── vio blk --fd=255 ...          no guest byte is read on this side
 *        └───────── pidfd ──────────┘ dies: a sentence, and another one is started, at most so often
 *
 * The process has its standard descriptors (input is /dev/null), its end of the socket and those that the options name, and
 * nothing else of ours.  It ends with the machine: its socket ends, and should it not notice, the kernel sends SIGTERM when the
 * thread that started it has gone.  So: start all of them in one thread that lives as long as the machine, the home thread.
 *
 * All functions in that thread.  No KVM here.
 */
#ifndef VMM_ISOLATE_H
#define VMM_ISOLATE_H
#include <vio/host/loop.h>
#include <vio/host/sandbox.h>
#include <vio/host/why.h>

struct vmm_isolate;

enum { VMM_ISOLATE_FD = 255 };		/* what the process's end of the socket is called there: --fd=255 */
enum { VMM_ISOLATE_RESTARTS = 5, VMM_ISOLATE_WINDOW_S = 60 };	/* more deaths than that in so long, and it is given up */

enum vmm_isolate_news {
	VMM_ISOLATE_DIED,		/* why says how; another one is started soon */
	VMM_ISOLATE_STARTED,		/* another one: fd is our end of its socket, for vio_remote_again(), and whoever hears this closes it */
	VMM_ISOLATE_GIVEN_UP		/* why says how it died, and that no other is started */
};

struct vmm_isolate_options {
	const char *program;		/* NULL: /proc/self/exe */
	char *const *argv;		/* its whole command line, "--fd=255" in it, ended by NULL; must stay */
	const char *name;		/* in messages: "blk0"; must stay */
	const int *keep;		/* descriptors that argv names: they are there too, under their numbers */
	unsigned keeps;
	bool restart;
	/*
	 * For a machine that can start no program later because it is confined: so many processes, VMM_ISOLATE_RESTARTS at most, are
	 * forked at once and wait, with nothing open but what they will have.  Only as many restarts there are then.
	 */
	unsigned spares;
	struct vio_loop *loop;		/* that the starting thread runs */
	void (*news)(void *arg, enum vmm_isolate_news news, int fd, const char *why);	/* fd -1 unless STARTED */
	void *arg;
};

/* What a confined machine calls to see them end, and to let those that wait begin. */
extern const struct vio_sandbox_call vmm_isolate_calls[];

/* NULL: why has a sentence.  *fd is the caller's. */
struct vmm_isolate *vmm_isolate_start(const struct vmm_isolate_options *o, int *fd, char *why);
/* -1: it is dead now. */
int vmm_isolate_pid(const struct vmm_isolate *p);
/*
 * Wait until it has ended, at most patience_ns for each of: by itself, asked by SIGTERM; then it is killed.  Frees p.  True: it
 * ended well, or had been given up before.
 */
bool vmm_isolate_end(struct vmm_isolate *p, uint64_t patience_ns);
#endif
