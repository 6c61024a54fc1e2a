/*
 * Interrupts: a table of 64 entries (entry.S), the local APIC with a timer that ends each sleep after a while, one line of the I/O
 * APIC at a time, and messages.  A handler only counts and says that there is something to look at: that is enough for a guest whose
 * drivers wait one after the other.
 */
#include "guest.h"

enum { APIC_EOI = 0xb0, APIC_SPURIOUS = 0xf0, APIC_TIMER = 0x320, APIC_TIMER_COUNT = 0x380, APIC_TIMER_DIVIDE = 0x3e0, APIC_ID = 0x20,
	APIC_COMMAND = 0x300, APIC_COMMAND_TO = 0x310, COMMAND_INIT = 0x4500, COMMAND_START = 0x4600 };
enum { TIMER_PERIODIC = 1 << 17, TIMER_COUNT = 1 << 20 };	/* by 16: about 16 ms where the APIC counts at 1 GHz */
enum { LEVEL = 1 << 15, MASKED = 1 << 16 };
static const uint64_t apic = 0xfee00000;

struct gate { uint16_t low, selector; uint8_t ist, type; uint16_t mid; uint32_t high, zero; };
static struct gate idt[64];
extern char interrupt_entries[64][16];

volatile uint32_t interrupts[64], interrupts_unclaimed;
static volatile bool signalled;
static bool (*line_handler)(void *arg);
static void *line_arg;

void guest_interrupt(const uint64_t *frame)
{
	uint64_t vector = frame[0], at;

	if (vector < 32) {
		__asm__ volatile("movq %%cr2, %0" : "=r"(at));
		say("Bail out! exception %u, error %llx, at %llx, address %llx\n", (unsigned)vector, (unsigned long long)frame[1],
		    (unsigned long long)frame[2], (unsigned long long)at);
		guest_off(1);
	}
	interrupts[vector]++;
	if (vector == VECTOR_SPURIOUS)
		return;
	if (vector == VECTOR_LINE && (!line_handler || !line_handler(line_arg)))
		interrupts_unclaimed++;
	if (vector != VECTOR_TIMER)
		signalled = true;
	device_write(apic + APIC_EOI, 4, 0);
}

void interrupt_init(void)
{
	struct __attribute__((packed)) { uint16_t limit; uint64_t base; } pointer = { sizeof idt - 1, (uintptr_t)idt };

	for (unsigned i = 0; i < 64; i++) {
		uint64_t to = (uintptr_t)interrupt_entries[i];
		idt[i] = (struct gate){ (uint16_t)to, 8, 0, 0x8e, (uint16_t)(to >> 16), (uint32_t)(to >> 32), 0 };
	}
	__asm__ volatile("lidt %0" :: "m"(pointer));
	out8(0x21, 0xff);			/* the old controllers, where there are any: silent */
	out8(0xa1, 0xff);
	device_write(apic + APIC_SPURIOUS, 4, 0x100 | VECTOR_SPURIOUS);
	device_write(apic + APIC_TIMER_DIVIDE, 4, 3);
	device_write(apic + APIC_TIMER, 4, TIMER_PERIODIC | VECTOR_TIMER);
	device_write(apic + APIC_TIMER_COUNT, 4, TIMER_COUNT);
	__asm__ volatile("sti");
}

/* ---- The second processor ---- */

extern char second_entry[], second_entry_end[];
static void (*second)(void);
enum { SECOND_PAGE = 8 };	/* where it begins, below 640 KiB */

void guest_second(void) { second(); }

void interrupt_second(void (*fn)(void))
{
	static const uint32_t commands[] = { COMMAND_INIT, COMMAND_START | SECOND_PAGE };

	second = fn;
	memcpy((void *)(SECOND_PAGE * UINT64_C(4096)), second_entry, (size_t)(second_entry_end - second_entry));
	for (unsigned i = 0; i < 2; i++) {
		device_write(apic + APIC_COMMAND_TO, 4, 1 << 24);
		device_write(apic + APIC_COMMAND, 4, commands[i]);
		for (uint64_t since = clock_ns(); clock_ns() - since < 10000000; )
			;
	}
}

uint64_t interrupt_message_address(void)
{
	return apic | (uint64_t)(device_read(apic + APIC_ID, 4) >> 24) << 12;
}

static void line_write(unsigned input, uint32_t low, uint32_t high)
{
	uint64_t ioapic = word_number("ioapic", 0xfec00000);

	device_write(ioapic, 4, 0x10 + 2 * input + 1);
	device_write(ioapic + 16, 4, high);
	device_write(ioapic, 4, 0x10 + 2 * input);
	device_write(ioapic + 16, 4, low);
}

void interrupt_line(unsigned input, bool (*handler)(void *arg), void *arg)
{
	line_handler = handler;
	line_arg = arg;
	line_write(input, LEVEL | VECTOR_LINE, device_read(apic + APIC_ID, 4));
}

void interrupt_line_off(unsigned input)
{
	line_write(input, MASKED, 0);
	line_handler = NULL;
}

void interrupt_sleep(uint64_t deadline_ns)
{
	__asm__ volatile("cli" ::: "memory");
	if (!signalled && clock_ns() < deadline_ns)
		__asm__ volatile("sti; hlt; cli" ::: "memory");	/* nothing comes in between sti and hlt */
	signalled = false;
	__asm__ volatile("sti" ::: "memory");
}

uint32_t device_read(uint64_t addr, unsigned width)
{
	if (width == 1)
		return *(volatile uint8_t *)addr;
	return width == 2 ? *(volatile uint16_t *)addr : *(volatile uint32_t *)addr;
}

void device_write(uint64_t addr, unsigned width, uint32_t v)
{
	if (width == 1)
		*(volatile uint8_t *)addr = (uint8_t)v;
	else if (width == 2)
		*(volatile uint16_t *)addr = (uint16_t)v;
	else
		*(volatile uint32_t *)addr = v;
}
