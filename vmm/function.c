/* A virtio device as a PCI function of the machine. */
#include <stdlib.h>
#include <vmm/arch.h>
#include <vmm/kvm.h>

struct function {
	struct vmm_device d;
	struct vio_pci_dev p;
	struct vio_pci_vector *vector;
	struct vmm_msi *msi;
	unsigned vectors;
	struct vmm_range bar;		/* BAR 0 */
	uint64_t first_base;		/* where it is put at the beginning */
	bool *wired;			/* of a remote device, by queue: is its call the message of queue_vector[] now? */
	uint16_t *wired_to;		/* and which vector's it is */
	uint64_t hooked;		/* where BAR 0 was when notifications were hooked; 0: they are not */
};
#define SELF(d) ((struct function *)(d))

/* ---- The wire's owner ---- */

static void msix(void *arg, unsigned vector)
{
	vmm_msi_send(&SELF(arg)->msi[vector]);
}

static void intx(void *arg, bool level)
{
	struct function *f = arg;
	vmm_line(f->d.m, vmm_arch_intx_line(f->d.slot), f->d.slot, level);
}

static void vector_changed(void *arg, unsigned i)
{
	struct function *f = arg;
	const struct vio_pci_vector *v = &f->vector[i];

	if (!v->masked && v->address)
		vmm_msi_set(&f->msi[i], v->address, v->data);
}

/*
 * A remote device's calls go to the guest without passing here as long as nothing masks them; otherwise the loop watches them, and
 * they are pending as the specification has it.
 */
static void rewire_queue(struct function *f, unsigned queue, bool off)
{
	uint16_t vector = f->p.queue_vector[queue];
	bool on = !off && vector < f->vectors && vio_pci_vector_open(&f->p, vector) && f->msi[vector].fd >= 0;
	int call = vio_remote_call_fd(f->d.remote, queue);

	if (f->wired[queue] == on && (!on || f->wired_to[queue] == vector))
		return;
	if (f->wired[queue])
		vmm_msi_also(&f->msi[f->wired_to[queue]], call, false);
	f->wired[queue] = on;
	f->wired_to[queue] = vector;
	vio_remote_watch_call(f->d.remote, queue, !on);
	if (on)
		vmm_msi_also(&f->msi[vector], call, true);
}

static void rewire(struct function *f, bool off)
{
	for (unsigned i = 0; f->d.remote && i < f->d.dev->queues; i++)
		rewire_queue(f, i, off);
}

static void hook(struct function *f, bool on)
{
	if (!f->hooked)
		return;
	for (unsigned i = 0; i < vio_dev_queues(f->d.dev); i++)
		vmm_device_hook(&f->d, i, f->hooked + vio_pci_notify_at(&f->p, i), 2, -1, on);
	if (!on)
		f->hooked = 0;
}

static void moved(void *arg)
{
	struct function *f = arg;
	struct vmm_bus *bus = &f->d.m->addresses;
	uint64_t base, bytes;
	bool there = vio_pci_bar(&f->p, 0, &base, &bytes);

	if (f->bar.on && there && f->bar.base == base)
		return;
	if (f->bar.on) {
		hook(f, false);
		vmm_bus_remove(bus, &f->bar);
	}
	if (!there || base + bytes < base)
		return;
	f->bar.base = base;
	f->bar.bytes = bytes;
	vmm_bus_add(bus, &f->bar);
	f->hooked = base;
	hook(f, true);
}

static const struct vio_pci_ops ops = {
	.owner = VMM_OWNER, .msix = msix, .intx = intx, .moved = moved, .vector = vector_changed
};

/* ---- Accesses: calls into the device's loop ---- */

struct access { struct function *f; uint64_t at, value; unsigned width; };

static void bar_read_here(void *arg) { struct access *a = arg; a->value = vio_pci_read(&a->f->p, a->at, a->width); }
static void bar_write_here(void *arg)
{
	struct access *a = arg;

	vio_pci_write(&a->f->p, a->at, a->width, a->value);
	rewire(a->f, false);
}
static void config_read_here(void *arg) { struct access *a = arg; a->value = vio_pci_config_read(&a->f->p, (uint32_t)a->at, a->width); }
static void config_write_here(void *arg)
{
	struct access *a = arg;
	vio_pci_config_write(&a->f->p, (uint32_t)a->at, a->width, (uint32_t)a->value);
	rewire(a->f, false);
}

static uint64_t ask(struct function *f, void (*fn)(void *), uint64_t at, unsigned width, uint64_t value)
{
	struct access a = { f, at, value, width };
	vio_loop_ask(f->d.loop, fn, &a);
	return a.value;
}

static uint64_t bar_read(void *arg, uint64_t at, unsigned width) { return ask(arg, bar_read_here, at, width, 0); }
static void bar_write(void *arg, uint64_t at, unsigned width, uint64_t v) { ask(arg, bar_write_here, at, width, v); }
static uint32_t config_read(void *arg, uint32_t at, unsigned width) { return (uint32_t)ask(arg, config_read_here, at, width, 0); }
static void config_write(void *arg, uint32_t at, unsigned width, uint32_t v) { ask(arg, config_write_here, at, width, v); }

static const struct vmm_range_ops bar_ops = { bar_read, bar_write };

/* ---- The device's wire ---- */

static bool turn(struct vmm_device *d, unsigned queue) { return vio_pci_turn(&SELF(d)->p, queue); }

static void place_bars(struct function *f);

static void reset(struct vmm_device *d)
{
	struct function *f = SELF(d);

	rewire(f, true);
	/* The function level reset, which is what a conventional one does to a function. */
	vio_pci_config_write(&f->p, f->p.express_at + 8u, 2, 0x8000);
	place_bars(f);
}

static void detach(struct vmm_device *d)
{
	struct function *f = SELF(d);

	rewire(f, true);
	vio_pci_config_write(&f->p, VIO_PCI_COMMAND, 2, 0);
	moved(f);
	intx(f, false);
	for (unsigned i = 0; i < f->vectors; i++)
		vmm_msi_free(&f->msi[i]);
	free(f->vector);
	free(f->msi);
	free(f->wired);
	free(f->wired_to);
}

static size_t save(struct vmm_device *d, void *to, size_t room) { return vio_pci_save(&SELF(d)->p, to, room); }

static const char *load(struct vmm_device *d, const void *from, size_t n)
{
	const char *why = vio_pci_load(&SELF(d)->p, from, n);

	if (!why)
		rewire(SELF(d), false);
	return why;
}

const struct vmm_wire_ops vmm_function_ops = { .features = vio_pci_features, .port = &vio_pci_port, .turn = turn, .reset = reset,
	.detach = detach, .save = save, .load = load };

/* ---- Life ---- */

/* As firmware would: so that a guest without a PCI allocator finds them in place. */
static void place_bars(struct function *f)
{
	vio_pci_config_write(&f->p, VIO_PCI_BAR0, 4, (uint32_t)f->first_base);
	vio_pci_config_write(&f->p, VIO_PCI_BAR0 + 4, 4, (uint32_t)(f->first_base >> 32));
}

struct vmm_device *vmm_function_new(struct vmm *m, const struct vmm_attach *a, char *why)
{
	struct function *f = calloc(1, sizeof *f);
	unsigned vectors = vio_dev_queues(a->dev) + 1u;

	if (m->booted && !vmm_arch_map(m)->plug) {
		vio_refuse(why, "this architecture's machine knows no hot plug: add %s when the machine starts", a->name);
		goto out;
	}
	if (!f || !(f->vector = calloc(vectors, sizeof *f->vector)) || !(f->msi = calloc(vectors, sizeof *f->msi)) ||
	    !(f->wired = calloc(vectors, sizeof *f->wired)) || !(f->wired_to = calloc(vectors, sizeof *f->wired_to))) {
		vio_refuse(why, "there is no memory for another device");
		goto out;
	}
	for (unsigned i = 0; i < vectors; i++)
		vmm_msi_init(m, &f->msi[i]);
	f->vectors = vectors;
	const char *refused = vio_pci_dev_init(&f->p, a->dev, a->dev->type, &ops, f,
	    &(struct vio_pci_options){ .vector = f->vector, .vectors = (uint16_t)vectors, .notify_multiplier = 4, .express = true });
	if (refused) {
		vio_refuse(why, "%s can't be a PCI function: %s", a->name, refused);
		goto out;
	}
	struct vmm_function config = { config_read, config_write, f };
	f->d.m = m;
	f->d.wire = &vmm_function_ops;
	f->d.slot = vmm_pci_add(m, a->slot, &config);
	if (!f->d.slot) {
		vio_refuse(why, "there is no free PCI slot for %s: 31 devices are the most", a->name);
		goto out;
	}
	for (unsigned i = 0; i < vectors; i++)
		f->msi[i].requester = f->d.slot << 3;
	f->first_base = vmm_pci_place(m, f->d.slot);
	f->bar = (struct vmm_range){ .ops = &bar_ops, .arg = f };
	place_bars(f);			/* before there is anybody to see it */
	vmm_device_prepare(&f->d, m, a, &f->p);
	return &f->d;
out:
	if (f) {
		if (f->d.slot)
			vmm_pci_remove(m, f->d.slot);
		free(f->vector);
		free(f->msi);
		free(f->wired);
		free(f->wired_to);
	}
	free(f);
	return NULL;
}
