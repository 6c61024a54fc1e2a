/*
 * Preloaded into an emulating QEMU: see eventfds() in qemu.py.
 *
 * QEMU up to version 8 refuses vhost-user-input unless kvm_allowed and kvm_eventfds_allowed are set, at the beginning of
 * vhost_user_backend_dev_init(): "cmpb $0, kvm_allowed(%rip)" and a jump when equal.  Here the 0 becomes 2, which a bool never
 * is; the variables, which others look at for good reasons, stay as they are.  A QEMU built in another way is left alone, and
 * says "requires kvm".
 */
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { NEAR = 96, PAGE = 4096, INSTRUCTION = 7 };

static void patch(unsigned char *code, const void *variable)
{
	for (unsigned char *p = code; p < code + NEAR; p++) {
		int32_t far;
		memcpy(&far, p + 2, sizeof far);
		if (p[0] != 0x80 || p[1] != 0x3d || p[6] != 0 || p + INSTRUCTION + far != (const unsigned char *)variable)
			continue;
		unsigned char *page = (unsigned char *)((uintptr_t)p & ~(uintptr_t)(PAGE - 1));
		if (mprotect(page, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC))
			return;
		p[6] = 2;
		mprotect(page, 2 * PAGE, PROT_READ | PROT_EXEC);
	}
}

__attribute__((constructor)) static void allow(void)
{
	unsigned char *code = dlsym(RTLD_DEFAULT, "vhost_user_backend_dev_init");
	const void *kvm = dlsym(RTLD_DEFAULT, "kvm_allowed"), *eventfds = dlsym(RTLD_DEFAULT, "kvm_eventfds_allowed");

	if (!code || !kvm || !eventfds)
		return;
	patch(code, kvm);
	patch(code, eventfds);
}
