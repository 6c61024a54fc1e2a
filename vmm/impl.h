/* The insides of the machine, between its files: not for users. */
#ifndef VMM_IMPL_H
#define VMM_IMPL_H
#include <linux/kvm.h>
#include <pthread.h>
#include <semaphore.h>
#include <vio/backend/pages.h>
#include <vio/transport/mmio.h>
#include <vio/transport/pci.h>
#include <vmm/machine.h>

/* ---- Memory (memory.c) ---- */

enum { VMM_REGIONS = 2 };
struct vmm_memory {
	uint64_t bytes, top;		/* top: the first address behind the last region */
	int fd;
	unsigned char *base;
	struct vio_region region[VMM_REGIONS];
	struct vio_backing backing[VMM_REGIONS];
	unsigned regions;
	struct vio_mem *mem;		/* the value that devices have now */
	uint8_t *dirty;			/* bit by page from address 0: what devices wrote, while it is logged; NULL: it is not */
	uint64_t dirty_bytes;
};
bool vmm_memory_open(struct vmm *m, char *why);
void vmm_memory_close(struct vmm *m);
/* Log what the guest and its devices write, or stop that. */
bool vmm_memory_log(struct vmm *m, bool on, char *why);
/* What was written since the last call, ORed into bits (dirty_bytes of them). */
bool vmm_memory_written(struct vmm *m, uint8_t *bits, char *why);

/* ---- Buses (bus.c) ---- */

/* Accesses come from vCPU threads, several at a time; width is what the guest said, values are in host order. */
struct vmm_range_ops {
	uint64_t (*read)(void *arg, uint64_t at, unsigned width);
	void (*write)(void *arg, uint64_t at, unsigned width, uint64_t value);
};
struct vmm_range {
	uint64_t base, bytes;
	const struct vmm_range_ops *ops;
	void *arg;
	struct vmm_range *next;
	bool on;
};
/* Where ranges overlap the one that was added first is seen. */
struct vmm_bus { pthread_rwlock_t lock; struct vmm_range *first; };
void vmm_bus_add(struct vmm_bus *b, struct vmm_range *r);
void vmm_bus_remove(struct vmm_bus *b, struct vmm_range *r);	/* an access that has begun may go on */
/* Nobody there: reads are all ones, writes are lost. */
uint64_t vmm_bus_read(struct vmm_bus *b, uint64_t address, unsigned width);
void vmm_bus_write(struct vmm_bus *b, uint64_t address, unsigned width, uint64_t value);

/* ---- Interrupts (irq.c) ---- */

enum { VMM_LINES = 32, VMM_ROUTES = 2304 };
/* A message: route, irqfd, and the eventfd that sends it. */
struct vmm_msi {
	struct vmm *m;
	int fd;				/* -1: never programmed */
	uint32_t gsi;
	uint32_t requester;		/* bus, device and function of who sends it, as PCI has them */
	uint64_t address;
	uint32_t data;
};
struct vmm_irqs {
	pthread_mutex_t lock;
	struct kvm_irq_routing *table;	/* room for VMM_ROUTES; sorted as they came */
	uint32_t asserted[VMM_LINES];	/* by whom: a bit a source */
	uint8_t used[VMM_ROUTES / 8];	/* GSIs of messages */
	bool told;			/* that there are no descriptors left */
};
bool vmm_irq_open(struct vmm *m, char *why);
void vmm_irq_close(struct vmm *m);
void vmm_msi_init(struct vmm *m, struct vmm_msi *i);
/* Where it goes from now on; any thread. */
void vmm_msi_set(struct vmm_msi *i, uint64_t address, uint32_t data);
/* An eventfd of somebody else's sends the message too, or not any more. */
void vmm_msi_also(struct vmm_msi *i, int fd, bool on);
void vmm_msi_send(struct vmm_msi *i);
void vmm_msi_free(struct vmm_msi *i);
/* A line that several share: high while any source holds it high.  Any thread. */
void vmm_line(struct vmm *m, unsigned line, unsigned source, bool level);
/* As level() says at that moment, for a level that several threads change: whoever comes last sees the last of it. */
void vmm_line_as(struct vmm *m, unsigned line, unsigned source, bool (*level)(void *arg), void *arg);

/* ---- vCPUs (vcpu.c) ---- */

struct vmm_vcpu {
	struct vmm *m;
	unsigned index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;			/* the thread is there */
	bool parked;			/* vmm.park_lock */
};
bool vmm_vcpus_open(struct vmm *m, char *why);
void vmm_vcpus_close(struct vmm *m);
void vmm_vcpus_park(struct vmm *m);
void vmm_vcpus_go(struct vmm *m);

/* ---- Devices (device.c), on PCI (function.c) or MMIO (page.c) ---- */

enum { VMM_DEVICES = 32 };
struct vmm_queue {
	struct vmm_device *d;
	unsigned index;
	struct vio_task turn;
	struct vio_timer alarm;
	struct vio_watch kick;		/* an eventfd that KVM signals; fd -1: none.  Of a remote device it is the back end's */
};
enum { VMM_BREAKS_TOLD = 20 };

struct vmm_device {
	struct vmm *m;
	char *name;
	struct vio_dev *dev;
	struct vio_loop *loop;
	struct vio_remote *remote;	/* NULL: its queues are served here */
	uint8_t *written;		/* what its back end wrote, while it is logged: as memory.dirty */
	uint64_t written_bytes;
	void *port_arg;			/* of wire->port */
	unsigned slot;
	const struct vmm_wire_ops *wire;
	struct vmm_queue queue[VIO_DEV_QUEUES];
	struct vio_dev_call *calls;	/* vio_owner_ops.post */
	struct vio_task calls_task;
	void (*news)(void *arg, enum vmm_device_news news);	/* vmm_attach's, or NULL */
	void *news_arg;
	unsigned breaks_told;		/* of its queues, on standard error: VMM_BREAKS_TOLD at most */
	bool chosen;			/* the driver's features have been told */
	sem_t *reset_done;		/* who waits for the end of a reset; loop's */
	struct vmm_device *next;
};
struct vmm_wire_ops {
	struct vio_features (*features)(void);
	const struct vio_port_ops *port;
	/* All in the device's loop. */
	bool (*turn)(struct vmm_device *d, unsigned queue);
	void (*reset)(struct vmm_device *d);	/* as after power on; what is in flight may still end */
	void (*detach)(struct vmm_device *d);
	/* Frozen, or fresh: the device and its registers. */
	size_t (*save)(struct vmm_device *d, void *to, size_t room);
	const char *(*load)(struct vmm_device *d, const void *from, size_t n);
};
extern const struct vmm_wire_ops vmm_function_ops, vmm_page_ops;
void vmm_owner_wake(void *arg, unsigned queue);
void vmm_owner_broken(void *arg, unsigned queue, const char *why);
uint64_t vmm_owner_now(void *arg);
void vmm_owner_alarm(void *arg, unsigned queue, uint64_t at_ns);
void vmm_owner_post(void *arg, unsigned queue, struct vio_dev_call *c);
void *vmm_owner_alloc(void *arg, size_t bytes);
void vmm_owner_free(void *arg, void *p, size_t bytes);
/* What each wire needs of its owner; arg is the struct vmm_device. */
#define VMM_OWNER { .wake = vmm_owner_wake, .broken = vmm_owner_broken, .now = vmm_owner_now, .alarm = vmm_owner_alarm, \
	.post = vmm_owner_post, .alloc = vmm_owner_alloc, .free = vmm_owner_free }
/* Make one of their struct, which begins with struct vmm_device; home loop.  NULL: why. */
struct vmm_device *vmm_function_new(struct vmm *m, const struct vmm_attach *a, char *why);
struct vmm_device *vmm_page_new(struct vmm *m, const struct vmm_attach *a, char *why);
/* The rest of *d, whose wire and slot are set, and its loop's part of the attachment. */
void vmm_device_prepare(struct vmm_device *d, struct vmm *m, const struct vmm_attach *a, void *port_arg);
void vmm_device_turn(struct vmm_device *d, unsigned queue);
/* The guest's notification of a queue comes by an eventfd at this address (match -1: whatever is written); loop's.  Or not any more. */
void vmm_device_hook(struct vmm_device *d, unsigned queue, uint64_t address, unsigned width, int64_t match, bool on);
void vmm_device_reset(struct vmm_device *d);	/* home loop; waits till it is done */
void vmm_devices_adopt(struct vmm *m);		/* memory.mem is another value now */
bool vmm_devices_log(struct vmm *m, bool on, char *why);	/* what remote devices' back ends write */

/* ---- PCI (pci.c) ---- */

struct vmm_function {			/* of somebody on bus 0 */
	uint32_t (*read)(void *arg, uint32_t at, unsigned width);
	void (*write)(void *arg, uint32_t at, unsigned width, uint32_t value);
	void *arg;
};
struct vmm_pci {
	pthread_mutex_t lock;		/* slots, address, plug registers */
	struct vmm_function slot[32];
	uint32_t address;		/* port 0xcf8 */
	uint32_t up, down;		/* hot plug registers */
	struct vmm_range ecam, ports, plug;
};
bool vmm_pci_open(struct vmm *m, char *why);
/* slot 0: the next free one.  0: there is none. */
unsigned vmm_pci_add(struct vmm *m, unsigned slot, const struct vmm_function *f);
void vmm_pci_remove(struct vmm *m, unsigned slot);
/* Where BAR 0 of a slot is put at the beginning: no more than this many bytes. */
enum { VMM_BAR_BYTES = 1 << 20 };
uint64_t vmm_pci_place(struct vmm *m, unsigned slot);

/* ---- The serial port (serial.c) ---- */

struct vmm_serial;
struct vmm_serial *vmm_serial_open(struct vmm *m, int in, int out, char *why);
void vmm_serial_close(struct vmm_serial *s);
void vmm_serial_reset(struct vmm_serial *s);
enum { VMM_SERIAL_STATE = 16 };
void vmm_serial_save(struct vmm_serial *s, uint8_t state[VMM_SERIAL_STATE]);
void vmm_serial_load(struct vmm_serial *s, const uint8_t state[VMM_SERIAL_STATE]);

/* ---- The machine ---- */

struct vmm {
	struct vmm_options o;
	int kvm, vm;
	size_t run_bytes;
	struct vmm_memory memory;
	struct vmm_bus ports, addresses;
	struct vmm_irqs irqs;
	struct vmm_vcpu *vcpu;
	struct vmm_pci pci;
	struct vmm_serial *serial;
	struct vmm_device *devices;
	unsigned device_count;
	struct vmm_load kernel;
	bool booted;
	/* vCPU threads and the home loop meet here. */
	pthread_mutex_t park_lock;
	pthread_cond_t park_cond;
	bool park, quit;		/* wanted */
	unsigned parked;
	bool running;
	bool moving;			/* a migration reads or writes it: nothing is plugged, reset or saved meanwhile */
	struct vmm_migration *migration;	/* NULL: none */
	pthread_t mover;
	sem_t mover_wanted;
	bool mover_there;
	bool ending;			/* of the whole machine: nobody is to be told */
	bool reset_due;			/* the guest asked for one meanwhile */
	/* What a vCPU says, taken in the home loop. */
	struct vio_call news;
	unsigned news_bits;		/* atomic: VMM_NEWS_* */
	char crash[VIO_WHY];
	uint32_t ejected;		/* atomic: PCI slots */
	struct vmm_arch *arch;		/* the architecture's own */
};
enum { VMM_NEWS_OFF = 1, VMM_NEWS_RESET = 2, VMM_NEWS_CRASH = 4, VMM_NEWS_EJECT = 8 };
/* From any thread. */
void vmm_news(struct vmm *m, unsigned what);
#endif
