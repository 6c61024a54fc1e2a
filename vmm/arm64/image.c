/*
 * Linux's Image for arm64 (Documentation/arch/arm64/booting.rst): 64 bytes of header, which are the first instructions too.  It
 * goes to text_offset after 2 MiB of memory, which the device tree has; the processor enters it at its first byte, x0 = the
 * device tree.
 */
#include <inttypes.h>
#include <string.h>
#include <vio/host/why.h>
#include <vmm/arm64/layout.h>
#include <vmm/place.h>

enum { MAGIC = 0x644d5241, BIG_ENDIAN_KERNEL = 1, OLD_TEXT_OFFSET = 0x80000, OLD_SLACK = 1 << 20 };
enum { TEXT_OFFSET_MAX = 1 << 30 };

struct image_header {
	vio_le32 code[2];
	vio_le64 text_offset, image_size, flags, reserved[3];
	vio_le32 magic, pe;
};
VIO_STATIC_ASSERT(sizeof(struct image_header) == 64 && offsetof(struct image_header, magic) == 56, "Image header");

/* Files that one might take for an Image, each with its remedy. */
static bool refuse_other(const struct vmm_file *f, const unsigned char *head, char *why)
{
	if (head[0] == 0x1f && head[1] == 0x8b)
		return vio_refuse(why, "%s: is packed with gzip; unpack it first (gunzip < %s > Image)", f->name, f->name);
	if (!memcmp(head, "MZ", 2) && !memcmp(head + 4, "zimg", 4))
		return vio_refuse(why, "%s: is a packed EFI program (zboot); give the Image that it was made of", f->name);
	if (!memcmp(head, "\177ELF", 4))
		return vio_refuse(why, "%s: is an ELF file; give an Image (objcopy -O binary makes one)", f->name);
	return vio_refuse(why, "%s: is not a kernel that this machine knows; give an Image for arm64", f->name);
}

static bool judge(const struct vmm_file *f, const struct image_header *h, char *why)
{
	uint64_t offset = vio_le64_get(h->text_offset);

	if (vio_le64_get(h->flags) & BIG_ENDIAN_KERNEL)
		return vio_refuse(why, "%s: is a big-endian kernel; give a little-endian one", f->name);
	if (vio_le64_get(h->image_size) == 0)
		return true;	/* an old one: see place_of() */
	if (offset % 4096 || offset > TEXT_OFFSET_MAX)
		return vio_refuse(why, "%s: is damaged: it wants to be 0x%" PRIx64 " bytes behind 2 MiB; copy it again", f->name, offset);
	if (vio_le64_get(h->image_size) < f->bytes)
		return vio_refuse(why, "%s: is damaged: %" PRIu64 " bytes long, and its header says %" PRIu64 "; copy it again", f->name,
			f->bytes, vio_le64_get(h->image_size));
	return true;
}

/* Before Linux 3.17 a header had no size, and its offset may be in either order of bytes: the one there was is meant. */
static void place_of(const struct vmm_file *f, const struct image_header *h, uint64_t *at, uint64_t *bytes)
{
	bool old = vio_le64_get(h->image_size) == 0;

	*at = VMM_ARM64_AT_KERNEL + (old ? OLD_TEXT_OFFSET : vio_le64_get(h->text_offset));
	*bytes = old ? f->bytes + OLD_SLACK : vio_le64_get(h->image_size);
}

bool vmm_load_arm64(const struct vmm_load *how, const struct vio_mem *mem, struct vmm_entry *entry, char *why)
{
	struct vmm_place p = { .mem = mem };
	struct image_header h = { .magic = vio_le32_of(0) };
	struct vmm_file f;
	uint64_t at, bytes;
	size_t line = how->command_line ? strlen(how->command_line) : 0;

	memset(entry, 0, sizeof *entry);
	if (!vmm_file_of(&f, how->kernel, how->kernel_name, why) ||
	    !vmm_file_read(&f, 0, &h, f.bytes < sizeof h ? (size_t)f.bytes : sizeof h, why))
		return false;
	if (vio_le32_get(h.magic) != MAGIC)
		return refuse_other(&f, (const unsigned char *)&h, why);
	if (line > VMM_ARM64_COMMAND_LINE_MAX - 1)
		return vio_refuse(why, "%s: takes a command line of %d bytes at most, and %zu were given; shorten it", f.name,
			VMM_ARM64_COMMAND_LINE_MAX - 1, line);
	if (!vmm_file_read(&f, 0, &h, sizeof h, why) || !judge(&f, &h, why))
		return false;
	place_of(&f, &h, &at, &bytes);
	if (!vmm_claim(&p, how->device_tree, how->device_tree_bytes, "the device tree", f.name, why) ||
	    !vmm_claim(&p, at, bytes, "the kernel", f.name, why) ||
	    !vmm_load_initrd(how, &p, VMM_ARM64_MEMORY, VMM_ARM64_MEMORY + VMM_ARM64_GIB, entry, why) ||
	    !vmm_file_load(&f, 0, f.bytes, mem, at, why))
		return false;
	entry->kind = VMM_ENTRY_ARM64;
	entry->at = at;
	entry->argument = how->device_tree;
	return true;
}
