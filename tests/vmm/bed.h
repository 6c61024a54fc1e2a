/* What the tests of the machine share: guests of a few instructions, a machine with an event loop, and a device to put into it. */
#ifndef VIO_TESTS_VMM_BED_H
#define VIO_TESTS_VMM_BED_H
#include <tests/test.h>
#include <elf.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vio/device/rng.h>
#include <vio/host/source.h>
#include <vio/vhost/backend.h>
#include <vmm/arch.h>
#include <vmm/x86/layout.h>

/* ---- Guests: 64-bit code at 1 MiB ---- */

#define GUEST(name, code) \
	__asm__(".pushsection .rodata\n" #name ":\n" code "\n" #name "_end:\n.popsection"); \
	extern const unsigned char name[], name##_end[]

/* Counts at 2 MiB, for ever. */
GUEST(guest_count, "1: incq 0x200000; jmp 1b");

/* An ELF file of it, in memory. */
static inline int elf_of(const unsigned char *code, const unsigned char *end)
{
	struct { Elf64_Ehdr e; Elf64_Phdr p; } head = { .e = { .e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_entry = VMM_AT_KERNEL, .e_phoff = sizeof head.e,
		.e_ehsize = sizeof head.e, .e_phentsize = sizeof head.p, .e_phnum = 1 } };
	uint64_t n = (uint64_t)(end - code);
	int fd = memfd_create("guest", MFD_CLOEXEC);

	head.p = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = sizeof head, .p_vaddr = VMM_AT_KERNEL,
		.p_paddr = VMM_AT_KERNEL, .p_filesz = n, .p_memsz = n, .p_align = 1 };
	assert_int_equal(write(fd, &head, sizeof head), sizeof head);
	assert_int_equal(write(fd, code, n), n);
	return fd;
}

/* ---- The machine ---- */

struct bed {
	struct vio_loop *home;
	struct vio_thread *thread;
	struct vmm *m;
	int kernel, out[2];
	unsigned events[4];
	char said[VIO_WHY];
	char why[VIO_WHY];
};

static inline void on_event(void *arg, enum vmm_event event, const char *why)
{
	struct bed *b = arg;

	b->events[event]++;
	snprintf(b->said, sizeof b->said, "%s", why ? why : "");
	vio_loop_quit(b->home);
}

static inline struct vmm_options options_of(struct bed *b, enum vmm_wire wire)
{
	return (struct vmm_options){ .memory = 16 << 20, .cpus = 2, .wire = wire, .home = b->home, .serial_in = -1, .serial_out = b->out[1],
		.event = on_event, .arg = b };
}

#define NEEDS_KVM() do { if (access("/dev/kvm", R_OK | W_OK)) SKIP_BECAUSE("there is no /dev/kvm that may be used"); } while (0)

static inline void make(struct bed *b, enum vmm_wire wire)
{
	*b = (struct bed){ .home = vio_loop_new(), .kernel = -1 };
	b->thread = vio_thread_start("device");
	assert_int_equal(pipe2(b->out, O_CLOEXEC | O_NONBLOCK), 0);
	struct vmm_options o = options_of(b, wire);
	b->m = vmm_new(&o, b->why);
	if (!b->m)
		fail_msg("%s", b->why);
}

static inline void boot(struct bed *b, const unsigned char *code, const unsigned char *end)
{
	b->kernel = elf_of(code, end);
	if (!vmm_boot(b->m, &(struct vmm_load){ .kernel = b->kernel, .kernel_name = "guest", .initrd = -1, .command_line = "" }, b->why))
		fail_msg("%s", b->why);
}

static inline void run_until_event(struct bed *b)
{
	vmm_resume(b->m);
	vio_loop_run(b->home);
}

static inline void unmake(struct bed *b)
{
	vmm_free(b->m);
	vio_thread_stop(b->thread);
	vio_loop_free(b->home);
	close(b->out[0]);
	close(b->out[1]);
	if (b->kernel >= 0)
		close(b->kernel);
}

#define BOOT(b, guest) boot(b, guest, guest##_end)

/* guest_count's. */
static inline uint64_t counter(const struct bed *b) { return *(volatile uint64_t *)(void *)(b->m->memory.base + (2 << 20)); }

static inline void wait_for_progress(const struct bed *b)
{
	for (uint64_t before = counter(b); counter(b) == before;)
		sched_yield();
}

/* ---- Devices ---- */

struct rng { struct vio_dev *dev; struct vio_source *source; struct bed *b; };

static inline void open_rng(void *arg)
{
	struct rng *r = arg;

	r->dev = calloc(1, vio_dev_rng.instance);
	r->source = vio_source_counting(0);
	assert_null(vio_dev_open(r->dev, &vio_dev_rng, &(struct vio_rng_options){ .source = r->source }, &vio_vhost_port, NULL,
	    vio_vhost_features()));
}

static inline void close_rng(void *arg)
{
	struct rng *r = arg;

	vio_dev_close(r->dev);
	vio_source_close(r->source);
	free(r->dev);
}

static inline struct vmm_device *attach(struct bed *b, struct rng *r, const char *name, unsigned slot)
{
	vio_loop_ask(vio_thread_loop(b->thread), open_rng, r);
	return vmm_attach(b->m, &(struct vmm_attach){ .name = name, .dev = r->dev, .loop = vio_thread_loop(b->thread), .slot = slot }, b->why);
}

#endif
