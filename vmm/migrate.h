/*
 * A machine moves to another process, which may be on another host, while it runs.
 *
 *     source:       vmm_migrate(m, &options, why)          destination:  vmm_receive(m, channel, ..., why)
 *
 *     memory, again and again what was written since (pre-copy) ──▶
 *     vCPUs paused, queues stopped; the last pages, the state   ──▶   loads everything
 *                                                               ◀──   READY, or REFUSED and why
 *     gives up what only one may have (op give)             GO  ──▶   takes it (op take), runs
 *                                                               ◀──   DONE
 *
 * Until GO everything that goes wrong leaves the source as it was: running, if it ran.  After GO the machine is the other's; if the
 * answer to it does not come, nobody here can know whether it runs there, and the source stays paused and says so.
 *
 * Both run in a thread that the machine has for it, and done() comes in the home loop.
 */
#ifndef VMM_MIGRATE_H
#define VMM_MIGRATE_H
#include <vmm/snapshot.h>

enum vmm_moved {
	VMM_MOVED_OK,			/* source: it runs there, and is paused here for good; destination: it is here, running or paused as it was */
	VMM_MOVED_NOT,			/* source: all is as before; destination: the machine is of no use */
	VMM_MOVED_PERHAPS		/* source only, see above: paused */
};

struct vmm_moving_told {
	unsigned rounds;
	uint64_t bytes, memory_bytes;	/* over the channel; of memory among them */
	uint64_t remaining;		/* bytes that the last round left */
	uint64_t total_ns, down_ns;	/* down: from the pause to DONE */
};

struct vmm_moving {
	struct vio_channel *channel;	/* the migration's from now on */
	unsigned down_ms;		/* source: the longest pause that is wanted; 0: 300 */
	uint64_t bytes_per_second;	/* source: no faster; 0: as fast as it goes */
	unsigned rounds;		/* source: how often memory is sent again before it is given up; 0: 30 */
	/* Home loop.  give: let go of what the other end needs (disks' locks), and take it back if it is not needed there. */
	bool (*give)(void *arg, char *why);
	bool (*take)(void *arg, char *why);
	void (*done)(void *arg, enum vmm_moved moved, const struct vmm_moving_told *told, const char *why);
	void *arg;
};

/* Home loop.  False: why, and nothing has begun; the channel is closed. */
bool vmm_migrate(struct vmm *m, const struct vmm_moving *how, char *why);
/* The same for a machine as for vmm_restore(). */
bool vmm_receive(struct vmm *m, const struct vmm_moving *how, char *why);
/* Stop it if it is not past the point of return; done() comes. */
void vmm_migrate_cancel(struct vmm *m);
/* For the machine's beginning and end; the end cancels and waits, and done() does not come. */
bool vmm_mover_open(struct vmm *m, char *why);
void vmm_mover_close(struct vmm *m);
/* How far it is; false: none is under way. */
bool vmm_migrate_told(struct vmm *m, struct vmm_moving_told *told);
#endif
