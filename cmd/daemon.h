/*
 * The life of a device daemon, whatever the device:
 *
 *   options -> threads -> back ends and devices -> sockets -> vhost-user -> confinement -> serve until SIGTERM,
 *   SIGINT or (--once, --connect) the front ends have gone -> stop, flush, close, remove the sockets
 *
 * A service is what a device type adds to that: its options, and how a back end and a device are made of them.
 */
#ifndef VIO_CMD_DAEMON_H
#define VIO_CMD_DAEMON_H
#include "options.h"
#include <vio/host/loop.h>
#include <vio/host/sandbox.h>
#include <vio/host/socket.h>
#include <vio/vhost/backend.h>

#define VIO_VERSION "0.1.0"

enum {	/* the common options, in the order of their table */
	VIO_OPT_SOCKET_PATH, VIO_OPT_FD, VIO_OPT_CONNECT, VIO_OPT_SOCKET_GROUP, VIO_OPT_SOCKET_MODE, VIO_OPT_IOMMU, VIO_OPT_RING,
	VIO_OPT_ONCE, VIO_OPT_CONTROL, VIO_OPT_SANDBOX, VIO_OPT_STOP_DEADLINE, VIO_OPT_VERBOSE, VIO_OPT_PRINT_CAPABILITIES, VIO_OPT_HELP, VIO_OPT_VERSION,
	VIO_OPT_COMMON
};
extern const struct vio_opt vio_daemon_options[VIO_OPT_COMMON];

/* One device of the process. */
struct vio_unit {
	const struct vio_service *service;
	const struct vio_arg *args;	/* VIO_OPT_LIMIT; until the devices are open */
	char *name;			/* in messages */
	struct vio_dev *dev;		/* service->type->instance bytes; service->open opens it */
	void *backend;			/* the service's */
	struct vio_unit_watch { const char *path; int watch; } *watched;	/* refresh when somebody has written one of these files */
	unsigned watches;
	struct vio_vhost *vhost;
	struct vio_socket_file socket;
	struct vio_daemon *daemon;
	struct vio_loop *loop;		/* the home loop */
	enum { VIO_UNIT_IDLE, VIO_UNIT_SERVING, VIO_UNIT_STOPPING, VIO_UNIT_STOPPED } state;
	struct vio_task stop;
	uint64_t stop_deadline_ns;	/* how long what has been begun may take when all ends */
	void *drain;			/* control_verbs.c's: who waits until it is drained */
};

struct vio_verb;
struct json_t;

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

	/* What the control socket offers beside what it always does (control.h): verbs, ended by { NULL }, and figures. */
	const struct vio_verb *verbs;
	void (*stats)(struct vio_unit *u, struct json_t *into);	/* an object, to add members to; may be NULL */

	/* What this service needs in confinement beside what all do: calls, and what grant adds for a unit (32 folders). */
	const struct vio_sandbox_call *calls;	/* ended by { -1 }, or NULL */
	void (*grant)(struct vio_unit *u, struct vio_sandbox_options *o);
};

extern const struct vio_service vio_service_balloon;
extern const struct vio_service vio_service_blk;
extern const struct vio_service vio_service_console;
extern const struct vio_service vio_service_fs;
extern const struct vio_service vio_service_input;
extern const struct vio_service vio_service_net;
extern const struct vio_service vio_service_rng;
extern const struct vio_service vio_service_scsi;
extern const struct vio_service vio_service_switch;
extern const struct vio_service vio_service_vsock;

/* The device-independent features that a device opened with these options is offered with. */
struct vio_features vio_daemon_wire(const struct vio_arg *args);

/* Tell the service manager that we serve (sd_notify(3)), at the socket that NOTIFY_SOCKET names; nothing without one. */
bool vio_notify_open(char *why);
void vio_notify_ready(void);

/* For service->open: refresh when somebody has written this file, whose name stays until then.  False: no memory. */
bool vio_unit_watch(struct vio_unit *u, const char *path);

int vio_daemon(const struct vio_service *s, int argc, char **argv);
int vio_cmd_fs(int argc, char **argv);	/* takes another program's options too */
/* "program: sentence" in one line on standard error. */
void vio_say(const char *program, const char *format, ...) __attribute__((format(printf, 2, 3)));
#endif
