/*
 * Resets with 128 requests in flight, ten thousand times, over both wires, with a disk that completes late: once a reset is seen
 * to be done nothing is written any more, and nothing is left behind.
 */
#include "bus.h"

enum { ROUNDS = 10000, FLIGHT = 2 * RIG_SIZE, BYTES = 512 };

/* 128 reads, all with the disk.  Where they read to. */
static unsigned char *fill_queues(struct blk_rig *b)
{
	unsigned char *first = rig_take(b->g, (BYTES + 16) * FLIGHT), *head = rig_take(b->g, sizeof(struct vio_blk_req));
	struct vio_blk_req h = { vio_le32_of(VIO_BLK_T_IN), vio_le32_of(0), vio_le64_of(1) };

	memcpy(head, &h, sizeof h);
	memset(first, FILL, (BYTES + 16) * FLIGHT);
	for (uint16_t q = 0; q < 2; q++) {
		for (unsigned i = 0; i < RIG_SIZE; i++) {
			unsigned char *w = first + (q * RIG_SIZE + i) * (BYTES + 16);
			assert_true(rig_add(b->g, q, head, sizeof h, 0, w, BYTES + 1, 0));
		}
		rig_kick(b->g, q);
	}
	assert_int_equal(b->t->held_count, FLIGHT);
	return first;
}

static uint64_t sum(const unsigned char *p, size_t n)
{
	uint64_t s = 0, word;

	for (size_t i = 0; i + sizeof word <= n; i += sizeof word) {
		memcpy(&word, p + i, sizeof word);
		s = s * 31 + word;
	}
	return s;
}

/* What the disk has not finished yet ends now, some with each turn that the device gets. */
static void finish_some(struct blk_rig *b, unsigned n)
{
	while (n-- && b->t->held_count)
		test_disk_do(b->t, b->t->held[--b->t->held_count]);
	vio_loop_pump(&b->g->wire, 16);
}

static void one_round(struct blk_rig *b, unsigned round)
{
	bus_start(b, round & 1);
	b->t->hold = true;
	b->t->stubborn = round & 2;		/* it can't be cancelled: it completes late */
	test_disk_forget(b->t);
	unsigned char *data = fill_queues(b);
	if (round & 4)
		finish_some(b, round % FLIGHT);
	put_reg(b, STATUS, 0);
	unsigned looks = 0;
	while (get_reg(b, STATUS)) {
		assert_true(b->t->stubborn && ++looks <= FLIGHT);	/* it shows what it was as long as something may still be written */
		finish_some(b, 1 + round % 29);
	}
	assert_int_equal(b->t->held_count, 0);
	assert_int_equal(b->t->channels, 0);
	uint64_t before = sum(data, (BYTES + 16) * FLIGHT);
	b->t->hold = b->t->stubborn = false;
	kick_reg(b, round & 1);
	vio_loop_pump(&b->g->wire, 64);
	assert_true(sum(data, (BYTES + 16) * FLIGHT) == before);
	for (unsigned i = 0; i < FLIGHT; i++)		/* nor beyond a buffer's end, ever */
		assert_int_equal(data[i * (BYTES + 16) + BYTES + 1], FILL);
}

static void resets_with_everything_in_flight(void **state)
{
	struct blk_rig b = bus_new(), neighbour = bus_new();

	(void)state;
	bus_start(&neighbour, true);
	for (unsigned round = 0; round < ROUNDS; round++) {
		one_round(&b, round);
		if (round % 64 == 0)
			read_one(&neighbour, round & 1);
	}
	heals(&b);
	assert_null(b.g->dev->needs_reset);
	blk_close(&b);
	blk_close(&neighbour);
}

/* The same for a queue alone: the other one's requests stay where they are. */
static void queue_resets_with_everything_in_flight(void **state)
{
	struct blk_rig b = bus_new();

	(void)state;
	for (unsigned round = 0; round < ROUNDS / 10; round++) {
		bus_start(&b, round & 1);
		b.t->hold = true;
		b.t->stubborn = round & 2;
		test_disk_forget(b.t);
		unsigned char *data = fill_queues(&b);
		put_reg(&b, SELECT, 1);
		put_reg(&b, RESET, 1);
		for (unsigned looks = 0; get_reg(&b, RESET); looks++) {
			assert_true(b.t->stubborn && looks <= FLIGHT);
			finish_some(&b, 7);
			put_reg(&b, SELECT, 1);
		}
		assert_int_equal(get_reg(&b, ENABLE), 0);
		uint64_t before = sum(data + RIG_SIZE * (BYTES + 16), RIG_SIZE * (BYTES + 16));
		b.t->hold = b.t->stubborn = false;
		finish_some(&b, FLIGHT);
		assert_true(sum(data + RIG_SIZE * (BYTES + 16), RIG_SIZE * (BYTES + 16)) == before);
		unsigned done = 0;
		while (rig_get(b.g, 0, NULL))
			done++;
		assert_int_equal(done, RIG_SIZE);
		b.g->used = b.g->kept;
		rig_start_queue(b.g, 1);
		b.g->kept = b.g->used;
		read_one(&b, 1);
		read_one(&b, 0);
		bus_reset(&b);
	}
	blk_close(&b);
}

static const struct CMUnitTest tests[] = {
	T(resets_with_everything_in_flight, "resets with 128 requests in flight, ten thousand times {core-dev-9 core-dev-10; only us}"),
	T(queue_resets_with_everything_in_flight, "resets of one queue with 128 requests in flight, a thousand times"),
};

int main(void) { return vio_tests("resets over " BUS, tests, sizeof tests / sizeof *tests); }
