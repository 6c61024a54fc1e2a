/*
 * Dying between any two stores to shared memory, as SIGKILL would have it: what was stored stays, what was not is lost;
 * the process lives on to look at the ruins.
 *
 * The compiler calls a function before each store when it is told to build for the thread sanitizer.  The rings are built
 * that way for this test, and die.c supplies the functions in the sanitizer's place.
 */
#ifndef VIO_TESTS_RING_DIE_H
#define VIO_TESTS_RING_DIE_H
#include <stdbool.h>
#include <stddef.h>

#ifndef CAN_DIE
#define CAN_DIE 0	/* built without die.c, because with a sanitizer proper */
#endif

/* Memory that outlives a death.  At most two pieces. */
void die_shared(unsigned i, const void *at, size_t n);

/* fn(arg); true: it died before its n-th store to shared memory, false: it got through. */
bool dies_before(unsigned n, void (*fn)(void *arg), void *arg);
#endif
