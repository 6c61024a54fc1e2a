/*
 * State of vCPUs and of what KVM keeps of the machine, as a row of KVM's own structs with a small header each: it travels between
 * machines of one kind of host, and what does not fit is refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <vmm/x86/machine.h>

enum { MSRS = 512, XSAVE_MAX = 16384 };

bool vmm_x86_msrs(struct vmm *m, char *why)
{
	m->arch->msrs = calloc(1, sizeof *m->arch->msrs + MSRS * sizeof(uint32_t));
	if (!m->arch->msrs)
		return vio_refuse(why, "there is no memory for the machine");
	m->arch->msrs->nmsrs = MSRS;
	return vmm_try(m->kvm, KVM_GET_MSR_INDEX_LIST, m->arch->msrs, "list a vCPU's registers", why);
}

/* ---- Pieces ---- */

struct piece { uint32_t kind, bytes; };

/* What there is of a vCPU and of the machine, in the order in which it is to be set. */
struct kind { unsigned long get, set; uint32_t bytes; const char *name; };

static const struct kind of_vcpu[] = {
	{ KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs), "segment and control registers" },
	{ KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs), "registers" },
	{ KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs), "extended control registers" },
	{ KVM_GET_XSAVE, KVM_SET_XSAVE, sizeof(struct kvm_xsave), "vector registers" },
	{ KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, sizeof(struct kvm_debugregs), "debug registers" },
	{ KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state), "interrupt controller" },
	{ 0, 0, 0, "model specific registers" },		/* behind it: a deadline means nothing to a timer that is not in that mode */
	{ KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state), "state of running" },
	{ KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS, sizeof(struct kvm_vcpu_events), "pending events" },
};
static const struct kind of_machine[] = {
	{ KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, sizeof(struct kvm_irqchip), "I/O APIC" },
	{ KVM_GET_CLOCK, KVM_SET_CLOCK, sizeof(struct kvm_clock_data), "clock" },
};
enum { VCPU_KINDS = sizeof of_vcpu / sizeof *of_vcpu, MACHINE_KINDS = sizeof of_machine / sizeof *of_machine, MSR_KIND = 6, MSR_TSC_DEADLINE = 0x6e0 };

union room {
	unsigned char bytes[XSAVE_MAX];
	struct kvm_irqchip irqchip;
	struct kvm_clock_data clock;
	struct kvm_xcrs xcrs;
	struct { uint32_t count, none; struct kvm_msr_entry entry[MSRS]; } msrs;
};

/* ---- Saving ---- */

struct out { unsigned char *to; size_t room, used; };

static void put(struct out *o, uint32_t kind, const void *bytes, uint32_t n)
{
	struct piece p = { kind, n };

	if (o->to && o->room - o->used >= sizeof p + n) {
		memcpy(o->to + o->used, &p, sizeof p);
		memcpy(o->to + o->used + sizeof p, bytes, n);
	}
	o->used += sizeof p + n;
}

/* One at a time, since a register that can't be read ends a row. */
static uint32_t get_msrs(const struct vmm *m, int fd, union room *r)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < m->arch->msrs->nmsrs; i++) {
		struct kvm_msr_entry e = { .index = m->arch->msrs->indices[i] };
		if (vmm_x86_msr(fd, KVM_GET_MSRS, &e))
			r->msrs.entry[n++] = e;
	}
	r->msrs.count = n;
	return (uint32_t)(sizeof(uint64_t) + n * sizeof *r->msrs.entry);
}

static bool get(struct vmm *m, int fd, const struct kind *k, bool msrs, union room *r, uint32_t *n)
{
	memset(r, 0, sizeof *r);
	*n = k->bytes;
	if (msrs) {
		*n = get_msrs(m, fd, r);
		return true;
	}
	if (k->get == KVM_GET_IRQCHIP)
		r->irqchip.chip_id = KVM_IRQCHIP_IOAPIC;
	/* A processor without XSAVE has none of the latter, and KVM does not take none. */
	return vmm_ioctl(fd, k->get, r) >= 0 && (k->get != KVM_GET_XCRS || r->xcrs.nr_xcrs);
}

size_t vmm_arch_save(struct vmm *m, int vcpu, void *to, size_t room)
{
	struct out o = { to, room, 0 };
	const struct kind *k = vcpu < 0 ? of_machine : of_vcpu;
	int fd = vcpu < 0 ? m->vm : m->vcpu[vcpu].fd;
	union room *r = malloc(sizeof *r);
	uint32_t n;

	if (!r)
		return 0;
	for (uint32_t i = 0; i < (vcpu < 0 ? MACHINE_KINDS : VCPU_KINDS); i++)
		if (get(m, fd, &k[i], vcpu >= 0 && i == MSR_KIND, r, &n))	/* what this KVM does not know is left out */
			put(&o, i, r, n);
	free(r);
	return o.used;
}

/* ---- Loading ---- */

/* Some can be read and not written; those that are still as they should be do no harm. */
static bool set_msr(int fd, struct kvm_msr_entry e)
{
	uint64_t wanted = e.data;
	return vmm_x86_msr(fd, KVM_SET_MSRS, &e) || (vmm_x86_msr(fd, KVM_GET_MSRS, &e) && e.data == wanted);
}

/* The timer's deadline is the last: it is a time of the clock that is among them. */
static bool set_msrs(int fd, const union room *r)
{
	bool ok = true;

	for (int last = 0; last < 2; last++)
		for (uint32_t i = 0; i < r->msrs.count; i++)
			if ((r->msrs.entry[i].index == MSR_TSC_DEADLINE) == last)
				ok &= set_msr(fd, r->msrs.entry[i]);
	return ok;
}

static bool set(int fd, const struct kind *k, bool msrs, union room *r, uint32_t n)
{
	if (msrs)
		return r->msrs.count <= MSRS && n == sizeof(uint64_t) + r->msrs.count * sizeof *r->msrs.entry && set_msrs(fd, r);
	if (k->set == KVM_SET_CLOCK)
		r->clock.flags = 0;	/* where it stood, whatever the time is */
	if (k->set == KVM_SET_IRQCHIP)
		r->irqchip.chip_id = KVM_IRQCHIP_IOAPIC;
	return n == k->bytes && vmm_ioctl(fd, k->set, r) >= 0;
}

static const char *load_piece(int fd, bool vcpu, const struct piece *p, union room *r)
{
	static _Thread_local char why[128];
	uint32_t kinds = vcpu ? VCPU_KINDS : MACHINE_KINDS;
	const struct kind *k = (vcpu ? of_vcpu : of_machine) + p->kind;

	if (p->kind >= kinds)
		return "the state has something of a vCPU that this version does not know";
	if (set(fd, k, vcpu && p->kind == MSR_KIND, r, p->bytes))
		return NULL;
	snprintf(why, sizeof why, "this host's KVM does not take the %s of the state", k->name);
	return why;
}

const char *vmm_arch_load(struct vmm *m, int vcpu, const void *from, size_t n)
{
	const unsigned char *at = from, *end = at + n;
	int fd = vcpu < 0 ? m->vm : m->vcpu[vcpu].fd;
	union room *r = malloc(sizeof *r);
	const char *why = r ? NULL : "there is no memory for the state";

	while (!why && at < end) {
		struct piece p;
		if ((size_t)(end - at) < sizeof p) {
			why = "the state of a vCPU is cut short";
			break;
		}
		memcpy(&p, at, sizeof p);
		at += sizeof p;
		if (p.bytes > sizeof *r || p.bytes > (size_t)(end - at)) {
			why = "the state of a vCPU is cut short";
			break;
		}
		memset(r, 0, sizeof *r);
		memcpy(r, at, p.bytes);
		at += p.bytes;
		why = load_piece(fd, vcpu >= 0, &p, r);
	}
	free(r);
	return why;
}
