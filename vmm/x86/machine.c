/* The x86-64 machine: what KVM keeps of it, its ports for power and reset, and how it begins. */
#include <stdlib.h>
#include <vmm/place.h>
#include <vmm/x86/acpi.h>
#include <vmm/x86/machine.h>

const struct vmm_map *vmm_arch_map(const struct vmm *m) { return &m->arch->map; }
unsigned vmm_arch_mmio_line(unsigned slot) { return VMM_GSI_MMIO(slot); }
unsigned vmm_arch_intx_line(unsigned slot) { return VMM_GSI_INTX + slot % 4; }
uint32_t vmm_arch_line(unsigned line) { return line; }
unsigned long vmm_arch_vm_type(int kvm) { (void)kvm; return 0; }
void vmm_arch_settle(struct vmm *m) { (void)m; }

/* ---- Memory ---- */

bool vmm_arch_memory(struct vmm *m, char *why)
{
	struct vmm_memory *y = &m->memory;
	uint64_t low = y->bytes < VMM_LOW_MEMORY_MAX ? y->bytes : VMM_LOW_MEMORY_MAX, high = y->bytes - low;

	m->arch = calloc(1, sizeof *m->arch);
	if (!m->arch)
		return vio_refuse(why, "there is no memory for the machine");
	if (!vmm_x86_cpuid(m, why))
		return false;
	y->region[y->regions++] = (struct vio_region){ .gpa = 0, .size = low };
	if (high)
		y->region[y->regions++] = (struct vio_region){ .gpa = VMM_HIGH_MEMORY, .size = high };
	uint64_t pci64 = (VMM_HIGH_MEMORY + high + VMM_GIB - 1) & ~(VMM_GIB - 1);
	if (pci64 + VMM_PCI64_BYTES > UINT64_C(1) << m->arch->physical_bits || pci64 < high)
		return vio_refuse(why, "this processor has %u address bits, too few for so much memory: give --memory less", m->arch->physical_bits);
	m->arch->map = (struct vmm_map){ .pci32 = VMM_PCI32, .pci32_bytes = VMM_PCI32_BYTES, .pci64 = pci64, .pci64_bytes = VMM_PCI64_BYTES,
		.ecam = VMM_ECAM, .ecam_bytes = VMM_ECAM_BYTES, .mmio = VMM_MMIO, .mmio_stride = VMM_MMIO_STRIDE, .mmio_slots = VMM_MMIO_SLOTS,
		.ports = true, .plug = true, .serial = VMM_PORT_SERIAL, .serial_line = VMM_GSI_SERIAL, .irqchip = KVM_IRQCHIP_IOAPIC,
		.lines = 24 };
	return true;
}

/* ---- KVM ---- */

bool vmm_arch_open(struct vmm *m, char *why)
{
	uint64_t identity = VMM_KVM_IDENTITY;

	if (m->o.cpus > VMM_CPUS_MAX)
		return vio_refuse(why, "a machine has at most %d vCPUs: give --cpus less", VMM_CPUS_MAX);
	return vmm_try(m->vm, KVM_SET_TSS_ADDR, (const void *)(uintptr_t)VMM_KVM_TSS, "place its own pages", why) &&
	    vmm_try(m->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity, "place its own pages", why) &&
	    vmm_try(m->vm, KVM_CREATE_IRQCHIP, NULL, "make interrupt controllers", why) && vmm_x86_msrs(m, why);
}

bool vmm_arch_vcpu(struct vmm_vcpu *v, char *why) { return vmm_x86_cpu_open(v, why); }

/* ---- Power and reset ---- */

static uint64_t sleep_read(void *arg, uint64_t at, unsigned width) { (void)arg, (void)at, (void)width; return 0; }

static void sleep_write(void *arg, uint64_t at, unsigned width, uint64_t value)
{
	(void)width;
	if (at == 0 && value >> 5 & 1 && (value >> 2 & 7) == VMM_SLEEP_OFF)	/* SLP_EN, SLP_TYP */
		vmm_news(arg, VMM_NEWS_OFF);
}

static void reset_write(void *arg, uint64_t at, unsigned width, uint64_t value)
{
	(void)at, (void)width;
	if (value == VMM_RESET_VALUE)
		vmm_news(arg, VMM_NEWS_RESET);
}

static const struct vmm_range_ops sleep_ops = { sleep_read, sleep_write }, reset_ops = { sleep_read, reset_write };

static bool keep_first(struct vmm *m, char *why);

bool vmm_arch_platform(struct vmm *m, char *why)
{
	struct vmm_arch *a = m->arch;

	a->sleep = (struct vmm_range){ .base = VMM_PORT_SLEEP, .bytes = 2, .ops = &sleep_ops, .arg = m };
	a->reset = (struct vmm_range){ .base = VMM_PORT_RESET, .bytes = 1, .ops = &reset_ops, .arg = m };
	vmm_bus_add(&m->ports, &a->sleep);
	vmm_bus_add(&m->ports, &a->reset);
	m->serial = vmm_serial_open(m, m->o.serial_in, m->o.serial_out, why);
	return m->serial && keep_first(m, why);
}

void vmm_arch_close(struct vmm *m)
{
	vmm_serial_close(m->serial);
	if (!m->arch)
		return;
	for (unsigned i = 0; m->arch->first && i <= m->o.cpus; i++)
		free(m->arch->first[i].bytes);
	free(m->arch->first);
	free(m->arch->cpuid);
	free(m->arch->msrs);
	free(m->arch);
}

/* An edge: the generic event device looks what it was. */
static void pulse(struct vmm *m, unsigned line)
{
	vmm_line(m, line, 0, true);
	vmm_line(m, line, 0, false);
}

void vmm_arch_power_button(struct vmm *m) { pulse(m, VMM_GSI_POWER); }
void vmm_arch_plug(struct vmm *m) { pulse(m, VMM_GSI_EVENT); }

/* ---- Exits ---- */

static void on_port(struct vmm_vcpu *v)
{
	struct kvm_run *run = v->run;
	unsigned char *at = (unsigned char *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, at += run->io.size) {
		uint32_t value = 0;
		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, at, run->io.size);
			vmm_bus_write(&v->m->ports, run->io.port, run->io.size, value);
		} else {
			value = (uint32_t)vmm_bus_read(&v->m->ports, run->io.port, run->io.size);
			memcpy(at, &value, run->io.size);
		}
	}
}

const char *vmm_arch_exit(struct vmm_vcpu *v)
{
	switch (v->run->exit_reason) {
	case KVM_EXIT_IO: on_port(v); return NULL;
	case KVM_EXIT_SHUTDOWN: return "three exceptions in one another (a triple fault): the guest has crashed";
	case KVM_EXIT_SYSTEM_EVENT: vmm_news(v->m, VMM_NEWS_RESET); return NULL;
	case KVM_EXIT_FAIL_ENTRY: return "the processor refuses this vCPU's state";
	case KVM_EXIT_INTERNAL_ERROR: return "KVM cannot emulate what the guest did";
	default: return "KVM gave it up for a reason that is not known here";
	}
}

/* ---- The beginning ---- */

static bool keep(struct vmm *m, int vcpu, unsigned i, char *why)
{
	size_t n = vmm_arch_save(m, vcpu, NULL, 0);

	m->arch->first[i].bytes = malloc(n);
	if (!n || !m->arch->first[i].bytes)
		return vio_refuse(why, "KVM does not tell a vCPU's state, without which there is no reset");
	m->arch->first[i].n = vmm_arch_save(m, vcpu, m->arch->first[i].bytes, n);
	return true;
}

static bool keep_first(struct vmm *m, char *why)
{
	m->arch->first = calloc(m->o.cpus + 1, sizeof *m->arch->first);
	if (!m->arch->first)
		return vio_refuse(why, "there is no memory for the machine");
	for (unsigned i = 0; i < m->o.cpus; i++)
		if (!keep(m, (int)i, i, why))
			return false;
	return keep(m, -1, m->o.cpus, why);
}

static bool back_to_first(struct vmm *m, char *why)
{
	for (unsigned i = 0; i <= m->o.cpus; i++) {
		const char *failed = vmm_arch_load(m, i < m->o.cpus ? (int)i : -1, m->arch->first[i].bytes, m->arch->first[i].n);
		if (failed)
			return vio_refuse(why, "the machine can't be reset: %s", failed);
	}
	vmm_serial_reset(m->serial);
	return true;
}

static bool build_tables(struct vmm *m, uint64_t *rsdp, char *why)
{
	struct vmm_acpi_mmio mmio[VMM_MMIO_SLOTS];
	struct vmm_acpi acpi = { .cpus = m->o.cpus, .pci = m->o.wire == VMM_WIRE_PCI, .pci64 = m->arch->map.pci64,
		.pci64_bytes = m->arch->map.pci64_bytes, .mmio = mmio, .serial = true };

	/* In the order of their slots, in which Linux finds them and names their disks. */
	for (unsigned slot = 1; m->o.wire == VMM_WIRE_MMIO && slot <= VMM_MMIO_SLOTS; slot++)
		for (const struct vmm_device *d = m->devices; d; d = d->next)
			if (d->slot == slot)
				mmio[acpi.mmios++] = (struct vmm_acpi_mmio){ VMM_MMIO + (slot - 1) * VMM_MMIO_STRIDE, VMM_GSI_MMIO(slot - 1) };
	return vmm_acpi_build(&acpi, m->memory.mem, rsdp, why);
}

/*
 * Linux that finds hardware-reduced ACPI and no EFI does not use the reset register when it is to restart: it goes back to real mode and jumps
 * to where a PC begins.  Here it finds: mov dx, VMM_PORT_RESET; mov al, VMM_RESET_VALUE; out dx, al; hlt; jmp to the hlt
 */
static bool put_restart(struct vmm *m, char *why)
{
	static const unsigned char code[] = { 0xba, VMM_PORT_RESET & 255, VMM_PORT_RESET >> 8, 0xb0, VMM_RESET_VALUE, 0xee, 0xf4, 0xeb, 0xfd };

	return vmm_mem_put(m->memory.mem, VMM_AT_RESTART, code, sizeof code) || vio_refuse(why, "the machine's first mebibyte is not there");
}

bool vmm_arch_boot(struct vmm *m, char *why)
{
	struct vmm_load kernel = m->kernel;
	struct vmm_entry entry;

	return back_to_first(m, why) && put_restart(m, why) && build_tables(m, &kernel.rsdp, why) && vmm_load(&kernel, m->memory.mem, &entry, why) &&
	    vmm_x86_enter(&m->vcpu[0], &entry, why);
}
