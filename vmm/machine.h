/*
 * A small KVM machine: memory, vCPUs, buses, and virtio devices that somebody else has opened.
 *
 *     m = vmm_new(&options, why);               memory and KVM; nothing runs
 *     vmm_attach(m, &attach, why);              each device, on PCI or MMIO
 *     vmm_boot(m, &kernel, why);  vmm_resume(m);
 *     ... the home loop runs; options.event tells of resets and of the end ...
 *     vmm_pause(m);  vmm_free(m);
 *
 * Threads: one a vCPU, one a device (the device's loop), and the home loop, where all functions here are called unless they
 * say otherwise.  A vCPU's access to a device is a call into the device's loop, which the vCPU waits for; a notification goes by
 * ioeventfd straight to the loop, an interrupt by irqfd straight to the vCPU.  A loop never waits for a vCPU.
 *
 * What is different from one architecture to the next is vmm/arch.h, and a folder for each.  docs/machine.md is the page.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H
#include <vio/device/dev.h>
#include <vio/host/loop.h>
#include <vio/host/why.h>
#include <vio/vhost/remote.h>
#include <vmm/boot.h>

struct vmm;
struct vmm_device;

enum vmm_wire { VMM_WIRE_PCI, VMM_WIRE_MMIO };

/* What the machine tells, in the home loop. */
enum vmm_event {
	VMM_EVENT_OFF,			/* the guest has switched itself off; vCPUs are paused */
	VMM_EVENT_RESET,		/* the guest asked for a reset, which has been done */
	VMM_EVENT_CRASH,		/* a vCPU can't go on: why says it; vCPUs are paused */
	VMM_EVENT_EJECTED		/* the guest has let go of a function: vmm_detach() it; why is its name */
};

struct vmm_options {
	const char *kvm;		/* NULL: /dev/kvm */
	uint64_t memory;		/* bytes, a multiple of 2 MiB */
	unsigned cpus;
	enum vmm_wire wire;
	struct vio_loop *home;
	int serial_in, serial_out;	/* descriptors of the first serial port; -1: none.  The caller's */
	void (*event)(void *arg, enum vmm_event event, const char *why);
	void *arg;
};

/* NULL: why has a sentence that names the remedy. */
struct vmm *vmm_new(const struct vmm_options *o, char *why);
/* Pauses first.  Devices are detached and stay their owner's. */
void vmm_free(struct vmm *m);

enum vmm_device_news {
	VMM_DEVICE_FEATURES,		/* the driver has chosen its features */
	VMM_DEVICE_BROKEN		/* a queue is broken until it is reset */
};

struct vmm_attach {
	const char *name;		/* in messages: "blk0"; copied */
	struct vio_dev *dev;		/* open, no queue started; loop's */
	struct vio_loop *loop;		/* the home thread of the device */
	unsigned slot;			/* 0: the next free one */
	struct vio_remote *remote;	/* whose queues are served elsewhere (vio/vhost/remote.h): their eventfds are KVM's; NULL: here */
	void (*news)(void *arg, enum vmm_device_news news);	/* in the device's loop; may be NULL */
	void *news_arg;
};
/*
 * The device is the guest's from now on.  A machine that runs is told of it by hot plug (PCI only).  NULL: why has a sentence.
 * Not in the device's loop unless that is the home loop.
 */
struct vmm_device *vmm_attach(struct vmm *m, const struct vmm_attach *a, char *why);
/* Ask the guest to let go (PCI hot plug); VMM_EVENT_EJECTED tells when it has. */
bool vmm_unplug(struct vmm *m, const char *name, char *why);
/* It has no device any more: queues are stopped, and the device is as after open.  Pauses for a moment if the machine runs. */
void vmm_detach(struct vmm_device *d);
struct vmm_device *vmm_device_named(struct vmm *m, const char *name);

/* Put a kernel into memory and the first vCPU at its beginning; also what a reset does again: descriptors stay open till free. */
bool vmm_boot(struct vmm *m, const struct vmm_load *kernel, char *why);

/* What a reset boots, of a machine that was restored and never booted here.  Without it such a machine can't be reset. */
void vmm_set_kernel(struct vmm *m, const struct vmm_load *kernel);

void vmm_pause(struct vmm *m);		/* no vCPU is in the guest when it returns; devices go on */
void vmm_resume(struct vmm *m);
bool vmm_running(const struct vmm *m);
/* Back to the beginning: devices reset, kernel read again.  Runs afterwards if it ran.  False: why; then it is paused. */
bool vmm_reset(struct vmm *m, char *why);
/* As the button does; a guest with ACPI shuts down. */
void vmm_power_button(struct vmm *m);

/* What devices see; their loops adopt it.  For who shares it with another process. */
struct vio_mem *vmm_mem(struct vmm *m);
int vmm_memory_fd(const struct vmm *m);

#endif
