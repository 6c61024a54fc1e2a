/* The registers and tables of the first instruction, read as the processor reads them. */
#include <tests/vmm/rig.h>
#include <vmm/x86/entry.h>
#include <vmm/x86/layout.h>

static struct rig *entered(int kind, struct vmm_x86_start *s)
{
	struct rig *r = rig_new();

	rig_region(r, 0, MIB, VIO_MEM_RW);
	r->entry.kind = kind;
	r->entry.at = 0x1000200;
	r->entry.argument = 0x7000;
	if (!vmm_x86_entry(&r->entry, &r->mem, s, r->why))
		fail_msg("refused: %s", r->why);
	return r;
}

/* As the processor walks: 4 levels, present and writable all the way. */
static uint64_t walk(const struct rig *r, const struct vmm_x86_start *s, uint64_t at)
{
	uint64_t table = s->cr3;

	for (unsigned shift = 39; ; shift -= 9) {
		uint64_t e = rig_get(r, table + (at >> shift & 511) * 8, 8);
		if ((e & 3) != 3)
			return UINT64_MAX;
		table = e & UINT64_C(0xffffffffff000);
		if (e & 0x80)
			return table + (at & ((UINT64_C(1) << shift) - 1));
		if (shift == 12)
			return table + (at & 4095);
	}
}

static void long_mode(void **state)
{
	struct vmm_x86_start s;
	struct rig *r = entered(VMM_ENTRY_LONG64, &s);
	(void)state;

	assert_int_equal(s.rip, 0x1000200);
	assert_int_equal(s.rsi, 0x7000);
	assert_int_equal(s.rbx, 0);
	assert_int_equal(s.rflags, 2);		/* interrupts off */
	assert_int_equal(s.cr0 & 0x80000001, 0x80000001);
	assert_int_equal(s.cr4, 0x20);
	assert_int_equal(s.efer, 0x500);
	assert_int_equal(s.cs.selector, 0x10);
	assert_int_equal(s.cs.l, 1);
	assert_int_equal(s.cs.db, 0);
	assert_int_equal(s.data.selector, 0x18);
	rig_free(r);
}

static void identity(void **state)
{
	static const uint64_t at[] = { 0, 0x7000, 0x1fffff, 0x200000, 0x1000200, VMM_GIB - 1, VMM_GIB, 3 * VMM_GIB + 12345,
		4 * VMM_GIB - 1 };
	struct vmm_x86_start s;
	struct rig *r = entered(VMM_ENTRY_LONG64, &s);
	(void)state;

	for (unsigned i = 0; i < sizeof at / sizeof *at; i++)
		assert_int_equal(walk(r, &s, at[i]), at[i]);
	assert_int_equal(walk(r, &s, 4 * VMM_GIB), UINT64_MAX);
	assert_int_equal(walk(r, &s, UINT64_C(1) << 39), UINT64_MAX);
	assert_int_equal(rig_get(r, VMM_AT_PAGE_TABLES + 6 * 4096, 1), 0xee);	/* six pages, no more */
	rig_free(r);
}

static void descriptors(void **state)
{
	struct vmm_x86_start s;
	struct rig *r = entered(VMM_ENTRY_LONG64, &s);
	(void)state;

	assert_int_equal(s.gdt_base, VMM_AT_GDT);
	assert_int_equal(s.gdt_limit, 6 * 8 - 1);
	assert_int_equal(rig_get(r, s.gdt_base, 8), 0);
	assert_int_equal(rig_get(r, s.gdt_base + 0x10, 8), UINT64_C(0x00af9b000000ffff));
	assert_int_equal(rig_get(r, s.gdt_base + 0x18, 8), UINT64_C(0x00cf93000000ffff));
	assert_int_equal(rig_get(r, s.gdt_base + 0x20, 8), UINT64_C(0x00008b0000000067));
	rig_free(r);
	r = entered(VMM_ENTRY_PVH32, &s);
	assert_int_equal(rig_get(r, s.gdt_base + 0x10, 8), UINT64_C(0x00cf9b000000ffff));
	rig_free(r);
}

static void protected_mode(void **state)
{
	struct vmm_x86_start s;
	struct rig *r = entered(VMM_ENTRY_PVH32, &s);
	(void)state;

	assert_int_equal(s.rbx, 0x7000);
	assert_int_equal(s.rsi, 0);
	assert_int_equal(s.rflags, 2);
	assert_int_equal(s.cr0 & 0x80000001, 1);
	assert_int_equal(s.cr3 | s.cr4 | s.efer, 0);
	assert_int_equal(s.cs.db, 1);
	assert_int_equal(s.cs.l, 0);
	assert_int_equal(s.tr.limit, 0x67);
	assert_int_equal(s.tr.type, 11);
	assert_int_equal(s.cs.limit, UINT32_MAX);
	assert_int_equal(s.data.limit, UINT32_MAX);
	assert_int_equal(rig_get(r, VMM_AT_PAGE_TABLES, 1), 0xee);	/* nobody needs them */
	rig_free(r);
}

static void no_memory(void **state)
{
	struct vmm_x86_start s;
	struct rig *r = rig_new();
	(void)state;

	rig_region(r, 0, 0xe000, VIO_MEM_RW);
	assert_false(vmm_x86_entry(&r->entry, &r->mem, &s, r->why));
	assert_non_null(strstr(r->why, "no memory where its first tables go"));
	rig_free(r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(long_mode, "a 64-bit entry has long mode, interrupts off and its argument in rsi"),
		T(identity, "its page tables map 4 GiB to themselves and nothing else"),
		T(descriptors, "the GDT says what the segment registers say"),
		T(protected_mode, "a PVH entry has 32-bit protected mode without paging and its argument in ebx"),
		T(no_memory, "a machine without memory for the tables is refused"),
	};
	return vio_tests("entry", tests, sizeof tests / sizeof *tests);
}
