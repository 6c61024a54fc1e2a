/* An arm64 Image in guest memory and its device tree, walked with libfdt. */
#include <tests/vmm/rig.h>
#include <fcntl.h>
#include <libfdt.h>
#include <vmm/arm64/fdt.h>
#include <vmm/arm64/layout.h>

enum { IMAGE = 0x3000, SIZE = 0x8000, MEMORY = 8 * MIB };
#define BASE VMM_ARM64_MEMORY
#define KERNEL VMM_ARM64_AT_KERNEL

static void make(unsigned char image[IMAGE])
{
	memset(image, 0, IMAGE);
	put_le(image, 0, 4, 0x14000010);
	put_le(image, 8, 8, 0);
	put_le(image, 16, 8, SIZE);
	put_le(image, 24, 8, 0xa);
	put_le(image, 56, 4, 0x644d5241);
	for (unsigned i = 64; i < IMAGE; i++)
		image[i] = (unsigned char)(i * 11 + i / 256);
}

static struct rig *with(const unsigned char *image, size_t bytes)
{
	struct rig *r = rig_new();

	rig_region(r, BASE, MEMORY, VIO_MEM_RW);
	r->load = vmm_load_arm64;
	r->how.kernel = file_of(image, bytes);
	r->how.kernel_name = "Image";
	r->how.device_tree = VMM_ARM64_AT_DEVICE_TREE;
	r->how.device_tree_bytes = VMM_ARM64_DEVICE_TREE_BYTES;
	return r;
}

/* ---- Image ---- */

static void entered(void **state)
{
	unsigned char image[IMAGE], there[IMAGE];
	(void)state;

	make(image);
	struct rig *r = with(image, sizeof image);
	rig_load(r);
	assert_int_equal(r->entry.kind, VMM_ENTRY_ARM64);
	assert_int_equal(r->entry.at, KERNEL);
	assert_int_equal(r->entry.at % (2 * MIB), 0);
	assert_int_equal(r->entry.argument, VMM_ARM64_AT_DEVICE_TREE);
	rig_read(r, KERNEL, there, IMAGE);
	assert_memory_equal(there, image, IMAGE);
	rig_free(r);
}

static void offset(void **state)
{
	unsigned char image[IMAGE];
	(void)state;

	make(image);
	put_le(image, 8, 8, 0x80000);
	struct rig *r = with(image, sizeof image);
	rig_load(r);
	assert_int_equal(r->entry.at, KERNEL + 0x80000);
	rig_free(r);
	put_le(image, 8, 8, UINT64_C(0x0000080000000000));	/* before Linux 3.17, in the other order of bytes */
	put_le(image, 16, 8, 0);
	r = with(image, sizeof image);
	rig_load(r);
	assert_int_equal(r->entry.at, KERNEL + 0x80000);
	rig_free(r);
}

static void initrd(void **state)
{
	unsigned char image[IMAGE], ram[5000];
	(void)state;

	memset(ram, 0x66, sizeof ram);
	make(image);
	struct rig *r = with(image, sizeof image);
	r->how.initrd = file_of(ram, sizeof ram);
	rig_load(r);
	assert_int_equal(r->entry.initrd, BASE + MEMORY - 8192);
	assert_int_equal(r->entry.initrd_bytes, sizeof ram);
	assert_int_equal(rig_get(r, BASE + MEMORY - 8192 + 4999, 1), 0x66);
	rig_free(r);
}

struct row { const char *what; struct patch patch[2]; uint64_t cut; const char *sentence; };

static const struct row rows[] = {
	{ "big-endian", { { 24, 8, 1 } }, 0, "is a big-endian kernel" },
	{ "an offset of no page", { { 8, 8, 8 } }, 0, "it wants to be 0x8 bytes behind 2 MiB" },
	{ "an offset that wraps", { { 8, 8, UINT64_MAX - 4095 } }, 0, "is damaged: it wants to be 0xfffffffffffff000" },
	{ "an offset behind memory", { { 8, 8, 64 * MIB } }, 0, "the kernel needs memory from 0x44200000 up to 0x44207fff" },
	{ "a size over the end of memory", { { 16, 8, 6 * MIB + 1 } }, 0, "none at 0x40800000; give it more memory" },
	{ "a size of all addresses", { { 16, 8, UINT64_MAX } }, 0, "beyond the end of all addresses" },
	{ "a size less than the file's", { { 16, 8, IMAGE - 1 } }, 0, "is damaged: 12288 bytes long, and its header says 12287" },
	{ "packed", { { 0, 2, 0x8b1f }, { 56, 4, 0 } }, 0, "is packed with gzip; unpack it first" },
	{ "an EFI program", { { 0, 8, UINT64_C(0x676d697a00005a4d) }, { 56, 4, 0 } }, 0, "is a packed EFI program" },
	{ "an ELF file", { { 0, 4, 0x464c457f }, { 56, 4, 0 } }, 0, "is an ELF file; give an Image" },
	{ "no kernel at all", { { 56, 4, 0 } }, 0, "is not a kernel that this machine knows; give an Image for arm64" },
	{ "nothing", { { 0, 1, 0 } }, 1, "is not a kernel" },
	{ "cut before the magic", { { 0, 1, 0 } }, 59, "is not a kernel" },
	{ "cut in the header", { { 0, 1, 0 } }, 60, "is cut short" },
	{ "cut at the header's end", { { 0, 1, 0 } }, 63, "is cut short" },
};

static void bad_images(void **state)
{
	unsigned char image[IMAGE];
	(void)state;

	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		make(image);
		for (unsigned j = 0; j < 2; j++)
			put_le(image, rows[i].patch[j].at, rows[i].patch[j].width, rows[i].patch[j].value);
		struct rig *r = with(image, rows[i].cut ? rows[i].cut : IMAGE);
		rig_refused(r, rows[i].what, "Image", rows[i].sentence);
		rig_free(r);
	}
}

static void no_room(void **state)
{
	char line[VMM_ARM64_COMMAND_LINE_MAX + 1] = { 0 };
	unsigned char image[IMAGE];
	(void)state;

	make(image);
	struct rig *r = with(image, sizeof image);
	r->how.device_tree = KERNEL + SIZE - 1;
	rig_refused(r, "a tree over the kernel", "Image", "would lie over the device tree");
	r->how.device_tree = BASE + MEMORY - 1;
	rig_refused(r, "a tree outside memory", "Image", "the device tree needs memory");
	r->how.device_tree = VMM_ARM64_AT_DEVICE_TREE;
	memset(line, 'x', VMM_ARM64_COMMAND_LINE_MAX);
	r->how.command_line = line;
	rig_refused(r, "a long line", "Image", "takes a command line of 2047 bytes at most, and 2048 were given");
	line[VMM_ARM64_COMMAND_LINE_MAX - 1] = 0;
	r->how.initrd = file_of("x", 1);
	assert_int_equal(ftruncate(r->how.initrd, MEMORY), 0);
	rig_refused(r, "a large initrd", "initrd.img", "give the machine more memory, or a smaller initrd");
	assert_int_equal(ftruncate(r->how.initrd, 1), 0);
	rig_load(r);
	rig_free(r);
}

/* ---- Device tree ---- */

static const struct vmm_fdt_mmio two[] = { { VMM_ARM64_MMIO, VMM_ARM64_SPI_MMIO },
	{ VMM_ARM64_MMIO + VMM_ARM64_MMIO_STRIDE, VMM_ARM64_SPI_MMIO + 1 } };
static const struct vmm_fdt full = { .cpus = 18, .its = true, .serial = true, .pci = true, .pci64 = UINT64_C(0x200000000),
	.pci64_bytes = VMM_ARM64_PCI64_BYTES, .mmio = two, .mmios = 2, .command_line = "quiet x", .initrd = UINT64_C(0x140001000),
	.initrd_bytes = 5000 };
static const struct vmm_fdt least = { .cpus = 1 };

static const void *built(struct rig **r, const struct vmm_fdt *what)
{
	uint64_t at = VMM_ARM64_AT_DEVICE_TREE;

	*r = rig_new();
	rig_region(*r, BASE, MIB, VIO_MEM_RW);
	rig_region(*r, BASE + VMM_ARM64_GIB, 0x10000, VIO_MEM_RW);
	rig_region(*r, BASE + 2 * VMM_ARM64_GIB, 0x10000, VIO_MEM_READ);
	if (!vmm_fdt_build(what, &(*r)->mem, at, VMM_ARM64_DEVICE_TREE_BYTES, (*r)->why))
		fail_msg("refused: %s", (*r)->why);
	const void *fdt = vio_mem_span(&(*r)->mem, at, VMM_ARM64_DEVICE_TREE_BYTES, VIO_MEM_READ);
	assert_int_equal(fdt_check_full(fdt, VMM_ARM64_DEVICE_TREE_BYTES), 0);
	return fdt;
}

static bool has_node(const void *fdt, const char *path) { return fdt_path_offset(fdt, path) >= 0; }

static uint32_t cell(const void *fdt, const char *path, const char *name, int i)
{
	int n = 0;
	const fdt32_t *p = fdt_getprop(fdt, fdt_path_offset(fdt, path), name, &n);

	if (!p || n <= 4 * i)
		fail_msg("%s has no %s of %d cells", path, name, i + 1);
	return fdt32_to_cpu(p[i]);
}

static uint64_t pair(const void *fdt, const char *path, const char *name, int i)
{
	return (uint64_t)cell(fdt, path, name, i) << 32 | cell(fdt, path, name, i + 1);
}

static void string_is(const void *fdt, const char *path, const char *name, const char *want)
{
	const char *p = fdt_getprop(fdt, fdt_path_offset(fdt, path), name, NULL);

	assert_non_null(p);
	assert_string_equal(p, want);
}

static void what_is_told(void **state)
{
	struct rig *r;
	const void *fdt = built(&r, &full);
	(void)state;

	string_is(fdt, "/chosen", "bootargs", "quiet x");
	string_is(fdt, "/chosen", "stdout-path", "/serial@9000000");
	assert_int_equal(pair(fdt, "/chosen", "linux,initrd-start", 0), full.initrd);
	assert_int_equal(pair(fdt, "/chosen", "linux,initrd-end", 0), full.initrd + 5000);
	assert_int_equal(pair(fdt, "/memory@40000000", "reg", 0), BASE);
	assert_int_equal(pair(fdt, "/memory@40000000", "reg", 2), MIB);
	assert_int_equal(pair(fdt, "/memory@40000000", "reg", 4), BASE + VMM_ARM64_GIB);
	int n;
	fdt_getprop(fdt, fdt_path_offset(fdt, "/memory@40000000"), "reg", &n);
	assert_int_equal(n, 8 * 4);	/* what cannot be written is none */
	rig_free(r);
}

static void processors(void **state)
{
	struct rig *r;
	const void *fdt = built(&r, &full);
	(void)state;

	assert_int_equal(pair(fdt, "/cpus/cpu@0", "reg", 0), 0);
	assert_int_equal(pair(fdt, "/cpus/cpu@101", "reg", 0), 0x101);	/* the eighteenth */
	assert_false(has_node(fdt, "/cpus/cpu@102"));
	string_is(fdt, "/cpus/cpu@f", "enable-method", "psci");
	string_is(fdt, "/psci", "method", "hvc");
	const char *psci = fdt_getprop(fdt, fdt_path_offset(fdt, "/psci"), "compatible", NULL);
	assert_int_equal(fdt_stringlist_contains(psci, 26, "arm,psci-0.2"), 1);
	assert_int_equal(cell(fdt, "/timer", "interrupts", 0), 1);
	assert_int_equal(cell(fdt, "/timer", "interrupts", 7), VMM_ARM64_PPI_TIMER_VIRTUAL);
	assert_int_equal(pair(fdt, "/interrupt-controller@8000000", "reg", 4), VMM_ARM64_REDISTRIBUTORS);
	assert_int_equal(pair(fdt, "/interrupt-controller@8000000", "reg", 6), 18 * VMM_ARM64_REDISTRIBUTOR_BYTES);
	assert_int_equal(cell(fdt, "/", "interrupt-parent", 0), cell(fdt, "/interrupt-controller@8000000", "phandle", 0));
	rig_free(r);
}

/* The interrupt of a device and a pin, found as the specification of interrupt maps says. */
static uint32_t routed(const void *fdt, uint32_t slot, uint32_t pin)
{
	const char *path = "/pcie@3f000000";
	uint32_t address = slot << 11 & cell(fdt, path, "interrupt-map-mask", 0);

	for (int row = 0; row < 16; row++)
		if (cell(fdt, path, "interrupt-map", row * 10) == address && cell(fdt, path, "interrupt-map", row * 10 + 3) == pin) {
			assert_int_equal(cell(fdt, path, "interrupt-map", row * 10 + 4), cell(fdt, "/", "interrupt-parent", 0));
			assert_int_equal(cell(fdt, path, "interrupt-map", row * 10 + 7), 0);
			return cell(fdt, path, "interrupt-map", row * 10 + 8);
		}
	fail_msg("device %u, pin %u is routed nowhere", slot, pin);
	return 0;
}

static void devices(void **state)
{
	struct rig *r;
	const void *fdt = built(&r, &full);
	(void)state;

	assert_int_equal(pair(fdt, "/virtio_mmio@a001000", "reg", 0), two[1].base);
	assert_int_equal(cell(fdt, "/virtio_mmio@a001000", "interrupts", 1), two[1].spi);
	string_is(fdt, "/serial@9000000", "compatible", "ns16550a");
	assert_int_equal(pair(fdt, "/pcie@3f000000", "reg", 0), VMM_ARM64_ECAM);
	assert_int_equal(cell(fdt, "/pcie@3f000000", "ranges", 0), 0x02000000);
	assert_int_equal(pair(fdt, "/pcie@3f000000", "ranges", 1), VMM_ARM64_PCI32);
	assert_int_equal(pair(fdt, "/pcie@3f000000", "ranges", 5), VMM_ARM64_PCI32_BYTES);
	assert_int_equal(cell(fdt, "/pcie@3f000000", "ranges", 7), 0x03000000);
	assert_int_equal(pair(fdt, "/pcie@3f000000", "ranges", 10), full.pci64);
	assert_int_equal(cell(fdt, "/pcie@3f000000", "msi-map", 1),
		cell(fdt, "/interrupt-controller@8000000/msi-controller@8080000", "phandle", 0));
	for (uint32_t slot = 0; slot < 32; slot++)
		for (uint32_t pin = 1; pin <= 4; pin++)
			assert_int_equal(routed(fdt, slot, pin), VMM_ARM64_SPI_INTX + (slot + pin - 1) % 4);
	rig_free(r);
}

static void without(void **state)
{
	struct rig *r;
	const void *fdt = built(&r, &least);
	(void)state;

	assert_false(has_node(fdt, "/pcie@3f000000"));
	assert_false(has_node(fdt, "/serial@9000000"));
	assert_false(has_node(fdt, "/virtio_mmio@a000000"));
	assert_false(has_node(fdt, "/interrupt-controller@8000000/msi-controller@8080000"));
	assert_null(fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "linux,initrd-start", NULL));
	assert_null(fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "stdout-path", NULL));
	string_is(fdt, "/chosen", "bootargs", "");
	rig_free(r);
}

static void compiler(void **state)
{
	char path[] = "/tmp/vio-fdt-XXXXXX", command[200];
	struct rig *r;
	(void)state;

	if (system("command -v dtc >/dev/null 2>&1"))
		SKIP_BECAUSE("dtc is not installed (device-tree-compiler)");
	const void *fdt = built(&r, &full);
	int fd = mkstemp(path);
	assert_int_equal(write(fd, fdt, fdt_totalsize(fdt)), fdt_totalsize(fdt));
	close(fd);
	snprintf(command, sizeof command, "test -z \"$(dtc -I dtb -O dts -o /dev/null %s 2>&1)\"", path);
	int result = system(command);
	unlink(path);
	assert_int_equal(result, 0);
	rig_free(r);
}

static void tree_room(void **state)
{
	struct vmm_fdt what = full;
	struct rig *r;
	char line[VMM_ARM64_COMMAND_LINE_MAX] = { 0 };
	uint64_t at = VMM_ARM64_AT_DEVICE_TREE;
	(void)state;

	memset(line, 'x', sizeof line - 1);
	what.cpus = VMM_ARM64_CPUS_MAX;
	what.command_line = line;
	built(&r, &what);		/* the largest has room */
	for (uint64_t n = 64; n < 8192; n += 61) {
		uint64_t behind = rig_get(r, at + n, 8);
		if (vmm_fdt_build(&what, &r->mem, at, n, r->why))
			fail_msg("%d bytes are enough?", (int)n);
		if (!strstr(r->why, "take fewer, or shorten it"))
			fail_msg("the sentence was: %s", r->why);
		assert_int_equal(rig_get(r, at + n, 8), behind);
	}
	assert_false(vmm_fdt_build(&what, &r->mem, BASE - 4096, 8192, r->why));
	assert_non_null(strstr(r->why, "no memory where its device tree goes"));
	for (unsigned i = 0; i < 70; i++)
		rig_region(r, BASE + (4 + i) * VMM_ARM64_GIB, 4096, VIO_MEM_RW);
	assert_false(vmm_fdt_build(&what, &r->mem, at, VMM_ARM64_DEVICE_TREE_BYTES, r->why));
	assert_non_null(strstr(r->why, "more than 64 pieces"));
	rig_free(r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(entered, "an Image lies 2 MiB into memory and is entered at its first byte"),
		T(offset, "text_offset is heeded; an old Image without a size has the old one"),
		T(initrd, "the initrd lies at the end of memory"),
		T(bad_images, "each bad Image is refused by a sentence of its own"),
		T(no_room, "device tree, kernel, initrd and command line that have no room are refused"),
		T(what_is_told, "the tree says command line, initrd and memory"),
		T(processors, "the tree has each processor, PSCI, the interrupt controller and the timer"),
		T(devices, "the tree has the devices, PCI's windows, and where each pin's interrupt goes"),
		T(without, "what the machine does not have is not in the tree"),
		T(compiler, "dtc has nothing to say against the tree"),
		T(tree_room, "a tree that does not fit is refused, and nothing behind its room is touched"),
	};
	return vio_tests("arm64", tests, sizeof tests / sizeof *tests);
}
