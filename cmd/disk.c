#include "disk.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct twin { const char *prefix; struct vio_disk *(*open)(uint64_t size, struct vio_disk_place place); };

static struct vio_disk *open_ram(uint64_t size, struct vio_disk_place place) { return vio_disk_ram_open(size, NULL, place); }

static const struct twin twins[] = { { "null:", vio_disk_null_open }, { "ram:", open_ram } };

static const struct twin *find_twin(const char *file)
{
	for (size_t i = 0; i < sizeof twins / sizeof *twins; i++)
		if (!strncmp(file, twins[i].prefix, strlen(twins[i].prefix)))
			return &twins[i];
	return NULL;
}

/* nbd:URI, or the URI itself.  (A file of such a name is ./nbd:NAME.) */
static const char *find_uri(const char *file)
{
	static const char *const schemes[] = { "nbd://", "nbds://", "nbd+unix://", "nbds+unix://", "nbd+vsock://", "nbds+vsock://" };
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (!strncmp(file, schemes[i], strlen(schemes[i])))
			return file;
	return strncmp(file, "nbd:", 4) ? NULL : file + 4;
}

const char *vio_disk_words_uri(const struct vio_disk_words *w) { return w->file ? find_uri(w->file) : NULL; }

bool vio_disk_words_image(const struct vio_disk_words *w) { return !find_twin(w->file) && !find_uri(w->file); }

static bool check_uri(const struct vio_disk_words *w, const char *uri, char *why)
{
	if (!w->network)
		return vio_refuse(why, "%s%.60s is on the network: serve it with vio blk, or as a file (qemu-nbd -c, nbdfuse)", w->said, w->file);
	if (find_uri(uri) != uri)
		return vio_refuse(why, "%s%.60s names no server: give nbd:nbd://HOST/EXPORT, nbd:nbd+unix:///EXPORT?socket=PATH, or nbds for TLS",
		    w->said, w->file);
	return !w->file_only || vio_refuse(why, "cache and aio are for files: the server has options of its own for its cache");
}

bool vio_disk_words_check(const struct vio_disk_words *w, char *why)
{
	uint64_t size, block = w->logical_block ? w->logical_block : 512;
	const struct twin *twin = find_twin(w->file);

	if (find_uri(w->file))
		return check_uri(w, find_uri(w->file), why);
	if (!twin)
		return true;
	if (!vio_opt_size(w->file + strlen(twin->prefix), &size) || size < block || size % block || size > INT64_MAX)
		return vio_refuse(why, "%s%.60s cannot be: give a size of whole %llu-byte blocks, like %s64M", w->said, w->file,
		    (unsigned long long)block, twin->prefix);
	return !w->file_only || vio_refuse(why, "cache and aio are for files: leave them out with %s%s", w->said, w->file);
}

struct vio_disk *vio_disk_words_open(const struct vio_disk_words *w, struct vio_disk_place place, char *why)
{
	const struct twin *twin = find_twin(w->file);
	const char *uri = find_uri(w->file);
	uint64_t size = 0;

	if (uri)
		return vio_disk_nbd_open(&(struct vio_disk_nbd_options){ .uri = uri, .read_only = w->read_only,
			.logical_block = w->logical_block, .place = place, .news = w->news, .news_arg = w->news_arg }, why);
	if (!twin)
		return vio_disk_file_open(&(struct vio_disk_file_options){ .path = w->file, .read_only = w->read_only, .shared = w->shared,
			.unlocked = w->unlocked, .direct = w->direct, .aio = w->aio, .logical_block = w->logical_block, .place = place, .queues = w->queues }, why);
	vio_opt_size(w->file + strlen(twin->prefix), &size);	/* vio_disk_words_check() has asked */
	struct vio_disk *disk = twin->open(size, place);
	if (!disk)
		vio_refuse(why, "there is no memory for %s%s: choose a smaller size", w->said, w->file);
	else if (w->logical_block)
		disk->logical_block = w->logical_block;
	return disk;
}

/* ---- Flushing ---- */

struct flush {
	struct vio_disk_io io;
	struct vio_disk_chan *chan;
	struct vio_loop *home;
	struct vio_task end;
	struct vio_timer late;
	void (*done)(void *arg, int error);
	void *arg;
	int error;
};

static void end_flush(void *arg)
{
	struct flush f = *(struct flush *)arg;
	f.chan->ops->close(f.chan);
	free(arg);
	f.done(f.arg, f.error);
}

/* A channel is not closed from inside its own call. */
static void flush_done(struct vio_disk_io *io, int error)
{
	struct flush *f = (struct flush *)((char *)io - offsetof(struct flush, io));
	f->error = error;
	vio_loop_untimer(f->home, &f->late);
	vio_loop_task(f->home, &f->end);
}

/* Nobody waits for ever for a server that has gone. */
static void flush_late(void *arg)
{
	struct flush *f = arg;
	f->chan->ops->cancel(f->chan, &f->io);
}

void vio_disk_flush(struct vio_disk *d, struct vio_loop *home, uint64_t patience_ns, void (*done)(void *arg, int error), void *arg)
{
	struct flush *f = d->read_only ? NULL : calloc(1, sizeof *f);
	struct vio_disk_chan *chan = f ? d->ops->channel(d, 0) : NULL;	/* queue 0: the home loop's */
	if (!chan) {
		free(f);
		done(arg, d->read_only ? 0 : ENOMEM);
		return;
	}
	*f = (struct flush){ .io = { .op = VIO_DISK_FLUSH, .done = flush_done }, .chan = chan, .home = home,
		.end = { .fn = end_flush, .arg = f }, .late = { .fn = flush_late, .arg = f }, .done = done,
		.arg = arg };
	vio_loop_timer(home, &f->late, vio_now_ns() + patience_ns);
	chan->ops->submit(chan, &f->io);
	if (chan->ops->flush)
		chan->ops->flush(chan);
}
