/*
 * The network driver against a device that lies: config space, features, queue sizes, used chains, headers and answers are the
 * input's.  A frame that comes lies within its buffers, a frame that was sent comes back once, every command ends, and what was
 * mapped is unmapped when the device has let go of it.
 */
#include <vio/driver/net.h>
#include "feed.h"

enum { STEPS = 120, PAIRS = 2, QUEUES = 2 * PAIRS + 1, SIZE = 8, CONTROL = 4, BUFFERS = 6, FRAMES = 4, ROOM = 2048 };

struct play {
	struct vio_drv_port port;
	struct feed f;
	struct vio_features offered;
	uint16_t queue_max;
	uint8_t status;
	struct vio_net_config config;
	uint64_t now;
	int mapped;
	bool pieces;
	const struct vio_drvq *q[64];	/* as they were started, by number */
	uint16_t used[64];
	struct vio_net *n;
	struct vio_net_rx rx[PAIRS][BUFFERS];
	struct vio_net_tx tx[FRAMES];
	bool out[FRAMES];
	unsigned char data[ROOM];
};

#define PLAY(p) ((struct play *)(p))

/* ---- The device ---- */

static void use(struct play *p, unsigned i, uint16_t id, uint32_t len)
{
	const struct vio_drvq *q = p->q[i];

	if (q->is_packed) {
		uint16_t flags = q->packed.used_wrap ? VIO_DESC_AVAIL | VIO_DESC_USED | VIO_DESC_WRITE : VIO_DESC_WRITE;
		vio_packed_store((struct vio_packed_desc *)q->place.desc + q->packed.used_at, vio_packed_word(len, id, flags));
	} else {
		struct vio_split_used *used = q->place.device;
		used->ring[p->used[i] & (q->size - 1)] = (struct vio_split_elem){ vio_le32_of(id), vio_le32_of(len) };
		used->idx = vio_le16_of(++p->used[i]);
	}
}

/* It writes a header into some buffer, an answer, or a byte of a ring; and uses a chain. */
static void device_acts(struct play *p)
{
	uint8_t how = (uint8_t)take(&p->f, 1);
	unsigned i = (how >> 3) % QUEUES;
	struct vio_net_rx *b = &p->rx[i & 1][how % BUFFERS];

	take_bytes(&p->f, b->bytes, 12);
	if (how & 1)
		take_bytes(&p->f, p->n->result, 24);
	if (!p->q[i])
		return;
	if ((how & 7) == 7)
		((unsigned char *)p->q[i]->place.desc)[take(&p->f, 2) % VIO_DRVQ_RING_BYTES((size_t)p->q[i]->size)] = (unsigned char)take(&p->f, 1);
	else
		use(p, i, (uint16_t)take(&p->f, 1) % (how & 128 ? 256 : SIZE), (uint32_t)take(&p->f, 2));
}

static uint32_t device_id(struct vio_drv_port *p) { (void)p; return VIO_ID_NET; }
static struct vio_features features(struct vio_drv_port *p) { return PLAY(p)->offered; }
static bool accept(struct vio_drv_port *p, struct vio_features f) { (void)p, (void)f; return true; }
static uint8_t status(struct vio_drv_port *p) { return PLAY(p)->status; }
static void set_status(struct vio_drv_port *p, uint8_t s) { PLAY(p)->status = s; }
static uint32_t generation(struct vio_drv_port *p) { (void)p; return 0; }

static bool config_read(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len)
{
	if (at > sizeof PLAY(p)->config || len > sizeof PLAY(p)->config - at)
		abort();
	memcpy(to, (unsigned char *)&PLAY(p)->config + at, len);
	return true;
}

static bool config_write(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len)
{
	(void)p, (void)at, (void)from, (void)len;
	abort();		/* 5.1.4.2: no field is the driver's */
}

static uint16_t queue_max(struct vio_drv_port *p, uint16_t i) { (void)i; return PLAY(p)->queue_max; }

static bool queue_start(struct vio_drv_port *p, uint16_t i, const struct vio_drvq *q)
{
	if (i < 64)
		PLAY(p)->q[i] = q;
	return true;
}

static bool queue_is_live(struct vio_drv_port *p, uint16_t i) { (void)p, (void)i; return true; }
static void kick(struct vio_drv_port *p, uint16_t i, uint32_t notification) { (void)i, (void)notification; device_acts(PLAY(p)); }

static const struct vio_drv_port_ops ops = {
	.device_id = device_id, .features = features, .accept = accept, .status = status, .set_status = set_status,
	.generation = generation, .config_read = config_read, .config_write = config_write, .queue_max = queue_max,
	.queue_start = queue_start, .queue_is_live = queue_is_live, .kick = kick,
};

/* ---- The platform ---- */

static unsigned map(void *arg, const void *at, uint32_t len, enum vio_dir dir, struct vio_buf *out, unsigned max)
{
	struct play *p = arg;
	uint32_t first = p->pieces && max > 1 && len > 1 ? len / 2 : len;

	(void)dir;
	p->mapped++;
	out[0] = (struct vio_buf){ (uintptr_t)at, first };
	if (first < len)
		out[1] = (struct vio_buf){ (uintptr_t)at + first, len - first };
	return first < len ? 2 : 1;
}

static void unmap(void *arg, const void *at, uint32_t len, enum vio_dir dir, const struct vio_buf *bufs, unsigned n)
{
	(void)at, (void)len, (void)dir, (void)bufs, (void)n;
	if (--PLAY(arg)->mapped < 0)
		abort();
}

static uint64_t now_ns(void *arg) { return PLAY(arg)->now += 500000000; }

static void relax(void *arg)
{
	if (fed(&PLAY(arg)->f))
		device_acts(arg);
}

static const struct vio_platform_ops platform = { .map = map, .unmap = unmap, .now_ns = now_ns, .relax = relax };

/* ---- The driver ---- */

static void send_one(struct play *p, unsigned i)
{
	struct vio_net_tx *t = &p->tx[i];
	uint8_t how = (uint8_t)take(&p->f, 1);

	if (p->out[i])
		return;
	*t = (struct vio_net_tx){ .data = p->data, .len = (uint32_t)take(&p->f, 2) % ROOM, .needs_csum = how & 1, .gso = how & 2 ? how >> 4 : 0,
		.ecn = how & 4, .csum_start = (uint16_t)take(&p->f, 1), .csum_offset = (uint16_t)take(&p->f, 1), .gso_size = how };
	take_bytes(&p->f, p->data, 20);
	p->out[i] = vio_net_send(p->n, how >> 3 & 1, t) == VIO_NET_QUEUED;
}

static void back(struct play *p, struct vio_net_tx *t)
{
	size_t i = (size_t)(t - p->tx);

	if (i >= FRAMES || !p->out[i])
		abort();
	p->out[i] = false;
}

static void receive(struct play *p, uint16_t pair)
{
	struct vio_net_received r;
	uint32_t total = 0;

	if (pair >= p->n->pairs || !vio_net_receive(p->n, pair, &r))
		return;
	for (struct vio_net_rx *b = r.first; b; b = b->next) {
		if (b->at > b->size || b->len > b->size - b->at || b->given)
			abort();
		total += b->len;
	}
	if (total != r.len || r.len < VIO_NET_ETH || (r.needs_csum && !r.segments && r.csum_start + r.csum_offset + 2u > r.len &&
	    (r.csum_start || r.csum_offset)))
		abort();
	vio_net_give_back(p->n, pair, r.first);
	vio_net_kick(p->n, pair);
}

static void command(struct play *p)
{
	static const uint8_t mac[2][6] = { { 2 }, { 1 } }, key[64];
	uint16_t table[8] = { 0, 1 }, most;
	uint64_t v[8];
	uint32_t a, b;
	unsigned count;
	uint8_t how = (uint8_t)take(&p->f, 1);

	switch (how % 10) {
	case 0: vio_net_set_mode(p->n, how >> 4, true); break;
	case 1: vio_net_set_mac_table(p->n, mac, 1, mac + 1, 1); break;
	case 2: vio_net_set_pairs(p->n, how >> 6); break;
	case 3: vio_net_set_rss(p->n, &(struct vio_net_rss){ .types = how, .entries = 1u << (how >> 6), .table = table, .tx_pairs = 1,
	    .key = key, .key_bytes = how >> 2 }); break;
	case 4: vio_net_stats(p->n, how >> 6, how >> 4 & 3, v, 8, &count); break;
	case 5: vio_net_coalescing(p->n, how >> 6, &a, &b); break;
	case 6: vio_net_max_contexts(p->n, &most); break;
	case 7: vio_net_set_hash(p->n, how, key, how >> 2); break;
	case 8: vio_net_config_changed(p->n); break;
	default: vio_net_announced(p->n);
	}
}

static void play(struct play *p)
{
	struct vio_net_tx *t;

	for (unsigned i = 0; i < STEPS && fed(&p->f); i++) {
		uint8_t how = (uint8_t)take(&p->f, 1);
		uint16_t pair = how >> 7;
		switch (how % 6) {
		case 0: send_one(p, (how >> 3) % FRAMES); break;
		case 1: vio_net_kick(p->n, pair); break;
		case 2:
			if (pair < p->n->pairs && (t = vio_net_sent(p->n, pair)))
				back(p, t);
			break;
		case 3: receive(p, pair); break;
		case 4: command(p); break;
		default: device_acts(p);
		}
	}
	if (!vio_net_stop(p->n))
		abort();
	for (uint16_t i = 0; i < p->n->pairs; i++)
		while ((t = vio_net_abandon(p->n, i)))
			back(p, t);
	for (unsigned i = 0; i < FRAMES; i++)
		if (p->out[i])
			abort();
}

static void *aligned(size_t n)
{
	void *p;

	if (posix_memalign(&p, 16, n))
		abort();
	memset(p, 0, n);
	return p;
}

static void queue_memory(struct vio_net_queue_memory *m, unsigned size, bool tables)
{
	m->ring = aligned(VIO_DRVQ_RING_BYTES(size));
	m->slots = calloc(size, sizeof *m->slots);
	m->indirect = tables ? aligned(size * VIO_NET_DRV_INDIRECT * sizeof *m->indirect) : NULL;
}

static void free_memory(struct vio_net_queue_memory *m)
{
	free(m->ring);
	free(m->slots);
	free(m->indirect);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct play *p = calloc(1, sizeof *p);
	struct vio_net_setup s = { .pairs = PAIRS, .queue_size = SIZE, .control_size = CONTROL };

	p->port = (struct vio_drv_port){ &ops, { &platform, p } };
	p->f = (struct feed){ data, data + n };
	uint8_t bits = (uint8_t)take(&p->f, 1);
	p->pieces = bits & 1;
	p->offered = (struct vio_features){ { ~take(&p->f, 8), ~take(&p->f, 1) } };
	vio_features_add(&p->offered, VIO_F_VERSION_1);
	p->queue_max = bits & 2 ? (uint16_t)take(&p->f, 2) : SIZE;
	take_bytes(&p->f, &p->config, sizeof p->config);
	if (!(bits & 4)) {
		p->config.max_virtqueue_pairs = vio_le16_of(1 + (bits >> 3 & 1));
		p->config.mtu = vio_le16_of(1500);
	}
	p->n = aligned(sizeof *p->n);
	for (unsigned i = 0; i < PAIRS; i++) {
		queue_memory(&s.pair[i].rx, SIZE, false);
		queue_memory(&s.pair[i].tx, SIZE, bits & 16);
		s.pair[i].buffers = p->rx[i];
		s.pair[i].count = BUFFERS;
		for (unsigned b = 0; b < BUFFERS; b++)
			p->rx[i][b] = (struct vio_net_rx){ .bytes = calloc(1, ROOM), .size = ROOM };
	}
	queue_memory(&s.control, CONTROL, false);
	if (vio_net_start(p->n, &p->port, &s))
		play(p);
	else if (!p->n->drv.failed)
		abort();	/* it must say why */
	if (p->mapped)
		abort();
	for (unsigned i = 0; i < PAIRS; i++) {
		free_memory(&s.pair[i].rx);
		free_memory(&s.pair[i].tx);
		for (unsigned b = 0; b < BUFFERS; b++)
			free(p->rx[i][b].bytes);
	}
	free_memory(&s.control);
	free(p->n);
	free(p);
	return 0;
}
