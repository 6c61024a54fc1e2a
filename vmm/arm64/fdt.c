#include <vmm/arm64/fdt.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <vio/host/why.h>
#include <vmm/arm64/layout.h>

enum { GIC = 1, ITS = 2 };				/* phandles */
enum { SPI = 0, PPI = 1, LEVEL_HIGH = 4 };
enum { PCI_MEMORY_32 = 0x02000000, PCI_MEMORY_64 = 0x03000000 };
enum { CELLS_MAX = 256 };

/* A tree being written; the first failure stays, and what follows does nothing. */
struct tree { void *fdt; int failed; };

static void did(struct tree *t, int result)
{
	if (!t->failed && result < 0)
		t->failed = result;
}

static void node(struct tree *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void node(struct tree *t, const char *format, ...)
{
	char name[64];
	va_list args;

	va_start(args, format);
	vsnprintf(name, sizeof name, format, args);
	va_end(args);
	did(t, fdt_begin_node(t->fdt, name));
}

static void end(struct tree *t) { did(t, fdt_end_node(t->fdt)); }
static void flag(struct tree *t, const char *name) { did(t, fdt_property(t->fdt, name, NULL, 0)); }
static void number(struct tree *t, const char *name, uint32_t value) { did(t, fdt_property_u32(t->fdt, name, value)); }

static void string(struct tree *t, const char *name, const char *value)
{
	size_t n = strlen(value) + 1;

	did(t, n > INT32_MAX ? -FDT_ERR_NOSPACE : fdt_property(t->fdt, name, value, (int)n));
}

static void cells(struct tree *t, const char *name, const uint32_t *cell, unsigned n)
{
	fdt32_t big[CELLS_MAX];

	for (unsigned i = 0; i < n; i++)
		big[i] = cpu_to_fdt32(cell[i]);
	did(t, fdt_property(t->fdt, name, big, (int)(n * sizeof *big)));
}

#define CELLS(t, name, ...) \
	cells(t, name, (const uint32_t[]){ __VA_ARGS__ }, sizeof (const uint32_t[]){ __VA_ARGS__ } / sizeof(uint32_t))
#define TWO(v) (uint32_t)((v) >> 32), (uint32_t)(v)

/* ---- Nodes ---- */

static void processors(struct tree *t, const struct vmm_fdt *w)
{
	node(t, "cpus");
	number(t, "#address-cells", 2);
	number(t, "#size-cells", 0);
	for (unsigned i = 0; i < w->cpus; i++) {
		node(t, "cpu@%" PRIx64, vmm_arm64_mpidr(i));
		string(t, "device_type", "cpu");
		string(t, "compatible", "arm,armv8");
		CELLS(t, "reg", TWO(vmm_arm64_mpidr(i)));
		string(t, "enable-method", "psci");
		end(t);
	}
	end(t);
	node(t, "psci");
	did(t, fdt_property(t->fdt, "compatible", "arm,psci-1.0\0arm,psci-0.2", 26));
	string(t, "method", "hvc");
	end(t);
}

/* Memory is what can be written, as to the loaders; false: it is in too many pieces. */
static bool memory(struct tree *t, const struct vio_mem *mem)
{
	uint32_t reg[CELLS_MAX];
	unsigned n = 0;
	uint64_t first = 0;

	for (uint32_t i = 0; i < mem->count; i++) {
		const struct vio_region *r = &mem->region[i];
		if ((r->perm & VIO_MEM_RW) != VIO_MEM_RW)
			continue;
		if (n + 4 > CELLS_MAX)
			return false;
		if (n == 0)
			first = r->gpa;
		memcpy(reg + n, (const uint32_t[]){ TWO(r->gpa), TWO(r->size) }, 4 * sizeof *reg);
		n += 4;
	}
	node(t, "memory@%" PRIx64, first);
	string(t, "device_type", "memory");
	cells(t, "reg", reg, n);
	end(t);
	return true;
}

static void interrupt_controller(struct tree *t, const struct vmm_fdt *w)
{
	uint64_t redistributors = w->cpus * VMM_ARM64_REDISTRIBUTOR_BYTES;

	node(t, "interrupt-controller@%" PRIx64, VMM_ARM64_DISTRIBUTOR);
	string(t, "compatible", "arm,gic-v3");
	flag(t, "interrupt-controller");
	number(t, "#interrupt-cells", 3);
	number(t, "#address-cells", 2);
	number(t, "#size-cells", 2);
	flag(t, "ranges");
	CELLS(t, "reg", TWO(VMM_ARM64_DISTRIBUTOR), TWO(VMM_ARM64_DISTRIBUTOR_BYTES), TWO(VMM_ARM64_REDISTRIBUTORS), TWO(redistributors));
	number(t, "phandle", GIC);
	if (w->its) {
		node(t, "msi-controller@%" PRIx64, VMM_ARM64_ITS);
		string(t, "compatible", "arm,gic-v3-its");
		flag(t, "msi-controller");
		number(t, "#msi-cells", 1);
		CELLS(t, "reg", TWO(VMM_ARM64_ITS), TWO(VMM_ARM64_ITS_BYTES));
		number(t, "phandle", ITS);
		end(t);
	}
	end(t);
}

static void timer(struct tree *t)
{
	node(t, "timer");
	string(t, "compatible", "arm,armv8-timer");
	CELLS(t, "interrupts", PPI, VMM_ARM64_PPI_TIMER_SECURE, LEVEL_HIGH, PPI, VMM_ARM64_PPI_TIMER, LEVEL_HIGH,
		PPI, VMM_ARM64_PPI_TIMER_VIRTUAL, LEVEL_HIGH, PPI, VMM_ARM64_PPI_TIMER_HYPERVISOR, LEVEL_HIGH);
	flag(t, "always-on");
	end(t);
}

static void serial(struct tree *t)
{
	node(t, "serial@%" PRIx64, VMM_ARM64_SERIAL);
	string(t, "compatible", "ns16550a");
	CELLS(t, "reg", TWO(VMM_ARM64_SERIAL), TWO(VMM_ARM64_SERIAL_BYTES));
	CELLS(t, "interrupts", SPI, VMM_ARM64_SPI_SERIAL, LEVEL_HIGH);
	number(t, "clock-frequency", 1843200);
	end(t);
}

static void virtio_mmio(struct tree *t, const struct vmm_fdt *w)
{
	for (unsigned i = 0; i < w->mmios; i++) {
		node(t, "virtio_mmio@%" PRIx64, w->mmio[i].base);
		string(t, "compatible", "virtio,mmio");
		CELLS(t, "reg", TWO(w->mmio[i].base), TWO(VMM_ARM64_MMIO_STRIDE));
		CELLS(t, "interrupts", SPI, w->mmio[i].spi, LEVEL_HIGH);
		flag(t, "dma-coherent");
		end(t);
	}
}

/* The two lowest bits of a device's number and its pin say which interrupt: 16 rows, each with the GIC's address of two cells. */
static void pci_routing(struct tree *t)
{
	uint32_t map[16 * 10];
	unsigned n = 0;

	for (uint32_t slot = 0; slot < 4; slot++)
		for (uint32_t pin = 1; pin <= 4; pin++, n += 10)
			memcpy(map + n, (const uint32_t[]){ slot << 11, 0, 0, pin, GIC, 0, 0, SPI, VMM_ARM64_SPI_INTX + (slot + pin - 1) % 4,
				LEVEL_HIGH }, 10 * sizeof *map);
	cells(t, "interrupt-map", map, n);
	CELLS(t, "interrupt-map-mask", 3 << 11, 0, 0, 7);
}

static void pci(struct tree *t, const struct vmm_fdt *w)
{
	const uint32_t ranges[] = {
		PCI_MEMORY_32, TWO(VMM_ARM64_PCI32), TWO(VMM_ARM64_PCI32), TWO(VMM_ARM64_PCI32_BYTES),
		PCI_MEMORY_64, TWO(w->pci64), TWO(w->pci64), TWO(w->pci64_bytes),
	};

	node(t, "pcie@%" PRIx64, VMM_ARM64_ECAM);
	string(t, "compatible", "pci-host-ecam-generic");
	string(t, "device_type", "pci");
	number(t, "#address-cells", 3);
	number(t, "#size-cells", 2);
	number(t, "#interrupt-cells", 1);
	number(t, "linux,pci-domain", 0);
	CELLS(t, "bus-range", 0, 0);
	CELLS(t, "reg", TWO(VMM_ARM64_ECAM), TWO(VMM_ARM64_ECAM_BYTES));
	cells(t, "ranges", ranges, w->pci64_bytes ? 14 : 7);
	pci_routing(t);
	if (w->its)
		CELLS(t, "msi-map", 0, ITS, 0, 0x10000);	/* each function's number is what the ITS knows it by */
	flag(t, "dma-coherent");
	end(t);
}

static void chosen(struct tree *t, const struct vmm_fdt *w)
{
	char path[32];

	node(t, "chosen");
	string(t, "bootargs", w->command_line ? w->command_line : "");
	if (w->serial) {
		snprintf(path, sizeof path, "/serial@%" PRIx64, VMM_ARM64_SERIAL);
		string(t, "stdout-path", path);
	}
	if (w->initrd_bytes) {
		CELLS(t, "linux,initrd-start", TWO(w->initrd));
		CELLS(t, "linux,initrd-end", TWO(w->initrd + w->initrd_bytes));
	}
	end(t);
}

static bool root(struct tree *t, const struct vmm_fdt *w, const struct vio_mem *mem)
{
	node(t, "%s", "");
	string(t, "compatible", "linux,dummy-virt");
	string(t, "model", "vio");
	number(t, "#address-cells", 2);
	number(t, "#size-cells", 2);
	number(t, "interrupt-parent", GIC);
	chosen(t, w);
	if (!memory(t, mem))
		return false;
	processors(t, w);
	interrupt_controller(t, w);
	timer(t);
	if (w->serial)
		serial(t);
	virtio_mmio(t, w);
	if (w->pci)
		pci(t, w);
	end(t);
	return true;
}

bool vmm_fdt_build(const struct vmm_fdt *what, const struct vio_mem *mem, uint64_t at, uint64_t bytes, char *why)
{
	struct tree t = { .fdt = vio_mem_span(mem, at, bytes, VIO_MEM_RW) };

	if (!t.fdt || bytes > INT32_MAX)
		return vio_refuse(why, "The machine has no memory where its device tree goes, at 0x%" PRIx64 "; give it more", at);
	did(&t, fdt_create(t.fdt, (int)bytes));
	did(&t, fdt_finish_reservemap(t.fdt));
	if (!t.failed && !root(&t, what, mem))
		return vio_refuse(why, "The machine's memory is in more than %d pieces; give it fewer", CELLS_MAX / 4);
	did(&t, fdt_finish(t.fdt));
	if (!t.failed)
		return true;
	return vio_refuse(why, "The device tree of %u processors, %u virtio-mmio devices and this command line has no room in %" PRIu64
		" bytes (%s); take fewer, or shorten it", what->cpus, what->mmios, bytes, fdt_strerror(t.failed));
}
