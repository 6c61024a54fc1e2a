/*
 * vio run, between its files: the life (run.c), the devices (run_units.c), the serial port's other end (run_serial.c), what can be
 * asked while it runs (run_verbs.c), confinement (run_confine.c).
 *
 * All of it is in the home loop, but for the devices, each of which has a thread and a loop of its own (unit.h).
 */
#ifndef VIO_CMD_RUN_H
#define VIO_CMD_RUN_H
#include "control.h"
#include "run_words.h"
#include <vio/vhost/remote.h>
#include <vmm/isolate.h>
#include <vmm/machine.h>

enum { RUN_UNITS = 32 };

struct run_unit {
	struct vio_unit unit;		/* first */
	struct run_device device;
	char said[RUN_NAME + 12];	/* "vio run: blk0" */
	struct vmm_device *attached;
	bool leaving;
	struct run *run;
	/* run_far.c's, of a device that another process serves. */
	struct vio_service far;
	struct vio_dev_type far_type;
	struct vio_remote *remote;	/* in the unit's loop; NULL: served here */
	struct vmm_isolate *isolate;	/* its process, if it is ours */
	int far_fd;
	unsigned ill_told;
};

struct run_serial;
struct run_move;

struct run {
	struct run_words words;
	struct vio_process process;
	struct vio_unit *asked[RUN_UNITS];	/* process.unit: those of unit[] that can be asked */
	struct run_unit *unit[RUN_UNITS];	/* all that are there, those that leave too */
	unsigned units;
	unsigned plugged;		/* since the beginning */
	struct vmm *m;
	struct vmm_load load;
	struct run_serial *serial;	/* NULL: nobody is at its other end */
	struct run_move *move;
	struct vio_socket_file control_file;
	struct vio_watch signals;
	struct vio_timer patience;	/* the guest was asked to switch off */
	uint64_t began_ns;
	bool stopping;
	unsigned stuck;			/* devices that could not be closed */
	unsigned signalled;
	int status;
};

/* ---- run.c ---- */

/* All ends: the machine, the devices, the loop.  Again: nothing. */
void run_stop(struct run *r);
/* The guest is asked to switch itself off; who does not is stopped after a while. */
void run_power_button(struct run *r);
/* One unit more is gone. */
void run_unit_gone(struct run *r);

/* ---- run_units.c ---- */

/* Start what the words say, and attach it.  False: why; those that are there already stay. */
bool run_units_open(struct run *r, char *why);
/* One more, of a machine that runs: its name in *name.  False: why, and nothing has changed. */
bool run_unit_plug(struct run *r, const char *type, const char *words, const char **name, char *why);
struct run_unit *run_unit_named(struct run *r, const char *name);
/* What only one process may have goes to another one, or comes; arg is the run.  False: why, and all is as before (give). */
bool run_units_give(void *arg, char *why);
bool run_units_take(void *arg, char *why);
/* The guest has it no longer: it stops, flushes, closes. */
void run_unit_leave(struct run_unit *u);

/* ---- run_far.c ---- */

/* The unit's service is another process, which is started if need be.  False: why, and nothing is left. */
bool run_far_prepare(struct run_unit *u, char *why);
/* The unit is closed: so ends its process. */
void run_far_end(struct run_unit *u);

/* ---- run_serial.c ---- */

/* What the machine is given: descriptors for the guest's side; -1: none. */
bool run_serial_open(struct run *r, int *in, int *out, char *why);
void run_serial_close(struct run_serial *s);
void run_serial_grant(const struct run_serial *s, struct vio_sandbox_options *o);

/* ---- run_move.c ---- */

/* Before confinement: files, keys, sockets.  Then, in place of a kernel if that is what the words say: a snapshot, or waiting for a call. */
bool run_move_open(struct run *r, char *why);
bool run_move_begin(struct run *r, char *why);
void run_move_stop(struct run *r);	/* what is under way ends */
void run_move_close(struct run_move *v);
void run_move_grant(const struct run_move *v, struct vio_sandbox_options *o);

/* ---- run_verbs.c, run_confine.c ---- */

extern const struct vio_verb run_verbs[];
/* run_move.c's, which run_verbs[] has among its own. */
bool run_snapshot(struct vio_command *c, char *why);
bool run_migrate(struct vio_command *c, char *why);
bool run_migrate_cancel(struct vio_command *c, char *why);
bool run_migration(struct vio_command *c, char *why);
bool run_confine(struct run *r, char *why);
#endif
