/*
 * Persistent reservations (SPC-4, 5.13): which initiators have registered with which key, and which of them holds what.
 *
 * They are a value, struct scsi_pr.  A command is a function from one value to the next, run in the home thread; where the unit has
 * a keep (vio/backend/keep.h) the value lies there, is changed there atomically, and is on stable storage before the command's
 * status is told.  Other devices may have the same keep: each is an initiator, known by its name.  What they changed is noticed
 * by the version, which every command looks at, and told as unit attentions.
 *
 * What the queues' threads see of all this is one word, barred.
 */
#include <vio/device/scsi_impl.h>

/* ---- The value as bytes ---- */

/* "vio PR 1", generation, count, type, flags, last action; names and keys of the last change; then count registrants. */
enum { HEAD_BYTES = 24 + 64 + 64 + 16, ONE_BYTES = 8 + 64, SUM_BYTES = 8 };
VIO_STATIC_ASSERT(HEAD_BYTES + SCSI_REGISTRANTS * ONE_BYTES + SUM_BYTES <= VIO_KEEP_BYTES, "a full house");
static const uint8_t magic[8] = { 'v', 'i', 'o', ' ', 'P', 'R', ' ', '1' };

static uint64_t sum(const uint8_t *p, size_t n)		/* FNV-1a: against a file that is something else */
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	while (n--)
		h = (h ^ *p++) * UINT64_C(0x100000001b3);
	return h;
}

static size_t encode(const struct scsi_pr *pr, uint8_t *to)
{
	size_t n = HEAD_BYTES;

	memset(to, 0, HEAD_BYTES);
	memcpy(to, magic, sizeof magic);
	vio_be32_put(to + 8, pr->generation);
	vio_be32_put(to + 12, pr->count);
	to[16] = pr->type;
	to[17] = pr->aptpl;
	to[18] = pr->last_action;
	memcpy(to + 24, pr->holder, 64);
	memcpy(to + 88, pr->last_name, 64);
	vio_be64_put(to + 152, pr->last_id);
	vio_be64_put(to + 160, pr->last_digest);
	for (uint32_t i = 0; i < pr->count; i++, n += ONE_BYTES) {
		vio_be64_put(to + n, pr->who[i].key);
		memcpy(to + n + 8, pr->who[i].name, 64);
	}
	vio_be64_put(to + n, sum(to, n));
	return n + SUM_BYTES;
}

static bool type_is_known(uint8_t type)
{
	return type == 1 || type == 3 || (type >= 5 && type <= 8);
}

/* No bytes: nobody has registered.  False: these are something else. */
static bool decode(struct scsi_pr *pr, const uint8_t *from, size_t n)
{
	memset(pr, 0, sizeof *pr);
	if (n == 0)
		return true;
	if (n < HEAD_BYTES + SUM_BYTES || memcmp(from, magic, sizeof magic))
		return false;
	uint32_t count = vio_be32_at(from + 12);
	if (count > SCSI_REGISTRANTS || n != HEAD_BYTES + count * ONE_BYTES + SUM_BYTES ||
	    sum(from, n - SUM_BYTES) != vio_be64_at(from + n - SUM_BYTES) || (from[16] && !type_is_known(from[16])))
		return false;
	pr->generation = vio_be32_at(from + 8);
	pr->count = count;
	pr->type = from[16];
	pr->aptpl = from[17];
	pr->last_action = from[18];
	memcpy(pr->holder, from + 24, 64);
	memcpy(pr->last_name, from + 88, 64);
	pr->last_id = vio_be64_at(from + 152);
	pr->last_digest = vio_be64_at(from + 160);
	for (uint32_t i = 0; i < count; i++) {
		pr->who[i].key = vio_be64_at(from + HEAD_BYTES + i * ONE_BYTES);
		memcpy(pr->who[i].name, from + HEAD_BYTES + i * ONE_BYTES + 8, 64);
	}
	return true;
}

/* ---- Who may what ---- */

static bool is_all(uint8_t type) { return type == 7 || type == 8; }		/* every registrant holds it */
static bool is_registrants(uint8_t type) { return type == 5 || type == 6; }
static bool is_exclusive_access(uint8_t type) { return type == 3 || type == 6 || type == 8; }
static bool same_name(const char a[64], const char b[64]) { return !memcmp(a, b, 64); }

static struct scsi_registrant *find(struct scsi_pr *pr, const char name[64])
{
	for (uint32_t i = 0; i < pr->count; i++)
		if (same_name(pr->who[i].name, name))
			return &pr->who[i];
	return NULL;
}

static bool holds(struct scsi_pr *pr, const char name[64])
{
	if (!pr->type)
		return false;
	return is_all(pr->type) ? find(pr, name) != NULL : same_name(pr->holder, name);
}

static uint32_t barred(struct scsi_pr *pr, const char name[64])
{
	if (!pr->type || holds(pr, name) || (is_registrants(pr->type) && find(pr, name)))
		return 0;
	return BARRED_WRITE | BARRED_OTHER | (is_exclusive_access(pr->type) ? BARRED_READ : 0);
}

/* ---- Taking over what is, and telling what others did ---- */

static void tell_changes(struct scsi_unit *u, struct scsi_pr *now)
{
	const char *me = u->s->initiator;
	struct scsi_pr *was = &u->pr;
	bool mine = same_name(now->last_name, me);

	if (mine || !find(was, me))
		return;
	if (!find(now, me))
		scsi_attention(u, now->last_action == VIO_SCSI_PROUT_CLEAR ? ATTENTION_PREEMPTED : ATTENTION_UNREGISTERED);
	else if (was->type >= 5 && now->type != was->type)
		scsi_attention(u, ATTENTION_RELEASED);
}

static void adopt(struct scsi_unit *u, struct scsi_pr *now, uint64_t version)
{
	tell_changes(u, now);
	u->pr = *now;
	__atomic_store_n(&u->barred, barred(&u->pr, u->s->initiator), __ATOMIC_RELAXED);
	__atomic_store_n(&u->keep_version, version, __ATOMIC_RELAXED);
}

bool vio_scsi_dev_reserve_stale(const struct scsi_unit *u)
{
	return u->o.keep->ops->version(u->o.keep) != __atomic_load_n(&u->keep_version, __ATOMIC_RELAXED);
}

/* What is not readable any more changes nothing. */
void vio_scsi_dev_reserve_refresh(struct scsi_unit *u)
{
	struct vio_keep *k = u->o.keep;
	uint8_t bytes[VIO_KEEP_BYTES];
	struct scsi_pr pr;
	uint64_t version;

	if (!k)
		return;
	size_t n = k->ops->read(k, bytes, &version);
	if (decode(&pr, bytes, n))
		adopt(u, &pr, version);
	else
		__atomic_store_n(&u->keep_version, version, __ATOMIC_RELAXED);
}

static size_t forget(void *arg, unsigned char *bytes, size_t n)
{
	(void)arg, (void)bytes, (void)n;
	return 0;
}

const char *vio_scsi_dev_reserve_open(struct scsi_unit *u)
{
	struct vio_keep *k = u->o.keep;
	uint8_t bytes[VIO_KEEP_BYTES];
	struct scsi_pr pr;
	uint64_t version;

	if (!k)
		return NULL;
	if (!decode(&pr, bytes, k->ops->read(k, bytes, &version)))
		return "what the unit's persistent reservations are kept in holds something else, or is damaged: remove it to begin anew";
	if (k->fresh && pr.count && !pr.aptpl && k->ops->update(k, true, forget, NULL))
		return "the file that keeps the unit's persistent reservations can't be written";
	k->fresh = false;
	vio_scsi_dev_reserve_refresh(u);
	return NULL;
}

/* ---- PERSISTENT RESERVE OUT: from one value to the next ---- */

struct order {
	struct scsi_req *r;
	const char *me;
	uint8_t action, scope, type;
	uint64_t key, other;		/* RESERVATION KEY, SERVICE ACTION RESERVATION KEY */
	bool aptpl;
	uint64_t digest;
	/* What comes of it. */
	struct scsi_pr pr;
	bool conflict, changed;
	uint16_t wrong;			/* VIO_ASC_*; 0: good */
	unsigned wrong_byte;
};

static void release(struct scsi_pr *pr)
{
	pr->type = 0;
	memset(pr->holder, 0, sizeof pr->holder);
}

static void hold(struct scsi_pr *pr, const char name[64], uint8_t type)
{
	pr->type = type;
	memcpy(pr->holder, name, sizeof pr->holder);
}

/* Its reservation goes with it, and that of all registrants with the last one. */
static void unregister(struct scsi_pr *pr, struct scsi_registrant *who)
{
	bool held = pr->type && !is_all(pr->type) && same_name(pr->holder, who->name);
	struct scsi_registrant *last = &pr->who[--pr->count];

	*who = *last;
	memset(last, 0, sizeof *last);
	if (held || (is_all(pr->type) && !pr->count))
		release(pr);
}

static void registration(struct order *o)
{
	struct scsi_pr *pr = &o->pr;
	struct scsi_registrant *who = find(pr, o->me);

	if (o->action == VIO_SCSI_PROUT_REGISTER && o->key != (who ? who->key : 0)) {
		o->conflict = true;
		return;
	}
	if (!who && !o->other)
		return;
	if (!who && pr->count == SCSI_REGISTRANTS) {
		o->wrong = VIO_ASC_REGISTRATION_RESOURCES;
		return;
	}
	if (!o->other) {
		unregister(pr, who);
	} else {
		if (!who)
			who = &pr->who[pr->count++];
		memcpy(who->name, o->me, sizeof who->name);
		who->key = o->other;
	}
	pr->aptpl = o->aptpl;
	pr->generation++;
	o->changed = true;
}

static void reserve(struct order *o)
{
	if (!o->pr.type) {
		hold(&o->pr, o->me, o->type);
		o->changed = true;
	} else if (!holds(&o->pr, o->me) || o->pr.type != o->type) {
		o->conflict = true;
	}
}

static void release_own(struct order *o)
{
	if (!holds(&o->pr, o->me))
		return;
	if (o->pr.type != o->type) {
		o->wrong = VIO_ASC_INVALID_RELEASE;
		return;
	}
	release(&o->pr);
	o->changed = true;
}

static void clear(struct order *o)
{
	release(&o->pr);
	memset(o->pr.who, 0, sizeof o->pr.who);
	o->pr.count = 0;
	o->pr.generation++;
	o->changed = true;
}

/* All registrations with this key but our own; 0: all but our own.  How many. */
static uint32_t drop_others(struct order *o, uint64_t key)
{
	struct scsi_pr *pr = &o->pr;
	uint32_t before = pr->count;

	for (uint32_t i = 0; i < pr->count; )
		if ((key && pr->who[i].key != key) || same_name(pr->who[i].name, o->me))
			i++;
		else
			unregister(pr, &pr->who[i]);
	return before - pr->count;
}

/* SPC-4, 5.13.11.4: by the key one takes the reservation of who holds it, or only registrations. */
static void preempt(struct order *o)
{
	struct scsi_pr *pr = &o->pr;
	bool all = is_all(pr->type);
	bool takes = pr->type && (all ? o->other == 0 : false);

	for (uint32_t i = 0; i < pr->count && pr->type && !all; i++)
		takes |= same_name(pr->who[i].name, pr->holder) && pr->who[i].key == o->other;
	if (!o->other && !takes) {
		o->wrong = VIO_ASC_INVALID_FIELD_PARAMETER;
		o->wrong_byte = 8;
		return;
	}
	struct scsi_registrant *own = find(pr, o->me);
	uint32_t dropped = drop_others(o, o->other);
	if (!dropped && !takes && own->key != o->other) {
		o->conflict = true;
		return;
	}
	if (takes)
		hold(pr, o->me, o->type);
	pr->generation++;
	o->changed = true;
}

static void run(struct order *o)
{
	struct scsi_registrant *who = find(&o->pr, o->me);
	bool registers = o->action == VIO_SCSI_PROUT_REGISTER || o->action == VIO_SCSI_PROUT_REGISTER_AND_IGNORE;

	if (!registers && (!who || who->key != o->key)) {
		o->conflict = true;
		return;
	}
	switch (o->action) {
	case VIO_SCSI_PROUT_RESERVE:
		reserve(o);
		return;
	case VIO_SCSI_PROUT_RELEASE:
		release_own(o);
		return;
	case VIO_SCSI_PROUT_CLEAR:
		clear(o);
		return;
	case VIO_SCSI_PROUT_PREEMPT:
	case VIO_SCSI_PROUT_PREEMPT_AND_ABORT:
		preempt(o);
		return;
	default:
		registration(o);
		return;
	}
}

/*
 * A request that a predecessor of ours had in flight may have been done by it: then the kept value says so, and doing it
 * again could be a conflict with itself.
 */
static bool done_before(const struct order *o)
{
	return o->r->replayed && same_name(o->pr.last_name, o->me) && o->pr.last_id == o->r->id && o->pr.last_digest == o->digest;
}

static void carry_out(struct order *o)
{
	if (done_before(o))
		return;
	run(o);
	if (!o->changed)
		return;
	memcpy(o->pr.last_name, o->me, sizeof o->pr.last_name);
	o->pr.last_id = o->r->id;
	o->pr.last_digest = o->digest;
	o->pr.last_action = o->action;
}

static size_t change(void *arg, unsigned char *bytes, size_t n)
{
	struct order *o = arg;

	if (!decode(&o->pr, bytes, n)) {
		o->wrong = VIO_ASC_INTERNAL;
		return SIZE_MAX;
	}
	carry_out(o);
	return o->changed ? encode(&o->pr, bytes) : SIZE_MAX;
}

static void tell_order(struct scsi_req *r, const struct order *o)
{
	if (o->conflict) {
		r->status = VIO_SAM_RESERVATION_CONFLICT;
	} else if (o->wrong == VIO_ASC_INVALID_FIELD_PARAMETER) {
		vio_scsi_dev_say_parameter(r, o->wrong_byte, -1);
	} else if (o->wrong) {
		vio_scsi_dev_say(r, o->wrong == VIO_ASC_INTERNAL ? VIO_SENSE_HARDWARE_ERROR : VIO_SENSE_ILLEGAL_REQUEST, o->wrong);
	} else {
		r->status = VIO_SAM_GOOD;
	}
}

static void out_at_home(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	struct vio_keep *k = u->o.keep;
	struct order o = {
		.r = r, .me = u->s->initiator, .action = r->cdb[1] & 0x1f, .scope = r->cdb[2] >> 4, .type = r->cdb[2] & 15,
		.key = vio_be64_at(r->parameters), .other = vio_be64_at(r->parameters + 8), .aptpl = r->parameters[20] & 1,
	};

	o.digest = sum(r->parameters, sizeof r->parameters) ^ sum(r->cdb, 10);
	if (!k) {
		o.pr = u->pr;
		carry_out(&o);
		if (o.changed)
			adopt(u, &o.pr, 0);
	} else if (k->ops->update(k, true, change, &o)) {
		o.wrong = VIO_ASC_INTERNAL;		/* nothing has changed */
	} else {
		vio_scsi_dev_reserve_refresh(u);
	}
	tell_order(r, &o);
	if (o.changed && !o.wrong)
		vio_scsi_dev_news(u);
}

/* What stands in the parameter list beside the keys.  False: the request has ended. */
static bool judge_list(struct scsi_req *r)
{
	uint8_t action = r->cdb[1] & 0x1f, flags = r->parameters[20];
	bool registers = action == VIO_SCSI_PROUT_REGISTER || action == VIO_SCSI_PROUT_REGISTER_AND_IGNORE;

	if (flags & 0x08)			/* SPEC_I_PT: others register themselves */
		vio_scsi_dev_bad_parameter(r, 20, 3);
	else if (flags & 0x04)			/* ALL_TG_PT: there is one port */
		vio_scsi_dev_bad_parameter(r, 20, 2);
	else if (registers && flags & 0x01 && !r->unit->o.keep)	/* APTPL: nothing outlives a power failure here */
		vio_scsi_dev_bad_parameter(r, 20, 0);
	else
		return true;
	return false;
}

void vio_scsi_do_reserve_out(struct scsi_req *r)
{
	uint8_t action = r->cdb[1] & 0x1f;
	bool typed = action == VIO_SCSI_PROUT_RESERVE || action == VIO_SCSI_PROUT_RELEASE || action == VIO_SCSI_PROUT_PREEMPT ||
	    action == VIO_SCSI_PROUT_PREEMPT_AND_ABORT;

	if (typed && (r->cdb[2] >> 4 || !type_is_known(r->cdb[2] & 15)))
		vio_scsi_dev_bad_cdb(r, 2, r->cdb[2] >> 4 ? 7 : 3);
	else if (vio_be32_at(r->cdb + 5) != sizeof r->parameters)
		vio_scsi_dev_check(r, VIO_SENSE_ILLEGAL_REQUEST, VIO_ASC_PARAMETER_LENGTH);
	else if (vio_scsi_dev_take(r, r->parameters, sizeof r->parameters) && judge_list(r))
		vio_scsi_dev_home(r, out_at_home, vio_scsi_dev_end);
}

/* ---- PERSISTENT RESERVE IN ---- */

static size_t put_keys(const struct scsi_pr *pr, uint8_t *to)
{
	for (uint32_t i = 0; i < pr->count; i++)
		vio_be64_put(to + 8 + 8 * i, pr->who[i].key);
	return 8 + 8 * pr->count;
}

static size_t put_reservation(struct scsi_pr *pr, uint8_t *to)
{
	struct scsi_registrant *who = is_all(pr->type) ? NULL : find(pr, pr->holder);

	if (!pr->type)
		return 8;
	vio_be64_put(to + 8, who ? who->key : 0);	/* the key of all registrants is none */
	to[8 + 13] = pr->type;
	return 8 + 16;
}

static size_t put_capabilities(const struct scsi_unit *u, uint8_t *to)
{
	vio_be16_put(to, 8);
	to[2] = u->o.keep ? 0x01 : 0;			/* PTPL_C */
	to[3] = (uint8_t)(0x80 | (u->pr.aptpl ? 1 : 0));	/* TMV, PTPL_A */
	to[4] = 0xea;					/* the types 7, 6, 5, 3, 1 */
	to[5] = 0x01;					/* and 8 */
	return 8;
}

/* As an iSCSI name: that is the kind of transport id that has room for one. */
static size_t put_transport_id(const char name[64], uint8_t *to)
{
	size_t n = 0;

	while (n < 64 && name[n])
		n++;
	size_t padded = (n + 1 + 3) & ~(size_t)3;
	if (padded < 20)
		padded = 20;
	to[0] = 0x05;
	vio_be16_put(to + 2, (uint16_t)padded);
	memcpy(to + 4, name, n);
	return 4 + padded;
}

static size_t put_full_status(struct scsi_pr *pr, uint8_t *to)
{
	size_t n = 8;

	for (uint32_t i = 0; i < pr->count; i++) {
		bool holder = holds(pr, pr->who[i].name);
		vio_be64_put(to + n, pr->who[i].key);
		to[n + 12] = holder;			/* R_HOLDER */
		to[n + 13] = holder ? pr->type : 0;
		vio_be16_put(to + n + 18, 1);		/* the port */
		size_t id = put_transport_id(pr->who[i].name, to + n + 24);
		vio_be32_put(to + n + 20, (uint32_t)id);
		n += 24 + id;
	}
	return n;
}

enum { FULL_STATUS = 8 + SCSI_REGISTRANTS * (24 + 4 + 68) };

static void in_at_home(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	uint8_t to[FULL_STATUS] = { 0 };
	uint8_t action = r->cdb[1] & 0x1f;
	size_t n;

	vio_scsi_dev_reserve_refresh(u);
	if (action == VIO_SCSI_PRIN_READ_KEYS)
		n = put_keys(&u->pr, to);
	else if (action == VIO_SCSI_PRIN_READ_RESERVATION)
		n = put_reservation(&u->pr, to);
	else if (action == VIO_SCSI_PRIN_REPORT_CAPABILITIES)
		n = put_capabilities(u, to);
	else
		n = put_full_status(&u->pr, to);
	if (action != VIO_SCSI_PRIN_REPORT_CAPABILITIES) {
		vio_be32_put(to, u->pr.generation);
		vio_be32_put(to + 4, (uint32_t)(n - 8));
	}
	vio_scsi_dev_say_data(r, to, n, vio_be16_at(r->cdb + 7));
}

void vio_scsi_do_reserve_in(struct scsi_req *r) { vio_scsi_dev_home(r, in_at_home, vio_scsi_dev_end); }
