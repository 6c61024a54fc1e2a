/*
 * A unit with a thread and a loop of its own, as a machine has them.
 *
 *   process's loop:  start ──(waits)──▶ serving ...             leave ──┐                       ┌──▶ thread ends, gone()
 *   unit's loop:            open, watch files     turns, verbs          └▶ stop, flush, close ──┘
 */
#include "control.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vio/host/why.h>

#define LOOK_NS UINT64_C(1000000)	/* queues that stop tell nobody */

/* What the thread needs beside the unit, for as long as it is there. */
struct unit_end {
	struct vio_unit *unit;
	struct vio_changes changes;
	struct vio_call call;		/* of one loop to the other */
	struct vio_timer look;
	uint64_t until;
	int error;
	void (*gone)(struct vio_unit *u, int error);
};

/* ---- The beginning ---- */

struct opening { struct vio_unit *unit; char *why; bool ok; };

static void open_there(void *arg)
{
	struct opening *o = arg;
	struct vio_unit *u = o->unit;

	o->ok = vio_unit_open(u, &u->loop, 1, o->why);
	if (!o->ok)
		return;
	vio_changes_open(&u->end->changes, u->loop, &u->end->unit, 1, false);
	u->state = VIO_UNIT_SERVING;
}

static void end_thread(struct vio_unit *u)
{
	vio_thread_stop(u->thread);
	free(u->end);
	u->thread = NULL;
	u->loop = NULL;
	u->end = NULL;
}

bool vio_unit_start(struct vio_unit *u, char *why)
{
	u->end = calloc(1, sizeof *u->end);
	u->thread = u->end ? vio_thread_start(u->id ? u->id : "vio-unit") : NULL;
	if (!u->thread) {
		vio_refuse(why, "cannot start a thread for a device: %s; raise the limit of threads or of open files (ulimit)", strerror(errno));
		free(u->end);
		u->end = NULL;
		return false;
	}
	u->end->unit = u;
	u->loop = vio_thread_loop(u->thread);
	struct opening o = { .unit = u, .why = why };
	vio_loop_ask(u->loop, open_there, &o);
	if (o.ok)
		return true;
	end_thread(u);
	return false;
}

/* ---- The end ---- */

static void come_home(void *arg)
{
	struct unit_end *e = arg;
	struct vio_unit *u = e->unit;
	int error = e->error;
	void (*gone)(struct vio_unit *, int) = e->gone;

	if (error != ETIMEDOUT)
		end_thread(u);
	gone(u, error);
}

static void go_home(struct unit_end *e, int error)
{
	e->error = error;
	e->call = (struct vio_call){ .fn = come_home, .arg = e };
	vio_loop_call(e->unit->process->loop, &e->call);
}

static void flushed(struct vio_unit *u, int error)
{
	vio_changes_close(&u->end->changes);
	u->state = VIO_UNIT_STOPPED;
	vio_unit_close(u);
	go_home(u->end, error);
}

static void queue_stopped(void *arg, unsigned queue, uint32_t base)
{
	(void)arg, (void)queue, (void)base;
}

static void look(void *arg)
{
	struct unit_end *e = arg;
	struct vio_unit *u = e->unit;
	bool stopped = true;

	for (unsigned i = 0; i < u->dev->queues; i++) {
		if (u->dev->queue[i].state == VIO_QUEUE_STARTED)
			vio_dev_queue_stop(u->dev, i, true, queue_stopped, NULL);
		stopped &= u->dev->queue[i].state == VIO_QUEUE_STOPPED;
	}
	if (stopped)
		vio_unit_flush(u, flushed);
	else if (vio_now_ns() >= e->until)
		go_home(e, ETIMEDOUT);
	else
		vio_loop_timer(u->loop, &e->look, vio_now_ns() + LOOK_NS);
}

static void leave_there(void *arg)
{
	struct unit_end *e = arg;
	struct vio_unit *u = e->unit;

	u->state = VIO_UNIT_STOPPING;
	vio_control_leave(u);
	vio_dev_hold(u->dev, false);	/* what is in flight ends all the same */
	e->until = vio_now_ns() + u->stop_deadline_ns;
	e->look = (struct vio_timer){ .fn = look, .arg = e };
	look(e);
}

void vio_unit_leave(struct vio_unit *u, void (*gone)(struct vio_unit *u, int error))
{
	u->end->gone = gone;
	u->end->call = (struct vio_call){ .fn = leave_there, .arg = u->end };
	vio_loop_call(u->loop, &u->end->call);
}

/* ---- SIGHUP ---- */

struct second_look { struct vio_call call; struct vio_unit *unit; };

static void look_again(void *arg)
{
	struct second_look *l = arg;

	if (l->unit->state == VIO_UNIT_SERVING)
		l->unit->service->refresh(l->unit);
	free(l);
}

void vio_unit_look_again(struct vio_unit *u)
{
	struct second_look *l = u->service->refresh ? malloc(sizeof *l) : NULL;

	if (!l)
		return;
	*l = (struct second_look){ .call = { .fn = look_again, .arg = l }, .unit = u };
	vio_loop_call(u->loop, &l->call);
}
