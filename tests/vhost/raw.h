/*
 * A front end that says exactly what it is told to, right or wrong, and the daemon it talks to: a block device with a disk
 * in memory, served by a loop in another thread of this process (so that /proc/self/fd counts both ends).
 */
#ifndef VIO_TESTS_VHOST_RAW_H
#define VIO_TESTS_VHOST_RAW_H
#include <vio/device/blk.h>
#include <vio/host/loop.h>
#include <vio/spec/ring.h>
#include <vio/vhost/backend.h>
#include <vio/vhost/wire.h>

/* ---- The daemon ---- */

enum { RIG_LOOPS = 3, RIG_DISK = 1 << 20 };

struct rig_options {
	uint16_t queues;		/* 0: 2 */
	unsigned loops;			/* 0: 1 */
	bool iommu;			/* offer ACCESS_PLATFORM */
	uint64_t stop_deadline_ns;
	uint64_t poll_ns;
	bool once;
	bool connected;			/* the front end listens: the daemon gets one connection, in rig.connected ours */
};

struct rig {
	struct vio_thread *thread[RIG_LOOPS];
	struct vio_loop *loop[RIG_LOOPS];
	struct rig_options o;
	struct vio_dev *dev;
	struct vio_vhost *server;
	struct held_disk *disk;
	uint8_t *bytes;			/* of the disk */
	int listen_fd, connected;
	uint32_t ended;			/* atomic */
	unsigned fds;			/* open in this process before the first front end */
};
void rig_start(struct rig *r, struct rig_options o);
void rig_stop(struct rig *r);		/* as SIGTERM does; all must come to an end */
int rig_connect(struct rig *r);
/* Run fn(arg) in the home loop, and wait for it. */
void rig_call(struct rig *r, void (*fn)(void *arg), void *arg);
unsigned open_fds(void);
/* Wait until the daemon has let go of the last front end and all that came with it. */
void rig_settles(struct rig *r);

/* The disk: holds requests back while told to.  From the test's thread. */
void rig_hold(struct rig *r, bool hold, bool can_cancel);	/* false: what was held goes on */
unsigned rig_held(struct rig *r);
/* Bytes of the disk, as queues of the home loop have left them. */
void rig_peek(struct rig *r, uint64_t at, void *to, size_t n);
void rig_resize(struct rig *r, uint64_t bytes);

/* What the daemon writes to standard error is kept here as well. */
void words_begin(void);
bool words_have(const char *part);	/* since begin; waits a little */

/* ---- Messages ---- */

enum { PATIENCE_MS = 5000 };
enum verdict { DONE, REFUSED, CLOSED, SILENT, ANSWERED };

void say_bytes(int fd, const void *bytes, size_t n, const int *fds, unsigned count);
void say_flags(int fd, uint32_t request, uint32_t flags, const void *payload, uint32_t size, const int *fds, unsigned count);
void say(int fd, uint32_t request, const void *payload, uint32_t size, const int *fds, unsigned count);
/* The next message: true, with *size bytes of payload; false: hung up, or nothing came within ms (*timeout). */
bool hear(int fd, struct vio_vhost_header *h, union vio_vhost_payload *p, int *got_fd, int ms, bool *timeout);
/* Say it with NEED_REPLY and hear what becomes of it. */
enum verdict tell(int fd, uint32_t request, const void *payload, uint32_t size, const int *fds, unsigned count);
enum verdict tell_u64(int fd, uint32_t request, uint64_t v);
enum verdict tell_state(int fd, uint32_t request, uint32_t index, uint32_t num);
enum verdict tell_fd(int fd, uint32_t request, uint64_t u64, int event);	/* event -1: none */
uint64_t ask_u64(int fd, uint32_t request);
uint32_t ask_base(int fd, uint32_t index);

/* ---- A guest ---- */

enum { GUEST_QUEUE = 16 };

struct guest {
	int sock, channel;		/* channel: our end, or -1 */
	uint64_t protocol, features;
	int memfd;
	uint64_t size, gpa, uva;	/* of its one region */
	unsigned char *mem;
	bool packed;
	int kick[4], call[4], err[4];
	struct guest_queue {
		uint32_t at;		/* rings at this offset of memory */
		uint16_t avail, used;	/* split indices; packed places */
		bool avail_wrap, used_wrap;
		uint64_t left;		/* requests not seen used */
	} q[4];
};

/* Where queue i's rings and a request's buffers are, as offsets into memory. */
static inline uint32_t ring_at(unsigned i) { return 0x10000 + i * 0x2000; }
static inline uint32_t request_at(unsigned i, unsigned slot) { return 0x20000 + (i * GUEST_QUEUE + slot) * 0x1000; }

struct guest_options {
	uint64_t features;		/* more than VERSION_1 and the protocol bit */
	uint64_t protocol_without;
	uint64_t protocol_with;		/* used only when asked for: in-band */
	uint64_t gpa, uva;		/* 0: 0x40000000 and 0x7f0000000000 */
	bool no_start;			/* negotiate only */
	bool no_memory;			/* not even memory */
};
/* Connect, negotiate, give memory, start queues 0 to queues - 1. */
void guest_begin(struct guest *g, struct rig *r, struct guest_options o, unsigned queues);
void guest_leave(struct guest *g);	/* hang up; memory and rings stay */
void guest_return(struct guest *g, struct rig *r, struct guest_options o);	/* connect again: up to the memory table */
void guest_end(struct guest *g);	/* hang up for good */
void guest_must_start(struct guest *g, unsigned i, uint32_t base);	/* queue, kick, enable */
/* What the back end asks over its channel.  False: nothing within ms. */
bool guest_asked(struct guest *g, uint32_t *request, union vio_vhost_payload *p, int ms);
void guest_answers(struct guest *g, uint32_t request, uint64_t v);
/* An in-flight region: asked for (*fd -1) or given back. */
void guest_inflight(struct guest *g, int *fd, struct vio_vhost_inflight *is);
void guest_memory(struct guest *g);
enum verdict guest_table(struct guest *g);
void guest_queue(struct guest *g, unsigned i, uint32_t base);	/* size, base, addresses, events; not the kick */
struct vio_vhost_addr guest_addr(struct guest *g, unsigned i, uint32_t flags);
enum verdict guest_kick_fd(struct guest *g, unsigned i);
/* Ask for one request: op of vio_blk, 512 bytes at sector.  slot < GUEST_QUEUE / 3 names its buffers. */
void guest_submit(struct guest *g, unsigned i, unsigned slot, uint32_t op, uint64_t sector);
void guest_kick(struct guest *g, unsigned i);
/* Wait until one more is used; its id. */
bool guest_used(struct guest *g, unsigned i, int ms, uint32_t *id);
uint8_t guest_status(struct guest *g, unsigned i, unsigned slot);
unsigned char *guest_data(struct guest *g, unsigned i, unsigned slot);
/* Write a sector and read it back through queue i: is everything as it should be? */
bool guest_works(struct guest *g, unsigned i);
/* A new, well-behaved front end comes, does that, and goes. */
bool good_front_end(struct rig *r);
#endif
