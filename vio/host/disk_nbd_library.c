/*
 * libnbd brings GnuTLS and libxml2 with it, so it is loaded only where a network disk is asked for: before confinement, which
 * forbids it (docs/decisions/libnbd-when-asked-for.md).
 */
#include <vio/host/disk_nbd.h>
#include <dlfcn.h>
#include <vio/host/why.h>

const struct vio_nbd_library *vio_nbd_library(char *why)
{
	static struct vio_nbd_library lib;
	void *so;

	if (lib.create)
		return &lib;
	so = dlopen("libnbd.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!so) {
		vio_refuse(why, "network disks need libnbd (%s); install it: apt-get install libnbd0", dlerror());
		return NULL;
	}
#define FIND(name) \
	lib.name = (__typeof__(nbd_##name) *)dlsym(so, "nbd_" #name); \
	if (!lib.name) { \
		vio_refuse(why, "this libnbd has no nbd_%s: install version 1.14 or later", #name); \
		lib.create = NULL; \
		dlclose(so); \
		return NULL; \
	}
	VIO_NBD_FUNCTIONS(FIND)
#undef FIND
	return &lib;
}
