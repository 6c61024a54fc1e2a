/*
 * The device tree of the arm64 machine (Devicetree Specification 0.4, and Linux's bindings): processors, memory, interrupt
 * controller, timer, serial port, PCI, virtio-mmio, and what the kernel is told.  A pure function into guest memory.
 *
 *     how.device_tree = VMM_ARM64_AT_DEVICE_TREE, how.device_tree_bytes = VMM_ARM64_DEVICE_TREE_BYTES;
 *     vmm_load_arm64(&how, mem, &entry, why);       says where the initrd went
 *     vmm_fdt_build(&what, mem, how.device_tree, how.device_tree_bytes, why);
 */
#ifndef VMM_ARM64_FDT_H
#define VMM_ARM64_FDT_H
#include <vmm/boot.h>

struct vmm_fdt_mmio { uint64_t base; uint32_t spi; };

struct vmm_fdt {
	unsigned cpus;
	bool its;			/* there is one, so PCI functions may write messages */
	bool serial;
	bool pci;
	uint64_t pci64, pci64_bytes;	/* the 64-bit window; no bytes: none */
	const struct vmm_fdt_mmio *mmio;
	unsigned mmios;
	const char *command_line;
	uint64_t initrd, initrd_bytes;	/* no bytes: none */
};

/* What a processor of the machine is called (MPIDR_EL1), as KVM numbers them: 16 in a cluster. */
static inline uint64_t vmm_arm64_mpidr(unsigned cpu)
{
	return (cpu & 15) | (uint64_t)(cpu >> 4 & 255) << 8 | (uint64_t)(cpu >> 12 & 255) << 16;
}

bool vmm_fdt_build(const struct vmm_fdt *what, const struct vio_mem *mem, uint64_t at, uint64_t bytes, char *why);
#endif
