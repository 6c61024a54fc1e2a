/*
 * Confinement: what a daemon gives up, in all its threads, between opening what it needs and serving.
 *
 *   no_new_privs, no capabilities (bounding set too), not dumpable, Landlock (no file can be opened, made, renamed or removed
 *   but as the folders named allow), seccomp (a system call that is not in the lists ends the process).
 */
#ifndef VIO_HOST_SANDBOX_H
#define VIO_HOST_SANDBOX_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

/* What may be done in and below a folder; the numbers are Landlock's (linux/landlock.h). */
enum {
	VIO_FOLDER_WRITE = 1 << 1, VIO_FOLDER_READ = 1 << 2, VIO_FOLDER_LIST = 1 << 3, VIO_FOLDER_REMOVE = 1 << 5,
	VIO_FOLDER_MAKE_SOCKET = 1 << 9, VIO_FOLDER_ALL = (1 << 16) - 1
};
struct vio_sandbox_folder {
	int fd;				/* O_PATH */
	uint32_t rights;		/* with REMOVE alone, files are removed by unlinkat() with this very descriptor */
};

/* A system call beyond those that every daemon needs; of how ONE and BITS an argument is looked at. */
enum { VIO_CALL_ANY, VIO_CALL_ONE /* argument == a */, VIO_CALL_BITS /* (argument & a) == b */ };
struct vio_sandbox_call { int call; uint8_t how, argument; uint64_t a, b; };	/* call: SYS_...; lists end with { -1 } */

enum { VIO_SANDBOX_LISTS = 24 };	/* a machine has devices of all kinds */
struct vio_sandbox_options {
	struct vio_sandbox_folder *folder;
	unsigned folders, room;		/* room for so many; see vio_sandbox_folder() */
	const struct vio_sandbox_call *calls[VIO_SANDBOX_LISTS];	/* NULL: none */
	uint64_t keep;			/* capabilities to keep, bit CAP_...; all others are given up */
	bool network;			/* may bind and connect TCP ports (Landlock); needs the calls too */
};

/* A folder more, or more rights to one that is listed.  False: there is no room. */
bool vio_sandbox_folder(struct vio_sandbox_options *o, int fd, uint32_t rights);
/* A list of calls more; the same one again does nothing.  More than VIO_SANDBOX_LISTS is our own mistake. */
void vio_sandbox_calls(struct vio_sandbox_options *o, const struct vio_sandbox_call *calls);

/*
 * Every descriptor and every thread there will ever be exists; no other thread changes that meanwhile.  False: why (512
 * bytes) has a sentence.  *lacks: what this kernel cannot do, or NULL.
 */
bool vio_sandbox_enter(const struct vio_sandbox_options *o, const char **lacks, char *why);
VIO_END_DECLS
#endif
