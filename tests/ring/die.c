#include <setjmp.h>
#include <stdint.h>
#include "die.h"

static struct { uintptr_t at; size_t n; } shared[2];
static jmp_buf here;
static unsigned left;

void die_shared(unsigned i, const void *at, size_t n)
{
	shared[i].at = (uintptr_t)at;
	shared[i].n = n;
}

bool dies_before(unsigned n, void (*fn)(void *arg), void *arg)
{
	left = n;
	if (setjmp(here))
		return true;
	fn(arg);
	left = 0;
	return false;
}

static void store(const volatile void *p)
{
	uintptr_t at = (uintptr_t)p;

	if (left && (at - shared[0].at < shared[0].n || at - shared[1].at < shared[1].n) && --left == 0)
		longjmp(here, 1);
}

/* ---- What the compiler calls ---- */

#define HOOK(name, ...) void name(__VA_ARGS__); void name(__VA_ARGS__)

HOOK(__tsan_init, void) {}
HOOK(__tsan_func_entry, void *pc) { (void)pc; }
HOOK(__tsan_func_exit, void) {}
HOOK(__tsan_atomic_thread_fence, int order) { (void)order; __atomic_thread_fence(__ATOMIC_SEQ_CST); }
HOOK(__tsan_read_range, void *p, unsigned long n) { (void)p, (void)n; }
HOOK(__tsan_write_range, void *p, unsigned long n) { (void)n; store(p); }

#define PLAIN(n) \
	HOOK(__tsan_read##n, void *p) { (void)p; } \
	HOOK(__tsan_write##n, void *p) { store(p); } \
	HOOK(__tsan_unaligned_read##n, void *p) { (void)p; } \
	HOOK(__tsan_unaligned_write##n, void *p) { store(p); }
PLAIN(1) PLAIN(2) PLAIN(4) PLAIN(8) PLAIN(16)

#define ATOMIC(bits) \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *p, int order); \
	uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *p, int order) \
	{ (void)order; return __atomic_load_n(p, __ATOMIC_SEQ_CST); } \
	HOOK(__tsan_atomic##bits##_store, volatile uint##bits##_t *p, uint##bits##_t v, int order) \
	{ (void)order; store(p); __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
ATOMIC(8) ATOMIC(16) ATOMIC(32) ATOMIC(64)

#define FETCH(bits, op) \
	uint##bits##_t __tsan_atomic##bits##_fetch_##op(volatile uint##bits##_t *p, uint##bits##_t v, int order); \
	uint##bits##_t __tsan_atomic##bits##_fetch_##op(volatile uint##bits##_t *p, uint##bits##_t v, int order) \
	{ (void)order; store(p); return __atomic_fetch_##op(p, v, __ATOMIC_SEQ_CST); }
FETCH(32, add) FETCH(32, sub) FETCH(8, or)
