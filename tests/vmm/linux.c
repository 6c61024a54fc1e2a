/* The kernels in /boot, as they are and as the ELF files inside them: nobody here has written those. */
#include <tests/vmm/rig.h>
#include <fcntl.h>
#include <glob.h>
#include <vmm/x86/layout.h>

enum { MEMORY = 128 * MIB };

static struct rig *loaded(const char *path)
{
	struct rig *r = rig_new();

	rig_region(r, 0, MEMORY, VIO_MEM_RW);
	r->how.kernel = open(path, O_RDONLY | O_CLOEXEC);
	r->how.kernel_name = path;
	r->how.command_line = "console=ttyS0";
	if (r->how.kernel < 0)
		SKIP_BECAUSE("kernels in /boot may not be read");
	rig_load(r);
	return r;
}

static void kernels(glob_t *g)
{
	if (glob("/boot/vmlinuz-*", 0, NULL, g))
		SKIP_BECAUSE("no kernel /boot/vmlinuz-*");
}

/* The 64-bit entry begins with cld, cli. */
static void bzimage(void **state)
{
	glob_t g;
	(void)state;

	kernels(&g);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		struct rig *r = loaded(g.gl_pathv[i]);
		assert_int_equal(r->entry.kind, VMM_ENTRY_LONG64);
		assert_int_equal(rig_get(r, r->entry.at, 2), 0xfafc);
		rig_free(r);
	}
	globfree(&g);
}

/* The PVH entry begins with cld, lgdt. */
static void elf(void **state)
{
	char folder[] = "/tmp/vio-linux-XXXXXX", command[600], path[100];
	unsigned tried = 0;
	glob_t g;
	(void)state;

	kernels(&g);
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/vmlinux", folder);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		snprintf(command, sizeof command, "PYTHONPATH='%s/tests/guest' python3 -m guestlib.vmlinux '%s' %s 2>/dev/null",
			getenv("VIO_SOURCE") ? getenv("VIO_SOURCE") : ".", g.gl_pathv[i], path);
		if (system(command))
			continue;	/* packed with a tool that is not here */
		struct rig *r = loaded(path);
		assert_int_equal(r->entry.kind, VMM_ENTRY_PVH32);
		assert_int_equal(rig_get(r, r->entry.at, 4), 0x15010ffc);
		rig_free(r);
		tried++;
	}
	globfree(&g);
	snprintf(command, sizeof command, "rm -r %s", folder);
	assert_int_equal(system(command), 0);
	if (!tried)
		SKIP_BECAUSE("no kernel in /boot that can be unpacked here");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(bzimage, "the kernels in /boot are loaded, and their entry is where it is jumped to"),
		T(elf, "the ELF files in them have a PVH entry where it is jumped to"),
	};
	return vio_tests("linux", tests, sizeof tests / sizeof *tests);
}
