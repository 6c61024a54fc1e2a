/*
 * What the device's end of a wire needs of its owner, who has the address space, the memory and the threads: a machine, an
 * emulator, a test.  The same for MMIO and PCI; interrupts are each wire's own.
 */
#ifndef VIO_TRANSPORT_OWNER_H
#define VIO_TRANSPORT_OWNER_H
#include <vio/device/dev.h>
VIO_BEGIN_DECLS

/* As in struct vio_port_ops, whose comments hold.  arg is the owner's. */
struct vio_owner_ops {
	void (*wake)(void *arg, unsigned queue);	/* call the wire's turn function soon, not from here */
	void *(*alloc)(void *arg, size_t bytes);
	void (*free)(void *arg, void *p, size_t bytes);
	/* The rest may be NULL. */
	void (*broken)(void *arg, unsigned queue, const char *why);
	uint64_t (*now)(void *arg);
	void (*alarm)(void *arg, unsigned queue, uint64_t at_ns);
	void (*post)(void *arg, unsigned queue, struct vio_dev_call *c);	/* NULL: only for types that send themselves no messages */
};

/* The device's end of any wire begins with this. */
struct vio_wire {
	struct vio_dev *dev;
	const struct vio_owner_ops *owner;
	void *arg;
};
VIO_END_DECLS
#endif
