/*
 *   RSDP --> XSDT --> FADT --> DSDT      what cannot be found by looking: the serial port, virtio-mmio, the host bridge, events
 *                 --> MADT               local APICs and the I/O APIC
 *                 --> MCFG               where PCI configuration space is
 *
 * "Hardware-reduced" says that nothing of a PC's fixed hardware is there: no SCI, no timer of power management, no 8259, no PIT.
 * Events come by the generic event device instead.
 */
#include <vmm/x86/acpi.h>
#include <stdio.h>
#include <string.h>
#include <vio/host/why.h>
#include <vmm/place.h>
#include <vmm/x86/acpi_tables.h>
#include <vmm/x86/aml.h>
#include <vmm/x86/layout.h>

enum { BYTES = VMM_AT_ACPI_END - VMM_AT_ACPI };
enum { ALIGN = 64 };
enum { DEVICE_CHECK = 1, EJECT_REQUEST = 3, BUTTON_PRESSED = 0x80 };

static uint8_t sum(const void *table, size_t n)
{
	const unsigned char *p = table;
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return (uint8_t)-s;
}

/* ---- DSDT ---- */

static void id(struct vmm_aml *a, const char *hid, unsigned uid)
{
	vmm_aml_name(a, "_HID");
	if (strlen(hid) == 7)
		vmm_aml_eisa(a, hid);
	else
		vmm_aml_string(a, hid);
	vmm_aml_name(a, "_UID");
	vmm_aml_int(a, uid);
}

static const char *numbered(char name[8], char letter, unsigned i)
{
	snprintf(name, 8, "%c%03X", letter, i & 0xfff);
	return name;
}

static void processors(struct vmm_aml *a, const struct vmm_acpi *w)
{
	char name[8];

	for (unsigned i = 0; i < w->cpus; i++) {
		size_t device = vmm_aml_device(a, numbered(name, 'C', i));
		id(a, "ACPI0007", i);
		vmm_aml_close(a, device);
	}
}

static void serial(struct vmm_aml *a)
{
	size_t device = vmm_aml_device(a, "COM1");

	id(a, "PNP0501", 0);
	size_t resources = vmm_aml_resources(a);
	vmm_aml_io(a, VMM_PORT_SERIAL, 8);
	vmm_aml_interrupt(a, VMM_GSI_SERIAL, VMM_AML_EDGE);
	vmm_aml_resources_end(a, resources);
	vmm_aml_close(a, device);
}

/* An input of the I/O APIC that PCI interrupts share must be called what PCI calls it: active low. */
static void virtio_mmio(struct vmm_aml *a, const struct vmm_acpi *w)
{
	char name[8];

	for (unsigned i = 0; i < w->mmios; i++) {
		const struct vmm_acpi_mmio *m = &w->mmio[i];
		bool intx = w->pci && m->gsi - VMM_GSI_INTX < 4;
		size_t device = vmm_aml_device(a, numbered(name, 'V', i));
		id(a, "LNRO0005", i);
		vmm_aml_name(a, "_CCA");
		vmm_aml_int(a, 1);
		size_t resources = vmm_aml_resources(a);
		vmm_aml_memory(a, m->base, VMM_MMIO_STRIDE);
		vmm_aml_interrupt(a, m->gsi, intx ? VMM_AML_LOW | VMM_AML_SHARED : 0);
		vmm_aml_resources_end(a, resources);
		vmm_aml_close(a, device);
	}
}

/* What no device below has, and nobody else may have either. */
static void board(struct vmm_aml *a, const struct vmm_acpi *w)
{
	size_t device = vmm_aml_device(a, "BRD0");

	id(a, "PNP0C02", 0);
	size_t resources = vmm_aml_resources(a);
	vmm_aml_io(a, VMM_PORT_SLEEP, 2);
	vmm_aml_io(a, VMM_PORT_RESET, 1);
	if (w->pci) {
		vmm_aml_io(a, VMM_PORT_PLUG_UP, 12);
		vmm_aml_memory(a, VMM_ECAM, VMM_ECAM_BYTES);
	}
	vmm_aml_resources_end(a, resources);
	vmm_aml_close(a, device);
}

/* Pins 1 to 4 (here 0 to 3) of each device, straight to inputs of the I/O APIC. */
static void routing(struct vmm_aml *a)
{
	vmm_aml_name(a, "_PRT");
	size_t table = vmm_aml_package(a, (VMM_PCI_SLOTS - 1) * 4);
	for (unsigned slot = 1; slot < VMM_PCI_SLOTS; slot++) {
		for (unsigned pin = 0; pin < 4; pin++) {
			size_t route = vmm_aml_package(a, 4);
			vmm_aml_int(a, slot << 16 | 0xffff);
			vmm_aml_int(a, pin);
			vmm_aml_int(a, 0);
			vmm_aml_int(a, VMM_GSI_INTX + (slot + pin) % 4);
			vmm_aml_close(a, route);
		}
	}
	vmm_aml_close(a, table);
}

static void slots(struct vmm_aml *a)
{
	static const char *const field[] = { "UP__", "DOWN", "EJCT" };
	char name[8];

	VIO_STATIC_ASSERT(VMM_PORT_PLUG_DOWN == VMM_PORT_PLUG_UP + 4 && VMM_PORT_PLUG_EJECT == VMM_PORT_PLUG_UP + 8, "one region");
	vmm_aml_ports(a, "PLUG", VMM_PORT_PLUG_UP, field, 3);
	for (unsigned slot = 1; slot < VMM_PCI_SLOTS; slot++) {
		size_t device = vmm_aml_device(a, numbered(name, 'S', slot));
		vmm_aml_name(a, "_ADR");
		vmm_aml_int(a, slot << 16);
		vmm_aml_name(a, "_SUN");
		vmm_aml_int(a, slot);
		size_t eject = vmm_aml_method(a, "_EJ0", 1);
		vmm_aml_byte(a, VMM_AML_STORE);
		vmm_aml_int(a, UINT32_C(1) << slot);
		vmm_aml_name_string(a, "EJCT");
		vmm_aml_close(a, eject);
		vmm_aml_close(a, device);
	}
}

/* What came and what is asked to go, told to the slots. */
static void plug(struct vmm_aml *a)
{
	static const struct { const char *field; unsigned notice; } ways[] = { { "UP__", DEVICE_CHECK }, { "DOWN", EJECT_REQUEST } };
	char name[8];
	size_t method = vmm_aml_method(a, "SCAN", 0);

	for (unsigned i = 0; i < 2; i++) {
		vmm_aml_byte(a, VMM_AML_STORE);		/* reading clears: once */
		vmm_aml_name_string(a, ways[i].field);
		vmm_aml_byte(a, VMM_AML_LOCAL0);
		for (unsigned slot = 1; slot < VMM_PCI_SLOTS; slot++) {
			size_t then = vmm_aml_if(a);
			vmm_aml_byte(a, VMM_AML_AND);
			vmm_aml_byte(a, VMM_AML_LOCAL0);
			vmm_aml_int(a, UINT32_C(1) << slot);
			vmm_aml_byte(a, 0);
			vmm_aml_byte(a, VMM_AML_NOTIFY);
			vmm_aml_name_string(a, numbered(name, 'S', slot));
			vmm_aml_int(a, ways[i].notice);
			vmm_aml_close(a, then);
		}
	}
	vmm_aml_close(a, method);
}

static void host_bridge(struct vmm_aml *a, const struct vmm_acpi *w)
{
	size_t device = vmm_aml_device(a, "PCI0");

	id(a, "PNP0A08", 0);
	vmm_aml_name(a, "_CID");
	vmm_aml_eisa(a, "PNP0A03");
	vmm_aml_name(a, "_SEG");
	vmm_aml_int(a, 0);
	vmm_aml_name(a, "_BBN");
	vmm_aml_int(a, 0);
	size_t resources = vmm_aml_resources(a);
	vmm_aml_bus(a, 0, 0);
	vmm_aml_io(a, VMM_PORT_PCI_ADDRESS, 8);
	vmm_aml_window(a, VMM_PCI32, VMM_PCI32_BYTES);
	if (w->pci64_bytes)
		vmm_aml_window(a, w->pci64, w->pci64_bytes);
	vmm_aml_resources_end(a, resources);
	routing(a);
	slots(a);
	plug(a);
	vmm_aml_close(a, device);
}

static void button(struct vmm_aml *a)
{
	size_t device = vmm_aml_device(a, "PWRB");

	id(a, "PNP0C0C", 0);
	vmm_aml_close(a, device);
}

/* Opens: the body of "if this interrupt, then". */
static size_t on(struct vmm_aml *a, unsigned gsi)
{
	size_t then = vmm_aml_if(a);

	vmm_aml_byte(a, VMM_AML_EQUAL);
	vmm_aml_byte(a, VMM_AML_ARG0);
	vmm_aml_int(a, gsi);
	return then;
}

static void events(struct vmm_aml *a, const struct vmm_acpi *w)
{
	size_t device = vmm_aml_device(a, "GED0"), then;

	id(a, "ACPI0013", 0);
	size_t resources = vmm_aml_resources(a);
	if (w->pci)
		vmm_aml_interrupt(a, VMM_GSI_EVENT, VMM_AML_EDGE);
	vmm_aml_interrupt(a, VMM_GSI_POWER, VMM_AML_EDGE);
	vmm_aml_resources_end(a, resources);
	size_t method = vmm_aml_method(a, "_EVT", 1);
	if (w->pci) {
		then = on(a, VMM_GSI_EVENT);
		vmm_aml_bytes(a, "\\\x2f\x03_SB_PCI0SCAN", 15);	/* a path of three names, called */
		vmm_aml_close(a, then);
	}
	then = on(a, VMM_GSI_POWER);
	vmm_aml_byte(a, VMM_AML_NOTIFY);
	vmm_aml_name_string(a, "PWRB");
	vmm_aml_int(a, BUTTON_PRESSED);
	vmm_aml_close(a, then);
	vmm_aml_close(a, method);
	vmm_aml_close(a, device);
}

static void dsdt(struct vmm_aml *a, const struct vmm_acpi *w)
{
	vmm_aml_name(a, "\\_S5_");
	size_t sleep = vmm_aml_package(a, 4);
	vmm_aml_int(a, VMM_SLEEP_OFF);
	for (unsigned i = 0; i < 3; i++)
		vmm_aml_int(a, 0);
	vmm_aml_close(a, sleep);
	size_t scope = vmm_aml_scope(a, "\\_SB_");
	processors(a, w);
	board(a, w);
	if (w->serial)
		serial(a);
	virtio_mmio(a, w);
	if (w->pci)
		host_bridge(a, w);
	button(a);
	events(a, w);
	vmm_aml_close(a, scope);
}

/* ---- The tables around it ---- */

struct tables { struct vmm_aml a; vio_le64 list[8]; unsigned count; };

static size_t table_begin(struct tables *t)
{
	while (t->a.used % ALIGN && !t->a.full)
		vmm_aml_byte(&t->a, 0);
	size_t at = t->a.used;
	vmm_aml_bytes(&t->a, &(struct vmm_acpi_header){ 0 }, sizeof(struct vmm_acpi_header));
	return at;
}

/* All that was written since is the table's.  Its address. */
static uint64_t table_end(struct tables *t, size_t at, const char *signature, unsigned revision)
{
	struct vmm_acpi_header h = { .length = vio_le32_of((uint32_t)(t->a.used - at)), .revision = (uint8_t)revision,
		.oem_revision = vio_le32_of(1), .creator_revision = vio_le32_of(1) };

	if (t->a.full)
		return 0;
	memcpy(h.signature, signature, 4);
	memcpy(h.oem, "VIO   ", 6);
	memcpy(h.oem_table, "MACHINE ", 8);
	memcpy(h.creator, "VIO ", 4);
	memcpy(t->a.to + at, &h, sizeof h);
	t->a.to[at + offsetof(struct vmm_acpi_header, checksum)] = sum(t->a.to + at, t->a.used - at);
	return VMM_AT_ACPI + at;
}

static void listed(struct tables *t, uint64_t at)
{
	t->list[t->count++] = vio_le64_of(at);
}

static struct vmm_acpi_address port(unsigned at)
{
	return (struct vmm_acpi_address){ .space = 1, .bits = 8, .access = 1, .at = vio_le64_of(at) };
}

static void fadt(struct tables *t, uint64_t dsdt_at)
{
	size_t at = table_begin(t);
	struct vmm_acpi_fadt f = {
		.dsdt = vio_le32_of((uint32_t)dsdt_at),
		.boot_arch = vio_le16_of(VMM_FADT_NO_VGA | VMM_FADT_NO_ASPM | VMM_FADT_NO_RTC),
		.flags = vio_le32_of(VMM_FADT_WBINVD | VMM_FADT_BUTTON_IS_DEVICE | VMM_FADT_NO_SLEEP_BUTTON | VMM_FADT_RESET |
			VMM_FADT_HW_REDUCED),
		.reset = port(VMM_PORT_RESET),
		.reset_value = VMM_RESET_VALUE,
		.minor = 4,
		.x_dsdt = vio_le64_of(dsdt_at),
		.sleep_control = port(VMM_PORT_SLEEP),
		.sleep_status = port(VMM_PORT_SLEEP + 1),
	};

	vmm_aml_bytes(&t->a, (const unsigned char *)&f + sizeof f.header, sizeof f - sizeof f.header);
	listed(t, table_end(t, at, "FACP", 6));
}

static void madt(struct tables *t, const struct vmm_acpi *w)
{
	size_t at = table_begin(t);

	vmm_aml_number(&t->a, VMM_LAPIC, 4);
	vmm_aml_number(&t->a, 0, 4);		/* flags: no 8259 */
	for (unsigned i = 0; i < w->cpus; i++)
		vmm_aml_bytes(&t->a, &(struct vmm_acpi_lapic){ .length = 8, .uid = (uint8_t)i, .id = (uint8_t)i,
			.flags = vio_le32_of(1) }, sizeof(struct vmm_acpi_lapic));
	vmm_aml_bytes(&t->a, &(struct vmm_acpi_ioapic){ .type = 1, .length = 12, .at = vio_le32_of((uint32_t)VMM_IOAPIC) },
		sizeof(struct vmm_acpi_ioapic));
	listed(t, table_end(t, at, "APIC", 5));
}

static void mcfg(struct tables *t)
{
	size_t at = table_begin(t);

	vmm_aml_number(&t->a, 0, 8);
	vmm_aml_number(&t->a, VMM_ECAM, 8);
	vmm_aml_number(&t->a, 0, 8);		/* segment 0, bus 0 to bus 0 */
	listed(t, table_end(t, at, "MCFG", 1));
}

static void rsdp_at(unsigned char *to, uint64_t xsdt)
{
	struct vmm_acpi_rsdp r = { .signature = "RSD PTR ", .oem = "VIO   ", .revision = 2, .length = vio_le32_of(sizeof r),
		.xsdt = vio_le64_of(xsdt) };

	r.checksum = sum(&r, offsetof(struct vmm_acpi_rsdp, length));	/* what revision 0 had */
	r.checksum_all = sum(&r, sizeof r);
	memcpy(to, &r, sizeof r);
}

bool vmm_acpi_build(const struct vmm_acpi *what, const struct vio_mem *mem, uint64_t *rsdp, char *why)
{
	unsigned char *to = vio_mem_span(mem, VMM_AT_ACPI, BYTES, VIO_MEM_RW);
	struct tables t = { .a = { .to = to, .room = BYTES } };

	if (!to)
		return vio_refuse(why, "The machine has no memory where its tables go, below 1 MiB; give it more");
	vmm_aml_bytes(&t.a, &(struct vmm_acpi_rsdp){ .length = vio_le32_of(0) }, sizeof(struct vmm_acpi_rsdp));
	size_t at = table_begin(&t);
	dsdt(&t.a, what);
	fadt(&t, table_end(&t, at, "DSDT", 2));
	madt(&t, what);
	if (what->pci)
		mcfg(&t);
	at = table_begin(&t);
	vmm_aml_bytes(&t.a, t.list, t.count * sizeof *t.list);
	rsdp_at(to, table_end(&t, at, "XSDT", 1));
	if (t.a.full)
		return vio_refuse(why, "%u virtio-mmio devices and %u processors are more than the ACPI tables have room for; take fewer",
			what->mmios, what->cpus);
	*rsdp = VMM_AT_ACPI;
	return true;
}
