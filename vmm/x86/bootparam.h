/*
 * Linux's x86 boot protocol (Documentation/arch/x86/boot.rst), what of it a loader for the 64-bit entry touches: the setup header,
 * which the kernel file has at 0x1f1, and the zero page, where the same header lies at the same place.
 */
#ifndef VMM_X86_BOOTPARAM_H
#define VMM_X86_BOOTPARAM_H
#include <vio/spec/types.h>

enum {
	VMM_SETUP_AT = 0x1f1,		/* of the header, in the file and in the zero page */
	VMM_SETUP_END = 0x290,		/* where the zero page goes on with something else */
	VMM_SETUP_JUMP = 0x200,		/* a short jump over the header: 0x202 + its second byte is where the header ends */
	VMM_SETUP_MAGIC_AT = 0x202,
	VMM_SETUP_MAGIC = 0x53726448,	/* "HdrS" */
	VMM_SETUP_FLAG = 0xaa55,
	VMM_BZIMAGE_ENTRY = 0x200,	/* of the part that runs in protected mode */
	VMM_BOOT_2_12 = 0x20c,
	VMM_BOOT_LATEST = 0x20f,
	VMM_LOADED_HIGH = 1,		/* loadflags */
	VMM_XLF_KERNEL_64 = 1,		/* xloadflags */
	VMM_LOADER_UNNAMED = 0xff,
	VMM_ZERO_PAGE = 4096,
};

struct vmm_setup {			/* from 0x1f1; packed as it is on disk */
	uint8_t setup_sects;
	vio_le16 root_flags;
	vio_le32 syssize;		/* of the protected-mode part, in 16 bytes */
	vio_le16 ram_size, vid_mode, root_dev, boot_flag, jump;
	vio_le32 header;
	vio_le16 version;
	vio_le32 realmode_swtch;
	vio_le16 start_sys_seg, kernel_version;
	uint8_t type_of_loader, loadflags;
	vio_le16 setup_move_size;
	vio_le32 code32_start, ramdisk_image, ramdisk_size, bootsect_kludge;
	vio_le16 heap_end_ptr;
	uint8_t ext_loader_ver, ext_loader_type;
	vio_le32 cmd_line_ptr, initrd_addr_max, kernel_alignment;
	uint8_t relocatable_kernel, min_alignment;
	vio_le16 xloadflags;
	vio_le32 cmdline_size, hardware_subarch;
	vio_le64 hardware_subarch_data;
	vio_le32 payload_offset, payload_length;
	vio_le64 setup_data, pref_address;
	vio_le32 init_size, handover_offset, kernel_info_offset;
} __attribute__((packed));
VIO_STATIC_ASSERT(offsetof(struct vmm_setup, header) == 0x202 - 0x1f1, "setup header");
VIO_STATIC_ASSERT(offsetof(struct vmm_setup, cmd_line_ptr) == 0x228 - 0x1f1, "setup header");
VIO_STATIC_ASSERT(offsetof(struct vmm_setup, xloadflags) == 0x236 - 0x1f1, "setup header");
VIO_STATIC_ASSERT(offsetof(struct vmm_setup, pref_address) == 0x258 - 0x1f1, "setup header");
VIO_STATIC_ASSERT(offsetof(struct vmm_setup, init_size) == 0x260 - 0x1f1, "setup header");
VIO_STATIC_ASSERT(sizeof(struct vmm_setup) == 0x26c - 0x1f1, "setup header");

struct vmm_zero_e820 { vio_le64 at, bytes; vio_le32 type; } __attribute__((packed));

struct vmm_zero_page {
	uint8_t screen_and_more[0x70];
	vio_le64 acpi_rsdp_addr;	/* since 2.14; older kernels look for the RSDP below 1 MiB, and find it there */
	uint8_t pad1[0x1e8 - 0x78];
	uint8_t e820_entries;
	uint8_t pad2[0x1f1 - 0x1e9];	/* holds the sentinel, which stays 0: all other fields are meant */
	struct vmm_setup hdr;
	uint8_t pad3[0x2d0 - 0x1f1 - sizeof(struct vmm_setup)];
	struct vmm_zero_e820 e820[128];
	uint8_t pad4[VMM_ZERO_PAGE - 0x2d0 - 128 * 20];
} __attribute__((packed));
VIO_STATIC_ASSERT(sizeof(struct vmm_zero_page) == VMM_ZERO_PAGE, "zero page");
VIO_STATIC_ASSERT(offsetof(struct vmm_zero_page, e820) == 0x2d0, "zero page");
VIO_STATIC_ASSERT(offsetof(struct vmm_zero_page, hdr) == VMM_SETUP_AT, "zero page");
#endif
