/*
 * PCI bus 0: a host bridge in slot 0, functions in the others, reached by ECAM and (where there are ports) 0xcf8; and the hot plug
 * registers that the ACPI tables speak of.
 */
#include <vmm/arch.h>
#include <vmm/kvm.h>
#include <vmm/x86/layout.h>

enum { SLOTS = 32, BRIDGE_VENDOR = 0x1b36, BRIDGE_DEVICE = 0x0008, BRIDGE_CLASS = 0x060000 };

/* ---- Config space accesses ---- */

static struct vmm_function function_at(struct vmm *m, unsigned slot)
{
	pthread_mutex_lock(&m->pci.lock);
	struct vmm_function f = m->pci.slot[slot];
	pthread_mutex_unlock(&m->pci.lock);
	return f;
}

static bool fits(uint32_t at, unsigned width) { return (width == 1 || width == 2 || width == 4) && at % width == 0; }

/* address: bus, device, function and register as ECAM has them. */
static uint32_t config_read(struct vmm *m, uint32_t address, unsigned width)
{
	unsigned slot = address >> 15 & 31, function = address >> 12 & 7;
	uint32_t at = address & 4095;

	if (address >> 20 || function || !fits(at, width))
		return UINT32_MAX;
	struct vmm_function f = function_at(m, slot);
	return f.read ? f.read(f.arg, at, width) : UINT32_MAX;
}

static void config_write(struct vmm *m, uint32_t address, unsigned width, uint32_t value)
{
	unsigned slot = address >> 15 & 31, function = address >> 12 & 7;
	uint32_t at = address & 4095;

	if (address >> 20 || function || !fits(at, width))
		return;
	struct vmm_function f = function_at(m, slot);
	if (f.write)
		f.write(f.arg, at, width, value);
}

static uint64_t ecam_read(void *arg, uint64_t at, unsigned width) { return config_read(arg, (uint32_t)at, width); }
static void ecam_write(void *arg, uint64_t at, unsigned width, uint64_t value) { config_write(arg, (uint32_t)at, width, (uint32_t)value); }
static const struct vmm_range_ops ecam_ops = { ecam_read, ecam_write };

/* Mechanism #1: a register that says where, and a window of four bytes. */
static bool selected(struct vmm *m, uint64_t port, uint32_t *address)
{
	uint32_t a = __atomic_load_n(&m->pci.address, __ATOMIC_RELAXED);

	*address = (a >> 8 & 0xffff) << 12 | (a & 0xfc) | (uint32_t)(port & 3);
	return a >> 31;
}

static uint64_t ports_read(void *arg, uint64_t at, unsigned width)
{
	struct vmm *m = arg;
	uint32_t address;

	if (at < 4)
		return at == 0 && width == 4 ? __atomic_load_n(&m->pci.address, __ATOMIC_RELAXED) : UINT64_MAX;
	return selected(m, at, &address) ? config_read(m, address, width) : UINT64_MAX;
}

static void ports_write(void *arg, uint64_t at, unsigned width, uint64_t value)
{
	struct vmm *m = arg;
	uint32_t address;

	if (at == 0 && width == 4)
		__atomic_store_n(&m->pci.address, (uint32_t)value, __ATOMIC_RELAXED);
	else if (at >= 4 && selected(m, at, &address))
		config_write(m, address, width, (uint32_t)value);
}
static const struct vmm_range_ops ports_ops = { ports_read, ports_write };

/* ---- The host bridge ---- */

static uint32_t bridge_read(void *arg, uint32_t at, unsigned width)
{
	static const uint32_t words[] = { BRIDGE_DEVICE << 16 | BRIDGE_VENDOR, 0, BRIDGE_CLASS << 8 };

	(void)arg;
	uint32_t word = at / 4 < sizeof words / sizeof *words ? words[at / 4] : 0;
	return word >> 8 * (at & 3) & (UINT32_MAX >> (32 - 8 * width));
}

static void bridge_write(void *arg, uint32_t at, unsigned width, uint32_t value) { (void)arg, (void)at, (void)width, (void)value; }

/* ---- Hot plug registers ---- */

static uint64_t plug_read(void *arg, uint64_t at, unsigned width)
{
	struct vmm *m = arg;
	uint32_t v = 0;

	if (width != 4)
		return UINT64_MAX;
	pthread_mutex_lock(&m->pci.lock);
	uint32_t *r = at == VMM_PORT_PLUG_UP - VMM_PORT_PLUG_UP ? &m->pci.up : at == VMM_PORT_PLUG_DOWN - VMM_PORT_PLUG_UP ? &m->pci.down : NULL;
	if (r) {
		v = *r;
		*r = 0;
	}
	pthread_mutex_unlock(&m->pci.lock);
	return v;
}

static void plug_write(void *arg, uint64_t at, unsigned width, uint64_t value)
{
	struct vmm *m = arg;

	if (width != 4 || at != VMM_PORT_PLUG_EJECT - VMM_PORT_PLUG_UP)
		return;
	__atomic_or_fetch(&m->ejected, (uint32_t)value, __ATOMIC_SEQ_CST);
	vmm_news(m, VMM_NEWS_EJECT);
}
static const struct vmm_range_ops plug_ops = { plug_read, plug_write };

/* ---- Slots ---- */

unsigned vmm_pci_add(struct vmm *m, unsigned slot, const struct vmm_function *f)
{
	pthread_mutex_lock(&m->pci.lock);
	for (unsigned i = 1; !slot && i < SLOTS; i++)
		if (!m->pci.slot[i].read)
			slot = i;
	if (slot >= SLOTS || (slot && m->pci.slot[slot].read))
		slot = 0;
	if (slot)
		m->pci.slot[slot] = *f;
	if (slot && m->booted)
		m->pci.up |= UINT32_C(1) << slot;
	pthread_mutex_unlock(&m->pci.lock);
	if (slot && m->booted)
		vmm_arch_plug(m);
	return slot;
}

void vmm_pci_remove(struct vmm *m, unsigned slot)
{
	pthread_mutex_lock(&m->pci.lock);
	m->pci.slot[slot] = (struct vmm_function){ NULL, NULL, NULL };
	m->pci.up &= ~(UINT32_C(1) << slot);
	m->pci.down &= ~(UINT32_C(1) << slot);
	pthread_mutex_unlock(&m->pci.lock);
}

bool vmm_unplug(struct vmm *m, const char *name, char *why)
{
	struct vmm_device *d = vmm_device_named(m, name);

	if (m->moving)
		return vio_refuse(why, "the machine is being migrated: wait until that has ended");
	if (!d)
		return vio_refuse(why, "there is no device called %.60s", name);
	if (m->o.wire != VMM_WIRE_PCI)
		return vio_refuse(why, "virtio-mmio knows no hot plug: the machine must have been started with --transport=pci");
	if (!vmm_arch_map(m)->plug)
		return vio_refuse(why, "this architecture's machine knows no hot plug: %.60s stays until the machine ends", name);
	pthread_mutex_lock(&m->pci.lock);
	m->pci.down |= UINT32_C(1) << d->slot;
	pthread_mutex_unlock(&m->pci.lock);
	vmm_arch_plug(m);
	return true;
}

uint64_t vmm_pci_place(struct vmm *m, unsigned slot) { return vmm_arch_map(m)->pci32 + (uint64_t)slot * VMM_BAR_BYTES; }

bool vmm_pci_open(struct vmm *m, char *why)
{
	const struct vmm_map *map = vmm_arch_map(m);
	struct vmm_function bridge = { bridge_read, bridge_write, m };

	(void)why;
	m->pci.slot[0] = bridge;
	m->pci.ecam = (struct vmm_range){ .base = map->ecam, .bytes = map->ecam_bytes, .ops = &ecam_ops, .arg = m };
	vmm_bus_add(&m->addresses, &m->pci.ecam);
	if (map->ports) {
		m->pci.ports = (struct vmm_range){ .base = VMM_PORT_PCI_ADDRESS, .bytes = 8, .ops = &ports_ops, .arg = m };
		m->pci.plug = (struct vmm_range){ .base = VMM_PORT_PLUG_UP, .bytes = 12, .ops = &plug_ops, .arg = m };
		vmm_bus_add(&m->ports, &m->pci.ports);
		vmm_bus_add(&m->ports, &m->pci.plug);
	}
	return true;
}
