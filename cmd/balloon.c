/* vio balloon: memory balloons over vhost-user. */
#include "control.h"
#include <stdio.h>
#include <string.h>
#include <vio/device/balloon.h>
#include <vio/host/pages.h>

enum { TARGET = VIO_OPT_COMMON, STATISTICS, DEFLATE_ON_OOM, REPORTING, END };

static const struct vio_opt options[END - VIO_OPT_COMMON] = {
	[TARGET - VIO_OPT_COMMON] = { "target", "SIZE", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 31,
		.help = "How much memory the guest shall do without at first (in bytes, or with K, M, G, T); 0." },
	[STATISTICS - VIO_OPT_COMMON] = { "statistics", "SECONDS", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 0, 86400, 0,
		.help = "Ask the guest for statistics every so many seconds; 0: only when they are asked for." },
	[DEFLATE_ON_OOM - VIO_OPT_COMMON] = { "deflate-on-oom", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE,
		.help = "The guest may take memory back by itself when it runs out of it." },
	[REPORTING - VIO_OPT_COMMON] = { "reporting", "on|off", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "Let the guest report memory that it has freed, which the host then gets back without a target (on, the default)." },
};

static uint64_t target_of(const struct vio_arg *a)
{
	uint64_t bytes = 0;
	if (a[TARGET].given)
		vio_opt_size(a[TARGET].text, &bytes);
	return bytes;
}

static bool check(const struct vio_arg *a, char *why)
{
	uint64_t bytes;
	if (a[VIO_OPT_IOMMU].given) {
		snprintf(why, VIO_OPT_WHY, "a balloon names pages by their physical numbers, which no IOMMU translates: leave --iommu out");
		return false;
	}
	if (!a[TARGET].given || (vio_opt_size(a[TARGET].text, &bytes) && bytes / VIO_BALLOON_PAGE <= UINT32_MAX))
		return true;
	snprintf(why, VIO_OPT_WHY, "--target=%.40s cannot be: give a size of less than 16T, like 512M", a[TARGET].text);
	return false;
}

/* ---- What the operator asks while it runs ---- */

static bool answered(const char *refused, char *why)
{
	if (refused)
		snprintf(why, VIO_OPT_WHY, "%s", refused);
	return !refused;
}

static bool set_target(struct vio_command *c, char *why)
{
	return answered(vio_pages_set_target(c->unit->backend, vio_command_number(c, "target", 0)), why);
}

static bool ask_statistics(struct vio_command *c, char *why)
{
	struct vio_pages *p = c->unit->backend;

	if (!vio_command_has(c, "every"))
		return answered(vio_pages_ask(p, VIO_ASK_STATS), why);
	uint64_t seconds = vio_command_number(c, "every", 0);
	if (seconds > 86400) {
		snprintf(why, VIO_OPT_WHY, "statistics come at least once a day: give every=86400 or less, or 0 for when they are asked for");
		return false;
	}
	p->stats_every_ns = seconds * 1000000000;
	vio_pages_ask(p, VIO_ASK_STATS);	/* a guest that is not there yet will be asked when it comes */
	return true;
}

static bool ask_hints(struct vio_command *c, char *why)
{
	return answered(vio_pages_ask(c->unit->backend, vio_command_flag(c, "stop") ? VIO_ASK_HINTS_DONE : VIO_ASK_HINTS), why);
}

static const struct vio_verb verbs[] = {
	{ "balloon", "target:size", "How much memory the guest shall do without from now on.", false, set_target },
	{ "statistics", "[every:number]", "Asks the guest for statistics, now and then every so many seconds.", false, ask_statistics },
	{ "hints", "[stop:bool]", "Asks the guest which memory is free; nothing is taken away.", false, ask_hints },
	{ NULL, NULL, NULL, false, NULL },
};

static json_t *statistics(const struct vio_pages_told *t)
{
	static const char *const names[VIO_BALLOON_S_COUNT] = { "swap_in", "swap_out", "major_faults", "minor_faults", "free", "total",
		"available", "caches", "hugetlb_allocations", "hugetlb_failures" };
	json_t *o = json_object();
	for (unsigned i = 0; i < VIO_BALLOON_S_COUNT; i++)
		if (t->stats_has >> i & 1)
			json_object_set_new(o, names[i], json_integer((json_int_t)t->stats[i]));
	return o;
}

static void stats(struct vio_unit *u, json_t *into)
{
	const struct vio_pages *p = u->backend;
	const struct vio_pages_told *t = &p->told;

	json_object_set_new(into, "balloon", json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:o}",
	    "target", (json_int_t)p->target, "actual", (json_int_t)t->actual, "inflated", (json_int_t)t->inflated,
	    "deflated", (json_int_t)t->deflated, "reported", (json_int_t)t->reported, "hinted", (json_int_t)t->hinted,
	    "came_back", (json_int_t)t->came_back, "failed", (json_int_t)t->failed, "hinting", t->hinting,
	    "statistics_count", (json_int_t)t->stats_count, "statistics", statistics(t)));
}

/* Trouble is said once for each kind of trouble: a guest gives back thousands of pages. */
static void news(void *arg, enum vio_pages_news what)
{
	static _Thread_local int said;
	struct vio_unit *u = arg;
	const struct vio_pages *p = u->backend;

	if (what == VIO_NEWS_ACTUAL)
		vio_control_event(u, "balloon", json_pack("{s:I}", "actual", (json_int_t)p->told.actual));
	else if (what == VIO_NEWS_STATS)
		vio_control_event(u, "statistics", statistics(&p->told));
	else if (what == VIO_NEWS_HINTS_END)
		vio_control_event(u, "hints", json_pack("{s:I}", "bytes", (json_int_t)p->told.hinted));
	else if (p->told.error == said)
		return;
	if (what != VIO_NEWS_FAILED)
		return;
	said = p->told.error;
	vio_say(u->name, "memory that the guest gives up can't be given back to the host: %s; use a memory-backend-memfd, or a file on "
	    "tmpfs or a file system with holes", strerror(said));
}

static bool open_balloon(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	const struct vio_arg *a = u->args;
	(void)loops, (void)loop_count;	/* all queues are the home loop's */
	struct vio_pages *pages = vio_pages_open();
	if (!pages) {
		snprintf(why, VIO_OPT_WHY, "there is no memory for a balloon");
		return false;
	}
	pages->target = target_of(a);
	pages->stats_every_ns = a[STATISTICS].number * 1000000000;
	pages->news = news;
	pages->news_arg = u;
	struct vio_balloon_options o = { .pages = pages, .deflate_on_oom = a[DEFLATE_ON_OOM].given,
		.no_reporting = a[REPORTING].number == 1 };
	const char *refused = vio_dev_open(u->dev, &vio_dev_balloon, &o, &vio_vhost_port, NULL, vio_daemon_wire(a));
	if (refused) {
		snprintf(why, VIO_OPT_WHY, "cannot make a balloon: %s", refused);
		vio_pages_close(pages);
		return false;
	}
	u->backend = pages;
	return true;
}

static void close_balloon(struct vio_unit *u) { vio_pages_close(u->backend); }

const struct vio_service vio_service_balloon = {
	.type = &vio_dev_balloon,
	.program = "vio-balloon",
	.capabilities = "{\"type\": \"balloon\"}",
	.options = {
		.usage = "vio balloon --socket-path=PATH [options] [--socket-path=PATH [options]]...",
		.about = "Serves memory balloons to virtual machines over vhost-user.",
		.common = vio_daemon_options, .common_count = VIO_OPT_COMMON,
		.own = options, .own_count = END - VIO_OPT_COMMON,
	},
	.check = check, .open = open_balloon, .close = close_balloon, .verbs = verbs, .stats = stats,
};
