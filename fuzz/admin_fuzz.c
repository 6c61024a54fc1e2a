/*
 * The administration queue: a device with capabilities and objects of every form (tests/device/admin_type.h), commands of any
 * bytes, and a driver whose answers are scribbled over.  What is kept is always something that could have been made: limits hold, what an
 * object depends on exists, and state that is saved loads and is the same.
 */
#include <vio/driver/admin.h>
#include <vio/transport/loop.h>
#include "../tests/device/admin_type.h"
#include "feed.h"

enum { STEPS = 60, RAW = 640, SAVED = 8192 };

/* What driver and device share: its addresses are the host's. */
struct shared {
	struct vio_admin admin;
	VIO_ALIGNAS(16) unsigned char ring[VIO_DRVQ_RING_BYTES(8)];
	unsigned char r[RAW], w[RAW];
};

struct play {
	struct vio_loop_wire wire;	/* the port: first */
	struct feed f;
	struct vio_dev *d;
	struct vio_region region;
	struct vio_mem mem;
	struct shared *s;
	struct vio_drv drv;
	struct vio_drvq q;
	struct vio_drvq_slot slots[8];
	struct vio_admin_cap store, stickers;
	struct vio_admin_kind box, lid, sticker;
	uint64_t made[KINDS];
	uint64_t now;
	bool lies;
	int mapped;
};

#define PLAY(p) ((struct play *)(p))
static const struct vio_drv_port_ops *honest;
static struct vio_drv_port_ops lying;

static void *alloc(size_t n) { return calloc(1, n); }
static void release(void *p, size_t n) { (void)n; free(p); }

static void scribble(struct play *p)
{
	uint8_t n = (uint8_t)take(&p->f, 1) % 8;

	while (n--) {
		uint16_t at = (uint16_t)take(&p->f, 2);
		unsigned char *to = at & 1 ? p->s->admin.out : p->s->admin.ring;
		size_t room = at & 1 ? sizeof p->s->admin.out : sizeof p->s->admin.ring;
		to[(at >> 1) % (at & 0x8000 ? room : 16)] = (unsigned char)take(&p->f, 1);
	}
}

static void kick(struct vio_drv_port *port, uint16_t queue, uint32_t notification)
{
	honest->kick(port, queue, notification);
	if (PLAY(port)->lies && queue)
		scribble(PLAY(port));
}

static unsigned map(void *arg, const void *at, uint32_t len, enum vio_dir dir, struct vio_buf *out, unsigned max)
{
	(void)dir, (void)max;
	PLAY(arg)->mapped++;
	out[0] = (struct vio_buf){ (uintptr_t)at, len };
	return 1;
}

static void unmap(void *arg, const void *at, uint32_t len, enum vio_dir dir, const struct vio_buf *bufs, unsigned n)
{
	(void)dir;
	if (n != 1 || bufs[0].addr != (uintptr_t)at || bufs[0].len != len)
		abort();
	PLAY(arg)->mapped--;
}

static uint64_t now_ns(void *arg) { return PLAY(arg)->now += VIO_DRV_PATIENCE_NS / 50; }
static void relax(void *arg) { vio_loop_pump(&PLAY(arg)->wire, 4); }
static const struct vio_platform_ops platform = { .map = map, .unmap = unmap, .now_ns = now_ns, .relax = relax };

/* ---- What must always hold ---- */

static const struct vio_dev_admin_slot *slot_of(const void *data) { return (const struct vio_dev_admin_slot *)data - 1; }

static uint32_t users_of(const struct vio_dev *d, unsigned kind, uint32_t id)
{
	uint32_t n = 0;

	for (unsigned k = 0; k < KINDS; k++)
		for (uint32_t i = 0; i < made_up_kinds[k].most; i++) {
			const unsigned char *data = vio_dev_admin_object(d, k, i);
			for (unsigned r = 0; data && r < made_up_kinds[k].refs; r++)
				n += made_up_kinds[k].ref[r].resource == kind && vio_admin_number(data + made_up_kinds[k].ref[r].at, 4) == id;
		}
	return n;
}

static void check(const struct vio_dev *d)
{
	if (d->admin_used & ~UINT64_C(0x3f83))
		abort();
	for (unsigned k = 0; k < KINDS; k++)
		for (uint32_t id = 0; id < made_up_kinds[k].most; id++) {
			const unsigned char *data = vio_dev_admin_object(d, k, id), *cap = vio_dev_admin_cap(d, made_up_kinds[k].cap);
			if (!data)
				continue;
			if (!cap || id >= vio_admin_number(cap + made_up_kinds[k].limit_at, 4) || slot_of(data)->users != users_of(d, k, id))
				abort();
			for (unsigned r = 0; r < made_up_kinds[k].refs; r++) {
				const struct vio_dev_admin_ref *ref = &made_up_kinds[k].ref[r];
				if (!vio_dev_admin_object(d, ref->resource, (uint32_t)vio_admin_number(data + ref->at, 4)))
					abort();
			}
		}
}

/* ---- Steps ---- */

/* A command that may be right in all but one thing, or anything. */
static void raw_command(struct play *p)
{
	static const uint16_t types[] = { 0x200, 0x201, 0x2ff, 0x202 }, caps[] = { 0x003, 0x800, 0x842, 0x801 };
	uint8_t how = (uint8_t)take(&p->f, 1);
	uint16_t opcode = how % 16 == 15 ? (uint16_t)take(&p->f, 2) : how % 16;
	struct vio_admin_cmd c = { vio_le16_of(opcode), vio_le16_of(how & 0x40 ? (uint16_t)take(&p->f, 1) : 0), { 0 },
		vio_le64_of(how & 0x20 ? take(&p->f, 1) : 0) };
	uint32_t r = how & 0x80 ? (uint32_t)take(&p->f, 2) % RAW : 0, w = how & 0x80 ? (uint32_t)take(&p->f, 2) % RAW : RAW;
	struct vio_buf bufs[2] = { { (uintptr_t)p->s->r, 0 }, { (uintptr_t)p->s->w, w } };
	unsigned char *data = p->s->r + sizeof c;
	uint8_t which = (uint8_t)take(&p->f, 1);

	take_bytes(&p->f, p->s->r, 96);
	memcpy(p->s->r, &c, sizeof c);
	if (opcode >= 0xa && opcode <= 0xd) {
		struct vio_admin_object o = { { vio_le16_of(types[which % 4]), { 0 }, vio_le32_of(which >> 2 & 7) }, { 0 } };
		memcpy(data, &o, sizeof o);
		if (which & 0x80)	/* refers to something there may be */
			memset(data + sizeof o + 1, 0, 3), memset(data + sizeof o + 5, 0, 3), data[16] &= 3, data[20] &= 3;
	} else if (opcode == 8 || opcode == 9) {
		data[0] = (unsigned char)caps[which % 4];
		data[1] = (unsigned char)(caps[which % 4] >> 8);
	} else if (opcode == 1 && !(which & 1)) {
		memset(data, 0, 8), data[0] = 0x83, data[1] = 0x3f;
	}
	bufs[0].len = r ? r : 96;
	if (!vio_drvq_add(&p->q, bufs, 1, w ? 1 : 0, p))
		return;
	if (vio_drvq_kick_due(&p->q))
		honest->kick(&p->wire.port, 1, 1);
	uint32_t used;
	if (!vio_drvq_get(&p->q, &used) || used > w)
		abort();	/* a sound chain comes back, whatever is in it */
	if (used >= 8 && vio_admin_number(p->s->w, 2) && used != 8)
		abort();	/* an error has no result */
}

static void by_the_driver(struct play *p)
{
	uint8_t how = (uint8_t)take(&p->f, 1), id = (uint8_t)take(&p->f, 1) % 6;
	struct vio_admin_kind *kinds[KINDS] = { &p->box, &p->lid, &p->sticker }, *k = kinds[how >> 4 & 3 ? (how >> 4 & 3) - 1 : 0];
	unsigned char data[32], back[VIO_ADMIN_DRV_DATA];
	uint32_t got;

	take_bytes(&p->f, data, sizeof data);
	switch (how % 8) {
	case 0: vio_admin_begin(&p->s->admin); break;
	case 1: vio_admin_cap_set(&p->s->admin, how & 8 ? &p->store : &p->stickers, data); break;
	case 2: vio_admin_create(&p->s->admin, k, id, data, how & 8 ? sizeof data : 6); break;
	case 3: vio_admin_modify(&p->s->admin, k, id, data, sizeof data); break;
	case 4: vio_admin_query(&p->s->admin, k, id, back, sizeof back, &got); break;
	case 5: vio_admin_destroy(&p->s->admin, k, id); break;
	case 6: vio_admin_cap_has(&p->s->admin, (uint16_t)(data[0] | data[1] << 8)); break;
	default: vio_admin_command(&p->s->admin, how >> 3, data[0] & 1, data[1] & 1, data + 2, 16, back, data[2], &got);
	}
}

static void save_and_load(struct play *p)
{
	static unsigned char one[SAVED], two[SAVED];

	if (p->drv.failed || !vio_drv_suspend(&p->drv))
		return;
	size_t n = vio_dev_save(p->d, one, sizeof one);
	if (take(&p->f, 1) & 1) {		/* not as it was saved */
		unsigned char *exact = malloc(n);
		memcpy(exact, one, n);
		exact[take(&p->f, 2) % n] ^= (unsigned char)take(&p->f, 1);
		(void)vio_dev_load(p->d, exact, n);
		free(exact);
		check(p->d);
	}
	if (vio_dev_load(p->d, one, n) || vio_dev_save(p->d, two, sizeof two) != n || memcmp(one, two, n))
		abort();
	vio_drv_resume(&p->drv);
	vio_loop_pump(&p->wire, 16);
}

/* ---- Life ---- */

/* As the driver core has it; administered by raw commands or by a driver. */
static bool start(struct play *p, bool raw, bool packed)
{
	struct vio_features f = { { 0, 0 } };

	vio_features_add(&f, VIO_F_SUSPEND);
	if (packed)
		vio_features_add(&f, VIO_F_RING_PACKED);
	p->wire.port.admin = &p->s->admin;
	if (!vio_drv_begin(&p->drv, &p->wire.port, MADE_UP_ID, f, NULL))
		abort();
	if (raw) {
		memset(p->s->ring, 0, sizeof p->s->ring);
		struct vio_drvq_setup s = { .size = 8, .features = p->drv.features, .ring = p->s->ring,
			.ring_addr = (uintptr_t)p->s->ring, .slots = p->slots };
		vio_drvq_init(&p->q, &s);
		p->wire.port.admin = NULL;
		if (!vio_drv_queue(&p->drv, 1, &p->q))
			abort();
	}
	return vio_drv_ready(&p->drv);
}

static void play(struct play *p, bool raw, bool packed)
{
	if (!start(p, raw, packed))
		abort();
	if (!raw)
		vio_admin_begin(&p->s->admin);
	for (unsigned i = 0; i < STEPS && fed(&p->f); i++) {
		uint8_t how = (uint8_t)take(&p->f, 1);
		p->lies = !raw && how & 1;
		if (how >> 1 == 0)
			save_and_load(p);
		else if (raw)
			raw_command(p);
		else
			by_the_driver(p);
		check(p->d);
	}
	p->lies = false;
	p->wire.port.admin = &p->s->admin;
	if (!vio_drv_reset(&p->drv) || p->mapped || !start(p, false, packed) || !vio_admin_begin(&p->s->admin))
		abort();	/* a reset heals */
	p->store.round = 0;
	if (vio_admin_cap_set(&p->s->admin, &p->store, "\4\0\0\0\3\0\0\0\3\1\7\3\1\2\5\0\0\0\0") != VIO_ADMIN_STATUS_OK ||
	    vio_admin_create(&p->s->admin, &p->box, 3, "\1\0\1", 4) != VIO_ADMIN_STATUS_OK || !vio_drv_reset(&p->drv) || p->mapped)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct play *p = calloc(1, sizeof *p);
	void *shared;

	if (posix_memalign(&shared, 4096, sizeof *p->s))
		abort();
	memset(shared, 0, sizeof *p->s);
	p->s = shared;
	p->f = (struct feed){ data, data + n };
	p->region = (struct vio_region){ .gpa = (uintptr_t)shared, .size = sizeof *p->s, .host = shared, .perm = VIO_MEM_RW };
	p->mem = (struct vio_mem){ .region = &p->region, .count = 1, .refs = 1 };
	p->wire.alloc = alloc;
	p->wire.free = release;
	p->d = calloc(1, made_up.instance);
	if (vio_dev_open(p->d, &made_up, NULL, &vio_loop_port, &p->wire, vio_loop_features()))
		abort();
	vio_loop_connect(&p->wire, p->d, (struct vio_platform){ &platform, p });
	vio_dev_set_mem(p->d, &p->mem);
	honest = p->wire.port.ops;
	lying = *honest;
	lying.kick = kick;
	p->wire.port.ops = &lying;
	p->store = (struct vio_admin_cap){ .id = 0x800, .bytes = sizeof(struct store_value), .field = store_fields, .fields = 4 };
	p->stickers = (struct vio_admin_cap){ .id = 0x842, .bytes = 4, .field = sticker_fields, .fields = 1 };
	p->box = (struct vio_admin_kind){ .type = 0x200, .cap = { &p->store }, .made = &p->made[BOX], .words = 1 };
	p->lid = (struct vio_admin_kind){ .type = 0x201, .cap = { &p->store }, .limit_at = 4, .made = &p->made[LID], .words = 1 };
	p->sticker = (struct vio_admin_kind){ .type = 0x2ff, .cap = { &p->stickers, &p->store }, .made = &p->made[STICKER], .words = 1 };
	uint8_t how = (uint8_t)take(&p->f, 1);
	play(p, how & 1, how & 2);
	vio_dev_set_status(p->d, 0);
	vio_dev_close(p->d);
	free(p->d);
	free(shared);
	free(p);
	return 0;
}
