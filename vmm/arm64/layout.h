/*
 * The address space of the arm64 machine.  docs/machine-boot.md has what is where when it begins.
 *
 *   0x08000000  interrupt controller (GICv3): distributor, ITS, then a redistributor a processor
 *   0x09000000  serial port (16550)
 *   0x0a000000  virtio-mmio: a page a device
 *   0x10000000  PCI: 32-bit window for BARs
 *   0x3f000000  PCI configuration space (ECAM) of bus 0
 *   1 GiB       memory, then the 64-bit window for BARs
 */
#ifndef VMM_ARM64_LAYOUT_H
#define VMM_ARM64_LAYOUT_H
#include <stdint.h>

#define VMM_ARM64_GIB (UINT64_C(1) << 30)
#define VMM_ARM64_CPUS_MAX 64

/* Physical addresses. */
#define VMM_ARM64_DISTRIBUTOR UINT64_C(0x08000000)
#define VMM_ARM64_DISTRIBUTOR_BYTES UINT64_C(0x10000)
#define VMM_ARM64_ITS UINT64_C(0x08080000)
#define VMM_ARM64_ITS_BYTES UINT64_C(0x20000)
#define VMM_ARM64_REDISTRIBUTORS UINT64_C(0x080a0000)
#define VMM_ARM64_REDISTRIBUTOR_BYTES UINT64_C(0x20000)	/* of one processor */
#define VMM_ARM64_SERIAL UINT64_C(0x09000000)
#define VMM_ARM64_SERIAL_BYTES UINT64_C(0x1000)
#define VMM_ARM64_MMIO UINT64_C(0x0a000000)		/* slot i at + i * VMM_ARM64_MMIO_STRIDE */
#define VMM_ARM64_MMIO_STRIDE UINT64_C(0x1000)
#define VMM_ARM64_MMIO_SLOTS 16
#define VMM_ARM64_PCI32 UINT64_C(0x10000000)
#define VMM_ARM64_PCI32_BYTES UINT64_C(0x20000000)
#define VMM_ARM64_ECAM UINT64_C(0x3f000000)
#define VMM_ARM64_ECAM_BYTES UINT64_C(0x100000)		/* bus 0 */
#define VMM_ARM64_MEMORY VMM_ARM64_GIB
#define VMM_ARM64_PCI64_BYTES (16 * VMM_ARM64_GIB)	/* its start: after memory, in whole GiB */

/* In memory, before the first instruction: the device tree, and the kernel from the next 2 MiB on. */
#define VMM_ARM64_AT_DEVICE_TREE VMM_ARM64_MEMORY
#define VMM_ARM64_DEVICE_TREE_BYTES UINT64_C(0x10000)	/* at most; Linux takes up to 2 MiB */
#define VMM_ARM64_AT_KERNEL (VMM_ARM64_MEMORY + UINT64_C(0x200000))	/* + the kernel's text_offset */
#define VMM_ARM64_COMMAND_LINE_MAX 2048			/* with its zero, as Linux has it */

/* Interrupts: SPIs, as the device tree numbers them (the GIC's own number is 32 more).  All are level, high. */
#define VMM_ARM64_SPI_SERIAL 0
#define VMM_ARM64_SPI_INTX 4				/* 4 of them: device d, pin p: + (d + p - 1) % 4 */
#define VMM_ARM64_SPI_MMIO 16				/* slot i: + i */
/* Of each processor (PPIs): its timers. */
#define VMM_ARM64_PPI_TIMER_SECURE 13
#define VMM_ARM64_PPI_TIMER 14
#define VMM_ARM64_PPI_TIMER_VIRTUAL 11
#define VMM_ARM64_PPI_TIMER_HYPERVISOR 10
#endif
