/* vCPUs of arm64: the host's processor, others than the first switched off until the guest switches them on (PSCI). */
#include <stddef.h>
#include <vmm/arm64/machine.h>

#define CORE(field) (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(regs.field))

bool vmm_arm64_target(struct vmm *m, char *why)
{
	return vmm_try(m->vm, KVM_ARM_PREFERRED_TARGET, &m->arch->target, "tell what the processor is", why);
}

bool vmm_arm64_cpu_init(struct vmm_vcpu *v, char *why)
{
	struct kvm_vcpu_init init = v->m->arch->target;

	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	if (v->index)
		init.features[0] |= 1u << KVM_ARM_VCPU_POWER_OFF;
	return vmm_try(v->fd, KVM_ARM_VCPU_INIT, &init, "make such a processor", why);
}

bool vmm_arch_vcpu(struct vmm_vcpu *v, char *why) { return vmm_arm64_cpu_init(v, why); }

static bool set(struct vmm_vcpu *v, uint64_t id, uint64_t value, char *why)
{
	struct kvm_one_reg one = { .id = id, .addr = (uint64_t)(uintptr_t)&value };
	return vmm_try(v->fd, KVM_SET_ONE_REG, &one, "set a vCPU's registers", why);
}

/* Everything else is as the boot protocol wants it after vmm_arm64_cpu_init(): EL1, interrupts masked, MMU and caches off. */
bool vmm_arm64_enter(struct vmm_vcpu *v, const struct vmm_entry *entry, char *why)
{
	return set(v, CORE(regs[0]), entry->argument, why) && set(v, CORE(pc), entry->at, why);
}
