/*
 * The control socket of a daemon (--control=PATH): a line of JSON each way, in the home loop.
 *
 *   ← {"vio":"0.1.0","control":1,"type":"blk","devices":["vio-blk"]}            what greets whoever connects
 *   → {"do":"limit","id":7,"device":0,"bytes":"100M"}                           device: 0 unless given; id: anything
 *   ← {"id":7,"ok":{...}}   or   {"id":7,"error":"a sentence that names the remedy"}
 *   ← {"event":"resized","device":0,...}                                        unasked, after {"do":"events"}
 *
 * What can be done is a table of VERBS: those that every daemon has (control.c) and the service's own.  A verb's arguments
 * are checked, and converted, by its declaration before it runs.  Files and sockets that a confined daemon can't open come
 * as descriptors with the line (SCM_RIGHTS), one for each argument of such a kind, in the order of the declaration.
 * docs/control.md is the page for users; `vio ctl` is the client.
 */
#ifndef VIO_CMD_CONTROL_H
#define VIO_CMD_CONTROL_H
#include "daemon.h"
#include <jansson.h>

enum { VIO_CONTROL_VERSION = 1, VIO_COMMAND_ARGS = 16 };

/* A request being answered. */
struct vio_command {
	struct vio_daemon *daemon;
	struct vio_unit *unit;		/* the device it is about; NULL: the verb is the process's */
	json_t *args;			/* what was given: strings, integers and booleans as declared */
	json_t *answer;			/* an object to fill: what stands behind "ok" */
	bool later;			/* set by run: vio_command_done() will be called, and c lives until then */
	struct vio_command **kept;	/* set by run, with later: becomes NULL when c is gone, as at the daemon's end; or NULL */
	const struct vio_verb *verb;
	/* control.c's */
	int fd[VIO_COMMAND_ARGS];		/* by argument; -1 */
	struct control_conn *conn;	/* NULL: who asked has gone */
	struct vio_command *next;
	json_t *id;
};

struct vio_verb {
	const char *name;
	/*
	 * "name:kind [name:kind] ...", brackets for what may be left out.  Kinds: text, number, integer (which may be negative),
	 * size ("64M" too), bool, file (an open file), listen, connect (Unix sockets), object and list (unchecked JSON).
	 */
	const char *args;
	const char *about;		/* one sentence */
	bool of_process;		/* not about one device */
	bool (*run)(struct vio_command *c, char *why);	/* home loop.  False: why has a sentence */
};

bool vio_command_has(const struct vio_command *c, const char *name);
const char *vio_command_text(const struct vio_command *c, const char *name);		/* NULL: not given */
uint64_t vio_command_number(const struct vio_command *c, const char *name, uint64_t otherwise);
int64_t vio_command_integer(const struct vio_command *c, const char *name, int64_t otherwise);
bool vio_command_flag(const struct vio_command *c, const char *name);			/* false: not given */
/* The descriptor of a file, listen or connect argument, the caller's from now on; -1: not given. */
int vio_command_fd(struct vio_command *c, const char *name);
/* The end of a call that said later.  why: NULL, or why it failed. */
void vio_command_done(struct vio_command *c, const char *why);

/* Tell whoever listens to events (home loop).  more: further members, or NULL; the reference is taken. */
void vio_control_event(struct vio_unit *u, const char *event, json_t *more);

/* For daemon.c: listen at path; NULL: why has a sentence.  file: how the socket is removed at the end. */
struct vio_control;
struct vio_control *vio_control_open(struct vio_daemon *d, const char *path, struct vio_socket_file *file, char *why);
void vio_control_close(struct vio_control *c);

/* For control.c, by daemon.c */
const struct vio_service *vio_daemon_service(const struct vio_daemon *d);
struct vio_unit *vio_daemon_unit(struct vio_daemon *d, unsigned i);	/* NULL: there are fewer */
struct vio_control *vio_daemon_control(const struct vio_daemon *d);
void vio_daemon_quit(struct vio_daemon *d);
/* The device ends: who waits for it to be drained waits in vain. */
void control_undrain(struct vio_unit *u);
#endif
