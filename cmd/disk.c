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

bool vio_disk_words_image(const struct vio_disk_words *w) { return !find_twin(w->file); }

bool vio_disk_words_check(const struct vio_disk_words *w, char *why)
{
	uint64_t size, block = w->logical_block ? w->logical_block : 512;
	const struct twin *twin = find_twin(w->file);

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
	uint64_t size = 0;

	if (!twin)
		return vio_disk_file_open(&(struct vio_disk_file_options){ .path = w->file, .read_only = w->read_only, .shared = w->shared,
			.direct = w->direct, .aio = w->aio, .logical_block = w->logical_block, .place = place, .queues = w->queues }, why);
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
	vio_loop_task(f->home, &f->end);
}

void vio_disk_flush(struct vio_disk *d, struct vio_loop *home, void (*done)(void *arg, int error), void *arg)
{
	struct flush *f = d->read_only ? NULL : calloc(1, sizeof *f);
	struct vio_disk_chan *chan = f ? d->ops->channel(d, 0) : NULL;	/* queue 0: the home loop's */
	if (!chan) {
		free(f);
		done(arg, d->read_only ? 0 : ENOMEM);
		return;
	}
	*f = (struct flush){ .io = { .op = VIO_DISK_FLUSH, .done = flush_done }, .chan = chan, .home = home,
		.end = { .fn = end_flush, .arg = f }, .done = done, .arg = arg };
	chan->ops->submit(chan, &f->io);
	if (chan->ops->flush)
		chan->ops->flush(chan);
}
