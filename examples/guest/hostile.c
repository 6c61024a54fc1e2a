/* What no driver should do. */
#include "guest.h"

void guest_hostile(struct wire *w, unsigned n)
{
	(void)w, (void)n;
}
