/* GnuTLS is loaded only where it is asked for, before confinement, which forbids it (docs/decisions/libnbd-when-asked-for.md). */
#include <dlfcn.h>
#include <vio/host/channel_impl.h>

const struct vio_tls_library *vio_tls_library(char *why)
{
	static struct vio_tls_library lib;
	void *so;

	if (lib.free)
		return &lib;
	so = dlopen("libgnutls.so.30", RTLD_NOW | RTLD_LOCAL);
	if (!so) {
		vio_refuse(why, "TLS needs GnuTLS (%s); install it: apt-get install libgnutls30", dlerror());
		return NULL;
	}
#define FIND(name) \
	lib.name = (__typeof__(gnutls_##name) *)dlsym(so, "gnutls_" #name); \
	if (!lib.name) { \
		vio_refuse(why, "this GnuTLS has no gnutls_%s: install version 3.6.8 or later", #name); \
		dlclose(so); \
		return NULL; \
	}
	VIO_TLS_FUNCTIONS(FIND)
#undef FIND
	lib.malloc = dlsym(so, "gnutls_malloc");
	lib.free = dlsym(so, "gnutls_free");
	if (lib.malloc && lib.free)
		return &lib;
	lib.free = NULL;
	dlclose(so);
	vio_refuse(why, "this GnuTLS lacks its allocator: install version 3.6.8 or later");
	return NULL;
}
