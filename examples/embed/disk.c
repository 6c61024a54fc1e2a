/*
 * A disk for somebody's emulator: virtio-blk behind a page of MMIO registers, over bytes in memory.
 *
 * This file is all that stands between the emulator and vio.  It links with libvio-core.a and needs no libc beyond memcpy,
 * memmove, memset, memcmp.  The emulator does three things (emulator.c): it hands over accesses to the page, it looks at the
 * interrupt line, and it tells where the guest's memory is.
 */
#include "disk.h"
#include <vio/device/blk.h>
#include <vio/transport/mmio.h>

/* ---- The disk: 512 KiB that are done at once ---- */

static unsigned char bytes[512 << 10];

static void submit(struct vio_disk_chan *c, struct vio_disk_io *io)
{
	int error = 0;

	(void)c;
	if (io->op == VIO_DISK_READ)
		vio_cur_put(&io->bytes, bytes + io->offset, io->length);
	else if (io->op == VIO_DISK_WRITE)
		vio_cur_get(&io->bytes, bytes + io->offset, io->length);
	else if (io->op != VIO_DISK_FLUSH)
		error = 95;	/* not offered, so not asked for */
	io->done(io, error);
}

static void cancel(struct vio_disk_chan *c, struct vio_disk_io *io) { (void)c, (void)io; }
static void chan_close(struct vio_disk_chan *c) { (void)c; }
static const struct vio_disk_chan_ops chan_ops = { .submit = submit, .cancel = cancel, .close = chan_close };
static struct vio_disk_chan chan = { &chan_ops };
static struct vio_disk_chan *channel(struct vio_disk *d, unsigned queue) { (void)d, (void)queue; return &chan; }
static void disk_close(struct vio_disk *d) { (void)d; }
static const struct vio_disk_ops disk_ops = { .channel = channel, .close = disk_close };
static struct vio_disk disk = { .ops = &disk_ops, .size = sizeof bytes, .logical_block = 512 };

/* ---- The device ---- */

static struct { _Alignas(16) unsigned char bytes[1 << 20]; size_t used; } pool;	/* what queues are made of */
static _Alignas(16) unsigned char instance[64 << 10];
static struct vio_mmio_dev mmio;
static struct vio_region ram;
static struct vio_mem memory = { .region = &ram, .count = 1, .refs = 1 };
static bool line;

static void wake(void *arg, unsigned queue) { while (vio_mmio_turn(arg, queue)) ; }
static void interrupt(void *arg, bool level) { (void)arg; line = level; }

static void *alloc(void *arg, size_t n)
{
	(void)arg;
	n = (n + 15) & ~(size_t)15;
	if (n > sizeof pool.bytes - pool.used)
		return NULL;
	pool.used += n;
	return pool.bytes + pool.used - n;
}

static void release(void *arg, void *p, size_t n)	/* one queue, so the last one taken is the first given back */
{
	(void)arg;
	n = (n + 15) & ~(size_t)15;
	for (size_t i = 0; i < n; i++)
		((unsigned char *)p)[i] = 0;
	pool.used -= n;
}

static const struct vio_mmio_ops ops = { { .wake = wake, .alloc = alloc, .free = release }, .interrupt = interrupt };

const char *disk_start(void *guest_ram, uint64_t at, uint64_t size)
{
	struct vio_dev *dev = (struct vio_dev *)(void *)instance;

	if (vio_dev_blk.instance > sizeof instance)
		return "the instance of the block device has outgrown its place";
	ram = (struct vio_region){ .gpa = at, .size = size, .host = guest_ram, .perm = VIO_MEM_RW };
	vio_mmio_dev_init(&mmio, dev, &ops, &mmio);
	const char *why = vio_dev_open(dev, &vio_dev_blk, &(struct vio_blk_options){ .disk = &disk, .queues = 1 }, &vio_mmio_port,
	    &mmio, vio_mmio_features());
	if (!why)
		vio_dev_set_mem(dev, &memory);
	return why;
}

uint64_t disk_read(uint64_t at, unsigned width) { uint64_t v; vio_mmio_read(&mmio, at, width, &v); return v; }
void disk_write(uint64_t at, unsigned width, uint64_t value) { vio_mmio_write(&mmio, at, width, value); }
bool disk_line(void) { return line; }
