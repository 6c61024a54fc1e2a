#include <vio/vhost/wire.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

const struct vio_vhost_message_type vio_vhost_message_types[VIO_MSG_LIMIT] = {
#define VIO_MESSAGE(name_, id, payload_, min, max, fmin, fmax, needs_, reply_, allowed_, quiets_) \
	[id] = { .name = #name_, .needs_name = #needs_, .size_min = min, .size_max = max, .fds_min = fmin, .fds_max = fmax, \
	    .payload = VIO_PAYLOAD_##payload_, .reply = VIO_REPLY_##reply_, .allowed = VIO_ALLOWED_##allowed_, \
	    .quiets = VIO_QUIETS_##quiets_, .needs = VIO_VHOST_F_##needs_ },
#include <vio/vhost/messages.def>
};

enum { HEADER = sizeof(struct vio_vhost_header) };

/* ---- Descriptors ---- */

void vio_vhost_message_close(struct vio_vhost_message *m)
{
	for (unsigned i = 0; i < m->fds; i++)
		if (m->fd[i] >= 0)
			close(m->fd[i]);
	vio_vhost_message_init(m);
}

int vio_vhost_take_fd(struct vio_vhost_message *m, unsigned i)
{
	if (i >= m->fds)
		return -1;
	int fd = m->fd[i];
	m->fd[i] = -1;
	return fd;
}

static void keep_fds(struct vio_vhost_message *m, struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
			if (m->fds < VIO_VHOST_FDS) {
				m->fd[m->fds++] = fd;
			} else {
				close(fd);
				m->fds_lost = true;
			}
		}
	}
	if (h->msg_flags & MSG_CTRUNC)	/* there was no room for all of them: the kernel has closed the others */
		m->fds_lost = true;
}

/* ---- Receiving ---- */

/* At most n bytes, with what descriptors come along; as recv(). */
static ssize_t receive(int sock, struct vio_vhost_message *m, void *to, size_t n)
{
	union { struct cmsghdr align; char room[CMSG_SPACE(VIO_VHOST_FDS * sizeof(int))]; } control;
	struct iovec bytes = { to, n };
	struct msghdr h = { .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t got;

	do
		got = recvmsg(sock, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got >= 0)
		keep_fds(m, &h);
	return got;
}

static const char *check_header(const struct vio_vhost_header *h, bool replies)
{
	if ((h->flags & VIO_VHOST_VERSION_MASK) != VIO_VHOST_VERSION)
		return "the message is not of version 1 of the protocol";
	if (!replies && h->flags & VIO_VHOST_REPLY)
		return "the message is a reply to something that was not asked";
	if (replies && !(h->flags & VIO_VHOST_REPLY))
		return "the message is a request where a reply was due";
	if (h->size > sizeof(union vio_vhost_payload))
		return "the message is longer than any";
	return NULL;
}

enum vio_vhost_got vio_vhost_receive(int sock, struct vio_vhost_message *m, bool replies, const char **why)
{
	for (;;) {
		uint32_t end = m->have < HEADER ? HEADER : HEADER + m->header.size;
		if (m->have == end)
			return VIO_GOT_ALL;
		char *to = m->have < HEADER ? (char *)&m->header + m->have : (char *)&m->payload + (m->have - HEADER);
		ssize_t got = receive(sock, m, to, end - m->have);
		if (got < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? VIO_GOT_PART : VIO_GOT_END;
		if (got == 0)
			return VIO_GOT_END;
		m->have += (uint32_t)got;
		if (m->have == HEADER && (*why = check_header(&m->header, replies)))
			return VIO_GOT_NONSENSE;
	}
}

/* ---- Checking ---- */

const char *vio_vhost_check(const struct vio_vhost_message *m, uint64_t protocol_features)
{
	if (m->header.request >= VIO_MSG_LIMIT || !vio_vhost_message_types[m->header.request].name)
		return "there is no such message";
	const struct vio_vhost_message_type *t = &vio_vhost_message_types[m->header.request];
	if (t->needs != VIO_VHOST_F_NONE && !(protocol_features >> t->needs & 1))
		return "it needs a protocol feature that was not negotiated";
	if (m->header.size < t->size_min || m->header.size > t->size_max)
		return "it has the wrong size";
	if (m->fds_lost)
		return "it carries more descriptors than a message may";
	if (m->fds < t->fds_min || m->fds > t->fds_max)
		return m->fds < t->fds_min ? "it lacks a descriptor" : "it carries descriptors that it should not";
	return NULL;
}

/* ---- Sending ---- */

void vio_vhost_put(struct vio_vhost_out *o, uint32_t request, uint32_t flags, const void *payload, uint32_t size, int fd)
{
	struct vio_vhost_header h = { request, VIO_VHOST_VERSION | flags, size };

	memcpy(o->bytes, &h, HEADER);
	if (size)
		memcpy(o->bytes + HEADER, payload, size);
	o->at = 0;
	o->len = HEADER + size;
	o->fd = fd;
}

bool vio_vhost_send(int sock, struct vio_vhost_out *o)
{
	while (o->at < o->len) {
		union { struct cmsghdr align; char room[CMSG_SPACE(sizeof(int))]; } control;
		struct iovec bytes = { o->bytes + o->at, o->len - o->at };
		struct msghdr h = { .msg_iov = &bytes, .msg_iovlen = 1 };
		if (o->fd >= 0) {
			memset(&control, 0, sizeof control);
			h.msg_control = &control;
			h.msg_controllen = sizeof control;
			struct cmsghdr *c = CMSG_FIRSTHDR(&h);
			*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
			memcpy(CMSG_DATA(c), &o->fd, sizeof(int));
		}
		ssize_t sent = sendmsg(sock, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK;
		o->at += (uint32_t)sent;
		o->fd = -1;
	}
	return true;
}
