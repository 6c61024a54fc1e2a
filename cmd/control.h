/*
 * The control socket of a process that has devices (--control=PATH): a line of JSON each way, in the process's loop.
 *
 *   ← {"vio":"0.1.0","control":1,"type":"blk","devices":["vio-blk"],"types":["blk"]}      what greets whoever connects
 *   → {"do":"limit","id":7,"device":0,"bytes":"100M"}                           device: number or name; id: anything
 *   ← {"id":7,"ok":{...}}   or   {"id":7,"error":"a sentence that names the remedy"}
 *   ← {"event":"resized","device":0,...}                                        unasked, after {"do":"events"}
 *
 * What can be done is a table of VERBS: those that every process has (control_verbs.c), the process's own (a machine's), and
 * those of each device's service.  A verb's arguments are checked, and converted, by its declaration before it runs.  Files and
 * sockets that a confined process can't open come as descriptors with the line (SCM_RIGHTS), one for each argument of such a kind,
 * in the order of the declaration.
 *
 * A verb of a device runs in the device's loop, and is answered there; where that is another thread the call goes over, and
 * the answer comes back, as a call of a loop: no lock, and whoever runs a verb has all of it to himself meanwhile.
 * docs/control.md is the page for users; `vio ctl` is the client.
 */
#ifndef VIO_CMD_CONTROL_H
#define VIO_CMD_CONTROL_H
#include "daemon.h"
#include <jansson.h>

enum { VIO_CONTROL_VERSION = 1, VIO_COMMAND_ARGS = 16 };

/* A request being answered. */
struct vio_command {
	struct vio_process *process;
	struct vio_unit *unit;		/* the device it is about; NULL: the verb is the process's */
	json_t *args;			/* what was given: strings, integers and booleans as declared */
	json_t *answer;			/* an object to fill: what stands behind "ok" */
	bool later;			/* set by run: vio_command_done() will be called, and c lives until then */
	struct vio_command **kept;	/* set by run, with later: becomes NULL when c is gone, as at the daemon's end; or NULL */
	const struct vio_verb *verb;
	/* control.c's */
	int fd[VIO_COMMAND_ARGS];		/* by argument; -1 */
	struct control_conn *conn;	/* NULL: who asked has gone */
	struct vio_command *next, *next_of_unit;
	json_t *id;
	struct vio_call hop;		/* to the device's loop, and back */
	char *why;			/* of a failure, on its way back */
	bool in_unit;			/* it is on the unit's list */
};

struct vio_verb {
	const char *name;
	/*
	 * "name:kind [name:kind] ...", brackets for what may be left out.  Kinds: text, number, integer (which may be negative),
	 * size ("64M" too), bool, file (an open file), new (a file that is made), listen, connect (sockets), object and list (unchecked
	 * JSON).
	 */
	const char *args;
	const char *about;		/* one sentence */
	bool of_process;		/* not about one device; runs in the process's loop, others in the device's */
	bool (*run)(struct vio_command *c, char *why);	/* False: why has a sentence */
};

bool vio_command_has(const struct vio_command *c, const char *name);
const char *vio_command_text(const struct vio_command *c, const char *name);		/* NULL: not given */
uint64_t vio_command_number(const struct vio_command *c, const char *name, uint64_t otherwise);
int64_t vio_command_integer(const struct vio_command *c, const char *name, int64_t otherwise);
bool vio_command_flag(const struct vio_command *c, const char *name);			/* false: not given */
/* The descriptor of a file, listen or connect argument, the caller's from now on; -1: not given. */
int vio_command_fd(struct vio_command *c, const char *name);
/* The end of a call that said later, in the loop that it ran in.  why: NULL, or why it failed. */
void vio_command_done(struct vio_command *c, const char *why);

/*
 * Tell whoever listens to events, from the unit's loop or the process's.  more: further members, or NULL; the reference is taken.
 * A unit that does not serve yet, or any more, is not heard.
 */
void vio_control_event(struct vio_unit *u, const char *event, json_t *more);
/* The same of the process itself, in its loop. */
void vio_control_event_of_process(struct vio_process *p, const char *event, json_t *more);

/* For who has the process: listen at path; NULL: why has a sentence.  file: how the socket is removed at the end. */
struct vio_control *vio_control_open(struct vio_process *p, const char *path, struct vio_socket_file *file, char *why);
/* In the process's loop, or when no loop runs any more: units with threads have left. */
void vio_control_close(struct vio_control *c);
/* The unit ends: its loop answers what it has not answered. */
void vio_control_leave(struct vio_unit *u);
/* The device ends: who waits for it to be drained waits in vain. */
void control_undrain(struct vio_unit *u);
#endif
