/*
 * copy SOURCE_MIB TARGET_MIB [SECONDS]: how many 4 KiB blocks one core copies a second from anywhere in the one memory to
 * anywhere in the other.  Both are shared memory in small pages, as a file in tmpfs and a guest's memory are.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include "probe.h"

enum { BLOCK = 4096 };

static unsigned char *make(size_t bytes)
{
	unsigned char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	memset(p, 0x5a, bytes);
	return p;
}

static size_t pick(uint64_t *state, size_t blocks)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (size_t)((unsigned __int128)(*state ^ *state >> 29) * blocks >> 64) * BLOCK;
}

int main(int argc, char **argv)
{
	size_t from_bytes = (size_t)(argc > 1 ? atoi(argv[1]) : 1024) << 20, to_bytes = (size_t)(argc > 2 ? atoi(argv[2]) : 128) << 20;
	double seconds = argc > 3 ? strtod(argv[3], NULL) : 1;
	unsigned char *from = make(from_bytes), *to = make(to_bytes);
	uint64_t state = probe_now_ns(), n = 0, start, now;

	if (!from || !to) {
		fprintf(stderr, "copy: no memory for %zu MiB.\n", (from_bytes + to_bytes) >> 20);
		return 1;
	}
	start = probe_now_ns();
	do {
		for (unsigned i = 0; i < 1024; i++, n++)
			memcpy(to + pick(&state, to_bytes / BLOCK), from + pick(&state, from_bytes / BLOCK), BLOCK);
		now = probe_now_ns();
	} while ((double)(now - start) < seconds * 1e9);
	printf("%.0f\n", (double)n / (double)(now - start) * 1e9);
	return 0;
}
