/*
 * The machine on KVM with guests of a few instructions: life, pause, reset, crash, hot plug, and who answers at which address.  The
 * test's own thread plays a vCPU where that is enough.
 */
#include "bed.h"

GUEST(guest_off, "mov $0x600, %edx; mov $0x34, %al; outb %al, %dx; 1: hlt; jmp 1b");
/* Once: a reset.  What it wrote at 2 MiB is still there the second time. */
GUEST(guest_reset, "cmpl $0x1234, 0x200000; je 2f; movl $0x1234, 0x200000; mov $0x604, %edx; mov $0x42, %al; outb %al, %dx; 1: pause; jmp 1b;"
	"2: mov $0x600, %edx; mov $0x34, %al; outb %al, %dx; 3: hlt; jmp 3b");
/* No interrupt table: an exception has nowhere to go, thrice. */
GUEST(guest_crash, "lidt 0x1000; movq $0, 0x1000; ud2");
GUEST(guest_words, "mov $0x3f8, %edx; mov $'v', %al; outb %al, %dx; mov $'i', %al; outb %al, %dx; mov $'o', %al; outb %al, %dx;"
	"mov $0x600, %edx; mov $0x34, %al; outb %al, %dx; 1: hlt; jmp 1b");

/* ---- Life ---- */

static void test_off(void **state)
{
	struct bed b;
	(void)state;
	NEEDS_KVM();
	make(&b, VMM_WIRE_PCI);
	BOOT(&b, guest_off);
	run_until_event(&b);
	assert_int_equal(b.events[VMM_EVENT_OFF], 1);
	assert_false(vmm_running(b.m));
	unmake(&b);
}

static void test_words(void **state)
{
	struct bed b;
	char said[8] = "";
	(void)state;
	NEEDS_KVM();
	make(&b, VMM_WIRE_MMIO);
	BOOT(&b, guest_words);
	run_until_event(&b);
	int out = dup(b.out[0]);
	unmake(&b);			/* what is left is written at the latest here */
	assert_int_equal(read(out, said, sizeof said), 3);
	assert_string_equal(said, "vio");
	close(out);
}

static void test_reset(void **state)
{
	struct bed b;
	(void)state;
	NEEDS_KVM();
	make(&b, VMM_WIRE_PCI);
	BOOT(&b, guest_reset);
	run_until_event(&b);
	while (!b.events[VMM_EVENT_OFF])
		vio_loop_run(b.home);
	assert_int_equal(b.events[VMM_EVENT_RESET], 1);
	unmake(&b);
}

static void test_crash(void **state)
{
	struct bed b;
	(void)state;
	NEEDS_KVM();
	make(&b, VMM_WIRE_PCI);
	BOOT(&b, guest_crash);
	run_until_event(&b);
	assert_int_equal(b.events[VMM_EVENT_CRASH], 1);
	assert_non_null(strstr(b.said, "vCPU 0: "));
	assert_false(vmm_running(b.m));
	unmake(&b);
}

static void test_pause(void **state)
{
	struct bed b;
	(void)state;
	NEEDS_KVM();
	make(&b, VMM_WIRE_PCI);
	BOOT(&b, guest_count);
	for (unsigned i = 0; i < 50; i++) {
		vmm_resume(b.m);
		wait_for_progress(&b);
		vmm_pause(b.m);
		uint64_t then = counter(&b);
		for (unsigned k = 0; k < 1000; k++)
			sched_yield();
		assert_int_equal(counter(&b), then);
	}
	assert_int_equal(b.m->parked, 2);	/* the second one waits for its start */
	unmake(&b);
}

/* ---- What was written is logged ---- */

static void test_log(void **state)
{
	struct bed b;
	uint8_t bits[4096];
	(void)state;
	NEEDS_KVM();
	make(&b, VMM_WIRE_PCI);
	BOOT(&b, guest_count);
	assert_true(vmm_memory_log(b.m, true, b.why));
	assert_true(b.m->memory.dirty_bytes <= sizeof bits);
	memset(bits, 0, sizeof bits);
	assert_true(vmm_memory_written(b.m, bits, b.why));
	memset(bits, 0, sizeof bits);
	vmm_resume(b.m);
	wait_for_progress(&b);
	vmm_pause(b.m);
	vio_mem_dirty_gpa(vmm_mem(b.m), 5 << 20, 1);	/* as a device does */
	assert_true(vmm_memory_written(b.m, bits, b.why));
	for (unsigned page = 0; page < (16 << 20) / 4096; page++)
		assert_int_equal(bits[page / 8] >> page % 8 & 1, page == 512 || page == 1280);
	assert_true(vmm_memory_log(b.m, false, b.why));
	unmake(&b);
}

/* ---- Devices ---- */

static uint32_t config(struct bed *b, unsigned slot, unsigned at, unsigned width)
{
	return (uint32_t)vmm_bus_read(&b->m->addresses, VMM_ECAM + (slot << 15) + at, width);
}

static void set_config(struct bed *b, unsigned slot, unsigned at, unsigned width, uint32_t v)
{
	vmm_bus_write(&b->m->addresses, VMM_ECAM + (slot << 15) + at, width, v);
}

static void test_function(void **state)
{
	struct bed b;
	struct rng r = { 0 };
	(void)state;
	NEEDS_KVM();
	make(&b, VMM_WIRE_PCI);
	assert_non_null(attach(&b, &r, "rng0", 0));
	assert_int_equal(config(&b, 0, 0, 4), 0x00081b36);
	assert_int_equal(config(&b, 1, 0, 4), 0x10441af4);
	assert_int_equal(config(&b, 2, 0, 4), UINT32_MAX);
	assert_int_equal(config(&b, 1, 1, 2) & 0xffff, 0xffff);	/* not aligned */
	/* The same by ports: slot 1, register 0. */
	vmm_bus_write(&b.m->ports, 0xcf8, 4, 0x80000800);
	assert_int_equal(vmm_bus_read(&b.m->ports, 0xcfc, 4) & UINT32_MAX, 0x10441af4);
	assert_int_equal(vmm_bus_read(&b.m->ports, 0xcfe, 2) & 0xffff, 0x1044);
	vmm_bus_write(&b.m->ports, 0xcf8, 4, 0x800);
	assert_int_equal(vmm_bus_read(&b.m->ports, 0xcfc, 4) & UINT32_MAX, UINT32_MAX);
	/* BAR 0 is in its place, and there when it is decoded. */
	uint64_t bar = VMM_PCI32 + (1 << 20);
	assert_int_equal(config(&b, 1, 0x10, 4) & ~15u, bar);
	assert_int_equal(vmm_bus_read(&b.m->addresses, bar + 0x12, 2), UINT64_MAX);
	set_config(&b, 1, 4, 2, 2);
	assert_int_equal(vmm_bus_read(&b.m->addresses, bar + 0x12, 2), 1);	/* num_queues */
	/* Moved: gone from there, found here; over the ECAM: who was there first is seen. */
	set_config(&b, 1, 0x10, 4, (uint32_t)VMM_PCI32 + (8 << 20));
	assert_int_equal(vmm_bus_read(&b.m->addresses, bar + 0x12, 2), UINT64_MAX);
	assert_int_equal(vmm_bus_read(&b.m->addresses, VMM_PCI32 + (8 << 20) + 0x12, 2), 1);
	set_config(&b, 1, 0x10, 4, (uint32_t)VMM_ECAM);
	assert_int_equal(config(&b, 0, 0, 4), 0x00081b36);
	set_config(&b, 1, 0x10, 4, (uint32_t)bar);
	assert_int_equal(vmm_bus_read(&b.m->addresses, bar + 0x12, 2), 1);
	vmm_detach(vmm_device_named(b.m, "rng0"));
	assert_int_equal(config(&b, 1, 0, 4), UINT32_MAX);
	assert_int_equal(vmm_bus_read(&b.m->addresses, bar + 0x12, 2), UINT64_MAX);
	vio_loop_ask(vio_thread_loop(b.thread), close_rng, &r);
	unmake(&b);
}

static uint32_t plug(struct bed *b, unsigned port) { return (uint32_t)vmm_bus_read(&b->m->ports, port, 4); }

static void test_plug(void **state)
{
	struct bed b;
	struct rng r = { 0 }, s = { 0 }, t = { 0 };
	(void)state;
	NEEDS_KVM();
	make(&b, VMM_WIRE_PCI);
	assert_non_null(attach(&b, &r, "rng0", 0));
	BOOT(&b, guest_count);
	vmm_resume(b.m);
	assert_int_equal(plug(&b, VMM_PORT_PLUG_UP), 0);	/* it was there from the beginning */
	assert_non_null(attach(&b, &s, "rng1", 5));
	assert_int_equal(plug(&b, VMM_PORT_PLUG_UP), 1 << 5);
	assert_int_equal(plug(&b, VMM_PORT_PLUG_UP), 0);
	assert_true(vmm_unplug(b.m, "rng1", b.why));
	assert_int_equal(plug(&b, VMM_PORT_PLUG_DOWN), 1 << 5);
	vmm_bus_write(&b.m->ports, VMM_PORT_PLUG_EJECT, 4, 1 << 5 | 1 << 9);	/* nobody is in slot 9 */
	vio_loop_run(b.home);
	assert_int_equal(b.events[VMM_EVENT_EJECTED], 1);
	assert_string_equal(b.said, "rng1");
	vmm_detach(vmm_device_named(b.m, "rng1"));
	assert_true(vmm_running(b.m));
	wait_for_progress(&b);
	assert_int_equal(config(&b, 5, 0, 4), UINT32_MAX);
	assert_false(vmm_unplug(b.m, "rng1", b.why));
	assert_string_equal(b.why, "there is no device called rng1");
	assert_null(attach(&b, &t, "rng0", 0));
	assert_non_null(strstr(b.why, "choose another name"));
	vmm_detach(vmm_device_named(b.m, "rng0"));
	vio_loop_ask(vio_thread_loop(b.thread), close_rng, &r);
	vio_loop_ask(vio_thread_loop(b.thread), close_rng, &t);
	vio_loop_ask(vio_thread_loop(b.thread), close_rng, &s);
	unmake(&b);
}

static void test_page(void **state)
{
	struct bed b;
	struct rng r = { 0 }, s = { 0 };
	(void)state;
	NEEDS_KVM();
	make(&b, VMM_WIRE_MMIO);
	assert_non_null(attach(&b, &r, "rng0", 0));
	assert_int_equal(vmm_bus_read(&b.m->addresses, VMM_MMIO, 4), 0x74726976);
	assert_int_equal(vmm_bus_read(&b.m->addresses, VMM_MMIO + 8, 4), 4);
	assert_int_equal(vmm_bus_read(&b.m->addresses, VMM_MMIO + VMM_MMIO_STRIDE, 4), UINT64_MAX);
	assert_int_equal(vmm_bus_read(&b.m->addresses, VMM_ECAM, 4), UINT64_MAX);
	BOOT(&b, guest_count);
	assert_null(attach(&b, &s, "rng1", 0));
	assert_non_null(strstr(b.why, "take --transport=pci"));
	vmm_detach(vmm_device_named(b.m, "rng0"));
	vio_loop_ask(vio_thread_loop(b.thread), close_rng, &r);
	vio_loop_ask(vio_thread_loop(b.thread), close_rng, &s);
	unmake(&b);
}

/* ---- What is refused ---- */

static void test_refused(void **state)
{
	static const struct { const char *what, *kvm; uint64_t memory; unsigned cpus; const char *sentence; } rows[] = {
		{ "no KVM at all", "/dev/null/kvm", 16 << 20, 1, "this host has no hardware virtualization to be used" },
		{ "something that is not KVM", "/dev/null", 16 << 20, 1, "/dev/null is not KVM" },
		{ "no memory", NULL, 0, 1, "a multiple of 2 MiB" },
		{ "memory that is no multiple", NULL, (16 << 20) + 4096, 1, "a multiple of 2 MiB" },
		{ "more memory than the processor can address", NULL, UINT64_C(1) << 56, 1, "too few for so much memory" },
		{ "memory whose size wraps", NULL, ~(UINT64_C(1) << 21) + 1, 1, "too few for so much memory" },
		{ "more vCPUs than an APIC id tells", NULL, 16 << 20, 65, "at most 64 vCPUs" },
		{ "more vCPUs than KVM has", NULL, 16 << 20, 1 << 20, "vCPUs: give --cpus less" },
	};
	(void)state;
	NEEDS_KVM();
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		char why[VIO_WHY] = "";
		struct vmm_options o = { .kvm = rows[i].kvm, .memory = rows[i].memory, .cpus = rows[i].cpus, .home = vio_loop_new(),
			.serial_in = -1, .serial_out = -1 };
		if (vmm_new(&o, why) || !strstr(why, rows[i].sentence))
			fail_msg("%s: \"%s\"", rows[i].what, why);
		vio_loop_free(o.home);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_off, "the guest switches itself off"),
		T(test_words, "what it says on the serial port comes out"),
		T(test_reset, "a reset begins anew, with what was in memory"),
		T(test_crash, "a triple fault pauses the machine and is told"),
		T(test_pause, "no instruction is executed while it is paused"),
		T(test_log, "what the guest and its devices write is logged, nothing else"),
		T(test_function, "a device on PCI: config space by ECAM and ports, BAR moved, over others, detached"),
		T(test_plug, "hot plug and unplug while it runs"),
		T(test_page, "a device on MMIO"),
		T(test_refused, "machines that can't be are refused in a sentence"),
	};
	return vio_tests("machine", tests, sizeof tests / sizeof *tests);
}
