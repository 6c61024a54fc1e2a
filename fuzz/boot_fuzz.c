/*
 * A kernel file that nobody vouches for, loaded into a machine of little memory in one piece or several: each loader refuses
 * it in a sentence or enters it where memory is.  The tables beside it are made for machines of all sizes.
 */
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmm/arm64/fdt.h>
#include <vmm/arm64/layout.h>
#include <vmm/boot.h>
#include <vmm/x86/acpi.h>
#include <vmm/x86/entry.h>
#include <vmm/x86/layout.h>
#include "feed.h"

enum { MIB = 1 << 20, IMAGE = 8192, REGIONS = 4, LINE = 2100, MMIOS = 600 };

struct machine {
	struct vio_region region[REGIONS];
	struct vio_mem mem;
};

static void put(unsigned char *to, unsigned width, uint64_t v)
{
	for (unsigned i = 0; i < width; i++)
		to[i] = (unsigned char)(v >> 8 * i);
}

static void region(struct machine *m, uint64_t gpa, uint64_t bytes, uint8_t perm)
{
	void *host = NULL;

	if (posix_memalign(&host, 16, bytes))
		abort();
	m->region[m->mem.count++] = (struct vio_region){ .gpa = gpa, .size = bytes, .host = host, .perm = perm };
}

static void memory(struct machine *m, struct feed *f, uint64_t base)
{
	uint8_t how = (uint8_t)take(f, 1);
	uint64_t cut = how & 1 ? 16 + take(f, 2) * 16 : 0;

	m->mem.region = m->region;
	m->mem.refs = 1;
	if (cut)
		region(m, base, cut, VIO_MEM_RW);
	region(m, base + cut, 3 * MIB - (how & 2 ? take(f, 2) * 32 : 0), how & 4 ? VIO_MEM_READ : VIO_MEM_RW);
	if (how & 8)
		region(m, 4 * VMM_GIB, 4096, VIO_MEM_RW);
	if (how & 16)
		region(m, UINT64_MAX - 4095, 4096, VIO_MEM_RW);
	if (vio_mem_check(m->region, m->mem.count))
		abort();
}

/* ---- Good files, for chance to spoil ---- */

static void bzimage(unsigned char *image)
{
	put(image + 0x1f1, 1, 1);
	put(image + 0x1f4, 4, (IMAGE - 1024) / 16);
	put(image + 0x1fe, 4, 0x6aeb << 16 | 0xaa55);
	put(image + 0x202, 4, 0x53726448);
	put(image + 0x206, 2, 0x20f);
	put(image + 0x211, 1, 1);
	put(image + 0x22c, 4, 0x7fffffff);
	put(image + 0x236, 2, 1);
	put(image + 0x238, 4, 2047);
	put(image + 0x258, 8, MIB);
	put(image + 0x260, 4, 0x10000);
}

static void elf(unsigned char *image)
{
	Elf64_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC,
		.e_machine = EM_X86_64, .e_entry = MIB, .e_phoff = 64, .e_phentsize = 56, .e_phnum = 3 };
	Elf64_Phdr p[3] = { { .p_type = PT_LOAD, .p_offset = 1024, .p_paddr = MIB, .p_filesz = 512, .p_memsz = 4096 },
		{ .p_type = PT_LOAD, .p_offset = 2048, .p_paddr = MIB + 8192, .p_filesz = 512, .p_memsz = 512 },
		{ .p_type = PT_NOTE, .p_offset = 512, .p_filesz = 40 } };

	memcpy(image, &h, sizeof h);
	memcpy(image + 64, p, sizeof p);
	for (unsigned at = 512; at < 552; at += 20) {
		put(image + at, 4, 4);
		put(image + at + 4, 4, 4);
		put(image + at + 8, 4, 18);
		memcpy(image + at + 12, at == 512 ? "GNU" : "Xen", 4);
		put(image + at + 16, 4, MIB + 16);
	}
}

static void arm64(unsigned char *image)
{
	put(image + 16, 8, 16384);
	put(image + 56, 4, 0x644d5241);
}

static const struct { void (*make)(unsigned char *image); unsigned interesting, from; } kinds[] = {
	{ bzimage, 0x80, 0x1f0 }, { elf, 232, 0 }, { elf, 40, 512 }, { arm64, 64, 0 },
};

/* A file of what chance made of a good one, open; at most this long. */
static int file(struct feed *f, unsigned kind)
{
	static unsigned char image[IMAGE];
	uint64_t bytes = IMAGE;
	int fd = memfd_create("image", MFD_CLOEXEC);

	memset(image, 0, sizeof image);
	kinds[kind].make(image);
	for (unsigned n = (unsigned)take(f, 1) % 8; n; n--) {
		uint8_t how = (uint8_t)take(f, 1);
		unsigned at = kinds[kind].from + (unsigned)take(f, 1) % kinds[kind].interesting, width = 1u << how % 4;
		uint64_t v = take(f, how & 0x10 ? width : 1);
		put(image + at, width, how & 0x20 ? UINT64_MAX - v : how & 0x40 ? MIB + v * 256 : v);
	}
	if (take(f, 1) & 1)
		bytes = take(f, 2) % (IMAGE + 1);
	if (fd < 0 || write(fd, image, bytes) != (ssize_t)bytes)
		abort();
	return fd;
}

static int initrd(struct feed *f)
{
	uint8_t how = (uint8_t)take(f, 1);

	if (how < 128)
		return -1;
	int fd = memfd_create("initrd", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, how < 192 ? (off_t)take(f, 2) * 64 : (off_t)(take(f, 8) >> 2)))
		abort();
	return fd;
}

/* ---- Loaded ---- */

static void there(const struct machine *m, uint64_t at, uint64_t bytes)
{
	struct vio_mem_hit hit;

	while (bytes) {
		if (!vio_mem_find(&m->mem, at, VIO_MEM_RW, &hit))
			abort();
		uint64_t some = hit.size - (at - hit.addr);
		some = some < bytes ? some : bytes;
		at += some, bytes -= some;
	}
}

static void load(struct machine *m, struct feed *f, unsigned kind)
{
	static char line[LINE + 1];
	size_t length = take(f, 1) & 1 ? (size_t)take(f, 2) % LINE : 5;
	char why[VMM_WHY] = { 0 };
	struct vmm_entry e;
	struct vmm_x86_start start;
	bool x86 = kind < 3;

	memset(line, 'x', LINE);
	line[length] = 0;
	struct vmm_load how = { .kernel = file(f, kind), .kernel_name = "kernel", .initrd = initrd(f), .initrd_name = "initrd",
		.command_line = line, .rsdp = take(f, 4), .device_tree = VMM_ARM64_AT_DEVICE_TREE + take(f, 1) * 4096,
		.device_tree_bytes = VMM_ARM64_DEVICE_TREE_BYTES };
	if ((x86 ? vmm_load_x86 : vmm_load_arm64)(&how, &m->mem, &e, why)) {
		there(m, e.at, 1);
		there(m, e.argument, 1);
		there(m, e.initrd, e.initrd_bytes);
		if (x86 && !vmm_x86_entry(&e, &m->mem, &start, why))
			abort();
	} else if (strncmp(why, "kernel: ", 8) && strncmp(why, "initrd: ", 8)) {
		abort();
	}
	close(how.kernel);
	if (how.initrd >= 0)
		close(how.initrd);
}

static void tables(struct machine *m, struct feed *f, bool x86)
{
	static struct vmm_acpi_mmio mmio[MMIOS];
	static struct vmm_fdt_mmio node[MMIOS];
	uint8_t bits = (uint8_t)take(f, 1);
	char why[VMM_WHY] = { 0 };
	struct vmm_acpi a = { .cpus = (unsigned)take(f, 1), .pci = bits & 1, .pci64 = take(f, 4) << 30, .pci64_bytes = take(f, 1) << 30,
		.mmio = mmio, .mmios = (unsigned)take(f, 2) % MMIOS, .serial = bits & 2 };
	struct vmm_fdt d = { .cpus = a.cpus, .pci = a.pci, .its = bits & 4, .serial = a.serial, .pci64 = a.pci64,
		.pci64_bytes = a.pci64_bytes, .mmio = node, .mmios = a.mmios, .initrd_bytes = bits & 8 };
	uint64_t rsdp;

	for (unsigned i = 0; i < a.mmios; i++) {
		mmio[i] = (struct vmm_acpi_mmio){ take(f, 5), (uint32_t)take(f, 1) };
		node[i] = (struct vmm_fdt_mmio){ mmio[i].base, mmio[i].gsi };
	}
	if (!(x86 ? vmm_acpi_build(&a, &m->mem, &rsdp, why) :
	    vmm_fdt_build(&d, &m->mem, VMM_ARM64_AT_DEVICE_TREE, take(f, 2), why)) && !*why)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct feed f = { data, data + n };
	struct machine m = { .mem = { .count = 0 } };
	unsigned kind = (unsigned)take(&f, 1) % 5;
	bool x86 = kind < 3 || (kind == 4 && take(&f, 1) & 1);

	memory(&m, &f, x86 ? 0 : VMM_ARM64_MEMORY);
	if (kind == 4)
		tables(&m, &f, x86);
	else
		load(&m, &f, kind);
	for (unsigned i = 0; i < m.mem.count; i++)
		free(m.region[i].host);
	return 0;
}
