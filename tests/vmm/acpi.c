/* The ACPI tables, walked as an operating system walks them, and disassembled by ACPI's own compiler where it is installed. */
#include <tests/vmm/rig.h>
#include <fcntl.h>
#include <vmm/x86/acpi.h>
#include <vmm/x86/layout.h>

static const struct vmm_acpi_mmio two[] = { { VMM_MMIO, 5 }, { VMM_MMIO + VMM_MMIO_STRIDE, 17 } };

static const struct vmm_acpi with_pci = { .cpus = 3, .pci = true, .pci64 = 5 * VMM_GIB, .pci64_bytes = VMM_PCI64_BYTES, .mmio = two,
	.mmios = 2, .serial = true };
static const struct vmm_acpi without_pci = { .cpus = 1, .mmio = two, .mmios = 2, .serial = true };

static struct rig *built(const struct vmm_acpi *what)
{
	struct rig *r = rig_new();
	uint64_t rsdp = 0;

	rig_region(r, 0, MIB, VIO_MEM_RW);
	if (!vmm_acpi_build(what, &r->mem, &rsdp, r->why))
		fail_msg("refused: %s", r->why);
	assert_int_equal(rsdp, VMM_AT_ACPI);
	return r;
}

static uint8_t sum_of(const struct rig *r, uint64_t at, uint64_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + rig_get(r, at++, 1));
	return s;
}

/* A table's place, after its length and checksum have been looked at; 0: there is none. */
static uint64_t find(const struct rig *r, const char *signature)
{
	char there[5] = { 0 };
	uint64_t xsdt = rig_get(r, VMM_AT_ACPI + 24, 8), found = 0;

	for (uint64_t i = 36; i < rig_get(r, xsdt + 4, 4); i += 8) {
		uint64_t at = rig_get(r, xsdt + i, 8), length = rig_get(r, at + 4, 4);
		rig_read(r, at, there, 4);
		assert_in_range(at, VMM_AT_ACPI, VMM_AT_ACPI_END - 1);
		assert_in_range(length, 36, VMM_AT_ACPI_END - at);
		assert_int_equal(sum_of(r, at, length), 0);
		if (!strcmp(there, signature))
			found = at;
	}
	return found;
}

static uint64_t dsdt_of(const struct rig *r)
{
	uint64_t at = rig_get(r, find(r, "FACP") + 140, 8);
	char there[5] = { 0 };

	rig_read(r, at, there, 4);
	assert_string_equal(there, "DSDT");
	assert_int_equal(sum_of(r, at, rig_get(r, at + 4, 4)), 0);
	return at;
}

static void roots(void **state)
{
	struct rig *r = built(&with_pci);
	char there[9] = { 0 };
	(void)state;

	rig_read(r, VMM_AT_ACPI, there, 8);
	assert_string_equal(there, "RSD PTR ");
	assert_int_equal(rig_get(r, VMM_AT_ACPI + 15, 1), 2);
	assert_int_equal(sum_of(r, VMM_AT_ACPI, 20), 0);
	assert_int_equal(sum_of(r, VMM_AT_ACPI, 36), 0);
	uint64_t xsdt = rig_get(r, VMM_AT_ACPI + 24, 8);
	assert_int_equal(sum_of(r, xsdt, rig_get(r, xsdt + 4, 4)), 0);
	assert_int_equal(rig_get(r, xsdt + 4, 4), 36 + 3 * 8);
	assert_true(find(r, "FACP") && find(r, "APIC") && find(r, "MCFG"));
	rig_free(r);
	r = built(&without_pci);
	assert_true(find(r, "FACP") && find(r, "APIC"));
	assert_false(find(r, "MCFG"));
	rig_free(r);
}

static void fixed(void **state)
{
	struct rig *r = built(&with_pci);
	uint64_t at = find(r, "FACP");
	(void)state;

	assert_int_equal(rig_get(r, at + 4, 4), 276);
	assert_int_equal(rig_get(r, at + 8, 1), 6);
	assert_int_equal(rig_get(r, at + 109, 2) & 3, 0);		/* neither legacy devices nor an 8042 */
	assert_int_equal(rig_get(r, at + 109, 2) & 0x24, 0x24);		/* neither VGA nor a clock of CMOS */
	assert_int_equal(rig_get(r, at + 112, 4) >> 20 & 1, 1);		/* hardware-reduced */
	assert_int_equal(rig_get(r, at + 112, 4) >> 10 & 1, 1);		/* can be reset */
	assert_int_equal(rig_get(r, at + 116, 1), 1);
	assert_int_equal(rig_get(r, at + 120, 8), VMM_PORT_RESET);
	assert_int_equal(rig_get(r, at + 128, 1), VMM_RESET_VALUE);
	assert_int_equal(rig_get(r, at + 244 + 4, 8), VMM_PORT_SLEEP);
	assert_int_equal(rig_get(r, at + 256 + 4, 8), VMM_PORT_SLEEP + 1);
	assert_int_equal(rig_get(r, at + 46, 2), 0);			/* no SCI */
	dsdt_of(r);
	rig_free(r);
}

static void interrupts(void **state)
{
	struct rig *r = built(&with_pci);
	uint64_t at = find(r, "APIC"), end = at + rig_get(r, at + 4, 4), cpus = 0, ioapics = 0;
	(void)state;

	assert_int_equal(rig_get(r, at + 36, 4), VMM_LAPIC);
	for (uint64_t e = at + 44; e < end; e += rig_get(r, e + 1, 1)) {
		if (rig_get(r, e, 1) == 0) {
			assert_int_equal(rig_get(r, e + 3, 1), cpus++);
			assert_int_equal(rig_get(r, e + 4, 4), 1);
		} else {
			assert_int_equal(rig_get(r, e, 1), 1);
			assert_int_equal(rig_get(r, e + 4, 4), VMM_IOAPIC);
			assert_int_equal(rig_get(r, e + 8, 4), 0);
			ioapics++;
		}
	}
	assert_int_equal(cpus, 3);
	assert_int_equal(ioapics, 1);
	at = find(r, "MCFG");
	assert_int_equal(rig_get(r, at + 44, 8), VMM_ECAM);
	assert_int_equal(rig_get(r, at + 52, 4), 0);
	rig_free(r);
}

/* ---- ACPI's own compiler ---- */

/* The DSDT as source, from iasl; NULL: it is not installed. */
static char *source_of(const struct rig *r, const char *folder)
{
	uint64_t at = dsdt_of(r), n = rig_get(r, at + 4, 4);
	unsigned char *table = malloc(n);
	char command[400], path[200];

	rig_read(r, at, table, n);
	snprintf(path, sizeof path, "%s/dsdt.dat", folder);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, table, n), n);
	close(fd);
	free(table);
	snprintf(command, sizeof command, "cd %s && iasl -d dsdt.dat >log 2>&1 && iasl -we -tc dsdt.dsl >>log 2>&1", folder);
	if (system(command))
		fail_msg("iasl finds fault with the DSDT; see %s/log", folder);
	snprintf(path, sizeof path, "%s/dsdt.dsl", folder);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = calloc(1, 1 << 20);
	assert_true(read(fd, text, (1 << 20) - 1) > 0);
	close(fd);
	return text;
}

static char *disassembled(const struct vmm_acpi *what)
{
	char folder[] = "/tmp/vio-acpi-XXXXXX", command[100];

	if (system("command -v iasl >/dev/null 2>&1"))
		SKIP_BECAUSE("iasl is not installed (acpica-tools)");
	assert_non_null(mkdtemp(folder));
	struct rig *r = built(what);
	char *text = source_of(r, folder);
	rig_free(r);
	snprintf(command, sizeof command, "rm -r %s", folder);
	assert_int_equal(system(command), 0);
	return text;
}

static void says(const char *text, const char *what, bool wanted)
{
	if (!strstr(text, what) == wanted)
		fail_msg("the DSDT %s \"%s\"", wanted ? "does not say" : "says", what);
}

static void source_with_pci(void **state)
{
	static const char *const want[] = {
		"Name (\\_S5",
		"Device (COM1)",
		"EisaId (\"PNP0501\")",
		"\"LNRO0005\"",
		"EisaId (\"PNP0A08\")",
		"EisaId (\"PNP0A03\")",
		"EisaId (\"PNP0C02\")",
		"EisaId (\"PNP0C0C\")",
		"\"ACPI0013\"",
		"Notify (S001, One)",
		"Notify (S01F, 0x03)",
		"EJCT = 0x80000000",
		"\\_SB.PCI0.SCAN ()",
		"Notify (PWRB, 0x80)",
		"0xC0000000,",
		"0x0000000140000000,",
		"0x000000053FFFFFFF,",
		"Interrupt (ResourceConsumer, Level, ActiveLow, Shared",
		"Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive",
	};
	char *text = disassembled(&with_pci);
	(void)state;

	for (unsigned i = 0; i < sizeof want / sizeof *want; i++)
		says(text, want[i], true);
	free(text);
}

static void source_without_pci(void **state)
{
	static const char *const absent[] = { "PNP0A08", "PCI0", "_PRT", "0x0620", "0xE0000000", "ActiveLow", "EJCT" };
	char *text = disassembled(&without_pci);
	(void)state;

	for (unsigned i = 0; i < sizeof absent / sizeof *absent; i++)
		says(text, absent[i], false);
	says(text, "\"LNRO0005\"", true);
	says(text, "Notify (PWRB, 0x80)", true);
	free(text);
}

/* ---- Room ---- */

static void largest(void **state)
{
	struct vmm_acpi_mmio all[VMM_MMIO_SLOTS];
	struct vmm_acpi what = with_pci;
	(void)state;

	for (unsigned i = 0; i < VMM_MMIO_SLOTS; i++)
		all[i] = (struct vmm_acpi_mmio){ VMM_MMIO + i * VMM_MMIO_STRIDE, VMM_GSI_MMIO(i) };
	what.cpus = VMM_CPUS_MAX;
	what.mmio = all;
	what.mmios = VMM_MMIO_SLOTS;
	rig_free(built(&what));
}

static void too_much(void **state)
{
	enum { MANY = 4000 };
	struct vmm_acpi_mmio *all = calloc(MANY, sizeof *all);
	struct vmm_acpi what = with_pci;
	struct rig *r = rig_new();
	uint64_t rsdp;
	(void)state;

	rig_region(r, 0, MIB, VIO_MEM_RW);
	rig_region(r, MIB, 4096, VIO_MEM_RW);
	what.mmio = all;
	what.mmios = MANY;
	assert_false(vmm_acpi_build(&what, &r->mem, &rsdp, r->why));
	assert_non_null(strstr(r->why, "more than the ACPI tables have room for; take fewer"));
	assert_int_equal(rig_get(r, MIB, 1), 0xee);
	r->region[0].size = VMM_AT_ACPI;
	assert_false(vmm_acpi_build(&with_pci, &r->mem, &rsdp, r->why));
	assert_non_null(strstr(r->why, "no memory where its tables go"));
	rig_free(r);
	free(all);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(roots, "each ACPI table is found from the RSDP and its checksum is right; without PCI there is no MCFG"),
		T(fixed, "the FADT says that a PC's fixed hardware is not there, and how to reset and switch off"),
		T(interrupts, "the MADT has each processor and the I/O APIC, the MCFG has bus 0"),
		T(source_with_pci, "iasl disassembles and compiles the DSDT without a warning, and all devices are in it"),
		T(source_without_pci, "without PCI nothing of PCI is in the DSDT"),
		T(largest, "the tables of the largest machine fit"),
		T(too_much, "what does not fit is refused, and nothing behind the tables is touched"),
	};
	return vio_tests("acpi", tests, sizeof tests / sizeof *tests);
}
