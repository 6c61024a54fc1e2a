/* The four functions the drivers need of a libc, and memory by moving a pointer. */
#include "guest.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *at = to;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) :: "memory");
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	if ((uintptr_t)to - (uintptr_t)from >= n)
		return memcpy(to, from, n);
	void *at = (char *)to + n - 1;
	const void *of = (const char *)from + n - 1;
	__asm__ volatile("std; rep movsb; cld" : "+D"(at), "+S"(of), "+c"(n) :: "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}

extern char guest_end[];	/* of what the loader put here: guest.ld */
enum { MEMORY = 8 << 20 };	/* that is certainly there behind it */
static size_t used;

void *guest_alloc(size_t bytes, size_t align)
{
	uintptr_t at = ((uintptr_t)guest_end + used + align - 1) & ~(uintptr_t)(align - 1);

	used = at + bytes - (uintptr_t)guest_end;
	if (used > MEMORY) {
		say("Bail out! no memory for %llu bytes\n", (unsigned long long)bytes);
		guest_off(1);
	}
	return memset((void *)at, 0, bytes);
}

size_t guest_alloc_mark(void) { return used; }
void guest_alloc_back(size_t mark) { used = mark; }

/* A page table entry of the first 512 GiB, each a GiB (entry.S). */
extern uint64_t pdpt[512];

void guest_map_device(uint64_t addr)
{
	uint64_t gib = addr >> 30;

	if (gib >= 512 || pdpt[gib])
		return;
	uint64_t *pd = guest_alloc(4096, 4096);
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = gib << 30 | i << 21 | 0x9b;	/* 2 MiB, not cached, writable, present */
	pdpt[gib] = (uintptr_t)pd | 3;
}
