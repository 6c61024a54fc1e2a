/*
 * Rings that no honest driver writes, as rows of a table: what is wrong, how the ring is built, the sentence that breaks
 * the queue; and beside them what looks wrong and is legal.  Each row runs over both formats where it means something.
 *
 * For every refused row: the device says so once and needs a reset; kicks change nothing; nothing is allocated; the other
 * queue serves on; a reset heals.
 */
#include "probe.h"

enum { SPLIT = 1, PACKED = 2, BOTH = 3 };

#define LOOP "chain of more descriptors than the queue has, or a loop"
#define OUTSIDE "buffer outside guest memory"
#define WRAPS "buffer wraps around the end of the address space"
#define TABLE_OUTSIDE "indirect table outside guest memory, or in two regions of it"
#define TABLE_LENGTH "indirect table whose length is not a multiple of 16"
#define NESTED "indirect table inside an indirect table"
#define MOVED "available index has moved further than the queue is long"
#define AGAIN "chain made available again while the device still has it"
#define ID_AGAIN "buffer id made available again while the device still has it"
#define NO_HEAD "available ring names a descriptor outside the table"
#define LINKS "descriptor links outside its table"
#define ORDER "device-readable buffer after a device-writable one"
#define BIG "chain of more than 2^32 bytes"

enum { W = VIO_DESC_WRITE, N = VIO_DESC_NEXT, I = VIO_DESC_INDIRECT };

static void link_to(struct probe *p, unsigned i, uint16_t flags, uint16_t next)
{
	split_table(p)[i].flags = vio_le16_of(flags);
	split_table(p)[i].next = vio_le16_of(next);
}

/* ---- A1 loops ---- */

static void self_loop(struct probe *p)
{
	CHAIN(p, { LOW, 4, 0 });
	link_to(p, 0, N, 0);
}

static void two_cycle(struct probe *p)
{
	CHAIN(p, { LOW, 4, 0 }, { LOW, 4, 0 });
	link_to(p, 1, N, 0);
}

static void empty_loop(struct probe *p)
{
	CHAIN(p, { LOW, 0, 0 }, { LOW, 0, W }, { LOW, 0, 0 });
	link_to(p, 2, N | W, 1);
}

static void loop_in_table(struct probe *p)
{
	TABLE(p, LOW, { HIGH, 1, 0 }, { HIGH, 1, 0 });
	((struct vio_split_desc *)(void *)at(p, LOW))[1].flags = vio_le16_of(N);
	((struct vio_split_desc *)(void *)at(p, LOW))[1].next = vio_le16_of(0);
	CHAIN(p, { LOW, 32, I });
}

static void next_everywhere(struct probe *p)
{
	for (unsigned i = 0; i < p->size; i++)
		place(p, (struct b){ LOW, 1, N }, 0);
}

/* ---- A2 numbers out of range ---- */

static void next_size(struct probe *p)
{
	CHAIN(p, { LOW, 4, 0 });
	link_to(p, 0, N, p->size);
}

static void next_max(struct probe *p)
{
	CHAIN(p, { LOW, 4, 0 });
	link_to(p, 0, N, UINT16_MAX);
}

static void next_out_of_table(struct probe *p)
{
	TABLE(p, LOW, { HIGH, 1, N });
	((struct vio_split_desc *)(void *)at(p, LOW))->next = vio_le16_of(1);
	CHAIN(p, { LOW, 16, I });
}

static void head_size(struct probe *p) { offer(p, p->size); }
static void head_max(struct probe *p) { offer(p, UINT16_MAX); }
static void id_size(struct probe *p) { place(p, (struct b){ LOW, 4, 0 }, p->size); }
static void id_max(struct probe *p) { place(p, (struct b){ LOW, 4, 0 }, UINT16_MAX); }

/* ---- A3 indirect tables ---- */

static void indirect_in_indirect(struct probe *p)
{
	TABLE(p, LOW, { LOW + 0x100, 16, I });
	TABLE(p, LOW + 0x100, { HIGH, 4, 0 });
	CHAIN(p, { LOW, 16, I });
}

static void indirect_and_next(struct probe *p)
{
	TABLE(p, LOW, { HIGH, 4, 0 });
	CHAIN(p, { LOW, 16, I | N }, { HIGH, 4, 0 });
}

static void indirect_in_list(struct probe *p)
{
	TABLE(p, LOW, { HIGH, 4, 0 });
	CHAIN(p, { HIGH, 4, 0 }, { LOW, 16, I });
}

static void table_of(struct probe *p, uint64_t addr, uint32_t len)
{
	TABLE(p, LOW, { HIGH, 4, 0 }, { HIGH, 4, 0 });
	CHAIN(p, { addr, len, I });
}

static void table_0(struct probe *p) { table_of(p, LOW, 0); }
static void table_15(struct probe *p) { table_of(p, LOW, 15); }
static void table_17(struct probe *p) { table_of(p, LOW, 17); }
static void table_4g(struct probe *p) { table_of(p, LOW, UINT32_MAX - 15); }
static void table_in_hole(struct probe *p) { table_of(p, HIGH + HIGH_SIZE, 32); }
static void table_over_edge(struct probe *p) { table_of(p, HIGH + HIGH_SIZE - 24, 32); }
static void table_in_two_regions(struct probe *p) { table_of(p, HIGH - 16, 32); }
static void table_straddles(struct probe *p) { table_of(p, HIGH - 8, 16); }
static void table_at_top(struct probe *p) { table_of(p, UINT64_MAX - 15, 32); }

static void table_of_64k(struct probe *p)
{
	for (unsigned i = 0; i < 65536; i++)
		table_entry(p->packed, at(p, LOW), i, (struct b){ HIGH, 1, 0 }, i < 65535);
	CHAIN(p, { LOW, 65536 * 16, I });
}

static void table_too_long(struct probe *p)
{
	for (unsigned i = 0; i < 1027; i++)
		table_entry(p->packed, at(p, LOW), i, (struct b){ HIGH, 1, 0 }, i < 1026);
	CHAIN(p, { LOW, 1027 * 16, I });
}

static void indirect_write(struct probe *p)
{
	fill(p, HIGH, 4, 'a');
	TABLE(p, LOW, { HIGH, 4, 0 }, { HIGH + 64, 2, W });
	CHAIN(p, { LOW, 32, I | W });
}

static void unaligned_table(struct probe *p)
{
	fill(p, HIGH, 4, 'a');
	TABLE(p, LOW + 7, { HIGH, 4, 0 }, { HIGH + 64, 2, W });
	CHAIN(p, { LOW + 7, 32, I });
}

/* Longer than the queue, as long as the device's segment limit and two: Linux does that. */
static void long_table(struct probe *p)
{
	for (unsigned i = 0; i < 1026; i++) {
		fill(p, HIGH + i, 1, (unsigned char)('a' + i));
		table_entry(p->packed, at(p, LOW), i, (struct b){ i < 1024 ? HIGH + i : HIGH + 0x1000, 1, i < 1024 ? 0 : W },
			i < 1025);
	}
	CHAIN(p, { LOW, 1026 * 16, I });
}

static void direct_then_indirect(struct probe *p)
{
	fill(p, HIGH, 4, 'a');
	TABLE(p, LOW, { HIGH + 2, 2, 0 }, { HIGH + 64, 2, W });
	CHAIN(p, { HIGH, 1, 0 }, { HIGH + 1, 1, 0 }, { LOW, 32, I });
}

/* The last descriptor of the table's region, and its first byte to the last of memory. */
static void table_at_the_edge(struct probe *p)
{
	fill(p, HIGH, 4, 'a');
	TABLE(p, HIGH + HIGH_SIZE - 32, { HIGH, 4, 0 }, { HIGH + 64, 2, W });
	CHAIN(p, { HIGH + HIGH_SIZE - 32, 32, I });
}

static void table_at_the_last_byte(struct probe *p)
{
	fill(p, HIGH, 4, 'a');
	TABLE(p, UINT64_MAX - 31, { HIGH, 4, 0 }, { HIGH + 64, 2, W });
	CHAIN(p, { UINT64_MAX - 31, 32, I });
}

/* ---- A4 long chains ---- */

static void direct_chain_too_long(struct probe *p)
{
	for (unsigned i = 0; i < p->size; i++)
		table_entry(false, split_table(p), i, (struct b){ LOW, 1, 0 }, true);
	TABLE(p, LOW, { HIGH, 1, 0 });
	link_to(p, p->size - 1u, I, 0);		/* the last refers to a table: size - 1 direct ones and 1020 more */
	split_table(p)[p->size - 1] = (struct vio_split_desc){ vio_le64_of(LOW), vio_le32_of(1020 * 16), vio_le16_of(I), vio_le16_of(0) };
	for (unsigned i = 0; i < 1020; i++)
		table_entry(false, at(p, LOW), i, (struct b){ HIGH, 1, 0 }, i < 1019);
	offer(p, 0);
}

static void bytes_in_pieces(struct probe *p, uint64_t total, uint16_t flags)
{
	unsigned n = 0;

	for (uint64_t left = total; left; n++) {
		uint32_t len = left < HIGH_SIZE ? (uint32_t)left : HIGH_SIZE;
		table_entry(p->packed, at(p, LOW), n, (struct b){ HIGH, len, flags }, left > len);
		left -= len;
	}
	CHAIN(p, { LOW, n * 16, I });
}

static void bytes_4g_and_1(struct probe *p) { bytes_in_pieces(p, (UINT64_C(1) << 32) + 1, W); }
static void bytes_4g(struct probe *p) { bytes_in_pieces(p, UINT64_C(1) << 32, W); }
static void writable_first(struct probe *p) { CHAIN(p, { LOW, 4, W }, { LOW + 64, 4, 0 }); }

static void writable_first_in_table(struct probe *p)
{
	TABLE(p, LOW, { HIGH, 4, W }, { HIGH + 64, 4, 0 });
	CHAIN(p, { LOW, 32, I });
}

/* ---- A5 buffers of no bytes ---- */

static void empties(struct probe *p)
{
	fill(p, LOW, 4, 'a');
	CHAIN(p, { LOW, 0, 0 }, { LOW, 2, 0 }, { 0, 0, 0 }, { LOW + 2, 2, 0 }, { LOW, 2, W }, { UINT64_MAX, 0, W });
}

static void empty_alone(struct probe *p) { CHAIN(p, { 0, 0, 0 }); }
static void empty_status(struct probe *p)
{
	fill(p, LOW, 4, 'a');
	CHAIN(p, { LOW, 4, 0 }, { LOW + 64, 0, W });
}

static void empty_writable_before_readable(struct probe *p)
{
	fill(p, LOW, 4, 'a');
	CHAIN(p, { LOW + 64, 0, W }, { LOW, 4, 0 }, { LOW + 64, 2, W });
}

static void empty_in_the_hole(struct probe *p)
{
	fill(p, LOW, 4, 'a');
	CHAIN(p, { HIGH + HIGH_SIZE + 64, 0, 0 }, { LOW, 4, 0 }, { ROM, 0, W }, { LOW + 64, 2, W });
}

/* ---- A6 addresses ---- */

static void wraps(struct probe *p) { CHAIN(p, { UINT64_MAX - 7, 16, 0 }); }
static void wraps_by_one(struct probe *p) { CHAIN(p, { TOP, 0x1001, W }); }
static void past_the_end(struct probe *p) { CHAIN(p, { HIGH + HIGH_SIZE - 1, 2, 0 }); }
static void past_the_end_after_a_hit(struct probe *p) { CHAIN(p, { HIGH, 1, 0 }, { HIGH + HIGH_SIZE - 1, 2, 0 }); }
static void past_the_end_alone_after_a_hit(struct probe *p)
{
	CHAIN(p, { HIGH, 1, 0 });
	kick(p);
	CHAIN(p, { HIGH + HIGH_SIZE - 1, 2, 0 });
}

static void in_the_hole(struct probe *p) { CHAIN(p, { HIGH + HIGH_SIZE, 1, W }); }
static void over_the_hole(struct probe *p) { CHAIN(p, { HIGH + HIGH_SIZE - 8, ROM - HIGH - HIGH_SIZE + 16, 0 }); }
static void address_zero(struct probe *p) { CHAIN(p, { 0, 1, 0 }); }
static void writes_rom(struct probe *p) { CHAIN(p, { ROM, 4, W }); }
static void writes_rom_after_reading_it(struct probe *p) { CHAIN(p, { ROM, 4, 0 }, { ROM + 8, 4, W }); }

static void reads_rom(struct probe *p)
{
	fill(p, ROM + ROM_SIZE - 4, 4, 'a');
	CHAIN(p, { ROM + ROM_SIZE - 4, 4, 0 }, { LOW, 2, W });
}

static void crosses_regions(struct probe *p)
{
	fill(p, HIGH - 3, 4, 'a');
	CHAIN(p, { HIGH - 3, 4, 0 }, { HIGH - 1, 2, W });
}

static void crosses_regions_in_a_table(struct probe *p)
{
	fill(p, HIGH - 1, 4, 'a');
	TABLE(p, LOW, { HIGH - 1, 4, 0 }, { HIGH - 1, 2, W });
	CHAIN(p, { LOW, 32, I });
}

static void last_byte_there_is(struct probe *p)
{
	fill(p, UINT64_MAX - 3, 4, 'a');
	CHAIN(p, { UINT64_MAX - 3, 4, 0 }, { TOP, 2, W });
}

/* ---- A7 the available index ---- */

static void index_by(struct probe *p, uint16_t n)
{
	vio_shared_release(&avail_ring(p)->idx, (uint16_t)(vio_shared_load(&avail_ring(p)->idx) + n));
}

static void index_one_too_far(struct probe *p) { index_by(p, (uint16_t)(p->size + 1)); }
static void index_two_rings(struct probe *p) { index_by(p, (uint16_t)(2 * p->size)); }
static void index_half_way(struct probe *p) { index_by(p, 0x8000); }
static void index_back(struct probe *p) { index_by(p, UINT16_MAX); }

static void same_head_all_over(struct probe *p)
{
	p->hold = true;
	CHAIN(p, { LOW, 4, 0 });
	for (unsigned i = 1; i < p->size; i++)
		offer(p, 0);
}

/* ---- A8 the same chain twice ---- */

static void same_twice(struct probe *p)
{
	p->hold = true;
	if (p->packed) {
		place(p, (struct b){ LOW, 4, 0 }, 3);
		place(p, (struct b){ LOW, 4, 0 }, 3);
	} else {
		CHAIN(p, { LOW, 4, 0 });
		offer(p, 0);
	}
}

/* A ring full of chains that the device holds, and then its first place once more. */
static void lap_too_many(struct probe *p)
{
	p->hold = true;
	for (unsigned i = 0; i < p->size; i++)
		place(p, (struct b){ LOW, 4, 0 }, (uint16_t)i);
	kick(p);
	place(p, (struct b){ LOW, 4, 0 }, 0);
}

/* The same, with lists: fewer ids than places are out, and one id is free. */
static void list_into_held_places(struct probe *p)
{
	p->hold = true;
	CHAIN(p, { LOW, 1, 0 }, { LOW, 1, 0 }, { LOW, 1, 0 }, { LOW, 1, 0 }, { LOW, 1, 0 });
	kick(p);
	for (unsigned i = 0; i < 4; i++)
		place(p, (struct b){ LOW, 1, i < 3 ? N : 0 }, 7);
}

/* ---- A9 packed only ---- */

static void used_and_available(struct probe *p)
{
	packed_ring(p)[0] = (struct vio_packed_desc){ vio_le64_of(LOW), vio_le32_of(4), vio_le16_of(0),
		vio_le16_of(VIO_DESC_AVAIL | VIO_DESC_USED) };
}

static void neither_used_nor_available(struct probe *p)
{
	packed_ring(p)[0] = (struct vio_packed_desc){ vio_le64_of(LOW), vio_le32_of(4), vio_le16_of(0), vio_le16_of(0) };
}

static void available_in_another_lap(struct probe *p)
{
	packed_ring(p)[0] = (struct vio_packed_desc){ vio_le64_of(LOW), vio_le32_of(4), vio_le16_of(0), vio_le16_of(VIO_DESC_USED) };
}

/* AVAIL and USED of what follows the first descriptor of a list are not looked at: its first one stands for all. */
static void flags_flip_in_a_list(struct probe *p)
{
	fill(p, LOW, 4, 'a');
	CHAIN(p, { LOW, 4, 0 }, { LOW + 64, 2, W });
	packed_ring(p)[1].flags = vio_le16_of(W);
}

static void list_over_the_end(struct probe *p)
{
	for (unsigned i = 0; i + 1u < p->size; i++) {
		CHAIN(p, { LOW, 1, 0 });
		kick(p);
	}
	p->seen = 0;
	fill(p, LOW, 4, 'a');
	CHAIN(p, { LOW, 4, 0 }, { LOW + 64, 2, W });
}

struct row {
	const char *what;
	void (*build)(struct probe *p);
	unsigned formats;
	const char *words;		/* NULL: legal */
	unsigned seen;			/* chains that were served; of refused rows: before it broke */
	uint64_t r, w;			/* legal: bytes of the last chain; its first 4 are "abcd" */
	const char *ids;
	uint16_t size;			/* 0: 8 */
	bool no_indirect;
	uint64_t w_at;			/* legal: where its 2 bytes must stand */
};

static const struct row rows[] = {
	{ "A1 a descriptor that links to itself", self_loop, SPLIT, LOOP },
	{ "A1 two descriptors that link to each other", two_cycle, SPLIT, LOOP },
	{ "A1 a loop of descriptors without bytes", empty_loop, SPLIT, LOOP },
	{ "A1 a loop in an indirect table", loop_in_table, SPLIT, LOOP },
	{ "A1 NEXT in every place of the ring", next_everywhere, PACKED, LOOP },
	{ "A1 NEXT in the only place of the ring", next_everywhere, PACKED, LOOP, .size = 1 },

	{ "A2 a link to queue size", next_size, SPLIT, LINKS },
	{ "A2 a link to 65535", next_max, SPLIT, LINKS },
	{ "A2 a link behind the indirect table", next_out_of_table, SPLIT, LINKS },
	{ "A2 head queue size", head_size, SPLIT, NO_HEAD },
	{ "A2 head 65535", head_max, SPLIT, NO_HEAD },
	{ "A2 buffer id queue size", id_size, PACKED, "buffer id is not below the queue size" },
	{ "A2 buffer id 65535", id_max, PACKED, "buffer id is not below the queue size" },

	{ "A3 a table inside a table", indirect_in_indirect, BOTH, NESTED },
	{ "A3 INDIRECT and NEXT", indirect_and_next, SPLIT, "descriptor both indirect and chained" },
	{ "A3 INDIRECT and NEXT", indirect_and_next, PACKED, "indirect descriptor inside a list" },
	{ "A3 a table at the end of a list", indirect_in_list, PACKED, "indirect descriptor inside a list" },
	{ "A3 a table of 0 bytes", table_0, BOTH, TABLE_LENGTH },
	{ "A3 a table of 15 bytes", table_15, BOTH, TABLE_LENGTH },
	{ "A3 a table of 17 bytes", table_17, BOTH, TABLE_LENGTH },
	{ "A3 a table of 2^32 - 16 bytes", table_4g, BOTH, TABLE_OUTSIDE },
	{ "A3 a table of 65536 descriptors", table_of_64k, BOTH, LOOP },
	{ "A3 a table of one descriptor more than the device allows", table_too_long, BOTH, LOOP },
	{ "A3 a table in a hole", table_in_hole, BOTH, TABLE_OUTSIDE },
	{ "A3 a table over the edge of memory", table_over_edge, BOTH, TABLE_OUTSIDE },
	{ "A3 a table in two regions", table_in_two_regions, BOTH, TABLE_OUTSIDE },
	{ "A3 a table whose one descriptor lies in two regions", table_straddles, BOTH, TABLE_OUTSIDE },
	{ "A3 a table at 2^64 - 16 that goes on", table_at_top, BOTH, "indirect table wraps around the end of the address space" },
	{ "A3 INDIRECT that was not negotiated", indirect_write, BOTH, "indirect descriptor, but INDIRECT_DESC was not negotiated",
		.no_indirect = true },
	{ "A3 INDIRECT and WRITE", indirect_write, BOTH, NULL, 1, 4, 2, "split-dev-7", .w_at = HIGH + 64 },
	{ "A3 a table that nothing aligns", unaligned_table, BOTH, NULL, 1, 4, 2, .w_at = HIGH + 64 },
	{ "A3 a table longer than the queue, as the segment limit allows", long_table, BOTH, NULL, 1, 1024, 2 },
	{ "A3 direct descriptors, then a table", direct_then_indirect, SPLIT, NULL, 1, 4, 2, "split-dev-8", .w_at = HIGH + 64 },
	{ "A3 a table in the last bytes of a region", table_at_the_edge, BOTH, NULL, 1, 4, 2 },
	{ "A3 a table in the last bytes there are", table_at_the_last_byte, BOTH, NULL, 1, 4, 2 },

	{ "A4 direct descriptors and a table, together too many", direct_chain_too_long, SPLIT, LOOP },
	{ "A4 2^32 + 1 bytes", bytes_4g_and_1, BOTH, BIG },
	{ "A4 2^32 bytes, all of them the same 4 MiB", bytes_4g, BOTH, NULL, 1, 0, UINT64_C(1) << 32 },
	{ "A4 writable before readable", writable_first, BOTH, ORDER },
	{ "A4 writable before readable in a table", writable_first_in_table, BOTH, ORDER },

	{ "A5 buffers without bytes at head, middle and tail", empties, BOTH, NULL, 1, 4, 2 },
	{ "A5 a chain of nothing", empty_alone, BOTH, NULL, 1, 0, 0 },
	{ "A5 a status of no bytes", empty_status, BOTH, NULL, 1, 4, 0 },
	{ "A5 an empty writable buffer before a readable one", empty_writable_before_readable, BOTH, NULL, 1, 4, 2 },
	{ "A5 buffers without bytes where no memory is", empty_in_the_hole, BOTH, NULL, 1, 4, 2 },

	{ "A6 a buffer that wraps", wraps, BOTH, WRAPS },
	{ "A6 a buffer that wraps by one byte", wraps_by_one, BOTH, WRAPS },
	{ "A6 one byte past the end of memory", past_the_end, BOTH, OUTSIDE },
	{ "A6 one byte past the end of the region last hit", past_the_end_after_a_hit, BOTH, OUTSIDE },
	{ "A6 a lone buffer past the end of the region last hit", past_the_end_alone_after_a_hit, BOTH, OUTSIDE, 1 },
	{ "A6 a buffer in a hole", in_the_hole, BOTH, OUTSIDE },
	{ "A6 a buffer over a hole", over_the_hole, BOTH, OUTSIDE },
	{ "A6 address 0", address_zero, BOTH, OUTSIDE },
	{ "A6 writing to read-only memory", writes_rom, BOTH, OUTSIDE },
	{ "A6 writing to read-only memory that was read first", writes_rom_after_reading_it, BOTH, OUTSIDE },
	{ "A6 reading read-only memory", reads_rom, BOTH, NULL, 1, 4, 2 },
	{ "A6 buffers that cross adjacent regions", crosses_regions, BOTH, NULL, 1, 4, 2, .w_at = HIGH - 1 },
	{ "A6 buffers of a table that cross adjacent regions", crosses_regions_in_a_table, BOTH, NULL, 1, 4, 2, .w_at = HIGH - 1 },
	{ "A6 the last byte there is", last_byte_there_is, BOTH, NULL, 1, 4, 2, .w_at = TOP },

	{ "A7 the index one further than the queue is long", index_one_too_far, SPLIT, MOVED },
	{ "A7 the index two queues further", index_two_rings, SPLIT, MOVED },
	{ "A7 the index 0x8000 further", index_half_way, SPLIT, MOVED },
	{ "A7 the index one back", index_back, SPLIT, MOVED },
	{ "A7 the same head in the whole available ring", same_head_all_over, SPLIT, AGAIN, 1 },

	{ "A8 a head twice before it was used", same_twice, SPLIT, AGAIN, 1 },
	{ "A8 a buffer id twice before it was used", same_twice, PACKED, ID_AGAIN, 1 },
	{ "A8 a place made available again before it was used", lap_too_many, PACKED,
		"descriptor made available again while the device still has it", 8 },
	{ "A8 a list that runs into places not used yet", list_into_held_places, PACKED, LOOP, 1 },

	{ "A9 AVAIL and USED both set in the first lap", used_and_available, PACKED, NULL, 0 },
	{ "A9 neither AVAIL nor USED", neither_used_nor_available, PACKED, NULL, 0, .ids = "packed-dev-6" },
	{ "A9 available by the wrong wrap counter", available_in_another_lap, PACKED, NULL, 0, .ids = "packed-dev-6" },
	{ "A9 AVAIL and USED inside a list", flags_flip_in_a_list, PACKED, NULL, 1, 4, 2 },
	{ "A9 a list over the end of the ring", list_over_the_end, PACKED, NULL, 1, 4, 2 },
	{ "A9 a list over the end of a ring of 3", list_over_the_end, PACKED, NULL, 1, 4, 2, .size = 3 },
};

/* ---- How a row runs ---- */

static void serves_a_good_chain(struct probe *p)
{
	unsigned before = p->seen;

	fill(p, LOW, 4, 'a');
	CHAIN(p, { LOW, 4, 0 });
	kick(p);
	assert_null(p->dev.queue[0].ring.broken);
	assert_int_equal(p->seen, before + 1);
	assert_memory_equal(p->note, "abcd", 4);
}

static void expect_refused(struct probe *p, const struct row *r)
{
	struct vio_devq *q = &p->dev.queue[0].ring;

	assert_non_null(q->broken);
	assert_string_equal(q->broken, r->words);
	assert_int_equal(q->stats.broken, 1);
	assert_int_equal(p->seen, r->seen);
	assert_true(vio_dev_status(&p->dev) & VIO_S_NEEDS_RESET);
	assert_string_equal(p->dev.needs_reset, r->words);
	assert_string_equal(p->wire.broken, r->words);
	assert_int_equal(p->wire.configs, 1);	/* 2.1.2: told once */
	uint64_t signals = p->wire.used;
	for (unsigned i = 0; i < 100; i++)
		assert_false(vio_dev_notified(&p->dev, 0));
	assert_null(vio_devq_pop(q));
	assert_false(vio_devq_listen(q));
	assert_int_equal(q->why_empty, VIO_BROKEN);
	assert_int_equal(q->stats.broken, 1);
	assert_int_equal(p->wire.used, signals);
	assert_int_equal(p->wire.configs, 1);
	assert_int_equal(p->seen, r->seen);
	neighbour_serves(p);

	p->hold = false;
	vio_dev_set_status(&p->dev, 0);
	assert_int_equal(vio_dev_status(&p->dev), 0);
	assert_int_equal(p->held_count, 0);
	probe_start(p);
	assert_null(p->dev.needs_reset);
	serves_a_good_chain(p);
	neighbour_serves(p);
}

static void expect_served(struct probe *p, const struct row *r)
{
	assert_null(p->dev.queue[0].ring.broken);
	assert_int_equal(p->seen, r->seen);
	if (r->seen) {
		assert_int_equal(p->r, r->r);
		assert_int_equal(p->w, r->w);
	}
	if (r->seen && r->r)
		assert_memory_equal(p->note, "abcd", 4);
	if (r->w_at) {
		assert_int_equal(*at(p, r->w_at), 0x80);
		assert_int_equal(*at(p, r->w_at + 1), 0x81);
		assert_int_equal(vio_le32_get(used_of(p, 0).len), 2);
	}
	neighbour_serves(p);
}

static void run(const struct row *r, bool packed)
{
	struct vio_features indirect = vio_features_of((const unsigned char[]){ VIO_F_INDIRECT_DESC }, 1);
	struct probe *p = probe_new(packed, r->size ? r->size : 8, r->no_indirect ? (struct vio_features){ { 0, 0 } } : indirect);

	probe_start(p);
	size_t allocated = probe_allocated;
	r->build(p);
	kick(p);
	assert_int_equal(probe_allocated, allocated);
	if (r->words)
		expect_refused(p, r);
	else
		expect_served(p, r);
	probe_free_all(p);
}

static void run_split(void **state) { run(*state, false); }
static void run_packed(void **state) { run(*state, true); }

int main(void)
{
	enum { ROWS = sizeof rows / sizeof *rows };
	static struct CMUnitTest tests[2 * ROWS];
	static char names[2 * ROWS][200];
	size_t n = 0;

	for (size_t i = 0; i < ROWS; i++)
		for (unsigned packed = 0; packed < 2; packed++) {
			if (!(rows[i].formats & (packed ? PACKED : SPLIT)))
				continue;
			const char *ids = rows[i].ids && (strncmp(rows[i].ids, "split", 5) || !packed) ? rows[i].ids : NULL;
			snprintf(names[n], sizeof names[n], "%s: %s (%s)%s%s%s", rows[i].what,
			    rows[i].words ? "the queue breaks, its neighbour serves, a reset heals" : rows[i].seen ? "legal" : "not seen",
			    packed ? "packed" : "split", ids ? " {" : rows[i].words ? " {core-dev-3" : "", ids ? ids : "",
			    ids || rows[i].words ? "; only us}" : "");
			tests[n] = (struct CMUnitTest)TS(packed ? run_packed : run_split, names[n], &rows[i]);
			n++;
		}
	return vio_tests("malformed rings", tests, n);
}
