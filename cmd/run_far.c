/*
 * Devices of a machine that other processes serve over vhost-user: --vhost-user, somebody's back end at a socket; --isolate, this
 * program again, as the daemon of each device.
 *
 * Such a device is a unit like any other, with a thread, whose service only connects: its type is made at run time
 * (vio/vhost/remote.h), its queues are the other process's.
 */
#include "run.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/host/why.h>
#include <vio/spec/fs.h>
#include <vio/spec/net.h>
#include <vio/vhost/backend.h>

#define PATIENCE_NS UINT64_C(10000000000)	/* of each stage of a device process's end */

enum { ILL_TOLD = 20 };		/* times that a device's broken queues are spoken of */

static struct run_unit *unit_of(struct vio_unit *u) { return (struct run_unit *)u; }

/* ---- In the device's thread ---- */

static void on_news(void *arg, enum vio_remote_news news, const char *why)
{
	static const char *const event[] = { "back-end-lost", "back-end-back", "broken", "broken" };
	struct vio_unit *u = arg;

	/* A guest may break its queues as often as it likes: it does not fill anybody's disk with that. */
	bool quiet = news == VIO_REMOTE_ILL && unit_of(u)->ill_told >= ILL_TOLD;
	if (news == VIO_REMOTE_ILL && !quiet)
		unit_of(u)->ill_told++;
	if (news == VIO_REMOTE_BACK)
		vio_say(u->name, "the back end is there again");
	else if (!quiet)
		vio_say(u->name, "%s", why);
	vio_control_event(u, event[news], NULL);
}

static bool fs_config(const struct run_device *d, struct vio_fs_config *c)
{
	*c = (struct vio_fs_config){ .num_request_queues = vio_le32_of(d->queues > 1 ? d->queues - 1 : 1) };
	if (d->tag)
		memcpy(c->tag, d->tag, strlen(d->tag));		/* at most that long: run_device.c */
	return d->tag;
}

static bool open_far(struct vio_unit *unit, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	struct run_unit *u = unit_of(unit);
	const struct run_device *d = &u->device;
	struct vio_fs_config fs;
	struct vio_remote_options o = { .like = vio_dev_type_named(d->type), .path = d->socket, .fd = u->far_fd, .loop = loops[0],
		.queues = (uint16_t)d->queues, .queue_size = (uint16_t)d->queue_size, .reconnect = u->isolate && u->run->words.no_sandbox, .news = on_news, .arg = unit };

	(void)loop_count;
	if (fs_config(d, &fs)) {
		o.config = &fs;
		o.config_bytes = sizeof fs;
	}
	if (d->socket && o.like->id == VIO_ID_NET)
		vio_features_add(&o.without, VIO_NET_F_CTRL_VQ);	/* back ends leave it to the machine, and this one leaves it out */
	u->far_fd = -1;			/* its */
	struct vio_remote *remote = vio_remote_connect(&o, why);
	if (!remote)
		return false;
	const char *refused = vio_dev_open(unit->dev, vio_remote_type(remote), remote, &vio_vhost_port, NULL, vio_vhost_features());
	if (refused) {
		vio_remote_free(remote);
		return vio_refuse(why, "cannot make a device of the back end: %s", refused);
	}
	unit->backend = u->remote = remote;
	return true;
}

static void close_far(struct vio_unit *unit)
{
	vio_remote_free(unit->backend);
	unit_of(unit)->remote = NULL;
}

/* ---- Processes of devices, in the home loop ---- */

struct again { struct run_unit *u; int fd; };

static void come_again(void *arg)
{
	struct again *a = arg;
	char why[VIO_WHY];

	if (!a->u->remote || !vio_remote_again(a->u->remote, a->fd, why))
		vio_say(a->u->said, "the device's new process is not taken: %s", a->u->remote ? why : "the device is gone");
}

struct end { struct run_unit *u; const char *why; };

static void come_no_more(void *arg)
{
	struct end *e = arg;

	if (e->u->remote)
		vio_remote_give_up(e->u->remote, e->why);
}

static void process_news(void *arg, enum vmm_isolate_news news, int fd, const char *why)
{
	struct run_unit *u = arg;
	struct again a = { u, fd };

	if (news == VMM_ISOLATE_STARTED && u->leaving)
		close(fd);	/* the old one ended because its device was closed: neither is needed, and there may be no loop to ask */
	else if (news == VMM_ISOLATE_STARTED)
		vio_loop_ask(u->unit.loop, come_again, &a);
	else if (!u->leaving && !u->run->stopping)
		vio_say("vio run", "%s", why);
	if (news == VMM_ISOLATE_GIVEN_UP && !u->leaving && u->unit.loop)
		vio_loop_ask(u->unit.loop, come_no_more, &(struct end){ u, why });
}

static bool start_process(struct run_unit *u, char *why)
{
	struct run_device *d = &u->device;

	if (run_device_takes_stdio(d))
		return vio_refuse(why, "%s wants the terminal, which a process of its own has not: give its port a pty or a socket, or leave --isolate out",
		    d->name);
	run_device_fd(d, VMM_ISOLATE_FD);
	/* A confined machine starts no program: there a device whose process has died needs a reset, and stays without. */
	struct vmm_isolate_options o = { .argv = d->argv, .name = d->name, .restart = u->run->words.no_sandbox, .loop = u->run->process.loop,
		.news = process_news, .arg = u };
	u->isolate = vmm_isolate_start(&o, &u->far_fd, why);
	return u->isolate;
}

bool run_far_prepare(struct run_unit *u, char *why)
{
	u->far_fd = -1;
	if (u->device.service && !start_process(u, why))
		return false;
	u->far_type = *vio_dev_type_named(u->device.type);
	u->far_type.instance = sizeof(struct vio_dev);
	u->far = (struct vio_service){ .type = &u->far_type, .program = "vio run", .open = open_far, .close = close_far };
	u->unit.service = &u->far;
	return true;
}

void run_far_end(struct run_unit *u)
{
	if (u->isolate && !vmm_isolate_end(u->isolate, PATIENCE_NS))
		u->run->status = 1;
	u->isolate = NULL;
}
