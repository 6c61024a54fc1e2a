/*
 * MSI-X under a storm: a queue's thread signals without pause while the driver masks, unmasks, rewrites messages and moves queues
 * from vector to vector.  No signal is lost, none is sent that nobody caused, and none where there is no vector.
 */
#define RIG_PCI
#include <pthread.h>
#include <sched.h>
#include "bus.h"

enum { SIGNALS = 200000, PIN_ROUNDS = 20000, ISR_AT = 0x1000, TABLE_AT = 0x4000, PENDING_AT = 0x5000 };

struct storm {
	struct blk_rig b;
	uint64_t fired;		/* atomic: signals the queue's thread has begun */
	uint64_t messages;	/* atomic */
	uint64_t last;		/* atomic: signals that had been begun when the last message went out */
	bool stop;		/* atomic */
};

static struct storm *now;

static void on_message(void *arg, unsigned vector)
{
	(void)arg;
	assert(vector < WIRE_VECTORS);
	uint64_t fired = __atomic_load_n(&now->fired, __ATOMIC_SEQ_CST), last = __atomic_load_n(&now->last, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&now->messages, 1, __ATOMIC_SEQ_CST);
	while (last < fired && !__atomic_compare_exchange_n(&now->last, &last, fired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
}

static void on_pin(void *arg, bool level) { (void)arg, (void)level; }
static void on_vector(void *arg, unsigned vector) { (void)arg, (void)vector; }
static const struct vio_pci_ops storm_ops = { WIRE_OWNER, .msix = on_message, .intx = on_pin, .vector = on_vector };

/* The queue's thread, all it does being signals. */
static void *fire(void *arg)
{
	struct storm *s = arg;

	for (unsigned i = 0; i < SIGNALS; i++) {
		__atomic_add_fetch(&s->fired, 1, __ATOMIC_SEQ_CST);
		vio_pci_port.used(dev(&s->b), i & 1);
	}
	__atomic_store_n(&s->stop, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void control(struct storm *s, uint16_t bits) { vio_pci_config_write(dev(&s->b), dev(&s->b)->msix_at + 2u, 2, bits); }
static void mask(struct storm *s, unsigned v, bool on) { put(&s->b, TABLE_AT + v * 16 + 12, 4, on); }

static void map(struct storm *s, unsigned queue, unsigned vector)
{
	put_reg(&s->b, SELECT, queue);
	put(&s->b, offsetof(struct vio_pci_common, queue_msix_vector), 2, vector);
}

static void begin(struct storm *s)
{
	*s = (struct storm){ .b = bus_new() };
	now = s;
	bus_start(&s->b, false);
	dev(&s->b)->ops = &storm_ops;
	map(s, 0, 1);
	map(s, 1, 2);
	control(s, VIO_PCI_MSIX_ENABLE);
	for (unsigned v = 0; v < WIRE_VECTORS; v++)
		mask(s, v, false);
}

static void mask_one(struct storm *s, unsigned i) { mask(s, 1 + i % 2, i >> 1 & 1); }
static void mask_all(struct storm *s, unsigned i) { control(s, VIO_PCI_MSIX_ENABLE | (i & 1 ? VIO_PCI_MSIX_MASK_ALL : 0)); }
static void masters(struct storm *s, unsigned i) { vio_pci_config_write(dev(&s->b), VIO_PCI_COMMAND, 2, i & 1 ? 2 : 6); }

static void rewrite(struct storm *s, unsigned i)
{
	unsigned v = 1 + i % 2;

	mask(s, v, true);
	put(&s->b, TABLE_AT + v * 16, 8, 0xfee00000 + i * 4096u);
	put(&s->b, TABLE_AT + v * 16 + 8, 4, i);
	mask(s, v, false);
}

static void move_queues(struct storm *s, unsigned i)
{
	map(s, 0, i % WIRE_VECTORS);
	map(s, 1, i % 7 ? (i + 1) % WIRE_VECTORS : WIRE_VECTORS + i % 9);	/* there is no such vector */
	get(&s->b, PENDING_AT, 8);
}

static void everything(struct storm *s, unsigned i)
{
	static void (*const all[])(struct storm *, unsigned) = { mask_one, mask_all, rewrite, masters, move_queues };
	all[i % 5](s, i / 5);
}

static void a_storm(void **state)
{
	static const struct { const char *what; void (*act)(struct storm *s, unsigned i); } rows[] = {
		{ "masks of a vector", mask_one }, { "masks of all", mask_all }, { "messages rewritten", rewrite },
		{ "no bus master, and again", masters }, { "queues moved between vectors", move_queues }, { "everything", everything },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct storm s;
		pthread_t thread;
		begin(&s);
		assert_int_equal(pthread_create(&thread, NULL, fire, &s), 0);
		for (unsigned k = 0; !__atomic_load_n(&s.stop, __ATOMIC_SEQ_CST); k++)
			rows[i].act(&s, k);
		pthread_join(thread, NULL);
		/* Calm: everything unmasked and in its place.  What was signalled last has been told, or is now. */
		vio_pci_config_write(dev(&s.b), VIO_PCI_COMMAND, 2, 6);
		control(&s, VIO_PCI_MSIX_ENABLE);
		for (unsigned v = 0; v < WIRE_VECTORS; v++)
			mask(&s, v, false);
		assert_int_equal(get(&s.b, PENDING_AT, 8), 0);
		bool vectorless = rows[i].act == move_queues || rows[i].act == everything;	/* at moments */
		bool lost = s.last != s.fired && !vectorless;
		if (lost || s.messages > s.fired || !s.messages)
			fail_msg("%s: %llu signals, %llu messages, the last after %llu", rows[i].what, (unsigned long long)s.fired,
			    (unsigned long long)s.messages, (unsigned long long)s.last);
		uint64_t messages = s.messages;
		map(&s, 0, 1);
		map(&s, 1, VIO_PCI_NO_VECTOR);
		vio_pci_port.used(dev(&s.b), 1);
		assert_int_equal(s.messages, messages);
		vio_pci_port.used(dev(&s.b), 0);
		assert_int_equal(s.messages, messages + 1);
		dev(&s.b)->ops = &wire_ops;
		heals(&s.b);
		blk_close(&s.b);
	}
}

/* A masked vector sends nothing while it is masked. */
static void masked_is_silent(void **state)
{
	struct storm s;
	pthread_t thread;

	(void)state;
	begin(&s);
	mask(&s, 1, true);
	mask(&s, 2, true);
	assert_int_equal(pthread_create(&thread, NULL, fire, &s), 0);
	while (!__atomic_load_n(&s.stop, __ATOMIC_SEQ_CST)) {
		mask(&s, 0, true);		/* others are unmasked and masked, and changed */
		mask(&s, 3, false);
		put(&s.b, TABLE_AT + 16, 8, 0xfee01000);
		assert_int_equal(__atomic_load_n(&s.messages, __ATOMIC_SEQ_CST), 0);
	}
	pthread_join(thread, NULL);
	assert_int_equal(s.messages, 0);
	assert_int_equal(get(&s.b, PENDING_AT, 4), 6);
	mask(&s, 1, false);
	mask(&s, 2, false);
	assert_int_equal(s.messages, 2);		/* however many signals */
	dev(&s.b)->ops = &wire_ops;
	heals(&s.b);
	blk_close(&s.b);
}

/* ---- The pin ---- */

struct race { struct storm s; uint64_t round, done; bool level; };
static struct race *racing;

static void on_level(void *arg, bool level)
{
	(void)arg;
	__atomic_store_n(&racing->level, level, __ATOMIC_SEQ_CST);
}

static const struct vio_pci_ops pin_ops = { WIRE_OWNER, .msix = on_message, .intx = on_level, .vector = on_vector };

static void *signal_each_round(void *arg)
{
	struct race *r = arg;

	for (uint64_t round = 1; round <= PIN_ROUNDS; round++) {
		while (__atomic_load_n(&r->round, __ATOMIC_SEQ_CST) < round)
			sched_yield();
		vio_pci_port.used(dev(&r->s.b), 0);
		__atomic_store_n(&r->done, round, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* One thread signals while another takes what there is away: then the pin is as what is left says. */
static void the_pin_is_as_the_status_says(void **state)
{
	static struct race r;
	pthread_t thread;

	(void)state;
	begin(&r.s);
	racing = &r;
	control(&r.s, 0);
	dev(&r.s.b)->ops = &pin_ops;
	assert_int_equal(pthread_create(&thread, NULL, signal_each_round, &r), 0);
	for (uint64_t round = 1; round <= PIN_ROUNDS; round++) {
		get(&r.s.b, ISR_AT, 1);
		__atomic_store_n(&r.round, round, __ATOMIC_SEQ_CST);
		for (unsigned i = 0; i < round % 64; i++)
			get(&r.s.b, ISR_AT, 1);
		while (__atomic_load_n(&r.done, __ATOMIC_SEQ_CST) < round)
			get(&r.s.b, ISR_AT, 1), sched_yield();
		bool status = __atomic_load_n(&dev(&r.s.b)->isr, __ATOMIC_SEQ_CST);
		if (r.level != status)
			fail_msg("round %llu: the pin is %s", (unsigned long long)round, r.level ? "up" : "down");
	}
	pthread_join(thread, NULL);
	dev(&r.s.b)->ops = &wire_ops;
	heals(&r.s.b);
	blk_close(&r.s.b);
}

static const struct CMUnitTest tests[] = {
	T(a_storm, "masks, messages and vectors change while signals come: none is lost, none is made up {pci-dev-57 pci-dev-61; only us}"),
	T(masked_is_silent, "what is masked is silent, and pending once"),
	T(the_pin_is_as_the_status_says, "signals and reads of the status in two threads: the pin is as the status says"),
};

int main(void) { return vio_tests("storm", tests, sizeof tests / sizeof *tests); }
