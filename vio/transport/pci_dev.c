/* The device's end of PCI: BAR 0, which is registers over the core's status machine and queues, and interrupts. */
#include <vio/transport/pci_impl.h>
#include <vio/transport/registers.h>

#define AT(field) offsetof(struct vio_pci_common, field)

/* ---- Interrupts ---- */

static bool msix_on(const struct vio_pci_dev *p) { return __atomic_load_n(&p->msix_control, __ATOMIC_SEQ_CST) & VIO_PCI_MSIX_ENABLE; }

static bool masked(const struct vio_pci_dev *p, const struct vio_pci_vector *v)
{
	return __atomic_load_n(&v->masked, __ATOMIC_SEQ_CST) ||
	    (__atomic_load_n(&p->msix_control, __ATOMIC_SEQ_CST) & VIO_PCI_MSIX_MASK_ALL) ||
	    !(__atomic_load_n(&p->command, __ATOMIC_SEQ_CST) & VIO_PCI_COMMAND_MASTER);
}

bool vio_pci_vector_open(const struct vio_pci_dev *p, unsigned vector)
{
	return vector < p->o.vectors && msix_on(p) && !masked(p, &p->o.vector[vector]);
}

/* What is pending goes out if nothing masks it (any more).  A mask that comes meanwhile finds it sent, or still pending. */
void vio_pci_unmasked(struct vio_pci_dev *p, unsigned vector)
{
	struct vio_pci_vector *v = &p->o.vector[vector];

	if (msix_on(p) && !masked(p, v) && __atomic_exchange_n(&v->pending, false, __ATOMIC_SEQ_CST))
		p->ops->msix(p->wire.arg, vector);
}

static void send(struct vio_pci_dev *p, uint16_t vector)
{
	if (vector >= p->o.vectors)
		return;			/* NO_VECTOR (4.1.5.1.2): no interrupt */
	if (!masked(p, &p->o.vector[vector])) {
		p->ops->msix(p->wire.arg, vector);
		return;
	}
	__atomic_store_n(&p->o.vector[vector].pending, true, __ATOMIC_SEQ_CST);
	vio_pci_unmasked(p, vector);	/* the mask may have gone in between */
}

static bool pin(const struct vio_pci_dev *p)
{
	bool off = __atomic_load_n(&p->command, __ATOMIC_SEQ_CST) & VIO_PCI_COMMAND_INTX_OFF;
	return !msix_on(p) && !off && __atomic_load_n(&p->isr, __ATOMIC_SEQ_CST);
}

/* Whoever moves the pin looks again: another thread may have changed what it stands for meanwhile, and moved it before us. */
void vio_pci_intx_again(struct vio_pci_dev *p)
{
	bool level;

	do {
		level = pin(p);
		p->ops->intx(p->wire.arg, level);
	} while (level != pin(p));
}

static void raise_isr(struct vio_pci_dev *p, uint32_t bit)
{
	__atomic_or_fetch(&p->isr, bit, __ATOMIC_SEQ_CST);
	if (!msix_on(p))
		vio_pci_intx_again(p);
}

static void on_used(void *arg, unsigned queue)
{
	struct vio_pci_dev *p = arg;

	if (msix_on(p))
		send(p, __atomic_load_n(&p->queue_vector[queue], __ATOMIC_SEQ_CST));
	else
		raise_isr(p, VIO_PCI_ISR_QUEUE);
}

static void on_config(void *arg)
{
	struct vio_pci_dev *p = arg;

	raise_isr(p, VIO_PCI_ISR_CONFIG);	/* 4.1.4.5.1: with MSI-X too */
	if (msix_on(p))
		send(p, __atomic_load_n(&p->config_vector, __ATOMIC_SEQ_CST));
}

const struct vio_port_ops vio_pci_port = {
	.used = on_used, .config = on_config, VIO_WIRE_PORT
};

struct vio_features vio_pci_features(void)
{
	static const unsigned char bits[] = {
		VIO_F_INDIRECT_DESC, VIO_F_EVENT_IDX, VIO_F_VERSION_1, VIO_F_ACCESS_PLATFORM, VIO_F_RING_PACKED, VIO_F_IN_ORDER,
		VIO_F_ORDER_PLATFORM, VIO_F_NOTIFICATION_DATA, VIO_F_NOTIF_CONFIG_DATA, VIO_F_RING_RESET,
		VIO_F_ADMIN_VQ, VIO_F_SUSPEND,
	};
	return vio_features_of(bits, sizeof bits);
}

static uint32_t isr_take(struct vio_pci_dev *p)
{
	uint32_t v = __atomic_exchange_n(&p->isr, 0, __ATOMIC_SEQ_CST);
	vio_pci_intx_again(p);
	return v;
}

/* ---- Reset ---- */

static void catch_up(struct vio_pci_dev *p)
{
	if (!p->resetting || p->wire.dev->pending == VIO_PENDING_RESET)
		return;
	p->resetting = false;
	p->device_sel = p->driver_sel = p->queue_sel = 0;
	p->driver_features = (struct vio_features){ { 0, 0 } };
	__atomic_store_n(&p->config_vector, VIO_PCI_NO_VECTOR, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < VIO_DEV_QUEUES; i++)
		__atomic_store_n(&p->queue_vector[i], VIO_PCI_NO_VECTOR, __ATOMIC_SEQ_CST);
	isr_take(p);
}

static void set_status(struct vio_pci_dev *p, uint8_t v)
{
	p->resetting |= v == 0;
	vio_dev_set_status(p->wire.dev, v);
	catch_up(p);
}

void vio_pci_function_reset(struct vio_pci_dev *p)
{
	set_status(p, 0);
	vio_pci_config_reset(p);
	vio_pci_intx_again(p);
	for (unsigned i = 0; p->ops->vector && i < p->o.vectors; i++)
		p->ops->vector(p->wire.arg, i);
	if (p->ops->moved)
		p->ops->moved(p->wire.arg);
}

/* ---- Turns ---- */

static bool master(const struct vio_pci_dev *p) { return __atomic_load_n(&p->command, __ATOMIC_SEQ_CST) & VIO_PCI_COMMAND_MASTER; }

bool vio_pci_turn(struct vio_pci_dev *p, unsigned queue)
{
	bool stopping = p->wire.dev->queue[queue].state == VIO_QUEUE_STOPPING;
	bool more = (master(p) || stopping) && vio_dev_queue_turn(p->wire.dev, queue);

	catch_up(p);
	return more;
}

/* The address says which queue, or the value where all have one address. */
static void notify(struct vio_pci_dev *p, uint32_t at, unsigned width, uint32_t v)
{
	struct vio_features f = p->wire.dev->accepted;
	unsigned queue = v & 0xffff;

	if (vio_has(f, VIO_F_NOTIF_CONFIG_DATA))
		queue = queue ^ 0xffff;		/* as queue_notif_config_data says */
	if (width != (vio_has(f, VIO_F_NOTIFICATION_DATA) ? 4 : 2) || queue >= vio_dev_queues_seen(p->wire.dev) ||
	    at != queue * p->o.notify_multiplier) {
		p->refused++;
		return;
	}
	if (master(p) && vio_dev_notified(p->wire.dev, queue))
		p->ops->owner.wake(p->wire.arg, queue);
}

uint32_t vio_pci_notify_at(const struct vio_pci_dev *p, unsigned queue) { return PCI_NOTIFY_AT + queue * p->o.notify_multiplier; }

/* ---- Common configuration (4.1.4.3) ---- */

static struct vio_dev_queue *selected(const struct vio_pci_dev *p)
{
	return p->queue_sel < vio_dev_queues_seen(p->wire.dev) ? &p->wire.dev->queue[p->queue_sel] : NULL;
}

/* How wide the field at this offset is; 0: none begins here.  64-bit fields are two halves. */
static unsigned field_width(uint32_t at)
{
	if (at == AT(device_status) || at == AT(config_generation))
		return 1;
	bool words = at < AT(config_msix_vector) || (at >= AT(queue_desc) && at < AT(queue_notif_config_data));
	if (words)
		return at % 4 ? 0 : 4;
	return at % 2 || at >= sizeof(struct vio_pci_common) ? 0 : 2;
}

/* It changes when the config space has changed since it was read last, however often: 8 bits wrap. */
static uint8_t generation(struct vio_pci_dev *p)
{
	if (p->generation_seen != p->wire.dev->generation) {
		p->generation_seen = p->wire.dev->generation;
		p->generation++;
	}
	return p->generation;
}

static uint32_t read_queue(const struct vio_pci_dev *p, uint32_t at)
{
	const struct vio_dev_queue *q = selected(p);

	if (!q)
		return at == AT(queue_msix_vector) ? VIO_PCI_NO_VECTOR : 0;
	switch (at) {
	case AT(queue_size): return q->size;
	case AT(queue_msix_vector): return p->queue_vector[p->queue_sel];
	case AT(queue_enable): return q->live;
	case AT(queue_notify_off): return p->o.notify_multiplier ? p->queue_sel : 0;
	case AT(queue_desc): case AT(queue_desc) + 4: return vio_half(q->desc, at & 4);
	case AT(queue_driver): case AT(queue_driver) + 4: return vio_half(q->driver, at & 4);
	case AT(queue_device): case AT(queue_device) + 4: return vio_half(q->device, at & 4);
	case AT(queue_notif_config_data): return p->queue_sel ^ 0xffff;
	case AT(queue_reset): return vio_queue_ending(p->wire.dev, q);
	default: return 0;
	}
}

static uint32_t read_common(struct vio_pci_dev *p, uint32_t at)
{
	switch (at) {
	case AT(device_feature_select): return p->device_sel;
	case AT(device_feature): return vio_feature_word(vio_dev_offered(p->wire.dev), p->device_sel);
	case AT(driver_feature_select): return p->driver_sel;
	case AT(driver_feature): return vio_feature_word(p->driver_features, p->driver_sel);
	case AT(config_msix_vector): return p->config_vector;
	case AT(num_queues): return p->wire.dev->queues;	/* administration queues stand behind them */
	case AT(admin_queue_index): return p->wire.dev->queues;
	case AT(admin_queue_num): return p->wire.dev->admin_queues;
	case AT(device_status): return vio_dev_status(p->wire.dev);
	case AT(config_generation): return generation(p);
	case AT(queue_select): return p->queue_sel;
	default: return read_queue(p, at);
	}
}

static uint16_t vector_or_none(const struct vio_pci_dev *p, uint32_t v) { return v < p->o.vectors ? (uint16_t)v : VIO_PCI_NO_VECTOR; }

/* A size that can't be is 0, which can't be enabled. */
static uint16_t size_or_none(const struct vio_pci_dev *p, uint32_t v)
{
	bool any = vio_has(p->wire.dev->accepted, VIO_F_RING_PACKED);
	return v <= p->wire.dev->queue_size_max && (any || !(v & (v - 1))) ? (uint16_t)v : 0;
}

/* False: it can't be written. */
static bool write_queue(struct vio_pci_dev *p, uint32_t at, uint32_t v)
{
	static struct vio_dev_queue none;
	const struct vio_dev_queue *q = selected(p);
	struct vio_dev_queue n = q ? *q : none;

	switch (at) {
	case AT(queue_size): n.size = size_or_none(p, v); break;
	case AT(queue_desc): case AT(queue_desc) + 4: vio_set_half(&n.desc, at & 4, v); break;
	case AT(queue_driver): case AT(queue_driver) + 4: vio_set_half(&n.driver, at & 4, v); break;
	case AT(queue_device): case AT(queue_device) + 4: vio_set_half(&n.device, at & 4, v); break;
	case AT(queue_msix_vector):
		if (q)
			__atomic_store_n(&p->queue_vector[p->queue_sel], vector_or_none(p, v), __ATOMIC_SEQ_CST);
		return true;
	case AT(queue_enable):
		if (v == 1)
			vio_dev_queue_go_live(p->wire.dev, p->queue_sel);
		return true;
	case AT(queue_reset):
		if (v == 1)
			vio_dev_queue_reset(p->wire.dev, p->queue_sel);
		return true;
	default:
		return false;
	}
	vio_dev_queue_setup(p->wire.dev, p->queue_sel, n.size, n.desc, n.driver, n.device);
	return true;
}

static bool write_common(struct vio_pci_dev *p, uint32_t at, uint32_t v)
{
	switch (at) {
	case AT(device_feature_select): p->device_sel = v; return true;
	case AT(driver_feature_select): p->driver_sel = v; return true;
	case AT(driver_feature):
		if (!(vio_dev_status(p->wire.dev) & VIO_S_FEATURES_OK))		/* what was accepted stays readable */
			vio_set_feature_word(&p->driver_features, p->driver_sel, v);
		vio_dev_set_driver_features(p->wire.dev, p->driver_features);
		return true;
	case AT(config_msix_vector):
		__atomic_store_n(&p->config_vector, vector_or_none(p, v), __ATOMIC_SEQ_CST);
		return true;
	case AT(device_status): set_status(p, (uint8_t)v); return true;
	case AT(queue_select): p->queue_sel = (uint16_t)v; return true;
	default: return write_queue(p, at, v);
	}
}

/* ---- The MSI-X table ---- */

static uint32_t entry_word(const struct vio_pci_vector *v, unsigned word)
{
	switch (word) {
	case 0: return vio_half(v->address, false);
	case 1: return vio_half(v->address, true);
	case 2: return v->data;
	default: return __atomic_load_n(&v->masked, __ATOMIC_SEQ_CST) ? VIO_PCI_MSIX_MASKED : 0;
	}
}

static uint32_t read_tables(struct vio_pci_dev *p, uint32_t at)
{
	uint32_t v = 0;

	if (at < p->pending_at)
		return entry_word(&p->o.vector[(at - p->table_at) / 16], at / 4 % 4);
	for (uint32_t i = 0, first = (at - p->pending_at) * 8; i < 32 && first + i < p->o.vectors; i++)
		v |= (uint32_t)__atomic_load_n(&p->o.vector[first + i].pending, __ATOMIC_SEQ_CST) << i;
	return v;
}

static void write_table(struct vio_pci_dev *p, uint32_t at, uint32_t value)
{
	unsigned i = (at - p->table_at) / 16;
	struct vio_pci_vector *v = &p->o.vector[i];

	switch (at / 4 % 4) {
	case 0: vio_set_half(&v->address, false, value & ~3u); break;
	case 1: vio_set_half(&v->address, true, value); break;
	case 2: v->data = value; break;
	default: __atomic_store_n(&v->masked, value & VIO_PCI_MSIX_MASKED, __ATOMIC_SEQ_CST); break;
	}
	if (p->ops->vector)
		p->ops->vector(p->wire.arg, i);
	vio_pci_unmasked(p, i);
}

/* ---- Accesses ---- */

static bool in_table(const struct vio_pci_dev *p, uint64_t at) { return at >= p->table_at && at < p->table_at + p->o.vectors * 16u; }
static bool in_pending(const struct vio_pci_dev *p, uint64_t at)
{
	return at >= p->pending_at && at < p->pending_at + (p->o.vectors + 63u) / 64 * 8;
}
static bool in_device(const struct vio_pci_dev *p, uint64_t at) { return at >= PCI_DEVICE_AT && at < PCI_NOTIFY_AT && p->wire.dev->type->config_len; }
static bool aligned(uint64_t at, unsigned width) { return (width == 1 || width == 2 || width == 4 || width == 8) && at % width == 0; }

/* Tables are read and written in words of 4 or 8 (PCI 3.0, 6.8.2). */
static uint64_t read_words(struct vio_pci_dev *p, uint32_t at, unsigned width)
{
	uint64_t low = read_tables(p, at);
	return width == 8 ? low | (uint64_t)read_tables(p, at + 4) << 32 : low;
}

uint64_t vio_pci_read(struct vio_pci_dev *p, uint64_t at, unsigned width)
{
	catch_up(p);
	if (aligned(at, width)) {
		if (at < sizeof(struct vio_pci_common) && field_width((uint32_t)at) == width)
			return read_common(p, (uint32_t)at);
		if (at == PCI_ISR_AT && width <= 4)		/* 4.1.4.5: at least one byte */
			return isr_take(p);
		if (in_device(p, at)) {
			vio_le64 wire = { 0 };
			vio_dev_config_read(p->wire.dev, (uint32_t)at - PCI_DEVICE_AT, &wire, width);
			return vio_le64_get(wire);
		}
		if (width >= 4 && (in_table(p, at) || in_pending(p, at)))
			return read_words(p, (uint32_t)at, width);
	}
	p->refused++;
	return 0;
}

void vio_pci_write(struct vio_pci_dev *p, uint64_t at, unsigned width, uint64_t value)
{
	bool known = false;

	catch_up(p);
	if (!aligned(at, width)) {
		p->refused++;
		return;
	}
	if (at < sizeof(struct vio_pci_common) && field_width((uint32_t)at) == width) {
		known = write_common(p, (uint32_t)at, (uint32_t)value);
	} else if (in_device(p, at)) {
		vio_le64 wire = vio_le64_of(value);
		known = vio_dev_config_write(p->wire.dev, (uint32_t)at - PCI_DEVICE_AT, &wire, width);
	} else if (at >= PCI_NOTIFY_AT && at < PCI_NOTIFY_AT + p->notify_bytes) {
		notify(p, (uint32_t)at - PCI_NOTIFY_AT, width, (uint32_t)value);
		known = true;
	} else if (width >= 4 && in_table(p, at)) {
		write_table(p, (uint32_t)at, (uint32_t)value);
		if (width == 8)
			write_table(p, (uint32_t)at + 4, (uint32_t)(value >> 32));
		known = true;
	}
	p->refused += !known;
}
