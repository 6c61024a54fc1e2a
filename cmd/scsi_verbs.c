/* What the control socket of vio scsi offers: units and media come and go. */
#include "scsi.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct scsi_host *host(const struct vio_unit *u) { return u->backend; }

/* The unit that lun=TARGET:LUN names, or NULL and why. */
static struct scsi_entry *the_entry(struct vio_command *c, char *why)
{
	uint8_t target;
	uint16_t lun;

	if (!scsi_words_address(vio_command_text(c, "lun"), &target, &lun, why))
		return NULL;
	struct scsi_entry *e = scsi_entry_at(host(c->unit), target, lun);
	if (!e)
		vio_refuse(why, "there is no unit %u:%u: \"luns\" tells which there are", target, lun);
	return e;
}

static bool answered(const char *refused, char *why) { return !refused || vio_refuse(why, "%s", refused); }

/* ---- Telling ---- */

static json_t *address_of(uint8_t target, uint16_t lun) { return json_sprintf("%u:%u", target, lun); }

struct telling { struct vio_unit *u; json_t *list; };

static const char *kind_of(const struct vio_scsi_dev_unit *v) { return v->cdrom ? "cdrom" : "disk"; }

static json_t *describe(const struct vio_unit *u, const struct vio_scsi_dev_unit *v)
{
	const struct scsi_entry *e = scsi_entry_at(host(u), v->target, v->lun);
	json_t *o = json_pack("{s:o, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:I}", "lun", address_of(v->target, v->lun), "kind", kind_of(v),
	    "read_only", v->read_only, "removable", v->removable, "medium", v->has_medium, "open", v->open, "locked", v->locked,
	    "write_cache", v->write_cache, "leaving", v->leaving, "block", (json_int_t)v->logical_block, "blocks", (json_int_t)v->blocks);

	json_object_set_new(o, "file", e && e->name ? json_string(e->name) : json_null());
	json_object_update_missing_new(o, json_pack("{s:i, s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "registrants", (int)v->registrants,
	    "reservation", v->reservation, "reservations_kept", e && e->keep, "commands", (json_int_t)v->commands,
	    "bytes_read", (json_int_t)v->bytes_read, "bytes_written", (json_int_t)v->bytes_written, "failed", (json_int_t)v->failed,
	    "conflicts", (json_int_t)v->conflicts, "aborted", (json_int_t)v->aborted));
	return o;
}

static bool list_one(void *arg, const struct vio_scsi_dev_unit *v)
{
	struct telling *t = arg;

	json_array_append_new(t->list, describe(t->u, v));
	return true;
}

static json_t *list_of(struct vio_unit *u)
{
	struct telling t = { u, json_array() };

	vio_scsi_dev_each(u->dev, list_one, &t);
	return t.list;
}

void scsi_stats(struct vio_unit *u, json_t *into)
{
	json_object_set_new(into, "scsi", json_pack("{s:o, s:I, s:i}", "luns", list_of(u),
	    "events_missed", (json_int_t)vio_scsi_dev_events_missed(u->dev), "spare", (int)host(u)->spares));
}

static bool luns(struct vio_command *c, char *why)
{
	(void)why;
	json_object_set_new(c->answer, "luns", list_of(c->unit));
	return true;
}

void scsi_tell_size(struct vio_unit *u, const struct scsi_entry *e, uint64_t before)
{
	if (e->disk->size != before)
		vio_control_event(u, "resized", json_pack("{s:o, s:I}", "lun", address_of(e->target, e->lun), "bytes", (json_int_t)e->disk->size));
}

struct finding { uint8_t target; uint16_t lun; struct vio_scsi_dev_unit found; bool is; };

static bool find_one(void *arg, const struct vio_scsi_dev_unit *v)
{
	struct finding *f = arg;

	f->is = v->target == f->target && v->lun == f->lun;
	f->found = *v;
	return !f->is;
}

void scsi_news(void *arg, uint8_t target, uint16_t lun)
{
	struct vio_unit *u = arg;
	struct finding f = { .target = target, .lun = lun };

	if (u->state == VIO_UNIT_IDLE)	/* it is being opened: nobody listens */
		return;
	vio_scsi_dev_each(u->dev, find_one, &f);
	if (f.is)
		vio_control_event(u, "unit", json_pack("{s:o, s:b, s:b, s:b}", "lun", address_of(target, lun), "medium", f.found.has_medium,
		    "open", f.found.open, "locked", f.found.locked));
}

/* ---- Images that are handed over ---- */

/* The image of the file argument on a spare disk; NULL and why.  *image tells that it is one (and not an empty drive). */
static struct vio_disk *take_image(struct vio_command *c, const struct scsi_words *w, char *why)
{
	struct scsi_host *h = host(c->unit);
	struct vio_disk_file_options o = { .path = vio_command_text(c, "file"), .has_fd = true, .read_only = w->disk.read_only,
		.shared = w->disk.shared, .direct = w->disk.direct, .logical_block = w->disk.logical_block };

	if (!h->spares) {
		vio_refuse(why, "there is no room for another image: remove a unit first, or start with more --spare-luns");
		return NULL;
	}
	o.spare = h->spare[h->spares - 1];
	o.fd = vio_command_fd(c, "file");
	struct vio_disk *d = vio_disk_file_open(&o, why);
	if (d)
		h->spares--;
	return d;
}

static bool take_keep(struct vio_command *c, struct scsi_entry *e, char *why)
{
	if (!vio_command_has(c, "reservations"))
		return true;
	e->keep = vio_keep_file_take(vio_command_fd(c, "reservations"), vio_command_text(c, "reservations"), why);
	return e->keep;
}

/* ---- Units ---- */

/* The verb's arguments are the words of --lun. */
static bool take_words(struct vio_command *c, struct scsi_words *w, char *why)
{
	const char *name;
	json_t *value;
	char where[64];

	*w = (struct scsi_words){ .disk.said = "file=" };
	if (!scsi_words_address(vio_command_text(c, "lun"), &w->lun.target, &w->lun.lun, why))
		return false;
	snprintf(where, sizeof where, "lun=%u:%u", w->lun.target, w->lun.lun);
	json_object_foreach(c->args, name, value) {
		if (!strcmp(name, "lun") || json_is_false(value))
			continue;
		if (!scsi_words_take(w, where, name, json_string_value(value), why))
			return false;
	}
	w->lun.read_only = w->disk.read_only;
	return scsi_words_check(w, where, why);
}

static bool add_to_device(struct vio_command *c, struct scsi_entry *e, struct scsi_words *w, char *why)
{
	if (w->disk.file) {
		e->image = true;
		if (!(e->name = strdup(w->disk.file)))
			return vio_refuse(why, "there is no memory for another unit");
		if (!(e->disk = take_image(c, w, why)))
			return false;
	}
	if (!take_keep(c, e, why))
		return false;
	w->lun.disk = e->disk;
	w->lun.keep = e->keep;
	return answered(vio_scsi_dev_add(c->unit->dev, &w->lun), why);
}

static bool add_lun(struct vio_command *c, char *why)
{
	struct scsi_host *h = host(c->unit);
	struct scsi_words w;
	unsigned free = 0;

	if (!take_words(c, &w, why))
		return false;
	if (scsi_entry_at(h, w.lun.target, w.lun.lun))
		return vio_refuse(why, "there is a unit %u:%u: remove it first, or take another number", w.lun.target, w.lun.lun);
	while (free < VIO_SCSI_LUNS && h->entry[free].used)
		free++;
	if (free == VIO_SCSI_LUNS)
		return vio_refuse(why, "there are %d units, and can't be more: remove one first", VIO_SCSI_LUNS);
	struct scsi_entry *e = &h->entry[free];
	*e = (struct scsi_entry){ .used = true, .target = w.lun.target, .lun = w.lun.lun };
	if (add_to_device(c, e, &w, why))
		return true;
	scsi_entry_close(h, e);
	return false;
}

/* ---- What is answered when the device has let go of something ---- */

/* The device is in the middle of its own work when it tells. */
static void soon(void *arg)
{
	struct scsi_entry *e = arg;

	vio_loop_task(e->unit->loop, &e->task);
}

static void let_go(void *arg)
{
	struct scsi_entry *e = arg;
	struct vio_command *call = e->call;

	e->busy = false;
	scsi_let_go(host(e->unit), e->old, e->old_image);
	e->old = NULL;
	if (call)
		vio_command_done(call, NULL);
}

static void unit_is_gone(void *arg)
{
	struct scsi_entry *e = arg;
	struct vio_command *call = e->call;

	scsi_entry_close(host(e->unit), e);
	if (call)
		vio_command_done(call, NULL);
}

static bool begin(struct vio_command *c, struct scsi_entry *e, void (*then)(void *arg), char *why)
{
	if (e->busy)
		return vio_refuse(why, "something is done with that unit already: wait for it");
	e->busy = true;
	e->unit = c->unit;
	e->task = (struct vio_task){ .fn = then, .arg = e };
	e->call = c;
	c->kept = &e->call;
	c->later = true;
	return true;
}

static bool give_up(struct vio_command *c, struct scsi_entry *e)
{
	e->busy = c->later = false;
	e->call = NULL;
	c->kept = NULL;
	return false;
}

static bool remove_lun(struct vio_command *c, char *why)
{
	struct scsi_entry *e = the_entry(c, why);

	if (!e || !begin(c, e, unit_is_gone, why))
		return false;
	return answered(vio_scsi_dev_remove(c->unit->dev, e->target, e->lun, soon, e), why) || give_up(c, e);
}

static bool resize(struct vio_command *c, char *why)
{
	struct scsi_entry *e = the_entry(c, why);

	if (!e)
		return false;
	if (!e->disk || !e->image)
		return vio_refuse(why, "only an image that is a file or block device can be resized");
	uint64_t before = e->disk->size;
	if (!vio_command_has(c, "bytes"))
		vio_disk_file_refresh(e->disk);
	else if (!vio_disk_file_grow(e->disk, vio_command_number(c, "bytes", 0), why))
		return false;
	json_object_set_new(c->answer, "bytes", json_integer((json_int_t)e->disk->size));
	scsi_tell_size(c->unit, e, before);
	return true;
}

/* ---- Media ---- */

/* The new one is known to the device at once, the old one has to be waited for. */
static bool change_medium(struct vio_command *c, struct scsi_entry *e, struct vio_disk *disk, const char *name, char *why)
{
	char *kept = name ? strdup(name) : NULL;

	if (name && !kept)
		return vio_refuse(why, "there is no memory for that");
	if (!begin(c, e, let_go, why)) {
		free(kept);
		return false;
	}
	e->old = e->disk;
	e->old_image = e->image;
	if (!answered(vio_scsi_dev_change_medium(c->unit->dev, e->target, e->lun, disk, vio_command_flag(c, "force"), soon, e), why)) {
		free(kept);
		e->old = NULL;
		return give_up(c, e);
	}
	free(e->name);
	e->name = kept;
	e->disk = disk;
	e->image = disk;
	return true;
}

static bool eject(struct vio_command *c, char *why)
{
	struct scsi_entry *e = the_entry(c, why);

	return e && change_medium(c, e, NULL, NULL, why);
}

static bool insert(struct vio_command *c, char *why)
{
	struct scsi_entry *e = the_entry(c, why);
	struct finding f = { .target = e ? e->target : 0, .lun = e ? e->lun : 0 };

	if (!e)
		return false;
	vio_scsi_dev_each(c->unit->dev, find_one, &f);
	struct scsi_words w = { .disk.read_only = (f.is && (f.found.read_only || f.found.cdrom)) || vio_command_flag(c, "ro"),
		.disk.logical_block = f.is && !f.found.cdrom ? f.found.logical_block : 0 };
	struct vio_disk *disk = take_image(c, &w, why);
	if (!disk)
		return false;
	if (change_medium(c, e, disk, vio_command_text(c, "file"), why))
		return true;
	scsi_let_go(host(c->unit), disk, true);
	return false;
}

const struct vio_verb scsi_verbs[] = {
	{ "luns", "", "Tells which units there are, and what they have done.", false, luns },
	{ "add-lun", "lun:text [file:file] [reservations:file] [ro:bool] [cdrom:bool] [removable:bool] [rotational:bool] [serial:text] "
		"[vendor:text] [product:text] [wwn:text] [block:text] [cache:text] [thin:bool] [shared:bool]",
		"Plugs a unit in (lun=TARGET:LUN, and the words of --lun); the guest is told.", false, add_lun },
	{ "remove-lun", "lun:text", "Unplugs a unit, and answers when nothing of it is in flight any more.", false, remove_lun },
	{ "resize", "lun:text [bytes:size]", "Looks how large a unit's image is now, or makes it larger; the guest is told.", false, resize },
	{ "eject", "lun:text [force:bool]", "Takes the medium out of a drive; the guest is asked first where it has locked it, unless forced.",
		false, eject },
	{ "insert", "lun:text file:file [ro:bool] [force:bool]", "Puts a medium into a drive, in place of what was there.", false, insert },
	{ NULL, NULL, NULL, false, NULL },
};
