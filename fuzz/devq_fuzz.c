/*
 * The device's side of a queue against any guest memory: bytes of the input are what the driver writes where, and when the
 * device pops, pushes, gives back, listens.  Nothing may be touched but guest memory; what breaks says why; nothing hangs.
 */
#include "feed.h"

enum { HELD = 64, STEPS = 400 };

struct play {
	struct feed f;
	struct guest *g;
	struct vio_devq q;
	struct vio_chain *held[HELD];
	unsigned count;
	bool packed;
	uint16_t size;
	struct vio_drvq layout;
};

static void on_signal(struct vio_devq *q) { (void)q; }

static void touch(struct vio_chain *c)
{
	unsigned char some[64];
	struct vio_seg v[8];
	uint64_t n;

	if (c->r.left + c->w.left > UINT64_C(1) << 32)
		abort();
	while (c->r.left) {
		uint64_t part = c->r.left < sizeof some ? c->r.left : sizeof some;
		vio_cur_get(&c->r, some, part);
		if (c->r.done > 2048)
			vio_cur_skip(&c->r, c->r.left / 2);
	}
	vio_cur_segs(&c->w, v, 8, UINT64_MAX, &n);
	while (c->w.left) {
		vio_cur_zero(&c->w, 1);
		if (c->w.done > 2048)
			vio_cur_skip(&c->w, c->w.left / 2);
	}
}

static void pop(struct play *p, bool back)
{
	struct vio_chain *c = p->count < HELD ? vio_devq_pop(&p->q) : NULL;

	if (p->q.broken && p->q.why_empty == VIO_BROKEN && vio_devq_pop(&p->q))
		abort();
	if (!c)
		return;
	if (back) {
		vio_devq_unpop(&p->q, c);
		return;
	}
	touch(c);
	p->held[p->count++] = c;
}

static void push(struct play *p)
{
	if (p->count == 0)
		return;
	unsigned i = (unsigned)take(&p->f, 1) % p->count;
	struct vio_chain *c = p->held[i];
	p->held[i] = p->held[--p->count];
	vio_devq_push(&p->q, c);
}

/* The driver makes available what it has written. */
static void offer(struct play *p)
{
	struct vio_split_avail *avail = p->layout.place.driver;
	uint16_t n = (uint16_t)take(&p->f, 1);

	if (p->packed)
		return;
	for (uint16_t i = 0; i < n % 4; i++) {
		uint16_t idx = vio_le16_get(avail->idx);
		avail->ring[idx & (p->size - 1)] = vio_le16_of((uint16_t)take(&p->f, 1));
		avail->idx = vio_le16_of((uint16_t)(idx + 1));
	}
	if (n > 250)
		avail->idx = vio_le16_of((uint16_t)take(&p->f, 2));
}

static void step(struct play *p)
{
	switch (take(&p->f, 1) % 16) {
	case 0: case 1: case 2: case 3: case 4:
		guest_poke(p->g, &p->f, p->packed);
		break;
	case 5: case 6:
		offer(p);
		break;
	case 7: case 8: case 9:
		pop(p, false);
		break;
	case 10:
		pop(p, true);
		break;
	case 11: case 12:
		push(p);
		break;
	case 13:
		vio_devq_flush(&p->q);
		break;
	case 14:
		vio_devq_quiet(&p->q);
		break;
	default:
		vio_devq_listen(&p->q);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct play p = { .f = { data, data + n } };
	uint8_t bits = (uint8_t)take(&p.f, 1), sizes = (uint8_t)take(&p.f, 1);
	static struct vio_drvq_slot slots[16];
	struct vio_devq_setup s = { .features = ring_features(bits), .request_size = sizeof(struct vio_chain), .signal = on_signal };

	p.packed = bits & 1;
	p.size = p.packed ? 1 + sizes % 16 : (uint16_t)(1u << sizes % 5);
	p.g = guest_new(VIO_DRVQ_RING_BYTES((uint64_t)p.size));
	p.g->mem.clip = bits & 16 ? 1 + sizes / 16 : 0;
	if (bits & 32) {
		p.g->mem.dirty.bytes = 8;
		p.g->mem.dirty.bits = calloc(1, 8);
	}
	vio_drvq_init(&p.layout, &(struct vio_drvq_setup){ .size = p.size, .features = s.features, .ring = p.g->region[0].host,
	    .ring_addr = FUZZ_RINGS, .slots = slots });
	s.place = p.layout.place;
	s.base = bits & 64 ? (uint32_t)take(&p.f, 4) : p.packed ? VIO_PACKED_BASE : 0;
	s.chain_max = sizes & 0x80 ? 32 : 0;
	s.mem = &p.g->mem;
	s.log_used = true;
	s.log_used_gpa = p.layout.device_addr;
	s.memory_bytes = vio_devq_memory(p.size, s.request_size, s.chain_max, p.g->mem.count);
	s.memory = malloc(s.memory_bytes);
	memset(s.memory, 0, s.memory_bytes);
	if (!vio_devq_start(&p.q, &s)) {
		p.q.turn = STEPS;
		for (unsigned i = 0; i < STEPS && fed(&p.f); i++)
			step(&p);
		while (p.count)
			vio_devq_push(&p.q, p.held[--p.count]);
		vio_devq_flush(&p.q);
		if (p.q.inflight)
			abort();
		vio_devq_stop(&p.q);
	}
	free(s.memory);
	free(p.g->mem.dirty.bits);
	guest_free(p.g);
	return 0;
}
