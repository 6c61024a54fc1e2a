/*
 * Pairs of the network device in threads of their own, under the thread sanitizer: frames from every lane are steered to one pair
 * or another by a table that changes all the time, pairs come and go, and in the end everything stops while frames are under way.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <vio/device/net.h>
#include <vio/host/link.h>
#include <vio/ring/drvq.h>
#include "../test.h"

enum { PAIRS = 3, QUEUES = 2 * PAIRS + 1, SIZE = 64, FRAME = 100, BUFFER = 256, COMMANDS = 40, SPACE = 1 << 16 };
#define GPA UINT64_C(0x100000)

struct play;
struct worker {
	struct play *p;
	unsigned index;
	pthread_t thread;
	pthread_mutex_t lock;
	struct vio_dev_call *calls, **calls_end;
	uint64_t due;			/* queues; the worker's own */
	uint64_t frames;
};

struct play {
	struct vio_dev *d;
	struct vio_mem mem;
	struct vio_region region;
	unsigned char *bytes;
	struct vio_drvq q[QUEUES];
	struct vio_drvq_slot slots[QUEUES][SIZE];
	struct worker worker[PAIRS];
	bool ending;			/* atomic */
	unsigned running;		/* atomic: queues that have not stopped */
};

static struct worker *worker_of(struct play *p, unsigned queue) { return &p->worker[queue == QUEUES - 1 ? 0 : queue / 2]; }

/* ---- The port ---- */

static void on_used(void *arg, unsigned queue) { (void)arg, (void)queue; }
static void on_config(void *arg) { (void)arg; }
static void on_broken(void *arg, unsigned queue, const char *why) { (void)arg, (void)queue, (void)why; abort(); }
static void on_wake(void *arg, unsigned queue) { worker_of(arg, queue)->due |= UINT64_C(1) << queue; }
static bool on_together(void *arg, unsigned a, unsigned b) { return worker_of(arg, a) == worker_of(arg, b); }
static void *on_alloc(void *arg, size_t n) { (void)arg; return calloc(1, n); }
static void on_free(void *arg, void *p, size_t n) { (void)arg, (void)n; free(p); }

static void on_post(void *arg, unsigned queue, struct vio_dev_call *c)
{
	struct worker *w = worker_of(arg, queue);

	pthread_mutex_lock(&w->lock);
	c->next = NULL;
	*(w->calls ? w->calls_end : &w->calls) = c;
	w->calls_end = &c->next;
	pthread_mutex_unlock(&w->lock);
}

static const struct vio_port_ops port = {
	.used = on_used, .config = on_config, .wake = on_wake, .broken = on_broken, .post = on_post, .together = on_together,
	.alloc = on_alloc, .free = on_free,
};

static void run_calls(struct worker *w)
{
	for (;;) {
		pthread_mutex_lock(&w->lock);
		struct vio_dev_call *c = w->calls;
		if (c)
			w->calls = c->next;
		pthread_mutex_unlock(&w->lock);
		if (!c)
			return;
		c->fn(c->arg);
	}
}

static void run_turns(struct worker *w)
{
	uint64_t due = w->due;

	w->due = 0;
	for (unsigned q = 0; q < QUEUES; q++)
		if (due >> q & 1 && vio_dev_queue_turn(w->p->d, q))
			w->due |= UINT64_C(1) << q;
}

/* ---- A pair's driver ---- */

static unsigned char *space(struct play *p, unsigned queue) { return p->bytes + (size_t)queue * SPACE; }
static uint64_t address(struct play *p, const void *at) { return GPA + (uint64_t)((const unsigned char *)at - p->bytes); }

static void start_queue(struct play *p, unsigned i)
{
	struct vio_queue_start s = { .place = p->q[i].place };

	vio_dev_queue_enable(p->d, i, true);
	if (vio_dev_queue_start(p->d, i, &s))
		abort();
	worker_of(p, i)->due |= UINT64_C(1) << i;
}

static void kick(struct worker *w, unsigned queue)
{
	vio_drvq_kick_due(&w->p->q[queue]);
	w->due |= UINT64_C(1) << queue;
}

static void drive(struct worker *w)
{
	struct play *p = w->p;
	unsigned rx = 2 * w->index, tx = rx + 1;
	unsigned char *buffer, *frame = space(p, tx) + SPACE / 2;
	uint32_t len;

	while ((buffer = vio_drvq_get(&p->q[rx], &len))) {
		if (len != VIO_NET_HDR_PLAIN + FRAME)
			abort();
		w->frames++;
		vio_drvq_add(&p->q[rx], &(struct vio_buf){ address(p, buffer), BUFFER }, 0, 1, buffer);
	}
	while (vio_drvq_get(&p->q[tx], &len))
		;
	vio_drvq_add(&p->q[tx], &(struct vio_buf){ address(p, frame), VIO_NET_HDR_PLAIN + FRAME }, 1, 0, frame);
	kick(w, rx);
	kick(w, tx);
}

static void on_stopped(void *arg, unsigned queue, uint32_t base)
{
	struct play *p = arg;

	(void)queue, (void)base;
	__atomic_fetch_sub(&p->running, 1, __ATOMIC_ACQ_REL);
}

/* All queues of this thread; its messages are run until everybody has stopped. */
static void end(struct worker *w)
{
	struct play *p = w->p;

	for (unsigned q = 0; q < QUEUES; q++)
		if (worker_of(p, q) == w)
			vio_dev_queue_stop(p->d, q, true, on_stopped, p);
	while (__atomic_load_n(&p->running, __ATOMIC_ACQUIRE))
		run_calls(w);
	run_calls(w);
}

static void begin(struct worker *w)
{
	struct play *p = w->p;
	unsigned rx = 2 * w->index;

	for (unsigned i = 0; i < SIZE; i++) {
		unsigned char *b = space(p, rx) + SPACE / 2 + i * BUFFER;
		vio_drvq_add(&p->q[rx], &(struct vio_buf){ address(p, b), BUFFER }, 0, 1, b);
	}
	for (unsigned q = 0; q < QUEUES; q++)
		if (worker_of(p, q) == w)
			start_queue(p, q);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	begin(w);
	while (!__atomic_load_n(&w->p->ending, __ATOMIC_ACQUIRE)) {
		run_calls(w);
		drive(w);
		run_turns(w);
	}
	end(w);
	return NULL;
}

/* ---- The control queue, in the home thread ---- */

static void command(struct play *p, const void *bytes, size_t n)
{
	struct worker *home = &p->worker[0];
	unsigned char *out = space(p, QUEUES - 1) + SPACE / 2, *in = out + 1024;
	struct vio_buf b[2] = { { address(p, out), (uint32_t)n }, { address(p, in), 1 } };

	memcpy(out, bytes, n);
	*in = 0xee;
	if (!vio_drvq_add(&p->q[QUEUES - 1], b, 1, 1, p))
		abort();
	kick(home, QUEUES - 1);
	do {
		run_calls(home);
		drive(home);
		run_turns(home);
	} while (!vio_drvq_get(&p->q[QUEUES - 1], NULL));
	if (*in != VIO_NET_OK)
		abort();
}

static void configure(struct play *p, unsigned i)
{
	/* No hash can be taken of these frames: they go where unclassified ones do. */
	unsigned char rss[2 + 8 + 2 + 3] = { VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_RSS_CONFIG, 2, 0, 0, 0, 0, 0, (unsigned char)(i % PAIRS), 0,
		0, 0, PAIRS, 0, 0 };
	const unsigned char pairs[] = { VIO_NET_CTRL_MQ, VIO_NET_CTRL_MQ_VQ_PAIRS_SET, (unsigned char)(1 + i % PAIRS), 0 };
	const unsigned char promiscuous[] = { VIO_NET_CTRL_RX, VIO_NET_CTRL_RX_PROMISC, i & 1 };

	command(p, rss, sizeof rss);
	if (i % 4 == 3)
		command(p, pairs, sizeof pairs);
	command(p, promiscuous, sizeof promiscuous);
}

static void open_play(struct play *p, struct vio_link *link)
{
	static const unsigned char bits[] = { VIO_F_VERSION_1, VIO_NET_F_MRG_RXBUF, VIO_NET_F_CTRL_VQ, VIO_NET_F_CTRL_RX, VIO_NET_F_MQ,
		VIO_NET_F_RSS };
	struct vio_net_options o = { .link = link, .pairs = PAIRS, .queue_size = SIZE };

	p->d = calloc(1, vio_dev_net.instance);
	p->bytes = calloc(QUEUES, SPACE);
	p->region = (struct vio_region){ .gpa = GPA, .size = (uint64_t)QUEUES * SPACE, .host = p->bytes, .perm = VIO_MEM_RW };
	p->mem = (struct vio_mem){ .region = &p->region, .count = 1, .refs = 1 };
	assert_null(vio_dev_open(p->d, &vio_dev_net, &o, &port, p, vio_features_of(bits, 1)));
	vio_dev_set_mem(p->d, &p->mem);
	vio_dev_accept(p->d, vio_features_of(bits, sizeof bits));
	p->running = QUEUES;
	for (unsigned i = 0; i < QUEUES; i++)
		vio_drvq_init(&p->q[i], &(struct vio_drvq_setup){ .size = SIZE, .features = p->d->accepted, .ring = space(p, i),
		    .ring_addr = address(p, space(p, i)), .slots = p->slots[i] });
	for (unsigned i = 0; i < PAIRS; i++) {
		p->worker[i].p = p;
		p->worker[i].index = i;
		pthread_mutex_init(&p->worker[i].lock, NULL);
	}
}

static void races(void **state)
{
	(void)state;
	struct vio_link *link = vio_link_null_open(PAIRS, FRAME);
	struct play *p = calloc(1, sizeof *p);
	uint64_t frames = 0;

	open_play(p, link);
	for (unsigned i = 1; i < PAIRS; i++)
		assert_int_equal(pthread_create(&p->worker[i].thread, NULL, work, &p->worker[i]), 0);
	begin(&p->worker[0]);
	for (unsigned i = 0; i < COMMANDS; i++)
		configure(p, i);
	__atomic_store_n(&p->ending, true, __ATOMIC_RELEASE);
	end(&p->worker[0]);
	for (unsigned i = 0; i < PAIRS; i++) {
		if (i)
			pthread_join(p->worker[i].thread, NULL);
		assert_true(p->worker[i].frames);
		assert_null(p->worker[i].calls);
		frames += p->worker[i].frames;
	}
	print_message("# %llu frames\n", (unsigned long long)frames);
	vio_dev_close(p->d);
	vio_link_close(link);
	free(p->d);
	free(p->bytes);
	free(p);
}

static const struct CMUnitTest tests[] = {
	T(races, "pairs in threads of their own: frames steered across, rules that change, a stop in the middle"),
};
int main(void) { return vio_tests("net_threads", tests, sizeof tests / sizeof *tests); }
