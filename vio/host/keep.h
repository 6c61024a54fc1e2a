/* A few bytes that outlive the program (vio/backend/keep.h): in a file, and the twin in memory. */
#ifndef VIO_HOST_KEEP_H
#define VIO_HOST_KEEP_H
#include <vio/backend/keep.h>
#include <vio/host/sandbox.h>
#include <vio/host/why.h>
VIO_BEGIN_DECLS

/*
 * The file is made, mode 0600, where there is none, and its folder synchronised.  Who opens it may be confined afterwards, with the
 * calls below.  NULL: why has a sentence that names the remedy, in a buffer of VIO_WHY bytes.
 */
struct vio_keep *vio_keep_file_open(const char *path, char *why);
/* The same of an open descriptor (read and write), which is the keep's from now on, also when it is refused; name: in sentences. */
struct vio_keep *vio_keep_file_take(int fd, const char *name, char *why);
extern const struct vio_sandbox_call vio_keep_calls[];

/* Bytes in memory, which several devices of the process may share.  NULL: there is none. */
struct vio_keep *vio_keep_memory_open(void);
/* From now on the next updates (so many of them) fail with this error. */
void vio_keep_memory_fail(struct vio_keep *k, unsigned updates, int error);

static inline void vio_keep_close(struct vio_keep *k) { if (k) k->ops->close(k); }
VIO_END_DECLS
#endif
