#include <vio/transport/loop.h>

#define SELF(p) ((struct vio_loop_wire *)(p))

/* ---- The device's side ---- */

static void on_used(void *arg, unsigned queue)
{
	(void)queue;
	SELF(arg)->used++;
}

static void on_config(void *arg) { SELF(arg)->configs++; }

static void on_wake(void *arg, unsigned queue)
{
	SELF(arg)->due[queue / 64] |= UINT64_C(1) << queue % 64;
}

static void on_broken(void *arg, unsigned queue, const char *why)
{
	(void)queue;
	SELF(arg)->broken = why;
}

static void on_miss(void *arg, unsigned queue, uint64_t iova, unsigned perm)
{
	(void)arg, (void)queue, (void)iova, (void)perm;		/* no IOMMU on this wire: never asked */
}

static void *on_alloc(void *arg, size_t bytes)
{
	return SELF(arg)->alloc ? SELF(arg)->alloc(bytes) : NULL;
}

static void on_free(void *arg, void *p, size_t bytes)
{
	SELF(arg)->free(p, bytes);
}

static uint64_t on_now(void *arg) { return SELF(arg)->clock; }
static void on_alarm(void *arg, unsigned queue, uint64_t at_ns) { SELF(arg)->alarm[queue] = at_ns == UINT64_MAX ? 0 : at_ns; }

/* All threads are one here. */
static void on_post(void *arg, unsigned queue, struct vio_dev_call *c)
{
	struct vio_loop_wire *l = arg;

	(void)queue;
	c->next = NULL;
	*(l->calls ? l->calls_end : &l->calls) = c;
	l->calls_end = &c->next;
}

const struct vio_port_ops vio_loop_port = {
	.used = on_used, .config = on_config, .wake = on_wake, .broken = on_broken, .miss = on_miss,
	.now = on_now, .alarm = on_alarm, .post = on_post, .alloc = on_alloc, .free = on_free,
};

struct vio_features vio_loop_features(void)
{
	static const unsigned char bits[] = {
		VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_VERSION_1, VIO_F_ACCESS_PLATFORM, VIO_F_RING_PACKED, VIO_F_IN_ORDER,
		VIO_F_ORDER_PLATFORM, VIO_F_NOTIFICATION_DATA, VIO_F_RING_RESET, VIO_F_ADMIN_VQ, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

static bool next_due(struct vio_loop_wire *l, unsigned *queue)
{
	for (unsigned w = 0; w < sizeof l->due / sizeof *l->due; w++)
		if (l->due[w]) {
			unsigned bit = (unsigned)__builtin_ctzll(l->due[w]);
			l->due[w] &= ~(UINT64_C(1) << bit);
			*queue = w * 64 + bit;
			return true;
		}
	return false;
}

void vio_loop_tick(struct vio_loop_wire *l, uint64_t ns)
{
	l->clock += ns;
	for (unsigned i = 0; i < VIO_DEV_QUEUES; i++)
		if (l->alarm[i] && l->alarm[i] <= l->clock) {
			l->alarm[i] = 0;
			on_wake(l, i);
		}
}

void vio_loop_pump(struct vio_loop_wire *l, unsigned turns)
{
	unsigned queue;

	while (turns--) {
		struct vio_dev_call *c = l->calls;
		if (c) {
			l->calls = c->next;
			c->fn(c->arg);
		} else if (!next_due(l, &queue)) {
			return;
		} else if (vio_dev_queue_turn(l->dev, queue)) {
			on_wake(l, queue);
		}
	}
}

/* ---- The driver's side ---- */

static uint32_t device_id(struct vio_drv_port *p) { return SELF(p)->dev->type->id; }
static struct vio_features features(struct vio_drv_port *p) { return vio_dev_offered(SELF(p)->dev); }

static bool accept(struct vio_drv_port *p, struct vio_features f)
{
	vio_dev_set_driver_features(SELF(p)->dev, f);
	return true;
}

static uint8_t status(struct vio_drv_port *p) { return vio_dev_status(SELF(p)->dev); }

static void set_status(struct vio_drv_port *p, uint8_t s)
{
	vio_dev_set_status(SELF(p)->dev, s);
	if (!SELF(p)->lazy)
		vio_loop_pump(SELF(p), VIO_DEV_QUEUES);
}

static uint32_t generation(struct vio_drv_port *p) { return SELF(p)->dev->generation; }

static bool config_read(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len)
{
	vio_dev_config_read(SELF(p)->dev, at, to, len);
	return true;
}

static bool config_write(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len)
{
	return vio_dev_config_write(SELF(p)->dev, at, from, len);
}

static uint16_t admin_queues(struct vio_drv_port *p, uint16_t *first)
{
	*first = SELF(p)->dev->queues;
	return SELF(p)->dev->admin_queues;
}

static uint16_t queue_max(struct vio_drv_port *p, uint16_t i) { return vio_dev_queue_size_max(SELF(p)->dev, i); }

static bool queue_start(struct vio_drv_port *p, uint16_t i, const struct vio_drvq *q)
{
	vio_dev_queue_setup(SELF(p)->dev, i, q->size, q->desc_addr, q->driver_addr, q->device_addr);
	vio_dev_queue_go_live(SELF(p)->dev, i);
	return vio_dev_queue_is_live(SELF(p)->dev, i);
}

static bool queue_reset(struct vio_drv_port *p, uint16_t i)
{
	vio_dev_queue_reset(SELF(p)->dev, i);
	return true;
}

static bool queue_is_live(struct vio_drv_port *p, uint16_t i) { return vio_dev_queue_is_live(SELF(p)->dev, i); }

static void kick(struct vio_drv_port *p, uint16_t i, uint32_t notification)
{
	struct vio_loop_wire *l = SELF(p);

	l->kicks++;
	l->last_notification = notification;
	if (l->lazy) {
		if (i < vio_dev_queues_seen(l->dev))
			on_wake(l, i);
		return;
	}
	if (vio_dev_notified(l->dev, i))
		on_wake(l, i);
	vio_loop_pump(l, UINT32_MAX);
}

static const struct vio_drv_port_ops ops = {
	.device_id = device_id, .features = features, .accept = accept, .status = status, .set_status = set_status,
	.generation = generation, .config_read = config_read, .config_write = config_write, .admin_queues = admin_queues,
	.queue_max = queue_max,
	.queue_start = queue_start, .queue_reset = queue_reset, .queue_is_live = queue_is_live, .kick = kick,
};

void vio_loop_connect(struct vio_loop_wire *l, struct vio_dev *dev, struct vio_platform platform)
{
	l->port.ops = &ops;
	l->port.platform = platform;
	l->dev = dev;
	vio_dev_attach(dev, &vio_loop_port, l, vio_loop_features());
}
