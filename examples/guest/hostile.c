/*
 * What no driver should do, done to every device: hostile=all, or some of
 *
 *   status      every value of the device status, in every order of two
 *   registers   every register, and where there is none, in every width, aligned and not, with values at the edges
 *   rings       queues that lie on registers, in holes, at the end of everything; and notifications of them
 *   buffers     a sound queue whose buffers lie there
 *   scribbles   rings and what they point to rewritten while the device is at work
 *   window      the window of the PCI config space, aimed anywhere
 *   config      every byte of the PCI config space
 *   messages    MSI-X: vectors that there are not, messages to anywhere, masked and unmasked while the device works
 *   bars        a function on top of memory, of another function, of the config space, of the interrupt controllers
 *   ports       I/O ports of the machine in all widths
 *   second      two processors at once: one moves functions about and writes anywhere, the other drives; not one of all
 *   reset       every queue of every device at work, and the machine is reset; after that nothing hostile; not one of all
 *   eject       functions let go of that nobody asked for, some of which are driven meanwhile; not one of all
 *
 * Nothing is expected but that the machine is still there, and that each device can be reset; and then all devices are driven as
 * ever (main.c).
 */
#include <vio/transport/pci.h>
#include <vmm/x86/layout.h>
#include "guest.h"

enum { SIZE = 8, ROOM = 4096 };

static const uint64_t edges[] = { 0, 1, 0x7f, 0xff, 0x1000, 0x7fff, 0xffff, 0x80000000, 0xffffffff, UINT64_MAX };
enum { EDGES = sizeof edges / sizeof *edges };

static uint64_t random(void)
{
	static uint64_t x = 88172645463325252;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

static void put(uint64_t at, unsigned width, uint64_t v)
{
	if (width == 8)
		*(volatile uint64_t *)at = v;
	else
		device_write(at, width, (uint32_t)v);
}

static void get(uint64_t at, unsigned width)
{
	if (width == 8)
		(void)*(volatile uint64_t *)at;
	else
		device_read(at, width);
}

static void reset(struct wire *w)
{
	struct vio_drv d = { .port = w->port };

	expect(vio_drv_reset(&d), "%s %u can be reset", w->kind, w->number);
}

/* Where no ring and no buffer should be. */
static unsigned wrong_places(struct wire *w, uint64_t *to)
{
	const uint64_t places[] = {
		w->at, w->at + 0x10, w->at + 0x40, w->at + 0x1000, VMM_ECAM, VMM_MMIO, VMM_IOAPIC, VMM_LAPIC, VMM_KVM_TSS,
		UINT64_C(0xffffffff000), UINT64_MAX - 15, UINT64_MAX & ~UINT64_C(4095), UINT64_C(1) << 52, UINT64_C(0xbffff000),
	};

	memcpy(to, places, sizeof places);
	return sizeof places / sizeof *places;
}

/* ---- Registers ---- */

static void hostile_status(struct wire *w)
{
	for (unsigned a = 0; a < 256; a++) {
		w->port->ops->set_status(w->port, (uint8_t)a);
		w->port->ops->set_status(w->port, (uint8_t)random());
		w->port->ops->status(w->port);
	}
	reset(w);
}

static void poke(uint64_t at)
{
	for (unsigned width = 1; width <= 8; width *= 2) {
		get(at, width);
		put(at, width, edges[random() % EDGES]);
		put(at, width, edges[random() % EDGES]);
	}
}

static void hostile_registers(struct wire *w)
{
	struct vio_pci_drv *p = pci_of(w);

	for (uint64_t i = 0; i < (p ? 0x48 : 0x140); i++)
		poke(w->at + (p ? p->common.at : 0) + i);
	if (p) {
		for (uint64_t i = 0; i < 24; i++) {
			poke(w->at + p->isr.at + i);
			poke(w->at + p->notify.at + i);
		}
		for (uint64_t i = 0; i < 0x48 && p->device.there; i++)
			poke(w->at + p->device.at + i);
	}
	for (unsigned i = 0; i < 500; i++)
		poke(w->at + random() % w->bytes);
	reset(w);
}

/* ---- Rings and buffers ---- */

/* A queue of the device: ring lies in memory and the device is told that it is at addr.  False: the device did not take it. */
static bool start_queue(struct wire *w, struct vio_drv *d, struct vio_drvq *q, uint16_t queue, void *ring, uint64_t addr)
{
	static struct vio_drvq_slot slots[SIZE];
	struct vio_features f = { { UINT64_C(1) << VIO_F_VERSION_1 | (uint64_t)(random() & 1) << VIO_F_RING_PACKED, 0 } };

	memset(ring, 0, ROOM);
	if (!vio_drv_begin(d, w->port, w->id, f, NULL))
		return false;
	struct vio_drvq_setup s = { .size = SIZE, .features = d->features, .ring = ring, .ring_addr = addr, .slots = slots };
	vio_drvq_init(q, &s);
	return vio_drv_queue(d, queue, q) && vio_drv_ready(d);
}

/* The device may answer, say that it needs a reset, or do nothing. */
static void wait_a_little(struct vio_drv *d, struct vio_drvq *q)
{
	uint64_t deadline = clock_ns() + 2000000;
	uint32_t len;

	while (clock_ns() < deadline && !vio_drvq_get(q, &len) && !(d->port->ops->status(d->port) & VIO_S_NEEDS_RESET))
		;
}

static void hostile_queue(struct wire *w, unsigned queue, uint64_t ring_addr, uint64_t buffer, void *ring)
{
	struct vio_drv d;
	struct vio_drvq q;
	struct vio_buf bufs[] = { { buffer, 16 }, { buffer + 16, 512 }, { buffer, 1 } };

	if (start_queue(w, &d, &q, (uint16_t)queue, ring, ring_addr ? ring_addr : (uintptr_t)ring)) {
		vio_drvq_add(&q, bufs, 1, 2, ring);
		vio_drvq_add(&q, bufs, 3, 0, ring);
		vio_drvq_add(&q, bufs, 0, 1, ring);
		vio_drv_kick(&d, (uint16_t)queue, &q);
		wait_a_little(&d, &q);
	}
	if (!vio_drv_reset(&d))
		expect(false, "%s %u is reset with queue %u at %llx, buffers at %llx", w->kind, w->number, queue,
		    (unsigned long long)ring_addr, (unsigned long long)buffer);
}

static void hostile_memory(struct wire *w, bool rings)
{
	uint64_t place[20];
	unsigned n = wrong_places(w, place);
	void *ring = guest_alloc(ROOM, ROOM);

	for (unsigned i = 0; i < n; i++)
		for (unsigned queue = 0; queue < 3; queue++)
			hostile_queue(w, queue, rings ? place[i] : 0, rings ? (uintptr_t)ring + 2048 : place[i], ring);
	reset(w);
}

static void hostile_rings(struct wire *w) { hostile_memory(w, true); }
static void hostile_buffers(struct wire *w) { hostile_memory(w, false); }

/* The device works in a thread of its own, so that all this happens while it reads. */
static void scribble(struct wire *w, unsigned queue, void *ring)
{
	struct vio_drv d;
	struct vio_drvq q;
	unsigned char *room = (unsigned char *)ring + 2048;	/* behind the ring */
	struct vio_buf bufs[] = { { (uintptr_t)room, 64 }, { (uintptr_t)room + 64, 512 }, { (uintptr_t)room + 1024, 1 } };

	if (start_queue(w, &d, &q, (uint16_t)queue, ring, (uintptr_t)ring)) {
		for (unsigned i = 0; i < 4; i++)
			vio_drvq_add(&q, bufs, i % 3, 3 - i % 3, ring);
		vio_drv_kick(&d, (uint16_t)queue, &q);
		for (unsigned i = 0; i < 400; i++) {
			uint64_t at = random() % (VIO_DRVQ_RING_BYTES(SIZE) / 8 + 16);
			bool in_ring = at < VIO_DRVQ_RING_BYTES(SIZE) / 8;
			volatile uint64_t *word = in_ring ? (uint64_t *)ring + at : (uint64_t *)(void *)room + at % 16;
			/* A descriptor's address: anywhere, or here; not to where the guest's own code might be. */
			if (in_ring && at < 2 * SIZE && at % 2 == 0)
				*word = i % 2 ? random() : (uintptr_t)room + random() % 1024;
			else
				*word = i % 2 ? random() : *word ^ UINT64_C(1) << random() % 64;
			if (i % 32 == 0)
				w->port->ops->kick(w->port, (uint16_t)queue, (uint32_t)random());
		}
		wait_a_little(&d, &q);
	}
	if (!vio_drv_reset(&d))
		expect(false, "%s %u is reset with scribbled queue %u", w->kind, w->number, queue);
}

static void hostile_scribbles(struct wire *w)
{
	void *ring = guest_alloc(ROOM, ROOM);

	for (unsigned i = 0; i < 24; i++)
		scribble(w, i % 4, ring);
	reset(w);
}

/* ---- PCI ---- */

static uint32_t config_get(struct vio_pci_drv *p, unsigned at, unsigned width) { return p->access->config_read(p->arg, at, width); }
static void config_put(struct vio_pci_drv *p, unsigned at, unsigned width, uint64_t v)
{
	p->access->config_write(p->arg, at, width, (uint32_t)v);
}

static void hostile_window(struct wire *w)
{
	static const uint8_t bars[] = { 0, 1, 2, 3, 4, 5, 6, 7, 255 }, lengths[] = { 0, 1, 2, 3, 4, 5, 8, 255 };
	struct vio_pci_drv *p = pci_of(w);

	if (!p || !p->window)
		return;
	for (unsigned b = 0; b < sizeof bars; b++)
		for (unsigned l = 0; l < sizeof lengths; l++) {
			config_put(p, p->window + 4u, 1, bars[b]);
			config_put(p, p->window + 8u, 4, edges[random() % EDGES] + random() % 5);
			config_put(p, p->window + 12u, 4, lengths[l]);
			for (unsigned width = 1; width <= 4; width *= 2) {
				config_get(p, p->window + 16u, width);
				config_put(p, p->window + 16u, width, random());
			}
		}
	reset(w);
}

/* What a firmware has set up is kept: command, BARs, interrupt line; and that the function is on. */
struct kept { uint32_t bar[VIO_PCI_BARS], command, line, messages; unsigned power; };
static void keep(struct vio_pci_drv *p, struct kept *k)
{
	for (unsigned i = 0; i < VIO_PCI_BARS; i++)
		k->bar[i] = config_get(p, VIO_PCI_BAR0 + 4 * i, 4);
	k->command = config_get(p, VIO_PCI_COMMAND, 2);
	k->line = config_get(p, VIO_PCI_INTERRUPT_LINE, 1);
	k->power = 0;
	for (unsigned at = config_get(p, VIO_PCI_CAPABILITIES, 1), i = 0; at && i < 48; at = config_get(p, at + 1, 1), i++)
		if (config_get(p, at, 1) == VIO_PCI_CAP_PM)
			k->power = at + (unsigned)offsetof(struct vio_pci_pm_cap, control);
	k->messages = p->msix ? config_get(p, p->msix + 2u, 2) : 0;
}

static void restore(struct vio_pci_drv *p, const struct kept *k)
{
	config_put(p, VIO_PCI_COMMAND, 2, 0);
	if (k->power)
		config_put(p, k->power, 2, 0);
	for (unsigned i = 0; i < VIO_PCI_BARS; i++)
		config_put(p, VIO_PCI_BAR0 + 4 * i, 4, k->bar[i]);
	config_put(p, VIO_PCI_INTERRUPT_LINE, 1, k->line);
	if (p->msix)
		config_put(p, p->msix + 2u, 2, k->messages);
	config_put(p, VIO_PCI_COMMAND, 2, k->command);
}

static void hostile_config(struct wire *w)
{
	struct vio_pci_drv *p = pci_of(w);
	struct kept k;

	if (!p)
		return;
	keep(p, &k);
	for (unsigned at = 0; at < VIO_PCI_CONFIG_BYTES; at++)
		for (unsigned width = 1; width <= 4; width *= 2) {
			config_get(p, at, width);
			config_put(p, at, width, edges[random() % EDGES]);
			config_put(p, at, width, random());
			if (at % 16 == 15)
				get(w->at, 4);
		}
	restore(p, &k);
	reset(w);
}

static void hostile_messages(struct wire *w)
{
	struct vio_pci_drv *p = pci_of(w);
	unsigned n = p ? vio_pci_vectors(p) : 0;
	struct kept k;

	if (!n)
		return;
	keep(p, &k);
	vio_pci_use_vectors(p, n);
	for (unsigned i = 0; i < 400; i++) {
		static const uint64_t to[] = { VMM_LAPIC, 0, 0x200000, VMM_MMIO, VMM_ECAM, UINT64_MAX, VMM_LAPIC | 0xff000,
			VMM_LAPIC | 0xc };
		unsigned vector = (unsigned)(random() % n);
		vio_pci_vector_set(p, vector, to[random() % 8], i % 3 ? VECTOR_MESSAGES : (uint32_t)random(), random() & 1);
		if (i % 8 == 0)
			config_put(p, p->msix + 2u, 2, (random() & 3) << 14);
		if (i % 16 == 0) {		/* config_msix_vector, queue_msix_vector */
			device_write(w->at + p->common.at + 16, 2, (uint32_t)random());
			device_write(w->at + p->common.at + 26, 2, (uint32_t)(random() % (2 * n)));
		}
	}
	uint32_t table = config_get(p, p->msix + 4u, 4) & ~7u, pending = config_get(p, p->msix + 8u, 4) & ~7u;
	for (unsigned i = 0; i < 32; i++) {
		poke(w->at + table + i);
		poke(w->at + pending + i);
		poke(w->at + table + 16 * n - 8 + i);
	}
	for (unsigned i = 0; i < n; i++)
		vio_pci_vector_set(p, i, interrupt_message_address(), VECTOR_MESSAGES, true);
	restore(p, &k);
	reset(w);
}

static void hostile_bars(struct wire *w)
{
	static const uint64_t places[] = { 0, 0x100000, 0x200000, VMM_PCI32 + (1 << 20), VMM_MMIO, VMM_ECAM, VMM_IOAPIC,
		VMM_LAPIC & ~UINT64_C(0xfffff), 0xfff00000, 0xfffff000 };
	struct vio_pci_drv *p = pci_of(w);
	struct kept k;

	if (!p)
		return;
	keep(p, &k);
	for (unsigned i = 0; i < 10 * VIO_PCI_BARS; i++) {
		unsigned bar = i % VIO_PCI_BARS;
		config_put(p, VIO_PCI_BAR0 + 4 * bar, 4, places[i / VIO_PCI_BARS]);
		config_put(p, VIO_PCI_COMMAND, 2, 7 & ~(random() & 1));
		if (places[i / VIO_PCI_BARS] >= VMM_PCI32)
			get(places[i / VIO_PCI_BARS], 4);
		get(w->at, 4);
		config_put(p, VIO_PCI_BAR0 + 4 * bar, 4, k.bar[bar]);
	}
	restore(p, &k);
	reset(w);
}

/* ---- Ports: all of the machine's but those that end it ---- */

static void hostile_ports(void)
{
	for (unsigned i = 0; i < 1000; i++) {
		uint16_t port = (uint16_t)(i % 2 ? VMM_PORT_PCI_ADDRESS + i / 2 % 8 : VMM_PORT_PLUG_UP + i / 2 % 8);
		in8(port);
		in16(port);
		in32(port);
		out8(port, (uint8_t)random());
		out16(port, (uint16_t)random());
		if (port < VMM_PORT_PCI_ADDRESS || port >= VMM_PORT_PCI_DATA)	/* else some function gets it */
			out32(port, (uint32_t)random());
		if (port == VMM_PORT_PCI_ADDRESS)
			out32(port, 0x7f000000);
	}
	for (uint16_t port = VMM_PORT_SERIAL + 1; port < VMM_PORT_SERIAL + 8; port++)
		for (unsigned i = 0; i < 256; i += 5) {
			out8(port, (uint8_t)(port == VMM_PORT_SERIAL + 4 ? i & ~0x10u : i));	/* not in a loop with itself */
			in8(port);
			in32(port);
		}
	out8(VMM_PORT_SERIAL + 3, 3);
	out8(VMM_PORT_SERIAL + 1, 0);
}

static void hostile_eject(struct wire *w, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct vio_drv d;
		bool began = vio_drv_begin(&d, w[i].port, w[i].id, (struct vio_features){ { 0, 0 } }, NULL);
		out32(VMM_PORT_PLUG_EJECT, i % 3 ? 1u << w[i].number : UINT32_MAX >> i % 7);
		for (unsigned k = 0; k < 300 && began; k++) {
			w[i].port->ops->set_status(w[i].port, (uint8_t)random());
			w[i].port->ops->kick(w[i].port, 0, 0);
			w[i].port->ops->queue_max(w[i].port, (uint16_t)k);
		}
	}
}

static struct { struct wire *wire; unsigned count; volatile bool stop, came, gone; } both;

static void two_do(unsigned i)
{
	struct wire *w = &both.wire[random() % both.count];
	struct vio_pci_drv *p = pci_of(w);
	uint64_t at = random() % w->bytes;

	switch (i % 8) {
	case 0: w->port->ops->set_status(w->port, (uint8_t)random()); break;
	case 1: w->port->ops->kick(w->port, (uint16_t)(random() % 4), 0); break;
	case 2: w->port->ops->queue_max(w->port, (uint16_t)random()); break;
	case 3:
		if (p)
			config_put(p, VIO_PCI_COMMAND, 2, 6 & ~(random() & 2));
		break;
	case 4:
		if (p)
			config_put(p, VIO_PCI_BAR0, 4, i & 8 ? w->at : both.wire[random() % both.count].at);
		break;
	case 5:
		if (p && vio_pci_vectors(p))
			vio_pci_vector_set(p, 0, interrupt_message_address(), VECTOR_MESSAGES, random() & 1);
		break;
	default: poke(w->at + (at & ~UINT64_C(7))); break;
	}
}

static void second_processor(void)
{
	both.came = true;
	for (unsigned i = 0; !both.stop; i++)
		two_do(i);
	both.gone = true;
}

static void hostile_second(struct wire *w, unsigned n)
{
	static struct kept kept[WIRES];
	uint64_t deadline = clock_ns() + 2 * VIO_DRV_PATIENCE_NS;

	both.wire = w;
	both.count = n;
	for (unsigned i = 0; i < n; i++)
		if (pci_of(&w[i]))
			keep(pci_of(&w[i]), &kept[i]);
	interrupt_second(second_processor);
	for (unsigned i = 0; i < 3000 && clock_ns() < deadline; i++)
		two_do(i);
	both.stop = true;
	while (!both.gone && clock_ns() < deadline + 2 * VIO_DRV_PATIENCE_NS)
		;
	expect(both.came && both.gone, "two processors were hostile at once");
	for (unsigned i = 0; i < n; i++) {
		if (pci_of(&w[i]))
			restore(pci_of(&w[i]), &kept[i]);
		reset(&w[i]);
	}
}

/* A machine's reset leaves memory as it is: a word below 640 KiB says that it has been. */
static void hostile_reset(struct wire *w, unsigned n)
{
	volatile uint64_t *been = (uint64_t *)0x80000;
	const uint64_t yes = UINT64_C(0x7b1e5e7a17c0ffee);

	if (*been == yes) {
		expect(true, "the machine was reset with its devices at work");
		*been = 0;
		return;
	}
	*been = yes;
	for (unsigned i = 0; i < n; i++) {
		unsigned char *ring = guest_alloc(ROOM, ROOM), *room = ring + 2048;
		struct vio_buf bufs[] = { { (uintptr_t)room, 16 }, { (uintptr_t)room + 16, 512 }, { (uintptr_t)room + 600, 1 } };
		struct vio_drvq q;
		struct vio_drv d;
		if (start_queue(w + i, &d, &q, 0, ring, (uintptr_t)ring)) {
			vio_drvq_add(&q, bufs, 1, 2, ring);
			vio_drvq_add(&q, bufs + 1, 0, 1, ring);
			vio_drv_kick(&d, 0, &q);
		}
	}
	out8(VMM_PORT_RESET, VMM_RESET_VALUE);
	for (;;)
		__asm__ volatile("hlt");
}

/* ---- ---- */

static const struct { const char *name; void (*to)(struct wire *w); } kinds[] = {
	{ "status", hostile_status }, { "registers", hostile_registers }, { "rings", hostile_rings }, { "buffers", hostile_buffers },
	{ "scribbles", hostile_scribbles },
	{ "window", hostile_window }, { "config", hostile_config }, { "messages", hostile_messages }, { "bars", hostile_bars },
};

void guest_hostile(struct wire *w, unsigned n)
{
	bool all = word_is("hostile", "all");

	expect_about("hostile");
	for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		if (!all && !word_lists("hostile", kinds[k].name))
			continue;
		say("# hostile %s\n", kinds[k].name);
		for (unsigned i = 0; i < n; i++) {
			size_t mark = guest_alloc_mark();
			kinds[k].to(&w[i]);
			guest_alloc_back(mark);
		}
		expect(true, "the machine is still there after %s", kinds[k].name);
	}
	if (all || word_lists("hostile", "ports")) {
		hostile_ports();
		expect(true, "the machine is still there after ports");
	}
	if (word_lists("hostile", "second"))
		hostile_second(w, n);
	if (word_lists("hostile", "reset"))
		hostile_reset(w, n);
	if (word_lists("hostile", "eject")) {
		hostile_eject(w, n);
		expect(true, "the machine is still there after eject");
	}
}
