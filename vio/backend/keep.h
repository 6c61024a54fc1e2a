/*
 * A few bytes that outlive the program, as the SCSI device sees them: the persistent reservations of a logical unit.
 *
 * Several devices, in several threads and programs, may share one: each is then an initiator of its own.  Changes are atomic
 * among all of them, and who wants to know whether something has changed compares versions, which costs a load.
 * On a Linux host: vio/host/keep.h (a file; memory).
 */
#ifndef VIO_BACKEND_KEEP_H
#define VIO_BACKEND_KEEP_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

enum { VIO_KEEP_BYTES = 8192 };		/* at most */

struct vio_keep {
	const struct vio_keep_ops *ops;
	bool fresh;	/* when it was opened, nobody else had it open: what should not outlive a power failure is to be forgotten */
};
struct vio_keep_ops {
	/* Another number whenever the bytes have changed, by whomever.  Any thread. */
	uint64_t (*version)(struct vio_keep *k);
	/* The bytes as they are, in room of VIO_KEEP_BYTES: how many (0: there never were any), and their version. */
	size_t (*read)(struct vio_keep *k, unsigned char *to, uint64_t *version);
	/*
	 * Change them; nobody else does meanwhile.  change() gets the n bytes there are, in room for VIO_KEEP_BYTES, and returns
	 * how many there shall be, or SIZE_MAX: let all be as it was.  0: done, and with durable on stable storage; or a positive
	 * errno value: nothing has changed.  Home thread; may take as long as a write to a disk.
	 */
	int (*update)(struct vio_keep *k, bool durable, size_t (*change)(void *arg, unsigned char *bytes, size_t n), void *arg);
	void (*close)(struct vio_keep *k);
};
VIO_END_DECLS
#endif
