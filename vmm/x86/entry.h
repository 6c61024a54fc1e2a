/*
 * The state in which an x86-64 machine's first processor meets a kernel's first instruction: what of it lies in memory (GDT, page
 * tables) is written there, and the registers are told in plain types, for the vCPU code to copy.  All registers not named are 0.
 *
 *     vmm_load_x86(...); vmm_x86_entry(&entry, mem, &start, why);
 *
 * LONG64: long mode, the first 4 GiB mapped to themselves, cs 0x10 and ds 0x18 as Linux's boot protocol has them.
 * PVH32: 32-bit protected mode without paging.
 */
#ifndef VMM_X86_ENTRY_H
#define VMM_X86_ENTRY_H
#include <vmm/boot.h>

/* The fields of struct kvm_segment, under the same names. */
struct vmm_segment {
	uint64_t base;
	uint32_t limit;			/* in bytes, granularity applied */
	uint16_t selector;
	uint8_t type, present, dpl, db, s, l, g, avl, unusable;
};

struct vmm_x86_start {
	uint64_t rip, rsp, rbx, rsi, rflags;
	uint64_t cr0, cr3, cr4, efer;
	struct vmm_segment cs, data;	/* data: ds, es, fs, gs and ss */
	struct vmm_segment tr, ldt;
	uint64_t gdt_base, idt_base;
	uint16_t gdt_limit, idt_limit;
};

/* False: no memory where layout.h puts the tables. */
bool vmm_x86_entry(const struct vmm_entry *entry, const struct vio_mem *mem, struct vmm_x86_start *start, char *why);
#endif
