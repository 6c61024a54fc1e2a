/*
 * What only a CD-ROM drive has (MMC-6): an image of blocks of 2048 bytes is one data track in one session of a finished disc;
 * larger than a CD, it is a DVD.
 */
#include <vio/device/scsi_impl.h>

enum { CD_BLOCKS = 80 * 60 * 75, LEAD_IN = 150, LEAD_OUT = 0xaa, DATA_TRACK = 0x14 };
enum { PROFILE_NONE = 0, PROFILE_CD = 0x08, PROFILE_DVD = 0x10 };

static bool has_medium(const struct scsi_unit *u)
{
	return (scsi_flags(u) & (UNIT_MEDIUM | UNIT_OPEN)) == UNIT_MEDIUM;
}

static uint16_t profile_of(const struct scsi_unit *u)
{
	return !has_medium(u) ? PROFILE_NONE : scsi_blocks(u) > CD_BLOCKS ? PROFILE_DVD : PROFILE_CD;
}

/* ---- READ TOC ---- */

static void put_place(uint8_t *to, uint64_t lba, bool msf)
{
	uint64_t frames = lba + LEAD_IN;

	if (!msf) {
		vio_be32_put(to, (uint32_t)scsi_least(lba, UINT32_MAX));
		return;
	}
	to[0] = 0;
	to[1] = (uint8_t)scsi_least(frames / 75 / 60, 255);
	to[2] = (uint8_t)(frames / 75 % 60);
	to[3] = (uint8_t)(frames % 75);
}

static size_t put_track(uint8_t *to, uint8_t number, uint64_t lba, bool msf)
{
	memset(to, 0, 8);
	to[1] = DATA_TRACK;
	to[2] = number;
	put_place(to + 4, lba, msf);
	return 8;
}

static size_t plain_toc(const struct scsi_unit *u, uint8_t first, bool msf, uint8_t *to)
{
	size_t n = 4;

	to[2] = to[3] = 1;
	if (first <= 1)
		n += put_track(to + n, 1, 0, msf);
	return n + put_track(to + n, LEAD_OUT, scsi_blocks(u), msf);
}

static size_t raw_entry(uint8_t *to, uint8_t point, uint8_t first, uint64_t lba, bool place)
{
	memset(to, 0, 11);
	to[0] = 1;
	to[1] = DATA_TRACK;
	to[3] = point;
	if (place)
		put_place(to + 7, lba, true);
	else
		to[8] = first;
	return 11;
}

static size_t raw_toc(const struct scsi_unit *u, uint8_t *to)
{
	size_t n = 4;

	to[2] = to[3] = 1;
	n += raw_entry(to + n, 0xa0, 1, 0, false);
	n += raw_entry(to + n, 0xa1, 1, 0, false);
	n += raw_entry(to + n, 0xa2, 0, scsi_blocks(u), true);
	return n + raw_entry(to + n, 1, 0, 0, true);
}

void vio_scsi_do_read_toc(struct scsi_req *r)
{
	const struct scsi_unit *u = r->unit;
	uint8_t format = r->cdb[2] & 15, first = r->cdb[6], to[64] = { 0 };
	bool msf = r->cdb[1] & 2;
	size_t n;

	if (!format)
		format = r->cdb[9] >> 6;		/* where it was in the days of SFF-8020 */
	if (format > 2) {
		vio_scsi_dev_bad_cdb(r, 2, 3);
		return;
	}
	if (format == 0 && first > 1 && first != LEAD_OUT) {
		vio_scsi_dev_bad_cdb(r, 6, -1);
		return;
	}
	if (format == 0) {
		n = plain_toc(u, first, msf, to);
	} else if (format == 1) {
		to[2] = to[3] = 1;			/* one session, which begins with track 1 */
		n = 4 + put_track(to + 4, 1, 0, msf);
	} else {
		n = raw_toc(u, to);
	}
	vio_be16_put(to, (uint16_t)(n - 2));
	vio_scsi_dev_tell(r, to, n, vio_be16_at(r->cdb + 7));
}

/* ---- GET CONFIGURATION ---- */

enum { FEATURE_PROFILES = 0, FEATURE_CORE = 1, FEATURE_MORPHING = 2, FEATURE_REMOVABLE = 3, FEATURE_RANDOM_READ = 0x10,
	FEATURE_CD_READ = 0x1e, FEATURE_DVD_READ = 0x1f, FEATURE_POWER = 0x100, FEATURE_TIMEOUT = 0x105 };

struct feature { uint16_t code; uint8_t version, persistent, bytes, data[8]; uint16_t current_with; };
enum { ALWAYS = 0xffff, ANY_MEDIUM = 0xfffe };
static const struct feature features[] = {
	{ FEATURE_PROFILES, 0, 1, 8, { 0, PROFILE_DVD, 0, 0, 0, PROFILE_CD, 0, 0 }, ALWAYS },
	{ FEATURE_CORE, 2, 1, 8, { 0, 0, 0, 1, 1 }, ALWAYS },			/* SCSI; DBE */
	{ FEATURE_MORPHING, 1, 1, 4, { 2 }, ALWAYS },				/* operational change events */
	{ FEATURE_REMOVABLE, 2, 1, 4, { 0x39 }, ALWAYS },			/* tray; load, eject, lock */
	{ FEATURE_RANDOM_READ, 0, 0, 8, { 0, 0, 8, 0, 0, 1, 0 }, ANY_MEDIUM },
	{ FEATURE_CD_READ, 2, 0, 4, { 0 }, PROFILE_CD },
	{ FEATURE_DVD_READ, 0, 0, 4, { 0 }, PROFILE_DVD },
	{ FEATURE_POWER, 0, 1, 0, { 0 }, ALWAYS },
	{ FEATURE_TIMEOUT, 0, 1, 0, { 0 }, ALWAYS },
};
enum { FEATURES = sizeof features / sizeof *features };

static bool is_current(const struct feature *f, uint16_t profile)
{
	return f->current_with == ALWAYS || (f->current_with == ANY_MEDIUM && profile) || f->current_with == profile;
}

static size_t put_feature(const struct feature *f, uint16_t profile, uint8_t *to)
{
	vio_be16_put(to, f->code);
	to[2] = (uint8_t)(f->version << 2 | f->persistent << 1 | is_current(f, profile));
	to[3] = f->bytes;
	memcpy(to + 4, f->data, f->bytes);
	if (f->code == FEATURE_PROFILES) {
		to[4 + 2] = profile == PROFILE_DVD;
		to[4 + 6] = profile == PROFILE_CD;
	}
	return 4u + f->bytes;
}

void vio_scsi_do_get_configuration(struct scsi_req *r)
{
	uint16_t profile = profile_of(r->unit), first = vio_be16_at(r->cdb + 2);
	unsigned which = r->cdb[1] & 3;		/* all, current ones, one */
	uint8_t to[8 + FEATURES * 12] = { 0 };
	size_t n = 8;

	if (which == 3) {
		vio_scsi_dev_bad_cdb(r, 1, 1);
		return;
	}
	for (unsigned i = 0; i < FEATURES; i++) {
		const struct feature *f = &features[i];
		if (which == 2 ? f->code == first : f->code >= first && (which == 0 || is_current(f, profile)))
			n += put_feature(f, profile, to + n);
	}
	vio_be32_put(to, (uint32_t)(n - 4));
	vio_be16_put(to + 6, profile);
	vio_scsi_dev_tell(r, to, n, vio_be16_at(r->cdb + 7));
}

/* ---- GET EVENT STATUS NOTIFICATION: of media only ---- */

enum { CLASS_MEDIA = 4, NO_EVENT_AVAILABLE = 0x80 };

void vio_scsi_do_get_event_status(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	uint8_t to[8] = { 0 };
	uint64_t alloc = vio_be16_at(r->cdb + 7);

	if (!(r->cdb[1] & 1)) {			/* asynchronous operation: poll, please */
		vio_scsi_dev_bad_cdb(r, 1, 0);
		return;
	}
	to[3] = 1 << CLASS_MEDIA;
	if (!(r->cdb[4] & 1 << CLASS_MEDIA)) {
		to[2] = NO_EVENT_AVAILABLE;
		vio_scsi_dev_tell(r, to, 4, alloc);
		return;
	}
	uint32_t f = scsi_flags(u);
	to[1] = 4;
	to[2] = CLASS_MEDIA;
	to[4] = (uint8_t)(alloc > 4 ? __atomic_exchange_n(&u->media_event, 0, __ATOMIC_RELAXED) : 0);
	to[5] = (uint8_t)((f & UNIT_OPEN ? 1 : 0) | (has_medium(u) ? 2 : 0));
	vio_scsi_dev_tell(r, to, sizeof to, alloc);
}

/* ---- What disc, track and drive are ---- */

void vio_scsi_do_read_disc_information(struct scsi_req *r)
{
	uint8_t to[34] = { 0 };

	if (r->cdb[1] & 7) {
		vio_scsi_dev_bad_cdb(r, 1, 2);
		return;
	}
	vio_be16_put(to, sizeof to - 2);
	to[2] = 0x0e;				/* last session complete, disc finished */
	to[3] = to[4] = to[5] = to[6] = 1;	/* one session, one track */
	to[7] = 0x20;				/* unrestricted use */
	vio_scsi_dev_tell(r, to, sizeof to, vio_be16_at(r->cdb + 7));
}

void vio_scsi_do_read_track_information(struct scsi_req *r)
{
	unsigned type = r->cdb[1] & 3;
	uint32_t number = vio_be32_at(r->cdb + 2);
	uint64_t blocks = scsi_blocks(r->unit);
	uint8_t to[36] = { 0 };

	if ((type == 0 && number >= blocks) || (type != 0 && number != 1) || type == 3) {
		vio_scsi_dev_bad_cdb(r, 2, -1);
		return;
	}
	vio_be16_put(to, sizeof to - 2);
	to[2] = to[3] = 1;			/* track, session */
	to[5] = DATA_TRACK & 15;
	to[6] = 1;				/* mode 1 */
	vio_be32_put(to + 24, (uint32_t)scsi_least(blocks, UINT32_MAX));
	vio_scsi_dev_tell(r, to, sizeof to, vio_be16_at(r->cdb + 7));
}

void vio_scsi_do_mechanism_status(struct scsi_req *r)
{
	uint8_t to[8] = { 0 };

	to[1] = scsi_flags(r->unit) & UNIT_OPEN ? 0x10 : 0;
	to[5] = 1;				/* one slot, and no table of them */
	vio_scsi_dev_tell(r, to, sizeof to, vio_be16_at(r->cdb + 8));
}

/* Physical format, and that there is no copyright protection. */
void vio_scsi_do_read_dvd_structure(struct scsi_req *r)
{
	uint64_t blocks = scsi_blocks(r->unit), alloc = vio_be16_at(r->cdb + 8);
	uint8_t format = r->cdb[7], to[4 + 2048] = { 0 };
	size_t n = format == 0 ? sizeof to : 8;

	if (profile_of(r->unit) != PROFILE_DVD || format > 1 || r->cdb[1] & 15) {
		vio_scsi_dev_bad_cdb(r, r->cdb[1] & 15 ? 1 : 7, -1);
		return;
	}
	vio_be16_put(to, (uint16_t)(n - 2));
	if (format == 0) {
		to[4] = 0x01;			/* DVD-ROM, version 1 */
		to[5] = 0x0f;			/* 120 mm, any rate */
		to[6] = 0x01;			/* one layer, embossed */
		vio_be24_put(to + 9, 0x30000);
		vio_be24_put(to + 13, (uint32_t)scsi_least(0x30000 + blocks - 1, 0xffffff));
	}
	vio_scsi_dev_tell(r, to, n, alloc);
}

/* ---- Reading ---- */

enum { TYPE_ANY = 0, TYPE_MODE_1 = 2, USER_DATA = 0x10 };

static void was_read(struct scsi_req *r, int error)
{
	if (error) {
		vio_scsi_dev_failed(r, error);
		return;
	}
	r->moved_in = r->io.length;
	vio_scsi_dev_good(r);
}

/* User data of mode 1, as the image has it: what surrounds it on a disc is not there. */
void vio_scsi_do_read_cd(struct scsi_req *r)
{
	unsigned type = r->cdb[1] >> 2 & 7;
	uint64_t lba = vio_be32_at(r->cdb + 2), blocks = vio_be24_at(r->cdb + 6), bytes = blocks << r->unit->shift;

	if (!vio_scsi_dev_on_medium(r, lba, blocks))
		return;
	if (type != TYPE_ANY && type != TYPE_MODE_1) {
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_ILLEGAL_MODE_FOR_TRACK);
	} else if ((r->cdb[9] & ~USER_DATA) || r->cdb[10] & 7) {
		vio_scsi_dev_bad_cdb(r, r->cdb[9] & ~USER_DATA ? 9 : 10, -1);
	} else if (!blocks || !(r->cdb[9] & USER_DATA)) {
		vio_scsi_dev_good(r);
	} else if (bytes > r->in.left) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
	} else {
		r->io.op = VIO_DISK_READ;
		r->io.offset = lba << r->unit->shift;
		r->io.length = bytes;
		r->io.bytes = r->in;
		r->io.bytes.left = bytes;
		vio_scsi_dev_submit(r, was_read);
	}
}

/* The head goes where it likes, as fast as it can. */
void vio_scsi_do_seek(struct scsi_req *r)
{
	if (vio_scsi_dev_on_medium(r, vio_be32_at(r->cdb + 2), 1))
		vio_scsi_dev_good(r);
}

void vio_scsi_do_set_speed(struct scsi_req *r) { vio_scsi_dev_good(r); }
