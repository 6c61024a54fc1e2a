/*
 * What an architecture is to the machine.  One implementation is linked: vmm/x86 or vmm/arm64.
 */
#ifndef VMM_ARCH_H
#define VMM_ARCH_H
#include <vmm/impl.h>

/* What KVM_CREATE_VM is told. */
unsigned long vmm_arch_vm_type(int kvm);
/* Where memory lies: fills m->memory.region's gpa and size; false: so much can't be had. */
bool vmm_arch_memory(struct vmm *m, char *why);
/* After the VM and before vCPUs: interrupt controller and what else the kernel keeps. */
bool vmm_arch_open(struct vmm *m, char *why);
/* After vCPUs: power, reset, and other devices of the platform that are not virtio. */
bool vmm_arch_platform(struct vmm *m, char *why);
void vmm_arch_close(struct vmm *m);
bool vmm_arch_vcpu(struct vmm_vcpu *v, char *why);
/* Put tables and kernel into memory, and all vCPUs where they begin. */
bool vmm_arch_boot(struct vmm *m, char *why);
/* An exit that is not the same everywhere.  NULL, or why the vCPU can't go on. */
const char *vmm_arch_exit(struct vmm_vcpu *v);
void vmm_arch_power_button(struct vmm *m);
/* Something has happened to the hot plug registers. */
void vmm_arch_plug(struct vmm *m);

/* While paused, before memory is saved: what the kernel keeps in guest memory is written there. */
void vmm_arch_settle(struct vmm *m);
/* State, while paused: bytes written or needed; load: NULL or a sentence.  of the machine (-1) or of a vCPU. */
size_t vmm_arch_save(struct vmm *m, int vcpu, void *to, size_t room);
const char *vmm_arch_load(struct vmm *m, int vcpu, const void *from, size_t n);
enum { VMM_ARCH_STATE = 65536 };	/* no more than this */

/* Of the address space, for the parts that are the same everywhere. */
struct vmm_map {
	uint64_t pci32, pci32_bytes, pci64, pci64_bytes, ecam, ecam_bytes, mmio, mmio_stride;
	unsigned mmio_slots;
	bool ports;			/* there are I/O ports: 0xcf8 and the like */
	bool plug;			/* a guest can be told of functions that come and go */
	bool requesters;		/* a message is translated by who sends it */
	uint64_t serial;		/* a port if there are ports, else an address */
	unsigned serial_line;
	uint32_t irqchip;		/* whose pins lines are, in routes */
	unsigned lines;			/* pins, no more than VMM_LINES */
};
const struct vmm_map *vmm_arch_map(const struct vmm *m);
unsigned vmm_arch_mmio_line(unsigned slot);
unsigned vmm_arch_intx_line(unsigned slot);
uint32_t vmm_arch_line(unsigned line);		/* what KVM_IRQ_LINE calls it */
#endif
