/*
 * Mapped files of somebody else's, who may cut them short: touching what is gone raises SIGBUS (hostile input B8).
 *
 * A guarded mapping survives that: the handler puts a page of zeroes where the fault was and marks the mapping dead, so
 * that the thread goes on and the owner of the mapping can end what used it.  A SIGBUS anywhere else ends the process.
 */
#ifndef VIO_HOST_SIGBUS_H
#define VIO_HOST_SIGBUS_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

/* Installs the handler; once for the process.  False with errno. */
bool vio_sigbus_init(void);
/*
 * Guard the mapping [base, base + size), from any thread, before it is touched.  *dead becomes true (read it with
 * __atomic_load_n) and must live until unguard.  False: there is no memory to note it.
 */
bool vio_sigbus_guard(void *base, size_t size, bool *dead);
/* Before the mapping is unmapped; nothing touches it any more. */
void vio_sigbus_unguard(void *base);
VIO_END_DECLS
#endif
