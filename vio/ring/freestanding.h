/* The four functions that the freestanding floors take from outside. */
#ifndef VIO_RING_FREESTANDING_H
#define VIO_RING_FREESTANDING_H
#include <vio/spec/types.h>
VIO_BEGIN_DECLS
void *memcpy(void *__restrict to, const void *__restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
VIO_END_DECLS
#endif
