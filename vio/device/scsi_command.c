/*
 * The commands there are, and what may stand in the way of one: no such unit, a unit attention, somebody's reservation, no medium.
 *
 * The table is also the answer to REPORT SUPPORTED OPERATION CODES.
 */
#include <vio/device/scsi_impl.h>

#define CDB(...) { __VA_ARGS__ }
#define LBA32 0xff, 0xff, 0xff, 0xff
#define LBA64 LBA32, LBA32
#define LEN16 0xff, 0xff
#define LEN32 LBA32
#define READS (NEEDS_MEDIUM | NEEDS_READY | BAR_READ)
#define CHANGES (NEEDS_MEDIUM | NEEDS_READY | WRITES | BAR_WRITE)
#define ANYWHERE (ON_BOTH | ON_WELL_KNOWN | ON_NOTHING | IGNORES_ATTENTION)

#define RESERVE_IN CDB(0x1f, 0, 0, 0, 0, 0, LEN16, 4)
#define RESERVE_OUT CDB(0x1f, 0xff, 0, 0, LEN32, 4)

/* Sorted by operation code, then service action. */
static const struct scsi_command commands[] = {
	{ VIO_SCSI_TEST_UNIT_READY, NO_ACTION, ON_BOTH | NEEDS_MEDIUM | NEEDS_READY, vio_scsi_do_test_unit_ready, CDB(0, 0, 0, 0, 4) },
	{ VIO_SCSI_REQUEST_SENSE, NO_ACTION, ANYWHERE, vio_scsi_do_request_sense, CDB(1, 0, 0, 0xff, 4) },
	{ VIO_SCSI_READ_6, NO_ACTION, ON_BOTH | READS, vio_scsi_do_read, CDB(0x1f, 0xff, 0xff, 0xff, 4) },
	{ VIO_SCSI_WRITE_6, NO_ACTION, ON_DISK | CHANGES, vio_scsi_do_write, CDB(0x1f, 0xff, 0xff, 0xff, 4) },
	{ VIO_SCSI_INQUIRY, NO_ACTION, ANYWHERE, vio_scsi_do_inquiry, CDB(1, 0xff, LEN16, 4) },
	{ VIO_SCSI_MODE_SELECT_6, NO_ACTION, ON_BOTH | BAR_OTHER, vio_scsi_do_mode_select, CDB(0x11, 0, 0, 0xff, 4) },
	{ VIO_SCSI_MODE_SENSE_6, NO_ACTION, ON_BOTH | BAR_OTHER, vio_scsi_do_mode_sense, CDB(8, 0xff, 0xff, 0xff, 4) },
	{ VIO_SCSI_START_STOP_UNIT, NO_ACTION, ON_BOTH | BAR_OTHER, vio_scsi_do_start_stop, CDB(1, 0, 0x0f, 0xf7, 4) },
	{ VIO_SCSI_SEND_DIAGNOSTIC, NO_ACTION, ON_BOTH | BAR_OTHER, vio_scsi_do_send_diagnostic, CDB(0x04, 0, 0, 0, 4) },
	{ VIO_SCSI_PREVENT_ALLOW_MEDIUM_REMOVAL, NO_ACTION, ON_BOTH | NEEDS_REMOVABLE | BAR_OTHER, vio_scsi_do_prevent_allow,
		CDB(0, 0, 0, 3, 4) },
	{ VIO_SCSI_READ_CAPACITY_10, NO_ACTION, ON_BOTH | NEEDS_MEDIUM | NEEDS_READY, vio_scsi_do_read_capacity_10,
		CDB(0, 0, 0, 0, 0, 0, 0, 0, 4) },
	{ VIO_SCSI_READ_10, NO_ACTION, ON_BOTH | READS, vio_scsi_do_read, CDB(0xf8, LBA32, 0x3f, LEN16, 4) },
	{ VIO_SCSI_WRITE_10, NO_ACTION, ON_DISK | CHANGES, vio_scsi_do_write, CDB(0xf8, LBA32, 0x3f, LEN16, 4) },
	{ VIO_SCSI_SEEK_10, NO_ACTION, ON_CDROM | READS, vio_scsi_do_seek, CDB(0, LBA32, 0, 0, 0, 4) },
	{ VIO_SCSI_WRITE_AND_VERIFY_10, NO_ACTION, ON_DISK | CHANGES, vio_scsi_do_write_and_verify,
		CDB(0xf6, LBA32, 0x3f, LEN16, 4) },
	{ VIO_SCSI_VERIFY_10, NO_ACTION, ON_BOTH | READS, vio_scsi_do_verify, CDB(0xf6, LBA32, 0x3f, LEN16, 4) },
	{ VIO_SCSI_SYNCHRONIZE_CACHE_10, NO_ACTION, ON_BOTH | NEEDS_MEDIUM | BAR_WRITE, vio_scsi_do_synchronize_cache,
		CDB(2, LBA32, 0x3f, LEN16, 4) },
	{ VIO_SCSI_WRITE_SAME_10, NO_ACTION, ON_DISK | CHANGES, vio_scsi_do_write_same, CDB(0xf8, LBA32, 0x3f, LEN16, 4) },
	{ VIO_SCSI_UNMAP, NO_ACTION, ON_DISK | CHANGES | NEEDS_UNMAP, vio_scsi_do_unmap, CDB(1, 0, 0, 0, 0, 0x3f, LEN16, 4) },
	{ VIO_SCSI_READ_TOC, NO_ACTION, ON_CDROM | READS, vio_scsi_do_read_toc, CDB(2, 0x0f, 0, 0, 0, 0xff, LEN16, 0xc4) },
	{ VIO_SCSI_GET_CONFIGURATION, NO_ACTION, ON_CDROM | IGNORES_ATTENTION, vio_scsi_do_get_configuration,
		CDB(3, 0xff, 0xff, 0, 0, 0, LEN16, 4) },
	{ VIO_SCSI_GET_EVENT_STATUS_NOTIFICATION, NO_ACTION, ON_CDROM | IGNORES_ATTENTION, vio_scsi_do_get_event_status,
		CDB(1, 0, 0, 0xff, 0, 0, LEN16, 4) },
	{ VIO_SCSI_LOG_SENSE, NO_ACTION, ON_BOTH, vio_scsi_do_log_sense, CDB(1, 0xff, 0xff, 0, LEN16, LEN16, 4) },
	{ VIO_SCSI_READ_DISC_INFORMATION, NO_ACTION, ON_CDROM | READS, vio_scsi_do_read_disc_information,
		CDB(7, 0, 0, 0, 0, 0, LEN16, 4) },
	{ VIO_SCSI_READ_TRACK_INFORMATION, NO_ACTION, ON_CDROM | READS, vio_scsi_do_read_track_information,
		CDB(3, LBA32, 0, LEN16, 4) },
	{ VIO_SCSI_MODE_SELECT_10, NO_ACTION, ON_BOTH | BAR_OTHER, vio_scsi_do_mode_select, CDB(0x11, 0, 0, 0, 0, 0, LEN16, 4) },
	{ VIO_SCSI_MODE_SENSE_10, NO_ACTION, ON_BOTH | BAR_OTHER, vio_scsi_do_mode_sense, CDB(0x18, 0xff, 0xff, 0, 0, 0, LEN16, 4) },
	{ VIO_SCSI_PERSISTENT_RESERVE_IN, VIO_SCSI_PRIN_READ_KEYS, ON_DISK, vio_scsi_do_reserve_in, RESERVE_IN },
	{ VIO_SCSI_PERSISTENT_RESERVE_IN, VIO_SCSI_PRIN_READ_RESERVATION, ON_DISK, vio_scsi_do_reserve_in, RESERVE_IN },
	{ VIO_SCSI_PERSISTENT_RESERVE_IN, VIO_SCSI_PRIN_REPORT_CAPABILITIES, ON_DISK, vio_scsi_do_reserve_in, RESERVE_IN },
	{ VIO_SCSI_PERSISTENT_RESERVE_IN, VIO_SCSI_PRIN_READ_FULL_STATUS, ON_DISK, vio_scsi_do_reserve_in, RESERVE_IN },
	{ VIO_SCSI_PERSISTENT_RESERVE_OUT, VIO_SCSI_PROUT_REGISTER, ON_DISK, vio_scsi_do_reserve_out, RESERVE_OUT },
	{ VIO_SCSI_PERSISTENT_RESERVE_OUT, VIO_SCSI_PROUT_RESERVE, ON_DISK, vio_scsi_do_reserve_out, RESERVE_OUT },
	{ VIO_SCSI_PERSISTENT_RESERVE_OUT, VIO_SCSI_PROUT_RELEASE, ON_DISK, vio_scsi_do_reserve_out, RESERVE_OUT },
	{ VIO_SCSI_PERSISTENT_RESERVE_OUT, VIO_SCSI_PROUT_CLEAR, ON_DISK, vio_scsi_do_reserve_out, RESERVE_OUT },
	{ VIO_SCSI_PERSISTENT_RESERVE_OUT, VIO_SCSI_PROUT_PREEMPT, ON_DISK, vio_scsi_do_reserve_out, RESERVE_OUT },
	{ VIO_SCSI_PERSISTENT_RESERVE_OUT, VIO_SCSI_PROUT_PREEMPT_AND_ABORT, ON_DISK, vio_scsi_do_reserve_out, RESERVE_OUT },
	{ VIO_SCSI_PERSISTENT_RESERVE_OUT, VIO_SCSI_PROUT_REGISTER_AND_IGNORE, ON_DISK, vio_scsi_do_reserve_out, RESERVE_OUT },
	{ VIO_SCSI_READ_16, NO_ACTION, ON_DISK | READS, vio_scsi_do_read, CDB(0xf8, LBA64, LEN32, 0x3f, 4) },
	{ VIO_SCSI_COMPARE_AND_WRITE, NO_ACTION, ON_DISK | CHANGES, vio_scsi_do_compare_and_write,
		CDB(0xf8, LBA64, 0, 0, 0, 0xff, 0x3f, 4) },
	{ VIO_SCSI_WRITE_16, NO_ACTION, ON_DISK | CHANGES, vio_scsi_do_write, CDB(0xf8, LBA64, LEN32, 0x3f, 4) },
	{ VIO_SCSI_WRITE_AND_VERIFY_16, NO_ACTION, ON_DISK | CHANGES, vio_scsi_do_write_and_verify,
		CDB(0xf6, LBA64, LEN32, 0x3f, 4) },
	{ VIO_SCSI_VERIFY_16, NO_ACTION, ON_DISK | READS, vio_scsi_do_verify, CDB(0xf6, LBA64, LEN32, 0x3f, 4) },
	{ VIO_SCSI_SYNCHRONIZE_CACHE_16, NO_ACTION, ON_DISK | NEEDS_MEDIUM | BAR_WRITE, vio_scsi_do_synchronize_cache,
		CDB(2, LBA64, LEN32, 0x3f, 4) },
	{ VIO_SCSI_WRITE_SAME_16, NO_ACTION, ON_DISK | CHANGES, vio_scsi_do_write_same, CDB(0xf9, LBA64, LEN32, 0x3f, 4) },
	{ VIO_SCSI_SERVICE_ACTION_IN_16, VIO_SCSI_SAI_READ_CAPACITY_16, ON_DISK | NEEDS_MEDIUM | NEEDS_READY,
		vio_scsi_do_read_capacity_16, CDB(0x1f, 0, 0, 0, 0, 0, 0, 0, 0, LEN32, 0, 4) },
	{ VIO_SCSI_SERVICE_ACTION_IN_16, VIO_SCSI_SAI_GET_LBA_STATUS, ON_DISK | READS, vio_scsi_do_get_lba_status,
		CDB(0x1f, LBA64, LEN32, 0, 4) },
	{ VIO_SCSI_REPORT_LUNS, NO_ACTION, ANYWHERE, vio_scsi_do_report_luns, CDB(0, 0xff, 0, 0, 0, LEN32, 0, 4) },
	{ VIO_SCSI_MAINTENANCE_IN, VIO_SCSI_MI_REPORT_OPCODES, ON_BOTH, vio_scsi_do_report_opcodes,
		CDB(0x1f, 0x87, 0xff, LEN16, LEN32, 0, 4) },
	{ VIO_SCSI_MAINTENANCE_IN, VIO_SCSI_MI_REPORT_TMF, ON_BOTH, vio_scsi_do_report_tmf, CDB(0x1f, 0x80, 0, 0, 0, LEN32, 0, 4) },
	{ VIO_SCSI_READ_12, NO_ACTION, ON_BOTH | READS, vio_scsi_do_read, CDB(0xf8, LBA32, LEN32, 0x3f, 4) },
	{ VIO_SCSI_WRITE_12, NO_ACTION, ON_DISK | CHANGES, vio_scsi_do_write, CDB(0xf8, LBA32, LEN32, 0x3f, 4) },
	{ VIO_SCSI_READ_DVD_STRUCTURE, NO_ACTION, ON_CDROM | READS, vio_scsi_do_read_dvd_structure,
		CDB(0x0f, LBA32, 0, 0xff, LEN16, 0, 4) },
	{ VIO_SCSI_WRITE_AND_VERIFY_12, NO_ACTION, ON_DISK | CHANGES, vio_scsi_do_write_and_verify,
		CDB(0xf6, LBA32, LEN32, 0x3f, 4) },
	{ VIO_SCSI_VERIFY_12, NO_ACTION, ON_DISK | READS, vio_scsi_do_verify, CDB(0xf6, LBA32, LEN32, 0x3f, 4) },
	{ VIO_SCSI_SET_CD_SPEED, NO_ACTION, ON_CDROM, vio_scsi_do_set_speed, CDB(3, LEN16, LEN16, 0, 0, 0, 0, 0, 4) },
	{ VIO_SCSI_MECHANISM_STATUS, NO_ACTION, ON_CDROM, vio_scsi_do_mechanism_status, CDB(0, 0, 0, 0, 0, 0, 0, LEN16, 0, 4) },
	{ VIO_SCSI_READ_CD, NO_ACTION, ON_CDROM | READS, vio_scsi_do_read_cd, CDB(0x1c, LBA32, 0xff, 0xff, 0xff, 0xf8, 7, 4) },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

unsigned vio_scsi_dev_cdb_bytes(uint8_t op)
{
	static const uint8_t bytes[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };

	return bytes[op >> 5];
}

/* ---- Unit attentions ---- */

static const uint16_t attentions[ATTENTIONS] = {
	[ATTENTION_POWER_ON] = VIO_ASC_POWER_ON, [ATTENTION_RESET] = VIO_ASC_DEVICE_RESET, [ATTENTION_NEXUS_LOSS] = VIO_ASC_NEXUS_LOSS,
	[ATTENTION_MEDIUM] = VIO_ASC_MEDIUM_CHANGED,
	[ATTENTION_LUNS] = VIO_ASC_LUNS_CHANGED, [ATTENTION_CAPACITY] = VIO_ASC_CAPACITY_CHANGED,
	[ATTENTION_MODE] = VIO_ASC_MODE_CHANGED, [ATTENTION_PREEMPTED] = VIO_ASC_RESERVATIONS_PREEMPTED,
	[ATTENTION_RELEASED] = VIO_ASC_RESERVATIONS_RELEASED, [ATTENTION_UNREGISTERED] = VIO_ASC_REGISTRATIONS_PREEMPTED,
};

bool vio_scsi_dev_take_attention(struct scsi_unit *u, struct scsi_sense *sense)
{
	uint32_t was = __atomic_load_n(&u->attention, __ATOMIC_RELAXED);

	do {
		if (!was)
			return false;
	} while (!__atomic_compare_exchange_n(&u->attention, &was, was & (was - 1), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	*sense = (struct scsi_sense){ .key = VIO_SENSE_UNIT_ATTENTION, .asc = attentions[__builtin_ctz(was)] };
	return true;
}

/* ---- Dispatch ---- */

static uint16_t place_of(const struct scsi_req *r)
{
	if (r->unit)
		return r->unit->type == VIO_SCSI_CDROM ? ON_CDROM : ON_DISK;
	return r->kind == LUN_UNIT ? ON_NOTHING : ON_WELL_KNOWN;
}

static bool applies(const struct scsi_command *c, const struct scsi_req *r, uint16_t place)
{
	const struct scsi_unit *u = r->unit;

	if (!(c->flags & place))
		return false;
	return (!(c->flags & NEEDS_UNMAP) || u->can_unmap) && (!(c->flags & NEEDS_REMOVABLE) || u->o.cdrom || u->o.removable);
}

static const struct scsi_command *find(const struct scsi_req *r, bool *op_known)
{
	uint16_t place = place_of(r);

	*op_known = false;
	for (unsigned i = 0; i < COMMANDS; i++) {
		const struct scsi_command *c = &commands[i];
		if (c->op != r->cdb[0] || !applies(c, r, place))
			continue;
		if (c->action == NO_ACTION || c->action == (r->cdb[1] & 0x1f))
			return c;
		*op_known = true;
	}
	return NULL;
}

/* In the way of a command to a unit that is there: the request has ended then. */
static bool medium_missing(struct scsi_req *r, const struct scsi_command *c)
{
	uint32_t f = scsi_flags(r->unit);

	if (c->flags & NEEDS_MEDIUM && (!(f & UNIT_MEDIUM) || f & UNIT_OPEN)) {
		vio_scsi_dev_check(r, VIO_SENSE_NOT_READY, f & UNIT_OPEN ? VIO_ASC_NO_MEDIUM_TRAY_OPEN : VIO_ASC_NO_MEDIUM_TRAY_CLOSED);
		return true;
	}
	if (c->flags & NEEDS_READY && f & UNIT_STOPPED) {
		vio_scsi_dev_check(r, VIO_SENSE_NOT_READY, VIO_ASC_NOT_READY_START);
		return true;
	}
	if (c->flags & WRITES && (r->unit->read_only || f & UNIT_SWP)) {
		vio_scsi_dev_check(r, VIO_SENSE_DATA_PROTECT, VIO_ASC_WRITE_PROTECTED);
		return true;
	}
	return false;
}

static void run(struct scsi_req *r)
{
	const struct scsi_command *c = r->command;
	struct scsi_unit *u = r->unit;

	if (u && !(c->flags & IGNORES_ATTENTION) && __atomic_load_n(&u->attention, __ATOMIC_RELAXED) &&
	    vio_scsi_dev_take_attention(u, &r->sense)) {
		r->status = VIO_SAM_CHECK_CONDITION;
		vio_scsi_dev_end(r);
		return;
	}
	if (u) {
		uint32_t barred = __atomic_load_n(&u->barred, __ATOMIC_RELAXED);
		if (barred && c->flags & (BAR_READ | BAR_WRITE | BAR_OTHER) &&
		    ((barred & BARRED_READ && c->flags & BAR_READ) || (barred & BARRED_WRITE && c->flags & BAR_WRITE) ||
		    (barred & BARRED_OTHER && c->flags & BAR_OTHER))) {
			r->status = VIO_SAM_RESERVATION_CONFLICT;
			vio_scsi_dev_end(r);
			return;
		}
		if (medium_missing(r, c))
			return;
	}
	c->run(r);
}

static void refresh(struct scsi_req *r) { vio_scsi_dev_reserve_refresh(r->unit); }

void vio_scsi_dev_dispatch(struct scsi_req *r)
{
	bool op_known;

	r->command = find(r, &op_known);
	if (!r->command && place_of(r) == ON_NOTHING) {
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_NO_LUN);
	} else if (!r->command && op_known) {
		vio_scsi_dev_bad_cdb(r, 1, 4);		/* the service action */
	} else if (!r->command) {
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_INVALID_OPCODE);
	} else if (r->cdb[vio_scsi_dev_cdb_bytes(r->cdb[0]) - 1] & 4) {
		vio_scsi_dev_bad_cdb(r, vio_scsi_dev_cdb_bytes(r->cdb[0]) - 1, 2);	/* NACA: NORMACA is 0 */
	} else if (r->unit && r->unit->o.keep && vio_scsi_dev_reserve_stale(r->unit)) {
		vio_scsi_dev_home(r, refresh, run);
	} else {
		run(r);
	}
}

/* ---- The shortest ones ---- */

void vio_scsi_do_test_unit_ready(struct scsi_req *r) { vio_scsi_dev_good(r); }

/* The unit's own test: there is nothing to it. */
void vio_scsi_do_send_diagnostic(struct scsi_req *r)
{
	if (vio_be16_at(r->cdb + 3))		/* parameter lists for something else */
		vio_scsi_dev_bad_cdb(r, 3, -1);
	else if (r->cdb[1] & 4)
		vio_scsi_dev_good(r);
	else
		vio_scsi_dev_bad_cdb(r, 1, 2);
}

/* What is pending is told as data, and is pending no more (SPC-4, 6.39). */
void vio_scsi_do_request_sense(struct scsi_req *r)
{
	struct scsi_sense sense = { .key = VIO_SENSE_NONE };
	uint8_t bytes[36];
	uint32_t f = r->unit ? scsi_flags(r->unit) : 0;

	if (r->kind == LUN_UNIT && !r->unit)
		sense = (struct scsi_sense){ .key = VIO_SENSE_ILLEGAL_REQUEST, .asc = VIO_ASC_NO_LUN };
	else if (r->unit && !vio_scsi_dev_take_attention(r->unit, &sense) && f & UNIT_STOPPED)
		sense = (struct scsi_sense){ .key = VIO_SENSE_NOT_READY, .asc = VIO_ASC_NOT_READY_START };
	size_t n = vio_scsi_dev_sense_bytes(&sense, r->cdb[1] & 1, bytes);
	vio_scsi_dev_tell(r, bytes, n, r->cdb[4]);
}

/* ---- What there is ---- */

static size_t put_timeouts(uint8_t *to)		/* none are known */
{
	memset(to, 0, 12);
	to[1] = 10;
	return 12;
}

static size_t put_all(const struct scsi_req *r, bool timeouts, uint8_t *to)
{
	size_t n = 4;

	for (unsigned i = 0; i < COMMANDS; i++) {
		const struct scsi_command *c = &commands[i];
		if (!applies(c, r, place_of(r)))
			continue;
		memset(to + n, 0, 8);
		to[n] = c->op;
		if (c->action != NO_ACTION) {
			to[n + 3] = c->action;
			to[n + 5] |= 1;			/* SERVACTV */
		}
		to[n + 5] |= timeouts ? 2 : 0;
		vio_be16_put(to + n + 6, (uint16_t)vio_scsi_dev_cdb_bytes(c->op));
		n += 8;
		if (timeouts)
			n += put_timeouts(to + n);
	}
	vio_be32_put(to, (uint32_t)(n - 4));
	return n;
}

static const struct scsi_command *find_reported(const struct scsi_req *r, uint8_t op, uint16_t action, bool *has_actions)
{
	const struct scsi_command *found = NULL;

	*has_actions = false;
	for (unsigned i = 0; i < COMMANDS; i++) {
		const struct scsi_command *c = &commands[i];
		if (c->op != op || !applies(c, r, place_of(r)))
			continue;
		*has_actions |= c->action != NO_ACTION;
		if (c->action == NO_ACTION || c->action == action)
			found = c;
	}
	return found;
}

static size_t put_one(const struct scsi_command *c, bool timeouts, uint8_t *to)
{
	unsigned bytes = c ? vio_scsi_dev_cdb_bytes(c->op) : 0;

	memset(to, 0, 4);
	to[1] = (uint8_t)(c ? 3 : 1);			/* as the standard says, or not at all */
	if (!c)
		return 4;
	vio_be16_put(to + 2, (uint16_t)bytes);
	to[4] = c->op;
	memcpy(to + 5, c->usage, bytes - 1);
	if (c->action != NO_ACTION)
		to[5] = (uint8_t)((to[5] & 0xe0) | c->action);
	size_t n = 4 + bytes;
	if (timeouts) {
		to[1] |= 0x80;				/* CTDP */
		n += put_timeouts(to + n);
	}
	return n;
}

VIO_STATIC_ASSERT(4 + COMMANDS * 20 <= SCSI_TELL, "all commands with timeouts");

void vio_scsi_do_report_opcodes(struct scsi_req *r)
{
	unsigned option = r->cdb[2] & 7;
	bool timeouts = r->cdb[2] & 0x80, has_actions;
	uint64_t alloc = vio_be32_at(r->cdb + 6);
	uint16_t action = vio_be16_at(r->cdb + 4);
	uint8_t to[SCSI_TELL];

	const struct scsi_command *c = find_reported(r, r->cdb[3], action, &has_actions);
	if (option > 3 || (option == 1 && c && has_actions) || (option == 1 && has_actions)) {
		vio_scsi_dev_bad_cdb(r, 2, 2);
		return;
	}
	if (option == 2 && c && !has_actions) {		/* there are no service actions to ask for */
		vio_scsi_dev_bad_cdb(r, 4, -1);
		return;
	}
	if (option == 3 && c && !has_actions && action)
		c = NULL;
	size_t n = option ? put_one(c, timeouts, to) : put_all(r, timeouts, to);
	vio_scsi_dev_tell(r, to, n, alloc);
}

void vio_scsi_do_report_tmf(struct scsi_req *r)
{
	/* ABORT TASK, ABORT TASK SET, CLEAR TASK SET, LOGICAL UNIT RESET, QUERY TASK; QUERY TASK SET, I_T NEXUS RESET */
	bool long_form = r->cdb[2] & 0x80;
	uint8_t to[16] = { 0xdc, 0x03, 0, long_form ? 12 : 0 };

	vio_scsi_dev_tell(r, to, long_form ? 16 : 4, vio_be32_at(r->cdb + 6));
}
