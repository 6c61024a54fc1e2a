/*
 * ACPI tables of the machine (ACPI 6.4): RSDP, XSDT, FADT (hardware-reduced), MADT, MCFG, DSDT.  A pure function into guest memory.
 */
#ifndef VMM_X86_ACPI_H
#define VMM_X86_ACPI_H
#include <vmm/boot.h>

struct vmm_acpi_mmio { uint64_t base; uint32_t gsi; };

struct vmm_acpi {
	unsigned cpus;
	bool pci;			/* a host bridge, its windows, interrupt routing, hot plug */
	uint64_t pci64, pci64_bytes;	/* the 64-bit window */
	const struct vmm_acpi_mmio *mmio;
	unsigned mmios;
	bool serial;
};

/* At VMM_AT_ACPI.  False: it does not fit. */
bool vmm_acpi_build(const struct vmm_acpi *what, const struct vio_mem *mem, uint64_t *rsdp, char *why);
#endif
