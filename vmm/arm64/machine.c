/*
 * The arm64 machine: what KVM keeps of it (GICv3, its ITS, the timers), and how it begins.
 *
 * A device tree describes it, and no ACPI: so there is no hot plug and no power button.  The guest switches itself off, and its
 * other vCPUs on, by PSCI, which KVM answers.
 */
#include <stdlib.h>
#include <unistd.h>
#include <vmm/arm64/fdt.h>
#include <vmm/arm64/machine.h>

const struct vmm_map *vmm_arch_map(const struct vmm *m) { return &m->arch->map; }
unsigned vmm_arch_mmio_line(unsigned slot) { return VMM_ARM64_SPI_MMIO + slot; }
unsigned vmm_arch_intx_line(unsigned slot) { return VMM_ARM64_SPI_INTX + slot % 4; }
uint32_t vmm_arch_line(unsigned line) { return KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | (32 + line); }

_Static_assert(VMM_ARM64_SPI_MMIO + VMM_ARM64_MMIO_SLOTS <= VMM_ARM64_SPIS, "each line is an interrupt");
_Static_assert(VMM_ARM64_REDISTRIBUTORS + VMM_ARM64_CPUS_MAX * VMM_ARM64_REDISTRIBUTOR_BYTES <= VMM_ARM64_SERIAL, "room for redistributors");

/* ---- Memory ---- */

/* What KVM_CREATE_VM wants to know: how many address bits. */
static unsigned address_bits(int kvm)
{
	int bits = vmm_ioctl(kvm, KVM_CHECK_EXTENSION, (const void *)(uintptr_t)KVM_CAP_ARM_VM_IPA_SIZE);
	return bits < 32 ? 40 : (unsigned)bits;
}

unsigned long vmm_arch_vm_type(int kvm)
{
	unsigned bits = address_bits(kvm);
	return bits >= 40 ? 0 : KVM_VM_TYPE_ARM_IPA_SIZE(bits);		/* 0: 40 bits */
}

bool vmm_arch_memory(struct vmm *m, char *why)
{
	struct vmm_memory *y = &m->memory;
	unsigned bits = address_bits(m->kvm) < 40 ? address_bits(m->kvm) : 40;
	uint64_t pci64 = (VMM_ARM64_MEMORY + y->bytes + VMM_ARM64_GIB - 1) & ~(VMM_ARM64_GIB - 1);

	m->arch = calloc(1, sizeof *m->arch);
	if (!m->arch)
		return vio_refuse(why, "there is no memory for the machine");
	m->arch->gic = m->arch->its = -1;
	if (pci64 < y->bytes || pci64 + VMM_ARM64_PCI64_BYTES > UINT64_C(1) << bits)
		return vio_refuse(why, "this machine has %u address bits, too few for so much memory: give --memory less", bits);
	y->region[y->regions++] = (struct vio_region){ .gpa = VMM_ARM64_MEMORY, .size = y->bytes };
	m->arch->map = (struct vmm_map){ .pci32 = VMM_ARM64_PCI32, .pci32_bytes = VMM_ARM64_PCI32_BYTES, .pci64 = pci64,
		.pci64_bytes = VMM_ARM64_PCI64_BYTES, .ecam = VMM_ARM64_ECAM, .ecam_bytes = VMM_ARM64_ECAM_BYTES, .mmio = VMM_ARM64_MMIO,
		.mmio_stride = VMM_ARM64_MMIO_STRIDE, .mmio_slots = VMM_ARM64_MMIO_SLOTS, .serial = VMM_ARM64_SERIAL,
		.serial_line = VMM_ARM64_SPI_SERIAL, .requesters = true, .lines = VMM_ARM64_SPIS };
	return true;
}

/* ---- Interrupt controllers ---- */

enum { PLACE = KVM_DEV_ARM_VGIC_GRP_ADDR, CONTROL = KVM_DEV_ARM_VGIC_GRP_CTRL };

static bool create(struct vmm *m, uint32_t type, int *fd, const char *what, char *why)
{
	struct kvm_create_device d = { .type = type };

	if (vmm_ioctl(m->vm, KVM_CREATE_DEVICE, &d) < 0)
		return vio_refuse(why, "KVM cannot make %s: %s; this takes a host whose own interrupt controller is a GICv3", what,
		    strerror(errno));
	*fd = (int)d.fd;
	return true;
}

static bool control(int fd, uint32_t group, uint64_t attr, const void *value, const char *doing, char *why)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uint64_t)(uintptr_t)value };
	return vmm_try(fd, KVM_SET_DEVICE_ATTR, &a, doing, why);
}

bool vmm_arch_open(struct vmm *m, char *why)
{
	struct vmm_arch *a = m->arch;
	uint64_t distributor = VMM_ARM64_DISTRIBUTOR, redistributors = VMM_ARM64_REDISTRIBUTORS;
	uint32_t interrupts = 32 + VMM_ARM64_SPIS;

	if (m->o.cpus > VMM_ARM64_CPUS_MAX)
		return vio_refuse(why, "a machine has at most %d vCPUs: give --cpus less", VMM_ARM64_CPUS_MAX);
	return vmm_arm64_target(m, why) && create(m, KVM_DEV_TYPE_ARM_VGIC_V3, &a->gic, "an interrupt controller", why) &&
	    control(a->gic, PLACE, KVM_VGIC_V3_ADDR_TYPE_DIST, &distributor, "place an interrupt controller", why) &&
	    control(a->gic, PLACE, KVM_VGIC_V3_ADDR_TYPE_REDIST, &redistributors, "place an interrupt controller", why) &&
	    control(a->gic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &interrupts, "make so many interrupts", why);
}

static bool start_gic(struct vmm *m, char *why)
{
	struct vmm_arch *a = m->arch;
	uint64_t its = VMM_ARM64_ITS;

	/* Once all vCPUs are there. */
	if (!control(a->gic, CONTROL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL, "start an interrupt controller", why))
		return false;
	if (m->o.wire != VMM_WIRE_PCI)
		return true;
	return create(m, KVM_DEV_TYPE_ARM_VGIC_ITS, &a->its, "a translator of messages (ITS)", why) &&
	    control(a->its, PLACE, KVM_VGIC_ITS_ADDR_TYPE, &its, "place a translator of messages", why) &&
	    control(a->its, CONTROL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL, "start a translator of messages", why);
}

static bool keep_first(struct vmm *m, char *why)
{
	struct vmm_arch *a = m->arch;
	size_t n = vmm_arch_save(m, -1, NULL, 0);

	a->first = n ? malloc(n) : NULL;
	if (!a->first)
		return vio_refuse(why, "KVM does not tell the interrupt controller's state, without which there is no reset");
	a->first_bytes = vmm_arch_save(m, -1, a->first, n);
	return a->first_bytes <= n;
}

bool vmm_arch_platform(struct vmm *m, char *why)
{
	if (!start_gic(m, why) || !keep_first(m, why))
		return false;
	m->serial = vmm_serial_open(m, m->o.serial_in, m->o.serial_out, why);
	return m->serial != NULL;
}

void vmm_arch_close(struct vmm *m)
{
	vmm_serial_close(m->serial);
	if (!m->arch)
		return;
	if (m->arch->its >= 0)
		close(m->arch->its);
	if (m->arch->gic >= 0)
		close(m->arch->gic);
	free(m->arch->first);
	free(m->arch);
}

void vmm_arch_power_button(struct vmm *m) { (void)m; }
void vmm_arch_plug(struct vmm *m) { (void)m; }

/* ---- Exits ---- */

static const char *on_system_event(struct vmm_vcpu *v)
{
	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN: vmm_news(v->m, VMM_NEWS_OFF); return NULL;
	case KVM_SYSTEM_EVENT_RESET: vmm_news(v->m, VMM_NEWS_RESET); return NULL;
	default: return "the guest says that it has crashed";
	}
}

const char *vmm_arch_exit(struct vmm_vcpu *v)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_SYSTEM_EVENT: return on_system_event(v);
	case KVM_EXIT_ARM_NISV: return "an access to a device by an instruction that the processor does not describe (no syndrome)";
	case KVM_EXIT_FAIL_ENTRY: return "the processor refuses this vCPU's state";
	case KVM_EXIT_INTERNAL_ERROR: return "KVM cannot emulate what the guest did";
	default: return "KVM gave it up for a reason that is not known here";
	}
}

/* ---- The beginning ---- */

static bool reset_all(struct vmm *m, char *why)
{
	for (unsigned i = 0; i < m->o.cpus; i++)
		if (!vmm_arm64_cpu_init(&m->vcpu[i], why))
			return false;
	const char *failed = vmm_arch_load(m, -1, m->arch->first, m->arch->first_bytes);
	if (failed)
		return vio_refuse(why, "the machine can't be reset: %s", failed);
	vmm_serial_reset(m->serial);
	return true;
}

static bool build_tree(struct vmm *m, const struct vmm_load *kernel, const struct vmm_entry *entry, char *why)
{
	struct vmm_fdt_mmio mmio[VMM_ARM64_MMIO_SLOTS];
	const struct vmm_map *map = &m->arch->map;
	bool pci = m->o.wire == VMM_WIRE_PCI;
	struct vmm_fdt tree = { .cpus = m->o.cpus, .its = pci, .serial = true, .pci = pci, .pci64 = map->pci64,
		.pci64_bytes = map->pci64_bytes, .mmio = mmio, .command_line = kernel->command_line, .initrd = entry->initrd,
		.initrd_bytes = entry->initrd_bytes };

	for (const struct vmm_device *d = m->devices; !pci && d; d = d->next)
		mmio[tree.mmios++] = (struct vmm_fdt_mmio){ map->mmio + (d->slot - 1) * map->mmio_stride, vmm_arch_mmio_line(d->slot - 1) };
	return vmm_fdt_build(&tree, m->memory.mem, kernel->device_tree, kernel->device_tree_bytes, why);
}

bool vmm_arch_boot(struct vmm *m, char *why)
{
	struct vmm_load kernel = m->kernel;
	struct vmm_entry entry;

	kernel.device_tree = VMM_ARM64_AT_DEVICE_TREE;
	kernel.device_tree_bytes = VMM_ARM64_DEVICE_TREE_BYTES;
	return reset_all(m, why) && vmm_load(&kernel, m->memory.mem, &entry, why) && build_tree(m, &kernel, &entry, why) &&
	    vmm_arm64_enter(&m->vcpu[0], &entry, why);
}
