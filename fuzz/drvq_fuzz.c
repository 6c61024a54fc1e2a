/*
 * The driver's side of a queue against any device: bytes of the input are what the device writes into the shared memory
 * between the driver's steps.  A chain comes back at most once, never longer than it was; a lie breaks the queue in words.
 */
#include "feed.h"

enum { STEPS = 400, CHAINS = STEPS };

struct play {
	struct feed f;
	struct vio_drvq q;
	unsigned char *shared;
	size_t bytes;
	struct { bool out; uint32_t room; } chain[CHAINS];
	unsigned added;
};

static void add(struct play *p)
{
	struct vio_buf b[4];
	uint8_t shape = (uint8_t)take(&p->f, 1);
	unsigned n = 1 + shape % 4, r = (shape >> 2) % (n + 1);
	uint32_t room = 0;

	for (unsigned i = 0; i < n; i++) {
		b[i] = (struct vio_buf){ 0x1000 * i, (uint32_t)take(&p->f, 1) };
		room += i >= r ? b[i].len : 0;
	}
	if (p->added == CHAINS || !vio_drvq_add(&p->q, b, r, n - r, &p->chain[p->added]))
		return;
	p->chain[p->added].out = true;
	p->chain[p->added++].room = room;
}

static void get(struct play *p)
{
	uint32_t len = UINT32_MAX;
	void *cookie = vio_drvq_get(&p->q, &len);

	if (!cookie)
		return;
	size_t i = (size_t)((char *)cookie - (char *)p->chain) / sizeof p->chain[0];
	if (i >= p->added || !p->chain[i].out || len > p->chain[i].room)
		abort();
	p->chain[i].out = false;
}

/* Bytes anywhere; or a used element, a used descriptor, the used index as a device would write them. */
static void device_writes(struct play *p)
{
	uint8_t how = (uint8_t)take(&p->f, 1);
	struct vio_split_used *used = p->q.place.device;
	uint32_t id = how & 0x10 ? (uint32_t)take(&p->f, 4) : (uint32_t)take(&p->f, 1), len = (uint32_t)take(&p->f, 2);

	if (how % 4 == 0) {
		p->shared[take(&p->f, 2) % p->bytes] = (unsigned char)id;
	} else if (p->q.is_packed) {
		uint16_t flags = how & 8 ? VIO_DESC_AVAIL | VIO_DESC_USED | VIO_DESC_WRITE : how & 0x20 ? VIO_DESC_WRITE : 0;
		vio_packed_store((struct vio_packed_desc *)p->q.place.desc + take(&p->f, 1) % p->q.size,
		    vio_packed_word(len, (uint16_t)id, flags));
	} else {
		uint16_t idx = vio_le16_get(used->idx);
		used->ring[idx & (p->q.size - 1)] = (struct vio_split_elem){ vio_le32_of(id), vio_le32_of(len) };
		used->idx = vio_le16_of((uint16_t)(idx + (how & 0x40 ? how >> 7 : 1)));
	}
}

static void step(struct play *p)
{
	switch (take(&p->f, 1) % 16) {
	case 0: case 1: case 2: case 3:
		add(p);
		break;
	case 4: case 5:
		vio_drvq_kick_due(&p->q);
		break;
	case 6: case 7: case 8:
		get(p);
		break;
	case 9:
		vio_drvq_quiet(&p->q);
		break;
	case 10:
		vio_drvq_listen(&p->q);
		break;
	default:
		device_writes(p);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct play p = { .f = { data, data + n } };
	uint8_t bits = (uint8_t)take(&p.f, 1), sizes = (uint8_t)take(&p.f, 1);
	uint16_t size = bits & 1 ? 1 + sizes % 16 : (uint16_t)(1u << sizes % 5);
	struct vio_drvq_slot *slots = calloc(size, sizeof *slots);
	struct vio_split_desc *tables = calloc(size, 3 * sizeof *tables);
	void *cookie;

	p.bytes = VIO_DRVQ_RING_BYTES((size_t)size);
	if (posix_memalign((void **)&p.shared, 16, p.bytes))
		abort();
	vio_drvq_init(&p.q, &(struct vio_drvq_setup){ .size = size, .features = ring_features(bits), .ring = p.shared,
	    .ring_addr = 0x10000, .slots = slots, .indirect = tables, .indirect_addr = 0x20000, .indirect_max = 3 });
	for (unsigned i = 0; i < STEPS && fed(&p.f); i++)
		step(&p);
	while ((cookie = vio_drvq_take_back(&p.q))) {	/* what did not come back is still there, once */
		size_t i = (size_t)((char *)cookie - (char *)p.chain) / sizeof p.chain[0];
		if (i >= p.added || !p.chain[i].out)
			abort();
		p.chain[i].out = false;
	}
	for (unsigned i = 0; i < p.added; i++)
		if (p.chain[i].out)
			abort();
	free(slots);
	free(tables);
	free(p.shared);
	return 0;
}
