/*
 * The SCSI device in several threads: each request queue has one of its own, control and event queue share the first one's.  The
 * driver is the test's thread.  Meant for the thread sanitizer too, so what the disk holds is behind a lock here.
 */
#include <pthread.h>
#include <sched.h>
#include "scsi_rig.h"

enum { LANES = 3, QUEUES = REQUESTS + LANES, SIZE = 16, SLOT_BYTES = 2048 };

/* ---- A disk of bytes that two threads may ask at once ---- */

struct locked_disk {
	struct vio_disk disk;
	struct vio_disk_chan chan;
	pthread_mutex_t lock;
	unsigned open;
	unsigned char bytes[64 * 512];
};

static struct locked_disk *disk_of(struct vio_disk_chan *c)
{
	return (struct locked_disk *)((char *)c - offsetof(struct locked_disk, chan));
}

static void locked_submit(struct vio_disk_chan *c, struct vio_disk_io *io)
{
	struct locked_disk *d = disk_of(c);

	pthread_mutex_lock(&d->lock);
	assert(io->offset <= sizeof d->bytes && io->length <= sizeof d->bytes - io->offset);
	if (io->op == VIO_DISK_READ)
		vio_cur_put(&io->bytes, d->bytes + io->offset, io->length);
	else if (io->op == VIO_DISK_WRITE)
		vio_cur_get(&io->bytes, d->bytes + io->offset, io->length);
	pthread_mutex_unlock(&d->lock);
	for (unsigned i = 0; io->op == VIO_DISK_READ && i < 200; i++)	/* others get in between, if anything lets them */
		sched_yield();
	io->done(io, 0);
}

static void locked_cancel(struct vio_disk_chan *c, struct vio_disk_io *io) { (void)c, (void)io; }
static void locked_chan_close(struct vio_disk_chan *c) { __atomic_fetch_sub(&disk_of(c)->open, 1, __ATOMIC_RELAXED); }
static const struct vio_disk_chan_ops locked_chan_ops = {
	.submit = locked_submit, .cancel = locked_cancel, .close = locked_chan_close,
};

static struct vio_disk_chan *locked_channel(struct vio_disk *disk, unsigned queue)
{
	struct locked_disk *d = (struct locked_disk *)disk;

	(void)queue;
	__atomic_fetch_add(&d->open, 1, __ATOMIC_RELAXED);
	return &d->chan;
}

static const struct vio_disk_ops locked_ops = { .channel = locked_channel };

static struct locked_disk *locked_new(void)
{
	struct locked_disk *d = calloc(1, sizeof *d);

	assert_non_null(d);
	d->disk = (struct vio_disk){ .ops = &locked_ops, .size = sizeof d->bytes, .logical_block = 512, .can_discard = true };
	d->chan.ops = &locked_chan_ops;
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

static void locked_free(struct locked_disk *d)
{
	assert_int_equal(d->open, 0);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* ---- Threads, and a wire to them ---- */

struct world;
struct thread {
	struct world *w;
	unsigned lane;
	pthread_t id;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct vio_dev_call *first, **last;
	uint64_t due;
	bool stop;
};

struct world {
	struct vio_dev *dev;
	struct thread thread[LANES];
	struct vio_mem mem;
	struct vio_region region;
	unsigned char *bytes;
	struct vio_drvq q[QUEUES];
	struct vio_drvq_slot slots[QUEUES][SIZE];
	pthread_mutex_t lock;
	pthread_cond_t used;
	unsigned uses;
};

static unsigned lane_of(unsigned queue) { return queue < REQUESTS ? 0 : queue - REQUESTS; }

static void nudge(struct world *w, unsigned queue)
{
	struct thread *t = &w->thread[lane_of(queue)];

	pthread_mutex_lock(&t->lock);
	t->due |= UINT64_C(1) << queue;
	pthread_cond_signal(&t->more);
	pthread_mutex_unlock(&t->lock);
}

static void on_wake(void *arg, unsigned queue) { nudge(arg, queue); }
static void on_config(void *arg) { (void)arg; }
static void on_broken(void *arg, unsigned queue, const char *why) { (void)arg, (void)queue; fail_msg("%s", why); }
static void on_miss(void *arg, unsigned queue, uint64_t iova, unsigned perm) { (void)arg, (void)queue, (void)iova, (void)perm; }
static bool on_together(void *arg, unsigned a, unsigned b) { (void)arg; return lane_of(a) == lane_of(b); }
static void *on_alloc(void *arg, size_t n) { (void)arg; return calloc(1, n); }
static void on_free(void *arg, void *p, size_t n) { (void)arg, (void)n; free(p); }

static void on_used(void *arg, unsigned queue)
{
	struct world *w = arg;

	(void)queue;
	pthread_mutex_lock(&w->lock);
	w->uses++;
	pthread_cond_signal(&w->used);
	pthread_mutex_unlock(&w->lock);
}

static void on_post(void *arg, unsigned queue, struct vio_dev_call *c)
{
	struct thread *t = &((struct world *)arg)->thread[lane_of(queue)];

	c->next = NULL;
	pthread_mutex_lock(&t->lock);
	*(t->first ? t->last : &t->first) = c;
	t->last = &c->next;
	pthread_cond_signal(&t->more);
	pthread_mutex_unlock(&t->lock);
}

static const struct vio_port_ops port = {
	.used = on_used, .config = on_config, .wake = on_wake, .broken = on_broken, .miss = on_miss, .post = on_post,
	.together = on_together, .alloc = on_alloc, .free = on_free,
};

static void *thread_run(void *arg)
{
	struct thread *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->stop || t->first || t->due) {
		struct vio_dev_call *c = t->first;
		if (c) {
			t->first = c->next;
			pthread_mutex_unlock(&t->lock);
			c->fn(c->arg);
			pthread_mutex_lock(&t->lock);
		} else if (t->due) {
			unsigned queue = (unsigned)__builtin_ctzll(t->due);
			t->due &= t->due - 1;
			pthread_mutex_unlock(&t->lock);
			bool more = vio_dev_queue_turn(t->w->dev, queue);
			pthread_mutex_lock(&t->lock);
			t->due |= more ? UINT64_C(1) << queue : 0;
		} else {
			pthread_cond_wait(&t->more, &t->lock);
		}
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* Run fn(arg) in a queue's thread, and wait for it. */
struct errand { struct vio_dev_call call; void (*fn)(struct world *w, void *arg); struct world *w; void *arg; bool done; };

static void errand_run(void *arg)
{
	struct errand *e = arg;
	struct world *w = e->w;

	e->fn(w, e->arg);
	pthread_mutex_lock(&w->lock);
	e->done = true;
	pthread_cond_signal(&w->used);
	pthread_mutex_unlock(&w->lock);
}

static void run_there(struct world *w, unsigned queue, void (*fn)(struct world *w, void *arg), void *arg)
{
	struct errand e = { .call = { .fn = errand_run, .arg = &e }, .fn = fn, .w = w, .arg = arg };

	on_post(w, queue, &e.call);
	pthread_mutex_lock(&w->lock);
	while (!e.done)
		pthread_cond_wait(&w->used, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

/* ---- Life ---- */

static size_t ring_at(unsigned queue) { return queue * 4096u; }
static unsigned char *slot_at(struct world *w, unsigned queue, unsigned slot)
{
	return w->bytes + QUEUES * 4096 + (queue * SIZE + slot) * (size_t)SLOT_BYTES;
}

static void start_queue(struct world *w, void *arg)
{
	unsigned i = *(unsigned *)arg;
	struct vio_queue_start s = { .place = w->q[i].place };

	assert_null(vio_dev_queue_start(w->dev, i, &s));
	vio_dev_queue_enable(w->dev, i, true);
}

static void stopped(void *arg, unsigned queue, uint32_t base)
{
	(void)queue, (void)base;
	__atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE);
}

struct stop_order { unsigned queue; bool done; };

static void stop_queue(struct world *w, void *arg)
{
	struct stop_order *o = arg;

	vio_dev_queue_stop(w->dev, o->queue, true, stopped, &o->done);
}

static struct world *world_new(struct vio_disk *disk)
{
	struct world *w = calloc(1, sizeof *w);
	struct vio_scsi_lun lun = { .disk = disk, .serial = "0001" };
	struct vio_scsi_options o = { .luns = &lun, .lun_count = 1, .queues = LANES, .queue_size = SIZE };
	struct vio_features f = BITS(USUAL);

	assert_non_null(w);
	size_t n = QUEUES * 4096 + QUEUES * SIZE * (size_t)SLOT_BYTES;
	w->bytes = aligned_alloc(4096, (n + 4095) & ~(size_t)4095);
	memset(w->bytes, 0, n);
	w->region = (struct vio_region){ .gpa = RIG_GPA, .size = n, .host = w->bytes, .perm = VIO_MEM_RW };
	w->mem = (struct vio_mem){ .region = &w->region, .count = 1, .refs = 1 };
	w->dev = calloc(1, vio_dev_scsi.instance);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->used, NULL);
	assert_null(vio_dev_open(w->dev, &vio_dev_scsi, &o, &port, w, f));
	vio_dev_set_mem(w->dev, &w->mem);
	vio_dev_accept(w->dev, f);
	for (unsigned i = 0; i < LANES; i++) {
		w->thread[i] = (struct thread){ .w = w, .lane = i };
		pthread_mutex_init(&w->thread[i].lock, NULL);
		pthread_cond_init(&w->thread[i].more, NULL);
		assert_int_equal(pthread_create(&w->thread[i].id, NULL, thread_run, &w->thread[i]), 0);
	}
	for (unsigned i = 0; i < QUEUES; i++) {
		struct vio_drvq_setup s = { .size = SIZE, .features = f, .slots = w->slots[i], .ring = w->bytes + ring_at(i),
			.ring_addr = RIG_GPA + ring_at(i) };
		vio_drvq_init(&w->q[i], &s);
		run_there(w, i, start_queue, &i);
	}
	return w;
}

static void world_close(struct world *w)
{
	for (unsigned i = 0; i < QUEUES; i++) {
		struct stop_order o = { .queue = i };
		run_there(w, i, stop_queue, &o);
		while (!__atomic_load_n(&o.done, __ATOMIC_ACQUIRE))
			sched_yield();
	}
	for (unsigned i = 0; i < LANES; i++) {
		pthread_mutex_lock(&w->thread[i].lock);
		w->thread[i].stop = true;
		pthread_cond_signal(&w->thread[i].more);
		pthread_mutex_unlock(&w->thread[i].lock);
		pthread_join(w->thread[i].id, NULL);
	}
	vio_dev_close(w->dev);
	free(w->dev);
	free(w->bytes);
	free(w);
}

/* ---- Requests ---- */

static bool send(struct world *w, unsigned queue, unsigned slot, const uint8_t *cdb, size_t cdb_len, const void *out,
    size_t out_len, size_t in_len)
{
	unsigned char *r = slot_at(w, queue, slot), *a = r + 1200;
	struct vio_buf bufs[2] = {
		{ RIG_GPA + (uint64_t)(r - w->bytes), (uint32_t)(51 + out_len) },
		{ RIG_GPA + (uint64_t)(a - w->bytes), (uint32_t)(108 + in_len) },
	};

	memset(r, 0, 51);
	r[0] = 1;
	r[2] = 0x40;
	r[3] = slot == 3;		/* the unit that comes and goes */
	r[8] = (uint8_t)slot;
	memcpy(r + 19, cdb, cdb_len);
	if (out_len)
		memcpy(r + 51, out, out_len);
	if (!vio_drvq_add(&w->q[queue], bufs, 1, 1, a))
		return false;
	if (vio_drvq_kick_due(&w->q[queue]))
		nudge(w, queue);
	return true;
}

static unsigned char *receive(struct world *w, unsigned queue)
{
	uint32_t used;
	return vio_drvq_get(&w->q[queue], &used);
}

static void wait_for_use(struct world *w, unsigned *seen)
{
	pthread_mutex_lock(&w->lock);
	while (w->uses == *seen)
		pthread_cond_wait(&w->used, &w->lock);
	*seen = w->uses;
	pthread_mutex_unlock(&w->lock);
}

/* ---- Tests ---- */

/* A counter that all queues count up with COMPARE AND WRITE: not one step is lost. */
static void a_counter_for_all(void **state)
{
	struct locked_disk *d = locked_new();
	struct world *w = world_new(&d->disk);
	enum { STEPS = 600 };
	uint32_t guess[QUEUES] = { 0 }, won = 0, lost = 0;
	bool busy[QUEUES] = { false };
	unsigned seen = 0, idle = 0;

	(void)state;
	while (won < STEPS || idle < LANES) {
		idle = 0;
		for (unsigned q = REQUESTS; q < QUEUES; q++) {
			uint8_t data[1024] = { 0 };
			unsigned char *a = busy[q] ? receive(w, q) : NULL;
			if (a) {
				busy[q] = false;
				assert_int_equal(a[11], VIO_SCSI_S_OK);
				if (a[10] == 0) {
					won++;
					guess[q]++;
				} else if ((a[12 + 2] & 15) == VIO_SENSE_MISCOMPARE) {
					lost++;
					guess[q]++;		/* it only grows */
				}
			}
			if (!busy[q] && won < STEPS) {
				memcpy(data, &guess[q], 4);
				uint32_t more = guess[q] + 1;
				memcpy(data + 512, &more, 4);
				assert_true(send(w, q, 0, CDB(0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0), data, 1024, 0));
				busy[q] = true;
			}
			idle += !busy[q];
		}
		if (idle < LANES)
			wait_for_use(w, &seen);
	}
	uint32_t is;
	memcpy(&is, d->bytes, 4);
	assert_int_equal(is, won);
	world_close(w);
	locked_free(d);
}

struct change { struct vio_scsi_lun lun; bool gone; const char *why; };
static void gone(void *arg) { __atomic_store_n((bool *)arg, true, __ATOMIC_RELEASE); }
static void add(struct world *w, void *arg) { struct change *c = arg; c->why = vio_scsi_dev_add(w->dev, &c->lun); }
static void removes(struct world *w, void *arg)
{
	struct change *c = arg;

	c->why = vio_scsi_dev_remove(w->dev, 0, 1, gone, &c->gone);
}

static void resize(struct world *w, void *arg)
{
	struct locked_disk *d = arg;

	(void)w;
	d->disk.size = d->disk.size == sizeof d->bytes ? sizeof d->bytes - 512 : sizeof d->bytes;
	d->disk.resized(d->disk.resized_arg);
}

/* Commands of all kinds in all threads, while units come and go, sizes change, and functions reset. */
static void all_at_once(void **state)
{
	static const struct { uint8_t cdb[16]; size_t out, in; } kinds[] = {
		{ { 0 }, 0, 0 }, { { 0x28, 0, 0, 0, 0, 9, 0, 0, 1 }, 0, 512 }, { { 0x2a, 0, 0, 0, 0, 9, 0, 0, 1 }, 512, 0 },
		{ { 0x12, 0, 0, 0, 74 }, 0, 74 }, { { 0x1a, 8, 0x3f, 0, 255 }, 0, 255 }, { { 0x2f, 2, 0, 0, 0, 3, 0, 0, 2 }, 1024, 0 },
		{ { 0x41, 0, 0, 0, 0, 5, 0, 0, 3 }, 512, 0 }, { { 0x89, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1 }, 1024, 0 },
		{ { 0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64 }, 0, 64 }, { { 0x5e, 0, 0, 0, 0, 0, 0, 0, 64 }, 0, 64 },
		{ { 0x5f, 6, 0, 0, 0, 0, 0, 0, 24 }, 24, 0 }, { { 0x35 }, 0, 0 }, { { 0x25 }, 0, 8 }, { { 0x1b, 0, 0, 0, 1 }, 0, 0 },
		{ { 0x15, 0x10, 0, 0, 24 }, 24, 0 },
	};
	static uint8_t zero[1024] = { [4] = 8, [5] = 18 };
	struct locked_disk *d = locked_new(), *e = locked_new();
	struct world *w = world_new(&d->disk);
	struct change c = { .lun = { .lun = 1, .disk = &e->disk } };
	unsigned out[QUEUES] = { 0 }, free_slot[QUEUES][4], sent = 0, seen = 0;

	(void)state;
	for (unsigned q = 0; q < QUEUES; q++)
		for (unsigned i = 0; i < 4; i++)
			free_slot[q][i] = i;
	for (unsigned round = 0; round < 1500; round++) {
		for (unsigned q = REQUESTS; q < QUEUES; q++)
			while (out[q] < 4) {
				unsigned k = (round * 7 + sent * 13) % (sizeof kinds / sizeof *kinds);
				unsigned slot = free_slot[q][3 - out[q]];
				assert_true(send(w, q, slot, kinds[k].cdb, 16, zero, kinds[k].out, kinds[k].in));
				out[q]++;
				sent++;
			}
		if (round % 16 == 0) {
			uint8_t *m = slot_at(w, CONTROL, 0);
			uint32_t what[2] = { 0, round % 32 ? VIO_SCSI_T_TMF_ABORT_TASK_SET : VIO_SCSI_T_TMF_LOGICAL_UNIT_RESET };
			struct vio_buf bufs[2] = { { RIG_GPA + (uint64_t)(m - w->bytes), 24 }, { RIG_GPA + (uint64_t)(m - w->bytes) + 64, 1 } };
			memset(m, 0, 24);
			memcpy(m, what, 8);
			m[8] = 1;
			m[10] = 0x40;
			assert_true(vio_drvq_add(&w->q[CONTROL], bufs, 1, 1, m + 64));
			vio_drvq_kick_due(&w->q[CONTROL]);
			nudge(w, CONTROL);
			while (!receive(w, CONTROL))
				sched_yield();
			assert_int_equal(m[64], VIO_SCSI_S_FUNCTION_COMPLETE);
		}
		if (round % 64 == 5) {
			c.gone = false;
			run_there(w, CONTROL, add, &c);
			assert_null(c.why);
		}
		if (round % 64 == 40) {
			run_there(w, CONTROL, removes, &c);
			assert_null(c.why);
			while (!__atomic_load_n(&c.gone, __ATOMIC_ACQUIRE))
				sched_yield();
		}
		if (round % 32 == 9)
			run_there(w, CONTROL, resize, d);
		for (unsigned q = REQUESTS, got = 0; q < QUEUES || !got; q = q + 1 < QUEUES || got ? q + 1 : REQUESTS) {
			unsigned char *a;
			while ((a = receive(w, q))) {
				unsigned slot = (unsigned)((size_t)(a - slot_at(w, q, 0)) / SLOT_BYTES);
				assert_true(a[11] == VIO_SCSI_S_OK || a[11] == VIO_SCSI_S_ABORTED || a[11] == VIO_SCSI_S_RESET ||
				    a[11] == VIO_SCSI_S_TRANSPORT_FAILURE);
				out[q]--;
				free_slot[q][3 - out[q]] = slot;
				got++;
			}
			if (q == QUEUES - 1 && !got)
				wait_for_use(w, &seen);
		}
	}
	world_close(w);
	locked_free(d);
	locked_free(e);
}

static const struct CMUnitTest tests[] = {
	T(a_counter_for_all, "three threads count with COMPARE AND WRITE, and lose nothing"),
	T(all_at_once, "commands, functions, units that come and go, sizes that change, in three threads"),
};
int main(void) { return vio_tests("scsi_threads", tests, sizeof tests / sizeof *tests); }
