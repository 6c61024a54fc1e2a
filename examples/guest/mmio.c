/*
 * Devices at fixed addresses: mmio=BASE,STRIDE,COUNT says where to look, gsi=A,B,... (or gsi=A for A, A + 1, ...) which input of the
 * I/O APIC each has.  A kernel has this from a device tree or from ACPI.
 */
#include <vio/transport/mmio.h>
#include <vmm/x86/layout.h>
#include "guest.h"

struct slot { struct vio_mmio_drv drv; unsigned input; };

static bool interrupted(void *arg) { return vio_mmio_interrupt(arg) != 0; }

static bool on(struct wire *w)
{
	struct slot *s = w->self;

	if (guest_irq != IRQ_POLL)
		interrupt_line(s->input, interrupted, &s->drv);
	return true;
}

static void off(struct wire *w)
{
	struct slot *s = w->self;
	interrupt_line_off(s->input);
}

static unsigned input_of(unsigned slot)
{
	const char *text = word("gsi");
	uint64_t n = 0, first = 0;
	unsigned i;

	if (!text)
		return VMM_GSI_MMIO(slot % VMM_MMIO_SLOTS);
	for (i = 0; i <= slot && next_number(&text, &n); i++)
		if (i == 0)
			first = n;
	return (unsigned)(i == 1 ? first + slot : n);
}

unsigned mmio_find(struct wire *w, unsigned room)
{
	const char *where = word("mmio");
	uint64_t base = VMM_MMIO, stride = VMM_MMIO_STRIDE, count = VMM_MMIO_SLOTS;
	unsigned found = 0;

	if (where && !(next_number(&where, &base) && next_number(&where, &stride) && next_number(&where, &count)))
		return 0;
	guest_map_device(base);
	for (unsigned i = 0; i < count && found < room; i++) {
		struct slot *s = GUEST_NEW(struct slot);
		const char *why;
		if (!vio_mmio_probe(&s->drv, &vio_mmio_mapped, (void *)(base + i * stride), guest_platform, &why)) {
			if (why)
				say("# mmio %u: %s\n", i, why);
			continue;
		}
		s->input = input_of(i);
		*w = (struct wire){ &s->drv.port, s->drv.id, "mmio", i, on, off, s, base + i * stride, 0x200 };
		w++;
		found++;
	}
	return found;
}
