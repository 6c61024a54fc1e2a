/* The insides of the arm64 machine, between its files: not for users. */
#ifndef VMM_ARM64_MACHINE_H
#define VMM_ARM64_MACHINE_H
#include <vmm/arch.h>
#include <vmm/arm64/layout.h>
#include <vmm/kvm.h>

enum { VMM_ARM64_SPIS = VMM_LINES };	/* shared interrupts; a multiple of 32 */

struct vmm_arch {
	struct vmm_map map;
	int gic, its;			/* descriptors of KVM's; its -1: no PCI, no messages */
	struct kvm_vcpu_init target;	/* the processor that this host has */
	uint8_t *first;			/* the interrupt controller as it was made: what a reset goes back to */
	size_t first_bytes;
};

/* cpu.c */
bool vmm_arm64_target(struct vmm *m, char *why);
/* As after power on: also what a reset does. */
bool vmm_arm64_cpu_init(struct vmm_vcpu *v, char *why);
bool vmm_arm64_enter(struct vmm_vcpu *v, const struct vmm_entry *entry, char *why);
#endif
