/*
 * The control queue (5.6.6.2): task management and asynchronous notification.
 *
 * A function goes to every request queue's thread as a message, which finds there what it is about.  What is aborted is marked with
 * the function's number and ends in its own time; a queue answers when its last one has ended and is visible to the driver.  The
 * function is answered when all queues have answered, and not before.
 */
#include <vio/device/scsi_impl.h>

/* ---- In a request queue's thread ---- */

static void part_answered(void *arg);

static void answer_part(struct scsi_tmf_part *p)
{
	struct vio_devq *q = scsi_ring(p->s, p->lane);

	if (q->running)
		vio_devq_flush(q);	/* what ended is used before the function is */
	p->call = (struct vio_dev_call){ .fn = part_answered, .arg = p };
	vio_dev_post(&p->s->dev, VIO_SCSI_Q_CONTROL, &p->call);
}

void vio_scsi_dev_tmf_ended(struct scsi_req *r)
{
	struct scsi_queue *sq = scsi_queue_of(r);
	uint16_t tmfs = r->tmfs;

	r->tmfs = 0;
	while (tmfs) {
		struct scsi_tmf_part *p = &sq->tmf[__builtin_ctz(tmfs)];
		tmfs &= (uint16_t)(tmfs - 1);
		if (--p->left == 0)
			answer_part(p);
	}
}

static bool is_meant(const struct scsi_tmf_work *w, const struct scsi_req *r)
{
	bool task = w->subtype == VIO_SCSI_T_TMF_ABORT_TASK || w->subtype == VIO_SCSI_T_TMF_QUERY_TASK;

	if (w->whole_target)
		return r->address >> 16 == w->address >> 16;
	return r->address == w->address && (!task || r->id == w->id);
}

static bool is_query(const struct scsi_tmf_work *w)
{
	return w->subtype == VIO_SCSI_T_TMF_QUERY_TASK || w->subtype == VIO_SCSI_T_TMF_QUERY_TASK_SET;
}

static void run_part(void *arg)
{
	struct scsi_tmf_part *p = arg;
	const struct scsi_tmf_work *w = &p->s->tmf[p->slot];
	struct vio_devq *q = scsi_ring(p->s, p->lane);

	p->found = false;
	p->left = 1;			/* that the last end is not seen before all are marked */
	for (uint32_t slot = 0; q->running && slot < q->fresh_slot; slot++) {
		struct scsi_req *r = (struct scsi_req *)vio_devq_inflight(q, (uint16_t)slot);
		if (!r || !is_meant(w, r))
			continue;
		p->found = true;
		if (is_query(w))
			break;
		p->left++;
		r->tmfs |= (uint16_t)(1u << p->slot);
		vio_scsi_dev_abort(r, w->response);
	}
	if (--p->left == 0)
		answer_part(p);
}

/* ---- In the home thread ---- */

static void answer(struct scsi_tmf_work *w, uint8_t response)
{
	struct scsi_req *r = w->r;
	struct vio_devq *q = &w->s->dev.queue[VIO_SCSI_Q_CONTROL].ring;

	w->r = NULL;
	vio_cur_put(&r->chain.w, &response, 1);
	vio_dev_push(q, &r->chain);
	if (q->why_empty == VIO_WAIT_DEVICE)		/* for a place like this one */
		vio_dev_wake(q);
}

static void reset_unit(struct scsi_tmf_work *w, struct scsi_unit *u)
{
	bool nexus = w->subtype == VIO_SCSI_T_TMF_I_T_NEXUS_RESET;

	if (nexus) {
		scsi_clear(u, UNIT_LOCKED);
		scsi_attention(u, ATTENTION_NEXUS_LOSS);
	} else {
		vio_scsi_dev_unit_reset(u, ATTENTION_RESET);
	}
}

/* All that was aborted has ended. */
static void finish(struct scsi_tmf_work *w)
{
	struct scsi_unit *u;
	bool reset = w->response == VIO_SCSI_S_RESET;

	for (unsigned i = 0; reset && (u = vio_scsi_dev_next_unit(w->s, &i)); ) {
		uint32_t address = ADDRESS_OF(u->o.target, u->o.lun);
		if (w->whole_target ? address >> 16 == w->address >> 16 : address == w->address)
			reset_unit(w, u);
	}
	answer(w, is_query(w) && w->found ? VIO_SCSI_S_FUNCTION_SUCCEEDED : VIO_SCSI_S_FUNCTION_COMPLETE);
}

static void part_answered(void *arg)
{
	struct scsi_tmf_part *p = arg;
	struct scsi_tmf_work *w = &p->s->tmf[p->slot];

	w->found |= p->found;
	if (--w->waiting == 0)
		finish(w);
}

static void begin(struct scsi *s, struct scsi_tmf_work *w)
{
	w->waiting = s->queues;
	for (unsigned lane = 0; lane < s->queues; lane++) {
		struct scsi_tmf_part *p = &s->queue[lane].tmf[w - s->tmf];
		p->call = (struct vio_dev_call){ .fn = run_part, .arg = p };
		vio_dev_post(&s->dev, VIO_SCSI_Q_REQUEST + lane, &p->call);
	}
}

static struct scsi_tmf_work *free_place(struct scsi *s)
{
	for (unsigned i = 0; i < SCSI_TMFS; i++)
		if (!s->tmf[i].r)
			return &s->tmf[i];
	return NULL;
}

/* What it does to the tasks it is about: 0, nothing; NO: there is no such function. */
enum { NO = 0xff };
static uint8_t response_for(uint32_t subtype)
{
	switch (subtype) {
	case VIO_SCSI_T_TMF_ABORT_TASK:
	case VIO_SCSI_T_TMF_ABORT_TASK_SET:
	case VIO_SCSI_T_TMF_CLEAR_TASK_SET:
		return VIO_SCSI_S_ABORTED;
	case VIO_SCSI_T_TMF_I_T_NEXUS_RESET:
	case VIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
		return VIO_SCSI_S_RESET;
	case VIO_SCSI_T_TMF_QUERY_TASK:
	case VIO_SCSI_T_TMF_QUERY_TASK_SET:
		return 0;
	default:
		return NO;		/* CLEAR ACA among them: NORMACA is 0 */
	}
}

/* An address that commands could go to, or what to say of it. */
static uint8_t judge_address(struct scsi *s, const uint8_t lun[8], bool whole_target, uint32_t *address)
{
	enum scsi_lun_kind kind = vio_scsi_dev_lun(lun, address);

	if (kind == LUN_BAD || kind == LUN_ALL_TARGETS || !vio_scsi_dev_has_target(s, *address >> 16))
		return VIO_SCSI_S_BAD_TARGET;
	if (kind != LUN_UNIT || (!whole_target && !vio_scsi_dev_find(s, *address)))
		return VIO_SCSI_S_INCORRECT_LUN;
	return VIO_SCSI_S_OK;
}

static void refuse(struct vio_devq *q, struct vio_chain *c, uint8_t response, bool malformed)
{
	if (malformed)
		vio_dev_refused(q);
	vio_cur_put(&c->w, &response, 1);
	vio_dev_push(q, c);
}

static void tmf(struct scsi *s, struct vio_devq *q, struct vio_chain *c, struct scsi_tmf_work *w)
{
	struct vio_cur in = c->r;
	struct vio_scsi_tmf m;

	if (!vio_cur_get(&in, &m, sizeof m)) {
		refuse(q, c, VIO_SCSI_S_FAILURE, true);
		return;
	}
	*w = (struct scsi_tmf_work){ .s = s, .subtype = vio_le32_get(m.subtype), .id = vio_le64_get(m.id) };
	w->whole_target = w->subtype == VIO_SCSI_T_TMF_I_T_NEXUS_RESET;
	w->response = response_for(w->subtype);
	uint8_t verdict = judge_address(s, m.lun, w->whole_target, &w->address);
	if (verdict == VIO_SCSI_S_OK && w->response == NO)
		verdict = VIO_SCSI_S_FUNCTION_REJECTED;
	if (verdict != VIO_SCSI_S_OK) {
		refuse(q, c, verdict, false);
		return;
	}
	w->r = (struct scsi_req *)c;
	begin(s, w);
}

/* ---- Asynchronous notification: a CD-ROM drive's media changes are told by polling here, so nothing can be subscribed to ---- */

static void notification(struct scsi *s, struct vio_devq *q, struct vio_chain *c)
{
	struct vio_scsi_an_resp answer = { { 0 }, VIO_SCSI_S_OK };
	struct vio_cur in = c->r;
	struct vio_scsi_an m;
	uint32_t address;

	if (!vio_cur_get(&in, &m, sizeof m) || c->w.left < sizeof answer) {
		vio_dev_refused(q);
		vio_dev_push(q, c);
		return;
	}
	answer.response = judge_address(s, m.lun, false, &address);
	vio_cur_put(&c->w, &answer, sizeof answer);
	vio_dev_push(q, c);
}

/* ---- The queue ---- */

static void serve(struct scsi *s, struct vio_devq *q, struct vio_chain *c, struct scsi_tmf_work *place)
{
	struct vio_cur in = c->r;
	vio_le32 type;

	if (c->w.left == 0 || !vio_cur_get(&in, &type, sizeof type)) {
		vio_dev_refused(q);
		vio_dev_push(q, c);
		return;
	}
	switch (vio_le32_get(type)) {
	case VIO_SCSI_T_TMF:
		tmf(s, q, c, place);
		return;
	case VIO_SCSI_T_AN_QUERY:
	case VIO_SCSI_T_AN_SUBSCRIBE:
		notification(s, q, c);
		return;
	default:
		refuse(q, c, VIO_SCSI_S_FUNCTION_REJECTED, true);
		return;
	}
}

void vio_scsi_dev_control(struct scsi *s, struct vio_devq *q)
{
	struct scsi_tmf_work *place;
	struct vio_chain *c;

	while ((place = free_place(s)))
		if ((c = vio_devq_pop(q)))
			serve(s, q, c, place);
		else
			return;
	q->why_empty = VIO_WAIT_DEVICE;
}
