/*
 * Somebody's emulator.  It has no processor to speak of: the guest is a function that can do nothing but load and store, which is
 * enough for a driver.  See disk.c for what the emulator had to do to get a disk.
 *
 *   make && cc -std=gnu11 -I. examples/embed/emulator.c examples/embed/disk.c build/libvio-core.a
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <vio/driver/blk.h>
#include <vio/transport/mmio.h>
#include "disk.h"

enum { RAM_AT = 0x80000000u, DISK_AT = 0x10001000u, QUEUE = 16 };
static _Alignas(4096) unsigned char ram[1 << 20];

/* ---- The bus ---- */

static uint32_t load(uint64_t at, unsigned width) { return at - DISK_AT < 4096 ? (uint32_t)disk_read(at - DISK_AT, width) : 0; }
static void store(uint64_t at, unsigned width, uint32_t v)
{
	if (at - DISK_AT < 4096)
		disk_write(at - DISK_AT, width, v);
}

/* ---- The guest: a driver, and what it asks of the world ---- */

static uint32_t guest_read(void *arg, uint32_t at, unsigned width) { (void)arg; return load(DISK_AT + at, width); }
static void guest_write(void *arg, uint32_t at, unsigned width, uint32_t v) { (void)arg; store(DISK_AT + at, width, v); }
static const struct vio_mmio_access registers = { guest_read, guest_write };

static unsigned map(void *arg, const void *p, uint32_t len, enum vio_dir dir, struct vio_buf *out, unsigned max)
{
	(void)arg, (void)dir, (void)max;
	out[0] = (struct vio_buf){ RAM_AT + (uint64_t)((const unsigned char *)p - ram), len };
	return 1;
}

static void unmap(void *arg, const void *p, uint32_t len, enum vio_dir dir, const struct vio_buf *b, unsigned n)
{
	(void)arg, (void)p, (void)len, (void)dir, (void)b, (void)n;
}

static uint64_t now_ns(void *arg)
{
	struct timespec t;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static const struct vio_platform_ops platform = { .map = map, .unmap = unmap, .now_ns = now_ns };

static const char *guest(void)
{
	struct memory {		/* in the guest's memory, where the device finds it */
		_Alignas(16) unsigned char ring[VIO_DRVQ_RING_BYTES(QUEUE)];
		struct vio_blk_request request;
		char text[VIO_BLK_SECTOR];
	} *m = (void *)ram;
	static struct vio_drvq_slot slots[QUEUE];
	static struct vio_mmio_drv wire;
	static struct vio_blk disk;
	const char *why;

	if (!vio_mmio_probe(&wire, &registers, NULL, (struct vio_platform){ &platform, NULL }, &why))
		return why ? why : "there is no device";
	if (!vio_blk_start(&disk, &wire.port, &(struct vio_blk_setup){ .queues = 1, .queue_size = QUEUE,
	    .memory[0] = { .ring = m->ring, .slots = slots } }))
		return disk.drv.failed;
	static const char message[] = "written by a guest through registers";
	for (unsigned round = 0; round < 2; round++) {
		m->request = (struct vio_blk_request){ .type = round ? VIO_BLK_T_IN : VIO_BLK_T_OUT, .sector = 7, .data = m->text,
			.len = VIO_BLK_SECTOR };
		strcpy(m->text, round ? "" : message);
		if (vio_blk_do(&disk, &m->request) != VIO_BLK_S_OK)
			return "the disk failed";
	}
	bool heard = disk_line() && vio_mmio_interrupt(&wire) == VIO_MMIO_INT_USED && !disk_line();
	vio_blk_stop(&disk);
	if (!heard)
		return "no interrupt came";
	return strcmp(m->text, message) ? "something else was read than was written" : NULL;
}

int main(void)
{
	const char *why = disk_start(ram, RAM_AT, sizeof ram);

	if (!why)
		why = guest();
	puts(why ? why : "read back what was written");
	return why != NULL;
}
