/* The devices of a machine: started from words, attached, plugged in, let go. */
#include "run.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/host/why.h>

/* ---- There ---- */

/* In the device's loop. */
static void news(void *arg, enum vmm_device_news what)
{
	static const char *const event[] = { [VMM_DEVICE_FEATURES] = "features", [VMM_DEVICE_BROKEN] = "broken" };
	struct run_unit *u = arg;

	vio_control_event(&u->unit, event[what], NULL);
}

static bool attach(struct run *r, struct run_unit *u, char *why)
{
	const struct vmm_attach a = { .name = u->unit.id, .dev = u->unit.dev, .loop = u->unit.loop, .remote = u->remote,
		.news = news, .news_arg = u };

	u->attached = vmm_attach(r->m, &a, why);
	return u->attached;
}

static void free_unit(struct run_unit *u)
{
	run_device_free(&u->device);
	free(u);
}

static void forget(struct run *r, struct run_unit *u)
{
	unsigned i = 0;

	while (i < r->units && r->unit[i] != u)
		i++;
	memmove(&r->unit[i], &r->unit[i + 1], (r->units - i - 1) * sizeof *r->unit);
	r->units--;
	run_far_end(u);
	free_unit(u);
}

/* The device becomes the unit's, whatever comes of it. */
static struct run_unit *new_unit(struct run *r, struct run_device *d, char *why)
{
	struct run_unit *u = r->units < RUN_UNITS ? calloc(1, sizeof *u) : NULL;

	if (!u) {
		vio_refuse(why, r->units < RUN_UNITS ? "there is no memory for another device" : "there are %d devices, the most there can be", RUN_UNITS);
		run_device_free(d);
		return NULL;
	}
	u->run = r;
	run_device_move(&u->device, d);
	snprintf(u->said, sizeof u->said, "vio run: %s", u->device.name);
	u->unit = (struct vio_unit){ .service = u->device.service, .args = u->device.args.device ? u->device.args.device[0] : NULL, .name = u->said,
		.id = u->device.name, .process = &r->process, .stop_deadline_ns = UINT64_C(30000000000) };
	r->unit[r->units++] = u;
	return u;
}

/* Started and attached; it can be asked from now on. */
static bool bring_in(struct run *r, struct run_device *d, char *why)
{
	struct run_unit *u = new_unit(r, d, why);
	if (!u)
		return false;
	bool far = !u->device.service || r->words.isolate;
	if ((far && !run_far_prepare(u, why)) || !vio_unit_start(&u->unit, why)) {
		forget(r, u);
		return false;
	}
	if (!attach(r, u, why)) {
		run_unit_leave(u);
		return false;
	}
	r->asked[r->process.units++] = &u->unit;
	return true;
}

/* ---- At the beginning ---- */

bool run_units_open(struct run *r, char *why)
{
	for (unsigned i = 0; i < r->words.devices; i++)
		if (!bring_in(r, &r->words.device[i], why))
			return false;
	return true;
}

/* ---- Later ---- */

struct run_unit *run_unit_named(struct run *r, const char *name)
{
	for (unsigned i = 0; i < r->units; i++)
		if (r->unit[i]->attached && !strcmp(r->unit[i]->unit.id, name))
			return r->unit[i];
	return NULL;
}

bool run_unit_plug(struct run *r, const char *type, const char *words, const char **name, char *why)
{
	struct run_device d;

	if (r->words.mmio)
		return vio_refuse(why, "virtio-mmio knows no hot plug: start the machine with --transport=pci");
	if (!r->words.no_sandbox)
		return vio_refuse(why, "a confined machine starts no threads and opens no files: start it with this device, or with --sandbox=none");
	/* A name is never another one's, nor has been. */
	if (!run_device_make(&d, &r->words, type, words, r->words.devices + r->plugged, why) || !bring_in(r, &d, why))
		return false;
	r->plugged++;
	*name = r->asked[r->process.units - 1]->id;
	return true;
}

/* ---- To another process, or from it ---- */

struct handing { struct vio_unit *unit; bool away, ok; char *why; };

static void hand_there(void *arg)
{
	struct handing *h = arg;

	h->ok = h->unit->service->hand(h->unit, h->away, h->why);
}

static bool hand(struct vio_unit *u, bool away, char *why)
{
	struct handing h = { .unit = u, .away = away, .why = why, .ok = true };

	if (u->service->hand)
		vio_loop_ask(u->loop, hand_there, &h);
	return h.ok;
}

bool run_units_give(void *arg, char *why)
{
	struct run *r = arg;
	char reason[VIO_WHY];

	for (unsigned i = 0; i < r->process.units; i++)
		if (!hand(r->process.unit[i], true, why)) {
			while (i--)
				hand(r->process.unit[i], false, reason);
			return false;
		}
	return true;
}

bool run_units_take(void *arg, char *why)
{
	struct run *r = arg;

	for (unsigned i = 0; i < r->process.units; i++)
		if (!hand(r->process.unit[i], false, why))
			return false;
	return true;
}

/* ---- Gone ---- */

static void gone(struct vio_unit *unit, int error)
{
	struct run_unit *u = (struct run_unit *)unit;
	struct run *r = u->run;

	if (error == ETIMEDOUT) {
		vio_say(unit->name, "what the guest had begun does not end: the device is left as it is");
		r->stuck++;
		r->status = 1;
	} else if (error) {
		vio_say(unit->name, "could not write everything to stable storage: %s; what was written last may be lost", strerror(error));
		r->status = 1;
	}
	vio_control_event_of_process(&r->process, "unplugged", json_pack("{s:s}", "name", unit->id));
	if (error != ETIMEDOUT)
		forget(r, u);
	run_unit_gone(r);
}

void run_unit_leave(struct run_unit *u)
{
	struct vio_process *p = &u->run->process;
	unsigned i = 0;

	if (u->leaving)
		return;
	u->leaving = true;
	if (u->attached)
		vmm_detach(u->attached);
	u->attached = NULL;
	while (i < p->units && p->unit[i] != &u->unit)
		i++;
	if (i < p->units)
		memmove(&p->unit[i], &p->unit[i + 1], (--p->units - i) * sizeof *p->unit);
	vio_unit_leave(&u->unit, gone);
}
