/*
 * A kernel file in guest memory, ready to be entered: pure functions of files and memory, no KVM.
 *
 *     vmm_load(&how, mem, &entry, why);
 *
 * Files are not trusted: each number in them is checked against the file and against guest memory before it is used.
 */
#ifndef VMM_BOOT_H
#define VMM_BOOT_H
#include <vio/ring/mem.h>

enum { VMM_WHY = 512 };		/* bytes of a sentence, like VIO_OPT_WHY */

struct vmm_load {
	int kernel;			/* open for reading, seekable */
	const char *kernel_name;	/* in sentences */
	int initrd;			/* -1: none */
	const char *initrd_name;
	const char *command_line;
	uint64_t rsdp;			/* of the ACPI tables; 0: none */
	uint64_t device_tree;		/* arm64: where it will lie, and its bytes at most, so that nothing else does */
	uint64_t device_tree_bytes;
};

struct vmm_entry {
	enum { VMM_ENTRY_LONG64, VMM_ENTRY_PVH32, VMM_ENTRY_ARM64 } kind;
	uint64_t at;			/* the first instruction */
	uint64_t argument;		/* LONG64: rsi, the zero page; PVH32: ebx, start_info; ARM64: x0, the device tree */
	uint64_t initrd, initrd_bytes;	/* where it went; for the device tree */
};

/*
 * x86-64 (x86/bzimage.c, x86/pvh.c): a bzImage is entered at its 64-bit entry, an ELF file with a PVH note (or a plain static
 * ELF64 without one: entered at e_entry like a bzImage, with a zero page too) where it says.  arm64 (arm64/image.c): the Image
 * format.  Which of them a file is, its first bytes say.  vmm_load() is the one for the machine that this is compiled for; all are
 * built everywhere.
 * False: why has a sentence that names the file and the remedy; memory may have been written.
 */
bool vmm_load(const struct vmm_load *how, const struct vio_mem *mem, struct vmm_entry *entry, char *why);
bool vmm_load_x86(const struct vmm_load *how, const struct vio_mem *mem, struct vmm_entry *entry, char *why);
bool vmm_load_arm64(const struct vmm_load *how, const struct vio_mem *mem, struct vmm_entry *entry, char *why);
#endif
