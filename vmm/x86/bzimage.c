/*
 * A Linux bzImage, entered at its 64-bit entry:
 *
 *   0      setup_sects + 1 sectors    code for real mode, which nobody runs here, with the setup header at 0x1f1
 *   then   syssize * 16 bytes         goes to pref_address; entered at + 0x200
 *
 * Loaded anywhere below pref_address it would move itself there, so it is put there at once.  It unpacks itself within the
 * init_size bytes from there on.
 */
#include <inttypes.h>
#include <string.h>
#include <vio/host/why.h>
#include <vmm/x86/bootparam.h>
#include <vmm/x86/layout.h>
#include <vmm/x86/load.h>

struct bzimage {
	unsigned char header[VMM_SETUP_END - VMM_SETUP_AT];
	size_t header_bytes;
	struct vmm_setup h;		/* the same, with zeroes for what this kernel does not have */
	uint64_t code_at, code_bytes;	/* in the file */
};

static bool read_header(const struct vmm_file *f, struct bzimage *b, char *why)
{
	unsigned char jump[2];

	if (!vmm_file_read(f, VMM_SETUP_JUMP, jump, sizeof jump, why))
		return false;
	size_t end = VMM_SETUP_MAGIC_AT + (size_t)jump[1];
	if (end > VMM_SETUP_END)
		end = VMM_SETUP_END;
	b->header_bytes = end - VMM_SETUP_AT;
	if (!vmm_file_read(f, VMM_SETUP_AT, b->header, b->header_bytes, why))
		return false;
	memcpy(&b->h, b->header, b->header_bytes < sizeof b->h ? b->header_bytes : sizeof b->h);
	return true;
}

/* A kernel that this machine can enter? */
static bool judge(const struct vmm_file *f, const struct bzimage *b, char *why)
{
	const struct vmm_setup *h = &b->h;
	unsigned version = vio_le16_get(h->version);

	if (vio_le16_get(h->boot_flag) != VMM_SETUP_FLAG || vio_le32_get(h->header) != VMM_SETUP_MAGIC)
		return vio_refuse(why, "%s: is damaged: no boot flag before its setup header; copy it again", f->name);
	if (version < VMM_BOOT_2_12)
		return vio_refuse(why, "%s: speaks boot protocol %u.%02u, and 2.12 is needed; give a kernel since Linux 3.8", f->name,
			version >> 8, version & 255);
	if (b->header_bytes < offsetof(struct vmm_setup, handover_offset))
		return vio_refuse(why, "%s: is damaged: its setup header ends at 0x%zx; copy it again", f->name,
			VMM_SETUP_AT + b->header_bytes);
	if (!(h->loadflags & VMM_LOADED_HIGH))
		return vio_refuse(why, "%s: is a zImage, which is loaded below 1 MiB; give a bzImage", f->name);
	if (!(vio_le16_get(h->xloadflags) & VMM_XLF_KERNEL_64))
		return vio_refuse(why, "%s: is a kernel for 32 bits, without a 64-bit entry; give one for x86-64", f->name);
	return true;
}

static bool find_code(const struct vmm_file *f, struct bzimage *b, char *why)
{
	b->code_at = (UINT64_C(1) + (b->h.setup_sects ? b->h.setup_sects : 4)) * 512;
	b->code_bytes = UINT64_C(16) * vio_le32_get(b->h.syssize);
	if (b->code_bytes <= VMM_BZIMAGE_ENTRY)
		return vio_refuse(why, "%s: is damaged: %" PRIu64 " bytes of code, and it is entered at %d; copy it again", f->name,
			b->code_bytes, VMM_BZIMAGE_ENTRY);
	if (b->code_at > f->bytes || b->code_bytes > f->bytes - b->code_at)
		return vio_refuse(why, "%s: is cut short: %" PRIu64 " bytes long, and its header speaks of %" PRIu64 "; copy it again",
			f->name, f->bytes, b->code_at + b->code_bytes);
	return true;
}

static bool claim_code(const struct vmm_file *f, const struct bzimage *b, struct vmm_place *p, char *why)
{
	uint64_t at = vio_le64_get(b->h.pref_address), bytes = vio_le32_get(b->h.init_size);

	if (bytes < b->code_bytes)
		bytes = b->code_bytes;
	if (at < VMM_AT_KERNEL || at >= VMM_LOW_MEMORY_MAX || at % 4096)
		return vio_refuse(why, "%s: wants to run at 0x%" PRIx64 ", where no kernel can be; copy it again", f->name, at);
	return vmm_claim(p, at, bytes, "the kernel", f->name, why);
}

bool vmm_load_bzimage(const struct vmm_load *how, struct vmm_file *f, const struct vio_mem *mem, struct vmm_entry *entry, char *why)
{
	struct vmm_place p = { .mem = mem };
	struct bzimage b = { 0 };

	if (!read_header(f, &b, why) || !judge(f, &b, why) || !find_code(f, &b, why) ||
	    !vmm_x86_begin(how, &p, vio_le32_get(b.h.cmdline_size), why) || !claim_code(f, &b, &p, why))
		return false;
	uint64_t at = vio_le64_get(b.h.pref_address), low = vmm_x86_low_end(mem);
	uint64_t below = UINT64_C(1) + vio_le32_get(b.h.initrd_addr_max);
	if (!vmm_load_initrd(how, &p, VMM_AT_KERNEL, below < low ? below : low, entry, why) ||
	    !vmm_file_load(f, b.code_at, b.code_bytes, mem, at, why) ||
	    !vmm_x86_zero_page(how, mem, b.header, b.header_bytes, at, entry, why))
		return false;
	entry->kind = VMM_ENTRY_LONG64;
	entry->at = at + VMM_BZIMAGE_ENTRY;
	entry->argument = VMM_AT_ZERO_PAGE;
	return true;
}
