/*
 * The order of things.  The command line:
 *
 *   transport=pci|mmio        where to look; both
 *   devices=blk,rng,...       which must be there, and are driven; without it all that are there, whichever they are
 *   ring=packed|split         which ring there must be; what the device offers
 *   refuse=N,...              feature bits that are not taken
 *   irq=msix|intx|poll        how drivers wait; msix (MMIO has a line in either case)
 *   mmio= gsi= ioapic= intx= ecam= pci=      where things are: mmio.c, pci.c; without them as in vio's own machine
 *   off=PORT                  to end, write the status there first (QEMU's isa-debug-exit)
 *   hostile=WHAT,...          before anything else, what no driver should do: hostile.c; all for all of it
 *   others                    belong to a device: its file
 */
#include <vmm/x86/layout.h>
#include "guest.h"

static const struct device { const char *name; uint32_t id; drive_fn *drive; } devices[] = {
	{ "balloon", VIO_ID_BALLOON, drive_balloon },
	{ "blk", VIO_ID_BLK, drive_blk },
	{ "console", VIO_ID_CONSOLE, drive_console },
	{ "fs", VIO_ID_FS, drive_fs },
	{ "input", VIO_ID_INPUT, drive_input },
	{ "net", VIO_ID_NET, drive_net },
	{ "rng", VIO_ID_RNG, drive_rng },
	{ "scsi", VIO_ID_SCSI, drive_scsi },
	{ "vsock", VIO_ID_VSOCK, drive_vsock },
};
enum { DEVICES = sizeof devices / sizeof *devices };

/* What a PVH loader leaves in memory (xen/include/public/arch-x86/hvm/start_info.h): its first fields. */
struct start_info { uint32_t magic, version, flags, modules; uint64_t module_list, command_line; };
enum { START_INFO_MAGIC = 0x336ec578 };

_Noreturn void guest_off(unsigned status)
{
	uint64_t exit = word_number("off", 0);

	if (exit)
		out8((uint16_t)exit, (uint8_t)status);
	out8(VMM_PORT_SLEEP, VMM_SLEEP_OFF << 2 | 1 << 5);	/* ACPI: SLP_TYP and SLP_EN */
	for (uint64_t since = clock_ns(); clock_ns() - since < 500000000; )
		__asm__ volatile("pause");
	static const struct __attribute__((packed)) { uint16_t limit; uint64_t base; } none;
	for (;;)	/* and if that is no machine of ours: a reset, by an exception that nobody handles */
		__asm__ volatile("cli; lidt %0; int3" :: "m"(none));
}

static void refuse(struct vio_drv_port *port)
{
	const char *text = word("refuse");
	uint64_t bit;

	while (text && next_number(&text, &bit))
		if (bit < VIO_F_LIMIT)
			vio_features_add(&port->refuse, (unsigned)bit);
	if (word_is("ring", "split"))
		vio_features_add(&port->refuse, VIO_F_RING_PACKED);
}

static uint32_t interrupts_of_devices(void)
{
	uint32_t n = interrupts[VECTOR_LINE];

	for (unsigned i = 0; i < VECTORS_MESSAGES; i++)
		n += interrupts[VECTOR_MESSAGES + i];
	return n;
}

void drive_features(const struct vio_drv *d)
{
	say("# features %llx\n", (unsigned long long)d->features.word[0]);
	if (word("ring"))
		expect(vio_drv_has(d, VIO_F_RING_PACKED) == word_is("ring", "packed"), "the ring is the one that was asked for");
}

static void drive(struct wire *w, const struct device *d)
{
	uint32_t before = interrupts_of_devices();
	uint64_t since = clock_ns();
	size_t mark = guest_alloc_mark();

	say("# %s %u: %s\n", w->kind, w->number, d->name);
	refuse(w->port);
	if (expect(w->interrupts_on(w), "its interrupts are set up")) {
		d->drive(w->port);
		if (guest_irq == IRQ_POLL)
			expect(interrupts_of_devices() == before, "no interrupt comes where none is wanted");
		else
			expect(interrupts_of_devices() != before, "it interrupts");
	}
	w->interrupts_off(w);
	guest_alloc_back(mark);		/* the device has been reset: nothing of it is in use */
	say("# %u interrupts, %llu us\n", interrupts_of_devices() - before, (unsigned long long)((clock_ns() - since) / 1000));
}

/* Names like "pci blk". */
static void about(const char *kind, const char *name)
{
	static char both[32];
	unsigned n = 0;

	for (const char *s = kind; *s; s++)
		both[n++] = *s;
	both[n++] = ' ';
	for (const char *s = name; *s; s++)
		both[n++] = *s;
	both[n] = 0;
	expect_about(both);
}

static void drive_all(struct wire *wires, unsigned n, const char *kind)
{
	for (unsigned k = 0; k < DEVICES; k++) {
		unsigned found = 0;
		if (word("devices") && !word_lists("devices", devices[k].name))
			continue;
		about(kind, devices[k].name);
		for (unsigned i = 0; i < n; i++)
			if (wires[i].id == devices[k].id && same(wires[i].kind, kind)) {
				drive(&wires[i], &devices[k]);
				found++;
			}
		if (word("devices"))
			expect(found, "there is one");
	}
	expect_about(kind);
}

void guest_main(const struct start_info *info)
{
	static struct wire wires[WIRES];
	unsigned n = 0, pci = 0;

	guest_words_init(info->magic == START_INFO_MAGIC ? (const char *)info->command_line : NULL);
	interrupt_init();
	clock_init();
	guest_irq = word_is("irq", "poll") ? IRQ_POLL : word_is("irq", "intx") ? IRQ_LINE : IRQ_MSIX;
	if (guest_irq == IRQ_POLL)
		guest_platform_polls();
	say("TAP version 13\n");
	if (!word_is("transport", "mmio"))
		n = pci = pci_find(wires, WIRES);
	if (!word_is("transport", "pci"))
		n += mmio_find(wires + n, WIRES - n);
	say("# %u devices\n", n);
	if (word("hostile"))
		guest_hostile(wires, n);
	if (!word_is("transport", "mmio"))
		drive_all(wires, n, "pci");
	if (!word_is("transport", "pci"))
		drive_all(wires, n, "mmio");
	expect_about("guest");
	say("# %u interrupts of a line were nobody's\n", interrupts_unclaimed);	/* some may be: a line can fall on the way */
	expect(interrupts_unclaimed <= interrupts[VECTOR_LINE] / 2 + 2 || word("hostile"), "lines are quiet when nobody wants anything");
	guest_off(expect_end() != 0);
}
