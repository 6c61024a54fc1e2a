/*
 * Mode pages (SPC-4, 7.5; SBC-3, 6.5; MMC-6, 7) and the log pages that must be.
 *
 * All that MODE SELECT can change are three bits, which are in the unit's flags: WCE, D_SENSE, SWP.  Nothing is saved: what was
 * changed lasts until a reset.
 */
#include <vio/device/scsi_impl.h>

enum pc { PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED };
enum { PAGE_MOST = 64 };

/* A page's bytes behind its header of two: what they are when the flags are f. */
struct mode_page { uint8_t code; uint16_t where; uint8_t bytes; void (*fill)(const struct scsi_unit *u, uint32_t f, uint8_t *to); };

static void page_recovery(const struct scsi_unit *u, uint32_t f, uint8_t *to)
{
	(void)u, (void)f;
	to[0] = u->type == VIO_SCSI_DISK ? 0xc0 : 0;	/* AWRE, ARRE: the host's storage does that */
	to[1] = 0;					/* and there are no retries here */
}

static void page_caching(const struct scsi_unit *u, uint32_t f, uint8_t *to)
{
	(void)u;
	to[0] = f & UNIT_WCE ? 0x04 : 0;
}

static void page_control(const struct scsi_unit *u, uint32_t f, uint8_t *to)
{
	(void)u;
	to[0] = f & UNIT_D_SENSE ? 0x04 : 0;		/* TST 0: one task set */
	to[1] = 0x10;					/* unrestricted reordering */
	to[2] = f & UNIT_SWP ? 0x08 : 0;
	vio_be16_put(to + 6, 0xffff);			/* busy timeout: not limited */
}

static void page_exceptions(const struct scsi_unit *u, uint32_t f, uint8_t *to)
{
	(void)u, (void)f;
	to[0] = 0x08;					/* DEXCPT: there will be none */
}

/* MMC-6, annex: what a drive for reading has; many drivers look here only. */
static void page_capabilities(const struct scsi_unit *u, uint32_t f, uint8_t *to)
{
	(void)u;
	to[0] = 0x3b;					/* reads CD-R, CD-RW, method 2, DVD-ROM, DVD-R */
	to[2] = 0x70;					/* multi session, mode 2 forms 1 and 2 */
	to[4] = (uint8_t)(0x29 | (f & UNIT_LOCKED ? 0x02 : 0));	/* tray, eject, lock */
	vio_be16_put(to + 6, 50 * 176);			/* kB/s: as fast as 50 CDs */
	vio_be16_put(to + 8, 2);
	vio_be16_put(to + 10, 2048);
	vio_be16_put(to + 12, 50 * 176);
}

static const struct mode_page pages[] = {
	{ VIO_SCSI_MODE_ERROR_RECOVERY, ON_BOTH, 10, page_recovery },
	{ VIO_SCSI_MODE_CACHING, ON_BOTH, 18, page_caching },
	{ VIO_SCSI_MODE_CONTROL, ON_BOTH, 10, page_control },
	{ VIO_SCSI_MODE_EXCEPTIONS, ON_BOTH, 10, page_exceptions },
	{ VIO_SCSI_MODE_CAPABILITIES, ON_CDROM, 20, page_capabilities },
};
enum { PAGES = sizeof pages / sizeof *pages };

static bool has(const struct scsi_unit *u, const struct mode_page *p)
{
	return p->where & (u->type == VIO_SCSI_CDROM ? ON_CDROM : ON_DISK);
}

static uint32_t changeable(const struct scsi_unit *u)
{
	return u->type == VIO_SCSI_CDROM ? UNIT_D_SENSE : UNIT_MODES;
}

static uint32_t flags_for(const struct scsi_unit *u, enum pc pc)
{
	if (pc == PC_DEFAULT)
		return u->o.writethrough || u->type == VIO_SCSI_CDROM ? 0 : UNIT_WCE;
	return u->type == VIO_SCSI_CDROM ? scsi_flags(u) & ~(uint32_t)UNIT_WCE : scsi_flags(u);
}

/* Code, length, bytes.  The changeable bits are those that differ when all is set. */
static size_t put_page(const struct scsi_unit *u, const struct mode_page *p, enum pc pc, uint8_t *to)
{
	uint8_t set[PAGE_MOST] = { 0 };

	to[0] = p->code;
	to[1] = p->bytes;
	memset(to + 2, 0, p->bytes);
	if (pc != PC_CHANGEABLE) {
		p->fill(u, flags_for(u, pc), to + 2);
		return 2u + p->bytes;
	}
	p->fill(u, 0, to + 2);
	p->fill(u, changeable(u), set);
	for (unsigned i = 0; i < p->bytes; i++)
		to[2 + i] ^= set[i];
	return 2u + p->bytes;
}

/* ---- MODE SENSE ---- */

static size_t put_block_descriptor(const struct scsi_unit *u, bool lbaa, uint8_t *to)
{
	uint64_t blocks = scsi_blocks(u);

	memset(to, 0, 16);
	if (lbaa) {
		vio_be64_put(to, blocks);
		vio_be32_put(to + 12, scsi_block_bytes(u));
		return 16;
	}
	vio_be32_put(to, (uint32_t)scsi_least(blocks, UINT32_MAX));
	vio_be24_put(to + 5, scsi_block_bytes(u));
	return 8;
}

static size_t put_pages(const struct scsi_unit *u, unsigned code, enum pc pc, uint8_t *to)
{
	size_t n = 0;

	for (unsigned i = 0; i < PAGES; i++)
		if (has(u, &pages[i]) && (code == VIO_SCSI_MODE_ALL || code == pages[i].code))
			n += put_page(u, &pages[i], pc, to + n);
	return n;
}

void vio_scsi_do_mode_sense(struct scsi_req *r)
{
	const struct scsi_unit *u = r->unit;
	bool ten = r->cdb[0] == VIO_SCSI_MODE_SENSE_10;
	enum pc pc = (enum pc)(r->cdb[2] >> 6);
	unsigned code = r->cdb[2] & 0x3f, sub = r->cdb[3];
	uint8_t to[8 + 16 + PAGES * PAGE_MOST] = { 0 };
	size_t head = ten ? 8 : 4, n = head, descriptor = 0;

	if (pc == PC_SAVED) {
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_SAVING_NOT_SUPPORTED);
		return;
	}
	if (sub != 0 && !(sub == 0xff && code == VIO_SCSI_MODE_ALL)) {
		vio_scsi_dev_bad_cdb(r, 3, -1);
		return;
	}
	if (!(r->cdb[1] & 8) && u->type == VIO_SCSI_DISK)	/* DBD */
		descriptor = put_block_descriptor(u, ten && r->cdb[1] & 0x10, to + n);
	n += descriptor;
	size_t some = put_pages(u, code, pc, to + n);
	if (!some) {
		vio_scsi_dev_bad_cdb(r, 2, 5);
		return;
	}
	n += some;
	bool write_protected = u->read_only || scsi_flags(u) & UNIT_SWP;
	uint8_t specific = u->type == VIO_SCSI_DISK ? (uint8_t)(0x10 | (write_protected ? 0x80 : 0)) : 0;	/* DPOFUA, WP */
	if (ten) {
		vio_be16_put(to, (uint16_t)(n - 2));
		to[3] = specific;
		to[4] = descriptor == 16;			/* LONGLBA */
		vio_be16_put(to + 6, (uint16_t)descriptor);
	} else {
		to[0] = (uint8_t)(n - 1);
		to[2] = specific;
		to[3] = (uint8_t)descriptor;
	}
	vio_scsi_dev_tell(r, to, n, ten ? vio_be16_at(r->cdb + 7) : r->cdb[4]);
}

/* ---- MODE SELECT ---- */

/* In which byte, and which bit, of its bytes a page differs in what can't be changed; -1: nowhere. */
static int first_wrong_bit(const uint8_t *said, const uint8_t *is, const uint8_t *mask, unsigned n, int *bit)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t wrong = (uint8_t)((said[i] ^ is[i]) & ~mask[i]);
		if (!wrong)
			continue;
		*bit = 31 - __builtin_clz(wrong);
		return (int)i;
	}
	return -1;
}

static uint32_t flags_of(uint8_t code, const uint8_t *bytes, uint32_t f)
{
	if (code == VIO_SCSI_MODE_CACHING)
		return (f & ~(uint32_t)UNIT_WCE) | (bytes[0] & 4 ? UNIT_WCE : 0);
	if (code != VIO_SCSI_MODE_CONTROL)
		return f;
	f &= ~(uint32_t)(UNIT_D_SENSE | UNIT_SWP);
	return f | (bytes[0] & 4 ? UNIT_D_SENSE : 0) | (bytes[2] & 8 ? UNIT_SWP : 0);
}

/* One page at p of left bytes.  0: it is wrong, and the request has ended. */
static size_t judge_page(struct scsi_req *r, const uint8_t *list, size_t at, size_t left, uint32_t *f)
{
	const struct scsi_unit *u = r->unit;
	const struct mode_page *p = NULL;
	const uint8_t *said = list + at;
	uint8_t is[2 + PAGE_MOST], mask[2 + PAGE_MOST];
	int bit = -1;

	for (unsigned i = 0; i < PAGES; i++)
		if (has(u, &pages[i]) && (said[0] & 0x3f) == pages[i].code)
			p = &pages[i];
	if (!p || said[0] & 0x40) {
		vio_scsi_dev_bad_parameter(r, (unsigned)at, p ? 6 : 5);
		return 0;
	}
	if (left < 2 || (said[1] == p->bytes && left < 2u + p->bytes)) {
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_PARAMETER_LENGTH);
		return 0;
	}
	if (said[1] != p->bytes) {
		vio_scsi_dev_bad_parameter(r, (unsigned)at + 1, -1);
		return 0;
	}
	put_page(u, p, PC_CURRENT, is);
	put_page(u, p, PC_CHANGEABLE, mask);
	int wrong = first_wrong_bit(said + 2, is + 2, mask + 2, p->bytes, &bit);
	if (wrong >= 0) {
		vio_scsi_dev_bad_parameter(r, (unsigned)(at + 2) + (unsigned)wrong, bit);
		return 0;
	}
	*f = flags_of(p->code, said + 2, *f);
	return 2u + p->bytes;
}

/* Blocks and their size can't be changed, only confirmed. */
static bool judge_descriptor(struct scsi_req *r, const uint8_t *d, size_t bytes, size_t at)
{
	uint32_t block = bytes == 16 ? vio_be32_at(d + 12) : bytes == 8 ? vio_be24_at(d + 5) : 0;
	uint64_t blocks = bytes == 16 ? vio_be64_at(d) : bytes == 8 ? vio_be32_at(d) : 0;

	if (!bytes)
		return true;
	if (block && block != scsi_block_bytes(r->unit)) {
		vio_scsi_dev_bad_parameter(r, (unsigned)(at + (bytes == 16 ? 12 : 5)), -1);
		return false;
	}
	if (!blocks || blocks == scsi_blocks(r->unit) || (bytes == 8 && blocks == UINT32_MAX))
		return true;
	vio_scsi_dev_bad_parameter(r, (unsigned)at, -1);
	return false;
}

static void flushed(struct scsi_req *r, int error)
{
	if (error)
		vio_scsi_dev_failed(r, error);
	else
		vio_scsi_dev_good(r);
}

static void adopt(struct scsi_req *r, uint32_t f)
{
	struct scsi_unit *u = r->unit;
	uint32_t before = scsi_flags(u);

	scsi_set(u, f & changeable(u));
	scsi_clear(u, ~f & changeable(u));
	if (!(before & UNIT_WCE) || f & UNIT_WCE || !(before & UNIT_MEDIUM) || u->type != VIO_SCSI_DISK) {
		vio_scsi_dev_good(r);
		return;
	}
	r->io.op = VIO_DISK_FLUSH;		/* SBC-3, 6.5.5: the cache is off, and nothing is left in it */
	r->io.offset = r->io.length = 0;
	vio_scsi_dev_submit(r, flushed);
}

/* All of it is judged before any of it counts. */
static void judge_list(struct scsi_req *r, const uint8_t *list, size_t n)
{
	bool ten = r->cdb[0] == VIO_SCSI_MODE_SELECT_10;
	size_t head = ten ? 8 : 4;
	uint32_t f = scsi_flags(r->unit);

	size_t descriptor = n < head ? 0 : ten ? vio_be16_at(list + 6) : list[3];
	if (n < head || n - head < descriptor) {
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_PARAMETER_LENGTH);
		return;
	}
	if (descriptor && descriptor != (ten && list[4] & 1 ? 16u : 8u)) {
		vio_scsi_dev_bad_parameter(r, ten ? 6 : 3, -1);
		return;
	}
	if (!judge_descriptor(r, list + head, descriptor, head))
		return;
	for (size_t at = head + descriptor; at < n; ) {
		size_t page = judge_page(r, list, at, n - at, &f);
		if (!page)
			return;
		at += page;
	}
	adopt(r, f);
}

void vio_scsi_do_mode_select(struct scsi_req *r)
{
	bool ten = r->cdb[0] == VIO_SCSI_MODE_SELECT_10;
	size_t n = ten ? vio_be16_at(r->cdb + 7) : r->cdb[4];
	uint8_t list[8 + 16 + PAGES * PAGE_MOST];

	if (r->cdb[1] & 1) {			/* SP: nothing is saved */
		vio_scsi_dev_bad_cdb(r, 1, 0);
	} else if (n && !(r->cdb[1] & 0x10)) {	/* PF 0: no page that we know */
		vio_scsi_dev_bad_cdb(r, 1, 4);
	} else if (n > sizeof list) {		/* more than there are pages for */
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_PARAMETER_LENGTH);
	} else if (n == 0) {
		vio_scsi_dev_good(r);
	} else if (vio_scsi_dev_take(r, list, n)) {
		judge_list(r, list, n);
	}
}

/* ---- LOG SENSE: the list of pages, and that nothing is wrong (SPC-4, 7.3) ---- */

enum { LOG_PAGES = 0x00, LOG_EXCEPTIONS = 0x2f };

void vio_scsi_do_log_sense(struct scsi_req *r)
{
	static const uint8_t supported[] = { LOG_PAGES, 0, 0, 2, LOG_PAGES, LOG_EXCEPTIONS };
	static const uint8_t exceptions[] = { LOG_EXCEPTIONS, 0, 0, 8, 0, 0, 3, 4, 0, 0, 0, 0 };
	uint64_t alloc = vio_be16_at(r->cdb + 7);
	unsigned code = r->cdb[2] & 0x3f;

	if (r->cdb[1] & 1)
		vio_scsi_dev_bad_cdb(r, 1, 0);
	else if (r->cdb[3])
		vio_scsi_dev_bad_cdb(r, 3, -1);
	else if (code == LOG_PAGES)
		vio_scsi_dev_tell(r, supported, sizeof supported, alloc);
	else if (code == LOG_EXCEPTIONS && !vio_be16_at(r->cdb + 5))
		vio_scsi_dev_tell(r, exceptions, sizeof exceptions, alloc);
	else
		vio_scsi_dev_bad_cdb(r, code == LOG_EXCEPTIONS ? 5 : 2, code == LOG_EXCEPTIONS ? -1 : 5);
}
