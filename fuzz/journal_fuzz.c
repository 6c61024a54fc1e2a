/*
 * An in-flight region of any content: refused in words, or served with no byte of anybody else's touched, whatever is
 * written into it meanwhile.
 */
#include <vio/ring/journal.h>
#include "feed.h"

enum { HELD = 16, STEPS = 200 };

static void on_signal(struct vio_devq *q) { (void)q; }

static void serve(struct feed *f, struct vio_devq *q, unsigned char *journal, size_t bytes, struct guest *g)
{
	struct vio_chain *held[HELD], *c;
	unsigned n = 0;

	for (unsigned i = 0; i < STEPS; i++) {
		uint8_t op = (uint8_t)take(f, 1);
		switch (op % 8) {
		case 0: case 1: case 2:
			if (n < HELD && (c = vio_devq_pop(q)))
				held[n++] = c;
			break;
		case 3: case 4:
			if (n)
				vio_devq_push(q, held[--n]);
			break;
		case 5:
			if ((c = vio_devq_pop(q)))
				vio_devq_unpop(q, c);
			break;
		case 6:
			if (fed(f))
				journal[take(f, 2) % bytes] = (unsigned char)take(f, 1);
			break;
		default:
			guest_poke(g, f, q->is_packed);
			vio_devq_flush(q);
		}
	}
	while (n)
		vio_devq_push(q, held[--n]);
	vio_devq_flush(q);
	if (q->inflight)
		abort();
	vio_devq_stop(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct feed f = { data, data + n };
	uint8_t bits = (uint8_t)take(&f, 1);
	bool packed = bits & 1;
	uint16_t size = packed ? 1 + (bits >> 4) % 8 : (uint16_t)(1u << (bits >> 4) % 4);
	size_t bytes = vio_journal_bytes(size, packed);
	struct guest *g = guest_new(VIO_DRVQ_RING_BYTES((uint64_t)size));
	static struct vio_drvq_slot slots[16];
	struct vio_devq q = { 0 };
	struct vio_devq_setup s = { .features = ring_features(bits & 15), .request_size = sizeof(struct vio_chain),
		.base = packed ? VIO_PACKED_BASE : 0, .mem = &g->mem, .signal = on_signal };
	struct vio_drvq layout;
	unsigned char *journal;

	if (posix_memalign((void **)&journal, VIO_JOURNAL_ALIGN, bytes))
		abort();
	vio_drvq_init(&layout, &(struct vio_drvq_setup){ .size = size, .features = s.features, .ring = g->region[0].host,
	    .ring_addr = FUZZ_RINGS, .slots = slots });
	take_bytes(&f, journal, bytes);
	if (take(&f, 1) % 8) {		/* else the whole of it is the input's */
		((uint16_t *)(void *)journal)[4] = VIO_JOURNAL_VERSION;
		((uint16_t *)(void *)journal)[5] = size;
	}
	take_bytes(&f, g->region[0].host, g->region[0].size / 2);
	s.place = layout.place;
	s.journal = journal;
	s.memory_bytes = vio_devq_memory(size, s.request_size, 0, g->mem.count);
	for (unsigned again = 0; again < 2; again++) {
		s.memory = calloc(1, s.memory_bytes);
		if (!vio_devq_start(&q, &s)) {
			q.turn = STEPS;
			serve(&f, &q, journal, bytes, g);
		}
		free(s.memory);
	}
	free(journal);
	guest_free(g);
	return 0;
}
