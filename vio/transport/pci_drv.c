/*
 * The driver's end of PCI (4.1.2.2, 4.1.4, 4.1.5).  Nothing the function says is believed beyond what is checked: the list of
 * capabilities may be a loop, a structure too short, a notification address anywhere.
 */
#include <vio/transport/config.h>
#include <vio/transport/pci.h>

#define SELF(p) ((struct vio_pci_drv *)(p))
#define AT(field) offsetof(struct vio_pci_common, field)

enum { CONFIG_QUEUE = 0xffff, CAPS_MAX = 48 };

/* ---- Accesses ---- */

static uint32_t config_get(struct vio_pci_drv *d, uint32_t at, unsigned width) { return d->access->config_read(d->arg, at, width); }
static void config_put(struct vio_pci_drv *d, uint32_t at, unsigned width, uint32_t v) { d->access->config_write(d->arg, at, width, v); }

/* By the window: bar, offset and length, then the data (4.1.4.9). */
static void aim(struct vio_pci_drv *d, unsigned bar, uint64_t at, unsigned width)
{
	config_put(d, d->window + 4u, 1, bar);
	config_put(d, d->window + 8u, 4, (uint32_t)at);
	config_put(d, d->window + 12u, 4, width);
}

static uint32_t bar_get(struct vio_pci_drv *d, unsigned bar, uint64_t at, unsigned width)
{
	if (d->access->read)
		return d->access->read(d->arg, bar, at, width);
	aim(d, bar, at, width);
	return config_get(d, d->window + 16u, width);
}

static void bar_put(struct vio_pci_drv *d, unsigned bar, uint64_t at, unsigned width, uint32_t v)
{
	if (d->access->write) {
		d->access->write(d->arg, bar, at, width, v);
		return;
	}
	aim(d, bar, at, width);
	config_put(d, d->window + 16u, width, v);
}

/* A field of the common configuration, as wide as it is. */
static uint32_t get(struct vio_pci_drv *d, unsigned at, unsigned width) { return bar_get(d, d->common.bar, d->common.at + at, width); }
static void put(struct vio_pci_drv *d, unsigned at, unsigned width, uint32_t v) { bar_put(d, d->common.bar, d->common.at + at, width, v); }
#define GET(d, field) get(d, AT(field), sizeof(((struct vio_pci_common *)0)->field))
#define PUT(d, field, v) put(d, AT(field), sizeof(((struct vio_pci_common *)0)->field), v)

static void put64(struct vio_pci_drv *d, unsigned at, uint64_t v)
{
	put(d, at, 4, (uint32_t)v);
	put(d, at + 4, 4, (uint32_t)(v >> 32));
}

/* ---- Features, status, config ---- */

static uint32_t device_id(struct vio_drv_port *p) { return SELF(p)->id; }

static struct vio_features features(struct vio_drv_port *p)
{
	struct vio_features f = { { 0, 0 } };

	for (uint32_t i = 0; i < VIO_F_LIMIT / 32; i++) {
		PUT(SELF(p), device_feature_select, i);
		f.word[i / 2] |= (uint64_t)GET(SELF(p), device_feature) << i % 2 * 32;
	}
	return f;
}

/* Vector 0 is the configuration's; the queues share the others, or it (4.1.5.1.2.2: verify). */
static bool map_vector(struct vio_pci_drv *d, unsigned queue)
{
	uint32_t v = queue == CONFIG_QUEUE || d->vectors == 1 ? 0 : 1 + queue % (d->vectors - 1u);

	if (!d->vectors)
		return true;
	if (queue == CONFIG_QUEUE) {
		PUT(d, config_msix_vector, v);
		return GET(d, config_msix_vector) == v;
	}
	PUT(d, queue_msix_vector, v);
	return GET(d, queue_msix_vector) == v;
}

static bool accept(struct vio_drv_port *p, struct vio_features f)
{
	SELF(p)->with_data = vio_has(f, VIO_F_NOTIFICATION_DATA);
	SELF(p)->with_config_data = vio_has(f, VIO_F_NOTIF_CONFIG_DATA);
	SELF(p)->with_admin = vio_has(f, VIO_F_ADMIN_VQ);
	for (uint32_t i = 0; i < VIO_F_LIMIT / 32; i++) {
		PUT(SELF(p), driver_feature_select, i);
		PUT(SELF(p), driver_feature, (uint32_t)(f.word[i / 2] >> i % 2 * 32));
	}
	return map_vector(SELF(p), CONFIG_QUEUE);
}

static uint8_t status(struct vio_drv_port *p) { return (uint8_t)GET(SELF(p), device_status); }
static void set_status(struct vio_drv_port *p, uint8_t s) { PUT(SELF(p), device_status, s); }
static uint32_t generation(struct vio_drv_port *p) { return GET(SELF(p), config_generation); }

static uint32_t device_get(struct vio_drv_port *p, uint32_t at, unsigned width)
{
	return bar_get(SELF(p), SELF(p)->device.bar, SELF(p)->device.at + at, width);
}

static void device_put(struct vio_drv_port *p, uint32_t at, unsigned width, uint32_t v)
{
	bar_put(SELF(p), SELF(p)->device.bar, SELF(p)->device.at + at, width, v);
}

/* device.bytes is 0 where there is no such structure. */
static bool config_read(struct vio_drv_port *p, uint32_t at, void *to, uint32_t len)
{
	return vio_config_get(p, device_get, SELF(p)->device.bytes, at, to, len);
}

static bool config_write(struct vio_drv_port *p, uint32_t at, const void *from, uint32_t len)
{
	return vio_config_put(p, device_put, SELF(p)->device.bytes, at, from, len);
}

/* ---- Queues ---- */

/* A device that offers them has a common configuration that is long enough, or has none. */
static uint16_t admin_queues(struct vio_drv_port *p, uint16_t *first)
{
	if (SELF(p)->common.bytes < sizeof(struct vio_pci_common))
		return 0;
	*first = (uint16_t)GET(SELF(p), admin_queue_index);
	uint16_t n = (uint16_t)GET(SELF(p), admin_queue_num);
	return *first >= GET(SELF(p), num_queues) && n <= 0x10000 - *first ? n : 0;	/* 4.1.4.3.1 */
}

/* Is it among the device's queues, or the administration queues behind them? */
static bool queue_is_there(struct vio_pci_drv *d, uint16_t queue)
{
	uint16_t first;

	if (queue < GET(d, num_queues))
		return true;
	if (queue >= VIO_PCI_DRV_QUEUES)
		return false;
	uint16_t n = d->with_admin ? admin_queues(&d->port, &first) : 0;
	return n && queue >= first && queue - first < n;
}

static uint16_t queue_max(struct vio_drv_port *p, uint16_t queue)
{
	if (!queue_is_there(SELF(p), queue))
		return 0;
	PUT(SELF(p), queue_select, queue);
	uint32_t max = GET(SELF(p), queue_size);
	return max > VIO_RING_SIZE_MAX ? VIO_RING_SIZE_MAX : (uint16_t)max;
}

static bool queue_is_live(struct vio_drv_port *p, uint16_t queue)
{
	PUT(SELF(p), queue_select, queue);
	return GET(SELF(p), queue_enable) != 0;
}

/* Where, and by which name, the selected queue is notified.  False: outside the notification structure. */
static bool place_notification(struct vio_pci_drv *d, uint16_t queue)
{
	uint64_t at = (uint64_t)GET(d, queue_notify_off) * d->multiplier;
	unsigned width = d->with_data ? 4 : 2;

	if (at % width || d->notify.bytes < width || at > d->notify.bytes - width)
		return false;
	d->notify_at[queue] = (uint32_t)at;
	d->notify_data[queue] = d->with_config_data ? (uint16_t)GET(d, queue_notif_config_data) : queue;
	return true;
}

static bool queue_start(struct vio_drv_port *p, uint16_t queue, const struct vio_drvq *q)
{
	struct vio_pci_drv *d = SELF(p);

	if (queue >= VIO_PCI_DRV_QUEUES || queue_is_live(p, queue) || !place_notification(d, queue))
		return false;
	PUT(d, queue_size, q->size);
	put64(d, AT(queue_desc), q->desc_addr);
	put64(d, AT(queue_driver), q->driver_addr);
	put64(d, AT(queue_device), q->device_addr);
	if (!map_vector(d, queue))
		return false;
	PUT(d, queue_enable, 1);
	return GET(d, queue_enable) == 1;
}

static bool queue_reset(struct vio_drv_port *p, uint16_t queue)
{
	PUT(SELF(p), queue_select, queue);
	PUT(SELF(p), queue_reset, 1);
	return true;
}

/* Until the reset of a queue is done, queue_reset is 1 (4.1.4.3.2). */
static bool queue_in_use(struct vio_drv_port *p, uint16_t queue)
{
	return queue_is_live(p, queue) || GET(SELF(p), queue_reset) != 0;
}

static void kick(struct vio_drv_port *p, uint16_t queue, uint32_t notification)
{
	struct vio_pci_drv *d = SELF(p);
	uint64_t at = d->notify.at + d->notify_at[queue];

	if (d->with_data)
		bar_put(d, d->notify.bar, at, 4, (notification & 0xffff0000) | d->notify_data[queue]);
	else
		bar_put(d, d->notify.bar, at, 2, d->notify_data[queue]);
}

static const struct vio_drv_port_ops ops = {
	.device_id = device_id, .features = features, .accept = accept, .status = status, .set_status = set_status,
	.generation = generation, .config_read = config_read, .config_write = config_write, .admin_queues = admin_queues,
	.queue_max = queue_max,
	.queue_start = queue_start, .queue_reset = queue_reset, .queue_is_live = queue_in_use, .kick = kick,
};

/* ---- Probing ---- */

/* 4.1.2.1; 0: no virtio device. */
static uint32_t virtio_id(uint32_t device)
{
	static const uint8_t transitional[] = { VIO_ID_NET, VIO_ID_BLK, VIO_ID_BALLOON, VIO_ID_CONSOLE, VIO_ID_SCSI, VIO_ID_RNG };

	if (device >= VIO_PCI_DEVICE_BASE && device <= VIO_PCI_DEVICE_LAST)
		return device - VIO_PCI_DEVICE_BASE;
	if (device - VIO_PCI_TRANSITIONAL < sizeof transitional)
		return transitional[device - VIO_PCI_TRANSITIONAL];
	return 0;
}

/* The next capability behind *at, or the first for 0; its id, 0 at the end. */
static uint8_t next_cap(struct vio_pci_drv *d, uint8_t *at)
{
	*at = (uint8_t)(config_get(d, *at ? *at + 1u : VIO_PCI_CAPABILITIES, 1) & 0xfc);
	return *at < VIO_PCI_FIRST_CAP ? 0 : (uint8_t)config_get(d, *at, 1);
}

static void note(struct vio_pci_place *to, struct vio_pci_drv *d, uint8_t cap, uint64_t least)
{
	struct vio_pci_place p = { true, (uint8_t)config_get(d, cap + 4u, 1), config_get(d, cap + 8u, 4), config_get(d, cap + 12u, 4) };

	if (!to->there && p.bar < VIO_PCI_BARS && p.bytes >= least && p.at <= UINT64_MAX - p.bytes)
		*to = p;		/* the first that can be used is the best (4.1.4.1) */
}

static void note_structure(struct vio_pci_drv *d, uint8_t cap)
{
	unsigned len = config_get(d, cap + 2u, 1);
	bool was = d->notify.there;

	if (len < sizeof(struct vio_pci_cap))
		return;
	switch (config_get(d, cap + 3u, 1)) {
	case VIO_PCI_CFG_COMMON: note(&d->common, d, cap, AT(queue_notif_config_data)); break;
	case VIO_PCI_CFG_ISR: note(&d->isr, d, cap, 1); break;
	case VIO_PCI_CFG_DEVICE: note(&d->device, d, cap, 1); break;
	case VIO_PCI_CFG_NOTIFY:
		if (len >= sizeof(struct vio_pci_notify_cap))
			note(&d->notify, d, cap, 2);
		if (!was && d->notify.there)
			d->multiplier = config_get(d, cap + (unsigned)sizeof(struct vio_pci_cap), 4);
		break;
	case VIO_PCI_CFG_WINDOW:
		if (!d->window && len >= sizeof(struct vio_pci_window_cap))
			d->window = cap;
		break;
	default: break;			/* 4.1.4.1: reserved */
	}
}

static void walk(struct vio_pci_drv *d)
{
	uint8_t cap = 0, id;

	if (!(config_get(d, VIO_PCI_STATUS, 2) & VIO_PCI_STATUS_CAPS))
		return;
	for (unsigned i = 0; i < CAPS_MAX && (id = next_cap(d, &cap)) != 0; i++) {
		if (id == VIO_PCI_CAP_VENDOR)
			note_structure(d, cap);
		else if (id == VIO_PCI_CAP_MSIX && !d->msix)
			d->msix = cap;
	}
}

bool vio_pci_probe(struct vio_pci_drv *d, const struct vio_pci_access *access, void *arg, struct vio_platform platform,
    const char **why)
{
	memset(d, 0, sizeof *d);
	d->port = (struct vio_drv_port){ &ops, platform, true };
	d->access = access;
	d->arg = arg;
	*why = NULL;
	if (config_get(d, VIO_PCI_VENDOR_ID, 2) != VIO_PCI_VENDOR)
		return false;
	d->id = virtio_id(config_get(d, VIO_PCI_DEVICE_ID, 2));
	if (!d->id)
		return false;
	walk(d);
	if (!d->common.there || !d->notify.there || !d->isr.there)
		*why = "the device has no modern interface: turn its legacy interface off";
	else if (!access->read && !d->window)
		*why = "the device's BARs can't be reached, and it has no window into them";
	return !*why;
}

void vio_pci_enable(struct vio_pci_drv *d)
{
	uint32_t v = config_get(d, VIO_PCI_COMMAND, 2);
	config_put(d, VIO_PCI_COMMAND, 2, v | VIO_PCI_COMMAND_MASTER | VIO_PCI_COMMAND_MEMORY);
}

/* ---- MSI-X ---- */

unsigned vio_pci_vectors(struct vio_pci_drv *d)
{
	return d->msix ? (config_get(d, d->msix + 2u, 2) & (VIO_PCI_MSIX_ENTRIES - 1)) + 1 : 0;
}

bool vio_pci_vector_set(struct vio_pci_drv *d, unsigned vector, uint64_t address, uint32_t data, bool masked)
{
	if (vector >= vio_pci_vectors(d))
		return false;
	uint32_t table = config_get(d, d->msix + 4u, 4);
	uint64_t at = (table & ~7u) + (uint64_t)vector * sizeof(struct vio_pci_msix_entry);
	if ((table & 7) >= VIO_PCI_BARS)
		return false;
	bar_put(d, table & 7, at + 12, 4, VIO_PCI_MSIX_MASKED);		/* while it is half written */
	bar_put(d, table & 7, at, 4, (uint32_t)address);
	bar_put(d, table & 7, at + 4, 4, (uint32_t)(address >> 32));
	bar_put(d, table & 7, at + 8, 4, data);
	bar_put(d, table & 7, at + 12, 4, masked ? VIO_PCI_MSIX_MASKED : 0);
	return true;
}

bool vio_pci_use_vectors(struct vio_pci_drv *d, unsigned vectors)
{
	if (vectors > vio_pci_vectors(d))
		return false;
	d->vectors = (uint16_t)vectors;
	if (d->msix) {
		uint32_t v = config_get(d, d->msix + 2u, 2) & ~(uint32_t)(VIO_PCI_MSIX_ENABLE | VIO_PCI_MSIX_MASK_ALL);
		config_put(d, d->msix + 2u, 2, v | (vectors ? VIO_PCI_MSIX_ENABLE : 0));
	}
	return true;
}

uint8_t vio_pci_interrupt(struct vio_pci_drv *d)
{
	return (uint8_t)(bar_get(d, d->isr.bar, d->isr.at, 1) & (VIO_PCI_ISR_QUEUE | VIO_PCI_ISR_CONFIG));
}

/* ---- Shared memory ---- */

bool vio_pci_shm_find(struct vio_pci_drv *d, uint8_t shm_id, struct vio_pci_place *place)
{
	uint8_t cap = 0, id;

	*place = (struct vio_pci_place){ .there = false };
	for (unsigned i = 0; i < CAPS_MAX && (id = next_cap(d, &cap)) != 0; i++) {
		if (id != VIO_PCI_CAP_VENDOR || config_get(d, cap + 3u, 1) != VIO_PCI_CFG_SHARED_MEMORY ||
		    config_get(d, cap + 2u, 1) < sizeof(struct vio_pci_cap64) || config_get(d, cap + 5u, 1) != shm_id)
			continue;
		note(place, d, cap, 0);
		if (!place->there)
			continue;		/* the first that can be used (4.1.4.1) */
		place->at |= (uint64_t)config_get(d, cap + 16u, 4) << 32;
		place->bytes |= (uint64_t)config_get(d, cap + 20u, 4) << 32;
		return place->at <= UINT64_MAX - place->bytes;
	}
	return false;
}
