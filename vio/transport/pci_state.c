/*
 * The device's end of PCI as device parts (2.12): the common configuration field by field, as the specification has it, the queues'
 * vectors beside their addresses, and in parts of our own what it leaves to the hypervisor: config space and MSI-X table.
 */
#include <vio/device/state.h>
#include <vio/ring/freestanding.h>
#include <vio/transport/pci_impl.h>

#define AT(field) offsetof(struct vio_pci_common, field)

enum { FIELDS = 6 };
static const struct field { uint8_t at, width; } fields[FIELDS] = {
	{ AT(device_feature_select), 4 }, { AT(driver_feature_select), 4 }, { AT(config_msix_vector), 2 }, { AT(num_queues), 2 },
	{ AT(config_generation), 1 }, { AT(queue_select), 2 },
};

/* ---- Saving ---- */

static void save_common(void *arg, struct vio_parts *o)
{
	for (unsigned i = 0; i < FIELDS; i++) {
		vio_le32 v = vio_le32_of((uint32_t)vio_pci_read(arg, fields[i].at, fields[i].width));
		vio_parts_put(o, VIO_PART_PCI_COMMON_CFG, 0, fields[i].at, &v, fields[i].width);
	}
}

static uint16_t vector(void *arg, unsigned queue)
{
	return __atomic_load_n(&((struct vio_pci_dev *)arg)->queue_vector[queue], __ATOMIC_SEQ_CST);
}

static struct vio_part_vq_notify notify_of(const struct vio_pci_dev *p, unsigned queue)
{
	return (struct vio_part_vq_notify){ vio_le16_of((uint16_t)(p->o.notify_multiplier ? queue : 0)),
		vio_le16_of((uint16_t)(queue ^ 0xffff)), { 0 } };
}

static void save_vectors(const struct vio_pci_dev *p, struct vio_parts *o)
{
	static const struct vio_part_pci_vector none;
	struct vio_parts start = *o;
	size_t bytes = p->o.vectors * sizeof(struct vio_part_pci_vector);

	vio_parts_put(o, VIO_PART_PCI_VECTORS, 0, 0, &none, 0);
	if (o->to && o->room >= o->used && o->room - o->used >= bytes) {
		unsigned char *to = o->to + o->used;
		vio_le32 length = vio_le32_of((uint32_t)bytes);
		memcpy(start.to + start.used + offsetof(struct vio_part_header, length), &length, sizeof length);
		for (unsigned i = 0; i < p->o.vectors; i++) {
			const struct vio_pci_vector *v = &p->o.vector[i];
			struct vio_part_pci_vector one = { vio_le64_of(v->address), vio_le32_of(v->data),
				__atomic_load_n(&v->masked, __ATOMIC_SEQ_CST), __atomic_load_n(&v->pending, __ATOMIC_SEQ_CST), { 0 } };
			memcpy(to + i * sizeof one, &one, sizeof one);
		}
	}
	o->used += bytes;
}

static void save(void *arg, struct vio_parts *o)
{
	struct vio_pci_dev *p = arg;
	struct vio_part_pci_config c = { .command = vio_le16_of(p->command), .msix_control = vio_le16_of(p->msix_control),
		.isr = vio_le32_of(__atomic_load_n(&p->isr, __ATOMIC_SEQ_CST)), .bytes = vio_le32_of(p->bytes),
		.generation_seen = vio_le32_of(p->generation_seen), .shm_bytes = vio_le64_of(p->o.shm_bytes),
		.driver_features = { vio_le64_of(p->driver_features.word[0]), vio_le64_of(p->driver_features.word[1]) } };

	memcpy(c.space, p->config, sizeof c.space);
	for (unsigned i = 0; i < vio_dev_queues_seen(p->wire.dev); i++) {
		struct vio_part_vq_notify n = notify_of(p, i);
		vio_parts_put(o, VIO_PART_VQ_NOTIFY_CFG, 0, i, &n, sizeof n);
	}
	vio_parts_put(o, VIO_PART_PCI_CONFIG, 0, 0, &c, sizeof c);
	save_vectors(p, o);
}

static const struct vio_state_wire saving = { .save_common = save_common, .save = save, .vector = vector };

size_t vio_pci_save(struct vio_pci_dev *p, void *to, size_t room)
{
	vio_pci_read(p, AT(device_status), 1);		/* any access catches up with a reset that is done */
	return vio_dev_save_with(p->wire.dev, to, room, &saving, p);
}

/* ---- Loading ---- */

struct draft {
	struct vio_pci_dev *p;
	uint8_t fields_seen;
	bool has_config, has_vectors;
	uint64_t notify_seen;
	uint32_t field[FIELDS];
	uint16_t queue_vector[VIO_DEV_QUEUES];
	struct vio_part_pci_config c;
	const unsigned char *vectors;
};

static const char *common_part(struct draft *d, const struct vio_part_header *h, const unsigned char *value)
{
	vio_le32 at, v = { 0 };
	unsigned i = 0;

	memcpy(&at, h->selector, sizeof at);
	while (i < FIELDS && fields[i].at != vio_le32_get(at))
		i++;
	if (i == FIELDS)
		return "the state has a field of PCI's common configuration that stands in other parts, or nowhere";
	if (d->fields_seen >> i & 1)
		return "the state has a part twice";
	if (vio_le32_get(h->length) != fields[i].width)
		return "the state has a part of the wrong length";
	memcpy(&v, value, fields[i].width);
	d->field[i] = vio_le32_get(v);
	d->fields_seen |= (uint8_t)(1u << i);
	return NULL;
}

static const char *notify_part(struct draft *d, const struct vio_part_header *h, const unsigned char *value)
{
	unsigned i = h->selector[0] | (unsigned)h->selector[1] << 8;

	if (i >= vio_dev_queues(d->p->wire.dev))
		return "the state has a queue that the device does not have";
	if (d->notify_seen >> i & 1)
		return "the state has a part twice";
	d->notify_seen |= UINT64_C(1) << i;
	struct vio_part_vq_notify own = notify_of(d->p, i);
	if (vio_le32_get(h->length) != sizeof own)
		return "the state has a part of the wrong length";
	return memcmp(value, &own, sizeof own) ? "the state's queues are notified at other addresses than this device's" : NULL;
}

static const char *config_part(struct draft *d, const struct vio_part_header *h, const unsigned char *value)
{
	if (d->has_config)
		return "the state has a part twice";
	if (vio_le32_get(h->length) != sizeof d->c)
		return "the state has a part of the wrong length";
	memcpy(&d->c, value, sizeof d->c);
	d->has_config = true;
	return NULL;
}

static const char *vectors_part(struct draft *d, const struct vio_part_header *h, const unsigned char *value)
{
	uint32_t n = d->p->o.vectors;
	struct vio_part_pci_vector v;

	if (d->has_vectors)
		return "the state has a part twice";
	if (vio_le32_get(h->length) != n * sizeof v)
		return "the state has another number of MSI-X vectors than the device";
	for (uint32_t i = 0; i < n; i++) {
		memcpy(&v, value + i * sizeof v, sizeof v);
		if (v.masked > 1 || v.pending > 1 || vio_le64_get(v.address) & 3)
			return "the state has an MSI-X vector that can't be";
	}
	d->has_vectors = true;
	d->vectors = value;
	return NULL;
}

static bool part(void *arg, const struct vio_part_header *h, const unsigned char *value, const char **why)
{
	switch (vio_le16_get(h->type)) {
	case VIO_PART_PCI_COMMON_CFG: *why = common_part(arg, h, value); return true;
	case VIO_PART_VQ_NOTIFY_CFG: *why = notify_part(arg, h, value); return true;
	case VIO_PART_PCI_CONFIG: *why = config_part(arg, h, value); return true;
	case VIO_PART_PCI_VECTORS: *why = vectors_part(arg, h, value); return true;
	default: return false;
	}
}

static bool is_vector(const struct draft *d, uint32_t v) { return v < d->p->o.vectors || v == VIO_PCI_NO_VECTOR; }

static bool queue(void *arg, unsigned i, uint16_t v)
{
	struct draft *d = arg;

	d->queue_vector[i] = v;
	return is_vector(d, v);
}

/* Words of the config space whose bytes are not what they read as: pci_config.c. */
static bool moves(const struct vio_pci_dev *p, unsigned i)
{
	return (i >= VIO_PCI_COMMAND && i < VIO_PCI_STATUS + 2) || (p->msix_at && (i == p->msix_at + 2u || i == p->msix_at + 3u));
}

/* The same function: all that a driver can't write is the same. */
static bool same_function(const struct draft *d)
{
	const struct vio_pci_dev *p = d->p;
	const uint32_t size_bits = VIO_PCI_MSIX_ENTRIES - 1;

	for (unsigned i = 0; i < VIO_PCI_CONFIG_BYTES; i++)
		if (!moves(p, i) && (d->c.space[i] ^ p->config[i]) & ~p->writable[i])
			return false;
	return vio_le32_get(d->c.bytes) == p->bytes && vio_le64_get(d->c.shm_bytes) == p->o.shm_bytes &&
	    !((vio_le16_get(d->c.msix_control) ^ p->msix_control) & size_bits);
}

static const char *check(void *arg)
{
	struct draft *d = arg;

	if (d->fields_seen != (1u << FIELDS) - 1 || !d->has_config || !d->has_vectors)
		return "the state lacks the registers of PCI: it is of a device on another wire";
	if (!is_vector(d, d->field[2]))
		return "the state has an interrupt vector that the device does not have";
	if (d->field[3] != d->p->wire.dev->queues || !same_function(d))
		return "the state is of another PCI function: start this one with the same options";
	if (vio_le32_get(d->c.isr) & ~(uint32_t)(VIO_PCI_ISR_QUEUE | VIO_PCI_ISR_CONFIG))
		return "the state has an interrupt that PCI does not have";
	return NULL;
}

static void take_config(const struct draft *d)
{
	struct vio_pci_dev *p = d->p;
	const uint16_t command = VIO_PCI_COMMAND_MEMORY | VIO_PCI_COMMAND_MASTER | VIO_PCI_COMMAND_INTX_OFF;
	const uint16_t control = (uint16_t)(VIO_PCI_MSIX_ENABLE | VIO_PCI_MSIX_MASK_ALL);

	for (unsigned i = 0; i < VIO_PCI_CONFIG_BYTES; i++)
		p->config[i] = (uint8_t)((p->config[i] & ~p->writable[i]) | (d->c.space[i] & p->writable[i]));
	__atomic_store_n(&p->command, vio_le16_get(d->c.command) & command, __ATOMIC_SEQ_CST);
	if (p->o.vectors)
		__atomic_store_n(&p->msix_control, (uint16_t)((p->msix_control & ~control) | (vio_le16_get(d->c.msix_control) & control)),
		    __ATOMIC_SEQ_CST);
	__atomic_store_n(&p->isr, vio_le32_get(d->c.isr), __ATOMIC_SEQ_CST);
	p->generation_seen = vio_le32_get(d->c.generation_seen);
	p->driver_features = (struct vio_features){ { vio_le64_get(d->c.driver_features[0]), vio_le64_get(d->c.driver_features[1]) } };
}

static void take_common(const struct draft *d)
{
	struct vio_pci_dev *p = d->p;

	p->device_sel = d->field[0];
	p->driver_sel = d->field[1];
	__atomic_store_n(&p->config_vector, (uint16_t)d->field[2], __ATOMIC_SEQ_CST);
	p->generation = (uint8_t)d->field[4];
	p->queue_sel = (uint16_t)d->field[5];
	for (unsigned i = 0; i < VIO_DEV_QUEUES; i++) {
		bool there = i < vio_dev_queues_seen(p->wire.dev);
		__atomic_store_n(&p->queue_vector[i], there ? d->queue_vector[i] : VIO_PCI_NO_VECTOR, __ATOMIC_SEQ_CST);
	}
	p->resetting = false;
}

static void take_vectors(const struct draft *d)
{
	struct vio_pci_dev *p = d->p;

	for (unsigned i = 0; i < p->o.vectors; i++) {
		struct vio_part_pci_vector v;
		memcpy(&v, d->vectors + i * sizeof v, sizeof v);
		p->o.vector[i] = (struct vio_pci_vector){ vio_le64_get(v.address), vio_le32_get(v.data), v.masked, v.pending };
	}
}

/* As after any write to these registers. */
static void tell_owner(struct vio_pci_dev *p)
{
	if (p->ops->moved)
		p->ops->moved(p->wire.arg);
	for (unsigned i = 0; i < p->o.vectors; i++) {
		if (p->ops->vector)
			p->ops->vector(p->wire.arg, i);
		vio_pci_unmasked(p, i);
	}
	vio_pci_intx_again(p);
}

static const struct vio_state_wire loading = { .part = part, .queue = queue, .check = check };

const char *vio_pci_load(struct vio_pci_dev *p, const void *from, size_t n)
{
	struct draft d = { .p = p };
	const char *why = vio_dev_load_with(p->wire.dev, from, n, &loading, &d);

	if (why)
		return why;
	take_config(&d);
	take_common(&d);
	take_vectors(&d);
	tell_owner(p);
	return NULL;
}
