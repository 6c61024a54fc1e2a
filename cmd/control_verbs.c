/* What every process with devices can be asked over its control socket. */
#include "control_impl.h"
#include <stdlib.h>
#include <string.h>
#include <vio/host/log.h>
#include <vio/host/why.h>

static struct vio_dev *dev(struct vio_command *c) { return c->unit->dev; }
static void set(json_t *o, const char *name, uint64_t n) { json_object_set_new(o, name, json_integer((json_int_t)n)); }

/* ---- help, events, log, quit ---- */

/* of: the type of device that has it; NULL: all have, or the process. */
static json_t *describe(const struct vio_verb *v, const char *of)
{
	json_t *o = json_object(), *args = json_array();
	struct control_arg a;
	for (const char *spec = v->args; control_next_arg(&spec, &a);)
		json_array_append_new(args, json_pack("{s:s#, s:s#, s:b}", "name", a.name, (int)a.name_len, "kind", a.kind,
		    (int)a.kind_len, "optional", a.optional));
	json_object_set_new(o, "do", json_string(v->name));
	json_object_set_new(o, "args", args);
	json_object_set_new(o, "about", json_string(v->about));
	json_object_set_new(o, "of_process", json_boolean(v->of_process));
	if (of)
		json_object_set_new(o, "of", json_string(of));
	return o;
}

static const struct vio_verb common[];

static void describe_all(json_t *into, const struct vio_verb *v, const char *of)
{
	for (; v && v->name; v++)
		json_array_append_new(into, describe(v, of));
}

static bool help(struct vio_command *c, char *why)
{
	const struct vio_process *p = c->process;
	json_t *all = json_array();
	(void)why;
	describe_all(all, p->verbs, NULL);
	describe_all(all, common, NULL);
	for (unsigned i = 0; i < p->units; i++) {
		const struct vio_service *s = p->unit[i]->service;
		unsigned k = 0;
		while (k < i && p->unit[k]->service != s)
			k++;
		if (k == i)
			describe_all(all, s->verbs, s->type->name);
	}
	json_object_set_new(c->answer, "verbs", all);
	return true;
}

/* The greeting's lists as they are now: a machine's devices come and go. */
static bool devices(struct vio_command *c, char *why)
{
	json_t *list = json_array();
	(void)why;
	for (unsigned i = 0; i < c->process->units; i++) {
		const struct vio_unit *u = c->process->unit[i];
		json_array_append_new(list, json_pack("{s:s, s:s}", "name", u->id, "type", u->service->type->name));
	}
	json_object_set_new(c->answer, "devices", list);
	return true;
}

static bool events(struct vio_command *c, char *why)
{
	(void)why;
	control_want_events(c);
	return true;
}

static bool set_log(struct vio_command *c, char *why)
{
	static const char *const levels[] = { "quiet", "normal", "verbose" };
	for (unsigned i = 0; i < sizeof levels / sizeof *levels; i++)
		if (!strcmp(levels[i], vio_command_text(c, "level"))) {
			vio_log_set((enum vio_log_level)i);
			return true;
		}
	return vio_refuse(why, "there is no such log level: give quiet, normal or verbose");
}

static bool quit(struct vio_command *c, char *why)
{
	(void)why;
	vio_process_quit(c->process);
	return true;
}

/* ---- stats ---- */

static const char *const states[] = { [VIO_QUEUE_STOPPED] = "stopped", [VIO_QUEUE_ELSEWHERE] = "elsewhere", [VIO_QUEUE_STARTED] = "started",
	[VIO_QUEUE_STOPPING] = "stopping" };

/* Counters belong to the queue's thread: each is read as it is now. */
static uint64_t now_of(const uint64_t *counter) { return __atomic_load_n(counter, __ATOMIC_RELAXED); }

static json_t *queue_stats(const struct vio_dev *d, unsigned i)
{
	const struct vio_dev_queue *dq = &d->queue[i];
	const struct vio_devq_stats *s = &dq->ring.stats;
	json_t *o = json_object();
	set(o, "queue", i);
	json_object_set_new(o, "state", json_string(states[dq->state]));
	json_object_set_new(o, "enabled", json_boolean(dq->enabled));
	json_object_set_new(o, "why_broken", dq->ring.broken ? json_string(dq->ring.broken) : json_null());
	set(o, "size", dq->ring.place.size);
	set(o, "depth", vio_dev_queue_depth(d, i));
	set(o, "requests", now_of(&s->chains));
	set(o, "bytes_from_guest", now_of(&s->bytes_r));
	set(o, "bytes_to_guest", now_of(&s->bytes_w));
	set(o, "kicks", now_of(&s->kicks));
	set(o, "signals", now_of(&s->signals));
	set(o, "signals_suppressed", now_of(&s->signals_suppressed));
	set(o, "refused", now_of(&s->refused));
	set(o, "broken", now_of(&s->broken));
	set(o, "time_ns", now_of(&dq->area_ns));
	return o;
}

static json_t *rates_of(const struct vio_dev *d)
{
	json_t *o = json_object();
	set(o, "operations", d->rate[VIO_RATE_OPS].per_second);
	set(o, "bytes", d->rate[VIO_RATE_BYTES].per_second);
	return o;
}

/* The first who asks has the time that requests take counted from then on. */
static bool stats(struct vio_command *c, char *why)
{
	struct vio_dev *d = dev(c);
	const struct vio_service *s = c->unit->service;
	json_t *queues = json_array();
	char features[2][24];
	(void)why;
	__atomic_store_n(&d->timed, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < d->queues; i++)
		json_array_append_new(queues, queue_stats(d, i));
	for (unsigned i = 0; i < 2; i++)
		snprintf(features[i], sizeof features[i], "0x%016llx", (unsigned long long)d->accepted.word[i]);
	json_object_set_new(c->answer, "name", json_string(c->unit->id));
	json_object_set_new(c->answer, "type", json_string(d->type->name));
	json_object_set_new(c->answer, "connected", json_boolean(vio_unit_connected(c->unit)));
	json_object_set_new(c->answer, "features", json_pack("[s, s]", features[0], features[1]));
	json_object_set_new(c->answer, "held", json_boolean(d->held));
	json_object_set_new(c->answer, "limits", rates_of(d));
	set(c->answer, "now_ns", vio_now_ns());
	json_object_set_new(c->answer, "queues", queues);
	if (s->stats)
		s->stats(c->unit, c->answer);
	return true;
}

/* ---- limit ---- */

static bool limit(struct vio_command *c, char *why)
{
	struct vio_dev *d = dev(c);
	bool ops = vio_command_has(c, "operations"), bytes = vio_command_has(c, "bytes");
	if ((vio_command_has(c, "operations_burst") && !ops) || (vio_command_has(c, "bytes_burst") && !bytes))
		return vio_refuse(why, "a burst belongs to a limit: give operations or bytes with it");
	if (ops)
		vio_dev_set_rate(d, VIO_RATE_OPS, vio_command_number(c, "operations", 0), vio_command_number(c, "operations_burst", 0));
	if (bytes)
		vio_dev_set_rate(d, VIO_RATE_BYTES, vio_command_number(c, "bytes", 0), vio_command_number(c, "bytes_burst", 0));
	vio_unit_turn_all(c->unit);
	json_object_set_new(c->answer, "limits", rates_of(d));
	return true;
}

/* ---- drain and resume ---- */

#define DRAIN_LOOK_NS UINT64_C(1000000)		/* queues have threads of their own and tell nobody that they are empty */

struct drain { struct vio_timer timer; struct vio_command *call; };

static void drained(struct vio_unit *u, int error)
{
	struct drain *d = u->drain;
	u->drain = NULL;
	vio_command_done(d->call, error ? strerror(error) : NULL);
	free(d);
}

static void look(void *arg)
{
	struct drain *d = arg;
	struct vio_unit *u = d->call->unit;
	bool empty = true;
	for (unsigned i = 0; i < u->dev->queues; i++)
		empty &= !vio_dev_queue_depth(u->dev, i) || (u->dev->type->unlimited && u->dev->type->unlimited(u->dev, i));
	if (!empty)
		vio_loop_timer(u->loop, &d->timer, vio_now_ns() + DRAIN_LOOK_NS);
	else
		vio_unit_flush(u, drained);
}

static bool drain(struct vio_command *c, char *why)
{
	struct drain *d = c->unit->drain ? NULL : calloc(1, sizeof *d);
	if (!d)
		return vio_refuse(why, "it is being drained already: wait for that");
	d->call = c;
	d->timer = (struct vio_timer){ .fn = look, .arg = d };
	c->unit->drain = d;
	c->later = true;
	vio_dev_hold(dev(c), true);
	vio_loop_timer(c->unit->loop, &d->timer, vio_now_ns());
	return true;
}

void control_undrain(struct vio_unit *u)
{
	struct drain *d = u->drain;
	if (!d)
		return;
	vio_loop_untimer(u->loop, &d->timer);
	u->drain = NULL;
	vio_command_done(d->call, "it is resumed, or ends");
	free(d);
}

static bool resume(struct vio_command *c, char *why)
{
	(void)why;
	control_undrain(c->unit);
	vio_dev_hold(dev(c), false);
	vio_unit_turn_all(c->unit);
	return true;
}

/* ---- The table ---- */

static const struct vio_verb common[] = {
	{ "help", "", "Lists what can be asked here, with the arguments.", true, help },
	{ "stats", "", "Tells each queue's counters, its depth, and the time its requests took (time_ns / requests is the mean).",
		false, stats },
	{ "events", "", "From now on this connection is told what happens: connected, disconnected, features, broken, and more.",
		true, events },
	{ "devices", "", "Lists the devices there are now, each with its name and type.", true, devices },
	{ "limit", "[operations:size] [operations_burst:size] [bytes:size] [bytes_burst:size]",
		"Allows the device so much a second; 0 lifts a limit. A burst may be saved up in idle time; a tenth of a second's unless "
		"given.", false, limit },
	{ "drain", "", "Takes nothing more from the guest, and answers when all that was taken is done and on stable storage.", false,
		drain },
	{ "resume", "", "Serves the guest again after a drain.", false, resume },
	{ "log", "level:text", "Says quiet, normal or verbose things on standard error.", true, set_log },
	{ "quit", "", "Ends the daemon as SIGTERM does.", true, quit },
	{ NULL, NULL, NULL, false, NULL },
};

static const struct vio_verb *find(const struct vio_verb *v, const char *name)
{
	while (v && v->name && strcmp(v->name, name))
		v++;
	return v && v->name ? v : NULL;
}

const struct vio_verb *control_verb(const struct vio_process *p, const char *name)
{
	const struct vio_verb *own = find(p->verbs, name);
	return own ? own : find(common, name);
}

const struct vio_verb *control_verb_of_any_device(const char *name)
{
	const struct vio_verb *v = find(common, name);
	return v && !v->of_process ? v : NULL;
}

const struct vio_verb *control_verb_of(const struct vio_service *s, const char *name) { return find(s->verbs, name); }
