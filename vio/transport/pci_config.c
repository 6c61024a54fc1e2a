/*
 * The device's end of PCI: the config space.  Most of it is bytes with a mask of those that can be written; what moves is the
 * command and status words, MSI-X's control word, and the window into BAR 0.
 */
#include <vio/ring/freestanding.h>
#include <vio/transport/pci_impl.h>
#include <vio/transport/registers.h>

static bool power_of_2(uint64_t v) { return v && !(v & (v - 1)); }
static uint32_t page_up(uint32_t n) { return (n + 4095) & ~4095u; }

static uint16_t get16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t get32(const uint8_t *p) { return get16(p) | (uint32_t)get16(p + 2) << 16; }

static void put_n(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* ---- Making it ---- */

static uint32_t usual_class(uint32_t id)
{
	switch (id) {
	case VIO_ID_NET: return 0x020000;
	case VIO_ID_BLK: return 0x018000;
	case VIO_ID_SCSI: return 0x010000;
	case VIO_ID_CONSOLE: return 0x078000;
	case VIO_ID_INPUT: return 0x098000;
	case VIO_ID_FS: return 0x018000;
	case VIO_ID_VSOCK: return 0x028000;
	default: return 0xff0000;	/* a class of its own */
	}
}

/* Capabilities are laid one behind the other. */
struct caps { struct vio_pci_dev *p; unsigned at; uint8_t *link; };

/* Room for one of len bytes; NULL: there is none left. */
static uint8_t *add_cap(struct caps *c, uint8_t id, unsigned len)
{
	unsigned at = (c->at + 3) & ~3u;

	if (at + len > VIO_PCI_CONFIG_BYTES)
		return NULL;
	*c->link = (uint8_t)at;
	uint8_t *cap = c->p->config + at;
	cap[0] = id;
	c->link = cap + 1;
	c->at = at + len;
	return cap;
}

static uint8_t *add_virtio(struct caps *c, unsigned type, unsigned bar, uint64_t offset, uint64_t bytes, unsigned len)
{
	uint8_t *cap = add_cap(c, VIO_PCI_CAP_VENDOR, len);

	if (!cap)
		return NULL;
	cap[2] = (uint8_t)len;
	cap[3] = (uint8_t)type;
	cap[4] = (uint8_t)bar;
	put_n(cap + 8, offset, 4);
	put_n(cap + 12, bytes, 4);
	return cap;
}

enum { PLAIN = sizeof(struct vio_pci_cap) };

static bool add_structures(struct caps *c, const struct vio_dev_type *type)
{
	struct vio_pci_dev *p = c->p;
	uint8_t *notify, *window;

	if (!add_virtio(c, VIO_PCI_CFG_COMMON, 0, 0, sizeof(struct vio_pci_common), PLAIN) ||
	    !(notify = add_virtio(c, VIO_PCI_CFG_NOTIFY, 0, PCI_NOTIFY_AT, p->notify_bytes, sizeof(struct vio_pci_notify_cap))) ||
	    !add_virtio(c, VIO_PCI_CFG_ISR, 0, PCI_ISR_AT, 1, PLAIN) ||
	    (type->config_len && !add_virtio(c, VIO_PCI_CFG_DEVICE, 0, PCI_DEVICE_AT, type->config_len, PLAIN)) ||
	    !(window = add_virtio(c, VIO_PCI_CFG_WINDOW, 0, 0, 0, sizeof(struct vio_pci_window_cap))))
		return false;
	put_n(notify + PLAIN, p->o.notify_multiplier, 4);
	p->window_at = (uint8_t)(window - p->config);
	p->writable[p->window_at + 4] = 0xff;		/* bar, offset, length */
	memset(p->writable + p->window_at + 8, 0xff, 8 + 4);
	return true;
}

static bool add_shm(struct caps *c)
{
	for (unsigned i = 0; i < c->p->o.shms; i++) {
		const struct vio_pci_shm *s = &c->p->o.shm[i];
		uint8_t *cap = add_virtio(c, VIO_PCI_CFG_SHARED_MEMORY, 4, s->at, s->len, sizeof(struct vio_pci_cap64));
		if (!cap)
			return false;
		cap[5] = s->id;
		put_n(cap + PLAIN, s->at >> 32, 4);
		put_n(cap + PLAIN + 4, s->len >> 32, 4);
	}
	return true;
}

static bool add_vendor(struct caps *c)
{
	const struct vio_pci_options *o = &c->p->o;

	if (!o->vendor)
		return true;
	uint8_t *cap = add_cap(c, VIO_PCI_CAP_VENDOR, 6u + o->vendor_bytes);
	if (!cap)
		return false;
	cap[2] = (uint8_t)(6 + o->vendor_bytes);
	cap[3] = VIO_PCI_CFG_VENDOR;
	put_n(cap + 4, o->vendor, 2);
	memcpy(cap + 6, o->vendor_data, o->vendor_bytes);
	return true;
}

static bool add_msix(struct caps *c)
{
	struct vio_pci_dev *p = c->p;

	if (!p->o.vectors)
		return true;
	uint8_t *cap = add_cap(c, VIO_PCI_CAP_MSIX, sizeof(struct vio_pci_msix_cap));
	if (!cap)
		return false;
	put_n(cap + 4, p->table_at, 4);
	put_n(cap + 8, p->pending_at, 4);
	p->msix_at = (uint8_t)(cap - p->config);
	return true;
}

static bool add_express(struct caps *c)
{
	struct vio_pci_dev *p = c->p;
	uint8_t *pm, *express;

	if (!p->o.express)
		return true;
	if (!(pm = add_cap(c, VIO_PCI_CAP_PM, sizeof(struct vio_pci_pm_cap))) ||
	    !(express = add_cap(c, VIO_PCI_CAP_EXPRESS, sizeof(struct vio_pci_express_cap))))
		return false;
	p->pm_at = (uint8_t)(pm - p->config);
	p->express_at = (uint8_t)(express - p->config);
	put_n(pm + 2, VIO_PCI_PM_VERSION, 2);
	put_n(pm + 4, VIO_PCI_PM_NO_SOFT_RESET, 2);
	p->writable[p->pm_at + 4] = VIO_PCI_PM_STATE;
	put_n(express + 2, VIO_PCI_EXPRESS_ROOT_ENDPOINT, 2);
	put_n(express + 4, VIO_PCI_EXPRESS_CAN_RESET | VIO_PCI_EXPRESS_ROLE_ERRORS, 4);
	put_n(p->writable + p->express_at + 8, 0x7fff, 2);	/* the reset bit reads 0 */
	return true;
}

static void set_header(struct vio_pci_dev *p)
{
	uint8_t *c = p->config;
	uint16_t device = (uint16_t)(VIO_PCI_DEVICE_BASE + p->id);

	put_n(c + VIO_PCI_VENDOR_ID, VIO_PCI_VENDOR, 2);
	put_n(c + VIO_PCI_DEVICE_ID, device, 2);
	c[VIO_PCI_REVISION] = 1;		/* 4.1.2.1: no legacy driver takes it */
	put_n(c + VIO_PCI_CLASS, p->o.class_code ? p->o.class_code : usual_class(p->id), 3);
	put_n(c + VIO_PCI_SUBSYSTEM_VENDOR, p->o.subsystem_vendor ? p->o.subsystem_vendor : VIO_PCI_VENDOR, 2);
	put_n(c + VIO_PCI_SUBSYSTEM, p->o.subsystem ? p->o.subsystem : device, 2);
	c[VIO_PCI_INTERRUPT_PIN] = 1;
	p->writable[VIO_PCI_INTERRUPT_LINE] = p->writable[0x0c] = 0xff;		/* and the cache line size */
	c[VIO_PCI_BAR0] = VIO_PCI_BAR_64;
	put_n(p->writable + VIO_PCI_BAR0, ~(uint64_t)(p->bytes - 1), 8);
	if (p->o.shm_bytes) {
		c[VIO_PCI_BAR0 + 16] = VIO_PCI_BAR_64 | VIO_PCI_BAR_PREFETCH;
		put_n(p->writable + VIO_PCI_BAR0 + 16, ~(p->o.shm_bytes - 1), 8);
	}
}

static const char *refuse(const struct vio_pci_options *o)
{
	if (o->notify_multiplier && (!power_of_2(o->notify_multiplier) || o->notify_multiplier < 4 || o->notify_multiplier > 4096))
		return "the distance between notification addresses is 0 or a power of 2 from 4 to 4096";
	if (o->vectors > VIO_PCI_MSIX_ENTRIES || (o->vectors && !o->vector))
		return "there are at most 2048 MSI-X vectors, and each needs memory";
	if (o->vendor == VIO_PCI_VENDOR || (o->vendor && (o->vendor_bytes < 2 || (o->vendor_bytes - 2) % 4)))
		return "vendor data are another vendor's than virtio's, and 2 bytes and a multiple of 4 long (4.1.4.8)";
	if (o->shm_bytes && (!power_of_2(o->shm_bytes) || o->shm_bytes < 4096))
		return "BAR 4 has a power of 2 of bytes, a page at least";
	for (unsigned i = 0; i < o->shms; i++) {
		if (o->shm[i].len > o->shm_bytes || o->shm[i].at > o->shm_bytes - o->shm[i].len)
			return "a shared memory region does not lie in BAR 4";
		for (unsigned k = 0; k < i; k++)
			if (o->shm[k].id == o->shm[i].id)
				return "two shared memory regions have the same id";
	}
	return NULL;
}

static void place_tables(struct vio_pci_dev *p)
{
	uint32_t step = p->o.notify_multiplier;

	p->notify_bytes = step ? VIO_DEV_QUEUES * step : 4;
	p->table_at = PCI_NOTIFY_AT + page_up(p->notify_bytes);
	p->pending_at = p->table_at + page_up(p->o.vectors * (uint32_t)sizeof(struct vio_pci_msix_entry));
	for (p->bytes = 4096; p->bytes < p->pending_at + 4096; )
		p->bytes *= 2;
}

const char *vio_pci_dev_init(struct vio_pci_dev *p, struct vio_dev *dev, const struct vio_dev_type *type,
    const struct vio_pci_ops *ops, void *arg, const struct vio_pci_options *o)
{
	const char *why = refuse(o);

	if (why)
		return why;
	*p = (struct vio_pci_dev){ .wire = { dev, &ops->owner, arg }, .ops = ops, .o = *o, .id = (uint16_t)type->id };
	place_tables(p);
	set_header(p);
	struct caps c = { p, VIO_PCI_FIRST_CAP, p->config + VIO_PCI_CAPABILITIES };
	if (!add_structures(&c, type) || !add_msix(&c) || !add_shm(&c) || !add_express(&c) || !add_vendor(&c))
		return "the capabilities do not fit into 256 bytes: leave out shared memory, vendor data or express";
	vio_pci_config_reset(p);
	p->resetting = true;		/* the first access finds BAR 0 as after a reset */
	return NULL;
}

/* As after power on: nothing is decoded, no interrupt is enabled. */
void vio_pci_config_reset(struct vio_pci_dev *p)
{
	for (unsigned i = 0; i < VIO_PCI_CONFIG_BYTES; i++)
		p->config[i] &= (uint8_t)~p->writable[i];
	__atomic_store_n(&p->command, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&p->msix_control, p->o.vectors ? p->o.vectors - 1 : 0, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < p->o.vectors; i++) {
		struct vio_pci_vector *v = &p->o.vector[i];
		__atomic_store_n(&v->masked, true, __ATOMIC_SEQ_CST);	/* first: a queue's thread may be signalling */
		__atomic_store_n(&v->pending, false, __ATOMIC_SEQ_CST);
		v->address = 0;
		v->data = 0;
	}
}

/* ---- BARs ---- */

bool vio_pci_bar(const struct vio_pci_dev *p, unsigned n, uint64_t *base, uint64_t *bytes)
{
	const uint8_t *bar = p->config + VIO_PCI_BAR0 + 4 * n;
	bool asleep = p->pm_at && p->config[p->pm_at + 4] & VIO_PCI_PM_STATE;

	if ((n != 0 && (n != 4 || !p->o.shm_bytes)) || !(p->command & VIO_PCI_COMMAND_MEMORY) || asleep)
		return false;
	*base = (get32(bar) & ~UINT32_C(15)) | (uint64_t)get32(bar + 4) << 32;
	*bytes = n ? p->o.shm_bytes : p->bytes;
	return true;
}

/* ---- The window (4.1.4.9) ---- */

/* Where it looks, if at anything. */
static bool window(const struct vio_pci_dev *p, uint32_t *at, unsigned *width)
{
	const uint8_t *cap = p->config + p->window_at;

	*at = get32(cap + 8);
	*width = get32(cap + 12);
	return cap[4] == 0 && (*width == 1 || *width == 2 || *width == 4) && *at % *width == 0 && *at <= p->bytes - *width;
}

static void window_read(struct vio_pci_dev *p)
{
	unsigned width;
	uint32_t at;

	if (window(p, &at, &width))
		put_n(p->config + p->window_at + 16, vio_pci_read(p, at, width), width);
	else
		p->refused++;
}

static void window_write(struct vio_pci_dev *p)
{
	unsigned width;
	uint32_t at;

	if (window(p, &at, &width))
		vio_pci_write(p, at, width, get32(p->config + p->window_at + 16) & (UINT32_MAX >> (32 - 8 * width)));
	else
		p->refused++;
}

/* ---- Accesses ---- */

/* Does an access touch these bytes? */
static bool touches(uint32_t at, unsigned width, unsigned first, unsigned bytes) { return at < first + bytes && at + width > first; }

static bool fits(const struct vio_pci_dev *p, uint32_t at, unsigned width)
{
	uint32_t space = p->o.express ? VIO_PCI_EXPRESS_BYTES : VIO_PCI_CONFIG_BYTES;
	return (width == 1 || width == 2 || width == 4) && at % width == 0 && at < space;
}

/* The words that have a place of their own. */
static void gather(struct vio_pci_dev *p)
{
	uint16_t status = VIO_PCI_STATUS_CAPS, control = __atomic_load_n(&p->msix_control, __ATOMIC_SEQ_CST);

	if (!(control & VIO_PCI_MSIX_ENABLE) && __atomic_load_n(&p->isr, __ATOMIC_SEQ_CST))
		status |= VIO_PCI_STATUS_INTERRUPT;	/* 4.1.4.5.1 */
	put_n(p->config + VIO_PCI_COMMAND, p->command, 2);
	put_n(p->config + VIO_PCI_STATUS, status, 2);
	if (p->msix_at)
		put_n(p->config + p->msix_at + 2, control, 2);
}

uint32_t vio_pci_config_read(struct vio_pci_dev *p, uint32_t at, unsigned width)
{
	uint32_t v = 0;

	if (!fits(p, at, width)) {
		p->refused++;
		return UINT32_MAX >> (width < 4 && width ? 32 - 8 * width : 0);
	}
	if (at >= VIO_PCI_CONFIG_BYTES)
		return 0;			/* no extended capability */
	if (touches(at, width, p->window_at + 16u, 4))
		window_read(p);
	gather(p);
	for (unsigned i = 0; i < width; i++)
		v |= (uint32_t)p->config[at + i] << 8 * i;
	return v;
}

static void set_command(struct vio_pci_dev *p, uint16_t v)
{
	uint16_t before = p->command;

	__atomic_store_n(&p->command, v & (VIO_PCI_COMMAND_MEMORY | VIO_PCI_COMMAND_MASTER | VIO_PCI_COMMAND_INTX_OFF), __ATOMIC_SEQ_CST);
	uint16_t changed = before ^ p->command;
	if (changed & VIO_PCI_COMMAND_INTX_OFF)
		vio_pci_intx_again(p);
	if (changed & p->command & VIO_PCI_COMMAND_MASTER)
		for (unsigned i = 0; i < vio_dev_queues_seen(p->wire.dev); i++)	/* what was notified meanwhile */
			p->ops->owner.wake(p->wire.arg, i);
	if (changed & VIO_PCI_COMMAND_MEMORY && p->ops->moved)
		p->ops->moved(p->wire.arg);
}

static void set_msix(struct vio_pci_dev *p, uint16_t v)
{
	uint16_t bits = VIO_PCI_MSIX_ENABLE | VIO_PCI_MSIX_MASK_ALL;

	__atomic_store_n(&p->msix_control, (p->msix_control & ~bits) | (v & bits), __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < p->o.vectors; i++) {
		if (p->ops->vector)
			p->ops->vector(p->wire.arg, i);
		vio_pci_unmasked(p, i);
	}
	vio_pci_intx_again(p);
}

/* What a write means beside the bytes that are there now. */
static void take_effect(struct vio_pci_dev *p, uint32_t at, unsigned width)
{
	if (touches(at, width, VIO_PCI_COMMAND, 2))
		set_command(p, get16(p->config + VIO_PCI_COMMAND));
	if (p->msix_at && touches(at, width, p->msix_at + 2u, 2))
		set_msix(p, get16(p->config + p->msix_at + 2));
	if (touches(at, width, p->window_at + 16u, 4))
		window_write(p);
	if (touches(at, width, VIO_PCI_BAR0, 4 * VIO_PCI_BARS) || (p->pm_at && touches(at, width, p->pm_at + 4u, 1)))
		if (p->ops->moved)
			p->ops->moved(p->wire.arg);
}

void vio_pci_config_write(struct vio_pci_dev *p, uint32_t at, unsigned width, uint32_t value)
{
	if (!fits(p, at, width)) {
		p->refused++;
		return;
	}
	if (at >= VIO_PCI_CONFIG_BYTES)
		return;
	gather(p);
	for (unsigned i = 0; i < width; i++) {
		uint8_t v = (uint8_t)(value >> 8 * i), mask = p->writable[at + i];
		unsigned of = (at + i) & ~1u;
		bool word = of == VIO_PCI_COMMAND || (p->msix_at && of == p->msix_at + 2u);
		p->config[at + i] = word ? v : (uint8_t)((p->config[at + i] & ~mask) | (v & mask));
	}
	take_effect(p, at, width);
	if (p->express_at && touches(at, width, p->express_at + 9u, 1) && value >> 8 * (p->express_at + 9 - at) & 0x80)
		vio_pci_function_reset(p);
}
