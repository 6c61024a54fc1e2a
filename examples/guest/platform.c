/* The platform: memory is where it is, time is the clock's, a wait is a sleep until some interrupt. */
#include "guest.h"

enum irq guest_irq;

/* Physical and virtual addresses are the same here, and there is no IOMMU: a buffer is one piece, whatever it is. */
static unsigned map(void *arg, const void *p, uint32_t len, enum vio_dir dir, struct vio_buf *out, unsigned max)
{
	(void)arg, (void)dir;
	if (max == 0)
		return 0;
	out[0] = (struct vio_buf){ (uintptr_t)p, len };
	return 1;
}

static void unmap(void *arg, const void *p, uint32_t len, enum vio_dir dir, const struct vio_buf *bufs, unsigned n)
{
	(void)arg, (void)p, (void)len, (void)dir, (void)bufs, (void)n;
}

static uint64_t now_ns(void *arg)
{
	(void)arg;
	return clock_ns();
}

static void relax(void *arg)
{
	(void)arg;
	__asm__ volatile("pause");
}

static void wait(void *arg, struct vio_drv_port *port, uint16_t queue, uint64_t deadline_ns)
{
	(void)arg, (void)port, (void)queue;
	interrupt_sleep(deadline_ns);
}

static const struct vio_platform_ops sleeping = { map, unmap, now_ns, relax, wait };
struct vio_platform guest_platform = { &sleeping, NULL };

static const struct vio_platform_ops polling = { map, unmap, now_ns, relax, NULL };
void guest_platform_polls(void) { guest_platform.ops = &polling; }
