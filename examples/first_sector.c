/*
 * Read the first sector of a disk, as a boot loader would: no libc, no allocation, no interrupts.
 *
 * read_first_sector() is all of it, and freestanding.  It needs a port (the way to the device: here function calls, in a boot
 * loader the registers of a bus) and a platform (which address does the device use for this memory? what time is it?).
 *
 *   cc -std=gnu11 -I. -ffreestanding -c examples/first_sector.c       what firmware would link with libvio-core.a
 *   cc -std=gnu11 -I. examples/first_sector.c build/libvio.a -lpthread -luring -lseccomp
 *
 * Built the second way it gets a main(), which puts a disk in memory behind a block device, and lets the function read it.
 */
#include <vio/driver/blk.h>

enum { QUEUE = 8 };

/* What the device reads and writes.  Static memory will do; its size is known. */
static struct {
	_Alignas(16) unsigned char ring[VIO_DRVQ_RING_BYTES(QUEUE)];
	struct vio_blk_request request;
} shared;
static struct vio_drvq_slot slots[QUEUE];	/* the driver's own record: the device never sees it */
static struct vio_blk disk;

/* NULL, or why not. */
static const char *read_first_sector(struct vio_drv_port *port, void *sector)
{
	struct vio_blk_setup setup = {
		.queues = 1, .queue_size = QUEUE, .memory[0] = { .ring = shared.ring, .slots = slots },
	};

	if (!vio_blk_start(&disk, port, &setup))
		return disk.drv.failed;
	shared.request = (struct vio_blk_request){ .type = VIO_BLK_T_IN, .sector = 0, .data = sector, .len = VIO_BLK_SECTOR };
	uint8_t status = vio_blk_do(&disk, &shared.request);
	vio_blk_stop(&disk);	/* the device forgets our memory: it can be used for something else */
	if (status == VIO_BLK_S_OK)
		return NULL;
	return disk.drv.failed ? disk.drv.failed : "the device could not read its first sector";
}

#if __STDC_HOSTED__
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <vio/device/blk.h>
#include <vio/host/disk.h>
#include <vio/transport/loop.h>

/* ---- The platform: one address space, so an address is an address ---- */

static unsigned map(void *arg, const void *p, uint32_t len, enum vio_dir dir, struct vio_buf *out, unsigned max)
{
	(void)arg, (void)dir, (void)max;
	out[0] = (struct vio_buf){ (uintptr_t)p, len };
	return 1;
}

static void unmap(void *arg, const void *p, uint32_t len, enum vio_dir dir, const struct vio_buf *bufs, unsigned n)
{
	(void)arg, (void)p, (void)len, (void)dir, (void)bufs, (void)n;
}

static uint64_t now_ns(void *arg)
{
	struct timespec t;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static const struct vio_platform_ops platform = { .map = map, .unmap = unmap, .now_ns = now_ns };

/* ---- The device's side: a disk in memory, a block device, a wire ---- */

static void *alloc(size_t bytes) { return calloc(1, bytes); }
static void release(void *p, size_t bytes) { (void)bytes; free(p); }

int main(void)
{
	static unsigned char image[1 << 20], sector[VIO_BLK_SECTOR];
	strcpy((char *)image, "Hello from sector 0");

	struct vio_disk *ram = vio_disk_ram_open(sizeof image, image, (struct vio_disk_place){ NULL, 0 });
	struct vio_blk_options options = { .disk = ram, .queues = 1 };
	struct vio_loop_wire wire = { .alloc = alloc, .free = release };
	struct vio_dev *device = calloc(1, vio_dev_blk.instance);

	/* What the device may touch: our static memory and nothing else. */
	struct vio_region regions[] = {
		{ .gpa = (uintptr_t)&shared, .size = sizeof shared, .host = (void *)&shared, .perm = VIO_MEM_RW },
		{ .gpa = (uintptr_t)sector, .size = sizeof sector, .host = sector, .perm = VIO_MEM_RW },
	};
	if (regions[0].gpa > regions[1].gpa) {
		struct vio_region first = regions[1];
		regions[1] = regions[0];
		regions[0] = first;
	}
	struct vio_mem memory = { .region = regions, .count = 2, .refs = 1 };

	if (!ram || !device)
		return 1;
	const char *why = vio_dev_open(device, &vio_dev_blk, &options, &vio_loop_port, &wire, vio_loop_features());
	if (!why) {
		vio_loop_connect(&wire, device, (struct vio_platform){ &platform, NULL });
		vio_dev_set_mem(device, &memory);
		why = read_first_sector(&wire.port, sector);
		vio_dev_close(device);
	}
	puts(why ? why : (char *)sector);
	free(device);
	vio_disk_close(ram);
	return why != NULL;
}
#else
const char *(*const boot)(struct vio_drv_port *port, void *sector) = read_first_sector;
#endif
