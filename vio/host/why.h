/*
 * Why something was refused: a sentence that names the remedy, in a buffer of VIO_WHY bytes that the caller gives.
 */
#ifndef VIO_HOST_WHY_H
#define VIO_HOST_WHY_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS

enum { VIO_WHY = 512 };

/* Fills why and returns false, so that a check ends with "return vio_refuse(...)". */
bool vio_refuse(char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));
VIO_END_DECLS
#endif
