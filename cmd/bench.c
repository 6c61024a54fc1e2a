/* vio bench: the command line, the connection and the report of the load generator. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "options.h"

int vio_cmd_bench(int argc, char **argv);

enum { HELP, SOCKET_PATH, RW, BS, QD, SECONDS, WARM_UP, SIZE, QUEUES, QUEUE_SIZE, FS, AREA, PACKED, IN_ORDER, IRQ, VERIFY, JSON, OPTIONS };
enum { BS_MAX = 4 << 20, QD_MAX = 4096, BUFFERS_PER_REQUEST = 3, QUEUE_SIZE_LEAST = 256 };
enum { VERIFY_BLOCKS = 1 << 22 };	/* a queue's at most: 4 bytes of memory each */

static const struct vio_opt options[OPTIONS] = {
	[HELP] = { "help", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Print this." },
	[SOCKET_PATH] = { "socket-path", "PATH", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 4095,
		.help = "The Unix socket of a vhost-user block or file system back end, vio's or another's." },
	[FS] = { "fs", "lookup|getattr|read|write", VIO_OPT_CHOICE, VIO_OPT_PROCESS,
		.help = "A file system: what to do with the file vio-bench in its root, which is made if need be. Reads and writes "
			"are random." },
	[RW] = { "rw", "randread|randwrite|read|write", VIO_OPT_CHOICE, VIO_OPT_PROCESS,
		.help = "What to do; randread. Writing destroys what the disk holds." },
	[BS] = { "bs", "BYTES", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 20, .help = "Bytes of a request, whole blocks; 4096." },
	[QD] = { "qd", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 1, QD_MAX, 32, .help = "Requests in flight in each queue; 32." },
	[SECONDS] = { "seconds", "N", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 10,
		.help = "How long, as 5 or 0.5; 5." },
	[WARM_UP] = { "warm-up", "N", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 10,
		.help = "Seconds to run before that are not counted; a tenth of --seconds, at most 0.2." },
	[SIZE] = { "size", "BYTES", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 20, .help = "Use only the first BYTES of the disk; with --fs the size of the file: 256M." },
	[QUEUES] = { "queues", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 1, VIO_BLK_DRV_QUEUES, 1,
		.help = "Request queues, each with a thread and a processor; 1." },
	[QUEUE_SIZE] = { "queue-size", "N", VIO_OPT_POWER, VIO_OPT_PROCESS, 4, 32768,
		.help = "Entries of a queue; 256, or as many as --qd needs. Indirect descriptors are used where 3 * qd do not fit." },
	[AREA] = { "area", "BYTES", VIO_OPT_TEXT, VIO_OPT_PROCESS, 1, 20,
		.help = "Memory that the data buffers are spread over; 128M." },
	[PACKED] = { "packed", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Packed instead of split rings." },
	[IN_ORDER] = { "in-order", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Ask the back end for use in order." },
	[IRQ] = { "irq", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Sleep until the back end signals, instead of polling." },
	[VERIFY] = { "verify", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS,
		.help = "Read back and compare all that was written; with --rw=randwrite (then the default) or write." },
	[JSON] = { "json", NULL, VIO_OPT_FLAG, VIO_OPT_PROCESS, .help = "Print the result as JSON." },
};
static const struct vio_opt_table table = {
	.usage = "vio bench --socket-path=PATH [options]",
	.about = "Measures a vhost-user block or file system back end with vio's own driver: requests per second, bandwidth, latency.",
	.common = options, .common_count = 1, .own = options + 1, .own_count = OPTIONS - 1,
};

bool bench_refuse(const char *how, ...)
{
	va_list args;
	va_start(args, how);
	fprintf(stderr, "vio bench: ");
	vfprintf(stderr, how, args);
	fputc('\n', stderr);
	va_end(args);
	return false;
}

/* ---- the command line ---- */

static bool take_size(const struct vio_arg *a, const char *name, uint64_t preset, uint64_t least, uint64_t most, uint64_t *to)
{
	*to = preset;
	if (a->given && (!vio_opt_size(a->text, to) || *to < least || *to > most))
		return bench_refuse("--%s=%s cannot be: give %" PRIu64 " to %" PRIu64 " bytes, perhaps with K, M or G.", name, a->text,
		    least, most);
	return true;
}

static bool take_seconds(const struct vio_arg *a, const char *name, double usual, double *to)
{
	char *end;
	*to = usual;
	if (!a->given)
		return true;
	*to = strtod(a->text, &end);
	if (*end || strspn(a->text, "0123456789.") != strlen(a->text) || !(*to >= 0.01 && *to <= 86400))
		return bench_refuse("--%s=%s cannot be: give 0.01 to 86400.", name, a->text);
	return true;
}

static bool take_options(struct bench *b, const struct vio_args *args)
{
	const struct vio_arg *a = args->common;
	uint64_t bs;

	if (!a[SOCKET_PATH].given)
		return bench_refuse("it is not said what to measure: add --socket-path=PATH of a vhost-user back end.");
	b->path = a[SOCKET_PATH].text;
	if (!take_size(&a[BS], "bs", 4096, VIO_BLK_SECTOR, BS_MAX, &bs) || !take_seconds(&a[SECONDS], "seconds", 5, &b->o.seconds)
	    || !take_seconds(&a[WARM_UP], "warm-up", b->o.seconds / 10 < 0.2 ? b->o.seconds / 10 : 0.2, &b->o.warm_up)
	    || !take_size(&a[SIZE], "size", UINT64_MAX, VIO_BLK_SECTOR, UINT64_MAX, &b->size)
	    || !take_size(&a[AREA], "area", UINT64_C(128) << 20, 4096, UINT64_C(1) << 40, &b->area))
		return false;
	if (bs % VIO_BLK_SECTOR)
		return bench_refuse("--bs=%s cannot be: give a multiple of %u.", a[BS].text, VIO_BLK_SECTOR);
	b->o.bs = (uint32_t)bs;
	b->o.fs = a[FS].given ? (enum bench_fs)a[FS].number : BENCH_FS_NOT;
	if (a[FS].given && (a[RW].given || a[VERIFY].given))
		return bench_refuse("--rw and --verify are for disks: leave them out, or --fs.");
	b->o.qd = (uint32_t)a[QD].number;
	b->o.queues = (uint16_t)a[QUEUES].number;
	b->o.irq = a[IRQ].given;
	b->o.verify = a[VERIFY].given;
	b->o.rw = a[RW].given ? (enum bench_rw)a[RW].number : b->o.verify ? BENCH_RANDWRITE : BENCH_RANDREAD;
	b->packed = a[PACKED].given;
	b->in_order = a[IN_ORDER].given;
	b->json = a[JSON].given;
	if (b->o.verify && (b->o.rw == BENCH_RANDREAD || b->o.rw == BENCH_READ))
		return bench_refuse("--verify reads back what it wrote: use it with --rw=randwrite or --rw=write.");
	b->queue_size = (uint16_t)a[QUEUE_SIZE].number;
	/* With indirect tables where the ring is too short for whole chains: those cost a cache line more. */
	if (!b->queue_size)
		for (b->queue_size = QUEUE_SIZE_LEAST; b->queue_size < b->o.qd; )
			b->queue_size = (uint16_t)(b->queue_size * 2);
	if (b->o.qd > b->queue_size)
		return bench_refuse("--qd=%u needs a longer queue: add --queue-size=%u or more.", b->o.qd, b->o.qd);
	return true;
}

/* ---- memory, connection, driver ---- */

static bool needs_indirect(const struct bench *b) { return b->o.qd * BUFFERS_PER_REQUEST > b->queue_size; }
static bool is_fs(const struct bench *b) { return b->o.fs != BENCH_FS_NOT; }

static uint64_t page_up(uint64_t n) { return (n + 4095) & ~UINT64_C(4095); }

/* Takes the next bytes of the shared memory; pages of its own for each part. */
static void *take(struct bench *b, uint64_t *at, uint64_t bytes)
{
	void *p = (char *)b->memory.base + *at;
	*at += page_up(bytes);
	return p;
}

static bool make_memory(struct bench *b)
{
	uint64_t stride = page_up(b->o.bs), chunk = b->area / b->o.queues / b->o.qd / stride * stride;
	uint64_t ring = VIO_DRVQ_RING_BYTES((uint64_t)b->queue_size);
	uint64_t tables = (uint64_t)b->queue_size * (is_fs(b) ? VIO_FS_DRV_INDIRECT : VIO_BLK_DRV_INDIRECT);
	uint64_t indirect = needs_indirect(b) ? tables * sizeof(struct vio_split_desc) : 0;
	uint64_t requests = b->o.qd * (is_fs(b) ? sizeof(struct vio_fs_request) : sizeof(struct vio_blk_request)), at = 0;

	chunk = chunk ? chunk : stride;
	uint64_t total = page_up(sizeof *b->fs) + b->o.queues * (page_up(ring) + page_up(indirect) + page_up(requests) + b->o.qd * chunk);
	if (!vio_vhost_memory_make(&b->memory, total))
		return bench_refuse("%" PRIu64 " bytes of shared memory can't be had: %s.", total, strerror(errno));
	memset(b->memory.base, 0x5a, total);	/* pages are made now, not while measuring */
	b->worker = calloc(b->o.queues, sizeof *b->worker);
	b->slots = calloc((size_t)b->o.queues * b->queue_size, sizeof *b->slots);
	if (!b->worker || !b->slots)
		return bench_refuse("There is no memory for %u queues.", b->o.queues);
	b->fs = take(b, &at, sizeof *b->fs);
	memset(b->fs, 0, sizeof *b->fs);
	for (uint16_t i = 0; i < b->o.queues; i++) {
		struct bench_worker *w = &b->worker[i];
		b->setup.memory[i].ring = take(b, &at, ring);
		b->setup.memory[i].slots = b->slots + (size_t)i * b->queue_size;
		b->setup.memory[i].indirect = indirect ? take(b, &at, indirect) : NULL;
		b->fs_setup.memory[i] = (struct vio_fs_queue_memory){ b->setup.memory[i].ring, b->setup.memory[i].slots,
			b->setup.memory[i].indirect };
		w->request = take(b, &at, requests);
		w->ask = (struct vio_fs_request *)(void *)w->request;
		w->area = take(b, &at, b->o.qd * chunk);
		w->chunk = chunk;
	}
	return true;
}

static struct vio_features wanted(const struct bench *b)
{
	/* not SIZE_MAX: qemu-storage-daemon offers it with 0 */
	static const unsigned char plain[] = { VIO_F_VERSION_1, VIO_F_EVENT_IDX, VIO_BLK_F_RO, VIO_BLK_F_BLK_SIZE,
		VIO_BLK_F_FLUSH, VIO_BLK_F_MQ };
	struct vio_features f = vio_features_of(plain, sizeof plain);
	if (b->packed)
		vio_features_add(&f, VIO_F_RING_PACKED);
	if (b->in_order)
		vio_features_add(&f, VIO_F_IN_ORDER);
	if (needs_indirect(b))
		vio_features_add(&f, VIO_F_INDIRECT_DESC);
	return f;
}

static bool check_device(struct bench *b)
{
	const struct vio_blk *d = &b->blk;
	bool writes = b->o.rw == BENCH_RANDWRITE || b->o.rw == BENCH_WRITE;
	uint64_t capacity = d->capacity * VIO_BLK_SECTOR, bytes = b->size < capacity ? b->size : capacity;
	uint64_t blocks = bytes / b->o.bs / b->o.queues;

	if (b->packed && !vio_drv_has(&d->drv, VIO_F_RING_PACKED))
		return bench_refuse("The back end has no packed rings: leave out --packed.");
	if (b->in_order && !vio_drv_has(&d->drv, VIO_F_IN_ORDER))
		return bench_refuse("The back end doesn't use buffers in order: leave out --in-order.");
	if (d->queues < b->o.queues)
		return bench_refuse("The back end has %u queues: use --queues=%u.", d->queues, d->queues);
	if (needs_indirect(b) && !vio_drv_has(&d->drv, VIO_F_INDIRECT_DESC))
		return bench_refuse("The back end has no indirect descriptors: use a smaller --qd or a greater --queue-size.");
	if (b->o.bs % d->blk_size)
		return bench_refuse("The disk has blocks of %u bytes: give a --bs that is a multiple.", d->blk_size);
	if (writes && d->read_only)
		return bench_refuse("The disk is read-only: use --rw=randread or --rw=read.");
	if (blocks < (b->o.verify ? b->o.qd : 1))
		return bench_refuse("%" PRIu64 " bytes are too few for %u queues and queue depth %u.", bytes, b->o.queues, b->o.qd);
	if (b->o.verify && blocks > VERIFY_BLOCKS)
		blocks = VERIFY_BLOCKS;
	for (uint16_t i = 0; i < b->o.queues; i++) {
		b->worker[i].blocks = blocks;
		b->worker[i].first_block = i * blocks;
	}
	return true;
}

static bool start_device(struct bench *b)
{
	struct vio_vhost_front_options o = { .path = b->path, .fd = -1, .memory = &b->memory, .device_id = is_fs(b) ? VIO_ID_FS : VIO_ID_BLK,
		.irq = b->o.irq };
	char why[512];

	b->front = vio_vhost_connect(&o, why);
	if (!b->front)
		return bench_refuse("%s", why);
	b->setup.queues = b->fs_setup.queues = b->o.queues;
	b->setup.queue_size = b->fs_setup.queue_size = b->queue_size;
	b->setup.wanted = b->fs_setup.wanted = wanted(b);
	if (is_fs(b))
		return bench_fs_start(b);
	if (!vio_blk_start(&b->blk, vio_vhost_drv_port(b->front), &b->setup)) {
		const char *said = vio_vhost_why(b->front);
		return bench_refuse("The device can't be started: %s.%s%s", b->blk.drv.failed, *said ? " " : "", said);
	}
	return check_device(b);
}

/* ---- the run ---- */

static uint64_t wall_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void measure_ticks(struct bench *b)
{
	uint64_t from = wall_ns(), ticks = bench_ticks(), now;
	while ((now = wall_ns()) - from < 20000000)
		;
	b->ticks_per_ns = (double)(bench_ticks() - ticks) / (double)(now - from);
}

/* Queue i's processor: of those this process may use the last, the one before... a back end often sits on the first. */
static int choose_cpu(uint16_t queue)
{
	cpu_set_t set;
	int allowed[CPU_SETSIZE], n = 0;

	if (sched_getaffinity(0, sizeof set, &set) != 0)
		return -1;
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET((unsigned)i, &set))
			allowed[n++] = i;
	return n ? allowed[n - 1 - queue % n] : -1;
}

static bool prepare(struct bench *b, uint16_t i)
{
	struct bench_worker *w = &b->worker[i];
	bool writes = b->o.rw == BENCH_RANDWRITE || b->o.rw == BENCH_WRITE;

	w->o = &b->o;
	w->blk = &b->blk;
	w->front = b->front;
	w->queue = i;
	w->cpu = choose_cpu(i);
	w->warm_ticks = (uint64_t)(b->o.warm_up * 1e9 * b->ticks_per_ns);
	w->run_ticks = (uint64_t)(b->o.seconds * 1e9 * b->ticks_per_ns);
	w->stop = &b->stop;
	w->running = &b->running;
	w->random = wall_ns() + i;
	if (is_fs(b)) {
		bench_fs_prepare(b, w);
		return true;
	}
	bench_blk_prepare(w);
	memset(w->request, 0, b->o.qd * sizeof *w->request);
	for (uint32_t r = 0; r < b->o.qd; r++) {
		w->request[r].type = writes ? VIO_BLK_T_OUT : VIO_BLK_T_IN;
		w->request[r].len = b->o.bs;
	}
	if (!b->o.verify)
		return true;
	w->slot = calloc(b->o.qd, sizeof *w->slot);
	w->generation = calloc(w->blocks, sizeof *w->generation);
	return (w->slot && w->generation) || bench_refuse("There is no memory to remember what was written: use a smaller --size.");
}

/* The main thread sleeps on what the back end says beside the rings; when the connection ends, so do the workers. */
static void watch(struct bench *b)
{
	while (__atomic_load_n(&b->running, __ATOMIC_ACQUIRE)) {
		struct pollfd p[VIO_VHOST_LOOK_FDS];
		int fds[VIO_VHOST_LOOK_FDS];
		unsigned n = vio_vhost_look_fds(b->front, fds);
		for (unsigned i = 0; i < n; i++)
			p[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
		poll(p, n, 20);
		if (!vio_vhost_look(b->front))
			__atomic_store_n(&b->stop, 1, __ATOMIC_RELAXED);
	}
}

static bool run(struct bench *b)
{
	pthread_t thread[VIO_BLK_DRV_QUEUES];
	uint16_t started = 0;

	measure_ticks(b);
	for (uint16_t i = 0; i < b->o.queues; i++)
		if (!prepare(b, i))
			return false;
	b->running = b->o.queues;
	for (; started < b->o.queues; started++) {
		int error = pthread_create(&thread[started], NULL, b->o.verify ? bench_verify : bench_load, &b->worker[started]);
		if (error) {
			bench_refuse("No thread can be started: %s.", strerror(error));
			b->stop = 1;
			__atomic_sub_fetch(&b->running, b->o.queues - started, __ATOMIC_RELEASE);
			break;
		}
	}
	watch(b);
	for (uint16_t i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	return started == b->o.queues;
}

/* ---- the report ---- */

struct result {
	uint64_t ops, errors, lost, verified, mismatches, waited_ns;
	double iops, mean_ns, max_ns, percentile_ns[4];
	uint64_t histogram[BENCH_HISTOGRAM];
	const char *first_error;
};
static const double percentiles[4] = { 0.5, 0.9, 0.99, 0.999 };

/* The middle of a bucket, in ticks. */
static double bucket_middle(unsigned i)
{
	if (i < 32)
		return i;
	unsigned shift = i / 32 - 1;
	return ((double)(32 + i % 32) + 0.5) * (double)(UINT64_C(1) << shift);
}

static void add_percentiles(const struct bench *b, struct result *r)
{
	uint64_t total = 0, seen = 0;
	double sum = 0;
	unsigned p = 0;

	for (unsigned i = 0; i < BENCH_HISTOGRAM; i++) {
		total += r->histogram[i];
		sum += (double)r->histogram[i] * bucket_middle(i);
	}
	if (!total)
		return;
	r->mean_ns = sum / (double)total / b->ticks_per_ns;
	for (unsigned i = 0; i < BENCH_HISTOGRAM && p < 4; i++) {
		seen += r->histogram[i];
		while (p < 4 && (double)seen >= percentiles[p] * (double)total) {
			double ns = bucket_middle(i) / b->ticks_per_ns;
			r->percentile_ns[p++] = ns < r->max_ns ? ns : r->max_ns;
		}
	}
}

static void add_up(const struct bench *b, struct result *r)
{
	for (uint16_t i = 0; i < b->o.queues; i++) {
		const struct bench_worker *w = &b->worker[i];
		double ns = (double)w->ticks / b->ticks_per_ns, max = (double)w->max_ticks / b->ticks_per_ns;
		r->ops += w->ops;
		r->iops += ns > 0 ? (double)w->ops / ns * 1e9 : 0;
		r->max_ns = max > r->max_ns ? max : r->max_ns;
		r->errors += w->errors;
		r->lost += w->lost;
		r->verified += w->verified;
		r->mismatches += w->mismatches;
		r->waited_ns += w->waited_ns;
		if (!r->first_error && w->first_error[0])
			r->first_error = w->first_error;
		for (unsigned k = 0; k < BENCH_HISTOGRAM; k++)
			r->histogram[k] += w->histogram[k];
	}
	add_percentiles(b, r);
}

static const char *const rw_names[] = { "randread", "randwrite", "read", "write" };
static const char *const fs_names[] = { "lookup", "getattr", "read", "write" };
static const char *name_of(const struct bench *b) { return is_fs(b) ? fs_names[b->o.fs] : rw_names[b->o.rw]; }

static void print_json(const struct bench *b, const struct result *r)
{
	printf("{\"%s\":\"%s\",\"bs\":%u,\"qd\":%u,\"queues\":%u,\"queue_size\":%u,\"ring\":\"%s\",\"in_order\":%s,\"wait\":\"%s\","
	    "\"seconds\":%.3f,\"ops\":%" PRIu64 ",\"iops\":%.0f,\"bytes_per_second\":%.0f,"
	    "\"latency_ns\":{\"mean\":%.0f,\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"p99.9\":%.0f,\"max\":%.0f},"
	    "\"errors\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"waited_ns\":%" PRIu64, is_fs(b) ? "fs" : "rw", name_of(b),
	    bench_bytes(&b->o), b->o.qd, b->o.queues, b->queue_size,
	    b->packed ? "packed" : "split", b->in_order ? "true" : "false", b->o.irq ? "irq" : "poll", b->o.seconds, r->ops,
	    r->iops, r->iops * bench_bytes(&b->o), r->mean_ns, r->percentile_ns[0], r->percentile_ns[1], r->percentile_ns[2],
	    r->percentile_ns[3], r->max_ns, r->errors, r->lost, r->waited_ns);
	if (b->o.verify)
		printf(",\"verified\":%" PRIu64 ",\"mismatches\":%" PRIu64, r->verified, r->mismatches);
	puts("}");
}

static void print_table(const struct bench *b, const struct result *r)
{
	printf("%s of %u bytes, queue depth %u, %u queue%s, %s ring%s, %s, %.4g s\n", name_of(b), bench_bytes(&b->o), b->o.qd,
	    b->o.queues, b->o.queues == 1 ? "" : "s", b->packed ? "packed" : "split", b->in_order ? " in order" : "",
	    b->o.irq ? "interrupts" : "polling", b->o.seconds);
	printf("  requests/s  %14.0f\n", r->iops);
	printf("  MB/s        %14.1f\n", r->iops * bench_bytes(&b->o) / 1e6);
	printf("  latency     %10s %10s %10s %10s %10s %10s\n", "mean", "p50", "p90", "p99", "p99.9", "max");
	printf("  us          %10.2f %10.2f %10.2f %10.2f %10.2f %10.2f\n", r->mean_ns / 1e3, r->percentile_ns[0] / 1e3,
	    r->percentile_ns[1] / 1e3, r->percentile_ns[2] / 1e3, r->percentile_ns[3] / 1e3, r->max_ns / 1e3);
	printf("  errors      %14" PRIu64 "\n", r->errors);
	if ((double)r->waited_ns > 0.02e9 * b->o.seconds * b->o.queues)
		printf("  disturbed   %12.1f %% of the time something else had the processor\n",
		    (double)r->waited_ns / 1e7 / b->o.seconds / b->o.queues);
	if (r->lost)
		printf("  lost        %14" PRIu64 "\n", r->lost);
	if (b->o.verify)
		printf("  verified    %14" PRIu64 "\n  mismatches  %14" PRIu64 "\n", r->verified, r->mismatches);
}

static bool report(const struct bench *b)
{
	static struct result r;
	const char *broken = vio_vhost_broken(b->front);

	add_up(b, &r);
	if (b->json)
		print_json(b, &r);
	else
		print_table(b, &r);
	if (broken)
		bench_refuse("The connection was lost: %s", broken);
	if (r.errors || r.mismatches || r.lost)
		bench_refuse("%" PRIu64 " requests failed, %" PRIu64 " were not answered, %" PRIu64 " held something else than was written%s%s.",
		    r.errors, r.lost, r.mismatches, r.first_error ? "; the first: " : "", r.first_error ? r.first_error : "");
	return !broken && !r.errors && !r.mismatches && !r.lost;
}

static void end(struct bench *b)
{
	if (b->front && b->blk.drv.port)
		vio_blk_stop(&b->blk);
	if (b->front && b->fs && b->fs->drv.port)
		vio_fs_stop(b->fs);
	vio_vhost_disconnect(b->front);
	for (uint16_t i = 0; b->worker && i < b->o.queues; i++) {
		free(b->worker[i].slot);
		free(b->worker[i].generation);
	}
	free(b->worker);
	free(b->slots);
	vio_vhost_memory_free(&b->memory);
}

int vio_cmd_bench(int argc, char **argv)
{
	struct bench b = { .memory = { .fd = -1 } };
	struct vio_args args;
	char why[VIO_OPT_WHY];
	int status = 1;

	if (!vio_opt_parse(&table, argc, argv, &args, why)) {
		bench_refuse("%s", why);
		status = 2;
	} else if (args.common[HELP].given) {
		vio_opt_help(&table);
		status = 0;
	} else if (!take_options(&b, &args)) {
		status = 2;
	} else if (make_memory(&b) && start_device(&b) && run(&b) && report(&b)) {
		status = 0;
	}
	end(&b);
	vio_opt_free(&args);
	return status;
}
