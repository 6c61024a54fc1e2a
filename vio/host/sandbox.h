/*
 * Confinement: what a daemon gives up, in all its threads, between opening what it needs and serving.
 *
 *   no_new_privs, no capabilities (bounding set too), not dumpable, Landlock (no file can be opened, made or renamed;
 *   removed only in the folders named), seccomp (a system call that is not in the list ends the process).
 */
#ifndef VIO_HOST_SANDBOX_H
#define VIO_HOST_SANDBOX_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

struct vio_sandbox_options {
	const int *folders;		/* O_PATH descriptors: files in and below them may be removed, by unlinkat() */
	unsigned folder_count;
};

/*
 * Every descriptor and every thread there will ever be exists; no other thread changes that meanwhile.  False: why (512
 * bytes) has a sentence.  *lacks: what this kernel cannot do, or NULL.
 */
bool vio_sandbox_enter(const struct vio_sandbox_options *o, const char **lacks, char *why);
VIO_END_DECLS
#endif
