/*
 * The vhost-user back end against any front end: messages of the table with contents of the input's, with all kinds of
 * descriptors, between writes into the shared memory and kicks.  One thread: the loop runs a few turns after each step.
 *
 * Afterwards the daemon has stopped, and no descriptor is left open.
 */
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vio/device/blk.h>
#include <vio/host/disk.h>
#include <vio/host/loop.h>
#include <vio/vhost/backend.h>
#include <vio/vhost/wire.h>
#include "feed.h"

enum { STEPS = 60, DISK = 8192, QUEUES = 2, MEMORY = 0x10000, LOG_BYTES = 4096, SIZE = 16 };
#define GPA UINT64_C(0x100000)
#define UVA UINT64_C(0x7f0000000000)

enum { FD_MEMORY, FD_LOG, FD_KICK, FD_CALL, FD_NULL, FD_PIPE, FDS = 8 };
static int fds[FDS];
static unsigned char *memory;
static struct vio_loop *loop;
static int first_free;

struct play {
	struct feed f;
	int sock;
	struct vio_vhost *server;
	bool ended, stopped;
	uint64_t features;
};

static int lowest_fd(void)
{
	int fd = dup(fds[FD_NULL]);

	close(fd);
	return fd;
}

static void set_up(void)
{
	int ends[2];

	if (loop)
		return;
	fds[FD_MEMORY] = memfd_create("memory", 0);
	fds[FD_LOG] = memfd_create("log", 0);
	fds[FD_KICK] = eventfd(0, EFD_NONBLOCK);
	fds[FD_CALL] = eventfd(0, EFD_NONBLOCK);
	fds[FD_NULL] = open("/dev/null", O_RDWR);
	if (ftruncate(fds[FD_MEMORY], MEMORY) || ftruncate(fds[FD_LOG], LOG_BYTES) || pipe(ends))
		abort();
	fds[FD_PIPE] = ends[1];
	fds[6] = ends[0];
	fds[7] = fds[FD_MEMORY];
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fds[FD_MEMORY], 0);
	loop = vio_loop_new();
	if (memory == MAP_FAILED || !loop)
		abort();
}

/* ---- The loop ---- */

static void quit(void *arg) { vio_loop_quit(arg); }

static void run_turns(unsigned n)
{
	while (n--) {
		struct vio_call call = { .fn = quit, .arg = loop };
		vio_loop_call(loop, &call);
		vio_loop_run(loop);
	}
}

/* ---- Messages ---- */

static void send_message(struct play *p, uint32_t request, uint32_t flags, const void *payload, uint32_t size, uint32_t said,
    const int *with, unsigned count)
{
	struct vio_vhost_header h = { request, flags, said };
	struct iovec v[2] = { { &h, sizeof h }, { (void *)(uintptr_t)payload, size } };
	union { char bytes[CMSG_SPACE(sizeof(int) * 16)]; struct cmsghdr align; } c = { { 0 } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
	char answers[4096];

	if (count) {
		m.msg_control = c.bytes;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		struct cmsghdr *k = CMSG_FIRSTHDR(&m);
		k->cmsg_level = SOL_SOCKET;
		k->cmsg_type = SCM_RIGHTS;
		k->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(k), with, sizeof(int) * count);
	}
	(void)!sendmsg(p->sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	run_turns(3);
	while (recv(p->sock, answers, sizeof answers, MSG_DONTWAIT) > 0)	/* descriptors in answers are closed by the kernel */
		;
}

static void say(struct play *p, uint32_t request, const void *payload, uint32_t size, int fd)
{
	send_message(p, request, VIO_VHOST_VERSION, payload, size, size, fd < 0 ? NULL : &fds[fd], fd >= 0);
}

/* As a front end begins that means it. */
static void begin(struct play *p, uint8_t bits)
{
	struct vio_vhost_mem_table t = { .count = 2, .region = {
		{ GPA, MEMORY / 2, UVA, 0 }, { GPA + MEMORY / 2, MEMORY / 2, UVA + MEMORY / 2, MEMORY / 2 } } };
	const int both[2] = { fds[FD_MEMORY], fds[FD_MEMORY] };
	uint64_t protocol = UINT64_MAX;

	p->features = ring_features(bits & 15).word[0] | UINT64_C(1) << VIO_VHOST_PROTOCOL_FEATURES |
	    (bits & 16 ? UINT64_C(1) << VIO_F_ACCESS_PLATFORM : 0) | (bits & 32 ? UINT64_C(1) << VIO_VHOST_LOG_ALL : 0);
	if (!(bits & 64))
		protocol &= ~(UINT64_C(1) << VIO_VHOST_F_INBAND_NOTIFICATIONS);
	for (unsigned b = 0; b < 64; b++)	/* only what vio offers */
		if (!(UINT64_C(0x19f62b) >> b & 1))
			protocol &= ~(UINT64_C(1) << b);
	say(p, VIO_MSG_SET_OWNER, NULL, 0, -1);
	say(p, VIO_MSG_SET_PROTOCOL_FEATURES, &protocol, 8, -1);
	say(p, VIO_MSG_SET_FEATURES, &p->features, 8, -1);
	send_message(p, VIO_MSG_SET_MEM_TABLE, VIO_VHOST_VERSION, &t, 8 + 64, 8 + 64, both, 2);
	for (uint32_t i = 0; i < QUEUES; i++) {
		uint64_t ring = UVA + i * 0x1000;
		struct vio_vhost_state num = { i, SIZE }, base = { i, bits & 1 ? VIO_PACKED_BASE : 0 }, on = { i, 1 };
		struct vio_vhost_addr addr = { i, 0, ring, ring + 0x800, ring + 0x400, GPA + 0x800 };
		uint64_t index = i;
		say(p, VIO_MSG_SET_VRING_NUM, &num, sizeof num, -1);
		say(p, VIO_MSG_SET_VRING_BASE, &base, sizeof base, -1);
		say(p, VIO_MSG_SET_VRING_ADDR, &addr, sizeof addr, -1);
		say(p, VIO_MSG_SET_VRING_CALL, &index, 8, FD_CALL);
		say(p, VIO_MSG_SET_VRING_KICK, &index, 8, FD_KICK);
		say(p, VIO_MSG_SET_VRING_ENABLE, &on, sizeof on, -1);
	}
}

/* A number that is one of those a front end would say, or any. */
static uint64_t number(struct feed *f)
{
	uint8_t how = (uint8_t)take(f, 1);

	switch (how % 12) {
	case 0: return GPA + take(f, 2);
	case 1: return UVA + take(f, 2);
	case 2: return MEMORY;
	case 3: return MEMORY / 2;
	case 4: return take(f, 8);
	case 5: return UINT64_MAX - take(f, 1);
	case 6: return LOG_BYTES;
	case 7: return UINT64_C(1) << (how / 12 * 3);
	case 8: return take(f, 2) << 12;
	default: return how / 12;
	}
}

static void any_message(struct play *p)
{
	struct feed *f = &p->f;
	uint32_t request = (uint32_t)take(f, 1) % (VIO_MSG_LIMIT + 1);
	const struct vio_vhost_message_type *t = &vio_vhost_message_types[request % VIO_MSG_LIMIT];
	uint8_t how = (uint8_t)take(f, 1);
	uint32_t size = how & 1 ? t->size_min : how & 2 ? t->size_max : how & 4 ? t->size_min + (uint32_t)take(f, 1) : (uint32_t)take(f, 2);
	unsigned count = how & 8 ? (unsigned)take(f, 1) % 10 : how & 16 ? t->fds_max : t->fds_min;
	uint64_t payload[80];
	int with[16];

	for (unsigned i = 0; i < 80; i++)
		payload[i] = 8 * i < size ? number(f) : 0;
	if (t->payload == VIO_PAYLOAD_STATE || t->payload == VIO_PAYLOAD_ADDR)
		payload[0] = (payload[0] & 3) | payload[1] << 32;
	if (t->payload == VIO_PAYLOAD_TABLE)
		payload[0] = how >> 5;
	for (unsigned i = 0; i < count && i < 16; i++)
		with[i] = fds[take(f, 1) % FDS];
	uint32_t here = size < sizeof payload ? size : (uint32_t)sizeof payload;
	send_message(p, request, how & 0x40 ? VIO_VHOST_VERSION : VIO_VHOST_VERSION | VIO_VHOST_NEED_REPLY, payload, here,
	    how == 0xff ? (uint32_t)take(f, 4) : size, with, count);
}

static void write_memory(struct play *p)
{
	struct feed *f = &p->f;
	uint8_t how = (uint8_t)take(f, 1);
	uint32_t at = (uint32_t)take(f, 2);

	if (how & 1) {		/* a descriptor */
		uint64_t d[2] = { number(f), take(f, 2) | take(f, 2) << 32 | take(f, 2) << 48 };
		memcpy(memory + (at & 0x1ff0), d, 16);
	} else if (how & 2) {	/* the available index and ring of queue 0 or 1 */
		uint16_t a[] = { 0, (uint16_t)take(f, 1), (uint16_t)take(f, 1), (uint16_t)take(f, 1), (uint16_t)take(f, 1) };
		memcpy(memory + 0x400 + (how & 4 ? 0x1000 : 0), a, sizeof a);
	} else {
		take_bytes(f, memory + at % (MEMORY - 64), how % 64);
	}
}

static void step(struct play *p)
{
	switch (take(&p->f, 1) % 8) {
	case 0: case 1: case 2:
		any_message(p);
		break;
	case 3:
		(void)!write(fds[FD_KICK], &(uint64_t){ 1 }, 8);
		run_turns(2);
		break;
	case 4: {
		struct vio_vhost_state s = { (uint32_t)take(&p->f, 1) % 3, (uint32_t)take(&p->f, 4) };
		static const uint32_t requests[] = { VIO_MSG_GET_VRING_BASE, VIO_MSG_SET_VRING_BASE, VIO_MSG_SET_VRING_ENABLE,
			VIO_MSG_VRING_KICK, VIO_MSG_SET_VRING_NUM };
		say(p, requests[take(&p->f, 1) % 5], &s, sizeof s, -1);
		break;
	}
	default:
		write_memory(p);
	}
}

/* ---- One life of a daemon ---- */

static void on_ended(void *arg) { ((struct play *)arg)->ended = true; }
static void on_stopped(void *arg) { ((struct play *)arg)->stopped = true; }

static void live(struct play *p, struct vio_dev *d)
{
	struct vio_loop *const loops[] = { loop };
	uint8_t bits = (uint8_t)take(&p->f, 1);
	char why[512];
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		abort();
	p->sock = pair[1];
	p->server = vio_vhost_serve(&(struct vio_vhost_options){ .dev = d, .listen_fd = -1, .connected_fd = pair[0], .once = true,
	    .loops = loops, .loop_count = 1, .ended = on_ended, .arg = p, .name = "fuzz" }, why);
	if (!p->server)
		abort();
	if (!(bits & 128))
		begin(p, bits);
	for (unsigned i = 0; i < STEPS && fed(&p->f) && !p->ended; i++)
		step(p);
	close(p->sock);
	vio_vhost_stop(p->server, on_stopped, p);
	for (unsigned i = 0; i < 1000 && !p->stopped; i++)
		run_turns(1);
	if (!p->stopped)
		abort();
	vio_vhost_free(p->server);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	set_up();
	first_free = lowest_fd();
	memset(memory, 0, 0x3000);
	(void)!write(fds[FD_KICK], &(uint64_t){ 1 }, 8);

	unsigned char *bytes = calloc(1, DISK);
	struct vio_disk *disk = vio_disk_ram_open(DISK, bytes, (struct vio_disk_place){ &loop, 1 });
	struct vio_blk_options o = { .disk = disk, .queues = QUEUES, .queue_size = SIZE };
	struct vio_dev *d = calloc(1, vio_dev_blk.instance);
	struct vio_features wire = vio_vhost_features();
	struct play p = { .f = { data, data + n } };
	if (n && data[0] & 16)
		vio_features_add(&wire, VIO_F_ACCESS_PLATFORM);
	if (vio_dev_open(d, &vio_dev_blk, &o, &vio_vhost_port, NULL, wire))
		abort();
	live(&p, d);
	vio_dev_close(d);
	vio_disk_close(disk);
	free(d);
	free(bytes);
	if (lowest_fd() != first_free)
		abort();		/* a descriptor was left open */
	return 0;
}
