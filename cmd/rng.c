/* vio rng: entropy devices over vhost-user. */
#include "daemon.h"
#include <stdio.h>
#include <vio/device/rng.h>
#include <vio/host/source.h>

enum { SOURCE = VIO_OPT_COMMON, MAX_BYTES, PERIOD, END };

static const struct vio_opt options[END - VIO_OPT_COMMON] = {
	[SOURCE - VIO_OPT_COMMON] = { "source", "FILE", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 4095,
		.help = "Where random bytes come from, such as /dev/hwrng; the kernel's getrandom(2) unless given." },
	[MAX_BYTES - VIO_OPT_COMMON] = { "max-bytes", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, INT64_MAX,
		.help = "How many bytes the guest may take in each --period." },
	[PERIOD - VIO_OPT_COMMON] = { "period", "MS", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, 86400000,
		.help = "Milliseconds that --max-bytes is counted over." },
};

static bool check(const struct vio_arg *a, char *why)
{
	if (a[MAX_BYTES].given == a[PERIOD].given)
		return true;
	snprintf(why, VIO_OPT_WHY, "a rate has two parts: give --max-bytes and --period together, or neither");
	return false;
}

static bool open_rng(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	const struct vio_arg *a = u->args;
	(void)loop_count;	/* one queue, which is the home loop's */
	struct vio_source *source = vio_source_open(&(struct vio_source_options){ .path = a[SOURCE].text,
		.max_bytes = a[MAX_BYTES].number, .period_ms = a[PERIOD].number, .loop = loops[0] }, why);
	if (!source)
		return false;
	struct vio_rng_options o = { .source = source };
	const char *refused = vio_dev_open(u->dev, &vio_dev_rng, &o, &vio_vhost_port, NULL, vio_daemon_wire(a));
	if (refused) {
		snprintf(why, VIO_OPT_WHY, "cannot make an entropy device: %s", refused);
		vio_source_close(source);
		return false;
	}
	u->backend = source;
	return true;
}

static void close_rng(struct vio_unit *u) { vio_source_close(u->backend); }

const struct vio_service vio_service_rng = {
	.type = &vio_dev_rng,
	.program = "vio-rng",
	.capabilities = "{\"type\": \"rng\"}",
	.options = {
		.usage = "vio rng --socket-path=PATH [options] [--socket-path=PATH [options]]...",
		.about = "Serves entropy sources to virtual machines over vhost-user.",
		.common = vio_daemon_options, .common_count = VIO_OPT_COMMON,
		.own = options, .own_count = END - VIO_OPT_COMMON,
	},
	.check = check, .open = open_rng, .close = close_rng,
};
