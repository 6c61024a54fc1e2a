/*
 * Registers in any order, width and value, at every status of the device, over both wires: nothing crashes, nothing is consumed
 * before its time, a reset heals, and another device serves on.
 */
#include "bus.h"

/* ---- Every register, width and value ---- */

static const uint64_t values[] = { 0, 1, 2, 3, 0x40, 0xff, 0xffff, 0x8000, 0x80000000, 0xffffffff, UINT64_MAX, RIG_GPA };
static const unsigned widths[] = { 0, 1, 2, 3, 4, 8, 16 };

/* A write of 0 to the status is a reset, and ends the status that is looked at. */
static bool resets(uint32_t at, unsigned width, uint64_t v)
{
	return at == STATUS.at && width == STATUS.width && (v & (UINT64_MAX >> (64 - 8 * width))) == 0;
}

static void trample(struct blk_rig *b, struct blk_rig *neighbour, unsigned status, uint32_t from, uint32_t to)
{
	for (uint64_t at = from; at <= to; at++) {
		bool spoiled = true;
		for (unsigned w = 0; w < sizeof widths / sizeof *widths; w++)
			for (unsigned v = 0; v < sizeof values / sizeof *values; v++) {
				if (spoiled)
					bring_to(b, status);
				get(b, at, widths[w]);
				put(b, at, widths[w], values[v]);
				get(b, at, widths[w]);
				spoiled = resets((uint32_t)at, widths[w], values[v]);
			}
		vio_loop_pump(&b->g->wire, 64);
		if (at % 16 == 0)
			read_one(neighbour, at & 16 ? 1 : 0);
	}
	heals(b);
}

static void every_register_width_and_value(void **state)
{
	struct blk_rig b = bus_new(), neighbour = bus_new();

	(void)state;
	bus_start(&neighbour, true);
	for (unsigned s = 0; s < STATUSES; s++)
		for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++)
			trample(&b, &neighbour, s, ranges[i][0], ranges[i][1]);
	blk_close(&b);
	blk_close(&neighbour);
}

/* Accesses that do not fit their register are no accesses: the device is as it was, to the bit. */
static void only_whole_registers(void **state)
{
	struct blk_rig b = bus_new();

	(void)state;
	bus_start(&b, false);
	struct vio_dev *copy = malloc(sizeof *copy);
	memcpy(copy, b.g->dev, sizeof *copy);
	for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++)
		for (uint64_t at = ranges[i][0]; at <= ranges[i][1]; at++)
			for (unsigned w = 0; w < sizeof widths / sizeof *widths; w++) {
				bool whole = widths[w] && at % widths[w] == 0 && widths[w] <= 8 && widths[w] != 3;
				if (whole)
					continue;
				uint64_t refused = dev(&b)->refused;
				assert_int_equal(get(&b, at, widths[w]), 0);
				put(&b, at, widths[w], UINT64_MAX);
				assert_int_equal(dev(&b)->refused, refused + 2);
			}
	assert_memory_equal(copy, b.g->dev, sizeof *copy);
	free(copy);
	read_one(&b, 0);
	blk_close(&b);
}

/* ---- Status values ---- */

/* Every value at every status: bits come and never go, none comes before what it needs; nothing is consumed before DRIVER_OK. */
static void every_status_value(void **state)
{
	struct blk_rig b = bus_new();

	(void)state;
	for (unsigned s = 0; s < STATUSES; s++)
		for (unsigned v = 1; v < 256; v++) {
			bring_to(&b, s);
			uint8_t before = (uint8_t)get_reg(&b, STATUS);
			unsigned asked = b.t->count;
			put_reg(&b, STATUS, v);
			vio_loop_pump(&b.g->wire, 64);
			uint8_t after = (uint8_t)get_reg(&b, STATUS);
			uint8_t may_go = before & VIO_S_SUSPEND ? VIO_S_SUSPEND : v & VIO_S_SUSPEND ? VIO_S_DRIVER_OK : 0;
			if (before & ~after & ~may_go || after & ~(before | v | VIO_S_NEEDS_RESET) ||
			    (after & VIO_S_FEATURES_OK && !(after & VIO_S_DRIVER)) ||
			    (after & (VIO_S_DRIVER_OK | VIO_S_SUSPEND) && !(after & VIO_S_FEATURES_OK)) ||
			    (after & VIO_S_DRIVER_OK && after & VIO_S_SUSPEND))
				fail_msg("at %x, %x was written: %x", before, v, after);
			assert_int_equal(b.t->count, asked);
			if (v % 32 == 0)
				heals(&b);
		}
	heals(&b);
	blk_close(&b);
}

/* ---- Queues that are set up in any order ---- */

enum { S_SIZE = 1, S_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_KICK, S_DRIVER_OK, S_RESET_QUEUE, S_BAD_SIZE, S_BAD_DESC, S_OTHER_SIZE };

static void do_step(struct blk_rig *b, unsigned step)
{
	const struct vio_drvq *q = &b->g->q[1];

	put_reg(b, SELECT, 1);
	switch (step) {
	case S_SIZE: put_reg(b, SIZE, q->size); break;
	case S_DESC: put_pair(b, DESC, q->desc_addr); break;
	case S_DRIVER: put_pair(b, DRIVER, q->driver_addr); break;
	case S_DEVICE: put_pair(b, DEVICE, q->device_addr); break;
	case S_ENABLE: put_reg(b, ENABLE, 1); break;
	case S_KICK: kick_reg(b, 1); break;
	case S_DRIVER_OK: put_reg(b, STATUS, get_reg(b, STATUS) | VIO_S_DRIVER_OK); break;
	case S_RESET_QUEUE: put_reg(b, RESET, 1); break;
	case S_BAD_SIZE: put_reg(b, SIZE, 0xffff); break;
	case S_BAD_DESC: put_pair(b, DESC, UINT64_MAX - 15); break;
	case S_OTHER_SIZE: put_reg(b, SIZE, 8); break;
	default: break;
	}
	vio_loop_pump(&b->g->wire, 16);
}

/* What becomes of the one request in queue 1 after these steps, begun at FEATURES_OK (the queue's ring is there). */
enum { SERVED, LEFT, BROKEN };

static void queues_in_any_order(void **state)
{
	static const struct { const char *what; uint8_t step[12]; int end; } rows[] = {
		{ "by the rules", { S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_DRIVER_OK, S_KICK }, SERVED },
		{ "backwards", { S_DEVICE, S_DRIVER, S_DESC, S_SIZE, S_ENABLE, S_DRIVER_OK, S_KICK }, SERVED },
		{ "enabled after DRIVER_OK", { S_DRIVER_OK, S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_KICK }, SERVED },
		{ "never enabled", { S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_DRIVER_OK, S_KICK }, LEFT },
		{ "never started", { S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_KICK, S_KICK }, LEFT },
		{ "a kick before DRIVER_OK counts for nothing, the look at DRIVER_OK does",
			{ S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_KICK, S_DRIVER_OK }, SERVED },
		{ "enabled twice", { S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_ENABLE, S_DRIVER_OK, S_ENABLE, S_KICK }, SERVED },
		{ "enabled without addresses", { S_ENABLE, S_DRIVER_OK, S_KICK }, BROKEN },
		{ "enabled, then the addresses", { S_ENABLE, S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_DRIVER_OK, S_KICK }, BROKEN },
		{ "one address missing", { S_SIZE, S_DESC, S_DEVICE, S_ENABLE, S_DRIVER_OK, S_KICK }, BROKEN },
		{ "size and address after it was enabled: too late",
			{ S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_OTHER_SIZE, S_BAD_DESC, S_DRIVER_OK, S_KICK }, SERVED },
		{ "while it runs: too late",
			{ S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_DRIVER_OK, S_BAD_SIZE, S_BAD_DESC, S_KICK }, SERVED },
		{ "a size that can't be, then one that can",
			{ S_BAD_SIZE, S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_DRIVER_OK, S_KICK }, SERVED },
		{ "an address at the end of all", { S_SIZE, S_BAD_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_DRIVER_OK, S_KICK }, BROKEN },
		{ "reset before it was enabled", { S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_RESET_QUEUE, S_ENABLE, S_DRIVER_OK, S_KICK }, SERVED },
		{ "reset and not enabled again", { S_SIZE, S_DESC, S_DRIVER, S_DEVICE, S_ENABLE, S_RESET_QUEUE, S_DRIVER_OK, S_KICK }, LEFT },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct blk_rig b = bus_new(), neighbour = bus_new();
		bus_start(&neighbour, false);
		bus_start(&b, false);			/* makes the driver's rings; then once more, by hand */
		bus_reset(&b);
		b.g->used = b.g->kept = 0;
		put_reg(&b, STATUS, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER);
		put_reg(&b, WORD, 0);
		put_reg(&b, FEATURES, 1u << VIO_F_INDIRECT_DESC);
		put_reg(&b, WORD, 1);
		put_reg(&b, FEATURES, 1 | 1u << (VIO_F_RING_RESET - 32));
		put_reg(&b, STATUS, VIO_S_ACKNOWLEDGE | VIO_S_DRIVER | VIO_S_FEATURES_OK);
		struct vio_drvq_setup setup = { .size = RIG_SIZE, .slots = b.g->slots[1], .features = BITS(VIO_F_VERSION_1) };
		setup.ring = rig_take(b.g, VIO_DRVQ_RING_BYTES(RIG_SIZE));
		memset(setup.ring, 0, VIO_DRVQ_RING_BYTES(RIG_SIZE));
		setup.ring_addr = rig_address(b.g, setup.ring);
		vio_drvq_init(&b.g->q[1], &setup);
		struct ask a = blk_ask(&b, VIO_BLK_T_IN, 1, NULL, 0, 512);
		blk_add(&b, 1, &a, 0, 0);
		(void)vio_drvq_kick_due(&b.g->q[1]);
		for (unsigned k = 0; k < sizeof rows[i].step && rows[i].step[k]; k++)
			do_step(&b, rows[i].step[k]);
		bool served = rig_get(b.g, 1, NULL) == a.w, broken = get_reg(&b, STATUS) & VIO_S_NEEDS_RESET;
		if (served != (rows[i].end == SERVED) || broken != (rows[i].end == BROKEN))
			fail_msg("%s: %s%s", rows[i].what, served ? "served" : "left", broken ? ", broken" : "");
		assert_int_equal(b.t->count, served);
		read_one(&neighbour, 0);
		heals(&b);
		blk_close(&b);
		blk_close(&neighbour);
	}
}

/* ---- The config space ---- */

/* Only what a driver may write changes, whatever the place and width; reads beyond give zeroes; nothing wraps. */
static void every_place_in_the_config_space(void **state)
{
	static const uint64_t far[] = { 0x10000, UINT32_MAX - CONFIG_AT - 8, UINT32_MAX - CONFIG_AT, UINT64_C(1) << 32,
		UINT64_MAX - CONFIG_AT - 7, UINT64_MAX - CONFIG_AT };
	struct blk_rig b = bus_new();
	uint8_t before[sizeof(struct vio_blk_config)];

	(void)state;
	bus_start(&b, false);
	for (uint32_t at = 0; at < 0x1000; at++)
		for (unsigned w = 1; w <= 8; w *= 2) {
			memcpy(before, b.g->dev->config, sizeof before);
			uint64_t v = get(&b, CONFIG_AT + at, w), expect = 0;
			for (unsigned i = 0; i < w && at % w == 0; i++)
				expect |= (uint64_t)(at + i < sizeof before ? before[at + i] : 0) << 8 * i;
			assert_true(v == expect);
			put(&b, CONFIG_AT + at, w, UINT64_MAX);
			bool writeback = at == offsetof(struct vio_blk_config, writeback) && w == 1;
			if (writeback)
				put(&b, CONFIG_AT + at, w, before[at]);
			assert_memory_equal(before, b.g->dev->config, sizeof before);
		}
	for (unsigned i = 0; i < sizeof far / sizeof *far; i++)
		for (unsigned w = 1; w <= 8; w *= 2) {
			assert_int_equal(get(&b, CONFIG_AT + far[i], w), 0);
			put(&b, CONFIG_AT + far[i], w, UINT64_MAX);
			assert_memory_equal(before, b.g->dev->config, sizeof before);
		}
	read_one(&b, 0);
	blk_close(&b);
}

/* ---- Rings and buffers on top of the device's own registers, and of what else is no memory ---- */

enum { IN_DESC, IN_DRIVER, IN_DEVICE, IN_HEADER, IN_DATA, IN_STATUS, IN_TABLE, PLACES };
static const char *const places[] = { "descriptors", "the driver area", "the device area", "a header", "data", "the status byte",
	"an indirect table" };

/* One request of three descriptors in queue 1, of which something lies at addr. */
static void try_place(struct blk_rig *b, unsigned place, uint64_t addr)
{
	struct vio_drvq *q = &b->g->q[1];

	if (place <= IN_DEVICE) {
		put_reg(b, SELECT, 1);
		put_reg(b, RESET, 1);		/* without RING_RESET it would be DRIVER_OK's affair */
		vio_loop_pump(&b->g->wire, 16);
		put_reg(b, SIZE, RIG_SIZE);
		put_pair(b, DESC, place == IN_DESC ? addr : q->desc_addr);
		put_pair(b, DRIVER, place == IN_DRIVER ? addr : q->driver_addr);
		put_pair(b, DEVICE, place == IN_DEVICE ? addr : q->device_addr);
		put_reg(b, ENABLE, 1);
	} else {
		struct ask a = blk_ask(b, VIO_BLK_T_IN, 1, NULL, 0, 512);
		struct vio_split_desc *d = q->place.desc, *table = rig_take(b->g, 64);
		struct vio_split_avail *avail = q->place.driver;
		uint64_t at[3] = { rig_address(b->g, a.r), rig_address(b->g, a.w), rig_address(b->g, a.w + 512) };
		uint32_t len[3] = { 16, 512, 1 };
		uint64_t t = rig_address(b->g, table);
		if (place == IN_TABLE)
			t = addr;
		else
			at[place - IN_HEADER] = addr;
		for (unsigned i = 0; i < 3; i++)
			table[i] = (struct vio_split_desc){ vio_le64_of(at[i]), vio_le32_of(len[i]),
				vio_le16_of((uint16_t)((i < 2 ? VIO_DESC_NEXT : 0) | (i ? VIO_DESC_WRITE : 0))), vio_le16_of((uint16_t)(i + 1)) };
		d[0] = (struct vio_split_desc){ vio_le64_of(t), vio_le32_of(48), vio_le16_of(VIO_DESC_INDIRECT), { 0 } };
		avail->ring[vio_le16_get(avail->idx) % RIG_SIZE] = vio_le16_of(0);
		avail->idx = vio_le16_of((uint16_t)(vio_le16_get(avail->idx) + 1));
	}
	kick_reg(b, 1);
	vio_loop_pump(&b->g->wire, 64);
}

static void nothing_but_memory_is_reached(void **state)
{
	const struct { const char *what; uint64_t addr; } targets[] = {
		{ "the registers", REGISTERS_GPA },
		{ "the status register", REGISTERS_GPA + STATUS.at / 16 * 16 },
		{ "the notification register", REGISTERS_GPA + notify_reg(1).at },
		{ "the config space", REGISTERS_GPA + CONFIG_AT },
		{ "the end of memory and the registers behind it", REGISTERS_GPA - 16 },
		{ "below memory", RIG_GPA - 16 },
		{ "the local APIC", UINT64_C(0xfee00000) },
		{ "address 0", 0 },
		{ "the end of all addresses", UINT64_MAX - 15 },
	};
	struct blk_rig b = bus_new(), neighbour = bus_new();

	(void)state;
	bus_start(&neighbour, true);
	for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++)
		for (unsigned place = 0; place < PLACES; place++) {
			heals(&b);
			uint64_t addr = targets[i].addr;
			if (place == IN_STATUS && addr == REGISTERS_GPA - 16)
				addr = REGISTERS_GPA;	/* one byte does not reach over the edge */
			if (place == IN_HEADER && addr == REGISTERS_GPA - 16)
				addr = REGISTERS_GPA - 8;
			rig_rewind(b.g);
			uint32_t live = (uint32_t)b.g->dev->queue[0].live;
			unsigned asked = b.t->count;
			try_place(&b, place, addr);
			if (b.t->count != asked)
				fail_msg("%s in %s: served", places[place], targets[i].what);
			assert_true(get_reg(&b, STATUS) & VIO_S_DRIVER_OK && live == b.g->dev->queue[0].live);
			if (!(get_reg(&b, STATUS) & VIO_S_NEEDS_RESET) && !b.g->dev->queue[1].ring.stats.refused)
				fail_msg("%s in %s: neither refused nor broken", places[place], targets[i].what);
			read_one(&b, 0);			/* the other queue goes on */
			read_one(&neighbour, place & 1);
		}
	heals(&b);
	blk_close(&b);
	blk_close(&neighbour);
}

#if defined(RIG_PCI)
/* ---- The window into BAR 0 (4.1.4.9) ---- */

/* Any BAR, place and length: an access that could be made directly is made, and is the same; any other is none, and counted. */
static void a_window_that_lies(void **state)
{
	static const uint32_t bars[] = { 0, 1, 2, 4, 5, 6, 7, 128, 255 };
	static const uint32_t offsets[] = { 0, 1, 2, 3, 4, 8, 18, 20, 21, 22, 62, 64, 0x1000, 0x1fff, 0x2000, 0x2006, 0x3000, 0x3004,
		0x4000, 0x400c, 0x5000, 0x7ffc, 0x7ffe, 0x7fff, 0x8000, 0x8001, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff };
	static const uint32_t lengths[] = { 0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 0x100, 0x10002, 0x80000001, 0xffffffff };
	struct blk_rig b = bus_new(), neighbour = bus_new();

	(void)state;
	bus_start(&neighbour, false);
	bus_start(&b, false);
	unsigned cap = dev(&b)->window_at;
	for (unsigned i = 0; i < sizeof bars / sizeof *bars; i++)
		for (unsigned k = 0; k < sizeof offsets / sizeof *offsets; k++)
			for (unsigned n = 0; n < sizeof lengths / sizeof *lengths; n++) {
				uint32_t at = offsets[k], len = lengths[n];
				vio_pci_config_write(dev(&b), cap + 4u, 1, bars[i]);
				vio_pci_config_write(dev(&b), cap + 8u, 4, at);
				vio_pci_config_write(dev(&b), cap + 12u, 4, len);
				assert_int_equal(vio_pci_config_read(dev(&b), cap + 12u, 4), len);
				bool made = bars[i] == 0 && (len == 1 || len == 2 || len == 4) && at % len == 0 && at < FILE_BYTES;
				uint64_t refused = dev(&b)->refused;
				uint32_t direct = made ? (uint32_t)get(&b, at, len) : 0;
				uint64_t counts = dev(&b)->refused - refused;
				refused = dev(&b)->refused;
				uint32_t seen = vio_pci_config_read(dev(&b), cap + 16u, 4);
				assert_int_equal(dev(&b)->refused - refused, made ? counts : 1);
				if (made)
					assert_int_equal(seen & (UINT32_MAX >> (32 - 8 * len)), direct);
				if (made && at == STATUS.at)
					continue;		/* would reset it */
				refused = dev(&b)->refused;
				for (unsigned width = 1; width <= 4; width *= 2)
					vio_pci_config_write(dev(&b), cap + 16u, width, 0);
				if (!made)
					assert_int_equal(dev(&b)->refused - refused, 3);
			}
	read_one(&neighbour, 1);
	heals(&b);
	blk_close(&b);
	blk_close(&neighbour);
}
#endif

static const struct CMUnitTest tests[] = {
	T(every_register_width_and_value, "every register, width and value at every status; a reset heals, neighbours serve on"),
	T(only_whole_registers, "what is narrower, wider or askew changes nothing and is counted"),
	T(every_status_value, "every value of the status at every status {core-dev-1 core-dev-2; only us}"),
	T(queues_in_any_order, "queues set up in any order are served, left, or break"),
	T(every_place_in_the_config_space, "every place and width in the config space"),
	T(nothing_but_memory_is_reached, "rings and buffers on top of registers reach nothing"),
#if defined(RIG_PCI)
	T(a_window_that_lies, "a window into BAR 0 that lies {pci-dev-49 pci-dev-50; only us}"),
#endif
};

int main(void) { return vio_tests("registers over " BUS, tests, sizeof tests / sizeof *tests); }
