/*
 * socket UDS_PATH SOCKET echo|out|in BYTES SECONDS: what a socket device carries between its guest, which is vio's driver over
 * vhost-user at SOCKET, and a Unix socket at UDS_PATH_1000, where this program listens too.
 *
 *   echo  messages of BYTES there and back, one at a time: round trips a second
 *   out   from the guest, in      to the guest, in pieces of BYTES: bytes a second
 *   pipe  no device: the same echo over a pair of Unix sockets, which is what the host itself costs
 *
 * The driver polls and gives the processor away when nothing has come, so that both ends may share one.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vio/driver/vsock.h>
#include <vio/vhost/frontend.h>
#include "probe.h"

enum { PORT = 1000, QUEUE = 256, PACKETS = 128, PACKET = 65536 + 44, BUFFER = 1 << 20, CHUNK_MAX = 1 << 20 };
enum mode { ECHO, OUT, IN, PIPE };

struct peer { int fd; enum mode mode; size_t chunk; };

struct guest {
	struct vio_vsock v;
	struct vio_vsock_conn conn[2];
	struct vio_drvq_slot slots[2][QUEUE];
	struct vio_vsock_slot packet[2][PACKETS];
	_Alignas(16) unsigned char ring[2][VIO_DRVQ_RING_BYTES(QUEUE)];
	_Alignas(8) unsigned char buffers[2 * VIO_FIFO_BYTES(BUFFER, true)];
	unsigned char data[CHUNK_MAX];
	unsigned char bytes[2 * PACKETS * PACKET];
};

static void die(const char *why)
{
	fprintf(stderr, "socket: %s.\n", why);
	exit(1);
}

/* ---- The host's end ---- */

static void *peer_main(void *arg)
{
	struct peer *p = arg;
	unsigned char *data = calloc(1, CHUNK_MAX);

	if (!data)
		die("there is no memory for the host's end");
	for (;;) {
		ssize_t n = p->mode == IN ? (ssize_t)p->chunk : recv(p->fd, data, CHUNK_MAX, 0);
		if (n <= 0)
			break;
		if (p->mode == OUT)
			continue;
		for (ssize_t at = 0, put; at < n; at += put)
			if ((put = send(p->fd, data + at, (size_t)(n - at), MSG_NOSIGNAL)) <= 0)
				goto end;
	}
end:
	free(data);
	return NULL;
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (snprintf(a.sun_path, sizeof a.sun_path, "%s_%d", path, PORT) >= (int)sizeof a.sun_path)
		die("the path is too long");
	unlink(a.sun_path);
	if (s < 0 || bind(s, (const struct sockaddr *)&a, sizeof a) || listen(s, 1))
		die("the host's end can't listen");
	return s;
}

/* ---- The guest's ---- */

static struct guest *guest_start(const char *path, struct vio_vhost_memory *m)
{
	char why[512];

	if (!vio_vhost_memory_make(m, (sizeof(struct guest) + 4095) & ~4095u))
		die("there is no memory to share");
	struct guest *g = m->base;
	memset(g, 0, sizeof *g);
	struct vio_vhost_front *f = vio_vhost_connect(&(struct vio_vhost_front_options){ .path = path, .fd = -1, .memory = m,
		.device_id = VIO_ID_VSOCK }, why);
	if (!f)
		die(why);
	struct vio_vsock_setup s = { .queue_size = QUEUE, .ring = { g->ring[0], g->ring[1] }, .slots = { g->slots[0], g->slots[1] },
		.packets = PACKETS, .packet = { g->packet[0], g->packet[1] }, .packet_bytes = PACKET, .bytes = g->bytes, .conns = 2,
		.conn = g->conn, .buffer = BUFFER, .buffers = g->buffers };
	if (!vio_vsock_start(&g->v, vio_vhost_drv_port(f), &s))
		die(g->v.drv.failed);
	return g;
}

static void guest_turn(struct guest *g, const struct vio_vsock_conn *c)
{
	if (!vio_vsock_poll(&g->v))
		sched_yield();
	if (g->v.drv.failed || c->state == VIO_VSOCK_ENDED)
		die(g->v.drv.failed ? g->v.drv.failed : c->why);
}

static size_t guest_send(struct guest *g, struct vio_vsock_conn *c, size_t n)
{
	for (size_t at = 0; at < n; ) {
		uint32_t put = vio_vsock_send(&g->v, c, g->data + at, (uint32_t)(n - at), 0);
		at += put;
		if (!put)
			guest_turn(g, c);
	}
	vio_vsock_poll(&g->v);
	return n;
}

static size_t guest_recv(struct guest *g, struct vio_vsock_conn *c, size_t n)
{
	uint32_t flags;

	for (size_t at = 0; at < n; ) {
		uint32_t got = vio_vsock_recv(&g->v, c, g->data, (uint32_t)(n - at), &flags);
		at += got;
		if (!got)
			guest_turn(g, c);
	}
	return n;
}

/* ---- Measuring ---- */

struct run { enum mode mode; size_t chunk; struct guest *g; struct vio_vsock_conn *c; int pipe; };

/* One round trip, or so many bytes. */
static uint64_t step(struct run *r)
{
	switch (r->mode) {
	case OUT:
		return guest_send(r->g, r->c, r->chunk);
	case IN:
		return guest_recv(r->g, r->c, r->chunk);
	case ECHO:
		guest_send(r->g, r->c, r->chunk);
		guest_recv(r->g, r->c, r->chunk);
		return 1;
	case PIPE:
		break;
	}
	static unsigned char data[CHUNK_MAX];
	if (send(r->pipe, data, r->chunk, 0) != (ssize_t)r->chunk || recv(r->pipe, data, r->chunk, MSG_WAITALL) != (ssize_t)r->chunk)
		die("the pair of sockets ended");
	return 1;
}

static double measure(struct run *r, double seconds)
{
	uint64_t done = 0, from = probe_now_ns(), now, warm = from + (uint64_t)(seconds * 1e8), until = warm + (uint64_t)(seconds * 1e9);

	while (probe_now_ns() < warm)
		step(r);
	from = probe_now_ns();
	while ((now = probe_now_ns()) < until)
		done += step(r);
	return (double)done * 1e9 / (double)(now - from);
}

int main(int argc, char **argv)
{
	static const char *const modes[] = { "echo", "out", "in", "pipe" };
	struct run r = { .pipe = -1 };
	struct vio_vhost_memory memory = { 0 };
	pthread_t thread;

	if (argc != 6)
		die("give UDS_PATH SOCKET echo|out|in|pipe BYTES SECONDS");
	while (r.mode < 4 && strcmp(argv[3], modes[r.mode]))
		r.mode++;
	r.chunk = strtoul(argv[4], NULL, 10);
	double seconds = strtod(argv[5], NULL);
	if (r.mode == 4 || !r.chunk || r.chunk > CHUNK_MAX || seconds <= 0)
		die("the mode is echo, out, in or pipe, and bytes are 1 to 1048576");
	struct peer p = { .mode = r.mode == PIPE ? ECHO : r.mode, .chunk = r.chunk };
	if (r.mode == PIPE) {
		int end[2];
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, end))
			die("there is no pair of sockets");
		r.pipe = end[0];
		p.fd = end[1];
	} else {
		int listener = listen_at(argv[1]);
		r.g = guest_start(argv[2], &memory);
		r.c = vio_vsock_connect(&r.g->v, VIO_VSOCK_CID_HOST, PORT, false);
		while (r.c->state == VIO_VSOCK_CONNECTING)
			guest_turn(r.g, r.c);
		p.fd = accept(listener, NULL, NULL);
	}
	if (p.fd < 0 || pthread_create(&thread, NULL, peer_main, &p))
		die("the host's end did not begin");
	printf("%.1f\n", measure(&r, seconds));
	return 0;	/* the host's end goes with the process */
}
