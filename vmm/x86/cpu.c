/* vCPUs of x86-64: the processor they are told to be, and what firmware would have set. */
#include <cpuid.h>
#include <stdlib.h>
#include <vmm/x86/entry.h>
#include <vmm/x86/machine.h>

enum { ENTRIES = 256 };
enum { HYPERVISOR = UINT32_C(1) << 31, DEADLINE_TIMER = 1 << 24, MSR_MISC_ENABLE = 0x1a0, MSR_MTRR_DEFAULT = 0x2ff };

bool vmm_x86_cpuid(struct vmm *m, char *why)
{
	struct vmm_arch *a = m->arch;
	size_t bytes = sizeof *a->cpuid + ENTRIES * sizeof *a->cpuid->entries;

	a->cpuid = calloc(1, bytes);
	if (!a->cpuid)
		return vio_refuse(why, "there is no memory for the machine");
	a->cpuid->nent = ENTRIES;
	if (!vmm_try(m->kvm, KVM_GET_SUPPORTED_CPUID, a->cpuid, "tell what the processor can", why))
		return false;
	a->physical_bits = 36;
	for (unsigned i = 0; i < a->cpuid->nent; i++)
		if (a->cpuid->entries[i].function == 0x80000008)
			a->physical_bits = a->cpuid->entries[i].eax & 0xff;
	return true;
}

/* Log2 of so many, rounded up. */
static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;
	while ((1u << bits) < n)
		bits++;
	return bits;
}

/* One package, so many cores, one thread each. */
static void set_entry(const struct vmm_vcpu *v, struct kvm_cpuid_entry2 *e, bool deadline)
{
	unsigned cpus = v->m->o.cpus, bits = bits_for(cpus);

	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0xffff) | (1u << bits) << 16 | v->index << 24;
		e->ecx |= HYPERVISOR | (deadline ? DEADLINE_TIMER : 0);
		e->edx = cpus > 1 ? e->edx | 1 << 28 : e->edx & ~(1u << 28);
		break;
	case 4:
		if (e->eax & 31)
			e->eax = (e->eax & 0x3fff) | ((1u << bits) - 1) << 26 | (e->index == 3 ? ((1u << bits) - 1) << 14 : 0);
		break;
	case 0xb: case 0x1f:
		e->edx = v->index;
		e->ecx = e->index | (e->index == 0 ? 1 : e->index == 1 ? 2 : 0) << 8;
		e->eax = e->index == 1 ? bits : 0;
		e->ebx = e->index == 0 ? 1 : e->index == 1 ? cpus : 0;
		break;
	case 0x80000008:
		e->ecx = bits << 12 | (cpus - 1);
		break;
	case 0x8000001e:
		e->eax = e->ebx = v->index;
		e->ecx = 0;
		break;
	default:
		break;
	}
}

static bool set_cpuid(struct vmm_vcpu *v, char *why)
{
	const struct kvm_cpuid2 *all = v->m->arch->cpuid;
	size_t bytes = sizeof *all + all->nent * sizeof *all->entries;
	struct kvm_cpuid2 *own = malloc(bytes);
	bool deadline = vmm_ioctl(v->m->vm, KVM_CHECK_EXTENSION, (const void *)(uintptr_t)KVM_CAP_TSC_DEADLINE_TIMER) > 0;

	if (!own)
		return vio_refuse(why, "there is no memory for the machine");
	memcpy(own, all, bytes);
	for (unsigned i = 0; i < own->nent; i++)
		set_entry(v, &own->entries[i], deadline);
	bool ok = vmm_try(v->fd, KVM_SET_CPUID2, own, "make such a processor", why);
	free(own);
	return ok;
}

/* Fast strings; memory is cached unless page tables say otherwise. */
static bool set_msrs(struct vmm_vcpu *v, char *why)
{
	struct kvm_msr_entry strings = { .index = MSR_MISC_ENABLE, .data = 1 }, caching = { .index = MSR_MTRR_DEFAULT, .data = 1 << 11 | 6 };

	if (vmm_x86_msr(v->fd, KVM_SET_MSRS, &strings) && vmm_x86_msr(v->fd, KVM_SET_MSRS, &caching))
		return true;
	return vio_refuse(why, "KVM cannot set a vCPU's registers: %s; a newer host kernel may help", strerror(errno));
}

bool vmm_x86_cpu_open(struct vmm_vcpu *v, char *why) { return set_cpuid(v, why) && set_msrs(v, why); }

/* ---- The first instruction ---- */

static struct kvm_segment segment_of(const struct vmm_segment *s)
{
	return (struct kvm_segment){ .base = s->base, .limit = s->limit, .selector = s->selector, .type = s->type, .present = s->present,
		.dpl = s->dpl, .db = s->db, .s = s->s, .l = s->l, .g = s->g, .avl = s->avl, .unusable = s->unusable };
}

bool vmm_x86_enter(struct vmm_vcpu *v, const struct vmm_entry *entry, char *why)
{
	struct vmm_x86_start s;
	struct kvm_sregs sregs;

	if (!vmm_x86_entry(entry, v->m->memory.mem, &s, why) ||
	    !vmm_try(v->fd, KVM_GET_SREGS, &sregs, "tell a vCPU's registers", why))
		return false;
	sregs.cs = segment_of(&s.cs);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = segment_of(&s.data);
	sregs.tr = segment_of(&s.tr);
	sregs.ldt = segment_of(&s.ldt);
	sregs.gdt = (struct kvm_dtable){ .base = s.gdt_base, .limit = s.gdt_limit };
	sregs.idt = (struct kvm_dtable){ .base = s.idt_base, .limit = s.idt_limit };
	sregs.cr0 = s.cr0;
	sregs.cr3 = s.cr3;
	sregs.cr4 = s.cr4;
	sregs.efer = s.efer;
	struct kvm_regs regs = { .rip = s.rip, .rsp = s.rsp, .rbx = s.rbx, .rsi = s.rsi, .rflags = s.rflags };
	return vmm_try(v->fd, KVM_SET_SREGS, &sregs, "set a vCPU's registers", why) &&
	    vmm_try(v->fd, KVM_SET_REGS, &regs, "set a vCPU's registers", why);
}
