/* A virtio device as a page of MMIO registers of the machine, with an interrupt line of its own. */
#include <stdlib.h>
#include <vmm/arch.h>
#include <vmm/kvm.h>

struct page {
	struct vmm_device d;
	struct vio_mmio_dev p;
	struct vmm_range range;
	struct access *waiting;		/* writes that are not complete */
};
struct access {
	struct page *p;
	uint64_t at, value;
	unsigned width;
	struct vio_call call;
	sem_t done;
	struct access *next;
};
#define SELF(d) ((struct page *)(d))

static bool level_now(void *arg)
{
	struct page *p = arg;
	return vio_mmio_interrupt_read(&p->p) != 0;
}

/* Raised by the loop, lowered by the vCPU that acknowledges: what was meant may be over when it is done. */
static void interrupt(void *arg, bool level)
{
	struct page *p = arg;

	(void)level;
	vmm_line_as(p->d.m, vmm_arch_mmio_line(p->d.slot - 1), p->d.slot, level_now, p);
}

static void settled(void *arg)
{
	struct page *p = arg;
	struct access *a = p->waiting;

	p->waiting = NULL;
	while (a) {
		struct access *next = a->next;
		sem_post(&a->done);	/* a is gone */
		a = next;
	}
}

/* ---- Accesses: calls into the device's loop, but for the interrupt's, which any thread may do ---- */

static void read_here(void *arg)
{
	struct access *a = arg;
	vio_mmio_read(&a->p->p, a->at, a->width, &a->value);
	sem_post(&a->done);
}

static void write_here(void *arg)
{
	struct access *a = arg;

	if (vio_mmio_write(&a->p->p, a->at, a->width, a->value)) {
		sem_post(&a->done);
		return;
	}
	a->next = a->p->waiting;	/* the vCPU waits until it is settled */
	a->p->waiting = a;
}

static uint64_t ask(struct page *p, void (*fn)(void *), uint64_t at, unsigned width, uint64_t value)
{
	struct access a = { .p = p, .at = at, .width = width, .value = value, .call = { .fn = fn, .arg = &a } };

	sem_init(&a.done, 0, 0);
	vio_loop_call(p->d.loop, &a.call);
	while (sem_wait(&a.done) < 0)
		continue;
	sem_destroy(&a.done);
	return a.value;
}

static uint64_t range_read(void *arg, uint64_t at, unsigned width)
{
	struct page *p = arg;

	if (at == VIO_MMIO_INTERRUPT_STATUS && width == 4)
		return vio_mmio_interrupt_read(&p->p);
	return ask(p, read_here, at, width, 0);
}

static void range_write(void *arg, uint64_t at, unsigned width, uint64_t value)
{
	struct page *p = arg;

	if (at == VIO_MMIO_INTERRUPT_ACK && width == 4)
		vio_mmio_interrupt_ack(&p->p, (uint32_t)value);
	else
		ask(p, write_here, at, width, value);
}

static const struct vmm_range_ops range_ops = { range_read, range_write };

/* ---- The device's wire ---- */

static bool turn(struct vmm_device *d, unsigned queue) { return vio_mmio_turn(&SELF(d)->p, queue); }

static void reset(struct vmm_device *d)
{
	vio_mmio_write(&SELF(d)->p, VIO_MMIO_STATUS, 4, 0);
}

static void hook(struct page *p, bool on)
{
	for (unsigned i = 0; i < p->d.dev->queues; i++)
		vmm_device_hook(&p->d, i, p->range.base + VIO_MMIO_QUEUE_NOTIFY, 4, i, on);
}

static void detach(struct vmm_device *d)
{
	struct page *p = SELF(d);

	hook(p, false);
	vmm_bus_remove(&d->m->addresses, &p->range);
	vmm_line(d->m, vmm_arch_mmio_line(d->slot - 1), d->slot, false);
}

static size_t save(struct vmm_device *d, void *to, size_t room) { return vio_mmio_save(&SELF(d)->p, to, room); }
static const char *load(struct vmm_device *d, const void *from, size_t n) { return vio_mmio_load(&SELF(d)->p, from, n); }

const struct vmm_wire_ops vmm_page_ops = { .features = vio_mmio_features, .port = &vio_mmio_port, .turn = turn, .reset = reset,
	.detach = detach, .save = save, .load = load };

static const struct vio_mmio_ops ops = { .owner = VMM_OWNER, .interrupt = interrupt, .settled = settled };

static unsigned free_slot(const struct vmm *m)
{
	for (unsigned slot = 1; slot <= vmm_arch_map(m)->mmio_slots; slot++) {
		const struct vmm_device *d = m->devices;
		while (d && d->slot != slot)
			d = d->next;
		if (!d)
			return slot;
	}
	return 0;
}

/* Slot n is the n-th page: slots are counted from 1, as those of PCI are. */
struct vmm_device *vmm_page_new(struct vmm *m, const struct vmm_attach *a, char *why)
{
	const struct vmm_map *map = vmm_arch_map(m);
	unsigned slot = a->slot ? a->slot : free_slot(m);

	if (m->booted) {
		vio_refuse(why, "virtio-mmio knows no hot plug: add %s when the machine starts, or take --transport=pci", a->name);
		return NULL;
	}
	if (!slot || slot > map->mmio_slots) {
		vio_refuse(why, "there is no room for %s: %u devices are the most with --transport=mmio", a->name, map->mmio_slots);
		return NULL;
	}
	struct page *p = calloc(1, sizeof *p);
	if (!p) {
		vio_refuse(why, "there is no memory for another device");
		return NULL;
	}
	p->d.wire = &vmm_page_ops;
	p->d.slot = slot;
	vio_mmio_dev_init(&p->p, a->dev, &ops, p);
	p->range = (struct vmm_range){ .base = map->mmio + (slot - 1) * map->mmio_stride, .bytes = map->mmio_stride, .ops = &range_ops, .arg = p };
	vmm_device_prepare(&p->d, m, a, &p->p);
	vmm_bus_add(&m->addresses, &p->range);
	hook(p, true);
	return &p->d;
}
