/* Guest memory under running rings: regions that come and go, the dirty log, translations, files cut short. */
#include "../test.h"
#include "raw.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BIT(n) (UINT64_C(1) << (n))
#define PACKED BIT(VIO_F_RING_PACKED)
enum { NOW = 150 };
enum { OUT = 1, IN = 0 };

static uint64_t format(void **state) { return (uintptr_t)*state ? PACKED : 0; }

static bool quiet(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, ms) == 0;
}

static uint8_t disk_byte(struct rig *r, uint64_t at)
{
	uint8_t b;
	rig_peek(r, at, &b, 1);
	return b;
}

static enum verdict heard(int fd)
{
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	bool timeout;
	if (!hear(fd, &h, &p, NULL, PATIENCE_MS, &timeout))
		return timeout ? SILENT : CLOSED;
	return p.u64 ? REFUSED : DONE;
}

static struct vio_vhost_mem_reg whole(const struct guest *g)
{
	return (struct vio_vhost_mem_reg){ .region = { g->gpa, g->size, g->uva, 0 } };
}

/* A further region, of the same file's second half, for data: the guest's rings stay where they are. */
static int more_memory(struct guest *g, uint64_t gpa, unsigned char **at, struct vio_vhost_mem_reg *reg)
{
	int fd = memfd_create("more", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 0x10000), 0);
	*at = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	*reg = (struct vio_vhost_mem_reg){ .region = { gpa, 0x8000, g->uva + 0x10000000, 0x4000 } };
	assert_int_equal(tell(g->sock, VIO_MSG_ADD_MEM_REG, reg, sizeof *reg, &fd, 1), DONE);
	return fd;
}

/* A write whose data is at guest address gpa. */
static void submit_at(struct guest *g, unsigned slot, uint32_t op, uint64_t gpa)
{
	guest_submit(g, 0, slot, op, 30);
	struct vio_split_desc *d = (struct vio_split_desc *)(g->mem + ring_at(0));
	d[3 * slot + 1].addr = vio_le64_of(gpa);
	guest_kick(g, 0);
}

static void slots(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_mem_reg reg;
	unsigned char *at;

	(void)state;
	words_begin();
	rig_start(&r, (struct rig_options){ .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 1);
	assert_int_equal(ask_u64(g.sock, VIO_MSG_GET_MAX_MEM_SLOTS), VIO_VHOST_MEM_SLOTS);
	int fd = more_memory(&g, UINT64_C(0x100000000), &at, &reg);
	memset(at + 0x5000, 0x5a, 512);
	submit_at(&g, 0, OUT, UINT64_C(0x100001000));
	assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));
	assert_int_equal(guest_status(&g, 0, 0), 0);
	assert_int_equal(disk_byte(&r, 30 * 512), 0x5a);

	/* taken away under a request: the answer waits for it, and only for it */
	rig_hold(&r, true, false);
	submit_at(&g, 0, IN, UINT64_C(0x100001000));
	while (rig_held(&r) < 1)
		;
	say_flags(g.sock, VIO_MSG_REM_MEM_REG, VIO_VHOST_VERSION | VIO_VHOST_NEED_REPLY, &reg, sizeof reg, NULL, 0);
	assert_true(quiet(g.sock, NOW));
	memset(at + 0x5000, 0, 512);
	rig_hold(&r, false, false);
	assert_int_equal(heard(g.sock), DONE);
	assert_int_equal(at[0x5000], 0x5a);
	assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));

	rig_hold(&r, true, false);
	guest_submit(&g, 0, 0, IN, 1);
	guest_kick(&g, 0);
	while (rig_held(&r) < 1)
		;
	assert_int_equal(tell(g.sock, VIO_MSG_ADD_MEM_REG, &reg, sizeof reg, &fd, 1), DONE);
	assert_int_equal(tell(g.sock, VIO_MSG_REM_MEM_REG, &reg, sizeof reg, &fd, 1), DONE);	/* with a descriptor, as some do */
	assert_int_equal(tell(g.sock, VIO_MSG_REM_MEM_REG, &reg, sizeof reg, NULL, 0), REFUSED);
	rig_hold(&r, false, false);
	assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));

	for (unsigned i = 0; i < 3; i++)	/* as QEMU does, once for every pair of queues */
		assert_int_equal(tell(g.sock, VIO_MSG_ADD_MEM_REG, &reg, sizeof reg, &fd, 1), DONE);
	submit_at(&g, 0, IN, UINT64_C(0x100001000));
	assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(tell(g.sock, VIO_MSG_REM_MEM_REG, &reg, sizeof reg, NULL, 0), i < 3 ? DONE : REFUSED);

	submit_at(&g, 0, IN, UINT64_C(0x100001000));	/* it is gone */
	assert_true(words_have("buffer outside guest memory"));
	close(fd);
	munmap(at, 0x10000);
	guest_end(&g);
	rig_settles(&r);
	assert_int_equal(open_fds(), r.fds);
	rig_stop(&r);
}

/* QEMU takes the region away that rings lie in, and gives it back in pieces. */
static void rings_go(void **state)
{
	struct rig r;
	struct guest g;

	rig_start(&r, (struct rig_options){ .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ .features = format(state) }, 2);
	for (unsigned round = 0; round < 5; round++) {
		assert_true(guest_works(&g, 0));
		assert_true(guest_works(&g, 1));
		struct vio_vhost_mem_reg all = whole(&g), half[2] = { all, all };
		rig_hold(&r, true, false);
		guest_submit(&g, 0, 2, OUT, 1);
		guest_kick(&g, 0);
		while (rig_held(&r) < 1)
			;
		say_flags(g.sock, VIO_MSG_REM_MEM_REG, VIO_VHOST_VERSION | VIO_VHOST_NEED_REPLY, &all, sizeof all, NULL, 0);
		assert_true(quiet(g.sock, 20));
		rig_hold(&r, false, false);
		assert_int_equal(heard(g.sock), DONE);
		assert_true(guest_used(&g, 0, 0, NULL));
		guest_submit(&g, 0, 3, OUT, 1);
		guest_kick(&g, 0);
		half[0].region.size = half[1].region.offset = 0x80000;
		half[1].region.size -= 0x80000;
		half[1].region.gpa += 0x80000;
		half[1].region.uva += 0x80000;
		assert_int_equal(tell(g.sock, VIO_MSG_ADD_MEM_REG, &half[1], sizeof half[1], &g.memfd, 1), DONE);
		assert_false(guest_used(&g, 0, 20, NULL));
		assert_int_equal(tell(g.sock, VIO_MSG_ADD_MEM_REG, &half[0], sizeof half[0], &g.memfd, 1), DONE);
		assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));
		assert_true(guest_works(&g, 1));
		assert_int_equal(guest_table(&g), DONE);	/* and a table that replaces all */
		assert_true(guest_works(&g, 0));
		assert_int_equal(guest_table(&g), DONE);	/* the same again: nothing stops */
		assert_true(guest_works(&g, 1));
	}
	guest_end(&g);
	rig_settles(&r);
	assert_int_equal(open_fds(), r.fds);
	rig_stop(&r);
}

/* A buffer across two regions that follow each other for the guest and not for us. */
static void crossing(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_mem_reg reg;
	unsigned char *at;

	(void)state;
	rig_start(&r, (struct rig_options){ 0 });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 1);
	int fd = more_memory(&g, g.gpa + g.size, &at, &reg);
	memset(g.mem + g.size - 200, 1, 200);
	memset(at + 0x4000, 2, 312);
	submit_at(&g, 0, OUT, g.gpa + g.size - 200);
	assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));
	assert_int_equal(disk_byte(&r, 30 * 512 + 199), 1);
	assert_int_equal(disk_byte(&r, 30 * 512 + 200), 2);
	close(fd);
	munmap(at, 0x10000);
	guest_end(&g);
	rig_stop(&r);
}

static unsigned char *huge_file(int *fd)
{
	*fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	if (*fd < 0 || ftruncate(*fd, 2 << 20))
		return NULL;
	void *at = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

/* A region in the middle of a huge page: mappings of such a file begin and end at whole ones. */
static void huge_pages(void **state)
{
	struct rig r;
	struct guest g;
	int fd;
	unsigned char *at = huge_file(&fd);

	(void)state;
	assert_non_null(at);
	rig_start(&r, (struct rig_options){ 0 });
	guest_begin(&g, &r, (struct guest_options){ 0 }, 1);
	struct vio_vhost_mem_reg reg = { .region = { UINT64_C(0x100000000), 0x80000, g.uva + 0x10000000, 0x101000 } };
	assert_int_equal(tell(g.sock, VIO_MSG_ADD_MEM_REG, &reg, sizeof reg, &fd, 1), DONE);
	memset(at + 0x102000, 0x77, 512);
	submit_at(&g, 0, OUT, UINT64_C(0x100001000));
	assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));
	assert_int_equal(disk_byte(&r, 30 * 512), 0x77);
	assert_int_equal(tell(g.sock, VIO_MSG_REM_MEM_REG, &reg, sizeof reg, NULL, 0), DONE);
	munmap(at, 2 << 20);
	close(fd);
	guest_end(&g);
	rig_stop(&r);
}

/* ---- The dirty log ---- */

static bool dirty(const uint8_t *log, uint64_t gpa) { return log[gpa / 4096 / 8] >> (gpa / 4096 % 8) & 1; }

static void dirty_log(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_log l = { 0x10000, 0x1000 };

	rig_start(&r, (struct rig_options){ .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ .features = format(state), .gpa = 0x40000000 }, 1);
	int fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, 0x11000), 0);
	uint8_t *file = mmap(NULL, 0x11000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *log = file + 0x1000;
	struct vio_vhost_log shorter = { 0x8000, 0x1000 };	/* covers 0x40000000 bytes: not a page of the guest's */
	assert_int_equal(tell(g.sock, VIO_MSG_SET_LOG_BASE, &shorter, sizeof shorter, &fd, 1), REFUSED);
	assert_int_equal(tell(g.sock, VIO_MSG_SET_LOG_BASE, &l, sizeof l, &fd, 1), DONE);
	assert_true(guest_works(&g, 0));
	for (unsigned i = 0; i < 0x10000; i++)
		assert_int_equal(log[i], 0);

	/* live: LOG_ALL, then the ring's own */
	assert_int_equal(tell_u64(g.sock, VIO_MSG_SET_FEATURES, g.features | BIT(VIO_VHOST_LOG_ALL)), DONE);
	struct vio_vhost_addr a = guest_addr(&g, 0, VIO_VHOST_ADDR_LOG);
	struct vio_vhost_addr high = a;
	high.log = UINT64_C(0x80000000) - 4;
	assert_int_equal(tell(g.sock, VIO_MSG_SET_VRING_ADDR, &high, sizeof high, NULL, 0), g.packed ? DONE : REFUSED);
	assert_int_equal(tell(g.sock, VIO_MSG_SET_VRING_ADDR, &a, sizeof a, NULL, 0), DONE);
	guest_submit(&g, 0, 1, IN, 8);
	guest_kick(&g, 0);
	assert_true(guest_used(&g, 0, PATIENCE_MS, NULL));
	uint64_t page = g.gpa + request_at(0, 1), used = g.gpa + ring_at(0) + 0x1000;
	assert_true(dirty(log, page));
	assert_true(dirty(log, used));
	for (uint64_t at = g.gpa; at < g.gpa + g.size; at += 4096)
		assert_true(at == page || at == used || (g.packed && at == g.gpa + ring_at(0)) || !dirty(log, at));

	/* off again */
	assert_int_equal(tell_u64(g.sock, VIO_MSG_SET_FEATURES, g.features), DONE);
	memset(log, 0, 0x10000);
	assert_true(guest_works(&g, 0));
	for (unsigned i = 0; i < 0x10000; i++)
		assert_int_equal(log[i], 0);
	/* the device's features can't change under it */
	assert_int_equal(tell_u64(g.sock, VIO_MSG_SET_FEATURES, g.features | BIT(VIO_F_EVENT_IDX)), REFUSED);
	assert_true(guest_works(&g, 0));
	munmap(file, 0x11000);
	close(fd);
	guest_end(&g);
	rig_stop(&r);
}

/* ---- Translations ---- */

static enum verdict translate(struct guest *g, uint64_t iova, uint64_t size, uint64_t uva, uint8_t perm)
{
	struct vio_vhost_iotlb t = { .iova = iova, .size = size, .uva = uva, .perm = perm, .type = VIO_IOTLB_UPDATE };
	return tell(g->sock, VIO_MSG_IOTLB_MSG, &t, sizeof t, NULL, 0);
}

static enum verdict invalidate(struct guest *g, uint64_t iova, uint64_t size)
{
	struct vio_vhost_iotlb t = { .iova = iova, .size = size, .type = VIO_IOTLB_INVALIDATE };
	return tell(g->sock, VIO_MSG_IOTLB_MSG, &t, sizeof t, NULL, 0);
}

/* Answer every miss until a request is used; I/O virtual addresses are g->gpa + offset. */
static bool serve_misses(struct guest *g, unsigned queue, unsigned *misses)
{
	for (unsigned n = 0; n < 100; n++) {
		uint32_t request;
		union vio_vhost_payload p;
		if (guest_used(g, queue, 20, NULL))
			return true;
		if (!guest_asked(g, &request, &p, 20))
			continue;
		if (request != VIO_MSG_BACKEND_IOTLB_MSG || p.iotlb.type != VIO_IOTLB_MISS || p.iotlb.iova - g->gpa >= g->size)
			return false;
		if (translate(g, p.iotlb.iova & ~UINT64_C(4095), 4096, g->uva + ((p.iotlb.iova - g->gpa) & ~UINT64_C(4095)), 3) != DONE)
			return false;
		guest_answers(g, request, 0);
		++*misses;
	}
	return false;
}

static void iommu(void **state)
{
	struct rig r;
	struct guest g;
	unsigned misses = 0;
	uint32_t request;
	union vio_vhost_payload p;

	words_begin();
	rig_start(&r, (struct rig_options){ .iommu = true, .loops = 2 });
	guest_begin(&g, &r, (struct guest_options){ .features = format(state) | BIT(VIO_F_ACCESS_PLATFORM) }, 2);
	guest_submit(&g, 0, 0, IN, 0);
	guest_kick(&g, 0);
	assert_true(serve_misses(&g, 0, &misses));	/* the rings' two or three pages, and the request's one */
	assert_in_range(misses, 3, 6);
	unsigned before = misses;
	guest_submit(&g, 0, 0, IN, 0);
	guest_kick(&g, 0);
	assert_true(serve_misses(&g, 0, &misses));
	assert_int_equal(misses, before);		/* known by now */

	/* invalidated under a request: answered when that has ended; then it misses again */
	rig_hold(&r, true, false);
	guest_submit(&g, 0, 0, IN, 0);
	guest_kick(&g, 0);
	while (rig_held(&r) < 1)
		;
	struct vio_vhost_iotlb t = { .iova = 0, .size = UINT64_MAX, .type = VIO_IOTLB_INVALIDATE };
	say(g.sock, VIO_MSG_IOTLB_MSG, &t, sizeof t, NULL, 0);
	assert_true(quiet(g.sock, NOW));
	rig_hold(&r, false, false);
	assert_int_equal(heard(g.sock), DONE);
	assert_true(guest_used(&g, 0, 0, NULL));
	guest_submit(&g, 0, 0, IN, 0);
	guest_kick(&g, 0);
	assert_true(serve_misses(&g, 0, &misses));
	assert_int_equal(misses, before + 1);		/* the rings themselves are held */

	/* lies */
	assert_int_equal(translate(&g, 0, 0, g.uva, 3), REFUSED);
	assert_int_equal(translate(&g, UINT64_MAX - 100, 4096, g.uva, 3), REFUSED);
	assert_int_equal(translate(&g, 0, 4096, g.uva + g.size, 3), REFUSED);
	assert_int_equal(translate(&g, 0, 4096, g.uva + g.size - 1, 3), REFUSED);
	assert_int_equal(translate(&g, 0, 4096, g.uva, 4), REFUSED);
	assert_int_equal(translate(&g, 0, 4096, g.uva, 0), REFUSED);
	assert_int_equal(invalidate(&g, g.gpa, 0), DONE);	/* 2^64 bytes: from there to the end */
	guest_submit(&g, 0, 0, IN, 0);
	guest_kick(&g, 0);
	before = misses;
	assert_true(serve_misses(&g, 0, &misses));
	assert_int_equal(misses, before + 1);

	/* more than there is room for, and then all of them away */
	for (uint64_t n = 0; n < 3000; n++)
		assert_int_equal(translate(&g, n << 12, 4096, g.uva, 3), DONE);
	assert_int_equal(translate(&g, 0x1800, 0x1000, g.uva, 3), DONE);
	assert_int_equal(invalidate(&g, 0, UINT64_MAX), DONE);

	/* a miss that is refused breaks that queue alone */
	guest_submit(&g, 0, 0, IN, 0);
	guest_kick(&g, 0);
	assert_true(guest_asked(&g, &request, &p, PATIENCE_MS));
	guest_answers(&g, request, 1);
	assert_true(words_have("queue 0 is broken until it is reset: the driver uses an address that the IOMMU does not translate"));
	guest_submit(&g, 1, 0, IN, 0);
	guest_kick(&g, 1);
	assert_true(serve_misses(&g, 1, &misses));
	/* and so does one that is acknowledged without a translation */
	guest_submit(&g, 1, 1, IN, 0);
	guest_kick(&g, 1);
	assert_true(guest_asked(&g, &request, &p, PATIENCE_MS));
	guest_answers(&g, request, 0);
	assert_true(words_have("queue 1 is broken until it is reset: the front end did not translate an address in time"));
	guest_end(&g);
	rig_settles(&r);
	assert_int_equal(open_fds(), r.fds);
	rig_stop(&r);
}

static void iommu_without_channel(void **state)
{
	struct rig r;
	struct guest g;

	(void)state;
	words_begin();
	rig_start(&r, (struct rig_options){ .iommu = true });
	guest_begin(&g, &r, (struct guest_options){ .features = BIT(VIO_F_ACCESS_PLATFORM),
	    .protocol_without = BIT(VIO_VHOST_F_BACKEND_REQ) }, 1);
	assert_true(words_have("the front end has given no channel to ask for translations"));
	assert_int_equal(ask_u64(g.sock, VIO_MSG_GET_STATUS), VIO_S_NEEDS_RESET);
	guest_end(&g);
	rig_stop(&r);
}

/* ---- Files cut short ---- */

static void cut_short(void **state)
{
	struct rig r;
	struct guest g;
	struct vio_vhost_header h;
	union vio_vhost_payload p;
	bool timeout;

	words_begin();
	rig_start(&r, (struct rig_options){ .loops = 2 });
	for (unsigned round = 0; round < 3; round++) {
		guest_begin(&g, &r, (struct guest_options){ .features = format(state) }, 2);
		assert_true(guest_works(&g, 1));
		guest_submit(&g, 1, 0, OUT, 3);
		assert_int_equal(ftruncate(g.memfd, 0), 0);
		guest_kick(&g, 1);
		while (hear(g.channel, &h, &p, NULL, PATIENCE_MS, &timeout))
			;
		assert_false(timeout);
		assert_true(words_have("raw: memory that the front end shares was cut short while in use; the connection is closed"));
		guest_end(&g);
		assert_true(good_front_end(&r));
	}
	rig_settles(&r);
	assert_int_equal(open_fds(), r.fds);
	rig_stop(&r);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		T(slots, "regions come and go; one that is in use goes when its requests have ended, and waits for no others"),
		TS(rings_go, "a region that rings lie in goes and comes back: the rings go on, split", 0),
		TS(rings_go, "and packed", 1),
		T(crossing, "a buffer across two regions"),
		TS(dirty_log, "writes are logged, by data and ring, on and off under running rings, split", 0),
		TS(dirty_log, "and packed", 1),
		TS(iommu, "translations: misses, invalidation, lies, too many, and queues that break alone, split", 0),
		TS(iommu, "and packed", 1),
		T(iommu_without_channel, "an IOMMU and nobody to ask breaks the queue in a sentence"),
		TS(cut_short, "guest memory cut short ends that connection and nothing else, split", 0),
		TS(cut_short, "and packed", 1),
		T(huge_pages, "a region of a file of huge pages"),	/* last: where there are none it is left out */
	};
	int fd;
	unsigned char *at = huge_file(&fd);
	size_t n = sizeof tests / sizeof *tests;
	if (at)
		munmap(at, 2 << 20);
	else
		printf("# no huge pages are set aside (/proc/sys/vm/nr_hugepages): one test less\n");
	if (fd >= 0)
		close(fd);
	return vio_tests("vhost memory", tests, at ? n : n - 1);
}
