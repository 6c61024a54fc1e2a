/* Bytes in a ring with the ends of messages marked, against a plain list that does the same. */
#include <stdlib.h>
#include <string.h>
#include <vio/ring/fifo.h>
#include "../test.h"

enum { SIZE = 128, STEPS = 200000 };

static uint32_t next(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)*seed * below) >> 32);
}

struct model { unsigned char byte[SIZE]; uint8_t mark[SIZE]; uint32_t used; };

static void model_drop(struct model *m, uint32_t n)
{
	memmove(m->byte, m->byte + n, m->used - n);
	memmove(m->mark, m->mark + n, m->used - n);
	m->used -= n;
}

static uint32_t model_message(const struct model *m)
{
	for (uint32_t i = 0; i < m->used; i++)
		if (m->mark[i])
			return i + 1;
	return 0;
}

static void compare(const struct vio_fifo *f, const struct model *m)
{
	struct vio_fifo_cur c;
	unsigned char bytes[SIZE];
	unsigned what = 0;
	uint32_t messages = 0, open = 0, n = model_message(m);

	assert_int_equal(f->used, m->used);
	assert_int_equal(vio_fifo_room(f), SIZE - m->used);
	vio_fifo_front(f, f->used, &c);
	assert_int_equal(c.cur.left, m->used);
	assert_true(vio_cur_get(&c.cur, bytes, m->used));
	assert_memory_equal(bytes, m->byte, m->used);
	for (uint32_t i = 0; i < m->used; i++) {
		messages += m->mark[i] != 0;
		open = m->mark[i] ? 0 : open + 1;
	}
	assert_int_equal(f->messages, messages);
	assert_int_equal(f->open, open);
	assert_int_equal(vio_fifo_message(f, &what), n);
	if (n)
		assert_int_equal(what, m->mark[n - 1]);
}

static void it_is_what_a_list_is(void **state)
{
	uint64_t *memory = calloc(1, VIO_FIFO_BYTES(SIZE, true));
	struct vio_fifo f = vio_fifo_of(memory, SIZE, true);
	struct model m = { .used = 0 };
	uint32_t seed = 7;

	(void)state;
	f.head = UINT32_MAX - 1000;		/* over the counter's end too */
	for (unsigned step = 0; step < STEPS; step++) {
		uint32_t n = next(&seed, next(&seed, 4) ? 12 : SIZE + 1);
		switch (next(&seed, 5)) {
		case 0: case 1: {
			unsigned char bytes[SIZE];
			n = n < SIZE - m.used ? n : SIZE - m.used;
			for (uint32_t i = 0; i < n; i++)
				bytes[i] = m.byte[m.used + i] = (unsigned char)next(&seed, 256), m.mark[m.used + i] = 0;
			struct vio_seg seg = { bytes, n };
			struct vio_cur c = { .seg = &seg, .left = n };
			vio_fifo_put(&f, &c, n);
			m.used += n;
			break;
		}
		case 2:
			if (f.open == 0)
				break;
			m.mark[m.used - 1] = (uint8_t)(1 + 2 * (n & 1));
			vio_fifo_mark(&f, m.mark[m.used - 1]);
			break;
		case 3:
			n = model_message(&m);
			vio_fifo_drop(&f, n);
			model_drop(&m, n);
			break;
		default:
			if (next(&seed, 10))
				break;
			vio_fifo_drop(&f, f.used);
			model_drop(&m, m.used);
		}
		compare(&f, &m);
	}
	for (uint32_t i = 0; i < SIZE / 32; i++)
		if (!m.used)
			assert_int_equal(memory[SIZE / 8 + i], 0);
	free(memory);
}

static void without_marks_it_is_bytes(void **state)
{
	unsigned char memory[64], in[64], out[64];
	struct vio_fifo f = vio_fifo_of(memory, 64, false);

	(void)state;
	assert_int_equal(VIO_FIFO_BYTES(64, false), 64);
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t n = i % 65;
		memset(in, (int)i, sizeof in);
		struct vio_seg seg = { in, n };
		struct vio_cur c = { .seg = &seg, .left = n };
		struct vio_fifo_cur front;
		vio_fifo_put(&f, &c, n);
		vio_fifo_front(&f, n, &front);
		assert_true(vio_cur_get(&front.cur, out, n));
		assert_memory_equal(in, out, n);
		vio_fifo_drop(&f, n);
		assert_int_equal(f.used, 0);
	}
}

static const struct CMUnitTest tests[] = {
	T(it_is_what_a_list_is, "bytes, messages and records come out as they went in, round and round"),
	T(without_marks_it_is_bytes, "without marks it takes no memory but the bytes"),
};

int main(void) { return vio_tests("fifo", tests, sizeof tests / sizeof *tests); }
