/*
 * Functions of PCI bus 0: found by I/O ports 0xcf8 and 0xcfc, or in memory with ecam=ADDRESS; BARs that nobody has placed get a place
 * in the window pci=BASE.  Interrupts are messages (MSI-X), or with irq=line the pin, which leads to I/O APIC input
 * intx + (device + pin - 1) % 4.
 */
#include <vio/transport/pci.h>
#include <vmm/x86/layout.h>
#include "guest.h"

struct function { struct vio_pci_drv drv; unsigned device; uint64_t bar[VIO_PCI_BARS]; };
static uint64_t ecam, window;

static uint32_t config_read(void *arg, uint32_t at, unsigned width)
{
	const struct function *f = arg;

	if (ecam)
		return device_read(ecam + (f->device << 15) + at, width);
	out32(VMM_PORT_PCI_ADDRESS, 1u << 31 | f->device << 11 | (at & 0xfc));
	uint16_t port = (uint16_t)(VMM_PORT_PCI_DATA + (at & 3));
	return width == 1 ? in8(port) : width == 2 ? in16(port) : in32(port);
}

static void config_write(void *arg, uint32_t at, unsigned width, uint32_t v)
{
	const struct function *f = arg;

	if (ecam) {
		device_write(ecam + (f->device << 15) + at, width, v);
		return;
	}
	out32(VMM_PORT_PCI_ADDRESS, 1u << 31 | f->device << 11 | (at & 0xfc));
	uint16_t port = (uint16_t)(VMM_PORT_PCI_DATA + (at & 3));
	if (width == 1)
		out8(port, (uint8_t)v);
	else if (width == 2)
		out16(port, (uint16_t)v);
	else
		out32(port, v);
}

/* What the device says of itself picks the BAR: one that is not there reads as ones, and takes nothing. */
static uint32_t bar_read(void *arg, unsigned bar, uint64_t at, unsigned width)
{
	const struct function *f = arg;

	if (!f->bar[bar])
		return UINT32_MAX;
	uint32_t v = device_read(f->bar[bar] + at, width);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);	/* what is read later is no older than this */
	return v;
}

static void bar_write(void *arg, unsigned bar, uint64_t at, unsigned width, uint32_t v)
{
	const struct function *f = arg;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);	/* rings are written before the device is told */
	if (f->bar[bar])
		device_write(f->bar[bar] + at, width, v);
}

static const struct vio_pci_access access = { config_read, config_write, bar_read, bar_write };

/* ---- BARs ---- */

/* Give a BAR of memory a place: its size is what sticks of all ones. */
static uint64_t place(struct function *f, unsigned at, bool wide)
{
	uint64_t size;

	config_write(f, at, 4, UINT32_MAX);
	size = config_read(f, at, 4) & ~15u;
	if (size == 0)
		return 0;
	size = ~(size | UINT64_C(0xffffffff00000000)) + 1;	/* smaller than 4 GiB */
	window = (window + size - 1) & ~(size - 1);
	config_write(f, at, 4, (uint32_t)window);
	if (wide)
		config_write(f, at + 4, 4, 0);
	window += size;
	return window - size;
}

static void find_bars(struct function *f)
{
	uint32_t command = config_read(f, VIO_PCI_COMMAND, 2);

	for (unsigned i = 0; i < VIO_PCI_BARS; i++) {
		unsigned at = VIO_PCI_BAR0 + 4 * i;
		uint32_t v = config_read(f, at, 4);
		bool wide = (v & 7) == VIO_PCI_BAR_64;
		if (v & 1)			/* I/O ports: the legacy interface */
			continue;
		f->bar[i] = v & ~15u;
		if (wide)
			f->bar[i] |= (uint64_t)config_read(f, at + 4, 4) << 32;
		if (!f->bar[i]) {
			config_write(f, VIO_PCI_COMMAND, 2, command & ~(uint32_t)VIO_PCI_COMMAND_MEMORY);
			f->bar[i] = place(f, at, wide);
		}
		guest_map_device(f->bar[i]);
		i += wide;
	}
}

/* ---- Interrupts ---- */

static bool interrupted(void *arg) { return vio_pci_interrupt(arg) != 0; }

static unsigned input(struct function *f)
{
	unsigned pin = config_read(f, VIO_PCI_INTERRUPT_PIN, 1);
	return (unsigned)word_number("intx", VMM_GSI_INTX) + (f->device + pin - 1) % 4;
}

static bool on(struct wire *w)
{
	struct function *f = w->self;
	unsigned n = vio_pci_vectors(&f->drv);

	if (guest_irq == IRQ_POLL)
		return vio_pci_use_vectors(&f->drv, 0);
	if (guest_irq == IRQ_LINE || n == 0) {		/* a function may have no messages */
		interrupt_line(input(f), interrupted, &f->drv);
		return vio_pci_use_vectors(&f->drv, 0);
	}
	if (n > VECTORS_MESSAGES)
		n = VECTORS_MESSAGES;
	for (unsigned i = 0; i < n; i++)
		vio_pci_vector_set(&f->drv, i, interrupt_message_address(), VECTOR_MESSAGES + i, false);
	return vio_pci_use_vectors(&f->drv, n);
}

static void off(struct wire *w)
{
	struct function *f = w->self;

	interrupt_line_off(input(f));
	vio_pci_use_vectors(&f->drv, 0);
}

struct vio_pci_drv *pci_of(struct wire *w) { return w->interrupts_on == on ? &((struct function *)w->self)->drv : NULL; }

unsigned pci_find(struct wire *w, unsigned room)
{
	unsigned found = 0;

	ecam = word_number("ecam", 0);
	window = word_number("pci", VMM_PCI32);
	for (unsigned device = 0; device < 32 && found < room; device++) {
		struct function *f = GUEST_NEW(struct function);
		const char *why;
		f->device = device;
		if (!vio_pci_probe(&f->drv, &access, f, guest_platform, &why)) {
			if (why)
				say("# pci %u: %s\n", device, why);
			continue;
		}
		find_bars(f);
		vio_pci_enable(&f->drv);
		*w = (struct wire){ &f->drv.port, f->drv.id, "pci", device, on, off, f, f->bar[f->drv.common.bar],
			f->drv.notify.at + 0x1000 };
		w++;
		found++;
	}
	return found;
}
