/*
 * The block, entropy, input and SCSI drivers against a device that lies: status, config space, features, queue sizes and every byte of
 * the rings and buffers are the input's.  Each request comes back once, with a status of ours and no more bytes than it has
 * room for; every wait ends; what was mapped is unmapped when the device has let go of it.
 */
#include <vio/driver/blk.h>
#include <vio/driver/input.h>
#include <vio/driver/rng.h>
#include <vio/driver/scsi.h>
#include "feed.h"

enum { STEPS = 120, REQUESTS = 6, ROOM = 1024, QUEUE = 8, RNG_BUFFERS = 4 };

struct play {
	struct vio_drv_port port;
	struct feed f;
	uint32_t id;
	struct vio_features offered;
	uint16_t queue_max;
	uint8_t status, lies;		/* lies: when to answer what was not set */
	unsigned char config[sizeof(struct vio_input_config)];
	uint32_t generation;
	uint64_t now;
	const struct vio_drvq *q;	/* the last that was started */
	uint16_t used;			/* split: the used index that an honest device would have */
	int mapped;
	bool pieces;
	unsigned char *data[REQUESTS];
	bool out[REQUESTS];
};

#define PLAY(p) ((struct play *)(p))

/* ---- The device ---- */

/* It uses a chain that the input names, rightly or not; or writes anywhere in the ring or into a buffer. */
static void device_writes(struct play *p)
{
	uint8_t how = (uint8_t)take(&p->f, 1);
	uint16_t id = (uint16_t)take(&p->f, 1), len = (uint16_t)take(&p->f, 2);

	if (how % 8 == 7)
		p->data[id % REQUESTS][len % ROOM] = how;
	if (!p->q || how % 8 == 7)
		return;
	if (how % 8 == 6) {
		unsigned char *ring = p->q->place.desc;
		ring[len % (VIO_DRVQ_RING_BYTES((size_t)p->q->size))] = (unsigned char)id;
	} else if (p->q->is_packed) {
		bool wrap = p->q->packed.used_wrap ^ (how % 8 == 5);
		uint16_t flags = wrap ? VIO_DESC_AVAIL | VIO_DESC_USED | VIO_DESC_WRITE : VIO_DESC_WRITE;
		vio_packed_store((struct vio_packed_desc *)p->q->place.desc + p->q->packed.used_at, vio_packed_word(len, id, flags));
	} else {
		struct vio_split_used *used = p->q->place.device;
		used->ring[p->used & (p->q->size - 1)] = (struct vio_split_elem){ vio_le32_of(id), vio_le32_of(len) };
		p->used = (uint16_t)(p->used + (how % 8 == 5 ? how >> 3 : 1));
		used->idx = vio_le16_of(p->used);
	}
}

static uint32_t device_id(struct vio_drv_port *p) { return PLAY(p)->id; }
static struct vio_features features(struct vio_drv_port *p) { return PLAY(p)->offered; }
static bool accept(struct vio_drv_port *p, struct vio_features f) { (void)f; return !(PLAY(p)->lies & 1); }

static uint8_t status(struct vio_drv_port *p)
{
	struct play *self = PLAY(p);

	if (self->lies & 2 && fed(&self->f) && take(&self->f, 1) % 4 == 0)
		return (uint8_t)take(&self->f, 1);
	return self->status;
}

static void set_status(struct vio_drv_port *p, uint8_t s)
{
	if (s & VIO_S_SUSPEND && !(PLAY(p)->lies & 4))
		s &= (uint8_t)~(s & VIO_S_DRIVER_OK && PLAY(p)->status & VIO_S_SUSPEND ? VIO_S_SUSPEND : VIO_S_DRIVER_OK);
	PLAY(p)->status = s;
	if (s == 0)
		PLAY(p)->used = 0;
}

static uint32_t generation(struct vio_drv_port *p) { return PLAY(p)->generation += PLAY(p)->lies >> 3 & 1; }

static bool config_read(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len)
{
	if (at > sizeof PLAY(p)->config || len > sizeof PLAY(p)->config - at)
		abort();
	memcpy(to, PLAY(p)->config + at, len);
	return true;
}

static bool config_write(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len)
{
	(void)at, (void)from, (void)len;
	if (PLAY(p)->id == VIO_ID_INPUT)
		take_bytes(&PLAY(p)->f, PLAY(p)->config, 12);	/* it is asked something else */
	return true;
}

static uint16_t queue_max(struct vio_drv_port *p, uint16_t i) { (void)i; return PLAY(p)->queue_max; }

static bool queue_start(struct vio_drv_port *p, uint16_t i, const struct vio_drvq *q)
{
	PLAY(p)->q = q;
	PLAY(p)->used = 0;
	return i == 0 || !(PLAY(p)->lies & 16);
}

static bool queue_reset(struct vio_drv_port *p, uint16_t i) { (void)p, (void)i; return true; }
static bool queue_is_live(struct vio_drv_port *p, uint16_t i) { (void)i; return PLAY(p)->lies & 32; }
static void kick(struct vio_drv_port *p, uint16_t i, uint32_t notification) { (void)i, (void)notification; device_writes(PLAY(p)); }

static const struct vio_drv_port_ops ops = {
	.device_id = device_id, .features = features, .accept = accept, .status = status, .set_status = set_status,
	.generation = generation, .config_read = config_read, .config_write = config_write, .queue_max = queue_max,
	.queue_start = queue_start, .queue_reset = queue_reset, .queue_is_live = queue_is_live, .kick = kick,
};

/* ---- The platform: memory in one or two pieces, a clock that goes on by looking at it ---- */

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
	uint64_t all = 0;

	(void)dir;
	for (unsigned i = 0; i < n; i++)
		all += bufs[i].len;
	if (!n || bufs[0].addr != (uintptr_t)at || all != len)
		abort();	/* not what map() gave */
	((struct play *)arg)->mapped--;
}

static uint64_t now_ns(void *arg) { return ((struct play *)arg)->now += 100000000; }
static void relax(void *arg) { device_writes(arg); }
static const struct vio_platform_ops platform_ops = { map, unmap, now_ns, relax };

/* ---- Block ---- */

static void finished(struct play *p, struct vio_blk_request *all, struct vio_blk_request *r)
{
	size_t i = (size_t)(r - all);

	if (i >= REQUESTS || !p->out[i])
		abort();	/* not one that the device had */
	if (r->got > r->len || (r->status > VIO_BLK_S_UNSUPP && r->status != VIO_BLK_S_LOST))
		abort();
	p->out[i] = false;
}

static void fill_request(struct play *p, struct vio_blk_request *r, unsigned i)
{
	static const uint16_t lengths[] = { 512, 1024, 0, VIO_BLK_ID_BYTES, sizeof(struct vio_blk_lifetime), 16, 32, 100 };
	uint8_t how = (uint8_t)take(&p->f, 1);

	r->type = how % 16;
	r->sector = take(&p->f, 1);
	r->len = lengths[how >> 4 & 7];
	r->data = p->data[i];
	take_bytes(&p->f, p->data[i], how & 0x80 ? 16 : 4);
}

static void blk_step(struct play *p, struct vio_blk *b, struct vio_blk_request *all)
{
	struct vio_blk_request *r;
	unsigned i = (unsigned)take(&p->f, 1) % REQUESTS;

	switch (take(&p->f, 1) % 12) {
	case 0: case 1: case 2:
		if (p->out[i])
			break;
		fill_request(p, &all[i], i);
		p->out[i] = vio_blk_submit(b, i % b->queues, &all[i]);
		break;
	case 3: case 4:
		if ((r = vio_blk_poll(b, i % b->queues)))
			finished(p, all, r);
		break;
	case 5:
		vio_blk_kick(b, i % b->queues);
		break;
	case 6:
		if (p->out[i])
			break;
		fill_request(p, &all[i], i);
		if (vio_blk_do(b, &all[i]) != all[i].status)
			abort();
		break;
	case 7:
		vio_blk_config_changed(b);
		vio_blk_set_writeback(b, i & 1);
		break;
	case 8:
		if (vio_blk_queue_stop(b, i % b->queues)) {
			while ((r = vio_blk_abandon(b, i % b->queues)))
				finished(p, all, r);
			vio_blk_queue_start(b, i % b->queues, QUEUE);
		}
		break;
	case 9:
		if (vio_drv_suspend(&b->drv))
			vio_drv_resume(&b->drv);
		break;
	default:
		device_writes(p);
	}
}

static void blk_end(struct play *p, struct vio_blk *b, struct vio_blk_request *all)
{
	struct vio_blk_request *r;

	p->lies = 0;
	if (!vio_blk_stop(b))
		abort();	/* the device has answered */
	for (uint16_t queue = 0; queue < b->queues; queue++) {
		while ((r = vio_blk_poll(b, queue)))
			finished(p, all, r);
		while ((r = vio_blk_abandon(b, queue)))
			finished(p, all, r);
	}
	for (unsigned i = 0; i < REQUESTS; i++)
		if (p->out[i])
			abort();	/* lost */
	if (p->mapped)
		abort();
}

static void play_blk(struct play *p, bool tables)
{
	struct vio_blk *b = calloc(1, sizeof *b);
	struct vio_blk_request *all = calloc(REQUESTS, sizeof *all);
	struct vio_blk_setup s = { .queues = 2, .queue_size = QUEUE };

	for (unsigned i = 0; i < 2; i++) {
		if (posix_memalign(&s.memory[i].ring, 16, VIO_DRVQ_RING_BYTES(QUEUE)))
			abort();
		s.memory[i].slots = calloc(QUEUE, sizeof *s.memory[i].slots);
		s.memory[i].indirect = tables ? calloc(QUEUE * VIO_BLK_DRV_INDIRECT, sizeof *s.memory[i].indirect) : NULL;
	}
	if (vio_blk_start(b, &p->port, &s)) {
		for (unsigned i = 0; i < STEPS && fed(&p->f); i++)
			blk_step(p, b, all);
		blk_end(p, b, all);
	} else if (!b->drv.failed) {
		abort();	/* it must say why */
	}
	for (unsigned i = 0; i < 2; i++) {
		free(s.memory[i].ring);
		free(s.memory[i].slots);
		free(s.memory[i].indirect);
	}
	free(all);
	free(b);
}

/* ---- Entropy ---- */

static void rng_step(struct play *p, struct vio_rng *r, bool *out)
{
	unsigned i = (unsigned)take(&p->f, 1) % RNG_BUFFERS;
	uint32_t got = UINT32_MAX;
	void *back;

	switch (take(&p->f, 1) % 6) {
	case 0: case 1:
		if (!out[i])
			out[i] = vio_rng_request(r, p->data[i], ROOM >> i);
		break;
	case 2: case 3:
		if (!(back = vio_rng_poll(r, &got)))
			break;
		for (i = 0; i < RNG_BUFFERS && p->data[i] != back; i++)
			;
		if (i == RNG_BUFFERS || !out[i] || got > (uint32_t)(ROOM >> i))
			abort();
		out[i] = false;
		break;
	default:
		device_writes(p);
	}
}

static void play_rng(struct play *p)
{
	void *at;
	bool out[RNG_BUFFERS] = { false };

	if (posix_memalign(&at, 16, sizeof(struct vio_rng)))
		abort();
	struct vio_rng *r = at;
	if (vio_rng_start(r, &p->port)) {
		for (unsigned i = 0; i < STEPS && fed(&p->f); i++)
			rng_step(p, r, out);
		bool any = out[0] || out[1] || out[2] || out[3];
		if (!any && vio_rng_read(r, p->data[0], ROOM) > ROOM)
			abort();
		p->lies = 0;
		if (!vio_rng_stop(r) || p->mapped)
			abort();
	} else if (!r->drv.failed) {
		abort();
	}
	free(r);
}

/* ---- Input ---- */

static void input_step(struct play *p, struct vio_input *in, uint16_t *used)
{
	struct vio_input_said e = { 0, 0, 0 };
	struct vio_input_axis a;
	unsigned i;

	switch (take(&p->f, 1) % 8) {
	case 0: case 1: case 2:
		if (vio_input_next(in, &e) && e.type != VIO_EV_SYN && !vio_input_can(in, e.type, e.code))
			abort();
		break;
	case 3:
		vio_input_tell(in, (uint16_t)(0x10 + take(&p->f, 1) % 8), (uint16_t)take(&p->f, 1), 1);
		break;
	case 4:
		vio_input_axis(in, (uint8_t)take(&p->f, 1), &a);
		break;
	case 5:			/* the device turns to another queue */
		i = (unsigned)(p->q - in->q);
		used[i] = p->used;
		p->q = &in->q[!i];
		p->used = used[!i];
		break;
	case 6:
		i = (unsigned)take(&p->f, 1) % VIO_INPUT_DRV_EVENTS;
		take_bytes(&p->f, (unsigned char *)&in->shared.event[i], sizeof in->shared.event[i]);
		break;
	default:
		device_writes(p);
	}
}

static void play_input(struct play *p)
{
	uint16_t used[VIO_INPUT_QUEUES] = { 0 };
	void *at;

	if (posix_memalign(&at, 16, sizeof(struct vio_input)))
		abort();
	struct vio_input *in = at;
	if (vio_input_start(in, &p->port)) {
		for (unsigned i = 0; i < STEPS && fed(&p->f); i++)
			input_step(p, in, used);
		p->lies = 0;
		if (strlen(in->name) > VIO_INPUT_CFG_BYTES || !vio_input_stop(in) || p->mapped)
			abort();
	} else if (!in->drv.failed) {
		abort();
	}
	free(in);
}

/* ---- SCSI ---- */

static void scsi_finished(struct play *p, struct vio_scsi_request *all, struct vio_scsi_request *r)
{
	size_t i = (size_t)(r - all);

	if (i >= REQUESTS || !p->out[i])
		abort();	/* not one that the device had */
	if (r->got > r->len || r->sense_len > VIO_SCSI_DRV_SENSE || (r->response > VIO_SCSI_S_FAILURE && r->response != VIO_SCSI_S_LOST))
		abort();
	p->out[i] = false;
}

static void fill_command(struct play *p, struct vio_scsi_request *r, unsigned i)
{
	uint8_t how = (uint8_t)take(&p->f, 1);

	*r = (struct vio_scsi_request){ .data = p->data[i], .len = (how & 7) * 100u, .writes = how & 8, .cdb = { how } };
	vio_scsi_lun_set(r->lun, how >> 6, how >> 4 & 3);
}

static void scsi_step(struct play *p, struct vio_scsi *s, struct vio_scsi_request *all, struct vio_scsi_unit *u)
{
	struct vio_scsi_request *r;
	struct vio_scsi_news news;
	unsigned i = (unsigned)take(&p->f, 1) % REQUESTS;
	uint16_t queue = (uint16_t)(i % s->queues), list[4];
	uint32_t actual;

	switch (take(&p->f, 1) % 12) {
	case 0: case 1: case 2:
		if (p->out[i])
			break;
		fill_command(p, &all[i], i);
		p->out[i] = vio_scsi_submit(s, queue, &all[i]);
		break;
	case 3: case 4:
		if ((r = vio_scsi_poll(s, queue)))
			scsi_finished(p, all, r);
		break;
	case 5:
		vio_scsi_kick(s, queue);
		break;
	case 6:
		if (p->out[i])
			break;
		fill_command(p, &all[i], i);
		if (vio_scsi_do(s, &all[i]) != all[i].response || all[i].got > all[i].len)
			abort();
		break;
	case 7:
		vio_scsi_event(s, &news);
		break;
	case 8:
		vio_scsi_manage(s, all[0].lun, i, all[0].id);
		vio_scsi_notify(s, all[0].lun, i & 1, 0xff, &actual);
		break;
	case 9:
		u->s = s;
		vio_scsi_luns(u, (uint8_t)i, list, 4);
		if (vio_scsi_open(u, s, (uint8_t)i, 0) && u->block && u->block <= ROOM && u->blocks)
			vio_scsi_read(u, u->blocks - 1, 1, p->data[REQUESTS - 1]);
		break;
	default:
		device_writes(p);
	}
}

static void scsi_end(struct play *p, struct vio_scsi *s, struct vio_scsi_request *all)
{
	struct vio_scsi_request *r;

	p->lies = 0;
	if (!vio_scsi_stop(s))
		abort();	/* the device has answered */
	for (uint16_t queue = 0; queue < s->queues; queue++) {
		while ((r = vio_scsi_poll(s, queue)))
			scsi_finished(p, all, r);
		while ((r = vio_scsi_abandon(s, queue)))
			scsi_finished(p, all, r);
	}
	for (unsigned i = 0; i < REQUESTS; i++)
		if (p->out[i])
			abort();	/* lost */
	for (unsigned i = 0; i < VIO_SCSI_DRV_COUNTERS; i++)
		if (s->busy[i])
			abort();
	if (p->mapped)
		abort();
}

/* The sizes of commands and sense data are what they must be; the rest of the config space is the input's. */
static void play_scsi(struct play *p, bool tables)
{
	void *at;
	struct vio_scsi_request *all = calloc(REQUESTS, sizeof *all);
	struct vio_scsi_unit *u = calloc(1, sizeof *u);
	struct vio_scsi_setup o = { .queues = 2, .queue_size = QUEUE };
	struct vio_scsi_config *c = (void *)p->config;

	if (posix_memalign(&at, 16, sizeof(struct vio_scsi)))
		abort();
	struct vio_scsi *s = at;
	for (unsigned i = 0; i < 2; i++) {
		if (posix_memalign(&o.memory[i].ring, 16, VIO_DRVQ_RING_BYTES(QUEUE)))
			abort();
		o.memory[i].slots = calloc(QUEUE, sizeof *o.memory[i].slots);
		o.memory[i].indirect = tables ? calloc(QUEUE * VIO_SCSI_DRV_INDIRECT, sizeof *o.memory[i].indirect) : NULL;
	}
	c->sense_size = vio_le32_of(VIO_SCSI_DRV_SENSE);
	c->cdb_size = vio_le32_of(VIO_SCSI_DRV_CDB);
	if (vio_scsi_start(s, &p->port, &o)) {
		for (unsigned i = 0; i < STEPS && fed(&p->f); i++)
			scsi_step(p, s, all, u);
		scsi_end(p, s, all);
	} else if (!s->drv.failed) {
		abort();	/* it must say why */
	}
	for (unsigned i = 0; i < 2; i++) {
		free(o.memory[i].ring);
		free(o.memory[i].slots);
		free(o.memory[i].indirect);
	}
	free(u);
	free(all);
	free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct play p = { .port = { &ops, { &platform_ops, &p } }, .f = { data, data + n } };
	uint8_t bits = (uint8_t)take(&p.f, 1);

	p.id = bits & 128 ? VIO_ID_SCSI : bits & 64 ? VIO_ID_INPUT : bits & 1 ? VIO_ID_RNG : VIO_ID_BLK;
	p.pieces = bits & 2;
	p.lies = bits & 8 ? (uint8_t)take(&p.f, 1) : 0;
	p.offered = (struct vio_features){ { take(&p.f, 8), take(&p.f, 1) } };
	if (!(bits & 16))
		vio_features_add(&p.offered, VIO_F_VERSION_1);
	p.queue_max = bits & 32 ? (uint16_t)take(&p.f, 2) : QUEUE;
	take_bytes(&p.f, p.config, 40);
	for (unsigned i = 0; i < REQUESTS; i++)
		p.data[i] = calloc(1, ROOM);
	if (p.id == VIO_ID_INPUT)
		play_input(&p);
	else if (p.id == VIO_ID_SCSI)
		play_scsi(&p, bits & 4);
	else if (p.id == VIO_ID_BLK)
		play_blk(&p, bits & 4);
	else
		play_rng(&p);
	for (unsigned i = 0; i < REQUESTS; i++)
		free(p.data[i]);
	return 0;
}
