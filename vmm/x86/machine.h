/* The insides of the x86-64 machine, between its files. */
#ifndef VMM_X86_MACHINE_H
#define VMM_X86_MACHINE_H
#include <vmm/arch.h>
#include <vmm/kvm.h>
#include <vmm/x86/layout.h>

struct vmm_arch {
	struct vmm_map map;
	struct vmm_range sleep, reset;
	struct kvm_cpuid2 *cpuid;	/* what this host can, before each vCPU's own */
	struct kvm_msr_list *msrs;	/* that make up a vCPU's state */
	unsigned physical_bits;
	struct { uint8_t *bytes; size_t n; } *first;	/* each vCPU, and after them the machine, as they were made: what a reset goes back to */
};

/* One model specific register; what is KVM_GET_MSRS or KVM_SET_MSRS.  False: there is no such register. */
static inline bool vmm_x86_msr(int fd, unsigned long what, struct kvm_msr_entry *e)
{
	_Alignas(struct kvm_msrs) unsigned char room[sizeof(struct kvm_msrs) + sizeof *e];
	struct kvm_msrs *one = (struct kvm_msrs *)(void *)room;

	memset(room, 0, sizeof room);
	one->nmsrs = 1;
	memcpy(room + sizeof *one, e, sizeof *e);
	bool ok = vmm_ioctl(fd, what, one) == 1;
	memcpy(e, room + sizeof *one, sizeof *e);
	return ok;
}

/* cpu.c */
bool vmm_x86_cpuid(struct vmm *m, char *why);		/* a->cpuid, a->physical_bits */
bool vmm_x86_cpu_open(struct vmm_vcpu *v, char *why);
/* Where a kernel is entered, with what memory and registers it expects; the vCPU is as it was made. */
bool vmm_x86_enter(struct vmm_vcpu *v, const struct vmm_entry *entry, char *why);
/* state.c */
bool vmm_x86_msrs(struct vmm *m, char *why);		/* a->msrs */
#endif
