/* What units and targets say of themselves: INQUIRY with its pages, REPORT LUNS, READ CAPACITY (SPC-4, SBC-3). */
#include <vio/device/scsi_impl.h>

static size_t length(const char *text, size_t most)
{
	size_t n = 0;

	while (n < most && text[n])
		n++;
	return n;
}

/* Left-aligned, filled up with spaces. */
static void put_text(uint8_t *to, size_t room, const char *text)
{
	size_t n = length(text, room);

	memset(to, ' ', room);
	memcpy(to, text, n);
}

/* ---- INQUIRY ---- */

static size_t standard(struct scsi_req *r, uint8_t *to)
{
	static const uint16_t versions[] = { 0x00a0 /* SAM-5 */, 0x0460 /* SPC-4 */ };
	const struct scsi_unit *u = r->unit;
	bool cdrom = u && u->o.cdrom;

	memset(to, 0, 74);
	to[0] = u ? u->type : r->kind == LUN_UNIT ? 3 << 5 | VIO_SCSI_NO_DEVICE : VIO_SCSI_WELL_KNOWN;
	to[1] = u && (u->o.cdrom || u->o.removable) ? 0x80 : 0;
	to[2] = 6;			/* SPC-4 */
	to[3] = 0x12;			/* HISUP, response data format 2 */
	to[4] = 74 - 5;
	to[5] = u && u->o.protect ? 1 : 0;
	to[7] = 2;			/* CMDQUE */
	put_text(to + 8, 8, u && u->o.vendor[0] ? u->o.vendor : "vio");
	put_text(to + 16, 16, u && u->o.product[0] ? u->o.product : cdrom ? "cdrom" : u ? "disk" : "target");
	put_text(to + 32, 4, u && u->o.revision[0] ? u->o.revision : "1");
	for (unsigned i = 0; i < 2; i++)
		vio_be16_put(to + 58 + 2 * i, versions[i]);
	vio_be16_put(to + 62, cdrom ? 0x03a0 /* MMC-5 */ : 0x04c0 /* SBC-3 */);
	return 74;
}

static size_t page_serial(const struct scsi_unit *u, uint8_t *to)
{
	size_t n = length(u->o.serial, sizeof u->o.serial);

	memcpy(to, u->o.serial, n);
	return n;
}

/* FNV-1a: a name that stays the same as long as serial number and address do. */
static uint64_t made_up_name(const struct scsi_unit *u)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	uint8_t address[4];

	vio_be32_put(address, ADDRESS_OF(u->o.target, u->o.lun));
	for (size_t i = 0; i < sizeof u->o.serial && u->o.serial[i]; i++)
		h = (h ^ (uint8_t)u->o.serial[i]) * UINT64_C(0x100000001b3);
	for (size_t i = 0; i < sizeof address && !u->o.serial[0]; i++)
		h = (h ^ address[i]) * UINT64_C(0x100000001b3);
	return UINT64_C(3) << 60 | (h & ((UINT64_C(1) << 60) - 1));	/* NAA 3: assigned by the administrator */
}

/* SPC-4, 7.8.6: a T10 vendor id, a number, and which port and target this is. */
static size_t page_identification(const struct scsi_unit *u, uint8_t *to)
{
	size_t serial = length(u->o.serial, sizeof u->o.serial), n = 0;

	if (serial) {
		to[n] = 2;			/* ASCII */
		to[n + 1] = 1;			/* T10 vendor id */
		to[n + 3] = (uint8_t)(8 + serial);
		put_text(to + n + 4, 8, u->o.vendor[0] ? u->o.vendor : "vio");
		memcpy(to + n + 12, u->o.serial, serial);
		n += 12 + serial;
	}
	if (serial || u->o.wwn) {
		to[n] = 1;
		to[n + 1] = 3;			/* NAA */
		to[n + 3] = 8;
		vio_be64_put(to + n + 4, u->o.wwn ? u->o.wwn : made_up_name(u));
		n += 12;
	}
	to[n] = 1;
	to[n + 1] = 0x14;			/* relative target port 1 */
	to[n + 3] = 4;
	vio_be32_put(to + n + 4, 1);
	return n + 8;
}

static size_t page_extended(const struct scsi_unit *u, uint8_t *to)
{
	to[0] = u->o.protect ? 0x05 : 0;	/* SPT 0: type 1; GRD_CHK, REF_CHK: the application tag is nobody's here */
	to[1] = 0x05;				/* HEADSUP, SIMPSUP: what comes is begun at once */
	to[2] = u->type == VIO_SCSI_DISK ? 0x01 : 0;	/* V_SUP: volatile cache */
	return 60;
}

static uint32_t blocks_of(const struct scsi_unit *u, uint64_t bytes) { return (uint32_t)scsi_least(bytes >> u->shift, UINT32_MAX); }

/* Where it helps to begin and end, in blocks. */
static uint32_t granularity(const struct scsi_unit *u)
{
	uint32_t align = u->disk ? u->disk->discard_align : 0;

	return align > scsi_block_bytes(u) ? align >> u->shift : 1;
}

static uint32_t physical_bytes(const struct scsi_unit *u)
{
	uint32_t p = u->o.physical_block ? u->o.physical_block : u->disk ? u->disk->physical_block : 0;

	return p > scsi_block_bytes(u) && !(p & (p - 1)) ? p : scsi_block_bytes(u);
}

static size_t page_limits(const struct scsi_unit *u, uint8_t *to)
{
	uint64_t most = (uint64_t)vio_le32_get(u->s->config.max_sectors) * 512;

	if (u->type == VIO_SCSI_DISK && !u->read_only) {
		to[0] = 1;				/* WSNZ: WRITE SAME of 0 blocks means nothing */
		to[1] = (uint8_t)scsi_least(SCSI_SCRATCH >> u->shift, 255);	/* COMPARE AND WRITE */
	}
	vio_be16_put(to + 2, (uint16_t)scsi_least(physical_bytes(u) >> u->shift, UINT16_MAX));
	vio_be32_put(to + 4, blocks_of(u, most));
	vio_be32_put(to + 8, u->disk && u->disk->optimal_io ? blocks_of(u, scsi_least(u->disk->optimal_io, most)) : 0);
	if (u->can_unmap) {
		vio_be32_put(to + 16, blocks_of(u, (uint64_t)SCSI_UNMAP_SECTORS * 512));
		vio_be32_put(to + 20, SCSI_UNMAP_RANGES);
		vio_be32_put(to + 24, granularity(u));
		vio_be32_put(to + 28, UINT32_C(1) << 31);	/* UGAVALID: from block 0 on */
	}
	if (u->type == VIO_SCSI_DISK && !u->read_only)
		vio_be64_put(to + 32, SCSI_SAME_BYTES >> u->shift);
	return 60;
}

static size_t page_characteristics(const struct scsi_unit *u, uint8_t *to)
{
	vio_be16_put(to, u->o.rotation ? u->o.rotation : 1);	/* 1: does not rotate */
	return 60;
}

static size_t page_provisioning(const struct scsi_unit *u, uint8_t *to)
{
	to[1] = u->can_unmap ? (uint8_t)(0xe0 | (u->o.thin ? 0x04 : 0)) : 0;	/* LBPU, LBPWS, LBPWS10, LBPRZ */
	to[2] = u->can_unmap ? 2 : 0;		/* thin */
	return 4;
}

struct page { uint8_t code; uint16_t where; size_t (*fill)(const struct scsi_unit *u, uint8_t *to); };
static const struct page pages[] = {
	{ VIO_SCSI_VPD_SERIAL, ON_BOTH, page_serial },
	{ VIO_SCSI_VPD_IDENTIFICATION, ON_BOTH, page_identification },
	{ VIO_SCSI_VPD_EXTENDED, ON_BOTH, page_extended },
	{ VIO_SCSI_VPD_LIMITS, ON_BOTH, page_limits },
	{ VIO_SCSI_VPD_CHARACTERISTICS, ON_DISK, page_characteristics },
	{ VIO_SCSI_VPD_PROVISIONING, ON_DISK, page_provisioning },
};

static bool has_page(const struct scsi_unit *u, const struct page *p)
{
	if (p->code == VIO_SCSI_VPD_SERIAL && !u->o.serial[0])
		return false;
	return p->where & (u->type == VIO_SCSI_CDROM ? ON_CDROM : ON_DISK);
}

static void vital_page(struct scsi_req *r, uint8_t code, uint64_t alloc)
{
	const struct scsi_unit *u = r->unit;
	uint8_t to[4 + 256] = { 0 };
	size_t n = 0;
	bool known = code == VIO_SCSI_VPD_SUPPORTED;

	for (unsigned i = 0; u && i < sizeof pages / sizeof *pages; i++) {
		if (!has_page(u, &pages[i]))
			continue;
		if (code == VIO_SCSI_VPD_SUPPORTED)
			to[4 + 1 + n++] = pages[i].code;
		else if (code == pages[i].code)
			n = pages[i].fill(u, to + 4), known = true;
	}
	if (code == VIO_SCSI_VPD_SUPPORTED)
		n++;			/* page 0 itself */
	if (!known || !u) {
		vio_scsi_dev_bad_cdb(r, 2, -1);
		return;
	}
	to[0] = u->type;
	to[1] = code;
	vio_be16_put(to + 2, (uint16_t)n);
	vio_scsi_dev_tell(r, to, 4 + n, alloc);
}

void vio_scsi_do_inquiry(struct scsi_req *r)
{
	uint64_t alloc = vio_be16_at(r->cdb + 3);
	uint8_t to[96];

	if (r->cdb[1] & 2) {			/* CMDDT, long gone */
		vio_scsi_dev_bad_cdb(r, 1, 1);
	} else if (r->cdb[1] & 1) {
		vital_page(r, r->cdb[2], alloc);
	} else if (r->cdb[2]) {			/* a page code without EVPD */
		vio_scsi_dev_bad_cdb(r, 2, -1);
	} else {
		size_t n = standard(r, to);
		vio_scsi_dev_tell(r, to, n, alloc);
	}
}

/* ---- REPORT LUNS (SPC-4, 6.33) ---- */

/* As a target's LUN, or where the domain's well-known unit is asked, as virtio writes it. */
static void put_lun(uint8_t *to, const struct scsi_req *r, const struct scsi_unit *u)
{
	memset(to, 0, 8);
	if (r->kind == LUN_ALL_TARGETS) {
		to[0] = 1;
		to[1] = u->o.target;
		vio_be16_put(to + 2, (uint16_t)(0x4000 | u->o.lun));
	} else if (u->o.lun < 256) {
		vio_be16_put(to, u->o.lun);
	} else {
		vio_be16_put(to, (uint16_t)(0x4000 | u->o.lun));
	}
}

static void put_well_known(uint8_t *to)
{
	static const uint8_t lun[8] = { 0xc1, 0x01 };

	memcpy(to, lun, sizeof lun);
}

/* The list is in no particular order but for LUN 0 of a target, which comes first and is always there. */
static size_t list_units(struct scsi_req *r, uint8_t *to)
{
	struct scsi *s = scsi_of_req(r);
	struct scsi_unit *u;
	size_t n = 0;

	if (r->kind != LUN_ALL_TARGETS && vio_scsi_dev_find(s, r->address & ~0xffffu))
		memset(to, 0, 8), n++;
	for (unsigned i = 0; (u = vio_scsi_dev_next_unit(s, &i)); ) {
		if (r->kind != LUN_ALL_TARGETS && (u->o.target != r->address >> 16 || u->o.lun == 0))
			continue;
		put_lun(to + 8 * n++, r, u);
	}
	return n;
}

void vio_scsi_do_report_luns(struct scsi_req *r)
{
	uint8_t select = r->cdb[2], to[8 + 8 * (VIO_SCSI_LUNS + 1)] = { 0 };
	struct scsi *s = scsi_of_req(r);
	struct scsi_unit *u;
	size_t n = 0;

	if (select > 2) {
		vio_scsi_dev_bad_cdb(r, 2, -1);
		return;
	}
	if (select != 1)
		n = list_units(r, to + 8);
	if (select)
		put_well_known(to + 8 + 8 * n++);
	vio_be32_put(to, (uint32_t)(8 * n));
	for (unsigned i = 0; (u = vio_scsi_dev_next_unit(s, &i)); )
		if (r->kind == LUN_ALL_TARGETS || u->o.target == r->address >> 16)
			__atomic_fetch_and(&u->attention, ~(UINT32_C(1) << ATTENTION_LUNS), __ATOMIC_RELAXED);
	vio_scsi_dev_tell(r, to, 8 + 8 * n, vio_be32_at(r->cdb + 6));
}

/* ---- READ CAPACITY ---- */

void vio_scsi_do_read_capacity_10(struct scsi_req *r)
{
	const struct scsi_unit *u = r->unit;
	uint64_t last = scsi_blocks(u) ? scsi_blocks(u) - 1 : 0;
	uint8_t to[8];

	vio_be32_put(to, (uint32_t)scsi_least(last, UINT32_MAX));	/* ff: ask for the other one */
	vio_be32_put(to + 4, scsi_block_bytes(u));
	vio_scsi_dev_tell(r, to, sizeof to, sizeof to);
}

void vio_scsi_do_read_capacity_16(struct scsi_req *r)
{
	const struct scsi_unit *u = r->unit;
	uint64_t blocks = scsi_blocks(u);
	uint8_t to[32] = { 0 };

	vio_be64_put(to, blocks ? blocks - 1 : 0);
	vio_be32_put(to + 8, scsi_block_bytes(u));
	to[12] = u->o.protect ? 1 : 0;		/* PROT_EN, type 1 */
	to[13] = (uint8_t)__builtin_ctz(physical_bytes(u) >> u->shift);
	if (u->can_unmap)
		to[14] = (uint8_t)(0x80 | (u->o.thin ? 0x40 : 0));	/* LBPME, LBPRZ */
	vio_scsi_dev_tell(r, to, sizeof to, vio_be32_at(r->cdb + 10));
}
