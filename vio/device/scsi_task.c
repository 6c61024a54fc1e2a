/*
 * A SCSI request from its chain to its answer (5.6.6.1), whatever its command does:
 *
 *   device-readable   header with LUN, id, task attribute; CDB; protection information; data out
 *   device-writable   answer with status, response, residual; sense data; protection information; data in
 *
 * The sizes of CDB and sense data are what the config space says when the request is looked at; a request keeps those it began
 * with.  Steps of the disk that end at once follow each other in a loop, not in a recursion.
 */
#include <vio/device/scsi_impl.h>

enum { PADDED_SENSE = 252 };	/* SPC-4, 4.5.1: there is never more; so much of the sense bytes is filled up with zeroes */

/* ---- Addresses (5.6.6.1) ---- */

static bool zeroes(const uint8_t *p, unsigned n)
{
	while (n--)
		if (p[n])
			return false;
	return true;
}

/* One target's LUN: flat space addressing, which drivers use, or peripheral device addressing of bus 0 (SAM-5, 4.7). */
enum scsi_lun_kind vio_scsi_dev_lun(const uint8_t lun[8], uint32_t *address)
{
	if (!zeroes(lun + 4, 4))
		return LUN_BAD;
	if (lun[0] == 0xc1 && lun[1] == 0x01 && !lun[2] && !lun[3])
		return LUN_ALL_TARGETS;
	if (lun[0] != 1)
		return LUN_BAD;
	*address = ADDRESS_OF(lun[1], vio_be16_at(lun + 2) & 0x3fff);
	if (lun[2] == 0xc1 && lun[3] == 0x01)
		return LUN_WELL_KNOWN;
	return lun[2] >> 6 == 1 || lun[2] == 0 ? LUN_UNIT : LUN_BAD;
}

/* ---- Sense data (SPC-4, 4.5) ---- */

static void put_field(const struct scsi_sense *s, uint8_t *to)	/* sense-key specific: field pointer */
{
	to[0] = (uint8_t)(0x80 | (s->field_in_cdb ? 0x40 : 0) | (s->has_bit ? 0x08 | s->bit : 0));
	vio_be16_put(to + 1, s->field);
}

static size_t descriptor_sense(const struct scsi_sense *s, uint8_t *to)
{
	size_t n = 8;

	memset(to, 0, 36);
	to[0] = 0x72;
	to[1] = s->key;
	vio_be16_put(to + 2, s->asc);
	if (s->has_information) {
		to[n] = 0x00;
		to[n + 1] = 0x0a;
		to[n + 2] = 0x80;
		vio_be64_put(to + n + 4, s->information);
		n += 12;
	}
	if (s->has_field) {
		to[n] = 0x02;
		to[n + 1] = 0x06;
		put_field(s, to + n + 4);
		n += 8;
	}
	to[7] = (uint8_t)(n - 8);
	return n;
}

size_t vio_scsi_dev_sense_bytes(const struct scsi_sense *s, bool descriptors, uint8_t to[static 36])
{
	if (descriptors)
		return descriptor_sense(s, to);
	memset(to, 0, VIO_SENSE_FIXED_BYTES);
	to[0] = 0x70;
	to[2] = s->key;
	if (s->has_information && s->information <= UINT32_MAX) {
		to[0] |= 0x80;		/* VALID */
		vio_be32_put(to + 3, (uint32_t)s->information);
	}
	to[7] = VIO_SENSE_FIXED_BYTES - 8;
	vio_be16_put(to + 12, s->asc);
	if (s->has_field)
		put_field(s, to + 15);
	return VIO_SENSE_FIXED_BYTES;
}

/* ---- The answer ---- */

/*
 * used.len counts what was written without a gap from the first writable byte (2.7.8.2); what nobody wrote of the sense bytes is
 * filled with zeroes, so that data behind them counts.
 */
static void put_answer(struct scsi_req *r)
{
	struct vio_cur *w = &r->chain.w;
	uint8_t sense[36];
	size_t n = 0;
	uint64_t moved = r->moved_out + r->moved_in;

	if (r->response == VIO_SCSI_S_OK && r->status == VIO_SAM_CHECK_CONDITION)
		n = vio_scsi_dev_sense_bytes(&r->sense, r->unit && scsi_flags(r->unit) & UNIT_D_SENSE, sense);
	n = scsi_least(n, r->sense_size);
	uint64_t rest = r->data_bytes > moved ? r->data_bytes - moved : 0;
	struct vio_scsi_resp resp = {
		.sense_len = vio_le32_of((uint32_t)n), .residual = vio_le32_of((uint32_t)scsi_least(rest, UINT32_MAX)),
		.status = r->status, .response = r->response,
	};
	vio_cur_put(w, &resp, sizeof resp);
	vio_cur_put(w, sense, n);
	uint64_t pad = scsi_least(r->sense_size, n > PADDED_SENSE ? n : PADDED_SENSE) - n;
	vio_cur_zero(w, pad);
	if (n + pad == r->sense_size && r->told_pi == r->pi_in.left + r->pi_in.done)
		w->done += r->told_pi + r->moved_in;
}

/* The next one may have it; by a message, or those that wait would answer each other in an ever deeper recursion. */
static void scratch_granted(void *arg)
{
	struct scsi_req *r = arg;

	r->then(r);
}

static void leave_scratch(struct scsi_req *r)
{
	struct scsi_queue *sq = scsi_queue_of(r);
	struct scsi_req *next = sq->scratch_first;

	r->has_scratch = false;
	sq->scratch_user = next;
	if (!next)
		return;
	sq->scratch_first = next->next;
	next->waiting = false;
	next->has_scratch = true;
	next->call = (struct vio_dev_call){ .fn = scratch_granted, .arg = next };
	vio_dev_post(&scsi_of_req(r)->dev, r->q->index, &next->call);
}

void vio_scsi_dev_scratch(struct scsi_req *r, void (*then)(struct scsi_req *r))
{
	struct scsi_queue *sq = scsi_queue_of(r);

	if (!sq->scratch_user) {
		sq->scratch_user = r;
		r->has_scratch = true;
		then(r);
		return;
	}
	r->then = then;
	r->next = NULL;
	r->waiting = true;
	*(sq->scratch_first ? sq->scratch_last : &sq->scratch_first) = r;
	sq->scratch_last = &r->next;
}

static void stop_waiting(struct scsi_req *r)
{
	struct scsi_queue *sq = scsi_queue_of(r);
	struct scsi_req **at = &sq->scratch_first;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	if (!r->next)
		sq->scratch_last = at;
	r->waiting = false;
}

static void count_end(struct scsi_req *r, struct scsi_lane *l)
{
	if (r->ending)
		scsi_count(&l->aborted, 1);
	else if (r->status == VIO_SAM_RESERVATION_CONFLICT)
		scsi_count(&l->conflicts, 1);
	else if (r->status == VIO_SAM_CHECK_CONDITION && r->sense.key != VIO_SENSE_UNIT_ATTENTION)
		scsi_count(&l->failed, 1);
	scsi_count(&l->bytes_read, r->moved_in);
	scsi_count(&l->bytes_written, r->moved_out);
}

void vio_scsi_dev_end(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	unsigned lane = scsi_lane_of(r);

	if (r->has_scratch)
		leave_scratch(r);
	if (r->locked) {
		vio_scsi_dev_home(r, vio_scsi_dev_compare_over, vio_scsi_dev_end);
		return;
	}
	if (r->ending) {
		r->response = r->ending;
		r->status = 0;
		r->moved_out = r->moved_in = r->told_pi = 0;
	}
	if (r->bad)
		vio_dev_refused(r->q);
	put_answer(r);
	if (u)
		count_end(r, &u->lane[lane]);
	vio_dev_push(r->q, &r->chain);
	if (r->tmfs)
		vio_scsi_dev_tmf_ended(r);
	if (u && --u->lane[lane].inflight == 0 && u->lane[lane].draining)
		vio_scsi_dev_lane_emptied(u, lane);
}

void vio_scsi_dev_good(struct scsi_req *r)
{
	r->status = VIO_SAM_GOOD;
	vio_scsi_dev_end(r);
}

void vio_scsi_dev_say(struct scsi_req *r, uint8_t key, uint16_t asc)
{
	r->status = VIO_SAM_CHECK_CONDITION;
	r->sense.key = key;
	r->sense.asc = asc;
}

void vio_scsi_dev_check(struct scsi_req *r, uint8_t key, uint16_t asc)
{
	vio_scsi_dev_say(r, key, asc);
	vio_scsi_dev_end(r);
}

static void say_field(struct scsi_req *r, bool in_cdb, unsigned byte, int bit)
{
	r->sense.has_field = true;
	r->sense.field_in_cdb = in_cdb;
	r->sense.field = (uint16_t)byte;
	r->sense.has_bit = bit >= 0;
	r->sense.bit = bit >= 0 ? (uint8_t)bit : 0;
	vio_scsi_dev_say(r, VIO_SENSE_ILLEGAL_REQUEST, in_cdb ? VIO_ASC_INVALID_FIELD_CDB : VIO_ASC_INVALID_FIELD_PARAMETER);
}

void vio_scsi_dev_say_parameter(struct scsi_req *r, unsigned byte, int bit) { say_field(r, false, byte, bit); }

void vio_scsi_dev_bad_cdb(struct scsi_req *r, unsigned byte, int bit)
{
	say_field(r, true, byte, bit);
	vio_scsi_dev_end(r);
}

void vio_scsi_dev_bad_parameter(struct scsi_req *r, unsigned byte, int bit)
{
	say_field(r, false, byte, bit);
	vio_scsi_dev_end(r);
}

void vio_scsi_dev_fail(struct scsi_req *r, uint8_t response)
{
	r->status = 0;
	r->response = response;
	r->bad |= response == VIO_SCSI_S_OVERRUN || response == VIO_SCSI_S_FAILURE;
	vio_scsi_dev_end(r);
}

/* Error numbers as Linux has them; others are plain errors. */
enum { E_PERM = 1, E_AGAIN = 11, E_NOMEM = 12, E_ACCES = 13, E_NODEV = 19, E_NXIO = 6, E_NOSPC = 28, E_ROFS = 30, E_DQUOT = 122,
	E_CANCELED = 125 };

void vio_scsi_dev_failed(struct scsi_req *r, int error)
{
	bool reading = r->io.op == VIO_DISK_READ;

	r->moved_in = r->moved_out = 0;
	switch (error) {
	case E_AGAIN:
	case E_NOMEM:
		r->response = VIO_SCSI_S_BUSY;
		r->status = 0;
		vio_scsi_dev_end(r);
		return;
	case E_NODEV:
	case E_NXIO:
		r->response = VIO_SCSI_S_TRANSPORT_FAILURE;
		r->status = 0;
		vio_scsi_dev_end(r);
		return;
	case E_CANCELED:
		vio_scsi_dev_check(r, VIO_SENSE_ABORTED_COMMAND, VIO_ASC_NONE);
		return;
	case E_NOSPC:
	case E_DQUOT:
		vio_scsi_dev_check(r, VIO_SENSE_DATA_PROTECT, VIO_ASC_SPACE_ALLOCATION);
		return;
	case E_PERM:
	case E_ACCES:
	case E_ROFS:
		vio_scsi_dev_check(r, VIO_SENSE_DATA_PROTECT, VIO_ASC_WRITE_PROTECTED);
		return;
	default:
		vio_scsi_dev_check(r, VIO_SENSE_MEDIUM_ERROR, reading ? VIO_ASC_READ_ERROR : VIO_ASC_WRITE_ERROR);
		return;
	}
}

void vio_scsi_dev_say_data(struct scsi_req *r, const void *bytes, size_t n, uint64_t alloc)
{
	if (n > alloc)
		n = (size_t)alloc;
	r->status = 0;
	if (vio_cur_put(&r->in, bytes, n)) {
		r->moved_in = n;
	} else {			/* the CDB asks for more than there is room for */
		r->response = VIO_SCSI_S_OVERRUN;
		r->bad = true;
	}
}

void vio_scsi_dev_tell(struct scsi_req *r, const void *bytes, size_t n, uint64_t alloc)
{
	vio_scsi_dev_say_data(r, bytes, n, alloc);
	vio_scsi_dev_end(r);
}

bool vio_scsi_dev_take(struct scsi_req *r, void *to, size_t n)
{
	if (!vio_cur_get(&r->out, to, n)) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_OVERRUN);
		return false;
	}
	r->moved_out = n;
	return true;
}

/* ---- The disk ---- */

static void done(struct vio_disk_io *io, int error)
{
	struct scsi_req *r = (struct scsi_req *)((char *)io - offsetof(struct scsi_req, io));
	struct scsi_queue *sq = scsi_queue_of(r);

	r->io_live = false;
	if (sq->loop && sq->loop->r == r && sq->loop->inside) {
		sq->loop->finished = true;
		sq->loop->error = error;
	} else {
		r->step(r, error);
	}
}

static struct scsi_lane *open_lane(struct scsi_req *r)
{
	struct scsi_unit *u = r->unit;
	unsigned lane = scsi_lane_of(r);
	struct scsi_lane *l = &u->lane[lane];

	if (!l->chan)
		l->chan = u->disk->ops->channel(u->disk, lane);
	return l->chan ? l : NULL;
}

bool vio_scsi_dev_submit(struct scsi_req *r, void (*step)(struct scsi_req *r, int error))
{
	struct scsi_queue *sq = scsi_queue_of(r);
	struct scsi_lane *l = r->ending ? NULL : open_lane(r);

	if (!l) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_BUSY);		/* or what it is to end with */
		return false;
	}
	r->step = step;
	r->io.done = done;
	if (!l->touched) {
		l->touched = true;
		l->touched_next = sq->touched;
		sq->touched = l;
		if (!scsi_of_req(r)->dev.queue[r->q->index].in_turn)
			vio_dev_wake(r->q);	/* whose end flushes */
	}
	if (sq->loop && sq->loop->r == r) {
		sq->loop->again = true;
		return true;
	}
	struct scsi_loop *outer = sq->loop, loop = { .r = r };
	sq->loop = &loop;
	do {
		loop.again = loop.finished = false;
		loop.inside = r->io_live = true;
		l->chan->ops->submit(l->chan, &r->io);
		loop.inside = false;
		if (loop.finished)
			r->step(r, loop.error);		/* r may be no more */
	} while (loop.again);
	sq->loop = outer;
	return true;
}

void vio_scsi_dev_abort(struct scsi_req *r, uint8_t response)
{
	struct scsi_lane *l = r->unit ? &r->unit->lane[scsi_lane_of(r)] : NULL;

	if (r->ending)
		return;
	r->ending = response;
	if (r->waiting) {
		stop_waiting(r);
		vio_scsi_dev_end(r);
	} else if (r->io_live && l && l->chan) {
		l->chan->ops->cancel(l->chan, &r->io);
	}
}

/* ---- The home thread ---- */

static void back(void *arg)
{
	struct scsi_req *r = arg;

	r->then(r);
}

void vio_scsi_dev_back(struct scsi_req *r)
{
	struct vio_dev *d = &scsi_of_req(r)->dev;

	r->call = (struct vio_dev_call){ .fn = back, .arg = r };
	vio_dev_post(d, r->q->index, &r->call);
}

static void go(void *arg)
{
	struct scsi_req *r = arg;

	r->at_home(r);
}

void vio_scsi_dev_go_home(struct scsi_req *r, void (*at_home)(struct scsi_req *r), void (*then)(struct scsi_req *r))
{
	struct vio_dev *d = &scsi_of_req(r)->dev;

	r->at_home = at_home;
	r->then = then;
	r->call = (struct vio_dev_call){ .fn = go, .arg = r };
	if (vio_dev_together(d, VIO_SCSI_Q_CONTROL, r->q->index))
		at_home(r);
	else
		vio_dev_post(d, VIO_SCSI_Q_CONTROL, &r->call);
}

static void there_and_back(void *arg)
{
	struct scsi_req *r = arg;

	r->at_home(r);
	vio_scsi_dev_back(r);
}

void vio_scsi_dev_home(struct scsi_req *r, void (*at_home)(struct scsi_req *r), void (*then)(struct scsi_req *r))
{
	struct vio_dev *d = &scsi_of_req(r)->dev;

	if (vio_dev_together(d, VIO_SCSI_Q_CONTROL, r->q->index)) {
		at_home(r);
		then(r);
		return;
	}
	r->at_home = at_home;
	r->then = then;
	r->call = (struct vio_dev_call){ .fn = there_and_back, .arg = r };
	vio_dev_post(d, VIO_SCSI_Q_CONTROL, &r->call);
}

/* ---- The beginning ---- */

/* With T10_PI: how many bytes of the data are protection information.  False: more than there are. */
static bool take_pi(struct scsi_req *r, const struct vio_scsi_pi_bytes *n)
{
	uint32_t out = (uint32_t)n->out[0] | (uint32_t)n->out[1] << 8 | (uint32_t)n->out[2] << 16 | (uint32_t)n->out[3] << 24;
	uint32_t in = (uint32_t)n->in[0] | (uint32_t)n->in[1] << 8 | (uint32_t)n->in[2] << 16 | (uint32_t)n->in[3] << 24;

	if (out > r->out.left || in > r->in.left)
		return false;
	r->pi_out = r->out;
	r->pi_in = r->in;
	r->out = vio_cur_split(&r->pi_out, out);
	r->in = vio_cur_split(&r->pi_in, in);
	r->pi_out.done = r->pi_in.done = 0;
	return true;
}

/* The CDB, and with T10_PI what stands beside it.  False: there is not enough of it. */
static bool take_cdb(struct scsi *s, struct scsi_req *r, uint32_t cdb_size)
{
	bool pi = vio_has(s->dev.accepted, VIO_SCSI_F_T10_PI);
	struct vio_scsi_pi_bytes n = { { 0 }, { 0 } };
	unsigned keep = cdb_size < SCSI_CDB ? cdb_size : SCSI_CDB;

	if (pi && s->pi == VIO_SCSI_PI_LINUX && !vio_cur_get(&r->out, &n, sizeof n))
		return false;
	if (r->out.left < cdb_size)
		return false;
	vio_cur_get(&r->out, r->cdb, keep);
	vio_cur_skip(&r->out, cdb_size - keep);
	if (pi && s->pi == VIO_SCSI_PI_SPEC && !vio_cur_get(&r->out, &n, sizeof n))
		return false;
	r->out.done = 0;
	return keep >= vio_scsi_dev_cdb_bytes(r->cdb[0]) && keep && take_pi(r, &n);
}

static void clear(struct scsi_req *r, struct vio_devq *q)
{
	memset((char *)r + offsetof(struct scsi_req, io), 0, offsetof(struct scsi_req, range) - offsetof(struct scsi_req, io));
	r->q = q;
	r->replayed = q->from_replay;
}

void vio_scsi_dev_begin(struct scsi *s, struct vio_devq *q, struct vio_chain *c)
{
	struct scsi_req *r = (struct scsi_req *)c;
	uint64_t sizes = __atomic_load_n(&s->sizes, __ATOMIC_RELAXED);
	uint32_t sense_size = (uint32_t)sizes, cdb_size = (uint32_t)(sizes >> 32);
	struct vio_scsi_req h;

	if (c->w.left < sizeof(struct vio_scsi_resp) || c->w.left - sizeof(struct vio_scsi_resp) < sense_size) {
		vio_dev_refused(q);		/* there is nowhere to answer */
		vio_dev_push(q, c);
		return;
	}
	clear(r, q);
	r->sense_size = sense_size;
	r->in = c->w;
	vio_cur_skip(&r->in, sizeof(struct vio_scsi_resp) + (uint64_t)sense_size);
	r->in.done = 0;
	r->out = c->r;
	if (!vio_cur_get(&r->out, &h, sizeof h) || !take_cdb(s, r, cdb_size)) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_FAILURE);
		return;
	}
	for (unsigned i = 0; i < 8; i++)
		r->id |= (uint64_t)h.id[i] << 8 * i;
	r->data_bytes = r->out.left + r->in.left;
	if (r->out.left && r->in.left && !vio_has(s->dev.accepted, VIO_SCSI_F_INOUT)) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_FAILURE);	/* 5.6.6.1.1 */
		return;
	}
	enum scsi_lun_kind kind = vio_scsi_dev_lun(h.lun, &r->address);
	if (kind == LUN_UNIT)
		r->unit = vio_scsi_dev_find(s, r->address);
	if (kind == LUN_BAD || (!r->unit && kind != LUN_ALL_TARGETS && !vio_scsi_dev_has_target(s, r->address >> 16))) {
		vio_scsi_dev_fail(r, VIO_SCSI_S_BAD_TARGET);
		return;
	}
	if (r->unit) {
		r->unit->lane[scsi_lane_of(r)].inflight++;
		scsi_count(&r->unit->lane[scsi_lane_of(r)].commands, 1);
	}
	r->kind = (uint8_t)kind;
	if ((h.task_attr & 7) == VIO_SCSI_T_ACA) {	/* SAM-5: no such condition ever exists (NORMACA is 0) */
		vio_scsi_dev_check(r, VIO_SENSE_ABORTED_COMMAND, VIO_ASC_INVALID_MESSAGE);
		return;
	}
	vio_scsi_dev_dispatch(r);
}
