/* The device's end of MMIO: its registers as a device part. */
#include <vio/device/state.h>
#include <vio/ring/freestanding.h>
#include <vio/transport/mmio.h>

static void save(void *arg, struct vio_parts *o)
{
	const struct vio_mmio_dev *m = arg;
	struct vio_part_mmio v = { vio_le32_of(m->device_sel), vio_le32_of(m->driver_sel), vio_le32_of(m->queue_sel),
		vio_le32_of(m->shm_sel), vio_le32_of(__atomic_load_n(&m->interrupt, __ATOMIC_SEQ_CST)), vio_le32_of(0),
		{ vio_le64_of(m->driver_features.word[0]), vio_le64_of(m->driver_features.word[1]) } };

	vio_parts_put(o, VIO_PART_MMIO, 0, 0, &v, sizeof v);
}

struct draft { bool seen; struct vio_part_mmio v; };

static bool part(void *arg, const struct vio_part_header *h, const unsigned char *value, const char **why)
{
	struct draft *d = arg;

	if (vio_le16_get(h->type) != VIO_PART_MMIO)
		return false;
	if (d->seen)
		*why = "the state has a part twice";
	else if (vio_le32_get(h->length) != sizeof d->v)
		*why = "the state has a part of the wrong length";
	else
		memcpy(&d->v, value, sizeof d->v);
	if (!*why && vio_le32_get(d->v.interrupt) & ~(uint32_t)VIO_MMIO_INT_ALL)
		*why = "the state has an interrupt that MMIO does not have";
	d->seen = true;
	return true;
}

static const char *check(void *arg)
{
	return ((struct draft *)arg)->seen ? NULL : "the state lacks the registers of MMIO: it is of a device on another wire";
}

static const struct vio_state_wire saving = { .save = save }, loading = { .part = part, .check = check };

size_t vio_mmio_save(struct vio_mmio_dev *m, void *to, size_t room)
{
	uint64_t unused;

	vio_mmio_read(m, VIO_MMIO_STATUS, 4, &unused);		/* any access catches up with a reset that is done */
	return vio_dev_save_with(m->wire.dev, to, room, &saving, m);
}

const char *vio_mmio_load(struct vio_mmio_dev *m, const void *from, size_t n)
{
	struct draft d = { false };
	const char *why = vio_dev_load_with(m->wire.dev, from, n, &loading, &d);

	if (why)
		return why;
	m->device_sel = vio_le32_get(d.v.device_sel);
	m->driver_sel = vio_le32_get(d.v.driver_sel);
	m->queue_sel = vio_le32_get(d.v.queue_sel);
	m->shm_sel = vio_le32_get(d.v.shm_sel);
	m->driver_features = (struct vio_features){ { vio_le64_get(d.v.driver_features[0]), vio_le64_get(d.v.driver_features[1]) } };
	m->resetting = m->unsettled = false;
	__atomic_store_n(&m->interrupt, vio_le32_get(d.v.interrupt), __ATOMIC_SEQ_CST);
	m->ops->interrupt(m->wire.arg, vio_mmio_interrupt_read(m) != 0);
	return NULL;
}
