#include <vmm/x86/entry.h>
#include <string.h>
#include <vio/host/why.h>
#include <vmm/place.h>
#include <vmm/x86/layout.h>

enum { CODE = 0x10, DATA = 0x18, TSS = 0x20, GDT_ENTRIES = 6 };	/* a TSS takes two in long mode */
enum { CR0_PE = 1, CR0_ET = 1 << 4, CR4_PAE = 1 << 5, EFER_LME = 1 << 8, EFER_LMA = 1 << 10, RFLAGS_1 = 2 };
#define CR0_PG (UINT64_C(1) << 31)
enum { PAGE = 4096, ENTRIES = 512, PRESENT = 1, WRITABLE = 2, ACCESSED = 1 << 5, DIRTY = 1 << 6, LARGE = 1 << 7, GIBS = 4 };

static struct vmm_segment flat(uint16_t selector, uint8_t type, bool wide)
{
	return (struct vmm_segment){ .limit = UINT32_MAX, .selector = selector, .type = type, .present = 1, .db = !wide, .s = 1,
		.l = wide, .g = 1 };
}

/* A segment as its descriptor in the GDT. */
static uint64_t descriptor(const struct vmm_segment *s)
{
	uint64_t limit = s->g ? s->limit >> 12 : s->limit;
	uint64_t access = s->type | s->s << 4 | s->dpl << 5 | s->present << 7;
	uint64_t flags = s->avl | s->l << 1 | s->db << 2 | s->g << 3;

	return (limit & 0xffff) | (s->base & 0xffffff) << 16 | access << 40 | (limit >> 16 & 15) << 48 | flags << 52 |
		(s->base >> 24 & 0xff) << 56;
}

static bool put_gdt(const struct vmm_x86_start *start, const struct vio_mem *mem)
{
	vio_le64 gdt[GDT_ENTRIES] = {
		[CODE / 8] = vio_le64_of(descriptor(&start->cs)),
		[DATA / 8] = vio_le64_of(descriptor(&start->data)),
		[TSS / 8] = vio_le64_of(descriptor(&start->tr)),
	};

	return vmm_mem_put(mem, VMM_AT_GDT, gdt, sizeof gdt);
}

/* One page of four levels, one of the next, and one for each GiB, in pages of 2 MiB. */
static bool put_page_tables(const struct vio_mem *mem)
{
	vio_le64 table[ENTRIES] = { { 0 } };
	const uint64_t upper = VMM_AT_PAGE_TABLES, middle = upper + PAGE, lower = middle + PAGE;

	table[0] = vio_le64_of(middle | PRESENT | WRITABLE | ACCESSED);
	if (!vmm_mem_put(mem, upper, table, sizeof table))
		return false;
	for (unsigned i = 0; i < GIBS; i++)
		table[i] = vio_le64_of((lower + i * PAGE) | PRESENT | WRITABLE | ACCESSED);
	if (!vmm_mem_put(mem, middle, table, sizeof table))
		return false;
	for (unsigned gib = 0; gib < GIBS; gib++) {
		for (unsigned i = 0; i < ENTRIES; i++)
			table[i] = vio_le64_of(gib * VMM_GIB + (uint64_t)i * (2 << 20) + (PRESENT | WRITABLE | ACCESSED | DIRTY | LARGE));
		if (!vmm_mem_put(mem, lower + gib * PAGE, table, sizeof table))
			return false;
	}
	return true;
}

bool vmm_x86_entry(const struct vmm_entry *entry, const struct vio_mem *mem, struct vmm_x86_start *start, char *why)
{
	bool wide = entry->kind == VMM_ENTRY_LONG64;

	*start = (struct vmm_x86_start){
		.rip = entry->at,
		.rsp = wide ? VMM_AT_STACK : 0,
		.rbx = wide ? 0 : entry->argument,
		.rsi = wide ? entry->argument : 0,
		.rflags = RFLAGS_1,
		.cr0 = CR0_PE | CR0_ET | (wide ? CR0_PG : 0),
		.cr3 = wide ? VMM_AT_PAGE_TABLES : 0,
		.cr4 = wide ? CR4_PAE : 0,
		.efer = wide ? EFER_LME | EFER_LMA : 0,
		.cs = flat(CODE, 11, wide),	/* executable, readable, accessed */
		.data = flat(DATA, 3, false),	/* writable, accessed */
		.tr = { .limit = 0x67, .selector = TSS, .type = 11, .present = 1 },	/* a busy TSS */
		.ldt = { .unusable = 1 },
		.gdt_base = VMM_AT_GDT,
		.gdt_limit = GDT_ENTRIES * 8 - 1,
	};
	if (put_gdt(start, mem) && (!wide || put_page_tables(mem)))
		return true;
	return vio_refuse(why, "The machine has no memory where its first tables go, below 64 KiB; give it more");
}
