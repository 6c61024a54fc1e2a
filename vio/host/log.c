#include <vio/host/log.h>

static int level = VIO_LOG_NORMAL;

enum vio_log_level vio_log_level(void) { return (enum vio_log_level)__atomic_load_n(&level, __ATOMIC_RELAXED); }
void vio_log_set(enum vio_log_level l) { __atomic_store_n(&level, (int)l, __ATOMIC_RELAXED); }
