/* probe CPU CPU: how long a cache line travels from one to the other, in ns. */
#include <stdio.h>
#include "probe.h"

int main(int argc, char **argv)
{
	int a = argc > 1 ? atoi(argv[1]) : 0, b = argc > 2 ? atoi(argv[2]) : 1;
	double ns = probe_line_ns(a, b);
	if (ns < 0) {
		fprintf(stderr, "probe: no thread can be started.\n");
		return 1;
	}
	printf("%.1f\n", ns);
	return 0;
}
