/* Xen's boot ABI for virtual machines (PVH, xen/include/public/arch-x86/hvm/start_info.h): what ebx points at. */
#ifndef VMM_X86_PVH_H
#define VMM_X86_PVH_H
#include <vio/spec/types.h>

enum { VMM_PVH_MAGIC = 0x336ec578 };	/* "xEn3", the highest bit of the E set */
enum { VMM_ELF_SEGMENTS = 128 };	/* program headers of a file at most */

struct vmm_pvh_info {
	vio_le32 magic, version, flags, nr_modules;
	vio_le64 modlist_paddr, cmdline_paddr, rsdp_paddr, memmap_paddr;
	vio_le32 memmap_entries, reserved;
};
struct vmm_pvh_module { vio_le64 paddr, size, cmdline_paddr, reserved; };
struct vmm_pvh_memmap { vio_le64 at, bytes; vio_le32 type, reserved; };	/* types of e820 */
VIO_STATIC_ASSERT(sizeof(struct vmm_pvh_info) == 56 && sizeof(struct vmm_pvh_module) == 32 && sizeof(struct vmm_pvh_memmap) == 24,
	"PVH structures");

/* As they lie at VMM_AT_START_INFO. */
struct vmm_pvh_page {
	struct vmm_pvh_info info;
	struct vmm_pvh_module module;
	struct vmm_pvh_memmap memmap[128];
};
VIO_STATIC_ASSERT(sizeof(struct vmm_pvh_page) <= 4096, "a page has room for them");
#endif
