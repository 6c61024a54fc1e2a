#include <vmm/x86/load.h>
#include <inttypes.h>
#include <string.h>
#include <vio/host/why.h>
#include <vmm/x86/bootparam.h>
#include <vmm/x86/layout.h>

/* ---- The map ---- */

static bool add(struct vmm_e820 *map, unsigned *n, uint64_t at, uint64_t end, uint32_t type)
{
	if (at >= end)
		return true;
	if (*n && map[*n - 1].type == type && map[*n - 1].at + map[*n - 1].bytes == at) {
		map[*n - 1].bytes += end - at;
		return true;
	}
	if (*n == VMM_E820_MAX)
		return false;
	map[(*n)++] = (struct vmm_e820){ at, end - at, type };
	return true;
}

/*
 * Memory that cannot be written is no memory to a kernel.  From VMM_AT_LOW_END to 1 MiB it is there, with the tables in it.  PCI's
 * configuration space is reserved, which Linux wants to see before it uses it in its first seconds.
 */
unsigned vmm_e820(const struct vio_mem *mem, struct vmm_e820 map[VMM_E820_MAX])
{
	unsigned n = 0;
	bool low = false, ecam = false;

	for (uint32_t i = 0; i < mem->count; i++) {
		const struct vio_region *r = &mem->region[i];
		uint64_t at = r->gpa, last = r->gpa + (r->size - 1), end = last == UINT64_MAX ? last : last + 1;
		if ((r->perm & VIO_MEM_RW) != VIO_MEM_RW)
			continue;
		if (at < VMM_AT_LOW_END && !add(map, &n, at, end < VMM_AT_LOW_END ? end : VMM_AT_LOW_END, VMM_E820_MEMORY))
			return 0;
		if (!low && last >= VMM_AT_LOW_END) {
			low = true;
			if (!add(map, &n, VMM_AT_LOW_END, VMM_AT_KERNEL, VMM_E820_RESERVED))
				return 0;
		}
		if (!ecam && at >= VMM_ECAM) {
			ecam = true;
			if (!add(map, &n, VMM_ECAM, VMM_ECAM + VMM_ECAM_BYTES, VMM_E820_RESERVED))
				return 0;
		}
		if (!add(map, &n, at < VMM_AT_KERNEL ? VMM_AT_KERNEL : at, end, VMM_E820_MEMORY))
			return 0;
	}
	if (!ecam && !add(map, &n, VMM_ECAM, VMM_ECAM + VMM_ECAM_BYTES, VMM_E820_RESERVED))
		return 0;
	return n;
}

uint64_t vmm_x86_low_end(const struct vio_mem *mem)
{
	uint64_t run = vmm_mem_run(mem, 0);

	return run < VMM_LOW_MEMORY_MAX ? run : VMM_LOW_MEMORY_MAX;
}

/* ---- Low memory ---- */

bool vmm_x86_begin(const struct vmm_load *how, struct vmm_place *p, uint64_t max, char *why)
{
	static const struct { uint64_t at, bytes; const char *what; } ours[] = {
		{ 0, VMM_AT_PAGE_TABLES + UINT64_C(0x6000), "what the machine puts into low memory" },
		{ VMM_AT_COMMAND_LINE, VMM_COMMAND_LINE_MAX, "the command line" },
		{ VMM_AT_LOW_END, VMM_AT_KERNEL - VMM_AT_LOW_END, "the machine's tables below 1 MiB" },
	};
	const char *line = how->command_line ? how->command_line : "";
	uint64_t length = strlen(line);

	if (max > VMM_COMMAND_LINE_MAX - 1)
		max = VMM_COMMAND_LINE_MAX - 1;
	if (length > max)
		return vio_refuse(why, "%s: takes a command line of %" PRIu64 " bytes at most, and %" PRIu64 " were given; shorten it",
			how->kernel_name, max, length);
	for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
		if (!vmm_claim(p, ours[i].at, ours[i].bytes, ours[i].what, how->kernel_name, why))
			return false;
	vmm_mem_put(p->mem, VMM_AT_COMMAND_LINE, line, length + 1);
	return true;
}

bool vmm_x86_zero_page(const struct vmm_load *how, const struct vio_mem *mem, const void *header, size_t bytes, uint64_t kernel,
	const struct vmm_entry *entry, char *why)
{
	struct vmm_zero_page z;
	struct vmm_e820 map[VMM_E820_MAX];
	unsigned n = vmm_e820(mem, map);

	memset(&z, 0, sizeof z);
	if (header)
		memcpy((unsigned char *)&z + VMM_SETUP_AT, header, bytes);
	else
		z.hdr = (struct vmm_setup){ .boot_flag = vio_le16_of(VMM_SETUP_FLAG), .header = vio_le32_of(VMM_SETUP_MAGIC),
			.version = vio_le16_of(VMM_BOOT_LATEST), .kernel_alignment = vio_le32_of(1 << 21) };
	z.acpi_rsdp_addr = vio_le64_of(how->rsdp);
	z.hdr.type_of_loader = VMM_LOADER_UNNAMED;
	z.hdr.loadflags |= VMM_LOADED_HIGH;
	z.hdr.code32_start = vio_le32_of((uint32_t)kernel);
	z.hdr.cmd_line_ptr = vio_le32_of((uint32_t)VMM_AT_COMMAND_LINE);
	z.hdr.ramdisk_image = vio_le32_of((uint32_t)entry->initrd);
	z.hdr.ramdisk_size = vio_le32_of((uint32_t)entry->initrd_bytes);
	z.hdr.setup_data = vio_le64_of(0);
	z.e820_entries = (uint8_t)n;
	for (unsigned i = 0; i < n; i++)
		z.e820[i] = (struct vmm_zero_e820){ vio_le64_of(map[i].at), vio_le64_of(map[i].bytes), vio_le32_of(map[i].type) };
	if (n == 0 || !vmm_mem_put(mem, VMM_AT_ZERO_PAGE, &z, sizeof z))
		return vio_refuse(why, "%s: the machine's memory is in more than %d pieces; give it fewer", how->kernel_name, VMM_E820_MAX);
	return true;
}

/* ---- Which kind ---- */

bool vmm_load_x86(const struct vmm_load *how, const struct vio_mem *mem, struct vmm_entry *entry, char *why)
{
	struct vmm_file f;
	unsigned char head[1024] = { 0 };
	vio_le32 magic, arm;

	memset(entry, 0, sizeof *entry);
	if (!vmm_file_of(&f, how->kernel, how->kernel_name, why) ||
	    !vmm_file_read(&f, 0, head, f.bytes < sizeof head ? (size_t)f.bytes : sizeof head, why))
		return false;
	memcpy(&magic, head + VMM_SETUP_MAGIC_AT, sizeof magic);
	memcpy(&arm, head + 56, sizeof arm);
	if (!memcmp(head, "\177ELF", 4))
		return vmm_load_elf(how, &f, mem, entry, why);
	if (vio_le32_get(magic) == VMM_SETUP_MAGIC)
		return vmm_load_bzimage(how, &f, mem, entry, why);
	if (vio_le32_get(arm) == 0x644d5241)
		return vio_refuse(why, "%s: is a kernel for arm64, and this machine is x86-64; give it a bzImage (vmlinuz) "
			"or an ELF file (vmlinux)", f.name);
	return vio_refuse(why, "%s: is not a kernel that this machine knows; give it a bzImage (vmlinuz) or an ELF file (vmlinux)",
		f.name);
}
