#include "raw.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stdout, "Bail out! %s: %s\n", what, strerror(errno));
	fflush(stdout);
	abort();
}

/* ---- A disk that holds requests back; those that are let go must be of queues of the home loop ---- */

struct held_disk {
	struct vio_disk disk;
	uint8_t *bytes;
	pthread_mutex_t lock;		/* of what follows */
	bool hold, can_cancel;
	struct vio_disk_io *first, **last;
	uint32_t held;			/* atomic: read by the test's thread */
};
struct held_chan { struct vio_disk_chan chan; struct held_disk *disk; };

static void held_serve(struct held_disk *d, struct vio_disk_io *io)
{
	int error = 0;

	if (io->offset > d->disk.size || io->length > d->disk.size - io->offset)
		error = EIO;
	else if (io->op == VIO_DISK_READ)
		vio_cur_put(&io->bytes, d->bytes + io->offset, io->length);
	else if (io->op == VIO_DISK_WRITE)
		vio_cur_get(&io->bytes, d->bytes + io->offset, io->length);
	io->done(io, error);
}

static void held_submit(struct vio_disk_chan *c, struct vio_disk_io *io)
{
	struct held_disk *d = ((struct held_chan *)c)->disk;

	pthread_mutex_lock(&d->lock);
	bool hold = d->hold;
	if (hold) {
		io->next = NULL;
		*d->last = io;
		d->last = &io->next;
		__atomic_fetch_add(&d->held, 1, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&d->lock);
	if (!hold)
		held_serve(d, io);
}

static void held_cancel(struct vio_disk_chan *c, struct vio_disk_io *io)
{
	struct held_disk *d = ((struct held_chan *)c)->disk;
	bool found = false;

	pthread_mutex_lock(&d->lock);
	for (struct vio_disk_io **p = &d->first; d->can_cancel && *p && !found; p = &(*p)->next)
		if (*p == io) {
			*p = io->next;
			if (!*p)
				d->last = p;
			__atomic_fetch_sub(&d->held, 1, __ATOMIC_SEQ_CST);
			found = true;
			break;
		}
	pthread_mutex_unlock(&d->lock);
	if (found)
		io->done(io, ECANCELED);
}

static void held_close(struct vio_disk_chan *c) { free(c); }
static const struct vio_disk_chan_ops held_chan_ops = { .submit = held_submit, .cancel = held_cancel, .close = held_close };

static struct vio_disk_chan *held_channel(struct vio_disk *disk, unsigned queue)
{
	struct held_chan *c = calloc(1, sizeof *c);
	(void)queue;
	*c = (struct held_chan){ { &held_chan_ops }, (struct held_disk *)disk };
	return &c->chan;
}

static void held_free(struct vio_disk *disk) { free(disk); }
static const struct vio_disk_ops held_ops = { held_channel, held_free };

static struct held_disk *held_open(uint8_t *bytes)
{
	struct held_disk *d = calloc(1, sizeof *d);
	d->disk = (struct vio_disk){ .ops = &held_ops, .size = RIG_DISK, .logical_block = 512 };
	d->bytes = bytes;
	d->last = &d->first;
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

struct hold { struct held_disk *d; bool hold, can_cancel; };

static void set_hold(void *arg)
{
	struct hold *h = arg;
	struct held_disk *d = h->d;
	struct vio_disk_io *go = NULL;

	pthread_mutex_lock(&d->lock);
	d->hold = h->hold;
	d->can_cancel = h->can_cancel;
	if (!d->hold) {
		go = d->first;
		d->first = NULL;
		d->last = &d->first;
		__atomic_store_n(&d->held, 0, __ATOMIC_SEQ_CST);
	}
	pthread_mutex_unlock(&d->lock);
	while (go) {
		struct vio_disk_io *io = go;
		go = io->next;
		held_serve(d, io);
	}
}

void rig_hold(struct rig *r, bool hold, bool can_cancel)
{
	struct hold h = { r->disk, hold, can_cancel };
	rig_call(r, set_hold, &h);
}

unsigned rig_held(struct rig *r) { return __atomic_load_n(&r->disk->held, __ATOMIC_SEQ_CST); }

struct peek { struct rig *r; uint64_t at; void *to; size_t n; };

static void peek(void *arg)
{
	struct peek *p = arg;
	memcpy(p->to, p->r->bytes + p->at, p->n);
}

void rig_peek(struct rig *r, uint64_t at, void *to, size_t n)
{
	struct peek p = { r, at, to, n };
	rig_call(r, peek, &p);
}

struct resize { struct held_disk *d; uint64_t bytes; };

static void resize(void *arg)
{
	struct resize *z = arg;
	z->d->disk.size = z->bytes;
	if (z->d->disk.resized)
		z->d->disk.resized(z->d->disk.resized_arg);
}

void rig_resize(struct rig *r, uint64_t bytes)
{
	struct resize z = { r->disk, bytes };
	rig_call(r, resize, &z);
}

/* ---- The daemon ---- */

struct sync_call { struct vio_call call; void (*fn)(void *); void *arg; sem_t done; };

static void run_sync(void *arg)
{
	struct sync_call *c = arg;
	c->fn(c->arg);
	sem_post(&c->done);
}

void rig_call(struct rig *r, void (*fn)(void *), void *arg)
{
	struct sync_call c = { .call = { .fn = run_sync }, .fn = fn, .arg = arg };
	c.call.arg = &c;
	sem_init(&c.done, 0, 0);
	vio_loop_call(r->loop[0], &c.call);
	while (sem_wait(&c.done))
		;
	sem_destroy(&c.done);
}

unsigned open_fds(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");

	must(d, "/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int listen_somewhere(void)
{
	struct sockaddr_un any = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(fd >= 0 && !bind(fd, (struct sockaddr *)&any, sizeof any.sun_family) && !listen(fd, 8), "listen");
	return fd;
}

static void once_ended(void *arg)
{
	struct rig *r = arg;
	__atomic_store_n(&r->ended, 1, __ATOMIC_SEQ_CST);
}

static void start(void *arg)
{
	struct rig *r = arg;
	char why[512] = "";
	struct vio_blk_options blk = { .disk = &r->disk->disk, .queues = r->o.queues, .queue_size = 128, .serial = "raw" };
	struct vio_features wire = vio_vhost_features();

	if (r->o.iommu)
		vio_features_add(&wire, VIO_F_ACCESS_PLATFORM);
	const char *bad = vio_dev_open(r->dev, &vio_dev_blk, &blk, &vio_vhost_port, NULL, wire);
	must(!bad, bad ? bad : "");
	int pair[2] = { -1, -1 };
	if (r->o.connected)
		must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
	r->connected = pair[0];
	struct vio_vhost_options o = { .dev = r->dev, .listen_fd = r->listen_fd, .connected_fd = pair[1], .once = r->o.once,
		.loops = r->loop, .loop_count = r->o.loops, .stop_deadline_ns = r->o.stop_deadline_ns, .ended = once_ended,
		.arg = r, .name = "raw" };
	r->server = vio_vhost_serve(&o, why);
	must(r->server, why);
	if (r->o.poll_ns)
		vio_loop_poll_time(r->loop[0], r->o.poll_ns);
}

void rig_start(struct rig *r, struct rig_options o)
{
	*r = (struct rig){ .o = o };
	if (!r->o.queues)
		r->o.queues = 2;
	if (!r->o.loops)
		r->o.loops = 1;
	r->bytes = calloc(1, RIG_DISK);
	r->disk = held_open(r->bytes);
	r->dev = calloc(1, vio_dev_blk.instance);
	r->listen_fd = o.connected ? -1 : listen_somewhere();
	for (unsigned i = 0; i < r->o.loops; i++) {
		r->thread[i] = vio_thread_start("rig");
		must(r->thread[i], "thread");
		r->loop[i] = vio_thread_loop(r->thread[i]);
	}
	rig_call(r, start, r);
	r->fds = open_fds();
}

struct stopping { struct rig *r; sem_t done; };

static void stopped(void *arg) { sem_post(&((struct stopping *)arg)->done); }
static void stop(void *arg) { vio_vhost_stop(((struct stopping *)arg)->r->server, stopped, arg); }
static void release(void *arg)
{
	struct rig *r = arg;
	vio_vhost_free(r->server);
	vio_dev_close(r->dev);
}

void rig_stop(struct rig *r)
{
	struct stopping s = { .r = r };

	sem_init(&s.done, 0, 0);
	rig_call(r, stop, &s);
	while (sem_wait(&s.done))
		;
	sem_destroy(&s.done);
	rig_call(r, release, r);
	for (unsigned i = r->o.loops; i-- > 0;)	/* home last: the others may still be leaving a call to it */
		vio_thread_stop(r->thread[i]);
	r->disk->disk.ops->close(&r->disk->disk);
	free(r->dev);
	free(r->bytes);
}

int rig_connect(struct rig *r)
{
	if (r->o.connected)
		return r->connected;
	struct sockaddr_un a;
	socklen_t n = sizeof a;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(fd >= 0 && !getsockname(r->listen_fd, (struct sockaddr *)&a, &n) && !connect(fd, (struct sockaddr *)&a, n), "connect");
	return fd;
}

struct idle { struct rig *r; bool idle; };
static void is_idle(void *arg)
{
	struct idle *i = arg;
	i->idle = !vio_vhost_connected(i->r->server);
}

void rig_settles(struct rig *r)
{
	struct idle i = { .r = r };
	for (int ms = 0; ms < PATIENCE_MS; ms++) {
		rig_call(r, is_idle, &i);
		if (i.idle)
			return;
		poll(NULL, 0, 1);
	}
	must(false, "the daemon does not let go of its front end");
}

/* ---- Words ---- */

static int words_read = -1;
static char words[1 << 16];
static size_t words_len;

void words_begin(void)
{
	if (words_read < 0) {
		int p[2];
		must(!pipe2(p, O_CLOEXEC | O_NONBLOCK), "pipe");
		words_read = p[0];
		fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
		dup2(p[1], STDERR_FILENO);
		close(p[1]);
	}
	char rest[4096];
	while (read(words_read, rest, sizeof rest) > 0)
		;
	words_len = 0;
}

bool words_have(const char *part)
{
	for (int ms = 0; ms < PATIENCE_MS; ms += 10) {
		ssize_t n;
		while (words_len < sizeof words - 1 && (n = read(words_read, words + words_len, sizeof words - 1 - words_len)) > 0)
			words_len += (size_t)n;
		words[words_len] = 0;
		if (strstr(words, part))
			return true;
		struct pollfd p = { .fd = words_read, .events = POLLIN };
		poll(&p, 1, 10);
	}
	printf("# looked for \"%s\" in: %s\n", part, words);
	return false;
}

/* ---- Messages ---- */

void say_bytes(int fd, const void *bytes, size_t n, const int *fds, unsigned count)
{
	union { struct cmsghdr align; char room[CMSG_SPACE(253 * sizeof(int))]; } control;
	struct iovec iov = { (void *)(uintptr_t)bytes, n };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	while (iov.iov_len) {
		if (count) {
			memset(&control, 0, sizeof control);
			h.msg_control = &control;
			h.msg_controllen = CMSG_SPACE(count * sizeof(int));
			struct cmsghdr *c = CMSG_FIRSTHDR(&h);
			c->cmsg_level = SOL_SOCKET;
			c->cmsg_type = SCM_RIGHTS;
			c->cmsg_len = CMSG_LEN(count * sizeof(int));
			memcpy(CMSG_DATA(c), fds, count * sizeof(int));
		} else {
			h.msg_control = NULL;
			h.msg_controllen = 0;
		}
		ssize_t sent = sendmsg(fd, &h, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return;		/* it has hung up: whoever listens will hear that */
		iov.iov_base = (char *)iov.iov_base + sent;
		iov.iov_len -= (size_t)sent;
		count = 0;
	}
}

void say_flags(int fd, uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds, unsigned count)
{
	struct { struct vio_vhost_header h; uint8_t bytes[8192]; } m = { .h = { request, flags, size } };
	if (payload)
		memcpy(m.bytes, payload, size);
	say_bytes(fd, &m, sizeof m.h + size, fds, count);
}

void say(int fd, uint32_t request, const void *payload, uint32_t size, const int *fds, unsigned count)
{
	say_flags(fd, request, VIO_VHOST_VERSION, payload, size, fds, count);
}

static bool read_all(int fd, void *to, size_t n, int *got_fd, int ms, bool *timeout)
{
	for (size_t have = 0; have < n;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		if (poll(&p, 1, ms) == 0) {
			*timeout = true;
			return false;
		}
		union { struct cmsghdr align; char room[CMSG_SPACE(sizeof(int))]; } control;
		struct iovec iov = { (char *)to + have, n - have };
		struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
		ssize_t got = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
		if (got <= 0)
			return false;
		struct cmsghdr *c = CMSG_FIRSTHDR(&h);
		if (c && c->cmsg_type == SCM_RIGHTS) {
			int it;
			memcpy(&it, CMSG_DATA(c), sizeof it);
			if (got_fd)
				*got_fd = it;
			else
				close(it);
		}
		have += (size_t)got;
	}
	return true;
}

bool hear(int fd, struct vio_vhost_header *h, union vio_vhost_payload *p, int *got_fd, int ms, bool *timeout)
{
	*timeout = false;
	if (got_fd)
		*got_fd = -1;
	if (!read_all(fd, h, sizeof *h, got_fd, ms, timeout))
		return false;
	must(h->size <= sizeof *p, "an answer longer than any");
	return h->size == 0 || read_all(fd, p, h->size, got_fd, PATIENCE_MS, timeout);
}

enum verdict tell(int fd, uint32_t request, const void *payload, uint32_t size, const int *fds, unsigned count)
{
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	bool timeout;

	say_flags(fd, request, VIO_VHOST_VERSION | VIO_VHOST_NEED_REPLY, payload, size, fds, count);
	if (!hear(fd, &h, &p, NULL, PATIENCE_MS, &timeout))
		return timeout ? SILENT : CLOSED;
	if (h.request != request || h.flags != (VIO_VHOST_VERSION | VIO_VHOST_REPLY))
		return SILENT;
	const struct vio_vhost_message_type *t = request < VIO_MSG_LIMIT ? &vio_vhost_message_types[request] : NULL;
	if (request == VIO_MSG_SET_DEVICE_STATE_FD || request == VIO_MSG_CHECK_DEVICE_STATE)
		return h.size == 8 && !(p.u64 & VIO_TRANSFER_ERROR) ? ANSWERED : REFUSED;
	if (t && t->name && t->reply == VIO_REPLY_ANSWER)
		return h.size ? ANSWERED : REFUSED;
	return h.size != 8 ? SILENT : p.u64 ? REFUSED : DONE;
}

enum verdict tell_u64(int fd, uint32_t request, uint64_t v) { return tell(fd, request, &v, sizeof v, NULL, 0); }

enum verdict tell_state(int fd, uint32_t request, uint32_t index, uint32_t num)
{
	struct vio_vhost_state s = { index, num };
	return tell(fd, request, &s, sizeof s, NULL, 0);
}

enum verdict tell_fd(int fd, uint32_t request, uint64_t u64, int event)
{
	return tell(fd, request, &u64, sizeof u64, &event, event >= 0);
}

uint64_t ask_u64(int fd, uint32_t request)
{
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	bool timeout;

	say(fd, request, NULL, 0, NULL, 0);
	must(hear(fd, &h, &p, NULL, PATIENCE_MS, &timeout) && h.size == 8, "no answer");
	return p.u64;
}

uint32_t ask_base(int fd, uint32_t index)
{
	struct vio_vhost_state s = { index, 0 };
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	bool timeout;

	say(fd, VIO_MSG_GET_VRING_BASE, &s, sizeof s, NULL, 0);
	must(hear(fd, &h, &p, NULL, PATIENCE_MS, &timeout) && h.size == 8 && p.state.index == index, "no base");
	return p.state.num;
}

/* ---- A guest ---- */

void guest_memory(struct guest *g)
{
	g->size = 0x100000;
	g->memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	must(g->memfd >= 0 && !ftruncate(g->memfd, (off_t)g->size), "memfd");
	g->mem = mmap(NULL, g->size, PROT_READ | PROT_WRITE, MAP_SHARED, g->memfd, 0);
	must(g->mem != MAP_FAILED, "mmap");
}

enum verdict guest_table(struct guest *g)
{
	struct vio_vhost_mem_table t = { .count = 1, .region = { { g->gpa, g->size, g->uva, 0 } } };
	return tell(g->sock, VIO_MSG_SET_MEM_TABLE, &t, 40, &g->memfd, 1);
}

struct vio_vhost_addr guest_addr(struct guest *g, unsigned i, uint32_t flags)
{
	uint64_t at = (g->features >> VIO_F_ACCESS_PLATFORM & 1 ? g->gpa : g->uva) + ring_at(i);
	return (struct vio_vhost_addr){ i, flags, at, at + 0x1000, at + 0x800, flags ? g->gpa + ring_at(i) + 0x1000 : UINT64_MAX };
}

void guest_queue(struct guest *g, unsigned i, uint32_t base)
{
	struct guest_queue *q = &g->q[i];
	struct vio_vhost_addr a = guest_addr(g, i, 0);

	q->at = ring_at(i);
	if (g->packed) {
		q->avail = base & 0x7fff;
		q->avail_wrap = base >> 15 & 1;
		q->used = base >> 16 & 0x7fff;
		q->used_wrap = base >> 31;
	} else {
		q->avail = (uint16_t)base;
		q->used = vio_le16_get(((struct vio_split_used *)(g->mem + q->at + 0x1000))->idx);
	}
	must(tell_state(g->sock, VIO_MSG_SET_VRING_NUM, i, GUEST_QUEUE) == DONE, "SET_VRING_NUM");
	must(tell_state(g->sock, VIO_MSG_SET_VRING_BASE, i, base) == DONE, "SET_VRING_BASE");
	must(tell(g->sock, VIO_MSG_SET_VRING_ADDR, &a, sizeof a, NULL, 0) == DONE, "SET_VRING_ADDR");
	if (g->call[i] < 0) {
		g->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		g->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		g->err[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	if (g->protocol >> VIO_VHOST_F_INBAND_NOTIFICATIONS & 1)
		return;
	must(tell_fd(g->sock, VIO_MSG_SET_VRING_CALL, i, g->call[i]) == DONE, "SET_VRING_CALL");
	must(tell_fd(g->sock, VIO_MSG_SET_VRING_ERR, i, g->err[i]) == DONE, "SET_VRING_ERR");
}

enum verdict guest_kick_fd(struct guest *g, unsigned i) { return tell_fd(g->sock, VIO_MSG_SET_VRING_KICK, i, g->kick[i]); }

void guest_return(struct guest *g, struct rig *r, struct guest_options o)
{
	g->sock = rig_connect(r);
	uint64_t offered = ask_u64(g->sock, VIO_MSG_GET_FEATURES);
	must(!(g->features & ~offered), "features offered");
	g->protocol = ask_u64(g->sock, VIO_MSG_GET_PROTOCOL_FEATURES);
	g->protocol &= ~(o.protocol_without | UINT64_C(1) << VIO_VHOST_F_INBAND_NOTIFICATIONS);
	g->protocol |= o.protocol_with;
	must(tell_u64(g->sock, VIO_MSG_SET_PROTOCOL_FEATURES, g->protocol) == DONE, "SET_PROTOCOL_FEATURES");
	if (g->protocol >> VIO_VHOST_F_BACKEND_REQ & 1) {
		int pair[2];
		must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
		g->channel = pair[0];
		must(tell(g->sock, VIO_MSG_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1) == DONE, "SET_BACKEND_REQ_FD");
		close(pair[1]);
	}
	must(tell(g->sock, VIO_MSG_SET_OWNER, NULL, 0, NULL, 0) == DONE, "SET_OWNER");
	must(tell_u64(g->sock, VIO_MSG_SET_FEATURES, g->features) == DONE, "SET_FEATURES");
	if (o.no_memory)
		return;
	if (!g->mem)
		guest_memory(g);
	must(guest_table(g) == DONE, "SET_MEM_TABLE");
}

void guest_must_start(struct guest *g, unsigned i, uint32_t base)
{
	guest_queue(g, i, base);
	must(guest_kick_fd(g, i) == DONE, "SET_VRING_KICK");
	must(tell_state(g->sock, VIO_MSG_SET_VRING_ENABLE, i, 1) == DONE, "SET_VRING_ENABLE");
}

void guest_begin(struct guest *g, struct rig *r, struct guest_options o, unsigned queues)
{
	*g = (struct guest){ .sock = -1, .channel = -1, .memfd = -1, .gpa = o.gpa ? o.gpa : 0x40000000,
		.uva = o.uva ? o.uva : 0x7f0000000000 };
	for (unsigned i = 0; i < 4; i++)
		g->kick[i] = g->call[i] = g->err[i] = -1;
	g->features = o.features | UINT64_C(1) << VIO_F_VERSION_1 | UINT64_C(1) << VIO_VHOST_PROTOCOL_FEATURES;
	g->packed = o.features >> VIO_F_RING_PACKED & 1;
	guest_return(g, r, o);
	if (o.no_memory)
		return;
	for (unsigned i = 0; i < queues; i++) {
		uint32_t base = g->packed ? VIO_PACKED_BASE : 0;
		if (o.no_start)
			guest_queue(g, i, base);
		else
			guest_must_start(g, i, base);
	}
}

bool guest_asked(struct guest *g, uint32_t *request, union vio_vhost_payload *p, int ms)
{
	struct vio_vhost_header h;
	bool timeout;

	if (!hear(g->channel, &h, p, NULL, ms, &timeout))
		return false;
	*request = h.request;
	return true;
}

void guest_answers(struct guest *g, uint32_t request, uint64_t v)
{
	say_flags(g->channel, request, VIO_VHOST_VERSION | VIO_VHOST_REPLY, &v, sizeof v, NULL, 0);
}

void guest_inflight(struct guest *g, int *fd, struct vio_vhost_inflight *is)
{
	if (*fd < 0) {
		struct vio_vhost_header h;
		union vio_vhost_payload p;
		bool timeout;
		*is = (struct vio_vhost_inflight){ .queues = 2, .queue_size = GUEST_QUEUE };
		say(g->sock, VIO_MSG_GET_INFLIGHT_FD, is, sizeof *is, NULL, 0);
		must(hear(g->sock, &h, &p, fd, PATIENCE_MS, &timeout) && *fd >= 0, "GET_INFLIGHT_FD");
		*is = p.inflight;
	}
	must(tell(g->sock, VIO_MSG_SET_INFLIGHT_FD, is, sizeof *is, fd, 1) == DONE, "SET_INFLIGHT_FD");
}

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void guest_leave(struct guest *g)
{
	drop(&g->sock);
	drop(&g->channel);
}

void guest_end(struct guest *g)
{
	guest_leave(g);
	drop(&g->memfd);
	for (unsigned i = 0; i < 4; i++) {
		drop(&g->kick[i]);
		drop(&g->call[i]);
		drop(&g->err[i]);
	}
	if (g->mem)
		munmap(g->mem, g->size);
	g->mem = NULL;
}

/* Header at +0, status at +16, data at +0x200 of the request's page. */
struct header { vio_le32 type, reserved; vio_le64 sector; };

static void put_split(struct guest *g, struct guest_queue *q, unsigned slot, const struct vio_split_desc *d, unsigned n)
{
	struct vio_split_desc *table = (struct vio_split_desc *)(g->mem + q->at);
	struct vio_split_avail *avail = (struct vio_split_avail *)(g->mem + q->at + 0x800);

	for (unsigned k = 0; k < n; k++) {
		table[3 * slot + k] = d[k];
		table[3 * slot + k].next = vio_le16_of((uint16_t)(3 * slot + k + 1));
	}
	avail->ring[q->avail % GUEST_QUEUE] = vio_le16_of((uint16_t)(3 * slot));
	__atomic_store_n(&avail->idx.wire, vio_le16_of(++q->avail).wire, __ATOMIC_SEQ_CST);
}

static void put_packed(struct guest *g, struct guest_queue *q, unsigned slot, const struct vio_split_desc *d, unsigned n)
{
	struct vio_packed_desc *ring = (struct vio_packed_desc *)(g->mem + q->at);
	uint16_t first = q->avail, first_flags = 0;

	for (unsigned k = 0; k < n; k++) {
		uint16_t flags = (uint16_t)(vio_le16_get(d[k].flags) | (q->avail_wrap ? VIO_DESC_AVAIL : VIO_DESC_USED));
		struct vio_packed_desc *p = &ring[q->avail];
		p->addr = d[k].addr;
		p->len = d[k].len;
		p->id = vio_le16_of((uint16_t)slot);
		if (k == 0)
			first_flags = flags;
		else
			p->flags = vio_le16_of(flags);
		if (++q->avail == GUEST_QUEUE) {
			q->avail = 0;
			q->avail_wrap = !q->avail_wrap;
		}
	}
	__atomic_store_n(&ring[first].flags.wire, vio_le16_of(first_flags).wire, __ATOMIC_SEQ_CST);
}

void guest_submit(struct guest *g, unsigned i, unsigned slot, uint32_t op, uint64_t sector)
{
	uint32_t at = request_at(i, slot);
	struct header h = { vio_le32_of(op), vio_le32_of(0), vio_le64_of(sector) };
	uint16_t data = VIO_DESC_NEXT | (op == 0 ? VIO_DESC_WRITE : 0);
	struct vio_split_desc d[3] = {
		{ vio_le64_of(g->gpa + at), vio_le32_of(16), vio_le16_of(VIO_DESC_NEXT), vio_le16_of(0) },
		{ vio_le64_of(g->gpa + at + 0x200), vio_le32_of(512), vio_le16_of(data), vio_le16_of(0) },
		{ vio_le64_of(g->gpa + at + 16), vio_le32_of(1), vio_le16_of(VIO_DESC_WRITE), vio_le16_of(0) },
	};

	memcpy(g->mem + at, &h, sizeof h);
	g->mem[at + 16] = 0xee;
	if (g->packed)
		put_packed(g, &g->q[i], slot, d, 3);
	else
		put_split(g, &g->q[i], slot, d, 3);
}

void guest_kick(struct guest *g, unsigned i)
{
	uint64_t one = 1;
	if (write(g->kick[i], &one, sizeof one) < 0)
		must(errno == EAGAIN, "kick");
}

static bool split_used(struct guest *g, struct guest_queue *q, uint32_t *id)
{
	struct vio_split_used *used = (struct vio_split_used *)(g->mem + q->at + 0x1000);
	vio_le16 idx = { __atomic_load_n(&used->idx.wire, __ATOMIC_ACQUIRE) };

	if (vio_le16_get(idx) == q->used)
		return false;
	*id = vio_le32_get(used->ring[q->used++ % GUEST_QUEUE].id) / 3;
	return true;
}

static bool packed_used(struct guest *g, struct guest_queue *q, uint32_t *id)
{
	struct vio_packed_desc *d = (struct vio_packed_desc *)(g->mem + q->at) + q->used;
	vio_le16 wire = { __atomic_load_n(&d->flags.wire, __ATOMIC_ACQUIRE) };
	uint16_t flags = vio_le16_get(wire);

	if (!!(flags & VIO_DESC_AVAIL) != q->used_wrap || !!(flags & VIO_DESC_USED) != q->used_wrap)
		return false;
	*id = vio_le16_get(d->id);
	q->used = (uint16_t)(q->used + 3);
	if (q->used >= GUEST_QUEUE) {
		q->used = (uint16_t)(q->used - GUEST_QUEUE);
		q->used_wrap = !q->used_wrap;
	}
	return true;
}

bool guest_used(struct guest *g, unsigned i, int ms, uint32_t *id)
{
	uint64_t until = vio_now_ns() + (uint64_t)ms * 1000000, n;
	uint32_t unused;

	for (;;) {
		if ((g->packed ? packed_used : split_used)(g, &g->q[i], id ? id : &unused))
			return true;
		if (vio_now_ns() >= until)
			return false;
		struct pollfd p = { .fd = g->call[i], .events = POLLIN };
		poll(&p, 1, 1);
		if (read(g->call[i], &n, sizeof n) < 0)
			must(errno == EAGAIN, "call");
	}
}

uint8_t guest_status(struct guest *g, unsigned i, unsigned slot)
{
	return __atomic_load_n(&g->mem[request_at(i, slot) + 16], __ATOMIC_ACQUIRE);
}

unsigned char *guest_data(struct guest *g, unsigned i, unsigned slot) { return g->mem + request_at(i, slot) + 0x200; }

bool guest_works(struct guest *g, unsigned i)
{
	static uint8_t stamp;
	uint32_t id;

	memset(guest_data(g, i, 0), ++stamp, 512);
	guest_submit(g, i, 0, 1, 8 + i);
	guest_kick(g, i);
	if (!guest_used(g, i, PATIENCE_MS, &id) || id != 0 || guest_status(g, i, 0) != 0)
		return false;
	memset(guest_data(g, i, 1), 0, 512);
	guest_submit(g, i, 1, 0, 8 + i);
	guest_kick(g, i);
	if (!guest_used(g, i, PATIENCE_MS, &id) || id != 1 || guest_status(g, i, 1) != 0)
		return false;
	return !memcmp(guest_data(g, i, 0), guest_data(g, i, 1), 512);
}

bool good_front_end(struct rig *r)
{
	struct guest g;

	guest_begin(&g, r, (struct guest_options){ 0 }, 1);
	bool ok = guest_works(&g, 0);
	guest_end(&g);
	rig_settles(r);
	return ok;
}
