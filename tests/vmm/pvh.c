/* ELF files in guest memory, with and without a PVH note: where they are entered, what they are told, and which are refused. */
#include <tests/vmm/rig.h>
#include <elf.h>
#include <vmm/x86/layout.h>

/*
 * The image: header, four program headers (two segments, notes, a spare), notes, code.  The first segment is the code; the second
 * has 16 bytes of it and more zeroes.
 */
enum { PHDRS = 4, NOTES_AT = 64 + PHDRS * 56, NOTES = 20 + 20 + 20, CODE_AT = 512, CODE = 0x400, DATA_AT = CODE_AT + CODE };
enum { IMAGE = DATA_AT + 16 };
enum { KERNEL = MIB, DATA = MIB + 0x10000, DATA_MEMORY = 0x3000, MEMORY = 4 * MIB };
enum { ENTRY = KERNEL + 0x40, PVH_ENTRY = KERNEL + 0x80 };
enum { PH0 = 64, PH1 = PH0 + 56, PH2 = PH1 + 56, PH3 = PH2 + 56 };	/* where their fields are: as in Elf64_Phdr */
enum { TYPE = 0, OFFSET = 8, PADDR = 24, FILESZ = 32, MEMSZ = 40 };
enum { XEN_AT = NOTES_AT + 20 };		/* the second note */

static void note(unsigned char *to, const char *name, uint32_t type, uint32_t value)
{
	put_le(to, 0, 4, 4);
	put_le(to, 4, 4, 4);
	put_le(to, 8, 4, type);
	memcpy(to + 12, name, 4);
	put_le(to, 16, 4, value);
}

static void segment(unsigned char *to, uint32_t type, uint64_t offset, uint64_t paddr, uint64_t filesz, uint64_t memsz)
{
	Elf64_Phdr p = { .p_type = type, .p_flags = 7, .p_offset = offset, .p_vaddr = UINT64_C(0xffffffff80000000) + paddr,
		.p_paddr = paddr, .p_filesz = filesz, .p_memsz = memsz, .p_align = 4 };

	memcpy(to, &p, sizeof p);
}

static void make(unsigned char image[IMAGE])
{
	Elf64_Ehdr h = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT }, .e_type = ET_EXEC,
		.e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_entry = ENTRY, .e_phoff = 64, .e_ehsize = 64, .e_phentsize = 56,
		.e_phnum = PHDRS };

	memset(image, 0, IMAGE);
	memcpy(image, &h, sizeof h);
	segment(image + PH0, PT_LOAD, CODE_AT, KERNEL, CODE, CODE);
	segment(image + PH1, PT_LOAD, DATA_AT, DATA, 16, DATA_MEMORY);
	segment(image + PH2, PT_NOTE, NOTES_AT, 0, NOTES, NOTES);
	segment(image + PH3, PT_NULL, 0, 0, 0, 0);
	note(image + NOTES_AT, "GNU", 3, 0x11223344);
	note(image + XEN_AT, "Xen", 18, PVH_ENTRY);
	note(image + XEN_AT + 20, "Xen", 9, 0x736579);
	for (unsigned i = CODE_AT; i < IMAGE; i++)
		image[i] = (unsigned char)(i * 5 + i / 256 + 1);
}

static struct rig *with(const unsigned char *image, uint64_t memory)
{
	struct rig *r = rig_new();

	rig_region(r, 0, memory, VIO_MEM_RW);
	r->how.kernel = file_of(image, IMAGE);
	r->how.kernel_name = "vmlinux";
	return r;
}

static void segments(void **state)
{
	unsigned char image[IMAGE], there[CODE];
	(void)state;

	make(image);
	struct rig *r = with(image, MEMORY);
	rig_load(r);
	rig_read(r, KERNEL, there, CODE);
	assert_memory_equal(there, image + CODE_AT, CODE);
	rig_read(r, DATA, there, 16);
	assert_memory_equal(there, image + DATA_AT, 16);
	for (unsigned i = 16; i < DATA_MEMORY; i++)
		assert_int_equal(rig_get(r, DATA + i, 1), 0);
	assert_int_equal(rig_get(r, DATA + DATA_MEMORY, 1), 0xee);
	rig_free(r);
}

static void start_info(void **state)
{
	unsigned char image[IMAGE], ram[5000];
	char line[8];
	(void)state;

	memset(ram, 0x77, sizeof ram);
	make(image);
	struct rig *r = with(image, MEMORY);
	rig_region(r, 4 * VMM_GIB, 0x10000, VIO_MEM_RW);
	r->how.command_line = "quiet x";
	r->how.rsdp = 0xe0000;
	r->how.initrd = file_of(ram, sizeof ram);
	rig_load(r);
	uint64_t s = r->entry.argument, modules = rig_get(r, s + 16, 8), map = rig_get(r, s + 40, 8);
	assert_int_equal(r->entry.kind, VMM_ENTRY_PVH32);
	assert_int_equal(r->entry.at, PVH_ENTRY);
	assert_int_equal(s, VMM_AT_START_INFO);
	assert_int_equal(rig_get(r, s, 4), 0x336ec578);
	assert_int_equal(rig_get(r, s + 4, 4), 1);
	assert_int_equal(rig_get(r, s + 12, 4), 1);
	rig_read(r, rig_get(r, s + 24, 8), line, sizeof line);
	assert_string_equal(line, "quiet x");
	assert_int_equal(rig_get(r, s + 32, 8), 0xe0000);
	assert_int_equal(rig_get(r, modules, 8), MEMORY - 8192);
	assert_int_equal(rig_get(r, modules + 8, 8), sizeof ram);
	assert_int_equal(rig_get(r, MEMORY - 8192 + 4999, 1), 0x77);
	assert_int_equal(rig_get(r, s + 48, 4), 5);
	static const uint64_t want[5][3] = { { 0, 0x9fc00, 1 }, { 0x9fc00, 0x60400, 2 }, { MIB, MEMORY - MIB, 1 },
		{ VMM_ECAM, VMM_ECAM_BYTES, 2 }, { 4 * VMM_GIB, 0x10000, 1 } };
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(rig_get(r, map + 24 * i, 8), want[i][0]);
		assert_int_equal(rig_get(r, map + 24 * i + 8, 8), want[i][1]);
		assert_int_equal(rig_get(r, map + 24 * i + 16, 4), want[i][2]);
	}
	rig_free(r);
}

static void without_initrd(void **state)
{
	unsigned char image[IMAGE];
	(void)state;

	make(image);
	struct rig *r = with(image, MEMORY);
	rig_load(r);
	assert_int_equal(rig_get(r, VMM_AT_START_INFO + 12, 4), 0);
	assert_int_equal(rig_get(r, VMM_AT_START_INFO + 16, 8), 0);
	rig_free(r);
}

static void without_note(void **state)
{
	unsigned char image[IMAGE];
	(void)state;

	make(image);
	put_le(image, XEN_AT + 8, 4, 17);	/* a note, but not this one */
	struct rig *r = with(image, MEMORY);
	r->how.rsdp = 0xe0000;
	rig_load(r);
	assert_int_equal(r->entry.kind, VMM_ENTRY_LONG64);
	assert_int_equal(r->entry.at, ENTRY);
	assert_int_equal(r->entry.argument, VMM_AT_ZERO_PAGE);
	assert_int_equal(rig_get(r, VMM_AT_ZERO_PAGE + 0x202, 4), 0x53726448);
	assert_int_equal(rig_get(r, VMM_AT_ZERO_PAGE + 0x070, 8), 0xe0000);
	assert_int_equal(rig_get(r, VMM_AT_ZERO_PAGE + 0x1e8, 1), 4);
	rig_free(r);
}

/* The note's value may have 8 bytes, and others' notes may be of any length. */
static void notes_of_all_sizes(void **state)
{
	unsigned char image[IMAGE];
	(void)state;

	make(image);
	put_le(image, XEN_AT + 4, 4, 8);
	put_le(image, XEN_AT + 20, 4, 0);
	put_le(image, PH2 + FILESZ, 8, 20 + 24);
	struct rig *r = with(image, MEMORY);
	rig_load(r);
	assert_int_equal(r->entry.at, PVH_ENTRY);
	rig_free(r);
	make(image);
	put_le(image, NOTES_AT, 4, 0);		/* no name, and a value of 5 bytes, padded to 8 */
	put_le(image, NOTES_AT + 4, 4, 5);
	r = with(image, MEMORY);
	rig_load(r);
	assert_int_equal(r->entry.at, PVH_ENTRY);
	rig_free(r);
}

/* ---- Refused ---- */

struct row { const char *what; struct patch patch[4]; uint64_t memory; const char *sentence; };

static const struct row rows[] = {
	{ "32 bits", { { EI_CLASS, 1, ELFCLASS32 } }, 0, "is an ELF file for another machine" },
	{ "big-endian", { { EI_DATA, 1, ELFDATA2MSB } }, 0, "is an ELF file for another machine" },
	{ "arm64", { { 18, 2, EM_AARCH64 } }, 0, "is an ELF file for another machine" },
	{ "an object file", { { 16, 2, ET_REL } }, 0, "is an ELF file that was not linked (type 1)" },
	{ "no program headers", { { 56, 2, 0 } }, 0, "has 0 program headers" },
	{ "too many program headers", { { 56, 2, 129 } }, 0, "has 129 program headers" },
	{ "program headers of an odd size", { { 54, 2, 32 } }, 0, "program headers of 32 bytes" },
	{ "program headers behind the end", { { 32, 8, IMAGE - 4 * 56 + 1 } }, 0, "is cut short" },
	{ "program headers at the end of all numbers", { { 32, 8, UINT64_MAX } }, 0, "is cut short" },
	{ "a program", { { PH3, 4, PT_INTERP } }, 0, "is a program that is linked dynamically" },
	{ "a segment with more in the file than in memory", { { PH0 + MEMSZ, 8, CODE - 1 } }, 0, "more bytes in the file than in memory" },
	{ "a segment behind the file's end", { { PH1 + OFFSET, 8, DATA_AT + 1 } }, 0, "is cut short" },
	{ "a segment whose offset wraps", { { PH1 + OFFSET, 8, UINT64_MAX - 8 } }, 0, "is cut short" },
	{ "a segment of all addresses", { { PH1 + MEMSZ, 8, UINT64_MAX } }, 0, "beyond the end of all addresses; the file is damaged" },
	{ "a segment at the end of all addresses", { { PH1 + PADDR, 8, UINT64_MAX - 4 } }, 0, "beyond the end of all addresses" },
	{ "a segment outside memory", { { PH1 + PADDR, 8, 64 * MIB } }, 0, "a segment needs memory from 0x4000000 up to 0x4002fff" },
	{ "a segment that memory ends in", { { PH1 + PADDR, 8, MEMORY - 0x1000 } }, 0, "none at 0x400000; give it more memory" },
	{ "a segment over another", { { PH1 + PADDR, 8, KERNEL + CODE - 1 } }, 0,
		"would lie over a segment (0x400 bytes at 0x100000); link it" },
	{ "a segment around another", { { PH0 + PADDR, 8, DATA + 0x100 } }, 0, "would lie over a segment" },
	{ "a segment over the zero page", { { PH1 + PADDR, 8, VMM_AT_ZERO_PAGE } }, 0,
		"would lie over what the machine puts into low memory" },
	{ "a segment over the command line", { { PH1 + PADDR, 8, VMM_AT_COMMAND_LINE - 1 } }, 0, "would lie over the command line" },
	{ "a segment over the ACPI tables", { { PH1 + PADDR, 8, VMM_AT_ACPI } }, 0, "would lie over the machine's tables below 1 MiB" },
	{ "entered outside", { { XEN_AT + 16, 4, KERNEL + CODE } }, 0, "is entered at 0x100400 (its PVH note), which is not" },
	{ "entered in zeroes", { { XEN_AT + 16, 4, DATA + 16 } }, 0, "is entered at 0x110010" },
	{ "entered at a virtual address", { { XEN_AT + 8, 4, 0 }, { 24, 8, UINT64_C(0xffffffff80100040) } }, 0,
		"is entered at 0xffffffff80100040, which is not the physical address" },
	{ "notes behind the end", { { PH2 + OFFSET, 8, IMAGE - 4 } }, 0, "is cut short" },
	{ "notes at the end of all numbers", { { PH2 + OFFSET, 8, UINT64_MAX - 3 } }, 0, "is cut short" },
	{ "notes that end in one", { { PH2 + FILESZ, 8, 20 + 11 } }, 0, "its notes end in the middle of one" },
	{ "a note that reaches over the end", { { XEN_AT + 4, 4, 25 } }, 0, "a note reaches over the end" },
	{ "a note of 4 GiB of name", { { NOTES_AT, 4, UINT32_MAX } }, 0, "a note reaches over the end" },
	{ "a note of 4 GiB of value", { { NOTES_AT + 4, 4, UINT32_MAX } }, 0, "a note reaches over the end" },
	{ "a PVH note of no bytes", { { XEN_AT + 4, 4, 0 }, { XEN_AT + 16, 4, 0 }, { PH2 + FILESZ, 8, 36 } }, 0,
		"its PVH entry has 0 bytes" },
	{ "a PVH note of 5 bytes", { { XEN_AT + 4, 4, 5 } }, 0, "its PVH entry has 5 bytes, not 4 or 8" },
	{ "too little memory", { { 0, 1, 0x7f } }, 0x8000, "needs memory from 0x0" },
	{ "a command line too long", { { 0, 1, 0x7f } }, 1, "takes a command line of 2047 bytes at most, and 2048 were given" },
};

static void bad_images(void **state)
{
	static char line[VMM_COMMAND_LINE_MAX + 1];
	unsigned char image[IMAGE];
	(void)state;

	memset(line, 'x', VMM_COMMAND_LINE_MAX);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		make(image);
		for (unsigned j = 0; j < 4; j++)
			put_le(image, rows[i].patch[j].at, rows[i].patch[j].width, rows[i].patch[j].value);
		struct rig *r = with(image, rows[i].memory > 1 ? rows[i].memory : MEMORY);
		if (rows[i].memory == 1)
			r->how.command_line = line;
		rig_refused(r, rows[i].what, "vmlinux", rows[i].sentence);
		rig_free(r);
	}
}

static void cut_everywhere(void **state)
{
	unsigned char image[IMAGE];
	(void)state;

	make(image);
	struct rig *r = with(image, MEMORY);
	for (int n = IMAGE - 1; n >= 0; n--) {
		assert_int_equal(ftruncate(r->how.kernel, n), 0);
		rig_refused(r, "cut", "vmlinux", n < 4 ? "is not a kernel" : "is cut short");
	}
	rig_free(r);
}

/* A damaged file may have as many notes as it likes. */
static void endless_notes(void **state)
{
	enum { EMPTY = 12 * 5000 };
	unsigned char *image = calloc(1, IMAGE + EMPTY);
	(void)state;

	make(image);
	put_le(image, PH2 + OFFSET, 8, IMAGE);
	put_le(image, PH2 + FILESZ, 8, EMPTY);
	struct rig *r = with(image, MEMORY);
	assert_int_equal(ftruncate(r->how.kernel, IMAGE + EMPTY), 0);
	rig_refused(r, "endless notes", "vmlinux", "its notes are too many");
	rig_free(r);
	free(image);
}

static void initrd_too_large(void **state)
{
	unsigned char image[IMAGE];
	(void)state;

	make(image);
	struct rig *r = with(image, MEMORY);
	r->how.initrd = file_of("x", 1);
	assert_int_equal(ftruncate(r->how.initrd, MEMORY - DATA - DATA_MEMORY + 1), 0);
	rig_refused(r, "too large", "initrd.img", "give the machine more memory, or a smaller initrd");
	assert_int_equal(ftruncate(r->how.initrd, MEMORY - DATA - DATA_MEMORY), 0);
	rig_load(r);
	assert_int_equal(ftruncate(r->how.initrd, INT64_MAX / 2), 0);
	rig_refused(r, "endless", "initrd.img", "give the machine more memory, or a smaller initrd");
	rig_free(r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(segments, "an ELF file's segments lie at their physical addresses, with zeroes behind"),
		T(start_info, "an ELF file with a PVH note is entered there and told of command line, initrd, tables and memory"),
		T(without_initrd, "without an initrd there are no modules"),
		T(without_note, "an ELF file without a PVH note is entered in long mode with a zero page"),
		T(notes_of_all_sizes, "notes of all sizes are stepped over"),
		T(bad_images, "each bad ELF file is refused by a sentence of its own"),
		T(cut_everywhere, "an ELF file that was cut short is refused, wherever"),
		T(endless_notes, "a file of nothing but notes is refused"),
		T(initrd_too_large, "an initrd is refused from the first byte on that has no room"),
	};
	return vio_tests("pvh", tests, sizeof tests / sizeof *tests);
}
