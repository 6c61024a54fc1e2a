/* A balloon: 64 pages into it, half of them back; with balloon=stats also statistics, when the host asks for them. */
#include <vio/driver/balloon.h>
#include "guest.h"

enum { PAGES = 64, BACK = 32 };

static bool tell(struct vio_balloon *b)
{
	const struct vio_balloon_stat stat[] = {
		{ vio_le16_of(VIO_BALLOON_S_MEMFREE), vio_le64_of(4321000) }, { vio_le16_of(VIO_BALLOON_S_MEMTOT), vio_le64_of(1234000) } };
	uint64_t deadline = clock_ns() + 2 * VIO_DRV_PATIENCE_NS;

	while (!vio_balloon_stats_wanted(b)) {
		if (clock_ns() >= deadline)
			return false;
		vio_drv_wait(&b->drv, VIO_BALLOON_Q_STATS, &b->q[VIO_BALLOON_Q_STATS], deadline);
	}
	return vio_balloon_stats(b, stat, 2);
}

void drive_balloon(struct vio_drv_port *port)
{
	struct vio_balloon *b = GUEST_NEW(struct vio_balloon);
	struct vio_balloon_setup setup = { .keeps_contents = false };
	const struct vio_balloon_stat first[] = {
		{ vio_le16_of(VIO_BALLOON_S_MEMFREE), vio_le64_of(0) }, { vio_le16_of(VIO_BALLOON_S_MEMTOT), vio_le64_of(0) } };
	unsigned char *memory = guest_alloc(PAGES * VIO_BALLOON_PAGE, VIO_BALLOON_PAGE);
	void *page[PAGES];
	uint32_t wants;

	for (unsigned i = 0; i < PAGES; i++)
		page[i] = memory + (size_t)i * VIO_BALLOON_PAGE;
	if (!expect(vio_balloon_start(b, port, &setup, first, 2), "starts")) {
		say("# %s\n", b->drv.failed);
		return;
	}
	drive_features(&b->drv);
	expect(vio_balloon_wants(b, &wants), "says how much it wants");
	say("# balloon: wants %u pages\n", wants);
	expect(vio_balloon_inflate(b, page, PAGES) && b->actual == PAGES, "takes pages");
	expect(vio_balloon_deflate(b, page, BACK, false) && b->actual == PAGES - BACK, "gives some back");
	memset(page[0], 0x5a, VIO_BALLOON_PAGE);
	expect(*(volatile unsigned char *)page[0] == 0x5a, "which are memory again");
	say("# balloon: has %u pages\n", b->actual);
	if (word_is("balloon", "stats"))
		expect(tell(b), "asks for statistics");
	expect(vio_balloon_deflate(b, page + BACK, PAGES - BACK, false) && b->actual == 0, "gives the others back");
	expect(vio_balloon_stop(b), "stops");
}
