/* vio blk: disks over vhost-user. */
#include "control.h"
#include "disk.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vio/device/blk.h>

enum {
	FILE_ = VIO_OPT_COMMON, READ_ONLY, NUM_QUEUES, QUEUE_SIZE, SERIAL, LOGICAL_BLOCK_SIZE, CACHE, AIO, ZONED, POLL_US, THREADS, END
};
enum { SLOT_IMAGE = 2 };

static const struct vio_opt options[END - VIO_OPT_COMMON] = {
	[FILE_ - VIO_OPT_COMMON] = { "blk-file", "FILE", VIO_OPT_TEXT, VIO_OPT_PLACE, 1, 4095, .slot = SLOT_IMAGE,
		.help = "The image: " VIO_DISK_HELP "; nbd:URI is what a server of network block devices offers, such as nbd:nbd://HOST/EXPORT or "
		        "nbd:nbd+unix:///?socket=PATH (qemu-nbd serves foreign image formats so)." },
	[READ_ONLY - VIO_OPT_COMMON] = { "read-only", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE,
		.help = "The guest may not write; several daemons may then serve one image." },
	[NUM_QUEUES - VIO_OPT_COMMON] = { "num-queues", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, VIO_DEV_QUEUES, 1,
		.help = "Request queues; 1." },
	[QUEUE_SIZE - VIO_OPT_COMMON] = { "queue-size", "N", VIO_OPT_POWER, VIO_OPT_DEVICE, 4, 32768, 256,
		.help = "Entries a queue may have; 256." },
	[SERIAL - VIO_OPT_COMMON] = { "serial", "TEXT", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 20,
		.help = "What the guest finds in /sys/block/vdX/serial: at most 20 characters." },
	[LOGICAL_BLOCK_SIZE - VIO_OPT_COMMON] = { "logical-block-size", "N", VIO_OPT_POWER, VIO_OPT_DEVICE, 512, 65536,
		.help = "Bytes of a block; 512 for files, the device's own for block devices." },
	[CACHE - VIO_OPT_COMMON] = { "cache", "writeback|none", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "Through the host's page cache (writeback, the default), or past it (none: O_DIRECT)." },
	[AIO - VIO_OPT_COMMON] = { "aio", "auto|io_uring|threads", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "How what would block is done; auto takes threads where io_uring is forbidden." },
	[ZONED - VIO_OPT_COMMON] = { "zoned", "ZONES", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 1023,
		.help = "A zoned disk of a plain image, whose write pointers are kept beside it (FILE.zones): size=64M of each zone; capacity=48M "
		        "of it, conventional=2 at the front, max-open=8, max-active=12, append=1M at once (0: not at all), "
		        "model=host-managed|host-aware." },
	[POLL_US - VIO_OPT_COMMON] = { "poll-us", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 0, 1000000, 0,
		.help = "Look for requests for so many microseconds before sleeping; 0. Takes processor time, gives latency." },
	[THREADS - VIO_OPT_COMMON] = { "threads", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 1, 64, 1,
		.help = "Threads the queues are spread over; 1." },
};

static struct vio_disk_words words_of(const struct vio_arg *a)
{
	static const enum vio_aio aio[] = { VIO_AIO_AUTO, VIO_AIO_URING, VIO_AIO_THREADS };
	return (struct vio_disk_words){ .said = "--blk-file=", .file = a[FILE_].text, .read_only = a[READ_ONLY].given,
		.direct = a[CACHE].number == 1, .aio = aio[a[AIO].number], .file_only = a[CACHE].given || a[AIO].given,
		.logical_block = (uint32_t)a[LOGICAL_BLOCK_SIZE].number, .queues = (unsigned)a[NUM_QUEUES].number, .network = true };
}

/* In the thread of the connection; who listens to events hears of the home thread's. */
static void nbd_news(void *arg, bool back, const char *why)
{
	struct vio_unit *u = arg;
	if (back)
		vio_say(u->name, "the NBD server is back");
	else
		vio_say(u->name, "the NBD server is lost: %s; requests wait until it is back", why);
	if (vio_loop_is_mine(u->loop))
		vio_control_event(u, back ? "server-back" : "server-lost", NULL);
}

/* ---- --zoned ---- */

enum { ZONE_PARTS = 8, APPEND_PRESET = 1 << 20 };

static bool zone_part(const struct vio_opt_part *p, struct vio_disk_zone_options *z, char *why)
{
	uint64_t n = 0;
	bool size = p->value && vio_opt_size(p->value, &n), number = size && n <= UINT32_MAX;

	if (!strcmp(p->name, "size") && size)
		z->size = n;
	else if (!strcmp(p->name, "capacity") && size)
		z->capacity = n;
	else if (!strcmp(p->name, "conventional") && number)
		z->conventional = (uint32_t)n;
	else if (!strcmp(p->name, "max-open") && number)
		z->max_open = (uint32_t)n;
	else if (!strcmp(p->name, "max-active") && number)
		z->max_active = (uint32_t)n;
	else if (!strcmp(p->name, "append") && number)
		z->append = (uint32_t)n;
	else if (!strcmp(p->name, "model") && p->value && !strcmp(p->value, "host-aware"))
		z->host_aware = true;
	else if (strcmp(p->name, "model") || !p->value || strcmp(p->value, "host-managed"))
		return vio_refuse(why, "--zoned can't be told %.40s: it takes size, capacity and append (bytes, or with K, M, G), conventional, "
		    "max-open and max-active (numbers), model=host-managed or host-aware", p->name);
	return true;
}

static bool zones_of(const struct vio_arg *a, struct vio_disk_zone_options *z, char *why)
{
	struct vio_opt_part part[ZONE_PARTS];
	char text[1024];

	*z = (struct vio_disk_zone_options){ .append = APPEND_PRESET };
	snprintf(text, sizeof text, "%s", a[ZONED].text);
	unsigned n = vio_opt_parts(text, part, ZONE_PARTS);
	if (n > ZONE_PARTS)
		return vio_refuse(why, "--zoned is told too much: each thing once");
	for (unsigned i = 0; i < n; i++)
		if (!zone_part(&part[i], z, why))
			return false;
	return z->size || vio_refuse(why, "it is not said how large zones are: give --zoned=size=64M");
}

static struct vio_disk *zoned(struct vio_disk *plain, const struct vio_disk_words *w, const struct vio_arg *a, struct vio_disk_place place,
    char *why)
{
	struct vio_disk_zone_options z;

	if (!a[ZONED].given)
		return plain;
	zones_of(a, &z, why);		/* check() has asked */
	z.image = vio_disk_words_image(w) ? w->file : NULL;
	z.place = place;
	return vio_disk_zoned_open(plain, &z, why);
}

static bool check(const struct vio_arg *a, char *why)
{
	struct vio_disk_words w = words_of(a);
	struct vio_disk_zone_options z;

	if (a[ZONED].given && !zones_of(a, &z, why))
		return false;
	if (a[ZONED].given && w.file && vio_disk_words_uri(&w))
		return vio_refuse(why, "--zoned is for images and ram:SIZE: leave it out with a disk on the network");
	if (!w.file)
		return vio_refuse(why, "it is not said which image to serve: add --blk-file=FILE");
	return vio_disk_words_check(&w, why);
}

static bool open_blk(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	const struct vio_arg *a = u->args;
	struct vio_disk_words w = words_of(a);
	w.unlocked = u->process->arriving;
	w.news = nbd_news;
	w.news_arg = u;
	struct vio_disk_place place = { loops, loop_count };
	struct vio_disk *disk = vio_disk_words_open(&w, place, why);
	if (disk)
		disk = zoned(disk, &w, a, place, why);
	if (!disk)
		return false;
	if (vio_disk_words_image(&w) && !disk->zones && !vio_unit_watch(u, w.file)) {
		vio_disk_close(disk);
		return vio_refuse(why, "there is no memory for another disk: serve fewer from one process");
	}
	struct vio_blk_options o = { .disk = disk, .queues = (uint16_t)a[NUM_QUEUES].number,
		.queue_size = (uint16_t)a[QUEUE_SIZE].number, .read_only = a[READ_ONLY].given };
	if (a[SERIAL].given)
		memcpy(o.serial, a[SERIAL].text, strlen(a[SERIAL].text));	/* at most 20: the table */
	const char *refused = vio_dev_open(u->dev, &vio_dev_blk, &o, &vio_vhost_port, NULL, vio_daemon_wire(a));
	if (refused) {
		snprintf(why, VIO_OPT_WHY, "cannot make a disk of %s: %s", a[FILE_].text, refused);
		vio_disk_close(disk);
		return false;
	}
	u->backend = disk;
	return true;
}

/* ---- The control socket ---- */

static void tell_size(struct vio_unit *u, uint64_t before)
{
	const struct vio_disk *disk = u->backend;
	if (disk->size != before)
		vio_control_event(u, "resized", json_pack("{s:I}", "bytes", (json_int_t)disk->size));
}

static void refresh(struct vio_unit *u)
{
	struct vio_disk *disk = u->backend;
	uint64_t before = disk->size;
	if (!u->watches)
		return;
	vio_disk_file_refresh(disk);
	tell_size(u, before);
}

static bool resize(struct vio_command *c, char *why)
{
	struct vio_disk *disk = c->unit->backend;
	uint64_t before = disk->size;
	if (!c->unit->watches)
		return vio_refuse(why, "only an image that is a file or block device can be resized");
	if (!vio_command_has(c, "bytes"))
		vio_disk_file_refresh(disk);
	else if (!vio_disk_file_grow(disk, vio_command_number(c, "bytes", 0), why))
		return false;
	json_object_set_new(c->answer, "bytes", json_integer((json_int_t)disk->size));
	tell_size(c->unit, before);
	return true;
}

static const struct vio_verb verbs[] = {
	{ "resize", "[bytes:size]", "Looks how large the image is now, or makes it larger; the guest is told.", false, resize },
	{ NULL, NULL, NULL, false, NULL },
};

static void stats(struct vio_unit *u, json_t *into)
{
	struct vio_disk *disk = u->backend;
	json_object_set_new(into, "disk", json_pack("{s:I, s:b}", "bytes", (json_int_t)disk->size, "read_only", disk->read_only));
}

/* ---- The last flush: what was written is on stable storage when the daemon has ended ---- */

struct last { struct vio_unit *unit; void (*done)(struct vio_unit *u, int error); };

static void flushed(void *arg, int error)
{
	struct last l = *(struct last *)arg;
	free(arg);
	l.done(l.unit, error);
}

static void flush(struct vio_unit *u, void (*done)(struct vio_unit *u, int error))
{
	struct last *l = malloc(sizeof *l);
	if (!l) {
		done(u, ENOMEM);
		return;
	}
	*l = (struct last){ u, done };
	vio_disk_flush(u->backend, u->loop, u->stop_deadline_ns, flushed, l);
}

static void grant(struct vio_unit *u, struct vio_sandbox_options *o)
{
	struct vio_disk_words w = words_of(u->args);
	if (vio_disk_words_uri(&w))
		vio_disk_nbd_grant(u->backend, o);
}

static bool hand(struct vio_unit *u, bool away, char *why)
{
	if (!u->watches)	/* no image */
		return true;
	if (!away)
		return vio_disk_file_take(u->backend, u->watched[0].path, why);
	vio_disk_file_give(u->backend);
	return true;
}

static void close_blk(struct vio_unit *u) { vio_disk_close(u->backend); }

const struct vio_service vio_service_blk = {
	.type = &vio_dev_blk,
	.program = "vio-blk",
	.capabilities = "{\"type\": \"block\", \"features\": [\"read-only\", \"blk-file\"]}",
	.options = {
		.usage = "vio blk --socket-path=PATH --blk-file=FILE [options] [--socket-path=PATH --blk-file=FILE [options]]...",
		.about = "Serves disks to virtual machines over vhost-user. Options before the first disk hold for all, after it for that one.",
		.common = vio_daemon_options, .common_count = VIO_OPT_COMMON,
		.own = options, .own_count = END - VIO_OPT_COMMON,
	},
	.threads_option = THREADS, .poll_option = POLL_US,
	.verbs = verbs, .stats = stats,
	.check = check, .open = open_blk, .refresh = refresh, .flush = flush, .close = close_blk, .hand = hand, .grant = grant,
};
