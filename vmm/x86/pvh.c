/*
 * An ELF file, its segments at their physical addresses.  With a note that names a PVH entry (Xen's boot ABI for virtual
 * machines, which Linux and the BSDs have) it is entered there: 32-bit protected mode, ebx = struct hvm_start_info.  Without
 * one, at e_entry in long mode, rsi = a zero page.
 */
#include <elf.h>
#include <inttypes.h>
#include <string.h>
#include <vio/host/why.h>
#include <vmm/x86/layout.h>
#include <vmm/x86/load.h>
#include <vmm/x86/pvh.h>

enum { NOTES_MAX = 4096, XEN_PHYS32_ENTRY = 18 };

struct elf {
	const struct vmm_file *f;
	Elf64_Ehdr h;
	Elf64_Phdr p[VMM_ELF_SEGMENTS];
	unsigned notes;
	bool pvh;
	uint64_t pvh_entry;
};

static bool judge(const struct elf *e, char *why)
{
	const Elf64_Ehdr *h = &e->h;
	const char *name = e->f->name;

	if (h->e_ident[EI_CLASS] != ELFCLASS64 || h->e_ident[EI_DATA] != ELFDATA2LSB || h->e_machine != EM_X86_64)
		return vio_refuse(why, "%s: is an ELF file for another machine; give one for x86-64, 64 bits", name);
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return vio_refuse(why, "%s: is an ELF file that was not linked (type %u); give one that can be run", name, h->e_type);
	if (h->e_phnum == 0 || h->e_phnum > VMM_ELF_SEGMENTS || h->e_phentsize != sizeof(Elf64_Phdr))
		return vio_refuse(why, "%s: has %u program headers of %u bytes; up to %d of %zu bytes can be loaded", name, h->e_phnum,
			h->e_phentsize, VMM_ELF_SEGMENTS, sizeof(Elf64_Phdr));
	return true;
}

static bool read_headers(struct elf *e, char *why)
{
	if (!vmm_file_read(e->f, 0, &e->h, sizeof e->h, why) || !judge(e, why) ||
	    !vmm_file_read(e->f, e->h.e_phoff, e->p, e->h.e_phnum * sizeof *e->p, why))
		return false;
	for (unsigned i = 0; i < e->h.e_phnum; i++)
		if (e->p[i].p_type == PT_INTERP)
			return vio_refuse(why, "%s: is a program that is linked dynamically, not a kernel; give a vmlinux, "
				"or link it statically", e->f->name);
	return true;
}

/* ---- Notes ---- */

/* At offset, of at most left bytes: how many it takes; 0: why says what is wrong. */
static uint64_t read_note(struct elf *e, uint64_t offset, uint64_t left, uint64_t align, char *why)
{
	Elf64_Nhdr n;
	char name[4];
	unsigned char value[8] = { 0 };

	if (left < sizeof n || ++e->notes > NOTES_MAX)
		return vio_refuse(why, "%s: is damaged: its notes %s; link it again", e->f->name,
			left < sizeof n ? "end in the middle of one" : "are too many");
	if (!vmm_file_read(e->f, offset, &n, sizeof n, why))
		return 0;
	uint64_t value_at = (sizeof n + n.n_namesz + align - 1) / align * align, end = value_at + n.n_descsz;
	if (end > left)
		return vio_refuse(why, "%s: is damaged: a note reaches over the end of its notes; link it again", e->f->name);
	if (n.n_namesz == sizeof name && n.n_type == XEN_PHYS32_ENTRY) {
		if (!vmm_file_read(e->f, offset + sizeof n, name, sizeof name, why))
			return 0;
		if (!memcmp(name, "Xen", 4)) {
			if (n.n_descsz != 4 && n.n_descsz != 8)
				return vio_refuse(why, "%s: is damaged: its PVH entry has %u bytes, not 4 or 8; link it again",
					e->f->name, n.n_descsz);
			if (!vmm_file_read(e->f, offset + value_at, value, n.n_descsz, why))
				return 0;
			vio_le64 v;
			memcpy(&v, value, sizeof v);
			e->pvh = true;
			e->pvh_entry = vio_le64_get(v);
		}
	}
	uint64_t padded = (end + align - 1) / align * align;
	return padded < left ? padded : left;
}

static bool read_notes(struct elf *e, char *why)
{
	for (unsigned i = 0; i < e->h.e_phnum; i++) {
		const Elf64_Phdr *p = &e->p[i];
		uint64_t left = p->p_type == PT_NOTE ? p->p_filesz : 0, at = p->p_offset, n;
		for (; left; at += n, left -= n)
			if (!(n = read_note(e, at, left, p->p_align == 8 ? 8 : 4, why)))
				return false;
	}
	return true;
}

/* ---- Segments ---- */

static bool claim_segments(const struct elf *e, struct vmm_place *place, char *why)
{
	for (unsigned i = 0; i < e->h.e_phnum; i++) {
		const Elf64_Phdr *p = &e->p[i];
		if (p->p_type != PT_LOAD)
			continue;
		if (p->p_filesz > p->p_memsz)
			return vio_refuse(why, "%s: is damaged: a segment has more bytes in the file than in memory; link it again",
				e->f->name);
		if (p->p_offset > e->f->bytes || p->p_filesz > e->f->bytes - p->p_offset)
			return vio_refuse(why, "%s: is cut short: %" PRIu64 " bytes long, and a segment has %" PRIu64 " bytes from %" PRIu64
				" on; copy it again", e->f->name, e->f->bytes, p->p_filesz, p->p_offset);
		if (!vmm_claim(place, p->p_paddr, p->p_memsz, "a segment", e->f->name, why))
			return false;
	}
	return true;
}

static bool load_segments(const struct elf *e, const struct vio_mem *mem, char *why)
{
	for (unsigned i = 0; i < e->h.e_phnum; i++) {
		const Elf64_Phdr *p = &e->p[i];
		if (p->p_type != PT_LOAD)
			continue;
		if (!vmm_file_load(e->f, p->p_offset, p->p_filesz, mem, p->p_paddr, why))
			return false;
		vmm_mem_zero(mem, p->p_paddr + p->p_filesz, p->p_memsz - p->p_filesz);
	}
	return true;
}

/* The first instruction is one of the file's, and within what the processor reaches at that moment. */
static bool judge_entry(const struct elf *e, uint64_t at, char *why)
{
	for (unsigned i = 0; i < e->h.e_phnum; i++)
		if (e->p[i].p_type == PT_LOAD && at - e->p[i].p_paddr < e->p[i].p_filesz && at < VMM_LOW_MEMORY_MAX)
			return true;
	return vio_refuse(why, "%s: is entered at 0x%" PRIx64 "%s, which is not the physical address of anything in it below 3 GiB; "
		"link it to run where it is loaded", e->f->name, at, e->pvh ? " (its PVH note)" : "");
}

/* ---- What the kernel is told ---- */

static bool start_info(const struct vmm_load *how, const struct vio_mem *mem, const struct vmm_entry *entry, char *why)
{
	struct vmm_pvh_page page;
	struct vmm_e820 map[VMM_E820_MAX];
	unsigned n = vmm_e820(mem, map);

	memset(&page, 0, sizeof page);
	page.info = (struct vmm_pvh_info){
		.magic = vio_le32_of(VMM_PVH_MAGIC),
		.version = vio_le32_of(1),
		.cmdline_paddr = vio_le64_of(VMM_AT_COMMAND_LINE),
		.rsdp_paddr = vio_le64_of(how->rsdp),
		.memmap_paddr = vio_le64_of(VMM_AT_START_INFO + offsetof(struct vmm_pvh_page, memmap)),
		.memmap_entries = vio_le32_of(n),
	};
	if (entry->initrd_bytes) {
		page.info.nr_modules = vio_le32_of(1);
		page.info.modlist_paddr = vio_le64_of(VMM_AT_START_INFO + offsetof(struct vmm_pvh_page, module));
		page.module.paddr = vio_le64_of(entry->initrd);
		page.module.size = vio_le64_of(entry->initrd_bytes);
	}
	for (unsigned i = 0; i < n; i++)
		page.memmap[i] = (struct vmm_pvh_memmap){ vio_le64_of(map[i].at), vio_le64_of(map[i].bytes), vio_le32_of(map[i].type) };
	if (n == 0 || !vmm_mem_put(mem, VMM_AT_START_INFO, &page, sizeof page))
		return vio_refuse(why, "%s: the machine's memory is in more than %d pieces; give it fewer", how->kernel_name, VMM_E820_MAX);
	return true;
}

bool vmm_load_elf(const struct vmm_load *how, struct vmm_file *f, const struct vio_mem *mem, struct vmm_entry *entry, char *why)
{
	struct vmm_place place = { .mem = mem };
	struct elf e = { .f = f };

	if (!read_headers(&e, why) || !read_notes(&e, why))
		return false;
	uint64_t at = e.pvh ? e.pvh_entry : e.h.e_entry;
	if (!vmm_x86_begin(how, &place, VMM_COMMAND_LINE_MAX, why) || !claim_segments(&e, &place, why) || !judge_entry(&e, at, why) ||
	    !vmm_load_initrd(how, &place, VMM_AT_KERNEL, vmm_x86_low_end(mem), entry, why) || !load_segments(&e, mem, why))
		return false;
	entry->kind = e.pvh ? VMM_ENTRY_PVH32 : VMM_ENTRY_LONG64;
	entry->at = at;
	entry->argument = e.pvh ? VMM_AT_START_INFO : VMM_AT_ZERO_PAGE;
	return e.pvh ? start_info(how, mem, entry, why) : vmm_x86_zero_page(how, mem, NULL, 0, at, entry, why);
}
