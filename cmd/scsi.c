/* vio scsi: SCSI hosts with their disks and CD-ROM drives over vhost-user. */
#include "scsi.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LUN = VIO_OPT_COMMON, NUM_QUEUES, QUEUE_SIZE, CMD_PER_LUN, SEG_MAX, MAX_SECTORS, PROTECTION, INITIATOR, SPARE_LUNS, POLL_US, THREADS, END
};

static const struct vio_opt options[END - VIO_OPT_COMMON] = {
	[LUN - VIO_OPT_COMMON] = { "lun", "TARGET:LUN,file=FILE[,WORD]...", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 4095, .many = true,
		.help = "A unit, and the image behind it: " VIO_DISK_HELP "; may be given many times. Words: ro, cdrom (file may be left "
		        "out), removable, rotational[=RPM], serial=, vendor=, product=, revision=, wwn=, block=, "
		        "cache=writeback|writethrough|none, aio=auto|io_uring|threads, thin, protect, shared, reservations[=FILE]." },
	[NUM_QUEUES - VIO_OPT_COMMON] = { "num-queues", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, VIO_SCSI_REQUEST_QUEUES, 4,
		.help = "Request queues that the guest may use; 4." },
	[QUEUE_SIZE - VIO_OPT_COMMON] = { "queue-size", "N", VIO_OPT_POWER, VIO_OPT_DEVICE, 4, 32768, 256,
		.help = "Entries a queue may have; 256." },
	[CMD_PER_LUN - VIO_OPT_COMMON] = { "cmd-per-lun", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, 65535, 0,
		.help = "Commands that a unit may have at a time; 128, or the queue's size if that is less." },
	[SEG_MAX - VIO_OPT_COMMON] = { "seg-max", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, 32766, 0,
		.help = "Segments of a command's data; 254." },
	[MAX_SECTORS - VIO_OPT_COMMON] = { "max-sectors", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 8, 65535, 0,
		.help = "512-byte sectors of a command's data; 65535." },
	[PROTECTION - VIO_OPT_COMMON] = { "protection", "none|spec|linux", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "Protection information travels with the data: where the specification has its lengths (spec), or where Linux has "
		        "them (linux); none unless given." },
	[INITIATOR - VIO_OPT_COMMON] = { "initiator", "NAME", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 64,
		.help = "Who this guest is in the reservations of units that it shares with others; vio." },
	[SPARE_LUNS - VIO_OPT_COMMON] = { "spare-luns", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 0, SCSI_SPARES, 4,
		.help = "With --control: how many images may be added at run time beside those that go; 4." },
	[POLL_US - VIO_OPT_COMMON] = { "poll-us", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 0, 1000000, 0,
		.help = "Look for requests for so many microseconds before sleeping; 0. Takes processor time, gives latency." },
	[THREADS - VIO_OPT_COMMON] = { "threads", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 1, 64, 1,
		.help = "Threads the queues are spread over; 1." },
};

/* ---- Units as they are given ---- */

struct all { unsigned count; struct scsi_words words[]; };

static void free_all(struct all *all)
{
	for (unsigned i = 0; all && i < all->count; i++)
		free(all->words[i].text);
	free(all);
}

static bool parse_into(struct all *all, const struct vio_arg *a, char *why)
{
	for (const struct vio_opt_word *w = a[LUN].words; w; w = w->next) {
		struct scsi_words *one = &all->words[all->count++];
		if (!(one->text = strdup(w->text)))
			return vio_refuse(why, "there is no memory for another unit");
		if (!scsi_words_parse(one, why))
			return false;
		one->disk.queues = (unsigned)a[NUM_QUEUES].number;
		for (unsigned i = 0; i + 1 < all->count; i++)
			if (all->words[i].lun.target == one->lun.target && all->words[i].lun.lun == one->lun.lun)
				return vio_refuse(why, "two units are %u:%u: give each its own TARGET:LUN", one->lun.target, one->lun.lun);
	}
	return true;
}

/* NULL: why has a sentence. */
static struct all *parse_all(const struct vio_arg *a, char *why)
{
	unsigned count = 0;

	for (const struct vio_opt_word *w = a[LUN].words; w; w = w->next)
		count++;
	if (count > VIO_SCSI_LUNS) {
		vio_refuse(why, "there are more than %d units: give fewer, or another device", VIO_SCSI_LUNS);
		return NULL;
	}
	struct all *all = calloc(1, sizeof *all + (count + 1) * sizeof *all->words);
	if (!all)
		vio_refuse(why, "there is no memory for so many units");
	else if (parse_into(all, a, why))
		return all;
	free_all(all);
	return NULL;
}

static bool check(const struct vio_arg *a, char *why)
{
	struct all *all = parse_all(a, why);
	bool ok = all && (all->count || a[VIO_OPT_CONTROL].given ||
	    vio_refuse(why, "it is not said what to serve: add --lun=0:0,file=FILE, or --control=PATH to add units later"));

	free_all(all);
	return ok;
}

/* ---- Opening ---- */

struct scsi_entry *scsi_entry_at(struct scsi_host *h, uint8_t target, uint16_t lun)
{
	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++)
		if (h->entry[i].used && h->entry[i].target == target && h->entry[i].lun == lun)
			return &h->entry[i];
	return NULL;
}

void scsi_let_go(struct scsi_host *h, struct vio_disk *disk, bool image)
{
	if (disk && image && h->spares < SCSI_SPARES) {
		vio_disk_file_empty(disk);
		h->spare[h->spares++] = disk;
	} else {
		vio_disk_close(disk);
	}
}

void scsi_entry_close(struct scsi_host *h, struct scsi_entry *e)
{
	scsi_let_go(h, e->disk, e->image);
	vio_keep_close(e->keep);
	free(e->name);
	*e = (struct scsi_entry){ .used = false };
}

static void close_scsi(struct vio_unit *u)
{
	struct scsi_host *h = u->backend;

	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++) {
		if (h->entry[i].busy)
			vio_loop_untask(u->loop, &h->entry[i].task);
		vio_disk_close(h->entry[i].disk);
		vio_disk_close(h->entry[i].old);
		vio_keep_close(h->entry[i].keep);
		free(h->entry[i].name);
	}
	for (unsigned i = 0; i < h->spares; i++)
		vio_disk_close(h->spare[i]);
	free(h);
}

static struct vio_keep *open_keep(const struct scsi_words *w, char *why)
{
	char *path;

	if (!w->reservations_beside)
		return vio_keep_file_open(w->reservations, why);
	if (asprintf(&path, "%s.reservations", w->disk.file) < 0) {
		vio_refuse(why, "there is no memory for another unit");
		return NULL;
	}
	struct vio_keep *k = vio_keep_file_open(path, why);
	free(path);
	return k;
}

static bool open_entry(struct vio_unit *u, struct scsi_entry *e, struct scsi_words *w, struct vio_disk_place place, char *why)
{
	*e = (struct scsi_entry){ .used = true, .target = w->lun.target, .lun = w->lun.lun };
	w->lun.read_only = w->disk.read_only;
	w->disk.unlocked = u->process->arriving;
	if (w->disk.file) {
		e->image = vio_disk_words_image(&w->disk);
		if (!(e->name = strdup(w->disk.file)) || (e->image && !vio_unit_watch(u, e->name)))
			return vio_refuse(why, "there is no memory for another unit");
		if (!(e->disk = vio_disk_words_open(&w->disk, place, why)))
			return false;
	}
	if ((w->reservations || w->reservations_beside) && !(e->keep = open_keep(w, why)))
		return false;
	w->lun.disk = e->disk;
	w->lun.keep = e->keep;
	return true;
}

static bool open_spares(struct scsi_host *h, const struct vio_arg *a, struct vio_disk_place place, char *why)
{
	const struct vio_disk_file_options o = { .path = "an image to be added", .place = place, .queues = (unsigned)a[NUM_QUEUES].number };

	for (unsigned i = 0; a[VIO_OPT_CONTROL].given && i < a[SPARE_LUNS].number; i++)
		if (!(h->spare[h->spares] = vio_disk_file_spare(&o, why)))
			return false;
		else
			h->spares++;
	return true;
}

static bool open_device(struct vio_unit *u, const struct all *all, char *why)
{
	const struct vio_arg *a = u->args;
	struct vio_scsi_lun *luns = calloc(all->count + 1, sizeof *luns);

	if (!luns)
		return vio_refuse(why, "there is no memory for so many units");
	for (unsigned i = 0; i < all->count; i++)
		luns[i] = all->words[i].lun;
	struct vio_scsi_options o = { .luns = luns, .lun_count = all->count, .queues = (uint16_t)a[NUM_QUEUES].number,
		.queue_size = (uint16_t)a[QUEUE_SIZE].number, .seg_max = (uint32_t)a[SEG_MAX].number,
		.max_sectors = (uint32_t)a[MAX_SECTORS].number, .cmd_per_lun = (uint32_t)a[CMD_PER_LUN].number,
		.pi = (enum vio_scsi_pi)a[PROTECTION].number, .initiator = a[INITIATOR].given ? a[INITIATOR].text : "",
		.news = scsi_news, .news_arg = u };
	const char *refused = vio_dev_open(u->dev, &vio_dev_scsi, &o, &vio_vhost_port, NULL, vio_daemon_wire(a));
	free(luns);
	return !refused || vio_refuse(why, "cannot make a SCSI host: %s", refused);
}

static bool open_all(struct vio_unit *u, struct all *all, struct vio_disk_place place, char *why)
{
	struct scsi_host *h = u->backend;

	for (unsigned i = 0; i < all->count; i++)
		if (!open_entry(u, &h->entry[i], &all->words[i], place, why))
			return false;
	return open_spares(h, u->args, place, why) && open_device(u, all, why);
}

static bool open_scsi(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	struct all *all = parse_all(u->args, why);

	if (!all)
		return false;
	u->backend = calloc(1, sizeof(struct scsi_host));
	bool ok = u->backend ? open_all(u, all, (struct vio_disk_place){ loops, loop_count }, why)
	    : vio_refuse(why, "there is no memory for another device");
	free_all(all);
	if (!ok && u->backend) {
		close_scsi(u);
		u->backend = NULL;
	}
	return ok;
}

/* ---- While it runs ---- */

static void refresh(struct vio_unit *u)
{
	struct scsi_host *h = u->backend;

	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++) {
		struct scsi_entry *e = &h->entry[i];
		if (!e->used || !e->image || !e->disk)
			continue;
		uint64_t before = e->disk->size;
		vio_disk_file_refresh(e->disk);
		scsi_tell_size(u, e, before);
	}
}

/* What was written is on stable storage: all disks at once, done when the last is. */
struct flushes { struct vio_unit *unit; unsigned left; int error; void (*done)(struct vio_unit *u, int error); };

static void flushed(void *arg, int error)
{
	struct flushes *f = arg;

	f->error = f->error ? f->error : error;
	if (--f->left)
		return;
	struct flushes end = *f;
	free(f);
	end.done(end.unit, end.error);
}

static void flush(struct vio_unit *u, void (*done)(struct vio_unit *u, int error))
{
	struct scsi_host *h = u->backend;
	struct flushes *f = malloc(sizeof *f);

	if (!f) {
		done(u, ENOMEM);
		return;
	}
	*f = (struct flushes){ u, 1, 0, done };
	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++)
		if (h->entry[i].used && h->entry[i].disk) {
			f->left++;
			vio_disk_flush(h->entry[i].disk, u->loop, u->stop_deadline_ns, flushed, f);
		}
	flushed(f, 0);
}

static bool hand(struct vio_unit *u, bool away, char *why)
{
	struct scsi_host *h = u->backend;

	for (unsigned i = 0; i < VIO_SCSI_LUNS; i++) {
		struct scsi_entry *e = &h->entry[i];
		if (!e->used || !e->image || !e->disk)
			continue;
		if (away)
			vio_disk_file_give(e->disk);
		else if (!vio_disk_file_take(e->disk, e->name, why))
			return false;
	}
	return true;
}

static void grant(struct vio_unit *u, struct vio_sandbox_options *o)
{
	const struct scsi_host *h = u->backend;

	vio_sandbox_calls(o, vio_keep_calls);
	if (h->spares)
		vio_sandbox_calls(o, vio_disk_file_calls);
}

const struct vio_service vio_service_scsi = {
	.type = &vio_dev_scsi,
	.program = "vio-scsi",
	.capabilities = "{\"type\": \"scsi\"}",
	.options = {
		.usage = "vio scsi --socket-path=PATH --lun=TARGET:LUN,file=FILE... [options] [--socket-path=PATH --lun=...]...",
		.about = "Serves SCSI disks and CD-ROM drives to virtual machines over vhost-user. Options before the first --socket-path hold for "
		         "all devices, after it for that one.",
		.common = vio_daemon_options, .common_count = VIO_OPT_COMMON,
		.own = options, .own_count = END - VIO_OPT_COMMON,
	},
	.threads_option = THREADS, .poll_option = POLL_US,
	.verbs = scsi_verbs, .stats = scsi_stats,
	.check = check, .open = open_scsi, .refresh = refresh, .flush = flush, .close = close_scsi, .hand = hand, .grant = grant,
};
