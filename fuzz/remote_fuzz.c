/*
 * A hostile vhost-user back end: a remote device is connected, driven and reset while each answer is anything at all, with
 * descriptors, cut short, unasked, or missing.  A reset always ends, and no descriptor is left.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vio/backend/pages.h>
#include <vio/transport/loop.h>
#include <vio/vhost/remote.h>
#include <vio/vhost/wire.h>
#include "feed.h"

enum { MEMORY = 1 << 16, PATIENCE_US = 3000, ANSWERS = 200 };
#define GPA UINT64_C(0x10000)
#define BIT(n) (UINT64_C(1) << (n))

/* ---- The back end, in a thread ---- */

struct back { struct feed f; int sock, channel; };

static void say(int fd, const void *bytes, size_t n, int with)
{
	union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control = { .room = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)bytes, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (with >= 0) {
		m.msg_control = control.room;
		m.msg_controllen = sizeof control.room;
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &with, sizeof with);
	}
	(void)!sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

struct answer { struct vio_vhost_header h; unsigned char payload[sizeof(union vio_vhost_payload)]; };

/* What a good one says. */
static bool good(struct back *b, struct vio_vhost_message *m, struct answer *a)
{
	uint64_t v = 0;

	*a = (struct answer){ .h = { m->header.request, VIO_VHOST_VERSION | VIO_VHOST_REPLY, 8 } };
	switch (m->header.request) {
	case VIO_MSG_GET_FEATURES:
		v = BIT(VIO_F_VERSION_1) | BIT(VIO_F_RING_PACKED) | BIT(VIO_VHOST_PROTOCOL_FEATURES) | BIT(VIO_VHOST_LOG_ALL);
		break;
	case VIO_MSG_GET_PROTOCOL_FEATURES:
		v = BIT(VIO_VHOST_F_MQ) | BIT(VIO_VHOST_F_LOG_SHMFD) | BIT(VIO_VHOST_F_REPLY_ACK) | BIT(VIO_VHOST_F_BACKEND_REQ)
		    | BIT(VIO_VHOST_F_CONFIG) | BIT(VIO_VHOST_F_INFLIGHT_SHMFD) | BIT(VIO_VHOST_F_CONFIGURE_MEM_SLOTS);
		break;
	case VIO_MSG_GET_QUEUE_NUM:
	case VIO_MSG_GET_MAX_MEM_SLOTS:
		v = 2;
		break;
	case VIO_MSG_GET_CONFIG:
	case VIO_MSG_GET_VRING_BASE:
	case VIO_MSG_GET_INFLIGHT_FD:
		a->h.size = m->header.size;
		memcpy(a->payload, &m->payload, m->header.size);
		return true;
	case VIO_MSG_SET_BACKEND_REQ_FD:
		if (b->channel < 0)
			b->channel = vio_vhost_take_fd(m, 0);
		break;
	default:
		break;
	}
	memcpy(a->payload, &v, sizeof v);
	return m->header.flags & VIO_VHOST_NEED_REPLY || m->header.request == VIO_MSG_SET_LOG_BASE || v;
}

static void respond(struct back *b, struct vio_vhost_message *m)
{
	uint8_t how = (uint8_t)take(&b->f, 1), request = (uint8_t)m->header.request;
	struct answer a;
	bool answers = good(b, m, &a);
	int with = -1;

	if (m->header.request == VIO_MSG_GET_INFLIGHT_FD || how & 0x10) {
		with = memfd_create("answer", MFD_CLOEXEC);
		(void)!ftruncate(with, 1 << 12);
	}
	if (how & 0x20)
		take_bytes(&b->f, a.payload, sizeof a.payload < 24 ? sizeof a.payload : 24);
	if ((how & 0xc0) == 0x40)
		a.h.size = (uint32_t)take(&b->f, how & 1 ? 4 : 1);
	if ((how & 0xc0) == 0x80)
		a.h.request = how & 1 ? (uint32_t)take(&b->f, 1) : request;
	if ((how & 0xc0) == 0xc0 && b->channel >= 0) {		/* unasked, by the other socket */
		struct answer c = { .h = { how & 7, VIO_VHOST_VERSION | (how & 8), (uint32_t)take(&b->f, 1) % 40 } };
		take_bytes(&b->f, c.payload, 16);
		say(b->channel, &c, sizeof c.h + c.h.size, -1);
	}
	if ((how & 0xe7) == 0x87)
		shutdown(b->sock, SHUT_RDWR);
	if (answers || how == 0x9f)
		say(b->sock, &a, sizeof a.h + (a.h.size < sizeof a.payload ? a.h.size : sizeof a.payload), with);
	if (with >= 0)
		close(with);
}

static void *serve(void *arg)
{
	struct back *b = arg;
	struct vio_vhost_message m;
	const char *why;

	vio_vhost_message_init(&m);
	for (unsigned n = 0; n < ANSWERS; ) {
		struct pollfd p = { .fd = b->sock, .events = POLLIN };
		if (poll(&p, 1, -1) < 0)
			continue;
		enum vio_vhost_got got = vio_vhost_receive(b->sock, &m, false, &why);
		if (got == VIO_GOT_PART)
			continue;
		if (got != VIO_GOT_ALL)
			break;
		respond(b, &m);
		vio_vhost_message_close(&m);
		n++;
	}
	vio_vhost_message_close(&m);
	if (b->channel >= 0)
		close(b->channel);
	close(b->sock);
	return NULL;
}

/* ---- The machine ---- */

static void *queue_alloc(size_t n) { return calloc(1, n); }
static void queue_free(void *p, size_t n) { (void)n; free(p); }
static void quit(void *arg) { vio_loop_quit(arg); }

static void turn(struct vio_loop *l, struct vio_loop_wire *w)
{
	struct vio_call c = { quit, l, NULL };

	vio_loop_call(l, &c);
	vio_loop_run(l);
	vio_loop_pump(w, 16);
}

/* The status that drivers write in this order, and any other. */
static void write_status(struct vio_dev *d, uint8_t how)
{
	static const uint8_t usual[] = { 1, 3, 11, 15, 31, 15, 0 };
	struct vio_features f = vio_dev_offered(d);

	if (how & 0x40)
		vio_features_drop(&f, VIO_F_RING_PACKED);
	vio_dev_set_driver_features(d, f);
	if (how & 0x80)
		vio_dev_set_status(d, how & 0x1f);
	else
		for (unsigned i = 0; i <= how % 7; i++)
			vio_dev_set_status(d, usual[i]);
}

static void operate(struct feed *f, struct vio_loop *l, struct vio_loop_wire *w, struct vio_remote *r)
{
	struct vio_dev *d = w->dev;
	uint8_t *bits, bytes[64] = { 0 };
	uint64_t n;
	char why[512];

	for (unsigned i = 0; fed(f) && i < 24; i++) {
		uint8_t how = (uint8_t)take(f, 1), queue = (uint8_t)(take(f, 1) % 3);
		switch (how % 8) {
		case 0: write_status(d, (uint8_t)take(f, 1)); break;
		case 1:
			vio_dev_queue_setup(d, queue, (uint16_t)(1u << (how >> 4)), GPA + queue * 0x4000, GPA + queue * 0x4000 + 0x2000,
			    GPA + queue * 0x4000 + 0x3000);
			vio_dev_queue_go_live(d, queue);
			break;
		case 2: vio_dev_queue_reset(d, queue); break;
		case 3: vio_dev_notified(d, queue); break;
		case 4: vio_dev_config_write(d, (uint32_t)take(f, 1), bytes, how >> 4); break;
		case 5: vio_dev_config_read(d, (uint32_t)take(f, 1), bytes, how >> 3); break;
		case 6: vio_remote_log(r, how & 0x80, &bits, &n, why); break;
		default: turn(l, w); break;
		}
	}
}

static void live(struct feed *f, int fd, struct vio_mem *mem)
{
	struct vio_loop *l = vio_loop_new();
	struct vio_loop_wire w = { .alloc = queue_alloc, .free = queue_free };
	uint8_t how = (uint8_t)take(f, 1);
	const struct vio_dev_type *like = vio_dev_types[how % 9];
	static const uint8_t config[64];
	struct vio_remote_options o = { .like = like, .fd = fd, .loop = l, .patience_ns = PATIENCE_US * UINT64_C(1000), .reconnect = how & 0x10,
		.config = how & 0x20 ? config : NULL, .config_bytes = sizeof config, .protocol_without = how & 0x40 ? BIT(VIO_VHOST_F_REPLY_ACK) : 0 };
	char why[512];
	struct vio_remote *r = vio_remote_connect(&o, why);

	if (r) {
		const struct vio_dev_type *type = vio_remote_type(r);
		struct vio_dev *d = calloc(1, type->instance);
		if (!vio_dev_open(d, type, r, &vio_loop_port, &w, vio_loop_features())) {
			vio_loop_connect(&w, d, (struct vio_platform){ NULL, NULL });
			vio_dev_set_mem(d, mem);
			operate(f, l, &w, r);
			vio_dev_set_status(d, 0);
			if (vio_dev_status(d))
				abort();	/* a reset that does not end */
			turn(l, &w);
			vio_dev_close(d);
		}
		free(d);
	}
	vio_remote_free(r);
	vio_loop_free(l);
}

static int next_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vio_backing backing;
	static struct vio_region region;
	static struct vio_mem mem;
	pthread_t thread;
	int pair[2];

	if (!region.host) {
		backing = (struct vio_backing){ .fd = memfd_create("guest", MFD_CLOEXEC), .page = 4096 };
		region = (struct vio_region){ .gpa = GPA, .size = MEMORY, .perm = VIO_MEM_RW, .backing = &backing };
		if (ftruncate(backing.fd, MEMORY))
			abort();
		region.host = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, backing.fd, 0);
		mem = (struct vio_mem){ .region = &region, .count = 1, .refs = 1 };
	}
	int before = next_fd();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		abort();
	struct feed mine = { data, data + size / 3 };
	struct back b = { .f = { data + size / 3, data + size }, .sock = pair[1], .channel = -1 };
	if (pthread_create(&thread, NULL, serve, &b))
		abort();
	live(&mine, pair[0], &mem);
	pthread_join(thread, NULL);
	if (next_fd() != before)
		abort();		/* a descriptor is left */
	return 0;
}
