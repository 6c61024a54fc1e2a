/*
 * The address space of the x86-64 machine.  docs/machine.md has the picture.
 *
 *   0           memory, up to 3 GiB of it
 *   0xc0000000  PCI: 32-bit window for BARs
 *   0xd0000000  virtio-mmio: a page a device
 *   0xe0000000  PCI configuration space (ECAM) of bus 0
 *   0xfec00000  I/O APIC;  0xfee00000  local APICs, where messages are written to;  0xfffbc000  KVM's own pages
 *   4 GiB       the rest of memory, then the 64-bit window for BARs
 */
#ifndef VMM_X86_LAYOUT_H
#define VMM_X86_LAYOUT_H
#include <stdint.h>

#define VMM_GIB (UINT64_C(1) << 30)

/* Physical addresses. */
#define VMM_LOW_MEMORY_MAX (3 * VMM_GIB)
#define VMM_HIGH_MEMORY (4 * VMM_GIB)
#define VMM_PCI32 UINT64_C(0xc0000000)
#define VMM_PCI32_BYTES UINT64_C(0x10000000)
#define VMM_MMIO UINT64_C(0xd0000000)		/* slot i at + i * VMM_MMIO_STRIDE */
#define VMM_MMIO_STRIDE UINT64_C(0x1000)
#define VMM_ECAM UINT64_C(0xe0000000)
#define VMM_ECAM_BYTES UINT64_C(0x100000)	/* bus 0 */
#define VMM_IOAPIC UINT64_C(0xfec00000)
#define VMM_LAPIC UINT64_C(0xfee00000)
#define VMM_KVM_IDENTITY UINT64_C(0xfffbc000)
#define VMM_KVM_TSS UINT64_C(0xfffbd000)
#define VMM_PCI64_BYTES (16 * VMM_GIB)		/* its start: after memory, in whole GiB, at least VMM_HIGH_MEMORY */

/* What is put into low memory before the first instruction; all of it lies below 1 MiB, and the kernel at 1 MiB. */
#define VMM_AT_GDT UINT64_C(0x500)
#define VMM_AT_START_INFO UINT64_C(0x6000)	/* PVH */
#define VMM_AT_ZERO_PAGE UINT64_C(0x7000)	/* bzImage: struct boot_params */
#define VMM_AT_STACK UINT64_C(0x8ff0)
#define VMM_AT_PAGE_TABLES UINT64_C(0x9000)	/* identity, the first 4 GiB: 6 pages */
#define VMM_AT_COMMAND_LINE UINT64_C(0x20000)
#define VMM_COMMAND_LINE_MAX 2048		/* with its zero */
#define VMM_AT_ACPI UINT64_C(0xe0000)		/* the RSDP first, where it is looked for too; up to 1 MiB */
#define VMM_AT_ACPI_END UINT64_C(0xfff00)
#define VMM_AT_RESTART UINT64_C(0xffff0)	/* where a PC begins: code of ours that resets the machine */
#define VMM_AT_KERNEL UINT64_C(0x100000)
/* e820: [0, VMM_AT_LOW_END) and [1 MiB, ...) are memory; what lies between is reserved. */
#define VMM_AT_LOW_END UINT64_C(0x9fc00)

/* I/O ports. */
#define VMM_PORT_SERIAL 0x3f8
#define VMM_PORT_SLEEP 0x600			/* ACPI SLEEP_CONTROL_REG; + 1: SLEEP_STATUS_REG */
#define VMM_PORT_RESET 0x604			/* ACPI RESET_REG: VMM_RESET_VALUE written resets */
#define VMM_RESET_VALUE 0x42
#define VMM_SLEEP_OFF 5				/* SLP_TYP of \_S5 */
/*
 * Hot plug of PCI functions, 32 bits each, bit = device number on bus 0: which have come, and which are asked to go, since this
 * was read last (reading clears); a bit written to eject says that the guest has let go of the function.
 */
#define VMM_PORT_PLUG_UP 0x620
#define VMM_PORT_PLUG_DOWN 0x624
#define VMM_PORT_PLUG_EJECT 0x628
#define VMM_PORT_PCI_ADDRESS 0xcf8
#define VMM_PORT_PCI_DATA 0xcfc

/* Interrupts: inputs of the I/O APIC, 0 to 23. */
#define VMM_GSI_SERIAL 4			/* edge */
#define VMM_GSI_INTX 16				/* 4 of them, level, active low in name only: device d, pin p: + (d + p - 1) % 4 */
#define VMM_GSI_EVENT 20			/* the generic event device (ACPI0013): hot plug; edge */
#define VMM_GSI_POWER 21			/* the same device: the power button; edge */
/* virtio-mmio slot i: one of these, level. */
#define VMM_GSI_MMIO(i) ((const uint8_t[]){ 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 22, 23 }[i])
#define VMM_MMIO_SLOTS 16
#define VMM_MSI_GSI 32				/* from here on: routes of MSI messages */
#define VMM_PCI_SLOTS 32			/* device 0 is the host bridge */
#define VMM_CPUS_MAX 64
#endif
