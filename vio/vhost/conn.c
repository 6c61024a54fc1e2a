/*
 * The connection to a front end: messages are received, checked and served one at a time, and answered.
 *
 *   receive ──▶ check (wire.c) ──▶ handler ──▶ done ──────────────▶ answer, next message
 *                                    │
 *                                    └─ later: orders are out ──▶ next step when all are answered
 *
 * While a message waits for requests in flight, translations (IOTLB_MSG) are still served, by a second work of their own;
 * everything else stays in the socket, but for one message that has been received to see what it is.
 */
#include <vio/vhost/server.h>
#include <assert.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { MESSAGES_A_LOOK = 32 };		/* then others have their turn */

const char vio_vhost_later[] = "later";

/* ---- Handlers ---- */

static vio_vhost_step *handler_of(uint32_t request)
{
#define SERVED_NONE(name) case VIO_MSG_##name: return vio_vhost_on_##name;
#define SERVED_U64 SERVED_NONE
#define SERVED_STATE SERVED_NONE
#define SERVED_ADDR SERVED_NONE
#define SERVED_TABLE SERVED_NONE
#define SERVED_REGION SERVED_NONE
#define SERVED_LOG SERVED_NONE
#define SERVED_IOTLB SERVED_NONE
#define SERVED_CONFIG SERVED_NONE
#define SERVED_INFLIGHT SERVED_NONE
#define SERVED_TRANSFER SERVED_NONE
#define SERVED_RINGFD SERVED_NONE
#define SERVED_OTHER(name)	/* its feature is never offered: check has refused it */
	switch (request) {
#define VIO_MESSAGE(name, id, payload, ...) SERVED_##payload(name)
#include <vio/vhost/messages.def>
	default: return NULL;
	}
}

/* Which ring does it name?  False: it names none that there is. */
static bool ring_named(const struct vio_vhost *s, const struct vio_vhost_message *m, uint8_t payload, uint32_t *ring)
{
	switch (payload) {
	case VIO_PAYLOAD_STATE: *ring = m->payload.state.index; break;
	case VIO_PAYLOAD_ADDR: *ring = m->payload.addr.index; break;
	case VIO_PAYLOAD_RINGFD: *ring = m->payload.u64 & 0xff; break;
	default: *ring = 0; return true;
	}
	return *ring < s->dev->queues;
}

static const char *check_fd(const struct vio_vhost_message *m)
{
	bool none = m->payload.u64 & VIO_VHOST_NO_FD;

	if (m->payload.u64 >> 9)
		return "it has bits set that mean nothing";
	if (none && m->fds)
		return "it says that it carries no descriptor, and carries one";
	if (!none && !m->fds)
		return "it carries no descriptor, and does not say so";
	return NULL;
}

static const char *check(struct vio_vhost *s, const struct vio_vhost_message *m)
{
	const char *why = vio_vhost_check(m, s->protocol);
	if (why)
		return why;
	const struct vio_vhost_message_type *t = &vio_vhost_message_types[m->header.request];
	uint32_t ring;
	if (!ring_named(s, m, t->payload, &ring))
		return "the device has no such queue: give it more, or the front end fewer (--num-queues, num_queues)";
	if (t->payload == VIO_PAYLOAD_RINGFD && (why = check_fd(m)))
		return why;
	if (t->allowed == VIO_ALLOWED_RING && s->ring[ring].kicked && s->ring[ring].enabled)
		return "the queue is running: stop it first with GET_VRING_BASE, or disable it";
	if (t->allowed == VIO_ALLOWED_ALL && vio_vhost_any_kicked(s))
		return "a queue is running: stop all of them first with GET_VRING_BASE";
	return NULL;
}

/* ---- Answers ---- */

static bool wants_ack(const struct vio_vhost *s, const struct vio_vhost_message *m)
{
	return m->header.flags & VIO_VHOST_NEED_REPLY && vio_vhost_uses(s, VIO_VHOST_F_REPLY_ACK);
}

static void put(struct vio_vhost *s, struct vio_vhost_work *w, const void *payload, uint32_t size, int fd)
{
	vio_vhost_put(&s->out[w - s->work], w->m.header.request, VIO_VHOST_REPLY, payload, size, fd);
}

static void put_u64(struct vio_vhost *s, struct vio_vhost_work *w, uint64_t v) { put(s, w, &v, sizeof v, -1); }

static void accept_message(struct vio_vhost *s, struct vio_vhost_work *w, uint8_t reply)
{
	if (reply == VIO_REPLY_ANSWER)
		put(s, w, &w->m.payload, w->reply_size, w->reply_fd);
	else if (reply == VIO_REPLY_STATUS || wants_ack(s, &w->m))
		put_u64(s, w, 0);
}

/* Must the connection end because there is no way to say no? */
static bool say_no(struct vio_vhost *s, struct vio_vhost_work *w, const struct vio_vhost_message_type *t)
{
	uint32_t request = w->m.header.request;

	if (request == VIO_MSG_GET_CONFIG && t) {
		put(s, w, NULL, 0, -1);		/* "zero length of payload to indicate an error" */
		return false;
	}
	if (t && (request == VIO_MSG_SET_DEVICE_STATE_FD || request == VIO_MSG_CHECK_DEVICE_STATE)) {
		put_u64(s, w, request == VIO_MSG_SET_DEVICE_STATE_FD ? VIO_TRANSFER_NO_FD | 1 : 1);
		return false;
	}
	/* The front end always waits for this answer; and for the others only when it says so. */
	if (request == VIO_MSG_IOTLB_MSG || (wants_ack(s, &w->m) && (!t || t->reply != VIO_REPLY_ANSWER))) {
		put_u64(s, w, 1);
		return false;
	}
	return true;
}

static void refuse(struct vio_vhost *s, struct vio_vhost_work *w, const char *why)
{
	uint32_t request = w->m.header.request;
	const struct vio_vhost_message_type *t = request < VIO_MSG_LIMIT ? &vio_vhost_message_types[request] : NULL;
	bool closes = say_no(s, w, t && t->name ? t : NULL);
	const char *end = closes ? "; the connection is closed" : "";

	if (t && t->name && t->needs != VIO_VHOST_F_NONE && !vio_vhost_uses(s, t->needs))
		vio_vhost_say(s, "the front end's %s is refused: %s (%s)%s", t->name, why, t->needs_name, end);
	else if (t && t->name)
		vio_vhost_say(s, "the front end's %s is refused: %s%s", t->name, why, end);
	else
		vio_vhost_say(s, "the front end's message %u is refused: %s%s", request, why, end);
	if (closes)
		vio_vhost_close(s, false);
}

/* ---- Work ---- */

static void work_release(struct vio_vhost_work *w)
{
	vio_vhost_message_close(&w->m);
	vio_mem_unref(w->old);
	w->old = NULL;
	w->busy = w->rests = false;
}

static void finish(struct vio_vhost *s, struct vio_vhost_work *w, const char *why)
{
	if (why)
		refuse(s, w, why);
	else
		accept_message(s, w, vio_vhost_message_types[w->m.header.request].reply);
	work_release(w);
	if (s->state != VIO_VHOST_SERVING)
		return;
	if (!s->work[VIO_WORK_MESSAGE].rests && !s->work[VIO_WORK_IOTLB].rests)
		vio_loop_untimer(s->home, &s->deadline);
	vio_loop_task(s->home, &s->more);
}

static void outcome(struct vio_vhost *s, struct vio_vhost_work *w, const char *why)
{
	while (why == vio_vhost_later && !w->out)
		why = w->next(s, w);	/* nobody was to be asked */
	assert(!w->rests || vio_vhost_message_types[w->m.header.request].quiets != VIO_QUIETS_NOTHING);
	if (why != vio_vhost_later)
		finish(s, w, why);
	else if (w->rests && !s->deadline.set)
		vio_vhost_deadline_start(s);
}

void vio_vhost_work_answered(struct vio_vhost *s, struct vio_vhost_work *w, const char *failed)
{
	w->out--;
	if (failed && !w->failed)
		w->failed = failed;
	if (w->out)
		return;
	if (s->state != VIO_VHOST_SERVING) {
		work_release(w);
		return;
	}
	outcome(s, w, w->failed ? w->failed : w->next(s, w));
}

static void serve(struct vio_vhost *s)
{
	bool iotlb = s->in.header.request == VIO_MSG_IOTLB_MSG;
	struct vio_vhost_work *w = &s->work[iotlb ? VIO_WORK_IOTLB : VIO_WORK_MESSAGE];

	w->m = s->in;
	vio_vhost_message_init(&s->in);
	s->held = false;
	w->lane = iotlb ? VIO_LANE_IOTLB : VIO_LANE_MESSAGE;
	w->busy = true;
	w->failed = NULL;
	w->next = w->then = NULL;
	w->reply_size = 0;
	w->reply_fd = -1;
	w->gones = 0;
	const char *why = check(s, &w->m);
	outcome(s, w, why ? why : handler_of(w->m.header.request)(s, w));
}

/* ---- The socket ---- */

/* False: some of it could not be sent yet; nothing more is read until it is. */
static bool send_answers(struct vio_vhost *s)
{
	unsigned begun = s->out[1].at && s->out[1].at < s->out[1].len;	/* that one goes first */

	for (unsigned n = 0; n < VIO_WORKS; n++) {
		struct vio_vhost_out *o = &s->out[n ^ begun];
		if (!vio_vhost_send(s->sock.fd, o)) {
			vio_vhost_close(s, false);
			return false;
		}
		if (o->at < o->len)
			return false;
	}
	for (unsigned n = 0; n < VIO_WORKS; n++)
		if (!s->work[n].busy && s->work[n].reply_fd >= 0) {
			close(s->work[n].reply_fd);
			s->work[n].reply_fd = -1;
		}
	return true;
}

/* May a message be taken from the socket now?  And when one is held, may it be served? */
static bool may_serve(const struct vio_vhost *s)
{
	const struct vio_vhost_work *message = &s->work[VIO_WORK_MESSAGE];

	if (s->work[VIO_WORK_IOTLB].busy || (message->busy && !message->rests))
		return false;
	return !s->held || !message->busy || s->in.header.request == VIO_MSG_IOTLB_MSG;
}

static bool receive(struct vio_vhost *s)
{
	const char *why = NULL;

	switch (vio_vhost_receive(s->sock.fd, &s->in, false, &why)) {
	case VIO_GOT_ALL:
		s->held = true;
		return true;
	case VIO_GOT_PART:
		return false;
	case VIO_GOT_NONSENSE:
		vio_vhost_say(s, "what the front end sent is refused: %s; the connection is closed", why);
		break;
	case VIO_GOT_END:
		break;
	}
	vio_vhost_close(s, false);
	return false;
}

/* What to be told of next.  That it has hung up is wanted always. */
static void set_events(struct vio_vhost *s, bool sent)
{
	uint32_t events = EPOLLRDHUP;

	if (!sent)
		events |= EPOLLOUT;
	else if (may_serve(s))
		events |= EPOLLIN;
	if (events == s->sock.events && s->sock.on)
		return;
	s->sock.events = events;
	if (!vio_loop_watch(s->home, &s->sock))
		vio_vhost_close(s, false);
}

void vio_vhost_conn_look(struct vio_vhost *s)
{
	bool sent = true;

	for (unsigned n = 0; s->state == VIO_VHOST_SERVING; n++) {
		sent = send_answers(s);
		if (s->state != VIO_VHOST_SERVING || !sent || !may_serve(s))
			break;
		if (n == MESSAGES_A_LOOK) {
			vio_loop_task(s->home, &s->more);
			break;
		}
		if (!s->held && !receive(s))
			break;
		if (!may_serve(s))
			break;
		serve(s);
	}
	if (s->state == VIO_VHOST_SERVING)
		set_events(s, sent);
}

static void ready(struct vio_watch *w, uint32_t events)
{
	struct vio_vhost *s = w->arg;

	/* It has gone while we were not reading: what it may have said before does not matter any more. */
	if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP) && !(w->events & EPOLLIN))
		vio_vhost_close(s, false);
	else
		vio_vhost_conn_look(s);
}

void vio_vhost_conn_start(struct vio_vhost *s, int fd)
{
	s->sock = (struct vio_watch){ .fd = fd, .ready = ready, .arg = s };
	s->state = VIO_VHOST_SERVING;
	vio_vhost_message_init(&s->in);
	s->held = false;
	memset(s->out, 0, sizeof s->out);
	s->channel.config = false;	/* this one reads the config space as it is */
	set_events(s, true);
}

void vio_vhost_conn_end(struct vio_vhost *s)
{
	if (s->sock.fd < 0)
		return;
	vio_loop_unwatch(s->home, &s->sock);
	close(s->sock.fd);
	s->sock.fd = -1;
	vio_vhost_message_close(&s->in);
	s->held = false;
	for (unsigned n = 0; n < VIO_WORKS; n++)
		if (s->work[n].reply_fd >= 0) {
			close(s->work[n].reply_fd);
			s->work[n].reply_fd = -1;
		}
}
