/*
 * One device of a process, whoever serves it to a driver:
 *
 *   a SERVICE is what a device type adds: its options, and how a back end and a device are made of them;
 *   a UNIT is one device: what it was told (args), its back end, the device core's instance, the loop that it lives in;
 *   the PROCESS has the units: a daemon (daemon.h), which gives each a socket and vhost-user, all in one home loop; or a
 *   machine (run.c), which attaches each to a bus, every unit with a thread and a loop of its own.
 *
 * A unit is opened, asked, drained, flushed and closed in its loop.  What the process does, its control socket and its signals
 * are in the process's loop; where these are two loops, one calls the other and never waits (but for opening).
 */
#ifndef VIO_CMD_UNIT_H
#define VIO_CMD_UNIT_H
#include "options.h"
#include <signal.h>
#include <vio/device/dev.h>
#include <vio/host/loop.h>
#include <vio/host/sandbox.h>
#include <vio/host/socket.h>

struct json_t;
struct vio_control;
struct vio_service;
struct vio_unit;
struct vio_verb;
struct vio_vhost;

struct vio_process {
	const char *program;		/* in messages: "vio-blk" */
	const char *type;		/* in the control socket's greeting: "blk", "machine" */
	struct vio_loop *loop;
	struct vio_unit **unit;		/* those that can be asked, in order; changed in loop only */
	unsigned units;
	const struct vio_verb *verbs;	/* its own, ended by { NULL }; NULL: none */
	void (*quit)(struct vio_process *p);	/* somebody wants all to end; in loop */
	struct vio_control *control;	/* NULL: none; stays while there are units */
	void *arg;			/* the process's own */
	bool arriving;			/* another process has what its units are to have, and hands it over later */
	bool prefixed;			/* on its terminal Ctrl-A x is the way out, not Ctrl-] */
	struct vio_call quit_call;	/* vio_process_quit()'s */
	bool quit_asked;		/* atomic */
};
/*
 * What every process with devices does first, before there are threads: SIGTERM, SIGINT, SIGHUP and SIGWINCH are blocked (in *blocked:
 * the first three, for a signalfd), the limit of open files is raised, faults in files that shrank are caught.  False: why.
 */
bool vio_process_begin(sigset_t *blocked, char *why);
/* As a signal would: from any thread. */
void vio_process_quit(struct vio_process *p);
/* NULL: there are fewer. */
struct vio_unit *vio_process_unit(const struct vio_process *p, unsigned i);

struct vio_unit_watch { const char *path; int watch; };

struct vio_unit {
	const struct vio_service *service;
	const struct vio_arg *args;	/* VIO_OPT_LIMIT; a daemon's only until the devices are open */
	char *name;			/* in messages */
	const char *id;			/* at the control socket; name unless set */
	struct vio_dev *dev;		/* service->type->instance bytes; service->open opens it */
	void *backend;			/* the service's */
	struct vio_unit_watch *watched;	/* refresh when somebody has written one of these files */
	unsigned watches;
	struct vio_process *process;
	struct vio_loop *loop;		/* the home loop */
	enum { VIO_UNIT_IDLE, VIO_UNIT_SERVING, VIO_UNIT_STOPPING, VIO_UNIT_STOPPED } state;
	uint64_t stop_deadline_ns;	/* how long what has been begun may take when all ends */
	void *drain;			/* control_verbs.c's: who waits until it is drained */
	struct vio_command *commands;	/* control.c's: what it has not answered */
	/* A daemon's. */
	struct vio_vhost *vhost;
	struct vio_socket_file socket;
	struct vio_task stop;
	/* A machine's: unit_thread.c's. */
	struct vio_thread *thread;
	struct unit_end *end;
};

struct vio_service {
	const struct vio_dev_type *type;
	const char *program;		/* "vio-blk": in messages, and a name to be started by */
	const char *capabilities;	/* one line of JSON: QEMU, docs/interop/vhost-user.json */
	struct vio_opt_table options;
	unsigned threads_option, poll_option, always_option;	/* places in the table; 0: there is no such option */

	/* Is all well?  Nothing is touched yet.  False: why has a sentence. */
	bool (*check)(const struct vio_arg *args, char *why);
	/* Make u->backend and open u->dev.  False: why has a sentence, nothing is left open. */
	bool (*open)(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why);
	/* Look at the back end again; may be NULL. */
	void (*refresh)(struct vio_unit *u);
	/* Put what was written on stable storage, before close; done() once, in the home loop.  NULL: nothing to do. */
	void (*flush)(struct vio_unit *u, void (*done)(struct vio_unit *u, int error));
	void (*close)(struct vio_unit *u);	/* the device is closed */
	/*
	 * What only one process may have, such as an image's locks: let go of it (away), or take it; nothing is in flight.  Where
	 * process->arriving it is not taken by open.  False: why, and nothing has changed.  NULL: there is no such thing.
	 */
	bool (*hand)(struct vio_unit *u, bool away, char *why);

	/* What the control socket offers beside what it always does (control.h): verbs, ended by { NULL }, and figures. */
	const struct vio_verb *verbs;
	void (*stats)(struct vio_unit *u, struct json_t *into);	/* an object, to add members to; may be NULL */

	/* What this service needs in confinement beside what all do: calls, and what grant adds for a unit (32 folders). */
	const struct vio_sandbox_call *calls;	/* ended by { -1 }, or NULL */
	void (*grant)(struct vio_unit *u, struct vio_sandbox_options *o);
};

/* "program: sentence" in one line on standard error. */
void vio_say(const char *program, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For service->open: refresh when somebody has written this file, whose name stays until then.  False: no memory. */
bool vio_unit_watch(struct vio_unit *u, const char *path);

/* ---- For who has units ---- */

/* Back end and device; name, args, process and loop are set.  False: why has a sentence, and nothing is left open. */
bool vio_unit_open(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why);
/* No queue runs.  Name and all. */
void vio_unit_close(struct vio_unit *u);
/* What was written is on stable storage, if it can be; done() once. */
void vio_unit_flush(struct vio_unit *u, void (*done)(struct vio_unit *u, int error));
/* Is there a driver? */
bool vio_unit_connected(const struct vio_unit *u);
/* Every queue has a turn soon: what it waited for may be there. */
void vio_unit_turn_all(struct vio_unit *u);
/* What confinement must leave it. */
void vio_unit_grant(struct vio_unit *u, struct vio_sandbox_options *o);

/* ---- Files that change (inotify), for the units of one loop ---- */

struct vio_changes { struct vio_watch watch; struct vio_loop *loop; struct vio_unit *const *unit; unsigned units; };
/*
 * Refresh units when one of their files was written.  Not vital: SIGHUP does it too, so a host that has run out of inotify
 * instances is no reason to fail; verbose says so.  The array stays.
 */
void vio_changes_open(struct vio_changes *c, struct vio_loop *l, struct vio_unit *const *unit, unsigned units, bool verbose);
void vio_changes_close(struct vio_changes *c);

/* ---- A unit with a thread of its own (unit_thread.c) ---- */

/*
 * Start a thread, open the unit there, and wait for that.  u->loop is the thread's from then on, and the unit is serving.
 * False: why has a sentence, nothing is left.
 */
bool vio_unit_start(struct vio_unit *u, char *why);
/*
 * In the process's loop, when the unit is not among the process's any more and no driver reaches it: queues stop, what was
 * written is flushed, all is closed, the thread ends; then gone(u), in the process's loop.  error: what the flush said, or ETIMEDOUT:
 * something in flight has not ended in u->stop_deadline_ns; then nothing is closed and the thread goes on.
 */
void vio_unit_leave(struct vio_unit *u, void (*gone)(struct vio_unit *u, int error));
/* Look at the back end again (SIGHUP): from the process's loop. */
void vio_unit_look_again(struct vio_unit *u);
#endif
