/* A disk with two queues behind registers, for tests that reach past the driver: which registers there are on either wire. */
#ifndef VIO_TESTS_DEVICE_BUS_H
#define VIO_TESTS_DEVICE_BUS_H
#include "blk_rig.h"

/* Where the registers stand in the guest's addresses: right behind its memory. */
#define REGISTERS_GPA (RIG_GPA + RIG_BYTES)

struct reg { uint32_t at; uint8_t width; };

#if defined(RIG_MMIO)
#define BUS "mmio"
static inline struct vio_mmio_dev *dev(struct blk_rig *b) { return &((struct rig_wire *)b->g->wire.other)->dev; }
static inline void put(struct blk_rig *b, uint64_t at, unsigned width, uint64_t v) { vio_mmio_write(dev(b), at, width, v); }
static inline uint64_t get(struct blk_rig *b, uint64_t at, unsigned width)
{
	uint64_t v;
	assert_true(vio_mmio_read(dev(b), at, width, &v));
	return v;
}
static inline bool turn(struct blk_rig *b, unsigned queue) { return vio_mmio_turn(dev(b), queue); }
static const struct reg STATUS = { 0x70, 4 }, SELECT = { 0x30, 4 }, SIZE = { 0x38, 4 }, ENABLE = { 0x44, 4 }, RESET = { 0xc0, 4 },
	DESC = { 0x80, 4 }, DRIVER = { 0x90, 4 }, DEVICE = { 0xa0, 4 }, WORD = { 0x24, 4 }, FEATURES = { 0x20, 4 };
enum { CONFIG_AT = 0x100, FILE_BYTES = 0x1000 };
static inline struct reg notify_reg(unsigned queue) { (void)queue; return (struct reg){ 0x50, 4 }; }
/* Ranges of offsets where there is something, and some beyond. */
static const uint32_t ranges[][2] = { { 0, 0x1a0 }, { 0xff8, 0x1008 }, { 0xfffffff8, 0xffffffff } };
#else
#define BUS "pci"
static inline struct vio_pci_dev *dev(struct blk_rig *b) { return &((struct rig_wire *)b->g->wire.other)->dev; }
static inline void put(struct blk_rig *b, uint64_t at, unsigned width, uint64_t v) { vio_pci_write(dev(b), at, width, v); }
static inline uint64_t get(struct blk_rig *b, uint64_t at, unsigned width) { return vio_pci_read(dev(b), at, width); }
static inline bool turn(struct blk_rig *b, unsigned queue) { return vio_pci_turn(dev(b), queue); }
#define FIELD(field) { offsetof(struct vio_pci_common, field), sizeof(((struct vio_pci_common *)0)->field) }
#define HALF(field) { offsetof(struct vio_pci_common, field), 4 }
static const struct reg STATUS = FIELD(device_status), SELECT = FIELD(queue_select), SIZE = FIELD(queue_size),
	ENABLE = FIELD(queue_enable), RESET = FIELD(queue_reset), DESC = HALF(queue_desc), DRIVER = HALF(queue_driver),
	DEVICE = HALF(queue_device), WORD = FIELD(driver_feature_select), FEATURES = FIELD(driver_feature);
enum { CONFIG_AT = 0x2000, FILE_BYTES = 0x8000 };
static inline struct reg notify_reg(unsigned queue) { return (struct reg){ 0x3000 + queue * 4, 2 }; }
static const uint32_t ranges[][2] = { { 0, 0x50 }, { 0xff8, 0x1008 }, { 0x1ff8, 0x2068 }, { 0x2ff8, 0x3010 }, { 0x30f8, 0x3108 },
	{ 0x3ff8, 0x4048 }, { 0x4ff8, 0x5010 }, { 0x7ff8, 0x8008 }, { 0xfffffff8, 0xffffffff } };
#endif

static inline void put_reg(struct blk_rig *b, struct reg r, uint64_t v) { put(b, r.at, r.width, v); }
static inline uint64_t get_reg(struct blk_rig *b, struct reg r) { return get(b, r.at, r.width); }
static inline void put_pair(struct blk_rig *b, struct reg r, uint64_t v)
{
	put(b, r.at, 4, (uint32_t)v);
	put(b, r.at + 4, 4, v >> 32);
}
static inline void kick_reg(struct blk_rig *b, unsigned queue)
{
	bool other_word = vio_has(b->g->dev->accepted, VIO_F_NOTIF_CONFIG_DATA);	/* over PCI a queue's word is the device's choice */
	put_reg(b, notify_reg(queue), other_word ? queue ^ 0xffff : queue);
}

static inline struct blk_rig bus_new(void)
{
	struct blk_rig b = blk_new();

	b.o.queues = 2;
	assert_null(rig_open(b.g, &vio_dev_blk, &b.o));
	return b;
}

static inline void read_one(struct blk_rig *b, uint16_t queue)
{
	rig_rewind(b->g);
	struct ask a = blk_ask(b, VIO_BLK_T_IN, 1, NULL, 0, 512);
	blk_add(b, queue, &a, 0, 0);
	rig_kick(b->g, queue);
	assert_ptr_equal(rig_get(b->g, queue, NULL), a.w);
	assert_int_equal(a.w[512], VIO_BLK_S_OK);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(a.w[i], pattern(512 + i));
}

static inline void bus_start(struct blk_rig *b, bool packed)
{
	struct vio_features f = BITS(ALL_BLK, VIO_F_INDIRECT_DESC, VIO_F_SUSPEND, VIO_F_RING_RESET);

	if (packed)
		vio_features_add(&f, VIO_F_RING_PACKED);
	rig_start(b->g, 2, f);
}

/* Status 0 by the register; what is in flight may need turns. */
static inline void bus_reset(struct blk_rig *b)
{
	put_reg(b, STATUS, 0);
	for (unsigned i = 0; i < 1000 && get_reg(b, STATUS); i++)
		vio_loop_pump(&b->g->wire, 1);
	assert_int_equal(get_reg(b, STATUS), 0);
}

/* A reset heals, whatever was done. */
static inline void heals(struct blk_rig *b)
{
	bus_reset(b);
	bus_start(b, false);
	read_one(b, 0);
	read_one(b, 1);
}

/* ---- Every status that a device can have ---- */

enum { AT_RESET, AT_ACKNOWLEDGE, AT_DRIVER, AT_FEATURES_OK, AT_DRIVER_OK, AT_SUSPEND, AT_FAILED, AT_NEEDS_RESET, STATUSES };

static inline void bring_to(struct blk_rig *b, unsigned status)
{
	bus_reset(b);
	if (status >= AT_DRIVER_OK) {
		bus_start(b, false);
	} else {
		if (status >= AT_ACKNOWLEDGE)
			put_reg(b, STATUS, VIO_S_ACKNOWLEDGE);
		if (status >= AT_DRIVER)
			put_reg(b, STATUS, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
		if (status >= AT_FEATURES_OK) {
			put_reg(b, WORD, 1);
			put_reg(b, FEATURES, 1);
			put_reg(b, STATUS, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
			assert_true(get_reg(b, STATUS) & VIO_S_FEATURES_OK);
		}
	}
	if (status == AT_SUSPEND)
		assert_true(vio_drv_suspend(&b->g->drv));
	if (status == AT_FAILED)
		put_reg(b, STATUS, get_reg(b, STATUS) | VIO_S_FAILED);
	if (status == AT_NEEDS_RESET) {
		struct vio_split_avail *avail = b->g->q[0].place.driver;
		avail->idx = vio_le16_of(RIG_SIZE + 9);
		kick_reg(b, 0);
		assert_true(get_reg(b, STATUS) & VIO_S_NEEDS_RESET);
		read_one(b, 1);		/* the other goes on */
	}
}
#endif
