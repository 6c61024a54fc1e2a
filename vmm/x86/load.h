/* What both kinds of x86 kernel files need: who has which low memory, and the map of memory that the kernel is told. */
#ifndef VMM_X86_LOAD_H
#define VMM_X86_LOAD_H
#include <vmm/place.h>

enum { VMM_E820_MAX = 128 };		/* as many as the zero page holds */
enum { VMM_E820_MEMORY = 1, VMM_E820_RESERVED = 2 };

struct vmm_e820 { uint64_t at, bytes; uint32_t type; };

/* The map, sorted; 0: more pieces than it holds. */
unsigned vmm_e820(const struct vio_mem *mem, struct vmm_e820 map[VMM_E820_MAX]);

/* Low memory is claimed, and the command line (at most max bytes before its zero) is in it. */
bool vmm_x86_begin(const struct vmm_load *how, struct vmm_place *p, uint64_t max, char *why);

/* The first addresses that are not low memory any more. */
uint64_t vmm_x86_low_end(const struct vio_mem *mem);

/*
 * The zero page, for an entry with its address in rsi.  header: what the file has from 0x1f1 on, or NULL: the fields that a
 * loader writes are filled in all the same.
 */
bool vmm_x86_zero_page(const struct vmm_load *how, const struct vio_mem *mem, const void *header, size_t bytes, uint64_t kernel,
	const struct vmm_entry *entry, char *why);

bool vmm_load_bzimage(const struct vmm_load *how, struct vmm_file *f, const struct vio_mem *mem, struct vmm_entry *entry,
	char *why);
bool vmm_load_elf(const struct vmm_load *how, struct vmm_file *f, const struct vio_mem *mem, struct vmm_entry *entry, char *why);
#endif
