/*
 * A machine without processors: guest memory of two files, a remote device on a wire (function calls; MMIO or PCI registers when
 * compiled with RIG_MMIO or RIG_PCI, device/wire.h), and the loop that it is served in, which turns while a driver waits.
 */
#ifndef VIO_TESTS_VHOST_MACHINE_H
#define VIO_TESTS_VHOST_MACHINE_H
#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vio/backend/pages.h>
#include <vio/vhost/remote.h>
#include "../device/wire.h"
#include "../test.h"

enum { MACHINE_REGION = 4 << 20, MACHINE_OFFSET = 3 * 4096, MACHINE_GAP = 64 << 20, MACHINE_TEXT = 512 };
#define MACHINE_GPA UINT64_C(0x40000000)

struct machine {
	struct vio_loop_wire wire;
	struct vio_loop *loop;
	struct vio_remote *remote;
	struct vio_dev *dev;
	struct vio_mem mem;
	struct vio_region region[2];
	struct vio_backing backing[2];
	size_t used[2];			/* of each region, by machine_take() */
	void *rewired;
	struct vio_remote_options o;
	unsigned lost, back, ill, given_up;
	char why[MACHINE_TEXT];		/* with the last news */
	struct vio_call quit;
};

/* ---- platform ---- */

static inline uint64_t machine_gpa(const struct machine *m, const void *p)
{
	const struct vio_region *r = vio_mem_region_of(&m->mem, p);
	assert(r);
	return r->gpa + (uint64_t)((const unsigned char *)p - r->host);
}

static inline unsigned machine_map(void *arg, const void *p, uint32_t len, enum vio_dir dir, struct vio_buf *out, unsigned max)
{
	(void)dir;
	assert(max && vio_mem_region_of(&((struct machine *)arg)->mem, (const char *)p + len - 1));
	*out = (struct vio_buf){ machine_gpa(arg, p), len };
	return 1;
}

static inline void machine_unmap(void *arg, const void *p, uint32_t len, enum vio_dir dir, const struct vio_buf *b, unsigned n)
{
	(void)arg, (void)p, (void)len, (void)dir, (void)b, (void)n;
}

static inline uint64_t machine_now(void *arg)
{
	(void)arg;
	return vio_now_ns();
}

static inline void machine_quit(void *arg) { vio_loop_quit(arg); }

/* One turn of the loop, and of the queues that asked for one. */
static inline void machine_turn(void *arg)
{
	struct machine *m = arg;

	m->quit = (struct vio_call){ machine_quit, m->loop, NULL };
	vio_loop_call(m->loop, &m->quit);
	vio_loop_run(m->loop);
	if (m->dev)
		vio_loop_pump(&m->wire, 1000);
	sched_yield();
}

/* Turns until it is so.  False: it has not become so in ten seconds. */
#define MACHINE_UNTIL(m, what) ({ \
	uint64_t end_ = vio_now_ns() + UINT64_C(10000000000); \
	bool so_; \
	while (!(so_ = (what)) && vio_now_ns() < end_) \
		machine_turn(m); \
	so_; })

static const struct vio_platform_ops machine_platform = {
	.map = machine_map, .unmap = machine_unmap, .now_ns = machine_now, .relax = machine_turn,
};

/* ---- memory ---- */

static inline void machine_region(struct machine *m, unsigned i, bool shared)
{
	size_t offset = i ? 0 : MACHINE_OFFSET;		/* the first begins within its file */
	int fd = memfd_create("machine", MFD_CLOEXEC);

	assert(fd >= 0 && ftruncate(fd, (off_t)(offset + MACHINE_REGION)) == 0);
	unsigned char *host = mmap(NULL, MACHINE_REGION, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	assert(host != MAP_FAILED);
	m->backing[i] = (struct vio_backing){ .fd = fd, .offset = offset, .page = 4096 };
	m->region[i] = (struct vio_region){ .gpa = MACHINE_GPA + (uint64_t)i * MACHINE_GAP, .size = MACHINE_REGION, .host = host,
		.perm = VIO_MEM_RW, .backing = shared ? &m->backing[i] : NULL };
}

/* Bytes in one of the regions, in their own pages. */
static inline void *machine_take(struct machine *m, unsigned region, size_t n)
{
	size_t at = (m->used[region] + 4095) & ~(size_t)4095;
	m->used[region] = at + n;
	assert(m->used[region] <= MACHINE_REGION);
	return m->region[region].host + at;
}

/* ---- life ---- */

static inline void *machine_alloc(size_t n) { return calloc(1, n); }
static inline void machine_free(void *p, size_t n) { (void)n; free(p); }

static inline void machine_news(void *arg, enum vio_remote_news news, const char *why)
{
	struct machine *m = arg;

	m->lost += news == VIO_REMOTE_LOST;
	m->back += news == VIO_REMOTE_BACK;
	m->ill += news == VIO_REMOTE_ILL;
	m->given_up += news == VIO_REMOTE_GIVEN_UP;
	snprintf(m->why, sizeof m->why, "%s", why);
}

/* Memory and a loop; m->o.loop, news and arg are set. */
static inline void machine_begin(struct machine *m, bool shared)
{
	memset(m, 0, sizeof *m);
	for (unsigned i = 0; i < 2; i++)
		machine_region(m, i, shared);
	m->mem = (struct vio_mem){ .region = m->region, .count = 2, .refs = 1 };
	m->loop = vio_loop_new();
	assert(m->loop);
	m->wire.alloc = machine_alloc;
	m->wire.free = machine_free;
	m->o = (struct vio_remote_options){ .fd = -1, .loop = m->loop, .news = machine_news, .arg = m };
}

/* Connect as m->o says.  NULL, or why not. */
static inline const char *machine_plug(struct machine *m)
{
	m->remote = vio_remote_connect(&m->o, m->why);
	if (!m->remote)
		return m->why;
	const struct vio_dev_type *type = vio_remote_type(m->remote);
	m->dev = calloc(1, type->instance);
	assert(m->dev);
	const char *why = vio_dev_open(m->dev, type, m->remote, &vio_loop_port, &m->wire, vio_loop_features());
	if (why)
		return why;
	vio_loop_connect(&m->wire, m->dev, (struct vio_platform){ &machine_platform, m });
	m->rewired = rig_rewire(&m->wire);
	vio_dev_set_mem(m->dev, &m->mem);
	return NULL;
}

/* The device has gone, and its back end may. */
static inline void machine_unplug(struct machine *m)
{
	if (m->dev) {
		m->wire.port.ops->set_status(&m->wire.port, 0);
		vio_dev_close(m->dev);
		free(m->dev);
		free(m->rewired);
	}
	vio_remote_free(m->remote);
	m->dev = NULL;
	m->remote = NULL;
}

static inline void machine_end(struct machine *m)
{
	machine_unplug(m);
	vio_loop_free(m->loop);
	for (unsigned i = 0; i < 2; i++) {
		munmap(m->region[i].host, MACHINE_REGION);
		close(m->backing[i].fd);
	}
}
#endif
