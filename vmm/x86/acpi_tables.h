/* ACPI 6.4, chapter 5: the tables that this machine has, as they lie in memory. */
#ifndef VMM_X86_ACPI_TABLES_H
#define VMM_X86_ACPI_TABLES_H
#include <vio/spec/types.h>

struct vmm_acpi_rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	vio_le32 rsdt, length;
	vio_le64 xsdt;
	uint8_t checksum_all, reserved[3];
} __attribute__((packed));
VIO_STATIC_ASSERT(sizeof(struct vmm_acpi_rsdp) == 36 && offsetof(struct vmm_acpi_rsdp, length) == 20, "5.2.5.3");

struct vmm_acpi_header {
	char signature[4];
	vio_le32 length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	vio_le32 oem_revision;
	char creator[4];
	vio_le32 creator_revision;
} __attribute__((packed));
VIO_STATIC_ASSERT(sizeof(struct vmm_acpi_header) == 36, "5.2.6");

struct vmm_acpi_address { uint8_t space, bits, offset, access; vio_le64 at; } __attribute__((packed));
VIO_STATIC_ASSERT(sizeof(struct vmm_acpi_address) == 12, "5.2.3.2");

enum {
	VMM_FADT_NO_VGA = 1 << 2,	/* boot_arch; without bits 0 and 1: no legacy devices, no 8042 */
	VMM_FADT_NO_ASPM = 1 << 4,
	VMM_FADT_NO_RTC = 1 << 5,
	VMM_FADT_WBINVD = 1 << 0,	/* flags */
	VMM_FADT_BUTTON_IS_DEVICE = 1 << 4,
	VMM_FADT_NO_SLEEP_BUTTON = 1 << 5,
	VMM_FADT_RESET = 1 << 10,
	VMM_FADT_HW_REDUCED = 1 << 20,
};

struct vmm_acpi_fadt {
	struct vmm_acpi_header header;
	vio_le32 facs, dsdt;
	uint8_t fixed_hardware[109 - 44];	/* of PCs; not in hardware-reduced machines */
	vio_le16 boot_arch;
	uint8_t reserved;
	vio_le32 flags;
	struct vmm_acpi_address reset;
	uint8_t reset_value;
	vio_le16 arm_boot_arch;
	uint8_t minor;
	vio_le64 x_facs, x_dsdt;
	uint8_t more_fixed_hardware[244 - 148];
	struct vmm_acpi_address sleep_control, sleep_status;
	vio_le64 hypervisor;
} __attribute__((packed));
VIO_STATIC_ASSERT(sizeof(struct vmm_acpi_fadt) == 276 && offsetof(struct vmm_acpi_fadt, boot_arch) == 109, "5.2.9");
VIO_STATIC_ASSERT(offsetof(struct vmm_acpi_fadt, reset) == 116 && offsetof(struct vmm_acpi_fadt, x_dsdt) == 140, "5.2.9");

struct vmm_acpi_lapic { uint8_t type, length, uid, id; vio_le32 flags; };
struct vmm_acpi_ioapic { uint8_t type, length, id, reserved; vio_le32 at, first_gsi; };
VIO_STATIC_ASSERT(sizeof(struct vmm_acpi_lapic) == 8 && sizeof(struct vmm_acpi_ioapic) == 12, "5.2.12");
#endif
