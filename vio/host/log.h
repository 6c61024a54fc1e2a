/* How much a daemon says on standard error; may change while it runs, from any thread. */
#ifndef VIO_HOST_LOG_H
#define VIO_HOST_LOG_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

enum vio_log_level {
	VIO_LOG_QUIET,		/* nothing but why it can't start */
	VIO_LOG_NORMAL,		/* what an operator should look after */
	VIO_LOG_VERBOSE		/* what happens, too */
};
enum vio_log_level vio_log_level(void);		/* NORMAL unless set */
void vio_log_set(enum vio_log_level level);
VIO_END_DECLS
#endif
