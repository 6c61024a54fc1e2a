/*
 * A machine that goes elsewhere: to a file and back (snapshot, --restore), to another process (migrate, --incoming).
 *
 * What waits for somebody else, a call that is taken or a TLS hand-shake, is done in a thread of its own, the waiter; it and the keys
 * are there before confinement.  The machine's own mover (vmm/migrate.h) does the rest.
 */
#include "run.h"
#include <fcntl.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vio/host/disk.h>
#include <vio/host/why.h>
#include <vmm/migrate.h>

struct run_move {
	struct run *run;
	struct vio_tls tls;
	struct vio_thread *waiter;
	int listener;			/* --incoming; -1: none, or the call has come */
	struct vio_socket_file socket;	/* the listener's, of unix: */
	char *path;
	int snapshot;			/* --restore; -1 */
	/* One thing at a time. */
	bool busy;
	struct vio_command *asked;	/* migrate: who asked; NULL: nobody, or gone */
	struct vmm_moving how;
	int fd;				/* the waiter's, to call with */
	struct vio_call call;		/* to the waiter, and back */
	char why[VIO_WHY];
};

static bool give(void *arg, char *why) { return run_units_give(((struct run_move *)arg)->run, why); }
static bool take(void *arg, char *why) { return run_units_take(((struct run_move *)arg)->run, why); }

/* ---- Out ---- */

static void answer(struct run_move *v, const char *why)
{
	struct vio_command *c = v->asked;

	v->busy = false;
	v->asked = NULL;
	if (c)
		vio_command_done(c, why);
	else if (why)
		vio_say("vio run", "the machine did not move: %s", why);
}

static json_t *told_of(const struct vmm_moving_told *t)
{
	return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I}", "rounds", (int)t->rounds, "bytes", (json_int_t)t->bytes, "memory_bytes",
	    (json_int_t)t->memory_bytes, "remaining", (json_int_t)t->remaining, "total_ms", (json_int_t)(t->total_ns / 1000000), "down_ms",
	    (json_int_t)(t->down_ns / 1000000));
}

static void moved_out(void *arg, enum vmm_moved moved, const struct vmm_moving_told *told, const char *why)
{
	struct run_move *v = arg;

	if (moved != VMM_MOVED_OK) {
		answer(v, why);
		return;
	}
	if (v->asked)
		json_object_update_new(v->asked->answer, told_of(told));
	answer(v, NULL);
	vio_control_event_of_process(&v->run->process, "moved", told_of(told));
	run_stop(v->run);
}

static void called(void *arg)
{
	struct run_move *v = arg;

	if (!v->how.channel || !vmm_migrate(v->run->m, &v->how, v->why))
		answer(v, v->why);
}

/* In the waiter. */
static void call_there(void *arg)
{
	struct run_move *v = arg;

	v->how.channel = vio_channel_socket(v->fd, false, &v->tls, v->why);
	v->call = (struct vio_call){ .fn = called, .arg = v };
	vio_loop_call(v->run->process.loop, &v->call);
}

bool run_migrate(struct vio_command *c, char *why)
{
	struct run *r = c->process->arg;
	struct run_move *v = r->move;
	uint64_t down = vio_command_number(c, "down-ms", 0), rounds = vio_command_number(c, "rounds", 0);

	if (v->busy)
		return vio_refuse(why, "the machine is on its way already: \"migrate-cancel\" calls it back");
	if (down > 3600000 || rounds > 100000)
		return vio_refuse(why, "that is no bound: give down-ms of an hour at most, and at most 100000 rounds");
	v->fd = vio_command_fd(c, "to");
	v->how = (struct vmm_moving){ .down_ms = (unsigned)down, .bytes_per_second = vio_command_number(c, "bytes", 0), .rounds = (unsigned)rounds,
		.give = give, .take = take, .done = moved_out, .arg = v };
	v->busy = true;
	v->asked = c;
	c->kept = &v->asked;
	c->later = true;
	v->call = (struct vio_call){ .fn = call_there, .arg = v };
	vio_loop_call(vio_thread_loop(v->waiter), &v->call);
	return true;
}

bool run_migrate_cancel(struct vio_command *c, char *why)
{
	struct run *r = c->process->arg;

	if (!r->move->busy)
		return vio_refuse(why, "the machine is not on its way");
	vmm_migrate_cancel(r->m);
	return true;
}

bool run_migration(struct vio_command *c, char *why)
{
	struct run *r = c->process->arg;
	struct vmm_moving_told told;
	bool under_way = vmm_migrate_told(r->m, &told);

	(void)why;
	json_object_set_new(c->answer, "under_way", json_boolean(under_way));
	if (under_way)
		json_object_update_new(c->answer, told_of(&told));
	return true;
}

bool run_snapshot(struct vio_command *c, char *why)
{
	struct run *r = c->process->arg;

	if (r->move->busy)
		return vio_refuse(why, "the machine is on its way: \"migrate-cancel\" calls it back, or the other end");
	struct vio_channel *to = vio_channel_file(vio_command_fd(c, "file"));
	if (!to)
		return vio_refuse(why, "there is no memory for a snapshot");
	bool ok = vmm_snapshot(r->m, to, why);
	vio_channel_close(to);
	return ok;
}

/* ---- In ---- */

static void arrived(void *arg, enum vmm_moved moved, const struct vmm_moving_told *told, const char *why)
{
	struct run_move *v = arg;

	v->busy = false;
	if (moved != VMM_MOVED_OK) {
		vio_say("vio run", "the machine did not come: %s", why);
		v->run->status = 1;
		run_stop(v->run);
		return;
	}
	v->run->process.arriving = false;
	vio_control_event_of_process(&v->run->process, "arrived", told_of(told));
	if (v->run->words.paused)
		vmm_pause(v->run->m);
}

static void taken(void *arg)
{
	struct run_move *v = arg;

	if (v->run->stopping) {
		vio_channel_close(v->how.channel);
		return;
	}
	if (v->how.channel && vmm_receive(v->run->m, &v->how, v->why))
		return;
	v->how.channel = NULL;
	arrived(v, VMM_MOVED_NOT, NULL, v->why);
}

/* In the waiter: whoever calls and is not one to talk to is sent away, and said so. */
static void take_call(void *arg)
{
	struct run_move *v = arg;

	while (!(v->how.channel = vio_channel_accept(v->listener, &v->tls, v->why)) && *v->why)
		vio_say("vio run", "somebody called who is not let in: %s", v->why);
	v->call = (struct vio_call){ .fn = taken, .arg = v };
	vio_loop_call(v->run->process.loop, &v->call);
}

static bool restore(struct run_move *v, char *why)
{
	struct vio_channel *from = vio_channel_file(v->snapshot);

	v->snapshot = -1;
	if (!from)
		return vio_refuse(why, "there is no memory for a snapshot");
	bool ok = vmm_restore(v->run->m, from, why);
	vio_channel_close(from);
	return ok;
}

bool run_move_begin(struct run *r, char *why)
{
	struct run_move *v = r->move;

	if (v->snapshot < 0 && v->listener < 0)
		return vmm_boot(r->m, &r->load, why);
	if (r->words.kernel)
		vmm_set_kernel(r->m, &r->load);
	if (v->snapshot >= 0)
		return restore(v, why);
	v->busy = true;
	v->how = (struct vmm_moving){ .give = give, .take = take, .done = arrived, .arg = v };
	v->call = (struct vio_call){ .fn = take_call, .arg = v };
	vio_loop_call(vio_thread_loop(v->waiter), &v->call);
	return true;
}

/* ---- Life ---- */

static bool listen_at(struct run_move *v, const char *address, char *why)
{
	v->listener = vio_channel_listen(address, why);
	if (v->listener < 0)
		return false;
	/* A Unix socket that does not block does not tell whoever accepts that it was shut down. */
	fcntl(v->listener, F_SETFL, fcntl(v->listener, F_GETFL) & ~O_NONBLOCK);
	if (strncmp(address, "unix:", 5))
		return true;
	v->path = strdup(address + 5);
	return v->path ? vio_socket_file(&v->socket, v->path, -1, why) : vio_refuse(why, "there is no memory for a socket");
}

bool run_move_open(struct run *r, char *why)
{
	struct run_move *v = calloc(1, sizeof *v);

	if (!v)
		return vio_refuse(why, "there is no memory for the machine");
	*v = (struct run_move){ .run = r, .listener = -1, .snapshot = -1, .socket.dir = -1,
		.tls = { .psk = r->words.tls_psk, .certificates = r->words.tls_cert } };
	r->move = v;
	if (!r->words.control && !r->words.incoming && !r->words.restore)
		return true;
	if (r->words.restore && (v->snapshot = open(r->words.restore, O_RDONLY | O_CLOEXEC)) < 0)
		return vio_refuse(why, "cannot open the snapshot %s: %s", r->words.restore, strerror(errno));
	if (!vio_tls_load(&v->tls, why) || (r->words.incoming && !listen_at(v, r->words.incoming, why)))
		return false;
	v->waiter = vio_thread_start("vio-waiter");
	return v->waiter || vio_refuse(why, "cannot start a thread: %s; raise the limit of threads (ulimit -u)", strerror(errno));
}

void run_move_stop(struct run *r)
{
	struct run_move *v = r->move;

	if (v && v->busy)
		vmm_migrate_cancel(r->m);
	if (v && v->listener >= 0)
		shutdown(v->listener, SHUT_RDWR);	/* nobody waits for a call any more */
}

void run_move_close(struct run_move *v)
{
	if (!v)
		return;
	vio_thread_stop(v->waiter);
	if (v->listener >= 0)
		close(v->listener);
	if (v->snapshot >= 0)
		close(v->snapshot);
	vio_tls_unload(&v->tls);
	int error = vio_socket_remove(&v->socket);
	if (error)
		vio_say("vio run", "cannot remove the socket %s: %s; remove it yourself", v->path, strerror(error));
	free(v->path);
	free(v);
}

static const struct vio_sandbox_call calls[] = {
	{ SYS_setsockopt, VIO_CALL_ONE, 2, TCP_NODELAY, 0 }, { SYS_getsockopt, VIO_CALL_ONE, 2, SO_TYPE, 0 },
	{ SYS_getsockopt, VIO_CALL_ONE, 2, SO_ACCEPTCONN, 0 },
	{ .call = -1 }
};

void run_move_grant(const struct run_move *v, struct vio_sandbox_options *o)
{
	vio_sandbox_calls(o, calls);
	vio_sandbox_calls(o, vio_disk_file_calls);	/* locks that go and come */
	if (v->socket.dir >= 0)
		vio_sandbox_folder(o, v->socket.dir, VIO_FOLDER_REMOVE);
}
