/*
 * Pages go back to the host by a hole in the file that they are in: then the guest, every daemon that maps it and the
 * front end lose them at once, and the next access by any of them finds zeroes.
 *
 * A hole is made of whole pages of the file, which may be larger than the guest's (hugetlbfs).  Pages that the guest promised
 * to ask for before it uses them again are gathered in a bitmap until such a large page is whole.
 *
 * What came back is measured: blocks of the file, before and after.  A guest that touches memory at the same moment blurs
 * this by what it touched.
 */
#include <vio/host/pages.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { GUEST_PAGE = VIO_BALLOON_PAGE };

struct range { uint64_t from, to; };	/* in a region; from >= to: nothing */

/* ---- Regions whose file is known ---- */

/* The whole pages of the file that [at, at + len) has, as a range of the region. */
static struct range whole_pages(const struct vio_backing *b, uint64_t at, uint64_t len)
{
	uint64_t mask = b->page - 1, from = b->offset + at, to = from + len;

	from = (from + mask) & ~mask;
	to &= ~mask;
	return from < to ? (struct range){ from - b->offset, to - b->offset } : (struct range){ 0, 0 };
}

static uint64_t blocks(int fd)
{
	struct stat st;
	return fstat(fd, &st) ? 0 : (uint64_t)st.st_blocks;
}

static int64_t punch(const struct vio_backing *b, struct range what)
{
	if (what.from >= what.to)
		return 0;
	uint64_t before = blocks(b->fd);
	int r;
	do
		r = fallocate(b->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(b->offset + what.from),
		    (off_t)(what.to - what.from));
	while (r && errno == EINTR);
	if (r)
		return -errno;
	uint64_t after = blocks(b->fd);
	return before > after ? (int64_t)(before - after) * 512 : 0;
}

/* ---- Gathering the parts of large pages ---- */

static bool bit(const uint8_t *bits, uint64_t n) { return bits[n / 8] >> n % 8 & 1; }

static void set_bits(uint8_t *bits, uint64_t from, uint64_t to, bool on)
{
	for (uint64_t n = from; n < to; n++)
		bits[n / 8] = (uint8_t)(on ? bits[n / 8] | 1u << n % 8 : bits[n / 8] & ~(1u << n % 8));
}

static bool all_set(const uint8_t *bits, uint64_t from, uint64_t to)
{
	while (from < to && bit(bits, from))
		from++;
	return from == to;
}

/* Bits count guest pages from the region's first byte; one that is cut by an end of [at, at + len) does not count. */
static uint64_t first_page(uint64_t at) { return (at + GUEST_PAGE - 1) / GUEST_PAGE; }

/* Each large page that has become whole is given; its bits go, as there is nothing left to give. */
static int64_t gather(struct vio_backing *b, const struct vio_region *r, uint64_t at, uint64_t len)
{
	uint64_t pages = r->size / GUEST_PAGE, first = b->page - b->offset % b->page;
	int64_t came_back = 0;

	if (!b->kept && !(b->kept = calloc(pages / 8 + 1, 1)))	/* touched only where the guest names pages */
		return -ENOMEM;
	set_bits(b->kept, first_page(at), (at + len) / GUEST_PAGE, true);
	first = first == b->page ? 0 : first;
	uint64_t from = at < first ? first : first + (at - first) / b->page * b->page;
	for (; from < at + len && r->size - from >= b->page; from += b->page) {
		if (from % GUEST_PAGE || !all_set(b->kept, from / GUEST_PAGE, (from + b->page) / GUEST_PAGE))
			continue;
		int64_t got = punch(b, (struct range){ from, from + b->page });
		if (got < 0)
			return got;
		came_back += got;
	}
	return came_back;
}

/* ---- Regions of which only the mapping is known ---- */

static uint64_t resident(unsigned char *from, size_t len, size_t page)
{
	unsigned char in[1024];
	uint64_t count = 0;

	for (size_t at = 0; at < len; at += sizeof in * page) {
		size_t n = len - at < sizeof in * page ? len - at : sizeof in * page;
		if (mincore(from + at, n, in))
			return 0;
		for (size_t i = 0; i < n / page; i++)
			count += in[i] & 1;
	}
	return count * page;
}

static int64_t give_mapping(const struct vio_region *r, uint64_t at, uint64_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)r->host + at + page - 1) & ~(page - 1), to = ((uintptr_t)r->host + at + len) & ~(page - 1);

	if (from >= to)
		return 0;
	uint64_t came_back = resident((unsigned char *)from, to - from, page);
	if (!madvise((void *)from, to - from, MADV_REMOVE))
		return (int64_t)came_back;
	if ((errno == EINVAL || errno == EACCES) && !madvise((void *)from, to - from, MADV_DONTNEED))
		return (int64_t)came_back;
	return -errno;
}

/* ---- The back end ---- */

static int64_t host_give(struct vio_pages *p, const struct vio_region *r, uint64_t at, uint64_t len, enum vio_pages_promise promise)
{
	struct vio_backing *b = r->backing;

	(void)p;
	if (!b || b->fd < 0)
		return give_mapping(r, at, len);
	if (promise == VIO_PAGES_KEPT && b->page > GUEST_PAGE)
		return gather(b, r, at, len);
	return punch(b, whole_pages(b, at, len));
}

static void host_take(struct vio_pages *p, const struct vio_region *r, uint64_t at, uint64_t len)
{
	(void)p;
	if (r->backing && r->backing->kept)
		set_bits(r->backing->kept, at / GUEST_PAGE, first_page(at + len), false);
}

static void host_forget(struct vio_pages *p, const struct vio_mem *mem)
{
	(void)p;
	for (uint32_t i = 0; i < mem->count; i++)
		if (mem->region[i].backing) {
			free(mem->region[i].backing->kept);
			mem->region[i].backing->kept = NULL;
		}
}

static void host_close(struct vio_pages *p) { free(p); }

static const struct vio_pages_ops host_ops = {
	.give = host_give, .take = host_take, .forget = host_forget, .close = host_close,
};

struct vio_pages *vio_pages_open(void)
{
	struct vio_pages *p = calloc(1, sizeof *p);

	if (p)
		p->ops = &host_ops;
	return p;
}

/* ---- Asking ---- */

const char *vio_pages_ask(struct vio_pages *p, enum vio_pages_ask what)
{
	return p->ask ? p->ask(p->arg, what) : "there is no balloon";
}

const char *vio_pages_set_target(struct vio_pages *p, uint64_t bytes)
{
	if (bytes / VIO_BALLOON_PAGE > UINT32_MAX)
		return "a balloon holds at most 16 TiB less a page: give a smaller target";
	p->target = bytes;
	return vio_pages_ask(p, VIO_ASK_TARGET);
}
