/* What the tests of the boot code share: guest memory, whole or in pieces, files in memory, and images that are made here. */
#ifndef VIO_TESTS_VMM_RIG_H
#define VIO_TESTS_VMM_RIG_H
#include <tests/test.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vmm/boot.h>

enum { RIG_REGIONS = 200, MIB = 1 << 20 };

struct rig {
	struct vio_region region[RIG_REGIONS];
	struct vio_mem mem;
	char why[VMM_WHY];
	struct vmm_entry entry;
	struct vmm_load how;
	bool (*load)(const struct vmm_load *how, const struct vio_mem *mem, struct vmm_entry *entry, char *why);
};

static inline void rig_region(struct rig *r, uint64_t gpa, uint64_t bytes, uint8_t perm)
{
	void *host = NULL;

	assert_int_equal(posix_memalign(&host, 16, bytes), 0);
	memset(host, 0xee, bytes);	/* what was never written is not zero */
	r->region[r->mem.count++] = (struct vio_region){ .gpa = gpa, .size = bytes, .host = host, .perm = perm };
}

static inline struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof *r);

	assert_non_null(r);
	r->mem.region = r->region;
	r->mem.refs = 1;
	r->load = vmm_load_x86;
	r->how = (struct vmm_load){ .kernel = -1, .kernel_name = "vmlinuz", .initrd = -1, .initrd_name = "initrd.img",
		.command_line = "" };
	return r;
}

static inline void rig_free(struct rig *r)
{
	for (unsigned i = 0; i < r->mem.count; i++)
		free(r->region[i].host);
	if (r->how.kernel >= 0)
		close(r->how.kernel);
	if (r->how.initrd >= 0)
		close(r->how.initrd);
	free(r);
}

/* Bytes of guest memory, which may lie in several regions; a place that is none fails the test. */
static inline void rig_read(const struct rig *r, uint64_t gpa, void *to, uint64_t bytes)
{
	struct vio_mem_hit hit;

	for (uint64_t i = 0; i < bytes; i++) {
		assert_true(vio_mem_find(&r->mem, gpa + i, VIO_MEM_READ, &hit));
		((unsigned char *)to)[i] = hit.host[gpa + i - hit.addr];
	}
}

static inline uint64_t rig_get(const struct rig *r, uint64_t gpa, unsigned bytes)
{
	unsigned char b[8] = { 0 };
	uint64_t v = 0;

	rig_read(r, gpa, b, bytes);
	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)b[i] << 8 * i;
	return v;
}

static inline int file_of(const void *bytes, size_t n)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(n ? write(fd, bytes, n) : 0, n);
	return fd;
}

static inline void rig_load(struct rig *r)
{
	if (!r->load(&r->how, &r->mem, &r->entry, r->why))
		fail_msg("refused: %s", r->why);
}

/* With a sentence that names the file first, and says this. */
static inline void rig_refused(struct rig *r, const char *what, const char *name, const char *sentence)
{
	char begin[64];

	memset(r->why, 0, sizeof r->why);
	if (r->load(&r->how, &r->mem, &r->entry, r->why))
		fail_msg("%s: was loaded", what);
	snprintf(begin, sizeof begin, "%s: ", name);
	if (strncmp(r->why, begin, strlen(begin)) || !strstr(r->why, sentence))
		fail_msg("%s: the sentence was: %s", what, r->why);
}

/* A number written into an image, little-endian. */
struct patch { uint32_t at; uint8_t width; uint64_t value; };

static inline void put_le(unsigned char *image, uint64_t at, unsigned width, uint64_t value)
{
	for (unsigned i = 0; i < width; i++)
		image[at + i] = (unsigned char)(value >> 8 * i);
}
#endif
