/*
 * The whole machine as a stream of records, and back (vmm/stream.h).
 *
 * A snapshot is taken while the machine is paused; a machine to be restored has been made with the same options and the same devices, at
 * the same slots, and has not been booted.  What is on disks is not in it, nor connections to the world.
 */
#ifndef VMM_SNAPSHOT_H
#define VMM_SNAPSHOT_H
#include <vmm/machine.h>
#include <vmm/stream.h>

/* Stop all queues of all devices, what is in flight ends; the machine is paused.  False: why; then they go on. */
bool vmm_freeze(struct vmm *m, char *why);
void vmm_thaw(struct vmm *m);
void vmm_thaw_all(struct vmm *m);	/* also what was loaded and never frozen here */

/* Home loop; waits for the channel.  The machine is paused for it, and goes on if it ran.  False: why. */
bool vmm_snapshot(struct vmm *m, struct vio_channel *to, char *why);
/* The machine is as it was, paused: vmm_resume() goes on.  False: why; the machine is of no use then. */
bool vmm_restore(struct vmm *m, struct vio_channel *from, char *why);

/* Would all devices go along?  May change with their drivers.  False: why. */
bool vmm_may_move(struct vmm *m, char *why);

/* ---- The pieces, for migration ---- */

uint32_t vmm_stream_arch(void);
bool vmm_put_machine(struct vmm *m, struct vmm_out *o);
/* Pages whose bit is set (bits: bit by page from address 0), which are cleared; NULL: all that were ever touched. */
bool vmm_put_memory(struct vmm *m, struct vmm_out *o, uint8_t *bits);
bool vmm_put_rest(struct vmm *m, struct vmm_out *o);	/* home loop, frozen; with END */
/* One record into the machine; *end: that was END, and all that must be there was.  State collects what has been seen. */
struct vmm_seen { bool machine; uint64_t vcpus; uint32_t devices; bool platform, serial, pci; };
bool vmm_take(struct vmm *m, struct vmm_in *i, struct vmm_seen *seen, bool *end, char *why);
#endif
