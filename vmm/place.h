/*
 * What the loaders share: a file that is read with care, and guest memory of which each byte has one owner.
 *
 *     vmm_file_of(&f, fd, "vmlinuz", why)                 how long it is
 *     vmm_claim(&p, at, bytes, "the kernel", &f, why)     is memory there, and nobody else's?
 *     vmm_file_load(&f, offset, bytes, p.mem, at, why)    then it may be written
 *
 * A file may change while it is read: what is judged is always a local copy.
 */
#ifndef VMM_PLACE_H
#define VMM_PLACE_H
#include <vmm/boot.h>

enum { VMM_CLAIMS = 160 };		/* segments of an ELF file (VMM_ELF_SEGMENTS), and the machine's own */

struct vmm_file { int fd; const char *name; uint64_t bytes; };

struct vmm_place {
	const struct vio_mem *mem;
	unsigned count;
	struct { uint64_t at, bytes; const char *what; } claim[VMM_CLAIMS];
};

bool vmm_file_of(struct vmm_file *f, int fd, const char *name, char *why);

/* All of it, or a sentence.  What is not in the file was not there, or is not any more. */
bool vmm_file_read(const struct vmm_file *f, uint64_t offset, void *to, size_t bytes, char *why);
bool vmm_file_load(const struct vmm_file *f, uint64_t offset, uint64_t bytes, const struct vio_mem *mem, uint64_t at, char *why);

/* Bytes of memory that can be written from an address on, without a hole. */
uint64_t vmm_mem_run(const struct vio_mem *mem, uint64_t at);
/* False: not all of it is memory that can be written. */
bool vmm_mem_put(const struct vio_mem *mem, uint64_t at, const void *from, uint64_t bytes);
bool vmm_mem_zero(const struct vio_mem *mem, uint64_t at, uint64_t bytes);

/* From now on these bytes belong to what; false: there is no such memory, or it has an owner.  name: the file, in the sentence. */
bool vmm_claim(struct vmm_place *p, uint64_t at, uint64_t bytes, const char *what, const char *name, char *why);
/* The highest pages of [from, below) that are free. */
bool vmm_claim_high(struct vmm_place *p, uint64_t from, uint64_t below, uint64_t bytes, const char *what, const char *name,
	uint64_t *at, char *why);

/* The initrd, if there is one: claimed high in [from, below), and read into it. */
bool vmm_load_initrd(const struct vmm_load *how, struct vmm_place *p, uint64_t from, uint64_t below, struct vmm_entry *entry,
	char *why);
#endif
