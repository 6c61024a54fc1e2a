/*
 * What a kernel gives to vio's drivers, in its smallest form: the files of this folder are a whole x86-64 guest that drives every
 * device there is, over PCI and MMIO, and says what it found in TAP on its serial port.
 *
 *   entry.S, guest.ld      from the loader into C
 *   memory.c               mem*() and memory, which is never given back
 *   words.c                serial port, command line, results
 *   clock.c, interrupt.c   time; IDT, local APIC, I/O APIC
 *   platform.c             struct vio_platform: what the drivers ask for
 *   pci.c, mmio.c          where devices are, and how their interrupts come
 *   NAME.c                 a device's driver used, once round
 *   hostile.c              what no driver should do
 *   main.c                 the command line's words, the order of things, power-off
 */
#ifndef GUEST_H
#define GUEST_H
#include <vio/driver/port.h>
#include <vio/ring/freestanding.h>

/* ---- memory.c ---- */
void *guest_alloc(size_t bytes, size_t align);		/* zeroed; ends the guest when there is none */
#define GUEST_NEW(type) ((type *)guest_alloc(sizeof(type), _Alignof(type)))
size_t guest_alloc_mark(void);
void guest_alloc_back(size_t mark);			/* everything since the mark is free again */
void guest_map_device(uint64_t addr);			/* the GiB around an address above 4 GiB becomes device memory */

/* ---- words.c ---- */
void guest_words_init(const char *command_line);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));	/* %s %c %u %x %llu %llx */
/* The value of NAME=VALUE on the command line, which ends at a space; NULL: there is none. */
const char *word(const char *name);
bool word_is(const char *name, const char *value);
uint64_t word_number(const char *name, uint64_t otherwise);
bool word_lists(const char *name, const char *item);	/* NAME=A,B,...: is item one of them? */
/* The next number of A,B,C, decimal or 0x; false at the end. */
bool next_number(const char **text, uint64_t *n);
bool same(const char *a, const char *b);

/* A line of TAP.  Returns ok. */
bool expect(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
void expect_about(const char *subject);			/* stands before what is expected */
unsigned expect_end(void);				/* the plan; how many were not as expected */

/* ---- clock.c ---- */
void clock_init(void);
uint64_t clock_ns(void);

/* ---- interrupt.c ---- */
enum { VECTOR_TIMER = 32, VECTOR_LINE = 33, VECTOR_MESSAGES = 40, VECTORS_MESSAGES = 16, VECTOR_SPURIOUS = 63 };
void interrupt_init(void);
/* The input of the I/O APIC leads to VECTOR_LINE, level triggered; handler says whether it was its device. */
void interrupt_line(unsigned input, bool (*handler)(void *arg), void *arg);
void interrupt_line_off(unsigned input);
uint64_t interrupt_message_address(void);		/* where a device writes a vector */
/* Processor 1 runs fn from now on; its end is a halt.  At most once. */
void interrupt_second(void (*fn)(void));
void interrupt_sleep(uint64_t deadline_ns);		/* until the next interrupt; not at all when there was one since last time */
extern volatile uint32_t interrupts[64];		/* counted by vector */
extern volatile uint32_t interrupts_unclaimed;

static inline void out8(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" :: "a"(v), "Nd"(port)); }
static inline void out16(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1" :: "a"(v), "Nd"(port)); }
static inline void out32(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" :: "a"(v), "Nd"(port)); }
static inline uint8_t in8(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint16_t in16(uint16_t port) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static inline uint32_t in32(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }

/* Device memory: one access, as wide as it says. */
uint32_t device_read(uint64_t addr, unsigned width);
void device_write(uint64_t addr, unsigned width, uint32_t v);

/* ---- platform.c ---- */
extern struct vio_platform guest_platform;		/* sleeps in hlt */
void guest_platform_polls(void);			/* from here on it does not; before devices are looked for */

/* ---- pci.c, mmio.c: a way to a device, and its interrupts ---- */
struct wire {
	struct vio_drv_port *port;
	uint32_t id;					/* VIO_ID_* */
	const char *kind;				/* "pci", "mmio" */
	unsigned number;				/* device on the bus, slot */
	bool (*interrupts_on)(struct wire *w);		/* as irq= says */
	void (*interrupts_off)(struct wire *w);
	void *self;
	uint64_t at;					/* its registers: the MMIO page, or the BAR that has them */
	uint64_t bytes;
};
struct vio_pci_drv *pci_of(struct wire *w);		/* NULL: that is no PCI function */
enum { WIRES = 64 };
unsigned pci_find(struct wire *w, unsigned room);
unsigned mmio_find(struct wire *w, unsigned room);
enum irq { IRQ_MSIX, IRQ_LINE, IRQ_POLL };
extern enum irq guest_irq;

/* ---- One function a device: the driver started, used and stopped ---- */
typedef void drive_fn(struct vio_drv_port *port);
drive_fn drive_balloon, drive_blk, drive_console, drive_fs, drive_input, drive_net, drive_rng, drive_scsi, drive_vsock;
void drive_features(const struct vio_drv *d);		/* after the start: is it the ring that was asked for? */

void guest_hostile(struct wire *w, unsigned n);		/* as hostile= says */
_Noreturn void guest_off(unsigned status);

/* ---- What entry.S calls ---- */
struct start_info;
void guest_main(const struct start_info *info);
void guest_second(void);
void guest_interrupt(const uint64_t *frame);		/* vector, error code, and what the processor pushed */
#endif
