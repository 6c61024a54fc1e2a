/*
 * State of vCPUs and of the interrupt controllers: a row of registers, each with what KVM calls it, in the order in which they are
 * to be set again.  Where that takes a step of its own (what is not pending must be cleared, a table read back) the row has it.
 *
 * ITS and GIC keep tables in guest memory, which are written there before memory is saved (vmm_arch_settle()).
 */
#include <stdlib.h>
#include <vmm/arm64/fdt.h>
#include <vmm/arm64/machine.h>

/* Of a vCPU: a register, how it runs, pending exceptions.  Of the machine: an attribute of the GIC, of the ITS. */
enum kind { REGISTER, RUNNING, EVENTS, GIC, ITS };
struct piece {
	uint32_t kind, bytes;
	uint32_t group, pad;
	uint64_t name;
};
enum { VALUE_MAX = 256, REGISTERS = 1024 };

/* ---- Attributes ---- */

static struct kvm_device_attr attribute(uint32_t group, uint64_t attr, const void *value)
{
	return (struct kvm_device_attr){ .group = group, .attr = attr, .addr = (uint64_t)(uintptr_t)value };
}

static bool get(int device, uint32_t group, uint64_t attr, void *value)
{
	struct kvm_device_attr a = attribute(group, attr, value);
	return vmm_ioctl(device, KVM_GET_DEVICE_ATTR, &a) >= 0;
}

static bool set(int device, uint32_t group, uint64_t attr, const void *value)
{
	struct kvm_device_attr a = attribute(group, attr, value);
	return vmm_ioctl(device, KVM_SET_DEVICE_ATTR, &a) >= 0;
}

/* ---- Writing the row ---- */

struct out { unsigned char *to; size_t room, used; struct vmm *m; };

static void put(struct out *o, const struct piece *p, const void *value)
{
	if (o->to && o->room - o->used >= sizeof *p + p->bytes) {
		memcpy(o->to + o->used, p, sizeof *p);
		memcpy(o->to + o->used + sizeof *p, value, p->bytes);
	}
	o->used += sizeof *p + p->bytes;
}

/* ---- vCPUs ---- */

static size_t register_bytes(uint64_t id) { return (size_t)1 << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT); }

static void save_registers(struct out *o, int fd)
{
	uint64_t list[1 + REGISTERS] = { REGISTERS };	/* struct kvm_reg_list: how many, and their names */
	unsigned char value[VALUE_MAX];

	if (vmm_ioctl(fd, KVM_GET_REG_LIST, list) < 0)
		return;
	for (uint64_t i = 1; i <= list[0]; i++) {
		struct kvm_one_reg one = { .id = list[i], .addr = (uint64_t)(uintptr_t)value };
		struct piece p = { .kind = REGISTER, .bytes = (uint32_t)register_bytes(one.id), .name = one.id };
		if (p.bytes <= sizeof value && vmm_ioctl(fd, KVM_GET_ONE_REG, &one) >= 0)
			put(o, &p, value);
	}
}

static void save_vcpu(struct out *o, int fd)
{
	struct kvm_mp_state running;
	struct kvm_vcpu_events events;

	save_registers(o, fd);
	if (vmm_ioctl(fd, KVM_GET_MP_STATE, &running) >= 0)
		put(o, &(struct piece){ .kind = RUNNING, .bytes = sizeof running }, &running);
	if (vmm_ioctl(fd, KVM_GET_VCPU_EVENTS, &events) >= 0)
		put(o, &(struct piece){ .kind = EVENTS, .bytes = sizeof events }, &events);
}

static bool load_register(int fd, uint64_t id, const unsigned char *value, uint32_t n)
{
	unsigned char now[VALUE_MAX];
	struct kvm_one_reg wanted = { .id = id, .addr = (uint64_t)(uintptr_t)value };
	struct kvm_one_reg there = { .id = id, .addr = (uint64_t)(uintptr_t)now };

	if (n != register_bytes(id) || n > sizeof now)
		return false;
	/* Those that can't be written do no harm if they are as they should be. */
	return vmm_ioctl(fd, KVM_SET_ONE_REG, &wanted) >= 0 || (vmm_ioctl(fd, KVM_GET_ONE_REG, &there) >= 0 && !memcmp(now, value, n));
}

/* ---- The GIC ---- */

/* Registers of the distributor and of redistributors, by interrupts: so many bits each, from an offset on. */
struct bits { uint32_t at, bits, clear; };	/* clear: the register that clears what is to be zero; 0: none */
enum { GICD_CTLR = 0, GICD_IIDR = 8, IGROUPR = 0x80, ISENABLER = 0x100, ICENABLER = 0x180, ISPENDR = 0x200, ISACTIVER = 0x300,
	ICACTIVER = 0x380, IPRIORITYR = 0x400, ICFGR = 0xc00, IROUTER = 0x6000 };
enum { GICR_CTLR = 0, GICR_WAKER = 0x14, GICR_PROPBASER = 0x70, GICR_PENDBASER = 0x78, GICR_SGI = 0x10000 };
enum { GITS_CTLR = 0, GITS_IIDR = 4, GITS_CBASER = 0x80, GITS_CWRITER = 0x88, GITS_CREADR = 0x90, GITS_BASER = 0x100 };

/* Edge or level before what is pending. */
static const struct bits bits[] = {
	{ IGROUPR, 1, 0 }, { ISENABLER, 1, ICENABLER }, { ICFGR, 2, 0 }, { ISPENDR, 1, 0 }, { ISACTIVER, 1, ICACTIVER },
	{ IPRIORITYR, 8, 0 },
};

#define SYSREG(op1, crn, crm, op2) ((uint64_t)(3 << 14 | (op1) << 11 | (crn) << 7 | (crm) << 3 | (op2)))
static const uint64_t cpu_interface[] = {
	SYSREG(0, 12, 12, 5),	/* ICC_SRE_EL1 */
	SYSREG(0, 12, 12, 4),	/* ICC_CTLR_EL1 */
	SYSREG(0, 12, 12, 6), SYSREG(0, 12, 12, 7),	/* ICC_IGRPEN0_EL1, 1 */
	SYSREG(0, 4, 6, 0),	/* ICC_PMR_EL1 */
	SYSREG(0, 12, 8, 3), SYSREG(0, 12, 12, 3),	/* ICC_BPR0_EL1, 1 */
	SYSREG(0, 12, 8, 4), SYSREG(0, 12, 8, 5), SYSREG(0, 12, 8, 6), SYSREG(0, 12, 8, 7),	/* ICC_AP0R0_EL1 to 3 */
	SYSREG(0, 12, 9, 0), SYSREG(0, 12, 9, 1), SYSREG(0, 12, 9, 2), SYSREG(0, 12, 9, 3),	/* ICC_AP1R0_EL1 to 3 */
};

/* What this KVM does not have is left out. */
static void save_attribute(struct out *o, enum kind kind, uint32_t group, uint64_t name, uint32_t bytes)
{
	unsigned char value[8] = { 0 };

	if (get(kind == GIC ? o->m->arch->gic : o->m->arch->its, group, name, value))
		put(o, &(struct piece){ .kind = kind, .bytes = bytes, .group = group, .name = name }, value);
}

/* A step of loading that saving does not have. */
static void add_step(struct out *o, enum kind kind, uint32_t group, uint64_t name, uint32_t value)
{
	put(o, &(struct piece){ .kind = kind, .bytes = sizeof value, .group = group, .name = name }, &value);
}

/* Interrupts first to last, whose registers begin at base. */
static void save_bits(struct out *o, uint32_t group, uint64_t base, uint32_t first, uint32_t last)
{
	for (const struct bits *b = bits; b < bits + sizeof bits / sizeof *bits; b++)
		for (uint32_t i = first * b->bits / 8; i < last * b->bits / 8; i += 4) {
			if (b->clear)
				add_step(o, GIC, group, base + b->clear + i, UINT32_MAX);
			save_attribute(o, GIC, group, base + b->at + i, 4);
		}
}

static void save_levels(struct out *o, uint64_t mpidr, uint32_t first, uint32_t last)
{
	for (uint32_t i = first; i < last; i += 32)
		save_attribute(o, GIC, KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO,
		    mpidr | VGIC_LEVEL_INFO_LINE_LEVEL << KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT | i, 4);
}

static void save_distributor(struct out *o)
{
	enum { GROUP = KVM_DEV_ARM_VGIC_GRP_DIST_REGS, END = 32 + VMM_ARM64_SPIS };

	save_attribute(o, GIC, GROUP, GICD_IIDR, 4);
	save_attribute(o, GIC, GROUP, GICD_CTLR, 4);
	save_levels(o, 0, 32, END);
	save_bits(o, GROUP, 0, 32, END);
	for (uint32_t i = 32 * 8; i < END * 8; i += 4)
		save_attribute(o, GIC, GROUP, IROUTER + i, 4);
}

static void save_redistributor(struct out *o, uint64_t mpidr)
{
	enum { GROUP = KVM_DEV_ARM_VGIC_GRP_REDIST_REGS };

	/* Where its tables lie can only be said while it does not use them. */
	add_step(o, GIC, GROUP, mpidr | GICR_CTLR, 0);
	for (uint32_t i = 0; i < 16; i += 4)
		save_attribute(o, GIC, GROUP, mpidr | (GICR_PROPBASER + i), 4);
	save_attribute(o, GIC, GROUP, mpidr | GICR_CTLR, 4);
	save_attribute(o, GIC, GROUP, mpidr | GICR_WAKER, 4);
	save_levels(o, mpidr, 0, 32);
	save_bits(o, GROUP, mpidr | GICR_SGI, 0, 32);
	for (uint32_t i = 0; i < sizeof cpu_interface / sizeof *cpu_interface; i++)
		save_attribute(o, GIC, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, mpidr | cpu_interface[i], 8);
}

/* ---- The ITS ---- */

static void save_its(struct out *o)
{
	enum { GROUP = KVM_DEV_ARM_VGIC_GRP_ITS_REGS, CONTROL = KVM_DEV_ARM_VGIC_GRP_CTRL };

	add_step(o, ITS, CONTROL, KVM_DEV_ARM_ITS_CTRL_RESET, 0);
	save_attribute(o, ITS, GROUP, GITS_IIDR, 8);
	save_attribute(o, ITS, GROUP, GITS_CBASER, 8);
	save_attribute(o, ITS, GROUP, GITS_CREADR, 8);
	save_attribute(o, ITS, GROUP, GITS_CWRITER, 8);
	for (uint32_t i = 0; i < 8; i++)
		save_attribute(o, ITS, GROUP, GITS_BASER + 8 * i, 8);
	add_step(o, ITS, CONTROL, KVM_DEV_ARM_ITS_RESTORE_TABLES, 0);
	save_attribute(o, ITS, GROUP, GITS_CTLR, 8);
}

static void save_machine(struct out *o)
{
	save_distributor(o);
	for (unsigned i = 0; i < o->m->o.cpus; i++)
		save_redistributor(o, vmm_arm64_mpidr(i) << KVM_DEV_ARM_VGIC_V3_MPIDR_SHIFT);
	if (o->m->arch->its >= 0)
		save_its(o);
}

/* Translations, and which messages are pending.  A guest that has given no tables has neither. */
void vmm_arch_settle(struct vmm *m)
{
	if (m->arch->its < 0)
		return;
	set(m->arch->its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_SAVE_TABLES, NULL);
	set(m->arch->gic, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES, NULL);
}

size_t vmm_arch_save(struct vmm *m, int vcpu, void *to, size_t room)
{
	struct out o = { to, room, 0, m };

	if (vcpu < 0)
		save_machine(&o);
	else
		save_vcpu(&o, m->vcpu[vcpu].fd);
	return o.used;
}

/* ---- Loading ---- */

/* State may come from elsewhere: no more than what saving has put there. */
static bool load_gic(const struct vmm_arch *a, const struct piece *p, const unsigned char *value)
{
	switch (p->group) {
	case KVM_DEV_ARM_VGIC_GRP_DIST_REGS: case KVM_DEV_ARM_VGIC_GRP_REDIST_REGS: case KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO:
		return p->bytes == 4 && set(a->gic, p->group, p->name, value);
	case KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS:
		return p->bytes == 8 && set(a->gic, p->group, p->name, value);
	default:
		return false;
	}
}

static bool load_its(const struct vmm_arch *a, const struct piece *p, const unsigned char *value)
{
	bool step = p->group == KVM_DEV_ARM_VGIC_GRP_CTRL &&
	    (p->name == KVM_DEV_ARM_ITS_CTRL_RESET || p->name == KVM_DEV_ARM_ITS_RESTORE_TABLES);
	bool known = step || (p->group == KVM_DEV_ARM_VGIC_GRP_ITS_REGS && p->bytes == 8);

	return a->its >= 0 && known && set(a->its, p->group, p->name, value);
}

static const char *load_of_vcpu(int fd, const struct piece *p, const unsigned char *value)
{
	switch (p->kind) {
	case REGISTER:
		return load_register(fd, p->name, value, p->bytes) ? NULL : "this host's KVM does not take a register of the state";
	case RUNNING:
		return p->bytes == sizeof(struct kvm_mp_state) && vmm_ioctl(fd, KVM_SET_MP_STATE, value) >= 0 ? NULL :
		    "this host's KVM does not take how a vCPU runs";
	case EVENTS:
		return p->bytes == sizeof(struct kvm_vcpu_events) && vmm_ioctl(fd, KVM_SET_VCPU_EVENTS, value) >= 0 ? NULL :
		    "this host's KVM does not take a vCPU's pending exceptions";
	default:
		return "the state has something of a vCPU that this version does not know";
	}
}

static const char *load_of_machine(const struct vmm_arch *a, const struct piece *p, const unsigned char *value)
{
	switch (p->kind) {
	case GIC: return load_gic(a, p, value) ? NULL : "this host's KVM does not take the interrupt controller's state";
	case ITS: return load_its(a, p, value) ? NULL : "this host's KVM does not take the state of the translator of messages";
	default: return "the state has something of the machine that this version does not know";
	}
}

const char *vmm_arch_load(struct vmm *m, int vcpu, const void *from, size_t n)
{
	const unsigned char *at = from, *end = at + n;
	_Alignas(16) unsigned char value[VALUE_MAX];
	const char *why = NULL;

	while (!why && at < end) {
		struct piece p;
		if ((size_t)(end - at) < sizeof p)
			return "the state of a vCPU is cut short";
		memcpy(&p, at, sizeof p);
		at += sizeof p;
		if (p.bytes > sizeof value || p.bytes > (size_t)(end - at))
			return "the state of a vCPU is cut short";
		memcpy(value, at, p.bytes);
		at += p.bytes;
		why = vcpu < 0 ? load_of_machine(m->arch, &p, value) : load_of_vcpu(m->vcpu[vcpu].fd, &p, value);
	}
	return why;
}
