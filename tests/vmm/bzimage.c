/* A bzImage in guest memory: what the kernel finds there, and what is wrong with those that are refused. */
#include <tests/vmm/rig.h>
#include <vmm/x86/bootparam.h>
#include <vmm/x86/layout.h>

enum { SECTORS = 3, CODE_AT = (SECTORS + 1) * 512, CODE = 0x1000, IMAGE = CODE_AT + CODE, INIT = 0x20000 };
enum { KERNEL = 2 * MIB, MEMORY = 4 * MIB, HEADER_END = 0x26c };

static void make(unsigned char image[IMAGE])
{
	memset(image, 0, IMAGE);
	put_le(image, 0x1f1, 1, SECTORS);
	put_le(image, 0x1f4, 4, CODE / 16);
	put_le(image, 0x1fe, 2, 0xaa55);
	put_le(image, 0x200, 2, 0xeb | (HEADER_END - 0x202) << 8);
	put_le(image, 0x202, 4, 0x53726448);
	put_le(image, 0x206, 2, 0x20f);
	put_le(image, 0x211, 1, 1);
	put_le(image, 0x22c, 4, 0x7fffffff);
	put_le(image, 0x230, 4, 0x200000);
	put_le(image, 0x234, 1, 1);
	put_le(image, 0x236, 2, 1);
	put_le(image, 0x238, 4, 2047);
	put_le(image, 0x258, 8, KERNEL);
	put_le(image, 0x260, 4, INIT);
	put_le(image, HEADER_END, 4, 0x12345678);	/* code: no part of the header */
	for (unsigned i = 0; i < CODE; i++)
		image[CODE_AT + i] = (unsigned char)(i * 7 + i / 256);
}

static struct rig *with(const unsigned char *image, size_t bytes, uint64_t memory)
{
	struct rig *r = rig_new();

	rig_region(r, 0, memory, VIO_MEM_RW);
	r->how.kernel = file_of(image, bytes);
	return r;
}

static void entered(void **state)
{
	unsigned char image[IMAGE], there[CODE];
	(void)state;

	make(image);
	struct rig *r = with(image, sizeof image, MEMORY);
	r->how.command_line = "console=ttyS0 panic=-1";
	r->how.rsdp = 0xe0000;
	rig_load(r);
	assert_int_equal(r->entry.kind, VMM_ENTRY_LONG64);
	assert_int_equal(r->entry.at, KERNEL + 0x200);
	assert_int_equal(r->entry.argument, VMM_AT_ZERO_PAGE);
	rig_read(r, KERNEL, there, CODE);
	assert_memory_equal(there, image + CODE_AT, CODE);
	rig_free(r);
}

static void zero_page(void **state)
{
	unsigned char image[IMAGE];
	char line[23];
	uint64_t z = VMM_AT_ZERO_PAGE;
	(void)state;

	make(image);
	struct rig *r = with(image, sizeof image, MEMORY);
	r->how.command_line = "console=ttyS0 panic=-1";
	r->how.rsdp = 0xe0000;
	rig_load(r);
	assert_int_equal(rig_get(r, z + 0x070, 8), 0xe0000);
	assert_int_equal(rig_get(r, z + 0x1ef, 1), 0);		/* the sentinel */
	assert_int_equal(rig_get(r, z + 0x202, 4), 0x53726448);
	assert_int_equal(rig_get(r, z + 0x206, 2), 0x20f);
	assert_int_equal(rig_get(r, z + 0x210, 1), 0xff);
	assert_int_equal(rig_get(r, z + 0x211, 1), 1);
	assert_int_equal(rig_get(r, z + 0x214, 4), KERNEL);
	assert_int_equal(rig_get(r, z + 0x218, 8), 0);		/* no initrd */
	assert_int_equal(rig_get(r, z + 0x228, 4), VMM_AT_COMMAND_LINE);
	assert_int_equal(rig_get(r, z + 0x260, 4), INIT);
	assert_int_equal(rig_get(r, z + HEADER_END, 4), 0);
	rig_read(r, VMM_AT_COMMAND_LINE, line, sizeof line);
	assert_string_equal(line, "console=ttyS0 panic=-1");
	for (unsigned at = 0; at < 0x70; at++)
		assert_int_equal(rig_get(r, z + at, 1), 0);
	rig_free(r);
}

static void e820_is(const struct rig *r, const uint64_t (*want)[3], unsigned n)
{
	assert_int_equal(rig_get(r, VMM_AT_ZERO_PAGE + 0x1e8, 1), n);
	for (unsigned i = 0; i < n; i++) {
		uint64_t e = VMM_AT_ZERO_PAGE + 0x2d0 + 20 * i;
		assert_int_equal(rig_get(r, e, 8), want[i][0]);
		assert_int_equal(rig_get(r, e + 8, 8), want[i][1]);
		assert_int_equal(rig_get(r, e + 16, 4), want[i][2]);
	}
}

static void map_of_memory(void **state)
{
	static const uint64_t whole[][3] = { { 0, 0x9fc00, 1 }, { 0x9fc00, 0x60400, 2 }, { 0x100000, MEMORY - 0x100000, 1 },
		{ VMM_ECAM, VMM_ECAM_BYTES, 2 } };
	static const uint64_t high[][3] = { { 0, 0x9fc00, 1 }, { 0x9fc00, 0x60400, 2 }, { 0x100000, MEMORY - 0x100000, 1 },
		{ VMM_ECAM, VMM_ECAM_BYTES, 2 }, { 4 * VMM_GIB, 0x10000, 1 } };
	unsigned char image[IMAGE];
	(void)state;

	make(image);
	struct rig *r = with(image, sizeof image, MEMORY);
	rig_load(r);
	e820_is(r, whole, 4);
	rig_region(r, 3 * VMM_GIB, 0x1000, VIO_MEM_READ);	/* no memory to a kernel */
	rig_region(r, 4 * VMM_GIB, 0x8000, VIO_MEM_RW);
	rig_region(r, 4 * VMM_GIB + 0x8000, 0x8000, VIO_MEM_RW);
	rig_load(r);
	e820_is(r, high, 5);
	rig_free(r);
}

static void initrd_is(const struct rig *r, uint64_t at, const unsigned char *bytes, uint64_t n)
{
	unsigned char *there = malloc(n);

	assert_int_equal(r->entry.initrd, at);
	assert_int_equal(r->entry.initrd_bytes, n);
	assert_int_equal(rig_get(r, VMM_AT_ZERO_PAGE + 0x218, 4), at);
	assert_int_equal(rig_get(r, VMM_AT_ZERO_PAGE + 0x21c, 4), n);
	rig_read(r, at, there, n);
	assert_memory_equal(there, bytes, n);
	free(there);
}

static void initrd(void **state)
{
	unsigned char image[IMAGE], ram[5000];
	(void)state;

	for (unsigned i = 0; i < sizeof ram; i++)
		ram[i] = (unsigned char)(i * 3 + 1);
	make(image);
	struct rig *r = with(image, sizeof image, MEMORY);
	r->how.initrd = file_of(ram, sizeof ram);
	rig_load(r);
	initrd_is(r, MEMORY - 8192, ram, sizeof ram);
	close(r->how.kernel);
	put_le(image, 0x22c, 4, MEMORY - 0x1001);	/* initrd_addr_max: the last byte it may have */
	r->how.kernel = file_of(image, sizeof image);
	rig_load(r);
	initrd_is(r, MEMORY - 0x1000 - 8192, ram, sizeof ram);
	close(r->how.kernel);
	put_le(image, 0x22c, 4, KERNEL + INIT - 1 + 4096);	/* above the kernel is not enough room then: below it */
	r->how.kernel = file_of(image, sizeof image);
	rig_load(r);
	initrd_is(r, KERNEL - 8192, ram, sizeof ram);
	rig_free(r);
}

static void in_pieces(void **state)
{
	unsigned char image[IMAGE], ram[5000], there[CODE];
	(void)state;

	memset(ram, 0x5a, sizeof ram);
	make(image);
	struct rig *r = rig_new();
	for (unsigned i = 0; i < 100; i++)
		rig_region(r, i * (uint64_t)(MEMORY / 100 / 16 * 16), MEMORY / 100 / 16 * 16, VIO_MEM_RW);
	r->how.kernel = file_of(image, sizeof image);
	r->how.initrd = file_of(ram, sizeof ram);
	rig_load(r);
	rig_read(r, KERNEL, there, CODE);
	assert_memory_equal(there, image + CODE_AT, CODE);
	initrd_is(r, (100ull * (MEMORY / 100 / 16 * 16) - sizeof ram) / 4096 * 4096, ram, sizeof ram);
	assert_int_equal(rig_get(r, VMM_AT_ZERO_PAGE + 0x1e8, 1), 4);
	rig_free(r);
}

/* ---- Refused ---- */

struct row { const char *what; struct patch patch[3]; uint64_t memory; const char *sentence; };

static const struct row rows[] = {
	{ "no boot flag", { { 0x1fe, 2, 0 } }, 0, "is damaged: no boot flag" },
	{ "an old protocol", { { 0x206, 2, 0x20b } }, 0, "speaks boot protocol 2.11, and 2.12 is needed" },
	{ "a header that ends before init_size", { { 0x201, 1, 0x263 - 0x202 } }, 0, "its setup header ends at 0x263" },
	{ "a header of no bytes", { { 0x201, 1, 0 } }, 0, "is damaged" },
	{ "a zImage", { { 0x211, 1, 0 } }, 0, "is a zImage" },
	{ "32 bits", { { 0x236, 2, 0xfffe } }, 0, "give one for x86-64" },
	{ "no code", { { 0x1f4, 4, 0 } }, 0, "is damaged: 0 bytes of code" },
	{ "code that ends at its entry", { { 0x1f4, 4, 0x20 } }, 0, "is damaged: 512 bytes of code" },
	{ "code of 64 GiB", { { 0x1f4, 4, UINT32_MAX } }, 0, "is cut short: 6144 bytes long, and its header speaks of 68719478768" },
	{ "code of 16 bytes more than there are", { { 0x1f4, 4, CODE / 16 + 1 } }, 0, "is cut short" },
	{ "more sectors for real mode than there are", { { 0x1f1, 1, 255 } }, 0, "is cut short" },
	{ "no sectors for real mode, which means 4", { { 0x1f1, 1, 0 } }, 0, "is cut short" },
	{ "code below 1 MiB", { { 0x258, 8, 0x10000 } }, 0, "wants to run at 0x10000" },
	{ "code at 4 GiB", { { 0x258, 8, 4 * VMM_GIB } }, 0, "wants to run at 0x100000000" },
	{ "code at the end of all addresses", { { 0x258, 8, UINT64_MAX - 0xfff } }, 0, "where no kernel can be" },
	{ "code at no page", { { 0x258, 8, KERNEL + 8 } }, 0, "where no kernel can be" },
	{ "code behind memory", { { 0x258, 8, 8 * MIB } }, 0,
		"needs memory from 0x800000 up to 0x81ffff, and the machine has none at 0x800000" },
	{ "code that unpacks itself over the end of memory", { { 0x260, 4, 0x200001 } }, 0, "none at 0x400000; give it more memory" },
	{ "init_size of 4 GiB", { { 0x260, 4, UINT32_MAX } }, 0, "the kernel needs memory from 0x200000" },
	{ "a command line longer than this kernel takes", { { 0x238, 4, 5 } }, 0,
		"takes a command line of 5 bytes at most, and 6 were given; shorten it" },
	{ "a machine of no memory for the tables", { { 0, 0, 0 } }, 0x8000, "needs memory from 0x0 up to 0xefff" },
	{ "a machine that ends before its tables", { { 0, 0, 0 } }, 0xf0000, "the machine's tables below 1 MiB needs memory" },
	{ "a machine that ends where the kernel begins", { { 0, 0, 0 } }, KERNEL, "none at 0x200000" },
	{ "an arm64 kernel", { { 0x202, 4, 0 }, { 56, 4, 0x644d5241 } }, 0, "is a kernel for arm64, and this machine is x86-64" },
	{ "no kernel at all", { { 0x202, 4, 0 } }, 0, "is not a kernel that this machine knows; give it a bzImage" },
};

static void bad_images(void **state)
{
	unsigned char image[IMAGE];
	(void)state;

	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		make(image);
		for (unsigned j = 0; j < 3; j++)
			put_le(image, rows[i].patch[j].at, rows[i].patch[j].width, rows[i].patch[j].value);
		struct rig *r = with(image, sizeof image, rows[i].memory ? rows[i].memory : MEMORY);
		r->how.command_line = "abcdef";
		rig_refused(r, rows[i].what, "vmlinuz", rows[i].sentence);
		rig_free(r);
	}
}

static void cut_everywhere(void **state)
{
	unsigned char image[IMAGE];
	(void)state;

	make(image);
	struct rig *r = with(image, sizeof image, MEMORY);
	for (int n = IMAGE - 1; n >= 0; n -= n > CODE_AT + 0x210 ? 97 : 1) {
		assert_int_equal(ftruncate(r->how.kernel, n), 0);
		rig_refused(r, "cut", "vmlinuz", n < 0x206 ? "is not a kernel" : "is cut short");
	}
	rig_free(r);
}

static void bad_initrds(void **state)
{
	unsigned char image[IMAGE];
	unsigned char *ram = calloc(1, 2 * MIB);
	(void)state;

	make(image);
	struct rig *r = with(image, sizeof image, MEMORY);
	r->how.initrd = file_of(ram, 0);
	rig_refused(r, "empty", "initrd.img", "the initrd is empty");
	close(r->how.initrd);
	r->how.initrd = file_of(ram, 2 * MIB - INIT + 1);
	rig_refused(r, "too large", "initrd.img", "give the machine more memory, or a smaller initrd");
	close(r->how.initrd);
	r->how.initrd = file_of(ram, 2 * MIB - INIT);
	rig_load(r);
	put_le(image, 0x22c, 4, 0);
	close(r->how.kernel);
	r->how.kernel = file_of(image, sizeof image);
	rig_refused(r, "nowhere", "initrd.img", "no room for initrd");
	rig_free(r);
	free(ram);
}

static void bad_lines(void **state)
{
	unsigned char image[IMAGE];
	char line[VMM_COMMAND_LINE_MAX + 1] = { 0 };
	(void)state;

	make(image);
	put_le(image, 0x238, 4, UINT32_MAX);	/* the kernel takes anything: the machine has room for so many */
	struct rig *r = with(image, sizeof image, MEMORY);
	memset(line, 'x', VMM_COMMAND_LINE_MAX - 1);
	r->how.command_line = line;
	rig_load(r);
	line[VMM_COMMAND_LINE_MAX - 1] = 'x';
	rig_refused(r, "too long", "vmlinuz", "takes a command line of 2047 bytes at most, and 2048 were given");
	rig_free(r);
}

static void not_files(void **state)
{
	int ends[2];
	struct rig *r = rig_new();
	(void)state;

	rig_region(r, 0, MEMORY, VIO_MEM_RW);
	assert_int_equal(pipe(ends), 0);
	r->how.kernel = ends[0];
	rig_refused(r, "a pipe", "vmlinuz", "give a file, not a pipe");
	close(ends[1]);
	rig_free(r);
}

static void many_pieces(void **state)
{
	unsigned char image[IMAGE];
	(void)state;

	make(image);
	struct rig *r = with(image, sizeof image, MEMORY);
	for (unsigned i = 0; i < 130; i++)
		rig_region(r, 4 * VMM_GIB + i * UINT64_C(0x2000), 0x1000, VIO_MEM_RW);
	rig_refused(r, "too many pieces", "vmlinuz", "memory is in more than 128 pieces");
	rig_free(r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(entered, "a bzImage lies where it wants to be and is entered at its 64-bit entry"),
		T(zero_page, "the zero page has the kernel's own header, what a loader fills in, and nothing else"),
		T(map_of_memory, "the kernel is told of all memory but for the tables below 1 MiB"),
		T(initrd, "the initrd lies as high as memory, the kernel's limit and the kernel allow"),
		T(in_pieces, "memory in a hundred pieces is the same to the kernel"),
		T(bad_images, "each bad bzImage is refused by a sentence of its own"),
		T(cut_everywhere, "a bzImage that was cut short is refused, wherever"),
		T(bad_initrds, "an initrd that is empty, too large or has no place is refused"),
		T(bad_lines, "a command line that is too long is refused"),
		T(not_files, "a pipe is refused"),
		T(many_pieces, "memory in more pieces than can be told is refused"),
	};
	return vio_tests("bzimage", tests, sizeof tests / sizeof *tests);
}
