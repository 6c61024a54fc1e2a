/* Talking to KVM: one ioctl that is tried again when a signal came, and the sentence for one that failed. */
#ifndef VMM_KVM_H
#define VMM_KVM_H
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <vio/host/why.h>

static inline int vmm_ioctl(int fd, unsigned long what, const void *arg)
{
	int r;
	do {
		r = ioctl(fd, what, arg);
	} while (r < 0 && errno == EINTR);
	return r;
}

/* False: "cannot ...: error; ..." */
static inline bool vmm_try(int fd, unsigned long what, const void *arg, const char *doing, char *why)
{
	if (vmm_ioctl(fd, what, arg) >= 0)
		return true;
	return vio_refuse(why, "KVM cannot %s: %s; a newer host kernel may help", doing, strerror(errno));
}
#endif
