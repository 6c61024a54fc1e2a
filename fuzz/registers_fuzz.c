/*
 * A hostile driver at the registers of MMIO and PCI: any access of any width anywhere, guest memory written meanwhile, a disk that is
 * late.  A reset always ends; after it the device can be driven.
 */
#include <vio/device/blk.h>
#include <vio/driver/blk.h>
#include <vio/host/disk.h>
#include <vio/transport/mmio.h>
#include <vio/transport/pci.h>
#include "feed.h"

enum { DISK = 4096, SIZE = 8, VECTORS = 3 };

struct machine {
	struct vio_dev *d;
	struct guest *g;
	struct vio_mmio_dev mmio;
	struct vio_pci_dev pci;
	struct vio_pci_vector vector[VECTORS];
	bool by_pci;
	uint64_t due;
};

static void wake(void *arg, unsigned queue) { ((struct machine *)arg)->due |= UINT64_C(1) << queue; }
static void *alloc(void *arg, size_t n) { (void)arg; return calloc(1, n); }
static void release(void *arg, void *p, size_t n) { (void)arg, (void)n; free(p); }
static void interrupt(void *arg, bool level) { (void)arg, (void)level; }
static void settled(void *arg) { (void)arg; }

static void msix(void *arg, unsigned vector)
{
	const struct machine *m = arg;

	if (vector >= VECTORS || m->vector[vector].masked || !(m->pci.msix_control & VIO_PCI_MSIX_ENABLE))
		abort();	/* a message that the driver has not allowed */
}

static const struct vio_mmio_ops mmio_ops = { { .wake = wake, .alloc = alloc, .free = release }, .interrupt = interrupt, .settled = settled };
static const struct vio_pci_ops pci_ops = { { .wake = wake, .alloc = alloc, .free = release }, .msix = msix, .intx = interrupt };

static void pump(struct machine *m)
{
	for (unsigned turns = 0; m->due && turns < 64; turns++) {
		unsigned queue = (unsigned)__builtin_ctzll(m->due);
		m->due &= m->due - 1;
		if (m->by_pci ? vio_pci_turn(&m->pci, queue) : vio_mmio_turn(&m->mmio, queue))
			wake(m, queue);
	}
}

/* An offset that is likely to be a register. */
static uint64_t offset(struct feed *f)
{
	static const uint32_t pages[] = { 0, 0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x100, 0 };
	uint8_t how = (uint8_t)take(f, 1);

	return how & 0x80 ? take(f, 8) : pages[how % 8] + take(f, 1);
}

static const char *open_device(struct machine *m, const struct vio_blk_options *o)
{
	if (!m->by_pci) {
		vio_mmio_dev_init(&m->mmio, m->d, &mmio_ops, m);
		return vio_dev_open(m->d, &vio_dev_blk, o, &vio_mmio_port, &m->mmio, vio_mmio_features());
	}
	if (vio_pci_dev_init(&m->pci, m->d, &vio_dev_blk, &pci_ops, m, &(struct vio_pci_options){ .vector = m->vector,
	    .vectors = VECTORS, .notify_multiplier = 4, .express = true }))
		abort();
	return vio_dev_open(m->d, &vio_dev_blk, o, &vio_pci_port, &m->pci, vio_pci_features());
}

static void put(struct machine *m, uint32_t mmio, uint32_t pci, unsigned pci_width, uint32_t v)
{
	if (m->by_pci)
		vio_pci_write(&m->pci, pci, pci_width, v);
	else
		vio_mmio_write(&m->mmio, mmio, 4, v);
}

/* As a driver should: features, one queue in the rings' memory, DRIVER_OK.  Chance would seldom get there. */
static void start(struct machine *m, struct feed *f)
{
	bool packed = take(f, 1) & 1;
	const uint32_t at[3] = { (uint32_t)FUZZ_RINGS, (uint32_t)FUZZ_RINGS + SIZE * 16, (uint32_t)FUZZ_RINGS + SIZE * 16 + 32 };

	if (m->by_pci)
		vio_pci_config_write(&m->pci, VIO_PCI_COMMAND, 2, VIO_PCI_COMMAND_MASTER | VIO_PCI_COMMAND_MEMORY);
	put(m, VIO_MMIO_STATUS, 20, 1, 0);
	pump(m);
	put(m, VIO_MMIO_STATUS, 20, 1, 3);
	put(m, VIO_MMIO_DRIVER_FEATURES_SEL, 8, 4, 1);
	put(m, VIO_MMIO_DRIVER_FEATURES, 12, 4, packed ? 5 : 1);
	put(m, VIO_MMIO_STATUS, 20, 1, 11);
	put(m, VIO_MMIO_QUEUE_SEL, 22, 2, take(f, 1) & 1);
	put(m, VIO_MMIO_QUEUE_SIZE, 24, 2, SIZE);
	for (uint32_t i = 0; i < 3; i++) {
		put(m, VIO_MMIO_QUEUE_DESC_LOW + 16 * i, 32 + 8 * i, 4, at[i]);
		put(m, VIO_MMIO_QUEUE_DESC_LOW + 16 * i + 4, 36 + 8 * i, 4, 0);
	}
	put(m, VIO_MMIO_QUEUE_READY, 28, 2, 1);
	put(m, VIO_MMIO_STATUS, 20, 1, 15);
}

static void step(struct machine *m, struct feed *f)
{
	uint8_t how = (uint8_t)take(f, 1);
	unsigned width = (unsigned[]){ 4, 4, 2, 1, 8, 3, 0, 4 }[how >> 4 & 7];
	uint64_t v;

	switch (how % 8) {
	case 0: case 1:
		if (m->by_pci)
			vio_pci_write(&m->pci, offset(f), width, take(f, how & 0x80 ? 8 : 1));
		else
			vio_mmio_write(&m->mmio, offset(f), width, take(f, how & 0x80 ? 8 : 1));
		break;
	case 2:
		if (m->by_pci)
			vio_pci_read(&m->pci, offset(f), width);
		else
			vio_mmio_read(&m->mmio, offset(f), width, &v);
		break;
	case 3:
		if (m->by_pci)
			vio_pci_config_write(&m->pci, (uint32_t)take(f, how & 0x80 ? 4 : 1), width, (uint32_t)take(f, 4));
		break;
	case 4:
		if (m->by_pci)
			vio_pci_config_read(&m->pci, (uint32_t)take(f, how & 0x80 ? 4 : 1), width);
		break;
	case 5: case 6: guest_poke(m->g, f, how & 0x80); break;
	default:
		if (how & 0x80)
			start(m, f);
		else
			pump(m);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct feed f = { data, data + n };
	struct machine *m = calloc(1, sizeof *m);
	unsigned char *bytes = calloc(1, DISK);
	struct vio_disk *disk = vio_disk_ram_open(DISK, bytes, (struct vio_disk_place){ NULL, 0 });
	struct vio_blk_options o = { .disk = disk, .queues = 2, .queue_size = SIZE };

	m->by_pci = take(&f, 1) & 1;
	m->g = guest_new(VIO_DRVQ_RING_BYTES(SIZE));
	m->d = calloc(1, vio_dev_blk.instance);
	if (open_device(m, &o))
		abort();
	vio_dev_set_mem(m->d, &m->g->mem);
	while (fed(&f))
		step(m, &f);
	if (m->by_pci) {
		vio_pci_config_write(&m->pci, VIO_PCI_COMMAND, 2, VIO_PCI_COMMAND_MASTER);
		vio_pci_write(&m->pci, 20, 1, 0);
	} else if (!vio_mmio_write(&m->mmio, VIO_MMIO_STATUS, 4, 0)) {
		abort();	/* a disk in memory is never late */
	}
	pump(m);
	if (vio_dev_status(m->d))
		abort();
	vio_dev_close(m->d);
	vio_disk_close(disk);
	guest_free(m->g);
	free(m->d);
	free(bytes);
	free(m);
	return 0;
}
