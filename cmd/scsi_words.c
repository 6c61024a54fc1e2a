#include "scsi.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 24, RPM = 7200 };

static bool take_number(const char **at, unsigned long most, unsigned long *to)
{
	char *end;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*to = strtoul(*at, &end, 10);
	*at = end;
	return !errno && *to <= most;
}

bool scsi_words_address(const char *text, uint8_t *target, uint16_t *lun, char *why)
{
	const char *at = text;
	unsigned long t, l;

	if (take_number(&at, VIO_SCSI_MAX_TARGET, &t) && *at == ':' && (at++, take_number(&at, VIO_SCSI_MAX_LUN, &l)) && !*at) {
		*target = (uint8_t)t;
		*lun = (uint16_t)l;
		return true;
	}
	return vio_refuse(why, "\"%.40s\" is no unit: give TARGET:LUN, such as 0:1, with a target of at most %d and a LUN of at most %d", text,
	    VIO_SCSI_MAX_TARGET, VIO_SCSI_MAX_LUN);
}

/* ---- Words ---- */

enum kind { FLAG, TEXT, FLAG_OR_TEXT };
struct word {
	const char *name, *value;	/* value: how it is called */
	enum kind kind;
	bool (*take)(struct scsi_words *w, const char *value);
};

static bool take_file(struct scsi_words *w, const char *v) { w->disk.file = v; return true; }
static bool take_ro(struct scsi_words *w, const char *v) { (void)v; return w->disk.read_only = true; }
static bool take_removable(struct scsi_words *w, const char *v) { (void)v; return w->lun.removable = true; }
static bool take_thin(struct scsi_words *w, const char *v) { (void)v; return w->lun.thin = true; }
static bool take_protect(struct scsi_words *w, const char *v) { (void)v; return w->lun.protect = true; }
static bool take_shared(struct scsi_words *w, const char *v) { (void)v; return w->disk.shared = true; }

static bool take_cdrom(struct scsi_words *w, const char *v)
{
	(void)v;
	w->lun.removable = w->disk.read_only = true;
	return w->lun.cdrom = true;
}

static bool take_rotational(struct scsi_words *w, const char *v)
{
	unsigned long rpm = RPM;

	if (v && (!take_number(&v, UINT16_MAX - 1, &rpm) || *v || rpm < 2))
		return false;
	w->lun.rotation = (uint16_t)rpm;
	return true;
}

static bool take_text(char *to, size_t room, const char *v)
{
	if (strlen(v) >= room)
		return false;
	memcpy(to, v, strlen(v) + 1);
	return true;
}

static bool take_serial(struct scsi_words *w, const char *v) { return take_text(w->lun.serial, sizeof w->lun.serial, v); }
static bool take_vendor(struct scsi_words *w, const char *v) { return take_text(w->lun.vendor, sizeof w->lun.vendor, v); }
static bool take_product(struct scsi_words *w, const char *v) { return take_text(w->lun.product, sizeof w->lun.product, v); }
static bool take_revision(struct scsi_words *w, const char *v) { return take_text(w->lun.revision, sizeof w->lun.revision, v); }

static bool take_wwn(struct scsi_words *w, const char *v)
{
	char *end;

	if (!strncmp(v, "0x", 2))
		v += 2;
	if (strlen(v) != 16 || strspn(v, "0123456789abcdefABCDEF") != 16)
		return false;
	w->lun.wwn = strtoull(v, &end, 16);
	return w->lun.wwn >> 60 == 5 || w->lun.wwn >> 60 == 3 || w->lun.wwn >> 60 == 2;
}

static bool take_block(struct scsi_words *w, const char *v)
{
	unsigned long n;

	if (!take_number(&v, 4096, &n) || *v || n < 512 || n & (n - 1))
		return false;
	w->lun.logical_block = w->disk.logical_block = (uint32_t)n;
	return true;
}

static bool take_cache(struct scsi_words *w, const char *v)
{
	w->disk.file_only = true;
	w->disk.direct = !strcmp(v, "none");
	w->lun.writethrough = !strcmp(v, "writethrough");
	return w->disk.direct || w->lun.writethrough || !strcmp(v, "writeback");
}

static bool take_aio(struct scsi_words *w, const char *v)
{
	w->disk.file_only = true;
	w->disk.aio = !strcmp(v, "io_uring") ? VIO_AIO_URING : !strcmp(v, "threads") ? VIO_AIO_THREADS : VIO_AIO_AUTO;
	return w->disk.aio != VIO_AIO_AUTO || !strcmp(v, "auto");
}

static bool take_reservations(struct scsi_words *w, const char *v)
{
	w->reservations = v;
	w->reservations_beside = !v;
	return true;
}

static const struct word words[] = {
	{ "file", "FILE", TEXT, take_file },
	{ "ro", NULL, FLAG, take_ro },
	{ "cdrom", NULL, FLAG, take_cdrom },
	{ "removable", NULL, FLAG, take_removable },
	{ "rotational", "RPM, 2 to 65534", FLAG_OR_TEXT, take_rotational },
	{ "serial", "TEXT of at most 36 characters", TEXT, take_serial },
	{ "vendor", "TEXT of at most 8 characters", TEXT, take_vendor },
	{ "product", "TEXT of at most 16 characters", TEXT, take_product },
	{ "revision", "TEXT of at most 4 characters", TEXT, take_revision },
	{ "wwn", "16 hexadecimal digits, of which the first is 2, 3 or 5", TEXT, take_wwn },
	{ "block", "512, 1024, 2048 or 4096", TEXT, take_block },
	{ "cache", "writeback, writethrough or none", TEXT, take_cache },
	{ "aio", "auto, io_uring or threads", TEXT, take_aio },
	{ "thin", NULL, FLAG, take_thin },
	{ "protect", NULL, FLAG, take_protect },
	{ "shared", NULL, FLAG, take_shared },
	{ "reservations", "FILE", FLAG_OR_TEXT, take_reservations },
};

bool scsi_words_take(struct scsi_words *w, const char *where, const char *name, const char *value, char *why)
{
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
		const struct word *d = &words[i];
		if (strcmp(d->name, name))
			continue;
		if (value && d->kind == FLAG)
			return vio_refuse(why, "%s: %s takes no value: write %s alone", where, name, name);
		if ((!value || !*value) && (value || d->kind == TEXT))
			return vio_refuse(why, "%s: %s needs a value: write %s=%s", where, name, name, d->value);
		return d->take(w, value) || vio_refuse(why, "%s: %s=%.60s cannot be: give %s", where, name, value, d->value);
	}
	return vio_refuse(why, "%s: there is no \"%.40s\": there may be file, ro, cdrom, removable, rotational, serial, vendor, product, revision, "
	    "wwn, block, cache, aio, thin, protect, shared and reservations", where, name);
}

bool scsi_words_check(const struct scsi_words *w, const char *where, char *why)
{
	if (!w->disk.file && !w->lun.cdrom)
		return vio_refuse(why, "%s does not say which image it is: add file=FILE (only a CD-ROM drive may be empty)", where);
	if (!w->disk.file && (w->reservations || w->reservations_beside))
		return vio_refuse(why, "%s: reservations are a disk's: leave them out", where);
	if (w->lun.cdrom && (w->lun.logical_block || w->lun.rotation || w->lun.thin || w->lun.protect || w->lun.writethrough))
		return vio_refuse(why, "%s: a CD-ROM drive has none of block, rotational, thin, protect and cache=writethrough: leave them out", where);
	if (w->reservations_beside && !vio_disk_words_image(&w->disk))
		return vio_refuse(why, "%s: there is no image that reservations could lie beside: give reservations=FILE", where);
	return !w->disk.file || vio_disk_words_check(&w->disk, why);
}

bool scsi_words_parse(struct scsi_words *w, char *why)
{
	struct vio_opt_part part[PARTS];
	char where[64];
	unsigned n = vio_opt_parts(w->text, part, PARTS);

	w->disk.said = "file=";
	if (part[0].value)
		return vio_refuse(why, "--lun begins with which unit it is: give --lun=TARGET:LUN,file=FILE, such as --lun=0:0,file=disk.img");
	if (!scsi_words_address(part[0].name, &w->lun.target, &w->lun.lun, why))
		return false;
	snprintf(where, sizeof where, "--lun=%u:%u", w->lun.target, w->lun.lun);
	if (n > PARTS)
		return vio_refuse(why, "%s has too many parts: a comma in a path is written twice", where);
	for (unsigned i = 1; i < n; i++) {
		for (unsigned k = 1; k < i; k++)
			if (!strcmp(part[k].name, part[i].name))
				return vio_refuse(why, "%s: %.40s is given twice: keep one", where, part[i].name);
		if (!scsi_words_take(w, where, part[i].name, part[i].value, why))
			return false;
	}
	return scsi_words_check(w, where, why);
}
