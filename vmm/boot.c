#include <vmm/boot.h>

bool vmm_load(const struct vmm_load *how, const struct vio_mem *mem, struct vmm_entry *entry, char *why)
{
#if defined __aarch64__
	return vmm_load_arm64(how, mem, entry, why);
#else
	return vmm_load_x86(how, mem, entry, why);
#endif
}
