/*
 * The front end's end of the two sockets: requests out and replies in, and what the back end asks over its own channel.
 *
 * While a reply is awaited the channel is served too, so that a back end which needs a translation before it can answer
 * gets it.  Every wait has a deadline; every size is checked before a byte of payload is read; a descriptor that nobody
 * asked for is closed.
 */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <vio/vhost/frontend_impl.h>

static void front_serve_channel(struct vio_vhost_front *f);

static const char *message_name(uint32_t request)
{
	const char *name = request < VIO_MSG_LIMIT ? vio_vhost_message_types[request].name : NULL;
	return name ? name : "an unknown message";
}

uint64_t vio_front_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void vio_front_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void vio_front_hang_up(struct vio_vhost_front *f, int *fd)
{
	if (*fd >= 0 && f->closing)
		f->closing(f->closing_arg, *fd);
	vio_front_close(fd);
}

bool vio_front_fail(struct vio_vhost_front *f, const char *how, ...)
{
	va_list args;
	if (f->broken)
		return false;
	va_start(args, how);
	vsnprintf(f->why, sizeof f->why, how, args);
	va_end(args);
	f->broken = true;
	vio_front_hang_up(f, &f->sock);
	vio_front_hang_up(f, &f->channel);
	vio_vhost_message_close(&f->in);
	return false;
}

/*
 * Waits for events on fd.  While reading the channel is served too, if it is another one; never while writing, for what is
 * sent in answer would cut a message in two.  False: f is broken.
 */
static bool front_wait(struct vio_vhost_front *f, int fd, short events, uint64_t deadline, const char *what)
{
	for (;;) {
		uint64_t now = vio_front_now();
		if (now >= deadline)
			return vio_front_fail(f, "The back end did not answer %s in time.", what);
		struct timespec left = { (time_t)((deadline - now) / 1000000000), (long)((deadline - now) % 1000000000) };
		struct pollfd p[2] = { { .fd = fd, .events = events }, { .fd = f->channel, .events = POLLIN } };
		int n = ppoll(p, fd == f->channel || events != POLLIN ? 1 : 2, &left, NULL);
		if (n < 0 && errno != EINTR)
			return vio_front_fail(f, "Waiting for the back end failed: %s.", strerror(errno));
		if (n <= 0)
			continue;
		if (p[0].revents)
			return true;
		if (p[1].revents)
			front_serve_channel(f);
		if (f->broken)
			return false;
	}
}

/* Header and payload in one go; descriptors travel with the first byte. */
static bool front_send(struct vio_vhost_front *f, int fd, const struct vio_vhost_header *h, const void *payload,
    const int *fds, unsigned count, uint64_t deadline)
{
	unsigned char bytes[sizeof *h + sizeof(union vio_vhost_payload)];
	union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int) * VIO_VHOST_FDS)]; } control;
	size_t total = sizeof *h + h->size, at = 0;

	memcpy(bytes, h, sizeof *h);
	if (h->size)
		memcpy(bytes + sizeof *h, payload, h->size);
	while (at < total) {
		struct iovec iov = { bytes + at, total - at };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		if (at == 0 && count) {
			memset(&control, 0, sizeof control);
			m.msg_control = control.room;
			m.msg_controllen = CMSG_SPACE(sizeof(int) * count);
			struct cmsghdr *c = CMSG_FIRSTHDR(&m);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(sizeof(int) * count);
			memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
		}
		ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			if (!front_wait(f, fd, POLLOUT, deadline, message_name(h->request)))
				return false;
		} else if (n == 0 || errno != EINTR)
			return vio_front_fail(f, "The back end closed the connection at %s (%s).", message_name(h->request),
			    strerror(errno));
	}
	return true;
}

/* One reply, of whatever request; its descriptors are the caller's to close. */
static bool front_reply(struct vio_vhost_front *f, struct vio_vhost_message *m, uint64_t deadline, const char *what)
{
	const char *why;
	for (;;) {
		switch (vio_vhost_receive(f->sock, m, true, &why)) {
		case VIO_GOT_ALL:
			return true;
		case VIO_GOT_PART:
			if (!front_wait(f, f->sock, POLLIN, deadline, what))
				return false;
			break;
		case VIO_GOT_END:
			return vio_front_fail(f, "The back end closed the connection instead of answering %s.", what);
		case VIO_GOT_NONSENSE:
			return vio_front_fail(f, "The back end answered %s with nonsense: %s.", what, why);
		}
	}
}

/* An acknowledgement of a translation sent earlier, while something else was awaited. */
static bool front_translation_done(struct vio_vhost_front *f, const struct vio_vhost_message *m)
{
	f->translations--;
	if (m->header.size != sizeof m->payload.u64 || m->payload.u64)
		return vio_front_fail(f, "The back end refused a translation of the IOMMU.");
	return true;
}

static bool front_await(struct vio_vhost_front *f, struct vio_vhost_message *m, uint32_t request, uint32_t min, uint32_t max,
    uint64_t deadline)
{
	const char *name = message_name(request);
	for (;;) {
		vio_vhost_message_init(m);
		if (!front_reply(f, m, deadline, name))
			return false;
		if (m->header.request != VIO_MSG_IOTLB_MSG || !f->translations)
			break;
		if (!front_translation_done(f, m))
			return false;
		vio_vhost_message_close(m);
	}
	if (m->header.request != request)
		return vio_front_fail(f, "The back end answered %s with a reply to %s.", name, message_name(m->header.request));
	if (m->header.size < min || m->header.size > max)
		return vio_front_fail(f, "The back end answered %s with %u bytes instead of %u.", name, m->header.size, max);
	return true;
}

static bool front_request(struct vio_vhost_front *f, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
    const int *fds, unsigned count, uint64_t deadline)
{
	struct vio_vhost_header h = { request, VIO_VHOST_VERSION | flags, size };
	return !f->broken && front_send(f, f->sock, &h, payload, fds, count, deadline);
}

bool vio_front_tell(struct vio_vhost_front *f, uint32_t request, const void *payload, uint32_t size, const int *fds,
    unsigned count)
{
	uint64_t deadline = vio_front_now() + f->o.patience_ns;
	bool ack = vio_front_uses(f, VIO_VHOST_F_REPLY_ACK);
	struct vio_vhost_message m;

	if (!front_request(f, request, ack ? VIO_VHOST_NEED_REPLY : 0, payload, size, fds, count, deadline))
		return false;
	if (!ack)
		return true;
	bool ok = front_await(f, &m, request, sizeof m.payload.u64, sizeof m.payload.u64, deadline);
	if (ok && m.payload.u64) {
		snprintf(f->why, sizeof f->why, "The back end refused %s.", message_name(request));
		ok = false;
	}
	vio_vhost_message_close(&m);
	return ok;
}

bool vio_front_ask(struct vio_vhost_front *f, const struct vio_front_question *q, union vio_vhost_payload *reply,
    uint32_t *got, int *fd)
{
	uint64_t deadline = vio_front_now() + (q->patience_ns ? q->patience_ns : f->o.patience_ns);
	struct vio_vhost_message m;

	if (!front_request(f, q->request, 0, q->payload, q->size, q->send_fd, q->send_fd != NULL, deadline))
		return false;
	bool ok = front_await(f, &m, q->request, q->min, q->max, deadline);
	if (ok) {
		*reply = m.payload;
		if (got)
			*got = m.header.size;
		if (fd)
			*fd = vio_vhost_take_fd(&m, 0);
	}
	vio_vhost_message_close(&m);
	return ok;
}

bool vio_front_tell_u64(struct vio_vhost_front *f, uint32_t request, uint64_t v)
{
	return vio_front_tell(f, request, &v, sizeof v, NULL, 0);
}

bool vio_front_ask_u64(struct vio_vhost_front *f, uint32_t request, uint64_t *v)
{
	union vio_vhost_payload p;
	const struct vio_front_question q = { .request = request, .min = sizeof p.u64, .max = sizeof p.u64 };
	if (!vio_front_ask(f, &q, &p, NULL, NULL))
		return false;
	*v = p.u64;
	return true;
}

/* IOMMU misses are answered with the page around the address: device addresses stand for themselves, uva does not. */
static bool front_translate(struct vio_vhost_front *f, const struct vio_vhost_iotlb *miss)
{
	const struct vio_front_region *r = vio_front_region(f, miss->iova);
	struct vio_vhost_iotlb t = { .perm = VIO_MEM_RW, .type = VIO_IOTLB_UPDATE };
	bool ack = vio_front_uses(f, VIO_VHOST_F_REPLY_ACK);

	if (miss->type != VIO_IOTLB_MISS || !r)
		return false;
	uint64_t at = miss->iova - r->gpa;
	at -= at % VIO_DIRTY_PAGE;
	t.iova = r->gpa + at;
	t.uva = (uint64_t)(uintptr_t)r->host + at;
	t.size = r->size - at < VIO_DIRTY_PAGE ? r->size - at : VIO_DIRTY_PAGE;
	if (!front_request(f, VIO_MSG_IOTLB_MSG, ack ? VIO_VHOST_NEED_REPLY : 0, &t, sizeof t, NULL, 0,
	    vio_front_now() + f->o.patience_ns))
		return false;
	f->translations++;
	return true;
}

/* False: the back end is told that it failed. */
static bool front_serve(struct vio_vhost_front *f, const struct vio_vhost_message *m)
{
	const union vio_vhost_payload *p = &m->payload;
	uint32_t size = m->header.size;

	switch (m->header.request) {
	case VIO_MSG_BACKEND_CONFIG_CHANGE:
		f->config_changed = true;
		return size == 0;
	case VIO_MSG_BACKEND_IOTLB_MSG:
		return size == sizeof p->iotlb && vio_front_took(f, VIO_F_ACCESS_PLATFORM) && front_translate(f, &p->iotlb);
	case VIO_MSG_BACKEND_VRING_CALL:
	case VIO_MSG_BACKEND_VRING_ERR:
		if (size != sizeof p->state || p->state.index >= VIO_FRONT_QUEUES
		    || !vio_front_uses(f, VIO_VHOST_F_INBAND_NOTIFICATIONS))
			return false;
		if (m->header.request == VIO_MSG_BACKEND_VRING_CALL)
			f->queue[p->state.index].called = true;
		else
			f->needs_reset = true;
		return true;
	default:
		return false;
	}
}

static void front_serve_channel(struct vio_vhost_front *f)
{
	const char *why;
	for (unsigned budget = 64; budget && f->channel >= 0; budget--) {
		switch (vio_vhost_receive(f->channel, &f->in, false, &why)) {
		case VIO_GOT_PART:
			return;
		case VIO_GOT_END:	/* of the channel alone; the connection is told by its own socket */
			vio_front_hang_up(f, &f->channel);
			vio_vhost_message_close(&f->in);
			return;
		case VIO_GOT_NONSENSE:
			vio_front_fail(f, "A request of the back end is nonsense: %s.", why);
			return;
		case VIO_GOT_ALL:
			break;
		}
		struct vio_vhost_header h = f->in.header;
		uint64_t result = !front_serve(f, &f->in);
		vio_vhost_message_close(&f->in);
		if (!(h.flags & VIO_VHOST_NEED_REPLY) || f->broken)
			continue;
		h.flags = VIO_VHOST_VERSION | VIO_VHOST_REPLY;
		h.size = sizeof result;
		front_send(f, f->channel, &h, &result, NULL, 0, vio_front_now() + f->o.patience_ns);
	}
}

/* Nothing is expected on the main socket but acknowledgements of translations and its end. */
static void front_look_at_socket(struct vio_vhost_front *f)
{
	struct vio_vhost_message m;
	char byte;
	ssize_t n = recv(f->sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		vio_front_fail(f, "The back end closed the connection.");
		return;
	}
	vio_vhost_message_init(&m);
	if (!f->translations)
		vio_front_fail(f, "The back end sent something unasked.");
	else if (front_reply(f, &m, vio_front_now() + f->o.patience_ns, message_name(VIO_MSG_IOTLB_MSG))) {
		if (m.header.request != VIO_MSG_IOTLB_MSG)
			vio_front_fail(f, "The back end sent a reply to %s unasked.", message_name(m.header.request));
		else
			front_translation_done(f, &m);
	}
	vio_vhost_message_close(&m);
}

unsigned vio_vhost_look_fds(const struct vio_vhost_front *f, int fds[VIO_VHOST_LOOK_FDS])
{
	unsigned n = 0;
	if (f->sock >= 0)
		fds[n++] = f->sock;
	if (f->channel >= 0)
		fds[n++] = f->channel;
	if (f->error >= 0)
		fds[n++] = f->error;
	return n;
}

bool vio_vhost_look(struct vio_vhost_front *f)
{
	struct pollfd p[3] = { { .fd = f->sock, .events = POLLIN }, { .fd = f->channel, .events = POLLIN },
		{ .fd = f->error, .events = POLLIN } };
	uint64_t times;

	if (f->broken || poll(p, 3, 0) <= 0)
		return !f->broken;
	if (p[1].revents)
		front_serve_channel(f);
	if (p[2].revents && read(f->error, &times, sizeof times) == sizeof times)
		f->needs_reset = true;
	if (p[0].revents && !f->broken)
		front_look_at_socket(f);
	return !f->broken;
}
