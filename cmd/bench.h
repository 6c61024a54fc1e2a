/*
 * vio bench: a load generator on vio's own block and file system drivers.  bench.c reads the command line, connects and
 * reports; bench_load.c is the load: one thread per queue; bench_verify.c is the load that reads back what it wrote;
 * bench_fs.c is the file system's part.
 */
#ifndef VIO_CMD_BENCH_H
#define VIO_CMD_BENCH_H
#include <poll.h>
#include <time.h>
#include <vio/driver/blk.h>
#include <vio/driver/fs.h>
#include <vio/vhost/frontend.h>

enum { BENCH_HISTOGRAM = 60 * 32, BENCH_TAG_WORDS = 2 };
enum bench_rw { BENCH_RANDREAD, BENCH_RANDWRITE, BENCH_READ, BENCH_WRITE };
enum bench_fs { BENCH_FS_LOOKUP, BENCH_FS_GETATTR, BENCH_FS_READ, BENCH_FS_WRITE, BENCH_FS_NOT };

struct bench_worker;
struct bench_options {
	enum bench_rw rw;
	enum bench_fs fs;		/* a file system back end, and what to do */
	uint32_t bs, qd;
	uint16_t queues;
	double seconds, warm_up;
	bool irq, verify;
};

struct bench_slot {			/* --verify: what a request is about */
	uint64_t block;
	uint32_t generation;
	bool reading;
};

struct bench_worker {
	/* given */
	const struct bench_options *o;
	struct vio_blk *blk;		/* or */
	struct vio_fs *fs;
	struct vio_vhost_front *front;
	uint16_t queue;
	uint16_t vq;			/* its number on the wire */
	struct vio_drvq *q;
	uint32_t (*turn)(struct bench_worker *w, uint64_t *now, bool more);	/* take what has finished; how many */
	void (*submit)(struct bench_worker *w, uint32_t i, uint64_t now);	/* request i for the first time */
	void (*kick)(struct bench_worker *w);
	int cpu;			/* -1: anywhere */
	uint64_t first_block, blocks;	/* what this queue works on */
	struct vio_blk_request *request;	/* qd of them, in shared memory; or */
	struct vio_fs_request *ask;
	struct vio_fs_file file;
	unsigned char *area;		/* where the data buffers lie, in shared memory */
	uint64_t chunk;			/* bytes of area that a request has for itself */
	uint64_t warm_ticks, run_ticks;
	const int *stop;		/* atomic: the connection is lost */
	int *running;			/* atomic: workers still at it */
	/* its own */
	uint64_t random, next_block;
	uint32_t inflight;
	struct bench_slot *slot;
	uint32_t *generation;		/* of each block, --verify */
	/* results */
	uint64_t ops, ticks, max_ticks, errors, lost, verified, mismatches;
	uint64_t waited_ns;		/* for a processor that something else had */
	char first_error[160];
	uint64_t histogram[BENCH_HISTOGRAM];
};

struct bench {
	struct bench_options o;
	const char *path;
	uint64_t size, area;
	uint16_t queue_size;
	bool packed, in_order, json;
	struct vio_vhost_memory memory;
	struct vio_vhost_front *front;
	struct vio_blk blk;		/* or */
	struct vio_fs *fs;		/* in shared memory */
	struct vio_blk_setup setup;
	struct vio_fs_setup fs_setup;
	struct bench_worker *worker;	/* o.queues */
	struct vio_drvq_slot *slots;
	int stop, running;
	double ticks_per_ns;
};

/* To standard error; false. */
bool bench_refuse(const char *how, ...) __attribute__((format(printf, 1, 2)));
/* What a request moves, or 0. */
static inline uint32_t bench_bytes(const struct bench_options *o)
{
	return o->fs == BENCH_FS_LOOKUP || o->fs == BENCH_FS_GETATTR ? 0 : o->bs;
}

/* The file system: start the device, see to the file; prepare the requests of a worker. */
bool bench_fs_start(struct bench *b);
void bench_fs_prepare(struct bench *b, struct bench_worker *w);
/* The block device: the load's part of a worker. */
void bench_blk_prepare(struct bench_worker *w);

/* Thread functions. */
void *bench_load(void *worker);
void *bench_verify(void *worker);

/* What both share. */
void bench_pin(const struct bench_worker *w);
uint64_t bench_waited_ns(void);		/* this thread, so far */
/* Wait for something finished: false when there will be nothing any more. */
bool bench_wait(struct bench_worker *w, struct pollfd *call, uint32_t *idle);
/* Count what is still out as lost. */
void bench_end(struct bench_worker *w);


/* A clock of one instruction, where the processor has one; how fast it runs is measured (bench_ticks_per_ns). */
static inline uint64_t bench_ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
#endif
}

/* 32 buckets for each power of two: what is read back is off by 3 % at most. */
static inline unsigned bench_bucket(uint64_t ticks)
{
	if (ticks < 32)
		return (unsigned)ticks;
	unsigned shift = 58 - (unsigned)__builtin_clzll(ticks);
	return 32 * (shift + 1) + (unsigned)(ticks >> shift & 31);
}

/* A random number below limit: a Weyl sequence through one multiplication, another one to scale. */
static inline uint64_t bench_random(struct bench_worker *w, uint64_t limit)
{
	w->random += UINT64_C(0x9e3779b97f4a7c15);
	unsigned __int128 m = (unsigned __int128)w->random * (w->random ^ UINT64_C(0xe7037ed1a0b428db));
	uint64_t r = (uint64_t)(m >> 64) ^ (uint64_t)m;
	return (uint64_t)((unsigned __int128)r * limit >> 64);
}

/* Where request i's data goes this time: somewhere in its chunk, so that buffers come from all over memory. */
static inline unsigned char *bench_buffer(struct bench_worker *w, uint32_t i)
{
	uint64_t stride = (w->o->bs + 4095) & ~UINT64_C(4095);
	return w->area + i * w->chunk + bench_random(w, w->chunk / stride) * stride;
}

/* Something came back after so long. */
static inline void bench_count(struct bench_worker *w, uint64_t took)
{
	w->inflight--;
	w->ops++;
	w->histogram[bench_bucket(took)]++;
	if (took > w->max_ticks)
		w->max_ticks = took;
}
#endif
