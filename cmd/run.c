/*
 * vio run: a virtual machine on KVM whose devices are vio's.
 *
 *   words -> KVM -> devices -> machine -> control socket -> confinement -> run until the guest or the user ends it
 */
#include "run_words.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vio/host/log.h>
#include <vio/host/why.h>

int vio_cmd_run(int argc, char **argv);

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* The two ways that work everywhere. */
#define ELSEWHERE "run the guest in QEMU or as user-mode Linux with vio's daemons instead (make run does both)"

/* /dev/kvm, able to make machines; -1: why has a sentence. */
static int open_kvm(char *why)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	if (fd < 0 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
		vio_refuse(why, "this host has no KVM (/dev/kvm: %s): enable virtualization in its firmware or its hypervisor, or " ELSEWHERE,
		    strerror(errno));
	else if (fd < 0)
		vio_refuse(why, "cannot open /dev/kvm: %s: become a member of its group, or " ELSEWHERE, strerror(errno));
	if (fd < 0)
		return -1;
	if (ioctl(fd, KVM_GET_API_VERSION, 0) == KVM_API_VERSION && (vm = ioctl(fd, KVM_CREATE_VM, 0)) >= 0) {
		close(vm);
		return fd;
	}
	vio_refuse(why, "KVM makes no machines here (%s): hardware virtualization is missing or switched off; " ELSEWHERE, strerror(errno));
	close(fd);
	return -1;
}

static bool run(const struct run_words *w, char *why)
{
	int kvm = open_kvm(why);

	if (kvm < 0)
		return false;
	(void)w;
	close(kvm);
	return vio_refuse(why, "there is no machine yet: " ELSEWHERE);
}

int vio_cmd_run(int argc, char **argv)
{
	char why[VIO_WHY];
	struct run_words w;
	int status = EXIT_OK;

	if (!run_words_parse(&w, argc, argv, why)) {
		vio_say("vio run", "%s", why);
		status = EXIT_USAGE;
	} else if (w.help) {
		vio_opt_help(&run_table);
	} else if (w.version) {
		printf("vio run %s\n", VIO_VERSION);
	} else {
		if (w.verbose)
			vio_log_set(VIO_LOG_VERBOSE);
		if (!run(&w, why)) {
			vio_say("vio run", "%s", why);
			status = EXIT_FAILED;
		}
	}
	run_words_free(&w);
	return status;
}
