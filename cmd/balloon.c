/* vio balloon: memory balloons over vhost-user. */
#include "daemon.h"
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

/* Once for each kind of trouble: a guest gives back thousands of pages. */
static void news(void *arg, enum vio_pages_news what)
{
	static int said;
	struct vio_unit *u = arg;
	const struct vio_pages *p = u->backend;

	if (what != VIO_NEWS_FAILED || p->told.error == said)
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
	.check = check, .open = open_balloon, .close = close_balloon,
};
