/* Confinement of a machine's process: what its devices need, and KVM. */
#include "run.h"
#include <stdlib.h>
#include <sys/syscall.h>
#include <vio/host/why.h>
#include <vmm/isolate.h>

/* KVM's own requests, of descriptors that are open: vCPUs, interrupts, notifications, memory. */
static const struct vio_sandbox_call kvm[] = { { SYS_ioctl, VIO_CALL_BITS, 1, 0xff00, 0xae00 }, { .call = -1 } };

bool run_confine(struct run *r, char *why)
{
	enum { GRANTED = 32 };		/* folders a unit may need */
	struct vio_sandbox_options o = { .room = r->units * GRANTED + 3 };
	const char *lacks = NULL;

	o.folder = calloc(o.room, sizeof *o.folder);
	if (!o.folder)
		return vio_refuse(why, "there is no memory for so many devices");
	vio_sandbox_calls(&o, kvm);
	if (r->words.isolate)
		vio_sandbox_calls(&o, vmm_isolate_calls);
	for (unsigned i = 0; i < r->units; i++)
		vio_unit_grant(&r->unit[i]->unit, &o);
	run_serial_grant(r->serial, &o);
	run_move_grant(r->move, &o);
	if (r->process.control)
		vio_sandbox_folder(&o, r->control_file.dir, VIO_FOLDER_REMOVE);
	bool ok = vio_sandbox_enter(&o, &lacks, why);
	free(o.folder);
	if (ok && lacks && r->words.verbose)
		vio_say("vio run", "%s", lacks);
	return ok;
}
