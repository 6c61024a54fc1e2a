/*
 * A back end that does what is asked of it, but for one message, which it answers wrongly in one way: a thread at the other end
 * of a socket.
 */
#ifndef VIO_TESTS_VHOST_LIAR_H
#define VIO_TESTS_VHOST_LIAR_H
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vio/spec/feature.h>
#include <vio/vhost/wire.h>

#define BIT(n) (UINT64_C(1) << (n))

enum wrong {
	NOTHING_WRONG,
	CLOSES,			/* instead of answering */
	IS_SILENT,
	OTHER_REQUEST,		/* the reply is to something else */
	NO_REPLY_FLAG,
	WRONG_VERSION,
	TOO_LONG,		/* 4 GiB less one byte announced */
	LONGER,			/* by one byte */
	SHORTER,
	HALF_HEADER,		/* then silence */
	HALF_PAYLOAD,		/* then closes */
	MANY_FDS,		/* the right reply with 8 descriptors */
	SAYS_NO,		/* acknowledgement 1; an answer that is none */
	VALUE,			/* the right reply with another value */
	TWICE,			/* the right reply two times */
	CHANNEL_NONSENSE,	/* bytes over the channel, then the right reply */
	CHANNEL_TOO_LONG,
	CHANNEL_FLOOD,		/* many requests, one cut in two; then the right reply */
	CHANNEL_MISS		/* a translation that nobody negotiated */
};

struct back {
	int sock, channel;
	uint32_t at;			/* the message it goes wrong at */
	enum wrong wrong;
	uint64_t value;
	unsigned floods_answered;
	pthread_t thread;
};

static void liar_say(int fd, const void *bytes, size_t n, const int *fds, unsigned count)
{
	union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int) * VIO_VHOST_FDS)]; } control = { .room = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)bytes, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count) {
		m.msg_control = control.room;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int) * count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
	}
	(void)!sendmsg(fd, &m, MSG_NOSIGNAL);
}

struct answer { struct vio_vhost_header h; unsigned char payload[sizeof(union vio_vhost_payload)]; int fd; };

/* What a good back end answers.  False: nothing. */
static bool good_answer(struct back *b, struct vio_vhost_message *m, struct answer *a)
{
	uint64_t v = 0;
	uint32_t size = sizeof v;
	const void *payload = &v;
	bool answers = true;

	switch (m->header.request) {
	case VIO_MSG_GET_FEATURES:
		v = BIT(VIO_F_VERSION_1) | BIT(VIO_VHOST_PROTOCOL_FEATURES) | BIT(VIO_VHOST_LOG_ALL);
		break;
	case VIO_MSG_GET_PROTOCOL_FEATURES:
		v = BIT(VIO_VHOST_F_MQ) | BIT(VIO_VHOST_F_LOG_SHMFD) | BIT(VIO_VHOST_F_REPLY_ACK) | BIT(VIO_VHOST_F_BACKEND_REQ)
		    | BIT(VIO_VHOST_F_CONFIG) | BIT(VIO_VHOST_F_INFLIGHT_SHMFD) | BIT(VIO_VHOST_F_CONFIGURE_MEM_SLOTS);
		break;
	case VIO_MSG_GET_QUEUE_NUM:
		v = 1;
		break;
	case VIO_MSG_GET_MAX_MEM_SLOTS:
		v = 8;
		break;
	case VIO_MSG_GET_CONFIG:
	case VIO_MSG_GET_VRING_BASE:
		payload = &m->payload;
		size = m->header.size;
		break;
	case VIO_MSG_GET_INFLIGHT_FD:
		m->payload.inflight.size = 4096;
		m->payload.inflight.offset = 0;
		payload = &m->payload;
		size = m->header.size;
		a->fd = memfd_create("inflight", MFD_CLOEXEC);
		(void)!ftruncate(a->fd, 4096);
		break;
	case VIO_MSG_SET_LOG_BASE:
		break;
	case VIO_MSG_SET_BACKEND_REQ_FD:
		b->channel = vio_vhost_take_fd(m, 0);
		/* fall through */
	default:
		answers = m->header.flags & VIO_VHOST_NEED_REPLY;
	}
	a->h = (struct vio_vhost_header){ m->header.request, VIO_VHOST_VERSION | VIO_VHOST_REPLY, size };
	memcpy(a->payload, payload, size);
	return answers;
}

static void flood(struct back *b)
{
	struct vio_vhost_header h = { VIO_MSG_BACKEND_CONFIG_CHANGE, VIO_VHOST_VERSION | VIO_VHOST_NEED_REPLY, 0 };
	for (unsigned i = 0; i < 100; i++) {
		struct vio_vhost_message m;
		const char *why;
		vio_vhost_message_init(&m);
		liar_say(b->channel, &h, 5, NULL, 0);
		liar_say(b->channel, (char *)&h + 5, sizeof h - 5, NULL, 0);
		struct pollfd p = { .fd = b->channel, .events = POLLIN };
		if (poll(&p, 1, 2000) == 1 && vio_vhost_receive(b->channel, &m, true, &why) == VIO_GOT_ALL && m.payload.u64 == 0)
			b->floods_answered++;
	}
}

static void channel_request(struct back *b, uint32_t request, uint32_t flags, uint32_t size)
{
	struct { struct vio_vhost_header h; char payload[32]; } m = { .h = { request, flags, size } };
	liar_say(b->channel, &m, sizeof m.h + (size < 32 ? size : 32), NULL, 0);
}

static void go_wrong(struct back *b, struct answer *a)
{
	size_t n = sizeof a->h + a->h.size;
	int fds[VIO_VHOST_FDS];
	unsigned count = 0;

	switch (b->wrong) {
	case CLOSES: shutdown(b->sock, SHUT_RDWR); return;
	case IS_SILENT: return;
	case OTHER_REQUEST: a->h.request++; break;
	case NO_REPLY_FLAG: a->h.flags = VIO_VHOST_VERSION; break;
	case WRONG_VERSION: a->h.flags = VIO_VHOST_REPLY | 2; break;
	case TOO_LONG: a->h.size = UINT32_MAX; break;
	case LONGER: a->h.size++; n++; break;
	case SHORTER: a->h.size--; n--; break;
	case HALF_HEADER: n = 6; break;
	case HALF_PAYLOAD:
		liar_say(b->sock, a, n - 1, NULL, 0);
		shutdown(b->sock, SHUT_RDWR);
		return;
	case MANY_FDS:
		for (; count < VIO_VHOST_FDS; count++)
			fds[count] = b->sock;
		break;
	case SAYS_NO:
		if (a->h.request == VIO_MSG_GET_CONFIG) {
			n = sizeof a->h;
			a->h.size = 0;
		} else {
			a->payload[0] = 1;
		}
		break;
	case VALUE: memcpy(a->payload, &b->value, sizeof b->value); break;
	case TWICE: liar_say(b->sock, a, n, NULL, 0); break;
	case CHANNEL_NONSENSE: channel_request(b, 77, 0xffffffff, 8); break;
	case CHANNEL_TOO_LONG: channel_request(b, VIO_MSG_BACKEND_CONFIG_CHANGE, VIO_VHOST_VERSION, 1 << 30); break;
	case CHANNEL_FLOOD: flood(b); break;
	case CHANNEL_MISS: channel_request(b, VIO_MSG_BACKEND_IOTLB_MSG, VIO_VHOST_VERSION, 32); break;
	case NOTHING_WRONG: break;
	}
	if (a->fd >= 0 && count < VIO_VHOST_FDS)
		fds[count++] = a->fd;
	liar_say(b->sock, a, n, fds, count);
}

static void *back_end(void *arg)
{
	struct back *b = arg;
	struct vio_vhost_message m;
	const char *why;

	vio_vhost_message_init(&m);
	for (;;) {
		struct pollfd p = { .fd = b->sock, .events = POLLIN };
		if (poll(&p, 1, -1) < 0)
			continue;
		enum vio_vhost_got got = vio_vhost_receive(b->sock, &m, false, &why);
		if (got == VIO_GOT_PART)
			continue;
		if (got != VIO_GOT_ALL)
			break;
		struct answer a = { .fd = -1 };
		if (good_answer(b, &m, &a)) {
			if (m.header.request == b->at)
				go_wrong(b, &a);
			else
				liar_say(b->sock, &a, sizeof a.h + a.h.size, &a.fd, a.fd >= 0);
		}
		if (a.fd >= 0)
			close(a.fd);
		vio_vhost_message_close(&m);
	}
	vio_vhost_message_close(&m);
	if (b->channel >= 0)
		close(b->channel);
	close(b->sock);
	return NULL;
}
#endif
